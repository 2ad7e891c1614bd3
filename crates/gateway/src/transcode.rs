//! Requests from JSON, path and query; answers as JSON. Proto3's canonical form.
//!
//! Answers name every field without presence, defaults too: who reads JSON should not have to know
//! that absent means false. What a value means is for the services to judge.

use casement_shell::grpc::{bad_field, refuse};
use prost_reflect::{
    DynamicMessage, FieldDescriptor, Kind, MessageDescriptor, ReflectMessage as _,
    SerializeOptions, Value,
};
use serde_json::{Map, Value as Json};
use tonic::{Code, Status};

use crate::routes::Body;

/// What a request is made of.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Parts<'a> {
    pub(crate) rule: Body,
    pub(crate) body: &'a [u8],
    pub(crate) variables: &'a [(&'static str, String)],
    pub(crate) query: &'a str,
}

/// One thing wrong with a request.
#[derive(Debug, PartialEq, Eq)]
struct Violation {
    field: String,
    description: String,
}

impl Violation {
    fn new(field: impl Into<String>, description: impl Into<String>) -> Self {
        Self {
            field: field.into(),
            description: description.into(),
        }
    }
}

/// Reads a request.
pub(crate) fn read(input: &MessageDescriptor, parts: Parts<'_>) -> Result<DynamicMessage, Status> {
    try_read(input, parts).map_err(|wrong| bad_field(wrong.field, wrong.description))
}

/// Writes an answer.
pub(crate) fn write(message: &DynamicMessage) -> Result<Vec<u8>, Status> {
    let mut json = serde_json::Serializer::new(Vec::new());
    let options = SerializeOptions::new().skip_default_fields(false);
    message
        .serialize_with_options(&mut json, &options)
        .map_err(|error| {
            tracing::error!(%error, "answer cannot be written as JSON");
            refuse(
                Code::Internal,
                "NO_JSON",
                "the answer cannot be written as JSON",
            )
        })?;
    Ok(json.into_inner())
}

fn try_read(input: &MessageDescriptor, parts: Parts<'_>) -> Result<DynamicMessage, Violation> {
    let mut message = match parts.rule {
        Body::All => parse(input, parts.body, "")?,
        Body::None | Body::File | Body::Lines(_) if parts.body.is_empty() => {
            DynamicMessage::new(input.clone())
        }
        Body::None | Body::File | Body::Lines(_) => {
            return Err(Violation::new("body", "this call takes none"));
        }
        Body::Field(name) => {
            let mut message = DynamicMessage::new(input.clone());
            if let Some(field) = input.get_field_by_name(name)
                && let Kind::Message(kind) = field.kind()
            {
                let inner = parse(&kind, parts.body, name)?;
                message.set_field(&field, Value::Message(inner));
            }
            message
        }
    };
    let query: Vec<(String, String)> = serde_urlencoded::from_str(parts.query)
        .map_err(|error| Violation::new("query", error.to_string()))?;
    for (name, text) in &query {
        if matches!(parts.rule, Body::All | Body::Lines(_)) {
            return Err(Violation::new(name, "belongs into the body"));
        }
        bind(&mut message, name, text).map_err(|wrong| Violation::new(name, wrong))?;
    }
    for (name, text) in parts.variables {
        bind(&mut message, name, text).map_err(|wrong| Violation::new(*name, wrong))?;
    }
    Ok(message)
}

/// Reads a body. `within` is the field it stands for.
fn parse(kind: &MessageDescriptor, body: &[u8], within: &str) -> Result<DynamicMessage, Violation> {
    if body.trim_ascii().is_empty() {
        return Ok(DynamicMessage::new(kind.clone()));
    }
    // By way of a tree: straight from the text, numbers kept exactly look like maps.
    let json: Json = serde_json::from_slice(body)
        .map_err(|error| Violation::new("body", format!("is no JSON: {error}")))?;
    let mut track = serde_path_to_error::Track::new();
    let tracked = serde_path_to_error::Deserializer::new(json, &mut track);
    DynamicMessage::deserialize(kind.clone(), tracked).map_err(|error| {
        let path = match track.path().to_string() {
            path if path == "." => String::new(),
            path => path,
        };
        let field = match (within, path.as_str()) {
            ("", "") => "body".to_owned(),
            ("", path) => path.to_owned(),
            (within, "") => within.to_owned(),
            (within, path) => format!("{within}.{path}"),
        };
        Violation::new(field, error.to_string())
    })
}

/// Sets a field, named as in `customer.customer_id` or `customer.customerId`, from text.
fn bind(message: &mut DynamicMessage, path: &str, text: &str) -> Result<(), String> {
    let (first, rest) = path
        .split_once('.')
        .map_or((path, None), |(first, rest)| (first, Some(rest)));
    let kind = message.descriptor();
    let field = kind
        .get_field_by_name(first)
        .or_else(|| kind.get_field_by_json_name(first))
        .ok_or("is no field of this request")?;
    if let Some(rest) = rest {
        if field.is_list() || field.is_map() {
            return Err("is not one value".to_owned());
        }
        excludes(message, &field)?;
        return match message.get_field_mut(&field) {
            Value::Message(inner) => bind(inner, rest, text),
            _ => Err("has no fields".to_owned()),
        };
    }
    let value = value(&kind, &field, text)?;
    if field.is_list() {
        if let (Value::List(all), Value::List(more)) = (message.get_field_mut(&field), value) {
            all.extend(more);
        }
        return Ok(());
    }
    if message.has_field(&field) && *message.get_field(&field) != value {
        return Err("is given twice, differently".to_owned());
    }
    excludes(message, &field)?;
    message.set_field(&field, value);
    Ok(())
}

/// Of a oneof, one may be set.
fn excludes(message: &DynamicMessage, field: &FieldDescriptor) -> Result<(), String> {
    let Some(choice) = field.containing_oneof() else {
        return Ok(());
    };
    match choice
        .fields()
        .find(|other| other != field && message.has_field(other))
    {
        Some(other) => Err(format!("cannot be given together with {}", other.name())),
        None => Ok(()),
    }
}

/// The value of a field from text, by the rules for JSON.
fn value(parent: &MessageDescriptor, field: &FieldDescriptor, text: &str) -> Result<Value, String> {
    if field.is_map() {
        return Err("is not one value".to_owned());
    }
    let json = match field.kind() {
        Kind::Bool => match text {
            "true" => Json::Bool(true),
            "false" => Json::Bool(false),
            _ => return Err("is neither true nor false".to_owned()),
        },
        Kind::Enum(_) => text
            .parse::<i32>()
            .map_or_else(|_| Json::from(text), Json::from),
        Kind::Message(kind) if !is_written_as_text(&kind) => {
            return Err("is not one value: name a field of it".to_owned());
        }
        _ => Json::from(text),
    };
    let json = if field.is_list() {
        Json::Array(vec![json])
    } else {
        json
    };
    let lone = Map::from_iter([(field.json_name().to_owned(), json)]);
    let read = DynamicMessage::deserialize(parent.clone(), Json::Object(lone))
        .map_err(|error| error.to_string())?;
    Ok(read.get_field(field).into_owned())
}

/// Whether a message is a string in JSON.
fn is_written_as_text(kind: &MessageDescriptor) -> bool {
    [
        "google.protobuf.Duration",
        "google.protobuf.FieldMask",
        "google.protobuf.StringValue",
        "google.protobuf.Timestamp",
    ]
    .contains(&kind.full_name())
}

#[cfg(test)]
mod tests {
    use prost::Message as _;
    use prost_reflect::DescriptorPool;
    use serde_json::json;

    use super::*;

    fn kind(name: &str) -> MessageDescriptor {
        DescriptorPool::decode(casement_proto::DESCRIPTORS)
            .unwrap()
            .get_message_by_name(name)
            .unwrap()
    }

    fn parts<'a>(rule: Body, body: &'a str, query: &'a str) -> Parts<'a> {
        Parts {
            rule,
            body: body.as_bytes(),
            variables: &[],
            query,
        }
    }

    fn shown(message: &DynamicMessage) -> Json {
        serde_json::from_slice(&write(message).unwrap()).unwrap()
    }

    #[test]
    fn a_body_of_numbers_texts_and_names_is_read() {
        let list = kind("casement.audit.v1.ListEventsRequest");
        for body in [
            r#"{"pageSize": 50, "customerId": "c"}"#,
            r#"{"page_size": "50", "customer_id": "c"}"#,
        ] {
            let message = try_read(&list, parts(Body::All, body, "")).unwrap();
            assert_eq!(shown(&message)["pageSize"], json!(50));
            assert_eq!(shown(&message)["customerId"], json!("c"));
        }
        let send = kind("casement.message.v1.SendMessageRequest");
        let body = r#"{"number": "+49", "to": "+50", "purpose": "PURPOSE_SERVICE", "ttl": "90s",
            "sendTime": "2026-01-02T03:04:05Z", "content": {"freeForm": {"text": "hi"}}}"#;
        let message = try_read(&send, parts(Body::All, body, ""));
        let message = message.unwrap_or_else(|wrong| panic!("{wrong:?}"));
        let json = shown(&message);
        assert_eq!(json["sendTime"], "2026-01-02T03:04:05Z");
        assert_eq!(json["ttl"], "90s");
        assert_eq!(json["purpose"], "PURPOSE_SERVICE");
        assert_eq!(json["sensitive"], json!(false));
    }

    #[test]
    fn sixty_four_bits_are_text() {
        let event = kind("casement.audit.v1.ArchivedEvent");
        let sent = casement_proto::audit::v1::ArchivedEvent {
            sequence: u64::MAX,
            payload: vec![0xff],
            ..Default::default()
        };
        let message = DynamicMessage::decode(event, sent.encode_to_vec().as_slice()).unwrap();
        let json = shown(&message);
        assert_eq!(json["sequence"], json!("18446744073709551615"));
        assert_eq!(json["payload"], json!("/w=="));
        assert_eq!(json["headers"], json!({}));
    }

    #[test]
    fn a_query_sets_fields_of_every_kind() {
        let list = kind("casement.conversation.v1.ListConversationsRequest");
        let query = "number=%2B49&windowState=WINDOW_STATE_OPEN&page_size=7\
            &expireBeforeTime=2026-01-02T03:04:05Z";
        let message = try_read(&list, parts(Body::None, "", query)).unwrap();
        let json = shown(&message);
        assert_eq!(json["number"], "+49");
        assert_eq!(json["windowState"], "WINDOW_STATE_OPEN");
        assert_eq!(json["pageSize"], json!(7));
        assert_eq!(json["expireBeforeTime"], "2026-01-02T03:04:05Z");
        let window = kind("casement.window.v1.GetWindowRequest");
        let message = try_read(&window, parts(Body::None, "", "customer.to=%2B50")).unwrap();
        assert_eq!(shown(&message)["customer"], json!({"to": "+50"}));
    }

    #[test]
    fn a_path_completes_the_body_but_does_not_contradict_it() {
        let put = kind("casement.account.v1.PutBrandRequest");
        let variables = [("brand.brand_id", "shop".to_owned())];
        let with_body = |body| Parts {
            variables: &variables,
            ..parts(Body::Field("brand"), body, "")
        };
        let message = try_read(&put, with_body(r#"{"displayName": "Shop"}"#)).unwrap();
        let brand = &shown(&message)["brand"];
        assert_eq!(brand["brandId"], "shop");
        assert_eq!(brand["displayName"], "Shop");
        let wrong = try_read(&put, with_body(r#"{"brandId": "other"}"#)).unwrap_err();
        assert_eq!(
            wrong,
            Violation::new("brand.brand_id", "is given twice, differently")
        );
    }

    #[test]
    fn what_is_wrong_is_told_with_its_field() {
        let send = kind("casement.message.v1.SendMessageRequest");
        let window = kind("casement.window.v1.GetWindowRequest");
        let put = kind("casement.account.v1.PutTemplateRequest");
        for (input, rule, body, query, field) in [
            (&send, Body::All, "{", "", "body"),
            (&send, Body::All, "[]", "", "body"),
            (&send, Body::All, r#"{"sendTime": "soon"}"#, "", "sendTime"),
            (
                &send,
                Body::All,
                r#"{"content": {"sms": 1}}"#,
                "",
                "content.sms",
            ),
            (
                &send,
                Body::All,
                r#"{"labels": [{"key": {}}]}"#,
                "",
                "labels[0].key",
            ),
            (&send, Body::All, "{}", "number=1", "number"),
            (
                &put,
                Body::Field("template"),
                r#"{"category": "X"}"#,
                "",
                "template.category",
            ),
            (&window, Body::None, "{}", "", "body"),
            (&window, Body::None, "", "nonsense=1", "nonsense"),
            (&window, Body::None, "", "customer=1", "customer"),
            (&window, Body::None, "", "number.x=1", "number.x"),
            (&window, Body::None, "", "number=1&number=2", "number"),
            (
                &window,
                Body::None,
                "",
                "customer.to=1&customer.recipient=2",
                "customer.recipient",
            ),
        ] {
            let wrong = try_read(input, parts(rule, body, query)).unwrap_err();
            assert_eq!(wrong.field, field, "{wrong:?}");
            assert!(!wrong.description.is_empty());
        }
    }
}
