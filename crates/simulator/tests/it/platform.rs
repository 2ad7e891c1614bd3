//! Meta's side of numbers: signing up, adding, verifying, registering, and what goes wrong.

use casement_simulator::{
    CODE_LIFE, REGISTER_WITHIN, REGISTRATION_SPAN, REGISTRATIONS_MAX, SIGN_UP_CODE_LIFE, SignUp,
    SignUpSpec, Upset, UpsetKind,
};
use jiff::SignedDuration;
use serde_json::{Value, json};

use crate::stage::{ANA, NUMBER, Stage, TOKEN, WABA, template_to, text};

const APP: &str = "620010020030040";
const SECRET: &str = "demo-app-secret";
pub(crate) const PHONE: &str = "+49 30 901820";

pub(crate) fn code(answer: &(u16, Value)) -> (i64, i64) {
    let error = &answer.1["error"];
    let number = |value: &Value| value.as_i64().unwrap_or_default();
    (number(&error["code"]), number(&error["error_subcode"]))
}

/// Calls with a JSON body.
pub(crate) async fn post(stage: &Stage, path: &str, token: &str, body: Value) -> (u16, Value) {
    let url = stage.url(&format!("/v26.0/{path}"));
    let request = stage.client.post(url).bearer_auth(token).json(&body);
    let response = request.send().await.expect("an answer");
    let status = response.status().as_u16();
    (status, response.json().await.expect("a JSON answer"))
}

pub(crate) async fn read(stage: &Stage, path: &str, token: &str) -> (u16, Value) {
    let request = stage.client.get(stage.url(&format!("/v26.0/{path}")));
    let response = request.bearer_auth(token).send().await.expect("an answer");
    let status = response.status().as_u16();
    (status, response.json().await.expect("a JSON answer"))
}

/// Returns one field of a node.
pub(crate) async fn field(stage: &Stage, id: &str, token: &str, field: &str) -> Value {
    let (status, node) = read(stage, &format!("{id}?fields={field}"), token).await;
    assert_eq!(status, 200, "{node}");
    node[field].clone()
}

/// Returns the values of all webhooks of a field, with the ids they came from.
pub(crate) fn told(stage: &Stage, field: &str) -> Vec<(String, Value)> {
    let mut told = Vec::new();
    for received in stage.inbox.received() {
        for entry in received.json()["entry"]
            .as_array()
            .expect("as the simulator answers")
        {
            for change in entry["changes"]
                .as_array()
                .expect("as the simulator answers")
            {
                if change["field"] == field {
                    let id = entry["id"]
                        .as_str()
                        .expect("as the simulator answers")
                        .to_owned();
                    told.push((id, change["value"].clone()));
                }
            }
        }
    }
    told
}

pub(crate) fn sign_up(stage: &Stage) -> SignUp {
    let spec = SignUpSpec {
        phone: PHONE.to_owned(),
        business_name: "Bakery".to_owned(),
        verified_name: "Bakery".to_owned(),
        ..SignUpSpec::default()
    };
    stage
        .handle
        .sign_up(spec)
        .expect("as the simulator answers")
}

pub(crate) async fn exchange(stage: &Stage, code: &str) -> (u16, Value) {
    let path = format!("oauth/access_token?client_id={APP}&client_secret={SECRET}&code={code}");
    let url = stage.url(&format!("/v26.0/{path}"));
    let response = stage
        .client
        .get(url)
        .send()
        .await
        .expect("as the simulator answers");
    (
        response.status().as_u16(),
        response.json().await.expect("as the simulator answers"),
    )
}

/// Signs up and exchanges the code.
pub(crate) async fn onboarded(stage: &Stage) -> (SignUp, String) {
    let signed_up = sign_up(stage);
    let (_, answer) = exchange(stage, &signed_up.code).await;
    let token = answer["access_token"]
        .as_str()
        .expect("as the simulator answers")
        .to_owned();
    (signed_up, token)
}

pub(crate) async fn register(stage: &Stage, id: &str, token: &str, pin: &str) -> (u16, Value) {
    let body = json!({"messaging_product": "whatsapp", "pin": pin});
    post(stage, &format!("{id}/register"), token, body).await
}

#[tokio::test]
async fn a_sign_ups_code_is_good_for_thirty_seconds_and_for_one_exchange() {
    let stage = Stage::set().await;
    let first = sign_up(&stage);
    let path = format!(
        "oauth/access_token?client_id={APP}&client_secret=wrong&code={}",
        first.code
    );
    assert_eq!(code(&read(&stage, &path, "").await), (101, 0));
    stage
        .clock
        .advance(SIGN_UP_CODE_LIFE - SignedDuration::from_millis(1));
    let (status, answer) = exchange(&stage, &first.code).await;
    assert_eq!(status, 200, "{answer}");
    assert_eq!(answer["token_type"], "bearer");
    assert_eq!(code(&exchange(&stage, &first.code).await), (100, 36_009));

    let second = sign_up(&stage);
    assert_ne!(second.business_id, first.business_id);
    stage.clock.advance(SIGN_UP_CODE_LIFE);
    assert_eq!(code(&exchange(&stage, &second.code).await), (100, 36_007));
    assert_eq!(code(&exchange(&stage, "AQ-nonsense").await), (100, 0));
}

#[tokio::test]
async fn a_business_token_is_good_for_its_own_account_only() {
    let stage = Stage::set().await;
    let (ours, token) = onboarded(&stage).await;

    let path = format!("debug_token?input_token={token}");
    let (_, debugged) = read(&stage, &path, &format!("{APP}|{SECRET}")).await;
    let targets = &debugged["data"]["granular_scopes"][0]["target_ids"];
    assert_eq!(targets, &json!([ours.waba_id]));
    assert_eq!(
        field(&stage, &ours.waba_id, &token, "id").await,
        ours.waba_id
    );
    let owner = field(&stage, &ours.waba_id, &token, "owner_business_info").await;
    assert_eq!(owner["id"], ours.business_id);
    let (_, numbers) = read(&stage, &format!("{}/phone_numbers", ours.waba_id), &token).await;
    assert_eq!(numbers["data"][0]["id"], ours.phone_number_id);
    assert_eq!(
        code(&read(&stage, WABA, &token).await),
        (200, 0),
        "another's account"
    );
    assert_eq!(code(&read(&stage, NUMBER, &token).await), (10, 0));
    assert_eq!(
        code(&read(&stage, &ours.business_id, TOKEN).await),
        (100, 33)
    );
    // The app hears of a new account only once it is subscribed.
    assert!(!stage.handle.is_subscribed(&ours.waba_id));
    stage.quiet().await;
    let added = told(&stage, "account_update");
    assert_eq!(added[0].1["event"], "PARTNER_ADDED");
    assert_eq!(added[0].1["waba_info"]["waba_id"], ours.waba_id);
}

#[tokio::test]
async fn a_signed_up_number_sends_once_it_is_registered() {
    let stage = Stage::set().await;
    let (ours, token) = onboarded(&stage).await;
    let id = ours.phone_number_id.as_str();
    let ana = stage.handle.customer(Some(ANA), None, "Ana").unwrap();
    let messages = format!("{id}/messages");
    stage.handle.says(&ana, id, "hello").unwrap();

    let early = post(&stage, &messages, &token, text(ANA, "too early")).await;
    assert_eq!(code(&early), (133_010, 0));
    let (_, health) = read(&stage, &format!("{id}?fields=health_status"), &token).await;
    assert_eq!(health["health_status"]["can_send_message"], "BLOCKED");

    let path = format!("{}/subscribed_apps", ours.waba_id);
    assert_eq!(post(&stage, &path, &token, json!({})).await.0, 200);
    assert_eq!(code(&register(&stage, id, &token, "12345").await), (100, 0));
    let (status, answer) = register(&stage, id, &token, "123456").await;
    assert_eq!((status, &answer["success"]), (200, &json!(true)));
    assert_eq!(field(&stage, id, &token, "status").await, "CONNECTED");
    assert_eq!(field(&stage, id, &token, "is_pin_enabled").await, true);
    let (status, answer) = post(&stage, &messages, &token, text(ANA, "hi")).await;
    assert_eq!(status, 200, "{answer}");
    // No payment method yet: Meta's health says so, and templates do not go.
    let template = post(&stage, &messages, &token, template_to(ANA, "x", &[])).await;
    assert_eq!(code(&template), (131_042, 0));
    stage.quiet().await;
    let onboarded = told(&stage, "phone_number_quality_update");
    assert_eq!(onboarded[0].1["event"], "ONBOARDING");
    assert_eq!(onboarded[0].1["display_phone_number"], "4930901820");
}

#[tokio::test]
async fn a_sign_up_that_is_not_registered_in_fourteen_days_verifies_again() {
    let stage = Stage::set().await;
    let (ours, token) = onboarded(&stage).await;
    let id = ours.phone_number_id.as_str();
    stage.clock.advance(REGISTER_WITHIN);
    assert_eq!(
        code(&register(&stage, id, &token, "123456").await).0,
        133_006
    );
    let status = field(&stage, id, &token, "code_verification_status").await;
    assert_eq!(status, "EXPIRED");
}

#[tokio::test]
async fn the_pin_that_was_set_is_the_one_that_is_asked_for() {
    let stage = Stage::set().await;
    assert_eq!(register(&stage, NUMBER, TOKEN, "123456").await.0, 200);
    let wrong = register(&stage, NUMBER, TOKEN, "654321").await;
    assert_eq!(code(&wrong).0, 133_005);

    let answer = post(&stage, NUMBER, TOKEN, json!({"pin": "654321"})).await;
    assert_eq!(answer.0, 200, "{}", answer.1);
    assert_eq!(register(&stage, NUMBER, TOKEN, "654321").await.0, 200);
    for _ in 0..5 {
        let wrong = register(&stage, NUMBER, TOKEN, "111111").await;
        assert_eq!(code(&wrong).0, 133_005);
    }
    let right = register(&stage, NUMBER, TOKEN, "654321").await;
    assert_eq!(code(&right).0, 133_008, "too many guesses");
    stage.handle.disable_two_step(NUMBER).unwrap();
    assert_eq!(register(&stage, NUMBER, TOKEN, "222222").await.0, 200);
    stage.quiet().await;
    let events = told(&stage, "security");
    let events: Vec<_> = events.iter().map(|(_, value)| &value["event"]).collect();
    assert_eq!(
        events,
        ["PIN_CHANGED", "PIN_RESET_REQUEST", "PIN_REQUEST_SUCCESS"]
    );
}

#[tokio::test]
async fn the_eleventh_registration_in_72_hours_locks_the_number_for_72_hours() {
    let stage = Stage::set().await;
    for _ in 0..REGISTRATIONS_MAX {
        assert_eq!(register(&stage, NUMBER, TOKEN, "123456").await.0, 200);
        let path = format!("{NUMBER}/deregister");
        assert_eq!(post(&stage, &path, TOKEN, json!({})).await.0, 200);
    }
    let locked = register(&stage, NUMBER, TOKEN, "123456").await;
    assert_eq!(code(&locked).0, 133_016);
    stage
        .clock
        .advance(REGISTRATION_SPAN - SignedDuration::from_secs(1));
    let still = register(&stage, NUMBER, TOKEN, "123456").await;
    assert_eq!(code(&still).0, 133_016);
    stage.clock.advance(SignedDuration::from_secs(1));
    assert_eq!(register(&stage, NUMBER, TOKEN, "123456").await.0, 200);
}

#[tokio::test]
async fn a_number_is_added_verified_by_its_code_and_registered() {
    let stage = Stage::set().await;
    let add = json!({"cc": "49", "phone_number": "4930901820", "verified_name": "Bakery"});
    let path = format!("{WABA}/phone_numbers");
    let (status, answer) = post(&stage, &path, TOKEN, add.clone()).await;
    assert_eq!(status, 200, "{answer}");
    let id = answer["id"].as_str().unwrap();
    assert_eq!(
        code(&post(&stage, &path, TOKEN, add).await).0,
        2_388_012,
        "it is there already"
    );
    let early = register(&stage, id, TOKEN, "123456").await;
    assert_eq!(code(&early).0, 133_006);

    let ask = json!({"code_method": "SMS", "language": "de_DE"});
    let request = format!("{id}/request_code");
    assert_eq!(post(&stage, &request, TOKEN, ask.clone()).await.0, 200);
    let sent = stage.handle.verification_code(id).unwrap();
    let guess = if sent == "000000" { "000001" } else { "000000" };
    let verify = format!("{id}/verify_code");
    let wrong = post(&stage, &verify, TOKEN, json!({"code": guess})).await;
    assert_eq!(code(&wrong).0, 136_025);
    stage.clock.advance(CODE_LIFE);
    let late = post(&stage, &verify, TOKEN, json!({"code": sent})).await;
    assert_eq!(code(&late).0, 2_388_093);
    for _ in 0..4 {
        assert_eq!(post(&stage, &request, TOKEN, ask.clone()).await.0, 200);
    }
    let often = post(&stage, &request, TOKEN, ask.clone()).await;
    assert_eq!(code(&often).0, 136_024);
    let sent = stage.handle.verification_code(id).unwrap();
    let right = post(&stage, &verify, TOKEN, json!({"code": sent})).await;
    assert_eq!(right.0, 200, "{}", right.1);
    assert_eq!(
        code(&post(&stage, &request, TOKEN, ask).await).0,
        2_388_091,
        "it is verified"
    );
    assert_eq!(stage.handle.verification_code(id), None);
    assert_eq!(register(&stage, id, TOKEN, "123456").await.0, 200);
}

#[tokio::test]
async fn a_lost_answer_took_effect_and_a_lost_call_did_not() {
    let stage = Stage::set().await;
    let upset = |call: &str, kind| {
        stage.handle.upset(Upset {
            call: call.to_owned(),
            kind,
            times: 1,
        });
    };
    let attempt = async || {
        let url = stage.url(&format!("/v26.0/{NUMBER}/deregister"));
        stage.client.post(url).bearer_auth(TOKEN).send().await
    };
    upset("deregister", UpsetKind::LoseCall);
    assert!(attempt().await.is_err());
    assert_eq!(field(&stage, NUMBER, TOKEN, "status").await, "CONNECTED");
    upset("deregister", UpsetKind::LoseAnswer);
    assert!(attempt().await.is_err());
    assert_eq!(field(&stage, NUMBER, TOKEN, "status").await, "DISCONNECTED");
    upset("register", UpsetKind::Refuse(133_015));
    assert_eq!(
        code(&register(&stage, NUMBER, TOKEN, "123456").await).0,
        133_015
    );
    assert_eq!(register(&stage, NUMBER, TOKEN, "123456").await.0, 200);
}

#[tokio::test]
async fn a_person_plays_meta_over_http() {
    let stage = Stage::set().await;
    let play = async |method: &str, path: &str, body: Value| {
        let url = stage.url(&format!("/_sim/platform/{path}"));
        let request = stage.client.request(method.parse().unwrap(), url);
        let response = request.json(&body).send().await.unwrap();
        let status = response.status().as_u16();
        (status, response.json::<Value>().await.unwrap_or_default())
    };
    let business = json!({"name": "Bakery", "verification": "PENDING"});
    let (_, business) = play("PUT", "businesses", business).await;
    let id = business["id"].as_str().unwrap();
    let body = json!({"phone": PHONE, "business_id": id, "verified_name": "Bakery"});
    let (status, signed_up) = play("POST", "sign-ups", body).await;
    assert_eq!(status, 200, "{signed_up}");
    assert_eq!(signed_up["business_id"], id);
    let (_, answer) = exchange(&stage, signed_up["code"].as_str().unwrap()).await;
    let token = answer["access_token"].as_str().unwrap();
    let number = signed_up["phone_number_id"].as_str().unwrap();
    let waba = signed_up["waba_id"].as_str().unwrap();
    for (path, body) in [
        (
            format!("businesses/{id}/verification"),
            json!({"verification": "VERIFIED"}),
        ),
        (
            format!("businesses/{id}/limit"),
            json!({"tier": "TIER_10K"}),
        ),
        (
            format!("accounts/{waba}/payment"),
            json!({"has_payment": true}),
        ),
        (
            format!("accounts/{waba}/review"),
            json!({"review": "APPROVED"}),
        ),
        (
            format!("accounts/{waba}/restrictions"),
            json!({"restrictions": []}),
        ),
        (
            format!("accounts/{waba}/ban"),
            json!({"state": "REINSTATE"}),
        ),
        (
            format!("accounts/{waba}/tokens"),
            json!({"token": "partners"}),
        ),
        (format!("numbers/{number}/name"), json!({"approved": true})),
        (
            format!("numbers/{number}/quality"),
            json!({"quality": "GREEN"}),
        ),
        (
            format!("numbers/{number}/throughput"),
            json!({"maintenance": "PT30S"}),
        ),
        (format!("numbers/{number}/two-step/disable"), json!({})),
        (
            "upsets".to_owned(),
            json!({"call": "register", "kind": {"refuse": 133_015}}),
        ),
    ] {
        let answer = play("POST", &path, body).await;
        assert_eq!(answer, (200, json!({"done": true})), "{path}");
    }
    assert_eq!(
        code(&register(&stage, number, token, "123456").await).0,
        133_015
    );
    assert_eq!(register(&stage, number, token, "123456").await.0, 200);
    assert_eq!(
        field(&stage, number, "partners", "status").await,
        "CONNECTED",
        "the account is shared with the partner's token"
    );
    let path = format!("numbers/{number}/code");
    let (_, answer) = play("GET", &path, json!({})).await;
    assert_eq!(answer, json!({"code": null}));
    assert_eq!(
        play("POST", "accounts/1/ban", json!({"state": "DISABLE"}))
            .await
            .0,
        404
    );
    let index = stage.client.get(stage.url("/_sim")).send().await.unwrap();
    let index = index.text().await.unwrap();
    assert!(index.contains("/_sim/platform/sign-ups"), "{index}");
}
