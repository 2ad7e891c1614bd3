//! Lives of a stream: which one this is, and which ones it continues.
//!
//! A stream is told apart from an earlier one of its name by when it was created. One that was
//! restored from a backup brings the same time with it, and yet may hold less than the one that
//! was lost, and give out sequences again: so a restore names a life of its own, in the stream's
//! metadata, and with it the lives that it continues and how far. What they have in common is
//! archived once.
//!
//! Pure: who reads and writes the metadata is for `connect` and [`crate::snapshot`].

use std::collections::HashMap;

use async_nats::jetstream::stream::{Config as StreamConfig, Info};

/// Key of the metadata that names a restored stream's life.
const INCARNATION: &str = "casement-incarnation";

/// Key of the metadata that names the lives before it: `1a:70,2b:90`, oldest first.
const LINEAGE: &str = "casement-lineage";

/// Most lives that are remembered. A log is not restored so often.
const ANCESTORS_MAX: usize = 16;

/// An earlier life of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ancestor {
    /// Which one.
    pub incarnation: String,
    /// Up to this sequence the stream holds, or held, what that life did; beyond it, what it
    /// came to itself.
    pub through: u64,
}

/// Returns which life of the stream this is.
pub(crate) fn incarnation(info: &Info) -> String {
    named(&info.config).unwrap_or_else(|| format!("{:x}", info.created.unix_timestamp_nanos()))
}

/// Returns which life of the stream the configuration names; `None` of one that never was restored.
pub(crate) fn named(config: &StreamConfig) -> Option<String> {
    let named = config.metadata.get(INCARNATION)?;
    Some(named.clone()).filter(|named| is_name(named))
}

/// Returns the lives that a stream continues, newest first.
pub(crate) fn ancestors(config: &StreamConfig) -> Vec<Ancestor> {
    let text = config.metadata.get(LINEAGE).map_or("", String::as_str);
    let mut common = u64::MAX;
    let mut ancestors = Vec::new();
    for (incarnation, through) in stored(text).into_iter().rev() {
        // What a later life did not have, this one has not from it.
        common = common.min(through);
        ancestors.push(Ancestor {
            incarnation,
            through: common,
        });
    }
    ancestors
}

/// Returns the metadata of a stream that goes on from `incarnation` after `through`, under a new
/// name.
pub(crate) fn continued(
    metadata: &HashMap<String, String>,
    incarnation: &str,
    through: u64,
    name: &str,
) -> HashMap<String, String> {
    let mut lives = stored(metadata.get(LINEAGE).map_or("", String::as_str));
    lives.push((incarnation.to_owned(), through));
    let surplus = lives.len().saturating_sub(ANCESTORS_MAX);
    let lives: Vec<_> = lives
        .iter()
        .skip(surplus)
        .map(|(incarnation, through)| format!("{incarnation}:{through}"))
        .collect();
    let mut metadata = metadata.clone();
    metadata.insert(LINEAGE.to_owned(), lives.join(","));
    metadata.insert(INCARNATION.to_owned(), name.to_owned());
    metadata
}

fn stored(text: &str) -> Vec<(String, u64)> {
    let lives = text.split(',').filter_map(|life| {
        let (incarnation, through) = life.split_once(':')?;
        is_name(incarnation).then_some((incarnation.to_owned(), through.parse().ok()?))
    });
    lives.collect()
}

/// It stands in positions, whose parts `~` separates.
fn is_name(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(metadata: HashMap<String, String>) -> StreamConfig {
        StreamConfig {
            metadata,
            ..StreamConfig::default()
        }
    }

    fn ancestor(incarnation: &str, through: u64) -> Ancestor {
        Ancestor {
            incarnation: incarnation.to_owned(),
            through,
        }
    }

    #[test]
    fn a_stream_that_never_was_restored_continues_nothing() {
        let config = config(HashMap::new());
        assert_eq!(named(&config), None);
        assert_eq!(ancestors(&config), []);
    }

    #[test]
    fn what_a_restore_lost_is_nothing_that_later_lives_have_in_common_with_earlier_ones() {
        let once = continued(&HashMap::new(), "1a", 90, "2b");
        assert_eq!(named(&config(once.clone())).as_deref(), Some("2b"));
        assert_eq!(ancestors(&config(once.clone())), [ancestor("1a", 90)]);
        // The second life had come to 70 only when it was saved, from before the first restore.
        let twice = continued(&once, "2b", 70, "3c");
        assert_eq!(
            ancestors(&config(twice)),
            [ancestor("2b", 70), ancestor("1a", 70)]
        );
        let further = continued(&once, "2b", 120, "3c");
        assert_eq!(
            ancestors(&config(further)),
            [ancestor("2b", 120), ancestor("1a", 90)]
        );
    }

    #[test]
    fn a_lineage_is_bounded_and_nonsense_is_left_out() {
        let mut metadata = HashMap::new();
        for life in 0..40_u64 {
            metadata = continued(&metadata, &format!("{life:x}"), life, "ff");
        }
        let ancestors = ancestors(&config(metadata));
        assert_eq!(ancestors.len(), ANCESTORS_MAX);
        assert_eq!(ancestors[0].incarnation, "27");
        assert_eq!(stored("1a:x,:3,b~c:4,2b:5"), [("2b".to_owned(), 5)]);
    }
}
