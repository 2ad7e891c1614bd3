//! What an archived event is looked up by.
//!
//! Pure, and total: an event that nobody understands is archived all the same, with what its
//! subject and headers say.

use casement_event::{Event, Extension, Stored, header, subject, v1};
use jiff::Timestamp;

use crate::model::{Index, KEY_LEN_MAX};

/// Returns what an event is looked up by: what its subject says, else its headers, else its
/// payload. `event` is the payload, if it could be read.
pub(crate) fn index(stored: &Stored, event: Option<&Event>) -> Index {
    let extension = |extension| stored.extension(extension).unwrap_or_default().to_owned();
    let mut index = Index {
        event_type: stored.event_type().to_owned(),
        event_id: event_id(stored).to_owned(),
        event_time: event_time(stored),
        number: extension(Extension::Number),
        customer_id: extension(Extension::Customer),
        message_id: String::new(),
        brand_id: extension(Extension::Brand),
    };
    if let Some((_, number, customer)) = subject::parse_conversation(&stored.subject) {
        number.digits().clone_into(&mut index.number);
        customer.as_str().clone_into(&mut index.customer_id);
    } else if let Some((_, message)) = subject::parse_message(&stored.subject) {
        message.number().digits().clone_into(&mut index.number);
        message.as_str().clone_into(&mut index.message_id);
    }
    if let Some(event) = event {
        let conversation = conversation(event);
        fill(&mut index.brand_id, brand(event).unwrap_or_default());
        fill(&mut index.number, conversation.map_or("", |of| &of.number));
        fill(&mut index.customer_id, customer(event, conversation));
    }
    for key in [
        &mut index.number,
        &mut index.customer_id,
        &mut index.message_id,
        &mut index.brand_id,
    ] {
        if key.len() > KEY_LEN_MAX {
            key.clear();
        }
    }
    index
}

/// Returns the id of the fact, as it stands in the headers.
pub(crate) fn event_id(stored: &Stored) -> &str {
    stored.header(header::ID).unwrap_or_default()
}

/// Returns when the fact happened; when it was stored, if that is not said.
pub(crate) fn event_time(stored: &Stored) -> Timestamp {
    stored.time().unwrap_or(stored.stored_at)
}

fn fill(field: &mut String, value: &str) {
    if field.is_empty() {
        value.clone_into(field);
    }
}

fn customer<'a>(event: &'a Event, conversation: Option<&'a v1::Conversation>) -> &'a str {
    match event {
        Event::CustomerLinked(event) => &event.customer_id,
        Event::ConsentRecorded(event) => &event.customer_id,
        _ => conversation.map_or("", |of| &of.customer_id),
    }
}

fn brand(event: &Event) -> Option<&str> {
    if let Some(told) = casement_event::convert::application::told(event) {
        return Some(&told.application.brand_id);
    }
    let brand = match event {
        Event::BrandRecorded(event) => &event.brand.as_ref()?.brand_id,
        Event::NumberRecorded(event) => &event.number.as_ref()?.brand_id,
        Event::NumberPaused(event) => &event.number.as_ref()?.brand_id,
        Event::NumberResumed(event) => &event.number.as_ref()?.brand_id,
        Event::NumberMigratedAway(event) => &event.number.as_ref()?.brand_id,
        Event::NumberReturned(event) => &event.number.as_ref()?.brand_id,
        Event::MigrationStarted(event) => &event.migration.as_ref()?.brand_id,
        Event::MigrationStepBegun(event) => &event.migration.as_ref()?.brand_id,
        Event::MigrationStepCompleted(event) => &event.migration.as_ref()?.brand_id,
        Event::MigrationStepFailed(event) => &event.migration.as_ref()?.brand_id,
        Event::MigrationStepOverdue(event) => &event.migration.as_ref()?.brand_id,
        Event::MigrationResumed(event) => &event.migration.as_ref()?.brand_id,
        Event::MigrationCompleted(event) => &event.migration.as_ref()?.brand_id,
        Event::MigrationCancelled(event) => &event.migration.as_ref()?.brand_id,
        Event::CustomerExported(event) => &event.brand_id,
        Event::RawWebhookShown(event) => &event.brand_id,
        Event::DataShown(event) => &event.brand_id,
        Event::AccessRefused(event) => &event.brand_id,
        Event::SendsHalted(event) => &event.halt.as_ref()?.brand_id,
        Event::SendsResumed(event) => &event.halt.as_ref()?.brand_id,
        _ => &conversation(event)?.brand_id,
    };
    Some(brand)
}

/// Returns the conversation that an event names, if it names one.
pub(crate) fn conversation(event: &Event) -> Option<&v1::Conversation> {
    fn of_window(window: Option<&v1::PublishedWindow>) -> Option<&v1::Conversation> {
        window?.conversation.as_ref()
    }
    match event {
        Event::InboundMessageReceived(event) => event.conversation.as_ref(),
        Event::InboundCallReceived(event) => event.conversation.as_ref(),
        Event::InboundSmsReceived(event) => event.conversation.as_ref(),
        Event::CustomerIdentityChanged(event) => event.conversation.as_ref(),
        Event::CustomerPreferenceReported(event) => event.conversation.as_ref(),
        Event::ThreadOwnerChanged(event) => event.conversation.as_ref(),
        Event::EchoReceived(event) => event.conversation.as_ref(),
        Event::HistoryImported(event) => event.conversation.as_ref(),
        Event::LateFact(event) => event.conversation.as_ref(),
        Event::MovedTo(event) => event.conversation.as_ref(),
        Event::CustomerMerged(event) => event.conversation.as_ref(),
        Event::WindowOpened(event) => of_window(event.window.as_ref()),
        Event::WindowExtended(event) => of_window(event.window.as_ref()),
        Event::WindowExpiring(event) => of_window(event.window.as_ref()),
        Event::WindowExpired(event) => of_window(event.window.as_ref()),
        Event::WindowCorrected(event) => of_window(event.window.as_ref()),
        Event::WindowRefused(event) => event.conversation.as_ref(),
        Event::WindowProven(event) => event.conversation.as_ref(),
        Event::CustomerAnswered(event) => event.conversation.as_ref(),
        Event::FreeEntryPointStarted(event) => event.conversation.as_ref(),
        Event::FreeEntryPointReported(event) => event.conversation.as_ref(),
        Event::NoteAdded(event) => event.conversation.as_ref(),
        Event::ConversationAssigned(event) => event.conversation.as_ref(),
        Event::ConversationMarkedRead(event) => event.conversation.as_ref(),
        Event::ConversationClosed(event) => event.conversation.as_ref(),
        Event::ConversationReopened(event) => event.conversation.as_ref(),
        Event::ConversationLabelled(event) => event.conversation.as_ref(),
        Event::MediaStored(event) => event.conversation.as_ref(),
        Event::MediaDeferred(event) => event.conversation.as_ref(),
        Event::MediaUnavailable(event) => event.conversation.as_ref(),
        Event::MessageRequested(event) => event.conversation.as_ref(),
        Event::MessageHeld(event) => event.conversation.as_ref(),
        Event::MessageReleased(event) => event.conversation.as_ref(),
        Event::MessageDeferred(event) => event.conversation.as_ref(),
        Event::AttemptStarted(event) => event.conversation.as_ref(),
        Event::AttemptAccepted(event) => event.conversation.as_ref(),
        Event::AttemptRejected(event) => event.conversation.as_ref(),
        Event::AttemptUnknown(event) => event.conversation.as_ref(),
        Event::AttemptAbandoned(event) => event.conversation.as_ref(),
        Event::DeliveryAdvanced(event) => event.conversation.as_ref(),
        Event::DeliveryContradicted(event) => event.conversation.as_ref(),
        Event::MessageBilled(event) => event.conversation.as_ref(),
        Event::DeliveryOverdue(event) => event.conversation.as_ref(),
        Event::DoubleExposure(event) => event.conversation.as_ref(),
        Event::MessageEnded(event) => event.conversation.as_ref(),
        Event::MessageExpired(event) => event.conversation.as_ref(),
        Event::MessageCancelled(event) => event.conversation.as_ref(),
        // Accounts, customers across numbers, webhooks, groups, and the log's own.
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture;

    #[test]
    fn subject_headers_and_payload_say_what_an_event_is_about() {
        let stored = fixture::stored("EVENTS", 1);
        let event = stored.event().unwrap();
        let index = index(&stored, Some(&event));
        assert_eq!(index.number, "15550001111");
        assert_eq!(index.customer_id, "c1");
        assert_eq!(index.brand_id, "default", "from the payload");
        assert_eq!(index.message_id, "");
    }

    #[test]
    fn what_nobody_understands_is_looked_up_by_its_subject() {
        let mut stored = fixture::stored("MESSAGES", 1);
        stored.headers.clear();
        let id = "15550001111-00000000000000000000000000000001";
        stored.subject = format!("casement.events.report.03.15550001111.{id}");
        let index = index(&stored, None);
        assert_eq!(
            (index.number.as_str(), index.message_id.as_str()),
            ("15550001111", id)
        );
        assert_eq!(index.event_time, stored.stored_at);
        stored.subject = "somebody.else".to_owned();
        assert_eq!(super::index(&stored, None).number, "");
    }
}
