//! Who did what, as events tell it.
//!
//! An act is an event that names its caller: the token that it was done with, or `platform`. What
//! happened by itself, and what customers did, is no act.

use casement_event::{Event, v1};

use crate::index::event_id;
use crate::model::{KEY_LEN_MAX, Row, nanoseconds};
use crate::store::Acted;

/// The longest reason that is kept here; the event has it whole.
const REASON_LEN_MAX: usize = 512;

/// Requests of messages are acts, too, but so many that who asks for them says so.
pub(crate) const REQUEST: &str = "casement.events.v1.MessageRequested";

/// Who was refused and showed no token that is good. No token has such a name.
const NOBODY: &str = "(no good token)";

struct By<'a> {
    caller: &'a str,
    author: &'a str,
    target: String,
    number: &'a str,
    reason: &'a str,
}

fn by<'a>(caller: &'a str, target: &str) -> By<'a> {
    By {
        caller,
        author: "",
        target: target.to_owned(),
        number: "",
        reason: "",
    }
}

impl<'a> By<'a> {
    fn number(mut self, number: &'a str) -> Self {
        self.number = number;
        self
    }

    fn because(mut self, reason: &'a str) -> Self {
        self.reason = reason;
        self
    }
}

/// Returns the act that an archived event is, if it is one.
pub(crate) fn act(row: &Row, event: &Event) -> Option<Acted> {
    let by = told(event)?;
    if by.caller.is_empty() && by.author.is_empty() {
        return None;
    }
    let stored = &row.stored;
    let id = event_id(stored);
    let act = if (1..=KEY_LEN_MAX).contains(&id.len()) {
        id.to_owned()
    } else {
        format!(
            "{}/{}/{}",
            stored.stream, stored.incarnation, stored.sequence
        )
    };
    let number = if by.number.is_empty() {
        &row.index.number
    } else {
        by.number
    };
    let end = by.reason.floor_char_boundary(REASON_LEN_MAX);
    Some(Acted {
        act,
        time_ns: nanoseconds(row.index.event_time),
        event_type: event.event_type().to_owned(),
        caller: short(by.caller),
        author: short(by.author),
        brand_id: row.index.brand_id.clone(),
        number: short(number.trim_start_matches('+')),
        target: short(&by.target),
        reason: by.reason.get(..end).unwrap_or_default().to_owned(),
        stream: stored.stream.clone(),
        incarnation: stored.incarnation.clone(),
        sequence: stored.sequence,
    })
}

fn short(text: &str) -> String {
    let end = text.floor_char_boundary(KEY_LEN_MAX);
    text.get(..end).unwrap_or_default().to_owned()
}

fn told(event: &Event) -> Option<By<'_>> {
    if let Some(told) = casement_event::convert::application::told(event) {
        return Some(by(told.caller, &told.application.application_id));
    }
    of_account(event)
        .or_else(|| of_migration(event))
        .or_else(|| of_conversation(event))
        .or_else(|| of_the_rest(event))
}

fn of_number<'a>(caller: &'a str, number: Option<&'a v1::Number>) -> Option<By<'a>> {
    let number = number?;
    Some(by(caller, &number.number).number(&number.number))
}

fn of_account(event: &Event) -> Option<By<'_>> {
    Some(match event {
        Event::BrandRecorded(event) => by(&event.caller, &event.brand.as_ref()?.brand_id),
        Event::NumberRecorded(event) => of_number(&event.caller, event.number.as_ref())?,
        Event::NumberPaused(event) => {
            let reason = event.number.as_ref()?.pause_reason.as_str();
            of_number(&event.caller, event.number.as_ref())?.because(reason)
        }
        Event::NumberResumed(event) => of_number(&event.caller, event.number.as_ref())?,
        Event::NumberMigratedAway(event) => of_number(&event.caller, event.number.as_ref())?,
        Event::NumberReturned(event) => of_number(&event.caller, event.number.as_ref())?,
        Event::NumberHealthChanged(event) => {
            by(&event.caller, &event.health.as_ref()?.number).number(&event.health.as_ref()?.number)
        }
        Event::DowngradeRequested(event) => by(&event.caller, &event.number)
            .number(&event.number)
            .because(&event.reason),
        Event::RegistrationCounted(event) => {
            let number = &event.tally.as_ref()?.number;
            by(&event.caller, number).number(number)
        }
        Event::DeregistrationAdvanced(event) => {
            let of = event.deregistration.as_ref()?;
            by(&of.caller, &of.number)
                .number(&of.number)
                .because(&of.reason)
        }
        Event::TemplateRecorded(event) => {
            let of = event.template.as_ref()?;
            by(
                &event.caller,
                &format!("{}/{}/{}", of.waba_id, of.name, of.language),
            )
        }
        Event::TemplatesSynced(event) => by(&event.caller, &event.waba_id).because(&event.cause),
        Event::OnboardingAdvanced(event) => {
            by(&event.caller, &event.onboarding.as_ref()?.onboarding_id)
        }
        Event::SecretStored(event) => by(&event.caller, &event.secret.as_ref()?.name),
        Event::SecretDeleted(event) => by(&event.caller, &event.name),
        _ => return None,
    })
}

fn of_migration(event: &Event) -> Option<By<'_>> {
    let (caller, migration) = match event {
        Event::MigrationStarted(event) => (&event.caller, &event.migration),
        Event::MigrationStepBegun(event) => (&event.caller, &event.migration),
        Event::MigrationStepCompleted(event) => (&event.caller, &event.migration),
        Event::MigrationStepFailed(event) => (&event.caller, &event.migration),
        Event::MigrationStepOverdue(event) => (&event.caller, &event.migration),
        Event::MigrationResumed(event) => (&event.caller, &event.migration),
        Event::MigrationCompleted(event) => (&event.caller, &event.migration),
        Event::MigrationCancelled(event) => (&event.caller, &event.migration),
        _ => return None,
    };
    let migration = migration.as_ref()?;
    Some(by(caller, &migration.migration_id).number(&migration.number))
}

fn of_conversation(event: &Event) -> Option<By<'_>> {
    let (act, of) = match event {
        Event::NoteAdded(event) => {
            let customer = &event.conversation.as_ref()?.customer_id;
            return Some(By {
                author: &event.author,
                ..by(&event.caller, customer)
            });
        }
        Event::ConversationAssigned(event) => (&event.act, &event.conversation),
        Event::ConversationMarkedRead(event) => (&event.act, &event.conversation),
        Event::ConversationClosed(event) => (&event.act, &event.conversation),
        Event::ConversationReopened(event) => (&event.act, &event.conversation),
        Event::ConversationLabelled(event) => (&event.act, &event.conversation),
        _ => return None,
    };
    let act = act.as_ref()?;
    Some(By {
        author: &act.author,
        ..by(&act.caller, &of.as_ref()?.customer_id)
    })
}

fn of_the_rest(event: &Event) -> Option<By<'_>> {
    Some(match event {
        Event::SendsHalted(event) => {
            let halt = event.halt.as_ref()?;
            by(&halt.caller, &halt.key).because(&halt.reason)
        }
        Event::SendsResumed(event) => {
            by(&event.caller, &event.halt.as_ref()?.key).because(&event.reason)
        }
        Event::MessageRequested(event) => by(&event.caller, &event.message_id),
        Event::MessageCancelled(event) => by(&event.caller, &event.message_id),
        Event::DeadLetterSettled(event) => {
            let letter = format!("{} {}", event.role, event.letter_sequence);
            By {
                target: letter,
                ..by(&event.caller, "").because(&event.reason)
            }
        }
        Event::DeadLettersAsked(event) => {
            let letters = event
                .letters
                .iter()
                .map(|one| one.letter_sequence.to_string());
            let letters: Vec<_> = letters.collect();
            By {
                target: letters.join(" "),
                ..by(&event.caller, "").because(&event.reason)
            }
        }
        Event::ParkedPostsReplayed(event) => {
            by(&event.caller, &event.phone_number_id).because(&event.reason)
        }
        Event::RawWebhookShown(event) => by(&event.caller, &event.event_id).number(&event.number),
        Event::DataShown(event) => {
            let what = event.kind().as_str_name();
            let what = what.trim_start_matches("DATA_KIND_").to_ascii_lowercase();
            let target = match event.sequence {
                0 => what,
                sequence => format!("{what} {sequence}"),
            };
            by(&event.caller, &target).number(&event.number)
        }
        Event::ReadModelsAsked(event) => by(&event.caller, "read models"),
        Event::AccessRefused(event) => {
            // Nobody's act would not be listed.
            let caller = if event.caller.is_empty() {
                NOBODY
            } else {
                &event.caller
            };
            let what = if event.method.is_empty() {
                &event.door
            } else {
                &event.method
            };
            by(caller, what).because(&event.reason)
        }
        Event::CustomerExported(event) => {
            let customer = event.customer_ids.first().map_or("", String::as_str);
            by(&event.caller, customer).because(&event.reason)
        }
        Event::ConsentRecorded(event) => by(&event.caller, &event.customer_id),
        // What follows on the wish is told there.
        Event::ErasureAdvanced(event) => {
            let of = event.erasure.as_ref()?;
            if of.state() != v1::ErasureState::Entombing {
                return None;
            }
            by(&of.caller, &of.erasure_id).because(&of.reason)
        }
        _ => return None,
    })
}
