//! Erasures that a restored half has not heard of, or had not finished: carried out again, so that
//! nobody who was erased comes back with a backup.
//!
//! Tombstones go first, before any role runs; then each erasure begins once more, and whoever
//! carries erasures out goes through all of its steps. Every step may be done twice.

use std::collections::BTreeMap;

use anyhow::Context as _;
use casement_domain::id::PortfolioId;
use casement_event::subject::{self, stream};
use casement_event::{Event, Record, convert, id, v1};
use casement_event_log::erasure::{self, Tombstone};
use casement_event_log::{Config, Expect, Log};
use jiff::Timestamp;

use crate::commands::backup::manifest::SavedEvent;

/// Who writes it: on behalf of whoever carries erasures out.
const SOURCE: &str = "casement/audit-projector";

/// What is known of erasures.
#[derive(Debug, Default)]
pub(super) struct Known {
    tombstones: BTreeMap<String, Tombstone>,
    /// By subject; the one that is furthest.
    erasures: BTreeMap<String, v1::Erasure>,
}

impl Known {
    /// Takes up events of erasures, from wherever they were kept.
    pub(super) fn take(&mut self, events: &[SavedEvent]) -> anyhow::Result<()> {
        for kept in events {
            let payload = hex::decode(&kept.payload).context("an erasure in a manifest")?;
            match Event::decode(&kept.event_type, &payload)? {
                Event::CustomerErased(event) => {
                    let Some((portfolio, token)) = subject::parse_erased(&kept.subject) else {
                        continue;
                    };
                    let at = convert::required_instant("erase_time", event.erase_time.as_ref())?;
                    let tombstone = Tombstone {
                        portfolio,
                        token: token.to_owned(),
                        erasure_id: event.erasure_id,
                        at,
                    };
                    let known = self.tombstones.entry(kept.subject.clone());
                    let known = known.or_insert_with(|| tombstone.clone());
                    if known.at < tombstone.at {
                        *known = tombstone;
                    }
                }
                Event::ErasureAdvanced(event) => {
                    let erasure = event.erasure.unwrap_or_default();
                    let known = self.erasures.entry(kept.subject.clone());
                    let known = known.or_insert_with(|| erasure.clone());
                    if known.state < erasure.state {
                        *known = erasure;
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Whether nobody was ever erased.
    pub(super) fn is_empty(&self) -> bool {
        self.tombstones.is_empty() && self.erasures.is_empty()
    }

    /// Returns the erasures that were not done when what is restored was saved.
    fn unfinished(&self, saved_at: Timestamp) -> Vec<&v1::Erasure> {
        let each = self.erasures.values().filter(|erasure| {
            let destroyed = convert::instant("destroy_time", erasure.destroy_time.as_ref());
            // What cannot be read is done again, too.
            destroyed.ok().flatten().is_none_or(|at| at >= saved_at)
        });
        each.collect()
    }

    /// Writes down what the log lacks. Returns how many erasures will be carried out again.
    pub(super) async fn carry_over(
        &self,
        config: &Config,
        saved_at: Timestamp,
        now: Timestamp,
    ) -> anyhow::Result<usize> {
        if self.is_empty() {
            return Ok(0);
        }
        let log = Log::connect(config).await.context("write tombstones")?;
        let tombstones: Vec<_> = self.tombstones.values().cloned().collect();
        erasure::reapply(&log, SOURCE, &tombstones, now)
            .await
            .context("write tombstones")?;
        let again = self.unfinished(saved_at);
        for erasure in &again {
            begin_again(&log, erasure, now)
                .await
                .context("begin an erasure again")?;
        }
        Ok(again.len())
    }
}

async fn begin_again(log: &Log, erasure: &v1::Erasure, now: Timestamp) -> anyhow::Result<()> {
    let portfolio = PortfolioId::parse(&erasure.portfolio_id)?;
    let subject = subject::erasure(&portfolio, &erasure.erasure_id);
    let before = log.last(stream::CUSTOMERS, &subject).await?;
    let before = before.map_or(0, |before| before.sequence);
    let mut erasure = v1::Erasure {
        update_time: Some(convert::timestamp(now)),
        destroy_time: None,
        ..erasure.clone()
    };
    erasure.set_state(v1::ErasureState::Entombing);
    let about = erasure.erasure_id.clone();
    let event = v1::ErasureAdvanced {
        erasure: Some(erasure),
    };
    let id = id::erasure_step(&about, before);
    let record = Record::new(subject.clone(), id, SOURCE, now, event).about(about.as_str());
    log.append(record, Expect::last(subject, before)).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn kept(subject: &str, event: impl Into<Event>) -> SavedEvent {
        let event = event.into();
        SavedEvent {
            subject: subject.to_owned(),
            event_type: event.event_type().to_owned(),
            payload: hex::encode(event.encode()),
        }
    }

    fn advanced(state: v1::ErasureState, destroyed: Option<i64>) -> SavedEvent {
        let mut erasure = v1::Erasure {
            erasure_id: "e1".to_owned(),
            portfolio_id: "p1".to_owned(),
            destroy_time: destroyed.map(|second| convert::timestamp(at(second))),
            ..v1::Erasure::default()
        };
        erasure.set_state(state);
        let event = v1::ErasureAdvanced {
            erasure: Some(erasure),
        };
        kept("casement.customers.erasure.p1.e1", event)
    }

    #[test]
    fn an_erasure_is_done_again_unless_it_was_done_before_the_backup() {
        let done = v1::ErasureState::DoneButRaw;
        for (events, saved_at, expected) in [
            (vec![advanced(done, Some(50))], 60, 0),
            (vec![advanced(done, Some(50))], 40, 1),
            (vec![advanced(v1::ErasureState::Purging, None)], 60, 1),
            // The newest word of several sources counts.
            (
                vec![
                    advanced(done, Some(50)),
                    advanced(v1::ErasureState::Entombing, None),
                ],
                60,
                0,
            ),
        ] {
            let mut known = Known::default();
            known.take(&events).unwrap();
            let found = known.unfinished(at(saved_at)).len();
            assert_eq!(found, expected, "{events:?} {saved_at}");
        }
    }

    #[test]
    fn of_two_tombstones_the_later_one_holds() {
        let tombstone = |second| {
            let event = v1::CustomerErased {
                portfolio_id: "p1".to_owned(),
                erasure_id: format!("e{second}"),
                erase_time: Some(convert::timestamp(at(second))),
            };
            kept("casement.customers.erased.p1.token", event)
        };
        let mut known = Known::default();
        assert!(known.is_empty());
        known.take(&[tombstone(20), tombstone(10)]).unwrap();
        let found: Vec<_> = known.tombstones.values().map(|found| found.at).collect();
        assert_eq!(found, [at(20)]);
    }
}
