//! `casement template`: templates as the platform has them: read, looked at, created, edited,
//! deleted.

mod told;

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use casement_event::v1;
use casement_proto::account::v1 as wire;
use clap::{Args, Subcommand, ValueEnum};

use crate::cli::{ApiArgs, assignment};
use crate::client::{Api, explain};
use crate::{json, output};
use told::{lines, rendered, row, synced};

/// Templates on a page of the list.
const PAGE_SIZE: i32 = 500;

#[derive(Debug, Subcommand)]
pub(crate) enum TemplateCommand {
    /// Read a business account's templates from the platform now
    Sync(SyncArgs),
    /// List templates as they are on record
    List(ListArgs),
    /// Show one template, whole
    Show(OneArgs),
    /// Submit a new template for review
    Create(CreateArgs),
    /// Edit a template; it is reviewed again
    Edit(EditArgs),
    /// Delete a template at the platform
    Delete(DeleteArgs),
    /// Show what a customer would read
    Render(RenderArgs),
}

#[derive(Debug, Args)]
pub(crate) struct SyncArgs {
    /// The WhatsApp Business Account
    #[arg(long, value_name = "ID")]
    waba: String,
    /// Only this template, in all its languages
    #[arg(long, value_name = "NAME", default_value = "")]
    name: String,
    #[command(flatten)]
    api: ApiArgs,
}

#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    /// Only this WhatsApp Business Account's
    #[arg(long, value_name = "ID", default_value = "")]
    waba: String,
    /// Only those with this in their name
    #[arg(long, value_name = "PART", default_value = "")]
    name: String,
    /// Only in this language
    #[arg(long, value_name = "CODE", default_value = "")]
    language: String,
    /// Only those in this state
    #[arg(long, value_enum)]
    status: Option<StatusArg>,
    #[command(flatten)]
    api: ApiArgs,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum StatusArg {
    Approved,
    Pending,
    Rejected,
    Paused,
    Disabled,
    Deleted,
}

impl From<StatusArg> for v1::TemplateStatus {
    fn from(status: StatusArg) -> Self {
        match status {
            StatusArg::Approved => Self::Approved,
            StatusArg::Pending => Self::Pending,
            StatusArg::Rejected => Self::Rejected,
            StatusArg::Paused => Self::Paused,
            StatusArg::Disabled => Self::Disabled,
            StatusArg::Deleted => Self::Deleted,
        }
    }
}

/// One template.
#[derive(Debug, Args)]
pub(crate) struct NameArgs {
    /// The WhatsApp Business Account
    #[arg(long, value_name = "ID")]
    waba: String,
    /// Its name
    #[arg(long, value_name = "NAME")]
    name: String,
    /// Its language, such as en_US
    #[arg(long, value_name = "CODE")]
    language: String,
}

#[derive(Debug, Args)]
pub(crate) struct OneArgs {
    #[command(flatten)]
    template: NameArgs,
    #[command(flatten)]
    api: ApiArgs,
}

#[derive(Debug, Args)]
pub(crate) struct CreateArgs {
    /// The template as JSON, as `casement template show --json` writes it
    #[arg(long, value_name = "FILE")]
    file: PathBuf,
    /// Repeating a request under its id creates nothing more
    #[arg(long, value_name = "ID", default_value = "")]
    request_id: String,
    /// The platform may choose another category
    #[arg(long)]
    allow_category_change: bool,
    #[command(flatten)]
    api: ApiArgs,
}

#[derive(Debug, Args)]
pub(crate) struct EditArgs {
    /// What it shall be, as JSON, as `casement template show --json` writes it
    #[arg(long, value_name = "FILE")]
    file: PathBuf,
    /// Repeating a request under its id edits nothing more
    #[arg(long, value_name = "ID", default_value = "")]
    request_id: String,
    #[command(flatten)]
    api: ApiArgs,
}

#[derive(Debug, Args)]
pub(crate) struct DeleteArgs {
    /// The WhatsApp Business Account
    #[arg(long, value_name = "ID")]
    waba: String,
    /// Its name
    #[arg(long, value_name = "NAME")]
    name: String,
    /// Only in this language; in all of them if it is left out
    #[arg(long, value_name = "CODE", default_value = "")]
    language: String,
    #[command(flatten)]
    api: ApiArgs,
}

#[derive(Debug, Args)]
pub(crate) struct RenderArgs {
    #[command(flatten)]
    template: NameArgs,
    /// A parameter of the body, in order; may be repeated
    #[arg(long = "param", value_name = "TEXT")]
    parameters: Vec<String>,
    /// A named parameter of the body; may be repeated
    #[arg(long = "named-param", value_name = "NAME=TEXT", value_parser = assignment)]
    named_parameters: Vec<(String, String)>,
    /// All that it is filled in with, as JSON: a message's `content.template`
    #[arg(long, value_name = "FILE", conflicts_with_all = ["parameters", "named_parameters"])]
    content_file: Option<PathBuf>,
    #[command(flatten)]
    api: ApiArgs,
}

pub(crate) async fn run(command: TemplateCommand) -> anyhow::Result<()> {
    match command {
        TemplateCommand::Sync(args) => sync(args).await,
        TemplateCommand::List(args) => list(args).await,
        TemplateCommand::Show(args) => show(args).await,
        TemplateCommand::Create(args) => create(args).await,
        TemplateCommand::Edit(args) => edit(args).await,
        TemplateCommand::Delete(args) => delete(args).await,
        TemplateCommand::Render(args) => render(args).await,
    }
}

async fn sync(args: SyncArgs) -> anyhow::Result<()> {
    let api = Api::connect(&args.api).await?;
    let request = wire::SyncTemplatesRequest {
        waba_id: args.waba,
        name: args.name,
    };
    let asked = api.templates().sync_templates(request).await;
    let answer = asked.map_err(explain)?.into_inner();
    if args.api.output.json {
        let value = json::of("casement.account.v1.SyncTemplatesResponse", &answer)?;
        return output::json(&value);
    }
    let sync = answer.sync.unwrap_or_default();
    anyhow::ensure!(
        sync.error.is_empty(),
        "templates were not read: {}",
        sync.error
    );
    for line in synced(&sync) {
        output::line(line)?;
    }
    Ok(())
}

async fn list(args: ListArgs) -> anyhow::Result<()> {
    let api = Api::connect(&args.api).await?;
    let mut request = wire::ListTemplatesRequest {
        waba_id: args.waba,
        page_size: PAGE_SIZE,
        name: args.name,
        language: args.language,
        status: args
            .status
            .map_or(0, |status| v1::TemplateStatus::from(status).into()),
        ..wire::ListTemplatesRequest::default()
    };
    loop {
        let asked = api.accounts().list_templates(request.clone()).await;
        let page = asked.map_err(explain)?.into_inner();
        for template in &page.templates {
            if args.api.output.json {
                let value = json::of("casement.events.v1.Template", template)?;
                output::json(&value)?;
            } else {
                output::line(row(template))?;
            }
        }
        if page.next_page_token.is_empty() {
            return Ok(());
        }
        request.page_token = page.next_page_token;
    }
}

async fn show(args: OneArgs) -> anyhow::Result<()> {
    let api = Api::connect(&args.api).await?;
    let request = wire::GetTemplateRequest {
        waba_id: args.template.waba,
        name: args.template.name,
        language: args.template.language,
    };
    let asked = api.templates().get_template(request).await;
    let answer = asked.map_err(explain)?.into_inner();
    let template = answer.template.unwrap_or_default();
    print(&template, args.api.output.json)
}

fn print(template: &v1::Template, is_json: bool) -> anyhow::Result<()> {
    if is_json {
        let value = json::of("casement.events.v1.Template", template)?;
        return output::json(&value);
    }
    for line in lines(template) {
        output::line(line)?;
    }
    Ok(())
}

fn read<M: prost::Message + Default>(name: &str, path: &Path) -> anyhow::Result<M> {
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("{} cannot be read", path.display()))?;
    json::read(name, &text).with_context(|| format!("{} is no {name}", path.display()))
}

async fn create(args: CreateArgs) -> anyhow::Result<()> {
    let template = read("casement.events.v1.Template", &args.file)?;
    let api = Api::connect(&args.api).await?;
    let request = wire::CreateTemplateRequest {
        template: Some(template),
        request_id: args.request_id,
        allow_category_change: args.allow_category_change,
    };
    let asked = api.templates().create_template(request).await;
    let answer = asked.map_err(explain)?.into_inner();
    print(&answer.template.unwrap_or_default(), args.api.output.json)
}

async fn edit(args: EditArgs) -> anyhow::Result<()> {
    let template = read("casement.events.v1.Template", &args.file)?;
    let api = Api::connect(&args.api).await?;
    let request = wire::UpdateTemplateRequest {
        template: Some(template),
        request_id: args.request_id,
    };
    let asked = api.templates().update_template(request).await;
    let answer = asked.map_err(explain)?.into_inner();
    print(&answer.template.unwrap_or_default(), args.api.output.json)
}

async fn delete(args: DeleteArgs) -> anyhow::Result<()> {
    let api = Api::connect(&args.api).await?;
    let request = wire::DeleteTemplateRequest {
        waba_id: args.waba,
        name: args.name,
        language: args.language,
    };
    let asked = api.templates().delete_template(request).await;
    let answer = asked.map_err(explain)?.into_inner();
    if args.api.output.json {
        let value = json::of("casement.account.v1.DeleteTemplateResponse", &answer)?;
        return output::json(&value);
    }
    for template in &answer.templates {
        output::line(row(template))?;
    }
    Ok(())
}

async fn render(args: RenderArgs) -> anyhow::Result<()> {
    let content: v1::TemplateContent = match &args.content_file {
        Some(file) => read("casement.events.v1.TemplateContent", file)?,
        None => v1::TemplateContent {
            components: body(args.parameters, args.named_parameters),
            ..v1::TemplateContent::default()
        },
    };
    let api = Api::connect(&args.api).await?;
    let request = wire::RenderTemplateRequest {
        waba_id: args.template.waba,
        name: args.template.name,
        language: args.template.language,
        components: content.components,
        cards: content.cards,
    };
    let asked = api.templates().render_template(request).await;
    let answer = asked.map_err(explain)?.into_inner();
    if args.api.output.json {
        let value = json::of("casement.account.v1.RenderTemplateResponse", &answer)?;
        return output::json(&value);
    }
    for line in rendered(&answer) {
        output::line(line)?;
    }
    anyhow::ensure!(
        answer.problems.is_empty(),
        "a send filled in so would be refused"
    );
    Ok(())
}

fn body(
    parameters: Vec<String>,
    named_parameters: Vec<(String, String)>,
) -> Vec<v1::TemplateComponent> {
    let unnamed = parameters.into_iter().map(|text| (String::new(), text));
    let parameters: Vec<_> = unnamed
        .chain(named_parameters)
        .map(|(name, text)| v1::TemplateParameter {
            name,
            value: Some(v1::template_parameter::Value::Text(text)),
        })
        .collect();
    if parameters.is_empty() {
        return Vec::new();
    }
    vec![v1::TemplateComponent {
        r#type: "body".to_owned(),
        parameters,
        ..v1::TemplateComponent::default()
    }]
}
