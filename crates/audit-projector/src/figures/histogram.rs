//! How times are spread, in classes that can be added up.
//!
//! Up to 128 ms each millisecond is a class; above, each doubling has 64 classes of equal width. A
//! quantile is told as the middle of its class, so it is off by less than 1 % of the true one
//! (1/128, of a time above 128 ms) or by nothing.

use std::collections::BTreeMap;

const LINEAR: u64 = 128;
const PER_DOUBLING_BITS: u32 = 6;

/// The class that a time is in.
pub(crate) fn class(millis: u64) -> u64 {
    if millis < LINEAR {
        return millis;
    }
    let shift = millis.ilog2() - PER_DOUBLING_BITS;
    // 64 to 127: the highest seven bits.
    let top = millis >> shift;
    LINEAR + (u64::from(shift) - 1) * 64 + (top - 64)
}

/// The middle of a class, in milliseconds.
pub(crate) fn middle(class: u64) -> u64 {
    if class < LINEAR {
        return class;
    }
    let shift = (class - LINEAR) / 64 + 1;
    let top = (class - LINEAR) % 64 + 64;
    if shift > 57 {
        return u64::MAX;
    }
    (top << shift) + ((1 << shift) - 1) / 2
}

/// How many times are in each class.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Histogram {
    classes: BTreeMap<u64, u64>,
}

impl Histogram {
    /// Adds times of a class.
    pub(crate) fn add(&mut self, class: u64, count: u64) {
        *self.classes.entry(class).or_default() += count;
    }

    /// Returns the time, in milliseconds, below or at which this share of all is; `None` if there
    /// are none.
    pub(crate) fn quantile(&self, share: (u64, u64)) -> Option<u64> {
        let count: u64 = self.classes.values().sum();
        // The smallest rank that has the share: rounded up, one at least.
        let rank = (count * share.0).div_ceil(share.1).max(1);
        let mut seen = 0;
        for (class, count) in &self.classes {
            seen += count;
            if seen >= rank {
                return Some(middle(*class));
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn classes_are_in_order_and_leave_no_gap() {
        let mut before = class(0);
        for millis in 1..200_000 {
            let next = class(millis);
            assert!(next == before || next == before + 1, "{millis}");
            before = next;
        }
        assert!(class(u64::MAX) > class(u64::MAX / 2));
    }

    proptest! {
        #[test]
        fn the_middle_of_a_class_is_within_one_percent(millis in 0_u64..10_000_000_000) {
            let told = middle(class(millis));
            prop_assert_eq!(class(told), class(millis));
            prop_assert!(told.abs_diff(millis) * 100 <= millis);
        }

        #[test]
        fn a_quantile_is_within_one_percent_of_the_true_one(
            mut times in proptest::collection::vec(0_u64..100_000_000, 1..200),
        ) {
            let mut histogram = Histogram::default();
            for time in &times {
                histogram.add(class(*time), 1);
            }
            times.sort_unstable();
            for share in [(1, 2), (9, 10)] {
                let rank = (times.len() as u64 * share.0).div_ceil(share.1).max(1);
                let index = usize::try_from(rank - 1).unwrap();
                let told = histogram.quantile(share).unwrap();
                prop_assert!(told.abs_diff(times[index]) * 100 <= times[index]);
            }
        }
    }
}
