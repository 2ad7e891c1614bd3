//! Which images are named where, that each says its version, and how they get their digests.
//!
//! A digest is read from a registry, which this does not ask: `cargo xtask pin-images` takes what a
//! machine that does has read (docs/releasing.md).

use std::collections::{BTreeMap, BTreeSet};

use crate::Problem;
use crate::tree::File;

/// What is built from this checkout.
const OURS: [&str; 1] = ["casement"];

/// Releases that have a name where others have a number.
const NAMED_RELEASES: [&str; 2] = ["bookworm", "trixie"];

/// Where a line names an image.
#[derive(Debug, PartialEq, Eq)]
struct Named {
    /// `name:tag`, without a digest.
    image: String,
    digest: Option<String>,
}

/// How a file names images.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Compose,
    Dockerfile,
    Kustomization,
}

impl Kind {
    fn of(file: &File) -> Option<Self> {
        let name = file.name();
        if name.starts_with("docker-compose") && file.has_ending("yml") {
            Some(Self::Compose)
        } else if name == "Dockerfile" {
            Some(Self::Dockerfile)
        } else if name == "kustomization.yaml" {
            Some(Self::Kustomization)
        } else {
            None
        }
    }

    /// The image that a line names, unless it is a variable, a stage or our own.
    fn named(self, line: &str) -> Option<Named> {
        let (image, digest) = match self {
            Self::Compose => split(line.trim().strip_prefix("image: ")?),
            Self::Dockerfile => split(line.strip_prefix("FROM ")?.split(' ').next()?),
            Self::Kustomization => {
                let name = member(line, "newName: ")?;
                let tag = member(line, "newTag: ")?;
                let digest = member(line, "digest: ").map(str::to_owned);
                (format!("{name}:{tag}"), digest)
            }
        };
        let is_ours = OURS.contains(&name(&image));
        (!image.starts_with("${") && !is_ours).then_some(Named { image, digest })
    }

    /// The line with another digest.
    fn with_digest(self, line: &str, named: &Named, digest: &str) -> String {
        let (separator, tag) = match self {
            Self::Compose | Self::Dockerfile => ("@", named.image.as_str()),
            Self::Kustomization => (
                ", digest: ",
                named.image.rsplit(':').next().unwrap_or_default(),
            ),
        };
        let bare = match &named.digest {
            Some(old) => line.replace(&format!("{separator}{old}"), ""),
            None => line.to_owned(),
        };
        bare.replacen(tag, &format!("{tag}{separator}{digest}"), 1)
    }
}

fn split(reference: &str) -> (String, Option<String>) {
    match reference.trim().split_once('@') {
        Some((image, digest)) => (image.to_owned(), Some(digest.to_owned())),
        None => (reference.trim().to_owned(), None),
    }
}

/// What stands behind a key of a flow mapping.
fn member<'a>(line: &'a str, key: &str) -> Option<&'a str> {
    let rest = &line[line.find(key)? + key.len()..];
    Some(rest.split([',', ' ', '}']).next().unwrap_or(rest))
}

/// An image's name without registry and folders.
fn name(image: &str) -> &str {
    let last = image.rsplit('/').next().unwrap_or(image);
    last.split([':', '@']).next().unwrap_or(last)
}

/// Why an image is not held to a version.
pub(crate) fn unpinned(image: &str) -> Option<String> {
    let (tagged, digest) = split(image);
    if digest.is_some_and(|digest| is_digest(&digest)) {
        return None;
    }
    let last = tagged.rsplit('/').next().unwrap_or(&tagged);
    let tag = last.split_once(':').map(|(_, tag)| tag);
    let is_ours = OURS.contains(&name(&tagged)) && tag == Some("local");
    let is_version = tag.is_some_and(|tag| {
        tag.split('-').any(|part| NAMED_RELEASES.contains(&part))
            || tag
                .trim_start_matches('v')
                .starts_with(|c: char| c.is_ascii_digit())
    });
    (!is_version && !is_ours).then(|| format!("the image `{image}` says no version"))
}

/// `sha256:` and 64 digits.
fn is_digest(text: &str) -> bool {
    text.strip_prefix("sha256:").is_some_and(|digits| {
        digits.len() == 64
            && digits
                .bytes()
                .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    })
}

/// Images without a version.
pub(crate) fn check(file: &File) -> Vec<Problem> {
    let Some(kind) = Kind::of(file) else {
        return Vec::new();
    };
    let lines = file.text.lines().enumerate();
    lines
        .filter_map(|(index, line)| {
            let named = kind.named(line)?;
            let is_stage = matches!(kind, Kind::Dockerfile) && is_stage(file, &named.image);
            let message = unpinned(&named.image).filter(|_| !is_stage)?;
            Some(Problem::new(file, index + 1, message))
        })
        .collect()
}

/// Whether a name is that of a stage of the same file.
fn is_stage(file: &File, name: &str) -> bool {
    file.text
        .lines()
        .any(|line| line.starts_with("FROM ") && line.ends_with(&format!(" AS {name}")))
}

/// Every image of others that the files name, without digests.
pub(crate) fn named(files: &[File]) -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    for file in files {
        if let Some(kind) = Kind::of(file) {
            let images = file.text.lines().filter_map(|line| kind.named(line));
            all.extend(
                images
                    .map(|named| named.image)
                    .filter(|image| !is_stage(file, image)),
            );
        }
    }
    all
}

/// Reads lines of an image and its digest. Every image has to be named, and nothing else.
pub(crate) fn read_digests(
    text: &str,
    named: &BTreeSet<String>,
) -> Result<BTreeMap<String, String>, String> {
    let mut digests = BTreeMap::new();
    for line in text.lines().filter(|line| !line.trim().is_empty()) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [image, digest] = words[..] else {
            return Err(format!("`{line}` is no image and its digest"));
        };
        if !is_digest(digest) {
            return Err(format!(
                "`{digest}`, of {image}, is no digest such as sha256:…"
            ));
        }
        if !named.contains(image) {
            return Err(format!("no file names the image {image}"));
        }
        digests.insert(image.to_owned(), digest.to_owned());
    }
    match named.iter().find(|image| !digests.contains_key(*image)) {
        Some(missing) => Err(format!("the digest of {missing} is missing")),
        None => Ok(digests),
    }
}

/// The file's text with the digests in it, if that changes it.
pub(crate) fn pinned(file: &File, digests: &BTreeMap<String, String>) -> Option<String> {
    let kind = Kind::of(file)?;
    let lines = file.text.split_inclusive('\n').map(|line| {
        let named = kind.named(line.trim_end_matches('\n'));
        match named.and_then(|named| Some((digests.get(&named.image)?, named))) {
            Some((digest, named)) => kind.with_digest(line, &named, digest),
            None => line.to_owned(),
        }
    });
    let text: String = lines.collect();
    (text != file.text).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, text: &str) -> File {
        File {
            path: path.to_owned(),
            text: text.to_owned(),
        }
    }

    fn sum(digit: char) -> String {
        format!("sha256:{}", digit.to_string().repeat(64))
    }

    #[test]
    fn an_image_says_its_version() {
        for (image, is_pinned) in [
            ("nats:2.15-alpine", true),
            ("prom/prometheus:v3.5.0", true),
            ("debian:bookworm-slim", true),
            ("localhost:5000/nats:2.15", true),
            ("casement:local", true),
            ("registry.example.com/casement:0.1.0", true),
            ("nats", false),
            ("nats:latest", false),
            ("nats:alpine", false),
            ("localhost:5000/nats", false),
            ("other:local", false),
            ("nats@sha256:12", false),
        ] {
            assert_eq!(unpinned(image).is_none(), is_pinned, "{image}");
        }
        assert_eq!(unpinned(&format!("nats@{}", sum('a'))), None);
    }

    #[test]
    fn files_without_a_version_are_told_by_their_line() {
        let compose = file(
            "docker-compose.yml",
            "services:\n  a:\n    image: nats\n  b:\n    image: ${OURS:-casement:local}\n",
        );
        let lines: Vec<usize> = check(&compose).iter().map(|problem| problem.line).collect();
        assert_eq!(lines, [3]);
        let docker = file(
            "deploy/Dockerfile",
            "FROM rust:1 AS build\nFROM build\nFROM debian\n",
        );
        let lines: Vec<usize> = check(&docker).iter().map(|problem| problem.line).collect();
        assert_eq!(lines, [3]);
        assert_eq!(check(&file("a.yml", "image: nats\n")), []);
    }

    #[test]
    fn digests_are_written_where_the_images_stand_and_replaced_later() {
        let compose = file(
            "docker-compose.yml",
            "a:\n    image: nats:2.15\n    image: ${OURS:-casement:local}\n",
        );
        let docker = file(
            "deploy/Dockerfile",
            "FROM debian:bookworm AS base\nFROM base\nFROM debian:bookworm\n",
        );
        let overlay = file(
            "deploy/kubernetes/overlays/x/kustomization.yaml",
            "  - { name: nats, newName: nats, newTag: 2.15 }\n",
        );
        let all = named(&[compose.clone(), docker.clone(), overlay.clone()]);
        assert_eq!(
            all.iter().map(String::as_str).collect::<Vec<_>>(),
            ["debian:bookworm", "nats:2.15"]
        );
        let mut files = [compose, docker, overlay];
        for digit in ['a', 'b'] {
            let sum = sum(digit);
            let told = format!("nats:2.15 {sum}\n\ndebian:bookworm   {sum}\n");
            let digests = read_digests(&told, &all).unwrap();
            for file in &mut files {
                file.text = pinned(file, &digests).unwrap();
                assert_eq!(pinned(file, &digests), None, "a second time changes it");
            }
            assert_eq!(
                files.each_ref().map(|file| file.text.as_str()),
                [
                    format!(
                        "a:\n    image: nats:2.15@{sum}\n    image: ${{OURS:-casement:local}}\n"
                    ),
                    format!(
                        "FROM debian:bookworm@{sum} AS base\nFROM base\nFROM debian:bookworm@{sum}\n"
                    ),
                    format!("  - {{ name: nats, newName: nats, newTag: 2.15, digest: {sum} }}\n"),
                ]
            );
        }
    }

    #[test]
    fn digests_that_are_wrong_missing_or_of_others_change_nothing() {
        let named = BTreeSet::from(["nats:2.15-alpine".to_owned()]);
        for (told, why) in [
            (String::new(), "is missing"),
            ("nats:2.15-alpine".to_owned(), "no image and its digest"),
            ("nats:2.15-alpine sha256:12".to_owned(), "is no digest"),
            (format!("nats:2.15-alpine {}", sum('A')), "is no digest"),
            (format!("nats:2.14 {}", sum('a')), "no file names"),
        ] {
            let error = read_digests(&told, &named).unwrap_err();
            assert!(error.contains(why), "{error}");
        }
    }
}
