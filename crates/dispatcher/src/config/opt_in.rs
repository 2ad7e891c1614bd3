//! What is configured about opt-ins: where one has to be on record, and from which source.

use std::collections::BTreeMap;

use casement_domain::consent::Provenance;
use casement_domain::routing::{Need, Purpose, Requirement};
use casement_event::convert::consent::read_source;
use casement_event::v1::ConsentSource;
use serde::{Deserialize, Serialize};

/// The word for any source.
const ANY: &str = "any";

/// Where an opt-in has to be on record, or vouched for, before a message goes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RequireOptIn {
    /// For answers.
    pub service: When,
    /// For what is about something agreed on.
    pub utility: When,
    /// For codes.
    pub authentication: When,
    /// For what sells.
    pub marketing: When,
    /// The sources that count, by purpose; any, for a purpose that is not named.
    pub sources: BTreeMap<String, Vec<String>>,
    /// What is different for single brands.
    pub brands: BTreeMap<String, OfBrand>,
}

/// What is different for one brand.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OfBrand {
    /// For answers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service: Option<When>,
    /// For what is about something agreed on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub utility: Option<When>,
    /// For codes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub authentication: Option<When>,
    /// For what sells.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub marketing: Option<When>,
    /// The sources that count, by purpose; those of all brands for a purpose that is not named.
    pub sources: BTreeMap<String, Vec<String>>,
}

/// When an opt-in is needed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum When {
    /// Never; opt-outs count all the same.
    Never,
    /// While the window is closed: then it is the business that begins.
    #[default]
    BusinessInitiated,
    /// In an open window, too.
    Always,
}

impl RequireOptIn {
    /// None anywhere. For tests of something else, and for those who keep opt-ins elsewhere.
    pub fn nowhere() -> Self {
        let never = When::Never;
        Self {
            service: never,
            utility: never,
            authentication: never,
            marketing: never,
            ..Self::default()
        }
    }

    /// Returns what is asked of an opt-in to a brand's messages of a purpose.
    pub(crate) fn of(&self, brand: &str, purpose: Purpose) -> Requirement {
        let own = self.brands.get(brand);
        let (all, of_brand) = match purpose {
            Purpose::Service => (self.service, own.and_then(|own| own.service)),
            Purpose::Utility => (self.utility, own.and_then(|own| own.utility)),
            Purpose::Authentication => {
                (self.authentication, own.and_then(|own| own.authentication))
            }
            Purpose::Marketing => (self.marketing, own.and_then(|own| own.marketing)),
        };
        let name = word(purpose);
        let sources = own
            .and_then(|own| own.sources.get(name))
            .or_else(|| self.sources.get(name));
        Requirement {
            need: match of_brand.unwrap_or(all) {
                When::Never => Need::Never,
                When::BusinessInitiated => Need::BusinessInitiated,
                When::Always => Need::Always,
            },
            sources: sources
                .and_then(|sources| read(sources).ok())
                .unwrap_or_default(),
        }
    }

    /// Returns what is wrong with it, in words that say what to change.
    pub(super) fn problem(&self) -> Option<String> {
        let at = "dispatcher.require_opt_in";
        let of_brands = self.brands.iter().flat_map(|(brand, own)| {
            let sources = own.sources.iter();
            sources.map(move |(purpose, words)| (format!("{at}.brands.{brand}"), purpose, words))
        });
        let of_all = self.sources.iter();
        of_all
            .map(|(purpose, words)| (at.to_owned(), purpose, words))
            .chain(of_brands)
            .find_map(|(at, purpose, words)| {
                let purposes = [
                    Purpose::Service,
                    Purpose::Utility,
                    Purpose::Authentication,
                    Purpose::Marketing,
                ];
                if !purposes.into_iter().any(|known| word(known) == purpose) {
                    return Some(format!(
                        "{at}.sources has `{purpose}`: use service, utility, authentication or \
                         marketing"
                    ));
                }
                let odd = read(words).err()?;
                Some(format!("{at}.sources.{purpose} has `{odd}`: {KNOWN}"))
            })
    }
}

/// What to write instead of a source that is not known.
pub(crate) const KNOWN: &str = "use web_form, app, in_chat, paper, phone_call, in_person, email, \
     double_opt_in, customer_request, import, operator, sms_keyword, whatsapp_keyword, \
     provider_opt_out, user_preferences, or any";

/// Reads the sources that count, as they are stored: none for any. An error is the word that is not
/// known.
pub(crate) fn read(words: &[String]) -> Result<Vec<String>, String> {
    if words.iter().any(|word| word == ANY) {
        return Ok(Vec::new());
    }
    let heard = [
        Provenance::SMS_KEYWORD,
        Provenance::WHATSAPP_KEYWORD,
        Provenance::PROVIDER_OPT_OUT,
        Provenance::USER_PREFERENCES,
    ];
    words
        .iter()
        .map(|word| {
            let stored = word.to_ascii_uppercase();
            let is_recorded = read_source(&stored) != ConsentSource::Unspecified;
            let is_known = is_recorded || heard.contains(&stored.as_str());
            is_known.then_some(stored).ok_or_else(|| word.clone())
        })
        .collect()
}

fn word(purpose: Purpose) -> &'static str {
    match purpose {
        Purpose::Service => "service",
        Purpose::Utility => "utility",
        Purpose::Authentication => "authentication",
        Purpose::Marketing => "marketing",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sources(purpose: &str, words: &[&str]) -> BTreeMap<String, Vec<String>> {
        let words = words.iter().map(|word| (*word).to_owned()).collect();
        [(purpose.to_owned(), words)].into()
    }

    #[test]
    fn who_begins_needs_an_opt_in_unless_told_otherwise_and_a_brand_may_differ() {
        let rules = RequireOptIn {
            service: When::Never,
            sources: sources("marketing", &["double_opt_in"]),
            brands: [(
                "acme".to_owned(),
                OfBrand {
                    marketing: Some(When::Always),
                    sources: sources("marketing", &["any"]),
                    ..OfBrand::default()
                },
            )]
            .into(),
            ..RequireOptIn::default()
        };
        assert_eq!(rules.problem(), None);
        let twice = vec!["DOUBLE_OPT_IN".to_owned()];
        for (brand, purpose, need, sources) in [
            ("acme", Purpose::Service, Need::Never, vec![]),
            ("acme", Purpose::Utility, Need::BusinessInitiated, vec![]),
            ("acme", Purpose::Marketing, Need::Always, vec![]),
            ("other", Purpose::Marketing, Need::BusinessInitiated, twice),
        ] {
            assert_eq!(
                rules.of(brand, purpose),
                Requirement { need, sources },
                "{brand} {purpose:?}"
            );
        }
    }

    #[test]
    fn what_cannot_work_is_named() {
        let with = |sources| RequireOptIn {
            sources,
            ..RequireOptIn::default()
        };
        let brand = OfBrand {
            sources: sources("utility", &["gossip"]),
            ..OfBrand::default()
        };
        let of_brand = RequireOptIn {
            brands: [("acme".to_owned(), brand)].into(),
            ..RequireOptIn::default()
        };
        for (broken, named) in [
            (with(sources("surveys", &["any"])), "surveys"),
            (with(sources("utility", &["gossip"])), "gossip"),
            (of_brand, "brands.acme"),
        ] {
            let problem = broken.problem().unwrap();
            assert!(problem.contains(named), "{problem}");
        }
    }
}
