//! What Meta decides about businesses, accounts and numbers, and tells of.

use casement_simulator::{
    BanState, BusinessSpec, NumberSpec, Quality, Restriction, Review, SignUpSpec, Verification,
};
use jiff::SignedDuration;
use serde_json::json;

use crate::platform::{PHONE, code, field, onboarded, post, read, register, told};
use crate::stage::{ANA, NUMBER, Stage, TOKEN, WABA, template_to, text};

#[tokio::test]
async fn an_unverified_business_has_two_numbers_at_most() {
    let stage = Stage::set().await;
    let (ours, token) = onboarded(&stage).await;
    let path = format!("{}/phone_numbers", ours.waba_id);
    let add = |last: u32| json!({"cc": "49", "phone_number": format!("493090182{last}"), "verified_name": "Bakery"});
    assert_eq!(post(&stage, &path, &token, add(1)).await.0, 200);
    assert_eq!(
        code(&post(&stage, &path, &token, add(2)).await),
        (200, 1_349_175)
    );
    stage
        .handle
        .verify_business(&ours.business_id, Verification::Verified, &[])
        .unwrap();
    assert_eq!(post(&stage, &path, &token, add(2)).await.0, 200);
}

#[tokio::test]
async fn a_businesss_verification_is_told_to_the_partner_with_its_reasons() {
    let stage = Stage::set().await;
    let (ours, token) = onboarded(&stage).await;
    let path = format!("{}/subscribed_apps", ours.waba_id);
    post(&stage, &path, &token, json!({})).await;
    let business = ours.business_id.as_str();
    let status = field(&stage, business, &token, "verification_status").await;
    assert_eq!(status, "not_verified");

    let handle = &stage.handle;
    let reasons = ["BUSINESS_NOT_ELIGIBLE".to_owned()];
    handle
        .verify_business(business, Verification::Pending, &[])
        .unwrap();
    handle
        .verify_business(business, Verification::Rejected, &reasons)
        .unwrap();
    handle
        .verify_business(business, Verification::Verified, &[])
        .unwrap();

    let status = field(&stage, business, &token, "verification_status").await;
    assert_eq!(status, "verified");
    let field = "whatsapp_business_manager_messaging_limit";
    let (_, node) = read(&stage, &format!("{}?fields={field}", ours.waba_id), &token).await;
    assert_eq!(node[field], "TIER_2K");
    stage.quiet().await;
    let updates = told(&stage, "account_update");
    let certified: Vec<_> = updates
        .iter()
        .filter(|(_, value)| value["event"] == "PARTNER_CLIENT_CERTIFICATION_STATUS_UPDATE")
        .map(|(from, value)| (from.as_str(), &value["partner_client_certification_info"]))
        .collect();
    let told_of = |status: &str, reason: &str| {
        json!({
            "client_business_id": business, "status": status, "rejection_reasons": [reason],
        })
    };
    let expected = [
        told_of("PENDING", "NONE"),
        told_of("REJECTED", "BUSINESS_NOT_ELIGIBLE"),
        told_of("APPROVED", "NONE"),
    ];
    assert_eq!(certified.len(), 3);
    for ((from, value), expected) in certified.into_iter().zip(&expected) {
        assert_eq!((from, value), ("900100200300", expected));
    }
    let verified = updates
        .iter()
        .any(|(from, value)| *from == ours.waba_id && value["event"] == "VERIFIED_ACCOUNT");
    assert!(verified);
    let capability = told(&stage, "business_capability_update");
    assert_eq!(
        capability[0].1["max_daily_conversations_per_business"],
        2_000
    );
    assert_eq!(capability[0].1["max_phone_numbers_per_business"], 20);
}

#[tokio::test]
async fn a_new_name_is_shown_once_it_is_approved_and_the_number_registered_again() {
    let stage = Stage::set().await;
    let ask = json!({"new_display_name": "Bakery"});
    assert_eq!(post(&stage, NUMBER, TOKEN, ask.clone()).await.0, 200);
    let name = async |name: &str| field(&stage, NUMBER, TOKEN, name).await;
    assert_eq!(name("new_name_status").await, "PENDING_REVIEW");
    stage
        .handle
        .reject_name(NUMBER, "NAME_EMPLOYEE_ENTITY_INVALID")
        .unwrap();
    assert_eq!(name("new_name_status").await, "DECLINED");

    post(&stage, NUMBER, TOKEN, ask).await;
    stage.handle.approve_name(NUMBER).unwrap();
    assert_eq!(name("verified_name").await, "Simulated business");
    register(&stage, NUMBER, TOKEN, "123456").await;
    assert_eq!(name("verified_name").await, "Bakery");
    assert_eq!(name("new_name_status").await, "NONE");
    stage.quiet().await;
    let told = told(&stage, "phone_number_name_update");
    let decisions: Vec<_> = told
        .iter()
        .map(|(_, value)| {
            let text = |key: &str| value[key].as_str().unwrap().to_owned();
            (text("decision"), text("rejection_reason"))
        })
        .collect();
    let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
    assert_eq!(
        decisions,
        [
            pair("REJECTED", "NAME_EMPLOYEE_ENTITY_INVALID"),
            pair("APPROVED", "NONE")
        ]
    );
}

#[tokio::test]
async fn quality_throughput_and_limits_are_told_and_shown() {
    let stage = Stage::set().await;
    let handle = &stage.handle;
    let ana = handle.customer(Some(ANA), None, "Ana").unwrap();
    handle.says(&ana, NUMBER, "hello").unwrap();
    for quality in [Quality::Yellow, Quality::Red, Quality::Yellow] {
        handle.set_quality(NUMBER, quality).unwrap();
    }
    let rating = field(&stage, NUMBER, TOKEN, "quality_rating").await;
    assert_eq!(rating, "YELLOW");
    handle
        .set_messaging_limit("900100200300", "TIER_10K")
        .unwrap();
    let minute = SignedDuration::from_mins(1);
    handle.upgrade_throughput(NUMBER, minute).unwrap();
    assert_eq!(code(&stage.send(&text(ANA, "hi")).await).0, 131_057);
    stage.clock.advance(minute);
    assert_eq!(stage.send(&text(ANA, "hi")).await.0, 200);
    let level = field(&stage, NUMBER, TOKEN, "throughput").await;
    assert_eq!(level["level"], "HIGH");
    stage.quiet().await;
    let told = told(&stage, "phone_number_quality_update");
    let events: Vec<_> = told.iter().map(|(_, value)| &value["event"]).collect();
    // Both numbers are of the portfolio whose limit rose.
    assert_eq!(
        events,
        [
            "FLAGGED",
            "UNFLAGGED",
            "UPGRADE",
            "UPGRADE",
            "THROUGHPUT_UPGRADE"
        ]
    );
    assert_eq!(told[2].1["old_limit"], "TIER_2K");
    assert_eq!(told[2].1["current_limit"], "TIER_10K");
}

#[tokio::test]
async fn what_an_account_may_not_do_is_refused_and_told_until_it_is_lifted() {
    let stage = Stage::set().await;
    let handle = &stage.handle;
    let ana = handle.customer(Some(ANA), None, "Ana").unwrap();
    handle.says(&ana, NUMBER, "hello").unwrap();
    let template = template_to(ANA, "order_update", &["7"]);
    let until = stage.clock.now() + SignedDuration::from_hours(24);
    let restriction = Restriction {
        kind: "RESTRICTED_BIZ_INITIATED_MESSAGING".to_owned(),
        until: Some(until),
    };
    handle
        .restrict_account(WABA, vec![restriction], Some("SPAM"))
        .unwrap();
    assert_eq!(code(&stage.send(&template).await).0, 368);
    assert_eq!(stage.send(&text(ANA, "an answer")).await.0, 200);
    stage.clock.advance(SignedDuration::from_hours(24));
    handle.says(&ana, NUMBER, "hello again").unwrap();
    assert_eq!(stage.send(&template).await.0, 200);

    handle
        .ban_account(WABA, BanState::ScheduleForDisable)
        .unwrap();
    assert_eq!(stage.send(&template).await.0, 200);
    handle.ban_account(WABA, BanState::Disable).unwrap();
    assert_eq!(code(&stage.send(&text(ANA, "x")).await).0, 131_031);
    handle.ban_account(WABA, BanState::Reinstate).unwrap();
    assert_eq!(stage.send(&text(ANA, "x")).await.0, 200);
    handle.review_account(WABA, Review::Rejected).unwrap();
    assert_eq!(code(&stage.send(&text(ANA, "x")).await).0, 131_031);
    handle.review_account(WABA, Review::Approved).unwrap();
    handle.set_payment(WABA, false).unwrap();
    assert_eq!(code(&stage.send(&template).await).0, 131_042);
    assert_eq!(stage.send(&text(ANA, "x")).await.0, 200);
    stage.quiet().await;
    let updates = told(&stage, "account_update");
    let events: Vec<_> = updates
        .iter()
        .map(|(_, value)| {
            let state = value["ban_info"]["waba_ban_state"].as_str();
            (value["event"].as_str().unwrap(), state.unwrap_or_default())
        })
        .collect();
    assert_eq!(
        events,
        [
            ("ACCOUNT_VIOLATION", ""),
            ("ACCOUNT_RESTRICTION", ""),
            ("DISABLED_UPDATE", "SCHEDULE_FOR_DISABLE"),
            ("DISABLED_UPDATE", "DISABLE"),
            ("DISABLED_UPDATE", "REINSTATE"),
        ]
    );
    let restricted = &updates[1].1["restriction_info"][0];
    assert_eq!(restricted["expiration"], until.as_second());
    assert_eq!(told(&stage, "account_review_update").len(), 2);
}

#[tokio::test]
async fn a_number_in_the_phone_app_is_neither_registered_nor_deregistered() {
    let stage = Stage::set().await;
    let spec = NumberSpec {
        is_on_app: Some(true),
        ..NumberSpec::default()
    };
    stage.handle.set_number(NUMBER, spec).unwrap();
    assert_eq!(
        code(&register(&stage, NUMBER, TOKEN, "123456").await).0,
        100
    );
    let path = format!("{NUMBER}/deregister");
    assert_eq!(code(&post(&stage, &path, TOKEN, json!({})).await).0, 100);
    assert_eq!(field(&stage, NUMBER, TOKEN, "status").await, "CONNECTED");

    stage
        .handle
        .disconnect_app(NUMBER, "PRIMARY_INACTIVITY", "WHATSAPP")
        .unwrap();
    assert_eq!(code(&stage.send(&text(ANA, "x")).await).0, 133_010);
    stage.quiet().await;
    let updates = told(&stage, "account_update");
    let reason = &updates[0].1["disconnection_info"]["reason"];
    assert_eq!(reason, "PRIMARY_INACTIVITY");
}

#[tokio::test]
async fn a_business_that_was_put_in_is_shown_as_it_was_said() {
    let stage = Stage::set().await;
    let id = stage.handle.put_business(BusinessSpec {
        id: Some("555".to_owned()),
        name: "Bakery".to_owned(),
        verification: Verification::Verified,
    });
    assert_eq!(id, "555");
    let unknown = SignUpSpec {
        phone: PHONE.to_owned(),
        business_id: Some("556".to_owned()),
        ..SignUpSpec::default()
    };
    assert!(stage.handle.sign_up(unknown).is_err());
}
