//! Pace: gives free places in numbers' rates to those who wait for them, for as long as this replica
//! is the active one, and keeps calls from going closer together than they may.

use std::time::Duration;

use casement_domain::halt::Sending;
use casement_domain::routing::Route;
use casement_domain::turns::Priority;
use casement_event::v1;
use jiff::{SignedDuration, Timestamp};
use tokio_util::sync::CancellationToken;

use crate::aggregate::Loaded;
use crate::engine::Engine;
use crate::lanes::Lanes;
use crate::rates::{Asking, Turn};

/// Wakes those whose turn it is, until stopped.
pub(crate) async fn run(lanes: Lanes, stopping: CancellationToken) -> anyhow::Result<()> {
    let (engine, mut is_active) = (&lanes.engine, lanes.is_active.clone());
    // A sender that is gone has said its last.
    let (mut was_active, mut follows) = (false, true);
    loop {
        let is_on = *is_active.borrow_and_update();
        if is_on != was_active {
            was_active = is_on;
            if is_on {
                engine.rates.take_over(engine.clock.now());
            } else {
                engine.rates.stand_by();
            }
        }
        let granted = engine.rates.grant(engine.clock.now());
        for id in &granted.ids {
            lanes.granted(id);
        }
        let again_at = granted.again_at.unwrap_or(Timestamp::MAX);
        tokio::select! {
            () = stopping.cancelled() => return Ok(()),
            changed = is_active.changed(), if follows => follows = changed.is_ok(),
            () = engine.rates.lined_up() => {}
            () = engine.clock.sleep_until(again_at), if granted.again_at.is_some() => {}
        }
    }
}

impl Engine {
    /// Returns how urgent a message is: as those are who wait behind it in its conversation.
    pub(crate) fn priority(&self, of: &Loaded) -> Priority {
        let own = of.context.priority;
        self.book
            .priority(&of.key())
            .map_or(own, |lane| lane.max(own))
    }

    /// Asks for a place in the number's rate, unless the platform wants us to wait anyway.
    pub(crate) fn turn(
        &self,
        of: &Loaded,
        account: &v1::Number,
        sending: &Sending,
        now: Timestamp,
    ) -> Turn {
        let id = &of.context.id;
        let halted_until = self.halts.ready_at(sending, now);
        if halted_until > now {
            self.rates.give_up(id);
            return Turn::Later(halted_until);
        }
        let asking = Asking {
            priority: self.priority(of),
            brand: account.brand_id.clone(),
        };
        self.rates
            .ask(id, &of.key(), asking, account.throughput, now)
    }

    /// Waits until a call that was claimed may go by the number's rate: usually not at all, since
    /// what is granted is paced already. Returns false if it may not within the time left, or if
    /// another replica has taken over.
    pub(crate) async fn paced(
        &self,
        of: &Loaded,
        route: Route,
        account: &v1::Number,
        left: Duration,
    ) -> bool {
        if !Route::WHATSAPP.contains(&route) {
            return true;
        }
        let now = self.clock.now();
        let left = SignedDuration::try_from(left).unwrap_or_default();
        let latest = now.checked_add(left).unwrap_or(now);
        let (id, key) = (&of.context.id, of.key());
        let at = self
            .rates
            .call_at(id, &key, account.throughput, now, latest);
        let Some(at) = at else {
            return false;
        };
        if at > now {
            self.clock.sleep_until(at).await;
        }
        self.rates.is_active_since(now)
    }
}
