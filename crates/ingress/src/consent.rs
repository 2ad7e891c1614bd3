//! What customers say about what they allow, on its way to their record.
//!
//! Written before the fact that says it, so that whoever hears of the fact finds it in force.
//! What a word means is decided by whoever heard it.

use casement_domain::consent::keywords::Keyword;
use casement_domain::consent::{Choice, Consent, Provenance, Topic};
use casement_domain::inbound::Addresses;
use casement_event_log::consent::{self, Change};
use casement_event_log::customers;
use casement_whatsapp::webhook::{InboundMessage, Item, MessageKind, Preference, UserPreference};
use jiff::Timestamp;

use crate::SOURCE;
use crate::conversation::{self, ROUNDS_MAX};
use crate::draft::{Draft, item_id};
use crate::error::Setback;
use crate::place::{Desk, Home, Post};

/// WhatsApp Cloud API: the one category of preferences there is.
const MARKETING: &str = "marketing_messages";

/// How much of a wording is kept, in characters.
const WORDING_CHARS_MAX: usize = 64;

/// A customer's word.
#[derive(Debug, Clone)]
pub(crate) struct Said {
    pub(crate) topic: Topic,
    pub(crate) is_refused: bool,
    /// When it was said.
    pub(crate) at: Timestamp,
    /// How we know.
    pub(crate) source: &'static str,
    pub(crate) wording: String,
    /// The provider's id of the message.
    pub(crate) provider_id: String,
}

/// Writes down what a customer says about one topic.
pub(crate) async fn record(
    desk: &Desk,
    home: &Home,
    post: &Post,
    addresses: &Addresses,
    said: &Said,
) -> Result<(), Setback> {
    if addresses.is_empty() || conversation::is_erased(desk, home, addresses, said.at).await? {
        return Ok(());
    }
    let change = change(said, post);
    let portfolio = &home.portfolio;
    let mut customer = conversation::resolve(desk, home, post, addresses).await?;
    // Who the customer is may change meanwhile: then it is written for the one who carries on,
    // too, since what stood there was carried over before.
    for _ in 0..ROUNDS_MAX {
        let now = desk.clock.now();
        consent::record(&desk.log, SOURCE, portfolio, &customer, &change, now).await?;
        match customers::find(&desk.log, &desk.tokens, portfolio, addresses).await? {
            Some(found) if found != customer => customer = found,
            Some(_) | None => return Ok(()),
        }
    }
    Err(Setback::Contended {
        subject: casement_event::subject::consent(portfolio, &customer),
    })
}

fn change(said: &Said, post: &Post) -> Change {
    let cause = consent::cause(&said.provider_id);
    let choice = Choice {
        at: said.at,
        is_refused: said.is_refused,
        provenance: Provenance {
            source: said.source.to_owned(),
            wording: said.wording.chars().take(WORDING_CHARS_MAX).collect(),
            reference: cause.clone(),
            ..Provenance::default()
        },
    };
    Change {
        consent: Consent::of(said.topic, choice),
        cause,
        traceparent: post.traceparent.clone(),
        ..Change::default()
    }
}

/// Writes down what a WhatsApp message says, if it is one of the words of the number's brand and
/// nothing else, written or tapped. An answer that the customer's app gave by itself says nothing.
pub(crate) async fn message(
    desk: &Desk,
    home: &Home,
    post: &Post,
    message: &InboundMessage,
    draft: &Draft,
) -> Result<(), Setback> {
    let is_said = matches!(message.kind, MessageKind::Text | MessageKind::Button);
    let Some(text) = message.text.as_deref().filter(|_| is_said) else {
        return Ok(());
    };
    let heard = desk.sms.keywords.whatsapp(&home.brand, text);
    let (topic, is_refused) = match heard {
        Some((topic, Keyword::Stop)) => (topic, true),
        Some((topic, Keyword::Start)) => (topic, false),
        Some((_, Keyword::Help)) | None => return Ok(()),
    };
    if message.automatic {
        return Ok(());
    }
    let said = Said {
        topic,
        is_refused,
        at: draft.at,
        source: Provenance::WHATSAPP_KEYWORD,
        wording: text.trim().to_owned(),
        provider_id: message.wamid.clone(),
    };
    record(desk, home, post, &draft.addresses, &said).await
}

/// Writes down what a `user_preferences` webhook says. A category or a word that we do not know
/// changes nothing; the fact itself is kept.
pub(crate) async fn preference(
    desk: &Desk,
    home: &Home,
    post: &Post,
    item: &Item,
    told: &UserPreference,
    addresses: &Addresses,
) -> Result<(), Setback> {
    let is_refused = match &told.preference {
        Preference::Stop => true,
        Preference::Resume => false,
        Preference::Other(_) => return Ok(()),
    };
    if told.category != MARKETING {
        return Ok(());
    }
    let said = Said {
        topic: Topic::WHATSAPP_MARKETING,
        is_refused,
        at: told.at,
        source: Provenance::USER_PREFERENCES,
        wording: format!("{} {}", told.preference.as_str(), told.category),
        provider_id: item_id(item).to_string(),
    };
    record(desk, home, post, addresses, &said).await
}
