//! Role: webhooks in, facts out.
//!
//! Loops that meet on the log only. The first verifies each post's signature over its raw
//! bytes, packs posts onto `RAW` and answers 200 once they are on disk. The second reads `RAW`,
//! takes posts apart, finds each item's number and customer, and appends:
//!
//! - the customer's facts, each with the summary of all before it, to `events.inbound`;
//! - reports about messages of ours to `events.report`, about others' to `events.foreign`;
//! - group traffic to `events.group`, news about accounts to `accounts.reported`;
//! - items for numbers that no account knows to `accounts.reported.parked`, to be replayed;
//! - what can never succeed to `dead.ingress`.
//!
//! A third fetches the files that came with messages, stores them and tells of them on
//! `events.media`; they are handed out by `MediaService`.
//!
//! It decides neither whether a window is open nor what a report does to its message, and it
//! answers no customer.

mod aside;
mod config;
mod consent;
mod conversation;
mod draft;
mod error;
mod heads;
mod http;
mod lanes;
mod media;
mod merge;
mod metrics;
mod normalise;
mod pack;
mod parked;
mod place;
mod queue;
mod recent;
pub mod repair;
mod report;
mod search;
mod sms;
mod stored;
mod token;
mod trace;
mod unsupported;
mod watch;
mod whatsapp;
mod words;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context as _;
use axum::Router;
use casement_event_log::Log;
use casement_event_log::customers::Tokens;
use casement_event_log::directory::Directory;
use casement_proto::media::v1::media_service_server::MediaServiceServer;
use casement_proto::repair::v1::repair_service_server::RepairServiceServer;
use casement_secrets::Secrets;
use casement_shell::SharedClock;
use casement_shell::grpc::{REQUEST_BYTES_MAX, RESPONSE_BYTES_MAX};
use casement_shell::server::Server;
use casement_shell::tls::Tls;
use casement_sms::vonage;
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub use config::{
    App, Config, DEFAULT_NAME, Limits, Proxy, Qualifying, Twilio, TwilioAccount, cite,
};
pub use http::BODY_BYTES_MAX;
pub use media::{MediaApi, MediaConfig};
pub use sms::config::{
    GenericSms, HmacAlgorithm, InboundPointers, SignatureEncoding, StatusPointers, StatusWords,
    Vonage, VonageAccount,
};
pub use words::{BrandKeywords, Stops, WhatsappKeywords, Words};

use config::Keys;
use http::{Door, House, TWILIO, WHATSAPP};
use pack::Packer;
use place::Desk;
use repair::{Repair, RepairApi};

/// The role, as it stands in `ce-source`.
const SOURCE: &str = "casement/ingress";

/// The role, bound to its address and not yet running.
#[derive(Debug)]
pub struct Role {
    listener: TcpListener,
    address: SocketAddr,
    router: Router,
    tls: Option<Arc<Tls>>,
    limits: casement_shell::server::Limits,
    writers: Vec<JoinHandle<()>>,
    desk: Arc<Desk>,
    media: media::Media,
    posts: watch::Posts,
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
    metrics::start();
    let (keys, trust) = (config.keys()?, config.trust()?);
    let readers = config.sms_readers()?;
    if keys.apps.is_empty() {
        tracing::warn!("no application is configured: every webhook of Meta's is refused");
    }
    let tls = config.tls.clone().map(Tls::load).transpose();
    let tls = tls.context("ingress.tls")?.map(Arc::new);
    let limits = config.limits;
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
    let mut writers = vec![whatsapp_writer];
    let mut sms = HashMap::new();
    for gateway in sms_gateways(&keys) {
        let (packer, writer) = Packer::start(log.clone(), gateway, clock.clone());
        sms.insert(gateway.to_owned(), packer);
        writers.push(writer);
    }
    let house = House {
        trust,
        limits,
        clock: clock.clone(),
    };
    let door = Door::new(keys, base_url, whatsapp, sms, house);
    let posts = door.posts.clone();
    let media = media::start(config.media, &log, &directory, &clock)?;
    let desk = Desk {
        log,
        directory,
        tokens,
        clock,
        policy: config.qualifying.into(),
        future_tolerance: config.future_tolerance,
        queues: queue::Queues::new(),
        horizon: search::Horizon::default(),
        recent: recent::Recent::default(),
        reports: recent::Recent::default(),
        report_turns: queue::Queues::new(),
        heads: heads::Heads::default(),
        replay: Arc::new(Notify::new()),
        tally: place::Tally::default(),
        sms: readers,
    };
    Ok(Role {
        listener,
        address,
        router: http::router(Arc::new(door)),
        tls,
        limits: limits.server(),
        writers,
        desk: Arc::new(desk),
        media,
        posts,
    })
}

/// Takes no webhooks: answers 503 to whoever posts until the stop, for a process that cannot begin
/// yet. What is not answered 200 is posted again.
///
/// # Errors
/// An address that is taken, or certificates that cannot be used.
pub async fn turn_away(config: &Config, stopping: CancellationToken) -> anyhow::Result<()> {
    let tls = config.tls.clone().map(Tls::load).transpose();
    let tls = tls.context("ingress.tls")?.map(Arc::new);
    let listen = config.listen;
    let listener = TcpListener::bind(listen)
        .await
        .with_context(|| format!("cannot turn webhooks away at {listen}"))?;
    let server = Server {
        listener,
        router: http::closed(),
        tls,
        limits: config.limits.server(),
    };
    server.run(stopping).await;
    Ok(())
}

/// Returns the names of the SMS gateways that may post. Those that configuration names live as
/// long as the process.
fn sms_gateways(keys: &Keys) -> Vec<&'static str> {
    let named = keys.sms.generic.keys();
    let mut gateways: Vec<&'static str> = named.map(|name| &*name.clone().leak()).collect();
    gateways.extend((!keys.twilio.is_empty()).then_some(TWILIO));
    gateways.extend((!keys.sms.vonage.is_empty()).then_some(vonage::NAME));
    gateways
}

impl Role {
    /// Lets accounts name secrets that are stored. To be told before it runs.
    #[must_use]
    pub fn with_secrets(mut self, secrets: Secrets) -> Self {
        self.media.know(secrets);
        self
    }

    /// Returns the address that webhooks are taken at.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns the webhooks' routes, to be served elsewhere, too. Clones keep the role from
    /// ending: drop them before it is to stop.
    pub fn router(&self) -> Router {
        self.router.clone()
    }

    /// Returns the service of customers' files, to be put behind authentication.
    pub fn service(&self) -> MediaServiceServer<MediaApi> {
        self.media.service()
    }

    /// Returns the service of dead letters and parked items; likewise.
    pub fn repairs(&self) -> RepairServiceServer<RepairApi> {
        let repair = Arc::new(Repair::at(Arc::clone(&self.desk)));
        RepairServiceServer::new(RepairApi { repair })
            .max_decoding_message_size(REQUEST_BYTES_MAX)
            .max_encoding_message_size(RESPONSE_BYTES_MAX)
    }

    /// Takes webhooks and turns them into facts until the stop; then answers what is being
    /// asked, writes what waits, and finishes the packs in hand.
    pub async fn run(self, stopping: CancellationToken) -> anyhow::Result<()> {
        let Self {
            listener,
            router,
            tls,
            limits,
            writers,
            desk,
            media,
            posts,
            ..
        } = self;
        let server = Server {
            listener,
            router,
            tls,
            limits,
        };
        let serving = async {
            server.run(stopping.clone()).await;
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
        let heeding = async {
            desk.log.heed_tombstones(stopping.clone()).await;
            anyhow::Ok(())
        };
        let replaying = async {
            tokio::spawn(parked::replay(Arc::clone(&desk), stopping.clone()))
                .await
                .context("replay parked items")
        };
        let watching = async {
            tokio::spawn(watch::run(Arc::clone(&desk), posts, stopping.clone()))
                .await
                .context("watch who posts")
        };
        let repair = Repair::at(Arc::clone(&desk));
        let granting = async {
            repair.grant_wishes(stopping.clone()).await;
            Ok(())
        };
        let fetching = async { media.run(stopping.clone()).await.context("fetch media") };
        tokio::try_join!(
            serving,
            normalising,
            heeding,
            replaying,
            granting,
            fetching,
            watching
        )?;
        Ok(())
    }
}
