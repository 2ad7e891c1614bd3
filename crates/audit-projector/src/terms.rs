//! What messages are found by besides their columns, as terms: short texts that are equal where
//! the same is meant.
//!
//! Pure. A message that is a caller's own reference longer than a database indexes is found all
//! the same: a long term stands as its hash.

use std::collections::BTreeSet;

use casement_event::v1;
use sha2::{Digest as _, Sha256};

use crate::model::Message;

/// Longer terms are kept as their hash.
const TERM_LEN_MAX: usize = 200;

/// The caller's reference.
pub(crate) fn reference(text: &str) -> String {
    bounded(format!("reference/{text}"))
}

/// A label; any of its key if the value is empty.
pub(crate) fn label(label: &v1::Label) -> String {
    if label.value.is_empty() {
        return bounded(format!("key/{}", label.key));
    }
    // The length tells where the key ends, whatever stands in it.
    bounded(format!(
        "label/{}/{}={}",
        label.key.len(),
        label.key,
        label.value
    ))
}

/// A provider's id of an attempt.
pub(crate) fn provider_id(text: &str) -> String {
    bounded(format!("provider/{text}"))
}

/// A provider's code in a refusal.
pub(crate) fn error_code(code: i64) -> String {
    format!("error/{code}")
}

/// Returns all terms of a message as it is.
pub(crate) fn of(message: &Message) -> BTreeSet<String> {
    let mut terms = BTreeSet::new();
    if !message.client_reference.is_empty() {
        terms.insert(reference(&message.client_reference));
    }
    for one in &message.labels {
        terms.insert(label(&v1::Label {
            value: String::new(),
            ..one.clone()
        }));
        terms.insert(label(one));
    }
    for attempt in &message.attempts {
        if !attempt.provider_message_id.is_empty() {
            terms.insert(provider_id(&attempt.provider_message_id));
        }
        if let Some(error) = attempt.error.as_ref().filter(|error| error.code != 0) {
            terms.insert(error_code(error.code));
        }
    }
    terms
}

fn bounded(term: String) -> String {
    if term.len() > TERM_LEN_MAX {
        format!("sha256/{}", hex::encode(Sha256::digest(term)))
    } else {
        term
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_pair(key: &str, value: &str) -> String {
        label(&v1::Label {
            key: key.to_owned(),
            value: value.to_owned(),
        })
    }

    #[test]
    fn labels_that_differ_never_share_a_term() {
        assert_ne!(of_pair("a=b", "c"), of_pair("a", "b=c"));
        assert_ne!(of_pair("a", ""), of_pair("a", "x"));
        assert_ne!(of_pair("1/a=b", ""), of_pair("a", "b"));
    }

    #[test]
    fn a_term_of_any_length_is_bounded_and_its_own() {
        let [one, two] = ["1", "2"].map(|end| reference(&("x".repeat(5_000) + end)));
        assert!(one.len() <= TERM_LEN_MAX && one != two);
    }
}
