//! The model: the set of facts, the latest of each kind, a comparison; and how an event, and what
//! was told last, are judged by it. It shares nothing with the rules that it judges.

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
}

/// A fact, where it stands on the log, and when it happened.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fact {
    pub(super) sequence: u64,
    pub(super) at: Timestamp,
    pub(super) what: What,
}

/// The latest of each kind.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Model {
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
                }
                What::Refused => all.refused = all.refused.max(Some(fact.at)),
                What::Proven => all.proven = all.proven.max(Some(fact.at)),
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
            )
        }
        "WindowCorrected" => ensure(known.is_refused(), "nobody refused"),
        other => Err(format!("{other} was not expected")),
    }
}
