//! Halts, to and from what is stored.

use casement_domain::halt::{Cause, Channels, Halt, Known, Scope, Target, Traffic};
use casement_proto::events::v1;
use jiff::Timestamp;

use super::{ConvertError, instant, required_instant, timestamp};
use crate::record::Extension;
use crate::{Event, Record, id, subject};

const SOURCE: &str = "casement/dispatcher";

/// What a stored halt carries besides what the rules need.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Details {
    /// The brand that it was set for, or whose message met it.
    pub brand: String,
    /// By hand: who.
    pub caller: String,
    /// By the platform: what it said.
    pub error: Option<v1::ProviderError>,
    /// The message that met it.
    pub message_id: String,
    /// Its attempt.
    pub attempt: u32,
    /// Tells the refused token from another one in the same place.
    pub token_fingerprint: String,
}

/// Returns the id of a halt: there is one for each target and cause, but whatever is wrong with a
/// gateway is one: the call that shows whether it is over shows that for all of it.
pub fn halt_id(target: &Target, cause: &Cause) -> String {
    let cause = match (target.scope, cause) {
        (Scope::Gateway, Cause::Code { .. }) => "code".to_owned(),
        _ => cause.key(),
    };
    id::halt(target.scope.as_str(), &target.key, &cause).to_string()
}

/// Returns a scope as stored; a pair's halt never is.
pub fn scope(of: Scope) -> v1::HaltScope {
    match of {
        Scope::Brand => v1::HaltScope::Brand,
        Scope::Portfolio => v1::HaltScope::Portfolio,
        Scope::Waba => v1::HaltScope::Waba,
        Scope::Token => v1::HaltScope::Token,
        Scope::Number => v1::HaltScope::Number,
        Scope::Template => v1::HaltScope::Template,
        Scope::Label => v1::HaltScope::Label,
        Scope::Gateway => v1::HaltScope::Gateway,
        Scope::Pair => v1::HaltScope::Unspecified,
    }
}

fn read_scope(stored: v1::HaltScope) -> Option<Scope> {
    match stored {
        v1::HaltScope::Brand => Some(Scope::Brand),
        v1::HaltScope::Portfolio => Some(Scope::Portfolio),
        v1::HaltScope::Waba => Some(Scope::Waba),
        v1::HaltScope::Token => Some(Scope::Token),
        v1::HaltScope::Number => Some(Scope::Number),
        v1::HaltScope::Template => Some(Scope::Template),
        v1::HaltScope::Label => Some(Scope::Label),
        v1::HaltScope::Gateway => Some(Scope::Gateway),
        v1::HaltScope::Unspecified => None,
    }
}

/// Returns a halt as stored.
pub fn stored(halt: &Halt, details: &Details) -> v1::Halt {
    let traffic = match halt.traffic {
        Traffic::Everything => v1::HaltTraffic::Everything,
        Traffic::Marketing => v1::HaltTraffic::Marketing,
        Traffic::Templates => v1::HaltTraffic::Templates,
    };
    let (reason, error) = match &halt.cause {
        Cause::ByHand { reason } => (reason.clone(), None),
        Cause::Code { code, meaning } => {
            let said = details.error.clone().unwrap_or_default();
            let error = v1::ProviderError {
                code: *code,
                title: meaning.clone(),
                ..said
            };
            (String::new(), Some(error))
        }
    };
    v1::Halt {
        halt_id: halt_id(&halt.target, &halt.cause),
        scope: scope(halt.target.scope).into(),
        key: halt.target.key.clone(),
        brand_id: details.brand.clone(),
        traffic: traffic.into(),
        every_channel: halt.channels == Channels::Every,
        may_go_elsewhere: halt.may_go_elsewhere,
        caller: details.caller.clone(),
        reason,
        error,
        message_id: details.message_id.clone(),
        attempt: details.attempt,
        since_time: Some(timestamp(halt.since)),
        until_time: halt.until.map(timestamp),
        probe_time: halt.probe_at.map(timestamp),
        renewals: halt.renewals,
        token_fingerprint: details.token_fingerprint.clone(),
    }
}

/// Reads a halt. One of a scope that only a newer version knows is not usable.
pub fn read(stored: &v1::Halt) -> Result<Halt, ConvertError> {
    let scope = read_scope(stored.scope()).ok_or(ConvertError::Absent("scope"))?;
    Ok(Halt {
        target: Target::new(scope, &stored.key),
        traffic: match stored.traffic() {
            v1::HaltTraffic::Marketing => Traffic::Marketing,
            v1::HaltTraffic::Templates => Traffic::Templates,
            // What is not understood stops more rather than less.
            v1::HaltTraffic::Everything | v1::HaltTraffic::Unspecified => Traffic::Everything,
        },
        channels: if stored.every_channel {
            Channels::Every
        } else {
            Channels::Whatsapp
        },
        may_go_elsewhere: stored.may_go_elsewhere,
        cause: match &stored.error {
            Some(error) => Cause::Code {
                code: error.code,
                meaning: error.title.clone(),
            },
            None => Cause::ByHand {
                reason: stored.reason.clone(),
            },
        },
        since: required_instant("since_time", stored.since_time.as_ref())?,
        until: instant("until_time", stored.until_time.as_ref())?,
        probe_at: instant("probe_time", stored.probe_time.as_ref())?,
        renewals: stored.renewals,
    })
}

/// Reads what happened to a halt; `None` if the event is of another family.
pub fn read_event(event: &Event) -> Result<Option<Known>, ConvertError> {
    match event {
        Event::SendsHalted(event) => {
            let halt = event.halt.as_ref().ok_or(ConvertError::Absent("halt"))?;
            Ok(Some(Known::Set(read(halt)?)))
        }
        Event::SendsResumed(event) => {
            let at = required_instant("time", event.time.as_ref())?;
            Ok(Some(Known::Lifted { at }))
        }
        _ => Ok(None),
    }
}

/// Returns the record of a halt that is set or renewed.
pub fn halted(halt: &v1::Halt, now: Timestamp) -> Record {
    let event = v1::SendsHalted {
        halt: Some(halt.clone()),
        time: Some(timestamp(now)),
    };
    record(halt, event.into(), "HALTED", now)
}

/// Returns the record of a halt that is lifted.
pub fn resumed(event: v1::SendsResumed, now: Timestamp) -> Record {
    let halt = event.halt.clone().unwrap_or_default();
    record(&halt, event.into(), "RESUMED", now)
}

fn record(halt: &v1::Halt, event: Event, state: &str, now: Timestamp) -> Record {
    let word = read_scope(halt.scope()).map_or("UNKNOWN", Scope::as_str);
    let subject = subject::halt(word, &halt.halt_id);
    let id = id::halt_event(&halt.halt_id, event.event_type(), now);
    let number = if halt.scope() == v1::HaltScope::Number {
        halt.key.as_str()
    } else {
        ""
    };
    Record::new(subject, id, SOURCE, now, event)
        .about(&halt.halt_id)
        .with(Extension::Brand, &halt.brand_id)
        .with(Extension::Number, number)
        .with(Extension::State, state)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn halts() -> Vec<Halt> {
        let by_hand = Cause::ByHand {
            reason: "wrong prices".to_owned(),
        };
        let code = Cause::Code {
            code: 131_042,
            meaning: "no payment".to_owned(),
        };
        let mut halts = Vec::new();
        for scope in Scope::ALL {
            for (cause, traffic, channels) in [
                (&by_hand, Traffic::Everything, Channels::Every),
                (&code, Traffic::Marketing, Channels::Whatsapp),
                (&code, Traffic::Templates, Channels::Whatsapp),
            ] {
                halts.push(Halt {
                    target: Target::new(scope, "k"),
                    traffic,
                    channels,
                    may_go_elsewhere: channels == Channels::Whatsapp,
                    cause: cause.clone(),
                    since: at(1),
                    until: Some(at(2)),
                    probe_at: None,
                    renewals: 3,
                });
            }
        }
        halts
    }

    #[test]
    fn every_halt_but_a_pairs_reads_back_as_it_was_written() {
        for halt in halts() {
            let record = halted(&stored(&halt, &Details::default()), at(5));
            let known = read_event(&record.event);
            if halt.target.scope == Scope::Pair {
                assert!(known.is_err());
            } else {
                assert_eq!(known, Ok(Some(Known::Set(halt))));
            }
        }
    }

    #[test]
    fn a_subject_tells_the_scope_and_nothing_of_the_label() {
        let target = Target::label("b", "order", "Ana 15550002222");
        let halt = Halt {
            target,
            ..halts().remove(0)
        };
        let record = halted(&stored(&halt, &Details::default()), at(5));
        assert!(record.subject.starts_with("casement.accounts.halt.label."));
        assert!(!record.subject.contains("1555"), "{}", record.subject);
        for (name, value) in record.headers() {
            assert!(!value.contains("1555"), "{name}: {value}");
        }
    }

    #[test]
    fn a_pause_and_an_error_of_one_target_are_two_halts() {
        let ids: std::collections::BTreeSet<String> = halts()
            .iter()
            .map(|halt| halt_id(&halt.target, &halt.cause))
            .collect();
        // Of the three of each scope, two are of one code.
        assert_eq!(ids.len(), 2 * Scope::ALL.len());
    }

    #[test]
    fn a_lift_reads_as_one() {
        let halt = stored(&halts()[0], &Details::default());
        let event = v1::SendsResumed {
            halt: Some(halt.clone()),
            time: Some(timestamp(at(9))),
            lift: v1::HaltLift::ByHand.into(),
            ..v1::SendsResumed::default()
        };
        let record = resumed(event, at(9));
        assert_eq!(record.subject, halted(&halt, at(5)).subject);
        assert_eq!(
            read_event(&record.event),
            Ok(Some(Known::Lifted { at: at(9) }))
        );
    }
}
