//! Positions: opaque tokens that order reads after writes.

use std::fmt;
use std::str::FromStr;

/// A place on the log: stream, its incarnation, sequence.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Position {
    /// The stream.
    pub stream: String,
    /// Which life of the stream.
    pub incarnation: String,
    /// The sequence.
    pub sequence: u64,
}

/// A token is not a position.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("position is not one that Casement gave out")]
pub struct InvalidPosition;

impl fmt::Display for Position {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            out,
            "{}~{}~{}",
            self.stream, self.incarnation, self.sequence
        )
    }
}

impl FromStr for Position {
    type Err = InvalidPosition;

    fn from_str(text: &str) -> Result<Self, InvalidPosition> {
        let mut parts = text.split('~');
        let (Some(stream), Some(incarnation), Some(sequence), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(InvalidPosition);
        };
        if stream.is_empty() || incarnation.is_empty() {
            return Err(InvalidPosition);
        }
        Ok(Self {
            stream: stream.to_owned(),
            incarnation: incarnation.to_owned(),
            sequence: sequence.parse().map_err(|_| InvalidPosition)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_reads_back_and_nonsense_is_refused() {
        let position = Position {
            stream: "EVENTS".into(),
            incarnation: "1a".into(),
            sequence: 42,
        };
        assert_eq!(position.to_string().parse(), Ok(position));
        for bad in ["", "EVENTS", "EVENTS~1", "EVENTS~1~x", "~~1", "a~b~1~c"] {
            assert_eq!(bad.parse::<Position>(), Err(InvalidPosition), "{bad}");
        }
    }
}
