//! Many words at once: each recorded or refused for itself, and answered in its place.
//!
//! They need no order among themselves: the latest word counts, by the customer's time. Who sends
//! faster than they become durable is made to wait.

use std::pin::Pin;

use casement_proto::account::v1 as api;
use casement_proto::message::v1::{FieldProblem, Refusal};
use casement_shell::auth::Caller;
use casement_shell::grpc::{bad_field, code_name, reason, refuse};
use futures::{Stream, StreamExt as _};
use tonic::{Code, Status, Streaming};
use tonic_types::StatusExt as _;

use super::Consents;

/// What a stream of items is answered with.
pub(super) type Answers =
    Pin<Box<dyn Stream<Item = Result<api::ImportConsentsResponse, Status>> + Send>>;

/// How many items of one call are under way at once.
const IN_HAND_MAX: usize = 64;

impl Consents {
    /// Records a stream of items.
    pub(super) fn import(
        &self,
        caller: Caller,
        items: Streaming<api::ImportConsentsRequest>,
    ) -> Answers {
        let consents = self.clone();
        let answers = items
            .take_until(self.closing.clone().cancelled_owned())
            .enumerate()
            .map(move |(index, request)| {
                let (consents, caller) = (consents.clone(), caller.clone());
                async move {
                    // What breaks the stream itself ends it.
                    let item = request?.item.unwrap_or_default();
                    let recorded = if item.item_id.is_empty() {
                        let text = "is required: it makes the import safe to repeat";
                        Err(bad_field("item.item_id", text))
                    } else {
                        Box::pin(consents.record(&caller, item, "item")).await
                    };
                    Ok(api::ImportConsentsResponse {
                        index: index as u64,
                        result: Some(result(recorded)),
                    })
                }
            })
            .buffered(IN_HAND_MAX);
        let closing = self.closing.clone();
        let stopped = futures::stream::once(async move { closing.is_cancelled() })
            .filter_map(async |is_closing| is_closing.then(|| Err(closing_down())));
        Box::pin(answers.chain(stopped))
    }
}

/// What a stream is told whose process stops.
pub(super) fn closing_down() -> Status {
    let text = "this process stops: what was answered is done, send the rest elsewhere";
    refuse(Code::Unavailable, "CLOSING", text)
}

fn result(of: Result<api::RecordConsentResponse, Status>) -> api::ConsentResult {
    use api::consent_result::Result as Told;
    let told = match of {
        Ok(accepted) => Told::Accepted(accepted),
        Err(status) => Told::Refused(refusal(&status)),
    };
    api::ConsentResult { result: Some(told) }
}

/// Returns what a status says, as a message.
fn refusal(status: &Status) -> Refusal {
    let info = status.get_details_error_info();
    let fields = status.get_details_bad_request().into_iter();
    Refusal {
        code: code_name(status.code()).to_owned(),
        reason: reason(status).unwrap_or_default(),
        message: status.message().to_owned(),
        metadata: info.map(|info| info.metadata).unwrap_or_default(),
        fields: fields
            .flat_map(|request| request.field_violations)
            .map(|violation| FieldProblem {
                field: violation.field,
                description: violation.description,
            })
            .collect(),
        retryable: matches!(status.code(), Code::Unavailable | Code::Aborted),
    }
}
