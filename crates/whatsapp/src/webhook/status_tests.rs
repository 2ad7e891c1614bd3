//! Claims about status reports and calls, on payloads of our own.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::*;

const AT: i64 = 1_790_000_000;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(seconds).expect("in range")
}

fn kinds(field: &str, name: &str, extra: &[Value], contacts: &Value) -> Vec<ItemKind> {
    let elements: Vec<Value> = extra
        .iter()
        .map(|extra| {
            let mut raw = json!({"id": "w1", "timestamp": AT.to_string()});
            for (key, field) in extra.as_object().expect("an object") {
                raw[key] = field.clone();
            }
            raw
        })
        .collect();
    let mut value = json!({
        "metadata": {"display_phone_number": "49305550100", "phone_number_id": "7001"},
        "contacts": contacts,
    });
    value[name] = json!(elements);
    let body = json!({"entry": [{"id": "501", "changes": [{"field": field, "value": value}]}]});
    parse(body.to_string().as_bytes())
        .expect("a post")
        .items
        .into_iter()
        .map(|it| it.kind)
        .collect()
}

fn report(extra: &Value) -> StatusReport {
    let contacts = json!([{"wa_id": "4915550001", "user_id": "DE.77aa"}]);
    match kinds(
        "messages",
        "statuses",
        std::slice::from_ref(extra),
        &contacts,
    )
    .remove(0)
    {
        ItemKind::Status(report) => *report,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_status_keeps_its_word() {
    use DeliveryStatus as S;
    for (word, status) in [
        ("sent", S::Sent),
        ("delivered", S::Delivered),
        ("read", S::Read),
        ("played", S::Played),
        ("failed", S::Failed),
        ("warning", S::Other("warning".to_owned())),
    ] {
        let report = report(&json!({"status": word, "recipient_id": "4915550001"}));
        assert_eq!(report.status, status);
        assert_eq!(report.status.as_str(), word);
        assert_eq!((report.wamid.as_str(), report.at), ("w1", at(AT)));
    }
}

#[test]
fn a_sent_report_carries_correlation_price_and_conversation() {
    let report = report(&json!({
        "status": "sent", "recipient_id": "4915550001", "biz_opaque_callback_data": "attempt-1",
        "template_id": 99, "recipient_parent_user_id": "DE.ENT.1",
        "conversation": {"id": "c", "expiration_timestamp": (AT + 60).to_string(),
            "origin": {"type": "referral_conversion"}},
        "pricing": {"billable": false, "pricing_model": "PMP", "type": "free_entry_point",
            "category": "referral_conversion"},
    }));
    assert_eq!(report.callback_data.as_deref(), Some("attempt-1"));
    assert_eq!(report.template_id.as_deref(), Some("99"));
    assert_eq!(report.recipient_phone.as_deref(), Some("4915550001"));
    assert_eq!(report.recipient_user_id.as_deref(), Some("DE.77aa"));
    assert_eq!(report.recipient_parent_user_id.as_deref(), Some("DE.ENT.1"));
    assert_eq!(report.conversation_expires_at, Some(at(AT + 60)));
    assert_eq!(
        report.conversation_origin.as_deref(),
        Some("referral_conversion")
    );
    assert_eq!(
        report.pricing,
        Some(Pricing {
            billable: Some(false),
            model: Some("PMP".to_owned()),
            pricing_type: Some("free_entry_point".to_owned()),
            category: Some("referral_conversion".to_owned()),
        })
    );
    assert!(!report.group);
}

#[test]
fn a_failed_report_says_why() {
    let report = report(&json!({"status": "failed", "errors": [
        {"code": 131_047, "title": "t", "message": "t", "error_data": {"details": "d"}, "href": "h"}]}));
    let error = ReportedError {
        code: 131_047,
        title: Some("t".to_owned()),
        message: Some("t".to_owned()),
        details: Some("d".to_owned()),
        href: Some("h".to_owned()),
        data: None,
    };
    assert_eq!(report.errors, [error]);
    assert_eq!(report.pricing, None);
}

#[test]
fn a_group_report_names_the_group_and_the_member_under_either_spelling() {
    for key in ["recipient_participant_id", "participant_recipient_id"] {
        let report = report(
            &json!({"status": "read", "recipient_id": "120363000000000001",
            "recipient_type": "group", key: "4915550002",
            "recipient_participant_user_id": "DE.b"}),
        );
        assert!(report.group);
        assert_eq!(report.group_id.as_deref(), Some("120363000000000001"));
        assert_eq!(report.recipient_participant.as_deref(), Some("4915550002"));
        assert_eq!(
            report.recipient_participant_user_id.as_deref(),
            Some("DE.b")
        );
        assert_eq!(
            (report.recipient_phone, report.recipient_user_id),
            (None, None)
        );
    }
}

#[test]
fn a_report_without_phone_names_the_user_id() {
    for (extra, user_id) in [
        (
            json!({"status": "sent", "recipient_user_id": "DE.z"}),
            "DE.z",
        ),
        (json!({"status": "sent", "recipient_id": "DE.z"}), "DE.z"),
        (json!({"status": "sent"}), "DE.77aa"),
    ] {
        assert_eq!(report(&extra).recipient_user_id.as_deref(), Some(user_id));
    }
}

#[test]
fn a_status_without_id_status_or_time_is_malformed() {
    for extra in [
        json!({"status": "sent", "id": null}),
        json!({"status": "sent", "timestamp": null}),
        json!({}),
        json!({"status": ["sent"]}),
    ] {
        let kind = kinds("messages", "statuses", &[extra], &Value::Null).remove(0);
        assert!(matches!(kind, ItemKind::Malformed { .. }), "{kind:?}");
    }
}

#[test]
fn a_call_opens_the_window_by_who_called_and_what_happened() {
    let (user, business) = ("USER_INITIATED", "BUSINESS_INITIATED");
    for (direction, event, start, opens) in [
        (user, "connect", None, Some(AT)),
        (user, "call_created", None, Some(AT)),
        (user, "terminate", None, Some(AT)),
        (user, "terminate", Some(AT - 90), Some(AT - 90)),
        (user, "recording_ready", None, None),
        (business, "connect", None, None),
        (business, "terminate", None, None),
        (business, "terminate", Some(AT - 90), Some(AT - 90)),
        ("SIDEWAYS", "connect", None, None),
    ] {
        let mut raw = json!({"direction": direction, "event": event, "from": "4915550001"});
        if let Some(start) = start {
            raw["start_time"] = json!(start.to_string());
        }
        let ItemKind::Call(call) = kinds("calls", "calls", &[raw], &Value::Null).remove(0) else {
            panic!("{direction} {event}")
        };
        assert_eq!(call.opens_window_at(), opens.map(at), "{direction} {event}");
    }
}

#[test]
fn the_customer_of_a_call_is_whoever_is_not_the_business() {
    let (user, business) = ("USER_INITIATED", "BUSINESS_INITIATED");
    for (direction, from, to, customer) in [
        (user, "4915550001", "49305550100", Some("4915550001")),
        (business, "49305550100", "4915550001", Some("4915550001")),
        // Meta's sample of a business-initiated call has the business as callee.
        (business, "4915550001", "49305550100", Some("4915550001")),
        (business, "1", "4915550001", Some("4915550001")),
        ("", "4915550001", "49305550100", Some("4915550001")),
        ("", "4915550001", "4915550002", None),
    ] {
        let raw = json!({"direction": direction, "event": "connect", "from": from, "to": to});
        let contacts = json!([{"wa_id": "4915550001", "user_id": "DE.a", "profile": {"name": "Ada"}},
            {"wa_id": "4915550009"}]);
        let ItemKind::Call(call) = kinds("calls", "calls", &[raw], &contacts).remove(0) else {
            panic!("{from} {to}")
        };
        assert_eq!(
            call.customer_phone.as_deref(),
            customer,
            "{direction} {from} {to}"
        );
        assert_eq!(call.user_id.is_some(), customer.is_some());
    }
}

#[test]
fn only_an_accepted_call_of_the_business_opens_the_window() {
    for (word, state, opens) in [
        (json!("RINGING"), CallState::Ringing, false),
        (json!(["RINGING"]), CallState::Ringing, false),
        (json!("ACCEPTED"), CallState::Accepted, true),
        (json!(["accepted"]), CallState::Accepted, true),
        (json!("REJECTED"), CallState::Rejected, false),
        (
            json!("PAUSED"),
            CallState::Other("PAUSED".to_owned()),
            false,
        ),
    ] {
        let raw =
            json!({"status": word, "recipient_id": "4915550001", "biz_opaque_callback_data": "c"});
        let contacts = json!([{"wa_id": "4915550001", "user_id": "DE.a"}]);
        let ItemKind::CallStatus(call) = kinds("calls", "statuses", &[raw], &contacts).remove(0)
        else {
            panic!("{word}")
        };
        assert_eq!(call.state, state);
        assert_eq!(call.opens_window_at(), opens.then(|| at(AT)));
        assert_eq!(call.customer_phone.as_deref(), Some("4915550001"));
        assert_eq!(call.user_id.as_deref(), Some("DE.a"));
        assert_eq!(call.callback_data.as_deref(), Some("c"));
    }
}
