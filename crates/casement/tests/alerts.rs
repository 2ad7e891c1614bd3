//! Alerts and their pages: each rule has a page of the runbook, each page a rule, each check both,
//! and what pages tell people to run is there.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use casement_domain::watch::Check;
use casement_event::convert::watch::{check_of, read_check};

fn checkout(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .join(path)
}

fn text(path: &str) -> String {
    let path = checkout(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// One alert: what it watches, and its page.
#[derive(Debug, Default)]
struct Rule {
    expr: String,
    page: String,
    has_summary: bool,
    has_advice: bool,
}

fn rules() -> BTreeMap<String, Rule> {
    let mut rules: BTreeMap<String, Rule> = BTreeMap::new();
    let mut last = String::new();
    for line in text("deploy/prometheus/rules.yml").lines().map(str::trim) {
        match line.split_once(": ") {
            Some(("- alert", name)) => {
                name.clone_into(&mut last);
                let is_new = rules.insert(last.clone(), Rule::default()).is_none();
                assert!(is_new, "{name} is there twice");
            }
            Some(("expr", expr)) => {
                expr.clone_into(&mut rules.entry(last.clone()).or_default().expr);
            }
            Some(("runbook", page)) => {
                page.clone_into(&mut rules.entry(last.clone()).or_default().page);
            }
            Some(("summary", _)) => rules.entry(last.clone()).or_default().has_summary = true,
            Some(("do", _)) => rules.entry(last.clone()).or_default().has_advice = true,
            _ => {}
        }
    }
    rules
}

/// Pages by their names, without the list of them.
fn pages() -> BTreeMap<String, String> {
    let files = std::fs::read_dir(checkout("docs/operate/alerts")).expect("the runbook");
    let names = files.map(|file| file.expect("a file").file_name());
    let names = names.map(|name| name.into_string().expect("a name in UTF-8"));
    names
        .filter(|name| name != "README.md")
        .map(|name| {
            let page = text(&format!("docs/operate/alerts/{name}"));
            (name, page)
        })
        .collect()
}

#[test]
fn each_alert_has_its_page_and_each_page_its_alert() {
    let (rules, pages) = (rules(), pages());
    assert!(rules.len() >= 18, "{rules:?}");
    let list = text("docs/operate/alerts/README.md");
    let mut named = BTreeSet::new();
    for (alert, rule) in &rules {
        assert!(rule.has_summary && rule.has_advice, "{alert}");
        let name = rule.page.strip_prefix("docs/operate/alerts/");
        let name = name.unwrap_or_else(|| panic!("{alert} names no page"));
        let page = pages.get(name);
        let page = page.unwrap_or_else(|| panic!("{alert}: there is no {name}"));
        assert!(
            page.contains(&format!("`{alert}`")),
            "{name} is not about {alert}"
        );
        let order = ["## Symptom", "## Cause", "## What to do"].map(|part| page.find(part));
        assert!(order.iter().all(Option::is_some), "{name} lacks a part");
        assert!(order.is_sorted(), "{name} has another order");
        assert!(list.contains(&format!("({name})")), "{name} is not listed");
        assert!(named.insert(name.to_owned()), "{name} is of two alerts");
    }
    let pages: BTreeSet<String> = pages.into_keys().collect();
    assert_eq!(named, pages);
}

#[test]
fn each_check_has_an_event_a_metric_an_alert_a_test_of_it_and_a_page() {
    let rules = rules();
    let tests = text("deploy/prometheus/rules.test.yml");
    let overview = text("docs/operate/watchfulness.md");
    let dashboard = text("deploy/grafana/dashboards/casement-watchfulness.json");
    for check in Check::ALL {
        let name = check.as_str();
        assert_eq!(read_check(check_of(check)), Some(check), "its event");
        let label = format!("casement_watch_raised_checks{{check=\"{name}\"");
        let of = rules.iter().filter(|(_, rule)| rule.expr.contains(&label));
        let of: Vec<_> = of.collect();
        assert_eq!(of.len(), 1, "{name} has one alert");
        let (alert, rule) = of[0];
        assert_eq!(rule.page, format!("docs/operate/alerts/{name}.md"));
        assert!(
            tests.contains(&format!("alertname: {alert}")),
            "{alert} is not tested"
        );
        assert!(
            overview.contains(&format!("[{name}](alerts/{name}.md)")),
            "{name}"
        );
        assert!(
            dashboard.contains(&format!("check=\\\"{name}\\\"")),
            "{name} is not shown"
        );
    }
}

#[test]
fn what_pages_tell_people_to_run_is_there() {
    let mut said = BTreeSet::new();
    for page in pages().values() {
        for code in page.split('`').skip(1).step_by(2) {
            let Some(words) = code.strip_prefix("casement ") else {
                continue;
            };
            let is_command = |word: &&str| {
                let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte == b'-';
                !word.starts_with('-') && word.bytes().all(is_plain)
            };
            let command: Vec<&str> = words.split(' ').take_while(is_command).collect();
            assert!(!command.is_empty(), "{code}");
            said.insert(command.join(" "));
        }
    }
    assert!(said.contains("watch"), "{said:?}");
    for command in said {
        let run = Command::new(env!("CARGO_BIN_EXE_casement"))
            .args(command.split(' '))
            .arg("--help")
            .output()
            .expect("the program was built");
        assert!(run.status.success(), "casement {command}: {run:?}");
    }
}

#[test]
fn every_alert_is_tested_to_fire() {
    let tests = text("deploy/prometheus/rules.test.yml");
    let mut fired = BTreeSet::new();
    let mut name = "";
    for line in tests.lines().map(str::trim) {
        if let Some((_, alert)) = line.split_once("alertname: ") {
            name = alert;
        } else if line == "exp_alerts:" {
            fired.insert(name.to_owned());
        }
    }
    let all: BTreeSet<String> = rules().into_keys().collect();
    assert_eq!(fired, all, "an alert that no test sees firing");
}
