//! `casement subscriber`: services that listen, each with a password, subjects and a place of its
//! own at the broker.
//!
//! What they are is in the folder of `casement broker init`; the broker reads it anew by a request
//! to its system account. What they do with events is their affair.

pub(crate) mod grant;
mod snippets;

use std::path::PathBuf;

use anyhow::{Context as _, bail};
use casement_event_log::subscription::{self, Subscriptions};
use casement_shell::config::Secret;
use casement_shell::telemetry::{self, Guard, TelemetryConfig};
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::broker::site::{self, Access, Site, Subscriber};
use crate::cli::{ConfigArgs, OutputArgs};
use crate::config::{Config, Mode};
use crate::output;
use grant::Events;
use snippets::Language;

/// What is told on standard error: why nothing happens.
const TROUBLES: &str = "warn";

/// Work factor of a password's hash, the smallest there is: a random password of 256 bits is not
/// guessed, and brokers compare it at each connection.
const HASH_COST: u32 = 4;

#[derive(Debug, Subcommand)]
pub(crate) enum SubscriberCommand {
    /// Let a service hear events of some numbers, and print programs that do
    Add(AddArgs),
    /// List the services, and how far each is
    List(PlaceArgs),
    /// Take everything away from a service: its user, and its place
    Remove(RemoveArgs),
}

#[derive(Debug, Args)]
pub(crate) struct AddArgs {
    /// The service: small letters, digits and dashes
    #[arg(value_name = "NAME", value_parser = grant::name)]
    name: String,
    /// Business numbers, E.164 with plus, separated by commas
    #[arg(
        long,
        value_name = "NUMBERS",
        value_delimiter = ',',
        value_parser = grant::number,
        required_unless_present = "all_numbers",
        conflicts_with = "all_numbers"
    )]
    numbers: Vec<String>,
    /// Every number, and those to come
    #[arg(long)]
    all_numbers: bool,
    /// Families of events, separated by commas
    #[arg(long, value_name = "EVENTS", value_delimiter = ',', required = true)]
    events: Vec<Events>,
    /// Where to write the password
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
    /// The broker's address as the service knows it, if it is another one than ours
    #[arg(long, value_name = "URL")]
    address: Option<String>,
    /// Where the service finds the authority's certificate, if it is not where we do
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// Print one program only
    #[arg(long, value_name = "LANGUAGE")]
    language: Option<Language>,
    #[command(flatten)]
    place: PlaceArgs,
}

#[derive(Debug, Args)]
pub(crate) struct RemoveArgs {
    /// The service
    #[arg(value_name = "NAME", value_parser = grant::name)]
    name: String,
    #[command(flatten)]
    place: PlaceArgs,
}

/// Which broker is meant, and how to tell what was done.
#[derive(Debug, Args)]
pub(crate) struct PlaceArgs {
    /// The folder of `casement broker init`
    #[arg(
        long,
        value_name = "FOLDER",
        env = "CASEMENT_BROKER_SITE",
        default_value = "deploy/nats/site"
    )]
    site: PathBuf,
    /// Seed of the broker's user `reload`
    #[arg(
        long,
        value_name = "FILE",
        env = "CASEMENT_RELOAD_NKEY_FILE",
        default_value = "deploy/secrets/nkey-reload"
    )]
    reload_nkey_file: PathBuf,
    /// Leave it to you to have the broker read its configuration anew
    #[arg(long)]
    no_reload: bool,
    #[command(flatten)]
    config: ConfigArgs,
    #[command(flatten)]
    output: OutputArgs,
}

/// What the commands work with.
struct Place {
    site: Site,
    log: casement_event_log::Config,
    /// How to reach the system account; nobody does with `--no-reload`.
    reload: Option<casement_event_log::Config>,
    _telemetry: Guard,
}

impl PlaceArgs {
    fn read(&self) -> anyhow::Result<Place> {
        let overrides = self.config.overrides();
        let config = Config::load(Mode::Real, self.config.config.as_deref(), &overrides)?;
        if config.log.servers.is_empty() {
            bail!(
                "`log.servers` is empty: name a broker that has users; the one that `casement up` \
                 runs lets everybody on this machine listen"
            );
        }
        let site = Site::new(&self.site);
        if !site.conf().exists() {
            bail!(
                "there is no {}: `casement broker init` makes it, or --site names another folder",
                site.conf().display()
            );
        }
        let mut log = config.log(None)?;
        "casement subscriber".clone_into(&mut log.name);
        let reload = if self.no_reload {
            None
        } else {
            let seed = Secret::File(self.reload_nkey_file.clone()).resolve();
            let seed = seed.context(
                "the seed of the broker's user `reload` is missing (--reload-nkey-file, or \
                 --no-reload)",
            )?;
            Some(casement_event_log::Config {
                nkey: Some(seed),
                user: None,
                credentials_file: None,
                inbox_prefix: grant::inbox("reload"),
                ..log.clone()
            })
        };
        let troubles = TelemetryConfig {
            filter: TROUBLES.to_owned(),
            ..TelemetryConfig::default()
        };
        Ok(Place {
            site,
            log,
            reload,
            _telemetry: telemetry::init("casement", &troubles)?,
        })
    }
}

impl Place {
    /// Has the broker know these and no others.
    async fn publish(&self, all: &[Subscriber]) -> anyhow::Result<()> {
        self.site.write_subscribers(all)?;
        let conf = self.site.conf();
        let Some(reload) = &self.reload else {
            let conf = conf.display();
            output::talk(format!(
                "the broker does not know yet: have it read {conf} anew"
            ));
            return Ok(());
        };
        subscription::reload(reload).await.with_context(|| {
            let conf = conf.display();
            format!(
                "{conf} is written, but the broker did not read it anew: send it the signal HUP, \
                 or restart it"
            )
        })?;
        Ok(())
    }
}

pub(crate) async fn run(command: SubscriberCommand) -> anyhow::Result<()> {
    match command {
        SubscriberCommand::Add(args) => add(args).await,
        SubscriberCommand::List(args) => list(args).await,
        SubscriberCommand::Remove(args) => remove(args).await,
    }
}

async fn add(mut args: AddArgs) -> anyhow::Result<()> {
    let place = args.place.read()?;
    let mut all = place.site.subscribers()?;
    let name = args.name;
    if all.iter().any(|one| one.name == name) {
        bail!("there is a subscriber {name} already: remove it first, or take another name");
    }
    args.numbers.sort();
    args.numbers.dedup();
    args.events.sort();
    args.events.dedup();
    let file = args
        .password_file
        .unwrap_or_else(|| PathBuf::from(format!("{name}.password")));
    if file.exists() {
        bail!("{} is there already: it stays as it is", file.display());
    }
    let password = hex::encode(rand::random::<[u8; 32]>());
    let subscriber = Subscriber {
        name: name.clone(),
        numbers: args.numbers,
        events: args.events,
        password_hash: bcrypt::hash(&password, HASH_COST).context("a password's hash")?,
    };

    // The place first: a user without one could do nothing, a place without a user is nobody's.
    let broker = Subscriptions::connect(&place.log).await?;
    let filters = grant::filters(&subscriber.numbers, &subscriber.events);
    for (stream, filters) in &filters {
        let consumer = grant::consumer(&name);
        broker.make(stream, &consumer, filters.clone()).await?;
    }
    site::write(&file, &format!("{password}\n"), Access::Owner)?;
    all.push(subscriber);
    all.sort_by(|one, other| one.name.cmp(&other.name));
    place.publish(&all).await?;

    let server = args.address.as_deref().unwrap_or(&place.log.servers);
    let ca = args.ca.as_ref().or(place.log.tls.ca.as_ref());
    let mut words = vec![server.to_owned(), name.clone(), file.display().to_string()];
    words.push(ca.map_or_else(|| "-".to_owned(), |ca| ca.display().to_string()));
    words.extend(filters.keys().map(|stream| (*stream).to_owned()));
    if args.place.output.json {
        let programs: serde_json::Map<_, _> = Language::ALL
            .into_iter()
            .map(|language| (language.key().to_owned(), Value::from(language.program())))
            .collect();
        return output::json(&json!({
            "name": name,
            "passwordFile": file.display().to_string(),
            "consumer": grant::consumer(&name),
            "filters": filters,
            "arguments": words,
            "programs": programs,
        }));
    }
    output::line(format!(
        "{name} may hear {} and nothing else; its password is in {}",
        filters
            .values()
            .flatten()
            .cloned()
            .collect::<Vec<_>>()
            .join(", "),
        file.display()
    ))?;
    for language in Language::ALL {
        if args.language.is_none_or(|only| only == language) {
            output::line(format!(
                "\n--- {}: {} {}\n",
                language.file(),
                language.starter(),
                words.join(" ")
            ))?;
            output::line(language.program().trim_end())?;
        }
    }
    Ok(())
}

async fn list(args: PlaceArgs) -> anyhow::Result<()> {
    let place = args.read()?;
    let broker = Subscriptions::connect(&place.log).await?;
    let all = place.site.subscribers()?;
    for one in &all {
        let mut standings = Vec::new();
        for stream in grant::filters(&[], &one.events).into_keys() {
            let consumer = grant::consumer(&one.name);
            standings.push((stream, broker.standing(stream, &consumer).await?));
        }
        let events: Vec<_> = one.events.iter().map(|events| events.token()).collect();
        if args.output.json {
            let standings: serde_json::Map<_, _> = standings
                .into_iter()
                .map(|(stream, standing)| {
                    let standing = standing.map(|standing| {
                        json!({
                            "acknowledged": standing.acknowledged,
                            "pending": standing.pending,
                            "inHands": standing.in_hands,
                        })
                    });
                    (stream.to_owned(), json!(standing))
                })
                .collect();
            output::json(&json!({
                "name": one.name,
                "numbers": one.numbers,
                "events": events,
                "streams": standings,
            }))?;
            continue;
        }
        let numbers = if one.numbers.is_empty() {
            "all numbers".to_owned()
        } else {
            format!("+{}", one.numbers.join(", +"))
        };
        let standings: Vec<_> = standings
            .into_iter()
            .map(|(stream, standing)| match standing {
                Some(standing) => format!(
                    "{stream} acknowledged up to {}, {} to come",
                    standing.acknowledged,
                    standing.pending + standing.in_hands
                ),
                None => format!("{stream}: its consumer is gone, add it anew"),
            })
            .collect();
        output::line(format!(
            "{}  {numbers}  {}  {}",
            one.name,
            events.join(", "),
            standings.join("; ")
        ))?;
    }
    if all.is_empty() && !args.output.json {
        output::line("no subscribers")?;
    }
    Ok(())
}

async fn remove(args: RemoveArgs) -> anyhow::Result<()> {
    let place = args.place.read()?;
    let mut all = place.site.subscribers()?;
    let Some(index) = all.iter().position(|one| one.name == args.name) else {
        bail!("there is no subscriber {}", args.name);
    };
    let gone = all.remove(index);
    // The user first: it shall hear nothing more, whatever becomes of its place.
    place.publish(&all).await?;
    let broker = Subscriptions::connect(&place.log).await?;
    for stream in grant::filters(&[], &gone.events).into_keys() {
        broker.remove(stream, &grant::consumer(&gone.name)).await?;
    }
    if args.place.output.json {
        return output::json(&json!({"name": gone.name, "removed": true}));
    }
    output::line(format!("{} hears nothing more", gone.name))?;
    Ok(())
}
