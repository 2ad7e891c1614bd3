//! What a customer allows: per channel and purpose, the latest word counts.
//!
//! Pure, and a join: order, repetition and delay of what customers say do not change it. Who said
//! so, and in which words, is kept with it. A refusal rules messages out, and an opt-in is what a
//! business needs before it writes first; when it needs one is routing's to say.

pub mod keywords;
mod standing;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use jiff::Timestamp;

pub use standing::{OnChannel, OptIn, Refusals, Standing};

/// The way that a message travels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Channel {
    /// WhatsApp.
    Whatsapp,
    /// SMS.
    Sms,
}

impl Channel {
    /// Every channel.
    pub const ALL: [Self; 2] = [Self::Whatsapp, Self::Sms];
}

/// Which of the messages on a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// All of them. A permission for all is none for marketing, which has to be asked for by name.
    Everything,
    /// Those that sell.
    Marketing,
    /// Those about something agreed on, such as an order.
    Utility,
    /// Codes to sign in with.
    Authentication,
    /// Answers.
    Service,
}

impl Scope {
    /// Every scope.
    pub const ALL: [Self; 5] = [
        Self::Everything,
        Self::Marketing,
        Self::Utility,
        Self::Authentication,
        Self::Service,
    ];
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

    /// WhatsApp altogether.
    pub const WHATSAPP: Self = Self {
        channel: Channel::Whatsapp,
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
    /// How we know, such as [`Provenance::SMS_KEYWORD`], or how it was recorded, such as
    /// `WEB_FORM`. Others may follow.
    pub source: String,
    /// The customer's word for it, or the provider's; of an opt-in what the customer was shown.
    pub wording: String,
    /// Hash of the provider's id of the message that said it, or of the id that it was recorded
    /// under.
    pub reference: String,
    /// Which version of the wording.
    pub wording_version: String,
    /// The language that it was shown in.
    pub language: String,
    /// Where the proof is.
    pub evidence: String,
    /// Who recorded it.
    pub recorded_by: String,
}

impl Provenance {
    /// An SMS of an agreed word.
    pub const SMS_KEYWORD: &'static str = "SMS_KEYWORD";
    /// A WhatsApp message of an agreed word.
    pub const WHATSAPP_KEYWORD: &'static str = "WHATSAPP_KEYWORD";
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

/// What was said about one topic, as far as it can matter: the latest refusal, and of each source
/// the latest permission after it. Never empty.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Words {
    refused: Option<Choice>,
    /// By their source: an opt-in that was confirmed still counts when a plain one follows.
    allowed: BTreeMap<String, Choice>,
}

impl Words {
    fn take(&mut self, choice: Choice) {
        if choice.is_refused {
            if self.refused.as_ref() < Some(&choice) {
                self.refused = Some(choice);
            }
        } else {
            let source = choice.provenance.source.clone();
            match self.allowed.get_mut(&source) {
                Some(known) if *known >= choice => {}
                Some(known) => *known = choice,
                None => {
                    self.allowed.insert(source, choice);
                }
            }
        }
        // What a later refusal took back never counts again.
        if let Some(refused) = &self.refused {
            let at = refused.at;
            self.allowed.retain(|_, allowed| allowed.at > at);
        }
    }

    fn all(&self) -> impl Iterator<Item = &Choice> {
        self.refused.iter().chain(self.allowed.values())
    }

    fn in_force(&self) -> Option<&Choice> {
        self.all().max()
    }

    /// Since when it is refused; `None` if it is not.
    fn refused_at(&self) -> Option<Timestamp> {
        let refused = self.refused.as_ref()?;
        self.allowed.is_empty().then_some(refused.at)
    }
}

/// What a customer allows, whole.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Consent {
    topics: BTreeMap<Topic, Words>,
}

impl Consent {
    /// Returns the consent that one word alone makes.
    pub fn of(topic: Topic, choice: Choice) -> Self {
        let mut words = Words::default();
        words.take(choice);
        Self {
            topics: BTreeMap::from([(topic, words)]),
        }
    }

    /// Returns the words in force, one a topic, in the order of their topics.
    pub fn choices(&self) -> impl Iterator<Item = (Topic, &Choice)> {
        let topics = self.topics.iter();
        topics.filter_map(|(topic, words)| Some((*topic, words.in_force()?)))
    }

    /// Returns what is known besides: refusals that were taken back, and permissions from other
    /// sources since.
    pub fn others(&self) -> impl Iterator<Item = (Topic, &Choice)> {
        self.topics.iter().flat_map(|(topic, words)| {
            let in_force = words.in_force();
            let others = words.all().filter(move |one| Some(*one) != in_force);
            others.map(|choice| (*topic, choice))
        })
    }

    /// Returns the word in force about a topic; `None` if there is none.
    pub fn choice(&self, topic: Topic) -> Option<&Choice> {
        self.topics.get(&topic)?.in_force()
    }

    /// Returns whether nothing was ever said.
    pub fn is_empty(&self) -> bool {
        self.topics.is_empty()
    }

    /// Joins two: for each topic the greater word is in force.
    #[must_use]
    pub fn join(mut self, other: Self) -> Self {
        for (topic, words) in other.topics {
            let known = self.topics.entry(topic).or_default();
            for choice in words.refused.into_iter().chain(words.allowed.into_values()) {
                known.take(choice);
            }
        }
        self
    }

    /// Returns what is refused. `sequence` is where the record stands; `None` if there is none.
    pub fn refusals(&self, sequence: Option<u64>) -> Refusals {
        let refuses = |channel, scope| self.refused_at(Topic { channel, scope }).is_some();
        let mut channels = Channel::ALL.into_iter();
        Refusals {
            marketing: channels.any(|channel| refuses(channel, Scope::Marketing)),
            sms: refuses(Channel::Sms, Scope::Everything),
            sequence,
        }
    }

    fn refused_at(&self, topic: Topic) -> Option<Timestamp> {
        self.topics.get(&topic)?.refused_at()
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
