//! Messages taken back, many at once.

use casement_event::v1;
use casement_proto::message::v1 as api;
use casement_proto::message::v1::halt_target::Target;
use tonic::{Code, Status};

use crate::stage::{ANA, BEA, Dispatcher, NUMBER, Stage, text, with_token};

async fn cancel(
    dispatcher: &Dispatcher,
    token: &str,
    request: api::CancelMessagesRequest,
) -> Result<(u64, u64, u64), Status> {
    let answer = dispatcher
        .client()
        .cancel_messages(with_token(token, request))
        .await?
        .into_inner();
    Ok((
        answer.matched_count,
        answer.cancelled_count,
        answer.too_late_count,
    ))
}

fn whole(target: Target) -> api::CancelMessagesRequest {
    api::CancelMessagesRequest {
        target: Some(api::HaltTarget {
            target: Some(target),
        }),
        ..api::CancelMessagesRequest::default()
    }
}

fn number() -> Target {
    Target::Number(NUMBER.to_owned())
}

fn campaign(value: &str) -> Target {
    Target::Label(api::LabelTarget {
        brand_id: String::new(),
        key: "campaign".to_owned(),
        value: value.to_owned(),
    })
}

/// Waits for the customer, who has no phone and has not written.
fn waiting(words: &str, value: &str) -> api::SendMessageRequest {
    api::SendMessageRequest {
        labels: vec![v1::Label {
            key: "campaign".to_owned(),
            value: value.to_owned(),
        }],
        client_reference: words.to_owned(),
        ..text(BEA, words)
    }
}

#[tokio::test]
async fn all_messages_with_a_label_are_taken_back_and_counted_and_the_others_go() {
    let stage = Stage::set().await;
    let dispatcher = stage.dispatcher().await;
    let mut spring = Vec::new();
    for words in ["one", "two", "three"] {
        spring.push(dispatcher.send(waiting(words, "spring")).await.message_id);
    }
    let summer = dispatcher.send(waiting("four", "summer")).await.message_id;
    // No wait in between: what was accepted before is meant, wherever it stands.
    let counts = cancel(&dispatcher, "token-default", whole(campaign("spring"))).await;
    assert_eq!(counts.unwrap(), (3, 3, 0));
    for id in &spring {
        let message = dispatcher.until_ended(id).await;
        assert_eq!(message.outcome(), v1::MessageOutcome::Cancelled);
        assert_eq!(message.reason, "CANCELLED");
    }
    stage.writes(BEA).await;
    dispatcher.until_accepted(&summer).await;
    assert_eq!(stage.taken(), ["four"]);

    let counts = cancel(&dispatcher, "token-default", whole(campaign("spring"))).await;
    assert_eq!(counts.unwrap(), (0, 0, 0), "they are over");
}

#[tokio::test]
async fn what_is_meant_is_narrowed_and_never_reaches_another_brand() {
    let stage = Stage::set().await;
    stage.writes(ANA).await;
    let dispatcher = stage.dispatcher().await;
    let accepted = dispatcher.send(text(ANA, "gone")).await.message_id;
    dispatcher.until_accepted(&accepted).await;
    let first = dispatcher.send(waiting("one", "spring")).await.message_id;
    let second = dispatcher.send(waiting("two", "spring")).await.message_id;
    for id in [&first, &second] {
        dispatcher.until_state(id, api::MessageState::Held).await;
    }

    let status = cancel(&dispatcher, "token-other", whole(number())).await;
    assert_eq!(status.unwrap_err().code(), Code::NotFound);
    let status = cancel(&dispatcher, "token-reader", whole(number())).await;
    assert_eq!(status.unwrap_err().code(), Code::PermissionDenied);
    let nothing = api::CancelMessagesRequest::default();
    let status = cancel(&dispatcher, "token-default", nothing).await;
    assert_eq!(status.unwrap_err().code(), Code::InvalidArgument);

    let one = api::CancelMessagesRequest {
        client_reference: "one".to_owned(),
        held_only: true,
        ..whole(number())
    };
    let counts = cancel(&dispatcher, "token-default", one).await;
    assert_eq!(counts.unwrap(), (1, 1, 0));
    let rest = api::CancelMessagesRequest {
        held_only: true,
        ..whole(number())
    };
    assert_eq!(
        cancel(&dispatcher, "token-default", rest).await.unwrap(),
        (1, 1, 0)
    );
    dispatcher.until_ended(&second).await;
    assert_eq!(
        dispatcher.try_get(&accepted).await.unwrap().state(),
        api::MessageState::Accepted
    );
}
