//! Every role is replaced, one process after the other, while webhooks come in and messages go out:
//! some process of each role answers all the time, nothing is lost, nothing is done twice. And what
//! a newer version writes is passed on by older ones that do not know it.

use std::time::Duration;

use async_nats::HeaderMap;
use casement_event::subject::stream;
use casement_event_log::{Config, Log};
use casement_proto::audit::v1::{ListEventsRequest, VerifyChainRequest};
use casement_testkit::{Postgres, eventually, free_port};
use casement_tests::{Options, Role, Stack, free_form};

use crate::traffic::{
    Traffic, WINDOW_SECONDS, the_archive_has_it, what_came_in_stands_once,
    what_went_out_was_called_once,
};

/// The order of `docs/operate/upgrades.md`.
const ORDER: [Role; 6] = [
    Role::AuditProjector,
    Role::Accounts,
    Role::WindowTracker,
    Role::Dispatcher,
    Role::Ingress,
    Role::Gateway,
];

/// Processes of each role.
const COPIES: usize = 2;

/// How long nothing may be accepted while another process is there to accept it, on however slow a
/// machine: as long as one append may take.
const STALL_MAX: Duration = Duration::from_secs(10);

/// Who a newer version tells something about.
const CUSTOMER: &str = "+15550002222";

/// A type that no version here knows.
const FUTURE: &str = "casement.events.v1.ConversationForetold";

async fn log(stack: &Stack) -> Log {
    let monitoring = stack.nats.monitoring_url();
    let config = Config {
        servers: stack.nats.url(),
        monitoring: Some(monitoring.trim_start_matches("http://").to_owned()),
        ..Config::default()
    };
    Log::connect(&config).await.expect("a broker that stands")
}

/// Asks a process to end, and waits until it has done with what it held and said so.
async fn replace(stack: &mut Stack, role: Role, copy: usize) {
    let process = stack.process(role, copy);
    process.terminate();
    let exit = process.wait().await;
    assert!(exit.success(), "{role:?} {copy}: {}", process.stderr());
    stack.start_role(role, copy).await;
}

#[tokio::test]
async fn every_role_is_replaced_under_traffic_and_nothing_is_lost_or_double() {
    let postgres = Postgres::start().await;
    let mut stack = Stack::with(Options {
        window_seconds: WINDOW_SECONDS,
        // Several processes of the archive need a server.
        database_url: Some(postgres.fresh_database().await),
        ..Options::default()
    })
    .await;
    let second = free_port();
    let listen = format!("127.0.0.1:{second}");
    stack.set_variable(Role::Ingress, 1, "CASEMENT__INGRESS__LISTEN", &listen);
    stack.start_role(Role::Gateway, 0).await;
    for role in ORDER {
        stack.start_role(role, 1).await;
    }
    let first = stack.poster();
    let posters = vec![first.at(second), first];
    let senders = vec![
        stack.clients_of(0),
        stack.clients_by_gateway(1),
        stack.clients_of(1),
        stack.clients_by_gateway(0),
    ];
    let mut traffic = Traffic::start(&stack, posters, senders);
    traffic.flows("traffic before").await;
    traffic.incoming.mark();
    traffic.outgoing.mark();
    for role in ORDER {
        for copy in 0..COPIES {
            replace(&mut stack, role, copy).await;
        }
        traffic
            .flows(&format!("traffic with another {role:?}"))
            .await;
    }
    traffic.end().await;

    let (incoming, outgoing) = (traffic.incoming.stall(), traffic.outgoing.stall());
    let longest = incoming.max(outgoing);
    assert!(longest < STALL_MAX, "in {incoming:?}, out {outgoing:?}");
    let log = log(&stack).await;
    what_went_out_was_called_once(&stack, &stack.clients(), &traffic.outgoing.all()).await;
    what_came_in_stands_once(&log, &traffic.incoming.all()).await;
    the_archive_has_it(&stack.clients(), &log).await;
    stack.stop().await;
}

#[tokio::test]
async fn what_a_newer_version_tells_is_archived_and_passed_over_by_older_ones() {
    let stack = Stack::start().await;
    let clients = stack.clients();
    let events = stack.events_of("casement.events.inbound.>").await;
    let customer = stack.customer(CUSTOMER);
    stack.says(&customer, "Hello");
    clients.open_window(CUSTOMER).await;
    let heard = events.wait("InboundMessageReceived", 1).await;
    let inbound = heard.first().expect("one was heard").subject.clone();

    // As a rolled-out projector would, beside roles that are older, and an accounts role.
    let nats = stack.nats.client().await;
    let notes = inbound.replace(".inbound.", ".note.");
    let accounts = "casement.accounts.foresight.shop".to_owned();
    for (index, subject) in [notes, accounts].into_iter().enumerate() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("ce-specversion", "1.0"),
            ("ce-id", &format!("foretold-{index}")),
            ("ce-type", FUTURE),
            ("ce-source", "casement/future"),
            ("ce-time", "2026-11-23T12:00:00Z"),
            ("casement-append-id", &format!("append-foretold-{index}")),
        ] {
            headers.insert(name, value);
        }
        let payload = "\u{8}\u{1}".into();
        let told = nats
            .request_with_headers(format!("append.{subject}"), headers, payload)
            .await
            .expect("the broker answers");
        let told = String::from_utf8_lossy(&told.payload);
        assert!(!told.contains("error"), "{told}");
    }

    // The conversation goes on behind it, in both directions.
    stack.says(&customer, "Are you there?");
    events.wait("InboundMessageReceived", 2).await;
    let sent = clients.send(CUSTOMER, free_form("We are.")).await;
    let sent = sent.expect("an accepted send");
    clients.ended(&sent.message_id).await;
    // The archive has both as they were stored, in chains that hold.
    eventually("both are archived", async || {
        let mut archived = 0;
        for stream in [stream::EVENTS, stream::ACCOUNTS] {
            let request = ListEventsRequest {
                stream: stream.to_owned(),
                event_type: FUTURE.to_owned(),
                page_size: 10,
                ..Default::default()
            };
            let asked = clients.audit.clone().list_events(request).await;
            archived += asked
                .map_err(|status| status.to_string())?
                .into_inner()
                .events
                .len();
        }
        (archived == 2)
            .then_some(())
            .ok_or(format!("{archived} of 2"))
    })
    .await;
    let request = VerifyChainRequest::default();
    let verified = clients.audit.clone().verify_chain(request).await;
    let reports = verified.expect("a verification").into_inner().reports;
    assert!(reports.iter().all(|report| report.intact), "{reports:#?}");
    stack.stop().await;
}

#[tokio::test]
async fn an_archive_of_a_newer_version_is_refused_and_left_as_it_is() {
    let mut stack = Stack::start().await;
    let clients = stack.clients();
    let customer = stack.customer(CUSTOMER);
    stack.says(&customer, "Hello");
    clients.open_window(CUSTOMER).await;
    stack.process(Role::AuditProjector, 0).terminate();
    let exit = stack.process(Role::AuditProjector, 0).wait().await;
    assert!(exit.success());

    let url = format!("sqlite://{}", stack.archive().display());
    let database = sqlx::SqlitePool::connect(&url).await.expect("the archive");
    let migrated = "INSERT INTO _sqlx_migrations \
         (version, description, installed_on, success, checksum, execution_time) \
         VALUES (99991231235959, 'of another day', CURRENT_TIMESTAMP, TRUE, x'00', 0)";
    sqlx::query(migrated).execute(&database).await.expect("it");
    stack.launch(Role::AuditProjector, 0);
    let exit = stack.process(Role::AuditProjector, 0).wait().await;
    assert!(!exit.success());
    let said = stack.process(Role::AuditProjector, 0).stderr();
    assert!(said.contains("99991231235959"), "{said}");

    let back = "DELETE FROM _sqlx_migrations WHERE version = 99991231235959";
    sqlx::query(back).execute(&database).await.expect("it");
    database.close().await;
    stack.start_role(Role::AuditProjector, 0).await;
    let request = VerifyChainRequest::default();
    let verified = clients.audit.clone().verify_chain(request).await;
    let reports = verified.expect("a verification").into_inner().reports;
    assert!(reports.iter().all(|report| report.intact), "{reports:#?}");
    stack.stop().await;
}
