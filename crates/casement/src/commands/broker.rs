//! `casement broker`: what a broker with users and TLS needs to know before it starts.
//!
//! It makes key pairs, an authority with a certificate, and the configuration that stands around
//! the shipped one. It starts no broker; the one of `up` needs none of this.

mod certificates;
pub(crate) mod site;

use std::path::PathBuf;

use anyhow::Context as _;
use casement_event_log::KEPT_FROM_OPERATORS;
use casement_event_log::snapshot::Snapshots;
use casement_shell::SystemClock;
use clap::{Args, Subcommand};
use nkeys::KeyPair;
use serde_json::json;

use crate::cli::OutputArgs;
use crate::commands::backup::PlaceArgs;
use crate::output;
use certificates::Authority;
use site::{Access, Site, USERS};

/// The names under which Compose and whoever is on the same machine reach the broker, or the three.
const HOSTS: [&str; 5] = ["nats", "nats-2", "nats-3", "localhost", "127.0.0.1"];

#[derive(Debug, Subcommand)]
pub(crate) enum BrokerCommand {
    /// Make key pairs and certificates, as far as they are missing
    Init(InitArgs),
    /// Have every stream kept as many times as log.replicas says, for a broker that became three
    Replicate(ReplicateArgs),
}

#[derive(Debug, Args)]
pub(crate) struct ReplicateArgs {
    /// Only this stream; may be repeated
    #[arg(long = "stream", value_name = "STREAM")]
    streams: Vec<String>,
    #[command(flatten)]
    place: PlaceArgs,
}

#[derive(Debug, Args)]
pub(crate) struct InitArgs {
    /// The folder that the broker reads: public keys, certificates, users
    #[arg(long, value_name = "FOLDER", default_value = "deploy/nats/site")]
    site: PathBuf,
    /// The folder that takes what is secret: a seed for each user, the authority's key
    #[arg(long, value_name = "FOLDER", default_value = "deploy/secrets")]
    seeds: PathBuf,
    /// Where the broker finds the first folder, if it sees it under another path
    #[arg(long, value_name = "FOLDER")]
    seen_at: Option<PathBuf>,
    /// A name or address by which the broker is reached; may be repeated
    #[arg(long = "host", value_name = "NAME")]
    hosts: Vec<String>,
    /// Make the broker's certificate anew, by the same authority
    #[arg(long)]
    renew: bool,
    /// Leave TLS out
    #[arg(long, conflicts_with = "renew")]
    no_tls: bool,
    #[command(flatten)]
    output: OutputArgs,
}

pub(crate) async fn run(command: BrokerCommand) -> anyhow::Result<()> {
    match command {
        BrokerCommand::Init(args) => tokio::task::spawn_blocking(move || init(&args)).await?,
        BrokerCommand::Replicate(args) => replicate(&args).await,
    }
}

async fn replicate(args: &ReplicateArgs) -> anyhow::Result<()> {
    let log = args.place.read()?.log()?;
    let copies = Snapshots::connect(&log)
        .await?
        .replicate(&args.streams)
        .await?;
    if args.place.output.json {
        let copies = copies
            .iter()
            .map(|one| json!({"stream": one.stream, "before": one.before, "after": one.after}));
        return output::json(&json!({"streams": copies.collect::<Vec<_>>()}));
    }
    for one in copies {
        output::line(match one.before {
            None => format!("{}: not there yet", one.stream),
            Some(before) if before == one.after => {
                format!("{}: is kept {before} times", one.stream)
            }
            Some(before) => format!(
                "{}: was kept {before} times, is now kept {} times",
                one.stream, one.after
            ),
        })?;
    }
    if args.streams.is_empty() {
        output::line(format!(
            "{KEPT_FROM_OPERATORS}: is changed by the dispatcher's user alone; with its key, add \
             --stream {KEPT_FROM_OPERATORS}"
        ))?;
    }
    Ok(())
}

fn init(args: &InitArgs) -> anyhow::Result<()> {
    let site = Site::new(&args.site);
    site::make_folder(&args.site)?;
    site::make_folder(&args.seeds)?;
    let mut wrote = Vec::new();

    let mut keys = Vec::new();
    for user in USERS {
        let file = args.seeds.join(format!("nkey-{user}"));
        if !file.exists() {
            let seed = KeyPair::new_user().seed().context("a seed")?;
            site::write(&file, &format!("{seed}\n"), Access::Owner)?;
            wrote.push(file.clone());
        }
        let seed = site::read(&file)?;
        let pair = KeyPair::from_seed(seed.trim());
        let pair = pair.with_context(|| {
            let shown = file.display();
            format!("{shown} holds no seed of a key pair: remove it, and it is made anew")
        })?;
        keys.push((user, pair.public_key()));
    }
    site.write_keys(&keys)?;

    if args.no_tls {
        site.write_no_tls()?;
    } else {
        wrote.extend(tls(args, &site)?);
    }
    // The users that are there stay.
    site.write_subscribers(&site.subscribers()?)?;

    if args.output.json {
        let wrote: Vec<_> = wrote
            .iter()
            .map(|file| file.display().to_string())
            .collect();
        return output::json(&json!({"wrote": wrote, "start": site.conf().display().to_string()}));
    }
    for file in &wrote {
        output::line(format!("wrote {}", file.display()))?;
    }
    let conf = site.conf();
    output::line(format!("the broker starts with {}", conf.display()))?;
    Ok(())
}

/// Makes what is missing; returns which files are new.
fn tls(args: &InitArgs, site: &Site) -> anyhow::Result<Vec<PathBuf>> {
    let now = SystemClock::shared().now();
    let (ca, ca_key) = (site.file("ca.pem"), args.seeds.join("nats-ca-key.pem"));
    let mut wrote = Vec::new();
    if !ca.exists() && !ca_key.exists() {
        let (certificate, key) = certificates::make_authority(now)?;
        site::write(&ca_key, &key, Access::Owner)?;
        site::write(&ca, &certificate, Access::All)?;
        wrote.extend([ca.clone(), ca_key.clone()]);
    }
    let (certificate, key) = (site.file("server.pem"), site.file("server-key.pem"));
    if args.renew || !certificate.exists() || !key.exists() {
        let authority = Authority::open(&site::read(&ca_key)?)
            .with_context(|| format!("{} is no authority's key", ca_key.display()))?;
        let mut hosts = args.hosts.clone();
        if hosts.is_empty() {
            hosts.extend(HOSTS.map(str::to_owned));
        }
        let signed = authority.sign(&hosts, now)?;
        site::write(&key, &signed.key, Access::Owner)?;
        site::write(&certificate, &signed.certificate, Access::All)?;
        wrote.extend([certificate, key]);
    }
    let seen_at = match &args.seen_at {
        Some(folder) => folder.clone(),
        None => std::path::absolute(&args.site)?,
    };
    site.write_tls(&seen_at)?;
    Ok(wrote)
}
