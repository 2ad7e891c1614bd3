//! Sensitive messages: what they say reaches the customer, and is found nowhere else.

use std::fs;
use std::path::Path;

use casement_domain::id::MessageId;
use casement_event::subject::stream;
use casement_event::{Event, v1};
use casement_event_log::content_keys;
use casement_proto::message::v1 as api;
use casement_proto::message::v1::send_result::Result as Told;
use casement_shell::config::Secret;
use casement_testkit::eventually;
use futures::StreamExt as _;
use prost::Message as _;
use tonic::Code;

use crate::stage::{ANA, Dispatcher, Stage, TEMPLATE, in_template, sms, text, with_token};

const CODE: &str = "493-817-ZQX";
const OTHER_CODE: &str = "111-222-ZQX";

/// What our own key is made of.
const KEY: &str = "a key that nobody knows but the dispatcher";

impl Stage {
    async fn discreet_dispatcher(&self) -> Dispatcher {
        self.dispatcher_with(|config| config.sensitive_key = Some(Secret::from_value(KEY)))
            .await
    }

    /// Whether the bytes are in any file of the broker.
    fn is_stored(&self, bytes: &[u8]) -> bool {
        has(&self.nats.store_dir(), bytes)
    }

    async fn keys(&self, message_id: &str) -> Vec<v1::ContentKeyStored> {
        let id = MessageId::parse(message_id).expect("a message id");
        content_keys::read(&self.log, &id).await.expect("keys")
    }

    async fn until_forgotten(&self, message_id: &str) {
        eventually("the key is erased", async || {
            match self.keys(message_id).await.len() {
                0 => Ok(()),
                left => Err(format!("{left} left")),
            }
        })
        .await;
    }
}

fn has(path: &Path, bytes: &[u8]) -> bool {
    if path.is_dir() {
        let entries = fs::read_dir(path).into_iter().flatten();
        return entries.flatten().any(|entry| has(&entry.path(), bytes));
    }
    // What is gone meanwhile holds nothing.
    let content = fs::read(path).unwrap_or_default();
    content.windows(bytes.len()).any(|window| window == bytes)
}

fn discreet(request: api::SendMessageRequest, request_id: &str) -> api::SendMessageRequest {
    api::SendMessageRequest {
        sensitive: true,
        request_id: request_id.to_owned(),
        ..request
    }
}

fn code(words: &str, request_id: &str) -> api::SendMessageRequest {
    discreet(text(ANA, words), request_id)
}

#[tokio::test]
async fn what_a_sensitive_message_says_is_sent_stored_nowhere_and_sealed_for_ever_at_its_end() {
    let stage = Stage::set().await;
    stage.writes(ANA).await;
    let dispatcher = stage.discreet_dispatcher().await;
    let sent = dispatcher
        .send(discreet(in_template(text(ANA, CODE), TEMPLATE), "r1"))
        .await;
    assert!(sent.sensitive);
    let id = sent.message_id;
    dispatcher.until_accepted(&id).await;
    assert_eq!(stage.taken(), [CODE]);

    let Some(Event::MessageRequested(request)) = stage.life(&id).await.into_iter().next() else {
        panic!("no request");
    };
    let content = request.content.clone().unwrap();
    assert_eq!(content.template.unwrap().name, TEMPLATE);
    assert_eq!(content.free_form, Some(v1::FreeForm::default()));
    let sealed = request.sealed_content.clone().unwrap();
    let [key] = &stage.keys(&id).await[..] else {
        panic!("one key");
    };
    assert!(
        stage.is_stored(&sealed.ciphertext),
        "the files are looked at"
    );
    assert!(stage.is_stored(&key.wrapped_key));
    assert!(!stage.is_stored(CODE.as_bytes()));
    let events = format!("{:?}", stage.life(&id).await);
    assert!(!events.contains(CODE), "{events}");

    stage
        .report(&id, 1, Ok(v1::DeliveryStatus::Delivered))
        .await;
    let ended = dispatcher.until_ended(&id).await;
    assert!(ended.sensitive);
    stage.until_forgotten(&id).await;
    assert!(
        stage.is_stored(&sealed.ciphertext),
        "what nobody can open stays"
    );
    eventually("nothing is left of the key", async || {
        let is_left = stage.is_stored(&key.wrapped_key) || stage.is_stored(&key.nonce);
        if is_left { Err("it is") } else { Ok(()) }
    })
    .await;
    assert!(!stage.is_stored(CODE.as_bytes()));
}

#[tokio::test]
async fn a_code_goes_as_sms_and_nothing_says_what_or_how_long_it_was() {
    let stage = Stage::set().await;
    let dispatcher = stage.discreet_dispatcher().await;
    let asked = discreet(sms(ANA, CODE), "r1");
    let id = dispatcher.send(asked).await.message_id;
    dispatcher.until_accepted(&id).await;
    let call = &stage.until_called(1).await[0];
    assert_eq!(call.text, CODE);
    let life = stage.life(&id).await;
    let started = life.iter().find_map(|event| match event {
        Event::AttemptStarted(started) => started.decision.clone(),
        _ => None,
    });
    let decision = started.expect("a decision");
    assert_eq!(decision.sms_encoding, "GSM-7");
    assert_eq!((decision.sms_segments, decision.sms_units), (1, 0));
    let told = format!("{life:?}");
    assert!(!told.contains(&format!("units={}", CODE.len())), "{told}");
    assert!(!stage.is_stored(CODE.as_bytes()));
    assert!(!told.contains(CODE), "{told}");
}

#[tokio::test]
async fn the_same_request_is_the_same_message_and_another_code_is_refused_before_and_after_the_end()
{
    let stage = Stage::set().await;
    stage.writes(ANA).await;
    let dispatcher = stage.discreet_dispatcher().await;
    let id = dispatcher.send(code(CODE, "r1")).await.message_id;
    dispatcher.until_accepted(&id).await;
    for is_over in [false, true] {
        if is_over {
            stage.report(&id, 1, Ok(v1::DeliveryStatus::Read)).await;
            dispatcher.until_ended(&id).await;
            stage.until_forgotten(&id).await;
        }
        assert_eq!(dispatcher.send(code(CODE, "r1")).await.message_id, id);
        let plain = api::SendMessageRequest {
            sensitive: false,
            ..code(CODE, "r1")
        };
        for other in [code(OTHER_CODE, "r1"), plain] {
            let refused = dispatcher.try_send(other).await.unwrap_err();
            assert_eq!(refused.code(), Code::AlreadyExists);
        }
    }
    assert_eq!(stage.keys(&id).await.len(), 0, "no repeat left a key");
    assert!(!stage.is_stored(OTHER_CODE.as_bytes()));
    assert_eq!(stage.taken(), [CODE]);

    let again = api::RetryMessagesRequest {
        message_ids: vec![id],
        accept_duplicate_risk: true,
    };
    let answer = dispatcher
        .client()
        .retry_messages(with_token("token-default", again))
        .await
        .unwrap();
    let told = answer.into_inner().results.remove(0).result.unwrap();
    assert!(matches!(told, Told::Refused(_)), "{told:?}");
}

#[tokio::test]
async fn every_end_forgets_and_so_does_the_next_dispatcher_for_one_that_was_killed_in_between() {
    let stage = Stage::set().await;
    let dispatcher = stage.discreet_dispatcher().await;
    // Waits for its time, and is taken back.
    let later = stage.now() + jiff::SignedDuration::from_hours(1);
    let scheduled = api::SendMessageRequest {
        send_time: Some(casement_event::convert::timestamp(later)),
        ..code(CODE, "cancelled")
    };
    let cancelled = dispatcher.send(scheduled).await.message_id;
    assert_eq!(stage.keys(&cancelled).await.len(), 1);
    dispatcher.try_cancel(&cancelled).await.unwrap();
    assert_eq!(stage.keys(&cancelled).await.len(), 0);
    // Waits for its customer, and is not worth it any more.
    let held = api::SendMessageRequest {
        ttl: Some(prost_types::Duration {
            seconds: 1,
            nanos: 0,
        }),
        ..discreet(text(crate::stage::BEA, CODE), "expired")
    };
    let expired = dispatcher.send(held).await.message_id;
    dispatcher.until_ended(&expired).await;
    stage.until_forgotten(&expired).await;
    // Is on its way.
    stage.writes(ANA).await;
    let id = dispatcher.send(code(CODE, "under way")).await.message_id;
    dispatcher.until_accepted(&id).await;
    let keys = stage.keys(&id).await;
    dispatcher.kill();

    // What a dispatcher leaves that is killed after it recorded the end.
    let parsed = MessageId::parse(&cancelled).unwrap();
    let left = v1::ContentKeyStored {
        message_id: cancelled.clone(),
        ..keys[0].clone()
    };
    content_keys::store(&stage.log, &parsed, left, stage.now())
        .await
        .unwrap();
    let next = stage.discreet_dispatcher().await;
    stage.until_forgotten(&cancelled).await;
    assert_eq!(stage.keys(&id).await, keys, "this one is not over");
    // WhatsApp cannot, and what it could not goes as SMS.
    stage.report(&id, 1, Err(131_026)).await;
    stage.until_called(2).await;
    assert_eq!(stage.taken(), [CODE, CODE]);
    assert_eq!(stage.keys(&id).await, keys, "nor is it now");
    let delivered = v1::StatusReported {
        channel: v1::Channel::Sms.into(),
        ..stage.status_report(&id, 2, Ok(v1::DeliveryStatus::Delivered))
    };
    stage.append_report(&id, delivered).await;
    next.until_ended(&id).await;
    stage.until_forgotten(&id).await;
}

#[tokio::test]
async fn without_a_key_of_ours_nothing_sensitive_is_taken_and_with_another_nothing_is_lost() {
    let stage = Stage::set().await;
    stage.writes(ANA).await;
    let without = stage.dispatcher().await;
    let refused = without.try_send(code(CODE, "r1")).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    assert!(refused.message().contains("dispatcher.sensitive_key"));
    let preview = without.try_preview(api::PreviewRouteRequest {
        request: Some(code(CODE, "r1")),
        evaluate_time: None,
    });
    assert_eq!(preview.await.unwrap_err().code(), Code::FailedPrecondition);
    without.send(text(ANA, "plain")).await;
    stage.until_called(1).await;
    drop(without);

    let with = stage.discreet_dispatcher().await;
    let later = stage.now() + jiff::SignedDuration::from_secs(2);
    let scheduled = api::SendMessageRequest {
        send_time: Some(casement_event::convert::timestamp(later)),
        ..code(CODE, "r2")
    };
    let id = with.send(scheduled).await.message_id;
    with.kill();
    // The key was changed, and the old one is kept below it.
    let rotated = format!("{}\n{KEY}\n", "a newer key, which nobody else knows either");
    let next = stage
        .dispatcher_with(|config| config.sensitive_key = Some(Secret::from_value(rotated)))
        .await;
    next.until_accepted(&id).await;
    assert_eq!(stage.taken(), ["plain", CODE]);
}

#[tokio::test]
async fn a_message_whose_key_is_gone_fails_and_nobody_is_called() {
    let stage = Stage::set().await;
    stage.writes(ANA).await;
    let dispatcher = stage.discreet_dispatcher().await;
    let later = stage.now() + jiff::SignedDuration::from_secs(2);
    let scheduled = api::SendMessageRequest {
        send_time: Some(casement_event::convert::timestamp(later)),
        ..code(CODE, "r1")
    };
    let id = dispatcher.send(scheduled).await.message_id;
    let parsed = MessageId::parse(&id).unwrap();
    assert_eq!(content_keys::erase(&stage.log, &parsed).await.unwrap(), 1);
    let ended = dispatcher.until_ended(&id).await;
    assert_eq!(ended.outcome(), v1::MessageOutcome::Failed);
    let error = ended.attempts[0].error.clone().unwrap();
    assert!(error.message.contains("key"), "{}", error.message);
    assert_eq!(stage.calls().len(), 0);
}

#[tokio::test]
async fn a_sensitive_command_is_erased_once_it_is_done_and_buried_without_what_it_says() {
    const ANSWERS: &str = "casement.answers.default.crm.1";
    let stage = Stage::set().await;
    stage.writes(ANA).await;
    let client = stage.nats.client().await;
    let mut answers = client.subscribe(ANSWERS).await.unwrap();
    client.publish(ANSWERS, "".into()).await.unwrap();
    answers.next().await.unwrap();
    let subject = "casement.commands.send.default.15550001111.crm";
    let publish = async |payload: Vec<u8>| {
        let headers = [("casement-answer-to", ANSWERS)];
        stage.nats.publish(subject, &headers, payload).await
    };
    publish(code(CODE, "r1").encode_to_vec()).await;
    assert!(stage.is_stored(CODE.as_bytes()), "until it is taken");

    let _dispatcher = stage.discreet_dispatcher().await;
    let mut hear = async || {
        let payload = answers.next().await.unwrap().payload;
        api::SendResult::decode(payload).unwrap().result.unwrap()
    };
    assert!(matches!(hear().await, Told::Accepted(_)));
    // Refused for good: one that says too little, and one that cannot be read.
    let pointless = api::SendMessageRequest {
        purpose: 0,
        ..code(CODE, "r2")
    };
    publish(pointless.encode_to_vec()).await;
    assert!(matches!(hear().await, Told::Refused(_)));
    let mut broken = code(CODE, "r3").encode_to_vec();
    broken.push(0xff);
    publish(broken).await;
    assert!(matches!(hear().await, Told::Refused(_)));
    stage.until_called(1).await;
    eventually("the code is nowhere", async || {
        if stage.is_stored(CODE.as_bytes()) {
            Err("it is")
        } else {
            Ok(())
        }
    })
    .await;
    let letters = stage.log.dead_letters().await.unwrap();
    assert_eq!(letters.len(), 2);
    for letter in letters {
        assert!(letter.letter.reason.contains("sensitive"));
        let stored = stage.log.get(stream::DEAD, letter.sequence).await.unwrap();
        let Event::DeadLetter(letter) = stored.unwrap().event().unwrap() else {
            panic!("a letter");
        };
        assert!(letter.item.is_empty());
    }
}
