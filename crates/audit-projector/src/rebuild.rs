//! Makes read models anew from the archive, beside those that are served, and puts them in their
//! place.
//!
//! That is due when some model of this program is newer than what is served, and when somebody
//! asked for it. Chains are projected in order, the rows of one transaction at a time, and what
//! is archived meanwhile is come by as well: at the end, archiving waits for the last of it, and
//! one transaction exchanges the tables. Until then queries are answered from the old ones. It
//! archives nothing, and can be killed anywhere: the next start goes on.

use std::time::Duration;

use casement_shell::backoff::Schedule;
use casement_shell::health::Remark;
use tokio_util::sync::CancellationToken;

use crate::batch;
use crate::metrics;
use crate::store::{
    Chain, Error, EventFilter, EventKey, Limit, Rebuild, SharedStore, is_newer_than, versions,
};

/// How much of the archive is projected in one transaction.
const LIMIT: Limit = Limit {
    rows_max: 1_024,
    bytes_max: 8 * 1024 * 1024,
};

/// How often somebody's wish is looked for.
const LOOK_INTERVAL: Duration = Duration::from_secs(2);

/// How often the rest is come by while archiving waits, before it goes on again.
const ROUNDS_MAX: usize = 16;

/// Makes read models anew, when that is due.
#[derive(Debug)]
pub(crate) struct Rebuilder {
    pub(crate) store: SharedStore,
    /// Tells how far it is.
    pub(crate) remark: Remark,
}

/// What is to be done next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    /// Nothing, until somebody asks for it.
    Nothing,
    /// There is more to do.
    More,
}

impl Rebuilder {
    /// Goes on where it was left, again and again, until the stop.
    pub(crate) async fn run(self, stopping: CancellationToken) -> anyhow::Result<()> {
        let mut waits =
            Schedule::try_new(Duration::from_millis(50), Duration::from_mins(1), 2.0, 0.5)
                .expect("the schedule of constants grows")
                .waits();
        let mut is_building = false;
        loop {
            let step = tokio::select! {
                () = stopping.cancelled() => return Ok(()),
                step = self.step() => step,
            };
            let pause = match step {
                Ok(Next::More) => {
                    if !is_building {
                        tracing::info!("read models are being made anew, the old ones are served");
                    }
                    is_building = true;
                    waits.reset();
                    continue;
                }
                Ok(Next::Nothing) => {
                    if is_building {
                        tracing::info!("read models are new");
                    }
                    is_building = false;
                    waits.reset();
                    LOOK_INTERVAL
                }
                Err(Error::Moved) => waits.next_wait(),
                Err(error) => {
                    let source = std::error::Error::source(&error).map(ToString::to_string);
                    tracing::warn!(%error, source, "read models are not made anew yet");
                    self.remark.tell(format!("not made anew yet: {error}"));
                    waits.next_wait()
                }
            };
            tokio::select! {
                () = stopping.cancelled() => return Ok(()),
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    async fn step(&self) -> Result<Next, Error> {
        let next = step(&self.store).await?;
        let progress = match next {
            Next::Nothing => None,
            Next::More => progress(&self.store).await?,
        };
        metrics::rebuild(progress);
        match progress {
            None => self.remark.clear(),
            Some(ratio) => self.remark.tell(format!(
                "being made anew, {:.0} % done; the old ones are served",
                ratio * 100.0
            )),
        }
        Ok(next)
    }
}

/// Returns how much of the archive went into what is being built, from 0 to 1.
#[expect(clippy::cast_precision_loss, reason = "told in percent")]
pub(crate) async fn progress(store: &SharedStore) -> Result<Option<f64>, Error> {
    let state = store.rebuild().await?;
    if state.building.is_empty() {
        return Ok(None);
    }
    let heads = store.chains(None).await?;
    let rows = heads
        .iter()
        .filter_map(|chain| chain.head.as_ref())
        .map(|head| head.row_count);
    let rows_count = rows.sum::<u64>().max(1);
    Ok(Some((state.row_count as f64 / rows_count as f64).min(1.0)))
}

/// Does the next part.
pub(crate) async fn step(store: &SharedStore) -> Result<Next, Error> {
    let state = store.rebuild().await?;
    let wanted = versions();
    if state.building.is_empty() {
        if !is_newer_than(&state.served) && state.served_ask >= state.ask_count {
            return Ok(Next::Nothing);
        }
        store.begin_rebuild(&state, &wanted).await?;
        return Ok(Next::More);
    }
    if is_newer_than(&state.building) {
        // Of another program, or of what has been erased since.
        store.begin_rebuild(&state, &wanted).await?;
        return Ok(Next::More);
    }
    if catch_up(store, &state).await? == Next::More {
        return Ok(Next::More);
    }
    let _held = store.hold_writers().await;
    for _ in 0..ROUNDS_MAX {
        if catch_up(store, &state).await? == Next::Nothing {
            store.end_rebuild(&state).await?;
            metrics::rebuilt();
            return Ok(Next::More);
        }
    }
    Ok(Next::More)
}

/// Projects the next rows of every chain. Returns whether there may be more.
async fn catch_up(store: &SharedStore, state: &Rebuild) -> Result<Next, Error> {
    let marks = store.rebuild_marks().await?;
    let mut chains = store.chains(None).await?;
    // The older lives of a stream first: they are named by when they began, in hex.
    chains.sort_by_key(|chain| {
        let incarnation = chain.incarnation.clone();
        (chain.stream.clone(), incarnation.len(), incarnation)
    });
    let mut next = Next::Nothing;
    let mut is_behind_in = None;
    for chain in chains {
        // What comes later in a stream waits for what comes first.
        if is_behind_in.as_ref() == Some(&chain.stream) {
            continue;
        }
        let mark = marks
            .iter()
            .find(|mark| mark.stream == chain.stream && mark.incarnation == chain.incarnation);
        let reached = chain.head.as_ref().map_or(0, |head| head.last_sequence);
        if mark.map_or(0, |mark| mark.sequence) >= reached {
            continue;
        }
        next = Next::More;
        if go_on(store, state, &chain, mark).await? == Next::More {
            is_behind_in = Some(chain.stream);
        }
    }
    Ok(next)
}

async fn go_on(
    store: &SharedStore,
    state: &Rebuild,
    chain: &Chain,
    mark: Option<&EventKey>,
) -> Result<Next, Error> {
    let filter = EventFilter {
        stream: Some(chain.stream.clone()),
        incarnation: Some(chain.incarnation.clone()),
        ..EventFilter::default()
    };
    let page = store.events(&filter, mark, LIMIT).await?;
    let entries = batch::again(page.rows);
    store.go_on_rebuild(state, mark, &entries).await?;
    Ok(if page.has_more {
        Next::More
    } else {
        Next::Nothing
    })
}
