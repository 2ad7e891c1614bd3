//! Services that send over the broker.

use casement_dispatcher::{PutBackError, put_back};
use casement_event::subject::stream;
use casement_proto::message::v1 as api;
use casement_proto::message::v1::send_result::Result as Told;
use casement_testkit::eventually;
use futures::StreamExt as _;
use prost::Message as _;

use crate::stage::{ANA, Stage, sms, text};

const SUBJECT: &str = "casement.commands.send.default.15550001111.crm";
const ANSWERS: &str = "casement.answers.default.crm.1";

fn named(words: &str) -> api::SendMessageRequest {
    api::SendMessageRequest {
        request_id: words.to_owned(),
        ..text(ANA, words)
    }
}

async fn publish(stage: &Stage, subject: &str, request: &api::SendMessageRequest) -> String {
    let headers = [("casement-answer-to", ANSWERS)];
    let payload = request.encode_to_vec();
    stage.nats.publish(subject, &headers, payload).await
}

fn told(answer: &[u8]) -> Told {
    let result = api::SendResult::decode(answer).expect("a result");
    result.result.expect("either")
}

fn accepted(told: Told) -> String {
    match told {
        Told::Accepted(accepted) => accepted.message.expect("a message").message_id,
        Told::Refused(refused) => panic!("refused: {refused:?}"),
    }
}

fn refused(told: Told) -> api::Refusal {
    match told {
        Told::Refused(refused) => refused,
        Told::Accepted(accepted) => panic!("accepted: {accepted:?}"),
    }
}

/// What waits for a dispatcher.
async fn queue_len(stage: &Stage) -> u64 {
    let state = stage.log.state(stream::COMMANDS).await.expect("a stream");
    state.messages
}

#[tokio::test]
async fn a_command_is_a_message_once_its_sender_is_told_and_the_same_again_sends_nothing_twice() {
    let stage = Stage::set().await;
    stage.writes(ANA).await;
    let client = stage.nats.client().await;
    let mut answers = client.subscribe(ANSWERS).await.unwrap();
    // Hearing oneself proves that the broker knows who listens.
    client.publish(ANSWERS, "".into()).await.unwrap();
    answers.next().await.unwrap();
    // Acknowledged while no dispatcher runs: it is on disk.
    let acknowledged = publish(&stage, SUBJECT, &named("one")).await;
    assert!(
        acknowledged.contains("\"stream\":\"CASEMENT_COMMANDS\""),
        "{acknowledged}"
    );
    assert_eq!(queue_len(&stage).await, 1);

    let [first, second] = [stage.dispatcher().await, stage.dispatcher().await];
    let id = accepted(told(&answers.next().await.unwrap().payload));
    let message = first
        .try_get(&id)
        .await
        .expect("it is durable once it is told");
    assert_eq!(message.number, "+15550001111");
    first.until_accepted(&id).await;

    for _ in 0..3 {
        publish(&stage, SUBJECT, &named("one")).await;
        assert_eq!(accepted(told(&answers.next().await.unwrap().payload)), id);
    }
    let other = api::SendMessageRequest {
        request_id: "one".to_owned(),
        ..named("two")
    };
    publish(&stage, SUBJECT, &other).await;
    let refusal = refused(told(&answers.next().await.unwrap().payload));
    assert_eq!(refusal.reason, "REQUEST_ID_TAKEN");
    publish(&stage, SUBJECT, &named("three")).await;
    let third = accepted(told(&answers.next().await.unwrap().payload));
    second.until_accepted(&third).await;
    assert_eq!(stage.taken(), ["one", "three"]);
    eventually("what is done leaves the queue", async || {
        match queue_len(&stage).await {
            0 => Ok(()),
            len => Err(format!("{len} left")),
        }
    })
    .await;
}

#[tokio::test]
async fn a_command_that_can_never_succeed_is_answered_and_kept_with_its_reason() {
    let stage = Stage::set().await;
    stage.writes(ANA).await;
    let dispatcher = stage.dispatcher().await;
    let client = stage.nats.client().await;
    let mut answers = client.subscribe(ANSWERS).await.unwrap();
    // Hearing oneself proves that the broker knows who listens.
    client.publish(ANSWERS, "".into()).await.unwrap();
    answers.next().await.unwrap();
    let foreign = "casement.commands.send.default.15550001113.crm";
    let other_number = api::SendMessageRequest {
        number: "+15550001113".to_owned(),
        ..named("foreign")
    };
    let without_id = text(ANA, "one");
    let without_purpose = api::SendMessageRequest {
        purpose: 0,
        ..named("no purpose")
    };
    let table = [
        (
            SUBJECT,
            &without_id,
            "INVALID_ARGUMENT: INVALID_FIELD: request_id",
        ),
        (
            SUBJECT,
            &without_purpose,
            "INVALID_ARGUMENT: INVALID_FIELD: purpose",
        ),
        (
            SUBJECT,
            &other_number,
            "INVALID_ARGUMENT: INVALID_FIELD: number",
        ),
        (foreign, &other_number, "NOT_FOUND: NUMBER_UNKNOWN"),
    ];
    for (place, (subject, request, reason)) in table.into_iter().enumerate() {
        publish(&stage, subject, request).await;
        let refusal = refused(told(&answers.next().await.unwrap().payload));
        assert!(!refusal.retryable, "{refusal:?}");
        let letters = stage.log.dead_letters().await.unwrap();
        assert_eq!(letters.len(), place + 1);
        let letter = &letters[place].letter;
        assert!(letter.reason.starts_with(reason), "{}", letter.reason);
        assert_eq!(letter.stream, stream::COMMANDS);
    }
    // Those harm nobody behind them.
    publish(&stage, SUBJECT, &named("two")).await;
    let id = accepted(told(&answers.next().await.unwrap().payload));
    dispatcher.until_accepted(&id).await;
    assert_eq!(stage.taken(), ["two"]);
}

#[tokio::test]
async fn a_command_that_was_refused_is_put_back_as_it_came_and_sent_once() {
    let stage = Stage::set().await;
    stage.writes(ANA).await;
    let dispatcher = stage.dispatcher().await;
    let client = stage.nats.client().await;
    let mut answers = client.subscribe(ANSWERS).await.unwrap();
    // Hearing oneself proves that the broker knows who listens.
    client.publish(ANSWERS, "".into()).await.unwrap();
    answers.next().await.unwrap();
    let new = "+15550001119";
    let subject = "casement.commands.send.default.15550001119.crm";
    let request = api::SendMessageRequest {
        number: new.to_owned(),
        request_id: "one".to_owned(),
        ..sms(ANA, "Hi")
    };
    publish(&stage, subject, &request).await;
    let refusal = refused(told(&answers.next().await.unwrap().payload));
    assert_eq!(refusal.reason, "NUMBER_UNKNOWN", "{refusal:?}");
    let sequence = stage.log.dead_letters().await.unwrap()[0].sequence;
    let letter = || async { stage.log.dead_letter(sequence).await.unwrap().unwrap() };

    stage.record_number(stage.number(new, "default")).await;
    let now = stage.now();
    for reason in ["it is there now", "nobody wrote the first time down"] {
        put_back(&stage.log, &letter().await, reason, now)
            .await
            .unwrap();
    }
    assert_eq!(stage.log.dead_letters().await.unwrap(), []);
    let id = accepted(told(&answers.next().await.unwrap().payload));
    dispatcher.until_accepted(&id).await;
    assert_eq!(stage.taken(), ["Hi"]);
    eventually(
        "nothing is left among the commands",
        async || match queue_len(&stage).await {
            0 => Ok(()),
            len => Err(format!("{len} left")),
        },
    )
    .await;
    assert_eq!(stage.taken(), ["Hi"], "it is one message");

    let mut other = letter().await;
    other.letter.subject = "casement.events.message.03.15550001111.x".to_owned();
    let refused = put_back(&stage.log, &other, "", now).await;
    assert!(
        matches!(refused, Err(PutBackError::NotACommand)),
        "{refused:?}"
    );
}

#[tokio::test]
async fn a_command_in_json_is_answered_in_json_and_nowhere_but_where_its_sender_listens() {
    let stage = Stage::set().await;
    stage.writes(ANA).await;
    let dispatcher = stage.dispatcher().await;
    let client = stage.nats.client().await;
    let mut answers = client.subscribe("casement.answers.>").await.unwrap();
    // Hearing oneself proves that the broker knows who listens.
    client.publish(ANSWERS, "".into()).await.unwrap();
    answers.next().await.unwrap();
    let command = |request_id: &str| {
        format!(
            r#"{{"number": "+15550001111", "to": "{ANA}", "purpose": "PURPOSE_SERVICE",
                "content": {{"freeForm": {{"text": "{request_id}"}}}}, "requestId": "{request_id}"}}"#
        )
        .into_bytes()
    };
    let json = ("content-type", "application/json");
    let elsewhere = ("casement-answer-to", "casement.answers.default.other.1");
    stage
        .nats
        .publish(SUBJECT, &[json, elsewhere], command("one"))
        .await;
    let own = ("casement-answer-to", ANSWERS);
    stage
        .nats
        .publish(SUBJECT, &[json, own], command("two"))
        .await;
    let answer = answers.next().await.unwrap();
    assert_eq!(answer.subject.as_str(), ANSWERS);
    let told: serde_json::Value = serde_json::from_slice(&answer.payload).unwrap();
    let id = told["accepted"]["message"]["messageId"].as_str().unwrap();
    dispatcher.until_accepted(id).await;
    eventually("the other was sent as well", async || {
        let taken = stage.taken();
        (taken.len() == 2).then_some(()).ok_or(taken.join(", "))
    })
    .await;
}

#[tokio::test]
async fn a_full_queue_refuses_and_forgets_nothing() {
    let nats = casement_testkit::NatsServer::start().await;
    let config = casement_event_log::Config {
        servers: nats.url(),
        accept_unsafe_broker: true,
        sizes: casement_event_log::Sizes {
            commands_mib: 1,
            ..casement_event_log::Sizes::default()
        },
        ..casement_event_log::Config::default()
    };
    let log = casement_event_log::Log::connect(&config).await.unwrap();
    let command = || vec![b'x'; 600 * 1024];
    let first = nats.publish(SUBJECT, &[], command()).await;
    assert!(first.contains("\"seq\":1"), "{first}");
    let refused = nats.publish(SUBJECT, &[], command()).await;
    assert!(refused.contains("maximum bytes exceeded"), "{refused}");
    assert_eq!(log.state(stream::COMMANDS).await.unwrap().messages, 1);
}
