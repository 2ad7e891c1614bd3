//! Business accounts, the businesses that own them, and which apps get their webhooks.

use reqwest::Method;
use secrecy::SecretString;

use super::client::{Call, CallError, Manager, data, unreadable};
use super::node::{self, Account, App, Business, Number};

/// What is read of a business account.
const ACCOUNT_FIELDS: &str = "id,name,owner_business_info,on_behalf_of_business_info";
/// What else tells of its state; older versions of the Graph API do not know all of it.
const STATE_FIELDS: &str = "account_review_status,business_verification_status,ownership_type,\
                            country,timezone_id,primary_funding_id,health_status";
/// What is read of a business.
const BUSINESS_FIELDS: &str = "id,name,verification_status";

impl Manager {
    /// Returns a business account and the portfolio that owns it.
    pub async fn account(&self, token: &SecretString, waba_id: &str) -> Result<Account, CallError> {
        let body = self
            .node(&[waba_id], (ACCOUNT_FIELDS, STATE_FIELDS), token)
            .await?;
        node::account(&body).ok_or_else(|| unreadable("an account without an id"))
    }

    /// Returns a business (a portfolio) and whether it is verified.
    pub async fn business(
        &self,
        token: &SecretString,
        business_id: &str,
    ) -> Result<Business, CallError> {
        let query = [("fields", BUSINESS_FIELDS)];
        let body = self.get(&[business_id], &query, token).await?;
        node::business(&body).ok_or_else(|| unreadable("a business without an id"))
    }

    /// Returns every number of a business account.
    pub async fn numbers(
        &self,
        token: &SecretString,
        waba_id: &str,
    ) -> Result<Vec<Number>, CallError> {
        let fields = "id,display_phone_number,verified_name,status,code_verification_status,\
                      quality_rating,account_mode";
        let path = [waba_id, "phone_numbers"];
        let items = self.list(&path, fields, token).await?;
        Ok(items.iter().filter_map(node::number).collect())
    }

    /// Subscribes the token's app to a business account's webhooks. Doing so again changes
    /// nothing.
    pub async fn subscribe(&self, token: &SecretString, waba_id: &str) -> Result<(), CallError> {
        let path = [waba_id, "subscribed_apps"];
        self.done(Call::post(&path, token)).await
    }

    /// Takes the token's app off a business account's webhooks. Doing so again changes nothing.
    pub async fn unsubscribe(&self, token: &SecretString, waba_id: &str) -> Result<(), CallError> {
        let path = [waba_id, "subscribed_apps"];
        let call = Call::get(&path, token);
        self.done(Call {
            method: Method::DELETE,
            ..call
        })
        .await
    }

    /// Returns the apps that get a business account's webhooks.
    pub async fn subscribed_apps(
        &self,
        token: &SecretString,
        waba_id: &str,
    ) -> Result<Vec<App>, CallError> {
        let path = [waba_id, "subscribed_apps"];
        let body = self.get(&path, &[], token).await?;
        let items = data(&body)?;
        let apps = items
            .iter()
            .filter_map(|item| node::app(item.get("whatsapp_business_api_data").unwrap_or(item)));
        Ok(apps.collect())
    }
}
