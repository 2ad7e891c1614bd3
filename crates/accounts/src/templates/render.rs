//! What a customer would read, as the API answers it.

use api::render_template_response::{Button, Part, Problem};
use casement_domain::template::{self, Rendered};
use casement_event::convert::template::{definition, filling, write_button_kind};
use casement_event::v1;
use casement_proto::account::v1 as api;

/// Fills a template in.
pub(super) fn render(
    of: &v1::TemplateDefinition,
    components: &[v1::TemplateComponent],
    cards: &[v1::TemplateCard],
) -> api::RenderTemplateResponse {
    let (rules, given) = (definition(of), filling(components, cards));
    let (message, shown) = template::render(&rules, &given);
    let problems = template::check(&rules, &given).into_iter();
    let headers = of.cards.iter().map(|card| card.header.as_ref());
    api::RenderTemplateResponse {
        message: Some(part(message, of.header.as_ref())),
        cards: shown
            .into_iter()
            .zip(headers)
            .map(|(card, header)| part(card, header))
            .collect(),
        problems: problems
            .map(|misfit| Problem {
                field: misfit.field,
                description: misfit.reason,
            })
            .collect(),
    }
}

fn part(of: Rendered, header: Option<&v1::TemplateHeader>) -> Part {
    let buttons = of.buttons.into_iter().map(|button| Button {
        kind: write_button_kind(button.kind).into(),
        text: button.text,
        target: button.target,
    });
    Part {
        header_format: header.map_or(0, |header| header.format),
        header: of.header,
        body: of.body,
        footer: of.footer,
        buttons: buttons.collect(),
    }
}

/// Returns what a template is made of, as far as it is known: one that was never read has its body
/// alone.
pub(super) fn known(of: &v1::Template) -> v1::TemplateDefinition {
    of.definition
        .clone()
        .unwrap_or_else(|| v1::TemplateDefinition {
            body: Some(v1::TemplateBody {
                text: of.body.clone(),
                ..v1::TemplateBody::default()
            }),
            // Nobody knows what else it has.
            other_json: vec!["{}".to_owned()],
            ..v1::TemplateDefinition::default()
        })
}
