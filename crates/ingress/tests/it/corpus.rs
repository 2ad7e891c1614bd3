//! Payloads of our own, and what stands on the log of them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::LazyLock;

use casement_event::Stored;
use casement_event::subject::stream;
use prost_reflect::{DescriptorPool, DynamicMessage};
use serde_json::{Map, Value};

use crate::stage::Stage;

/// The file of payloads that hold something nobody can read.
pub(crate) const POISON: &str = "poison";

/// Where webhooks leave what they tell. A file that came with a message is told of elsewhere.
const KEPT: [(&str, &str); 6] = [
    (stream::EVENTS, "casement.events.inbound."),
    (stream::EVENTS, "casement.events.foreign."),
    (stream::EVENTS, "casement.events.group."),
    (stream::MESSAGES, "casement.events.report."),
    (stream::ACCOUNTS, "casement.accounts.reported."),
    (stream::DEAD, "casement.dead.ingress"),
];

static POOL: LazyLock<DescriptorPool> =
    LazyLock::new(|| DescriptorPool::decode(casement_proto::DESCRIPTORS).unwrap());

/// The payloads by file and name.
pub(crate) fn payloads() -> BTreeMap<String, Map<String, Value>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../whatsapp/tests/payloads");
    let files = std::fs::read_dir(folder).unwrap().map(|entry| {
        let path = entry.unwrap().path();
        let payloads = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        let stem = path.file_stem().unwrap().to_string_lossy().into_owned();
        (stem, payloads)
    });
    files.collect()
}

/// The payloads that hold nothing unreadable.
pub(crate) fn well() -> Vec<Value> {
    let files = payloads().into_iter().filter(|(file, _)| file != POISON);
    files
        .flat_map(|(_, payloads)| payloads.into_iter().map(|(_, payload)| payload))
        .collect()
}

/// Something stored, as far as it does not depend on when and in what company it came.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Told {
    /// Its kind of subject, and the number in it.
    pub(crate) place: String,
    pub(crate) event_type: String,
    pub(crate) id: String,
    /// Sequence on RAW of what it was made from; 0 if that is not told.
    pub(crate) sequence: u64,
    pub(crate) path: String,
    pub(crate) payload: Value,
}

/// Everything that webhooks have left on the log.
pub(crate) async fn told(stage: &Stage) -> Vec<Told> {
    let mut all = Vec::new();
    for (stream, prefix) in KEPT {
        all.extend(stage.all(stream, prefix).await.iter().map(read));
    }
    all
}

fn read(stored: &Stored) -> Told {
    let descriptor = POOL.get_message_by_name(stored.event_type()).unwrap();
    let message = DynamicMessage::decode(descriptor, stored.payload.as_ref()).unwrap();
    let mut payload = serde_json::to_value(&message).unwrap();
    let origin = payload["origin"].take();
    let fields = payload.as_object_mut().unwrap();
    for field in ["origin", "summary", "conversation", "customerId"] {
        fields.remove(field);
    }
    // A dead letter's own, which is the post's.
    fields.remove("time");
    fields.remove("sequence");
    if let Some(times) = fields.get_mut("times").and_then(Value::as_object_mut) {
        let received = times.remove("receivedTime");
        // Where the platform tells no time, the post's own is taken.
        if times.get("eventTime") == received.as_ref() {
            times.remove("eventTime");
        }
    }
    let place: Vec<&str> = stored.subject.split('.').collect();
    let place = match place[1] {
        "events" => format!("{} {}", place[2], place[4]),
        "accounts" => format!("reported {} {}", place[3], place[4]),
        other => other.to_owned(),
    };
    let sequence = origin["sequence"]
        .as_str()
        .map(|text| text.parse().unwrap());
    Told {
        place,
        event_type: stored
            .event_type()
            .trim_start_matches("casement.events.v1.")
            .to_owned(),
        id: stored.header("ce-id").unwrap_or_default().to_owned(),
        sequence: sequence.unwrap_or_default(),
        path: origin["path"].as_str().unwrap_or_default().to_owned(),
        payload,
    }
}

/// Facts about customers as such: that two of them are one depends on what came first.
const OF_IDENTITY: [&str; 2] = ["MovedTo", "CustomerMerged"];

/// What was told, each once, by its id.
pub(crate) fn facts(told: &[Told]) -> BTreeMap<String, (String, String, Value)> {
    let mut facts = BTreeMap::new();
    for one in told {
        if OF_IDENTITY.contains(&one.event_type.as_str()) || one.event_type == "DeadLetter" {
            continue;
        }
        let fact = (
            one.place.clone(),
            one.event_type.clone(),
            one.payload.clone(),
        );
        if let Some(other) = facts.insert(one.id.clone(), fact.clone()) {
            assert_eq!(other, fact, "two facts under one id");
            let is_once = one.place.starts_with("inbound ") || one.place.starts_with("report ");
            assert!(!is_once, "stored twice: {fact:?}");
        }
    }
    facts
}

/// What is known at last of each customer at a number who has not become another.
pub(crate) async fn states(stage: &Stage) -> BTreeSet<String> {
    let mut last = BTreeMap::new();
    for stored in stage.all(stream::EVENTS, "casement.events.inbound.").await {
        last.insert(stored.subject.clone(), stored);
    }
    let mut states = BTreeSet::new();
    for (subject, stored) in last {
        let known = crate::stage::known(&stored);
        if known.moved_to.is_some() {
            continue;
        }
        let summary = known.summary;
        let qualifying = summary
            .last_qualifying
            .as_ref()
            .map(|last| (last.at, last.fact, last.provider_id.clone()));
        let number = subject.split('.').nth(4).unwrap_or_default().to_owned();
        let state = format!(
            "{number} {qualifying:?} {:?} {:?} {:?} {:?} {:?}",
            summary.last_event_at,
            summary.thread_owner,
            summary.phone,
            summary.user_id,
            summary.parent_user_id,
        );
        assert!(states.insert(state.clone()), "two customers alike: {state}");
    }
    states
}
