//! One line about an event, for people who read a timeline.
//!
//! Pure. Programs read the event itself; these words may change.

use casement_event::{Event, Stored, convert, v1};
use jiff::SignedDuration;

use crate::model::{Content, Row};

/// Longest part of a customer's or a caller's text in a line, in characters.
const TEXT_LEN_MAX: usize = 120;

/// Returns one line about an archived event; that it cannot be read, if it was erased or does not
/// open.
pub(crate) fn of_row(row: &Row) -> String {
    match row.content {
        Content::Open => summary(&row.stored),
        Content::Erased => format!("{} (erased)", name(row.stored.event_type())),
        Content::Sealed | Content::Broken => {
            format!("{} (does not open)", name(row.stored.event_type()))
        }
    }
}

/// Returns one line about an event; its type, if it cannot be read.
fn summary(stored: &Stored) -> String {
    match stored.event() {
        Ok(event) => of(&event).unwrap_or_else(|| name(event.event_type()).to_owned()),
        Err(_) => name(stored.event_type()).to_owned(),
    }
}

fn of(event: &Event) -> Option<String> {
    Some(match event {
        Event::InboundMessageReceived(event) => said("customer wrote", &event.kind, &event.text),
        Event::InboundSmsReceived(event) => said("customer wrote", "sms", &event.text),
        Event::InboundCallReceived(event) => format!("call: {}", event.event.to_lowercase()),
        Event::EchoReceived(event) => said(
            "business wrote outside of Casement",
            &event.kind,
            &event.text,
        ),
        Event::HistoryImported(event) => format!(
            "{} messages from before onboarding imported",
            event.messages.len()
        ),
        Event::AppContactReported(event) => {
            format!("phone app's address book: {}", event.action)
        }
        Event::GroupEventReceived(event) => format!("group: {}", word(&event.kind)),
        Event::ForeignStatusReported(event) => {
            format!("platform reported on another's message: {}", event.status)
        }
        Event::NumberHealthChanged(event) => health(event),
        Event::WatchRaised(event) => watched(event.watch.as_ref()?),
        Event::WatchCleared(event) => watched(event.watch.as_ref()?),
        Event::DowngradeRequested(_) => {
            "wish to have the number back on the app; it stays as it is".to_owned()
        }
        Event::DeregistrationAdvanced(event) => format!(
            "deregistration {}",
            enum_word(
                event.deregistration.as_ref()?.state().as_str_name(),
                "DEREGISTRATION_STATE_"
            )
        ),
        Event::RegistrationCounted(_) => "a registration call was counted".to_owned(),
        Event::InteractionNotSupported(event) => format!(
            "customer did what the account cannot use: {} ({})",
            word(&event.capability),
            event.reason
        ),
        Event::AccountReported(event) => format!(
            "platform reported: {} {}",
            word(&event.field),
            word(&event.event)
        )
        .trim_end()
        .to_owned(),
        Event::LateFact(event) => format!("arrived late: {}", name(&event.fact_type)),
        Event::CustomerIdentityChanged(_) => "customer's identifiers changed".to_owned(),
        Event::CustomerPreferenceReported(event) => {
            format!("customer's preference: {} {}", event.value, event.category)
        }
        Event::ThreadOwnerChanged(_) => "thread passed to another responder".to_owned(),
        Event::MovedTo(_) => "conversation goes on under another customer id".to_owned(),
        Event::CustomerMerged(_) => "another customer id proved to be this customer".to_owned(),
        Event::WindowOpened(event) => format!("window opened{}", until(event.window.as_ref())),
        Event::WindowExtended(event) => format!("window extended{}", until(event.window.as_ref())),
        Event::WindowExpiring(event) => {
            let window = event.window.as_ref();
            format!("window ends soon{}{}", until(window), waiting(window))
        }
        Event::WindowExpired(event) => format!("window expired{}", waiting(event.window.as_ref())),
        Event::WindowCorrected(event) => format!(
            "window closed: {}",
            enum_word(
                event.window.as_ref()?.closed_reason().as_str_name(),
                "CLOSED_REASON_"
            )
        ),
        Event::WindowRefused(event) => {
            format!(
                "platform refused attempt {} as outside the window",
                event.attempt
            )
        }
        Event::WindowProven(event) => {
            format!(
                "delivery of attempt {} proved the window open",
                event.attempt
            )
        }
        Event::CustomerAnswered(event) => answered(event),
        Event::FreeEntryPointStarted(event) => format!(
            "attempt {} replied to a customer who came from an ad",
            event.attempt
        ),
        Event::FreeEntryPointReported(event) if event.confirmed => format!(
            "platform bills nothing for attempt {}: a free entry point is open",
            event.attempt
        ),
        Event::FreeEntryPointReported(event) => format!(
            "platform bills attempt {} as any: no free entry point is open",
            event.attempt
        ),
        Event::MediaStored(event) => {
            let media = event.media.clone().unwrap_or_default();
            let what = format!("{} stored, {} bytes", media.kind, event.size_bytes);
            said(&what, "", &media.filename)
        }
        Event::MediaDeferred(event) => format!(
            "{} cannot be had yet: {}",
            event.media.as_ref().map_or("file", |media| &media.kind),
            enum_word(event.problem().as_str_name(), "MEDIA_PROBLEM_")
        ),
        Event::MediaUnavailable(event) => format!(
            "{} cannot be had: {}",
            event.media.as_ref().map_or("file", |media| &media.kind),
            enum_word(event.problem().as_str_name(), "MEDIA_PROBLEM_")
        ),
        Event::ConsentRecorded(event) => consent(event),
        Event::CustomerExported(event) => {
            format!(
                "what is held of the customer handed out to {}",
                event.caller
            )
        }
        Event::RawWebhookShown(event) => {
            format!("webhook as received shown to {}", event.caller)
        }
        Event::DataShown(event) => format!(
            "{} shown to {}",
            enum_word(event.kind().as_str_name(), "DATA_KIND_"),
            event.caller
        ),
        Event::ReadModelsAsked(event) => {
            format!("new read models asked for by {}", event.caller)
        }
        Event::AccessRefused(event) => format!(
            "{} calls refused: {} {}",
            event.count, event.reason, event.method
        ),
        Event::NoteAdded(event) => said("note", &event.author, &event.text),
        Event::ConversationAssigned(event) => assigned(event),
        Event::ConversationMarkedRead(event) => format!("read{}", by(event.act.as_ref())),
        Event::ConversationClosed(event) => {
            format!("conversation closed{}", by(event.act.as_ref()))
        }
        Event::ConversationReopened(event) => {
            format!("conversation reopened{}", by(event.act.as_ref()))
        }
        Event::ConversationLabelled(event) => labelled(event),
        Event::MessageRequested(event) => requested(event),
        Event::MessageHeld(event) if event.nudge_message_id.is_empty() => {
            "message held until the customer writes".to_owned()
        }
        Event::MessageHeld(event) => format!(
            "message held until the customer writes, whom message {} asks to",
            event.nudge_message_id
        ),
        Event::MessageReleased(event) => format!("message released: {}", word(&event.cause)),
        Event::MessageDeferred(event) => format!("message put off: {}", word(&event.cause)),
        Event::AttemptStarted(event) => {
            let route = enum_word(event.route().as_str_name(), "ROUTE_");
            match event.sms_gateway.as_str() {
                // The account in the number's own record goes without saying.
                "" | "number" => format!("attempt {} by {route}", event.attempt),
                gateway => format!("attempt {} by {route} through {gateway}", event.attempt),
            }
        }
        Event::AttemptAccepted(event) => {
            format!("attempt {} accepted by the provider", event.attempt)
        }
        Event::AttemptRejected(event) => {
            let error = event.error.clone().unwrap_or_default();
            format!(
                "attempt {} refused by the provider: {} {}",
                event.attempt, error.code, error.title
            )
            .trim_end()
            .to_owned()
        }
        Event::AttemptUnknown(event) => {
            format!("outcome of attempt {} is not known", event.attempt)
        }
        Event::AttemptAbandoned(event) => {
            format!(
                "attempt {} ended by policy: {}",
                event.attempt,
                word(&event.policy)
            )
        }
        Event::DeliveryAdvanced(event) => {
            enum_word(event.status().as_str_name(), "DELIVERY_STATUS_")
        }
        Event::DeliveryOverdue(event) if event.moves_on => format!(
            "no delivery of attempt {} in time: another channel is taken{}",
            event.attempt,
            if event.duplicate_risk {
                ", at the risk of a duplicate"
            } else {
                ""
            }
        ),
        Event::DeliveryOverdue(event) => {
            format!(
                "no delivery of attempt {} in time: it is awaited",
                event.attempt
            )
        }
        Event::MessageBilled(event) => {
            let pricing = event.pricing.clone().unwrap_or_default();
            format!(
                "billed as {} ({})",
                word(&pricing.category),
                word(&pricing.r#type)
            )
        }
        Event::DoubleExposure(event) => format!(
            "the customer got the message twice: attempts {}",
            event
                .attempts
                .iter()
                .map(u32::to_string)
                .collect::<Vec<_>>()
                .join(" and ")
        ),
        Event::DeliveryContradicted(event) => format!(
            "report contradicts what is known: {} after {}",
            enum_word(event.status().as_str_name(), "DELIVERY_STATUS_"),
            enum_word(event.known_status().as_str_name(), "DELIVERY_STATUS_")
        ),
        Event::MessageEnded(event) => {
            let outcome = enum_word(event.outcome().as_str_name(), "MESSAGE_OUTCOME_");
            match event.reason.as_str() {
                "" => format!("message ended: {outcome}"),
                reason => format!("message ended: {outcome} ({})", word(reason)),
            }
        }
        Event::MessageExpired(_) => "message expired".to_owned(),
        Event::MessageCancelled(event) => format!("message cancelled by {}", event.caller),
        Event::StatusReported(event) => format!("provider reported: {}", event.provider_status),
        _ => return None,
    })
}

fn by(act: Option<&v1::Act>) -> String {
    act.map_or_else(String::new, |act| format!(" by {}", act.author))
}

fn assigned(event: &v1::ConversationAssigned) -> String {
    let handling = event.handling.as_ref();
    let to = handling.map_or("", |handling| handling.assignee.as_str());
    let what = match (to, event.previous_assignee.as_str()) {
        ("", before) => format!("no longer assigned to {before}"),
        (to, "") => format!("assigned to {to}"),
        (to, before) => format!("assigned to {to}, no longer to {before}"),
    };
    format!("conversation {what}{}", by(event.act.as_ref()))
}

fn labelled(event: &v1::ConversationLabelled) -> String {
    let added = event.added_labels.iter().map(|label| format!("+{label}"));
    let removed = event.removed_labels.iter().map(|label| format!("-{label}"));
    let labels: Vec<_> = added.chain(removed).collect();
    format!("labels {}{}", labels.join(" "), by(event.act.as_ref()))
}

fn answered(event: &v1::CustomerAnswered) -> String {
    let time = |stored: &Option<_>| convert::instant("time", stored.as_ref()).ok().flatten();
    let waited = time(&event.answered_time)
        .zip(time(&event.waiting_since_time))
        .map(|(answered, since)| answered.duration_since(since));
    match waited {
        Some(waited) => format!(
            "customer answered by attempt {} after {:#}",
            event.attempt,
            SignedDuration::from_secs(waited.as_secs())
        ),
        None => format!("customer answered by attempt {}", event.attempt),
    }
}

/// What the customer refuses; what it allows needs no words.
fn consent(event: &v1::ConsentRecorded) -> String {
    let refused = event.consents.iter().filter(|one| !one.allowed);
    let refused: Vec<String> = refused
        .map(|one| {
            let channel = enum_word(one.channel().as_str_name(), "CHANNEL_");
            format!("{} {channel}", one.purpose).trim().to_owned()
        })
        .collect();
    if refused.is_empty() {
        "customer refuses nothing".to_owned()
    } else {
        format!("customer refuses: {}", refused.join(", "))
    }
}

fn requested(event: &v1::MessageRequested) -> String {
    let content = event.content.clone().unwrap_or_default();
    if event.sensitive {
        return "message requested (sensitive)".to_owned();
    }
    let template = content
        .template
        .map(|template| format!("template {}", template.name));
    if !event.held_message_id.is_empty() {
        let by = template.unwrap_or_default();
        let held = &event.held_message_id;
        return said(
            &format!("customer asked to write for message {held}"),
            "",
            &by,
        );
    }
    let (kind, text) = content
        .free_form
        .as_ref()
        .map(outgoing)
        .or(template.map(|template| ("", template)))
        .or(content.sms.map(|sms| ("", sms.text)))
        .unwrap_or_default();
    said("message requested", kind, &text)
}

/// What a message of ours is, unless it is text, and the words in it.
fn outgoing(of: &v1::FreeForm) -> (&'static str, String) {
    use v1::free_form::Content as Is;
    match &of.content {
        None => ("", of.text.clone()),
        Some(Is::Image(file)) => ("image", file.caption.clone()),
        Some(Is::Video(file)) => ("video", file.caption.clone()),
        Some(Is::Audio(_)) => ("audio", String::new()),
        Some(Is::Document(file)) => ("document", file.caption.clone()),
        Some(Is::Sticker(_)) => ("sticker", String::new()),
        Some(Is::Location(place)) => ("location", place.name.clone()),
        Some(Is::Contacts(_)) => ("contacts", String::new()),
        Some(Is::Reaction(reaction)) => ("reaction", reaction.emoji.clone()),
        Some(Is::Interactive(message)) => ("interactive", message.body.clone()),
        Some(Is::RawJson(_)) => ("raw", String::new()),
    }
}

fn until(window: Option<&v1::PublishedWindow>) -> String {
    window
        .and_then(|window| window.expire_time.as_ref())
        .and_then(|time| convert::instant("expire_time", Some(time)).ok().flatten())
        .map(|time| format!(" until {time}"))
        .unwrap_or_default()
}

/// Returns that nobody answered, and since when; nothing if the last word was ours.
fn waiting(window: Option<&v1::PublishedWindow>) -> String {
    window
        .and_then(|window| window.waiting_since_time.as_ref())
        .and_then(|time| {
            convert::instant("waiting_since_time", Some(time))
                .ok()
                .flatten()
        })
        .map(|time| format!(", unanswered since {time}"))
        .unwrap_or_default()
}

fn said(what: &str, kind: &str, text: &str) -> String {
    let kind = if kind.is_empty() {
        String::new()
    } else {
        format!(" ({kind})")
    };
    if text.is_empty() {
        return format!("{what}{kind}");
    }
    let mut line: String = text
        .chars()
        .map(|char| if char.is_control() { ' ' } else { char })
        .take(TEXT_LEN_MAX)
        .collect();
    if text.chars().nth(TEXT_LEN_MAX).is_some() {
        line.push('…');
    }
    format!("{what}{kind}: {line}")
}

/// The message's name without its package.
fn name(event_type: &str) -> &str {
    event_type.rsplit('.').next().unwrap_or_default()
}

fn enum_word(name: &str, prefix: &str) -> String {
    word(name.strip_prefix(prefix).unwrap_or(name))
}

fn word(constant: &str) -> String {
    constant.to_lowercase().replace('_', " ")
}

/// A verdict of what is watched.
fn watched(watch: &v1::Watch) -> String {
    let check = enum_word(watch.check().as_str_name(), "WATCH_CHECK_");
    let level = enum_word(watch.level().as_str_name(), "WATCH_LEVEL_");
    format!("watch: {check} is {level}: {}", watch.text)
}

/// What the platform says of a number now that it did not before.
fn health(event: &v1::NumberHealthChanged) -> String {
    let changes = event.changes.iter().filter_map(|change| {
        let after = change.after.as_ref()?;
        let kind = enum_word(after.kind().as_str_name(), "HEALTH_KIND_");
        Some(format!("{kind} {}", after.value))
    });
    format!(
        "platform says of the number: {}",
        changes.collect::<Vec<_>>().join(", ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::record;

    fn line(event: impl Into<Event>) -> String {
        summary(&record("EVENTS", 1, &event.into()))
    }

    #[test]
    fn consent_is_told_by_what_is_refused() {
        let word = |channel: v1::Channel, purpose: &str, allowed| v1::Consent {
            channel: channel.into(),
            purpose: purpose.to_owned(),
            allowed,
            ..v1::Consent::default()
        };
        let told = |consents: Vec<v1::Consent>| {
            let event = v1::ConsentRecorded {
                consents,
                ..v1::ConsentRecorded::default()
            };
            of(&event.into()).unwrap()
        };
        let sms = word(v1::Channel::Sms, "", false);
        let marketing = word(v1::Channel::Whatsapp, "marketing", false);
        assert_eq!(
            told(vec![sms, marketing]),
            "customer refuses: sms, marketing whatsapp"
        );
        let lifted = word(v1::Channel::Sms, "", true);
        assert_eq!(told(vec![lifted]), "customer refuses nothing");
    }

    #[test]
    fn a_line_is_one_line_of_bounded_length() {
        let text = "a\nb".repeat(100);
        let message = v1::InboundMessageReceived {
            kind: "text".to_owned(),
            text,
            ..Default::default()
        };
        let line = line(message);
        assert!(
            line.starts_with("customer wrote (text): a ba ba b"),
            "{line}"
        );
        assert!(
            line.chars().count() < TEXT_LEN_MAX + 30 && line.ends_with('…'),
            "{line}"
        );
    }

    #[test]
    fn content_of_a_sensitive_message_is_not_told() {
        let content = v1::Content {
            free_form: Some(v1::FreeForm {
                text: "your code is 123".to_owned(),
                ..Default::default()
            }),
            ..Default::default()
        };
        let message = v1::MessageRequested {
            content: Some(content),
            ..Default::default()
        };
        assert_eq!(line(message.clone()), "message requested: your code is 123");
        let mut picture = message.clone();
        picture.content = Some(v1::Content {
            free_form: Some(v1::FreeForm {
                content: Some(v1::free_form::Content::Image(v1::Attachment {
                    caption: "Aloe".to_owned(),
                    ..Default::default()
                })),
                ..Default::default()
            }),
            ..Default::default()
        });
        assert_eq!(line(picture), "message requested (image): Aloe");
        let sensitive = v1::MessageRequested {
            sensitive: true,
            ..message
        };
        assert_eq!(line(sensitive), "message requested (sensitive)");
    }

    #[test]
    fn a_held_message_and_its_nudge_name_each_other() {
        let held = v1::MessageHeld {
            nudge_message_id: "nudge-1".to_owned(),
            ..Default::default()
        };
        assert_eq!(
            line(held),
            "message held until the customer writes, whom message nudge-1 asks to"
        );
        assert_eq!(
            line(v1::MessageHeld::default()),
            "message held until the customer writes"
        );
        let nudge = v1::MessageRequested {
            content: Some(v1::Content {
                template: Some(v1::TemplateContent {
                    name: "please_write".to_owned(),
                    ..Default::default()
                }),
                ..Default::default()
            }),
            held_message_id: "held-1".to_owned(),
            ..Default::default()
        };
        assert_eq!(
            line(nudge),
            "customer asked to write for message held-1: template please_write"
        );
    }

    #[test]
    fn an_answer_says_how_long_the_customer_had_waited() {
        let at = |second| {
            let at = jiff::Timestamp::from_second(second).unwrap();
            Some(convert::timestamp(at))
        };
        let answered = v1::CustomerAnswered {
            attempt: 1,
            waiting_since_time: at(100),
            answered_time: at(3_765),
            ..Default::default()
        };
        assert_eq!(
            line(answered),
            "customer answered by attempt 1 after 1h 1m 5s"
        );
        let untold = v1::CustomerAnswered {
            attempt: 1,
            ..Default::default()
        };
        assert_eq!(line(untold), "customer answered by attempt 1");
    }

    #[test]
    fn what_has_no_words_is_told_by_its_type() {
        assert_eq!(line(v1::BrandRecorded::default()), "BrandRecorded");
        let mut unknown = record("EVENTS", 1, &v1::BrandRecorded::default().into());
        unknown.headers = vec![(
            "ce-type".to_owned(),
            "casement.events.v1.Unheard".to_owned(),
        )];
        assert_eq!(summary(&unknown), "Unheard");
        let mut ended = v1::MessageEnded {
            reason: "NO_ROUTE".to_owned(),
            ..Default::default()
        };
        ended.set_outcome(v1::MessageOutcome::UnreachableBySms);
        assert_eq!(line(ended), "message ended: unreachable by sms (no route)");
    }
}
