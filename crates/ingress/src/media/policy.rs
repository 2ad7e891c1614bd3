//! What follows a try that failed. Pure.

use casement_event::v1::MediaProblem;
use casement_whatsapp::media::MEDIA_LIFE;
use jiff::{SignedDuration, Timestamp};

/// How often a file is asked for that the platform does not know, or that is not what the platform
/// had said: the first answer may be a slip.
const SLIPS_MAX: u32 = 3;

/// A try that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failed {
    /// What the file would be given up for.
    pub(crate) problem: MediaProblem,
    /// For people.
    pub(crate) detail: String,
    /// How long whoever refused asks to wait.
    pub(crate) wait: Option<SignedDuration>,
}

/// What comes next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    /// Another try.
    Retry(Timestamp),
    /// None.
    End(MediaProblem),
}

/// Returns what follows the try with this number, from 1. The file came at `received`.
pub(crate) fn next(
    failed: &Failed,
    tries: u32,
    received: Timestamp,
    now: Timestamp,
    schedule: &[SignedDuration],
    keep_trying: SignedDuration,
) -> Next {
    let age = now.duration_since(received);
    let has_expired = age >= SignedDuration::try_from(MEDIA_LIFE).unwrap_or(SignedDuration::MAX);
    let ended = match failed.problem {
        // It is not known because it no longer is.
        MediaProblem::NotFound if has_expired => MediaProblem::Expired,
        problem => problem,
    };
    let is_over = match failed.problem {
        MediaProblem::TooLarge | MediaProblem::Disabled | MediaProblem::Expired => true,
        MediaProblem::NotFound => has_expired || tries >= SLIPS_MAX,
        MediaProblem::HashMismatch => tries >= SLIPS_MAX,
        MediaProblem::Forbidden | MediaProblem::GaveUp | MediaProblem::Unspecified => false,
    };
    if is_over {
        return Next::End(ended);
    }
    let index = usize::try_from(tries.saturating_sub(1)).unwrap_or(usize::MAX);
    let pause = schedule
        .get(index)
        .or(schedule.last())
        .copied()
        .unwrap_or(SignedDuration::from_secs(60));
    let pause = pause.max(failed.wait.unwrap_or_default());
    if age.saturating_add(pause) >= keep_trying {
        return Next::End(ended);
    }
    now.checked_add(pause).map_or(Next::End(ended), Next::Retry)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const WEEK: SignedDuration = SignedDuration::from_hours(168);

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_790_000_000 + second).unwrap()
    }

    fn failed(problem: MediaProblem) -> Failed {
        Failed {
            problem,
            detail: String::new(),
            wait: None,
        }
    }

    fn after(problem: MediaProblem, tries: u32, age: i64) -> Next {
        let schedule = [5, 30].map(SignedDuration::from_secs);
        next(&failed(problem), tries, at(0), at(age), &schedule, WEEK)
    }

    #[test]
    fn each_problem_is_tried_as_long_as_that_can_help() {
        use MediaProblem::{Expired, Forbidden, GaveUp, HashMismatch, NotFound, TooLarge};
        let week = 7 * 24 * 3600;
        for (problem, tries, age, expected) in [
            (GaveUp, 1, 0, Next::Retry(at(5))),
            (GaveUp, 2, 10, Next::Retry(at(40))),
            (GaveUp, 99, 1000, Next::Retry(at(1030))),
            (GaveUp, 99, week - 30, Next::End(GaveUp)),
            (GaveUp, 1, week + 1, Next::End(GaveUp)),
            (Forbidden, 99, 1000, Next::Retry(at(1030))),
            (Forbidden, 99, week, Next::End(Forbidden)),
            (TooLarge, 1, 0, Next::End(TooLarge)),
            (NotFound, 2, 0, Next::Retry(at(30))),
            (NotFound, 3, 0, Next::End(NotFound)),
            (NotFound, 1, week, Next::End(Expired)),
            (HashMismatch, 2, 0, Next::Retry(at(30))),
            (HashMismatch, 3, 0, Next::End(HashMismatch)),
        ] {
            assert_eq!(
                after(problem, tries, age),
                expected,
                "{problem:?} {tries} {age}"
            );
        }
    }

    #[test]
    fn a_wait_that_was_asked_for_is_kept() {
        let asked = Failed {
            wait: Some(SignedDuration::from_secs(100)),
            ..failed(MediaProblem::GaveUp)
        };
        let schedule = [SignedDuration::from_secs(5)];
        assert_eq!(
            next(&asked, 1, at(0), at(0), &schedule, WEEK),
            Next::Retry(at(100))
        );
    }

    proptest! {
        #[test]
        fn every_file_comes_to_an_end(problem in 0_i32..8, pauses in proptest::collection::vec(1_i64..10_000, 1..8)) {
            let problem = MediaProblem::try_from(problem).unwrap();
            let schedule: Vec<_> = pauses.into_iter().map(SignedDuration::from_secs).collect();
            let (mut now, mut tries) = (at(0), 1);
            while let Next::Retry(then) =
                next(&failed(problem), tries, at(0), now, &schedule, WEEK)
            {
                prop_assert!(then > now);
                now = then;
                tries += 1;
                prop_assert!(tries < 700_000);
            }
        }
    }
}
