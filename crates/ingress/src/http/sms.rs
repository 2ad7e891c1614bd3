//! The doors of SMS gateways: how each one's posts are verified.

use std::sync::Arc;

use axum::Router;
use axum::extract::{OriginalUri, Path, Request, State};
use axum::http::{HeaderMap, Uri};
use axum::response::Response;
use axum::routing::post;
use casement_sms::{generic, twilio, vonage};

use super::{Door, Gateway, Knock, Outcome, TWILIO, take, text};
use crate::config::DEFAULT_NAME;

/// Returns the gateways' routes.
pub(super) fn routes() -> Router<Arc<Door>> {
    Router::new()
        .route(
            "/webhooks/twilio",
            post(async |door, uri, request| from_twilio(door, DEFAULT_NAME, uri, request).await),
        )
        .route(
            "/webhooks/twilio/{account}",
            post(async |door, Path(account): Path<String>, uri, request| {
                from_twilio(door, &account, uri, request).await
            }),
        )
        .route(
            "/webhooks/vonage",
            post(async |door, uri, request| from_vonage(door, DEFAULT_NAME, uri, request).await),
        )
        .route(
            "/webhooks/vonage/{account}",
            post(async |door, Path(account): Path<String>, uri, request| {
                from_vonage(door, &account, uri, request).await
            }),
        )
        .route(
            "/webhooks/sms/{gateway}",
            post(async |door, Path(gateway): Path<String>, uri, request| {
                from_generic(door, &gateway, uri, request).await
            }),
        )
}

async fn from_twilio(
    State(door): State<Arc<Door>>,
    account: &str,
    OriginalUri(uri): OriginalUri,
    request: Request,
) -> Response {
    let url = signed_url(&door.twilio_base_url, &uri);
    let verify = |headers: &HeaderMap, body: &[u8]| {
        let tokens = door.keys.twilio.get(account).ok_or(Outcome::UnknownApp)?;
        let header = text(headers, twilio::signature::HEADER);
        twilio::signature::verify(&url, body, header, tokens).map_err(|error| {
            tracing::warn!(account, error = %error, "callback refused");
            Outcome::BadSignature
        })
    };
    let knock = Knock {
        gateway: Gateway::Twilio,
        app: account,
        is_known: door.keys.twilio.contains_key(account),
        client_name: None,
        query: uri.query(),
        packer: door.sms.get(TWILIO),
    };
    take(&door, &knock, request, verify).await
}

async fn from_vonage(
    State(door): State<Arc<Door>>,
    account: &str,
    OriginalUri(uri): OriginalUri,
    request: Request,
) -> Response {
    let now = door.clock.now();
    let verify = |headers: &HeaderMap, body: &[u8]| {
        use vonage::signature::{HEADER, SignatureError, verify};
        let keys = door.keys.sms.vonage.get(account);
        let keys = keys.ok_or(Outcome::UnknownApp)?;
        verify(keys, body, text(headers, HEADER), now).map_err(|error| {
            tracing::warn!(account, error = %error, "webhook refused");
            match error {
                // Vonage: rarely, one goes out unsigned; a server error brings it again.
                SignatureError::Missing => Outcome::Unsigned,
                _ => Outcome::BadSignature,
            }
        })
    };
    let knock = Knock {
        gateway: Gateway::Vonage,
        app: account,
        is_known: door.keys.sms.vonage.contains_key(account),
        client_name: None,
        query: uri.query(),
        packer: door.sms.get(vonage::NAME),
    };
    take(&door, &knock, request, verify).await
}

async fn from_generic(
    State(door): State<Arc<Door>>,
    gateway: &str,
    OriginalUri(uri): OriginalUri,
    request: Request,
) -> Response {
    let now = door.clock.now();
    let verify = |headers: &HeaderMap, body: &[u8]| {
        let keys = door.keys.sms.generic.get(gateway);
        let keys = keys.ok_or(Outcome::UnknownApp)?;
        let header = |name: &str| text(headers, name);
        generic::signature::verify(keys, body, header, now).map_err(|error| {
            tracing::warn!(gateway, error = %error, "webhook refused");
            Outcome::BadSignature
        })
    };
    let knock = Knock {
        gateway: Gateway::Generic,
        app: gateway,
        is_known: door.keys.sms.generic.contains_key(gateway),
        client_name: None,
        query: uri.query(),
        packer: door.sms.get(gateway),
    };
    take(&door, &knock, request, verify).await
}

/// The URL as Twilio was given it: behind a proxy the request no longer tells.
fn signed_url(base: &str, uri: &Uri) -> String {
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    format!("{}{path}", base.trim_end_matches('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_signed_url_is_the_public_one() {
        let uri: Uri = "/webhooks/twilio?m=1&a=2".parse().unwrap();
        for base in ["https://x.example/in", "https://x.example/in/"] {
            assert_eq!(
                signed_url(base, &uri),
                "https://x.example/in/webhooks/twilio?m=1&a=2"
            );
        }
    }
}
