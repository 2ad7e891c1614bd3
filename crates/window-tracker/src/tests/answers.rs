//! What is answered, without any tracker running: the facts alone decide.

use casement_event::convert::timestamp;
use casement_event::v1;
use casement_event_log::Position;
use casement_proto::window::v1 as api;
use casement_proto::window::v1::customer_ref::Customer;
use casement_proto::window::v1::window_result::Result as ApiResult;
use casement_proto::window::v1::window_service_client::WindowServiceClient;
use casement_shell::grpc::reason;
use jiff::{SignedDuration, Timestamp};
use tonic::Code;
use tonic::transport::Channel;

use super::stage::{Stage, ask, key, noon, with_token};
use crate::Config;

const HOUR: SignedDuration = SignedDuration::from_hours(1);
const SECOND: SignedDuration = SignedDuration::from_secs(1);
const US: &str = "+15550001111";
const OTHERS: &str = "+15550002222";

fn by_id(name: &str) -> Customer {
    Customer::CustomerId(name.to_owned())
}

async fn get(
    client: &mut WindowServiceClient<Channel>,
    request: tonic::Request<api::GetWindowRequest>,
) -> Result<api::Window, tonic::Status> {
    let response = client.get_window(request).await?.into_inner();
    Ok(response.window.expect("a window"))
}

#[tokio::test]
async fn an_unknown_customer_of_a_known_number_never_wrote() {
    let (stage, _) = Stage::with_manual_clock(Config::default()).await;
    let mut client = stage.serve().await;
    for customer in [
        Customer::To("+4915112345678".to_owned()),
        Customer::Recipient("DE.1".to_owned()),
        by_id("nobody"),
    ] {
        let window = get(&mut client, ask("read", US, customer)).await.unwrap();
        assert_eq!(window.number, US);
        assert_eq!(window.customer_id, "");
        assert_eq!(window.state(), v1::WindowState::Closed);
        assert_eq!(window.closed_reason(), v1::ClosedReason::NeverWrote);
        assert_eq!(window.refusal_reason, "WINDOW_CLOSED");
        assert!(!window.free_form_allowed);
        assert_eq!((window.open_time, window.expire_time), (None, None));
        window.position.parse::<Position>().unwrap();
    }
}

#[tokio::test]
async fn each_moment_of_a_window_is_answered_from_the_facts_before_anybody_is_told() {
    let (stage, clock) = Stage::with_manual_clock(Config::default()).await;
    let mut client = stage.serve().await;
    let customer = stage.link("4915112345678", "DE.1").await;
    let name = customer.as_str();
    let stored = stage.say(name, noon() - SECOND).await;
    let end = noon() - SECOND + 24 * HOUR;

    let ways = [
        Customer::To("+4915112345678".to_owned()),
        Customer::Recipient("DE.1".to_owned()),
        by_id(name),
    ];
    let (open, closed) = (v1::WindowState::Open, v1::WindowState::Closed);
    let table: [(Timestamp, _, _, &str); 5] = [
        (noon(), open, v1::ClosedReason::Unspecified, ""),
        (end - 61 * SECOND, open, v1::ClosedReason::Unspecified, ""),
        (
            end - 60 * SECOND,
            open,
            v1::ClosedReason::Unspecified,
            "GUARD_BAND",
        ),
        (end, closed, v1::ClosedReason::Expired, "WINDOW_CLOSED"),
        (
            end + 100 * HOUR,
            closed,
            v1::ClosedReason::Expired,
            "WINDOW_CLOSED",
        ),
    ];
    let mut ids = Vec::new();
    for (now, state, closed_reason, refusal) in table {
        clock.set(now);
        for customer in ways.clone() {
            let window = get(&mut client, ask("read", US, customer)).await.unwrap();
            assert_eq!(window.customer_id, name);
            assert_eq!(window.state(), state, "{now}");
            assert_eq!(window.closed_reason(), closed_reason, "{now}");
            assert_eq!(window.refusal_reason, refusal, "{now}");
            assert_eq!(window.free_form_allowed, refusal.is_empty(), "{now}");
            assert_eq!(window.open_time, Some(timestamp(noon() - SECOND)));
            assert_eq!(window.expire_time, Some(timestamp(end)));
            assert_eq!(window.last_inbound_time, window.open_time);
            assert!(window.last_inbound_message_id.starts_with("wamid."));
            assert_eq!(window.position, stored.to_string());
            ids.push(window.window_id);
        }
    }
    assert!(stage.told(name).await.is_empty());
    ids.dedup();
    assert_eq!(ids.len(), 1, "one window has one name");

    // The name it was answered with is the name it is told with.
    clock.set(noon());
    stage.tracker().advance(&key(name), None).await.unwrap();
    let told = stage.told(name).await.remove(0);
    assert_eq!(
        told.extension(casement_event::Extension::WindowId),
        Some(ids[0].as_str())
    );
}

#[tokio::test]
async fn a_thread_that_another_owns_is_open_and_refuses_free_form() {
    let (stage, _) = Stage::with_manual_clock(Config::default()).await;
    let mut client = stage.serve().await;
    stage.say("ana", noon() - HOUR).await;
    stage.hand_over("ana", noon() - SECOND).await;
    let window = get(&mut client, ask("read", US, by_id("ana")))
        .await
        .unwrap();
    assert_eq!(window.state(), v1::WindowState::Open);
    assert_eq!(window.thread_owner(), v1::ThreadOwner::Other);
    assert_eq!(window.refusal_reason, "THREAD_OWNED_BY_OTHER");
    assert!(!window.free_form_allowed);
}

#[tokio::test]
async fn a_refusal_by_the_platform_is_answered_and_a_later_message_ends_it() {
    let (stage, _) = Stage::with_manual_clock(Config::default()).await;
    let mut client = stage.serve().await;
    stage.say("ana", noon() - HOUR).await;
    stage.refuse("ana", noon() - SECOND).await;
    let window = get(&mut client, ask("read", US, by_id("ana")))
        .await
        .unwrap();
    assert_eq!(window.closed_reason(), v1::ClosedReason::Corrected);
    stage.say("ana", noon()).await;
    let window = get(&mut client, ask("read", US, by_id("ana")))
        .await
        .unwrap();
    assert!(window.free_form_allowed);
}

#[tokio::test]
async fn a_merged_customer_is_answered_with_the_one_who_carries_on() {
    let (stage, _) = Stage::with_manual_clock(Config::default()).await;
    let mut client = stage.serve().await;
    stage.say("younger", noon() - 2 * HOUR).await;
    let ended = stage.merge("younger", "older", noon() - HOUR).await;

    // The one who carries on may not have been told yet: the window is open all the same.
    let window = get(&mut client, ask("read", US, by_id("younger")))
        .await
        .unwrap();
    assert_eq!(window.customer_id, "older");
    assert_eq!(window.state(), v1::WindowState::Open);
    assert_eq!(window.last_inbound_time, Some(timestamp(noon() - 2 * HOUR)));
    assert_eq!(window.position, ended.to_string());

    stage.say("older", noon()).await;
    let window = get(&mut client, ask("read", US, by_id("younger")))
        .await
        .unwrap();
    assert_eq!(window.customer_id, "older");
    assert_eq!(window.state(), v1::WindowState::Open);
    assert_eq!(window.last_inbound_time, Some(timestamp(noon())));
}

#[tokio::test]
async fn an_id_whose_end_the_log_has_forgotten_leads_to_who_carries_on() {
    let (stage, _) = Stage::with_manual_clock(Config::default()).await;
    let mut client = stage.serve().await;
    let survivor = stage.link("4915112345678", "").await;
    let ended = stage.link("", "DE.1").await;
    assert_eq!(stage.link("4915112345678", "DE.1").await, survivor);
    stage.say(survivor.as_str(), noon() - HOUR).await;
    let window = get(&mut client, ask("read", US, by_id(ended.as_str())))
        .await
        .unwrap();
    assert_eq!(window.customer_id, survivor.as_str());
    assert_eq!(window.state(), v1::WindowState::Open);
    // There is nothing at the other number of theirs; that they never wrote there is no error.
    let window = get(&mut client, ask("every", OTHERS, by_id(ended.as_str())))
        .await
        .unwrap();
    assert_eq!(window.closed_reason(), v1::ClosedReason::NeverWrote);
}

#[tokio::test]
async fn a_number_of_another_brand_is_as_unknown_as_none() {
    let (stage, _) = Stage::with_manual_clock(Config::default()).await;
    let mut client = stage.serve().await;
    for (token, number, is_known) in [
        ("read", US, true),
        ("read", OTHERS, false),
        ("read", "+15550009999", false),
        ("other", US, false),
        ("other", OTHERS, true),
        ("every", US, true),
        ("every", OTHERS, true),
    ] {
        let answer = get(&mut client, ask(token, number, by_id("ana"))).await;
        assert_eq!(answer.is_ok(), is_known, "{token} asks for {number}");
        if let Err(status) = answer {
            assert_eq!(status.code(), Code::NotFound);
            assert_eq!(reason(&status).as_deref(), Some("NUMBER_UNKNOWN"));
        }
    }
    let refused = get(&mut client, ask("send", US, by_id("ana"))).await;
    assert_eq!(refused.unwrap_err().code(), Code::PermissionDenied);
}

#[tokio::test]
async fn what_is_no_question_is_refused_by_its_field() {
    let (stage, _) = Stage::with_manual_clock(Config::default()).await;
    let mut client = stage.serve().await;
    let mut without_customer = ask("read", US, by_id("ana"));
    without_customer.get_mut().customer = None;
    let mut with_bad_position = ask("read", US, by_id("ana"));
    with_bad_position.get_mut().not_before = "yesterday".to_owned();
    let mut with_strange_position = ask("read", US, by_id("ana"));
    with_strange_position.get_mut().not_before = "ELSEWHERE~1~1".to_owned();
    for (request, field) in [
        (ask("read", "us", by_id("ana")), "number"),
        (without_customer, "customer"),
        (
            ask("read", US, Customer::To("ana".to_owned())),
            "customer.to",
        ),
        (
            ask("read", US, Customer::Recipient(String::new())),
            "customer.recipient",
        ),
        (ask("read", US, by_id("a.b")), "customer.customer_id"),
        (with_bad_position, "not_before"),
        (with_strange_position, "not_before"),
    ] {
        let status = get(&mut client, request).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument, "{field}");
        let message = status.message();
        assert!(message.starts_with(&format!("{field}: ")), "{message}");
    }
}

#[tokio::test]
async fn a_question_waits_for_the_position_it_names_and_not_for_ever() {
    let (stage, _) = Stage::with_manual_clock(Config::default()).await;
    let mut client = stage.serve().await;
    let position = stage.say("ana", noon()).await;
    let mut request = ask("read", US, by_id("ana"));
    request.get_mut().not_before = position.to_string();
    assert!(get(&mut client, request).await.unwrap().free_form_allowed);

    // Asked for before it is there: the answer waits for the fact and has it.
    let soon = Position {
        sequence: position.sequence + 1,
        ..position.clone()
    };
    let mut request = ask("read", US, by_id("ben"));
    request.get_mut().not_before = soon.to_string();
    let (answer, stored) = tokio::join!(get(&mut client, request), stage.say("ben", noon()));
    assert_eq!(stored, soon);
    assert!(answer.unwrap().free_form_allowed);

    // The stream's next life has other positions: what it held is not there.
    let elsewhere = Position {
        incarnation: "1".to_owned(),
        ..position
    };
    let mut request = ask("read", US, by_id("ana"));
    request.get_mut().not_before = elsewhere.to_string();
    let status = get(&mut client, request).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    assert_eq!(reason(&status).as_deref(), Some("POSITION_NOT_REACHED"));
}

#[tokio::test]
async fn a_thousand_windows_are_answered_in_the_order_asked_and_each_fails_alone() {
    let (stage, _) = Stage::with_manual_clock(Config::default()).await;
    let mut client = stage.serve().await;
    let mut requests = Vec::new();
    for index in 0..1_000 {
        let name = format!("c{index}");
        if index % 3 == 0 {
            stage.say(&name, noon()).await;
        }
        let number = if index % 10 == 7 { OTHERS } else { US };
        requests.push(ask("read", number, by_id(&name)).into_inner());
    }
    let message = api::BatchGetWindowsRequest { requests };
    let response = client
        .batch_get_windows(with_token("read", message))
        .await
        .unwrap();
    let results = response.into_inner().results;
    assert_eq!(results.len(), 1_000);
    for (index, result) in results.into_iter().enumerate() {
        match result.result.expect("a result") {
            ApiResult::Window(window) => {
                assert_ne!(index % 10, 7);
                let expected = if index % 3 == 0 {
                    format!("c{index}")
                } else {
                    String::new()
                };
                assert_eq!(window.customer_id, expected);
            }
            ApiResult::Error(error) => {
                assert_eq!(index % 10, 7);
                assert_eq!(error, "NUMBER_UNKNOWN: number is not known");
            }
        }
    }

    // One more is refused as a whole, in words that say how many may be asked for.
    let one = ask("read", US, by_id("ana")).into_inner();
    let message = api::BatchGetWindowsRequest {
        requests: vec![one; 1_001],
    };
    let status = client
        .batch_get_windows(with_token("read", message))
        .await
        .unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    assert_eq!(status.message(), "requests: has 1001 windows: at most 1000");
}
