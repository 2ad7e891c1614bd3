//! Templates as the platform has them: read on schedule, on demand, on webhooks and on refused
//! sends; created, edited and deleted there through us.
//!
//! The platform is where templates are: a record is what was last read or told of one. Whether a
//! message may use a template is the dispatcher's to say.

mod form;
mod read;
mod render;
mod service;
mod submit;
pub(crate) mod sync;
mod told;
mod wire;
mod work;

pub use service::Templates;
pub(crate) use sync::{SYNC, Syncer, Why};
pub(crate) use told::{Told, read as read_report};
pub(crate) use work::{hold, pacing, reads, take_up};

use std::time::Duration;

use casement_event::Event;
use casement_event::convert::instant;
use casement_event::v1;
use casement_proto::account::v1 as api;
use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use crate::template;

/// The kind of the records that say how templates were read; one for each business account.
pub(crate) const KIND: &str = "sync";

/// When the runner takes a record of ours up: all of an account's templates are read then, or a
/// paused one that should be over its pause.
pub(crate) fn deadline(event: &Event) -> Option<Timestamp> {
    match event {
        Event::TemplatesSynced(event) => instant("next_time", event.next_time.as_ref())
            .ok()
            .flatten(),
        Event::TemplateRecorded(event) => read::pause_ends_at(event.template.as_ref()?),
        _ => None,
    }
}

/// How often it is looked for accounts whose templates were never read.
const LOOK_EVERY: Duration = Duration::from_secs(15);

/// Reads the templates of accounts that are new here, until the stop. From then on each has a
/// record, with the time of its next reading.
pub(crate) async fn begin(syncer: &Syncer, stopping: CancellationToken) {
    loop {
        match syncer.unread().await {
            Ok(accounts) => {
                for waba_id in accounts {
                    if stopping.is_cancelled() {
                        return;
                    }
                    let read = syncer.read(&waba_id, None, Why::Schedule, SYNC);
                    if let Err(error) = read.await {
                        tracing::warn!(waba_id, error = %error, "templates were not recorded");
                    }
                }
            }
            Err(error) => tracing::warn!(error = %error, "accounts were not looked through"),
        }
        tokio::select! {
            () = stopping.cancelled() => return,
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
    }
}

/// Whether a template is one of those that a list asks for.
pub(crate) fn is_asked_for(asked: &api::ListTemplatesRequest, of: &v1::Template) -> bool {
    let language = template::language(&asked.language);
    (asked.name.is_empty() || of.name.contains(&asked.name))
        && (asked.language.is_empty() || language.as_ref() == Some(&of.language))
        && (asked.status == 0 || asked.status == of.status)
        && (asked.category == 0 || asked.category == of.category)
        && (asked.quality == 0 || asked.quality == of.quality)
}

/// Keeps what only the platform tells, and what only we know, when a caller records a template.
///
/// What a caller says of a template that was read from the platform is its status alone.
pub(crate) fn merged(present: Option<&v1::Template>, wanted: v1::Template) -> v1::Template {
    let said = v1::Template {
        waba_id: wanted.waba_id,
        name: wanted.name,
        language: wanted.language,
        category: wanted.category,
        status: wanted.status,
        body: wanted.body,
        body_parameter_count: wanted.body_parameter_count,
        body_parameter_names: wanted.body_parameter_names,
        message_send_ttl: wanted.message_send_ttl,
        ..v1::Template::default()
    };
    match present {
        None => said,
        Some(present) if present.template_id.is_empty() => v1::Template {
            quality: present.quality,
            rejected_reason: present.rejected_reason.clone(),
            category_change: present.category_change.clone(),
            pause: present.pause.clone(),
            platform_status: present.platform_status.clone(),
            held_for_quality_time: present.held_for_quality_time,
            create_time: present.create_time,
            edit_times: present.edit_times.clone(),
            request_id: present.request_id.clone(),
            ..said
        },
        Some(present) => v1::Template {
            status: said.status,
            ..present.clone()
        },
    }
}
