//! What a brand's record says of its messages: how many, by which policy, with which templates, for
//! how much. It changes at run time, and the next message is met with what stands there then.

use std::collections::{HashMap, HashSet};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use casement_domain::brand::{QuotaReached, Used};
use casement_domain::id::{BusinessNumber, MessageId};
use casement_domain::routing::Policy;
use casement_event::convert::{self, timestamp};
use casement_event::subject::{self, Family};
use casement_event::{Extension, Stored, v1};
use casement_shell::grpc::refuse;
use jiff::{SignedDuration, Timestamp};
use tokio::sync::watch;
use tokio::time::timeout;
use tonic::{Code, Status};

use crate::aggregate::Loaded;
use crate::answers::internal;
use crate::grpc::Messages;
use crate::metrics;

/// What was requested longer ago than this counts towards no quota.
const COUNTS_FOR: SignedDuration = SignedDuration::from_hours(31 * 24);

/// How long a request waits, after a start, until what stands on the log is counted.
const KNOWN_WITHIN: Duration = Duration::from_secs(5);

/// The type of the first event of a message.
const REQUESTED: &str = "casement.events.v1.MessageRequested";

/// How many messages each brand asked for, by the hour.
///
/// Counted from the log, which every replica follows: one that accepts at once with another may
/// pass the quota by what the other has accepted in that moment.
#[derive(Debug, Default)]
pub(crate) struct Quotas {
    book: Mutex<Book>,
    /// Whether all that stood on the log at the start is counted.
    is_known: watch::Sender<bool>,
}

#[derive(Debug)]
struct Book {
    used: HashMap<String, Used>,
    /// Accepted here, and not yet heard of from the log.
    ours: HashSet<MessageId>,
    /// Messages that were heard of, by a hash of their id, as long as any of a message's events may
    /// be the first that is heard; `None` once all that stood on the log is known.
    met: Option<HashSet<u64>>,
}

impl Default for Book {
    fn default() -> Self {
        Self {
            used: HashMap::new(),
            ours: HashSet::new(),
            met: Some(HashSet::new()),
        }
    }
}

/// A message that is counted, and will be no longer if it is not kept.
#[must_use]
pub(crate) struct Counted<'a> {
    quotas: &'a Quotas,
    brand: String,
    id: MessageId,
    at: Timestamp,
    is_kept: bool,
}

impl Counted<'_> {
    /// The message is on the log.
    pub(crate) fn keep(mut self) {
        self.is_kept = true;
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        if !self.is_kept {
            self.quotas.take_back(&self.brand, &self.id, self.at);
        }
    }
}

impl Quotas {
    /// Takes note of an event of a message. Of what stands on the log at the start the newest event
    /// of each message comes, and then all that follow; each message counts by the first that comes.
    pub(crate) fn see(&self, stored: &Stored, now: Timestamp) {
        let Some((Family::Message, id)) = subject::parse_message(&stored.subject) else {
            return;
        };
        let is_first = match &mut self.lock().met {
            Some(met) => {
                let mut hasher = DefaultHasher::new();
                id.hash(&mut hasher);
                met.insert(hasher.finish())
            }
            None => stored.event_type() == REQUESTED,
        };
        if !is_first {
            return;
        }
        let time = |name| stored.extension(name).and_then(|text| text.parse().ok());
        let at: Option<Timestamp> =
            time(Extension::QuotaTime).or_else(|| time(Extension::RequestTime));
        let (Some(at), Some(brand)) = (at, stored.extension(Extension::Brand)) else {
            return;
        };
        let mut book = self.lock();
        let is_counted = book.ours.remove(&id);
        if is_counted || now.duration_since(at) > COUNTS_FOR {
            return;
        }
        let used = book.used.entry(brand.to_owned()).or_default();
        used.forget(now);
        used.note(at);
    }

    /// All that stood on the log at the start was heard: from now on a message begins with its
    /// request.
    pub(crate) fn caught_up(&self) {
        self.lock().met = None;
        self.is_known.send_replace(true);
    }

    /// Waits a while until all that stood on the log at the start is counted. Returns whether it is.
    async fn known(&self) -> bool {
        let mut is_known = self.is_known.subscribe();
        let waiting = is_known.wait_for(|is_known| *is_known);
        matches!(timeout(KNOWN_WITHIN, waiting).await, Ok(Ok(_)))
    }

    /// Counts a message that is to go at a time, if there is room for it. Returns when it may go.
    pub(crate) fn take(
        &self,
        brand: &v1::Brand,
        id: &MessageId,
        at: Timestamp,
    ) -> Result<(Timestamp, Counted<'_>), QuotaReached> {
        let quota = brand
            .quota
            .as_ref()
            .map(convert::brand::quota)
            .unwrap_or_default();
        let mut book = self.lock();
        let used = book.used.entry(brand.brand_id.clone()).or_default();
        let at = used.place(&quota, at)?;
        used.note(at);
        book.ours.insert(id.clone());
        let counted = Counted {
            quotas: self,
            brand: brand.brand_id.clone(),
            id: id.clone(),
            at,
            is_kept: false,
        };
        Ok((at, counted))
    }

    fn take_back(&self, brand: &str, id: &MessageId, at: Timestamp) {
        let mut book = self.lock();
        // The log may have told of it already.
        if book.ours.remove(id)
            && let Some(used) = book.used.get_mut(brand)
        {
            used.take_back(at);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Messages {
    /// Counts a message against its brand's quota, and has it wait if it must.
    pub(crate) async fn count(
        &self,
        fresh: &mut Loaded,
        now: Timestamp,
    ) -> Result<Option<Counted<'_>>, Status> {
        let brand = &fresh.context.conversation.brand;
        // Without a record there is no quota, and the log is counted all the same.
        let Some(brand) = self.engine.directory.brand(brand) else {
            return Ok(None);
        };
        if brand.quota.is_none() {
            return Ok(None);
        }
        // What was not counted yet would be given away twice.
        if !self.engine.quotas.known().await {
            let text = "messages on the log are not counted yet: try again";
            return Err(refuse(Code::Unavailable, "STARTING", text));
        }
        let wanted = fresh.message.deadline().unwrap_or(now).max(now);
        let id = fresh.context.id.clone();
        let taken = self.engine.quotas.take(&brand, &id, wanted);
        let (at, counted) = taken.map_err(|reached| quota_reached(&brand, reached))?;
        if at >= fresh.message.expires_at {
            let free_at = Some(at);
            return Err(quota_reached(&brand, QuotaReached { free_at }));
        }
        if at > wanted {
            metrics::over_quota(&brand.brand_id, "waits");
        }
        if at > now {
            let request = v1::MessageRequested {
                quota_time: Some(timestamp(at)),
                ..fresh.request.clone()
            };
            *fresh = Loaded::fresh(request, id).map_err(|error| internal(&error))?;
        }
        Ok(Some(counted))
    }

    /// Returns the policy of a message: the one that it names, its number's, or its brand's.
    pub(crate) fn policy_of(
        &self,
        asked: &str,
        number: &BusinessNumber,
        brand: &str,
    ) -> Result<&Policy, Status> {
        let policies = &self.engine.rules.routing;
        let own = self.engine.directory.brand(brand);
        let own = own.map(|brand| brand.policy).unwrap_or_default();
        policies
            .find_for(asked, number, brand, &own)
            .ok_or_else(|| {
                let text = format!(
                    "the brand's record names the policy `{own}`, which the configuration has not"
                );
                refuse(Code::FailedPrecondition, "BRAND_POLICY_UNKNOWN", text)
            })
    }

    /// Refuses a template that a number's brand may not use.
    pub(crate) fn may_use(
        &self,
        account: &v1::Number,
        content: &v1::Content,
    ) -> Result<(), Status> {
        let Some(asked) = &content.template else {
            return Ok(());
        };
        if self.engine.directory.may_use(account, &asked.name) {
            return Ok(());
        }
        let text = format!("the brand's record does not allow template {}", asked.name);
        Err(refuse(Code::PermissionDenied, "TEMPLATE_NOT_ALLOWED", text))
    }
}

fn quota_reached(brand: &v1::Brand, reached: QuotaReached) -> Status {
    metrics::over_quota(&brand.brand_id, "refused");
    let text = match reached.free_at {
        Some(at) => format!("{reached}: there is room from {at} on"),
        None => format!("{reached}, and nothing becomes free within 30 days"),
    };
    refuse(Code::ResourceExhausted, "BRAND_QUOTA_REACHED", text)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn number() -> BusinessNumber {
        BusinessNumber::parse("15550001111").unwrap()
    }

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn brand(per_hour: u32, over: v1::BrandQuotaRule) -> v1::Brand {
        v1::Brand {
            brand_id: "shop".to_owned(),
            quota: Some(v1::BrandQuota {
                messages_per_hour: per_hour,
                messages_per_day: 0,
                over_quota: over.into(),
            }),
            ..v1::Brand::default()
        }
    }

    fn event(unique: u128, sequence: u64, event_type: &str, quota_time: Option<&str>) -> Stored {
        let id = MessageId::new(&number(), unique);
        let mut headers = BTreeMap::from([
            ("ce-type".to_owned(), event_type.to_owned()),
            ("ce-brand".to_owned(), "shop".to_owned()),
            (
                "ce-requesttime".to_owned(),
                "2026-11-22T10:10:00Z".to_owned(),
            ),
        ]);
        headers.extend(quota_time.map(|at| ("ce-quotatime".to_owned(), at.to_owned())));
        Stored {
            stream: "MESSAGES".to_owned(),
            incarnation: "1".to_owned(),
            sequence,
            subject: subject::message(&id),
            stored_at: at("2026-11-22T10:10:00Z"),
            headers: headers.into_iter().collect(),
            payload: Vec::new().into(),
        }
    }

    fn in_hour(quotas: &Quotas, time: &str) -> u32 {
        let book = quotas.lock();
        book.used
            .get("shop")
            .map_or(0, |used| used.in_hour(at(time)))
    }

    #[test]
    fn each_message_counts_once_whichever_of_its_events_is_heard() {
        let quotas = Quotas::default();
        let started_at = at("2026-11-22T10:30:00Z");
        let accepted = "casement.events.v1.AttemptAccepted";
        // At the start, the newest of each.
        quotas.see(&event(1, 7, accepted, None), started_at);
        let waits = event(2, 9, REQUESTED, Some("2026-11-22T12:00:00Z"));
        quotas.see(&waits, started_at);
        // Then everything, also while others are still to come.
        quotas.see(&event(1, 10, accepted, None), started_at);
        quotas.see(&event(3, 11, REQUESTED, None), started_at);
        quotas.caught_up();
        quotas.see(&event(3, 12, accepted, None), started_at);
        quotas.see(&event(1, 13, accepted, None), started_at);
        assert_eq!(in_hour(&quotas, "2026-11-22T10:00:00Z"), 2);
        assert_eq!(in_hour(&quotas, "2026-11-22T12:00:00Z"), 1);
    }

    #[test]
    fn what_was_accepted_here_counts_before_the_log_tells_and_not_again() {
        let quotas = Quotas::default();
        let now = at("2026-11-22T10:10:00Z");
        let shop = brand(2, v1::BrandQuotaRule::Refuse);
        let id = |unique| MessageId::new(&number(), unique);
        let (_, first) = quotas.take(&shop, &id(1), now).unwrap();
        first.keep();
        quotas.caught_up();
        quotas.see(&event(1, 1, REQUESTED, None), now);
        let (_, lost) = quotas.take(&shop, &id(2), now).unwrap();
        assert!(quotas.take(&shop, &id(3), now).is_err(), "two an hour");
        drop(lost);
        let (_, second) = quotas.take(&shop, &id(3), now).unwrap();
        second.keep();
        assert_eq!(in_hour(&quotas, "2026-11-22T10:00:00Z"), 2);
    }

    #[test]
    fn what_may_wait_is_told_until_when() {
        let quotas = Quotas::default();
        let now = at("2026-11-22T10:10:00Z");
        let shop = brand(1, v1::BrandQuotaRule::Wait);
        let id = |unique| MessageId::new(&number(), unique);
        for (unique, goes_at) in [(1, now), (2, at("2026-11-22T11:00:00Z"))] {
            let (at, counted) = quotas.take(&shop, &id(unique), now).unwrap();
            counted.keep();
            assert_eq!(at, goes_at);
        }
    }
}
