//! Templates as people read them.

use casement_event::v1;
use casement_proto::account::v1 as wire;

use crate::person;

pub(super) fn synced(sync: &v1::TemplatesSynced) -> Vec<String> {
    let mut lines = vec![format!(
        "read         {} found, {} changed, {} gone",
        sync.found_count, sync.changed_count, sync.deleted_count
    )];
    if sync.next_time.is_some() {
        let next = person::time(sync.next_time.as_ref());
        lines.push(format!("next         {next}"));
    }
    lines
}

pub(super) fn row(template: &v1::Template) -> String {
    format!(
        "{:<18} {:<32} {:<7} {:<15} {:<9} {}",
        template.waba_id,
        template.name,
        template.language,
        category(template),
        status(template),
        quality(template),
    )
}

fn category(of: &v1::Template) -> String {
    person::word(of.category().as_str_name(), "TEMPLATE_CATEGORY_")
}

fn status(of: &v1::Template) -> String {
    person::word(of.status().as_str_name(), "TEMPLATE_STATUS_")
}

fn quality(of: &v1::Template) -> String {
    match of.quality() {
        v1::TemplateQuality::Unspecified => String::new(),
        known => person::word(known.as_str_name(), "TEMPLATE_QUALITY_"),
    }
}

pub(super) fn lines(of: &v1::Template) -> Vec<String> {
    let mut lines = vec![
        format!("template     {} ({})", of.name, of.language),
        format!("account      {}", of.waba_id),
        format!("category     {}", category(of)),
        format!("status       {}", status(of)),
    ];
    let mut tell = |what: &str, text: String| {
        if !text.is_empty() {
            lines.push(format!("{what:<12} {text}"));
        }
    };
    tell("id", of.template_id.clone());
    tell("quality", quality(of));
    tell("rejected for", of.rejected_reason.clone());
    if let Some(pause) = &of.pause {
        let end = match &pause.expected_end_time {
            Some(_) => person::time(pause.expected_end_time.as_ref()),
            None => "nobody knows when".to_owned(),
        };
        tell("paused", format!("{} until {end}", pause.kind));
    }
    if let Some(change) = &of.category_change {
        let word = if change.is_done { "was" } else { "will be" };
        let when = match &change.time {
            Some(_) => format!(", {}", person::time(change.time.as_ref())),
            None => String::new(),
        };
        let (from, to) = (&change.from_category, &change.to_category);
        tell(
            "category",
            format!("{word} changed from {from} to {to}{when}"),
        );
    }
    if of.held_for_quality_time.is_some() {
        let at = person::time(of.held_for_quality_time.as_ref());
        tell(
            "pacing",
            format!("the platform held messages back, last at {at}"),
        );
    }
    if let Some(ttl) = &of.message_send_ttl {
        tell("tried for", format!("{} s", ttl.seconds));
    }
    tell("body", of.body.clone());
    if let Some(made_of) = &of.definition {
        if let Some(header) = &made_of.header {
            let format = header.format().as_str_name();
            let format = person::word(format, "TEMPLATE_HEADER_FORMAT_");
            tell(
                "header",
                format!("{format} {}", header.text).trim().to_owned(),
            );
        }
        if let Some(footer) = &made_of.footer {
            tell("footer", footer.text.clone());
        }
        for button in &made_of.buttons {
            let kind = person::word(button.kind().as_str_name(), "TEMPLATE_BUTTON_KIND_");
            let target = format!("{}{}", button.url, button.phone_number);
            let text = format!("{kind} \"{}\" {target}", button.text);
            tell("button", text.trim().to_owned());
        }
        if !made_of.cards.is_empty() {
            tell("cards", made_of.cards.len().to_string());
        }
    }
    lines
}

pub(super) fn rendered(of: &wire::RenderTemplateResponse) -> Vec<String> {
    let mut lines = Vec::new();
    let cards = of.cards.iter().enumerate();
    let parts = of.message.iter().map(|it| (None, it));
    for (card, part) in parts.chain(cards.map(|(index, it)| (Some(index), it))) {
        if let Some(index) = card {
            lines.push(format!("card {}", index + 1));
        }
        for text in [&part.header, &part.body, &part.footer] {
            if !text.is_empty() {
                lines.push(text.clone());
            }
        }
        for button in &part.buttons {
            lines.push(
                format!("[{}] {}", button.text, button.target)
                    .trim()
                    .to_owned(),
            );
        }
    }
    for problem in &of.problems {
        lines.push(format!("wrong: {} {}", problem.field, problem.description));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_is_told_with_what_stands_in_its_way() {
        let template = v1::Template {
            waba_id: "102".to_owned(),
            name: "order".to_owned(),
            language: "en".to_owned(),
            category: v1::TemplateCategory::Utility.into(),
            status: v1::TemplateStatus::Paused.into(),
            quality: v1::TemplateQuality::Red.into(),
            pause: Some(v1::TemplatePause {
                kind: "FIRST_PAUSE".to_owned(),
                expected_end_time: Some(prost_types::Timestamp::default()),
                ..v1::TemplatePause::default()
            }),
            body: "Order {{1}}".to_owned(),
            ..v1::Template::default()
        };
        assert_eq!(
            lines(&template),
            [
                "template     order (en)",
                "account      102",
                "category     utility",
                "status       paused",
                "quality      red",
                "paused       FIRST_PAUSE until 1970-01-01 00:00:00 UTC",
                "body         Order {{1}}",
            ]
        );
    }

    #[test]
    fn what_a_customer_reads_comes_before_what_is_wrong() {
        let answer = wire::RenderTemplateResponse {
            message: Some(wire::render_template_response::Part {
                body: "Order 7".to_owned(),
                buttons: vec![wire::render_template_response::Button {
                    text: "Track".to_owned(),
                    target: "https://x.example/7".to_owned(),
                    ..wire::render_template_response::Button::default()
                }],
                ..wire::render_template_response::Part::default()
            }),
            problems: vec![wire::render_template_response::Problem {
                field: "components".to_owned(),
                description: "do not fill in the header".to_owned(),
            }],
            ..wire::RenderTemplateResponse::default()
        };
        assert_eq!(
            rendered(&answer),
            [
                "Order 7",
                "[Track] https://x.example/7",
                "wrong: components do not fill in the header",
            ]
        );
    }
}
