//! `bench all --small`: a page between its markers, plots beside it, and figures that can be paired.

use std::path::Path;
use std::process::Command;

use casement_testkit::casement_bin;
use tempfile::TempDir;

fn bench() -> Command {
    Command::new(env!("CARGO_BIN_EXE_casement-bench"))
}

fn said(command: &mut Command) -> String {
    let run = command
        .output()
        .expect("the benchmark was built with its tests");
    let said = String::from_utf8_lossy(&run.stdout).into_owned();
    let complaint = String::from_utf8_lossy(&run.stderr);
    assert!(run.status.success(), "{said}\n{complaint}");
    said
}

fn measure(folder: &Path) {
    said(
        bench()
            .args(["all", "--small"])
            .args(["--only", "append", "--only", "ingest", "--only", "window"])
            .arg("--program")
            .arg(casement_bin())
            .arg("--page")
            .arg(folder.join("benchmarks.md"))
            .arg("--plots")
            .arg(folder.join("benchmarks"))
            .arg("--figures")
            .arg(folder.join("figures.jsonl")),
    );
}

#[test]
fn one_command_writes_tables_plots_and_figures_and_leaves_what_people_wrote() {
    let folder = TempDir::new().expect("a folder for temporary files");
    let page = folder.path().join("benchmarks.md");
    std::fs::write(&page, "# Benchmarks\n\nWritten by hand.\n").expect("a writable folder");
    measure(folder.path());

    let text = std::fs::read_to_string(&page).expect("the page is there");
    assert!(text.starts_with("# Benchmarks\n\nWritten by hand.\n"));
    for part in [
        "A small run",
        "| machine |",
        "| nats-server |",
        "load averages",
        "`./dev bench ingest --seconds 1",
        "| 1 | durable | top |",
        "| broker alone: ",
        "![",
    ] {
        assert!(text.contains(part), "no {part}:\n{text}");
    }
    for plot in ["window-latency.svg", "throughput.svg"] {
        assert!(text.contains(&format!("(benchmarks/{plot})")), "{text}");
        let svg = std::fs::read_to_string(folder.path().join("benchmarks").join(plot));
        let svg = svg.expect("a plot that the page shows");
        assert!(svg.contains("prefers-color-scheme:dark"), "{svg}");
    }

    let figures = folder.path().join("figures.jsonl");
    let pairs = said(bench().arg("compare").arg(&figures).arg(&figures));
    let top = pairs
        .lines()
        .find(|line| line.starts_with("| ingest | Posts a second | 1 / durable / top | posts/s |"));
    let top = top.unwrap_or_else(|| panic!("no durable posts:\n{pairs}"));
    assert!(top.ends_with("| 1.00 |"), "{top}");
}
