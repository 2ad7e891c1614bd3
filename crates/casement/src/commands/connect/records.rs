//! What is recorded of a number and its templates: checked, as text for the accounts file, or
//! through `AccountService`.

use std::collections::BTreeSet;
use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use casement_accounts::validate::{self, Problem};
use casement_accounts::{file, template};
use casement_event::v1;
use casement_proto::account::v1::{
    GetNumberRequest, PutNumberRequest, PutTemplateRequest, UpdateNumberRequest,
};
use casement_shell::config::ConfigError;
use casement_whatsapp::manage::{Number, Template};
use serde::Serialize;
use serde_json::{Value, json};
use tonic::Code;

use super::{ConnectArgs, Found};
use crate::client::{Api, explain};
use crate::json;

/// What is said of a number that is on record already: what Meta has now, and where the token is.
const NAMED: [&str; 6] = [
    "brand_id",
    "portfolio_id",
    "waba_id",
    "phone_number_id",
    "display_name",
    "token",
];
/// Who may read the accounts file: it holds no secret.
const FILE_MODE: u32 = 0o644;

/// The records, each checked.
#[derive(Debug)]
pub(super) struct Records {
    /// Its number is E.164 with plus, as files and requests have it.
    pub(super) number: v1::Number,
    pub(super) templates: Vec<v1::Template>,
    /// Templates that cannot be recorded, and why.
    pub(super) left_out: Vec<String>,
}

/// Where records were put.
#[derive(Debug)]
pub(super) enum Kept {
    File {
        path: PathBuf,
        numbers: usize,
        templates: usize,
        /// Records that stood there already and were left as they are.
        present: usize,
    },
    Api {
        url: String,
        templates: usize,
    },
}

impl Kept {
    pub(super) fn json(&self) -> Value {
        match self {
            Self::File {
                path,
                numbers,
                templates,
                present,
            } => json!({
                "file": path.display().to_string(),
                "numbers": numbers,
                "templates": templates,
                "already_there": present,
            }),
            Self::Api { url, templates } => {
                json!({"api": url, "numbers": 1, "templates": templates})
            }
        }
    }

    pub(super) fn line(&self) -> String {
        match self {
            Self::File {
                path,
                numbers,
                templates,
                present,
            } => {
                let path = path.display();
                let there = match present {
                    0 => String::new(),
                    present => format!("; {present} were there and are left as they are"),
                };
                format!("{path}: {numbers} number(s) and {templates} template(s) added{there}")
            }
            Self::Api { url, templates } => {
                format!("{url}: 1 number and {templates} template(s) recorded")
            }
        }
    }
}

impl Records {
    /// Makes records of what was found.
    pub(super) fn of(args: &ConnectArgs, found: &Found) -> anyhow::Result<Self> {
        let portfolio_id = args
            .portfolio_id
            .clone()
            .or_else(|| found.account.portfolio_id.clone())
            .ok_or_else(|| {
                ConfigError::check(format!(
                    "Meta does not tell whose account {} is: pass --portfolio-id (business \
                     settings, Business info)",
                    args.waba
                ))
            })?;
        let number = record_of_number(args, &found.number, portfolio_id);
        validate::number("number", number.clone()).map_err(|problems| {
            ConfigError::check(format!("it cannot be recorded: {}", told(&problems)))
        })?;
        let mut records = Self {
            number,
            templates: Vec::new(),
            left_out: Vec::new(),
        };
        for one in &found.templates {
            match record_of_template(&args.waba, one) {
                Ok(record) => records.templates.push(record),
                Err(why) => records.left_out.push(format!(
                    "template {} {} is left out: {why}",
                    one.name, one.language
                )),
            }
        }
        Ok(records)
    }

    pub(super) fn json(&self) -> anyhow::Result<Value> {
        let templates: anyhow::Result<Vec<Value>> = self
            .templates
            .iter()
            .map(|template| json::of("casement.events.v1.Template", template))
            .collect();
        Ok(json!({
            "number": json::of("casement.events.v1.Number", &self.number)?,
            "templates": templates?,
        }))
    }

    /// Returns the records as the accounts file has them.
    pub(super) fn toml(&self) -> anyhow::Result<String> {
        text(Some(&self.number), self.templates.iter())
    }

    /// Adds to an accounts file what does not stand there yet.
    pub(super) fn write(&self, path: &Path) -> anyhow::Result<Kept> {
        let before = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            Err(error) => {
                return Err(error).with_context(|| format!("{} cannot be read", path.display()));
            }
        };
        let present = parse(path, &before)?;
        let is_number_new = !present.numbers.iter().any(|one| {
            one.phone_number_id == self.number.phone_number_id
                || Some(one.number.as_str()) == self.number.number.strip_prefix('+')
        });
        let known: BTreeSet<_> = present.templates.iter().map(key).collect();
        let new: Vec<&v1::Template> = self
            .templates
            .iter()
            .filter(|one| !known.contains(&key(one)))
            .collect();
        let kept = Kept::File {
            path: path.to_owned(),
            numbers: usize::from(is_number_new),
            templates: new.len(),
            present: usize::from(!is_number_new) + self.templates.len() - new.len(),
        };
        if !is_number_new && new.is_empty() {
            return Ok(kept);
        }
        let number = is_number_new.then_some(&self.number);
        let added = text(number, new.into_iter())?;
        let after = match before.trim_end() {
            "" => added,
            before => format!("{before}\n\n{added}"),
        };
        parse(path, &after)?;
        replace(path, &after).with_context(|| format!("{} cannot be written", path.display()))?;
        Ok(kept)
    }

    /// Records everything at a running Casement.
    pub(super) async fn put(&self, api: &Api, url: &str) -> anyhow::Result<Kept> {
        let mut accounts = api.accounts();
        let known = accounts.get_number(GetNumberRequest {
            number: self.number.number.clone(),
        });
        let recorded = match known.await {
            // What is not named here stays as it is.
            Ok(known) => {
                let etag = known.into_inner().number.unwrap_or_default().etag;
                let request = UpdateNumberRequest {
                    number: Some(v1::Number {
                        etag,
                        ..self.number.clone()
                    }),
                    update_mask: Some(prost_types::FieldMask {
                        paths: NAMED.map(str::to_owned).to_vec(),
                    }),
                };
                accounts.update_number(request).await.map(drop)
            }
            Err(status) if status.code() == Code::NotFound => {
                let request = PutNumberRequest {
                    number: Some(self.number.clone()),
                };
                accounts.put_number(request).await.map(drop)
            }
            Err(status) => Err(status),
        };
        recorded
            .map_err(explain)
            .context("the number is not recorded")?;
        for one in &self.templates {
            let request = PutTemplateRequest {
                template: Some(one.clone()),
            };
            accounts
                .put_template(request)
                .await
                .map_err(explain)
                .with_context(|| format!("template {} is not recorded", one.name))?;
        }
        Ok(Kept::Api {
            url: url.to_owned(),
            templates: self.templates.len(),
        })
    }
}

fn record_of_number(args: &ConnectArgs, number: &Number, portfolio_id: String) -> v1::Number {
    let path = args
        .recorded_token_file
        .as_ref()
        .unwrap_or(&args.token_file);
    v1::Number {
        number: number.e164(),
        brand_id: args.brand.clone(),
        portfolio_id,
        waba_id: args.waba.clone(),
        phone_number_id: number.id.clone(),
        display_name: number.verified_name.clone(),
        token: Some(v1::SecretRef {
            source: Some(v1::secret_ref::Source::File(path.display().to_string())),
        }),
        // Throughput and limit are learned: a record that names them would keep them as they are.
        ..v1::Number::default()
    }
}

fn record_of_template(waba_id: &str, found: &Template) -> Result<v1::Template, String> {
    let category = format!("TEMPLATE_CATEGORY_{}", found.category);
    let category = v1::TemplateCategory::from_str_name(&category).unwrap_or_default();
    let status =
        status(&found.status).ok_or_else(|| format!("its status {} is not known", found.status))?;
    let wanted = v1::Template {
        waba_id: waba_id.to_owned(),
        name: found.name.clone(),
        language: found.language.clone(),
        category: category.into(),
        status: status.into(),
        body: found.body.clone(),
        ..v1::Template::default()
    };
    template::template("", wanted).map_err(|problems| told(&problems))
}

/// Returns what a status says about sending. A warning (FLAGGED) and a lock against edits (LOCKED)
/// change nothing; what is archived or over its limit takes no new messages.
fn status(word: &str) -> Option<v1::TemplateStatus> {
    match word {
        "APPROVED" | "REINSTATED" | "FLAGGED" | "LOCKED" => Some(v1::TemplateStatus::Approved),
        "PENDING" | "IN_APPEAL" => Some(v1::TemplateStatus::Pending),
        "REJECTED" => Some(v1::TemplateStatus::Rejected),
        "PAUSED" => Some(v1::TemplateStatus::Paused),
        "DISABLED" | "ARCHIVED" | "LIMIT_EXCEEDED" => Some(v1::TemplateStatus::Disabled),
        "DELETED" | "PENDING_DELETION" => Some(v1::TemplateStatus::Deleted),
        _ => None,
    }
}

/// A template's key, as the role has it.
fn key(template: &v1::Template) -> (&str, &str, &str) {
    (&template.waba_id, &template.name, &template.language)
}

/// The accounts file, in the order people read it.
#[derive(Serialize)]
struct FileText<'a> {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    number: Vec<NumberText<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    template: Vec<TemplateText<'a>>,
}

#[derive(Serialize)]
struct NumberText<'a> {
    number: &'a str,
    brand_id: &'a str,
    portfolio_id: &'a str,
    waba_id: &'a str,
    phone_number_id: &'a str,
    display_name: &'a str,
    token_file: &'a str,
}

#[derive(Serialize)]
struct TemplateText<'a> {
    waba_id: &'a str,
    name: &'a str,
    language: &'a str,
    category: String,
    status: String,
    body: &'a str,
}

fn text<'a>(
    number: Option<&'a v1::Number>,
    templates: impl Iterator<Item = &'a v1::Template>,
) -> anyhow::Result<String> {
    let word = |name: &str, prefix: &str| {
        let word = name.strip_prefix(prefix).unwrap_or(name);
        word.to_ascii_lowercase()
    };
    let number = number.map(|one| NumberText {
        number: &one.number,
        brand_id: &one.brand_id,
        portfolio_id: &one.portfolio_id,
        waba_id: &one.waba_id,
        phone_number_id: &one.phone_number_id,
        display_name: &one.display_name,
        token_file: match one.token.as_ref().and_then(|token| token.source.as_ref()) {
            Some(v1::secret_ref::Source::File(path)) => path,
            _ => "",
        },
    });
    let templates = templates.map(|one| TemplateText {
        waba_id: &one.waba_id,
        name: &one.name,
        language: &one.language,
        category: word(one.category().as_str_name(), "TEMPLATE_CATEGORY_"),
        status: word(one.status().as_str_name(), "TEMPLATE_STATUS_"),
        body: &one.body,
    });
    let file = FileText {
        number: number.into_iter().collect(),
        template: templates.collect(),
    };
    Ok(toml::to_string(&file)?)
}

fn parse(path: &Path, text: &str) -> Result<validate::Records, ConfigError> {
    file::parse(text).map_err(|problems| {
        ConfigError::check(format!(
            "{} is left as it is: {}",
            path.display(),
            told(&problems)
        ))
    })
}

/// Puts a text in a file's place at once, so that nobody reads half of it.
fn replace(path: &Path, text: &str) -> io::Result<()> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(text.as_bytes())?;
    let mode = std::fs::Permissions::from_mode(FILE_MODE);
    file.as_file().set_permissions(mode)?;
    file.as_file().sync_all()?;
    file.persist(path)?;
    Ok(())
}

fn told(problems: &[Problem]) -> String {
    let told: Vec<_> = problems.iter().map(Problem::to_string).collect();
    told.join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn records() -> Records {
        let found = |name: &str, status: &str, body: &str| Template {
            name: name.to_owned(),
            language: "en-US".to_owned(),
            category: "UTILITY".to_owned(),
            status: status.to_owned(),
            body: body.to_owned(),
            ..Template::default()
        };
        let template = |name: &str, status: &str, body: &str| {
            record_of_template("800", &found(name, status, body)).unwrap()
        };
        Records {
            number: v1::Number {
                number: "+15550783881".to_owned(),
                brand_id: "default".to_owned(),
                portfolio_id: "900".to_owned(),
                waba_id: "800".to_owned(),
                phone_number_id: "700".to_owned(),
                display_name: "The \"Shop\"".to_owned(),
                token: Some(v1::SecretRef {
                    source: Some(v1::secret_ref::Source::File("secrets/token".to_owned())),
                }),
                ..v1::Number::default()
            },
            templates: vec![
                template("hello", "APPROVED", "Hi {{1}},\nit's \"ready\""),
                template("late", "PAUSED", "Sorry"),
            ],
            left_out: Vec::new(),
        }
    }

    #[test]
    fn what_is_printed_is_what_the_role_reads() {
        let read = file::parse(&records().toml().unwrap()).unwrap();
        assert_eq!(read.numbers[0].number, "15550783881");
        assert_eq!(read.numbers[0].display_name, "The \"Shop\"");
        assert_eq!(read.templates, records().templates);
        assert_eq!(read.templates[0].body_parameter_count, 1);
        assert_eq!(read.templates[0].language, "en_US");
        assert_eq!(read.templates[1].status(), v1::TemplateStatus::Paused);
    }

    #[test]
    fn a_file_is_added_to_and_what_stands_there_is_left() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("accounts.toml");
        let mine = "# Mine.\n[[template]]\nwaba_id = \"800\"\nname = \"late\"\n\
                    language = \"en_US\"\ncategory = \"marketing\"\nbody = \"Mine\"\n";
        std::fs::write(&path, mine).unwrap();

        let kept = records().write(&path).unwrap();

        assert_eq!(kept.json()["already_there"], 1);
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.starts_with(mine), "{text}");
        let read = file::parse(&text).unwrap();
        assert_eq!((read.numbers.len(), read.templates.len()), (1, 2));
        assert_eq!(read.templates[0].body, "Mine");

        let again = records().write(&path).unwrap();
        assert_eq!(again.json()["already_there"], 3);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
    }

    #[test]
    fn a_file_that_is_wrong_is_not_touched() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("accounts.toml");
        std::fs::write(&path, "[[number]]\n").unwrap();
        let error = records().write(&path).unwrap_err().to_string();
        assert!(error.contains("left as it is"), "{error}");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "[[number]]\n");
    }

    #[test]
    fn a_template_that_cannot_be_recorded_says_why() {
        let mut found = Template {
            name: "hello".to_owned(),
            language: "en".to_owned(),
            category: "UTILITY".to_owned(),
            status: "SOMETHING_NEW".to_owned(),
            ..Template::default()
        };
        let why = record_of_template("800", &found).unwrap_err();
        assert!(why.contains("SOMETHING_NEW"), "{why}");
        found.status = "APPROVED".to_owned();
        found.category = "SOMETHING_NEW".to_owned();
        let why = record_of_template("800", &found).unwrap_err();
        assert!(why.starts_with("category"), "{why}");
    }
}
