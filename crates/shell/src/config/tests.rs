//! Claims about the layers and about what their errors say.

use std::path::PathBuf;

use secrecy::ExposeSecret;
use serde::Deserialize;

use super::*;

const DEFAULTS: &str = r#"
# Where data lives.
data_dir = "./data"

[api]
# Address of the API.
listen = "127.0.0.1:8081"
workers = 2
names = ["a"]
key = ""
"#;

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    data_dir: PathBuf,
    api: Api,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Api {
    listen: String,
    workers: u32,
    names: Vec<String>,
    key: Secret,
}

fn pairs(entries: &[(&str, &str)]) -> Vec<(String, String)> {
    entries
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect()
}

fn load_text(
    file: &str,
    environment: &[(&str, &str)],
    flags: &[(&str, &str)],
) -> Result<Config, String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("casement.toml");
    std::fs::write(&path, file).unwrap();
    load_with(DEFAULTS, Some(&path), pairs(environment), &pairs(flags)).map_err(|error| {
        error
            .to_string()
            .replace(&path.display().to_string(), "casement.toml")
    })
}

#[test]
fn the_later_layer_wins_key_by_key() {
    let config = load_text(
        "[api]\nworkers = 3\nlisten = \"file\"",
        &[
            ("CASEMENT__API__LISTEN", "environment"),
            ("CASEMENT__API__WORKERS", "4"),
            ("PATH", "/bin"),
        ],
        &[("api.workers", "5")],
    )
    .unwrap();
    assert_eq!(config.data_dir, PathBuf::from("./data"));
    assert_eq!(config.api.listen, "environment");
    assert_eq!(config.api.workers, 5);
    assert_eq!(config.api.names, ["a"]);
}

#[test]
fn a_list_is_replaced_as_a_whole() {
    let config = load_text("", &[("CASEMENT__API__NAMES", r#"["b", "c"]"#)], &[]).unwrap();
    assert_eq!(config.api.names, ["b", "c"]);
}

#[test]
fn a_string_of_digits_stays_a_string() {
    let config = load_text(
        "",
        &[("CASEMENT__API__KEY", "00123"), ("CASEMENT__DATA_DIR", "7")],
        &[],
    )
    .unwrap();
    assert_eq!(config.api.key.resolve().unwrap().expose_secret(), "00123");
    assert_eq!(config.data_dir, PathBuf::from("7"));
}

#[test]
fn a_secret_can_be_pointed_elsewhere_by_a_flag() {
    let config = load_text("", &[], &[("api.key", r#"{ file = "token" }"#)]).unwrap();
    assert!(matches!(config.api.key, Secret::File(path) if path == Path::new("token")));
}

#[test]
fn an_unknown_key_is_refused_with_its_name_and_source() {
    assert_eq!(
        load_text("[api]\nlissten = 1", &[], &[]).unwrap_err(),
        "configuration is wrong: `api.lissten`: unknown field: found `lissten`, expected `one of \
         `listen`, `workers`, `names`, `key`` (set by the file casement.toml)"
    );
    let error = load_text("", &[("CASEMENT__API__WORKRES", "1")], &[]).unwrap_err();
    assert!(error.contains("`api.workres`"), "{error}");
    assert!(
        error.contains("(set by the environment variable CASEMENT__API__WORKRES)"),
        "{error}"
    );
    let error = load_text("", &[], &[("extra.key", "1")]).unwrap_err();
    assert!(error.contains("`extra`"), "{error}");
    assert!(error.contains("the flag for extra.key"), "{error}");
}

#[test]
fn a_value_of_the_wrong_kind_is_refused_with_its_name_and_source() {
    assert_eq!(
        load_text("", &[("CASEMENT__API__WORKERS", "many")], &[]).unwrap_err(),
        "configuration is wrong: `api.workers`: invalid type: found string \"many\", expected u32 \
         (set by the environment variable CASEMENT__API__WORKERS)"
    );
}

#[test]
fn a_missing_key_is_named() {
    let error = load_with::<Config>("data_dir = \".\"", None, [], &[]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "configuration is wrong: `api`: missing field `api`"
    );
}

#[test]
fn a_file_that_was_asked_for_must_be_there_and_be_toml() {
    let missing = load_with::<Config>(DEFAULTS, Some(Path::new("nowhere/at.all")), [], &[]);
    assert!(matches!(missing, Err(ConfigError::Read { .. })));
    let error = load_text("[api\n", &[], &[]).unwrap_err();
    assert!(error.contains("casement.toml"), "{error}");
}

#[test]
fn what_is_printed_holds_no_secret_and_loads_again() {
    let config = load_text("[api]\nkey = \"hunter2\"", &[], &[]).unwrap();
    let printed = print(&config).unwrap();
    assert!(!printed.contains("hunter2"));
    assert!(printed.contains("key = \"<redacted>\""));
    assert!(load_with::<Config>(&printed, None, [], &[]).is_ok());
}

#[test]
fn the_real_environment_is_read() {
    let config: Config = load(DEFAULTS, None, &pairs(&[("api.key", "x")])).unwrap();
    assert_eq!(config.api.workers, 2);
    assert_eq!(env_var("CASEMENT_SURELY_NOT_SET"), None);
    assert!(env_var("CARGO_MANIFEST_DIR").is_some());
}
