//! Calls to the platform that are no messages: marking as read, and uploading a file. They are
//! made at once, once, and nothing is kept of them.

use casement_domain::id::BusinessNumber;
use casement_event::convert::timestamp;
use casement_event::v1;
use casement_proto::message::v1 as api;
use casement_proto::message::v1::upload_media_request::Part;
use casement_secrets::Secrets;
use casement_shell::auth::Caller;
use casement_shell::grpc::{bad_field, bad_fields, refusal, refuse};
use casement_whatsapp::send::{
    File, MarkAsRead, Outcome, UPLOAD_LIFE, WAMID_PREFIX, upload_bytes_max,
};
use jiff::SignedDuration;
use secrecy::SecretString;
use tokio::sync::mpsc;
use tonic::{Code, Status, Streaming};

use crate::grpc::Messages;
use crate::uploads::UploadId;

/// How many parts of a file are between the caller and the platform.
const PARTS_IN_HAND: usize = 4;

impl Messages {
    pub(crate) async fn mark(
        &self,
        caller: &Caller,
        request: &api::MarkAsReadRequest,
    ) -> Result<(), Status> {
        let id = &request.provider_message_id;
        let mut problems = Vec::new();
        if !id.starts_with(WAMID_PREFIX) || id.len() == WAMID_PREFIX.len() {
            problems.push((
                "provider_message_id",
                "must be the platform's id, wamid.…".to_owned(),
            ));
        }
        let number = BusinessNumber::parse(&request.number)
            .map_err(|error| problems.push(("number", error.to_string())));
        let (Ok(number), true) = (number, problems.is_empty()) else {
            return Err(bad_fields(problems));
        };
        let account = self.account(caller, &number).await?;
        let token = access(&self.engine.caller.secrets, &account)?;
        let read = MarkAsRead {
            message_id: id.clone(),
            typing: request.typing,
        };
        let target = self.engine.caller.target(&account, &token);
        let outcome = self
            .engine
            .caller
            .whatsapp
            .mark_as_read(target, &read)
            .await;
        answer(outcome)
    }

    pub(crate) async fn upload(
        &self,
        caller: &Caller,
        mut parts: Streaming<api::UploadMediaRequest>,
    ) -> Result<api::UploadMediaResponse, Status> {
        let Some(Part::File(file)) = parts.message().await?.and_then(|first| first.part) else {
            return Err(bad_field("file", "the first part says what the file is"));
        };
        let number = check(&file)?;
        let account = self.account(caller, &number).await?;
        let token = access(&self.engine.caller.secrets, &account)?;
        let Ok(_permit) = self.uploads.try_acquire() else {
            return Err(refuse(
                Code::ResourceExhausted,
                "UPLOADS_LIMITED",
                "as many files as may be are being uploaded: try again in a while",
            ));
        };
        // Counted from before the platform could begin to.
        let life = SignedDuration::try_from(UPLOAD_LIFE).unwrap_or_default();
        let expires_at = self.engine.clock.now().saturating_add(life);
        let target = self.engine.caller.target(&account, &token);
        let (sender, chunks) = mpsc::channel(PARTS_IN_HAND);
        let told = File {
            mime_type: &file.mime_type,
            size_bytes: file.size_bytes,
        };
        let uploading = self.engine.caller.uploads.upload(target, &told, chunks);
        tokio::pin!(uploading);
        // Whoever ends first says how: a caller that breaks off, or the platform.
        let outcome = tokio::select! {
            outcome = &mut uploading => outcome,
            passed = pass(&mut parts, file.size_bytes, sender) => {
                passed?;
                uploading.await
            }
        };
        let provider_media_id = answer(outcome)?;
        let upload_id = UploadId {
            phone_number_id: account.phone_number_id.clone(),
            expires_at: expires_at.unwrap_or(jiff::Timestamp::MAX),
            provider_media_id: provider_media_id.clone(),
        };
        Ok(api::UploadMediaResponse {
            upload_id: upload_id.to_string(),
            provider_media_id,
            expire_time: Some(timestamp(upload_id.expires_at)),
        })
    }
}

/// What a file may be is known before its first byte.
fn check(file: &api::UploadedFile) -> Result<BusinessNumber, Status> {
    let mut problems = Vec::new();
    let number = BusinessNumber::parse(&file.number)
        .map_err(|error| problems.push(("file.number", error.to_string())));
    match upload_bytes_max(&file.mime_type) {
        None => {
            let text = "the platform takes no files of this type".to_owned();
            problems.push(("file.mime_type", text));
        }
        Some(bytes_max) if file.size_bytes == 0 || file.size_bytes > bytes_max => {
            let text = format!("must be 1 to {bytes_max} bytes for this type");
            problems.push(("file.size_bytes", text));
        }
        Some(_) => {}
    }
    match number {
        Ok(number) if problems.is_empty() => Ok(number),
        _ => Err(bad_fields(problems)),
    }
}

/// Passes a file on, part by part.
async fn pass(
    parts: &mut Streaming<api::UploadMediaRequest>,
    size_bytes: u64,
    chunks: mpsc::Sender<bytes::Bytes>,
) -> Result<(), Status> {
    let mut left = size_bytes;
    while let Some(part) = parts.message().await? {
        let Some(Part::Chunk(chunk)) = part.part else {
            return Err(bad_field("chunk", "every part but the first is bytes"));
        };
        let Some(rest) = left.checked_sub(u64::try_from(chunk.len()).unwrap_or(u64::MAX)) else {
            return Err(bad_field("chunk", "the file is longer than its size_bytes"));
        };
        left = rest;
        if !chunk.is_empty() && chunks.send(chunk).await.is_err() {
            // The platform has said enough; the other branch tells what.
            std::future::pending::<()>().await;
        }
    }
    if left > 0 {
        return Err(bad_field(
            "chunk",
            "the file is shorter than its size_bytes",
        ));
    }
    Ok(())
}

/// The token of a number that may call.
fn access(secrets: &Secrets, account: &v1::Number) -> Result<SecretString, Status> {
    if account.paused {
        let text = "sending from this number is paused: ResumeNumber lifts it";
        return Err(refuse(Code::FailedPrecondition, "NUMBER_PAUSED", text));
    }
    secrets.resolve(account.token.as_ref()).map_err(|error| {
        tracing::error!(error = %error, "access token of a number cannot be had");
        let text = "the number's access token cannot be read";
        refuse(Code::FailedPrecondition, "NUMBER_TOKEN_MISSING", text)
    })
}

/// What a caller is told of a call's outcome. Both calls may be repeated, whatever came of them.
fn answer<T>(outcome: Outcome<T>) -> Result<T, Status> {
    match outcome {
        Outcome::Accepted(taken) => Ok(taken),
        Outcome::Rejected(error) => {
            let rule = error.rule();
            let code = if rule.action.is_retryable() {
                Code::Unavailable
            } else {
                Code::FailedPrecondition
            };
            let text = format!("the platform refused: {}", rule.meaning);
            let metadata = [("code", error.code.to_string())];
            Err(refusal(code, "PROVIDER_REFUSED", text, metadata))
        }
        Outcome::NotSent { reason } | Outcome::Unknown { reason } => {
            tracing::warn!(reason, "platform did not answer");
            let text = "the platform did not answer: try again, which does no harm";
            Err(refuse(Code::Unavailable, "PROVIDER_UNAVAILABLE", text))
        }
    }
}
