//! `bench replicas`, small: the same messages by one process of each role and by two, and another
//! dispatcher that sends when the active one leaves.

use std::process::Command;

use casement_testkit::casement_bin;

#[test]
fn two_of_each_role_lose_nothing_do_nothing_twice_and_hand_over() {
    let run = Command::new(env!("CARGO_BIN_EXE_casement-bench"))
        .args(["replicas", "--of", "2"])
        .args(["--customers", "20", "--messages", "60"])
        .arg("--program")
        .arg(casement_bin())
        .output()
        .expect("the benchmark was built with its tests");

    let said = String::from_utf8_lossy(&run.stdout);
    let complaint = String::from_utf8_lossy(&run.stderr);
    assert!(run.status.success(), "{said}\n{complaint}");
    // Sixty messages and twenty that open windows; sixty sent, and sixty while one hands over.
    assert!(
        said.contains("| 2 | 80 | 40 | 120 | 120 | 0 | 0 |"),
        "{said}"
    );
    assert!(said.contains("nothing was lost or done twice"), "{said}");
}
