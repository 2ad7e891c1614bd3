//! What is written of a run: tables, and plots over its time.

use std::fmt::Write as _;

use super::judge::{self, Verdict};
use super::sample::Sample;
use crate::plot::{self, Axis, Series};

/// A run, but for what was measured.
pub(super) struct Run<'a> {
    pub(super) machine: String,
    /// Load averages before and after.
    pub(super) loads: [String; 2],
    pub(super) minutes: f64,
    pub(super) rate: usize,
    pub(super) customers: usize,
    /// Messages each way.
    pub(super) messages: usize,
    pub(super) note: &'a str,
}

const MIB: f64 = 1_048_576.0;

/// Writes the tables.
pub(super) fn text(run: &Run<'_>, samples: &[Sample], last: &Sample, judged: &[Verdict]) -> String {
    let mut text = head(run);
    text.push_str(&processes(run, samples, last));
    text.push_str(&growth(run, samples, last));
    text.push_str("What was judged\n\n| what | holds | because |\n|---|---|---|\n");
    for verdict in judged {
        let holds = match verdict.holds {
            Some(true) => "yes",
            Some(false) => "**no**",
            None => "too short to say",
        };
        // Writing to text cannot fail.
        let _ = writeln!(text, "| {} | {holds} | {} |", verdict.what, verdict.because);
    }
    text
}

fn head(run: &Run<'_>) -> String {
    let build = if cfg!(debug_assertions) {
        " The build was without optimisation."
    } else {
        ""
    };
    let note = if run.note.is_empty() {
        String::new()
    } else {
        format!(" {}", run.note)
    };
    let [before, after] = &run.loads;
    format!(
        "`./dev soak --minutes {} --rate {}`: {} messages from customers and as many to them, to \
         {} customers. {}; load averages {before} before, {after} after.{build}{note}\n\n",
        run.minutes, run.rate, run.messages, run.customers, run.machine
    )
}

fn processes(run: &Run<'_>, samples: &[Sample], last: &Sample) -> String {
    let mut text = String::from(
        "| process | memory: at first | after a third | at the end | open files | threads | CPU-seconds a thousand messages |\n\
         |---|---:|---:|---:|---:|---:|---:|\n",
    );
    let first = samples.first().unwrap_or(last);
    let third = samples.get(samples.len() / 3).unwrap_or(last);
    let messages = 2.0 * f64::from(u32::try_from(run.messages).unwrap_or(u32::MAX));
    for (index, process) in last.processes.iter().enumerate() {
        let memory = |sample: &Sample| {
            let process = sample.processes.get(index);
            process.map_or(0.0, |process| process.memory_bytes / MIB)
        };
        let before = first
            .processes
            .get(index)
            .map_or(0.0, |process| process.processor_seconds);
        let spent = process.processor_seconds - before;
        // Writing to text cannot fail.
        let _ = writeln!(
            text,
            "| {} | {:.1} MiB | {:.1} MiB | {:.1} MiB | {} | {} | {:.2} |",
            process.name,
            memory(first),
            memory(third),
            memory(last),
            process.files,
            process.threads,
            1_000.0 * spent / messages
        );
    }
    text.push('\n');
    text
}

fn growth(run: &Run<'_>, samples: &[Sample], last: &Sample) -> String {
    let first = samples.first().unwrap_or(last);
    let messages = 2.0 * f64::from(u32::try_from(run.messages).unwrap_or(u32::MAX));
    let mut text = String::from(
        "| what grew | entries | bytes | bytes an entry | bytes a message |\n|---|---:|---:|---:|---:|\n",
    );
    let (mut all, mut archived) = (0.0, 0.0);
    for (index, stream) in last.streams.iter().enumerate() {
        let before = first.streams.get(index);
        let entries = stream.messages - before.map_or(0.0, |before| before.messages);
        let bytes = stream.bytes - before.map_or(0.0, |before| before.bytes);
        all += bytes;
        if stream.name != casement_event::subject::stream::RAW {
            archived += entries;
        }
        text.push_str(&grown(&stream.name, entries, bytes, messages));
    }
    // Writing to text cannot fail.
    let _ = writeln!(
        text,
        "| the log | – | {:.1} MiB | – | {:.0} B |",
        all / MIB,
        all / messages
    );
    let bytes = last.database_bytes - first.database_bytes;
    text.push_str(&grown("the archive's database", archived, bytes, messages));
    text.push('\n');
    text
}

fn grown(what: &str, entries: f64, bytes: f64, messages: f64) -> String {
    format!(
        "| {what} | {entries} | {:.1} MiB | {:.0} B | {:.0} B |\n",
        bytes / MIB,
        bytes / entries.max(1.0),
        bytes / messages
    )
}

/// Draws memory, what waits, and what is stored, over the minutes of the run.
pub(super) fn plots(samples: &[Sample]) -> Vec<(&'static str, &'static str, String)> {
    let axis = |label| Axis {
        label,
        is_log: false,
    };
    let of = |name: &str, value: &dyn Fn(&Sample) -> f64| Series {
        name: name.to_owned(),
        points: samples
            .iter()
            .map(|sample| (sample.second / 60.0, value(sample)))
            .collect(),
    };
    let names: Vec<String> = samples
        .first()
        .map(|sample| {
            sample
                .processes
                .iter()
                .map(|one| one.name.clone())
                .collect()
        })
        .unwrap_or_default();
    let memory: Vec<Series> = names
        .iter()
        .map(|name| Series {
            name: name.clone(),
            points: judge::series(samples, name, |process| process.memory_bytes / MIB)
                .into_iter()
                .map(|(second, mib)| (second / 60.0, mib))
                .collect(),
        })
        .collect();
    let waiting = [
        of("for a role", &|sample| sample.waiting),
        of("for the archive", &|sample| sample.unarchived),
    ];
    let stored = [
        of("the log", &|sample| {
            sample
                .streams
                .iter()
                .map(|stream| stream.bytes)
                .sum::<f64>()
                / MIB
        }),
        of("the archive's database", &|sample| {
            sample.database_bytes / MIB
        }),
    ];
    let minutes = axis("minutes");
    [
        (
            "soak-memory.svg",
            "Memory under steady load",
            "MiB",
            &memory[..],
        ),
        (
            "soak-waiting.svg",
            "What waits under steady load",
            "messages",
            &waiting,
        ),
        (
            "soak-stored.svg",
            "What is stored under steady load",
            "MiB",
            &stored,
        ),
    ]
    .into_iter()
    .map(|(file, title, label, series)| {
        (
            file,
            title,
            plot::lines(title, minutes, axis(label), series),
        )
    })
    .collect()
}
