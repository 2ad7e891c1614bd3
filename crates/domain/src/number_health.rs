//! What the platform says of a business number, and what that permits.
//!
//! The platform tells by webhook and when it is asked, late, repeated and in any order. Of each
//! kind of fact the newest is kept, so that the state is a join: neither order nor repetition nor
//! delay changes it. What is derived here is what sending needs: whether the number is connected,
//! how fast it may send, to how many customers it may write first. What an account may do besides
//! is [`crate::capability`]'s; what a stop does to a message is for routing to say.

mod words;

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use crate::halt::Stop;

pub use words::{DEREGISTERED, DEREGISTERING, FALSE, REGISTERED, TRUE};
pub use words::{Effect, Limit, STATUSES, effect, limit};

/// Messages a second of a number whose throughput is not upgraded (WhatsApp Cloud API:
/// throughput).
pub const THROUGHPUT_STANDARD: u32 = 80;

/// Of one that is (WhatsApp Cloud API: throughput).
pub const THROUGHPUT_HIGH: u32 = 1_000;

/// Of one that the WhatsApp Business app uses, too (Meta: onboarding business app users).
pub const THROUGHPUT_COEXISTENCE: u32 = 20;

/// What is told of a number, one fact of each kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Whether it can send and receive: `CONNECTED`, `BANNED`, ….
    Status,
    /// What Casement did: `REGISTERED`, `DEREGISTERING` or `DEREGISTERED`.
    Registration,
    /// `GREEN`, `YELLOW`, `RED`, `UNKNOWN`.
    Quality,
    /// The name's review: `APPROVED`, `DECLINED`, `PENDING_REVIEW`, ….
    NameStatus,
    /// The name that customers see.
    VerifiedName,
    /// The name that was asked for last.
    RequestedName,
    /// `VERIFIED`, `NOT_VERIFIED`, `EXPIRED`.
    CodeVerification,
    /// `STANDARD`, `HIGH`, `NOT_APPLICABLE`.
    Throughput,
    /// To how many customers a day its portfolio may write first: `TIER_2K`, `2000`, ….
    MessagingLimit,
    /// Whether it is an official business account: `TRUE` or `FALSE`.
    Official,
    /// Whether the WhatsApp Business app uses it, too: `TRUE` or `FALSE`.
    Coexistence,
    /// Calls by its settings: `ENABLED` or `DISABLED`.
    Calling,
    /// `CLOUD_API`, `ON_PREMISE`, `NOT_APPLICABLE`.
    Platform,
    /// `LIVE` or `SANDBOX`.
    AccountMode,
    /// The platform's own summary of whether messages go: `AVAILABLE`, `LIMITED`, `BLOCKED`.
    CanSend,
    /// The review of its business account: `APPROVED`, `REJECTED`, ….
    AccountReview,
    /// What became of its business account: `DISABLE`, `REINSTATE`, `ACCOUNT_DELETED`, ….
    AccountState,
    /// What its business account may not do for now, and until when.
    Restriction,
    /// Which policy its business account violated.
    Violation,
    /// Why it was cut off; empty once it is back.
    Disconnection,
    /// The last alert about it.
    Alert,
    /// The last thing that concerned its two-step verification.
    Security,
    /// Its access token: `LASTING`, `ENDING` (then) or `INVALID`; `TAKEN` if only that is known.
    Token,
    /// Whether its app gets the webhooks of its business account: `TRUE` or `FALSE`.
    Subscription,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 24] = [
        Self::Status,
        Self::Registration,
        Self::Quality,
        Self::NameStatus,
        Self::VerifiedName,
        Self::RequestedName,
        Self::CodeVerification,
        Self::Throughput,
        Self::MessagingLimit,
        Self::Official,
        Self::Coexistence,
        Self::Calling,
        Self::Platform,
        Self::AccountMode,
        Self::CanSend,
        Self::AccountReview,
        Self::AccountState,
        Self::Restriction,
        Self::Violation,
        Self::Disconnection,
        Self::Alert,
        Self::Security,
        Self::Token,
        Self::Subscription,
    ];

    /// Whether it holds on when the number moves to another business account (WhatsApp Cloud API:
    /// migrating phone numbers: display name, quality, limit and official status are kept).
    fn moves_along(self) -> bool {
        matches!(
            self,
            Self::Quality
                | Self::VerifiedName
                | Self::MessagingLimit
                | Self::Official
                | Self::Throughput
        )
    }
}

/// Who told a fact. Of two that are equally old, the later one in this order counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Source {
    /// The platform, by itself.
    Webhook,
    /// What Casement did at the platform.
    Act,
    /// The platform, asked.
    Poll,
}

/// One thing that is told of a number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fact {
    /// When it was so: the webhook's own time, or when the platform was asked.
    pub at: Timestamp,
    /// Who told it.
    pub source: Source,
    /// The platform's word.
    pub value: String,
    /// Why, in the platform's words; may be empty.
    pub detail: String,
    /// Until when it holds, if the platform says so.
    pub until: Option<Timestamp>,
}

impl Fact {
    /// A fact without more to say about it.
    pub fn new(at: Timestamp, source: Source, value: impl Into<String>) -> Self {
        Self {
            at,
            source,
            value: value.into(),
            detail: String::new(),
            until: None,
        }
    }

    /// Says why.
    #[must_use]
    pub fn because(mut self, detail: impl Into<String>) -> Self {
        self.detail = detail.into();
        self
    }

    /// Whether both say the same, whoever says it and when.
    pub fn says_as(&self, other: &Self) -> bool {
        (&self.value, &self.detail, self.until) == (&other.value, &other.detail, other.until)
    }

    fn rank(&self) -> (Timestamp, Source, &str, &str, Option<Timestamp>) {
        (self.at, self.source, &self.value, &self.detail, self.until)
    }
}

/// What changed of one kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Of what kind.
    pub kind: Kind,
    /// What was known; `None` for nothing.
    pub before: Option<Fact>,
    /// What is known.
    pub after: Fact,
}

/// All that is told of a number.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Health {
    facts: BTreeMap<Kind, Fact>,
}

/// Whether a number may send on WhatsApp.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Connection {
    /// The platform says so.
    Connected,
    /// Nobody has said otherwise: that stops no number that works.
    Unknown,
    /// The platform says that it is something else, which may pass.
    NotConnected {
        /// The platform's word.
        status: String,
        /// Why, in its words; may be empty.
        detail: String,
        /// Since when that is known.
        since: Timestamp,
    },
    /// It was deregistered through Casement.
    Deregistered {
        /// When.
        at: Timestamp,
    },
}

impl Health {
    /// Returns what is known of a kind.
    pub fn fact(&self, kind: Kind) -> Option<&Fact> {
        self.facts.get(&kind)
    }

    /// Returns the word that is known of a kind; empty for none.
    pub fn word(&self, kind: Kind) -> &str {
        self.fact(kind).map_or("", |fact| &fact.value)
    }

    /// Returns all facts, in the order of their kinds.
    pub fn facts(&self) -> impl Iterator<Item = (Kind, &Fact)> {
        self.facts.iter().map(|(kind, fact)| (*kind, fact))
    }

    /// Takes a fact up, unless what is known is newer.
    pub fn take(&mut self, kind: Kind, fact: Fact) {
        match self.facts.get(&kind) {
            Some(known) if known.rank() >= fact.rank() => {}
            _ => {
                self.facts.insert(kind, fact);
            }
        }
    }

    /// Takes up all that another knows.
    #[must_use]
    pub fn join(mut self, other: Self) -> Self {
        for (kind, fact) in other.facts {
            self.take(kind, fact);
        }
        self
    }

    /// Returns what of this is still so at the number's next business account.
    #[must_use]
    pub fn moved(mut self) -> Self {
        self.facts.retain(|kind, _| kind.moves_along());
        self
    }

    /// Returns what is said otherwise than before. That the same was said again is no change.
    pub fn changes_since(&self, before: &Self) -> Vec<Change> {
        let changed = |(kind, after): (&Kind, &Fact)| {
            let before = before.fact(*kind);
            let is_as_before = before.is_some_and(|before| before.says_as(after));
            (!is_as_before).then(|| Change {
                kind: *kind,
                before: before.cloned(),
                after: after.clone(),
            })
        };
        self.facts.iter().filter_map(changed).collect()
    }

    /// Returns whether the number may send on WhatsApp.
    pub fn connection(&self) -> Connection {
        match self.fact(Kind::Registration) {
            Some(act) if act.value == words::DEREGISTERED => {
                return Connection::Deregistered { at: act.at };
            }
            Some(act) if act.value == words::DEREGISTERING => {
                return Connection::NotConnected {
                    status: act.value.clone(),
                    detail: act.detail.clone(),
                    since: act.at,
                };
            }
            _ => {}
        }
        let Some(status) = self.fact(Kind::Status) else {
            return Connection::Unknown;
        };
        match effect(&status.value) {
            Effect::Sends => Connection::Connected,
            Effect::Unknown => Connection::Unknown,
            Effect::Stops => Connection::NotConnected {
                status: status.value.clone(),
                detail: status.detail.clone(),
                since: status.at,
            },
        }
    }

    /// Returns until when the business account may write to nobody first, if it may not.
    pub fn restricted_until(&self, now: Timestamp) -> Option<Timestamp> {
        let fact = self.fact(Kind::Restriction)?;
        let until = fact.until.unwrap_or(Timestamp::MAX);
        let concerns = fact.value.contains(words::BUSINESS_INITIATED);
        (concerns && now < until).then_some(until)
    }

    /// Returns how many messages a second the platform takes; `None` if it never told.
    pub fn throughput(&self) -> Option<u32> {
        if self.is_on_the_app() {
            return Some(THROUGHPUT_COEXISTENCE);
        }
        match self.word(Kind::Throughput) {
            "HIGH" => Some(THROUGHPUT_HIGH),
            "STANDARD" => Some(THROUGHPUT_STANDARD),
            _ => None,
        }
    }

    /// Returns to how many customers a day the portfolio may write first.
    pub fn messaging_limit(&self) -> Limit {
        limit(self.word(Kind::MessagingLimit))
    }

    /// Whether the WhatsApp Business app uses the number, too.
    pub fn is_on_the_app(&self) -> bool {
        self.word(Kind::Coexistence) == words::TRUE
    }

    /// Whether its name has the mark of an official business account; `None` if nobody told.
    pub fn is_official(&self) -> Option<bool> {
        match self.word(Kind::Official) {
            words::TRUE => Some(true),
            words::FALSE => Some(false),
            _ => None,
        }
    }
}

/// Why a route is ruled out for a number that the platform does not have as connected.
pub const PLATFORM_STATUS: &str = "PLATFORM_STATUS";

/// Why templates are, while the business account is restricted.
pub const PLATFORM_RESTRICTION: &str = "PLATFORM_RESTRICTION";

/// Returns what stops every WhatsApp message of a number. `id` names the stop among halts.
pub fn stop(health: &Health, id: &str) -> Option<Stop> {
    let Connection::NotConnected {
        status,
        detail,
        since,
    } = health.connection()
    else {
        return None;
    };
    let why = match detail.as_str() {
        "" => String::new(),
        detail => format!(" ({detail})"),
    };
    Some(Stop {
        halt: id.to_owned(),
        cause: PLATFORM_STATUS.to_owned(),
        text: format!(
            "The platform has the number as {status}{why} since {since}; it sends again once it is CONNECTED."
        ),
        facts: vec![
            format!("platform_status={status}"),
            format!("since={since}"),
        ],
        until: None,
        probe_at: None,
        may_go_elsewhere: true,
        is_waited_for: true,
    })
}

/// Returns what stops templates alone. `id` names the stop among halts.
pub fn template_stop(health: &Health, id: &str, now: Timestamp) -> Option<Stop> {
    let until = health.restricted_until(now)?;
    let kinds = health.word(Kind::Restriction);
    Some(Stop {
        halt: id.to_owned(),
        cause: PLATFORM_RESTRICTION.to_owned(),
        text: format!("The platform restricts the business account ({kinds}) until {until}."),
        facts: vec![format!("restriction={kinds}"), format!("until={until}")],
        until: (until < Timestamp::MAX).then_some(until),
        probe_at: None,
        may_go_elsewhere: true,
        is_waited_for: true,
    })
}

/// Returns when a number is asked about next. `share` of 0 to 1 spreads numbers, so that not all
/// come due together.
pub fn next_poll(last: Timestamp, every: SignedDuration, share: f64) -> Timestamp {
    let (least, spread) = (0.9, 0.2);
    let factor = least + spread * share.clamp(0.0, 1.0);
    let wait = SignedDuration::try_from_secs_f64(every.as_secs_f64() * factor).unwrap_or(every);
    last.checked_add(wait).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests;
