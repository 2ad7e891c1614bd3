//! Everything stands in the archive, and what was changed there is found.

use std::fs;

use casement_proto::audit::v1::{ListEventsRequest, ListSignedHeadsRequest, VerifyChainRequest};
use casement_proto::conversation::v1::GetTimelineRequest;
use casement_testkit::eventually;
use casement_tests::{Clients, NUMBER, Role, Stack, free_form};
use sqlx::{Connection as _, Row as _};

const CUSTOMER: &str = "+15550002222";

/// Where the archive of a stack is, in its folder.
const DATABASE: &str = "archive.sqlite";

/// Where a test writes the master key of its stack.
const KEY_FILE: &str = "master-key";

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

    let (is_intact, said) = verify(
        &stack,
        &["--database", DATABASE, "--master-key-file", KEY_FILE],
    );
    assert!(!is_intact, "{said}");
    assert!(
        said.contains(&changed.to_string()),
        "it names row {changed}: {said}"
    );
    stack.stop().await;
}

/// Runs a command of the program that needs nothing else to run; returns whether it succeeded and
/// what it said.
fn run(stack: &Stack, args: &[&str]) -> (bool, String) {
    fs::write(stack.path(KEY_FILE), "test-master-key-of-some-length-0123").expect("a file");
    let output = stack
        .program()
        .args(args)
        .output()
        .expect("the program runs");
    let said = String::from_utf8_lossy(&output.stdout).into_owned()
        + &String::from_utf8_lossy(&output.stderr);
    (output.status.success(), said)
}

fn verify(stack: &Stack, args: &[&str]) -> (bool, String) {
    run(stack, &[&["audit", "verify"], args].concat())
}

#[tokio::test]
async fn an_export_and_a_kept_head_prove_the_archive_with_nothing_running() {
    let (mut stack, clients, _) = with_a_conversation().await;
    // What an auditor keeps: the public key, and a signed head.
    let signed = eventually("every head is signed", async || {
        let request = ListSignedHeadsRequest::default();
        let answer = clients.audit.clone().list_signed_heads(request).await;
        let answer = answer.map_err(|status| status.to_string())?.into_inner();
        let has = |stream| answer.signed_heads.iter().any(|head| head.stream == stream);
        if ["EVENTS", "MESSAGES", "ACCOUNTS", "CUSTOMERS"]
            .iter()
            .all(|stream| has(*stream))
        {
            Ok(answer)
        } else {
            Err("not all are".to_owned())
        }
    })
    .await;
    fs::write(stack.path("archive.pub"), &signed.verifier_keys[0]).expect("a file");
    let head = signed
        .signed_heads
        .iter()
        .find(|head| head.stream == "MESSAGES");
    fs::write(stack.path("head.txt"), &head.expect("a head").note).expect("a file");
    stack.process(Role::AuditProjector, 0).terminate();
    stack.process(Role::AuditProjector, 0).wait().await;

    // The database itself, then an export of it: whole, with its end signed at the stop.
    let by = ["--key", "archive.pub", "--head", "head.txt"];
    let database = ["--database", DATABASE, "--master-key-file", KEY_FILE];
    let (is_intact, said) = verify(&stack, &[&database[..], &by].concat());
    assert!(is_intact, "{said}");
    assert!(
        said.contains("MESSAGES   intact") && said.contains("signed to"),
        "{said}"
    );
    let (is_written, export) = run(&stack, &[&["audit", "export"], &database[..]].concat());
    assert!(is_written, "{export}");
    fs::write(stack.path("export.ndjson"), &export).expect("a file");
    let of_export = [&["--export", "export.ndjson"], &by[..]].concat();
    let (is_intact, said) = verify(&stack, &of_export);
    assert!(is_intact, "{said}");

    // One byte of one event.
    let line = export
        .lines()
        .find(|line| line.contains("AttemptStarted"))
        .expect("a claim");
    let place = line.find("\"payload\":\"").expect("its payload") + 12;
    let other = if line[place..].starts_with('A') {
        'B'
    } else {
        'A'
    };
    let changed = format!("{}{other}{}", &line[..place], &line[place + 1..]);
    fs::write(stack.path("export.ndjson"), export.replace(line, &changed)).expect("a file");
    let (is_intact, said) = verify(&stack, &of_export);
    assert!(
        !is_intact && said.contains("MESSAGES   BROKEN at"),
        "{said}"
    );

    // A log that was never so: everything after the beginning is gone, and the end set back.
    let url = format!("sqlite://{}", stack.archive().display());
    let mut database = sqlx::SqliteConnection::connect(&url)
        .await
        .expect("it opens");
    for statement in [
        "DELETE FROM archive WHERE stream = 'MESSAGES' AND sequence > 1",
        "UPDATE archive_heads SET last_sequence = 1, row_count = 1, link = (
            SELECT link FROM archive WHERE stream = 'MESSAGES'
        ) WHERE stream = 'MESSAGES'",
        "DELETE FROM signed_heads",
    ] {
        sqlx::query(statement)
            .execute(&mut database)
            .await
            .expect("it can be changed");
    }
    database.close().await.expect("it closes");
    let (is_intact, said) = verify(&stack, &["--database", DATABASE]);
    assert!(is_intact, "what stands there fits together: {said}");
    let (is_intact, said) = verify(&stack, &[&["--database", DATABASE], &by[..]].concat());
    assert!(!is_intact && said.contains("MESSAGES   BROKEN"), "{said}");
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
