//! The subscriber examples keep what the guide promises: the present state first, then each event
//! once and in order, whatever dies meanwhile.

use std::collections::BTreeSet;
use std::process::Command;
use std::slice::Iter;
use std::time::Duration;

use async_nats::jetstream;
use async_nats::jetstream::consumer::PullConsumer;
use casement_testkit::{Process, Proxy, eventually, eventually_within};
use casement_tests::{NUMBER, Options, Stack, node_subscriber, python_subscriber, rust_subscriber};
use futures::StreamExt as _;
use jiff::Timestamp;
use serde_json::Value;
use tempfile::TempDir;

/// Conversations of a test, one after the other.
const CUSTOMERS: [&str; 12] = [
    "+15550002201",
    "+15550002202",
    "+15550002203",
    "+15550002204",
    "+15550002205",
    "+15550002206",
    "+15550002207",
    "+15550002208",
    "+15550002209",
    "+15550002210",
    "+15550002211",
    "+15550002212",
];

const DURABLE: &str = "claims";

/// An event that is delivered again comes after ten seconds, and a reconnect may come before that.
const PATIENCE: Duration = Duration::from_mins(1);

#[tokio::test]
async fn the_subscriber_in_rust_tells_each_event_once() {
    each_event_is_told_once(rust_subscriber).await;
}

#[tokio::test]
async fn the_subscriber_in_python_tells_each_event_once() {
    each_event_is_told_once(python_subscriber).await;
}

#[tokio::test]
async fn the_subscriber_in_node_tells_each_event_once() {
    each_event_is_told_once(node_subscriber).await;
}

async fn each_event_is_told_once(example: fn() -> Command) {
    let mut stack = Stack::with(Options {
        window_seconds: 12,
        ..Options::default()
    })
    .await;
    let mut customers = CUSTOMERS.iter();

    // A conversation of several events, before anybody follows.
    let events = stack.events().await;
    let ana = stack.customer("+15550002222");
    eventually("a window was opened and extended", async || {
        stack.says(&ana, "Hello");
        !events.all("WindowExtended").is_empty()
    })
    .await;
    let context = jetstream::new(stack.nats.client().await);
    let before = log(&context).await;

    let proxy = Proxy::start(stack.nats.addr()).await;
    let mut subscriber = Subscriber::new(example, proxy.url("nats"));
    subscriber.start();
    subscriber.wait_for(1).await;
    let first = subscriber.told()[0].clone();
    assert!(
        sequence(&first) >= before.last().unwrap().sequence,
        "the newest event of the conversation is told first, not its history: {first}"
    );
    let window = stack.clients().window("+15550002222").await.unwrap();
    assert_eq!(first["customer"], window.customer_id.as_str());
    assert_eq!(first["window"], window.window_id.as_str());

    // Told, but the acknowledgement is lost and the program killed: the next life gets the event
    // again, and does not tell it again.
    let redelivered = loop {
        it_waits(&context).await;
        let told_count = subscriber.told().len();
        proxy.drop_requests();
        somebody_writes(&stack, &context, &mut customers).await;
        // A request for the next event may have run out just now; then once more.
        let is_told = tokio::time::timeout(Duration::from_secs(5), async {
            subscriber.wait_for(told_count + 1).await;
        });
        if is_told.await.is_ok() {
            break subscriber.told()[told_count].clone();
        }
        proxy.forward();
        subscriber.wait_for(told_count + 1).await;
    };
    subscriber.wait_until_remembered(&redelivered).await;
    subscriber.kill9();
    let consumer_before = consumer(&context).await.cached_info().clone();
    assert!(
        consumer_before.ack_floor.stream_sequence < sequence(&redelivered),
        "its acknowledgement was lost"
    );
    proxy.forward();
    // Somebody writes while nobody follows.
    somebody_writes(&stack, &context, &mut customers).await;
    subscriber.start();
    wait_until_all_is_told(&context, &mut subscriber).await;
    let after = consumer(&context).await.cached_info().clone();
    let told_since =
        after.delivered.consumer_sequence - consumer_before.delivered.consumer_sequence;
    let stored_since = log(&context)
        .await
        .iter()
        .filter(|event| event.sequence > consumer_before.delivered.stream_sequence)
        .count();
    assert!(
        usize::try_from(told_since).unwrap() > stored_since,
        "an event was delivered again: {told_since} deliveries of {stored_since} events"
    );

    // The same fact stored twice is the same event.
    let stored_twice = store_again(&context, sequence(&redelivered)).await;
    somebody_writes(&stack, &context, &mut customers).await;
    wait_until_all_is_told(&context, &mut subscriber).await;
    let told: Vec<u64> = subscriber.told().iter().map(sequence).collect();
    assert!(!told.contains(&stored_twice));

    // The broker dies.
    stack.restart_broker().await;
    let context = jetstream::new(stack.nats.client().await);
    somebody_writes(&stack, &context, &mut customers).await;
    wait_until_all_is_told(&context, &mut subscriber).await;

    // The program dies with an event in its hands that it has not looked at.
    it_waits(&context).await;
    subscriber.pause();
    somebody_writes(&stack, &context, &mut customers).await;
    eventually("an event is on its way", async || {
        let info = consumer(&context).await.cached_info().clone();
        // Or its request has run out just now; then it dies without.
        info.num_ack_pending == 1 || info.num_waiting == 0
    })
    .await;
    subscriber.kill9();
    subscriber.start();
    wait_until_all_is_told(&context, &mut subscriber).await;

    // Until each window has ended.
    let opened = distinct(&log(&context).await, "WindowOpened");
    eventually_within(PATIENCE, "each window has ended", async || {
        let ended = distinct(&log(&context).await, "WindowExpired");
        if ended >= opened {
            Ok(())
        } else {
            Err(format!("{ended} of {opened}"))
        }
    })
    .await;
    wait_until_all_is_told(&context, &mut subscriber).await;

    let stored = log(&context).await;
    for (told, event) in subscriber.told().iter().zip(to_be_told(&stored, &first)) {
        assert_eq!(told["type"], event.name.as_str());
        let state = match event.name.as_str() {
            "WindowExpired" => "WINDOW_STATE_CLOSED",
            _ => "WINDOW_STATE_OPEN",
        };
        assert_eq!(told["state"], state);
        let ends: Timestamp = told["expireTime"].as_str().unwrap().parse().unwrap();
        assert_eq!(ends.to_string(), event.expires);
        // Nobody answers, so whoever wrote waits since then.
        let instant = |field: &str| -> Timestamp { told[field].as_str().unwrap().parse().unwrap() };
        assert!(instant("waitingSinceTime") <= instant("openTime"));
    }
    stack.stop().await;
}

/// Opens one more window, and returns once that is on the log.
async fn somebody_writes(
    stack: &Stack,
    context: &jetstream::Context,
    customers: &mut Iter<'_, &str>,
) {
    let before = distinct(&log(context).await, "WindowOpened");
    let customer = stack.customer(customers.next().expect("enough customers"));
    stack.says(&customer, "Hello");
    eventually_within(PATIENCE, "a window opens", async || {
        distinct(&log(context).await, "WindowOpened") > before
    })
    .await;
}

/// Waits until what was told is what is stored: each id once, in the order of the stream.
async fn wait_until_all_is_told(context: &jetstream::Context, subscriber: &mut Subscriber) {
    let first = subscriber.told()[0].clone();
    eventually_within(PATIENCE, "all that is stored was told", async || {
        subscriber.assert_alive();
        let stored = log(context).await;
        let stored: Vec<&str> = to_be_told(&stored, &first)
            .map(|event| event.id.as_str())
            .collect();
        let told = subscriber.told();
        let told: Vec<&str> = told
            .iter()
            .map(|line| line["id"].as_str().unwrap())
            .collect();
        let distinct: BTreeSet<&str> = told.iter().copied().collect();
        assert_eq!(distinct.len(), told.len(), "told twice: {told:#?}");
        if told == stored {
            Ok(())
        } else {
            Err(format!("told {told:#?}, stored {stored:#?}"))
        }
    })
    .await;
}

/// What is stored from the first line on, the first of each id.
fn to_be_told<'a>(stored: &'a [Event], first: &Value) -> impl Iterator<Item = &'a Event> {
    let from = sequence(first);
    let mut ids = BTreeSet::new();
    stored
        .iter()
        .filter(move |event| event.sequence >= from)
        .filter(move |event| ids.insert(event.id.as_str()))
}

fn distinct(stored: &[Event], name: &str) -> usize {
    let named = stored.iter().filter(|event| event.name == name);
    named.map(|event| &event.id).collect::<BTreeSet<_>>().len()
}

fn sequence(told: &Value) -> u64 {
    told["sequence"].as_u64().expect("each line has a sequence")
}

async fn consumer(context: &jetstream::Context) -> PullConsumer {
    let consumer = context.get_consumer_from_stream(DURABLE, "EVENTS").await;
    consumer.expect("the subscriber's consumer")
}

/// Waits until the subscriber has acknowledged all there is, and asks for the next.
async fn it_waits(context: &jetstream::Context) {
    eventually_within(PATIENCE, "it asks for the next event", async || {
        let consumer = consumer(context).await;
        let info = consumer.cached_info();
        if info.num_waiting > 0 && info.num_ack_pending == 0 && info.num_pending == 0 {
            Ok(())
        } else {
            Err(format!("{info:?}"))
        }
    })
    .await;
}

/// A window event on the log.
struct Event {
    sequence: u64,
    id: String,
    name: String,
    expires: String,
}

/// Reads the window events of the number.
async fn log(context: &jetstream::Context) -> Vec<Event> {
    let config = jetstream::consumer::pull::OrderedConfig {
        filter_subject: format!(
            "casement.events.window.*.{}.*",
            NUMBER.trim_start_matches('+')
        ),
        ..Default::default()
    };
    let consumer = context.create_consumer_on_stream(config, "EVENTS").await;
    let consumer = consumer.expect("a consumer");
    let left = consumer.cached_info().num_pending;
    let messages = consumer.messages().await.expect("messages");
    let messages = messages.take(usize::try_from(left).expect("few"));
    messages
        .map(|message| {
            let message = message.expect("a message");
            let header = |name: &str| {
                let headers = message.headers.as_ref().expect("headers");
                headers
                    .get(name)
                    .expect("a header of all window events")
                    .to_string()
            };
            Event {
                sequence: message
                    .info()
                    .expect("a message of a stream")
                    .stream_sequence,
                id: header("ce-id"),
                name: header("ce-type").replace("casement.events.v1.", ""),
                expires: header("ce-expiretime"),
            }
        })
        .collect()
        .await
}

/// Stores an event once more, as a writer does that does not know it is there.
async fn store_again(context: &jetstream::Context, sequence: u64) -> u64 {
    let stream = context
        .get_stream("EVENTS")
        .await
        .expect("the stream of events");
    let stored = stream
        .get_raw_message(sequence)
        .await
        .expect("a stored event");
    let mut headers = async_nats::HeaderMap::new();
    for (name, values) in stored.headers.iter() {
        if !name.to_string().starts_with("Nats-") {
            headers.insert(name.clone(), values[0].clone());
        }
    }
    let subject = format!("append.{}", stored.subject);
    let stored = context
        .publish_with_headers(subject, headers, stored.payload)
        .await
        .expect("a connection");
    stored.await.expect("it is stored").sequence
}

/// An example under way, over all its lives.
struct Subscriber {
    example: fn() -> Command,
    url: String,
    folder: TempDir,
    process: Option<Process>,
    /// What earlier lives told.
    told_before: Vec<Value>,
}

impl Subscriber {
    fn new(example: fn() -> Command, url: String) -> Self {
        Self {
            example,
            url,
            folder: TempDir::new().expect("a temporary folder"),
            process: None,
            told_before: Vec::new(),
        }
    }

    fn start(&mut self) {
        let mut command = (self.example)();
        command
            .current_dir(self.folder.path())
            .args([
                "--nats",
                &self.url,
                "--number",
                NUMBER,
                "--durable",
                DURABLE,
            ])
            .args(["--seen", "seen"]);
        self.process = Some(Process::start(&mut command));
    }

    fn kill9(&mut self) {
        let mut process = self.process.take().expect("it was started");
        process.kill9();
        self.told_before.extend(lines(&process));
    }

    fn pause(&mut self) {
        self.process.as_mut().expect("it was started").pause();
    }

    /// Waits until an event will be known to the next life. Before, a kill may have it told again.
    async fn wait_until_remembered(&self, told: &Value) {
        let id = told["id"].as_str().expect("each line has an id");
        let path = self.folder.path().join("seen");
        eventually("the event is remembered", async || {
            std::fs::read_to_string(&path)
                .map(|ids| ids.contains(id).then_some(()))
                .map_err(|error| error.to_string())?
                .ok_or_else(|| "it is not there".to_owned())
        })
        .await;
    }

    /// What all lives told.
    fn told(&self) -> Vec<Value> {
        let now = self.process.iter().flat_map(lines);
        self.told_before.iter().cloned().chain(now).collect()
    }

    async fn wait_for(&mut self, count: usize) {
        eventually_within(PATIENCE, &format!("{count} lines"), async || {
            self.assert_alive();
            let told = self.told().len();
            if told >= count {
                Ok(())
            } else {
                Err(format!("told {told}"))
            }
        })
        .await;
    }

    fn assert_alive(&mut self) {
        let process = self.process.as_mut().expect("it was started");
        assert!(process.is_running(), "it ended: {}", process.stderr());
    }
}

/// The lines that are whole.
fn lines(process: &Process) -> Vec<Value> {
    let text = process.stdout();
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    whole
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("no JSON: {line}")))
        .collect()
}
