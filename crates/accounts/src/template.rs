//! Templates: what makes one unusable, and the placeholders of its body. Pure.
//!
//! It does not fill placeholders in; that is for whoever sends. What else a template is made of is
//! read from the platform (`templates`).

use std::collections::BTreeSet;

use casement_domain::id::WabaId;
pub use casement_domain::template::{Placeholders, placeholders};
use casement_event::v1;

use crate::validate::{Problem, settle};

/// Longest name of a template (Meta: template components).
pub const NAME_LEN_MAX: usize = 512;

/// Longest body of a template, in characters (Meta: template components).
pub const BODY_LEN_MAX: usize = 1_024;

/// Most parameters of a body. A limit of ours; the platform's is the body's length.
pub const PARAMETER_COUNT_MAX: u32 = 100;

/// Checks a template and counts its parameters. `at` is its place, for the problems.
///
/// The language comes back as the platform's send calls want it (`en_US`). A body that is left
/// out is no problem: then the parameters are as given.
pub fn template(at: &str, wanted: v1::Template) -> Result<v1::Template, Vec<Problem>> {
    let mut problems = Vec::new();
    let mut wanted = wanted;
    if let Err(error) = WabaId::parse(&wanted.waba_id) {
        problems.push(Problem::new(at, "waba_id", error));
    }
    if !is_name(&wanted.name) {
        let problem = "is not made of lower-case letters, digits and `_` alone (1 to 512)";
        problems.push(Problem::new(at, "name", problem));
    }
    match language(&wanted.language) {
        Some(language) => wanted.language = language,
        None => problems.push(Problem::new(at, "language", "is not like `en` or `en_US`")),
    }
    if wanted.category() == v1::TemplateCategory::Unspecified {
        let problem = "is not one of utility, authentication, marketing";
        problems.push(Problem::new(at, "category", problem));
    }
    if wanted.status() == v1::TemplateStatus::Unspecified {
        let problem = "is not one of approved, pending, rejected, paused, disabled, deleted";
        problems.push(Problem::new(at, "status", problem));
    }
    if wanted.body.chars().count() > BODY_LEN_MAX {
        let problem = format!("is longer than {BODY_LEN_MAX} characters");
        problems.push(Problem::new(at, "body", problem));
    }
    if let Some(problem) = ttl(&wanted) {
        problems.push(Problem::new(at, "message_send_ttl", problem));
    }
    let counted = if wanted.body.is_empty() {
        given(&wanted)
    } else {
        from_body(&wanted)
    };
    match counted {
        Ok((count, names)) => {
            wanted.body_parameter_count = count;
            wanted.body_parameter_names = names;
        }
        Err((field, problem)) => problems.push(Problem::new(at, field, problem)),
    }
    settle(wanted, problems)
}

/// Returns what is wrong with how long the platform is to try to deliver a template.
///
/// WhatsApp Cloud API: time to live. Authentication 30 seconds to 15 minutes, utility 30 seconds
/// to 12 hours, marketing 12 hours to 30 days; 30 days, written -1 there, for any.
fn ttl(wanted: &v1::Template) -> Option<String> {
    const HOUR: i64 = 3_600;
    const LONGEST: i64 = 30 * 24 * HOUR;
    let ttl = wanted.message_send_ttl.as_ref()?;
    let (least, most, text) = match wanted.category() {
        v1::TemplateCategory::Authentication => (30, HOUR / 4, "30s to 15m"),
        v1::TemplateCategory::Utility => (30, 12 * HOUR, "30s to 12h"),
        v1::TemplateCategory::Marketing => (12 * HOUR, LONGEST, "12h to 720h"),
        // Told already.
        v1::TemplateCategory::Unspecified => return None,
    };
    let is_whole = ttl.nanos == 0;
    let is_fit = is_whole && ((least..=most).contains(&ttl.seconds) || ttl.seconds == LONGEST);
    (!is_fit).then(|| format!("is not in whole seconds from {text}, nor 720h, for its category"))
}

/// Returns a language as the platform's send calls want it: webhooks write `en-US` for `en_US`.
pub fn language(text: &str) -> Option<String> {
    let text = text.replace('-', "_");
    let (language, region) = match text.split_once('_') {
        Some((language, region)) => (language, Some(region)),
        None => (text.as_str(), None),
    };
    let is_language =
        matches!(language.len(), 2 | 3) && language.bytes().all(|byte| byte.is_ascii_lowercase());
    let is_region = region.is_none_or(|region| {
        matches!(region.len(), 2..=4) && region.bytes().all(|byte| byte.is_ascii_alphanumeric())
    });
    (is_language && is_region).then_some(text)
}

/// Parameters with the field that is wrong, if one is.
type Parameters = Result<(u32, Vec<String>), (&'static str, String)>;

/// A given count of 0 counts as left out, since protobuf cannot tell the two apart.
fn from_body(wanted: &v1::Template) -> Parameters {
    let found = placeholders(&wanted.body).map_err(|problem| ("body", problem.to_owned()))?;
    let (count, names) = match found {
        Placeholders::Numbered(count) => (count, Vec::new()),
        Placeholders::Named(names) => (count_of(&names)?, names),
    };
    let given_count = wanted.body_parameter_count;
    if given_count != 0 && given_count != count {
        let problem = format!("is {given_count}, but the body has {count}");
        return Err(("body_parameter_count", problem));
    }
    let as_set = |names: &[String]| names.iter().cloned().collect::<BTreeSet<_>>();
    let given_names = &wanted.body_parameter_names;
    if !given_names.is_empty() && as_set(given_names) != as_set(&names) {
        let problem = "are not the names in the body".to_owned();
        return Err(("body_parameter_names", problem));
    }
    Ok((count, names))
}

fn given(wanted: &v1::Template) -> Parameters {
    let names = &wanted.body_parameter_names;
    let count = wanted.body_parameter_count;
    if names.is_empty() {
        if count > PARAMETER_COUNT_MAX {
            let problem = format!("is above {PARAMETER_COUNT_MAX}");
            return Err(("body_parameter_count", problem));
        }
        return Ok((count, Vec::new()));
    }
    let distinct: BTreeSet<_> = names.iter().collect();
    if distinct.len() != names.len() || !names.iter().all(|name| is_parameter_name(name)) {
        let problem = "are not distinct lower-case names".to_owned();
        return Err(("body_parameter_names", problem));
    }
    let named = count_of(names)?;
    if count != 0 && count != named {
        let problem = format!("is {count}, but there are {named} names");
        return Err(("body_parameter_count", problem));
    }
    Ok((named, names.clone()))
}

fn count_of(names: &[String]) -> Result<u32, (&'static str, String)> {
    u32::try_from(names.len())
        .ok()
        .filter(|count| *count <= PARAMETER_COUNT_MAX)
        .ok_or_else(|| {
            let problem = format!("are more than {PARAMETER_COUNT_MAX}");
            ("body_parameter_names", problem)
        })
}

fn is_parameter_name(text: &str) -> bool {
    text.bytes()
        .next()
        .is_some_and(|byte| byte.is_ascii_lowercase() || byte == b'_')
        && text
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
}

fn is_name(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= NAME_LEN_MAX
        && text
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn good(body: &str) -> v1::Template {
        v1::Template {
            waba_id: "800".to_owned(),
            name: "order_ready".to_owned(),
            language: "en_US".to_owned(),
            category: v1::TemplateCategory::Utility.into(),
            status: v1::TemplateStatus::Approved.into(),
            body: body.to_owned(),
            ..v1::Template::default()
        }
    }

    fn wrong_field(wanted: v1::Template) -> String {
        let mut problems = template("t", wanted).unwrap_err();
        assert_eq!(problems.len(), 1, "{problems:?}");
        problems.remove(0).field
    }

    #[test]
    fn parameters_are_taken_from_the_body() {
        let numbered = template("t", good("Hi {{1}}, {{2}}")).unwrap();
        assert_eq!(numbered.body_parameter_count, 2);
        let named = template("t", good("Hi {{name}}")).unwrap();
        assert_eq!(named.body_parameter_count, 1);
        assert_eq!(named.body_parameter_names, ["name"]);
    }

    #[test]
    fn parameters_given_must_be_those_of_the_body() {
        let counted = v1::Template {
            body_parameter_count: 3,
            ..good("Hi {{1}}")
        };
        assert_eq!(wrong_field(counted), "t.body_parameter_count");
        let misnamed = v1::Template {
            body_parameter_names: vec!["nam".to_owned()],
            ..good("Hi {{name}}")
        };
        assert_eq!(wrong_field(misnamed), "t.body_parameter_names");
        assert_eq!(wrong_field(good("Hi {{1")), "t.body");
    }

    #[test]
    fn how_long_a_template_is_tried_is_within_the_platforms_limits() {
        use v1::TemplateCategory::{Authentication, Marketing, Utility};
        for (category, seconds, is_fit) in [
            (Authentication, 29, false),
            (Authentication, 30, true),
            (Authentication, 900, true),
            (Authentication, 901, false),
            (Utility, 43_200, true),
            (Utility, 43_201, false),
            (Utility, 2_592_000, true),
            (Marketing, 43_199, false),
            (Marketing, 43_200, true),
            (Marketing, 2_592_001, false),
        ] {
            let wanted = v1::Template {
                category: category.into(),
                message_send_ttl: Some(prost_types::Duration { seconds, nanos: 0 }),
                ..good("Hi")
            };
            if is_fit {
                assert!(template("t", wanted).is_ok(), "{category:?} {seconds}");
            } else {
                assert_eq!(wrong_field(wanted), "t.message_send_ttl");
            }
        }
    }

    #[test]
    fn without_a_body_parameters_are_as_given() {
        let wanted = v1::Template {
            body_parameter_count: 2,
            ..good("")
        };
        assert_eq!(template("t", wanted).unwrap().body_parameter_count, 2);
        let wanted = v1::Template {
            body_parameter_names: vec!["a".to_owned(), "b".to_owned()],
            ..good("")
        };
        assert_eq!(template("t", wanted).unwrap().body_parameter_count, 2);
        let twice = v1::Template {
            body_parameter_names: vec!["a".to_owned(), "a".to_owned()],
            ..good("")
        };
        assert_eq!(wrong_field(twice), "t.body_parameter_names");
    }

    #[test]
    fn languages_of_webhooks_and_of_sends_are_one() {
        for (text, stored) in [
            ("en", "en"),
            ("en_US", "en_US"),
            ("en-US", "en_US"),
            ("fil", "fil"),
            ("prs_AF", "prs_AF"),
        ] {
            assert_eq!(language(text).as_deref(), Some(stored), "{text}");
        }
        for bad in ["", "e", "EN", "english", "en_", "en_U", "en.US", "en_US_x"] {
            assert_eq!(language(bad), None, "{bad}");
        }
    }

    #[test]
    fn every_problem_of_a_template_is_told_at_once() {
        let wanted = v1::Template {
            name: "Order Ready".to_owned(),
            body: format!("{}{{{{", "x".repeat(BODY_LEN_MAX)),
            ..v1::Template::default()
        };
        let fields: Vec<_> = template("template[3]", wanted)
            .unwrap_err()
            .into_iter()
            .map(|problem| problem.field)
            .collect();
        assert_eq!(
            fields,
            [
                "template[3].waba_id",
                "template[3].name",
                "template[3].language",
                "template[3].category",
                "template[3].status",
                "template[3].body",
                "template[3].body",
            ]
        );
    }
}
