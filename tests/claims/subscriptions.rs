//! `casement subscriber add` lets a service hear the numbers it names and nothing else, at a broker
//! that goes on, by the programs it prints.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use async_nats::ConnectOptions;
use casement_testkit::{Process, eventually};
use casement_tests::{ShippedBroker, rust_listener};
use secrecy::ExposeSecret as _;
use serde_json::Value;
use tempfile::TempDir;

/// Numbers in their subjects.
const OURS: &str = "15550001111";
const OTHER: &str = "15550009999";

#[tokio::test]
async fn the_printed_programs_hear_their_number_resume_and_can_do_nothing_else() {
    let broker = ShippedBroker::start();
    // They make the streams, write, and stay connected throughout.
    let tracker = writer(&broker, "window-tracker").await;
    let dispatcher = writer(&broker, "dispatcher").await;
    let folder = TempDir::new().expect("a temporary folder");
    let started = broker.told().matches("Server is ready").count();
    assert_eq!(started, 1);

    // Whoever comes new hears the newest of each subject that it may hear.
    let mut ours = BTreeSet::new();
    for language in ["rust", "python", "node"] {
        let name = format!("shop-{language}");
        let printed = add(&broker, &folder, &name);
        let window = |number: &str, customer: &str| {
            format!("append.casement.events.window.03.{number}.{language}-{customer}")
        };
        let message = format!("append.casement.events.message.03.{OURS}.{language}-m1");
        // Before anybody listens.
        for (client, subject) in [
            (&tracker, window(OURS, "c1")),
            (&tracker, window(OTHER, "c1")),
            (&dispatcher, message),
        ] {
            store(client, &subject).await;
        }
        let mut program = printed.start(language);
        ours.extend(strings(&[
            &format!("casement.events.message.03.{OURS}.{language}-m1"),
            &format!("casement.events.window.03.{OURS}.{language}-c1"),
        ]));
        let heard = heard(&mut program, language, ours.len()).await;
        assert_eq!(heard, ours);
        standing(&broker, &name, 0).await;
        program.kill9();

        // It resumes where it was: what came meanwhile, and not what it has had.
        store(&tracker, &window(OURS, "c2")).await;
        store(&tracker, &window(OTHER, "c2")).await;
        standing(&broker, &name, 1).await;
        let mut again = printed.start(language);
        let heard = self::heard(&mut again, language, 1).await;
        let missed = strings(&[&format!("casement.events.window.03.{OURS}.{language}-c2")]);
        assert_eq!(heard, missed);
        ours.extend(missed);
        standing(&broker, &name, 0).await;
        again.kill9();

        refuses_all_else(&broker, &folder, &name).await;
    }

    // Whoever was connected before still is, and no server was started anew.
    store(
        &tracker,
        &format!("append.casement.events.window.03.{OURS}.last"),
    )
    .await;
    assert_eq!(broker.told().matches("Server is ready").count(), started);
    assert_eq!(
        broker
            .told()
            .matches("Reloaded server configuration")
            .count(),
        3
    );
    let listed = run(broker.subscriber(&["list", "--json"]));
    assert_eq!(listed.lines().count(), 3, "{listed}");

    // Taken away, it is not let in any more; the others are.
    run(broker.subscriber(&["remove", "shop-node"]));
    let refused = connect(&broker, &folder, "shop-node").await;
    assert!(refused.is_err(), "it was let in");
    connect(&broker, &folder, "shop-rust")
        .await
        .expect("still one of its users");
    let again = broker
        .subscriber(&["remove", "shop-node"])
        .output()
        .expect("the program was built");
    assert!(!again.status.success());
    assert!(String::from_utf8_lossy(&again.stderr).contains("no subscriber shop-node"));
}

/// What was printed for one service.
struct Printed {
    folder: PathBuf,
    words: Vec<String>,
}

/// Adds a service, and lays the printed programs where they can be run.
fn add(broker: &ShippedBroker, folder: &TempDir, name: &str) -> Printed {
    let password = folder.path().join(format!("{name}.password"));
    let mut command = broker.subscriber(&["add", name, "--numbers", "+15550001111"]);
    command.args(["--events", "window,message"]);
    command.arg("--password-file").arg(&password);
    let mut told_plainly = broker.subscriber(&["add", name, "--numbers", "+15550001111"]);
    told_plainly.args(["--events", "window", "--json"]);
    let printed = run(command);
    let mode = fs::metadata(&password)
        .expect("it is written")
        .permissions();
    assert_eq!(mode.mode() & 0o777, 0o600);
    let secret = fs::read_to_string(&password).expect("it is written");
    assert!(!printed.contains(secret.trim()), "the password is printed");
    let twice = told_plainly.output().expect("the program was built");
    assert!(!twice.status.success(), "a second of the same name");

    let here = folder.path().join(name);
    fs::create_dir(&here).expect("a folder in a folder of ours");
    // As in a project of one's own that has the packages.
    symlink(
        checkout("docs/examples/subscriber/node/node_modules"),
        here.join("node_modules"),
    )
    .expect("a link in a folder of ours");
    let mut words = Vec::new();
    for section in printed.split("\n--- ").skip(1) {
        let (head, program) = section
            .split_once("\n\n")
            .expect("a program below its name");
        let (file, started) = head.split_once(": ").expect("what starts it");
        let skipped = if file == "src/main.rs" { 3 } else { 2 };
        words = started
            .split(' ')
            .skip(skipped)
            .map(str::to_owned)
            .collect();
        let file = here.join(file.trim_start_matches("src/"));
        fs::write(file, program).expect("a file in a folder of ours");
    }
    // The program in Rust is compiled with this workspace, from the very text.
    let source = fs::read_to_string(checkout("docs/examples/subscriber/rust/src/listen.rs"));
    let printed_source = fs::read_to_string(here.join("main.rs")).expect("it was printed");
    assert_eq!(
        printed_source.trim(),
        source.expect("it is in the checkout").trim()
    );
    Printed {
        folder: here,
        words,
    }
}

impl Printed {
    fn start(&self, language: &str) -> Process {
        let mut command = match language {
            "rust" => rust_listener(),
            "python" => Command::new(checkout(".dev/python/bin/python")),
            _ => Command::new("node"),
        };
        match language {
            "rust" => {}
            "python" => drop(command.arg("listen.py")),
            _ => drop(command.arg("listen.mjs")),
        }
        Process::start(command.args(&self.words).current_dir(&self.folder))
    }
}

/// The subjects of all that a program told, once they are so many.
async fn heard(program: &mut Process, language: &str, count: usize) -> BTreeSet<String> {
    eventually(&format!("{language} hears {count} events"), async || {
        assert!(program.is_running(), "it ended: {}", program.stderr());
        let told = program.stdout();
        let whole = &told[..told.rfind('\n').map_or(0, |end| end + 1)];
        let subjects: Vec<_> = whole
            .lines()
            .filter_map(|line| line.split(' ').next_back())
            .map(str::to_owned)
            .collect();
        if subjects.len() < count {
            return Err(format!("{subjects:?}"));
        }
        Ok(subjects.into_iter().collect())
    })
    .await
}

/// Waits until a service has so many events before it, and none in its hands.
async fn standing(broker: &ShippedBroker, name: &str, to_come: u64) {
    eventually("the service has acknowledged what it had", async || {
        let listed = run(broker.subscriber(&["list", "--json"]));
        let one = listed
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).expect("JSON"))
            .find(|one| one["name"] == name);
        let streams = one.expect("it is listed")["streams"].clone();
        let sum = |field: &str| -> u64 {
            let all = streams.as_object().expect("its streams").values();
            all.map(|stream| stream[field].as_u64().unwrap_or(1_000))
                .sum()
        };
        if sum("pending") == to_come && sum("inHands") == 0 {
            Ok(())
        } else {
            Err(listed)
        }
    })
    .await;
}

/// Whatever a service tries beside what it was given is refused.
async fn refuses_all_else(broker: &ShippedBroker, folder: &TempDir, name: &str) {
    let client = connect(broker, folder, name).await.expect("a user of it");
    let other_consumer = "$JS.API.CONSUMER.MSG.NEXT.EVENTS.sub-shop-rusty";
    let published = [
        "append.casement.events.window.03.15550001111.c1",
        "casement.events.window.03.15550001111.c1",
        "casement.commands.send.default.15550001111.shop",
        other_consumer,
        "$JS.API.CONSUMER.CREATE.EVENTS.own",
        "$JS.API.CONSUMER.CREATE.EVENTS.own.casement.events.window.*.15550001111.*",
        "$JS.API.CONSUMER.DELETE.EVENTS.sub-shop-rust",
        "$JS.API.STREAM.MSG.GET.EVENTS",
        "$JS.API.DIRECT.GET.EVENTS.casement.events.window.03.15550009999.c1",
        "$JS.API.STREAM.PURGE.EVENTS",
        "_INBOX_ingress.x",
    ];
    let heard = [
        "casement.events.>",
        "casement.events.window.>",
        "casement.events.window.*.15550009999.*",
        "casement.events.inbound.*.15550001111.*",
        "_INBOX.>",
        "_INBOX_window-tracker.>",
        ">",
    ];
    for subject in published {
        client.publish(subject, "".into()).await.unwrap();
    }
    for subject in heard {
        let _ = client.subscribe(subject).await.unwrap();
    }
    // It may listen to its own number as it is stored.
    let _own = client
        .subscribe("casement.events.window.*.15550001111.*")
        .await
        .unwrap();
    client.flush().await.unwrap();
    eventually("the broker refuses all of it", async || {
        let told = broker.told();
        let user = format!("user:{name}\"");
        let is_told = |kind: &str, subject: &str| {
            told.lines().any(|line| {
                line.contains(&format!("{kind} Violation"))
                    && line.contains(&user)
                    && line.contains(&format!("Subject \"{subject}\""))
            })
        };
        assert!(!is_told(
            "Subscription",
            "casement.events.window.*.15550001111.*"
        ));
        let allowed: Vec<_> = published
            .into_iter()
            .filter(|subject| !is_told("Publish", subject))
            .chain(
                heard
                    .into_iter()
                    .filter(|subject| !is_told("Subscription", subject)),
            )
            .collect();
        if allowed.is_empty() {
            Ok(())
        } else {
            Err(format!("{allowed:?} of\n{told}"))
        }
    })
    .await;
}

/// A connection with what `casement subscriber add` wrote.
async fn connect(
    broker: &ShippedBroker,
    folder: &TempDir,
    name: &str,
) -> Result<async_nats::Client, async_nats::ConnectError> {
    let password = fs::read_to_string(folder.path().join(format!("{name}.password")));
    let password = password.expect("it is written").trim().to_owned();
    ConnectOptions::with_user_and_password(name.to_owned(), password)
        .custom_inbox_prefix(format!("_INBOX_{name}"))
        .add_root_certificates(broker.ca())
        .require_tls(true)
        .connect(broker.url())
        .await
}

/// A connection as a role, once it has made the streams.
async fn writer(broker: &ShippedBroker, role: &str) -> async_nats::Client {
    broker.connect(role).await;
    let config = broker.config(role);
    let seed = config.nkey.expect("a role has a key pair");
    ConnectOptions::with_nkey(seed.expose_secret().to_owned())
        .custom_inbox_prefix(config.inbox_prefix)
        .add_root_certificates(broker.ca())
        .connect(broker.url())
        .await
        .expect("a user of it")
}

async fn store(client: &async_nats::Client, subject: &str) {
    let mut headers = async_nats::HeaderMap::new();
    headers.insert("ce-id", "id");
    headers.insert("ce-type", "type");
    let stored = client
        .request_with_headers(subject.to_owned(), headers, "x".into())
        .await;
    let stored = stored.expect("a stream takes it");
    let answer = String::from_utf8_lossy(&stored.payload).into_owned();
    assert!(answer.contains("\"seq\""), "{subject}: {answer}");
}

fn strings(all: &[&str]) -> BTreeSet<String> {
    all.iter().map(|&one| one.to_owned()).collect()
}

fn run(mut command: Command) -> String {
    let output = command.output().expect("the program was built");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).expect("text")
}

fn checkout(path: &str) -> PathBuf {
    // Its links are not followed: an environment of Python's goes by the path of its interpreter.
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path);
    assert!(path.exists(), "there is no {}", path.display());
    path
}
