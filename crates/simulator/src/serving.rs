//! One way to serve a send, for all look-alikes: faults, the ruling, the books, the answer.
//!
//! Who may call, and what an answer looks like, is each look-alike's own.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use uuid::Uuid;

use crate::books::{Books, Sent, mint_sms_sid, mint_wamid};
use crate::codes::Refusal;
use crate::faults::Fault;
use crate::records::{ApiCall, Channel, Outcome};
use crate::shared::{Shared, pause};
use crate::{generic, reports, vonage};

/// How long a call that is never answered is held open if its caller does not hang up.
const HANG_MAX: Duration = Duration::from_mins(10);

/// How to answer.
enum Served {
    Dropped,
    Hangs,
    Answers {
        after: SignedDuration,
        status: u16,
        body: AnswerBody,
        code: Option<i64>,
        sent_seq: Option<u64>,
    },
}

enum AnswerBody {
    Json(Value),
    Foreign,
}

/// Serves a send: plays the faults that apply, asks `rule`, keeps the outcome, and answers with
/// what `accept` makes of an accepted message.
pub(crate) async fn send(
    shared: &Arc<Shared>,
    path: String,
    mut sent: Sent,
    rule: impl FnOnce(&mut Books, &mut Sent, Timestamp) -> Result<Option<i64>, Refusal>,
    accept: impl FnOnce(&Sent) -> (u16, Value),
) -> Response {
    let channel = sent.message.channel;
    let (call_seq, served) = shared.change(|state| {
        let now = shared.now();
        sent.message.at = now;
        let call_seq = note_call(&mut state.books, channel, "POST", path, now);
        if state.faults.take(channel, drops).is_some() {
            state.books.keep(sent);
            return (call_seq, Served::Dropped);
        }
        let broken = state.faults.take(channel, breaks);
        if let Some((status, false)) = broken {
            let sent_seq = state.books.keep(sent);
            return (call_seq, foreign(status, sent_seq));
        }
        let ruling = match state.faults.take(channel, refuses) {
            Some(code) => Err(Refusal::new(code, "refused by a fault of the simulator")),
            None => rule(&mut state.books, &mut sent, now),
        };
        let after = state.faults.take(channel, delays).unwrap_or_default();
        let fails_with = match ruling {
            Ok(fails_with) => fails_with.or_else(|| state.faults.take(channel, fails)),
            Err(refusal) => {
                sent.message.outcome = Outcome::Refused(refusal.code);
                let (status, body) = match channel {
                    Channel::Whatsapp => refusal.as_graph(),
                    Channel::Sms => refusal.as_twilio(),
                    Channel::Vonage => vonage::refused(&refusal),
                    Channel::Generic => generic::refused(&refusal),
                };
                let served = Served::Answers {
                    after,
                    status,
                    body: AnswerBody::Json(body),
                    code: Some(refusal.code),
                    sent_seq: Some(state.books.keep(sent)),
                };
                return (call_seq, served);
            }
        };
        sent.message.outcome = Outcome::Accepted;
        sent.message.id = Some(match channel {
            Channel::Whatsapp => mint_wamid(),
            Channel::Sms => mint_sms_sid(),
            Channel::Vonage => Uuid::new_v4().to_string(),
            Channel::Generic => format!("g-{}", Uuid::new_v4().simple()),
        });
        let (status, body) = accept(&sent);
        let seq = state.books.keep(sent);
        reports::schedule(shared, state, seq, fails_with);
        if let Some((status, true)) = broken {
            return (call_seq, foreign(status, seq));
        }
        if state.faults.take(channel, hangs).is_some() {
            return (call_seq, Served::Hangs);
        }
        let served = Served::Answers {
            after,
            status,
            body: AnswerBody::Json(body),
            code: None,
            sent_seq: Some(seq),
        };
        (call_seq, served)
    });
    answer(shared, call_seq, served).await
}

/// Answers a call that sends nothing, and keeps it.
pub(crate) fn respond(
    shared: &Shared,
    channel: Channel,
    method: &str,
    path: String,
    answer: (u16, Value),
) -> Response {
    let (status, body) = answer;
    shared.change(|state| {
        let seq = note_call(&mut state.books, channel, method, path, shared.now());
        if let Some(call) = state.books.calls.get_mut(seq) {
            call.http_status = Some(status);
            call.code = error_code(&body);
        }
    });
    json(status, &body)
}

/// Breaks the connection of a call that sends nothing, and keeps it as unanswered.
pub(crate) fn lost(shared: &Shared, channel: Channel, method: &str, path: String) -> Response {
    shared.change(|state| note_call(&mut state.books, channel, method, path, shared.now()));
    dropped()
}

/// Keeps a call that was answered elsewhere.
pub(crate) fn note(shared: &Shared, channel: Channel, method: &str, path: String, status: u16) {
    shared.change(|state| {
        let seq = note_call(&mut state.books, channel, method, path, shared.now());
        if let Some(call) = state.books.calls.get_mut(seq) {
            call.http_status = Some(status);
        }
    });
}

async fn answer(shared: &Shared, call_seq: u64, served: Served) -> Response {
    let (after, status, body, code, sent_seq) = match served {
        Served::Dropped => return dropped(),
        Served::Hangs => {
            // When the caller hangs up, this future is dropped with the connection.
            let hang = tokio::time::sleep(HANG_MAX);
            shared.cancel.run_until_cancelled(hang).await;
            return dropped();
        }
        Served::Answers {
            after,
            status,
            body,
            code,
            sent_seq,
        } => (after, status, body, code, sent_seq),
    };
    if after.is_positive() {
        let delay = tokio::time::sleep(pause(after));
        shared.cancel.run_until_cancelled(delay).await;
    }
    shared.change(|state| {
        if let Some(call) = state.books.calls.get_mut(call_seq) {
            call.http_status = Some(status);
            call.code = code;
        }
        if let Some(sent) = sent_seq.and_then(|seq| state.books.sent_mut(seq)) {
            sent.message.http_answered = true;
        }
    });
    match body {
        AnswerBody::Json(body) => json(status, &body),
        AnswerBody::Foreign => (status_code(status), "upstream connect error").into_response(),
    }
}

fn note_call(
    books: &mut Books,
    channel: Channel,
    method: &str,
    path: String,
    at: Timestamp,
) -> u64 {
    let seq = books.calls.next_seq();
    books.calls.push(ApiCall {
        seq,
        channel,
        method: method.to_owned(),
        path,
        at,
        http_status: None,
        code: None,
    });
    seq
}

fn foreign(status: u16, sent_seq: u64) -> Served {
    Served::Answers {
        after: SignedDuration::ZERO,
        status,
        body: AnswerBody::Foreign,
        code: None,
        sent_seq: Some(sent_seq),
    }
}

fn json(status: u16, body: &Value) -> Response {
    (status_code(status), axum::Json(body)).into_response()
}

fn status_code(status: u16) -> StatusCode {
    StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}

fn error_code(body: &Value) -> Option<i64> {
    body["error"]["code"]
        .as_i64()
        .or_else(|| body["code"].as_i64())
        .or_else(|| body["fault"]["code"].as_i64())
}

/// Returns a response whose body fails before its head is written: the server closes the
/// connection without a byte, and the caller sees exactly that.
fn dropped() -> Response {
    let error = io::Error::from(io::ErrorKind::ConnectionReset);
    Response::new(Body::from_stream(futures::stream::once(async {
        Err::<Bytes, _>(error)
    })))
}

fn drops(fault: &Fault) -> Option<()> {
    matches!(fault, Fault::DropConnection).then_some(())
}

fn hangs(fault: &Fault) -> Option<()> {
    matches!(fault, Fault::TimeoutAfterAcceptance).then_some(())
}

fn breaks(fault: &Fault) -> Option<(u16, bool)> {
    match fault {
        Fault::ServerError { status, accepts } => Some((*status, *accepts)),
        _ => None,
    }
}

fn refuses(fault: &Fault) -> Option<i64> {
    match fault {
        Fault::GraphError { code } => Some(*code),
        _ => None,
    }
}

fn delays(fault: &Fault) -> Option<SignedDuration> {
    match fault {
        Fault::DelayResponse { by } => Some(*by),
        _ => None,
    }
}

fn fails(fault: &Fault) -> Option<i64> {
    match fault {
        Fault::FailStatus { code } => Some(*code),
        _ => None,
    }
}
