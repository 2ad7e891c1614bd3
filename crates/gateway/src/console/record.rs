//! The screen *Record*: who did what, whether the archive is whole, and what is held about a
//! customer.
//!
//! Exports are streams of lines, passed through as the API writes them and kept nowhere.

mod acts;
mod archive;
mod customers;

use askama::Template;
use axum::Router;
use axum::body::Body;
use axum::response::Response;
use http::HeaderValue;
use http::header::{CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_TYPE};

use super::Shared;
use super::page::Failure;
use super::session::Session;

/// Where the screen is.
pub(super) const PATH: &str = "/record";

/// Most of an answer that says why there is no export, in bytes.
const REFUSAL_BYTES_MAX: usize = 64 * 1024;

pub(super) fn routes() -> Router<Shared> {
    Router::new()
        .merge(acts::routes())
        .merge(archive::routes())
        .merge(customers::routes())
}

/// The parts of the screen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tab {
    Acts,
    Archive,
    Customers,
}

/// The way from part to part.
#[derive(Template)]
#[template(path = "console/record_tabs.html")]
struct Tabs {
    current: Tab,
}

impl askama::filters::HtmlSafe for Tabs {}

impl Tab {
    const ALL: [Self; 3] = [Self::Acts, Self::Archive, Self::Customers];

    fn path(self) -> &'static str {
        match self {
            Self::Acts => PATH,
            Self::Archive => "/record/archive",
            Self::Customers => "/record/customers",
        }
    }

    fn label(self) -> &'static str {
        match self {
            Self::Acts => "Who did what",
            Self::Archive => "Archive and proof",
            Self::Customers => "A customer's data",
        }
    }
}

/// Hands a stream of the API out as a file of lines of JSON.
async fn download(
    session: &Session,
    method: &str,
    request: &serde_json::Value,
    file: &str,
) -> Result<Response, Failure> {
    let answer = session.api().lines(method, request).await;
    let (mut parts, body) = answer.into_parts();
    if !parts.status.is_success() {
        let body = axum::body::to_bytes(body, REFUSAL_BYTES_MAX).await;
        let said: serde_json::Value = body
            .ok()
            .and_then(|body| serde_json::from_slice(&body).ok())
            .unwrap_or_default();
        return Err(Failure::told(parts.status, &said));
    }
    // Letters, digits, hyphens and dots.
    let named = HeaderValue::try_from(format!("attachment; filename=\"{file}\""))
        .map_err(|_| Failure::nothing_here())?;
    parts.headers.insert(CONTENT_DISPOSITION, named);
    for kept in [CONTENT_TYPE, CACHE_CONTROL] {
        parts
            .headers
            .entry(kept)
            .or_insert(HeaderValue::from_static("no-store"));
    }
    Ok(Response::from_parts(parts, Body::new(body)))
}
