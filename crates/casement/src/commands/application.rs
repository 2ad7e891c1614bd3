//! `casement application`: businesses on their way to a number of their own, step by step.

use casement_event::v1;
use casement_proto::account::v1 as api;
use clap::{Args, Subcommand, ValueEnum};
use prost_types::FieldMask;

use crate::cli::ApiArgs;
use crate::client::{Api, explain};
use crate::{json, output, person};

/// Applications on a page of `list`.
const PAGE_SIZE: i32 = 200;

#[derive(Debug, Subcommand)]
pub(crate) enum ApplicationCommand {
    /// Start an application for a number; its fee is not refunded from then on
    Start(StartArgs),
    /// Show an application and by when each step is expected
    Show(OneArgs),
    /// List applications
    List(ListArgs),
    /// Change the display name
    Rename(RenameArgs),
    /// The business accepted the invite; its verification begins
    AcceptInvite(OneArgs),
    /// Record how the business's verification stands, and how that is known
    Verification(VerificationArgs),
    /// The business signed the terms
    SignTerms(OneArgs),
    /// Hand over to the onboarding of the number
    Activate(ActivateArgs),
    /// Give an application up; its fee is not refunded
    Cancel(CancelArgs),
}

#[derive(Debug, Args)]
pub(crate) struct StartArgs {
    /// The number, +15550001111
    #[arg(long, value_name = "NUMBER")]
    number: String,
    /// Meta's id of the business portfolio
    #[arg(long, value_name = "ID")]
    business_id: String,
    /// The name that customers are to see
    #[arg(long, value_name = "NAME")]
    display_name: String,
    /// Whose number it will be; the token's own brand unless given
    #[arg(long, value_name = "BRAND", default_value = "")]
    brand: String,
    /// A repeat with the same one finds the first
    #[arg(long, value_name = "ID", default_value = "")]
    request_id: String,
    #[command(flatten)]
    api: ApiArgs,
}

#[derive(Debug, Args)]
pub(crate) struct OneArgs {
    /// The application's id
    #[arg(value_name = "ID")]
    id: String,
    /// Refuse if the record is not this state of it any more
    #[arg(long, value_name = "ETAG", default_value = "")]
    etag: String,
    #[command(flatten)]
    api: ApiArgs,
}

#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    /// Only those in this state; may be given again
    #[arg(long, value_name = "STATE")]
    state: Vec<State>,
    /// Only those for this number, +15550001111
    #[arg(long, value_name = "NUMBER", default_value = "")]
    number: String,
    #[command(flatten)]
    api: ApiArgs,
}

#[derive(Debug, Args)]
pub(crate) struct RenameArgs {
    #[command(flatten)]
    one: OneArgs,
    /// The name that customers are to see
    #[arg(long, value_name = "NAME")]
    display_name: String,
}

#[derive(Debug, Args)]
pub(crate) struct VerificationArgs {
    #[command(flatten)]
    one: OneArgs,
    /// How it stands
    #[arg(long, value_name = "STATUS")]
    status: Verification,
    /// How you know, such as a ticket; stays on the record
    #[arg(long, value_name = "TEXT")]
    evidence: String,
    /// Why it was rejected; may be given again
    #[arg(long, value_name = "TEXT")]
    reason: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct ActivateArgs {
    #[command(flatten)]
    one: OneArgs,
    /// The onboarding of the number, as `casement onboard start` tells it
    #[arg(long, value_name = "ID")]
    onboarding: String,
}

#[derive(Debug, Args)]
pub(crate) struct CancelArgs {
    #[command(flatten)]
    one: OneArgs,
    /// Why; kept with the record
    #[arg(long, value_name = "TEXT")]
    reason: String,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum State {
    Started,
    InviteAccepted,
    TermsSigned,
    Activating,
    Activated,
    Cancelled,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Verification {
    Pending,
    Verified,
    Rejected,
}

impl From<State> for v1::ApplicationState {
    fn from(state: State) -> Self {
        match state {
            State::Started => Self::Started,
            State::InviteAccepted => Self::InviteAccepted,
            State::TermsSigned => Self::TermsSigned,
            State::Activating => Self::Activating,
            State::Activated => Self::Activated,
            State::Cancelled => Self::Cancelled,
        }
    }
}

impl From<Verification> for v1::VerificationStatus {
    fn from(status: Verification) -> Self {
        match status {
            Verification::Pending => Self::Pending,
            Verification::Verified => Self::Verified,
            Verification::Rejected => Self::Rejected,
        }
    }
}

pub(crate) async fn run(command: ApplicationCommand) -> anyhow::Result<()> {
    match command {
        ApplicationCommand::Start(args) => start(args).await,
        ApplicationCommand::Show(args) => show(args).await,
        ApplicationCommand::List(args) => list(args).await,
        ApplicationCommand::Rename(args) => rename(args).await,
        ApplicationCommand::AcceptInvite(args) => accept_invite(args).await,
        ApplicationCommand::Verification(args) => verification(args).await,
        ApplicationCommand::SignTerms(args) => sign_terms(args).await,
        ApplicationCommand::Activate(args) => activate(args).await,
        ApplicationCommand::Cancel(args) => cancel(args).await,
    }
}

async fn start(args: StartArgs) -> anyhow::Result<()> {
    let api = Api::connect(&args.api).await?;
    let request = api::StartApplicationRequest {
        brand_id: args.brand,
        business_id: args.business_id,
        number: args.number,
        display_name: args.display_name,
        request_id: args.request_id,
    };
    let asked = api.applications().start_application(request).await;
    let answer = asked.map_err(explain)?.into_inner();
    tell(&args.api, answer.application)
}

async fn show(args: OneArgs) -> anyhow::Result<()> {
    let api = Api::connect(&args.api).await?;
    let request = api::GetApplicationRequest {
        application_id: args.id,
    };
    let asked = api.applications().get_application(request).await;
    let answer = asked.map_err(explain)?.into_inner();
    tell(&args.api, answer.application)
}

async fn list(args: ListArgs) -> anyhow::Result<()> {
    let api = Api::connect(&args.api).await?;
    let states = args.state.into_iter().map(v1::ApplicationState::from);
    let states: Vec<i32> = states.map(i32::from).collect();
    let mut page_token = String::new();
    let mut is_first = true;
    loop {
        let request = api::ListApplicationsRequest {
            states: states.clone(),
            number: args.number.clone(),
            page_size: PAGE_SIZE,
            page_token,
        };
        let asked = api.applications().list_applications(request).await;
        let answer = asked.map_err(explain)?.into_inner();
        for application in &answer.applications {
            if args.api.output.json {
                output::json(&json::of("casement.events.v1.Application", application)?)?;
                continue;
            }
            if is_first {
                output::line(format!(
                    "{:<32}  {:<16}  {:<15}  NEXT STEP BY",
                    "APPLICATION", "NUMBER", "STATE"
                ))?;
            }
            is_first = false;
            output::line(row(application))?;
        }
        page_token = answer.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    if is_first && !args.api.output.json {
        output::line("no application is on record")?;
    }
    Ok(())
}

async fn rename(args: RenameArgs) -> anyhow::Result<()> {
    let api = Api::connect(&args.one.api).await?;
    let request = api::UpdateApplicationRequest {
        application: Some(v1::Application {
            application_id: args.one.id,
            display_name: args.display_name,
            etag: args.one.etag,
            ..v1::Application::default()
        }),
        update_mask: Some(FieldMask {
            paths: vec!["display_name".to_owned()],
        }),
    };
    let asked = api.applications().update_application(request).await;
    let answer = asked.map_err(explain)?.into_inner();
    tell(&args.one.api, answer.application)
}

async fn accept_invite(args: OneArgs) -> anyhow::Result<()> {
    let api = Api::connect(&args.api).await?;
    let request = api::AcceptInviteRequest {
        application_id: args.id,
        etag: args.etag,
    };
    let asked = api.applications().accept_invite(request).await;
    let answer = asked.map_err(explain)?.into_inner();
    tell(&args.api, answer.application)
}

async fn verification(args: VerificationArgs) -> anyhow::Result<()> {
    let api = Api::connect(&args.one.api).await?;
    let mut request = api::RecordVerificationRequest {
        application_id: args.one.id,
        evidence: args.evidence,
        reasons: args.reason,
        etag: args.one.etag,
        ..api::RecordVerificationRequest::default()
    };
    request.set_status(args.status.into());
    let asked = api.applications().record_verification(request).await;
    let answer = asked.map_err(explain)?.into_inner();
    tell(&args.one.api, answer.application)
}

async fn sign_terms(args: OneArgs) -> anyhow::Result<()> {
    let api = Api::connect(&args.api).await?;
    let request = api::SignTermsRequest {
        application_id: args.id,
        etag: args.etag,
    };
    let asked = api.applications().sign_terms(request).await;
    let answer = asked.map_err(explain)?.into_inner();
    tell(&args.api, answer.application)
}

async fn activate(args: ActivateArgs) -> anyhow::Result<()> {
    let api = Api::connect(&args.one.api).await?;
    let request = api::ActivateNumberRequest {
        application_id: args.one.id,
        onboarding_id: args.onboarding,
        etag: args.one.etag,
    };
    let asked = api.applications().activate_number(request).await;
    let answer = asked.map_err(explain)?.into_inner();
    tell(&args.one.api, answer.application)
}

async fn cancel(args: CancelArgs) -> anyhow::Result<()> {
    let api = Api::connect(&args.one.api).await?;
    let request = api::CancelApplicationRequest {
        application_id: args.one.id,
        reason: args.reason,
        refund: false,
        etag: args.one.etag,
    };
    let asked = api.applications().cancel_application(request).await;
    let answer = asked.map_err(explain)?.into_inner();
    tell(&args.one.api, answer.application)
}

fn tell(args: &ApiArgs, application: Option<v1::Application>) -> anyhow::Result<()> {
    let application = application.unwrap_or_default();
    if args.output.json {
        return output::json(&json::of("casement.events.v1.Application", &application)?);
    }
    for line in lines(&application) {
        output::line(line)?;
    }
    Ok(())
}

fn state(of: &v1::Application) -> String {
    person::word(of.state().as_str_name(), "APPLICATION_STATE_")
}

fn lines(of: &v1::Application) -> Vec<String> {
    let mut lines = vec![
        format!("application  {}", of.application_id),
        format!("number       {} ({})", of.number, of.display_name),
        format!("business     {}, brand {}", of.business_id, of.brand_id),
        format!("state        {}", state(of)),
    ];
    for step in &of.steps {
        let name = person::word(step.step().as_str_name(), "APPLICATION_STEP_");
        let told = if step.complete_time.is_some() {
            format!("done {}", person::time(step.complete_time.as_ref()))
        } else if step.overdue_time.is_some() {
            let by = person::time(step.expected_by_time.as_ref());
            format!("OVERDUE, was expected by {by}")
        } else if step.expected_by_time.is_some() {
            let by = person::time(step.expected_by_time.as_ref());
            format!("expected by {by}")
        } else {
            "not begun".to_owned()
        };
        lines.push(format!("{name:<12} {told}"));
    }
    if let Some(verification) = &of.verification {
        let status = verification.status().as_str_name();
        let status = person::word(status, "VERIFICATION_STATUS_");
        let source = match verification.source() {
            v1::VerificationSource::Platform => {
                format!("by Meta: {}", verification.platform_status)
            }
            v1::VerificationSource::Caller => {
                format!("by {}: {}", verification.caller, verification.evidence)
            }
            v1::VerificationSource::Application | v1::VerificationSource::Unspecified => {
                String::new()
            }
        };
        lines.push(
            format!("business is  {status} {source}")
                .trim_end()
                .to_owned(),
        );
        let reasons = verification.reasons.iter();
        lines.extend(reasons.map(|reason| format!("             {reason}")));
    }
    if !of.onboarding_id.is_empty() {
        lines.push(format!("onboarding   {}", of.onboarding_id));
    }
    if !of.cancel_reason.is_empty() {
        lines.push(format!("cancelled    {}", of.cancel_reason));
    }
    lines.push("fee          not refundable".to_owned());
    lines.push(format!("etag         {}", of.etag));
    lines
}

/// One line of a list: what is waited for next, and by when it is expected.
fn row(of: &v1::Application) -> String {
    let open = of.steps.iter().filter(|step| step.complete_time.is_none());
    let next = open
        .filter(|_| of.end_time.is_none())
        .filter_map(|step| Some((person::instant(step.expected_by_time.as_ref())?, step)))
        .min_by_key(|(by, _)| *by);
    let next = next.map_or_else(
        || "–".to_owned(),
        |(_, step)| {
            let name = person::word(step.step().as_str_name(), "APPLICATION_STEP_");
            let late = if step.overdue_time.is_some() {
                " OVERDUE"
            } else {
                ""
            };
            let by = person::time(step.expected_by_time.as_ref());
            format!("{name} {by}{late}")
        },
    );
    format!(
        "{:<32}  {:<16}  {:<15}  {next}",
        of.application_id,
        of.number,
        state(of)
    )
}

#[cfg(test)]
mod tests {
    use casement_event::convert::timestamp;
    use jiff::Timestamp;

    use super::*;

    #[test]
    fn an_application_is_told_step_by_step_with_what_is_late() {
        let at = |second| Some(timestamp(Timestamp::from_second(second).unwrap()));
        let step = |step: v1::ApplicationStep, done: Option<i64>, late: Option<i64>| {
            v1::ApplicationStepProgress {
                step: step.into(),
                expected_by_time: at(0),
                complete_time: done.and_then(at),
                overdue_time: late.and_then(at),
            }
        };
        let application = v1::Application {
            application_id: "a1".to_owned(),
            number: "+15550001111".to_owned(),
            display_name: "The Shop".to_owned(),
            business_id: "900".to_owned(),
            brand_id: "shop".to_owned(),
            state: v1::ApplicationState::InviteAccepted.into(),
            steps: vec![
                step(v1::ApplicationStep::Invite, Some(0), None),
                step(v1::ApplicationStep::Terms, None, Some(0)),
            ],
            etag: "1-7".to_owned(),
            ..v1::Application::default()
        };
        assert_eq!(
            lines(&application),
            [
                "application  a1",
                "number       +15550001111 (The Shop)",
                "business     900, brand shop",
                "state        invite accepted",
                "invite       done 1970-01-01 00:00:00 UTC",
                "terms        OVERDUE, was expected by 1970-01-01 00:00:00 UTC",
                "fee          not refundable",
                "etag         1-7",
            ]
        );
        assert!(row(&application).ends_with("terms 1970-01-01 00:00:00 UTC OVERDUE"));
    }
}
