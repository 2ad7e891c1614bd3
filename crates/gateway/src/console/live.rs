//! Parts of pages that keep themselves up to date, by server-sent events.
//!
//! A page's parts are rendered again and again, and sent when they have changed; the script puts
//! them in the place of those with the same ids. Without a script the page is as it was when it was
//! opened. A stream ends with the session, with the process, and after a while: the browser comes
//! again by itself.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse as _, Response};
use http::StatusCode;
use http::header::RETRY_AFTER;
use tokio::time::{Instant, interval};
use tokio_stream::wrappers::ReceiverStream;

use super::page::Failure;
use super::session::Session;
use crate::metrics;

/// How often parts are looked at.
pub(super) const LIVE_INTERVAL: Duration = Duration::from_secs(2);

/// How long one stream lasts.
const STREAM_LENGTH: Duration = Duration::from_mins(10);

/// Keeps proxies from taking a quiet stream for a dead one.
const KEEP_ALIVE: Duration = Duration::from_secs(20);

/// How long a browser waits before it comes again.
const COME_AGAIN: Duration = Duration::from_secs(3);

/// Answers with parts of a page: `render` makes them, every time anew, as elements with ids. What
/// it refuses is left out, and tried again.
pub(super) fn stream<F, Fut>(session: Session, render: F) -> Response
where
    F: Fn(Arc<Session>) -> Fut + Send + 'static,
    Fut: Future<Output = Result<String, Failure>> + Send,
{
    let session = Arc::new(session);
    let Ok(place) = session.shared.live.clone().try_acquire_owned() else {
        let wait = [(RETRY_AFTER, "10")];
        return (StatusCode::SERVICE_UNAVAILABLE, wait).into_response();
    };
    let (sender, receiver) = tokio::sync::mpsc::channel::<Result<Event, Infallible>>(1);
    let rendering = async move {
        let _place = place;
        let _open = metrics::live_page();
        let until = Instant::now() + STREAM_LENGTH;
        let stopping = session.shared.stopping.clone();
        let mut ticks = interval(LIVE_INTERVAL);
        let mut shown = String::new();
        while Instant::now() < until {
            tokio::select! {
                _ = ticks.tick() => {}
                () = stopping.cancelled() => return,
                () = sender.closed() => return,
            }
            let is_over = session.end_time <= session.now();
            let event = if is_over {
                Event::default().event("over").data("signed out")
            } else {
                let Ok(parts) = render(session.clone()).await else {
                    continue;
                };
                if parts == shown {
                    continue;
                }
                // An event has lines; another kind of line end would break it.
                let event = Event::default().event("parts").retry(COME_AGAIN);
                let event = event.data(parts.replace('\r', " "));
                shown = parts;
                event
            };
            if sender.send(Ok(event)).await.is_err() || is_over {
                return;
            }
        }
    };
    tokio::spawn(rendering);
    Sse::new(ReceiverStream::new(receiver))
        .keep_alive(KeepAlive::new().interval(KEEP_ALIVE))
        .into_response()
}
