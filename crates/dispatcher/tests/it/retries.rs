//! Failed messages, requested again.

use casement_event::v1;
use casement_proto::message::v1 as api;
use casement_proto::message::v1::send_result::Result as Told;
use casement_simulator::{Fault, FaultSpec};
use jiff::SignedDuration;

use crate::stage::{ANA, Dispatcher, Stage, text, with_token};

async fn retry(dispatcher: &Dispatcher, token: &str, id: &str, takes_risk: bool) -> Told {
    let request = api::RetryMessagesRequest {
        message_ids: vec![id.to_owned()],
        accept_duplicate_risk: takes_risk,
    };
    let answer = dispatcher
        .client()
        .retry_messages(with_token(token, request))
        .await
        .expect("an answer");
    let mut results = answer.into_inner().results;
    assert_eq!(results.len(), 1);
    results.remove(0).result.expect("either")
}

fn reason(told: Told) -> String {
    match told {
        Told::Refused(refused) => refused.reason,
        Told::Accepted(accepted) => panic!("accepted: {accepted:?}"),
    }
}

fn id(told: Told) -> String {
    match told {
        Told::Accepted(accepted) => accepted.message.expect("a message").message_id,
        Told::Refused(refused) => panic!("refused: {refused:?}"),
    }
}

#[tokio::test]
async fn a_failed_message_is_requested_again_once_however_often_that_is_asked() {
    let stage = Stage::set().await;
    stage.writes(ANA).await;
    let dispatcher = stage.dispatcher().await;
    let refusal = FaultSpec::from(Fault::GraphError { code: 100 });
    stage.platform.inject(refusal.times(100));
    let request = api::SendMessageRequest {
        client_reference: "order-1".to_owned(),
        ..text(ANA, "Hi")
    };
    let failed = dispatcher.send(request).await.message_id;
    let over = dispatcher.until_ended(&failed).await;
    assert_eq!(over.outcome(), v1::MessageOutcome::Failed, "{over:#?}");
    let before = stage.calls().len();
    stage.platform.clear_faults();

    let foreign = retry(&dispatcher, "token-other", &failed, false).await;
    assert_eq!(reason(foreign), "MESSAGE_UNKNOWN");
    let new = id(retry(&dispatcher, "token-default", &failed, false).await);
    assert_ne!(new, failed);
    let accepted = dispatcher.until_accepted(&new).await;
    assert_eq!(accepted.client_reference, "order-1");
    let again = id(retry(&dispatcher, "token-all", &failed, false).await);
    assert_eq!(again, new, "whoever asks");
    assert_eq!(stage.calls().len(), before + 1);
    let early = retry(&dispatcher, "token-default", &new, true).await;
    assert_eq!(reason(early), "MESSAGE_NOT_ENDED");
}

#[tokio::test]
async fn a_message_that_the_customer_may_have_is_sent_again_only_at_the_callers_risk() {
    let stage = Stage::set().await;
    stage.writes(ANA).await;
    let lost = FaultSpec::from(Fault::TimeoutAfterAcceptance);
    stage.platform.inject(lost.times(1));
    let dispatcher = stage
        .dispatcher_with(|config| {
            config.call_timeout = SignedDuration::from_millis(400);
            config.reconcile_after = SignedDuration::from_millis(400);
        })
        .await;
    let unknown = dispatcher.send(text(ANA, "Hi")).await.message_id;
    let over = dispatcher.until_ended(&unknown).await;
    assert_eq!(over.outcome(), v1::MessageOutcome::Unknown);

    let refused = retry(&dispatcher, "token-default", &unknown, false).await;
    assert_eq!(reason(refused), "DUPLICATE_RISK");
    assert_eq!(stage.calls().len(), 1);
    let new = id(retry(&dispatcher, "token-default", &unknown, true).await);
    dispatcher.until_accepted(&new).await;
    assert_eq!(stage.calls().len(), 2);
}
