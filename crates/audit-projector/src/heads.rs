//! Signed heads: what is said of a chain where it stands, so that whoever keeps it can tell later
//! whether the past was written anew.
//!
//! A head is a text of lines, signed as a note ([`crate::note`]):
//!
//! ```text
//! casement.local/archive
//! archive head 1
//! stream EVENTS
//! incarnation 18a5c3d1f0a2b000
//! sequence 1234
//! rows 1200
//! link 64 hex digits
//! time 2026-11-22T10:00:00Z
//! previous 18a5c3d1e0000000 998 64 hex digits
//! ```
//!
//! The first line is whose archive it is, which is the key's name, too. The last one is there only
//! if the stream had a life before this one: where that chain ends, so that it cannot be taken away
//! as a whole. Later versions may add lines at the end.
//!
//! Pure: who signs when is [`crate::sign`]'s affair.

use std::fmt::Write as _;

use jiff::Timestamp;

use crate::chain::Digest;

/// The second line: what this text is, so that a signature under it is one under nothing else.
const FORMAT: &str = "archive head 1";

/// What a signed head says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Statement {
    /// Whose archive it is.
    pub(crate) origin: String,
    pub(crate) stream: String,
    pub(crate) incarnation: String,
    /// Of the last row.
    pub(crate) sequence: u64,
    pub(crate) row_count: u64,
    /// Of the last row.
    pub(crate) link: Digest,
    /// When it was said.
    pub(crate) time: Timestamp,
    pub(crate) previous: Option<Previous>,
}

/// Where the chain of a stream's life before ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Previous {
    pub(crate) incarnation: String,
    pub(crate) sequence: u64,
    pub(crate) link: Digest,
}

/// Text that says something else, or nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("it is no head of an archive: {0}")]
pub(crate) struct NoHead(&'static str);

impl Statement {
    /// Returns the text; `None` if it could be read as another one.
    pub(crate) fn text(&self) -> Option<String> {
        let mut text = format!(
            "{}\n{FORMAT}\nstream {}\nincarnation {}\nsequence {}\nrows {}\nlink {}\ntime {}\n",
            self.origin,
            self.stream,
            self.incarnation,
            self.sequence,
            self.row_count,
            hex::encode(self.link),
            self.time,
        );
        if let Some(previous) = &self.previous {
            let link = hex::encode(previous.link);
            let Previous {
                incarnation,
                sequence,
                ..
            } = previous;
            // Writing to a string cannot fail.
            let _ = writeln!(text, "previous {incarnation} {sequence} {link}");
        }
        (Self::parse(&text).as_ref() == Ok(self)).then_some(text)
    }

    /// Reads a text.
    pub(crate) fn parse(text: &str) -> Result<Self, NoHead> {
        let mut lines = text.lines();
        let origin = lines.next().ok_or(NoHead("it is empty"))?.to_owned();
        if lines.next() != Some(FORMAT) {
            return Err(NoHead("its second line does not say so"));
        }
        let mut field = |name: &'static str| {
            let line = lines.next().and_then(|line| line.strip_prefix(name));
            let value = line.and_then(|line| line.strip_prefix(' '));
            value.filter(|value| !value.is_empty()).ok_or(NoHead(name))
        };
        let (stream, incarnation) = (word(field("stream")?)?, word(field("incarnation")?)?);
        let (sequence, row_count) = (number(field("sequence")?)?, number(field("rows")?)?);
        let link = digest(field("link")?)?;
        let time = field("time")?.parse().map_err(|_| NoHead("time"))?;
        let previous = lines.next().and_then(|line| line.strip_prefix("previous "));
        Ok(Self {
            origin,
            stream,
            incarnation,
            sequence,
            row_count,
            link,
            time,
            previous: previous.map(previous_of).transpose()?,
        })
    }
}

fn previous_of(value: &str) -> Result<Previous, NoHead> {
    let mut parts = value.split(' ');
    let (Some(incarnation), Some(sequence), Some(link), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(NoHead("previous"));
    };
    Ok(Previous {
        incarnation: word(incarnation)?,
        sequence: number(sequence)?,
        link: digest(link)?,
    })
}

fn word(value: &str) -> Result<String, NoHead> {
    let is_word = !value.is_empty() && value.chars().all(|char| char.is_ascii_graphic());
    is_word
        .then(|| value.to_owned())
        .ok_or(NoHead("a name has spaces"))
}

fn number(value: &str) -> Result<u64, NoHead> {
    value.parse().map_err(|_| NoHead("a number is none"))
}

fn digest(value: &str) -> Result<Digest, NoHead> {
    let bytes = hex::decode(value).ok();
    bytes
        .and_then(|bytes| bytes.try_into().ok())
        .ok_or(NoHead("a link is none"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn statement() -> Statement {
        Statement {
            origin: "casement.local/archive".to_owned(),
            stream: "EVENTS".to_owned(),
            incarnation: "1b".to_owned(),
            sequence: 7,
            row_count: 5,
            link: [0xab; 32],
            time: "2026-11-22T10:00:00.5Z".parse().unwrap(),
            previous: None,
        }
    }

    #[test]
    fn a_head_is_written_in_lines_and_reads_back() {
        let link = "ab".repeat(32);
        let text = format!(
            "casement.local/archive\narchive head 1\nstream EVENTS\nincarnation 1b\nsequence 7\n\
             rows 5\nlink {link}\ntime 2026-11-22T10:00:00.5Z\n"
        );
        assert_eq!(statement().text().unwrap(), text);
        let second = Statement {
            previous: Some(Previous {
                incarnation: "1a".to_owned(),
                sequence: 9,
                link: [1; 32],
            }),
            ..statement()
        };
        let text = second.text().unwrap();
        assert!(
            text.ends_with(&format!("previous 1a 9 {}\n", "01".repeat(32))),
            "{text}"
        );
        assert_eq!(Statement::parse(&text), Ok(second));
    }

    #[test]
    fn lines_of_later_versions_are_passed_over() {
        let text = statement().text().unwrap();
        assert_eq!(
            Statement::parse(&format!("{text}weather fine\n")),
            Ok(statement())
        );
    }

    #[test]
    fn what_could_be_read_as_something_else_is_not_written() {
        for stream in ["A\nsequence 9", "A B", ""] {
            let odd = Statement {
                stream: stream.to_owned(),
                ..statement()
            };
            assert_eq!(odd.text(), None, "{stream:?}");
        }
    }

    #[test]
    fn other_texts_are_no_heads() {
        let text = statement().text().unwrap();
        for (old, new) in [
            ("archive head 1", "archive head 2"),
            ("sequence 7\n", ""),
            ("rows 5", "rows five"),
            ("link ab", "link a"),
            ("2026-11-22T", "yesterday"),
        ] {
            assert!(Statement::parse(&text.replace(old, new)).is_err(), "{new}");
        }
        assert!(Statement::parse("").is_err());
    }
}
