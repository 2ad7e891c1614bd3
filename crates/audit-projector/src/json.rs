//! Payloads as JSON, for people who read the archive.
//!
//! By the descriptors of this version: what it does not know has no JSON, and its bytes are shown
//! alone.

use std::sync::LazyLock;

use casement_event::Stored;
use prost_reflect::{DescriptorPool, DynamicMessage};

/// Larger payloads are shown as bytes alone.
const PAYLOAD_LEN_MAX: usize = 1024 * 1024;

pub(crate) static DESCRIPTORS: LazyLock<DescriptorPool> = LazyLock::new(|| {
    DescriptorPool::decode(casement_proto::DESCRIPTORS)
        .expect("the descriptor set is compiled together with this")
});

/// Returns the payload as protobuf's JSON; empty if it is of an unknown type, malformed or large.
pub(crate) fn payload(stored: &Stored) -> String {
    let text = || {
        let descriptor = DESCRIPTORS.get_message_by_name(stored.event_type())?;
        let message = DynamicMessage::decode(descriptor, stored.payload.clone()).ok()?;
        serde_json::to_string(&message).ok()
    };
    if stored.payload.len() > PAYLOAD_LEN_MAX {
        return String::new();
    }
    text().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture;

    #[test]
    fn a_payload_is_shown_with_its_field_names() {
        let json: serde_json::Value =
            serde_json::from_str(&payload(&fixture::stored("EVENTS", 1))).unwrap();
        assert_eq!(json["text"], "message 1");
        assert_eq!(json["conversation"]["customerId"], "c1");
    }

    #[test]
    fn what_cannot_be_read_has_no_json() {
        let mut unknown = fixture::stored("EVENTS", 1);
        unknown.headers = vec![(
            "ce-type".to_owned(),
            "casement.events.v1.Unheard".to_owned(),
        )];
        assert_eq!(payload(&unknown), "");
        let mut malformed = fixture::stored("EVENTS", 1);
        malformed.payload = vec![0xff].into();
        assert_eq!(payload(&malformed), "");
    }
}
