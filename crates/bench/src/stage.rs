//! A broker and a log for one benchmark, and events as roles would write them.

use casement_domain::id::{BusinessNumber, CustomerId};
use casement_event::subject::{self, Family};
use casement_event::{Extension, Record, Uuid, convert, id, v1};
use casement_event_log::{Config, Expect, Log, Sizes};
use casement_testkit::NatsServer;
use jiff::{SignedDuration, Timestamp};

use crate::posts::NUMBER;

/// A server as production is asked to have it.
pub(crate) async fn server(syncs: bool) -> NatsServer {
    NatsServer::builder()
        .monitoring(true)
        .sync_always(syncs)
        .start()
        .await
}

/// The server's monitoring address, without the scheme.
pub(crate) fn monitoring(server: &NatsServer) -> String {
    server
        .monitoring_url()
        .trim_start_matches("http://")
        .to_owned()
}

/// Room for a run: posts of 45 KB, as fast as they come, fill the default within seconds, and then
/// the stream refuses.
pub(crate) fn sizes() -> Sizes {
    Sizes {
        raw_mib: 32 * 1024,
        events_mib: 16 * 1024,
        ..Sizes::default()
    }
}

pub(crate) async fn log(server: &NatsServer) -> anyhow::Result<Log> {
    let config = Config {
        servers: server.url(),
        monitoring: Some(monitoring(server)),
        accept_unsafe_broker: true,
        sizes: sizes(),
        ..Config::default()
    };
    Ok(Log::connect(&config).await?)
}

/// Records the business number that posts are for.
pub(crate) async fn record_number(log: &Log) -> anyhow::Result<()> {
    let (number, id) = NUMBER;
    let number = v1::Number {
        number: number.to_owned(),
        waba_id: "w1".to_owned(),
        phone_number_id: id.to_owned(),
        ..v1::Number::default()
    };
    record(log, number).await
}

/// Records a business number, of the default brand unless it names one.
pub(crate) async fn record(log: &Log, number: v1::Number) -> anyhow::Result<()> {
    let digits = number.number.clone();
    let event = v1::NumberRecorded {
        number: Some(v1::Number {
            brand_id: match number.brand_id.as_str() {
                "" => "default".to_owned(),
                brand => brand.to_owned(),
            },
            portfolio_id: "p1".to_owned(),
            ..number
        }),
        time: Some(convert::timestamp(Timestamp::UNIX_EPOCH)),
        caller: "bench".to_owned(),
    };
    let record = Record::new(
        subject::account("number", &digits),
        Uuid::new_v4(),
        "casement/bench",
        Timestamp::UNIX_EPOCH,
        event,
    );
    log.append(record, Expect::Anything).await?;
    Ok(())
}

/// The newest event of one customer's window, with a deadline.
pub(crate) struct Windows {
    number: BusinessNumber,
    start: Timestamp,
}

impl Windows {
    pub(crate) fn new(start: Timestamp) -> anyhow::Result<Self> {
        let number = BusinessNumber::parse(NUMBER.0)?;
        Ok(Self { number, start })
    }

    pub(crate) fn record(&self, index: usize) -> anyhow::Result<Record> {
        let customer = CustomerId::parse(&format!("c{index:032x}"))?;
        let fact = id::inbound(&self.number, &format!("wamid.{index}"));
        let window_id = id::window(&self.number, &customer, id::fact(fact));
        let opened = self.start;
        // Spread over a day, as windows are.
        let spread = i64::try_from(index % 86_400)?;
        let expires = opened + SignedDuration::from_secs(86_400 + spread);
        let window = v1::PublishedWindow {
            window_id: window_id.to_string(),
            conversation: Some(v1::Conversation {
                number: self.number.digits().to_owned(),
                customer_id: customer.as_str().to_owned(),
                brand_id: "default".to_owned(),
                portfolio_id: "p1".to_owned(),
            }),
            state: v1::WindowState::Open.into(),
            open_time: Some(convert::timestamp(opened)),
            expire_time: Some(convert::timestamp(expires)),
            opening_fact_id: fact.to_string(),
            last_inbound_time: Some(convert::timestamp(opened)),
            last_inbound_fact_id: fact.to_string(),
            policy_version: 1,
            ..v1::PublishedWindow::default()
        };
        let event = v1::WindowOpened {
            window: Some(window),
            reason: v1::OpenReason::Customer.into(),
        };
        let subject = subject::conversation(Family::Window, &self.number, &customer);
        let event_id = id::window_event(window_id, "WindowOpened", None, expires, "");
        let record = Record::new(subject, event_id, "casement/bench", opened, event)
            .about(customer.as_str())
            .with(Extension::Number, self.number.digits())
            .with(Extension::Brand, "default")
            .with(Extension::Customer, customer.as_str())
            .with(Extension::WindowId, window_id.to_string())
            .with(Extension::State, "OPEN")
            .with(Extension::ExpireTime, expires.to_string())
            .with_deadline(Some(expires));
        Ok(record)
    }
}
