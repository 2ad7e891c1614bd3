//! Numbers: read, added, verified, registered and deregistered.
//!
//! Each call is one of Meta's steps; their order, their budget and what is done after a refusal
//! are the caller's. A PIN or a code travels as a secret and is in no error.

use secrecy::{ExposeSecret as _, SecretString};
use serde_json::json;

use super::client::{Call, CallError, Manager, unreadable};
use super::node::{self, Number};

/// What is read of a number.
const NUMBER_FIELDS: &str = "id,display_phone_number,verified_name,status,quality_rating,\
                             code_verification_status,name_status,platform_type,throughput,\
                             account_mode";
/// What else tells of its health; older versions of the Graph API do not know all of it.
const HEALTH_FIELDS: &str = "quality_score,new_display_name,new_name_status,\
                             is_official_business_account,is_on_biz_app,is_pin_enabled,\
                             whatsapp_business_manager_messaging_limit,health_status";

/// How a verification code travels to the number (Meta: request code).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CodeMethod {
    /// As an SMS.
    Sms,
    /// Read out in a call.
    Voice,
}

impl CodeMethod {
    /// Returns Meta's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sms => "SMS",
            Self::Voice => "VOICE",
        }
    }
}

/// A number to be added to a business account.
#[derive(Debug, Clone, Copy)]
pub struct NewNumber<'a> {
    /// The country's dialling code, digits.
    pub country_code: &'a str,
    /// The whole number as E.164, with or without plus.
    pub phone: &'a str,
    /// The display name that is to be reviewed. A number that migrates brings its own.
    pub verified_name: Option<&'a str>,
    /// Whether it comes from another business account, where it stays in use until it is
    /// registered here.
    pub migrate: bool,
}

impl Manager {
    /// Returns a business number with all that tells of its health, as far as the version of the
    /// Graph API has it.
    pub async fn number(
        &self,
        token: &SecretString,
        phone_number_id: &str,
    ) -> Result<Number, CallError> {
        let body = self
            .node(&[phone_number_id], (NUMBER_FIELDS, HEALTH_FIELDS), token)
            .await?;
        node::number(&body).ok_or_else(|| unreadable("a number without an id or a phone"))
    }

    /// Adds a number to a business account, or begins its migration there; returns the id it has
    /// in that account. After an answer that got lost, look among [`Manager::numbers`].
    pub async fn add_number(
        &self,
        token: &SecretString,
        waba_id: &str,
        number: &NewNumber<'_>,
    ) -> Result<String, CallError> {
        let path = [waba_id, "phone_numbers"];
        let mut body = json!({
            "cc": number.country_code,
            "phone_number": number.phone.trim_start_matches('+'),
        });
        if let Some(name) = number.verified_name {
            body["verified_name"] = json!(name);
        }
        if number.migrate {
            body["migrate_phone_number"] = json!(true);
        }
        let call = Call::post(&path, token);
        let body = self
            .call(Call {
                body: Some(body),
                ..call
            })
            .await?;
        node::id(&body).ok_or_else(|| unreadable("a new number without an id"))
    }

    /// Lets Meta send a verification code to the number. The language is a locale such as `en_US`.
    pub async fn request_code(
        &self,
        token: &SecretString,
        phone_number_id: &str,
        method: CodeMethod,
        language: &str,
    ) -> Result<(), CallError> {
        let path = [phone_number_id, "request_code"];
        let call = Call::post(&path, token);
        self.done(Call {
            body: Some(json!({"code_method": method.as_str(), "language": language})),
            ..call
        })
        .await
    }

    /// Proves to Meta that the number is the business's, with the code that it received.
    pub async fn verify_code(
        &self,
        token: &SecretString,
        phone_number_id: &str,
        code: &SecretString,
    ) -> Result<(), CallError> {
        let path = [phone_number_id, "verify_code"];
        let call = Call::post(&path, token);
        self.done(Call {
            body: Some(json!({"code": code.expose_secret()})),
            secrets: &[code],
            ..call
        })
        .await
    }

    /// Registers the number, so that it can send and receive. The PIN becomes its two-step PIN, or
    /// must be the one that it has. At most ten times a number in 72 hours: then it is locked as
    /// long ([`crate::errors::Refused::RegistrationLocked`]).
    ///
    /// `region` is where messages are stored, a country such as `DE`; `None` leaves it to Meta.
    pub async fn register(
        &self,
        token: &SecretString,
        phone_number_id: &str,
        pin: &SecretString,
        region: Option<&str>,
    ) -> Result<(), CallError> {
        let path = [phone_number_id, "register"];
        let mut body = json!({"messaging_product": "whatsapp", "pin": pin.expose_secret()});
        if let Some(region) = region {
            body["data_localization_region"] = json!(region);
        }
        let call = Call::post(&path, token);
        self.done(Call {
            body: Some(body),
            secrets: &[pin],
            ..call
        })
        .await
    }

    /// Takes the number off the API. At most ten times a number in 72 hours; refused for a number
    /// that is shared with the phone app.
    pub async fn deregister(
        &self,
        token: &SecretString,
        phone_number_id: &str,
    ) -> Result<(), CallError> {
        let path = [phone_number_id, "deregister"];
        self.done(Call::post(&path, token)).await
    }

    /// Sets or changes the number's two-step PIN. It cannot be switched off here: only the owner
    /// can, in WhatsApp Manager (Meta: two-step verification).
    pub async fn set_pin(
        &self,
        token: &SecretString,
        phone_number_id: &str,
        pin: &SecretString,
    ) -> Result<(), CallError> {
        let path = [phone_number_id];
        let call = Call::post(&path, token);
        self.done(Call {
            body: Some(json!({"pin": pin.expose_secret()})),
            secrets: &[pin],
            ..call
        })
        .await
    }

    /// Asks for another display name. It is reviewed, and shown once the number is registered
    /// again after its approval.
    pub async fn request_name(
        &self,
        token: &SecretString,
        phone_number_id: &str,
        name: &str,
    ) -> Result<(), CallError> {
        let path = [phone_number_id];
        let call = Call::post(&path, token);
        self.done(Call {
            body: Some(json!({"new_display_name": name})),
            ..call
        })
        .await
    }
}
