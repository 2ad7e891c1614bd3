//! What a provider's answer to a call comes to: whether the call left at all, how long to wait, and
//! the body, of which no more is read than it may have.
//!
//! What the answer means is for whoever called.

use std::error::Error as _;
use std::time::Duration;

use reqwest::{Response, StatusCode, Url, header};

/// A longer wait than this is not believed.
pub const RETRY_AFTER_MAX: Duration = Duration::from_hours(24);

/// A body was not read to its end.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// The connection broke off, or it took too long.
    #[error("{0}")]
    Broken(String),
    /// It is larger than it may be.
    #[error("answer is larger than {0} bytes")]
    TooLarge(usize),
}

/// Returns the chain of causes without the error's own text, which names the URL: accounts and
/// numbers stand there, and at times a secret.
pub fn describe(error: &reqwest::Error) -> String {
    let kind = if error.is_timeout() {
        "timed out"
    } else if error.is_connect() {
        "cannot connect"
    } else if error.is_builder() {
        "invalid"
    } else {
        "broke off"
    };
    let mut text = kind.to_owned();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

/// Returns whether it is certain that no request arrived: only a failed connection proves that, and
/// only if it was the one for this very URL; after a redirect the request has been out once.
pub fn never_left(error: &reqwest::Error, url: &Url) -> bool {
    error.is_connect() && error.url().is_none_or(|failed| failed == url)
}

/// Returns whether a status refuses, whoever on the way wrote it: a 4xx does, but a 408 may be a
/// proxy's guess about a request that went on.
pub fn refuses(status: StatusCode) -> bool {
    status.is_client_error() && status != StatusCode::REQUEST_TIMEOUT
}

/// Returns how long the answer asks to wait, if it says so in seconds; at most
/// [`RETRY_AFTER_MAX`].
pub fn retry_after(headers: &header::HeaderMap) -> Option<Duration> {
    let seconds = headers
        .get(header::RETRY_AFTER)?
        .to_str()
        .ok()?
        .trim()
        .parse()
        .ok()?;
    Some(Duration::from_secs(seconds).min(RETRY_AFTER_MAX))
}

/// Reads a body of at most this many bytes.
pub async fn read(mut response: Response, bytes_max: usize) -> Result<Vec<u8>, BodyError> {
    let mut bytes = Vec::new();
    let broken = |error: reqwest::Error| BodyError::Broken(describe(&error));
    while let Some(chunk) = response.chunk().await.map_err(broken)? {
        if bytes.len() + chunk.len() > bytes_max {
            return Err(BodyError::TooLarge(bytes_max));
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::http::HeaderMap;
    use axum::routing::get;
    use tokio::net::TcpListener;
    use tokio_util::sync::CancellationToken;

    use super::super::{ClientOptions, client, serve};
    use super::*;

    #[tokio::test]
    async fn a_body_is_read_up_to_its_limit_and_no_further() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let stopping = CancellationToken::new();
        let router = Router::new().route("/", get(async || "12345"));
        let serving = tokio::spawn(serve(listener, router, stopping.clone()));
        let client = client(&ClientOptions::default()).unwrap();
        for (bytes_max, expected) in [(5, Ok(b"12345".to_vec())), (4, Err(BodyError::TooLarge(4)))]
        {
            let response = client.get(&url).send().await.unwrap();
            assert_eq!(read(response, bytes_max).await, expected);
        }
        drop(client);
        stopping.cancel();
        serving.await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn only_a_connection_that_was_never_made_proves_that_nothing_left() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url: Url = format!("http://{}/secret", listener.local_addr().unwrap())
            .parse()
            .unwrap();
        drop(listener);
        let client = client(&ClientOptions::default()).unwrap();
        let error = client.get(url.clone()).send().await.unwrap_err();
        assert!(never_left(&error, &url));
        assert!(!never_left(&error, &"http://127.0.0.1:1/".parse().unwrap()));
        let told = describe(&error);
        assert!(
            told.starts_with("cannot connect") && !told.contains("secret"),
            "{told}"
        );
    }

    #[test]
    fn a_wait_is_believed_in_seconds_and_up_to_a_day() {
        let of = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert("retry-after", text.parse().unwrap());
            retry_after(&headers)
        };
        assert_eq!(of(" 7 "), Some(Duration::from_secs(7)));
        assert_eq!(of("999999999"), Some(RETRY_AFTER_MAX));
        assert_eq!(of("Sun, 22 Nov 2026 10:00:00 GMT"), None);
        assert_eq!(retry_after(&HeaderMap::new()), None);
    }

    #[test]
    fn a_request_timeout_refuses_nothing() {
        assert!(refuses(StatusCode::BAD_REQUEST) && refuses(StatusCode::TOO_MANY_REQUESTS));
        assert!(!refuses(StatusCode::REQUEST_TIMEOUT) && !refuses(StatusCode::BAD_GATEWAY));
    }
}
