//! A subscriber as any other service has it: plain NATS, headers, protobuf.

use std::sync::{Arc, Mutex};

use casement_event::Event;
use casement_testkit::eventually_within;
use futures::StreamExt as _;
use jiff::Timestamp;

use crate::stack::RECOVERY_MAX;

/// An event as it was heard.
#[derive(Debug, Clone)]
pub struct Heard {
    /// Its subject.
    pub subject: String,
    /// Its type without the package, such as `WindowOpened`.
    pub name: String,
    /// Its id; subscribers deduplicate by it.
    pub id: String,
    /// When it came in, by this machine's clock.
    pub heard_at: Timestamp,
    /// The `ce-expiretime` header of window events.
    pub expires_at: Option<Timestamp>,
    /// The `ce-waitingsince` header of window events; `None` if the last word is ours.
    pub waiting_since: Option<Timestamp>,
    /// The event.
    pub event: Event,
}

/// All that was heard so far.
#[derive(Clone)]
pub struct Events {
    heard: Arc<Mutex<Vec<Heard>>>,
}

impl Events {
    /// Listens to events from now on. Core NATS: what is missed while away is missed.
    pub(crate) async fn subscribe(client: async_nats::Client, subject: &str) -> Self {
        let mut subscription = client
            .subscribe(subject.to_owned())
            .await
            .expect("a subscription");
        client
            .flush()
            .await
            .expect("the broker knows of the subscription");
        let heard = Arc::new(Mutex::new(Vec::new()));
        let book = Arc::clone(&heard);
        tokio::spawn(async move {
            use casement_shell::clock::Clock as _;
            let clock = casement_shell::SystemClock::new();
            while let Some(message) = subscription.next().await {
                let heard_at = clock.now();
                let header = |name: &str| {
                    let headers = message.headers.as_ref()?;
                    headers.get(name).map(|value| value.as_str().to_owned())
                };
                let Some(event_type) = header("ce-type") else {
                    continue;
                };
                let event = Event::decode(&event_type, &message.payload).expect("a known event");
                let one = Heard {
                    subject: message.subject.to_string(),
                    name: event_type.rsplit('.').next().unwrap_or_default().to_owned(),
                    id: header("ce-id").expect("every event has an id"),
                    heard_at,
                    expires_at: header("ce-expiretime").and_then(|text| text.parse().ok()),
                    waiting_since: header("ce-waitingsince").and_then(|text| text.parse().ok()),
                    event,
                };
                book.lock().expect("nobody panics with it").push(one);
            }
        });
        Self { heard }
    }

    /// Returns all events of a type so far.
    pub fn all(&self, name: &str) -> Vec<Heard> {
        let heard = self.heard.lock().expect("nobody panics with it");
        heard
            .iter()
            .filter(|one| one.name == name)
            .cloned()
            .collect()
    }

    /// Returns the names of all events so far whose subject contains a text, in order.
    pub fn names(&self, of: &str) -> Vec<String> {
        let heard = self.heard.lock().expect("nobody panics with it");
        heard
            .iter()
            .filter(|one| one.subject.contains(of))
            .map(|one| one.name.clone())
            .collect()
    }

    /// Waits until so many events of a type were heard, and returns them.
    pub async fn wait(&self, name: &str, count: usize) -> Vec<Heard> {
        eventually_within(RECOVERY_MAX, &format!("{count} × {name}"), async || {
            let all = self.all(name);
            if all.len() >= count {
                Ok(all)
            } else {
                Err(format!("heard {}", all.len()))
            }
        })
        .await
    }
}
