//! Figures equal what the platform counted, and what is stuck is found and dealt with.

use casement_event::v1::{self, Route};
use casement_event::{Record, id, subject};
use casement_event_log::{Config, Expect, Log};
use casement_proto::audit::v1::{Act, ListActsRequest};
use casement_proto::figures::v1 as proto;
use casement_proto::message::v1::MessageState;
use casement_proto::repair::v1 as repair;
use casement_shell::SystemClock;
use casement_simulator::{Channel, MessageKind, SentMessage, Status};
use casement_testkit::eventually;
use casement_tests::{
    Clients, NUMBER, Options, PHONE_NUMBER_ID, Role, Stack, WABA, free_form, template,
};
use serde_json::json;

const CUSTOMER: &str = "+15550002222";
/// A customer without a phone.
const USER_ID: &str = "US.13491208655302741918";
const UNANSWERED: &str = "+15550003333";

async fn figures(clients: &Clients, filter: proto::FiguresFilter) -> proto::Figures {
    let request = proto::GetFiguresRequest {
        filter: Some(filter),
        not_before: String::new(),
    };
    let answer = clients.figures.clone().get_figures(request).await;
    let answer = answer.map(|answer| answer.into_inner().figures);
    answer.ok().flatten().unwrap_or_default()
}

/// Yesterday until tomorrow: the test may run over midnight.
fn around() -> proto::FiguresFilter {
    let now = SystemClock::shared().now();
    let day = |hours: i64| {
        let at = now + jiff::SignedDuration::from_hours(hours);
        at.strftime("%Y-%m-%d").to_string()
    };
    proto::FiguresFilter {
        number: NUMBER.to_owned(),
        start_date: day(-24),
        end_date: day(24),
        time_zone: "Asia/Kathmandu".to_owned(),
        ..Default::default()
    }
}

fn route(of: &SentMessage) -> Route {
    match (of.channel, &of.kind) {
        (Channel::Sms, _) | (_, MessageKind::Sms) => Route::Sms,
        (_, MessageKind::Template { .. }) => Route::Template,
        _ => Route::FreeForm,
    }
}

/// What the platform's own books say of a route: sent, delivered, read, failed.
fn booked(sent: &[SentMessage], wanted: Route) -> [u64; 4] {
    let of_route = || sent.iter().filter(|one| route(one) == wanted);
    let count =
        |is_so: &dyn Fn(&SentMessage) -> bool| of_route().filter(|one| is_so(one)).count() as u64;
    [
        count(&SentMessage::is_accepted),
        count(&|one| one.was_reported(Status::Delivered) || one.was_reported(Status::Read)),
        count(&|one| one.was_reported(Status::Read)),
        count(&|one| !one.is_accepted() || one.was_reported(Status::Failed)),
    ]
}

fn counted(figures: &proto::Figures, wanted: Route) -> [u64; 4] {
    let found = figures.routes.iter().find(|one| one.route() == wanted);
    let of = found.copied().unwrap_or_default();
    [
        of.sent_count,
        of.delivered_count,
        of.read_count,
        of.failed_count,
    ]
}

#[tokio::test]
async fn the_figures_of_told_traffic_equal_the_platforms_own_books() {
    let mut stack = Stack::with(Options {
        window_seconds: 8,
        ..Options::default()
    })
    .await;
    let (clients, events) = (stack.clients(), stack.events().await);
    let customer = stack.customer(CUSTOMER);
    let unanswered = stack.customer(UNANSWERED);
    stack.says(&customer, "Hello");
    stack.says(&customer, "Anybody there?");
    stack.says(&unanswered, "Hello?");
    clients.open_window(CUSTOMER).await;
    clients.open_window(UNANSWERED).await;
    let mut ids = Vec::new();
    for text in ["Hello!", "How can we help?"] {
        ids.push(
            clients
                .send(CUSTOMER, free_form(text))
                .await
                .unwrap()
                .message_id,
        );
    }
    for id in &ids {
        clients.ended(id).await;
    }
    events.wait("WindowExpired", 2).await;
    let content = template("Still there?", "order_update", "7");
    let later = clients.send(CUSTOMER, content).await.unwrap().message_id;
    clients.ended(&later).await;

    let compare = async || {
        let figures = figures(&clients, around()).await;
        let sent = stack.simulator.sent();
        for wanted in [Route::FreeForm, Route::Template, Route::Sms] {
            let (told, booked) = (counted(&figures, wanted), booked(&sent, wanted));
            if told != booked {
                return Err(format!("{wanted:?}: counted {told:?}, booked {booked:?}"));
            }
        }
        if stack.simulator.pending_webhooks() > 0 {
            return Err("not everything was reported yet".to_owned());
        }
        Ok((figures, sent))
    };
    let (told, sent) = eventually("the figures are those of the books", compare).await;
    assert!(
        sent.iter().any(|one| route(one) == Route::Template),
        "{sent:?}"
    );
    assert_eq!(told.received_count, 3);
    assert_eq!(told.requested_count, 3);
    assert_eq!(told.expired_unanswered_count, 1, "one was answered");
    let response = told.response_times.unwrap();
    assert_eq!(response.count, 1, "the first answer alone");
    assert!(response.median.unwrap().seconds < 60);
    let ended: u64 = told.outcomes.iter().map(|one| one.count).sum();
    assert_eq!(ended, 3);

    // Days sum up to the range, whoever restarts and archives meanwhile.
    stack.kill9(Role::AuditProjector, 0);
    stack.start_role(Role::AuditProjector, 0).await;
    let days = eventually("days are listed", async || {
        let request = proto::ListDailyFiguresRequest {
            filter: Some(around()),
            ..Default::default()
        };
        let answer = clients.figures.clone().list_daily_figures(request).await;
        let days = answer.map_err(|status| status.to_string())?.into_inner();
        if days.days.is_empty() {
            return Err("there are none".to_owned());
        }
        Ok(days)
    })
    .await;
    assert_eq!(days.time_zone, "Asia/Kathmandu");
    let received = days.days.iter().filter_map(|day| day.figures.as_ref());
    assert_eq!(received.map(|day| day.received_count).sum::<u64>(), 3);
    let compared = eventually("the figures are as they were", async || {
        let again = figures(&clients, around()).await;
        if again == told {
            Ok(())
        } else {
            Err(format!("{again:#?}"))
        }
    });
    compared.await;

    overviews(&clients, &told).await;
    stack.stop().await;
}

/// The number as it stands is as its figures are.
async fn overviews(clients: &Clients, told: &proto::Figures) {
    let request = proto::ListNumberOverviewsRequest::default();
    let answer = clients.figures.clone().list_number_overviews(request).await;
    let numbers = answer.expect("an answer").into_inner().numbers;
    assert_eq!(numbers.len(), 1, "{numbers:?}");
    let number = &numbers[0];
    assert_eq!(number.number, NUMBER);
    assert_eq!(number.minutes.len(), 60);
    let received: u64 = number.minutes.iter().map(|one| one.received_count).sum();
    assert_eq!(received, told.received_count);
    let sent: u64 = told.routes.iter().map(|one| one.sent_count).sum();
    assert_eq!(number.last_hour.expect("an answer").sent_count, sent);
    assert!(number.last_webhook_time.is_some());
    assert_eq!(number.open_window_count, 0);

    let request = proto::WatchNumberOverviewsRequest {
        number: NUMBER.to_owned(),
        ..Default::default()
    };
    let watch = clients
        .figures
        .clone()
        .watch_number_overviews(request)
        .await;
    let mut watch = watch.expect("an answer").into_inner();
    let first = watch
        .message()
        .await
        .expect("an answer")
        .expect("an answer");
    assert_eq!(first.numbers.len(), 1);
    assert_eq!(first.numbers[0].number, NUMBER);

    let request = proto::ListTemplateFiguresRequest {
        name: "order_update".to_owned(),
        start_date: around().start_date,
        end_date: around().end_date,
        ..Default::default()
    };
    let answer = clients.figures.clone().list_template_figures(request).await;
    let templates = answer.expect("an answer").into_inner().templates;
    assert_eq!(templates.len(), 1, "{templates:?}");
    let total = templates[0].total.clone().expect("an answer");
    assert_eq!(total.sent_count, counted(told, Route::Template)[0]);
}

async fn acts(clients: &Clients) -> Vec<Act> {
    let request = ListActsRequest::default();
    let answer = clients.audit.clone().list_acts(request).await;
    answer
        .map(|answer| answer.into_inner().acts)
        .unwrap_or_default()
}

#[tokio::test]
async fn dead_letters_of_any_role_are_counted_confirmed_retried_and_on_record() {
    let stack = Stack::start().await;
    let clients = stack.clients();
    let events = stack.events().await;
    let mut repairs = Clients::repairs(stack.api_port(Role::Ingress, 0));
    let customer = stack.customer(CUSTOMER);
    stack.says(&customer, "hello");
    clients.open_window(CUSTOMER).await;
    let fact = events.wait("InboundMessageReceived", 1).await;
    assert!(!fact.is_empty());

    // One of the ingress, which is beyond help.
    let value = json!({
        "messaging_product": "whatsapp",
        "metadata": { "display_phone_number": "15550001111", "phone_number_id": PHONE_NUMBER_ID },
        "messages": [{ "type": "text" }],
    });
    let entry = json!({ "id": WABA, "changes": [{ "field": "messages", "value": value }] });
    let body = json!({ "object": "whatsapp_business_account", "entry": [entry] });
    let body = serde_json::to_vec(&body).unwrap();
    assert_eq!(stack.post(&body).await, Some(200));
    // One of the window-tracker, about a fact that it understands by now.
    let config = Config {
        servers: stack.nats.url(),
        accept_unsafe_broker: true,
        ..Config::default()
    };
    let log = Log::connect(&config).await.unwrap();
    let inbound = log
        .next("EVENTS", "casement.events.inbound.>", 1)
        .await
        .unwrap()
        .unwrap();
    let now = SystemClock::shared().now();
    let letter = v1::DeadLetter {
        role: "window-tracker".to_owned(),
        reason: "not understood".to_owned(),
        stream: "EVENTS".to_owned(),
        sequence: inbound.sequence,
        ..Default::default()
    };
    let letter_id = id::dead("window-tracker", "EVENTS", inbound.sequence, "");
    let record = Record::new(
        subject::dead("window-tracker"),
        letter_id,
        "casement/test",
        now,
        letter,
    );
    log.append(record, Expect::Anything).await.unwrap();

    let listed = eventually("both letters are listed", async || {
        let request = repair::ListDeadLettersRequest::default();
        let answer = repairs.clone().list_dead_letters(request).await;
        let letters = answer.map_err(|status| status.to_string())?.into_inner();
        if letters.total_count == 2 {
            Ok(letters.letters)
        } else {
            Err(format!("{letters:?}"))
        }
    })
    .await;
    assert_eq!(listed.len(), 2);
    let of = |role: &str| repair::DeadLetterFilter {
        role: role.to_owned(),
        ..Default::default()
    };
    let retry = |role: &str, confirm_count| repair::RetryDeadLettersRequest {
        filter: Some(of(role)),
        confirm_count,
        reason: "upgraded".to_owned(),
    };
    // Counted first; refused for another count; done for this one.
    let counted = repairs
        .retry_dead_letters(retry("ingress", None))
        .await
        .unwrap()
        .into_inner();
    assert_eq!((counted.count, counted.done), (1, false));
    let refused = repairs
        .retry_dead_letters(retry("ingress", Some(2)))
        .await
        .unwrap_err();
    assert_eq!(
        casement_shell::grpc::reason(&refused).as_deref(),
        Some("COUNT_CHANGED")
    );
    let nothing = repair::RetryDeadLettersRequest::default();
    repairs.retry_dead_letters(nothing).await.unwrap_err();
    let tried = repairs
        .retry_dead_letters(retry("ingress", Some(1)))
        .await
        .unwrap()
        .into_inner();
    assert!(tried.done && tried.pending_count == 0, "{tried:?}");
    assert!(
        !tried.results[0].detail.is_empty(),
        "it is as bad as it was"
    );
    let helped = repairs
        .retry_dead_letters(retry("window-tracker", Some(1)))
        .await
        .unwrap();
    let helped = helped.into_inner();
    assert_eq!(helped.results.len(), 1, "{helped:?}");
    assert_eq!(helped.results[0].outcome(), v1::DeadLetterOutcome::Retried);

    let request = repair::ListDeadLettersRequest::default();
    let left = repairs
        .list_dead_letters(request)
        .await
        .unwrap()
        .into_inner()
        .letters;
    assert_eq!(left.len(), 1, "{left:?}");
    assert!(!left[0].last_retry_detail.is_empty());
    let drop = repair::DropDeadLettersRequest {
        filter: Some(of("ingress")),
        confirm_count: Some(1),
        reason: "no id".to_owned(),
    };
    let dropped = repairs.drop_dead_letters(drop).await.unwrap().into_inner();
    assert_eq!(dropped.results[0].outcome(), v1::DeadLetterOutcome::Dropped);

    // Who did it, and why, is on record.
    let told = eventually("what was done is on record", async || {
        let acts = acts(&clients).await;
        let of = |name: &str| {
            let name = format!("casement.events.v1.{name}");
            let of = acts.iter().filter(|act| act.event_type == name);
            of.cloned().collect::<Vec<_>>()
        };
        let (asked, settled) = (of("DeadLettersAsked"), of("DeadLetterSettled"));
        if asked.len() == 3 && settled.len() == 2 {
            Ok(settled)
        } else {
            Err(format!("{acts:#?}"))
        }
    })
    .await;
    assert!(told.iter().all(|act| !act.caller.is_empty()));
    assert!(told.iter().any(|act| act.reason == "no id"));
    stack.stop().await;
}

#[tokio::test]
async fn held_messages_pauses_and_halts_are_listed_as_stuck_and_counted() {
    let stack = Stack::start().await;
    let clients = stack.clients();
    // Nobody wrote, there is no template, and no phone for an SMS: held.
    stack.nameless_customer(USER_ID);
    let held = clients
        .send(USER_ID, free_form("waiting for you"))
        .await
        .unwrap();
    // Or it would wait for the end of the pause.
    clients
        .until(&held.message_id, "is held", |message| {
            message.state() == MessageState::Held
        })
        .await;
    let pause = casement_proto::account::v1::PauseNumberRequest {
        number: NUMBER.to_owned(),
        reason: "stocktaking".to_owned(),
    };
    clients.accounts.clone().pause_number(pause).await.unwrap();
    let found = eventually("both are listed", async || {
        let request = proto::ListStuckWorkRequest::default();
        let answer = clients.figures.clone().list_stuck_work(request).await;
        let stuck = answer.map_err(|status| status.to_string())?.into_inner();
        if stuck.items.len() == 2 {
            Ok(stuck)
        } else {
            Err(format!("{stuck:?}"))
        }
    })
    .await;
    assert_eq!(found.items[0].kind(), proto::StuckKind::PausedNumber);
    assert_eq!(found.items[0].reason, "stocktaking");
    assert_eq!(found.items[1].message_id, held.message_id);
    assert!(found.items[1].since_time.is_some() && found.items[1].until_time.is_some());
    let counts: u64 = found.counts.iter().map(|one| one.count).sum();
    assert_eq!(counts, 2);
    // Page by page it is the same.
    let mut request = proto::ListStuckWorkRequest {
        page_size: 1,
        ..Default::default()
    };
    let mut paged = Vec::new();
    loop {
        let answer = clients
            .figures
            .clone()
            .list_stuck_work(request.clone())
            .await;
        let page = answer.unwrap().into_inner();
        paged.extend(page.items);
        if page.next_page_token.is_empty() {
            break;
        }
        request.page_token = page.next_page_token;
    }
    assert_eq!(paged, found.items);
    stack.stop().await;
}
