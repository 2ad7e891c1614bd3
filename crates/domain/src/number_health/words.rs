//! The platform's words about numbers, and what each means for sending.

/// The value of facts that are so.
pub const TRUE: &str = "TRUE";

/// The value of facts that are not.
pub const FALSE: &str = "FALSE";

/// A number that Casement took off the platform.
pub const DEREGISTERED: &str = "DEREGISTERED";

/// A number that Casement takes off the platform right now.
pub const DEREGISTERING: &str = "DEREGISTERING";

/// A number that Casement put onto the platform.
pub const REGISTERED: &str = "REGISTERED";

/// Part of the word for a restriction of what a business may begin.
pub(super) const BUSINESS_INITIATED: &str = "BIZ_INITIATED";

/// What a status means for sending.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// Messages go.
    Sends,
    /// Messages do not go until it is another one.
    Stops,
    /// It says nothing.
    Unknown,
}

/// Every status of a number (WhatsApp Cloud API: phone number status), and what it means: only a
/// number that is CONNECTED sends and receives.
pub const STATUSES: [(&str, Effect); 11] = [
    ("CONNECTED", Effect::Sends),
    ("PENDING", Effect::Stops),
    ("BANNED", Effect::Stops),
    ("RESTRICTED", Effect::Stops),
    ("RATE_LIMITED", Effect::Stops),
    ("FLAGGED", Effect::Stops),
    ("DISCONNECTED", Effect::Stops),
    ("MIGRATED", Effect::Stops),
    ("DELETED", Effect::Stops),
    ("UNVERIFIED", Effect::Stops),
    ("UNKNOWN", Effect::Unknown),
];

/// Returns what a status means. A word that is new stops nothing: the platform refuses what it
/// does not take.
pub fn effect(status: &str) -> Effect {
    let known = STATUSES.iter().find(|(word, _)| *word == status);
    known.map_or(Effect::Unknown, |(_, effect)| *effect)
}

/// To how many customers a portfolio may write first in a day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// To so many.
    Customers(u32),
    /// To any number.
    Unlimited,
    /// The platform did not tell, or in words of its own.
    Unknown,
}

/// Reads a messaging limit: `TIER_250`, `TIER_2K`, `TIER_UNLIMITED`, `UNLIMITED`, `2000`, `-1`
/// (WhatsApp Cloud API: messaging limits; webhooks write all of them).
pub fn limit(word: &str) -> Limit {
    let word = word.trim().to_ascii_uppercase();
    let tier = word.strip_prefix("TIER_").unwrap_or(&word);
    if tier == "UNLIMITED" || tier == "-1" {
        return Limit::Unlimited;
    }
    let (digits, unit) = match tier.strip_suffix('K') {
        Some(digits) => (digits, 1_000),
        None => (tier, 1),
    };
    let count = digits.parse::<u32>().ok();
    let count = count.and_then(|count| count.checked_mul(unit));
    match count {
        Some(count) if count > 0 => Limit::Customers(count),
        _ => Limit::Unknown,
    }
}
