//! Tables and laws of what customers allow.

use proptest::{collection::vec, prelude::*};

use super::*;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn word(second: i64, is_refused: bool) -> Choice {
    said(second, is_refused, "")
}

fn said(second: i64, is_refused: bool, source: &str) -> Choice {
    Choice {
        at: at(second),
        is_refused,
        provenance: Provenance {
            source: source.to_owned(),
            ..Provenance::default()
        },
    }
}

fn topic(channel: Channel, scope: Scope) -> Topic {
    Topic { channel, scope }
}

fn sms(words: &[(i64, bool)]) -> Consent {
    words
        .iter()
        .map(|&(second, is_refused)| (Topic::SMS, word(second, is_refused)))
        .collect()
}

#[test]
fn the_latest_word_counts_and_at_the_same_time_the_refusal() {
    for (words, is_refused) in [
        (&[][..], false),
        (&[(5, true)], true),
        (&[(5, false)], false),
        (&[(5, true), (6, false)], false),
        (&[(6, false), (5, true)], false),
        (&[(5, true), (6, false), (7, true)], true),
        (&[(5, true), (5, false)], true),
        (&[(5, false), (5, true)], true),
    ] {
        assert_eq!(sms(words).refusals(None).sms, is_refused, "{words:?}");
    }
}

#[test]
fn of_one_source_the_latest_permission_is_in_force_with_what_it_rests_on() {
    for seconds in [[1, 2], [2, 1]] {
        let words = seconds.map(|second| (Topic::SMS, said(second, false, "APP")));
        let consent: Consent = words.into_iter().collect();
        assert_eq!(consent.choice(Topic::SMS), Some(&said(2, false, "APP")));
        assert_eq!(consent.others().count(), 0);
        assert!(!consent.is_empty());
    }
    assert!(Consent::default().is_empty());
}

#[test]
fn channels_and_purposes_are_told_apart_but_marketing_stops_everywhere() {
    let no = |topic| Consent::of(topic, word(1, true)).refusals(Some(7));
    let sequence = Some(7);
    assert_eq!(
        no(Topic::SMS),
        Refusals {
            marketing: false,
            sms: true,
            sequence
        }
    );
    for channel in Channel::ALL {
        assert_eq!(
            no(topic(channel, Scope::Marketing)),
            Refusals {
                marketing: true,
                sms: false,
                sequence
            }
        );
    }
    // START takes back STOP, and nothing else.
    let both = Consent::of(Topic::WHATSAPP_MARKETING, word(1, true));
    let both = both.join(sms(&[(2, true), (3, false)]));
    assert!(both.refusals(None).marketing && !both.refusals(None).sms);
}

#[test]
fn a_decision_can_show_which_record_it_rests_on() {
    let none = Consent::default();
    assert_eq!(none.refusals(None).fact(), "consent=nothing_recorded");
    assert_eq!(none.refusals(Some(12)).fact(), "consent_sequence=12");
    let standing = none.standing(Scope::Service, Some(12));
    assert_eq!(standing.fact(), "consent_sequence=12");
}

/// What is refused, and the sources of the opt-ins in force.
fn stands(consent: &Consent, channel: Channel, purpose: Scope) -> (Option<Scope>, Vec<String>) {
    let standing = consent.standing(purpose, None);
    let on = standing.on(channel);
    let sources = on.opt_ins.iter().map(|one| one.source.clone());
    (on.refused, sources.collect())
}

/// Channel, scope, second, whether it refuses, and its source.
type Word = (Channel, Scope, i64, bool, &'static str);

/// What permits, and what refuses.
type Expected<'a> = (Option<Scope>, &'a [&'a str]);

#[test]
fn wider_words_reach_narrower_ones_until_those_are_later() {
    use Channel::{Sms, Whatsapp};
    use Scope::{Everything, Marketing, Service, Utility};
    let (yes, no) = (false, true);
    let table: &[(&str, &[Word], Channel, Scope, Expected<'_>)] = &[
        ("nothing said", &[], Whatsapp, Utility, (None, &[])),
        (
            "of all but marketing",
            &[(Whatsapp, Everything, 1, yes, "PAPER")],
            Whatsapp,
            Utility,
            (None, &["PAPER"]),
        ),
        (
            "marketing is asked for by name",
            &[(Whatsapp, Everything, 1, yes, "PAPER")],
            Whatsapp,
            Marketing,
            (None, &[]),
        ),
        (
            "all that is stopped at the same time is stopped",
            &[
                (Sms, Service, 2, yes, "APP"),
                (Sms, Everything, 2, no, "SMS_KEYWORD"),
            ],
            Sms,
            Service,
            (Some(Everything), &[]),
        ),
        (
            "marketing that is stopped elsewhere stops marketing alone",
            &[
                (Whatsapp, Utility, 1, yes, "APP"),
                (Sms, Marketing, 2, no, "SMS_KEYWORD"),
            ],
            Whatsapp,
            Utility,
            (None, &["APP"]),
        ),
        (
            "one channel is not the other",
            &[(Whatsapp, Marketing, 1, yes, "APP")],
            Sms,
            Marketing,
            (None, &[]),
        ),
        (
            "one purpose is not the other",
            &[(Whatsapp, Marketing, 1, yes, "APP")],
            Whatsapp,
            Service,
            (None, &[]),
        ),
        (
            "stopping everything stops each",
            &[
                (Sms, Marketing, 1, yes, "APP"),
                (Sms, Everything, 2, no, "SMS_KEYWORD"),
            ],
            Sms,
            Marketing,
            (Some(Everything), &[]),
        ),
        (
            "and starting again brings back what was",
            &[
                (Sms, Marketing, 1, yes, "APP"),
                (Sms, Everything, 2, no, "SMS_KEYWORD"),
                (Sms, Everything, 3, yes, "SMS_KEYWORD"),
            ],
            Sms,
            Marketing,
            (None, &["APP"]),
        ),
        (
            "a later narrower word goes before",
            &[
                (Sms, Everything, 2, no, "SMS_KEYWORD"),
                (Sms, Marketing, 3, yes, "APP"),
            ],
            Sms,
            Marketing,
            (None, &["APP"]),
        ),
        (
            "for that purpose alone",
            &[
                (Sms, Everything, 2, no, "SMS_KEYWORD"),
                (Sms, Marketing, 3, yes, "APP"),
            ],
            Sms,
            Utility,
            (Some(Everything), &[]),
        ),
        (
            "marketing stopped on the other channel",
            &[
                (Sms, Marketing, 1, yes, "APP"),
                (Whatsapp, Marketing, 2, no, "USER_PREFERENCES"),
            ],
            Sms,
            Marketing,
            (Some(Marketing), &[]),
        ),
        (
            "until opted in to here",
            &[
                (Whatsapp, Marketing, 2, no, "USER_PREFERENCES"),
                (Sms, Marketing, 3, yes, "APP"),
            ],
            Sms,
            Marketing,
            (None, &["APP"]),
        ),
        (
            "which changes nothing there",
            &[
                (Whatsapp, Marketing, 2, no, "USER_PREFERENCES"),
                (Sms, Marketing, 3, yes, "APP"),
            ],
            Whatsapp,
            Marketing,
            (Some(Marketing), &[]),
        ),
        (
            "each source since the last refusal counts, newest first",
            &[
                (Whatsapp, Marketing, 1, yes, "PAPER"),
                (Whatsapp, Marketing, 2, no, "OPERATOR"),
                (Whatsapp, Marketing, 3, yes, "DOUBLE_OPT_IN"),
                (Whatsapp, Marketing, 4, yes, "APP"),
            ],
            Whatsapp,
            Marketing,
            (None, &["APP", "DOUBLE_OPT_IN"]),
        ),
    ];
    for (name, words, channel, purpose, (refused, sources)) in table {
        let consent: Consent = words
            .iter()
            .map(|&(channel, scope, second, is_refused, source)| {
                (topic(channel, scope), said(second, is_refused, source))
            })
            .collect();
        let expected = sources.iter().map(|one| (*one).to_owned()).collect();
        assert_eq!(
            stands(&consent, *channel, *purpose),
            (*refused, expected),
            "{name}"
        );
    }
}

#[test]
fn what_a_caller_vouches_for_takes_back_no_refusal() {
    let nothing = Consent::default().standing(Scope::Marketing, None);
    let vouched = nothing.vouched_for(Channel::Sms, "WEB_FORM", at(9));
    let opt_in = vouched.on(Channel::Sms).opt_in(&[]).unwrap();
    assert!(opt_in.is_asserted && opt_in.source == "WEB_FORM");
    assert_eq!(vouched.on(Channel::Whatsapp).opt_in(&[]), None);
    let other = ["DOUBLE_OPT_IN".to_owned()];
    assert_eq!(vouched.on(Channel::Sms).opt_in(&other), None);

    let stopped = sms(&[(1, true)]).standing(Scope::Marketing, None);
    let vouched = stopped.vouched_for(Channel::Sms, "WEB_FORM", at(9));
    assert_eq!(vouched.on(Channel::Sms).refused, Some(Scope::Everything));
    assert_eq!(vouched.on(Channel::Sms).opt_in(&[]), None);
}

fn choices() -> impl Strategy<Value = (Topic, Choice)> {
    let channel = prop_oneof![Just(Channel::Whatsapp), Just(Channel::Sms)];
    let scope = prop_oneof![
        Just(Scope::Everything),
        Just(Scope::Marketing),
        Just(Scope::Utility)
    ];
    let choice = (0..4_i64, any::<bool>(), "[ab]?", "[xy]");
    (channel, scope, choice).prop_map(|(channel, scope, (second, is_refused, wording, source))| {
        let choice = Choice {
            at: at(second),
            is_refused,
            provenance: Provenance {
                source,
                wording,
                ..Provenance::default()
            },
        };
        (topic(channel, scope), choice)
    })
}

fn consents() -> impl Strategy<Value = Consent> {
    vec(choices(), 0..6).prop_map(|all| all.into_iter().collect())
}

proptest! {
    #[test]
    fn joining_forgets_order_grouping_and_repetition(
        (a, b, c) in (consents(), consents(), consents())
    ) {
        let join = |one: &Consent, other: &Consent| one.clone().join(other.clone());
        prop_assert_eq!(join(&a, &b), join(&b, &a));
        prop_assert_eq!(join(&join(&a, &b), &c), join(&a, &join(&b, &c)));
        prop_assert_eq!(join(&a, &a), a.clone());
        prop_assert_eq!(join(&a, &Consent::default()), a.clone());
        let ab = join(&a, &b);
        prop_assert_eq!(join(&ab, &a), ab);
    }

    #[test]
    fn what_is_told_in_parts_is_the_whole(consent in consents()) {
        let parts = consent.choices().chain(consent.others());
        let again: Consent = parts.map(|(topic, choice)| (topic, choice.clone())).collect();
        prop_assert_eq!(again, consent);
    }

    #[test]
    fn a_refusal_is_lifted_by_a_later_word_about_the_same_topic_only(
        all in vec(choices(), 0..12)
    ) {
        let consent: Consent = all.clone().into_iter().collect();
        for (topic, refusal) in all.iter().filter(|(_, choice)| choice.is_refused) {
            let is_lifted = all
                .iter()
                .any(|(other, choice)| other == topic && !choice.is_refused && choice.at > refusal.at);
            let stands = consent.choice(*topic).is_some_and(|choice| choice.is_refused);
            prop_assert!(stands || is_lifted);
        }
    }

    #[test]
    fn nobody_is_opted_in_before_a_refusal_of_the_same_or_refused_and_opted_in_at_once(
        all in vec(choices(), 0..12)
    ) {
        let consent: Consent = all.clone().into_iter().collect();
        for channel in Channel::ALL {
            for purpose in [Scope::Marketing, Scope::Utility] {
                let standing = consent.standing(purpose, None);
                let on = standing.on(channel);
                prop_assert!(on.refused.is_none() || on.opt_ins.is_empty());
                for opt_in in &on.opt_ins {
                    let is_said = all.iter().any(|(of, choice)| {
                        of.channel == channel
                            && (of.scope == purpose
                                || of.scope == Scope::Everything && purpose != Scope::Marketing)
                            && !choice.is_refused
                            && choice.at == opt_in.at
                            && choice.provenance.source == opt_in.source
                    });
                    prop_assert!(is_said, "{opt_in:?}");
                    let is_taken_back = all.iter().any(|(of, choice)| {
                        *of == topic(channel, purpose) && choice.is_refused && choice.at >= opt_in.at
                            && consent.topics[of].allowed.is_empty()
                    });
                    prop_assert!(!is_taken_back, "{opt_in:?}");
                }
            }
        }
    }

    #[test]
    fn a_refusal_that_nobody_takes_back_stops_whatever_came_before_it(
        (all, channel) in (vec(choices(), 0..12), 0..2_usize)
    ) {
        let channel = Channel::ALL[channel];
        for scope in [Scope::Marketing, Scope::Everything] {
            let mut consent: Consent = all.clone().into_iter().collect();
            consent = consent.join(Consent::of(topic(channel, scope), word(4, true)));
            let standing = consent.standing(Scope::Marketing, None);
            prop_assert!(standing.on(channel).refused.is_some());
        }
    }
}
