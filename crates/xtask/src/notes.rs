//! `cargo xtask release-notes VERSION`: what `CHANGELOG.md` says of a version.
//!
//! It writes no changelog and makes no version: both are a person's, in the commit that is tagged.

/// Where changes wait for a version.
const UNRELEASED: &str = "Unreleased";

/// Why there are no notes of a version.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotesError {
    /// Asked for what has no version.
    #[error("`{UNRELEASED}` is no version: give its section one first")]
    Unreleased,
    /// The manifest is of another version.
    #[error("Cargo.toml has version {manifest}, not {asked}: the commit that is tagged has both")]
    OtherVersion { asked: String, manifest: String },
    /// The changelog does not have it.
    #[error("CHANGELOG.md has no section `## {version}`")]
    Missing { version: String },
    /// The changelog does not have it, but changes that wait.
    #[error("CHANGELOG.md has no section `## {version}`: changes stand under `## {UNRELEASED}`")]
    MissingWhileWaiting { version: String },
    /// It is there twice.
    #[error("CHANGELOG.md has two sections `## {version}`")]
    Twice { version: String },
    /// It, or a part of it, says nothing.
    #[error("nothing stands under `{heading}`")]
    Empty { heading: String },
    /// Changes still wait for a version, which would be this one.
    #[error(
        "changes stand under `## {UNRELEASED}` beside `## {version}`: which of them are released?"
    )]
    Waiting { version: String },
}

/// A heading of the second level, and what stands under it.
struct Section<'a> {
    /// Its first word; dates and the like come after it.
    name: &'a str,
    heading: &'a str,
    lines: Vec<&'a str>,
}

impl Section<'_> {
    fn is_empty(&self) -> bool {
        self.lines
            .iter()
            .all(|line| line.trim().is_empty() || line.starts_with('#'))
    }

    /// The first heading of the third level with nothing under it.
    fn empty_part(&self) -> Option<&str> {
        let mut open: Option<&str> = None;
        for line in &self.lines {
            if line.starts_with("### ") {
                if open.is_some() {
                    return open;
                }
                open = Some(line);
            } else if !line.trim().is_empty() {
                open = None;
            }
        }
        open
    }
}

/// Returns the notes of a version. `manifest` is the version that is built.
pub(crate) fn notes(changelog: &str, version: &str, manifest: &str) -> Result<String, NotesError> {
    let version = version.strip_prefix('v').unwrap_or(version);
    if version.eq_ignore_ascii_case(UNRELEASED) {
        return Err(NotesError::Unreleased);
    }
    let sections = sections(changelog);
    let waiting = sections
        .iter()
        .any(|section| section.name == UNRELEASED && !section.is_empty());
    let mut found = sections.iter().filter(|section| section.name == version);
    let Some(section) = found.next() else {
        let version = version.to_owned();
        return Err(if waiting {
            NotesError::MissingWhileWaiting { version }
        } else {
            NotesError::Missing { version }
        });
    };
    if found.next().is_some() {
        return Err(NotesError::Twice {
            version: version.to_owned(),
        });
    }
    if manifest != version {
        return Err(NotesError::OtherVersion {
            asked: version.to_owned(),
            manifest: manifest.to_owned(),
        });
    }
    if waiting {
        return Err(NotesError::Waiting {
            version: version.to_owned(),
        });
    }
    let empty = section.is_empty().then_some(section.heading);
    if let Some(heading) = empty.or_else(|| section.empty_part()) {
        return Err(NotesError::Empty {
            heading: heading.to_owned(),
        });
    }
    Ok(format!("{}\n", section.lines.join("\n").trim()))
}

fn sections(changelog: &str) -> Vec<Section<'_>> {
    let mut all: Vec<Section<'_>> = Vec::new();
    for line in changelog.lines() {
        if let Some(title) = line.strip_prefix("## ") {
            let name = title.split_whitespace().next().unwrap_or_default();
            all.push(Section {
                name: name.trim_matches(['[', ']']),
                heading: line,
                lines: Vec::new(),
            });
        } else if let Some(section) = all.last_mut() {
            section.lines.push(line);
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: &str = "# Changelog\n\nWords.\n\n## Unreleased\n\n## 0.2.0 (2026-12-01)\n\nIn short.\n\n### Added\n\n- **This**: that.\n\n## 0.1.0\n\n- First.\n";

    #[test]
    fn notes_are_the_section_of_the_version_and_nothing_else() {
        let told = "In short.\n\n### Added\n\n- **This**: that.\n";
        assert_eq!(notes(LOG, "0.2.0", "0.2.0").unwrap(), told);
        assert_eq!(notes(LOG, "v0.2.0", "0.2.0").unwrap(), told);
        assert_eq!(notes(LOG, "0.1.0", "0.1.0").unwrap(), "- First.\n");
        let bracketed = LOG.replace("## 0.2.0 (", "## [0.2.0] (");
        assert_eq!(notes(&bracketed, "0.2.0", "0.2.0").unwrap(), told);
    }

    #[test]
    fn a_version_that_is_not_there_is_refused() {
        let version = "0.3.0".to_owned();
        assert_eq!(
            notes(LOG, "0.3.0", "0.3.0"),
            Err(NotesError::Missing {
                version: version.clone()
            })
        );
        let waiting = LOG.replace("## Unreleased\n", "## Unreleased\n\n- More.\n");
        assert_eq!(
            notes(&waiting, "0.3.0", "0.3.0"),
            Err(NotesError::MissingWhileWaiting { version })
        );
        // The beginning of a version is another version.
        let other = notes(LOG, "0.2", "0.2").unwrap_err();
        assert!(matches!(other, NotesError::Missing { .. }), "{other}");
    }

    #[test]
    fn what_is_not_released_is_refused() {
        assert_eq!(
            notes(LOG, "Unreleased", "0.2.0"),
            Err(NotesError::Unreleased)
        );
        let waiting = LOG.replace("## Unreleased\n", "## Unreleased\n\n- More.\n");
        assert_eq!(
            notes(&waiting, "0.2.0", "0.2.0"),
            Err(NotesError::Waiting {
                version: "0.2.0".to_owned()
            })
        );
    }

    #[test]
    fn sections_that_say_nothing_are_refused() {
        let empty = "## 0.1.0\n\n### Added\n\n";
        let of = |text: &str| notes(text, "0.1.0", "0.1.0").unwrap_err().to_string();
        assert_eq!(of(empty), "nothing stands under `## 0.1.0`");
        assert_eq!(
            of("## 0.1.0\n\n### Added\n\n### Fixed\n\n- It.\n"),
            "nothing stands under `### Added`"
        );
        assert_eq!(
            of("## 0.1.0\n\n### Added\n\n- It.\n\n### Fixed\n"),
            "nothing stands under `### Fixed`"
        );
    }

    #[test]
    fn a_version_twice_or_of_another_manifest_is_refused() {
        let twice = "## 0.1.0\n\n- A.\n\n## 0.1.0\n\n- B.\n";
        let error = notes(twice, "0.1.0", "0.1.0").unwrap_err();
        assert!(error.to_string().contains("two sections"), "{error}");
        let error = notes(LOG, "0.2.0", "0.1.0").unwrap_err();
        assert!(
            error.to_string().contains("Cargo.toml has version 0.1.0"),
            "{error}"
        );
    }
}
