//! What a number brings along, and what it leaves behind.
//!
//! The platform keeps display name, quality, limits and the mark of an official account, and copies
//! templates that are approved and of high quality; it moves no chat history (WhatsApp Cloud API:
//! migrate phone numbers between business accounts). What came along is what is found afterwards.

use std::collections::BTreeMap;

/// How customers take a template.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Quality {
    /// Well, or not badly so far.
    High,
    /// Not well.
    Low,
    /// Nobody told.
    Unknown,
}

/// A template of one account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    /// Its name and language.
    pub name: String,
    /// As the platform writes it.
    pub language: String,
    /// The platform's word, `APPROVED` for one that can be sent.
    pub status: String,
    /// What is known of it.
    pub quality: Quality,
}

impl Template {
    fn label(&self) -> String {
        format!("{}/{}", self.name, self.language)
    }

    /// Returns why the platform does not copy it; `None` if it should.
    fn left_behind(&self) -> Option<(&'static str, String)> {
        match (self.status.as_str(), self.quality) {
            ("APPROVED", Quality::Low) => Some((
                "LOW_QUALITY",
                "Templates of low quality are not copied.".to_owned(),
            )),
            ("APPROVED", _) => None,
            (status, _) => Some((
                "NOT_APPROVED",
                format!("It was {status} at the source, and only approved templates are copied."),
            )),
        }
    }

    /// Returns whether the platform should copy it.
    pub fn should_come(&self) -> bool {
        self.left_behind().is_none()
    }
}

/// Something that came along, or did not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// A template as name/language; otherwise what it is.
    pub name: String,
    /// Stable, for programs.
    pub reason: &'static str,
    /// For people.
    pub text: String,
}

/// What became of templates.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Carried {
    /// Found at the destination.
    pub carried: Vec<Item>,
    /// Not found there.
    pub not_carried: Vec<Item>,
    /// How many of those that are not there should be: the platform may not be done.
    pub missing: usize,
}

/// Compares the source's templates with what the destination has.
pub fn compare(source: &[Template], destination: &[Template]) -> Carried {
    let there: BTreeMap<String, &Template> = destination
        .iter()
        .map(|template| (template.label(), template))
        .collect();
    let mut carried = Carried::default();
    for template in source {
        let name = template.label();
        match (there.get(&name), template.left_behind()) {
            (Some(found), _) if found.status == "APPROVED" => carried.carried.push(Item {
                name,
                reason: "COPIED",
                text: "It is approved at the destination; its quality is unknown there for a day."
                    .to_owned(),
            }),
            (Some(found), _) => carried.not_carried.push(Item {
                name,
                reason: "NOT_USABLE_THERE",
                text: format!(
                    "It is {} at the destination, and cannot be sent.",
                    found.status
                ),
            }),
            (None, Some((reason, text))) => {
                carried.not_carried.push(Item { name, reason, text });
            }
            (None, None) => {
                carried.missing += 1;
                carried.not_carried.push(Item {
                    name,
                    reason: "NOT_COPIED",
                    text: "It was approved at the source and is not at the destination: its \
                           category may have been refused there, or the account is full."
                        .to_owned(),
                });
            }
        }
    }
    carried
}

/// What the platform tells of a number, in its words; empty for what it does not.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NumberFacts {
    /// The name that customers see.
    pub display_name: String,
    /// `GREEN`, ….
    pub quality_rating: String,
    /// `TIER_2K`, ….
    pub messaging_limit: String,
    /// `TRUE` or `FALSE`.
    pub official: String,
    /// `STANDARD`, `HIGH`.
    pub throughput: String,
}

/// What became of a number's own things.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// The same as before.
    pub carried: Vec<Item>,
    /// Not the same.
    pub not_carried: Vec<Item>,
    /// Not told, before or after.
    pub unknown: Vec<Item>,
}

/// Compares what is told of the number before and after.
pub fn kept(before: &NumberFacts, after: &NumberFacts) -> Report {
    let mut report = Report::default();
    let all = [
        ("display name", &before.display_name, &after.display_name),
        ("quality", &before.quality_rating, &after.quality_rating),
        (
            "messaging limit",
            &before.messaging_limit,
            &after.messaging_limit,
        ),
        ("official account", &before.official, &after.official),
        ("throughput", &before.throughput, &after.throughput),
    ];
    for (name, before, after) in all {
        let name = name.to_owned();
        let (list, reason, text) = match (before.as_str(), after.as_str()) {
            ("", _) | (_, "") => (
                &mut report.unknown,
                "NOT_TOLD",
                "The platform did not tell both before and after.".to_owned(),
            ),
            (before, after) if before == after => {
                (&mut report.carried, "KEPT", format!("It is {after}."))
            }
            (before, after) => (
                &mut report.not_carried,
                "CHANGED",
                format!("It was {before} and is {after}."),
            ),
        };
        list.push(Item { name, reason, text });
    }
    report
}
