//! A simulator, a webhook that records what it gets, and a caller, on sockets of their own.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use casement_simulator::{
    Config, Handle, NumberConfig, Running, Simulator, TemplateCategory, TemplateConfig,
    WebhookRetry,
};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use tokio::net::TcpListener;

pub(crate) const NUMBER: &str = "106540352242922";
pub(crate) const OTHER_NUMBER: &str = "106540352242933";
pub(crate) const WABA: &str = "102290129340398";
pub(crate) const TOKEN: &str = "token-of-the-number";
pub(crate) const ANA: &str = "+15550001111";
/// Long enough for a slow machine; nothing waits for it unless a claim fails.
pub(crate) const SOON: Duration = Duration::from_secs(20);

/// A clock that stands still until it is moved.
#[derive(Clone)]
pub(crate) struct HandClock(Arc<AtomicI64>);

impl HandClock {
    fn new() -> Self {
        Self(Arc::new(AtomicI64::new(1_790_000_000_000)))
    }

    pub(crate) fn now(&self) -> Timestamp {
        Timestamp::from_millisecond(self.0.load(Ordering::SeqCst)).expect("an instant of this age")
    }

    pub(crate) fn advance(&self, by: SignedDuration) {
        let millis = i64::try_from(by.as_millis()).expect("a test's duration");
        self.0.fetch_add(millis, Ordering::SeqCst);
    }
}

/// What the webhook got.
#[derive(Clone, Debug)]
pub(crate) struct Received {
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Received {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).expect("a JSON webhook")
    }
}

#[derive(Clone, Default)]
pub(crate) struct Inbox {
    received: Arc<Mutex<Vec<Received>>>,
    answers: Arc<Mutex<VecDeque<u16>>>,
}

impl Inbox {
    pub(crate) fn received(&self) -> Vec<Received> {
        self.received.lock().expect("no holder panics").clone()
    }

    /// Answers the next posts with these, then with 200.
    pub(crate) fn answer_with(&self, statuses: &[u16]) {
        self.answers
            .lock()
            .expect("no holder panics")
            .extend(statuses);
    }

    async fn serve(self) -> String {
        async fn take(State(inbox): State<Inbox>, headers: HeaderMap, body: Bytes) -> StatusCode {
            let answer = inbox.answers.lock().expect("no holder panics").pop_front();
            inbox
                .received
                .lock()
                .expect("no holder panics")
                .push(Received { headers, body });
            StatusCode::from_u16(answer.unwrap_or(200)).expect("a status")
        }
        async fn handshake(Query(query): Query<Vec<(String, String)>>) -> (StatusCode, String) {
            let param = |name: &str| {
                let found = query.iter().find(|(key, _)| key == name);
                found.map(|(_, value)| value.clone()).unwrap_or_default()
            };
            if param("hub.mode") == "subscribe" && param("hub.verify_token") == "demo-verify-token"
            {
                (StatusCode::OK, param("hub.challenge"))
            } else {
                (StatusCode::FORBIDDEN, String::new())
            }
        }
        let listener = TcpListener::bind(("127.0.0.1", 0))
            .await
            .expect("a free port");
        let addr = listener.local_addr().expect("its address");
        let routes = Router::new()
            .route("/hook", post(take).get(handshake))
            .with_state(self);
        tokio::spawn(async move { axum::serve(listener, routes).await });
        format!("http://{addr}/hook")
    }
}

pub(crate) struct Stage {
    pub(crate) running: Running,
    pub(crate) handle: Handle,
    pub(crate) inbox: Inbox,
    pub(crate) clock: HandClock,
    pub(crate) hook: String,
    pub(crate) client: reqwest::Client,
}

impl Stage {
    pub(crate) async fn set() -> Self {
        Self::set_with(|_| {}).await
    }

    pub(crate) async fn set_with(change: impl FnOnce(&mut Config)) -> Self {
        let clock = HandClock::new();
        let inbox = Inbox::default();
        let hook = inbox.clone().serve().await;
        let ticking = clock.clone();
        let mut config = Config::new(Arc::new(move || ticking.now()));
        config.webhook_url = Some(hook.clone());
        config.twilio.status_callback = Some(hook.clone());
        config.twilio.inbound_url = Some(hook.clone());
        config.generic.status_url = Some(hook.clone());
        config.numbers = [NUMBER, OTHER_NUMBER].map(number).to_vec();
        config.templates = vec![template()];
        config.webhook_retry = WebhookRetry {
            first: SignedDuration::from_millis(10),
            longest: SignedDuration::from_millis(50),
            ..WebhookRetry::default()
        };
        change(&mut config);
        let running = Simulator::start(config).await.expect("a simulator");
        Self {
            handle: running.handle(),
            running,
            inbox,
            clock,
            hook,
            client: client(),
        }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.running.base_url())
    }

    /// Calls the Graph API's `/messages` and returns status and body.
    pub(crate) async fn send(&self, body: &Value) -> (u16, Value) {
        let response = self.try_send(body).await.expect("an answer");
        let status = response.status().as_u16();
        (status, response.json().await.expect("a JSON answer"))
    }

    pub(crate) async fn try_send(&self, body: &Value) -> reqwest::Result<reqwest::Response> {
        self.client
            .post(self.url(&format!("/v26.0/{NUMBER}/messages")))
            .bearer_auth(TOKEN)
            .json(body)
            .send()
            .await
    }

    pub(crate) async fn get(&self, path: &str) -> (u16, Value) {
        let request = self.client.get(self.url(path)).bearer_auth(TOKEN);
        let response = request.send().await.expect("an answer");
        let status = response.status().as_u16();
        (status, response.json().await.expect("a JSON answer"))
    }

    /// Waits until the webhook has answered this many posts and returns them all.
    pub(crate) async fn received(&self, count: usize) -> Vec<Received> {
        self.handle
            .until(SOON, |_| {
                let received = self.inbox.received();
                (received.len() >= count).then_some(received)
            })
            .await
            .expect("webhooks")
    }

    /// Waits until nothing is left to deliver.
    pub(crate) async fn quiet(&self) {
        self.handle
            .until(SOON, |handle| {
                (handle.pending_webhooks() == 0).then_some(())
            })
            .await
            .expect("an empty outbox");
    }
}

pub(crate) fn number(phone_number_id: &str) -> NumberConfig {
    NumberConfig {
        phone_number_id: phone_number_id.to_owned(),
        display_phone_number: "+1 555 078 3881".to_owned(),
        waba_id: WABA.to_owned(),
        token: TOKEN.into(),
    }
}

pub(crate) fn template() -> TemplateConfig {
    TemplateConfig {
        waba_id: WABA.to_owned(),
        name: "order_update".to_owned(),
        language: "en".to_owned(),
        category: TemplateCategory::Utility,
        body: "Order {{1}} is ready".to_owned(),
        parameter_count: 1,
        status: casement_simulator::TemplateStatus::Approved,
    }
}

pub(crate) fn text(to: &str, body: &str) -> Value {
    json!({
        "messaging_product": "whatsapp",
        "recipient_type": "individual",
        "to": to,
        "type": "text",
        "text": {"body": body},
        "biz_opaque_callback_data": "attempt-1",
    })
}

pub(crate) fn template_to(to: &str, name: &str, parameters: &[&str]) -> Value {
    let parameters: Vec<Value> = parameters
        .iter()
        .map(|text| json!({"type": "text", "text": text}))
        .collect();
    json!({
        "messaging_product": "whatsapp",
        "to": to,
        "type": "template",
        "template": {
            "name": name,
            "language": {"code": "en"},
            "components": [{"type": "body", "parameters": parameters}],
        },
    })
}

/// Returns the elements of every `entry[].changes[].value.<key>[]` of a webhook.
pub(crate) fn items(webhook: &Value, key: &str) -> Vec<Value> {
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    list(&webhook["entry"])
        .iter()
        .flat_map(|entry| list(&entry["changes"]))
        .flat_map(|change| list(&change["value"][key]))
        .collect()
}

#[expect(
    clippy::disallowed_methods,
    reason = "the caller stands outside the house and builds its own client"
)]
fn client() -> reqwest::Client {
    reqwest::Client::builder()
        .timeout(SOON)
        .build()
        .expect("the provider that the simulator installed")
}
