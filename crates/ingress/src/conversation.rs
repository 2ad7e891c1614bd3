//! A customer's fact finds its customer and its place: known facts are dropped, new ones carry
//! the summary of all before them, and what comes too late to tell is kept apart.
//!
//! Every append expects the newest message of the subject, so that two who bring facts of one
//! customer at once decide one after the other.

use casement_domain::customer::Sighting;
use casement_domain::erasure;
use casement_domain::id::CustomerId;
use casement_domain::inbound::{self, Addresses, Arrival, Summary};
use casement_event::subject::{Family, conversation, stream};
use casement_event::{Stored, convert, v1};
use casement_event_log::customers::{self, ResolveError};
use casement_event_log::{AppendError, Expect};
use jiff::Timestamp;

use crate::SOURCE;
use crate::draft::{Draft, Stamp};
use crate::error::Setback;
use crate::heads::Head;
use crate::place::{Desk, Home, Post};
use crate::recent::Line;
use crate::search::{self, Found};

/// How often an append is decided anew because another writer was faster, or because the
/// customer carries on under another id.
pub(crate) const ROUNDS_MAX: usize = 64;

/// What is not taken up, since its customer was erased after it, is counted as this.
pub(crate) const ERASED: &str = "erased";

/// What became of a fact.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Settled {
    /// It is stored.
    Stored,
    /// It was stored before.
    Known,
    /// Nobody can tell whether it is new; it is kept as a late fact.
    Late,
    /// It names no customer.
    Nameless,
    /// It happened before its customer was erased, and is not taken up again.
    Erased,
}

impl Settled {
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::Stored => "stored",
            Self::Known => "known",
            Self::Late => "late",
            Self::Nameless => "nameless",
            Self::Erased => ERASED,
        }
    }
}

/// Puts a fact on its customer's inbound subject, unless it stands there.
pub(crate) async fn settle(
    desk: &Desk,
    home: &Home,
    post: &Post,
    origin: &v1::RawOrigin,
    draft: &Draft,
) -> Result<Settled, Setback> {
    if draft.addresses.is_empty() && draft.previous.is_none() {
        return Ok(Settled::Nameless);
    }
    let draft = &draft
        .placed(post.received, desk.future_tolerance)
        .since(home.onboarded_at, &desk.policy);
    if draft.stated_at.is_some() {
        metrics::counter!("casement_ingress_facts_put_back_total").increment(1);
    }
    let sighting = Sighting {
        at: draft.at,
        current: draft.addresses.clone(),
        previous: draft.previous.clone(),
    };
    for _ in 0..ROUNDS_MAX {
        let customer = match identify(desk, home, post, &sighting).await {
            Err(Setback::Resolve(ResolveError::Erased)) => return Ok(Settled::Erased),
            customer => customer?,
        };
        // On the heap, since it holds the event and its summary, and many callers stand above.
        let appending = append(desk, home, post, origin, draft, (customer, &sighting));
        match Box::pin(appending).await {
            // The customer was erased meanwhile: who has the addresses now is somebody new, or the
            // fact is one of those that are not taken up.
            Ok(Settled::Erased) => {}
            settled => return settled,
        }
    }
    Ok(Settled::Erased)
}

/// Whether what happened at a time to whoever has these addresses was erased.
pub(crate) async fn is_erased(
    desk: &Desk,
    home: &Home,
    addresses: &Addresses,
    at: Timestamp,
) -> Result<bool, Setback> {
    let erased_at =
        customers::erased_at(&desk.log, &desk.tokens, &home.portfolio, addresses).await?;
    Ok(erasure::is_erased(at, erased_at))
}

/// Returns who has the addresses now, and carries on if it was merged.
pub(crate) async fn resolve(
    desk: &Desk,
    home: &Home,
    post: &Post,
    addresses: &Addresses,
) -> Result<CustomerId, Setback> {
    let sighting = Sighting::of(addresses.clone(), post.received);
    let customer = identify(desk, home, post, &sighting).await?;
    let survivor = customers::survivor(&desk.log, &home.portfolio, &customer).await?;
    Ok(survivor.unwrap_or(customer))
}

/// Returns whose fact it is, and ends those who thereby prove to be the same customer.
async fn identify(
    desk: &Desk,
    home: &Home,
    post: &Post,
    sighting: &Sighting,
) -> Result<CustomerId, Setback> {
    let resolved = customers::identify(
        &desk.log,
        &desk.tokens,
        SOURCE,
        &home.portfolio,
        sighting,
        desk.clock.now(),
    )
    .await?;
    merge(
        desk,
        home,
        post,
        sighting,
        &resolved.merged,
        &resolved.customer,
    )
    .await?;
    if resolved.is_new {
        // Nothing to be looked for there. Whoever is faster all the same refuses the append.
        let subject = conversation(Family::Inbound, &home.number, &resolved.customer);
        desk.heads.put(&subject, Head::default());
    }
    Ok(resolved.customer)
}

/// Ends customers, and moves their links last: as long as those stand, somebody will see to it
/// that all else is done.
async fn merge(
    desk: &Desk,
    home: &Home,
    post: &Post,
    sighting: &Sighting,
    ended: &[CustomerId],
    survivor: &CustomerId,
) -> Result<(), Setback> {
    if ended.is_empty() {
        return Ok(());
    }
    for loser in ended {
        crate::merge::end(desk, home, post, loser, survivor).await?;
    }
    customers::adopt(
        &desk.log,
        &desk.tokens,
        SOURCE,
        &home.portfolio,
        sighting,
        ended,
        desk.clock.now(),
    )
    .await?;
    Ok(())
}

/// The newest message of a customer's inbound subject.
pub(crate) struct Last {
    pub(crate) subject: String,
    /// What an append must expect; 0 for an empty subject.
    pub(crate) sequence: u64,
    pub(crate) summary: Summary,
    pub(crate) survivor: Option<CustomerId>,
}

impl Last {
    /// Reads it, and if nothing stands there, whether that is because the customer ended before
    /// the log was purged.
    async fn load_living(desk: &Desk, home: &Home, customer: &CustomerId) -> Result<Self, Setback> {
        let mut last = Self::load(desk, home, customer).await?;
        if last.sequence == 0 {
            // One step only: each on the way is ended before the next is gone on to.
            last.survivor = customers::successor(&desk.log, &home.portfolio, customer).await?;
        }
        Ok(last)
    }

    /// What stands last as far as this process knows: good for an append that expects it.
    fn of(subject: &str, head: Head) -> Self {
        Self {
            subject: subject.to_owned(),
            sequence: head.sequence,
            summary: head.summary,
            survivor: None,
        }
    }

    fn head(self) -> Head {
        Head {
            sequence: self.sequence,
            summary: self.summary,
        }
    }

    pub(crate) async fn load(
        desk: &Desk,
        home: &Home,
        customer: &CustomerId,
    ) -> Result<Self, Setback> {
        let subject = conversation(Family::Inbound, &home.number, customer);
        let stored: Option<Stored> = desk.log.last(stream::EVENTS, &subject).await?;
        let known = stored.as_ref().map(search::read).transpose()?;
        let sequence = stored.map_or(0, |stored| stored.sequence);
        let (summary, moved_to) = match known {
            None => (Summary::default(), None),
            Some(known) => (known.summary, known.moved_to),
        };
        Ok(Self {
            subject,
            sequence,
            summary,
            survivor: moved_to.map(|moved| moved.survivor),
        })
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Decision {
    New,
    Known,
    Late,
}

async fn decide(desk: &Desk, last: &Last, draft: &Draft) -> Result<Decision, Setback> {
    // It may stand there as a fact of its receipt, from when its time was not possible yet.
    let may_stand_earlier = last.summary.stated_until >= Some(draft.at);
    let repeats_within = if may_stand_earlier {
        draft.repeats_within.max(inbound::REPEATS_FOR)
    } else {
        draft.repeats_within
    };
    let earliest = draft.at.saturating_sub(repeats_within).unwrap_or(draft.at);
    if last.summary.last_event_at.is_some() {
        if inbound::arrival(&last.summary, earliest) == Arrival::New {
            return Ok(Decision::New);
        }
        match search::find(desk, &last.subject, last.sequence, earliest, draft.id).await? {
            Found::Yes => return Ok(Decision::Known),
            Found::TooFar => return Ok(Decision::Late),
            Found::No => {}
        }
    }
    // What has only the post's time was received just now.
    if !draft.repeats_within.is_zero() {
        return Ok(Decision::New);
    }
    // It is not there, but it may have been there before the log was purged.
    let is_behind = desk
        .horizon
        .is_behind(&desk.log, draft.at, desk.clock.now())
        .await?;
    Ok(if is_behind {
        Decision::Late
    } else {
        Decision::New
    })
}

async fn append(
    desk: &Desk,
    home: &Home,
    post: &Post,
    origin: &v1::RawOrigin,
    draft: &Draft,
    (customer, sighting): (CustomerId, &Sighting),
) -> Result<Settled, Setback> {
    let contribution = draft.summary(post.received, &desk.policy);
    let mut customer = customer;
    for _ in 0..ROUNDS_MAX {
        let subject = conversation(Family::Inbound, &home.number, &customer);
        let turn = desk.queues.turn(&subject).await;
        let last = match desk.heads.take(&subject) {
            Some(head) => Last::of(&subject, head),
            None => Last::load_living(desk, home, &customer).await?,
        };
        // Nothing stands there, or nothing any more.
        if last.sequence == 0
            && last.survivor.is_none()
            && casement_event_log::erasure::heard(&desk.log, &home.portfolio, customer.as_str())
                .await
                .map_err(Setback::Read)?
                .is_some()
        {
            return Ok(Settled::Erased);
        }
        if let Some(survivor) = last.survivor {
            drop(turn);
            // What was brought along has to stand there first: the fact may be among it.
            let ended = std::slice::from_ref(&customer);
            merge(desk, home, post, sighting, ended, &survivor).await?;
            customer = survivor;
            continue;
        }
        let decision = decide(desk, &last, draft).await?;
        let before = last.summary.last_event_at;
        let stamp = |summary: &Summary| Stamp {
            conversation: home.conversation(&customer),
            times: v1::Times {
                stated_time: draft.stated_at.map(convert::timestamp),
                ..post.times(draft.at)
            },
            origin: origin.clone(),
            summary: convert::inbound::summary(summary),
            qualifies: desk.policy.qualifies(draft.kind),
        };
        let (event, summary, settled) = match decision {
            Decision::Known => {
                desk.heads.put(&subject, last.head());
                return Ok(Settled::Known);
            }
            Decision::New => {
                let summary = last.summary.join(contribution.clone());
                (draft.stamped(&stamp(&summary)), summary, Settled::Stored)
            }
            Decision::Late => {
                let fact = draft.stamped(&stamp(&contribution));
                let summary = late_summary(last.summary, draft);
                let stamp = stamp(&summary);
                let event = v1::LateFact {
                    conversation: Some(stamp.conversation),
                    times: Some(stamp.times),
                    origin: Some(stamp.origin),
                    summary: Some(stamp.summary),
                    fact_type: fact.event_type().to_owned(),
                    fact: fact.encode().to_vec(),
                    fact_id: draft.id.to_string(),
                };
                (event.into(), summary, Settled::Late)
            }
        };
        let record = post.record(last.subject.clone(), draft.id, draft.at, event);
        let record = home.mark_customer(record, &customer);
        let expect = Expect::last(last.subject, last.sequence);
        match desk.log.append(record, expect).await {
            Ok(position) => {
                let line = Line {
                    sequence: position.sequence,
                    id: Some(draft.id),
                    last_event_at: before.max(Some(draft.at)),
                    merged: None,
                };
                desk.recent.appended(&subject, last.sequence, before, line);
                let sequence = position.sequence;
                desk.heads.put(&subject, Head { sequence, summary });
                return Ok(settled);
            }
            Err(AppendError::Conflict { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(contended(home, &customer))
}

/// A late fact opens nothing and moves no address; only its time counts, so that it is found
/// when it comes again.
fn late_summary(known: Summary, draft: &Draft) -> Summary {
    known.join(Summary {
        last_event_at: Some(draft.at),
        ..Summary::default()
    })
}

pub(crate) fn contended(home: &Home, customer: &CustomerId) -> Setback {
    Setback::Contended {
        subject: conversation(Family::Inbound, &home.number, customer),
    }
}
