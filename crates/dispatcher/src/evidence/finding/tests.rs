//! What is found in reports, and what of it is told.

use casement_domain::message::{AttemptState, Refusal, ReportedFailure};

use super::*;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

/// An attempt that was started at second 100.
fn attempt(route: Route) -> Attempt {
    Attempt {
        number: 1,
        route,
        gateway: String::new(),
        other_gateways: Vec::new(),
        started_at: at(100),
        was_called: true,
        state: AttemptState::Started,
        delivery: None,
        is_contradicted: false,
    }
}

fn report(status: Result<DeliveryStatus, i64>) -> Report {
    Report {
        attempt: 1,
        provider_id: "wamid.1".to_owned(),
        at: at(101),
        status: status.map_err(|code| ReportedFailure {
            code,
            refusal: Refusal::Fail,
        }),
    }
}

/// What Meta billed, and until when it said that it bills nothing.
fn priced(kind: &str, ends_at: Option<i64>) -> v1::StatusReported {
    v1::StatusReported {
        pricing: Some(v1::Pricing {
            r#type: kind.to_owned(),
            category: "service".to_owned(),
            ..v1::Pricing::default()
        }),
        conversation: ends_at.map(|end| v1::BilledConversation {
            expire_time: Some(timestamp(at(end))),
            ..v1::BilledConversation::default()
        }),
        ..v1::StatusReported::default()
    }
}

const WAITS: Answers = Answers {
    waiting_since: Timestamp::constant(80, 0),
    last_inbound_at: Timestamp::constant(90, 0),
};

/// The customer came at second 70, and nobody had replied.
const CAME: EntryPointAtStake = EntryPointAtStake {
    referred_at: Some(Timestamp::constant(70, 0)),
    replied_at: None,
};

fn stakes(answers: bool, entry_point: Option<EntryPointAtStake>) -> Stakes {
    Stakes {
        answers: answers.then_some(WAITS),
        entry_point,
    }
}

/// The names of what is found.
fn found(
    route: Route,
    stakes: Stakes,
    status: Result<DeliveryStatus, i64>,
    reported: &v1::StatusReported,
) -> Vec<&'static str> {
    let mut reported = reported.clone();
    if let Err(code) = status {
        reported.errors.push(v1::ProviderError {
            code,
            ..v1::ProviderError::default()
        });
    }
    of_report(&attempt(route), stakes, &report(status), &reported)
        .iter()
        .map(|finding| match finding {
            Finding::Refused(_) => "refused",
            Finding::Proven => "proven",
            Finding::Answered(_) => "answered",
            Finding::EntryPointStarted(_) => "started",
            Finding::Billed(bill) if bill.is_free => "free",
            Finding::Billed(_) => "billed",
        })
        .collect()
}

/// An attempt, what is at stake in it, a report, and the names of what is found.
type Row<'a> = (
    Route,
    Stakes,
    Result<DeliveryStatus, i64>,
    &'a v1::StatusReported,
    &'a [&'a str],
);

#[test]
fn a_report_tells_what_the_claim_says_is_at_stake() {
    use DeliveryStatus::{Delivered, Read, Sent};
    use Route::{FreeForm, Sms, Template};
    let silent = v1::StatusReported::default();
    let (free, regular) = (priced("free_entry_point", None), priced("regular", None));
    let within_tier = priced("free_customer_service", None);
    let other = priced("free_group_customer_service", None);
    let open = EntryPointAtStake {
        replied_at: Some(at(75)),
        ..CAME
    };
    let none = stakes(false, None);
    let (reply, undecided) = (stakes(true, Some(CAME)), stakes(false, Some(open)));
    let table: [Row<'_>; 18] = [
        (FreeForm, none, Ok(Sent), &silent, &[]),
        (FreeForm, none, Ok(Delivered), &silent, &["proven"]),
        (FreeForm, none, Ok(Read), &silent, &["proven"]),
        (Template, none, Ok(Delivered), &silent, &[]),
        (
            FreeForm,
            stakes(true, None),
            Ok(Sent),
            &silent,
            &["answered"],
        ),
        (
            Template,
            stakes(true, None),
            Ok(Sent),
            &silent,
            &["answered"],
        ),
        (
            Sms,
            stakes(true, None),
            Ok(Delivered),
            &silent,
            &["answered"],
        ),
        // What never left answers nobody, and starts nothing.
        (FreeForm, reply, Err(131_026), &silent, &[]),
        (FreeForm, reply, Err(OUTSIDE_WINDOW), &silent, &["refused"]),
        (FreeForm, reply, Ok(Sent), &silent, &["answered", "started"]),
        (
            FreeForm,
            reply,
            Ok(Sent),
            &free,
            &["answered", "started", "free"],
        ),
        (
            Template,
            stakes(false, Some(CAME)),
            Ok(Sent),
            &regular,
            &["started", "billed"],
        ),
        (FreeForm, undecided, Ok(Sent), &within_tier, &["billed"]),
        (FreeForm, undecided, Ok(Sent), &other, &[]),
        (FreeForm, undecided, Err(131_026), &regular, &[]),
        // Meta's word on what nobody heard of counts; that it bills as ever is no news.
        (Template, none, Ok(Sent), &free, &["free"]),
        (Template, none, Ok(Sent), &regular, &[]),
        (Sms, none, Ok(Sent), &free, &[]),
    ];
    for (route, stakes, status, reported, expected) in table {
        let found = found(route, stakes, status, reported);
        assert_eq!(
            found, expected,
            "{route:?} {stakes:?} {status:?} {reported:?}"
        );
    }
}

#[test]
fn pricing_says_free_not_free_or_nothing() {
    let table = [
        ("free_entry_point", "referral_conversion", Some(true)),
        ("free_entry_point", "marketing", Some(true)),
        ("", "referral_conversion", Some(true)),
        ("regular", "utility", Some(false)),
        ("free_customer_service", "service", Some(false)),
        ("free_group_customer_service", "group_service", None),
        ("", "service", None),
        ("something_new", "service", None),
    ];
    for (kind, category, expected) in table {
        let pricing = v1::Pricing {
            r#type: kind.to_owned(),
            category: category.to_owned(),
            ..v1::Pricing::default()
        };
        assert_eq!(is_free(&pricing), expected, "{kind} {category}");
    }
}

#[test]
fn a_failure_reported_after_the_arrival_is_no_refusal() {
    let arrived = Attempt {
        delivery: Some(DeliveryStatus::Delivered),
        ..attempt(Route::FreeForm)
    };
    let reported = v1::StatusReported {
        errors: vec![v1::ProviderError {
            code: OUTSIDE_WINDOW,
            ..v1::ProviderError::default()
        }],
        ..v1::StatusReported::default()
    };
    let report = report(Err(OUTSIDE_WINDOW));
    let found = |attempt: &Attempt| of_report(attempt, Stakes::default(), &report, &reported).len();
    assert_eq!(found(&attempt(Route::FreeForm)), 1);
    assert_eq!(found(&arrived), 0);
}

fn news(finding: &Finding<'_>, known: &Evidence, started: i64) -> Option<Evidence> {
    finding.news(known, at(started), &Policy::default())
}

#[test]
fn a_proof_is_recorded_when_a_refusal_stands_or_once_in_a_while() {
    let proof = |second| Evidence {
        proven_at: Some(at(second)),
        ..Evidence::default()
    };
    let refusal = |second| Evidence {
        refused_at: Some(at(second)),
        ..Evidence::default()
    };
    let proven = |known: &Evidence, second| news(&Finding::Proven, known, second).is_some();
    assert!(proven(&Evidence::default(), 0));
    assert!(!proven(&proof(0), 60));
    assert!(proven(&proof(0), 61));
    assert!(proven(&refusal(10).join(proof(5)), 20));
    let error = v1::ProviderError::default();
    let refused = Finding::Refused(&error);
    assert!(news(&refused, &proof(0), 1).is_some());
    assert!(news(&refused, &refusal(1), 1).is_none());
}

#[test]
fn an_answer_is_told_once_for_what_the_customer_said() {
    let answered = |second: Option<i64>| Evidence {
        answered_at: second.map(at),
        ..Evidence::default()
    };
    let table = [
        // answered before, call started → told as answered, having waited since
        (None, 100, Some((100, 80))),
        (Some(79), 100, Some((100, 80))),
        // Meanwhile the first of it was answered, but not the last.
        (Some(85), 100, Some((100, 90))),
        (Some(90), 100, None),
        (Some(95), 100, None),
        // Meta's clock is ahead of ours.
        (None, 88, Some((90, 80))),
    ];
    for (before, started, expected) in table {
        let known = answered(before);
        let told = news(&Finding::Answered(WAITS), &known, started);
        let told = told.map(|joined| (joined.answered_at.unwrap(), waited_since(WAITS, &known)));
        let expected = expected.map(|(answered, since)| (at(answered), at(since)));
        assert_eq!(told, expected, "{before:?} {started}");
    }
}

/// What a message that was billed like this tells.
fn billed(
    reported: &v1::StatusReported,
    stake: Option<EntryPointAtStake>,
    told_at: i64,
) -> Finding<'_> {
    let attempt = attempt(Route::FreeForm);
    Finding::Billed(bill(&attempt, stake, at(told_at), reported).unwrap())
}

#[test]
fn an_entry_point_is_told_when_the_verdict_or_the_end_is_news() {
    let started = Finding::EntryPointStarted(at(70));
    let known = news(&started, &Evidence::default(), 100).unwrap();
    assert_eq!(news(&started, &known, 100), None);
    assert_eq!(news(&started, &known, 110), None, "a second reply");
    let earlier = news(&started, &known, 95).unwrap();
    assert_eq!(earlier.entry_point.unwrap().replied_at, at(95));

    let (free, regular) = (priced("free_entry_point", None), priced("regular", None));
    let confirmed = news(&billed(&free, Some(CAME), 101), &known, 100).unwrap();
    let entry = confirmed.entry_point.unwrap();
    assert_eq!(
        (entry.referred_at, entry.replied_at),
        (Some(at(70)), at(100))
    );
    assert_eq!(news(&billed(&free, Some(CAME), 102), &confirmed, 100), None);
    assert_eq!(news(&billed(&free, None, 130), &confirmed, 120), None);

    let end = priced("free_entry_point", Some(900));
    let ending = news(&billed(&end, None, 130), &confirmed, 120).unwrap();
    assert_eq!(ending.entry_point.unwrap().told_end, Some(at(900)));
    assert_eq!(news(&billed(&end, None, 131), &ending, 121), None);

    let denied = news(&billed(&regular, Some(CAME), 101), &known, 100).unwrap();
    assert!(!denied.entry_point.unwrap().is_confirmed.unwrap().value);
    assert_eq!(news(&billed(&regular, Some(CAME), 105), &denied, 104), None);
    assert_ne!(
        billed(&free, Some(CAME), 101).cause(),
        billed(&end, Some(CAME), 101).cause()
    );
}

#[test]
fn what_meta_says_of_an_entry_point_that_nobody_heard_of_begins_one() {
    let free = priced("free_entry_point", Some(900));
    let told = news(&billed(&free, None, 101), &Evidence::default(), 100).unwrap();
    let entry = told.entry_point.unwrap();
    assert_eq!((entry.referred_at, entry.replied_at), (None, at(100)));
    assert_eq!(entry.told_end, Some(at(900)));

    // The one that is known ended long before.
    let known = Evidence {
        entry_point: Some(EntryPoint {
            referred_at: Some(at(1)),
            replied_at: at(2),
            told_end: Some(at(50)),
            is_confirmed: None,
        }),
        ..Evidence::default()
    };
    let told = news(&billed(&free, None, 101), &known, 100).unwrap();
    assert_eq!(told.entry_point.unwrap(), entry);
}

#[test]
fn a_bill_of_other_kinds_has_no_end_to_tell() {
    // Old versions of the API name a conversation, with an end, for whatever is billed.
    let regular = priced("regular", Some(900));
    let denied = news(
        &billed(&regular, Some(CAME), 101),
        &Evidence::default(),
        100,
    )
    .unwrap();
    assert_eq!(denied.entry_point.unwrap().told_end, None);
}
