//! A broker with accounts on it, a simulated platform, and dispatchers that can be killed.
//!
//! Nothing else of the house runs: what a customer did or a provider reported is appended by
//! hand (`facts`), so that each test says what the dispatcher knew.

mod ask;
mod dispatcher;
mod facts;

use std::sync::Arc;

use casement_dispatcher::{Config, RequireOptIn};
use casement_event_log::Log;
use casement_event_log::customers::Tokens;
use casement_shell::{SharedClock, SystemClock};
use casement_simulator::{
    AutoStatus, Config as Platform, Handle, NumberConfig, Outcome, SentMessage, Simulator,
    TemplateCategory, TemplateConfig, TemplateStatus,
};
use casement_testkit::{NatsServer, eventually};
use jiff::{SignedDuration, Timestamp};
use tempfile::TempDir;

pub(crate) use ask::{digits, in_template, sms, text};
pub(crate) use dispatcher::{Dispatcher, with_token};

/// Has everything: WhatsApp, an SMS sender, templates.
pub(crate) const NUMBER: &str = "+15550001111";
/// Has no SMS sender.
pub(crate) const SILENT_NUMBER: &str = "+15550001112";
/// Belongs to another brand.
pub(crate) const OTHER_NUMBER: &str = "+15550001113";
pub(crate) const SMS_SENDER: &str = "+15550009999";
pub(crate) const ANA: &str = "+15550002222";
/// Has hidden her phone.
pub(crate) const BEA: &str = "US.13491208655302741918";

pub(crate) const WABA: &str = "102290129340398";
/// Approved, here and there; takes one parameter.
pub(crate) const TEMPLATE: &str = "order_update";
/// Not approved any more, and we know it.
pub(crate) const PAUSED_TEMPLATE: &str = "order_paused";
/// The platform has paused it, and we do not know it yet.
pub(crate) const NEWLY_PAUSED_TEMPLATE: &str = "order_newly_paused";
/// The platform does not know it.
pub(crate) const FOREIGN_TEMPLATE: &str = "order_foreign";

pub(crate) const ACCESS_TOKEN: &str = "token-of-the-number";

pub(crate) struct Stage {
    pub(crate) nats: NatsServer,
    pub(crate) log: Log,
    pub(crate) platform: Handle,
    pub(crate) platform_url: String,
    pub(crate) clock: SharedClock,
    pub(crate) tokens: Tokens,
    pub(crate) folder: TempDir,
}

impl Stage {
    pub(crate) async fn set() -> Self {
        Self::set_with(|_| {}).await
    }

    /// With a platform that differs.
    pub(crate) async fn set_with(change: impl FnOnce(&mut Platform)) -> Self {
        let clock = SystemClock::shared();
        let nats = NatsServer::start().await;
        let log = connect(&nats).await;
        let folder = TempDir::new().expect("a folder");

        let ticking = Arc::clone(&clock);
        let mut platform = Platform::new(Arc::new(move || ticking.now()));
        platform.numbers = [NUMBER, SILENT_NUMBER, OTHER_NUMBER]
            .map(|number| NumberConfig {
                phone_number_id: phone_number_id(number),
                display_phone_number: number.to_owned(),
                waba_id: WABA.to_owned(),
                token: ACCESS_TOKEN.into(),
            })
            .to_vec();
        platform.templates = vec![
            template(TEMPLATE, TemplateStatus::Approved),
            template(PAUSED_TEMPLATE, TemplateStatus::Paused),
            template(NEWLY_PAUSED_TEMPLATE, TemplateStatus::Paused),
        ];
        platform.twilio.senders = vec![SMS_SENDER.to_owned()];
        platform.auto_status = AutoStatus::none();
        change(&mut platform);
        let auth_token = secrecy::ExposeSecret::expose_secret(&platform.twilio.auth_token);
        std::fs::write(folder.path().join("twilio"), auth_token).expect("a file");
        std::fs::write(folder.path().join("meta"), ACCESS_TOKEN).expect("a file");
        let platform = Simulator::start(platform).await.expect("a simulator");

        let stage = Self {
            nats,
            log,
            platform: platform.handle(),
            platform_url: platform.base_url(),
            clock,
            tokens: Tokens::new("key-of-the-test".to_owned().into()),
            folder,
        };
        for (number, brand) in [
            (NUMBER, "default"),
            (SILENT_NUMBER, "default"),
            (OTHER_NUMBER, "other"),
        ] {
            stage.record_number(stage.number(number, brand)).await;
        }
        for (name, is_approved) in [
            (TEMPLATE, true),
            (PAUSED_TEMPLATE, false),
            (NEWLY_PAUSED_TEMPLATE, true),
            (FOREIGN_TEMPLATE, true),
        ] {
            stage.record_template(name, is_approved).await;
        }
        stage
            .platform
            .customer(Some(ANA), None, "Ana")
            .expect("a customer");
        stage
            .platform
            .customer(None, Some(BEA), "Bea")
            .expect("a customer");
        stage
    }

    /// What a dispatcher is told, with times that tests can wait for.
    pub(crate) fn config(&self) -> Config {
        let mut config = Config {
            call_timeout: SignedDuration::from_secs(10),
            reconcile_after: SignedDuration::from_mins(5),
            retry_schedule: [50, 100, 200].map(SignedDuration::from_millis).to_vec(),
            lease: SignedDuration::ZERO,
            // What it does is shown where consent is.
            require_opt_in: RequireOptIn::nowhere(),
            ..Config::default()
        };
        config.providers.graph_url.clone_from(&self.platform_url);
        config.providers.twilio_url.clone_from(&self.platform_url);
        config
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    pub(crate) fn ago(&self, by: SignedDuration) -> Timestamp {
        self.now() - by
    }

    /// Every call that wanted to send, by the platform's own books.
    pub(crate) fn calls(&self) -> Vec<SentMessage> {
        self.platform.sent()
    }

    /// What the platform took on, in its order.
    pub(crate) fn taken(&self) -> Vec<String> {
        let calls = self.calls().into_iter();
        calls
            .filter(|call| call.outcome == Outcome::Accepted)
            .map(|call| call.text)
            .collect()
    }

    /// Waits until so many calls were made, and returns them all.
    pub(crate) async fn until_called(&self, count: usize) -> Vec<SentMessage> {
        eventually(&format!("{count} calls"), async || {
            let calls = self.calls();
            if calls.len() >= count {
                Ok(calls)
            } else {
                Err(format!("{} so far", calls.len()))
            }
        })
        .await
    }

    /// The callback data of every call, each of which may be there once.
    pub(crate) fn assert_no_attempt_was_called_twice(&self) {
        let mut named: Vec<String> = self
            .calls()
            .into_iter()
            .map(|call| call.callback_data.expect("every call names its attempt"))
            .collect();
        let count = named.len();
        named.sort();
        named.dedup();
        assert_eq!(named.len(), count, "an attempt was called twice");
    }
}

/// Meta's id of a number; any id will do.
pub(crate) fn phone_number_id(number: &str) -> String {
    format!("1065{}", &number[8..])
}

pub(crate) async fn connect(nats: &NatsServer) -> Log {
    let config = casement_event_log::Config {
        servers: nats.url(),
        accept_unsafe_broker: true,
        ..casement_event_log::Config::default()
    };
    Log::connect(&config).await.expect("a broker that is ready")
}

fn template(name: &str, status: TemplateStatus) -> TemplateConfig {
    TemplateConfig {
        waba_id: WABA.to_owned(),
        name: name.to_owned(),
        language: "en".to_owned(),
        category: TemplateCategory::Utility,
        body: "Order {{1}} is ready".to_owned(),
        parameter_count: 1,
        status,
    }
}
