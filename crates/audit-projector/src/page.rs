//! Page tokens: where the next page begins, opaque to callers.
//!
//! A token belongs to the question that it was given for: with another filter, or another
//! caller's brand, it is refused rather than answered wrongly.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

#[derive(Serialize, Deserialize)]
struct Token<K> {
    /// Digest of the question, shortened.
    q: String,
    /// Key of the last row of the page before.
    k: K,
}

/// A token is not one that was given out for this question.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a page token of this question")]
pub(crate) struct InvalidToken;

/// Returns the token for the page after the row with this key. `question` is everything that
/// decides which rows there are, and in which order.
pub(crate) fn token<K: Serialize>(question: &[&str], key: K) -> String {
    let token = Token {
        q: digest(question),
        k: key,
    };
    URL_SAFE_NO_PAD.encode(serde_json::to_vec(&token).expect("keys are plain data"))
}

/// Reads a token; an empty one means the first page.
pub(crate) fn key<K: DeserializeOwned>(
    question: &[&str],
    token: &str,
) -> Result<Option<K>, InvalidToken> {
    if token.is_empty() {
        return Ok(None);
    }
    let bytes = URL_SAFE_NO_PAD.decode(token).map_err(|_| InvalidToken)?;
    let token: Token<K> = serde_json::from_slice(&bytes).map_err(|_| InvalidToken)?;
    if token.q == digest(question) {
        Ok(Some(token.k))
    } else {
        Err(InvalidToken)
    }
}

fn digest(question: &[&str]) -> String {
    let mut hash = Sha256::new();
    for part in question {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    hex::encode(&hash.finalize()[..8])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_reads_back_for_its_question_alone() {
        let question = ["default", "EVENTS"];
        let token = token(&question, ("EVENTS", 7_u64));
        assert_eq!(
            key(&question, &token),
            Ok(Some(("EVENTS".to_owned(), 7_u64)))
        );
        assert_eq!(key::<u64>(&question, ""), Ok(None));
        for wrong in [
            ["default", "ACCOUNTS"],
            ["other", "EVENTS"],
            ["defaultE", "VENTS"],
        ] {
            assert_eq!(key::<(String, u64)>(&wrong, &token), Err(InvalidToken));
        }
        for nonsense in ["x", "%%", "e30"] {
            assert_eq!(key::<(String, u64)>(&question, nonsense), Err(InvalidToken));
        }
    }
}
