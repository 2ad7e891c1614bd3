//! What concerns no conversation of ours: reports about others' messages, groups, accounts, what
//! nobody understands, and what can never succeed. All of it is kept.

use casement_event::{convert, id, subject, v1};
use casement_event_log::AppendError;
use casement_whatsapp::webhook::{
    Account, AccountScope, AppContact, GroupChange, HistoryChunk, InboundMessage, Item,
    ReportedError, StatusReport,
};
use jiff::Timestamp;

use crate::draft::item_id;
use crate::error::Setback;
use crate::place::{Desk, Home, Post};
use crate::stored;
use crate::token::{hashed, token};

/// The role, as it stands in the subject of its dead letters.
pub(crate) const ROLE: &str = "ingress";

/// From here on an entry's time is in milliseconds.
const MILLISECONDS_FROM: i64 = 100_000_000_000;

/// A status of a message that did not go out through Casement.
pub(crate) async fn foreign_status(
    desk: &Desk,
    home: &Home,
    post: &Post,
    item: &Item,
    report: &StatusReport,
) -> Result<(), Setback> {
    let id = status_id(home, report);
    let event = v1::ForeignStatusReported {
        number: home.number.digits().to_owned(),
        times: Some(post.times(report.at)),
        origin: Some(post.origin(&item.origin.path)),
        provider_message_id: report.wamid.clone(),
        status: report.status.as_str().to_owned(),
        content_json: item.raw.to_string(),
        details: Some(stored::details(report)),
        field: stored::field(report.channel).into(),
    };
    let record = post.record(subject::foreign(&home.number), id, report.at, event);
    desk.append(home.mark(record)).await?;
    Ok(())
}

/// The id of a status: in a group each member has its own.
pub(crate) fn status_id(home: &Home, report: &StatusReport) -> casement_event::Uuid {
    let recipient = [
        &report.recipient_participant_user_id,
        &report.recipient_participant,
        &report.recipient_user_id,
        &report.recipient_phone,
        &report.group_id,
    ]
    .into_iter()
    .flatten()
    .next();
    let recipient = recipient.map(String::as_str).unwrap_or_default();
    let status = report.status.as_str();
    id::status(&home.number, &report.wamid, status, recipient, report.at)
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
    let told = GroupEvent {
        id: id::inbound(&home.number, &message.wamid),
        at: message.at,
        group_id,
        kind: message.kind.as_str(),
        says: v1::GroupEventReceived {
            provider_message_id: message.wamid.clone(),
            message: Some(stored::message(message)),
            ..v1::GroupEventReceived::default()
        },
    };
    group(desk, home, post, item, told).await
}

/// A status of a message to a group.
pub(crate) async fn group_status(
    desk: &Desk,
    home: &Home,
    post: &Post,
    item: &Item,
    report: &StatusReport,
    group_id: &str,
) -> Result<(), Setback> {
    let told = GroupEvent {
        id: status_id(home, report),
        at: report.at,
        group_id,
        kind: "status",
        says: v1::GroupEventReceived {
            provider_message_id: report.wamid.clone(),
            status: Some(stored::details(report)),
            ..v1::GroupEventReceived::default()
        },
    };
    group(desk, home, post, item, told).await
}

/// A change to a group.
pub(crate) async fn group_change(
    desk: &Desk,
    home: &Home,
    post: &Post,
    item: &Item,
    change: &GroupChange,
) -> Result<(), Setback> {
    let told = GroupEvent {
        id: item_id(item),
        at: change.at,
        group_id: &change.group_id,
        kind: &item.origin.field,
        says: v1::GroupEventReceived {
            change: Some(stored::change(change)),
            ..v1::GroupEventReceived::default()
        },
    };
    group(desk, home, post, item, told).await
}

struct GroupEvent<'a> {
    id: casement_event::Uuid,
    at: Timestamp,
    group_id: &'a str,
    kind: &'a str,
    says: v1::GroupEventReceived,
}

async fn group(
    desk: &Desk,
    home: &Home,
    post: &Post,
    item: &Item,
    told: GroupEvent<'_>,
) -> Result<(), Setback> {
    let event = v1::GroupEventReceived {
        number: home.number.digits().to_owned(),
        group_id: told.group_id.to_owned(),
        times: Some(post.times(told.at)),
        origin: Some(post.origin(&item.origin.path)),
        kind: told.kind.to_owned(),
        content_json: item.raw.to_string(),
        ..told.says
    };
    let subject = subject::group(&home.number, &hashed(told.group_id));
    let record = post.record(subject, told.id, told.at, event);
    desk.append(home.mark(record)).await?;
    Ok(())
}

/// A contact in the phone app's address book. The customer need never have written, and is not
/// given an id for it.
pub(crate) async fn app_contact(
    desk: &Desk,
    home: &Home,
    post: &Post,
    item: &Item,
    contact: &AppContact,
) -> Result<(), Setback> {
    let at = contact.at.or_else(|| entry_time(item));
    let at = at.unwrap_or(post.received);
    let event = v1::AppContactReported {
        number: home.number.digits().to_owned(),
        times: Some(post.times(at)),
        origin: Some(post.origin(&item.origin.path)),
        action: contact.action.clone(),
        addresses: Some(stored::addresses(
            &contact.phone,
            &contact.user_id,
            &contact.parent_user_id,
        )),
        full_name: stored::text(&contact.full_name),
        first_name: stored::text(&contact.first_name),
        content_json: item.raw.to_string(),
    };
    let record = post.record(subject::foreign(&home.number), item_id(item), at, event);
    desk.append(home.mark(record)).await?;
    Ok(())
}

/// `value.errors[]`: the platform complains about the number or the app, not about a message.
pub(crate) async fn complaint(
    desk: &Desk,
    home: Option<&Home>,
    post: &Post,
    item: &Item,
    error: &ReportedError,
) -> Result<(), Setback> {
    let news = Account {
        field: item.origin.field.clone(),
        scope: AccountScope::Number,
        event: Some("ERROR".to_owned()),
        facts: None,
        errors: vec![error.clone()],
    };
    account(desk, home, post, item, &news).await
}

/// How a shared history comes along, when it brings no messages; or why it does not come.
pub(crate) async fn history_state(
    desk: &Desk,
    home: &Home,
    post: &Post,
    item: &Item,
    chunk: &HistoryChunk,
) -> Result<(), Setback> {
    let event = if chunk.errors.is_empty() {
        "PROGRESS"
    } else {
        "DECLINED"
    };
    let news = Account {
        field: item.origin.field.clone(),
        scope: AccountScope::Number,
        event: Some(event.to_owned()),
        facts: None,
        errors: chunk.errors.clone(),
    };
    account(desk, Some(home), post, item, &news).await
}

/// News about an account, a number or a template. `home` is the number, if it is one of ours.
pub(crate) async fn account(
    desk: &Desk,
    home: Option<&Home>,
    post: &Post,
    item: &Item,
    account: &Account,
) -> Result<(), Setback> {
    let kind = match account.scope {
        AccountScope::Template => "template",
        AccountScope::Number => "number",
        AccountScope::Account => "account",
    };
    let at = entry_time(item).unwrap_or(post.received);
    let entry_id = item.origin.entry_id.clone().unwrap_or_default();
    let subject = subject::reported(kind, &token(&entry_id));
    let number = home
        .map(|home| home.number.digits().to_owned())
        .or_else(|| item.display_phone_number.clone());
    let event = v1::AccountReported {
        times: Some(post.times(at)),
        origin: Some(post.origin(&item.origin.path)),
        content_json: item.raw.to_string(),
        number: stored::text(&number),
        phone_number_id: stored::text(&item.phone_number_id),
        ..stored::account(account, &entry_id)
    };
    let event = v1::AccountReported { entry_id, ..event };
    let record = post.record(subject, item_id(item), at, event);
    desk.append(record).await?;
    Ok(())
}

/// An item that is kept as it is, with why.
pub(crate) async fn unrecognized(
    desk: &Desk,
    home: Option<&Home>,
    post: &Post,
    item: &Item,
    reason: &str,
) -> Result<(), Setback> {
    let at = entry_time(item).unwrap_or(post.received);
    let entry_id = item.origin.entry_id.clone().unwrap_or_default();
    let kept = Kept {
        id: item_id(item),
        at,
        path: &item.origin.path,
        field: &item.origin.field,
        entry_id: &entry_id,
        reason,
        content_json: item.raw.to_string(),
    };
    keep(desk, home, post, kept).await
}

/// What is kept although nobody understands it.
pub(crate) struct Kept<'a> {
    pub(crate) id: casement_event::Uuid,
    pub(crate) at: Timestamp,
    pub(crate) path: &'a str,
    pub(crate) field: &'a str,
    /// Whom it came for, if no number is known.
    pub(crate) entry_id: &'a str,
    pub(crate) reason: &'a str,
    pub(crate) content_json: String,
}

/// Keeps what nobody understands: with its number if there is one, else with its sender.
pub(crate) async fn keep(
    desk: &Desk,
    home: Option<&Home>,
    post: &Post,
    kept: Kept<'_>,
) -> Result<(), Setback> {
    let subject = match home {
        Some(home) => subject::foreign(&home.number),
        None => subject::reported("unrecognized", &token(kept.entry_id)),
    };
    let event = v1::WebhookUnrecognized {
        number: home
            .map(|home| home.number.digits().to_owned())
            .unwrap_or_default(),
        times: Some(post.times(kept.at)),
        origin: Some(post.origin(kept.path)),
        field: kept.field.to_owned(),
        entry_id: kept.entry_id.to_owned(),
        reason: kept.reason.to_owned(),
        content_json: kept.content_json,
    };
    let record = post.record(subject, kept.id, kept.at, event);
    let record = match home {
        Some(home) => home.mark(record),
        None => record,
    };
    desk.append(record).await?;
    Ok(())
}

/// Writes down what can never succeed. The siblings go on.
pub(crate) async fn dead_letter(
    desk: &Desk,
    post: &Post,
    path: &str,
    reason: &str,
    item: Vec<u8>,
) -> Result<(), Setback> {
    tracing::warn!(
        sequence = post.sequence,
        post = post.index,
        path,
        reason,
        "dead letter"
    );
    let raw = subject::stream::RAW;
    let place = format!("posts[{}].{path}", post.index);
    let id = id::dead(ROLE, raw, post.sequence, &place);
    let letter = |item| v1::DeadLetter {
        role: ROLE.to_owned(),
        reason: reason.to_owned(),
        time: Some(convert::timestamp(post.received)),
        stream: raw.to_owned(),
        sequence: post.sequence,
        origin: Some(post.origin(path)),
        item,
        ..v1::DeadLetter::default()
    };
    let subject = subject::dead(ROLE);
    let record = |item| post.record(subject.clone(), id, post.received, letter(item));
    match desk.append(record(item)).await {
        // Its origin tells where the item itself is.
        Err(AppendError::TooLarge { .. }) => desk.append(record(Vec::new())).await?,
        other => other?,
    };
    Ok(())
}

/// Returns when an entry was made, by the platform's word.
pub(crate) fn entry_time(item: &Item) -> Option<Timestamp> {
    let time = item.origin.entry_time?;
    if time >= MILLISECONDS_FROM {
        Timestamp::from_millisecond(time).ok()
    } else {
        Timestamp::from_second(time).ok()
    }
}
