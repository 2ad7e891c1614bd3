//! Calls that this process refused, put on record: a new kind within seconds, and from then on what
//! there is once a minute, so that nobody can fill the log by trying.

use std::time::Duration;

use casement_event::convert::timestamp;
use casement_event::{Record, Uuid, subject, v1};
use casement_event_log::{Expect, Log};
use casement_shell::SharedClock;
use casement_shell::auth::{Kind, Refusals, Tally};
use tokio_util::sync::CancellationToken;

use super::Which;

/// How often refusals are looked for.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// How long after some were told the next are.
const TELL_INTERVAL: Duration = Duration::from_mins(1);

/// Appends what was refused, until the stop. `which` is the process.
pub(super) async fn record(
    refusals: Refusals,
    log: Log,
    clock: SharedClock,
    which: Which,
    stopping: CancellationToken,
) -> anyhow::Result<()> {
    let (role, source) = place(which);
    let mut wait = LOOK_INTERVAL;
    loop {
        let is_last = tokio::select! {
            () = stopping.cancelled() => true,
            () = tokio::time::sleep(wait) => false,
        };
        let taken = refusals.take();
        wait = if taken.is_empty() {
            LOOK_INTERVAL
        } else {
            TELL_INTERVAL
        };
        for (kind, tally) in taken {
            let now = clock.now();
            let event = told(role, kind.clone(), tally);
            let record = Record::new(subject::refused(role), Uuid::new_v4(), source, now, event);
            if let Err(error) = log.append(record, Expect::Anything).await {
                tracing::warn!(%error, count = tally.count, "refused calls are not on record yet");
                refusals.add(kind, tally);
            }
        }
        if is_last {
            return Ok(());
        }
    }
}

/// Returns the process as a token of a subject, and as the source of what it appends.
fn place(which: Which) -> (&'static str, &'static str) {
    match which {
        Which::Ingress => ("ingress", "casement/ingress"),
        Which::WindowTracker => ("window-tracker", "casement/window-tracker"),
        Which::Dispatcher => ("dispatcher", "casement/dispatcher"),
        Which::Accounts => ("accounts", "casement/accounts"),
        Which::AuditProjector => ("audit-projector", "casement/audit-projector"),
        // A gateway alone has no log.
        Which::All | Which::Gateway => ("casement", "casement/up"),
    }
}

fn told(role: &str, kind: Kind, tally: Tally) -> v1::AccessRefused {
    v1::AccessRefused {
        role: role.to_owned(),
        door: kind.entrance.as_str().to_owned(),
        caller: kind.caller,
        brand_id: kind.brand,
        method: kind.method,
        reason: kind.reason,
        count: tally.count,
        first_time: Some(timestamp(tally.first_time)),
        last_time: Some(timestamp(tally.last_time)),
    }
}
