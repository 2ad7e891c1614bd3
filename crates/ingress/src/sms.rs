//! One post of an SMS gateway finds its event.
//!
//! Each gateway's format is read elsewhere; what is told is the same for all of them.

pub(crate) mod config;

use std::collections::HashMap;

use casement_domain::consent::keywords::Keyword;
use casement_domain::consent::{Provenance, Topic};
use casement_domain::inbound::Kind;
use casement_event::{Uuid, id, v1};
use casement_sms::config::Config;
use casement_sms::generic::Layout;
use casement_sms::webhook::{Inbound, OptOut, Report, Webhook};
use casement_sms::{generic, twilio, vonage};
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::aside::{self, Kept};
use crate::consent::{self, Said};
use crate::conversation::{self, Settled};
use crate::draft::{Draft, addresses};
use crate::error::Setback;
use crate::place::{Desk, Home, Post};
use crate::report::{self, Attempt};
use crate::token::hashed;
use crate::words::Lexicon;

/// For how long a gateway may repeat a post that it got no answer to, with room to spare.
const REPEATS_WITHIN: SignedDuration = SignedDuration::from_hours(24);

/// What reading posts of SMS gateways takes.
#[derive(Debug, Default)]
pub(crate) struct Readers {
    pub(crate) layouts: HashMap<String, Layout>,
    pub(crate) keywords: Lexicon,
    /// Senders that are configured, beside those in the numbers' records.
    pub(crate) senders: Config,
}

/// A gateway's post, before anybody knows what it says.
struct Sent<'a> {
    /// The gateway's name.
    gateway: &'a str,
    query: &'a str,
    body: &'a [u8],
}

impl Sent<'_> {
    fn read(&self, desk: &Desk) -> Result<Webhook, String> {
        match self.gateway {
            twilio::NAME => twilio::callback::parse(self.body)
                .map(twilio::callback::Callback::into_webhook)
                .map_err(|error| error.to_string()),
            vonage::NAME => vonage::callback::parse(self.body).map_err(|error| error.to_string()),
            name => match desk.sms.layouts.get(name) {
                Some(layout) => {
                    generic::callback::parse(layout, self.body).map_err(|error| error.to_string())
                }
                None => Err(format!("no SMS gateway `{name}` is configured")),
            },
        }
    }

    /// Returns the body as JSON; a form is an array of pairs, since names may repeat.
    fn json(&self) -> String {
        if let Ok(value) = serde_json::from_slice::<Value>(self.body) {
            return value.to_string();
        }
        let pairs: Vec<(String, String)> =
            serde_urlencoded::from_bytes(self.body).unwrap_or_default();
        let pairs: Value = pairs
            .into_iter()
            .map(|(name, value)| Value::from(vec![name, value]))
            .collect();
        pairs.to_string()
    }
}

/// Puts a post on the log.
pub(crate) async fn callback(
    desk: &Desk,
    post: &Post,
    gateway: &str,
    query: &str,
    body: &[u8],
) -> Result<(), Setback> {
    let sent = Sent {
        gateway,
        query,
        body,
    };
    let (kind, outcome) = match sent.read(desk) {
        Err(reason) => {
            aside::dead_letter(desk, post, "", &reason, body.to_vec()).await?;
            ("malformed", "dead")
        }
        Ok(Webhook::Report(told)) => ("sms_status", status(desk, post, &sent, &told).await?),
        Ok(Webhook::Inbound(sms)) => ("sms", inbound(desk, post, &sent, &sms).await?),
    };
    desk.count(kind, outcome);
    Ok(())
}

async fn status(
    desk: &Desk,
    post: &Post,
    sent: &Sent<'_>,
    told: &Report,
) -> Result<&'static str, Setback> {
    let reference = told.reference.as_deref().unwrap_or_default();
    if let Some(attempt) = Attempt::of_query(sent.query).or_else(|| Attempt::parse(reference)) {
        let account = desk.directory.number(attempt.message.number());
        if let Some(account) = account {
            let (home, message) = (Home::of(&account)?, Some(&attempt.message));
            let at = told.at.unwrap_or(post.received);
            let to = addresses(told.to.as_deref(), None, None);
            if report::is_erased(desk, &home, &to, message, at).await? {
                return Ok(conversation::ERASED);
            }
        }
        let is_new = report::sms(desk, post, &attempt, sent.gateway, told, sent.json()).await?;
        return Ok(if is_new { "stored" } else { "known" });
    }
    let sender = told.from.as_deref().unwrap_or_default();
    let accounts = accounts_of(desk, sender, told.account.as_deref());
    let Some(account) = accounts.first() else {
        unknown_sender(desk, post, sent, sender).await?;
        return Ok("kept");
    };
    let home = Home::of(account)?;
    let to = told.to.as_deref().unwrap_or_default();
    // Each status counts once, whatever time it bears.
    let id = id::status(
        &home.number,
        &told.id,
        &told.word,
        to,
        Timestamp::UNIX_EPOCH,
    );
    let at = told.at.unwrap_or(post.received);
    let recipient = addresses(told.to.as_deref(), None, None);
    if report::is_erased(desk, &home, &recipient, None, at).await? {
        return Ok(conversation::ERASED);
    }
    let event = v1::ForeignStatusReported {
        number: home.number.digits().to_owned(),
        times: Some(post.times(at)),
        origin: Some(post.origin("")),
        provider_message_id: told.id.clone(),
        status: told.word.clone(),
        content_json: sent.json(),
        ..v1::ForeignStatusReported::default()
    };
    let subject = casement_event::subject::foreign(&home.number);
    let record = post.record(subject, id, at, event);
    desk.append(home.mark(record)).await?;
    Ok("foreign")
}

async fn inbound(
    desk: &Desk,
    post: &Post,
    sent: &Sent<'_>,
    sms: &Inbound,
) -> Result<&'static str, Setback> {
    let accounts = accounts_of(desk, &sms.to, sms.account.as_deref());
    let Some(account) = accounts.first() else {
        unknown_sender(desk, post, sent, &sms.to).await?;
        return Ok("kept");
    };
    let home = Home::of(account)?;
    let lexicon = &desk.sms.keywords;
    let heard = keyword(lexicon, &home.brand, sms);
    let draft = draft(&home, sent.gateway, sms, heard, post.received);
    // Consent comes first: whoever hears of the message finds it in force, and if we die in
    // between, the post comes again and finds it written.
    for home in homes(&accounts)? {
        let keyword = keyword(lexicon, &home.brand, sms);
        if let Some(said) = said(sms, keyword, draft.at) {
            Box::pin(consent::record(desk, &home, post, &draft.addresses, &said)).await?;
        }
    }
    let settled = conversation::settle(desk, &home, post, &post.origin(""), &draft).await?;
    if settled == Settled::Nameless {
        // Such as from a short code, which nobody can be answered at.
        let kept = Kept {
            id: draft.id,
            at: draft.at,
            path: "",
            field: sent.gateway,
            entry_id: sms.account.as_deref().unwrap_or_default(),
            reason: "NO_CUSTOMER",
            content_json: sent.json(),
        };
        aside::keep(desk, Some(&home), post, kept).await?;
    }
    Ok(settled.label())
}

/// Returns what a message asks for: by the gateway's own reading, if there is one, since it acts
/// on it; else by the brand's table.
fn keyword(lexicon: &Lexicon, brand: &str, sms: &Inbound) -> Option<Keyword> {
    match sms.opt_out {
        Some(OptOut::Stop) => Some(Keyword::Stop),
        Some(OptOut::Start) => Some(Keyword::Start),
        Some(OptOut::Help) => Some(Keyword::Help),
        None => lexicon.sms(brand, &sms.text),
    }
}

/// Returns what a message says about SMS, if anything.
fn said(sms: &Inbound, keyword: Option<Keyword>, at: Timestamp) -> Option<Said> {
    let is_refused = match keyword? {
        Keyword::Stop => true,
        Keyword::Start => false,
        Keyword::Help => return None,
    };
    Some(Said {
        topic: Topic::SMS,
        is_refused,
        at,
        source: match sms.opt_out {
            Some(_) => Provenance::PROVIDER_OPT_OUT,
            None => Provenance::SMS_KEYWORD,
        },
        wording: sms.text.trim().to_owned(),
        provider_id: sms.id.clone(),
    })
}

fn draft(
    home: &Home,
    gateway: &str,
    sms: &Inbound,
    keyword: Option<Keyword>,
    received: Timestamp,
) -> Draft {
    let media = sms.media.iter().map(|file| v1::SmsMedia {
        url: file.url.clone(),
        mime_type: file.mime_type.clone().unwrap_or_default(),
    });
    let keyword = match keyword {
        None => v1::SmsKeyword::Unspecified,
        Some(Keyword::Stop) => v1::SmsKeyword::Stop,
        Some(Keyword::Start) => v1::SmsKeyword::Start,
        Some(Keyword::Help) => v1::SmsKeyword::Help,
    };
    let event = v1::InboundSmsReceived {
        provider_message_id: sms.id.clone(),
        text: sms.text.clone(),
        provider: gateway.to_owned(),
        keyword: keyword.into(),
        media: media.collect(),
        segments: sms.segments.unwrap_or_default(),
        ..v1::InboundSmsReceived::default()
    };
    let at = sms.at.unwrap_or(received);
    Draft {
        provider_id: sms.id.clone(),
        addresses: addresses(phone(&sms.from).as_deref(), None, None),
        // A gateway that tells no time gives repeats another one each.
        repeats_within: match sms.at {
            Some(_) => SignedDuration::ZERO,
            None => REPEATS_WITHIN,
        },
        ..Draft::new(id::inbound(&home.number, &sms.id), at, Kind::Sms, event)
    }
}

/// Returns a phone as E.164, if the gateway wrote one: with or without the plus.
fn phone(written: &str) -> Option<String> {
    let digits = digits(written);
    casement_domain::id::Phone::parse(digits)
        .ok()
        .map(|phone| phone.digits().to_owned())
}

fn digits(written: &str) -> &str {
    written.strip_prefix('+').unwrap_or(written)
}

/// Returns the accounts that an SMS sender belongs to. Several may share one; the first, by its
/// number, is the one whose conversation it is, so that the same one is found every time.
fn accounts_of(desk: &Desk, sender: &str, account: Option<&str>) -> Vec<v1::Number> {
    let mut numbers = desk.directory.numbers();
    numbers.sort_by(|a, b| a.number.cmp(&b.number));
    let all = |is_meant: &dyn Fn(&v1::Number) -> bool| -> Vec<v1::Number> {
        let meant = numbers.iter().filter(|number| is_meant(number));
        meant.cloned().collect()
    };
    let sender_of = |number: &v1::Number| number.sms.clone().unwrap_or_default();
    let by_sender = |number: &v1::Number| {
        let known = sender_of(number).sender;
        !known.is_empty() && digits(&known) == digits(sender)
    };
    // A messaging service stands for senders that the account does not list.
    let by_service = |number: &v1::Number| {
        let sms = sender_of(number);
        sms.sender.starts_with("MG") && Some(sms.account_sid.as_str()) == account
    };
    let configured = &desk.sms.senders;
    let found = [
        all(&by_sender),
        all(&|number| number.number == digits(sender)),
        all(&|number| configured.is_sender_of(&number.number, sender, account)),
        all(&by_service),
    ];
    found
        .into_iter()
        .find(|accounts| !accounts.is_empty())
        .unwrap_or_default()
}

/// Returns one home for each portfolio: who stops a sender stops it for all who share it.
fn homes(accounts: &[v1::Number]) -> Result<Vec<Home>, Setback> {
    let mut homes: Vec<Home> = Vec::new();
    for account in accounts {
        let home = Home::of(account)?;
        if homes.iter().all(|known| known.portfolio != home.portfolio) {
            homes.push(home);
        }
    }
    Ok(homes)
}

async fn unknown_sender(
    desk: &Desk,
    post: &Post,
    sent: &Sent<'_>,
    sender: &str,
) -> Result<(), Setback> {
    let kept = Kept {
        id: body_id(sent),
        at: post.received,
        path: "",
        field: sent.gateway,
        entry_id: &hashed(sender),
        reason: "SMS_SENDER_UNKNOWN",
        content_json: sent.json(),
    };
    aside::keep(desk, None, post, kept).await
}

fn body_id(sent: &Sent<'_>) -> Uuid {
    let hash = hex::encode(Sha256::digest(sent.body));
    id::webhook_item(sent.gateway, "", "", &hash, "")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn keywords() -> Lexicon {
        let whatsapp = crate::words::WhatsappKeywords::default();
        Lexicon::new(&crate::words::sms(), &whatsapp, &BTreeMap::new()).unwrap()
    }

    fn sms(text: &str, opt_out: Option<OptOut>) -> Inbound {
        Inbound {
            id: "SM1".to_owned(),
            text: text.to_owned(),
            opt_out,
            ..Inbound::default()
        }
    }

    #[test]
    fn the_gateways_own_reading_goes_before_ours() {
        for (text, opt_out, expected) in [
            ("stop", None, Some(Keyword::Stop)),
            ("no more", None, None),
            ("no more", Some(OptOut::Stop), Some(Keyword::Stop)),
            ("stop", Some(OptOut::Help), Some(Keyword::Help)),
            ("stop", Some(OptOut::Start), Some(Keyword::Start)),
        ] {
            assert_eq!(
                keyword(&keywords(), "acme", &sms(text, opt_out)),
                expected,
                "{text}"
            );
        }
    }

    #[test]
    fn help_says_nothing_about_consent() {
        let at = Timestamp::UNIX_EPOCH;
        let refused = |text: &str| {
            let sms = sms(text, None);
            said(&sms, keyword(&keywords(), "acme", &sms), at).map(|said| said.is_refused)
        };
        assert_eq!(refused("STOP"), Some(true));
        assert_eq!(refused("start"), Some(false));
        assert_eq!(refused("HELP"), None);
        assert_eq!(refused("hello"), None);
    }

    #[test]
    fn a_phone_is_one_with_and_without_its_plus_and_a_short_code_is_none() {
        for written in ["+447700900000", "447700900000"] {
            assert_eq!(phone(written).as_deref(), Some("447700900000"));
        }
        for written in ["", "ACME", "85", "anonymous"] {
            assert_eq!(phone(written), None, "{written}");
        }
    }
}
