//! Role: webhooks in, facts out.
//!
//! Two loops that meet on the log only. The first verifies each post's signature over its raw
//! bytes, packs posts onto `RAW` and answers 200 once they are on disk. The second reads `RAW`,
//! takes posts apart, finds each item's number and customer, and appends:
//!
//! - the customer's facts, each with the summary of all before it, to `events.inbound`;
//! - reports about messages of ours to `events.report`, about others' to `events.foreign`;
//! - group traffic to `events.group`, news about accounts to `accounts.reported`;
//! - items for numbers that no account knows to `accounts.reported.parked`, to be replayed;
//! - what can never succeed to `dead.ingress`.
//!
//! It decides neither whether a window is open nor what a report does to its message, and it
//! answers no customer.

mod aside;
mod config;
mod conversation;
mod draft;
mod error;
mod http;
mod merge;
mod normalise;
mod pack;
mod parked;
mod place;
mod queue;
mod report;
mod search;
mod sms;
mod token;
mod whatsapp;

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context as _;
use axum::Router;
use casement_event_log::Log;
use casement_event_log::customers::Tokens;
use casement_event_log::directory::Directory;
use casement_shell::SharedClock;
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub use config::{App, Config, DEFAULT_NAME, Qualifying, Twilio, TwilioAccount};
pub use http::BODY_BYTES_MAX;

use http::{Door, TWILIO, WHATSAPP};
use pack::Packer;
use place::Desk;

/// The role, as it stands in `ce-source`.
const SOURCE: &str = "casement/ingress";

/// The role, bound to its address and not yet running.
#[derive(Debug)]
pub struct Role {
    listener: TcpListener,
    address: SocketAddr,
    router: Router,
    writers: [JoinHandle<()>; 2],
    desk: Arc<Desk>,
}

/// Fetches the secrets and binds the address. Nothing is served before [`Role::run`].
///
/// # Errors
/// A secret that is not to be had, or an address that is taken.
pub async fn start(
    config: Config,
    log: Log,
    directory: Directory,
    tokens: Tokens,
    clock: SharedClock,
) -> anyhow::Result<Role> {
    let keys = config.keys()?;
    if keys.apps.is_empty() {
        tracing::warn!("no application is configured: every webhook of Meta's is refused");
    }
    let listen = config.listen;
    let listener = TcpListener::bind(listen).await.with_context(|| {
        format!("cannot take webhooks at {listen}: choose another address with ingress.listen")
    })?;
    let address = listener.local_addr().context("address of the webhooks")?;
    let base_url = config
        .twilio
        .public_url
        .unwrap_or_else(|| format!("http://{address}"));
    let (whatsapp, whatsapp_writer) = Packer::start(log.clone(), WHATSAPP, clock.clone());
    let (twilio, twilio_writer) = Packer::start(log.clone(), TWILIO, clock.clone());
    let door = Door::new(keys, base_url, whatsapp, twilio, clock.clone());
    let desk = Desk {
        log,
        directory,
        tokens,
        clock,
        policy: config.qualifying.into(),
        queues: queue::Queues::new(),
        horizon: search::Horizon::default(),
        replay: Arc::new(Notify::new()),
    };
    Ok(Role {
        listener,
        address,
        router: http::router(Arc::new(door)),
        writers: [whatsapp_writer, twilio_writer],
        desk: Arc::new(desk),
    })
}

impl Role {
    /// Returns the address that webhooks are taken at.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns the webhooks' routes, to be served elsewhere, too. Clones keep the role from
    /// ending: drop them before it is to stop.
    pub fn router(&self) -> Router {
        self.router.clone()
    }

    /// Takes webhooks and turns them into facts until the stop; then answers what is being
    /// asked, writes what waits, and finishes the packs in hand.
    pub async fn run(self, stopping: CancellationToken) -> anyhow::Result<()> {
        let Self {
            listener,
            router,
            writers,
            desk,
            ..
        } = self;
        let serving = async {
            casement_shell::http::serve(listener, router, stopping.clone())
                .await
                .context("serve webhooks")?;
            for writer in writers {
                writer.await.context("write posts")?;
            }
            anyhow::Ok(())
        };
        let normalising = async {
            tokio::spawn(normalise::run(Arc::clone(&desk), stopping.clone()))
                .await
                .context("normalise posts")
        };
        let replaying = async {
            tokio::spawn(parked::replay(Arc::clone(&desk), stopping.clone()))
                .await
                .context("replay parked items")
        };
        tokio::try_join!(serving, normalising, replaying)?;
        Ok(())
    }
}
