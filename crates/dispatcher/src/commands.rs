//! Requests to send that services put on the broker: taken, accepted or refused, answered.
//!
//! The broker has acknowledged a command once it is on disk; from then on it is worked on until it
//! is a message or can never be one. The subject says who asks, which the broker's permissions
//! vouch for; a command says under which `request_id`, so that one that is handed out twice is one
//! message. Replicas share the work. It keeps no order between commands: who needs one waits for
//! the answer. A sensitive command is erased once it is done, and nowhere kept.

use std::time::Duration;

use casement_event::subject::{self, Sender, stream};
use casement_event::{Record, Stored, convert, header, id, v1};
use casement_event_log::{AppendError, Delivery, Expect, Failure, WorkSpec};
use casement_proto::DESCRIPTORS;
use casement_proto::message::v1 as api;
use casement_shell::auth::{Caller, Scope};
use casement_shell::grpc::{bad_field, refuse};
use casement_shell::telemetry;
use jiff::Timestamp;
use prost::Message as _;
use prost_reflect::{DescriptorPool, DynamicMessage, SerializeOptions};
use tokio_util::sync::CancellationToken;
use tonic::{Code, Status};

use crate::bulk;
use crate::grpc::Messages;

pub(crate) mod put_back;

/// Where the sender of a command listens for the answer.
const ANSWER_TO: &str = "casement-answer-to";

/// Media type of commands and answers that are not protobuf.
const JSON: &str = "application/json";

/// How many commands are worked on at once.
const IN_HAND_MAX: usize = 64;

/// Longest subject for an answer, in bytes.
const ANSWER_TO_LEN_MAX: usize = 256;

/// Takes commands until stopped.
pub(crate) async fn run(messages: Messages, stopping: CancellationToken) -> anyhow::Result<()> {
    let spec = WorkSpec {
        name: "dispatcher-commands",
        stream: stream::COMMANDS,
        filters: vec![subject::SEND_COMMANDS.to_owned()],
        in_hand_max: IN_HAND_MAX,
        ack_wait: Duration::from_secs(10),
    };
    let formats = Formats::new()?;
    let log = messages.engine.log.clone();
    log.work(spec, stopping, |delivery| {
        take(&messages, &formats, delivery)
    })
    .await;
    Ok(())
}

/// Sees to a command: it is done once it is a message, or buried and answered.
async fn take(messages: &Messages, formats: &Formats, delivery: Delivery) -> Result<(), Failure> {
    let stored = &delivery.stored;
    let read = formats.read(stored);
    let is_sensitive = match &read {
        Ok(request) => request.sensitive,
        Err(_) => may_be_sensitive(stored),
    };
    let result = match subject::parse_send_command(&stored.subject) {
        Some(sender) => accept(messages, read, stored, &sender).await,
        None => Err(refuse(
            Code::InvalidArgument,
            "COMMAND_SUBJECT_INVALID",
            "publish to casement.commands.send.<brand>.<number>.<service>",
        )),
    };
    match &result {
        Err(status) if bulk::is_passing(status.code()) => {
            return Err(Failure(status.message().to_owned().into()));
        }
        Err(status) => bury(messages, stored, status, is_sensitive).await?,
        Ok(_) => {}
    }
    answer(messages, formats, stored, result).await;
    if is_sensitive {
        // What is taken off the queue stays in the broker's files for a while.
        let log = &messages.engine.log;
        log.erase(stream::COMMANDS, stored.sequence).await?;
    }
    Ok(())
}

async fn accept(
    messages: &Messages,
    read: Result<api::SendMessageRequest, Status>,
    stored: &Stored,
    sender: &Sender,
) -> Result<api::SendMessageResponse, Status> {
    let request = read?;
    if request.request_id.is_empty() {
        let text = "is required of a command: it may be handed out twice";
        return Err(bad_field("request_id", text));
    }
    let is_own = casement_domain::id::BusinessNumber::parse(&request.number)
        .is_ok_and(|number| number == sender.number);
    if !is_own {
        return Err(bad_field("number", "is not the one of the subject"));
    }
    let is_stale = ends_at(stored, &request, messages.default_ttl)
        .is_some_and(|end| end <= messages.engine.clock.now());
    if is_stale {
        return Err(refuse(
            Code::FailedPrecondition,
            "COMMAND_EXPIRED",
            "its ttl was over before anybody could see to it",
        ));
    }
    let caller = Caller {
        name: format!("nats/{}", sender.service),
        brand: sender.brand.to_string(),
        scopes: [Scope::Send].into(),
    };
    let traceparent = stored.header(header::TRACEPARENT).map(str::to_owned);
    let traceparent = telemetry::current_traceparent().or(traceparent);
    messages.accept_one(&caller, &request, traceparent).await
}

/// When a command is no longer worth it, counted from when it was acknowledged. What cannot be
/// read of it, acceptance refuses.
fn ends_at(
    stored: &Stored,
    request: &api::SendMessageRequest,
    default_ttl: jiff::SignedDuration,
) -> Option<Timestamp> {
    let ttl = match &request.ttl {
        Some(ttl) => convert::signed_duration(ttl),
        None => default_ttl,
    };
    let send_at = convert::instant("send_time", request.send_time.as_ref()).ok()?;
    let begins_at = send_at.map_or(stored.stored_at, |at| at.max(stored.stored_at));
    begins_at.checked_add(ttl).ok()
}

/// Whether a command that cannot be read says that it is sensitive, as far as can be told: the word
/// in JSON, the field in protobuf.
fn may_be_sensitive(stored: &Stored) -> bool {
    let has = |what: &[u8]| stored.payload.windows(what.len()).any(|one| one == what);
    // Field 15, set.
    has(b"sensitive") || has(&[15 << 3, 1])
}

/// Puts a command that can never succeed where an operator finds it, with the reason. Of a
/// sensitive one neither it nor what is wrong with it is kept, which may repeat it.
async fn bury(
    messages: &Messages,
    stored: &Stored,
    status: &Status,
    is_sensitive: bool,
) -> Result<(), AppendError> {
    let refusal = bulk::refusal(status);
    let told = if is_sensitive {
        "it is sensitive, and not kept"
    } else {
        &refusal.message
    };
    let reason = [&refusal.code, &refusal.reason, told]
        .into_iter()
        .filter(|text| !text.is_empty())
        .collect::<Vec<&str>>()
        .join(": ");
    tracing::warn!(
        sequence = stored.sequence,
        code = refusal.code,
        reason = refusal.reason,
        "command goes to the dead letters"
    );
    let now = messages.engine.clock.now();
    let header = |name| stored.header(name).unwrap_or_default().to_owned();
    let letter = v1::DeadLetter {
        role: "dispatcher".to_owned(),
        reason,
        time: Some(convert::timestamp(now)),
        stream: stored.stream.clone(),
        sequence: stored.sequence,
        item: if is_sensitive {
            Vec::new()
        } else {
            stored.payload.to_vec()
        },
        subject: stored.subject.clone(),
        content_type: header(header::CONTENT_TYPE),
        answer_to: header(ANSWER_TO),
        ..v1::DeadLetter::default()
    };
    let record = Record::new(
        subject::dead("dispatcher"),
        id::dead("dispatcher", &stored.stream, stored.sequence, ""),
        "casement/dispatcher",
        now,
        letter,
    );
    messages.engine.log.append(record, Expect::Anything).await?;
    Ok(())
}

/// Tells the sender, if it says where it listens. An answer that is lost is given again to the
/// same command under the same `request_id`.
async fn answer(
    messages: &Messages,
    formats: &Formats,
    stored: &Stored,
    result: Result<api::SendMessageResponse, Status>,
) {
    let Some(to) = stored.header(ANSWER_TO) else {
        return;
    };
    let Some(sender) = subject::parse_send_command(&stored.subject) else {
        return;
    };
    if !may_be_answered(to, &sender) {
        tracing::warn!(
            sequence = stored.sequence,
            "command asks for its answer on a subject that is not its sender's"
        );
        return;
    }
    let (content_type, payload) = formats.write(&bulk::result(result), is_json(stored));
    if let Err(error) = messages.engine.log.answer(to, content_type, payload).await {
        tracing::warn!(sequence = stored.sequence, %error, "command was not answered");
    }
}

/// Whether a subject is an inbox, or under what is kept for the sender's answers: whoever may ask
/// may not have us publish anywhere else.
fn may_be_answered(to: &str, sender: &Sender) -> bool {
    let own = subject::answers(&sender.brand, &sender.service);
    let is_one = to.len() <= ANSWER_TO_LEN_MAX
        && to.split('.').all(|token| {
            !token.is_empty() && !token.contains(['*', '>']) && !token.contains(char::is_whitespace)
        });
    is_one && (to.starts_with("_INBOX.") || to.starts_with(&own))
}

fn is_json(stored: &Stored) -> bool {
    stored
        .header(header::CONTENT_TYPE)
        .is_some_and(|kind| kind.split(';').next().unwrap_or(kind).trim() == JSON)
}

/// Commands and answers as bytes: protobuf, or JSON where the command says so.
struct Formats {
    request: prost_reflect::MessageDescriptor,
    result: prost_reflect::MessageDescriptor,
}

impl Formats {
    fn new() -> anyhow::Result<Self> {
        let pool = DescriptorPool::decode(DESCRIPTORS)?;
        let known = |name: &str| {
            pool.get_message_by_name(name)
                .ok_or_else(|| anyhow::anyhow!("{name} is not described"))
        };
        Ok(Self {
            request: known("casement.message.v1.SendMessageRequest")?,
            result: known("casement.message.v1.SendResult")?,
        })
    }

    fn read(&self, stored: &Stored) -> Result<api::SendMessageRequest, Status> {
        let unreadable = |problem: String| {
            let text = format!("is no casement.message.v1.SendMessageRequest: {problem}");
            bad_field("command", text)
        };
        if !is_json(stored) {
            return api::SendMessageRequest::decode(stored.payload.clone())
                .map_err(|error| unreadable(error.to_string()));
        }
        // By way of a tree: straight from the text, numbers kept exactly look like maps.
        let json: serde_json::Value = serde_json::from_slice(&stored.payload)
            .map_err(|error| unreadable(error.to_string()))?;
        let message = DynamicMessage::deserialize(self.request.clone(), json)
            .map_err(|error| unreadable(error.to_string()))?;
        api::SendMessageRequest::decode(message.encode_to_vec().as_slice())
            .map_err(|error| unreadable(error.to_string()))
    }

    fn write(&self, result: &api::SendResult, as_json: bool) -> (&'static str, Vec<u8>) {
        let protobuf = result.encode_to_vec();
        if !as_json {
            return ("application/protobuf", protobuf);
        }
        let message = DynamicMessage::decode(self.result.clone(), protobuf.as_slice())
            .expect("what was encoded by its description is decoded by it");
        let mut json = serde_json::Serializer::new(Vec::new());
        let options = SerializeOptions::new();
        message
            .serialize_with_options(&mut json, &options)
            .expect("a message of ours is JSON");
        (JSON, json.into_inner())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_goes_to_the_senders_own_subjects_alone() {
        let subject = "casement.commands.send.shop.15550001111.crm";
        let sender = subject::parse_send_command(subject).unwrap();
        for (to, may) in [
            ("_INBOX.abc.1", true),
            ("casement.answers.shop.crm.7", true),
            ("casement.answers.shop.other.7", false),
            ("casement.answers.shop.crm", false),
            ("casement.events.message.03.15550001111.x", false),
            ("append.casement.raw.whatsapp", false),
            ("$JS.API.STREAM.DELETE.EVENTS", false),
            ("_INBOX.>", false),
            ("_INBOX..x", false),
            ("_INBOX.a b", false),
        ] {
            assert_eq!(may_be_answered(to, &sender), may, "{to}");
        }
    }

    #[test]
    fn a_command_is_read_the_same_as_protobuf_and_as_json() {
        let formats = Formats::new().unwrap();
        let request = api::SendMessageRequest {
            number: "+15550001111".to_owned(),
            request_id: "r1".to_owned(),
            ..api::SendMessageRequest::default()
        };
        let stored = |content_type: &str, payload: Vec<u8>| Stored {
            stream: stream::COMMANDS.to_owned(),
            incarnation: "1a".to_owned(),
            sequence: 1,
            subject: "casement.commands.send.shop.15550001111.crm".to_owned(),
            stored_at: Timestamp::UNIX_EPOCH,
            headers: vec![("content-type".to_owned(), content_type.to_owned())],
            payload: payload.into(),
        };
        let protobuf = stored("application/protobuf", request.encode_to_vec());
        let json = stored(
            "application/json; charset=utf-8",
            br#"{"number": "+15550001111", "requestId": "r1"}"#.to_vec(),
        );
        for stored in [protobuf, json] {
            assert_eq!(formats.read(&stored).unwrap(), request);
        }
        for nonsense in ["{", r#"{"nonsense": 1}"#] {
            let refused = formats.read(&stored(JSON, nonsense.into())).unwrap_err();
            assert_eq!(refused.code(), Code::InvalidArgument);
        }
    }
}
