//! What the accounts file wants of a number that is on record: what it names, and no more. Pure.
//!
//! The file is read at every start, however old it is, so it never takes a number back to where it
//! was before it moved.

use casement_event::v1;

use crate::ledger::Entry;

/// Returns the record that a number of the file stands for, and whether what the file says of
/// where it is at the platform was left aside as older. `is_brand_named` says whether the file
/// names its brand. `filer` is who records for the file.
pub(crate) fn wanted(
    present: Option<&Entry<v1::Number>>,
    filed: &v1::Number,
    is_brand_named: bool,
    filer: &str,
) -> (v1::Number, bool) {
    let Some(entry) = present else {
        return (filed.clone(), false);
    };
    let present = &entry.record;
    let mut wanted = filed.clone();
    if !is_brand_named {
        wanted.brand_id.clone_from(&present.brand_id);
    }
    keep(&mut wanted.display_name, &present.display_name);
    keep(
        &mut wanted.messaging_account_id,
        &present.messaging_account_id,
    );
    keep(&mut wanted.app, &present.app);
    if wanted.throughput == 0 {
        wanted.throughput = present.throughput;
    }
    if wanted.messaging_limit == 0 {
        wanted.messaging_limit = present.messaging_limit;
    }
    wanted.sms = wanted.sms.or_else(|| present.sms.clone());
    wanted.onboard_time = wanted.onboard_time.or(present.onboard_time);

    let is_elsewhere =
        wanted.waba_id != present.waba_id || wanted.phone_number_id != present.phone_number_id;
    let is_older = is_elsewhere && entry.caller != filer;
    if is_older {
        wanted.waba_id.clone_from(&present.waba_id);
        wanted.phone_number_id.clone_from(&present.phone_number_id);
        wanted.portfolio_id.clone_from(&present.portfolio_id);
        // The token is the account's that the number was in.
        wanted.token.clone_from(&present.token);
    }
    (wanted, is_older)
}

fn keep(wanted: &mut String, present: &str) {
    if wanted.is_empty() {
        present.clone_into(wanted);
    }
}

#[cfg(test)]
mod tests {
    use casement_event_log::Position;

    use super::*;

    fn entry(caller: &str, record: v1::Number) -> Entry<v1::Number> {
        Entry {
            record,
            position: Position {
                stream: "ACCOUNTS".to_owned(),
                incarnation: "1".to_owned(),
                sequence: 1,
            },
            caller: caller.to_owned(),
            time: None,
        }
    }

    fn number(waba_id: &str, phone_number_id: &str) -> v1::Number {
        v1::Number {
            number: "15550001111".to_owned(),
            brand_id: "default".to_owned(),
            waba_id: waba_id.to_owned(),
            phone_number_id: phone_number_id.to_owned(),
            ..v1::Number::default()
        }
    }

    #[test]
    fn what_the_file_does_not_name_stays() {
        let onboard_time = Some(prost_types::Timestamp {
            seconds: 5,
            nanos: 0,
        });
        let present = v1::Number {
            brand_id: "shop".to_owned(),
            display_name: "Shop".to_owned(),
            throughput: 1_000,
            messaging_limit: 2_000,
            onboard_time,
            app: "shop".to_owned(),
            ..number("800", "700")
        };
        let present = entry("operator", present);
        let filed = number("800", "700");
        let (kept, is_older) = wanted(Some(&present), &filed, false, "accounts-file");
        assert_eq!(kept, present.record);
        assert!(!is_older);

        let named = v1::Number {
            display_name: "New".to_owned(),
            ..filed
        };
        let (kept, _) = wanted(Some(&present), &named, true, "accounts-file");
        assert_eq!(kept.display_name, "New");
        assert_eq!(kept.brand_id, "default", "the file says so");
    }

    #[test]
    fn a_file_from_before_a_move_does_not_move_the_number_back() {
        let moved = entry("operator", number("801", "701"));
        let (kept, is_older) = wanted(Some(&moved), &number("800", "700"), true, "accounts-file");
        assert!(is_older);
        assert_eq!(
            (kept.waba_id, kept.phone_number_id),
            ("801".into(), "701".into())
        );
    }

    #[test]
    fn a_file_that_recorded_the_number_may_move_it() {
        let own = entry("accounts-file", number("800", "700"));
        let (kept, is_older) = wanted(Some(&own), &number("801", "701"), true, "accounts-file");
        assert!(!is_older);
        assert_eq!(kept.phone_number_id, "701");
    }

    #[test]
    fn a_new_number_is_as_the_file_says() {
        let filed = number("800", "700");
        assert_eq!(wanted(None, &filed, true, "accounts-file"), (filed, false));
    }
}
