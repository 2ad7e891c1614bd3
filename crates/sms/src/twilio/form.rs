//! Form bodies as Twilio posts them: pairs in the order they stand, names may repeat.

/// Returns the decoded pairs of a form body.
pub(super) fn pairs(body: &[u8]) -> Option<Vec<(String, String)>> {
    serde_urlencoded::from_bytes(body).ok()
}
