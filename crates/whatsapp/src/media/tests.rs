//! The calls against a real server that answers as told, and what needs none.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use futures::StreamExt as _;
use proptest::prelude::*;
use reqwest::Url;
use secrecy::SecretString;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::*;

const QUICK: Timeouts = Timeouts {
    link: Duration::from_secs(10),
    transfer: Duration::from_secs(10),
    idle: Duration::from_millis(300),
};

/// What was asked: path with query, and the token.
type Asked = Arc<Mutex<Vec<(String, String)>>>;

type Answer = fn(&str, &str) -> Response;

type Check = fn(&MediaError) -> bool;

struct Platform {
    base: String,
    asked: Asked,
    token: SecretString,
    hosts: Hosts,
    client: Client,
}

impl Platform {
    /// `answer` is given the server's base URL and the path.
    async fn start(answer: Answer) -> Self {
        async fn serve(
            State((base, asked, answer)): State<(String, Asked, Answer)>,
            request: Request,
        ) -> Response {
            let token = request.headers().get(header::AUTHORIZATION);
            let token = token.map_or("", |token| token.to_str().unwrap()).to_owned();
            let path = request.uri().to_string();
            let answered = answer(&base, &path);
            asked.lock().unwrap().push((path, token));
            answered
        }
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let asked = Asked::default();
        let routes =
            Router::new()
                .fallback(serve)
                .with_state((base.clone(), Arc::clone(&asked), answer));
        tokio::spawn(async move { axum::serve(listener, routes).await });
        let http = casement_shell::http::client(&casement_shell::http::ClientOptions::default());
        Self {
            hosts: Hosts::new(&base, META_HOSTS),
            base,
            asked,
            token: SecretString::from("hush"),
            client: Client::new(http.unwrap(), QUICK),
        }
    }

    fn source(&self) -> Source<'_> {
        Source {
            graph_url: &self.base,
            graph_version: "v26.0",
            phone_number_id: "106",
            token: &self.token,
            hosts: &self.hosts,
        }
    }

    async fn link(&self) -> Result<Link, MediaError> {
        self.client.link(self.source(), "4711").await
    }

    async fn read(&self, path: &str, bytes_max: u64) -> Result<Vec<u8>, MediaError> {
        let link = format!("{}{path}", self.base);
        let mut download = self.client.open(self.source(), &link, bytes_max).await?;
        let mut all = Vec::new();
        while let Some(chunk) = download.chunk().await? {
            all.extend_from_slice(&chunk);
        }
        Ok(all)
    }
}

fn told(status: u16, body: &Value) -> Response {
    (StatusCode::from_u16(status).unwrap(), axum::Json(body)).into_response()
}

fn refused(status: u16, code: i64) -> Response {
    told(status, &json!({"error": {"code": code, "message": "no"}}))
}

#[tokio::test]
async fn an_id_leads_to_a_link_with_its_hash() {
    let platform = Platform::start(|base, _| {
        let body = json!({
            "messaging_product": "whatsapp", "url": format!("{base}/file"), "id": "4711",
            "mime_type": "image/jpeg", "sha256": hex::encode([7; 32]), "file_size": "12",
        });
        told(200, &body)
    })
    .await;
    let link = platform.link().await.unwrap();
    assert_eq!(link.url, format!("{}/file", platform.base));
    assert_eq!(link.sha256, Some(Digest::new([7; 32])));
    assert_eq!(link.size_bytes, Some(12));
    let asked = platform.asked.lock().unwrap().clone();
    let path = "/v26.0/4711?phone_number_id=106".to_owned();
    assert_eq!(asked, [(path, "Bearer hush".to_owned())]);
}

#[tokio::test]
async fn what_the_platform_refuses_is_told_apart() {
    let gone: Check = |error| matches!(error, MediaError::NotFound { .. });
    let forbidden: Check = |error| matches!(error, MediaError::Forbidden { .. });
    let later: Check = |error| matches!(error, MediaError::Unavailable { .. });
    let table: [(Answer, Check); 9] = [
        (
            |_, _| told(400, &json!({"error": {"code": 100, "error_subcode": 33}})),
            gone,
        ),
        (|_, _| refused(400, 131_052), gone),
        (|_, _| StatusCode::NOT_FOUND.into_response(), gone),
        (|_, _| refused(401, 190), forbidden),
        (|_, _| refused(403, 10), forbidden),
        (|_, _| refused(500, 131_000), later),
        (|_, _| refused(400, 4), later),
        (|_, _| StatusCode::TOO_MANY_REQUESTS.into_response(), later),
        (|_, _| told(200, &json!({"id": "4711"})), later),
    ];
    for (index, (answer, is_so)) in table.into_iter().enumerate() {
        let error = Platform::start(answer).await.link().await.unwrap_err();
        assert!(is_so(&error), "{index}: {error:?}");
        assert!(!error.to_string().contains("hush"), "{error}");
    }
}

#[tokio::test]
async fn the_wait_that_the_platform_asks_for_is_told() {
    let platform = Platform::start(|_, _| {
        (StatusCode::SERVICE_UNAVAILABLE, [("retry-after", "7")]).into_response()
    })
    .await;
    let Err(MediaError::Unavailable { retry_after, .. }) = platform.link().await else {
        panic!("it was not busy");
    };
    assert_eq!(retry_after, Some(Duration::from_secs(7)));
}

#[tokio::test]
async fn a_file_is_read_up_to_its_limit_whether_its_length_is_said_or_not() {
    let platform = Platform::start(|_, path| {
        if path == "/said" {
            return Body::from(vec![1; 1000]).into_response();
        }
        let chunks = (0..10).map(|_| Ok::<_, std::io::Error>(vec![1_u8; 100]));
        Body::from_stream(futures::stream::iter(chunks)).into_response()
    })
    .await;
    for path in ["/said", "/unsaid"] {
        assert_eq!(platform.read(path, 1000).await.unwrap(), vec![1; 1000]);
        assert_eq!(
            platform.read(path, 999).await,
            Err(MediaError::TooLarge { bytes_max: 999 }),
            "{path}"
        );
    }
}

#[tokio::test]
async fn a_file_that_stops_coming_or_breaks_off_is_no_file() {
    let platform = Platform::start(|_, path| {
        let first = futures::stream::iter([Ok::<_, std::io::Error>(vec![1_u8; 100])]);
        let rest = match path {
            "/stops" => futures::stream::pending().left_stream(),
            _ => futures::stream::iter([Err(std::io::Error::other("cut"))]).right_stream(),
        };
        Body::from_stream(first.chain(rest)).into_response()
    })
    .await;
    for path in ["/stops", "/breaks"] {
        let error = platform.read(path, 1000).await.unwrap_err();
        assert!(
            matches!(error, MediaError::Unavailable { .. }),
            "{path}: {error:?}"
        );
    }
}

#[tokio::test]
async fn a_token_follows_redirects_to_the_platform_and_nowhere_else() {
    let platform = Platform::start(|base, path| {
        let to = match path {
            "/near" => "/file".to_owned(),
            "/round" => "/round".to_owned(),
            "/far" => "https://files.example.com/x".to_owned(),
            "/other-port" => base.replace("127.0.0.1", "127.0.0.2"),
            _ => return Body::from("file").into_response(),
        };
        (StatusCode::FOUND, [(header::LOCATION, to)]).into_response()
    })
    .await;
    assert_eq!(platform.read("/near", 10).await.unwrap(), b"file");
    for path in ["/far", "/other-port"] {
        assert_eq!(platform.read(path, 10).await, Err(MediaError::ForeignHost));
    }
    let error = platform.read("/round", 10).await.unwrap_err();
    assert!(matches!(error, MediaError::Unavailable { .. }), "{error:?}");
    let rounds = platform.asked.lock().unwrap();
    let rounds = rounds.iter().filter(|(path, _)| path == "/round").count();
    assert_eq!(rounds, 4);
}

#[test]
fn only_links_of_the_platform_are_followed() {
    let hosts = Hosts::new("http://127.0.0.1:8083", META_HOSTS);
    for (link, allowed) in [
        (
            "https://lookaside.fbsbx.com/whatsapp_business/attachments/?mid=1",
            true,
        ),
        ("https://fbsbx.com/x", true),
        ("https://scontent.xx.fbcdn.net/x", true),
        ("http://127.0.0.1:8083/file", true),
        ("http://127.0.0.1:8084/file", false),
        ("http://lookaside.fbsbx.com/x", false),
        ("https://lookaside.fbsbx.com:8443/x", false),
        ("https://lookaside.fbsbx.com@evil.example/x", false),
        ("https://u:p@lookaside.fbsbx.com/x", false),
        ("https://evilfbsbx.com/x", false),
        ("https://fbsbx.com.evil.example/x", false),
        ("https://169.254.169.254/x", false),
        ("file:///etc/passwd", false),
    ] {
        assert_eq!(hosts.allow(&Url::parse(link).unwrap()), allowed, "{link}");
    }
}

#[test]
fn what_is_no_digest_is_none() {
    for bad in ["", "abc", &"g".repeat(64), &"a".repeat(62), "====", "ä"] {
        assert_eq!(Digest::parse(bad), None, "{bad}");
    }
}

proptest! {
    #[test]
    fn a_digest_reads_back_in_every_spelling(bytes: [u8; 32]) {
        let digest = Digest::new(bytes);
        let base64 = digest.base64();
        for text in [
            digest.hex(),
            digest.hex().to_uppercase(),
            base64.clone(),
            base64.trim_end_matches('=').to_owned(),
            base64.replace('+', "-").replace('/', "_"),
        ] {
            prop_assert_eq!(Digest::parse(&text), Some(digest));
        }
    }
}
