//! What came of a run, as Markdown.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use casement_event::Event;
use casement_event::v1::MessageRequested;
use casement_tests::Role;
use jiff::{SignedDuration, Timestamp};

use crate::check::{Claim, line};
use crate::driver::Injected;
use crate::history::{Entry, time};
use crate::plan::{Fault, Line, Target};
use crate::power::Losses;
use crate::run::Outcome;

/// From when on a request is stored late: most are within milliseconds.
const STORED_LATE: Duration = Duration::from_secs(1);

/// From when on a message is held up by one before it, if that is still tried.
const HELD_UP: SignedDuration = SignedDuration::from_secs(5);

/// How many messages that expired without a claim are shown whole.
const EXPIRED_SHOWN_MAX: usize = 12;

/// Tells a run: what was asked for, what was broken, how soon it worked again, what holds.
pub fn markdown(outcome: &Outcome) -> String {
    let mut text = String::new();
    // Writing to a text does not fail.
    let _ = write(&mut text, outcome);
    text
}

/// Tells what losses of power did.
pub fn losses(all: &[Losses]) -> String {
    let mut text = String::from(
        "| `sync_interval` | losses of power | acknowledged | of these lost | unsynced bytes dropped |\n|---|---:|---:|---:|---:|\n",
    );
    for one in all {
        let interval = if one.sync_always {
            "always"
        } else {
            "2m, the broker's default"
        };
        let _ = writeln!(
            text,
            "| {interval} | {} | {} | {} | {} |",
            one.rounds_count, one.acknowledged_count, one.lost_count, one.lost_bytes,
        );
    }
    text
}

fn write(text: &mut String, outcome: &Outcome) -> std::fmt::Result {
    let Outcome {
        options,
        injected,
        history,
        answers,
        violations,
        took,
        restarts_count,
        has_disk,
    } = outcome;
    let count = |name: &str| {
        let named = history.log.iter().filter(|entry| entry.name() == name);
        named.count()
    };
    writeln!(
        text,
        "Seed {}, {} faults in {} s, with {} customers.",
        options.seed,
        injected.len(),
        took.as_secs(),
        options.people_count
    )?;
    writeln!(text)?;
    writeln!(text, "| traffic | |\n|---|---:|")?;
    for (name, number) in [
        (
            "messages of customers on the log",
            count("InboundMessageReceived"),
        ),
        ("windows opened", count("WindowOpened")),
        ("windows expired", count("WindowExpired")),
        ("sends confirmed", answers.confirmed.len()),
        ("sends refused for good", answers.refused_count),
        (
            "tries of a send without an answer, repeated",
            answers.repeated_count,
        ),
        ("claims", count("AttemptStarted")),
        ("calls in the providers' books", history.calls.len()),
        ("attempts of unknown outcome", count("AttemptUnknown")),
        ("attempts given up", count("AttemptAbandoned")),
        ("messages held", count("MessageHeld")),
        ("messages ended", count("MessageEnded")),
        ("messages expired", count("MessageExpired")),
        ("reports on the log", count("StatusReported")),
        ("webhook items answered 200", history.told.len()),
        (
            "roles that ended by themselves and were started again",
            *restarts_count,
        ),
    ] {
        writeln!(text, "| {name} | {number} |")?;
    }
    writeln!(text)?;
    writeln!(text, "| claim | |\n|---|---|")?;
    for claim in Claim::ALL {
        let broken = violations.iter().filter(|one| one.claim == claim).count();
        let verdict = match broken {
            0 => "holds".to_owned(),
            count => format!("**broken, {count} times**"),
        };
        writeln!(text, "| {} | {verdict} |", claim.text())?;
    }
    writeln!(text)?;
    writeln!(
        text,
        "| fault | times | ready again after, median | worst | next progress after, median | worst |\n|---|---:|---:|---:|---:|---:|"
    )?;
    let mut kinds: BTreeMap<String, Vec<&Injected>> = BTreeMap::new();
    for one in injected {
        kinds.entry(one.fault.kind()).or_default().push(one);
    }
    for (kind, all) in kinds {
        let ready: Vec<_> = all.iter().filter_map(|one| one.ready_after).collect();
        let progress: Vec<_> = all
            .iter()
            .filter_map(|one| progress(&history.log, one))
            .collect();
        writeln!(
            text,
            "| {kind} | {} | {} | {} | {} | {} |",
            all.len(),
            median(&ready),
            worst(&ready),
            median(&progress),
            worst(&progress),
        )?;
    }
    writeln!(text)?;
    expired(text, &history.log)?;
    if !has_disk {
        writeln!(
            text,
            "\nThe broker had no disk of its own here: none was filled."
        )?;
    }
    for violation in violations {
        writeln!(text, "\n```\n{violation}```")?;
    }
    Ok(())
}

/// Tells of messages that expired without a claim, with all that the log has of the first few.
fn expired(text: &mut String, log: &[Entry]) -> std::fmt::Result {
    let mut lives: BTreeMap<&str, Vec<&Entry>> = BTreeMap::new();
    for entry in log.iter().filter(|entry| entry.stream == "MESSAGES") {
        lives.entry(entry.about()).or_default().push(entry);
    }
    let all = lives.clone();
    let has = |life: &[&Entry], name: &str| life.iter().any(|entry| entry.name() == name);
    lives.retain(|_, life| has(life, "MessageExpired") && !has(life, "AttemptStarted"));
    let behind = |life: &[&Entry]| all.values().find(|other| is_held_up_by(life, other));
    // Requests that were stored late have less than their time to live left.
    let stored_late = lives
        .values()
        .filter(|life| waited_to_be_stored(life) > STORED_LATE);
    writeln!(
        text,
        "{} messages expired without a claim; {} of these had another one of their conversation \
         before them, which was tried and had no outcome yet or waited to be tried again, and {} were \
         stored more than {} s after their request.",
        lives.len(),
        lives.values().filter(|life| behind(life).is_some()).count(),
        stored_late.count(),
        STORED_LATE.as_secs(),
    )?;
    for life in lives.values().take(EXPIRED_SHOWN_MAX) {
        let waited = waited_to_be_stored(life).as_secs_f64();
        writeln!(text, "\n```\nstored {waited:.1} s after its request")?;
        for entry in life {
            writeln!(text, "{}", line(entry))?;
        }
        for entry in behind(life).into_iter().flatten() {
            writeln!(text, "  before it: {}", line(entry))?;
        }
        writeln!(text, "```")?;
    }
    Ok(())
}

/// Whether another message of the conversation, asked for before, was tried and not accepted for most
/// of the time that one waited in vain.
fn is_held_up_by(waiting: &[&Entry], other: &[&Entry]) -> bool {
    let (Some(own), Some(first)) = (requested(waiting), requested(other)) else {
        return false;
    };
    let is_earlier = first.conversation == own.conversation
        && time(first.request_time.as_ref()) < time(own.request_time.as_ref());
    let is_tried = other.iter().any(|entry| entry.name() == "AttemptStarted");
    let over = [
        "AttemptAccepted",
        "AttemptAbandoned",
        "MessageEnded",
        "MessageExpired",
    ];
    let over = other.iter().find(|entry| over.contains(&entry.name()));
    let (Some(over), Some(asked)) = (over, time(own.request_time.as_ref())) else {
        return false;
    };
    is_earlier && is_tried && over.stored_at.duration_since(asked) > HELD_UP
}

fn requested<'a>(life: &[&'a Entry]) -> Option<&'a MessageRequested> {
    life.iter().find_map(|entry| match &entry.event {
        Event::MessageRequested(requested) => Some(requested),
        _ => None,
    })
}

/// How long after a request was made it stood on the log.
fn waited_to_be_stored(life: &[&Entry]) -> Duration {
    let waited = || {
        let at = time(requested(life)?.request_time.as_ref())?;
        let stored = life.iter().map(|entry| entry.stored_at).min()?;
        Duration::try_from(stored.duration_since(at)).ok()
    };
    waited().unwrap_or_default()
}

/// How long after a fault's end what it had stopped went on: the next message of a customer taken
/// in, the next message accepted by a provider, or the next that was told of a window.
fn progress(log: &[Entry], injected: &Injected) -> Option<Duration> {
    let next = |is_it: fn(&Event) -> bool| {
        let after = log
            .iter()
            .filter(|entry| entry.stored_at >= injected.until && is_it(&entry.event));
        after.map(|entry| entry.stored_at).min()
    };
    let taken_in = next(|event| matches!(event, Event::InboundMessageReceived(_)));
    let accepted = next(|event| matches!(event, Event::AttemptAccepted(_)));
    let told = next(|event| {
        matches!(
            event,
            Event::WindowOpened(_) | Event::WindowExtended(_) | Event::WindowExpired(_)
        )
    });
    let both = |one: Option<Timestamp>, other: Option<Timestamp>| Some(one?.max(other?));
    let then = match role(injected.fault) {
        Some(Role::WindowTracker) => told,
        Some(Role::Dispatcher) => accepted,
        Some(Role::Ingress) => taken_in,
        _ => both(taken_in, accepted),
    }?;
    Duration::try_from(then.duration_since(injected.until)).ok()
}

/// Whose work a fault stops, if one role's alone.
fn role(fault: Fault) -> Option<Role> {
    match fault {
        Fault::Kill(Target::Role(role))
        | Fault::Pause(Target::Role(role))
        | Fault::Restart(Target::Role(role))
        | Fault::ClockJump(role, _)
        | Fault::StartUnderWrongClock(role, _)
        | Fault::Cut(Line::Broker(role))
        | Fault::Sever(Line::Broker(role))
        | Fault::Slow(Line::Broker(role), _)
        | Fault::LoseReplies(Line::Broker(role))
        | Fault::Hold(Line::Broker(role)) => Some(role),
        Fault::Provider(_) => Some(Role::Dispatcher),
        Fault::Webhooks(_) => Some(Role::Ingress),
        _ => None,
    }
}

fn median(times: &[Duration]) -> String {
    let mut times = times.to_vec();
    times.sort();
    shown(times.get(times.len() / 2).copied())
}

fn worst(times: &[Duration]) -> String {
    shown(times.iter().max().copied())
}

fn shown(time: Option<Duration>) -> String {
    time.map_or_else(
        || "–".to_owned(),
        |time| format!("{:.1} s", time.as_secs_f64()),
    )
}
