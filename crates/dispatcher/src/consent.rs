//! What customers allow: read before every decision, and learned from refusals by providers.
//!
//! Which routes a refusal rules out is decided in the domain. Who is asked for consent, and how,
//! is not done here.

use casement_domain::consent::{Choice, Consent, Provenance, Topic};
use casement_domain::id::{CustomerId, PortfolioId};
use casement_event::convert::ConvertError;
use casement_event_log::Log;
use casement_event_log::consent::{self, Change, ConsentError, Known};
use casement_event_log::conversation;
use casement_sms::errors::{Action, ErrorRule};
use jiff::Timestamp;

use crate::aggregate::Loaded;
use crate::engine::{DriveError, Engine};

/// Meta: the customer stopped marketing messages of this business.
const MARKETING_STOPPED: i64 = 131_050;

/// Reads what a customer allows, under all ids that it goes or went by.
pub(crate) async fn read(
    log: &Log,
    portfolio: &PortfolioId,
    ids: &[CustomerId],
) -> Result<Known, ConsentError> {
    let mut known = Known::default();
    for id in ids {
        known = known.join(consent::read(log, portfolio, id).await?);
    }
    Ok(known)
}

/// Why a provider would not send or deliver.
pub(crate) struct Refused<'a> {
    /// Who says so: nobody for WhatsApp, else the name of the SMS gateway.
    pub(crate) gateway: Option<&'a str>,
    pub(crate) code: i64,
    /// When it was so at the latest.
    pub(crate) at: Timestamp,
    /// What is remembered of it.
    pub(crate) provider_id: &'a str,
}

/// Writes down what a refusal says about the customer, if anything. Safe to repeat.
pub(crate) async fn learn(
    engine: &Engine,
    message: &Loaded,
    refused: &Refused<'_>,
) -> Result<(), DriveError> {
    let rule = |gateway: &str, code| engine.caller.sms.rule(gateway, code);
    let Some(topic) = topic(refused.gateway, refused.code, rule) else {
        return Ok(());
    };
    let conversation = &message.context.conversation;
    let portfolio = PortfolioId::parse(&conversation.portfolio).map_err(ConvertError::Id)?;
    let cause = consent::cause(refused.provider_id);
    let choice = Choice {
        at: refused.at,
        is_refused: true,
        provenance: Provenance {
            source: Provenance::PROVIDER_ERROR.to_owned(),
            wording: refused.code.to_string(),
            reference: cause.clone(),
        },
    };
    let change = Change {
        consent: Consent::of(topic, choice),
        cause,
        traceparent: message.traceparent.clone(),
    };
    let (source, now) = ("casement/dispatcher", engine.clock.now());
    // Who carries on for the customer has to be kept to it, too.
    let key = message.key();
    let (_, ids) = conversation::follow(&engine.log, &engine.directory, &portfolio, &key).await?;
    for id in ids {
        consent::record(&engine.log, source, &portfolio, &id, &change, now).await?;
    }
    Ok(())
}

/// Returns what the customer has refused, if that is why the provider refuses.
fn topic(gateway: Option<&str>, code: i64, rule: impl Fn(&str, i64) -> ErrorRule) -> Option<Topic> {
    match gateway {
        None => (code == MARKETING_STOPPED).then_some(Topic::WHATSAPP_MARKETING),
        Some(gateway) => (rule(gateway, code).action == Action::OptOut).then_some(Topic::SMS),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_customers_own_refusals_are_learned() {
        for (gateway, code, expected) in [
            (None, 131_050, Some(Topic::WHATSAPP_MARKETING)),
            (None, 131_049, None),
            (None, 131_047, None),
            (None, 21_610, None),
            (Some("twilio"), 21_610, Some(Topic::SMS)),
            (Some(""), 21_610, Some(Topic::SMS)),
            (Some("vonage"), 1_240, Some(Topic::SMS)),
            (Some("twilio"), 30_007, None),
            (Some("twilio"), 131_050, None),
            (Some("acme"), 21_610, None),
        ] {
            let found = topic(gateway, code, casement_sms::errors::lookup);
            assert_eq!(found, expected, "{gateway:?} {code}");
        }
    }
}
