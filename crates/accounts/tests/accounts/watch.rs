//! What is watched of numbers: their tokens and their webhooks. Against a real broker and a
//! look-alike of the platform.

use std::collections::BTreeMap;
use std::sync::Arc;

use casement_accounts::{App, Config, Graph, Numbers, start};
use casement_event::subject::stream;
use casement_event::{Event, v1};
use casement_event_log::{Followed, Start};
use casement_secrets::Secrets;
use casement_shell::ManualClock;
use casement_shell::auth::Caller;
use casement_shell::config::Secret;
use casement_simulator::{Config as Platform, NumberConfig, Running, Simulator, TokenConfig};
use casement_testkit::eventually;
use jiff::{SignedDuration, Timestamp};
use tokio_util::sync::CancellationToken;

use crate::house::{House, client_as, number};

const DIGITS: &str = "15550001111";
const WABA: &str = "8default";
const TOKEN: &str = "meta-token";

struct Scene {
    house: House,
    platform: Running,
    clock: ManualClock,
    stopping: CancellationToken,
}

impl Drop for Scene {
    fn drop(&mut self) {
        self.stopping.cancel();
    }
}

fn days(days: i64) -> SignedDuration {
    SignedDuration::from_hours(days * 24)
}

impl Scene {
    /// A number at the platform, whose token ends in fifteen days, and a role that watches it; with
    /// another that does the same beside it.
    async fn new() -> Self {
        let house = House::new().await;
        let now: Timestamp = "2026-11-01T10:00:00Z".parse().unwrap();
        let clock = ManualClock::new(now);
        let time = clock.shared();
        let platform = Platform {
            numbers: vec![NumberConfig {
                phone_number_id: "700".to_owned(),
                display_phone_number: DIGITS.to_owned(),
                waba_id: WABA.to_owned(),
                token: TOKEN.to_owned().into(),
            }],
            ..Platform::new(Arc::new(move || time.now()))
        };
        let (id, secret) = (platform.app.id.clone(), platform.app_secret.clone());
        let platform = Simulator::start(platform).await.unwrap();
        let secret_path = house.folder.path().join("app-secret");
        std::fs::write(&secret_path, secrecy::ExposeSecret::expose_secret(&secret)).unwrap();
        let app = App {
            id,
            secret: Secret::File(secret_path),
        };
        let scene = Self {
            house,
            platform,
            clock,
            stopping: CancellationToken::new(),
        };
        scene.token_ends(Some(15));
        for is_first in [true, false] {
            let config = Config {
                graph: Graph {
                    url: scene.platform.base_url(),
                    ..Graph::default()
                },
                apps: BTreeMap::from([("default".to_owned(), app.clone())]),
                numbers: Numbers {
                    watch_every: SignedDuration::from_mins(10),
                    ..Numbers::default()
                },
                ..Config::default()
            };
            let (log, clock) = (scene.house.log.clone(), scene.clock.shared());
            let role = start(config, log, Secrets::default(), clock).await.unwrap();
            let mut client = client_as(&role, Caller::internal("operator", "*")).await;
            tokio::spawn(role.run(scene.stopping.clone()));
            if is_first {
                let path = scene.house.folder.path().join("meta-token");
                std::fs::write(&path, TOKEN).unwrap();
                let mut put = number("+15550001111", "default", "700");
                put.number.as_mut().unwrap().token = Some(v1::SecretRef {
                    source: Some(v1::secret_ref::Source::File(path.display().to_string())),
                });
                client.put_number(put).await.unwrap();
            }
        }
        scene
    }

    /// The token ends so many days from now; `None` for never.
    fn token_ends(&self, in_days: Option<i64>) {
        let ends = in_days.map(|in_days| casement_shell::Clock::now(&self.clock) + days(in_days));
        self.platform.handle().put_token(TokenConfig {
            expires_at: ends,
            ..TokenConfig::new(TOKEN.to_owned())
        });
    }

    /// Every verdict about a check that was ever told, oldest first.
    async fn told(&self, check: v1::WatchCheck) -> Vec<(v1::WatchLevel, String)> {
        let filters = vec!["casement.accounts.watch.>".to_owned()];
        let log = &self.house.log;
        if log
            .next(stream::ACCOUNTS, &filters[0], 1)
            .await
            .unwrap()
            .is_none()
        {
            return Vec::new();
        }
        let mut events = log.follow(stream::ACCOUNTS, filters, Start::Sequence(1));
        let mut all = Vec::new();
        while let Followed::Event(stored) = events.next().await {
            let watch = match stored.event().unwrap() {
                Event::WatchRaised(event) => event.watch.unwrap(),
                Event::WatchCleared(event) => event.watch.unwrap(),
                other => panic!("{other:?}"),
            };
            if watch.check() == check {
                assert_eq!(watch.number, DIGITS);
                assert_eq!(stored.subject.rsplit('.').next(), Some(DIGITS));
                all.push((watch.level(), watch.text));
            }
        }
        all
    }

    async fn reach(&self, check: v1::WatchCheck, levels: &[v1::WatchLevel]) {
        eventually(&format!("told is {levels:?}"), async || {
            let told = self.told(check).await;
            let found: Vec<_> = told.iter().map(|(level, _)| *level).collect();
            if found == levels {
                Ok(())
            } else {
                Err(format!("{told:?}"))
            }
        })
        .await;
    }

    async fn fact(&self, kind: v1::HealthKind) -> Option<v1::HealthFact> {
        match self.house.last("health", DIGITS).await {
            Some(Event::NumberHealthChanged(event)) => {
                let facts = event.health.unwrap().facts;
                facts.into_iter().find(|fact| fact.kind() == kind)
            }
            _ => None,
        }
    }
}

#[tokio::test]
async fn a_token_is_told_of_in_time_once_and_is_over_with_a_new_one() {
    use v1::WatchCheck::TokenExpiry;
    use v1::WatchLevel::{Alarming, Fine, Warned};
    let scene = Scene::new().await;
    eventually("it is known when the token ends", async || {
        let fact = scene.fact(v1::HealthKind::Token).await;
        fact.is_some_and(|fact| fact.value == "ENDING" && fact.until_time.is_some())
    })
    .await;
    assert_eq!(scene.told(TokenExpiry).await, []);

    scene.clock.advance(days(1) + SignedDuration::from_mins(1));
    scene.reach(TokenExpiry, &[Warned]).await;
    // Nobody can be asked, and it is told all the same.
    scene.clock.advance(days(11));
    scene.reach(TokenExpiry, &[Warned, Alarming]).await;

    scene.token_ends(None);
    scene.clock.advance(SignedDuration::from_mins(11));
    scene.reach(TokenExpiry, &[Warned, Alarming, Fine]).await;
    let fact = scene.fact(v1::HealthKind::Token).await;
    assert_eq!(fact.map(|fact| fact.value), Some("LASTING".to_owned()));

    scene.platform.handle().put_token(TokenConfig {
        revoked: true,
        ..TokenConfig::new(TOKEN.to_owned())
    });
    scene.clock.advance(SignedDuration::from_mins(11));
    scene
        .reach(TokenExpiry, &[Warned, Alarming, Fine, Alarming])
        .await;
}

#[tokio::test]
async fn an_account_that_the_app_is_not_subscribed_to_is_told_of_until_it_is() {
    use v1::WatchCheck::WebhookSubscription;
    use v1::WatchLevel::{Alarming, Fine};
    let scene = Scene::new().await;
    eventually("the subscription is known", async || {
        let fact = scene.fact(v1::HealthKind::Subscription).await;
        fact.is_some_and(|fact| fact.value == "TRUE")
    })
    .await;
    assert_eq!(scene.told(WebhookSubscription).await, []);

    scene.platform.handle().unsubscribe(WABA);
    scene.clock.advance(SignedDuration::from_mins(11));
    scene.reach(WebhookSubscription, &[Alarming]).await;

    scene.platform.handle().subscribe(WABA);
    scene.clock.advance(SignedDuration::from_mins(11));
    scene.reach(WebhookSubscription, &[Alarming, Fine]).await;
}

#[tokio::test]
async fn a_clock_that_is_apart_is_told_of_and_not_for_a_moment_only() {
    use v1::WatchLevel::{Alarming, Fine};
    let scene = Scene::new().await;
    scene.clock.set_broker_drift(SignedDuration::from_secs(3));
    let clocks = async || {
        let subject = "casement.accounts.watch.clock.accounts";
        let log = &scene.house.log;
        let told = log.read_subject(stream::ACCOUNTS, subject).await.unwrap();
        let levels = told
            .into_iter()
            .map(|stored| match stored.event().unwrap() {
                Event::WatchRaised(event) => event.watch.unwrap().level(),
                Event::WatchCleared(event) => event.watch.unwrap().level(),
                other => panic!("{other:?}"),
            });
        levels.collect::<Vec<_>>()
    };
    eventually("it is alarming", async || clocks().await == [Alarming]).await;
    scene.clock.set_broker_drift(SignedDuration::ZERO);
    eventually("it is fine again", async || {
        // Time goes on in steps that are no calm by themselves.
        scene.clock.advance(SignedDuration::from_secs(50));
        clocks().await == [Alarming, Fine]
    })
    .await;
}
