//! Health of every service behind the gateway, followed at its role.
//!
//! A role that goes away takes its own services with it, not the gateway: the others still answer.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use casement_shell::health::{Latch, Readiness};
use futures::future::join_all;
use tokio::sync::watch;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tonic::Code;
use tonic_health::ServingStatus;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus as Told;
use tonic_health::pb::health_client::HealthClient;
use tonic_health::server::HealthReporter;

use crate::upstream::{Area, Target};

/// How long to wait before an upstream that does not answer is asked again.
const RETRY_INTERVAL: Duration = Duration::from_millis(250);

/// How a service does.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Seen {
    serves: bool,
    /// Whether its role ever answered.
    answered: bool,
}

type Seens = BTreeMap<&'static str, Seen>;

/// Keeps the health of services current.
pub(crate) struct Keeper {
    reporter: HealthReporter,
    readiness: Readiness,
    latch: Latch,
    local: Vec<&'static str>,
    remote: Vec<(&'static str, Target)>,
}

impl Keeper {
    /// Not ready until every role behind a connection answered once.
    pub(crate) async fn new(
        reporter: HealthReporter,
        readiness: Readiness,
        targets: &BTreeMap<&'static str, Target>,
    ) -> Self {
        let (remote, local): (Vec<_>, Vec<_>) = targets
            .iter()
            .filter(|(_, target)| target.area.is_some())
            .map(|(service, target)| (*service, target.clone()))
            .partition(|(_, target)| target.channel().is_some());
        let latch = readiness.latch("upstreams");
        if remote.is_empty() {
            latch.release();
        }
        let keeper = Self {
            reporter,
            readiness,
            latch,
            local: local.into_iter().map(|(service, _)| service).collect(),
            remote,
        };
        // A service is known from the first moment, so that whoever watches need not come back.
        keeper.report(&Seens::new()).await;
        keeper
    }

    /// Runs until `stopping`; then nothing serves any more.
    pub(crate) async fn run(self, stopping: CancellationToken) {
        let first: Seens = self
            .remote
            .iter()
            .map(|(service, _)| (*service, Seen::default()))
            .collect();
        let (seens, mut changes) = watch::channel(first);
        let following = join_all(
            self.remote
                .iter()
                .map(|(service, target)| follow(service, target, &seens)),
        );
        let reporting = async {
            let mut ready = self.readiness.watch();
            loop {
                let current = changes.borrow_and_update().clone();
                ready.mark_unchanged();
                self.release(&current);
                self.report(&current).await;
                tokio::select! {
                    Ok(()) = changes.changed() => {}
                    Ok(()) = ready.changed() => {}
                    else => std::future::pending().await,
                }
            }
        };
        tokio::select! {
            _ = following, if !self.remote.is_empty() => {}
            () = reporting => {}
            () = stopping.cancelled() => {}
        }
        for service in self.services() {
            let status = ServingStatus::NotServing;
            self.reporter.set_service_status(service, status).await;
        }
    }

    /// Lets go once every role was there.
    fn release(&self, seens: &Seens) {
        let missing: BTreeSet<&str> = self
            .remote
            .iter()
            .filter(|(service, _)| !seens.get(service).is_some_and(|seen| seen.answered))
            .filter_map(|(_, target)| target.area.map(Area::as_str))
            .collect();
        if missing.is_empty() {
            self.latch.release();
        } else {
            let names: Vec<&str> = missing.into_iter().collect();
            self.latch
                .hold(format!("no answer yet from {}", names.join(", ")));
        }
    }

    async fn report(&self, seens: &Seens) {
        let is_ready = self.readiness.is_ready();
        for service in self.services() {
            let serves = seens.get(service).map_or(
                is_ready && !self.remote.iter().any(|(remote, _)| *remote == service),
                |seen| seen.serves,
            );
            let status = if serves {
                ServingStatus::Serving
            } else {
                ServingStatus::NotServing
            };
            self.reporter.set_service_status(service, status).await;
        }
    }

    /// The whole server first.
    fn services(&self) -> impl Iterator<Item = &'static str> {
        let remote = self.remote.iter().map(|(service, _)| *service);
        std::iter::once("")
            .chain(self.local.iter().copied())
            .chain(remote)
    }
}

/// Follows one service at its role, for ever.
async fn follow(service: &'static str, target: &Target, seens: &watch::Sender<Seens>) {
    let Some(channel) = target.channel() else {
        return;
    };
    let set = |serves: bool, has_answered: bool| {
        seens.send_if_modified(|seens| {
            let seen = seens.entry(service).or_default();
            let next = Seen {
                serves,
                answered: seen.answered || has_answered,
            };
            std::mem::replace(seen, next) != next
        });
    };
    let mut client = HealthClient::new(channel.clone());
    loop {
        let request = HealthCheckRequest {
            service: service.to_owned(),
        };
        match client.watch(request).await {
            Ok(updates) => {
                target.set_reachable(true);
                let mut updates = updates.into_inner();
                while let Ok(Some(update)) = updates.message().await {
                    set(update.status() == Told::Serving, true);
                }
                set(false, true);
            }
            // A server without health is as well as it answers.
            Err(status) if status.code() == Code::Unimplemented => {
                target.set_reachable(true);
                set(true, true);
            }
            Err(status) => {
                // That it does not know the service is an answer, too.
                let has_answered = status.code() == Code::NotFound;
                target.set_reachable(has_answered);
                set(false, has_answered);
            }
        }
        sleep(RETRY_INTERVAL).await;
    }
}
