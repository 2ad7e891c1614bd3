//! Misbehaviour on demand: what can go wrong, how often, and where.
//!
//! The list of active faults is plain state; the places where things happen ask it. It does not
//! know what a message or a webhook is. What is left to chance comes from a seed, so that a run
//! can be had again as far as its calls come in the same order.

use jiff::SignedDuration;
use rand::rngs::StdRng;
use rand::seq::SliceRandom as _;
use rand::{Rng as _, SeedableRng as _};
use serde::{Deserialize, Serialize};

use crate::records::Channel;

/// Something to do wrong.
///
/// As JSON: `"hold_statuses"`, `{"delay_response": {"by": "2s"}}`.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Fault {
    /// Answers a send late; what it asked for happens at once.
    DelayResponse {
        /// How late.
        by: SignedDuration,
    },
    /// Accepts a send, reports statuses, and never answers the call.
    TimeoutAfterAcceptance,
    /// Closes the connection before looking at the call.
    DropConnection,
    /// Answers with this status and a body that is not the platform's.
    ServerError {
        /// The HTTP status, 500 to 599.
        status: u16,
        /// Whether the message goes out all the same.
        #[serde(default)]
        accepts: bool,
    },
    /// Refuses a send with this code of the platform's own.
    GraphError {
        /// The code; Twilio's when the channel is SMS.
        code: i64,
    },
    /// Accepts a send and reports `failed` with this code instead of the usual statuses.
    FailStatus {
        /// The code.
        code: i64,
    },
    /// Accepts a send, and begins to report about it only after this long, on top of the usual
    /// pause.
    DelayReports {
        /// How much later.
        by: SignedDuration,
    },
    /// Keeps status reports back until released.
    HoldStatuses,
    /// Sends each webhook this many times more.
    DuplicateWebhooks {
        /// Extra copies.
        copies: u32,
    },
    /// Collects webhooks and sends them in another order.
    ReorderWebhooks {
        /// How many are collected before they go out.
        hold: usize,
        /// The order they go out in.
        order: Reordering,
    },
    /// Collects updates into one webhook.
    BatchWebhooks {
        /// How many make a batch; at most [`crate::BATCH_UPDATES_MAX`].
        size: usize,
        /// A batch goes out after this long even if it is not full.
        linger: SignedDuration,
    },
    /// Sends webhooks late.
    DelayWebhooks {
        /// How late.
        by: SignedDuration,
    },
    /// Serves other bytes than the customer sent, as many.
    CorruptMedia,
    /// Answers who asks for a file by its link with this status.
    RefuseMedia {
        /// The HTTP status.
        status: u16,
    },
    /// Refuses to say where a file is, with this code.
    RefuseMediaId {
        /// The code.
        code: i64,
    },
    /// Serves half of a file and then nothing more.
    StallMedia,
}

/// The order in which collected webhooks go out.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Reordering {
    /// Last first.
    Reversed,
    /// At random.
    Shuffled,
}

/// A fault, how often it happens, and to which channel.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct FaultSpec {
    /// What goes wrong.
    pub fault: Fault,
    /// How many times; until cleared without it.
    #[serde(default)]
    pub times: Option<u32>,
    /// On how many of a thousand occasions, by chance; on every one without it. Of no use for
    /// what holds, collects or reorders: that is in force or not.
    #[serde(default)]
    pub per_thousand: Option<u16>,
    /// Only on this channel; on both without it.
    #[serde(default)]
    pub channel: Option<Channel>,
}

impl From<Fault> for FaultSpec {
    fn from(fault: Fault) -> Self {
        Self {
            fault,
            times: None,
            per_thousand: None,
            channel: None,
        }
    }
}

impl FaultSpec {
    /// Limits it to the next `times` occasions.
    #[must_use]
    pub fn times(mut self, times: u32) -> Self {
        self.times = Some(times);
        self
    }

    /// Lets it happen on so many of a thousand occasions, by chance.
    #[must_use]
    pub fn per_thousand(mut self, share: u16) -> Self {
        self.per_thousand = Some(share);
        self
    }

    /// Limits it to one channel.
    #[must_use]
    pub fn on(mut self, channel: Channel) -> Self {
        self.channel = Some(channel);
        self
    }
}

/// Names an active fault.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(transparent)]
pub struct FaultId(pub u64);

/// A fault that is in force.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct ActiveFault {
    /// Its name.
    pub id: FaultId,
    /// What it is; `times` counts down.
    pub spec: FaultSpec,
}

/// The faults in force, oldest first.
#[derive(Debug)]
pub(crate) struct Faults {
    active: Vec<ActiveFault>,
    next_id: u64,
    chance: StdRng,
}

impl Faults {
    /// Returns an empty list whose chance comes from `seed`.
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            active: Vec::new(),
            next_id: 0,
            chance: StdRng::seed_from_u64(seed),
        }
    }

    /// Puts things in an order of chance.
    pub(crate) fn shuffle<T>(&mut self, things: &mut [T]) {
        things.shuffle(&mut self.chance);
    }

    /// Puts a fault in force.
    pub(crate) fn add(&mut self, spec: FaultSpec) -> FaultId {
        let id = FaultId(self.next_id);
        self.next_id += 1;
        self.active.push(ActiveFault { id, spec });
        id
    }

    /// Ends a fault; false if it was not in force.
    pub(crate) fn remove(&mut self, id: FaultId) -> bool {
        let before = self.active.len();
        self.active.retain(|active| active.id != id);
        self.active.len() != before
    }

    /// Ends all faults.
    pub(crate) fn clear(&mut self) {
        self.active.clear();
    }

    /// Ends every fault that matches.
    pub(crate) fn remove_matching(&mut self, matches: impl Fn(&Fault) -> bool) {
        self.active.retain(|active| !matches(&active.spec.fault));
    }

    /// Returns what is in force.
    pub(crate) fn list(&self) -> &[ActiveFault] {
        &self.active
    }

    /// Returns the oldest fault on this channel for which `read` has a value, without using it up.
    pub(crate) fn peek<T>(
        &self,
        channel: Channel,
        read: impl Fn(&Fault) -> Option<T>,
    ) -> Option<T> {
        self.active
            .iter()
            .filter(|active| active.spec.channel.is_none_or(|only| only == channel))
            .find_map(|active| read(&active.spec.fault))
    }

    /// Like [`Self::peek`], and counts one use of that fault. A fault that happens by chance is
    /// passed over if it does not.
    pub(crate) fn take<T>(
        &mut self,
        channel: Channel,
        read: impl Fn(&Fault) -> Option<T>,
    ) -> Option<T> {
        let chance = &mut self.chance;
        let (position, value) = self
            .active
            .iter()
            .enumerate()
            .filter(|(_, active)| active.spec.channel.is_none_or(|only| only == channel))
            .find_map(|(position, active)| {
                let value = read(&active.spec.fault)?;
                let happens = active
                    .spec
                    .per_thousand
                    .is_none_or(|share| chance.random_range(0..1_000) < share);
                happens.then_some((position, value))
            })?;
        if let Some(times) = self.active[position].spec.times.as_mut() {
            *times = times.saturating_sub(1);
            if *times == 0 {
                self.active.remove(position);
            }
        }
        Some(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(fault: &Fault) -> Option<i64> {
        match fault {
            Fault::GraphError { code } => Some(*code),
            _ => None,
        }
    }

    #[test]
    fn a_counted_fault_ends_after_its_last_use() {
        let mut faults = Faults::new(0);
        faults.add(FaultSpec::from(Fault::GraphError { code: 131_000 }).times(2));
        assert_eq!(faults.take(Channel::Whatsapp, code), Some(131_000));
        assert_eq!(faults.peek(Channel::Whatsapp, code), Some(131_000));
        assert_eq!(faults.take(Channel::Whatsapp, code), Some(131_000));
        assert_eq!(faults.take(Channel::Whatsapp, code), None);
    }

    #[test]
    fn a_fault_of_chance_happens_as_often_as_it_says_and_the_same_by_the_same_seed() {
        let hits = |seed| {
            let mut faults = Faults::new(seed);
            faults.add(FaultSpec::from(Fault::GraphError { code: 1 }).per_thousand(20));
            (0..10_000)
                .filter(|_| faults.take(Channel::Whatsapp, code).is_some())
                .collect::<Vec<u32>>()
        };
        assert_eq!(hits(7), hits(7));
        assert_ne!(hits(7), hits(8));
        assert!((150..250).contains(&hits(7).len()), "{}", hits(7).len());
    }

    #[test]
    fn a_fault_that_does_not_happen_by_chance_leaves_room_for_the_next() {
        let mut faults = Faults::new(0);
        faults.add(FaultSpec::from(Fault::GraphError { code: 1 }).per_thousand(0));
        faults.add(Fault::GraphError { code: 2 }.into());
        assert_eq!(faults.take(Channel::Whatsapp, code), Some(2));
    }

    #[test]
    fn a_fault_of_one_channel_leaves_the_other_alone() {
        let mut faults = Faults::new(0);
        faults.add(FaultSpec::from(Fault::GraphError { code: 1 }).on(Channel::Sms));
        assert_eq!(faults.take(Channel::Whatsapp, code), None);
        assert_eq!(faults.take(Channel::Sms, code), Some(1));
    }

    #[test]
    fn faults_read_as_they_are_written_on_the_command_line() {
        let spec: FaultSpec =
            serde_json::from_str(r#"{"fault":{"delay_response":{"by":"2s"}},"times":3}"#).unwrap();
        assert_eq!(
            spec.fault,
            Fault::DelayResponse {
                by: SignedDuration::from_secs(2)
            }
        );
        let spec: FaultSpec = serde_json::from_str(r#"{"fault":"hold_statuses"}"#).unwrap();
        assert_eq!(spec, FaultSpec::from(Fault::HoldStatuses));
    }
}
