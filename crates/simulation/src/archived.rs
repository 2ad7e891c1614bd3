//! What the archive must show in the end: all that stands on the log, once and in order, in chains
//! that hold, and read models as somebody has them who archives the same log from the start.
//!
//! Rows are read past the role, by SQL of our own.

use std::collections::BTreeMap;
use std::sync::Arc;

use casement_audit_projector::{
    ARCHIVED_STREAMS, AuditApi, ConversationApi, MessageQueryApi, Role, verify,
};
use casement_event::{Event, Stored, v1};
use casement_event_log::Log;
use casement_proto::audit::v1::RebuildReadModelsRequest;
use casement_proto::audit::v1::audit_service_client::AuditServiceClient;
use casement_proto::audit::v1::audit_service_server::AuditServiceServer;
use casement_proto::conversation::v1::ListConversationsRequest;
use casement_proto::conversation::v1::conversation_service_client::ConversationServiceClient;
use casement_proto::conversation::v1::conversation_service_server::ConversationServiceServer;
use casement_proto::message::v1::message_query_service_client::MessageQueryServiceClient;
use casement_proto::message::v1::message_query_service_server::MessageQueryServiceServer;
use casement_proto::message::v1::{ListMessagesRequest, MessageFilter};
use casement_secrets::keys::MasterKeys;
use casement_shell::auth::Caller;
use casement_shell::config::Secret;
use tonic::Request;

use crate::check::{all, event, lives};
use crate::facts::NUMBER;
use crate::store::Database;

const HEADS: &str = "SELECT stream, last_sequence FROM archive_heads";

const BUILDING: &str =
    "SELECT COUNT(*) FROM read_models WHERE building <> '' OR ask_count > served_ask";

const ROWS: &str = "\
SELECT stream, incarnation, sequence, subject, event_type, event_id, stored_time_ns
FROM archive ORDER BY stream, rowid";

const ENDED: &str = "SELECT message_id, outcome FROM messages";

/// A row of the archive, or what it should be.
type Row = (String, String, i64, String, String, String, i64);

/// The keys of the archive.
pub(crate) fn masters() -> Arc<MasterKeys> {
    let text = Secret::from_value("the master key of an archive that nobody keeps");
    let keys = MasterKeys::read("secrets.master_key", Some(&text), "customers");
    Arc::new(keys.expect("a key of enough text"))
}

/// A role that answers.
#[derive(Debug, Clone)]
pub(crate) struct Answers {
    conversations: ConversationServiceClient<ConversationServiceServer<ConversationApi>>,
    messages: MessageQueryServiceClient<MessageQueryServiceServer<MessageQueryApi>>,
    audit: AuditServiceClient<AuditServiceServer<AuditApi>>,
}

fn by<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    let caller = Caller::internal("simulation", "default");
    request.extensions_mut().insert(caller);
    request
}

impl Answers {
    pub(crate) fn of(role: &Role) -> Self {
        let (conversations, audit, messages) = role.services();
        Self {
            conversations: ConversationServiceClient::new(conversations),
            messages: MessageQueryServiceClient::new(messages),
            audit: AuditServiceClient::new(audit),
        }
    }

    /// Has read models made anew. Nobody minds if nothing comes of it.
    pub(crate) async fn rebuild(mut self) {
        let asked = self
            .audit
            .rebuild_read_models(by(RebuildReadModelsRequest {}));
        drop(asked.await);
    }

    /// Conversations and messages, by their names.
    async fn models(mut self) -> Result<BTreeMap<String, String>, tonic::Status> {
        let mut models = BTreeMap::new();
        let request = by(ListConversationsRequest::default());
        let answer = self.conversations.list_conversations(request).await?;
        for mut row in answer.into_inner().conversations {
            // Which of two streams was archived last is no part of what they amount to.
            row.position.clear();
            models.insert(
                format!("conversation {}", row.customer_id),
                format!("{row:?}"),
            );
        }
        let request = by(ListMessagesRequest {
            filter: Some(MessageFilter {
                number: format!("+{NUMBER}"),
                ..MessageFilter::default()
            }),
            ..ListMessagesRequest::default()
        });
        let answer = self.messages.list_messages(request).await?;
        for mut row in answer.into_inner().messages {
            row.position.clear();
            models.insert(format!("message {}", row.message_id), format!("{row:?}"));
        }
        Ok(models)
    }
}

/// Whether an archive has all that stands on the log, and nothing is being made anew.
pub(crate) async fn is_complete(database: &Database, log: &Log) -> bool {
    let heads: Vec<(String, i64)> = database.read(HEADS).await;
    for stream in ARCHIVED_STREAMS {
        let state = log.state(stream).await.expect("a log without faults");
        let head = heads.iter().find(|(of, _)| of == stream);
        if head.map_or(0, |(_, sequence)| sequence.unsigned_abs()) != state.last_sequence {
            return false;
        }
    }
    let building: Vec<(i64,)> = database.read(BUILDING).await;
    building == [(0,)]
}

/// Returns what does not hold of an archive. `served` answers from it, `fresh` from one that was begun
/// in the end.
pub(crate) async fn check(
    database: &Database,
    log: &Log,
    served: Answers,
    fresh: Answers,
) -> Vec<String> {
    let mut problems = Vec::new();
    let mut messages = Vec::new();
    let archived: Vec<Row> = database.read(ROWS).await;
    for stream in ARCHIVED_STREAMS {
        let stored = all(log, stream).await;
        let wanted: Vec<Row> = stored.iter().map(row).collect();
        let found = archived.iter().filter(|row| row.0 == stream);
        if !wanted.iter().eq(found.clone()) {
            let odd = wanted.iter().find(|row| !archived.contains(row));
            let other = found.clone().find(|row| !wanted.contains(row));
            problems.push(format!(
                "archive of {stream} is not its log: {} rows of {}, {:?} is missing, {:?} too much",
                found.count(),
                wanted.len(),
                odd.map(|row| row.2),
                other.map(|row| row.2),
            ));
        }
        if stream == casement_event::subject::stream::MESSAGES {
            messages = stored;
        }
    }
    let reports = database
        .on_the_spot(verify(&database.path, masters()))
        .await;
    match reports {
        Err(error) => problems.push(format!("the archive cannot be verified: {error:#}")),
        Ok(reports) => {
            for report in reports {
                let stream = &report.stream;
                let found = report.findings.iter();
                problems.extend(found.map(|finding| format!("chain of {stream}: {finding}")));
                let gaps = report.gaps.iter();
                problems.extend(gaps.map(|gap| format!("chain of {stream}: a gap: {gap:?}")));
            }
        }
    }
    let ended: Vec<(String, i64)> = database.read(ENDED).await;
    outcomes(&mut problems, &messages, &ended.into_iter().collect());
    match (served.models().await, fresh.models().await) {
        (Ok(served), Ok(fresh)) => differences(&mut problems, &served, &fresh),
        (served, fresh) => problems.push(format!(
            "the archive does not answer: {:?}, {:?}",
            served.err(),
            fresh.err()
        )),
    }
    problems
}

fn row(stored: &Stored) -> Row {
    let id = stored.id().map(|id| id.to_string());
    (
        stored.stream.clone(),
        stored.incarnation.clone(),
        stored.sequence.cast_signed(),
        stored.subject.clone(),
        stored.event_type().to_owned(),
        id.unwrap_or_default(),
        i64::try_from(stored.stored_at.as_nanosecond()).unwrap_or(i64::MAX),
    )
}

/// Every message is listed with the end that the log tells.
fn outcomes(problems: &mut Vec<String>, messages: &[Stored], listed: &BTreeMap<String, i64>) {
    for (id, life) in lives(messages) {
        let mut ends = life.iter().filter_map(|stored| match event(stored) {
            Event::MessageEnded(ended) => Some(ended.outcome()),
            Event::MessageExpired(_) => Some(v1::MessageOutcome::Expired),
            Event::MessageCancelled(_) => Some(v1::MessageOutcome::Cancelled),
            _ => None,
        });
        let told = ends.next().map(|outcome| i64::from(i32::from(outcome)));
        let found = listed.get(&id.to_string()).copied();
        if found != told {
            problems.push(format!(
                "message {id} is listed with outcome {found:?}, and ended with {told:?}"
            ));
        }
    }
}

fn differences(
    problems: &mut Vec<String>,
    served: &BTreeMap<String, String>,
    fresh: &BTreeMap<String, String>,
) {
    for name in served.keys().chain(fresh.keys()) {
        match (served.get(name), fresh.get(name)) {
            (Some(served), Some(fresh)) if served == fresh => {}
            (served, fresh) => problems.push(format!(
                "{name} is served as {served:?}, and made anew as {fresh:?}"
            )),
        }
    }
}
