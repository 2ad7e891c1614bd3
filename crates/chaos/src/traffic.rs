//! Steady traffic both ways: customers who write, fall silent and write again, and a business that
//! sends to them and repeats what was not answered, as a good caller does.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use casement_event::v1;
use casement_proto::message::v1::SendMessageRequest;
use casement_proto::message::v1::send_message_request::Customer;
use casement_simulator::{CustomerId, Handle};
use casement_tests::{Clients, NUMBER, PHONE_NUMBER_ID, free_form, template};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tonic::Code;

/// How long one try of a send may take.
const TRY_WITHIN: Duration = Duration::from_secs(5);

/// How long between two tries.
const TRY_AGAIN_AFTER: Duration = Duration::from_millis(100);

/// What callers were answered.
#[derive(Debug, Clone, Default)]
pub struct Answers {
    /// Ids of messages that were confirmed.
    pub confirmed: Vec<String>,
    /// How many sends were refused for good.
    pub refused_count: usize,
    /// How many tries had no answer, or one that says to try again.
    pub repeated_count: usize,
}

/// Running traffic.
pub struct Traffic {
    stop: watch::Sender<bool>,
    people: JoinSet<()>,
    answers: Arc<Mutex<Answers>>,
}

impl Traffic {
    /// Starts it with so many customers.
    pub fn start(seed: u64, people_count: u64, simulator: &Handle, clients: &Clients) -> Self {
        let (stop, stopped) = watch::channel(false);
        let answers = Arc::new(Mutex::new(Answers::default()));
        let mut people = JoinSet::new();
        for number in 0..people_count {
            let phone = format!("+1555000{:04}", 2_000 + number);
            let id = simulator
                .customer(Some(&phone), None, "Customer")
                .expect("a phone of digits");
            let person = Person {
                number,
                phone,
                id,
                simulator: simulator.clone(),
                clients: clients.clone(),
                answers: Arc::clone(&answers),
            };
            let chance = StdRng::seed_from_u64(seed ^ (number + 1).wrapping_mul(0x9E37_79B9));
            people.spawn(person.live(chance, stopped.clone()));
        }
        Self {
            stop,
            people,
            answers,
        }
    }

    /// Lets nobody begin anything new, and waits until every send that was begun has its answer.
    pub async fn stop(mut self) -> Answers {
        self.stop.send_replace(true);
        while self.people.join_next().await.is_some() {}
        lock(&self.answers).clone()
    }
}

fn lock(answers: &Mutex<Answers>) -> std::sync::MutexGuard<'_, Answers> {
    answers.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Person {
    number: u64,
    phone: String,
    id: CustomerId,
    simulator: Handle,
    clients: Clients,
    answers: Arc<Mutex<Answers>>,
}

impl Person {
    async fn live(self, mut chance: StdRng, mut stopped: watch::Receiver<bool>) {
        for step in 0_u64.. {
            // Now and then long enough for the window to end.
            let pause = if chance.random_bool(0.18) {
                chance.random_range(11_000..16_000)
            } else {
                chance.random_range(200..3_200)
            };
            let is_over = stopped.wait_for(|stopped| *stopped);
            if tokio::time::timeout(Duration::from_millis(pause), is_over)
                .await
                .is_ok()
            {
                return;
            }
            if step == 0 || chance.random_bool(0.5) {
                // Refused only if nobody is there to be told.
                let _ = self
                    .simulator
                    .says(&self.id, PHONE_NUMBER_ID, &format!("message {step}"));
            } else {
                self.send(step, &mut chance).await;
            }
        }
    }

    async fn send(&self, step: u64, chance: &mut StdRng) {
        let request_id = format!("chaos-{}-{step}", self.number);
        let request = SendMessageRequest {
            number: NUMBER.to_owned(),
            customer: Some(Customer::To(self.phone.clone())),
            content: Some(content(chance, &request_id)),
            purpose: v1::Purpose::Service.into(),
            request_id,
            ..Default::default()
        };
        loop {
            let mut messages = self.clients.messages.clone();
            let answer = tokio::time::timeout(TRY_WITHIN, messages.send_message(request.clone()));
            match answer.await {
                Ok(Ok(answer)) => {
                    let message = answer.into_inner().message.unwrap_or_default();
                    lock(&self.answers).confirmed.push(message.message_id);
                    return;
                }
                Ok(Err(status)) if is_final(status.code()) => {
                    lock(&self.answers).refused_count += 1;
                    return;
                }
                Ok(Err(_)) | Err(_) => lock(&self.answers).repeated_count += 1,
            }
            tokio::time::sleep(TRY_AGAIN_AFTER).await;
        }
    }
}

/// What is said names the request, by which a provider's books can be told apart.
fn content(chance: &mut StdRng, text: &str) -> v1::Content {
    match chance.random_range(0..10) {
        0..4 => free_form(text),
        4..8 => template(text, "order_update", "42"),
        _ => v1::Content {
            sms: Some(v1::SmsContent {
                text: text.to_owned(),
                ..Default::default()
            }),
            ..free_form(text)
        },
    }
}

/// Whether a repeat would be answered the same.
fn is_final(code: Code) -> bool {
    matches!(
        code,
        Code::InvalidArgument
            | Code::FailedPrecondition
            | Code::AlreadyExists
            | Code::NotFound
            | Code::PermissionDenied
            | Code::Unauthenticated
    )
}
