//! What `docs/asyncapi.yaml` says of subjects, headers and payloads is so, message by message.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use async_nats::jetstream::{self, consumer};
use async_nats::{HeaderMap, Message};
use casement_event::v1;
use casement_proto::message::v1 as api;
use casement_tests::{Clients, Options, Stack, asyncapi, free_form, template};
use futures::StreamExt as _;
use jiff::Timestamp;
use jsonschema::Validator;
use prost_reflect::{DescriptorPool, DynamicMessage};
use regex::Regex;
use serde_json::{Map, Value};

const CUSTOMER: &str = "+15550002222";
const STRANGER: &str = "+15550003333";

const PACKAGE: &str = "casement.events.v1.";

static POOL: LazyLock<DescriptorPool> = LazyLock::new(|| {
    DescriptorPool::decode(casement_proto::DESCRIPTORS).expect("the descriptor set of the house")
});

/// A channel of the document.
struct Channel {
    name: String,
    address: Regex,
    messages: BTreeMap<String, Described>,
}

/// A message of the document.
struct Described {
    headers: Validator,
    names_of_headers: BTreeSet<String>,
    file: String,
}

#[test]
fn the_document_is_valid_and_names_the_files_of_its_payloads() {
    for channel in channels() {
        for (name, described) in channel.messages {
            let message = POOL.get_message_by_name(&name);
            let message = message.unwrap_or_else(|| panic!("{name} is in no .proto"));
            assert_eq!(described.file, message.parent_file().name(), "{name}");
        }
    }
}

#[tokio::test]
async fn every_message_on_the_log_is_as_the_document_says() {
    let stack = Stack::with(Options {
        window_seconds: 4,
        ..Options::default()
    })
    .await;
    let client = stack.nats.client().await;
    let mut plain = client.subscribe("casement.>").await.unwrap();
    client.flush().await.unwrap();
    traffic(&stack).await;

    let channels = channels();
    let mut types = BTreeSet::new();
    let mut stored = BTreeSet::new();
    for message in all(&client).await {
        let kind = check(&channels, &message);
        types.insert(kind);
        let info = jetstream::Message {
            context: jetstream::new(client.clone()),
            message: message.clone(),
        };
        let info = info.info().unwrap();
        stored.insert((info.stream.to_owned(), info.stream_sequence));
    }
    for expected in [
        "RawPack",
        "CustomerLinked",
        "InboundMessageReceived",
        "WindowOpened",
        "WindowExpiring",
        "WindowExpired",
        "WindowProven",
        "MessageRequested",
        "MessageHeld",
        "AttemptStarted",
        "AttemptAccepted",
        "DeliveryAdvanced",
        "MessageEnded",
        "StatusReported",
        "BrandRecorded",
        "NumberRecorded",
        "TemplateRecorded",
    ] {
        assert!(types.contains(expected), "no {expected} among {types:?}");
    }

    // A plain subscriber hears what was stored since, once, told with its place in the stream.
    let mut heard = BTreeSet::new();
    let mut types_heard = BTreeSet::new();
    while !types_heard.contains("MessageEnded") || !types_heard.contains("WindowExpired") {
        let message = plain.next().await.unwrap();
        types_heard.insert(check(&channels, &message));
        let headers = message.headers.as_ref().unwrap();
        let stream = headers.get("Nats-Stream").unwrap().to_string();
        let sequence = headers.get("Nats-Sequence").unwrap().as_str();
        let place = (stream, sequence.parse::<u64>().unwrap());
        assert!(heard.insert(place.clone()), "{place:?} was heard twice");
    }
    let streams: BTreeSet<&str> = heard.iter().map(|(stream, _)| stream.as_str()).collect();
    assert!(
        streams.is_subset(&BTreeSet::from(["ACCOUNTS", "EVENTS", "MESSAGES"])),
        "raw posts, customers and dead letters are not heard: {streams:?}"
    );
    stack.stop().await;
}

#[tokio::test]
async fn tail_tells_every_event_as_a_line_of_json() {
    let stack = Stack::start().await;
    let clients = stack.clients();
    let customer = stack.customer(CUSTOMER);
    stack.says(&customer, "Hello");
    clients.open_window(CUSTOMER).await;
    let answer = clients.send(CUSTOMER, free_form("Hi")).await.unwrap();
    delivered(&clients, &answer).await;

    let told = tail(&stack, &["--from", "start"]).await;
    let names: BTreeSet<&str> = told.iter().map(|line| text(line, "type")).collect();
    for name in ["InboundMessageReceived", "WindowOpened", "DeliveryAdvanced"] {
        assert!(
            names.contains(format!("{PACKAGE}{name}").as_str()),
            "{names:?}"
        );
    }
    for line in &told {
        let place = format!("{}~", text(line, "stream"));
        assert!(text(line, "position").starts_with(&place), "{line}");
        assert!(text(line, "position").ends_with(&format!("~{}", line["sequence"])));
        assert!(
            text(line, "storedTime").parse::<Timestamp>().is_ok(),
            "{line}"
        );
        assert_eq!(line["headers"]["ce-type"], line["type"]);
        assert!(line["headers"]["ce-id"].is_string());
        assert!(line["event"].is_object(), "{line}");
    }
    let opened = told
        .iter()
        .find(|line| text(line, "type").ends_with("WindowOpened"));
    let window = &opened.unwrap()["event"]["window"];
    assert_eq!(window["state"], "WINDOW_STATE_OPEN");

    // The newest of each subject, and of no other stream than asked for.
    let last = tail(&stack, &["--from", "last", "--stream", "EVENTS"]).await;
    let subjects: BTreeSet<&str> = last.iter().map(|line| text(line, "subject")).collect();
    assert_eq!(subjects.len(), last.len());
    assert!(last.iter().all(|line| line["stream"] == "EVENTS"));
    assert!(!last.is_empty() && last.len() < told.len());
    stack.stop().await;
}

async fn tail(stack: &Stack, args: &[&str]) -> Vec<Value> {
    let mut command = stack.program();
    command
        .args(["events", "tail", "--json", "--no-follow", "--nats"])
        .arg(stack.nats.url())
        .args(args);
    let output = tokio::task::spawn_blocking(move || command.output()).await;
    let output = output.unwrap().unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn text<'a>(line: &'a Value, key: &str) -> &'a str {
    line[key]
        .as_str()
        .unwrap_or_else(|| panic!("{key} in {line}"))
}

/// Something of each kind: a window with an answer in it, its end, a template, a hold.
async fn traffic(stack: &Stack) {
    let (events, clients) = (stack.events().await, stack.clients());
    let customer = stack.customer(CUSTOMER);
    stack.says(&customer, "Hello");
    clients.open_window(CUSTOMER).await;
    let answer = clients.send(CUSTOMER, free_form("Hi")).await.unwrap();
    delivered(&clients, &answer).await;
    events.wait("WindowExpired", 1).await;
    let late = clients.send(CUSTOMER, template("Hi", "order_update", "1042"));
    delivered(&clients, &late.await.unwrap()).await;
    stack.nameless_customer("US.1234567890");
    let held = clients
        .send("US.1234567890", free_form("Hello?"))
        .await
        .unwrap();
    clients
        .until(&held.message_id, "is held", |message| {
            message.state() == api::MessageState::Held
        })
        .await;
    let sms = clients.send(STRANGER, sms("Hello")).await.unwrap();
    delivered(&clients, &sms).await;
    events.wait("MessageEnded", 1).await;
}

async fn delivered(clients: &Clients, message: &api::Message) {
    clients
        .until(&message.message_id, "is delivered", |message| {
            message.delivery_status() >= v1::DeliveryStatus::Delivered
        })
        .await;
}

fn sms(text: &str) -> v1::Content {
    let sms = v1::SmsContent {
        text: text.to_owned(),
        ..Default::default()
    };
    v1::Content {
        sms: Some(sms),
        ..Default::default()
    }
}

/// Checks one message; returns its type without the package.
fn check(channels: &[Channel], message: &Message) -> String {
    let subject = message.subject.as_str();
    let fitting: Vec<&Channel> = channels
        .iter()
        .filter(|channel| channel.address.is_match(subject))
        .collect();
    let [channel] = fitting.as_slice() else {
        let names: Vec<&str> = fitting
            .iter()
            .map(|channel| channel.name.as_str())
            .collect();
        panic!("{subject} fits {names:?}");
    };
    let headers = as_json(message.headers.as_ref().expect("headers"));
    let kind = headers["ce-type"].as_str().unwrap();
    let described = channel
        .messages
        .get(kind)
        .unwrap_or_else(|| panic!("{kind} is not described in channel {}", channel.name));
    let wrong: Vec<String> = described
        .headers
        .iter_errors(&headers)
        .map(|error| error.to_string())
        .collect();
    assert!(wrong.is_empty(), "{kind}: {wrong:?} in {headers}");
    for name in headers.as_object().unwrap().keys() {
        let is_the_brokers = name.starts_with("Nats-");
        assert!(
            is_the_brokers || described.names_of_headers.contains(name),
            "{kind}: {name} is not described"
        );
    }
    let descriptor = POOL.get_message_by_name(kind).unwrap();
    let payload = DynamicMessage::decode(descriptor, message.payload.clone()).unwrap();
    assert_eq!(payload.unknown_fields().count(), 0, "{kind}");
    kind.trim_start_matches(PACKAGE).to_owned()
}

fn as_json(headers: &HeaderMap) -> Value {
    let headers: Map<String, Value> = headers
        .iter()
        .map(|(name, values)| (name.to_string(), Value::from(values[0].as_str())))
        .collect();
    Value::from(headers)
}

/// All that the streams hold.
async fn all(client: &async_nats::Client) -> Vec<Message> {
    let context = jetstream::new(client.clone());
    let mut all = Vec::new();
    for name in ["RAW", "CUSTOMERS", "EVENTS", "MESSAGES", "ACCOUNTS", "DEAD"] {
        let config = consumer::pull::OrderedConfig::default();
        let consumer = context.create_consumer_on_stream(config, name).await;
        let consumer = consumer.expect("a consumer");
        let left = usize::try_from(consumer.cached_info().num_pending).expect("few");
        let mut messages = consumer.messages().await.expect("messages").take(left);
        while let Some(message) = messages.next().await {
            all.push(message.expect("a message").message);
        }
    }
    all
}

fn channels() -> Vec<Channel> {
    let document = asyncapi();
    let channels = document["channels"].as_object().unwrap();
    channels
        .iter()
        .map(|(name, channel)| Channel {
            name: name.clone(),
            address: address(channel),
            messages: channel["messages"]
                .as_object()
                .unwrap()
                .values()
                .map(|message| {
                    let name = message["name"].as_str().unwrap().to_owned();
                    (name, described(message))
                })
                .collect(),
        })
        .collect()
}

/// The subjects that a channel's address and parameters stand for.
fn address(channel: &Value) -> Regex {
    let tokens = channel["address"]
        .as_str()
        .unwrap()
        .split('.')
        .map(|token| {
            let Some(name) = token.strip_prefix('{') else {
                return regex::escape(token);
            };
            let parameter = &channel["parameters"][name.trim_end_matches('}')];
            if let Some(values) = parameter["enum"].as_array() {
                let values: Vec<&str> = values.iter().filter_map(Value::as_str).collect();
                format!("({})", values.join("|"))
            } else if let Some(pattern) = parameter["x-pattern"].as_str() {
                pattern.trim_matches(['^', '$']).to_owned()
            } else {
                assert!(
                    parameter["description"].is_string(),
                    "{token} is not described"
                );
                "[^.]+".to_owned()
            }
        });
    let tokens: Vec<String> = tokens.collect();
    Regex::new(&format!("^{}$", tokens.join(r"\."))).unwrap()
}

fn described(message: &Value) -> Described {
    let schema = &message["headers"];
    let mut names_of_headers = BTreeSet::new();
    names_of(schema, &mut names_of_headers);
    Described {
        headers: jsonschema::options()
            .should_validate_formats(true)
            .build(schema)
            .unwrap(),
        names_of_headers,
        file: message["x-protobuf-file"].as_str().unwrap().to_owned(),
    }
}

fn names_of(schema: &Value, names: &mut BTreeSet<String>) {
    if let Some(properties) = schema["properties"].as_object() {
        names.extend(properties.keys().cloned());
    }
    for part in schema["allOf"].as_array().into_iter().flatten() {
        names_of(part, names);
    }
}
