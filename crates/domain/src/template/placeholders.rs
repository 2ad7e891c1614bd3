//! The placeholders of a text.

use std::collections::BTreeSet;

/// The placeholders of a text: all numbered or all named, never mixed (WhatsApp Cloud API: template
/// components).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Placeholders {
    /// `{{1}}` to this one; none if 0.
    Numbered(u32),
    /// `{{first_name}}` and so on, in order of their first appearance.
    Named(Vec<String>),
}

impl Placeholders {
    /// Returns how many there are.
    pub fn count(&self) -> usize {
        match self {
            Self::Numbered(count) => usize::try_from(*count).unwrap_or(usize::MAX),
            Self::Named(names) => names.len(),
        }
    }
}

/// Returns the placeholders of a text, or what is wrong with them.
pub fn placeholders(text: &str) -> Result<Placeholders, &'static str> {
    let mut numbers = BTreeSet::new();
    let mut names: Vec<String> = Vec::new();
    let mut rest = text;
    while let Some((_, after)) = rest.split_once("{{") {
        let (inner, after) = after
            .split_once("}}")
            .ok_or("has a `{{` without its `}}`")?;
        if let Some(number) = number(inner) {
            numbers.insert(number);
        } else if !is_name(inner) {
            return Err("has a placeholder that is neither a number from 1 nor a lower-case name");
        } else if !names.iter().any(|name| name == inner) {
            names.push(inner.to_owned());
        }
        rest = after;
    }
    match (numbers.last(), names.is_empty()) {
        (Some(_), false) => Err("mixes numbered and named placeholders"),
        (Some(last), true) if usize::try_from(*last) != Ok(numbers.len()) => {
            Err("numbers its placeholders with a gap")
        }
        (Some(last), true) => Ok(Placeholders::Numbered(*last)),
        (None, true) => Ok(Placeholders::Numbered(0)),
        (None, false) => Ok(Placeholders::Named(names)),
    }
}

fn number(inner: &str) -> Option<u32> {
    let is_number = !inner.starts_with('0') && inner.bytes().all(|byte| byte.is_ascii_digit());
    inner.parse().ok().filter(|_| is_number)
}

/// Whether a placeholder may be called so.
fn is_name(text: &str) -> bool {
    text.bytes()
        .next()
        .is_some_and(|byte| byte.is_ascii_lowercase() || byte == b'_')
        && text
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(names: &[&str]) -> Placeholders {
        Placeholders::Named(names.iter().map(|name| (*name).to_owned()).collect())
    }

    #[test]
    fn placeholders_are_found_and_counted_once() {
        for (body, found) in [
            ("No placeholders.", Placeholders::Numbered(0)),
            ("Hi {{1}}, order {{2}} for {{1}}", Placeholders::Numbered(2)),
            ("{{2}} before {{1}}", Placeholders::Numbered(2)),
            (
                "Hi {{first_name}}: {{order_2}}, {{first_name}}",
                named(&["first_name", "order_2"]),
            ),
            ("Braces { } and } alone", Placeholders::Numbered(0)),
        ] {
            assert_eq!(placeholders(body), Ok(found), "{body}");
        }
        for bad in [
            "{{1}} {{3}}",
            "{{0}}",
            "{{01}}",
            "{{1}} {{name}}",
            "{{ 1 }}",
            "{{Name}}",
            "{{}}",
            "open {{1",
            "{{4294967296}}",
        ] {
            assert!(placeholders(bad).is_err(), "{bad}");
        }
    }
}
