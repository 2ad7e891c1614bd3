//! What a customer allows: per channel and purpose, the latest word counts.
//!
//! Pure, and a join: order, repetition and delay of what customers say do not change it. Who said
//! so, and in which words, is kept with it. Only refusals rule anything yet: a permission takes
//! back an earlier refusal and permits nothing that was not permitted before.

pub mod keywords;

use std::collections::BTreeMap;

use jiff::Timestamp;

/// The way that a message travels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Channel {
    /// WhatsApp.
    Whatsapp,
    /// SMS.
    Sms,
}

/// Which of the messages on a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// All of them.
    Everything,
    /// Those that sell.
    Marketing,
}

/// What a word of the customer's is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Topic {
    /// The channel.
    pub channel: Channel,
    /// Which of its messages.
    pub scope: Scope,
}

impl Topic {
    /// SMS altogether: what STOP and START are about.
    pub const SMS: Self = Self {
        channel: Channel::Sms,
        scope: Scope::Everything,
    };

    /// Marketing on WhatsApp: what `user_preferences` and error 131050 are about.
    pub const WHATSAPP_MARKETING: Self = Self {
        channel: Channel::Whatsapp,
        scope: Scope::Marketing,
    };
}

/// What a word rests on.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Provenance {
    /// How we know, such as [`Provenance::SMS_KEYWORD`]. Others may follow.
    pub source: String,
    /// The customer's word for it, or the provider's.
    pub wording: String,
    /// Hash of the provider's id of the message that said it.
    pub reference: String,
}

impl Provenance {
    /// An SMS of an agreed word.
    pub const SMS_KEYWORD: &'static str = "SMS_KEYWORD";
    /// An SMS that the provider itself took for an opt-out or its end.
    pub const PROVIDER_OPT_OUT: &'static str = "PROVIDER_OPT_OUT";
    /// A `user_preferences` webhook.
    pub const USER_PREFERENCES: &'static str = "USER_PREFERENCES";
    /// A provider's refusal to send, because the customer had said so.
    pub const PROVIDER_ERROR: &'static str = "PROVIDER_ERROR";
}

/// A word of the customer's about one topic.
///
/// The greater one is in force: the later; of two at the same time the refusal. What else they
/// differ in only makes the order whole.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Choice {
    /// When it was said.
    pub at: Timestamp,
    /// Whether it is a no.
    pub is_refused: bool,
    /// What it rests on.
    pub provenance: Provenance,
}

/// What a customer allows, whole.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Consent {
    choices: BTreeMap<Topic, Choice>,
}

impl Consent {
    /// Returns the consent that one word alone makes.
    pub fn of(topic: Topic, choice: Choice) -> Self {
        Self {
            choices: BTreeMap::from([(topic, choice)]),
        }
    }

    /// Returns the words in force, in the order of their topics.
    pub fn choices(&self) -> impl Iterator<Item = (Topic, &Choice)> {
        self.choices.iter().map(|(topic, choice)| (*topic, choice))
    }

    /// Returns the word in force about a topic; `None` if there is none.
    pub fn choice(&self, topic: Topic) -> Option<&Choice> {
        self.choices.get(&topic)
    }

    /// Returns whether nothing was ever said.
    pub fn is_empty(&self) -> bool {
        self.choices.is_empty()
    }

    /// Joins two: for each topic the greater word is in force.
    #[must_use]
    pub fn join(mut self, other: Self) -> Self {
        for (topic, choice) in other.choices {
            match self.choices.get_mut(&topic) {
                Some(known) if *known >= choice => {}
                Some(known) => *known = choice,
                None => {
                    self.choices.insert(topic, choice);
                }
            }
        }
        self
    }

    /// Returns what routing has to keep to. `sequence` is where the record stands; `None` if
    /// there is none.
    ///
    /// Marketing that was stopped on one channel is stopped on all: who is asked to stop on
    /// WhatsApp and goes on by SMS has not stopped.
    pub fn refusals(&self, sequence: Option<u64>) -> Refusals {
        let refuses = |topic: &Topic| self.choice(*topic).is_some_and(|choice| choice.is_refused);
        let marketing = [Channel::Whatsapp, Channel::Sms].map(|channel| Topic {
            channel,
            scope: Scope::Marketing,
        });
        Refusals {
            marketing: marketing.iter().any(refuses),
            sms: refuses(&Topic::SMS),
            sequence,
        }
    }
}

impl FromIterator<(Topic, Choice)> for Consent {
    fn from_iter<I: IntoIterator<Item = (Topic, Choice)>>(choices: I) -> Self {
        choices
            .into_iter()
            .map(|(topic, choice)| Self::of(topic, choice))
            .fold(Self::default(), Self::join)
    }
}

/// What a customer refuses, as far as it rules a route out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Refusals {
    /// Marketing, on any channel.
    pub marketing: bool,
    /// SMS, whatever for.
    pub sms: bool,
    /// Where the record of it stands on the log; `None` if nothing is recorded.
    pub sequence: Option<u64>,
}

impl Refusals {
    /// Returns the fact that a decision shows: which record it rests on.
    pub fn fact(&self) -> String {
        match self.sequence {
            Some(sequence) => format!("consent_sequence={sequence}"),
            None => "consent=nothing_recorded".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn word(second: i64, is_refused: bool) -> Choice {
        Choice {
            at: at(second),
            is_refused,
            provenance: Provenance::default(),
        }
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
        for channel in [Channel::Whatsapp, Channel::Sms] {
            let scope = Scope::Marketing;
            assert_eq!(
                no(Topic { channel, scope }),
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
        assert_eq!(
            Consent::default().refusals(None).fact(),
            "consent=nothing_recorded"
        );
        assert_eq!(
            Consent::default().refusals(Some(12)).fact(),
            "consent_sequence=12"
        );
    }

    fn choices() -> impl Strategy<Value = (Topic, Choice)> {
        let channel = prop_oneof![Just(Channel::Whatsapp), Just(Channel::Sms)];
        let scope = prop_oneof![Just(Scope::Everything), Just(Scope::Marketing)];
        let choice = (0..4_i64, any::<bool>(), "[ab]?");
        (channel, scope, choice).prop_map(|(channel, scope, (second, is_refused, wording))| {
            let choice = Choice {
                at: at(second),
                is_refused,
                provenance: Provenance {
                    wording,
                    ..Provenance::default()
                },
            };
            (Topic { channel, scope }, choice)
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
    }
}
