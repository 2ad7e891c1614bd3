//! What messages cost: estimated, billed by reports, counted over restarts, capped.

use std::fmt::Write as _;

use casement_dispatcher::{Caps, Config};
use casement_event::convert::timestamp;
use casement_event::subject::{self, stream};
use casement_event::{Event, v1};
use casement_proto::message::v1 as api;
use casement_simulator::{Channel, Fault, FaultSpec};
use casement_testkit::eventually;
use jiff::{SignedDuration, ToSpan as _};

use crate::stage::{
    ANA, BEA, NUMBER, SILENT_NUMBER, Stage, TEMPLATE, digits, in_template, sms, text,
};

/// Ana's country is 1. A template costs 0.05, a service message 0.02 beyond `free` a month, and
/// a segment of an SMS 0.07.
fn rates(free: u64) -> String {
    let mut card = "currency = \"EUR\"\n".to_owned();
    let _ = write!(
        card,
        r#"
[[rates]]
from = "2020-01-01"
country = "1"
service = "0.02"
utility = "0.05"
marketing = "0.10"
authentication = "0.04"

[[sms]]
from = "2020-01-01"
country = "*"
segment = "0.07"

[[terms]]
from = "2026-10-01"
service_is_free = false
utility_in_window_is_free = false
free_service_messages = {free}

[[terms]]
from = "2020-01-01"
service_is_free = false
utility_in_window_is_free = false
free_service_messages = {free}
"#
    );
    card
}

fn with_rates<'a>(
    stage: &Stage,
    free: u64,
    cap: Option<&'a str>,
) -> impl FnOnce(&mut Config) + use<'a> {
    let path = stage.folder.path().join("rates.toml");
    std::fs::write(&path, rates(free)).expect("a folder");
    move |config: &mut Config| {
        config.money.rate_card = Some(path);
        config.money.caps = Caps {
            brands: cap
                .iter()
                .map(|cap| ("default".to_owned(), (*cap).to_owned()))
                .collect(),
            ..Caps::default()
        };
        config.money.count_every = SignedDuration::from_millis(50);
    }
}

fn micros(of: Option<&v1::Money>) -> Option<u64> {
    of.map(|money| {
        assert_eq!(money.currency, "EUR");
        money.micros
    })
}

fn cost(of: &api::Message) -> &v1::Cost {
    let last = of.attempts.last().expect("an attempt");
    last.cost.as_ref().expect("a cost")
}

fn estimate(of: &v1::Decision, route: v1::Route) -> &v1::CostEstimate {
    let mut costs = of.costs.iter();
    costs.find(|one| one.route() == route).expect("an estimate")
}

fn reason(of: &v1::Decision, route: v1::Route) -> &str {
    let mut candidates = of.candidates.iter();
    let candidate = candidates.find(|one| one.route() == route);
    &candidate.expect("a candidate").reason
}

fn bill(category: &str, kind: &str) -> v1::Pricing {
    v1::Pricing {
        billable: kind == "regular",
        model: "PMP".to_owned(),
        r#type: kind.to_owned(),
        category: category.to_owned(),
    }
}

/// The platform reports on the last attempt, perhaps with what it bills it as.
async fn bill_for(
    stage: &Stage,
    of: &api::Message,
    said: v1::DeliveryStatus,
    pricing: Option<v1::Pricing>,
) {
    let attempt = of.attempts.last().expect("an attempt").number;
    let failed = said == v1::DeliveryStatus::Failed;
    let said = if failed { Err(131_026) } else { Ok(said) };
    let report = v1::StatusReported {
        pricing,
        ..stage.status_report(&of.message_id, attempt, said)
    };
    stage.append_report(&of.message_id, report).await;
}

#[tokio::test]
async fn a_preview_says_what_each_route_would_cost() {
    let stage = Stage::set().await;
    stage.writes(ANA).await;
    let dispatcher = stage.dispatcher_with(with_rates(&stage, 1_000, None)).await;
    let mut request = in_template(text(ANA, "Hi"), TEMPLATE);
    let long = "x".repeat(200);
    request.content.as_mut().unwrap().sms = sms(ANA, &long).content.unwrap().sms;
    let decision = dispatcher.decision(request).await;
    let free_form = estimate(&decision, v1::Route::FreeForm);
    assert_eq!(micros(free_form.amount.as_ref()), Some(0));
    assert_eq!(
        (free_form.category.as_str(), free_form.free.as_str()),
        ("service", "free_tier")
    );
    let template = estimate(&decision, v1::Route::Template);
    assert_eq!(
        micros(template.amount.as_ref()),
        Some(50_000),
        "also inside the window"
    );
    assert_eq!(
        (template.category.as_str(), template.free.as_str()),
        ("utility", "")
    );
    let by_sms = estimate(&decision, v1::Route::Sms);
    assert_eq!(
        micros(by_sms.amount.as_ref()),
        Some(140_000),
        "two segments"
    );

    // Nobody knows where she lives, and the card has no row for that.
    let stranger = in_template(text(BEA, "Hi"), TEMPLATE);
    let decision = dispatcher.decision(stranger).await;
    let template = estimate(&decision, v1::Route::Template);
    assert_eq!(
        (template.amount.as_ref(), template.unpriced.as_str()),
        (None, "NO_COUNTRY")
    );
}

#[tokio::test]
async fn a_report_says_what_a_message_was_billed_at_and_a_failure_costs_nothing() {
    let stage = Stage::set().await;
    let dispatcher = stage.dispatcher_with(with_rates(&stage, 1_000, None)).await;
    let sent = dispatcher
        .send(in_template(text(ANA, "Hi"), TEMPLATE))
        .await;
    let accepted = dispatcher.until_accepted(&sent.message_id).await;
    assert_eq!(cost(&accepted).basis(), v1::CostBasis::Estimated);
    assert_eq!(micros(accepted.cost.as_ref()), Some(50_000));

    // Meta had made the template one that sells.
    bill_for(
        &stage,
        &accepted,
        v1::DeliveryStatus::Sent,
        Some(bill("marketing", "regular")),
    )
    .await;
    let message = dispatcher
        .until(&sent.message_id, "billed", |message| {
            cost(message).basis() == v1::CostBasis::Reported
        })
        .await;
    assert_eq!(cost(&message).category, "marketing");
    assert!(cost(&message).billable);
    assert_eq!(micros(message.cost.as_ref()), Some(100_000));
    assert_eq!(
        cost(&message).counted,
        None,
        "how it is counted is nobody's"
    );

    bill_for(&stage, &accepted, v1::DeliveryStatus::Failed, None).await;
    // It may go on by SMS, which costs again.
    let message = dispatcher
        .until(&sent.message_id, "given back", |message| {
            let first = message.attempts[0].cost.as_ref();
            first.is_some_and(|cost| cost.basis() == v1::CostBasis::NotDelivered)
        })
        .await;
    let first = message.attempts[0].cost.as_ref().unwrap();
    assert_eq!(micros(first.amount.as_ref()), Some(0));
    assert!(!first.billable);
}

#[tokio::test]
async fn a_bill_that_comes_late_is_recorded_by_itself_and_once() {
    let stage = Stage::set().await;
    let dispatcher = stage.dispatcher_with(with_rates(&stage, 1_000, None)).await;
    let sent = dispatcher
        .send(in_template(text(ANA, "Hi"), TEMPLATE))
        .await;
    let accepted = dispatcher.until_accepted(&sent.message_id).await;
    bill_for(&stage, &accepted, v1::DeliveryStatus::Read, None).await;
    dispatcher
        .until(&sent.message_id, "read", |message| {
            message.delivery_status() == v1::DeliveryStatus::Read
        })
        .await;
    for _ in 0..2 {
        let free = Some(bill("utility", "free_entry_point"));
        bill_for(&stage, &accepted, v1::DeliveryStatus::Delivered, free).await;
    }
    let message = dispatcher
        .until(&sent.message_id, "billed", |message| {
            cost(message).basis() == v1::CostBasis::Reported
        })
        .await;
    assert_eq!(message.delivery_status(), v1::DeliveryStatus::Read);
    assert_eq!(
        (micros(message.cost.as_ref()), cost(&message).billable),
        (Some(0), false)
    );
    // A third one is folded after both.
    bill_for(&stage, &accepted, v1::DeliveryStatus::Played, None).await;
    dispatcher
        .until(&sent.message_id, "played", |message| {
            message.delivery_status() == v1::DeliveryStatus::Played
        })
        .await;
    let told = stage.life(&sent.message_id).await;
    let billed = told
        .iter()
        .filter(|event| matches!(event, Event::MessageBilled(_)));
    assert_eq!(billed.count(), 1);
}

#[tokio::test]
async fn an_sms_is_priced_by_its_segments_and_one_that_was_refused_costs_nothing() {
    let stage = Stage::set().await;
    let dispatcher = stage.dispatcher_with(with_rates(&stage, 0, None)).await;
    let sent = dispatcher.send(sms(ANA, &"x".repeat(200))).await;
    let message = dispatcher.until_accepted(&sent.message_id).await;
    assert_eq!(
        (cost(&message).category.as_str(), cost(&message).billable),
        ("sms", true)
    );
    assert_eq!(micros(message.cost.as_ref()), Some(140_000));
    // Gateways charge for what they took, whatever becomes of it.
    let failed = v1::StatusReported {
        channel: v1::Channel::Sms.into(),
        sms_provider: "twilio".to_owned(),
        ..stage.status_report(&sent.message_id, 1, Err(30_006))
    };
    stage.append_report(&sent.message_id, failed).await;
    let message = dispatcher
        .until(&sent.message_id, "failed", |message| {
            message.attempts[0].state == "REJECTED"
        })
        .await;
    assert_eq!(cost(&message).basis(), v1::CostBasis::Estimated);
    assert_eq!(micros(message.cost.as_ref()), Some(140_000));

    let refusal = FaultSpec::from(Fault::GraphError { code: 21_211 });
    stage.platform.inject(refusal.on(Channel::Sms).times(1));
    let sent = dispatcher.send(sms(ANA, "Hi")).await;
    let message = dispatcher
        .until(&sent.message_id, "refused", |message| {
            message.attempts.iter().any(|one| one.state == "REJECTED")
        })
        .await;
    assert_eq!(cost(&message).basis(), v1::CostBasis::NotDelivered);
    assert_eq!(micros(message.cost.as_ref()), Some(0));
}

#[tokio::test]
async fn the_cap_of_a_month_rules_out_what_costs_however_many_come_at_once() {
    let stage = Stage::set().await;
    // Three templates and a part of a fourth.
    let dispatcher = stage
        .dispatcher_with(with_rates(&stage, 0, Some("0.17")))
        .await;
    let customers: Vec<String> = (0..12).map(|one| format!("+1555100{one:04}")).collect();
    let sends = customers.iter().map(|customer| {
        let request = in_template(text(customer, "Hi"), TEMPLATE);
        async { dispatcher.send(request).await.message_id }
    });
    let ids = futures::future::join_all(sends).await;
    let mut through = 0;
    for id in &ids {
        let message = dispatcher
            .until(id, "settled", |message| {
                matches!(
                    message.state(),
                    api::MessageState::Accepted
                        | api::MessageState::Held
                        | api::MessageState::Ended
                )
            })
            .await;
        if message.state() == api::MessageState::Accepted {
            through += 1;
        } else {
            let decision = message.decision.as_ref().unwrap();
            assert_eq!(reason(decision, v1::Route::Template), "MONTHLY_CAP");
        }
    }
    assert_eq!(through, 3);
    assert_eq!(stage.calls().len(), 3);
    // What is cheaper than what is left still fits, and the other brand has no cap.
    let decision = dispatcher
        .decision(in_template(text(ANA, "Hi"), TEMPLATE))
        .await;
    let candidate = decision
        .candidates
        .iter()
        .find(|one| one.route() == v1::Route::Template);
    let facts = &candidate.unwrap().facts;
    for fact in [
        "cap_of=brand",
        "cap=0.17 EUR",
        "spent=0.15 EUR",
        "cost=0.05 EUR",
    ] {
        assert!(facts.iter().any(|one| one == fact), "{fact}: {facts:?}");
    }
    stage.writes(ANA).await;
    let sent = dispatcher.send(text(ANA, "Hi")).await;
    dispatcher.until_accepted(&sent.message_id).await;
}

#[tokio::test]
async fn what_was_spent_is_known_after_a_kill_and_after_it_was_written_down() {
    let stage = Stage::set().await;
    let dispatcher = stage
        .dispatcher_with(with_rates(&stage, 0, Some("0.10")))
        .await;
    let sent = dispatcher
        .send(in_template(text(ANA, "Hi"), TEMPLATE))
        .await;
    dispatcher.until_accepted(&sent.message_id).await;
    // Written down within a moment, since the test asks for it.
    let subject = subject::spend("all");
    let counted = eventually("the sum is written down", async || {
        let stored = stage.log.last(stream::ACCOUNTS, &subject).await.unwrap()?;
        match stored.event().unwrap() {
            Event::SpendCounted(counted) if !counted.numbers.is_empty() => Some(counted),
            _ => None,
        }
    })
    .await;
    let part = &counted.numbers[0];
    assert_eq!(
        (part.number.as_str(), part.brand_id.as_str()),
        (digits(NUMBER), "default")
    );
    assert_eq!(part.spend.as_ref().unwrap().micros, 50_000);
    assert!(counted.through_sequence > 0);
    dispatcher.kill();

    // What was counted leaves the log; only the sum knows of it.
    let below = stage
        .log
        .state(stream::MESSAGES)
        .await
        .unwrap()
        .last_sequence
        + 1;
    stage
        .log
        .purge_up_to(stream::MESSAGES, below)
        .await
        .unwrap();
    let dispatcher = stage
        .dispatcher_with(with_rates(&stage, 0, Some("0.10")))
        .await;
    let sent = dispatcher
        .send(in_template(text(ANA, "again"), TEMPLATE))
        .await;
    dispatcher.until_accepted(&sent.message_id).await;
    dispatcher.kill();

    // Perhaps only the log knows of the second: a start adds it up, too.
    let dispatcher = stage
        .dispatcher_with(with_rates(&stage, 0, Some("0.10")))
        .await;
    let decision = dispatcher
        .decision(in_template(text(ANA, "third"), TEMPLATE))
        .await;
    assert_eq!(reason(&decision, v1::Route::Template), "MONTHLY_CAP");
    // Next month has a cap of its own.
    let next_month = stage.now().checked_add((31 * 24).hours()).unwrap();
    let later = dispatcher
        .preview(api::PreviewRouteRequest {
            request: Some(in_template(text(ANA, "third"), TEMPLATE)),
            evaluate_time: Some(timestamp(next_month)),
        })
        .await;
    assert_ne!(reason(&later, v1::Route::Template), "MONTHLY_CAP");
}

#[tokio::test]
async fn the_free_tier_of_a_number_is_counted_and_then_costs() {
    let stage = Stage::set().await;
    stage.writes(ANA).await;
    let dispatcher = stage.dispatcher_with(with_rates(&stage, 2, None)).await;
    let mut costs = Vec::new();
    for body in ["one", "two", "three"] {
        let sent = dispatcher.send(text(ANA, body)).await;
        let message = dispatcher.until_accepted(&sent.message_id).await;
        costs.push((micros(message.cost.as_ref()), cost(&message).billable));
    }
    assert_eq!(
        costs,
        [(Some(0), false), (Some(0), false), (Some(20_000), true)]
    );
    // Each number has a tier of its own.
    stage.wrote(SILENT_NUMBER, ANA, stage.now()).await;
    let other = api::SendMessageRequest {
        number: SILENT_NUMBER.to_owned(),
        ..text(ANA, "four")
    };
    let decision = dispatcher.decision(other).await;
    assert_eq!(estimate(&decision, v1::Route::FreeForm).free, "free_tier");
}
