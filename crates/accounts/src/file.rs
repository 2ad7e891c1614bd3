//! The accounts file: TOML with `[[brand]]`, `[[number]]` and `[[template]]`.
//!
//! ```toml
//! [[brand]]
//! brand_id = "shop"
//! display_name = "The Shop"
//!
//! [[number]]
//! number = "+15550001111"
//! brand_id = "shop"                # `default` if left out
//! portfolio_id = "900100"
//! waba_id = "800100"
//! phone_number_id = "700100"
//! display_name = "The Shop"
//! token_env = "SHOP_META_TOKEN"    # or token_file = "…", or token_stored = "shop/meta"; exactly one
//! throughput = 80                  # messages a second; the platform's default if left out
//! messaging_limit = 2000           # customers a day that the portfolio may write to first; no limit
//!                                  # if left out
//! messaging_account_id = "800100"  # only for a number of several messaging accounts
//! app = "shop"                     # whose app the token is of; see dispatcher.providers
//! onboard_time = "2026-03-01T09:30:00Z"  # what came before opens no window; for a number that the
//!                                  # WhatsApp Business app uses, too
//! [number.sms]                     # no SMS from this number if left out
//! sender = "+15550002222"
//! account_sid = "AC…"
//! auth_token_file = "secrets/twilio"
//!
//! [[template]]
//! waba_id = "800100"
//! name = "order_ready"
//! language = "en_US"
//! category = "utility"             # or authentication, marketing
//! status = "approved"              # only until the template is on record; `approved` if left out
//! body = "Hi {{1}}, your order {{2}} is ready."
//! message_send_ttl = "10m"         # how long the platform tries to deliver it; its category's
//!                                  # 10 minutes (authentication) or 30 days if left out
//! ```
//!
//! Keys nobody knows are refused, and every problem is told at once with its place. A value is
//! never repeated in a problem: it may be a secret in the wrong place. Secrets themselves never
//! stand here; paths are relative to the working directory of whoever needs the secret.

use std::path::{Path, PathBuf};

use casement_event::convert::{duration, timestamp};
use casement_event::v1;
use toml::{Table, Value};
use v1::secret_ref::Source;

use crate::template::template;
use crate::validate::{self, Problem, Records};

/// The brand that is always there.
pub const DEFAULT_BRAND: &str = casement_shell::auth::DEFAULT_BRAND;

/// Why an accounts file gave no records.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It cannot be read at all.
    #[error("accounts file {} cannot be read", path.display())]
    Read {
        /// As it was given.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// It was read, and is wrong.
    #[error("accounts file is wrong: {}", told(problems))]
    Wrong {
        /// Each with its place.
        problems: Vec<Problem>,
    },
}

/// Reads and checks a file, but not yet what its records say of each other.
pub async fn load(path: &Path) -> Result<Records, FileError> {
    let text = tokio::fs::read_to_string(path)
        .await
        .map_err(|source| FileError::Read {
            path: path.to_owned(),
            source,
        })?;
    parse(&text).map_err(|problems| FileError::Wrong { problems })
}

/// [`load`] from text.
pub fn parse(text: &str) -> Result<Records, Vec<Problem>> {
    let root: Table = text.parse().map_err(|error| vec![syntax(text, &error)])?;
    let mut problems = Vec::new();
    let mut file = Section::new(String::new(), &root);
    let mut records = Records::default();

    for mut section in file.sections("brand", &mut problems) {
        let at = section.at.clone();
        let brand = v1::Brand {
            brand_id: section.text("brand_id", &mut problems),
            display_name: section.text("display_name", &mut problems),
            // What changes at run time stays as it is on record.
            ..v1::Brand::default()
        };
        section.finish(&mut problems);
        keep(
            validate::brand(&at, brand),
            &mut records.brands,
            &mut problems,
        );
    }
    for section in file.sections("number", &mut problems) {
        let at = section.at.clone();
        let is_brandless = !section.table.contains_key("brand_id");
        let number = number(section, &mut problems);
        if is_brandless {
            let digits = number.number.trim_start_matches('+');
            records.brandless.insert(digits.to_owned());
        }
        keep(
            validate::number(&at, number),
            &mut records.numbers,
            &mut problems,
        );
    }
    for section in file.sections("template", &mut problems) {
        let at = section.at.clone();
        let wanted = wanted_template(section, &mut problems);
        keep(template(&at, wanted), &mut records.templates, &mut problems);
    }
    file.finish(&mut problems);
    validate::settle(records, problems)
}

fn number(mut section: Section<'_>, problems: &mut Vec<Problem>) -> v1::Number {
    let sms = section.section("sms", problems).map(|mut sms| {
        let sender = v1::SmsSender {
            sender: sms.text("sender", problems),
            account_sid: sms.text("account_sid", problems),
            auth_token: sms.secret(
                ["auth_token_file", "auth_token_env", "auth_token_stored"],
                problems,
            ),
        };
        sms.finish(problems);
        sender
    });
    let number = v1::Number {
        number: section.text("number", problems),
        brand_id: section
            .optional_text("brand_id", problems)
            .unwrap_or_else(|| DEFAULT_BRAND.to_owned()),
        portfolio_id: section.text("portfolio_id", problems),
        waba_id: section.text("waba_id", problems),
        phone_number_id: section.text("phone_number_id", problems),
        display_name: section.text("display_name", problems),
        token: section.secret(["token_file", "token_env", "token_stored"], problems),
        sms,
        throughput: section.count("throughput", problems),
        messaging_limit: section.count("messaging_limit", problems),
        messaging_account_id: section
            .optional_text("messaging_account_id", problems)
            .unwrap_or_default(),
        app: section.optional_text("app", problems).unwrap_or_default(),
        onboard_time: section.time("onboard_time", problems),
        // What is found out, and what changes at run time, is on record.
        ..v1::Number::default()
    };
    section.finish(problems);
    number
}

fn wanted_template(mut section: Section<'_>, problems: &mut Vec<Problem>) -> v1::Template {
    let category = section
        .word("category", "TEMPLATE_CATEGORY_", problems)
        .map(|name| v1::TemplateCategory::from_str_name(&name).unwrap_or_default());
    let status = section
        .word("status", "TEMPLATE_STATUS_", problems)
        .map_or(Some(v1::TemplateStatus::Approved), |name| {
            v1::TemplateStatus::from_str_name(&name)
        });
    let template = v1::Template {
        waba_id: section.text("waba_id", problems),
        name: section.text("name", problems),
        language: section.text("language", problems),
        category: category.unwrap_or_default().into(),
        status: status.unwrap_or_default().into(),
        body: section.text("body", problems),
        body_parameter_count: section.count("body_parameter_count", problems),
        body_parameter_names: section.texts("body_parameter_names", problems),
        message_send_ttl: section.duration("message_send_ttl", problems),
        ..v1::Template::default()
    };
    section.finish(problems);
    template
}

fn keep<T>(checked: Result<T, Vec<Problem>>, kept: &mut Vec<T>, problems: &mut Vec<Problem>) {
    match checked {
        Ok(record) => kept.push(record),
        Err(found) => {
            // What could not be read was told already; that it is then empty is no news.
            let news: Vec<_> = found
                .into_iter()
                .filter(|new| !problems.iter().any(|told| told.field == new.field))
                .collect();
            problems.extend(news);
        }
    }
}

/// One table, and which of its keys were asked for.
struct Section<'a> {
    at: String,
    table: &'a Table,
    asked: Vec<&'static str>,
}

impl<'a> Section<'a> {
    fn new(at: String, table: &'a Table) -> Self {
        Self {
            at,
            table,
            asked: Vec::new(),
        }
    }

    fn get(&mut self, key: &'static str) -> Option<&'a Value> {
        self.asked.push(key);
        self.table.get(key)
    }

    fn wrong(&self, key: &str, problem: impl std::fmt::Display) -> Problem {
        Problem::new(&self.at, key, problem)
    }

    /// Returns an empty text for an absent one; whether it may be absent is the record's to say.
    fn text(&mut self, key: &'static str, problems: &mut Vec<Problem>) -> String {
        self.optional_text(key, problems).unwrap_or_default()
    }

    fn optional_text(&mut self, key: &'static str, problems: &mut Vec<Problem>) -> Option<String> {
        let text = self.get(key)?.as_str().map(str::to_owned);
        if text.is_none() {
            problems.push(self.wrong(key, "is not text in quotes"));
        }
        text
    }

    fn texts(&mut self, key: &'static str, problems: &mut Vec<Problem>) -> Vec<String> {
        let Some(value) = self.get(key) else {
            return Vec::new();
        };
        let texts = value.as_array().and_then(|values| {
            let texts = values.iter().map(|value| value.as_str().map(str::to_owned));
            texts.collect::<Option<Vec<_>>>()
        });
        texts.unwrap_or_else(|| {
            problems.push(self.wrong(key, "is not a list of texts in quotes"));
            Vec::new()
        })
    }

    fn count(&mut self, key: &'static str, problems: &mut Vec<Problem>) -> u32 {
        let Some(value) = self.get(key) else { return 0 };
        let count = value
            .as_integer()
            .and_then(|count| u32::try_from(count).ok());
        count.unwrap_or_else(|| {
            problems.push(self.wrong(key, "is not a whole number from 0"));
            0
        })
    }

    fn duration(
        &mut self,
        key: &'static str,
        problems: &mut Vec<Problem>,
    ) -> Option<prost_types::Duration> {
        let text = self.get(key)?.as_str().unwrap_or_default();
        let length = text.parse().map(duration).ok();
        if length.is_none() {
            problems.push(self.wrong(key, "is not a length of time in quotes, such as \"10m\""));
        }
        length
    }

    /// Reads a time with its offset, in TOML's own form or in quotes.
    fn time(
        &mut self,
        key: &'static str,
        problems: &mut Vec<Problem>,
    ) -> Option<prost_types::Timestamp> {
        let text = match self.get(key)? {
            Value::Datetime(time) => time.to_string(),
            Value::String(text) => text.clone(),
            _ => String::new(),
        };
        let time = text.parse().map(timestamp).ok();
        if time.is_none() {
            let problem = "is not a time with its offset, such as 2026-03-01T09:30:00Z";
            problems.push(self.wrong(key, problem));
        }
        time
    }

    /// Returns the full name of an enum's value for the word that a file has for it.
    fn word(
        &mut self,
        key: &'static str,
        prefix: &str,
        problems: &mut Vec<Problem>,
    ) -> Option<String> {
        let word = self.optional_text(key, problems)?;
        Some(format!("{prefix}{}", word.to_ascii_uppercase()))
    }

    fn secret(
        &mut self,
        [file, env, stored]: [&'static str; 3],
        problems: &mut Vec<Problem>,
    ) -> Option<v1::SecretRef> {
        let in_file = self.optional_text(file, problems);
        let in_env = self.optional_text(env, problems);
        let on_log = self.optional_text(stored, problems);
        let source = match (in_file, in_env, on_log) {
            (Some(path), None, None) => Source::File(path),
            (None, Some(name), None) => Source::Env(name),
            (None, None, Some(name)) => Source::Stored(name),
            _ => {
                let field = file.trim_end_matches("_file");
                let problem = format!("needs exactly one of `{file}`, `{env}` and `{stored}`");
                problems.push(self.wrong(field, problem));
                return None;
            }
        };
        Some(v1::SecretRef {
            source: Some(source),
        })
    }

    fn section(&mut self, key: &'static str, problems: &mut Vec<Problem>) -> Option<Self> {
        let Value::Table(table) = self.get(key)? else {
            problems.push(self.wrong(key, "is not a table"));
            return None;
        };
        Some(Section::new(format!("{}.{key}", self.at), table))
    }

    fn sections(&mut self, key: &'static str, problems: &mut Vec<Problem>) -> Vec<Self> {
        let Some(value) = self.get(key) else {
            return Vec::new();
        };
        let tables = value.as_array().and_then(|values| {
            values
                .iter()
                .map(Value::as_table)
                .collect::<Option<Vec<_>>>()
        });
        let Some(tables) = tables else {
            let problem = format!("is not a list of tables: write [[{key}]]");
            problems.push(self.wrong(key, problem));
            return Vec::new();
        };
        tables
            .into_iter()
            .enumerate()
            .map(|(index, table)| Section::new(format!("{key}[{index}]"), table))
            .collect()
    }

    /// Tells the keys that nobody asked for.
    fn finish(self, problems: &mut Vec<Problem>) {
        for key in self.table.keys() {
            if !self.asked.contains(&key.as_str()) {
                let known = self.asked.join(", ");
                problems.push(self.wrong(key, format!("is not known here; there are {known}")));
            }
        }
    }
}

/// Names the line. The text of the line is left out: a secret may stand there.
fn syntax(text: &str, error: &toml::de::Error) -> Problem {
    let before = error
        .span()
        .and_then(|span| text.get(..span.start))
        .unwrap_or_default();
    let line = before.matches('\n').count() + 1;
    let message = error.message().lines().collect::<Vec<_>>().join(", ");
    Problem::new("", &format!("line {line}"), message)
}

fn told(problems: &[Problem]) -> String {
    let told: Vec<_> = problems.iter().map(Problem::to_string).collect();
    told.join("; ")
}

#[cfg(test)]
#[path = "file_tests.rs"]
mod tests;
