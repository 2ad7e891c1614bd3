//! Protobuf as JSON, by the descriptor set: proto3's canonical form.
//!
//! Fields at their defaults are left out, so that lines stay readable.

use std::sync::LazyLock;

use anyhow::{Context as _, anyhow};
use prost::Message;
use prost_reflect::{DescriptorPool, DynamicMessage, SerializeOptions};
use serde_json::Value;

static POOL: LazyLock<DescriptorPool> = LazyLock::new(|| {
    DescriptorPool::decode(casement_proto::DESCRIPTORS)
        .expect("the descriptor set was compiled with this program")
});

/// Returns a message as JSON. `name` is its full protobuf name.
pub(crate) fn of(name: &str, message: &impl Message) -> anyhow::Result<Value> {
    decode(name, &message.encode_to_vec())
}

/// Returns an encoded message as JSON. `name` is its full protobuf name.
pub(crate) fn decode(name: &str, payload: &[u8]) -> anyhow::Result<Value> {
    let descriptor = POOL
        .get_message_by_name(name)
        .ok_or_else(|| anyhow!("message type {name} is not known"))?;
    let message = DynamicMessage::decode(descriptor, payload)
        .with_context(|| format!("payload is not a {name}"))?;
    let options = SerializeOptions::new().skip_default_fields(true);
    Ok(message.serialize_with_options(serde_json::value::Serializer, &options)?)
}

/// Reads a message from JSON. `name` is its full protobuf name.
pub(crate) fn read<M: Message + Default>(name: &str, text: &str) -> anyhow::Result<M> {
    let descriptor = POOL
        .get_message_by_name(name)
        .ok_or_else(|| anyhow!("message type {name} is not known"))?;
    // By way of a tree: straight from the text, numbers kept exactly look like maps.
    let json: Value = serde_json::from_str(text).context("it is no JSON")?;
    let message = DynamicMessage::deserialize(descriptor, json)?;
    Ok(M::decode(message.encode_to_vec().as_slice())?)
}

#[cfg(test)]
mod tests {
    use casement_event::{Event, v1};
    use serde_json::json;

    use super::*;

    #[test]
    fn enums_have_names_and_times_are_readable() {
        let event = v1::MessageEnded {
            message_id: "1-2".to_owned(),
            outcome: v1::MessageOutcome::Delivered.into(),
            end_time: Some(prost_types::Timestamp {
                seconds: 0,
                nanos: 0,
            }),
            ..Default::default()
        };
        assert_eq!(
            of("casement.events.v1.MessageEnded", &event).unwrap(),
            json!({
                "messageId": "1-2",
                "outcome": "MESSAGE_OUTCOME_DELIVERED",
                "endTime": "1970-01-01T00:00:00Z",
            })
        );
    }

    #[test]
    fn what_was_written_can_be_read_and_nonsense_cannot() {
        let content = v1::Content {
            free_form: Some(v1::FreeForm {
                text: "Hi".to_owned(),
                ..v1::FreeForm::default()
            }),
            ..v1::Content::default()
        };
        let name = "casement.events.v1.Content";
        let text = of(name, &content).unwrap().to_string();
        assert_eq!(read::<v1::Content>(name, &text).unwrap(), content);
        for wrong in ["", "[]", r#"{"freeForm": 1}"#, r#"{"telegram": {}}"#] {
            assert!(read::<v1::Content>(name, wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn every_event_of_the_log_has_a_descriptor() {
        for name in Event::TYPES {
            assert_eq!(decode(name, &[]).unwrap(), json!({}), "{name}");
        }
        assert!(decode("casement.events.v1.Nonsense", &[]).is_err());
        assert!(decode("casement.events.v1.MessageEnded", &[0xff]).is_err());
    }
}
