//! A request as a gateway wants it, with places to fill in: `{{to}}`, `{{text}}` and others.
//!
//! What is filled in can never break out of its place: a body is read as JSON or as a form first,
//! and only then are its texts filled and written anew; in a URL, every other character than
//! letters and digits is encoded.

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

/// All that can be filled in.
pub const PLACES: [&str; 9] = [
    "to",
    "to_digits",
    "from",
    "from_digits",
    "text",
    "reference",
    "encoding",
    "segments",
    "callback_url",
];

/// Why a template cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// There is no such place.
    #[error("`{{{{{0}}}}}` is no place that is known: {known}", known = PLACES.join(", "))]
    UnknownPlace(String),
    /// It begins and never ends.
    #[error("a `{{{{` has no `}}}}`")]
    Open,
    /// The body is no JSON.
    #[error("body is no JSON; places stand inside of strings")]
    NotJson,
    /// The body is no form.
    #[error("body is no form, as in `to={{{{to}}}}&text={{{{text}}}}`")]
    NotAForm,
}

/// A text with places.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Text(Vec<Part>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Plain(String),
    Place(&'static str),
}

/// A body with places.
#[derive(Debug, Clone, PartialEq)]
pub enum Body {
    /// None at all.
    Empty,
    /// JSON, of which every string may have places.
    Json(Value),
    /// A form, of which every value may have places.
    Form(Vec<(String, Text)>),
}

/// What a place is filled with.
pub(super) type Fill<'a> = &'a dyn Fn(&str) -> String;

impl Text {
    /// Reads a text with places.
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some(start) = rest.find("{{") {
            let (plain, after) = (&rest[..start], &rest[start + 2..]);
            let end = after.find("}}").ok_or(TemplateError::Open)?;
            let name = after[..end].trim();
            let known = PLACES.into_iter().find(|place| *place == name);
            let place = known.ok_or_else(|| TemplateError::UnknownPlace(name.to_owned()))?;
            if !plain.is_empty() {
                parts.push(Part::Plain(plain.to_owned()));
            }
            parts.push(Part::Place(place));
            rest = &after[end + 2..];
        }
        if !rest.is_empty() {
            parts.push(Part::Plain(rest.to_owned()));
        }
        Ok(Self(parts))
    }

    fn fill(&self, fill: Fill<'_>) -> String {
        let parts = self.0.iter().map(|part| match part {
            Part::Plain(text) => text.clone(),
            Part::Place(place) => fill(place),
        });
        parts.collect()
    }

    /// Fills a URL.
    pub(super) fn fill_url(&self, fill: Fill<'_>) -> String {
        self.fill(&|place| utf8_percent_encode(&fill(place), NON_ALPHANUMERIC).to_string())
    }

    /// Returns what stands before the first place.
    pub(crate) fn plain_start(&self) -> &str {
        match self.0.first() {
            Some(Part::Plain(text)) => text,
            Some(Part::Place(_)) | None => "",
        }
    }
}

impl Body {
    /// Reads a JSON body with places in its strings.
    pub fn json(text: &str) -> Result<Self, TemplateError> {
        let value: Value = serde_json::from_str(text).map_err(|_| TemplateError::NotJson)?;
        check(&value)?;
        Ok(Self::Json(value))
    }

    /// Reads a form with places in its values.
    pub fn form(text: &str) -> Result<Self, TemplateError> {
        let pairs: Vec<(String, String)> =
            serde_urlencoded::from_str(text).map_err(|_| TemplateError::NotAForm)?;
        if pairs.is_empty() {
            return Err(TemplateError::NotAForm);
        }
        let pairs = pairs.into_iter();
        let pairs = pairs.map(|(name, value)| Ok((name, Text::parse(&value)?)));
        Ok(Self::Form(pairs.collect::<Result<_, _>>()?))
    }

    /// Returns the filled JSON; `None` for another body.
    pub(super) fn fill_json(&self, fill: Fill<'_>) -> Option<Value> {
        match self {
            Self::Json(value) => Some(fill_value(value, fill)),
            Self::Empty | Self::Form(_) => None,
        }
    }

    /// Returns the filled pairs; `None` for another body.
    pub(super) fn fill_form(&self, fill: Fill<'_>) -> Option<Vec<(&str, String)>> {
        match self {
            Self::Form(pairs) => Some(
                pairs
                    .iter()
                    .map(|(name, value)| (name.as_str(), value.fill(fill)))
                    .collect(),
            ),
            Self::Empty | Self::Json(_) => None,
        }
    }
}

fn check(value: &Value) -> Result<(), TemplateError> {
    match value {
        Value::String(text) => Text::parse(text).map(|_| ()),
        Value::Array(items) => items.iter().try_for_each(check),
        Value::Object(fields) => fields.values().try_for_each(check),
        Value::Null | Value::Bool(_) | Value::Number(_) => Ok(()),
    }
}

fn fill_value(value: &Value, fill: Fill<'_>) -> Value {
    match value {
        // It was read once already.
        Value::String(text) => {
            Value::String(Text::parse(text).map_or_else(|_| text.clone(), |text| text.fill(fill)))
        }
        Value::Array(items) => items.iter().map(|item| fill_value(item, fill)).collect(),
        Value::Object(fields) => fields
            .iter()
            .map(|(name, field)| (name.clone(), fill_value(field, fill)))
            .collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) => value.clone(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn fill(place: &str) -> String {
        match place {
            "to" => "+491512345".to_owned(),
            "text" => "\"}, {\"to\": \"x\" & {{to}} ü".to_owned(),
            other => format!("<{other}>"),
        }
    }

    #[test]
    fn what_is_filled_in_stays_in_its_place() {
        let body = Body::json(r#"{"a": [{"to": "{{to}}"}], "t": "say: {{ text }}!", "n": 1}"#);
        assert_eq!(
            body.unwrap().fill_json(&fill).unwrap(),
            json!({
                "a": [{ "to": "+491512345" }],
                "t": "say: \"}, {\"to\": \"x\" & {{to}} ü!",
                "n": 1,
            })
        );
        let body = Body::form("to={{to}}&m=x+{{text}}&fixed=1").unwrap();
        assert_eq!(
            body.fill_form(&fill).unwrap(),
            [
                ("to", "+491512345".to_owned()),
                ("m", "x \"}, {\"to\": \"x\" & {{to}} ü".to_owned()),
                ("fixed", "1".to_owned()),
            ]
        );
        let url = Text::parse("https://x.example/{{reference}}?to={{to}}").unwrap();
        assert_eq!(
            url.fill_url(&fill),
            "https://x.example/%3Creference%3E?to=%2B491512345"
        );
        assert_eq!(url.plain_start(), "https://x.example/");
    }

    #[test]
    fn a_template_that_cannot_be_filled_is_refused() {
        let unknown = |name: &str| TemplateError::UnknownPlace(name.to_owned());
        assert_eq!(Body::json(r#"{"a": "{{phone}}"}"#), Err(unknown("phone")));
        assert_eq!(Body::json(r#"["{{to"]"#), Err(TemplateError::Open));
        assert_eq!(Body::json(r#"{"to": {{to}}}"#), Err(TemplateError::NotJson));
        assert_eq!(Body::form("a={{b}}"), Err(unknown("b")));
        assert_eq!(Body::form(""), Err(TemplateError::NotAForm));
        assert!(unknown("x").to_string().contains("`{{x}}`"));
    }

    proptest! {
        #[test]
        fn any_text_comes_out_of_the_body_as_it_went_in(text in "(?s).{0,40}") {
            let fill = |_: &str| text.clone();
            let json = Body::json(r#"{"m": "{{text}}", "end": true}"#).unwrap();
            let written = json.fill_json(&fill).unwrap().to_string();
            let read: Value = serde_json::from_str(&written).unwrap();
            prop_assert_eq!(read, json!({ "m": text, "end": true }));
            let form = Body::form("m={{text}}&end=1").unwrap();
            let written = serde_urlencoded::to_string(form.fill_form(&fill).unwrap()).unwrap();
            let read: Vec<(String, String)> = serde_urlencoded::from_str(&written).unwrap();
            prop_assert_eq!(read, [("m".to_owned(), text.clone()), ("end".to_owned(), "1".to_owned())]);
            let url = Text::parse("http://x.example/a?m={{text}}&end=1").unwrap();
            let url: reqwest::Url = url.fill_url(&fill).parse().unwrap();
            let read: Vec<(String, String)> = url.query_pairs().into_owned().collect();
            prop_assert_eq!(&read[0].1, &text);
            prop_assert_eq!(read.len(), 2);
        }
    }
}
