//! Customers who prove to be one, and customers whose identifiers change.

use casement_domain::consent::{Choice, Consent, Provenance, Topic};
use casement_domain::id::{BusinessNumber, CustomerId, Phone, PortfolioId};
use casement_domain::inbound::Addresses;
use casement_domain::window::{ClosedReason, Evidence, Facts, Policy};
use casement_event::convert::window;
use casement_event::subject::Family;
use casement_event::{Event, Record, Stored, Uuid, subject, v1};
use casement_event_log::{Expect, consent, customers};
use casement_shell::SystemClock;
use casement_testkit::eventually;
use serde_json::json;

use crate::stage::{
    ONE, PORTFOLIO, Stage, TWO, at, known, message, one_text, text, types, value, webhook,
};

fn customer(stored: &Stored) -> CustomerId {
    subject::parse_conversation(&stored.subject).unwrap().2
}

#[tokio::test]
async fn a_message_that_carries_both_identifiers_makes_two_customers_one_at_every_number() {
    let stage = Stage::start().await;
    stage
        .take(&one_text(ONE, &text("wamid.1", "15550009999", "", 0)))
        .await;
    stage
        .take(&one_text(ONE, &text("wamid.2", "", "US.1", 5)))
        .await;
    stage
        .take(&one_text(TWO, &text("wamid.3", "", "US.1", 6)))
        .await;
    let before = stage.inbound(ONE.0).await;
    let (older, younger) = (customer(&before[0]), customer(&before[1]));
    assert_ne!(older, younger);

    stage
        .take(&one_text(ONE, &text("wamid.4", "15550009999", "US.1", 3)))
        .await;
    let stored = stage.inbound(ONE.0).await;
    assert_eq!(
        types(&stored[2..]),
        ["MovedTo", "CustomerMerged", "InboundMessageReceived"]
    );
    assert_eq!(customer(&stored[2]), younger);
    assert_eq!(known(&stored[2]).moved_to.unwrap().survivor, older);
    assert_eq!(customer(&stored[3]), older);
    let Event::CustomerMerged(merged) = stored[3].event().unwrap() else {
        panic!("{}", stored[3].event_type())
    };
    assert_eq!(merged.merged_customer_id, younger.as_str());
    assert_eq!(customer(&stored[4]), older);
    let summary = known(&stored[4]).summary;
    let last = summary.last_qualifying.clone().unwrap();
    assert_eq!(
        (last.at, last.provider_id.as_str()),
        (at(5), "wamid.2"),
        "the window goes on from the loser's message"
    );
    assert_eq!(summary.addresses().user_id.as_deref(), Some("US.1"));
    assert_eq!(summary.addresses().phone.unwrap().digits(), "15550009999");

    // At the other number, where only the loser wrote, the survivor carries on, too.
    let other = stage.inbound(TWO.0).await;
    assert_eq!(
        types(&other),
        ["InboundMessageReceived", "MovedTo", "CustomerMerged"]
    );
    assert_eq!(customer(&other[2]), older);
    assert_eq!(known(&other[2]).summary.last_qualifying.unwrap().at, at(6));

    // A repeat of the loser's message is known at the loser's end; a new one goes to the survivor.
    stage
        .take(&one_text(ONE, &text("wamid.5", "", "US.1", 9)))
        .await;
    stage
        .take(&one_text(ONE, &text("wamid.4", "15550009999", "US.1", 3)))
        .await;
    let stored = stage.inbound(ONE.0).await;
    assert_eq!(stored.len(), 6);
    assert_eq!(customer(&stored[5]), older);
    assert_eq!(message(&stored[5]).provider_message_id, "wamid.5");
}

#[tokio::test]
async fn what_became_of_our_messages_to_one_who_ended_holds_for_the_one_who_carries_on() {
    let stage = Stage::start().await;
    for message in [
        text("wamid.1", "15550009999", "", 0),
        text("wamid.2", "", "US.1", 5),
    ] {
        stage.take(&one_text(ONE, &message)).await;
    }
    let younger = customer(&stage.inbound(ONE.0).await[1]);
    // The platform refused a message to the younger one; before, she was answered.
    let evidence = Evidence {
        refused_at: Some(at(8)),
        answered_at: Some(at(6)),
        ..Evidence::default()
    };
    let number = BusinessNumber::parse(ONE.0).unwrap();
    let place = subject::conversation(Family::Evidence, &number, &younger);
    let refused = v1::WindowRefused {
        summary: Some(window::evidence(evidence)),
        ..v1::WindowRefused::default()
    };
    let record = Record::new(place, Uuid::new_v4(), "casement/test", at(8), refused);
    stage.log.append(record, Expect::Anything).await.unwrap();

    for message in [
        text("wamid.3", "15550009999", "US.1", 7),
        text("wamid.4", "15550009999", "US.1", 9),
    ] {
        stage.take(&one_text(ONE, &message)).await;
    }
    let stored = stage.inbound(ONE.0).await;
    assert_eq!(
        types(&stored[2..]),
        [
            "MovedTo",
            "CustomerMerged",
            "InboundMessageReceived",
            "InboundMessageReceived"
        ]
    );
    for stored in &stored[2..] {
        assert_eq!(known(stored).summary.carried, evidence);
    }
    // Who carries on is as closed as the one who ended was, until the next message.
    let policy = Policy::default();
    let facts = |stored: &Stored| Facts::of(&known(stored).summary);
    let reason = facts(&stored[4]).closed_reason(&policy, at(10));
    assert_eq!(reason, Some(ClosedReason::Corrected));
    assert_eq!(facts(&stored[4]).waiting_since(), Some(at(7)));
    assert!(facts(&stored[5]).is_open(&policy, at(10)));
}

#[tokio::test]
async fn a_customer_who_proves_to_be_another_ends_also_where_nothing_was_written() {
    let stage = Stage::start().await;
    for message in [
        text("wamid.1", "15550009999", "", 0),
        text("wamid.2", "", "US.1", 1),
        text("wamid.3", "15550009999", "US.1", 2),
    ] {
        stage.take(&one_text(ONE, &message)).await;
    }
    // Whoever still knows the link from before finds an end there, too, and no empty subject.
    let younger = customer(&stage.inbound(ONE.0).await[1]);
    let other = stage.inbound(TWO.0).await;
    assert_eq!(types(&other), ["MovedTo"]);
    assert_eq!(customer(&other[0]), younger);
    assert_eq!(known(&other[0]).summary.last_event_at, None);
}

#[tokio::test]
async fn a_changed_user_id_stays_the_same_customer() {
    let stage = Stage::start().await;
    stage
        .take(&one_text(ONE, &text("wamid.1", "15550009999", "US.1", 0)))
        .await;
    let update = json!([{"wa_id": "15550008888", "timestamp": at(5).as_second(),
        "user_id": {"previous": "US.1", "current": "US.2"}}]);
    let update = webhook(&[("user_id_update", value(ONE, "user_id_update", update))]);
    stage.take(&update).await;
    stage.take(&update).await;
    stage
        .take(&one_text(ONE, &text("wamid.2", "15550008888", "US.2", 9)))
        .await;
    let stored = stage.inbound(ONE.0).await;
    assert_eq!(
        types(&stored),
        [
            "InboundMessageReceived",
            "CustomerIdentityChanged",
            "InboundMessageReceived"
        ]
    );
    assert!(stored.iter().all(|one| one.subject == stored[0].subject));
    let Event::CustomerIdentityChanged(changed) = stored[1].event().unwrap() else {
        panic!("{}", stored[1].event_type())
    };
    assert_eq!(changed.previous.unwrap().user_id, "US.1");
    assert_eq!(changed.current.unwrap().user_id, "US.2");
    let summary = known(&stored[1]).summary;
    assert_eq!(summary.last_qualifying.unwrap().at, at(0), "opens nothing");
}

#[tokio::test]
async fn a_changed_number_takes_in_whom_the_new_one_made_but_not_its_former_owner() {
    let stage = Stage::start().await;
    // Two customers hold what the change will name as new: one is known by nothing else, the
    // other is somebody who goes by another user id.
    stage
        .take(&one_text(ONE, &text("wamid.1", "15550009999", "US.1", 0)))
        .await;
    stage
        .take(&one_text(ONE, &text("wamid.2", "", "US.2", 1)))
        .await;
    stage
        .take(&one_text(ONE, &text("wamid.3", "15550008888", "US.7", 2)))
        .await;
    let system = json!({"id": "wamid.4", "timestamp": at(3).as_second().to_string(),
        "from": "15550009999", "from_user_id": "US.1", "type": "system",
        "system": {"type": "user_changed_number", "wa_id": "15550008888", "user_id": "US.2"}});
    stage.take(&one_text(ONE, &system)).await;
    let stored = stage.inbound(ONE.0).await;
    assert_eq!(
        types(&stored[3..]),
        ["MovedTo", "CustomerMerged", "CustomerIdentityChanged"]
    );
    let [changer, made, former] = [&stored[0], &stored[1], &stored[2]].map(customer);
    assert_eq!(customer(&stored[3]), made);
    assert_eq!(customer(&stored[4]), changer);
    assert_eq!(customer(&stored[5]), changer);
    stage
        .take(&one_text(ONE, &text("wamid.5", "", "US.7", 9)))
        .await;
    let stored = stage.inbound(ONE.0).await;
    assert_eq!(customer(stored.last().unwrap()), former);
}

#[tokio::test]
async fn a_merge_that_broke_off_is_finished_by_the_next_delivery() {
    let stage = Stage::start().await;
    for message in [
        text("wamid.1", "15550009999", "", 0),
        text("wamid.2", "", "US.1", 5),
    ] {
        stage.take(&one_text(ONE, &message)).await;
    }
    let stored = stage.inbound(ONE.0).await;
    let (older, younger) = (customer(&stored[0]), customer(&stored[1]));
    // The links move, and whoever moved them is gone before anything else is written.
    let both = Addresses {
        phone: Some(Phone::parse("15550009999").unwrap()),
        user_id: Some("US.1".to_owned()),
        parent_user_id: None,
    };
    let portfolio = PortfolioId::parse(PORTFOLIO).unwrap();
    let resolved = customers::resolve(
        &stage.log,
        &stage.tokens,
        "casement/test",
        &portfolio,
        &both,
        at(6),
    )
    .await
    .unwrap();
    assert_eq!(resolved.merged, std::slice::from_ref(&younger));
    assert_eq!(stage.inbound(ONE.0).await.len(), 2);

    // A replay is a delivery that may have been begun before.
    let later = ("15550003333", "333");
    let message = text("wamid.3", "15550009999", "US.1", 7);
    stage.take(&one_text(later, &message)).await;
    stage.add_number(later.0, later.1).await;
    eventually("the message is replayed", async || {
        // The loser's end there comes before it.
        types(&stage.inbound(later.0).await).contains(&"InboundMessageReceived")
    })
    .await;
    let stored = stage.inbound(ONE.0).await;
    assert_eq!(types(&stored[2..]), ["MovedTo", "CustomerMerged"]);
    assert_eq!(customer(&stored[2]), younger);
    assert_eq!(customer(&stored[3]), older);
    assert_eq!(known(&stored[3]).summary.last_qualifying.unwrap().at, at(5));
}

#[tokio::test]
async fn a_repeat_of_what_the_merged_customer_wrote_is_known() {
    let stage = Stage::start().await;
    let by_user_id: Vec<_> = (0..5)
        .map(|index| text(&format!("wamid.{index}"), "", "US.1", index))
        .collect();
    stage
        .take(&one_text(ONE, &text("wamid.old", "15550009999", "", 0)))
        .await;
    for message in &by_user_id {
        stage.take(&one_text(ONE, message)).await;
    }
    stage
        .take(&one_text(ONE, &text("wamid.6", "15550009999", "US.1", 6)))
        .await;
    let before = stage.inbound(ONE.0).await;
    assert_eq!(customer(&before[0]), customer(before.last().unwrap()));
    for message in &by_user_id {
        stage.take(&one_text(ONE, message)).await;
    }
    assert_eq!(types(&stage.inbound(ONE.0).await), types(&before));
}

#[tokio::test]
async fn a_customer_who_was_merged_stays_so_when_the_log_has_forgotten_it() {
    let stage = Stage::start().await;
    for message in [
        text("wamid.1", "15550009999", "", 0),
        text("wamid.2", "", "US.1", 1),
        text("wamid.3", "15550008888", "US.1", 2),
        text("wamid.4", "15550009999", "US.1", 3),
    ] {
        stage.take(&one_text(ONE, &message)).await;
    }
    let survivor = customer(stage.inbound(ONE.0).await.last().unwrap());
    // The phone was linked to the one who ended, and comes alone after all of it is gone.
    let last = stage.log.state("EVENTS").await.unwrap().last_sequence;
    stage.log.purge_up_to("EVENTS", last + 1).await.unwrap();
    let now = SystemClock::shared().now().as_second() - at(0).as_second();
    for number in [ONE, TWO] {
        let wamid = format!("wamid.later.{}", number.0);
        let later = text(&wamid, "15550008888", "", now);
        stage.take(&one_text(number, &later)).await;
        let stored = stage.inbound(number.0).await;
        assert_eq!(customer(stored.last().unwrap()), survivor, "{number:?}");
    }
}

#[tokio::test]
async fn what_a_merged_customer_refused_is_refused_by_the_one_who_carries_on() {
    let stage = Stage::start().await;
    for message in [
        text("wamid.1", "15550009999", "", 0),
        text("wamid.2", "", "US.1", 1),
    ] {
        stage.take(&one_text(ONE, &message)).await;
    }
    let stored = stage.inbound(ONE.0).await;
    let (older, younger) = (customer(&stored[0]), customer(&stored[1]));
    let portfolio = PortfolioId::parse(PORTFOLIO).unwrap();
    let refusal = Consent::of(
        Topic::WHATSAPP_MARKETING,
        Choice {
            at: at(2),
            is_refused: true,
            provenance: Provenance {
                source: Provenance::USER_PREFERENCES.to_owned(),
                wording: "stop".to_owned(),
                reference: "r1".to_owned(),
                ..Provenance::default()
            },
        },
    );
    let change = consent::Change {
        consent: refusal.clone(),
        cause: consent::cause("r1"),
        ..consent::Change::default()
    };
    consent::record(
        &stage.log,
        "casement/test",
        &portfolio,
        &younger,
        &change,
        at(3),
    )
    .await
    .unwrap();
    stage
        .take(&one_text(ONE, &text("wamid.3", "15550009999", "US.1", 4)))
        .await;
    let known = consent::read(&stage.log, &portfolio, &older).await.unwrap();
    assert_eq!(known.consent, refusal);
}

#[tokio::test]
async fn the_next_owner_of_a_number_is_no_merge_and_hears_nothing_of_the_former() {
    let stage = Stage::start().await;
    stage
        .take(&one_text(ONE, &text("wamid.1", "15550009999", "US.1", 0)))
        .await;
    let system = json!({"id": "wamid.2", "timestamp": at(3).as_second().to_string(),
        "from": "15550009999", "from_user_id": "US.1", "type": "system",
        "system": {"type": "user_changed_number", "wa_id": "15550008888", "user_id": "US.2"}});
    for message in [
        &system,
        &text("wamid.3", "15550009999", "US.9", 5),
        &text("wamid.4", "15550008888", "US.2", 6),
        // The phone alone, by its time: before the change, and since.
        &text("wamid.5", "15550009999", "", 1),
        &text("wamid.6", "15550009999", "", 7),
        &system,
    ] {
        stage.take(&one_text(ONE, message)).await;
    }
    let stored = stage.inbound(ONE.0).await;
    assert!(!types(&stored).contains(&"MovedTo"), "{:?}", types(&stored));
    let owners: Vec<_> = stored.iter().map(customer).collect();
    let (former, next) = (&owners[0], &owners[2]);
    assert_ne!(former, next);
    assert_eq!(
        owners,
        [former, former, next, former, former, next].map(Clone::clone)
    );
}

#[tokio::test]
async fn a_burst_in_one_second_costs_no_more_for_each_message_than_a_trickle() {
    const BURST: i64 = 200;
    let stage = Stage::start().await;
    let now = SystemClock::shared().now().as_second() - at(0).as_second();
    let burst = |user_id: &str, spread: i64| {
        let messages: Vec<_> = (0..BURST)
            .map(|index| {
                let wamid = format!("wamid.{user_id}.{index}");
                text(&wamid, "", user_id, now - BURST + index * spread)
            })
            .collect();
        webhook(&[("messages", value(ONE, "messages", json!(messages)))])
    };
    let cost = async |user_id, spread| {
        let before = stage.proxy.request_bytes() + stage.proxy.reply_bytes();
        stage.take(&burst(user_id, spread)).await;
        stage.proxy.request_bytes() + stage.proxy.reply_bytes() - before
    };
    let trickle = cost("US.1", 1).await;
    let at_once = cost("US.2", 0).await;
    assert_eq!(
        stage.inbound(ONE.0).await.len(),
        usize::try_from(2 * BURST).unwrap()
    );
    assert!(
        at_once < trickle * 5 / 4,
        "{at_once} bytes instead of {trickle}"
    );
}
