//! Whether a run was as it should be: what may not grow did not, and what grows grows evenly.
//!
//! The first third of a run is for warming up: caches fill, connections open, tables reach their
//! size. Memory is judged by the middle third and the last one, since a process that has leaked
//! little in an hour shows it there first and one that frees late does not.

use super::sample::{ProcessSample, Sample};

/// How long a run has to be to say something about memory, in seconds.
const MEMORY_SECONDS_MIN: f64 = 600.0;

/// What memory may grow by from the middle third to the last one: a share of it, and so much in
/// any case.
const MEMORY_SHARE_MAX: f64 = 0.05;
const MEMORY_BYTES_MAX: f64 = 4.0 * 1_048_576.0;

/// Files and threads that the median of the last third may be above that of the middle one. What is
/// opened for a while, as when work has piled up, and closed again does not move it.
const SPARE_MAX: f64 = 3.0;

/// What may wait at the end for each that waits in the middle, and so many in any case: a second or
/// two of a usual load.
const WAITING_SHARE_MAX: f64 = 1.3;
const WAITING_SPARE_MAX: f64 = 100.0;

/// What was judged.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Verdict {
    pub(super) what: String,
    /// `None` where the run was too short to say.
    pub(super) holds: Option<bool>,
    pub(super) because: String,
}

/// Judges a run of `count` messages each way.
pub(super) fn judge(samples: &[Sample], last: &Sample, count: usize) -> Vec<Verdict> {
    let mut all = Vec::new();
    for process in &last.processes {
        all.push(memory(samples, &process.name));
        for (what, of) in [
            ("open files", files as fn(&ProcessSample) -> f64),
            ("threads", threads),
        ] {
            all.push(steady(samples, &process.name, what, of));
        }
    }
    let waiting: Vec<f64> = samples.iter().map(|sample| sample.waiting).collect();
    all.push(lag("what waits for a role", &waiting));
    let behind: Vec<f64> = samples.iter().map(|sample| sample.unarchived).collect();
    all.push(lag("what waits for the archive", &behind));
    all.push(Verdict {
        what: "messages".to_owned(),
        // A run in which it did not hold has ended before.
        holds: Some(true),
        because: format!("{count} asked for, each sent once"),
    });
    all
}

fn memory_of(process: &ProcessSample) -> f64 {
    process.memory_bytes
}

fn files(process: &ProcessSample) -> f64 {
    process.files
}

fn threads(process: &ProcessSample) -> f64 {
    process.threads
}

/// The second and the value of each look at a process.
pub(super) fn series(
    samples: &[Sample],
    name: &str,
    of: impl Fn(&ProcessSample) -> f64,
) -> Vec<(f64, f64)> {
    samples
        .iter()
        .filter_map(|sample| {
            let process = sample
                .processes
                .iter()
                .find(|process| process.name == name)?;
            Some((sample.second, of(process)))
        })
        .collect()
}

fn memory(samples: &[Sample], name: &str) -> Verdict {
    let series = series(samples, name, memory_of);
    let [_, middle, end] = thirds(&series);
    let (middle_mean, end_mean) = (mean(middle), mean(end));
    let grown = end_mean - middle_mean;
    let most = (middle_mean * MEMORY_SHARE_MAX).max(MEMORY_BYTES_MAX);
    let is_long = samples
        .last()
        .is_some_and(|sample| sample.second >= MEMORY_SECONDS_MIN);
    let mib = |bytes: f64| bytes / 1_048_576.0;
    Verdict {
        what: format!("memory of {name}"),
        holds: is_long.then_some(grown <= most),
        because: format!(
            "{:.1} MiB in the middle third, {:.1} MiB in the last one: {:+.1} MiB an hour",
            mib(middle_mean),
            mib(end_mean),
            mib(slope(&series[series.len() / 3..])) * 3_600.0
        ),
    }
}

fn steady(
    samples: &[Sample],
    name: &str,
    what: &str,
    of: impl Fn(&ProcessSample) -> f64,
) -> Verdict {
    let series = series(samples, name, of);
    let [_, middle, end] = thirds(&series);
    let values = |part: &[(f64, f64)]| part.iter().map(|(_, value)| *value).collect::<Vec<_>>();
    let most = |part| values(part).into_iter().fold(0.0, f64::max);
    let (before, after) = (median(&values(middle)), median(&values(end)));
    Verdict {
        what: format!("{what} of {name}"),
        holds: Some(after <= before + SPARE_MAX),
        because: format!(
            "median {before} in the middle third, {after} in the last one; at most {} and {}",
            most(middle),
            most(end)
        ),
    }
}

/// What waits may swing, and may not pile up: its median at the end is near that of the middle.
fn lag(what: &str, waiting: &[f64]) -> Verdict {
    let [_, middle, end] = thirds(waiting);
    let (before, after) = (median(middle), median(end));
    let most = waiting.iter().copied().fold(0.0, f64::max);
    Verdict {
        what: what.to_owned(),
        holds: Some(after <= WAITING_SHARE_MAX * before + WAITING_SPARE_MAX),
        because: format!(
            "median {before} in the middle third, {after} in the last one; at most {most}"
        ),
    }
}

fn thirds<T>(all: &[T]) -> [&[T]; 3] {
    let third = all.len() / 3;
    [
        &all[..third],
        &all[third..all.len() - third],
        &all[all.len() - third..],
    ]
}

fn mean(part: &[(f64, f64)]) -> f64 {
    let count = f64::from(u32::try_from(part.len()).unwrap_or(u32::MAX)).max(1.0);
    part.iter().map(|(_, value)| value).sum::<f64>() / count
}

fn median(values: &[f64]) -> f64 {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}

/// How much a second the values grow, by the line that is nearest to all of them.
pub(super) fn slope(series: &[(f64, f64)]) -> f64 {
    let count = f64::from(u32::try_from(series.len()).unwrap_or(u32::MAX));
    if count < 2.0 {
        return 0.0;
    }
    let x_mean = series.iter().map(|(x, _)| x).sum::<f64>() / count;
    let y_mean = series.iter().map(|(_, y)| y).sum::<f64>() / count;
    let over: f64 = series
        .iter()
        .map(|(x, y)| (x - x_mean) * (y - y_mean))
        .sum();
    let under: f64 = series.iter().map(|(x, _)| (x - x_mean).powi(2)).sum();
    if under > 0.0 { over / under } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: f64 = 1_048_576.0;

    /// An hour of looks at one process.
    fn hour(memory: impl Fn(f64) -> f64, files: impl Fn(f64) -> f64) -> Vec<Sample> {
        (0..360)
            .map(|index| {
                let second = f64::from(index) * 10.0;
                Sample {
                    second,
                    processes: vec![ProcessSample {
                        name: "ingress".to_owned(),
                        memory_bytes: memory(second),
                        files: files(second),
                        threads: 4.0,
                        processor_seconds: 0.0,
                    }],
                    streams: Vec::new(),
                    waiting: second % 7.0,
                    unarchived: 0.0,
                    database_bytes: 0.0,
                }
            })
            .collect()
    }

    fn broken(samples: &[Sample]) -> Vec<String> {
        let last = samples.last().expect("there are samples").clone();
        judge(samples, &last, 1)
            .into_iter()
            .filter(|verdict| verdict.holds == Some(false))
            .map(|verdict| verdict.what)
            .collect()
    }

    #[test]
    fn what_swings_and_what_warms_up_is_flat() {
        let memory = |second: f64| 60.0 * MIB + 30.0 * MIB * (second / 300.0).min(1.0);
        let swings = |second: f64| memory(second) + 3.0 * MIB * (second / 50.0).sin();
        assert!(broken(&hour(swings, |_| 40.0)).is_empty());
    }

    #[test]
    fn a_leak_of_twenty_mebibytes_an_hour_is_seen() {
        let leaks = |second: f64| 60.0 * MIB + 20.0 * MIB * second / 3_600.0;
        assert_eq!(broken(&hour(leaks, |_| 40.0)), ["memory of ingress"]);
    }

    #[test]
    fn files_that_are_not_closed_are_seen() {
        let files = |second: f64| 40.0 + (second / 300.0).floor();
        let seen = broken(&hour(|_| 60.0 * MIB, files));
        assert_eq!(seen, ["open files of ingress"]);
    }

    #[test]
    fn files_that_are_open_for_some_minutes_and_closed_again_are_no_leak() {
        let files = |second: f64| {
            if (2_400.0..2_800.0).contains(&second) {
                85.0
            } else {
                20.0
            }
        };
        assert!(broken(&hour(|_| 60.0 * MIB, files)).is_empty());
    }

    #[test]
    fn what_piles_up_is_seen() {
        let mut samples = hour(|_| 60.0 * MIB, |_| 40.0);
        for from in [0.0, 1_800.0] {
            for sample in &mut samples {
                sample.waiting = (sample.second - from).max(0.0);
            }
            assert_eq!(broken(&samples), ["what waits for a role"]);
        }
    }

    #[test]
    fn a_short_run_says_nothing_about_memory() {
        let samples = &hour(|second| 60.0 * MIB * (1.0 + second), |_| 40.0)[..20];
        assert!(broken(samples).is_empty());
        let last = samples[19].clone();
        let verdicts = judge(samples, &last, 1);
        assert_eq!(verdicts[0].holds, None);
    }

    #[test]
    fn the_slope_is_that_of_a_line() {
        let line: Vec<(f64, f64)> = (0..10)
            .map(|x| (f64::from(x), 3.0 + 2.0 * f64::from(x)))
            .collect();
        assert!((slope(&line) - 2.0).abs() < 1e-9);
        assert!(slope(&[(1.0, 1.0)]).abs() < f64::EPSILON);
    }
}
