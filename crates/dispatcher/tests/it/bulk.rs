//! Many messages at once.

use casement_proto::message::v1 as api;
use casement_proto::message::v1::send_result::Result as Told;
use tonic::Code;

use crate::stage::{ANA, Dispatcher, OTHER_NUMBER, Stage, text, with_token};

const TOKEN: &str = "token-default";

fn named(words: &str) -> api::SendMessageRequest {
    api::SendMessageRequest {
        request_id: words.to_owned(),
        ..text(ANA, words)
    }
}

/// A message that can never be sent.
fn bad() -> api::SendMessageRequest {
    api::SendMessageRequest {
        purpose: 0,
        ..named("bad")
    }
}

async fn batch(
    dispatcher: &Dispatcher,
    requests: Vec<api::SendMessageRequest>,
) -> Result<Vec<Told>, tonic::Status> {
    let request = api::BatchSendMessagesRequest { requests };
    let answer = dispatcher
        .client()
        .batch_send_messages(with_token(TOKEN, request))
        .await?;
    let results = answer.into_inner().results;
    Ok(results
        .into_iter()
        .map(|one| one.result.expect("either"))
        .collect())
}

fn id(told: &Told) -> &str {
    match told {
        Told::Accepted(accepted) => &accepted.message.as_ref().expect("a message").message_id,
        Told::Refused(refused) => panic!("refused: {refused:?}"),
    }
}

fn refused(told: &Told) -> &api::Refusal {
    match told {
        Told::Refused(refused) => refused,
        Told::Accepted(accepted) => panic!("accepted: {accepted:?}"),
    }
}

#[tokio::test]
async fn of_a_stream_each_message_is_answered_in_its_order_and_a_bad_one_harms_nobody() {
    let stage = Stage::set().await;
    stage.writes(ANA).await;
    let dispatcher = stage.dispatcher().await;
    let words: Vec<String> = (0..40)
        .map(|number| format!("message {number:02}"))
        .collect();
    let mut requests: Vec<_> = words.iter().map(|words| named(words)).collect();
    requests.insert(7, bad());
    let parts: Vec<_> = requests
        .into_iter()
        .map(|request| api::SendMessagesRequest {
            request: Some(request),
        })
        .collect();
    let count = parts.len() as u64;
    let mut answers = dispatcher
        .client()
        .send_messages(with_token(TOKEN, futures::stream::iter(parts)))
        .await
        .unwrap()
        .into_inner();
    let mut ids = Vec::new();
    for index in 0..count {
        let answer = answers
            .message()
            .await
            .unwrap()
            .expect("as many as requests");
        assert_eq!(answer.index, index);
        let told = answer.result.unwrap().result.unwrap();
        if index == 7 {
            let refused = refused(&told);
            assert_eq!(refused.code, "INVALID_ARGUMENT");
            assert_eq!(refused.fields[0].field, "purpose");
            assert!(!refused.retryable);
        } else {
            ids.push(id(&told).to_owned());
        }
    }
    assert_eq!(answers.message().await.unwrap(), None);
    for id in &ids {
        dispatcher.until_accepted(id).await;
    }
    assert_eq!(stage.taken(), words, "to one customer in their order");
}

#[tokio::test]
async fn a_batch_is_answered_item_by_item_and_asking_again_sends_nothing_twice() {
    let stage = Stage::set().await;
    stage.writes(ANA).await;
    let dispatcher = stage.dispatcher().await;
    let foreign = api::SendMessageRequest {
        number: OTHER_NUMBER.to_owned(),
        ..named("foreign")
    };
    let waits = api::SendMessageRequest {
        wait_for: api::WaitFor::Delivered.into(),
        ..named("waits")
    };
    let all = || vec![named("one"), foreign.clone(), waits.clone(), named("two")];
    let first = batch(&dispatcher, all()).await.unwrap();
    assert_eq!(refused(&first[1]).reason, "NUMBER_UNKNOWN");
    assert_eq!(refused(&first[2]).fields[0].field, "wait_for");
    let again = batch(&dispatcher, all()).await.unwrap();
    for place in [0, 3] {
        assert_eq!(id(&first[place]), id(&again[place]));
        dispatcher.until_accepted(id(&first[place])).await;
    }
    assert_eq!(stage.taken(), ["one", "two"]);

    let too_many = vec![named("one"); 501];
    let status = batch(&dispatcher, too_many).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
}
