//! A template as a form: a field for each thing that it is filled in with.
//!
//! Pure. Whether what was filled in fits is for the API to say; here its answer finds its field. What
//! a person cannot fill in by hand, such as cards or a flow, is not offered.

use std::collections::BTreeMap;

use casement_domain::template::{Placeholders, placeholders};
use casement_proto::events::v1::{
    Attachment, Template, TemplateButtonKind, TemplateCategory, TemplateComponent, TemplateContent,
    TemplateExample, TemplateHeaderFormat, TemplateParameter, TemplateStatus, attachment,
    template_parameter::Value,
};

/// What was typed, by names of fields.
pub(super) type Values = BTreeMap<String, String>;

/// A template as it is offered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Choice {
    /// What stands for it in the form.
    pub(super) key: String,
    pub(super) label: String,
    pub(super) category: &'static str,
    /// Why it cannot be chosen; empty if it can.
    pub(super) why_not: String,
}

/// A field of the form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Field {
    pub(super) name: String,
    pub(super) label: String,
    /// An example, as the platform's reviewers saw it.
    pub(super) hint: String,
    pub(super) value: String,
    /// What the API says is wrong with it; empty if nothing.
    pub(super) problem: String,
    /// `text` or `url`.
    pub(super) input: &'static str,
}

/// One thing that a template is filled in with.
struct Slot {
    name: String,
    label: String,
    hint: String,
    component: Component,
    /// Of a named placeholder.
    parameter: String,
    kind: Kind,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Component {
    Header,
    Body,
    Button(usize, &'static str),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Text,
    Image,
    Video,
    Document,
    Coupon,
}

/// What stands for a template in the form.
pub(super) fn key(template: &Template) -> String {
    format!("{} {}", template.name, template.language)
}

/// Returns how a template is offered.
pub(super) fn choice(template: &Template) -> Choice {
    let why_not = match template.status() {
        TemplateStatus::Approved => slots(template).err().unwrap_or_default().to_owned(),
        TemplateStatus::Pending => "waits for approval".to_owned(),
        TemplateStatus::Rejected => "rejected".to_owned(),
        TemplateStatus::Paused => "paused".to_owned(),
        TemplateStatus::Disabled => "disabled".to_owned(),
        TemplateStatus::Deleted => "deleted".to_owned(),
        TemplateStatus::Unspecified => "its status is not known".to_owned(),
    };
    Choice {
        key: key(template),
        label: format!("{} ({})", template.name, template.language),
        category: category_word(template.category()),
        why_not,
    }
}

pub(super) fn category_word(of: TemplateCategory) -> &'static str {
    match of {
        TemplateCategory::Unspecified => "category not known",
        TemplateCategory::Utility => "utility",
        TemplateCategory::Authentication => "authentication",
        TemplateCategory::Marketing => "marketing",
    }
}

/// Returns the fields of a template with what was typed, and what the API says of it: paths below
/// `content.template`, and descriptions.
pub(super) fn fields(
    template: &Template,
    values: &Values,
    problems: &[(String, String)],
) -> Vec<Field> {
    let slots = slots(template).unwrap_or_default();
    let paths = paths(&slots);
    let fields = slots.into_iter().zip(paths).map(|(slot, path)| {
        let problem = problems.iter().find(|(field, _)| concerns(field, &path));
        Field {
            value: values.get(&slot.name).cloned().unwrap_or_default(),
            problem: problem.map(|(_, what)| what.clone()).unwrap_or_default(),
            input: match slot.kind {
                Kind::Image | Kind::Video | Kind::Document => "url",
                Kind::Text | Kind::Coupon => "text",
            },
            name: slot.name,
            label: slot.label,
            hint: slot.hint,
        }
    });
    fields.collect()
}

/// Whether what is said of a path is said of this field: of itself, of what it consists of, or of
/// all that it stands among.
fn concerns(told: &str, path: &str) -> bool {
    let told = told.strip_prefix("content.template.").unwrap_or(told);
    told.strip_prefix(path)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        || path
            .strip_prefix(told)
            .is_some_and(|rest| rest.starts_with(['[', '.']))
}

/// Returns the template filled in.
pub(super) fn content(template: &Template, values: &Values) -> TemplateContent {
    let mut components: Vec<(Component, TemplateComponent)> = Vec::new();
    for slot in slots(template).unwrap_or_default() {
        let value = values.get(&slot.name).cloned().unwrap_or_default();
        let parameter = TemplateParameter {
            name: slot.parameter,
            value: Some(filled(slot.kind, value)),
        };
        let mut begun = components.iter_mut();
        if let Some((_, component)) = begun.find(|(of, _)| *of == slot.component) {
            component.parameters.push(parameter);
        } else {
            let mut component = empty(slot.component);
            component.parameters.push(parameter);
            components.push((slot.component, component));
        }
    }
    TemplateContent {
        name: template.name.clone(),
        language: template.language.clone(),
        components: components.into_iter().map(|(_, it)| it).collect(),
        ..TemplateContent::default()
    }
}

fn filled(kind: Kind, value: String) -> Value {
    let file = |link: &str| Attachment {
        source: Some(attachment::Source::Link(link.to_owned())),
        ..Attachment::default()
    };
    match kind {
        Kind::Text => Value::Text(value),
        Kind::Coupon => Value::CouponCode(value),
        Kind::Image => Value::Image(file(&value)),
        Kind::Video => Value::Video(file(&value)),
        Kind::Document => Value::Document(file(&value)),
    }
}

fn empty(of: Component) -> TemplateComponent {
    let (kind, sub_type, index) = match of {
        Component::Header => ("header", "", String::new()),
        Component::Body => ("body", "", String::new()),
        Component::Button(index, sub_type) => ("button", sub_type, index.to_string()),
    };
    TemplateComponent {
        r#type: kind.to_owned(),
        sub_type: sub_type.to_owned(),
        index,
        ..TemplateComponent::default()
    }
}

/// Where each slot stands in what [`content`] makes of them, below `content.template`.
fn paths(slots: &[Slot]) -> Vec<String> {
    let mut seen: Vec<(Component, usize)> = Vec::new();
    let path = |slot: &Slot| {
        let found = seen.iter().position(|(of, _)| *of == slot.component);
        let component = found.unwrap_or_else(|| {
            seen.push((slot.component, 0));
            seen.len() - 1
        });
        let parameter = seen[component].1;
        seen[component].1 += 1;
        format!("components[{component}].parameters[{parameter}]")
    };
    slots.iter().map(path).collect()
}

/// What a template is filled in with, or why that cannot be done by hand.
fn slots(template: &Template) -> Result<Vec<Slot>, &'static str> {
    let Some(definition) = &template.definition else {
        return body(template, &template.body, &[]);
    };
    if !definition.cards.is_empty() {
        return Err("has cards");
    }
    if !definition.other_json.is_empty() {
        return Err("has parts that are not known here");
    }
    if definition
        .offer
        .as_ref()
        .is_some_and(|offer| offer.has_expiration)
    {
        return Err("has an offer that ends");
    }
    let mut slots = Vec::new();
    if let Some(header) = &definition.header {
        let mut file = |kind, what: &str| {
            slots.push(Slot {
                name: "header".to_owned(),
                label: format!("Address of the {what}"),
                hint: "https://…".to_owned(),
                component: Component::Header,
                parameter: String::new(),
                kind,
            });
        };
        match header.format() {
            TemplateHeaderFormat::Text => {
                let found = texts(Component::Header, "Header", &header.text, &header.examples)?;
                slots.extend(found);
            }
            TemplateHeaderFormat::Image => file(Kind::Image, "picture"),
            TemplateHeaderFormat::Video => file(Kind::Video, "video"),
            TemplateHeaderFormat::Document => file(Kind::Document, "document"),
            TemplateHeaderFormat::Location
            | TemplateHeaderFormat::Product
            | TemplateHeaderFormat::Unspecified => return Err("has a header of another kind"),
        }
    }
    let text = definition.body.as_ref();
    let examples = text.map_or(&[][..], |text| text.examples.as_slice());
    let is_code = definition
        .buttons
        .iter()
        .any(|button| button.kind() == TemplateButtonKind::Otp);
    match text.map_or("", |text| text.text.as_str()) {
        "" if is_code => return Err("is a one-time code, which programs send"),
        text => slots.extend(body(template, text, examples)?),
    }
    for (index, button) in definition.buttons.iter().enumerate() {
        let mut one = |sub_type, kind, label: String| {
            slots.push(Slot {
                name: format!("button.{index}"),
                label,
                hint: button.example.clone(),
                component: Component::Button(index, sub_type),
                parameter: String::new(),
                kind,
            });
        };
        match button.kind() {
            TemplateButtonKind::Url if button.url.contains("{{") => {
                let label = format!("End of the address of “{}”", button.text);
                one("url", Kind::Text, label);
            }
            TemplateButtonKind::CopyCode => {
                one("copy_code", Kind::Coupon, "Code to copy".to_owned());
            }
            TemplateButtonKind::QuickReply
            | TemplateButtonKind::Url
            | TemplateButtonKind::PhoneNumber
            | TemplateButtonKind::RequestContactInfo
            | TemplateButtonKind::Catalog
            | TemplateButtonKind::VoiceCall => {}
            TemplateButtonKind::Otp => return Err("is a one-time code, which programs send"),
            TemplateButtonKind::Flow => return Err("opens a flow"),
            TemplateButtonKind::Mpm | TemplateButtonKind::Spm | TemplateButtonKind::Unspecified => {
                return Err("has a button of another kind");
            }
        }
    }
    Ok(slots)
}

/// The places of the body. Of a template that was not read from the platform, no more is known
/// than how many they are.
fn body(
    template: &Template,
    text: &str,
    examples: &[TemplateExample],
) -> Result<Vec<Slot>, &'static str> {
    if !text.is_empty() {
        return texts(Component::Body, "Text", text, examples);
    }
    let names = &template.body_parameter_names;
    let known = if names.is_empty() {
        Placeholders::Numbered(template.body_parameter_count)
    } else {
        Placeholders::Named(names.clone())
    };
    Ok(of_places(Component::Body, "Text", &known, examples))
}

fn texts(
    component: Component,
    what: &str,
    text: &str,
    examples: &[TemplateExample],
) -> Result<Vec<Slot>, &'static str> {
    let found = placeholders(text).map_err(|_| "has places that cannot be read")?;
    Ok(of_places(component, what, &found, examples))
}

fn of_places(
    component: Component,
    what: &str,
    places: &Placeholders,
    examples: &[TemplateExample],
) -> Vec<Slot> {
    let area = match component {
        Component::Header => "header",
        Component::Body | Component::Button(..) => "body",
    };
    let slot = |place: String, parameter: String, hint: Option<&TemplateExample>| Slot {
        name: format!("{area}.{place}"),
        label: format!("{what} {{{{{place}}}}}"),
        hint: hint.map(|hint| hint.text.clone()).unwrap_or_default(),
        component,
        parameter,
        kind: Kind::Text,
    };
    match places {
        Placeholders::Numbered(count) => (1..=*count)
            .zip(0..)
            .map(|(number, index)| slot(number.to_string(), String::new(), examples.get(index)))
            .collect(),
        Placeholders::Named(names) => names
            .iter()
            .map(|name| {
                let hint = examples.iter().find(|example| example.name == *name);
                slot(name.clone(), name.clone(), hint)
            })
            .collect(),
    }
}

#[cfg(test)]
#[path = "composer_template_tests.rs"]
mod tests;
