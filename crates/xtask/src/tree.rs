//! The texts of the checkout.
//!
//! What is built, fetched or kept as data is left out; so is what is no text.

use std::fs;
use std::io;
use std::path::Path;

/// Folders that hold nothing written by hand, by name or from the root.
const SKIPPED: [&str; 6] = [
    ".git",
    ".dev",
    "target",
    "data",
    "node_modules",
    "deploy/secrets",
];

/// What is read; scripts have no ending and are read wherever they stand at the top.
const ENDINGS: [&str; 15] = [
    "rs", "md", "toml", "proto", "sql", "yml", "yaml", "json", "conf", "sh", "html", "css", "js",
    "txt", "snap",
];

/// Scripts and the like.
const NAMES: [&str; 5] = ["dev", "run", "Dockerfile", ".dockerignore", ".gitignore"];

/// One text of the checkout.
#[derive(Debug, Clone)]
pub(crate) struct File {
    /// From the root, with `/`.
    pub(crate) path: String,
    pub(crate) text: String,
}

impl File {
    pub(crate) fn name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or_default()
    }

    pub(crate) fn has_ending(&self, ending: &str) -> bool {
        self.name()
            .rsplit_once('.')
            .is_some_and(|(_, found)| found == ending)
    }
}

/// Reads every text under `root`, in the order of their paths.
pub(crate) fn read(root: &Path) -> io::Result<Vec<File>> {
    let mut files = Vec::new();
    read_into(&mut files, root, "")?;
    files.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(files)
}

fn read_into(files: &mut Vec<File>, folder: &Path, prefix: &str) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = format!("{prefix}{name}");
        let kind = entry.file_type()?;
        if kind.is_dir() {
            if !SKIPPED.contains(&name.as_str()) && !SKIPPED.contains(&path.as_str()) {
                read_into(files, &entry.path(), &format!("{path}/"))?;
            }
        } else if kind.is_file() && is_read(&name) {
            let text = fs::read(entry.path())?;
            files.push(File {
                path,
                text: String::from_utf8_lossy(&text).into_owned(),
            });
        }
    }
    Ok(())
}

fn is_read(name: &str) -> bool {
    NAMES.contains(&name)
        || name
            .rsplit_once('.')
            .is_some_and(|(_, ending)| ENDINGS.contains(&ending))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_read_and_the_rest_is_not() {
        for (name, read) in [
            ("lib.rs", true),
            ("dev", true),
            ("Dockerfile", true),
            ("a.png", false),
            ("Cargo.lock", false),
        ] {
            assert_eq!(is_read(name), read, "{name}");
        }
    }

    #[test]
    fn a_file_knows_its_name_and_ending() {
        let file = File {
            path: "crates/a/src/lib.rs".to_owned(),
            text: String::new(),
        };
        assert_eq!(file.name(), "lib.rs");
        assert!(file.has_ending("rs") && !file.has_ending("s"));
    }
}
