//! Halts: what must not be sent for now, how far that reaches, and what ends it.
//!
//! A halt is set by hand, or by an error of the platform that says more than that one message
//! failed. It ends by hand, by time, or by a fact: an accepted call, another token, an approved
//! template. Which error sets which halt stands in the platform's error table; what a halted
//! message does is for routing to say.

mod stops;

use jiff::{SignedDuration, Timestamp};

use crate::routing::Route;

pub use stops::{PORTFOLIO_LIMIT, Stop, Stops};

/// Longest wait before a halt that ends by time is over, or one that is probed is probed again.
pub const WAIT_MAX: SignedDuration = SignedDuration::from_hours(4);

/// How many calls that are accepted after a halt show that it is over. What comes later is another
/// one: of many calls some meet a limit by chance, and each must not wait longer for the last.
pub const ACCEPTED_LEN: u32 = 10;

/// How far a halt reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// All numbers of a brand.
    Brand,
    /// All numbers of a portfolio.
    Portfolio,
    /// All numbers of a WhatsApp business account.
    Waba,
    /// All numbers that are called for with one access token.
    Token,
    /// One business number.
    Number,
    /// One template, in one language or in all.
    Template,
    /// Messages with a label, of one brand.
    Label,
    /// SMS through one gateway.
    Gateway,
    /// One customer at one number. Kept in memory: there may be one for each customer.
    Pair,
}

impl Scope {
    /// Every scope.
    pub const ALL: [Self; 9] = [
        Self::Brand,
        Self::Portfolio,
        Self::Waba,
        Self::Token,
        Self::Number,
        Self::Template,
        Self::Label,
        Self::Gateway,
        Self::Pair,
    ];

    /// Returns the stable word for programs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Brand => "BRAND",
            Self::Portfolio => "PORTFOLIO",
            Self::Waba => "WABA",
            Self::Token => "TOKEN",
            Self::Number => "NUMBER",
            Self::Template => "TEMPLATE",
            Self::Label => "LABEL",
            Self::Gateway => "GATEWAY",
            Self::Pair => "PAIR",
        }
    }

    fn words(self) -> &'static str {
        match self {
            Self::Brand => "the brand",
            Self::Portfolio => "the portfolio",
            Self::Waba => "the business account",
            Self::Token => "the access token",
            Self::Number => "the number",
            Self::Template => "the template",
            Self::Label => "messages with this label",
            Self::Gateway => "the SMS gateway",
            Self::Pair => "this customer",
        }
    }
}

/// What is halted: a scope and which one of it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Target {
    /// How far it reaches.
    pub scope: Scope,
    /// Which one.
    pub key: String,
}

impl Target {
    /// A target whose key is one word: all but templates, labels and pairs.
    pub fn new(scope: Scope, key: impl Into<String>) -> Self {
        let key = key.into();
        Self { scope, key }
    }

    /// A template of a business account; in every language if `language` is empty.
    pub fn template(waba: &str, name: &str, language: &str) -> Self {
        Self::new(Scope::Template, format!("{waba}/{name}/{language}"))
    }

    /// Messages of a brand with this label.
    pub fn label(brand: &str, key: &str, value: &str) -> Self {
        Self::new(Scope::Label, format!("{brand}/{key}={value}"))
    }

    /// SMS through a gateway; `account` tells accounts apart that go by one name, and is empty for
    /// a name that is one account.
    pub fn gateway(name: &str, account: &str) -> Self {
        let key = match account {
            "" => name.to_owned(),
            account => format!("{name}/{account}"),
        };
        Self::new(Scope::Gateway, key)
    }

    /// Returns the name of the gateway that this is, if it is one.
    fn gateway_name(&self) -> Option<&str> {
        let is_gateway = self.scope == Scope::Gateway;
        is_gateway.then(|| self.key.split('/').next().unwrap_or_default())
    }

    /// One customer at one number.
    pub fn pair(number: &str, customer: &str) -> Self {
        Self::new(Scope::Pair, format!("{number}/{customer}"))
    }
}

/// Which messages stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Traffic {
    /// Every message.
    Everything,
    /// What sells.
    Marketing,
    /// Templates of any category.
    Templates,
}

/// Which channels stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Channels {
    /// WhatsApp alone.
    Whatsapp,
    /// SMS, too.
    Every,
}

/// Why there is a halt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cause {
    /// Somebody wanted it.
    ByHand {
        /// What for, in their words; may be empty.
        reason: String,
    },
    /// The platform answered with this code.
    Code {
        /// The code.
        code: i64,
        /// What it says.
        meaning: String,
    },
}

impl Cause {
    /// Returns what tells halts of one target from one another: those by hand are one, and each
    /// code is one.
    pub fn key(&self) -> String {
        match self {
            Self::ByHand { .. } => "hand".to_owned(),
            Self::Code { code, .. } => code.to_string(),
        }
    }
}

/// What ends a halt, besides a hand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// Nothing but a hand, or a fact that the scope knows of.
    Open,
    /// Time. When it comes back soon, it stays longer.
    Time {
        /// The first wait.
        first: SignedDuration,
        /// By how much the next is longer.
        factor: u32,
    },
    /// One message that is let through, and accepted.
    Probe {
        /// After how long the first one goes.
        first: SignedDuration,
        /// By how much longer the next one waits.
        factor: u32,
    },
}

/// What an error, or a caller, wants halted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    /// What.
    pub target: Target,
    /// Which messages.
    pub traffic: Traffic,
    /// On which channels.
    pub channels: Channels,
    /// Whether what stops may take another channel meanwhile.
    pub may_go_elsewhere: bool,
    /// Why.
    pub cause: Cause,
    /// What ends it.
    pub end: End,
    /// When it was so: what was lifted since stays lifted.
    pub met_at: Timestamp,
}

/// A halt as it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Halt {
    /// What stops.
    pub target: Target,
    /// Which messages.
    pub traffic: Traffic,
    /// On which channels.
    pub channels: Channels,
    /// Whether what stops may take another channel meanwhile.
    pub may_go_elsewhere: bool,
    /// Why.
    pub cause: Cause,
    /// Since when.
    pub since: Timestamp,
    /// Until when; `None` if time does not end it.
    pub until: Option<Timestamp>,
    /// When one message is let through to see; `None` for never.
    pub probe_at: Option<Timestamp>,
    /// How often it was renewed.
    pub renewals: u32,
}

impl Halt {
    /// Returns whether it is in force.
    pub fn is_in_force(&self, now: Timestamp) -> bool {
        self.until.is_none_or(|until| now < until)
    }

    /// Returns the stable word for programs: `NUMBER_PAUSED` by hand, else `NUMBER_HALTED`.
    pub fn word(&self) -> String {
        let verb = match self.cause {
            Cause::ByHand { .. } => "PAUSED",
            Cause::Code { .. } => "HALTED",
        };
        format!("{}_{verb}", self.target.scope.as_str())
    }

    /// Whether a route is stopped for a message.
    fn stops(&self, route: Route, sending: &Sending) -> bool {
        let by_channel = match (self.target.scope, route) {
            // Of several gateways one may be left: see `stops_gateway`.
            (_, Route::Hold) | (Scope::Gateway, _) => false,
            // One template says nothing about other messages.
            (Scope::Template, _) => route == Route::Template,
            (_, Route::Sms) => self.channels == Channels::Every,
            (_, Route::FreeForm | Route::Template) => true,
        };
        let by_traffic = match self.traffic {
            Traffic::Everything => true,
            Traffic::Marketing => sending.is_marketing,
            Traffic::Templates => route == Route::Template,
        };
        by_channel && by_traffic && sending.targets.contains(&self.target)
    }

    /// Returns the gateway that is stopped for a message, by its name.
    fn stops_gateway(&self, sending: &Sending) -> Option<&str> {
        let name = self.target.gateway_name()?;
        let is_meant = match self.traffic {
            Traffic::Everything => true,
            Traffic::Marketing => sending.is_marketing,
            Traffic::Templates => false,
        };
        (is_meant && sending.targets.contains(&self.target)).then_some(name)
    }

    fn stop(&self, id: &str) -> Stop {
        let what = self.target.scope.words();
        let traffic = match self.traffic {
            Traffic::Everything => "Sending",
            Traffic::Marketing => "Marketing",
            Traffic::Templates => "Sending of templates",
        };
        let text = match &self.cause {
            Cause::ByHand { reason } if reason.is_empty() => {
                format!("{traffic} is paused for {what}.")
            }
            Cause::ByHand { reason } => format!("{traffic} is paused for {what}: {reason}."),
            // Nobody was called.
            Cause::Code { code, meaning } if *code < 0 => {
                format!("{traffic} is halted for {what}: {meaning}.")
            }
            Cause::Code { code, meaning } => {
                format!("{traffic} is halted for {what} since error {code}: {meaning}.")
            }
        };
        let mut facts = vec![format!("halt={id}"), format!("since={}", self.since)];
        facts.extend(self.until.map(|until| format!("until={until}")));
        Stop {
            halt: id.to_owned(),
            cause: self.word(),
            text,
            facts,
            until: self.until,
            probe_at: self.probe_at,
            may_go_elsewhere: self.may_go_elsewhere,
            is_waited_for: self.target.scope != Scope::Template || self.has_prospects(),
        }
    }

    /// Whether somebody or something is known to end it.
    fn has_prospects(&self) -> bool {
        matches!(self.cause, Cause::ByHand { .. })
            || self.until.is_some()
            || self.probe_at.is_some()
    }
}

/// What is known of a halt: the last thing that happened to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Known {
    /// It was set, or renewed.
    Set(Halt),
    /// It was lifted.
    Lifted {
        /// When.
        at: Timestamp,
    },
}

/// Returns the halt to record for an order; `None` if what is known covers it.
///
/// The cause of a call that began before the halt was lifted does not set it again. One that comes
/// back soon after it ran out stays longer, unless so many calls that it concerns were
/// `accepted_since` that it was over.
pub fn set(
    known: Option<&Known>,
    order: &Order,
    accepted_since: u32,
    now: Timestamp,
) -> Option<Halt> {
    let (since, renewals) = match known {
        Some(Known::Lifted { at }) if *at >= order.met_at => return None,
        None | Some(Known::Lifted { .. }) => (order.met_at, 0),
        Some(Known::Set(halt)) => match (halt.until, halt.probe_at) {
            // It was let through to see, and it was not over.
            (None, Some(probe_at)) if order.met_at >= probe_at => {
                (halt.since, halt.renewals.saturating_add(1))
            }
            (None, _) => return None,
            // Of a call that was under way when it was set.
            (Some(until), _) if order.met_at < until => return None,
            (Some(until), _)
                if accepted_since < ACCEPTED_LEN && is_soon(halt, until, order.met_at) =>
            {
                (order.met_at, halt.renewals.saturating_add(1))
            }
            (Some(_), _) => (order.met_at, 0),
        },
    };
    let wait = |first, factor| add(now, wait(first, factor, renewals));
    let (until, probe_at) = match order.end {
        End::Open => (None, None),
        End::Time { first, factor } => (Some(wait(first, factor)), None),
        End::Probe { first, factor } => (None, Some(wait(first, factor))),
    };
    Some(Halt {
        target: order.target.clone(),
        traffic: order.traffic,
        channels: order.channels,
        may_go_elsewhere: order.may_go_elsewhere,
        cause: order.cause.clone(),
        since,
        until,
        probe_at,
        renewals,
    })
}

/// Whether a halt that ran out comes back within as long as it lasted.
fn is_soon(halt: &Halt, until: Timestamp, met_at: Timestamp) -> bool {
    met_at.duration_since(until) <= until.duration_since(halt.since)
}

/// Returns the wait after so many renewals, never longer than [`WAIT_MAX`] or than the first.
pub fn wait(first: SignedDuration, factor: u32, renewals: u32) -> SignedDuration {
    let times = i32::try_from(factor.max(1).saturating_pow(renewals)).unwrap_or(i32::MAX);
    let longer = first.checked_mul(times).unwrap_or(SignedDuration::MAX);
    longer.min(WAIT_MAX.max(first))
}

/// A message as halts see it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sending {
    /// All that it belongs to.
    pub targets: Vec<Target>,
    /// Whether it sells.
    pub is_marketing: bool,
}

fn add(at: Timestamp, by: SignedDuration) -> Timestamp {
    at.checked_add(by).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests;
