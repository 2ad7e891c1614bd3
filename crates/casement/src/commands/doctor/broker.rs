//! The broker: whether it is there, fit and in time, and what its streams hold.

use std::time::Duration;

use casement_event::subject::stream;
use casement_event::v1;
use casement_event_log::inspect::{InspectError, Inspector, StreamFound, StreamReport};
use casement_shell::SharedClock;
use casement_shell::clock::DISAGREEMENT_MAX;
use jiff::{SignedDuration, Timestamp};

use super::report::{Report, bytes};
use super::{chain, places};
use crate::config::Config;
use crate::{nats, person};

/// From this share of its size on, a stream is told to be filling up.
const FULL_WARN_PERCENT: u64 = 80;
/// From this share on, it is as good as full.
const FULL_FAIL_PERCENT: u64 = 95;
/// Clocks that part by less are told to agree.
const SKEW_WARN: SignedDuration = SignedDuration::from_millis(500);
/// How long the server's program may take to tell its version.
const VERSION_MAX: Duration = Duration::from_secs(5);

/// What others need of the broker.
#[derive(Debug, Default)]
pub(super) struct Broker {
    pub(super) inspector: Option<Inspector>,
    pub(super) streams: Vec<StreamReport>,
    /// `None` if they cannot be read.
    pub(super) numbers: Option<Vec<v1::Number>>,
}

impl Broker {
    pub(super) fn stream(&self, name: &str) -> Option<&StreamFound> {
        let report = self.streams.iter().find(|report| report.name == name)?;
        report.found.as_ref()
    }
}

const AFTER: [&str; 6] = [
    "broker version",
    "broker JetStream",
    "broker max_payload",
    "broker sync",
    "clock",
    "streams",
];

pub(super) async fn check(config: &Config, clock: &SharedClock, report: &mut Report) -> Broker {
    let own = if config.log.servers.is_empty() {
        let address = config.log.own_server.listen;
        if !places::is_listening(address).await {
            program(config, report).await;
            for check in AFTER {
                report.skip(check, "`up` starts its broker itself, and does not run");
            }
            return Broker::default();
        }
        let monitoring = nats::monitoring_of(&config.data_dir).unwrap_or_default();
        Some((format!("nats://{address}"), monitoring))
    } else {
        None
    };
    let is_own = own.is_some();
    let log = match config.log(own) {
        Ok(log) => log,
        Err(error) => {
            report.fail("broker", chain(&error), "correct that setting");
            return nothing_after(report);
        }
    };
    let inspector = match Inspector::connect(&log).await {
        Ok(inspector) => inspector,
        Err(error) => {
            away(&error, report);
            return nothing_after(report);
        }
    };
    if is_own && inspector.server_name() != nats::SERVER_NAME {
        report.fail(
            "broker",
            format!("{} is taken by a broker that is not ours", log.servers),
            "stop it, choose another address with --nats-listen, or name it with log.servers",
        );
        return nothing_after(report);
    }
    report.ok("broker", format!("{} answers", log.servers));
    settings(&inspector, config, report).await;
    let streams = look_at_streams(&inspector, clock, report).await;
    let numbers = match inspector.numbers().await {
        Ok(numbers) => Some(numbers),
        Err(error) => {
            report.skip("numbers on record", chain(&error));
            None
        }
    };
    Broker {
        inspector: Some(inspector),
        streams,
        numbers,
    }
}

fn nothing_after(report: &mut Report) -> Broker {
    for check in AFTER {
        report.skip(check, "the broker cannot be asked");
    }
    Broker::default()
}

fn away(error: &InspectError, report: &mut Report) {
    let advice = match error {
        InspectError::Refused { .. } => {
            "say who we are as the broker's configuration has it (log.nkey, or log.user with \
             log.password; deploy/nats/nats-server.conf)"
        }
        InspectError::Tls { .. } => "correct log.tls, or the broker's certificate",
        InspectError::Setting(_) => "correct log.credentials_file and log.tls",
        _ => "start it, or name another with log.servers",
    };
    report.fail("broker", chain(error), advice);
}

/// Looks whether `up` could start its broker.
async fn program(config: &Config, report: &mut Report) {
    let program = match nats::program(&config.log.own_server) {
        Ok(program) => program,
        Err(error) => {
            report.fail(
                "broker",
                "there is no nats-server for `up` to run",
                format!("{error:#}"),
            );
            return;
        }
    };
    let asking = tokio::process::Command::new(&program)
        .arg("--version")
        .kill_on_drop(true)
        .output();
    let version = match tokio::time::timeout(VERSION_MAX, asking).await {
        Ok(Ok(told)) => String::from_utf8_lossy(&told.stdout).trim().to_owned(),
        Ok(Err(_)) | Err(_) => String::new(),
    };
    let shown = program.display();
    let number = version.rsplit([' ', 'v']).next().unwrap_or_default();
    match Inspector::problem_of_version(number) {
        None => report.ok("broker", format!("{version} ({shown}), which `up` starts")),
        Some(problem) => report.problem("broker", &format!("{shown}, {problem}")),
    }
}

/// Checks the server's own settings, each by itself.
async fn settings(inspector: &Inspector, config: &Config, report: &mut Report) {
    match inspector.version_problem() {
        None => report.ok("broker version", inspector.version()),
        Some(problem) => report.problem("broker version", &problem),
    }
    let monitored = inspector.monitored().await;
    let wanted = config.log_bytes();
    let room = monitored
        .as_ref()
        .ok()
        .and_then(|monitored| monitored.as_ref()?.file_store_bytes);
    match (inspector.stored_bytes().await, room) {
        (Ok(_), Some(room)) if room < wanted => report.fail(
            "broker JetStream",
            format!(
                "its streams may take {}, and log.sizes_mib add up to {}",
                bytes(room),
                bytes(wanted)
            ),
            "raise max_file_store in its jetstream block, or lower log.sizes_mib",
        ),
        (Ok(stored), Some(room)) => report.ok(
            "broker JetStream",
            format!("{} stored, {} at most", bytes(stored), bytes(room)),
        ),
        (Ok(stored), None) => {
            report.ok("broker JetStream", format!("{} stored", bytes(stored)));
        }
        (Err(error), _) => report.fail(
            "broker JetStream",
            chain(&error),
            "give the server a jetstream block, and its user the right to use it \
             (deploy/nats/nats-server.conf)",
        ),
    }
    match inspector.max_payload_problem() {
        None => {
            let size = u64::try_from(inspector.max_payload()).unwrap_or(u64::MAX);
            report.ok("broker max_payload", bytes(size));
        }
        Some(problem) => report.problem("broker max_payload", &problem),
    }
    match monitored {
        Ok(None) if config.log.servers.is_empty() => report.skip(
            "broker sync",
            format!(
                "it was not started with the folder {}: name its own with --data-dir",
                config.data_dir.display()
            ),
        ),
        Ok(monitored) => match Inspector::sync_problem(monitored.as_ref()) {
            None => report.ok("broker sync", "each write is on disk before its answer"),
            Some(problem) => report.problem("broker sync", problem),
        },
        Err(error) => report.fail(
            "broker sync",
            chain(&error),
            "name the address of its `http:` setting with log.monitoring",
        ),
    }
}

async fn look_at_streams(
    inspector: &Inspector,
    clock: &SharedClock,
    report: &mut Report,
) -> Vec<StreamReport> {
    let before = clock.now();
    let looked = inspector.streams().await;
    let after = clock.now();
    let told_at = looked.iter().find_map(|(_, looked)| {
        let found = looked.as_ref().ok()?.found.as_ref()?;
        found.told_at
    });
    let told_at = if let Some(at) = told_at {
        Some((before, at, after))
    } else {
        // Without a stream, the monitoring address tells the time, too.
        let before = clock.now();
        let monitored = inspector.monitored().await.ok().flatten();
        monitored
            .and_then(|monitored| monitored.now)
            .map(|at| (before, at, clock.now()))
    };
    match told_at {
        Some((before, at, after)) => tell_skew(skew(before, at, after), report),
        None => report.skip("clock", "the broker does not tell its time"),
    }
    let found_any = looked
        .iter()
        .any(|(_, looked)| matches!(looked, Ok(report) if report.found.is_some()));
    let mut streams = Vec::new();
    for (name, looked) in looked {
        let check = format!("stream {name}");
        match looked {
            Ok(stream) => {
                tell_stream(&check, &stream, found_any, report);
                streams.push(stream);
            }
            Err(error) => report.fail(
                check,
                chain(&error),
                "give its user the rights that deploy/nats/nats-server.conf lists",
            ),
        }
    }
    streams
}

/// Returns by how much the broker's clock is ahead at least, if it told its time between two looks
/// at ours.
fn skew(before: Timestamp, told: Timestamp, after: Timestamp) -> SignedDuration {
    if told > after {
        told.duration_since(after)
    } else if told < before {
        told.duration_since(before)
    } else {
        SignedDuration::ZERO
    }
}

fn tell_skew(skew: SignedDuration, report: &mut Report) {
    let how = person::duration(skew.abs());
    let way = if skew.is_negative() {
        "behind"
    } else {
        "ahead of"
    };
    let found = format!("the broker's is {how} {way} ours");
    let advice = "synchronise both machines' clocks (chrony, systemd-timesyncd)";
    if skew.abs() > DISAGREEMENT_MAX {
        report.fail("clock", found, advice);
    } else if skew.abs() > SKEW_WARN {
        report.warn("clock", found, advice);
    } else {
        report.ok("clock", "ours and the broker's agree");
    }
}

fn tell_stream(check: &str, stream: &StreamReport, found_any: bool, report: &mut Report) {
    let Some(found) = &stream.found else {
        if found_any {
            report.fail(
                check,
                "it is not there, and others are",
                "if it was deleted, restore the backup; if a new version brings it, start a role, \
                 which creates it",
            );
        } else {
            report.ok(check, "not there yet: the first start creates it");
        }
        return;
    };
    for misfit in &found.misfits {
        report.problem(check, misfit);
    }
    let (current, copies) = found.copies;
    if current < copies {
        report.warn(
            check,
            format!("{current} of {copies} copies are up to date"),
            "see to the other nodes of the cluster",
        );
    }
    if !found.misfits.is_empty() {
        return;
    }
    let size = found.max_bytes.unwrap_or(0);
    let held = format!("{} messages, {}", found.messages, bytes(found.bytes));
    let percent = found.bytes.saturating_mul(100).checked_div(size);
    let (found_text, percent) = match percent {
        Some(percent) => (format!("{held} of {}", bytes(size)), percent),
        None => (held, 0),
    };
    let edit = format!(
        "nats stream edit {} --max-bytes={}",
        stream.name,
        stream.wanted_bytes.max(size.saturating_mul(2))
    );
    if !stream.refuses_when_full {
        report.ok(check, found_text);
    } else if percent >= FULL_FAIL_PERCENT {
        report.fail(
            check,
            format!("it is full ({percent} %): {found_text}"),
            format!("see whether the archive keeps up, and give it more room ({edit})"),
        );
    } else if percent >= FULL_WARN_PERCENT {
        report.warn(
            check,
            format!("it fills up ({percent} %): {found_text}"),
            format!("see whether the archive keeps up, and give it more room ({edit})"),
        );
    } else if size != stream.wanted_bytes {
        report.warn(
            check,
            format!(
                "its limit is {}, and log.sizes_mib says {}",
                bytes(size),
                bytes(stream.wanted_bytes)
            ),
            format!(
                "nats stream edit {} --max-bytes={}",
                stream.name, stream.wanted_bytes
            ),
        );
    } else {
        report.ok(check, found_text);
    }
}

/// Tells when a webhook was last taken: that any come shows more than all that can be asked for.
pub(super) fn webhooks(broker: &Broker, now: Timestamp, report: &mut Report) {
    let check = "webhooks taken";
    let Some(found) = broker.stream(stream::RAW) else {
        report.skip(check, "the stream RAW cannot be looked at");
        return;
    };
    match found.last_stored_at {
        Some(at) => {
            let age = person::duration(now.duration_since(at).max(SignedDuration::ZERO));
            report.ok(check, format!("the last one {age} ago"));
        }
        None => report.ok(
            check,
            "none so far; callback URL and ticked fields stand on the app's page at Meta \
             (WhatsApp, Configuration)",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_agree_within_what_the_question_took() {
        let at = |millis| Timestamp::from_millisecond(millis).unwrap();
        for (told, is) in [
            (1_000, 0),
            (1_050, 0),
            (1_100, 0),
            (900, -100),
            (4_000, 2_900),
        ] {
            let skew = skew(at(1_000), at(told), at(1_100));
            assert_eq!(skew, SignedDuration::from_millis(is), "{told}");
        }
    }

    #[test]
    fn a_stream_that_fills_up_is_told_in_time() {
        let stream = |held: u64, max: u64| StreamReport {
            name: "EVENTS".to_owned(),
            wanted_bytes: 1_000,
            refuses_when_full: true,
            found: Some(StreamFound {
                incarnation: "1".to_owned(),
                messages: held,
                bytes: held,
                max_bytes: Some(max),
                last_sequence: held,
                last_stored_at: None,
                copies: (1, 1),
                misfits: Vec::new(),
                told_at: None,
            }),
        };
        for (held, max, told) in [
            (100, 1_000, "\"ok\""),
            (800, 1_000, "\"warn\""),
            (950, 1_000, "\"fail\""),
            (100, 500, "--max-bytes=1000"),
        ] {
            let mut report = Report::default();
            tell_stream("stream EVENTS", &stream(held, max), true, &mut report);
            let line = report.json_of_first();
            assert!(line.contains(told), "{held} of {max}: {line}");
        }
    }

    #[test]
    fn clocks_that_part_are_told_before_anything_is_held() {
        for (skew, told) in [
            (SignedDuration::ZERO, "\"ok\""),
            (SignedDuration::from_millis(-900), "\"warn\""),
            (SignedDuration::from_secs(3), "\"fail\""),
        ] {
            let mut report = Report::default();
            tell_skew(skew, &mut report);
            let line = report.json_of_first();
            assert!(line.contains(told), "{line}");
        }
    }
}
