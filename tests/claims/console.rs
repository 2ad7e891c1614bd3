//! The console, in a real browser before real roles: who gets in, what is shown, what is done, and
//! whether everybody can use it.

use casement_proto::account::v1::PauseNumberRequest;
use casement_proto::message::v1::{MessageState, PauseSendsRequest};
use casement_testkit::eventually;
use casement_tests::{API_TOKEN, Browser, Look, NUMBER, Options, Role, Stack, Tab, free_form};

/// A token that only reads, of one brand.
const READER: &str = "test-reader-token-0123456789";

/// Everything with the gateway, and a second token.
async fn stage() -> Stack {
    let mut stack = Stack::without_roles(&Options::default()).await;
    let file = stack.path("casement.toml");
    let text = tokio::fs::read_to_string(&file)
        .await
        .expect("the file is read");
    let reader = format!(
        "[[api.tokens]]\nname = \"reader\"\ntoken = \"{READER}\"\nscopes = [\"read\"]\nbrand = \"*\"\n"
    );
    let text = text.replacen("[accounts]", &format!("{reader}[accounts]"), 1);
    tokio::fs::write(&file, text)
        .await
        .expect("the file is written");
    for role in Role::ALL {
        stack.start_role(role, 0).await;
    }
    stack.start_role(Role::Gateway, 0).await;
    stack
}

/// What a browser says of a page that does what it may not do: nothing.
async fn no_complaints(tab: &Tab, about: &str) {
    let complaints = tab.complaints().await;
    assert!(complaints.is_empty(), "{about}: {complaints:#?}");
}

/// The number's digits, as they stand in paths.
fn digits() -> &'static str {
    NUMBER.trim_start_matches('+')
}

#[tokio::test]
async fn a_token_opens_the_console_for_a_time_and_nothing_else_does() {
    let mut stack = stage().await;
    let browser = Browser::start().await;
    let tab = browser.open(&stack.console_url()).await;

    // Wherever somebody wants to go, they sign in first, and get there then.
    tab.go("/stuck?kind=halts").await;
    tab.until_at("/sign-in?next=").await;
    tab.write("#token", "not-a-token").await;
    tab.press("form button[type=submit]").await;
    tab.until("[role=alert]", "not known").await;
    assert!(tab.cookies().await.is_empty());
    let refused = tab.complaints().await;
    assert!(refused.iter().all(|one| one.contains("401")), "{refused:?}");
    tab.write("#token", API_TOKEN).await;
    tab.keys("\u{e007}").await;
    tab.until_at("/stuck?kind=halts").await;
    let cookies = tab.cookies().await;
    assert_eq!(cookies.len(), 1, "{cookies:?}");
    assert_eq!(cookies[0]["httpOnly"], true);
    assert_eq!(cookies[0]["sameSite"], "Strict");
    assert!(!cookies[0].to_string().contains(API_TOKEN));

    // By keyboard alone: to the content, and out.
    tab.keys("\u{e004}").await;
    let skip = tab
        .run("return document.activeElement.className", vec![])
        .await;
    assert_eq!(skip, "skip");
    tab.keys("\u{e007}").await;
    eventually("the focus is in the content", async || {
        let focused = tab.run("return document.activeElement.id", vec![]).await;
        focused == "main"
    })
    .await;

    // A form that no page of this session sent does nothing.
    let forged = tab
        .run(
            "const body = new URLSearchParams({kind: 'halts', csrf: 'AAAA'});
             return fetch('/sign-out', {method: 'POST', body}).then((a) => a.status)",
            vec![],
        )
        .await;
    assert_eq!(forged, 403);
    tab.complaints().await;
    tab.press("form[action='/sign-out'] button").await;
    tab.until_at("/sign-in").await;
    tab.go("/numbers").await;
    tab.until_at("/sign-in?next=").await;

    // What a token may not do is not offered, and refused if tried.
    tab.sign_in(READER).await;
    tab.until("h1", "Numbers").await;
    assert!(!tab.text("nav").await.contains("Record"));
    tab.go(&format!("/numbers/{}", digits())).await;
    tab.until("h1", NUMBER).await;
    assert_eq!(tab.count("#pause").await, 0);
    tab.go(&format!("/numbers/{}/pause", digits())).await;
    tab.press("form.panel button.danger").await;
    tab.until("body", "MISSING_SCOPE").await;

    // The session outlives no restart of a gateway that draws its key.
    stack.process(Role::Gateway, 0).terminate();
    stack.process(Role::Gateway, 0).wait().await;
    let told = stack.process(Role::Gateway, 0).stderr();
    assert!(told.contains("signed in to the console"), "{told}");
    assert!(
        !told.contains(API_TOKEN) && !told.contains(READER),
        "a token is in the log"
    );
    stack.start_role(Role::Gateway, 0).await;
    tab.go("/numbers").await;
    tab.until_at("/sign-in?next=").await;
    tab.close().await;
    browser.stop().await;
    stack.stop().await;
}

#[tokio::test]
async fn numbers_live_and_are_paused_and_resumed_with_a_second_look() {
    let stack = stage().await;
    let clients = stack.clients();
    let browser = Browser::start().await;
    let tab = browser.open(&stack.console_url()).await;
    tab.sign_in(API_TOKEN).await;
    tab.until("h1", "Numbers").await;
    tab.until("#numbers", NUMBER).await;
    tab.until("#live-state", "live").await;

    // What happens is seen without anybody doing anything.
    let row = format!("#number-{}", digits());
    let customer = stack.customer("+15550002222");
    stack.says(&customer, "Hello");
    tab.until(&row, "1 received").await;
    assert_eq!(tab.count(&format!("{row} svg.plot")).await, 1);
    let pause = PauseNumberRequest {
        number: NUMBER.to_owned(),
        reason: "<script>document.title = 'owned'</script>".to_owned(),
    };
    clients.accounts.clone().pause_number(pause).await.unwrap();
    tab.until(&row, "paused").await;

    tab.press(&format!("{row} a.number")).await;
    tab.until_at(&format!("/numbers/{}", digits())).await;
    tab.until("#number", "<script>document.title = 'owned'</script>")
        .await;
    assert!(
        !tab.run("return document.title", vec![])
            .await
            .to_string()
            .contains("owned")
    );
    tab.press("#resume").await;
    tab.until("h1", "Resume").await;
    tab.press("form.panel button.primary").await;
    tab.until("[role=status].notice", "sends again").await;
    // The record is heard of a moment later, and the page follows it.
    tab.until("#pause", "Pause").await;
    tab.press("#pause").await;
    tab.until("h1", "Pause").await;
    tab.write("#reason", "wrong prices").await;
    tab.press("form.panel button.danger").await;
    tab.until("[role=status].notice", "is paused").await;
    tab.until("#number", "wrong prices").await;
    let request = casement_proto::account::v1::GetNumberRequest {
        number: NUMBER.to_owned(),
    };
    let stored = clients.accounts.clone().get_number(request).await.unwrap();
    let stored = stored.into_inner().number.unwrap();
    assert!(
        stored.paused && stored.pause_reason == "wrong prices",
        "{stored:?}"
    );

    // And it is on record who did it.
    tab.go("/record").await;
    tab.until("table", "Number paused").await;
    tab.until("table", "test").await;
    no_complaints(&tab, "numbers").await;

    // Without scripts all of it works, too; only nothing moves by itself.
    tab.scripts(false).await;
    tab.go(&format!("/numbers/{}", digits())).await;
    tab.press("#resume").await;
    tab.press("form.panel button.primary").await;
    tab.until_at(&format!("/numbers/{}", digits())).await;
    tab.close().await;
    browser.stop().await;
    stack.stop().await;
}

#[tokio::test]
async fn stuck_work_is_counted_and_ended_by_its_count() {
    let stack = stage().await;
    let clients = stack.clients();
    let user_id = "US.13491208655302741918";
    stack.nameless_customer(user_id);
    let mut ids = Vec::new();
    for text in ["first", "second", "third"] {
        let message = clients.send(user_id, free_form(text)).await.unwrap();
        clients
            .until(&message.message_id, "is held", |message| {
                message.state() == MessageState::Held
            })
            .await;
        ids.push(message.message_id);
    }
    let browser = Browser::start().await;
    let tab = browser.open(&stack.console_url()).await;
    tab.sign_in(API_TOKEN).await;
    tab.until("h1", "Numbers").await;
    tab.go("/stuck?kind=held").await;
    for id in &ids {
        tab.until("#stuck-list", id).await;
    }
    tab.until("#stuck-kinds [aria-current=page]", "3").await;

    // Two of the three, and only if that is what was meant.
    tab.press(&format!("input[value='{}']", ids[0])).await;
    tab.press(&format!("input[value='{}']", ids[1])).await;
    tab.press("button[value=cancel]").await;
    tab.until("h1", "Withdraw 2 messages?").await;
    tab.write("#count", "3").await;
    tab.press("form.panel button[type=submit]").await;
    tab.until("[role=alert]", "Nothing was done").await;
    tab.complaints().await;
    assert_eq!(
        clients.message(&ids[0]).await.unwrap().state(),
        MessageState::Held
    );
    tab.write("#count", "2").await;
    tab.press("form.panel button[type=submit]").await;
    tab.until("[role=status].notice", "2 withdrawn.").await;
    for id in &ids[..2] {
        let ended = clients.ended(id).await;
        assert_eq!(
            ended.outcome(),
            casement_event::v1::MessageOutcome::Cancelled
        );
    }
    tab.until("#stuck-kinds [aria-current=page]", "1").await;
    assert!(tab.text("#stuck-list").await.contains(&ids[2]));

    // A halt that somebody sets appears, and is lifted.
    let pause = PauseSendsRequest {
        target: Some(casement_proto::message::v1::HaltTarget {
            target: Some(casement_proto::message::v1::halt_target::Target::Number(
                NUMBER.to_owned(),
            )),
        }),
        reason: "a test".to_owned(),
        until_time: None,
    };
    clients.messages.clone().pause_sends(pause).await.unwrap();
    tab.go("/stuck?kind=halts").await;
    tab.until("#stuck-list", "a test").await;
    tab.press("input[name=which]").await;
    tab.press("button[value=lift]").await;
    tab.until("h1", "Lift 1 halt?").await;
    tab.write("#count", "1").await;
    tab.press("form.panel button[type=submit]").await;
    tab.until("[role=status].notice", "1 lifted.").await;
    tab.until("#stuck-list", "Nothing is halted").await;
    no_complaints(&tab, "stuck work").await;
    tab.close().await;
    browser.stop().await;
    stack.stop().await;
}

#[tokio::test]
async fn the_record_is_checked_and_taken_along_and_a_customer_erased_by_name() {
    let stack = stage().await;
    let clients = stack.clients();
    let customer = stack.customer("+15550002222");
    stack.says(&customer, "quokka");
    clients.open_window("+15550002222").await;
    let browser = Browser::start().await;
    let tab = browser.open(&stack.console_url()).await;
    tab.sign_in(API_TOKEN).await;
    tab.until("h1", "Numbers").await;
    tab.go("/record/archive").await;
    tab.until("main", "EVENTS").await;
    tab.press("form[action='/record/verify'] button").await;
    tab.until("h1", "The archive is intact").await;
    assert!(tab.text("main").await.contains("Events checked"));

    // A file of lines; a link that a browser follows is no form of ours, and gets nothing.
    let export = "const f = document.querySelector(`form[action='${arguments[0]}']`);
        for (const [name, value] of Object.entries(arguments[1])) f.elements[name].value = value;
        return fetch(f.action, {method: 'POST', body: new URLSearchParams(new FormData(f))})
            .then(async (a) => [a.status, a.headers.get('content-disposition'), await a.text()])";
    tab.go("/record/archive").await;
    let got = tab
        .run(
            export,
            vec![
                "/record/export".into(),
                serde_json::json!({"stream": "EVENTS"}),
            ],
        )
        .await;
    assert_eq!(got[0], 200, "{got}");
    assert!(got[1].as_str().unwrap().starts_with("attachment"), "{got}");
    assert!(got[2].as_str().unwrap().lines().count() > 2);
    tab.go("/record/customers").await;
    let whom =
        serde_json::json!({"number": NUMBER, "customer": "+15550002222", "reason": "a test"});
    let got = tab
        .run(export, vec!["/record/customers/export".into(), whom])
        .await;
    assert_eq!(got[0], 200, "{got}");
    assert!(got[2].as_str().unwrap().contains("quokka"), "{got}");

    tab.write("#erase-number", NUMBER).await;
    tab.write("#erase-customer", "+15550002222").await;
    tab.write("#erase-reason", "a test").await;
    tab.press("form[action='/record/customers/plan'] button")
        .await;
    tab.until("h1", "Erase this customer for good?").await;
    tab.write("#again", "+15550002223").await;
    tab.press("form.panel button[type=submit]").await;
    tab.until("[role=alert]", "Nothing was erased").await;
    tab.complaints().await;
    tab.write("#again", "+15550002222").await;
    tab.press("form.panel button[type=submit]").await;
    tab.until_at("/record/customers").await;
    tab.until("[role=status].notice", "eras").await;
    tab.until("table", "a test").await;
    no_complaints(&tab, "record").await;
    tab.close().await;
    browser.stop().await;
    stack.stop().await;
}

#[tokio::test]
async fn everybody_can_use_every_screen_at_a_desk_on_a_phone_at_night_and_with_large_text() {
    let stack = stage().await;
    let clients = stack.clients();
    let customer = stack.customer("+15550002222");
    stack.says(
        &customer,
        "<script>document.title = 'owned'</script> & \"more\"",
    );
    let window = clients.open_window("+15550002222").await;
    clients
        .send("+15550002222", free_form("Hi!"))
        .await
        .unwrap();
    let user_id = "US.13491208655302741918";
    stack.nameless_customer(user_id);
    let held = clients.send(user_id, free_form("held")).await.unwrap();
    let browser = Browser::start().await;
    let tab = browser.open(&stack.console_url()).await;
    tab.go("/sign-in").await;
    let mut barriers = tab.barriers().await;
    tab.sign_in(API_TOKEN).await;
    tab.until("#numbers", NUMBER).await;
    tab.go("/stuck?kind=held").await;
    tab.until("#stuck-list", &held.message_id).await;
    let number = format!("/numbers/{}", digits());
    let conversation = format!("/conversations/{}/{}", digits(), window.customer_id);
    let pause = format!("{number}/pause");
    let looks = [
        ("desk", Look::DESK),
        ("night", Look::DESK.dark()),
        ("phone", Look::PHONE),
        ("phone-night", Look::PHONE.dark()),
        ("large", Look::DESK.large()),
    ];
    for (screen, path) in [
        ("numbers", "/numbers"),
        ("number", &number),
        ("pause", &pause),
        ("conversations", "/conversations"),
        ("conversation", &conversation),
        ("find", "/find"),
        ("stuck-work", "/stuck?kind=held"),
        ("record", "/record"),
        ("archive", "/record/archive"),
        ("customers", "/record/customers"),
    ] {
        for (name, look) in looks {
            tab.look(look).await;
            tab.go(path).await;
            let found = tab.barriers().await;
            barriers.extend(found.iter().map(|one| format!("{screen}, {name}: {one}")));
            tab.picture(&format!("{screen}-{name}")).await;
            let is_dark = tab
                .run(
                    "return getComputedStyle(document.body).backgroundColor",
                    vec![],
                )
                .await;
            assert_eq!(
                is_dark == "rgb(20, 24, 27)",
                look.is_dark,
                "{screen}, {name}"
            );
        }
    }
    assert!(barriers.is_empty(), "{barriers:#?}");
    no_complaints(&tab, "all screens").await;
    tab.close().await;
    browser.stop().await;
    stack.stop().await;
}
