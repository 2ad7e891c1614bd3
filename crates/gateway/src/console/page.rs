//! What is around every page, and pages that say why there is none.

use askama::Template;
use axum::response::{Html, IntoResponse, Response};
use casement_shell::auth::{ALL_BRANDS, Caller};
use casement_shell::grpc::said;
use http::StatusCode;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tonic::{Code, Status};

use super::assets::PATHS;
use super::post::CSRF_FIELD;

/// What is around every page. Templates have it as the field `frame`.
#[derive(Debug, Clone)]
pub(super) struct Frame {
    pub(super) nav: Vec<Link>,
    /// The token's name.
    pub(super) who: String,
    /// The brand it acts for, for people.
    pub(super) brand: String,
    pub(super) csrf: String,
    pub(super) notice: Option<Notice>,
    /// The present, for scripts whose own clock may be wrong.
    pub(super) now_ms: i64,
    /// Where the page's live parts come from; empty for none.
    pub(super) live: String,
    pub(super) style: &'static str,
    pub(super) script: &'static str,
    pub(super) icon: &'static str,
}

/// One entry of the navigation.
#[derive(Debug, Clone)]
pub(super) struct Link {
    pub(super) path: &'static str,
    pub(super) label: &'static str,
    pub(super) is_current: bool,
}

/// What was done, or not, told on the next page.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Notice {
    pub(super) is_good: bool,
    pub(super) text: String,
}

impl Notice {
    pub(super) fn good(text: impl Into<String>) -> Self {
        Self {
            is_good: true,
            text: text.into(),
        }
    }

    pub(super) fn bad(text: impl Into<String>) -> Self {
        Self {
            is_good: false,
            text: text.into(),
        }
    }
}

impl Frame {
    pub(super) fn new(
        screens: impl Iterator<Item = (&'static str, &'static str, bool)>,
        caller: &Caller,
        csrf: &str,
        notice: Option<Notice>,
        now: Timestamp,
    ) -> Self {
        let nav = screens.map(|(path, label, is_current)| Link {
            path,
            label,
            is_current,
        });
        let brand = match caller.brand.as_str() {
            ALL_BRANDS => "all brands".to_owned(),
            brand => format!("brand {brand}"),
        };
        Self {
            nav: nav.collect(),
            who: caller.name.clone(),
            brand,
            csrf: csrf.to_owned(),
            notice,
            now_ms: now.as_millisecond(),
            live: String::new(),
            style: &PATHS.style,
            script: &PATHS.script,
            icon: &PATHS.icon,
        }
    }

    /// Names where the page's live parts come from.
    #[must_use]
    pub(super) fn live(mut self, path: impl Into<String>) -> Self {
        self.live = path.into();
        self
    }

    /// The field that ties a form to the session. It consists of letters, digits, `-` and `_`.
    pub(super) fn csrf_field(&self) -> CsrfField<'_> {
        CsrfField(&self.csrf)
    }
}

/// A hidden field.
pub(super) struct CsrfField<'a>(&'a str);

impl std::fmt::Display for CsrfField<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            r#"<input type="hidden" name="{CSRF_FIELD}" value="{}">"#,
            self.0
        )
    }
}

impl askama::filters::HtmlSafe for CsrfField<'_> {}

/// Answers with a page.
pub(super) fn show(page: &impl Template) -> Response {
    match page.render() {
        Ok(text) => Html(text).into_response(),
        Err(error) => {
            tracing::error!(%error, "page cannot be rendered");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

/// Renders a part of a page.
pub(super) fn render(part: &impl Template) -> Result<String, Failure> {
    part.render().map_err(|error| {
        tracing::error!(%error, "part of a page cannot be rendered");
        Failure::from(Status::internal("this part cannot be shown"))
    })
}

/// Why there is no page, for people. It goes with [`Failure`] as a page of its own, or stands in the
/// place of a part that could not be had.
#[derive(Debug, Clone)]
pub(super) struct Trouble {
    pub(super) title: String,
    /// What happened, and what to do.
    pub(super) text: String,
    /// For programs and for whoever is asked for help; may be empty.
    pub(super) reason: String,
    /// What is wrong with which field.
    pub(super) fields: Vec<(String, String)>,
}

impl From<&Status> for Trouble {
    fn from(status: &Status) -> Self {
        let said = said(status);
        let title = match status.code() {
            Code::Unavailable => "This part does not answer at the moment",
            Code::DeadlineExceeded => "This took too long",
            Code::PermissionDenied => "This token may not do that",
            Code::NotFound => "There is no such thing",
            Code::ResourceExhausted => "Too much at once",
            Code::InvalidArgument => "Something in the form is not right",
            Code::FailedPrecondition | Code::Aborted | Code::AlreadyExists => {
                "This cannot be done now"
            }
            Code::Unimplemented => "This is not served here",
            _ => "Something went wrong",
        };
        Self {
            title: title.to_owned(),
            text: said.message,
            reason: said.reason,
            fields: said.fields,
        }
    }
}

impl From<Status> for Trouble {
    fn from(status: Status) -> Self {
        Self::from(&status)
    }
}

/// A page that says why there is no other.
#[derive(Debug)]
pub(super) struct Failure {
    http: StatusCode,
    trouble: Trouble,
    must_sign_in: bool,
}

#[derive(Template)]
#[template(path = "console/failure.html")]
struct FailurePage<'a> {
    trouble: &'a Trouble,
    must_sign_in: bool,
    style: &'static str,
    icon: &'static str,
}

impl From<Status> for Failure {
    fn from(status: Status) -> Self {
        let http = match status.code() {
            Code::InvalidArgument | Code::FailedPrecondition | Code::OutOfRange => {
                StatusCode::BAD_REQUEST
            }
            Code::NotFound => StatusCode::NOT_FOUND,
            Code::AlreadyExists | Code::Aborted => StatusCode::CONFLICT,
            Code::PermissionDenied => StatusCode::FORBIDDEN,
            Code::Unauthenticated => StatusCode::UNAUTHORIZED,
            Code::ResourceExhausted => StatusCode::TOO_MANY_REQUESTS,
            Code::Unimplemented => StatusCode::NOT_IMPLEMENTED,
            Code::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            Code::DeadlineExceeded => StatusCode::GATEWAY_TIMEOUT,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Self {
            http,
            must_sign_in: status.code() == Code::Unauthenticated,
            trouble: Trouble::from(&status),
        }
    }
}

impl Failure {
    fn new(http: StatusCode, title: &str, text: &str) -> Self {
        Self {
            http,
            trouble: Trouble {
                title: title.to_owned(),
                text: text.to_owned(),
                reason: String::new(),
                fields: Vec::new(),
            },
            must_sign_in: false,
        }
    }

    /// As a problem of the API says it in JSON.
    pub(super) fn told(http: StatusCode, problem: &serde_json::Value) -> Self {
        let text = |name: &str| problem[name].as_str().unwrap_or_default().to_owned();
        let fields = problem["violations"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        let field = |wrong: &serde_json::Value, name: &str| {
            wrong[name].as_str().unwrap_or_default().to_owned()
        };
        Self {
            http,
            must_sign_in: http == StatusCode::UNAUTHORIZED,
            trouble: Trouble {
                title: "There is no such file".to_owned(),
                text: text("detail"),
                reason: text("reason"),
                fields: fields
                    .iter()
                    .map(|wrong| (field(wrong, "field"), field(wrong, "description")))
                    .collect(),
            },
        }
    }

    /// What the form asks for is not what can be done.
    pub(super) fn wrong(title: &str, text: &str) -> Self {
        Self::new(StatusCode::BAD_REQUEST, title, text)
    }

    pub(super) fn refused(title: &str, text: &str) -> Self {
        Self::new(StatusCode::FORBIDDEN, title, text)
    }

    pub(super) fn nothing_here() -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            "Nothing is here",
            "The address may have been mistyped, or what it showed is gone.",
        )
    }

    /// A form that a page of ours, for this session, did not send.
    pub(super) fn foreign_form() -> Self {
        Self::new(
            StatusCode::FORBIDDEN,
            "This form was not sent by the console",
            "Nothing was done. Either another site tried to act in your name, or the page is older \
             than your sign-in: open it again, and send it once more.",
        )
    }

    pub(super) fn unreadable_form() -> Self {
        Self::new(
            StatusCode::BAD_REQUEST,
            "This form could not be read",
            "Nothing was done. It was cut off, too large, or not a form at all.",
        )
    }

    pub(super) fn too_often() -> Self {
        Self::new(
            StatusCode::TOO_MANY_REQUESTS,
            "Too many tokens that are not known",
            "Nobody can sign in from this address for a minute.",
        )
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let mut response = show(&FailurePage {
            trouble: &self.trouble,
            must_sign_in: self.must_sign_in,
            style: &PATHS.style,
            icon: &PATHS.icon,
        });
        *response.status_mut() = self.http;
        response
    }
}
