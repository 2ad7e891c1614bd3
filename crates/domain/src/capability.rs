//! What a number's account may do on the platform besides writing to one customer.
//!
//! A table with its sources: what each capability needs, and in which order that is looked at.
//! Windows do not ask: what a customer does counts whether the account can make use of it or not.

use crate::number_health::{Health, Kind, Limit};

/// Something that not every account may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Capability {
    /// To write in groups and to read them.
    GroupMessages,
    /// To take customers' calls.
    CustomerCalls,
    /// To call customers.
    BusinessCalls,
}

impl Capability {
    /// Every capability.
    pub const ALL: [Self; 3] = [
        Self::GroupMessages,
        Self::CustomerCalls,
        Self::BusinessCalls,
    ];

    /// Returns the stable word for programs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::GroupMessages => "GROUP_MESSAGES",
            Self::CustomerCalls => "CUSTOMER_CALLS",
            Self::BusinessCalls => "BUSINESS_CALLS",
        }
    }

    /// What it needs, in the order that it is looked at.
    fn needs(self) -> &'static [Need] {
        match self {
            // Meta: groups API (open to official business accounts since February 2026; not for
            // coexistence).
            Self::GroupMessages => &[Need::NotOnTheApp, Need::Official],
            // Meta: calling API (numbers on Cloud API alone, a messaging limit of 2,000, and the
            // number's calling settings).
            Self::CustomerCalls => &[Need::NotOnTheApp, Need::Limit, Need::CallingEnabled],
            // Meta: calling API, business-initiated calls (not from every country).
            Self::BusinessCalls => &[
                Need::NotOnTheApp,
                Need::Country,
                Need::Limit,
                Need::CallingEnabled,
            ],
        }
    }
}

/// The messaging limit from which calls are open (Meta: calling API).
const LIMIT_FOR_CALLS: u32 = 2_000;

/// Calling codes of countries whose numbers may not call customers (Meta: calling API, business-
/// initiated calls): the United States and Canada, Türkiye, Egypt, Vietnam, Nigeria. Other
/// countries share the first code: for them this says no where the platform may say yes.
const NO_BUSINESS_CALLS: [&str; 5] = ["1", "90", "20", "84", "234"];

#[derive(Debug, Clone, Copy)]
enum Need {
    NotOnTheApp,
    Official,
    Limit,
    CallingEnabled,
    Country,
}

/// Why an account cannot use a capability.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lack {
    /// The WhatsApp Business app uses the number, too.
    Coexistence,
    /// It is not an official business account.
    NotOfficial,
    /// Its portfolio's messaging limit is below 2,000.
    LimitTooLow,
    /// Calls are turned off in the number's settings.
    CallingDisabled,
    /// Numbers of its country may not call customers.
    Country,
}

impl Lack {
    /// Returns the stable word for programs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Coexistence => "COEXISTENCE",
            Self::NotOfficial => "NOT_OFFICIAL",
            Self::LimitTooLow => "LIMIT_TOO_LOW",
            Self::CallingDisabled => "CALLING_DISABLED",
            Self::Country => "COUNTRY",
        }
    }

    /// Returns one sentence for people.
    pub fn text(self) -> &'static str {
        match self {
            Self::Coexistence => {
                "The WhatsApp Business app uses the number, too; the platform keeps groups and calls there."
            }
            Self::NotOfficial => "Groups need an official business account.",
            Self::LimitTooLow => "Calls need a messaging limit of at least 2,000 customers a day.",
            Self::CallingDisabled => "Calls are turned off in the number's settings.",
            Self::Country => "Numbers of this country may not call customers.",
        }
    }
}

/// Whether an account can use a capability, as far as the platform has told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Availability {
    /// All that it needs is there.
    Available,
    /// It cannot be used.
    Unavailable(Lack),
    /// The platform has not told enough.
    Unknown,
}

impl Availability {
    /// Returns why not, if it is known not to be there.
    pub fn lack(self) -> Option<Lack> {
        match self {
            Self::Unavailable(lack) => Some(lack),
            Self::Available | Self::Unknown => None,
        }
    }
}

/// Returns whether a number's account can use a capability. `digits` is the number, E.164 without
/// the plus.
pub fn available(capability: Capability, digits: &str, health: &Health) -> Availability {
    let mut is_sure = true;
    for need in capability.needs() {
        match has(*need, digits, health) {
            Ok(true) => {}
            Ok(false) => is_sure = false,
            Err(lack) => return Availability::Unavailable(lack),
        }
    }
    if is_sure {
        Availability::Available
    } else {
        Availability::Unknown
    }
}

/// Whether a need is met; `Ok(false)` if nobody told.
fn has(need: Need, digits: &str, health: &Health) -> Result<bool, Lack> {
    match need {
        Need::NotOnTheApp if health.is_on_the_app() => Err(Lack::Coexistence),
        // Only numbers that are on the app are told apart.
        Need::NotOnTheApp => Ok(true),
        Need::Official => match health.is_official() {
            Some(true) => Ok(true),
            Some(false) => Err(Lack::NotOfficial),
            None => Ok(false),
        },
        Need::Limit => match health.messaging_limit() {
            Limit::Customers(limit) if limit < LIMIT_FOR_CALLS => Err(Lack::LimitTooLow),
            Limit::Customers(_) | Limit::Unlimited => Ok(true),
            Limit::Unknown => Ok(false),
        },
        Need::CallingEnabled => match health.word(Kind::Calling) {
            "ENABLED" => Ok(true),
            "DISABLED" => Err(Lack::CallingDisabled),
            _ => Ok(false),
        },
        Need::Country => {
            let is_excluded = NO_BUSINESS_CALLS
                .iter()
                .any(|code| digits.starts_with(code));
            if is_excluded {
                Err(Lack::Country)
            } else {
                Ok(true)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::number_health::{Fact, Source};

    fn health(facts: &[(Kind, &str)]) -> Health {
        let mut health = Health::default();
        for (kind, word) in facts {
            let fact = Fact::new(Timestamp::UNIX_EPOCH, Source::Poll, *word);
            health.take(*kind, fact);
        }
        health
    }

    /// What is known of a number.
    type Facts<'a> = &'a [(Kind, &'a str)];

    const LACKS: [(Lack, &str, &str); 5] = [
        (Lack::Coexistence, "COEXISTENCE", "WhatsApp Business app"),
        (
            Lack::NotOfficial,
            "NOT_OFFICIAL",
            "official business account",
        ),
        (Lack::LimitTooLow, "LIMIT_TOO_LOW", "2,000 customers a day"),
        (Lack::CallingDisabled, "CALLING_DISABLED", "turned off"),
        (Lack::Country, "COUNTRY", "this country"),
    ];

    #[test]
    fn words_are_stored_and_told_and_never_change() {
        let words = Capability::ALL.map(Capability::as_str);
        assert_eq!(
            words,
            ["GROUP_MESSAGES", "CUSTOMER_CALLS", "BUSINESS_CALLS"]
        );
        for (lack, word, _) in LACKS {
            assert_eq!(lack.as_str(), word);
        }
    }

    #[test]
    fn each_lack_is_told_in_a_sentence_that_names_it() {
        for (lack, _, named) in LACKS {
            let text = lack.text();
            assert!(text.contains(named) && text.ends_with('.'), "{text}");
        }
    }

    #[test]
    fn only_what_is_known_to_be_missing_is_told_as_lacking() {
        for (lack, ..) in LACKS {
            assert_eq!(Availability::Unavailable(lack).lack(), Some(lack));
        }
        for availability in [Availability::Available, Availability::Unknown] {
            assert_eq!(availability.lack(), None, "{availability:?}");
        }
    }

    #[test]
    fn each_capability_needs_what_the_platform_says() {
        use Availability::{Available, Unavailable, Unknown};
        use Capability::{BusinessCalls, CustomerCalls, GroupMessages};
        const GERMAN: &str = "4930111";
        const AMERICAN: &str = "15550001111";
        let calls: &[(Kind, &str)] = &[
            (Kind::MessagingLimit, "TIER_2K"),
            (Kind::Calling, "ENABLED"),
        ];
        let table: &[(Capability, &str, Facts<'_>, Availability)] = &[
            (GroupMessages, GERMAN, &[], Unknown),
            (
                GroupMessages,
                GERMAN,
                &[(Kind::Official, "TRUE")],
                Available,
            ),
            (
                GroupMessages,
                GERMAN,
                &[(Kind::Official, "FALSE")],
                Unavailable(Lack::NotOfficial),
            ),
            (
                GroupMessages,
                GERMAN,
                &[(Kind::Official, "TRUE"), (Kind::Coexistence, "TRUE")],
                Unavailable(Lack::Coexistence),
            ),
            (CustomerCalls, GERMAN, &[], Unknown),
            (CustomerCalls, AMERICAN, calls, Available),
            (
                CustomerCalls,
                GERMAN,
                &[(Kind::MessagingLimit, "TIER_250")],
                Unavailable(Lack::LimitTooLow),
            ),
            (
                CustomerCalls,
                GERMAN,
                &[
                    (Kind::MessagingLimit, "UNLIMITED"),
                    (Kind::Calling, "DISABLED"),
                ],
                Unavailable(Lack::CallingDisabled),
            ),
            (BusinessCalls, GERMAN, calls, Available),
            (BusinessCalls, AMERICAN, calls, Unavailable(Lack::Country)),
            (
                BusinessCalls,
                GERMAN,
                &[(Kind::Coexistence, "TRUE")],
                Unavailable(Lack::Coexistence),
            ),
        ];
        for (capability, digits, facts, wanted) in table {
            let found = available(*capability, digits, &health(facts));
            assert_eq!(found, *wanted, "{capability:?} {digits} {facts:?}");
        }
    }
}
