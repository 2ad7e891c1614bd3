//! The simulated platform as the story needs it: in this process, or elsewhere over HTTP.
//!
//! What it answers is the simulator's; nothing is kept here.

use std::time::Duration;

use anyhow::{Context as _, bail};
use casement_shell::http::{ClientOptions, client};
use casement_simulator::{Customer, CustomerId, CustomerSpec, Handle, SentMessage};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

/// How long the simulator may take for an answer.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Where customers act and messages arrive.
pub(crate) enum Platform {
    /// In this process.
    Here(Handle),
    /// In another one: the address of a `casement simulate`, without a slash at its end.
    There(String),
}

#[derive(Deserialize)]
struct Put {
    customer: CustomerId,
}

#[derive(Deserialize)]
struct Customers {
    customers: Vec<Customer>,
}

#[derive(Deserialize)]
struct Sent {
    sent: Vec<SentMessage>,
}

impl Platform {
    pub(super) async fn put_customer(&self, spec: CustomerSpec) -> anyhow::Result<Customer> {
        let (id, all) = match self {
            Self::Here(handle) => (handle.put_customer(spec)?, handle.customers()),
            Self::There(url) => {
                let url = format!("{url}/_sim/customers");
                let body = serde_json::to_value(spec).context("a customer as JSON")?;
                let put: Put = asked(&url, Some(body)).await?;
                let found: Customers = asked(&url, None).await?;
                (put.customer, found.customers)
            }
        };
        let mut all = all.into_iter();
        all.find(|customer| customer.id == id)
            .context("a customer who was just added")
    }

    /// A customer writes to a number.
    pub(super) async fn says(
        &self,
        who: &CustomerId,
        phone_number_id: &str,
        text: &str,
    ) -> anyhow::Result<()> {
        match self {
            Self::Here(handle) => {
                handle.says(who, phone_number_id, text)?;
            }
            Self::There(url) => {
                let body =
                    json!({ "customer": who, "phone_number_id": phone_number_id, "text": text });
                let _: Value = asked(&format!("{url}/_sim/says"), Some(body)).await?;
            }
        }
        Ok(())
    }

    /// Every call that wanted to send, oldest first.
    pub(super) async fn sent(&self) -> anyhow::Result<Vec<SentMessage>> {
        match self {
            Self::Here(handle) => Ok(handle.sent()),
            Self::There(url) => {
                let sent: Sent = asked(&format!("{url}/_sim/sent"), None).await?;
                Ok(sent.sent)
            }
        }
    }
}

/// Posts if there is a body, else gets.
async fn asked<T: DeserializeOwned>(url: &str, body: Option<Value>) -> anyhow::Result<T> {
    let options = ClientOptions {
        timeout: TIMEOUT,
        ..ClientOptions::default()
    };
    let client = client(&options).context("no HTTP client")?;
    let request = match body {
        Some(body) => client.post(url).json(&body),
        None => client.get(url),
    };
    let answer = request
        .send()
        .await
        .with_context(|| format!("no simulator answers at {url}"))?;
    let status = answer.status();
    let text = answer
        .text()
        .await
        .with_context(|| format!("no whole answer from {url}"))?;
    if !status.is_success() {
        bail!("{url} answered {}: {text}", status.as_u16());
    }
    serde_json::from_str(&text).with_context(|| format!("{url} answered something else"))
}
