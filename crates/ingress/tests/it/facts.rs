//! Webhooks become facts: the right ones, in the right place, once.

use casement_domain::inbound::{POLICY_VERSION, ThreadOwner};
use casement_event::{Event, v1};
use casement_testkit::eventually;
use serde_json::{Value, json};

use crate::stage::{
    ONE, Stage, TWO, at, from_twilio, known, message, one_text, signed, text, types, value, webhook,
};

#[tokio::test]
async fn a_signed_message_becomes_a_fact_with_its_summary() {
    let stage = Stage::start().await;
    let mut content = value(
        ONE,
        "messages",
        json!([text("wamid.1", "15550009999", "US.1", 0)]),
    );
    content["contacts"] = json!([{"wa_id": "15550009999", "user_id": "US.1",
        "parent_user_id": "US.ENT.1", "profile": {"name": "Ada"}}]);
    stage.take(&webhook(&[("messages", content)])).await;

    let stored = stage.inbound(ONE.0).await;
    let [stored] = &stored[..] else {
        panic!("{:?}", types(&stored))
    };
    let fact = message(stored);
    assert_eq!(fact.text, "text of wamid.1");
    assert_eq!(fact.kind, "text");
    assert_eq!(fact.profile_name, "Ada");
    assert!(fact.qualifies);
    assert_eq!(fact.field(), v1::InboundField::Messages);
    assert_eq!(fact.content_json, r#"{"body":"text of wamid.1"}"#);
    let origin = fact.origin.unwrap();
    assert_eq!(
        (origin.sequence, origin.post, origin.path.as_str()),
        (1, 0, "entry[0].changes[0].value.messages[0]")
    );
    let summary = fact.summary.clone().unwrap();
    assert_eq!(summary.policy_version, POLICY_VERSION);
    let known = known(stored);
    let last = known.summary.last_qualifying.clone().unwrap();
    assert_eq!((last.at, last.provider_id.as_str()), (at(0), "wamid.1"));
    assert_eq!(
        Some(last.fact.to_string()),
        stored.id().map(|id| id.to_string())
    );
    assert_eq!(known.summary.last_event_at, Some(at(0)));
    let addresses = known.summary.addresses();
    assert_eq!(addresses.phone.unwrap().digits(), "15550009999");
    assert_eq!(addresses.user_id.as_deref(), Some("US.1"));
    assert_eq!(addresses.parent_user_id.as_deref(), Some("US.ENT.1"));

    let customer = fact.conversation.unwrap().customer_id;
    for (header, expected) in [
        ("ce-source", "casement/ingress"),
        ("ce-subject", customer.as_str()),
        ("ce-customer", customer.as_str()),
        ("ce-number", ONE.0),
        ("ce-brand", "default"),
    ] {
        assert_eq!(stored.header(header), Some(expected), "{header}");
    }
    assert!(stored.header("traceparent").is_some());
    assert_eq!(stored.time(), Some(at(0)));
    let told = format!("{} {:?}", stored.subject, stored.headers);
    for private in ["15550009999", "US.1", "Ada"] {
        assert!(!told.contains(private), "{private} in {told}");
    }
}

#[tokio::test]
async fn duplicates_and_disorder_change_neither_the_facts_nor_the_summary() {
    let messages: Vec<Value> = (0..12)
        .map(|second| {
            one_text(
                ONE,
                &text(&format!("wamid.{second}"), "15550009999", "US.1", second),
            )
        })
        .collect();
    let mut summaries = Vec::new();
    let orders: [&[usize]; 3] = [
        &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11],
        &[11, 3, 3, 0, 7, 11, 1, 2, 0, 9, 4, 5, 6, 10, 8, 11, 0],
        &[5, 4, 3, 2, 1, 0, 0, 11, 10, 9, 8, 7, 6, 5],
    ];
    for order in orders {
        let stage = Stage::start().await;
        for index in order {
            stage.take(&messages[*index]).await;
        }
        let stored = stage.inbound(ONE.0).await;
        let mut ids: Vec<_> = stored
            .iter()
            .map(|one| message(one).provider_message_id)
            .collect();
        ids.sort();
        ids.dedup();
        assert_eq!((ids.len(), stored.len()), (12, 12), "each fact once");
        let summary = known(stored.last().unwrap()).summary;
        assert_eq!(summary.last_event_at, Some(at(11)));
        let last = summary.last_qualifying.clone().unwrap();
        summaries.push((last.at, last.fact, last.provider_id, summary.addresses()));
    }
    assert!(summaries.iter().all(|one| *one == summaries[0]));
}

#[tokio::test]
async fn the_same_post_many_times_at_once_is_one_fact() {
    let stage = Stage::start().await;
    let body = one_text(ONE, &text("wamid.1", "15550009999", "US.1", 0)).to_string();
    let posts: Vec<_> = (0..16)
        .map(|_| {
            tokio::spawn(crate::stage::send(
                stage.router.clone().unwrap(),
                signed(body.clone()),
            ))
        })
        .collect();
    for post in posts {
        assert_eq!(post.await.unwrap().0, 200);
    }
    stage.settled().await;
    assert_eq!(stage.inbound(ONE.0).await.len(), 1);
}

#[tokio::test]
async fn each_item_lands_on_the_number_of_its_own_metadata() {
    let stage = Stage::start().await;
    let to = |number, wamid: &str| {
        (
            "messages",
            value(
                number,
                "messages",
                json!([text(wamid, "15550009999", "US.1", 0)]),
            ),
        )
    };
    let changes = [to(ONE, "wamid.1"), to(TWO, "wamid.2"), to(ONE, "wamid.3")];
    stage.take(&webhook(&changes)).await;
    let ids = |stored: Vec<casement_event::Stored>| -> Vec<String> {
        stored
            .iter()
            .map(|one| message(one).provider_message_id)
            .collect()
    };
    assert_eq!(ids(stage.inbound(ONE.0).await), ["wamid.1", "wamid.3"]);
    assert_eq!(ids(stage.inbound(TWO.0).await), ["wamid.2"]);
}

#[tokio::test]
async fn one_bad_item_is_a_dead_letter_alone() {
    let stage = Stage::start().await;
    let items = json!([
        text("wamid.1", "15550009999", "US.1", 0),
        {"type": "text", "text": {"body": "no id and no time"}},
        text("wamid.2", "15550009999", "US.1", 1),
    ]);
    stage
        .take(&webhook(&[("messages", value(ONE, "messages", items))]))
        .await;
    assert_eq!(stage.inbound(ONE.0).await.len(), 2);
    let dead = stage.dead().await;
    let [dead] = &dead[..] else {
        panic!("{:?}", types(&dead))
    };
    assert_eq!(dead.subject, "casement.dead.ingress");
    let Event::DeadLetter(letter) = dead.event().unwrap() else {
        panic!("{}", dead.event_type())
    };
    assert_eq!(
        letter.origin.unwrap().path,
        "entry[0].changes[0].value.messages[1]"
    );
    assert!(String::from_utf8(letter.item).unwrap().contains("no id"));
    assert_eq!((letter.stream.as_str(), letter.sequence), ("RAW", 1));
}

#[tokio::test]
async fn a_body_that_is_no_webhook_is_kept_as_a_dead_letter() {
    let stage = Stage::start().await;
    for body in ["[]", "no json"] {
        let (status, _, _) = stage.send(signed(body.to_owned())).await;
        assert_eq!(status, 200);
    }
    stage.settled().await;
    assert_eq!(stage.dead().await.len(), 2);
}

#[tokio::test]
async fn a_message_on_standby_opens_and_says_that_another_owns_the_thread() {
    let stage = Stage::start().await;
    let nested = json!({"messages": [text("wamid.1", "15550009999", "US.1", 0)]});
    stage
        .take(&webhook(&[("standby", value(ONE, "standby", nested))]))
        .await;
    let stored = stage.inbound(ONE.0).await;
    let fact = message(&stored[0]);
    assert!(fact.qualifies);
    assert_eq!(fact.field(), v1::InboundField::Standby);
    let summary = known(&stored[0]).summary;
    assert!(summary.last_qualifying.is_some());
    assert_eq!(summary.thread_owner.unwrap().value, ThreadOwner::Other);

    let handover = json!({"recipient": {"phone_number_id": ONE.1}, "type": "control_passed",
        "sender": {"phone_number": "15550009999"}, "timestamp": at(5).as_second(),
        "control_passed": {"new_owner_role": "partner"}});
    stage
        .take(&webhook(&[("messaging_handovers", handover)]))
        .await;
    let stored = stage.inbound(ONE.0).await;
    assert_eq!(
        types(&stored),
        ["InboundMessageReceived", "ThreadOwnerChanged"]
    );
    let summary = known(&stored[1]).summary;
    assert_eq!(summary.thread_owner.unwrap().value, ThreadOwner::Us);
    assert_eq!(summary.last_qualifying.unwrap().at, at(0));
}

#[tokio::test]
async fn each_sort_of_item_is_kept_in_its_place() {
    let stage = Stage::start().await;
    let second = at(1).as_second().to_string();
    let mut in_group = text("wamid.g", "15550009999", "US.1", 1);
    in_group["group_id"] = json!("group-7");
    let changes = [
        ("messages", value(ONE, "messages", json!([in_group]))),
        (
            "calls",
            value(
                ONE,
                "calls",
                json!([{"id": "wacid.1", "event": "connect", "timestamp": second,
                    "direction": "USER_INITIATED", "from": "15550009999", "to": ONE.0}]),
            ),
        ),
        (
            "smb_message_echoes",
            value(
                ONE,
                "message_echoes",
                json!([{"id": "wamid.e", "timestamp": at(2).as_second().to_string(), "type": "text",
                    "to": "15550009999", "text": {"body": "from the phone"}}]),
            ),
        ),
        (
            "user_preferences",
            value(
                ONE,
                "user_preferences",
                json!([{"wa_id": "15550009999", "category": "marketing_messages", "value": "stop",
                    "timestamp": at(3).as_second()}]),
            ),
        ),
        (
            "message_template_status_update",
            json!({"event": "APPROVED", "message_template_id": 9_007_199_254_740_993_u64}),
        ),
        (
            "history",
            value(ONE, "history", json!([{"metadata": {"phase": 0}}])),
        ),
        (
            "messages",
            value(ONE, "errors", json!([{"code": 130_429, "title": "busy"}])),
        ),
        ("tomorrow", json!({"news": true})),
    ];
    stage.take(&webhook(&changes)).await;
    assert_eq!(stage.dead().await, []);
    let stored = stage.inbound(ONE.0).await;
    assert_eq!(
        types(&stored),
        [
            "InboundCallReceived",
            "EchoReceived",
            "CustomerPreferenceReported"
        ]
    );
    assert_eq!(known(&stored[2]).summary.last_qualifying.unwrap().at, at(1));
    let groups = stage.all("EVENTS", "casement.events.group.").await;
    assert_eq!(types(&groups), ["GroupEventReceived"]);
    assert!(!groups[0].subject.contains("group-7"));
    let foreign = stage.all("EVENTS", "casement.events.foreign.").await;
    assert_eq!(foreign, []);
    let reported = stage.all("ACCOUNTS", "casement.accounts.reported.").await;
    let subjects: Vec<_> = reported.iter().map(|one| one.subject.as_str()).collect();
    assert_eq!(
        subjects,
        [
            "casement.accounts.reported.template.w1",
            "casement.accounts.reported.number.w1",
            "casement.accounts.reported.number.w1",
            "casement.accounts.reported.unrecognized.w1"
        ]
    );
    let news: Vec<(String, String, i64)> = reported
        .iter()
        .filter_map(|one| match one.event().unwrap() {
            Event::AccountReported(news) => {
                let code = news.errors.first().map_or(0, |error| error.code);
                Some((news.number, news.event, code))
            }
            _ => None,
        })
        .collect();
    let of_one = |event: &str, code| (ONE.0.to_owned(), event.to_owned(), code);
    assert_eq!(news[1..], [of_one("PROGRESS", 0), of_one("ERROR", 130_429)]);
}

#[tokio::test]
async fn an_sms_is_a_fact_of_the_same_customer_and_opens_nothing() {
    let stage = Stage::start().await;
    stage
        .take(&one_text(ONE, &text("wamid.1", "15550009999", "US.1", 0)))
        .await;
    let pairs = [
        ("MessageSid", "SM1"),
        ("From", "+15550009999"),
        ("To", "+15550001111"),
        ("Body", "by sms"),
        ("AccountSid", "AC1"),
    ];
    for _ in 0..2 {
        let request = from_twilio("/webhooks/twilio", &pairs);
        assert_eq!(stage.send(request).await.0, 200);
        stage.settled().await;
    }
    let stored = stage.inbound(ONE.0).await;
    assert_eq!(
        types(&stored),
        ["InboundMessageReceived", "InboundSmsReceived"],
        "the repeat was dropped"
    );
    assert_eq!(stored[0].subject, stored[1].subject);
    let last = known(&stored[1]).summary.last_qualifying.unwrap();
    assert_eq!(last.provider_id, "wamid.1");
}

#[tokio::test]
async fn a_fact_older_than_the_log_reaches_is_kept_and_opens_nothing() {
    let stage = Stage::start().await;
    stage
        .take(&one_text(ONE, &text("wamid.1", "15550008888", "US.8", 0)))
        .await;
    stage
        .take(&one_text(ONE, &text("wamid.2", "15550009999", "US.1", 1)))
        .await;
    stage.log.purge_up_to("EVENTS", 2).await.unwrap();
    let late = one_text(ONE, &text("wamid.0", "15550009999", "US.1", -5));
    for _ in 0..2 {
        stage.take(&late).await;
    }
    let stored = stage.inbound(ONE.0).await;
    assert_eq!(types(&stored), ["InboundMessageReceived", "LateFact"]);
    assert_eq!(stored[0].subject, stored[1].subject);
    let (before, after) = (known(&stored[0]).summary, known(&stored[1]).summary);
    assert_eq!(before.last_qualifying, after.last_qualifying);
    let Event::LateFact(fact) = stored[1].event().unwrap() else {
        panic!("{}", stored[1].event_type())
    };
    assert_eq!(fact.fact_type, "casement.events.v1.InboundMessageReceived");
    assert_eq!(fact.fact_id, stored[1].header("ce-id").unwrap());
}

#[tokio::test]
async fn what_was_received_while_the_normaliser_was_away_is_normalised_later() {
    let mut stage = Stage::start().await;
    stage.proxy.hold_replies();
    let request = signed(one_text(ONE, &text("wamid.1", "15550009999", "US.1", 0)).to_string());
    let asking = tokio::spawn(crate::stage::send(stage.router.clone().unwrap(), request));
    eventually("the post is stored", async || {
        stage.log.state("RAW").await.unwrap().messages >= 1
    })
    .await;
    stage.nats.restart().await;
    stage.proxy.forward();
    assert_eq!(asking.await.unwrap().0, 200);
    eventually("the fact is there", async || {
        stage.inbound(ONE.0).await.len() == 1
    })
    .await;
}

#[tokio::test]
async fn a_killed_broker_loses_nothing_that_was_answered_and_repeats_nothing() {
    let mut stage = Stage::start().await;
    let router = stage.router.clone().unwrap();
    let sender = tokio::spawn(async move {
        let mut taken = Vec::new();
        for index in 0..200 {
            let wamid = format!("wamid.{index}");
            let phone = format!("155500{:05}", index % 7);
            let body = one_text(ONE, &text(&wamid, &phone, "", index % 50)).to_string();
            let (status, _, _) = crate::stage::send(router.clone(), signed(body)).await;
            if status == 200 {
                taken.push(wamid);
            }
        }
        taken
    });
    for _ in 0..3 {
        let before = stage.log.state("RAW").await.unwrap().last_sequence;
        stage.nats.restart().await;
        eventually("the log goes on", async || {
            let state = stage.log.state("RAW").await;
            state.is_ok_and(|state| state.last_sequence > before || sender.is_finished())
        })
        .await;
    }
    let taken = sender.await.unwrap();
    assert!(!taken.is_empty());
    eventually("the broker answers", async || stage.log.state("RAW").await).await;
    stage.settled().await;
    let mut facts: Vec<_> = stage
        .inbound(ONE.0)
        .await
        .iter()
        .map(|one| message(one).provider_message_id)
        .collect();
    let stored = facts.len();
    facts.sort();
    facts.dedup();
    assert_eq!(facts.len(), stored, "each fact once");
    for wamid in &taken {
        assert!(facts.contains(wamid), "{wamid} got its 200 and is lost");
    }
}
