//! Tables for every rule's boundaries.

use super::*;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(seconds).unwrap()
}

fn at_millis(millis: i64) -> Timestamp {
    Timestamp::from_millisecond(millis).unwrap()
}

#[test]
fn the_window_is_open_until_just_before_its_last_second() {
    let day = SignedDuration::from_hours(24);
    for (last, now, open) in [
        (None, 0, false),
        (Some(1_000), 1_000, true),
        (Some(1_000), 1_000 + 86_399, true),
        (Some(1_000), 1_000 + 86_400, false),
        (Some(1_000), 1_000 + 86_401, false),
        (Some(2_000), 1_000, true),
    ] {
        assert_eq!(
            is_window_open(last.map(at), at(now), day),
            open,
            "{last:?} {now}"
        );
    }
}

#[test]
fn the_window_is_anchored_on_the_second_webhooks_report() {
    assert_eq!(anchor(at_millis(12_999)), at(12));
}

#[test]
fn a_pair_gets_one_message_an_interval() {
    let limit = PairLimit::default();
    let mut rate = PairRate::default();
    for (second, admitted) in [(0, true), (6, true), (12, true), (100, true)] {
        assert_eq!(rate.admit(at(second), limit), admitted, "{second}");
    }
}

#[test]
fn a_burst_borrows_from_the_intervals_to_come() {
    let limit = PairLimit::default();
    let mut rate = PairRate::default();
    for _ in 0..20 {
        assert!(rate.admit(at(0), limit));
    }
    assert!(!rate.admit(at(6), limit));
    assert!(!rate.admit(at(119), limit));
    assert!(rate.admit(at(120), limit));
}

#[test]
fn a_burst_ends_at_its_limit() {
    let limit = PairLimit::default();
    let mut rate = PairRate::default();
    for message in 0..45 {
        assert!(rate.admit(at_millis(message), limit), "{message}");
    }
    assert!(!rate.admit(at(1), limit));
}

#[test]
fn a_number_takes_its_messages_a_second_and_no_more() {
    let mut throughput = Throughput::default();
    for message in 0..80 {
        assert!(throughput.admit(at_millis(message), 80, false));
    }
    assert!(!throughput.admit(at_millis(999), 80, false));
    assert!(throughput.admit(at_millis(1_000), 80, false));
    assert!(!throughput.admit(at_millis(1_000), 80, false));
}

#[test]
fn what_customers_send_counts_too_and_is_never_refused() {
    let mut throughput = Throughput::default();
    assert!(throughput.admit(at(0), 1, true));
    assert!(throughput.admit(at(0), 1, true));
    assert!(!throughput.admit(at(0), 1, false));
}

fn templates() -> Vec<TemplateConfig> {
    [
        ("welcome", TemplateStatus::Approved),
        ("waiting", TemplateStatus::Pending),
        ("turned_down", TemplateStatus::Rejected),
        ("paused", TemplateStatus::Paused),
        ("gone", TemplateStatus::Disabled),
    ]
    .into_iter()
    .map(|(name, status)| TemplateConfig {
        waba_id: "waba".to_owned(),
        name: name.to_owned(),
        language: "en".to_owned(),
        category: TemplateCategory::Utility,
        body: "Hello {{1}}, order {{2}}".to_owned(),
        parameter_count: 2,
        status,
    })
    .collect()
}

#[test]
fn templates_are_refused_for_the_reason_that_applies() {
    let templates = templates();
    for (waba, name, language, count, code) in [
        ("waba", "welcome", "en", 2, None),
        ("waba", "welcome", "en", 1, Some(132_000)),
        ("waba", "welcome", "en", 3, Some(132_000)),
        ("waba", "welcome", "en_US", 2, Some(132_001)),
        ("waba", "unknown", "en", 2, Some(132_001)),
        ("other", "welcome", "en", 2, Some(132_001)),
        ("waba", "waiting", "en", 2, Some(132_001)),
        ("waba", "turned_down", "en", 2, Some(132_001)),
        ("waba", "paused", "en", 2, Some(132_015)),
        ("waba", "gone", "en", 2, Some(132_016)),
    ] {
        let call = TemplateCall {
            name: name.to_owned(),
            language: language.to_owned(),
            body_parameters: vec!["x".to_owned(); count],
            components: Vec::new(),
        };
        let refused = check_template(&templates, waba, &call).err();
        assert_eq!(
            refused.map(|refusal| refusal.code),
            code,
            "{waba} {name} {language} {count}"
        );
    }
}

#[test]
fn parameters_are_filled_in_once() {
    let parameters = ["{{2}}".to_owned(), "7".to_owned()];
    assert_eq!(
        fill("Hello {{1}}, order {{ 2 }} {{3}} {{", &parameters),
        "Hello {{2}}, order 7 {{3}} {{"
    );
}

#[test]
fn a_filled_in_template_has_a_longest_length() {
    let call = TemplateCall {
        name: "welcome".to_owned(),
        language: "en".to_owned(),
        body_parameters: vec!["x".repeat(1_024), "y".to_owned()],
        components: Vec::new(),
    };
    let refused = check_template(&templates(), "waba", &call).unwrap_err();
    assert_eq!(refused.code, 132_005);
}

#[test]
fn some_templates_do_not_suit_some_customers() {
    use TemplateCategory::{Authentication, Marketing, Utility};
    for (category, stopped, by_user_id, code) in [
        (Marketing, false, true, None),
        (Marketing, true, false, Some(131_050)),
        (Authentication, true, false, None),
        (Authentication, false, true, Some(131_062)),
        (Utility, true, true, None),
    ] {
        let refused = check_template_recipient(category, stopped, by_user_id).err();
        assert_eq!(refused.map(|refusal| refusal.code), code, "{category:?}");
    }
}

#[test]
fn sms_calls_are_refused_for_the_reason_that_applies() {
    let sound = SmsCall {
        to: Some("+15550001111".to_owned()),
        from: Some("+15559990000".to_owned()),
        body: Some("hello".to_owned()),
        ..SmsCall::default()
    };
    let senders = ["+15559990000".to_owned()];
    let cases = [
        (sound.clone(), None),
        (
            SmsCall {
                to: None,
                ..sound.clone()
            },
            Some(21_604),
        ),
        (
            SmsCall {
                to: Some("15550001111".to_owned()),
                ..sound.clone()
            },
            Some(21_211),
        ),
        (
            SmsCall {
                to: Some("+1555".to_owned()),
                ..sound.clone()
            },
            Some(21_211),
        ),
        (
            SmsCall {
                from: None,
                ..sound.clone()
            },
            Some(21_603),
        ),
        (
            SmsCall {
                from: Some("+15550000000".to_owned()),
                ..sound.clone()
            },
            Some(21_606),
        ),
        (
            SmsCall {
                body: None,
                ..sound.clone()
            },
            Some(21_602),
        ),
        (
            SmsCall {
                body: Some("x".repeat(1_601)),
                ..sound
            },
            Some(21_617),
        ),
    ];
    for (call, code) in cases {
        let refused = check_sms(&call, &senders).err();
        assert_eq!(refused.map(|refusal| refusal.code), code, "{call:?}");
    }
}

#[test]
fn stop_is_a_word_of_its_own() {
    assert!(is_stop(" STOP "));
    assert!(is_stop("Unsubscribe"));
    assert!(!is_stop("please stop"));
    assert!(is_start("unstop"));
}
