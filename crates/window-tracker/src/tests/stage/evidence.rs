//! What the dispatcher would have stored: what the platform proved, and who was answered.

use casement_domain::window::Evidence;
use casement_event::convert::{timestamp, window};
use casement_event::subject::{self, Family, stream};
use casement_event::{Event, Record, Uuid, v1};
use casement_event_log::Expect;
use jiff::Timestamp;

use super::{Stage, conversation, customer, number};

impl Stage {
    /// The platform refuses a free-form call that began at `at` as outside the window.
    pub(in crate::tests) async fn refuse(&self, name: &str, at: Timestamp) {
        let evidence = Evidence {
            refused_at: Some(at),
            ..Evidence::default()
        };
        self.append_evidence(name, evidence, |summary| {
            v1::WindowRefused {
                conversation: Some(conversation(name)),
                refused_time: Some(timestamp(at)),
                summary: Some(summary),
                ..v1::WindowRefused::default()
            }
            .into()
        })
        .await;
    }

    /// The platform delivers what a free-form call that began at `at` sent.
    pub(in crate::tests) async fn prove(&self, name: &str, at: Timestamp) {
        let evidence = Evidence {
            proven_at: Some(at),
            ..Evidence::default()
        };
        self.append_evidence(name, evidence, |summary| {
            v1::WindowProven {
                conversation: Some(conversation(name)),
                proven_time: Some(timestamp(at)),
                summary: Some(summary),
                ..v1::WindowProven::default()
            }
            .into()
        })
        .await;
    }

    /// A message of ours that answered the customer left, sent by a call that began at `at`.
    pub(in crate::tests) async fn answer(&self, name: &str, at: Timestamp) {
        let evidence = Evidence {
            answered_at: Some(at),
            ..Evidence::default()
        };
        self.append_evidence(name, evidence, |summary| {
            v1::CustomerAnswered {
                conversation: Some(conversation(name)),
                answered_time: Some(timestamp(at)),
                summary: Some(summary),
                ..v1::CustomerAnswered::default()
            }
            .into()
        })
        .await;
    }

    async fn append_evidence(
        &self,
        name: &str,
        evidence: Evidence,
        event: impl Fn(v1::EvidenceSummary) -> Event,
    ) {
        let subject = subject::conversation(Family::Evidence, &number(), &customer(name));
        let last = self.log.last(stream::EVENTS, &subject).await;
        let known = last
            .expect("a read")
            .map_or_else(Evidence::default, |stored| {
                let event = stored.event().expect("an event");
                let read = window::read_evidence(&event).expect("readable");
                read.expect("evidence")
            });
        let event = event(window::evidence(known.join(evidence)));
        let now = self.clock.now();
        let record = Record::new(subject, Uuid::new_v4(), "casement/test", now, event);
        self.log
            .append(record, Expect::Anything)
            .await
            .expect("an append");
    }
}
