//! What halts do to decisions.

use super::*;
use crate::halt::{Cause, Channels, Halt, Scope, Sending, Target, Traffic};
use crate::number_health::{self, Fact, Health, Kind, Source};

fn target() -> Target {
    Target::new(Scope::Number, "1")
}

fn halt() -> Halt {
    Halt {
        target: target(),
        traffic: Traffic::Everything,
        channels: Channels::Whatsapp,
        may_go_elsewhere: true,
        cause: Cause::Code {
            code: 190,
            meaning: "the token has expired".to_owned(),
        },
        since: at(0),
        until: None,
        probe_at: None,
        renewals: 0,
    }
}

fn under(halts: &[Halt], case: Case) -> Case {
    let sending = Sending {
        targets: vec![target(), Target::template("w", "hello", "en")],
        is_marketing: false,
    };
    let named = halts.iter().map(|halt| ("h1", halt));
    Case {
        stops: Stops::of(named, &sending, at(1)),
        ..case
    }
}

fn verdicts(decision: &Decision) -> Vec<(Verdict, &'static str)> {
    let candidates = decision.candidates.iter();
    candidates.map(|one| (one.verdict, one.reason)).collect()
}

#[test]
fn a_halt_of_the_platform_leaves_the_other_channel() {
    let decision = under(&[halt()], Case::default()).decide(1);
    assert_eq!(decision.chosen, Some(Route::Sms));
    assert_eq!(decision.halted_by.as_ref().unwrap().halt, "h1");
    assert_eq!(
        verdicts(&decision),
        [
            (Verdict::RuledOut, "HALTED"),
            (Verdict::RuledOut, "HALTED"),
            (Verdict::Chosen, "SMS_POSSIBLE"),
            (Verdict::RuledOut, "WAITS_FOR_HALT"),
        ]
    );
    let text = &decision.candidates[0].text;
    assert!(text.contains("190: the token has expired"), "{text}");
}

#[test]
fn a_halt_that_keeps_the_channel_is_waited_for() {
    let keeps = Halt {
        may_go_elsewhere: false,
        until: Some(at(60)),
        ..halt()
    };
    let decision = under(&[keeps], Case::default()).decide(1);
    assert_eq!(decision.chosen, None);
    let stop = decision.halted_by.as_ref().unwrap();
    assert_eq!(
        (stop.cause.as_str(), stop.until),
        ("NUMBER_HALTED", Some(at(60)))
    );
    assert_eq!(verdicts(&decision)[2].1, "WAITS_FOR_HALT");
}

#[test]
fn a_halt_that_outlasts_the_message_is_not_waited_for() {
    let long = Halt {
        may_go_elsewhere: false,
        until: Some(at(3 * DAY)),
        ..halt()
    };
    let decision = under(&[long], Case::default()).decide(1);
    assert_eq!(decision.chosen, Some(Route::Sms));
}

#[test]
fn a_pause_by_hand_stops_every_channel() {
    let pause = Halt {
        channels: Channels::Every,
        may_go_elsewhere: false,
        cause: Cause::ByHand {
            reason: "wrong prices".to_owned(),
        },
        ..halt()
    };
    let decision = under(&[pause], Case::default()).decide(1);
    assert_eq!(decision.chosen, None);
    assert_eq!(decision.halted_by.unwrap().cause, "NUMBER_PAUSED");
}

#[test]
fn a_halted_template_leaves_every_other_route() {
    let paused = Halt {
        target: Target::template("w", "hello", "en"),
        until: Some(at(60)),
        ..halt()
    };
    let open = under(std::slice::from_ref(&paused), Case::default()).decide(1);
    assert_eq!(open.chosen, Some(Route::FreeForm));
    let closed = under(&[paused], Case::default()).decide(2 * DAY);
    assert_eq!(closed.chosen, Some(Route::Sms));
}

#[test]
fn a_template_that_is_gone_for_good_is_not_waited_for() {
    let alone = || Case {
        has_free_form: false,
        has_sms_text: false,
        ..Case::default()
    };
    let gone = Halt {
        target: Target::template("w", "hello", "en"),
        ..halt()
    };
    let decision = under(std::slice::from_ref(&gone), alone()).decide(1);
    assert_eq!((decision.chosen, decision.halted_by), (None, None));
    let back_soon = Halt {
        until: Some(at(60)),
        ..gone
    };
    let decision = under(&[back_soon], alone()).decide(1);
    assert!(decision.halted_by.is_some());
}

#[test]
fn a_halt_counts_only_against_what_would_otherwise_do() {
    let closed = Case {
        window: Facts::default(),
        template: None,
        has_sms_text: false,
        ..Case::default()
    };
    let decision = under(&[halt()], closed).decide(1);
    assert_eq!(
        decision.chosen,
        Some(Route::Hold),
        "it waits for the customer, not for us"
    );
    assert_eq!(verdicts(&decision)[0].1, "WINDOW_CLOSED");
}

proptest! {
    /// No claim under a halt: whatever is halted and however the message stands, the chosen route
    /// is not a halted one, and a message that could go without the halt goes another way, or
    /// waits, or may be given up only for a template that is gone.
    #[test]
    fn no_route_is_chosen_that_is_halted(
        halts in prop::collection::vec((0..3_u8, any::<bool>(), any::<bool>(), prop::option::of(0..1_000_000_i64)), 0..5),
        has_template in any::<bool>(),
        has_sms_text in any::<bool>(),
        has_free_form in any::<bool>(),
        now in 0..(3 * DAY),
    ) {
        let halts: Vec<Halt> = halts
            .into_iter()
            .map(|(scope, every, elsewhere, until)| Halt {
                target: if scope == 0 { Target::template("w", "hello", "en") } else { target() },
                channels: if every { Channels::Every } else { Channels::Whatsapp },
                may_go_elsewhere: elsewhere,
                until: until.map(at),
                ..halt()
            })
            .collect();
        let case = || Case {
            template: has_template.then(|| approved(TemplateCategory::Utility)),
            has_sms_text,
            has_free_form,
            ..Case::default()
        };
        let free = case().decide(now);
        let stopped = under(&halts, case());
        let decision = stopped.decide(now);
        if let Some(route) = decision.chosen {
            prop_assert_eq!(stopped.stops.on(route), None);
        } else if free.chosen.is_some() {
            let is_gone = Route::WHATSAPP
                .iter()
                .any(|route| stopped.stops.on(*route).is_some_and(|stop| !stop.is_waited_for));
            prop_assert!(decision.halted_by.is_some() || is_gone);
        } else {
            prop_assert_eq!(decision.halted_by, None);
        }
    }
}

/// The account behind a gateway is refused; its halt is called after it.
fn halted_gateways(gateways: &[(&str, Halt)], case: Case) -> Case {
    let sending = Sending {
        targets: gateways
            .iter()
            .map(|(name, _)| Target::gateway(name, ""))
            .collect(),
        is_marketing: false,
    };
    let halts: Vec<(String, Halt)> = gateways
        .iter()
        .map(|(name, halt)| {
            let target = Target::gateway(name, "");
            let halt = Halt {
                target,
                channels: Channels::Every,
                ..halt.clone()
            };
            (format!("of-{name}"), halt)
        })
        .collect();
    let named = halts.iter().map(|(id, halt)| (id.as_str(), halt));
    Case {
        stops: Stops::of(named, &sending, at(1)),
        ..case
    }
}

fn sms_alone() -> Case {
    Case {
        template: None,
        has_free_form: false,
        ..Case::default()
    }
}

#[test]
fn a_halted_gateway_stops_neither_the_others_nor_whatsapp() {
    let case = halted_gateways(&[("main", halt())], sms_alone());
    let decision = case.decide(1);
    assert_eq!(decision.chosen, Some(Route::Sms));
    assert_eq!(decision.sms_gateways, ["spare"]);
    assert_eq!(decision.halted_by, None, "nothing is waited for");
    let all = halted_gateways(&[("main", halt()), ("spare", halt())], Case::default());
    assert_eq!(all.decide(1).chosen, Some(Route::FreeForm));
    for route in [Route::FreeForm, Route::Template, Route::Hold] {
        assert!(all.stops.on_call(route, "main").is_none());
    }
    assert!(all.stops.on_call(Route::Sms, "main").is_some());
    assert!(all.stops.on_call(Route::Sms, "third").is_none());
}

#[test]
fn if_every_gateway_that_is_left_is_halted_the_first_to_end_is_waited_for() {
    let probed = |minutes: i64| Halt {
        probe_at: Some(at(60 * minutes)),
        ..halt()
    };
    let halts = [("main", probed(30)), ("spare", probed(15))];
    let decision = halted_gateways(&halts, sms_alone()).decide(1);
    assert_eq!((decision.chosen, decision.sms_gateways.len()), (None, 0));
    let stop = decision.halted_by.unwrap();
    assert_eq!(
        (stop.halt.as_str(), stop.cause.as_str(), stop.probe_at),
        ("of-spare", "GATEWAY_HALTED", Some(at(60 * 15)))
    );
    // One that has failed for this message is not waited for.
    let failed = Case {
        exhausted_gateways: vec!["spare".to_owned()],
        ..sms_alone()
    };
    let decision = halted_gateways(&halts, failed).decide(1);
    assert_eq!(decision.halted_by.unwrap().halt, "of-main");
}

#[test]
fn a_halted_gateway_whose_account_is_told_apart_stops_that_account_alone() {
    let of = |account: &str| Target::gateway("number", account);
    let halted = Halt {
        target: of("AC1"),
        ..halt()
    };
    for (account, is_stopped) in [("AC1", true), ("AC2", false)] {
        let sending = Sending {
            targets: vec![of(account)],
            is_marketing: false,
        };
        let stops = Stops::of([("h", &halted)], &sending, at(1));
        assert_eq!(
            stops.on_gateway("number").is_some(),
            is_stopped,
            "{account}"
        );
    }
}

fn known_as(status: &str) -> Stops {
    let mut health = Health::default();
    health.take(Kind::Status, Fact::new(at(1), Source::Poll, status));
    match number_health::stop(&health, "status.1") {
        Some(stop) => Stops::default().with_whatsapp(stop),
        None => Stops::default(),
    }
}

#[test]
fn a_number_that_is_not_connected_falls_over_to_sms_with_a_reason_of_its_own() {
    let case = Case {
        stops: known_as("BANNED"),
        ..Case::default()
    };
    let decision = case.decide(1);
    assert_eq!(decision.chosen, Some(Route::Sms));
    assert_eq!(decision.candidates[0].reason, "PLATFORM_STATUS");
    assert_eq!(decision.candidates[1].reason, "PLATFORM_STATUS");
    assert!(decision.candidates[0].text.contains("BANNED"));

    let without_sms = Case {
        has_sms_text: false,
        stops: known_as("DISCONNECTED"),
        ..Case::default()
    };
    let waits = without_sms.decide(1);
    assert_eq!(waits.chosen, None);
    assert_eq!(waits.halted_by.as_ref().unwrap().halt, "status.1");
    assert!(waits.can_wait());
}

#[test]
fn a_number_whose_status_nobody_knows_sends() {
    for status in ["CONNECTED", "UNKNOWN", "ENCHANTED"] {
        let case = Case {
            stops: known_as(status),
            ..Case::default()
        };
        assert_eq!(case.decide(1).chosen, Some(Route::FreeForm), "{status}");
    }
}

#[test]
fn a_number_that_is_gone_holds_nothing_and_leaves_sms_unless_it_is_somebody_elses() {
    for (gone, left, reason, told) in [
        (
            Gone::Deregistered,
            Some(Route::Sms),
            "NUMBER_DEREGISTERED",
            "was deregistered",
        ),
        (
            Gone::MigratedAway,
            None,
            "NUMBER_MIGRATED_AWAY",
            "went to another",
        ),
    ] {
        let sender = Sender {
            has_whatsapp: true,
            gone: Some(gone),
        };
        let by_sms = Case {
            sender,
            ..Case::default()
        };
        assert_eq!(by_sms.decide(1).chosen, left);
        let alone = Case {
            sender,
            has_sms_text: false,
            ..Case::default()
        };
        let decision = alone.decide(1);
        assert_eq!(decision.chosen, None);
        assert!(!decision.can_wait());
        let hold = decision.candidate(Route::Hold).unwrap();
        assert_eq!(hold.reason, reason);
        assert!(hold.text.contains(told), "{}", hold.text);
    }
}

#[test]
fn an_sms_is_priced_by_the_gateway_that_is_tried_first() {
    let first = |case: &Case| case.given(|input| input.first_gateway().map(str::to_owned));
    let gone = Case {
        exhausted_gateways: vec!["main".to_owned()],
        ..Case::default()
    };
    let none = Case {
        offer: Offer::NoSender,
        ..Case::default()
    };
    let halted = halted_gateways(&[("main", halt())], Case::default());
    let all_halted = halted_gateways(&[("main", halt()), ("spare", halt())], Case::default());
    for (case, gateway) in [
        (Case::default(), Some("main")),
        (gone, Some("spare")),
        (halted, Some("spare")),
        (all_halted, Some("main")),
        (none, None),
    ] {
        assert_eq!(first(&case).as_deref(), gateway);
    }
}

#[test]
fn room_in_a_budget_is_waited_for_by_its_time_and_other_halts_by_their_end() {
    let alone = || Case {
        has_free_form: false,
        has_sms_text: false,
        ..Case::default()
    };
    let until = at(DAY + 100);
    let full = Stop::by_budget(250, until);
    let by_budget = Case {
        stops: Stops::default().with_template(full.clone()),
        ..alone()
    };
    let decision = by_budget.decide(DAY);
    assert_eq!((decision.chosen, decision.earliest_send_at), (None, until));
    let otherwise = Stop {
        cause: "131042".to_owned(),
        ..full
    };
    let halted = Case {
        stops: Stops::default().with_template(otherwise),
        ..alone()
    };
    let decision = halted.decide(DAY);
    assert_eq!(
        (decision.chosen, decision.earliest_send_at),
        (None, at(DAY))
    );
}
