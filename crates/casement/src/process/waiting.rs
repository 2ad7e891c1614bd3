//! What a process waits for: the broker, and at its beginning a clock that the broker agrees with.
//!
//! Before that no role exists. Whoever comes is told to come again, and `/readyz` says what is waited
//! for. In most cases it takes one question to the broker, and nobody notices.

use std::os::fd::AsFd as _;
use std::time::Duration;

use anyhow::Context as _;
use casement_event_log::Log;
use casement_shell::clock::Unproven;
use casement_shell::health::Readiness;
use casement_shell::tls::For;
use casement_shell::{SharedClock, Shell, grpc};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::{Plan, door};

/// How often the connection to the broker is looked at for `/readyz`.
const BROKER_CHECK_INTERVAL: Duration = Duration::from_millis(500);

/// How long callers may wait in the queue of a port before they are answered that nothing has begun.
const UNANSWERED_MAX: Duration = Duration::from_millis(300);

/// How long callers that are being turned away may take to leave.
const LEAVE_MAX: Duration = Duration::from_secs(2);

/// Returns the clock once the broker has said the same time. `api` is where callers come; what they
/// ask for meanwhile is answered UNAVAILABLE, and webhooks 503.
pub(super) async fn for_time(
    plan: &Plan,
    clock: &Unproven,
    log: &Log,
    api: &TcpListener,
    readiness: &Readiness,
) -> anyhow::Result<SharedClock> {
    let latch = readiness.latch("clock");
    let mut proving = std::pin::pin!(log.proven(clock, |why| latch.hold(why)));
    let soon = tokio::time::timeout(UNANSWERED_MAX, &mut proving);
    let clock = if let Ok(clock) = soon.await {
        clock
    } else {
        let closed = CancellationToken::new();
        let mut callers = turn_away(plan, api, &closed)?;
        let clock = tokio::select! {
            clock = &mut proving => clock,
            Some(ended) = callers.join_next() => {
                ended.context("turn callers away")??;
                anyhow::bail!("callers are turned away no more, and nothing has begun");
            }
        };
        closed.cancel();
        // Whoever has not left by then is cut off: the roles take the ports.
        let leaving = async { while callers.join_next().await.is_some() {} };
        let _ = tokio::time::timeout(LEAVE_MAX, leaving).await;
        clock
    };
    tracing::info!("the clock agrees with the broker's");
    latch.release();
    Ok(clock)
}

/// Answers at the ports of a process that has not begun.
fn turn_away(
    plan: &Plan,
    api: &TcpListener,
    closed: &CancellationToken,
) -> anyhow::Result<JoinSet<anyhow::Result<()>>> {
    let config = &plan.config;
    let mut callers = JoinSet::new();
    // The same port once more: the one that is handed in serves when all has begun.
    let again = api.as_fd().try_clone_to_owned().context("the API's port")?;
    let again = TcpListener::from_std(again.into()).context("the API's port")?;
    let door = door(For::Api, again, config.api.tls.as_ref(), config)?;
    let serving = grpc::turn_away(door, closed.clone());
    callers.spawn(async move { Ok(serving.await?) });
    if plan.which.has_webhooks() {
        let (section, closed) = (config.ingress.clone(), closed.clone());
        callers.spawn(async move { casement_ingress::turn_away(&section, closed).await });
    }
    Ok(callers)
}

/// Holds `/readyz` while the broker is away.
pub(super) fn watch_broker(
    log: Log,
    shell: &Shell,
) -> impl Future<Output = anyhow::Result<()>> + use<> {
    let latch = shell.readiness().latch("broker");
    let stopping: CancellationToken = shell.stopping();
    async move {
        loop {
            latch.set(log.is_connected(), "connection is lost");
            tokio::select! {
                () = stopping.cancelled() => return Ok(()),
                () = tokio::time::sleep(BROKER_CHECK_INTERVAL) => {}
            }
        }
    }
}
