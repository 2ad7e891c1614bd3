//! Who an identifier belongs to: links on the log, one subject per identifier.
//!
//! The subject holds a keyed hash of the identifier, never the identifier. A new customer is
//! minted by an append that expects an empty subject, so that two who meet the same stranger at
//! once agree on one id.

use casement_domain::customer::{self, Identifier, Link, Resolution};
use casement_domain::id::{CustomerId, PortfolioId};
use casement_domain::inbound::Addresses;
use casement_event::subject::{self, stream};
use casement_event::{Event, Record, Uuid, convert, id, v1};
use hmac::{Hmac, KeyInit as _, Mac as _};
use jiff::Timestamp;
use secrecy::{ExposeSecret as _, SecretString};
use sha2::Sha256;

use crate::connect::Log;
use crate::{AppendError, Expect, ReadError};

/// How often a resolution is begun anew because another writer was faster.
const ROUNDS_MAX: usize = 16;

/// Makes subject tokens from identifiers. Keyed, so that subjects tell nothing.
///
/// The key can never change once links are stored: all roles need the same one.
#[derive(Debug, Clone)]
pub struct Tokens {
    key: SecretString,
}

impl Tokens {
    /// Takes the key.
    pub fn new(key: SecretString) -> Self {
        Self { key }
    }

    /// Returns the token: 32 hexadecimal digits.
    pub fn token(&self, portfolio: &PortfolioId, identifier: &Identifier) -> String {
        let mut mac = Hmac::<Sha256>::new_from_slice(self.key.expose_secret().as_bytes())
            .expect("HMAC takes keys of any length");
        for part in [
            portfolio.as_str(),
            identifier.kind.as_str(),
            &identifier.value,
        ] {
            mac.update(&u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
            mac.update(part.as_bytes());
        }
        hex::encode(&mac.finalize().into_bytes()[..16])
    }
}

/// A customer could not be resolved now.
#[derive(Debug, thiserror::Error)]
pub enum ResolveError {
    /// The log could not be read.
    #[error("links could not be read")]
    Read(#[from] ReadError),
    /// A link could not be written.
    #[error("link could not be written")]
    Append(#[from] AppendError),
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
    /// The customer.
    pub customer: CustomerId,
    /// Customers whose links now point to this one; their subjects must be ended.
    pub merged: Vec<CustomerId>,
}

/// Looks up the customer of the given addresses; `None` if nobody knows any of them.
pub async fn find(
    log: &Log,
    tokens: &Tokens,
    portfolio: &PortfolioId,
    addresses: &Addresses,
) -> Result<Option<CustomerId>, ResolveError> {
    let known = load(log, tokens, portfolio, addresses).await?;
    match customer::resolve(without_sequence(&known)) {
        Resolution::Mint { .. } => Ok(None),
        Resolution::Known { customer, .. }
        | Resolution::Merge {
            survivor: customer, ..
        } => Ok(Some(customer)),
    }
}

/// Returns the customer of the given addresses, minting one if nobody knows them, and links
/// every identifier to it.
pub async fn resolve(
    log: &Log,
    tokens: &Tokens,
    source: &'static str,
    portfolio: &PortfolioId,
    addresses: &Addresses,
    now: Timestamp,
) -> Result<Resolved, ResolveError> {
    let mut merged_before: Vec<CustomerId> = Vec::new();
    for _ in 0..ROUNDS_MAX {
        let known = load(log, tokens, portfolio, addresses).await?;
        if known.is_empty() {
            return Err(ResolveError::Nameless);
        }
        let (customer, merged, link) = match customer::resolve(without_sequence(&known)) {
            Resolution::Mint { link } => {
                let random = Uuid::now_v7().as_u128();
                let minted = customer::mint(random)
                    .map_err(|error| ResolveError::Unreadable(error.to_string()))?;
                (minted, Vec::new(), link)
            }
            Resolution::Known { customer, link } => (customer, Vec::new(), link),
            Resolution::Merge {
                survivor,
                merged,
                link,
            } => (survivor, merged, link),
        };
        for one in merged {
            if !merged_before.contains(&one) {
                merged_before.push(one);
            }
        }
        let linking = Linking {
            log,
            source,
            portfolio,
            now,
        };
        match linking.link_all(&known, &customer, &link).await {
            Ok(()) => {
                return Ok(Resolved {
                    customer,
                    merged: merged_before,
                });
            }
            Err(AppendError::Conflict { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(ResolveError::Contended)
}

/// Ties identifiers to a customer whom they belong to by the platform's word.
pub async fn relink(
    log: &Log,
    tokens: &Tokens,
    source: &'static str,
    portfolio: &PortfolioId,
    addresses: &Addresses,
    customer: &CustomerId,
    now: Timestamp,
) -> Result<Vec<CustomerId>, ResolveError> {
    for _ in 0..ROUNDS_MAX {
        let known = load(log, tokens, portfolio, addresses).await?;
        let moved: Vec<Identifier> = known
            .iter()
            .filter(|row| {
                row.link
                    .as_ref()
                    .is_none_or(|link| link.customer != *customer)
            })
            .map(|row| row.identifier.clone())
            .collect();
        let mut others: Vec<CustomerId> = Vec::new();
        for link in known.iter().filter_map(|row| row.link.as_ref()) {
            if link.customer != *customer && !others.contains(&link.customer) {
                others.push(link.customer.clone());
            }
        }
        let linking = Linking {
            log,
            source,
            portfolio,
            now,
        };
        match linking.link_all(&known, customer, &moved).await {
            Ok(()) => return Ok(others),
            Err(AppendError::Conflict { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(ResolveError::Contended)
}

struct Row {
    identifier: Identifier,
    subject: String,
    /// Sequence of the newest message on the subject: what an append must expect.
    newest: u64,
    link: Option<Link>,
}

fn without_sequence(known: &[Row]) -> Vec<(Identifier, Option<Link>)> {
    known
        .iter()
        .map(|row| (row.identifier.clone(), row.link.clone()))
        .collect()
}

async fn load(
    log: &Log,
    tokens: &Tokens,
    portfolio: &PortfolioId,
    addresses: &Addresses,
) -> Result<Vec<Row>, ResolveError> {
    let mut rows = Vec::new();
    for identifier in customer::identifiers(addresses) {
        let subject = subject::link(portfolio, &tokens.token(portfolio, &identifier));
        let stored = log.last(stream::CUSTOMERS, &subject).await?;
        let newest = stored.as_ref().map_or(0, |stored| stored.sequence);
        let link = match stored.map(|stored| stored.event()).transpose() {
            Ok(None) => None,
            Ok(Some(Event::CustomerLinked(linked))) => {
                let customer = CustomerId::parse(&linked.customer_id)
                    .map_err(|error| ResolveError::Unreadable(error.to_string()))?;
                // A moved link keeps the age of the customer it moved to.
                let sequence = if linked.age == 0 { newest } else { linked.age };
                Some(Link { customer, sequence })
            }
            Ok(Some(other)) => {
                return Err(ResolveError::Unreadable(other.event_type().to_owned()));
            }
            Err(error) => return Err(ResolveError::Unreadable(error.to_string())),
        };
        rows.push(Row {
            identifier,
            subject,
            newest,
            link,
        });
    }
    Ok(rows)
}

struct Linking<'a> {
    log: &'a Log,
    source: &'static str,
    portfolio: &'a PortfolioId,
    now: Timestamp,
}

impl Linking<'_> {
    /// Links one after the other: the first, strongest one decides a race.
    async fn link_all(
        &self,
        known: &[Row],
        customer: &CustomerId,
        link: &[Identifier],
    ) -> Result<(), AppendError> {
        let mut age = known
            .iter()
            .filter_map(|row| row.link.as_ref())
            .filter(|link| link.customer == *customer)
            .map(|link| link.sequence)
            .min()
            .unwrap_or_default();
        for row in known.iter().filter(|row| link.contains(&row.identifier)) {
            let previous = row
                .link
                .as_ref()
                .map(|link| link.customer.as_str().to_owned());
            let event = v1::CustomerLinked {
                portfolio_id: self.portfolio.as_str().to_owned(),
                customer_id: customer.as_str().to_owned(),
                kind: row.identifier.kind.as_str().to_owned(),
                identifier: row.identifier.value.clone(),
                link_time: Some(convert::timestamp(self.now)),
                previous_customer_id: previous.unwrap_or_default(),
                age,
            };
            let id = id::link(&row.subject, customer);
            let record = Record::new(row.subject.clone(), id, self.source, self.now, event)
                .about(customer.as_str());
            let expect = Expect::last(row.subject.clone(), row.newest);
            let position = self.log.append(record, expect).await?;
            if age == 0 {
                age = position.sequence;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use casement_domain::customer::Kind;

    use super::*;

    #[test]
    fn tokens_never_change_and_depend_on_key_portfolio_and_kind() {
        let token = |key: &str, portfolio: &str, kind| {
            Tokens::new(key.to_owned().into()).token(
                &PortfolioId::parse(portfolio).unwrap(),
                &Identifier {
                    kind,
                    value: "15550001111".to_owned(),
                },
            )
        };
        let known = token("k", "p", Kind::Phone);
        assert_eq!(known, "7dceb94556eb8515fdc68049347c8b7b");
        assert_ne!(known, token("other", "p", Kind::Phone));
        assert_ne!(known, token("k", "q", Kind::Phone));
        assert_ne!(known, token("k", "p", Kind::UserId));
    }
}
