//! How a customer stands to messages of one purpose, channel by channel.
//!
//! Words about everything, about one purpose and about another channel meet here. A narrower word
//! that is later goes before a wider one: who stopped everything and then asks for offers gets
//! offers. What follows for a message is routing's to say.

use jiff::Timestamp;

use super::{Channel, Choice, Consent, Scope, Topic};

/// What a customer refuses, whatever a message is for.
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

/// How a customer stands to messages of one purpose.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Standing {
    /// What is refused, whatever for.
    pub refusals: Refusals,
    whatsapp: OnChannel,
    sms: OnChannel,
}

/// How a customer stands to messages of one purpose on one channel.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OnChannel {
    /// What the refusal in force is about; `None` if there is none.
    pub refused: Option<Scope>,
    /// The opt-ins in force, newest first.
    pub opt_ins: Vec<OptIn>,
}

/// An opt-in in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OptIn {
    /// As in [`super::Provenance::source`].
    pub source: String,
    /// When the customer said so.
    pub at: Timestamp,
    /// Nobody recorded it: it stands on the message alone.
    pub is_asserted: bool,
}

impl OnChannel {
    /// Returns the newest opt-in from one of these sources, from any if there are none.
    pub fn opt_in(&self, sources: &[String]) -> Option<&OptIn> {
        let mut all = self.opt_ins.iter();
        all.find(|one| sources.is_empty() || sources.contains(&one.source))
    }
}

impl Standing {
    /// Returns how it is on one channel.
    pub fn on(&self, channel: Channel) -> &OnChannel {
        match channel {
            Channel::Whatsapp => &self.whatsapp,
            Channel::Sms => &self.sms,
        }
    }

    /// Returns the fact that a decision shows: which record it rests on.
    pub fn fact(&self) -> String {
        self.refusals.fact()
    }

    /// Adds an opt-in that whoever asked for the message vouches for. It takes back no refusal.
    #[must_use]
    pub fn vouched_for(mut self, channel: Channel, source: &str, at: Timestamp) -> Self {
        let on = match channel {
            Channel::Whatsapp => &mut self.whatsapp,
            Channel::Sms => &mut self.sms,
        };
        if on.refused.is_none() {
            on.opt_ins.push(OptIn {
                source: source.to_owned(),
                at,
                is_asserted: true,
            });
        }
        self
    }
}

impl Consent {
    /// Returns how the customer stands to messages of one purpose, which is not
    /// [`Scope::Everything`]. `sequence` is where the record stands.
    ///
    /// Marketing that was stopped on one channel is stopped on all, unless the other one was opted
    /// in to since: who is asked to stop on WhatsApp and goes on by SMS has not stopped.
    pub fn standing(&self, purpose: Scope, sequence: Option<u64>) -> Standing {
        Standing {
            refusals: self.refusals(sequence),
            whatsapp: self.on_channel(Channel::Whatsapp, purpose),
            sms: self.on_channel(Channel::Sms, purpose),
        }
    }

    fn on_channel(&self, channel: Channel, purpose: Scope) -> OnChannel {
        let here = |scope| Topic { channel, scope };
        let (own, everything) = (here(purpose), here(Scope::Everything));
        let everything_refused_at = self.refused_at(everything);
        let elsewhere_refused_at = Channel::ALL
            .into_iter()
            .filter(|other| purpose == Scope::Marketing && *other != channel)
            .filter_map(|channel| {
                self.refused_at(Topic {
                    channel,
                    scope: Scope::Marketing,
                })
            })
            .max();
        let wider = everything_refused_at.max(elsewhere_refused_at);
        let permissions = |topic: Topic| {
            let words = self.topics.get(&topic);
            words.into_iter().flat_map(|words| words.allowed.values())
        };
        let mut allowed: Vec<&Choice> = permissions(own)
            .filter(|choice| Some(choice.at) > wider)
            .collect();
        let refused = if self.refused_at(own).is_some() {
            Some(purpose)
        } else if !allowed.is_empty() {
            None
        } else if everything_refused_at.is_some() {
            Some(Scope::Everything)
        } else {
            elsewhere_refused_at.map(|_| Scope::Marketing)
        };
        if refused.is_none() && purpose != Scope::Marketing && everything_refused_at.is_none() {
            allowed.extend(permissions(everything));
        }
        allowed.sort_by(|a, b| b.cmp(a));
        let opt_ins = allowed.into_iter().map(|choice| OptIn {
            source: choice.provenance.source.clone(),
            at: choice.at,
            is_asserted: false,
        });
        OnChannel {
            refused,
            opt_ins: opt_ins.collect(),
        }
    }
}
