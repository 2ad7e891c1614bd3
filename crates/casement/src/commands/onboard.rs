//! `casement onboard`: numbers on their way onto the platform after a sign-up. Codes, tokens and PINs
//! are read from files or from standard input.

use std::path::PathBuf;

use casement_event::v1;
use casement_proto::account::v1 as api;
use casement_proto::account::v1::start_onboarding_request::Access;
use clap::{Args, Subcommand};
use secrecy::ExposeSecret as _;

use super::secrets::{read, reference};
use crate::cli::ApiArgs;
use crate::client::{Api, explain};
use crate::{json, output, person};

/// Onboardings on a page of `list`.
const PAGE_SIZE: i32 = 200;

#[derive(Debug, Subcommand)]
pub(crate) enum OnboardCommand {
    /// Bring a number onto the platform, with a sign-up's code or a token that is at hand
    Start(StartArgs),
    /// Show how far an onboarding is, and who has to do what
    Show(OneArgs),
    /// List onboardings
    List(ListArgs),
    /// Go on at once with a step that stopped or waits
    Retry(RetryArgs),
    /// Give an onboarding up; what was done at the platform stays
    Cancel(OneArgs),
}

#[derive(Debug, Args)]
pub(crate) struct StartArgs {
    /// The WhatsApp business account that the sign-up told
    #[arg(long, value_name = "ID")]
    waba_id: String,
    /// The number's id that the sign-up told
    #[arg(long, value_name = "ID")]
    phone_number_id: String,
    #[command(flatten)]
    access: AccessArgs,
    /// Whose number it is; the token's own brand unless given
    #[arg(long, value_name = "BRAND", default_value = "")]
    brand: String,
    /// The Meta app, as in accounts.apps
    #[arg(long, value_name = "NAME", default_value = "")]
    app: String,
    /// The number stays on the phone app (coexistence)
    #[arg(long)]
    coexistence: bool,
    /// File with the six digits of the number's two-step PIN; one is drawn without it
    #[arg(long, value_name = "FILE")]
    pin_file: Option<PathBuf>,
    /// Where messages are kept, a country such as DE
    #[arg(long, value_name = "COUNTRY", default_value = "")]
    region: String,
    /// A repeat with the same one finds the first
    #[arg(long, value_name = "ID", default_value = "")]
    request_id: String,
    #[command(flatten)]
    api: ApiArgs,
}

/// One of them.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(crate) struct AccessArgs {
    /// File with the code that the sign-up gave, `-` for standard input; it lives 30 seconds
    #[arg(long, value_name = "FILE")]
    code_file: Option<PathBuf>,
    /// A token that is stored, BRAND/NAME
    #[arg(long, value_name = "NAME")]
    token_stored: Option<String>,
    /// A token in a file that the roles can read
    #[arg(long, value_name = "PATH")]
    recorded_token_file: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct OneArgs {
    /// The onboarding's id
    #[arg(value_name = "ID")]
    id: String,
    #[command(flatten)]
    api: ApiArgs,
}

#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    /// Only those that are not over
    #[arg(long)]
    open: bool,
    #[command(flatten)]
    api: ApiArgs,
}

#[derive(Debug, Args)]
pub(crate) struct RetryArgs {
    #[command(flatten)]
    one: OneArgs,
    /// File with another two-step PIN, six digits
    #[arg(long, value_name = "FILE")]
    pin_file: Option<PathBuf>,
    /// Another token that is stored, BRAND/NAME
    #[arg(long, value_name = "NAME")]
    token_stored: Option<String>,
}

pub(crate) async fn run(command: OnboardCommand) -> anyhow::Result<()> {
    match command {
        OnboardCommand::Start(args) => start(args).await,
        OnboardCommand::Show(args) => show(args).await,
        OnboardCommand::List(args) => list(args).await,
        OnboardCommand::Retry(args) => retry(args).await,
        OnboardCommand::Cancel(args) => cancel(args).await,
    }
}

fn pin(file: Option<PathBuf>) -> anyhow::Result<String> {
    let Some(file) = file else {
        return Ok(String::new());
    };
    Ok(read(&file)?.expose_secret().to_owned())
}

async fn start(args: StartArgs) -> anyhow::Result<()> {
    let access = match args.access.code_file {
        Some(file) => Some(Access::Code(read(&file)?.expose_secret().to_owned())),
        None => {
            reference(args.access.token_stored, args.access.recorded_token_file).map(Access::Token)
        }
    };
    let request = api::StartOnboardingRequest {
        brand_id: args.brand,
        app: args.app,
        waba_id: args.waba_id,
        phone_number_id: args.phone_number_id,
        access,
        coexistence: args.coexistence,
        pin: pin(args.pin_file)?,
        region: args.region,
        request_id: args.request_id,
    };
    let api = Api::connect(&args.api).await?;
    let asked = api.onboardings().start_onboarding(request).await;
    let answer = asked.map_err(explain)?.into_inner();
    if args.api.output.json {
        let value = json::of("casement.account.v1.StartOnboardingResponse", &answer)?;
        return output::json(&value);
    }
    print(&answer.onboarding.unwrap_or_default())
}

async fn show(args: OneArgs) -> anyhow::Result<()> {
    let api = Api::connect(&args.api).await?;
    let request = api::GetOnboardingRequest {
        onboarding_id: args.id,
    };
    let asked = api.onboardings().get_onboarding(request).await;
    let answer = asked.map_err(explain)?.into_inner();
    if args.api.output.json {
        let value = json::of("casement.account.v1.GetOnboardingResponse", &answer)?;
        return output::json(&value);
    }
    print(&answer.onboarding.unwrap_or_default())
}

async fn list(args: ListArgs) -> anyhow::Result<()> {
    let api = Api::connect(&args.api).await?;
    let mut all = api::ListOnboardingsResponse::default();
    loop {
        let request = api::ListOnboardingsRequest {
            page_size: PAGE_SIZE,
            page_token: all.next_page_token.clone(),
            open_only: args.open,
        };
        let asked = api.onboardings().list_onboardings(request).await;
        let page = asked.map_err(explain)?.into_inner();
        all.onboardings.extend(page.onboardings);
        all.next_page_token = page.next_page_token;
        if all.next_page_token.is_empty() {
            break;
        }
    }
    if args.api.output.json {
        let value = json::of("casement.account.v1.ListOnboardingsResponse", &all)?;
        return output::json(&value);
    }
    if all.onboardings.is_empty() {
        return Ok(output::line("no onboarding is on record")?);
    }
    for onboarding in &all.onboardings {
        output::line(row(onboarding))?;
    }
    Ok(())
}

async fn retry(args: RetryArgs) -> anyhow::Result<()> {
    let request = api::RetryOnboardingRequest {
        onboarding_id: args.one.id,
        pin: pin(args.pin_file)?,
        token: reference(args.token_stored, None),
    };
    let api = Api::connect(&args.one.api).await?;
    let asked = api.onboardings().retry_onboarding(request).await;
    let answer = asked.map_err(explain)?.into_inner();
    if args.one.api.output.json {
        let value = json::of("casement.account.v1.RetryOnboardingResponse", &answer)?;
        return output::json(&value);
    }
    print(&answer.onboarding.unwrap_or_default())
}

async fn cancel(args: OneArgs) -> anyhow::Result<()> {
    let api = Api::connect(&args.api).await?;
    let request = api::CancelOnboardingRequest {
        onboarding_id: args.id,
    };
    let asked = api.onboardings().cancel_onboarding(request).await;
    let answer = asked.map_err(explain)?.into_inner();
    if args.api.output.json {
        let value = json::of("casement.account.v1.CancelOnboardingResponse", &answer)?;
        return output::json(&value);
    }
    print(&answer.onboarding.unwrap_or_default())
}

fn row(of: &v1::Onboarding) -> String {
    let number = match of.number.as_str() {
        "" => of.phone_number_id.as_str(),
        number => number,
    };
    format!(
        "{}  {number}  {}  {}{}",
        of.onboarding_id,
        of.brand_id,
        person::word(of.state().as_str_name(), "ONBOARDING_STATE_"),
        step(of),
    )
}

fn step(of: &v1::Onboarding) -> String {
    match of.state() {
        v1::OnboardingState::Done | v1::OnboardingState::Cancelled => String::new(),
        _ => {
            let step = person::word(of.step().as_str_name(), "ONBOARDING_STEP_");
            format!(" at {step}")
        }
    }
}

fn print(of: &v1::Onboarding) -> anyhow::Result<()> {
    output::line(row(of))?;
    if let Some(problem) = &of.problem {
        let party = person::word(of.waits_for().as_str_name(), "ONBOARDING_PARTY_");
        let code = match problem.code {
            0 => String::new(),
            code => format!(", code {code}"),
        };
        output::line(format!(
            "  waits for {party}: {} ({}{code})",
            problem.text, problem.reason
        ))?;
    }
    let is_open = matches!(
        of.state(),
        v1::OnboardingState::Running | v1::OnboardingState::Waiting
    );
    if is_open && of.next_time.is_some() {
        let at = person::time(of.next_time.as_ref());
        output::line(format!("  goes on at {at}"))?;
    }
    Ok(())
}
