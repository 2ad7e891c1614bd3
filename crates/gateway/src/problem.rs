//! Refusals as `application/problem+json` (RFC 9457).
//!
//! It tells what the status tells: code, reason, facts, and what is wrong with which field.

use axum::body::Body;
use casement_shell::grpc::{code_name, refuse};
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, Response, StatusCode};
use serde_json::{Map, Value, json};
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use crate::limits::seconds;
use crate::routes::Verb;

/// The reason of a refusal because there is nothing under the path.
const ROUTE_UNKNOWN: &str = "ROUTE_UNKNOWN";

/// The reason of a refusal because the path is called otherwise.
const METHOD_NOT_ALLOWED: &str = "METHOD_NOT_ALLOWED";

/// The reason of a refusal because the body is not JSON.
const CONTENT_TYPE_UNSUPPORTED: &str = "CONTENT_TYPE_UNSUPPORTED";

/// The reason of a refusal because the request is too large.
pub const REQUEST_TOO_LARGE: &str = "REQUEST_TOO_LARGE";

/// A refusal on its way to an HTTP client.
#[derive(Debug)]
pub(crate) struct Problem {
    status: Status,
    http: StatusCode,
    allow: Option<String>,
}

impl From<Status> for Problem {
    fn from(status: Status) -> Self {
        let is_too_large =
            casement_shell::grpc::reason(&status).as_deref() == Some(REQUEST_TOO_LARGE);
        let http = if is_too_large {
            StatusCode::PAYLOAD_TOO_LARGE
        } else {
            http_status(status.code())
        };
        Self {
            status,
            http,
            allow: None,
        }
    }
}

impl Problem {
    pub(crate) fn route_unknown() -> Self {
        refuse(
            Code::NotFound,
            ROUTE_UNKNOWN,
            "nothing is here; `/openapi.json` says what is where",
        )
        .into()
    }

    pub(crate) fn method_not_allowed(verbs: &[Verb]) -> Self {
        let allow: Vec<String> = verbs.iter().map(ToString::to_string).collect();
        let status = refuse(
            Code::Unimplemented,
            METHOD_NOT_ALLOWED,
            "this path is called by another method",
        );
        Self {
            status,
            http: StatusCode::METHOD_NOT_ALLOWED,
            allow: Some(allow.join(", ")),
        }
    }

    pub(crate) fn content_type_unsupported(wanted: &str) -> Self {
        let status = refuse(
            Code::InvalidArgument,
            CONTENT_TYPE_UNSUPPORTED,
            format!("send `content-type: {wanted}`"),
        );
        Self {
            http: StatusCode::UNSUPPORTED_MEDIA_TYPE,
            ..Self::from(status)
        }
    }

    pub(crate) fn http_version() -> Self {
        let status = refuse(Code::Unimplemented, "HTTP_2_NEEDED", "gRPC needs HTTP/2");
        Self {
            http: StatusCode::HTTP_VERSION_NOT_SUPPORTED,
            ..Self::from(status)
        }
    }

    pub(crate) fn code(&self) -> Code {
        self.status.code()
    }

    pub(crate) fn into_response(self) -> Response<Body> {
        let mut response = Response::new(Body::from(self.json().to_string()));
        *response.status_mut() = self.http;
        let headers = response.headers_mut();
        headers.insert(
            CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        );
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if self.http == StatusCode::UNAUTHORIZED {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Some(wait) = self
            .status
            .get_details_retry_info()
            .and_then(|retry| retry.retry_delay)
        {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds(wait)));
        }
        if let Some(allow) = self.allow.and_then(|allow| allow.parse().ok()) {
            headers.insert(ALLOW, allow);
        }
        response
    }

    /// The body, without the headers that go with it.
    pub(crate) fn json(&self) -> Value {
        let details = self.status.get_error_details();
        let mut problem = Map::new();
        let mut set = |key: &str, value: Value| problem.insert(key.to_owned(), value);
        let info = details.error_info();
        let kind = info.map_or_else(
            || "about:blank".to_owned(),
            |info| format!("urn:casement:problem:{}", info.reason),
        );
        set("type", kind.into());
        set(
            "title",
            self.http.canonical_reason().unwrap_or("Error").into(),
        );
        set("status", self.http.as_u16().into());
        set("detail", self.status.message().into());
        set("code", code_name(self.status.code()).into());
        if let Some(info) = info {
            set("reason", info.reason.clone().into());
            if !info.metadata.is_empty() {
                set("metadata", json!(info.metadata));
            }
        }
        if let Some(request) = details.bad_request() {
            let violations: Vec<Value> = request
                .field_violations
                .iter()
                .map(|wrong| json!({"field": wrong.field, "description": wrong.description}))
                .collect();
            set("violations", violations.into());
        }
        if let Some(failure) = details.precondition_failure() {
            let violations: Vec<Value> = failure
                .violations
                .iter()
                .map(|wrong| {
                    json!({
                        "type": wrong.r#type,
                        "subject": wrong.subject,
                        "description": wrong.description,
                    })
                })
                .collect();
            set("preconditions", violations.into());
        }
        Value::Object(problem)
    }
}

/// The HTTP status of a gRPC code, as `google.rpc.Code` assigns it.
fn http_status(code: Code) -> StatusCode {
    match code {
        Code::Ok => StatusCode::OK,
        Code::Cancelled => StatusCode::from_u16(499).expect("three digits are a status"),
        Code::InvalidArgument | Code::FailedPrecondition | Code::OutOfRange => {
            StatusCode::BAD_REQUEST
        }
        Code::DeadlineExceeded => StatusCode::GATEWAY_TIMEOUT,
        Code::NotFound => StatusCode::NOT_FOUND,
        Code::AlreadyExists | Code::Aborted => StatusCode::CONFLICT,
        Code::PermissionDenied => StatusCode::FORBIDDEN,
        Code::Unauthenticated => StatusCode::UNAUTHORIZED,
        Code::ResourceExhausted => StatusCode::TOO_MANY_REQUESTS,
        Code::Unimplemented => StatusCode::NOT_IMPLEMENTED,
        Code::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        Code::Unknown | Code::Internal | Code::DataLoss => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

#[cfg(test)]
mod tests {
    use casement_shell::grpc::{bad_fields, refusal};

    use super::*;

    #[test]
    fn a_refusal_says_in_json_what_it_says_in_grpc() {
        let status = refusal(
            Code::FailedPrecondition,
            "WINDOW_CLOSED",
            "window is closed",
            [("closed_reason", "EXPIRED")],
        );
        assert_eq!(
            Problem::from(status).json(),
            json!({
                "type": "urn:casement:problem:WINDOW_CLOSED",
                "title": "Bad Request",
                "status": 400,
                "detail": "window is closed",
                "code": "FAILED_PRECONDITION",
                "reason": "WINDOW_CLOSED",
                "metadata": {"closed_reason": "EXPIRED"},
            })
        );
        let wrong = bad_fields([("to", "not E.164"), ("ttl", "too long")]);
        assert_eq!(
            Problem::from(wrong).json()["violations"],
            json!([
                {"field": "to", "description": "not E.164"},
                {"field": "ttl", "description": "too long"},
            ])
        );
        let plain = Problem::from(Status::internal("no more"));
        assert_eq!(plain.json()["type"], "about:blank");
        assert_eq!(plain.json()["title"], "Internal Server Error");
    }

    #[test]
    fn headers_go_with_the_status() {
        let unauthenticated = Problem::from(Status::unauthenticated("who?")).into_response();
        assert_eq!(unauthenticated.status(), StatusCode::UNAUTHORIZED);
        assert_eq!(unauthenticated.headers()[WWW_AUTHENTICATE], "Bearer");
        let other = Problem::method_not_allowed(&[Verb::Get, Verb::Put]).into_response();
        assert_eq!(other.status(), StatusCode::METHOD_NOT_ALLOWED);
        assert_eq!(other.headers()[ALLOW], "GET, PUT");
        let large = refuse(Code::ResourceExhausted, REQUEST_TOO_LARGE, "too large");
        let large = Problem::from(large).into_response();
        assert_eq!(large.status(), StatusCode::PAYLOAD_TOO_LARGE);
    }
}
