//! Signing in with a token of the API, and out again.
//!
//! The token is taken from a form, looked at, and sealed into a cookie; it is written nowhere else
//! and never logged.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

use askama::Template;
use axum::body::Body;
use axum::extract::{Query, Request, State};
use axum::response::{IntoResponse as _, Redirect, Response};
use axum::routing::{get, post};
use axum::{Extension, Router};
use casement_shell::server::Peer;
use http::StatusCode;
use http::header::SET_COOKIE;
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;

use super::assets::PATHS;
use super::page::{Failure, show};
use super::post::{Posted, form, is_same_origin};
use super::session::{self, TOKEN_BYTES_MAX};
use super::{SCREENS, Shared};
use crate::limits::network;
use crate::metrics;

/// Addresses whose failures are remembered; beyond it, those that failed longest ago are forgotten.
const ADDRESSES_MAX: usize = 4_096;

/// How long a failure counts.
const FAILURE_LENGTH: SignedDuration = SignedDuration::from_mins(1);

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Ask {
    next: String,
}

#[derive(Deserialize)]
struct Given {
    #[serde(default)]
    token: String,
    #[serde(default)]
    next: String,
}

#[derive(Template)]
#[template(path = "console/sign_in.html")]
struct SignInPage<'a> {
    next: &'a str,
    problem: &'a str,
    style: &'static str,
    icon: &'static str,
}

pub(super) fn routes() -> Router<Shared> {
    Router::new()
        .route("/sign-in", get(ask).post(take))
        .route("/sign-in/done", get(done))
        .route("/sign-out", post(leave))
}

async fn ask(Query(ask): Query<Ask>) -> Response {
    sign_in_page(StatusCode::OK, &ask.next, "")
}

async fn take(
    State(shared): State<Shared>,
    Extension(from): Extension<Peer>,
    request: Request<Body>,
) -> Response {
    let (parts, body) = request.into_parts();
    if !is_same_origin(&parts.headers, &parts.uri) {
        return Failure::foreign_form().into_response();
    }
    let given: Given = match form(&parts.headers, body).await {
        Ok(given) => given,
        Err(failure) => return failure.into_response(),
    };
    let now = shared.clock.now();
    if !shared.attempts.may_try(from.address.ip(), now) {
        metrics::signed_in("limited");
        return Failure::too_often().into_response();
    }
    let token = given.token.trim();
    let is_possible =
        token.len() <= TOKEN_BYTES_MAX && token.bytes().all(|byte| byte.is_ascii_graphic());
    let caller = is_possible.then(|| shared.front.tokens.authenticate(token));
    let Some(caller) = caller.flatten() else {
        shared.attempts.failed(from.address.ip(), now);
        metrics::signed_in("refused");
        shared.front.tokens.refused_sign_in(token);
        let problem = "This token is not known. It is one of [[api.tokens]] in the configuration; \
            the demo's is demo-token.";
        return sign_in_page(StatusCode::UNAUTHORIZED, &given.next, problem);
    };
    metrics::signed_in("accepted");
    tracing::info!(token = caller.name, "signed in to the console");
    let is_secure = session::is_secure(&parts.headers, &parts.uri);
    let query = serde_urlencoded::to_string([("next", within(&given.next))]).unwrap_or_default();
    let mut response = Redirect::to(&format!("/sign-in/done?{query}")).into_response();
    let cookie = session::begin(&shared, token, is_secure);
    response.headers_mut().append(SET_COOKIE, cookie);
    response
}

/// Whether the browser kept the cookie. It does not if it was meant for encrypted ways alone and
/// came another.
async fn done(State(shared): State<Shared>, Query(ask): Query<Ask>, request: Request) -> Response {
    let (parts, _) = request.into_parts();
    if session::find(&shared, &parts.headers, &parts.uri).is_some() {
        return Redirect::to(within(&ask.next)).into_response();
    }
    let problem = "The browser did not keep the session. Anywhere but on this machine itself the \
        console needs https: open it through the proxy that has the certificate.";
    sign_in_page(StatusCode::UNAUTHORIZED, &ask.next, problem)
}

async fn leave(posted: Posted) -> Response {
    let mut response = Redirect::to("/sign-in").into_response();
    let cookie = session::end(posted.session.is_secure);
    response.headers_mut().append(SET_COOKIE, cookie);
    response
}

fn sign_in_page(status: StatusCode, next: &str, problem: &str) -> Response {
    let mut response = show(&SignInPage {
        next: within(next),
        problem,
        style: &PATHS.style,
        icon: &PATHS.icon,
    });
    *response.status_mut() = status;
    response
}

/// Where to go on, if that is a page of ours; else the first.
fn within(next: &str) -> &str {
    let is_ours = SCREENS.iter().any(|screen| {
        next.strip_prefix(screen.path)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with(['/', '?']))
    });
    if is_ours { next } else { "/" }
}

/// Who tried what nobody knows, lately.
#[derive(Debug)]
pub(super) struct Attempts {
    failures_max: u32,
    failed: Mutex<HashMap<IpAddr, (Timestamp, u32)>>,
}

impl Attempts {
    pub(super) fn new(failures_max: u32) -> Self {
        Self {
            failures_max,
            failed: Mutex::default(),
        }
    }

    fn may_try(&self, from: IpAddr, now: Timestamp) -> bool {
        let failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        failed
            .get(&network(from))
            .is_none_or(|(since, count)| is_over(*since, now) || *count < self.failures_max)
    }

    fn failed(&self, from: IpAddr, now: Timestamp) {
        let mut failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        let from = network(from);
        if !failed.contains_key(&from) && failed.len() >= ADDRESSES_MAX {
            failed.retain(|_, (since, _)| !is_over(*since, now));
            let oldest = failed.iter().min_by_key(|(_, (since, _))| *since);
            let oldest = oldest.map(|(address, _)| *address);
            if let Some(oldest) = oldest.filter(|_| failed.len() >= ADDRESSES_MAX) {
                failed.remove(&oldest);
            }
        }
        let entry = failed.entry(from).or_insert((now, 0));
        if is_over(entry.0, now) {
            *entry = (now, 0);
        }
        entry.1 = entry.1.saturating_add(1);
    }
}

fn is_over(since: Timestamp, now: Timestamp) -> bool {
    now.duration_since(since) >= FAILURE_LENGTH
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_sent_anywhere_else() {
        let screen = SCREENS[0].path;
        for next in [
            "https://example.com/",
            "//example.com",
            "/\\example.com",
            "/sign-out",
            "",
            "javascript:alert(1)",
            &format!("{screen}x"),
        ] {
            assert_eq!(within(next), "/", "{next}");
        }
        let deep = format!("{screen}?brand=a");
        assert_eq!(within(&deep), deep);
    }

    #[test]
    fn who_guesses_has_to_wait_and_others_do_not() {
        let attempts = Attempts::new(2);
        let now: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let guesser: IpAddr = "2001:db8::1".parse().unwrap();
        let neighbour: IpAddr = "2001:db8::2".parse().unwrap();
        let other: IpAddr = "2001:db8:1::1".parse().unwrap();
        attempts.failed(guesser, now);
        assert!(attempts.may_try(guesser, now));
        attempts.failed(neighbour, now);
        assert!(!attempts.may_try(guesser, now));
        assert!(attempts.may_try(other, now));
        assert!(attempts.may_try(guesser, now + FAILURE_LENGTH));
    }

    #[test]
    fn failures_of_many_addresses_are_forgotten_before_they_fill_the_memory() {
        let attempts = Attempts::new(1);
        let start: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let address = |index: usize| IpAddr::from(u32::try_from(index).unwrap().to_be_bytes());
        for index in 0..=ADDRESSES_MAX {
            let at = start + SignedDuration::from_micros(i64::try_from(index).unwrap());
            attempts.failed(address(index), at);
        }
        assert_eq!(attempts.failed.lock().unwrap().len(), ADDRESSES_MAX);
        assert!(attempts.may_try(address(0), start));
        assert!(!attempts.may_try(address(ADDRESSES_MAX), start));
    }
}
