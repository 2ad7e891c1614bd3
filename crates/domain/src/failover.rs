//! Failover: when a message goes on by another route although the first one was open.
//!
//! Two things lead there. An error: which routes a class of errors rules out for this message is
//! a table, and a policy names the classes that it would rather have end the message. And silence:
//! after a while without a report of the delivery, another channel is taken. That is off unless
//! asked for, since what the platform took stays live there, and the customer may get both.
//!
//! Which code is of which class is said by the providers' error tables; nothing here waits.

use jiff::SignedDuration;

use crate::message::{KeptBack, Refusal};
use crate::routing::{Route, TemplateCategory};

/// How long the platform goes on trying to deliver what has no shorter life of its own.
///
/// WhatsApp Cloud API: time to live, 30 days for free-form, utility and marketing messages.
pub const LIFE_MAX: SignedDuration = SignedDuration::from_hours(30 * 24);

/// The same for a code to sign in with. WhatsApp Cloud API: time to live, 10 minutes.
const AUTHENTICATION_LIFE: SignedDuration = SignedDuration::from_mins(10);

/// A class of errors after which another route may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ErrorClass {
    /// The platform says that the window is closed.
    WindowClosed,
    /// Another responder has the thread.
    ThreadOwned,
    /// This template will not do.
    TemplateUnusable,
    /// WhatsApp does not reach this customer.
    Undeliverable,
    /// The same error came as often as the retry schedule has pauses.
    RetriesUsedUp,
    /// No SMS gateway could take it.
    GatewaysFailed,
    /// No SMS reaches this phone.
    UnreachableBySms,
}

/// What a class of errors rules out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// The class.
    pub class: ErrorClass,
    /// Routes that are not tried again for this message if one of them failed; if another one did,
    /// that one alone.
    pub exhausts: &'static [Route],
    /// Why, in our words.
    pub meaning: &'static str,
    /// Who says so.
    pub source: &'static str,
}

/// Waiting for the customer ends in free-form, which goes over WhatsApp, too.
const WHATSAPP: &[Route] = &[Route::FreeForm, Route::Template, Route::Hold];

/// Every class, once, in the order of [`ErrorClass`].
pub const RULES: [Rule; 7] = [
    Rule {
        class: ErrorClass::WindowClosed,
        exhausts: &[Route::FreeForm],
        meaning: "more than 24 hours since the customer wrote; after the first time the refusal \
                  is evidence about the window and rules free-form out until the customer writes",
        source: "Meta: error codes, 131047",
    },
    Rule {
        class: ErrorClass::ThreadOwned,
        exhausts: &[Route::FreeForm],
        meaning: "another responder has the thread, a template may still go",
        source: "Meta: error codes, 2494xxx; thread control",
    },
    Rule {
        class: ErrorClass::TemplateUnusable,
        exhausts: &[Route::Template],
        meaning: "the template is unknown, paused, disabled, or filled in wrongly",
        source: "Meta: error codes, 132000 to 132018",
    },
    Rule {
        class: ErrorClass::Undeliverable,
        exhausts: WHATSAPP,
        meaning: "not on WhatsApp, too old an app, terms not accepted, left out by an experiment, \
                  or asked to wait for longer than an hour",
        source: "Meta: error codes, 131026, 130472, 130497, 131062",
    },
    Rule {
        class: ErrorClass::RetriesUsedUp,
        exhausts: &[],
        meaning: "the platform or a gateway has failed at every retry",
        source: "Meta: error codes, 131000, 131016, 130429; Twilio: error 20429",
    },
    Rule {
        class: ErrorClass::GatewaysFailed,
        exhausts: &[Route::Sms],
        meaning: "the last gateway has no account, no money, or no way to the country",
        source: "Twilio: errors 20003, 21408; Vonage: Messages API errors 1250, 1420",
    },
    Rule {
        class: ErrorClass::UnreachableBySms,
        exhausts: &[Route::Sms],
        meaning: "a landline, a number out of service, or a phone that takes no SMS",
        source: "Twilio: errors 30003, 30005, 30006; Vonage: Messages API error 1180",
    },
];

impl ErrorClass {
    /// Every class.
    pub const ALL: [Self; 7] = [
        Self::WindowClosed,
        Self::ThreadOwned,
        Self::TemplateUnusable,
        Self::Undeliverable,
        Self::RetriesUsedUp,
        Self::GatewaysFailed,
        Self::UnreachableBySms,
    ];

    /// Returns the stable word for programs and configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::WindowClosed => "window_closed",
            Self::ThreadOwned => "thread_owned",
            Self::TemplateUnusable => "template_unusable",
            Self::Undeliverable => "undeliverable",
            Self::RetriesUsedUp => "retries_used_up",
            Self::GatewaysFailed => "gateways_failed",
            Self::UnreachableBySms => "unreachable_by_sms",
        }
    }

    /// Reads the stable word.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|class| class.as_str() == word)
    }

    /// Returns the class that a refusal is of; `None` for what is waited for and for what no
    /// other route may carry either. What is retried is of a class once its retries are used up.
    pub fn of(refusal: Refusal) -> Option<Self> {
        match refusal {
            Refusal::Retry | Refusal::RetryAfter(_) => Some(Self::RetriesUsedUp),
            Refusal::SwitchToTemplate => Some(Self::WindowClosed),
            Refusal::ThreadControl => Some(Self::ThreadOwned),
            Refusal::TemplateUnusable => Some(Self::TemplateUnusable),
            Refusal::NextGateway => Some(Self::GatewaysFailed),
            Refusal::UnreachableBySms => Some(Self::UnreachableBySms),
            Refusal::NextChannel => Some(Self::Undeliverable),
            Refusal::Capped(_) | Refusal::Halted | Refusal::Stopped | Refusal::Fail => None,
        }
    }

    fn rule(self) -> &'static Rule {
        match self {
            Self::WindowClosed => &RULES[0],
            Self::ThreadOwned => &RULES[1],
            Self::TemplateUnusable => &RULES[2],
            Self::Undeliverable => &RULES[3],
            Self::RetriesUsedUp => &RULES[4],
            Self::GatewaysFailed => &RULES[5],
            Self::UnreachableBySms => &RULES[6],
        }
    }
}

/// How one message fails over: fixed when it is requested.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Failover {
    /// Classes of errors that end the message instead of leading to another route.
    pub ends_on: Vec<ErrorClass>,
    /// What silence leads to; `None` for nothing.
    pub silence: Option<Silence>,
}

/// Failover on silence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Silence {
    /// How long after acceptance the delivery has to be reported.
    pub after: SignedDuration,
    /// Whoever asked accepts that the customer may get the message twice.
    pub accepts_duplicates: bool,
    /// How long the platform goes on trying to deliver the message's template.
    pub template_life: SignedDuration,
}

/// Why a message may not fail over on silence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SilenceError {
    /// The timer is no time at all.
    #[error("must be longer than zero")]
    NoTime,
    /// The message has one channel only.
    #[error("there is no other channel to go to: the message or its policy has one only")]
    NoOtherChannel,
    /// What was accepted stays live for longer than the timer.
    #[error(
        "an undelivered {} stays live for {:#}, which is longer, so the customer may get the \
         message twice: set accept_duplicate_risk to have it so",
        what(*.route),
        .life
    )]
    StaysLive {
        /// The route whose message stays live.
        route: Route,
        /// For how long, at most.
        life: SignedDuration,
    },
}

fn what(route: Route) -> &'static str {
    match route {
        Route::FreeForm => "free-form message",
        Route::Template => "template",
        Route::Sms | Route::Hold => "SMS",
    }
}

impl Failover {
    /// Returns the routes that an error of a class rules out, of an attempt by a route: all of
    /// them if the class ends the message.
    pub fn exhausted(&self, class: ErrorClass, route: Route) -> Vec<Route> {
        if self.ends_on.contains(&class) {
            return Route::ALL.to_vec();
        }
        match class.rule().exhausts {
            routes if routes.contains(&route) => routes.to_vec(),
            _ => vec![route],
        }
    }
}

impl Silence {
    /// Returns how long what was accepted by a route may still be delivered. What a gateway does
    /// with an SMS is not known.
    pub fn life(&self, route: Route) -> SignedDuration {
        match route {
            Route::Template => self.template_life,
            Route::FreeForm | Route::Sms | Route::Hold => LIFE_MAX,
        }
    }

    /// Returns whether the customer may get the message twice if the next route is taken after
    /// silence on this one.
    pub fn is_risky(&self, route: Route) -> bool {
        self.life(route) > self.after
    }

    /// Returns how long a delivery by this route is waited for; `None` for as long as it takes.
    /// What the platform keeps back may go at any time.
    pub fn patience(&self, route: Route, kept_back: Option<KeptBack>) -> Option<SignedDuration> {
        let is_safe = !self.is_risky(route) && kept_back.is_none();
        (is_safe || self.accepts_duplicates).then_some(self.after)
    }

    /// Checks whether a message may fail over on silence, going by these routes in this order,
    /// the message having content for some of them.
    pub fn check(
        &self,
        routes: &[Route],
        has_content: impl Fn(Route) -> bool,
    ) -> Result<(), SilenceError> {
        if !self.after.is_positive() {
            return Err(SilenceError::NoTime);
        }
        let can = |route: &&Route| **route != Route::Hold && has_content(**route);
        let open: Vec<Route> = routes.iter().filter(can).copied().collect();
        let Some(last) = open.last() else {
            return Err(SilenceError::NoOtherChannel);
        };
        let followed: Vec<Route> = open
            .iter()
            .filter(|route| is_whatsapp(**route) != is_whatsapp(*last))
            .copied()
            .collect();
        if followed.is_empty() {
            return Err(SilenceError::NoOtherChannel);
        }
        let live = followed.into_iter().find(|route| self.is_risky(*route));
        match live {
            Some(route) if !self.accepts_duplicates => Err(SilenceError::StaysLive {
                route,
                life: self.life(route),
            }),
            _ => Ok(()),
        }
    }
}

/// Returns the routes that silence on one rules out: whoever is not reached over WhatsApp is not
/// reached by another message there, either, and would get both.
pub fn silenced(route: Route) -> Vec<Route> {
    if is_whatsapp(route) {
        WHATSAPP.to_vec()
    } else {
        vec![route, Route::Hold]
    }
}

fn is_whatsapp(route: Route) -> bool {
    Route::WHATSAPP.contains(&route)
}

/// Returns how long the platform goes on trying to deliver a template: its own time to live, or
/// the platform's for its category. An unknown category is taken for the longest.
pub fn template_life(
    category: Option<TemplateCategory>,
    own: Option<SignedDuration>,
) -> SignedDuration {
    own.unwrap_or(match category {
        Some(TemplateCategory::Authentication) => AUTHENTICATION_LIFE,
        Some(TemplateCategory::Utility | TemplateCategory::Marketing) | None => LIFE_MAX,
    })
}

#[cfg(test)]
mod tests;
