//! The role's life: record what the file says, then serve and listen.

use std::collections::BTreeSet;
use std::sync::Arc;

use anyhow::Context as _;
use casement_event::v1;
use casement_event_log::Log;
use casement_proto::account::v1::account_service_server::AccountServiceServer;
use casement_shell::SharedClock;
use casement_shell::config::ConfigError;
use casement_shell::grpc::{REQUEST_BYTES_MAX, RESPONSE_BYTES_MAX};
use tokio_util::sync::CancellationToken;

use crate::book::{Book, BookError, Desk};
use crate::decide::{self, Authority, Cause, Refusal, StatusFrom, Surroundings};
use crate::file::{self, DEFAULT_BRAND, FileError};
use crate::grpc::Accounts;
use crate::validate::{self, Problem, Records};
use crate::{Config, reports};

/// Stands on events that the accounts file caused.
const FILE_CALLER: &str = "accounts-file";

/// Stands on the default brand's first record.
const START_CALLER: &str = "start";

/// The role, started: what the file says is on record.
pub struct Role {
    log: Log,
    book: Arc<Book>,
}

/// Reads the file, if there is one, and records it and the default brand.
///
/// # Errors
/// A file that cannot be read, is wrong, or contradicts what is on record is a [`ConfigError`]
/// with every problem; a log that is away or refuses is any other error.
pub async fn start(config: Config, log: Log, clock: SharedClock) -> anyhow::Result<Role> {
    crate::metrics::start();
    let records = match &config.file {
        Some(path) => file::load(path)
            .await
            .map_err(configuration)
            .with_context(|| format!("accounts file {}", path.display()))?,
        None => Records::default(),
    };
    let book = Book::new(log.clone(), clock);
    let mut desk = book.desk().await?;
    record(&book, &mut desk, records).await?;
    drop(desk);
    Ok(Role {
        log,
        book: Arc::new(book),
    })
}

impl Role {
    /// The gRPC service. Whoever serves it puts the tokens in front.
    pub fn service(&self) -> AccountServiceServer<Accounts> {
        AccountServiceServer::new(Accounts::new(Arc::clone(&self.book)))
            .max_decoding_message_size(REQUEST_BYTES_MAX)
            .max_encoding_message_size(RESPONSE_BYTES_MAX)
    }

    /// Takes up what the platform reports, until the stop.
    pub async fn run(self, stopping: CancellationToken) -> anyhow::Result<()> {
        let Self { log, book } = &self;
        log.work(reports::work(), stopping, |delivery| {
            reports::take_up(log, book, delivery)
        })
        .await;
        Ok(())
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
        };
        put_brand(desk, default, &book.cause(START_CALLER)).await?;
    }

    let cause = book.cause(FILE_CALLER);
    let mut problems = Vec::new();
    let mut changes_count = 0_usize;
    for brand in records.brands {
        changes_count += usize::from(put_brand(desk, brand, &cause).await?);
    }
    for (index, number) in records.numbers.into_iter().enumerate() {
        match put_number(desk, number, &cause).await {
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
    wanted: v1::Number,
    cause: &Cause,
) -> Result<bool, BookError> {
    desk.settle(cause, |ledger| {
        let around = Surroundings {
            present: ledger.number(&wanted.number),
            holder: ledger.holder_of(&wanted.phone_number_id),
            is_brand_known: ledger.brand(&wanted.brand_id).is_some(),
        };
        decide::number(around, wanted.clone(), &Authority::Every, cause)
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
        Refusal::BrandUnknown | Refusal::AnotherBrand => "brand_id",
        Refusal::NumberUnknown => "number",
        Refusal::PhoneNumberIdTaken => "phone_number_id",
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
