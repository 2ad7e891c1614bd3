//! Claims about the secrets of a configuration: each that there is has a canary here, and none of
//! these is ever printed, told in a complaint, or shown by a debugger.

use std::collections::BTreeSet;
use std::path::Path;

use casement_shell::config::{load_with, print};

use super::*;

/// Stands for a secret.
const CANARY: &str = "canary-6f1d0c";

/// Every setting that is a secret, by the file and the name of its field. The claim `canaries` looks
/// for each of them in a whole system that runs.
const FIELDS: &str = include_str!("secret-fields.txt");

/// A configuration in which each of them stands in clear.
const FILE: &str = r#"
[log]
user = "u"
password = "canary-6f1d0c-1"
nkey = "canary-6f1d0c-2"
[customers]
token_key = "canary-6f1d0c-3-canary"
[secrets]
master_key = "canary-6f1d0c-4"
[accounts.apps.default]
id = "1"
secret = "canary-6f1d0c-5"
[archive]
database_url = "postgres://u:canary-6f1d0c-6@127.0.0.1/d"
signing_key = "canary-6f1d0c-7-canary-canary-canary"
[dispatcher]
sensitive_key = "canary-6f1d0c-8-canary-canary-canary"
[gateway.console]
session_key = "canary-6f1d0c-9-canary-canary-canary"
[ingress.apps.default]
secrets = ["canary-6f1d0c-10"]
verify_token = "canary-6f1d0c-11"
[ingress.twilio.accounts.default]
auth_tokens = ["canary-6f1d0c-12"]
[ingress.media.store_secrets]
access_key_id = "canary-6f1d0c-13"
[ingress.vonage.accounts.default]
signature_secrets = ["canary-6f1d0c-14"]
[ingress.generic_sms.acme]
header = "x-acme-signature"
secrets = ["canary-6f1d0c-15"]
[[api.tokens]]
name = "plain"
token = "canary-6f1d0c-16"
scopes = ["read"]
[[api.tokens]]
name = "hashed"
sha256 = "canary-6f1d0c-17"
scopes = ["read"]
[sms.gateways.main]
kind = "twilio"
account_sid = "AC1"
auth_token = "canary-6f1d0c-18"
[sms.gateways.spare]
kind = "vonage"
application_id = "a"
private_key = "canary-6f1d0c-19"
[sms.gateways.acme]
kind = "generic"
url = "https://api.acme.example/sms"
headers = { authorization = "canary-6f1d0c-20" }
body = '{"to": "{{to}}", "text": "{{text}}"}'
id = "/id"
"#;

/// The fields of all crates whose type is a secret of a configuration.
fn fields() -> BTreeSet<String> {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut folders = vec![crates.clone()];
    let mut found = BTreeSet::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            let is_aside = ["target", "tests", "simulator", "bench", "fuzz", "commands"];
            if path.is_dir() && !is_aside.contains(&name.as_str()) {
                folders.push(path);
            } else if name == "config.rs" || name == "auth.rs" {
                let text = std::fs::read_to_string(&path).unwrap();
                let file = path.strip_prefix(&crates).unwrap().display().to_string();
                let text = text
                    .split("#[cfg(test)]\nmod tests {")
                    .next()
                    .unwrap_or_default();
                for line in text.lines().map(str::trim) {
                    let line = line.strip_prefix("pub(crate) ").unwrap_or(line);
                    let line = line.strip_prefix("pub ").unwrap_or(line);
                    let Some((name, kind)) = line.split_once(": ") else {
                        continue;
                    };
                    let kind = kind.trim_end_matches(',');
                    let is_field = name
                        .bytes()
                        .all(|byte| byte.is_ascii_lowercase() || byte == b'_');
                    let is_secret = ["Secret", "DatabaseUrl", "SigningKey"].iter().any(|of| {
                        [
                            of.to_string(),
                            format!("Option<{of}>"),
                            format!("Vec<{of}>"),
                            format!("BTreeMap<String, {of}>"),
                        ]
                        .iter()
                        .any(|whole| whole == kind)
                    });
                    if is_field && line.ends_with(',') && is_secret {
                        found.insert(format!("{file} {name}"));
                    }
                }
            }
        }
    }
    found
}

#[test]
fn every_secret_of_the_schema_has_a_canary() {
    let mut named = BTreeSet::new();
    for entry in FIELDS.lines() {
        let (file, names) = entry.split_once(' ').unwrap();
        named.extend(names.split(", ").map(|name| format!("{file} {name}")));
    }
    // It is a text of its own type, which is redacted by hand.
    named.remove("shell/src/auth.rs sha256");
    assert_eq!(
        fields(),
        named,
        "a secret without a canary: add it to FIELDS, and to FILE"
    );
}

#[test]
fn no_canary_is_printed_told_or_shown() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("casement.toml");
    std::fs::write(&path, FILE).unwrap();
    let config = load_with::<Config>(&defaults(Mode::Real), Some(&path), Vec::new(), &[]);
    let config = config.unwrap().settled();
    let printed = print(&config).unwrap();
    assert!(!printed.contains(CANARY), "{printed}");
    let count = FILE.matches(CANARY).count();
    assert_eq!(count, 20, "one for each secret");
    // SMS gateways are handed on to two roles, and not printed there.
    assert!(printed.matches("<redacted>").count() >= count, "{printed}");
    let shown = format!("{:?}", config.api.tokens[0]);
    assert!(!shown.contains(CANARY), "{shown}");
    for which in [Which::All, Which::Gateway, Which::Ingress] {
        let told = check::problems(&config, which, Mode::Real).join("\n");
        assert!(!told.is_empty(), "hashes that are none are told");
        assert!(!told.contains(CANARY), "{told}");
    }
}
