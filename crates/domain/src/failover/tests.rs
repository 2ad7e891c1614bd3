//! The table of classes, and what silence may lead to.

use proptest::prelude::*;

use super::*;

const MINUTE: SignedDuration = SignedDuration::from_mins(1);

fn silence(minutes: i32, template_minutes: i32, accepts_duplicates: bool) -> Silence {
    Silence {
        after: MINUTE * minutes,
        accepts_duplicates,
        template_life: MINUTE * template_minutes,
    }
}

#[test]
fn every_class_has_one_rule_with_its_source_and_a_word_that_reads_back() {
    for (class, rule) in ErrorClass::ALL.into_iter().zip(&RULES) {
        assert_eq!(rule.class, class);
        assert_eq!(class.rule(), rule);
        assert!(!rule.source.is_empty() && !rule.meaning.is_empty());
        assert_eq!(ErrorClass::parse(class.as_str()), Some(class));
    }
    assert_eq!(ErrorClass::parse("WINDOW_CLOSED"), None);
}

#[test]
fn a_class_rules_out_what_its_rule_says_and_everything_where_it_ends_the_message() {
    use Route::{FreeForm, Hold, Sms, Template};
    let open = Failover::default();
    for (class, route, exhausted) in [
        (ErrorClass::WindowClosed, FreeForm, vec![FreeForm]),
        (ErrorClass::ThreadOwned, FreeForm, vec![FreeForm]),
        (ErrorClass::TemplateUnusable, Template, vec![Template]),
        (
            ErrorClass::Undeliverable,
            Template,
            vec![FreeForm, Template, Hold],
        ),
        (ErrorClass::Undeliverable, Sms, vec![Sms]),
        (ErrorClass::RetriesUsedUp, Template, vec![Template]),
        (ErrorClass::RetriesUsedUp, Sms, vec![Sms]),
        (ErrorClass::GatewaysFailed, Sms, vec![Sms]),
        (ErrorClass::UnreachableBySms, Sms, vec![Sms]),
    ] {
        assert_eq!(open.exhausted(class, route), exhausted, "{class:?}");
        let closed = Failover {
            ends_on: vec![class],
            silence: None,
        };
        assert_eq!(closed.exhausted(class, route), Route::ALL, "{class:?}");
    }
}

#[test]
fn what_is_waited_for_or_given_up_is_of_no_class() {
    let none = [
        Refusal::Capped(MINUTE),
        Refusal::Halted,
        Refusal::Stopped,
        Refusal::Fail,
    ];
    for refusal in none {
        assert_eq!(ErrorClass::of(refusal), None, "{refusal:?}");
    }
    let again = ErrorClass::of(Refusal::RetryAfter(MINUTE));
    assert_eq!(again, Some(ErrorClass::RetriesUsedUp));
}

/// A timer, the policy's routes, what the message has content for, and what is said about it.
type Row<'a> = (Silence, &'a [Route], &'a [Route], Result<(), SilenceError>);

#[test]
fn a_timer_needs_a_short_life_or_somebody_who_accepts_the_risk() {
    use Route::{FreeForm, Hold, Sms, Template};
    let free_form = SilenceError::StaysLive {
        route: FreeForm,
        life: LIFE_MAX,
    };
    let template = SilenceError::StaysLive {
        route: Template,
        life: MINUTE * 10,
    };
    let sms = SilenceError::StaysLive {
        route: Sms,
        life: LIFE_MAX,
    };
    let usual = Route::ALL;
    let sms_first = [Sms, Template, FreeForm, Hold];
    let all = [FreeForm, Template, Sms];
    let short = [Template, Sms];
    let table: [Row<'_>; 10] = [
        (silence(15, 10, false), &usual, &short, Ok(())),
        (silence(10, 10, false), &usual, &short, Ok(())),
        (silence(9, 10, false), &usual, &short, Err(template)),
        (silence(9, 10, true), &usual, &short, Ok(())),
        (silence(15, 10, false), &usual, &all, Err(free_form)),
        (silence(15, 10, true), &usual, &all, Ok(())),
        (silence(15, 10, false), &sms_first, &short, Err(sms)),
        (
            silence(15, 10, true),
            &usual,
            &[FreeForm, Template],
            Err(SilenceError::NoOtherChannel),
        ),
        (
            silence(15, 10, true),
            &[FreeForm, Template, Hold],
            &all,
            Err(SilenceError::NoOtherChannel),
        ),
        (
            silence(0, 10, true),
            &usual,
            &all,
            Err(SilenceError::NoTime),
        ),
    ];
    for (silence, routes, content, expected) in table {
        let found = silence.check(routes, |route| content.contains(&route));
        assert_eq!(found, expected, "{silence:?} {routes:?} {content:?}");
    }
    assert_eq!(
        template.to_string(),
        "an undelivered template stays live for 10m, which is longer, so the customer may get \
         the message twice: set accept_duplicate_risk to have it so"
    );
}

#[test]
fn what_the_platform_keeps_back_is_waited_for_unless_the_risk_is_accepted() {
    let kept = Some(KeptBack::QualityAssessment);
    let (safe, bold) = (silence(15, 10, false), silence(15, 10, true));
    assert_eq!(safe.patience(Route::Template, None), Some(MINUTE * 15));
    assert_eq!(safe.patience(Route::Template, kept), None);
    assert_eq!(bold.patience(Route::Template, kept), Some(MINUTE * 15));
    assert_eq!(safe.patience(Route::Sms, None), None, "nobody accepted it");
}

#[test]
fn a_template_lives_as_long_as_it_says_or_as_its_category_does() {
    let categories = [
        (Some(TemplateCategory::Authentication), MINUTE * 10),
        (Some(TemplateCategory::Utility), LIFE_MAX),
        (Some(TemplateCategory::Marketing), LIFE_MAX),
        (None, LIFE_MAX),
    ];
    for (category, life) in categories {
        assert_eq!(template_life(category, None), life);
        assert_eq!(template_life(category, Some(MINUTE)), MINUTE);
    }
}

#[test]
fn whatever_has_no_shorter_life_may_arrive_for_thirty_days() {
    let day = SignedDuration::from_hours(24);
    let after = |after| Silence {
        after,
        ..silence(1, 10, false)
    };
    for route in [Route::FreeForm, Route::Sms] {
        assert_eq!(after(day).life(route), day * 30);
        assert!(!after(day * 30).is_risky(route), "{route:?}");
        assert!(after(day * 30 - MINUTE).is_risky(route), "{route:?}");
    }
}

proptest! {
    #[test]
    fn without_an_accepted_risk_nobody_is_sent_what_may_come_twice(
        after in -5..100_i32,
        life in 1..100_i32,
        order in Just(Route::ALL.to_vec()).prop_shuffle(),
        len in 0..=4_usize,
        has in prop::array::uniform3(any::<bool>()),
    ) {
        let silence = silence(after, life, false);
        let routes = &order[..len];
        let has = |route: Route| match route {
            Route::FreeForm => has[0],
            Route::Template => has[1],
            Route::Sms => has[2],
            Route::Hold => true,
        };
        if silence.check(routes, has).is_ok() {
            let last = routes.iter().rev().find(|route| **route != Route::Hold && has(**route));
            for route in routes.iter().filter(|route| **route != Route::Hold && has(**route)) {
                if is_whatsapp(*route) != is_whatsapp(*last.unwrap()) {
                    prop_assert!(!silence.is_risky(*route), "{route:?}");
                    prop_assert_eq!(silence.patience(*route, None), Some(silence.after));
                }
            }
        }
        for route in routes {
            prop_assert!(silenced(*route).contains(route));
            // A timer never runs where the customer could get it twice.
            if silence.patience(*route, None).is_some() {
                prop_assert!(!silence.is_risky(*route));
            }
        }
    }
}
