//! `OnboardingService`: who may, what is asked, what is answered.

use std::sync::Arc;

use casement_domain::id::{BrandId, PhoneNumberId, WabaId};
use casement_domain::onboarding::{Course, State};
use casement_event::convert::timestamp;
use casement_event::{Uuid, id, v1};
use casement_proto::account::v1 as api;
use casement_proto::account::v1::onboarding_service_server::OnboardingService;
use casement_proto::account::v1::start_onboarding_request::Access;
use casement_shell::auth::{ALL_BRANDS, Caller, Scope, require};
use casement_shell::grpc::{bad_field, refuse};
use secrecy::SecretString;
use tonic::{Code, Request, Response, Status};

use super::stored::{self, Problem};
use super::{Refused, Saga, advanced};
use crate::api::{Page, status};
use crate::decide::{Authority, Cause, Refusal};
use crate::grpc::authority;
use crate::ledger::{Entry, Ledger};
use crate::secrets::not_stored;
use crate::validate;

/// The app that is meant if none is named.
const DEFAULT_APP: &str = "default";

/// Digits of a two-step PIN.
const PIN_LEN: usize = 6;

/// Longest id that a request may carry.
const ID_LEN_MAX: usize = 128;

/// The service.
#[derive(Clone)]
pub struct Onboardings {
    saga: Arc<Saga>,
}

/// What a start asks for, checked.
struct Asked {
    access: Access,
    pin: Option<SecretString>,
    /// What is known of the onboarding before anything was called.
    fresh: v1::Onboarding,
}

impl Onboardings {
    pub(crate) fn new(saga: Arc<Saga>) -> Self {
        Self { saga }
    }

    /// Changes an onboarding's course, as somebody wishes.
    async fn change(
        &self,
        caller: &Caller,
        id: &str,
        change: impl Fn(&v1::Onboarding, &Cause) -> Result<Option<v1::Onboarding>, Refused>
        + Send
        + Sync,
    ) -> Result<(v1::Onboarding, String), Status> {
        let (authority, cause) = (authority(caller), self.saga.book.cause(&caller.name));
        let mut desk = self.saga.book.desk().await.map_err(status)?;
        desk.settle(&cause, |ledger| {
            let present = own(ledger, id, &authority)?;
            let after = change(&present.record, &cause)?;
            Ok(after.map(|after| advanced(after, &cause)))
        })
        .await
        .map_err(status)?;
        let entry = own(desk.ledger(), id, &authority);
        let entry = entry.map_err(|refused| status(Refusal::from(refused).into()))?;
        Ok((shown(&entry.record), entry.position.to_string()))
    }

    /// Reads a request, and refuses what can be refused before a code is used up.
    fn check(&self, caller: &Caller, asked: api::StartOnboardingRequest) -> Result<Asked, Status> {
        let brand = brand_of(caller, &asked.brand_id)?;
        let waba = WabaId::parse(&asked.waba_id);
        let waba = waba.map_err(|error| bad_field("waba_id", error.to_string()))?;
        let phone = PhoneNumberId::parse(&asked.phone_number_id);
        let phone = phone.map_err(|error| bad_field("phone_number_id", error.to_string()))?;
        let access = asked
            .access
            .ok_or_else(|| bad_field("code", "is required, or `token` if one is at hand"))?;
        match &access {
            Access::Code(code) if code.trim().is_empty() => {
                return Err(bad_field("code", "is empty"));
            }
            Access::Token(token) => check_token(&brand, token)?,
            Access::Code(_) => {}
        }
        let pin = check_pin(&asked.pin)?;
        let is_region = asked.region.is_empty()
            || (asked.region.len() == 2
                && asked.region.bytes().all(|byte| byte.is_ascii_uppercase()));
        if !is_region {
            return Err(bad_field("region", "is not a country's two capitals"));
        }
        if asked.request_id.len() > ID_LEN_MAX {
            let text = format!("is longer than {ID_LEN_MAX} bytes");
            return Err(bad_field("request_id", text));
        }
        if !self.saga.secrets.has_key() {
            return Err(not_stored(casement_secrets::ShelfError::NoKey));
        }
        let unique = match asked.request_id.as_str() {
            "" => Uuid::now_v7(),
            request_id => id::onboarding(brand.as_str(), request_id),
        };
        let app = match asked.app.as_str() {
            "" => DEFAULT_APP,
            app => app,
        };
        Ok(Asked {
            fresh: v1::Onboarding {
                onboarding_id: unique.simple().to_string(),
                brand_id: brand.to_string(),
                app: app.to_owned(),
                waba_id: waba.to_string(),
                phone_number_id: phone.to_string(),
                coexistence: asked.coexistence,
                region: asked.region,
                ..v1::Onboarding::default()
            },
            access,
            pin,
        })
    }
}

#[tonic::async_trait]
impl OnboardingService for Onboardings {
    async fn start_onboarding(
        &self,
        request: Request<api::StartOnboardingRequest>,
    ) -> Result<Response<api::StartOnboardingResponse>, Status> {
        let caller = require(&request, Scope::Admin)?;
        let asked = self.check(&caller, request.into_inner())?;
        let (authority, cause) = (authority(&caller), self.saga.book.cause(&caller.name));
        let (id, phone) = (&asked.fresh.onboarding_id, &asked.fresh.phone_number_id);
        {
            let desk = self.saga.book.desk().await.map_err(status)?;
            if let Some(known) = desk.ledger().onboardings.get(id) {
                return Ok(Response::new(api::StartOnboardingResponse {
                    onboarding: Some(shown(&known.record)),
                    position: known.position.to_string(),
                }));
            }
            may_start(desk.ledger(), &asked.fresh, &authority)
                .map_err(|refusal| status(refusal.into()))?;
        }
        // Nothing waits before the exchange: a code lives for 30 seconds.
        let token = match &asked.access {
            Access::Code(code) => {
                let code = SecretString::from(code.trim());
                self.saga.exchange(&asked.fresh, &code, &caller).await?
            }
            Access::Token(token) => token.clone(),
        };
        let pin = if asked.fresh.coexistence {
            None
        } else {
            let given = asked.pin.as_ref();
            Some(
                self.saga
                    .pin(&asked.fresh.brand_id, phone, given, &caller)
                    .await?,
            )
        };
        let course = Course::start(asked.fresh.coexistence, cause.time);
        let fresh = v1::Onboarding {
            token: Some(token.clone()),
            pin,
            create_time: Some(timestamp(cause.time)),
            ..asked.fresh.clone()
        };
        let fresh = stored::with(&fresh, &course, Problem::Clear, cause.time);
        let mut desk = self.saga.book.desk().await.map_err(status)?;
        let before: Vec<String> = open_ones(desk.ledger(), phone);
        desk.settle(&cause, |ledger| {
            if ledger.onboardings.contains_key(id) {
                return Ok(None);
            }
            may_start(ledger, &fresh, &authority)?;
            Ok(Some(advanced(fresh.clone(), &cause)))
        })
        .await
        .map_err(|error| {
            tracing::error!(%error, "onboarding is not recorded, its token is");
            let place = place(&token);
            let text = format!("the token is stored as {place}: start again with it");
            refuse(Code::Unavailable, "ONBOARDING_NOT_RECORDED", text)
        })?;
        // A new sign-up takes the place of those before it.
        for earlier in before {
            desk.settle(&cause, |ledger| {
                let Some(entry) = ledger.onboardings.get(&earlier) else {
                    return Ok(None);
                };
                let course = stored::course(&entry.record);
                let cancelled = course.cancel().ok().flatten();
                Ok(cancelled.map(|course| {
                    let after = stored::with(&entry.record, &course, Problem::Keep, cause.time);
                    advanced(after, &cause)
                }))
            })
            .await
            .map_err(status)?;
        }
        let entry = own(desk.ledger(), id, &authority);
        let entry = entry.map_err(|refused| status(Refusal::from(refused).into()))?;
        Ok(Response::new(api::StartOnboardingResponse {
            onboarding: Some(shown(&entry.record)),
            position: entry.position.to_string(),
        }))
    }

    async fn get_onboarding(
        &self,
        request: Request<api::GetOnboardingRequest>,
    ) -> Result<Response<api::GetOnboardingResponse>, Status> {
        let authority = authority(&require(&request, Scope::Read)?);
        let desk = self.saga.book.desk().await.map_err(status)?;
        let entry = own(
            desk.ledger(),
            &request.into_inner().onboarding_id,
            &authority,
        );
        let entry = entry.map_err(|refused| status(Refusal::from(refused).into()))?;
        Ok(Response::new(api::GetOnboardingResponse {
            onboarding: Some(shown(&entry.record)),
        }))
    }

    async fn list_onboardings(
        &self,
        request: Request<api::ListOnboardingsRequest>,
    ) -> Result<Response<api::ListOnboardingsResponse>, Status> {
        let authority = authority(&require(&request, Scope::Read)?);
        let asked = request.into_inner();
        let list = format!("onboardings {}", asked.open_only);
        let page = Page::parse(list, asked.page_size, &asked.page_token)?;
        let desk = self.saga.book.desk().await.map_err(status)?;
        let (onboardings, next_page_token) = page.of(&desk.ledger().onboardings, |known| {
            let is_open = !stored::course(known).state.is_over();
            authority.covers(&known.brand_id) && (is_open || !asked.open_only)
        });
        Ok(Response::new(api::ListOnboardingsResponse {
            onboardings: onboardings.iter().map(shown).collect(),
            next_page_token,
        }))
    }

    async fn retry_onboarding(
        &self,
        request: Request<api::RetryOnboardingRequest>,
    ) -> Result<Response<api::RetryOnboardingResponse>, Status> {
        let caller = require(&request, Scope::Admin)?;
        let asked = request.into_inner();
        let given = check_pin(&asked.pin)?;
        let known = {
            let desk = self.saga.book.desk().await.map_err(status)?;
            let entry = own(desk.ledger(), &asked.onboarding_id, &authority(&caller));
            let entry = entry.map_err(|refused| status(Refusal::from(refused).into()))?;
            entry.record.clone()
        };
        if let Some(token) = &asked.token {
            let brand = BrandId::parse(&known.brand_id);
            let brand = brand.map_err(|error| Status::internal(error.to_string()))?;
            check_token(&brand, token)?;
        }
        let pin = match &given {
            Some(pin) => {
                let (brand, phone) = (&known.brand_id, &known.phone_number_id);
                Some(self.saga.pin(brand, phone, Some(pin), &caller).await?)
            }
            None => None,
        };
        let (onboarding, position) = self
            .change(&caller, &asked.onboarding_id, |present, cause| {
                let course = stored::course(present).retry(cause.time)?;
                let with = v1::Onboarding {
                    token: asked.token.clone().or_else(|| present.token.clone()),
                    pin: pin.clone().or_else(|| present.pin.clone()),
                    ..present.clone()
                };
                let after = stored::with(&with, &course, Problem::Clear, cause.time);
                Ok(Some(after))
            })
            .await?;
        Ok(Response::new(api::RetryOnboardingResponse {
            onboarding: Some(onboarding),
            position,
        }))
    }

    async fn cancel_onboarding(
        &self,
        request: Request<api::CancelOnboardingRequest>,
    ) -> Result<Response<api::CancelOnboardingResponse>, Status> {
        let caller = require(&request, Scope::Admin)?;
        let id = request.into_inner().onboarding_id;
        let (onboarding, position) = self
            .change(&caller, &id, |present, cause| {
                let cancelled = stored::course(present).cancel()?;
                Ok(cancelled
                    .map(|course| stored::with(present, &course, Problem::Keep, cause.time)))
            })
            .await?;
        Ok(Response::new(api::CancelOnboardingResponse {
            onboarding: Some(onboarding),
            position,
        }))
    }
}

/// Returns an onboarding as the API shows it.
fn shown(of: &v1::Onboarding) -> v1::Onboarding {
    let number = match of.number.as_str() {
        "" => String::new(),
        digits => format!("+{digits}"),
    };
    v1::Onboarding {
        number,
        ..of.clone()
    }
}

/// Another brand's onboarding is as unknown as one that never was.
fn own<'a>(
    ledger: &'a Ledger,
    id: &str,
    authority: &Authority,
) -> Result<&'a Entry<v1::Onboarding>, Refused> {
    let entry = ledger.onboardings.get(id);
    entry
        .filter(|entry| authority.covers(&entry.record.brand_id))
        .ok_or(Refused::Unknown)
}

/// Refuses what would fail later for what is on record.
fn may_start(
    ledger: &Ledger,
    fresh: &v1::Onboarding,
    authority: &Authority,
) -> Result<(), Refusal> {
    if !authority.covers(&fresh.brand_id) {
        return Err(Refusal::AnotherBrand);
    }
    if ledger.brand(&fresh.brand_id).is_none() {
        return Err(Refusal::BrandUnknown);
    }
    let holder = ledger.holder_of(&fresh.phone_number_id);
    let elsewhere = ledger
        .onboardings
        .values()
        .map(|entry| &entry.record)
        .any(|other| {
            other.phone_number_id == fresh.phone_number_id
                && other.brand_id != fresh.brand_id
                && !stored::course(other).state.is_over()
        });
    if elsewhere || holder.is_some_and(|holder| holder.brand_id != fresh.brand_id) {
        return Err(Refused::NumberTaken.into());
    }
    Ok(())
}

/// The onboardings of a number that are not over.
fn open_ones(ledger: &Ledger, phone_number_id: &str) -> Vec<String> {
    let all = ledger.onboardings.iter();
    let open = all.filter(|(_, entry)| {
        let state = stored::course(&entry.record).state;
        entry.record.phone_number_id == phone_number_id
            && matches!(state, State::Running | State::Waiting | State::Stopped)
    });
    open.map(|(id, _)| id.clone()).collect()
}

/// Whose onboarding it will be.
fn brand_of(caller: &Caller, asked: &str) -> Result<BrandId, Status> {
    let brand = match (asked, caller.brand.as_str()) {
        ("", ALL_BRANDS) => {
            let text = "is required of a token that acts for every brand";
            return Err(bad_field("brand_id", text));
        }
        ("", own) => own,
        (asked, _) => asked,
    };
    BrandId::parse(brand).map_err(|error| bad_field("brand_id", error.to_string()))
}

fn check_token(brand: &BrandId, token: &v1::SecretRef) -> Result<(), Status> {
    let problems = validate::reference(brand.as_str(), Some(token));
    match problems {
        None => Ok(()),
        Some(problem) => Err(bad_field("token", problem)),
    }
}

fn check_pin(pin: &str) -> Result<Option<SecretString>, Status> {
    let is_pin = pin.len() == PIN_LEN && pin.bytes().all(|byte| byte.is_ascii_digit());
    match pin {
        "" => Ok(None),
        pin if is_pin => Ok(Some(SecretString::from(pin))),
        _ => Err(bad_field("pin", format!("is not {PIN_LEN} digits"))),
    }
}

/// Where a token is found, for people.
fn place(token: &v1::SecretRef) -> String {
    use v1::secret_ref::Source;
    match &token.source {
        Some(Source::Stored(name)) => format!("secret {name}"),
        Some(Source::File(path)) => format!("file {path}"),
        Some(Source::Env(name)) => format!("variable {name}"),
        None => "nothing".to_owned(),
    }
}
