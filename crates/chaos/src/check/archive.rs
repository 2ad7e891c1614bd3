//! The archive: its chains hold and reach the log's end, and what is made from it is the same again.

use std::collections::BTreeMap;

use super::{Claim, Violation};
use crate::history::History;

/// Streams that the archive keeps.
const ARCHIVED: [&str; 4] = ["EVENTS", "MESSAGES", "ACCOUNTS", "CUSTOMERS"];

pub(super) fn check(history: &History, found: &mut Vec<Violation>) {
    let mut last: BTreeMap<&str, u64> = BTreeMap::new();
    for entry in &history.log {
        let end = last.entry(&entry.stream).or_default();
        *end = entry.sequence.max(*end);
    }
    for chain in &history.chains {
        if !chain.is_intact {
            let what = format!(
                "the chain of {} is broken: {}",
                chain.stream, chain.explanation
            );
            found.push(Violation::new(Claim::ChainsHold, what, []));
        }
    }
    for stream in ARCHIVED {
        let end = last.get(stream).copied().unwrap_or_default();
        let archived = history
            .chains
            .iter()
            .filter(|chain| chain.stream == stream)
            .map(|chain| chain.last_sequence)
            .max()
            .unwrap_or_default();
        if archived < end {
            let what = format!("the archive has {stream} up to {archived}, the log up to {end}");
            found.push(Violation::new(Claim::ChainsHold, what, []));
        }
    }
    for difference in &history.differences {
        found.push(Violation::new(
            Claim::ReadModelsEqual,
            difference.clone(),
            [],
        ));
    }
}
