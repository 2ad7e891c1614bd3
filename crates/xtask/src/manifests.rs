//! Rules about Cargo manifests: who may depend on whom, and that versions are declared once.
//!
//! What a dependency is used for inside a crate is not looked at.

use toml::{Table, Value};

use crate::Problem;
use crate::tree::File;

/// Roles meet only on the log and in the protocol.
const ROLES: [&str; 6] = [
    "accounts",
    "audit-projector",
    "dispatcher",
    "gateway",
    "ingress",
    "window-tracker",
];

/// What every role may build on.
const BELOW_ROLES: [&str; 8] = [
    "domain",
    "event",
    "event-log",
    "proto",
    "secrets",
    "shell",
    "sms",
    "whatsapp",
];

/// `docs/examples/subscriber/rust`, which shows to users what they have: the broker and the
/// protobuf files, and nothing else of ours.
const EXAMPLE: &str = "rust";

/// Crates of ours that a crate of ours may depend on, by folder; a folder that is missing may
/// depend on everything, since nothing depends on it.
const HOUSE: [(&str, &[&str]); 11] = [
    ("domain", &[]),
    ("proto", &[]),
    ("event", &["domain", "proto"]),
    ("event-log", &["domain", "event", "proto", "shell"]),
    ("secrets", &["domain", "event", "event-log", "shell"]),
    ("shell", &[]),
    ("sms", &["domain", "shell"]),
    ("whatsapp", &["domain", "shell"]),
    ("simulator", &["shell", "sms", "whatsapp"]),
    ("testkit", &[]),
    (EXAMPLE, &["proto"]),
];

/// On top of all; what they depend on is their business.
const TOPS: [&str; 6] = ["bench", "casement", "chaos", "fuzz", "simulation", "tests"];

/// Crates of ours that tests of any crate may use besides.
const FOR_TESTS: [&str; 4] = ["proto", "shell", "simulator", "testkit"];

/// Crates of others that only some may name, with the reason.
const KEPT: [(&str, &[&str], &str); 3] = [
    (
        "async-nats",
        &["bench", "chaos", "event-log", EXAMPLE, "testkit", "tests"],
        "the log is reached through casement-event-log",
    ),
    (
        "reqwest",
        &[
            "bench",
            "casement",
            "gateway",
            "shell",
            "simulator",
            "sms",
            "tests",
            "whatsapp",
        ],
        "providers are called by their own crates",
    ),
    (
        "sqlx",
        &["audit-projector", "bench", "simulation", "tests"],
        "SQL is where there is a store: the log is the truth",
    ),
];

/// All that the domain may use.
const DOMAIN_USES: [&str; 2] = ["jiff", "thiserror"];

/// What a package takes from the workspace.
const INHERITED: [&str; 5] = ["edition", "license", "publish", "rust-version", "version"];

pub(crate) fn check(file: &File) -> Vec<Problem> {
    if file.name() != "Cargo.toml" {
        return Vec::new();
    }
    let manifest: Table = match file.text.parse() {
        Ok(manifest) => manifest,
        Err(error) => {
            return vec![Problem::new(
                file,
                0,
                format!("is no TOML: {}", error.message()),
            )];
        }
    };
    if file.path == "Cargo.toml" {
        return reasons(file);
    }
    // A workspace of its own, such as the fuzzers', inherits nothing.
    if manifest.contains_key("workspace") {
        return Vec::new();
    }
    let mut problems = inheritance(file, &manifest);
    let folder = folder(file);
    for section in ["dependencies", "build-dependencies", "dev-dependencies"] {
        for (name, value) in table(&manifest, section) {
            if !from_workspace(value) {
                problems.push(at(
                    file,
                    name,
                    format!("`{name}` of [{section}] must be `workspace = true`"),
                ));
            }
            if let Some(message) = refused(folder, name, section == "dev-dependencies") {
                problems.push(at(file, name, message));
            }
        }
    }
    problems
}

/// Why the crate in `folder` may not depend on `name`.
fn refused(folder: &str, name: &str, in_tests: bool) -> Option<String> {
    if let Some(house) = name.strip_prefix("casement-") {
        let is_allowed = TOPS.contains(&folder)
            || (in_tests && FOR_TESTS.contains(&house))
            || allowed_house(folder).contains(&house);
        return (!is_allowed).then(|| format!("`{folder}` may not depend on `{house}`"));
    }
    if folder == "domain" && !in_tests && !DOMAIN_USES.contains(&name) {
        return Some(format!(
            "the domain uses {} and nothing else",
            DOMAIN_USES.join(" and ")
        ));
    }
    let (_, _, reason) = KEPT
        .iter()
        .find(|(kept, holders, _)| *kept == name && !holders.contains(&folder))?;
    Some(format!("`{folder}` may not name {name}: {reason}"))
}

fn allowed_house(folder: &str) -> &'static [&'static str] {
    if ROLES.contains(&folder) {
        return &BELOW_ROLES;
    }
    HOUSE
        .iter()
        .find(|(name, _)| *name == folder)
        .map_or(&[], |(_, allowed)| allowed)
}

/// Versions, lints and the like are declared once.
fn inheritance(file: &File, manifest: &Table) -> Vec<Problem> {
    let package = manifest.get("package").and_then(Value::as_table);
    let missing = INHERITED.iter().filter(|key| {
        let value = package.and_then(|package| package.get(**key));
        !value.is_some_and(from_workspace)
    });
    let mut problems: Vec<Problem> = missing
        .map(|key| at(file, key, format!("`{key}.workspace = true` is missing")))
        .collect();
    if !manifest.get("lints").is_some_and(from_workspace) {
        problems.push(Problem::new(
            file,
            0,
            "`[lints] workspace = true` is missing",
        ));
    }
    problems
}

/// In the root: each dependency with what it is for.
fn reasons(file: &File) -> Vec<Problem> {
    let mut in_section = false;
    let mut problems = Vec::new();
    for (index, line) in file.text.lines().enumerate() {
        let line = line.trim();
        if line.starts_with('[') {
            in_section = line == "[workspace.dependencies]";
        } else if in_section && !line.is_empty() && !line.starts_with('#') {
            // After the last quote or bracket: a `#` before that belongs to a value.
            let rest = line
                .rfind(['"', '}', ']'])
                .map_or(line, |end| &line[end + 1..]);
            // A bracket within the reason leaves only its end; then the whole line is asked.
            if !rest.contains('#') && !line.contains("} #") && !line.contains("\" #") {
                problems.push(Problem::new(
                    file,
                    index + 1,
                    "a dependency says what it is for: `# …`",
                ));
            }
        }
    }
    problems
}

fn folder(file: &File) -> &str {
    let folder = file.path.strip_suffix("/Cargo.toml").unwrap_or(&file.path);
    folder.rsplit('/').next().unwrap_or(folder)
}

fn table<'a>(manifest: &'a Table, section: &str) -> impl Iterator<Item = (&'a String, &'a Value)> {
    manifest
        .get(section)
        .and_then(Value::as_table)
        .into_iter()
        .flatten()
}

fn from_workspace(value: &Value) -> bool {
    value.get("workspace").and_then(Value::as_bool) == Some(true)
}

/// With the line where `key` stands.
fn at(file: &File, key: &str, message: String) -> Problem {
    let line = file
        .text
        .lines()
        .position(|line| line.trim_start().starts_with(key))
        .map_or(0, |index| index + 1);
    Problem::new(file, line, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PACKAGE: &str = "[package]\nname = \"x\"\nversion.workspace = true\nedition.workspace = true\n\
        rust-version.workspace = true\nlicense.workspace = true\npublish.workspace = true\n\
        [lints]\nworkspace = true\n";

    fn messages(path: &str, text: &str) -> Vec<String> {
        let file = File {
            path: path.to_owned(),
            text: text.to_owned(),
        };
        check(&file)
            .iter()
            .map(|problem| problem.message.clone())
            .collect()
    }

    #[test]
    fn a_manifest_inherits_what_is_declared_once() {
        assert_eq!(messages("crates/sms/Cargo.toml", PACKAGE), [""; 0]);
        let own = PACKAGE
            .replace("version.workspace = true\ned", "version = \"1.0.0\"\ned")
            .replace("[lints]\n", "[other]\n");
        assert_eq!(
            messages("crates/sms/Cargo.toml", &own),
            [
                "`version.workspace = true` is missing",
                "`[lints] workspace = true` is missing"
            ]
        );
        let dependency = format!(
            "{PACKAGE}[dependencies]\nhex = \"0.4\"\ntokio = {{ workspace = true, features = [] }}\n"
        );
        assert_eq!(
            messages("crates/sms/Cargo.toml", &dependency),
            ["`hex` of [dependencies] must be `workspace = true`"]
        );
        assert_eq!(
            messages("crates/sms/Cargo.toml", "[package"),
            ["is no TOML: unclosed table, expected `]`"]
        );
    }

    #[test]
    fn who_may_depend_on_whom() {
        for (folder, name, in_tests, is_allowed) in [
            ("domain", "jiff", false, true),
            ("domain", "serde", false, false),
            ("domain", "proptest", true, true),
            ("domain", "casement-event", false, false),
            ("event", "casement-domain", false, true),
            ("event", "casement-event-log", false, false),
            ("event-log", "casement-event", false, true),
            ("event-log", "async-nats", false, true),
            ("event-log", "casement-testkit", true, true),
            ("event-log", "casement-testkit", false, false),
            ("ingress", "casement-whatsapp", false, true),
            ("ingress", "casement-dispatcher", false, false),
            ("ingress", "casement-dispatcher", true, false),
            ("ingress", "async-nats", false, false),
            ("ingress", "async-nats", true, false),
            ("dispatcher", "reqwest", false, false),
            ("whatsapp", "reqwest", false, true),
            ("simulator", "reqwest", false, true),
            ("simulator", "casement-domain", false, false),
            ("audit-projector", "sqlx", false, true),
            ("window-tracker", "sqlx", false, false),
            ("casement", "casement-ingress", false, true),
            ("casement", "async-nats", false, false),
            ("tests", "casement-ingress", false, true),
            ("xtask", "casement-shell", false, false),
            ("rust", "casement-proto", false, true),
            ("rust", "casement-event", false, false),
            ("rust", "async-nats", false, true),
            ("shell", "tokio", false, true),
        ] {
            assert_eq!(
                refused(folder, name, in_tests).is_none(),
                is_allowed,
                "{folder} on {name}"
            );
        }
    }

    #[test]
    fn a_forbidden_dependency_is_told_with_its_line() {
        let text = format!("{PACKAGE}[dependencies]\ncasement-ingress.workspace = true\n");
        let file = File {
            path: "crates/dispatcher/Cargo.toml".to_owned(),
            text,
        };
        let problems: Vec<String> = check(&file).iter().map(ToString::to_string).collect();
        assert_eq!(
            problems,
            ["crates/dispatcher/Cargo.toml:11: `dispatcher` may not depend on `ingress`"]
        );
    }

    #[test]
    fn a_dependency_of_the_workspace_says_what_it_is_for() {
        let root = "[workspace.dependencies]\n# The house.\na = \"1\" # letters\n\
            b = { version = \"1\", features = [\"x#\"] } # more \"letters\"\n\nc = { path = \"#\" }\n\
            d = \"1\"\n[profile.dev]\ndebug = 1\n";
        let file = File {
            path: "Cargo.toml".to_owned(),
            text: root.to_owned(),
        };
        let lines: Vec<usize> = check(&file).iter().map(|problem| problem.line).collect();
        assert_eq!(lines, [6, 7]);
    }
}
