//! What the customer refuses is kept to, on what stands on the log when it matters.

use casement_domain::consent::{Choice, Consent, Provenance, Topic};
use casement_domain::id::PortfolioId;
use casement_event::subject::stream;
use casement_event::v1;
use casement_event_log::consent::{self, Change, Known};
use casement_proto::message::v1 as api;
use casement_shell::grpc::reason;
use casement_simulator::{Channel, Fault, FaultSpec, MessageKind, Outcome};
use jiff::SignedDuration;
use tonic::Code;
use tonic_types::StatusExt as _;

use crate::stage::{
    ANA, BEA, PAUSED_TEMPLATE, SMS_SENDER, Stage, TEMPLATE, in_template, sms, text,
};

const MARKETING_TEMPLATE: &str = "summer_sale";

impl Stage {
    /// The customer says something about a topic now, or said so a while ago.
    async fn says(&self, who: &str, topic: Topic, is_refused: bool, ago: SignedDuration) -> Known {
        let choice = Choice {
            at: self.ago(ago),
            is_refused,
            provenance: Provenance {
                source: Provenance::SMS_KEYWORD.to_owned(),
                ..Provenance::default()
            },
        };
        let change = Change {
            consent: Consent::of(topic, choice),
            ..Change::default()
        };
        let customer = self.customer(who).await;
        let source = "casement/test";
        consent::record(
            &self.log,
            source,
            &portfolio(),
            &customer,
            &change,
            self.now(),
        )
        .await
        .expect("an append")
    }

    async fn known(&self, who: &str) -> Known {
        let customer = self.customer(who).await;
        consent::read(&self.log, &portfolio(), &customer)
            .await
            .expect("a read")
    }
}

fn portfolio() -> PortfolioId {
    PortfolioId::parse("p1").expect("a portfolio")
}

fn candidate(decision: &v1::Decision, route: v1::Route) -> &v1::Candidate {
    decision
        .candidates
        .iter()
        .find(|candidate| candidate.route() == route)
        .expect("every route has a verdict")
}

/// What would sell, as template or SMS.
fn offer() -> api::SendMessageRequest {
    api::SendMessageRequest {
        purpose: v1::Purpose::Marketing.into(),
        ..in_template(text(ANA, "Everything must go."), MARKETING_TEMPLATE)
    }
}

#[tokio::test]
async fn who_stopped_sms_gets_none_and_the_next_route_or_a_refusal_says_so() {
    let stage = Stage::set().await;
    let dispatcher = stage.dispatcher().await;
    let stopped = stage
        .says(ANA, Topic::SMS, true, SignedDuration::ZERO)
        .await;
    let shown = format!("consent_sequence={}", stopped.sequence);

    // The template will not do, and the text may wait.
    let request = || in_template(text(ANA, "Your order is ready."), PAUSED_TEMPLATE);
    let decision = dispatcher.decision(request()).await;
    assert_eq!(decision.chosen_route(), v1::Route::Hold);
    let ruled_out = candidate(&decision, v1::Route::Sms);
    assert_eq!(ruled_out.verdict(), v1::Verdict::RuledOut);
    assert_eq!(ruled_out.reason, "SMS_STOPPED");
    assert!(ruled_out.facts.contains(&shown), "{ruled_out:?}");
    let sent = dispatcher.send(request()).await;
    let held = dispatcher
        .until_state(&sent.message_id, api::MessageState::Held)
        .await;
    let recorded = held.decision.expect("a decision");
    assert_eq!(candidate(&recorded, v1::Route::Sms), ruled_out);

    // An SMS that can go no other way is refused at once.
    let refusal = dispatcher.try_send(sms(ANA, "Hi")).await.unwrap_err();
    assert_eq!(refusal.code(), Code::FailedPrecondition);
    assert_eq!(reason(&refusal).as_deref(), Some("NO_ROUTE"));
    let info = refusal.get_details_error_info().expect("an error info");
    assert_eq!(info.metadata["sms"], "SMS_STOPPED");
    assert!(
        refusal.message().contains("stopped SMS"),
        "{}",
        refusal.message()
    );

    // Nobody else is stopped, and WhatsApp goes on.
    let other = dispatcher.send(sms("+15550003333", "Hi")).await;
    dispatcher.until_accepted(&other.message_id).await;
    let sent = dispatcher
        .send(in_template(text(ANA, "Hi"), TEMPLATE))
        .await;
    dispatcher.until_accepted(&sent.message_id).await;
    let calls = stage.calls();
    assert_eq!(calls.len(), 2);
    assert!(matches!(calls[1].kind, MessageKind::Template { .. }));
}

#[tokio::test]
async fn start_lifts_it_and_a_word_that_is_older_does_not() {
    let stage = Stage::set().await;
    let dispatcher = stage.dispatcher().await;
    let minutes = SignedDuration::from_mins;
    stage.says(ANA, Topic::SMS, true, minutes(5)).await;
    stage.says(ANA, Topic::SMS, false, minutes(9)).await;
    let decision = dispatcher.decision(sms(ANA, "Hi")).await;
    assert_eq!(decision.chosen_route(), v1::Route::Unspecified);
    let lifted = stage.says(ANA, Topic::SMS, false, minutes(1)).await;
    let sent = dispatcher.send(sms(ANA, "Welcome back")).await;
    let message = dispatcher.until_accepted(&sent.message_id).await;
    let decision = message.attempts[0].decision.as_ref().expect("a decision");
    let chosen = candidate(decision, v1::Route::Sms);
    assert_eq!(chosen.verdict(), v1::Verdict::Chosen);
    let shown = format!("consent_sequence={}", lifted.sequence);
    assert!(chosen.facts.contains(&shown), "{chosen:?}");
    assert_eq!(stage.taken(), ["Welcome back"]);
}

#[tokio::test]
async fn a_word_that_comes_before_the_claim_is_kept_to() {
    let stage = Stage::set().await;
    let dispatcher = stage.dispatcher().await;
    // Accepted while SMS was permitted; decided again when its time has come.
    let mut request = sms(ANA, "Good morning");
    let send_at = stage.now() + SignedDuration::from_millis(1_500);
    request.send_time = Some(casement_event::convert::timestamp(send_at));
    let sent = dispatcher.send(request).await;
    assert_eq!(sent.state(), api::MessageState::Pending);
    let stopped = stage
        .says(ANA, Topic::SMS, true, SignedDuration::ZERO)
        .await;
    let message = dispatcher.until_ended(&sent.message_id).await;
    assert_eq!(message.outcome(), v1::MessageOutcome::Failed);
    assert_eq!(message.attempts, []);
    let decision = message.decision.expect("the end says why");
    let ruled_out = candidate(&decision, v1::Route::Sms);
    assert_eq!(ruled_out.reason, "SMS_STOPPED");
    assert!(
        ruled_out
            .facts
            .contains(&format!("consent_sequence={}", stopped.sequence))
    );
    assert_eq!(stage.calls(), []);
}

#[tokio::test]
async fn who_stopped_marketing_gets_what_was_agreed_on_and_no_offers() {
    let stage = Stage::set().await;
    stage
        .record_template_of(v1::TemplateCategory::Marketing, MARKETING_TEMPLATE, true)
        .await;
    let dispatcher = stage.dispatcher().await;
    let decision = dispatcher.decision(offer()).await;
    assert_eq!(decision.chosen_route(), v1::Route::Template);
    let facts = &candidate(&decision, v1::Route::Template).facts;
    assert!(
        facts.contains(&"consent=nothing_recorded".to_owned()),
        "{facts:?}"
    );

    let topic = Topic::WHATSAPP_MARKETING;
    stage.says(ANA, topic, true, SignedDuration::ZERO).await;
    let decision = dispatcher.decision(offer()).await;
    for route in [v1::Route::Template, v1::Route::Sms] {
        assert_eq!(candidate(&decision, route).reason, "MARKETING_STOPPED");
    }
    let sent = dispatcher
        .send(in_template(text(ANA, "Order 7"), TEMPLATE))
        .await;
    dispatcher.until_accepted(&sent.message_id).await;
}

#[tokio::test]
async fn what_a_provider_refuses_for_the_customers_sake_is_learned() {
    let stage = Stage::set().await;
    stage
        .record_template_of(v1::TemplateCategory::Marketing, MARKETING_TEMPLATE, true)
        .await;
    let dispatcher = stage.dispatcher().await;

    // Meta says so to the call itself.
    let refusal = Fault::GraphError { code: 131_050 };
    stage
        .platform
        .inject(FaultSpec::from(refusal).on(Channel::Whatsapp).times(1));
    let sent = dispatcher.send(offer()).await;
    let message = dispatcher.until_ended(&sent.message_id).await;
    assert_eq!(message.outcome(), v1::MessageOutcome::Failed);
    let known = stage.known(ANA).await;
    assert!(known.refusals().marketing && !known.refusals().sms);
    let (_, choice) = known.consent.choices().next().expect("a word");
    assert_eq!(
        (
            choice.provenance.source.as_str(),
            choice.provenance.wording.as_str()
        ),
        ("PROVIDER_ERROR", "131050")
    );
    let decision = dispatcher.decision(offer()).await;
    assert_eq!(
        candidate(&decision, v1::Route::Template).reason,
        "MARKETING_STOPPED"
    );

    // Of another customer it says so later, in a report, and repeats itself.
    let bob = "+15550004444";
    let mut offer = offer();
    offer.customer = text(bob, "").customer;
    let sent = dispatcher
        .send(api::SendMessageRequest {
            purpose: v1::Purpose::Utility.into(),
            ..in_template(text(bob, "Order 7"), TEMPLATE)
        })
        .await;
    dispatcher.until_accepted(&sent.message_id).await;
    let report = stage.status_report(&sent.message_id, 1, Err(131_050));
    for _ in 0..2 {
        stage.append_report(&sent.message_id, report.clone()).await;
    }
    dispatcher.until_ended(&sent.message_id).await;
    let known = stage.known(bob).await;
    assert!(known.refusals().marketing);
    let decision = dispatcher.decision(offer).await;
    assert_eq!(
        candidate(&decision, v1::Route::Template).reason,
        "MARKETING_STOPPED"
    );

    // Twilio keeps a list of its own.
    let carl = "+15550005555";
    stage
        .platform
        .texts(carl, SMS_SENDER, "STOP")
        .expect("a phone may text");
    let sent = dispatcher.send(sms(carl, "Hi")).await;
    dispatcher.until_ended(&sent.message_id).await;
    let refused = stage
        .calls()
        .into_iter()
        .rev()
        .find(|call| call.channel == Channel::Sms);
    assert_eq!(refused.expect("a call").outcome, Outcome::Refused(21_610));
    assert!(stage.known(carl).await.refusals().sms);
    assert_eq!(
        reason(&dispatcher.try_send(sms(carl, "Hi")).await.unwrap_err()).as_deref(),
        Some("NO_ROUTE"),
        "and it is not asked again"
    );
    let (links, words) = (3, 3);
    assert_eq!(stage.count(stream::CUSTOMERS).await, links + words);
}

#[tokio::test]
async fn a_refusal_reported_for_an_ended_id_is_kept_to_by_who_carries_on() {
    let stage = Stage::set().await;
    stage.customer(ANA).await;
    let dispatcher = stage.dispatcher().await;
    let sent = dispatcher
        .send(api::SendMessageRequest {
            purpose: v1::Purpose::Utility.into(),
            ..in_template(text(BEA, "Order 7"), TEMPLATE)
        })
        .await;
    dispatcher.until_accepted(&sent.message_id).await;
    let (ended, survivor) = stage.prove_same(ANA, BEA).await;
    assert_eq!(sent.customer_id, ended.as_str());

    let report = stage.status_report(&sent.message_id, 1, Err(131_050));
    stage.append_report(&sent.message_id, report).await;
    dispatcher.until_ended(&sent.message_id).await;
    let known = consent::read(&stage.log, &portfolio(), &survivor).await;
    assert!(known.expect("a read").refusals().marketing);
}
