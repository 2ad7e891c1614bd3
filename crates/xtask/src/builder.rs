//! That the builder of the image gets what the program is made of: `.dockerignore` keeps everything
//! from it that is not listed.

use crate::Problem;
use crate::tree::File;

/// What is built into the image, and with it what it includes.
const PROGRAM: &str = "crates/";

/// Begins the part of a file that is not built.
const TESTS: &str = "#[cfg(test)]";

/// How files of elsewhere are taken in.
const INCLUDES: [&str; 2] = ["include_str!(\"", "include_bytes!(\""];

/// Files and members of the workspace that `.dockerignore` keeps from the builder.
pub(crate) fn check(files: &[File]) -> Vec<Problem> {
    let Some(ignore) = files.iter().find(|file| file.path == ".dockerignore") else {
        return Vec::new();
    };
    let listed: Vec<&str> = ignore
        .text
        .lines()
        .filter_map(|line| line.strip_prefix('!'))
        .collect();
    let is_listed = |path: &str| {
        listed
            .iter()
            .any(|entry| path == *entry || path.starts_with(&format!("{entry}/")))
    };
    // What a line takes away again is not looked for with wildcards: only where it could do harm.
    let excluded = ignore.text.lines().enumerate().filter(|(_, line)| {
        line.strip_prefix("**/")
            .is_some_and(|name| files.iter().any(|file| is_crate(&file.path, name)))
    });
    let mut problems: Vec<Problem> = excluded
        .map(|(index, line)| {
            Problem::new(ignore, index + 1, format!("`{line}` leaves out a crate"))
        })
        .collect();
    for file in files {
        for (line, path) in needed(file) {
            if !is_listed(&path) {
                problems.push(Problem::new(
                    file,
                    line,
                    format!("needs {path}, which .dockerignore keeps from the builder"),
                ));
            }
        }
    }
    problems
}

fn is_crate(path: &str, name: &str) -> bool {
    path == format!("{PROGRAM}{name}/Cargo.toml")
}

/// What a file cannot be built without, from the root, with the line that says so.
fn needed(file: &File) -> Vec<(usize, String)> {
    if file.name() == "Cargo.toml" {
        return vec![(0, file.path.clone())]
            .into_iter()
            // A workspace of its own is no part of ours.
            .filter(|_| !file.text.contains("\n[workspace]") || file.path == "Cargo.toml")
            .collect();
    }
    let is_built = file.path.starts_with(PROGRAM)
        && file.path.contains("/src/")
        && file.has_ending("rs")
        && file.name() != "tests.rs";
    if !is_built {
        return Vec::new();
    }
    let built = file.text.split(TESTS).next().unwrap_or_default();
    built
        .lines()
        .enumerate()
        .filter_map(|(index, line)| {
            let begin = INCLUDES
                .iter()
                .find_map(|include| line.find(include).map(|at| at + include.len()))?;
            let path = line[begin..].split('"').next()?;
            Some((index + 1, resolved(&file.path, path)))
        })
        .collect()
}

/// A path as seen from a file, from the root.
fn resolved(file: &str, path: &str) -> String {
    let mut parts: Vec<&str> = file.split('/').collect();
    parts.pop();
    for part in path.split('/') {
        match part {
            ".." => {
                parts.pop();
            }
            "." => {}
            part => parts.push(part),
        }
    }
    parts.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(ignore: &str, path: &str, text: &str) -> Vec<String> {
        let file = |path: &str, text: &str| File {
            path: path.to_owned(),
            text: text.to_owned(),
        };
        check(&[
            file(".dockerignore", ignore),
            file("crates/keys/Cargo.toml", "[package]\n"),
            file(path, text),
        ])
        .iter()
        .map(ToString::to_string)
        .collect()
    }

    #[test]
    fn what_the_program_includes_reaches_the_builder() {
        let ignore = "*\n!crates\n!docs/a\n**/target\n";
        let at = "crates/x/src/b/c.rs";
        let includes = |path: &str| format!("const A: &str =\n    include_str!(\"{path}\");\n");
        assert_eq!(
            told(ignore, at, &includes("../../../../docs/a/b.py")),
            [""; 0]
        );
        assert_eq!(told(ignore, at, &includes("../d.sql")), [""; 0]);
        assert_eq!(
            told(ignore, at, &includes("../../../../docs/ab.py")),
            ["crates/x/src/b/c.rs:2: needs docs/ab.py, which .dockerignore keeps from the builder"]
        );
        // Tests are not built there.
        let tested = format!("#[cfg(test)]\n{}", includes("../../../../docs/ab.py"));
        assert_eq!(told(ignore, at, &tested), [""; 0]);
    }

    #[test]
    fn crates_and_members_reach_the_builder() {
        let member = |ignore: &str| told(ignore, "docs/rust/Cargo.toml", "[package]\n");
        assert_eq!(member("*\n!crates\n!docs/rust/Cargo.toml\n"), [""; 0]);
        assert!(member("*\n!crates\n")[0].contains("needs docs/rust/Cargo.toml"));
        let told = member("*\n!crates\n!docs/rust\n**/keys\n");
        assert_eq!(told, [".dockerignore:4: `**/keys` leaves out a crate"]);
    }
}
