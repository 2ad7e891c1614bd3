//! Templates created, edited and deleted against a socket that answers as told.

use casement_testkit::socket::{answer_once, http};
use secrecy::SecretString;
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use super::Manager;
use super::tests::manager;

async fn answering(body: Value) -> (Manager, JoinHandle<String>) {
    let (address, task) = answer_once(http("200 OK", "", &body.to_string())).await;
    (manager(&format!("http://{address}/")), task)
}

fn token() -> SecretString {
    SecretString::from("EAAG-secret-token")
}

#[tokio::test]
async fn a_template_is_created_under_its_account_and_gets_an_id() {
    let created = json!({"id": "7", "status": "pending", "category": "UTILITY"});
    let (manager, task) = answering(created).await;
    let body = json!({"name": "order"});
    let submitted = manager
        .create_template(&token(), "800", body)
        .await
        .unwrap();
    assert_eq!((&*submitted.id, &*submitted.status), ("7", "PENDING"));
    let request = task.await.unwrap();
    assert!(
        request.starts_with("POST /v26.0/800/message_templates "),
        "{request}"
    );
    assert!(request.contains(r#"{"name":"order"}"#), "{request}");

    let (manager, _task) = answering(json!({"success": true})).await;
    let nameless = manager.create_template(&token(), "800", json!({})).await;
    assert!(
        nameless.is_err(),
        "what has no id was not created as far as anybody knows"
    );
}

#[tokio::test]
async fn a_template_is_edited_by_its_id_and_deleted_by_its_name() {
    let (manager, task) = answering(json!({"success": true})).await;
    let token = token();
    let edited = manager.edit_template(&token, "7", json!({"components": []}));
    assert_eq!(edited.await.unwrap().status, "");
    assert!(task.await.unwrap().starts_with("POST /v26.0/7 "));

    let (manager, task) = answering(json!({"success": true})).await;
    let deleted = manager.delete_template(&token, "800", "order", Some("7"));
    deleted.await.unwrap();
    let request = task.await.unwrap();
    let path = "DELETE /v26.0/800/message_templates?name=order&hsm_id=7 ";
    assert!(request.starts_with(path), "{request}");
}
