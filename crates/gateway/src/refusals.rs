//! What a gateway without a log of its own refused, told to a role that has one.
//!
//! Each role counts what it refuses and puts it on record. So the gateway lets a role refuse the
//! same: for want of a token that of the archive, with a count; for want of a scope the one that was
//! called, with the caller's own token, so that nobody can be accused by others. It waits for
//! nothing and repeats only counts.

use std::sync::Arc;
use std::time::Duration;

use casement_shell::auth::{Caller, Kind, REFUSED_HEADER, Tally, Tokens, handing_on};
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderValue, Request, Response};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tonic::body::Body;
use tonic::{Code, Status};

use crate::upstream::{Area, Target};

/// How often counts are handed on.
const INTERVAL: Duration = Duration::from_secs(5);

/// How long the role may take.
const ANSWER_WAIT: Duration = Duration::from_secs(5);

/// Refusals of known callers that are on their way; more are in the metrics alone.
const ON_THE_WAY_MAX: usize = 8;

/// Where counts are refused once more. It needs a token, and no call of it gets further than that.
const COUNTS: &str = "/casement.audit.v1.AuditService/ListActs";

/// Tells what was refused.
#[derive(Debug)]
pub(crate) struct Refusals {
    tokens: Tokens,
    /// `None` if nothing serves the archive, and where this process has a log.
    archive: Option<Target>,
    on_the_way: Arc<Semaphore>,
}

impl Refusals {
    pub(crate) fn new(tokens: Tokens, archive: Option<Target>) -> Self {
        Self {
            tokens,
            archive: archive
                .filter(|archive| archive.area == Some(Area::Archive) && !archive.is_local()),
            on_the_way: Arc::new(Semaphore::new(ON_THE_WAY_MAX)),
        }
    }

    /// Tells that somebody known may not call a method of a place.
    pub(crate) fn denied(
        &self,
        caller: &Caller,
        target: Option<&Target>,
        authorization: Option<&HeaderValue>,
        method: &str,
        status: &Status,
    ) {
        let Some(target) = target.filter(|target| !target.is_local()) else {
            self.tokens.denied(caller, method, status);
            return;
        };
        let permit = Arc::clone(&self.on_the_way).try_acquire_owned();
        let (Some(authorization), Ok(permit)) = (authorization, permit) else {
            return;
        };
        let mut request = asking(&format!("/{method}"), HeaderValue::from_static("denied"));
        let headers = request.headers_mut();
        headers.insert(AUTHORIZATION, authorization.clone());
        let target = target.clone();
        tokio::spawn(async move {
            let _permit = permit;
            let _ = tokio::time::timeout(ANSWER_WAIT, target.call(request)).await;
        });
    }

    /// Passes a call on. What a service in this process refuses is counted here, elsewhere there.
    pub(crate) async fn pass(&self, target: &Target, request: Request<Body>) -> Response<Body> {
        let caller = request.extensions().get::<Caller>().cloned();
        let caller = caller.filter(|_| target.is_local());
        let path = request.uri().path().to_owned();
        let response = target.call(request).await;
        if let Some(caller) = caller {
            self.tokens.answered(&caller, &path, response.headers());
        }
        response
    }

    /// Hands counts on until the stop.
    pub(crate) async fn run(&self, stopping: CancellationToken) {
        let Some(archive) = &self.archive else {
            return;
        };
        let refusals = self.tokens.refusals();
        let mut every = tokio::time::interval(INTERVAL);
        every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let is_last = tokio::select! {
                () = stopping.cancelled() => true,
                _ = every.tick() => false,
            };
            for (kind, tally) in refusals.take() {
                // What nothing serves is no role's to record.
                if !kind.caller.is_empty() {
                    continue;
                }
                if !tell(archive, &kind, &tally).await && !is_last {
                    refusals.add(kind, tally);
                }
            }
            if is_last {
                return;
            }
        }
    }
}

/// Returns whether the role refused it as well, which is what puts it on record.
async fn tell(archive: &Target, kind: &Kind, tally: &Tally) -> bool {
    let value = HeaderValue::try_from(handing_on(kind, tally));
    let value = value.expect("entrances, reasons and counts are visible ASCII");
    let answer = archive.call(asking(COUNTS, value));
    match tokio::time::timeout(ANSWER_WAIT, answer).await {
        Ok(answer) => was_refused(&answer),
        Err(_) => false,
    }
}

fn was_refused(answer: &Response<Body>) -> bool {
    Status::from_header_map(answer.headers())
        .is_some_and(|status| status.code() == Code::Unauthenticated)
}

fn asking(path: &str, refused: HeaderValue) -> Request<Body> {
    let mut request = Request::new(Body::empty());
    *request.method_mut() = http::Method::POST;
    *request.uri_mut() = path.parse().expect("names of methods are paths");
    let headers = request.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    headers.insert(REFUSED_HEADER, refused);
    request
}
