//! Choices that depend on the seed and on what is chosen, and on nothing else.
//!
//! Each choice is named, so that leaving one thing out of a plan changes no other choice.

/// Choices of one seed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Seeded(u64);

impl Seeded {
    pub(crate) fn new(seed: u64) -> Self {
        Self(mix(seed ^ 0x9e37_79b9_7f4a_7c15))
    }

    /// Choices under a name.
    pub(crate) fn of(self, name: &str) -> Self {
        let mixed = name
            .bytes()
            .fold(self.0, |state, byte| mix(state ^ u64::from(byte)));
        Self(mixed)
    }

    /// Choices under a number.
    pub(crate) fn nth(self, number: u64) -> Self {
        Self(mix(self.0 ^ number.wrapping_mul(0xd134_2543_de82_ef95)))
    }

    /// A number below `end`.
    pub(crate) fn below(self, end: u64) -> u64 {
        self.0 % end.max(1)
    }

    /// Whether something happens that does so in `percent` of all cases.
    pub(crate) fn chance(self, percent: u64) -> bool {
        self.below(100) < percent
    }

    /// One of several.
    pub(crate) fn one<T: Copy>(self, of: &[T]) -> T {
        let at = self.below(of.len() as u64);
        of[usize::try_from(at).unwrap_or_default()]
    }
}

/// The finaliser of SplitMix64.
fn mix(state: u64) -> u64 {
    let state = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let state = (state ^ (state >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    state ^ (state >> 31)
}
