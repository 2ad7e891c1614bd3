//! Who may ask for what, and what asking twice comes to.

use casement_event::subject::stream;
use casement_event::v1;
use casement_event_log::Position;
use casement_proto::message::v1 as api;
use casement_proto::message::v1::send_message_request::Customer;
use casement_shell::grpc::reason;
use tonic::Code;

use crate::stage::{ANA, OTHER_NUMBER, Stage, TEMPLATE, in_template, text, with_token};

#[tokio::test]
async fn the_same_request_twice_is_one_message_and_one_call() {
    let stage = Stage::set().await;
    stage.writes(ANA).await;
    let dispatcher = stage.dispatcher().await;
    let request = || api::SendMessageRequest {
        request_id: "order-7".to_owned(),
        ..text(ANA, "Your order is ready.")
    };
    let at_once = (0..8).map(|_| dispatcher.try_send(request()));
    let answers = futures::future::join_all(at_once).await;
    let first = answers[0].as_ref().unwrap().message_id.clone();
    for answer in &answers {
        assert_eq!(answer.as_ref().unwrap().message_id, first);
    }
    dispatcher.until_accepted(&first).await;
    let later = dispatcher.send(request()).await;
    assert_eq!(later.message_id, first);
    assert_eq!(later.state(), api::MessageState::Accepted);
    assert_eq!(stage.calls().len(), 1);

    let other = api::SendMessageRequest {
        request_id: "order-7".to_owned(),
        ..text(ANA, "Your order is late.")
    };
    let refusal = dispatcher.try_send(other).await.unwrap_err();
    assert_eq!(refusal.code(), Code::AlreadyExists);
    assert_eq!(reason(&refusal).as_deref(), Some("REQUEST_ID_TAKEN"));
    assert_eq!(stage.calls().len(), 1);
}

#[tokio::test]
async fn two_requests_without_an_id_are_two_messages() {
    let stage = Stage::set().await;
    stage.writes(ANA).await;
    let dispatcher = stage.dispatcher().await;
    let one = dispatcher.send(text(ANA, "Hi")).await;
    let two = dispatcher.send(text(ANA, "Hi")).await;
    assert_ne!(one.message_id, two.message_id);
    dispatcher.until_accepted(&two.message_id).await;
    assert_eq!(stage.calls().len(), 2);
}

#[tokio::test]
async fn each_call_needs_its_scope_and_sees_its_own_brand() {
    let stage = Stage::set().await;
    stage.writes(ANA).await;
    let dispatcher = stage.dispatcher().await;
    let mut client = dispatcher.client();

    let nobody = client.send_message(text(ANA, "Hi")).await.unwrap_err();
    assert_eq!(nobody.code(), Code::Unauthenticated);
    let reader = with_token("token-reader", text(ANA, "Hi"));
    let reader = client.send_message(reader).await.unwrap_err();
    assert_eq!(reader.code(), Code::PermissionDenied);

    let sent = dispatcher.send(text(ANA, "Hi")).await;
    dispatcher.until_accepted(&sent.message_id).await;
    let get = api::GetMessageRequest {
        message_id: sent.message_id.clone(),
        not_before: String::new(),
    };
    let cancel = api::CancelMessageRequest {
        message_id: sent.message_id.clone(),
    };
    let preview = api::PreviewRouteRequest {
        request: Some(text(ANA, "Hi")),
        evaluate_time: None,
    };
    let token = "token-reader";
    client
        .get_message(with_token(token, get.clone()))
        .await
        .unwrap();
    client
        .preview_route(with_token(token, preview.clone()))
        .await
        .unwrap();
    let refusal = client
        .cancel_message(with_token(token, cancel.clone()))
        .await
        .unwrap_err();
    assert_eq!(refusal.code(), Code::PermissionDenied);

    let token = "token-other";
    let refusals = [
        client
            .get_message(with_token(token, get))
            .await
            .unwrap_err(),
        client
            .cancel_message(with_token(token, cancel))
            .await
            .unwrap_err(),
    ];
    for refusal in refusals {
        assert_eq!(refusal.code(), Code::NotFound);
        assert_eq!(reason(&refusal).as_deref(), Some("MESSAGE_UNKNOWN"));
    }
    let mut theirs = text(ANA, "Hi");
    theirs.number = OTHER_NUMBER.to_owned();
    let refusals = [
        client
            .send_message(with_token(token, text(ANA, "Hi")))
            .await
            .unwrap_err(),
        client
            .preview_route(with_token(token, preview))
            .await
            .unwrap_err(),
        dispatcher.try_send(theirs).await.unwrap_err(),
    ];
    for refusal in refusals {
        assert_eq!(refusal.code(), Code::NotFound);
        assert_eq!(reason(&refusal).as_deref(), Some("NUMBER_UNKNOWN"));
    }
    assert_eq!(stage.calls().len(), 1);
}

#[tokio::test]
async fn a_caller_may_wait_for_the_attempt_or_for_the_delivery() {
    let stage = Stage::set().await;
    stage.writes(ANA).await;
    let dispatcher = stage.dispatcher().await;
    let attempted = api::SendMessageRequest {
        wait_for: api::WaitFor::Attempted.into(),
        ..text(ANA, "one")
    };
    let attempted = dispatcher.send(attempted).await;
    assert_eq!(attempted.state(), api::MessageState::Accepted);
    assert_eq!(attempted.attempts.len(), 1);

    let delivered = api::SendMessageRequest {
        wait_for: api::WaitFor::Delivered.into(),
        ..text(ANA, "two")
    };
    let reporting = async {
        let calls = stage.until_called(2).await;
        let named = calls[1]
            .callback_data
            .clone()
            .expect("it names its attempt");
        let (id, _) = named.rsplit_once('.').expect("message and attempt");
        stage.report(id, 1, Ok(v1::DeliveryStatus::Delivered)).await;
    };
    let (delivered, ()) = tokio::join!(dispatcher.send(delivered), reporting);
    assert_eq!(delivered.delivery_status(), v1::DeliveryStatus::Delivered);
}

#[tokio::test]
async fn a_decision_waits_for_the_position_that_it_is_to_rest_on() {
    let stage = Stage::set().await;
    let dispatcher = stage.dispatcher().await;
    let newest = stage.log.state(stream::EVENTS).await.unwrap();
    let next = Position {
        stream: stream::EVENTS.to_owned(),
        incarnation: newest.incarnation,
        sequence: newest.last_sequence + 1,
    };
    let request = api::SendMessageRequest {
        not_before: next.to_string(),
        ..in_template(text(ANA, "Hi"), TEMPLATE)
    };
    let deciding = dispatcher.try_send(request.clone());
    let (sent, position) = tokio::join!(deciding, stage.writes(ANA));
    assert_eq!(position, next);
    let message = dispatcher.until_accepted(&sent.unwrap().message_id).await;
    let decision = message.decision.expect("a decision");
    assert_eq!(decision.chosen_route(), v1::Route::FreeForm);

    let nonsense = api::SendMessageRequest {
        not_before: "yesterday".to_owned(),
        ..request.clone()
    };
    let refusal = dispatcher.try_send(nonsense).await.unwrap_err();
    assert_eq!(refusal.code(), Code::InvalidArgument);
    let never = Position {
        sequence: next.sequence + 1_000,
        ..next
    };
    let never = api::SendMessageRequest {
        not_before: never.to_string(),
        ..request
    };
    let refusal = dispatcher.try_send(never).await.unwrap_err();
    assert_eq!(refusal.code(), Code::Unavailable);
    assert_eq!(reason(&refusal).as_deref(), Some("POSITION_NOT_REACHED"));
    assert_eq!(stage.calls().len(), 1);
}

#[tokio::test]
async fn what_is_wrong_with_a_request_is_told_before_anything_happens() {
    let stage = Stage::set().await;
    let dispatcher = stage.dispatcher().await;
    let request = api::SendMessageRequest {
        customer: Some(Customer::To("15550002222".to_owned())),
        purpose: 0,
        ..text(ANA, " ")
    };
    let refusal = dispatcher.try_send(request).await.unwrap_err();
    assert_eq!(refusal.code(), Code::InvalidArgument);
    for field in ["to:", "content.free_form.text:", "purpose:"] {
        assert!(refusal.message().contains(field), "{}", refusal.message());
    }
    let unknown = dispatcher
        .try_get("15550001111-00000000000000000000000000000001")
        .await
        .unwrap_err();
    assert_eq!(unknown.code(), Code::NotFound);
    assert_eq!(stage.count(stream::MESSAGES).await, 0);
}
