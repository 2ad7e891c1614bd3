//! What a customer would read.

use super::{Button, ButtonKind, Component, Definition, Filling, Header, Parameter, Part, Place};
use crate::sms::text::substitute;

/// A message, or one card of it, as a customer reads it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rendered {
    /// A header's text; of a file what was given for it.
    pub header: String,
    /// The body.
    pub body: String,
    /// The footer.
    pub footer: String,
    /// In their order.
    pub buttons: Vec<RenderedButton>,
}

/// A button as a customer sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RenderedButton {
    /// What it does.
    pub kind: ButtonKind,
    /// What it says.
    pub text: String,
    /// What it opens, calls or copies.
    pub target: String,
}

/// Returns a template filled in: the message itself, and the cards of a carousel. What nothing is
/// given for keeps its placeholder.
pub fn render(definition: &Definition, filling: &Filling) -> (Rendered, Vec<Rendered>) {
    let whole = Rendered {
        footer: definition.footer.clone(),
        ..render_part(&definition.part, &filling.components)
    };
    let cards = definition.cards.iter().enumerate().map(|(index, card)| {
        let given = filling.cards.get(index).map_or(&[][..], Vec::as_slice);
        render_part(card, given)
    });
    (whole, cards.collect())
}

fn render_part(part: &Part, given: &[Component]) -> Rendered {
    let of = |place: &Place| {
        let component = given.iter().find(|component| component.place == *place);
        component.map_or(&[][..], |component| component.parameters.as_slice())
    };
    let header = match &part.header {
        Some(Header::Text(text)) => filled(text, of(&Place::Header)),
        Some(_) => first_text(of(&Place::Header)),
        None => String::new(),
    };
    let buttons = part.buttons.iter().enumerate();
    Rendered {
        header,
        body: filled(&part.body, of(&Place::Body)),
        footer: String::new(),
        buttons: buttons
            .map(|(index, button)| render_button(index, button, given))
            .collect(),
    }
}

fn render_button(place: usize, button: &Button, given: &[Component]) -> RenderedButton {
    let is_this = |component: &&Component| matches!(&component.place, Place::Button { index: Some(index), .. } if *index == place);
    let parameters = given
        .iter()
        .find(is_this)
        .map_or(&[][..], |it| it.parameters.as_slice());
    let target = match button.kind {
        ButtonKind::Url => filled(&button.target, parameters),
        ButtonKind::CopyCode | ButtonKind::Otp | ButtonKind::QuickReply => first_text(parameters),
        _ => button.target.clone(),
    };
    RenderedButton {
        kind: button.kind,
        text: button.text.clone(),
        target,
    }
}

fn first_text(parameters: &[Parameter]) -> String {
    parameters
        .first()
        .and_then(|one| one.text.clone())
        .unwrap_or_default()
}

fn filled(text: &str, parameters: &[Parameter]) -> String {
    substitute(text, |name| {
        let given = match name.parse::<usize>() {
            Ok(place) => parameters.get(place.checked_sub(1)?),
            Err(_) => parameters.iter().find(|one| one.name == name),
        };
        given?.text.clone()
    })
}
