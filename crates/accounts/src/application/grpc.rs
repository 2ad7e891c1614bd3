//! `ApplicationService`: who may, what is asked, what is answered. Deciding is the domain's.

use std::collections::BTreeSet;
use std::sync::Arc;

use casement_domain::application::{Applicant, Command, Durations};
use casement_domain::id::BrandId;
use casement_event::{Uuid, id, v1};
use casement_proto::account::v1 as proto;
use casement_proto::account::v1::application_service_server::ApplicationService;
use casement_shell::auth::{ALL_BRANDS, Caller, Scope, require};
use casement_shell::grpc::bad_field;
use tonic::{Request, Response, Status};

use super::{Wish, api, carry_out, fits, is_number_taken};
use crate::api::{Page, digits, status};
use crate::book::{Book, Desk};
use crate::decide::Refusal;
use crate::grpc::authority;
use crate::ledger::Ledger;

/// The service.
#[derive(Clone)]
pub struct Applications {
    book: Arc<Book>,
    durations: Durations,
}

/// An application after a write, and its place.
struct Written {
    application: Option<v1::Application>,
    position: String,
}

impl Applications {
    pub(crate) fn new(book: Arc<Book>, durations: Durations) -> Self {
        Self { book, durations }
    }

    async fn desk(&self) -> Result<Desk<'_>, Status> {
        self.book.desk().await.map_err(status)
    }

    /// Carries out a command on an application that is there.
    async fn command(
        &self,
        caller: &Caller,
        id: &str,
        etag: &str,
        command: Command,
    ) -> Result<Written, Status> {
        let authority = authority(caller);
        let cause = self.book.cause(&caller.name);
        let wish = Wish {
            id,
            authority: &authority,
            etag,
        };
        let mut desk = self.desk().await?;
        carry_out(&mut desk, wish, &self.durations, &cause, |ledger| {
            if let Command::HandOver { onboarding } = &command {
                fits(ledger, id, onboarding)?;
            }
            Ok(command.clone())
        })
        .await
        .map_err(status)?;
        written(desk.ledger(), id)
    }
}

fn written(ledger: &Ledger, id: &str) -> Result<Written, Status> {
    let missing = || Status::internal("application is not there after its write");
    let entry = ledger.applications.get(id).ok_or_else(missing)?;
    Ok(Written {
        application: Some(api::shown(entry)),
        position: entry.position.to_string(),
    })
}

/// Answers all have the same three fields.
macro_rules! answer {
    ($name:ident, $written:expr) => {{
        let Written {
            application,
            position,
        } = $written;
        Ok(Response::new(proto::$name {
            application,
            position,
        }))
    }};
}

#[tonic::async_trait]
impl ApplicationService for Applications {
    async fn start_application(
        &self,
        request: Request<proto::StartApplicationRequest>,
    ) -> Result<Response<proto::StartApplicationResponse>, Status> {
        let caller = require(&request, Scope::Admin)?;
        let asked = request.into_inner();
        let authority = authority(&caller);
        let brand = brand_of(&caller, &asked.brand_id)?;
        let applicant = Applicant {
            business: api::business("business_id", &asked.business_id)?,
            number: api::number("number", &asked.number)?,
            brand,
        };
        let display_name = api::text("display_name", &asked.display_name)?;
        let unique = match asked.request_id.as_str() {
            "" => Uuid::now_v7(),
            request_id => id::application(applicant.brand.as_str(), request_id),
        };
        let application_id = unique.simple().to_string();

        let cause = self.book.cause(&caller.name);
        let mut desk = self.desk().await?;
        let ledger = desk.ledger();
        if !authority.covers(applicant.brand.as_str()) {
            return Err(status(Refusal::AnotherBrand.into()));
        }
        if ledger.brand(applicant.brand.as_str()).is_none() {
            return Err(status(Refusal::BrandUnknown.into()));
        }
        let holder = ledger.number(applicant.number.digits());
        if holder.is_some_and(|holder| holder.brand_id != applicant.brand.as_str()) {
            return Err(status(Refusal::AnotherBrand.into()));
        }
        let wish = Wish {
            id: &application_id,
            authority: &authority,
            etag: "",
        };
        carry_out(&mut desk, wish, &self.durations, &cause, |ledger| {
            let number = applicant.number.digits();
            Ok(Command::Start {
                applicant: applicant.clone(),
                display_name: display_name.clone(),
                is_number_taken: is_number_taken(ledger, &application_id, number),
            })
        })
        .await
        .map_err(status)?;
        answer!(
            StartApplicationResponse,
            written(desk.ledger(), &application_id)?
        )
    }

    async fn get_application(
        &self,
        request: Request<proto::GetApplicationRequest>,
    ) -> Result<Response<proto::GetApplicationResponse>, Status> {
        let authority = authority(&require(&request, Scope::Read)?);
        let id = api::id("application_id", &request.into_inner().application_id)?;
        let desk = self.desk().await?;
        let entry = desk.ledger().applications.get(&id);
        let entry = entry
            .filter(|entry| authority.covers(&entry.record.stored.brand_id))
            .ok_or_else(|| {
                let unknown = casement_domain::application::Refusal::Unknown;
                status(Refusal::from(unknown).into())
            })?;
        Ok(Response::new(proto::GetApplicationResponse {
            application: Some(api::shown(entry)),
        }))
    }

    async fn list_applications(
        &self,
        request: Request<proto::ListApplicationsRequest>,
    ) -> Result<Response<proto::ListApplicationsResponse>, Status> {
        let authority = authority(&require(&request, Scope::Read)?);
        let asked = request.into_inner();
        let mut states = BTreeSet::new();
        for state in &asked.states {
            let known = v1::ApplicationState::try_from(*state)
                .ok()
                .filter(|state| *state != v1::ApplicationState::Unspecified);
            let problem = || bad_field("states", format!("has {state}, which is no state"));
            states.insert(i32::from(known.ok_or_else(problem)?));
        }
        let number = match asked.number.as_str() {
            "" => String::new(),
            number => digits("number", number)?,
        };
        let list = format!("applications {number} {states:?}");
        let page = Page::parse(list, asked.page_size, &asked.page_token)?;
        let desk = self.desk().await?;
        let all = &desk.ledger().applications;
        let (found, next_page_token) = page.of(all, |kept| {
            let stored = &kept.stored;
            authority.covers(&stored.brand_id)
                && (number.is_empty() || stored.number == number)
                && (states.is_empty() || states.contains(&stored.state))
        });
        Ok(Response::new(proto::ListApplicationsResponse {
            applications: found
                .iter()
                .filter_map(|kept| all.get(&kept.stored.application_id).map(api::shown))
                .collect(),
            next_page_token,
        }))
    }

    async fn update_application(
        &self,
        request: Request<proto::UpdateApplicationRequest>,
    ) -> Result<Response<proto::UpdateApplicationResponse>, Status> {
        let caller = require(&request, Scope::Admin)?;
        let asked = request.into_inner();
        let seen = asked.application.as_ref().map(|known| known.etag.clone());
        let seen = seen.unwrap_or_default();
        let (id, command) = api::update(asked)?;
        let written = self.command(&caller, &id, &seen, command).await?;
        answer!(UpdateApplicationResponse, written)
    }

    async fn accept_invite(
        &self,
        request: Request<proto::AcceptInviteRequest>,
    ) -> Result<Response<proto::AcceptInviteResponse>, Status> {
        let caller = require(&request, Scope::Admin)?;
        let asked = request.into_inner();
        let id = api::id("application_id", &asked.application_id)?;
        let command = Command::AcceptInvite;
        let written = self.command(&caller, &id, &asked.etag, command).await?;
        answer!(AcceptInviteResponse, written)
    }

    async fn record_verification(
        &self,
        request: Request<proto::RecordVerificationRequest>,
    ) -> Result<Response<proto::RecordVerificationResponse>, Status> {
        let caller = require(&request, Scope::Admin)?;
        let asked = request.into_inner();
        let id = api::id("application_id", &asked.application_id)?;
        let report = api::report(&asked, &self.book.cause(&caller.name))?;
        let command = Command::Report(report);
        let written = self.command(&caller, &id, &asked.etag, command).await?;
        answer!(RecordVerificationResponse, written)
    }

    async fn sign_terms(
        &self,
        request: Request<proto::SignTermsRequest>,
    ) -> Result<Response<proto::SignTermsResponse>, Status> {
        let caller = require(&request, Scope::Admin)?;
        let asked = request.into_inner();
        let id = api::id("application_id", &asked.application_id)?;
        let command = Command::SignTerms;
        let written = self.command(&caller, &id, &asked.etag, command).await?;
        answer!(SignTermsResponse, written)
    }

    async fn activate_number(
        &self,
        request: Request<proto::ActivateNumberRequest>,
    ) -> Result<Response<proto::ActivateNumberResponse>, Status> {
        let caller = require(&request, Scope::Admin)?;
        let asked = request.into_inner();
        let id = api::id("application_id", &asked.application_id)?;
        let onboarding = api::id("onboarding_id", &asked.onboarding_id)?;
        let command = Command::HandOver { onboarding };
        let written = self.command(&caller, &id, &asked.etag, command).await?;
        answer!(ActivateNumberResponse, written)
    }

    async fn cancel_application(
        &self,
        request: Request<proto::CancelApplicationRequest>,
    ) -> Result<Response<proto::CancelApplicationResponse>, Status> {
        let caller = require(&request, Scope::Admin)?;
        let asked = request.into_inner();
        let id = api::id("application_id", &asked.application_id)?;
        let command = Command::Cancel {
            reason: api::text("reason", &asked.reason)?,
            wants_refund: asked.refund,
        };
        let written = self.command(&caller, &id, &asked.etag, command).await?;
        answer!(CancelApplicationResponse, written)
    }
}

/// Whose application it will be.
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
