//! Tasks of the house: rules that neither the compiler nor clippy checks, and what a release is made of.
//!
//! They read the checkout and change nothing, but for `pin-images`.

mod builder;
mod compose;
mod images;
mod kubernetes;
mod licences;
mod manifests;
mod notes;
mod sources;
mod tree;

use std::fmt;
use std::fs;
use std::io::{self, Read as _, Write};
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

const USAGE: &str = "\
cargo xtask tidy                    check the house rules
cargo xtask kubernetes FILE…        hold rendered manifests to docker-compose.yml
cargo xtask images                  print every image of others that is named
cargo xtask pin-images              write digests, read as lines `IMAGE sha256:…` from standard input
cargo xtask release-notes VERSION   print what CHANGELOG.md says of a version
cargo xtask licences                print the licences of everything that the program is linked from";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match words[..] {
        ["tidy"] => tidy(),
        ["kubernetes", ref files @ ..] if !files.is_empty() => rendered(files),
        ["images"] => images(),
        ["pin-images"] => pin_images(),
        ["release-notes", version] => release_notes(version),
        ["licences"] => licences::write(root(), &mut io::stdout().lock()).map(|()| 0),
        _ => {
            // Nobody is left to tell if this fails, too.
            let _ = writeln!(io::stderr(), "{USAGE}");
            return ExitCode::from(EX_USAGE);
        }
    };
    match done {
        Ok(0) => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            let _ = writeln!(io::stderr(), "xtask: {error}");
            ExitCode::FAILURE
        }
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .nth(2)
        .expect("xtask lies in crates/ of the checkout")
}

/// Prints what is wrong with rendered manifests; returns how much.
fn rendered(paths: &[&str]) -> io::Result<usize> {
    let read = |path: &str, at: &Path| -> io::Result<File> {
        Ok(File {
            path: path.to_owned(),
            text: fs::read_to_string(at)?,
        })
    };
    let compose = read("docker-compose.yml", &root().join("docker-compose.yml"))?;
    let mut out = io::stdout().lock();
    let mut count = 0;
    for path in paths {
        for problem in kubernetes::check(&compose, &read(path, Path::new(path))?) {
            writeln!(out, "{problem}")?;
            count += 1;
        }
    }
    writeln!(out, "kubernetes: {} files, {count} problems", paths.len())?;
    Ok(count)
}

fn images() -> io::Result<usize> {
    let mut out = io::stdout().lock();
    for image in images::named(&tree::read(root())?) {
        writeln!(out, "{image}")?;
    }
    Ok(0)
}

fn pin_images() -> io::Result<usize> {
    let files = tree::read(root())?;
    let mut told = String::new();
    io::stdin().read_to_string(&mut told)?;
    let digests = images::read_digests(&told, &images::named(&files)).map_err(io::Error::other)?;
    let mut out = io::stdout().lock();
    for file in &files {
        if let Some(text) = images::pinned(file, &digests) {
            fs::write(root().join(&file.path), text)?;
            writeln!(out, "wrote {}", file.path)?;
        }
    }
    Ok(0)
}

fn release_notes(version: &str) -> io::Result<usize> {
    let read = |name: &str| fs::read_to_string(root().join(name));
    let manifest: toml::Table = read("Cargo.toml")?.parse().map_err(io::Error::other)?;
    let manifest = manifest["workspace"]["package"]["version"]
        .as_str()
        .ok_or_else(|| io::Error::other("Cargo.toml has no version"))?;
    let notes =
        notes::notes(&read("CHANGELOG.md")?, version, manifest).map_err(io::Error::other)?;
    write!(io::stdout().lock(), "{notes}")?;
    Ok(0)
}

/// Prints what is broken; returns how much.
fn tidy() -> io::Result<usize> {
    let files = tree::read(root())?;
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
                .chain(images::check(file))
        })
        .collect();
    problems.extend(sources::check_decision_records(files));
    problems.extend(same_configuration(files));
    problems.extend(builder::check(files));
    problems.extend(compose::check_overlays(files));
    problems.sort();
    problems
}

/// The roles' configuration, for Compose and for the cluster.
const SAME: [&str; 2] = [
    "deploy/casement.toml",
    "deploy/kubernetes/base/casement.toml",
];

/// A cluster's roles are told what Compose's are told; a config map is made of files in its own folder
/// only, so there are two.
fn same_configuration(files: &[File]) -> Option<Problem> {
    let [one, other] = SAME.map(|path| files.iter().find(|file| file.path == path));
    let (one, other) = (one?, other?);
    (one.text != other.text).then(|| Problem::new(other, 0, format!("is not what {} is", one.path)))
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

    #[test]
    fn the_cluster_is_configured_as_compose_is() {
        let file = |path: &str, text: &str| File {
            path: path.to_owned(),
            text: text.to_owned(),
        };
        let [one, other] = SAME;
        assert_eq!(
            same_configuration(&[file(one, "a"), file(other, "a")]),
            None
        );
        let problem = same_configuration(&[file(one, "a"), file(other, "b")]).unwrap();
        assert_eq!(problem.path, other);
    }
}
