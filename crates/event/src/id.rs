//! Deterministic ids: UUIDv5 of the natural key of each fact.
//!
//! The same fact has the same id whoever makes it and however often, so that subscribers can
//! deduplicate. The keys are written out with their lengths, so that no two keys run together.

use casement_domain::id::{BusinessNumber, CustomerId, FactId, MediaId, MessageId};
use jiff::{SignedDuration, Timestamp};
use uuid::Uuid;

/// The namespace of all of Casement's ids. Fixed for ever.
pub const NAMESPACE: Uuid = Uuid::from_u128(0x6f3c_8a52_1d1e_4c0b_9c57_cae5_e3e4_7001);

/// Returns the id of a natural key.
fn of(kind: &str, parts: &[&str]) -> Uuid {
    let mut key = String::from(kind);
    for part in parts {
        key.push('\u{1f}');
        key.push_str(&part.len().to_string());
        key.push(':');
        key.push_str(part);
    }
    Uuid::new_v5(&NAMESPACE, key.as_bytes())
}

/// Returns a fact id in the domain's form.
pub fn fact(id: Uuid) -> FactId {
    FactId::from_u128(id.as_u128())
}

/// Returns a domain's fact id as a UUID.
pub fn uuid(fact: FactId) -> Uuid {
    Uuid::from_u128(fact.as_u128())
}

/// A customer's message or call event: the number and the platform's id of it.
pub fn inbound(number: &BusinessNumber, provider_id: &str) -> Uuid {
    of("inbound", &[number.digits(), provider_id])
}

/// That an account cannot make use of what a fact tells.
pub fn not_supported(fact: Uuid) -> Uuid {
    of("not_supported", &[&fact.to_string()])
}

/// A status of a message.
pub fn status(
    number: &BusinessNumber,
    provider_id: &str,
    status: &str,
    recipient: &str,
    at: Timestamp,
) -> Uuid {
    of(
        "status",
        &[
            number.digits(),
            provider_id,
            status,
            recipient,
            &at.to_string(),
        ],
    )
}

/// Any other item of a webhook: its field, entry, a hash of its value, its index.
pub fn webhook_item(
    field: &str,
    entry: &str,
    entry_time: &str,
    value_hash: &str,
    index: &str,
) -> Uuid {
    of("webhook", &[field, entry, entry_time, value_hash, index])
}

/// A window, by the fact that opened it.
pub fn window(number: &BusinessNumber, customer: &CustomerId, opening_fact: FactId) -> Uuid {
    of(
        "window",
        &[
            number.digits(),
            customer.as_str(),
            &opening_fact.to_string(),
        ],
    )
}

/// A window event.
pub fn window_event(
    window: Uuid,
    event_type: &str,
    lead: Option<SignedDuration>,
    expires_at: Timestamp,
    cause: &str,
) -> Uuid {
    let lead = lead
        .map(|lead| lead.as_millis().to_string())
        .unwrap_or_default();
    of(
        "window-event",
        &[
            &window.to_string(),
            event_type,
            &lead,
            &expires_at.to_string(),
            cause,
        ],
    )
}

/// An event in a message's life: the type, the attempt, and what makes it the only one.
pub fn message_event(message: &MessageId, event_type: &str, attempt: u32, cause: &str) -> Uuid {
    of(
        "message-event",
        &[message.as_str(), event_type, &attempt.to_string(), cause],
    )
}

/// A message, by the brand, number and request id of its caller.
pub fn requested_message(brand: &str, number: &BusinessNumber, request_id: &str) -> Uuid {
    of("message", &[brand, number.digits(), request_id])
}

/// The message that asks a customer to write at a number, by when they last wrote there. There is
/// one for each time that they fell silent, whoever asks and for however many messages.
pub fn nudge(
    number: &BusinessNumber,
    customer: &CustomerId,
    last_inbound: Option<Timestamp>,
) -> Uuid {
    let since = last_inbound.map(|at| at.to_string()).unwrap_or_default();
    of("nudge", &[number.digits(), customer.as_str(), &since])
}

/// What months have cost, by its subject and how far it goes.
pub fn spend(subject: &str, through: u64, at: Timestamp) -> Uuid {
    of("spend", &[subject, &through.to_string(), &at.to_string()])
}

/// An account record, by its subject and its contents.
pub fn account(subject: &str, payload_hash: &str, at: Timestamp) -> Uuid {
    of("account", &[subject, payload_hash, &at.to_string()])
}

/// An application for a number, by the brand and request id of its caller.
pub fn application(brand: &str, request_id: &str) -> Uuid {
    of("application", &[brand, request_id])
}

/// An onboarding of a number, by the brand and request id of its caller.
pub fn onboarding(brand: &str, request_id: &str) -> Uuid {
    of("onboarding", &[brand, request_id])
}

/// A customer's link.
pub fn link(subject: &str, customer: &CustomerId) -> Uuid {
    of("link", &[subject, customer.as_str()])
}

/// What a customer allows: its subject, and a hash of all that is in force from then on.
pub fn consent(subject: &str, payload_hash: &str) -> Uuid {
    of("consent", &[subject, payload_hash])
}

/// A tombstone: its subject, and the erasure that it is of.
pub fn erased(subject: &str, erasure_id: &str) -> Uuid {
    of("erased", &[subject, erasure_id])
}

/// An erasure, by its portfolio and the request id of whoever asks.
pub fn erasure(portfolio: &str, request_id: &str) -> Uuid {
    of("erasure", &[portfolio, request_id])
}

/// A step of an erasure, by the sequence of the one before it.
pub fn erasure_step(erasure_id: &str, before: u64) -> Uuid {
    of("erasure-step", &[erasure_id, &before.to_string()])
}

/// A phone's link, by how it stands to the customer and since when.
pub fn phone_link(
    subject: &str,
    customer: &CustomerId,
    standing: &str,
    since: Option<Timestamp>,
) -> Uuid {
    let since = since.map(|since| since.to_string()).unwrap_or_default();
    of(
        "phone-link",
        &[subject, customer.as_str(), standing, &since],
    )
}

/// The end of one customer id at a number, and its continuation at another.
pub fn moved(number: &BusinessNumber, from: &CustomerId, to: &CustomerId, side: &str) -> Uuid {
    of(
        "moved",
        &[number.digits(), from.as_str(), to.as_str(), side],
    )
}

/// A file that came with a customer's message: the number, the platform's id of the message, and
/// its id of the file.
pub fn media(number: &BusinessNumber, provider_message_id: &str, provider_media_id: &str) -> Uuid {
    of(
        "media",
        &[number.digits(), provider_message_id, provider_media_id],
    )
}

/// What became of a file: its id, and `stored`, `unavailable`, or the try that was not the last.
pub fn media_event(media: &MediaId, outcome: &str) -> Uuid {
    of("media-event", &[media.as_str(), outcome])
}

/// What a colleague did in a conversation, by a request id of their own or a random one.
pub fn colleague(number: &BusinessNumber, customer: &CustomerId, request: &str) -> Uuid {
    of("colleague", &[number.digits(), customer.as_str(), request])
}

/// A halt: its scope, which one of it, and what set it.
pub fn halt(scope: &str, key: &str, cause: &str) -> Uuid {
    of("halt", &[scope, key, cause])
}

/// What happened to a halt, and when.
pub fn halt_event(halt_id: &str, event_type: &str, at: Timestamp) -> Uuid {
    of("halt-event", &[halt_id, event_type, &at.to_string()])
}

/// Stands for something that is watched and whose name is no single token.
pub(crate) fn watched(of_what: &str) -> Uuid {
    of("watched", &[of_what])
}

/// A verdict of what is watched, as it was told: its subject, the level, and when.
pub fn watch(subject: &str, level: &str, at: Timestamp) -> Uuid {
    of("watch", &[subject, level, &at.to_string()])
}

/// A dead letter: role, stream, sequence, path.
pub fn dead(role: &str, stream: &str, sequence: u64, path: &str) -> Uuid {
    of("dead", &[role, stream, &sequence.to_string(), path])
}

/// What was done about a dead letter, by where the letter stands on DEAD.
pub fn dead_settled(sequence: u64, outcome: &str) -> Uuid {
    of("dead-settled", &[&sequence.to_string(), outcome])
}

/// What somebody wanted done about dead letters or parked posts, by who, when, and about which.
pub fn repair(caller: &str, at_nanoseconds: i128, about: &str) -> Uuid {
    of("repair", &[caller, &at_nanoseconds.to_string(), about])
}

/// A dead letter that was tried again in vain, by where the letter stands on DEAD and where the
/// wish to have it tried does.
pub fn dead_retried(sequence: u64, asked: u64) -> Uuid {
    of("dead-retried", &[&sequence.to_string(), &asked.to_string()])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_never_change() {
        let number = BusinessNumber::parse("15550001111").unwrap();
        // Stored events and subscribers' books depend on these values.
        assert_eq!(
            inbound(&number, "wamid.1").to_string(),
            "ba7c0536-02fd-5430-b8fd-e12cca2fad8d"
        );
        // So does whether a silent customer is asked to write once more.
        let customer = CustomerId::parse("c1").unwrap();
        let since = "2026-11-22T10:00:00Z".parse().unwrap();
        assert_eq!(
            nudge(&number, &customer, None).to_string(),
            "02962378-5ec1-5ea4-bb18-1db9d2a1e87c"
        );
        assert_eq!(
            nudge(&number, &customer, Some(since)).to_string(),
            "c57ecb7f-f9bd-5023-9d31-e05f04f7d4bd"
        );
    }

    #[test]
    fn parts_do_not_run_together() {
        assert_ne!(of("x", &["ab", "c"]), of("x", &["a", "bc"]));
        assert_ne!(of("x", &["a", ""]), of("x", &["", "a"]));
    }
}
