//! The part of a post as received that is about one customer. Pure.
//!
//! Providers post about many customers at once. What is handed out of a post is the item that a
//! fact was read from, on its way from the top, with the fields that stand beside it; of other
//! lists only the entries that name the customer.

use std::collections::BTreeSet;

use casement_event::v1;
use casement_proto::audit::v1 as proto;
use serde_json::Value;

use super::lines;

/// One step into a post.
#[derive(Debug, PartialEq, Eq)]
enum Step<'a> {
    Field(&'a str),
    Index(usize),
}

/// Returns the line of a post.
pub(super) fn line(
    origin: &v1::RawOrigin,
    post: &v1::RawPost,
    identifiers: &BTreeSet<String>,
) -> proto::ExportedRawPost {
    let json = serde_json::from_slice::<Value>(&post.body).ok();
    let (content, text) = match json {
        Some(json) => (
            reduced(&json, &steps(&origin.path), identifiers),
            String::new(),
        ),
        // Of a gateway that posts forms, each about one message.
        None => (None, String::from_utf8_lossy(&post.body).into_owned()),
    };
    proto::ExportedRawPost {
        sequence: origin.sequence,
        post: origin.post,
        received_time: post.received_time,
        app: post.app.clone(),
        path: origin.path.clone(),
        content: content.map(lines::value),
        text,
    }
}

/// Takes a path such as `entry[0].changes[1].value.messages[2]` apart.
fn steps(path: &str) -> Vec<Step<'_>> {
    let mut steps = Vec::new();
    for part in path.split('.').filter(|part| !part.is_empty()) {
        let (name, indexes) = part.split_once('[').unwrap_or((part, ""));
        if !name.is_empty() {
            steps.push(Step::Field(name));
        }
        let indexes = indexes.split('[').filter_map(|index| {
            let index = index.strip_suffix(']')?;
            index.parse().ok().map(Step::Index)
        });
        steps.extend(indexes);
    }
    steps
}

/// Returns a post with the item alone to which the steps lead; `None` if they lead nowhere.
fn reduced(json: &Value, steps: &[Step<'_>], identifiers: &BTreeSet<String>) -> Option<Value> {
    let Some((step, rest)) = steps.split_first() else {
        return Some(json.clone());
    };
    match (step, json) {
        (Step::Field(name), Value::Object(fields)) => {
            let on_the_way = reduced(fields.get(*name)?, rest, identifiers)?;
            let beside = fields.iter().filter(|(other, _)| other != name);
            let mut kept: serde_json::Map<String, Value> = beside
                .map(|(other, value)| (other.clone(), naming(value, identifiers)))
                .collect();
            kept.insert((*name).to_owned(), on_the_way);
            Some(Value::Object(kept))
        }
        (Step::Index(index), Value::Array(items)) => {
            let item = reduced(items.get(*index)?, rest, identifiers)?;
            Some(Value::Array(vec![item]))
        }
        _ => None,
    }
}

/// Returns what stands beside the way: of lists, the entries alone that name the customer.
fn naming(value: &Value, identifiers: &BTreeSet<String>) -> Value {
    match value {
        Value::Array(items) => {
            let naming = items.iter().filter(|item| names(item, identifiers));
            Value::Array(naming.cloned().collect())
        }
        other => other.clone(),
    }
}

fn names(value: &Value, identifiers: &BTreeSet<String>) -> bool {
    match value {
        Value::String(text) => {
            let digits = text.strip_prefix('+').unwrap_or(text);
            identifiers.contains(digits) || identifiers.contains(text)
        }
        Value::Array(items) => items.iter().any(|item| names(item, identifiers)),
        Value::Object(fields) => fields.values().any(|field| names(field, identifiers)),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identifiers() -> BTreeSet<String> {
        BTreeSet::from(["4915550107788".to_owned()])
    }

    #[test]
    fn of_a_post_about_many_only_the_customers_part_is_told() {
        let post = serde_json::json!({
            "object": "whatsapp_business_account",
            "entry": [
                {"id": "1", "changes": [{"value": {"messages": [{"text": "somebody else's"}]}}]},
                {"id": "2", "changes": [{"field": "messages", "value": {
                    "metadata": {"display_phone_number": "15550001111"},
                    "contacts": [{"wa_id": "4915550109999"}, {"wa_id": "4915550107788"}],
                    "statuses": [{"recipient_id": "4915550109999"}],
                    "messages": [{"from": "4915550109999"}, {"from": "4915550107788"}],
                }}]},
            ],
        });
        let steps = steps("entry[1].changes[0].value.messages[1]");
        let told = reduced(&post, &steps, &identifiers()).unwrap();
        let expected = serde_json::json!({
            "object": "whatsapp_business_account",
            "entry": [{"id": "2", "changes": [{"field": "messages", "value": {
                "metadata": {"display_phone_number": "15550001111"},
                "contacts": [{"wa_id": "4915550107788"}],
                "statuses": [],
                "messages": [{"from": "4915550107788"}],
            }}]}],
        });
        assert_eq!(told, expected);
    }

    #[test]
    fn a_path_that_leads_nowhere_tells_nothing_and_a_form_is_told_whole() {
        let origin = v1::RawOrigin {
            path: "entry[7]".to_owned(),
            ..Default::default()
        };
        let post = |body: &'static str| v1::RawPost {
            body: body.into(),
            ..Default::default()
        };
        let nowhere = line(&origin, &post(r#"{"entry": []}"#), &identifiers());
        assert_eq!((nowhere.content, nowhere.text.as_str()), (None, ""));
        let form = line(&origin, &post("Body=Hello&From=%2B49"), &identifiers());
        assert_eq!(form.text, "Body=Hello&From=%2B49");
    }

    #[test]
    fn a_path_is_taken_apart() {
        let taken = [
            Step::Field("a"),
            Step::Index(1),
            Step::Index(2),
            Step::Field("b"),
        ];
        assert_eq!(steps("a[1][2].b"), taken);
        assert_eq!(steps(""), []);
    }
}
