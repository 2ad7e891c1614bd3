//! The words by which customers take themselves off SMS and on again.
//!
//! A word counts only if it is the whole message: "please stop calling" is a message for people.
//! Compared without regard to case, to blanks around it, and to quotes and punctuation that
//! people add. Which words there are comes in; see the configuration's defaults.

use std::collections::BTreeMap;

/// What a word asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Keyword {
    /// No more SMS.
    Stop,
    /// SMS again.
    Start,
    /// Help, which says nothing about consent.
    Help,
}

/// The words, in the form in which they are compared.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Keywords {
    words: BTreeMap<String, Keyword>,
}

/// A table of words cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidKeywords {
    /// An entry would never be found.
    #[error("an entry has neither letters nor digits")]
    Blank,
    /// A word asks for two things, so that nobody knows which.
    #[error("`{word}` stands for two different things")]
    Ambiguous {
        /// The word.
        word: String,
    },
}

impl Keywords {
    /// Takes the words of all languages together.
    pub fn new<'a>(
        words: impl IntoIterator<Item = (Keyword, &'a str)>,
    ) -> Result<Self, InvalidKeywords> {
        let mut all = BTreeMap::new();
        for (keyword, word) in words {
            let word = folded(word);
            if word.is_empty() {
                return Err(InvalidKeywords::Blank);
            }
            if let Some(known) = all.insert(word.clone(), keyword)
                && known != keyword
            {
                return Err(InvalidKeywords::Ambiguous { word });
            }
        }
        Ok(Self { words: all })
    }

    /// Returns what a message asks for, if it is one of the words and nothing else.
    pub fn read(&self, text: &str) -> Option<Keyword> {
        // No word is that long; what is, is not worth the folding.
        if text.len() > MESSAGE_LEN_MAX {
            return None;
        }
        self.words.get(&folded(text)).copied()
    }
}

/// A longer message is no word alone, in bytes.
const MESSAGE_LEN_MAX: usize = 256;

/// Returns a text as it is compared: lower case, single blanks, nothing but the words.
pub fn folded(text: &str) -> String {
    let bare = text
        .trim_start_matches(|letter: char| is_blank(letter) || is_quote(letter))
        .trim_end_matches(|letter: char| is_blank(letter) || is_quote(letter) || is_stop(letter));
    let words: Vec<&str> = bare.split_whitespace().collect();
    words
        .join(" ")
        .chars()
        .flat_map(char::to_lowercase)
        // What is left of a dotted capital I.
        .filter(|letter| *letter != '\u{307}')
        .collect()
}

/// Blanks, and what shows as nothing.
fn is_blank(letter: char) -> bool {
    letter.is_whitespace()
        || matches!(
            letter,
            '\u{200b}'..='\u{200f}' | '\u{2060}' | '\u{feff}' | '\0'
        )
}

fn is_quote(letter: char) -> bool {
    matches!(letter, '"' | '\'' | '`' | '«' | '»' | '\u{2018}'..='\u{201f}' | '\u{300c}'..='\u{300f}')
}

fn is_stop(letter: char) -> bool {
    letter.is_ascii_punctuation()
        || matches!(
            letter,
            '…' | '。' | '、' | '！' | '？' | '，' | '．' | '؟' | '،' | '।' | '–' | '—'
        )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn keywords() -> Keywords {
        Keywords::new([
            (Keyword::Stop, "STOP"),
            (Keyword::Stop, "arrêt"),
            (Keyword::Stop, "opt out"),
            (Keyword::Stop, "iptal"),
            (Keyword::Start, "START"),
            (Keyword::Help, "HELP"),
        ])
        .unwrap()
    }

    #[test]
    fn a_word_may_have_blanks_around_it_up_to_the_longest_message() {
        let blanks = " ".repeat(MESSAGE_LEN_MAX - 4);
        let longest = format!("STOP{blanks}");
        assert_eq!(keywords().read(&longest), Some(Keyword::Stop));
        assert_eq!(keywords().read(&format!("{longest} ")), None);
    }

    #[test]
    fn a_word_counts_whatever_its_case_and_the_punctuation_behind_it() {
        use Keyword::{Help, Start, Stop};
        for (text, expected) in [
            ("STOP", Some(Stop)),
            ("stop", Some(Stop)),
            ("  Stop \r\n", Some(Stop)),
            ("STOP.", Some(Stop)),
            ("stop!!! ", Some(Stop)),
            ("\"STOP\"", Some(Stop)),
            ("\u{201c}Stop\u{201d}.", Some(Stop)),
            ("\u{200b}stop\u{feff}", Some(Stop)),
            ("ARRÊT", Some(Stop)),
            ("Opt  Out", Some(Stop)),
            ("İPTAL", Some(Stop)),
            ("start", Some(Start)),
            ("Help?", Some(Help)),
            ("", None),
            ("!", None),
            ("STOP now", None),
            ("please stop", None),
            ("stopp", None),
            ("non-stop", None),
            ("s t o p", None),
            ("stop stop", None),
            ("arret", None),
        ] {
            assert_eq!(keywords().read(text), expected, "{text:?}");
        }
        let long = format!("stop{}", " ".repeat(MESSAGE_LEN_MAX));
        assert_eq!(keywords().read(&long), None);
    }

    #[test]
    fn a_table_that_contradicts_itself_or_says_nothing_is_refused() {
        let twice = [(Keyword::Stop, "Alto"), (Keyword::Start, "ALTO!")];
        assert_eq!(
            Keywords::new(twice),
            Err(InvalidKeywords::Ambiguous {
                word: "alto".to_owned()
            })
        );
        assert_eq!(
            Keywords::new([(Keyword::Stop, " .")]),
            Err(InvalidKeywords::Blank)
        );
        let same = [(Keyword::Stop, "stop"), (Keyword::Stop, "STOP")];
        assert!(Keywords::new(same).is_ok());
    }

    proptest! {
        #[test]
        fn folding_twice_is_folding_once(text in "(?s).{0,40}") {
            let once = folded(&text);
            prop_assert_eq!(folded(&once), once);
        }

        #[test]
        fn a_word_inside_a_longer_message_is_no_word(before in "[a-z]{1,5}", after in "[a-z]{1,5}") {
            for text in [format!("{before} stop"), format!("stop {after}"), format!("{before}stop")] {
                prop_assert_eq!(keywords().read(&text), None);
            }
        }
    }
}
