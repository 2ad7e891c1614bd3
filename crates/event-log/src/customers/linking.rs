//! Links as they are written: first who carries on for whom, then each identifier's own.

use casement_domain::customer::{self, Kind, Link, Resolution, Standing};
use casement_domain::id::{CustomerId, PortfolioId};
use casement_event::{Record, Uuid, convert, id, v1};
use jiff::Timestamp;

use super::{MERGED, ResolveError, Row, merged_subject};
use crate::connect::Log;
use crate::{AppendError, Expect};

/// Who writes links, where and when.
pub(super) struct Linking<'a> {
    pub(super) log: &'a Log,
    pub(super) source: &'static str,
    pub(super) portfolio: &'a PortfolioId,
    pub(super) now: Timestamp,
}

impl Linking<'_> {
    /// Writes what follows, and returns the customer; `None` if another writer was faster.
    pub(super) async fn write(
        &self,
        rows: &[Row],
        resolution: &Resolution,
    ) -> Result<Option<CustomerId>, ResolveError> {
        let (customer, mut age) = if let Some(known) = &resolution.customer {
            known.clone()
        } else {
            let minted = customer::mint(Uuid::now_v7().as_u128())
                .map_err(|error| ResolveError::Unreadable(error.to_string()))?;
            (minted, 0)
        };
        for merged in &resolution.merged {
            match self.merge(merged, &customer, age).await {
                Ok(_) => {}
                Err(AppendError::Conflict { .. }) => return Ok(None),
                Err(error) => return Err(error.into()),
            }
        }
        // One after the other: the first, strongest one decides a race for a new customer.
        for new in &resolution.link {
            let Some(row) = rows.iter().find(|row| row.identifier == new.identifier) else {
                continue;
            };
            let is_known = resolution.known.contains(&new.identifier);
            let (customer, age_then) = match &row.stored {
                // Moved once its customer has ended, if that is another one.
                Some(stored) if is_known => (stored.customer.clone(), stored.age),
                _ => (customer.clone(), age),
            };
            let link = Link {
                customer,
                age: age_then,
                tenure: new.tenure.clone(),
            };
            match self.link(row, &link).await {
                Ok(sequence) if age == 0 => age = sequence,
                Ok(_) => {}
                Err(AppendError::Conflict { .. }) => return Ok(None),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(Some(customer))
    }

    /// Writes who carries on for a customer; once for ever.
    pub(super) async fn merge(
        &self,
        merged: &CustomerId,
        survivor: &CustomerId,
        age: u64,
    ) -> Result<u64, AppendError> {
        let subject = merged_subject(self.portfolio, merged);
        let event = v1::CustomerLinked {
            portfolio_id: self.portfolio.as_str().to_owned(),
            customer_id: survivor.as_str().to_owned(),
            kind: MERGED.to_owned(),
            identifier: merged.as_str().to_owned(),
            link_time: Some(convert::timestamp(self.now)),
            age,
            ..v1::CustomerLinked::default()
        };
        let id = id::link(&subject, survivor);
        self.append(subject, id, 0, survivor, event).await
    }

    pub(super) async fn link(&self, row: &Row, link: &Link) -> Result<u64, AppendError> {
        let previous = row
            .stored
            .as_ref()
            .map(|stored| stored.customer.as_str().to_owned())
            .filter(|previous| previous != link.customer.as_str());
        let (standing, word) = match link.tenure.standing {
            Standing::Alone => (v1::PhoneStanding::Unspecified, "alone"),
            Standing::Held => (v1::PhoneStanding::Held, "held"),
            Standing::GivenUp => (v1::PhoneStanding::GivenUp, "given_up"),
        };
        let mut event = v1::CustomerLinked {
            portfolio_id: self.portfolio.as_str().to_owned(),
            customer_id: link.customer.as_str().to_owned(),
            kind: row.identifier.kind.as_str().to_owned(),
            identifier: row.identifier.value.clone(),
            link_time: Some(convert::timestamp(self.now)),
            previous_customer_id: previous.unwrap_or_default(),
            age: link.age,
            ..v1::CustomerLinked::default()
        };
        let id = if row.identifier.kind == Kind::Phone {
            let text = |id: &Option<CustomerId>| {
                id.as_ref()
                    .map(|id| id.as_str().to_owned())
                    .unwrap_or_default()
            };
            event.set_standing(standing);
            event.since_time = link.tenure.since.map(convert::timestamp);
            event.former_customer_id = text(&link.tenure.former);
            event.shown_user_id = link.tenure.user_id.clone().unwrap_or_default();
            id::phone_link(&row.subject, &link.customer, word, link.tenure.since)
        } else {
            id::link(&row.subject, &link.customer)
        };
        self.append(row.subject.clone(), id, row.newest, &link.customer, event)
            .await
    }

    async fn append(
        &self,
        subject: String,
        id: Uuid,
        expected: u64,
        about: &CustomerId,
        event: v1::CustomerLinked,
    ) -> Result<u64, AppendError> {
        let record =
            Record::new(subject.clone(), id, self.source, self.now, event).about(about.as_str());
        let position = self
            .log
            .append(record, Expect::last(subject, expected))
            .await?;
        Ok(position.sequence)
    }
}
