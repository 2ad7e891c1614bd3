//! `casement migrate`: numbers that move here from another account or provider, and numbers that
//! have gone.

mod told;

use casement_event::v1;
use casement_proto::account::v1::{
    CancelMigrationRequest, CheckMigrationRequest, GetMigrationRequest, ListMigrationsRequest,
    RecordMigratedAwayRequest, RecordReturnedRequest, ResendMigrationCodeRequest,
    StartMigrationRequest, SubmitMigrationCodeRequest,
};
use clap::{Args, Subcommand, ValueEnum};

use crate::cli::ApiArgs;
use crate::client::{Api, explain};
use crate::{json, output, person};
use told::{lines, precondition, summary};

#[derive(Debug, Subcommand)]
pub(crate) enum MigrateCommand {
    /// List what the platform asks for before a number can move, and what is missing
    Check(CheckArgs),
    /// Start a migration, or go on with one that is stuck
    Start(StartArgs),
    /// Give the code that came to the number; it is read from standard input if left out
    Code(CodeArgs),
    /// Have another code sent to the number
    Resend(ResendArgs),
    /// Show a migration, with its report once it is over
    Show(ShowArgs),
    /// List migrations
    List(ListArgs),
    /// Give a migration up, before the number is handed over
    Cancel(CancelArgs),
    /// Record that a number has gone to another provider
    Away(AwayArgs),
    /// Take that back
    Returned(ReturnedArgs),
}

/// Where a number goes.
#[derive(Debug, Args)]
pub(crate) struct PlaceArgs {
    /// The business number, +15550001111
    #[arg(long, value_name = "NUMBER")]
    number: String,
    /// The destination's business account
    #[arg(long, value_name = "WABA")]
    waba: String,
    #[command(flatten)]
    token: TokenArgs,
    #[command(flatten)]
    pin: PinArgs,
    /// The app that the token is of, by its name in the configuration
    #[arg(long, value_name = "APP", default_value = "")]
    app: String,
    /// A precondition that the platform does not tell, and that is met; may be given again
    #[arg(long, value_name = "PRECONDITION")]
    vouch: Vec<Vouched>,
}

/// Where the accounts role finds the destination's token.
#[derive(Debug, Args)]
#[group(id = "token_source", required = true, multiple = false)]
pub(crate) struct TokenArgs {
    /// A file with the destination's token, as the accounts role and the dispatcher see it
    #[arg(long, value_name = "FILE")]
    recorded_token_file: Option<String>,
    /// A stored secret with it, BRAND/NAME
    #[arg(long, value_name = "SECRET")]
    token_secret: Option<String>,
}

/// Where it finds the PIN.
#[derive(Debug, Args)]
#[group(id = "pin_source", required = true, multiple = false)]
pub(crate) struct PinArgs {
    /// A file with the six digits that become the number's PIN, as the accounts role sees it
    #[arg(long, value_name = "FILE")]
    pin_file: Option<String>,
    /// A stored secret with them, BRAND/NAME
    #[arg(long, value_name = "SECRET")]
    pin_secret: Option<String>,
}

/// What somebody may vouch for.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Vouched {
    /// The number is registered where it is
    RegisteredAtSource,
    /// The source's owner has switched two-step verification off
    TwoStepDisabled,
    /// The display name is approved
    NameApproved,
    /// No other display name is in review
    NoPendingRename,
    /// Both accounts are one business's
    SameBusiness,
    /// The source's business is verified
    SourceVerified,
    /// The destination's business is verified
    DestinationVerified,
    /// Meta approved the destination
    DestinationApproved,
    /// The destination has a payment method
    PaymentMethod,
    /// The app gets the destination's webhooks
    WebhooksSubscribed,
}

impl Vouched {
    fn kind(self) -> v1::MigrationPreconditionKind {
        use v1::MigrationPreconditionKind as Kind;
        match self {
            Self::RegisteredAtSource => Kind::RegisteredAtSource,
            Self::TwoStepDisabled => Kind::TwoStepDisabled,
            Self::NameApproved => Kind::NameApproved,
            Self::NoPendingRename => Kind::NoPendingRename,
            Self::SameBusiness => Kind::SameBusiness,
            Self::SourceVerified => Kind::SourceVerified,
            Self::DestinationVerified => Kind::DestinationVerified,
            Self::DestinationApproved => Kind::DestinationApproved,
            Self::PaymentMethod => Kind::PaymentMethod,
            Self::WebhooksSubscribed => Kind::WebhooksSubscribed,
        }
    }
}

/// How a code travels.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Method {
    /// As an SMS
    Sms,
    /// Read out in a call
    Voice,
}

fn method(of: Option<Method>) -> v1::MigrationCodeMethod {
    match of {
        None => v1::MigrationCodeMethod::Unspecified,
        Some(Method::Sms) => v1::MigrationCodeMethod::Sms,
        Some(Method::Voice) => v1::MigrationCodeMethod::Voice,
    }
}

#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    #[command(flatten)]
    place: PlaceArgs,
    #[command(flatten)]
    api: ApiArgs,
}

#[derive(Debug, Args)]
pub(crate) struct StartArgs {
    #[command(flatten)]
    place: PlaceArgs,
    /// The brand of a number that is not on record
    #[arg(long, value_name = "BRAND", default_value = "")]
    brand: String,
    /// How the code comes to the number
    #[arg(long, value_name = "METHOD")]
    code_by: Option<Method>,
    /// In which language, such as en_US
    #[arg(long, value_name = "LOCALE", default_value = "")]
    language: String,
    /// Where the platform stores the number's messages, a country such as DE
    #[arg(long, value_name = "COUNTRY", default_value = "")]
    region: String,
    /// Repeating a request under one id starts nothing new
    #[arg(long, value_name = "ID", default_value = "")]
    request_id: String,
    #[command(flatten)]
    api: ApiArgs,
}

#[derive(Debug, Args)]
pub(crate) struct CodeArgs {
    /// The migration's id
    id: String,
    /// The digits; left out, they are read from standard input and stay out of the shell's history
    code: Option<String>,
    #[command(flatten)]
    api: ApiArgs,
}

#[derive(Debug, Args)]
pub(crate) struct ResendArgs {
    /// The migration's id
    id: String,
    /// How it comes
    #[arg(long, value_name = "METHOD")]
    code_by: Option<Method>,
    /// In which language, such as en_US
    #[arg(long, value_name = "LOCALE", default_value = "")]
    language: String,
    #[command(flatten)]
    api: ApiArgs,
}

#[derive(Debug, Args)]
pub(crate) struct ShowArgs {
    /// The migration's id
    id: String,
    #[command(flatten)]
    api: ApiArgs,
}

#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    /// Of this number only
    #[arg(long, value_name = "NUMBER", default_value = "")]
    number: String,
    /// Those that are under way only
    #[arg(long)]
    open: bool,
    #[command(flatten)]
    api: ApiArgs,
}

#[derive(Debug, Args)]
pub(crate) struct CancelArgs {
    /// The migration's id
    id: String,
    /// Why; kept with the migration
    #[arg(long, value_name = "TEXT", default_value = "")]
    reason: String,
    #[command(flatten)]
    api: ApiArgs,
}

#[derive(Debug, Args)]
pub(crate) struct AwayArgs {
    /// The business number, +15550001111
    #[arg(long, value_name = "NUMBER")]
    number: String,
    /// How that is known, or why; kept with the number
    #[arg(long, value_name = "TEXT")]
    reason: String,
    #[command(flatten)]
    api: ApiArgs,
}

#[derive(Debug, Args)]
pub(crate) struct ReturnedArgs {
    /// The business number, +15550001111
    #[arg(long, value_name = "NUMBER")]
    number: String,
    #[command(flatten)]
    api: ApiArgs,
}

impl PlaceArgs {
    fn destination(&self) -> v1::MigrationPlace {
        v1::MigrationPlace {
            waba_id: self.waba.clone(),
            token: secret(
                self.token.recorded_token_file.as_ref(),
                self.token.token_secret.as_ref(),
            ),
            app: self.app.clone(),
            ..v1::MigrationPlace::default()
        }
    }

    fn pin(&self) -> Option<v1::SecretRef> {
        secret(self.pin.pin_file.as_ref(), self.pin.pin_secret.as_ref())
    }

    fn vouched(&self) -> Vec<i32> {
        self.vouch.iter().map(|one| one.kind().into()).collect()
    }
}

fn secret(file: Option<&String>, stored: Option<&String>) -> Option<v1::SecretRef> {
    use v1::secret_ref::Source;
    let file = file.cloned().map(Source::File);
    let source = file.or(stored.cloned().map(Source::Stored));
    source.map(|source| v1::SecretRef {
        source: Some(source),
    })
}

pub(crate) async fn run(command: MigrateCommand) -> anyhow::Result<()> {
    match command {
        MigrateCommand::Check(args) => check(args).await,
        MigrateCommand::Start(args) => start(args).await,
        MigrateCommand::Code(args) => code(args).await,
        MigrateCommand::Resend(args) => resend(args).await,
        MigrateCommand::Show(args) => show(args).await,
        MigrateCommand::List(args) => list(args).await,
        MigrateCommand::Cancel(args) => cancel(args).await,
        MigrateCommand::Away(args) => away(args).await,
        MigrateCommand::Returned(args) => returned(args).await,
    }
}

async fn check(args: CheckArgs) -> anyhow::Result<()> {
    let api = Api::connect(&args.api).await?;
    let request = CheckMigrationRequest {
        number: args.place.number.clone(),
        destination: Some(args.place.destination()),
        pin: args.place.pin(),
        vouched: args.place.vouched(),
    };
    let answer = api.migrations().check_migration(request).await;
    let answer = answer.map_err(explain)?.into_inner();
    if args.api.output.json {
        let value = json::of("casement.account.v1.CheckMigrationResponse", &answer)?;
        return output::json(&value);
    }
    for line in answer.preconditions.iter().flat_map(precondition) {
        output::line(line)?;
    }
    let verdict = if answer.can_start {
        "the number can move"
    } else {
        "the number cannot move yet"
    };
    Ok(output::line(verdict)?)
}

async fn start(args: StartArgs) -> anyhow::Result<()> {
    let api = Api::connect(&args.api).await?;
    let request = StartMigrationRequest {
        number: args.place.number.clone(),
        destination: Some(args.place.destination()),
        pin: args.place.pin(),
        vouched: args.place.vouched(),
        code_method: method(args.code_by).into(),
        code_language: args.language,
        data_localization_region: args.region,
        brand_id: args.brand,
        request_id: args.request_id,
    };
    let answer = api.migrations().start_migration(request).await;
    told(&args.api, answer.map_err(explain)?.into_inner().migration)
}

async fn code(args: CodeArgs) -> anyhow::Result<()> {
    let code = if let Some(code) = args.code {
        code
    } else {
        let mut line = String::new();
        std::io::stdin().read_line(&mut line)?;
        line.trim().to_owned()
    };
    let api = Api::connect(&args.api).await?;
    let request = SubmitMigrationCodeRequest {
        migration_id: args.id,
        code,
    };
    let answer = api.migrations().submit_migration_code(request).await;
    told(&args.api, answer.map_err(explain)?.into_inner().migration)
}

async fn resend(args: ResendArgs) -> anyhow::Result<()> {
    let api = Api::connect(&args.api).await?;
    let request = ResendMigrationCodeRequest {
        migration_id: args.id,
        code_method: method(args.code_by).into(),
        code_language: args.language,
    };
    let answer = api.migrations().resend_migration_code(request).await;
    told(&args.api, answer.map_err(explain)?.into_inner().migration)
}

async fn show(args: ShowArgs) -> anyhow::Result<()> {
    let api = Api::connect(&args.api).await?;
    let request = GetMigrationRequest {
        migration_id: args.id,
    };
    let answer = api.migrations().get_migration(request).await;
    told(&args.api, answer.map_err(explain)?.into_inner().migration)
}

async fn list(args: ListArgs) -> anyhow::Result<()> {
    let api = Api::connect(&args.api).await?;
    let state = if args.open {
        v1::MigrationState::Open
    } else {
        v1::MigrationState::Unspecified
    };
    let mut page_token = String::new();
    let mut all = Vec::new();
    loop {
        let request = ListMigrationsRequest {
            number: args.number.clone(),
            state: state.into(),
            page_size: 0,
            page_token,
        };
        let answer = api.migrations().list_migrations(request).await;
        let answer = answer.map_err(explain)?.into_inner();
        all.extend(answer.migrations);
        page_token = answer.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    if args.api.output.json {
        for migration in &all {
            output::json(&json::of("casement.events.v1.Migration", migration)?)?;
        }
        return Ok(());
    }
    if all.is_empty() {
        return Ok(output::line("no number migrates")?);
    }
    for migration in &all {
        output::line(summary(migration))?;
    }
    Ok(())
}

async fn cancel(args: CancelArgs) -> anyhow::Result<()> {
    let api = Api::connect(&args.api).await?;
    let request = CancelMigrationRequest {
        migration_id: args.id,
        reason: args.reason,
    };
    let answer = api.migrations().cancel_migration(request).await;
    told(&args.api, answer.map_err(explain)?.into_inner().migration)
}

async fn away(args: AwayArgs) -> anyhow::Result<()> {
    let api = Api::connect(&args.api).await?;
    let request = RecordMigratedAwayRequest {
        number: args.number,
        reason: args.reason,
    };
    let answer = api.migrations().record_migrated_away(request).await;
    let number = answer.map_err(explain)?.into_inner().number;
    of_number(&args.api, number)
}

async fn returned(args: ReturnedArgs) -> anyhow::Result<()> {
    let api = Api::connect(&args.api).await?;
    let request = RecordReturnedRequest {
        number: args.number,
    };
    let answer = api.migrations().record_returned(request).await;
    let number = answer.map_err(explain)?.into_inner().number;
    of_number(&args.api, number)
}

fn of_number(api: &ApiArgs, number: Option<v1::Number>) -> anyhow::Result<()> {
    let number = number.unwrap_or_default();
    if api.output.json {
        return output::json(&json::of("casement.events.v1.Number", &number)?);
    }
    let digits = &number.number;
    Ok(output::line(match &number.migrate_away_time {
        Some(since) => format!(
            "{digits} is away since {}: {}",
            person::time(Some(since)),
            number.migrate_away_reason
        ),
        None => format!("{digits} is ours"),
    })?)
}

fn told(api: &ApiArgs, migration: Option<v1::Migration>) -> anyhow::Result<()> {
    let migration = migration.unwrap_or_default();
    if api.output.json {
        return output::json(&json::of("casement.events.v1.Migration", &migration)?);
    }
    for line in lines(&migration) {
        output::line(line)?;
    }
    Ok(())
}
