//! Streams as lines of JSON: requests from the lines of a body, answers as lines.
//!
//! Lines are read as they come and only so far ahead as answers go out, so that no body is too
//! long. A line that cannot be read is refused for itself, in its place among the answers, and is
//! in no other's way.

use std::convert::Infallible;

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use casement_proto::message::v1 as api;
use casement_shell::grpc::{refuse, said};
use futures::stream::BoxStream;
use futures::{Stream, StreamExt as _};
use prost::Message as _;
use prost_reflect::{DynamicMessage, Kind, MessageDescriptor, Value};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tonic::{Code, Status};

use crate::body::{Flight, stopping as stopping_status, too_large};
use crate::problem::Problem;
use crate::{routes, transcode};

/// Media types of such a body; the first is the one to recommend.
pub(crate) const MEDIA_TYPES: [&str; 3] = [
    "application/x-ndjson",
    "application/ndjson",
    "application/jsonl",
];

/// How many lines are read ahead of their answers.
const AHEAD_MAX: usize = 64;

/// Messages as they come, or why no more come.
pub(crate) type Messages = BoxStream<'static, Result<DynamicMessage, Status>>;

/// What became of a line that was read.
#[derive(Debug)]
enum Line {
    /// It went to the service, which answers it.
    Sent(u64),
    /// It is no request.
    Refused(u64, Status),
    /// There was no line, but the end of the body in the middle of it.
    BrokenOff,
}

/// Lines on their way to a service.
#[derive(Debug)]
pub(crate) struct Sent(mpsc::Receiver<Line>);

/// What is left of a body.
struct Rest {
    body: axum::body::BodyDataStream,
    /// What was read and not taken.
    read: BytesMut,
    /// How much of that has no end of a line.
    searched: usize,
    /// The line is too long, and the rest of it goes by.
    is_skipping: bool,
    is_over: bool,
    /// How many lines there were; empty ones do not count.
    count: u64,
    told: mpsc::Sender<Line>,
}

/// Returns the requests that the lines of a body are, of this kind; each line is `field` of one.
/// A line may be as long as a request.
pub(crate) fn requests(
    kind: MessageDescriptor,
    field: &'static str,
    body: Body,
    line_bytes_max: usize,
) -> (impl Stream<Item = DynamicMessage> + Send + 'static, Sent) {
    let (told, sent) = mpsc::channel(AHEAD_MAX);
    let rest = Rest {
        body: body.into_data_stream(),
        read: BytesMut::new(),
        searched: 0,
        is_skipping: false,
        is_over: false,
        count: 0,
        told,
    };
    let requests = futures::stream::unfold(rest, move |mut rest| {
        let kind = kind.clone();
        async move {
            loop {
                let line = rest.next(line_bytes_max).await?;
                let index = rest.count;
                rest.count += 1;
                let request = line.and_then(|line| read(&kind, field, &line));
                let (line, request) = match request {
                    Ok(request) => (Line::Sent(index), Some(request)),
                    Err(status) => (Line::Refused(index, status), None),
                };
                // Who hears no answers any more is sent for no more.
                rest.told.send(line).await.ok()?;
                if let Some(request) = request {
                    return Some((request, rest));
                }
            }
        }
    });
    (requests, Sent(sent))
}

impl Rest {
    /// Returns the next line that is not empty, without its end.
    async fn next(&mut self, bytes_max: usize) -> Option<Result<Bytes, Status>> {
        loop {
            let end = self.read[self.searched..].iter().position(|&b| b == b'\n');
            let line = match end {
                Some(place) => Some(self.read.split_to(self.searched + place + 1)),
                None if self.is_over && !self.read.is_empty() => Some(self.read.split()),
                None if self.is_over && !self.is_skipping => return None,
                None if self.is_over => Some(BytesMut::new()),
                None => None,
            };
            if let Some(line) = line {
                self.searched = 0;
                if std::mem::take(&mut self.is_skipping) || line.trim_ascii().len() > bytes_max {
                    return Some(Err(too_large(bytes_max)));
                }
                if !line.trim_ascii().is_empty() {
                    return Some(Ok(line.freeze()));
                }
                continue;
            }
            self.searched = self.read.len();
            // One more for its end.
            if self.read.len() > bytes_max.saturating_add(1) {
                self.is_skipping = true;
            }
            if self.is_skipping {
                self.read.clear();
                self.searched = 0;
            }
            match self.body.next().await {
                Some(Ok(bytes)) => self.read.extend_from_slice(&bytes),
                Some(Err(_)) => {
                    // Half a line is none.
                    let _ = self.told.send(Line::BrokenOff).await;
                    return None;
                }
                None => self.is_over = true,
            }
        }
    }
}

fn read(
    kind: &MessageDescriptor,
    field: &'static str,
    line: &[u8],
) -> Result<DynamicMessage, Status> {
    let no_lines = || Status::new(Code::Internal, "the call takes no lines");
    let field = kind.get_field_by_name(field).ok_or_else(no_lines)?;
    let Kind::Message(inner) = field.kind() else {
        return Err(no_lines());
    };
    let parts = transcode::Parts {
        rule: routes::Body::All,
        body: line,
        variables: &[],
        query: "",
    };
    let inner = transcode::read(&inner, parts)?;
    let mut request = DynamicMessage::new(kind.clone());
    request.set_field(&field, Value::Message(inner));
    Ok(request)
}

/// Answers on their way back.
struct Answers {
    kind: MessageDescriptor,
    upstream: Messages,
    sent: mpsc::Receiver<Line>,
    /// The line whose answer is next.
    awaited: Option<u64>,
    /// An answer whose line was not heard of yet.
    held: Option<DynamicMessage>,
    are_lines_over: bool,
    is_upstream_over: bool,
    is_over: bool,
}

/// Joins the answers of a service to requests from lines with what was refused here, each with the
/// place of its line, in their order.
pub(crate) fn answers(kind: MessageDescriptor, upstream: Messages, sent: Sent) -> Messages {
    let answers = Answers {
        kind,
        upstream,
        sent: sent.0,
        awaited: None,
        held: None,
        are_lines_over: false,
        is_upstream_over: false,
        is_over: false,
    };
    Box::pin(futures::stream::unfold(answers, |mut answers| async move {
        if answers.is_over {
            return None;
        }
        let next = answers.next().await?;
        answers.is_over = next.is_err();
        Some((next, answers))
    }))
}

impl Answers {
    async fn next(&mut self) -> Option<Result<DynamicMessage, Status>> {
        loop {
            if let Some(index) = self.awaited {
                if let Some(mut answer) = self.held.take() {
                    self.awaited = None;
                    let placed = answer.try_set_field_by_name("index", Value::U64(index));
                    return Some(placed.map(|()| answer).map_err(|_| no_answer()));
                }
                if self.is_upstream_over {
                    return Some(Err(ended_early()));
                }
            } else if self.is_upstream_over && !self.are_lines_over {
                // A service that has heard the last line ends after it.
                let line = match self.sent.try_recv() {
                    Ok(line) => Some(line),
                    Err(mpsc::error::TryRecvError::Disconnected) => None,
                    Err(mpsc::error::TryRecvError::Empty) => return Some(Err(ended_early())),
                };
                if let Some(answer) = self.hear(line) {
                    return Some(answer);
                }
                continue;
            }
            // Both at once: in one process, a service reads requests only while it is asked for
            // answers.
            tokio::select! {
                biased;
                line = self.sent.recv(), if self.awaited.is_none() && !self.are_lines_over => {
                    if let Some(answer) = self.hear(line) {
                        return Some(answer);
                    }
                }
                answer = self.upstream.next(), if self.held.is_none() && !self.is_upstream_over => {
                    match answer {
                        Some(Ok(answer)) => self.held = Some(answer),
                        Some(Err(status)) => return Some(Err(status)),
                        None => self.is_upstream_over = true,
                    }
                }
                else => return None,
            }
        }
    }
}

impl Answers {
    /// Takes up what became of a line, `None` after the last; returns what that is answered at
    /// once.
    fn hear(&mut self, line: Option<Line>) -> Option<Result<DynamicMessage, Status>> {
        match line {
            Some(Line::Sent(index)) => {
                self.awaited = Some(index);
                None
            }
            Some(Line::Refused(index, status)) => Some(refused(&self.kind, index, &status)),
            Some(Line::BrokenOff) => Some(Err(Status::cancelled("the body broke off"))),
            None => {
                self.are_lines_over = true;
                None
            }
        }
    }
}

fn no_answer() -> Status {
    Status::new(Code::Internal, "the call does not answer lines")
}

fn ended_early() -> Status {
    let text = "no more is answered: what was answered is done, send the rest again";
    refuse(Code::Unavailable, "ENDED_EARLY", text)
}

/// The answer to a line that is no request, as the service would refuse it.
fn refused(
    kind: &MessageDescriptor,
    index: u64,
    status: &Status,
) -> Result<DynamicMessage, Status> {
    let said = said(status);
    let fields = said.fields.into_iter();
    let refusal = api::Refusal {
        code: said.code.to_owned(),
        reason: said.reason,
        message: said.message,
        metadata: said.metadata,
        fields: fields
            .map(|(field, description)| api::FieldProblem { field, description })
            .collect(),
        retryable: false,
    };
    let answer = api::SendMessagesResponse {
        index,
        result: Some(api::SendResult {
            result: Some(api::send_result::Result::Refused(refusal)),
        }),
    };
    DynamicMessage::decode(kind.clone(), answer.encode_to_vec().as_slice()).map_err(|_| no_answer())
}

/// What is left of a stream.
struct Left {
    messages: Messages,
    stopping: CancellationToken,
    flight: Flight,
    is_over: bool,
}

/// A stream as lines: `{"result": …}` for each message, `{"error": …}` if it fails.
pub(crate) fn lines(
    messages: Messages,
    stopping: CancellationToken,
    flight: Flight,
) -> impl Stream<Item = Result<Bytes, Infallible>> {
    let left = Left {
        messages,
        stopping,
        flight,
        is_over: false,
    };
    futures::stream::unfold(left, |mut left| async move {
        if left.is_over {
            return None;
        }
        let next = tokio::select! {
            next = left.messages.next() => next,
            () = left.stopping.cancelled() => Some(Err(stopping_status())),
        };
        let line = match next {
            Some(Ok(message)) => transcode::write(&message).map(|json| labelled("result", &json)),
            Some(Err(status)) => Err(status),
            None => {
                left.flight.set_code(Code::Ok);
                return None;
            }
        };
        let line = line.unwrap_or_else(|status| {
            left.is_over = true;
            let problem = Problem::from(status);
            left.flight.set_code(problem.code());
            labelled("error", problem.json().to_string().as_bytes())
        });
        Some((Ok(line), left))
    })
}

fn labelled(key: &str, json: &[u8]) -> Bytes {
    let mut line = format!("{{\"{key}\":").into_bytes();
    line.extend_from_slice(json);
    line.extend_from_slice(b"}\n");
    line.into()
}

#[cfg(test)]
mod tests;
