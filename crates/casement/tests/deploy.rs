//! The broker's configuration for production, with a real broker.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use casement_event::{Record, Uuid, subject, v1};
use casement_event_log::{AppendError, Config, ConnectError, Expect, Log, Tls};
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

/// `casement broker init`, with the folders in `folder`.
fn init(folder: &Path, words: &[&str]) {
    let made = Command::new(env!("CARGO_BIN_EXE_casement"))
        .args(["broker", "init", "--site"])
        .arg(folder.join("nats/site"))
        .arg("--seeds")
        .arg(folder.join("seeds"))
        .args(words)
        .output()
        .expect("the program was built");
    assert!(made.status.success(), "{made:?}");
}

fn broker() -> Broker {
    broker_with(&["--host", "127.0.0.1"])
}

fn broker_with(words: &[&str]) -> Broker {
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
    init(folder.path(), words);
    let nats = folder.path().join("nats");
    std::fs::write(nats.join("nats-server.conf"), here).expect("a new file in a new folder");
    let mut command = Command::new(nats_server_bin());
    command.arg("-c").arg(nats.join("site/nats-server.conf"));
    command.env("CASEMENT_NATS_STORE_KEY", "key-of-the-store");
    command.env("CASEMENT_NATS_SUBSCRIBER_PASSWORD", "secret");
    Broker {
        _process: Process::start(&mut command),
        folder,
        port,
        monitoring_port,
    }
}

impl Broker {
    fn config(&self, user: &str) -> Config {
        let seed = self.folder.path().join(format!("seeds/nkey-{user}"));
        let seed = std::fs::read_to_string(seed).expect("a user with a key pair");
        Config {
            servers: format!("nats://127.0.0.1:{}", self.port),
            monitoring: Some(format!("127.0.0.1:{}", self.monitoring_port)),
            nkey: Some(seed.trim().to_owned().into()),
            inbox_prefix: format!("_INBOX_{user}"),
            tls: Tls {
                ca: Some(self.folder.path().join("nats/site/ca.pem")),
                ..Tls::default()
            },
            ack_timeout: Duration::from_millis(300),
            append_deadline: Duration::from_secs(1),
            ..Config::default()
        }
    }

    async fn log(&self, user: &str) -> Log {
        Log::connect(&self.config(user))
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
    let config = Config {
        user: Some(("subscriber".to_owned(), "secret".to_owned())),
        nkey: None,
        inbox_prefix: "_INBOX".to_owned(),
        ..broker.config("ingress")
    };
    let log = Log::connect(&config).await;
    let log = log.expect("a user with a password");
    assert!(bury(&log, "ingress").await.is_err(), "a subscriber wrote");
}

/// Why there is no connection, with all its causes.
async fn refused(config: Config) -> String {
    let config = Config {
        connect_timeout: Duration::from_secs(2),
        ..config
    };
    let error = Log::connect(&config).await.expect_err("a connection");
    let mut told = error.to_string();
    let mut source = std::error::Error::source(&error);
    while let Some(cause) = source {
        told = format!("{told}: {cause}");
        source = cause.source();
    }
    told
}

#[tokio::test]
async fn who_cannot_speak_tls_with_the_shipped_broker_is_told_why() {
    let broker = broker();
    broker.log("ingress").await;
    let good = broker.config("ingress");
    let elsewhere = tempfile::tempdir().expect("a folder for temporary files");
    init(elsewhere.path(), &["--host", "127.0.0.1"]);
    let other = elsewhere.path().join("nats/site/ca.pem");
    let with_tls = |tls: Tls| Config {
        tls,
        ..good.clone()
    };

    let ca = |ca: &Path| {
        with_tls(Tls {
            ca: Some(ca.to_owned()),
            ..Tls::default()
        })
    };
    let told = refused(ca(&other)).await;
    assert!(
        told.contains("signed by no authority in log.tls.ca"),
        "{told}"
    );
    assert!(told.contains(&other.display().to_string()), "{told}");

    let absent = elsewhere.path().join("absent.pem");
    let told = refused(ca(&absent)).await;
    assert!(
        told.contains("log.tls.ca") && told.contains("cannot be read"),
        "{told}"
    );
    let told = refused(ca(&broker.folder.path().join("seeds/nkey-ingress"))).await;
    assert!(told.contains("holds no certificate in PEM"), "{told}");

    let servers = good.servers.replace("127.0.0.1", "localhost");
    let told = refused(Config {
        servers,
        ..good.clone()
    })
    .await;
    assert!(
        told.contains("for another name than log.servers has"),
        "{told}"
    );

    // Another key pair, well made, that the broker does not know.
    let seed = elsewhere.path().join("seeds/nkey-ingress");
    let seed = std::fs::read_to_string(seed).expect("a seed");
    let told = refused(Config {
        nkey: Some(seed.trim().to_owned().into()),
        ..good.clone()
    })
    .await;
    assert!(
        told.contains("does not take us by the key in log.nkey"),
        "{told}"
    );
    assert!(!told.contains(seed.trim()), "{told}");
}

#[tokio::test]
async fn a_broker_that_wants_certificates_or_has_no_tls_is_told_apart() {
    // One that asks its clients for certificates.
    let folder = tempfile::tempdir().expect("a folder for temporary files");
    init(folder.path(), &["--host", "127.0.0.1"]);
    let site = folder.path().join("nats/site");
    let port = free_port();
    let file = |name: &str| site.join(name).display().to_string();
    let conf = format!(
        "listen: \"127.0.0.1:{port}\"\ntls {{ cert_file: {:?}, key_file: {:?}, ca_file: {:?}, verify: true }}\n",
        file("server.pem"),
        file("server-key.pem"),
        file("ca.pem")
    );
    let path = folder.path().join("strict.conf");
    std::fs::write(&path, conf).expect("a new file");
    let _broker = Process::start(Command::new(nats_server_bin()).arg("-c").arg(&path));
    let tls = Tls {
        ca: Some(site.join("ca.pem")),
        ..Tls::default()
    };
    let config = |tls: Tls| Config {
        servers: format!("nats://127.0.0.1:{port}"),
        tls,
        ..Config::default()
    };
    casement_testkit::eventually("the broker asks for a certificate", async || {
        let told = refused(config(tls.clone())).await;
        told.contains("give log.tls.certificate and log.tls.key")
            .then_some(())
            .ok_or(told)
    })
    .await;
    // The broker's own is one that its authority signed, for clients as well.
    let connected = Log::connect(&config(Tls {
        certificate: Some(site.join("server.pem")),
        key: Some(site.join("server-key.pem")),
        ..tls.clone()
    }))
    .await;
    let error = connected.expect_err("it has no JetStream");
    assert!(matches!(error, ConnectError::Unfit { .. }), "{error}");

    let plain = casement_testkit::NatsServer::start().await;
    let told = refused(Config {
        servers: plain.url(),
        tls,
        ..Config::default()
    })
    .await;
    assert!(told.contains("does not speak TLS"), "{told}");
}

#[test]
fn what_broker_init_makes_is_private_stays_and_can_be_renewed() {
    let folder = tempfile::tempdir().expect("a folder for temporary files");
    let read = |name: &str| std::fs::read_to_string(folder.path().join(name)).expect(name);
    let files = [
        "seeds/nkey-ingress",
        "seeds/nkey-reload",
        "seeds/nats-ca-key.pem",
        "nats/site/server-key.pem",
        "nats/site/nats-server.conf",
        "nats/site/keys.conf",
        "nats/site/ca.pem",
        "nats/site/server.pem",
    ];
    init(folder.path(), &[]);
    let before = files.map(read);
    for name in &files[..5] {
        let mode = std::fs::metadata(folder.path().join(name)).expect(name);
        assert_eq!(mode.permissions().mode() & 0o777, 0o600, "{name}");
    }
    init(folder.path(), &[]);
    assert_eq!(files.map(read), before);
    init(folder.path(), &["--renew"]);
    let after = files.map(read);
    for (index, name) in files.iter().enumerate() {
        let is_renewed = name.contains("/server");
        assert_eq!(after[index] != before[index], is_renewed, "{name}");
    }
    // A seed that is lost is made anew, and its public half with it.
    std::fs::remove_file(folder.path().join(files[0])).expect("it is there");
    init(folder.path(), &[]);
    assert_ne!(read(files[0]), before[0]);
    assert_ne!(read(files[5]), before[5]);
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
    std::fs::write(secrets.join("nats-subscriber"), "secret").expect("a new file");
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
            .env("CASEMENT_BIN", env!("CARGO_BIN_EXE_casement"))
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
            .replace("/run/secrets/nats-nkey", &secret(&format!("nkey-{role}")))
            .replace(
                "/etc/casement/nats-ca.pem",
                &here.join("deploy/nats/site/ca.pem").display().to_string(),
            )
            .replace("/run/secrets/", &secret(""));
        let config = here.join("casement.toml");
        std::fs::write(&config, text).expect("a new file");
        let checked = Command::new(env!("CARGO_BIN_EXE_casement"))
            .arg(role)
            .args(["--check-config", "--config"])
            .arg(&config)
            .output()
            .expect("the program was built");
        assert!(checked.status.success(), "{role}: {checked:?}");
    }
    let example = std::fs::read_to_string(here.join("deploy/accounts.toml")).expect("init copies");
    assert!(example.parse::<toml::Table>().expect("TOML").is_empty());
}
