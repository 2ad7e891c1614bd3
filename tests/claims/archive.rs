//! Everything stands in the archive, and what was changed there is found.

use casement_proto::audit::v1::{ListEventsRequest, VerifyChainRequest};
use casement_proto::conversation::v1::GetTimelineRequest;
use casement_testkit::eventually;
use casement_tests::{Clients, NUMBER, Role, Stack, free_form};
use sqlx::{Connection as _, Row as _};

const CUSTOMER: &str = "+15550002222";

async fn with_a_conversation() -> (Stack, Clients, String) {
    let stack = Stack::start().await;
    let clients = stack.clients();
    let customer = stack.customer(CUSTOMER);
    stack.says(&customer, "Hello");
    clients.open_window(CUSTOMER).await;
    let message = clients
        .send(CUSTOMER, free_form("Hi!"))
        .await
        .expect("an accepted send");
    let message = clients.ended(&message.message_id).await;
    (stack, clients, message.customer_id)
}

#[tokio::test]
async fn every_step_of_a_conversation_can_be_asked_for_and_the_chain_holds() {
    let (stack, clients, customer_id) = with_a_conversation().await;
    let wanted = [
        "InboundMessageReceived",
        "WindowOpened",
        "MessageRequested",
        "AttemptStarted",
        "AttemptAccepted",
        "DeliveryAdvanced",
        "MessageEnded",
    ];
    eventually("the timeline holds every step", async || {
        let request = GetTimelineRequest {
            number: NUMBER.to_owned(),
            customer_id: customer_id.clone(),
            page_size: 100,
            ..Default::default()
        };
        let answer = clients.conversations.clone().get_timeline(request).await;
        let items = answer
            .map_err(|status| status.to_string())?
            .into_inner()
            .items;
        let has = |name: &&str| items.iter().any(|item| item.event_type.ends_with(*name));
        let missing: Vec<_> = wanted.iter().filter(|name| !has(name)).collect();
        if missing.is_empty() {
            Ok(())
        } else {
            Err(format!("{missing:?} missing"))
        }
    })
    .await;

    let request = ListEventsRequest {
        stream: "MESSAGES".to_owned(),
        ..Default::default()
    };
    let events = clients
        .audit
        .clone()
        .list_events(request)
        .await
        .unwrap()
        .into_inner()
        .events;
    assert!(
        events
            .windows(2)
            .all(|pair| pair[0].sequence < pair[1].sequence)
    );
    let verified = clients
        .audit
        .clone()
        .verify_chain(VerifyChainRequest::default())
        .await
        .unwrap();
    let reports = verified.into_inner().reports;
    assert!(
        reports
            .iter()
            .any(|report| report.stream == "EVENTS" && report.checked_count > 0)
    );
    assert!(reports.iter().all(|report| report.intact), "{reports:?}");
    stack.stop().await;
}

#[tokio::test]
async fn a_changed_archive_row_is_found() {
    let (mut stack, clients, _) = with_a_conversation().await;
    eventually("messages are archived", async || {
        let request = ListEventsRequest {
            stream: "MESSAGES".to_owned(),
            event_type: "casement.events.v1.MessageEnded".to_owned(),
            ..Default::default()
        };
        let answer = clients.audit.clone().list_events(request).await;
        answer.is_ok_and(|answer| !answer.into_inner().events.is_empty())
    })
    .await;
    stack.process(Role::AuditProjector, 0).terminate();
    stack.process(Role::AuditProjector, 0).wait().await;

    let changed = change_a_row(&stack).await;

    let output = stack
        .program()
        .arg("audit")
        .arg("verify")
        .arg("--database")
        .arg(stack.archive())
        .output();
    let output = output.unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned()
        + &String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success(), "{said}");
    assert!(
        said.contains(&changed.to_string()),
        "it names row {changed}: {said}"
    );
    stack.stop().await;
}

/// Changes one byte of an archived payload behind the archive's back; returns its sequence.
async fn change_a_row(stack: &Stack) -> i64 {
    let url = format!("sqlite://{}", stack.archive().display());
    let mut database = sqlx::SqliteConnection::connect(&url)
        .await
        .expect("the archive opens");
    let row = sqlx::query(
        "SELECT sequence AS seq, payload FROM archive WHERE stream = 'MESSAGES' AND event_type LIKE '%AttemptStarted'",
    )
    .fetch_one(&mut database)
    .await
    .expect("an archived claim");
    let (sequence, mut payload): (i64, Vec<u8>) = (row.get("seq"), row.get("payload"));
    payload[10] ^= 1;
    sqlx::query("UPDATE archive SET payload = ? WHERE stream = 'MESSAGES' AND sequence = ?")
        .bind(payload)
        .bind(sequence)
        .execute(&mut database)
        .await
        .expect("the row can be changed");
    sequence
}
