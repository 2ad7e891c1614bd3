//! Which figures are drawn: how latency grows with the rate, what share of its baseline each rate
//! reaches, and what things weigh.
//!
//! A plot whose figures were not measured is left out.

use crate::figures::Figure;
use crate::plot::{self, Axis, Bar, Series};

/// A plot, and the file that it goes to.
pub(super) struct Chart {
    pub(super) file: &'static str,
    pub(super) title: &'static str,
    pub(super) svg: String,
}

pub(super) fn all(figures: &[Figure]) -> Vec<Chart> {
    [
        window_latency(figures),
        dispatch_latency(figures),
        throughput(figures),
        bytes(figures),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Times over the rate in the first column of a row, a line for each of who and percentile.
fn over_rate(figures: &[Figure], wanted: &[(&str, &str)]) -> Vec<Series> {
    let mut all: Vec<Series> = Vec::new();
    for (who, column) in wanted {
        let mut points: Vec<(f64, f64)> = figures
            .iter()
            .filter(|figure| figure.figure == *column && figure.unit == "ms")
            .filter_map(|figure| {
                let (rate, of) = figure.row.split_once(" / ")?;
                let is_of = of == *who;
                is_of.then(|| rate.parse().ok().map(|rate| (rate, figure.value)))?
            })
            .collect();
        points.sort_by(|one, other| one.0.total_cmp(&other.0));
        if !points.is_empty() {
            all.push(Series {
                name: format!("{who}: {column}"),
                points,
            });
        }
    }
    all
}

const RATE: Axis<'_> = Axis {
    label: "messages a second",
    is_log: true,
};
const TIME: Axis<'_> = Axis {
    label: "ms",
    is_log: true,
};

fn window_latency(figures: &[Figure]) -> Option<Chart> {
    let of = of(
        figures,
        "window",
        "One post to `WindowOpened` at a subscriber",
    );
    let alone = "broker alone, the same writes and deliveries";
    let roles = "through the roles";
    let series = over_rate(
        &of,
        &[
            (roles, "p50"),
            (roles, "p99"),
            (alone, "p50"),
            (alone, "p99"),
        ],
    );
    let title = "From a post to WindowOpened at a subscriber";
    (!series.is_empty()).then(|| Chart {
        file: "window-latency.svg",
        title,
        svg: plot::lines(title, RATE, TIME, &series),
    })
}

fn dispatch_latency(figures: &[Figure]) -> Option<Chart> {
    let of: Vec<Figure> = figures
        .iter()
        .filter(|figure| figure.measure == "dispatch")
        .cloned()
        .collect();
    let series = over_rate(
        &of,
        &[
            ("through the roles", "since durable: p50"),
            ("through the roles", "since durable: p99"),
            ("raw appends, request and claim", "since due: p50"),
            ("raw appends, request and claim", "since due: p99"),
            ("bare HTTP client", "since due: p50"),
            ("bare HTTP client", "since due: p99"),
        ],
    );
    let title = "From a durable request to the call of the provider";
    (!series.is_empty()).then(|| Chart {
        file: "dispatch-latency.svg",
        title,
        svg: plot::lines(title, RATE, TIME, &series),
    })
}

/// A rate and the one of its baseline: benchmark, row, column; of the baseline row and column.
struct Pair {
    name: &'static str,
    measure: &'static str,
    row: &'static str,
    column: &'static str,
    beside: &'static str,
    beside_row: &'static str,
    beside_column: &'static str,
}

const PAIRS: [Pair; 6] = [
    Pair {
        name: "durable posts, one update each",
        measure: "ingest",
        row: "1 / durable / top",
        column: "posts/s",
        beside: "a server that stores nothing",
        beside_row: "1 / stores nothing / top",
        beside_column: "posts/s",
    },
    Pair {
        name: "updates normalised",
        measure: "ingest",
        row: "1 / normaliser",
        column: "updates/s",
        beside: "broker alone",
        beside_row: "1 / broker alone: ",
        beside_column: "updates/s",
    },
    Pair {
        name: "messages in, through every role",
        measure: "window",
        row: "sustained",
        column: "messages/s",
        beside: "broker alone",
        beside_row: "broker alone: ",
        beside_column: "messages/s",
    },
    Pair {
        name: "messages sent",
        measure: "dispatch",
        row: "statuses, no projector",
        column: "sent/s",
        beside: "a bare HTTP client",
        beside_row: "bare HTTP client",
        beside_column: "sent/s",
    },
    Pair {
        name: "messages accepted",
        measure: "dispatch",
        row: "statuses, no projector",
        column: "accepted/s",
        beside: "raw appends of their events",
        beside_row: "raw appends: ",
        beside_column: "accepted/s",
    },
    Pair {
        name: "events archived",
        measure: "archive",
        row: "events archived from the log",
        column: "figure",
        beside: "a raw bulk load",
        beside_row: "raw bulk load of the same rows",
        beside_column: "figure",
    },
];

fn throughput(figures: &[Figure]) -> Option<Chart> {
    let find = |measure: &str, row: &str, column: &str| {
        figures
            .iter()
            .find(|figure| {
                figure.measure == measure
                    && figure.figure == column
                    && (figure.row == row || row.ends_with(": ") && figure.row.starts_with(row))
            })
            .map(|figure| figure.value)
    };
    let mut bars = Vec::new();
    for pair in &PAIRS {
        let ours = find(pair.measure, pair.row, pair.column);
        let theirs = find(pair.measure, pair.beside_row, pair.beside_column);
        let Some((ours, theirs)) = ours.zip(theirs).filter(|(_, theirs)| *theirs > 0.0) else {
            continue;
        };
        let share = 100.0 * ours / theirs;
        bars.push(Bar {
            name: pair.name.to_owned(),
            value: share,
            text: format!("{share:.0} %: {ours:.0} of {theirs:.0} a second"),
            is_beside: false,
        });
        bars.push(Bar {
            name: pair.beside.to_owned(),
            value: 100.0,
            text: "100 %".to_owned(),
            is_beside: true,
        });
    }
    let title = "Things a second, as a share of their baseline";
    (!bars.is_empty()).then(|| Chart {
        file: "throughput.svg",
        title,
        svg: plot::bars(title, &bars),
    })
}

fn bytes(figures: &[Figure]) -> Option<Chart> {
    let bars: Vec<Bar> = figures
        .iter()
        .filter(|figure| {
            let is_event = figure.measure == "archive" && figure.figure == "figure";
            let is_window = figure.measure == "window" && figure.figure == "a window";
            figure.unit == "B"
                && (is_event || is_window)
                && !figure.row.starts_with("tracker, start 2")
        })
        .map(|figure| Bar {
            name: figure.row.clone(),
            value: figure.value,
            text: format!("{:.0} B", figure.value),
            is_beside: figure.row.contains("broker"),
        })
        .collect();
    let title = "Bytes an event, and bytes an open window";
    (!bars.is_empty()).then(|| Chart {
        file: "bytes.svg",
        title,
        svg: plot::bars(title, &bars),
    })
}

fn of(figures: &[Figure], measure: &str, table: &str) -> Vec<Figure> {
    figures
        .iter()
        .filter(|figure| figure.measure == measure && figure.table == table)
        .cloned()
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figures;

    #[test]
    fn what_was_measured_is_drawn_and_nothing_else() {
        assert!(all(&[]).is_empty());
        let said = "One post to `WindowOpened` at a subscriber\n\n\
            | posts a second | who | p50 | p99 | longest |\n|---:|---|---:|---:|---:|\n\
            | 100 | through the roles | 6.39ms | 9.85ms | 12.83ms |\n\
            | 1000 | through the roles | 77.67ms | 185.26ms | 280.67ms |\n\
            | 100 | broker alone, one append | 2.16ms | 3.06ms | 11.42ms |\n";
        let charts = all(&figures::read("window", said));
        assert_eq!(charts.len(), 1);
        assert_eq!(charts[0].file, "window-latency.svg");
        assert!(charts[0].svg.contains("through the roles: p99"));
    }

    #[test]
    fn a_rate_is_drawn_as_a_share_of_its_baseline() {
        let said = "Posts a second\n\n| updates a post | server | load | posts/s |\n\
            |---:|---|---|---:|\n| 1 | stores nothing | top | 1000 |\n| 1 | durable | top | 420 |\n";
        let charts = all(&figures::read("ingest", said));
        assert_eq!(charts.len(), 1);
        assert!(charts[0].svg.contains("42 %: 420 of 1000 a second"));
    }
}
