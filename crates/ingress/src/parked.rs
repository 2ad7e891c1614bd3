//! Items for numbers that no account knows: kept under the number's id, and handled as soon as
//! an account has it.
//!
//! How far a number's items were replayed is kept in memory only: a restart replays them all,
//! which changes nothing, since known facts are dropped.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use casement_event::subject::{self, stream};
use casement_event::{Event, Stored, convert, v1};
use casement_whatsapp::webhook::{self, Item, ItemKind};
use serde_json::{Map, Value, json};
use tokio_util::sync::CancellationToken;

use crate::aside::entry_time;
use crate::draft::item_id;
use crate::error::Setback;
use crate::place::{Desk, Post};
use crate::token::token;
use crate::whatsapp;

/// Kind of the subject under which items are parked.
pub(crate) const PARKED: &str = "parked";

/// Pause before a replay that broke off is begun again.
const RETRY_DELAY: Duration = Duration::from_secs(2);

/// Keeps an item until its number is known.
pub(crate) async fn park(
    desk: &Desk,
    post: &Post,
    item: &Item,
    phone_number_id: &str,
) -> Result<(), Setback> {
    let at = entry_time(item).unwrap_or(post.received);
    let event = v1::WebhookParked {
        phone_number_id: phone_number_id.to_owned(),
        times: Some(post.times(at)),
        origin: Some(post.origin(&item.origin.path)),
        app: post.app.clone(),
        post_json: post_of(item).to_string(),
    };
    let subject = subject::reported(PARKED, &token(phone_number_id));
    let record = post.record(subject, item_id(item), at, event);
    desk.append(record).await?;
    // The account may have come while we wrote, and have been replayed already.
    if whatsapp::home_of(desk, item)?.is_some() {
        desk.replay.notify_one();
    }
    Ok(())
}

/// Returns a post that holds one item alone, and reads as the item did.
fn post_of(item: &Item) -> Value {
    let origin = &item.origin;
    let value = match array_of(&origin.path) {
        None => item.raw.clone(),
        Some(array) => {
            let mut holder = Map::new();
            holder.insert(array.name.to_owned(), json!([item.raw]));
            holder
                .extend(contact_of(item).map(|contact| ("contacts".to_owned(), json!([contact]))));
            let mut value = if array.is_nested {
                Map::from_iter([("standby".to_owned(), Value::Object(holder))])
            } else {
                holder
            };
            let mut metadata = Map::new();
            for (name, text) in [
                ("phone_number_id", &item.phone_number_id),
                ("display_phone_number", &item.display_phone_number),
            ] {
                metadata.extend(text.iter().map(|text| (name.to_owned(), json!(text))));
            }
            value.insert("metadata".to_owned(), Value::Object(metadata));
            Value::Object(value)
        }
    };
    let mut entry = json!({"changes": [{"field": origin.field, "value": value}]});
    if let Some(id) = &origin.entry_id {
        entry["id"] = json!(id);
    }
    if let Some(time) = origin.entry_time {
        entry["time"] = json!(time);
    }
    json!({"object": "whatsapp_business_account", "entry": [entry]})
}

/// The array that an item stood in.
#[derive(Debug, PartialEq, Eq)]
struct Array<'a> {
    name: &'a str,
    index: usize,
    /// Inside `value.standby` and not in `value` itself.
    is_nested: bool,
}

/// Reads a path such as `entry[0].changes[1].value.messages[2]`; `None` if the item is a whole
/// value.
fn array_of(path: &str) -> Option<Array<'_>> {
    let (_, inside) = path.split_once(".value.")?;
    let (inside, is_nested) = match inside.strip_prefix("standby.") {
        Some(inside) => (inside, true),
        None => (inside, false),
    };
    let (name, index) = inside.strip_suffix(']')?.rsplit_once('[')?;
    Some(Array {
        name,
        index: index.parse().ok()?,
        is_nested,
    })
}

/// Returns what the post's contacts said about the customer.
fn contact_of(item: &Item) -> Option<Value> {
    let mut contact = Map::new();
    let mut profile = Map::new();
    let mut set = |name: &str, text: &Option<String>| {
        contact.extend(text.iter().map(|text| (name.to_owned(), json!(text))));
    };
    let (name, username) = match &item.kind {
        ItemKind::Message(message) => {
            set("wa_id", &message.from_phone);
            set("user_id", &message.user_id);
            set("parent_user_id", &message.parent_user_id);
            set("identity_key_hash", &message.identity_hash);
            (&message.profile_name, &message.username)
        }
        ItemKind::Call(call) => {
            set("wa_id", &call.customer_phone);
            set("user_id", &call.user_id);
            set("parent_user_id", &call.parent_user_id);
            (&call.profile_name, &call.username)
        }
        ItemKind::CallStatus(call) => {
            set("wa_id", &call.customer_phone);
            set("user_id", &call.user_id);
            set("parent_user_id", &call.parent_user_id);
            (&call.profile_name, &call.username)
        }
        ItemKind::Status(report) => {
            set("wa_id", &report.recipient_phone);
            set("user_id", &report.recipient_user_id);
            set("parent_user_id", &report.recipient_parent_user_id);
            (&None, &None)
        }
        ItemKind::Echo(echo) => {
            set("wa_id", &echo.to_phone);
            set("user_id", &echo.user_id);
            set("parent_user_id", &echo.parent_user_id);
            (&None, &None)
        }
        ItemKind::UserIdUpdate(update) => {
            set("wa_id", &update.phone);
            (&None, &None)
        }
        ItemKind::UserPreference(preference) => {
            set("wa_id", &preference.phone);
            set("user_id", &preference.user_id);
            set("parent_user_id", &preference.parent_user_id);
            (&None, &None)
        }
        ItemKind::Handover(_)
        | ItemKind::History(_)
        | ItemKind::AppContact(_)
        | ItemKind::GroupChange(_)
        | ItemKind::Account(_)
        | ItemKind::ValueError(_)
        | ItemKind::Unrecognized
        | ItemKind::Malformed { .. } => (&None, &None),
    };
    profile.extend(name.iter().map(|text| ("name".to_owned(), json!(text))));
    profile.extend(
        username
            .iter()
            .map(|text| ("username".to_owned(), json!(text))),
    );
    if !profile.is_empty() {
        contact.insert("profile".to_owned(), Value::Object(profile));
    }
    (!contact.is_empty()).then_some(Value::Object(contact))
}

/// Replays what was parked for every number that is known, at the start and whenever the
/// accounts change, until the stop.
pub(crate) async fn replay(desk: Arc<Desk>, stopping: CancellationToken) {
    let mut changed = desk.directory.changed();
    let mut replayed: HashMap<String, u64> = HashMap::new();
    loop {
        changed.mark_unchanged();
        let done = tokio::select! {
            () = stopping.cancelled() => return,
            done = replay_all(&desk, &mut replayed) => done,
        };
        if let Err(error) = &done {
            tracing::warn!(error = %error, "parked items are replayed later");
        }
        tokio::select! {
            () = stopping.cancelled() => return,
            () = desk.replay.notified() => {}
            () = tokio::time::sleep(RETRY_DELAY), if done.is_err() => {}
            // The directory ends with the process.
            Ok(()) = changed.changed() => {}
        }
    }
}

async fn replay_all(desk: &Desk, replayed: &mut HashMap<String, u64>) -> Result<(), Setback> {
    for number in desk.directory.numbers() {
        let id = number.phone_number_id;
        if !id.is_empty() {
            replay_number(desk, &id, replayed.entry(id.clone()).or_insert(1)).await?;
        }
    }
    Ok(())
}

/// Replays what was parked for a number from a sequence on, and moves the sequence along.
/// Returns how many items that were.
pub(crate) async fn replay_number(
    desk: &Desk,
    phone_number_id: &str,
    from: &mut u64,
) -> Result<u64, Setback> {
    let subject = subject::reported(PARKED, &token(phone_number_id));
    let mut items = 0;
    while let Some(stored) = desk.log.next(stream::ACCOUNTS, &subject, *from).await? {
        if desk.directory.by_phone_number_id(phone_number_id).is_none() {
            // Gone again: it would be parked anew, for ever.
            break;
        }
        replay_one(desk, &stored).await?;
        *from = stored.sequence + 1;
        items += 1;
    }
    Ok(items)
}

async fn replay_one(desk: &Desk, stored: &Stored) -> Result<(), Setback> {
    let unreadable = |problem: String| Setback::Unreadable {
        subject: stored.subject.clone(),
        sequence: stored.sequence,
        problem,
    };
    let parked = match stored.event() {
        Ok(Event::WebhookParked(parked)) => parked,
        Ok(other) => return Err(unreadable(other.event_type().to_owned())),
        Err(error) => return Err(unreadable(error.to_string())),
    };
    let origin = parked.origin.clone().unwrap_or_default();
    let times = parked.times.unwrap_or_default();
    let received = convert::required_instant("received_time", times.received_time.as_ref())
        .map_err(|error| unreadable(error.to_string()))?;
    let post = Post {
        sequence: origin.sequence,
        index: origin.post,
        app: parked.app,
        received,
        traceparent: stored
            .header(casement_event::header::TRACEPARENT)
            .map(str::to_owned),
    };
    let read = webhook::parse(parked.post_json.as_bytes())
        .map_err(|error| unreadable(error.to_string()))?;
    for mut item in read.items {
        // The place in the post as it came is part of the fact's id.
        item.origin.item_index = array_of(&origin.path).map_or(0, |array| array.index);
        item.origin.path.clone_from(&origin.path);
        whatsapp::item(desk, &post, &item).await?;
    }
    metrics::counter!("casement_ingress_replayed_total").increment(1);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_names_its_array_or_a_whole_value() {
        let array = |name, index, is_nested| {
            Some(Array {
                name,
                index,
                is_nested,
            })
        };
        for (path, expected) in [
            (
                "entry[0].changes[1].value.messages[2]",
                array("messages", 2, false),
            ),
            (
                "entry[0].changes[0].value.standby.statuses[10]",
                array("statuses", 10, true),
            ),
            ("entry[0].changes[1].value", None),
            ("entry[0]", None),
        ] {
            assert_eq!(array_of(path), expected, "{path}");
        }
    }

    #[test]
    fn an_item_alone_reads_as_it_did_among_others() {
        let metadata = json!({"phone_number_id": "7", "display_phone_number": "15550001111"});
        let contacts = json!([
            {"wa_id": "15550009999", "user_id": "US.1", "parent_user_id": "US.ENT.1",
             "profile": {"name": "A", "username": "a"}},
            {"wa_id": "15550008888", "user_id": "US.2", "profile": {"name": "B"}},
        ]);
        let message = |id: &str, from: &str| json!({"id": id, "from": from, "timestamp": "100", "type": "text", "text": {"body": "x"}});
        let messages = json!([message("1", "15550009999"), message("2", "15550008888")]);
        let statuses =
            json!([{"id": "w", "status": "read", "timestamp": "9", "recipient_id": "15550009999"}]);
        let handover = json!({"recipient": {"phone_number_id": "7"}, "timestamp": "5",
            "sender": {"phone_number": "15550009999"}, "type": "control_taken",
            "control_taken": {"new_owner_role": "partner"}});
        let update = json!([{"wa_id": "15550009999", "timestamp": "5",
            "user_id": {"previous": "US.1", "current": "US.3"}}]);
        let change = |field: &str, value: Value| json!({"field": field, "value": value});
        let post = json!({"object": "o", "entry": [{"id": "1", "time": 77, "changes": [
            change("messages", json!({"metadata": metadata, "contacts": contacts,
                "messages": messages, "statuses": statuses})),
            change("standby", json!({"metadata": metadata,
                "standby": {"contacts": contacts, "messages": messages}})),
            change("messaging_handovers", handover),
            change("user_id_update", json!({"metadata": metadata, "contacts": contacts,
                "user_id_update": update})),
        ]}]});
        let items = webhook::parse(post.to_string().as_bytes()).unwrap().items;
        assert_eq!(items.len(), 7);
        for item in items {
            let alone = webhook::parse(post_of(&item).to_string().as_bytes()).unwrap();
            let [read] = &alone.items[..] else {
                panic!("{} became {}", item.origin.path, alone.items.len())
            };
            assert_eq!(read.kind, item.kind, "{}", item.origin.path);
            assert_eq!(read.raw, item.raw);
            assert_eq!(read.phone_number_id, item.phone_number_id);
            assert_eq!(read.display_phone_number, item.display_phone_number);
            assert_eq!(read.origin.entry_id, item.origin.entry_id);
            assert_eq!(read.origin.entry_time, item.origin.entry_time);
            assert_eq!(read.origin.field, item.origin.field);
        }
    }
}
