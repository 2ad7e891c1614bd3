//! What an onboarding needs to call the platform with: the token that a code is exchanged for, and the
//! number's PIN. Both are stored sealed before anything is answered.

use casement_event::v1;
use casement_secrets::{Missing, Mode, SecretName, new_pin};
use casement_shell::auth::Caller;
use casement_shell::grpc::{bad_field, refuse};
use casement_whatsapp::errors::Refused as Meant;
use casement_whatsapp::manage::CallError;
use secrecy::SecretString;
use tonic::{Code, Status};

use super::Saga;
use crate::secrets::not_stored;

impl Saga {
    /// Exchanges a code at once, and stores the token that comes of it.
    pub(super) async fn exchange(
        &self,
        onboarding: &v1::Onboarding,
        code: &SecretString,
        caller: &Caller,
    ) -> Result<v1::SecretRef, Status> {
        let app = self.apps.get(&onboarding.app).ok_or_else(|| {
            let text = format!(
                "is not in accounts.apps: put [accounts.apps.{}] there",
                onboarding.app
            );
            bad_field("app", text)
        })?;
        let secret = app.secret.resolve().map_err(|error| {
            tracing::error!(app = onboarding.app, %error, "app secret cannot be had");
            let text = "the app's secret cannot be read; the code was not used";
            refuse(Code::FailedPrecondition, "APP_SECRET_MISSING", text)
        })?;
        let token_name = format!("token-{}", onboarding.onboarding_id);
        let name = SecretName::new(&onboarding.brand_id, &token_name)
            .map_err(|error| bad_field("brand_id", error.to_string()))?;
        // A try before this one was cut off between the exchange and the record.
        if self.secrets.stored(&name.to_string()).is_ok() {
            return Ok(stored_ref(&name));
        }
        let exchanged = self
            .platform
            .manager()
            .exchange_code(&app.id, &secret, code);
        let token = exchanged.await.map_err(|error| not_exchanged(&error))?;
        let now = self.book.cause("").time;
        let kind = v1::SecretKind::Token;
        let put = self
            .secrets
            .put(&name, kind, &token.token, Mode::Any, (&caller.name, now));
        put.await.map_err(|error| {
            tracing::error!(%error, "token of a sign-up is not stored");
            let text = "the code was exchanged, but the token could not be stored and is lost: the \
                        business signs up again";
            refuse(Code::Unavailable, "TOKEN_NOT_STORED", text)
        })?;
        Ok(stored_ref(&name))
    }

    /// Stores the PIN that is given; else takes the one that is stored for the number, or draws one.
    pub(super) async fn pin(
        &self,
        brand: &str,
        phone_number_id: &str,
        given: Option<&SecretString>,
        caller: &Caller,
    ) -> Result<v1::SecretRef, Status> {
        let name = SecretName::new(brand, &format!("pin-{phone_number_id}"))
            .map_err(|error| bad_field("brand_id", error.to_string()))?;
        let secrets = &self.secrets;
        let is_known = !matches!(secrets.stored(&name.to_string()), Err(Missing::Unknown(_)));
        if given.is_some() || !is_known {
            let pin = given.cloned().unwrap_or_else(new_pin);
            let now = self.book.cause("").time;
            let who = (caller.name.as_str(), now);
            let put = secrets.put(&name, v1::SecretKind::Pin, &pin, Mode::Any, who);
            put.await.map_err(not_stored)?;
        }
        Ok(stored_ref(&name))
    }
}

fn stored_ref(name: &SecretName) -> v1::SecretRef {
    v1::SecretRef {
        source: Some(v1::secret_ref::Source::Stored(name.to_string())),
    }
}

/// What a caller is told of an exchange that gave no token.
fn not_exchanged(error: &CallError) -> Status {
    let code = error.code().unwrap_or_default();
    tracing::warn!(code, %error, "code of a sign-up was not exchanged");
    let (status, reason, text) = match error.refused() {
        Some(Meant::App | Meant::Token) => (
            Code::FailedPrecondition,
            "APP_WRONG",
            "accounts.apps has a wrong id or secret for the app: correct it, then the business \
             signs up again",
        ),
        Some(Meant::TooManyCalls) => (
            Code::ResourceExhausted,
            "TOO_MANY_CALLS",
            "the platform takes no more calls for now: the business signs up again later",
        ),
        Some(_) if !error.is_ambiguous() => (
            Code::FailedPrecondition,
            "CODE_REFUSED",
            "the code is unknown, used, or older than 30 seconds: the business signs up again",
        ),
        _ => (
            Code::Unavailable,
            "EXCHANGE_UNKNOWN",
            "the platform did not answer, and the code may be used up: the business signs up again",
        ),
    };
    refuse(status, reason, text)
}
