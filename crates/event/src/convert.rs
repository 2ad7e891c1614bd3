//! Between the domain's types and what is stored.
//!
//! Writing never fails. Reading fails with the field that does not fit, since what was stored
//! may come from a newer version or from a broken disk.

pub mod application;
pub mod brand;
pub mod colleague;
pub mod consent;
pub mod halt;
pub mod inbound;
pub mod message;
pub mod number_health;
pub mod reason;
pub mod template;
pub mod watch;
pub mod window;

use casement_domain::id::InvalidId;
use jiff::{SignedDuration, Timestamp};

/// A stored field does not fit the domain.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConvertError {
    /// A field that every such event has is absent.
    #[error("field `{0}` is absent")]
    Absent(&'static str),
    /// A field's value is out of its range.
    #[error("field `{field}` is not usable: {problem}")]
    Unusable {
        /// The field.
        field: &'static str,
        /// What is wrong with it.
        problem: String,
    },
    /// An id is not of its form.
    #[error(transparent)]
    Id(#[from] InvalidId),
}

/// Returns an instant as protobuf stores it.
pub fn timestamp(at: Timestamp) -> prost_types::Timestamp {
    let (mut seconds, mut nanos) = (at.as_second(), at.subsec_nanosecond());
    // Protobuf counts nanoseconds forward from the second, also before 1970.
    if nanos < 0 {
        seconds -= 1;
        nanos += 1_000_000_000;
    }
    prost_types::Timestamp { seconds, nanos }
}

/// Reads an instant that may be absent.
pub fn instant(
    field: &'static str,
    stored: Option<&prost_types::Timestamp>,
) -> Result<Option<Timestamp>, ConvertError> {
    let Some(stored) = stored else {
        return Ok(None);
    };
    Timestamp::new(stored.seconds, stored.nanos)
        .map(Some)
        .map_err(|error| ConvertError::Unusable {
            field,
            problem: error.to_string(),
        })
}

/// Reads an instant that must be there.
pub fn required_instant(
    field: &'static str,
    stored: Option<&prost_types::Timestamp>,
) -> Result<Timestamp, ConvertError> {
    instant(field, stored)?.ok_or(ConvertError::Absent(field))
}

/// Returns a duration as protobuf stores it.
pub fn duration(of: SignedDuration) -> prost_types::Duration {
    prost_types::Duration {
        seconds: of.as_secs(),
        nanos: of.subsec_nanos(),
    }
}

/// Reads a duration. Parts of different sign are added up.
pub fn signed_duration(stored: &prost_types::Duration) -> SignedDuration {
    SignedDuration::from_secs(stored.seconds)
        .saturating_add(SignedDuration::from_nanos(i64::from(stored.nanos)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_before_1970_and_within_a_second_survive() {
        for text in ["1969-12-31T23:59:59.25Z", "2026-11-22T10:00:00.000000001Z"] {
            let at: Timestamp = text.parse().unwrap();
            let stored = timestamp(at);
            assert!(stored.nanos >= 0);
            assert_eq!(required_instant("x", Some(&stored)).unwrap(), at);
        }
    }
}
