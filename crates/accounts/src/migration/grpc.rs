//! `MigrationService`: who may, what is asked, what is answered.

use casement_domain::migration::{self as domain, Happened, Step};
use casement_event::{Uuid, v1};
use casement_proto::account::v1 as api;
use casement_proto::account::v1::migration_service_server::MigrationService;
use casement_shell::auth::{ALL_BRANDS, Caller, Scope, require};
use casement_shell::grpc::{bad_field, refuse};
use tonic::{Code, Request, Response, Status};

use super::away::Evidence;
use super::decide::{self, Refused, Told};
use super::number::{self, Turn};
use super::saga::Saga;
use super::steps::{self, There};
use super::stored;
use crate::api::{Page, digits, invalid, required, shown, status};
use crate::book::{BookError, Desk};
use crate::decide::{Authority, Refusal};
use crate::validate;

/// Longest locale and country.
const WORD_LEN_MAX: usize = 16;

/// The service.
#[derive(Clone)]
pub struct Migrations {
    saga: Saga,
}

impl Migrations {
    pub(crate) fn new(saga: Saga) -> Self {
        Self { saga }
    }

    async fn desk(&self) -> Result<Desk<'_>, Status> {
        self.saga.book.desk().await.map_err(status)
    }

    /// The migration that a caller may see, or that there is none.
    async fn seen(&self, id: &str, authority: &Authority) -> Result<v1::Migration, Status> {
        let desk = self.desk().await?;
        let migration = desk.ledger().migration(id);
        migration
            .filter(|migration| authority.covers(&migration.brand_id))
            .cloned()
            .ok_or_else(|| refused(Refused::Unknown))
    }

    /// The migration as it is on record now, as the API shows it, and its place.
    async fn answer(&self, id: &str) -> Result<(v1::Migration, String), Status> {
        let desk = self.desk().await?;
        let entry = desk.ledger().migrations.get(id);
        let entry = entry.ok_or_else(|| refused(Refused::Unknown))?;
        Ok((shown_migration(&entry.record), entry.position.to_string()))
    }
}

fn refused(why: Refused) -> Status {
    status(BookError::Refused(Refusal::Migration(why)))
}

fn authority(caller: &Caller) -> Authority {
    if caller.brand == ALL_BRANDS {
        Authority::Every
    } else {
        Authority::Brand(caller.brand.clone())
    }
}

fn shown_migration(of: &v1::Migration) -> v1::Migration {
    v1::Migration {
        number: format!("+{}", of.number),
        ..of.clone()
    }
}

/// Checks where a number is to go.
fn place(field: &str, place: Option<v1::MigrationPlace>) -> Result<v1::MigrationPlace, Status> {
    let place = required(field, place)?;
    // The same rules as for a number's record.
    let probe = v1::Number {
        number: "+15550000000".to_owned(),
        brand_id: "default".to_owned(),
        portfolio_id: match place.portfolio_id.as_str() {
            "" => "0".to_owned(),
            id => id.to_owned(),
        },
        waba_id: place.waba_id.clone(),
        phone_number_id: "0".to_owned(),
        token: place.token.clone(),
        app: place.app.clone(),
        ..v1::Number::default()
    };
    validate::number(field, probe).map_err(invalid)?;
    if place.token.is_none() {
        return Err(bad_field(format!("{field}.token"), "is required"));
    }
    Ok(v1::MigrationPlace {
        phone_number_id: String::new(),
        ..place
    })
}

fn word(field: &str, text: &str) -> Result<(), Status> {
    let is_word = text.len() <= WORD_LEN_MAX
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    if is_word {
        Ok(())
    } else {
        Err(bad_field(field, "is no locale or country"))
    }
}

#[tonic::async_trait]
impl MigrationService for Migrations {
    async fn check_migration(
        &self,
        request: Request<api::CheckMigrationRequest>,
    ) -> Result<Response<api::CheckMigrationResponse>, Status> {
        let authority = authority(&require(&request, Scope::Admin)?);
        let request = request.into_inner();
        let digits = digits("number", &request.number)?;
        let destination = place("destination", request.destination)?;
        let source = {
            let desk = self.desk().await?;
            match desk.ledger().number(&digits) {
                Some(number) if !authority.covers(&number.brand_id) => {
                    return Err(status(Refusal::NumberUnknown.into()));
                }
                number => number.map(decide::place_of),
            }
        };
        let migration = v1::Migration {
            number: digits,
            source,
            destination: Some(destination),
            pin: request.pin,
            vouched: request.vouched,
            ..v1::Migration::default()
        };
        let found = self.saga.preconditions(&migration).await.map_err(status)?;
        let (preconditions, _, _) = found.map_err(|outcome| {
            let problem = outcome.told.problem.unwrap_or_default();
            refuse(Code::Unavailable, &problem.reason, problem.text)
        })?;
        let can_start = domain::unmet(&preconditions).next().is_none();
        let preconditions = preconditions.iter().map(stored::precondition).collect();
        Ok(Response::new(api::CheckMigrationResponse {
            preconditions,
            can_start,
        }))
    }

    async fn start_migration(
        &self,
        request: Request<api::StartMigrationRequest>,
    ) -> Result<Response<api::StartMigrationResponse>, Status> {
        let caller = require(&request, Scope::Admin)?;
        let request = request.into_inner();
        let destination = place("destination", request.destination)?;
        required("pin", request.pin.as_ref())?;
        word("code_language", &request.code_language)?;
        word(
            "data_localization_region",
            &request.data_localization_region,
        )?;
        let wanted = v1::Migration {
            migration_id: format!("mig-{}", Uuid::new_v4().simple()),
            number: digits("number", &request.number)?,
            brand_id: request.brand_id,
            destination: Some(destination),
            pin: request.pin,
            vouched: request.vouched,
            code_method: request.code_method,
            code_language: request.code_language,
            data_localization_region: request.data_localization_region,
            request_id: request.request_id,
            caller_brand: caller.brand.clone(),
            ..v1::Migration::default()
        };
        let (authority, cause) = (authority(&caller), self.saga.book.cause(&caller.name));
        let mut desk = self.desk().await?;
        desk.settle(&cause, |ledger| {
            if decide::requested(ledger, &wanted).is_some() {
                return Ok(None);
            }
            decide::start(ledger, &wanted, &authority, &cause)
        })
        .await
        .map_err(status)?;
        let ledger = desk.ledger();
        let id = decide::requested(ledger, &wanted)
            .or_else(|| decide::open_of(ledger, &wanted.number))
            .map(|migration| migration.migration_id.clone());
        drop(desk);
        let id = id.ok_or_else(|| refused(Refused::Unknown))?;
        let (migration, position) = self.answer(&id).await?;
        Ok(Response::new(api::StartMigrationResponse {
            migration: Some(migration),
            position,
        }))
    }

    async fn resend_migration_code(
        &self,
        request: Request<api::ResendMigrationCodeRequest>,
    ) -> Result<Response<api::ResendMigrationCodeResponse>, Status> {
        let caller = require(&request, Scope::Admin)?;
        let request = request.into_inner();
        word("code_language", &request.code_language)?;
        let (authority, cause) = (authority(&caller), self.saga.book.cause(&caller.name));
        let id = &request.migration_id;
        let mut desk = self.desk().await?;
        desk.settle(&cause, |ledger| {
            let present = decide::of_caller(ledger, id, &authority)?;
            let (method, language) = (request.code_method(), &request.code_language);
            decide::resend(present, method, language, &cause)
        })
        .await
        .map_err(status)?;
        drop(desk);
        let (migration, position) = self.answer(id).await?;
        Ok(Response::new(api::ResendMigrationCodeResponse {
            migration: Some(migration),
            position,
        }))
    }

    async fn submit_migration_code(
        &self,
        request: Request<api::SubmitMigrationCodeRequest>,
    ) -> Result<Response<api::SubmitMigrationCodeResponse>, Status> {
        let caller = require(&request, Scope::Admin)?;
        let request = request.into_inner();
        let code = steps::code(&request.code)
            .ok_or_else(|| bad_field("code", "is not the digits that came to the number"))?;
        let (authority, cause) = (authority(&caller), self.saga.book.cause(&caller.name));
        let id = &request.migration_id;
        let mut desk = self.desk().await?;
        desk.settle(&cause, |ledger| {
            let present = decide::of_caller(ledger, id, &authority)?;
            let (step, told) = (Step::VerifyCode, Told::default());
            match stored::course(present).step {
                Step::VerifyCode => {
                    decide::happened(present, step, Happened::CodeGiven, &told, &cause)
                }
                _ => Err(domain::Refusal::NoCodeAwaited.into()),
            }
        })
        .await
        .map_err(status)?;
        drop(desk);
        let migration = self.seen(id, &authority).await?;
        let outcome = match There::of(&self.saga.means, &migration) {
            Ok(there) => there.verify_code(&code).await,
            Err(outcome) => *outcome,
        };
        let problem = outcome.told.problem.clone();
        let settled = self.saga.settle(&migration, outcome).await;
        settled.map_err(|error| {
            tracing::warn!(error = %error, "what became of a code is not on record yet");
            let text = "whether the code was taken is not on record: ask for the migration";
            refuse(Code::Unavailable, "OUTCOME_UNKNOWN", text)
        })?;
        if let Some(problem) = problem {
            return Err(refuse(
                Code::FailedPrecondition,
                &problem.reason,
                problem.text,
            ));
        }
        let (migration, position) = self.answer(id).await?;
        Ok(Response::new(api::SubmitMigrationCodeResponse {
            migration: Some(migration),
            position,
        }))
    }

    async fn get_migration(
        &self,
        request: Request<api::GetMigrationRequest>,
    ) -> Result<Response<api::GetMigrationResponse>, Status> {
        let authority = authority(&require(&request, Scope::Read)?);
        let id = request.into_inner().migration_id;
        let migration = self.seen(&id, &authority).await?;
        Ok(Response::new(api::GetMigrationResponse {
            migration: Some(shown_migration(&migration)),
        }))
    }

    async fn list_migrations(
        &self,
        request: Request<api::ListMigrationsRequest>,
    ) -> Result<Response<api::ListMigrationsResponse>, Status> {
        let authority = authority(&require(&request, Scope::Read)?);
        let request = request.into_inner();
        let number = match request.number.as_str() {
            "" => None,
            number => Some(digits("number", number)?),
        };
        let state = request.state();
        let list = format!("migrations {} {}", request.number, state.as_str_name());
        let page = Page::parse(list, request.page_size, &request.page_token)?;
        let desk = self.desk().await?;
        let (migrations, next_page_token) = page.of(&desk.ledger().migrations, |migration| {
            let is_of_number = number.as_ref().is_none_or(|it| *it == migration.number);
            let is_of_state =
                state == v1::MigrationState::Unspecified || migration.state() == state;
            authority.covers(&migration.brand_id) && is_of_number && is_of_state
        });
        Ok(Response::new(api::ListMigrationsResponse {
            migrations: migrations.iter().map(shown_migration).collect(),
            next_page_token,
        }))
    }

    async fn cancel_migration(
        &self,
        request: Request<api::CancelMigrationRequest>,
    ) -> Result<Response<api::CancelMigrationResponse>, Status> {
        let caller = require(&request, Scope::Admin)?;
        let request = request.into_inner();
        validate::reason("", &request.reason).map_err(invalid)?;
        let (authority, cause) = (authority(&caller), self.saga.book.cause(&caller.name));
        let id = &request.migration_id;
        let told = Told {
            cancel_reason: Some(request.reason.clone()),
            ..Told::default()
        };
        let mut desk = self.desk().await?;
        desk.settle(&cause, |ledger| {
            let present = decide::of_caller(ledger, id, &authority)?;
            let course = stored::course(present);
            if course.ended == Some(domain::End::Cancelled) {
                return Ok(None);
            }
            decide::happened(present, course.step, Happened::Cancelled, &told, &cause)
        })
        .await
        .map_err(status)?;
        drop(desk);
        let migration = self.seen(id, &authority).await?;
        let released = self.saga.turn(&migration, Turn::Release).await;
        released.map_err(status)?;
        let (migration, position) = self.answer(id).await?;
        Ok(Response::new(api::CancelMigrationResponse {
            migration: Some(migration),
            position,
        }))
    }

    async fn record_migrated_away(
        &self,
        request: Request<api::RecordMigratedAwayRequest>,
    ) -> Result<Response<api::RecordMigratedAwayResponse>, Status> {
        let caller = require(&request, Scope::Admin)?;
        let request = request.into_inner();
        let digits = digits("number", &request.number)?;
        validate::reason("", &request.reason).map_err(invalid)?;
        if request.reason.trim().is_empty() {
            return Err(bad_field("reason", "is required"));
        }
        let (authority, cause) = (authority(&caller), self.saga.book.cause(&caller.name));
        let mut desk = self.desk().await?;
        desk.settle(&cause, |ledger| {
            let (reason, by) = (&request.reason, Evidence::ByHand.as_str());
            number::away(ledger, &digits, reason, by, &authority, &cause)
        })
        .await
        .map_err(status)?;
        let (number, position) = written(&desk, &digits)?;
        Ok(Response::new(api::RecordMigratedAwayResponse {
            number: Some(number),
            position,
        }))
    }

    async fn record_returned(
        &self,
        request: Request<api::RecordReturnedRequest>,
    ) -> Result<Response<api::RecordReturnedResponse>, Status> {
        let caller = require(&request, Scope::Admin)?;
        let digits = digits("number", &request.into_inner().number)?;
        let (authority, cause) = (authority(&caller), self.saga.book.cause(&caller.name));
        let mut desk = self.desk().await?;
        desk.settle(&cause, |ledger| {
            number::returned(ledger, &digits, &authority, &cause)
        })
        .await
        .map_err(status)?;
        let (number, position) = written(&desk, &digits)?;
        Ok(Response::new(api::RecordReturnedResponse {
            number: Some(number),
            position,
        }))
    }
}

/// The number as a write left it, and its place.
fn written(desk: &Desk<'_>, digits: &str) -> Result<(v1::Number, String), Status> {
    let entry = desk.ledger().numbers.get(digits);
    let entry = entry.ok_or_else(|| status(Refusal::NumberUnknown.into()))?;
    Ok((shown(&entry.record), entry.position.to_string()))
}
