//! The check of `dispatch --only faulty`, small: the same claims, by the same program.

use std::process::Command;

use casement_testkit::casement_bin;

#[test]
fn messages_to_a_faulty_provider_by_a_killed_dispatcher_all_end_and_each_attempt_is_called_once() {
    let run = Command::new(env!("CARGO_BIN_EXE_casement-bench"))
        .args(["dispatch", "--only", "faulty"])
        .args(["--messages", "300", "--kills", "2", "--severity", "5"])
        .arg("--program")
        .arg(casement_bin())
        .output()
        .expect("the benchmark was built with its tests");

    let said = String::from_utf8_lossy(&run.stdout);
    let complaint = String::from_utf8_lossy(&run.stderr);
    assert!(run.status.success(), "{said}\n{complaint}");
    assert!(said.contains("every claim holds"), "{said}");
    // A run in which nothing went wrong would show nothing.
    for happened in [
        "attempts of unknown outcome",
        "risks taken: repeated without knowing",
    ] {
        let row = said.lines().find(|line| line.contains(happened));
        let row = row.unwrap_or_else(|| panic!("no row of {happened}:\n{said}"));
        assert!(!row.ends_with("| 0 |"), "{row}");
    }
}
