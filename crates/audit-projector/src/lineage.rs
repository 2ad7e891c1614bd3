//! Where the archive of a stream goes on after the stream was restored.
//!
//! A restored stream has a life of its own and holds what earlier lives did, up to where each was
//! saved. What the archive has from those is not archived again: the chain of the new life begins
//! behind it ([`casement_domain::joint`]). What an earlier life had beyond that stands in its own
//! chain, and nowhere else.

use casement_domain::joint::{Life, archived_through};
use casement_event_log::Ancestor;

use crate::chain::Head;
use crate::store::{Error, Store};

/// Returns where the chain of a life stands, or where it begins if it has no row yet.
pub(crate) async fn head(
    store: &dyn Store,
    stream: &str,
    incarnation: &str,
    ancestors: &[Ancestor],
) -> Result<Head, Error> {
    if let Some(head) = store.head(stream, incarnation).await? {
        return Ok(head);
    }
    let mut archived = Vec::new();
    for ancestor in ancestors {
        let head = store.head(stream, &ancestor.incarnation).await?;
        archived.extend(head.map(|head| (ancestor.incarnation.as_str(), head.last_sequence)));
    }
    let lives: Vec<Life<'_>> = ancestors
        .iter()
        .map(|ancestor| Life {
            incarnation: &ancestor.incarnation,
            common_through: ancestor.through,
        })
        .collect();
    let last_sequence = archived_through(incarnation, &lives, |life| {
        archived
            .iter()
            .find(|(incarnation, _)| *incarnation == life)
            .map(|(_, sequence)| *sequence)
    });
    Ok(Head {
        last_sequence,
        ..Head::start(stream, incarnation)
    })
}
