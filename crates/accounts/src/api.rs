//! Between records and the API's messages: numbers with their plus, pages, refusals.
//!
//! It decides nothing. Records carry no secret, so neither do answers.

use std::collections::BTreeMap;
use std::ops::Bound;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use casement_event::v1;
use casement_event_log::{AppendError, Position};
use casement_shell::grpc::{bad_field, bad_fields, refuse};
use tonic::{Code, Status};

use crate::book::BookError;
use crate::decide::Refusal;
use crate::ledger::Entry;
use crate::validate::{self, Problem};

/// Records on a page whose size nobody asked for.
const PAGE_SIZE_DEFAULT: usize = 50;

/// Most records on a page.
const PAGE_SIZE_MAX: usize = 1_000;

/// Returns a number as the API shows it: E.164 with plus.
pub(crate) fn shown(number: &v1::Number) -> v1::Number {
    v1::Number {
        number: format!("+{}", number.number),
        ..number.clone()
    }
}

/// Tells one state of a record from another.
pub(crate) fn etag(position: &Position) -> String {
    format!("{}-{}", position.incarnation, position.sequence)
}

/// Returns the digits of a number that a request names.
pub(crate) fn digits(field: &str, number: &str) -> Result<String, Status> {
    match validate::e164(number) {
        Ok(number) => Ok(number.digits().to_owned()),
        Err(problem) => Err(bad_field(field, problem)),
    }
}

/// Returns a field that a request must have.
pub(crate) fn required<T>(field: &str, value: Option<T>) -> Result<T, Status> {
    value.ok_or_else(|| bad_field(field, "is required"))
}

/// INVALID_ARGUMENT with each problem's field.
pub(crate) fn invalid(problems: Vec<Problem>) -> Status {
    bad_fields(
        problems
            .into_iter()
            .map(|problem| (problem.field, problem.problem)),
    )
}

/// A page that is asked for. Its token names the list, so that it fits no other.
pub(crate) struct Page {
    list: String,
    size: usize,
    after: Option<String>,
}

impl Page {
    /// Reads what a request asks for of a `list`.
    pub(crate) fn parse(list: String, size: i32, token: &str) -> Result<Self, Status> {
        let size = match usize::try_from(size) {
            Err(_) => return Err(bad_field("page_size", "is negative")),
            Ok(0) => PAGE_SIZE_DEFAULT,
            Ok(size) => size.min(PAGE_SIZE_MAX),
        };
        if token.is_empty() {
            let after = None;
            return Ok(Self { list, size, after });
        }
        let after = URL_SAFE_NO_PAD
            .decode(token)
            .ok()
            .and_then(|bytes| String::from_utf8(bytes).ok())
            .and_then(|text| {
                let (of, key) = text.split_once('\n')?;
                (of == list).then(|| key.to_owned())
            });
        if after.is_none() {
            return Err(bad_field("page_token", "is not one of this list's"));
        }
        Ok(Self { list, size, after })
    }

    /// Returns the page's records, and the token of the next page; empty on the last.
    pub(crate) fn of<T: Clone>(
        &self,
        entries: &BTreeMap<String, Entry<T>>,
        is_shown: impl Fn(&T) -> bool,
    ) -> (Vec<T>, String) {
        let from = self
            .after
            .as_deref()
            .map_or(Bound::Unbounded, Bound::Excluded);
        let mut records = Vec::new();
        let mut last_key = "";
        for (key, entry) in entries.range::<str, _>((from, Bound::Unbounded)) {
            if !is_shown(&entry.record) {
                continue;
            }
            if records.len() == self.size {
                let token = URL_SAFE_NO_PAD.encode(format!("{}\n{last_key}", self.list));
                return (records, token);
            }
            records.push(entry.record.clone());
            last_key = key;
        }
        (records, String::new())
    }
}

/// Returns what a caller is told. The details of what went wrong inside stay in the log.
pub(crate) fn status(error: BookError) -> Status {
    match error {
        BookError::Refused(refusal) => refused(&refusal),
        BookError::Contended => refuse(
            Code::Aborted,
            "CONTENDED",
            "record keeps changing; try again",
        ),
        BookError::Append(AppendError::Unknown { .. }) => refuse(
            Code::Unavailable,
            "OUTCOME_UNKNOWN",
            "log did not confirm the change; repeating it is safe",
        ),
        BookError::Append(AppendError::TooLarge { .. }) => {
            refuse(Code::InvalidArgument, "TOO_LARGE", "record is too large")
        }
        BookError::Append(error) => {
            tracing::error!(error = %error, "account change was refused by the log");
            refuse(Code::Unavailable, "LOG_REFUSED", "log refused the change")
        }
        BookError::Read(error) => {
            tracing::warn!(error = %error, "account records were not read");
            refuse(Code::Unavailable, "LOG_AWAY", "log cannot be read now")
        }
        BookError::Slow => refuse(Code::Unavailable, "LOG_AWAY", "log cannot be read now"),
        BookError::Unreadable { sequence } => {
            tracing::error!(sequence, "account records are not usable");
            refuse(
                Code::Internal,
                "RECORD_UNREADABLE",
                "a record on the log is not readable by this version",
            )
        }
    }
}

fn refused(refusal: &Refusal) -> Status {
    let (code, reason) = match refusal {
        Refusal::BrandUnknown => (Code::FailedPrecondition, "BRAND_UNKNOWN"),
        Refusal::AnotherBrand => (Code::PermissionDenied, "ANOTHER_BRAND"),
        Refusal::NumberUnknown => (Code::NotFound, "NUMBER_UNKNOWN"),
        Refusal::PhoneNumberIdTaken => (Code::AlreadyExists, "PHONE_NUMBER_ID_TAKEN"),
        Refusal::OnboardTimeAhead => (Code::InvalidArgument, "ONBOARD_TIME_AHEAD"),
        Refusal::Application(refusal) => (crate::application::code(*refusal), refusal.reason()),
        Refusal::EtagMismatch => (Code::Aborted, "ETAG_MISMATCH"),
        Refusal::LimitsOfBrand => (Code::PermissionDenied, "LIMITS_OF_BRAND"),
        Refusal::PhoneNumberIdRetired => (Code::FailedPrecondition, "PHONE_NUMBER_ID_RETIRED"),
        Refusal::NumberMoves => (Code::FailedPrecondition, "NUMBER_MOVES"),
        Refusal::Migration(refused) => refused.code(),
        Refusal::Onboarding(refused) => refused.code(),
    };
    refuse(code, reason, refusal.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(keys: &[&str]) -> BTreeMap<String, Entry<String>> {
        let entry = |key: &str| Entry {
            record: key.to_owned(),
            position: Position {
                stream: "ACCOUNTS".to_owned(),
                incarnation: "1".to_owned(),
                sequence: 1,
            },
            caller: String::new(),
            time: None,
        };
        keys.iter()
            .map(|key| ((*key).to_owned(), entry(key)))
            .collect()
    }

    fn page(size: i32, token: &str) -> Result<Page, Status> {
        Page::parse("letters".to_owned(), size, token)
    }

    #[test]
    fn pages_follow_each_other_without_gap_or_repeat() {
        let entries = entries(&["a", "b", "c", "d", "e"]);
        let is_shown = |key: &String| key != "c";
        let (first, token) = page(2, "").unwrap().of(&entries, is_shown);
        assert_eq!(first, ["a", "b"]);
        let (second, token) = page(2, &token).unwrap().of(&entries, is_shown);
        assert_eq!(second, ["d", "e"]);
        assert_eq!(token, "", "a full last page has no next one");
    }

    #[test]
    fn a_token_of_another_list_or_of_nobody_is_refused() {
        let entries = entries(&["a", "b"]);
        let (_, token) = page(1, "").unwrap().of(&entries, |_| true);
        assert!(page(1, &token).is_ok());
        assert!(Page::parse("digits".to_owned(), 1, &token).is_err());
        assert!(page(1, "nonsense!").is_err());
        assert!(page(-1, "").is_err());
    }
}
