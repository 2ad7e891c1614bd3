//! The report at the end: what came along, what did not, and what else there is to know.

use casement_domain::migration::{self, Carried, Quality, Template};
use casement_event::v1;
use casement_whatsapp::manage;

use super::stored;

/// Returns the templates of an account as they are on record.
pub(super) fn on_record<'a>(
    templates: impl Iterator<Item = &'a v1::Template>,
    waba_id: &str,
) -> Vec<Template> {
    let of_account = templates.filter(|template| template.waba_id == waba_id);
    of_account.map(known).collect()
}

/// Returns a template as the comparison needs it.
pub(super) fn known(of: &v1::Template) -> Template {
    let name = of.status().as_str_name();
    let status = name.strip_prefix("TEMPLATE_STATUS_").unwrap_or(name);
    let quality = match of.quality() {
        v1::TemplateQuality::Green => Quality::High,
        v1::TemplateQuality::Yellow | v1::TemplateQuality::Red => Quality::Low,
        v1::TemplateQuality::Unknown | v1::TemplateQuality::Unspecified => Quality::Unknown,
    };
    Template {
        name: of.name.clone(),
        language: of.language.clone(),
        status: status.to_owned(),
        quality,
    }
}

/// Returns what an account has, as the platform tells.
pub(super) fn told(templates: &[manage::Template]) -> Vec<Template> {
    let one = |template: &manage::Template| Template {
        name: template.name.clone(),
        language: template.language.clone(),
        status: template.status.clone(),
        quality: Quality::Unknown,
    };
    templates.iter().map(one).collect()
}

/// Writes the report.
pub(super) fn report(
    migration: &v1::Migration,
    templates: Carried,
    after: &migration::NumberFacts,
) -> v1::MigrationReport {
    let before = stored::read_facts(migration.before.as_ref());
    let kept = migration::kept(&before, after);
    let count = |items: &[migration::Item]| u32::try_from(items.len()).unwrap_or(u32::MAX);
    let (carried, not_carried) = (count(&templates.carried), count(&templates.not_carried));
    let mut left = kept.not_carried;
    left.extend(templates.not_carried);
    left.extend(ALWAYS_LEFT.map(|(name, reason, text)| migration::Item {
        name: name.to_owned(),
        reason,
        text: text.to_owned(),
    }));
    let mut came = kept.carried;
    came.extend(templates.carried);
    let items = |items: Vec<migration::Item>| items.into_iter().map(stored::item).collect();
    v1::MigrationReport {
        carried: items(came),
        not_carried: items(left),
        unknown: items(kept.unknown),
        templates_carried: carried,
        templates_not_carried: not_carried,
        notes: notes(migration),
        before: Some(stored::facts(&before)),
        after: Some(stored::facts(after)),
    }
}

/// What the platform never moves (WhatsApp Cloud API: migrate phone numbers between business
/// accounts; media).
const ALWAYS_LEFT: [(&str, &str, &str); 3] = [
    (
        "chat history",
        "NOT_MOVED_BY_THE_PLATFORM",
        "The platform moves no chat history. Casement's history of the number is its own, and goes on \
         under the same number.",
    ),
    (
        "template quality",
        "STARTS_AFRESH",
        "Copied templates have no quality rating for a day.",
    ),
    (
        "uploaded files",
        "BELONG_TO_THE_OLD_ID",
        "Ids of files that were uploaded for the number before are good for its old id only: upload \
         them again.",
    ),
];

fn notes(migration: &v1::Migration) -> Vec<String> {
    let from = migration.source.clone().unwrap_or_default().waba_id;
    let to = migration.destination.clone().unwrap_or_default().waba_id;
    let at = stored::at(migration.register_time.as_ref());
    let from = if from.is_empty() {
        "the account that the number came from".to_owned()
    } else {
        format!("business account {from}")
    };
    vec![
        format!(
            "Messages from before {at} are billed to {from}, later ones to business account {to}."
        ),
        "Conversations, held messages and consent stay with the number. Whether an open window \
         outlives a move is not documented: window.carry_over.migration says what Casement goes by."
            .to_owned(),
        "Only another migration brings the number back.".to_owned(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_report_says_that_no_history_moves_and_who_pays_for_what() {
        let migration = v1::Migration {
            source: Some(v1::MigrationPlace {
                waba_id: "800".to_owned(),
                ..v1::MigrationPlace::default()
            }),
            destination: Some(v1::MigrationPlace {
                waba_id: "900".to_owned(),
                ..v1::MigrationPlace::default()
            }),
            ..v1::Migration::default()
        };
        let carried = Carried::default();
        let report = report(&migration, carried, &migration::NumberFacts::default());
        assert!(report.not_carried.iter().any(|item| {
            item.name == "chat history" && item.reason == "NOT_MOVED_BY_THE_PLATFORM"
        }));
        let bills = &report.notes[0];
        assert!(bills.contains("800") && bills.contains("900"), "{bills}");
    }
}
