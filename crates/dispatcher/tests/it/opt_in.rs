//! Nobody is written to first who has not opted in, and nobody is called for once they opted out.

use std::collections::BTreeMap;

use casement_dispatcher::{OptInWhen, RequireOptIn};
use casement_domain::consent::{Channel, Choice, Consent, Provenance, Scope, Topic};
use casement_domain::id::{CustomerId, MessageId, PortfolioId};
use casement_event::convert::timestamp;
use casement_event::subject::{self, stream};
use casement_event::{Event, v1};
use casement_event_log::consent::{self, Change, Known};
use casement_proto::message::v1 as api;
use casement_shell::grpc::reason;
use casement_simulator::Outcome;
use futures::StreamExt as _;
use jiff::{SignedDuration, Timestamp};

use crate::stage::{ANA, Dispatcher, Stage, TEMPLATE, in_template, sms, text};

const UTILITY: Topic = Topic {
    channel: Channel::Whatsapp,
    scope: Scope::Utility,
};

fn portfolio() -> PortfolioId {
    PortfolioId::parse("p1").expect("a portfolio")
}

impl Stage {
    async fn recorded(&self, who: &CustomerId, topic: Topic, at: Timestamp, no: bool) -> Known {
        let choice = Choice {
            at,
            is_refused: no,
            provenance: Provenance {
                source: "WEB_FORM".to_owned(),
                ..Provenance::default()
            },
        };
        let change = Change {
            consent: Consent::of(topic, choice),
            ..Change::default()
        };
        let now = self.now();
        consent::record(&self.log, "casement/test", &portfolio(), who, &change, now)
            .await
            .expect("an append")
    }

    /// A dispatcher that asks for opt-ins as it does unless told otherwise.
    async fn strict(&self) -> Dispatcher {
        self.dispatcher_with(|config| config.require_opt_in = RequireOptIn::default())
            .await
    }
}

/// News about an order, which goes as a template or waits.
fn news() -> api::SendMessageRequest {
    api::SendMessageRequest {
        purpose: v1::Purpose::Utility.into(),
        ..in_template(text(ANA, "It is here."), TEMPLATE)
    }
}

fn asserted(at: Timestamp, record: bool) -> v1::ConsentAssertion {
    v1::ConsentAssertion {
        source: v1::ConsentSource::DoubleOptIn.into(),
        time: Some(timestamp(at)),
        evidence: "form 7".to_owned(),
        record,
        ..v1::ConsentAssertion::default()
    }
}

fn of(decision: &v1::Decision, route: v1::Route) -> v1::Candidate {
    let mut candidates = decision.candidates.iter();
    let found = candidates.find(|candidate| candidate.route() == route);
    found.cloned().expect("every route has a verdict")
}

#[tokio::test]
async fn what_waits_for_an_opt_in_goes_once_it_is_recorded() {
    let stage = Stage::set().await;
    let dispatcher = stage.strict().await;
    let ana = stage.customer(ANA).await;
    let held = dispatcher.send(news()).await;
    dispatcher
        .until_state(&held.message_id, api::MessageState::Held)
        .await;
    let minute_ago = stage.ago(SignedDuration::from_mins(1));
    stage.recorded(&ana, UTILITY, minute_ago, false).await;
    dispatcher.until_accepted(&held.message_id).await;
}

#[tokio::test]
async fn who_begins_needs_an_opt_in_and_an_answer_needs_none() {
    let stage = Stage::set().await;
    let dispatcher = stage.strict().await;
    let ana = stage.customer(ANA).await;
    let decision = dispatcher.decision(news()).await;
    assert_eq!(of(&decision, v1::Route::Template).reason, "NO_OPT_IN");
    assert_eq!(decision.chosen_route(), v1::Route::Hold);
    let refusal = dispatcher.try_send(sms(ANA, "Hi")).await.unwrap_err();
    assert_eq!(reason(&refusal).as_deref(), Some("NO_ROUTE"));

    let minute_ago = stage.ago(SignedDuration::from_mins(1));
    let known = stage.recorded(&ana, UTILITY, minute_ago, false).await;
    let sent = dispatcher.send(news()).await;
    let message = dispatcher.until_accepted(&sent.message_id).await;
    let decision = message.attempts[0].decision.clone().expect("a decision");
    let template = of(&decision, v1::Route::Template);
    let sequence = format!("consent_sequence={}", known.sequence);
    for fact in [sequence.as_str(), "opt_in=WEB_FORM"] {
        assert!(template.facts.iter().any(|one| one == fact), "{template:?}");
    }
    let life = stage.life(&sent.message_id).await;
    let claimed = life.iter().find_map(|event| match event {
        Event::AttemptStarted(started) => Some(started.consent_sequence),
        _ => None,
    });
    assert_eq!(claimed, Some(known.sequence), "the claim names it, too");

    // An opt-in to news is none to offers, and an answer to a customer needs none at all.
    let offer = api::SendMessageRequest {
        purpose: v1::Purpose::Marketing.into(),
        ..news()
    };
    let decision = dispatcher.decision(offer.clone()).await;
    assert_eq!(of(&decision, v1::Route::Template).reason, "NO_OPT_IN");
    stage.writes(ANA).await;
    let decision = dispatcher.decision(offer).await;
    assert_eq!(decision.chosen_route(), v1::Route::FreeForm);
}

#[tokio::test]
async fn a_brand_may_ask_for_more_and_a_policy_for_another_source() {
    let stage = Stage::set().await;
    let dispatcher = stage
        .dispatcher_with(|config| {
            let own = casement_dispatcher::OptInOfBrand {
                utility: Some(OptInWhen::Always),
                sources: BTreeMap::from([("utility".to_owned(), vec!["double_opt_in".to_owned()])]),
                ..casement_dispatcher::OptInOfBrand::default()
            };
            config.require_opt_in = RequireOptIn {
                brands: BTreeMap::from([("default".to_owned(), own)]),
                ..RequireOptIn::nowhere()
            };
        })
        .await;
    let ana = stage.customer(ANA).await;
    stage.writes(ANA).await;
    let minute_ago = stage.ago(SignedDuration::from_mins(1));
    stage.recorded(&ana, UTILITY, minute_ago, false).await;
    let decision = dispatcher.decision(news()).await;
    let free_form = of(&decision, v1::Route::FreeForm);
    assert_eq!(free_form.reason, "NO_OPT_IN");
    assert!(free_form.text.contains("no source that counts"));
    let vouched = api::SendMessageRequest {
        consent: Some(asserted(minute_ago, false)),
        ..news()
    };
    let decision = dispatcher.decision(vouched).await;
    assert_eq!(decision.chosen_route(), v1::Route::FreeForm);
}

#[tokio::test]
async fn what_a_caller_vouches_for_stands_on_the_message_and_takes_back_no_stop() {
    let stage = Stage::set().await;
    let dispatcher = stage.strict().await;
    let minutes = SignedDuration::from_mins;
    let request = |consent| api::SendMessageRequest { consent, ..news() };

    let sent = dispatcher
        .send(request(Some(asserted(stage.ago(minutes(9)), false))))
        .await;
    let message = dispatcher.until_accepted(&sent.message_id).await;
    let decision = message.attempts[0].decision.clone().expect("a decision");
    let facts = of(&decision, v1::Route::Template).facts;
    for fact in ["opt_in=DOUBLE_OPT_IN", "opt_in_asserted=true"] {
        assert!(facts.iter().any(|one| one == fact), "{facts:?}");
    }
    let life = stage.life(&sent.message_id).await;
    let Some(Event::MessageRequested(requested)) = life.first() else {
        panic!("{life:?}")
    };
    let kept = requested.consent.clone().expect("its provenance");
    assert_eq!(kept.evidence, "form 7");
    let ana = stage.customer(ANA).await;
    let nothing = consent::read(&stage.log, &portfolio(), &ana).await;
    assert!(nothing.expect("a read").consent.is_empty());

    // A STOP that is older or newer goes before what stands on one message alone.
    stage
        .recorded(&ana, UTILITY, stage.ago(minutes(5)), true)
        .await;
    for ago in [9, 1] {
        let decision = dispatcher
            .decision(request(Some(asserted(stage.ago(minutes(ago)), false))))
            .await;
        assert_eq!(of(&decision, v1::Route::Template).reason, "OPTED_OUT");
    }
    // Into the record it goes as any other word, by its time.
    let older = request(Some(asserted(stage.ago(minutes(9)), true)));
    let decision = dispatcher.decision(older).await;
    assert_eq!(of(&decision, v1::Route::Template).reason, "OPTED_OUT");
    let newer = request(Some(asserted(stage.ago(minutes(1)), true)));
    let decision = dispatcher.decision(newer.clone()).await;
    assert_eq!(of(&decision, v1::Route::Template).reason, "TEMPLATE_USABLE");
    let words = stage.count(stream::CUSTOMERS).await;
    for _ in 0..2 {
        let sent = dispatcher.send(newer.clone()).await;
        dispatcher.until_accepted(&sent.message_id).await;
    }
    assert_eq!(
        stage.count(stream::CUSTOMERS).await,
        words + 1,
        "a preview writes nothing, and a repeat neither"
    );
    let decision = dispatcher.decision(news()).await;
    assert_eq!(of(&decision, v1::Route::Template).reason, "TEMPLATE_USABLE");
}

/// What became of one customer's offer, by both streams and the provider's books.
struct Witness {
    /// Where the opt-out stands on CUSTOMERS.
    opt_out: u64,
    /// The newest sequence on MESSAGES when the opt-out had been acknowledged.
    messages: u64,
}

#[tokio::test]
async fn opt_outs_that_race_with_claims_are_never_called_past() {
    const CUSTOMERS: usize = 120;
    let stage = Stage::set().await;
    let dispatcher = stage
        .dispatcher_with(|config| config.require_opt_in = RequireOptIn::nowhere())
        .await;
    let mut sent = Vec::new();
    let mut customers = Vec::new();
    let send_at = stage.now() + SignedDuration::from_secs(2);
    for index in 0..CUSTOMERS {
        let who = format!("+1555010{index:04}");
        let request = api::SendMessageRequest {
            purpose: v1::Purpose::Marketing.into(),
            send_time: Some(timestamp(send_at)),
            ..in_template(text(&who, "Everything must go."), TEMPLATE)
        };
        let message = dispatcher.send(request).await;
        customers.push(CustomerId::parse(&message.customer_id).expect("an id"));
        sent.push(message.message_id);
    }

    // The campaign has begun: now everybody opts out, all at once.
    stage.until_called(1).await;
    let stage = &stage;
    let opting_out = customers.iter().map(|customer| async move {
        let marketing = Topic::WHATSAPP_MARKETING;
        let known = stage.recorded(customer, marketing, stage.now(), true).await;
        let messages = stage.log.state(stream::MESSAGES).await.expect("a read");
        Witness {
            opt_out: known.sequence,
            messages: messages.last_sequence,
        }
    });
    let witnesses: Vec<Witness> = futures::stream::iter(opting_out)
        .buffered(16)
        .collect()
        .await;

    let mut refused_count = 0;
    for (id, witness) in sent.iter().zip(&witnesses) {
        let over = dispatcher
            .until(id, "is over", |one| {
                use api::MessageState::{Accepted, Ended};
                matches!(one.state(), Accepted | Ended)
            })
            .await;
        let claims = stage.claims(id).await;
        for (sequence, claim) in &claims {
            assert!(
                claim.consent_sequence < witness.opt_out,
                "a claim was decided with the opt-out in view: {claim:?}"
            );
            let callback = format!("{id}.{}", claim.attempt);
            let is_called = stage
                .calls()
                .iter()
                .any(|call| call.callback_data.as_deref() == Some(&callback));
            assert!(
                *sequence <= witness.messages || !is_called,
                "a claim at {sequence}, after the opt-out at {}, was called for",
                witness.messages
            );
        }
        if over.state() == api::MessageState::Ended {
            refused_count += 1;
            assert_eq!(over.outcome(), v1::MessageOutcome::Failed);
            let decision = over.decision.expect("the end says why");
            let template = of(&decision, v1::Route::Template);
            assert_eq!(template.reason, "MARKETING_STOPPED");
            let sequence = format!("consent_sequence={}", witness.opt_out);
            assert!(template.facts.contains(&sequence), "{template:?}");
        }
    }
    assert!(refused_count > 0, "all went out before anybody opted out");
    let taken = stage.calls();
    let taken = taken
        .iter()
        .filter(|call| call.outcome == Outcome::Accepted);
    assert_eq!(taken.count() + refused_count, CUSTOMERS);
    stage.assert_no_attempt_was_called_twice();
}

impl Stage {
    /// The claims of a message, each with its place on MESSAGES.
    async fn claims(&self, id: &str) -> Vec<(u64, v1::AttemptStarted)> {
        let id = MessageId::parse(id).expect("an id");
        let stored = self
            .log
            .read_subject(stream::MESSAGES, &subject::message(&id))
            .await
            .expect("a read");
        let claims = stored.iter().filter_map(|one| match one.event() {
            Ok(Event::AttemptStarted(started)) => Some((one.sequence, started)),
            _ => None,
        });
        claims.collect()
    }
}
