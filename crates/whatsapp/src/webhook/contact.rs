//! The `contacts[]` beside messages, statuses and calls, joined to the item they describe.
//!
//! A contact that contradicts the item is not joined: a wrong join would tie two people together.

use serde_json::Value;

use super::read;

/// What a contact says about one person.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Contact {
    pub(super) phone: Option<String>,
    pub(super) user_id: Option<String>,
    pub(super) parent_user_id: Option<String>,
    pub(super) profile_name: Option<String>,
    pub(super) username: Option<String>,
}

/// The contacts of one value.
#[derive(Debug, Clone, Copy)]
pub(super) struct Contacts<'a>(&'a [Value]);

impl<'a> Contacts<'a> {
    /// Returns the contacts of a value; none if it has none.
    pub(super) fn of(value: &'a Value) -> Self {
        Self(
            value
                .get("contacts")
                .and_then(Value::as_array)
                .map_or(&[], Vec::as_slice),
        )
    }

    /// Returns the contact with this phone or user id, else the only contact if nothing in it
    /// contradicts them, else an empty one.
    pub(super) fn find(self, phone: Option<&str>, user_id: Option<&str>) -> Contact {
        let contacts = || self.0.iter().map(read_contact);
        let same = |ours: Option<&str>, theirs: &Option<String>| {
            ours.is_some() && ours == theirs.as_deref()
        };
        let differs = |ours: Option<&str>, theirs: &Option<String>| {
            ours.is_some() && theirs.is_some() && ours != theirs.as_deref()
        };
        if let Some(contact) = contacts().find(|contact| same(user_id, &contact.user_id)) {
            return contact;
        }
        if let Some(contact) = contacts()
            .find(|contact| same(phone, &contact.phone) && !differs(user_id, &contact.user_id))
        {
            return contact;
        }
        match self.0 {
            [only] => {
                let contact = read_contact(only);
                if differs(phone, &contact.phone) || differs(user_id, &contact.user_id) {
                    Contact::default()
                } else {
                    contact
                }
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
    }
}
