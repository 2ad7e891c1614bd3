//! Files that customers send: how long ids and links live, who may have them, what goes wrong.

use casement_simulator::{Fault, FaultSpec, LINK_LIFE, MEDIA_LIFE, MediaSpec, Script};
use jiff::SignedDuration;
use serde_json::{Value, json};

use crate::stage::{ANA, NUMBER, OTHER_NUMBER, Stage, TOKEN, items};

const BYTES: &[u8] = b"a picture of a parcel";

async fn send(stage: &Stage) -> (String, Value) {
    let ana = stage.handle.customer(Some(ANA), None, "Ana");
    let spec = MediaSpec::image(&ana.expect("a customer"), NUMBER, BYTES);
    let sent = stage.handle.sends_media(&spec).expect("a message");
    let webhook = stage.received(1).await.remove(0).json();
    let message = items(&webhook, "messages").remove(0);
    assert_eq!(message["id"], json!(sent.wamid));
    (sent.media_id, message["image"].clone())
}

async fn file(stage: &Stage, url: &Value, token: &str) -> (u16, Vec<u8>) {
    let request = stage.client.get(url.as_str().expect("a link"));
    let answer = request.bearer_auth(token).send().await.expect("an answer");
    let status = answer.status().as_u16();
    (status, answer.bytes().await.expect("a body").to_vec())
}

#[tokio::test]
async fn a_file_is_had_by_its_link_and_by_its_id() {
    let stage = Stage::set().await;
    let (media_id, image) = send(&stage).await;
    assert_eq!(image["mime_type"], "image/jpeg");
    assert_eq!(
        file(&stage, &image["url"], TOKEN).await,
        (200, BYTES.to_vec())
    );

    let path = format!("/v26.0/{media_id}?phone_number_id={NUMBER}");
    let (status, node) = stage.get(&path).await;
    assert_eq!(status, 200, "{node}");
    assert_eq!(node["file_size"], json!(BYTES.len()));
    assert_eq!(node["sha256"].as_str().unwrap().len(), 64);
    assert_eq!(
        file(&stage, &node["url"], TOKEN).await,
        (200, BYTES.to_vec())
    );
    assert_eq!(file(&stage, &node["url"], "another").await.0, 401);

    let path = format!("/v26.0/{media_id}?phone_number_id={OTHER_NUMBER}");
    let (status, refused) = stage.get(&path).await;
    assert_eq!(
        (status, &refused["error"]["error_subcode"]),
        (400, &json!(33))
    );
}

#[tokio::test]
async fn a_link_lives_minutes_and_an_id_days() {
    let stage = Stage::set().await;
    let (media_id, image) = send(&stage).await;
    let tick = SignedDuration::from_millis(1);
    stage.clock.advance(LINK_LIFE - tick);
    assert_eq!(file(&stage, &image["url"], TOKEN).await.0, 200);
    stage.clock.advance(tick);
    assert_eq!(file(&stage, &image["url"], TOKEN).await.0, 404);
    let path = format!("/v26.0/{media_id}");
    assert_eq!(stage.get(&path).await.0, 200);
    stage.clock.advance(MEDIA_LIFE - LINK_LIFE);
    assert_eq!(stage.get(&path).await.0, 400);
}

#[tokio::test]
async fn files_go_wrong_as_told() {
    let stage = Stage::set().await;
    let (media_id, image) = send(&stage).await;
    let once = |fault| {
        stage.handle.inject(FaultSpec::from(fault).times(1));
    };
    once(Fault::CorruptMedia);
    let (status, bytes) = file(&stage, &image["url"], TOKEN).await;
    assert_eq!((status, bytes.len()), (200, BYTES.len()));
    assert_ne!(bytes, BYTES);
    once(Fault::RefuseMedia { status: 503 });
    assert_eq!(file(&stage, &image["url"], TOKEN).await.0, 503);
    once(Fault::RefuseMediaId { code: 131_000 });
    assert_eq!(stage.get(&format!("/v26.0/{media_id}")).await.0, 500);
    once(Fault::StallMedia);
    let url = image["url"].as_str().unwrap();
    let mut answer = stage
        .client
        .get(url)
        .bearer_auth(TOKEN)
        .send()
        .await
        .unwrap();
    assert_eq!(
        answer.chunk().await.unwrap().unwrap(),
        BYTES[..BYTES.len() / 2]
    );
    drop(answer);
    assert_eq!(file(&stage, &image["url"], TOKEN).await.0, 200);
}

#[tokio::test]
async fn a_script_and_the_control_surface_send_files() {
    let stage = Stage::set().await;
    let script: Script = serde_json::from_value(json!({
        "customers": [{"name": "Ana", "phone": ANA}],
        "steps": [{"send_media": {
            "customer": ANA, "phone_number_id": NUMBER, "kind": "document",
            "mime_type": "application/pdf", "size_bytes": 1000, "filename": "a.pdf",
        }}],
    }))
    .unwrap();
    script.run(&stage.handle, |_| {}).await.unwrap();
    let webhook = stage.received(1).await.remove(0).json();
    let document = &items(&webhook, "messages")[0]["document"];
    assert_eq!(document["filename"], "a.pdf");
    assert_eq!(file(&stage, &document["url"], TOKEN).await.1.len(), 1000);

    let request = stage.client.post(stage.url("/_sim/media")).json(&json!({
        "customer": ANA, "phone_number_id": NUMBER, "kind": "image", "mime_type": "image/png",
        "base64": "AAEC", "with_link": false,
    }));
    let answer: Value = request.send().await.unwrap().json().await.unwrap();
    let webhook = stage.received(2).await.remove(1).json();
    let image = &items(&webhook, "messages")[0]["image"];
    assert_eq!(image["id"], answer["media_id"]);
    assert_eq!(image["url"], Value::Null);
}
