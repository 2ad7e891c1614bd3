//! What follows when halts change: messages that waited go on, and facts lift halts.
//!
//! On the active replica. Nothing here is needed for a halt to be kept to.

use std::collections::BTreeMap;
use std::time::Duration;

use casement_domain::halt::{Cause, Halt, Scope};
use casement_domain::id::BusinessNumber;
use casement_event::v1;
use casement_event_log::deadline::Progress;
use jiff::Timestamp;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::{HaltError, Lifting, gateways, orders};
use crate::engine::Engine;
use crate::lanes::Lanes;
use crate::{metrics, standing};

/// How often facts are looked for that lift halts, and halts that may be probed.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// How often those are looked for who wait for a halt that is over, without a reason.
const SWEEP_INTERVAL: Duration = Duration::from_secs(30);

/// Watches until stopped, once it is known which messages wait.
pub(crate) async fn run(
    lanes: Lanes,
    mut progress: watch::Receiver<Progress>,
    stopping: CancellationToken,
) -> anyhow::Result<()> {
    tokio::select! {
        () = stopping.cancelled() => return Ok(()),
        // An index that has ended is heard of elsewhere.
        _ = progress.wait_for(|progress| progress.is_caught_up) => {}
    }
    let engine = &lanes.engine;
    let mut accounts = engine.directory.changed();
    let mut is_active = lanes.is_active.clone();
    let mut look = interval(LOOK_INTERVAL);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut swept = Instant::now();
    let mut before = BTreeMap::new();
    let mut gone = Vec::new();
    let (mut follows_accounts, mut follows_lease) = (true, true);
    let mut is_due = true;
    loop {
        let now = engine.clock.now();
        metrics::halts(&engine.halts.standing(now));
        if *is_active.borrow() {
            let in_force = engine.halts.in_force(now);
            if is_due || swept.elapsed() >= SWEEP_INTERVAL || in_force != before {
                sweep(&lanes, &before, &in_force, is_due);
                before = in_force;
                swept = Instant::now();
            }
            gone = see_off(&lanes, &gone);
            // A halt that cannot be lifted now is looked at again.
            if let Err(error) = by_facts(engine, now).await {
                tracing::warn!(error = %error, "halts could not be lifted");
            }
            for id in engine.halts.to_probe(now) {
                lanes.wake_one_of(&id);
            }
        }
        is_due = tokio::select! {
            () = stopping.cancelled() => return Ok(()),
            _ = look.tick() => false,
            changed = accounts.changed(), if follows_accounts => {
                follows_accounts = changed.is_ok();
                false
            }
            changed = is_active.changed(), if follows_lease => {
                follows_lease = changed.is_ok();
                true
            }
        };
    }
}

/// Wakes who waits for a halt that is over, or that ends at another time than was told; and who
/// waits for a gateway, if another one is back, or `is_first` says that nobody has looked.
fn sweep(
    lanes: &Lanes,
    before: &BTreeMap<String, Option<Timestamp>>,
    in_force: &BTreeMap<String, Option<Timestamp>>,
    is_first: bool,
) {
    let gateways = lanes.engine.halts.of_gateways();
    let is_back = |id: &String| gateways.contains(id) && !in_force.contains_key(id);
    let is_one_back = is_first || before.keys().any(is_back);
    for id in lanes.book.halts() {
        let is_as_told = in_force
            .get(&id)
            .is_some_and(|until| before.get(&id).is_none_or(|before| before == until));
        if !is_as_told || is_one_back && gateways.contains(&id) {
            lanes.wake_all_of(&id);
        }
    }
}

/// Wakes all that waits at numbers that are gone since `before`, so that it ends. Returns those
/// that are gone now.
fn see_off(lanes: &Lanes, before: &[String]) -> Vec<String> {
    let gone = standing::all_gone(&lanes.engine.directory);
    for number in gone.iter().filter(|number| !before.contains(number)) {
        lanes.wake_all_at(number);
    }
    gone
}

/// Lifts what facts have ended: a token that is another one, a template that is approved again.
async fn by_facts(engine: &Engine, now: Timestamp) -> Result<(), HaltError> {
    for (halt, known) in engine.halts.standing(now) {
        if matches!(halt.cause, Cause::ByHand { .. }) {
            continue;
        }
        let lift = match halt.target.scope {
            Scope::Token if has_another_token(engine, &known.stored) => v1::HaltLift::TokenChanged,
            Scope::Gateway
                if gateways::credentials(engine, &halt.target.key)
                    .are_others(&known.stored.token_fingerprint) =>
            {
                v1::HaltLift::TokenChanged
            }
            Scope::Number if has_moved_since(engine, &halt) => v1::HaltLift::NumberMoved,
            Scope::Template if is_approved_since(engine, &known.stored, known.sequence) => {
                v1::HaltLift::TemplateApproved
            }
            _ => continue,
        };
        let id = &known.stored.halt_id;
        engine.halts.lift(id, &Lifting::by(lift), now).await?;
    }
    Ok(())
}

/// Whether what the platform said was of the number where it was before: it has another id now.
fn has_moved_since(engine: &Engine, halt: &Halt) -> bool {
    let number = BusinessNumber::parse(&halt.target.key).ok();
    let moved_at = number.and_then(|number| engine.directory.migrated_at(&number));
    moved_at.is_some_and(|moved_at| halt.since <= moved_at)
}

fn has_another_token(engine: &Engine, halt: &v1::Halt) -> bool {
    let numbers = engine.directory.numbers();
    let place = Some(&halt.key);
    let account = numbers
        .iter()
        .find(|account| orders::token(account).as_ref() == place);
    // Without a number that uses it, it halts nobody.
    let Some(account) = account else { return true };
    let is_known = !halt.token_fingerprint.is_empty();
    is_known
        && orders::fingerprint(&engine.caller.secrets, account)
            .is_some_and(|now| now != halt.token_fingerprint)
}

fn is_approved_since(engine: &Engine, halt: &v1::Halt, sequence: u64) -> bool {
    let mut parts = halt.key.splitn(3, '/');
    let (Some(waba), Some(name), Some(language)) = (parts.next(), parts.next(), parts.next())
    else {
        return false;
    };
    let directory = &engine.directory;
    let is_newer = directory
        .template_sequence(waba, name, language)
        .is_some_and(|recorded| recorded > sequence);
    is_newer
        && directory
            .template(waba, name, language)
            .is_some_and(|template| template.status() == v1::TemplateStatus::Approved)
}
