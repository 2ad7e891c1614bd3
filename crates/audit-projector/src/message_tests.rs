//! Messages listed and watched, asked directly, on a store of their own.

use std::sync::Arc;
use std::time::Duration;

use casement_event::convert::timestamp;
use casement_event::{Event, v1};
use casement_proto::message::v1::message_query_service_server::MessageQueryService as _;
use casement_proto::message::v1::{
    ListMessagesRequest, MessageFilter, MessageState, WatchMessagesRequest, WatchMessagesResponse,
};
use casement_shell::ManualClock;
use casement_shell::auth::{ALL_BRANDS, Caller, Scope};
use casement_shell::grpc::reason;
use casement_shell::grpc::watch::Limits;
use futures::StreamExt as _;
use jiff::SignedDuration;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;
use tonic::{Code, Request, Status};

use crate::batch::Batch;
use crate::chain::Head;
use crate::fixture;
use crate::grpc::Backend;
use crate::grpc::messages::MessageQueryApi;
use crate::grpc::watch::Answers;
use crate::progress::{Progress, Reached, Teller};
use crate::store::{SharedStore, Sqlite};

struct Stage {
    api: MessageQueryApi,
    store: SharedStore,
    teller: Teller,
    head: Head,
    closing: CancellationToken,
    _folder: TempDir,
    _tellers: Vec<(&'static str, Teller)>,
}

impl Stage {
    async fn set() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("archive.sqlite");
        let store: SharedStore = Arc::new(
            Sqlite::open(&path, 2, crate::fixture::masters())
                .await
                .unwrap(),
        );
        let (progress, mut tellers) = Progress::new(Duration::from_millis(50));
        let place = tellers.iter().position(|(stream, _)| *stream == "MESSAGES");
        let (_, teller) = tellers.remove(place.unwrap());
        let backend = Backend {
            store: Arc::clone(&store),
            progress,
            counted: Progress::new(std::time::Duration::from_millis(50)).0,
            clock: ManualClock::new(fixture::start()).shared(),
        };
        let closing = CancellationToken::new();
        let stage = Self {
            api: MessageQueryApi::new(backend, closing.clone()),
            store,
            teller,
            head: Head::start("MESSAGES", "1a"),
            closing,
            _folder: folder,
            _tellers: tellers,
        };
        stage.tell();
        stage
    }

    fn tell(&self) {
        self.teller.send_replace(Some(Reached {
            incarnation: self.head.incarnation.clone(),
            sequence: self.head.last_sequence,
        }));
    }

    async fn archive(&mut self, events: impl IntoIterator<Item = (u8, Event)>) {
        let from = self.head.last_sequence + 1;
        let stored = events
            .into_iter()
            .zip(from..)
            .map(|((number, event), sequence)| {
                let subject = format!("casement.events.message.03.15550001111.{}", id(number));
                fixture::record_on(&subject, "MESSAGES", sequence, &event)
            })
            .collect();
        let batch = Batch::seal(self.head.clone(), stored, rand::random);
        self.store.append(&batch).await.unwrap();
        self.head = batch.after;
        self.tell();
    }

    async fn list(&self, brand: &str, asked: ListMessagesRequest) -> Result<Listed, Status> {
        let answer = self.api.list_messages(by(brand, asked)).await?.into_inner();
        let ids = answer.messages.iter().map(|one| number_of(&one.message_id));
        Ok(Listed {
            numbers: ids.collect(),
            next_page_token: answer.next_page_token,
        })
    }

    async fn watch(&self, filter: MessageFilter, after: &str) -> Answers {
        let request = WatchMessagesRequest {
            filter: Some(filter),
            after_position: after.to_owned(),
        };
        let answers = self.api.watch_messages(by("default", request)).await;
        answers.unwrap().into_inner()
    }
}

struct Listed {
    numbers: Vec<u8>,
    next_page_token: String,
}

fn by<T>(brand: &str, message: T) -> Request<T> {
    let mut request = Request::new(message);
    request
        .extensions_mut()
        .insert(Caller::internal("test", brand));
    request
}

fn id(number: u8) -> String {
    format!("15550001111-{number:032}")
}

fn number_of(id: &str) -> u8 {
    id.rsplit('-').next().unwrap().parse().unwrap()
}

fn label(value: &str) -> v1::Label {
    v1::Label {
        key: "campaign".to_owned(),
        value: value.to_owned(),
    }
}

fn requested(number: u8, brand: &str, campaign: &str) -> (u8, Event) {
    let at = fixture::start() + SignedDuration::from_secs(i64::from(number));
    let event = v1::MessageRequested {
        message_id: id(number),
        conversation: Some(v1::Conversation {
            brand_id: brand.to_owned(),
            ..fixture::conversation()
        }),
        client_reference: format!("order-{number}"),
        labels: vec![label(campaign)],
        request_time: Some(timestamp(at)),
        ..Default::default()
    };
    (number, event.into())
}

fn held(number: u8) -> (u8, Event) {
    let event = v1::MessageHeld {
        message_id: id(number),
        conversation: Some(fixture::conversation()),
        ..Default::default()
    };
    (number, event.into())
}

fn released(number: u8) -> (u8, Event) {
    let event = v1::MessageReleased {
        message_id: id(number),
        conversation: Some(fixture::conversation()),
        cause: "WINDOW_OPENED".to_owned(),
        ..Default::default()
    };
    (number, event.into())
}

async fn next(answers: &mut Answers) -> WatchMessagesResponse {
    let next = tokio::time::timeout(Duration::from_secs(20), answers.next()).await;
    next.expect("told in time").expect("goes on").unwrap()
}

/// The next that says something: number, state, reason.
async fn told(answers: &mut Answers) -> (u8, MessageState, String) {
    loop {
        if let Some(message) = next(answers).await.message {
            return (
                number_of(&message.message_id),
                message.state(),
                message.reason,
            );
        }
    }
}

async fn end(answers: &mut Answers) -> Status {
    loop {
        let next = tokio::time::timeout(Duration::from_secs(20), answers.next()).await;
        match next.expect("ends in time") {
            Some(Ok(_)) => {}
            Some(Err(status)) => return status,
            None => panic!("ended without a word"),
        }
    }
}

fn resume_position(status: &Status) -> String {
    use tonic_types::StatusExt as _;
    let info = status.get_details_error_info().unwrap();
    info.metadata["resume_position"].clone()
}

#[tokio::test]
async fn a_list_is_of_the_callers_brand_and_paged_by_a_token_of_its_own() {
    let mut stage = Stage::set().await;
    let events = [
        requested(1, "default", "spring"),
        requested(2, "other", "spring"),
        requested(3, "default", "spring"),
        requested(4, "default", "summer"),
    ];
    stage.archive(events).await;
    let spring = ListMessagesRequest {
        filter: Some(MessageFilter {
            labels: vec![label("spring")],
            ..MessageFilter::default()
        }),
        page_size: 1,
        ..ListMessagesRequest::default()
    };
    for (brand, expected) in [
        ("default", vec![3, 1]),
        ("other", vec![2]),
        (ALL_BRANDS, vec![3, 2, 1]),
    ] {
        let (mut asked, mut numbers) = (spring.clone(), Vec::new());
        loop {
            let page = stage.list(brand, asked.clone()).await.unwrap();
            numbers.extend(page.numbers);
            if page.next_page_token.is_empty() {
                break;
            }
            asked.page_token = page.next_page_token;
        }
        assert_eq!(numbers, expected, "{brand}");
    }
    let first = stage.list("default", spring.clone()).await.unwrap();
    let other_question = ListMessagesRequest {
        page_token: first.next_page_token.clone(),
        filter: None,
        ..spring.clone()
    };
    let refused = stage.list("default", other_question).await;
    assert_eq!(refused.err().unwrap().code(), Code::InvalidArgument);
    let other_brand = ListMessagesRequest {
        page_token: first.next_page_token,
        ..spring
    };
    let refused = stage.list("other", other_brand).await;
    assert_eq!(refused.err().unwrap().code(), Code::InvalidArgument);
}

#[tokio::test]
async fn what_is_asked_wrongly_of_messages_is_told_by_its_field() {
    let stage = Stage::set().await;
    for (field, filter) in [
        (
            "filter.number",
            MessageFilter {
                number: "hello".to_owned(),
                ..MessageFilter::default()
            },
        ),
        (
            "filter.states",
            MessageFilter {
                states: vec![99],
                ..MessageFilter::default()
            },
        ),
        (
            "filter.outcomes",
            MessageFilter {
                outcomes: vec![0],
                ..MessageFilter::default()
            },
        ),
        (
            "filter.labels",
            MessageFilter {
                labels: vec![v1::Label::default()],
                ..MessageFilter::default()
            },
        ),
    ] {
        let asked = ListMessagesRequest {
            filter: Some(filter),
            ..ListMessagesRequest::default()
        };
        let refused = stage.list("default", asked).await.err().unwrap();
        assert_eq!(refused.code(), Code::InvalidArgument);
        assert!(
            refused.message().starts_with(field),
            "{}",
            refused.message()
        );
    }
    let mut nobody = Request::new(ListMessagesRequest::default());
    nobody.extensions_mut().insert(Caller {
        scopes: [Scope::Audit].into(),
        ..Caller::internal("test", "default")
    });
    let refused = stage.api.list_messages(nobody).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied);
}

#[tokio::test]
async fn a_watch_tells_each_step_as_it_was_and_goes_on_where_it_was_left() {
    let mut stage = Stage::set().await;
    let events = [requested(1, "default", "spring"), held(1), released(1)];
    stage.archive(events).await;
    // All three are archived, and still each is told as the message was then.
    let mut answers = stage.watch(MessageFilter::default(), "MESSAGES~1a~0").await;
    assert_eq!(next(&mut answers).await.message, None);
    let mut positions = Vec::new();
    for expected in [
        MessageState::Pending,
        MessageState::Held,
        MessageState::Pending,
    ] {
        let answer = next(&mut answers).await;
        positions.push(answer.position);
        assert_eq!(answer.message.unwrap().state(), expected);
    }
    let caught_up = next(&mut answers).await;
    assert_eq!(
        (caught_up.message, caught_up.position.as_str()),
        (None, "MESSAGES~1a~3")
    );

    // What comes after is told as well, and what is of others is not.
    let later = [
        requested(2, "other", "spring"),
        requested(3, "default", "spring"),
    ];
    stage.archive(later).await;
    assert_eq!(told(&mut answers).await.0, 3);

    // From the middle, the message is made from what was before.
    let mut resumed = stage.watch(MessageFilter::default(), &positions[1]).await;
    let expected = (1, MessageState::Pending, "WINDOW_OPENED".to_owned());
    assert_eq!(told(&mut resumed).await, expected);
    let answer = next(&mut stage.watch(MessageFilter::default(), &positions[0]).await).await;
    assert_eq!(answer.position, positions[0]);
}

#[tokio::test]
async fn a_watch_is_told_of_messages_that_come_to_be_what_it_waits_for() {
    let mut stage = Stage::set().await;
    let waits_for = MessageFilter {
        states: vec![MessageState::Held.into()],
        labels: vec![label("spring")],
        ..MessageFilter::default()
    };
    let mut answers = stage.watch(waits_for, "").await;
    let events = [
        requested(1, "default", "spring"),
        requested(2, "default", "summer"),
        held(2),
        held(1),
        released(1),
        held(1),
    ];
    stage.archive(events).await;
    for _ in 0..2 {
        assert_eq!(told(&mut answers).await.0, 1);
    }
    stage.closing.cancel();
    let status = end(&mut answers).await;
    assert_eq!(reason(&status).as_deref(), Some("CLOSING"));
    assert_eq!(resume_position(&status), "MESSAGES~1a~6");
}

#[tokio::test]
async fn who_reads_too_slowly_is_told_where_to_resume_and_misses_nothing() {
    let mut stage = Stage::set().await;
    stage.api = stage.api.clone().with_limits(Limits {
        buffer_len: 2,
        patience: Duration::from_millis(50),
    });
    let events = (1..=9).map(|number| requested(number, "default", "spring"));
    stage.archive(events).await;
    let mut answers = stage.watch(MessageFilter::default(), "MESSAGES~1a~0").await;
    // The first is not read before the watch has given up; nothing else ends it.
    let mut heard = Vec::new();
    let mut slowly = Box::pin(async {
        loop {
            match answers.next().await {
                Some(Ok(answer)) => {
                    heard.extend(answer.message.map(|one| number_of(&one.message_id)));
                }
                Some(Err(status)) => return status,
                None => panic!("ended without a word"),
            }
        }
    });
    casement_testkit::eventually("the watch has given up", async || {
        stage
            .api
            .is_idle()
            .then_some(())
            .ok_or("it still waits for its reader")
    })
    .await;
    let status = (&mut slowly).await;
    drop(slowly);
    assert_eq!(status.code(), Code::Aborted);
    assert_eq!(reason(&status).as_deref(), Some("READER_TOO_SLOW"));
    let position = resume_position(&status);
    let mut resumed = stage.watch(MessageFilter::default(), &position).await;
    while heard.len() < 9 {
        heard.push(told(&mut resumed).await.0);
    }
    assert_eq!(heard, [1, 2, 3, 4, 5, 6, 7, 8, 9]);
}

#[tokio::test]
async fn a_position_of_another_life_of_the_log_is_gone() {
    let stage = Stage::set().await;
    for (after, code) in [
        ("MESSAGES~1b~1", Code::OutOfRange),
        ("EVENTS~1a~1", Code::InvalidArgument),
        ("nonsense", Code::InvalidArgument),
    ] {
        let request = WatchMessagesRequest {
            filter: None,
            after_position: after.to_owned(),
        };
        let refused = stage.api.watch_messages(by("default", request)).await;
        assert_eq!(refused.err().unwrap().code(), code, "{after}");
    }
}

#[tokio::test]
async fn a_list_says_what_each_attempt_costs_and_all_of_them_together() {
    let mut stage = Stage::set().await;
    let cost = |basis: v1::CostBasis, micros| {
        let amount = v1::Money {
            currency: "EUR".to_owned(),
            micros,
        };
        Some(v1::Cost {
            basis: basis.into(),
            amount: Some(amount),
            ..v1::Cost::default()
        })
    };
    let started = |attempt, micros| v1::AttemptStarted {
        message_id: id(1),
        conversation: Some(fixture::conversation()),
        attempt,
        cost: cost(v1::CostBasis::Estimated, micros),
        ..Default::default()
    };
    let refused = v1::AttemptRejected {
        message_id: id(1),
        conversation: Some(fixture::conversation()),
        attempt: 1,
        cost: cost(v1::CostBasis::NotDelivered, 0),
        ..Default::default()
    };
    let billed = v1::MessageBilled {
        message_id: id(1),
        conversation: Some(fixture::conversation()),
        attempt: 3,
        cost: cost(v1::CostBasis::Reported, 60_000),
        ..Default::default()
    };
    let events = [
        requested(1, "default", "spring"),
        (1, started(1, 50_000).into()),
        (1, refused.into()),
        (1, started(2, 70_000).into()),
        (1, started(3, 50_000).into()),
        (1, billed.into()),
        requested(2, "default", "spring"),
    ];
    stage.archive(events).await;
    let asked = by("default", ListMessagesRequest::default());
    let listed = stage.api.list_messages(asked).await.unwrap().into_inner();
    let [unpriced, message] = listed.messages.as_slice() else {
        panic!("not two: {listed:?}");
    };
    assert_eq!(unpriced.cost, None);
    assert_eq!(message.cost.as_ref().unwrap().micros, 130_000);
    let attempts = message.attempts.iter();
    let costs = attempts.map(|attempt| attempt.cost.clone().unwrap());
    let told: Vec<_> = costs
        .map(|one| (one.basis(), one.amount.unwrap().micros))
        .collect();
    assert_eq!(
        told,
        [
            (v1::CostBasis::NotDelivered, 0),
            (v1::CostBasis::Estimated, 70_000),
            (v1::CostBasis::Reported, 60_000),
        ]
    );
}
