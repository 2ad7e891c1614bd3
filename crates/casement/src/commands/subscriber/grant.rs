//! What a subscriber is granted: subjects from numbers and families of events.
//!
//! Everything here is a function of the three; who asks for it, and whether the broker has it, is
//! for the command.

use std::collections::BTreeMap;

use casement_event::subject::stream;
use clap::ValueEnum;
use serde::{Deserialize, Serialize};

/// A family of events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Events {
    /// Windows, from their opening to their end
    Window,
    /// What customers write, with what they wrote
    Inbound,
    /// Answers to customers, and what else is proved about windows
    Evidence,
    /// Notes and assignment
    Note,
    /// What became of files
    Media,
    /// Groups
    Group,
    /// Statuses of messages that are not ours
    Foreign,
    /// What becomes of messages
    Message,
    /// Providers' reports about messages
    Report,
}

impl Events {
    /// The token in the subject.
    pub(crate) fn token(self) -> &'static str {
        match self {
            Self::Window => "window",
            Self::Inbound => "inbound",
            Self::Evidence => "evidence",
            Self::Note => "note",
            Self::Media => "media",
            Self::Group => "group",
            Self::Foreign => "foreign",
            Self::Message => "message",
            Self::Report => "report",
        }
    }

    /// Which stream keeps them.
    fn stream(self) -> &'static str {
        match self {
            Self::Message | Self::Report => stream::MESSAGES,
            _ => stream::EVENTS,
        }
    }

    /// All of them at a number; at every one without.
    fn filter(self, number: Option<&str>) -> String {
        let token = self.token();
        match (number, self) {
            (None, _) => format!("casement.events.{token}.>"),
            (Some(number), Self::Foreign) => format!("casement.events.{token}.*.{number}"),
            (Some(number), _) => format!("casement.events.{token}.*.{number}.*"),
        }
    }
}

/// The durable consumer of a subscriber, on each of its streams. Roles have other names.
pub(crate) fn consumer(name: &str) -> String {
    format!("sub-{name}")
}

/// Where a subscriber is answered. Under one that is shared it would hear what others are given.
pub(crate) fn inbox(name: &str) -> String {
    format!("_INBOX_{name}")
}

/// What it is to hear, by stream.
pub(crate) fn filters(
    numbers: &[String],
    events: &[Events],
) -> BTreeMap<&'static str, Vec<String>> {
    let mut by_stream: BTreeMap<_, Vec<String>> = BTreeMap::new();
    for one in events {
        let filters = by_stream.entry(one.stream()).or_default();
        if numbers.is_empty() {
            filters.push(one.filter(None));
        }
        filters.extend(numbers.iter().map(|number| one.filter(Some(number))));
    }
    by_stream
}

/// What it may publish: questions about its consumers and acknowledgements. It cannot make or
/// change one: whoever can, can have the broker send what is stored to any subject.
pub(crate) fn publish(name: &str, events: &[Events]) -> Vec<String> {
    let consumer = consumer(name);
    filters(&[], events)
        .into_keys()
        .flat_map(|stream| {
            [
                format!("$JS.API.CONSUMER.INFO.{stream}.{consumer}"),
                format!("$JS.API.CONSUMER.MSG.NEXT.{stream}.{consumer}"),
                format!("$JS.ACK.{stream}.{consumer}.>"),
            ]
        })
        .collect()
}

/// What it may listen to: its answers, and what it is to hear, as it is stored.
pub(crate) fn subscribe(name: &str, numbers: &[String], events: &[Events]) -> Vec<String> {
    let mut subjects = vec![format!("{}.>", inbox(name))];
    subjects.extend(filters(numbers, events).into_values().flatten());
    subjects
}

/// A name that can stand in subjects, and is nobody else's.
pub(crate) fn name(text: &str) -> Result<String, String> {
    let is_fit = (1..=32).contains(&text.len())
        && text.starts_with(|first: char| first.is_ascii_lowercase())
        && text
            .chars()
            .all(|letter| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '-');
    if !is_fit {
        return Err("up to 32 small letters, digits and dashes, a letter first".to_owned());
    }
    let is_taken = text == "subscriber" || crate::commands::broker::site::USERS.contains(&text);
    if is_taken {
        return Err("the broker has a user of this name already".to_owned());
    }
    Ok(text.to_owned())
}

/// A business number's digits, from E.164 with plus.
pub(crate) fn number(text: &str) -> Result<String, String> {
    let digits = text.strip_prefix('+').unwrap_or(text);
    let is_fit = (7..=15).contains(&digits.len())
        && digits.chars().all(|digit| digit.is_ascii_digit())
        && !digits.starts_with('0');
    if is_fit {
        Ok(digits.to_owned())
    } else {
        Err("must be a number in E.164, as in +15550001111".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grant_names_the_numbers_and_families_it_is_for_and_nothing_else() {
        let numbers = ["15550001111".to_owned(), "15550002222".to_owned()];
        let events = [Events::Window, Events::Foreign, Events::Message];
        let filters = filters(&numbers, &events);
        assert_eq!(
            filters["EVENTS"],
            [
                "casement.events.window.*.15550001111.*",
                "casement.events.window.*.15550002222.*",
                "casement.events.foreign.*.15550001111",
                "casement.events.foreign.*.15550002222",
            ]
        );
        assert_eq!(
            filters["MESSAGES"],
            [
                "casement.events.message.*.15550001111.*",
                "casement.events.message.*.15550002222.*",
            ]
        );
        for subject in publish("shop", &events) {
            assert!(subject.starts_with("$JS."), "{subject}");
            assert!(subject.contains(".sub-shop"), "{subject}");
            assert!(!subject.contains("CREATE"), "{subject}");
        }
        let heard = subscribe("shop", &numbers, &events);
        assert!(
            !heard
                .iter()
                .any(|subject| subject.contains(".>") && !subject.starts_with("_INBOX_shop."))
        );
    }

    #[test]
    fn all_numbers_are_the_whole_family() {
        assert_eq!(
            filters(&[], &[Events::Window])["EVENTS"],
            ["casement.events.window.>"]
        );
    }

    #[test]
    fn names_and_numbers_that_could_mean_more_are_refused() {
        for text in [
            "",
            "Shop",
            "a.b",
            "a*",
            ">",
            "-a",
            "1a",
            "operator",
            "subscriber",
            "a b",
        ] {
            assert!(name(text).is_err(), "{text}");
        }
        assert_eq!(name("shop-2"), Ok("shop-2".to_owned()));
        for text in [
            "",
            "*",
            "+",
            "+0155500",
            "15550001111.>",
            "+1555000111122223",
        ] {
            assert!(number(text).is_err(), "{text}");
        }
        assert_eq!(number("+15550001111"), Ok("15550001111".to_owned()));
    }
}
