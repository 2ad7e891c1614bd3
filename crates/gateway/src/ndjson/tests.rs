//! Lines in, answers out: which is whose, and what a line may be.

use casement_proto::message::v1::send_result::Result as Told;
use prost_reflect::DescriptorPool;
use prost_reflect::ReflectMessage as _;

use super::*;

const LINE_MAX: usize = 80;

fn kind(name: &str) -> MessageDescriptor {
    let pool = DescriptorPool::decode(casement_proto::DESCRIPTORS).unwrap();
    let name = format!("casement.message.v1.{name}");
    pool.get_message_by_name(&name).unwrap()
}

/// A body that comes in these pieces.
fn body(pieces: Vec<Result<String, &'static str>>) -> Body {
    Body::from_stream(futures::stream::iter(pieces))
}

/// What a service that accepts all would answer: the request's id, for the message's.
fn accepted(request: &DynamicMessage) -> DynamicMessage {
    let request = api::SendMessagesRequest::decode(request.encode_to_vec().as_slice()).unwrap();
    let message = api::Message {
        message_id: request.request.unwrap().request_id,
        ..api::Message::default()
    };
    let accepted = api::SendMessageResponse {
        message: Some(message),
        position: String::new(),
    };
    let answer = api::SendMessagesResponse {
        // Of its own counting, which skips what it never saw.
        index: 77,
        result: Some(api::SendResult {
            result: Some(Told::Accepted(accepted)),
        }),
    };
    let bytes = answer.encode_to_vec();
    DynamicMessage::decode(kind("SendMessagesResponse"), bytes.as_slice()).unwrap()
}

/// Each answer as its place and either the id or the reason; a failure as `!` and its text.
async fn told(answers: Messages) -> Vec<String> {
    answers
        .map(|answer| match answer {
            Err(status) => format!("! {}", status.message()),
            Ok(answer) => {
                assert_eq!(answer.descriptor().name(), "SendMessagesResponse");
                let bytes = answer.encode_to_vec();
                let answer = api::SendMessagesResponse::decode(bytes.as_slice()).unwrap();
                let told = match answer.result.unwrap().result.unwrap() {
                    Told::Accepted(accepted) => accepted.message.unwrap().message_id,
                    Told::Refused(refused) => format!("{} {}", refused.code, refused.reason),
                };
                format!("{} {told}", answer.index)
            }
        })
        .collect()
        .await
}

/// A service that answers as many as there are, and then ends.
async fn exchange(pieces: Vec<Result<String, &'static str>>, answered: usize) -> Vec<String> {
    let (requests, sent) = requests(
        kind("SendMessagesRequest"),
        "request",
        body(pieces),
        LINE_MAX,
    );
    let upstream = requests.map(|request| Ok(accepted(&request)));
    let upstream: Messages = Box::pin(upstream.take(answered));
    told(answers(kind("SendMessagesResponse"), upstream, sent)).await
}

#[expect(
    clippy::unnecessary_wraps,
    reason = "one piece of several, which may break off"
)]
fn piece(text: &str) -> Result<String, &'static str> {
    Ok(text.to_owned())
}

#[tokio::test]
async fn each_line_is_answered_in_its_place_however_the_body_is_cut() {
    let whole = "{\"requestId\":\"a\"}\r\n\n  \n{\"request_id\":\"b\"}\n{\"requestId\":\"c\"}";
    let expected = ["0 a", "1 b", "2 c"];
    assert_eq!(exchange(vec![piece(whole)], 9).await, expected);
    let bytes: Vec<_> = whole.chars().map(|one| piece(&one.to_string())).collect();
    assert_eq!(exchange(bytes, 9).await, expected);
    assert_eq!(exchange(Vec::new(), 9).await, Vec::<String>::new());
}

#[tokio::test]
async fn a_line_that_is_no_request_is_refused_for_itself() {
    let long = format!("{{\"requestId\":\"{}\"}}\n", "x".repeat(10 * LINE_MAX));
    let pieces = vec![
        piece("{\"requestId\":\"a\"}\n{\"nonsense\":1}\n[\n"),
        piece(&long[..LINE_MAX / 2]),
        piece(&long[LINE_MAX / 2..6 * LINE_MAX]),
        piece(&long[6 * LINE_MAX..]),
        piece("{\"requestId\":\"b\"}\n7"),
    ];
    assert_eq!(
        exchange(pieces, 9).await,
        [
            "0 a",
            "1 INVALID_ARGUMENT INVALID_FIELD",
            "2 INVALID_ARGUMENT INVALID_FIELD",
            "3 RESOURCE_EXHAUSTED REQUEST_TOO_LARGE",
            "4 b",
            "5 INVALID_ARGUMENT INVALID_FIELD",
        ]
    );
}

#[tokio::test]
async fn a_long_line_without_an_end_is_refused_too() {
    let long = "x".repeat(10 * LINE_MAX);
    assert_eq!(
        exchange(vec![piece(&long)], 9).await,
        ["0 RESOURCE_EXHAUSTED REQUEST_TOO_LARGE"]
    );
}

#[tokio::test]
async fn half_a_line_is_not_sent_and_the_break_is_told() {
    let pieces = vec![
        piece("{\"requestId\":\"a\"}\n{\"requestId\":\"b\"}"),
        Err("gone"),
    ];
    assert_eq!(exchange(pieces, 9).await, ["0 a", "! the body broke off"]);
}

#[tokio::test]
async fn a_service_that_ends_early_leaves_no_line_without_a_word() {
    let lines = "{\"requestId\":\"a\"}\n".repeat(3);
    let told = exchange(vec![piece(&lines)], 1).await;
    assert_eq!(told.len(), 2, "{told:?}");
    assert_eq!(told[0], "0 a");
    assert!(told[1].starts_with("! no more is answered"), "{told:?}");
}

#[tokio::test]
async fn no_more_is_read_than_answers_are_taken() {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    let read = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&read);
    let endless = futures::stream::repeat_with(move || {
        counted.fetch_add(1, Ordering::Relaxed);
        Ok::<_, Infallible>(Bytes::from_static(b"nonsense\n"))
    });
    let body = Body::from_stream(endless);
    let (requests, sent) = requests(kind("SendMessagesRequest"), "request", body, LINE_MAX);
    let upstream: Messages = Box::pin(requests.map(|request| Ok(accepted(&request))));
    let answers = answers(kind("SendMessagesResponse"), upstream, sent);
    let first: Vec<_> = answers.take(1_000).collect().await;
    assert!(first.iter().all(Result::is_ok));
    let ahead = read.load(Ordering::Relaxed) - 1_000;
    assert!(ahead <= 2 * AHEAD_MAX, "{ahead} ahead");
}
