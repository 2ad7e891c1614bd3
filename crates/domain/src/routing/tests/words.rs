//! What a decision tells programs and people.

use super::*;

fn told_of(case: &Case, route: Route, now: i64) -> String {
    let decision = case.decide(now);
    decision.candidate(route).unwrap().text.clone()
}

#[test]
fn routes_and_categories_have_words_that_never_change() {
    let routes = Route::ALL.map(Route::as_str);
    assert_eq!(routes, ["free-form", "template", "SMS", "hold"]);
    for (category, word) in [
        (TemplateCategory::Utility, "UTILITY"),
        (TemplateCategory::Authentication, "AUTHENTICATION"),
        (TemplateCategory::Marketing, "MARKETING"),
    ] {
        assert_eq!(category.as_str(), word);
    }
}

#[test]
fn what_failed_is_told_in_a_sentence_that_begins_with_the_route() {
    let case = Case {
        exhausted: Route::ALL.to_vec(),
        ..Case::default()
    };
    for (route, begins) in Route::ALL
        .into_iter()
        .zip(["Free-form", "Template", "SMS", "Hold"])
    {
        let told = told_of(&case, route, 10);
        assert_eq!(
            told,
            format!("{begins} is not tried again for this message.")
        );
    }
}

#[test]
fn a_window_that_was_cut_short_is_told_with_what_cut_it() {
    let migrated = Facts {
        number_migrated_at: Some(at(5)),
        ..wrote(0)
    };
    let renamed = Facts {
        user_id_changed_at: Some(at(5)),
        ..wrote(0)
    };
    let refused = Facts {
        evidence: Evidence {
            refused_at: Some(at(5)),
            ..Evidence::default()
        },
        ..wrote(0)
    };
    let never_cut = wrote(0);
    let when = at(5).to_string();
    for (window, now, says) in [
        (migrated, 10, ["moved to another account", when.as_str()]),
        (renamed, 10, ["another user id", &when]),
        (
            refused,
            10,
            ["Meta refused", "although the window ran until"],
        ),
        (
            never_cut,
            DAY + 1,
            ["The window closed at", &at(DAY).to_string()],
        ),
    ] {
        let case = Case {
            window,
            ..Case::default()
        };
        let told = told_of(&case, Route::FreeForm, now);
        for part in says {
            assert!(told.contains(part), "{told}");
        }
    }
}

#[test]
fn a_message_that_cannot_go_by_sms_names_no_gateways() {
    let without_phone = Case {
        has_phone: false,
        ..Case::default()
    };
    assert!(without_phone.decide(10).sms_gateways.is_empty());
    assert_eq!(Case::default().decide(10).sms_gateways, ["main", "spare"]);
}
