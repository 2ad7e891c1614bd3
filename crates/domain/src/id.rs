//! The ids of the domain, each a type of its own with one way in: `parse`.
//!
//! Ids that stand in log subjects are checked to be one subject token, so that no id can
//! widen or split a subject. Making new random ids is the caller's business.

use std::fmt;

/// How many partitions the business numbers are spread over. Fixed: it stands in subjects.
pub const PARTITION_COUNT: u64 = 64;

/// Longest id that may stand in a subject, in bytes.
const TOKEN_LEN_MAX: usize = 128;

/// An id was not of its kind's form.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{kind} is {problem}")]
pub struct InvalidId {
    kind: &'static str,
    problem: &'static str,
}

fn token(kind: &'static str, text: &str) -> Result<String, InvalidId> {
    let problem = if text.is_empty() {
        "empty"
    } else if text.len() > TOKEN_LEN_MAX {
        "longer than 128 bytes"
    } else if !text
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-')
    {
        "not made of letters, digits, `_` and `-` alone"
    } else {
        return Ok(text.to_owned());
    };
    Err(InvalidId { kind, problem })
}

macro_rules! token_ids {
    ($($(#[$doc:meta])* $name:ident = $kind:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(String);

        impl $name {
            /// Takes the id from its stored form.
            pub fn parse(text: &str) -> Result<Self, InvalidId> {
                token($kind, text).map(Self)
            }

            /// Returns the stored form.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str(&self.0)
            }
        }
    )*};
}

token_ids! {
    /// A customer of a portfolio: opaque, minted at first contact, never reused.
    CustomerId = "customer id";
    /// A brand: whose tokens may see and send what.
    BrandId = "brand id";
    /// A business portfolio: the scope of Meta's user ids, and of consent.
    PortfolioId = "portfolio id";
    /// A WhatsApp business account: the owner of templates.
    WabaId = "WABA id";
    /// Meta's id of a registered number. Changes on migration; the number does not.
    PhoneNumberId = "phone number id";
}

/// A phone number as E.164 digits, without the plus.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Phone(String);

impl Phone {
    /// Takes E.164 with or without the plus.
    pub fn parse(text: &str) -> Result<Self, InvalidId> {
        let digits = text.strip_prefix('+').unwrap_or(text);
        let kind = "phone number";
        if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(InvalidId {
                kind,
                problem: "not E.164: digits after an optional plus",
            });
        }
        if digits.len() < 5 || digits.len() > 15 {
            return Err(InvalidId {
                kind,
                problem: "not E.164: 5 to 15 digits",
            });
        }
        if digits.starts_with('0') {
            return Err(InvalidId {
                kind,
                problem: "not E.164: a country code never starts with 0",
            });
        }
        Ok(Self(digits.to_owned()))
    }

    /// Returns the digits.
    pub fn digits(&self) -> &str {
        &self.0
    }

    /// Returns E.164 with the plus, as people and APIs write it.
    pub fn e164(&self) -> String {
        format!("+{}", self.0)
    }
}

/// A business number. It names the conversation's side of the house in every subject, since
/// it survives migration, where Meta's id of it changes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BusinessNumber(Phone);

impl BusinessNumber {
    /// Takes E.164 with or without the plus.
    pub fn parse(text: &str) -> Result<Self, InvalidId> {
        Phone::parse(text).map(Self)
    }

    /// Returns the digits, as they stand in subjects.
    pub fn digits(&self) -> &str {
        self.0.digits()
    }

    /// Returns E.164 with the plus.
    pub fn e164(&self) -> String {
        self.0.e164()
    }

    /// Returns the partition whose token stands before the number in subjects.
    ///
    /// FNV-1a over the digits: the same in every process, language and version.
    pub fn partition(&self) -> Partition {
        let hash = self
            .digits()
            .bytes()
            .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
                (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
            });
        Partition(hash % PARTITION_COUNT)
    }
}

impl fmt::Display for BusinessNumber {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.digits())
    }
}

/// One of the fixed partitions of business numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Partition(u64);

impl fmt::Display for Partition {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:02}", self.0)
    }
}

macro_rules! numbered_ids {
    ($($(#[$doc:meta])* $name:ident = $kind:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name {
            text: String,
            number: BusinessNumber,
        }

        impl $name {
            /// Makes an id from the number and 128 bits that are unique to what it names.
            pub fn new(number: &BusinessNumber, unique: u128) -> Self {
                Self {
                    text: format!("{number}-{unique:032x}"),
                    number: number.clone(),
                }
            }

            /// Takes the id from its stored form: the number's digits, `-`, 32 hexadecimal
            /// digits.
            pub fn parse(text: &str) -> Result<Self, InvalidId> {
                Ok(Self {
                    number: numbered($kind, text)?,
                    text: text.to_owned(),
                })
            }

            /// Returns the business number that it belongs to.
            pub fn number(&self) -> &BusinessNumber {
                &self.number
            }

            /// Returns the stored form.
            pub fn as_str(&self) -> &str {
                &self.text
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str(&self.text)
            }
        }
    )*};
}

numbered_ids! {
    /// An outbound message. Carries its number, so that the id alone finds its subject.
    MessageId = "message id";
    /// A file that came with a customer's message. Carries its number, as a message does.
    MediaId = "media id";
}

fn numbered(kind: &'static str, text: &str) -> Result<BusinessNumber, InvalidId> {
    let problem = "not `<number>-<32 lower-case hexadecimal digits>`";
    let (number, unique) = text.split_once('-').ok_or(InvalidId { kind, problem })?;
    let is_hex = unique
        .bytes()
        .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    if unique.len() != 32 || !is_hex || number.starts_with('+') {
        return Err(InvalidId { kind, problem });
    }
    BusinessNumber::parse(number)
}

/// A fact on the log, by the UUID made from its natural key.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FactId(u128);

impl FactId {
    /// Takes the 128 bits of the fact's UUID.
    pub const fn from_u128(bits: u128) -> Self {
        Self(bits)
    }

    /// Returns the 128 bits of the fact's UUID.
    pub const fn as_u128(self) -> u128 {
        self.0
    }
}

impl fmt::Display for FactId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hex = format!("{:032x}", self.0);
        let group = |from: usize, to: usize| &hex[from..to];
        let (first, last) = (group(0, 8), group(20, 32));
        write!(
            out,
            "{first}-{}-{}-{}-{last}",
            group(8, 12),
            group(12, 16),
            group(16, 20)
        )
    }
}

impl fmt::Debug for FactId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_that_would_split_or_widen_a_subject_is_refused() {
        for bad in ["", "a.b", "a*", ">", "a b", "ä", &"x".repeat(129)] {
            assert!(CustomerId::parse(bad).is_err(), "{bad:?}");
        }
        for good in ["c_1-A", &"x".repeat(128)] {
            assert_eq!(CustomerId::parse(good).unwrap().as_str(), good);
        }
    }

    #[test]
    fn a_phone_number_is_read_with_and_without_plus() {
        assert_eq!(
            Phone::parse("+15550001111").unwrap(),
            Phone::parse("15550001111").unwrap()
        );
        for bad in [
            "",
            "+",
            "1234",
            "+1555000111122223",
            "0155500011",
            "+1 555",
            "１２３４５６",
        ] {
            assert!(Phone::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_phone_number_has_five_to_fifteen_digits_and_is_written_with_a_plus() {
        for (digits, is_one) in [
            ("1234", false),
            ("12345", true),
            ("123456789012345", true),
            ("1234567890123456", false),
        ] {
            let written = format!("+{digits}");
            let phone = Phone::parse(digits).map(|phone| phone.e164());
            assert_eq!(phone.ok(), is_one.then(|| written.clone()));
            let number = BusinessNumber::parse(digits).map(|number| number.e164());
            assert_eq!(number.ok(), is_one.then_some(written));
        }
    }

    #[test]
    fn the_partition_of_a_number_never_changes() {
        // Stored subjects depend on these values.
        for (number, partition) in [
            ("15550001111", "03"),
            ("4915112345678", "27"),
            ("5511999990000", "04"),
        ] {
            let number = BusinessNumber::parse(number).unwrap();
            assert_eq!(number.partition().to_string(), partition, "{number}");
        }
    }

    #[test]
    fn a_message_id_finds_its_number() {
        let number = BusinessNumber::parse("+15550001111").unwrap();
        let id = MessageId::new(&number, 0xabc);
        assert_eq!(id.as_str(), "15550001111-00000000000000000000000000000abc");
        let parsed = MessageId::parse(id.as_str()).unwrap();
        assert_eq!(parsed.number(), &number);
        for bad in [
            "15550001111",
            "15550001111-abc",
            "+15550001111-00000000000000000000000000000abc",
        ] {
            assert!(MessageId::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_fact_id_prints_as_a_uuid_and_gives_its_bits_back() {
        let bits = 0x0123_4567_89ab_cdef_0123_4567_89ab_cdef;
        let id = FactId::from_u128(bits);
        assert_eq!(id.to_string(), "01234567-89ab-cdef-0123-456789abcdef");
        assert_eq!(id.as_u128(), bits);
    }
}
