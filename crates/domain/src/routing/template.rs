//! What can be said for or against a template.

use super::{Finding, Input, Purpose, TemplateCategory, against, for_it, no_whatsapp};

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
    if !known.is_usable {
        let text = format!("Template {name} is {}.", known.status);
        return against("TEMPLATE_NOT_USABLE", facts, text);
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
        Some(TemplateCategory::Marketing) if input.consent.marketing => against(
            "MARKETING_STOPPED",
            facts,
            "The customer stopped marketing.",
        ),
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
