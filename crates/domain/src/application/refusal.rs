//! Why a wish about an application is not granted, each with its stable word.

/// Why a wish is not granted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Nothing has this id.
    #[error("no application has this id")]
    Unknown,
    /// One open application a number.
    #[error("another application for the number is open: cancel it, or carry it on")]
    NumberHasOpenApplication,
    /// The business is what was applied for.
    #[error("business id cannot change during an application: cancel this one and start another")]
    BusinessIdFixed,
    /// So is the number.
    #[error("number cannot change during an application: cancel this one and start another")]
    NumberFixed,
    /// It was activated or cancelled.
    #[error("application has ended: start another")]
    Ended,
    /// Terms come after the invite.
    #[error("invite is not accepted yet")]
    InviteNotAccepted,
    /// Activation comes after the terms.
    #[error("terms are not signed yet")]
    TermsNotSigned,
    /// The platform activates numbers of verified businesses only.
    #[error("business is not verified: the number is activated once it is")]
    BusinessNotVerified,
    /// The fee was due with the start.
    #[error("fee is not refunded once an application was started: cancel without asking for it")]
    FeeNotRefundable,
    /// Nobody can report what has not happened.
    #[error("time of the report lies ahead")]
    ReportAhead,
    /// Another onboarding has the number.
    #[error("application was handed over to another onboarding")]
    AnotherOnboarding,
    /// Nothing has this id, or it was cancelled.
    #[error("no onboarding that is under way or complete has this id")]
    OnboardingUnknown,
    /// It would activate what was not applied for.
    #[error("onboarding is of another number than the application")]
    OnboardingOfAnotherNumber,
}

impl Refusal {
    /// Returns the stable word for programs.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Unknown => "APPLICATION_UNKNOWN",
            Self::NumberHasOpenApplication => "NUMBER_HAS_OPEN_APPLICATION",
            Self::BusinessIdFixed => "BUSINESS_ID_FIXED",
            Self::NumberFixed => "NUMBER_FIXED",
            Self::Ended => "APPLICATION_ENDED",
            Self::InviteNotAccepted => "INVITE_NOT_ACCEPTED",
            Self::TermsNotSigned => "TERMS_NOT_SIGNED",
            Self::BusinessNotVerified => "BUSINESS_NOT_VERIFIED",
            Self::FeeNotRefundable => "FEE_NOT_REFUNDABLE",
            Self::ReportAhead => "REPORT_AHEAD",
            Self::AnotherOnboarding => "ANOTHER_ONBOARDING",
            Self::OnboardingUnknown => "ONBOARDING_UNKNOWN",
            Self::OnboardingOfAnotherNumber => "ONBOARDING_OF_ANOTHER_NUMBER",
        }
    }
}
