//! A benchmark in its small form, as a person would start it.

use std::process::Command;

use casement_testkit::casement_bin;

/// Runs a benchmark by its words, and paths after them, to its end, and returns what it said.
pub(crate) fn run(words: &str, paths: &[&str]) -> String {
    let run = Command::new(env!("CARGO_BIN_EXE_casement-bench"))
        .args(words.split(' '))
        .args(paths)
        .arg("--program")
        .arg(casement_bin())
        .output()
        .expect("the benchmark was built with its tests");
    let said = String::from_utf8_lossy(&run.stdout).into_owned();
    let complaint = String::from_utf8_lossy(&run.stderr);
    assert!(run.status.success(), "{said}\n{complaint}");
    said
}
