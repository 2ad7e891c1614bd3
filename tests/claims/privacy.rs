//! Nothing personal is told where anybody looks, and who is erased is gone: canaries in every field
//! that customers and the team can fill, looked for everywhere.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use async_nats::jetstream;
use casement_domain::id::PortfolioId;
use casement_event_log::erasure::{Tombstone, entomb, tombstone};
use casement_proto::audit::v1 as audit;
use casement_proto::audit::v1::erase_customer_request::Customer as Whom;
use casement_proto::conversation::v1::{
    AddNoteRequest, AssignRequest, ChangeLabelsRequest, GetConversationRequest, GetTimelineRequest,
};
use casement_proto::events::v1::{self, ErasureState};
use casement_proto::message::v1 as message;
use casement_shell::SystemClock;
use casement_shell::clock::Clock as _;
use casement_simulator::MediaSpec;
use casement_testkit::{eventually, eventually_within};
use casement_tests::{
    Collector, NUMBER, Options, PHONE_NUMBER_ID, Role, ShippedBroker, Stack, WABA, clear_of,
    free_form, holding, template,
};
use jiff::SignedDuration;
use serde_json::json;

const PHONE: &str = "+15557654321";
const DIGITS: &str = "15557654321";
const USER_ID: &str = "US.77001122334455667788";
const NAME: &str = "Canaria Finch";
const SAID: &str = "canary-said-by-the-customer";
const SENT: &str = "canary-sent-by-the-business";
const LATER: &str = "canary-to-be-sent-later";
const FILLED: &str = "canary-in-a-template";
const NOTED: &str = "canary-in-a-note";
const FILE_NAME: &str = "canary-in-a-file-name.pdf";
const FILE: &str = "canary-in-a-file";
const TEXTED: &str = "canary-in-an-sms";
const BURIED: &str = "canary-in-a-dead-letter";

const CANARIES: [&str; 11] = [
    DIGITS, USER_ID, NAME, SAID, SENT, LATER, FILLED, NOTED, FILE_NAME, TEXTED, BURIED,
];

/// The team's own words: told nowhere, though they are not the customer's and outlive them.
const LABELLED: &str = "canary-of-a-label";
const ASSIGNED: &str = "canary.colleague";

/// What stands in no log, metric, trace, subject or header.
const UNTOLD: [&str; 13] = [
    DIGITS, USER_ID, NAME, SAID, SENT, LATER, FILLED, NOTED, FILE_NAME, TEXTED, BURIED, LABELLED,
    ASSIGNED,
];

/// Somebody else, whose traffic must stay.
const OTHER: &str = "+15550003333";
const OTHERS: &str = "what-somebody-else-said";

/// Subjects and headers of all that stands on the log.
async fn envelopes(client: &async_nats::Client) -> String {
    let context = jetstream::new(client.clone());
    let mut told = String::new();
    for name in [
        "RAW",
        "CUSTOMERS",
        "EVENTS",
        "MESSAGES",
        "ACCOUNTS",
        "DEAD",
        "LEASES",
        "SENSITIVE_KEYS",
        "SECRETS",
        "CASEMENT_COMMANDS",
    ] {
        let stream = context.get_stream(name).await.expect("the stream is there");
        let state = stream.get_info().await.expect("the broker answers").state;
        for sequence in state.first_sequence..=state.last_sequence {
            // Some have left.
            let Ok(stored) = stream.get_raw_message(sequence).await else {
                continue;
            };
            writeln!(told, "{name} {} {:?}", stored.subject, stored.headers)
                .expect("a string takes it");
        }
    }
    told
}

/// What each role says on its log so far.
fn logs(stack: &mut Stack) -> String {
    let mut told = String::new();
    for role in Role::ALL {
        let process = stack.process(role, 0);
        told += &process.stdout();
        told += &process.stderr();
    }
    told
}

/// Looks everywhere where nothing personal may stand.
async fn look_everywhere(stack: &mut Stack, collector: &Collector) {
    let http = casement_shell::http::client(&casement_shell::http::ClientOptions::default())
        .expect("a client");
    for role in Role::ALL {
        clear_of(&stack.metrics(role).await, &UNTOLD);
        for page in ["readyz", "livez"] {
            let url = format!("http://{}/{page}", stack.pages(role));
            let answer = http.get(url).send().await.expect("an answer");
            clear_of(&answer.text().await.expect("a text"), &UNTOLD);
        }
    }
    clear_of(&logs(stack), &UNTOLD);
    clear_of(&collector.raw(), &UNTOLD);
    clear_of(&envelopes(&stack.nats.client().await).await, &UNTOLD);
}

/// Returns the files below a folder that hold a canary, but for those that leave by their age: the
/// blocks of posts as received, and of what nobody could read.
fn files_with_canaries(folder: &Path) -> BTreeSet<String> {
    let found = CANARIES
        .iter()
        .chain([&FILE])
        .flat_map(|canary| holding(folder, canary.as_bytes()));
    found
        .filter(|path| !path.contains("/streams/RAW/") && !path.contains("/streams/DEAD/"))
        .collect()
}

/// A post with a message of the customer that nobody can read: it has no id.
fn unreadable() -> Vec<u8> {
    let message = json!({ "type": "text", "from": DIGITS, "text": { "body": BURIED } });
    let value = json!({
        "messaging_product": "whatsapp",
        "metadata": { "display_phone_number": NUMBER, "phone_number_id": PHONE_NUMBER_ID },
        "messages": [message],
    });
    let entry = json!({ "id": WABA, "changes": [{ "field": "messages", "value": value }] });
    let post = json!({ "object": "whatsapp_business_account", "entry": [entry] });
    post.to_string().into_bytes()
}

/// What goes by SMS, whatever the window.
fn sms(text: &str) -> v1::Content {
    v1::Content {
        sms: Some(v1::SmsContent {
            text: text.to_owned(),
            sender: String::new(),
        }),
        ..v1::Content::default()
    }
}

fn erase(request_id: &str) -> audit::EraseCustomerRequest {
    audit::EraseCustomerRequest {
        number: NUMBER.to_owned(),
        customer: Some(Whom::To(PHONE.to_owned())),
        request_id: request_id.to_owned(),
        reason: "ticket-4711".to_owned(),
        ..Default::default()
    }
}

#[tokio::test]
#[expect(
    clippy::too_many_lines,
    reason = "one customer's way through all of it"
)]
async fn nothing_personal_is_told_and_of_who_is_erased_nothing_is_left_and_nothing_comes_back() {
    let collector = Collector::start();
    let mut stack = Stack::with(Options {
        telemetry: format!(
            "otlp_endpoint = \"{}\"\nfilter = \"debug\"",
            collector.endpoint()
        ),
        ..Options::default()
    })
    .await;
    let (clients, events) = (stack.clients(), stack.events().await);
    let customer = stack
        .simulator
        .customer(Some(PHONE), Some(USER_ID), NAME)
        .unwrap();
    stack.says(&customer, SAID);
    let other = stack.customer(OTHER);
    stack.says(&other, OTHERS);
    let file = MediaSpec {
        kind: "document".to_owned(),
        mime_type: "application/pdf".to_owned(),
        filename: Some(FILE_NAME.to_owned()),
        ..MediaSpec::image(&customer, PHONE_NUMBER_ID, &FILE.repeat(64).into_bytes())
    };
    stack.simulator.sends_media(&file).unwrap();
    events.wait("MediaStored", 1).await;
    let before = clients.open_window(PHONE).await;
    let sent = clients.send(PHONE, free_form(SENT)).await.unwrap();
    clients.ended(&sent.message_id).await;
    let filled = clients
        .send(PHONE, template(FILLED, "order_update", FILLED))
        .await
        .unwrap();
    clients.ended(&filled.message_id).await;
    let texted = clients.send(PHONE, sms(TEXTED)).await.unwrap();
    let texted = clients.ended(&texted.message_id).await;
    assert_eq!(texted.attempts[0].route(), v1::Route::Sms, "{texted:#?}");
    assert_eq!(stack.post(&unreadable()).await, Some(200));
    eventually("the dead letter is archived", async || {
        let asked = audit::VerifyChainRequest::default();
        let reports = clients.audit.clone().verify_chain(asked).await;
        let reports = reports.map_err(|status| status.to_string())?;
        let reports = reports.into_inner().reports;
        let is_there = reports
            .iter()
            .any(|report| report.stream == "DEAD" && report.last_sequence > 0);
        is_there.then_some(()).ok_or(format!("{reports:?}"))
    })
    .await;
    let later = SystemClock::new().now() + SignedDuration::from_hours(1);
    let scheduled = message::SendMessageRequest {
        number: NUMBER.to_owned(),
        customer: Some(message::send_message_request::Customer::To(
            PHONE.to_owned(),
        )),
        content: Some(free_form(LATER)),
        purpose: v1::Purpose::Service.into(),
        send_time: Some(casement_event::convert::timestamp(later)),
        ..Default::default()
    };
    let scheduled = clients
        .messages
        .clone()
        .send_message(scheduled)
        .await
        .unwrap();
    let scheduled = scheduled.into_inner().message.unwrap();
    let note = AddNoteRequest {
        number: NUMBER.to_owned(),
        customer_id: before.customer_id.clone(),
        text: NOTED.to_owned(),
        author: "ana".to_owned(),
        ..Default::default()
    };
    eventually("the note is taken", async || {
        let added = clients.conversations.clone().add_note(note.clone()).await;
        added.map(drop).map_err(|status| status.to_string())
    })
    .await;
    let labelled = ChangeLabelsRequest {
        number: NUMBER.to_owned(),
        customer_id: before.customer_id.clone(),
        author: "ana".to_owned(),
        add_labels: vec![LABELLED.to_owned()],
        ..Default::default()
    };
    let labelled = clients.conversations.clone().change_labels(labelled).await;
    labelled.expect("the label is taken");
    let assigned = AssignRequest {
        number: NUMBER.to_owned(),
        customer_id: before.customer_id.clone(),
        assignee: ASSIGNED.to_owned(),
        author: ASSIGNED.to_owned(),
        ..Default::default()
    };
    let assigned = clients.conversations.clone().assign(assigned).await;
    assigned.expect("the assignment is taken");
    events.wait("ConversationAssigned", 1).await;
    // Refusals tell nothing, either.
    let unknown = message::SendMessageRequest {
        number: "+15550009876".to_owned(),
        customer: Some(message::send_message_request::Customer::To(
            PHONE.to_owned(),
        )),
        content: Some(free_form(SENT)),
        purpose: v1::Purpose::Service.into(),
        ..Default::default()
    };
    let refused = clients
        .messages
        .clone()
        .send_message(unknown)
        .await
        .unwrap_err();
    clear_of(&format!("{refused:?}"), &CANARIES);
    look_everywhere(&mut stack, &collector).await;
    let folder = stack.path("casement.toml").parent().unwrap().to_owned();
    let store = stack.nats.store_dir();
    assert!(
        !files_with_canaries(&store).is_empty(),
        "the search finds what is there"
    );

    // What would go, and then it goes.
    let preview = audit::EraseCustomerRequest {
        validate_only: true,
        ..erase("")
    };
    let preview = eventually("the archive has all of it", async || {
        let asked = clients.audit.clone().erase_customer(preview.clone()).await;
        let shown = asked
            .map_err(|status| status.to_string())?
            .into_inner()
            .erasure
            .unwrap();
        if shown.message_count == 4 {
            Ok(shown)
        } else {
            Err(format!("{shown:?}"))
        }
    })
    .await;
    assert_eq!(
        preview.customer_ids,
        std::slice::from_ref(&before.customer_id)
    );
    assert_eq!(
        (preview.identifier_count, preview.media_count),
        (2, 1),
        "{preview:?}"
    );
    assert_eq!(
        (preview.open_message_count, preview.conversation_count),
        (1, 1)
    );
    assert_eq!(preview.erasure_id, "");
    let request = audit::EraseCustomerRequest {
        wait: Some(prost_types::Duration {
            seconds: 30,
            nanos: 0,
        }),
        ..erase("ticket-4711")
    };
    let erased = clients
        .audit
        .clone()
        .erase_customer(request.clone())
        .await
        .unwrap();
    let erased = erased.into_inner().erasure.unwrap();
    assert_eq!(erased.state(), ErasureState::DoneButRaw, "{erased:?}");
    let second = |at: Option<prost_types::Timestamp>| at.unwrap().seconds;
    assert!(second(erased.last_copy_time) > second(erased.destroy_time));
    let again = clients.audit.clone().erase_customer(request).await.unwrap();
    assert_eq!(
        again.into_inner().erasure.unwrap().erasure_id,
        erased.erasure_id
    );

    // Running work has ended, and nobody was called for it.
    let closed = events.all("WindowCorrected");
    let closed = closed.iter().any(|heard| {
        matches!(&heard.event, casement_event::Event::WindowCorrected(event)
        if event.window.as_ref().is_some_and(|window| {
            window.closed_reason() == v1::ClosedReason::Erased
        }))
    });
    assert!(closed, "the window was told as closed");
    events.wait("MessageCancelled", 1).await;
    let attempts = events.all("AttemptStarted");
    assert!(
        attempts
            .iter()
            .all(|heard| !heard.subject.contains(&scheduled.message_id))
    );

    // No file but those of posts as received holds anything of it.
    let left = |folder: &Path| {
        let found = files_with_canaries(folder);
        if found.is_empty() {
            Ok(())
        } else {
            Err(format!("{found:#?}"))
        }
    };
    eventually_within(Duration::from_secs(20), "no canary is left", async || {
        left(&folder)?;
        left(&store)
    })
    .await;
    let others = holding(&store, OTHERS.as_bytes());
    assert!(
        others.iter().any(|path| !path.contains("/streams/RAW/")),
        "others are untouched"
    );

    // The archive says so, and its chains hold.
    let lookup = GetConversationRequest {
        number: NUMBER.to_owned(),
        customer_id: before.customer_id.clone(),
        ..Default::default()
    };
    let gone = clients
        .conversations
        .clone()
        .get_conversation(lookup)
        .await
        .unwrap_err();
    assert_eq!(gone.code(), tonic::Code::NotFound, "{gone:?}");
    let reports = clients
        .audit
        .clone()
        .verify_chain(audit::VerifyChainRequest::default())
        .await;
    for report in reports.unwrap().into_inner().reports {
        assert!(report.intact, "{report:?}");
    }

    // Posts are replayed: nothing of it comes back.
    let replayed = stack
        .program()
        .args([
            "replay",
            "raw",
            "--from",
            "1h",
            "--json",
            "--config",
            "casement.toml",
        ])
        .output()
        .unwrap();
    assert!(replayed.status.success(), "{replayed:?}");
    let told = String::from_utf8_lossy(&replayed.stdout).into_owned();
    assert!(told.contains("erased"), "{told}");
    left(&folder).unwrap();
    left(&store).unwrap();

    // Who writes again starts clean.
    let erased_second = erased.erase_time.unwrap().seconds;
    eventually("the second of the erasure is over", async || {
        let now = SystemClock::new().now().as_second();
        if now > erased_second {
            Ok(())
        } else {
            Err("not yet".to_owned())
        }
    })
    .await;
    stack.says(&customer, "a fresh start");
    let after = clients.open_window(PHONE).await;
    assert_ne!(after.customer_id, before.customer_id);
    let timeline = eventually("the new conversation is archived", async || {
        let request = GetTimelineRequest {
            number: NUMBER.to_owned(),
            customer_id: after.customer_id.clone(),
            ..Default::default()
        };
        let shown = clients.conversations.clone().get_timeline(request).await;
        let shown = format!(
            "{:?}",
            shown.map_err(|status| status.to_string())?.into_inner()
        );
        if shown.contains("a fresh start") {
            Ok(shown)
        } else {
            Err(shown)
        }
    })
    .await;
    clear_of(
        &timeline,
        &[SAID, SENT, LATER, FILLED, NOTED, FILE_NAME, TEXTED, BURIED],
    );
    look_everywhere(&mut stack, &collector).await;
    stack.stop().await;
}

#[tokio::test]
async fn the_shipped_broker_lets_the_projector_alone_write_tombstones_and_erase_what_is_a_customers()
 {
    let broker = ShippedBroker::start();
    let projector = broker.connect("audit-projector").await;
    let portfolio = PortfolioId::parse("p1").unwrap();
    let one = |token: &str| Tombstone {
        portfolio: portfolio.clone(),
        token: token.to_owned(),
        erasure_id: "e1".to_owned(),
        at: SystemClock::new().now(),
    };
    let now = SystemClock::new().now();
    let written = entomb(&projector, "casement/test", &one("c1"), now).await;
    let sequence = written.expect("the projector writes tombstones");
    for user in ["ingress", "window-tracker", "dispatcher", "accounts"] {
        let log = broker.connect(user).await;
        let refused = entomb(&log, "casement/test", &one("c2"), now).await;
        assert!(refused.is_err(), "{user} wrote one");
        let refused = log.erase("CUSTOMERS", sequence).await;
        assert!(refused.is_err(), "{user} erased one");
        let found = tombstone(&log, &portfolio, "c1").await;
        assert_eq!(
            found.unwrap().unwrap().erasure_id,
            "e1",
            "{user} reads them"
        );
    }
    projector
        .erase("CUSTOMERS", sequence)
        .await
        .expect("the projector erases");
}
