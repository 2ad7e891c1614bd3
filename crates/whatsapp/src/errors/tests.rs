//! Every code of the table, its action and reach.

use std::time::Duration;

use super::{Action, Lift, NO_CODE, Scope, Traffic, lookup, lookup_response, rules};

const fn retry(ambiguous: bool, then_next_route: bool) -> Action {
    Action::Retry {
        ambiguous,
        then_next_route,
    }
}

const fn halt(traffic: Traffic, next_route: bool, lift: Lift) -> Action {
    Action::Halt {
        traffic,
        next_route,
        lift,
    }
}

const PROBE: Lift = Lift::Probe {
    first: Duration::from_mins(15),
    factor: 2,
};

const fn delay(seconds: u64, factor: u32) -> Action {
    Action::Delay {
        first: Duration::from_secs(seconds),
        factor,
    }
}

#[test]
fn every_code_the_platform_documents_has_its_action_and_reach() {
    use Action::{
        Fail, Ignore, NextRoute, OtherEndpoint, SuppressMarketing, SwitchToPhone, SwitchToTemplate,
        TemplateUnusable, ThreadControl,
    };
    let everything = |next_route, lift| halt(Traffic::Everything, next_route, lift);
    let unusable = |lift| TemplateUnusable { lift };
    let capped = Action::MarketingCapped {
        not_before: Duration::from_hours(24),
    };
    let rows: &[(&[i64], Scope, Action)] = &[
        (&[0, 190], Scope::Token, everything(true, Lift::NewToken)),
        (
            &[3, 10, 200, 230, 299, 131_005],
            Scope::Waba,
            everything(false, PROBE),
        ),
        (&[1, 2], Scope::Message, retry(true, true)),
        (&[4], Scope::App, delay(60, 2)),
        (&[80_007], Scope::Waba, delay(60, 2)),
        (&[33], Scope::Number, everything(false, Lift::Operator)),
        (&[100, 131_008, 131_009, 135_000], Scope::Message, Fail),
        (
            &[2_494_000, 2_494_191, 2_494_999],
            Scope::Pair,
            ThreadControl,
        ),
        (
            &[368, 131_031],
            Scope::Waba,
            everything(true, Lift::Operator),
        ),
        (&[131_042], Scope::Waba, everything(true, PROBE)),
        (&[130_403], Scope::Pair, Fail),
        (&[130_429], Scope::Number, delay(1, 2)),
        (&[130_472], Scope::Pair, NextRoute),
        (&[130_497], Scope::Message, NextRoute),
        (&[131_000], Scope::Message, retry(false, true)),
        (&[131_016], Scope::Message, retry(false, false)),
        (&[131_021], Scope::Message, Fail),
        (&[131_026], Scope::Pair, NextRoute),
        (&[131_030], Scope::Pair, Fail),
        (&[131_035, 131_036], Scope::Message, NextRoute),
        (&[131_037, 131_045], Scope::Number, everything(false, PROBE)),
        (&[131_047], Scope::Pair, SwitchToTemplate),
        (
            &[131_048],
            Scope::Number,
            halt(Traffic::Marketing, true, Lift::Operator),
        ),
        (&[131_049], Scope::Pair, capped),
        (&[131_050], Scope::Pair, SuppressMarketing),
        (&[131_051, 131_052, 131_053], Scope::Message, Fail),
        (&[131_055, 131_063, 134_100], Scope::Message, OtherEndpoint),
        (&[131_056], Scope::Pair, delay(1, 4)),
        (&[131_057], Scope::Number, delay(60, 1)),
        (&[131_060], Scope::Message, Ignore),
        (&[131_062], Scope::Message, SwitchToPhone),
        (
            &[131_064],
            Scope::Waba,
            halt(Traffic::Templates, false, PROBE),
        ),
        (
            &[132_000, 132_008, 132_012, 132_018, 132_005],
            Scope::Message,
            NextRoute,
        ),
        (&[132_001], Scope::Template, unusable(PROBE)),
        (
            &[132_015],
            Scope::Template,
            unusable(Lift::After(Duration::from_hours(3))),
        ),
        (&[132_016], Scope::Template, unusable(Lift::Operator)),
        (&[132_007, 132_068, 132_069], Scope::Template, Fail),
        (
            &[133_000, 133_006, 133_010, 133_015, 136_024],
            Scope::Number,
            everything(false, PROBE),
        ),
        (&[133_004], Scope::Number, retry(false, false)),
        (&[133_005, 133_008, 133_009, 133_016], Scope::Number, Fail),
        (&[134_011], Scope::Waba, Fail),
        (&[134_101], Scope::Template, delay(600, 1)),
        (&[134_102], Scope::Template, OtherEndpoint),
        (&[139_100], Scope::Number, Ignore),
        (&[2_388_000, 2_388_073, 2_388_999], Scope::Waba, Fail),
        (&[2_593_107, 2_593_108, 2_593_109], Scope::Number, Fail),
    ];
    for (codes, scope, action) in rows {
        for &code in *codes {
            let rule = lookup(code);
            assert_eq!(
                (rule.code, rule.scope, rule.action, rule.known),
                (code, *scope, *action, true)
            );
        }
    }
    let tested = |row: &super::table::Row| {
        rows.iter()
            .any(|(codes, ..)| codes.iter().any(|code| row.codes.contains(code)))
    };
    for row in rules() {
        assert!(tested(row), "{:?} is in no line of this test", row.codes);
    }
}

#[test]
fn no_code_has_two_rows() {
    for (index, row) in rules().iter().enumerate() {
        for other in &rules()[index + 1..] {
            let apart =
                row.codes.end() < other.codes.start() || other.codes.end() < row.codes.start();
            assert!(apart, "{:?} and {:?} overlap", row.codes, other.codes);
        }
    }
}

#[test]
fn the_neighbours_of_a_range_are_not_in_it() {
    for code in [
        199, 300, 2_493_999, 2_495_000, 2_387_999, 2_389_000, 2_593_106, 2_593_110, NO_CODE,
    ] {
        let rule = lookup(code);
        assert!(!rule.known, "{code}");
        assert_eq!((rule.action, rule.code), (Action::Fail, code));
        assert!(rule.alert, "an operator hears of {code}");
    }
}

#[test]
fn an_unknown_code_in_an_answer_is_judged_by_its_http_status() {
    for (status, transient, scope, action) in [
        (400, false, Scope::Message, Action::Fail),
        (400, true, Scope::Message, retry(false, true)),
        (
            401,
            false,
            Scope::Token,
            halt(Traffic::Everything, false, Lift::NewToken),
        ),
        // A 403 may be about this recipient only, as 130497 is.
        (403, false, Scope::Message, Action::Fail),
        (404, false, Scope::Message, Action::Fail),
        (429, false, Scope::Number, delay(1, 2)),
        (500, false, Scope::Message, retry(true, true)),
        (503, true, Scope::Message, retry(true, true)),
    ] {
        let rule = lookup_response(status, 999_999, transient);
        assert_eq!(
            (rule.scope, rule.action, rule.known),
            (scope, action, false),
            "{status}"
        );
    }
}

#[test]
fn a_known_code_overrules_the_http_status() {
    assert_eq!(lookup_response(500, 131_047, true), lookup(131_047));
    assert_eq!(lookup_response(401, 190, false), lookup(190));
}

#[test]
fn what_allows_another_route_follows_from_the_action() {
    for (code, next_route, retryable) in [
        (131_026, true, false),
        (131_047, true, false),
        (132_001, true, false),
        (131_000, true, true),
        (131_016, false, true),
        (131_056, false, true),
        (131_050, false, false),
        (131_049, false, false),
        (131_042, true, false),
        (33, false, false),
        (100, false, false),
    ] {
        let action = lookup(code).action;
        assert_eq!(action.allows_next_route(), next_route, "{code}");
        assert_eq!(action.is_retryable(), retryable, "{code}");
    }
}
