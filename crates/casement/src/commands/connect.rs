//! `casement connect`: takes a business number of Meta's into use, and says what is wrong if it
//! cannot be.
//!
//! It reads first and changes last: the token, the number, whose it is, its templates; only then
//! it subscribes the app to webhooks and records what it found. What only a person can do at Meta
//! is printed. It registers no number, makes no template, and prints no secret but the verify
//! token, which has to be typed in at Meta and opens nothing.

mod records;
mod told;
mod trouble;

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use casement_shell::SystemClock;
use casement_shell::config::{ConfigError, Secret};
use casement_shell::http::{ClientOptions, client};
use casement_whatsapp::manage::{Account, App, Manager, Number, Template, TokenInfo};
use clap::Args;
use secrecy::{ExposeSecret as _, SecretString};

use crate::cli::{ApiTlsArgs, OutputArgs};
use crate::client::Api;
use records::{Kept, Records};
use trouble::{Step, Trouble};

/// What a token must be able to do.
const SCOPES: [&str; 2] = [
    "whatsapp_business_messaging",
    "whatsapp_business_management",
];

#[derive(Debug, Args)]
pub(crate) struct ConnectArgs {
    /// Id of the WhatsApp business account
    #[arg(long, value_name = "ID")]
    waba: String,
    /// Meta's id of the number (not the number itself)
    #[arg(long, value_name = "ID")]
    phone_number_id: String,
    /// File that holds the access token
    #[arg(long, value_name = "FILE")]
    token_file: PathBuf,
    /// File that holds the app's secret
    #[arg(long, value_name = "FILE")]
    app_secret_file: PathBuf,
    /// Id of the Meta app; asked for with the token if absent
    #[arg(long, value_name = "ID")]
    app_id: Option<String>,
    /// File that holds the verify token of the webhooks
    #[arg(long, value_name = "FILE")]
    verify_token_file: Option<PathBuf>,
    /// Where Meta shall post webhooks: your public address and `/webhooks/whatsapp`
    #[arg(long, value_name = "URL")]
    callback_url: Option<String>,
    /// Id of the business portfolio; asked for if absent
    #[arg(long, value_name = "ID")]
    portfolio_id: Option<String>,
    /// Brand that the number is recorded for
    #[arg(long, value_name = "BRAND", default_value = casement_accounts::file::DEFAULT_BRAND)]
    brand: String,
    /// Path of the token's file as Casement sees it, if it runs elsewhere
    #[arg(long, value_name = "FILE")]
    recorded_token_file: Option<PathBuf>,
    /// Add what was found to this accounts file; it is made if there is none
    #[arg(long, value_name = "FILE")]
    write: Option<PathBuf>,
    /// Record what was found at a running Casement
    #[arg(long, value_name = "URL")]
    api: Option<String>,
    /// Token for --api, with the scope admin
    #[arg(
        long,
        value_name = "TOKEN",
        env = "CASEMENT_TOKEN",
        hide_env_values = true
    )]
    token: Option<String>,
    /// File that holds the token for --api, in place of --token
    #[arg(long, value_name = "FILE")]
    api_token_file: Option<PathBuf>,
    #[command(flatten)]
    tls: ApiTlsArgs,
    /// Where the Graph API is
    #[arg(long, value_name = "URL", default_value = "https://graph.facebook.com")]
    graph_url: String,
    /// Version of the Graph API
    #[arg(long, value_name = "VERSION", default_value = "v26.0")]
    graph_version: String,
    #[command(flatten)]
    output: OutputArgs,
}

/// What Meta says of the number and all around it.
struct Found {
    app: App,
    token: TokenInfo,
    number: Number,
    account: Account,
    templates: Vec<Template>,
    /// Who gets the account's webhooks, before and after.
    before: Vec<App>,
    after: Vec<App>,
}

pub(crate) async fn run(args: ConnectArgs) -> anyhow::Result<()> {
    let now = SystemClock::shared().now();
    let token = secret("--token-file", &args.token_file)?;
    let app_secret = secret("--app-secret-file", &args.app_secret_file)?;
    let verify_token = match &args.verify_token_file {
        Some(file) => Some(secret("--verify-token-file", file)?),
        None => None,
    };
    let api_token = api_token(&args)?;
    let http = client(&ClientOptions::default()).context("no HTTP client")?;
    let manager = Manager::new(http, &args.graph_url, &args.graph_version)
        .map_err(|error| ConfigError::check(format!("--graph-url: {error}")))?;
    let connection = Connection {
        trouble: Trouble::new(&args, &[&token, &app_secret]),
        args: &args,
        manager,
        token: &token,
    };

    let mut found = connection.look(&app_secret, now).await?;
    let records = Records::of(&args, &found)?;
    connection.subscribe(&mut found).await?;
    let kept = keep(&args, api_token.as_ref(), &records).await?;

    let verify_token = verify_token.as_ref().map(SecretString::expose_secret);
    let telling = told::Telling {
        args: &args,
        found: &found,
        records: &records,
        kept: &kept,
        verify_token,
        now,
    };
    if args.output.json {
        return crate::output::json(&telling.json()?);
    }
    for line in telling.lines()? {
        crate::output::line(line)?;
    }
    Ok(())
}

/// What is connected with what.
struct Connection<'a> {
    args: &'a ConnectArgs,
    manager: Manager,
    token: &'a SecretString,
    trouble: Trouble<'a>,
}

impl Connection<'_> {
    /// Asks for everything and changes nothing.
    async fn look(&self, app_secret: &SecretString, now: jiff::Timestamp) -> anyhow::Result<Found> {
        let Self {
            args,
            manager,
            token,
            trouble,
        } = self;
        let mut app = match &args.app_id {
            Some(id) => App {
                id: id.clone(),
                name: String::new(),
            },
            None => manager
                .app(token)
                .await
                .map_err(|error| trouble.explain(Step::App, error))?,
        };
        let info = manager
            .inspect_token(token, &app.id, app_secret)
            .await
            .map_err(|error| trouble.explain(Step::Token(&app.id), error))?;
        trouble.judge(&info, now)?;
        if app.name.is_empty() {
            app.name.clone_from(&info.application);
        }
        let number = manager
            .number(token, &args.phone_number_id)
            .await
            .map_err(|error| trouble.explain(Step::Number, error))?;
        let numbers = manager
            .numbers(token, &args.waba)
            .await
            .map_err(|error| trouble.explain(Step::Account, error))?;
        trouble.judge_owner(&number, &numbers)?;
        let account = manager
            .account(token, &args.waba)
            .await
            .map_err(|error| trouble.explain(Step::Account, error))?;
        let templates = manager
            .templates(token, &args.waba)
            .await
            .map_err(|error| trouble.explain(Step::Account, error))?;
        Ok(Found {
            app,
            token: info,
            number,
            account,
            templates,
            before: self.subscribers().await?,
            after: Vec::new(),
        })
    }

    /// Subscribes the app to the account's webhooks and looks whether it is.
    async fn subscribe(&self, found: &mut Found) -> anyhow::Result<()> {
        self.manager
            .subscribe(self.token, &self.args.waba)
            .await
            .map_err(|error| self.trouble.explain(Step::Subscribe, error))?;
        found.after = self.subscribers().await?;
        self.trouble.judge_subscribers(&found.app, &found.after)
    }

    async fn subscribers(&self) -> anyhow::Result<Vec<App>> {
        self.manager
            .subscribed_apps(self.token, &self.args.waba)
            .await
            .map_err(|error| self.trouble.explain(Step::Subscribe, error))
    }
}

/// Puts the records where the flags say.
async fn keep(
    args: &ConnectArgs,
    api_token: Option<&SecretString>,
    records: &Records,
) -> anyhow::Result<Vec<Kept>> {
    let mut kept = Vec::new();
    if let Some(file) = &args.write {
        kept.push(records.write(file)?);
    }
    if let (Some(url), Some(token)) = (&args.api, api_token) {
        let api = Api::open(url, token, args.tls.files()).await?;
        kept.push(records.put(&api, url).await?);
    }
    Ok(kept)
}

fn api_token(args: &ConnectArgs) -> anyhow::Result<Option<SecretString>> {
    match (&args.api, &args.api_token_file, &args.token) {
        (None, ..) => Ok(None),
        (Some(_), Some(file), _) => Ok(Some(secret("--api-token-file", file)?)),
        (Some(_), None, Some(token)) => Ok(Some(SecretString::from(token.as_str()))),
        (Some(_), None, None) => Err(ConfigError::check(
            "no token for --api: pass --token or --api-token-file, or set CASEMENT_TOKEN",
        )
        .into()),
    }
}

fn secret(flag: &str, file: &Path) -> Result<SecretString, ConfigError> {
    Secret::File(file.to_owned()).resolve().map_err(|error| {
        let error = anyhow::Error::from(error);
        ConfigError::check(format!("{flag}: {error:#}"))
    })
}
