//! Two customer ids prove to be one: the loser's subjects end with `MovedTo`, and the survivor's
//! take the loser's summary over, at every number of the portfolio; so does its consent.
//!
//! Who is the same as whom is decided by the links, elsewhere. Everything here may be repeated,
//! by anybody, at any time: each step is one append that looks whether it was made before.

use casement_domain::id::CustomerId;
use casement_domain::inbound::Summary;
use casement_domain::window::Evidence;
use casement_event::subject::{self, Family, stream};
use casement_event::{convert, id, v1};
use casement_event_log::{AppendError, Expect, consent};

use crate::SOURCE;
use crate::conversation::{Last, ROUNDS_MAX, contended};
use crate::error::Setback;
use crate::place::{Desk, Home, Post};
use crate::recent::Line;
use crate::search::{self, Found};

/// Ends a customer at all numbers of the portfolio; `survivor` carries on, with what it allows.
pub(crate) async fn end(
    desk: &Desk,
    home: &Home,
    post: &Post,
    loser: &CustomerId,
    survivor: &CustomerId,
) -> Result<(), Setback> {
    for home in homes(desk, home)? {
        end_at(desk, &home, post, loser, survivor).await?;
    }
    consent::carry_over(
        &desk.log,
        SOURCE,
        &home.portfolio,
        loser,
        survivor,
        desk.clock.now(),
    )
    .await?;
    Ok(())
}

/// All numbers that share the portfolio, and so its customers.
fn homes(desk: &Desk, home: &Home) -> Result<Vec<Home>, Setback> {
    let accounts = desk.directory.numbers();
    let ours = accounts
        .iter()
        .filter(|account| account.portfolio_id == home.portfolio.as_str());
    Ok(ours.map(Home::of).collect::<Result<_, _>>()?)
}

async fn end_at(
    desk: &Desk,
    home: &Home,
    post: &Post,
    loser: &CustomerId,
    survivor: &CustomerId,
) -> Result<(), Setback> {
    let Some((summary, survivor)) = move_away(desk, home, post, loser, survivor).await? else {
        return Ok(());
    };
    take_over(desk, home, post, loser, &survivor, &summary).await
}

/// Ends the loser's subject; returns its summary and where it went, or nothing if there is
/// nothing to take over.
///
/// A subject on which nothing stands is ended, too: another writer may know the loser's link
/// from before, and must not put a fact there.
async fn move_away(
    desk: &Desk,
    home: &Home,
    post: &Post,
    loser: &CustomerId,
    survivor: &CustomerId,
) -> Result<Option<(Summary, CustomerId)>, Setback> {
    let any = subject::conversation_any(&home.number, loser);
    for _ in 0..ROUNDS_MAX {
        // First: whatever is stored while the rest is read refuses the end.
        let newest = desk.log.last(stream::EVENTS, &any).await?;
        let newest = newest.map_or(0, |newest| newest.sequence);
        let last = Last::load(desk, home, loser).await?;
        let is_empty = last.summary.last_event_at.is_none();
        if let Some(moved_to) = last.survivor {
            // It went before; whether it arrived is seen to now.
            return Ok((!is_empty).then_some((last.summary, moved_to)));
        }
        let evidence = evidence(desk, home, loser).await?;
        let summary = Summary {
            carried: last.summary.carried.join(evidence),
            ..last.summary
        };
        let event = v1::MovedTo {
            conversation: Some(home.conversation(loser)),
            times: Some(post.times(post.received)),
            summary: Some(convert::inbound::summary(&summary)),
            survivor_customer_id: survivor.as_str().to_owned(),
        };
        let id = id::moved(&home.number, loser, survivor, "from");
        let record = post.record(last.subject.clone(), id, post.received, event);
        let record = home.mark_customer(record, loser);
        let expect = Expect::last(any.clone(), newest);
        match desk.log.append(record, expect).await {
            Ok(_) if is_empty => return Ok(None),
            Ok(_) => {
                metrics::counter!("casement_ingress_customers_merged_total").increment(1);
                return Ok(Some((summary, survivor.clone())));
            }
            Err(AppendError::Conflict { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(contended(home, loser))
}

/// Reads what became of our messages to a customer: it holds for the same person under any id.
async fn evidence(desk: &Desk, home: &Home, customer: &CustomerId) -> Result<Evidence, Setback> {
    let subject = subject::conversation(Family::Evidence, &home.number, customer);
    let Some(stored) = desk.log.last(stream::EVENTS, &subject).await? else {
        return Ok(Evidence::default());
    };
    search::evidence(&stored)
}

/// Writes the loser's summary to the survivor's subject, unless it stands there.
async fn take_over(
    desk: &Desk,
    home: &Home,
    post: &Post,
    loser: &CustomerId,
    survivor: &CustomerId,
    summary: &Summary,
) -> Result<(), Setback> {
    let id = id::moved(&home.number, loser, survivor, "to");
    let mut survivor = survivor.clone();
    for _ in 0..ROUNDS_MAX {
        let last = Last::load(desk, home, &survivor).await?;
        if last.sequence > 0
            && let Some(since) = summary.last_event_at
            && last.summary.last_event_at >= Some(since)
        {
            let found = search::find(desk, &last.subject, last.sequence, since, id).await?;
            if found == Found::Yes {
                return Ok(());
            }
        }
        if let Some(next) = last.survivor {
            // It may have ended since it took over, or before.
            survivor = next;
            continue;
        }
        let before = last.summary.last_event_at;
        let joined = last.summary.join(summary.clone());
        let event = v1::CustomerMerged {
            conversation: Some(home.conversation(&survivor)),
            times: Some(post.times(post.received)),
            origin: Some(post.origin("")),
            summary: Some(convert::inbound::summary(&joined)),
            merged_customer_id: loser.as_str().to_owned(),
        };
        let record = post.record(last.subject.clone(), id, post.received, event);
        let record = home.mark_customer(record, &survivor);
        let expect = Expect::last(last.subject.clone(), last.sequence);
        match desk.log.append(record, expect).await {
            Ok(position) => {
                let line = Line {
                    sequence: position.sequence,
                    id: Some(id),
                    last_event_at: joined.last_event_at,
                    merged: Some(loser.clone()),
                };
                desk.recent
                    .appended(&last.subject, last.sequence, before, line);
                return Ok(());
            }
            Err(AppendError::Conflict { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(contended(home, &survivor))
}
