//! Who is signed in: their token, until when, and what ties their forms to them, sealed in a cookie
//! of theirs.
//!
//! The token is checked anew with each request, here and by whatever it is used for. Signing out
//! takes the cookie away; a copy of it, had somebody made one, is good until its time is over.

use axum::extract::FromRequestParts;
use axum::response::{IntoResponse as _, Redirect, Response};
use casement_shell::auth::{Caller, Scope};
use http::header::{COOKIE, HOST, SET_COOKIE};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri};
use jiff::{SignedDuration, Timestamp};
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};

use super::api::Api;
use super::page::{Frame, Notice};
use super::seal::drawn;
use super::{SCREENS, Shared};

/// What the cookie is sealed for.
const SESSION: &str = "session";

/// How long a notice waits for the page that shows it.
const NOTICE_LENGTH: SignedDuration = SignedDuration::from_mins(2);

const NOTICE: &str = "notice";

/// Longest token that is taken: the cookie has to fit what browsers keep.
pub(super) const TOKEN_BYTES_MAX: usize = 1_024;

/// Somebody who is signed in, with what this request of theirs needs.
pub(super) struct Session {
    pub(super) shared: Shared,
    pub(super) caller: Caller,
    pub(super) csrf: String,
    pub(super) end_time: Timestamp,
    token: SecretString,
    notice: Option<Notice>,
    pub(super) is_secure: bool,
}

/// As it stands in the cookie.
#[derive(Serialize, Deserialize)]
struct Kept {
    token: String,
    csrf: String,
    end_time: Timestamp,
}

#[derive(Serialize, Deserialize)]
struct KeptNotice {
    notice: Notice,
    end_time: Timestamp,
}

impl Session {
    /// Whether the token has a scope: what it may not do is not offered.
    pub(super) fn may(&self, scope: Scope) -> bool {
        self.caller.scopes.contains(&scope)
    }

    /// The API, as this caller.
    pub(super) fn api(&self) -> Api {
        Api::new(self.shared.front.clone(), self.token.expose_secret())
    }

    /// The present.
    pub(super) fn now(&self) -> Timestamp {
        self.shared.clock.now()
    }

    /// What is around every page; `path` is that of its screen.
    pub(super) fn frame(&self, path: &'static str) -> Frame {
        let offered = SCREENS.iter().filter(|screen| self.may(screen.scope));
        Frame::new(
            offered.map(|screen| (screen.path, screen.label, screen.path == path)),
            &self.caller,
            &self.csrf,
            self.notice.clone(),
            self.now(),
        )
    }

    /// On to another page of the console, which says what was done.
    pub(super) fn go(&self, path: &str, notice: Notice) -> Response {
        let kept = KeptNotice {
            notice,
            end_time: self
                .now()
                .saturating_add(NOTICE_LENGTH)
                .unwrap_or(Timestamp::MAX),
        };
        let value = self.shared.seal.seal(NOTICE, &kept);
        let mut response = Redirect::to(path).into_response();
        response.headers_mut().append(
            SET_COOKIE,
            cookie(NOTICE, &value, NOTICE_LENGTH, self.is_secure),
        );
        response
    }
}

/// The cookie of somebody who has just signed in.
pub(super) fn begin(shared: &Shared, token: &str, is_secure: bool) -> HeaderValue {
    let length = shared.config.session_length;
    let kept = Kept {
        token: token.to_owned(),
        csrf: drawn(),
        end_time: shared
            .clock
            .now()
            .saturating_add(length)
            .unwrap_or(Timestamp::MAX),
    };
    let value = shared.seal.seal(SESSION, &kept);
    cookie(SESSION, &value, length, is_secure)
}

/// The cookie that takes the session away.
pub(super) fn end(is_secure: bool) -> HeaderValue {
    cookie(SESSION, "", SignedDuration::ZERO, is_secure)
}

/// The cookie that takes a notice away, if the request brought one.
pub(super) fn end_notice(headers: &HeaderMap, uri: &Uri) -> Option<HeaderValue> {
    let is_secure = is_secure(headers, uri);
    cookie_of(headers, &name(NOTICE, is_secure))?;
    Some(cookie(NOTICE, "", SignedDuration::ZERO, is_secure))
}

/// Whether cookies must only travel encrypted: everywhere but on this machine itself.
pub(super) fn is_secure(headers: &HeaderMap, uri: &Uri) -> bool {
    let authority = authority(headers, uri).unwrap_or_default();
    let host = match authority
        .strip_prefix('[')
        .and_then(|rest| rest.split_once(']'))
    {
        Some((v6, _)) => v6,
        None => authority.split(':').next().unwrap_or_default(),
    };
    let is_local = host.eq_ignore_ascii_case("localhost")
        || host
            .parse::<std::net::IpAddr>()
            .is_ok_and(|address| address.is_loopback());
    !is_local
}

/// Where the browser thinks it is: host and port.
pub(super) fn authority(headers: &HeaderMap, uri: &Uri) -> Option<String> {
    let named = headers.get(HOST).and_then(|host| host.to_str().ok());
    named
        .map(str::to_owned)
        .or_else(|| uri.authority().map(ToString::to_string))
}

/// With the prefix that keeps it to this host and to encrypted ways, where that is meant.
fn name(what: &str, is_secure: bool) -> String {
    let prefix = if is_secure { "__Host-" } else { "" };
    format!("{prefix}casement-{what}")
}

fn cookie(what: &str, value: &str, length: SignedDuration, is_secure: bool) -> HeaderValue {
    let secure = if is_secure { "; Secure" } else { "" };
    let text = format!(
        "{}={value}; Path=/; HttpOnly; SameSite=Strict; Max-Age={}{secure}",
        name(what, is_secure),
        length.as_secs().max(0),
    );
    let mut cookie = HeaderValue::try_from(text).expect("names and base64 are visible ASCII");
    cookie.set_sensitive(true);
    cookie
}

fn cookie_of<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers
        .get_all(COOKIE)
        .into_iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find_map(|(key, value)| (key == name).then_some(value))
}

/// Who sends a request; none if nobody is signed in, or not any more.
pub(super) fn find(shared: &Shared, headers: &HeaderMap, uri: &Uri) -> Option<Session> {
    let is_secure = is_secure(headers, uri);
    let kept = cookie_of(headers, &name(SESSION, is_secure))?;
    let kept: Kept = shared.seal.open(SESSION, kept)?;
    let now = shared.clock.now();
    let token = SecretString::from(kept.token);
    if kept.end_time <= now {
        return None;
    }
    // Whoever took the token out of the configuration meant it.
    let caller = shared.front.tokens.authenticate(token.expose_secret())?;
    let notice = cookie_of(headers, &name(NOTICE, is_secure))
        .and_then(|text| shared.seal.open::<KeptNotice>(NOTICE, text))
        .filter(|kept| kept.end_time > now)
        .map(|kept| kept.notice);
    Some(Session {
        shared: shared.clone(),
        caller,
        csrf: kept.csrf,
        end_time: kept.end_time,
        token,
        notice,
        is_secure,
    })
}

impl FromRequestParts<Shared> for Session {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, shared: &Shared) -> Result<Self, Response> {
        if let Some(session) = find(shared, &parts.headers, &parts.uri) {
            return Ok(session);
        }
        let is_page = parts.method == Method::GET
            && parts
                .headers
                .get("accept")
                .and_then(|accept| accept.to_str().ok())
                .is_some_and(|accept| accept.contains("text/html"));
        if !is_page {
            return Err((StatusCode::UNAUTHORIZED, "sign in again").into_response());
        }
        let next = parts.uri.path_and_query().map_or("/", |path| path.as_str());
        let query = serde_urlencoded::to_string([("next", next)]).unwrap_or_default();
        Err(Redirect::to(&format!("/sign-in?{query}")).into_response())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(host: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(HOST, HeaderValue::from_static(host))])
    }

    #[test]
    fn a_cookie_travels_in_the_clear_on_this_machine_only() {
        let uri = Uri::from_static("/");
        for host in [
            "localhost",
            "localhost:8082",
            "127.0.0.1:8082",
            "[::1]:8082",
        ] {
            assert!(!is_secure(&at(host), &uri), "{host}");
        }
        for host in [
            "console.example.com",
            "10.0.0.7:8082",
            "localhost.example.com",
            "127.0.0.1.example.com",
            "[2001:db8::1]:8082",
            "",
        ] {
            assert!(is_secure(&at(host), &uri), "{host}");
        }
        assert!(is_secure(&HeaderMap::new(), &uri));
    }

    #[test]
    fn a_cookie_has_all_that_protects_it() {
        let length = SignedDuration::from_hours(1);
        let cookie = |is_secure| {
            let cookie = cookie(SESSION, "x", length, is_secure);
            cookie.to_str().unwrap().to_owned()
        };
        assert_eq!(
            cookie(true),
            "__Host-casement-session=x; Path=/; HttpOnly; SameSite=Strict; Max-Age=3600; Secure"
        );
        assert_eq!(
            cookie(false),
            "casement-session=x; Path=/; HttpOnly; SameSite=Strict; Max-Age=3600"
        );
    }

    #[test]
    fn one_cookie_among_others_is_found_by_its_whole_name() {
        let mut headers = HeaderMap::new();
        headers.append(COOKIE, HeaderValue::from_static("a=1; xcasement-session=2"));
        headers.append(COOKIE, HeaderValue::from_static("casement-session=3; b=4"));
        assert_eq!(cookie_of(&headers, "casement-session"), Some("3"));
        assert_eq!(cookie_of(&headers, "session"), None);
    }
}
