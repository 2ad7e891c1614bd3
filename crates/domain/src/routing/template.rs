//! What can be said for or against a template.

use super::{
    Finding, Input, KnownTemplate, Purpose, TemplateCategory, against, for_it, no_whatsapp,
};

pub(super) fn consider(input: &Input<'_>) -> Finding {
    let Some(asked) = input.template else {
        return against(
            "NO_TEMPLATE_CONTENT",
            Vec::new(),
            "The message names no template.",
        );
    };
    if let Some(finding) = no_whatsapp(input) {
        return finding;
    }
    let name = &asked.name;
    let Some(known) = &asked.known else {
        let text = format!("The account has no template {name}.");
        return against("TEMPLATE_UNKNOWN", vec![format!("template={name}")], text);
    };
    let category = known.category.map_or("UNKNOWN", TemplateCategory::as_str);
    let mut facts = vec![
        format!("template={name}"),
        format!("status={}", known.status),
        format!("category={category}"),
    ];
    if known.category == Some(TemplateCategory::Marketing) {
        facts.push(input.consent.fact());
    }
    facts.extend(known.facts.iter().cloned());
    if !known.is_usable {
        let text = match known.paused_until {
            Some(at) => format!("Template {name} is {} until about {at}.", known.status),
            None => format!("Template {name} is {}.", known.status),
        };
        return against("TEMPLATE_NOT_USABLE", facts, text);
    }
    if let Some(misfit) = &asked.misfit {
        let text = format!("What template {name} is filled in with does not fit it: {misfit}.");
        return against("TEMPLATE_PARAMETERS", facts, text);
    }
    if known.parameters != asked.given_parameters {
        let (takes, given) = (known.parameters, asked.given_parameters);
        let text = format!("Template {name} takes {takes} body parameters, and {given} are given.");
        return against("TEMPLATE_PARAMETERS", facts, text);
    }
    match known.category {
        Some(TemplateCategory::Marketing) if input.purpose != Purpose::Marketing => {
            let text = format!("Template {name} is marketing, and the message is not.");
            against("TEMPLATE_IS_MARKETING", facts, text)
        }
        Some(TemplateCategory::Marketing) if asked.is_to_us => {
            // WhatsApp Cloud API: marketing templates, since April 2025.
            let text = "The platform delivers no marketing templates to numbers of the United \
                        States.";
            against("MARKETING_TO_US", facts, text)
        }
        Some(category) if needs_phone(category, known) && !input.has_phone => {
            // WhatsApp Cloud API: business-scoped user ids, error 131062.
            let text = "The platform sends one-time codes to phone numbers alone, and the \
                        customer's is not known.";
            against("CODE_NEEDS_PHONE", facts, text)
        }
        Some(_) => for_it(
            "TEMPLATE_USABLE",
            facts,
            format!("Template {name} is approved."),
        ),
        None => {
            let text = format!("The category of template {name} is not known.");
            against("TEMPLATE_CATEGORY_UNKNOWN", facts, text)
        }
    }
}

/// Authentication templates all have a button with the code; it is on record once they were read
/// from the platform.
fn needs_phone(category: TemplateCategory, known: &KnownTemplate) -> bool {
    category == TemplateCategory::Authentication || known.has_code
}
