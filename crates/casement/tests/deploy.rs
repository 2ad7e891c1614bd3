//! The broker's configuration for production, with a real broker.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use casement_event::{Record, Uuid, subject, v1};
use casement_event_log::{AppendError, Config, Expect, Log};
use casement_testkit::{Process, free_port, nats_server_bin};
use jiff::Timestamp;

const ROLES: [&str; 5] = [
    "ingress",
    "window-tracker",
    "dispatcher",
    "accounts",
    "audit-projector",
];

struct Broker {
    _process: Process,
    folder: tempfile::TempDir,
    port: u16,
    monitoring_port: u16,
}

fn password(user: &str) -> String {
    format!("password-of-{user}")
}

fn broker() -> Broker {
    let conf = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/nats/nats-server.conf");
    let conf = std::fs::read_to_string(conf).expect("the configuration is in the checkout");
    let folder = tempfile::tempdir().expect("a folder for temporary files");
    let (port, monitoring_port) = (free_port(), free_port());
    let store = folder.path().join("store").display().to_string();
    let mut here = conf.clone();
    for (there, instead) in [
        ("0.0.0.0:4222", format!("127.0.0.1:{port}")),
        ("0.0.0.0:8222", format!("127.0.0.1:{monitoring_port}")),
        ("/var/lib/nats", store),
    ] {
        assert!(here.contains(there), "{there} is not in the configuration");
        here = here.replace(there, &instead);
    }
    let path = folder.path().join("nats-server.conf");
    std::fs::write(&path, here).expect("a new file in a new folder");
    let mut command = Command::new(nats_server_bin());
    command.arg("-c").arg(path);
    command.env("CASEMENT_NATS_STORE_KEY", "key-of-the-store");
    for user in ROLES.iter().chain(&["subscriber", "operator"]) {
        let name = user.to_ascii_uppercase().replace('-', "_");
        command.env(format!("CASEMENT_NATS_{name}_PASSWORD"), password(user));
    }
    Broker {
        _process: Process::start(&mut command),
        folder,
        port,
        monitoring_port,
    }
}

impl Broker {
    async fn log(&self, user: &str) -> Log {
        let config = Config {
            servers: format!("nats://127.0.0.1:{}", self.port),
            monitoring: Some(format!("127.0.0.1:{}", self.monitoring_port)),
            user: Some((user.to_owned(), password(user))),
            ack_timeout: Duration::from_millis(300),
            append_deadline: Duration::from_secs(1),
            ..Config::default()
        };
        Log::connect(&config)
            .await
            .unwrap_or_else(|error| panic!("{user}: {error}"))
    }
}

/// Writes a dead letter of `role`.
async fn bury(log: &Log, role: &str) -> Result<(), AppendError> {
    let letter = v1::DeadLetter {
        role: role.to_owned(),
        ..v1::DeadLetter::default()
    };
    let record = Record::new(
        subject::dead(role),
        Uuid::new_v4(),
        "casement/test",
        Timestamp::UNIX_EPOCH,
        letter,
    );
    log.append(record, Expect::Anything).await.map(drop)
}

#[tokio::test]
async fn each_role_opens_the_log_and_writes_its_own_subjects_only() {
    let broker = broker();
    for (index, role) in ROLES.iter().enumerate() {
        let log = broker.log(role).await;
        bury(&log, role)
            .await
            .unwrap_or_else(|error| panic!("{role}: {error}"));
        let other = ROLES[(index + 1) % ROLES.len()];
        let refused = bury(&log, other).await;
        assert!(refused.is_err(), "{role} wrote as {other}");
    }
    let log = broker.log("subscriber").await;
    assert!(bury(&log, "ingress").await.is_err(), "a subscriber wrote");
}

/// Reads the files of a folder and of those in it.
fn read_all(folder: &Path, bytes: &mut Vec<u8>) {
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            read_all(&path, bytes);
        } else {
            bytes.extend(std::fs::read(path).unwrap_or_default());
        }
    }
}

#[tokio::test]
async fn what_the_shipped_broker_stores_cannot_be_read_from_its_files() {
    let broker = broker();
    let log = broker.log("ingress").await;
    let canary = "marzipan-canary";
    let letter = v1::DeadLetter {
        role: "ingress".to_owned(),
        reason: canary.to_owned(),
        ..v1::DeadLetter::default()
    };
    let (subject, at) = (subject::dead("ingress"), Timestamp::UNIX_EPOCH);
    let record = Record::new(subject, Uuid::new_v4(), "casement/test", at, letter);
    log.append(record, Expect::Anything)
        .await
        .expect("it is stored");
    let mut stored = Vec::new();
    read_all(&broker.folder.path().join("store"), &mut stored);
    let holds = |text: &str| {
        stored
            .windows(text.len())
            .any(|part| part == text.as_bytes())
    };
    assert!(stored.len() > 200, "{} bytes", stored.len());
    assert!(!holds(canary) && !holds("casement.dead.ingress"));
}

#[test]
fn a_broker_with_another_key_than_its_store_has_does_not_start() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let script = std::fs::read_to_string(root.join("deploy/nats/start.sh"));
    let script = script.expect("it is in the checkout");
    let folder = tempfile::tempdir().expect("a folder for temporary files");
    let secrets = folder.path().join("secrets");
    std::fs::create_dir(&secrets).expect("a new folder");
    let users = ROLES.iter().chain(&["subscriber", "operator"]);
    for name in users.map(|user| format!("nats-{user}")) {
        std::fs::write(secrets.join(name), "secret").expect("a new file");
    }
    let script = script.replace("/run/secrets", &secrets.display().to_string());
    let script = script.replace("exec nats-server", "exec echo would start nats-server");
    let start = |key: &str| {
        std::fs::write(secrets.join("nats-store-key"), key).expect("a file of ours");
        let mut command = Command::new("sh");
        command.args(["-c", &script]);
        command.env("CASEMENT_NATS_STORE", folder.path());
        command.output().expect("a shell is there")
    };
    for (key, is_started) in [
        ("one", true),
        ("one", true),
        ("other", false),
        ("one", true),
    ] {
        let output = start(key);
        assert_eq!(output.status.success(), is_started, "{output:?}");
        let said = String::from_utf8_lossy(&output.stdout).contains("would start");
        assert_eq!(said, is_started, "{output:?}");
    }
}

#[test]
fn what_dev_init_writes_is_private_stays_and_is_all_that_the_roles_ask_for() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let folder = tempfile::tempdir().expect("a folder for temporary files");
    let here = folder.path();
    std::fs::create_dir(here.join("deploy")).expect("a new folder");
    for file in [
        "dev",
        "deploy/casement.toml",
        "deploy/accounts.example.toml",
    ] {
        std::fs::copy(root.join(file), here.join(file)).expect("it is in the checkout");
    }
    let init = || {
        let status = Command::new("bash")
            .arg(here.join("dev"))
            .arg("init")
            .status()
            .expect("bash is there");
        assert!(status.success());
        let mut secrets: Vec<_> = std::fs::read_dir(here.join("deploy/secrets"))
            .expect("init makes it")
            .map(|entry| {
                let path = entry.expect("a file").path();
                let mode = std::fs::metadata(&path).expect("it is there").permissions();
                assert_eq!(mode.mode() & 0o777, 0o600, "{}", path.display());
                let content = std::fs::read_to_string(&path).expect("a text");
                (path, content)
            })
            .collect();
        secrets.sort();
        secrets
    };
    let secrets = init();
    assert_eq!(secrets, init());

    let secret = |name: &str| here.join("deploy/secrets").join(name).display().to_string();
    let text = std::fs::read_to_string(here.join("deploy/casement.toml")).expect("copied above");
    for role in ROLES.iter().chain(&["gateway"]) {
        let text = text
            .replace(
                "/run/secrets/nats-password",
                &secret(&format!("nats-{role}")),
            )
            .replace("/run/secrets/", &secret(""));
        let config = here.join("casement.toml");
        std::fs::write(&config, text).expect("a new file");
        let checked = Command::new(env!("CARGO_BIN_EXE_casement"))
            .arg(role)
            .args(["--check-config", "--config"])
            .arg(&config)
            .env("CASEMENT__LOG__USER", role)
            .output()
            .expect("the program was built");
        assert!(checked.status.success(), "{role}: {checked:?}");
    }
    let example = std::fs::read_to_string(here.join("deploy/accounts.toml")).expect("init copies");
    assert!(example.parse::<toml::Table>().expect("TOML").is_empty());
}
