//! What tests and people say to Meta's side, and what its books keep.
//!
//! Plain values; what follows from them is decided beside them.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

/// Where a business's verification stands.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Verification {
    /// Nobody asked for it.
    #[default]
    NotVerified,
    /// Its documents are being looked at.
    Pending,
    /// Done.
    Verified,
    /// Turned down.
    Rejected,
}

impl Verification {
    /// Returns the word of a business account's `business_verification_status`.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::NotVerified => "not_verified",
            Self::Pending => "pending",
            Self::Verified => "verified",
            Self::Rejected => "rejected",
        }
    }
}

/// Where an account's review stands.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Review {
    /// Under way.
    Pending,
    /// Passed.
    #[default]
    Approved,
    /// Not passed.
    Rejected,
    /// Put off.
    Deferred,
}

impl Review {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "PENDING",
            Self::Approved => "APPROVED",
            Self::Rejected => "REJECTED",
            Self::Deferred => "DEFERRED",
        }
    }
}

/// How messages of a number were taken lately.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Quality {
    /// Well.
    #[default]
    Green,
    /// Not so well.
    Yellow,
    /// Badly.
    Red,
    /// Nobody knows yet.
    Unknown,
}

impl Quality {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Green => "GREEN",
            Self::Yellow => "YELLOW",
            Self::Red => "RED",
            Self::Unknown => "UNKNOWN",
        }
    }
}

/// Whether an account is switched off.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum BanState {
    /// It will be.
    ScheduleForDisable,
    /// It is: nothing goes out (131031).
    Disable,
    /// It no longer is.
    Reinstate,
}

impl BanState {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::ScheduleForDisable => "SCHEDULE_FOR_DISABLE",
            Self::Disable => "DISABLE",
            Self::Reinstate => "REINSTATE",
        }
    }
}

/// What an account may not do for a while (Meta: policy enforcement).
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Restriction {
    /// `RESTRICTED_BIZ_INITIATED_MESSAGING`, `RESTRICTED_CUSTOMER_INITIATED_MESSAGING`,
    /// `RESTRICTED_ADD_PHONE_NUMBER_ACTION`; others are told and change nothing.
    pub kind: String,
    /// Until when; for good if left out.
    #[serde(default)]
    pub until: Option<Timestamp>,
}

impl Restriction {
    pub(crate) fn holds(&self, kind: &str, now: Timestamp) -> bool {
        self.kind == kind && self.until.is_none_or(|until| now < until)
    }
}

/// A business portfolio.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BusinessSpec {
    /// Its id; a new one if left out.
    #[serde(default)]
    pub id: Option<String>,
    /// Its name.
    pub name: String,
    /// Where its verification stands; not begun if left out.
    #[serde(default)]
    pub verification: Verification,
}

/// A business account.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AccountSpec {
    /// Its id; a new one if left out.
    #[serde(default)]
    pub waba_id: Option<String>,
    /// Who owns it; the simulator's own portfolio if left out.
    #[serde(default)]
    pub business_id: Option<String>,
    /// Its name.
    #[serde(default = "account_name")]
    pub name: String,
    /// Where its review stands; passed if left out.
    #[serde(default)]
    pub review: Review,
    /// Whether it has a payment method: without one no template goes out (131042).
    #[serde(default = "yes")]
    pub has_payment: bool,
    /// Whether the app gets its webhooks already.
    #[serde(default)]
    pub is_subscribed: bool,
}

impl Default for AccountSpec {
    fn default() -> Self {
        Self {
            waba_id: None,
            business_id: None,
            name: account_name(),
            review: Review::Approved,
            has_payment: true,
            is_subscribed: false,
        }
    }
}

/// What is special about a number: each field that is given replaces what was.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct NumberSpec {
    /// Whether it is an official business account.
    pub is_official: Option<bool>,
    /// Whether it is used in the phone app too (coexistence).
    pub is_on_app: Option<bool>,
    /// Its two-step PIN; empty for none.
    pub pin: Option<String>,
    /// `VERIFIED`, `NOT_VERIFIED` or `EXPIRED`.
    pub code_verification: Option<String>,
    /// Its display name.
    pub verified_name: Option<String>,
    /// `APPROVED`, `DECLINED`, `PENDING_REVIEW`, ….
    pub name_status: Option<String>,
}

/// Somebody goes through Embedded Signup to its end.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SignUpSpec {
    /// The business; a new one, not verified, if left out.
    pub business_id: Option<String>,
    /// The new business's name.
    pub business_name: String,
    /// The account; a new one without a payment method if left out.
    pub waba_id: Option<String>,
    /// The number, in any spelling.
    pub phone: String,
    /// Its display name.
    pub verified_name: String,
    /// Whether it stays in the phone app too (coexistence).
    pub is_on_app: bool,
}

/// What a sign-up gives the page that started it (Meta: Embedded Signup, session info).
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct SignUp {
    /// Exchanged for a token within 30 seconds, once.
    pub code: String,
    /// The business.
    pub business_id: String,
    /// Its account.
    pub waba_id: String,
    /// Its number.
    pub phone_number_id: String,
}

fn account_name() -> String {
    "Simulated business account".to_owned()
}

fn yes() -> bool {
    true
}

/// A business in the books.
#[derive(Clone, Debug)]
pub(crate) struct Business {
    pub(crate) name: String,
    pub(crate) verification: Verification,
    pub(crate) messaging_limit: String,
}

impl Business {
    /// Numbers that it may have (Meta: phone numbers, limits).
    pub(crate) fn numbers_max(&self) -> usize {
        if self.verification == Verification::Verified {
            20
        } else {
            2
        }
    }
}

/// An account in the books.
#[derive(Clone, Debug)]
pub(crate) struct Account {
    pub(crate) business_id: String,
    pub(crate) name: String,
    pub(crate) review: Review,
    pub(crate) has_payment: bool,
    pub(crate) restrictions: Vec<Restriction>,
    pub(crate) ban: Option<BanState>,
}

/// A number in an account, in the books.
#[derive(Clone, Debug)]
pub(crate) struct Number {
    pub(crate) status: String,
    pub(crate) code_verification: String,
    pub(crate) verified_name: String,
    pub(crate) name_status: String,
    pub(crate) new_name: Option<String>,
    pub(crate) new_name_status: String,
    pub(crate) quality: Quality,
    pub(crate) throughput: &'static str,
    pub(crate) maintenance_until: Option<Timestamp>,
    pub(crate) is_official: bool,
    pub(crate) is_on_app: bool,
    /// Until when it may be registered for the first time.
    pub(crate) register_by: Option<Timestamp>,
    /// The number it takes over from, until it is registered.
    pub(crate) migrates_from: Option<String>,
    /// The number that took over from it.
    pub(crate) moved_to: Option<String>,
}

impl Default for Number {
    fn default() -> Self {
        Self {
            status: "CONNECTED".to_owned(),
            code_verification: "VERIFIED".to_owned(),
            verified_name: "Simulated business".to_owned(),
            name_status: "APPROVED".to_owned(),
            new_name: None,
            new_name_status: "NONE".to_owned(),
            quality: Quality::Green,
            throughput: "STANDARD",
            maintenance_until: None,
            is_official: false,
            is_on_app: false,
            register_by: None,
            migrates_from: None,
            moved_to: None,
        }
    }
}

impl Number {
    /// Returns true if it is no longer in its account.
    pub(crate) fn is_gone(&self) -> bool {
        self.moved_to.is_some() || self.status == "DELETED"
    }
}

/// What goes with a phone, whichever account has it: its PIN, its codes, its registrations.
#[derive(Clone, Debug, Default)]
pub(crate) struct Phone {
    pub(crate) pin: Option<String>,
    pub(crate) pins_wrong: u32,
    pub(crate) pin_blocked_until: Option<Timestamp>,
    pub(crate) registered_at: Vec<Timestamp>,
    pub(crate) deregistered_at: Vec<Timestamp>,
    pub(crate) locked_until: Option<Timestamp>,
    pub(crate) code: Option<Code>,
    pub(crate) codes_asked_at: Vec<Timestamp>,
}

/// A verification code on its way to a number.
#[derive(Clone, Debug)]
pub(crate) struct Code {
    pub(crate) phone_number_id: String,
    pub(crate) text: String,
    pub(crate) sent_at: Timestamp,
    pub(crate) wrong: u32,
}

/// A code that a sign-up gave.
#[derive(Clone, Debug)]
pub(crate) struct SignUpCode {
    pub(crate) waba_id: String,
    pub(crate) given_at: Timestamp,
    pub(crate) is_used: bool,
}

/// The accounts that a token was given.
#[derive(Clone, Debug, Default)]
pub(crate) struct Grant {
    pub(crate) wabas: BTreeSet<String>,
}

/// Drops the instants that are older than a span.
pub(crate) fn forget_older(times: &mut Vec<Timestamp>, now: Timestamp, span: SignedDuration) {
    times.retain(|at| now.duration_since(*at) < span);
}
