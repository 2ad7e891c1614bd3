//! What a customer, the business or a colleague said in a conversation: what its last messages are
//! shown by, and what search finds.
//!
//! Pure. Of what is sensitive it says which kind of message it was, and nothing of the text.

use casement_event::{Event, Stored, v1};
use casement_proto::conversation::v1::Direction;
use jiff::Timestamp;

use crate::index;
use crate::model::{ConversationKey, KEY_LEN_MAX};
use crate::timeline;

/// Something that was said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Said {
    pub(crate) key: ConversationKey,
    pub(crate) brand_id: String,
    /// Of the fact; the same however often it comes.
    pub(crate) id: String,
    pub(crate) at: Timestamp,
    pub(crate) direction: Direction,
    /// As in a timeline, such as `text`, `image`, `template`, `sms` or `note`.
    pub(crate) kind: String,
    /// Whole. May be empty.
    pub(crate) text: String,
    /// Of a message of ours.
    pub(crate) message_id: String,
}

/// Returns what was said, if an event is of that.
pub(crate) fn said(stored: &Stored, event: &Event) -> Option<Said> {
    if let Event::LateFact(late) = event {
        let fact = Event::decode(&late.fact_type, &late.fact).ok()?;
        return said_at(&fact, &late.fact_id, index::event_time(stored));
    }
    said_at(event, index::event_id(stored), index::event_time(stored))
}

/// Returns what was said at a time, if an event is of that.
pub(crate) fn said_at(event: &Event, id: &str, at: Timestamp) -> Option<Said> {
    let direction = match event {
        Event::InboundMessageReceived(_) | Event::InboundSmsReceived(_) => Direction::Inbound,
        Event::EchoReceived(_) | Event::MessageRequested(_) => Direction::Outbound,
        Event::NoteAdded(_) => Direction::Note,
        _ => return None,
    };
    let conversation = index::conversation(event)?;
    let is_key = |text: &str| (1..=KEY_LEN_MAX).contains(&text.len());
    if !is_key(&conversation.number) || !is_key(&conversation.customer_id) {
        return None;
    }
    let detail = timeline::of(event.clone())?;
    let template = detail.template.as_ref();
    let texts = [detail.text.clone(), detail.sms_text.clone()]
        .into_iter()
        .chain(template.into_iter().flat_map(of_template))
        .filter(|text| !text.is_empty());
    // What goes by SMS often says the same.
    let mut said: Vec<String> = Vec::new();
    for text in texts {
        if !said.contains(&text) {
            said.push(text);
        }
    }
    Some(Said {
        key: ConversationKey {
            number: conversation.number.clone(),
            customer_id: conversation.customer_id.clone(),
        },
        brand_id: conversation.brand_id.clone(),
        id: id.to_owned(),
        at,
        direction,
        text: said.join("\n"),
        kind: detail.kind,
        message_id: match event {
            Event::MessageRequested(event) => event.message_id.clone(),
            _ => String::new(),
        },
    })
}

/// Its name, and what was filled in.
fn of_template(template: &v1::TemplateContent) -> Vec<String> {
    use v1::template_parameter::Value;
    let parameters = template
        .components
        .iter()
        .flat_map(|component| &component.parameters)
        .filter_map(|parameter| match parameter.value.as_ref()? {
            Value::Text(text) | Value::DateTime(text) => Some(text.clone()),
            _ => None,
        });
    std::iter::once(template.name.clone())
        .chain(parameters)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture;

    fn of(event: impl Into<Event>) -> Option<Said> {
        let event = event.into();
        said(&fixture::record("EVENTS", 7, &event), &event)
    }

    #[test]
    fn what_people_say_is_told_with_its_direction() {
        let conversation = || Some(fixture::conversation());
        let inbound = v1::InboundMessageReceived {
            conversation: conversation(),
            kind: "text".to_owned(),
            text: "Is it open?".to_owned(),
            ..Default::default()
        };
        let note = v1::NoteAdded {
            conversation: conversation(),
            text: "ask Ana".to_owned(),
            ..Default::default()
        };
        let template = v1::MessageRequested {
            conversation: conversation(),
            message_id: "m".to_owned(),
            content: Some(v1::Content {
                template: Some(v1::TemplateContent {
                    name: "order_update".to_owned(),
                    components: vec![v1::TemplateComponent {
                        parameters: vec![v1::TemplateParameter {
                            value: Some(v1::template_parameter::Value::Text("7".to_owned())),
                            ..Default::default()
                        }],
                        ..Default::default()
                    }],
                    ..Default::default()
                }),
                ..Default::default()
            }),
            ..Default::default()
        };
        let late = v1::LateFact {
            conversation: conversation(),
            fact_type: "casement.events.v1.InboundMessageReceived".to_owned(),
            fact: Event::from(inbound.clone()).encode().to_vec(),
            fact_id: "a-fact".to_owned(),
            ..Default::default()
        };
        let told = |said: Said| (said.direction, said.kind, said.text);
        let expected =
            |direction, kind: &str, text: &str| Some((direction, kind.to_owned(), text.to_owned()));
        let (customer, business) = (Direction::Inbound, Direction::Outbound);
        assert_eq!(
            of(inbound).map(told),
            expected(customer, "text", "Is it open?")
        );
        assert_eq!(
            of(note).map(told),
            expected(Direction::Note, "note", "ask Ana")
        );
        let template = of(template).unwrap();
        assert_eq!(template.message_id, "m");
        assert_eq!(
            Some(told(template)),
            expected(business, "template", "order_update\n7")
        );
        let late = of(late).unwrap();
        assert_eq!((late.id.as_str(), late.direction), ("a-fact", customer));
    }

    #[test]
    fn what_is_sensitive_says_nothing_and_what_nobody_said_is_nothing() {
        let sensitive = v1::MessageRequested {
            conversation: Some(fixture::conversation()),
            sensitive: true,
            content: Some(v1::Content {
                sms: Some(v1::SmsContent {
                    text: "Your code is 1234".to_owned(),
                    sender: String::new(),
                }),
                ..Default::default()
            }),
            ..Default::default()
        };
        assert_eq!(of(sensitive).unwrap().text, "");
        let opened = v1::WindowOpened::default();
        assert_eq!(of(opened), None);
    }
}
