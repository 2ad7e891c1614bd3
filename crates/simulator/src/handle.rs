//! Drives a running simulator from the same process.
//!
//! Each method is one thing a customer, the platform or a fault does; `control` offers the same
//! over HTTP. What follows from it is decided elsewhere.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use jiff::SignedDuration;
use serde_json::Value;
use uuid::Uuid;

use crate::assets::TokenConfig;
use crate::config::{AutoStatus, NumberConfig, RefusalStyle, TemplateConfig, TemplateStatus};
use crate::error::Error;
use crate::faults::{ActiveFault, Fault, FaultId, FaultSpec};
use crate::outbox::{self, Parcel};
use crate::records::{ApiCall, ReadMark, SentMessage, Status, WebhookRecord};
use crate::reports;
use crate::shared::Shared;

/// Controls a running simulator. Clones control the same one.
#[derive(Clone)]
pub struct Handle {
    shared: Arc<Shared>,
}

impl Handle {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    // The platform.

    /// Reports a status of an accepted message, whatever was reported before.
    pub fn report(&self, message_id: &str, status: Status) -> Result<(), Error> {
        self.make_report(message_id, status, None)
    }

    /// Reports that an accepted message failed.
    pub fn report_failed(&self, message_id: &str, code: i64) -> Result<(), Error> {
        self.make_report(message_id, Status::Failed, Some(code))
    }

    /// Posts a JSON value to Meta's webhook, signed.
    pub fn raw_post(&self, body: &Value) -> Result<(), Error> {
        self.raw_body(body.to_string().into())
    }

    /// Posts bytes to Meta's webhook, signed.
    pub fn raw_body(&self, body: Bytes) -> Result<(), Error> {
        self.shared.change(|state| {
            if state.outbox.webhook_url.is_none() {
                return Err(Error::NoWebhook);
            }
            outbox::publish(&self.shared, state, Parcel::Raw(body), false)
        })
    }

    /// Changes where Meta's webhooks go, those that wait included.
    pub fn set_webhook_url(&self, url: Option<String>) {
        self.shared.change(|state| state.outbox.webhook_url = url);
    }

    /// Does the subscription handshake with the webhook; true if it echoed the challenge.
    pub async fn verify_webhook(&self) -> Result<bool, Error> {
        let url = self
            .shared
            .look(|state| state.outbox.webhook_url.clone())
            .ok_or(Error::NoWebhook)?;
        let challenge = Uuid::new_v4().as_u128().to_string();
        let query = [
            ("hub.mode", "subscribe"),
            ("hub.challenge", &challenge),
            ("hub.verify_token", &self.shared.verify_token),
        ];
        let request = self.shared.client.get(url).query(&query);
        let response = request.send().await.map_err(Error::Unreachable)?;
        let accepted = response.status() == 200;
        let body = response.text().await.map_err(Error::Unreachable)?;
        Ok(accepted && body == challenge)
    }

    /// Changes what is reported of its own accord about messages accepted from now on.
    pub fn set_auto_status(&self, auto_status: AutoStatus) {
        self.shared.change(|state| state.auto_status = auto_status);
    }

    /// Changes where closed windows and missing customers are refused.
    pub fn set_refusal(&self, refusal: RefusalStyle) {
        self.shared.change(|state| state.books.refusal = refusal);
    }

    /// Changes how long windows last, those that are open included.
    pub fn set_window(&self, window: SignedDuration) {
        self.shared.change(|state| state.books.window = window);
    }

    /// Adds a business number, or replaces the one with its id.
    pub fn put_number(&self, number: NumberConfig) {
        self.shared.change(|state| {
            let numbers = &mut state.books.numbers;
            numbers.retain(|known| known.phone_number_id != number.phone_number_id);
            numbers.push(number);
        });
    }

    /// Says what is special about an access token, in place of what was said before.
    pub fn put_token(&self, token: TokenConfig) {
        self.shared
            .change(|state| state.books.assets.put_token(token));
    }

    /// Makes a number a test number: it may write to these phones only, at most
    /// [`crate::TEST_RECIPIENTS_MAX`] (131030 to anybody else).
    pub fn put_test_number(&self, phone_number_id: &str, recipients: &[String]) {
        self.shared.change(|state| {
            let assets = &mut state.books.assets;
            assets.put_test_number(phone_number_id, recipients);
        });
    }

    /// Changes a number's status; unless it is `CONNECTED`, sends are refused (133010).
    pub fn set_number_status(&self, phone_number_id: &str, status: &str) {
        self.shared.change(|state| {
            let estate = &mut state.books.estate;
            estate.put_number_status(phone_number_id, status);
        });
    }

    /// Takes the app off a business account's webhooks: none come until it is subscribed again
    /// over the Graph API.
    pub fn unsubscribe(&self, waba_id: &str) {
        self.shared
            .change(|state| state.books.assets.unsubscribe(waba_id));
    }

    /// Subscribes the app to a business account's webhooks, as somebody did at the platform.
    pub fn subscribe(&self, waba_id: &str) {
        self.shared
            .change(|state| state.books.assets.subscribe(waba_id));
    }

    /// Returns whether the app gets a business account's webhooks.
    pub fn is_subscribed(&self, waba_id: &str) -> bool {
        self.shared
            .look(|state| state.books.assets.is_subscribed(waba_id))
    }

    /// Adds a template.
    pub fn add_template(&self, template: TemplateConfig) {
        self.shared
            .change(|state| state.books.templates.push(template));
    }

    /// Changes a template's review state and sends the webhook that says so.
    pub fn set_template_status(
        &self,
        waba_id: &str,
        name: &str,
        language: &str,
        status: TemplateStatus,
    ) -> Result<(), Error> {
        self.shared.change(|state| {
            let key = (waba_id.to_owned(), name.to_owned(), language.to_owned());
            let change = state
                .books
                .turn_template(&key, status, &serde_json::Value::Null)
                .ok_or(Error::UnknownTemplate)?;
            let lane = format!("templates/{waba_id}");
            outbox::publish(&self.shared, state, Parcel::Change { change, lane }, false)
        })
    }

    // Faults.

    /// Puts a fault in force: `handle.inject(FaultSpec::from(Fault::DropConnection).times(1))`.
    pub fn inject(&self, fault: impl Into<FaultSpec>) -> FaultId {
        self.shared.change(|state| state.faults.add(fault.into()))
    }

    /// Ends a fault and sends what it held back; false if it was over already.
    pub fn clear_fault(&self, id: FaultId) -> bool {
        self.shared.change(|state| {
            let was_active = state.faults.remove(id);
            outbox::settle(&self.shared, state);
            was_active
        })
    }

    /// Ends all faults and sends what they held back.
    pub fn clear_faults(&self) {
        self.shared.change(|state| {
            state.faults.clear();
            outbox::settle(&self.shared, state);
        });
    }

    /// Ends [`Fault::HoldStatuses`] and sends what it held back.
    pub fn release_statuses(&self) {
        self.shared.change(|state| {
            state
                .faults
                .remove_matching(|fault| matches!(fault, Fault::HoldStatuses));
            outbox::settle(&self.shared, state);
        });
    }

    /// Returns the faults in force, oldest first.
    pub fn faults(&self) -> Vec<ActiveFault> {
        self.shared.look(|state| state.faults.list().to_vec())
    }

    // The books.

    /// Returns every call that wanted to send a message, oldest first.
    pub fn sent(&self) -> Vec<SentMessage> {
        self.sent_since(0)
    }

    /// Returns the calls that wanted to send a message from this number on.
    pub fn sent_since(&self, seq: u64) -> Vec<SentMessage> {
        self.shared
            .look(|state| state.books.sent_since(seq).cloned().collect())
    }

    /// Returns the body that a call for a WhatsApp message posted, by the call's number.
    pub fn posted(&self, seq: u64) -> Option<Value> {
        self.shared.look(|state| {
            let sent = state.books.sent(seq)?;
            serde_json::from_slice(&sent.route.posted).ok()
        })
    }

    /// Returns which messages were marked as read, oldest first.
    pub fn read_marks(&self) -> Vec<ReadMark> {
        self.shared
            .look(|state| state.books.read_marks.since(0).cloned().collect())
    }

    /// Returns how many calls wanted to send a message.
    pub fn sent_count(&self) -> u64 {
        self.shared.look(|state| state.books.sent_count())
    }

    /// Returns every HTTP call to either look-alike, oldest first.
    pub fn calls(&self) -> Vec<ApiCall> {
        self.shared
            .look(|state| state.books.calls.since(0).cloned().collect())
    }

    /// Returns every webhook and what became of it, oldest first.
    pub fn webhooks(&self) -> Vec<WebhookRecord> {
        self.shared
            .look(|state| state.outbox.records.since(0).cloned().collect())
    }

    /// Returns how many webhooks and held updates are neither delivered nor given up.
    pub fn pending_webhooks(&self) -> usize {
        self.shared.look(|state| state.outbox.pending())
    }

    /// Waits until `look` has something to return, looking again after every change; `None` if it
    /// takes longer than `within`.
    pub async fn until<T>(
        &self,
        within: Duration,
        mut look: impl FnMut(&Self) -> Option<T>,
    ) -> Option<T> {
        let mut changes = self.shared.changes();
        let wait = async {
            loop {
                changes.borrow_and_update();
                if let Some(found) = look(self) {
                    return Some(found);
                }
                changes.changed().await.ok()?;
            }
        };
        tokio::time::timeout(within, wait).await.ok().flatten()
    }

    /// Waits for the first send from `seq` on that `matches`.
    pub async fn until_sent(
        &self,
        seq: u64,
        within: Duration,
        matches: impl Fn(&SentMessage) -> bool,
    ) -> Option<SentMessage> {
        self.until(within, |handle| {
            handle.shared.look(|state| {
                state
                    .books
                    .sent_since(seq)
                    .find(|message| matches(message))
                    .cloned()
            })
        })
        .await
    }

    fn make_report(
        &self,
        message_id: &str,
        status: Status,
        code: Option<i64>,
    ) -> Result<(), Error> {
        self.shared.change(|state| {
            let seq = state
                .books
                .sent_seq(message_id)
                .ok_or(Error::UnknownMessage)?;
            reports::make(&self.shared, state, seq, status, code)
        })
    }
}
