//! Reads bodies that are not quite JSON: broken UTF-8, and escapes of half a surrogate pair, as
//! clients make them that cut a customer's name inside an emoji.
//!
//! Without this one such name would make a whole post of a thousand items unreadable, for as long
//! as Meta retries it. It repairs text only; structure that is broken stays broken.

use std::borrow::Cow;

use serde_json::Value;

/// Returns the value and whether it had to be repaired.
pub(super) fn read(raw: &[u8]) -> Result<(Value, bool), serde_json::Error> {
    let error = match serde_json::from_slice(raw) {
        Ok(value) => return Ok((value, false)),
        Err(error) => error,
    };
    let text = String::from_utf8_lossy(raw);
    let repaired = replace_lone_surrogates(&text);
    if matches!((&text, &repaired), (Cow::Borrowed(_), Cow::Borrowed(_))) {
        return Err(error);
    }
    // The first error says where the body as received is wrong.
    serde_json::from_str(&repaired)
        .map(|value| (value, true))
        .map_err(|_| error)
}

/// Replaces `\uD800`…`\uDFFF` that have no partner by `\uFFFD`.
fn replace_lone_surrogates(text: &str) -> Cow<'_, str> {
    let bytes = text.as_bytes();
    let mut out = String::new();
    let mut copied = 0;
    let mut at = 0;
    while at < bytes.len() {
        if bytes[at] != b'\\' {
            at += 1;
            continue;
        }
        let Some(unit) = unicode_escape(bytes, at) else {
            // `\\`, `\"` and friends: two bytes, of which the second is not looked at again.
            at += 2;
            continue;
        };
        let next = unicode_escape(bytes, at + 6);
        match (unit, next) {
            (0xD800..=0xDBFF, Some(0xDC00..=0xDFFF)) => at += 12,
            (0xD800..=0xDFFF, _) => {
                out.push_str(&text[copied..at]);
                out.push_str("\\uFFFD");
                at += 6;
                copied = at;
            }
            _ => at += 6,
        }
    }
    if copied == 0 {
        return Cow::Borrowed(text);
    }
    out.push_str(&text[copied..]);
    Cow::Owned(out)
}

fn unicode_escape(bytes: &[u8], at: usize) -> Option<u16> {
    let escape = bytes.get(at..at + 6)?;
    if !escape.starts_with(b"\\u") || !escape[2..].iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    let digits = std::str::from_utf8(&escape[2..]).ok()?;
    u16::from_str_radix(digits, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::read;

    #[test]
    fn half_a_surrogate_pair_costs_one_character_and_not_the_post() {
        for (body, expected) in [
            (r#"["a\ud83d"]"#, "a\u{fffd}"),
            (r#"["\ude00b"]"#, "\u{fffd}b"),
            (
                r#"["\ud83d\ude00 \ud83d\ud83d\ude00"]"#,
                "\u{1f600} \u{fffd}\u{1f600}",
            ),
            (r#"["\ud83d\n\\ud83d\""]"#, "\u{fffd}\n\\ud83d\""),
        ] {
            let (value, repaired) = read(body.as_bytes()).expect(body);
            assert_eq!(value[0], expected, "{body}");
            assert!(repaired, "{body}");
        }
    }

    #[test]
    fn broken_utf8_costs_one_character_and_not_the_post() {
        let (value, repaired) = read(b"[\"a\xff\"]").expect("repaired");
        assert_eq!(value[0], "a\u{fffd}");
        assert!(repaired);
    }

    #[test]
    fn broken_structure_stays_broken() {
        for body in ["", "{", "[1,]", r#"["\ud83d"#, "\u{fffd}"] {
            assert!(read(body.as_bytes()).is_err(), "{body}");
        }
    }

    #[test]
    fn valid_bodies_are_not_touched() {
        let (value, repaired) = read(br#"["\ud83d\ude00\u0000\\ud83d"]"#).expect("valid");
        assert_eq!(value[0], "\u{1f600}\0\\ud83d");
        assert!(!repaired);
    }
}
