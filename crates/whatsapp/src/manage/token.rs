//! Tokens: whose they are, what they may do, and the code of a sign-up exchanged for one.

use secrecy::{ExposeSecret as _, SecretString};

use super::client::{Call, CallError, Manager, unreadable};
use super::node::{self, App, BusinessToken, TokenInfo};

impl Manager {
    /// Returns the app that a token was made for.
    pub async fn app(&self, token: &SecretString) -> Result<App, CallError> {
        let body = self.get(&["app"], &[("fields", "id,name")], token).await?;
        node::app(&body).ok_or_else(|| unreadable("an app without an id"))
    }

    /// Returns what Meta knows of a token, asked for by its app (Meta: debug token). An invalid
    /// token is an answer; [`CallError::Refused`] is about the app's id and secret, or says (100)
    /// that the token is another app's.
    pub async fn inspect_token(
        &self,
        token: &SecretString,
        app_id: &str,
        app_secret: &SecretString,
    ) -> Result<TokenInfo, CallError> {
        let asking = SecretString::from(format!("{app_id}|{}", app_secret.expose_secret()));
        let call = Call::get(&["debug_token"], &asking);
        let body = self
            .call(Call {
                query: &[("input_token", token.expose_secret())],
                secrets: &[token, app_secret],
                ..call
            })
            .await?;
        node::token(&body).ok_or_else(|| unreadable("no data about the token"))
    }

    /// Exchanges the code that a sign-up gave for the business's token (Meta: Embedded Signup,
    /// onboarding as a tech provider). A code lives 30 seconds and is good for one exchange: after
    /// an answer that got lost ([`CallError::is_ambiguous`]) the business signs up again.
    pub async fn exchange_code(
        &self,
        app_id: &str,
        app_secret: &SecretString,
        code: &SecretString,
    ) -> Result<BusinessToken, CallError> {
        let query = [
            ("client_id", app_id),
            ("client_secret", app_secret.expose_secret()),
            ("code", code.expose_secret()),
        ];
        let call = Call::get(&["oauth", "access_token"], app_secret);
        let body = self
            .call(Call {
                query: &query,
                token: None,
                secrets: &[app_secret, code],
                ..call
            })
            .await?;
        node::business_token(&body).ok_or_else(|| unreadable("an exchange without a token"))
    }
}
