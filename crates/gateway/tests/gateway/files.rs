//! Files by HTTP: the bytes as they are, and never half a file that looks whole.

use casement_gateway::Config;
use serde_json::Value;

use crate::stage::{BROKEN, Stage, WHOLE, file};

#[tokio::test]
async fn a_file_comes_as_itself_from_here_and_from_afar() {
    for is_local in [true, false] {
        let stage = if is_local {
            Stage::local(Config::default()).await
        } else {
            Stage::remote(Config::default()).await
        };
        let path = format!("/v1/media/{WHOLE}:download");
        let answer = stage.get("reader-token", &path).await;
        assert_eq!(answer.status(), 200);
        let headers = answer.headers().clone();
        assert_eq!(headers["content-type"], "image/png");
        assert_eq!(headers["content-length"], file().len().to_string());
        assert_eq!(
            headers["content-disposition"],
            "attachment; filename*=UTF-8''a%20b.png"
        );
        assert_eq!(answer.bytes().await.unwrap(), file());
        let answer = stage.get("nobody", &path).await;
        assert_eq!(answer.status(), 401);
    }
}

#[tokio::test]
async fn a_file_that_breaks_off_is_not_taken_for_whole() {
    let stage = Stage::remote(Config::default()).await;
    let path = format!("/v1/media/{BROKEN}:download");
    let answer = stage.get("reader-token", &path).await;
    assert_eq!(answer.status(), 200);
    assert!(answer.bytes().await.is_err());
}

#[tokio::test]
async fn a_file_that_is_not_there_is_a_problem_and_what_is_known_of_it_is_json() {
    let stage = Stage::remote(Config::default()).await;
    let answer = stage.get("reader-token", "/v1/media/none:download").await;
    assert_eq!(answer.status(), 400);
    let problem: Value = answer.json().await.unwrap();
    assert_eq!(problem["code"], "FAILED_PRECONDITION", "{problem}");
    let answer = stage.get("reader-token", "/v1/media/none").await;
    let known: Value = answer.json().await.unwrap();
    assert_eq!(known["media"]["mediaId"], "none");
    let document: Value = stage
        .get("reader-token", "/openapi.json")
        .await
        .json()
        .await
        .unwrap();
    let download = &document["paths"]["/v1/media/{media_id}:download"]["get"];
    assert!(
        download["responses"]["200"]["content"]["*/*"].is_object(),
        "{download}"
    );
}
