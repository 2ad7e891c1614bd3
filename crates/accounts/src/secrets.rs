//! `SecretService`: stores tokens that arrive at run time. It answers names and ages, never a secret.

use std::sync::Arc;

use casement_event::convert::timestamp;
use casement_event::v1;
use casement_proto::account::v1 as api;
use casement_proto::account::v1::secret_service_server::SecretService;
use casement_secrets::{Entry, Mode, SecretName, Secrets, ShelfError};
use casement_shell::auth::{ALL_BRANDS, Caller, Scope, require};
use casement_shell::grpc::{bad_field, refuse};
use secrecy::SecretString;
use tonic::{Code, Request, Response, Status};

use crate::api::status;
use crate::book::Book;
use crate::decide::Refusal;
use crate::grpc::authority;
use crate::ledger::Ledger;

/// The service.
#[derive(Clone)]
pub struct Shelf {
    book: Arc<Book>,
    secrets: Secrets,
}

impl Shelf {
    pub(crate) fn new(book: Arc<Book>, secrets: Secrets) -> Self {
        Self { book, secrets }
    }

    async fn put(
        &self,
        caller: &Caller,
        name: &str,
        token: String,
        mode: Mode,
    ) -> Result<(SecretName, api::Secret), Status> {
        let name = own(caller, name)?;
        let value = SecretString::from(token);
        let cause = self.book.cause(&caller.name);
        if self
            .book
            .desk()
            .await
            .map_err(status)?
            .ledger()
            .brand(name.brand())
            .is_none()
        {
            return Err(status(Refusal::BrandUnknown.into()));
        }
        let who = (caller.name.as_str(), cause.time);
        let put = self
            .secrets
            .put(&name, v1::SecretKind::Token, &value, mode, who);
        put.await.map_err(not_stored)?;
        let entry = self
            .secrets
            .list()
            .into_iter()
            .find(|entry| entry.name == name);
        let missing = || Status::internal("secret is not there after its write");
        let secret = entry.as_ref().map(shown).ok_or_else(missing)?;
        Ok((name, secret))
    }
}

#[tonic::async_trait]
impl SecretService for Shelf {
    async fn put_token(
        &self,
        request: Request<api::PutTokenRequest>,
    ) -> Result<Response<api::PutTokenResponse>, Status> {
        let caller = require(&request, Scope::Admin)?;
        let api::PutTokenRequest { name, token } = request.into_inner();
        let (name, secret) = self.put(&caller, &name, token, Mode::New).await?;
        Ok(Response::new(api::PutTokenResponse {
            secret: Some(secret),
            reference: Some(v1::SecretRef {
                source: Some(v1::secret_ref::Source::Stored(name.to_string())),
            }),
        }))
    }

    async fn rotate_token(
        &self,
        request: Request<api::RotateTokenRequest>,
    ) -> Result<Response<api::RotateTokenResponse>, Status> {
        let caller = require(&request, Scope::Admin)?;
        let api::RotateTokenRequest { name, token } = request.into_inner();
        let (_, secret) = self.put(&caller, &name, token, Mode::Rotate).await?;
        Ok(Response::new(api::RotateTokenResponse {
            secret: Some(secret),
        }))
    }

    async fn list_secrets(
        &self,
        request: Request<api::ListSecretsRequest>,
    ) -> Result<Response<api::ListSecretsResponse>, Status> {
        let authority = authority(&require(&request, Scope::Admin)?);
        let entries = self.secrets.list();
        let own = entries
            .iter()
            .filter(|entry| authority.covers(entry.name.brand()));
        Ok(Response::new(api::ListSecretsResponse {
            secrets: own.map(shown).collect(),
        }))
    }

    async fn delete_secret(
        &self,
        request: Request<api::DeleteSecretRequest>,
    ) -> Result<Response<api::DeleteSecretResponse>, Status> {
        let caller = require(&request, Scope::Admin)?;
        let name = own(&caller, &request.into_inner().name)?;
        let cause = self.book.cause(&caller.name);
        // Held until it is deleted, so that no record comes to name it meanwhile.
        let desk = self.book.desk().await.map_err(status)?;
        if let Some(number) = user_of(desk.ledger(), &name.to_string()) {
            let text = format!("the record of +{number} names it: give it another token first");
            return Err(refuse(Code::FailedPrecondition, "SECRET_IN_USE", text));
        }
        let deleted = self.secrets.delete(&name, (&caller.name, cause.time)).await;
        drop(desk);
        deleted.map_err(not_stored)?;
        Ok(Response::new(api::DeleteSecretResponse {}))
    }

    async fn reencrypt_secrets(
        &self,
        request: Request<api::ReencryptSecretsRequest>,
    ) -> Result<Response<api::ReencryptSecretsResponse>, Status> {
        let caller = require(&request, Scope::Admin)?;
        if caller.brand != ALL_BRANDS {
            return Err(status(Refusal::AnotherBrand.into()));
        }
        let now = self.book.cause(&caller.name).time;
        let count = self.secrets.reencrypt(&caller.name, now).await;
        Ok(Response::new(api::ReencryptSecretsResponse {
            count: count.map_err(not_stored)?,
        }))
    }
}

/// The number, if any, whose record finds a secret by this name; or whose onboarding does.
fn user_of(ledger: &Ledger, name: &str) -> Option<String> {
    use v1::secret_ref::Source;
    let is_it = |of: Option<&v1::SecretRef>| {
        let source = of.and_then(|of| of.source.as_ref());
        matches!(source, Some(Source::Stored(known)) if known == name)
    };
    let numbers = ledger.numbers.values().map(|entry| &entry.record);
    let mut users = numbers.filter(|number| {
        let sms = number.sms.as_ref().and_then(|sms| sms.auth_token.as_ref());
        is_it(number.token.as_ref()) || is_it(sms)
    });
    users.next().map(|number| number.number.clone())
}

/// Reads a name, which is the caller's own brand's if it says none.
fn own(caller: &Caller, text: &str) -> Result<SecretName, Status> {
    let name = if text.contains('/') {
        SecretName::parse(text)
    } else if caller.brand == ALL_BRANDS {
        let problem = "must be `<brand>/<name>` from a token that acts for every brand";
        return Err(bad_field("name", problem));
    } else {
        SecretName::new(&caller.brand, text)
    };
    let name = name.map_err(|error| bad_field("name", error.to_string()))?;
    if !authority(caller).covers(name.brand()) {
        return Err(status(Refusal::AnotherBrand.into()));
    }
    Ok(name)
}

fn shown(entry: &Entry) -> api::Secret {
    api::Secret {
        name: entry.name.to_string(),
        kind: entry.kind.into(),
        version: entry.version,
        key_id: entry.key_id.clone(),
        create_time: entry.created.map(timestamp),
        rotate_time: entry.rotated.map(timestamp),
        caller: entry.caller.clone(),
        opens: entry.is_open,
    }
}

/// What a caller is told of a secret that was not written. It never has the secret in it.
#[expect(
    clippy::needless_pass_by_value,
    reason = "errors are mapped by value, as `map_err` hands them over"
)]
pub(crate) fn not_stored(error: ShelfError) -> Status {
    let text = error.to_string();
    match error {
        ShelfError::NoKey => refuse(Code::FailedPrecondition, "MASTER_KEY_MISSING", text),
        ShelfError::Exists => refuse(Code::AlreadyExists, "SECRET_EXISTS", text),
        ShelfError::Unknown => refuse(Code::NotFound, "SECRET_UNKNOWN", text),
        ShelfError::Unfit => bad_field("token", text),
        ShelfError::Vault(_) => refuse(Code::FailedPrecondition, "SECRET_CLOSED", text),
        ShelfError::Contended => refuse(Code::Aborted, "CONTENDED", text),
        ShelfError::Read(_) | ShelfError::Append(_) => {
            tracing::warn!(error = %error, "stored secrets cannot be written");
            refuse(
                Code::Unavailable,
                "LOG_AWAY",
                "secret may not be stored: repeat it",
            )
        }
    }
}
