//! Customers who come from an ad, and what the platform does not bill after the business's reply.
//!
//! Written from the platform's pricing pages alone (free entry point windows). It is about bills:
//! what may be sent is none of its business.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::error::Error;
use crate::handle::Handle;
use crate::records::{CustomerId, InboundContent, InboundSpec, InboundVia};
use crate::rules;

/// For how long nothing is billed after the reply (Meta: free entry point windows).
pub const FREE_ENTRY_POINT: SignedDuration = SignedDuration::from_hours(72);
/// Within how long the business has to reply (Meta: free entry point windows).
const REPLY_WITHIN: SignedDuration = SignedDuration::from_hours(24);

/// What a customer writes on. Webhooks do not tell.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Device {
    /// Android or iOS.
    #[default]
    Phone,
    /// A computer: from there an ad makes nothing free.
    Desktop,
}

/// What the books hold of a customer's coming from ads to one number.
#[derive(Debug, Default)]
pub(crate) struct EntryPoint {
    awaits_reply_since: Option<Timestamp>,
    open: Option<Free>,
}

/// A conversation that is not billed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Free {
    pub(crate) conversation_id: String,
    pub(crate) ends_at: Timestamp,
}

impl EntryPoint {
    /// Notes that the customer came from an ad.
    pub(crate) fn came(&mut self, device: Device, at: Timestamp) {
        if device == Device::Phone {
            self.awaits_reply_since = self.awaits_reply_since.max(Some(at));
        }
    }

    /// Notes that the business sends the customer something, of any type, and returns what it is
    /// free in.
    pub(crate) fn replied(&mut self, now: Timestamp, length: SignedDuration) -> Option<Free> {
        let came_at = self.awaits_reply_since.take();
        if came_at.is_some_and(|came| now.duration_since(came) < REPLY_WITHIN)
            && let Ok(ends_at) = rules::anchor(now).checked_add(length)
        {
            self.open = Some(Free {
                conversation_id: Uuid::new_v4().simple().to_string(),
                ends_at,
            });
        }
        self.open.clone().filter(|open| now < open.ends_at)
    }

    /// Returns when it ends or ended; `None` if no reply ever opened one.
    pub(crate) fn ends_at(&self) -> Option<Timestamp> {
        self.open.as_ref().map(|open| open.ends_at)
    }
}

impl Handle {
    /// Lets a customer click on an ad and send the text that it suggests; returns its `wamid`.
    pub fn clicks(
        &self,
        customer: &CustomerId,
        phone_number_id: &str,
        text: &str,
        device: Device,
    ) -> Result<String, Error> {
        self.inbound(&InboundSpec {
            customer: customer.clone(),
            phone_number_id: phone_number_id.to_owned(),
            content: InboundContent::Text(text.to_owned()),
            at: None,
            via: InboundVia::Messages,
            reply_to: None,
            referral: Some(referral(text)),
            device,
        })
    }

    /// Returns when, by the simulator's own books, the customer's free entry point ends or ended;
    /// `None` if no reply ever opened one.
    pub fn entry_point_ends_at(
        &self,
        customer: &CustomerId,
        phone_number_id: &str,
    ) -> Result<Option<Timestamp>, Error> {
        self.shared().look(|state| {
            let books = &state.books;
            let customer = books
                .customer(customer.as_str())
                .ok_or(Error::UnknownCustomer)?;
            Ok(books.entry_point_ends_at(phone_number_id, &customer.id))
        })
    }

    /// Changes for how long nothing is billed after replies from now on.
    pub fn set_free_entry_point(&self, length: SignedDuration) {
        self.shared()
            .change(|state| state.books.free_entry_point = length);
    }
}

/// What the webhook tells of the ad.
fn referral(text: &str) -> Value {
    json!({
        "source_url": "https://fb.me/3cr4Wqqkv",
        "source_id": "120226305854810726",
        "source_type": "ad",
        "body": "Summer succulents are here!",
        "headline": "Chat with us",
        "media_type": "image",
        "image_url": "https://scontent.example/ad.jpg",
        "ctwa_clid": Uuid::new_v4().simple().to_string(),
        "welcome_message": {"text": text},
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3600;

    fn at(hours: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + hours * HOUR).unwrap()
    }

    /// Whether a message at each of these hours is free, of a customer who came at hour 0.
    fn free(device: Device, hours: &[i64]) -> Vec<bool> {
        let mut entry = EntryPoint::default();
        entry.came(device, at(0));
        let replied = |hour: &i64| entry.replied(at(*hour), FREE_ENTRY_POINT).is_some();
        hours.iter().map(replied).collect()
    }

    #[test]
    fn a_reply_within_a_day_makes_three_days_free() {
        assert_eq!(free(Device::Phone, &[5, 76, 77]), [true, true, false]);
        assert_eq!(free(Device::Phone, &[23, 94, 95]), [true, true, false]);
        assert_eq!(free(Device::Phone, &[24, 25]), [false, false]);
    }

    #[test]
    fn from_a_desktop_nothing_is_free() {
        assert_eq!(free(Device::Desktop, &[5, 6]), [false, false]);
    }

    #[test]
    fn who_comes_again_gets_another_three_days() {
        let mut entry = EntryPoint::default();
        entry.came(Device::Phone, at(0));
        let first = entry.replied(at(1), FREE_ENTRY_POINT).unwrap();
        entry.came(Device::Phone, at(70));
        let second = entry.replied(at(72), FREE_ENTRY_POINT).unwrap();
        assert_eq!((first.ends_at, second.ends_at), (at(73), at(144)));
        assert_ne!(first.conversation_id, second.conversation_id);
    }
}
