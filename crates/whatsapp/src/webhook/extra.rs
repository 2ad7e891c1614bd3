//! What of a known object is in no field of ours, so that it is kept all the same: the platform
//! adds fields without notice.

use serde_json::{Map, Value};

/// What we read of a value.
#[derive(Debug, Clone, Copy)]
pub(super) enum Known {
    /// All of it, or it is kept whole elsewhere.
    Whole,
    /// Of an object, these fields.
    Fields(&'static [(&'static str, Known)]),
    /// Of an array, these fields of its objects. One with more is kept whole, with its siblings.
    Each(&'static [(&'static str, Known)]),
}

/// Returns the fields of an object that are not read, `None` if all are.
///
/// `also` is a further name that is read whole. A field that should be an object and is none is
/// not read.
pub(super) fn of(
    value: &Value,
    known: &[(&'static str, Known)],
    also: Option<&str>,
) -> Option<Map<String, Value>> {
    let mut extra = Map::new();
    for (name, value) in value.as_object()? {
        if also == Some(name) {
            continue;
        }
        let left = match known.iter().find(|(known, _)| known == name) {
            None => Some(value.clone()),
            Some((_, known)) => inside(value, *known),
        };
        extra.extend(left.map(|left| (name.clone(), left)));
    }
    (!extra.is_empty()).then_some(extra)
}

fn inside(value: &Value, known: Known) -> Option<Value> {
    match (known, value) {
        (Known::Whole, _) | (_, Value::Null) => None,
        (Known::Fields(fields), Value::Object(_)) => of(value, fields, None).map(Value::Object),
        (Known::Each(fields), Value::Array(values)) => {
            let all_read = |value: &Value| value.is_object() && of(value, fields, None).is_none();
            (!values.iter().all(all_read)).then(|| value.clone())
        }
        (Known::Fields(_) | Known::Each(_), _) => Some(value.clone()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const KNOWN: &[(&str, Known)] = &[
        ("id", Known::Whole),
        ("context", Known::Fields(&[("from", Known::Whole)])),
        ("errors", Known::Each(&[("code", Known::Whole)])),
    ];

    #[test]
    fn what_is_read_leaves_nothing() {
        let value = json!({"id": {"any": "thing"}, "context": {"from": "1"}, "text": {"body": "x"},
            "errors": [{"code": 1}, {"code": 2}]});
        assert_eq!(of(&value, KNOWN, Some("text")), None);
        assert_eq!(of(&json!({"context": null}), KNOWN, None), None);
        assert_eq!(of(&json!("no object"), KNOWN, None), None);
    }

    #[test]
    fn what_is_not_read_is_left_where_it_stood() {
        let value = json!({"id": "1", "new": [1], "context": {"from": "1", "mood": "good"},
            "errors": [{"code": 1}, {"code": 2, "hint": "x"}]});
        let left = json!({"new": [1], "context": {"mood": "good"},
            "errors": [{"code": 1}, {"code": 2, "hint": "x"}]});
        assert_eq!(of(&value, KNOWN, None).map(Value::Object), Some(left));
    }

    #[test]
    fn what_has_another_shape_is_left_whole() {
        let value = json!({"context": "odd", "errors": "odd"});
        assert_eq!(of(&value, KNOWN, None).map(Value::Object), Some(value));
    }
}
