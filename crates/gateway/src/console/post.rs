//! Forms that change something: sent by a page of ours, by who is signed in, and not too large.
//!
//! Two things have to hold, either of which would do: the browser says that the form comes from this
//! very place, and the form carries the session's own token.

use axum::body::Body;
use axum::extract::{FromRequest, FromRequestParts as _};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::header::{CONTENT_TYPE, ORIGIN};
use http::{HeaderMap, Request, Uri};
use serde::de::DeserializeOwned;
use std::time::Duration;
use subtle::ConstantTimeEq as _;
use tokio::time::timeout;

use super::Shared;
use super::page::Failure;
use super::session::{Session, authority};

/// Largest form, in bytes.
const FORM_BYTES_MAX: usize = 256 * 1024;

/// How long a form may take to arrive.
const FORM_TIMEOUT: Duration = Duration::from_secs(30);

/// The field of the session's token.
pub(super) const CSRF_FIELD: &str = "csrf";

/// A form, checked.
pub(super) struct Posted {
    pub(super) session: Session,
    pub(super) fields: Fields,
}

/// What a form says, in its order.
#[derive(Debug, Default)]
pub(super) struct Fields(Vec<(String, String)>);

impl Fields {
    /// The first of a name, without white space around it; empty if there is none.
    pub(super) fn get(&self, name: &str) -> &str {
        self.all(name).next().unwrap_or_default()
    }

    /// All of a name, such as checked boxes, without white space around them.
    pub(super) fn all<'a, 'b>(
        &'a self,
        name: &'b str,
    ) -> impl Iterator<Item = &'a str> + use<'a, 'b> {
        self.0
            .iter()
            .filter(move |(key, _)| key == name)
            .map(|(_, value)| value.trim())
    }

    /// All, in their order, as they were sent.
    pub(super) fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// As it was sent.
    pub(super) fn raw(&self, name: &str) -> &str {
        let found = self.0.iter().find(|(key, _)| key == name);
        found.map_or("", |(_, value)| value)
    }
}

impl FromRequest<Shared> for Posted {
    type Rejection = Response;

    async fn from_request(request: Request<Body>, shared: &Shared) -> Result<Self, Response> {
        let (mut parts, body) = request.into_parts();
        if !is_same_origin(&parts.headers, &parts.uri) {
            return Err(Failure::foreign_form().into_response());
        }
        let session = Session::from_request_parts(&mut parts, shared).await?;
        let fields = Fields(
            form(&parts.headers, body)
                .await
                .map_err(IntoResponse::into_response)?,
        );
        let given = fields.raw(CSRF_FIELD).as_bytes();
        if !bool::from(given.ct_eq(session.csrf.as_bytes())) {
            return Err(Failure::foreign_form().into_response());
        }
        Ok(Self { session, fields })
    }
}

/// Reads a form.
pub(super) async fn form<T: DeserializeOwned>(
    headers: &HeaderMap,
    body: Body,
) -> Result<T, Failure> {
    let is_form = headers
        .get(CONTENT_TYPE)
        .and_then(|kind| kind.to_str().ok())
        .is_some_and(|kind| kind.starts_with("application/x-www-form-urlencoded"));
    if !is_form {
        return Err(Failure::unreadable_form());
    }
    let reading = axum::body::to_bytes(body, FORM_BYTES_MAX);
    let bytes: Bytes = match timeout(FORM_TIMEOUT, reading).await {
        Ok(Ok(bytes)) => bytes,
        Ok(Err(_)) | Err(_) => return Err(Failure::unreadable_form()),
    };
    serde_urlencoded::from_bytes(&bytes).map_err(|_| Failure::unreadable_form())
}

/// Whether the browser says that a page of this very place sends this.
///
/// Pages of ours send no referrer, so that browsers write `null` for the origin of their forms; in
/// its place there is then what they say of the site, which scripts cannot set.
pub(super) fn is_same_origin(headers: &HeaderMap, uri: &Uri) -> bool {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let site = text("sec-fetch-site");
    let origin = text(ORIGIN.as_str()).filter(|origin| *origin != "null");
    if site.is_some_and(|site| site != "same-origin") {
        return false;
    }
    match (origin, authority(headers, uri)) {
        (None, _) => site.is_some(),
        (Some(origin), Some(authority)) => origin
            .split_once("://")
            .is_some_and(|(_, host)| host.eq_ignore_ascii_case(&authority)),
        (Some(_), None) => false,
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use http::header::HOST;

    use super::*;

    #[test]
    fn a_form_from_elsewhere_or_from_nowhere_is_refused() {
        let here = "console.example.com";
        for (origin, site, is_ours) in [
            (
                Some("https://console.example.com"),
                Some("same-origin"),
                true,
            ),
            (Some("https://console.example.com"), None, true),
            (Some("null"), Some("same-origin"), true),
            (None, Some("same-origin"), true),
            (None, None, false),
            (Some("null"), None, false),
            (Some("null"), Some("cross-site"), false),
            (None, Some("none"), false),
            (
                Some("https://console.example.com"),
                Some("same-site"),
                false,
            ),
            (Some("https://example.com"), None, false),
            (Some("https://evil.example.com"), Some("same-origin"), false),
            (Some("https://console.example.com:444"), None, false),
        ] {
            let mut headers = HeaderMap::from_iter([(HOST, HeaderValue::from_static(here))]);
            if let Some(origin) = origin {
                headers.insert(ORIGIN, HeaderValue::from_static(origin));
            }
            if let Some(site) = site {
                headers.insert("sec-fetch-site", HeaderValue::from_static(site));
            }
            let found = is_same_origin(&headers, &Uri::from_static("/x"));
            assert_eq!(found, is_ours, "{origin:?} {site:?}");
        }
    }

    #[test]
    fn fields_of_one_name_are_all_there() {
        let fields: Vec<(String, String)> =
            serde_urlencoded::from_str("id=a&id=+b+&text=+x%0A").unwrap();
        let fields = Fields(fields);
        assert_eq!(fields.all("id").collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(fields.get("text"), "x");
        assert_eq!(fields.raw("text"), " x\n");
        assert_eq!(fields.get("none"), "");
    }
}
