//! What the platform says of a number, as it is stored. Kinds and sources that a newer version
//! wrote are left aside: nothing here rests on them.

use casement_domain::number_health::{Change, Fact, Health, Kind, Source};

use super::{instant, timestamp};
use crate::v1;

/// Returns what is known, as stored.
pub fn stored(number: &str, phone_number_id: &str, health: &Health) -> v1::NumberHealth {
    v1::NumberHealth {
        number: number.to_owned(),
        phone_number_id: phone_number_id.to_owned(),
        facts: health.facts().map(|(kind, fact)| of(kind, fact)).collect(),
    }
}

/// Returns changes, as stored.
pub fn changes(changes: &[Change]) -> Vec<v1::HealthChange> {
    let change = |change: &Change| v1::HealthChange {
        before: change.before.as_ref().map(|fact| of(change.kind, fact)),
        after: Some(of(change.kind, &change.after)),
    };
    changes.iter().map(change).collect()
}

/// Reads what is known.
pub fn read(stored: &v1::NumberHealth) -> Health {
    let mut health = Health::default();
    for fact in &stored.facts {
        let time = instant("time", fact.time.as_ref()).ok().flatten();
        if let (Some(kind), Some(source), Some(at)) =
            (read_kind(fact.kind()), read_source(fact.source()), time)
        {
            let until = instant("until_time", fact.until_time.as_ref());
            let fact = Fact {
                at,
                source,
                value: fact.value.clone(),
                detail: fact.detail.clone(),
                until: until.ok().flatten(),
            };
            health.take(kind, fact);
        }
    }
    health
}

fn of(kind: Kind, fact: &Fact) -> v1::HealthFact {
    v1::HealthFact {
        kind: kind_of(kind).into(),
        value: fact.value.clone(),
        detail: fact.detail.clone(),
        time: Some(timestamp(fact.at)),
        source: source_of(fact.source).into(),
        until_time: fact.until.map(timestamp),
    }
}

fn source_of(source: Source) -> v1::HealthSource {
    match source {
        Source::Webhook => v1::HealthSource::Webhook,
        Source::Act => v1::HealthSource::Act,
        Source::Poll => v1::HealthSource::Poll,
    }
}

fn read_source(source: v1::HealthSource) -> Option<Source> {
    match source {
        v1::HealthSource::Unspecified => None,
        v1::HealthSource::Webhook => Some(Source::Webhook),
        v1::HealthSource::Act => Some(Source::Act),
        v1::HealthSource::Poll => Some(Source::Poll),
    }
}

fn kind_of(kind: Kind) -> v1::HealthKind {
    match kind {
        Kind::Status => v1::HealthKind::Status,
        Kind::Registration => v1::HealthKind::Registration,
        Kind::Quality => v1::HealthKind::Quality,
        Kind::NameStatus => v1::HealthKind::NameStatus,
        Kind::VerifiedName => v1::HealthKind::VerifiedName,
        Kind::RequestedName => v1::HealthKind::RequestedName,
        Kind::CodeVerification => v1::HealthKind::CodeVerification,
        Kind::Throughput => v1::HealthKind::Throughput,
        Kind::MessagingLimit => v1::HealthKind::MessagingLimit,
        Kind::Official => v1::HealthKind::Official,
        Kind::Coexistence => v1::HealthKind::Coexistence,
        Kind::Calling => v1::HealthKind::Calling,
        Kind::Platform => v1::HealthKind::Platform,
        Kind::AccountMode => v1::HealthKind::AccountMode,
        Kind::CanSend => v1::HealthKind::CanSend,
        Kind::AccountReview => v1::HealthKind::AccountReview,
        Kind::AccountState => v1::HealthKind::AccountState,
        Kind::Restriction => v1::HealthKind::Restriction,
        Kind::Violation => v1::HealthKind::Violation,
        Kind::Disconnection => v1::HealthKind::Disconnection,
        Kind::Alert => v1::HealthKind::Alert,
        Kind::Security => v1::HealthKind::Security,
        Kind::Token => v1::HealthKind::Token,
        Kind::Subscription => v1::HealthKind::Subscription,
    }
}

fn read_kind(stored: v1::HealthKind) -> Option<Kind> {
    Kind::ALL.into_iter().find(|kind| kind_of(*kind) == stored)
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;

    #[test]
    fn every_kind_reads_back_as_it_was_written() {
        let mut health = Health::default();
        for (second, kind) in (0_i64..).zip(Kind::ALL) {
            let at = Timestamp::from_second(second).unwrap();
            let fact = Fact {
                until: Some(at),
                ..Fact::new(at, Source::Poll, "WORD").because("detail")
            };
            health.take(kind, fact);
        }
        assert_eq!(read(&stored("1", "700", &health)), health);
    }

    #[test]
    fn a_kind_of_a_newer_version_is_left_aside() {
        let fact = v1::HealthFact {
            kind: 999,
            value: "NEWS".to_owned(),
            time: Some(timestamp(Timestamp::UNIX_EPOCH)),
            source: v1::HealthSource::Poll.into(),
            ..v1::HealthFact::default()
        };
        let stored = v1::NumberHealth {
            facts: vec![fact],
            ..v1::NumberHealth::default()
        };
        assert_eq!(read(&stored), Health::default());
    }
}
