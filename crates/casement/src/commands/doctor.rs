//! `casement doctor`: looks at everything Casement stands on, and says of each thing whether it is
//! well and, if it is not, what to do.
//!
//! It changes nothing anywhere, and works whether Casement runs or not. Every check is made even
//! if others fail; one that cannot be made because of another says so. It prints no secret and
//! nothing of a customer.

mod archive;
mod broker;
mod callbacks;
mod gateways;
mod meta;
mod places;
mod report;
mod settings;
mod sms;
mod watch;

use std::time::Duration;

use anyhow::bail;
use casement_event::v1;
use casement_shell::config::Secret;
use casement_shell::{SystemClock, http};
use clap::Args;
use tokio::time::timeout;

use crate::cli::{ConfigArgs, OutputArgs};
use crate::config::{Config, Mode};
use crate::process::Which;
use crate::{demo, output};
use report::Report;

/// How long the checks of one kind may take together; each call has its own, shorter limit.
const KIND_MAX: Duration = Duration::from_mins(2);

/// How long a call to somebody else may take.
const CALL_MAX: Duration = Duration::from_secs(10);

#[derive(Debug, Args)]
pub(crate) struct DoctorArgs {
    /// Check what `up --demo` runs
    #[arg(long)]
    demo: bool,
    /// Ask Meta and Twilio about this number only; may be repeated
    #[arg(long = "number", value_name = "NUMBER")]
    numbers: Vec<String>,
    #[command(flatten)]
    config: ConfigArgs,
    #[command(flatten)]
    output: OutputArgs,
}

pub(crate) async fn run(args: DoctorArgs) -> anyhow::Result<()> {
    let mut report = Report::default();
    if let Some(config) = load(&args, &mut report)? {
        report.append(settings::check(&args, &config));
        if !args.config.check_config {
            examine(&args, &config, &mut report).await;
        }
    }
    report.print(args.output)?;
    let (failed, all) = (report.failed_count(), report.count());
    if failed > 0 {
        bail!("{failed} of {all} checks failed");
    }
    Ok(())
}

/// Returns the configuration, as the processes that run have it; `None` if there is nothing to
/// check.
fn load(args: &DoctorArgs, report: &mut Report) -> anyhow::Result<Option<Config>> {
    let mode = mode(args);
    let loaded = Config::load(
        mode,
        args.config.config.as_deref(),
        &args.config.overrides(),
    );
    let mut config = match loaded {
        Ok(config) => config,
        Err(error) => {
            for line in problems(&error) {
                report.fail("configuration", line, CORRECT);
            }
            report.skip("everything else", "the configuration cannot be read");
            return Ok(None);
        }
    };
    if args.config.print_config {
        output::line(casement_shell::config::print(&config)?.trim_end())?;
        return Ok(None);
    }
    if mode == Mode::Demo {
        let simulator = format!("http://{}", config.demo.simulator_listen);
        demo::point_at(&mut config, &simulator);
    }
    Ok(Some(config))
}

/// What to do about a setting; its line says which one.
const CORRECT: &str = "correct that setting; --print-config shows all that are in force";

fn mode(args: &DoctorArgs) -> Mode {
    if args.demo { Mode::Demo } else { Mode::Real }
}

/// Returns an error of the configuration, one line for each problem.
fn problems(error: &casement_shell::config::ConfigError) -> Vec<String> {
    match error {
        casement_shell::config::ConfigError::Invalid { problems } => problems.clone(),
        other => vec![chain(other)],
    }
}

/// Looks at what is outside of the configuration.
async fn examine(args: &DoctorArgs, config: &Config, report: &mut Report) {
    let clock = SystemClock::shared();
    let (mut of_places, mut of_broker, mut of_archive) =
        (Report::default(), Report::default(), Report::default());
    let (_, broker, archive) = tokio::join!(
        within(&mut of_places, "listen", async |report| {
            places::check(mode(args), config, report).await;
        }),
        within(&mut of_broker, "broker", async |report| {
            broker::check(config, &clock, report).await
        }),
        within(&mut of_archive, "database", async |report| {
            archive::check(config, report).await
        }),
    );
    let broker = broker.unwrap_or_default();
    let archive = archive.flatten();
    archive::lag(
        config,
        &broker,
        archive.as_ref(),
        clock.now(),
        &mut of_archive,
    )
    .await;
    archive::retention(
        config,
        &broker,
        archive.as_ref(),
        clock.now(),
        &mut of_archive,
    )
    .await;

    let (of_accounts, numbers) = settings::accounts(config, &broker);
    let numbers = chosen(args, numbers);
    let mut of_secrets = Report::default();
    let numbers = stored(config, numbers, &mut of_secrets);
    let http = http::client(&http::ClientOptions {
        timeout: CALL_MAX,
        ..http::ClientOptions::default()
    });
    let (mut of_meta, mut of_sms) = (Report::default(), Report::default());
    match &http {
        Ok(http) => {
            let _ = tokio::join!(
                within(&mut of_meta, "meta", async |report| {
                    meta::check(http, config, &numbers, clock.now(), report).await;
                }),
                within(&mut of_sms, "sms", async |report| {
                    sms::check(http, config, &numbers, report).await;
                    gateways::check(http, config, report).await;
                }),
            );
        }
        Err(error) => of_meta.fail(
            "meta",
            format!("no HTTP client can be made ({error})"),
            "correct HTTPS_PROXY and HTTP_PROXY, and see that the system's certificates are there",
        ),
    }
    report.append(of_accounts);
    report.append(of_secrets);
    report.append(of_places);
    report.append(of_broker);
    report.append(of_archive);
    report.append(of_meta);
    broker::webhooks(&broker, clock.now(), report);
    watch::check(&broker, report).await;
    report.append(callbacks::check(config, &numbers));
    report.append(of_sms);
}

/// Makes the checks of one kind, and says so if they take too long; what was found until then
/// stays.
async fn within<T>(
    report: &mut Report,
    kind: &str,
    check: impl AsyncFnOnce(&mut Report) -> T,
) -> Option<T> {
    if let Ok(found) = timeout(KIND_MAX, check(report)).await {
        return Some(found);
    }
    report.skip(kind, format!("the rest took longer than {KIND_MAX:?}"));
    None
}

fn chosen(args: &DoctorArgs, numbers: Vec<v1::Number>) -> Vec<v1::Number> {
    let wanted: Vec<&str> = args
        .numbers
        .iter()
        .map(|number| number.trim_start_matches('+'))
        .collect();
    let is_wanted = |number: &v1::Number| wanted.is_empty() || wanted.contains(&&*number.number);
    numbers.into_iter().filter(is_wanted).collect()
}

/// Leaves out the numbers whose secrets are stored sealed: only the roles open them. Says whether
/// they can.
fn stored(config: &Config, numbers: Vec<v1::Number>, report: &mut Report) -> Vec<v1::Number> {
    use v1::secret_ref::Source;
    let is_stored = |of: Option<&v1::SecretRef>| {
        let source = of.and_then(|of| of.source.as_ref());
        matches!(source, Some(Source::Stored(_)))
    };
    let (left_out, rest): (Vec<_>, Vec<_>) = numbers.into_iter().partition(|number| {
        let sms = number.sms.as_ref().and_then(|sms| sms.auth_token.as_ref());
        is_stored(number.token.as_ref()) || is_stored(sms)
    });
    if left_out.is_empty() {
        return rest;
    }
    match config.secrets.keys() {
        Ok(keys) if keys.is_empty() => report.fail(
            "stored secrets",
            format!("{} numbers name one, and no key opens any", left_out.len()),
            "set secrets.master_key for ingress, dispatcher and accounts",
        ),
        // Told by the configuration's own check.
        Err(_) => report.skip("stored secrets", "secrets.master_key cannot be read"),
        Ok(_) => report.ok(
            "stored secrets",
            format!(
                "{} numbers name one; `casement secrets list` says whether each opens",
                left_out.len()
            ),
        ),
    }
    for number in &left_out {
        let check = format!("meta number +{}", number.number);
        report.skip(
            check,
            "only the roles open its token, which is stored sealed",
        );
    }
    rest
}

/// Returns where a record's secret is kept; `None` if the record does not say.
fn place_of(reference: Option<&v1::SecretRef>) -> Option<(String, Secret)> {
    use v1::secret_ref::Source;
    Some(match reference?.source.as_ref()? {
        Source::File(path) => (path.clone(), Secret::File(path.into())),
        Source::Env(name) => (format!("${name}"), Secret::Env(name.clone())),
        // Only the roles open it; see `stored`.
        Source::Stored(_) => return None,
    })
}

/// Returns an error with its causes, in one line.
fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// What a process with every role would be.
const EVERYTHING: Which = Which::All;
