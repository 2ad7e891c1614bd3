//! The drill: a backup is taken while Casement works, everything is destroyed, and what is restored
//! is as it was and goes on. Both halves at once, and each from another time.

use std::process::Output;
use std::time::Duration;

use casement_event::subject::stream;
use casement_event::v1;
use casement_event_log::snapshot::{SAVED_STREAMS, SnapshotError, Snapshots};
use casement_event_log::{Ancestor, Log};
use casement_proto::audit::v1::{ChainReport, ListEventsRequest, VerifyChainRequest};
use casement_proto::conversation::v1::{
    Conversation, GetConversationRequest, GetTimelineRequest, TimelineItem,
};
use casement_proto::message::v1::{Message, MessageState};
use casement_proto::window::v1::Window;
use casement_testkit::{Postgres, eventually};
use casement_tests::{
    Clients, NUMBER, Options, PHONE_NUMBER_ID, Role, ShippedBroker, Stack, free_form,
};

/// Who has a window.
const OPEN: &str = "+15550002222";

/// For whom a message is held.
const SILENT: &str = "US.13491208655302741918";

/// Who writes while the backup is taken.
const BUSY: &str = "+15550003333";

/// Messages of who writes meanwhile.
const BUSY_COUNT: usize = 150;

/// Where the archive is.
enum Place {
    File,
    Server(Box<Postgres>, String),
}

impl Place {
    async fn server() -> Self {
        let server = Postgres::start().await;
        let url = server.fresh_database().await;
        Self::Server(Box::new(server), url)
    }

    async fn stack(&self) -> Stack {
        let database_url = match self {
            Self::File => None,
            Self::Server(_, url) => Some(url.clone()),
        };
        let options = Options {
            database_url,
            ..Options::default()
        };
        Stack::with(options).await
    }

    async fn destroy(&self, stack: &Stack) {
        match self {
            Self::File => {
                for suffix in ["", "-wal", "-shm"] {
                    let mut path = stack.archive().into_os_string();
                    path.push(suffix);
                    // The last two come and go.
                    let _ = std::fs::remove_file(path);
                }
                assert!(!stack.archive().exists());
            }
            Self::Server(server, url) => {
                let all = "DROP SCHEMA public CASCADE; CREATE SCHEMA public";
                server.sql(url, all).await;
            }
        }
    }
}

/// Everything about a conversation.
#[derive(Debug, Clone, PartialEq)]
struct Seen {
    conversation: Conversation,
    timeline: Vec<TimelineItem>,
    window: Option<Window>,
    message: Message,
}

async fn timeline(clients: &Clients, customer_id: &str) -> Vec<TimelineItem> {
    let request = GetTimelineRequest {
        number: NUMBER.to_owned(),
        customer_id: customer_id.to_owned(),
        page_size: 500,
        ..Default::default()
    };
    let answer = clients.conversations.clone().get_timeline(request).await;
    answer.expect("a timeline").into_inner().items
}

/// Looks once the timeline holds a type of event. Positions are left out: they name lives.
async fn look(clients: &Clients, who: &str, message_id: &str, until: &str) -> Seen {
    let mut message = clients.message(message_id).await.expect("a message");
    message.position = String::new();
    let customer_id = message.customer_id.clone();
    let timeline = eventually(&format!("{until} is archived"), async || {
        let items = timeline(clients, &customer_id).await;
        let is_there = items.iter().any(|item| item.event_type.ends_with(until));
        is_there.then_some(items).ok_or("not yet")
    })
    .await;
    let request = GetConversationRequest {
        number: NUMBER.to_owned(),
        customer_id,
        ..Default::default()
    };
    let mut conversations = clients.conversations.clone();
    let answer = conversations.get_conversation(request).await;
    let mut conversation = answer
        .expect("a conversation")
        .into_inner()
        .conversation
        .expect("it is in the answer");
    conversation.position = String::new();
    let window = clients.window(who).await.ok().map(|window| Window {
        position: String::new(),
        ..window
    });
    Seen {
        conversation,
        timeline,
        window,
        message,
    }
}

/// A customer writes and is answered. Returns the answer's id.
async fn talk(stack: &Stack, clients: &Clients, phone: &str) -> String {
    let customer = stack.customer(phone);
    stack.says(&customer, "Hello");
    clients.open_window(phone).await;
    let answer = clients.send(phone, free_form("Hi!")).await;
    let answer = clients
        .ended(&answer.expect("an accepted send").message_id)
        .await;
    assert_eq!(answer.outcome(), v1::MessageOutcome::Delivered);
    answer.message_id
}

async fn run(stack: &Stack, args: &[&str]) -> Output {
    let mut command = stack.program();
    command
        .args(args)
        .arg("--config")
        .arg(stack.path("casement.toml"));
    let run = tokio::task::spawn_blocking(move || command.output());
    run.await.expect("the task ends").expect("the program runs")
}

fn said(output: &Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    text(&output.stdout) + &text(&output.stderr)
}

async fn succeed(stack: &Stack, args: &[&str]) -> String {
    let output = run(stack, args).await;
    assert!(output.status.success(), "{args:?}: {}", said(&output));
    said(&output)
}

async fn fail(stack: &Stack, args: &[&str]) -> String {
    let output = run(stack, args).await;
    assert!(!output.status.success(), "{args:?}: {}", said(&output));
    said(&output)
}

/// Kills all of it, and leaves an empty broker behind.
async fn destroy(stack: &mut Stack, place: &Place) {
    for role in Role::ALL {
        stack.kill9(role, 0);
    }
    stack.nats.kill();
    std::fs::remove_dir_all(stack.nats.store_dir()).expect("the broker's store");
    stack.nats.start_again().await;
    place.destroy(stack).await;
}

async fn start(stack: &mut Stack) {
    for role in Role::ALL {
        stack.start_role(role, 0).await;
    }
}

async fn verified(clients: &Clients) {
    let reports = chains(clients, "").await;
    assert!(reports.iter().all(|report| report.intact), "{reports:#?}");
    assert!(!reports.is_empty());
}

async fn chains(clients: &Clients, stream: &str) -> Vec<ChainReport> {
    let request = VerifyChainRequest {
        stream: stream.to_owned(),
    };
    let verified = clients.audit.clone().verify_chain(request).await;
    verified.expect("a verification").into_inner().reports
}

/// How many messages of a customer are archived.
async fn archived(clients: &Clients, customer_id: &str) -> usize {
    let request = ListEventsRequest {
        stream: stream::EVENTS.to_owned(),
        event_type: "casement.events.v1.InboundMessageReceived".to_owned(),
        customer_id: customer_id.to_owned(),
        page_size: 1000,
        ..Default::default()
    };
    let events = clients.audit.clone().list_events(request).await;
    events.expect("events").into_inner().events.len()
}

async fn busy_customer(clients: &Clients) -> String {
    clients.open_window(BUSY).await.customer_id
}

async fn drill(place: Place) {
    let mut stack = place.stack().await;
    let clients = stack.clients();
    let answered = talk(&stack, &clients, OPEN).await;
    let silent = stack.nameless_customer(SILENT);
    let held = clients.send(SILENT, free_form("Are you there?")).await;
    let held = held.expect("an accepted send").message_id;
    let is_held = |message: &Message| message.state() == MessageState::Held;
    clients.until(&held, "is held", is_held).await;
    let open_before = look(&clients, OPEN, &answered, "MessageEnded").await;
    let held_before = look(&clients, SILENT, &held, "MessageHeld").await;

    let busy = stack.customer(BUSY);
    stack.says(&busy, "0");
    let busy_id = busy_customer(&clients).await;
    let traffic = {
        let simulator = stack.simulator.clone();
        tokio::spawn(async move {
            let mut pace = tokio::time::interval(Duration::from_millis(15));
            for at in 1..BUSY_COUNT {
                pace.tick().await;
                let said = simulator.says(&busy, PHONE_NUMBER_ID, &at.to_string());
                said.expect("a message");
            }
        })
    };
    let busy_before = archived(&clients, &busy_id).await;
    let told = succeed(&stack, &["backup", "one"]).await;
    assert!(told.contains("EVENTS"), "{told}");
    traffic.await.expect("the traffic ends");
    assert!(fail(&stack, &["backup", "one"]).await.contains("not empty"));

    destroy(&mut stack, &place).await;
    succeed(&stack, &["restore", "one", "--check"]).await;
    let told = succeed(&stack, &["restore", "one"]).await;
    assert!(!told.contains("IN NEITHER"), "{told}");
    let told = fail(&stack, &["restore", "one"]).await;
    assert!(told.contains("already"), "{told}");

    start(&mut stack).await;
    let open_after = look(&clients, OPEN, &answered, "MessageEnded").await;
    assert_eq!(open_after, open_before);
    let held_after = look(&clients, SILENT, &held, "MessageHeld").await;
    assert_eq!(held_after, held_before);
    // What came until the posts were saved is there once: it was read from posts and log.
    let found = archived(&clients, &busy_id).await;
    assert!((busy_before..=BUSY_COUNT).contains(&found), "{found}");
    assert_eq!(busy_customer(&clients).await, busy_id);
    verified(&clients).await;

    stack.says(&silent, "I am back");
    let released = clients.ended(&held).await;
    assert_eq!(released.outcome(), v1::MessageOutcome::Delivered);
    let again = clients.send(OPEN, free_form("More")).await;
    let again = again.expect("an accepted send").message_id;
    clients.ended(&again).await;
    look(&clients, OPEN, &again, "MessageEnded").await;
    verified(&clients).await;
    stack.stop().await;
}

#[tokio::test]
async fn what_was_saved_while_it_was_written_is_restored_and_goes_on() {
    Box::pin(drill(Place::File)).await;
}

#[tokio::test]
async fn what_was_saved_from_a_server_is_restored_into_another_database() {
    Box::pin(drill(Place::server().await)).await;
}

/// A backup of a first customer, and one of both customers.
async fn two_backups(place: &Place) -> (Stack, [String; 2]) {
    let stack = place.stack().await;
    let clients = stack.clients();
    let first = talk(&stack, &clients, OPEN).await;
    look(&clients, OPEN, &first, "MessageEnded").await;
    succeed(&stack, &["backup", "early"]).await;
    let second = talk(&stack, &clients, BUSY).await;
    look(&clients, BUSY, &second, "MessageEnded").await;
    succeed(&stack, &["backup", "late"]).await;
    (stack, [first, second])
}

async fn an_archive_older_than_the_log_is_filled_up(place: Place) {
    let (mut stack, [first, second]) = two_backups(&place).await;
    let clients = stack.clients();
    let before = [
        look(&clients, OPEN, &first, "MessageEnded").await,
        look(&clients, BUSY, &second, "MessageEnded").await,
    ];
    destroy(&mut stack, &place).await;
    // In either order.
    succeed(&stack, &["restore", "early", "--only", "archive"]).await;
    let told = succeed(&stack, &["restore", "late", "--only", "log"]).await;
    assert!(told.contains("archived from the log"), "{told}");
    assert!(!told.contains("in the archive alone"), "{told}");
    start(&mut stack).await;
    let after = [
        look(&clients, OPEN, &first, "MessageEnded").await,
        look(&clients, BUSY, &second, "MessageEnded").await,
    ];
    assert_eq!(after, before);
    verified(&clients).await;
    let again = clients.send(OPEN, free_form("More")).await;
    clients
        .ended(&again.expect("an accepted send").message_id)
        .await;
    stack.stop().await;
}

#[tokio::test]
async fn a_file_older_than_the_log_is_filled_up_from_it() {
    Box::pin(an_archive_older_than_the_log_is_filled_up(Place::File)).await;
}

#[tokio::test]
async fn a_database_older_than_the_log_is_filled_up_from_it() {
    Box::pin(an_archive_older_than_the_log_is_filled_up(
        Place::server().await,
    ))
    .await;
}

async fn a_log_older_than_the_archive_goes_on_in_another_life(place: Place) {
    let (mut stack, [first, second]) = two_backups(&place).await;
    let clients = stack.clients();
    let before = look(&clients, OPEN, &first, "MessageEnded").await;
    let lost = clients.message(&second).await.expect("a message");
    let lost_timeline = timeline(&clients, &lost.customer_id).await;
    destroy(&mut stack, &place).await;
    succeed(&stack, &["restore", "early", "--only", "log"]).await;
    let told = succeed(&stack, &["restore", "late", "--only", "archive"]).await;
    assert!(told.contains("in the archive alone"), "{told}");
    start(&mut stack).await;

    let after = look(&clients, OPEN, &first, "MessageEnded").await;
    assert_eq!(after, before);
    // The record of what the log lost stands.
    assert_eq!(timeline(&clients, &lost.customer_id).await, lost_timeline);
    // A position of the life that ended is told apart, and not waited for.
    let request = GetConversationRequest {
        number: NUMBER.to_owned(),
        customer_id: lost.customer_id.clone(),
        not_before: lost.position.clone(),
    };
    let refused = clients
        .conversations
        .clone()
        .get_conversation(request)
        .await;
    let refused = refused.expect_err("another life").message().to_owned();
    assert!(refused.contains("another life"), "{refused}");

    // Sequences are given out again, to other events; both are archived, each in its chain.
    let again = clients.send(OPEN, free_form("More")).await;
    let again = clients
        .ended(&again.expect("an accepted send").message_id)
        .await;
    let after = look(&clients, OPEN, &again.message_id, "MessageEnded").await;
    assert!(after.timeline.len() > before.timeline.len());
    verified(&clients).await;
    let reports = chains(&clients, stream::MESSAGES).await;
    assert_eq!(reports.len(), 2, "{reports:#?}");
    stack.stop().await;
}

#[tokio::test]
async fn a_log_older_than_the_file_goes_on_in_another_life() {
    Box::pin(a_log_older_than_the_archive_goes_on_in_another_life(
        Place::File,
    ))
    .await;
}

#[tokio::test]
async fn a_log_older_than_the_database_goes_on_in_another_life() {
    Box::pin(a_log_older_than_the_archive_goes_on_in_another_life(
        Place::server().await,
    ))
    .await;
}

#[tokio::test]
async fn a_backup_that_was_changed_restores_nothing() {
    let mut stack = Place::File.stack().await;
    let clients = stack.clients();
    talk(&stack, &clients, OPEN).await;
    succeed(&stack, &["backup", "one"]).await;
    destroy(&mut stack, &Place::File).await;
    let folder = stack.path("one");
    for file in ["log/EVENTS.tar.s2", "archive/archive.sqlite"] {
        let path = folder.join(file);
        let sound = std::fs::read(&path).unwrap();
        let mut changed = sound.clone();
        let middle = changed.len() / 2;
        changed[middle] ^= 1;
        std::fs::write(&path, changed).unwrap();
        let told = fail(&stack, &["restore", "one"]).await;
        assert!(told.contains("not as it was saved"), "{told}");
        std::fs::write(&path, sound).unwrap();
        assert!(!stack.archive().exists());
    }
    succeed(&stack, &["restore", "one"]).await;
    std::fs::remove_file(folder.join("manifest.json")).unwrap();
    let told = fail(&stack, &["restore", "one"]).await;
    assert!(told.contains("no whole backup"), "{told}");
    stack.stop().await;
}

#[tokio::test]
async fn the_operator_may_save_and_restore_and_nobody_else_may() {
    let (before, after) = (ShippedBroker::start(), ShippedBroker::start());
    let log: Log = before.connect("audit-projector").await;
    let operator = before.snapshots("operator").await;
    let mut saved = Vec::new();
    for stream in SAVED_STREAMS {
        let mut file = Vec::new();
        operator.consumers(stream).await.unwrap();
        let stream = operator.save(stream, &mut file).await.unwrap();
        saved.push((stream, file));
    }
    for (user, stream) in [
        ("operator", stream::SENSITIVE_KEYS),
        ("audit-projector", stream::EVENTS),
        ("ingress", stream::RAW),
        ("subscriber", stream::EVENTS),
    ] {
        let snapshots: Snapshots = before.snapshots(user).await;
        match snapshots.save(stream, &mut Vec::new()).await {
            Err(SnapshotError::Silent { .. }) => {}
            other => panic!("{user} {stream}: {other:?}"),
        }
    }

    let operator = after.snapshots("operator").await;
    for (stream, file) in &saved {
        operator
            .restore(stream, "abc1", &mut file.as_slice())
            .await
            .unwrap();
    }
    let restored: Log = after.connect("audit-projector").await;
    let common = Ancestor {
        incarnation: log.incarnation(stream::EVENTS),
        through: 0,
    };
    assert_eq!(restored.ancestors(stream::EVENTS), [common]);
}

#[tokio::test]
async fn the_projector_may_purge_what_leaves_the_log() {
    let broker = ShippedBroker::start();
    let log: Log = broker.connect("audit-projector").await;
    for stream in [
        stream::EVENTS,
        stream::MESSAGES,
        stream::ACCOUNTS,
        stream::DEAD,
        stream::RAW,
    ] {
        assert_eq!(log.purge_up_to(stream, 1).await.unwrap(), 0, "{stream}");
    }
    log.purge_up_to(stream::CUSTOMERS, 1).await.unwrap_err();
}
