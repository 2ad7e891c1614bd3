//! The words by which customers stop SMS and take them up again, as configuration tells them.

use std::collections::BTreeMap;

use casement_domain::consent::keywords::{Keyword, Keywords};
use casement_shell::config::ConfigError;
use serde::{Deserialize, Serialize};

/// The words of one language by which customers stop SMS and take them up again. Each counts only
/// if it is the whole message.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Words {
    /// No more SMS.
    pub stop: Vec<String>,
    /// SMS again.
    pub start: Vec<String>,
    /// Help, which says nothing about consent.
    pub help: Vec<String>,
}

/// A language with its words to stop, to start again, and for help.
type Language<'a> = (&'a str, &'a [&'a str], &'a [&'a str], &'a [&'a str]);

/// Returns the words that are known unless told otherwise, by language. In English those that
/// carriers in the United States ask for; in others what means nothing else when it stands alone.
pub(crate) fn defaults() -> BTreeMap<String, Words> {
    let list = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
    let languages: [Language<'_>; 6] = [
        (
            "en",
            &[
                "STOP",
                "STOPALL",
                "UNSUBSCRIBE",
                "CANCEL",
                "END",
                "QUIT",
                "REVOKE",
                "OPTOUT",
            ],
            &["START", "YES", "UNSTOP"],
            &["HELP", "INFO"],
        ),
        (
            "de",
            &["STOPP", "ABMELDEN", "ABBESTELLEN"],
            &["ANMELDEN"],
            &["HILFE"],
        ),
        ("es", &["PARAR", "BAJA", "CANCELAR"], &["ALTA"], &["AYUDA"]),
        (
            "fr",
            &["ARRET", "ARRÊT", "DESABONNER", "DÉSABONNER"],
            &["REPRENDRE"],
            &["AIDE"],
        ),
        ("it", &["FERMA", "CANCELLAMI"], &["RIPRENDI"], &["AIUTO"]),
        (
            "pt",
            &["PARAR", "SAIR", "CANCELAR"],
            &["VOLTAR"],
            &["AJUDA"],
        ),
    ];
    languages
        .map(|(language, stop, start, help)| {
            let words = Words {
                stop: list(stop),
                start: list(start),
                help: list(help),
            };
            (language.to_owned(), words)
        })
        .into()
}

/// Puts the words of all languages into one table.
pub(crate) fn table(words: &BTreeMap<String, Words>) -> Result<Keywords, ConfigError> {
    let all = words.values().flat_map(|words| {
        let of = |keyword, list: &'_ [String]| -> Vec<(Keyword, String)> {
            list.iter().map(|word| (keyword, word.clone())).collect()
        };
        [
            of(Keyword::Stop, &words.stop),
            of(Keyword::Start, &words.start),
            of(Keyword::Help, &words.help),
        ]
    });
    let all: Vec<(Keyword, String)> = all.flatten().collect();
    Keywords::new(all.iter().map(|(keyword, word)| (*keyword, word.as_str())))
        .map_err(|error| ConfigError::check(format!("`ingress.sms_keywords`: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_words_fit_together_and_a_contradiction_is_named() {
        let known = table(&defaults()).unwrap();
        for (text, expected) in [
            ("stop", Some(Keyword::Stop)),
            ("Optout", Some(Keyword::Stop)),
            ("Arrêt.", Some(Keyword::Stop)),
            ("Parar", Some(Keyword::Stop)),
            ("unstop", Some(Keyword::Start)),
            ("Yes!", Some(Keyword::Start)),
            ("hilfe", Some(Keyword::Help)),
            ("si", None),
        ] {
            assert_eq!(known.read(text), expected, "{text}");
        }
        let mut words = defaults();
        words.insert(
            "xx".to_owned(),
            Words {
                start: vec!["Stop".to_owned()],
                ..Words::default()
            },
        );
        let error = table(&words).unwrap_err().to_string();
        assert!(
            error.contains("ingress.sms_keywords") && error.contains("`stop`"),
            "{error}"
        );
    }
}
