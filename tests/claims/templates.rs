//! A template that the platform pauses, or changes, in the middle of a campaign costs nobody a
//! message.

use std::collections::BTreeSet;

use casement_event::v1;
use casement_proto::message::v1 as message;
use casement_simulator::{Channel, MessageKind, Outcome};
use casement_testkit::eventually;
use casement_tests::{NUMBER, Stack, WABA, template};
use serde_json::json;

const ORDER: (&str, &str, &str) = (WABA, "order_update", "en_US");

/// How many customers the campaign has, and after how many of them the template is paused.
const CUSTOMERS: usize = 40;
const BEFORE_PAUSE: usize = 15;

fn phone(index: usize) -> String {
    format!("+155500{:05}", 70_000 + index)
}

/// A template, and an SMS for whom it does not reach.
fn campaign(index: usize) -> v1::Content {
    v1::Content {
        sms: Some(v1::SmsContent {
            text: format!("Your order {index} is on its way."),
            sender: String::new(),
        }),
        free_form: None,
        ..template("", "order_update", &index.to_string())
    }
}

fn of_template(decision: &v1::Decision) -> v1::Candidate {
    let mut candidates = decision.candidates.iter();
    candidates
        .find(|one| one.route() == v1::Route::Template)
        .cloned()
        .expect("every route has a verdict")
}

#[tokio::test]
async fn a_template_that_is_paused_in_mid_campaign_leaves_the_rest_to_the_next_route() {
    let stack = Stack::start().await;
    let clients = stack.clients();
    let mut asked = Vec::new();
    for index in 0..CUSTOMERS {
        let customer = phone(index);
        stack.customer(&customer);
        if index == BEFORE_PAUSE {
            stack.simulator.pause_template(ORDER).unwrap();
        }
        let message = clients.send(&customer, campaign(index)).await.unwrap();
        if index == 0 {
            // So that some have gone by the template for sure.
            clients.ended(&message.message_id).await;
        }
        asked.push(message.message_id);
    }

    let mut by_template = 0;
    let mut by_sms = 0;
    for id in &asked {
        let ended = clients.ended(id).await;
        assert_eq!(ended.outcome(), v1::MessageOutcome::Delivered, "{ended:#?}");
        let last = ended
            .attempts
            .last()
            .expect("it was delivered by an attempt");
        match last.route() {
            v1::Route::Template => by_template += 1,
            v1::Route::Sms => {
                by_sms += 1;
                // Why it was not the template stands in its decision.
                let ruled_out = of_template(ended.decision.as_ref().expect("it was decided on"));
                assert_eq!(ruled_out.verdict(), v1::Verdict::RuledOut, "{ended:#?}");
                assert!(!ruled_out.text.is_empty());
            }
            other => panic!("{other:?} for {id}"),
        }
    }
    assert_eq!(by_template + by_sms, CUSTOMERS, "none is lost");
    assert!(
        by_template >= 1 && by_sms >= 1,
        "{by_template} and {by_sms}"
    );
    assert!(
        by_template <= BEFORE_PAUSE,
        "what came after the pause went by SMS"
    );

    // By the platform's own books, each customer got one message, and one alone.
    let sent = stack.simulator.sent().into_iter();
    let accepted: Vec<_> = sent
        .filter(|one| one.outcome == Outcome::Accepted)
        .collect();
    assert_eq!(accepted.len(), CUSTOMERS);
    let templates = accepted
        .iter()
        .filter(|one| matches!(one.kind, MessageKind::Template { .. }));
    assert_eq!(templates.count(), by_template);
    let texts = accepted.iter().filter(|one| one.channel == Channel::Sms);
    let texts: BTreeSet<_> = texts.map(|one| one.text.clone()).collect();
    assert_eq!(texts.len(), by_sms);

    // The record says so, too, with the end that the platform's pages give for a first pause; and
    // once the platform lifts it, the template is used again.
    eventually("the pause is shown with its end", async || {
        let candidate = of_template(&preview(&clients, campaign(1)).await);
        let is_shown = candidate.facts.contains(&"pause=FIRST_PAUSE".to_owned())
            && candidate.text.contains("until about");
        is_shown.then_some(()).ok_or(format!("{candidate:?}"))
    })
    .await;
    stack.simulator.unpause_template(ORDER).unwrap();
    eventually("the template is used again", async || {
        let candidate = of_template(&preview(&clients, campaign(1)).await);
        let is_used = candidate.verdict() == v1::Verdict::Chosen;
        is_used.then_some(()).ok_or(format!("{candidate:?}"))
    })
    .await;
    stack.stop().await;
}

#[tokio::test]
async fn a_send_that_does_not_fit_the_template_is_refused_with_its_field_before_it_leaves() {
    let stack = Stack::start().await;
    let clients = stack.clients();
    let customer = phone(0);
    stack.customer(&customer);
    // The template gets a picture at the platform, which tells of it.
    let components = vec![
        json!({"type": "HEADER", "format": "IMAGE"}),
        json!({"type": "BODY", "text": "Your order {{1}} is on its way."}),
    ];
    stack
        .simulator
        .set_template_components(ORDER, "POSITIONAL", components)
        .unwrap();
    stack
        .simulator
        .set_template_quality(ORDER, "GREEN")
        .unwrap();
    let refusal = eventually("the template was read", async || {
        let request = asked(campaign(1));
        match clients.messages.clone().preview_route(request).await {
            Ok(answer) => Err(format!("{answer:?}")),
            Err(refusal) => Ok(refusal),
        }
    })
    .await;
    assert_eq!(refusal.code(), tonic::Code::InvalidArgument);
    assert!(
        refusal.message().contains("content.template.components"),
        "{refusal:?}"
    );
    let refusal = clients.send(&customer, campaign(1)).await.unwrap_err();
    assert_eq!(refusal.code(), tonic::Code::InvalidArgument);
    assert!(stack.simulator.sent().is_empty());
    stack.stop().await;
}

fn asked(content: v1::Content) -> message::PreviewRouteRequest {
    let customer = message::send_message_request::Customer::To(phone(CUSTOMERS));
    message::PreviewRouteRequest {
        request: Some(message::SendMessageRequest {
            number: NUMBER.to_owned(),
            customer: Some(customer),
            content: Some(content),
            purpose: v1::Purpose::Service.into(),
            ..message::SendMessageRequest::default()
        }),
        evaluate_time: None,
    }
}

async fn preview(clients: &casement_tests::Clients, content: v1::Content) -> v1::Decision {
    let answer = clients.messages.clone().preview_route(asked(content)).await;
    let answer = answer.expect("it is shown").into_inner();
    answer.decision.expect("a preview decides")
}
