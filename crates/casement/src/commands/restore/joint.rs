//! How the halves join that are there after a restore, told for people and programs.

use std::ops::RangeInclusive;

use casement_audit_projector::backup::{SavedArchive, SavedHead};
use casement_audit_projector::{ARCHIVED_STREAMS, inspect};
use casement_domain::joint::{Life, OnLog, join};
use casement_event_log::snapshot::Snapshots;
use serde::Serialize;

/// A stream and its archive.
#[derive(Debug, Serialize)]
pub(super) struct Joined {
    stream: String,
    incarnation: String,
    archived_through: u64,
    /// First and last of what the archive reads from the log.
    to_archive: Option<(u64, u64)>,
    /// First and last of what only the archive has.
    only_archived: Option<(u64, u64)>,
    /// First and last of what is gone.
    pub(super) lost: Option<(u64, u64)>,
}

impl Joined {
    pub(super) fn line(&self) -> String {
        let mut parts = vec![format!("archived up to {}", self.archived_through)];
        let mut tell = |range: Option<(u64, u64)>, words: &str| {
            if let Some((from, to)) = range {
                parts.push(format!("{from} to {to} {words}"));
            }
        };
        tell(
            self.to_archive,
            "are archived from the log at the next start",
        );
        tell(
            self.only_archived,
            "of its former life are in the archive alone",
        );
        tell(self.lost, "ARE IN NEITHER");
        format!("{:<10} {}", self.stream, parts.join("; "))
    }
}

/// Looks at both halves, as far as they are there.
pub(super) async fn joined(
    snapshots: &Snapshots,
    config: &casement_audit_projector::Config,
    restored: Option<&SavedArchive>,
) -> anyhow::Result<Vec<Joined>> {
    // The tables of what was restored may be those of an older version, which nobody else reads yet.
    let heads: Vec<(String, String, u64)> = if let Some(saved) = restored {
        let heads = saved.heads.iter();
        let place = |head: &SavedHead| {
            let life = (head.stream.clone(), head.incarnation.clone());
            (life.0, life.1, head.last_sequence)
        };
        heads.map(place).collect()
    } else {
        let heads = inspect(config).await?.heads.into_iter();
        heads
            .map(|head| (head.stream, head.incarnation, head.last_sequence))
            .collect()
    };
    let mut joined = Vec::new();
    for stream in ARCHIVED_STREAMS {
        let Some(found) = snapshots.find(stream).await? else {
            continue;
        };
        let ancestors: Vec<Life<'_>> = found
            .ancestors
            .iter()
            .map(|ancestor| Life {
                incarnation: &ancestor.incarnation,
                common_through: ancestor.through,
            })
            .collect();
        let on_log = OnLog {
            incarnation: &found.incarnation,
            ancestors: &ancestors,
            first: found.first_sequence,
            last: found.last_sequence,
        };
        let joint = join(&on_log, |life| {
            let head = |head: &&(String, String, u64)| head.0 == stream && head.1 == life;
            heads.iter().find(head).map(|head| head.2)
        });
        joined.push(Joined {
            stream: stream.to_owned(),
            incarnation: found.incarnation.clone(),
            archived_through: joint.archived_through,
            to_archive: joint.to_archive.map(RangeInclusive::into_inner),
            only_archived: joint.only_archived.map(RangeInclusive::into_inner),
            lost: joint.lost.map(RangeInclusive::into_inner),
        });
    }
    Ok(joined)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_joint_is_told_in_words() {
        let mut joined = Joined {
            stream: "EVENTS".to_owned(),
            incarnation: "1b".to_owned(),
            archived_through: 90,
            to_archive: None,
            only_archived: None,
            lost: None,
        };
        assert_eq!(joined.line(), "EVENTS     archived up to 90");
        joined.to_archive = Some((91, 95));
        joined.only_archived = Some((91, 99));
        assert_eq!(
            joined.line(),
            "EVENTS     archived up to 90; 91 to 95 are archived from the log at the next start; \
             91 to 99 of its former life are in the archive alone"
        );
    }
}
