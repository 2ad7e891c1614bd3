//! Which templates are read at once: those that a webhook told of, and those that the platform
//! refused a send of. Both stand on the log, so that a reading that failed, or was cut off, is
//! made again.

use std::time::Duration;

use casement_event::subject::stream;
use casement_event::{Event, Stored, v1};
use casement_event_log::{Delivery, Failure, WorkSpec};

use super::sync::{SYNC, Syncer, Why};
use super::told;
use crate::decide::template_recorded;

/// How often a reading is tried for one event. The next schedule makes up for it.
const TRIES_MAX: i64 = 5;

/// How long one may take before another process gets it: a call, and waiting for others.
const ACK_WAIT: Duration = Duration::from_secs(90);

/// Errors of a send that say that the template is not as it is on record (WhatsApp Cloud API: error
/// codes): it does not exist, is paused, is disabled.
const CODES: [i64; 3] = [132_001, 132_015, 132_016];

/// Stands on events that a held message caused. Such an event says nothing of the rest of the
/// record, so that no webhook is late for it.
const PACING: &str = "template-pacing";

/// The durable queue of templates to be read.
pub(crate) fn reads() -> WorkSpec {
    WorkSpec {
        name: "accounts-template-reads",
        stream: stream::ACCOUNTS,
        filters: vec![
            "casement.accounts.reported.template.>".to_owned(),
            "casement.accounts.halt.template.>".to_owned(),
        ],
        in_hand_max: 4,
        ack_wait: ACK_WAIT,
    }
}

/// The durable queue of templates that the platform holds messages of back.
pub(crate) fn pacing() -> WorkSpec {
    WorkSpec {
        name: "accounts-template-pacing",
        filters: vec!["casement.accounts.pacing.*".to_owned()],
        ..reads()
    }
}

/// Records that messages of a template are held back.
pub(crate) async fn hold(syncer: &Syncer, delivery: Delivery) -> Result<(), Failure> {
    let Ok(Event::TemplateHeld(held)) = delivery.stored.event() else {
        return Ok(());
    };
    let named = v1::Template {
        waba_id: held.waba_id,
        name: held.name,
        language: held.language,
        ..v1::Template::default()
    };
    let cause = syncer.book.cause(PACING);
    let mut desk = syncer.book.desk().await?;
    desk.settle(&cause, |ledger| {
        let Some(present) = ledger.template(&named) else {
            return Ok(None);
        };
        let known = present.record.held_for_quality_time.map(|at| at.seconds);
        if known >= held.time.map(|at| at.seconds) {
            return Ok(None);
        }
        let record = v1::Template {
            held_for_quality_time: held.time,
            ..present.record.clone()
        };
        Ok(Some(template_recorded(record, &cause)))
    })
    .await?;
    Ok(())
}

/// Reads the template that an event is about.
pub(crate) async fn take_up(syncer: &Syncer, delivery: Delivery) -> Result<(), Failure> {
    let Some((waba_id, name, why)) = meant(&delivery.stored) else {
        return Ok(());
    };
    let synced = syncer.read(&waba_id, Some(&name), why, SYNC).await?;
    if synced.error.is_empty() || delivery.delivered >= TRIES_MAX {
        return Ok(());
    }
    Err(Failure(synced.error.into()))
}

/// Returns the template that an event is about, if it is to be read.
fn meant(stored: &Stored) -> Option<(String, String, Why)> {
    match stored.event().ok()? {
        Event::AccountReported(reported) => {
            let told = told::read(&reported, stored.stored_at)?;
            Some((told.waba_id, told.name, Why::Webhook))
        }
        Event::SendsHalted(event) => refused(&event.halt?),
        _ => None,
    }
}

fn refused(halt: &v1::Halt) -> Option<(String, String, Why)> {
    let code = halt.error.as_ref()?.code;
    if !CODES.contains(&code) || halt.scope() != v1::HaltScope::Template {
        return None;
    }
    let mut parts = halt.key.splitn(3, '/');
    let (waba_id, name) = (parts.next()?, parts.next()?);
    Some((waba_id.to_owned(), name.to_owned(), Why::Refusal))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn halt(code: i64, scope: v1::HaltScope) -> v1::Halt {
        v1::Halt {
            scope: scope.into(),
            key: "800/order_ready/en_US".to_owned(),
            error: Some(v1::ProviderError {
                code,
                ..v1::ProviderError::default()
            }),
            ..v1::Halt::default()
        }
    }

    #[test]
    fn a_refused_send_names_the_template_to_be_read() {
        for code in CODES {
            let found = refused(&halt(code, v1::HaltScope::Template));
            let expected = ("800".to_owned(), "order_ready".to_owned(), Why::Refusal);
            assert_eq!(found, Some(expected), "{code}");
        }
        assert_eq!(refused(&halt(131_042, v1::HaltScope::Waba)), None);
        assert_eq!(refused(&v1::Halt::default()), None);
    }
}
