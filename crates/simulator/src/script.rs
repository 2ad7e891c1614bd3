//! Scripted customers: steps that are played one after the other against a running simulator.
//!
//! A script says what customers do and what they wait for. It checks nothing but that the awaited
//! message came; claims about a system belong into tests.

use std::collections::HashMap;

use jiff::SignedDuration;
use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::faults::FaultSpec;
use crate::handle::Handle;
use crate::media::MediaSpec;
use crate::records::{Channel, CustomerId, CustomerSpec, SentMessage};
use crate::shared::pause;

/// How many steps a script may have.
pub const SCRIPT_STEPS_MAX: usize = 10_000;

/// Customers and what they do.
///
/// ```
/// let script: casement_simulator::Script = toml::from_str(r#"
///     [[customers]]
///     name = "Ana"
///     phone = "+15550001111"
///
///     [[steps]]
///     say = { customer = "+15550001111", phone_number_id = "106540352242922", text = "Hello" }
///     [[steps]]
///     expect = { customer = "+15550001111", within = "5s", reply = { after = "1s", text = "Thanks" } }
///     [[steps]]
///     wait = "2s"
/// "#).unwrap();
/// assert_eq!(script.steps.len(), 3);
/// ```
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Script {
    /// Put into the books before the first step.
    #[serde(default)]
    pub customers: Vec<CustomerSpec>,
    /// Played in order.
    pub steps: Vec<Step>,
}

/// One step of a script.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Step {
    /// Lets time pass.
    Wait(SignedDuration),
    /// A customer writes on WhatsApp.
    Say {
        /// Who, by id, phone or BSUID.
        customer: CustomerId,
        /// To which number.
        phone_number_id: String,
        /// What.
        text: String,
    },
    /// A customer sends a file.
    SendMedia(MediaSpec),
    /// A customer waits for a message that no earlier step has waited for, and may answer it on
    /// the channel it came by.
    Expect {
        /// Who, by id, phone or BSUID.
        customer: CustomerId,
        /// For how long.
        within: SignedDuration,
        /// Only by this channel.
        #[serde(default)]
        channel: Option<Channel>,
        /// Only with these words in it.
        #[serde(default)]
        contains: Option<String>,
        /// The answer.
        #[serde(default)]
        reply: Option<Reply>,
    },
    /// Something begins to go wrong.
    Inject(FaultSpec),
    /// Everything goes right again.
    ClearFaults,
}

/// A customer's answer.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Reply {
    /// How long after the message.
    #[serde(default)]
    pub after: SignedDuration,
    /// What.
    pub text: String,
}

/// A step that was played.
#[derive(Clone, Debug)]
pub struct Played<'a> {
    /// Its place, from 0.
    pub index: usize,
    /// What it was.
    pub step: &'a Step,
    /// The message an expectation was met by.
    pub received: Option<SentMessage>,
}

/// Why a script ended early.
#[derive(Debug, thiserror::Error)]
pub enum ScriptError {
    /// The script is longer than [`SCRIPT_STEPS_MAX`].
    #[error("the script has more than {SCRIPT_STEPS_MAX} steps")]
    TooLong,
    /// A customer cannot be put into the books.
    #[error("customer {index} cannot be added")]
    Customer {
        /// Its place, from 0.
        index: usize,
        /// Why.
        #[source]
        source: Error,
    },
    /// A step cannot be played.
    #[error("step {index} cannot be played: {source}")]
    Step {
        /// Its place, from 0.
        index: usize,
        /// Why.
        #[source]
        source: Error,
    },
    /// The awaited message did not come.
    #[error("step {index}: no message within {within:#}")]
    NothingCame {
        /// Its place, from 0.
        index: usize,
        /// How long the customer waited.
        within: SignedDuration,
    },
}

impl Script {
    /// Plays the script to its end, telling each step once it is over.
    pub async fn run(
        &self,
        handle: &Handle,
        mut tell: impl FnMut(Played<'_>),
    ) -> Result<(), ScriptError> {
        if self.steps.len() > SCRIPT_STEPS_MAX {
            return Err(ScriptError::TooLong);
        }
        for (index, customer) in self.customers.iter().enumerate() {
            handle
                .put_customer(customer.clone())
                .map_err(|source| ScriptError::Customer { index, source })?;
        }
        let mut cast = Cast {
            began_at_seq: handle.sent_count(),
            next_seqs: HashMap::new(),
        };
        for (index, step) in self.steps.iter().enumerate() {
            let received = cast.play(handle, index, step).await?;
            tell(Played {
                index,
                step,
                received,
            });
        }
        Ok(())
    }
}

/// What each customer has seen.
struct Cast {
    began_at_seq: u64,
    next_seqs: HashMap<CustomerId, u64>,
}

impl Cast {
    async fn play(
        &mut self,
        handle: &Handle,
        index: usize,
        step: &Step,
    ) -> Result<Option<SentMessage>, ScriptError> {
        let failed = |source| ScriptError::Step { index, source };
        match step {
            Step::Wait(time) => tokio::time::sleep(pause(*time)).await,
            Step::Say {
                customer,
                phone_number_id,
                text,
            } => {
                handle
                    .says(customer, phone_number_id, text)
                    .map_err(failed)?;
            }
            Step::SendMedia(spec) => {
                handle.sends_media(spec).map_err(failed)?;
            }
            Step::Expect {
                customer,
                within,
                channel,
                contains,
                reply,
            } => {
                let customer = resolve(handle, customer).map_err(failed)?;
                let next_seq = self
                    .next_seqs
                    .entry(customer.clone())
                    .or_insert(self.began_at_seq);
                let received = handle
                    .until_sent(*next_seq, pause(*within), |message| {
                        message.is_accepted()
                            && message.customer.as_ref() == Some(&customer)
                            && channel.is_none_or(|channel| message.channel == channel)
                            && contains
                                .as_ref()
                                .is_none_or(|words| message.text.contains(words.as_str()))
                    })
                    .await
                    .ok_or(ScriptError::NothingCame {
                        index,
                        within: *within,
                    })?;
                *next_seq = received.seq + 1;
                if let Some(reply) = reply {
                    tokio::time::sleep(pause(reply.after)).await;
                    answer(handle, &customer, &received, &reply.text).map_err(failed)?;
                }
                return Ok(Some(received));
            }
            Step::Inject(spec) => {
                handle.inject(spec.clone());
            }
            Step::ClearFaults => handle.clear_faults(),
        }
        Ok(None)
    }
}

fn answer(
    handle: &Handle,
    customer: &CustomerId,
    received: &SentMessage,
    text: &str,
) -> Result<(), Error> {
    match received.channel {
        Channel::Whatsapp => handle.says(customer, &received.from, text)?,
        Channel::Sms | Channel::Vonage | Channel::Generic => {
            let phone = received.to.as_deref().unwrap_or_default();
            handle.texts_by(received.channel, phone, &received.from, text)?
        }
    };
    Ok(())
}

fn resolve(handle: &Handle, customer: &CustomerId) -> Result<CustomerId, Error> {
    handle.shared().look(|state| {
        state
            .books
            .customer(customer.as_str())
            .map(|customer| customer.id.clone())
            .ok_or(Error::UnknownCustomer)
    })
}
