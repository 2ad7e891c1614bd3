//! Erasures against a real log and a real store. The other roles' part is played.

use std::sync::Arc;
use std::time::Duration;

use casement_domain::erasure::Ages;
use casement_domain::id::{BusinessNumber, CustomerId, MediaId, MessageId, Phone, PortfolioId};
use casement_domain::inbound::Addresses;
use casement_event::convert::timestamp;
use casement_event::subject::{self, Family, stream};
use casement_event::v1::{self, ErasureState};
use casement_event::{Event, Extension, Record, Uuid};
use casement_event_log::customers::{self, ResolveError, Tokens};
use casement_event_log::{Config, Expect, Log, erasure as tombstones};
use casement_shell::health::Readiness;
use casement_shell::{Clock as _, ManualClock, SystemClock};
use casement_testkit::{NatsServer, eventually};
use jiff::SignedDuration;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use super::{Eraser, Kept, append, read};
use crate::archive::Archiver;
use crate::fixture;
use crate::model::{Content, ConversationKey};
use crate::progress::Progress;
use crate::store::{EventFilter, Limit, SharedStore, Sqlite};

const NUMBER: &str = "15550001111";
const PHONE: &str = "15557654321";
const USER_ID: &str = "US.13491208655302741918";

const ALL: Limit = Limit {
    rows_max: 1_000,
    bytes_max: usize::MAX,
};

struct World {
    log: Log,
    store: SharedStore,
    clock: ManualClock,
    eraser: Eraser,
    tokens: Tokens,
    stopping: CancellationToken,
    _server: NatsServer,
    _folder: TempDir,
}

impl Drop for World {
    fn drop(&mut self) {
        self.stopping.cancel();
    }
}

async fn world() -> World {
    let server = NatsServer::builder().monitoring(true).start().await;
    let monitoring = server.monitoring_url();
    let config = Config {
        servers: server.url(),
        monitoring: Some(monitoring.trim_start_matches("http://").to_owned()),
        ..Config::default()
    };
    let log = Log::connect(&config).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("archive.sqlite");
    let store = Sqlite::open(&database, 2, fixture::masters())
        .await
        .unwrap();
    let store: SharedStore = Arc::new(store);
    let clock = ManualClock::new(SystemClock::new().now());
    let (progress, tellers) = Progress::new(Duration::from_secs(10));
    let stopping = CancellationToken::new();
    for (stream, teller) in tellers {
        let archiver = Archiver {
            stream,
            log: log.clone(),
            store: Arc::clone(&store),
            clock: clock.shared(),
            teller,
            latch: Readiness::new().latch("archive"),
            lag_alarm: SignedDuration::from_mins(5),
        };
        tokio::spawn(archiver.run(stopping.clone()));
    }
    let eraser = Eraser {
        log: log.clone(),
        store: Arc::clone(&store),
        progress,
        clock: clock.shared(),
        ages: Ages {
            posts: SignedDuration::from_hours(1),
            dead: SignedDuration::from_hours(2),
            repeated_for: SignedDuration::from_hours(1),
        },
        age_interval: Duration::from_millis(50),
    };
    World {
        log,
        store,
        clock,
        eraser,
        tokens: Tokens::new("a key of these tests".to_owned().into()),
        stopping,
        _server: server,
        _folder: folder,
    }
}

fn portfolio() -> PortfolioId {
    PortfolioId::parse("p1").unwrap()
}

fn number() -> BusinessNumber {
    BusinessNumber::parse(NUMBER).unwrap()
}

fn addresses() -> Addresses {
    Addresses {
        phone: Some(Phone::parse(PHONE).unwrap()),
        user_id: Some(USER_ID.to_owned()),
        ..Addresses::default()
    }
}

fn conversation_of(customer: &CustomerId) -> v1::Conversation {
    v1::Conversation {
        number: NUMBER.to_owned(),
        customer_id: customer.as_str().to_owned(),
        brand_id: "default".to_owned(),
        portfolio_id: "p1".to_owned(),
    }
}

/// What there is of a customer.
struct There {
    customer: CustomerId,
    message: MessageId,
    media: MediaId,
}

impl World {
    async fn append(&self, subject: &str, customer: &str, event: impl Into<Event>) {
        let now = self.clock.now();
        let record = Record::new(
            subject.to_owned(),
            Uuid::new_v4(),
            "casement/test",
            now,
            event,
        )
        .with(Extension::Customer, customer);
        self.log.append(record, Expect::Anything).await.unwrap();
    }

    /// A customer who has everything that can be had.
    async fn customer(&self) -> There {
        let now = self.clock.now();
        let (log, tokens, portfolio) = (&self.log, &self.tokens, portfolio());
        let source = "casement/test";
        let addresses = addresses();
        let resolved = customers::resolve(log, tokens, source, &portfolio, &addresses, now);
        let customer = resolved.await.unwrap().customer;
        let id = customer.as_str();
        let conversation = Some(conversation_of(&customer));
        let inbound = v1::InboundMessageReceived {
            conversation: conversation.clone(),
            profile_name: "Canary Bird".to_owned(),
            kind: "text".to_owned(),
            ..Default::default()
        };
        let subject = subject::conversation(Family::Inbound, &number(), &customer);
        self.append(&subject, id, inbound).await;
        let window = v1::WindowOpened {
            window: Some(self.window(&customer, false)),
            ..Default::default()
        };
        let subject = subject::conversation(Family::Window, &number(), &customer);
        self.append(&subject, id, window).await;
        let note = v1::NoteAdded {
            conversation: conversation.clone(),
            text: "canary note".to_owned(),
            author: "ana".to_owned(),
            ..Default::default()
        };
        let subject = subject::conversation(Family::Note, &number(), &customer);
        self.append(&subject, id, note).await;
        let message = MessageId::new(&number(), 7);
        let requested = v1::MessageRequested {
            message_id: message.as_str().to_owned(),
            conversation: conversation.clone(),
            request_time: Some(timestamp(now)),
            ..Default::default()
        };
        self.append(&subject::message(&message), id, requested)
            .await;
        let media = MediaId::new(&number(), 9);
        let stored = v1::MediaStored {
            conversation,
            media: Some(v1::Media {
                media_id: media.to_string(),
                ..Default::default()
            }),
            ..Default::default()
        };
        self.append(&subject::media(&media), id, stored).await;
        let consent = v1::ConsentRecorded {
            portfolio_id: "p1".to_owned(),
            customer_id: id.to_owned(),
            ..Default::default()
        };
        self.append(&subject::consent(&portfolio, &customer), id, consent)
            .await;
        let letter = v1::DeadLetter {
            role: "ingress".to_owned(),
            item: format!("{{\"from\":\"{PHONE}\"}}").into_bytes(),
            ..Default::default()
        };
        self.append(&subject::dead("ingress"), "", letter).await;
        let other = v1::DeadLetter {
            role: "ingress".to_owned(),
            item: b"somebody else's".to_vec(),
            ..Default::default()
        };
        self.append(&subject::dead("ingress"), "", other).await;
        There {
            customer,
            message,
            media,
        }
    }

    fn window(&self, customer: &CustomerId, is_closed: bool) -> v1::PublishedWindow {
        let now = timestamp(self.clock.now());
        let fact = Uuid::new_v4().to_string();
        let mut window = v1::PublishedWindow {
            conversation: Some(conversation_of(customer)),
            open_time: Some(now),
            expire_time: Some(now),
            opening_fact_id: fact.clone(),
            last_inbound_time: Some(now),
            last_inbound_fact_id: fact,
            last_inbound_received_time: Some(now),
            ..Default::default()
        };
        window.set_state(v1::WindowState::Open);
        if is_closed {
            window.set_state(v1::WindowState::Closed);
            window.set_closed_reason(v1::ClosedReason::Erased);
            window.close_time = Some(now);
        }
        window
    }

    async fn begun(&self, there: &There) -> Kept {
        for stream in [stream::CUSTOMERS, stream::EVENTS, stream::MESSAGES] {
            assert!(self.eraser.has_reached(stream).await.unwrap());
        }
        let who = self.eraser.who("p1", there.customer.clone()).await.unwrap();
        assert_eq!(who.customers, std::slice::from_ref(&there.customer));
        assert_eq!(who.tokens.len(), 2, "phone and user id");
        let now = self.clock.now();
        let erasure = v1::Erasure {
            erasure_id: "e1".to_owned(),
            portfolio_id: "p1".to_owned(),
            state: ErasureState::Entombing.into(),
            customer_ids: vec![there.customer.as_str().to_owned()],
            tokens: who.tokens.into_iter().collect(),
            erase_time: Some(timestamp(now)),
            ..v1::Erasure::default()
        };
        let sequence = append(&self.log, &erasure, 0, now).await.unwrap();
        Kept { erasure, sequence }
    }

    /// Plays what tracker, dispatcher and ingress do.
    async fn play_the_others(&self, there: &There) {
        let id = there.customer.as_str();
        let corrected = v1::WindowCorrected {
            window: Some(self.window(&there.customer, true)),
            ..Default::default()
        };
        let subject = subject::conversation(Family::Window, &number(), &there.customer);
        self.append(&subject, id, corrected).await;
        let cancelled = v1::MessageCancelled {
            message_id: there.message.as_str().to_owned(),
            conversation: Some(conversation_of(&there.customer)),
            cancel_time: Some(timestamp(self.clock.now())),
            caller: "erasure".to_owned(),
        };
        self.append(&subject::message(&there.message), id, cancelled)
            .await;
        let erased = v1::MediaErased {
            media_id: there.media.to_string(),
            ..Default::default()
        };
        self.append(&subject::media(&there.media), "", erased).await;
    }

    async fn is_on_log(&self, stream: &str, subject: &str) -> bool {
        self.log.last(stream, subject).await.unwrap().is_some()
    }
}

#[tokio::test]
async fn an_erasure_killed_in_every_step_ends_all_the_same_and_leaves_nothing() {
    let world = world().await;
    let there = world.customer().await;
    let mut kept = world.begun(&there).await;
    let mut has_played = false;
    let mut states = vec![kept.erasure.state()];
    while kept.erasure.state() != ErasureState::DoneButRaw {
        // Its work is done, and the process dies before that is written down.
        let lost = world.eraser.step(&kept.erasure).await.unwrap();
        if kept.erasure.state() == ErasureState::Destroying {
            let count = lost.as_ref().unwrap().stranger_count;
            assert_eq!(count, 1, "the dead letter that names them");
        }
        let Some(next) = world.eraser.step(&kept.erasure).await.unwrap() else {
            assert_eq!(kept.erasure.state(), ErasureState::Stopping, "{lost:?}");
            assert!(!has_played, "waits for nobody any more");
            assert_eq!(kept.erasure.open_message_ids, [there.message.as_str()]);
            assert_eq!(kept.erasure.media_ids, [there.media.to_string()]);
            assert_eq!(kept.erasure.numbers, [NUMBER]);
            world.play_the_others(&there).await;
            has_played = true;
            continue;
        };
        let now = world.clock.now();
        kept.sequence = append(&world.log, &next, kept.sequence, now).await.unwrap();
        kept.erasure = next;
        states.push(kept.erasure.state());
    }
    states.dedup();
    assert_eq!(
        states,
        [
            ErasureState::Entombing,
            ErasureState::Stopping,
            ErasureState::Purging,
            ErasureState::Destroying,
            ErasureState::DoneButRaw,
        ]
    );
    assert!(has_played);

    // The log.
    let (portfolio, customer) = (portfolio(), &there.customer);
    for (stream, subject) in [
        (stream::EVENTS, subject::conversations_of(customer)),
        (stream::EVENTS, subject::media(&there.media)),
        (stream::MESSAGES, subject::message(&there.message)),
        (stream::CUSTOMERS, subject::links(&portfolio)),
        (stream::CUSTOMERS, subject::consents(&portfolio)),
    ] {
        assert!(!world.is_on_log(stream, &subject).await, "{subject}");
    }
    // The archive.
    let key = ConversationKey {
        number: NUMBER.to_owned(),
        customer_id: customer.as_str().to_owned(),
    };
    assert_eq!(world.store.conversation(&key).await.unwrap(), None);
    assert_eq!(
        world.store.message(there.message.as_str()).await.unwrap(),
        None
    );
    let rows = world
        .store
        .events(&EventFilter::default(), None, ALL)
        .await
        .unwrap()
        .rows;
    let is_theirs = |row: &&crate::model::Row| row.index.customer_id == customer.as_str();
    assert!(rows.iter().filter(is_theirs).count() >= 9);
    for row in rows.iter().filter(is_theirs) {
        assert_eq!(row.content, Content::Erased, "{}", row.stored.subject);
    }
    let letters: Vec<_> = rows
        .iter()
        .filter(|row| row.stored.stream == "DEAD")
        .collect();
    assert_eq!(
        letters
            .iter()
            .filter(|row| row.content == Content::Open)
            .count(),
        1
    );
    let reports = crate::verify::verify_store(world.store.as_ref(), None, &[])
        .await
        .unwrap();
    for report in reports {
        assert!(report.findings.is_empty(), "{report:?}");
    }

    // Nothing comes back, and who writes again is somebody new.
    let now = world.clock.now();
    let (log, tokens, source) = (&world.log, &world.tokens, "casement/test");
    let erased_at = casement_event::convert::instant("", kept.erasure.erase_time.as_ref());
    let old = casement_domain::customer::Sighting::of(addresses(), erased_at.unwrap().unwrap());
    let refused = customers::identify(log, tokens, source, &portfolio, &old, now).await;
    assert!(matches!(refused, Err(ResolveError::Erased)), "{refused:?}");
    let (addresses, later) = (addresses(), now + SignedDuration::from_secs(1));
    let new = customers::resolve(log, tokens, source, &portfolio, &addresses, later);
    let new = new.await.unwrap();
    assert!(new.is_new && new.customer != *customer);

    // Ages: posts leave, and then it is done.
    assert_eq!(world.eraser.step(&kept.erasure).await.unwrap(), None);
    let found = tombstones::list(log).await.unwrap();
    assert_eq!(found.len(), 3, "two identifiers and one id");
}

#[tokio::test]
async fn the_role_carries_an_erasure_out_by_itself_and_is_done_when_the_last_copy_left() {
    let world = world().await;
    let there = world.customer().await;
    let kept = world.begun(&there).await;
    let running = tokio::spawn(world.eraser.clone().run(world.stopping.clone()));
    let state = async || {
        let kept = read(&world.log, &portfolio(), &kept.erasure.erasure_id).await;
        kept.unwrap().unwrap().erasure
    };
    eventually("the others are told what to end", async || {
        let erasure = state().await;
        erasure.state() == ErasureState::Stopping && !erasure.media_ids.is_empty()
    })
    .await;
    world.play_the_others(&there).await;
    eventually("nothing is left but what leaves by its age", async || {
        state().await.state() == ErasureState::DoneButRaw
    })
    .await;
    let last_copy = state().await.last_copy_time.unwrap();
    let erased = state().await.erase_time.unwrap();
    assert_eq!(
        last_copy.seconds - erased.seconds,
        3 * 3_600,
        "two hours after a late repeat"
    );

    // The dead letters are still there: not done, whatever the clock says.
    world.clock.advance(SignedDuration::from_hours(4));
    let kept = read(&world.log, &portfolio(), "e1").await.unwrap().unwrap();
    assert_eq!(world.eraser.step(&kept.erasure).await.unwrap(), None);
    world.log.purge_up_to(stream::DEAD, 1_000).await.unwrap();
    eventually("the last copy is gone", async || {
        state().await.state() == ErasureState::Done
    })
    .await;
    world.stopping.cancel();
    running.await.unwrap().unwrap();
}

#[tokio::test]
async fn what_comes_in_by_a_hairs_breadth_is_removed_as_well() {
    let world = world().await;
    let there = world.customer().await;
    let mut kept = world.begun(&there).await;
    world.eraser.go_on(&mut kept).await.unwrap();
    world.play_the_others(&there).await;
    world.eraser.go_on(&mut kept).await.unwrap();
    assert_eq!(kept.erasure.state(), ErasureState::DoneButRaw);
    // It was on its way when the customer was erased.
    let inbound = v1::InboundMessageReceived {
        conversation: Some(conversation_of(&there.customer)),
        profile_name: "Canary Bird".to_owned(),
        ..Default::default()
    };
    let subject = subject::conversation(Family::Inbound, &number(), &there.customer);
    world
        .append(&subject, there.customer.as_str(), inbound)
        .await;
    assert!(world.eraser.has_reached(stream::EVENTS).await.unwrap());
    assert_eq!(world.eraser.step(&kept.erasure).await.unwrap(), None);
    assert!(!world.is_on_log(stream::EVENTS, &subject).await);
    let key = ConversationKey {
        number: NUMBER.to_owned(),
        customer_id: there.customer.as_str().to_owned(),
    };
    assert_eq!(world.store.conversation(&key).await.unwrap(), None);
}
