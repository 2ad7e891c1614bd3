//! The role's life: record what the file says, then serve and listen.

use std::collections::BTreeSet;
use std::sync::Arc;

use anyhow::Context as _;
use casement_domain::application::Durations;
use casement_event::v1;
use casement_event_log::customers::Tokens;
use casement_event_log::dead::Tried;
use casement_event_log::{Delivery, Log};
use casement_proto::account::v1::account_service_server::AccountServiceServer;
use casement_proto::account::v1::application_service_server::ApplicationServiceServer;
use casement_proto::account::v1::consent_service_server::ConsentServiceServer;
use casement_proto::account::v1::migration_service_server::MigrationServiceServer;
use casement_proto::account::v1::onboarding_service_server::OnboardingServiceServer;
use casement_proto::account::v1::secret_service_server::SecretServiceServer;
use casement_proto::account::v1::template_service_server::TemplateServiceServer;
use casement_secrets::Secrets;
use casement_shell::SharedClock;
use casement_shell::config::ConfigError;
use casement_shell::grpc::{REQUEST_BYTES_MAX, RESPONSE_BYTES_MAX};
use tokio_util::sync::CancellationToken;

use crate::application::Applications;
use crate::book::{Book, BookError, Desk, SOURCE};
use crate::consent::Consents;
use crate::decide::{self, Authority, Cause, Refusal, StatusFrom, Surroundings};
use crate::file::{self, DEFAULT_BRAND, FileError};
use crate::grpc::Accounts;
use crate::health::{self, Keeper};
use crate::ledger::Ledger;
use crate::migration::Migrations;
use crate::numbers::deregister::{self, Deregistrar};
use crate::numbers::filed;
use crate::onboarding::{self, Onboardings};
use crate::platform::Platform;
use crate::runner::Runner;
use crate::secrets::Shelf;
use crate::templates::{self, Syncer, Templates};
use crate::validate::{self, Problem, Records};
use crate::watch::{self, Watcher};
use crate::{Config, application, migration, reports};

/// Stands on events that the accounts file caused.
const FILE_CALLER: &str = "accounts-file";

/// Stands on the default brand's first record.
const START_CALLER: &str = "start";

/// The role, started: what the file says is on record.
pub struct Role {
    log: Log,
    book: Arc<Book>,
    platform: Arc<Platform>,
    keeper: Arc<Keeper>,
    syncer: Syncer,
    clock: SharedClock,
    secrets: Secrets,
    onboarding: Arc<onboarding::Saga>,
    durations: Durations,
    watcher: Watcher,
}

/// Reads the file, if there is one, and records it and the default brand.
///
/// # Errors
/// A file that cannot be read, is wrong, or contradicts what is on record is a [`ConfigError`]
/// with every problem; a log that is away or refuses is any other error.
pub async fn start(
    config: Config,
    log: Log,
    secrets: Secrets,
    clock: SharedClock,
) -> anyhow::Result<Role> {
    crate::metrics::start();
    if let Some(problem) = config.application.problem() {
        return Err(ConfigError::check(problem).into());
    }
    let records = match &config.file {
        Some(path) => file::load(path)
            .await
            .map_err(configuration)
            .with_context(|| format!("accounts file {}", path.display()))?,
        None => Records::default(),
    };
    let platform = Platform::new(&config.graph, secrets.clone())?;
    let platform = Arc::new(platform);
    let book = Book::new(log.clone(), clock.clone());
    let mut desk = book.desk().await?;
    record(&book, &mut desk, records).await?;
    drop(desk);
    let book = Arc::new(book);
    let poll_every = config.numbers.poll_every;
    let keeper = Keeper::new(
        Arc::clone(&book),
        clock.clone(),
        Arc::clone(&platform),
        poll_every,
    );
    let syncer = Syncer::new(
        Arc::clone(&book),
        Arc::clone(&platform),
        clock.clone(),
        config.templates.sync_every,
    );
    let keeper = Arc::new(keeper);
    let watched = watch::Parts {
        log: log.clone(),
        book: Arc::clone(&book),
        platform: Arc::clone(&platform),
        keeper: Arc::clone(&keeper),
        clock: clock.clone(),
    };
    let watcher = Watcher::new(watched, config.apps.clone(), config.numbers.watch_every);
    let onboarding = onboarding::Saga::new(
        Arc::clone(&book),
        Arc::clone(&platform),
        syncer.clone(),
        secrets.clone(),
        config.apps,
        config.application.durations(),
    );
    Ok(Role {
        log,
        syncer,
        book,
        platform,
        keeper,
        clock,
        secrets,
        onboarding: Arc::new(onboarding),
        durations: config.application.durations(),
        watcher,
    })
}

impl Role {
    /// The gRPC service. Whoever serves it puts the tokens in front.
    pub fn service(&self) -> AccountServiceServer<Accounts> {
        let service = Accounts::new(
            self.log.clone(),
            Arc::clone(&self.book),
            Arc::clone(&self.platform),
            Arc::clone(&self.keeper),
        );
        AccountServiceServer::new(service)
            .max_decoding_message_size(REQUEST_BYTES_MAX)
            .max_encoding_message_size(RESPONSE_BYTES_MAX)
    }

    /// The gRPC service of applications; likewise.
    pub fn applications(&self) -> ApplicationServiceServer<Applications> {
        let service = Applications::new(Arc::clone(&self.book), self.durations);
        ApplicationServiceServer::new(service)
            .max_decoding_message_size(REQUEST_BYTES_MAX)
            .max_encoding_message_size(RESPONSE_BYTES_MAX)
    }

    /// The gRPC service of migrations; likewise.
    pub fn migrations(&self) -> MigrationServiceServer<Migrations> {
        MigrationServiceServer::new(Migrations::new(self.saga()))
            .max_decoding_message_size(REQUEST_BYTES_MAX)
            .max_encoding_message_size(RESPONSE_BYTES_MAX)
    }

    /// The gRPC service of templates; likewise.
    pub fn templates(&self) -> TemplateServiceServer<Templates> {
        TemplateServiceServer::new(Templates::new(self.syncer.clone()))
            .max_decoding_message_size(REQUEST_BYTES_MAX)
            .max_encoding_message_size(RESPONSE_BYTES_MAX)
    }

    /// The gRPC service of onboardings; likewise.
    pub fn onboardings(&self) -> OnboardingServiceServer<Onboardings> {
        OnboardingServiceServer::new(Onboardings::new(Arc::clone(&self.onboarding)))
            .max_decoding_message_size(REQUEST_BYTES_MAX)
            .max_encoding_message_size(RESPONSE_BYTES_MAX)
    }

    /// The gRPC service of stored secrets; likewise.
    pub fn shelf(&self) -> SecretServiceServer<Shelf> {
        let service = Shelf::new(Arc::clone(&self.book), self.secrets.clone());
        SecretServiceServer::new(service)
            .max_decoding_message_size(REQUEST_BYTES_MAX)
            .max_encoding_message_size(RESPONSE_BYTES_MAX)
    }

    fn saga(&self) -> migration::Saga {
        migration::Saga::new(
            Arc::clone(&self.book),
            Arc::clone(&self.platform),
            self.secrets.clone(),
            self.clock.clone(),
        )
    }

    /// The gRPC service of consent; likewise. Streams of it end with `closing`.
    pub fn consents(
        &self,
        tokens: Tokens,
        closing: CancellationToken,
    ) -> ConsentServiceServer<Consents> {
        let (book, clock) = (Arc::clone(&self.book), self.clock.clone());
        let service = Consents::new(self.log.clone(), book, tokens, clock, closing);
        ConsentServiceServer::new(service)
            .max_decoding_message_size(REQUEST_BYTES_MAX)
            .max_encoding_message_size(RESPONSE_BYTES_MAX)
    }

    /// Takes up what the platform reports, and account records whose time comes, until the stop.
    pub async fn run(self, stopping: CancellationToken) -> anyhow::Result<()> {
        let runner = self.runner();
        // Beside the rest: what it waits for holds up nobody.
        let watched = self.watcher.run(stopping.clone());
        let (log, book, durations) = (&self.log, &self.book, &self.durations);
        let reported = log.work(reports::work(), stopping.clone(), |delivery| {
            reports::take_up(log, book, delivery)
        });
        let verified = log.work(application::reports::work(), stopping.clone(), |delivery| {
            application::reports::take_up(Arc::clone(book), *durations, delivery)
        });
        let keeper = &self.keeper;
        let told = log.work(health::work(), stopping.clone(), |delivery| {
            health::take_up(log, book, keeper, delivery)
        });
        let asked = keeper.run(stopping.clone());
        let syncer = &self.syncer;
        let read = log.work(templates::reads(), stopping.clone(), |delivery| {
            templates::take_up(syncer, delivery)
        });
        let begun = templates::begin(syncer, stopping.clone());
        let held = log.work(templates::pacing(), stopping.clone(), |delivery| {
            templates::hold(syncer, delivery)
        });
        let now = || self.clock.now();
        let asked_about = (reports::ROLE, SOURCE);
        let wishes = log.grant_wishes(asked_about, now, stopping.clone(), |letter| async move {
            let Some(stored) = log.buried(&letter).await? else {
                return Ok(Tried::InVain("the report has left the log".to_owned()));
            };
            if let Err(error) = stored.event() {
                return Ok(Tried::InVain(error.to_string()));
            }
            let is_template = stored
                .subject
                .starts_with("casement.accounts.reported.template.");
            let delivery = Delivery {
                stored,
                delivered: 1,
            };
            if is_template {
                reports::take_up(log, book, delivery).await?;
            } else {
                health::take_up(log, book, keeper, delivery).await?;
            }
            Ok(Tried::Helped)
        });
        tokio::join!(
            reported,
            verified,
            told,
            asked,
            read,
            begun,
            held,
            wishes,
            watched,
            runner.run(stopping)
        );
        Ok(())
    }

    /// Who takes care of which records when their time comes: one line for each kind.
    fn runner(&self) -> Runner {
        let (book, durations) = (Arc::clone(&self.book), self.durations);
        let deregistrar = Deregistrar {
            book: Arc::clone(&self.book),
            clock: self.clock.clone(),
            platform: Arc::clone(&self.platform),
            keeper: Arc::clone(&self.keeper),
        };
        let saga = self.saga();
        let onboarding = Arc::clone(&self.onboarding);
        Runner::new(self.log.clone(), self.clock.clone())
            .on(application::KIND, move |ripe| {
                application::look(Arc::clone(&book), durations, ripe)
            })
            .on(onboarding::KIND, move |ripe| {
                Arc::clone(&onboarding).take(ripe)
            })
            .on(migration::KIND, move |ripe| {
                let saga = saga.clone();
                async move { saga.run(&ripe.key).await }
            })
            .on(deregister::KIND, move |ripe| deregistrar.clone().step(ripe))
            .on(templates::KIND, {
                let syncer = self.syncer.clone();
                move |ripe| {
                    let syncer = syncer.clone();
                    async move { syncer.on_time(&ripe.key).await }
                }
            })
            .on("template", {
                let syncer = self.syncer.clone();
                move |ripe| {
                    let syncer = syncer.clone();
                    async move { syncer.after_pause(&ripe).await }
                }
            })
    }
}

/// Records a file's records, and the default brand unless somebody did.
async fn record(book: &Book, desk: &mut Desk<'_>, records: Records) -> anyhow::Result<()> {
    let is_known = |brand: &str| brand == DEFAULT_BRAND || desk.ledger().brand(brand).is_some();
    let problems = validate::across(&records, is_known);
    if !problems.is_empty() {
        return Err(wrong(&problems).into());
    }

    let named: BTreeSet<_> = records.brands.iter().map(|brand| &brand.brand_id).collect();
    let is_default_named = named.iter().any(|brand| *brand == DEFAULT_BRAND);
    if !is_default_named && desk.ledger().brand(DEFAULT_BRAND).is_none() {
        let default = v1::Brand {
            brand_id: DEFAULT_BRAND.to_owned(),
            display_name: "Default".to_owned(),
            ..v1::Brand::default()
        };
        put_brand(desk, default, &book.cause(START_CALLER)).await?;
    }

    let cause = book.cause(FILE_CALLER);
    let mut problems = Vec::new();
    let mut changes_count = 0_usize;
    for brand in records.brands {
        // What changes at run time stays as it is on record.
        let present = desk.ledger().brand(&brand.brand_id).cloned();
        let brand = v1::Brand {
            display_name: brand.display_name,
            brand_id: brand.brand_id,
            ..present.unwrap_or_default()
        };
        changes_count += usize::from(put_brand(desk, brand, &cause).await?);
    }
    for (index, number) in records.numbers.into_iter().enumerate() {
        let is_brand_named = !records.brandless.contains(&number.number);
        match put_number(desk, index, number, is_brand_named, &cause).await {
            Ok(is_written) => changes_count += usize::from(is_written),
            Err(BookError::Refused(refusal)) => problems.push(refused(index, &refusal)),
            Err(error) => return Err(error.into()),
        }
    }
    for template in records.templates {
        changes_count += usize::from(put_template(desk, template, &cause).await?);
    }
    if !problems.is_empty() {
        return Err(wrong(&problems).into());
    }
    if changes_count > 0 {
        tracing::info!(changes_count, "accounts file recorded");
    }
    Ok(())
}

async fn put_brand(
    desk: &mut Desk<'_>,
    wanted: v1::Brand,
    cause: &Cause,
) -> Result<bool, BookError> {
    desk.settle(cause, |ledger| {
        let present = ledger.brand(&wanted.brand_id);
        decide::brand(present, wanted.clone(), &Authority::Every, cause)
    })
    .await
}

async fn put_number(
    desk: &mut Desk<'_>,
    index: usize,
    filed: v1::Number,
    is_brand_named: bool,
    cause: &Cause,
) -> Result<bool, BookError> {
    let wanted = |ledger: &Ledger| {
        let present = ledger.numbers.get(&filed.number);
        filed::wanted(present, &filed, is_brand_named, FILE_CALLER)
    };
    if wanted(desk.ledger()).1 {
        tracing::warn!(
            entry = format!("number[{index}]"),
            "accounts file has a number at another waba_id or phone_number_id than the record, \
             which is newer and stands: correct the file, or say where it is with `casement connect \
             --api` or UpdateNumber"
        );
    }
    desk.settle(cause, |ledger| {
        let (wanted, _) = wanted(ledger);
        let around = Surroundings {
            present: ledger.number(&wanted.number),
            holder: ledger.holder_of(&wanted.phone_number_id),
            is_brand_known: ledger.brand(&wanted.brand_id).is_some(),
        };
        decide::number(around, wanted, &Authority::Every, cause)
    })
    .await
}

async fn put_template(
    desk: &mut Desk<'_>,
    wanted: v1::Template,
    cause: &Cause,
) -> Result<bool, BookError> {
    let is_written = desk
        .settle(cause, |ledger| {
            let present = ledger.template(&wanted).map(|entry| &entry.record);
            decide::template(present, wanted.clone(), StatusFrom::Record, true, cause)
        })
        .await?;
    let (waba_id, name) = (wanted.waba_id.as_str(), wanted.name.as_str());
    let status = desk
        .ledger()
        .template(&wanted)
        .map(|entry| entry.record.status);
    if status != Some(wanted.status) {
        tracing::warn!(
            waba_id,
            name,
            "template's status in the file is not the one on record, which stands"
        );
    }
    if !desk.ledger().has_number_of(waba_id, |_| true) {
        tracing::warn!(waba_id, name, "template's WABA has no number on record");
    }
    Ok(is_written)
}

/// Which field of the file a refusal is about.
fn refused(index: usize, refusal: &Refusal) -> Problem {
    let field = match refusal {
        Refusal::BrandUnknown
        | Refusal::AnotherBrand
        | Refusal::EtagMismatch
        | Refusal::LimitsOfBrand => "brand_id",
        // The file has no applications and no migrations.
        Refusal::Application(_) | Refusal::NumberUnknown | Refusal::Migration(_) => "number",
        Refusal::PhoneNumberIdTaken
        | Refusal::PhoneNumberIdRetired
        | Refusal::NumberMoves
        | Refusal::Onboarding(_) => "phone_number_id",
        Refusal::OnboardTimeAhead => "onboard_time",
    };
    Problem::new(&format!("number[{index}]"), field, refusal)
}

fn configuration(error: FileError) -> ConfigError {
    match error {
        FileError::Wrong { problems } => wrong(&problems),
        FileError::Read { path, source } => ConfigError::Read { path, source },
    }
}

fn wrong(problems: &[Problem]) -> ConfigError {
    ConfigError::Invalid {
        problems: problems.iter().map(Problem::to_string).collect(),
    }
}
