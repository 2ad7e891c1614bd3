//! The words by which customers stop messages and take them up again, by language, channel and
//! brand, as configuration tells them.
//!
//! A word counts only if it is the whole message, which is the domain's rule. What it changes is
//! written down elsewhere.

mod languages;

use std::collections::BTreeMap;

use casement_domain::consent::keywords::{Keyword, Keywords};
use casement_domain::consent::{Scope, Topic};
use casement_shell::config::ConfigError;
use serde::{Deserialize, Serialize};

pub(crate) use languages::{sms, whatsapp};

/// Counts in every table, whatever the configuration says.
const ALWAYS: &str = "STOP";

/// Words by their language.
pub(crate) type Languages = BTreeMap<String, Words>;

/// The words of one language by which customers stop messages and take them up again. Each counts
/// only if it is the whole message.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Words {
    /// No more messages.
    pub stop: Vec<String>,
    /// Messages again.
    pub start: Vec<String>,
    /// Help, which says nothing about consent.
    pub help: Vec<String>,
}

/// What words in WhatsApp messages do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct WhatsappKeywords {
    /// What a word to stop is about.
    pub stops: Stops,
    /// The words by their language.
    pub languages: BTreeMap<String, Words>,
}

/// What a word to stop is about.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stops {
    /// Words are words.
    Nothing,
    /// What sells.
    #[default]
    Marketing,
    /// All that does not answer the customer.
    Everything,
}

/// What is different for one brand.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BrandKeywords {
    /// Words in SMS, by language, in place of those of every brand.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sms: Option<BTreeMap<String, Words>>,
    /// Words in WhatsApp messages, in place of those of every brand.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub whatsapp: Option<WhatsappKeywords>,
}

impl Default for WhatsappKeywords {
    fn default() -> Self {
        Self {
            stops: Stops::default(),
            languages: whatsapp(),
        }
    }
}

/// All tables, ready to be looked up in.
#[derive(Debug, Default)]
pub(crate) struct Lexicon {
    sms: Keywords,
    whatsapp: OnWhatsapp,
    sms_of: BTreeMap<String, Keywords>,
    whatsapp_of: BTreeMap<String, OnWhatsapp>,
}

/// What words in WhatsApp messages do; nothing, without a topic.
#[derive(Debug, Default)]
struct OnWhatsapp {
    topic: Option<Topic>,
    keywords: Keywords,
}

impl OnWhatsapp {
    fn new(at: &str, config: &WhatsappKeywords) -> Result<Self, ConfigError> {
        let topic = match config.stops {
            Stops::Nothing => None,
            Stops::Marketing => Some(Topic::WHATSAPP_MARKETING),
            Stops::Everything => Some(Topic {
                scope: Scope::Everything,
                ..Topic::WHATSAPP
            }),
        };
        Ok(Self {
            topic,
            keywords: table(&format!("{at}.languages"), &config.languages)?,
        })
    }
}

impl Lexicon {
    /// Reads all tables; refuses one in which a word stands for two things.
    pub(crate) fn new(
        sms: &Languages,
        whatsapp: &WhatsappKeywords,
        brands: &BTreeMap<String, BrandKeywords>,
    ) -> Result<Self, ConfigError> {
        let mut lexicon = Self {
            sms: table("ingress.sms_keywords", sms)?,
            whatsapp: OnWhatsapp::new("ingress.whatsapp_keywords", whatsapp)?,
            ..Self::default()
        };
        for (brand, own) in brands {
            let at = format!("ingress.brand_keywords.{brand}");
            if let Some(words) = &own.sms {
                let words = table(&format!("{at}.sms"), words)?;
                lexicon.sms_of.insert(brand.clone(), words);
            }
            if let Some(words) = &own.whatsapp {
                let words = OnWhatsapp::new(&format!("{at}.whatsapp"), words)?;
                lexicon.whatsapp_of.insert(brand.clone(), words);
            }
        }
        Ok(lexicon)
    }

    /// Returns what an SMS to a brand asks for.
    pub(crate) fn sms(&self, brand: &str, text: &str) -> Option<Keyword> {
        self.sms_of.get(brand).unwrap_or(&self.sms).read(text)
    }

    /// Returns what a WhatsApp message to a brand says about consent, and about which messages.
    pub(crate) fn whatsapp(&self, brand: &str, text: &str) -> Option<(Topic, Keyword)> {
        let own = self.whatsapp_of.get(brand).unwrap_or(&self.whatsapp);
        Some((own.topic?, own.keywords.read(text)?))
    }
}

/// Puts the words of all languages into one table.
fn table(at: &str, words: &Languages) -> Result<Keywords, ConfigError> {
    let all = words.values().flat_map(|words| {
        [
            (Keyword::Stop, &words.stop),
            (Keyword::Start, &words.start),
            (Keyword::Help, &words.help),
        ]
    });
    let all = all.flat_map(|(keyword, list)| list.iter().map(move |word| (keyword, word.as_str())));
    let always = std::iter::once((Keyword::Stop, ALWAYS));
    Keywords::new(always.chain(all)).map_err(|error| ConfigError::check(format!("`{at}`: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lexicon(brands: &BTreeMap<String, BrandKeywords>) -> Result<Lexicon, ConfigError> {
        Lexicon::new(&sms(), &WhatsappKeywords::default(), brands)
    }

    fn words(stop: &[&str], start: &[&str]) -> Languages {
        let list = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        let words = Words {
            stop: list(stop),
            start: list(start),
            help: Vec::new(),
        };
        [("xx".to_owned(), words)].into()
    }

    #[test]
    fn the_default_words_fit_together_in_every_language() {
        let known = lexicon(&BTreeMap::new()).unwrap();
        for (text, expected) in [
            ("stop", Some(Keyword::Stop)),
            ("Optout", Some(Keyword::Stop)),
            ("opt-out", Some(Keyword::Stop)),
            ("Arrêt.", Some(Keyword::Stop)),
            ("Parar", Some(Keyword::Stop)),
            ("afmelden", Some(Keyword::Stop)),
            ("СТОП", Some(Keyword::Stop)),
            ("退订", Some(Keyword::Stop)),
            ("إيقاف", Some(Keyword::Stop)),
            ("הסר", Some(Keyword::Stop)),
            ("unstop", Some(Keyword::Start)),
            ("Yes!", Some(Keyword::Start)),
            ("hilfe", Some(Keyword::Help)),
            ("si", None),
        ] {
            assert_eq!(known.sms("acme", text), expected, "{text}");
        }
    }

    #[test]
    fn on_whatsapp_only_what_is_no_answer_to_a_question_counts() {
        let known = lexicon(&BTreeMap::new()).unwrap();
        let marketing = |keyword| Some((Topic::WHATSAPP_MARKETING, keyword));
        for (text, expected) in [
            ("STOP", marketing(Keyword::Stop)),
            ("Stop promotions", marketing(Keyword::Stop)),
            ("abbestellen", marketing(Keyword::Stop)),
            ("unstop", marketing(Keyword::Start)),
            // What people say to bots and shops all day.
            ("yes", None),
            ("start", None),
            ("cancel", None),
            ("end", None),
            ("baja", None),
        ] {
            assert_eq!(known.whatsapp("acme", text), expected, "{text}");
        }
    }

    #[test]
    fn a_brand_may_have_words_of_its_own_but_stop_always_stops() {
        let own = BrandKeywords {
            sms: Some(words(&["BASTA"], &["ANCORA"])),
            whatsapp: Some(WhatsappKeywords {
                stops: Stops::Everything,
                languages: words(&["BASTA"], &[]),
            }),
        };
        let quiet = BrandKeywords {
            sms: None,
            whatsapp: Some(WhatsappKeywords {
                stops: Stops::Nothing,
                ..WhatsappKeywords::default()
            }),
        };
        let brands = [("acme".to_owned(), own), ("quiet".to_owned(), quiet)].into();
        let known = lexicon(&brands).unwrap();
        assert_eq!(known.sms("acme", "basta"), Some(Keyword::Stop));
        assert_eq!(known.sms("acme", "stop"), Some(Keyword::Stop));
        assert_eq!(known.sms("acme", "unsubscribe"), None);
        assert_eq!(known.sms("other", "basta"), None);
        let all = Some((Topic::WHATSAPP, Keyword::Stop));
        assert_eq!(known.whatsapp("acme", "basta"), all);
        assert_eq!(known.whatsapp("acme", "stop"), all);
        assert_eq!(known.whatsapp("quiet", "stop"), None);
        assert_eq!(known.sms("quiet", "stop"), Some(Keyword::Stop));
    }

    #[test]
    fn a_contradiction_is_named_with_its_place() {
        let wrong = BrandKeywords {
            sms: Some(words(&[], &["Stop"])),
            whatsapp: None,
        };
        let error = lexicon(&[("acme".to_owned(), wrong)].into()).unwrap_err();
        let error = error.to_string();
        assert!(
            error.contains("ingress.brand_keywords.acme.sms") && error.contains("`stop`"),
            "{error}"
        );
    }
}
