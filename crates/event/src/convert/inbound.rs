//! The customer's facts: summaries, addresses, and where they stand in each event.

use casement_domain::id::{CustomerId, Phone};
use casement_domain::inbound::{
    Addresses, AsOf, Kind, POLICY_VERSION, Qualifying, Recent, Rule, Summary, ThreadOwner, rule,
    rule_of,
};
use casement_domain::window::Evidence;
use casement_proto::events::v1;
use jiff::Timestamp;
use uuid::Uuid;

use super::window::{evidence, read_evidence_summary};
use super::{ConvertError, instant, required_instant, timestamp};
use crate::{Event, id};

/// Returns addresses as stored.
pub fn addresses(of: &Addresses) -> v1::Addresses {
    v1::Addresses {
        phone: of
            .phone
            .as_ref()
            .map(|phone| phone.digits().to_owned())
            .unwrap_or_default(),
        user_id: of.user_id.clone().unwrap_or_default(),
        parent_user_id: of.parent_user_id.clone().unwrap_or_default(),
    }
}

/// Reads addresses; empty fields are unknown ones.
pub fn read_addresses(stored: &v1::Addresses) -> Result<Addresses, ConvertError> {
    let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    Ok(Addresses {
        phone: some(&stored.phone)
            .map(|text| Phone::parse(&text))
            .transpose()?,
        user_id: some(&stored.user_id),
        parent_user_id: some(&stored.parent_user_id),
    })
}

/// Returns a thread owner as stored.
pub fn thread_owner(of: Option<ThreadOwner>) -> v1::ThreadOwner {
    match of {
        None => v1::ThreadOwner::Unspecified,
        Some(ThreadOwner::Us) => v1::ThreadOwner::Us,
        Some(ThreadOwner::Other) => v1::ThreadOwner::Other,
        Some(ThreadOwner::Idle) => v1::ThreadOwner::Idle,
    }
}

/// Reads a thread owner.
pub fn read_thread_owner(stored: v1::ThreadOwner) -> Option<ThreadOwner> {
    match stored {
        v1::ThreadOwner::Unspecified => None,
        v1::ThreadOwner::Us => Some(ThreadOwner::Us),
        v1::ThreadOwner::Other => Some(ThreadOwner::Other),
        v1::ThreadOwner::Idle => Some(ThreadOwner::Idle),
    }
}

/// Returns a summary as stored.
pub fn summary(of: &Summary) -> v1::InboundSummary {
    let last = of.last_qualifying.as_ref();
    v1::InboundSummary {
        last_qualifying_time: last.map(|last| timestamp(last.at)),
        last_qualifying_fact_id: last.map(|last| last.fact.to_string()).unwrap_or_default(),
        last_qualifying_received_time: last.map(|last| timestamp(last.received_at)),
        last_qualifying_provider_id: last
            .map(|last| last.provider_id.clone())
            .unwrap_or_default(),
        last_event_time: of.last_event_at.map(timestamp),
        policy_version: POLICY_VERSION,
        thread_owner: thread_owner(of.thread_owner.as_ref().map(|known| known.value)).into(),
        thread_owner_time: of.thread_owner.as_ref().map(|known| timestamp(known.at)),
        addresses: Some(addresses(&of.addresses())),
        phone_time: of.phone.as_ref().map(|known| timestamp(known.at)),
        user_id_time: of.user_id.as_ref().map(|known| timestamp(known.at)),
        parent_user_id_time: of.parent_user_id.as_ref().map(|known| timestamp(known.at)),
        stated_until_time: of.stated_until.map(timestamp),
        recent_qualifying_times: of.recent.times().iter().copied().map(timestamp).collect(),
        recent_since_time: of.recent.since().map(timestamp),
        answered_time: of.answered_at.map(timestamp),
        referred_time: of.referred_at.map(timestamp),
        user_id_changed_time: of.user_id_changed_at.map(timestamp),
        carried_evidence: (of.carried != Evidence::default()).then(|| evidence(of.carried)),
    }
}

/// Reads a summary.
pub fn read_summary(stored: &v1::InboundSummary) -> Result<Summary, ConvertError> {
    let qualifying_at = instant("last_qualifying_time", stored.last_qualifying_time.as_ref())?;
    let last_qualifying = match qualifying_at {
        None => None,
        Some(at) => Some(Qualifying {
            at,
            fact: read_fact("last_qualifying_fact_id", &stored.last_qualifying_fact_id)?,
            received_at: required_instant(
                "last_qualifying_received_time",
                stored.last_qualifying_received_time.as_ref(),
            )?,
            provider_id: stored.last_qualifying_provider_id.clone(),
        }),
    };
    let owner = read_thread_owner(stored.thread_owner());
    let known = read_addresses(&stored.addresses.clone().unwrap_or_default())?;
    let recent = read_recent(stored, qualifying_at)?;
    Ok(Summary {
        last_qualifying,
        recent,
        answered_at: instant("answered_time", stored.answered_time.as_ref())?,
        referred_at: instant("referred_time", stored.referred_time.as_ref())?,
        user_id_changed_at: instant("user_id_changed_time", stored.user_id_changed_time.as_ref())?,
        last_event_at: instant("last_event_time", stored.last_event_time.as_ref())?,
        thread_owner: as_of(
            "thread_owner_time",
            owner,
            stored.thread_owner_time.as_ref(),
        )?,
        phone: as_of("phone_time", known.phone, stored.phone_time.as_ref())?,
        user_id: as_of("user_id_time", known.user_id, stored.user_id_time.as_ref())?,
        parent_user_id: as_of(
            "parent_user_id_time",
            known.parent_user_id,
            stored.parent_user_id_time.as_ref(),
        )?,
        stated_until: instant("stated_until_time", stored.stated_until_time.as_ref())?,
        carried: read_evidence_summary(&stored.carried_evidence.unwrap_or_default())?,
    })
}

/// Reads the times of the newest qualifying facts. Of what was stored before they were kept, only
/// the newest is known.
fn read_recent(
    stored: &v1::InboundSummary,
    newest: Option<Timestamp>,
) -> Result<Recent, ConvertError> {
    let times = stored.recent_qualifying_times.iter();
    let times = times.map(|at| required_instant("recent_qualifying_times", Some(at)));
    let times = times.collect::<Result<Vec<_>, _>>()?;
    let since = instant("recent_since_time", stored.recent_since_time.as_ref())?;
    Ok(if times.is_empty() {
        Recent::new([], since.max(newest))
    } else {
        Recent::new(times, since)
    })
}

fn as_of<T>(
    field: &'static str,
    value: Option<T>,
    at: Option<&prost_types::Timestamp>,
) -> Result<Option<AsOf<T>>, ConvertError> {
    let Some(value) = value else { return Ok(None) };
    Ok(Some(AsOf {
        at: required_instant(field, at)?,
        value,
    }))
}

/// Reads a fact id from its UUID form.
pub(super) fn read_fact(
    field: &'static str,
    text: &str,
) -> Result<casement_domain::id::FactId, ConvertError> {
    Uuid::parse_str(text)
        .map(id::fact)
        .map_err(|error| ConvertError::Unusable {
            field,
            problem: error.to_string(),
        })
}

/// Returns the row of the policy that an event of the customer counts by; `None` if none applies.
///
/// Messages and calls name it; what was stored before they did is told by its type.
pub fn policy_rule(event: &Event) -> Option<&'static Rule> {
    match event {
        Event::InboundMessageReceived(event) => rule(&event.policy_rule)
            .or_else(|| rule("standby").filter(|_| event.field() == v1::InboundField::Standby))
            .or_else(|| rule(&event.kind))
            .or_else(|| rule("unsupported")),
        Event::InboundCallReceived(event) => rule(&event.policy_rule).or_else(|| {
            rule(match (event.qualifies, event.event.as_str()) {
                (false, _) => "call_progress",
                (true, "terminate") => "call_terminate",
                (true, "ACCEPTED") => "call_accepted",
                (true, _) => "call_connect",
            })
        }),
        Event::InboundSmsReceived(_) => Some(rule_of(Kind::Sms)),
        Event::CustomerIdentityChanged(_) => Some(rule_of(Kind::System)),
        Event::CustomerPreferenceReported(_) => Some(rule_of(Kind::Preference)),
        Event::ThreadOwnerChanged(_) => Some(rule_of(Kind::ThreadHandover)),
        Event::EchoReceived(_) => Some(rule_of(Kind::Echo)),
        Event::HistoryImported(_) => Some(rule_of(Kind::History)),
        _ => None,
    }
}

/// What the last message of a customer's inbound subject says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    /// The join of all facts up to it.
    pub summary: Summary,
    /// Set when this customer id has ended: go on at the survivor.
    pub moved_to: Option<Moved>,
}

/// The end of a customer id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Moved {
    /// The customer who carries on.
    pub survivor: CustomerId,
    /// When the two were found to be one.
    pub at: jiff::Timestamp,
}

/// Reads what the last message of an inbound subject says; `None` if the event is no fact
/// about a customer.
pub fn known(event: &Event) -> Result<Option<Known>, ConvertError> {
    let stored = match event {
        Event::InboundMessageReceived(event) => &event.summary,
        Event::InboundCallReceived(event) => &event.summary,
        Event::InboundSmsReceived(event) => &event.summary,
        Event::CustomerIdentityChanged(event) => &event.summary,
        Event::CustomerPreferenceReported(event) => &event.summary,
        Event::ThreadOwnerChanged(event) => &event.summary,
        Event::EchoReceived(event) => &event.summary,
        Event::HistoryImported(event) => &event.summary,
        Event::LateFact(event) => &event.summary,
        Event::MovedTo(event) => &event.summary,
        Event::CustomerMerged(event) => &event.summary,
        _ => return Ok(None),
    };
    let summary = read_summary(&stored.clone().unwrap_or_default())?;
    let moved_to = match event {
        Event::MovedTo(event) => {
            let times = event.times.unwrap_or_default();
            Some(Moved {
                survivor: CustomerId::parse(&event.survivor_customer_id)?,
                at: required_instant("event_time", times.event_time.as_ref())?,
            })
        }
        _ => None,
    };
    Ok(Some(Known { summary, moved_to }))
}

/// Returns when a fact happened that opens or refreshes the window by itself; `None` for all others.
///
/// # Errors
///
/// The time is absent or no time.
pub fn qualifying_time(event: &Event) -> Result<Option<Timestamp>, ConvertError> {
    let (qualifies, times) = match event {
        Event::InboundMessageReceived(event) => (event.qualifies, &event.times),
        Event::InboundCallReceived(event) => (event.qualifies, &event.times),
        _ => return Ok(None),
    };
    if !qualifies {
        return Ok(None);
    }
    let at = times.as_ref().and_then(|times| times.event_time.as_ref());
    required_instant("event_time", at).map(Some)
}

#[cfg(test)]
mod tests {
    use casement_domain::id::FactId;

    use super::*;

    #[test]
    fn each_fact_counts_by_its_row_also_if_it_was_stored_before_rows_had_names() {
        let message =
            |rule: &str, kind: &str, field: v1::InboundField| v1::InboundMessageReceived {
                policy_rule: rule.to_owned(),
                kind: kind.to_owned(),
                field: field.into(),
                ..v1::InboundMessageReceived::default()
            };
        let call = |qualifies, event: &str| v1::InboundCallReceived {
            qualifies,
            event: event.to_owned(),
            ..v1::InboundCallReceived::default()
        };
        let (own, standby) = (v1::InboundField::Messages, v1::InboundField::Standby);
        let table: [(Event, Option<&str>); 11] = [
            (
                message("automatic", "interactive", own).into(),
                Some("automatic"),
            ),
            (message("", "image", own).into(), Some("image")),
            (message("", "image", standby).into(), Some("standby")),
            (message("", "hologram", own).into(), Some("unsupported")),
            (call(true, "connect").into(), Some("call_connect")),
            (call(true, "terminate").into(), Some("call_terminate")),
            (call(true, "ACCEPTED").into(), Some("call_accepted")),
            (call(false, "RINGING").into(), Some("call_progress")),
            (v1::EchoReceived::default().into(), Some("echo")),
            (v1::InboundSmsReceived::default().into(), Some("sms")),
            (v1::MovedTo::default().into(), None),
        ];
        for (event, expected) in table {
            let found = policy_rule(&event).map(|rule| rule.name);
            assert_eq!(found, expected, "{event:?}");
        }
    }

    #[test]
    fn a_summary_reads_back_as_it_was_written() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let full = Summary {
            last_qualifying: Some(Qualifying {
                at: at(10),
                fact: FactId::from_u128(7),
                received_at: at(11),
                provider_id: "wamid.1".to_owned(),
            }),
            recent: Recent::new([at(7), at(10)], Some(at(5))),
            answered_at: Some(at(6)),
            referred_at: Some(at(7)),
            user_id_changed_at: Some(at(4)),
            last_event_at: Some(at(12)),
            thread_owner: Some(AsOf {
                at: at(9),
                value: ThreadOwner::Other,
            }),
            phone: Some(AsOf {
                at: at(10),
                value: Phone::parse("15550001111").unwrap(),
            }),
            user_id: Some(AsOf {
                at: at(8),
                value: "US.1".to_owned(),
            }),
            parent_user_id: None,
            stated_until: Some(at(20)),
            carried: Evidence {
                refused_at: Some(at(3)),
                ..Evidence::default()
            },
        };
        for summary_ in [Summary::default(), full] {
            assert_eq!(read_summary(&summary(&summary_)).unwrap(), summary_);
        }
    }

    #[test]
    fn of_facts_stored_before_their_times_were_kept_the_newest_is_known() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let old = v1::InboundSummary {
            last_qualifying_time: Some(timestamp(at(10))),
            last_qualifying_fact_id: FactId::from_u128(7).to_string(),
            last_qualifying_received_time: Some(timestamp(at(11))),
            ..v1::InboundSummary::default()
        };
        let read = read_summary(&old).unwrap();
        assert_eq!(read.recent, Recent::new([], Some(at(10))));
    }
}
