//! Colleagues at work, with a real broker and an archive that follows it.

use std::sync::Arc;
use std::time::Duration;

use casement_domain::id::{BusinessNumber, CustomerId};
use casement_event::subject::{self, Family, stream};
use casement_event::{Event, Record, Uuid, convert::timestamp, v1};
use casement_event_log::{Config, Expect, Log, Position};
use casement_proto::conversation::v1 as proto;
use casement_proto::conversation::v1::conversation_service_server::ConversationService as _;
use casement_shell::auth::{Caller, Scope};
use casement_shell::grpc::reason;
use casement_shell::health::Readiness;
use casement_shell::{Clock as _, ManualClock, SystemClock};
use casement_testkit::{NatsServer, eventually};
use jiff::{SignedDuration, Timestamp};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;
use tonic::{Code, Request, Status};
use tonic_types::StatusExt as _;

use crate::archive::Archiver;
use crate::desk::Desk;
use crate::fixture;
use crate::grpc::Backend;
use crate::grpc::conversation::ConversationApi;
use crate::progress::Progress;
use crate::store::{SharedStore, Sqlite};

const NUMBER: &str = "+15550001111";

struct World {
    log: Log,
    clock: ManualClock,
    api: ConversationApi,
    stopping: CancellationToken,
    _server: NatsServer,
    _folder: TempDir,
}

impl Drop for World {
    fn drop(&mut self) {
        self.stopping.cancel();
    }
}

async fn world() -> World {
    let server = NatsServer::start().await;
    let config = Config {
        servers: server.url(),
        accept_unsafe_broker: true,
        ..Config::default()
    };
    let log = Log::connect(&config).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let clock = ManualClock::new(SystemClock::new().now());
    let stopping = CancellationToken::new();
    let api = archived(&log, &clock, &stopping, &folder, "one").await;
    World {
        log,
        clock,
        api,
        stopping,
        _server: server,
        _folder: folder,
    }
}

/// The service over a new archive of what stands on the log, kept up to date.
async fn archived(
    log: &Log,
    clock: &ManualClock,
    stopping: &CancellationToken,
    folder: &TempDir,
    name: &str,
) -> ConversationApi {
    let store = Sqlite::open(&folder.path().join(name), 2, crate::fixture::masters())
        .await
        .unwrap();
    let store: SharedStore = Arc::new(store);
    let (progress, tellers) = Progress::new(Duration::from_secs(10));
    for (stream, teller) in tellers {
        let archiver = Archiver {
            stream,
            log: log.clone(),
            store: Arc::clone(&store),
            clock: clock.shared(),
            teller,
            latch: Readiness::new().latch("archive"),
            lag_alarm: SignedDuration::from_mins(5),
        };
        tokio::spawn(archiver.run(stopping.clone()));
    }
    let desk = Desk {
        log: log.clone(),
        store: Arc::clone(&store),
        progress: progress.clone(),
        clock: clock.shared(),
    };
    let backend = Backend {
        store,
        progress,
        counted: Progress::new(std::time::Duration::from_millis(50)).0,
        clock: clock.shared(),
    };
    ConversationApi::new(backend, desk, stopping.clone())
}

fn by<T>(brand: &str, message: T) -> Request<T> {
    let mut request = Request::new(message);
    let caller = Caller::internal("desk", brand);
    request.extensions_mut().insert(caller);
    request
}

fn request<T>(message: T) -> Request<T> {
    by("default", message)
}

fn note(text: &str) -> proto::AddNoteRequest {
    proto::AddNoteRequest {
        number: NUMBER.to_owned(),
        customer_id: "c1".to_owned(),
        text: text.to_owned(),
        author: "ana".to_owned(),
        ..Default::default()
    }
}

fn assign(assignee: &str, etag: &str) -> proto::AssignRequest {
    proto::AssignRequest {
        number: NUMBER.to_owned(),
        customer_id: "c1".to_owned(),
        assignee: assignee.to_owned(),
        author: assignee.to_owned(),
        etag: etag.to_owned(),
        ..Default::default()
    }
}

fn assignee_of(status: &Status) -> Option<String> {
    let info = status.get_details_error_info()?;
    info.metadata.get("assignee").cloned()
}

impl World {
    async fn append(&self, customer: &str, family: Family, event: impl Into<Event>) -> Position {
        let number = BusinessNumber::parse(NUMBER).unwrap();
        let customer = CustomerId::parse(customer).unwrap();
        let subject = subject::conversation(family, &number, &customer);
        self.append_on(subject, event).await
    }

    async fn append_on(&self, subject: String, event: impl Into<Event>) -> Position {
        let source = "casement/test";
        let record = Record::new(subject, Uuid::new_v4(), source, self.clock.now(), event);
        self.log.append(record, Expect::Anything).await.unwrap()
    }

    /// The customer writes, and the archive knows.
    async fn wrote(&self, customer: &str) -> String {
        let message = v1::InboundMessageReceived {
            conversation: Some(v1::Conversation {
                customer_id: customer.to_owned(),
                ..fixture::conversation()
            }),
            times: Some(v1::Times {
                event_time: Some(timestamp(self.clock.now())),
                ..Default::default()
            }),
            kind: "text".to_owned(),
            text: "Hello?".to_owned(),
            ..Default::default()
        };
        let position = self.append(customer, Family::Inbound, message).await;
        let position = position.to_string();
        self.api.backend.progress.reach(&position).await.unwrap();
        position
    }

    async fn add(&self, note: proto::AddNoteRequest) -> Result<proto::AddNoteResponse, Status> {
        let answer = self.api.add_note(request(note)).await?;
        Ok(answer.into_inner())
    }

    async fn get(&self, not_before: &str) -> proto::Conversation {
        let get = proto::GetConversationRequest {
            number: NUMBER.to_owned(),
            customer_id: "c1".to_owned(),
            not_before: not_before.to_owned(),
        };
        let answer = self.api.get_conversation(request(get)).await.unwrap();
        answer.into_inner().conversation.unwrap()
    }

    async fn notes_on_the_log(&self) -> usize {
        let mut from = 1;
        let mut count = 0;
        let filter = Family::Note.filter();
        while let Some(stored) = self.log.next(stream::EVENTS, &filter, from).await.unwrap() {
            from = stored.sequence + 1;
            count += 1;
        }
        count
    }
}

#[tokio::test]
async fn a_note_is_added_to_a_locked_conversation_and_stands_in_its_place() {
    let world = world().await;
    world.wrote("c1").await;
    let before = world.get("").await;
    assert_eq!(before.status(), proto::ConversationStatus::Locked);
    let added = world
        .add(note("Wants a refund, @bo?\n/label refund"))
        .await
        .unwrap();
    let written = added.note.unwrap();
    assert_eq!(written.author, "ana");
    assert_eq!(written.mentions, ["bo"]);
    assert_eq!(written.commands, ["/label refund"]);
    let told = added.conversation.unwrap();
    let known = world.get(&added.position).await;
    assert_eq!(known, told, "what is told at once is what is read later");
    assert_eq!(
        (known.note_count, known.labels),
        (1, vec!["refund".to_owned()])
    );
    assert_ne!(known.etag, before.etag);
    world.wrote("c1").await;

    let timeline = proto::GetTimelineRequest {
        number: NUMBER.to_owned(),
        customer_id: "c1".to_owned(),
        ..Default::default()
    };
    let timeline = world.api.get_timeline(request(timeline)).await.unwrap();
    let items = timeline.into_inner().items;
    let types: Vec<_> = items.iter().map(|item| item.event_type.as_str()).collect();
    let inbound = "casement.events.v1.InboundMessageReceived";
    assert_eq!(types, [inbound, "casement.events.v1.NoteAdded", inbound]);
    assert!(
        items[1].summary.contains("Wants a refund"),
        "{:?}",
        items[1]
    );

    // Who wrote what, no header tells.
    let filter = Family::Note.filter();
    let stored = world.log.next(stream::EVENTS, &filter, 1).await.unwrap();
    let headers = format!("{:?}", stored.unwrap().headers);
    assert!(
        !headers.contains("ana") && !headers.contains("refund"),
        "{headers}"
    );
}

#[tokio::test]
async fn of_many_who_take_a_conversation_at_once_one_gets_it_and_the_others_learn_who() {
    let world = world().await;
    world.wrote("c1").await;
    let names = ["ana", "bo", "cy", "di", "ed", "flo"];
    let takes = names.map(|name| world.api.assign(request(assign(name, ""))));
    let (won, lost): (Vec<_>, Vec<_>) = futures::future::join_all(takes)
        .await
        .into_iter()
        .partition(Result::is_ok);
    let [won] = won.as_slice() else {
        panic!("{} have it", won.len())
    };
    let won = won.as_ref().unwrap().get_ref();
    let owner = won.conversation.as_ref().unwrap().assignee.clone();
    assert_eq!(lost.len(), names.len() - 1);
    for refused in lost {
        let refused = refused.unwrap_err();
        assert_eq!(refused.code(), Code::FailedPrecondition);
        assert_eq!(reason(&refused).as_deref(), Some("ASSIGNED_TO_ANOTHER"));
        assert_eq!(assignee_of(&refused).as_deref(), Some(owner.as_str()));
    }
    let present = world.get(&won.position).await;
    assert_eq!(present.assignee, owner);
    assert_eq!(world.notes_on_the_log().await, 1);

    // Who has seen that may take it; who has seen less may not.
    let taken = world
        .api
        .assign(request(assign("gus", &present.etag)))
        .await;
    let taken = taken.unwrap().into_inner().conversation.unwrap();
    assert_eq!(taken.assignee, "gus");
    let late = world
        .api
        .assign(request(assign("hal", &present.etag)))
        .await;
    let late = late.unwrap_err();
    assert_eq!(late.code(), Code::Aborted);
    assert_eq!(reason(&late).as_deref(), Some("CONVERSATION_CHANGED"));
    assert_eq!(assignee_of(&late).as_deref(), Some("gus"));
    let freed = world.api.assign(request(proto::AssignRequest {
        author: "gus".to_owned(),
        ..assign("", &taken.etag)
    }));
    let freed = freed.await.unwrap().into_inner().conversation.unwrap();
    assert_eq!(freed.assignee, "");
}

#[tokio::test]
async fn what_is_asked_for_twice_under_one_request_id_is_done_once() {
    let world = world().await;
    world.wrote("c1").await;
    let asked = proto::AddNoteRequest {
        request_id: "r1".to_owned(),
        ..note("Called back.")
    };
    let both = futures::future::join(world.add(asked.clone()), world.add(asked.clone())).await;
    let (one, other) = (both.0.unwrap(), both.1.unwrap());
    assert_eq!(one.note, other.note);
    assert_eq!(one.position, other.position);
    assert_eq!(world.notes_on_the_log().await, 1);
    let differing = proto::AddNoteRequest {
        text: "Called twice.".to_owned(),
        ..asked
    };
    let refused = world.add(differing).await.unwrap_err();
    assert_eq!(refused.code(), Code::AlreadyExists);
    assert_eq!(reason(&refused).as_deref(), Some("REQUEST_ID_REUSED"));

    // A close that was repeated does not close what the customer has reopened.
    let close = proto::CloseRequest {
        number: NUMBER.to_owned(),
        customer_id: "c1".to_owned(),
        author: "ana".to_owned(),
        request_id: "r2".to_owned(),
        ..Default::default()
    };
    let closed = world.api.close(request(close.clone())).await.unwrap();
    assert!(closed.into_inner().conversation.unwrap().closed);
    world.wrote("c1").await;
    let repeated = world.api.close(request(close)).await.unwrap();
    assert!(!repeated.into_inner().conversation.unwrap().closed);
}

#[tokio::test]
async fn a_conversation_stays_closed_and_read_until_the_customer_writes() {
    let world = world().await;
    world.wrote("c1").await;
    let seen = world.get("").await;
    assert!(seen.unread && !seen.closed);
    let read = proto::MarkReadRequest {
        number: NUMBER.to_owned(),
        customer_id: "c1".to_owned(),
        ..Default::default()
    };
    let read = world
        .api
        .mark_read(request(read))
        .await
        .unwrap()
        .into_inner();
    assert!(!read.conversation.unwrap().unread);
    let close = |through_time| proto::CloseRequest {
        number: NUMBER.to_owned(),
        customer_id: "c1".to_owned(),
        through_time,
        ..Default::default()
    };
    let closed = world
        .api
        .close(request(close(None)))
        .await
        .unwrap()
        .into_inner();
    let closed = closed.conversation.unwrap();
    assert!(closed.closed && !closed.unread);
    // The token's name, since nobody was named.
    assert_eq!(closed.closer, "desk");
    let again = world
        .api
        .close(request(close(None)))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(
        again.conversation.unwrap().etag,
        closed.etag,
        "nothing to do"
    );

    let position = world.wrote("c1").await;
    let present = world.get(&position).await;
    assert!(!present.closed && present.unread);
    assert_eq!(present.closer, "");
    // A close by somebody who has not seen that yet leaves it open.
    let late = world
        .api
        .close(request(close(seen.heard_time)))
        .await
        .unwrap();
    assert!(!late.into_inner().conversation.unwrap().closed);
    let reopened = async || {
        let reopen = proto::ReopenRequest {
            number: NUMBER.to_owned(),
            customer_id: "c1".to_owned(),
            ..Default::default()
        };
        let answer = world.api.reopen(request(reopen)).await.unwrap();
        answer.into_inner().conversation.unwrap()
    };
    let closed = world
        .api
        .close(request(close(None)))
        .await
        .unwrap()
        .into_inner();
    assert!(closed.conversation.unwrap().closed);
    assert!(!reopened().await.closed);
}

#[tokio::test]
async fn a_note_with_a_command_that_is_refused_is_not_added() {
    let world = world().await;
    world.wrote("c1").await;
    world.add(note("/assign bo")).await.unwrap();
    let refused = world.add(note("Mine.\n/assign me")).await.unwrap_err();
    assert_eq!(assignee_of(&refused).as_deref(), Some("bo"));
    let unknown = world.add(note("/asign me")).await.unwrap_err();
    assert_eq!(unknown.code(), Code::InvalidArgument);
    assert_eq!(reason(&unknown).as_deref(), Some("UNKNOWN_COMMAND"));
    assert!(
        unknown.message().contains("/assign NAME"),
        "{}",
        unknown.message()
    );
    let long = world.add(note(&"x".repeat(4_097))).await.unwrap_err();
    assert_eq!(long.code(), Code::InvalidArgument);
    assert_eq!(world.notes_on_the_log().await, 1);
    let etag = world.get("").await.etag;
    let taken = world
        .add(proto::AddNoteRequest {
            etag,
            ..note("//mine, says bo\n/unassign\n/assign me\n/read\n/close")
        })
        .await
        .unwrap();
    let conversation = taken.conversation.unwrap();
    assert_eq!(conversation.assignee, "ana");
    assert!(conversation.closed && !conversation.unread);
    assert!(taken.note.unwrap().text.starts_with("/mine"));
}

#[tokio::test]
async fn what_the_log_has_forgotten_is_known_and_an_archive_made_anew_knows_as_much() {
    let world = world().await;
    world.wrote("c1").await;
    let first = world.add(note("/assign bo\n/label vip")).await.unwrap();
    let known = world.get(&first.position).await;
    // A second archive of the same log, from its beginning.
    let (folder, clock) = (tempfile::tempdir().unwrap(), &world.clock);
    let anew = archived(&world.log, clock, &world.stopping, &folder, "two").await;
    let get = proto::GetConversationRequest {
        number: NUMBER.to_owned(),
        customer_id: "c1".to_owned(),
        not_before: first.position.clone(),
    };
    let answer = anew.get_conversation(request(get)).await.unwrap();
    assert_eq!(answer.into_inner().conversation.unwrap(), known);

    let position: Position = first.position.parse().unwrap();
    let log = &world.log;
    log.purge_up_to(stream::EVENTS, position.sequence + 1)
        .await
        .unwrap();
    eventually("the log has forgotten", async || {
        world.notes_on_the_log().await == 0
    })
    .await;
    let refused = world
        .api
        .assign(request(assign("ana", "")))
        .await
        .unwrap_err();
    assert_eq!(assignee_of(&refused).as_deref(), Some("bo"));
    let second = world
        .add(note("/unlabel vip\n/label refund"))
        .await
        .unwrap();
    let known = second.conversation.unwrap();
    assert_eq!((known.note_count, known.assignee.as_str()), (2, "bo"));
    assert_eq!(known.labels, ["refund"]);
}

#[tokio::test]
async fn brands_and_scopes_are_kept_apart() {
    let world = world().await;
    world.wrote("c1").await;
    let other = world
        .api
        .add_note(by("other", note("Hm.")))
        .await
        .unwrap_err();
    assert_eq!(other.code(), Code::NotFound);
    let unknown = proto::AddNoteRequest {
        customer_id: "c2".to_owned(),
        ..note("Hm.")
    };
    assert_eq!(world.add(unknown).await.unwrap_err().code(), Code::NotFound);
    let mut reader = request(note("Hm."));
    let caller = Caller {
        scopes: [Scope::Read, Scope::Send].into(),
        ..Caller::internal("desk", "default")
    };
    reader.extensions_mut().insert(caller);
    let refused = world.api.add_note(reader).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied);
    world.add(note("@bo, see?")).await.unwrap();
    let mentions = async |brand: &str| {
        let list = proto::ListMentionsRequest {
            colleague: "@Bo".to_owned(),
            ..Default::default()
        };
        let answer = world.api.list_mentions(by(brand, list)).await.unwrap();
        answer.into_inner().notes
    };
    eventually("the note is found", async || {
        mentions("default").await.len() == 1
    })
    .await;
    assert_eq!(mentions("*").await[0].text, "@bo, see?");
    assert_eq!(mentions("other").await, []);
    assert_eq!(world.notes_on_the_log().await, 1);
}

#[tokio::test]
async fn a_note_on_a_customer_who_proved_to_be_another_is_added_there() {
    let world = world().await;
    let number = v1::Number {
        number: "15550001111".to_owned(),
        portfolio_id: "p1".to_owned(),
        brand_id: "default".to_owned(),
        ..Default::default()
    };
    let recorded = v1::NumberRecorded {
        number: Some(number),
        ..Default::default()
    };
    world
        .append_on(subject::account("number", "15550001111"), recorded)
        .await;
    world.wrote("c0").await;
    world.wrote("c1").await;
    let moved = v1::MovedTo {
        conversation: Some(fixture::conversation()),
        survivor_customer_id: "c0".to_owned(),
        times: Some(v1::Times {
            event_time: Some(timestamp(Timestamp::UNIX_EPOCH)),
            ..Default::default()
        }),
        ..Default::default()
    };
    world.append("c1", Family::Inbound, moved).await;
    let added = world.add(note("The same person.")).await.unwrap();
    assert_eq!(added.note.unwrap().customer_id, "c0");
    let conversation = added.conversation.unwrap();
    assert_eq!(
        (conversation.customer_id.as_str(), conversation.note_count),
        ("c0", 1)
    );
}
