//! Onboardings against a real broker and the simulated platform: to the end, from wherever they
//! were cut off, past what goes wrong on the way.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use casement_accounts::{App, Config, Graph, start};
use casement_event::subject::{account, stream};
use casement_event::{Event, v1};
use casement_event_log::{Followed, Log, Start};
use casement_proto::account::v1 as api;
use casement_proto::account::v1::onboarding_service_client::OnboardingServiceClient;
use casement_proto::account::v1::secret_service_client::SecretServiceClient;
use casement_proto::account::v1::start_onboarding_request::Access;
use casement_secrets::vault::LocalVault;
use casement_secrets::{Config as SecretsConfig, Secrets};
use casement_shell::ManualClock;
use casement_shell::auth::Caller;
use casement_shell::config::Secret;
use casement_shell::grpc::reason;
use casement_simulator::{Config as Platform, SignUp, SignUpSpec, Simulator, Upset, UpsetKind};
use casement_testkit::{NatsServer, Proxy, eventually};
use jiff::SignedDuration;
use secrecy::ExposeSecret as _;
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Channel;
use tonic::{Code, Request};

use crate::house::connect;

const APP_SECRET: &str = "app-secret-of-the-test";
const PHONE: &str = "+15557770001";

/// A broker, a platform, and a clock that both roles of a test share.
struct Stage {
    server: NatsServer,
    log: Log,
    platform: casement_simulator::Running,
    /// Where roles call it.
    graph_url: String,
    app_id: String,
    clock: ManualClock,
}

/// A role that can be killed.
struct Mortal {
    runtime: Option<Runtime>,
    onboardings: OnboardingServiceClient<Channel>,
    secrets: SecretServiceClient<Channel>,
    shelf: Secrets,
}

impl Drop for Mortal {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Stage {
    async fn new() -> Self {
        let server = NatsServer::start().await;
        let now = casement_shell::SystemClock::shared();
        let platform = Platform {
            app_secret: APP_SECRET.to_owned().into(),
            ..Platform::new(Arc::new(move || now.now()))
        };
        let app_id = platform.app.id.clone();
        let platform = Simulator::start(platform).await.unwrap();
        Self {
            log: connect(&server).await,
            graph_url: platform.base_url(),
            platform,
            app_id,
            clock: ManualClock::new("2026-11-22T10:00:00Z".parse().unwrap()),
            server,
        }
    }

    fn config(&self) -> Config {
        let app = App {
            id: self.app_id.clone(),
            secret: Secret::from_value(APP_SECRET),
        };
        Config {
            graph: Graph {
                url: self.graph_url.clone(),
                ..Graph::default()
            },
            apps: [("default".to_owned(), app)].into(),
            ..Config::default()
        }
    }

    /// Starts a role on a runtime of its own.
    async fn role(&self, brand: &str) -> Mortal {
        let runtime = Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        let (config, clock) = (self.config(), self.clock.shared());
        let (url, caller) = (self.server.url(), Caller::internal("operator", brand));
        let started = runtime.spawn(async move {
            let log = casement_event_log::Config {
                servers: url,
                accept_unsafe_broker: true,
                ..casement_event_log::Config::default()
            };
            let log = Log::connect(&log).await.unwrap();
            let stopping = CancellationToken::new();
            let keys = SecretsConfig {
                master_key: Some(Secret::from_value("a key that nobody but this test knows")),
            };
            let vault = LocalVault::new(keys.keys().unwrap()).unwrap();
            let shelf = Secrets::start(&log, Arc::new(vault), stopping.clone()).await;
            let role = start(config, log, shelf.clone(), clock).await.unwrap();
            let with_caller = move |mut request: Request<()>| {
                request.extensions_mut().insert(caller.clone());
                Ok(request)
            };
            let routes = Routes::new(InterceptedService::new(
                role.onboardings(),
                with_caller.clone(),
            ))
            .add_service(InterceptedService::new(role.shelf(), with_caller));
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = format!("http://{}", listener.local_addr().unwrap());
            tokio::spawn(casement_shell::grpc::serve(
                listener,
                routes,
                stopping.clone(),
            ));
            tokio::spawn(role.run(stopping));
            (address, shelf)
        });
        let (address, shelf) = started.await.unwrap();
        let channel = Channel::from_shared(address)
            .unwrap()
            .connect()
            .await
            .unwrap();
        Mortal {
            runtime: Some(runtime),
            onboardings: OnboardingServiceClient::new(channel.clone()),
            secrets: SecretServiceClient::new(channel),
            shelf,
        }
    }

    fn sign_up(&self, is_on_app: bool) -> SignUp {
        let spec = SignUpSpec {
            phone: PHONE.to_owned(),
            verified_name: "The Shop".to_owned(),
            business_name: "Shop Ltd".to_owned(),
            is_on_app,
            ..SignUpSpec::default()
        };
        self.platform.handle().sign_up(spec).unwrap()
    }

    /// Lets time pass until an onboarding is as it should be.
    async fn reach(
        &self,
        id: &str,
        what: &str,
        is_there: impl Fn(&v1::Onboarding) -> bool,
    ) -> v1::Onboarding {
        eventually(what, async || {
            self.clock.advance(SignedDuration::from_secs(5));
            let known = self.last(id).await.ok_or("nothing is on record")?;
            if is_there(&known) {
                Ok(known)
            } else {
                Err(format!("{known:?}"))
            }
        })
        .await
    }

    async fn done(&self, id: &str) -> v1::Onboarding {
        let is_done = |known: &v1::Onboarding| known.state() == v1::OnboardingState::Done;
        self.reach(id, "the onboarding is done", is_done).await
    }

    async fn last(&self, id: &str) -> Option<v1::Onboarding> {
        let subject = account("onboarding", id);
        let stored = self.log.last(stream::ACCOUNTS, &subject).await.unwrap()?;
        match stored.event().unwrap() {
            Event::OnboardingAdvanced(event) => event.onboarding,
            other => panic!("{other:?}"),
        }
    }

    async fn number(&self) -> Option<v1::Number> {
        let subject = account("number", PHONE.trim_start_matches('+'));
        let stored = self.log.last(stream::ACCOUNTS, &subject).await.unwrap()?;
        match stored.event().unwrap() {
            Event::NumberRecorded(event) => event.number,
            other => panic!("{other:?}"),
        }
    }

    /// How often a call was made, by the end of its path.
    fn calls(&self, end: &str) -> usize {
        let calls = self.platform.handle().calls().into_iter();
        calls
            .filter(|call| call.method == "POST" && call.path.ends_with(end))
            .count()
    }

    fn upset(&self, call: &str, kind: UpsetKind) {
        self.platform.handle().upset(Upset {
            call: call.to_owned(),
            kind,
            times: 1,
        });
    }

    /// Every file of the broker's that holds the bytes.
    fn is_on_disk(&self, bytes: &[u8]) -> bool {
        fn is_in(folder: &std::path::Path, bytes: &[u8]) -> bool {
            std::fs::read_dir(folder)
                .into_iter()
                .flatten()
                .flatten()
                .any(|entry| {
                    let path = entry.path();
                    let content = std::fs::read(&path).unwrap_or_default();
                    (path.is_dir() && is_in(&path, bytes))
                        || content.windows(bytes.len()).any(|window| window == bytes)
                })
        }
        is_in(&self.server.store_dir(), bytes)
    }
}

fn request(of: &SignUp) -> api::StartOnboardingRequest {
    api::StartOnboardingRequest {
        brand_id: "default".to_owned(),
        waba_id: of.waba_id.clone(),
        phone_number_id: of.phone_number_id.clone(),
        access: Some(Access::Code(of.code.clone())),
        ..api::StartOnboardingRequest::default()
    }
}

impl Mortal {
    async fn begin(&self, asked: api::StartOnboardingRequest) -> Result<String, tonic::Status> {
        let answer = self.onboardings.clone().start_onboarding(asked).await?;
        let onboarding = answer.into_inner().onboarding.unwrap();
        Ok(onboarding.onboarding_id)
    }
}

#[tokio::test]
async fn a_sign_ups_code_brings_its_number_onto_the_platform_and_onto_the_record() {
    let stage = Stage::new().await;
    let role = stage.role("*").await;
    let signed_up = stage.sign_up(false);
    let asked = api::StartOnboardingRequest {
        request_id: "r1".to_owned(),
        ..request(&signed_up)
    };
    let id = role.begin(asked.clone()).await.unwrap();
    assert_eq!(
        role.begin(asked).await.unwrap(),
        id,
        "a repeat uses no code"
    );
    let done = stage.done(&id).await;
    assert_eq!(done.number, PHONE.trim_start_matches('+'));
    assert_eq!(done.portfolio_id, signed_up.business_id);
    assert!(stage.platform.handle().is_subscribed(&signed_up.waba_id));
    assert_eq!(stage.calls("/register"), 1);

    let number = stage.number().await.unwrap();
    assert_eq!(number.phone_number_id, signed_up.phone_number_id);
    assert_eq!(number.brand_id, "default");
    assert_eq!(number.onboard_time, None);
    let token = role.shelf.resolve(number.token.as_ref()).unwrap();
    let token = token.expose_secret();
    assert!(token.starts_with("EAA"));
    assert!(stage.is_on_disk(id.as_bytes()), "files are looked at");
    assert!(!stage.is_on_disk(token.as_bytes()));
    assert!(!stage.is_on_disk(signed_up.code.as_bytes()));

    let listed = role
        .secrets
        .clone()
        .list_secrets(api::ListSecretsRequest {})
        .await;
    let listed = listed.unwrap().into_inner();
    assert_eq!(listed.secrets.len(), 2, "a token and a PIN: {listed:?}");
    assert!(!format!("{listed:?}").contains(token));
    let name = format!("default/token-{id}");
    let delete = api::DeleteSecretRequest { name };
    let refused = role
        .secrets
        .clone()
        .delete_secret(delete)
        .await
        .unwrap_err();
    assert_eq!(reason(&refused).as_deref(), Some("SECRET_IN_USE"));
}

#[tokio::test]
async fn an_onboarding_that_is_killed_between_any_two_records_goes_on_to_its_end() {
    let mut stage = Stage::new().await;
    // Slow enough that each step is cut off, and not the one after it.
    let proxy = Proxy::start(stage.platform.addr().to_string()).await;
    proxy.delay(Duration::from_millis(50));
    stage.graph_url = proxy.url("http");
    let signed_up = stage.sign_up(false);
    let mut role = stage.role("*").await;
    let id = role.begin(request(&signed_up)).await.unwrap();
    let filters = vec![account("onboarding", &id)];
    let start = Start::Sequence(1);
    let mut records = stage.log.follow(stream::ACCOUNTS, filters, start);
    let mut killed_at = BTreeSet::new();
    let mut tick = tokio::time::interval(Duration::from_millis(5));
    loop {
        let followed = tokio::select! {
            followed = records.next() => followed,
            _ = tick.tick() => {
                stage.clock.advance(SignedDuration::from_secs(1));
                continue;
            }
        };
        let Followed::Event(stored) = followed else {
            continue;
        };
        let Event::OnboardingAdvanced(event) = stored.event().unwrap() else {
            panic!("another event");
        };
        let known = event.onboarding.unwrap();
        if known.state() == v1::OnboardingState::Done {
            break;
        }
        // Once in the middle of each step, and once before it.
        if killed_at.insert((i32::from(known.step()), known.step_start_time.is_some())) {
            drop(role);
            role = stage.role("*").await;
        }
    }
    assert_eq!(killed_at.len(), 10, "{killed_at:?}");
    let number = stage.number().await.unwrap();
    assert_eq!(number.phone_number_id, signed_up.phone_number_id);
    // What was cut off after its call was looked up, and not made again.
    assert!(stage.calls("/register") <= 2);
    let asked = stage.platform.handle().calls().into_iter();
    let asked: Vec<_> = asked
        .filter(|call| call.path.ends_with("/access_token"))
        .collect();
    assert_eq!(asked.len(), 1, "the code was exchanged once");
}

#[tokio::test]
async fn an_answer_that_got_lost_is_looked_up_before_anything_is_repeated() {
    let stage = Stage::new().await;
    let role = stage.role("*").await;
    let signed_up = stage.sign_up(false);
    stage.upset("register", UpsetKind::LoseAnswer);
    stage.upset("subscribed_apps", UpsetKind::LoseCall);
    let id = role.begin(request(&signed_up)).await.unwrap();
    stage.done(&id).await;
    assert_eq!(stage.calls("/register"), 1);
}

#[tokio::test]
async fn a_wrong_pin_waits_for_the_business_and_goes_on_with_the_right_one() {
    let stage = Stage::new().await;
    let role = stage.role("*").await;
    let signed_up = stage.sign_up(false);
    stage.upset("register", UpsetKind::Refuse(133_005));
    let asked = api::StartOnboardingRequest {
        pin: "111111".to_owned(),
        ..request(&signed_up)
    };
    let id = role.begin(asked).await.unwrap();
    let is_stopped = |known: &v1::Onboarding| known.state() == v1::OnboardingState::Stopped;
    let stopped = stage.reach(&id, "it stops", is_stopped).await;
    assert_eq!(stopped.waits_for(), v1::OnboardingParty::Business);
    let problem = stopped.problem.unwrap();
    assert_eq!(
        (problem.reason.as_str(), problem.code),
        ("PIN_WRONG", 133_005)
    );

    let retry = api::RetryOnboardingRequest {
        onboarding_id: id.clone(),
        pin: "222222".to_owned(),
        ..api::RetryOnboardingRequest::default()
    };
    role.onboardings
        .clone()
        .retry_onboarding(retry)
        .await
        .unwrap();
    let done = stage.done(&id).await;
    assert_eq!(done.problem, None);
    let pin = role.shelf.resolve(done.pin.as_ref()).unwrap();
    assert_eq!(pin.expose_secret(), "222222");
    let again = api::RetryOnboardingRequest {
        onboarding_id: id,
        ..api::RetryOnboardingRequest::default()
    };
    let refused = role
        .onboardings
        .clone()
        .retry_onboarding(again)
        .await
        .unwrap_err();
    assert_eq!(reason(&refused).as_deref(), Some("ONBOARDING_OVER"));
}

#[tokio::test]
async fn a_lock_of_the_platform_is_kept_and_waited_out() {
    let stage = Stage::new().await;
    let role = stage.role("*").await;
    let signed_up = stage.sign_up(false);
    stage.upset("register", UpsetKind::Refuse(133_016));
    let id = role.begin(request(&signed_up)).await.unwrap();
    let is_waiting = |known: &v1::Onboarding| known.state() == v1::OnboardingState::Waiting;
    let waiting = stage.reach(&id, "it waits", is_waiting).await;
    assert_eq!(waiting.waits_for(), v1::OnboardingParty::Platform);
    let subject = account("registration", PHONE.trim_start_matches('+'));
    let counted = stage
        .log
        .last(stream::ACCOUNTS, &subject)
        .await
        .unwrap()
        .unwrap();
    let Event::RegistrationCounted(counted) = counted.event().unwrap() else {
        panic!("another event");
    };
    let tally = counted.tally.unwrap();
    assert!(tally.locked_until_time.is_some());
    // Somebody who is impatient is told the same, and the platform is not asked again.
    let retry = api::RetryOnboardingRequest {
        onboarding_id: id.clone(),
        ..api::RetryOnboardingRequest::default()
    };
    role.onboardings
        .clone()
        .retry_onboarding(retry)
        .await
        .unwrap();
    let is_counted = |known: &v1::Onboarding| {
        let problem = known.problem.clone().unwrap_or_default();
        problem.reason == "REGISTRATION_BUDGET_SPENT"
    };
    stage.reach(&id, "our own count refuses", is_counted).await;
    assert_eq!(stage.calls("/register"), 1);
    stage.clock.advance(SignedDuration::from_hours(72));
    stage.done(&id).await;
    assert_eq!(stage.calls("/register"), 2);
}

#[tokio::test]
async fn a_number_that_stays_on_the_phone_app_is_not_registered_and_remembers_since_when() {
    let stage = Stage::new().await;
    let role = stage.role("*").await;
    let signed_up = stage.sign_up(true);
    let asked = api::StartOnboardingRequest {
        coexistence: true,
        ..request(&signed_up)
    };
    let id = role.begin(asked).await.unwrap();
    let done = stage.done(&id).await;
    assert_eq!(stage.calls("/register"), 0);
    assert_eq!(done.pin, None);
    assert_eq!(stage.number().await.unwrap().onboard_time, done.create_time);
}

/// What is wrong with a request.
type Change = fn(&mut api::StartOnboardingRequest);

#[tokio::test]
async fn what_can_be_refused_is_refused_before_a_code_is_used_up() {
    let stage = Stage::new().await;
    let role = stage.role("*").await;
    let signed_up = stage.sign_up(false);
    let changes: [(Change, Code); 4] = [
        (
            |asked| asked.pin = "12345".to_owned(),
            Code::InvalidArgument,
        ),
        (
            |asked| asked.app = "nobody".to_owned(),
            Code::InvalidArgument,
        ),
        (
            |asked| asked.brand_id = "nobody".to_owned(),
            Code::FailedPrecondition,
        ),
        (|asked| asked.brand_id.clear(), Code::InvalidArgument),
    ];
    for (change, code) in changes {
        let mut asked = request(&signed_up);
        change(&mut asked);
        assert_eq!(role.begin(asked).await.unwrap_err().code(), code);
    }
    role.begin(request(&signed_up)).await.unwrap();
    let used = api::StartOnboardingRequest {
        request_id: "another".to_owned(),
        ..request(&signed_up)
    };
    let refused = role.begin(used).await.unwrap_err();
    assert_eq!(reason(&refused).as_deref(), Some("CODE_REFUSED"));
    assert!(!refused.message().contains(&signed_up.code));
    assert!(refused.message().contains("signs up again"));
}

#[tokio::test]
async fn tokens_are_stored_by_brand_and_another_brands_are_nobodys_business() {
    let stage = Stage::new().await;
    let (all, shop) = (stage.role("*").await, stage.role("default").await);
    let put = |name: &str| api::PutTokenRequest {
        name: name.to_owned(),
        token: "EAAG-of-the-test".to_owned(),
    };
    let stored = shop
        .secrets
        .clone()
        .put_token(put("meta"))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(stored.secret.unwrap().name, "default/meta");
    let calls: [(&Mortal, &str, &str); 4] = [
        (&shop, "meta", "SECRET_EXISTS"),
        (&shop, "other/meta", "ANOTHER_BRAND"),
        (&all, "other/meta", "BRAND_UNKNOWN"),
        (&all, "meta", "INVALID_FIELD"),
    ];
    for (role, name, expected) in calls {
        let refused = role.secrets.clone().put_token(put(name)).await.unwrap_err();
        assert_eq!(reason(&refused).as_deref(), Some(expected), "{name}");
        assert!(!refused.message().contains("EAAG"));
    }
    let reencrypt = api::ReencryptSecretsRequest {};
    let refused = shop
        .secrets
        .clone()
        .reencrypt_secrets(reencrypt)
        .await
        .unwrap_err();
    assert_eq!(reason(&refused).as_deref(), Some("ANOTHER_BRAND"));
    let rotate = api::RotateTokenRequest {
        name: "default/meta".to_owned(),
        token: "EAAG-rotated".to_owned(),
    };
    let rotated = all
        .secrets
        .clone()
        .rotate_token(rotate)
        .await
        .unwrap()
        .into_inner();
    assert_eq!(rotated.secret.unwrap().version, 2);
    eventually("the other role has it", async || {
        let known = shop.shelf.stored("default/meta").unwrap();
        (known.expose_secret() == "EAAG-rotated")
            .then_some(())
            .ok_or("not yet")
    })
    .await;
    let delete = api::DeleteSecretRequest {
        name: "meta".to_owned(),
    };
    shop.secrets.clone().delete_secret(delete).await.unwrap();
}
