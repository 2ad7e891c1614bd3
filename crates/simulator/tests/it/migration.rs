//! A number moves from one business account to another.

use casement_simulator::{
    AccountSpec, BusinessSpec, NumberSpec, Review, TemplateStatus, Verification,
};
use serde_json::{Value, json};

use crate::platform::{code, field, post, read};
use crate::stage::{ANA, NUMBER, Stage, TOKEN, WABA, number, template, template_to, text};

/// Another of the stage's numbers has the same phone; here only one has it.
const THERE: &str = "810000000000";
const PARTNER: &str = "the-partners-token";

async fn set() -> Stage {
    let stage = set_with(true).await;
    let account = AccountSpec {
        waba_id: Some(THERE.to_owned()),
        is_subscribed: true,
        ..AccountSpec::default()
    };
    stage
        .handle
        .put_account(account)
        .expect("as the simulator answers");
    stage
        .handle
        .share_account(PARTNER, THERE)
        .expect("as the simulator answers");
    stage
}

async fn set_with(keeps_windows: bool) -> Stage {
    Stage::set_with(|config| {
        config.numbers = vec![number(NUMBER)];
        config.migration_keeps_windows = keeps_windows;
        config.templates.push(casement_simulator::TemplateConfig {
            name: "rejected".to_owned(),
            status: TemplateStatus::Rejected,
            ..template()
        });
    })
    .await
}

async fn begin(stage: &Stage) -> (u16, Value) {
    let body = json!({
        "cc": "1", "phone_number": "15550783881", "migrate_phone_number": true,
    });
    post(stage, &format!("{THERE}/phone_numbers"), PARTNER, body).await
}

/// Verifies and registers the number at its destination.
async fn finish(stage: &Stage, id: &str) {
    let ask = json!({"code_method": "VOICE", "language": "en_US"});
    let answer = post(stage, &format!("{id}/request_code"), PARTNER, ask).await;
    assert_eq!(answer.0, 200, "{}", answer.1);
    let sent = stage
        .handle
        .verification_code(id)
        .expect("as the simulator answers");
    let verify = json!({"code": sent});
    let answer = post(stage, &format!("{id}/verify_code"), PARTNER, verify).await;
    assert_eq!(answer.0, 200, "{}", answer.1);
    let pin = json!({"messaging_product": "whatsapp", "pin": "222222"});
    let answer = post(stage, &format!("{id}/register"), PARTNER, pin).await;
    assert_eq!(answer.0, 200, "{}", answer.1);
}

#[tokio::test]
async fn all_that_is_missing_for_a_migration_is_listed_and_each_is_enough_to_refuse_it() {
    let stage = set().await;
    let handle = &stage.handle;
    let owner = handle.put_business(BusinessSpec {
        name: "Bakery".to_owned(),
        ..BusinessSpec::default()
    });
    let account = AccountSpec {
        waba_id: Some(THERE.to_owned()),
        business_id: Some(owner.clone()),
        review: Review::Pending,
        has_payment: false,
        ..AccountSpec::default()
    };
    handle.put_account(account.clone()).unwrap();
    let spec = NumberSpec {
        pin: Some("123456".to_owned()),
        name_status: Some("DECLINED".to_owned()),
        ..NumberSpec::default()
    };
    handle.set_number(NUMBER, spec).unwrap();

    let answer = begin(&stage).await;
    assert_eq!(code(&answer).0, 2_388_103);
    let details = answer.1["error"]["error_data"]["details"].as_str().unwrap();
    for told in [
        "two-step verification is on",
        "the display name is not approved",
        "the business that is to have the number is not verified",
        "the destination account is not approved",
        "the destination account has no payment method",
        "no app is subscribed",
    ] {
        assert!(details.contains(told), "{told}: {details}");
    }
    handle
        .verify_business(&owner, Verification::Verified, &[])
        .unwrap();
    let put_right = AccountSpec {
        review: Review::Approved,
        has_payment: true,
        is_subscribed: true,
        ..account
    };
    handle.put_account(put_right).unwrap();
    handle.approve_name(NUMBER).unwrap();
    let answer = begin(&stage).await;
    let details = &answer.1["error"]["error_data"]["details"];
    let only = "two-step verification is on: its owner has to disable it";
    assert_eq!(details, only);
    handle.disable_two_step(NUMBER).unwrap();
    assert_eq!(begin(&stage).await.0, 200);
}

#[tokio::test]
async fn a_number_goes_on_at_its_source_until_it_is_registered_at_its_destination() {
    let stage = set().await;
    let handle = &stage.handle;
    let ana = handle.customer(Some(ANA), None, "Ana").unwrap();
    handle.says(&ana, NUMBER, "hello").unwrap();
    let spec = NumberSpec {
        is_official: Some(true),
        verified_name: Some("Bakery".to_owned()),
        ..NumberSpec::default()
    };
    handle.set_number(NUMBER, spec).unwrap();

    let (status, answer) = begin(&stage).await;
    assert_eq!(status, 200, "{answer}");
    let id = answer["id"].as_str().unwrap();
    assert_ne!(id, NUMBER);
    assert_eq!(code(&begin(&stage).await).0, 2_388_012, "it has begun");
    assert_eq!(stage.send(&text(ANA, "still here")).await.0, 200);
    let (_, numbers) = read(&stage, &format!("{THERE}/phone_numbers"), PARTNER).await;
    assert_eq!(numbers["data"][0]["id"], id);
    assert_eq!(field(&stage, id, PARTNER, "status").await, "PENDING");

    finish(&stage, id).await;

    // The old id is dead.
    assert_eq!(code(&stage.send(&text(ANA, "gone")).await).0, 133_010);
    assert_eq!(code(&read(&stage, NUMBER, TOKEN).await), (100, 33));
    // What goes along went along.
    assert_eq!(field(&stage, id, PARTNER, "verified_name").await, "Bakery");
    assert_eq!(field(&stage, id, PARTNER, "quality_rating").await, "GREEN");
    let official = field(&stage, id, PARTNER, "is_official_business_account").await;
    assert_eq!(official, true);
    let path = format!("{THERE}/message_templates");
    let (_, templates) = read(&stage, &path, PARTNER).await;
    let names: Vec<_> = templates["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|template| template["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["order_update"], "only what was approved");
    let messages = format!("{id}/messages");
    let answer = post(&stage, &messages, PARTNER, text(ANA, "hello from here")).await;
    assert_eq!(answer.0, 200, "the open window went along: {}", answer.1);
    let template = template_to(ANA, "order_update", &["7"]);
    assert_eq!(post(&stage, &messages, PARTNER, template).await.0, 200);
    // Whoever writes to the phone reaches the new account.
    handle.says(&ana, NUMBER, "are you there?").unwrap();
    stage.quiet().await;
    let last = stage.inbox.received().last().unwrap().json();
    let inbound =
        stage.inbox.received().into_iter().rev().find(|received| {
            received.json()["entry"][0]["changes"][0]["value"]["messages"].is_array()
        });
    let inbound = inbound.unwrap_or_else(|| panic!("{last}")).json();
    assert_eq!(inbound["entry"][0]["id"], THERE);
    let metadata = &inbound["entry"][0]["changes"][0]["value"]["metadata"];
    assert_eq!(metadata["phone_number_id"], id);
}

#[tokio::test]
async fn whether_windows_go_along_can_be_chosen() {
    let stage = set_with(false).await;
    let account = AccountSpec {
        waba_id: Some(THERE.to_owned()),
        is_subscribed: true,
        ..AccountSpec::default()
    };
    stage.handle.put_account(account).unwrap();
    stage.handle.share_account(PARTNER, THERE).unwrap();
    let ana = stage.handle.customer(Some(ANA), None, "Ana").unwrap();
    stage.handle.says(&ana, NUMBER, "hello").unwrap();
    let (_, answer) = begin(&stage).await;
    let id = answer["id"].as_str().unwrap().to_owned();
    finish(&stage, &id).await;
    let messages = format!("{id}/messages");
    let answer = post(&stage, &messages, PARTNER, text(ANA, "hello")).await;
    assert_eq!(code(&answer).0, 131_047);
}

#[tokio::test]
async fn only_a_number_that_is_in_use_elsewhere_can_move() {
    let stage = set().await;
    let path = format!("{THERE}/phone_numbers");
    let unknown = json!({
        "cc": "1", "phone_number": "15550009999", "migrate_phone_number": true,
    });
    assert_eq!(
        code(&post(&stage, &path, PARTNER, unknown).await).0,
        2_388_103
    );
    let taken = json!({"cc": "1", "phone_number": "15550783881", "verified_name": "Bakery"});
    assert_eq!(code(&post(&stage, &path, PARTNER, taken).await).0, 100);
    let other_country = json!({
        "cc": "49", "phone_number": "15550783881", "migrate_phone_number": true,
    });
    assert_eq!(
        code(&post(&stage, &path, PARTNER, other_country).await).0,
        100
    );
    let there = json!({
        "cc": "1", "phone_number": "15550783881", "migrate_phone_number": true,
    });
    let here = format!("{WABA}/phone_numbers");
    assert_eq!(code(&post(&stage, &here, TOKEN, there).await).0, 2_388_012);
}
