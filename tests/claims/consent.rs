//! What customers say about what they allow is kept to, from the webhook to the decision.

use casement_event::v1;
use casement_proto::message::v1 as message;
use casement_simulator::{Channel, Outcome};
use casement_testkit::eventually;
use casement_tests::{Role, SMS_SENDER, Stack, template};

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
