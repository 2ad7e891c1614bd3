//! What becomes of a message that is claimed now will tell about its conversation.

use casement_domain::message::{self, Sending, Stakes};
use casement_domain::routing::{Purpose, Route};
use casement_domain::window::{Facts, Policy};
use casement_event::convert::message::read_purpose;
use casement_event::v1;
use jiff::Timestamp;

/// Returns what the outcome of a message that goes this way now will tell.
pub(crate) fn of(
    request: &v1::MessageRequested,
    route: Route,
    facts: &Facts,
    policy: &Policy,
    now: Timestamp,
) -> Stakes {
    let sending = Sending {
        route,
        purpose: read_purpose(request.purpose()).unwrap_or(Purpose::Service),
        is_reaction: route == Route::FreeForm && is_reaction(request.content.as_ref()),
    };
    message::stakes(sending, facts, policy, now)
}

/// Returns whether content is a reaction, which is no answer.
pub(crate) fn is_reaction(content: Option<&v1::Content>) -> bool {
    let free_form = content.and_then(|content| content.free_form.as_ref());
    match free_form.and_then(|free_form| free_form.content.as_ref()) {
        Some(v1::free_form::Content::Reaction(_)) => true,
        Some(v1::free_form::Content::RawJson(json)) => {
            let object: Option<serde_json::Value> = serde_json::from_str(json).ok();
            object.is_some_and(|object| object["type"] == "reaction")
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use casement_domain::id::FactId;
    use casement_domain::inbound::{Qualifying, Recent};

    use super::*;

    #[test]
    fn a_reaction_answers_nobody_but_what_goes_in_its_place_does() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let waits = Facts {
            last_qualifying: Some(Qualifying {
                at: at(10),
                fact: FactId::from_u128(1),
                received_at: at(10),
                provider_id: "wamid.1".to_owned(),
            }),
            recent: Recent::new([at(10)], None),
            ..Facts::default()
        };
        let request = |content| v1::MessageRequested {
            purpose: v1::Purpose::Service.into(),
            content: Some(v1::Content {
                free_form: Some(v1::FreeForm {
                    content,
                    ..v1::FreeForm::default()
                }),
                ..v1::Content::default()
            }),
            ..v1::MessageRequested::default()
        };
        let reaction = v1::free_form::Content::Reaction(v1::Reaction::default());
        let raw = |json: &str| v1::free_form::Content::RawJson(json.to_owned());
        let table = [
            (None, Route::FreeForm, true),
            (Some(reaction.clone()), Route::FreeForm, false),
            (Some(reaction), Route::Template, true),
            (Some(raw(r#"{"type":"reaction"}"#)), Route::FreeForm, false),
            (Some(raw(r#"{"type":"poll"}"#)), Route::FreeForm, true),
        ];
        for (content, route, answers) in table {
            let request = request(content);
            let told = of(&request, route, &waits, &Policy::default(), at(20));
            assert_eq!(told.answers.is_some(), answers, "{request:?} {route:?}");
        }
    }
}
