//! From what is kept to lines of an export. Pure.

use casement_event::convert::timestamp;
use casement_event::{Event, v1};
use casement_proto::audit::v1 as proto;
use prost_types::value::Kind;
use prost_types::{ListValue, Struct, Value};

use crate::json;
use crate::model::Row;
use crate::summary;

/// Kind of the link from a customer who proved to be another.
pub(super) const MERGED: &str = "customer";

pub(super) fn event(row: &Row) -> proto::ExportedEvent {
    let is_there = row.event().is_some();
    let payload = is_there.then(|| json::payload(&row.stored));
    let payload = payload.and_then(|text| serde_json::from_str(&text).ok());
    proto::ExportedEvent {
        stream: row.stored.stream.clone(),
        incarnation: row.stored.incarnation.clone(),
        sequence: row.stored.sequence,
        subject: row.stored.subject.clone(),
        event_type: row.index.event_type.clone(),
        event_id: row.index.event_id.clone(),
        event_time: Some(timestamp(row.index.event_time)),
        stored_time: Some(timestamp(row.stored.stored_at)),
        customer_id: row.index.customer_id.clone(),
        summary: summary::of_row(row),
        payload: payload.and_then(object),
    }
}

pub(super) fn identifier(link: &v1::CustomerLinked) -> proto::CustomerIdentifier {
    proto::CustomerIdentifier {
        customer_id: link.customer_id.clone(),
        kind: link.kind.clone(),
        value: link.identifier.clone(),
        link_time: link.link_time,
    }
}

pub(super) fn media(stored: &v1::MediaStored) -> proto::ExportedMedia {
    let media = stored.media.clone().unwrap_or_default();
    proto::ExportedMedia {
        path: format!("/v1/media/{}:download", media.media_id),
        media_id: media.media_id,
        kind: media.kind,
        mime_type: media.mime_type,
        filename: media.filename,
        size_bytes: stored.size_bytes,
        sha256: stored.sha256.clone(),
    }
}

/// Returns which part of which post an event came from.
pub(super) fn origin(event: &Event) -> Option<v1::RawOrigin> {
    match event {
        Event::InboundMessageReceived(event) => event.origin.clone(),
        Event::InboundCallReceived(event) => event.origin.clone(),
        Event::InboundSmsReceived(event) => event.origin.clone(),
        Event::CustomerIdentityChanged(event) => event.origin.clone(),
        Event::CustomerPreferenceReported(event) => event.origin.clone(),
        Event::ThreadOwnerChanged(event) => event.origin.clone(),
        Event::EchoReceived(event) => event.origin.clone(),
        Event::HistoryImported(event) => event.origin.clone(),
        Event::StatusReported(event) => event.origin.clone(),
        Event::LateFact(late) => {
            let fact = Event::decode(&late.fact_type, &late.fact).ok()?;
            // A late fact is none of another.
            let is_nested = matches!(fact, Event::LateFact(_));
            (!is_nested).then(|| origin(&fact)).flatten()
        }
        _ => None,
    }
}

/// Returns a JSON object as protobuf has it; `None` if it is none.
fn object(json: serde_json::Value) -> Option<Struct> {
    match value(json).kind {
        Some(Kind::StructValue(object)) => Some(object),
        _ => None,
    }
}

/// Returns JSON as protobuf has it.
pub(super) fn value(json: serde_json::Value) -> Value {
    let kind = match json {
        serde_json::Value::Null => Kind::NullValue(0),
        serde_json::Value::Bool(is) => Kind::BoolValue(is),
        // Whole numbers of 64 bits stand as text in protobuf's JSON; providers' are smaller.
        serde_json::Value::Number(number) => Kind::NumberValue(number.as_f64().unwrap_or_default()),
        serde_json::Value::String(text) => Kind::StringValue(text),
        serde_json::Value::Array(values) => Kind::ListValue(ListValue {
            values: values.into_iter().map(value).collect(),
        }),
        serde_json::Value::Object(fields) => Kind::StructValue(Struct {
            fields: fields
                .into_iter()
                .map(|(name, field)| (name, value(field)))
                .collect(),
        }),
    };
    Value { kind: Some(kind) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture;

    #[test]
    fn an_event_is_told_with_its_fields_by_name() {
        let (rows, _) = fixture::rows("EVENTS", &[1]);
        let told = event(&rows[0]);
        let payload = told.payload.unwrap();
        let text = payload.fields["text"].kind.clone();
        assert_eq!(text, Some(Kind::StringValue("message 1".to_owned())));
        assert_eq!(told.customer_id, "c1");
    }

    #[test]
    fn an_erased_event_is_told_without_what_it_said() {
        let (mut rows, _) = fixture::rows("EVENTS", &[1]);
        rows[0].content = crate::model::Content::Erased;
        let told = event(&rows[0]);
        assert_eq!(told.payload, None);
        assert_eq!(told.summary, "InboundMessageReceived (erased)");
    }
}
