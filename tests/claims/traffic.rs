//! Steady traffic in both directions while something is done to the system, and what must be true
//! of all that was accepted meanwhile: it stands once, was called for once, and is archived.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use casement_event::convert::instant;
use casement_event::{Event, Stored, v1};
use casement_event_log::{Followed, Log, Start};
use casement_proto::audit::v1::{ChainReport, VerifyChainRequest};
use casement_proto::message::v1::Attempt;
use casement_testkit::eventually_within;
use casement_tests::{Clients, PHONE_NUMBER_ID, Poster, Stack, WABA, template};
use jiff::SignedDuration;
use serde_json::json;
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

/// How often one comes in, and one goes out.
const PACE: Duration = Duration::from_millis(100);

/// How long one try may take before it is repeated, as Meta and callers do.
const TRY_MAX: Duration = Duration::from_secs(12);

/// How many go each way before something happens, during it, and after it.
const STEADY_COUNT: usize = 15;

/// What no stall may exceed, on however slow a machine.
pub(crate) const STALL_MAX: Duration = Duration::from_secs(30);

/// How long it may take until everything is done that was accepted.
const SETTLED_MAX: Duration = Duration::from_mins(1);

/// How long a customer's message keeps a window open: so short that its end is seen.
pub(crate) const WINDOW_SECONDS: u32 = 6;

/// How many customers there are to write to.
const RECIPIENTS_COUNT: usize = 1_000;

/// Both directions, as they were answered.
pub(crate) struct Traffic {
    ending: Arc<AtomicBool>,
    pub(crate) incoming: Direction,
    pub(crate) outgoing: Direction,
    tasks: Vec<JoinHandle<()>>,
}

#[derive(Clone, Default)]
pub(crate) struct Direction {
    count: Arc<AtomicUsize>,
    /// What was accepted: ids of the platform's messages, and of ours.
    accepted: Arc<Mutex<Vec<String>>>,
    /// When the last one was, and the longest time between two.
    pace: Arc<Mutex<(Option<Instant>, Duration)>>,
}

impl Direction {
    fn accepted(&self, id: String) {
        let now = Instant::now();
        let mut pace = self.pace.lock().expect("nobody panics with it");
        if let Some(last) = pace.0.replace(now) {
            pace.1 = pace.1.max(now - last);
        }
        drop(pace);
        self.accepted
            .lock()
            .expect("nobody panics with it")
            .push(id);
        self.count.fetch_add(1, Ordering::SeqCst);
    }

    pub(crate) fn all(&self) -> Vec<String> {
        self.accepted.lock().expect("nobody panics with it").clone()
    }

    /// Forgets the longest time between two.
    pub(crate) fn mark(&self) {
        self.pace.lock().expect("nobody panics with it").1 = Duration::ZERO;
    }

    pub(crate) fn stall(&self) -> Duration {
        self.pace.lock().expect("nobody panics with it").1
    }
}

impl Traffic {
    /// Starts it. A post goes to one of `posters` after the other until one answers 200, and so
    /// does a send to `senders`, as a balancer has it that is told of nothing.
    pub(crate) fn start(stack: &Stack, posters: Vec<Poster>, senders: Vec<Clients>) -> Self {
        let ending = Arc::new(AtomicBool::new(false));
        let (incoming, outgoing) = (Direction::default(), Direction::default());
        let phones: Vec<String> = (0..RECIPIENTS_COUNT).map(|index| phone(2, index)).collect();
        for phone in &phones {
            stack.customer(phone);
        }
        let tasks = vec![
            tokio::spawn(come_in(posters, incoming.clone(), Arc::clone(&ending))),
            tokio::spawn(go_out(
                senders,
                phones,
                outgoing.clone(),
                Arc::clone(&ending),
            )),
        ];
        Self {
            ending,
            incoming,
            outgoing,
            tasks,
        }
    }

    /// Waits until some more were accepted each way.
    pub(crate) async fn flows(&self, what: &str) {
        for (way, direction) in [("in", &self.incoming), ("out", &self.outgoing)] {
            let until = direction.count.load(Ordering::SeqCst) + STEADY_COUNT;
            eventually_within(STALL_MAX * 2, &format!("{what}, {way}"), async || {
                let count = direction.count.load(Ordering::SeqCst);
                (count >= until)
                    .then_some(())
                    .ok_or(format!("{count} of {until}"))
            })
            .await;
        }
    }

    pub(crate) async fn end(&mut self) {
        self.ending.store(true, Ordering::SeqCst);
        for task in self.tasks.drain(..) {
            task.await.expect("traffic that ends");
        }
    }
}

/// Customers write, each once; a post that gets no 200 is posted again, elsewhere if there is more
/// than one place, and there at once.
async fn come_in(posters: Vec<Poster>, accepted: Direction, ending: Arc<AtomicBool>) {
    let mut ticks = interval(PACE);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for index in 0.. {
        ticks.tick().await;
        if ending.load(Ordering::SeqCst) {
            return;
        }
        let wamid = format!("wamid.traffic-{index}");
        let body = post(&wamid, &phone(1, index));
        for (turn, poster) in posters.iter().cycle().skip(index).enumerate() {
            if timeout(TRY_MAX, poster.post(&body)).await == Ok(Some(200)) {
                break;
            }
            if (turn + 1) % posters.len() == 0 {
                ticks.tick().await;
            }
        }
        accepted.accepted(wamid);
    }
}

/// A caller sends, to each customer once; a call that is not answered is repeated as it was.
async fn go_out(
    senders: Vec<Clients>,
    phones: Vec<String>,
    accepted: Direction,
    ending: Arc<AtomicBool>,
) {
    let mut ticks = interval(PACE);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for (index, phone) in phones.into_iter().enumerate() {
        ticks.tick().await;
        if ending.load(Ordering::SeqCst) {
            return;
        }
        let request_id = format!("request-{phone}");
        for (turn, clients) in senders.iter().cycle().skip(index).enumerate() {
            let content = template(&phone, "order_update", "7");
            let sent = clients.send_as(&phone, content, &request_id);
            if let Ok(Ok(message)) = timeout(TRY_MAX, sent).await {
                accepted.accepted(message.message_id);
                break;
            }
            if (turn + 1) % senders.len() == 0 {
                ticks.tick().await;
            }
        }
    }
}

fn phone(kind: u8, index: usize) -> String {
    format!("+1555{kind}{index:06}")
}

fn post(wamid: &str, phone: &str) -> Vec<u8> {
    use casement_shell::clock::Clock as _;
    let now = casement_shell::SystemClock::new().now().as_second();
    let digits = phone.trim_start_matches('+');
    let body = json!({
        "object": "whatsapp_business_account",
        "entry": [{ "id": WABA, "changes": [{ "field": "messages", "value": {
            "messaging_product": "whatsapp",
            "metadata": { "display_phone_number": "15550001111", "phone_number_id": PHONE_NUMBER_ID },
            "contacts": [{ "profile": { "name": "Customer" }, "wa_id": digits }],
            "messages": [{
                "from": digits, "id": wamid, "timestamp": now.to_string(),
                "type": "text", "text": { "body": "Hello" },
            }],
        }}]}],
    });
    serde_json::to_vec(&body).expect("JSON made of text")
}

/// Everything on a stream, oldest first.
pub(crate) async fn everything(log: &Log, stream: &str) -> Vec<Stored> {
    let mut all = Vec::new();
    let mut follower = log.follow(stream, vec![">".to_owned()], Start::Sequence(1));
    loop {
        match follower.next().await {
            Followed::Event(stored) => all.push(stored),
            Followed::CaughtUp { .. } => return all,
        }
    }
}

fn event_of(stored: &Stored) -> Event {
    let event_type = stored.header("ce-type").expect("every event has a type");
    Event::decode(event_type, &stored.payload).expect("a known event")
}

/// What stands on the log of customers who wrote once each.
#[derive(Default)]
struct Told {
    /// By the platform's id of a message, how often it stands there.
    inbound: BTreeMap<String, usize>,
    /// Customers whose message reached us before the end of the window that it opens. One that was
    /// posted again until after it opened nothing, and nothing is told of it.
    in_time: BTreeSet<String>,
    /// By customer and end, how often it was told.
    ends: BTreeMap<(String, String), usize>,
}

impl Told {
    fn of(found: &[Stored]) -> Self {
        let mut told = Self::default();
        for stored in found {
            let customer = stored.subject.rsplit('.').next().unwrap_or_default();
            match event_of(stored) {
                Event::InboundMessageReceived(message) => {
                    let times = message.times.unwrap_or_default();
                    let at = |time: Option<_>| instant("time", time.as_ref()).expect("a time");
                    let (received, written) = (at(times.received_time), at(times.event_time));
                    let length = SignedDuration::from_secs(WINDOW_SECONDS.into());
                    if received < written.map(|written| written + length) {
                        told.in_time.insert(customer.to_owned());
                    }
                    *told.inbound.entry(message.provider_message_id).or_default() += 1;
                }
                Event::WindowExpired(_) => {
                    let expires = stored.header("ce-expiretime").expect("when it ended");
                    let one = (customer.to_owned(), expires.to_owned());
                    *told.ends.entry(one).or_default() += 1;
                }
                _ => {}
            }
        }
        told
    }

    /// Customers whose window has not been told as ended.
    fn open(&self) -> Vec<&String> {
        let ended: BTreeSet<_> = self.ends.keys().map(|(customer, _)| customer).collect();
        let open = self.in_time.iter().filter(|one| !ended.contains(one));
        open.collect()
    }
}

/// Each customer's message that got its 200 is on the log, once, and each window's end is told once.
pub(crate) async fn what_came_in_stands_once(log: &Log, wamids: &[String]) {
    let told = eventually_within(SETTLED_MAX, "each window's end is told", async || {
        let told = Told::of(&everything(log, "EVENTS").await);
        let (stand, open) = (told.inbound.len(), told.open());
        if stand < wamids.len() || !open.is_empty() {
            let all = wamids.len();
            return Err(format!("{stand} of {all} stand there, no end of {open:?}"));
        }
        Ok(told)
    })
    .await;
    for wamid in wamids {
        assert_eq!(told.inbound.get(wamid), Some(&1), "{wamid}");
    }
    assert_eq!(told.inbound.len(), wamids.len());
    // One customer at most is late for each time that nothing was taken for long.
    assert!(told.in_time.len() > wamids.len() / 2);
    assert_eq!(told.ends.len(), told.in_time.len());
    let twice: Vec<_> = told.ends.iter().filter(|(_, count)| **count != 1).collect();
    assert!(twice.is_empty(), "{twice:?}");
}

/// Each message that was accepted ended as delivered, by exactly one call in the simulator's books.
pub(crate) async fn what_went_out_was_called_once(
    stack: &Stack,
    clients: &Clients,
    ids: &[String],
) {
    for id in ids {
        let message = clients.ended(id).await;
        assert_eq!(message.outcome(), v1::MessageOutcome::Delivered, "{id}");
        // All go by template: whatever was done meanwhile is no reason for another route.
        let mut routes = message.attempts.iter().map(Attempt::route);
        let is_so = routes.all(|route| route == v1::Route::Template);
        assert!(is_so, "{message:#?}");
    }
    let mut calls: BTreeMap<String, usize> = BTreeMap::new();
    for one in stack.simulator.sent() {
        let Some(attempt) = &one.callback_data else {
            panic!("every call names its attempt: {one:?}");
        };
        let (message, _) = attempt.split_once('.').expect("a message and an attempt");
        *calls.entry(message.to_owned()).or_default() += 1;
    }
    let unique: BTreeSet<_> = ids.iter().collect();
    assert_eq!(unique.len(), ids.len(), "one message for each request");
    for id in ids {
        assert_eq!(calls.get(id), Some(&1), "{id}");
    }
    assert_eq!(calls.len(), ids.len());
}

pub(crate) async fn the_archive_has_it(clients: &Clients, log: &Log) {
    eventually_within(SETTLED_MAX, "the archive has everything", async || {
        let mut audit = clients.audit.clone();
        let verified = audit.verify_chain(VerifyChainRequest::default()).await;
        let reports = verified.map_err(|status| status.to_string())?;
        let reports = reports.into_inner().reports;
        assert!(reports.iter().all(|report| report.intact), "{reports:?}");
        for stream in ["EVENTS", "MESSAGES"] {
            let state = log.state(stream).await.map_err(|error| error.to_string())?;
            // A stream that was restored is another life of it, with a chain of its own.
            let is_of_this_life = |report: &&ChainReport| {
                report.stream == stream && report.incarnation == state.incarnation
            };
            let archived = reports.iter().find(is_of_this_life);
            let archived = archived.map_or(0, |report| report.last_sequence);
            if archived < state.last_sequence {
                return Err(format!("{stream} {archived} of {}", state.last_sequence));
            }
        }
        Ok(())
    })
    .await;
}
