//! The handshake by which Meta checks a callback URL: a GET that must be answered with its own
//! challenge. Posts are another matter; see [`crate::signature`].

use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use subtle::ConstantTimeEq;

/// The query of the handshake; unknown parameters are ignored.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct SubscriptionParams {
    /// Must be `subscribe`.
    #[serde(rename = "hub.mode")]
    pub mode: Option<String>,
    /// Must be the token that was entered beside the callback URL.
    #[serde(rename = "hub.verify_token")]
    pub verify_token: Option<SecretString>,
    /// To be sent back as the body, as it is.
    #[serde(rename = "hub.challenge")]
    pub challenge: Option<String>,
}

/// Why a handshake was refused. All of them deserve a 403.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SubscriptionError {
    /// `hub.mode` is not `subscribe`.
    #[error("mode is not `subscribe`")]
    Mode,
    /// The token is missing or not ours.
    #[error("verify token does not match")]
    Token,
    /// There is no challenge to answer.
    #[error("challenge is missing")]
    Challenge,
}

/// Returns the challenge to answer with. Compares the token in constant time.
pub fn verify_subscription<'a>(
    params: &'a SubscriptionParams,
    verify_token: &SecretString,
) -> Result<&'a str, SubscriptionError> {
    if params.mode.as_deref() != Some("subscribe") {
        return Err(SubscriptionError::Mode);
    }
    let theirs = params
        .verify_token
        .as_ref()
        .map_or("", SecretString::expose_secret);
    let ours = verify_token.expose_secret();
    if ours.is_empty() || !bool::from(ours.as_bytes().ct_eq(theirs.as_bytes())) {
        return Err(SubscriptionError::Token);
    }
    params
        .challenge
        .as_deref()
        .filter(|challenge| !challenge.is_empty())
        .ok_or(SubscriptionError::Challenge)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn params(mode: &str, token: &str, challenge: &str) -> SubscriptionParams {
        let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        SubscriptionParams {
            mode: some(mode),
            verify_token: some(token).map(SecretString::from),
            challenge: some(challenge),
        }
    }

    #[test]
    fn only_a_subscription_with_our_token_gets_its_challenge_back() {
        let token = SecretString::from("sesame");
        for (params, expected) in [
            (
                params("subscribe", "sesame", "1158201444"),
                Ok("1158201444"),
            ),
            (
                params("subscribe", "Sesame", "1"),
                Err(SubscriptionError::Token),
            ),
            (
                params("subscribe", "sesame2", "1"),
                Err(SubscriptionError::Token),
            ),
            (params("subscribe", "", "1"), Err(SubscriptionError::Token)),
            (
                params("unsubscribe", "sesame", "1"),
                Err(SubscriptionError::Mode),
            ),
            (params("", "sesame", "1"), Err(SubscriptionError::Mode)),
            (
                params("subscribe", "sesame", ""),
                Err(SubscriptionError::Challenge),
            ),
        ] {
            assert_eq!(verify_subscription(&params, &token), expected);
        }
    }

    #[test]
    fn an_empty_token_of_ours_matches_nothing() {
        let empty = SecretString::from("");
        let params = params("subscribe", "", "1");
        let result = verify_subscription(&params, &empty);
        assert_eq!(result, Err(SubscriptionError::Token));
    }

    #[test]
    fn the_query_is_read_by_its_dotted_names() {
        let json = r#"{"hub.mode":"subscribe","hub.verify_token":"t","hub.challenge":"7","x":"y"}"#;
        let params: SubscriptionParams = serde_json::from_str(json).expect("query");
        assert_eq!(
            verify_subscription(&params, &SecretString::from("t")),
            Ok("7")
        );
        assert!(!format!("{params:?}").contains("\"t\""));
    }
}
