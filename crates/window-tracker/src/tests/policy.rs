//! Which events open a window, as it is told and answered.

use casement_domain::inbound::{Kind, QualifyingPolicy};
use casement_event::v1;
use casement_proto::window::v1::customer_ref::Customer;
use jiff::SignedDuration;

use super::stage::{Stage, ask, key, noon};
use crate::Config;

#[tokio::test]
async fn each_kind_of_event_opens_a_window_exactly_if_its_row_says_so() {
    let (stage, _) = Stage::with_manual_clock(Config::default()).await;
    let mut client = stage.serve().await;
    let policy = QualifyingPolicy::default();
    for kind in Kind::ALL {
        let name = format!("{kind:?}").to_lowercase();
        stage.happen(&name, noon(), kind, None).await;
        stage.tracker().advance(&key(&name), None).await.unwrap();
        let opens = policy.qualifies(kind);
        let told = stage.told_names(&name).await;
        assert_eq!(told == ["WindowOpened"], opens, "{kind:?} {told:?}");
        assert_eq!(told.is_empty(), !opens, "{kind:?} {told:?}");

        let request = ask("read", "+15550001111", Customer::CustomerId(name));
        let answer = client.get_window(request).await.unwrap().into_inner();
        let window = answer.window.unwrap();
        assert_eq!(window.free_form_allowed, opens, "{kind:?}");
        if !opens {
            assert_eq!(window.closed_reason(), v1::ClosedReason::NeverWrote);
        }
    }
}

#[tokio::test]
async fn neither_history_nor_an_echo_moves_the_end_of_an_open_window() {
    let (stage, clock) = Stage::with_manual_clock(Config::default()).await;
    stage.say("ada", noon()).await;
    stage.tracker().advance(&key("ada"), None).await.unwrap();
    let later = noon() + SignedDuration::from_hours(10);
    clock.set(later);
    for (kind, at) in [
        (Kind::History, noon() - SignedDuration::from_hours(3)),
        (Kind::Echo, later),
    ] {
        stage.happen("ada", at, kind, None).await;
        stage.tracker().advance(&key("ada"), None).await.unwrap();
    }
    assert_eq!(stage.told_names("ada").await, ["WindowOpened"]);
    clock.set(noon() + SignedDuration::from_hours(24));
    stage.tracker().advance(&key("ada"), None).await.unwrap();
    assert_eq!(
        stage.told_names("ada").await,
        ["WindowOpened", "WindowExpired"]
    );
}
