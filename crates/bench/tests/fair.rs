//! The measure `dispatch --only fair`, small: one brand's campaign does not hold up another brand's
//! answers until its end.

use std::process::Command;

use casement_testkit::casement_bin;

#[test]
fn answers_of_one_brand_go_while_another_brands_campaign_is_under_way() {
    let run = Command::new(env!("CARGO_BIN_EXE_casement-bench"))
        .args(["dispatch", "--only", "fair", "--customers", "200"])
        .args([
            "--campaign",
            "400",
            "--answers",
            "10",
            "--fair-seconds",
            "1",
        ])
        .arg("--program")
        .arg(casement_bin())
        .output()
        .expect("the benchmark was built with its tests");

    let said = String::from_utf8_lossy(&run.stdout);
    let complaint = String::from_utf8_lossy(&run.stderr);
    assert!(run.status.success(), "{said}\n{complaint}");
    for row in [
        "| 80/s | alone |",
        "| 80/s | beside the campaign |",
        "| 1000/s | beside the campaign |",
        "| 1000/s | alone again |",
    ] {
        assert!(said.contains(row), "{row}:\n{said}");
    }
    assert!(said.contains("held up no answer"), "{said}");
}
