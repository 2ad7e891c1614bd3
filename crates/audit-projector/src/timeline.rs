//! What an item of a timeline tells, in parts: who, what, by which route, what came of it and why.
//!
//! Pure. [`crate::summary`] says the same in one line; what no person handles in parts, such as a
//! report that changes nothing, has the line only.

use casement_event::{Event, Stored, v1};
use casement_proto::conversation::v1::{TimelineDetail as Detail, TimelineParty as Party};

/// Returns what an event tells in parts; nothing, if it has none or cannot be read.
pub(crate) fn detail(stored: &Stored) -> Option<Detail> {
    stored.event().ok().and_then(of)
}

/// Returns what an event tells in parts.
pub(crate) fn of(event: Event) -> Option<Detail> {
    Some(match event {
        Event::InboundMessageReceived(event) => inbound(event),
        Event::InboundSmsReceived(event) => Detail {
            kind: "sms".to_owned(),
            text: event.text,
            provider_message_id: event.provider_message_id,
            ..by(Party::Customer)
        },
        Event::InboundCallReceived(event) => Detail {
            kind: "call".to_owned(),
            reason: event.event,
            errors: event.errors,
            ..by(Party::Customer)
        },
        Event::EchoReceived(event) => Detail {
            refers_to_message_id: refers_to(
                event.content.as_ref(),
                event.context.map(|context| context.provider_message_id),
            ),
            kind: event.kind,
            text: event.text,
            provider_message_id: event.provider_message_id,
            errors: event.errors,
            ..by(Party::Business)
        },
        Event::NoteAdded(event) => Detail {
            kind: "note".to_owned(),
            text: event.text,
            author: event.author,
            ..by(Party::Colleague)
        },
        Event::ConversationAssigned(v1::ConversationAssigned { act, .. })
        | Event::ConversationMarkedRead(v1::ConversationMarkedRead { act, .. })
        | Event::ConversationClosed(v1::ConversationClosed { act, .. })
        | Event::ConversationReopened(v1::ConversationReopened { act, .. })
        | Event::ConversationLabelled(v1::ConversationLabelled { act, .. }) => Detail {
            author: act.unwrap_or_default().author,
            ..by(Party::Colleague)
        },
        Event::WindowOpened(v1::WindowOpened { window, .. })
        | Event::WindowExtended(v1::WindowExtended { window })
        | Event::WindowExpiring(v1::WindowExpiring { window, .. })
        | Event::WindowExpired(v1::WindowExpired { window })
        | Event::WindowCorrected(v1::WindowCorrected { window, .. }) => told_of(window.as_ref()?),
        Event::MediaStored(v1::MediaStored { media, .. }) => file(media?, ""),
        Event::MediaDeferred(event) => {
            let problem = event.problem().as_str_name();
            file(event.media?, problem)
        }
        Event::MediaUnavailable(event) => {
            let problem = event.problem().as_str_name();
            file(event.media?, problem)
        }
        Event::WindowRefused(event) => Detail {
            attempt: event.attempt,
            errors: event.error.into_iter().collect(),
            ..by(Party::Provider)
        },
        other => return message(other),
    })
}

/// What happened to a message of ours.
fn message(event: Event) -> Option<Detail> {
    Some(match event {
        Event::MessageRequested(event) => requested(event),
        Event::MessageHeld(event) => Detail {
            until_time: event.expire_time,
            decision: event.decision,
            ..by(Party::Casement)
        },
        Event::MessageReleased(event) => Detail {
            reason: event.cause,
            ..by(Party::Casement)
        },
        Event::MessageDeferred(event) => Detail {
            reason: event.cause,
            until_time: event.until_time,
            decision: event.decision,
            ..by(Party::Casement)
        },
        Event::AttemptStarted(event) => Detail {
            attempt: event.attempt,
            route: event.route,
            decision: event.decision,
            sms_gateway: event.sms_gateway,
            cost: event.cost,
            ..by(Party::Casement)
        },
        Event::AttemptAccepted(event) => Detail {
            attempt: event.attempt,
            provider_message_id: event.provider_message_id,
            reason: event.provider_status,
            ..by(Party::Provider)
        },
        Event::AttemptRejected(event) => Detail {
            attempt: event.attempt,
            errors: event.error.into_iter().collect(),
            reason: event.action,
            until_time: event.retry_time,
            cost: event.cost,
            ..by(Party::Provider)
        },
        Event::AttemptUnknown(event) => Detail {
            attempt: event.attempt,
            reason: event.reason,
            until_time: event.reconcile_until_time,
            ..by(Party::Casement)
        },
        Event::AttemptAbandoned(event) => Detail {
            attempt: event.attempt,
            reason: event.policy,
            ..by(Party::Casement)
        },
        Event::DeliveryAdvanced(event) => Detail {
            attempt: event.attempt,
            delivery_status: event.status,
            cost: event.cost,
            ..by(Party::Provider)
        },
        Event::DeliveryContradicted(event) => Detail {
            attempt: event.attempt,
            delivery_status: event.status,
            errors: event.error.into_iter().collect(),
            ..by(Party::Provider)
        },
        Event::DeliveryOverdue(event) => Detail {
            attempt: event.attempt,
            until_time: event.reports_until_time,
            decision: event.decision,
            ..by(Party::Casement)
        },
        Event::MessageBilled(event) => Detail {
            attempt: event.attempt,
            cost: event.cost,
            ..by(Party::Provider)
        },
        Event::MessageEnded(event) => Detail {
            outcome: event.outcome,
            reason: event.reason,
            decision: event.decision,
            ..by(Party::Casement)
        },
        Event::MessageCancelled(event) => Detail {
            author: event.caller,
            ..by(Party::Business)
        },
        _ => return None,
    })
}

fn by(party: Party) -> Detail {
    Detail {
        party: party.into(),
        ..Detail::default()
    }
}

fn inbound(event: v1::InboundMessageReceived) -> Detail {
    let context = match event.context_provider_message_id {
        id if id.is_empty() => event.context.map(|context| context.provider_message_id),
        id => Some(id),
    };
    Detail {
        refers_to_message_id: refers_to(event.content.as_ref(), context),
        kind: event.kind,
        text: event.text,
        provider_message_id: event.provider_message_id,
        errors: event.errors,
        ..by(Party::Customer)
    }
}

/// A file of a customer's message; `problem` is why it is not to be had.
fn file(media: v1::Media, problem: &str) -> Detail {
    Detail {
        kind: media.kind,
        text: media.filename,
        provider_message_id: media.provider_message_id,
        reason: problem
            .strip_prefix("MEDIA_PROBLEM_")
            .unwrap_or(problem)
            .to_owned(),
        ..by(Party::Provider)
    }
}

/// What is reacted to, edited or withdrawn is meant before what is answered.
fn refers_to(content: Option<&v1::MessageContent>, context: Option<String>) -> String {
    use v1::message_content::Content as Is;
    match content.and_then(|content| content.content.as_ref()) {
        Some(Is::Reaction(reaction)) => reaction.provider_message_id.clone(),
        Some(Is::Edit(edit)) => edit.original_provider_message_id.clone(),
        Some(Is::Revoke(revoke)) => revoke.original_provider_message_id.clone(),
        _ => context.unwrap_or_default(),
    }
}

fn told_of(window: &v1::PublishedWindow) -> Detail {
    Detail {
        until_time: window.expire_time,
        free_entry_point: window.free_entry_point,
        closed_reason: window.closed_reason,
        ..by(Party::Casement)
    }
}

fn requested(event: v1::MessageRequested) -> Detail {
    let content = event.content.unwrap_or_default();
    let sms = content.sms.map(|sms| sms.text).unwrap_or_default();
    let template = content.template.map(|template| {
        if !event.sensitive {
            return template;
        }
        v1::TemplateContent {
            name: template.name,
            language: template.language,
            ..v1::TemplateContent::default()
        }
    });
    let mut detail = Detail {
        author: event.caller,
        purpose: event.purpose,
        sensitive: event.sensitive,
        refers_to_message_id: event.reply_to_message_id,
        until_time: event.expire_time,
        template,
        ..by(Party::Business)
    };
    if event.sensitive {
        return detail;
    }
    match content.free_form {
        Some(free_form) => {
            let (kind, text) = said(&free_form);
            kind.clone_into(&mut detail.kind);
            detail.text = text;
            if let Some(v1::free_form::Content::Reaction(reaction)) = free_form.content {
                detail.refers_to_message_id = reaction.message_id;
            }
            detail.sms_text = sms;
        }
        None if detail.template.is_some() => {
            "template".clone_into(&mut detail.kind);
            // What the template says does not need to be said twice.
            detail.sms_text = if event.sms_from_template {
                String::new()
            } else {
                sms
            };
        }
        None => {
            "sms".clone_into(&mut detail.kind);
            detail.text = sms;
        }
    }
    detail
}

/// What a free-form message is, and the words in it.
fn said(of: &v1::FreeForm) -> (&'static str, String) {
    use v1::free_form::Content as Is;
    match &of.content {
        None => ("text", of.text.clone()),
        Some(Is::Image(file)) => ("image", file.caption.clone()),
        Some(Is::Video(file)) => ("video", file.caption.clone()),
        Some(Is::Audio(_)) => ("audio", String::new()),
        Some(Is::Document(file)) => match file.caption.as_str() {
            "" => ("document", file.filename.clone()),
            caption => ("document", caption.to_owned()),
        },
        Some(Is::Sticker(_)) => ("sticker", String::new()),
        Some(Is::Location(place)) => ("location", place.name.clone()),
        Some(Is::Contacts(_)) => ("contacts", String::new()),
        Some(Is::Reaction(reaction)) => ("reaction", reaction.emoji.clone()),
        Some(Is::Interactive(message)) => ("interactive", message.body.clone()),
        Some(Is::RawJson(_)) => ("raw", String::new()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn requested(content: v1::Content, sensitive: bool) -> Detail {
        let event = v1::MessageRequested {
            content: Some(content),
            sensitive,
            caller: "shop".to_owned(),
            sms_from_template: true,
            ..v1::MessageRequested::default()
        };
        of(event.into()).unwrap()
    }

    fn content() -> v1::Content {
        v1::Content {
            free_form: None,
            template: Some(v1::TemplateContent {
                name: "order_update".to_owned(),
                language: "en_US".to_owned(),
                components: vec![v1::TemplateComponent::default()],
                ..v1::TemplateContent::default()
            }),
            sms: Some(v1::SmsContent {
                text: "Your order 7 is on its way.".to_owned(),
                sender: String::new(),
            }),
        }
    }

    #[test]
    fn what_a_customer_wrote_is_told_whole() {
        let text = "a\nb <b>".repeat(500);
        let event = v1::InboundMessageReceived {
            kind: "text".to_owned(),
            text: text.clone(),
            provider_message_id: "wamid.1".to_owned(),
            context_provider_message_id: "wamid.0".to_owned(),
            ..v1::InboundMessageReceived::default()
        };
        let detail = of(event.into()).unwrap();
        assert_eq!(detail.party(), Party::Customer);
        assert_eq!((detail.kind.as_str(), detail.text), ("text", text));
        assert_eq!(detail.refers_to_message_id, "wamid.0");
    }

    #[test]
    fn a_reaction_refers_to_what_it_reacts_to() {
        let event = v1::InboundMessageReceived {
            kind: "reaction".to_owned(),
            text: "👍".to_owned(),
            context_provider_message_id: "wamid.0".to_owned(),
            content: Some(v1::MessageContent {
                content: Some(v1::message_content::Content::Reaction(
                    v1::ReactionContent {
                        provider_message_id: "wamid.7".to_owned(),
                        ..v1::ReactionContent::default()
                    },
                )),
            }),
            ..v1::InboundMessageReceived::default()
        };
        assert_eq!(of(event.into()).unwrap().refers_to_message_id, "wamid.7");
    }

    #[test]
    fn what_a_template_says_is_not_said_again_as_sms() {
        let detail = requested(content(), false);
        assert_eq!(detail.kind, "template");
        assert_eq!(detail.sms_text, "");
        assert_eq!(detail.template.unwrap().components.len(), 1);
        let alone = v1::Content {
            template: None,
            ..content()
        };
        let detail = requested(alone, false);
        assert_eq!(
            (detail.kind.as_str(), detail.text.as_str()),
            ("sms", "Your order 7 is on its way.")
        );
    }

    #[test]
    fn of_a_sensitive_message_no_more_than_its_template_is_told() {
        let detail = requested(content(), true);
        let template = detail.template.unwrap();
        assert_eq!(template.name, "order_update");
        assert!(template.components.is_empty());
        assert!(detail.text.is_empty() && detail.sms_text.is_empty() && detail.kind.is_empty());
    }

    #[test]
    fn an_attempt_tells_its_route_and_the_reasons_for_it() {
        let mut event = v1::AttemptStarted {
            attempt: 2,
            decision: Some(v1::Decision {
                policy: "default".to_owned(),
                ..v1::Decision::default()
            }),
            ..v1::AttemptStarted::default()
        };
        event.set_route(v1::Route::Template);
        let detail = of(event.into()).unwrap();
        assert_eq!((detail.attempt, detail.route()), (2, v1::Route::Template));
        assert_eq!(detail.decision.unwrap().policy, "default");
    }

    #[test]
    fn what_nobody_handles_in_parts_has_none() {
        assert_eq!(of(v1::BrandRecorded::default().into()), None);
        assert_eq!(of(v1::CustomerMerged::default().into()), None);
    }
}
