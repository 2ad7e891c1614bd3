//! Tasks of the house: `cargo xtask tidy` checks the rules that neither the compiler nor clippy does.
//!
//! It reads the checkout and changes nothing.

mod compose;
mod manifests;
mod sources;
mod tree;

use std::fmt;
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use tree::File;

/// sysexits.h: the command is wrong.
const EX_USAGE: u8 = 64;

/// One broken rule, and where.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Problem {
    path: String,
    /// From 1; 0 for the file as a whole.
    line: usize,
    message: String,
}

impl Problem {
    fn new(file: &File, line: usize, message: impl Into<String>) -> Self {
        Self {
            path: file.path.clone(),
            line,
            message: message.into(),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "{}: {}", self.path, self.message),
            line => write!(f, "{}:{line}: {}", self.path, self.message),
        }
    }
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments != ["tidy"] {
        let usage = "cargo xtask tidy    check the house rules";
        // Nobody is left to tell if this fails, too.
        let _ = writeln!(io::stderr(), "{usage}");
        return ExitCode::from(EX_USAGE);
    }
    match tidy() {
        Ok(0) => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            let _ = writeln!(io::stderr(), "tidy: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Prints what is broken; returns how much.
fn tidy() -> io::Result<usize> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .nth(2)
        .expect("xtask lies in crates/ of the checkout");
    let files = tree::read(root)?;
    let problems = check(&files);
    let mut out = io::stdout().lock();
    for problem in &problems {
        writeln!(out, "{problem}")?;
    }
    writeln!(
        out,
        "tidy: {} files, {} problems",
        files.len(),
        problems.len()
    )?;
    Ok(problems.len())
}

fn check(files: &[File]) -> Vec<Problem> {
    let mut problems: Vec<Problem> = files
        .iter()
        .flat_map(|file| {
            sources::check(file)
                .into_iter()
                .chain(manifests::check(file))
                .chain(compose::check(file))
        })
        .collect();
    problems.extend(sources::check_decision_records(files));
    problems.sort();
    problems
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn problems_are_told_where_they_are_and_in_order() {
        let file = |path: &str, text: &str| File {
            path: path.to_owned(),
            text: text.to_owned(),
        };
        let problems = check(&[file("b.md", "x \n"), file("a.rs", "fn a() {}\n")]);
        let told: Vec<String> = problems.iter().map(ToString::to_string).collect();
        assert_eq!(told.len(), 2, "{told:?}");
        assert!(told[0].starts_with("a.rs:1: "), "{told:?}");
        assert!(told[1].starts_with("b.md:1: "), "{told:?}");
    }
}
