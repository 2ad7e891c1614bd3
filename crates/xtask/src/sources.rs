//! Rules about single texts, and about the numbering of decision records.
//!
//! They look at lines and not at syntax: a rule that needs more belongs into clippy.

use std::collections::BTreeMap;

use crate::Problem;
use crate::tree::File;

/// Lines of code from which a file is too long; the house asks for 500 and suffers a little more.
const CODE_LINES_MAX: usize = 600;

/// What may stand in no Rust file, each with what to do instead. Written in two parts, so that this
/// file obeys.
const FORBIDDEN: [(&str, &str); 4] = [
    (concat!("todo", "!("), "finish it, or leave it out"),
    (concat!("unimplemented", "!("), "finish it, or leave it out"),
    (
        concat!("#[ig", "nore"),
        "a test runs always, or is an example",
    ),
    (concat!("thread::", "sleep"), "wait for a condition"),
];

/// What may not stand in tests.
const FORBIDDEN_IN_TESTS: [(&str, &str); 1] = [(
    concat!("time::", "sleep"),
    "wait for a condition: casement_testkit::eventually",
)];

/// Folders of one machine.
const MACHINE_PATHS: [&str; 2] = [concat!("/wo", "rk/"), concat!("/tmp/", "research")];

pub(crate) fn check(file: &File) -> Vec<Problem> {
    let mut problems = white_space(file);
    problems.extend(machine_paths(file));
    if file.has_ending("rs") {
        problems.extend(module_doc(file));
        problems.extend(length(file));
        problems.extend(forbidden(file));
        problems.extend(sql_place(file));
    }
    problems
}

/// Every module says what it is.
fn module_doc(file: &File) -> Option<Problem> {
    let first = file
        .text
        .lines()
        .find(|line| !line.trim().is_empty())
        .unwrap_or_default();
    let message = "a module begins with `//!`: what it is, and what it deliberately does not do";
    (!first.starts_with("//!")).then(|| Problem::new(file, 1, message))
}

fn length(file: &File) -> Option<Problem> {
    let count = file
        .text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with("//"))
        .count();
    (count > CODE_LINES_MAX).then(|| {
        Problem::new(
            file,
            0,
            format!("{count} lines of code: divide it, the house asks for 500"),
        )
    })
}

fn forbidden(file: &File) -> Vec<Problem> {
    let in_tests = is_test(file)
        .then_some(FORBIDDEN_IN_TESTS)
        .into_iter()
        .flatten();
    let rules: Vec<_> = FORBIDDEN.into_iter().chain(in_tests).collect();
    numbered(file)
        .flat_map(|(number, line)| {
            let broken = rules.iter().filter(move |(text, _)| line.contains(text));
            broken.map(move |(text, instead)| {
                Problem::new(file, number, format!("`{text}`: {instead}"))
            })
        })
        .collect()
}

/// SQL has its own modules.
fn sql_place(file: &File) -> Option<Problem> {
    let has_place = file.name() == "store.rs" || file.path.contains("/store/") || is_test(file);
    if has_place {
        return None;
    }
    let (number, _) = numbered(file)
        .filter(|(_, line)| !line.trim_start().starts_with("//"))
        .find(|(_, line)| line.contains(concat!("sql", "x::")))?;
    Some(Problem::new(
        file,
        number,
        "only `store.rs` and what is under `store/` name sqlx",
    ))
}

fn machine_paths(file: &File) -> Vec<Problem> {
    let found = numbered(file).filter_map(|(number, line)| {
        let path = MACHINE_PATHS.iter().find(|path| line.contains(**path))?;
        Some(Problem::new(
            file,
            number,
            format!("`{path}` is there on one machine only"),
        ))
    });
    found.collect()
}

fn white_space(file: &File) -> Vec<Problem> {
    if !["rs", "md", "toml", "proto", "sql", "yml", "yaml"]
        .iter()
        .any(|ending| file.has_ending(ending))
    {
        return Vec::new();
    }
    let mut problems = Vec::new();
    for (number, line) in numbered(file) {
        if line.contains('\t') {
            problems.push(Problem::new(file, number, "a tab: use spaces"));
        }
        if line.ends_with([' ', '\r']) {
            problems.push(Problem::new(
                file,
                number,
                "white space at the end of the line",
            ));
        }
    }
    if !file.text.is_empty() && !file.text.ends_with('\n') {
        problems.push(Problem::new(file, 0, "no line break at the end"));
    }
    problems
}

/// `docs/adr/NNNN-what-was-decided.md`, numbered without gaps or doubles.
pub(crate) fn check_decision_records(files: &[File]) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut by_number: BTreeMap<u32, &File> = BTreeMap::new();
    for file in files
        .iter()
        .filter(|file| file.path.starts_with("docs/adr/") && file.name() != "README.md")
    {
        let Some(number) = record_number(file.name()) else {
            problems.push(Problem::new(
                file,
                0,
                "a decision record is named `NNNN-what-was-decided.md`",
            ));
            continue;
        };
        if let Some(other) = by_number.insert(number, file) {
            problems.push(Problem::new(
                file,
                0,
                format!("has the number of {}", other.path),
            ));
        }
    }
    for (expected, (number, file)) in (1..).zip(&by_number) {
        if *number != expected {
            problems.push(Problem::new(
                file,
                0,
                format!("there is no decision record {expected:04} before it"),
            ));
            break;
        }
    }
    problems
}

fn record_number(name: &str) -> Option<u32> {
    let (number, slug) = name.strip_suffix(".md")?.split_once('-')?;
    let is_slug = !slug.is_empty()
        && slug
            .chars()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-');
    (number.len() == 4 && is_slug).then(|| number.parse().ok())?
}

fn is_test(file: &File) -> bool {
    file.path.starts_with("tests/") || file.path.contains("/tests/") || file.name() == "tests.rs"
}

fn numbered(file: &File) -> impl Iterator<Item = (usize, &str)> {
    // Not `lines`, which hides a carriage return.
    file.text
        .split('\n')
        .enumerate()
        .map(|(index, line)| (index + 1, line))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, text: &str) -> File {
        File {
            path: path.to_owned(),
            text: text.to_owned(),
        }
    }

    fn messages(path: &str, text: &str) -> Vec<String> {
        check(&file(path, text))
            .iter()
            .map(ToString::to_string)
            .collect()
    }

    #[test]
    fn a_tidy_file_has_no_problems() {
        assert_eq!(
            messages("crates/a/src/lib.rs", "//! A thing.\n\npub fn a() {}\n"),
            [""; 0]
        );
        assert_eq!(messages("README.md", "# Title\n\nText.\n"), [""; 0]);
    }

    #[test]
    fn a_module_without_its_doc_is_found() {
        for text in [
            "",
            "use a::b;\n",
            "/// Not it.\n",
            "#![forbid(unsafe_code)]\n//! Late.\n",
        ] {
            assert_eq!(messages("a.rs", text).len(), 1, "{text:?}");
        }
        assert!(messages("a.rs", "\n//! Fine.\n").is_empty());
    }

    #[test]
    fn only_code_counts_for_the_length() {
        let long = format!("//! Long.\n{}", "let a = 1;\n".repeat(CODE_LINES_MAX + 1));
        assert_eq!(
            messages("a.rs", &long),
            ["a.rs: 601 lines of code: divide it, the house asks for 500"]
        );
        let commented = format!(
            "//! Long.\n{}{}",
            "// why\n\n".repeat(900),
            "let a = 1;\n".repeat(CODE_LINES_MAX)
        );
        assert!(messages("a.rs", &commented).is_empty());
    }

    #[test]
    fn what_is_forbidden_is_found_where_it_is_forbidden() {
        for (text, _) in FORBIDDEN {
            let found = messages("crates/a/src/lib.rs", &format!("//! A.\n{text}\n"));
            assert!(
                found.len() == 1 && found[0].starts_with("crates/a/src/lib.rs:2: `"),
                "{found:?}"
            );
        }
        for (text, _) in FORBIDDEN_IN_TESTS {
            let text = format!("//! A.\n{text}\n");
            assert!(messages("crates/a/src/lib.rs", &text).is_empty());
            for path in [
                "crates/a/tests/b.rs",
                "tests/tests/c.rs",
                "crates/a/src/x/tests.rs",
            ] {
                assert_eq!(messages(path, &text).len(), 1, "{path}");
            }
        }
    }

    #[test]
    fn sql_outside_of_its_modules_is_found() {
        let text = concat!("//! A.\nuse sql", "x::SqlitePool;\n");
        assert_eq!(messages("crates/a/src/grpc.rs", text).len(), 1);
        for path in [
            "crates/a/src/store.rs",
            "crates/a/src/store/rows.rs",
            "tests/tests/archive.rs",
        ] {
            assert!(messages(path, text).is_empty(), "{path}");
        }
    }

    #[test]
    fn paths_of_one_machine_are_found_in_any_text() {
        for path in MACHINE_PATHS {
            assert_eq!(
                messages("docs/a.yaml", &format!("at: {path}x\n")).len(),
                1,
                "{path}"
            );
        }
    }

    #[test]
    fn untidy_white_space_is_found() {
        assert_eq!(
            messages("a.md", "a\tb\nc \nd\r\ne"),
            [
                "a.md:1: a tab: use spaces",
                "a.md:2: white space at the end of the line",
                "a.md:3: white space at the end of the line",
                "a.md: no line break at the end",
            ]
        );
        assert!(
            messages("a.snap", "a \n").is_empty(),
            "a recorded output is as it is"
        );
    }

    #[test]
    fn decision_records_are_numbered_without_gaps_or_doubles() {
        let records = |names: &[&str]| {
            let files: Vec<File> = names
                .iter()
                .map(|name| file(&format!("docs/adr/{name}"), ""))
                .collect();
            check_decision_records(&files).len()
        };
        assert_eq!(records(&["0001-a.md", "0002-b-c2.md", "README.md"]), 0);
        assert_eq!(records(&["0001-a.md", "0003-b.md", "0005-c.md"]), 1);
        assert_eq!(records(&["0001-a.md", "0001-b.md"]), 1);
        assert_eq!(records(&["1-a.md"]), 1);
        assert_eq!(records(&["0001-A.md", "0001.md", "0001-.md"]), 3);
    }
}
