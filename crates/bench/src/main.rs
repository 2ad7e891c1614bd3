//! The benchmarks, one command: each prints its figures beside a baseline of the same run.
//!
//! They need a `nats-server`, which `./dev setup` brings. Nothing here is a test: no figure is
//! too slow, and rates swing with the machine; look at the ratios.

#![expect(clippy::print_stdout, reason = "the figures are the result")]

mod all;
mod append;
mod archive;
mod compare;
mod cost;
mod deadline_index;
mod dispatch;
mod figures;
mod ingest;
mod load;
mod measure;
mod page;
mod peers;
mod plain;
mod plot;
mod posts;
mod replicas;
mod roles;
mod soak;
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
    /// All of these one after the other, with a page of their tables, plots, and a file of figures.
    All(all::Options),
    /// Appends to the log: alone, pipelined and in batches, beside plain publishes.
    Append(append::Options),
    /// Events archived, questions answered and chains verified, in each database, beside a raw bulk
    /// load of the same rows.
    Archive(archive::Options),
    /// Two files of figures beside one another.
    Compare(compare::Options),
    /// Rebuilds the deadline index, beside a plain consumer of the same subjects.
    DeadlineIndex(deadline_index::Options),
    /// Messages accepted, sent and ended, with the roles as they run in production, beside a bare
    /// HTTP client and raw appends; and what becomes of them when provider and dispatcher fail.
    Dispatch(dispatch::Options),
    /// Webhooks in, facts out, beside a server that stores nothing and a disk that does nothing
    /// else.
    Ingest(ingest::Options),
    /// What a team would use instead, on the same posts: what arrives, what a kill loses, and how
    /// many posts are answered.
    Peers(peers::Options),
    /// One, two and four processes of each role: that nothing is lost or done twice, and what a
    /// message costs.
    Replicas(replicas::Options),
    /// Steady load: whether memory, files, threads and what waits stay where they are, and how much
    /// log and archive grow.
    Soak(soak::Options),
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
        Command::All(options) => Box::pin(all::run(&options)).await,
        Command::Append(options) => append::run(&options).await,
        Command::Archive(options) => Box::pin(archive::run(&options)).await,
        Command::Compare(options) => compare::run(&options),
        Command::DeadlineIndex(options) => deadline_index::run(&options).await,
        Command::Dispatch(options) => Box::pin(dispatch::run(&options)).await,
        Command::Ingest(options) => ingest::run(&options).await,
        Command::Peers(options) => Box::pin(peers::run(&options)).await,
        Command::Replicas(options) => Box::pin(replicas::run(&options)).await,
        Command::Soak(options) => Box::pin(soak::run(&options)).await,
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
