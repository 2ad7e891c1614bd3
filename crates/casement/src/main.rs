//! The binary: every role, all of them at once, the simulator, and the operator's commands.
//!
//! What a role does is in its crate; this one reads the command line and the configuration, wires
//! roles together, and asks a running Casement.

mod cli;
mod client;
mod commands;
mod config;
mod demo;
mod json;
mod nats;
mod output;
mod person;
mod ports;
mod process;
mod roles;
mod story;

use std::process::ExitCode;

use clap::Parser as _;

use crate::cli::{Cli, Command};
use crate::process::Which;

/// Roles take events apart and put them together all day: with the C library's allocator that was a
/// quarter of the processor time of dispatcher and ingress (docs/benchmarks.md).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are told this way, too. Nothing is left to do if it cannot be told.
            let _ = error.print();
            let is_wrong = error.use_stderr();
            return ExitCode::from(if is_wrong {
                casement_shell::config::EX_USAGE
            } else {
                0
            });
        }
    };
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => {
            output::talk(format!("casement: no runtime: {error}"));
            return ExitCode::FAILURE;
        }
    };
    let outcome = runtime.block_on(run(cli.command));
    // What still blocks, such as a reader of standard input, shall not keep the process.
    runtime.shutdown_background();
    match outcome {
        Err(error) if output::is_reader_gone(&error) => ExitCode::SUCCESS,
        outcome => {
            if let Err(error) = &outcome {
                output::talk(format!("casement: {error:#}"));
            }
            casement_shell::run::exit_code(&outcome)
        }
    }
}

async fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Up(args) => Box::pin(process::up(args)).await,
        Command::Ingress(args) => Box::pin(process::role(Which::Ingress, args)).await,
        Command::WindowTracker(args) => Box::pin(process::role(Which::WindowTracker, args)).await,
        Command::Dispatcher(args) => Box::pin(process::role(Which::Dispatcher, args)).await,
        Command::Accounts(args) => Box::pin(process::role(Which::Accounts, args)).await,
        Command::AuditProjector(args) => Box::pin(process::role(Which::AuditProjector, args)).await,
        Command::Gateway(args) => Box::pin(process::role(Which::Gateway, args)).await,
        Command::Simulate(args) => commands::simulate::run(args).await,
        Command::Story(args) => commands::story::run(args).await,
        Command::Connect(args) => commands::connect::run(args).await,
        Command::Doctor(args) => Box::pin(commands::doctor::run(args)).await,
        Command::Send(args) => commands::send::send(args).await,
        Command::Preview(args) => commands::send::preview(args).await,
        Command::Window(args) => commands::window::run(args).await,
        Command::Conversation(command) => commands::conversation::run(command).await,
        Command::Media(command) => commands::media::run(command).await,
        Command::Message(command) => commands::message::run(command).await,
        Command::Number(command) => commands::number::run(command).await,
        Command::Onboard(command) => commands::onboard::run(command).await,
        Command::Secrets(command) => commands::secrets::run(command).await,
        Command::Token(command) => commands::token::run(command),
        Command::Consent(command) => commands::consent::run(command).await,
        Command::Customer(command) => commands::customer::run(command).await,
        Command::Halts(command) => commands::halts::run(command).await,
        Command::Template(command) => commands::template::run(command).await,
        Command::Migrate(command) => commands::migrate::run(command).await,
        Command::Application(command) => commands::application::run(command).await,
        Command::Brand(command) => commands::brand::run(command).await,
        Command::Events(command) => commands::events::run(command).await,
        Command::Broker(command) => commands::broker::run(command).await,
        Command::Subscriber(command) => Box::pin(commands::subscriber::run(command)).await,
        Command::Audit(command) => commands::audit::run(command).await,
        Command::Backup(args) => Box::pin(commands::backup::run(args)).await,
        Command::Restore(args) => Box::pin(commands::restore::run(args)).await,
        Command::Acts(args) => commands::acts::run(args).await,
        Command::Stuck(args) => commands::stuck::run(args).await,
        Command::Figures(args) => commands::figures::run(args).await,
        Command::Replay(command) => commands::replay::run(command).await,
        Command::Dead(command) => Box::pin(commands::dead::run(command)).await,
        Command::Parked(command) => commands::parked::run(command).await,
        Command::Watch(args) => commands::watch::run(args).await,
        Command::Healthcheck(args) => commands::healthcheck::run(args).await,
    }
}
