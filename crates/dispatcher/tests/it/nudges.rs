//! The template that asks a customer to write, for whom messages are held.

use casement_dispatcher::{Config, Nudge, NudgeParameter};
use casement_domain::id::{BusinessNumber, MessageId};
use casement_domain::message::{Event as MessageEvent, evolve};
use casement_event::convert::message::{Context, Details, read, record};
use casement_event::convert::window::Conversation;
use casement_event::convert::{required_instant, timestamp};
use casement_event::subject::{self, stream};
use casement_event::{Event, id, v1};
use casement_event_log::Expect;
use casement_proto::message::v1 as api;
use casement_simulator::MessageKind;
use jiff::{SignedDuration, Timestamp};

use crate::stage::{
    BEA, Dispatcher, NUMBER, PAUSED_TEMPLATE, Stage, TEMPLATE, WABA, text, with_token,
};

const DAY: SignedDuration = SignedDuration::from_hours(24);

/// What the template says.
const NUDGE: &str = "Order 7 is ready";

fn nudging(config: &mut Config) {
    config.hold.nudge = by(TEMPLATE);
    config.recheck_after = SignedDuration::from_millis(200);
}

fn by(template: &str) -> Nudge {
    Nudge {
        template: template.to_owned(),
        language: "en".to_owned(),
        parameters: vec![NudgeParameter {
            text: "7".to_owned(),
            ..NudgeParameter::default()
        }],
    }
}

async fn held(dispatcher: &Dispatcher, words: &str) -> api::Message {
    let sent = dispatcher.send(text(BEA, words)).await;
    dispatcher
        .until_state(&sent.message_id, api::MessageState::Held)
        .await
}

/// What holding the message came to.
fn nudge_of(held: &api::Message) -> v1::Nudge {
    let hold = held.decision.as_ref().and_then(|it| it.hold.clone());
    let hold = hold.expect("the decision says what comes of holding");
    hold.nudge.expect("a nudge is configured")
}

fn templates(stage: &Stage) -> usize {
    let calls = stage.calls().into_iter();
    calls
        .filter(|call| matches!(call.kind, MessageKind::Template { .. }))
        .count()
}

async fn pause(dispatcher: &Dispatcher, is_paused: bool) {
    let template = api::TemplateTarget {
        waba_id: WABA.to_owned(),
        name: TEMPLATE.to_owned(),
        language: String::new(),
    };
    let target = api::HaltTarget {
        target: Some(api::halt_target::Target::Template(template)),
    };
    let mut client = dispatcher.client();
    if is_paused {
        let request = api::PauseSendsRequest {
            target: Some(target),
            ..api::PauseSendsRequest::default()
        };
        let paused = client.pause_sends(with_token("token-all", request)).await;
        paused.expect("it is paused");
    } else {
        let request = api::ResumeSendsRequest {
            what: Some(api::resume_sends_request::What::Target(target)),
            ..api::ResumeSendsRequest::default()
        };
        let resumed = client.resume_sends(with_token("token-all", request)).await;
        resumed.expect("it is resumed");
    }
}

#[tokio::test]
async fn a_customer_is_asked_once_for_all_that_is_held_and_again_when_they_fall_silent_again() {
    let stage = Stage::set().await;
    let dispatcher = stage.dispatcher_with(nudging).await;
    let first = held(&dispatcher, "one").await;
    let told = nudge_of(&first);
    assert!(told.is_sent);
    assert_eq!(told.reason, "NUDGE_SENT");
    assert_eq!(
        (told.template_name.as_str(), told.template_language.as_str()),
        (TEMPLATE, "en")
    );
    assert_eq!(told.message_id, first.nudge_message_id);

    let nudge = dispatcher.until_accepted(&first.nudge_message_id).await;
    assert_eq!(nudge.held_message_id, first.message_id);
    assert_eq!(nudge.customer_id, first.customer_id);
    let label = nudge.labels.last().expect("a label to find it by");
    assert_eq!(
        (label.key.as_str(), &label.value),
        ("casement/nudge_for", &first.message_id)
    );
    let life = stage.life(&nudge.message_id).await;
    let [Event::MessageRequested(request), ..] = life.as_slice() else {
        panic!("{life:?}")
    };
    assert_eq!(request.purpose(), v1::Purpose::Utility);

    for words in ["two", "three"] {
        let later = held(&dispatcher, words).await;
        assert_eq!(later.nudge_message_id, nudge.message_id);
        assert_eq!(nudge_of(&later).reason, "NUDGE_SENT_BEFORE");
    }
    assert_eq!(stage.taken(), [NUDGE]);

    // They wrote, a day and more ago, and have been silent since.
    stage.wrote(NUMBER, BEA, stage.ago(DAY)).await;
    let again = held(&dispatcher, "four").await;
    assert_ne!(again.nudge_message_id, nudge.message_id);
    dispatcher.until_accepted(&again.nudge_message_id).await;
    assert_eq!(stage.taken(), [NUDGE, NUDGE]);

    stage.writes(BEA).await;
    dispatcher.until_accepted(&again.message_id).await;
    assert_eq!(stage.taken()[2..], ["one", "two", "three", "four"]);
}

#[tokio::test]
async fn of_two_dispatchers_at_once_one_asks() {
    let stage = Stage::set().await;
    let (one, two) = (
        stage.dispatcher_with(nudging).await,
        stage.dispatcher_with(nudging).await,
    );
    let sends = (0..10).map(|count| {
        let dispatcher = if count % 2 == 0 { &one } else { &two };
        async move {
            dispatcher
                .send(text(BEA, &format!("message {count}")))
                .await
        }
    });
    let sent = futures::future::join_all(sends).await;
    let mut nudges = Vec::new();
    for message in &sent {
        let held = one
            .until_state(&message.message_id, api::MessageState::Held)
            .await;
        nudges.push(held.nudge_message_id);
    }
    nudges.dedup();
    assert_eq!(nudges.len(), 1, "one for all: {nudges:?}");
    one.until_accepted(&nudges[0]).await;
    stage.writes(BEA).await;
    for message in &sent {
        one.until_accepted(&message.message_id).await;
    }
    assert_eq!(templates(&stage), 1);
    stage.assert_no_attempt_was_called_twice();
}

/// Holds a message as a dispatcher would that is gone before it asks the customer to write; returns
/// the nudge that it named.
async fn held_by_one_who_is_gone(stage: &Stage, message_id: &str, at: Timestamp) -> String {
    let id = MessageId::parse(message_id).expect("a message id");
    let life = stage.life(message_id).await;
    let [Event::MessageRequested(request), ..] = life.as_slice() else {
        panic!("{life:?}")
    };
    let happened = life.iter().map(|event| {
        let happened = read(event).expect("readable");
        happened.expect("an event of a message")
    });
    let before = happened.fold(None, |message, event| evolve(message, &event));
    let before = before.expect("a message");
    let held = MessageEvent::Held {
        at,
        recheck_at: at,
        expires_at: before.expires_at,
    };
    let after = evolve(Some(before), &held).expect("a message");
    let conversation = Conversation::read(request.conversation.as_ref()).expect("a conversation");
    let number = BusinessNumber::parse(NUMBER).expect("a number");
    let unique = id::nudge(&number, &conversation.customer, None);
    let nudge = MessageId::new(&number, unique.as_u128()).to_string();
    let context = Context {
        id: id.clone(),
        conversation,
        client_reference: String::new(),
        requested_at: required_instant("request_time", request.request_time.as_ref())
            .expect("a time"),
        priority: casement_domain::turns::Priority::Reply,
        quota_at: None,
    };
    let details = Details {
        nudge_message_id: nudge.clone(),
        ..Details::default()
    };
    let subject = subject::message(&id);
    let newest = stage.log.last(stream::MESSAGES, &subject).await;
    let sequence = newest.expect("a read").expect("a request").sequence;
    let record = record(&held, &after, &context, details, sequence, at).expect("no request");
    let appended = stage.log.append(record, Expect::last(subject, sequence));
    appended.await.expect("an append");
    nudge
}

/// A message that waits for its time, and nobody who would hold it.
async fn requested(stage: &Stage) -> String {
    let first = stage.dispatcher_with(nudging).await;
    let request = api::SendMessageRequest {
        send_time: Some(timestamp(stage.now() + SignedDuration::from_hours(1))),
        ..text(BEA, "one")
    };
    let sent = first.send(request).await;
    first.kill();
    sent.message_id
}

#[tokio::test]
async fn a_nudge_that_broke_off_is_requested_by_the_next_and_once() {
    let stage = Stage::set().await;
    let id = requested(&stage).await;
    let nudge = held_by_one_who_is_gone(&stage, &id, stage.now()).await;
    for _ in 0..2 {
        let dispatcher = stage.dispatcher_with(nudging).await;
        let asked = dispatcher.until_accepted(&nudge).await;
        assert_eq!(asked.held_message_id, id);
        held(&dispatcher, "two").await;
        dispatcher.kill();
    }
    assert_eq!(stage.taken(), [NUDGE]);
}

#[tokio::test]
async fn a_nudge_that_broke_off_long_ago_is_let_be() {
    let stage = Stage::set().await;
    let id = requested(&stage).await;
    let long_ago = stage.ago(SignedDuration::from_hours(2));
    let nudge = held_by_one_who_is_gone(&stage, &id, long_ago).await;
    let dispatcher = stage.dispatcher_with(nudging).await;
    stage.writes(BEA).await;
    dispatcher.until_accepted(&id).await;
    assert!(dispatcher.try_get(&nudge).await.is_err());
    assert_eq!(stage.taken(), ["one"]);
}

#[tokio::test]
async fn a_nudge_that_waits_does_not_go_once_the_customer_wrote_or_nothing_is_held() {
    let stage = Stage::set().await;
    let dispatcher = stage.dispatcher_with(nudging).await;
    pause(&dispatcher, true).await;
    let first = held(&dispatcher, "one").await;
    let waits = api::MessageState::Deferred;
    dispatcher.until_state(&first.nudge_message_id, waits).await;
    stage.writes(BEA).await;
    let over = dispatcher.until_ended(&first.nudge_message_id).await;
    assert_eq!(over.outcome(), v1::MessageOutcome::Cancelled);
    assert_eq!(over.reason, "CUSTOMER_WROTE");
    dispatcher.until_accepted(&first.message_id).await;

    let cleo = "US.13491208655302741919";
    let sent = dispatcher.send(text(cleo, "two")).await;
    let second = dispatcher
        .until_state(&sent.message_id, api::MessageState::Held)
        .await;
    dispatcher
        .until_state(&second.nudge_message_id, api::MessageState::Deferred)
        .await;
    dispatcher
        .try_cancel(&second.message_id)
        .await
        .expect("it is held");
    pause(&dispatcher, false).await;
    let over = dispatcher.until_ended(&second.nudge_message_id).await;
    assert_eq!(over.reason, "NOTHING_HELD");
    assert_eq!(stage.taken(), ["one"]);
}

#[tokio::test]
async fn a_template_that_may_not_go_leaves_the_message_held_and_says_why() {
    let stage = Stage::set().await;
    let dispatcher = stage
        .dispatcher_with(|config| config.hold.nudge = by(PAUSED_TEMPLATE))
        .await;
    let message = held(&dispatcher, "one").await;
    assert_eq!(message.nudge_message_id, "");
    let told = nudge_of(&message);
    assert!(!told.is_sent);
    assert_eq!(told.reason, "TEMPLATE_NOT_USABLE");
    stage.writes(BEA).await;
    dispatcher.until_accepted(&message.message_id).await;
    assert_eq!(stage.taken(), ["one"]);
}

#[tokio::test]
async fn a_preview_tells_what_comes_of_holding() {
    let stage = Stage::set().await;
    let dispatcher = stage.dispatcher_with(nudging).await;
    let preview = async || {
        let decision = dispatcher.decision(text(BEA, "one")).await;
        assert_eq!(decision.chosen_route(), v1::Route::Hold);
        let hold = decision.hold.expect("what comes of it");
        let nudge = hold.nudge.expect("a nudge is configured");
        let counts = (hold.held_message_count, hold.held_messages_max);
        (counts, nudge.reason, nudge.message_id)
    };
    let before = preview().await;
    assert_eq!(before, ((0, 100), "NUDGE_SENT".to_owned(), String::new()));
    assert_eq!(stage.count(stream::MESSAGES).await, 0, "nothing is asked");
    let message = held(&dispatcher, "one").await;
    let nudge = dispatcher.until_accepted(&message.nudge_message_id).await;
    let after = preview().await;
    let known = "NUDGE_SENT_BEFORE".to_owned();
    assert_eq!(after, ((1, 100), known, nudge.message_id));
    stage.writes(BEA).await;
    let open = dispatcher.decision(text(BEA, "one")).await;
    assert_eq!(open.hold, None);
}
