//! Two runs beside one another, figure by figure.
//!
//! A file of figures may hold several runs; of each figure its median counts. Which of the two is
//! better is not said: a rate grows when things get better, a time shrinks.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};
use clap::Args;

use crate::figures::Figure;

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Figures of the run before, as `bench all` keeps them.
    before: PathBuf,
    /// Figures of the run after.
    after: PathBuf,
    /// Leave out what differs by less than so many percent.
    #[arg(long, default_value_t = 0.0)]
    beyond: f64,
}

/// Which figure: benchmark, table, row, column, unit.
type Key = (String, String, String, String, String);

pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    let before = load(&options.before)?;
    let after = load(&options.after)?;
    let pairs = pairs(&before, &after);
    ensure!(!pairs.is_empty(), "the two files have no figure in common");
    println!("| benchmark | table | row | figure | before | after | after / before |");
    println!("|---|---|---|---|---:|---:|---:|");
    for ((measure, table, row, figure, unit), old, new) in &pairs {
        let ratio = new / old;
        if ((ratio - 1.0) * 100.0).abs() < options.beyond {
            continue;
        }
        println!(
            "| {measure} | {table} | {row} | {figure} | {} | {} | {ratio:.2} |",
            text(*old, unit),
            text(*new, unit)
        );
    }
    let alone = before.len() + after.len() - 2 * pairs.len();
    println!("\n{} figures in both, {alone} in one alone", pairs.len());
    Ok(())
}

fn load(path: &Path) -> anyhow::Result<BTreeMap<Key, f64>> {
    let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
    Ok(medians(&text))
}

/// Returns the median of each figure; a line that is no figure says something about the run.
fn medians(text: &str) -> BTreeMap<Key, f64> {
    let mut all: BTreeMap<Key, Vec<f64>> = BTreeMap::new();
    for line in text.lines() {
        let Ok(figure) = serde_json::from_str::<Figure>(line) else {
            continue;
        };
        let Figure {
            measure,
            table,
            row,
            figure,
            value,
            unit,
        } = figure;
        let key = (measure, table, row, figure, unit);
        all.entry(key).or_default().push(value);
    }
    all.into_iter()
        .map(|(key, mut values)| {
            values.sort_by(f64::total_cmp);
            let middle = values[values.len() / 2];
            (key, middle)
        })
        .collect()
}

fn pairs(before: &BTreeMap<Key, f64>, after: &BTreeMap<Key, f64>) -> Vec<(Key, f64, f64)> {
    before
        .iter()
        .filter_map(|(key, old)| Some((key.clone(), *old, *after.get(key)?)))
        .collect()
}

fn text(value: f64, unit: &str) -> String {
    let digits = match value.abs() {
        large if large >= 100.0 => 0,
        middle if middle >= 1.0 => 2,
        _ => 3,
    };
    let gap = if unit.is_empty() || unit == "/s" {
        ""
    } else {
        " "
    };
    format!("{value:.digits$}{gap}{unit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(figure: &str, value: f64) -> String {
        let figure = Figure {
            measure: "ingest".to_owned(),
            table: "Posts a second".to_owned(),
            row: "1 / durable / top".to_owned(),
            figure: figure.to_owned(),
            value,
            unit: String::new(),
        };
        serde_json::to_string(&figure).expect("a figure is JSON")
    }

    #[test]
    fn of_several_runs_the_median_counts_and_only_common_figures_are_paired() {
        let before = [line("posts/s", 100.0), line("gone", 1.0)].join("\n");
        let after = [
            "{\"run\":{\"machine\":\"any\"}}".to_owned(),
            line("posts/s", 900.0),
            line("posts/s", 200.0),
            line("posts/s", 190.0),
            line("new", 1.0),
        ]
        .join("\n");
        let pairs = pairs(&medians(&before), &medians(&after));
        assert_eq!(pairs.len(), 1);
        let (key, old, new) = &pairs[0];
        assert_eq!(key.3, "posts/s");
        assert!((*old - 100.0).abs() < f64::EPSILON && (*new - 200.0).abs() < f64::EPSILON);
    }

    #[test]
    fn figures_keep_as_many_digits_as_they_are_worth() {
        assert_eq!(text(42_563.4, "/s"), "42563/s");
        assert_eq!(text(2.861, "ms"), "2.86 ms");
        assert_eq!(text(0.0571, ""), "0.057");
    }
}
