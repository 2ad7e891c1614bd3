//! Numbers at the platform: what it tells, what is asked, parts of records, and how a number
//! leaves. Against a real broker and a look-alike of the platform.

use std::sync::Arc;

use casement_accounts::{Config, Graph, Numbers, start};
use casement_event::convert::timestamp;
use casement_event::subject::{reported, stream};
use casement_event::v1::account_facts::Facts;
use casement_event::{Event, Record, Uuid, v1};
use casement_event_log::{Expect, Followed, Start};
use casement_proto::account::v1 as api;
use casement_proto::account::v1::account_service_client::AccountServiceClient;
use casement_secrets::Secrets;
use casement_shell::ManualClock;
use casement_shell::auth::Caller;
use casement_shell::grpc::reason;
use casement_simulator::{Config as Platform, NumberConfig, Running, Simulator};
use casement_testkit::eventually;
use jiff::{SignedDuration, Timestamp};
use tokio_util::sync::CancellationToken;
use tonic::Code;
use tonic::transport::Channel;

use crate::house::{House, client_as, number};

const NUMBER: &str = "+15550001111";
const DIGITS: &str = "15550001111";

struct Scene {
    house: House,
    platform: Running,
    clock: ManualClock,
    client: AccountServiceClient<Channel>,
    stopping: CancellationToken,
}

impl Drop for Scene {
    fn drop(&mut self) {
        self.stopping.cancel();
    }
}

impl Scene {
    /// A number on record and at the platform, and a role that asks about it.
    async fn new() -> Self {
        let house = House::new().await;
        let clock = ManualClock::new(at(0));
        let time = clock.shared();
        let platform = Platform {
            numbers: vec![NumberConfig {
                phone_number_id: "700".to_owned(),
                display_phone_number: DIGITS.to_owned(),
                waba_id: "8default".to_owned(),
                token: "meta-token".to_owned().into(),
            }],
            ..Platform::new(Arc::new(move || time.now()))
        };
        let platform = Simulator::start(platform).await.unwrap();
        let config = Config {
            graph: Graph {
                url: platform.base_url(),
                ..Graph::default()
            },
            numbers: Numbers {
                poll_every: SignedDuration::from_mins(15),
                watch_every: SignedDuration::ZERO,
            },
            ..Config::default()
        };
        let role = start(
            config,
            house.log.clone(),
            Secrets::default(),
            clock.shared(),
        )
        .await
        .unwrap();
        let mut client = client_as(&role, Caller::internal("operator", "*")).await;
        let stopping = CancellationToken::new();
        tokio::spawn(role.run(stopping.clone()));
        let path = house.folder.path().join("meta-token");
        std::fs::write(&path, "meta-token").unwrap();
        let mut put = number(NUMBER, "default", "700");
        let record = put.number.as_mut().unwrap();
        record.token = Some(v1::SecretRef {
            source: Some(v1::secret_ref::Source::File(path.display().to_string())),
        });
        client.put_number(put).await.unwrap();
        let scene = Self {
            house,
            platform,
            clock,
            client,
            stopping,
        };
        scene.reach(api::Connection::Connected).await;
        scene
    }

    async fn standing(&self) -> api::NumberStanding {
        let request = api::GetNumberRequest {
            number: NUMBER.to_owned(),
        };
        let answer = self.client.clone().get_number(request).await.unwrap();
        answer.into_inner().standing.unwrap()
    }

    async fn record(&self) -> v1::Number {
        let request = api::GetNumberRequest {
            number: NUMBER.to_owned(),
        };
        let answer = self.client.clone().get_number(request).await.unwrap();
        answer.into_inner().number.unwrap()
    }

    async fn reach(&self, wanted: api::Connection) {
        eventually("the number stands so", async || {
            let standing = self.standing().await;
            standing.connection() == wanted
        })
        .await;
    }

    /// Everything that was ever said of the number.
    async fn changes(&self) -> Vec<v1::NumberHealthChanged> {
        let filters = vec!["casement.accounts.health.*".to_owned()];
        let log = &self.house.log;
        let mut events = log.follow(stream::ACCOUNTS, filters, Start::Sequence(1));
        let mut all = Vec::new();
        while let Followed::Event(stored) = events.next().await {
            if let Event::NumberHealthChanged(event) = stored.event().unwrap() {
                all.push(event);
            }
        }
        all
    }

    async fn report(&self, kind: &str, second: i64, facts: Facts) {
        let time = at(second);
        let event = v1::AccountReported {
            entry_id: "8default".to_owned(),
            times: Some(v1::Times {
                event_time: Some(timestamp(time)),
                ..v1::Times::default()
            }),
            number: DIGITS.to_owned(),
            facts: Some(v1::AccountFacts { facts: Some(facts) }),
            ..v1::AccountReported::default()
        };
        let subject = reported(kind, "8default");
        let record = Record::new(subject, Uuid::new_v4(), "casement/test", time, event);
        let log = &self.house.log;
        log.append(record, Expect::Anything).await.unwrap();
    }

    fn polls(&self) -> usize {
        let calls = self.platform.handle().calls();
        let polls = calls.iter().filter(|call| call.path.ends_with("/700"));
        polls.count()
    }

    async fn plan(&self) -> api::PlanDeregistrationResponse {
        let request = api::PlanDeregistrationRequest {
            number: NUMBER.to_owned(),
        };
        let planned = self.client.clone().plan_deregistration(request).await;
        planned.unwrap().into_inner()
    }
}

fn at(second: i64) -> Timestamp {
    let start: Timestamp = "2026-11-01T10:00:00Z".parse().unwrap();
    start
        .checked_add(SignedDuration::from_secs(second))
        .unwrap()
}

fn word(standing: &api::NumberStanding, kind: v1::HealthKind) -> String {
    let health = standing.health.clone().unwrap();
    let fact = health.facts.into_iter().find(|fact| fact.kind() == kind);
    fact.map(|fact| fact.value).unwrap_or_default()
}

fn banned(state: &str) -> Facts {
    Facts::AccountUpdate(v1::AccountUpdateFacts {
        event: "DISABLED_UPDATE".to_owned(),
        waba_id: "8default".to_owned(),
        ban_state: state.to_owned(),
        ..v1::AccountUpdateFacts::default()
    })
}

#[tokio::test]
async fn a_number_is_asked_about_on_schedule_and_only_news_are_written() {
    let scene = Scene::new().await;
    let standing = scene.standing().await;
    assert_eq!(standing.throughput, 80);
    assert_eq!(word(&standing, v1::HealthKind::Status), "CONNECTED");
    let written = scene.changes().await.len();

    let polls = scene.polls();
    scene.clock.advance(SignedDuration::from_mins(20));
    eventually("it is asked again", async || scene.polls() > polls).await;
    assert_eq!(scene.changes().await.len(), written, "the same is no news");

    scene.platform.handle().set_number_status("700", "BANNED");
    scene.clock.advance(SignedDuration::from_mins(20));
    scene.reach(api::Connection::NotConnected).await;
    let changes = scene.changes().await;
    assert_eq!(changes.len(), written + 1);
    let last = changes.last().unwrap();
    let change = last.changes.iter().find(|change| {
        let after = change.after.as_ref().unwrap();
        after.kind() == v1::HealthKind::Status
    });
    let change = change.unwrap();
    assert_eq!(change.before.as_ref().unwrap().value, "CONNECTED");
    let after = change.after.as_ref().unwrap();
    assert_eq!(after.value, "BANNED");
    assert_eq!(after.source(), v1::HealthSource::Poll);
    assert!(
        last.health.as_ref().unwrap().facts.len() > 3,
        "it carries all"
    );
}

#[tokio::test]
async fn a_late_report_changes_nothing_and_a_newer_one_does() {
    let scene = Scene::new().await;
    scene.report("account", 100, banned("DISABLE")).await;
    scene.reach(api::Connection::NotConnected).await;
    scene.report("account", 50, banned("REINSTATE")).await;
    let security = |event: &str| {
        Facts::Security(v1::SecurityFacts {
            event: event.to_owned(),
            ..v1::SecurityFacts::default()
        })
    };
    // Reports are taken one after the other, more or less: once this one is in, so is the other.
    for (second, event) in [(60, "PIN_RESET_REQUEST"), (70, "PIN_CHANGED")] {
        scene.report("account", second, security(event)).await;
        eventually("the report is in", async || {
            let standing = scene.standing().await;
            word(&standing, v1::HealthKind::Security) == event
        })
        .await;
    }
    let standing = scene.standing().await;
    assert_eq!(word(&standing, v1::HealthKind::Status), "BANNED");
    assert_eq!(word(&standing, v1::HealthKind::AccountState), "DISABLE");

    scene.report("account", 200, banned("REINSTATE")).await;
    scene.reach(api::Connection::Unknown).await;
}

#[tokio::test]
async fn limits_and_throughput_are_learned_unless_the_record_says_otherwise() {
    let scene = Scene::new().await;
    let upgrade = Facts::NumberQuality(v1::NumberQualityFacts {
        event: "THROUGHPUT_UPGRADE".to_owned(),
        limit: "TIER_10K".to_owned(),
        ..v1::NumberQualityFacts::default()
    });
    scene.report("number", 100, upgrade).await;
    eventually("the upgrade is known", async || {
        let standing = scene.standing().await;
        standing.throughput == 1_000 && standing.messaging_limit == 10_000
    })
    .await;
    let update = api::UpdateNumberRequest {
        number: Some(v1::Number {
            number: NUMBER.to_owned(),
            throughput: 200,
            ..v1::Number::default()
        }),
        update_mask: None,
    };
    scene.client.clone().update_number(update).await.unwrap();
    assert_eq!(scene.standing().await.throughput, 200);
}

#[tokio::test]
async fn an_update_changes_what_its_mask_names_and_a_stale_etag_is_refused() {
    let scene = Scene::new().await;
    let before = scene.record().await;
    let update = |etag: &str, name: &str, paths: &[&str]| api::UpdateNumberRequest {
        number: Some(v1::Number {
            number: NUMBER.to_owned(),
            display_name: name.to_owned(),
            etag: etag.to_owned(),
            ..v1::Number::default()
        }),
        update_mask: Some(prost_types::FieldMask {
            paths: paths.iter().map(|path| (*path).to_owned()).collect(),
        }),
    };
    let mut client = scene.client.clone();
    let first = client
        .update_number(update(&before.etag, "New", &["display_name"]))
        .await
        .unwrap()
        .into_inner()
        .number
        .unwrap();
    assert_eq!(first.display_name, "New");
    assert_eq!(first.waba_id, before.waba_id, "the rest stays");
    assert!(first.token.is_some());
    assert_ne!(first.etag, before.etag);

    let stale = client
        .update_number(update(&before.etag, "Late", &["display_name"]))
        .await
        .unwrap_err();
    assert_eq!(stale.code(), Code::Aborted);
    assert_eq!(reason(&stale).as_deref(), Some("ETAG_MISMATCH"));
    let told = client.update_number(update("", "", &["paused"])).await;
    assert_eq!(told.unwrap_err().code(), Code::InvalidArgument);
    let request = api::PutNumberRequest {
        number: Some(v1::Number {
            etag: before.etag,
            ..first
        }),
    };
    let put = client.put_number(request).await.unwrap_err();
    assert_eq!(put.code(), Code::Aborted);
}

#[tokio::test]
async fn a_wish_for_the_app_is_kept_and_changes_nothing() {
    let scene = Scene::new().await;
    let before = scene.record().await;
    let request = api::RequestDowngradeRequest {
        number: NUMBER.to_owned(),
        reason: "the owner likes the app".to_owned(),
    };
    let answer = scene.client.clone().request_downgrade(request).await;
    let answer = answer.unwrap().into_inner();
    let ways: Vec<_> = answer.ways.iter().map(|way| way.way.as_str()).collect();
    assert_eq!(ways, ["DEREGISTRATION", "SUPPORT", "COEXISTENCE"]);
    assert_eq!(scene.record().await, before, "the number stays as it is");
    let standing = scene.standing().await;
    assert_eq!(standing.connection(), api::Connection::Connected);
    assert_eq!(standing.downgrade.unwrap().caller, "operator");
    let wrote = scene.platform.handle().calls().into_iter();
    let mut wrote = wrote.filter(|call| call.path.contains("register"));
    assert!(
        wrote.next().is_none(),
        "nobody was asked to change anything"
    );
}

#[tokio::test]
async fn deregistration_is_planned_confirmed_done_once_and_can_be_undone() {
    let scene = Scene::new().await;
    let plan = scene.plan().await;
    assert!(plan.possible, "{plan:?}");
    let kinds: Vec<_> = plan
        .consequences
        .iter()
        .map(|one| one.kind.as_str())
        .collect();
    for kind in ["HELD_MESSAGES", "OPEN_WINDOWS", "BUDGET"] {
        assert!(kinds.contains(&kind), "{kinds:?}");
    }
    let request = |confirm: &str, plan_token: &str| api::DeregisterNumberRequest {
        number: NUMBER.to_owned(),
        confirm_number: confirm.to_owned(),
        plan_token: plan_token.to_owned(),
        reason: "the shop closes".to_owned(),
    };
    let mut client = scene.client.clone();
    let wrong = client
        .deregister_number(request("+15550002222", &plan.plan_token))
        .await;
    assert_eq!(wrong.unwrap_err().code(), Code::InvalidArgument);
    let unplanned = client.deregister_number(request(DIGITS, "")).await;
    let unplanned = unplanned.unwrap_err();
    assert_eq!(reason(&unplanned).as_deref(), Some("PLAN_OUTDATED"));

    let begun = client
        .deregister_number(request(DIGITS, &plan.plan_token))
        .await
        .unwrap()
        .into_inner();
    let record = begun.deregistration.unwrap();
    assert_eq!(record.state(), v1::DeregistrationState::Started);
    scene.reach(api::Connection::Deregistered).await;
    eventually("it came to its end", async || {
        let record = scene.standing().await.deregistration.unwrap();
        record.state() == v1::DeregistrationState::Done
    })
    .await;
    let calls = scene.platform.handle().calls().into_iter();
    let made = calls
        .filter(|call| call.path.ends_with("/deregister"))
        .count();
    assert_eq!(made, 1);
    let again = scene.plan().await;
    assert!(!again.possible, "it is done already");
    assert_eq!(again.plan_token, "");

    let register = api::RegisterNumberRequest {
        number: NUMBER.to_owned(),
        pin: "123456".to_owned(),
    };
    client.register_number(register).await.unwrap();
    scene.clock.advance(SignedDuration::from_secs(1));
    scene.reach(api::Connection::Connected).await;
}

#[tokio::test]
async fn what_a_number_does_not_do_is_refused_as_a_value() {
    let scene = Scene::new().await;
    let request = api::RequestInteractionRequest {
        number: NUMBER.to_owned(),
        interaction: Some(api::request_interaction_request::Interaction::GroupId(
            "group".to_owned(),
        )),
    };
    let answer = scene.client.clone().request_interaction(request).await;
    let answer = answer.unwrap().into_inner();
    assert!(!answer.accepted);
    assert!(!answer.reason.is_empty());
    assert_eq!(answer.capability.unwrap().name, "GROUP_MESSAGES");
}

const FILE: &str = r#"
[[number]]
number = "+15550001111"
portfolio_id = "900"
waba_id = "800"
phone_number_id = "700"
token_env = "SHOP_META_TOKEN"
"#;

#[tokio::test]
async fn an_old_accounts_file_moves_no_number_back_and_resets_nothing() {
    let house = House::new().await;
    let role = house.role(house.file(FILE)).await.unwrap();
    let mut client = client_as(&role, Caller::internal("operator", "*")).await;
    let moved = api::UpdateNumberRequest {
        number: Some(v1::Number {
            number: NUMBER.to_owned(),
            waba_id: "801".to_owned(),
            phone_number_id: "701".to_owned(),
            throughput: 500,
            onboard_time: Some(timestamp(at(0))),
            ..v1::Number::default()
        }),
        update_mask: None,
    };
    let moved = client.update_number(moved).await.unwrap().into_inner();
    let moved = moved.number.unwrap();

    house.role(house.file(FILE)).await.unwrap();
    let request = api::GetNumberRequest {
        number: NUMBER.to_owned(),
    };
    let now = client.get_number(request).await.unwrap().into_inner();
    assert_eq!(now.number.unwrap(), moved);
}
