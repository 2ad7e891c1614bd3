//! The model: the set of facts, the latest of each kind, a comparison; and how an event, and what
//! was told last, are judged by it. It shares nothing with the rules that it judges.

use std::collections::BTreeSet;

use casement_domain::window::{ClosedReason, Published};
use casement_event::Stored;
use jiff::Timestamp;

use super::{DAY, GRANULARITY};
use crate::tests::stage::{short_name, window_of};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum What {
    Wrote { received: Timestamp },
    Refused,
    Proven,
    Answered,
}

/// A fact, where it stands on the log, and when it happened.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fact {
    pub(super) sequence: u64,
    pub(super) at: Timestamp,
    pub(super) what: What,
}

/// How many times the tracker keeps: of a longer wait it may know less.
const KEPT: usize = 8;

/// The latest of each kind, and all that the customer wrote.
#[derive(Debug, Clone, Default)]
pub(super) struct Model {
    all: BTreeSet<Timestamp>,
    answered: Option<Timestamp>,
    written: Option<(Timestamp, Timestamp)>,
    refused: Option<Timestamp>,
    proven: Option<Timestamp>,
}

impl Model {
    pub(super) fn of<'a>(facts: impl IntoIterator<Item = &'a Fact>) -> Self {
        facts.into_iter().fold(Self::default(), |mut all, fact| {
            match fact.what {
                What::Wrote { received } => {
                    all.written = all.written.max(Some((fact.at, received)));
                    all.all.insert(fact.at);
                }
                What::Refused => all.refused = all.refused.max(Some(fact.at)),
                What::Proven => all.proven = all.proven.max(Some(fact.at)),
                What::Answered => all.answered = all.answered.max(Some(fact.at)),
            }
            all
        })
    }

    pub(super) fn ends_at(&self) -> Option<Timestamp> {
        self.written.map(|(at, _)| at + DAY)
    }

    pub(super) fn is_refused(&self) -> bool {
        let written = self.written.map(|(at, _)| at);
        self.refused.is_some() && self.refused >= written && self.refused >= self.proven
    }

    pub(super) fn is_open(&self, now: Timestamp) -> bool {
        !self.is_refused() && self.ends_at().is_some_and(|end| now < end)
    }

    /// What the customer wrote after our last answer and before a time.
    fn unanswered(&self, before: Timestamp) -> Vec<Timestamp> {
        let written = self.all.iter().copied();
        written
            .filter(|at| Some(*at) > self.answered && *at < before)
            .collect()
    }

    /// Whether a run of facts, each within a window's length of the one before it, ended then.
    fn is_end_of_run(&self, end: Timestamp) -> bool {
        let last = end - DAY;
        self.all.contains(&last) && self.all.range(last..end).count() == 1
    }

    /// Judges since when the customer is said to wait, as of a time.
    pub(super) fn judge_wait(
        &self,
        since: Option<Timestamp>,
        before: Timestamp,
    ) -> Result<(), String> {
        let unanswered = self.unanswered(before);
        let expected = unanswered.first().copied();
        let is_all_kept = self.unanswered(Timestamp::MAX).len() <= KEPT;
        let is_right = since == expected
            || !is_all_kept && since.is_some_and(|since| unanswered.contains(&since));
        ensure(
            is_right,
            &format!("said to wait since {since:?}, and waits since {expected:?}"),
        )
    }
}

fn ensure(holds: bool, problem: &str) -> Result<(), String> {
    if holds {
        Ok(())
    } else {
        Err(problem.to_owned())
    }
}

/// Judges what subscribers were told last by all facts.
pub(super) fn matches_truth(
    facts: &[Fact],
    last: Option<&Published>,
    now: Timestamp,
) -> Result<(), String> {
    let model = Model::of(facts);
    let Some(last) = last else {
        // What came after its own end opened nothing, and neither did what Meta refused at once.
        let came_late = model
            .written
            .is_none_or(|(at, received)| received >= at + DAY);
        return ensure(
            came_late || model.is_refused(),
            "nothing was told of a window that was open",
        );
    };
    if !model.is_open(now) {
        return ensure(last.closed.is_some(), "told as open, and it is closed");
    }
    ensure(last.closed.is_none(), "told as closed, and it is open")?;
    let end = model.ends_at().expect("an open window has an end");
    let lag = end.duration_since(last.expires_at);
    ensure(
        !lag.is_negative() && lag <= GRANULARITY,
        &format!("told to end at {}, and it ends at {end}", last.expires_at),
    )
}

/// Judges one event by the facts stored before it and the time at which it was decided.
pub(super) fn judge(
    stored: &Stored,
    known: &Model,
    before: Option<&Published>,
) -> Result<(), String> {
    let now = stored.time().expect("a time");
    let window = window_of(stored);
    let (written, _) = known.written.ok_or("the customer never wrote")?;
    let end = written + DAY;
    let was_open = before.filter(|before| before.closed.is_none());
    let name = short_name(stored);
    ensure(
        window.closed.is_some() == (name == "WindowExpired" || name == "WindowCorrected"),
        "open or closed, against its name",
    )?;
    judge_told_wait(known, &window, before)?;
    match name.as_str() {
        "WindowOpened" => {
            ensure(was_open.is_none(), "it was open")?;
            ensure(known.is_open(now), "it is closed")?;
            ensure(window.expires_at == end, "it ends at another time")
        }
        "WindowExtended" => {
            let before = was_open.ok_or("it was closed")?;
            ensure(known.is_open(now), "it is closed")?;
            ensure(window.expires_at == end, "it ends at another time")?;
            let by = end.duration_since(before.expires_at);
            ensure(by > GRANULARITY, "it hardly ends later")
        }
        "WindowExpiring" => {
            ensure(was_open.is_some(), "it was closed")?;
            ensure(known.is_open(now), "it is closed")?;
            ensure(window.expires_at == end, "it ends at another time")?;
            let lead = window.announced.last().ok_or("no lead")?;
            ensure(now >= end - *lead, "the lead has not come")
        }
        "WindowExpired" => {
            let closed = window.closed.ok_or("not closed")?;
            ensure(closed.reason == ClosedReason::Expired, "another reason")?;
            ensure(closed.at == window.expires_at, "it ended at another time")?;
            ensure(now >= window.expires_at, "early")?;
            // Its own end, or that of a window before the one that is open now.
            ensure(
                window.expires_at == end || written >= window.expires_at,
                "the customer wrote again in time",
            )?;
            ensure(
                known.is_end_of_run(window.expires_at),
                "no window ever ended then",
            )
        }
        "WindowCorrected" => ensure(known.is_refused(), "nobody refused"),
        other => Err(format!("{other} was not expected")),
    }
}

/// Each event says since when the customer waits. An end that is told after the customer wrote
/// again says who waited then; if we answered only after it, what was told before still stands.
fn judge_told_wait(
    known: &Model,
    window: &Published,
    before: Option<&Published>,
) -> Result<(), String> {
    let since = window.circumstances.waiting_since;
    let written = known.written.map(|(at, _)| at);
    let ended_before = window
        .closed
        .filter(|closed| closed.reason == ClosedReason::Expired && written >= Some(closed.at));
    match ended_before {
        None => known.judge_wait(since, Timestamp::MAX),
        Some(closed) if known.answered < Some(closed.at) => known.judge_wait(since, closed.at),
        Some(_) => ensure(
            since == before.and_then(|before| before.circumstances.waiting_since),
            "said to have waited otherwise than was told",
        ),
    }
}
