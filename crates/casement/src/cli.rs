//! The command line: what can be asked for, and how it is written.
//!
//! Values are only taken here; what they mean is for `config` and the commands.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::commands::{
    acts, application, audit, backup, brand, connect, consent, conversation, customer, dead,
    doctor, events, figures, halts, media, message, migrate, number, onboard, parked, replay,
    restore, secrets, send, simulate, story, stuck, template, window,
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
    pub(crate) output: OutputArgs,
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
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    fn parse(words: &str) -> Result<Cli, clap::Error> {
        Cli::try_parse_from(std::iter::once("casement").chain(words.split_whitespace()))
    }

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn flags_become_keys_and_set_has_the_last_word() {
        let words = "up --demo --api-listen 127.0.0.1:1 --data-dir d --set api.listen=127.0.0.1:2 \
                     --set window.leads=[\"1h\"]";
        let Command::Up(args) = parse(words).unwrap().command else {
            panic!("not `up`");
        };
        let overrides = args.config.overrides();
        let told: Vec<_> = overrides
            .iter()
            .map(|(key, value)| (key.as_str(), value.as_str()))
            .collect();
        assert_eq!(
            told,
            [
                ("api.listen", "127.0.0.1:1"),
                ("data_dir", "d"),
                ("api.listen", "127.0.0.1:2"),
                ("window.leads", "[\"1h\"]"),
            ]
        );
    }

    #[test]
    fn what_makes_no_sense_together_is_refused() {
        for words in [
            "up --ephemeral --data-dir d",
            "up --exit-after-story",
            "up --set nonsense",
            "up --set =1",
            "up --api-listen 8081",
            "send --number +1 --to +2 --customer c --text hi --purpose service",
            "send --number +1 --text hi --purpose service",
            "window --number +1",
            "window",
            "window explain --number +1",
            "window --number +1 watch",
            "window watch --kind gone",
            "backup",
            "restore there --only half",
            "replay raw",
            "replay raw --from yesterday",
            "dead retry",
            "dead retry 3 --all",
            "message cancel-all --number +1 --brand acme",
            "halts pause --number +1 --label a=b",
            "consent show --number +1",
            "consent record --number +1 --to +2 --opt-in --opt-out --source paper",
            "consent record --number +1 --to +2 --opt-in",
            "send --number +1 --to +2 --text hi --purpose service --opt-in-time 2026-11-22T10:00:00Z",
            "parked release",
            "connect --waba 8 --phone-number-id 7 --token-file t",
            "fly",
        ] {
            assert!(parse(words).is_err(), "{words}");
        }
    }

    #[test]
    fn roles_and_client_commands_read() {
        for words in [
            "ingress --config f.toml",
            "window-tracker --print-config",
            "dispatcher",
            "accounts --check-config",
            "audit-projector",
            "gateway --config f.toml --api-listen 127.0.0.1:8081 --console-listen 127.0.0.1:8082",
            "simulate --script s.toml",
            "simulate --app-secret-file a --graph-token-file g",
            "story --token-file t --nats-password-file p --window 20s",
            "connect --waba 8 --phone-number-id 7 --token-file t --app-secret-file s --app-id 6 --verify-token-file v --callback-url https://x --graph-url http://y --write a.toml --json",
            "connect --waba 8 --phone-number-id 7 --token-file t --app-secret-file s --api http://x --token k",
            "doctor",
            "doctor --config f.toml --number +1 --number +2 --json",
            "doctor --demo --data-dir d",
            "send --number +1 --to +2 --text hi --template order_update --language en_US --param 42 --sms hi --purpose utility --wait delivered --json",
            "preview --number +1 --recipient US.1 --text hi --purpose service --at 2026-11-22T10:00:00Z",
            "window --number +1 --to +2 --json",
            "window explain --number +1 --to +2 --json",
            "window watch",
            "window watch --number +1 --number +2 --kind expiring --kind expired --after p --json",
            "conversation get --number +1 --customer c",
            "conversation list --state open",
            "conversation timeline --number +1 --to +2",
            "conversation list --status locked --status awaiting-reply --assignee ana --unread true",
            "conversation list --label vip --closed false --order heard",
            "conversation note --number +1 --to +2 --author ana @bo knows more",
            "conversation assign --number +1 --to +2 --author ana bo --etag 1-a",
            "conversation unassign --number +1 --to +2",
            "conversation read --number +1 --to +2",
            "conversation close --number +1 --customer c --request-id 7",
            "conversation reopen --number +1 --customer c",
            "conversation label --number +1 --customer c --add vip --remove new",
            "conversation mentions ana --page-size 5",
            "media get 1-2",
            "media download 1-2 --output a.jpg --json",
            "message get 1-2",
            "message cancel 1-2",
            "message cancel-all --label campaign=spring --held-only --json",
            "message cancel-all --number +1 --customer-id c --client-reference r",
            "halts pause --brand acme --reason no",
            "halts resume --halt h",
            "consent show --number +1 --to +2 --history --json",
            "migrate check --number +1 --waba 2 --recorded-token-file t --pin-file p",
            "migrate start --number +1 --waba 2 --token-secret b/t --pin-secret b/p --vouch two-step-disabled --vouch payment-method --code-by voice --language de",
            "migrate code mig-1 123456",
            "migrate code mig-1",
            "migrate resend mig-1 --code-by sms",
            "migrate show mig-1 --json",
            "migrate list --number +1 --open",
            "migrate cancel mig-1 --reason later",
            "migrate away --number +1 --reason sold",
            "migrate returned --number +1",
            "consent record --number +1 --to +2 --opt-in --source web-form --purpose marketing --channel sms --wording x --wording-version 2 --language de --evidence e --recorded-by ana --item-id i",
            "consent record --number +1 --customer c --opt-out --source phone-call --time 2026-11-22T10:00:00Z",
            "consent import items.ndjson --json",
            "consent export --number +1 --identifiers",
            "customer export --number +1 --to +2 --reason ticket-7 --media files",
            "customer export --number +1 --customer c",
            "customer erase --number +1 --to +2 --reason ticket-7",
            "customer erase --number +1 --customer c --confirm c --request-id r --wait 5 --json",
            "customer erasures --json",
            "customer erasures e",
            "send --number +1 --to +2 --sms hi --purpose service --opt-in web-form --opt-in-time 2026-11-22T10:00:00Z --opt-in-evidence e --opt-in-record",
            "template sync --waba 8 --name order",
            "template list --waba 8 --status paused --json",
            "template show --waba 8 --name order --language en_US",
            "template create --file t.json --request-id r --allow-category-change",
            "template edit --file t.json --json",
            "template delete --waba 8 --name order",
            "template render --waba 8 --name order --language en --param 42 --named-param who=Ana",
            "events tail --from start --json",
            "application start --number +1 --business-id 9 --display-name Shop --brand b --request-id r",
            "application list --state started --state activated --number +1 --json",
            "application accept-invite a --etag 1-7",
            "application verification a --status rejected --evidence t --reason x",
            "application sign-terms a",
            "application activate a --onboarding o",
            "application cancel a --reason later",
            "brand list",
            "brand set shop --messages-per-day 10 --over-quota-waits true --monthly-cap 10 --template sale_*",
            "brand figures shop --from 2026-11-01T00:00:00Z --json",
            "audit export --brand shop --stream MESSAGES",
            "audit verify --stream EVENTS",
            "audit verify --database data/archive.sqlite --master-key-file k",
            "audit verify --database postgres://u@h/d --key k --head n",
            "audit verify --database-url-file f",
            "audit verify --export e.ndjson --key a+1+b --key k",
            "audit export --database data/archive.sqlite --stream EVENTS",
            "audit export --plain --event-type t",
            "audit chains --stream EVENTS --json",
            "audit heads --newest --incarnation 1a",
            "audit key",
            "backup there --only archive --config f.toml --json",
            "backup there --demo --data-dir d",
            "restore there --check --config f.toml",
            "restore there --only log --erasures newer --erasures newest --json",
            "backup there --only erasures",
            "figures --from 2026-11-01 --to 2026-11-23 --time-zone Europe/Berlin --csv",
            "acts --type NumberPaused --caller ops --json",
            "stuck --number +1 --limit 10",
            "figures --brand shop --number +1 --label team=sales --json",
            "replay raw --from 2h --config f.toml --json",
            "replay raw --from 2026-11-22T00:00:00Z --to 2026-11-22T10:00:00Z --demo",
            "dead list --role ingress",
            "dead show 3 --json",
            "dead retry 3 4 --reason fixed",
            "dead drop --all --demo",
            "parked list --all",
            "parked release 111",
            "healthcheck",
            "healthcheck http://127.0.0.1:1/livez",
        ] {
            if let Err(error) = parse(words) {
                panic!("{words}: {error}");
            }
        }
    }
}
