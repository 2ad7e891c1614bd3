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
//! token_env = "SHOP_META_TOKEN"    # or token_file = "…"; exactly one
//! throughput = 80                  # messages a second; the platform's default if left out
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
//! ```
//!
//! Keys nobody knows are refused, and every problem is told at once with its place. A value is
//! never repeated in a problem: it may be a secret in the wrong place. Secrets themselves never
//! stand here; paths are relative to the working directory of whoever needs the secret.

use std::path::{Path, PathBuf};

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
        let number = number(section, &mut problems);
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
            auth_token: sms.secret("auth_token_file", "auth_token_env", problems),
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
        token: section.secret("token_file", "token_env", problems),
        sms,
        throughput: section.count("throughput", problems),
        paused: false,
        pause_reason: String::new(),
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
        file: &'static str,
        env: &'static str,
        problems: &mut Vec<Problem>,
    ) -> Option<v1::SecretRef> {
        let in_file = self.optional_text(file, problems);
        let in_env = self.optional_text(env, problems);
        let source = match (in_file, in_env) {
            (Some(path), None) => Source::File(path),
            (None, Some(name)) => Source::Env(name),
            (None, None) | (Some(_), Some(_)) => {
                let field = file.trim_end_matches("_file");
                let problem = format!("needs exactly one of `{file}` and `{env}`");
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
mod tests {
    use super::*;

    const NUMBER: &str = r#"
        [[number]]
        number = "+15550001111"
        portfolio_id = "900"
        waba_id = "800"
        phone_number_id = "700"
        token_env = "META_TOKEN"
    "#;

    const TEMPLATE: &str = r#"
        [[template]]
        waba_id = "800"
        name = "order_ready"
        language = "en-US"
        category = "utility"
        body = "Hi {{1}}"
    "#;

    fn problems(text: &str) -> Vec<String> {
        let problems = parse(text).expect_err("it is wrong");
        problems.iter().map(Problem::to_string).collect()
    }

    #[test]
    fn a_file_becomes_records_in_their_stored_form() {
        let text = format!(
            "[[brand]]\nbrand_id = \"shop\"\ndisplay_name = \"The Shop\"\n{NUMBER}
            throughput = 20
            [number.sms]
            sender = \"Shop\"
            account_sid = \"AC1\"
            auth_token_file = \"secrets/sms\"
            {TEMPLATE}"
        );
        let records = parse(&text).unwrap();
        assert_eq!(records.brands[0].brand_id, "shop");
        let number = &records.numbers[0];
        assert_eq!(number.number, "15550001111");
        assert_eq!(number.brand_id, "default");
        assert_eq!(number.throughput, 20);
        let source = |of: &Option<v1::SecretRef>| of.clone().and_then(|of| of.source);
        assert_eq!(
            source(&number.token),
            Some(Source::Env("META_TOKEN".to_owned()))
        );
        let sms = number.sms.as_ref().unwrap();
        assert_eq!(
            source(&sms.auth_token),
            Some(Source::File("secrets/sms".to_owned()))
        );
        let template = &records.templates[0];
        assert_eq!(template.language, "en_US");
        assert_eq!(template.status(), v1::TemplateStatus::Approved);
        assert_eq!(template.body_parameter_count, 1);
    }

    #[test]
    fn an_empty_file_has_no_records() {
        assert_eq!(parse("# nothing yet\n"), Ok(Records::default()));
    }

    #[test]
    fn problems_name_their_table_and_field() {
        for (text, expected) in [
            (
                "brands = 1".to_owned(),
                "brands: is not known here; there are brand, number, template",
            ),
            (
                "[brand]\nbrand_id = \"a\"".to_owned(),
                "brand: is not a list of tables: write [[brand]]",
            ),
            (
                format!("{NUMBER}\ntoken = \"EAAG\""),
                "number[0].token: is not known here; there are sms, number, brand_id, \
                 portfolio_id, waba_id, phone_number_id, display_name, token_file, token_env, \
                 throughput",
            ),
            (
                format!("{NUMBER}\ntoken_file = \"x\""),
                "number[0].token: needs exactly one of `token_file` and `token_env`",
            ),
            (
                format!("{NUMBER}\ntokne_env = \"x\""),
                "number[0].tokne_env: is not known here",
            ),
            (
                format!("{NUMBER}\nthroughput = \"fast\""),
                "number[0].throughput: is not a whole number from 0",
            ),
            (
                format!("{NUMBER}\nsms = true"),
                "number[0].sms: is not a table",
            ),
            (
                format!("{NUMBER}\n[number.sms]\nsender = \"Shop\"\naccount_sid = \"AC1\""),
                "number[0].sms.auth_token: needs exactly one of `auth_token_file` and \
                 `auth_token_env`",
            ),
            (
                NUMBER.replace("\"800\"", "800"),
                "number[0].waba_id: is not text in quotes",
            ),
            (
                NUMBER.replace("waba_id", "#"),
                "number[0].waba_id: WABA id is empty",
            ),
            (
                TEMPLATE.replace("utility", "useful"),
                "template[0].category: is not one of utility, authentication, marketing",
            ),
            (
                format!("{TEMPLATE}\nstatus = \"fine\""),
                "template[0].status: is not one of approved, pending, rejected, paused, \
                 disabled, deleted",
            ),
            (
                format!("{TEMPLATE}\nbody_parameter_names = [1]"),
                "template[0].body_parameter_names: is not a list of texts in quotes",
            ),
        ] {
            let told = problems(&text);
            assert_eq!(told.len(), 1, "{told:?}");
            assert!(told[0].starts_with(expected), "{told:?}\n{expected}");
        }
    }

    #[test]
    fn all_problems_of_a_file_are_told_at_once() {
        let text = format!(
            "{}\n{}\nextra = 1",
            NUMBER.replace('+', ""),
            TEMPLATE.replace("order_ready", "Order")
        );
        let told = problems(&text);
        assert_eq!(told.len(), 3, "{told:?}");
        assert!(told[0].starts_with("number[0].number: "));
        assert!(told[1].starts_with("template[0].extra: "));
        assert!(told[2].starts_with("template[0].name: "));
    }

    #[test]
    fn broken_syntax_names_its_line_and_repeats_nothing_of_it() {
        let told = problems("[[number]]\ntoken = EAAGsecret\n");
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(told[0].starts_with("line 2: "), "{told:?}");
        assert!(!told[0].contains("EAAG"), "{told:?}");
    }
}
