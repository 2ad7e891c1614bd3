//! What providers report about our messages, folded into them.

use std::sync::Arc;
use std::time::Duration;

use casement_domain::id::MessageId;
use casement_domain::message::{self, Report, ReportedFailure};
use casement_event::convert::message::{Details, read_delivery};
use casement_event::convert::{self};
use casement_event::subject::{self, Family, stream};
use casement_event::{Event, Record, Stored, id, v1};
use casement_event_log::dead::{Letter, Tried};
use casement_event_log::{AppendError, Delivery, Expect, Failure, WorkSpec};
use jiff::SignedDuration;
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

use crate::aggregate::Loaded;
use crate::commands::put_back::{self, PutBackError};
use crate::consent::{self, Refused};
use crate::engine::{DriveError, Engine};
use crate::evidence;
use crate::halts::orders::Told;
use crate::{metrics, money, refusals, sms, trace};

/// How many reports are worked on at once.
const IN_HAND_MAX: usize = 64;

/// How old a report of a failure may be to halt anything.
const HALTS_WITHIN: SignedDuration = SignedDuration::from_mins(15);

/// Takes reports until stopped. Replicas share them.
pub(crate) async fn run(engine: Arc<Engine>, stopping: CancellationToken) -> anyhow::Result<()> {
    let spec = WorkSpec {
        name: "dispatcher-reports",
        stream: stream::MESSAGES,
        filters: vec![Family::Report.filter()],
        in_hand_max: IN_HAND_MAX,
        ack_wait: Duration::from_secs(10),
    };
    let log = engine.log.clone();
    log.work(spec, stopping, |delivery| take(&engine, delivery))
        .await;
    Ok(())
}

async fn take(engine: &Arc<Engine>, delivery: Delivery) -> Result<(), Failure> {
    match take_up(engine, &delivery.stored).await? {
        None => Ok(()),
        Some(reason) => Ok(bury(engine, &delivery, reason).await?),
    }
}

/// Folds a report into its message. Returns why that can never be done.
async fn take_up(engine: &Arc<Engine>, stored: &Stored) -> Result<Option<String>, DriveError> {
    let read = match (stored.event(), subject::parse_message(&stored.subject)) {
        (Ok(Event::StatusReported(report)), Some((_, id))) => Ok((report, id)),
        (Ok(other), _) => Err(format!("a {} is not a report", other.event_type())),
        (Err(error), _) => Err(error.to_string()),
    };
    let reason = match read {
        Ok((report, id)) => match Box::pin(fold(engine, &id, &report, stored.sequence)).await {
            Err(error) if error.is_hopeless() => {
                format!("{:#}", anyhow::Error::new(error))
            }
            other => {
                other?;
                return Ok(None);
            }
        },
        Err(reason) => reason,
    };
    Ok(Some(reason))
}

/// Tries dead letters again as somebody asks for it, until stopped: reports and commands.
pub(crate) async fn grant_wishes(
    engine: Arc<Engine>,
    stopping: CancellationToken,
) -> anyhow::Result<()> {
    let log = engine.log.clone();
    let now = || engine.clock.now();
    let who = ("dispatcher", "casement/dispatcher");
    log.grant_wishes(who, now, stopping, |letter| retry(&engine, letter))
        .await;
    Ok(())
}

async fn retry(engine: &Arc<Engine>, letter: Letter) -> Result<Tried, Failure> {
    if letter.letter.stream == stream::COMMANDS {
        return match put_back::publish_again(&engine.log, &letter).await {
            Ok(()) => Ok(Tried::Helped),
            Err(error @ (PutBackError::NotACommand | PutBackError::NotKept)) => {
                Ok(Tried::InVain(error.to_string()))
            }
            Err(error) => Err(error.into()),
        };
    }
    let Some(stored) = engine.log.buried(&letter).await? else {
        return Ok(Tried::InVain("the report has left the log".to_owned()));
    };
    let reason = take_up(engine, &stored).await?;
    Ok(reason.map_or(Tried::Helped, Tried::InVain))
}

/// Folds a report that stands at a sequence into its message, event by event. Safe to repeat.
async fn fold(
    engine: &Arc<Engine>,
    id: &MessageId,
    reported: &v1::StatusReported,
    sequence: u64,
) -> Result<(), DriveError> {
    // A word that is none of ours changes nothing; the report itself is kept.
    if reported.status() == v1::DeliveryStatus::Unspecified {
        return Ok(());
    }
    let mut loaded = engine.recent.load(&engine.log, id).await?;
    if loaded.is_none() {
        if engine.is_behind(sequence).await? {
            return Err(DriveError::Behind);
        }
        // Who answered before may have been somebody else.
        loaded = engine.recent.load(&engine.log, id).await?;
    }
    let Some(mut loaded) = loaded else {
        // Purged, or never ours: nothing to fold it into. The report itself is kept.
        metrics::unmatched();
        return Ok(());
    };
    if loaded.message.attempt(reported.attempt).is_none() {
        engine.prove(&mut loaded).await?;
        if loaded.message.attempt(reported.attempt).is_none() && engine.is_behind(sequence).await? {
            return Err(DriveError::Behind);
        }
    }
    let mut is_new = true;
    loop {
        let span = trace::folding(&loaded, reported.attempt);
        let folding = fold_into(engine, &mut loaded, reported, std::mem::take(&mut is_new));
        let folded = Box::pin(folding.instrument(span)).await?;
        // What was told meanwhile may be reason to tell more.
        if folded == Folded::Whole && !engine.prove(&mut loaded).await? {
            return Box::pin(engine.conclude(&mut loaded)).await;
        }
    }
}

/// How much of a report is folded in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Folded {
    /// There may be more to tell, or somebody else was faster.
    Perhaps,
    Whole,
}

/// Appends one event that a report gives to tell.
async fn fold_into(
    engine: &Arc<Engine>,
    loaded: &mut Loaded,
    reported: &v1::StatusReported,
    is_new: bool,
) -> Result<Folded, DriveError> {
    let report = read(engine, reported, loaded)?;
    // Whatever it does to this message: the next one must not go.
    if let Err(failure) = &report.status {
        let gateway = reported.channel() == v1::Channel::Sms;
        let refused = Refused {
            gateway: gateway.then_some(reported.sms_provider.as_str()),
            code: failure.code,
            at: report.at,
            provider_id: &reported.provider_message_id,
        };
        Box::pin(consent::learn(engine, loaded, &refused)).await?;
        Box::pin(learn_halt(engine, loaded, &report, failure.code, reported)).await?;
    }
    // Even if the message itself has come further: only the first report says how it is billed.
    if is_new {
        Box::pin(learn(engine, loaded, &report, reported)).await?;
    }
    let now = engine.clock.now();
    let event = message::on_report(&loaded.message, &report, &engine.rules.message, now)
        .or_else(|| money::billed(&engine.money, loaded, &report, reported));
    let Some(event) = event else {
        return Ok(Folded::Whole);
    };
    let details = Details {
        error: reported.errors.first().cloned(),
        pricing: reported.pricing.clone(),
        cost: engine.money.on_report(loaded, &event, &report, reported),
        provider_status: reported.provider_status.clone(),
        ..Details::default()
    };
    match loaded.append(&engine.log, &event, details, now).await {
        Ok(_) => {
            engine.recent.keep(loaded);
            Ok(Folded::Perhaps)
        }
        Err(AppendError::Conflict { .. }) => {
            loaded.is_proven = false;
            engine.prove(loaded).await?;
            Ok(Folded::Perhaps)
        }
        Err(error) => Err(error.into()),
    }
}

/// Sets the halt that follows from a failure, unless it was reported too late to say anything
/// about now.
async fn learn_halt(
    engine: &Engine,
    loaded: &Loaded,
    report: &Report,
    code: i64,
    reported: &v1::StatusReported,
) -> Result<(), DriveError> {
    let age = engine.clock.now().duration_since(report.at);
    let Some(attempt) = loaded.message.attempt(report.attempt) else {
        return Ok(());
    };
    if age > HALTS_WITHIN {
        return Ok(());
    }
    let told = match reported.channel() {
        v1::Channel::Sms => Told::Gateway(engine.caller.sms.rule(&reported.sms_provider, code)),
        v1::Channel::Whatsapp | v1::Channel::Unspecified => Told::Platform {
            rule: casement_whatsapp::errors::lookup(code),
            retry_after: None,
        },
    };
    let error = reported.errors.first().cloned().unwrap_or_default();
    engine.halt(loaded, attempt, &told, &error, report.at).await
}

/// Records what a report tells about the conversation, before it is folded in.
async fn learn(
    engine: &Engine,
    loaded: &Loaded,
    report: &Report,
    reported: &v1::StatusReported,
) -> Result<(), DriveError> {
    let Some(attempt) = loaded.message.attempt(report.attempt) else {
        return Ok(());
    };
    let stakes = loaded.stakes(attempt.number)?;
    let findings = evidence::of_report(attempt, stakes, report, reported);
    Ok(evidence::record(engine, loaded, attempt, &findings).await?)
}

fn read(
    engine: &Engine,
    reported: &v1::StatusReported,
    loaded: &Loaded,
) -> Result<Report, DriveError> {
    let times = reported.times.unwrap_or_default();
    let at = convert::required_instant("event_time", times.event_time.as_ref())?;
    let tries = loaded
        .message
        .attempt(reported.attempt)
        .map(|known| {
            let same = |one: &&message::Attempt| {
                one.route == known.route && one.number < known.number && one.was_called
            };
            loaded.message.attempts.iter().filter(same).count()
        })
        .unwrap_or_default();
    let code = reported
        .errors
        .first()
        .map(|error| error.code)
        .unwrap_or_default();
    let refusal = || match reported.channel() {
        v1::Channel::Sms => {
            sms::refusal_of_code(&engine.caller.sms, &reported.sms_provider, code, tries)
        }
        v1::Channel::Whatsapp | v1::Channel::Unspecified => {
            refusals::of_meta(&casement_whatsapp::errors::lookup(code), tries, None)
        }
    };
    let status = read_delivery(reported.status()).ok_or_else(|| ReportedFailure {
        code,
        refusal: refusal(),
    });
    let provider_id = reported.provider_message_id.clone();
    Ok(Report {
        attempt: reported.attempt,
        provider_id,
        at,
        status,
    })
}

/// Puts what can never be read where an operator finds it.
async fn bury(engine: &Engine, delivery: &Delivery, reason: String) -> Result<(), AppendError> {
    let stored = &delivery.stored;
    tracing::error!(
        sequence = stored.sequence,
        reason,
        "report goes to the dead letters"
    );
    let now = engine.clock.now();
    let letter = v1::DeadLetter {
        role: "dispatcher".to_owned(),
        reason,
        time: Some(convert::timestamp(now)),
        stream: stored.stream.clone(),
        sequence: stored.sequence,
        item: stored.payload.to_vec(),
        ..v1::DeadLetter::default()
    };
    let id = id::dead("dispatcher", &stored.stream, stored.sequence, "");
    let record = Record::new(
        subject::dead("dispatcher"),
        id,
        "casement/dispatcher",
        now,
        letter,
    );
    engine.log.append(record, Expect::Anything).await?;
    Ok(())
}
