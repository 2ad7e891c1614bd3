//! The streams: created if absent, and checked to be as they must be.

use std::time::Duration;

use async_nats::jetstream::stream::{
    Config as StreamConfig, DiscardPolicy, Republish, RetentionPolicy, StorageType,
    SubjectTransform,
};
use casement_event::subject::{self, stream};

use crate::Sizes;
use crate::wire::append_subject;

/// Largest command, in bytes. The largest request of the API is far below.
const COMMAND_BYTES_MAX: i32 = 1024 * 1024;

/// How old a key may become. A message is worth sending for 30 days at most.
const KEY_AGE_MAX: Duration = Duration::from_hours(35 * 24);

/// Room for stored secrets: of tens of thousands, one KiB each.
const SECRETS_BYTES_MAX: i64 = 32 * 1024 * 1024;

/// How long the broker remembers append ids.
pub(crate) const DUPLICATE_WINDOW: Duration = Duration::from_mins(2);

/// One stream as it must be.
struct Spec {
    name: &'static str,
    subjects: &'static [&'static str],
    size_mib: u32,
    description: &'static str,
    /// Stored events are told to plain subscribers.
    is_published: bool,
}

/// Returns the configuration of every stream.
pub(crate) fn all(sizes: &Sizes, replicas: usize) -> Vec<StreamConfig> {
    let specs = [
        Spec {
            name: stream::RAW,
            subjects: &["casement.raw.>"],
            size_mib: sizes.raw_mib,
            description: "posts as received, packed; purged by sequence once worked on",
            is_published: false,
        },
        Spec {
            name: stream::CUSTOMERS,
            subjects: &["casement.customers.>"],
            size_mib: sizes.customers_mib,
            description: "identifier links and consent",
            is_published: false,
        },
        Spec {
            name: stream::EVENTS,
            subjects: &[
                "casement.events.inbound.>",
                "casement.events.window.>",
                "casement.events.evidence.>",
                "casement.events.note.>",
                "casement.events.media.>",
                "casement.events.foreign.>",
                "casement.events.group.>",
            ],
            size_mib: sizes.events_mib,
            description: "what happens in conversations; purged by sequence once archived",
            is_published: true,
        },
        Spec {
            name: stream::MESSAGES,
            subjects: &["casement.events.message.>", "casement.events.report.>"],
            size_mib: sizes.messages_mib,
            description: "outbound messages and reports; purged by subject once archived",
            is_published: true,
        },
        Spec {
            name: stream::ACCOUNTS,
            subjects: &["casement.accounts.>"],
            size_mib: sizes.accounts_mib,
            description: "brands, numbers, templates, and what webhooks say of them",
            is_published: true,
        },
        Spec {
            name: stream::DEAD,
            subjects: &["casement.dead.>"],
            size_mib: sizes.dead_mib,
            description: "what can never succeed, with reason and origin; purged by sequence once archived",
            is_published: false,
        },
    ];
    let mut all: Vec<_> = specs.iter().map(|spec| config(spec, replicas)).collect();
    all.push(commands(sizes, replicas));
    all.push(leases(replicas));
    all.push(sensitive_keys(sizes, replicas));
    all.push(secrets(replicas));
    all
}

/// What services ask for, until it is done: a queue and no record. They publish under the subject
/// itself, and the broker's acknowledgement says that it is on disk. Nobody may change or take
/// out what another service asked for, which permissions see to; a full queue refuses.
fn commands(sizes: &Sizes, replicas: usize) -> StreamConfig {
    StreamConfig {
        name: stream::COMMANDS.to_owned(),
        description: Some("what services ask for over the broker, until it is done".to_owned()),
        subjects: vec![subject::SEND_COMMANDS.to_owned()],
        retention: RetentionPolicy::WorkQueue,
        storage: StorageType::File,
        discard: DiscardPolicy::New,
        max_bytes: i64::from(sizes.commands_mib) * 1024 * 1024,
        max_message_size: COMMAND_BYTES_MAX,
        duplicate_window: DUPLICATE_WINDOW,
        num_replicas: replicas,
        allow_direct: true,
        allow_atomic_publish: true,
        ..StreamConfig::default()
    }
}

/// Leases are no record: only the newest word counts. It is kept on file all the same, so that
/// a broker that starts again does not take a lease from a holder who still counts on it.
fn leases(replicas: usize) -> StreamConfig {
    StreamConfig {
        name: stream::LEASES.to_owned(),
        description: Some("which replica is the active one".to_owned()),
        subjects: vec![append_subject("casement.leases.>")],
        subject_transform: Some(stored_under_its_own_subject()),
        storage: StorageType::File,
        discard: DiscardPolicy::Old,
        max_messages_per_subject: 1,
        max_bytes: 1024 * 1024,
        duplicate_window: DUPLICATE_WINDOW,
        num_replicas: replicas,
        allow_direct: true,
        allow_atomic_publish: true,
        ..StreamConfig::default()
    }
}

/// Keys of sensitive messages, wrapped. The one stream whose messages are erased one by one, and
/// must be: its age is for what nobody was left to erase. Read through its leader alone.
fn sensitive_keys(sizes: &Sizes, replicas: usize) -> StreamConfig {
    StreamConfig {
        name: stream::SENSITIVE_KEYS.to_owned(),
        description: Some("keys of sensitive messages, until these are over".to_owned()),
        subjects: vec![append_subject(subject::ALL_CONTENT_KEYS)],
        subject_transform: Some(stored_under_its_own_subject()),
        storage: StorageType::File,
        discard: DiscardPolicy::New,
        max_bytes: i64::from(sizes.keys_mib) * 1024 * 1024,
        max_age: KEY_AGE_MAX,
        duplicate_window: DUPLICATE_WINDOW,
        num_replicas: replicas,
        allow_atomic_publish: true,
        ..StreamConfig::default()
    }
}

/// Secrets that arrived at run time, sealed. Only the newest word about each is kept: what one was
/// before it was rotated or deleted is nobody's business. Read through its leader, and by consumers.
fn secrets(replicas: usize) -> StreamConfig {
    StreamConfig {
        name: stream::SECRETS.to_owned(),
        description: Some("secrets that arrived at run time, sealed".to_owned()),
        subjects: vec![append_subject(subject::ALL_SECRETS)],
        subject_transform: Some(stored_under_its_own_subject()),
        storage: StorageType::File,
        discard: DiscardPolicy::New,
        max_messages_per_subject: 1,
        max_bytes: SECRETS_BYTES_MAX,
        duplicate_window: DUPLICATE_WINDOW,
        num_replicas: replicas,
        allow_atomic_publish: true,
        deny_delete: true,
        ..StreamConfig::default()
    }
}

/// What is of a customer who is erased is deleted from these message by message, which overwrites it:
/// what is purged the broker leaves in its files for as long as it likes. One from before that forbids
/// it, which no update takes back, is purged all the same.
const HOLD_CUSTOMERS: [&str; 3] = [stream::CUSTOMERS, stream::EVENTS, stream::MESSAGES];

fn config(spec: &Spec, replicas: usize) -> StreamConfig {
    StreamConfig {
        name: spec.name.to_owned(),
        description: Some(spec.description.to_owned()),
        subjects: spec
            .subjects
            .iter()
            .map(|subject| append_subject(subject))
            .collect(),
        subject_transform: Some(stored_under_its_own_subject()),
        republish: spec.is_published.then(published_once_stored),
        storage: StorageType::File,
        discard: DiscardPolicy::New,
        max_bytes: i64::from(spec.size_mib) * 1024 * 1024,
        // What leaves the log is taken from it, behind whoever still needs it.
        max_age: Duration::ZERO,
        duplicate_window: DUPLICATE_WINDOW,
        num_replicas: replicas,
        allow_direct: true,
        allow_atomic_publish: true,
        deny_delete: !HOLD_CUSTOMERS.contains(&spec.name),
        ..StreamConfig::default()
    }
}

fn stored_under_its_own_subject() -> SubjectTransform {
    SubjectTransform {
        source: append_subject(">"),
        destination: ">".to_owned(),
    }
}

fn published_once_stored() -> Republish {
    let all = "casement.>".to_owned();
    Republish {
        source: all.clone(),
        destination: all,
        headers_only: false,
    }
}

/// Returns the first thing that makes an existing stream unfit, in words that say what to change.
pub(crate) fn misfit(existing: &StreamConfig, wanted: &StreamConfig) -> Option<String> {
    misfits(existing, wanted).into_iter().next()
}

/// Returns everything that makes an existing stream unfit, each in words that say what to change.
pub(crate) fn misfits(existing: &StreamConfig, wanted: &StreamConfig) -> Vec<String> {
    let name = &wanted.name;
    let mut found = Vec::new();
    if existing.storage != wanted.storage {
        found.push(format!("stream {name} is not stored on file: recreate it"));
    }
    if existing.retention != wanted.retention {
        found.push(match wanted.retention {
            RetentionPolicy::WorkQueue => format!(
                "stream {name} keeps what was consumed: recreate it with retention workqueue"
            ),
            _ => {
                format!(
                    "stream {name} deletes what was consumed: recreate it with retention limits"
                )
            }
        });
    }
    if existing.discard != wanted.discard {
        found.push(format!(
            "stream {name} deletes old messages when full: set discard to new"
        ));
    }
    // The broker says -1 for no limit.
    if existing.max_messages_per_subject.max(0) != wanted.max_messages_per_subject {
        found.push(format!(
            "stream {name} keeps {} messages a subject: set max_msgs_per_subject to {}",
            existing.max_messages_per_subject, wanted.max_messages_per_subject
        ));
    }
    if existing.num_replicas < wanted.num_replicas {
        found.push(format!(
            "stream {name} is kept {} times instead of {}: have it copied by `casement broker \
             replicate`, as the operator",
            existing.num_replicas, wanted.num_replicas
        ));
    }
    if existing.duplicate_window < wanted.duplicate_window {
        found.push(format!(
            "stream {name} remembers append ids for {} s instead of {} s: set duplicate_window",
            existing.duplicate_window.as_secs(),
            wanted.duplicate_window.as_secs()
        ));
    }
    if existing.subject_transform != wanted.subject_transform
        || existing.republish != wanted.republish
    {
        found.push(format!(
            "stream {name} tells subscribers of appends that it refused: recreate it, so that \
             it takes appends under `append.` and republishes what it stored"
        ));
    }
    if !existing.allow_atomic_publish {
        found.push(format!(
            "stream {name} refuses atomic batches: set allow_atomic"
        ));
    }
    let is_log = HOLD_CUSTOMERS.contains(&name.as_str());
    if existing.deny_delete && !wanted.deny_delete && !is_log {
        found.push(format!(
            "stream {name} keeps what is to be erased: recreate it without deny_delete"
        ));
    }
    if wanted.max_age.is_zero() && !existing.max_age.is_zero() {
        found.push(format!(
            "stream {name} drops messages after {} s, archived or not: set max_age to 0",
            existing.max_age.as_secs()
        ));
    } else if existing.max_age != wanted.max_age {
        found.push(format!(
            "stream {name} keeps messages for {} s instead of {} s: set max_age",
            existing.max_age.as_secs(),
            wanted.max_age.as_secs()
        ));
    }
    let missing: Vec<_> = wanted
        .subjects
        .iter()
        .filter(|subject| !existing.subjects.contains(subject))
        .map(String::as_str)
        .collect();
    if !missing.is_empty() {
        found.push(format!(
            "stream {name} does not take {}: add the subjects",
            missing.join(", ")
        ));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_stream_refuses_when_full_and_never_deletes() {
        for config in all(&Sizes::default(), 1) {
            if config.name == stream::LEASES {
                continue;
            }
            assert_eq!(config.discard, DiscardPolicy::New, "{}", config.name);
            assert!(config.max_bytes > 0, "{}", config.name);
            assert_eq!(misfit(&config, &config), None);
        }
    }

    #[test]
    fn an_unfit_stream_is_told_what_to_change() {
        let wanted = all(&Sizes::default(), 1).remove(0);
        let unfit = StreamConfig {
            discard: DiscardPolicy::Old,
            ..wanted.clone()
        };
        assert!(
            misfit(&unfit, &wanted)
                .unwrap()
                .contains("set discard to new")
        );
        let unfit = StreamConfig {
            subjects: vec!["casement.raw.x".into()],
            ..wanted.clone()
        };
        assert!(misfit(&unfit, &wanted).unwrap().contains("casement.raw.>"));
    }
}
