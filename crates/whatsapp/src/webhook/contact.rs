//! The `contacts[]` beside messages, statuses and calls, joined to the item they describe.
//!
//! A contact that contradicts the item is not joined: a wrong join would tie two people together.

use std::collections::HashMap;

use serde_json::{Map, Value};

use super::extra::{self, Known};
use super::read;

/// What a contact says about one person.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Contact {
    pub(super) phone: Option<String>,
    pub(super) user_id: Option<String>,
    pub(super) parent_user_id: Option<String>,
    pub(super) profile_name: Option<String>,
    pub(super) username: Option<String>,
    pub(super) identity_hash: Option<String>,
    /// What else it says.
    pub(super) extra: Option<Map<String, Value>>,
}

/// What is read of a contact.
const KNOWN: &[(&str, Known)] = &[
    (
        "profile",
        Known::Fields(&[("name", Known::Whole), ("username", Known::Whole)]),
    ),
    ("wa_id", Known::Whole),
    ("user_id", Known::Whole),
    ("parent_user_id", Known::Whole),
    ("username", Known::Whole),
    ("identity_key_hash", Known::Whole),
];

/// The contacts of one value. A post may have a thousand, for as many messages.
#[derive(Debug, Default)]
pub(super) struct Contacts {
    all: Vec<Contact>,
    by_user_id: HashMap<String, usize>,
    by_phone: HashMap<String, Vec<usize>>,
}

impl Contacts {
    /// Returns the contacts of a value; none if it has none.
    pub(super) fn of(value: &Value) -> Self {
        let raw = value.get("contacts").and_then(Value::as_array);
        let mut contacts = Self::default();
        for (index, contact) in raw.into_iter().flatten().map(read_contact).enumerate() {
            if let Some(user_id) = &contact.user_id {
                contacts.by_user_id.entry(user_id.clone()).or_insert(index);
            }
            if let Some(phone) = &contact.phone {
                let same = contacts.by_phone.entry(phone.clone()).or_default();
                same.push(index);
            }
            contacts.all.push(contact);
        }
        contacts
    }

    /// Returns the contact with this phone or user id, else the only contact if nothing in it
    /// contradicts them, else an empty one.
    pub(super) fn find(&self, phone: Option<&str>, user_id: Option<&str>) -> Contact {
        let differs = |ours: Option<&str>, theirs: &Option<String>| {
            ours.is_some() && theirs.is_some() && ours != theirs.as_deref()
        };
        let by_user_id = user_id.and_then(|user_id| self.by_user_id.get(user_id));
        if let Some(index) = by_user_id {
            return self.all[*index].clone();
        }
        let by_phone = phone.and_then(|phone| self.by_phone.get(phone));
        let by_phone = by_phone
            .into_iter()
            .flatten()
            .map(|index| &self.all[*index])
            .find(|contact| !differs(user_id, &contact.user_id));
        if let Some(contact) = by_phone {
            return contact.clone();
        }
        match &self.all[..] {
            [only] if !differs(phone, &only.phone) && !differs(user_id, &only.user_id) => {
                only.clone()
            }
            _ => Contact::default(),
        }
    }
}

fn read_contact(raw: &Value) -> Contact {
    let profile = raw.get("profile").unwrap_or(&Value::Null);
    Contact {
        phone: read::phone(raw, "wa_id"),
        user_id: read::text(raw, "user_id"),
        parent_user_id: read::text(raw, "parent_user_id"),
        profile_name: read::text(profile, "name"),
        username: read::text(profile, "username").or_else(|| read::text(raw, "username")),
        identity_hash: read::text(raw, "identity_key_hash"),
        extra: extra::of(raw, KNOWN, None),
    }
}
