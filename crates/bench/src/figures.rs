//! Figures as machines read them: what stands in the tables that benchmarks print, a line of JSON
//! each.
//!
//! A table is read as people read it. Of the title before it counts what stands before the first
//! comma; of a row, the columns up to the first number that follows a word say which row it is; the
//! columns after that whose values are aligned to the right are figures. A column's head may begin
//! with `group: `, which goes on until the next one that does.
//!
//! It does not judge: which figure is better when it is smaller, nobody says here.

use serde::{Deserialize, Serialize};

/// One figure of one run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[expect(
    clippy::struct_field_names,
    reason = "a row, a column and what stands there"
)]
pub(crate) struct Figure {
    /// The benchmark, as in `./dev bench NAME`.
    pub(crate) measure: String,
    /// Title of the table.
    pub(crate) table: String,
    /// Which row; its columns are parted by ` / `.
    pub(crate) row: String,
    /// Head of the column.
    pub(crate) figure: String,
    pub(crate) value: f64,
    /// `ms`, `/s`, `B`, `%`, or nothing for plain numbers.
    pub(crate) unit: String,
}

/// Reads every figure of the tables in a benchmark's output.
pub(crate) fn read(measure: &str, text: &str) -> Vec<Figure> {
    let mut figures = Vec::new();
    let mut title = String::new();
    let mut table: Option<Table> = None;
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    for (index, line) in lines.iter().enumerate() {
        if !line.starts_with('|') {
            if !line.is_empty() {
                (*line).clone_into(&mut title);
            }
            table = None;
            continue;
        }
        let next = lines.get(index + 1).copied().unwrap_or_default();
        if is_rule(next) {
            table = Some(Table::new(&title, line, next));
        } else if let Some(table) = table.as_ref().filter(|_| !is_rule(line)) {
            table.read_row(measure, line, &mut figures);
        }
    }
    figures
}

/// A table whose rows are read.
struct Table {
    title: String,
    heads: Vec<String>,
    /// How many columns say which row it is.
    keys_len: usize,
    is_right: Vec<bool>,
}

impl Table {
    fn new(title: &str, head: &str, rule: &str) -> Self {
        let mut group = String::new();
        let heads = cells(head)
            .into_iter()
            .map(|head| match head.split_once(": ") {
                Some((named, _)) => {
                    group = format!("{named}: ");
                    head.to_owned()
                }
                None => format!("{group}{head}"),
            })
            .collect();
        let is_right: Vec<bool> = cells(rule).iter().map(|cell| cell.ends_with(':')).collect();
        let last_word = |until: usize| is_right[..until].iter().any(|is_right| !is_right);
        let keys_len = (0..is_right.len())
            .find(|index| is_right[*index] && last_word(*index))
            .unwrap_or(is_right.len());
        Self {
            title: title.split(',').next().unwrap_or_default().to_owned(),
            heads,
            keys_len,
            is_right,
        }
    }

    fn read_row(&self, measure: &str, line: &str, figures: &mut Vec<Figure>) {
        let cells = cells(line);
        let keys: Vec<String> = cells
            .iter()
            .take(self.keys_len)
            .map(|cell| without_counts(cell))
            .collect();
        let row = keys.join(" / ");
        for (index, cell) in cells.iter().enumerate().skip(self.keys_len) {
            if !self.is_right.get(index).copied().unwrap_or_default() {
                continue;
            }
            let head = self.heads.get(index).map_or("", String::as_str);
            for (part, value, unit) in values(cell) {
                let figure = match part {
                    Some(part) => format!("{head}: {part}"),
                    None => head.to_owned(),
                };
                figures.push(Figure {
                    measure: measure.to_owned(),
                    table: self.title.clone(),
                    row: row.clone(),
                    figure,
                    value,
                    unit: unit.to_owned(),
                });
            }
        }
    }
}

fn cells(line: &str) -> Vec<&str> {
    let inner = line.trim_start_matches('|').trim_end_matches('|');
    inner.split('|').map(str::trim).collect()
}

/// Whether a line is the one between the head of a table and its rows.
fn is_rule(line: &str) -> bool {
    line.starts_with('|')
        && line.contains("---")
        && line.chars().all(|one| matches!(one, '|' | '-' | ':' | ' '))
}

/// Counts after a colon differ from run to run, and do not say which row it is.
fn without_counts(cell: &str) -> String {
    let Some((what, counts)) = cell.split_once(": ") else {
        return cell.to_owned();
    };
    let mut kept = format!("{what}: ");
    for one in counts.chars() {
        let is_number = one.is_ascii_digit() || (kept.ends_with('#') && matches!(one, '.' | ','));
        if !is_number {
            kept.push(one);
        } else if !kept.ends_with('#') {
            kept.push('#');
        }
    }
    kept
}

/// The values of a cell: one that stands alone or first, and any others that have a name before
/// them, as in `p50 44ms, p99 80ms`.
fn values(cell: &str) -> Vec<(Option<String>, f64, &'static str)> {
    let mut found = Vec::new();
    for (index, piece) in cell.split(", ").enumerate() {
        let (name, rest) = match piece.split_once(' ') {
            Some((name, rest)) if is_percentile(name) => (Some(name.to_owned()), rest),
            _ => (None, piece),
        };
        if index > 0 && name.is_none() {
            continue;
        }
        if let Some((value, unit)) = value(rest.trim()) {
            found.push((name, value, unit));
        }
    }
    found
}

fn is_percentile(word: &str) -> bool {
    let digits = word.strip_prefix('p').unwrap_or_default();
    !digits.is_empty() && digits.chars().all(|one| one.is_ascii_digit())
}

/// Reads a number and its unit; times come out in milliseconds, sizes in bytes.
fn value(text: &str) -> Option<(f64, &'static str)> {
    let end = text
        .find(|one: char| !(one.is_ascii_digit() || matches!(one, '.' | ',' | '-')))
        .unwrap_or(text.len());
    let number: f64 = text[..end].replace(',', "").parse().ok()?;
    let unit = text[end..].trim_start();
    let unit = unit.split(' ').next().unwrap_or_default();
    let (factor, unit) = match unit {
        "" => (1.0, ""),
        "ns" => (0.000_001, "ms"),
        "µs" => (0.001, "ms"),
        "ms" => (1.0, "ms"),
        "s" => (1_000.0, "ms"),
        "/s" => (1.0, "/s"),
        "k/s" => (1_000.0, "/s"),
        "%" => (1.0, "%"),
        "B" => (1.0, "B"),
        "KiB" => (1_024.0, "B"),
        "MiB" => (1_048_576.0, "B"),
        "GiB" => (1_073_741_824.0, "B"),
        _ => return None,
    };
    Some((number * factor, unit))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one<'a>(figures: &'a [Figure], row: &str, figure: &str) -> &'a Figure {
        figures
            .iter()
            .find(|one| one.row == row && one.figure == figure)
            .unwrap_or_else(|| panic!("no {figure} of {row} in {figures:#?}"))
    }

    #[test]
    fn rows_are_known_by_their_words_and_figures_have_units() {
        let text = "Posts a second\n\n\
            | updates a post | server | load | posts/s | p50 | p99 | cores: server | broker |\n\
            |---:|---|---|---:|---:|---:|---:|---:|\n\
            | 1 | durable | top | 42563 | 2.86ms | 612.00µs | 1.13 | – |\n";
        let figures = read("ingest", text);
        assert_eq!(figures.len(), 4, "{figures:#?}");
        let rate = one(&figures, "1 / durable / top", "posts/s");
        assert_eq!((rate.value, rate.unit.as_str()), (42_563.0, ""));
        assert_eq!(rate.table, "Posts a second");
        let late = one(&figures, "1 / durable / top", "p99");
        assert!((late.value - 0.612).abs() < 1e-9 && late.unit == "ms");
        one(&figures, "1 / durable / top", "cores: server");
    }

    #[test]
    fn a_group_of_columns_goes_on_until_the_next_one() {
        let text = "| what | late: p50 | p99 | cores: tracker | broker |\n\
            |---|---:|---:|---:|---:|\n\
            | 150 at 50 a second: 3.0s, 4.2k/s | 3.87s | 6.09s | 0.75 | 0.81 |\n";
        let figures = read("window", text);
        let row = "150 at 50 a second: #s, #k/s";
        let late = one(&figures, row, "late: p99");
        assert!((late.value - 6_090.0).abs() < 1e-9);
        one(&figures, row, "cores: broker");
    }

    #[test]
    fn of_a_cell_the_first_value_counts_and_those_that_have_a_name() {
        let text = "SQLite, 300 conversations\n\n| what | figure | beside |\n|---|---:|---:|\n\
            | answers | p50 44.00ms, p99 1.5s |  |\n\
            | memory | 121 MiB, 94 MiB more | 99 B |\n\
            | verification | 23k/s | 900 rows in 1.0s |\n";
        let figures = read("archive", text);
        assert!((one(&figures, "answers", "figure: p99").value - 1_500.0).abs() < 1e-9);
        assert_eq!(one(&figures, "memory", "figure").unit, "B");
        assert!((one(&figures, "verification", "figure").value - 23_000.0).abs() < 1e-9);
        assert_eq!(figures.len(), 5, "rows are no unit: {figures:#?}");
        assert!(figures.iter().all(|figure| figure.table == "SQLite"));
    }

    #[test]
    fn a_rows_name_does_not_change_with_the_counts_of_a_run() {
        let row = |counts: &str| {
            let text = format!("| who | rate |\n|---|---:|\n| broker alone: {counts} | 7 |\n");
            read("ingest", &text)[0].row.clone()
        };
        assert_eq!(
            row("743 packs read, 50,000 events in batches"),
            row("9 packs read, 1 events in batches")
        );
    }

    #[test]
    fn what_is_no_table_is_no_figure() {
        assert!(read("window", "machine: 2 × AMD\n\n3 ends were told twice\n").is_empty());
    }
}
