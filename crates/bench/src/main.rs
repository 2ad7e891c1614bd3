//! The benchmarks, one command: each prints its figures beside a baseline of the same run.
//!
//! They need a `nats-server`, which `./dev setup` brings. Nothing here is a test: no figure is
//! too slow, and rates swing with the machine; look at the ratios.

#![expect(clippy::print_stdout, reason = "the figures are the result")]

mod append;
mod archive;
mod cost;
mod deadline_index;
mod dispatch;
mod ingest;
mod load;
mod measure;
mod plain;
mod posts;
mod roles;
mod stage;
mod window;

use clap::{Parser, Subcommand};

#[derive(Debug, Parser)]
#[command(name = "casement-bench", about = "Casement's benchmarks")]
struct Options {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Appends to the log: alone, pipelined and in batches, beside plain publishes.
    Append(append::Options),
    /// Events archived, questions answered and chains verified, in each database, beside a raw bulk
    /// load of the same rows.
    Archive(archive::Options),
    /// Rebuilds the deadline index, beside a plain consumer of the same subjects.
    DeadlineIndex(deadline_index::Options),
    /// Messages accepted, sent and ended, with the roles as they run in production, beside a bare
    /// HTTP client and raw appends; and what becomes of them when provider and dispatcher fail.
    Dispatch(dispatch::Options),
    /// Webhooks in, facts out, beside a server that stores nothing and a disk that does nothing
    /// else.
    Ingest(ingest::Options),
    /// Windows opened, kept, ended and known again, with the roles as they run in production,
    /// beside the broker alone.
    Window(window::Options),
    /// The server of `ingest`, in its own process.
    #[command(hide = true)]
    IngestServer(ingest::child::Options),
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    match Options::parse().command {
        Command::Append(options) => append::run(&options).await,
        Command::Archive(options) => Box::pin(archive::run(&options)).await,
        Command::DeadlineIndex(options) => deadline_index::run(&options).await,
        Command::Dispatch(options) => Box::pin(dispatch::run(&options)).await,
        Command::Ingest(options) => ingest::run(&options).await,
        Command::Window(options) => Box::pin(window::run(&options)).await,
        Command::IngestServer(options) => Box::pin(ingest::child::run(&options)).await,
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Options::command().debug_assert();
    }
}
