//! Boundaries and laws of routing.

use jiff::SignedDuration;
use proptest::prelude::*;

use super::*;
use crate::consent::{Choice, Consent, Provenance, Refusals, Topic};
use crate::id::FactId;
use crate::inbound::{AsOf, Qualifying, ThreadOwner};
use crate::window::Evidence;

mod costs;
mod halts;
mod hold;
mod opt_in;
mod policies;
mod quiet;
mod templates;
mod words;

const DAY: i64 = 24 * 3600;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_700_000_000 + second).unwrap()
}

fn wrote(second: i64) -> Facts {
    let last_qualifying = Some(Qualifying {
        at: at(second),
        fact: FactId::from_u128(1),
        received_at: at(second),
        provider_id: "wamid.1".to_owned(),
    });
    Facts {
        last_qualifying,
        ..Facts::default()
    }
}

fn approved(category: TemplateCategory) -> Template {
    Template {
        name: "hello".to_owned(),
        given_parameters: 1,
        misfit: None,
        is_to_us: false,
        known: Some(KnownTemplate {
            category: Some(category),
            is_usable: true,
            status: "APPROVED".to_owned(),
            parameters: 1,
            has_code: false,
            paused_until: None,
            facts: Vec::new(),
        }),
    }
}

/// A message that could go every way, once the customer has written.
#[derive(Debug, Clone)]
struct Case {
    policy: Policy,
    zones: Zones,
    window: Facts,
    template: Option<Template>,
    purpose: Purpose,
    has_free_form: bool,
    has_sms_text: bool,
    has_phone: bool,
    has_address: bool,
    sender: Sender,
    consent: Refusals,
    /// What was opted in to.
    opt_ins: Consent,
    opt_in: Requirement,
    exhausted: Vec<Route>,
    stops: Stops,
    costs: Costs,
    offer: Offer,
    exhausted_gateways: Vec<String>,
    hold: super::hold::Queue,
}

fn ways(gateways: &[&str]) -> Offer {
    let way = |gateway: &&str| crate::sms::Way {
        gateway: (*gateway).to_owned(),
        sender: "ACME".to_owned(),
    };
    Offer::Ways(gateways.iter().map(way).collect())
}

impl Default for Case {
    fn default() -> Self {
        Self {
            policy: Policy::default(),
            zones: Zones::default(),
            window: wrote(0),
            template: Some(approved(TemplateCategory::Utility)),
            purpose: Purpose::Service,
            has_free_form: true,
            has_sms_text: true,
            has_phone: true,
            has_address: true,
            sender: Sender {
                has_whatsapp: true,
                gone: None,
            },
            consent: Refusals::default(),
            opt_ins: Consent::default(),
            opt_in: Requirement {
                need: Need::Never,
                sources: Vec::new(),
            },
            exhausted: Vec::new(),
            stops: Stops::default(),
            costs: Costs::default(),
            offer: ways(&["main", "spare"]),
            exhausted_gateways: Vec::new(),
            hold: super::hold::Queue::default(),
        }
    }
}

impl Case {
    /// As if what is refused had been said after what was opted in to.
    fn standing(&self) -> Standing {
        let refusals = [
            (self.consent.marketing, Topic::WHATSAPP_MARKETING),
            (self.consent.sms, Topic::SMS),
        ];
        let refused = |topic| {
            let choice = Choice {
                at: at(DAY * 9),
                is_refused: true,
                provenance: Provenance::default(),
            };
            (topic, choice)
        };
        let said = refusals.into_iter().filter(|(is_said, _)| *is_said);
        let refusals: Consent = said.map(|(_, topic)| refused(topic)).collect();
        let consent = self.opt_ins.clone().join(refusals);
        consent.standing(self.purpose.into(), self.consent.sequence)
    }

    fn decide(&self, now: i64) -> Decision {
        self.given(|input| route(input, at(now)))
    }

    /// Looks at all that a decision about it rests on.
    fn given<T>(&self, look: impl FnOnce(&Input<'_>) -> T) -> T {
        let input = Input {
            policy: &self.policy,
            zones: &self.zones,
            window: &self.window,
            window_policy: &WindowPolicy::default(),
            purpose: self.purpose,
            has_free_form: self.has_free_form,
            template: self.template.as_ref(),
            sms: self.has_sms_text.then_some(SmsSize {
                encoding: "GSM-7",
                segments: 1,
                units: 2,
            }),
            has_phone: self.has_phone,
            calling_code: self.has_phone.then_some("49"),
            sms_offer: &self.offer,
            exhausted_gateways: &self.exhausted_gateways,
            has_whatsapp_address: self.has_address,
            sender: self.sender,
            consent: &self.standing(),
            opt_in: &self.opt_in,
            exhausted: &self.exhausted,
            stops: &self.stops,
            costs: &self.costs,
            hold: self.hold,
            ready_at: at(0),
            expires_at: at(3 * DAY),
        };
        look(&input)
    }
}

#[test]
fn the_first_permitted_route_is_chosen() {
    use Route::{FreeForm, Hold, Sms, Template};
    let marketing = || Some(approved(TemplateCategory::Marketing));
    let unusable = || {
        let mut template = approved(TemplateCategory::Utility);
        template.known.as_mut().unwrap().is_usable = false;
        Some(template)
    };
    let table: Vec<(&str, Case, i64, Option<Route>)> = vec![
        ("inside", Case::default(), 10, Some(FreeForm)),
        (
            "last second before the guard band",
            Case::default(),
            DAY - 61,
            Some(FreeForm),
        ),
        ("guard band", Case::default(), DAY - 60, Some(Template)),
        ("outside", Case::default(), DAY, Some(Template)),
        (
            "never wrote",
            Case {
                window: Facts::default(),
                ..Case::default()
            },
            10,
            Some(Template),
        ),
        (
            "template paused",
            Case {
                template: unusable(),
                ..Case::default()
            },
            DAY,
            Some(Sms),
        ),
        (
            "no template",
            Case {
                template: None,
                ..Case::default()
            },
            DAY,
            Some(Sms),
        ),
        (
            "no template, no phone",
            Case {
                template: None,
                has_phone: false,
                ..Case::default()
            },
            DAY,
            Some(Hold),
        ),
        (
            "no template, no sender",
            Case {
                template: None,
                offer: Offer::NoSender,
                ..Case::default()
            },
            DAY,
            Some(Hold),
        ),
        (
            "nothing to send later",
            Case {
                template: None,
                has_phone: false,
                has_free_form: false,
                ..Case::default()
            },
            DAY,
            None,
        ),
        (
            "no longer worth it",
            Case {
                template: None,
                has_phone: false,
                ..Case::default()
            },
            3 * DAY,
            None,
        ),
        (
            "a marketing template for service",
            Case {
                template: marketing(),
                ..Case::default()
            },
            DAY,
            Some(Sms),
        ),
        (
            "a marketing template for marketing",
            Case {
                template: marketing(),
                purpose: Purpose::Marketing,
                ..Case::default()
            },
            DAY,
            Some(Template),
        ),
        (
            "marketing stopped",
            Case {
                template: marketing(),
                purpose: Purpose::Marketing,
                consent: Refusals {
                    marketing: true,
                    ..Refusals::default()
                },
                ..Case::default()
            },
            DAY,
            None,
        ),
        (
            "SMS stopped",
            Case {
                template: None,
                consent: Refusals {
                    sms: true,
                    ..Refusals::default()
                },
                ..Case::default()
            },
            DAY,
            Some(Hold),
        ),
        (
            "thread owned by another",
            Case {
                window: Facts {
                    thread_owner: Some(AsOf {
                        at: at(0),
                        value: ThreadOwner::Other,
                    }),
                    ..wrote(0)
                },
                ..Case::default()
            },
            10,
            Some(Template),
        ),
        (
            "refused by Meta",
            Case {
                window: Facts {
                    evidence: Evidence {
                        refused_at: Some(at(5)),
                        ..Evidence::default()
                    },
                    ..wrote(0)
                },
                ..Case::default()
            },
            10,
            Some(Template),
        ),
        (
            "free-form failed",
            Case {
                exhausted: vec![FreeForm],
                ..Case::default()
            },
            10,
            Some(Template),
        ),
        (
            "WhatsApp failed",
            Case {
                exhausted: vec![FreeForm, Template],
                ..Case::default()
            },
            10,
            Some(Sms),
        ),
        (
            "no WhatsApp on the number",
            Case {
                sender: Sender {
                    has_whatsapp: false,
                    gone: None,
                },
                ..Case::default()
            },
            10,
            Some(Sms),
        ),
    ];
    for (name, case, now, expected) in table {
        let decision = case.decide(now);
        assert_eq!(
            decision.chosen, expected,
            "{name}: {:#?}",
            decision.candidates
        );
    }
}

#[test]
fn parameters_that_do_not_fit_rule_a_template_out() {
    let mut template = approved(TemplateCategory::Utility);
    template.given_parameters = 2;
    let decision = Case {
        template: Some(template),
        ..Case::default()
    }
    .decide(DAY);
    let candidate = decision.candidate(Route::Template).unwrap();
    assert_eq!(
        (candidate.verdict, candidate.reason),
        (Verdict::RuledOut, "TEMPLATE_PARAMETERS")
    );
}

#[test]
fn a_decision_says_when_time_alone_changes_it() {
    let policy = WindowPolicy::default();
    let decision = Case::default().decide(10);
    assert_eq!(
        decision.next_change_at,
        Some(at(0) + policy.length - policy.guard)
    );
    assert_eq!(Case::default().decide(DAY).next_change_at, None);
    assert_eq!(
        decision.window_expires_at,
        Some(at(0) + SignedDuration::from_hours(24))
    );
}

#[test]
fn an_sms_goes_by_the_first_gateway_that_is_left() {
    let sms_of = |case: &Case| {
        let decision = case.decide(2 * DAY);
        let found = decision.candidate(Route::Sms).unwrap();
        let reason = found.reason;
        assert!(
            found.facts.contains(&"calling_code=49".to_owned()),
            "{:?}",
            found.facts
        );
        (decision.chosen, reason, decision.sms_gateways)
    };
    let case = |offer: Offer, gone: &[&str]| Case {
        template: None,
        has_free_form: false,
        offer,
        exhausted_gateways: gone.iter().map(|&gone| gone.to_owned()).collect(),
        ..Case::default()
    };
    let both = || ways(&["main", "spare"]);
    for (offer, gone, chosen, reason, left) in [
        (
            both(),
            &[][..],
            Some(Route::Sms),
            "SMS_POSSIBLE",
            &["main", "spare"][..],
        ),
        (
            both(),
            &["main"],
            Some(Route::Sms),
            "SMS_POSSIBLE",
            &["spare"],
        ),
        (
            both(),
            &["main", "spare"],
            None,
            "SMS_GATEWAYS_EXHAUSTED",
            &[],
        ),
        (
            Offer::NoSenderThere,
            &[],
            None,
            "NO_SMS_SENDER_FOR_COUNTRY",
            &[],
        ),
        (Offer::NoSender, &[], None, "NO_SMS_SENDER", &[]),
    ] {
        let left = left.iter().map(|&one| one.to_owned()).collect();
        assert_eq!(sms_of(&case(offer, gone)), (chosen, reason, left));
    }
}

fn cases() -> impl Strategy<Value = Case> {
    let window = prop_oneof![Just(Facts::default()), Just(wrote(0)), Just(wrote(DAY))];
    let template = prop_oneof![
        Just(None),
        Just(Some(approved(TemplateCategory::Utility))),
        Just(Some(approved(TemplateCategory::Marketing))),
        Just(Some(Template {
            known: None,
            ..approved(TemplateCategory::Utility)
        })),
    ];
    let exhausted = prop::sample::subsequence(Route::ALL.to_vec(), 0..4);
    let flags = prop::array::uniform8(any::<bool>());
    (window, template, exhausted, flags).prop_map(|(window, template, exhausted, flags)| {
        let [
            has_free_form,
            has_sms_text,
            has_phone,
            has_address,
            whatsapp,
            sms,
            marketing,
            stopped,
        ] = flags;
        Case {
            policy: Policy::default(),
            zones: Zones::default(),
            window,
            template,
            exhausted,
            has_free_form,
            has_sms_text,
            has_phone,
            has_address,
            sender: Sender {
                has_whatsapp: whatsapp,
                gone: None,
            },
            offer: if sms {
                ways(&["main"])
            } else {
                Offer::NoSender
            },
            exhausted_gateways: Vec::new(),
            hold: super::hold::Queue::default(),
            purpose: if marketing {
                Purpose::Marketing
            } else {
                Purpose::Service
            },
            consent: Refusals {
                marketing: stopped,
                sms: stopped,
                sequence: stopped.then_some(9),
            },
            stops: Stops::default(),
            costs: Costs::default(),
            opt_ins: Consent::default(),
            opt_in: Requirement {
                need: if whatsapp { Need::Never } else { Need::Always },
                sources: Vec::new(),
            },
        }
    })
}

#[test]
fn a_refusal_is_shown_with_the_record_that_it_stands_in() {
    let marketing = Case {
        template: Some(approved(TemplateCategory::Marketing)),
        purpose: Purpose::Marketing,
        consent: Refusals {
            marketing: true,
            sms: true,
            sequence: Some(41),
        },
        ..Case::default()
    };
    let decision = marketing.decide(DAY);
    for (route, reason) in [
        (Route::Template, "MARKETING_STOPPED"),
        (Route::Sms, "SMS_STOPPED"),
    ] {
        let candidate = decision.candidate(route).unwrap();
        assert_eq!(candidate.reason, reason);
        assert_eq!(candidate.facts.last().unwrap(), "consent_sequence=41");
    }
    // What nobody ever objected to is shown, too.
    let decision = Case::default().decide(DAY);
    let facts = &decision.candidate(Route::Sms).unwrap().facts;
    assert_eq!(facts.last().unwrap(), "consent=nothing_recorded");
    let facts = &decision.candidate(Route::Template).unwrap().facts;
    assert!(facts.iter().all(|fact| !fact.starts_with("consent")));
}

proptest! {
    #[test]
    fn every_candidate_has_a_verdict_and_at_most_one_is_chosen(case in cases(), now in 0..3 * DAY) {
        let decision = case.decide(now);
        let routes: Vec<_> = decision.candidates.iter().map(|candidate| candidate.route).collect();
        prop_assert_eq!(routes, Route::ALL);
        let chosen: Vec<_> = decision
            .candidates
            .iter()
            .filter(|candidate| candidate.verdict == Verdict::Chosen)
            .map(|candidate| candidate.route)
            .collect();
        prop_assert_eq!(chosen.first().copied(), decision.chosen);
        prop_assert!(chosen.len() <= 1);
        for candidate in &decision.candidates {
            prop_assert!(!candidate.reason.is_empty() && candidate.text.ends_with('.'));
        }
    }

    #[test]
    fn what_the_customer_refuses_is_never_chosen(case in cases(), now in 0..4 * DAY) {
        let decision = case.decide(now);
        if case.consent.sms {
            prop_assert_ne!(decision.chosen, Some(Route::Sms));
        }
        if case.consent.marketing && decision.chosen == Some(Route::Template) {
            prop_assert_ne!(decision.template_category, Some(TemplateCategory::Marketing));
        }
        if case.consent.marketing && case.purpose == Purpose::Marketing {
            prop_assert_eq!(decision.chosen, None);
        }
        // Nobody opted in to anything here.
        if case.opt_in.need == Need::Always {
            prop_assert!(matches!(decision.chosen, None | Some(Route::Hold)));
        }
    }

    #[test]
    fn free_form_is_never_chosen_outside_the_window(case in cases(), now in 0..4 * DAY) {
        let decision = case.decide(now);
        if decision.chosen == Some(Route::FreeForm) {
            prop_assert!(case.window.is_open(&WindowPolicy::default(), at(now)));
        }
        if let Some(chosen) = decision.chosen {
            prop_assert!(!case.exhausted.contains(&chosen));
        }
    }
}
