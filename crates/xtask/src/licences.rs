//! `cargo xtask licences`: the licences of everything that the program is linked from, with their texts.
//!
//! What may be linked at all is `deny.toml`'s business. The texts are those that the packages bring;
//! who brings none is told with the name of its licence.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, Write};
use std::path::Path;
use std::process::Command;

use serde_json::Value;

/// The program that is shipped, and for what.
const PROGRAM: &str = "casement";
const TARGET: &str = "x86_64-unknown-linux-gnu";

/// How files with a licence are called, in capitals.
const BEGINNINGS: [&str; 5] = ["LICENSE", "LICENCE", "COPYING", "NOTICE", "UNLICENSE"];

/// A package of others.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Package {
    /// Name and version.
    title: String,
    licence: String,
    source: String,
    texts: Vec<String>,
}

/// Writes them all.
pub(crate) fn write(root: &Path, out: &mut impl Write) -> io::Result<()> {
    let asked = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--locked"])
        .args(["--filter-platform", TARGET])
        .current_dir(root)
        .output()?;
    if !asked.status.success() {
        let told = String::from_utf8_lossy(&asked.stderr).into_owned();
        return Err(io::Error::other(format!("cargo metadata: {told}")));
    }
    let metadata: Value = serde_json::from_slice(&asked.stdout)?;
    let mut packages = Vec::new();
    for package in linked(&metadata) {
        packages.push(read(package)?);
    }
    page(&packages, out)
}

/// The packages of others that the program is linked from: not what builds or tests it.
fn linked(metadata: &Value) -> Vec<&Value> {
    let by_id: BTreeMap<&str, &Value> = list(&metadata["packages"])
        .filter_map(|package| Some((package["id"].as_str()?, package)))
        .collect();
    let nodes: BTreeMap<&str, &Value> = list(&metadata["resolve"]["nodes"])
        .filter_map(|node| Some((node["id"].as_str()?, node)))
        .collect();
    let mut left: Vec<&str> = by_id
        .iter()
        .filter(|(_, package)| package["name"] == PROGRAM && package["source"].is_null())
        .map(|(id, _)| *id)
        .collect();
    let mut seen = BTreeSet::new();
    while let Some(id) = left.pop() {
        if !seen.insert(id) {
            continue;
        }
        let dependencies = nodes.get(id).map_or(&Value::Null, |node| &node["deps"]);
        left.extend(
            list(dependencies)
                .filter(|dependency| {
                    list(&dependency["dep_kinds"]).any(|kind| kind["kind"].is_null())
                })
                .filter_map(|dependency| dependency["pkg"].as_str()),
        );
    }
    let mut found: Vec<&Value> = seen
        .iter()
        .filter_map(|id| by_id.get(id).copied())
        // Without a source it is ours.
        .filter(|package| !package["source"].is_null())
        .collect();
    found.sort_by_key(|package| title(package));
    found
}

fn title(package: &Value) -> String {
    format!("{} {}", word(&package["name"]), word(&package["version"]))
}

fn read(package: &Value) -> io::Result<Package> {
    let manifest = Path::new(word(&package["manifest_path"]));
    let folder = manifest.parent().unwrap_or(manifest);
    let mut names = BTreeSet::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().to_uppercase();
        if BEGINNINGS.iter().any(|begin| name.starts_with(begin)) && entry.file_type()?.is_file() {
            names.insert(entry.path());
        }
    }
    let texts: io::Result<Vec<String>> = names
        .iter()
        .map(|path| {
            let bytes = fs::read(path)?;
            Ok(String::from_utf8_lossy(&bytes).trim().replace("\r\n", "\n"))
        })
        .collect();
    Ok(Package {
        title: title(package),
        licence: word(&package["license"]).to_owned(),
        source: word(&package["repository"]).to_owned(),
        texts: texts?.into_iter().filter(|text| !text.is_empty()).collect(),
    })
}

/// Each text once, below whose it is.
fn page(packages: &[Package], out: &mut impl Write) -> io::Result<()> {
    writeln!(
        out,
        "What Casement is linked from, {} packages, and under which licences.\n",
        packages.len()
    )?;
    let mut texts: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for package in packages {
        let Package {
            title,
            licence,
            source,
            ..
        } = package;
        let remark = if package.texts.is_empty() {
            "; brings no text"
        } else {
            ""
        };
        writeln!(out, "{title}: {licence}{remark}; {source}")?;
        for text in &package.texts {
            texts.entry(text).or_default().push(title);
        }
    }
    for (text, titles) in texts {
        writeln!(
            out,
            "\n{:=<100}\n{}\n{:-<100}\n\n{text}",
            "",
            titles.join(", "),
            ""
        )?;
    }
    Ok(())
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn word(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_linked_is_told_and_what_builds_or_tests_is_not() {
        let package = |name: &str, source: Value| json!({ "id": name, "name": name, "version": "1.0.0", "source": source });
        let dependency =
            |name: &str, kind: Value| json!({ "pkg": name, "dep_kinds": [{ "kind": kind }] });
        let metadata = json!({
            "packages": [
                package("casement", Value::Null),
                package("ours", Value::Null),
                package("linked", json!("registry")),
                package("built", json!("registry")),
                package("tested", json!("registry")),
                package("elsewhere", json!("registry")),
            ],
            "resolve": { "nodes": [
                { "id": "casement", "deps": [
                    dependency("ours", Value::Null),
                    dependency("built", json!("build")),
                    dependency("tested", json!("dev")),
                ] },
                { "id": "ours", "deps": [dependency("linked", Value::Null)] },
                { "id": "linked", "deps": [dependency("ours", Value::Null)] },
            ] },
        });
        let titles: Vec<String> = linked(&metadata).into_iter().map(title).collect();
        assert_eq!(titles, ["linked 1.0.0"]);
    }

    #[test]
    fn a_text_stands_once_below_whose_it_is_and_who_brings_none_is_told() {
        let package = |title: &str, texts: &[&str]| Package {
            title: title.to_owned(),
            licence: "MIT".to_owned(),
            source: String::new(),
            texts: texts.iter().map(|text| (*text).to_owned()).collect(),
        };
        let all = [
            package("a 1", &["May be used."]),
            package("b 1", &["May be used.", "A notice."]),
            package("c 1", &[]),
        ];
        let mut out = Vec::new();
        page(&all, &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert_eq!(text.matches("May be used.").count(), 1, "{text}");
        assert!(text.contains("\na 1, b 1\n"), "{text}");
        assert!(text.contains("c 1: MIT; brings no text"), "{text}");
    }
}
