//! The text of an SMS: taken from a template's body where nobody wrote one, and the link by which
//! the customer comes back to WhatsApp.
//!
//! What is put in is never read again: a parameter with braces in it stays what it is. How long a
//! text may be, and how many segments it takes, is not known here.

use crate::id::BusinessNumber;

/// Stands for the link to the conversation on WhatsApp.
pub const WA_LINK: &str = "wa_link";

/// Stands for a template's body, filled in, in the pattern that surrounds it.
pub const TEXT: &str = "text";

/// A parameter of a template's body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parameter {
    /// Its name; empty if it goes by its place.
    pub name: String,
    /// What it says; `None` if it is nothing that can be said in text.
    pub text: Option<String>,
}

/// Why a template's body gives no text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FillError {
    /// Nobody recorded a body.
    #[error("the body of the template is not on record")]
    NoBody,
    /// Something has to be put in that was not given, or is no text.
    #[error("the template's body needs {placeholder}, and no text is given for it")]
    Missing {
        /// As it stands in the body.
        placeholder: String,
    },
}

/// Returns a template's body with its parameters put in.
///
/// WhatsApp Cloud API: template components. Placeholders are numbered, by the place of their
/// parameter, or named.
pub fn fill(body: &str, parameters: &[Parameter]) -> Result<String, FillError> {
    if body.trim().is_empty() {
        return Err(FillError::NoBody);
    }
    let mut missing = None;
    let filled = substitute(body, |name| {
        let given = match name.parse::<usize>() {
            Ok(place) => parameters.get(place.checked_sub(1)?),
            Err(_) if name.is_empty() => None,
            Err(_) => parameters.iter().find(|one| one.name == name),
        };
        let text = given.and_then(|one| one.text.clone());
        if text.is_none() {
            missing.get_or_insert_with(|| placed(name));
        }
        text
    });
    match missing {
        Some(placeholder) => Err(FillError::Missing { placeholder }),
        None => Ok(filled),
    }
}

/// Returns the link that opens a conversation with a number on WhatsApp.
///
/// WhatsApp: click to chat. The number in international form, digits alone.
pub fn wa_link(number: &BusinessNumber) -> String {
    format!("https://wa.me/{}", number.digits())
}

/// Whether a text asks for the link.
pub fn wants_link(text: &str) -> bool {
    text.contains(&placed(WA_LINK))
}

/// Returns a text with the link put in.
pub fn with_link(text: &str, link: &str) -> String {
    substitute(text, |name| (name == WA_LINK).then(|| link.to_owned()))
}

/// Returns a pattern with a text and the link put in.
pub fn in_pattern(pattern: &str, text: &str, link: &str) -> String {
    substitute(pattern, |name| match name {
        TEXT => Some(text.to_owned()),
        WA_LINK => Some(link.to_owned()),
        _ => None,
    })
}

/// Whether a pattern has a place for the text.
pub fn has_text(pattern: &str) -> bool {
    pattern.contains(&placed(TEXT))
}

fn placed(name: &str) -> String {
    format!("{{{{{name}}}}}")
}

/// Puts values in, from left to right, each once. What has none stays.
pub(crate) fn substitute(text: &str, mut value: impl FnMut(&str) -> Option<String>) -> String {
    let mut done = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("{{") {
        done.push_str(before);
        // Of more than two braces the innermost count.
        if after.starts_with('{') {
            done.push('{');
            rest = rest.get(before.len() + 1..).unwrap_or_default();
            continue;
        }
        let Some((name, behind)) = after.split_once("}}") else {
            done.push_str("{{");
            rest = after;
            continue;
        };
        if let Some(value) = value(name) {
            done.push_str(&value);
            rest = behind;
        } else {
            done.push_str("{{");
            rest = after;
        }
    }
    done.push_str(rest);
    done
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LINK: &str = "https://wa.me/15550001111";

    fn by_place(texts: &[&str]) -> Vec<Parameter> {
        let one = |text: &&str| Parameter {
            name: String::new(),
            text: Some((*text).to_owned()),
        };
        texts.iter().map(one).collect()
    }

    fn by_name(pairs: &[(&str, &str)]) -> Vec<Parameter> {
        let one = |(name, text): &(&str, &str)| Parameter {
            name: (*name).to_owned(),
            text: Some((*text).to_owned()),
        };
        pairs.iter().map(one).collect()
    }

    fn missing(placeholder: &str) -> Result<String, FillError> {
        Err(FillError::Missing {
            placeholder: placeholder.to_owned(),
        })
    }

    #[test]
    fn a_body_is_filled_in_by_place_or_by_name() {
        let picture = vec![Parameter {
            name: String::new(),
            text: None,
        }];
        let table = [
            ("No places.", by_place(&[]), Ok("No places.".to_owned())),
            (
                "Hi {{1}}, order {{2}} for {{1}}",
                by_place(&["Ana", "7"]),
                Ok("Hi Ana, order 7 for Ana".to_owned()),
            ),
            (
                "{{2}} before {{1}}",
                by_place(&["a", "b"]),
                Ok("b before a".to_owned()),
            ),
            (
                "Hi {{first_name}}: {{order}}",
                by_name(&[("order", "7"), ("first_name", "Ana")]),
                Ok("Hi Ana: 7".to_owned()),
            ),
            ("{{1}}", by_place(&["{{2}}", "x"]), Ok("{{2}}".to_owned())),
            ("a } b {{1}}", by_place(&["x"]), Ok("a } b x".to_owned())),
            ("Hi {{1}} {{2}}", by_place(&["Ana"]), missing("{{2}}")),
            ("Hi {{who}}", by_place(&["Ana"]), missing("{{who}}")),
            ("See {{1}}", picture, missing("{{1}}")),
            ("{{}}", by_place(&["Ana"]), missing("{{}}")),
            ("", by_place(&["Ana"]), Err(FillError::NoBody)),
            (" \n", by_place(&[]), Err(FillError::NoBody)),
        ];
        for (body, parameters, expected) in table {
            assert_eq!(fill(body, &parameters), expected, "{body}");
        }
    }

    #[test]
    fn the_link_is_put_in_wherever_it_is_asked_for() {
        let number = BusinessNumber::parse("+15550001111").unwrap();
        assert_eq!(wa_link(&number), LINK);
        for (text, expected) in [
            ("Write to us: {{wa_link}}", format!("Write to us: {LINK}")),
            ("{{wa_link}} {{wa_link}}", format!("{LINK} {LINK}")),
            ("{{{wa_link}}}", format!("{{{LINK}}}")),
            ("{{ wa_link }} {{other}}", "{{ wa_link }} {{other}}".into()),
            ("{{ open {{wa_link}}", format!("{{{{ open {LINK}")),
            ("Hello", "Hello".to_owned()),
        ] {
            assert_eq!(with_link(text, LINK), expected, "{text}");
            assert_eq!(wants_link(text), text != expected, "{text}");
        }
    }

    #[test]
    fn a_pattern_surrounds_the_text_and_does_not_read_it() {
        let pattern = "{{text}}\nReply on WhatsApp: {{wa_link}}";
        assert!(has_text(pattern) && !has_text("{{wa_link}}"));
        let text = in_pattern(pattern, "Hi {{wa_link}}", LINK);
        assert_eq!(
            text,
            format!("Hi {{{{wa_link}}}}\nReply on WhatsApp: {LINK}")
        );
    }

    proptest! {
        #[test]
        fn what_is_put_in_stands_in_the_text_as_it_was_given(
            before in "[a-z {}]{0,9}[a-z ]", value in "\\PC{0,20}", after in "[a-z ]{0,9}",
        ) {
            let body = format!("{before}{{{{1}}}}{after}");
            let given = by_place(&[&value]);
            // The braces before may make a place of their own.
            if let Ok(filled) = fill(&body, &given) {
                prop_assert_eq!(filled, format!("{before}{value}{after}"));
            }
        }

        #[test]
        fn a_text_without_places_stays_as_it_is(text in "\\PC{0,40}") {
            prop_assume!(!wants_link(&text));
            prop_assert_eq!(with_link(&text, LINK), text);
        }
    }
}
