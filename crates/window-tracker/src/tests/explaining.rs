//! A window explained: the rule, the facts it rests on, and those that do not count.

use casement_domain::inbound::{Kind, ThreadOwner};
use casement_event::convert::timestamp;
use casement_event::v1;
use casement_proto::window::v1 as api;
use casement_proto::window::v1::customer_ref::Customer;
use casement_proto::window::v1::window_service_client::WindowServiceClient;
use jiff::SignedDuration;
use tonic::Code;
use tonic::transport::Channel;

use super::stage::{Stage, noon, with_token};
use crate::Config;

const HOUR: SignedDuration = SignedDuration::from_hours(1);

async fn explain(
    client: &mut WindowServiceClient<Channel>,
    name: &str,
) -> api::ExplainWindowResponse {
    let request = api::ExplainWindowRequest {
        number: "+15550001111".to_owned(),
        customer: Some(api::CustomerRef {
            customer: Some(Customer::CustomerId(name.to_owned())),
        }),
        not_before: String::new(),
    };
    let answer = client.explain_window(with_token("read", request)).await;
    answer.unwrap().into_inner()
}

fn parts(facts: &[api::ExplainedFact]) -> Vec<(api::FactPart, &str)> {
    let facts = facts.iter();
    facts
        .map(|fact| (fact.part(), fact.policy_rule.as_str()))
        .collect()
}

#[tokio::test]
async fn an_open_window_is_explained_by_its_last_message_and_the_others_by_their_rows() {
    let (stage, clock) = Stage::with_manual_clock(Config::default()).await;
    let mut client = stage.serve().await;
    stage.say("ada", noon() - HOUR).await;
    let last = stage.say("ada", noon()).await;
    clock.set(noon() + HOUR);
    stage
        .happen("ada", noon() + HOUR, Kind::Reaction, None)
        .await;
    stage.happen("ada", noon() + HOUR, Kind::Echo, None).await;

    let answer = explain(&mut client, "ada").await;
    assert_eq!(answer.rule(), api::WindowRule::WithinLength);
    assert_eq!(answer.length.unwrap().seconds, 24 * 3600);
    assert_eq!(answer.window.unwrap().state(), v1::WindowState::Open);
    let [fact] = &answer.facts[..] else {
        panic!("{:?}", answer.facts)
    };
    assert_eq!(fact.part(), api::FactPart::LastQualifying);
    assert_eq!(fact.event_time, Some(timestamp(noon())));
    assert_eq!(fact.received_time, Some(timestamp(noon())));
    assert_eq!(fact.position, last.to_string());
    assert_eq!(fact.event_type, "casement.events.v1.InboundMessageReceived");
    assert!(fact.qualifies && !fact.event_id.is_empty());
    assert_eq!(
        fact.policy_source,
        "Meta: sending messages, customer service windows"
    );
    assert_eq!(
        parts(&answer.disregarded),
        [
            (api::FactPart::NotQualifying, "echo"),
            (api::FactPart::NotQualifying, "reaction"),
            (api::FactPart::Outdone, "text"),
        ]
    );
    assert!(
        answer.disregarded[1]
            .policy_source
            .starts_with("undocumented: ")
    );
}

#[tokio::test]
async fn each_way_to_be_closed_has_its_rule_and_its_facts() {
    let (stage, clock) = Stage::with_manual_clock(Config::default()).await;
    let mut client = stage.serve().await;
    stage.happen("quiet", noon(), Kind::Reaction, None).await;
    stage.say("refused", noon()).await;
    stage.prove("refused", noon() + HOUR).await;
    stage.refuse("refused", noon() + 2 * HOUR).await;
    stage.say("expired", noon()).await;
    let owner = Some(ThreadOwner::Other);
    stage
        .happen("expired", noon(), Kind::ThreadHandover, owner)
        .await;
    stage.say("loser", noon()).await;
    stage.merge("loser", "survivor", noon()).await;
    clock.set(noon() + 24 * HOUR);

    let quiet = explain(&mut client, "quiet").await;
    assert_eq!(quiet.rule(), api::WindowRule::NoQualifyingFact);
    assert_eq!(parts(&quiet.facts), []);
    assert_eq!(
        parts(&quiet.disregarded),
        [(api::FactPart::NotQualifying, "reaction")]
    );

    let refused = explain(&mut client, "refused").await;
    assert_eq!(refused.rule(), api::WindowRule::Refused);
    assert_eq!(
        parts(&refused.facts),
        [
            (api::FactPart::LastQualifying, "text"),
            (api::FactPart::Refusal, ""),
            (api::FactPart::Proof, ""),
        ]
    );
    for (fact, hours) in refused.facts[1..].iter().zip([2, 1]) {
        assert_eq!(fact.event_time, Some(timestamp(noon() + HOUR * hours)));
        assert!(!fact.event_id.is_empty() && !fact.position.is_empty());
    }

    let expired = explain(&mut client, "expired").await;
    assert_eq!(expired.rule(), api::WindowRule::LengthPassed);

    let merged = explain(&mut client, "loser").await;
    assert_eq!(merged.rule(), api::WindowRule::LengthPassed);
    assert_eq!(merged.window.unwrap().customer_id, "survivor");
    assert_eq!(
        parts(&merged.facts),
        [
            (api::FactPart::LastQualifying, "text"),
            (api::FactPart::Merge, "")
        ]
    );

    let nobody = explain(&mut client, "nobody").await;
    assert_eq!(nobody.rule(), api::WindowRule::NoQualifyingFact);
    assert!(nobody.facts.is_empty() && nobody.disregarded.is_empty());
}

#[tokio::test]
async fn the_newest_facts_are_found_behind_many_of_others_and_no_more_than_a_page_is_told() {
    let (stage, clock) = Stage::with_manual_clock(Config::default()).await;
    let mut client = stage.serve().await;
    for second in 0..60 {
        let at = noon() + SignedDuration::from_secs(second);
        stage.say("ada", at).await;
        stage.say("bob", at).await;
    }
    clock.set(noon() + HOUR);
    let answer = explain(&mut client, "ada").await;
    assert_eq!(answer.facts.len(), 1);
    assert_eq!(
        answer.facts[0].event_time,
        Some(timestamp(noon() + SignedDuration::from_secs(59)))
    );
    assert_eq!(answer.disregarded.len(), 20);
    let newest = SignedDuration::from_secs(58);
    assert_eq!(
        answer.disregarded[0].event_time,
        Some(timestamp(noon() + newest))
    );
}

#[tokio::test]
async fn whoever_may_not_read_may_not_ask_why() {
    let (stage, _) = Stage::with_manual_clock(Config::default()).await;
    let mut client = stage.serve().await;
    let request = || api::ExplainWindowRequest {
        number: "+15550001111".to_owned(),
        customer: Some(api::CustomerRef {
            customer: Some(Customer::CustomerId("ada".to_owned())),
        }),
        not_before: String::new(),
    };
    for (token, code) in [("send", Code::PermissionDenied), ("other", Code::NotFound)] {
        let refused = client.explain_window(with_token(token, request())).await;
        assert_eq!(refused.unwrap_err().code(), code, "{token}");
    }
}
