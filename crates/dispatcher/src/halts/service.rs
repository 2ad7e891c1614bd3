//! Pausing, resuming and listing, for callers: who may, what for, and how many wait.

use std::collections::HashSet;

use casement_domain::halt::set;
use casement_domain::halt::{Cause, Channels, End, Halt, Known, Order, Scope, Target, Traffic};
use casement_domain::id::BusinessNumber;
use casement_event::convert::halt::{Details, halt_id, read, stored};
use casement_event::convert::instant;
use casement_event::v1;
use casement_event_log::AppendError;
use casement_proto::message::v1 as api;
use casement_shell::auth::{ALL_BRANDS, Caller};
use casement_shell::grpc::{bad_field, refuse};
use jiff::Timestamp;
use tonic::{Code, Status};

use super::{HaltError, Lifting, ROUNDS_MAX, orders, pause_of_account};
use crate::answers::unavailable;
use crate::grpc::Messages;

/// How long the words of a reason may be.
const REASON_CHARS_MAX: usize = 500;

impl Messages {
    /// Stops sending for a target, until somebody resumes or a time has come.
    pub(crate) async fn pause(
        &self,
        caller: &Caller,
        asked: api::PauseSendsRequest,
    ) -> Result<api::PauseSendsResponse, Status> {
        let halts = &self.engine.halts;
        let now = self.engine.clock.now();
        let asked_target = asked.target.unwrap_or_default();
        let (target, brand) = self.target(caller, asked_target.target).await?;
        let reason = reason(asked.reason)?;
        let until = instant("until_time", asked.until_time.as_ref())
            .map_err(|error| bad_field("until_time", error.to_string()))?;
        if until.is_some_and(|until| until <= now) {
            return Err(bad_field("until_time", "has passed"));
        }
        let order = Order {
            // One template says nothing about the other routes of its messages.
            may_go_elsewhere: target.scope == Scope::Template,
            target,
            traffic: Traffic::Everything,
            channels: Channels::Every,
            cause: Cause::ByHand { reason },
            end: End::Open,
            met_at: now,
        };
        let details = Details {
            brand,
            caller: caller.name.clone(),
            ..Details::default()
        };
        let id = halt_id(&order.target, &order.cause);
        // What was paused elsewhere a moment ago counts here, too.
        halts.prove().await.map_err(|error| unavailable(&error))?;
        for _ in 0..ROUNDS_MAX {
            let known = self.engine.directory.halts().get(&id).cloned();
            let standing = known.as_ref().and_then(|known| match &known.known {
                Known::Set(halt) if halt.is_in_force(now) => Some(halt),
                _ => None,
            });
            let fresh = set(None, &order, 0, now);
            let Some(halt) = fresh.map(|halt| Halt {
                until,
                since: standing.map_or(now, |standing| standing.since),
                ..halt
            }) else {
                break;
            };
            if let (Some(known), Some(standing)) = (&known, standing)
                && *standing == halt
            {
                let position = self.halt_position(known.sequence);
                let halt = Some(self.standing(known.stored.clone()));
                return Ok(api::PauseSendsResponse { halt, position });
            }
            let sequence = known.map_or(0, |known| known.sequence);
            match halts.append(&halt, &details, sequence, now).await {
                Ok(position) => {
                    let halt = Some(self.standing(stored(&halt, &details)));
                    let position = position.to_string();
                    return Ok(api::PauseSendsResponse { halt, position });
                }
                Err(HaltError::Append(AppendError::Conflict { .. })) => halts
                    .catch_up()
                    .await
                    .map_err(|error| unavailable(&error))?,
                Err(error) => return Err(unavailable(&error)),
            }
        }
        Err(unavailable(&HaltError::Contended))
    }

    /// Lifts what stands for a target, or one halt.
    pub(crate) async fn resume(
        &self,
        caller: &Caller,
        asked: api::ResumeSendsRequest,
    ) -> Result<api::ResumeSendsResponse, Status> {
        use api::resume_sends_request::What;
        let halts = &self.engine.halts;
        let now = self.engine.clock.now();
        let reason = reason(asked.reason)?;
        halts.prove().await.map_err(|error| unavailable(&error))?;
        let standing = halts
            .standing(now)
            .into_iter()
            .map(|(_, known)| known.stored);
        let meant: Vec<v1::Halt> = match asked.what {
            None => return Err(bad_field("what", "is required")),
            Some(What::HaltId(id)) => {
                let meant: Vec<_> = standing.filter(|halt| halt.halt_id == id).collect();
                let is_visible = meant.iter().any(|halt| self.sees(caller, halt));
                if !is_visible {
                    return Err(refuse(
                        Code::NotFound,
                        "HALT_UNKNOWN",
                        "no halt of this id stands: ask ListHalts",
                    ));
                }
                meant
            }
            Some(What::Target(target)) => {
                let (target, _) = self.target(caller, target.target).await?;
                halts.forget(&target);
                let account = BusinessNumber::parse(&target.key)
                    .ok()
                    .filter(|_| target.scope == Scope::Number)
                    .and_then(|number| self.engine.directory.number(&number));
                if account.is_some_and(|account| account.paused) {
                    return Err(refuse(
                        Code::FailedPrecondition,
                        "PAUSED_BY_ACCOUNT",
                        "the number's account pauses it: AccountService.ResumeNumber ends that",
                    ));
                }
                standing
                    .filter(|halt| read(halt).is_ok_and(|halt| halt.target == target))
                    .collect()
            }
        };
        if !meant.iter().all(|halt| self.may_lift(caller, halt)) {
            return Err(shared());
        }
        let lifting = Lifting {
            lift: v1::HaltLift::ByHand,
            caller: &caller.name,
            reason: &reason,
        };
        let mut answer = api::ResumeSendsResponse::default();
        for halt in meant {
            let lifted = halts
                .lift(&halt.halt_id, &lifting, now)
                .await
                .map_err(|error| unavailable(&error))?;
            if let Some((halt, position)) = lifted {
                answer.halts.push(self.standing(halt));
                answer.position = position.to_string();
            }
        }
        Ok(answer)
    }

    /// Returns what stands and the caller may see.
    pub(crate) async fn list(&self, caller: &Caller) -> Result<api::ListHaltsResponse, Status> {
        let engine = &self.engine;
        let proven = engine.halts.prove().await;
        proven.map_err(|error| unavailable(&error))?;
        let now = engine.clock.now();
        let set = engine.halts.standing(now).into_iter();
        let by_account = engine
            .directory
            .numbers()
            .into_iter()
            .filter_map(|account| {
                let (id, halt) = pause_of_account(&account)?;
                Some(v1::Halt {
                    halt_id: id,
                    brand_id: account.brand_id.clone(),
                    since_time: None,
                    ..stored(&halt, &Details::default())
                })
            });
        let mut standing: Vec<v1::Halt> = set
            .map(|(_, known)| known.stored)
            .chain(by_account)
            .filter(|halt| self.sees(caller, halt))
            .map(|halt| discreet(caller, halt))
            .collect();
        standing.sort_by(|one, other| {
            let key = |halt: &v1::Halt| (halt.scope, halt.key.clone(), halt.halt_id.clone());
            key(one).cmp(&key(other))
        });
        let halts = standing.into_iter().map(|halt| self.standing(halt));
        Ok(api::ListHaltsResponse {
            halts: halts.collect(),
        })
    }

    /// Returns what a caller means, and whose it is, if the caller may stop it.
    pub(crate) async fn target(
        &self,
        caller: &Caller,
        asked: Option<api::halt_target::Target>,
    ) -> Result<(Target, String), Status> {
        use api::halt_target::Target as Asked;
        match asked {
            None => Err(bad_field("target", "is required")),
            Some(Asked::BrandId(brand)) => {
                let directory = &self.engine.directory;
                let is_known = directory.brand(&brand).is_some()
                    || directory.numbers().iter().any(|one| one.brand_id == brand);
                if !is_known || !caller.acts_for(&brand) {
                    let text = "no account has this brand";
                    return Err(refuse(Code::NotFound, "BRAND_UNKNOWN", text));
                }
                Ok((Target::new(Scope::Brand, &brand), brand))
            }
            Some(Asked::Number(number)) => {
                let number = BusinessNumber::parse(&number)
                    .map_err(|error| bad_field("target.number", error.to_string()))?;
                let account = self.account(caller, &number).await?;
                let target = Target::new(Scope::Number, number.digits());
                Ok((target, account.brand_id))
            }
            Some(Asked::Template(template)) => {
                if template.name.is_empty() || template.name.contains('/') {
                    return Err(bad_field("target.template.name", "is no template's name"));
                }
                let target =
                    Target::template(&template.waba_id, &template.name, &template.language);
                let accounts = self.reached(&target);
                let ours = |account: &&v1::Number| caller.acts_for(&account.brand_id);
                let Some(first) = accounts.iter().find(ours) else {
                    let text = "no number has this business account";
                    return Err(refuse(Code::NotFound, "WABA_UNKNOWN", text));
                };
                if !accounts.iter().all(|account| ours(&account)) {
                    return Err(shared());
                }
                Ok((target, first.brand_id.clone()))
            }
            Some(Asked::Label(label)) => {
                let brand = match (label.brand_id.as_str(), caller.brand.as_str()) {
                    ("", ALL_BRANDS) => {
                        let text = "is required of a token that acts for every brand";
                        return Err(bad_field("target.label.brand_id", text));
                    }
                    ("", own) => own,
                    (named, _) if caller.acts_for(named) => named,
                    _ => {
                        let text = "no account has this brand";
                        return Err(refuse(Code::NotFound, "BRAND_UNKNOWN", text));
                    }
                };
                if label.key.is_empty() {
                    return Err(bad_field("target.label.key", "is required"));
                }
                let target = Target::label(brand, &label.key, &label.value);
                Ok((target, brand.to_owned()))
            }
        }
    }

    /// Returns the numbers whose messages a target can stop.
    fn reached(&self, target: &Target) -> Vec<v1::Number> {
        let numbers = self.engine.directory.numbers().into_iter();
        let senders = self.engine.caller.sms.senders();
        numbers
            .filter(|account| orders::reaches(target, account, senders))
            .collect()
    }

    /// A halt is seen by whoever it stops, and by whoever set it.
    fn sees(&self, caller: &Caller, halt: &v1::Halt) -> bool {
        let Ok(known) = read_any(halt) else {
            return false;
        };
        caller.acts_for(&halt.brand_id)
            || self
                .reached(&known)
                .iter()
                .any(|account| caller.acts_for(&account.brand_id))
    }

    /// A halt is lifted by whoever acts for all whom it stops.
    fn may_lift(&self, caller: &Caller, halt: &v1::Halt) -> bool {
        let Ok(known) = read_any(halt) else {
            return false;
        };
        let reached = self.reached(&known);
        if reached.is_empty() {
            return caller.acts_for(&halt.brand_id);
        }
        reached
            .iter()
            .all(|account| caller.acts_for(&account.brand_id))
    }

    /// Adds how many messages wait.
    fn standing(&self, halt: v1::Halt) -> api::StandingHalt {
        let reached: HashSet<String> = read_any(&halt)
            .map(|target| self.reached(&target))
            .unwrap_or_default()
            .into_iter()
            .map(|account| account.number)
            .collect();
        let waiting = self
            .book
            .waiting_of(|number| reached.contains(number.digits()));
        let deferred = self.book.deferred_for(&halt.halt_id);
        api::StandingHalt {
            halt: Some(halt),
            deferred_message_count: u64::try_from(deferred).unwrap_or(u64::MAX),
            waiting_message_count: u64::try_from(waiting).unwrap_or(u64::MAX),
        }
    }

    fn halt_position(&self, sequence: u64) -> String {
        let stream = casement_event::subject::stream::ACCOUNTS;
        casement_event_log::Position {
            stream: stream.to_owned(),
            incarnation: self.engine.log.incarnation(stream),
            sequence,
        }
        .to_string()
    }
}

/// The target alone: the pause of an account has no time.
fn read_any(halt: &v1::Halt) -> Result<Target, casement_event::convert::ConvertError> {
    let since_time = halt
        .since_time
        .or_else(|| Some(casement_event::convert::timestamp(Timestamp::UNIX_EPOCH)));
    let halt = v1::Halt {
        since_time,
        ..halt.clone()
    };
    read(&halt).map(|halt| halt.target)
}

/// Another brand's message is nobody's business, though it met the halt that both have.
fn discreet(caller: &Caller, halt: v1::Halt) -> v1::Halt {
    if caller.acts_for(&halt.brand_id) {
        return halt;
    }
    v1::Halt {
        brand_id: String::new(),
        message_id: String::new(),
        attempt: 0,
        ..halt
    }
}

fn shared() -> Status {
    let text = "other brands' numbers are concerned, too: a token that acts for them is needed";
    refuse(Code::PermissionDenied, "ANOTHER_BRAND", text)
}

fn reason(asked: String) -> Result<String, Status> {
    if asked.chars().count() > REASON_CHARS_MAX {
        let text = format!("has more than {REASON_CHARS_MAX} characters");
        return Err(bad_field("reason", text));
    }
    Ok(asked)
}
