//! The command line: what can be asked for, and how it is written.
//!
//! Values are only taken here; what they mean is for `config` and the commands.

use std::net::SocketAddr;
use std::path::PathBuf;

use casement_shell::tls::ClientTlsConfig;
use clap::{Args, Parser, Subcommand};

use crate::commands::{
    acts, application, audit, backup, brand, broker, connect, consent, conversation, customer,
    dead, doctor, events, figures, halts, media, message, migrate, number, onboard, parked, replay,
    restore, secrets, send, simulate, story, stuck, subscriber, template, token, watch, window,
};

/// Keeps the 24-hour window of WhatsApp, and gets messages through.
#[derive(Debug, Parser)]
#[command(name = "casement", version, propagate_version = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run every role in one process, with a broker of its own
    Up(UpArgs),
    /// Run the role that takes webhooks
    Ingress(RoleArgs),
    /// Run the role that keeps windows
    WindowTracker(RoleArgs),
    /// Run the role that sends
    Dispatcher(RoleArgs),
    /// Run the role that keeps brands, numbers and templates
    Accounts(RoleArgs),
    /// Run the role that archives and answers questions
    AuditProjector(RoleArgs),
    /// Run the gateway: one address before the roles
    Gateway(RoleArgs),
    /// Run the look-alikes of Meta and Twilio alone
    Simulate(simulate::SimulateArgs),
    /// Tell the demo's story at a Casement and a simulator that run elsewhere
    Story(story::StoryArgs),
    /// Take a business number of Meta's into use, or say what is wrong
    Connect(connect::ConnectArgs),
    /// Look at all that Casement stands on, and say what is wrong and what to do
    Doctor(doctor::DoctorArgs),
    /// Send a message
    Send(send::SendArgs),
    /// Ask which way a message would go, without sending it
    Preview(send::PreviewArgs),
    /// Ask whether a customer may be written to freely, and until when
    Window(window::WindowArgs),
    /// Look at conversations, and handle them
    #[command(subcommand)]
    Conversation(conversation::ConversationCommand),
    /// Look at a file that a customer sent, or save it
    #[command(subcommand)]
    Media(media::MediaCommand),
    /// Look at a message, or withdraw it
    #[command(subcommand)]
    Message(message::MessageCommand),
    /// Look at numbers and where they stand, pause them, take them off the platform
    #[command(subcommand)]
    Number(number::NumberCommand),
    /// Bring numbers onto the platform after a sign-up
    #[command(subcommand)]
    Onboard(onboard::OnboardCommand),
    /// Store tokens sealed, rotate them, see how old they are
    #[command(subcommand)]
    Secrets(secrets::SecretsCommand),
    /// Draw a token of the API, or make the hash of one
    #[command(subcommand)]
    Token(token::TokenCommand),
    /// See what customers allow, and record, import or export it
    #[command(subcommand)]
    Consent(consent::ConsentCommand),
    /// Hand out what is held of a customer, or erase it
    #[command(subcommand)]
    Customer(customer::CustomerCommand),
    /// Look at templates, read them from the platform, create, edit or delete them there
    #[command(subcommand)]
    Template(template::TemplateCommand),
    /// See what is not sent for now, pause sending, or resume it
    #[command(subcommand)]
    Halts(halts::HaltsCommand),
    /// Move numbers here from another account or provider, and record that one has gone
    #[command(subcommand)]
    Migrate(migrate::MigrateCommand),
    /// Follow businesses to numbers of their own: invite, verification, terms, activation
    #[command(subcommand)]
    Application(application::ApplicationCommand),
    /// Look at brands, set what each may send, and count what became of it
    #[command(subcommand)]
    Brand(brand::BrandCommand),
    /// Follow events on the log
    #[command(subcommand)]
    Events(events::EventsCommand),
    /// Make what a broker with users and TLS needs: key pairs, certificates
    #[command(subcommand)]
    Broker(broker::BrokerCommand),
    /// Let services hear events of some numbers
    #[command(subcommand)]
    Subscriber(subscriber::SubscriberCommand),
    /// Check the archive
    #[command(subcommand)]
    Audit(audit::AuditCommand),
    /// Save log and archive into a folder, while they are written
    Backup(backup::BackupArgs),
    /// Restore log and archive from a backup, where there are none
    Restore(restore::RestoreArgs),
    /// See who did what
    Acts(acts::ActsArgs),
    /// See what does not go on by itself
    Stuck(stuck::StuckArgs),
    /// See what happened, by day and number
    Figures(figures::FiguresArgs),
    /// Take what is on the log through the present version once more
    #[command(subcommand)]
    Replay(replay::ReplayCommand),
    /// Look at items that could not be handled, try them again, or give them up
    #[command(subcommand)]
    Dead(dead::DeadCommand),
    /// Look at items for numbers that no account knows
    #[command(subcommand)]
    Parked(parked::ParkedCommand),
    /// See what is watched all the time and stands raised
    Watch(watch::WatchArgs),
    /// Ask a health page; succeeds if it answers 200
    Healthcheck(HealthcheckArgs),
}

/// Where the configuration comes from, and what to do with it.
#[derive(Debug, Default, Args)]
pub(crate) struct ConfigArgs {
    /// Configuration file, TOML
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Set one key, as in `--set window.guard=30s`; may be repeated
    #[arg(long = "set", value_name = "KEY=VALUE", value_parser = assignment)]
    pub(crate) set: Vec<(String, String)>,
    /// Where data lives
    #[arg(long, value_name = "FOLDER")]
    pub(crate) data_dir: Option<PathBuf>,
    /// Where gRPC listens
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) api_listen: Option<SocketAddr>,
    /// Where the console is served
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) console_listen: Option<SocketAddr>,
    /// Where webhooks are taken
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) webhooks_listen: Option<SocketAddr>,
    /// Where health and metrics are served
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) health_listen: Option<SocketAddr>,
    /// Where the broker of `up` listens
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) nats_listen: Option<SocketAddr>,
    /// Where the simulator of the demo listens
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) simulator_listen: Option<SocketAddr>,
    /// Print the configuration in force, without secrets, and end
    #[arg(long)]
    pub(crate) print_config: bool,
    /// Check the configuration and end
    #[arg(long)]
    pub(crate) check_config: bool,
}

#[derive(Debug, Args)]
pub(crate) struct UpArgs {
    /// Run against a simulator, with short windows, and tell the story of four messages
    #[arg(long)]
    pub(crate) demo: bool,
    /// Keep data in a temporary folder that goes away at the end
    #[arg(long, conflicts_with = "data_dir")]
    pub(crate) ephemeral: bool,
    /// End once the story was told: with success if all of it came true
    #[arg(long, requires = "demo")]
    pub(crate) exit_after_story: bool,
    #[command(flatten)]
    pub(crate) config: ConfigArgs,
}

#[derive(Debug, Args)]
pub(crate) struct RoleArgs {
    #[command(flatten)]
    pub(crate) config: ConfigArgs,
}

/// Where the API is, and as whom to call it.
#[derive(Debug, Args)]
pub(crate) struct ApiArgs {
    /// Address of the API
    #[arg(
        long,
        value_name = "URL",
        env = "CASEMENT_API",
        default_value = "http://127.0.0.1:8081"
    )]
    pub(crate) api: String,
    /// Token to call it with
    #[arg(
        long,
        value_name = "TOKEN",
        env = "CASEMENT_TOKEN",
        hide_env_values = true
    )]
    pub(crate) token: Option<String>,
    /// File that holds the token
    #[arg(long, value_name = "FILE", conflicts_with = "token")]
    pub(crate) token_file: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) tls: ApiTlsArgs,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

/// What an API with TLS is believed by, and what it is shown.
#[derive(Debug, Clone, Default, Args)]
#[expect(clippy::struct_field_names, reason = "named as the flags are")]
pub(crate) struct ApiTlsArgs {
    /// Authorities that sign the API's certificate (PEM), for an address with https://
    #[arg(long, value_name = "FILE", env = "CASEMENT_API_CA")]
    pub(crate) api_ca: Option<PathBuf>,
    /// Our certificate (PEM), for an API that asks for one
    #[arg(
        long,
        value_name = "FILE",
        env = "CASEMENT_API_CERT",
        requires = "api_ca"
    )]
    pub(crate) api_cert: Option<PathBuf>,
    /// Its private key (PEM)
    #[arg(
        long,
        value_name = "FILE",
        env = "CASEMENT_API_KEY",
        requires = "api_cert"
    )]
    pub(crate) api_key: Option<PathBuf>,
}

impl ApiTlsArgs {
    /// Returns where the certificates are; `None` without an authority.
    pub(crate) fn files(&self) -> Option<ClientTlsConfig> {
        Some(ClientTlsConfig {
            ca: self.api_ca.clone()?,
            certificate: self.api_cert.clone(),
            key: self.api_key.clone(),
        })
    }
}

#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct OutputArgs {
    /// Answer in JSON, one object a line
    #[arg(long)]
    pub(crate) json: bool,
}

/// Who is meant.
#[derive(Debug, Clone, Args)]
#[group(required = true, multiple = false)]
pub(crate) struct CustomerArgs {
    /// The customer's phone, E.164 with plus
    #[arg(long, value_name = "PHONE")]
    pub(crate) to: Option<String>,
    /// The customer's business-scoped user id
    #[arg(long, value_name = "BSUID")]
    pub(crate) recipient: Option<String>,
    /// The customer's id in Casement
    #[arg(long, value_name = "ID")]
    pub(crate) customer: Option<String>,
}

impl CustomerArgs {
    /// Returns the customer as a request has them, by whichever was given.
    pub(crate) fn named<C>(
        self,
        to: fn(String) -> C,
        recipient: fn(String) -> C,
        id: fn(String) -> C,
    ) -> Option<C> {
        self.to
            .map(to)
            .or(self.recipient.map(recipient))
            .or(self.customer.map(id))
    }
}

/// From which business number.
#[derive(Debug, Clone, Args)]
pub(crate) struct NumberArgs {
    /// The business number, E.164 with plus
    #[arg(long, value_name = "NUMBER", env = "CASEMENT_NUMBER")]
    pub(crate) number: String,
}

#[derive(Debug, Args)]
pub(crate) struct HealthcheckArgs {
    /// The page to ask
    #[arg(default_value = "http://127.0.0.1:8084/readyz")]
    pub(crate) url: String,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

/// Reads `key=value`.
pub(crate) fn assignment(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("must be written KEY=VALUE")?;
    let key = key.trim();
    if key.is_empty() {
        return Err("the key is empty".to_owned());
    }
    Ok((key.to_owned(), value.to_owned()))
}

impl ConfigArgs {
    /// Returns what the flags say as dotted keys; `--set` wins over the others.
    pub(crate) fn overrides(&self) -> Vec<(String, String)> {
        let addresses = [
            ("api.listen", self.api_listen),
            ("console.listen", self.console_listen),
            ("ingress.listen", self.webhooks_listen),
            ("health.listen", self.health_listen),
            ("log.own_server.listen", self.nats_listen),
            ("demo.simulator_listen", self.simulator_listen),
        ];
        let folder = self
            .data_dir
            .as_ref()
            .map(|folder| folder.display().to_string());
        addresses
            .into_iter()
            .filter_map(|(key, address)| Some((key, address?.to_string())))
            .chain(folder.map(|folder| ("data_dir", folder)))
            .map(|(key, value)| (key.to_owned(), value))
            .chain(self.set.iter().cloned())
            .collect()
    }
}

#[cfg(test)]
mod tests;
