//! What leaves the log with a customer: behind the archive, as everything that leaves it.

use casement_domain::id::MediaId;
use casement_event::subject::{self, stream};
use casement_event::v1;

use super::{EraseError, Eraser, customers, portfolio};
use crate::lineage;

impl Eraser {
    /// Removes the customers' subjects from the log. Returns how many messages that were; `None` if
    /// the archive does not have all of them yet. Safe to repeat.
    pub(super) async fn purge_all(&self, erasure: &v1::Erasure) -> Result<Option<u64>, EraseError> {
        let portfolio = portfolio(erasure)?;
        let customers = customers(erasure)?;
        let (mut events, mut messages) = (Vec::new(), Vec::new());
        for customer in &customers {
            events.push(subject::conversations_of(customer));
            for id in self.message_ids(customer).await? {
                if let Some(id) = super::steps::message_id(&id) {
                    messages.extend([subject::message(&id), subject::report(&id)]);
                }
            }
        }
        let media = erasure
            .media_ids
            .iter()
            .filter_map(|id| MediaId::parse(id).ok());
        events.extend(media.map(|id| subject::media(&id)));
        let mut of_customers = Vec::new();
        for customer in &customers {
            of_customers.push(subject::link(&portfolio, customer.as_str()));
            of_customers.push(subject::consent(&portfolio, customer));
        }
        let mut purged_count = 0;
        for (stream, subjects) in [
            (stream::EVENTS, events),
            (stream::MESSAGES, messages),
            (stream::CUSTOMERS, of_customers),
        ] {
            for subject in subjects {
                let Some(purged) = self.erase_subject(stream, &subject, u64::MAX).await? else {
                    return Ok(None);
                };
                purged_count += purged;
            }
        }
        for token in &erasure.tokens {
            // Whoever has the identifier now was linked after the tombstone.
            let tombstone = subject::erased(&portfolio, token);
            let Some(tombstone) = self.log.last(stream::CUSTOMERS, &tombstone).await? else {
                return Ok(None);
            };
            let link = subject::link(&portfolio, token);
            let purged = self.erase_subject(stream::CUSTOMERS, &link, tombstone.sequence);
            let Some(purged) = purged.await? else {
                return Ok(None);
            };
            purged_count += purged;
        }
        Ok(Some(purged_count))
    }

    /// Removes what stands on a subject below a sequence; `None` if the archive does not have it.
    ///
    /// One message after the other: the broker overwrites what is deleted by its sequence at once,
    /// and leaves what is purged by its subject in its files for as long as it likes.
    async fn erase_subject(
        &self,
        stream: &str,
        subject: &str,
        below: u64,
    ) -> Result<Option<u64>, EraseError> {
        let Some(mut next) = self.log.next(stream, subject, 1).await? else {
            return Ok(Some(0));
        };
        // A restored stream goes on where the archive has the life before it.
        let ancestors = self.log.ancestors(stream);
        let head = lineage::head(&*self.store, stream, &next.incarnation, ancestors).await?;
        let archived = head.last_sequence;
        if !self.log.may_erase(stream).await? {
            let newest = self.log.last(stream, subject).await?;
            let newest = newest.map_or(0, |newest| newest.sequence).min(below - 1);
            if newest > archived {
                return Ok(None);
            }
            return Ok(Some(
                self.log.purge_subject(stream, subject, newest + 1).await?,
            ));
        }
        let mut erased_count = 0;
        while next.sequence < below {
            if next.sequence > archived {
                return Ok(None);
            }
            self.log.erase(stream, next.sequence).await?;
            erased_count += 1;
            match self.log.next(stream, subject, next.sequence + 1).await? {
                Some(found) => next = found,
                None => break,
            }
        }
        Ok(Some(erased_count))
    }
}
