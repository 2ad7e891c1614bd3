//! The configuration, the files of secrets, the tokens of the API, and the accounts file.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use casement_event::v1;
use casement_shell::config::Secret;
use secrecy::ExposeSecret as _;

use super::broker::Broker;
use super::report::Report;
use super::{CORRECT, DoctorArgs, EVERYTHING, mode, place_of, problems};
use crate::config::Config;

/// Bits of a file's mode that let others read or write it, or its group write it. A group that
/// may read is how secrets are mounted into containers.
const TOO_OPEN: u32 = 0o027;

/// Checks what can be checked without asking anybody.
pub(super) fn check(args: &DoctorArgs, config: &Config) -> Report {
    let mut report = Report::default();
    match config.check(EVERYTHING, mode(args)) {
        Ok(()) => {
            let from = match &args.config.config {
                Some(file) => file.display().to_string(),
                None if args.demo => "the demo's defaults".to_owned(),
                None => "the defaults and the environment".to_owned(),
            };
            report.ok("configuration", format!("{from}: fits together"));
        }
        Err(error) => {
            for problem in problems(&error) {
                report.fail("configuration", problem, CORRECT);
            }
        }
    }
    secret_files(args, config, &mut report);
    tokens(args, config, &mut report);
    report
}

fn tokens(args: &DoctorArgs, config: &Config, report: &mut Report) {
    match config.tokens(mode(args)) {
        Ok(tokens) if tokens.is_empty() => report.warn(
            "API tokens",
            "there is none, so nobody can call the API",
            "add [[api.tokens]] with a name, a token and scopes",
        ),
        Ok(_) => {
            let count = config.api.tokens.len();
            report.ok("API tokens", format!("{count} may call"));
        }
        // Told by the configuration's own check.
        Err(_) => report.skip("API tokens", "they cannot be read, see configuration"),
    }
}

/// Checks that secrets are their owner's alone.
fn secret_files(args: &DoctorArgs, config: &Config, report: &mut Report) {
    let secrets = config.secrets(EVERYTHING);
    let mut files: BTreeMap<PathBuf, String> = BTreeMap::new();
    for (key, secret) in &secrets {
        if let Secret::File(path) = secret {
            files.entry(path.clone()).or_insert_with(|| key.clone());
        }
    }
    for number in accounts_of_file(config).map_or(Vec::new(), |accounts| accounts.numbers) {
        let references = [
            number.token.as_ref(),
            number.sms.as_ref().and_then(|sms| sms.auth_token.as_ref()),
        ];
        for reference in references {
            if let Some((_, Secret::File(path))) = place_of(reference) {
                let named = || format!("the accounts file, +{}", number.number);
                files.entry(path).or_insert_with(named);
            }
        }
    }
    // A configuration that holds secrets itself is one, too.
    if let Some(file) = &args.config.config
        && let Ok(text) = std::fs::read_to_string(file)
        && secrets.iter().any(|(_, secret)| stands_in(secret, &text))
    {
        files.insert(
            file.clone(),
            "the configuration, which holds secrets".to_owned(),
        );
    }
    let failed_before = report.failed_count();
    for (path, named) in &files {
        secret_file(path, named, report);
    }
    if report.failed_count() == failed_before {
        let found = match files.len() {
            0 => "none: secrets come from elsewhere".to_owned(),
            count => format!("{count}, each for its owner's eyes"),
        };
        report.ok("secret files", found);
    }
}

fn stands_in(secret: &Secret, text: &str) -> bool {
    match secret {
        Secret::Value(value) => text.contains(value.expose_secret()),
        Secret::File(_) | Secret::Env(_) => false,
    }
}

fn secret_file(path: &Path, named: &str, report: &mut Report) {
    let shown = path.display();
    match std::fs::metadata(path) {
        Ok(file) => {
            let open = file.permissions().mode() & 0o777;
            if open & TOO_OPEN != 0 {
                report.fail(
                    "secret files",
                    format!("others may read or change {shown} (mode {open:04o}; {named})"),
                    format!("chmod 600 {shown}"),
                );
            }
        }
        Err(error) => report.fail(
            "secret files",
            format!("{shown} cannot be looked at ({error}; {named})"),
            "put the secret there, readable by whoever runs Casement, or correct the path",
        ),
    }
}

fn accounts_of_file(config: &Config) -> Option<casement_accounts::validate::Records> {
    let text = std::fs::read_to_string(config.accounts.file.as_ref()?).ok()?;
    casement_accounts::file::parse(&text).ok()
}

/// Checks the accounts file, and returns the numbers: as they are on record, else as the file has
/// them.
pub(super) fn accounts(config: &Config, broker: &Broker) -> (Report, Vec<v1::Number>) {
    let mut report = Report::default();
    let in_file = file(config, &mut report);
    let Some(on_record) = &broker.numbers else {
        return (report, in_file);
    };
    let mut numbers: BTreeMap<String, v1::Number> = in_file
        .iter()
        .map(|number| (number.number.clone(), number.clone()))
        .collect();
    for number in on_record {
        numbers.insert(number.number.clone(), number.clone());
    }
    for wanted in &in_file {
        let recorded = on_record.iter().find(|one| one.number == wanted.number);
        if !recorded.is_some_and(|recorded| is_same(recorded, wanted)) {
            report.warn(
                format!("accounts +{}", wanted.number),
                "the file says something else than what is on record",
                "start the accounts role again, which reads the file",
            );
        }
    }
    (report, numbers.into_values().collect())
}

/// Compares but for what no file says.
fn is_same(recorded: &v1::Number, wanted: &v1::Number) -> bool {
    let in_a_file = |number: &v1::Number| v1::Number {
        paused: false,
        pause_reason: String::new(),
        migrate_time: None,
        previous_phone_number_ids: Vec::new(),
        moving: None,
        migrate_away_time: None,
        migrate_away_reason: String::new(),
        drain_time: None,
        drain_reason: String::new(),
        ..number.clone()
    };
    in_a_file(recorded) == in_a_file(wanted)
}

fn file(config: &Config, report: &mut Report) -> Vec<v1::Number> {
    let Some(path) = &config.accounts.file else {
        report.ok(
            "accounts",
            "no file: numbers and templates come over the API",
        );
        return Vec::new();
    };
    let shown = path.display();
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) => {
            report.fail(
                "accounts",
                format!("{shown} cannot be read ({error})"),
                "write it with `casement connect --write`, or correct accounts.file",
            );
            return Vec::new();
        }
    };
    match casement_accounts::file::parse(&text) {
        Ok(records) => {
            let (numbers, templates) = (records.numbers.len(), records.templates.len());
            report.ok(
                "accounts",
                format!("{shown}: {numbers} number(s), {templates} template(s)"),
            );
            records.numbers
        }
        Err(problems) => {
            for problem in problems {
                report.fail(
                    "accounts",
                    format!("{shown} is refused ({problem})"),
                    "correct that line; deploy/accounts.example.toml shows how it is written",
                );
            }
            Vec::new()
        }
    }
}
