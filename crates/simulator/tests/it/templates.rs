//! Meta's side of templates: submitted, reviewed, edited, paused, changed, deleted; and each told.

use casement_simulator::{TemplateCategory, TemplateReview};
use jiff::SignedDuration;
use serde_json::{Value, json};

use crate::stage::{ANA, Stage, TOKEN, WABA, template_to};

const ORDER: (&str, &str, &str) = (WABA, "order_update", "en");
const NEW: (&str, &str, &str) = (WABA, "parcel", "en");

async fn call(stage: &Stage, method: &str, path: &str, body: &Value) -> (u16, Value) {
    let method = method.parse().expect("a method");
    let request = stage.client.request(method, stage.url(path));
    let sent = request.bearer_auth(TOKEN).json(body).send().await;
    let response = sent.expect("an answer");
    let status = response.status().as_u16();
    (status, response.json().await.expect("a JSON answer"))
}

fn templates() -> String {
    format!("/v26.0/{WABA}/message_templates")
}

fn parcel() -> Value {
    json!({
        "name": "parcel",
        "language": "en",
        "category": "UTILITY",
        "components": [
            {"type": "HEADER", "format": "IMAGE", "example": {"header_handle": ["4::x"]}},
            {"type": "BODY", "text": "Parcel {{1}} is here.", "example": {"body_text": [["7"]]}},
        ],
    })
}

/// What the webhook was told of templates, by field.
async fn told(stage: &Stage, field: &str) -> Vec<Value> {
    stage.quiet().await;
    let all = stage.inbox.received();
    let changes = all.iter().flat_map(|received| {
        let body = received.json();
        let entries = body["entry"].as_array().cloned().unwrap_or_default();
        entries
            .into_iter()
            .flat_map(|entry| entry["changes"].as_array().cloned().unwrap_or_default())
            .collect::<Vec<_>>()
    });
    changes
        .filter(|change| change["field"] == field)
        .map(|change| change["value"].clone())
        .collect()
}

fn subcode(answer: &(u16, Value)) -> i64 {
    answer.1["error"]["error_subcode"]
        .as_i64()
        .unwrap_or_default()
}

#[tokio::test]
async fn what_is_submitted_is_usable_once_it_is_approved() {
    let stage = Stage::set().await;
    let (status, created) = call(&stage, "POST", &templates(), &parcel()).await;
    assert_eq!(
        (status, &created["status"]),
        (200, &json!("PENDING")),
        "{created}"
    );
    let mut send = template_to(ANA, "parcel", &["7"]);
    let refused = stage.send(&send).await;
    assert_eq!(refused.1["error"]["code"], 132_001);

    stage.handle.approve_template(NEW).unwrap();
    let refused = stage.send(&send).await;
    assert_eq!(
        refused.1["error"]["code"], 132_012,
        "the header's image is missing"
    );
    let image = json!({"type": "header", "parameters": [{"type": "image", "image": {"link": "https://x.example/a.jpg"}}]});
    send["template"]["components"]
        .as_array_mut()
        .unwrap()
        .push(image);
    assert_eq!(stage.send(&send).await.0, 200);

    let changes = told(&stage, "message_template_status_update").await;
    assert_eq!(changes[0]["event"], "APPROVED");
    assert_eq!(changes[0]["message_template_name"], "parcel");
}

#[tokio::test]
async fn what_has_the_wrong_form_is_refused_with_the_reason() {
    let stage = Stage::set().await;
    let patched = |patch: Value| {
        let mut body = parcel();
        for (key, value) in patch.as_object().unwrap() {
            body[key] = value.clone();
        }
        body
    };
    let of_body = |body: Value| patched(json!({"components": [body]}));
    for (body, expected) in [
        (patched(json!({"name": "Order Update"})), 2_388_019),
        (of_body(json!({"type": "FOOTER", "text": "x"})), 2_388_042),
        (
            of_body(json!({"type": "BODY", "text": "Hi {{1}}."})),
            2_388_043,
        ),
        (
            of_body(json!({"type": "BODY", "text": "{{1}}.", "example": {"body_text": [["x"]]}})),
            2_388_299,
        ),
        (patched(json!({"name": "order_update"})), 2_388_024),
    ] {
        let refused = call(&stage, "POST", &templates(), &body).await;
        assert_eq!(
            (refused.0, subcode(&refused)),
            (400, expected),
            "{refused:?}"
        );
    }
    stage
        .handle
        .set_template_review(TemplateReview::Reject("INVALID_FORMAT".to_owned()));
    assert_eq!(call(&stage, "POST", &templates(), &parcel()).await.0, 200);
    let changes = told(&stage, "message_template_status_update").await;
    assert_eq!(
        (&changes[0]["event"], &changes[0]["reason"]),
        (&json!("REJECTED"), &json!("INVALID_FORMAT"))
    );
}

#[tokio::test]
async fn the_third_pause_is_the_end() {
    let stage = Stage::set().await;
    let code = async |stage: &Stage| {
        let answer = stage.send(&template_to(ANA, "order_update", &["7"])).await;
        answer.1["error"]["code"].as_i64()
    };
    for _ in 0..2 {
        stage.handle.pause_template(ORDER).unwrap();
        assert_eq!(code(&stage).await, Some(132_015));
        stage.handle.unpause_template(ORDER).unwrap();
        assert_eq!(code(&stage).await, None);
    }
    stage.handle.pause_template(ORDER).unwrap();
    assert_eq!(code(&stage).await, Some(132_016));
    let changes = told(&stage, "message_template_status_update").await;
    let titles: Vec<_> = changes
        .iter()
        .map(|it| it["other_info"]["title"].as_str())
        .collect();
    assert_eq!(
        titles,
        [
            "FIRST_PAUSE",
            "UNPAUSE",
            "SECOND_PAUSE",
            "UNPAUSE",
            "DISABLED"
        ]
        .map(Some)
    );
}

#[tokio::test]
async fn an_approved_template_is_edited_once_a_day() {
    let stage = Stage::set().await;
    let (_, list) = stage.get(&templates()).await;
    let id = list["data"][0]["id"].as_str().unwrap().to_owned();
    let path = format!("/v26.0/{id}");
    let body = json!({"components": [{"type": "BODY", "text": "Your order {{1}} is ready.",
        "example": {"body_text": [["7"]]}}]});
    assert_eq!(
        call(&stage, "POST", &path, &body).await,
        (200, json!({"success": true}))
    );
    let again = call(&stage, "POST", &path, &body).await;
    assert_eq!(subcode(&again), 2_388_025, "it is in review");
    stage.handle.approve_template(ORDER).unwrap();
    let again = call(&stage, "POST", &path, &body).await;
    assert_eq!(subcode(&again), 2_388_026);
    stage.clock.advance(SignedDuration::from_hours(24));
    assert_eq!(call(&stage, "POST", &path, &body).await.0, 200);
    let (_, list) = stage.get(&templates()).await;
    assert_eq!(
        list["data"][0]["components"][0]["text"],
        "Your order {{1}} is ready."
    );
}

#[tokio::test]
async fn a_deleted_template_is_gone_and_its_name_is_kept_for_a_while() {
    let stage = Stage::set().await;
    let path = format!("{}?name=order_update", templates());
    assert_eq!(call(&stage, "DELETE", &path, &Value::Null).await.0, 200);
    assert_eq!(
        subcode(&call(&stage, "DELETE", &path, &Value::Null).await),
        2_593_002
    );
    let (_, list) = stage.get(&templates()).await;
    assert_eq!(list["data"], json!([]));
    let mut again = parcel();
    again["name"] = json!("order_update");
    let refused = call(&stage, "POST", &templates(), &again).await;
    assert_eq!(subcode(&refused), 2_388_023);
    let changes = told(&stage, "message_template_status_update").await;
    assert_eq!(changes[0]["event"], "DELETED");
}

#[tokio::test]
async fn quality_and_category_are_told_and_listed() {
    let stage = Stage::set().await;
    stage.handle.set_template_quality(ORDER, "RED").unwrap();
    stage
        .handle
        .announce_template_category(ORDER, TemplateCategory::Marketing)
        .unwrap();
    let fields = "name,category,quality_score,correct_category,previous_category";
    let path = format!("{}?fields={fields}", templates());
    let (_, list) = stage.get(&path).await;
    let shown = &list["data"][0];
    assert_eq!(shown["quality_score"]["score"], "RED");
    assert_eq!(
        (&shown["category"], &shown["correct_category"]),
        (&json!("UTILITY"), &json!("MARKETING"))
    );
    stage
        .handle
        .change_template_category(ORDER, TemplateCategory::Marketing)
        .unwrap();
    let (_, list) = stage.get(&path).await;
    let shown = &list["data"][0];
    assert_eq!(
        (&shown["category"], &shown["previous_category"]),
        (&json!("MARKETING"), &json!("UTILITY"))
    );

    let changes = told(&stage, "template_category_update").await;
    assert_eq!(changes[0]["correct_category"], "MARKETING");
    assert_eq!(changes[1]["previous_category"], "UTILITY");
    let changes = told(&stage, "message_template_quality_update").await;
    assert_eq!(changes[0]["new_quality_score"], "RED");
}

#[tokio::test]
async fn control_plays_what_the_platform_does() {
    let stage = Stage::set().await;
    let acted =
        |act: Value| json!({"waba_id": WABA, "name": "order_update", "language": "en", "act": act});
    let path = "/_sim/templates/act";
    for act in [
        json!("pause"),
        json!("unpause"),
        json!({"quality": "YELLOW"}),
    ] {
        let (status, answer) = call(&stage, "POST", path, &acted(act)).await;
        assert_eq!((status, &answer["done"]), (200, &json!(true)));
    }
    let (status, _) = call(&stage, "POST", "/_sim/templates/review", &json!("approve")).await;
    assert_eq!(status, 200);
    call(&stage, "POST", &templates(), &parcel()).await;
    let changes = told(&stage, "message_template_status_update").await;
    assert_eq!(changes.last().unwrap()["event"], "APPROVED");
}
