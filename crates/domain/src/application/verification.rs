//! What the platform says of a business, whoever tells it. The newer word counts.

use jiff::Timestamp;

/// How the verification stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Status {
    /// Nobody has handed anything in.
    #[default]
    NotBegun,
    /// The platform is at it.
    Pending,
    /// The business is verified.
    Verified,
    /// It was rejected, or the verification was taken back.
    Rejected,
}

impl Status {
    /// Reads a word of the platform's, in whatever case; `None` if it says nothing of the outcome.
    ///
    /// WhatsApp Cloud API: `account_update` with `PARTNER_CLIENT_CERTIFICATION_STATUS_UPDATE`, and
    /// the field `business_verification_status` of a business account.
    pub fn of_platform(word: &str) -> Option<Self> {
        match word.to_ascii_uppercase().as_str() {
            "APPROVED" | "VERIFIED" => Some(Self::Verified),
            "PENDING" | "PENDING_SUBMISSION" | "PENDING_NEED_MORE_INFO" => Some(Self::Pending),
            "FAILED" | "REJECTED" | "DISCARDED" | "REVOKED" | "EXPIRED" | "INELIGIBLE" => {
                Some(Self::Rejected)
            }
            // `not_verified` stands there from the first day on.
            _ => None,
        }
    }
}

/// Who says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Source {
    /// The application itself: verification begins with the accepted invite.
    #[default]
    Application,
    /// The platform.
    Platform,
    /// Somebody recorded it.
    Caller,
}

/// Somebody's word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// How it stands.
    pub status: Status,
    /// Who says so.
    pub source: Source,
    /// Since when, by the source.
    pub at: Timestamp,
    /// Who recorded it; empty for the platform.
    pub caller: String,
    /// How the caller knows.
    pub evidence: String,
    /// The platform's own word.
    pub platform_status: String,
    /// Why it was rejected.
    pub reasons: Vec<String>,
}

/// How it stands, by the newest word.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Verification {
    /// How it stands.
    pub status: Status,
    /// Who says so.
    pub source: Source,
    /// Since when; `None` before it began.
    pub at: Option<Timestamp>,
    /// Who recorded it.
    pub caller: String,
    /// How the caller knows.
    pub evidence: String,
    /// The platform's own word.
    pub platform_status: String,
    /// Why it was rejected.
    pub reasons: Vec<String>,
}

impl Verification {
    /// Whether a report changes anything: it is not older than what is known, and says otherwise.
    /// That verification began tells nothing of an outcome, so any report goes before it.
    pub(super) fn takes(&self, report: &Report) -> bool {
        let is_late = self.source != Source::Application && Some(report.at) < self.at;
        let is_known = self.status == report.status
            && self.platform_status == report.platform_status
            && self.reasons == report.reasons
            && self.evidence == report.evidence;
        !is_late && !is_known
    }

    pub(super) fn take(&mut self, report: &Report) {
        let Report {
            status,
            source,
            at,
            caller,
            evidence,
            platform_status,
            reasons,
        } = report.clone();
        *self = Self {
            status,
            source,
            at: Some(at),
            caller,
            evidence,
            platform_status,
            reasons,
        };
    }

    /// Begins it with the accepted invite, unless the platform was faster.
    pub(super) fn begin(&mut self, at: Timestamp) {
        if self.status == Status::NotBegun {
            self.status = Status::Pending;
            self.at = Some(at);
        }
    }
}
