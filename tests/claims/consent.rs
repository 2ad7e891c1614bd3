//! What customers say about what they allow is kept to, from the webhook to the decision.

use std::collections::BTreeMap;

use async_nats::jetstream;
use casement_event::v1;
use casement_proto::account::v1::consent_item::Customer as Whose;
use casement_proto::account::v1::consent_result::Result as Told;
use casement_proto::account::v1::{
    ConsentItem, ConsentState, ImportConsentsRequest, RecordConsentRequest,
};
use casement_proto::audit::v1::{ArchivedEvent, ListEventsRequest};
use casement_proto::message::v1 as message;
use casement_simulator::{Channel, Outcome};
use casement_testkit::eventually;
use casement_tests::{Clients, NUMBER, Options, Role, SMS_SENDER, Stack, template};
use futures::StreamExt as _;
use prost::Message as _;

const CUSTOMER: &str = "+15550002222";

/// SMS that reached the customer, by the simulator's books.
fn texts(stack: &Stack) -> Vec<String> {
    let sent = stack.simulator.sent();
    sent.into_iter()
        .filter(|one| one.channel == Channel::Sms && one.outcome == Outcome::Accepted)
        .map(|one| one.text)
        .collect()
}

/// A text whose template is paused: it can go by SMS, or wait for the customer.
fn text(text: &str) -> v1::Content {
    template(text, "order_paused", "7")
}

fn of_sms(decision: &v1::Decision) -> v1::Candidate {
    let mut candidates = decision.candidates.iter();
    candidates
        .find(|one| one.route() == v1::Route::Sms)
        .cloned()
        .expect("every route has a verdict")
}

#[tokio::test]
async fn after_stop_by_sms_no_sms_goes_out_until_start() {
    let mut stack = Stack::start().await;
    let (clients, events) = (stack.clients(), stack.events().await);
    stack.customer(CUSTOMER);
    let first = clients.send(CUSTOMER, text("one")).await.unwrap();
    clients.ended(&first.message_id).await;
    assert_eq!(texts(&stack), ["one"]);

    stack
        .simulator
        .texts(CUSTOMER, SMS_SENDER, "Stop.")
        .unwrap();
    let heard = events.wait("InboundSmsReceived", 1).await;
    let casement_event::Event::InboundSmsReceived(sms) = &heard[0].event else {
        panic!("{}", heard[0].name)
    };
    assert_eq!(sms.keyword(), v1::SmsKeyword::Stop);
    assert!(
        events.all("WindowOpened").is_empty(),
        "an SMS opens no window"
    );

    // Whoever heard of the message finds its word in force.
    let second = clients.send(CUSTOMER, text("two")).await.unwrap();
    let held = clients
        .until(&second.message_id, "is held", |one| {
            one.state() == message::MessageState::Held
        })
        .await;
    let ruled_out = of_sms(&held.decision.unwrap());
    assert_eq!(ruled_out.verdict(), v1::Verdict::RuledOut);
    assert_eq!(ruled_out.reason, "SMS_STOPPED");
    let names_record = |fact: &String| fact.starts_with("consent_sequence=");
    assert!(ruled_out.facts.iter().any(names_record), "{ruled_out:?}");

    // It is on the log and in no memory.
    stack.kill9(Role::Ingress, 0);
    stack.kill9(Role::Dispatcher, 0);
    stack.restart_broker().await;
    stack.start_role(Role::Ingress, 0).await;
    stack.start_role(Role::Dispatcher, 0).await;
    let preview = preview(&clients, text("three")).await;
    assert_eq!(of_sms(&preview).reason, "SMS_STOPPED");
    let only_sms = v1::Content {
        free_form: None,
        template: None,
        sms: Some(v1::SmsContent {
            text: "four".to_owned(),
            sender: String::new(),
        }),
    };
    let refusal = clients.send(CUSTOMER, only_sms).await.unwrap_err();
    assert_eq!(
        casement_shell::grpc::reason(&refusal).as_deref(),
        Some("NO_ROUTE")
    );
    assert_eq!(texts(&stack), ["one"]);

    stack
        .simulator
        .texts(CUSTOMER, SMS_SENDER, "START")
        .unwrap();
    // What was held goes out as soon as it may.
    let second = clients.ended(&second.message_id).await;
    assert_eq!(second.attempts[0].route(), v1::Route::Sms);
    assert_eq!(texts(&stack), ["one", "two"]);
    stack.stop().await;
}

#[tokio::test]
async fn after_marketing_was_stopped_on_whatsapp_no_marketing_goes_by_sms_either() {
    let stack = Stack::start().await;
    let clients = stack.clients();
    let customer = stack.customer(CUSTOMER);
    let number = casement_tests::PHONE_NUMBER_ID;
    let reason = async |wanted: bool| {
        stack
            .simulator
            .prefers_marketing(&customer, number, wanted)
            .unwrap();
        let expected = if wanted {
            "SMS_POSSIBLE"
        } else {
            "MARKETING_STOPPED"
        };
        eventually("the choice is in force", async || {
            let request = message::PreviewRouteRequest {
                request: Some(message::SendMessageRequest {
                    purpose: v1::Purpose::Marketing.into(),
                    ..asked(text("Sale!"))
                }),
                evaluate_time: None,
            };
            let answer = clients.messages.clone().preview_route(request).await;
            let decision = answer.map_err(|status| status.to_string())?;
            let reason = of_sms(&decision.into_inner().decision.unwrap()).reason;
            if reason == expected {
                Ok(())
            } else {
                Err(reason)
            }
        })
        .await;
    };
    let stopped = now();
    reason(false).await;
    // The platform's times are of whole seconds, and within one the refusal counts.
    eventually("another second", async || now() > stopped + 1).await;
    reason(true).await;
    stack.stop().await;
}

fn now() -> i64 {
    use casement_shell::clock::Clock as _;
    casement_shell::SystemClock::new().now().as_second()
}

fn asked(content: v1::Content) -> message::SendMessageRequest {
    message::SendMessageRequest {
        number: casement_tests::NUMBER.to_owned(),
        customer: Some(message::send_message_request::Customer::To(
            CUSTOMER.to_owned(),
        )),
        content: Some(content),
        purpose: v1::Purpose::Service.into(),
        ..Default::default()
    }
}

async fn preview(clients: &casement_tests::Clients, content: v1::Content) -> v1::Decision {
    let request = message::PreviewRouteRequest {
        request: Some(asked(content)),
        evaluate_time: None,
    };
    let answer = clients.messages.clone().preview_route(request).await;
    answer
        .expect("a preview")
        .into_inner()
        .decision
        .expect("a decision")
}

/// How many customers the campaign is for.
const CAMPAIGN_LEN: usize = 90;

fn in_campaign(index: usize) -> String {
    format!("+1555020{index:04}")
}

/// An opt-in or opt-out to marketing, a while ago or now.
fn said(to: &str, state: ConsentState, ago: i64) -> ConsentItem {
    ConsentItem {
        number: NUMBER.to_owned(),
        customer: Some(Whose::To(to.to_owned())),
        state: state.into(),
        purposes: vec![v1::Purpose::Marketing.into()],
        source: v1::ConsentSource::WebForm.into(),
        time: Some(prost_types::Timestamp {
            seconds: now() - ago,
            nanos: 0,
        }),
        item_id: format!("{to} {}", state.as_str_name()),
        ..ConsentItem::default()
    }
}

/// All of a stream of the archive, in its order.
async fn archived(clients: &Clients, stream: &str) -> Vec<ArchivedEvent> {
    let mut request = ListEventsRequest {
        stream: stream.to_owned(),
        page_size: 1_000,
        ..ListEventsRequest::default()
    };
    let mut all = Vec::new();
    loop {
        let page = clients.audit.clone().list_events(request.clone()).await;
        let page = page.expect("a page").into_inner();
        all.extend(page.events);
        if page.next_page_token.is_empty() {
            return all;
        }
        request.page_token = page.next_page_token;
    }
}

async fn opts_in(clients: &Clients) {
    let items = (0..CAMPAIGN_LEN).map(|index| ImportConsentsRequest {
        item: Some(said(&in_campaign(index), ConsentState::OptedIn, 3_600)),
    });
    let items: Vec<_> = items.collect();
    let answers = clients
        .consents
        .clone()
        .import_consents(futures::stream::iter(items))
        .await;
    let mut answers = answers.expect("an import").into_inner();
    let mut count = 0;
    while let Some(answer) = answers.message().await.expect("an answer") {
        let result = answer.result.and_then(|one| one.result);
        assert!(matches!(result, Some(Told::Accepted(_))), "{result:?}");
        count += 1;
    }
    assert_eq!(count, CAMPAIGN_LEN);
}

#[tokio::test]
async fn after_an_opt_out_in_mid_campaign_no_marketing_is_claimed_or_called_for() {
    let stack = Stack::with(Options {
        requires_opt_in: "business_initiated",
        ..Options::default()
    })
    .await;
    let clients = stack.clients();
    let streams = jetstream::new(stack.nats.client().await);
    let offer = |to: &str, consent| message::SendMessageRequest {
        number: NUMBER.to_owned(),
        customer: Some(message::send_message_request::Customer::To(to.to_owned())),
        content: Some(template("Sale!", "order_update", "7")),
        purpose: v1::Purpose::Marketing.into(),
        consent,
        ..Default::default()
    };

    // Nobody is written to who has not opted in.
    let request = message::PreviewRouteRequest {
        request: Some(offer(&in_campaign(0), None)),
        evaluate_time: None,
    };
    let preview = clients.messages.clone().preview_route(request).await;
    let decision = preview.expect("a preview").into_inner().decision;
    let of_template = decision.expect("a decision").candidates[1].clone();
    assert_eq!(of_template.reason, "NO_OPT_IN", "{of_template:?}");

    opts_in(&clients).await;
    let mut campaign = BTreeMap::new();
    for index in 0..CAMPAIGN_LEN {
        let mut request = offer(&in_campaign(index), None);
        request.send_time = Some(prost_types::Timestamp {
            seconds: now() + 3,
            nanos: 0,
        });
        let sent = clients.messages.clone().send_message(request).await;
        let sent = sent.expect("an accepted offer").into_inner();
        let sent = sent.message.expect("a message");
        campaign.insert(sent.message_id, index);
    }

    // It has begun: now every second one opts out.
    eventually("the campaign has begun", async || {
        !stack.simulator.sent().is_empty()
    })
    .await;
    let opting_out = (0..CAMPAIGN_LEN).step_by(2).map(|index| {
        let (mut consents, streams) = (clients.consents.clone(), streams.clone());
        async move {
            let item = Some(said(&in_campaign(index), ConsentState::OptedOut, 0));
            let answer = consents.record_consent(RecordConsentRequest { item }).await;
            let answer = answer.expect("a record").into_inner();
            let sequence = answer.position.rsplit('~').next().map(str::parse::<u64>);
            let mut messages = streams.get_stream("MESSAGES").await.expect("a stream");
            let last = messages
                .info()
                .await
                .expect("its state")
                .state
                .last_sequence;
            (index, (sequence.expect("a place").expect("a number"), last))
        }
    });
    let opted_out: BTreeMap<usize, (u64, u64)> = futures::stream::iter(opting_out)
        .buffer_unordered(8)
        .collect()
        .await;

    let mut refused = 0;
    for (id, index) in &campaign {
        let over = clients.ended(id).await;
        if over.outcome() == v1::MessageOutcome::Delivered {
            continue;
        }
        assert!(opted_out.contains_key(index), "{over:?}");
        assert_eq!(over.outcome(), v1::MessageOutcome::Failed);
        let decision = over.decision.expect("the end says why");
        assert_eq!(decision.candidates[1].reason, "MARKETING_STOPPED");
        refused += 1;
    }
    assert!(refused > 0, "all went out before anybody opted out");

    // The archive and the platform's own books are the witnesses.
    eventually("all is archived", async || {
        let events = archived(&clients, "MESSAGES").await;
        let of_type = |event: &&ArchivedEvent| event.event_type.ends_with(".MessageEnded");
        events.iter().filter(of_type).count() == CAMPAIGN_LEN
    })
    .await;
    for event in archived(&clients, "CUSTOMERS").await {
        if !event.event_type.ends_with(".ConsentRecorded") {
            continue;
        }
        let record = v1::ConsentRecorded::decode(event.payload.as_slice()).expect("a record");
        let is_refused = record.changes.iter().any(|word| !word.allowed);
        let is_known = opted_out
            .values()
            .any(|(opt_out, _)| *opt_out == event.sequence);
        assert_eq!(is_refused, is_known, "{record:?}");
        assert_eq!(record.caller, "test");
    }
    let calls = stack.simulator.sent();
    let mut claims = 0;
    for event in archived(&clients, "MESSAGES").await {
        if !event.event_type.ends_with(".AttemptStarted") {
            continue;
        }
        claims += 1;
        let claim = v1::AttemptStarted::decode(event.payload.as_slice()).expect("a claim");
        let Some((opt_out, last)) = opted_out.get(&campaign[&claim.message_id]) else {
            continue;
        };
        assert!(
            claim.consent_sequence < *opt_out,
            "claimed with the opt-out in view: {claim:?}"
        );
        let callback = format!("{}.{}", claim.message_id, claim.attempt);
        let is_called = calls
            .iter()
            .any(|call| call.callback_data.as_deref() == Some(&callback));
        assert!(
            event.sequence <= *last || !is_called,
            "claimed after the opt-out, and called for: {claim:?}"
        );
    }
    assert!(claims >= CAMPAIGN_LEN - refused);
    let taken = calls
        .iter()
        .filter(|call| call.outcome == Outcome::Accepted);
    assert_eq!(taken.count() + refused, CAMPAIGN_LEN);

    // And none later: not by a new request, and not for a caller's word either.
    let index = *opted_out.keys().next().expect("somebody opted out");
    let vouched = v1::ConsentAssertion {
        source: v1::ConsentSource::CustomerRequest.into(),
        time: Some(prost_types::Timestamp {
            seconds: now(),
            nanos: 0,
        }),
        ..v1::ConsentAssertion::default()
    };
    for consent in [None, Some(vouched)] {
        let request = offer(&in_campaign(index), consent);
        let refusal = clients.messages.clone().send_message(request).await;
        let refusal = refusal.expect_err("they opted out");
        assert_eq!(
            casement_shell::grpc::reason(&refusal).as_deref(),
            Some("NO_ROUTE")
        );
    }
    stack.stop().await;
}
