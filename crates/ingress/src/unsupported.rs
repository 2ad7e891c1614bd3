//! What customers do that an account cannot make use of: messages in groups, and calls. It is told
//! with its reason, beside the fact itself: windows follow what happened, whatever the account can.
//!
//! What the account can is the domain's to say, from what the platform told of the number. As long
//! as it told too little, nothing is said here either.

use casement_domain::capability::{Capability, available};
use casement_domain::number_health::Health;
use casement_event::convert::timestamp;
use casement_event::{Uuid, id, subject, v1};
use casement_whatsapp::webhook::{CallDirection, CallReport, InboundMessage, Item};
use jiff::Timestamp;

use crate::error::Setback;
use crate::place::{Desk, Home, Post};
use crate::token::hashed;

/// What the customer did.
struct Done<'a> {
    capability: Capability,
    at: Timestamp,
    provider_id: &'a str,
    group_id: &'a str,
    fact: Uuid,
}

/// A customer's message in a group.
pub(crate) async fn group_message(
    desk: &Desk,
    home: &Home,
    post: &Post,
    item: &Item,
    message: &InboundMessage,
    group_id: &str,
) -> Result<(), Setback> {
    let done = Done {
        capability: Capability::GroupMessages,
        at: message.at,
        provider_id: &message.wamid,
        group_id,
        fact: id::inbound(&home.number, &message.wamid),
    };
    tell(desk, home, post, item, done).await
}

/// A customer's call. It is told when it begins, and not again when it ends.
pub(crate) async fn call(
    desk: &Desk,
    home: &Home,
    post: &Post,
    item: &Item,
    call: &CallReport,
) -> Result<(), Setback> {
    if call.direction != CallDirection::UserInitiated || call.event != "connect" {
        return Ok(());
    }
    let done = Done {
        capability: Capability::CustomerCalls,
        at: call.at,
        provider_id: &call.id,
        group_id: "",
        fact: id::inbound(&home.number, &format!("{}:{}", call.id, call.event)),
    };
    tell(desk, home, post, item, done).await
}

async fn tell(
    desk: &Desk,
    home: &Home,
    post: &Post,
    item: &Item,
    done: Done<'_>,
) -> Result<(), Setback> {
    let health = desk.directory.health(home.number.digits());
    let Some(event) = event(home, &health, &done) else {
        return Ok(());
    };
    let event = v1::InteractionNotSupported {
        origin: Some(post.origin(&item.origin.path)),
        ..event
    };
    let subject = if done.group_id.is_empty() {
        subject::foreign(&home.number)
    } else {
        subject::group(&home.number, &hashed(done.group_id))
    };
    let id = id::not_supported(done.fact);
    let record = post.record(subject, id, done.at, event);
    desk.append(home.mark(record)).await?;
    Ok(())
}

/// Returns what is told, if the account cannot make use of it.
fn event(home: &Home, health: &Health, done: &Done<'_>) -> Option<v1::InteractionNotSupported> {
    let lack = available(done.capability, home.number.digits(), health).lack()?;
    Some(v1::InteractionNotSupported {
        number: home.number.digits().to_owned(),
        time: Some(timestamp(done.at)),
        origin: None,
        capability: done.capability.as_str().to_owned(),
        reason: lack.as_str().to_owned(),
        text: lack.text().to_owned(),
        provider_id: done.provider_id.to_owned(),
        group_id: done.group_id.to_owned(),
        fact_id: done.fact.to_string(),
    })
}
