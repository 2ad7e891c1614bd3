//! What a message fills a template in with, held against what the account knows of the template.
//!
//! A template that was read from the platform says what it takes; of one that was only recorded no
//! more is known than how many parameters its body has.

use casement_domain::id::Phone;
use casement_domain::routing::{Template, is_of_the_us};
use casement_domain::template;
use casement_event::convert::template::{definition, filling};
use casement_event::convert::{instant, timestamp};
use casement_event::subject::{self, template_token};
use casement_event::{Record, Uuid, v1};
use casement_event_log::Expect;
use jiff::SignedDuration;

use crate::aggregate::Loaded;
use crate::compose;
use crate::engine::Engine;
use crate::provider::Answer;
use crate::request::Violation;

/// What the platform says to a send that it keeps back until it has judged the first of its
/// template (WhatsApp Cloud API: template pacing).
const HELD: &str = "held_for_quality_assessment";

/// The role, as it stands on its events.
const SOURCE: &str = "casement/dispatcher";

/// For how long a template that is on record as held back is not told of again.
const TELL_EVERY: SignedDuration = SignedDuration::from_mins(10);

/// Whether the platform took a message and keeps it back.
pub(crate) fn is_held(answer: &Answer) -> bool {
    matches!(answer, Answer::Accepted { status, .. } if status == HELD)
}

impl Engine {
    /// Tells the accounts that the platform holds messages of a template back. Nothing rests on
    /// it: what cannot be told now is told with the next message.
    pub(crate) async fn tell_held(&self, of: &Loaded, account: &v1::Number) {
        let content = of.request.content.as_ref();
        let Some(asked) = content.and_then(|content| content.template.as_ref()) else {
            return;
        };
        let (waba, name, language) = (&account.waba_id, &asked.name, &asked.language);
        let now = self.clock.now();
        let known = self.directory.template(waba, name, language);
        let told_at = known.and_then(|known| {
            let at = known.held_for_quality_time.as_ref();
            instant("held_for_quality_time", at).ok().flatten()
        });
        if told_at.is_some_and(|at| now.duration_since(at) < TELL_EVERY) {
            return;
        }
        let event = v1::TemplateHeld {
            waba_id: waba.clone(),
            name: name.clone(),
            language: language.clone(),
            time: Some(timestamp(now)),
            message_id: of.context.id.to_string(),
        };
        let subject = subject::account("pacing", &template_token(waba, name, language));
        let record = Record::new(subject, Uuid::new_v4(), SOURCE, now, event);
        if let Err(error) = self.log.append(record, Expect::Anything).await {
            tracing::warn!(waba, name, error = %error, "held template could not be told of");
        }
    }
}

/// Returns what does not fit, by the fields of a request.
pub(crate) fn misfits(asked: &v1::TemplateContent, known: &v1::Template) -> Vec<Violation> {
    let found = check(asked, known).into_iter();
    let path = |field: String| format!("content.template.{field}");
    found.map(|it| (path(it.field), it.reason)).collect()
}

fn check(asked: &v1::TemplateContent, known: &v1::Template) -> Vec<template::Misfit> {
    let Some(made_of) = &known.definition else {
        return Vec::new();
    };
    let given = filling(&asked.components, &asked.cards);
    template::check(&definition(made_of), &given)
}

/// Returns a template as routing sees it. Of a message whose content is sealed, nobody knows what
/// it is filled in with; it was checked when it was asked for.
pub(crate) fn seen(
    asked: &v1::TemplateContent,
    known: Option<v1::Template>,
    phone: Option<&Phone>,
    is_sealed: bool,
) -> Template {
    let misfit = known
        .as_ref()
        .filter(|_| !is_sealed)
        .and_then(|known| check(asked, known).into_iter().next())
        .map(|it| format!("{} {}", it.field, it.reason));
    Template {
        misfit,
        is_to_us: phone.is_some_and(is_of_the_us),
        ..compose::template(asked, known)
    }
}

/// Returns what a customer would read, for whoever previews it; `None` if nobody knows the text.
pub(crate) fn shown(asked: &v1::TemplateContent, known: &v1::Template) -> Option<String> {
    let made_of = match &known.definition {
        Some(made_of) => definition(made_of),
        None => template::Definition {
            part: template::Part {
                body: known.body.clone(),
                ..template::Part::default()
            },
            ..template::Definition::default()
        },
    };
    let given = filling(&asked.components, &asked.cards);
    let (message, cards) = template::render(&made_of, &given);
    let cards = cards.iter().flat_map(|card| [&card.header, &card.body]);
    let parts = [&message.header, &message.body, &message.footer];
    let buttons = message.buttons.iter().map(|button| &button.text);
    let texts: Vec<&str> = parts
        .into_iter()
        .chain(cards)
        .chain(buttons)
        .map(String::as_str)
        .filter(|text| !text.is_empty())
        .collect();
    (!texts.is_empty()).then(|| texts.join(" | "))
}

#[cfg(test)]
mod tests {
    use v1::template_parameter::Value as Is;

    use super::*;

    fn known() -> v1::Template {
        v1::Template {
            status: v1::TemplateStatus::Approved.into(),
            category: v1::TemplateCategory::Utility.into(),
            body: "Order {{1}}".to_owned(),
            body_parameter_count: 1,
            definition: Some(v1::TemplateDefinition {
                header: Some(v1::TemplateHeader {
                    format: v1::TemplateHeaderFormat::Image.into(),
                    ..v1::TemplateHeader::default()
                }),
                body: Some(v1::TemplateBody {
                    text: "Order {{1}}".to_owned(),
                    ..v1::TemplateBody::default()
                }),
                ..v1::TemplateDefinition::default()
            }),
            ..v1::Template::default()
        }
    }

    fn asks(text: &str) -> v1::TemplateContent {
        v1::TemplateContent {
            name: "order".to_owned(),
            language: "en".to_owned(),
            components: vec![v1::TemplateComponent {
                r#type: "body".to_owned(),
                parameters: vec![v1::TemplateParameter {
                    name: String::new(),
                    value: Some(Is::Text(text.to_owned())),
                }],
                ..v1::TemplateComponent::default()
            }],
            ..v1::TemplateContent::default()
        }
    }

    #[test]
    fn a_header_without_its_picture_is_told_by_its_field() {
        let found = misfits(&asks("7"), &known());
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(found[0].0, "content.template.components");
        let unread = v1::Template {
            definition: None,
            ..known()
        };
        assert_eq!(misfits(&asks("7"), &unread), []);
    }

    #[test]
    fn routing_sees_what_does_not_fit_unless_it_is_sealed() {
        let seen = |is_sealed| seen(&asks("7"), Some(known()), None, is_sealed);
        assert!(seen(false).misfit.is_some());
        assert_eq!(seen(true).misfit, None);
    }

    #[test]
    fn a_phone_of_the_united_states_is_known() {
        let to = |phone: &str| {
            let phone = Phone::parse(phone).unwrap();
            seen(&asks("7"), None, Some(&phone), false).is_to_us
        };
        assert!(to("+12125550100"));
        assert!(!to("+14165550100"));
    }

    #[test]
    fn what_is_shown_is_what_a_customer_reads() {
        assert_eq!(shown(&asks("7"), &known()).as_deref(), Some("Order 7"));
        assert_eq!(shown(&asks("7"), &v1::Template::default()), None);
    }
}
