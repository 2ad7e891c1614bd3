//! Field masks of numbers: which parts of a record a write changes. Pure.

use casement_event::v1;

/// What a write may name, and what it takes over for each name.
type Field = (&'static str, fn(&mut v1::Number, &v1::Number));

const FIELDS: [Field; 12] = [
    ("brand_id", |to, from| {
        to.brand_id.clone_from(&from.brand_id);
    }),
    ("portfolio_id", |to, from| {
        to.portfolio_id.clone_from(&from.portfolio_id);
    }),
    ("waba_id", |to, from| to.waba_id.clone_from(&from.waba_id)),
    ("phone_number_id", |to, from| {
        to.phone_number_id.clone_from(&from.phone_number_id);
    }),
    ("display_name", |to, from| {
        to.display_name.clone_from(&from.display_name);
    }),
    ("token", |to, from| to.token.clone_from(&from.token)),
    ("sms", |to, from| to.sms.clone_from(&from.sms)),
    ("throughput", |to, from| to.throughput = from.throughput),
    ("messaging_account_id", |to, from| {
        to.messaging_account_id
            .clone_from(&from.messaging_account_id);
    }),
    ("app", |to, from| to.app.clone_from(&from.app)),
    ("onboard_time", |to, from| {
        to.onboard_time = from.onboard_time;
    }),
    ("messaging_limit", |to, from| {
        to.messaging_limit = from.messaging_limit;
    }),
];

/// What is there to be read and not to be written.
const TOLD: [&str; 11] = [
    "number",
    "paused",
    "pause_reason",
    "migrate_time",
    "previous_phone_number_ids",
    "moving",
    "migrate_away_time",
    "migrate_away_reason",
    "drain_time",
    "drain_reason",
    "etag",
];

/// Returns the record with what `paths` names taken from `given`. No paths at all stand for what
/// is given and not empty, `*` for everything.
///
/// # Errors
/// A path that is no field, or one that is told and not asked for.
pub(crate) fn merged(
    present: &v1::Number,
    given: &v1::Number,
    paths: &[String],
) -> Result<v1::Number, String> {
    let empty = v1::Number::default();
    let mut merged = present.clone();
    for path in paths.iter().filter(|path| *path != "*") {
        let is_field = FIELDS.iter().any(|(name, _)| name == path);
        if TOLD.contains(&path.as_str()) {
            return Err(format!("`{path}` is told and not asked for"));
        }
        if !is_field {
            return Err(format!("`{path}` is no field of a number"));
        }
    }
    for (name, take) in FIELDS {
        let is_wanted = if paths.is_empty() {
            let mut alone = empty.clone();
            take(&mut alone, given);
            alone != empty
        } else {
            paths.iter().any(|path| path == "*" || path == name)
        };
        if is_wanted {
            take(&mut merged, given);
        }
    }
    Ok(merged)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn present() -> v1::Number {
        v1::Number {
            number: "15550001111".to_owned(),
            display_name: "Shop".to_owned(),
            throughput: 80,
            paused: true,
            ..v1::Number::default()
        }
    }

    fn paths(paths: &[&str]) -> Vec<String> {
        paths.iter().map(|path| (*path).to_owned()).collect()
    }

    #[test]
    fn only_what_the_mask_names_changes() {
        let given = v1::Number {
            display_name: "New".to_owned(),
            waba_id: "800".to_owned(),
            ..v1::Number::default()
        };
        let named = merged(&present(), &given, &paths(&["display_name", "throughput"])).unwrap();
        assert_eq!(named.display_name, "New");
        assert_eq!(named.throughput, 0, "named and empty is emptied");
        assert_eq!(named.waba_id, "");
        assert!(named.paused);

        let given_alone = merged(&present(), &given, &[]).unwrap();
        assert_eq!(given_alone.waba_id, "800");
        assert_eq!(given_alone.throughput, 80, "empty and not named is left");

        let whole = merged(&present(), &given, &paths(&["*"])).unwrap();
        assert_eq!(whole.throughput, 0);
        assert_eq!(whole.number, "15550001111");
        assert!(whole.paused, "what is told stays");
    }

    #[test]
    fn a_path_that_cannot_be_written_is_refused() {
        for path in ["paused", "migrate_time", "number", "colour", "sms.sender"] {
            let refused = merged(&present(), &present(), &paths(&[path]));
            assert!(refused.is_err(), "{path}");
        }
    }

    #[test]
    fn every_field_of_a_number_is_either_written_or_told() {
        let pool = prost_reflect::DescriptorPool::decode(casement_proto::DESCRIPTORS).unwrap();
        let number = pool
            .get_message_by_name("casement.events.v1.Number")
            .unwrap();
        for field in number.fields() {
            let is_written = FIELDS.iter().any(|(name, _)| *name == field.name());
            let is_told = TOLD.contains(&field.name());
            assert!(is_written != is_told, "{}", field.name());
        }
    }
}
