//! Look-alikes of Meta and of SMS gateways, with their rules, faults and virtual customers.
//!
//! The simulator answers like Meta's Graph API, like Twilio, like Vonage and like a gateway of no
//! name, sends signed webhooks and callbacks, and **enforces the platforms' rules from its own books**: the 24-hour window by its
//! own clock, templates, rates, who has WhatsApp. It shares no code with the rest of the house on
//! purpose: a second model that agrees is evidence, a shared one is not. It misbehaves on demand
//! ([`Fault`]) and is driven in process ([`Handle`]), over HTTP (`/_sim`) or by a [`Script`].
//!
//! It is not a stand-in for the platforms' undocumented behaviour: where their pages are silent
//! there is a switch in [`Config`], or the thing is absent (groups; messaging limits per portfolio
//! are told and not kept).

mod acts;
mod ads;
mod assets;
mod books;
mod codes;
mod config;
mod control;
mod error;
mod faults;
mod generic;
mod graph;
mod graph_body;
mod graph_manage;
mod handle;
mod jwt;
mod media;
mod outbox;
mod payload;
mod platform;
mod records;
mod reports;
mod ring;
mod rules;
mod script;
mod serving;
mod shared;
mod signature;
mod templates;
mod twilio;
mod uploads;
mod vonage;

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context as _;
use axum::Router;
use axum::extract::DefaultBodyLimit;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

pub use crate::ads::{Device, FREE_ENTRY_POINT};
pub use crate::assets::{AppConfig, TEST_RECIPIENTS_MAX, TokenConfig};
pub use crate::books::{CALLS_KEPT_MAX, CUSTOMERS_MAX, SENT_KEPT_MAX};
pub use crate::config::{
    AutoStatus, AutoStatusStep, Clock, Config, Limits, NumberConfig, PairLimit, RefusalStyle,
    TemplateCategory, TemplateConfig, TemplateStatus, TwilioConfig, WINDOW, WebhookRetry,
};
pub use crate::error::Error;
pub use crate::faults::{ActiveFault, Fault, FaultId, FaultSpec, Reordering};
pub use crate::generic::{GENERIC_PATH, GenericConfig};
pub use crate::handle::Handle;
pub use crate::media::{
    LINK_LIFE, MEDIA_BYTES_MAX, MEDIA_KEPT_MAX, MEDIA_LIFE, MediaSpec, SentMedia,
};
pub use crate::outbox::{
    ATTEMPTS_KEPT_MAX, BATCH_UPDATES_MAX, PENDING_WEBHOOKS_MAX, WEBHOOKS_KEPT_MAX,
};
pub use crate::platform::{
    AccountSpec, BanState, BusinessSpec, CODE_LIFE, NumberSpec, Quality, REGISTER_WITHIN,
    REGISTRATION_SPAN, REGISTRATIONS_MAX, Restriction, Review, SIGN_UP_CODE_LIFE, SignUp,
    SignUpSpec, Upset, UpsetKind, Verification,
};
pub use crate::records::{
    ApiCall, Attempt, Channel, Customer, CustomerId, CustomerSpec, InboundContent, InboundSpec,
    InboundVia, MessageKind, Outcome, ReadMark, Report, SentMessage, Status, WebhookRecord,
    WebhookState,
};
pub use crate::script::{Played, Reply, SCRIPT_STEPS_MAX, Script, ScriptError, Step};
use crate::shared::Shared;
pub use crate::templates::TemplateReview;
pub use crate::uploads::UPLOAD_LIFE;
pub use crate::vonage::{VONAGE_PRIVATE_KEY, VonageConfig};

/// Largest body taken over HTTP; as large as a webhook may be.
const BODY_BYTES_MAX: usize = 3 * 1024 * 1024;
/// How long open connections get to end when the simulator stops.
const STOP_WITHIN: Duration = Duration::from_secs(2);

/// Starts simulators.
#[derive(Clone, Copy, Debug)]
pub struct Simulator;

impl Simulator {
    /// Binds the listener and serves until [`Running::stop`] or the end of the runtime.
    ///
    /// Fails if the address is taken or no HTTP client can be built.
    pub async fn start(config: Config) -> anyhow::Result<Running> {
        let listen = config.listen;
        let listener = TcpListener::bind(listen)
            .await
            .with_context(|| format!("failed to listen on {listen}"))?;
        let addr = listener
            .local_addr()
            .context("failed to read the listener's address")?;
        let shared = Shared::new(config).context("failed to build the webhook client")?;
        if !addr.ip().is_unspecified() {
            // It was not set before: the simulator is new.
            let _ = shared.base_url.set(format!("http://{addr}"));
        }
        let handle = Handle::new(shared.clone());
        let routes = Router::new()
            .merge(graph::routes())
            .merge(platform::routes::routes())
            .merge(media::routes())
            .merge(uploads::routes())
            .merge(twilio::routes())
            .merge(vonage::routes())
            .merge(generic::routes())
            .merge(control::routes())
            .merge(templates::routes())
            .fallback(graph::fallback)
            .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
            .with_state(handle.clone());
        let stopping = shared.cancel.clone();
        let server = tokio::spawn(async move {
            let serve =
                axum::serve(listener, routes).with_graceful_shutdown(stopping.cancelled_owned());
            if let Err(error) = serve.await {
                tracing::error!(%error, "simulator stopped serving");
            }
        });
        tracing::info!(server.address = %addr, "simulator listening");
        Ok(Running {
            addr,
            handle,
            server,
        })
    }
}

/// A simulator that serves. Dropping it leaves it running; [`Running::stop`] ends it.
pub struct Running {
    addr: SocketAddr,
    handle: Handle,
    server: JoinHandle<()>,
}

impl Running {
    /// Returns the address it listens on: the Graph API and Twilio's base address.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Returns `http://<address>`, without a slash at the end.
    pub fn base_url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// Returns what drives it.
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Stops serving and sending. What was not delivered is gone, books included.
    pub async fn stop(mut self) {
        let shared = self.handle.shared();
        shared.cancel.cancel();
        shared.tasks.close();
        let ended = async {
            shared.tasks.wait().await;
            (&mut self.server).await
        };
        if tokio::time::timeout(STOP_WITHIN, ended).await.is_err() {
            self.server.abort();
        }
    }
}
