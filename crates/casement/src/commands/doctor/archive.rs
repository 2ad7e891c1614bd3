//! The archive's database, and how far the archive is behind the log.

use std::time::Duration;

use casement_audit_projector::{ARCHIVED_STREAMS, Inspection, Tables, inspect};
use casement_domain::retention::{self, Standing};
use jiff::{SignedDuration, Timestamp};
use tokio::time::timeout;

use super::broker::Broker;
use super::report::Report;
use crate::config::Config;
use crate::person;

/// How long a database may take to tell all that is asked.
const INSPECTION_MAX: Duration = Duration::from_secs(20);

/// Looks at the database; `None` if it cannot be looked at.
pub(super) async fn check(config: &Config, report: &mut Report) -> Option<Inspection> {
    let section = &config.archive;
    let place = if section.database_url.is_some() {
        "PostgreSQL (archive.database_url)".to_owned()
    } else {
        section.database_path.display().to_string()
    };
    let inspection = match timeout(INSPECTION_MAX, inspect(section)).await {
        Ok(Ok(inspection)) => inspection,
        Ok(Err(error)) => {
            let told: Vec<String> = error.chain().map(ToString::to_string).collect();
            let advice = if section.database_url.is_some() {
                "start the server, or correct the address, the password or the rights in \
                 archive.database_url"
            } else {
                "see that it is the archive's file, and that whoever runs this may read it and \
                 its folder"
            };
            report.fail("database", format!("{place}: {}", told.join(": ")), advice);
            skip_rest(report);
            return None;
        }
        Err(_) => {
            report.fail(
                "database",
                format!("{place} does not answer within {INSPECTION_MAX:?}"),
                "see what keeps it busy",
            );
            skip_rest(report);
            return None;
        }
    };
    report.ok("database", format!("{} at {place}", inspection.database));
    match inspection.tables {
        Tables::Current => report.ok("database tables", "as this version wants them"),
        Tables::Absent => report.ok("database tables", "none yet: the first start makes them"),
        Tables::Behind(missing) => report.warn(
            "database tables",
            format!("{missing} migration(s) behind this version"),
            "start the audit-projector of this version, which brings them up to date",
        ),
        Tables::Foreign => report.fail(
            "database tables",
            "of a newer version, or changed by hand",
            "run the version that made them, or restore the backup",
        ),
    }
    match &inspection.not_writable {
        None if inspection.tables == Tables::Absent && section.database_url.is_none() => {
            report.skip("database writes", "there is no file yet");
        }
        None => report.ok("database writes", "taken"),
        Some(why) => report.fail(
            "database writes",
            format!("refused ({why})"),
            "give Casement's user the right to write there, on a primary with room on its disk",
        ),
    }
    Some(inspection)
}

fn skip_rest(report: &mut Report) {
    for check in ["database tables", "database writes"] {
        report.skip(check, "the database cannot be looked at");
    }
}

/// Compares where the archive stands with where the log does.
pub(super) async fn lag(
    config: &Config,
    broker: &Broker,
    inspection: Option<&Inspection>,
    now: Timestamp,
    report: &mut Report,
) {
    let check = "archive lag";
    let (Some(inspector), Some(inspection)) = (&broker.inspector, inspection) else {
        report.skip(check, "it takes both the broker and the database");
        return;
    };
    let mut behind = 0;
    let mut oldest: Option<Timestamp> = None;
    for stream in ARCHIVED_STREAMS {
        let Some(found) = broker.stream(stream) else {
            continue;
        };
        let archived = inspection
            .heads
            .iter()
            .find(|head| head.stream == stream && head.incarnation == found.incarnation)
            .map_or(0, |head| head.last_sequence);
        let missing = found.last_sequence.saturating_sub(archived);
        if missing == 0 || found.messages == 0 {
            continue;
        }
        behind += missing;
        match inspector.stored_at(stream, archived + 1).await {
            Ok(at) => oldest = Some(oldest.map_or(at, |oldest| oldest.min(at))),
            Err(error) => {
                report.skip(check, super::chain(&error));
                return;
            }
        }
    }
    let Some(oldest) = oldest else {
        report.ok(check, "none: the archive has all that the log has");
        return;
    };
    let age = now.duration_since(oldest).max(SignedDuration::ZERO);
    let found = format!(
        "{behind} event(s), the oldest stored {} ago",
        person::duration(age)
    );
    if age > config.archive.lag_alarm {
        report.fail(
            check,
            found,
            "start the audit-projector; if it runs, its log says why it does not get on",
        );
    } else {
        report.ok(check, found);
    }
}

/// Tells whether anything is in danger of leaving the log unarchived.
pub(super) async fn retention(
    config: &Config,
    broker: &Broker,
    inspection: Option<&Inspection>,
    now: Timestamp,
    report: &mut Report,
) {
    let check = "retention";
    let (Some(inspector), Some(inspection)) = (&broker.inspector, inspection) else {
        report.skip(check, "it takes both the broker and the database");
        return;
    };
    let mut worst = (Standing::Sound, String::new());
    for (stream, keep) in config.archive.keeps() {
        let Some(found) = broker.stream(stream) else {
            continue;
        };
        // A restored stream's archive may stand in an earlier life's chain.
        let archived = inspection
            .heads
            .iter()
            .filter(|head| head.stream == stream && head.last_sequence <= found.last_sequence)
            .map(|head| head.last_sequence)
            .max()
            .unwrap_or(0);
        if found.messages == 0 || archived >= found.last_sequence {
            continue;
        }
        let Ok(at) = inspector.stored_at(stream, archived + 1).await else {
            continue;
        };
        let standing = retention::standing(Some(at), keep, now);
        if standing > worst.0 {
            let age = person::duration(now.duration_since(at));
            let keep = person::duration(keep);
            worst = (
                standing,
                format!("{stream} keeps {keep}, and has events unarchived for {age}"),
            );
        }
    }
    let advice = "get the archive going: docs/operate/backup.md, retention";
    match worst {
        (Standing::Sound, _) => report.ok(check, "nothing is in danger of leaving unarchived"),
        (Standing::AtRisk, found) => report.warn(check, found, advice),
        (Standing::Stopped, found) => {
            report.fail(
                check,
                format!("{found}: nothing leaves the log any more"),
                advice,
            );
        }
    }
}
