//! What Meta's business side knows of a business: its app, its tokens, who gets its webhooks, and
//! whom its test numbers may write to.
//!
//! Part of the books. How it is asked for over HTTP is `graph_manage`.

use std::collections::{BTreeSet, HashMap, HashSet};

use jiff::Timestamp;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;

use crate::codes::Refusal;
use crate::rules::digits;

/// The scope that sending asks for.
pub(crate) const MESSAGING: &str = "whatsapp_business_messaging";
/// The scope that reading and changing accounts asks for.
pub(crate) const MANAGEMENT: &str = "whatsapp_business_management";
/// How many recipients a test number has at most (Meta: get started, test numbers).
pub const TEST_RECIPIENTS_MAX: usize = 5;

/// The Meta app whose secret signs the webhooks.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct AppConfig {
    /// Its id; goes before the secret in an app's own token.
    pub id: String,
    /// Its name.
    pub name: String,
}

impl Default for AppConfig {
    fn default() -> Self {
        Self {
            id: "620010020030040".to_owned(),
            name: "Simulated app".to_owned(),
        }
    }
}

/// What is special about an access token. The tokens of numbers need no entry: they are our app's,
/// may do everything, and last for ever.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenConfig {
    /// The token; which numbers it is good for is said by the numbers.
    pub token: SecretString,
    /// What it may do; sending and managing if left out.
    #[serde(default = "all_scopes")]
    pub scopes: Vec<String>,
    /// When it ends; never if left out.
    #[serde(default)]
    pub expires_at: Option<Timestamp>,
    /// Whether it was withdrawn.
    #[serde(default)]
    pub revoked: bool,
    /// The app it was made for; ours if left out.
    #[serde(default)]
    pub app_id: Option<String>,
}

impl TokenConfig {
    /// Returns a token that may do everything, for ever.
    pub fn new(token: impl Into<SecretString>) -> Self {
        Self {
            token: token.into(),
            scopes: all_scopes(),
            expires_at: None,
            revoked: false,
            app_id: None,
        }
    }

    /// Returns why it is not valid now, with Meta's subcode (Meta: handling errors).
    pub(crate) fn invalid(&self, now: Timestamp) -> Option<Refusal> {
        if self.revoked {
            let told = "the user or the app has withdrawn the access token";
            return Some(Refusal::new(190, told).subcode(467));
        }
        self.expires_at.filter(|at| *at <= now).map(|at| {
            let told = format!("the session of the access token has expired on {at}");
            Refusal::new(190, told).subcode(463)
        })
    }
}

fn all_scopes() -> Vec<String> {
    vec![MESSAGING.to_owned(), MANAGEMENT.to_owned()]
}

/// The business's side of the books.
pub(crate) struct Assets {
    pub(crate) app: AppConfig,
    pub(crate) app_secret: SecretString,
    pub(crate) portfolio_id: String,
    tokens: HashMap<String, TokenConfig>,
    /// Accounts whose webhooks the app does not get.
    unsubscribed: HashSet<String>,
    test_numbers: HashMap<String, BTreeSet<String>>,
}

impl Assets {
    pub(crate) fn new(app: AppConfig, app_secret: SecretString, portfolio_id: String) -> Self {
        Self {
            app,
            app_secret,
            portfolio_id,
            tokens: HashMap::new(),
            unsubscribed: HashSet::new(),
            test_numbers: HashMap::new(),
        }
    }

    pub(crate) fn put_token(&mut self, token: TokenConfig) {
        let key = token.token.expose_secret().to_owned();
        self.tokens.insert(key, token);
    }

    pub(crate) fn token(&self, token: &str) -> Option<&TokenConfig> {
        self.tokens.get(token)
    }

    /// Checks that a token is valid and has a scope; one without an entry has all.
    pub(crate) fn check(&self, token: &str, scope: &str, now: Timestamp) -> Result<(), Refusal> {
        let Some(entry) = self.token(token) else {
            return Ok(());
        };
        if let Some(refusal) = entry.invalid(now) {
            return Err(refusal);
        }
        if entry.scopes.iter().any(|known| known == scope) {
            return Ok(());
        }
        let code = if scope == MESSAGING { 10 } else { 200 };
        Err(Refusal::new(code, format!("{scope} is needed")))
    }

    pub(crate) fn subscribe(&mut self, waba_id: &str) {
        self.unsubscribed.remove(waba_id);
    }

    pub(crate) fn unsubscribe(&mut self, waba_id: &str) {
        self.unsubscribed.insert(waba_id.to_owned());
    }

    pub(crate) fn is_subscribed(&self, waba_id: &str) -> bool {
        !self.unsubscribed.contains(waba_id)
    }

    /// Makes a number a test number with these recipients; the ones too many are left out.
    pub(crate) fn put_test_number(&mut self, phone_number_id: &str, recipients: &[String]) {
        let recipients = recipients.iter().map(|phone| digits(phone));
        let recipients = recipients.take(TEST_RECIPIENTS_MAX).collect();
        self.test_numbers
            .insert(phone_number_id.to_owned(), recipients);
    }

    pub(crate) fn is_test_number(&self, phone_number_id: &str) -> bool {
        self.test_numbers.contains_key(phone_number_id)
    }

    /// Checks that a number may write to a phone: a test number only to its own recipients.
    pub(crate) fn check_recipient(
        &self,
        phone_number_id: &str,
        phone: Option<&str>,
    ) -> Result<(), Refusal> {
        match self.test_numbers.get(phone_number_id) {
            Some(recipients) if !phone.is_some_and(|phone| recipients.contains(phone)) => {
                Err(Refusal::new(
                    131_030,
                    "the recipient's phone number is not in the allowed list",
                ))
            }
            _ => Ok(()),
        }
    }
}
