//! The demo's story: four messages, four ways, told as they happen.
//!
//! It goes through the public surfaces only: customers act on the simulated platform, messages are
//! sent and asked for over gRPC, events are read from the log as any subscriber would. It decides
//! nothing; what it tells came true, or it says what did not.

mod cast;
mod platform;
mod teller;
mod witness;

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use casement_event::convert::timestamp;
use casement_event::{Event, v1};
use casement_event_log::Log;
use casement_proto::account::v1::consent_item::Customer as Whose;
use casement_proto::account::v1::{ConsentItem, ConsentState, RecordConsentRequest};
use casement_proto::audit::v1::VerifyChainRequest;
use casement_proto::conversation::v1::GetTimelineRequest;
use casement_proto::message::v1::send_message_request::Customer as To;
use casement_proto::message::v1::{GetMessageRequest, SendMessageRequest};
use casement_shell::SharedClock;
use casement_shell::health::Readiness;
use casement_simulator::{Channel, Customer, MessageKind};
use jiff::{SignedDuration, Timestamp};
use secrecy::SecretString;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::cli::CustomerArgs;
use crate::client::{Api, explain};
use crate::commands::{audit, conversation, message};
use crate::{demo, output, person};
use cast::{Cast, Saying, said};
pub(crate) use platform::Platform;
use teller::Teller;
use witness::{Seen, Witness};

/// How long anything may take that takes a moment.
const SOON: Duration = Duration::from_secs(10);

/// How long the roles may take to be ready.
const READY_MAX: Duration = Duration::from_mins(1);

/// What the story needs of a running Casement and of the platform around it.
pub(crate) struct Stage {
    pub(crate) platform: Platform,
    /// How long a window is open.
    pub(crate) window: SignedDuration,
    pub(crate) log: Log,
    pub(crate) clock: SharedClock,
    /// Where the API is, as a URL, and the token for it.
    pub(crate) api: String,
    pub(crate) token: SecretString,
    /// What has to be ready first, if that is in this process.
    pub(crate) readiness: Option<Readiness>,
    /// What the box at the end shows; no box without it.
    pub(crate) places: Option<Places>,
    pub(crate) stopping: CancellationToken,
}

/// Where everything is in the demo.
pub(crate) struct Places {
    pub(crate) api: SocketAddr,
    /// How the API is called, as in `http`.
    pub(crate) api_scheme: &'static str,
    pub(crate) console: SocketAddr,
    pub(crate) webhooks: SocketAddr,
    pub(crate) simulator: SocketAddr,
    pub(crate) health: SocketAddr,
    pub(crate) broker_url: String,
}

/// Tells the story, then stays until the stop; with `exit` asks for the stop itself.
///
/// # Errors
/// Only with `exit`: what did not come true. Otherwise it is told, and the process goes on, so that
/// somebody can look.
pub(crate) async fn play(stage: Stage, exit: Option<mpsc::Sender<()>>) -> anyhow::Result<()> {
    let stopping = stage.stopping.clone();
    let told = tokio::select! {
        told = told(&stage) => told,
        () = stopping.cancelled() => return Ok(()),
    };
    match (told, exit) {
        (Err(error), Some(_)) => return Err(error.context("the story went wrong")),
        (Err(error), None) if output::is_reader_gone(&error) => {}
        (Err(error), None) => output::talk(format!("the story went wrong: {error:#}")),
        (Ok(()), Some(exit)) => {
            // Nobody listens any more only if it stops already.
            let _ = exit.send(()).await;
        }
        (Ok(()), None) => {}
    }
    stopping.cancelled().await;
    Ok(())
}

/// Tells the story once.
///
/// # Errors
/// What did not come true.
pub(crate) async fn told(stage: &Stage) -> anyhow::Result<()> {
    if let Some(readiness) = &stage.readiness {
        ready(readiness).await?;
    }
    let api = Api::open(&stage.api, &stage.token, None).await?;
    let witness = Witness::start(&stage.log, stage.clock.clone(), stage.stopping.clone()).await?;
    let cast = Cast::new(stage).await?;
    let story = Story {
        stage,
        api,
        witness,
        teller: Teller::new(),
        cast,
    };
    let outcome = story.tell().await;
    if let Some(places) = &stage.places {
        teller::print_box(places, &story.cast.ana)?;
    }
    outcome
}

async fn ready(readiness: &Readiness) -> anyhow::Result<()> {
    let mut ready = readiness.watch();
    let waiting = ready.wait_for(|ready| *ready);
    if tokio::time::timeout(READY_MAX, waiting).await.is_ok() {
        return Ok(());
    }
    let reasons: Vec<String> = readiness
        .reasons()
        .iter()
        .map(|(name, reason)| format!("{name}: {reason}"))
        .collect();
    anyhow::bail!("not ready after {READY_MAX:?}: {}", reasons.join("; "))
}

struct Story<'a> {
    stage: &'a Stage,
    api: Api,
    witness: Witness,
    teller: Teller,
    cast: Cast,
}

impl Story<'_> {
    async fn tell(&self) -> anyhow::Result<()> {
        let Cast { ana, chi, .. } = &self.cast;
        let length = person::duration(self.stage.window);
        teller::chapter(&format!(
            "A customer writes. Her window lasts 24 hours; here, {length}."
        ))?;
        let anas = self.writes(ana, "Hi! Where is my order 1042?").await?;
        let reply = said("It left our house this morning.").template(demo::TEMPLATE, "1042");
        self.is_sent(ana, reply, v1::Route::FreeForm).await?;

        teller::chapter("Another one, with a username and no phone, writes too.")?;
        let chis = self.writes(chi, "Do you have it in blue?").await?;

        teller::chapter("Outside a window it is the shop that begins, which takes an opt-in.")?;
        let ben = &self.cast.ben;
        for who in [ana, ben] {
            self.opts_in(who).await?;
        }

        teller::chapter("A third has never written. The template for him is paused by Meta.")?;
        let late = said("Your order 1043 is late, sorry.")
            .template(demo::PAUSED_TEMPLATE, "1043")
            .sms("Your order 1043 is late, sorry.");
        self.is_sent(ben, late, v1::Route::Sms).await?;

        teller::chapter("Time passes.")?;
        self.expires(ana, &anas).await?;

        teller::chapter("A late reply finds her window closed.")?;
        let reply = said("It is at your door tomorrow.").template(demo::TEMPLATE, "1042");
        let answered = self.is_sent(ana, reply, v1::Route::Template).await?;

        teller::chapter("A reply without a template, to somebody without a phone, has to wait.")?;
        self.closes(chi, &chis).await?;
        let reply = said("Yes, in two blues!").sms("Yes, in two blues!");
        self.is_held_and_released(chi, reply).await?;

        teller::chapter("Everything can be asked for.")?;
        self.asks(&answered, &anas).await
    }

    /// A customer writes, and everybody hears that the window is open.
    async fn writes(&self, who: &Customer, text: &str) -> anyhow::Result<String> {
        let from = self.witness.count();
        self.stage
            .platform
            .says(&who.id, demo::PHONE_NUMBER_ID, text)
            .await?;
        self.teller.says(&who.name, &format!("writes: {text}"))?;
        let (seen, customer, until) = self.opened(who, from).await?;
        let left = person::duration(until.duration_since(seen.at));
        let (at, id) = (until.strftime("%T"), teller::short(&customer));
        self.teller.event(
            "WindowOpened",
            &format!("customer {id}, until {at} UTC, {left} from now"),
        )?;
        Ok(customer)
    }

    /// The shop records that a customer wants to hear of their orders.
    async fn opts_in(&self, who: &Customer) -> anyhow::Result<()> {
        let customer = match &who.phone {
            Some(phone) => Whose::To(format!("+{phone}")),
            None => Whose::Recipient(who.user_id.clone()),
        };
        let item = ConsentItem {
            number: demo::NUMBER.to_owned(),
            customer: Some(customer),
            state: ConsentState::OptedIn.into(),
            source: v1::ConsentSource::WebForm.into(),
            time: Some(timestamp(self.stage.clock.now())),
            wording: "Tell me about my orders".to_owned(),
            recorded_by: "shop".to_owned(),
            ..ConsentItem::default()
        };
        let request = RecordConsentRequest { item: Some(item) };
        let asked = self.api.consents().record_consent(request).await;
        asked.map_err(explain)?;
        let text = format!("{} ticked a box: WhatsApp and SMS, not marketing", who.name);
        self.teller.event("ConsentRecorded", &text)?;
        Ok(())
    }

    /// Waits for this customer's window; others may write meanwhile.
    async fn opened(
        &self,
        who: &Customer,
        from: usize,
    ) -> anyhow::Result<(Seen, String, Timestamp)> {
        let mut others = Vec::new();
        loop {
            let looked = self.witness.until(from, SOON, "WindowOpened", |event| {
                let Event::WindowOpened(opened) = event else {
                    return None;
                };
                let window = opened.window.as_ref()?;
                let customer = &window.conversation.as_ref()?.customer_id;
                let until = person::instant(window.expire_time.as_ref())?;
                (!others.contains(customer)).then(|| (customer.clone(), until))
            });
            let (seen, (customer, until)) = looked.await?;
            let who = CustomerArgs {
                to: who.phone.as_ref().map(|phone| format!("+{phone}")),
                recipient: who.phone.is_none().then(|| who.user_id.clone()),
                customer: None,
            };
            if self.api.customer_id(demo::NUMBER, &who).await? == customer {
                return Ok((seen, customer, until));
            }
            others.push(customer);
        }
    }

    /// A message goes out the expected way and arrives.
    async fn is_sent(
        &self,
        to: &Customer,
        content: Saying,
        expected: v1::Route,
    ) -> anyhow::Result<String> {
        let from = self.witness.count();
        let id = self.send(to, content).await?;
        self.arrives(to, &id, from, expected).await?;
        Ok(id)
    }

    async fn send(&self, to: &Customer, content: Saying) -> anyhow::Result<String> {
        let customer = match &to.phone {
            Some(phone) => To::To(format!("+{phone}")),
            None => To::Recipient(to.user_id.clone()),
        };
        let free_form = content.0.free_form.clone().unwrap_or_default();
        let request = SendMessageRequest {
            number: demo::NUMBER.to_owned(),
            customer: Some(customer),
            content: Some(content.0),
            purpose: v1::Purpose::Utility.into(),
            ..SendMessageRequest::default()
        };
        self.teller
            .says("Shop", &format!("to {}: {}", to.name, free_form.text))?;
        let began = Instant::now();
        let answer = self
            .api
            .messages()
            .send_message(request)
            .await
            .map_err(explain)?;
        let took = person::duration(SignedDuration::try_from(began.elapsed()).unwrap_or_default());
        let id = answer.into_inner().message.unwrap_or_default().message_id;
        self.teller.event(
            "SendMessage",
            &format!("{} is on disk, after {took}", teller::short(&id)),
        )?;
        Ok(id)
    }

    async fn arrives(
        &self,
        to: &Customer,
        id: &str,
        from: usize,
        expected: v1::Route,
    ) -> anyhow::Result<()> {
        let (_, (route, decision)) = self
            .witness
            .until(from, SOON, "AttemptStarted", |event| match event {
                Event::AttemptStarted(started) if started.message_id == id => Some((
                    started.route(),
                    started.decision.clone().unwrap_or_default(),
                )),
                _ => None,
            })
            .await?;
        self.teller
            .event("AttemptStarted", &person::decision_line(&decision))?;
        ensure!(
            route == expected,
            "{} went to {} instead of {}",
            person::route(route),
            to.name,
            person::route(expected)
        );
        self.witness
            .until(
                from,
                SOON,
                "DeliveryAdvanced to DELIVERED",
                |event| match event {
                    Event::DeliveryAdvanced(advanced)
                        if advanced.message_id == id
                            && advanced.status() == v1::DeliveryStatus::Delivered =>
                    {
                        Some(())
                    }
                    _ => None,
                },
            )
            .await?;
        let text = self.received(to, route).await?;
        self.teller.event("DeliveryAdvanced", "DELIVERED")?;
        self.teller.says(
            &to.name,
            &format!("reads ({}): {text}", person::route(route)),
        )?;
        Ok(())
    }

    /// Returns what the customer got last; exactly one message may have come that way.
    async fn received(&self, by: &Customer, route: v1::Route) -> anyhow::Result<String> {
        let sent = self.stage.platform.sent().await?;
        let last = sent
            .iter()
            .rev()
            .find(|sent| sent.is_accepted() && sent.customer.as_ref() == Some(&by.id))
            .with_context(|| format!("the platform sent nothing to {}", by.name))?;
        let is_as_told = match route {
            v1::Route::FreeForm => last.kind == MessageKind::Text,
            v1::Route::Template => matches!(last.kind, MessageKind::Template { .. }),
            v1::Route::Sms => last.channel == Channel::Sms,
            _ => false,
        };
        ensure!(
            is_as_told,
            "the platform sent something else to {}: {:?}",
            by.name,
            last.kind
        );
        Ok(last.text.clone())
    }

    async fn expires(&self, who: &Customer, customer: &str) -> anyhow::Result<()> {
        let within = self.stage.window.unsigned_abs() + SOON;
        self.witness
            .until(0, within, "WindowExpiring", |event| match event {
                Event::WindowExpiring(expiring) if is_of(expiring.window.as_ref(), customer) => {
                    Some(())
                }
                _ => None,
            })
            .await?;
        self.teller.event(
            "WindowExpiring",
            &format!("{}'s window is about to end", who.name),
        )?;
        self.closes(who, customer).await
    }

    async fn closes(&self, who: &Customer, customer: &str) -> anyhow::Result<()> {
        let within = self.stage.window.unsigned_abs() + SOON;
        let (seen, ended) = self
            .witness
            .until(0, within, "WindowExpired", |event| match event {
                Event::WindowExpired(expired) if is_of(expired.window.as_ref(), customer) => {
                    person::instant(expired.window.as_ref()?.expire_time.as_ref())
                }
                _ => None,
            })
            .await?;
        let lateness = seen.stored_at.duration_since(ended);
        ensure!(
            !lateness.is_negative(),
            "{}'s window expired early, by {lateness:#}",
            who.name
        );
        let (at, lateness) = (ended.strftime("%T"), person::duration(lateness));
        let text = format!(
            "{}'s window ended at {at} UTC, told {lateness} after",
            who.name
        );
        self.teller.event("WindowExpired", &text)?;
        Ok(())
    }

    async fn is_held_and_released(&self, to: &Customer, content: Saying) -> anyhow::Result<()> {
        let from = self.witness.count();
        let id = self.send(to, content).await?;
        let (_, decision) = self
            .witness
            .until(from, SOON, "MessageHeld", |event| match event {
                Event::MessageHeld(held) if held.message_id == id => {
                    Some(held.decision.clone().unwrap_or_default())
                }
                _ => None,
            })
            .await?;
        self.teller
            .event("MessageHeld", &person::decision_line(&decision))?;
        self.writes(to, "Hello?").await?;
        self.witness
            .until(from, SOON, "MessageReleased", |event| match event {
                Event::MessageReleased(released) if released.message_id == id => Some(()),
                _ => None,
            })
            .await?;
        self.teller
            .event("MessageReleased", "the window is open again")?;
        self.arrives(to, &id, from, v1::Route::FreeForm).await
    }

    /// Asks over gRPC for what happened, and for the proof of it.
    async fn asks(&self, message_id: &str, customer_id: &str) -> anyhow::Result<()> {
        let request = GetMessageRequest {
            message_id: message_id.to_owned(),
            ..Default::default()
        };
        let answer = self
            .api
            .messages()
            .get_message(request)
            .await
            .map_err(explain)?;
        let found = answer
            .into_inner()
            .message
            .context("GetMessage answered without a message")?;
        teller::listing("GetMessage: the late reply", &message::lines(&found))?;

        let request = GetTimelineRequest {
            number: demo::NUMBER.to_owned(),
            customer_id: customer_id.to_owned(),
            page_size: 50,
            not_before: found.position,
            ..Default::default()
        };
        let answer = self
            .api
            .conversations()
            .get_timeline(request)
            .await
            .map_err(explain)?;
        let mut items = answer.into_inner().items;
        ensure!(!items.is_empty(), "the timeline of {customer_id} is empty");
        items.reverse();
        let lines: Vec<_> = items.iter().map(conversation::item_line).collect();
        teller::listing("GetTimeline: all of Ana's conversation", &lines)?;

        let request = VerifyChainRequest::default();
        let answer = self
            .api
            .audit()
            .verify_chain(request)
            .await
            .map_err(explain)?;
        let reports = answer.into_inner().reports;
        let lines: Vec<_> = reports.iter().map(audit::line_of).collect();
        teller::listing("VerifyChain: the archive, recomputed", &lines)?;
        ensure!(!reports.is_empty(), "the archive has no chain");
        ensure!(
            reports.iter().all(|report| report.intact),
            "the archive's chain is broken"
        );
        Ok(())
    }
}

fn is_of(window: Option<&v1::PublishedWindow>, customer: &str) -> bool {
    window
        .and_then(|window| window.conversation.as_ref())
        .is_some_and(|conversation| conversation.customer_id == customer)
}
