//! Between applications and the API's messages: what requests must say, which fields they name.

use casement_domain::application::{Command, Report, Source, Status as Verified};
use casement_domain::id::{BusinessNumber, PortfolioId};
use casement_event::convert::application::read_status;
use casement_event::v1;
use casement_proto::account::v1 as proto;
use casement_shell::grpc::bad_field;
use tonic::Status;

use super::Kept;
use crate::api::etag;
use crate::api::invalid;
use crate::decide::Cause;
use crate::ledger::Entry;
use crate::validate::{self, Problem};

/// Longest id that a request may carry.
const ID_LEN_MAX: usize = 128;

/// Most reasons of a rejection.
const REASONS_MAX: usize = 20;

/// What an update may name. Two of them are named in order to be told that they are fixed.
const UPDATABLE: [&str; 3] = ["business_id", "number", "display_name"];

/// Returns an application as the API shows it.
pub(super) fn shown(entry: &Entry<Kept>) -> v1::Application {
    let stored = &entry.record.stored;
    v1::Application {
        number: format!("+{}", stored.number),
        etag: etag(&entry.position),
        ..stored.clone()
    }
}

/// Reads the id of an application.
pub(super) fn id(field: &str, text: &str) -> Result<String, Status> {
    if text.is_empty() {
        return Err(bad_field(field, "is required"));
    }
    if text.len() > ID_LEN_MAX {
        return Err(bad_field(
            field,
            format!("is longer than {ID_LEN_MAX} bytes"),
        ));
    }
    Ok(text.to_owned())
}

/// Reads text for people.
pub(super) fn text(field: &str, text: &str) -> Result<String, Status> {
    let mut problems = Vec::new();
    validate::text("", field, text, &mut problems);
    if text.trim().is_empty() {
        problems.push(Problem::new("", field, "is required"));
    }
    validate::settle(text.to_owned(), problems).map_err(invalid)
}

/// Reads a business.
pub(super) fn business(field: &str, text: &str) -> Result<PortfolioId, Status> {
    PortfolioId::parse(text).map_err(|error| bad_field(field, error.to_string()))
}

/// Reads a number.
pub(super) fn number(field: &str, text: &str) -> Result<BusinessNumber, Status> {
    validate::e164(text).map_err(|problem| bad_field(field, problem))
}

/// Reads an update: which application, and what of it.
pub(super) fn update(asked: proto::UpdateApplicationRequest) -> Result<(String, Command), Status> {
    let wanted = crate::api::required("application", asked.application)?;
    let id = id("application.application_id", &wanted.application_id)?;
    let paths = asked.update_mask.map(|mask| mask.paths).unwrap_or_default();
    if let Some(other) = paths
        .iter()
        .find(|path| !UPDATABLE.contains(&path.as_str()))
    {
        let text = format!("names `{other}`; what may change is `display_name`");
        return Err(bad_field("update_mask", text));
    }
    let names = |path: &str, is_set: bool| {
        if paths.is_empty() {
            is_set
        } else {
            paths.iter().any(|named| named == path)
        }
    };
    let business_named = names("business_id", !wanted.business_id.is_empty())
        .then(|| business("application.business_id", &wanted.business_id));
    let number_named = names("number", !wanted.number.is_empty())
        .then(|| number("application.number", &wanted.number));
    let name_named = names("display_name", !wanted.display_name.is_empty())
        .then(|| text("application.display_name", &wanted.display_name));
    let command = Command::Update {
        business: business_named.transpose()?,
        number: number_named.transpose()?,
        display_name: name_named.transpose()?,
    };
    Ok((id, command))
}

/// Reads what somebody says of a verification.
pub(super) fn report(
    asked: &proto::RecordVerificationRequest,
    cause: &Cause,
) -> Result<Report, Status> {
    let status = read_status(asked.status()).filter(|status| *status != Verified::NotBegun);
    let status =
        status.ok_or_else(|| bad_field("status", "is none of PENDING, VERIFIED, REJECTED"))?;
    let mut problems = Vec::new();
    if asked.reasons.len() > REASONS_MAX {
        let problem = format!("are more than {REASONS_MAX}");
        problems.push(Problem::new("", "reasons", problem));
    }
    for reason in &asked.reasons {
        validate::text("", "reasons", reason, &mut problems);
    }
    validate::settle((), problems).map_err(invalid)?;
    Ok(Report {
        status,
        source: Source::Caller,
        at: cause.time,
        caller: cause.caller.clone(),
        evidence: text("evidence", &asked.evidence)?,
        platform_status: String::new(),
        reasons: asked.reasons.clone(),
    })
}
