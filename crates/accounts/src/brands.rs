//! Brands' records: what one may say, whose business it is to change what, and which templates a
//! brand is shown. What the record means for messages is the dispatcher's.

use casement_domain::money::parse_micros;
use casement_event::convert::brand::access;
use casement_event::v1;
use casement_proto::account::v1 as api;
use casement_shell::grpc::bad_field;
use tonic::Status;

use crate::api::etag;
use crate::decide::{Authority, Refusal};
use crate::grpc::covers_waba;
use crate::ledger::{Entry, Ledger};
use crate::numbers::is_current;
use crate::validate::Problem;

/// Most WABAs, and most names of templates, that a brand's record lists.
const TEMPLATES_MAX: usize = 200;

/// Longest name of a template or a policy, in bytes.
const NAME_LEN_MAX: usize = 512;

/// What an update may name.
const FIELDS: [&str; 10] = [
    "display_name",
    "quota",
    "quota.messages_per_hour",
    "quota.messages_per_day",
    "quota.over_quota",
    "monthly_cap",
    "policy",
    "templates",
    "templates.waba_ids",
    "templates.names",
];

/// Adds what is wrong with a brand's settings.
pub(crate) fn check(at: &str, wanted: &v1::Brand, problems: &mut Vec<Problem>) {
    if !wanted.monthly_cap.is_empty() && parse_micros(&wanted.monthly_cap).is_none() {
        let text = "is not a decimal with at most six places, such as 1200.50";
        problems.push(Problem::new(at, "monthly_cap", text));
    }
    if !wanted.policy.is_empty() && !is_name(&wanted.policy) {
        problems.push(Problem::new(at, "policy", "is not a policy's name"));
    }
    if let Some(quota) = &wanted.quota
        && v1::BrandQuotaRule::try_from(quota.over_quota).is_err()
    {
        problems.push(Problem::new(
            at,
            "quota.over_quota",
            "is none of REFUSE, WAIT",
        ));
    }
    let Some(templates) = &wanted.templates else {
        return;
    };
    for (field, all) in [
        ("templates.waba_ids", &templates.waba_ids),
        ("templates.names", &templates.names),
    ] {
        if all.len() > TEMPLATES_MAX {
            let text = format!("are more than {TEMPLATES_MAX}");
            problems.push(Problem::new(at, field, text));
        }
        if all
            .iter()
            .any(|one| !is_name(one.trim_end_matches('*')) && one != "*")
        {
            let text = "has one that is not made of letters, digits, `_` and `-`";
            problems.push(Problem::new(at, field, text));
        }
    }
}

fn is_name(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= NAME_LEN_MAX
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-')
}

/// Returns a brand as the API shows it: with its etag.
pub(crate) fn shown(entry: &Entry<v1::Brand>) -> v1::Brand {
    v1::Brand {
        etag: etag(&entry.position),
        ..entry.record.clone()
    }
}

/// Returns the record that a write asks for, which is its whole record or the fields of its mask.
///
/// What limits a brand (quota, cap, templates) is not for the brand's own tokens to change: left
/// out by one, it stays as it is.
pub(crate) fn wanted(
    ledger: &Ledger,
    asked: &v1::Brand,
    paths: Option<&[String]>,
    authority: &Authority,
) -> Result<v1::Brand, Refusal> {
    if !authority.covers(&asked.brand_id) {
        return Err(Refusal::AnotherBrand);
    }
    let entry = ledger.brands.get(&asked.brand_id);
    if !is_current(entry, &asked.etag) {
        return Err(Refusal::EtagMismatch);
    }
    let present = entry.map(|entry| entry.record.clone());
    let mut wanted = match paths {
        Some(paths) => merged(present.clone().ok_or(Refusal::BrandUnknown)?, asked, paths),
        None => asked.clone(),
    };
    wanted.etag = String::new();
    if *authority != Authority::Every {
        let present = present.unwrap_or_default();
        if paths.is_none() {
            keep(&mut wanted, &present);
        }
        if !is_limited_alike(&wanted, &present) {
            return Err(Refusal::LimitsOfBrand);
        }
    }
    Ok(wanted)
}

fn keep(wanted: &mut v1::Brand, present: &v1::Brand) {
    if wanted.quota.is_none() {
        wanted.quota = present.quota;
    }
    if wanted.monthly_cap.is_empty() {
        wanted.monthly_cap.clone_from(&present.monthly_cap);
    }
    if wanted.templates.is_none() {
        wanted.templates.clone_from(&present.templates);
    }
}

fn is_limited_alike(one: &v1::Brand, other: &v1::Brand) -> bool {
    one.quota == other.quota
        && one.monthly_cap == other.monthly_cap
        && one.templates == other.templates
}

/// Reads the mask of an update: every field that is set, without one.
pub(crate) fn paths(request: &api::UpdateBrandRequest) -> Result<Vec<String>, Status> {
    let named = request.update_mask.clone().unwrap_or_default().paths;
    if let Some(other) = named.iter().find(|path| !FIELDS.contains(&path.as_str())) {
        let text = format!("names `{other}`, which is no field that may change");
        return Err(bad_field("update_mask", text));
    }
    if !named.is_empty() {
        return Ok(named);
    }
    let brand = request.brand.clone().unwrap_or_default();
    let set = [
        ("display_name", !brand.display_name.is_empty()),
        ("quota", brand.quota.is_some()),
        ("monthly_cap", !brand.monthly_cap.is_empty()),
        ("policy", !brand.policy.is_empty()),
        ("templates", brand.templates.is_some()),
    ];
    let set = set.into_iter().filter(|(_, is_set)| *is_set);
    Ok(set.map(|(path, _)| path.to_owned()).collect())
}

fn merged(present: v1::Brand, asked: &v1::Brand, paths: &[String]) -> v1::Brand {
    let mut merged = present;
    let (quota, templates) = (
        asked.quota.unwrap_or_default(),
        asked.templates.clone().unwrap_or_default(),
    );
    for path in paths {
        match path.as_str() {
            "display_name" => merged.display_name.clone_from(&asked.display_name),
            "quota" => merged.quota = asked.quota,
            "quota.messages_per_hour" => {
                merged.quota.get_or_insert_default().messages_per_hour = quota.messages_per_hour;
            }
            "quota.messages_per_day" => {
                merged.quota.get_or_insert_default().messages_per_day = quota.messages_per_day;
            }
            "quota.over_quota" => {
                merged.quota.get_or_insert_default().over_quota = quota.over_quota;
            }
            "monthly_cap" => merged.monthly_cap.clone_from(&asked.monthly_cap),
            "policy" => merged.policy.clone_from(&asked.policy),
            "templates" => merged.templates.clone_from(&asked.templates),
            "templates.waba_ids" => {
                merged
                    .templates
                    .get_or_insert_default()
                    .waba_ids
                    .clone_from(&templates.waba_ids);
            }
            "templates.names" => {
                merged
                    .templates
                    .get_or_insert_default()
                    .names
                    .clone_from(&templates.names);
            }
            _ => {}
        }
    }
    // What says nothing is not there.
    merged.quota = merged
        .quota
        .filter(|quota| quota.messages_per_hour > 0 || quota.messages_per_day > 0);
    merged.templates = merged
        .templates
        .filter(|templates| !(templates.waba_ids.is_empty() && templates.names.is_empty()));
    merged
}

/// Returns whether a caller is shown a template: of a WABA that their brand has numbers in, and
/// allowed by the brand's record.
pub(crate) fn may_see(ledger: &Ledger, authority: &Authority, template: &v1::Template) -> bool {
    let Authority::Brand(brand) = authority else {
        return true;
    };
    let access = ledger
        .brand(brand)
        .and_then(|brand| brand.templates.as_ref().map(access));
    covers_waba(authority, ledger, &template.waba_id)
        && access.is_none_or(|access| access.allows(&template.waba_id, &template.name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limited() -> v1::Brand {
        v1::Brand {
            brand_id: "shop".to_owned(),
            display_name: "The Shop".to_owned(),
            quota: Some(v1::BrandQuota {
                messages_per_hour: 10,
                ..v1::BrandQuota::default()
            }),
            monthly_cap: "12.50".to_owned(),
            ..v1::Brand::default()
        }
    }

    fn ledger() -> Ledger {
        let mut ledger = Ledger::default();
        let position = casement_event_log::Position {
            stream: "ACCOUNTS".to_owned(),
            incarnation: "1".to_owned(),
            sequence: 7,
        };
        let event = v1::BrandRecorded {
            brand: Some(limited()),
            ..v1::BrandRecorded::default()
        };
        assert!(ledger.take(position, event.into()));
        ledger
    }

    fn own() -> Authority {
        Authority::Brand("shop".to_owned())
    }

    fn paths(of: &[&str]) -> Vec<String> {
        of.iter().map(|path| (*path).to_owned()).collect()
    }

    #[test]
    fn a_brand_changes_its_name_and_policy_and_not_what_limits_it() {
        let ledger = ledger();
        let renamed = v1::Brand {
            brand_id: "shop".to_owned(),
            display_name: "Our Shop".to_owned(),
            policy: "careful".to_owned(),
            ..v1::Brand::default()
        };
        let put = wanted(&ledger, &renamed, None, &own()).unwrap();
        assert_eq!(
            (put.policy.as_str(), put.quota),
            ("careful", limited().quota)
        );
        let raised = v1::Brand {
            monthly_cap: "1000".to_owned(),
            ..renamed.clone()
        };
        let refused = wanted(&ledger, &raised, None, &own());
        assert_eq!(refused, Err(Refusal::LimitsOfBrand));
        let masked = wanted(&ledger, &raised, Some(&paths(&["monthly_cap"])), &own());
        assert_eq!(masked, Err(Refusal::LimitsOfBrand));
        let freed = wanted(&ledger, &raised, None, &Authority::Every).unwrap();
        assert_eq!((freed.monthly_cap.as_str(), freed.quota), ("1000", None));
    }

    #[test]
    fn an_update_changes_what_its_mask_names_and_nothing_of_another_state() {
        let ledger = ledger();
        let asked = v1::Brand {
            display_name: String::new(),
            quota: Some(v1::BrandQuota {
                messages_per_day: 50,
                ..v1::BrandQuota::default()
            }),
            ..limited()
        };
        let named = paths(&["quota.messages_per_day"]);
        let changed = wanted(&ledger, &asked, Some(&named), &Authority::Every).unwrap();
        let quota = changed.quota.unwrap();
        assert_eq!((quota.messages_per_hour, quota.messages_per_day), (10, 50));
        assert_eq!(changed.display_name, "The Shop");
        let stale = v1::Brand {
            etag: "1-6".to_owned(),
            ..asked
        };
        let refused = wanted(&ledger, &stale, Some(&named), &Authority::Every);
        assert_eq!(refused, Err(Refusal::EtagMismatch));
        let unknown = v1::Brand {
            brand_id: "nobody".to_owned(),
            ..v1::Brand::default()
        };
        let refused = wanted(&ledger, &unknown, Some(&named), &Authority::Every);
        assert_eq!(refused, Err(Refusal::BrandUnknown));
    }

    #[test]
    fn settings_that_cannot_be_are_told_by_field() {
        let wrong = v1::Brand {
            monthly_cap: "12,50".to_owned(),
            policy: "no such thing".to_owned(),
            templates: Some(v1::BrandTemplates {
                waba_ids: vec!["800".to_owned()],
                names: vec!["shop_*".to_owned(), "a b".to_owned()],
            }),
            ..limited()
        };
        let mut problems = Vec::new();
        check("brand", &wrong, &mut problems);
        let fields: Vec<_> = problems.iter().map(|one| one.field.as_str()).collect();
        assert_eq!(
            fields,
            ["brand.monthly_cap", "brand.policy", "brand.templates.names"]
        );
    }
}
