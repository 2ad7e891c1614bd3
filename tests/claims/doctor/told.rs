//! A run of the doctor, and what it told.

use std::path::Path;
use std::process::{Command, Output};

use casement_testkit::{casement_bin, free_port, nats_server_bin};
use casement_tests::ACCESS_TOKEN;
use serde_json::Value;

/// What must never be printed.
const SECRETS: [&str; 7] = [
    ACCESS_TOKEN,
    "test-app-secret",
    "test-twilio-token",
    "test-verify-token",
    "test-token-key-of-some-length",
    "test-api-token",
    "hush-hush",
];

/// What a run has told.
pub(super) struct Told {
    pub(super) checks: Vec<Value>,
    pub(super) text: String,
    pub(super) code: Option<i32>,
}

impl Told {
    pub(super) fn of(output: &Output) -> Self {
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        for secret in SECRETS {
            assert!(
                !text.contains(secret) && !said.contains(secret),
                "a secret is told: {text}{said}"
            );
        }
        let mut checks: Vec<Value> = text
            .lines()
            .map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}{said}")))
            .collect();
        let summary = checks
            .pop()
            .unwrap_or_else(|| panic!("nothing told: {said}"));
        assert_eq!(
            summary["summary"]["checks"],
            checks.len(),
            "the last line is the summary: {summary}"
        );
        let failed = checks.iter().filter(|check| check["status"] == "fail");
        assert_eq!(summary["summary"]["fail"], failed.count());
        for check in &checks {
            let is_trouble = check["status"] == "fail" || check["status"] == "warn";
            assert_eq!(
                check["advice"].is_string(),
                is_trouble,
                "whoever is told of trouble is told what to do: {check}"
            );
        }
        Self {
            checks,
            text,
            code: output.status.code(),
        }
    }

    pub(super) fn of_status(&self, status: &str) -> Vec<&Value> {
        let checks = self.checks.iter();
        checks.filter(|check| check["status"] == status).collect()
    }

    /// Asserts that a check is told like this, with these words in what was found and advised.
    #[track_caller]
    pub(super) fn tells(&self, check: &str, status: &str, words: &[&str]) {
        let line = self.checks.iter().find(|one| {
            one["check"] == check && one["status"] == status && {
                let line = one.to_string();
                words.iter().all(|word| line.contains(word))
            }
        });
        assert!(
            line.is_some(),
            "no {status} of {check} with {words:?}: {}",
            self.text
        );
    }

    /// Asserts that this trouble is the only one, and that it decides the exit status.
    #[track_caller]
    pub(super) fn fails_alone(&self, check: &str, words: &[&str]) {
        self.tells(check, "fail", words);
        let failed = self.of_status("fail");
        assert_eq!(failed.len(), 1, "{failed:?}");
        assert_eq!(self.code, Some(1));
    }
}

/// Runs the doctor where nothing of the machine's own is in the way.
pub(super) async fn doctor(mut command: Command, more: &[&str]) -> Told {
    command.arg("doctor").arg("--json");
    for flag in ["--api-listen", "--health-listen"] {
        command.arg(flag).arg(format!("127.0.0.1:{}", free_port()));
    }
    command.args(more);
    let output = tokio::process::Command::from(command).output().await;
    Told::of(&output.expect("the program"))
}

/// The program, in a folder where nothing is.
pub(super) fn in_folder(folder: &Path) -> Command {
    let mut command = Command::new(casement_bin());
    command
        .current_dir(folder)
        .env("CASEMENT_NATS_SERVER", nats_server_bin());
    command
}
