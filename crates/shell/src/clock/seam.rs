//! A wall clock that a test of a whole process can set, through a file.
//!
//! It is for tests alone: outside of the demo and of debug builds a process that is given one does
//! not start. It moves what the wall clock shows, as somebody who sets a machine's clock does, and
//! nothing else: monotonic time goes on as it is.

use std::path::PathBuf;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use super::{Unproven, wall_now};

/// The variable that names the file; it says by how many seconds the wall clock is wrong, as in
/// `-3600`. A file that is not there, or says nothing, says zero.
const VARIABLE: &str = "CASEMENT_TESTING_CLOCK_FILE";

/// A process was given a clock that is for tests.
#[derive(Debug, thiserror::Error)]
#[error(
    "{VARIABLE} is set: it makes the clock wrong, for tests, and is refused outside of the demo and of debug builds; unset it"
)]
pub struct ForTests;

/// Returns the one clock of a process, which nobody may ask before it is proven.
///
/// # Errors
/// If the environment names a clock for tests, and this is neither a demo nor a debug build.
pub fn for_process(is_demo: bool) -> Result<Unproven, ForTests> {
    #[expect(clippy::disallowed_methods, reason = "the shell reads the environment")]
    let file = std::env::var_os(VARIABLE).map(PathBuf::from);
    seam(file, is_demo || cfg!(debug_assertions))
}

fn seam(file: Option<PathBuf>, is_allowed: bool) -> Result<Unproven, ForTests> {
    let Some(file) = file else {
        return Ok(Unproven::new());
    };
    if !is_allowed {
        return Err(ForTests);
    }
    tracing::warn!(file = %file.display(), "the wall clock is a test's");
    let wall = move || {
        let text = std::fs::read_to_string(&file).unwrap_or_default();
        moved(wall_now(), &text)
    };
    Ok(Unproven::with_wall(Arc::new(wall)))
}

fn moved(now: Timestamp, text: &str) -> Timestamp {
    let seconds = text.trim().parse().unwrap_or_default();
    now.saturating_add(SignedDuration::from_secs(seconds))
        .unwrap_or(now)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_for_tests_is_refused_where_it_is_no_test() {
        let file = Some(PathBuf::from("clock"));
        assert!(seam(file.clone(), false).is_err());
        assert!(seam(file, true).is_ok());
        assert!(seam(None, false).is_ok());
    }

    #[tokio::test]
    async fn a_wall_clock_that_is_set_by_a_file_parts_from_the_clock_and_comes_back() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("clock");
        let clock = seam(Some(file.clone()), true).expect("tests may");
        let clock = clock.without_broker();
        assert!(clock.agreement(None).is_ok());
        std::fs::write(&file, "-3600\n").expect("a file");
        let an_hour_off = clock.drift().as_secs() + 3_600;
        assert!(an_hour_off.abs() <= 1, "{an_hour_off}");
        assert!(clock.agreement(None).is_err());
        std::fs::write(&file, "").expect("a file");
        assert!(clock.agreement(None).is_ok());
    }
}
