//! Tables for refusals, laws for repetition.

use proptest::prelude::*;

use super::*;

fn cause() -> Cause {
    Cause {
        time: Timestamp::UNIX_EPOCH,
        caller: "test".to_owned(),
    }
}

fn ours() -> Authority {
    Authority::Brand("ours".to_owned())
}

fn a_number(number: &str, brand: &str) -> v1::Number {
    v1::Number {
        number: number.to_owned(),
        brand_id: brand.to_owned(),
        phone_number_id: format!("7{number}"),
        ..v1::Number::default()
    }
}

/// The number that an event leaves on record.
fn left(event: Event) -> v1::Number {
    let number = match event {
        Event::NumberRecorded(event) => event.number,
        Event::NumberPaused(event) => event.number,
        Event::NumberResumed(event) => event.number,
        other => panic!("not about a number: {other:?}"),
    };
    number.expect("each event carries the whole record")
}

fn alone(present: Option<&v1::Number>) -> Surroundings<'_> {
    Surroundings {
        present,
        holder: None,
        is_brand_known: true,
    }
}

#[test]
fn a_number_is_refused_for_a_reason() {
    let other = a_number("2", "ours");
    let foreign = a_number("1", "theirs");
    let wanted = a_number("1", "ours");
    let with_holder = Surroundings {
        holder: Some(&other),
        ..alone(None)
    };
    let without_brand = Surroundings {
        is_brand_known: false,
        ..alone(None)
    };
    for (around, authority, refusal) in [
        (with_holder, Authority::Every, Refusal::PhoneNumberIdTaken),
        (without_brand, Authority::Every, Refusal::BrandUnknown),
        (alone(Some(&foreign)), ours(), Refusal::AnotherBrand),
        (
            alone(None),
            Authority::Brand("theirs".to_owned()),
            Refusal::AnotherBrand,
        ),
    ] {
        let decision = number(around, wanted.clone(), &authority, &cause());
        assert_eq!(decision, Err(refusal));
    }
}

#[test]
fn a_number_keeps_its_own_phone_number_id() {
    let wanted = a_number("1", "ours");
    let around = Surroundings {
        present: Some(&wanted),
        holder: Some(&wanted),
        is_brand_known: true,
    };
    assert_eq!(number(around, wanted.clone(), &ours(), &cause()), Ok(None));
}

#[test]
fn a_number_changes_its_brand_on_record() {
    let present = a_number("1", "theirs");
    let wanted = a_number("1", "ours");
    let decision = number(
        alone(Some(&present)),
        wanted.clone(),
        &Authority::Every,
        &cause(),
    );
    assert_eq!(left(decision.unwrap().unwrap()), wanted);
}

#[test]
fn a_number_moves_when_its_waba_or_its_phone_number_id_changes_and_by_nothing_else() {
    let at = |second| Timestamp::from_second(second).unwrap();
    let known = |waba: &str, id: &str, moved: Option<i64>| v1::Number {
        waba_id: waba.to_owned(),
        phone_number_id: id.to_owned(),
        migrate_time: moved.map(|second| timestamp(at(second))),
        ..a_number("1", "ours")
    };
    let renamed = v1::Number {
        display_name: "Other".to_owned(),
        portfolio_id: "other".to_owned(),
        ..known("w1", "p1", None)
    };
    let nobody = || None;
    let table = [
        ("new", nobody(), known("w1", "p1", None), None),
        (
            "new, and says it moved",
            nobody(),
            known("w1", "p1", Some(3)),
            None,
        ),
        (
            "another id",
            Some(known("w1", "p1", None)),
            known("w1", "p2", None),
            Some(10),
        ),
        (
            "another WABA",
            Some(known("w1", "p1", None)),
            known("w2", "p1", None),
            Some(10),
        ),
        (
            "both",
            Some(known("w1", "p1", None)),
            known("w2", "p2", None),
            Some(10),
        ),
        (
            "again",
            Some(known("w1", "p1", Some(5))),
            known("w1", "p2", None),
            Some(10),
        ),
        (
            "other fields",
            Some(known("w1", "p1", None)),
            renamed.clone(),
            None,
        ),
        (
            "other fields, later",
            Some(known("w1", "p1", Some(5))),
            renamed,
            Some(5),
        ),
        (
            "says so itself",
            Some(known("w1", "p1", Some(5))),
            known("w1", "p1", Some(7)),
            Some(5),
        ),
        (
            "a clock that went back",
            Some(known("w1", "p1", Some(20))),
            known("w2", "p1", None),
            Some(20),
        ),
    ];
    for (case, present, wanted, expected) in table {
        let cause = Cause {
            time: at(10),
            ..cause()
        };
        let decision = number(alone(present.as_ref()), wanted, &ours(), &cause).unwrap();
        let now = decision.map(left).or(present).unwrap();
        let expected = expected.map(|second| timestamp(at(second)));
        assert_eq!(now.migrate_time, expected, "{case}");
        for event in [
            pause(Some(&now), "", &ours(), &cause).unwrap(),
            resume(
                Some(&v1::Number {
                    paused: true,
                    ..now
                }),
                &ours(),
                &cause,
            )
            .unwrap(),
        ] {
            assert_eq!(
                left(event.unwrap()).migrate_time,
                expected,
                "{case}, paused"
            );
        }
    }
}

#[test]
fn nobody_was_onboarded_in_the_future() {
    let at = |second| Timestamp::from_second(second).unwrap();
    let decide = |second| {
        let wanted = v1::Number {
            onboard_time: Some(timestamp(at(second))),
            ..a_number("1", "ours")
        };
        let cause = Cause {
            time: at(10),
            ..cause()
        };
        number(alone(None), wanted, &ours(), &cause)
    };
    assert_eq!(decide(11), Err(Refusal::OnboardTimeAhead));
    let known = left(decide(10).unwrap().unwrap());
    assert_eq!(known.onboard_time, Some(timestamp(at(10))));
}

#[test]
fn another_brands_number_looks_unknown_to_the_pause_switch() {
    let foreign = a_number("1", "theirs");
    for present in [None, Some(&foreign)] {
        assert_eq!(
            pause(present, "", &ours(), &cause()),
            Err(Refusal::NumberUnknown)
        );
        assert_eq!(
            resume(present, &ours(), &cause()),
            Err(Refusal::NumberUnknown)
        );
    }
}

fn told(event: &str) -> crate::templates::Told {
    let content = serde_json::json!({
        "message_template_name": "order_ready",
        "message_template_language": "en_US",
    });
    let reported = v1::AccountReported {
        field: "message_template_status_update".to_owned(),
        event: event.to_owned(),
        content_json: content.to_string(),
        ..v1::AccountReported::default()
    };
    crate::templates::read_report(&reported, Timestamp::UNIX_EPOCH).unwrap()
}

#[test]
fn what_the_platform_told_of_a_template_stands_against_a_file() {
    let read = v1::Template {
        template_id: "7".to_owned(),
        definition: Some(v1::TemplateDefinition::default()),
        body: "Order {{1}}".to_owned(),
        status: v1::TemplateStatus::Approved.into(),
        ..v1::Template::default()
    };
    let filed = v1::Template {
        body: "Other words".to_owned(),
        status: v1::TemplateStatus::Paused.into(),
        ..v1::Template::default()
    };
    let decide = |from| template(Some(&read), filed.clone(), from, true, &cause()).unwrap();
    assert_eq!(decide(StatusFrom::Record), None);
    let Some(Event::TemplateRecorded(event)) = decide(StatusFrom::Wish) else {
        panic!("a status by hand is recorded");
    };
    let recorded = event.template.unwrap();
    assert_eq!(recorded.status(), v1::TemplateStatus::Paused);
    assert_eq!(
        (recorded.template_id, recorded.body),
        (read.template_id.clone(), read.body.clone())
    );
}

#[test]
fn a_late_report_never_undoes_a_newer_one() {
    let present = v1::Template {
        status: v1::TemplateStatus::Paused.into(),
        ..v1::Template::default()
    };
    let at = |second| Timestamp::from_second(second).unwrap();
    let approved = |reported_at, time| {
        let cause = Cause {
            time: at(time),
            caller: "platform".to_owned(),
        };
        template_told(Some(&present), reported_at, &told("APPROVED"), &cause).is_some()
    };
    assert!(!approved(Some(at(10)), 9));
    assert!(approved(Some(at(10)), 10));
    assert!(
        approved(None, 9),
        "what people recorded is no report, and does not make one late"
    );
}

#[test]
fn a_report_of_the_second_of_the_last_reading_counts_and_the_record_grows_no_older() {
    let present = v1::Template {
        status: v1::TemplateStatus::Paused.into(),
        ..v1::Template::default()
    };
    let read_at: Timestamp = "2026-11-23T10:00:00.9Z".parse().unwrap();
    let cause = Cause {
        time: "2026-11-23T10:00:00Z".parse().unwrap(),
        caller: "platform".to_owned(),
    };
    let event = template_told(Some(&present), Some(read_at), &told("APPROVED"), &cause);
    let Some(Event::TemplateRecorded(event)) = event else {
        panic!("the report counts");
    };
    assert_eq!(
        event.template.unwrap().status(),
        v1::TemplateStatus::Approved
    );
    assert_eq!(event.time, Some(timestamp(read_at)));
}

#[test]
fn a_report_about_an_unknown_template_changes_nothing() {
    let told = told("APPROVED");
    assert_eq!(template_told(None, None, &told, &cause()), None);
}

#[test]
fn the_status_on_record_stands_against_a_file() {
    let present = v1::Template {
        status: v1::TemplateStatus::Paused.into(),
        ..v1::Template::default()
    };
    let wanted = v1::Template {
        status: v1::TemplateStatus::Approved.into(),
        ..v1::Template::default()
    };
    let decide = |from| template(Some(&present), wanted.clone(), from, true, &cause()).unwrap();
    assert_eq!(decide(StatusFrom::Record), None);
    assert!(decide(StatusFrom::Wish).is_some());
}

fn any_number() -> impl Strategy<Value = v1::Number> {
    (
        "[12]",
        "(ours|theirs)",
        "[78]",
        "[a-b]{0,2}",
        any::<bool>(),
        "[x-y]{0,1}",
        0..3_u32,
    )
        .prop_map(
            |(
                number,
                brand_id,
                phone_number_id,
                display_name,
                paused,
                pause_reason,
                throughput,
            )| {
                v1::Number {
                    number,
                    brand_id,
                    phone_number_id,
                    display_name,
                    paused,
                    pause_reason,
                    throughput,
                    ..v1::Number::default()
                }
            },
        )
}

fn any_template() -> impl Strategy<Value = v1::Template> {
    ("[ab]", 1..4_i32, 1..7_i32, "[xy]{0,2}").prop_map(|(name, category, status, body)| {
        v1::Template {
            name,
            category,
            status,
            body,
            ..v1::Template::default()
        }
    })
}

proptest! {
    #[test]
    fn recording_a_number_twice_writes_once(
        present in proptest::option::of(any_number()),
        wanted in any_number(),
    ) {
        let present = present.filter(|present| present.number == wanted.number);
        let around = alone(present.as_ref());
        let first = number(around, wanted.clone(), &Authority::Every, &cause()).unwrap();
        let now = first.map(left).or(present).unwrap();
        let again = number(alone(Some(&now)), wanted, &Authority::Every, &cause());
        prop_assert_eq!(again, Ok(None));
    }

    #[test]
    fn recording_a_number_never_touches_its_pause(
        present in any_number(),
        wanted in any_number(),
    ) {
        let around = alone(Some(&present));
        if let Some(event) = number(around, wanted, &Authority::Every, &cause()).unwrap() {
            let now = left(event);
            prop_assert_eq!(now.paused, present.paused);
            prop_assert_eq!(now.pause_reason, present.pause_reason);
        }
    }

    #[test]
    fn pausing_and_resuming_twice_write_once_each(present in any_number(), reason in "[x-z]{0,1}") {
        let every = Authority::Every;
        let paused = pause(Some(&present), &reason, &every, &cause()).unwrap();
        let paused = paused.map_or(present, left);
        prop_assert!(paused.paused);
        prop_assert_eq!(pause(Some(&paused), &reason, &every, &cause()), Ok(None));

        let resumed = left(resume(Some(&paused), &every, &cause()).unwrap().unwrap());
        prop_assert!(!resumed.paused);
        prop_assert_eq!(resume(Some(&resumed), &every, &cause()), Ok(None));
    }

    #[test]
    fn a_drain_keeps_its_beginning_and_no_record_ends_it(
        present in any_number(),
        wanted in any_number(),
        reason in "[x-z]{0,1}",
    ) {
        let every = Authority::Every;
        let drains = left(drain(Some(&present), &reason, &every, &cause()).unwrap().unwrap());
        prop_assert!(drains.drain_time.is_some());
        prop_assert_eq!(drain(Some(&drains), &reason, &every, &cause()), Ok(None));
        let mut later = cause();
        later.time += jiff::SignedDuration::from_secs(60);
        let other = left(drain(Some(&drains), "other", &every, &later).unwrap().unwrap());
        prop_assert_eq!(other.drain_time, drains.drain_time);

        let around = alone(Some(&drains));
        if let Some(event) = number(around, wanted, &every, &cause()).unwrap() {
            let now = left(event);
            prop_assert_eq!(now.drain_time, drains.drain_time);
            prop_assert_eq!(&now.drain_reason, &drains.drain_reason);
        }

        let open = left(reopen(Some(&drains), &every, &cause()).unwrap().unwrap());
        prop_assert_eq!(&open, &present);
        prop_assert_eq!(reopen(Some(&open), &every, &cause()), Ok(None));
    }

    #[test]
    fn recording_a_template_twice_writes_once(
        present in proptest::option::of(any_template()),
        wanted in any_template(),
        is_from_file in any::<bool>(),
    ) {
        let from = if is_from_file { StatusFrom::Record } else { StatusFrom::Wish };
        let first = template(present.as_ref(), wanted.clone(), from, true, &cause()).unwrap();
        let now = match first {
            Some(Event::TemplateRecorded(event)) => event.template,
            _ => present,
        };
        prop_assert_eq!(template(now.as_ref(), wanted, from, true, &cause()), Ok(None));
    }
}
