//! What customers allow: read before every decision, read again between each claim and its call,
//! and learned from refusals by providers and from what callers vouch for.
//!
//! Which routes a refusal rules out, and where an opt-in is needed, is decided in the domain. Who is
//! asked for consent, and how, is not done here.

use casement_domain::consent::{Choice, Consent, Provenance, Scope, Standing, Topic};
use casement_domain::id::{CustomerId, PortfolioId};
use casement_domain::routing::{Need, Purpose, Route};
use casement_event::convert::ConvertError;
use casement_event::convert::consent::{Asserted, read_assertion};
use casement_event::convert::message::read_purpose;
use casement_event::v1;
use casement_event_log::Log;
use casement_event_log::consent::{self, Change, ConsentError, Known};
use casement_event_log::{conversation, customers, erasure};
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

/// What a decision knew of what the customer allows.
pub(crate) struct Rested {
    portfolio: PortfolioId,
    ids: Vec<CustomerId>,
    /// Sequence of the newest record; 0 if there is none.
    pub(crate) sequence: u64,
    /// The customer was erased.
    pub(crate) is_erased: bool,
    /// When an opt-in is needed.
    need: Need,
}

impl Rested {
    pub(crate) fn new(
        portfolio: PortfolioId,
        ids: Vec<CustomerId>,
        known: &Known,
        need: Need,
    ) -> Self {
        Self {
            portfolio,
            ids,
            sequence: known.sequence,
            is_erased: known.is_erased,
            need,
        }
    }
}

/// Returns what a message is for.
pub(crate) fn purpose(of: &v1::MessageRequested) -> Purpose {
    read_purpose(of.purpose()).unwrap_or(Purpose::Service)
}

/// Returns what whoever asked for a message vouches for, if anything.
pub(crate) fn asserted(of: &v1::MessageRequested) -> Result<Option<Asserted>, ConvertError> {
    of.consent.as_ref().map(read_assertion).transpose()
}

/// Returns how the customer stands to messages of a purpose. What was vouched for and recorded
/// counts by its time as any other word; what stands on the message alone takes back no refusal.
pub(crate) fn standing(known: &Known, asserted: Option<&Asserted>, scope: Scope) -> Standing {
    let sequence = (known.sequence > 0).then_some(known.sequence);
    let Some(asserted) = asserted else {
        return known.consent.standing(scope, sequence);
    };
    if asserted.is_recorded {
        let consent = known.consent.clone().join(words(asserted, scope));
        return consent.standing(scope, sequence);
    }
    let (source, at) = (&asserted.choice.provenance.source, asserted.choice.at);
    let standing = known.consent.standing(scope, sequence);
    let channels = asserted.channels.iter();
    channels.fold(standing, |standing, channel| {
        standing.vouched_for(*channel, source, at)
    })
}

fn words(asserted: &Asserted, scope: Scope) -> Consent {
    let channels = asserted.channels.iter();
    channels
        .map(|channel| {
            let topic = Topic {
                channel: *channel,
                scope,
            };
            (topic, asserted.choice.clone())
        })
        .collect()
}

/// Writes what a caller vouches for into the customer's record, if that was asked for: before the
/// message is accepted, so that whoever hears of it finds it. Repeating it writes nothing.
pub(crate) async fn keep(
    engine: &Engine,
    message: &Loaded,
    caller: &str,
    now: Timestamp,
) -> Result<(), DriveError> {
    let asserted = asserted(&message.request)?.filter(|asserted| asserted.is_recorded);
    let Some(mut asserted) = asserted else {
        return Ok(());
    };
    caller.clone_into(&mut asserted.choice.provenance.recorded_by);
    let conversation = &message.context.conversation;
    let portfolio = PortfolioId::parse(&conversation.portfolio).map_err(ConvertError::Id)?;
    let change = Change {
        consent: words(&asserted, purpose(&message.request).into()),
        traceparent: message.traceparent.clone(),
        caller: caller.to_owned(),
        ..Change::default()
    };
    let (log, customer) = (&engine.log, &conversation.customer);
    consent::record(log, SOURCE, &portfolio, customer, &change, now).await?;
    Ok(())
}

/// Whether anything that a customer may say rules out a message of a purpose on a route. An answer
/// in an open window, nothing does.
fn is_heeded(route: Route, purpose: Purpose, need: Need) -> bool {
    route != Route::FreeForm || purpose != Purpose::Service || need == Need::Always
}

/// Returns whether the customer said anything since the decision, or proved to be another: then the
/// claim is not called for, and decided anew. Asked once the claim stands on the log, so that no
/// call begins after what was appended before its claim.
pub(crate) async fn has_changed(
    log: &Log,
    rested: &Rested,
    route: Route,
    purpose: Purpose,
) -> Result<bool, ConsentError> {
    let portfolio = &rested.portfolio;
    if !is_heeded(route, purpose, rested.need) {
        // But that the customer was erased rules out everything.
        for id in &rested.ids {
            if erasure::of_customer(log, portfolio, id).await?.is_some() {
                return Ok(true);
            }
        }
        return Ok(false);
    }
    let known = async { read(log, portfolio, &rested.ids).await };
    let survivor = async {
        match rested.ids.last() {
            Some(last) => Ok(customers::survivor(log, portfolio, last).await?),
            None => Ok(None),
        }
    };
    let (known, survivor) = futures::future::try_join(known, survivor).await?;
    // A record that is newer than any of these has a higher sequence than all of them.
    Ok(known.is_erased || known.sequence != rested.sequence || survivor.is_some())
}

/// The role, as it stands on its events.
const SOURCE: &str = "casement/dispatcher";

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
            ..Provenance::default()
        },
    };
    let change = Change {
        consent: Consent::of(topic, choice),
        cause,
        traceparent: message.traceparent.clone(),
        ..Change::default()
    };
    let (source, now) = (SOURCE, engine.clock.now());
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

    async fn log(server: &casement_testkit::NatsServer) -> Log {
        let config = casement_event_log::Config {
            servers: server.url(),
            accept_unsafe_broker: true,
            ..casement_event_log::Config::default()
        };
        Log::connect(&config).await.unwrap()
    }

    #[tokio::test]
    async fn a_word_after_the_decision_is_found_and_an_answer_is_not_asked_about() {
        let server = casement_testkit::NatsServer::start().await;
        let log = log(&server).await;
        let portfolio = PortfolioId::parse("p1").unwrap();
        let ana = CustomerId::parse("ana").unwrap();
        let said = async |topic, second| {
            let at = Timestamp::from_second(second).unwrap();
            let choice = Choice {
                at,
                is_refused: true,
                provenance: Provenance::default(),
            };
            let change = Change {
                consent: Consent::of(topic, choice),
                ..Change::default()
            };
            consent::record(&log, SOURCE, &portfolio, &ana, &change, at)
                .await
                .unwrap()
        };
        let rested = |known: &Known, need| {
            let ids = vec![ana.clone()];
            Rested::new(portfolio.clone(), ids, known, need)
        };
        let changed = async |rested: &Rested, route, purpose| {
            has_changed(&log, rested, route, purpose).await.unwrap()
        };
        let (never, marketing) = (Need::Never, Purpose::Marketing);
        let before = rested(&Known::default(), never);
        assert!(!changed(&before, Route::Template, marketing).await);
        let known = said(Topic::WHATSAPP_MARKETING, 5).await;
        assert!(changed(&before, Route::Template, marketing).await);
        assert!(changed(&before, Route::FreeForm, marketing).await);
        assert!(changed(&before, Route::Sms, Purpose::Service).await);
        let answer = (Route::FreeForm, Purpose::Service);
        assert!(!changed(&before, answer.0, answer.1).await);
        let always = rested(&Known::default(), Need::Always);
        assert!(changed(&always, answer.0, answer.1).await);

        let after = rested(&known, never);
        assert!(!changed(&after, Route::Template, marketing).await);
        said(Topic::SMS, 6).await;
        assert!(changed(&after, Route::Template, marketing).await);
    }
}
