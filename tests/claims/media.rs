//! Files of customers: stored while the platform keeps them, and handed out unchanged.

use casement_event::Event;
use casement_simulator::{Fault, FaultSpec, MediaSpec};
use casement_testkit::eventually;
use casement_tests::{API_TOKEN, NUMBER, PHONE_NUMBER_ID, Role, Stack};
use serde_json::Value;

const CUSTOMER: &str = "+15550002222";

#[tokio::test]
async fn what_a_customer_sends_is_what_the_gateway_hands_out() {
    let mut stack = Stack::start().await;
    stack.start_role(Role::Gateway, 0).await;
    let events = stack.events().await;
    let url = format!("http://127.0.0.1:{}", stack.api_port(Role::Gateway, 0));
    let http = casement_shell::http::client(&casement_shell::http::ClientOptions::default());
    let http = http.unwrap();
    let get = async |path: &str| {
        let request = http.get(format!("{url}{path}")).bearer_auth(API_TOKEN);
        request.send().await.unwrap()
    };
    let customer = stack.customer(CUSTOMER);
    let bytes: Vec<u8> = (0..=250_u8).cycle().take(3_000_000).collect();
    // The platform is out of sorts for a moment.
    let refusal = Fault::RefuseMedia { status: 503 };
    stack.simulator.inject(FaultSpec::from(refusal).times(2));
    let spec = MediaSpec::image(&customer, PHONE_NUMBER_ID, &bytes);
    let sent = stack.simulator.sends_media(&spec).unwrap();

    let stored = events.wait("MediaStored", 1).await.remove(0);
    let Event::MediaStored(event) = stored.event else {
        panic!("{stored:?}");
    };
    assert_eq!(event.sha256, sent.sha256);
    let media_id = event.media.unwrap().media_id;
    assert!(stored.subject.ends_with(&media_id), "{}", stored.subject);

    let answer = get(&format!("/v1/media/{media_id}")).await;
    let known: Value = answer.json().await.unwrap();
    assert_eq!(known["media"]["state"], "MEDIA_STATE_STORED", "{known}");
    let answer = get(&format!("/v1/media/{media_id}:download")).await;
    assert_eq!(answer.status(), 200);
    let headers = answer.headers().clone();
    assert_eq!(headers["content-type"], "image/jpeg");
    assert_eq!(headers["content-length"], "3000000");
    assert_eq!(headers["etag"], format!("\"{}\"", sent.sha256));
    assert_eq!(headers["x-content-type-options"], "nosniff");
    assert_eq!(answer.bytes().await.unwrap(), bytes);
    let unknown = media_id.replace(&media_id[media_id.len() - 32..], &"0".repeat(32));
    let answer = get(&format!("/v1/media/{unknown}:download")).await;
    assert_eq!(answer.status(), 404);

    // An operator saves it from the command line.
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join("image.jpg");
    let output = stack
        .program()
        .args(["media", "download", &media_id, "--output"])
        .arg(&place)
        .args(["--api", &url, "--token", API_TOKEN])
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    assert_eq!(std::fs::read(&place).unwrap(), bytes);

    // The timeline leads to it.
    let path = format!(
        "/v1/numbers/{}/conversations/{}/timeline",
        NUMBER,
        event.conversation.unwrap().customer_id
    );
    eventually("the timeline names the file", async || {
        let timeline: Value = get(&path).await.json().await.unwrap();
        let items = timeline["items"].as_array().cloned().unwrap_or_default();
        items
            .iter()
            .any(|item| item["mediaId"] == media_id.as_str())
    })
    .await;
    stack.stop().await;
}

#[tokio::test]
async fn a_file_of_ours_goes_up_by_http_or_the_command_line_and_out_by_its_id() {
    let mut stack = Stack::start().await;
    stack.start_role(Role::Gateway, 0).await;
    let url = format!("http://127.0.0.1:{}", stack.api_port(Role::Gateway, 0));
    let http = casement_shell::http::client(&casement_shell::http::ClientOptions::default());
    let http = http.unwrap();
    let customer = stack.customer(CUSTOMER);
    stack.says(&customer, "Do you have a picture?");
    stack.clients().open_window(CUSTOMER).await;

    let bytes: Vec<u8> = (0..=250_u8).cycle().take(4_000_000).collect();
    let path = format!("{url}/v1/numbers/{NUMBER}/media");
    let upload = |kind: &str| {
        let request = http.post(&path).header("content-type", kind);
        request.bearer_auth(API_TOKEN).body(bytes.clone()).send()
    };
    let refused = upload("image/gif").await.unwrap();
    assert_eq!(refused.status(), 400);
    // Nobody read the file, so the next request takes another connection.
    assert_eq!(refused.headers()["connection"], "close");
    let refused: Value = refused.json().await.unwrap();
    assert_eq!(
        refused["violations"][0]["field"], "file.mime_type",
        "{refused}"
    );
    let answer = upload("image/jpeg").await.unwrap();
    assert_eq!(answer.status(), 200);
    let uploaded: Value = answer.json().await.unwrap();

    let place = stack.path("aloe.jpg");
    std::fs::write(&place, &bytes).unwrap();
    let mut program = stack.program();
    program
        .args([
            "media",
            "upload",
            "--json",
            "--mime-type",
            "image/jpeg",
            "--number",
            NUMBER,
        ])
        .arg(&place)
        .args(["--api", &url, "--token", API_TOKEN]);
    // The platform answers on this thread.
    let output = tokio::task::spawn_blocking(move || program.output());
    let output = output.await.unwrap().unwrap();
    assert!(output.status.success(), "{output:?}");
    let by_hand: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_ne!(by_hand["uploadId"], uploaded["uploadId"]);

    for upload in [&uploaded, &by_hand] {
        let before = stack.simulator.sent_count();
        let body = serde_json::json!({
            "number": NUMBER, "to": CUSTOMER, "purpose": "PURPOSE_SERVICE",
            "content": {"freeForm": {"image": {"uploadId": upload["uploadId"], "caption": "Aloe"}}},
        });
        let request = http
            .post(format!("{url}/v1/messages"))
            .bearer_auth(API_TOKEN);
        let answer = request.json(&body).send().await.unwrap();
        assert_eq!(answer.status(), 200, "{}", answer.text().await.unwrap());
        let sent = eventually("the message is taken", async || {
            let mut sent = stack.simulator.sent_since(before);
            match sent.pop() {
                Some(sent) if sent.is_accepted() => Ok(sent),
                other => Err(format!("{other:?}")),
            }
        })
        .await;
        let posted = stack.simulator.posted(sent.seq).unwrap();
        assert_eq!(
            posted["image"],
            serde_json::json!({"id": upload["providerMediaId"], "caption": "Aloe"})
        );
    }

    let wamid = stack.says(&customer, "Thank you!");
    let path = format!("{url}/v1/numbers/{NUMBER}/messages:markAsRead");
    let body = serde_json::json!({"providerMessageId": wamid, "typing": true});
    let request = http.post(path).bearer_auth(API_TOKEN).json(&body);
    assert_eq!(request.send().await.unwrap().status(), 200);
    let marks = stack.simulator.read_marks();
    assert_eq!(marks.len(), 1);
    assert_eq!(
        (marks[0].message_id.as_str(), marks[0].typing),
        (wamid.as_str(), true)
    );
    stack.stop().await;
}
