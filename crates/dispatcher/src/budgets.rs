//! The budgets of portfolios: how many customers each may write to first in a day.
//!
//! Counted from the log, where the newest event of each message says when it was claimed for as
//! the first word: whoever takes over has seen all of them. Numbers of one portfolio count
//! together, and so do all replicas, which follow the same events.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use casement_domain::budget::{Budget, DAY};
use casement_domain::halt::{PORTFOLIO_LIMIT, Stop};
use casement_domain::id::CustomerId;
use casement_domain::routing::Decision;
use casement_event::subject::{self, Family};
use casement_event::{Extension, Stored, v1};
use casement_event_log::directory::Directory;
use jiff::Timestamp;

use crate::metrics;

/// The budgets, by portfolio.
#[derive(Debug, Default)]
pub(crate) struct Budgets(Mutex<HashMap<String, Budget<CustomerId>>>);

impl Budgets {
    /// Takes note of an event of a message, if that went out as the first word in the last day.
    pub(crate) fn see(&self, stored: &Stored, directory: &Directory) {
        let Some((Family::Message, id)) = subject::parse_message(&stored.subject) else {
            return;
        };
        let initiated = stored.extension(Extension::InitiateTime);
        let initiated = initiated.and_then(|text| text.parse::<Timestamp>().ok());
        let Some(at) = initiated.filter(|at| stored.stored_at.duration_since(*at) < DAY) else {
            return;
        };
        let customer = stored.extension(Extension::Customer).unwrap_or_default();
        if let (Ok(customer), Some(account)) =
            (CustomerId::parse(customer), directory.number(id.number()))
        {
            self.lock()
                .entry(account.portfolio_id)
                .or_default()
                .note(customer, at);
        }
    }

    /// Returns what stops a template to a customer whose window is closed, if anything does.
    pub(crate) fn stop(
        &self,
        account: &v1::Number,
        customer: &CustomerId,
        directory: &Directory,
        now: Timestamp,
    ) -> Option<Stop> {
        let limit = directory.messaging_limit(&account.portfolio_id)?;
        let mut budgets = self.lock();
        let budget = budgets.entry(account.portfolio_id.clone()).or_default();
        let free_at = budget.free_at(customer, limit, now);
        (free_at > now).then(|| Stop::by_budget(limit, free_at))
    }

    /// Takes a place for a customer; false if somebody else was faster.
    pub(crate) fn take(
        &self,
        account: &v1::Number,
        customer: &CustomerId,
        directory: &Directory,
        now: Timestamp,
    ) -> bool {
        let Some(limit) = directory.messaging_limit(&account.portfolio_id) else {
            return true;
        };
        let mut budgets = self.lock();
        let budget = budgets.entry(account.portfolio_id.clone()).or_default();
        let is_taken = budget.take(customer, limit, now).is_ok();
        metrics::budget(is_taken);
        is_taken
    }

    /// Promises a customer whose message waits for the budget the next place that becomes free.
    pub(crate) fn put_off(
        &self,
        account: &v1::Number,
        customer: &CustomerId,
        decision: &Decision,
        directory: &Directory,
        now: Timestamp,
    ) {
        let stop = decision.halted_by.as_ref();
        let waits = decision.chosen.is_none() && stop.is_some_and(|it| it.cause == PORTFOLIO_LIMIT);
        if let Some(limit) = directory.messaging_limit(&account.portfolio_id)
            && waits
        {
            let mut budgets = self.lock();
            let budget = budgets.entry(account.portfolio_id.clone()).or_default();
            budget.promise(customer.clone(), limit, now);
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Budget<CustomerId>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
