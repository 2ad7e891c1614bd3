//! One of Twilio's callbacks finds its event.

use casement_event::{Uuid, id, v1};
use casement_event_log::directory::Directory;
use casement_sms::twilio::callback::{self, Callback, InboundSms, StatusCallback};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::aside::{self, Kept};
use crate::conversation::{self, Settled};
use crate::draft;
use crate::error::Setback;
use crate::place::{Desk, Home, Post};
use crate::report::{self, Attempt};
use crate::token::hashed;

/// Puts a callback on the log.
pub(crate) async fn callback(
    desk: &Desk,
    post: &Post,
    query: &str,
    body: &[u8],
) -> Result<(), Setback> {
    let (kind, outcome) = match callback::parse(body) {
        Err(error) => {
            aside::dead_letter(desk, post, "", &error.to_string(), body.to_vec()).await?;
            ("malformed", "dead")
        }
        Ok(Callback::Status(callback)) => (
            "sms_status",
            status(desk, post, query, body, &callback).await?,
        ),
        Ok(Callback::Inbound(sms)) => ("sms", inbound(desk, post, body, &sms).await?),
    };
    metrics::counter!("casement_ingress_items_total", "kind" => kind, "outcome" => outcome)
        .increment(1);
    Ok(())
}

async fn status(
    desk: &Desk,
    post: &Post,
    query: &str,
    body: &[u8],
    callback: &StatusCallback,
) -> Result<&'static str, Setback> {
    if let Some(attempt) = Attempt::of_query(query) {
        let is_new = report::sms(desk, post, &attempt, callback, json(body)).await?;
        return Ok(if is_new { "stored" } else { "known" });
    }
    let sender = callback.from.as_deref().unwrap_or_default();
    let account_sid = callback.account_sid.as_deref();
    let Some(account) = account_of(&desk.directory, sender, account_sid) else {
        unknown_sender(desk, post, body, sender).await?;
        return Ok("kept");
    };
    let home = Home::of(&account)?;
    let status = callback.status.as_str();
    let to = callback.to.as_deref().unwrap_or_default();
    let at = jiff::Timestamp::UNIX_EPOCH;
    let id = id::status(&home.number, &callback.sid, status, to, at);
    let event = v1::ForeignStatusReported {
        number: home.number.digits().to_owned(),
        times: Some(post.times(post.received)),
        origin: Some(post.origin("")),
        provider_message_id: callback.sid.clone(),
        status: status.to_owned(),
        content_json: json(body),
    };
    let subject = casement_event::subject::foreign(&home.number);
    let record = post.record(subject, id, post.received, event);
    desk.append(home.mark(record)).await?;
    Ok("foreign")
}

async fn inbound(
    desk: &Desk,
    post: &Post,
    body: &[u8],
    sms: &InboundSms,
) -> Result<&'static str, Setback> {
    let account_sid = sms.account_sid.as_deref();
    let Some(account) = account_of(&desk.directory, &sms.to, account_sid) else {
        unknown_sender(desk, post, body, &sms.to).await?;
        return Ok("kept");
    };
    let home = Home::of(&account)?;
    let draft = draft::sms(&home.number, sms, post.received);
    let settled = conversation::settle(desk, &home, post, &post.origin(""), &draft).await?;
    if settled == Settled::Nameless {
        // Such as from a short code, which nobody can be answered at.
        let kept = Kept {
            id: draft.id,
            at: post.received,
            path: "",
            field: "twilio",
            entry_id: sms.account_sid.as_deref().unwrap_or_default(),
            reason: "NO_CUSTOMER",
            content_json: json(body),
        };
        aside::keep(desk, Some(&home), post, kept).await?;
    }
    Ok(settled.label())
}

/// Returns the account that an SMS sender belongs to. A sender that several share is the first
/// one's, by its number, so that the same one is found every time.
fn account_of(
    directory: &Directory,
    sender: &str,
    account_sid: Option<&str>,
) -> Option<v1::Number> {
    let mut numbers = directory.numbers();
    numbers.sort_by(|a, b| a.number.cmp(&b.number));
    let digits = sender.strip_prefix('+').unwrap_or(sender);
    let by_sender = |number: &&v1::Number| {
        let sms = number.sms.as_ref();
        sms.is_some_and(|sms| sms.sender == sender)
    };
    // A messaging service stands for senders that the account does not list.
    let by_service = |number: &&v1::Number| {
        let sms = number.sms.as_ref();
        sms.is_some_and(|sms| {
            sms.sender.starts_with("MG") && Some(sms.account_sid.as_str()) == account_sid
        })
    };
    numbers
        .iter()
        .find(by_sender)
        .or_else(|| numbers.iter().find(|number| number.number == digits))
        .or_else(|| numbers.iter().find(by_service))
        .cloned()
}

async fn unknown_sender(
    desk: &Desk,
    post: &Post,
    body: &[u8],
    sender: &str,
) -> Result<(), Setback> {
    let kept = Kept {
        id: body_id(body),
        at: post.received,
        path: "",
        field: "twilio",
        entry_id: &hashed(sender),
        reason: "SMS_SENDER_UNKNOWN",
        content_json: json(body),
    };
    aside::keep(desk, None, post, kept).await
}

fn body_id(body: &[u8]) -> Uuid {
    let hash = hex::encode(Sha256::digest(body));
    id::webhook_item("twilio", "", "", &hash, "")
}

/// Returns a form as JSON: an array of pairs, since names may repeat.
fn json(body: &[u8]) -> String {
    let pairs: Vec<(String, String)> = serde_urlencoded::from_bytes(body).unwrap_or_default();
    let pairs: Value = pairs
        .into_iter()
        .map(|(name, value)| Value::from(vec![name, value]))
        .collect();
    pairs.to_string()
}
