//! What a subscriber is permitted is enough for the examples, and no more than the guide says: the
//! user that the shipped broker has, and the one that the guide shows.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use async_nats::jetstream::{self, stream};
use async_nats::{ConnectOptions, HeaderMap};
use casement_testkit::{Process, eventually, free_port, nats_server_bin};
use casement_tests::{NUMBER, node_subscriber, python_subscriber, rust_subscriber};
use futures::StreamExt as _;
use serde_json::Value;
use tempfile::TempDir;

const EXAMPLES: [fn() -> Command; 3] = [rust_subscriber, python_subscriber, node_subscriber];

/// Makes the stream and writes; the tests' own.
const WRITER: &str = "{ user: writer, password: writer }";

#[tokio::test]
async fn the_user_of_the_shipped_broker_may_do_what_the_examples_do() {
    let shipped = read("deploy/nats/nats-server.conf");
    let user = block(&shipped, "user: subscriber");
    let broker = Broker::start(&user.replace("$CASEMENT_NATS_SUBSCRIBER_PASSWORD", "secret")).await;
    for (index, example) in EXAMPLES.into_iter().enumerate() {
        let mut subscriber =
            broker.subscriber(example(), "subscriber", NUMBER, &format!("d{index}"));
        assert_eq!(first_line(&mut subscriber).await["sequence"], 1);
    }
}

#[tokio::test]
async fn the_user_of_the_guide_hears_its_number_and_no_other() {
    let guide = read("docs/subscribe.md");
    let start = guide.find("```nats\n").expect("the guide shows a user") + "```nats\n".len();
    let user = block(&guide[start..], "user: shop").replace("$SHOP_PASSWORD", "secret");
    for example in EXAMPLES {
        let broker = Broker::start(&user).await;
        let mut other = broker.subscriber(example(), "shop", "+15550009999", "shop");
        eventually("the broker refuses another number", async || {
            broker.log().contains("Publish Violation")
        })
        .await;
        other.kill9();
        assert_eq!(other.stdout(), "");

        let mut subscriber = broker.subscriber(example(), "shop", NUMBER, "shop");
        assert_eq!(first_line(&mut subscriber).await["sequence"], 1);
    }
}

#[tokio::test]
async fn the_user_of_the_sending_guide_asks_for_its_number_and_hears_its_own_answers_alone() {
    let guide = read("docs/sending-over-nats.md");
    let start = guide.find("```nats\n").expect("the guide shows a user") + "```nats\n".len();
    let user = block(&guide[start..], "user: crm").replace("$CRM_PASSWORD", "secret");
    let broker = Broker::start(&user).await;
    let connected = |options: ConnectOptions| options.connect(broker.url.clone());
    let writer = connected(ConnectOptions::with_user_and_password(
        "writer".into(),
        "writer".into(),
    ));
    let writer = writer.await.unwrap();
    let config = stream::Config {
        name: "CASEMENT_COMMANDS".to_owned(),
        subjects: vec!["casement.commands.send.>".to_owned()],
        ..Default::default()
    };
    let streams = jetstream::new(writer.clone());
    streams.create_stream(config).await.unwrap();
    let service = connected(
        ConnectOptions::with_user_and_password("crm".into(), "secret".into())
            .custom_inbox_prefix("_INBOX_crm"),
    );
    let service = service.await.unwrap();
    // Before the request, whose answer proves that the broker knows of it.
    let mut answers = service
        .subscribe("casement.answers.default.crm.1")
        .await
        .unwrap();
    let own = "casement.commands.send.default.15550001111.crm";
    let acknowledged = service.request(own, "x".into()).await.unwrap();
    let acknowledged = String::from_utf8_lossy(&acknowledged.payload).into_owned();
    assert!(acknowledged.contains("\"seq\":1"), "{acknowledged}");

    writer
        .publish("casement.answers.default.crm.1", "told".into())
        .await
        .unwrap();
    assert_eq!(&answers.next().await.unwrap().payload[..], b"told");

    for other in [
        "casement.commands.send.default.15550009999.crm",
        "casement.commands.send.other.15550001111.crm",
        "casement.commands.send.default.15550001111.billing",
        "casement.events.message.03.15550001111.x",
        "append.casement.dead.dispatcher",
    ] {
        service.publish(other, "x".into()).await.unwrap();
        service.flush().await.unwrap();
        eventually("the broker refuses it", async || {
            broker.has_refused("Publish Violation", other)
        })
        .await;
    }
    for other in [
        "casement.answers.default.billing.1",
        "casement.commands.>",
        "_INBOX.>",
    ] {
        let _ = service.subscribe(other).await.unwrap();
        service.flush().await.unwrap();
        eventually("the broker refuses it", async || {
            broker.has_refused("Subscription Violation", other)
        })
        .await;
    }
}

async fn first_line(subscriber: &mut Process) -> Value {
    let told = subscriber
        .wait_for_stdout("an event is told", |text| text.contains('\n'))
        .await;
    serde_json::from_str(told.lines().next().unwrap()).unwrap()
}

/// The innermost braces around a text.
fn block<'a>(text: &'a str, around: &str) -> &'a str {
    let at = text.find(around).unwrap_or_else(|| panic!("no {around:?}"));
    let start = text[..at].rfind('{').expect("a brace before it");
    let mut depth = 0;
    for (index, letter) in text[start..].char_indices() {
        match letter {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return &text[start..=start + index];
        }
    }
    panic!("no end of the braces around {around:?}");
}

fn read(path: &str) -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("..")
        .join(path);
    fs::read_to_string(path).expect("a file of the checkout")
}

/// A broker with one subscriber and one event.
struct Broker {
    process: Process,
    folder: TempDir,
    url: String,
}

impl Broker {
    async fn start(user: &str) -> Self {
        let folder = TempDir::new().expect("a temporary folder");
        let port = free_port();
        let store = folder.path().join("store");
        let conf = folder.path().join("nats-server.conf");
        let text = format!(
            "listen: 127.0.0.1:{port}\njetstream {{ store_dir: \"{}\" }}\n\
             authorization {{ users: [ {user}, {WRITER} ] }}\n",
            store.display()
        );
        fs::write(&conf, text).expect("a file in a folder of ours");
        fs::write(folder.path().join("password"), "secret\n").expect("a file in a folder of ours");
        let process = Process::start(Command::new(nats_server_bin()).arg("-c").arg(conf));
        let broker = Self {
            process,
            folder,
            url: format!("nats://127.0.0.1:{port}"),
        };
        eventually("an event is stored", async || broker.store().await).await;
        broker
    }

    async fn store(&self) -> Result<(), async_nats::Error> {
        let options = ConnectOptions::with_user_and_password("writer".into(), "writer".into());
        let context = jetstream::new(options.connect(&self.url).await?);
        let config = stream::Config {
            name: "EVENTS".to_owned(),
            subjects: vec!["casement.events.>".to_owned()],
            ..Default::default()
        };
        context.get_or_create_stream(config).await?;
        let mut headers = HeaderMap::new();
        headers.insert("ce-id", "00000000-0000-5000-8000-000000000000");
        headers.insert("ce-type", "casement.events.v1.WindowExpired");
        let subject = format!(
            "casement.events.window.03.{}.c1",
            NUMBER.trim_start_matches('+')
        );
        let payload = payload();
        context
            .publish_with_headers(subject, headers, payload.into())
            .await?
            .await?;
        Ok(())
    }

    fn subscriber(&self, mut command: Command, user: &str, number: &str, durable: &str) -> Process {
        let seen = TempDir::new_in(self.folder.path())
            .expect("a temporary folder")
            .keep();
        command
            .args(["--nats", &self.url, "--user", user, "--number", number])
            .args(["--durable", durable])
            .arg("--password-file")
            .arg(self.folder.path().join("password"))
            .arg("--seen")
            .arg(seen.join("ids"));
        Process::start(&mut command)
    }

    /// Whether its log tells of such a violation of a subject.
    fn has_refused(&self, violation: &str, subject: &str) -> Result<(), String> {
        let log = self.log();
        let is_told = log
            .lines()
            .any(|line| line.contains(violation) && line.contains(subject));
        is_told.then_some(()).ok_or(log)
    }

    fn log(&self) -> String {
        self.process.stderr()
    }
}

fn payload() -> Vec<u8> {
    use casement_event::v1;
    let time = Some(prost_types::Timestamp::default());
    let window = v1::PublishedWindow {
        conversation: Some(v1::Conversation::default()),
        open_time: time,
        expire_time: time,
        ..Default::default()
    };
    prost::Message::encode_to_vec(&v1::WindowExpired {
        window: Some(window),
    })
}
