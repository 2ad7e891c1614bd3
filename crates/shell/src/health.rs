//! Whether the process lives and is ready, and the pages that say so.
//!
//! It takes what the latches say; it probes nothing itself.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tonic_health::ServingStatus;
use tonic_health::pb::health_server::{Health, HealthServer};

use crate::telemetry::Metrics;

/// Ready when no latch is held. Clones share one state.
#[derive(Debug, Clone)]
pub struct Readiness {
    held: Arc<Mutex<BTreeMap<&'static str, String>>>,
    remarks: Arc<Mutex<BTreeMap<&'static str, String>>>,
    ready: watch::Sender<bool>,
}

/// One dependency's say: the process is not ready while it is held.
///
/// A latch that is dropped stays as it was: what broke before it was released never came up.
#[derive(Debug, Clone)]
pub struct Latch {
    name: &'static str,
    readiness: Readiness,
}

/// Something that people who look at a ready process should know. It keeps nobody from anything.
#[derive(Debug, Clone)]
pub struct Remark {
    name: &'static str,
    readiness: Readiness,
}

impl Readiness {
    /// Ready, until somebody takes a latch.
    pub fn new() -> Self {
        Self {
            held: Arc::default(),
            remarks: Arc::default(),
            ready: watch::Sender::new(true),
        }
    }

    /// A latch for the dependency `name`, held from the start. Two latches of one name are one.
    pub fn latch(&self, name: &'static str) -> Latch {
        let latch = Latch {
            name,
            readiness: self.clone(),
        };
        latch.hold("starting");
        latch
    }

    /// A place for remarks about `name`, empty at the start.
    pub fn remark(&self, name: &'static str) -> Remark {
        Remark {
            name,
            readiness: self.clone(),
        }
    }

    /// What remarks there are, with their names, sorted.
    pub fn remarks(&self) -> Vec<(&'static str, String)> {
        let remarks = self.remarks.lock().unwrap_or_else(PoisonError::into_inner);
        remarks
            .iter()
            .map(|(name, remark)| (*name, remark.clone()))
            .collect()
    }

    /// Whether no latch is held.
    pub fn is_ready(&self) -> bool {
        *self.ready.borrow()
    }

    /// The names of the held latches with the reasons they gave, sorted.
    pub fn reasons(&self) -> Vec<(&'static str, String)> {
        self.lock()
            .iter()
            .map(|(name, reason)| (*name, reason.clone()))
            .collect()
    }

    /// Follows [`Readiness::is_ready`].
    pub fn watch(&self) -> watch::Receiver<bool> {
        self.ready.subscribe()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<&'static str, String>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Under the lock, so that the watch never tells of an older state than the map.
    fn change(&self, change: impl FnOnce(&mut BTreeMap<&'static str, String>)) {
        let mut held = self.lock();
        change(&mut held);
        let ready = held.is_empty();
        self.ready
            .send_if_modified(|was| std::mem::replace(was, ready) != ready);
    }
}

impl Default for Readiness {
    fn default() -> Self {
        Self::new()
    }
}

impl Latch {
    /// Releases the latch if the dependency is `ready`, else holds it for `reason`.
    pub fn set(&self, ready: bool, reason: impl Into<String>) {
        if ready {
            self.release();
        } else {
            self.hold(reason);
        }
    }

    /// The dependency is there.
    pub fn release(&self) {
        self.readiness.change(|held| {
            held.remove(self.name);
        });
    }

    /// The dependency is away, for `reason`. No personal data: the reason is shown to anyone.
    pub fn hold(&self, reason: impl Into<String>) {
        self.readiness.change(|held| {
            held.insert(self.name, reason.into());
        });
    }
}

impl Remark {
    /// Says so, in place of what was said before. No personal data: it is shown to anyone.
    pub fn tell(&self, remark: impl Into<String>) {
        self.change(|remarks, name| {
            remarks.insert(name, remark.into());
        });
    }

    /// Nothing more is to be said.
    pub fn clear(&self) {
        self.change(|remarks, name| {
            remarks.remove(name);
        });
    }

    fn change(&self, change: impl FnOnce(&mut BTreeMap<&'static str, String>, &'static str)) {
        let remarks = &self.readiness.remarks;
        let mut remarks = remarks.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut remarks, self.name);
    }
}

/// Serves `/livez` (the process answers), `/readyz` (503 with one line for each held latch; 200
/// with one for each remark) and `/metrics` (the scrape page).
pub fn router(readiness: Readiness, metrics: Metrics) -> Router {
    Router::new()
        .route("/livez", get(async || "ok\n"))
        .route("/readyz", get(readyz).with_state(readiness))
        .route("/metrics", get(scrape).with_state(metrics))
}

/// The gRPC health service, and the task that keeps it current until the stop.
///
/// `services` are the full names that answer for themselves, besides the empty name that stands
/// for the whole server.
pub fn grpc(
    readiness: &Readiness,
    services: &[&'static str],
    stopping: CancellationToken,
) -> (
    HealthServer<impl Health + use<>>,
    impl Future<Output = anyhow::Result<()>> + Send + use<>,
) {
    let (mut reporter, server) = tonic_health::server::health_reporter();
    let mut ready = readiness.watch();
    let names: Vec<&'static str> = [""].into_iter().chain(services.iter().copied()).collect();
    let keep_current = async move {
        loop {
            let status = if *ready.borrow_and_update() {
                ServingStatus::Serving
            } else {
                ServingStatus::NotServing
            };
            for name in &names {
                reporter.set_service_status(*name, status).await;
            }
            tokio::select! {
                // The state lives as long as anyone holds a latch; without it nothing changes.
                Ok(()) = ready.changed() => {}
                () = stopping.cancelled() => break,
            }
        }
        for name in &names {
            reporter
                .set_service_status(*name, ServingStatus::NotServing)
                .await;
            // Whoever watches hears that, and then the end: a stream that went on would keep the
            // server from ending, as a gateway watches for as long as it lives.
            reporter.clear_service_status(name).await;
        }
        Ok(())
    };
    (server, keep_current)
}

async fn readyz(State(readiness): State<Readiness>) -> Response {
    let reasons = readiness.reasons();
    if reasons.is_empty() {
        let mut lines = "ok\n".to_owned();
        for (name, remark) in readiness.remarks() {
            lines.extend([name, ": ", &remark, "\n"]);
        }
        return lines.into_response();
    }
    let mut lines = String::new();
    for (name, reason) in reasons {
        lines.extend([name, ": ", &reason, "\n"]);
    }
    (StatusCode::SERVICE_UNAVAILABLE, lines).into_response()
}

async fn scrape(State(metrics): State<Metrics>) -> Response {
    (
        [(CONTENT_TYPE, "text/plain; version=0.0.4")],
        metrics.render(),
    )
        .into_response()
}

#[cfg(test)]
mod tests {
    use axum::body::{Body, to_bytes};
    use tonic_health::pb::HealthCheckRequest;
    use tower::ServiceExt;

    use super::*;

    async fn page(router: &Router, path: &str) -> (StatusCode, String) {
        let request = axum::http::Request::get(path).body(Body::empty()).unwrap();
        let response = router.clone().oneshot(request).await.unwrap();
        let status = response.status();
        let body = to_bytes(response.into_body(), 1 << 20).await.unwrap();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    #[test]
    fn ready_is_when_every_latch_is_released() {
        let readiness = Readiness::new();
        let broker = readiness.latch("broker");
        let clock = readiness.latch("clock");
        broker.release();
        assert!(!readiness.is_ready());
        clock.set(true, "");
        assert!(readiness.is_ready());
        broker.set(false, "connection lost");
        assert!(!readiness.is_ready());
        assert_eq!(
            readiness.reasons(),
            [("broker", "connection lost".to_owned())]
        );
    }

    #[test]
    fn a_watcher_is_told_of_changes_only() {
        let readiness = Readiness::new();
        let mut watch = readiness.watch();
        let (one, two) = (readiness.latch("one"), readiness.latch("two"));
        assert!(watch.has_changed().unwrap());
        assert!(!*watch.borrow_and_update());
        one.release();
        assert!(!watch.has_changed().unwrap());
        two.release();
        assert!(*watch.borrow_and_update());
    }

    #[tokio::test]
    async fn the_pages_tell_the_reasons() {
        let readiness = Readiness::new();
        let metrics = Metrics::install();
        metrics::counter!("casement_health_pages_total").increment(3);
        let router = router(readiness.clone(), metrics);
        let latch = readiness.latch("broker");
        latch.hold("connection lost");
        assert_eq!(
            page(&router, "/livez").await,
            (StatusCode::OK, "ok\n".to_owned())
        );
        assert_eq!(
            page(&router, "/readyz").await,
            (
                StatusCode::SERVICE_UNAVAILABLE,
                "broker: connection lost\n".to_owned()
            )
        );
        latch.release();
        assert_eq!(
            page(&router, "/readyz").await,
            (StatusCode::OK, "ok\n".to_owned())
        );
        let remark = readiness.remark("read models");
        remark.tell("12 % done");
        assert!(readiness.is_ready());
        assert_eq!(
            page(&router, "/readyz").await,
            (StatusCode::OK, "ok\nread models: 12 % done\n".to_owned())
        );
        remark.clear();
        assert_eq!(readiness.remarks(), []);
        let (status, scraped) = page(&router, "/metrics").await;
        assert_eq!(status, StatusCode::OK);
        assert!(
            scraped.contains("casement_health_pages_total 3"),
            "{scraped}"
        );
    }

    #[tokio::test]
    async fn grpc_health_follows_the_latches() {
        let readiness = Readiness::new();
        let latch = readiness.latch("broker");
        let stopping = CancellationToken::new();
        let (server, keep_current) = grpc(
            &readiness,
            &["casement.window.v1.WindowService"],
            stopping.clone(),
        );
        let keeping = tokio::spawn(keep_current);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let routes = tonic::service::Routes::new(server);
        let serving = tokio::spawn(crate::grpc::serve(listener, routes, stopping.clone()));

        let channel = tonic::transport::Endpoint::from_shared(endpoint)
            .unwrap()
            .connect()
            .await
            .unwrap();
        let mut client = tonic_health::pb::health_client::HealthClient::new(channel);
        for service in ["", "casement.window.v1.WindowService"] {
            latch.hold("away");
            let request = HealthCheckRequest {
                service: service.to_owned(),
            };
            let mut updates = client.watch(request).await.unwrap().into_inner();
            let mut statuses = Vec::new();
            while statuses.last() != Some(&ServingStatus::Serving) {
                let update = updates.message().await.unwrap().unwrap();
                statuses.push(match update.status {
                    1 => ServingStatus::Serving,
                    2 => {
                        latch.release();
                        ServingStatus::NotServing
                    }
                    _ => ServingStatus::Unknown,
                });
            }
        }
        // Who goes on watching hears the last word and keeps nobody from ending.
        let request = HealthCheckRequest::default();
        let mut watched = client.watch(request).await.unwrap().into_inner();
        watched.message().await.unwrap().unwrap();
        stopping.cancel();
        keeping.await.unwrap().unwrap();
        serving.await.unwrap().unwrap();
        assert_eq!(watched.message().await.unwrap().unwrap().status, 2);
        assert_eq!(watched.message().await.unwrap(), None);
    }
}
