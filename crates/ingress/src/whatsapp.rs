//! One item of a WhatsApp post finds its event. The number in its own metadata decides where it
//! belongs, never that of a sibling.

use casement_event_log::AppendError;
use casement_whatsapp::webhook::{HistoryChunk, InboundMessage, Item, ItemKind, StatusReport};

use crate::conversation::{self, Settled};
use crate::draft::{self, Draft, addresses};
use crate::error::Setback;
use crate::place::{Desk, Home, Post};
use crate::report::{self, Attempt};
use crate::{aside, consent, parked, unsupported};

/// Puts an item on the log.
pub(crate) async fn item(desk: &Desk, post: &Post, item: &Item) -> Result<(), Setback> {
    let kind = item.kind.as_str();
    let outcome = match Box::pin(dispatch(desk, post, item)).await {
        Err(Setback::Append(AppendError::TooLarge { .. })) => {
            let reason = "event is larger than the log takes";
            let raw = item.raw.to_string().into_bytes();
            aside::dead_letter(desk, post, &item.origin.path, reason, raw).await?;
            "dead"
        }
        outcome => outcome?,
    };
    desk.count(kind, outcome);
    Ok(())
}

async fn dispatch(desk: &Desk, post: &Post, item: &Item) -> Result<&'static str, Setback> {
    match &item.kind {
        ItemKind::Malformed { reason } => {
            let raw = item.raw.to_string().into_bytes();
            aside::dead_letter(desk, post, &item.origin.path, reason, raw).await?;
            return Ok("dead");
        }
        ItemKind::Account(account) => {
            let home = home_of(desk, item)?;
            aside::account(desk, home.as_ref(), post, item, account).await?;
            return Ok("stored");
        }
        ItemKind::ValueError(error) => {
            let home = home_of(desk, item)?;
            aside::complaint(desk, home.as_ref(), post, item, error).await?;
            return Ok("stored");
        }
        ItemKind::Unrecognized => {
            let home = home_of(desk, item)?;
            aside::unrecognized(desk, home.as_ref(), post, item, "UNRECOGNIZED").await?;
            return Ok("kept");
        }
        ItemKind::Message(_)
        | ItemKind::Status(_)
        | ItemKind::Call(_)
        | ItemKind::CallStatus(_)
        | ItemKind::Echo(_)
        | ItemKind::UserIdUpdate(_)
        | ItemKind::UserPreference(_)
        | ItemKind::Handover(_)
        | ItemKind::History(_)
        | ItemKind::AppContact(_)
        | ItemKind::GroupChange(_) => {}
    }
    let Some(home) = home_of(desk, item)? else {
        let Some(phone_number_id) = &item.phone_number_id else {
            aside::unrecognized(desk, None, post, item, "NO_NUMBER").await?;
            return Ok("kept");
        };
        parked::park(desk, post, item, phone_number_id).await?;
        return Ok("parked");
    };
    let draft = match &item.kind {
        ItemKind::Message(message) => {
            if let Some(group_id) = &message.group_id {
                return group(desk, &home, post, item, message, group_id).await;
            }
            let draft = draft::message(&home.number, item, message);
            // Before the fact, so that whoever hears of it finds it in force.
            consent::message(desk, &home, post, message, &draft).await?;
            draft
        }
        ItemKind::Status(report) => return status(desk, &home, post, item, report).await,
        ItemKind::Call(call) => {
            unsupported::call(desk, &home, post, item, call).await?;
            draft::call(&home.number, item, call)
        }
        ItemKind::CallStatus(call) => draft::call_status(&home.number, item, call),
        ItemKind::Echo(echo) => draft::echo(&home.number, item, echo),
        ItemKind::UserIdUpdate(update) => draft::user_id_update(item, update),
        ItemKind::UserPreference(preference) => {
            let draft = draft::preference(item, preference);
            // Before the fact, so that whoever hears of it finds it in force.
            consent::preference(desk, &home, post, item, preference, &draft.addresses).await?;
            draft
        }
        ItemKind::Handover(handover) => draft::handover(item, handover),
        ItemKind::History(chunk) => return history(desk, &home, post, item, chunk).await,
        ItemKind::AppContact(contact) => {
            let named = addresses(
                contact.phone.as_deref(),
                contact.user_id.as_deref(),
                contact.parent_user_id.as_deref(),
            );
            let at = contact.at.unwrap_or(post.received);
            if conversation::is_erased(desk, &home, &named, at).await? {
                return Ok(conversation::ERASED);
            }
            aside::app_contact(desk, &home, post, item, contact).await?;
            return Ok("stored");
        }
        ItemKind::GroupChange(change) => {
            aside::group_change(desk, &home, post, item, change).await?;
            return Ok("group");
        }
        ItemKind::Account(_)
        | ItemKind::ValueError(_)
        | ItemKind::Unrecognized
        | ItemKind::Malformed { .. } => return Ok("stored"),
    };
    fact(desk, &home, post, item, &draft).await
}

/// Returns the number that an item is for, if an account knows it.
pub(crate) fn home_of(desk: &Desk, item: &Item) -> Result<Option<Home>, Setback> {
    let account = item
        .phone_number_id
        .as_deref()
        .and_then(|id| desk.directory.by_phone_number_id(id));
    Ok(account.as_ref().map(Home::of).transpose()?)
}

async fn fact(
    desk: &Desk,
    home: &Home,
    post: &Post,
    item: &Item,
    draft: &Draft,
) -> Result<&'static str, Setback> {
    let origin = post.origin(&item.origin.path);
    let settled = conversation::settle(desk, home, post, &origin, draft).await?;
    if settled == Settled::Nameless {
        aside::unrecognized(desk, Some(home), post, item, "NO_CUSTOMER").await?;
    }
    Ok(settled.label())
}

/// Each chat's part is its customer's fact. A message that cannot be read is a dead letter alone.
async fn history(
    desk: &Desk,
    home: &Home,
    post: &Post,
    item: &Item,
    chunk: &HistoryChunk,
) -> Result<&'static str, Setback> {
    for part in &chunk.unreadable {
        let path = format!("{}.{}", item.origin.path, part.path);
        let raw = part.raw.to_string().into_bytes();
        aside::dead_letter(desk, post, &path, &part.reason, raw).await?;
    }
    let drafts = chunk.threads.iter().flat_map(|thread| {
        let place = format!("{}.{}", item.origin.path, thread.path);
        let place = place.trim_end_matches('.').to_owned();
        let drafts = draft::history(item, chunk, thread).into_iter();
        drafts.map(move |draft| (place.clone(), draft))
    });
    let (mut label, mut is_nameless) = (None, false);
    for (place, draft) in drafts {
        let origin = post.origin(&place);
        let settled = conversation::settle(desk, home, post, &origin, &draft).await?;
        is_nameless |= settled == Settled::Nameless;
        label = Some(settled.label());
    }
    if is_nameless {
        aside::unrecognized(desk, Some(home), post, item, "NO_CUSTOMER").await?;
    }
    if label.is_none() && chunk.unreadable.is_empty() {
        aside::history_state(desk, home, post, item, chunk).await?;
    }
    Ok(label.unwrap_or("stored"))
}

async fn group(
    desk: &Desk,
    home: &Home,
    post: &Post,
    item: &Item,
    message: &InboundMessage,
    group_id: &str,
) -> Result<&'static str, Setback> {
    aside::group_message(desk, home, post, item, message, group_id).await?;
    unsupported::group_message(desk, home, post, item, message, group_id).await?;
    Ok("group")
}

async fn status(
    desk: &Desk,
    home: &Home,
    post: &Post,
    item: &Item,
    report: &StatusReport,
) -> Result<&'static str, Setback> {
    let attempt = report.callback_data.as_deref().and_then(Attempt::parse);
    let attempt = attempt.filter(|attempt| *attempt.message.number() == home.number);
    let recipient = addresses(
        report.recipient_phone.as_deref(),
        report.recipient_user_id.as_deref(),
        report.recipient_parent_user_id.as_deref(),
    );
    let message = attempt.as_ref().map(|attempt| &attempt.message);
    if report::is_erased(desk, home, &recipient, message, report.at).await? {
        return Ok(conversation::ERASED);
    }
    if let Some(attempt) = attempt {
        let is_new = report::whatsapp(desk, home, post, item, report, &attempt).await?;
        return Ok(if is_new { "stored" } else { "known" });
    }
    if let Some(group_id) = &report.group_id {
        aside::group_status(desk, home, post, item, report, group_id).await?;
        return Ok("group");
    }
    aside::foreign_status(desk, home, post, item, report).await?;
    Ok("foreign")
}
