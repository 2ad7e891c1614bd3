//! `AccountService`: who may, what is asked, what is answered. Deciding is elsewhere.

use std::sync::Arc;

use casement_event::subject::template_token;
use casement_event_log::{Log, Position};
use casement_proto::account::v1 as api;
use casement_proto::account::v1::account_service_server::AccountService;
use casement_shell::auth::{ALL_BRANDS, Caller, Scope, require};
use casement_shell::grpc::refuse;
use tonic::{Code, Request, Response, Status};

use crate::api::{Page, digits, invalid, required, status};
use crate::book::{Book, Desk};
use crate::decide::{self, Authority, StatusFrom, Surroundings};
use crate::health::Keeper;
use crate::ledger::{Entry, Ledger, template_key};
use crate::numbers::service::{current, shown_record};
use crate::numbers::{shown_with_etag, standing};
use crate::platform::Platform;
use crate::template::template;
use crate::{brands, validate};

/// The service.
#[derive(Clone)]
pub struct Accounts {
    log: Log,
    book: Arc<Book>,
    platform: Arc<Platform>,
    keeper: Arc<Keeper>,
}

impl Accounts {
    pub(crate) fn new(
        log: Log,
        book: Arc<Book>,
        platform: Arc<Platform>,
        keeper: Arc<Keeper>,
    ) -> Self {
        Self {
            log,
            book,
            platform,
            keeper,
        }
    }

    pub(crate) fn log(&self) -> &Log {
        &self.log
    }

    pub(crate) fn book(&self) -> &Book {
        &self.book
    }

    pub(crate) fn platform(&self) -> &Platform {
        &self.platform
    }

    pub(crate) fn keeper(&self) -> &Keeper {
        &self.keeper
    }

    pub(crate) async fn desk(&self) -> Result<Desk<'_>, Status> {
        self.book.desk().await.map_err(status)
    }
}

pub(crate) fn authority(caller: &Caller) -> Authority {
    if caller.brand == ALL_BRANDS {
        Authority::Every
    } else {
        Authority::Brand(caller.brand.clone())
    }
}

/// A WABA is a brand's if one of its numbers is.
pub(crate) fn covers_waba(authority: &Authority, ledger: &Ledger, waba_id: &str) -> bool {
    match authority {
        Authority::Every => true,
        Authority::Brand(_) => {
            ledger.has_number_of(waba_id, |number| authority.covers(&number.brand_id))
        }
    }
}

/// Returns the record that a write left, and its place.
fn written<T: Clone>(entry: Option<&Entry<T>>) -> Result<(T, String), Status> {
    let missing = || Status::internal("record is not there after its write");
    let entry = entry.ok_or_else(missing)?;
    Ok((entry.record.clone(), position(&entry.position)))
}

fn position(position: &Position) -> String {
    position.to_string()
}

#[tonic::async_trait]
impl AccountService for Accounts {
    async fn put_brand(
        &self,
        request: Request<api::PutBrandRequest>,
    ) -> Result<Response<api::PutBrandResponse>, Status> {
        let caller = require(&request, Scope::Admin)?;
        let wanted = required("brand", request.into_inner().brand)?;
        let wanted = validate::brand("brand", wanted).map_err(invalid)?;

        let mut desk = self.desk().await?;
        let (authority, cause) = (authority(&caller), self.book.cause(&caller.name));
        desk.settle(&cause, |ledger| {
            let present = ledger.brand(&wanted.brand_id);
            let wanted = brands::wanted(ledger, &wanted, None, &authority)?;
            decide::brand(present, wanted, &authority, &cause)
        })
        .await
        .map_err(status)?;
        let entry = desk.ledger().brands.get(&wanted.brand_id);
        let (_, position) = written(entry)?;
        Ok(Response::new(api::PutBrandResponse {
            brand: entry.map(brands::shown),
            position,
        }))
    }

    async fn update_brand(
        &self,
        request: Request<api::UpdateBrandRequest>,
    ) -> Result<Response<api::UpdateBrandResponse>, Status> {
        let caller = require(&request, Scope::Admin)?;
        let request = request.into_inner();
        let paths = brands::paths(&request)?;
        let asked = required("brand", request.brand)?;
        let asked = validate::brand("brand", asked).map_err(invalid)?;

        let mut desk = self.desk().await?;
        let (authority, cause) = (authority(&caller), self.book.cause(&caller.name));
        desk.settle(&cause, |ledger| {
            let present = ledger.brand(&asked.brand_id);
            let wanted = brands::wanted(ledger, &asked, Some(&paths), &authority)?;
            decide::brand(present, wanted, &authority, &cause)
        })
        .await
        .map_err(status)?;
        let entry = desk.ledger().brands.get(&asked.brand_id);
        let (_, position) = written(entry)?;
        Ok(Response::new(api::UpdateBrandResponse {
            brand: entry.map(brands::shown),
            position,
        }))
    }

    async fn get_brand(
        &self,
        request: Request<api::GetBrandRequest>,
    ) -> Result<Response<api::GetBrandResponse>, Status> {
        let authority = authority(&require(&request, Scope::Read)?);
        let brand_id = request.into_inner().brand_id;
        let desk = self.desk().await?;
        let entry = desk.ledger().brands.get(&brand_id);
        let entry = entry
            .filter(|_| authority.covers(&brand_id))
            .ok_or_else(|| refuse(Code::NotFound, "BRAND_UNKNOWN", "brand is not on record"))?;
        Ok(Response::new(api::GetBrandResponse {
            brand: Some(brands::shown(entry)),
        }))
    }

    async fn list_brands(
        &self,
        request: Request<api::ListBrandsRequest>,
    ) -> Result<Response<api::ListBrandsResponse>, Status> {
        let authority = authority(&require(&request, Scope::Read)?);
        let request = request.into_inner();
        let page = Page::parse("brands".to_owned(), request.page_size, &request.page_token)?;
        let desk = self.desk().await?;
        let all = &desk.ledger().brands;
        let (listed, next_page_token) = page.of(all, |brand| authority.covers(&brand.brand_id));
        let entries = listed.iter().filter_map(|brand| all.get(&brand.brand_id));
        Ok(Response::new(api::ListBrandsResponse {
            brands: entries.map(brands::shown).collect(),
            next_page_token,
        }))
    }

    async fn put_number(
        &self,
        request: Request<api::PutNumberRequest>,
    ) -> Result<Response<api::PutNumberResponse>, Status> {
        let caller = require(&request, Scope::Admin)?;
        let wanted = required("number", request.into_inner().number)?;
        let etag = wanted.etag.clone();
        let wanted = validate::number("number", wanted).map_err(invalid)?;

        let mut desk = self.desk().await?;
        let (authority, cause) = (authority(&caller), self.book.cause(&caller.name));
        desk.settle(&cause, |ledger| {
            current(ledger, &wanted.number, &etag)?;
            let around = Surroundings {
                present: ledger.number(&wanted.number),
                holder: ledger.holder_of(&wanted.phone_number_id),
                is_brand_known: ledger.brand(&wanted.brand_id).is_some(),
            };
            decide::number(around, wanted.clone(), &authority, &cause)
        })
        .await
        .map_err(status)?;
        let (number, position) = shown_record(desk.ledger().numbers.get(&wanted.number))?;
        Ok(Response::new(api::PutNumberResponse {
            number: Some(number),
            position,
        }))
    }

    async fn update_number(
        &self,
        request: Request<api::UpdateNumberRequest>,
    ) -> Result<Response<api::UpdateNumberResponse>, Status> {
        let caller = require(&request, Scope::Admin)?;
        let (request, authority) = (request.into_inner(), authority(&caller));
        let updated = self.updated(request, &authority, &caller.name).await?;
        Ok(Response::new(updated))
    }

    async fn check_number(
        &self,
        request: Request<api::CheckNumberRequest>,
    ) -> Result<Response<api::CheckNumberResponse>, Status> {
        let caller = require(&request, Scope::Admin)?;
        let number = request.into_inner().number;
        let checked = self.checked(&number, &authority(&caller)).await?;
        Ok(Response::new(checked))
    }

    async fn request_downgrade(
        &self,
        request: Request<api::RequestDowngradeRequest>,
    ) -> Result<Response<api::RequestDowngradeResponse>, Status> {
        let caller = require(&request, Scope::Admin)?;
        let (request, authority) = (request.into_inner(), authority(&caller));
        let wanted = self.downgrade_wanted(request, &authority, &caller.name);
        Ok(Response::new(wanted.await?))
    }

    async fn plan_deregistration(
        &self,
        request: Request<api::PlanDeregistrationRequest>,
    ) -> Result<Response<api::PlanDeregistrationResponse>, Status> {
        let caller = require(&request, Scope::Admin)?;
        let number = request.into_inner().number;
        let authority = authority(&caller);
        let planned = self.deregistration_planned(&number, &authority).await?;
        Ok(Response::new(planned))
    }

    async fn deregister_number(
        &self,
        request: Request<api::DeregisterNumberRequest>,
    ) -> Result<Response<api::DeregisterNumberResponse>, Status> {
        let caller = require(&request, Scope::Admin)?;
        let (request, authority) = (request.into_inner(), authority(&caller));
        let begun = self.deregistration_begun(request, &authority, &caller.name);
        Ok(Response::new(begun.await?))
    }

    async fn register_number(
        &self,
        request: Request<api::RegisterNumberRequest>,
    ) -> Result<Response<api::RegisterNumberResponse>, Status> {
        let caller = require(&request, Scope::Admin)?;
        let (request, authority) = (request.into_inner(), authority(&caller));
        let registered = self.registered(request, &authority, &caller.name);
        Ok(Response::new(registered.await?))
    }

    async fn request_interaction(
        &self,
        request: Request<api::RequestInteractionRequest>,
    ) -> Result<Response<api::RequestInteractionResponse>, Status> {
        let caller = require(&request, Scope::Send)?;
        let (request, authority) = (request.into_inner(), authority(&caller));
        let refused = self.interaction_refused(request, &authority).await?;
        Ok(Response::new(refused))
    }

    async fn get_number(
        &self,
        request: Request<api::GetNumberRequest>,
    ) -> Result<Response<api::GetNumberResponse>, Status> {
        let authority = authority(&require(&request, Scope::Read)?);
        let number = request.into_inner().number;
        let shown = self.number_shown(&number, &authority).await?;
        Ok(Response::new(shown))
    }

    async fn list_numbers(
        &self,
        request: Request<api::ListNumbersRequest>,
    ) -> Result<Response<api::ListNumbersResponse>, Status> {
        let authority = authority(&require(&request, Scope::Read)?);
        let request = request.into_inner();
        let page = Page::parse("numbers".to_owned(), request.page_size, &request.page_token)?;
        let desk = self.desk().await?;
        let (numbers, next_page_token) = page.of(&desk.ledger().numbers, |number| {
            authority.covers(&number.brand_id)
        });
        let ledger = desk.ledger();
        let entries = numbers
            .iter()
            .filter_map(|number| ledger.numbers.get(&number.number));
        let entries: Vec<_> = entries.collect();
        Ok(Response::new(api::ListNumbersResponse {
            standings: entries
                .iter()
                .map(|entry| standing(ledger, &entry.record))
                .collect(),
            numbers: entries.into_iter().map(shown_with_etag).collect(),
            next_page_token,
        }))
    }

    async fn pause_number(
        &self,
        request: Request<api::PauseNumberRequest>,
    ) -> Result<Response<api::PauseNumberResponse>, Status> {
        let caller = require(&request, Scope::Admin)?;
        let request = request.into_inner();
        let digits = digits("number", &request.number)?;
        validate::reason("", &request.reason).map_err(invalid)?;

        let mut desk = self.desk().await?;
        let (authority, cause) = (authority(&caller), self.book.cause(&caller.name));
        desk.settle(&cause, |ledger| {
            decide::pause(ledger.number(&digits), &request.reason, &authority, &cause)
        })
        .await
        .map_err(status)?;
        let (number, position) = shown_record(desk.ledger().numbers.get(&digits))?;
        Ok(Response::new(api::PauseNumberResponse {
            number: Some(number),
            position,
        }))
    }

    async fn resume_number(
        &self,
        request: Request<api::ResumeNumberRequest>,
    ) -> Result<Response<api::ResumeNumberResponse>, Status> {
        let caller = require(&request, Scope::Admin)?;
        let digits = digits("number", &request.into_inner().number)?;

        let mut desk = self.desk().await?;
        let (authority, cause) = (authority(&caller), self.book.cause(&caller.name));
        desk.settle(&cause, |ledger| {
            decide::resume(ledger.number(&digits), &authority, &cause)
        })
        .await
        .map_err(status)?;
        let (number, position) = shown_record(desk.ledger().numbers.get(&digits))?;
        Ok(Response::new(api::ResumeNumberResponse {
            number: Some(number),
            position,
        }))
    }

    async fn drain_number(
        &self,
        request: Request<api::DrainNumberRequest>,
    ) -> Result<Response<api::DrainNumberResponse>, Status> {
        let caller = require(&request, Scope::Admin)?;
        let authority = authority(&caller);
        let drained = self.drained(request.into_inner(), &authority, &caller.name);
        Ok(Response::new(drained.await?))
    }

    async fn reopen_number(
        &self,
        request: Request<api::ReopenNumberRequest>,
    ) -> Result<Response<api::ReopenNumberResponse>, Status> {
        let caller = require(&request, Scope::Admin)?;
        let (authority, request) = (authority(&caller), request.into_inner());
        let reopened = self.reopened(&request.number, &authority, &caller.name);
        Ok(Response::new(reopened.await?))
    }

    async fn put_template(
        &self,
        request: Request<api::PutTemplateRequest>,
    ) -> Result<Response<api::PutTemplateResponse>, Status> {
        let caller = require(&request, Scope::Admin)?;
        let wanted = required("template", request.into_inner().template)?;
        let wanted = template("template", wanted).map_err(invalid)?;

        let mut desk = self.desk().await?;
        let (authority, cause) = (authority(&caller), self.book.cause(&caller.name));
        desk.settle(&cause, |ledger| {
            let present = ledger.template(&wanted).map(|entry| &entry.record);
            let is_covered = covers_waba(&authority, ledger, &wanted.waba_id);
            decide::template(
                present,
                wanted.clone(),
                StatusFrom::Wish,
                is_covered,
                &cause,
            )
        })
        .await
        .map_err(status)?;
        let (template, position) = written(desk.ledger().templates.get(&template_key(&wanted)))?;
        Ok(Response::new(api::PutTemplateResponse {
            template: Some(template),
            position,
        }))
    }

    async fn list_templates(
        &self,
        request: Request<api::ListTemplatesRequest>,
    ) -> Result<Response<api::ListTemplatesResponse>, Status> {
        let authority = authority(&require(&request, Scope::Read)?);
        let request = request.into_inner();
        let asked = request.clone();
        let waba_id = request.waba_id;
        let list = template_token("templates", &waba_id, "");
        let page = Page::parse(list, request.page_size, &request.page_token)?;
        let desk = self.desk().await?;
        let ledger = desk.ledger();
        let (templates, next_page_token) = page.of(&ledger.templates, |template| {
            (waba_id.is_empty() || template.waba_id == waba_id)
                && crate::templates::is_asked_for(&asked, template)
                && brands::may_see(ledger, &authority, template)
        });
        Ok(Response::new(api::ListTemplatesResponse {
            templates,
            next_page_token,
        }))
    }
}
