//! The services, asked directly, on a store of their own.

use std::sync::Arc;
use std::time::Duration;

use casement_event::convert::timestamp;
use casement_event::{Event, v1};
use casement_event_log::Log;
use casement_proto::audit::v1::audit_service_server::AuditService as _;
use casement_proto::audit::v1::{ListEventsRequest, VerifyChainRequest};
use casement_proto::conversation::v1::conversation_service_server::ConversationService as _;
use casement_proto::conversation::v1::{
    GetConversationRequest, GetTimelineRequest, ListConversationsRequest,
};
use casement_shell::ManualClock;
use casement_shell::auth::{ALL_BRANDS, Caller, Scope};
use casement_shell::grpc::reason;
use casement_testkit::NatsServer;
use jiff::{SignedDuration, Timestamp};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;
use tonic::{Code, Request};

use crate::batch::Batch;
use crate::chain::Head;
use crate::desk::Desk;
use crate::fixture::{self, record};
use crate::grpc::Backend;
use crate::grpc::audit::AuditApi;
use crate::grpc::conversation::ConversationApi;
use crate::progress::{Progress, Reached, Teller};
use crate::store::{SharedStore, Sqlite};

pub(crate) struct Services {
    pub(crate) conversations: ConversationApi,
    audit: AuditApi,
    pub(crate) clock: ManualClock,
    pub(crate) tellers: Vec<(&'static str, Teller)>,
    _server: NatsServer,
    _folder: TempDir,
}

const NUMBER: &str = "+15550001111";

pub(crate) fn at(second: i64) -> Timestamp {
    fixture::start() + SignedDuration::from_secs(second)
}

fn request<T>(message: T) -> Request<T> {
    by(&Caller::internal("test", "default"), message)
}

pub(crate) fn by<T>(caller: &Caller, message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.extensions_mut().insert(caller.clone());
    request
}

fn opened(customer: &str, brand: &str, expires: i64) -> Event {
    let conversation = v1::Conversation {
        number: "15550001111".to_owned(),
        customer_id: customer.to_owned(),
        brand_id: brand.to_owned(),
        ..Default::default()
    };
    let mut window = v1::PublishedWindow {
        conversation: Some(conversation),
        expire_time: Some(timestamp(at(expires))),
        ..Default::default()
    };
    window.set_state(v1::WindowState::Open);
    v1::WindowOpened {
        window: Some(window),
        ..Default::default()
    }
    .into()
}

/// Services over an archive of these events.
pub(crate) async fn services(events: impl IntoIterator<Item = Event>) -> Services {
    let folder = tempfile::tempdir().unwrap();
    let store = Arc::new(
        Sqlite::open(
            &folder.path().join("archive.sqlite"),
            2,
            crate::fixture::masters(),
        )
        .await
        .unwrap(),
    );
    let events: Vec<_> = events
        .into_iter()
        .zip(1..)
        .map(|(event, sequence)| {
            let customer = crate::index::conversation(&event)
                .unwrap()
                .customer_id
                .clone();
            let subject = format!("casement.events.window.03.15550001111.{customer}");
            fixture::record_on(&subject, "EVENTS", sequence, &event)
        })
        .collect();
    let batch = Batch::seal(Head::start("EVENTS", "1a"), events, rand::random);
    if !batch.entries.is_empty() {
        crate::store::Store::append(store.as_ref(), &batch)
            .await
            .unwrap();
    }
    let (progress, tellers) = Progress::new(Duration::from_millis(50));
    let clock = ManualClock::new(at(0));
    let server = NatsServer::start().await;
    let config = casement_event_log::Config {
        servers: server.url(),
        accept_unsafe_broker: true,
        ..casement_event_log::Config::default()
    };
    let desk = Desk {
        log: Log::connect(&config).await.unwrap(),
        store: Arc::clone(&store) as SharedStore,
        progress: progress.clone(),
        clock: clock.shared(),
    };
    let backend = Backend {
        store,
        progress,
        counted: Progress::new(std::time::Duration::from_millis(50)).0,
        clock: clock.shared(),
    };
    Services {
        conversations: ConversationApi::new(backend.clone(), desk, CancellationToken::new()),
        audit: AuditApi::new(backend, Arc::default()),
        clock,
        tellers,
        _server: server,
        _folder: folder,
    }
}

fn get(number: &str, customer_id: &str) -> GetConversationRequest {
    GetConversationRequest {
        number: number.to_owned(),
        customer_id: customer_id.to_owned(),
        not_before: String::new(),
    }
}

#[tokio::test]
async fn a_conversation_is_shown_as_of_now() {
    let services = services([opened("c1", "default", 60)]).await;
    let shown = async || {
        let answer = services
            .conversations
            .get_conversation(request(get(NUMBER, "c1")))
            .await;
        answer.unwrap().into_inner().conversation.unwrap()
    };
    let open = shown().await;
    assert_eq!(
        (open.number.as_str(), open.position.as_str()),
        (NUMBER, "EVENTS~1a~1")
    );
    assert_eq!(open.window_state(), v1::WindowState::Open);
    services.clock.set(at(60));
    let closed = shown().await;
    assert_eq!(closed.window_state(), v1::WindowState::Closed);
    assert_eq!(closed.closed_reason(), v1::ClosedReason::Expired);
}

#[tokio::test]
async fn what_is_asked_wrongly_is_told_field_by_field() {
    let services = services([opened("c1", "default", 60)]).await;
    let refused = async |message| {
        services
            .conversations
            .get_conversation(request(message))
            .await
            .unwrap_err()
    };
    for (number, customer) in [
        ("15550001111", "c1"),
        ("+x", "c1"),
        (NUMBER, ""),
        (NUMBER, "a.b"),
    ] {
        let status = refused(get(number, customer)).await;
        assert_eq!(status.code(), Code::InvalidArgument, "{number} {customer}");
    }
    let unknown = refused(get(NUMBER, "c2")).await;
    assert_eq!(unknown.code(), Code::NotFound);
    assert_eq!(reason(&unknown).as_deref(), Some("CONVERSATION_NOT_FOUND"));
    let events = ListEventsRequest {
        stream: "RAW".to_owned(),
        ..Default::default()
    };
    let status = services
        .audit
        .list_events(request(events))
        .await
        .unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    let list = ListConversationsRequest {
        page_token: "x".to_owned(),
        ..Default::default()
    };
    let status = services
        .conversations
        .list_conversations(request(list))
        .await
        .unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
}

#[tokio::test]
async fn a_scope_is_asked_for_and_another_brand_is_not_shown() {
    let services = services([opened("c1", "default", 60), opened("c2", "other", 60)]).await;
    let nobody = Request::new(get(NUMBER, "c1"));
    let status = services
        .conversations
        .get_conversation(nobody)
        .await
        .unwrap_err();
    assert_eq!(status.code(), Code::Unauthenticated);
    let reader = Caller {
        scopes: [Scope::Read].into(),
        ..Caller::internal("reader", "default")
    };
    let status = services
        .audit
        .verify_chain(by(&reader, VerifyChainRequest::default()))
        .await;
    assert_eq!(status.unwrap_err().code(), Code::PermissionDenied);
    let auditor = Caller {
        scopes: [Scope::Audit].into(),
        ..reader.clone()
    };
    let status = services
        .conversations
        .get_conversation(by(&auditor, get(NUMBER, "c1")))
        .await;
    assert_eq!(status.unwrap_err().code(), Code::PermissionDenied);

    let status = services
        .conversations
        .get_conversation(by(&reader, get(NUMBER, "c2")))
        .await;
    assert_eq!(status.unwrap_err().code(), Code::NotFound);
    let timeline = GetTimelineRequest {
        number: NUMBER.to_owned(),
        customer_id: "c2".to_owned(),
        ..Default::default()
    };
    let status = services
        .conversations
        .get_timeline(by(&reader, timeline))
        .await;
    assert_eq!(status.unwrap_err().code(), Code::NotFound);
    for (brand, expected) in [
        ("default", vec!["c1"]),
        ("other", vec!["c2"]),
        (ALL_BRANDS, vec!["c1", "c2"]),
    ] {
        let caller = Caller::internal("test", brand);
        let list = by(&caller, ListConversationsRequest::default());
        let answer = services
            .conversations
            .list_conversations(list)
            .await
            .unwrap()
            .into_inner();
        let customers: Vec<_> = answer
            .conversations
            .iter()
            .map(|shown| shown.customer_id.as_str())
            .collect();
        assert_eq!(customers, expected, "{brand}");
        let list = by(&caller, ListEventsRequest::default());
        let answer = services.audit.list_events(list).await.unwrap().into_inner();
        assert_eq!(answer.events.len(), expected.len(), "{brand}");
    }
    let list = by(&Caller::internal("test", ""), ListEventsRequest::default());
    let status = services.audit.list_events(list).await.unwrap_err();
    assert_eq!(status.code(), Code::PermissionDenied, "of no brand");
}

#[tokio::test]
async fn lists_are_paged_and_a_token_fits_its_question_alone() {
    let events = [("c1", 30), ("c2", 20), ("c3", 10)]
        .map(|(customer, expires)| opened(customer, "default", expires));
    let services = services(events).await;
    let mut list = ListConversationsRequest {
        page_size: 2,
        ..Default::default()
    };
    let mut paged = Vec::new();
    loop {
        let answer = services
            .conversations
            .list_conversations(request(list.clone()))
            .await
            .unwrap()
            .into_inner();
        paged.extend(
            answer
                .conversations
                .into_iter()
                .map(|shown| shown.customer_id),
        );
        if answer.next_page_token.is_empty() {
            break;
        }
        list.page_token = answer.next_page_token;
    }
    assert_eq!(paged, ["c3", "c2", "c1"]);
    let mut other = list.clone();
    other.set_window_state(v1::WindowState::Open);
    let status = services
        .conversations
        .list_conversations(request(other))
        .await
        .unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);

    let mut list = ListEventsRequest {
        page_size: 2,
        ..Default::default()
    };
    let first = services
        .audit
        .list_events(request(list.clone()))
        .await
        .unwrap()
        .into_inner();
    list.page_token = first.next_page_token;
    let second = services
        .audit
        .list_events(request(list))
        .await
        .unwrap()
        .into_inner();
    let sequences: Vec<_> = first
        .events
        .iter()
        .chain(&second.events)
        .map(|event| event.sequence)
        .collect();
    assert_eq!(
        (sequences, second.next_page_token.as_str()),
        (vec![1, 2, 3], "")
    );
}

#[tokio::test]
async fn a_timeline_tells_what_happened_newest_first() {
    let services = services([opened("c1", "default", 60), opened("c1", "default", 90)]).await;
    let mut timeline = GetTimelineRequest {
        number: NUMBER.to_owned(),
        customer_id: "c1".to_owned(),
        page_size: 1,
        ..Default::default()
    };
    let page = async |message: &GetTimelineRequest| {
        services
            .conversations
            .get_timeline(request(message.clone()))
            .await
            .unwrap()
            .into_inner()
    };
    let newest = page(&timeline).await;
    assert_eq!(newest.items[0].sequence, 2);
    assert!(
        newest.items[0]
            .summary
            .starts_with("window opened until 2026-11-22T10:01:30")
    );
    timeline.page_token = newest.next_page_token;
    let oldest = page(&timeline).await;
    assert_eq!(
        (oldest.items[0].sequence, oldest.next_page_token.as_str()),
        (1, "")
    );
}

#[tokio::test]
async fn a_query_is_not_answered_from_before_its_position() {
    let services = services([opened("c1", "default", 60)]).await;
    let asked = async |position: &str| {
        let message = GetConversationRequest {
            not_before: position.to_owned(),
            ..get(NUMBER, "c1")
        };
        services
            .conversations
            .get_conversation(request(message))
            .await
    };
    services.tellers[0].1.send_replace(Some(Reached {
        incarnation: "1a".to_owned(),
        sequence: 1,
    }));
    assert!(asked("EVENTS~1a~1").await.is_ok());
    let early = asked("EVENTS~1a~2").await.unwrap_err();
    assert_eq!(early.code(), Code::Unavailable);
    assert_eq!(reason(&early).as_deref(), Some("POSITION_NOT_REACHED"));
    for wrong in ["EVENTS~1b~1", "RAW~1a~1", "nonsense"] {
        assert_eq!(
            asked(wrong).await.unwrap_err().code(),
            Code::InvalidArgument,
            "{wrong}"
        );
    }
}

#[tokio::test]
async fn events_are_shown_with_their_payload_as_json_and_their_chain_verifies() {
    let services = services([opened("c1", "default", 60)]).await;
    let list = ListEventsRequest {
        customer_id: "c1".to_owned(),
        ..Default::default()
    };
    let answer = services
        .audit
        .list_events(request(list))
        .await
        .unwrap()
        .into_inner();
    let event = &answer.events[0];
    assert_eq!(event.event_type, "casement.events.v1.WindowOpened");
    assert_eq!(event.headers["ce-type"], event.event_type);
    let json: serde_json::Value = serde_json::from_str(&event.payload_json).unwrap();
    assert_eq!(json["window"]["state"], "WINDOW_STATE_OPEN");
    let original = record("EVENTS", 1, &opened("c1", "default", 60));
    assert_eq!(event.payload, original.payload);

    let verify = VerifyChainRequest {
        stream: "EVENTS".to_owned(),
    };
    let answer = services
        .audit
        .verify_chain(request(verify))
        .await
        .unwrap()
        .into_inner();
    let [report] = answer.reports.as_slice() else {
        panic!("one chain")
    };
    assert!(report.intact && report.explanation.is_empty());
    assert_eq!((report.checked_count, &report.head), (1, &event.link));
}
