//! `AccountService`: who may, what is asked, what is answered. Deciding is elsewhere.

use std::sync::Arc;

use casement_event::subject::template_token;
use casement_event_log::Position;
use casement_proto::account::v1 as api;
use casement_proto::account::v1::account_service_server::AccountService;
use casement_shell::auth::{ALL_BRANDS, Caller, Scope, require};
use tonic::{Request, Response, Status};

use crate::api::{Page, digits, invalid, required, shown, status};
use crate::book::{Book, Desk};
use crate::decide::{self, Authority, Refusal, StatusFrom, Surroundings};
use crate::ledger::{Entry, Ledger, template_key};
use crate::template::template;
use crate::validate;

/// The service.
#[derive(Clone)]
pub struct Accounts {
    book: Arc<Book>,
}

impl Accounts {
    pub(crate) fn new(book: Arc<Book>) -> Self {
        Self { book }
    }

    async fn desk(&self) -> Result<Desk<'_>, Status> {
        self.book.desk().await.map_err(status)
    }
}

fn authority(caller: &Caller) -> Authority {
    if caller.brand == ALL_BRANDS {
        Authority::Every
    } else {
        Authority::Brand(caller.brand.clone())
    }
}

/// A WABA is a brand's if one of its numbers is.
fn covers_waba(authority: &Authority, ledger: &Ledger, waba_id: &str) -> bool {
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
            decide::brand(present, wanted.clone(), &authority, &cause)
        })
        .await
        .map_err(status)?;
        let (brand, position) = written(desk.ledger().brands.get(&wanted.brand_id))?;
        Ok(Response::new(api::PutBrandResponse {
            brand: Some(brand),
            position,
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
        let (brands, next_page_token) = page.of(&desk.ledger().brands, |brand| {
            authority.covers(&brand.brand_id)
        });
        Ok(Response::new(api::ListBrandsResponse {
            brands,
            next_page_token,
        }))
    }

    async fn put_number(
        &self,
        request: Request<api::PutNumberRequest>,
    ) -> Result<Response<api::PutNumberResponse>, Status> {
        let caller = require(&request, Scope::Admin)?;
        let wanted = required("number", request.into_inner().number)?;
        let wanted = validate::number("number", wanted).map_err(invalid)?;

        let mut desk = self.desk().await?;
        let (authority, cause) = (authority(&caller), self.book.cause(&caller.name));
        desk.settle(&cause, |ledger| {
            let around = Surroundings {
                present: ledger.number(&wanted.number),
                holder: ledger.holder_of(&wanted.phone_number_id),
                is_brand_known: ledger.brand(&wanted.brand_id).is_some(),
            };
            decide::number(around, wanted.clone(), &authority, &cause)
        })
        .await
        .map_err(status)?;
        let (number, position) = written(desk.ledger().numbers.get(&wanted.number))?;
        Ok(Response::new(api::PutNumberResponse {
            number: Some(shown(&number)),
            position,
        }))
    }

    async fn get_number(
        &self,
        request: Request<api::GetNumberRequest>,
    ) -> Result<Response<api::GetNumberResponse>, Status> {
        let authority = authority(&require(&request, Scope::Read)?);
        let digits = digits("number", &request.into_inner().number)?;
        let desk = self.desk().await?;
        let number = desk
            .ledger()
            .number(&digits)
            .filter(|number| authority.covers(&number.brand_id))
            .ok_or_else(|| status(Refusal::NumberUnknown.into()))?;
        Ok(Response::new(api::GetNumberResponse {
            number: Some(shown(number)),
        }))
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
        Ok(Response::new(api::ListNumbersResponse {
            numbers: numbers.iter().map(shown).collect(),
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
        let (number, position) = written(desk.ledger().numbers.get(&digits))?;
        Ok(Response::new(api::PauseNumberResponse {
            number: Some(shown(&number)),
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
        let (number, position) = written(desk.ledger().numbers.get(&digits))?;
        Ok(Response::new(api::ResumeNumberResponse {
            number: Some(shown(&number)),
            position,
        }))
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
        let waba_id = request.waba_id;
        let list = template_token("templates", &waba_id, "");
        let page = Page::parse(list, request.page_size, &request.page_token)?;
        let desk = self.desk().await?;
        let ledger = desk.ledger();
        let (templates, next_page_token) = page.of(&ledger.templates, |template| {
            (waba_id.is_empty() || template.waba_id == waba_id)
                && covers_waba(&authority, ledger, &template.waba_id)
        });
        Ok(Response::new(api::ListTemplatesResponse {
            templates,
            next_page_token,
        }))
    }
}
