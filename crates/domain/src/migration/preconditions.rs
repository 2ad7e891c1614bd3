//! What the platform asks for before a number can move, judged by what it tells.
//!
//! What it does not tell is unknown, not met and not unmet: somebody may vouch for it.

/// One thing that is asked for (WhatsApp Cloud API: migrate phone numbers between business
/// accounts, requirements).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// The token and the PIN of the destination can be had, and the token may manage it.
    DestinationToken,
    /// The number is registered where it is.
    RegisteredAtSource,
    /// The owner of the source has switched two-step verification off.
    TwoStepDisabled,
    /// The number has an approved display name.
    NameApproved,
    /// No other display name is waiting for its review.
    NoPendingRename,
    /// Both accounts are the same business's.
    SameBusiness,
    /// The source's business is verified.
    SourceVerified,
    /// The destination's business is verified.
    DestinationVerified,
    /// The platform approved the destination.
    DestinationApproved,
    /// The destination has a payment method.
    PaymentMethod,
    /// We get the destination's webhooks.
    WebhooksSubscribed,
    /// The number may still be registered in these 72 hours.
    RegistrationsLeft,
}

impl Kind {
    /// Every one, in the order in which they are told.
    pub const ALL: [Self; 12] = [
        Self::DestinationToken,
        Self::RegisteredAtSource,
        Self::TwoStepDisabled,
        Self::NameApproved,
        Self::NoPendingRename,
        Self::SameBusiness,
        Self::SourceVerified,
        Self::DestinationVerified,
        Self::DestinationApproved,
        Self::PaymentMethod,
        Self::WebhooksSubscribed,
        Self::RegistrationsLeft,
    ];

    /// What helps if it is not met, or not known.
    fn fix(self) -> &'static str {
        match self {
            Self::DestinationToken => {
                "make a system user's token with whatsapp_business_management and \
                 whatsapp_business_messaging for the destination account, and store it and the PIN \
                 where the request says"
            }
            Self::RegisteredAtSource => {
                "a number that is not registered anywhere needs no migration: add and register it"
            }
            Self::TwoStepDisabled => {
                "the owner of the source switches two-step verification off: WhatsApp Manager, \
                 Phone numbers, the number's settings, Two-step verification; no API can"
            }
            Self::NameApproved => "have the display name approved at the source first",
            Self::NoPendingRename => "wait for the review of the new display name, or withdraw it",
            Self::SameBusiness => {
                "a number moves between accounts of one business: use an account of its business"
            }
            Self::SourceVerified => "the business of the source has to be verified by Meta",
            Self::DestinationVerified => {
                "the business of the destination has to be verified by Meta"
            }
            Self::DestinationApproved => "wait until Meta has approved the destination account",
            Self::PaymentMethod => {
                "add a payment method to the destination in WhatsApp Manager, or attach a credit \
                 line"
            }
            Self::WebhooksSubscribed => {
                "subscribe the app to the destination's webhooks; a migration that is started does \
                 so itself"
            }
            Self::RegistrationsLeft => {
                "wait: the platform registers a number ten times in 72 hours, then locks it"
            }
        }
    }
}

/// What is known of a precondition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It is met.
    Passed,
    /// It is not.
    Failed,
    /// The platform does not tell.
    Unknown,
}

/// A precondition, and how it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Precondition {
    /// Which.
    pub kind: Kind,
    /// How it stands.
    pub verdict: Verdict,
    /// What was found, for people.
    pub found: String,
    /// What helps; empty if it is met.
    pub fix: String,
    /// It is not known, and somebody says that it is met.
    pub is_vouched: bool,
}

/// What is told of the number where it is. `None` and empty: it was not told.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Source {
    /// `CONNECTED`, ….
    pub status: String,
    /// Whether two-step verification is on.
    pub is_pin_enabled: Option<bool>,
    /// `APPROVED`, `AVAILABLE_WITHOUT_REVIEW`, `PENDING_REVIEW`, ….
    pub name_status: String,
    /// The review of a name that was asked for and is not the number's yet.
    pub new_name_status: String,
    /// The business.
    pub portfolio_id: String,
    /// `VERIFIED`, ….
    pub business_verification: String,
}

/// What is told of the destination.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Destination {
    /// Why the token or the PIN cannot be used; `None` if they can.
    pub trouble: Option<String>,
    /// The business.
    pub portfolio_id: String,
    /// `VERIFIED`, ….
    pub business_verification: String,
    /// `APPROVED`, ….
    pub review_status: String,
    /// Whether there is a payment method; `None` if that is not to be seen.
    pub has_payment_method: Option<bool>,
    /// Whether an app of ours gets its webhooks.
    pub is_subscribed: Option<bool>,
}

/// All that was found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Found {
    /// Where the number is.
    pub source: Source,
    /// Where it goes.
    pub destination: Destination,
    /// Why it cannot be registered for now; `None` if it can.
    pub registration_trouble: Option<String>,
}

/// Judges what was found. One for each kind, in their order.
pub fn check(found: &Found, vouched: &[Kind]) -> Vec<Precondition> {
    let judged = |kind| {
        let (verdict, told) = judge(kind, found);
        let is_met = verdict == Verdict::Passed;
        Precondition {
            kind,
            verdict,
            found: told,
            fix: if is_met {
                String::new()
            } else {
                kind.fix().to_owned()
            },
            is_vouched: verdict == Verdict::Unknown && vouched.contains(&kind),
        }
    };
    Kind::ALL.map(judged).to_vec()
}

/// Returns those that keep a number from moving: not met, or not known and not vouched for.
pub fn unmet(preconditions: &[Precondition]) -> impl Iterator<Item = &Precondition> {
    preconditions
        .iter()
        .filter(|one| match (one.verdict, one.is_vouched) {
            (Verdict::Passed, _) | (Verdict::Unknown, true) => false,
            (Verdict::Failed, _) | (Verdict::Unknown, false) => true,
        })
}

fn judge(kind: Kind, found: &Found) -> (Verdict, String) {
    let Found {
        source,
        destination,
        registration_trouble,
    } = found;
    match kind {
        Kind::DestinationToken => by_trouble(destination.trouble.as_ref()),
        Kind::RegisteredAtSource => by_word("status", &source.status, &["CONNECTED"]),
        Kind::TwoStepDisabled => match source.is_pin_enabled {
            Some(true) => (Verdict::Failed, "two-step verification is on".to_owned()),
            Some(false) => (Verdict::Passed, "two-step verification is off".to_owned()),
            None => not_told(),
        },
        Kind::NameApproved => by_word(
            "name_status",
            &source.name_status,
            &["APPROVED", "AVAILABLE_WITHOUT_REVIEW"],
        ),
        Kind::NoPendingRename => {
            // Of a number without another name the platform tells no review of one.
            let pending = [&source.name_status, &source.new_name_status]
                .into_iter()
                .find(|status| *status == "PENDING_REVIEW");
            match pending {
                Some(_) => (
                    Verdict::Failed,
                    "a display name waits for its review".to_owned(),
                ),
                None if source.name_status.is_empty() => not_told(),
                None => (Verdict::Passed, "no display name is in review".to_owned()),
            }
        }
        Kind::SameBusiness => match (&source.portfolio_id, &destination.portfolio_id) {
            (from, to) if from.is_empty() || to.is_empty() => not_told(),
            (from, to) if from == to => (Verdict::Passed, format!("both are of {from}")),
            (from, to) => (
                Verdict::Failed,
                format!("the source is of {from}, the destination of {to}"),
            ),
        },
        Kind::SourceVerified => by_word(
            "business_verification_status",
            &source.business_verification,
            &["VERIFIED"],
        ),
        Kind::DestinationVerified => by_word(
            "business_verification_status",
            &destination.business_verification,
            &["VERIFIED"],
        ),
        Kind::DestinationApproved => by_word(
            "account_review_status",
            &destination.review_status,
            &["APPROVED"],
        ),
        Kind::PaymentMethod => match destination.has_payment_method {
            Some(true) => (Verdict::Passed, "there is one".to_owned()),
            Some(false) => (Verdict::Failed, "there is none".to_owned()),
            None => not_told(),
        },
        Kind::WebhooksSubscribed => match destination.is_subscribed {
            Some(true) => (Verdict::Passed, "the app is subscribed".to_owned()),
            Some(false) => (Verdict::Failed, "no app is subscribed".to_owned()),
            None => not_told(),
        },
        Kind::RegistrationsLeft => by_trouble(registration_trouble.as_ref()),
    }
}

fn by_trouble(trouble: Option<&String>) -> (Verdict, String) {
    match trouble {
        Some(trouble) => (Verdict::Failed, trouble.clone()),
        None => (Verdict::Passed, "nothing is in the way".to_owned()),
    }
}

fn by_word(name: &str, word: &str, good: &[&str]) -> (Verdict, String) {
    let verdict = match word {
        "" => return not_told(),
        word if good.contains(&word) => Verdict::Passed,
        _ => Verdict::Failed,
    };
    (verdict, format!("{name} is {word}"))
}

fn not_told() -> (Verdict, String) {
    (Verdict::Unknown, "the platform does not tell".to_owned())
}
