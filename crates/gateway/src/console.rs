//! The console: pages for people, before the same checks as every other caller.
//!
//! It is rendered here, works without a script, and asks the API with the signed-in caller's own
//! token: what the token may not do, the console cannot do. It keeps nothing: who is signed in
//! stands sealed in their cookie. It never meets the log or the archive, decides nothing, and
//! shows what the API says.
//!
//! To add a screen:
//!
//! 1. A file under `console/` with `pub(super) fn routes() -> Router<Shared>`, merged in
//!    [`router`], and its line in [`SCREENS`] with the scope that it needs to be offered.
//! 2. Templates under `templates/console/`, which extend `console/layout.html` and have a field
//!    `frame: Frame` ([`Session::frame`]). Handlers return `Result<Response, Failure>`, end with
//!    [`page::show`], and use `?` on what the API refuses.
//! 3. A handler takes [`Session`], and calls the API with `session.api()`. What changes something is a
//!    `POST` whose handler takes [`Posted`], which has checked the session, where the form comes
//!    from, and its token; its form carries `{{ frame.csrf_field() }}`. It ends with
//!    [`Session::go`], which tells what was done on the next page.
//! 4. Parts that live: give their elements ids, put them into a template of their own that the
//!    page includes, name `/…/live` in the frame ([`Frame::live`]), and answer there with
//!    [`live::stream`], which renders that template again and again and sends it when it changed.
//! 5. Times are [`view::When`], text is text: nothing from outside is ever marked as safe.

mod api;
mod assets;
mod composer;
mod composer_preview;
mod composer_template;
mod config;
mod conversation;
mod conversation_advice;
mod conversation_clock;
mod conversation_decision;
mod conversation_handling;
mod conversation_known;
mod conversation_media;
mod conversation_message;
mod conversation_post;
mod conversation_timeline;
mod conversations;
mod conversations_search;
mod find;
mod find_message;
mod guard;
mod halts;
mod live;
mod numbers;
mod page;
mod plot;
mod post;
mod record;
mod seal;
mod session;
mod sign_in;
mod stuck;
mod view;

use std::sync::Arc;

use axum::Router;
use axum::middleware;
use axum::response::Redirect;
use axum::routing::get;
use casement_shell::SharedClock;
use casement_shell::auth::Scope;
use casement_shell::server::{Door, Server};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::front::Front;
use page::Failure;
use seal::Seal;
use session::Session;
use sign_in::Attempts;

pub use config::ConsoleConfig;

/// Streams of live parts in one process; a page beyond that is told to come again by itself.
const LIVE_STREAMS_MAX: usize = 512;

/// One screen, as the navigation offers it.
#[derive(Debug)]
struct Screen {
    path: &'static str,
    label: &'static str,
    /// It is not offered without.
    scope: Scope,
}

/// The screens, in the order of the navigation.
const SCREENS: &[Screen] = &[
    Screen {
        path: "/numbers",
        label: "Numbers",
        scope: Scope::Read,
    },
    Screen {
        path: "/conversations",
        label: "Conversations",
        scope: Scope::Read,
    },
    Screen {
        path: "/find",
        label: "Find a message",
        scope: Scope::Read,
    },
    Screen {
        path: stuck::PATH,
        label: "Stuck work",
        scope: Scope::Read,
    },
    Screen {
        path: record::PATH,
        label: "Record",
        scope: Scope::Audit,
    },
];

/// What every page is made with.
#[derive(Clone)]
struct Shared(Arc<Console>);

struct Console {
    front: Arc<Front>,
    clock: SharedClock,
    config: ConsoleConfig,
    seal: Seal,
    attempts: Attempts,
    live: Arc<Semaphore>,
    stopping: CancellationToken,
}

impl std::ops::Deref for Shared {
    type Target = Console;

    fn deref(&self) -> &Console {
        &self.0
    }
}

/// The console's pages, ready to be served.
#[derive(Clone)]
pub(crate) struct Pages {
    router: Router,
    stopping: CancellationToken,
}

impl Pages {
    pub(crate) fn new(
        front: Arc<Front>,
        clock: SharedClock,
        config: &ConsoleConfig,
    ) -> Result<Self, crate::Error> {
        let stopping = front.stopping.clone();
        let shared = Shared(Arc::new(Console {
            front,
            clock,
            seal: Seal::new(config)?,
            attempts: Attempts::new(config.sign_in_failures_per_minute),
            config: config.clone(),
            live: Arc::new(Semaphore::new(LIVE_STREAMS_MAX)),
            stopping: stopping.clone(),
        }));
        Ok(Self {
            router: router(shared),
            stopping,
        })
    }

    /// Serves until the stop, then lets requests in flight end; live parts end by themselves.
    pub(crate) async fn serve(self, door: Door) -> anyhow::Result<()> {
        let server = Server::behind(door, self.router);
        server.run(self.stopping).await;
        Ok(())
    }
}

fn router(shared: Shared) -> Router {
    Router::new()
        .route("/", get(home))
        .merge(sign_in::routes())
        .merge(assets::routes())
        .merge(conversations::routes())
        .merge(conversations_search::routes())
        .merge(conversation::routes())
        .merge(find::routes())
        .merge(numbers::routes())
        .merge(stuck::routes())
        .merge(record::routes())
        .fallback(nothing)
        .layer(middleware::from_fn(guard::headers))
        .with_state(shared)
}

/// The first screen that is offered.
async fn home(session: Session) -> Result<Redirect, Failure> {
    let first = SCREENS.iter().find(|screen| session.may(screen.scope));
    first
        .map(|screen| Redirect::to(screen.path))
        .ok_or_else(|| {
            Failure::refused(
                "This token opens no screen",
                "The console's screens need the scope read or audit. Sign out, and in with another \
             token.",
            )
        })
}

async fn nothing() -> Failure {
    Failure::nothing_here()
}
