//! Three brokers as they are shipped, of which one is killed, stands still, or is cut off while
//! webhooks come in and messages go out: nothing is lost, nothing is done twice, and what stands
//! still meanwhile does so for seconds.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use casement_event::{Event, Stored, v1};
use casement_event_log::{Followed, Log, Start};
use casement_proto::audit::v1::VerifyChainRequest;
use casement_testkit::eventually_within;
use casement_tests::{
    Clients, Options, PHONE_NUMBER_ID, Poster, Role, ShippedCluster, Stack, WABA, template,
};
use serde_json::json;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio::time::{MissedTickBehavior, interval, timeout};

/// How often one comes in, and one goes out.
const PACE: Duration = Duration::from_millis(100);

/// How long one try may take before it is repeated, as Meta and callers do.
const TRY_MAX: Duration = Duration::from_secs(12);

/// How many go each way before a fault, during it, and after it.
const STEADY_COUNT: usize = 15;

/// What no stall may exceed, on however slow a machine.
const STALL_MAX: Duration = Duration::from_secs(30);

/// How long one is cut off at most.
const CUT_OFF_MAX: Duration = Duration::from_secs(10);

/// How long it may take until everything is done that was accepted.
const SETTLED_MAX: Duration = Duration::from_mins(1);

/// Both directions, as they were answered.
struct Traffic {
    ending: Arc<AtomicBool>,
    incoming: Direction,
    outgoing: Direction,
    tasks: Vec<JoinHandle<()>>,
}

#[derive(Clone, Default)]
struct Direction {
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

    fn all(&self) -> Vec<String> {
        self.accepted.lock().expect("nobody panics with it").clone()
    }

    /// Forgets the longest time between two.
    fn mark(&self) {
        self.pace.lock().expect("nobody panics with it").1 = Duration::ZERO;
    }

    fn stall(&self) -> Duration {
        self.pace.lock().expect("nobody panics with it").1
    }
}

impl Traffic {
    fn start(stack: &Stack) -> Self {
        let ending = Arc::new(AtomicBool::new(false));
        let (incoming, outgoing) = (Direction::default(), Direction::default());
        let phones: Vec<String> = (0..1_000).map(|index| phone(2, index)).collect();
        for phone in &phones {
            stack.customer(phone);
        }
        let tasks = vec![
            tokio::spawn(come_in(
                stack.poster(),
                incoming.clone(),
                Arc::clone(&ending),
            )),
            tokio::spawn(go_out(
                stack.clients(),
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
    async fn flows(&self, what: &str) {
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

    async fn end(&mut self) {
        self.ending.store(true, Ordering::SeqCst);
        for task in self.tasks.drain(..) {
            task.await.expect("traffic that ends");
        }
    }
}

/// Customers write, each once; a post that gets no 200 is posted again.
async fn come_in(poster: Poster, accepted: Direction, ending: Arc<AtomicBool>) {
    let mut ticks = interval(PACE);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for index in 0.. {
        ticks.tick().await;
        if ending.load(Ordering::SeqCst) {
            return;
        }
        let wamid = format!("wamid.cluster-{index}");
        let body = post(&wamid, &phone(1, index));
        while timeout(TRY_MAX, poster.post(&body)).await != Ok(Some(200)) {
            ticks.tick().await;
        }
        accepted.accepted(wamid);
    }
}

/// A caller sends, to each customer once; a call that is not answered is repeated as it was.
async fn go_out(
    clients: Clients,
    phones: Vec<String>,
    accepted: Direction,
    ending: Arc<AtomicBool>,
) {
    let mut ticks = interval(PACE);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for phone in phones {
        ticks.tick().await;
        if ending.load(Ordering::SeqCst) {
            return;
        }
        let request_id = format!("request-{phone}");
        let id = loop {
            let content = template(&phone, "order_update", "7");
            let sent = clients.send_as(&phone, content, &request_id);
            if let Ok(Ok(message)) = timeout(TRY_MAX, sent).await {
                break message.message_id;
            }
            ticks.tick().await;
        };
        accepted.accepted(id);
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

async fn start() -> (ShippedCluster, Stack) {
    let cluster = ShippedCluster::start().await;
    let mut stack = Stack::without_roles(&Options {
        window_seconds: 6,
        log: Some(cluster.log_section()),
        ..Options::default()
    })
    .await;
    // One after the other: the first makes the streams, which takes three servers a while.
    for role in Role::ALL {
        for (name, value) in cluster.environment(role) {
            stack.set_variable(role, 0, name, &value);
        }
        stack.start_role(role, 0).await;
    }
    (cluster, stack)
}

/// Everything on a stream, oldest first.
async fn everything(log: &Log, stream: &str) -> Vec<Stored> {
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

/// Each customer's message that got its 200 is on the log, once, and each window's end is told once.
async fn what_came_in_stands_once(log: &Log, wamids: &[String]) {
    let found = eventually_within(SETTLED_MAX, "each window's end is told", async || {
        let found = everything(log, "EVENTS").await;
        let expired = found.iter().map(event_of);
        let expired = expired.filter(|event| matches!(event, Event::WindowExpired(_)));
        let count = expired.count();
        if count < wamids.len() {
            return Err(format!("{count} of {}", wamids.len()));
        }
        Ok(found)
    })
    .await;
    let mut inbound: BTreeMap<String, usize> = BTreeMap::new();
    let mut ends: BTreeMap<(String, String), usize> = BTreeMap::new();
    for stored in &found {
        match event_of(stored) {
            Event::InboundMessageReceived(message) => {
                *inbound.entry(message.provider_message_id).or_default() += 1;
            }
            Event::WindowExpired(_) => {
                let expires = stored.header("ce-expiretime").expect("when it ended");
                let one = (stored.subject.clone(), expires.to_owned());
                *ends.entry(one).or_default() += 1;
            }
            _ => {}
        }
    }
    for wamid in wamids {
        assert_eq!(inbound.get(wamid), Some(&1), "{wamid}");
    }
    assert_eq!(inbound.len(), wamids.len());
    assert_eq!(ends.len(), wamids.len());
    let twice: Vec<_> = ends.iter().filter(|(_, count)| **count != 1).collect();
    assert!(twice.is_empty(), "{twice:?}");
}

/// Each message that was accepted ended as delivered, by exactly one call in the simulator's books.
async fn what_went_out_was_called_once(stack: &Stack, ids: &[String]) {
    let clients = stack.clients();
    for id in ids {
        let message = clients.ended(id).await;
        assert_eq!(message.outcome(), v1::MessageOutcome::Delivered, "{id}");
    }
    let mut calls: BTreeMap<String, usize> = BTreeMap::new();
    for one in stack.simulator.sent() {
        let attempt = one.callback_data.expect("every call names its attempt");
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

async fn the_archive_has_it(stack: &Stack, log: &Log) {
    let clients = stack.clients();
    eventually_within(SETTLED_MAX, "the archive has everything", async || {
        let mut audit = clients.audit.clone();
        let verified = audit.verify_chain(VerifyChainRequest::default()).await;
        let reports = verified.map_err(|status| status.to_string())?;
        let reports = reports.into_inner().reports;
        assert!(reports.iter().all(|report| report.intact), "{reports:?}");
        for stream in ["EVENTS", "MESSAGES"] {
            let state = log.state(stream).await.map_err(|error| error.to_string())?;
            let archived = reports.iter().find(|report| report.stream == stream);
            let archived = archived.map_or(0, |report| report.last_sequence);
            if archived < state.last_sequence {
                return Err(format!("{stream} {archived} of {}", state.last_sequence));
            }
        }
        Ok(())
    })
    .await;
}

/// Traffic before, during and after a fault, and everything that must be true afterwards.
#[expect(clippy::print_stderr, reason = "how long it stood still is told")]
async fn nothing_is_lost_or_double(
    name: &str,
    fault: impl AsyncFnOnce(&mut ShippedCluster, usize, &Traffic),
) {
    let (mut cluster, stack) = start().await;
    let mut traffic = Traffic::start(&stack);
    traffic.flows("traffic before").await;
    traffic.incoming.mark();
    traffic.outgoing.mark();
    let busiest = cluster.servers.leader("MESSAGES").await;
    fault(&mut cluster, busiest, &traffic).await;
    traffic.flows("traffic after").await;
    traffic.end().await;

    let (incoming, outgoing) = (traffic.incoming.stall(), traffic.outgoing.stall());
    eprintln!(
        "{name}: no webhook was taken for {:.1} s, no message accepted for {:.1} s",
        incoming.as_secs_f64(),
        outgoing.as_secs_f64()
    );
    assert!(incoming < STALL_MAX && outgoing < STALL_MAX);
    let log = cluster.log().await;
    what_went_out_was_called_once(&stack, &traffic.outgoing.all()).await;
    what_came_in_stands_once(&log, &traffic.incoming.all()).await;
    the_archive_has_it(&stack, &log).await;
    stack.stop().await;
}

#[tokio::test]
async fn the_busiest_leader_of_three_brokers_is_killed_and_nothing_is_lost_or_double() {
    nothing_is_lost_or_double("killed", async |cluster, busiest, traffic| {
        cluster.servers.kill(busiest);
        traffic.flows("traffic on two of three").await;
        cluster.servers.start_again(busiest).await;
    })
    .await;
}

#[tokio::test]
async fn the_busiest_leader_of_three_brokers_stands_still_and_nothing_is_lost_or_double() {
    nothing_is_lost_or_double("paused", async |cluster, busiest, traffic| {
        cluster.servers.pause(busiest);
        traffic.flows("traffic past one that stands still").await;
        cluster.servers.resume(busiest);
    })
    .await;
}

#[tokio::test]
async fn the_busiest_leader_of_three_brokers_is_cut_off_and_nothing_is_lost_or_double() {
    nothing_is_lost_or_double("cut off", async |cluster, busiest, traffic| {
        cluster.servers.cut_off(busiest);
        // On a busy machine it may stand still until the network is mended: docs/operate/cluster.md.
        let other_side = traffic.flows("traffic on the other side");
        let _ = tokio::time::timeout(CUT_OFF_MAX, other_side).await;
        cluster.servers.join(busiest);
    })
    .await;
}
