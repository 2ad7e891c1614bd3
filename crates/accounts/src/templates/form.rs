//! What the platform would refuse of a new or edited template for its form alone. Pure.
//!
//! WhatsApp Cloud API: template components, authentication templates, carousel and limited-time
//! offer templates. What its reviewers may not like is not known here.

use std::collections::BTreeSet;

use casement_domain::template::{Placeholders, placeholders};
use casement_event::v1;
use v1::{TemplateButtonKind as Kind, TemplateHeaderFormat as Format};

use crate::template::BODY_LEN_MAX;
use crate::validate::Problem;

/// Longest text of a header and of a footer, in characters.
const LINE_LEN_MAX: usize = 60;
/// Longest text of a button.
const BUTTON_LEN_MAX: usize = 25;
/// Longest address of a button.
const URL_LEN_MAX: usize = 2_000;
/// Most buttons, of all kinds.
const BUTTONS_MAX: usize = 10;
/// Most cards of a carousel.
const CARDS_MAX: usize = 10;
/// Longest body of a card.
const CARD_BODY_LEN_MAX: usize = 160;
/// Most buttons of a card.
const CARD_BUTTONS_MAX: usize = 2;
/// Longest text of a limited-time offer.
const OFFER_LEN_MAX: usize = 16;
/// Longest life of a code that a footer may tell, in minutes.
const CODE_MINUTES_MAX: u32 = 90;
/// How often a kind of button may stand in a template; the others as often as there is room.
const BUTTON_COUNTS: &[(Kind, usize)] = &[
    (Kind::Url, 2),
    (Kind::PhoneNumber, 1),
    (Kind::CopyCode, 1),
    (Kind::Otp, 1),
    (Kind::Flow, 1),
    (Kind::Catalog, 1),
    (Kind::Mpm, 1),
    (Kind::Spm, 1),
    (Kind::VoiceCall, 1),
    (Kind::RequestContactInfo, 1),
];

/// Returns what is wrong with what a template is made of. `at` is its place.
pub(super) fn problems(
    at: &str,
    of: &v1::TemplateDefinition,
    category: v1::TemplateCategory,
) -> Vec<Problem> {
    let mut form = Form(Vec::new());
    if category == v1::TemplateCategory::Authentication {
        form.code(at, of);
        return form.0;
    }
    form.header(&format!("{at}.header"), of.header.as_ref());
    form.body(&format!("{at}.body"), of.body.as_ref(), BODY_LEN_MAX);
    if let Some(footer) = &of.footer {
        let at = format!("{at}.footer");
        form.text(&at, "text", &footer.text, LINE_LEN_MAX);
        if footer.text.contains("{{") {
            form.tell(&at, "text", "takes no placeholders");
        }
        if footer.code_expiration_minutes > 0 {
            let only = "is for authentication templates alone";
            form.tell(&at, "code_expiration_minutes", only);
        }
    }
    form.buttons(at, &of.buttons, BUTTONS_MAX);
    form.cards(at, &of.cards);
    if let Some(offer) = &of.offer {
        let here = format!("{at}.offer");
        form.text(&here, "text", &offer.text, OFFER_LEN_MAX);
        if category != v1::TemplateCategory::Marketing {
            form.tell(at, "offer", "is for marketing templates alone");
        }
        if of.footer.is_some() {
            form.tell(at, "footer", "has no place beside a limited-time offer");
        }
    }
    form.format(at, of);
    form.0
}

struct Form(Vec<Problem>);

impl Form {
    fn tell(&mut self, at: &str, field: &str, problem: impl std::fmt::Display) {
        self.0.push(Problem::new(at, field, problem));
    }

    fn text(&mut self, at: &str, field: &str, text: &str, most: usize) {
        let chars = text.chars().count();
        if chars == 0 || chars > most || text.trim().is_empty() {
            self.tell(at, field, format!("must have 1 to {most} characters"));
        }
    }

    /// The text of a code is the platform's own.
    fn code(&mut self, at: &str, of: &v1::TemplateDefinition) {
        if of.header.is_some() || !of.cards.is_empty() || of.offer.is_some() {
            let problem =
                "has a header, cards or an offer, which authentication templates have not";
            self.tell(at, "header", problem);
        }
        if of.body.as_ref().is_some_and(|body| !body.text.is_empty()) {
            let problem = "is the platform's own in authentication templates";
            self.tell(&format!("{at}.body"), "text", problem);
        }
        if let Some(footer) = &of.footer {
            let here = format!("{at}.footer");
            if !footer.text.is_empty() {
                let problem = "is the platform's own in authentication templates";
                self.tell(&here, "text", problem);
            }
            if !(1..=CODE_MINUTES_MAX).contains(&footer.code_expiration_minutes) {
                let problem = format!("must be 1 to {CODE_MINUTES_MAX}");
                self.tell(&here, "code_expiration_minutes", problem);
            }
        }
        match of.buttons.as_slice() {
            [one] if one.kind() == Kind::Otp => self.otp(&format!("{at}.buttons[0]"), one),
            _ => self.tell(at, "buttons", "must be one, of kind OTP"),
        }
    }

    fn otp(&mut self, at: &str, of: &v1::TemplateButton) {
        let kind = of.otp_kind();
        if kind == v1::TemplateOtpKind::Unspecified {
            self.tell(at, "otp_kind", "must be COPY_CODE, ONE_TAP or ZERO_TAP");
        }
        let is_tap = matches!(
            kind,
            v1::TemplateOtpKind::OneTap | v1::TemplateOtpKind::ZeroTap
        );
        let is_app = |app: &v1::template_button::App| {
            !app.package_name.is_empty() && !app.signature_hash.is_empty()
        };
        if is_tap && !(1..=5).contains(&of.apps.len()) || !of.apps.iter().all(is_app) {
            let problem = "must be 1 to 5 for one-tap and zero-tap, each with its package_name \
                           and signature_hash";
            self.tell(at, "apps", problem);
        }
        if kind == v1::TemplateOtpKind::ZeroTap && !of.zero_tap_terms_accepted {
            let problem = "must be true: the platform asks for its terms to be taken";
            self.tell(at, "zero_tap_terms_accepted", problem);
        }
    }

    fn header(&mut self, at: &str, of: Option<&v1::TemplateHeader>) {
        let Some(of) = of else { return };
        match of.format() {
            Format::Text => {
                self.text(at, "text", &of.text, LINE_LEN_MAX);
                match placeholders(&of.text) {
                    Ok(found) if found.count() > 1 => {
                        self.tell(at, "text", "takes one placeholder at most");
                    }
                    Ok(found) => self.examples(at, &found, &of.examples),
                    Err(problem) => self.tell(at, "text", problem),
                }
            }
            Format::Image | Format::Video | Format::Document => {
                if of.example_handles.is_empty() {
                    let problem =
                        "must have the handle of an example (Graph API: resumable upload)";
                    self.tell(at, "example_handles", problem);
                }
                self.wordless(at, of);
            }
            Format::Location | Format::Product => self.wordless(at, of),
            Format::Unspecified if of.other_format.is_empty() => {
                self.tell(at, "format", "must be one of the platform's");
            }
            Format::Unspecified => {}
        }
    }

    fn wordless(&mut self, at: &str, of: &v1::TemplateHeader) {
        if !of.text.is_empty() {
            self.tell(at, "text", "has no place in a header of this format");
        }
    }

    fn body(&mut self, at: &str, of: Option<&v1::TemplateBody>, most: usize) {
        let Some(of) = of else {
            self.tell(at, "text", "is required");
            return;
        };
        self.text(at, "text", &of.text, most);
        if of.add_security_recommendation {
            let problem = "is for authentication templates alone";
            self.tell(at, "add_security_recommendation", problem);
        }
        match placeholders(&of.text) {
            Ok(found) => {
                let text = of.text.trim();
                if found.count() > 0 && (text.starts_with("{{") || text.ends_with("}}")) {
                    self.tell(at, "text", "must not begin or end with a placeholder");
                }
                self.examples(at, &found, &of.examples);
            }
            Err(problem) => self.tell(at, "text", problem),
        }
    }

    fn examples(&mut self, at: &str, found: &Placeholders, of: &[v1::TemplateExample]) {
        let fits = match found {
            Placeholders::Numbered(_) => {
                of.len() == found.count() && of.iter().all(|it| it.name.is_empty())
            }
            Placeholders::Named(names) => {
                let given: BTreeSet<_> = of.iter().map(|it| it.name.as_str()).collect();
                let wanted: BTreeSet<_> = names.iter().map(String::as_str).collect();
                of.len() == names.len() && given == wanted
            }
        };
        if !fits || of.iter().any(|it| it.text.trim().is_empty()) {
            let problem = format!(
                "must be one for each placeholder, of which there are {}",
                found.count()
            );
            self.tell(at, "examples", problem);
        }
    }

    fn buttons(&mut self, at: &str, of: &[v1::TemplateButton], most: usize) {
        if of.len() > most {
            self.tell(at, "buttons", format!("must be {most} at most"));
        }
        for (kind, most) in BUTTON_COUNTS {
            if of.iter().filter(|it| it.kind() == *kind).count() > *most {
                let word = kind
                    .as_str_name()
                    .trim_start_matches("TEMPLATE_BUTTON_KIND_");
                self.tell(
                    at,
                    "buttons",
                    format!("must be {most} of kind {word} at most"),
                );
            }
        }
        // Quick replies stand together, before the others or after them.
        let runs = of.chunk_by(|a, b| is_reply(a) == is_reply(b)).count();
        if runs > 2 {
            self.tell(
                at,
                "buttons",
                "mix quick replies with others: put those together",
            );
        }
        for (index, button) in of.iter().enumerate() {
            self.button(&format!("{at}.buttons[{index}]"), button);
        }
    }

    fn button(&mut self, at: &str, of: &v1::TemplateButton) {
        match of.kind() {
            Kind::Otp => {
                self.tell(at, "kind", "is for authentication templates alone");
                return;
            }
            Kind::Unspecified if serde_json::from_str::<serde_json::Value>(&of.json).is_err() => {
                self.tell(
                    at,
                    "kind",
                    "must be one of the platform's, or json its JSON",
                );
                return;
            }
            // Their words are the platform's own.
            Kind::CopyCode | Kind::Unspecified | Kind::RequestContactInfo => {}
            _ => self.text(at, "text", &of.text, BUTTON_LEN_MAX),
        }
        match of.kind() {
            Kind::Url => self.url(at, of),
            Kind::PhoneNumber if crate::validate::e164(&of.phone_number).is_err() => {
                self.tell(at, "phone_number", "must be E.164 with plus");
            }
            Kind::CopyCode => self.text(at, "example", &of.example, 15),
            Kind::Flow if of.flow_id.is_empty() => self.tell(at, "flow_id", "is required"),
            _ => {}
        }
    }

    fn url(&mut self, at: &str, of: &v1::TemplateButton) {
        self.text(at, "url", &of.url, URL_LEN_MAX);
        if !of.url.starts_with("https://") && !of.url.starts_with("http://") {
            self.tell(at, "url", "must begin with https:// or http://");
        }
        let holds = of.url.matches("{{").count();
        let is_at_end = of.url.ends_with("{{1}}");
        if holds > 1 || holds == 1 && !is_at_end {
            self.tell(at, "url", "takes one placeholder, {{1}}, at its end");
        } else if holds == 1 && of.example.is_empty() {
            self.tell(at, "example", "is required where the URL has a placeholder");
        }
    }

    fn cards(&mut self, at: &str, of: &[v1::TemplateCardDefinition]) {
        if of.len() > CARDS_MAX {
            self.tell(at, "cards", format!("must be {CARDS_MAX} at most"));
        }
        let shape = |card: &v1::TemplateCardDefinition| {
            let header = card.header.as_ref().map(v1::TemplateHeader::format);
            let kinds: Vec<_> = card.buttons.iter().map(v1::TemplateButton::kind).collect();
            (header, card.body.is_some(), kinds)
        };
        if of.windows(2).any(|pair| shape(&pair[0]) != shape(&pair[1])) {
            let problem = "must all be made alike: the same header, body and buttons";
            self.tell(at, "cards", problem);
        }
        for (index, card) in of.iter().enumerate() {
            let at = format!("{at}.cards[{index}]");
            let format = card.header.as_ref().map(v1::TemplateHeader::format);
            let is_shown = matches!(
                format,
                Some(Format::Image | Format::Video | Format::Product)
            );
            if !is_shown {
                self.tell(&at, "header", "must be an image, a video or a product");
            }
            self.header(&format!("{at}.header"), card.header.as_ref());
            if card.body.is_some() {
                self.body(&format!("{at}.body"), card.body.as_ref(), CARD_BODY_LEN_MAX);
            }
            self.buttons(&at, &card.buttons, CARD_BUTTONS_MAX);
        }
    }

    /// Header and body go by number, or both by name.
    fn format(&mut self, at: &str, of: &v1::TemplateDefinition) {
        use v1::TemplateParameterFormat::{Named, Positional, Unspecified};
        let texts = [
            of.header.as_ref().map(|it| it.text.as_str()),
            of.body.as_ref().map(|it| it.text.as_str()),
        ];
        for found in texts
            .into_iter()
            .flatten()
            .filter_map(|it| placeholders(it).ok())
        {
            let fits = match (of.parameter_format(), &found) {
                (Unspecified, _) => true,
                (_, found) if found.count() == 0 => true,
                (Positional, found) => matches!(found, Placeholders::Numbered(_)),
                (Named, found) => matches!(found, Placeholders::Named(_)),
            };
            if !fits {
                let problem = "is not how the placeholders are written";
                self.tell(at, "parameter_format", problem);
                return;
            }
        }
    }
}

fn is_reply(button: &v1::TemplateButton) -> bool {
    button.kind() == Kind::QuickReply
}

/// Returns whether a definition's placeholders go by name, where it does not say.
pub(super) fn parameter_format(of: &v1::TemplateDefinition) -> v1::TemplateParameterFormat {
    if of.parameter_format() != v1::TemplateParameterFormat::Unspecified {
        return of.parameter_format();
    }
    let body = of.body.as_ref().map(|it| it.text.as_str());
    match placeholders(body.unwrap_or_default()) {
        Ok(Placeholders::Named(_)) => v1::TemplateParameterFormat::Named,
        _ => v1::TemplateParameterFormat::Positional,
    }
}

#[cfg(test)]
#[path = "form_tests.rs"]
mod tests;
