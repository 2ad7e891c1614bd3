//! A number moves to another business account while messages come and go, and none is lost for it;
//! a number that goes to somebody else stops, and keeps its history.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use casement_event::v1;
use casement_proto::account::v1 as accounts;
use casement_proto::message::v1 as message;
use casement_shell::SystemClock;
use casement_shell::clock::Clock as _;
use casement_shell::grpc::reason;
use casement_simulator::{AccountSpec, CustomerId, Outcome};
use casement_testkit::{eventually, eventually_within};
use casement_tests::{Clients, NUMBER, Options, PHONE_NUMBER_ID, Role, Stack, free_form, template};
use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use tonic::Code;

/// The destination.
const THERE: &str = "109000000000009";
const PARTNER: &str = "destination-access-token";

/// How long the whole of a migration may take here.
const MOVES_WITHIN: Duration = Duration::from_mins(1);

fn secret(stack: &Stack, name: &str, text: &str) -> v1::SecretRef {
    let path = stack.path(name);
    std::fs::write(&path, text).expect("a file in a folder of ours");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).expect("it is ours");
    v1::SecretRef {
        source: Some(v1::secret_ref::Source::File(path.display().to_string())),
    }
}

fn now() -> Timestamp {
    SystemClock::new().now()
}

/// Starts a migration to another account of the same business.
async fn start(stack: &Stack) -> v1::Migration {
    let account = AccountSpec {
        waba_id: Some(THERE.to_owned()),
        is_subscribed: true,
        ..AccountSpec::default()
    };
    stack.simulator.put_account(account).expect("an account");
    let shared = stack.simulator.share_account(PARTNER, THERE);
    shared.expect("a token of the account");
    let request = accounts::StartMigrationRequest {
        number: NUMBER.to_owned(),
        destination: Some(v1::MigrationPlace {
            waba_id: THERE.to_owned(),
            token: Some(secret(stack, "destination-token", PARTNER)),
            ..v1::MigrationPlace::default()
        }),
        pin: Some(secret(stack, "pin", "246810")),
        request_id: "move-1".to_owned(),
        ..accounts::StartMigrationRequest::default()
    };
    let mut migrations = stack.clients().migrations;
    let started = migrations.start_migration(request.clone()).await;
    let started = started.expect("it is started").into_inner().migration;
    let again = migrations.start_migration(request).await;
    let again = again.expect("a repeat is the same").into_inner().migration;
    let (started, again) = (started.unwrap_or_default(), again.unwrap_or_default());
    assert_eq!(started.migration_id, again.migration_id);
    started
}

async fn until(
    clients: &Clients,
    id: &str,
    what: &str,
    is_so: impl Fn(&v1::Migration) -> bool,
) -> v1::Migration {
    eventually_within(MOVES_WITHIN, what, async || {
        let request = accounts::GetMigrationRequest {
            migration_id: id.to_owned(),
        };
        let answer = clients.migrations.clone().get_migration(request).await;
        let answer = answer.map_err(|status| status.to_string())?;
        let migration = answer.into_inner().migration.unwrap_or_default();
        if is_so(&migration) {
            Ok(migration)
        } else {
            Err(format!("{migration:?}"))
        }
    })
    .await
}

fn awaits_code(migration: &v1::Migration) -> bool {
    migration.standing() == v1::MigrationStanding::AwaitsCode
}

/// Gives the code that the platform sent to the number.
async fn give_code(stack: &Stack, migration: &v1::Migration) {
    let id = migration.destination.clone().unwrap_or_default();
    let code = stack.simulator.verification_code(&id.phone_number_id);
    let request = accounts::SubmitMigrationCodeRequest {
        migration_id: migration.migration_id.clone(),
        code: code.expect("a code is out"),
    };
    let mut migrations = stack.clients().migrations;
    let given = migrations.submit_migration_code(request).await;
    given.expect("the platform takes the code");
}

/// What was asked for while it went on: the id of each message, and what it says.
type Asked = BTreeMap<String, String>;

/// Sends to one customer again and again, until told to stop.
async fn send_on(
    clients: Clients,
    phone: String,
    is_stranger: bool,
    stop: Arc<AtomicBool>,
    count: Arc<AtomicU64>,
) -> Asked {
    let mut asked = Asked::new();
    // Seldom enough that no customer's rate holds it up, however long the machine takes.
    let mut beat = tokio::time::interval(Duration::from_secs(1));
    while !stop.load(Ordering::Relaxed) {
        beat.tick().await;
        let next = count.fetch_add(1, Ordering::Relaxed);
        let (content, says) = if is_stranger {
            let says = format!("Your order {next} is on its way.");
            let content = template("", "order_update", &next.to_string());
            (
                v1::Content {
                    free_form: None,
                    ..content
                },
                says,
            )
        } else {
            let says = format!("message {next}");
            (free_form(&says), says)
        };
        let sent = clients.send(&phone, content).await;
        let sent = sent.expect("every message is accepted throughout");
        asked.insert(sent.message_id, says);
    }
    asked
}

/// Lets a customer write again and again, until told to stop; returns how often.
async fn write_on(stack: &Stack, customer: &CustomerId, stop: &AtomicBool) -> u64 {
    let mut written = 0;
    let mut beat = tokio::time::interval(Duration::from_millis(100));
    while !stop.load(Ordering::Relaxed) {
        beat.tick().await;
        stack.says(customer, "and another thing");
        written += 1;
    }
    written
}

#[tokio::test]
async fn a_number_moves_under_continuous_traffic_with_no_failed_send() {
    let mut stack = Stack::with(Options {
        carries_over: true,
        ..Options::default()
    })
    .await;
    let (clients, events) = (stack.clients(), stack.events().await);
    let phones: Vec<String> = (0..16).map(|one| format!("+155500030{one:02}")).collect();
    let customers: Vec<CustomerId> = phones.iter().map(|phone| stack.customer(phone)).collect();
    // The last four never wrote: they get templates.
    for (customer, phone) in customers.iter().zip(&phones).take(12) {
        stack.says(customer, "Hello");
        clients.open_window(phone).await;
    }
    let before = clients.window(&phones[0]).await.expect("a window");

    let (stop, count) = (Arc::new(AtomicBool::new(false)), Arc::default());
    let senders: Vec<_> = phones
        .iter()
        .enumerate()
        .map(|(index, phone)| {
            let (clients, phone) = (clients.clone(), phone.clone());
            let (stop, count) = (Arc::clone(&stop), Arc::clone(&count));
            tokio::spawn(send_on(clients, phone, index >= 12, stop, count))
        })
        .collect();
    let moving = async {
        eventually("messages go out before", async || {
            stack.simulator.sent_count() > 0
        })
        .await;
        let started = start(&stack).await;
        let id = &started.migration_id;
        let waits = until(&clients, id, "a code is awaited", awaits_code).await;
        let sent_before = stack.simulator.sent_count();
        give_code(&stack, &waits).await;
        let is_over = |it: &v1::Migration| it.state() == v1::MigrationState::Completed;
        let over = until(&clients, id, "the number has moved", is_over).await;
        let sent_by_then = stack.simulator.sent_count();
        assert!(sent_before > 0, "messages went out before");
        // And go on for a while where it is now.
        eventually_within(MOVES_WITHIN, "traffic goes on", async || {
            let since = stack.simulator.sent_count() - sent_by_then;
            if since > 60 { Ok(()) } else { Err(since) }
        })
        .await;
        stop.store(true, Ordering::Relaxed);
        over
    };
    let (over, written) = tokio::join!(moving, write_on(&stack, &customers[0], &stop));
    let mut asked = Asked::new();
    for sender in senders {
        asked.extend(sender.await.expect("the sender came to its end"));
    }

    // None failed, and none went twice.
    assert!(asked.len() > 100, "only {} were asked for", asked.len());
    for id in asked.keys() {
        let ended = clients.ended(id).await;
        assert_eq!(
            ended.outcome(),
            v1::MessageOutcome::Delivered,
            "{id}: {} {:?} {:?}",
            ended.outcome_reason,
            ended.attempts,
            ended.decision
        );
    }
    let sent = stack.simulator.sent();
    let accepted: Vec<_> = sent
        .iter()
        .filter(|one| one.outcome == Outcome::Accepted)
        .collect();
    let texts: BTreeSet<&str> = accepted.iter().map(|one| one.text.as_str()).collect();
    assert_eq!(texts.len(), accepted.len(), "something went twice");
    assert_eq!(accepted.len(), asked.len());
    assert!(asked.values().all(|says| texts.contains(says.as_str())));
    // Some went out before, some after, each under the id that was good then.
    let there = over.destination.clone().unwrap_or_default().phone_number_id;
    let froms: BTreeSet<&str> = accepted.iter().map(|one| one.from.as_str()).collect();
    assert_eq!(froms, BTreeSet::from([PHONE_NUMBER_ID, there.as_str()]));
    // Nothing was refused but for the moment itself, if at all.
    let refused = sent.len() - accepted.len();
    assert!(refused <= asked.len() / 10, "{refused} calls were refused");

    // What customers wrote meanwhile is all there, in the conversation that it was in before.
    let wrote = 12 + usize::try_from(written).expect("a few");
    events.wait("InboundMessageReceived", wrote).await;
    let after = clients.window(&phones[0]).await.expect("a window");
    assert_eq!(after.state(), v1::WindowState::Open);
    assert_eq!(after.customer_id, before.customer_id);
    assert_eq!(events.all("WindowCorrected").len(), 0);
    assert_eq!(events.all("WebhookParked").len(), 0);

    // What comes late under the old id is the number's still.
    let late = json!({
        "object": "whatsapp_business_account",
        "entry": [{"id": "102290129340398", "changes": [{"field": "messages", "value": {
            "messaging_product": "whatsapp",
            "metadata": {
                "display_phone_number": "15550001111",
                "phone_number_id": PHONE_NUMBER_ID,
            },
            "contacts": [{"wa_id": "15550003000", "profile": {"name": "Customer"}}],
            "messages": [{
                "from": "15550003000",
                "id": "wamid.late-under-the-old-id",
                "timestamp": now().as_second().to_string(),
                "type": "text",
                "text": {"body": "did you get my message?"},
            }],
        }}]}],
    });
    let status = stack.post(late.to_string().as_bytes()).await;
    assert_eq!(status, Some(200));
    eventually_within(MOVES_WITHIN, "the late message is there", async || {
        let window = clients.window(&phones[0]).await;
        let window = window.map_err(|status| status.to_string())?;
        match window.last_inbound_message_id.as_str() {
            "wamid.late-under-the-old-id" => Ok(()),
            other => Err(other.to_owned()),
        }
    })
    .await;

    let report = over.report.clone().unwrap_or_default();
    let names = |items: &[v1::MigrationItem]| -> Vec<String> {
        items.iter().map(|item| item.name.clone()).collect()
    };
    let (carried, left) = (names(&report.carried), names(&report.not_carried));
    assert!(
        carried.contains(&"order_update/en_US".to_owned()),
        "{carried:?}"
    );
    assert!(left.contains(&"order_paused/en_US".to_owned()), "{left:?}");
    assert!(left.contains(&"chat history".to_owned()), "{left:?}");

    // The file still says where it was; the record is newer.
    stack.kill9(Role::Accounts, 0);
    stack.start_role(Role::Accounts, 0).await;
    let get = accounts::GetNumberRequest {
        number: NUMBER.to_owned(),
    };
    let number = stack.clients().accounts.get_number(get).await;
    let number = number.expect("it is on record").into_inner().number;
    let number = number.unwrap_or_default();
    assert_eq!(number.phone_number_id, there);
    assert_eq!(number.previous_phone_number_ids, [PHONE_NUMBER_ID]);
    stack.stop().await;
}

#[tokio::test]
async fn accounts_killed_while_the_number_is_handed_over_fails_no_message() {
    let mut stack = Stack::with(Options {
        carries_over: true,
        ..Options::default()
    })
    .await;
    let clients = stack.clients();
    let phone = "+15550003000";
    let customer = stack.customer(phone);
    stack.says(&customer, "Hello");
    clients.open_window(phone).await;
    let started = start(&stack).await;
    let id = &started.migration_id;
    let waits = until(&clients, id, "a code is awaited", awaits_code).await;
    give_code(&stack, &waits).await;
    // The platform has the number there; whether that is on record yet is open.
    eventually_within(MOVES_WITHIN, "the number is registered", async || {
        let calls = stack.simulator.calls();
        let registered = calls.iter().any(|call| call.path.ends_with("/register"));
        if registered { Ok(()) } else { Err("not yet") }
    })
    .await;
    stack.kill9(Role::Accounts, 0);
    let mut asked = Vec::new();
    for index in 0..5 {
        let content = free_form(&format!("meanwhile {index}"));
        let sent = clients.send(phone, content).await;
        asked.push(sent.expect("it is accepted").message_id);
    }
    stack.start_role(Role::Accounts, 0).await;
    let clients = stack.clients();
    let is_over = |it: &v1::Migration| it.state() == v1::MigrationState::Completed;
    until(&clients, id, "the number has moved", is_over).await;
    for id in &asked {
        let ended = clients.ended(id).await;
        assert_eq!(ended.outcome(), v1::MessageOutcome::Delivered, "{ended:?}");
    }
    let sent = stack.simulator.sent();
    let accepted = sent.iter().filter(|one| one.outcome == Outcome::Accepted);
    let texts: BTreeSet<_> = accepted.clone().map(|one| one.text.clone()).collect();
    assert_eq!(texts.len(), accepted.count(), "something went twice");
    assert_eq!(texts.len(), asked.len());
    let registers = stack.simulator.calls().into_iter();
    let registers = registers.filter(|call| call.path.ends_with("/register"));
    assert_eq!(registers.count(), 1, "it is registered once");
    stack.stop().await;
}

/// Asks for a message that cannot go yet.
fn waiting(phone: &str, send_time: Option<Timestamp>) -> message::SendMessageRequest {
    message::SendMessageRequest {
        number: NUMBER.to_owned(),
        customer: Some(message::send_message_request::Customer::To(
            phone.to_owned(),
        )),
        content: Some(free_form("Hello")),
        purpose: v1::Purpose::Service.into(),
        send_time: send_time.map(casement_event::convert::timestamp),
        ..message::SendMessageRequest::default()
    }
}

async fn ask(clients: &Clients, request: message::SendMessageRequest) -> String {
    let sent = clients.messages.clone().send_message(request).await;
    let sent = sent.expect("it is accepted").into_inner().message;
    sent.unwrap_or_default().message_id
}

#[tokio::test]
async fn a_number_that_has_gone_sends_nothing_ends_what_waits_and_keeps_its_history() {
    let stack = Stack::start().await;
    let (clients, events) = (stack.clients(), stack.events().await);
    let user_id = "US.13491208655302741919";
    stack.nameless_customer(user_id);
    let (open, scheduled_for) = ("+15550003001", "+15550003002");
    let customer = stack.customer(open);
    stack.says(&customer, "Hello");
    clients.open_window(open).await;
    let gone_out = clients.send(open, free_form("gone out")).await;
    let gone_out = gone_out.expect("it is accepted").message_id;
    clients.ended(&gone_out).await;
    let held = clients.send(user_id, free_form("held")).await;
    let held = held.expect("it is accepted").message_id;
    let is_held = |it: &message::Message| it.state() == message::MessageState::Held;
    clients.until(&held, "is held", is_held).await;
    let in_an_hour = now() + SignedDuration::from_hours(1);
    let scheduled = ask(&clients, waiting(scheduled_for, Some(in_an_hour))).await;

    let mut migrations = clients.migrations.clone();
    let away = accounts::RecordMigratedAwayRequest {
        number: NUMBER.to_owned(),
        reason: "moved to another provider".to_owned(),
    };
    let recorded = migrations.record_migrated_away(away.clone()).await;
    let recorded = recorded.expect("it is recorded").into_inner();
    assert!(
        recorded
            .number
            .is_some_and(|it| it.migrate_away_time.is_some())
    );
    migrations.record_migrated_away(away).await.expect("again");

    for id in [&held, &scheduled] {
        let ended = clients.ended(id).await;
        assert_eq!(
            (ended.outcome(), ended.outcome_reason.as_str()),
            (v1::MessageOutcome::Failed, "NUMBER_MIGRATED_AWAY"),
            "{id}"
        );
    }
    for request in [
        waiting(open, None),
        waiting(scheduled_for, Some(in_an_hour)),
    ] {
        let refused = clients.messages.clone().send_message(request).await;
        let refused = refused.expect_err("nothing is sent from it");
        assert_eq!(refused.code(), Code::FailedPrecondition);
        assert_eq!(reason(&refused).as_deref(), Some("NUMBER_MIGRATED_AWAY"));
    }
    // The window is a fact, and permits nothing; what still comes is recorded; history stays.
    let window = eventually_within(MOVES_WITHIN, "the window permits nothing", async || {
        let window = clients.window(open).await.map_err(|it| it.to_string())?;
        if window.free_form_allowed {
            Err("free-form is allowed".to_owned())
        } else {
            Ok(window)
        }
    })
    .await;
    assert_eq!(window.state(), v1::WindowState::Open);
    assert_eq!(window.refusal_reason, "NUMBER_MIGRATED_AWAY");
    let received = events.all("InboundMessageReceived").len();
    stack.says(&customer, "are you still there?");
    events.wait("InboundMessageReceived", received + 1).await;
    let kept = clients.message(&gone_out).await.expect("it is kept");
    assert_eq!(kept.outcome(), v1::MessageOutcome::Delivered);

    // It had not gone after all.
    let returned = accounts::RecordReturnedRequest {
        number: NUMBER.to_owned(),
    };
    migrations
        .record_returned(returned)
        .await
        .expect("it is back");
    eventually_within(MOVES_WITHIN, "it sends again", async || {
        let sent = clients.send(open, free_form("back again")).await;
        sent.map_err(|status| status.to_string())
    })
    .await;
    stack.stop().await;
}
