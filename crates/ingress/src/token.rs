//! Ids of others as subject tokens. It makes tokens; it does not build subjects.

use sha2::{Digest as _, Sha256};

/// Longest id that stands in a subject as it is.
const PLAIN_LEN_MAX: usize = 64;

/// Returns an id as it is if it is one safe token, else its hash.
pub(crate) fn token(id: &str) -> String {
    let is_plain = !id.is_empty()
        && id.len() <= PLAIN_LEN_MAX
        && id
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-');
    if is_plain { id.to_owned() } else { hashed(id) }
}

/// Returns an id's hash as a token, for ids that tell more than they should.
pub(crate) fn hashed(id: &str) -> String {
    format!("h{}", hex::encode(&Sha256::digest(id.as_bytes())[..16]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_safe_id_stays_and_any_other_is_hashed() {
        for plain in ["106540352242922", "a_b-C", &"x".repeat(64)] {
            assert_eq!(token(plain), plain);
        }
        for odd in [
            "",
            "a.b",
            "<BUSINESS_PHONE_NUMBER_ID>",
            "*",
            ">",
            "ä",
            "a b",
            &"x".repeat(65),
        ] {
            let made = token(odd);
            assert_eq!(made, hashed(odd), "{odd}");
            assert!(
                made.bytes().all(|byte| byte.is_ascii_alphanumeric()),
                "{odd}"
            );
            assert_eq!(made.len(), 33);
        }
        assert_ne!(token("a.b"), token("a.c"));
    }
}
