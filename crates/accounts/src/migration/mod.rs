//! Migrations: numbers that come here from another business account or provider, and numbers that
//! have gone.
//!
//! The order of steps is the domain's ([`casement_domain::migration`]); here each is a record before
//! the platform is called, and a record after. A step without an outcome is looked for at the
//! platform before anything is repeated, so that a process may be killed anywhere. Around the one
//! moment in which the platform hands the number over, the number's record says that its messages
//! wait; the record that ends the wait is the one that brings the new id.

mod away;
mod decide;
mod grpc;
mod number;
mod report;
mod saga;
mod steps;
mod stored;

use casement_event::{Event, v1};
use jiff::Timestamp;
use tonic::Code;

pub use decide::Refused;
pub use grpc::Migrations;

pub(crate) use away::suspect;
pub(crate) use saga::Saga;

/// The kind of a migration's record.
pub(crate) const KIND: &str = "migration";

impl Refused {
    /// Returns what a caller is told: the code and the stable reason.
    pub(crate) fn code(&self) -> (Code, &'static str) {
        use casement_domain::migration::Refusal;
        match self {
            Self::Unknown => (Code::NotFound, "MIGRATION_UNKNOWN"),
            Self::AnotherOpen(_) => (Code::FailedPrecondition, "MIGRATION_OPEN"),
            Self::AlreadyThere(_) => (Code::FailedPrecondition, "ALREADY_THERE"),
            Self::Course(refusal) => {
                let reason = match refusal {
                    Refusal::Ended => "MIGRATION_OVER",
                    Refusal::NoCodeAwaited => "NO_CODE_AWAITED",
                    Refusal::HandedOver => "NUMBER_HANDED_OVER",
                    Refusal::RegisterUnderWay => "REGISTER_UNDER_WAY",
                    Refusal::UnderWay => "STEP_UNDER_WAY",
                    Refusal::Elsewhere => "MIGRATION_ELSEWHERE",
                };
                (Code::FailedPrecondition, reason)
            }
        }
    }
}

/// Returns the record that an event of a migration carries, when that was, and who did it.
pub(crate) fn record_of(
    event: &Event,
) -> Option<(v1::Migration, Option<prost_types::Timestamp>, String)> {
    macro_rules! of {
        ($($name:ident),*) => {
            match event {
                $(Event::$name(event) => (&event.migration, event.time, &event.caller),)*
                _ => return None,
            }
        };
    }
    let (migration, time, caller) = of!(
        MigrationStarted,
        MigrationStepBegun,
        MigrationStepCompleted,
        MigrationStepFailed,
        MigrationStepOverdue,
        MigrationResumed,
        MigrationCompleted,
        MigrationCancelled
    );
    Some((migration.clone()?, time, caller.clone()))
}

/// When the saga looks at a migration next; `None` for never.
pub(crate) fn deadline(event: &Event) -> Option<Timestamp> {
    let (migration, ..) = record_of(event)?;
    migration
        .due_time
        .as_ref()
        .map(|time| stored::at(Some(time)))
}

/// Brand, number and state, for those who read headers alone.
pub(crate) fn marks(event: &Event) -> Option<(String, String, &'static str)> {
    let (migration, ..) = record_of(event)?;
    let name = migration.state().as_str_name();
    let state = name.strip_prefix("MIGRATION_STATE_").unwrap_or(name);
    Some((migration.brand_id, migration.number, state))
}

#[cfg(test)]
mod tests;
