//! Requests to stop, from the first moment on: also while things are being started.

use anyhow::Context as _;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

/// A stop, and another one for those who cannot wait.
const STOPS_MAX: usize = 2;

/// Hands out one item for each SIGTERM and SIGINT.
pub(super) fn listen() -> anyhow::Result<mpsc::Receiver<()>> {
    let mut terminate = signal(SignalKind::terminate()).context("listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("listen for SIGINT")?;
    let (stop, stops) = mpsc::channel(STOPS_MAX);
    tokio::spawn(async move {
        loop {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            if stop.send(()).await.is_err() {
                break;
            }
        }
    });
    Ok(stops)
}

/// Passes requests on, until nobody asks or nobody listens any more.
pub(super) async fn forward(mut from: mpsc::Receiver<()>, to: mpsc::Sender<()>) {
    while from.recv().await.is_some() {
        if to.send(()).await.is_err() {
            break;
        }
    }
}
