//! Reports are read as the platform means them.

use casement_event::convert::timestamp;
use v1::account_update_facts::Restriction;

use super::*;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn reported(facts: Facts) -> v1::AccountReported {
    v1::AccountReported {
        entry_id: "800".to_owned(),
        times: Some(v1::Times {
            event_time: Some(timestamp(at(10))),
            ..v1::Times::default()
        }),
        number: "15550001111".to_owned(),
        facts: Some(v1::AccountFacts { facts: Some(facts) }),
        ..v1::AccountReported::default()
    }
}

fn told(facts: Facts) -> Told {
    read(&reported(facts), at(20)).unwrap()
}

fn words(told: &Told) -> Vec<(Kind, &str)> {
    let facts = told.facts.iter();
    facts
        .map(|(kind, fact)| (*kind, fact.value.as_str()))
        .collect()
}

fn update(event: &str) -> v1::AccountUpdateFacts {
    v1::AccountUpdateFacts {
        event: event.to_owned(),
        waba_id: "800".to_owned(),
        ..v1::AccountUpdateFacts::default()
    }
}

#[test]
fn a_report_counts_from_its_own_time_but_never_from_the_future() {
    let quality = Facts::NumberQuality(v1::NumberQualityFacts {
        event: "ONBOARDING".to_owned(),
        limit: "TIER_2K".to_owned(),
        ..v1::NumberQualityFacts::default()
    });
    let report = reported(quality);
    assert_eq!(read(&report, at(20)).unwrap().facts[0].1.at, at(10));
    assert_eq!(read(&report, at(5)).unwrap().facts[0].1.at, at(5));
}

#[test]
fn an_upgrade_and_a_limit_are_taken_from_the_report_of_a_number() {
    let told = told(Facts::NumberQuality(v1::NumberQualityFacts {
        event: "THROUGHPUT_UPGRADE".to_owned(),
        limit: "TIER_UNLIMITED".to_owned(),
        ..v1::NumberQualityFacts::default()
    }));
    assert_eq!(told.about, About::Number("15550001111".to_owned()));
    assert_eq!(
        words(&told),
        [
            (Kind::MessagingLimit, "TIER_UNLIMITED"),
            (Kind::Throughput, "HIGH")
        ]
    );
    assert!(told.is_to_be_checked);
}

#[test]
fn each_account_update_says_what_it_means_for_sending() {
    let banned = |state: &str| v1::AccountUpdateFacts {
        ban_state: state.to_owned(),
        ..update("DISABLED_UPDATE")
    };
    let disconnected = v1::AccountUpdateFacts {
        disconnection_reason: "PRIMARY_INACTIVITY".to_owned(),
        ..update("PARTNER_REMOVED")
    };
    let table: [(v1::AccountUpdateFacts, &[(Kind, &str)]); 8] = [
        (
            banned("DISABLE"),
            &[(Kind::AccountState, "DISABLE"), (Kind::Status, "BANNED")],
        ),
        (
            banned("REINSTATE"),
            &[(Kind::AccountState, "REINSTATE"), (Kind::Status, "UNKNOWN")],
        ),
        (
            banned("SCHEDULE_FOR_DISABLE"),
            &[(Kind::AccountState, "SCHEDULE_FOR_DISABLE")],
        ),
        (
            update("ACCOUNT_DELETED"),
            &[
                (Kind::AccountState, "ACCOUNT_DELETED"),
                (Kind::Status, "DELETED"),
            ],
        ),
        (
            disconnected,
            &[
                (Kind::Disconnection, "PRIMARY_INACTIVITY"),
                (Kind::Status, "DISCONNECTED"),
            ],
        ),
        (
            update("ACCOUNT_OFFBOARDED"),
            &[
                (Kind::Disconnection, "ACCOUNT_OFFBOARDED"),
                (Kind::Status, "DISCONNECTED"),
            ],
        ),
        (
            update("ACCOUNT_RECONNECTED"),
            &[(Kind::Disconnection, ""), (Kind::Status, "UNKNOWN")],
        ),
        (
            update("PARTNER_REMOVED"),
            &[(Kind::Disconnection, "PARTNER_REMOVED")],
        ),
    ];
    for (facts, wanted) in table {
        let told = told(Facts::AccountUpdate(facts));
        assert_eq!(words(&told), wanted);
        assert_eq!(told.about, About::Account("800".to_owned()));
    }
    let other = reported(Facts::AccountUpdate(update("MM_LITE_TERMS_SIGNED")));
    assert_eq!(read(&other, at(20)), None);
}

#[test]
fn restrictions_last_until_the_last_of_them_ends() {
    let one = |kind: &str, second: Option<i64>| Restriction {
        r#type: kind.to_owned(),
        expire_time: second.map(|second| timestamp(at(second))),
    };
    let restricted = |restrictions| {
        let facts = v1::AccountUpdateFacts {
            restrictions,
            ..update("ACCOUNT_RESTRICTION")
        };
        told(Facts::AccountUpdate(facts)).facts.remove(0).1
    };
    let both = restricted(vec![one("A", Some(50)), one("B", Some(90))]);
    assert_eq!((both.value.as_str(), both.until), ("A,B", Some(at(90))));
    let endless = restricted(vec![one("A", Some(50)), one("B", None)]);
    assert_eq!(endless.until, None);
}

#[test]
fn a_disconnection_of_one_number_is_about_that_number() {
    let told = told(Facts::AccountUpdate(v1::AccountUpdateFacts {
        disconnection_reason: "BUSINESS_DOWNGRADE".to_owned(),
        phone_number: "+1 555-000-2222".to_owned(),
        ..update("PARTNER_REMOVED")
    }));
    assert_eq!(told.about, About::Number("15550002222".to_owned()));
    assert_eq!(told.facts[1].1.detail, "BUSINESS_DOWNGRADE");
}

#[test]
fn an_approved_official_account_is_known_from_its_alert() {
    let alert = |kind: &str| {
        told(Facts::Alert(v1::AlertFacts {
            entity_type: "PHONE_NUMBER".to_owned(),
            entity_id: "700".to_owned(),
            r#type: kind.to_owned(),
            ..v1::AlertFacts::default()
        }))
    };
    let approved = alert("OBA_APPROVED");
    assert_eq!(approved.about, About::PhoneNumberId("700".to_owned()));
    assert_eq!(words(&approved)[1], (Kind::Official, "TRUE"));
    assert_eq!(words(&alert("OBA_REJECTED"))[1], (Kind::Official, "FALSE"));
    assert_eq!(alert("PROFILE_PICTURE_LOST").facts.len(), 1);
}

#[test]
fn a_name_review_is_told_in_the_words_that_the_platform_is_asked_in() {
    let told = told(Facts::NumberName(v1::NumberNameFacts {
        decision: "REJECTED".to_owned(),
        requested_name: "Shop".to_owned(),
        rejection_reason: "NAME_GENERIC".to_owned(),
    }));
    assert_eq!(words(&told), [(Kind::RequestedName, "Shop")]);
    assert_eq!(told.facts[0].1.detail, "DECLINED NAME_GENERIC");
}

#[test]
fn what_is_said_of_templates_is_not_for_numbers() {
    let other = reported(Facts::TemplateStatus(v1::TemplateStatusFacts::default()));
    assert_eq!(read(&other, at(20)), None);
    let nothing = v1::AccountReported::default();
    assert_eq!(read(&nothing, at(20)), None);
}
