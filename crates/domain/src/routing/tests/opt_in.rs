//! Who was never asked is not written to first, and who said no is not written to.

use super::*;
use crate::consent::{Channel, Scope};

fn yes(channel: Channel, scope: Scope, source: &str) -> Consent {
    let choice = Choice {
        at: at(-5),
        is_refused: false,
        provenance: Provenance {
            source: source.to_owned(),
            ..Provenance::default()
        },
    };
    Consent::of(Topic { channel, scope }, choice)
}

fn asked(need: Need, sources: &[&str]) -> Requirement {
    Requirement {
        need,
        sources: sources.iter().map(|one| (*one).to_owned()).collect(),
    }
}

fn reason(case: &Case, route: Route, now: i64) -> &'static str {
    let decision = case.decide(now);
    decision.candidate(route).unwrap().reason
}

/// What is allowed and asked, when, and what becomes of the template and the SMS.
type Row = (Consent, Requirement, i64, &'static str, &'static str);

#[test]
fn an_opt_in_is_needed_outside_the_window_by_channel_purpose_and_source() {
    use Channel::{Sms, Whatsapp};
    use Need::{Always, BusinessInitiated, Never};
    let (web, twice) = ("WEB_FORM", "DOUBLE_OPT_IN");
    let none = Consent::default;
    let utility = || yes(Whatsapp, Scope::Utility, web);
    let (usable, possible) = ("TEMPLATE_USABLE", "SMS_POSSIBLE");
    let no = "NO_OPT_IN";
    let table: Vec<(&str, Row)> = vec![
        ("off", (none(), asked(Never, &[]), DAY, usable, possible)),
        ("none", (none(), asked(BusinessInitiated, &[]), DAY, no, no)),
        (
            "an answer",
            (none(), asked(BusinessInitiated, &[]), 10, usable, possible),
        ),
        (
            "the last second of the window",
            (
                none(),
                asked(BusinessInitiated, &[]),
                DAY - 1,
                usable,
                possible,
            ),
        ),
        ("always", (none(), asked(Always, &[]), 10, no, no)),
        (
            "there",
            (utility(), asked(BusinessInitiated, &[]), DAY, usable, no),
        ),
        (
            "of SMS, altogether",
            (
                yes(Sms, Scope::Everything, web),
                asked(BusinessInitiated, &[]),
                DAY,
                no,
                possible,
            ),
        ),
        (
            "for something else",
            (
                yes(Whatsapp, Scope::Marketing, web),
                asked(BusinessInitiated, &[]),
                DAY,
                no,
                no,
            ),
        ),
        (
            "not confirmed",
            (utility(), asked(BusinessInitiated, &[twice]), DAY, no, no),
        ),
        (
            "confirmed, and again plainly",
            (
                utility().join(yes(Whatsapp, Scope::Utility, twice)),
                asked(BusinessInitiated, &[twice]),
                DAY,
                usable,
                no,
            ),
        ),
    ];
    for (name, (opt_ins, opt_in, now, template, sms)) in table {
        let case = Case {
            purpose: Purpose::Utility,
            opt_ins,
            opt_in,
            ..Case::default()
        };
        assert_eq!(reason(&case, Route::Template, now), template, "{name}");
        assert_eq!(reason(&case, Route::Sms, now), sms, "{name}");
        let wrote_now = case.decide(10);
        let free_form = wrote_now.candidate(Route::FreeForm).unwrap().reason;
        let is_asked = case.opt_in.need == Always;
        assert_eq!(
            free_form,
            if is_asked { no } else { "WINDOW_OPEN" },
            "{name}"
        );
        assert_eq!(reason(&case, Route::Hold, DAY), "CAN_WAIT", "{name}");
    }
}

#[test]
fn a_decision_shows_the_opt_in_that_it_rests_on_or_that_there_is_none() {
    let case = Case {
        purpose: Purpose::Utility,
        opt_in: asked(Need::BusinessInitiated, &[]),
        opt_ins: yes(Channel::Whatsapp, Scope::Utility, "WEB_FORM"),
        consent: Refusals {
            sequence: Some(41),
            ..Refusals::default()
        },
        ..Case::default()
    };
    let decision = case.decide(DAY);
    let facts = |route| decision.candidate(route).unwrap().facts.clone();
    let of = |facts: Vec<String>, name: &str| facts.iter().any(|fact| fact.starts_with(name));
    for fact in ["consent_sequence=41", "opt_in=WEB_FORM", "opt_in_time="] {
        assert!(of(facts(Route::Template), fact), "{fact}");
    }
    for fact in ["consent_sequence=41", "purpose=UTILITY"] {
        assert!(of(facts(Route::Sms), fact), "{fact}");
    }
    let text = &decision.candidate(Route::Sms).unwrap().text;
    assert!(text.contains("UTILITY"), "{text}");
}

#[test]
fn who_stopped_everything_and_writes_again_is_answered_and_gets_nothing_else() {
    let no = Choice {
        at: at(5),
        is_refused: true,
        provenance: Provenance::default(),
    };
    let stopped = Consent::of(Topic::WHATSAPP, no);
    for (purpose, free_form, template) in [
        (Purpose::Service, "WINDOW_OPEN", "OPTED_OUT"),
        (Purpose::Utility, "WINDOW_OPEN", "OPTED_OUT"),
        (Purpose::Authentication, "WINDOW_OPEN", "OPTED_OUT"),
        (Purpose::Marketing, "OPTED_OUT", "OPTED_OUT"),
    ] {
        let case = Case {
            purpose,
            opt_ins: stopped.clone(),
            ..Case::default()
        };
        assert_eq!(reason(&case, Route::FreeForm, 10), free_form, "{purpose:?}");
        assert_eq!(reason(&case, Route::Template, 10), template, "{purpose:?}");
        assert_eq!(reason(&case, Route::Sms, 10), "SMS_POSSIBLE", "{purpose:?}");
    }
}

#[test]
fn who_stopped_marketing_gets_none_inside_the_window_and_none_is_kept_for_them() {
    let case = Case {
        purpose: Purpose::Marketing,
        template: Some(approved(TemplateCategory::Marketing)),
        consent: Refusals {
            marketing: true,
            ..Refusals::default()
        },
        ..Case::default()
    };
    for now in [10, DAY] {
        let decision = case.decide(now);
        assert_eq!(decision.chosen, None, "{now}");
        for route in [Route::Template, Route::Sms, Route::Hold] {
            let candidate = decision.candidate(route).unwrap();
            assert_eq!(candidate.reason, "MARKETING_STOPPED", "{route:?} {now}");
        }
    }
    assert_eq!(reason(&case, Route::FreeForm, 10), "MARKETING_STOPPED");
    let answer = Case {
        purpose: Purpose::Service,
        ..case
    };
    assert_eq!(answer.decide(10).chosen, Some(Route::FreeForm));
}

#[test]
fn a_policy_may_ask_for_an_opt_in_where_nothing_else_does() {
    let step = |opt_in| Step {
        route: Route::Template,
        conditions: Conditions {
            opt_in,
            ..Conditions::default()
        },
    };
    let confirmed = vec!["DOUBLE_OPT_IN".to_owned()];
    let web = yes(Channel::Whatsapp, Scope::Utility, "WEB_FORM");
    for (opt_in, opt_ins, expected) in [
        (None, Consent::default(), "TEMPLATE_USABLE"),
        (Some(Vec::new()), Consent::default(), "NO_OPT_IN"),
        (Some(Vec::new()), web.clone(), "TEMPLATE_USABLE"),
        (Some(confirmed), web, "NO_OPT_IN"),
    ] {
        let case = Case {
            purpose: Purpose::Utility,
            policy: Policy {
                name: "careful".to_owned(),
                steps: vec![step(opt_in), Route::Sms.into()],
            },
            opt_ins,
            ..Case::default()
        };
        assert_eq!(reason(&case, Route::Template, 10), expected);
    }
}
