//! What a sensitive message says is on its way, and nowhere else: not in any stream, table, log or
//! answer, while it lives and after it.

use casement_event::{Event, v1};
use casement_event_log::{Config, Log, ReadError};
use casement_proto::audit::v1::{ListEventsRequest, VerifyChainRequest};
use casement_proto::conversation::v1::GetTimelineRequest;
use casement_proto::message::v1 as api;
use casement_proto::message::v1::send_message_request::Customer;
use casement_simulator::Outcome;
use casement_testkit::eventually;
use casement_tests::{NUMBER, Options, Role, ShippedBroker, Stack, holding, template};
use prost::Message as _;

const CUSTOMER: &str = "+15550002222";
const CODE: &str = "493-817-ZQX";

#[tokio::test]
async fn a_code_reaches_the_customer_and_stands_nowhere_before_its_end_or_after() {
    let mut stack = Stack::with(Options {
        telemetry: "filter = \"debug\"".to_owned(),
        ..Options::default()
    })
    .await;
    let clients = stack.clients();
    let events = stack.events().await;
    stack.customer(CUSTOMER);
    // The window is closed: it goes as template.
    let request = api::SendMessageRequest {
        number: NUMBER.to_owned(),
        customer: Some(Customer::To(CUSTOMER.to_owned())),
        content: Some(template(CODE, "order_update", CODE)),
        purpose: v1::Purpose::Authentication.into(),
        request_id: "code-1".to_owned(),
        sensitive: true,
        ..Default::default()
    };
    let sent = clients.messages.clone().send_message(request).await;
    let id = sent.unwrap().into_inner().message.unwrap().message_id;
    let requested = events.wait("MessageRequested", 1).await.remove(0);
    let Event::MessageRequested(requested) = requested.event else {
        panic!("another event");
    };
    let sealed = requested.sealed_content.expect("it is sealed");
    let in_store = |bytes: &[u8]| holding(&stack.nats.store_dir(), bytes);
    assert!(
        !in_store(&sealed.ciphertext).is_empty(),
        "files are looked at"
    );
    assert_eq!(in_store(CODE.as_bytes()), [""; 0]);

    let ended = clients.ended(&id).await;
    assert!(ended.sensitive);
    let sent = stack.simulator.sent().into_iter();
    let taken: Vec<_> = sent
        .filter(|one| one.outcome == Outcome::Accepted)
        .collect();
    assert_eq!(taken.len(), 1);
    assert!(format!("{taken:?}").contains(CODE), "the customer has it");

    let listed = eventually("it is listed as over", async || {
        let mut queries = clients.message_queries.clone();
        let answer = queries
            .list_messages(api::ListMessagesRequest::default())
            .await;
        let messages = answer
            .map_err(|status| status.to_string())?
            .into_inner()
            .messages;
        match messages.as_slice() {
            [one] if one.state() == api::MessageState::Ended => Ok(one.clone()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
    assert!(listed.sensitive);
    let mut conversations = clients.conversations.clone();
    let timeline = conversations
        .get_timeline(GetTimelineRequest {
            number: NUMBER.to_owned(),
            customer_id: listed.customer_id.clone(),
            page_size: 100,
            ..Default::default()
        })
        .await
        .unwrap()
        .into_inner();
    let told = format!("{timeline:?}");
    assert!(told.contains("message requested (sensitive)"), "{told}");
    let mut audit = clients.audit.clone();
    let archived = audit
        .list_events(ListEventsRequest {
            stream: "MESSAGES".to_owned(),
            ..Default::default()
        })
        .await
        .unwrap()
        .into_inner();
    assert!(!archived.events.is_empty());
    for bytes in [timeline.encode_to_vec(), archived.encode_to_vec()] {
        assert!(
            !bytes
                .windows(CODE.len())
                .any(|window| window == CODE.as_bytes())
        );
    }
    let verified = audit.verify_chain(VerifyChainRequest::default()).await;
    let reports = verified.unwrap().into_inner().reports;
    assert!(reports.iter().all(|report| report.intact), "{reports:?}");

    // The ciphertext stays for ever; what opens it is gone, and so is every trace of it.
    let log = Log::connect(&Config {
        servers: stack.nats.url(),
        accept_unsafe_broker: true,
        ..Config::default()
    })
    .await
    .unwrap();
    eventually("the key is erased", async || {
        match log.state("SENSITIVE_KEYS").await {
            Ok(state) if state.messages == 0 && state.last_sequence > 0 => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
    assert!(!in_store(&sealed.ciphertext).is_empty());
    assert_eq!(in_store(CODE.as_bytes()), [""; 0]);
    let own = stack.path("casement.toml");
    assert_eq!(holding(own.parent().unwrap(), CODE.as_bytes()), [""; 0]);
    for role in Role::ALL {
        let process = stack.process(role, 0);
        for text in [process.stdout(), process.stderr()] {
            assert!(!text.contains(CODE), "{role:?} says it");
        }
    }
    assert!(!stack.nats.log().contains(CODE));
    stack.stop().await;
}

#[tokio::test]
async fn nobody_but_the_dispatcher_may_read_the_keys_or_make_a_stream_that_copies_them() {
    const ROLES: [&str; 5] = [
        "dispatcher",
        "ingress",
        "window-tracker",
        "accounts",
        "audit-projector",
    ];
    let broker = ShippedBroker::start();
    let dispatcher = broker.connect("dispatcher").await;
    let subject =
        "casement.keys.03.15550001111.15550001111-00000000000000000000000000000001".to_owned();
    let record = casement_event::Record::new(
        subject.clone(),
        casement_event::Uuid::new_v4(),
        "casement/test",
        jiff::Timestamp::UNIX_EPOCH,
        v1::ContentKeyStored::default(),
    );
    let stored = dispatcher
        .append(record, casement_event_log::Expect::Anything)
        .await
        .unwrap();
    let newest = dispatcher.last("SENSITIVE_KEYS", &subject).await.unwrap();
    assert_eq!(newest.unwrap().sequence, stored.sequence);
    for role in &ROLES[1..] {
        // It comes up, and reads what is its business.
        let log = broker.connect(role).await;
        assert!(
            log.last("MESSAGES", "casement.events.>").await.is_ok(),
            "{role}"
        );
        let read = log.last("SENSITIVE_KEYS", &subject).await;
        assert!(matches!(read, Err(ReadError::Unavailable { .. })), "{role}");
        let erased = log.erase("SENSITIVE_KEYS", stored.sequence).await;
        assert!(erased.is_err(), "{role}");
        let client = broker.client(role).await;
        let context = async_nats::jetstream::new(client);
        let copy = async_nats::jetstream::stream::Config {
            name: "COPY".to_owned(),
            mirror: Some(async_nats::jetstream::stream::Source {
                name: "SENSITIVE_KEYS".to_owned(),
                ..Default::default()
            }),
            ..Default::default()
        };
        assert!(context.create_stream(copy).await.is_err(), "{role}");
    }
    dispatcher
        .erase("SENSITIVE_KEYS", stored.sequence)
        .await
        .unwrap();
    assert_eq!(
        dispatcher.state("SENSITIVE_KEYS").await.unwrap().messages,
        0
    );
}
