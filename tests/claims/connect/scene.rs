//! A platform, a folder as the guide has it, and the commands of the guide.
//!
//! Nothing is called but the program itself and the simulator.

use std::path::PathBuf;
use std::process::{Command, Output};
use std::sync::Arc;

use casement_shell::SystemClock;
use casement_shell::clock::Clock as _;
use casement_simulator::{
    Config, CustomerId, Handle, NumberConfig, Running, Simulator, TemplateCategory, TemplateConfig,
    TemplateStatus,
};
use casement_testkit::{Process, casement_bin, eventually, free_port, nats_server_bin};
use jiff::SignedDuration;
use serde_json::Value;
use tempfile::TempDir;

pub(super) const NUMBER: &str = "+15550783881";
pub(super) const PHONE_NUMBER_ID: &str = "106540352242922";
pub(super) const WABA: &str = "102290129340398";
pub(super) const OTHER_NUMBER_ID: &str = "106540352249999";
pub(super) const OTHER_WABA: &str = "102290129349999";
pub(super) const ANA: &str = "+15550002222";
pub(super) const BEN: &str = "+15550003333";
pub(super) const TEMPLATE: &str = "hello_world";

pub(super) const META_TOKEN: &str = "EAAG-the-access-token-of-the-shop";
pub(super) const OTHER_TOKEN: &str = "EAAG-the-access-token-of-another";
pub(super) const APP_SECRET: &str = "0123456789abcdef-the-app-secret";
pub(super) const VERIFY_TOKEN: &str = "a-verify-token-of-our-own";
pub(super) const API_TOKEN: &str = "an-api-token-of-some-length-01";

/// A platform, a folder with secrets and configuration as the guide has them, and maybe a
/// running Casement.
pub(super) struct Scene {
    folder: TempDir,
    running: Running,
    pub(super) meta: Handle,
    pub(super) ana: CustomerId,
    webhooks: u16,
    api: u16,
    console: u16,
    health: u16,
    nats: u16,
}

impl Scene {
    pub(super) async fn set() -> Self {
        let (webhooks, api, health, nats) = (free_port(), free_port(), free_port(), free_port());
        let console = free_port();
        let clock = Arc::new(SystemClock::new());
        let mut config = Config::new(Arc::new(move || clock.now()));
        config.webhook_url = Some(format!("http://127.0.0.1:{webhooks}/webhooks/whatsapp"));
        config.app_secret = APP_SECRET.into();
        VERIFY_TOKEN.clone_into(&mut config.verify_token);
        let number = |id: &str, phone: &str, waba: &str, token: &str| NumberConfig {
            phone_number_id: id.to_owned(),
            display_phone_number: phone.to_owned(),
            waba_id: waba.to_owned(),
            token: token.into(),
        };
        config.numbers = vec![
            number(PHONE_NUMBER_ID, "+1 555-078-3881", WABA, META_TOKEN),
            number(OTHER_NUMBER_ID, "+1 555-078-9999", OTHER_WABA, OTHER_TOKEN),
        ];
        let template = |name: &str, status| TemplateConfig {
            waba_id: WABA.to_owned(),
            name: name.to_owned(),
            language: "en_US".to_owned(),
            category: TemplateCategory::Utility,
            body: "Hello World".to_owned(),
            parameter_count: 0,
            status,
        };
        config.templates = vec![
            template(TEMPLATE, TemplateStatus::Approved),
            template("in_review", TemplateStatus::Pending),
        ];
        config.limits.pair = None;
        config.webhook_retry.first = SignedDuration::from_millis(100);
        config.webhook_retry.longest = SignedDuration::from_millis(500);
        let running = Simulator::start(config).await.expect("a simulator");
        let meta = running.handle();
        meta.put_test_number(PHONE_NUMBER_ID, &[ANA.to_owned()]);
        meta.unsubscribe(WABA);
        let ana = meta.customer(Some(ANA), None, "Ana").expect("a customer");
        let scene = Self {
            folder: TempDir::new().expect("a temporary folder"),
            running,
            meta,
            ana,
            webhooks,
            api,
            console,
            health,
            nats,
        };
        std::fs::create_dir(scene.path("secrets")).expect("a folder");
        for (name, secret) in [
            ("secrets/graph-token", META_TOKEN),
            ("secrets/app-secret", APP_SECRET),
            ("secrets/verify-token", VERIFY_TOKEN),
            ("secrets/api-token", API_TOKEN),
            ("secrets/token-key", "0123456789abcdef0123456789abcdef"),
            ("secrets/master-key", "fedcba9876543210fedcba9876543210"),
        ] {
            scene.write(name, secret);
        }
        scene
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(super) fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), format!("{text}\n")).expect("a file");
    }

    /// Runs a command as the guide has it, in the scene's folder.
    pub(super) async fn casement(&self, arguments: &[&str]) -> Output {
        tokio::process::Command::new(casement_bin())
            .current_dir(self.folder.path())
            .env_remove("CASEMENT_NUMBER")
            .env("CASEMENT_API", self.api_url())
            .env("CASEMENT_TOKEN", API_TOKEN)
            .args(arguments)
            .output()
            .await
            .expect("the program")
    }

    /// Runs `casement connect` against the simulator. A flag given in `more` replaces its default.
    pub(super) async fn connect(&self, more: &[&str]) -> Output {
        let graph_url = self.running.base_url();
        let usual = [
            ("--waba", WABA),
            ("--phone-number-id", PHONE_NUMBER_ID),
            ("--token-file", "secrets/graph-token"),
            ("--app-secret-file", "secrets/app-secret"),
            ("--graph-url", &graph_url),
        ];
        let mut arguments = vec!["connect"];
        for (flag, value) in usual {
            if !more.contains(&flag) {
                arguments.extend([flag, value]);
            }
        }
        arguments.extend(more);
        let output = self.casement(&arguments).await;
        let told = format!("{}{}", stdout(&output), stderr(&output));
        for secret in [META_TOKEN, OTHER_TOKEN, APP_SECRET, API_TOKEN] {
            assert!(!told.contains(secret), "a secret is printed: {told}");
        }
        output
    }

    pub(super) fn api_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.api)
    }

    /// Starts Casement with the guide's configuration, and waits until it is ready.
    pub(super) async fn up(&self, accounts: &str) -> Process {
        let graph_url = self.running.base_url();
        self.write(
            "casement.toml",
            &format!(
                r#"
[customers]
token_key = {{ file = "secrets/token-key" }}
[secrets]
master_key = {{ file = "secrets/master-key" }}
[accounts]
{accounts}
[[api.tokens]]
name = "operator"
token = {{ file = "secrets/api-token" }}
scopes = ["read", "send", "colleague", "admin", "audit"]
brand = "*"
[ingress.apps.default]
secrets = [{{ file = "secrets/app-secret" }}]
verify_token = {{ file = "secrets/verify-token" }}
[dispatcher]
retry_schedule = ["100ms", "500ms"]
[dispatcher.providers]
graph_url = "{graph_url}"
"#
            ),
        );
        let mut command = Command::new(casement_bin());
        command
            .current_dir(self.folder.path())
            .env("CASEMENT_NATS_SERVER", nats_server_bin())
            .args(["up", "--config", "casement.toml"]);
        for (flag, port) in [
            ("--api-listen", self.api),
            ("--console-listen", self.console),
            ("--webhooks-listen", self.webhooks),
            ("--health-listen", self.health),
            ("--nats-listen", self.nats),
        ] {
            command.arg(flag).arg(format!("127.0.0.1:{port}"));
        }
        // It has a broker of its own to stop.
        let mut process = Process::start(&mut command).gently();
        let url = format!("http://127.0.0.1:{}/readyz", self.health);
        eventually("Casement is ready", async || {
            assert!(process.is_running(), "it ended: {}", process.stderr());
            let output = self.casement(&["healthcheck", &url]).await;
            if output.status.success() {
                Ok(())
            } else {
                Err(stderr(&output))
            }
        })
        .await;
        process
    }

    /// Sends as the guide does, and returns the message.
    pub(super) async fn send(&self, to: &str, more: &[&str]) -> Value {
        let usual = ["send", "--number", NUMBER, "--to", to, "--json"];
        let vouched = ["--opt-in", "in-person"];
        let arguments = usual.iter().chain(&vouched).chain(more);
        let arguments: Vec<&str> = arguments.copied().collect();
        let output = self.casement(&arguments).await;
        assert!(output.status.success(), "{}", stderr(&output));
        json(&output)["message"].clone()
    }

    /// Sends, and waits until the message is as it is wanted.
    pub(super) async fn send_until(
        &self,
        to: &str,
        more: &[&str],
        is_so: impl Fn(&Value) -> bool,
    ) -> Value {
        let sent = self.send(to, more).await;
        let id = sent["messageId"].as_str().expect("an id").to_owned();
        eventually("the message is as it shall be", async || {
            let output = self.casement(&["message", "get", &id, "--json"]).await;
            let message = json(&output)["message"].clone();
            if is_so(&message) {
                Ok(message)
            } else {
                Err(message.to_string())
            }
        })
        .await
    }

    pub(super) async fn window(&self, to: &str) -> Value {
        let output = self
            .casement(&["window", "--number", NUMBER, "--to", to, "--json"])
            .await;
        assert!(output.status.success(), "{}", stderr(&output));
        json(&output)["window"].clone()
    }

    pub(super) async fn open_window(&self, to: &str) {
        eventually("the window is open", async || {
            let window = self.window(to).await;
            if window["state"] == "WINDOW_STATE_OPEN" {
                Ok(())
            } else {
                Err(window.to_string())
            }
        })
        .await;
    }
}

pub(super) fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

pub(super) fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

pub(super) fn json(output: &Output) -> Value {
    let text = stdout(output);
    serde_json::from_str(&text).unwrap_or_else(|_| panic!("{text}{}", stderr(output)))
}

/// The errors of a message's attempts, in order; 0 for none.
pub(super) fn codes(message: &Value) -> Vec<i64> {
    let attempts = message["attempts"].as_array().cloned().unwrap_or_default();
    attempts
        .iter()
        .map(|attempt| {
            let code = attempt["error"]["code"].as_str();
            code.and_then(|code| code.parse().ok()).unwrap_or_default()
        })
        .collect()
}
