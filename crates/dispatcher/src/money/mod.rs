//! Money in use: what messages would cost, what the month has cost, and what its caps let through.
//!
//! What was spent is a sum over the events of messages: a claim reserves its estimate, and what
//! is told later replaces it. Every replica adds it up from the log, so all know the same. Before
//! a decision it is proved that everything claimed up to a moment ago is in the sum, and a claim
//! of our own counts from before it is appended: one replica never passes a cap, however many
//! messages it has in hand. Where two send at once each may not know of the other's newest claims.
//!
//! Prices and the order of rows are in the domain; what reports say of bills is next door.

mod bill;
mod card;
mod config;
mod follow;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use casement_domain::id::{MessageId, Phone};
use casement_domain::inbound::Addresses;
use casement_domain::money::{
    self, Allowance, Cap, Circumstances, Costs, Ledger, Month, Owner, Reading, Spend,
};
use casement_domain::routing::{Input, Route};
use casement_domain::window::{EntryPointState, Facts, Policy};
use casement_event::convert::message::money::{cost_of, owner_of, read_spend, reserve, reserved};
use casement_event::subject::{Family, stream};
use casement_event::{Event, v1};
use casement_event_log::directory::Directory;
use casement_event_log::{Log, ReadError};
use jiff::Timestamp;
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

use crate::aggregate::Loaded;
use crate::metrics;

pub(crate) use bill::{billed, shown, total};
pub(crate) use config::Plan;
pub use config::{Caps, Config};
pub(crate) use follow::run;

/// How old the proof may be that every claim is in the sum.
const PROOF_AGE_MAX: Duration = Duration::from_millis(500);

/// How long the sum is waited for to catch up.
const PROOF_WITHIN: Duration = Duration::from_secs(2);

/// What the month has cost is not known now.
#[derive(Debug, thiserror::Error)]
pub(crate) enum MoneyError {
    #[error("claims could not be read")]
    Read(#[from] ReadError),
    #[error("what was spent is not added up yet")]
    Behind,
}

/// Prices, caps and the sum. Safe to share.
pub(crate) struct Money {
    /// `None` without a rate card: nothing is priced, counted or capped.
    plan: Option<Plan>,
    /// Where the caps of brands stand that change at run time.
    directory: Option<Directory>,
    book: Mutex<Book>,
    /// The sequence up to which the log is in the sum; `None` before it has caught up once.
    through: watch::Sender<Option<u64>>,
    proven: tokio::sync::Mutex<Option<Instant>>,
}

/// The sum, with claims that are not yet heard of from the log.
#[derive(Debug, Default)]
struct Book {
    ledger: Ledger,
    pending: HashMap<(MessageId, u32), (Owner, Month, Spend)>,
    /// The newest month of a claim.
    newest: Option<Month>,
}

/// A message about to be claimed.
struct Claim<'a> {
    id: &'a MessageId,
    attempt: u32,
    route: Route,
    owner: &'a Owner,
}

/// What a claim is let through for.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Reserved {
    /// This is reserved; nothing without a rate card or a price.
    Yes(Option<v1::Cost>),
    /// Somebody else was faster and the cap is reached.
    No,
}

impl Money {
    pub(crate) fn new(plan: Option<Plan>) -> Self {
        Self {
            plan,
            directory: None,
            book: Mutex::default(),
            through: watch::channel(None).0,
            proven: tokio::sync::Mutex::default(),
        }
    }

    /// Has the caps of brands' records go before those of the configuration.
    pub(crate) fn with_caps_of(mut self, directory: Directory) -> Self {
        self.directory = Some(directory);
        self
    }

    /// What a brand's month may cost, in millionths; `None` for any amount.
    fn limit_of(&self, plan: &Plan, brand: &str) -> Option<u64> {
        let record = self.directory.as_ref().and_then(|known| known.brand(brand));
        let own = record.and_then(|record| money::parse_micros(&record.monthly_cap));
        own.or_else(|| plan.brands.get(brand).copied())
    }

    /// Waits until everything that the log held at the start is in the sum.
    pub(crate) async fn known(&self) {
        if self.plan.is_some() {
            // The sender lives as long as we do.
            let _ = self.through.subscribe().wait_for(Option::is_some).await;
        }
    }

    /// Proves that every claim stored half a second ago is in the sum.
    pub(crate) async fn prove(&self, log: &Log) -> Result<(), MoneyError> {
        if self.plan.is_none() {
            return Ok(());
        }
        // Who waits here finds the proof of whoever was first.
        let mut proven = self.proven.lock().await;
        if proven.is_some_and(|at| at.elapsed() < PROOF_AGE_MAX) {
            return Ok(());
        }
        let asked = Instant::now();
        let last = log
            .last(stream::MESSAGES, &Family::Message.filter())
            .await?;
        let last = last.map_or(0, |stored| stored.sequence);
        let mut through = self.through.subscribe();
        let reached = through.wait_for(|through| through.is_some_and(|at| at >= last));
        match timeout(PROOF_WITHIN, reached).await {
            Ok(Ok(_)) => {}
            Ok(Err(_)) | Err(_) => return Err(MoneyError::Behind),
        }
        *proven = Some(asked);
        Ok(())
    }

    /// Returns what the routes of a message would cost now, with the caps that it counts against.
    fn costs(
        &self,
        of: &Reading<'_>,
        owner: &Owner,
        phone: Option<&str>,
        (facts, policy): (&Facts, &Policy),
        now: Timestamp,
    ) -> Costs {
        let Some(plan) = &self.plan else {
            return Costs::default();
        };
        let month = plan.month(now);
        let limit = self.limit_of(plan, &owner.brand);
        let book = self.book();
        let entry_point = facts.free_entry_point(policy, now);
        let at = Circumstances {
            on: plan.day(now),
            phone,
            number: &owner.number,
            window_is_open: facts.is_open(policy, now),
            // What is only thought may be billed after all.
            entry_point_is_open: entry_point
                .is_some_and(|one| one.state == EntryPointState::Open && one.is_confirmed),
            free_service_messages_used: book
                .ledger
                .of_number(&owner.number, month)
                .free_service_messages,
        };
        let mut costs = money::estimate(&plan.card, of, &at);
        costs.caps = caps(plan, limit, &book.ledger, owner, month);
        costs
    }

    /// Returns what the routes that a decision weighs would cost.
    pub(crate) fn costs_of(
        &self,
        of: &Input<'_>,
        owner: &Owner,
        addresses: &Addresses,
        now: Timestamp,
    ) -> Costs {
        let size = of.sms.as_ref();
        let reading = Reading {
            has_free_form: of.has_free_form,
            template: of.template.map(|asked| asked.known.as_ref()?.category),
            purpose: of.purpose,
            sms: size.and_then(|size| Some((size.segments, of.first_gateway()?))),
        };
        let phone = addresses.phone.as_ref().map(Phone::digits);
        self.costs(&reading, owner, phone, (of.window, of.window_policy), now)
    }

    /// Reserves what a claim is expected to cost, before it is appended.
    pub(crate) fn reserve(
        &self,
        of: &Loaded,
        attempt: u32,
        route: Route,
        costs: &Costs,
        now: Timestamp,
    ) -> Reserved {
        let claim = Claim {
            id: &of.context.id,
            attempt,
            route,
            owner: &owner(of),
        };
        self.reserve_claim(&claim, costs, now)
    }

    fn reserve_claim(&self, claim: &Claim<'_>, of: &Costs, now: Timestamp) -> Reserved {
        let Some(plan) = &self.plan else {
            return Reserved::Yes(None);
        };
        let Some(Ok(estimate)) = of.estimate(claim.route) else {
            return Reserved::Yes(None);
        };
        let month = plan.month(now);
        let spend = reserve(&estimate);
        let limit = self.limit_of(plan, &claim.owner.brand);
        let mut book = self.book();
        // Others were claimed since the decision.
        let costs = Costs {
            caps: caps(plan, limit, &book.ledger, claim.owner, month),
            ..of.clone()
        };
        let used = book.ledger.of_number(&claim.owner.number, month);
        let tier = plan.card.terms(plan.day(now)).free_service_messages;
        let is_free_gone = spend.free_service_messages > 0 && used.free_service_messages >= tier;
        if is_free_gone || costs.allowance(claim.route) != Allowance::Within {
            return Reserved::No;
        }
        book.ledger.add(claim.owner, month, spend);
        let key = (claim.id.clone(), claim.attempt);
        book.pending
            .insert(key, (claim.owner.clone(), month, spend));
        Reserved::Yes(Some(reserved(&estimate, month)))
    }

    /// Gives back what was reserved for a claim that does not stand, if the log was not heard to
    /// say otherwise.
    pub(crate) fn give_back(&self, id: &MessageId, attempt: u32) {
        self.book().settle(&(id.clone(), attempt));
    }

    /// Takes an event of a message into the sum.
    fn hear(&self, id: &MessageId, event: &Event) {
        let (Some((attempt, cost)), Some(owner)) = (cost_of(event), owner_of(event)) else {
            return;
        };
        let mut book = self.book();
        if matches!(event, Event::AttemptStarted(_)) {
            book.settle(&(id.clone(), attempt));
        }
        if let Some((month, spend)) = cost.replaced.as_ref().and_then(read_spend) {
            book.ledger.take_back(&owner, month, spend);
        }
        if let Some((month, spend)) = cost.counted.as_ref().and_then(read_spend) {
            book.ledger.add(&owner, month, spend);
            let newest = book.newest.map_or(month, |known| known.max(month));
            book.newest = Some(newest);
            metrics::month(
                &owner.brand,
                book.ledger.of_brand(&owner.brand, newest).micros,
            );
        }
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Book {
    /// Takes a claim of our own out of the sum, unless the log has told of it already.
    fn settle(&mut self, claim: &(MessageId, u32)) {
        if let Some((owner, month, spend)) = self.pending.remove(claim) {
            self.ledger.take_back(&owner, month, spend);
        }
    }

    /// Returns what the log alone says.
    fn on_record(&self) -> Ledger {
        let mut ledger = self.ledger.clone();
        for (owner, month, spend) in self.pending.values() {
            ledger.take_back(owner, *month, *spend);
        }
        ledger
    }
}

/// Returns whose money a message is.
pub(crate) fn owner(of: &Loaded) -> Owner {
    Owner {
        number: of.number().digits().to_owned(),
        brand: of.context.conversation.brand.clone(),
    }
}

/// The caps that a message counts against, the brand's first.
fn caps(
    plan: &Plan,
    of_brand: Option<u64>,
    ledger: &Ledger,
    owner: &Owner,
    month: Month,
) -> Vec<Cap> {
    let cap = |of, limit: Option<u64>, spent: Spend| {
        Some(Cap {
            of,
            limit: plan.card.amount(limit?),
            spent: plan.card.amount(spent.micros),
        })
    };
    let (brand, number) = (&owner.brand, &owner.number);
    let of_brand = cap("brand", of_brand, ledger.of_brand(brand, month));
    let of_number = cap(
        "number",
        plan.numbers.get(number).copied(),
        ledger.of_number(number, month),
    );
    [of_brand, of_number].into_iter().flatten().collect()
}
