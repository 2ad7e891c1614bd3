//! Words of a text: what an index of it holds, and whether it says what somebody looks for.
//!
//! Pure. A text is cut at Unicode's word boundaries; each word is taken in compatibility form
//! (NFKC) and lower case, and once more without accents and other signs that people leave out. What
//! is written without spaces is taken sign by sign, and in an index in pairs of signs as well.
//! Emoji are words. An index knows which words a text has, not where: whether they stand one after
//! the other is told from the text itself.

use std::collections::BTreeSet;
use std::ops::Range;

use unicode_normalization::UnicodeNormalization as _;
use unicode_segmentation::UnicodeSegmentation as _;

/// Longest word, in characters: what follows is left out.
const WORD_LEN_MAX: usize = 64;

/// Most different words of one text that an index holds.
const TERM_COUNT_MAX: usize = 4_096;

/// Longest search, in characters.
pub(crate) const SEARCH_LEN_MAX: usize = 512;

/// Most words of a search.
pub(crate) const SEARCH_WORDS_MAX: usize = 32;

/// A word of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Word {
    /// As it is written, in one spelling.
    exact: String,
    /// Without what people leave out.
    folded: String,
    /// Where in the text, in bytes.
    place: Range<usize>,
    /// One of several that stand without spaces.
    is_sign: bool,
}

impl Word {
    /// Whether this, looked for, means another: who leaves accents out means both, who writes them
    /// means them.
    fn means(&self, other: &Self) -> bool {
        self.exact == other.exact || (self.exact == self.folded && self.folded == other.folded)
    }

    /// What an index holds of what is looked for.
    fn term(&self) -> &str {
        &self.exact
    }
}

/// Returns the words of a text, in order.
pub(crate) fn words(text: &str) -> Vec<Word> {
    let word = |(at, segment): (usize, &str)| {
        let first = segment.chars().next()?;
        let is_word = segment.chars().any(char::is_alphanumeric) || segment.chars().any(is_emoji);
        is_word.then(|| {
            let exact: String = segment
                .nfkc()
                .flat_map(char::to_lowercase)
                .filter(|char| !is_left_out_always(*char))
                .map(|char| if is_apostrophe(char) { '\'' } else { char })
                .take(WORD_LEN_MAX)
                .collect();
            Word {
                folded: folded(&exact),
                exact,
                place: at..at + segment.len(),
                is_sign: is_unspaced(first),
            }
        })
    };
    text.split_word_bound_indices()
        .flat_map(signs)
        .filter_map(word)
        .filter(|word| !word.exact.is_empty())
        .collect()
}

/// Cuts what is written without spaces, and was taken for one word, into its signs.
fn signs((at, segment): (usize, &str)) -> Vec<(usize, &str)> {
    if segment.chars().next().is_some_and(is_unspaced) {
        let signs = segment.grapheme_indices(true);
        return signs.map(|(offset, sign)| (at + offset, sign)).collect();
    }
    vec![(at, segment)]
}

fn is_next(one: &Word, other: &Word) -> bool {
    one.is_sign && other.is_sign && one.place.end == other.place.start
}

/// Returns the terms that an index holds of a text.
pub(crate) fn terms(text: &str) -> BTreeSet<String> {
    let words = words(text);
    let mut terms = BTreeSet::new();
    for word in &words {
        terms.insert(word.exact.clone());
        terms.insert(word.folded.clone());
    }
    for pair in words.windows(2) {
        if let [one, other] = pair
            && is_next(one, other)
        {
            terms.insert(format!("{}{}", one.exact, other.exact));
            terms.insert(format!("{}{}", one.folded, other.folded));
        }
    }
    terms.remove("");
    while terms.len() > TERM_COUNT_MAX {
        terms.pop_last();
    }
    terms
}

/// A search cannot be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BadSearch {
    #[error("has no word to search for")]
    Empty,
    #[error("is longer than {SEARCH_LEN_MAX} characters")]
    TooLong,
    #[error("has more than {SEARCH_WORDS_MAX} words")]
    TooManyWords,
}

/// What somebody looks for: words in any order, and phrases, whose words follow each other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Search(Vec<Vec<Word>>);

impl Search {
    /// Reads words, and phrases between double quotes. What stands without spaces is a phrase.
    pub(crate) fn parse(text: &str) -> Result<Self, BadSearch> {
        if text.chars().count() > SEARCH_LEN_MAX {
            return Err(BadSearch::TooLong);
        }
        let mut phrases: Vec<Vec<Word>> = Vec::new();
        for (place, part) in text.split(is_quote).enumerate() {
            let words = words(part);
            let is_phrase = place % 2 == 1;
            if is_phrase {
                phrases.push(words);
                continue;
            }
            for word in words {
                match phrases.last_mut().and_then(|phrase| phrase.last()) {
                    Some(last) if is_next(last, &word) => {
                        phrases.last_mut().expect("it has a last word").push(word);
                    }
                    _ => phrases.push(vec![word]),
                }
            }
            // What follows a quote does not go on before it.
            phrases.push(Vec::new());
        }
        phrases.retain(|phrase| !phrase.is_empty());
        match phrases.iter().map(Vec::len).sum::<usize>() {
            0 => Err(BadSearch::Empty),
            1..=SEARCH_WORDS_MAX => Ok(Self(phrases)),
            _ => Err(BadSearch::TooManyWords),
        }
    }

    /// Returns the terms that the index of a text that is meant holds: all of them.
    pub(crate) fn terms(&self) -> BTreeSet<String> {
        let mut terms = BTreeSet::new();
        for phrase in &self.0 {
            let mut is_paired = false;
            for (place, word) in phrase.iter().enumerate() {
                let next = phrase.get(place + 1).filter(|next| is_next(word, next));
                match next {
                    Some(next) => {
                        // In one spelling of both: an index holds no others.
                        terms.insert(format!("{}{}", word.term(), next.term()));
                    }
                    None if is_paired => {}
                    None => {
                        terms.insert(word.term().to_owned());
                    }
                }
                is_paired = next.is_some();
            }
        }
        terms
    }

    /// Returns where in a text what is looked for stands: the first place of each word or phrase,
    /// in bytes. Nothing unless all of it does.
    pub(crate) fn find(&self, text: &str) -> Option<Vec<Range<usize>>> {
        let words = words(text);
        let find = |phrase: &Vec<Word>| {
            let found = words.windows(phrase.len()).find(|there| {
                let mut pairs = phrase.iter().zip(there.iter());
                pairs.all(|(wanted, there)| wanted.means(there))
            })?;
            Some(found.first()?.place.start..found.last()?.place.end)
        };
        self.0.iter().map(find).collect()
    }
}

/// Longest snippet, in characters.
const SNIPPET_LEN_MAX: usize = 160;

/// Characters before what was found.
const SNIPPET_LEAD: usize = 40;

/// Returns the part of a text around the first place, and where in it the places stand, in
/// characters, as far as they do.
pub(crate) fn snippet(text: &str, places: &[Range<usize>]) -> (String, Vec<Range<usize>>) {
    let chars: Vec<(usize, char)> = text.char_indices().collect();
    let char_at = |byte: usize| chars.partition_point(|(at, _)| *at < byte);
    let first = places.iter().map(|place| place.start).min().unwrap_or(0);
    let mut begin = char_at(first).saturating_sub(SNIPPET_LEAD);
    let end = chars.len().min(begin + SNIPPET_LEN_MAX);
    begin = begin.min(end.saturating_sub(SNIPPET_LEN_MAX));
    let lead = usize::from(begin > 0);
    let mut snippet = String::new();
    if begin > 0 {
        snippet.push('…');
    }
    // One line, whatever the text is.
    let shown = chars[begin..end].iter().map(|(_, char)| *char);
    snippet.extend(shown.map(|char| if char.is_control() { ' ' } else { char }));
    if end < chars.len() {
        snippet.push('…');
    }
    let mut marks: Vec<_> = places
        .iter()
        .map(|place| char_at(place.start)..char_at(place.end))
        .filter(|place| begin <= place.start && place.end <= end)
        .map(|place| place.start - begin + lead..place.end - begin + lead)
        .collect();
    marks.sort_by_key(|mark| (mark.start, mark.end));
    marks.dedup();
    (snippet, marks)
}

/// Leaves out accents, vowel signs of Arabic and Hebrew, tones of emoji, and writes letters plainly
/// that people write plainly.
fn folded(word: &str) -> String {
    let mut folded = String::with_capacity(word.len());
    for char in word.nfkd() {
        match char {
            _ if is_accent(char) => {}
            'ß' => folded.push_str("ss"),
            'æ' => folded.push_str("ae"),
            'œ' => folded.push_str("oe"),
            'ø' => folded.push('o'),
            'ł' => folded.push('l'),
            'đ' | 'ð' => folded.push('d'),
            'þ' => folded.push_str("th"),
            'ı' => folded.push('i'),
            // Arabic: ta marbuta, alef maqsura, and their Persian forms.
            'ة' => folded.push('ه'),
            'ى' | 'ی' => folded.push('ي'),
            'ک' => folded.push('ك'),
            _ => folded.push(char),
        }
    }
    folded.nfc().collect()
}

/// Signs that change how a word looks and never which one it is.
fn is_left_out_always(char: char) -> bool {
    // Quotes that a sign was put on, tatweel, soft hyphen, joiners, variation selectors.
    is_quote(char)
        || matches!(
            char,
            '\u{0640}' | '\u{00AD}' | '\u{200B}' | '\u{200C}' | '\u{FE0E}' | '\u{FE0F}'
        )
}

fn is_apostrophe(char: char) -> bool {
    matches!(char, '\u{2018}' | '\u{2019}' | '\u{02BC}')
}

fn is_accent(char: char) -> bool {
    matches!(
        char,
        '\u{0300}'..='\u{036F}'
            | '\u{0591}'..='\u{05C7}'
            | '\u{0610}'..='\u{061A}'
            | '\u{064B}'..='\u{065F}'
            | '\u{0670}'
            | '\u{06D6}'..='\u{06ED}'
            | '\u{1AB0}'..='\u{1AFF}'
            | '\u{1DC0}'..='\u{1DFF}'
            | '\u{1F3FB}'..='\u{1F3FF}'
    )
}

/// Scripts that put no spaces between words: Chinese, Japanese, Thai, Lao, Khmer, Burmese.
fn is_unspaced(char: char) -> bool {
    matches!(
        char,
        '\u{0E01}'..='\u{0E4E}'
            | '\u{0E81}'..='\u{0EDF}'
            | '\u{1000}'..='\u{109F}'
            | '\u{1780}'..='\u{17D3}'
            | '\u{3005}'..='\u{3007}'
            | '\u{3041}'..='\u{30FF}'
            | '\u{3400}'..='\u{4DBF}'
            | '\u{4E00}'..='\u{9FFF}'
            | '\u{F900}'..='\u{FAFF}'
            | '\u{FF66}'..='\u{FF9D}'
            | '\u{20000}'..='\u{323AF}'
    )
}

fn is_emoji(char: char) -> bool {
    matches!(
        char,
        '\u{00A9}' | '\u{00AE}' | '\u{203C}' | '\u{2049}' | '\u{2122}' | '\u{2139}'
            | '\u{2194}'..='\u{21AA}'
            | '\u{231A}'..='\u{23FF}'
            | '\u{25AA}'..='\u{27BF}'
            | '\u{2934}'..='\u{2935}'
            | '\u{2B05}'..='\u{2B55}'
            | '\u{3030}'
            | '\u{303D}'
            | '\u{1F000}'..='\u{1FAFF}'
    )
}

fn is_quote(char: char) -> bool {
    matches!(char, '"' | '“' | '”' | '„' | '«' | '»')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn finds(search: &str, text: &str) -> bool {
        let search = Search::parse(search).unwrap();
        let found = search.find(text);
        let terms = terms(text);
        // The index never leaves out what the text says.
        if found.is_some() {
            assert!(search.terms().is_subset(&terms), "{search:?} {terms:?}");
        }
        found.is_some()
    }

    #[test]
    fn words_are_found_however_they_are_written() {
        for (search, text, expected) in [
            ("order", "Your ORDER, please!", true),
            ("order late", "it is late: my order", true),
            ("order late", "my order", false),
            ("ord", "my order", false),
            ("don't", "I don’t know", true),
            ("ｏｒｄｅｒ", "order", true),
            ("order", "ｏｒｄｅｒ", true),
            ("ﬁne", "fine", true),
            ("1,299.50", "it costs 1,299.50 EUR", true),
            ("AB-123", "number ab-123", true),
            // Accents: who leaves them out means both.
            ("cafe", "Café", true),
            ("café", "Cafe\u{301}", true),
            ("café", "cafe", false),
            ("strasse", "Straße", true),
            ("straße", "strasse", false),
            ("malmo", "Malmö", true),
            ("lodz", "Łódź", true),
            ("ё", "е", false),
            ("елка", "Ёлка", true),
            ("istanbul", "İstanbul", true),
            // Arabic: without vowel signs, tatweel, hamza.
            ("محمد", "مُحَمَّد", true),
            ("سلام", "ســلام", true),
            ("احمد", "أحمد", true),
            ("أحمد", "احمد", false),
            ("שלום", "שָׁלוֹם", true),
            // Written without spaces.
            ("退款", "我要退款", true),
            ("款", "我要退款", true),
            ("退我", "我要退款", false),
            ("東京", "京都は東の京", false),
            ("東京タワー", "東京タワーへ行く", true),
            ("ﾀﾜｰ", "タワー", true),
            ("환불", "환불 해주세요", true),
            ("คืนเงิน", "ขอคืนเงินครับ", true),
            ("हिन्दी", "हिन्दी में", true),
            // Emoji are words.
            ("👍", "ok 👍🏽", true),
            ("👍🏽", "ok 👍", false),
            ("❤", "I ❤\u{FE0F} it", true),
            ("👩‍👩‍👧", "we 👩‍👩‍👧 come", true),
            ("🇩🇪", "from 🇩🇪", true),
            ("🇫🇷", "from 🇩🇪", false),
        ] {
            assert_eq!(finds(search, text), expected, "{search} in {text}");
        }
    }

    #[test]
    fn the_words_of_a_phrase_follow_each_other() {
        for (search, text, expected) in [
            ("\"my order\"", "where is my order?", true),
            ("\"my order\"", "my late order", false),
            ("\"order my\"", "where is my order?", false),
            ("late \"my order\"", "my order is late", true),
            ("late \"my order\"", "my order is here", false),
            ("“my order”", "where is My — order?", true),
            ("\"cafe munchen\"", "Café München", true),
            ("\"café munchen\"", "Café München", true),
            ("\"café munchen\"", "Cafe München", false),
            ("\"my order", "my order", true),
        ] {
            assert_eq!(finds(search, text), expected, "{search} in {text}");
        }
    }

    #[test]
    fn a_search_is_bounded_and_has_a_word() {
        for nothing in ["", "  ", "\"\"", "?!", "…"] {
            assert_eq!(Search::parse(nothing), Err(BadSearch::Empty), "{nothing}");
        }
        let long = "a".repeat(SEARCH_LEN_MAX + 1);
        assert_eq!(Search::parse(&long), Err(BadSearch::TooLong));
        let many = "a ".repeat(SEARCH_WORDS_MAX + 1);
        assert_eq!(Search::parse(&many), Err(BadSearch::TooManyWords));
        assert!(terms(&"字".repeat(10_000)).len() <= 2);
        let many: Vec<_> = (0..10_000).map(|number| format!("w{number}")).collect();
        let many = many.join(" ");
        assert_eq!(terms(&many).len(), TERM_COUNT_MAX);
    }

    #[test]
    fn a_snippet_is_one_short_line_around_what_was_found() {
        let text = format!("{} my\norder {}", "x ".repeat(100), "y ".repeat(200));
        let places = Search::parse("\"my order\" y")
            .unwrap()
            .find(&text)
            .unwrap();
        let (snippet, marks) = snippet(&text, &places);
        assert!(
            snippet.starts_with('…') && snippet.ends_with('…'),
            "{snippet}"
        );
        assert!(snippet.chars().count() <= SNIPPET_LEN_MAX + 2);
        let marked = |mark: &Range<usize>| -> String {
            snippet.chars().skip(mark.start).take(mark.len()).collect()
        };
        assert_eq!(
            marks.iter().map(marked).collect::<Vec<_>>(),
            ["my order", "y"]
        );
        let all = [Range { start: 0, end: 5 }];
        assert_eq!(
            super::snippet("short", &all),
            ("short".to_owned(), all.to_vec())
        );
    }

    proptest! {
        #[test]
        fn every_word_of_a_text_finds_it(text in "\\PC{0,80}") {
            for word in words(&text) {
                let written = &text[word.place.clone()];
                if let Ok(search) = Search::parse(written)
                    && search.0.len() == 1 && search.0[0].len() == 1
                {
                    prop_assert!(finds(written, &text), "{written} in {text}");
                }
            }
        }
    }
}
