//! What callers are told when it is no.

use casement_domain::id::MessageId;
use casement_domain::routing::hold::HOLD_QUEUE_FULL;
use casement_domain::routing::{Decision, Gone, Route};
use casement_proto::message::v1 as api;
use casement_shell::grpc::{refusal, refuse};
use tonic::{Code, Status};

use crate::aggregate::Loaded;
use crate::metrics;
use crate::sensitive::{self, SensitiveError, Vault};

/// The same request is the same message; another one under its id is refused.
pub(crate) fn same_or_refused(
    vault: &Vault,
    known: Loaded,
    asked: &api::SendMessageRequest,
) -> Result<Loaded, Status> {
    if sensitive::is_same(vault, &known, asked).map_err(|error| not_sealed(&error))? {
        return Ok(known);
    }
    let text = "another message was requested under this request_id";
    Err(refusal(
        Code::AlreadyExists,
        "REQUEST_ID_TAKEN",
        text,
        [("message_id", known.context.id.to_string())],
    ))
}

/// No route is open: says why not each.
pub(crate) fn no_route(decision: &Decision) -> Status {
    let reasons = decision.candidates.iter().map(|candidate| {
        let route = match candidate.route {
            Route::FreeForm => "free_form",
            Route::Template => "template",
            Route::Sms => "sms",
            Route::Hold => "hold",
        };
        (route, candidate.reason)
    });
    let texts: Vec<&str> = decision
        .candidates
        .iter()
        .map(|candidate| candidate.text.as_str())
        .collect();
    let away = Gone::MigratedAway.as_str();
    let is_away = decision.candidates.iter().any(|one| one.reason == away);
    let finds_no_place = decision
        .candidate(Route::Hold)
        .is_some_and(|hold| hold.reason == HOLD_QUEUE_FULL);
    let reason = if finds_no_place {
        metrics::found_queue_full();
        HOLD_QUEUE_FULL
    } else if is_away {
        away
    } else {
        "NO_ROUTE"
    };
    refusal(
        Code::FailedPrecondition,
        reason,
        format!("no route is open for this message: {}", texts.join(" ")),
        reasons,
    )
}

/// Sensitive content cannot be taken, or not compared.
pub(crate) fn not_sealed(error: &SensitiveError) -> Status {
    match error {
        SensitiveError::Unset | SensitiveError::Unknown(_) => refuse(
            Code::FailedPrecondition,
            "SENSITIVE_KEY_MISSING",
            error.to_string(),
        ),
        SensitiveError::Read(error) => unavailable(error),
        SensitiveError::Store(error) => unavailable(error),
    }
}

/// Whether the message is durable is not known; its id tells, once the log answers.
pub(crate) fn outcome_unknown(id: &MessageId) -> Status {
    let text = "the log did not say whether it has the message: ask for it by its id, or send it \
                again under the same request_id";
    refusal(
        Code::Unavailable,
        "OUTCOME_UNKNOWN",
        text,
        [("message_id", id.to_string())],
    )
}

/// The log is away.
pub(crate) fn unavailable(error: &(dyn std::error::Error + 'static)) -> Status {
    tracing::warn!(
        error = error.to_string(),
        source = error.source().map(ToString::to_string),
        "call not answered"
    );
    refuse(
        Code::Unavailable,
        "LOG_UNAVAILABLE",
        "the log cannot be used right now: try again",
    )
}

/// What cannot be.
pub(crate) fn internal(error: &dyn std::error::Error) -> Status {
    tracing::error!(error = error.to_string(), "call failed");
    refuse(
        Code::Internal,
        "INTERNAL",
        "something that cannot be has happened; the log tells more",
    )
}
