//! The platform's management side, as the role calls it: with a number's own token, and within
//! the platform's allowance of such calls.
//!
//! It judges no answer and repeats no call.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use anyhow::Context as _;
use casement_domain::management::{Allowance, CALLS_HOURLY, CALLS_HOURLY_REGISTERED};
use casement_event::v1;
use casement_secrets::{Missing, Secrets};
use casement_shell::http::{self, ClientOptions};
use casement_whatsapp::manage::{CallError, Manager, Number};
use jiff::Timestamp;
use secrecy::SecretString;

use crate::config::Graph;

/// Why the platform was not asked, or gave nothing.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PlatformError {
    /// The record names no token, or one that this role cannot have.
    #[error("number's token cannot be had")]
    Token(#[from] Missing),
    /// As many calls were made as the platform takes in an hour.
    #[error("no management call is left before {until}")]
    Spent {
        /// When there is one.
        until: Timestamp,
    },
    /// The call failed, or was refused.
    #[error("management call failed")]
    Call(#[from] CallError),
}

/// The platform, within its allowance.
#[derive(Debug)]
pub(crate) struct Platform {
    manager: Manager,
    secrets: Secrets,
    /// By app and WABA, which is how the platform counts.
    allowances: Mutex<HashMap<(String, String), Allowance>>,
}

/// One call that may be made now, with the number's token.
pub(crate) struct Leave {
    token: SecretString,
    phone_number_id: String,
}

impl Leave {
    /// Returns the number's token, for calls about its account.
    pub(crate) fn token(&self) -> &SecretString {
        &self.token
    }
}

impl Platform {
    pub(crate) fn new(config: &Graph, secrets: Secrets) -> anyhow::Result<Self> {
        let http = http::client(&ClientOptions::default()).context("build the HTTP client")?;
        let manager = Manager::new(http, &config.url, &config.version)
            .context("accounts.graph is not usable")?;
        Ok(Self {
            manager,
            secrets,
            allowances: Mutex::default(),
        })
    }

    /// Returns what calls for numbers that are not on record yet, each with a token of its own.
    pub(crate) fn manager(&self) -> &Manager {
        &self.manager
    }

    /// Takes one call of a number's account from the allowance. `is_registered` says whether the
    /// account has a number that is on the platform.
    pub(crate) fn leave(
        &self,
        account: &v1::Number,
        is_registered: bool,
        now: Timestamp,
    ) -> Result<Leave, PlatformError> {
        let token = self.secrets.resolve(account.token.as_ref())?;
        let hourly = if is_registered {
            CALLS_HOURLY_REGISTERED
        } else {
            CALLS_HOURLY
        };
        let key = (account.app.clone(), account.waba_id.clone());
        let mut allowances = self
            .allowances
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let allowance = allowances.entry(key).or_default();
        let taken = allowance.take(hourly, now);
        taken.map_err(|until| PlatformError::Spent { until })?;
        Ok(Leave {
            token,
            phone_number_id: account.phone_number_id.clone(),
        })
    }

    /// Reads a number.
    pub(crate) async fn number(&self, leave: &Leave) -> Result<Number, PlatformError> {
        let asked = self.manager.number(&leave.token, &leave.phone_number_id);
        Ok(asked.await?)
    }

    /// Reads which numbers a business account has.
    pub(crate) async fn numbers(
        &self,
        leave: &Leave,
        waba_id: &str,
    ) -> Result<Vec<Number>, PlatformError> {
        Ok(self.manager.numbers(&leave.token, waba_id).await?)
    }

    /// Takes a number off the platform.
    pub(crate) async fn deregister(&self, leave: &Leave) -> Result<(), PlatformError> {
        let asked = self
            .manager
            .deregister(&leave.token, &leave.phone_number_id);
        Ok(asked.await?)
    }

    /// Puts a number onto the platform.
    pub(crate) async fn register(
        &self,
        leave: &Leave,
        pin: &SecretString,
    ) -> Result<(), PlatformError> {
        let asked = self
            .manager
            .register(&leave.token, &leave.phone_number_id, pin, None);
        Ok(asked.await?)
    }
}
