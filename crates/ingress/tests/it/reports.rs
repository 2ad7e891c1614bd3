//! Reports about messages, ours and others'.

use casement_domain::id::{BusinessNumber, MessageId};
use casement_event::{Event, v1};
use serde_json::{Value, json};

use crate::stage::{ONE, Stage, TWO, at, from_twilio, types, value, webhook};

fn status(callback: Option<&str>, word: &str, second: i64) -> Value {
    let mut status = json!({"id": "wamid.out", "status": word,
        "timestamp": at(second).as_second().to_string(), "recipient_id": "15550009999"});
    if let Some(callback) = callback {
        status["biz_opaque_callback_data"] = json!(callback);
    }
    status
}

fn statuses(number: (&str, &str), statuses: &[Value]) -> Value {
    webhook(&[("messages", value(number, "statuses", json!(statuses)))])
}

#[tokio::test]
async fn a_status_with_our_data_lands_on_its_message_once() {
    let stage = Stage::start().await;
    let number = BusinessNumber::parse(ONE.0).unwrap();
    let id = MessageId::new(&number, 0xabc);
    let ours = format!("{id}.2");
    let mut failed = status(Some(&ours), "failed", 3);
    failed["errors"] = json!([{"code": 131_026, "title": "Undeliverable",
        "error_data": {"details": "no such user"}}]);
    let mut sent = status(Some(&ours), "sent", 1);
    sent["pricing"] = json!({"billable": true, "pricing_model": "PMP", "type": "regular",
        "category": "utility"});
    let post = statuses(ONE, &[status(Some(&ours), "delivered", 2), sent, failed]);
    stage.take(&post).await;
    stage.take(&post).await;

    let subject = casement_event::subject::report(&id);
    let stored = stage.all("MESSAGES", &subject).await;
    let reports: Vec<v1::StatusReported> = stored
        .iter()
        .map(|one| match one.event().unwrap() {
            Event::StatusReported(report) => report,
            other => panic!("{}", other.event_type()),
        })
        .collect();
    let words: Vec<_> = reports
        .iter()
        .map(|report| (report.provider_status.as_str(), report.status()))
        .collect();
    assert_eq!(
        words,
        [
            ("delivered", v1::DeliveryStatus::Delivered),
            ("sent", v1::DeliveryStatus::Sent),
            ("failed", v1::DeliveryStatus::Failed),
        ]
    );
    for report in &reports {
        assert_eq!(report.message_id, id.as_str());
        assert_eq!(
            (report.attempt, report.channel()),
            (2, v1::Channel::Whatsapp)
        );
        assert_eq!(report.provider_message_id, "wamid.out");
        assert_eq!(report.recipient.as_ref().unwrap().phone, "15550009999");
    }
    assert_eq!(reports[1].pricing.as_ref().unwrap().category, "utility");
    assert_eq!(reports[2].errors[0].code, 131_026);
    assert_eq!(reports[2].errors[0].details, "no such user");
    assert_eq!(stored[0].header("ce-subject"), Some(id.as_str()));
    assert!(
        stage.inbound(ONE.0).await.is_empty(),
        "a status opens nothing"
    );
}

#[tokio::test]
async fn a_status_that_is_not_ours_is_foreign() {
    let stage = Stage::start().await;
    let number = BusinessNumber::parse(ONE.0).unwrap();
    let elsewhere = format!("{}.1", MessageId::new(&number, 1));
    stage
        .take(&statuses(
            ONE,
            &[
                status(None, "sent", 1),
                status(Some("order-7"), "delivered", 2),
            ],
        ))
        .await;
    // Data that names another number than the one it came for is a copy, not ours.
    stage
        .take(&statuses(TWO, &[status(Some(&elsewhere), "read", 3)]))
        .await;
    let foreign = stage.all("EVENTS", "casement.events.foreign.").await;
    assert_eq!(types(&foreign), ["ForeignStatusReported"; 3]);
    assert!(foreign[0].subject.ends_with(ONE.0) && foreign[2].subject.ends_with(TWO.0));
    assert!(stage.all("MESSAGES", "casement.").await.is_empty());
}

#[tokio::test]
async fn an_sms_status_finds_its_message_by_the_query_of_its_url() {
    let stage = Stage::start().await;
    let number = BusinessNumber::parse(ONE.0).unwrap();
    let id = MessageId::new(&number, 7);
    let path = format!("/webhooks/twilio?m={id}&a=1");
    let callback = |word, code| {
        from_twilio(
            &path,
            &[
                ("MessageSid", "SM9"),
                ("MessageStatus", word),
                ("To", "+15550009999"),
                ("From", "+15550001111"),
                ("ErrorCode", code),
            ],
        )
    };
    for (word, code) in [
        ("sent", ""),
        ("undelivered", "30003"),
        ("undelivered", "30003"),
    ] {
        assert_eq!(stage.send(callback(word, code)).await.0, 200);
        stage.settled().await;
    }
    let foreign = from_twilio(
        "/webhooks/twilio",
        &[
            ("MessageSid", "SM8"),
            ("MessageStatus", "sent"),
            ("From", "+15550001111"),
        ],
    );
    assert_eq!(stage.send(foreign).await.0, 200);
    stage.settled().await;

    let stored = stage
        .all("MESSAGES", &casement_event::subject::report(&id))
        .await;
    let reports: Vec<_> = stored
        .iter()
        .map(|one| match one.event().unwrap() {
            Event::StatusReported(report) => report,
            other => panic!("{}", other.event_type()),
        })
        .collect();
    assert_eq!(reports.len(), 2, "the repeat was dropped");
    assert_eq!(reports[0].status(), v1::DeliveryStatus::Sent);
    assert_eq!(reports[1].status(), v1::DeliveryStatus::Failed);
    assert_eq!(reports[1].errors[0].code, 30003);
    assert_eq!(reports[1].channel(), v1::Channel::Sms);
    let foreign = stage.all("EVENTS", "casement.events.foreign.").await;
    assert_eq!(types(&foreign), ["ForeignStatusReported"]);
}
