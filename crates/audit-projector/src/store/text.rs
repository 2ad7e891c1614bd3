//! Text in a form that every database takes.
//!
//! PostgreSQL refuses U+0000 in text, and functions of SQLite end at it; customers may well send
//! it. So it is written as two characters, U+0010 (data link escape) and `0`, and U+0010 itself
//! as two of it. All other text stands as it is: whatever Rust takes for text is Unicode, and
//! escapes inside of JSON are characters like others. Each character is written by itself, so
//! that what begins or equals a text still does when both are written so.

use std::borrow::Cow;

const ESCAPE: char = '\u{10}';
const NUL: char = '\0';

/// Returns the text as it is written.
pub(super) fn escape(text: &str) -> Cow<'_, str> {
    if !text.contains([NUL, ESCAPE]) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len() + 8);
    for char in text.chars() {
        match char {
            NUL => escaped.extend([ESCAPE, '0']),
            ESCAPE => escaped.extend([ESCAPE, ESCAPE]),
            char => escaped.push(char),
        }
    }
    Cow::Owned(escaped)
}

/// Reads what [`escape`] wrote; `None` if it was never written so.
pub(super) fn unescape(text: String) -> Option<String> {
    if !text.contains(ESCAPE) {
        return Some(text);
    }
    let mut plain = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(char) = chars.next() {
        plain.push(match char {
            ESCAPE => match chars.next()? {
                '0' => NUL,
                ESCAPE => ESCAPE,
                _ => return None,
            },
            char => char,
        });
    }
    Some(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_text_survives_and_none_holds_what_databases_refuse() {
        for text in [
            "",
            "plain",
            "\0",
            "a\0b\0",
            "\u{10}0",
            "\u{10}\u{10}\0\u{10}",
            "\u{FFFF}\u{10FFFF}\u{202E}e\u{301}👩‍👩‍👧",
        ] {
            let escaped = escape(text);
            assert!(!escaped.contains('\0'), "{text:?}");
            assert_eq!(unescape(escaped.into_owned()).as_deref(), Some(text));
        }
        assert!(matches!(escape("plain"), Cow::Borrowed(_)));
    }

    #[test]
    fn what_was_never_written_is_not_read() {
        for text in ["\u{10}", "a\u{10}b"] {
            assert_eq!(unescape(text.to_owned()), None, "{text:?}");
        }
    }

    #[test]
    fn a_beginning_still_is_one() {
        for (text, beginning, expected) in [
            ("a\0b", "a\0", true),
            ("a\0b", "a\u{10}", false),
            ("a\u{10}b", "a\u{10}", true),
            ("a\u{10}\u{10}", "a\0", false),
        ] {
            let begins = escape(text).starts_with(escape(beginning).as_ref());
            assert_eq!(begins, expected, "{text:?} {beginning:?}");
        }
    }
}
