//! Sign-up, registration and migration against a socket that answers as told: what the requests
//! look like, and that no secret of theirs comes back.

use std::net::SocketAddr;

use casement_testkit::socket::{Answer, answer_once, http};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use super::tests::manager;
use super::*;
use crate::errors::Refused;

const PIN: &str = "424242";
const CODE: &str = "AQD-the-sign-ups-code";
const APP_SECRET: &str = "the-apps-secret";

fn secret(text: &str) -> SecretString {
    SecretString::from(text)
}

async fn answering(status: &str, body: Value) -> (Manager, JoinHandle<String>) {
    let (address, task) = answer_once(http(status, "", &body.to_string())).await;
    (at(address), task)
}

fn at(address: SocketAddr) -> Manager {
    manager(&format!("http://{address}/"))
}

async fn done() -> (Manager, JoinHandle<String>) {
    answering("200 OK", json!({"success": true})).await
}

fn refusal(code: i64, details: &str) -> Value {
    json!({"error": {
        "message": format!("(#{code}) refused: {details}"), "type": "OAuthException",
        "code": code, "error_data": {"messaging_product": "whatsapp", "details": details},
    }})
}

/// Splits a request into its first line and its JSON body.
fn request(text: &str) -> (String, Value) {
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    let line = head.lines().next().unwrap().to_owned();
    (line, serde_json::from_str(body).unwrap_or_default())
}

#[tokio::test]
async fn a_sign_ups_code_is_exchanged_with_the_apps_secret_and_without_a_token() {
    let body = json!({"access_token": "EAAG-new", "token_type": "bearer", "expires_in": 5_183_944});
    let (manager, task) = answering("200 OK", body).await;
    let exchanged = manager
        .exchange_code("620", &secret(APP_SECRET), &secret(CODE))
        .await
        .unwrap();
    let sent = task.await.unwrap();
    let line = "GET /v26.0/oauth/access_token?client_id=620&client_secret=the-apps-secret\
                &code=AQD-the-sign-ups-code HTTP/1.1";
    assert!(sent.starts_with(line), "{sent}");
    assert!(!sent.to_ascii_lowercase().contains("authorization:"));
    assert_eq!(exchanged.token.expose_secret(), "EAAG-new");
    assert_eq!(exchanged.expires_in.unwrap().as_secs(), 5_183_944);
    assert!(!format!("{exchanged:?}").contains("EAAG-new"));
}

#[tokio::test]
async fn a_business_token_without_an_end_has_none() {
    let (manager, _) = answering("200 OK", json!({"access_token": "EAAG-new"})).await;
    let exchanged = manager
        .exchange_code("620", &secret(APP_SECRET), &secret(CODE))
        .await
        .unwrap();
    assert_eq!(exchanged.expires_in, None);
}

#[tokio::test]
async fn a_code_that_was_used_is_told_from_a_wrong_call() {
    let mut body = refusal(100, "used");
    body["error"]["error_subcode"] = json!(36_009);
    let (manager, _) = answering("400 Bad Request", body).await;
    let error = manager
        .exchange_code("620", &secret(APP_SECRET), &secret(CODE))
        .await
        .unwrap_err();
    assert_eq!(error.refused(), Some(Refused::SignUpCode));
    assert!(!error.is_passing() && !error.is_ambiguous());
}

#[tokio::test]
async fn registering_brings_the_pin_and_the_region_in_the_body() {
    let (manager, task) = done().await;
    let pin = secret(PIN);
    manager
        .register(&secret("t"), "700", &pin, Some("DE"))
        .await
        .unwrap();
    let (line, body) = request(&task.await.unwrap());
    assert_eq!(line, "POST /v26.0/700/register HTTP/1.1");
    let expected = json!({
        "messaging_product": "whatsapp", "pin": PIN, "data_localization_region": "DE",
    });
    assert_eq!(body, expected);

    let (manager, task) = done().await;
    manager
        .register(&secret("t"), "700", &pin, None)
        .await
        .unwrap();
    let (_, body) = request(&task.await.unwrap());
    assert_eq!(body, json!({"messaging_product": "whatsapp", "pin": PIN}));
}

#[tokio::test]
async fn the_steps_of_a_number_are_posted_where_meta_documents_them() {
    let token = secret("t");
    let (manager, task) = done().await;
    manager.deregister(&token, "700").await.unwrap();
    let (line, _) = request(&task.await.unwrap());
    assert_eq!(line, "POST /v26.0/700/deregister HTTP/1.1");

    let (manager, task) = done().await;
    manager
        .request_code(&token, "700", CodeMethod::Voice, "de_DE")
        .await
        .unwrap();
    let (line, body) = request(&task.await.unwrap());
    assert_eq!(line, "POST /v26.0/700/request_code HTTP/1.1");
    assert_eq!(body, json!({"code_method": "VOICE", "language": "de_DE"}));

    let (manager, task) = done().await;
    manager
        .verify_code(&token, "700", &secret("123456"))
        .await
        .unwrap();
    let (line, body) = request(&task.await.unwrap());
    assert_eq!(line, "POST /v26.0/700/verify_code HTTP/1.1");
    assert_eq!(body, json!({"code": "123456"}));

    let (manager, task) = done().await;
    manager.set_pin(&token, "700", &secret(PIN)).await.unwrap();
    let (line, body) = request(&task.await.unwrap());
    assert_eq!(line, "POST /v26.0/700 HTTP/1.1");
    assert_eq!(body, json!({"pin": PIN}));

    let (manager, task) = done().await;
    manager.request_name(&token, "700", "Bakery").await.unwrap();
    let (_, body) = request(&task.await.unwrap());
    assert_eq!(body, json!({"new_display_name": "Bakery"}));

    let (manager, task) = done().await;
    manager.unsubscribe(&token, "800").await.unwrap();
    let (line, _) = request(&task.await.unwrap());
    assert_eq!(line, "DELETE /v26.0/800/subscribed_apps HTTP/1.1");
}

#[tokio::test]
async fn a_number_is_added_by_its_digits_and_a_migration_says_so() {
    let token = secret("t");
    let new = NewNumber {
        country_code: "49",
        phone: "+4930901820",
        verified_name: Some("Bakery"),
        migrate: false,
    };
    let (manager, task) = answering("200 OK", json!({"id": "701"})).await;
    let id = manager.add_number(&token, "800", &new).await.unwrap();
    assert_eq!(id, "701");
    let (line, body) = request(&task.await.unwrap());
    assert_eq!(line, "POST /v26.0/800/phone_numbers HTTP/1.1");
    let expected = json!({"cc": "49", "phone_number": "4930901820", "verified_name": "Bakery"});
    assert_eq!(body, expected);

    let moving = NewNumber {
        verified_name: None,
        migrate: true,
        ..new
    };
    let (manager, task) = answering("200 OK", json!({"id": 702})).await;
    let id = manager.add_number(&token, "800", &moving).await.unwrap();
    assert_eq!(id, "702");
    let (_, body) = request(&task.await.unwrap());
    let expected = json!({
        "cc": "49", "phone_number": "4930901820", "migrate_phone_number": true,
    });
    assert_eq!(body, expected);
}

#[tokio::test]
async fn a_refusal_that_quotes_a_secret_no_longer_does() {
    let quoting = refusal(133_005, "pin 424242 of token EAAG-mine is wrong");
    let (manager, _) = answering("400 Bad Request", quoting).await;
    let error = manager
        .register(&secret("EAAG-mine"), "700", &secret(PIN), None)
        .await
        .unwrap_err();
    let told = format!("{error} {error:?}");
    assert!(!told.contains(PIN) && !told.contains("EAAG-mine"), "{told}");
    assert!(told.contains("pin [hidden] of token [hidden] is wrong"));
    assert_eq!(error.refused(), Some(Refused::PinWrong));
    assert_eq!(error.code(), Some(133_005));

    let quoting = refusal(
        101,
        "client_secret=the-apps-secret code=AQD-the-sign-ups-code",
    );
    let (manager, _) = answering("400 Bad Request", quoting).await;
    let error = manager
        .exchange_code("620", &secret(APP_SECRET), &secret(CODE))
        .await
        .unwrap_err();
    let told = format!("{error:?}");
    assert!(!told.contains(APP_SECRET) && !told.contains(CODE), "{told}");
}

#[tokio::test]
async fn what_may_have_happened_is_told_from_what_did_not() {
    for (answer, is_ambiguous, is_passing) in [
        (Answer::Close, true, true),
        (
            http("503 x", "", &refusal(133_004, "").to_string()),
            true,
            true,
        ),
        (http("500 x", "", &refusal(2, "").to_string()), true, true),
        (http("502 x", "", "upstream"), true, true),
        (
            http("400 x", "", &refusal(80_007, "").to_string()),
            false,
            true,
        ),
        (
            http("400 x", "", &refusal(133_016, "").to_string()),
            false,
            false,
        ),
        (
            http("400 x", "", &refusal(2_388_103, "").to_string()),
            false,
            false,
        ),
    ] {
        let (address, task) = answer_once(answer).await;
        let error = at(address)
            .register(&secret("t"), "700", &secret(PIN), None)
            .await
            .unwrap_err();
        task.await.unwrap();
        let told = (error.is_ambiguous(), error.is_passing());
        assert_eq!(told, (is_ambiguous, is_passing), "{error:?}");
        assert!(!format!("{error:?}").contains(PIN));
    }
}

#[tokio::test]
async fn a_numbers_health_is_read_with_what_stands_in_its_way() {
    let (manager, task) = answering(
        "200 OK",
        json!({
            "id": "700", "display_phone_number": "+1 555-078-3881", "status": "CONNECTED",
            "quality_score": {"score": "YELLOW"}, "name_status": "APPROVED",
            "new_display_name": "Bakery", "new_name_status": "PENDING_REVIEW",
            "is_official_business_account": false, "is_on_biz_app": true, "is_pin_enabled": true,
            "whatsapp_business_manager_messaging_limit": "TIER_2K",
            "health_status": {"can_send_message": "LIMITED", "entities": [
                {"entity_type": "WABA", "id": 800, "can_send_message": "LIMITED", "errors": [
                    {"error_code": 141_006, "error_description": "No payment method",
                     "possible_solution": "Add one"}]},
                {"entity_type": "PHONE_NUMBER", "id": "700", "can_send_message": "AVAILABLE",
                 "additional_info": ["The name is under review."]},
            ]},
        }),
    )
    .await;
    let number = manager.number(&secret("t"), "700").await.unwrap();
    let (line, _) = request(&task.await.unwrap());
    assert!(
        line.contains("health_status") && line.contains("quality_score"),
        "{line}"
    );
    assert!(number.is_connected());
    assert_eq!(number.quality_rating, "YELLOW");
    assert_eq!(number.new_name_status, "PENDING_REVIEW");
    assert_eq!(number.messaging_limit, "TIER_2K");
    assert_eq!(
        (number.is_official, number.is_on_app),
        (Some(false), Some(true))
    );
    let health = number.health.unwrap();
    assert_eq!(health.can_send, "LIMITED");
    assert_eq!(health.entities[0].errors[0].code, 141_006);
    assert_eq!(health.entities[0].id, "800");
    assert_eq!(health.entities[1].notes, ["The name is under review."]);
}

#[tokio::test]
async fn an_account_and_a_business_say_how_far_they_are() {
    let (manager, _) = answering(
        "200 OK",
        json!({
            "id": "800", "name": "Bakery", "account_review_status": "APPROVED",
            "business_verification_status": "verified", "timezone_id": 42,
            "ownership_type": "CLIENT_OWNED", "country": "DE", "primary_funding_id": "0",
        }),
    )
    .await;
    let account = manager.account(&secret("t"), "800").await.unwrap();
    assert!(account.is_approved() && account.is_business_verified());
    assert_eq!(
        (account.timezone_id.as_str(), account.funding_id),
        ("42", None)
    );

    let body = json!({"id": "900", "name": "Bakery", "verification_status": "pending"});
    let (manager, task) = answering("200 OK", body).await;
    let business = manager.business(&secret("t"), "900").await.unwrap();
    let (line, _) = request(&task.await.unwrap());
    assert!(line.starts_with("GET /v26.0/900?fields=id%2Cname%2Cverification_status "));
    assert_eq!(
        (business.verification.as_str(), business.is_verified()),
        ("PENDING", false)
    );
}
