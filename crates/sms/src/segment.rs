//! How a text travels as SMS: its encoding and how many parts it needs.
//!
//! One character outside the GSM alphabet turns the whole text into UCS-2. Counts for the plain
//! 6-octet concatenation header. Does not replace characters (gateways may: Twilio's smart
//! encoding) and does not pack octets.

/// GSM 03.38 units of one message that travels alone.
const GSM7_SINGLE: usize = 160;
/// … and of each part of several.
const GSM7_PART: usize = 153;
/// UTF-16 units of one message that travels alone.
const UCS2_SINGLE: usize = 70;
/// … and of each part of several.
const UCS2_PART: usize = 67;

/// The GSM 03.38 basic character set, without the escape; each character is one unit.
const BASIC: &str = "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?\
                     ¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà";
/// The extension table; each character is an escape and one more unit.
const EXTENSION: &str = "\u{c}^{}\\[~]|€";

/// How the characters of an SMS are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Encoding {
    /// The GSM 03.38 alphabet, 7 bits a unit.
    Gsm7,
    /// UTF-16, 16 bits a unit.
    Ucs2,
}

/// What a text takes as SMS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Segmentation {
    /// The encoding of the whole text.
    pub encoding: Encoding,
    /// Units of the text itself: septets (an extension character counts two) or UTF-16 units
    /// (most emoji count two).
    pub units: usize,
    /// Messages that are sent, and paid for. 0 for an empty text.
    pub segments: usize,
    /// Units that fit in each: 160 or 70 alone, 153 or 67 in several.
    pub per_segment: usize,
}

/// Returns what a text takes as SMS.
pub fn segment(text: &str) -> Segmentation {
    let (encoding, single, part) = if text
        .chars()
        .all(|character| gsm7_units(character).is_some())
    {
        (Encoding::Gsm7, GSM7_SINGLE, GSM7_PART)
    } else {
        (Encoding::Ucs2, UCS2_SINGLE, UCS2_PART)
    };
    let width = |character: char| match encoding {
        Encoding::Gsm7 => gsm7_units(character).expect("every character was found to be GSM"),
        Encoding::Ucs2 => character.len_utf16(),
    };
    let units = text.chars().map(width).sum();
    if units <= single {
        return Segmentation {
            encoding,
            units,
            segments: usize::from(units > 0),
            per_segment: single,
        };
    }
    // A character that does not fit whole goes to the next part: neither an escape nor a
    // surrogate is ever left alone, so parts may end a unit early.
    let mut segments = 1;
    let mut used = 0;
    for character in text.chars() {
        let width = width(character);
        if used + width > part {
            segments += 1;
            used = 0;
        }
        used += width;
    }
    Segmentation {
        encoding,
        units,
        segments,
        per_segment: part,
    }
}

fn gsm7_units(character: char) -> Option<usize> {
    if BASIC.contains(character) {
        Some(1)
    } else if EXTENSION.contains(character) {
        Some(2)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(text: &str) -> (Encoding, usize, usize, usize) {
        let it = segment(text);
        (it.encoding, it.units, it.segments, it.per_segment)
    }

    #[test]
    fn a_text_takes_the_segments_of_its_encoding() {
        use Encoding::{Gsm7, Ucs2};
        let a = |count: usize| "a".repeat(count);
        for (name, text, expected) in [
            ("nothing", String::new(), (Gsm7, 0, 0, 160)),
            ("one letter", a(1), (Gsm7, 1, 1, 160)),
            ("160 letters", a(160), (Gsm7, 160, 1, 160)),
            ("161 letters", a(161), (Gsm7, 161, 2, 153)),
            ("two full parts", a(306), (Gsm7, 306, 2, 153)),
            ("one more", a(307), (Gsm7, 307, 3, 153)),
            ("an extension character", "€".to_owned(), (Gsm7, 2, 1, 160)),
            (
                "all extension characters",
                "\u{c}^{}\\[~]|€".to_owned(),
                (Gsm7, 20, 1, 160),
            ),
            ("80 euros", "€".repeat(80), (Gsm7, 160, 1, 160)),
            ("81 euros: 76 a part", "€".repeat(81), (Gsm7, 162, 2, 153)),
            (
                "152 euros in two parts",
                "€".repeat(152),
                (Gsm7, 304, 2, 153),
            ),
            ("153 euros need three", "€".repeat(153), (Gsm7, 306, 3, 153)),
            (
                "euro at the 153rd unit",
                format!("{}€{}", a(152), a(152)),
                (Gsm7, 306, 3, 153),
            ),
            (
                "letter at the 153rd unit",
                format!("{}€{}", a(153), a(151)),
                (Gsm7, 306, 2, 153),
            ),
            (
                "accents of the alphabet",
                "àéÄñ¿¡Çß".to_owned(),
                (Gsm7, 8, 1, 160),
            ),
            (
                "greek of the alphabet",
                "ΔΦΓΛΩΠΨΣΘΞ".to_owned(),
                (Gsm7, 10, 1, 160),
            ),
            (
                "lower-case cedilla is not in it",
                "ç".to_owned(),
                (Ucs2, 1, 1, 70),
            ),
            ("a curly quote", "it’s".to_owned(), (Ucs2, 4, 1, 70)),
            ("a backtick", "`".to_owned(), (Ucs2, 1, 1, 70)),
            ("a tab", "\t".to_owned(), (Ucs2, 1, 1, 70)),
            ("70 cyrillic letters", "я".repeat(70), (Ucs2, 70, 1, 70)),
            ("71 cyrillic letters", "я".repeat(71), (Ucs2, 71, 2, 67)),
            ("134 cyrillic letters", "я".repeat(134), (Ucs2, 134, 2, 67)),
            ("135 cyrillic letters", "я".repeat(135), (Ucs2, 135, 3, 67)),
            ("35 emoji", "😀".repeat(35), (Ucs2, 70, 1, 70)),
            ("36 emoji: 33 a part", "😀".repeat(36), (Ucs2, 72, 2, 67)),
            ("66 emoji in two parts", "😀".repeat(66), (Ucs2, 132, 2, 67)),
            ("67 emoji need three", "😀".repeat(67), (Ucs2, 134, 3, 67)),
            (
                "emoji at the 67th unit",
                format!("{}😀{}", "я".repeat(66), "я".repeat(66)),
                (Ucs2, 134, 3, 67),
            ),
            (
                "euro in UCS-2 is one unit",
                "€я".to_owned(),
                (Ucs2, 2, 1, 70),
            ),
            (
                "one emoji turns all to UCS-2",
                format!("{}😀", a(69)),
                (Ucs2, 71, 2, 67),
            ),
        ] {
            assert_eq!(of(&text), expected, "{name}");
        }
    }

    #[test]
    fn the_alphabet_has_its_128_places() {
        // 127 basic characters and the escape.
        assert_eq!(BASIC.chars().count(), 127);
        assert_eq!(EXTENSION.chars().count(), 10);
        assert!(!BASIC.chars().any(|character| EXTENSION.contains(character)));
    }

    proptest! {
        #[test]
        fn the_segments_hold_the_text_and_no_fewer_could(text in "(?s).{0,400}") {
            let it = segment(&text);
            prop_assert!(it.units <= it.segments * it.per_segment);
            let fewest = it.units.div_ceil(it.per_segment);
            prop_assert!(it.segments >= fewest);
            // Each break wastes at most one unit, and no part is empty.
            let full = it.segments.saturating_sub(1) * (it.per_segment - 1);
            prop_assert!(it.segments == 0 || it.units > full);
        }

        #[test]
        fn a_longer_text_never_takes_fewer_segments(text in "[a-z€я😀]{0,200}", more in "[a-z€я😀]{1}") {
            let longer = format!("{text}{more}");
            prop_assert!(segment(&longer).segments >= segment(&text).segments);
        }
    }
}
