//! The console's conversations and its search for messages, in a real browser: what is shown is
//! what the API says, and what is written goes where it was said to go, once, or nowhere.

use casement_proto::conversation::v1 as conversation;
use casement_simulator::{Channel, MessageKind};
use casement_testkit::eventually;
use casement_tests::{API_TOKEN, Browser, Look, NUMBER, Options, Role, Stack, Tab, free_form};
use serde_json::json;

const CUSTOMER: &str = "+15550002222";

/// A browser that is signed in at the console of a running system.
struct Scene {
    stack: Stack,
    browser: Browser,
    tab: Tab,
}

impl Scene {
    async fn with(options: Options) -> Self {
        let browser = Browser::start().await;
        let mut stack = Stack::with(options).await;
        stack.start_role(Role::Gateway, 0).await;
        let tab = browser.open(&stack.console_url()).await;
        tab.sign_in(API_TOKEN).await;
        tab.until_at("/numbers").await;
        Self {
            stack,
            browser,
            tab,
        }
    }

    async fn start() -> Self {
        Self::with(Options::default()).await
    }

    /// Waits until a customer's conversation is in the read model, and returns it.
    async fn conversation(&self, customer: &str) -> conversation::Conversation {
        let clients = self.stack.clients();
        let window = clients.open_window(customer).await;
        eventually("the conversation is archived", async || {
            let request = conversation::GetConversationRequest {
                number: NUMBER.to_owned(),
                customer_id: window.customer_id.clone(),
                not_before: String::new(),
            };
            let mut conversations = clients.conversations.clone();
            let answer = conversations.get_conversation(request).await;
            let answer = answer.map_err(|status| status.to_string())?.into_inner();
            let found = answer.conversation.ok_or("no conversation".to_owned())?;
            if found.inbound_count > 0 && found.expire_time.is_some() {
                Ok(found)
            } else {
                Err("its window is not there yet".to_owned())
            }
        })
        .await
    }

    fn path(of: &conversation::Conversation) -> String {
        let digits = of.number.trim_start_matches('+');
        format!("/conversations/{digits}/{}", of.customer_id)
    }

    async fn stop(self) {
        self.tab.close().await;
        self.browser.stop().await;
        self.stack.stop().await;
    }
}

async fn is(tab: &Tab, what: &str, script: &str) {
    eventually(what, async || {
        let told = tab.run(&format!("return {script}"), Vec::new()).await;
        if told == json!(true) {
            Ok(())
        } else {
            Err(format!("{told}"))
        }
    })
    .await;
}

#[tokio::test]
async fn the_list_shows_what_the_api_says_and_follows_it() {
    let scene = Scene::start().await;
    let (stack, tab) = (&scene.stack, &scene.tab);
    tab.go("/conversations").await;
    tab.until("#conversation-list", "Nobody has written yet")
        .await;

    let customer = stack.customer(CUSTOMER);
    stack.says(&customer, "Where is my aloe?");
    tab.until("#conversation-list", "Where is my aloe?").await;

    let api = scene.conversation(CUSTOMER).await;
    for told in [
        "Customer",
        NUMBER,
        "open",
        "left",
        "1 unread",
        "waiting since",
    ] {
        tab.until(".conversation", told).await;
    }
    assert_eq!(
        tab.attribute(".conversation-name", "href").await,
        Scene::path(&api)
    );
    assert_eq!(tab.barriers().await, Vec::<String>::new());

    // Filters are questions to the API.
    tab.go("/conversations?status=locked").await;
    tab.until("#conversation-list", "No conversation is like this")
        .await;
    tab.go("/conversations?assignee=nobody&unread=yes&waiting=yes&order=waiting")
        .await;
    tab.until(".conversation", "Where is my aloe?").await;

    // Words and phones are looked for by POST: nothing of them is in an address.
    for (query, found) in [
        ("ALOE", "Where is my aloe?"),
        (CUSTOMER, "Who has this phone"),
    ] {
        tab.go("/conversations").await;
        tab.write("#search", query).await;
        tab.press(".search button").await;
        // The list that was left shows the same words.
        eventually("the search is answered", async || {
            tab.path().await == "/conversations/search"
        })
        .await;
        tab.until("main", found).await;
    }
    assert_eq!(tab.complaints().await, Vec::<String>::new());
    scene.stop().await;
}

#[tokio::test]
async fn a_conversation_is_read_answered_and_handled() {
    let scene = Scene::start().await;
    let (stack, tab) = (&scene.stack, &scene.tab);
    let customer = stack.customer(CUSTOMER);
    stack.says(&customer, "Where is my aloe?");
    let api = scene.conversation(CUSTOMER).await;
    let path = Scene::path(&api);
    tab.go(&path).await;
    tab.until("#timeline", "Where is my aloe?").await;
    tab.until("#timeline", "Window open until").await;
    tab.until("#clocks", "left").await;
    tab.until("#clocks", "waiting since").await;
    tab.until("#handling", "nobody").await;

    tab.write("#reply", "It is on its way.").await;
    tab.until("#composer-preview", "Goes now as a WhatsApp message.")
        .await;
    tab.press("#composer-send").await;
    tab.until("#timeline", "It is on its way.").await;
    tab.until("#timeline .entry-out", "Delivered").await;
    assert_eq!(stack.simulator.sent()[0].text, "It is on its way.");

    // The decision is there, with each route and the reason.
    tab.press("#timeline .entry-out summary").await;
    for told in [
        "Attempt 1",
        "free-form",
        "WINDOW_OPEN",
        "NO_TEMPLATE_CONTENT",
        "chosen",
    ] {
        tab.until("#timeline .entry-out details", told).await;
    }

    // What colleagues do is done by the API, and seen in it.
    tab.press("#handling button[value=take]").await;
    tab.until("#handling", "test (you)").await;
    tab.write("#add-label", "refund vip").await;
    tab.press("#add-label + button").await;
    tab.until(".labels", "refund").await;
    tab.press("#handling form[action$='/read'] button").await;
    tab.until(".notice", "Marked as read").await;
    tab.press("#handling form[action$='/close'] button").await;
    tab.until("#handling", "closed by test").await;
    let now = scene.conversation(CUSTOMER).await;
    assert_eq!(
        (now.assignee.as_str(), now.closed, now.unread),
        ("test", true, false)
    );
    assert_eq!(now.labels, ["refund", "vip"]);

    // And what the customer writes appears, and is told once to who listens.
    stack.says(&customer, "Thank you!");
    tab.until("#timeline", "Thank you!").await;
    tab.until("#news", "The customer wrote: Thank you!").await;
    tab.until("#handling", "unread").await;
    assert_eq!(tab.barriers().await, Vec::<String>::new());
    assert_eq!(tab.complaints().await, Vec::<String>::new());
    scene.stop().await;
}

#[tokio::test]
async fn a_composer_that_locks_while_somebody_writes_loses_nothing_and_stays_usable() {
    let scene = Scene::with(Options {
        window_seconds: 14,
        ..Options::default()
    })
    .await;
    let (stack, tab) = (&scene.stack, &scene.tab);
    let customer = stack.customer(CUSTOMER);
    stack.says(&customer, "Where is my aloe?");
    let api = scene.conversation(CUSTOMER).await;
    tab.go(&Scene::path(&api)).await;
    is(
        tab,
        "a reply is preselected",
        "document.getElementById('way-reply').checked",
    )
    .await;
    tab.write("#reply", "It is almost").await;

    // The window ends while this is being written.
    tab.until("#composer-state", "Reply is not possible now.")
        .await;
    tab.until("#composer-state", "The window closed at").await;
    is(
        tab,
        "a note is preselected",
        "document.getElementById('way-note').checked",
    )
    .await;
    is(
        tab,
        "a reply is not offered",
        "document.getElementById('way-reply').disabled",
    )
    .await;
    is(
        tab,
        "the draft is kept, and seen",
        "document.getElementById('reply').value === 'It is almost' && document.getElementById('reply').readOnly && document.getElementById('reply').checkVisibility()",
    )
    .await;
    tab.until("#clocks", "locked").await;

    // A note is for colleagues.
    tab.write("#note", "Call them tomorrow. @ana").await;
    tab.until("#composer-preview", "No provider ever gets it")
        .await;
    tab.press("#composer-send").await;
    tab.until("#timeline .entry-note", "Call them tomorrow.")
        .await;
    assert_eq!(
        stack.simulator.sent_count(),
        0,
        "a note never reaches a provider"
    );

    is(
        tab,
        "what was written to the customer is still there",
        "document.getElementById('reply').value === 'It is almost'",
    )
    .await;

    // A template, filled in, gets through; a mistake is said at its field, and nothing is lost.
    tab.press("#way-template").await;
    tab.run(
        "const s = document.getElementById('template'); s.value = 'order_update en_US'; s.dispatchEvent(new Event('change', {bubbles: true}))",
        Vec::new(),
    )
    .await;
    tab.until("#template-fields", "Text {{1}}").await;
    tab.write("#template-fields input", "7").await;
    tab.until("#composer-preview", "Your order 7 is on its way.")
        .await;
    tab.until("#composer-preview", "Goes now as a WhatsApp template.")
        .await;
    tab.press("#composer-send").await;
    tab.until("#timeline .entry-out", "Your order 7 is on its way.")
        .await;
    let sent = stack.simulator.sent();
    assert_eq!(sent.len(), 1);
    assert!(
        matches!(sent[0].kind, MessageKind::Template { .. }),
        "{:?}",
        sent[0].kind
    );
    assert_eq!(sent[0].text, "Your order 7 is on its way.");

    // An SMS, with what it takes.
    tab.press("#way-sms").await;
    tab.write("#sms", "Your order is at the door 🚪").await;
    tab.until("#composer-preview", "1 segment, UCS-2").await;
    tab.press("#composer-send").await;
    tab.until("#timeline", "Your order is at the door").await;
    eventually("the SMS went out", async || {
        let sent = stack.simulator.sent();
        sent.len() == 2 && sent[1].channel == Channel::Sms
    })
    .await;
    assert_eq!(tab.complaints().await, Vec::<String>::new());
    scene.stop().await;
}

#[tokio::test]
async fn when_the_customer_writes_again_a_reply_is_offered_without_a_reload() {
    let scene = Scene::with(Options {
        window_seconds: 12,
        ..Options::default()
    })
    .await;
    let (stack, tab) = (&scene.stack, &scene.tab);
    let customer = stack.customer(CUSTOMER);
    stack.says(&customer, "Where is my aloe?");
    let api = scene.conversation(CUSTOMER).await;
    tab.go(&Scene::path(&api)).await;
    tab.run("window.isSame = true", Vec::new()).await;
    tab.write("#reply", "It is almost there.").await;
    tab.until("#composer-state", "Reply is not possible now.")
        .await;
    is(
        tab,
        "a note is preselected",
        "document.getElementById('way-note').checked",
    )
    .await;

    // Without a script it is refused, and comes back with the draft.
    let refused = tab
        .run(
            "const form = document.getElementById('composer-form'); const body = new URLSearchParams(new FormData(form)); body.set('mode', 'reply'); body.set('action', 'send'); const request = new XMLHttpRequest(); request.open('POST', form.getAttribute('action').split('#')[0], false); request.setRequestHeader('content-type', 'application/x-www-form-urlencoded'); request.send(body.toString()); return [request.status, request.responseText]",
            Vec::new(),
        )
        .await;
    assert_eq!(refused[0], json!(422));
    let page = refused[1].as_str().unwrap();
    assert!(page.contains("Nothing was sent"), "{page}");
    assert!(page.contains("It is almost there."), "{page}");
    assert_eq!(stack.simulator.sent_count(), 0);

    stack.says(&customer, "Hello?");
    is(
        tab,
        "a reply is offered again, with what was being written",
        "!document.getElementById('way-reply').disabled && document.getElementById('way-reply').checked && document.getElementById('reply').value === 'It is almost there.' && !document.getElementById('reply').readOnly",
    )
    .await;
    is(tab, "the page is the same", "window.isSame === true").await;
    scene.stop().await;
}

#[tokio::test]
async fn a_form_that_is_sent_twice_sends_once_and_works_without_a_script() {
    let scene = Scene::start().await;
    let (stack, tab) = (&scene.stack, &scene.tab);
    let customer = stack.customer(CUSTOMER);
    stack.says(&customer, "Where is my aloe?");
    let api = scene.conversation(CUSTOMER).await;
    let path = Scene::path(&api);
    tab.go(&path).await;
    tab.run(
        "const form = document.getElementById('composer-form'); const body = new URLSearchParams(new FormData(form)); body.set('reply', 'Once.'); body.set('action', 'send'); const send = () => fetch(form.getAttribute('action').split('#')[0], {method: 'POST', body}); window.sent = 0; for (let i = 0; i < 4; i++) send().then((answer) => { if (answer.ok) window.sent++; })",
        Vec::new(),
    )
    .await;
    is(tab, "all were answered", "window.sent === 4").await;
    tab.until("#timeline", "Once.").await;
    tab.until("#timeline .entry-out", "Delivered").await;
    assert_eq!(stack.simulator.sent_count(), 1);

    tab.scripts(false).await;
    tab.go(&path).await;
    tab.write("#reply", "Twice.").await;
    tab.press(".without-script[value=preview]").await;
    tab.until("#composer-preview", "Goes now as a WhatsApp message.")
        .await;
    assert_eq!(stack.simulator.sent_count(), 1, "a preview sends nothing");
    tab.press("#composer-send").await;
    tab.until("#timeline", "Twice.").await;
    eventually("it went", async || stack.simulator.sent_count() == 2).await;
    scene.stop().await;
}

#[tokio::test]
async fn a_message_is_found_by_each_of_its_ids() {
    let scene = Scene::start().await;
    let (stack, tab) = (&scene.stack, &scene.tab);
    let clients = stack.clients();
    let customer = stack.customer(CUSTOMER);
    stack.says(&customer, "Hello");
    clients.open_window(CUSTOMER).await;
    let request = casement_proto::message::v1::SendMessageRequest {
        number: NUMBER.to_owned(),
        customer: Some(
            casement_proto::message::v1::send_message_request::Customer::To(CUSTOMER.to_owned()),
        ),
        content: Some(free_form("It is on its way.")),
        purpose: casement_event::v1::Purpose::Service.into(),
        request_id: "order-7-shipped".to_owned(),
        client_reference: "Order/7".to_owned(),
        ..Default::default()
    };
    let answer = clients
        .messages
        .clone()
        .send_message(request)
        .await
        .unwrap();
    let message = answer.into_inner().message.unwrap();
    let message = clients.ended(&message.message_id).await;
    let wamid = message.attempts[0].provider_message_id.clone();
    eventually("it is archived", async || {
        let request = casement_proto::message::v1::ListMessagesRequest::default();
        let mut queries = clients.message_queries.clone();
        let found = queries
            .list_messages(request)
            .await
            .map_err(|it| it.to_string())?;
        let found = found.into_inner().messages;
        match found.first() {
            Some(one) if one.delivery_status == message.delivery_status => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;

    for id in [
        message.message_id.as_str(),
        &wamid,
        "order-7-shipped",
        "Order/7",
    ] {
        tab.go("/find").await;
        tab.write("#id", id).await;
        tab.press(".find button").await;
        tab.until_at(&format!("/messages/{}", message.message_id))
            .await;
    }
    for told in [&wamid, "Order/7", "free-form", "WINDOW_OPEN", "Delivered"] {
        tab.until("main", told).await;
    }
    assert_eq!(tab.barriers().await, Vec::<String>::new());

    tab.go("/find").await;
    tab.write("#id", "wamid.nobody").await;
    tab.press(".find button").await;
    tab.until("main", "No message has this id.").await;
    assert_eq!(tab.barriers().await, Vec::<String>::new());
    scene.stop().await;
}

#[tokio::test]
async fn whatever_a_customer_writes_is_text_and_breaks_no_page() {
    let scene = Scene::start().await;
    let (stack, tab) = (&scene.stack, &scene.tab);
    let hostile =
        "<img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script>";
    let customer = stack
        .simulator
        .customer(Some(CUSTOMER), None, "<b>Ana</b> <script>alert(1)</script>")
        .unwrap();
    stack.says(&customer, hostile);
    stack.says(&customer, "مرحبا، أين طلبي؟ \u{202e}evil\u{202c} 👩‍👩‍👧‍👦🪴");
    stack.says(&customer, &"Donaudampfschifffahrt".repeat(30));
    stack.says(&customer, "one\r\nevent: parts\r\ndata: two");
    let api = scene.conversation(CUSTOMER).await;
    for path in ["/conversations".to_owned(), Scene::path(&api)] {
        for look in [
            Look::DESK,
            Look::PHONE,
            Look::PHONE.dark(),
            Look::PHONE.large(),
        ] {
            tab.look(look).await;
            tab.go(&path).await;
            tab.look(look).await;
            tab.until("main", "<b>Ana</b>").await;
            assert_eq!(
                tab.barriers().await,
                Vec::<String>::new(),
                "{path} {look:?}"
            );
        }
    }
    tab.until("#timeline", hostile).await;
    tab.until("#timeline", "Donaudampfschifffahrt").await;
    // And so it is in what comes by the live stream.
    stack.says(&customer, &format!("again {hostile}"));
    tab.until("#timeline", "again <img").await;
    assert_eq!(tab.count("#timeline img, #timeline script").await, 0);
    let title = tab.run("return document.title", Vec::new()).await;
    assert!(!title.as_str().unwrap().contains("owned"));
    assert_eq!(tab.complaints().await, Vec::<String>::new());
    scene.stop().await;
}
