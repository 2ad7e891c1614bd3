//! Whether what a template is filled in with fits it: every misfit at once.
//!
//! What is not known of a template is not held against a send: the platform has the last word.

use super::placeholders::{Placeholders, placeholders};
use super::{
    Button, ButtonKind, Component, Definition, Filling, Header, Kind, Misfit, Parameter, Part,
    Place,
};

/// Returns all that does not fit.
pub fn check(definition: &Definition, filling: &Filling) -> Vec<Misfit> {
    let mut found = Found::default();
    let whole = Given {
        at: String::new(),
        components: &filling.components,
        is_closed: !definition.has_more,
    };
    check_part(&definition.part, &whole, &mut found);
    check_offer(definition.offer, &whole, &mut found);
    let (has, given) = (definition.cards.len(), filling.cards.len());
    if has != given && !(has == 0 && definition.has_more) {
        found.tell(
            "cards",
            format!("are {given}, and the template has {has} cards"),
        );
    }
    for (index, (card, components)) in definition.cards.iter().zip(&filling.cards).enumerate() {
        let given = Given {
            at: format!("cards[{index}]."),
            components,
            is_closed: !definition.has_more,
        };
        check_part(card, &given, &mut found);
    }
    found.0
}

#[derive(Default)]
struct Found(Vec<Misfit>);

impl Found {
    fn tell(&mut self, field: impl Into<String>, reason: impl Into<String>) {
        self.0.push(Misfit {
            field: field.into(),
            reason: reason.into(),
        });
    }
}

/// What one part is filled in with.
struct Given<'a> {
    /// Path of the part, with its dot.
    at: String,
    components: &'a [Component],
    /// All that can be filled in is known.
    is_closed: bool,
}

impl<'a> Given<'a> {
    /// Returns what fills a place in, with its path.
    fn find(&self, is_meant: impl Fn(&Place) -> bool) -> Option<(String, &'a Component)> {
        let mut all = self.components.iter().enumerate();
        let (index, component) = all.find(|(_, component)| is_meant(&component.place))?;
        Some((self.path(index), component))
    }

    fn path(&self, index: usize) -> String {
        format!("{}components[{index}]", self.at)
    }

    fn missing(&self, what: &str, takes: &str, found: &mut Found) {
        let reason = format!("do not fill in the {what}, which takes {takes}");
        found.tell(format!("{}components", self.at), reason);
    }
}

fn check_part(part: &Part, given: &Given<'_>, found: &mut Found) {
    check_header(part.header.as_ref(), given, found);
    let is_code = part
        .buttons
        .iter()
        .any(|button| button.kind == ButtonKind::Otp);
    let body = given.find(|place| *place == Place::Body);
    match part.body.as_str() {
        // The platform's own text, with the code in it.
        "" if is_code => check_text("{{1}}", "body", body, given, found),
        "" => {}
        text => check_text(text, "body", body, given, found),
    }
    check_buttons(&part.buttons, given, found);
}

fn check_header(header: Option<&Header>, given: &Given<'_>, found: &mut Found) {
    let filled = given.find(|place| *place == Place::Header);
    let kind = match header {
        Some(Header::Text(text)) => return check_text(text, "header", filled, given, found),
        Some(Header::Other) => return,
        None => {
            let superfluous = filled.filter(|(_, it)| !it.parameters.is_empty());
            if let Some((at, _)) = superfluous.filter(|_| given.is_closed) {
                found.tell(at, "has no place: the template has no header");
            }
            return;
        }
        Some(Header::Image) => Kind::Image,
        Some(Header::Video) => Kind::Video,
        Some(Header::Document) => Kind::Document,
        Some(Header::Location) => Kind::Location,
        Some(Header::Product) => Kind::Product,
    };
    let takes = format!("one parameter, {}", kind.as_str());
    match filled {
        None => given.missing("header", &takes, found),
        Some((at, component)) => one_of(&at, "header", kind, &component.parameters, found),
    }
}

/// Checks that there is one parameter, of one kind.
fn one_of(at: &str, what: &str, kind: Kind, given: &[Parameter], found: &mut Found) {
    match given {
        [one] => kind_is(&format!("{at}.parameters[0]"), what, kind, one, found),
        all => {
            let reason = format!(
                "are {}, and the {what} takes one, {}",
                all.len(),
                kind.as_str()
            );
            found.tell(format!("{at}.parameters"), reason);
        }
    }
}

fn kind_is(at: &str, what: &str, kind: Kind, given: &Parameter, found: &mut Found) {
    if given.kind != kind && given.kind != Kind::Other {
        let (given, takes) = (given.kind.as_str(), kind.as_str());
        found.tell(at, format!("is {given}, and the {what} takes {takes}"));
    }
}

fn check_text(
    text: &str,
    what: &str,
    filled: Option<(String, &Component)>,
    given: &Given<'_>,
    found: &mut Found,
) {
    // What the platform approved and we cannot read is not held against a send.
    let Ok(expected) = placeholders(text) else {
        return;
    };
    let Some((at, component)) = filled else {
        if expected.count() > 0 {
            given.missing(what, &told(&expected), found);
        }
        return;
    };
    let parameters = &component.parameters;
    for (index, parameter) in parameters.iter().enumerate() {
        let at = format!("{at}.parameters[{index}]");
        kind_is(&at, what, Kind::Text, parameter, found);
    }
    match &expected {
        Placeholders::Numbered(_) => {
            let named = parameters.iter().position(|it| !it.name.is_empty());
            if let Some(index) = named {
                let field = format!("{at}.parameters[{index}].name");
                found.tell(
                    field,
                    "has no place: the template's parameters go by number",
                );
            }
            if parameters.len() != expected.count() {
                let reason = format!(
                    "are {}, and the {what} takes {}",
                    parameters.len(),
                    told(&expected)
                );
                found.tell(format!("{at}.parameters"), reason);
            }
        }
        Placeholders::Named(names) => check_names(&at, what, names, parameters, found),
    }
}

fn check_names(at: &str, what: &str, names: &[String], given: &[Parameter], found: &mut Found) {
    for (index, parameter) in given.iter().enumerate() {
        let field = || format!("{at}.parameters[{index}].name");
        if parameter.name.is_empty() {
            found.tell(
                field(),
                format!("is needed: the {what} takes {}", names.join(", ")),
            );
        } else if !names.contains(&parameter.name) {
            let reason = format!("is none of the {what}'s: {}", names.join(", "));
            found.tell(field(), reason);
        }
    }
    let is_given = |name: &&String| given.iter().any(|one| one.name == **name);
    let missing: Vec<_> = names.iter().filter(|name| !is_given(name)).collect();
    if let [first, ..] = missing.as_slice() {
        let reason = format!("do not give {first}, which the {what} takes");
        found.tell(format!("{at}.parameters"), reason);
    }
}

fn told(expected: &Placeholders) -> String {
    match expected {
        Placeholders::Numbered(1) => "1 parameter".to_owned(),
        Placeholders::Numbered(count) => format!("{count} parameters"),
        Placeholders::Named(names) => names.join(", "),
    }
}

/// What a button takes.
enum Takes {
    Nothing,
    Maybe(&'static str, Option<Kind>),
    One(&'static str, Kind),
    Unknown,
}

fn takes(button: &Button) -> Takes {
    match button.kind {
        ButtonKind::QuickReply => Takes::Maybe("quick_reply", Some(Kind::Payload)),
        ButtonKind::Url if button.target.contains("{{") => Takes::One("url", Kind::Text),
        ButtonKind::Url | ButtonKind::PhoneNumber | ButtonKind::RequestContactInfo => {
            Takes::Nothing
        }
        ButtonKind::CopyCode => Takes::One("copy_code", Kind::CouponCode),
        ButtonKind::Otp => Takes::One("url", Kind::Text),
        ButtonKind::Flow => Takes::Maybe("flow", Some(Kind::Action)),
        ButtonKind::Catalog => Takes::Maybe("catalog", Some(Kind::Action)),
        ButtonKind::Products => Takes::One("mpm", Kind::Action),
        ButtonKind::VoiceCall => Takes::Maybe("voice_call", None),
        ButtonKind::Product | ButtonKind::Other => Takes::Unknown,
    }
}

fn check_buttons(buttons: &[Button], given: &Given<'_>, found: &mut Found) {
    for (place, component) in given.components.iter().enumerate() {
        let Place::Button { index, sub_type } = &component.place else {
            continue;
        };
        let at = given.path(place);
        let button = index.and_then(|index| buttons.get(index));
        match button {
            Some(button) => check_button(&at, button, sub_type, &component.parameters, found),
            None if given.is_closed => {
                let reason = match buttons.len() {
                    0 => "names no button: the template has none".to_owned(),
                    count => format!("names no button: they are 0 to {}", count - 1),
                };
                found.tell(format!("{at}.index"), reason);
            }
            None => {}
        }
    }
    for (index, button) in buttons.iter().enumerate() {
        let is_this = |place: &Place| matches!(place, Place::Button { index: Some(given), .. } if *given == index);
        if let Takes::One(_, kind) = takes(button)
            && given.find(is_this).is_none()
        {
            let what = format!("button at {index} (\u{201c}{}\u{201d})", button.text);
            given.missing(&what, &format!("one parameter, {}", kind.as_str()), found);
        }
    }
}

fn check_button(at: &str, button: &Button, sub_type: &str, given: &[Parameter], found: &mut Found) {
    let word = match takes(button) {
        Takes::Unknown => return,
        Takes::Nothing => {
            found.tell(at, "has no place: this button takes no parameter");
            return;
        }
        Takes::Maybe(word, _) | Takes::One(word, _) => word,
    };
    if sub_type != word {
        found.tell(
            format!("{at}.sub_type"),
            format!("is not this button's, which is {word}"),
        );
    }
    match takes(button) {
        Takes::One(_, kind) => one_of(at, "button", kind, given, found),
        Takes::Maybe(_, Some(kind)) => {
            for (index, parameter) in given.iter().enumerate() {
                let at = format!("{at}.parameters[{index}]");
                kind_is(&at, "button", kind, parameter, found);
            }
        }
        Takes::Maybe(_, None) | Takes::Nothing | Takes::Unknown => {}
    }
}

fn check_offer(offer: Option<bool>, given: &Given<'_>, found: &mut Found) {
    let filled = given.find(|place| *place == Place::Offer);
    match (offer, filled) {
        (Some(true), None) => {
            given.missing("limited_time_offer", "one parameter, when it ends", found);
        }
        (Some(true), Some((at, component))) => {
            let parameters = &component.parameters;
            one_of(&at, "limited_time_offer", Kind::OfferEnd, parameters, found);
        }
        (Some(false), Some((at, _))) => {
            found.tell(at, "has no place: the template's offer does not end");
        }
        (None, Some((at, _))) if given.is_closed => {
            found.tell(at, "has no place: the template has no limited-time offer");
        }
        (_, None) | (None, Some(_)) => {}
    }
}
