//! Two customer ids prove to be one: the loser's subjects end with `MovedTo`, and the survivor's
//! take the loser's summary over, at every number of the portfolio.
//!
//! Who is the same as whom is decided by the links, elsewhere. Everything here may be repeated.

use casement_domain::customer::{Identifier, Kind, identifiers};
use casement_domain::id::CustomerId;
use casement_domain::inbound::{Addresses, Summary};
use casement_event::subject::{self, stream};
use casement_event::{Event, convert, id, v1};
use casement_event_log::{AppendError, Expect};

use crate::conversation::{Last, ROUNDS_MAX, contended};
use crate::error::Setback;
use crate::place::{Desk, Home, Post};
use crate::search::{self, Found};

/// Ends a customer at all numbers of the portfolio; `survivor` carries on.
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
    Ok(())
}

/// Ends a customer if every identifier it is known by belongs to others now.
pub(crate) async fn end_if_forsaken(
    desk: &Desk,
    home: &Home,
    post: &Post,
    loser: &CustomerId,
    survivor: &CustomerId,
) -> Result<(), Setback> {
    for home in homes(desk, home)? {
        let last = Last::load(desk, &home, loser).await?;
        for identifier in identifiers(&last.summary.addresses()) {
            // A parent's id is shared, and proves nothing.
            if identifier.kind == Kind::ParentUserId {
                continue;
            }
            let link = link(desk, &home, &identifier).await?;
            if link.is_some_and(|link| link.customer_id == loser.as_str()) {
                return Ok(());
            }
        }
    }
    end(desk, home, post, loser, survivor).await
}

/// Ends those whom the addresses belonged to before, if nothing is left to them: what a merge
/// that broke off has left undone.
pub(crate) async fn end_forsaken(
    desk: &Desk,
    home: &Home,
    post: &Post,
    addresses: &Addresses,
    survivor: &CustomerId,
) -> Result<(), Setback> {
    for identifier in identifiers(addresses) {
        let Some(link) = link(desk, home, &identifier).await? else {
            continue;
        };
        if link.previous_customer_id.is_empty() || link.previous_customer_id == survivor.as_str() {
            continue;
        }
        let previous = CustomerId::parse(&link.previous_customer_id)?;
        end_if_forsaken(desk, home, post, &previous, survivor).await?;
    }
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

async fn link(
    desk: &Desk,
    home: &Home,
    identifier: &Identifier,
) -> Result<Option<v1::CustomerLinked>, Setback> {
    let token = desk.tokens.token(&home.portfolio, identifier);
    let subject = subject::link(&home.portfolio, &token);
    let Some(stored) = desk.log.last(stream::CUSTOMERS, &subject).await? else {
        return Ok(None);
    };
    let problem = match stored.event() {
        Ok(Event::CustomerLinked(link)) => return Ok(Some(link)),
        Ok(other) => format!("{} is no link", other.event_type()),
        Err(error) => error.to_string(),
    };
    Err(Setback::Unreadable {
        subject,
        sequence: stored.sequence,
        problem,
    })
}

async fn end_at(
    desk: &Desk,
    home: &Home,
    post: &Post,
    loser: &CustomerId,
    survivor: &CustomerId,
) -> Result<(), Setback> {
    let survivor = follow(desk, home, survivor).await?;
    if survivor == *loser {
        return Ok(());
    }
    let Some(summary) = move_away(desk, home, post, loser, &survivor).await? else {
        return Ok(());
    };
    take_over(desk, home, post, loser, &survivor, &summary).await
}

/// Returns who carries on for a customer at a number.
async fn follow(desk: &Desk, home: &Home, customer: &CustomerId) -> Result<CustomerId, Setback> {
    let mut customer = customer.clone();
    for _ in 0..ROUNDS_MAX {
        match Last::load(desk, home, &customer).await?.survivor {
            None => return Ok(customer),
            Some(survivor) => customer = survivor,
        }
    }
    Err(contended(home, &customer))
}

/// Ends the loser's subject; returns its summary, or nothing if there is nothing to take over.
async fn move_away(
    desk: &Desk,
    home: &Home,
    post: &Post,
    loser: &CustomerId,
    survivor: &CustomerId,
) -> Result<Option<Summary>, Setback> {
    for _ in 0..ROUNDS_MAX {
        let last = Last::load(desk, home, loser).await?;
        if last.sequence == 0 {
            return Ok(None);
        }
        if let Some(moved_to) = &last.survivor {
            // It went before; whether it arrived is seen to now.
            return Ok((moved_to == survivor).then_some(last.summary));
        }
        let event = v1::MovedTo {
            conversation: Some(home.conversation(loser)),
            times: Some(post.times(post.received)),
            summary: Some(convert::inbound::summary(&last.summary)),
            survivor_customer_id: survivor.as_str().to_owned(),
        };
        let id = id::moved(&home.number, loser, survivor, "from");
        let record = post.record(last.subject.clone(), id, post.received, event);
        let record = home.mark_customer(record, loser);
        match desk
            .log
            .append(record, Expect::last(last.subject, last.sequence))
            .await
        {
            Ok(_) => {
                metrics::counter!("casement_ingress_customers_merged_total").increment(1);
                return Ok(Some(last.summary));
            }
            Err(AppendError::Conflict { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(contended(home, loser))
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
        if let Some(next) = last.survivor {
            survivor = next;
            continue;
        }
        if last.sequence > 0
            && let Some(since) = summary.last_event_at
            && last.summary.last_event_at >= Some(since)
        {
            let found = search::find(&desk.log, &last.subject, last.sequence, since, id).await?;
            if found == Found::Yes {
                return Ok(());
            }
        }
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
        match desk
            .log
            .append(record, Expect::last(last.subject, last.sequence))
            .await
        {
            Ok(_) => return Ok(()),
            Err(AppendError::Conflict { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(contended(home, &survivor))
}
