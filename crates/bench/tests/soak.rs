//! `soak`, small: load, looks, a judgement, and a page.

mod small;

use tempfile::TempDir;

#[test]
fn a_soak_looks_at_every_process_judges_and_writes_its_page() {
    let folder = TempDir::new().expect("a folder for temporary files");
    let page = folder.path().join("benchmarks.md");
    let samples = folder.path().join("samples.jsonl");
    let (to_page, to_samples) = (page.display().to_string(), samples.display().to_string());
    let load = "soak --minutes 0.2 --rate 4 --customers 20 --sample-seconds 1";
    let files = ["--page", to_page.as_str(), "--samples", to_samples.as_str()];
    small::run(load, &files);
    let text = std::fs::read_to_string(&page).expect("the page is there");
    for part in [
        "| dispatcher |",
        "| broker |",
        "| MESSAGES |",
        "| the archive's database |",
        "| memory of ingress | too short to say |",
        "| open files of ingress | yes |",
        "| what waits for a role | yes |",
        "48 asked for, each sent once",
        "(benchmarks/soak-memory.svg)",
    ] {
        assert!(text.contains(part), "no {part}:\n{text}");
    }
    let looks = std::fs::read_to_string(&samples).expect("looks were kept");
    assert!(looks.lines().count() >= 5, "{looks}");
    assert!(folder.path().join("benchmarks/soak-memory.svg").is_file());
}
