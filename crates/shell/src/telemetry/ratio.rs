//! How many of all traces are recorded.

use serde::{Deserialize, Serialize};

/// A share of a whole, from 0 to 1.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(try_from = "f64", into = "f64")]
pub struct Ratio(f64);

/// A number that is no share.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
#[error("{0} is no share of a whole: from 0 to 1")]
pub struct InvalidRatio(f64);

// Neither end of the range is NaN.
impl Eq for Ratio {}

impl Ratio {
    /// All of it.
    pub const ALL: Self = Self(1.0);

    /// Returns the number.
    pub const fn get(self) -> f64 {
        self.0
    }
}

impl Default for Ratio {
    fn default() -> Self {
        Self::ALL
    }
}

impl TryFrom<f64> for Ratio {
    type Error = InvalidRatio;

    fn try_from(number: f64) -> Result<Self, InvalidRatio> {
        if (0.0..=1.0).contains(&number) {
            Ok(Self(number))
        } else {
            Err(InvalidRatio(number))
        }
    }
}

impl From<Ratio> for f64 {
    fn from(ratio: Ratio) -> Self {
        ratio.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ratio_is_a_share_of_a_whole() {
        for good in [0.0, 0.1, 1.0] {
            assert_eq!(Ratio::try_from(good).map(Ratio::get), Ok(good));
        }
        for wrong in [-0.1, 1.1, f64::NAN, f64::INFINITY] {
            assert!(Ratio::try_from(wrong).is_err(), "{wrong}");
        }
    }
}
