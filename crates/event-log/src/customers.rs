//! Who an identifier belongs to: links on the log, one subject per identifier.
//!
//! The subject holds a keyed hash of the identifier, never the identifier. A new customer is
//! minted by an append that expects an empty subject, so that two who meet the same stranger at
//! once agree on one id.
//!
//! A customer who proves to be another has a link, too: from its id to that of the one who carries
//! on. It is written before anything else is done about it, and never taken back, so whoever
//! comes by one of the identifiers later finds the way, and finishes what was left undone. It
//! always leads to an older customer, so there are no circles.
//!
//! What proves what is decided in the domain. Ending a customer's subjects is not done here.

mod holder;
mod linking;
mod tokens;

use std::collections::{BTreeSet, HashMap};

use casement_domain::customer::{self, Identifier, Link, Resolution, Sighting, Standing, Tenure};
use casement_domain::id::{CustomerId, PortfolioId};
use casement_domain::inbound::Addresses;
use casement_event::subject::{self, stream};
use casement_event::{Event, convert, v1};
use jiff::Timestamp;

use crate::connect::Log;
use crate::erasure;
use crate::{AppendError, ReadError};
use linking::Linking;

pub use holder::{Holder, holder};
pub use tokens::Tokens;

/// How often a resolution is begun anew because another writer was faster.
const ROUNDS_MAX: usize = 16;

/// How many customers in a row may have proved to be the next one.
const MERGES_MAX: usize = 64;

/// Kind of the link from a customer who proved to be another.
const MERGED: &str = "customer";

/// A customer could not be resolved now.
#[derive(Debug, thiserror::Error)]
pub enum ResolveError {
    /// The log could not be read.
    #[error("links could not be read")]
    Read(#[from] ReadError),
    /// A link could not be written.
    #[error("link could not be written")]
    Append(#[from] AppendError),
    /// What was to be told of the customer happened before they were erased.
    #[error("customer was erased since")]
    Erased,
    /// No identifier was given.
    #[error("no identifier names the customer")]
    Nameless,
    /// Other writers were faster every time.
    #[error("links kept changing")]
    Contended,
    /// What stands on a link's subject is not a link.
    #[error("link cannot be read: {0}")]
    Unreadable(String),
}

/// A customer, and who else proved to be the same one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolved {
    /// The customer. If all links lead to one who was merged before, that one: whoever goes on
    /// with it finds its subjects ended, or asks [`survivor`].
    pub customer: CustomerId,
    /// Customers who proved to be this one and were met on the way to it, the furthest first:
    /// their subjects must be ended, and then their links moved with [`adopt`]. As long as that is
    /// not done, whoever meets the links is told again, also of those between, whom somebody may
    /// have left halfway.
    pub merged: Vec<CustomerId>,
    /// Minted just now: nobody can have written about this customer yet.
    pub is_new: bool,
}

/// Looks up the customer of the given addresses as they are now; `None` if nobody is known by
/// any of them.
pub async fn find(
    log: &Log,
    tokens: &Tokens,
    portfolio: &PortfolioId,
    addresses: &Addresses,
) -> Result<Option<CustomerId>, ResolveError> {
    let sighting = Sighting::of(addresses.clone(), Timestamp::MAX);
    let (rows, _) = load(log, tokens, portfolio, &sighting).await?;
    let resolution = customer::resolve(&sighting, &links(&rows));
    let Some((found, _)) = resolution.customer else {
        return Ok(None);
    };
    let survivor = survivor(log, portfolio, &found).await?;
    Ok(Some(survivor.unwrap_or(found)))
}

/// Returns who carries on for a customer who proved to be another; `None` if nobody does.
pub async fn survivor(
    log: &Log,
    portfolio: &PortfolioId,
    customer: &CustomerId,
) -> Result<Option<CustomerId>, ResolveError> {
    let way = way(log, portfolio, customer).await?;
    Ok(way.map(|way| way.survivor))
}

/// Returns the customer that this one proved to be, who may have proved to be another since;
/// `None` if this one carries on.
pub async fn successor(
    log: &Log,
    portfolio: &PortfolioId,
    customer: &CustomerId,
) -> Result<Option<CustomerId>, ResolveError> {
    let link = read(log, &merged_subject(portfolio, customer)).await?;
    Ok(link.map(|(_, link)| link.customer))
}

/// Returns who has the given addresses now and carries on if it was merged, minting a customer
/// if nobody knows them; every identifier is linked to it. See [`identify`].
pub async fn resolve(
    log: &Log,
    tokens: &Tokens,
    source: &'static str,
    portfolio: &PortfolioId,
    addresses: &Addresses,
    now: Timestamp,
) -> Result<Resolved, ResolveError> {
    let sighting = Sighting::of(addresses.clone(), now);
    let mut resolved = identify(log, tokens, source, portfolio, &sighting, now).await?;
    if let Some(survivor) = survivor(log, portfolio, &resolved.customer).await? {
        resolved.customer = survivor;
    }
    Ok(resolved)
}

/// Returns whose fact it is that names identifiers, minting a customer if nobody knows them;
/// links what was unknown, and records who is thereby proved to be the same.
///
/// May be repeated, and broken off anywhere: the proof is written first and the links of those
/// who lost it are moved last, by [`adopt`].
pub async fn identify(
    log: &Log,
    tokens: &Tokens,
    source: &'static str,
    portfolio: &PortfolioId,
    sighting: &Sighting,
    now: Timestamp,
) -> Result<Resolved, ResolveError> {
    let linking = Linking {
        log,
        source,
        portfolio,
        now,
    };
    for _ in 0..ROUNDS_MAX {
        let (rows, ways) = load(log, tokens, portfolio, sighting).await?;
        if rows.is_empty() {
            return Err(ResolveError::Nameless);
        }
        if rows.iter().any(|row| row.erased_at >= Some(sighting.at)) {
            return Err(ResolveError::Erased);
        }
        let resolution = customer::resolve(sighting, &links(&rows));
        // Of a phone that is somebody else's by now, the one who had it before may be gone.
        let had_it_before = |row: &Row| {
            row.link
                .as_ref()
                .is_some_and(|link| link.tenure.former.is_some())
        };
        if let Some((known, _)) = &resolution.customer
            && rows.iter().any(had_it_before)
            && erasure::of_customer(log, portfolio, known).await?.is_some()
        {
            return Err(ResolveError::Erased);
        }
        if let Some(customer) = linking.write(&rows, &resolution).await? {
            let merged = ended(sighting, &rows, &ways, &resolution, &customer);
            return Ok(Resolved {
                customer,
                merged,
                is_new: resolution.customer.is_none(),
            });
        }
    }
    Err(ResolveError::Contended)
}

/// Moves the links of customers who were merged and whose subjects were `ended` since, as far as
/// they are among the identifiers of the sighting.
///
/// May be repeated; what another writer changed meanwhile is left to whoever meets it next.
pub async fn adopt(
    log: &Log,
    tokens: &Tokens,
    source: &'static str,
    portfolio: &PortfolioId,
    sighting: &Sighting,
    ended: &[CustomerId],
    now: Timestamp,
) -> Result<(), ResolveError> {
    let linking = Linking {
        log,
        source,
        portfolio,
        now,
    };
    for row in load_rows(log, tokens, portfolio, sighting).await? {
        let Some(stored) = &row.stored else { continue };
        if !ended.contains(&stored.customer) {
            continue;
        }
        let Some(way) = way(log, portfolio, &stored.customer).await? else {
            continue;
        };
        let moved = Link {
            customer: way.survivor,
            age: way.age,
            tenure: stored.tenure.clone(),
        };
        match linking.link(&row, &moved).await {
            Ok(_) | Err(AppendError::Conflict { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

struct Row {
    identifier: Identifier,
    subject: String,
    /// Sequence of the newest message on the subject: what an append must expect.
    newest: u64,
    /// The link as it stands.
    stored: Option<Link>,
    /// The link, with those who carry on.
    link: Option<Link>,
    /// When whoever had the identifier was last erased.
    erased_at: Option<Timestamp>,
}

fn links(rows: &[Row]) -> Vec<(Identifier, Link)> {
    rows.iter()
        .filter_map(|row| Some((row.identifier.clone(), row.link.clone()?)))
        .collect()
}

/// The way from a customer who was merged to the one who carries on.
struct Way {
    /// That customer, and those between.
    ended: Vec<CustomerId>,
    survivor: CustomerId,
    age: u64,
}

type Ways = HashMap<CustomerId, Way>;

/// Returns who was met on the way to a customer and has to be ended, the furthest first.
///
/// Whoever was left halfway by somebody else is among them: a fact may stand there of which the
/// customer who carries on knows nothing yet. Whose phone it was before is met, too, and may have
/// proved to be somebody else than this customer: that one is not ours to end.
fn ended(
    sighting: &Sighting,
    rows: &[Row],
    ways: &Ways,
    resolution: &Resolution,
    customer: &CustomerId,
) -> Vec<CustomerId> {
    let leads_here =
        |survivor: &CustomerId| survivor == customer || resolution.merged.contains(survivor);
    let mut met: Vec<&CustomerId> = Vec::new();
    for row in rows {
        let Some(stored) = &row.stored else { continue };
        let tenure = &stored.tenure;
        let is_former = tenure.since.is_some_and(|since| sighting.at < since);
        let named = [
            Some(&stored.customer).filter(|_| resolution.known.contains(&row.identifier)),
            tenure.former.as_ref().filter(|_| is_former),
        ];
        for named in named.into_iter().flatten() {
            match ways.get(named) {
                Some(way) if leads_here(&way.survivor) => met.extend(&way.ended),
                None if resolution.merged.contains(named) => met.push(named),
                Some(_) | None => {}
            }
        }
    }
    met.extend(&resolution.merged);
    let mut ended: Vec<CustomerId> = Vec::new();
    for one in met {
        if one != customer && !ended.contains(one) {
            ended.push(one.clone());
        }
    }
    ended
}

/// Reads the links, and if they lead to several customers, who of them carry on.
async fn load(
    log: &Log,
    tokens: &Tokens,
    portfolio: &PortfolioId,
    sighting: &Sighting,
) -> Result<(Vec<Row>, Ways), ResolveError> {
    let mut rows = load_rows(log, tokens, portfolio, sighting).await?;
    let named: BTreeSet<CustomerId> = rows
        .iter()
        .filter_map(|row| row.stored.as_ref())
        .flat_map(|link| std::iter::once(&link.customer).chain(&link.tenure.former))
        .cloned()
        .collect();
    let mut ways = Ways::new();
    if named.len() < 2 {
        return Ok((rows, ways));
    }
    for customer in named {
        if let Some(way) = way(log, portfolio, &customer).await? {
            ways.insert(customer, way);
        }
    }
    for link in rows.iter_mut().filter_map(|row| row.link.as_mut()) {
        if let Some(way) = ways.get(&link.customer) {
            link.customer = way.survivor.clone();
            link.age = way.age;
        }
        if let Some(former) = &mut link.tenure.former
            && let Some(way) = ways.get(former)
        {
            *former = way.survivor.clone();
        }
    }
    Ok((rows, ways))
}

async fn load_rows(
    log: &Log,
    tokens: &Tokens,
    portfolio: &PortfolioId,
    sighting: &Sighting,
) -> Result<Vec<Row>, ResolveError> {
    let reading = sighting.identifiers().into_iter().map(async |identifier| {
        let token = tokens.token(portfolio, &identifier);
        let subject = subject::link(portfolio, &token);
        let tombstone = async { Ok(erasure::heard(log, portfolio, &token).await?) };
        let (read, tombstone) = futures::future::try_join(read(log, &subject), tombstone).await?;
        let newest = read.as_ref().map_or(0, |(sequence, _)| *sequence);
        let mut stored = read.map(|(_, link)| link);
        // What leads to somebody who was erased leads nowhere, whether it left the log or not.
        if tombstone.is_some()
            && let Some(link) = &stored
            && erasure::of_customer(log, portfolio, &link.customer)
                .await?
                .is_some()
        {
            stored = None;
        }
        Ok(Row {
            identifier,
            subject,
            newest,
            link: stored.clone(),
            stored,
            erased_at: tombstone.map(|tombstone| tombstone.at),
        })
    });
    futures::future::try_join_all(reading).await
}

/// Returns when whoever had one of the addresses was last erased; `None` if nobody was. What
/// happened not after that is not to be written down any more.
pub async fn erased_at(
    log: &Log,
    tokens: &Tokens,
    portfolio: &PortfolioId,
    addresses: &Addresses,
) -> Result<Option<Timestamp>, ResolveError> {
    let mut erased_at = None;
    for token in tokens_of(tokens, portfolio, addresses) {
        let tombstone = erasure::heard(log, portfolio, &token).await?;
        erased_at = erased_at.max(tombstone.map(|tombstone| tombstone.at));
    }
    Ok(erased_at)
}

/// Returns the tokens of identifiers: what their links and tombstones go by.
pub fn tokens_of(tokens: &Tokens, portfolio: &PortfolioId, addresses: &Addresses) -> Vec<String> {
    let identifiers = customer::identifiers(addresses);
    let tokens = identifiers.iter().map(|one| tokens.token(portfolio, one));
    tokens.collect()
}

/// Follows the links of those who were merged; `None` if this one was not.
async fn way(
    log: &Log,
    portfolio: &PortfolioId,
    customer: &CustomerId,
) -> Result<Option<Way>, ResolveError> {
    let mut found: Option<Way> = None;
    let mut next = customer.clone();
    for _ in 0..MERGES_MAX {
        let Some((_, link)) = read(log, &merged_subject(portfolio, &next)).await? else {
            return Ok(found);
        };
        let mut ended = found.map_or_else(Vec::new, |way| way.ended);
        ended.push(next);
        next = link.customer.clone();
        found = Some(Way {
            ended,
            survivor: link.customer,
            age: link.age,
        });
    }
    Err(ResolveError::Unreadable(format!(
        "more than {MERGES_MAX} customers in a row were merged"
    )))
}

/// The subject that says who carries on for a customer.
fn merged_subject(portfolio: &PortfolioId, customer: &CustomerId) -> String {
    subject::link(portfolio, customer.as_str())
}

async fn read(log: &Log, subject: &str) -> Result<Option<(u64, Link)>, ResolveError> {
    let Some(stored) = log.last(stream::CUSTOMERS, subject).await? else {
        return Ok(None);
    };
    let unreadable = |problem: String| ResolveError::Unreadable(problem);
    let linked = match stored.event() {
        Ok(Event::CustomerLinked(linked)) => linked,
        Ok(other) => return Err(unreadable(other.event_type().to_owned())),
        Err(error) => return Err(unreadable(error.to_string())),
    };
    let since = convert::instant("since_time", linked.since_time.as_ref())
        .map_err(|error| unreadable(error.to_string()))?;
    let customer = |text: &str| {
        CustomerId::parse(text).map_err(|error| ResolveError::Unreadable(error.to_string()))
    };
    let some = |text: &String| Some(text.clone()).filter(|text| !text.is_empty());
    let tenure = Tenure {
        standing: match linked.standing() {
            v1::PhoneStanding::Unspecified => Standing::Alone,
            v1::PhoneStanding::Held => Standing::Held,
            v1::PhoneStanding::GivenUp => Standing::GivenUp,
        },
        since,
        former: some(&linked.former_customer_id)
            .map(|former| customer(&former))
            .transpose()?,
        user_id: some(&linked.shown_user_id),
    };
    let link = Link {
        customer: customer(&linked.customer_id)?,
        // A moved link keeps the age of the customer it moved to.
        age: if linked.age == 0 {
            stored.sequence
        } else {
            linked.age
        },
        tenure,
    };
    Ok(Some((stored.sequence, link)))
}
