//! The services: thin, from requests to the store's questions and back.
//!
//! They show nobody the rows of another brand, and say nothing of the database's troubles but
//! that there are some.

mod acts;
mod archive;
pub(crate) mod audit;
pub(crate) mod colleague;
pub(crate) mod conversation;
pub(crate) mod customer_export;
pub(crate) mod erasures;
mod figures;
mod find;
mod listing;
pub(crate) mod messages;
mod raw;
mod read_models;
mod recorded;
mod search;
pub(crate) mod stands;
pub(crate) mod watch;
mod watch_conversations;

use casement_domain::id::BusinessNumber;
use casement_event::convert::timestamp;
use casement_shell::SharedClock;
use casement_shell::auth::{ALL_BRANDS, Caller};
use casement_shell::grpc::{bad_field, refuse};
use jiff::Timestamp;
use tonic::{Code, Status};

use crate::page::InvalidToken;
use crate::progress::{NotReached, Progress};
use crate::store::{Error, SharedStore};

/// Most headers and payload of one answer; well below the largest response.
const PAGE_BYTES_MAX: usize = 4 * 1024 * 1024;

/// What the services answer from.
#[derive(Debug, Clone)]
pub(crate) struct Backend {
    pub(crate) store: SharedStore,
    pub(crate) progress: Progress,
    /// How far figures are counted.
    pub(crate) counted: Progress,
    pub(crate) clock: SharedClock,
}

impl Backend {
    /// Waits until the archive is not older than a position.
    async fn reach(&self, not_before: &str) -> Result<(), Status> {
        self.progress
            .reach(not_before)
            .await
            .map_err(|error| match error {
                NotReached::Invalid
                | NotReached::OtherStream(_)
                | NotReached::OtherIncarnation(_) => bad_field("not_before", error.to_string()),
                NotReached::TimedOut { .. } => {
                    refuse(Code::Unavailable, "POSITION_NOT_REACHED", error.to_string())
                }
            })
    }
}

/// The brand whose rows a caller may see; `None` for all, which only [`ALL_BRANDS`] asks for. A
/// caller of no brand sees nothing: what belongs to no brand is not theirs.
fn brand_of(caller: &Caller) -> Result<Option<String>, Status> {
    if caller.brand.is_empty() {
        return Err(refuse(
            Code::PermissionDenied,
            "MISSING_BRAND",
            "token acts for no brand",
        ));
    }
    Ok(Some(caller.brand.clone()).filter(|brand| brand != ALL_BRANDS))
}

/// The brand that a request is about: the caller's own, or, for a caller who may see all, the one
/// that is named, if one is.
fn one_brand(own: Option<String>, asked: &str) -> Result<Option<String>, Status> {
    match (own, asked) {
        (own, "") => Ok(own),
        (Some(own), asked) if own != asked => {
            let text = "token acts for another brand";
            Err(refuse(Code::PermissionDenied, "ANOTHER_BRAND", text))
        }
        (_, asked) => Ok(Some(asked.to_owned())),
    }
}

fn number(text: &str) -> Result<BusinessNumber, Status> {
    if !text.starts_with('+') {
        return Err(bad_field("number", "is not E.164 with plus"));
    }
    BusinessNumber::parse(text).map_err(|error| bad_field("number", error.to_string()))
}

/// Returns E.164 with plus, as the API writes numbers, of what is stored.
pub(crate) fn e164(digits: &str) -> String {
    if digits.is_empty() {
        String::new()
    } else {
        format!("+{digits}")
    }
}

fn optional(text: String) -> Option<String> {
    Some(text).filter(|text| !text.is_empty())
}

fn page_size(asked: i32, default: usize, max: usize) -> Result<usize, Status> {
    match usize::try_from(asked) {
        Ok(0) => Ok(default),
        Ok(size) => Ok(size.min(max)),
        Err(_) => Err(bad_field("page_size", "is negative")),
    }
}

fn bad_token(error: InvalidToken) -> Status {
    bad_field("page_token", error.to_string())
}

fn time(at: Option<Timestamp>) -> Option<prost_types::Timestamp> {
    at.map(timestamp)
}

fn unanswered(error: &Error) -> Status {
    let source = std::error::Error::source(error).map(ToString::to_string);
    tracing::error!(%error, source, "archive could not answer");
    match error {
        Error::Database { .. } | Error::Moved => refuse(
            Code::Unavailable,
            "ARCHIVE_UNAVAILABLE",
            "archive does not answer at present",
        ),
        Error::Keys(_) => refuse(
            Code::Unavailable,
            "ARCHIVE_SEALED",
            "archive cannot be opened with the master keys that are there",
        ),
        Error::Outrun => refuse(
            Code::FailedPrecondition,
            "PAGE_TOKEN_EXPIRED",
            "more conversations have moved since the first page than can be followed: begin with \
             the first page, or narrow the list",
        ),
        Error::Inconsistent { .. } => refuse(
            Code::Internal,
            "ARCHIVE_INCONSISTENT",
            "archive holds a row that cannot be read",
        ),
    }
}
