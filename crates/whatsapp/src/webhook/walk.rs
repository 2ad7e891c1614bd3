//! The walk over entries, changes and items. Decides which array of which field holds what; the
//! reading of one item stands with its type.

use serde_json::{Map, Value};

use super::{
    Channel, Item, ItemKind, ItemOrigin, Post, account, call,
    contact::Contacts,
    group, history, message,
    read::{self, Missing},
    repair, status, update,
};

/// The body is no webhook post at all; nothing in it can be kept item by item.
#[derive(Debug, thiserror::Error)]
pub enum ParseError {
    /// The body is no JSON.
    #[error("body is not JSON")]
    NotJson(#[source] serde_json::Error),
    /// The body is JSON, but no object with an `entry` array.
    #[error("body is no object with an `entry` array")]
    NotAPost,
}

/// Takes a webhook post apart.
///
/// Fails only if the body is no JSON object with an `entry` array. Every element of every array
/// that its field is known for becomes one item; a value with none of them becomes one
/// [`ItemKind::Unrecognized`] that carries it. An entry whose `changes` is empty says nothing.
pub fn parse(raw: &[u8]) -> Result<Post, ParseError> {
    let (body, repaired) = repair::read(raw).map_err(ParseError::NotJson)?;
    let entries = body
        .get("entry")
        .and_then(Value::as_array)
        .ok_or(ParseError::NotAPost)?;
    let mut items = Vec::new();
    for (index, entry) in entries.iter().enumerate() {
        walk_entry(entry, index, &mut items);
    }
    Ok(Post {
        object: read::text(&body, "object"),
        items,
        repaired,
    })
}

fn walk_entry(entry: &Value, entry_index: usize, items: &mut Vec<Item>) {
    let entry_id = read::text(entry, "id");
    let entry_time = read::integer(entry, "time");
    let place = |field: String, change_index: usize, path: String| Place {
        entry_id: entry_id.clone(),
        entry_time,
        field,
        entry_index,
        change_index,
        path,
        phone_number_id: None,
        display_phone_number: None,
    };
    let Some(changes) = entry.get("changes").and_then(Value::as_array) else {
        let kind = if entry.is_object() {
            ItemKind::Unrecognized
        } else {
            ItemKind::Malformed {
                reason: "entry is no object".to_owned(),
            }
        };
        let place = place(String::new(), 0, format!("entry[{entry_index}]"));
        items.push(place.whole(entry, kind));
        return;
    };
    for (change_index, change) in changes.iter().enumerate() {
        let path = format!("entry[{entry_index}].changes[{change_index}]");
        let field = read::text(change, "field").unwrap_or_default();
        let Some(value) = change.get("value") else {
            let place = place(field, change_index, path);
            let reason = "change has no value".to_owned();
            items.push(place.whole(change, ItemKind::Malformed { reason }));
            continue;
        };
        let mut place = place(field, change_index, format!("{path}.value"));
        place.read_number(value);
        walk_value(&place, value, items);
    }
}

/// How the elements of an array are read.
#[derive(Debug, Clone, Copy)]
enum Reader {
    Message(Channel),
    Status(Channel),
    Call,
    CallStatus,
    Echo(Channel),
    UserIdUpdate,
    UserPreference,
    History,
    HistoryMedia,
    AppContact,
    Group,
    ValueError,
    Unrecognized,
}

/// The arrays that each field is known for.
fn arrays_of(field: &str) -> &'static [(&'static str, Reader)] {
    match field {
        "messages" => &[
            ("messages", Reader::Message(Channel::Messages)),
            ("statuses", Reader::Status(Channel::Messages)),
            ("errors", Reader::ValueError),
        ],
        "standby" => &[
            ("messages", Reader::Message(Channel::Standby)),
            ("statuses", Reader::Status(Channel::Standby)),
            ("message_echoes", Reader::Echo(Channel::Standby)),
            ("errors", Reader::ValueError),
        ],
        "calls" => &[
            ("calls", Reader::Call),
            ("statuses", Reader::CallStatus),
            ("errors", Reader::ValueError),
        ],
        "smb_message_echoes" => &[
            ("message_echoes", Reader::Echo(Channel::PhoneApp)),
            ("errors", Reader::ValueError),
        ],
        "message_echoes" => &[
            ("message_echoes", Reader::Echo(Channel::Messages)),
            ("errors", Reader::ValueError),
        ],
        "history" => &[
            ("history", Reader::History),
            ("messages", Reader::HistoryMedia),
            ("errors", Reader::ValueError),
        ],
        "smb_app_state_sync" => &[
            ("state_sync", Reader::AppContact),
            ("errors", Reader::ValueError),
        ],
        "group_lifecycle_update"
        | "group_participants_update"
        | "group_settings_update"
        | "group_status_update" => &[("groups", Reader::Group), ("errors", Reader::ValueError)],
        "user_id_update" => &[
            ("user_id_update", Reader::UserIdUpdate),
            ("errors", Reader::ValueError),
        ],
        "user_preferences" => &[
            ("user_preferences", Reader::UserPreference),
            ("errors", Reader::ValueError),
        ],
        _ => &[],
    }
}

fn walk_value(place: &Place, value: &Value, items: &mut Vec<Item>) {
    if !value.is_object() {
        let reason = "value is no object".to_owned();
        items.push(place.whole(value, ItemKind::Malformed { reason }));
        return;
    }
    if let Some(scope) = account::scope(&place.field) {
        let account = account::parse(&place.field, scope, value);
        items.push(place.whole(value, ItemKind::Account(Box::new(account))));
        return;
    }
    if place.field == "messaging_handovers" {
        let kind = update::handover(value).map_or_else(malformed, ItemKind::Handover);
        items.push(place.whole(value, kind));
        return;
    }
    let mut found = walk_arrays(place, &place.path, value, value, items);
    if place.field == "standby"
        && let Some(inner) = value.get("standby").filter(|inner| inner.is_object())
    {
        let path = format!("{}.standby", place.path);
        let outer = if inner.get("contacts").is_some() {
            inner
        } else {
            value
        };
        found |= walk_arrays(place, &path, inner, outer, items);
    }
    if !found {
        items.push(place.whole(value, ItemKind::Unrecognized));
    }
}

/// Reads the known arrays of `holder`, then the elements of any other array as unrecognized.
/// Returns whether there was a known one, or anything in another.
fn walk_arrays(
    place: &Place,
    path: &str,
    holder: &Value,
    contacts_holder: &Value,
    items: &mut Vec<Item>,
) -> bool {
    let known = arrays_of(&place.field);
    let contacts = Contacts::of(contacts_holder);
    let mut found = false;
    for &(name, reader) in known {
        let Some(elements) = holder.get(name) else {
            continue;
        };
        let Some(elements) = elements.as_array() else {
            // An absent array may also be written as null.
            if elements.is_null() {
                continue;
            }
            let reason = format!("`{name}` is no array");
            items.push(place.item(
                format!("{path}.{name}"),
                0,
                elements,
                ItemKind::Malformed { reason },
            ));
            found = true;
            continue;
        };
        found = true;
        for (index, raw) in elements.iter().enumerate() {
            let kind = read_element(reader, place, raw, &contacts);
            items.push(place.item(format!("{path}.{name}[{index}]"), index, raw, kind));
        }
    }
    // What is new in a field whose updates come in arrays is an update, too, whatever stands
    // beside it: posted alone it must be the same item.
    if !known.is_empty() {
        for (name, elements) in unknown_arrays(holder.as_object(), known) {
            for (index, raw) in elements.iter().enumerate() {
                let kind = read_element(Reader::Unrecognized, place, raw, &contacts);
                items.push(place.item(format!("{path}.{name}[{index}]"), index, raw, kind));
                found = true;
            }
        }
    }
    found
}

fn unknown_arrays<'a>(
    fields: Option<&'a Map<String, Value>>,
    known: &'static [(&'static str, Reader)],
) -> impl Iterator<Item = (&'a String, &'a Vec<Value>)> {
    fields
        .into_iter()
        .flatten()
        .filter(move |(name, _)| {
            *name != "contacts" && known.iter().all(|(known, _)| known != name)
        })
        .filter_map(|(name, value)| Some((name, value.as_array()?)))
}

fn read_element(reader: Reader, place: &Place, raw: &Value, contacts: &Contacts) -> ItemKind {
    if !raw.is_object() && !matches!(reader, Reader::Unrecognized) {
        return ItemKind::Malformed {
            reason: "item is no object".to_owned(),
        };
    }
    let business = place.display_phone_number.as_deref();
    let kind = match reader {
        Reader::Message(channel) => message::parse(raw, channel, contacts)
            .map(|message| ItemKind::Message(Box::new(message))),
        Reader::Status(channel) => {
            status::parse(raw, channel, contacts).map(|report| ItemKind::Status(Box::new(report)))
        }
        Reader::Call => {
            call::parse(raw, business, contacts).map(|report| ItemKind::Call(Box::new(report)))
        }
        Reader::CallStatus => {
            call::parse_status(raw, contacts).map(|report| ItemKind::CallStatus(Box::new(report)))
        }
        Reader::Echo(channel) => {
            update::echo(raw, channel, contacts).map(|echo| ItemKind::Echo(Box::new(echo)))
        }
        Reader::UserIdUpdate => update::user_id_update(raw, contacts).map(ItemKind::UserIdUpdate),
        Reader::UserPreference => {
            update::user_preference(raw, contacts).map(ItemKind::UserPreference)
        }
        Reader::History => Ok(ItemKind::History(history::chunk(raw, business, contacts))),
        Reader::HistoryMedia => history::single(raw, business, contacts).map(ItemKind::History),
        Reader::AppContact => {
            update::app_contact(raw).map(|contact| ItemKind::AppContact(Box::new(contact)))
        }
        Reader::Group => group::parse(raw).map(|change| ItemKind::GroupChange(Box::new(change))),
        Reader::ValueError => Ok(ItemKind::ValueError(status::error(raw))),
        Reader::Unrecognized => Ok(ItemKind::Unrecognized),
    };
    kind.unwrap_or_else(malformed)
}

fn malformed(missing: Missing) -> ItemKind {
    ItemKind::Malformed {
        reason: missing.to_string(),
    }
}

/// Where the walk is, and whose number it concerns.
#[derive(Debug)]
struct Place {
    entry_id: Option<String>,
    entry_time: Option<i64>,
    field: String,
    entry_index: usize,
    change_index: usize,
    path: String,
    phone_number_id: Option<String>,
    display_phone_number: Option<String>,
}

impl Place {
    /// Most values name the number in `metadata`, handovers in `recipient`, account updates at
    /// the top.
    fn read_number(&mut self, value: &Value) {
        let holders = [value.get("metadata"), value.get("recipient"), Some(value)];
        let first = |read: &dyn Fn(&Value) -> Option<String>| {
            holders.iter().copied().flatten().find_map(read)
        };
        self.phone_number_id = first(&|holder| read::text(holder, "phone_number_id"));
        self.display_phone_number = first(&|holder| read::phone(holder, "display_phone_number"));
    }

    fn whole(&self, raw: &Value, kind: ItemKind) -> Item {
        self.item(self.path.clone(), 0, raw, kind)
    }

    fn item(&self, path: String, item_index: usize, raw: &Value, kind: ItemKind) -> Item {
        Item {
            origin: ItemOrigin {
                entry_id: self.entry_id.clone(),
                entry_time: self.entry_time,
                field: self.field.clone(),
                entry_index: self.entry_index,
                change_index: self.change_index,
                item_index,
                path,
            },
            phone_number_id: self.phone_number_id.clone(),
            display_phone_number: self.display_phone_number.clone(),
            raw: raw.clone(),
            kind,
        }
    }
}
