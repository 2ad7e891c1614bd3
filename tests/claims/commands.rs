//! A service sends over NATS and nothing else, and finds its message by whatever it knows of it.

use std::time::Duration;

use async_nats::{Client, ConnectOptions, HeaderMap, Subscriber};
use casement_event::v1;
use casement_proto::message::v1 as api;
use casement_proto::message::v1::send_result::Result as Told;
use casement_simulator::Outcome;
use casement_tests::{Clients, NUMBER, Stack, free_form};
use futures::StreamExt as _;
use prost::Message as _;

const CUSTOMER: &str = "+15550002222";
const SUBJECT: &str = "casement.commands.send.default.15550001111.crm";
const ANSWERS: &str = "casement.answers.default.crm.1";

/// A service as the guide describes it.
struct Service {
    client: Client,
    answers: Subscriber,
}

impl Service {
    async fn of(stack: &Stack) -> Self {
        let options = ConnectOptions::new().custom_inbox_prefix("_INBOX_crm");
        let client = options.connect(stack.nats.url()).await.expect("a broker");
        let mut answers = client.subscribe(ANSWERS).await.expect("a subscription");
        // Hearing oneself proves that the broker knows who listens.
        let heard = client.publish(ANSWERS, "".into()).await;
        heard.expect("a broker");
        answers.next().await.expect("it listens");
        Self { client, answers }
    }

    /// Returns what the broker answers.
    async fn publish(&self, request: &api::SendMessageRequest) -> String {
        let mut headers = HeaderMap::new();
        headers.insert("casement-answer-to", ANSWERS);
        let payload = request.encode_to_vec().into();
        let acknowledged = self
            .client
            .request_with_headers(SUBJECT, headers, payload)
            .await
            .expect("an acknowledgement");
        String::from_utf8_lossy(&acknowledged.payload).into_owned()
    }

    /// Returns the message that a command became, and where it stands.
    async fn told(&mut self) -> (String, String) {
        let answer = tokio::time::timeout(Duration::from_secs(30), self.answers.next()).await;
        let answer = answer.expect("an answer in time").expect("it listens");
        let result = api::SendResult::decode(answer.payload)
            .expect("a result")
            .result;
        match result.expect("either") {
            Told::Accepted(accepted) => (
                accepted.message.expect("a message").message_id,
                accepted.position,
            ),
            Told::Refused(refused) => panic!("refused: {refused:?}"),
        }
    }
}

fn request() -> api::SendMessageRequest {
    api::SendMessageRequest {
        number: NUMBER.to_owned(),
        customer: Some(api::send_message_request::Customer::To(CUSTOMER.to_owned())),
        content: Some(free_form("Your order is ready.")),
        purpose: v1::Purpose::Service.into(),
        client_reference: "order-4711".to_owned(),
        labels: vec![label("team", "shop")],
        request_id: "order-4711-ready".to_owned(),
        ..api::SendMessageRequest::default()
    }
}

fn label(key: &str, value: &str) -> v1::Label {
    v1::Label {
        key: key.to_owned(),
        value: value.to_owned(),
    }
}

async fn found(clients: &Clients, filter: api::MessageFilter, not_before: &str) -> Vec<String> {
    let request = api::ListMessagesRequest {
        filter: Some(filter),
        not_before: not_before.to_owned(),
        ..api::ListMessagesRequest::default()
    };
    let answer = clients.message_queries.clone().list_messages(request).await;
    let messages = answer.expect("a list").into_inner().messages;
    messages.into_iter().map(|one| one.message_id).collect()
}

#[tokio::test]
async fn a_service_sends_over_nats_once_and_finds_its_message_by_all_it_knows() {
    let stack = Stack::start().await;
    let clients = stack.clients();
    let customer = stack.customer(CUSTOMER);
    stack.says(&customer, "Hello");
    clients.open_window(CUSTOMER).await;
    let mut watched = clients
        .message_queries
        .clone()
        .watch_messages(api::WatchMessagesRequest {
            filter: Some(api::MessageFilter {
                states: vec![api::MessageState::Ended.into()],
                ..api::MessageFilter::default()
            }),
            after_position: String::new(),
        })
        .await
        .unwrap()
        .into_inner();

    let mut service = Service::of(&stack).await;
    let acknowledged = service.publish(&request()).await;
    assert!(acknowledged.contains("CASEMENT_COMMANDS"), "{acknowledged}");
    let (id, position) = service.told().await;
    // Told means durable: there, and found by who waits for that position.
    clients.message(&id).await.unwrap();
    let reference = || api::MessageFilter {
        client_reference: "order-4711".to_owned(),
        ..api::MessageFilter::default()
    };
    assert_eq!(
        found(&clients, reference(), &position).await,
        std::slice::from_ref(&id)
    );
    for _ in 0..2 {
        service.publish(&request()).await;
        assert_eq!(service.told().await.0, id, "the same request_id");
    }

    let ended = clients.ended(&id).await;
    assert_eq!(ended.outcome(), v1::MessageOutcome::Delivered);
    let told = loop {
        let answer = watched.message().await.unwrap().expect("it goes on");
        if let Some(message) = answer.message {
            break message;
        }
    };
    assert_eq!(
        (told.message_id.as_str(), told.state()),
        (id.as_str(), ended.state())
    );
    let sent = stack.simulator.sent();
    let taken = sent.iter().filter(|one| one.outcome == Outcome::Accepted);
    assert_eq!(taken.count(), 1, "the simulator's own books");

    let by = |filter: api::MessageFilter| filter;
    let table = [
        ("reference", reference()),
        (
            "provider's id",
            by(api::MessageFilter {
                provider_message_id: ended.attempts[0].provider_message_id.clone(),
                ..api::MessageFilter::default()
            }),
        ),
        (
            "label",
            by(api::MessageFilter {
                labels: vec![label("team", "shop")],
                ..api::MessageFilter::default()
            }),
        ),
        (
            "state and outcome",
            by(api::MessageFilter {
                states: vec![api::MessageState::Ended.into()],
                outcomes: vec![v1::MessageOutcome::Delivered.into()],
                number: NUMBER.to_owned(),
                ..api::MessageFilter::default()
            }),
        ),
        (
            "time",
            by(api::MessageFilter {
                request_since_time: ended.request_time,
                ..api::MessageFilter::default()
            }),
        ),
    ];
    for (what, filter) in table {
        assert_eq!(
            found(&clients, filter, &ended.position).await,
            std::slice::from_ref(&id),
            "{what}"
        );
    }
    let nothing = api::MessageFilter {
        labels: vec![label("team", "other")],
        ..api::MessageFilter::default()
    };
    assert_eq!(found(&clients, nothing, "").await, [""; 0]);
    stack.stop().await;
}
