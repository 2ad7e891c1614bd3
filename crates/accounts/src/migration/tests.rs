//! Migrations against a real broker and the simulated platform, killed wherever they may be.
//!
//! A process that dies is played by a saga that is dropped: the next one knows nothing but what is
//! on the log.

use std::sync::Arc;
use std::time::Duration;

use casement_domain::migration::{Happened, Step};
use casement_event::v1;
use casement_event_log::Log;
use casement_secrets::Secrets;
use casement_shell::ManualClock;
use casement_shell::clock::Clock as _;
use casement_simulator::{
    AccountSpec, Handle, NumberConfig, NumberSpec, Running, Simulator, TemplateCategory,
    TemplateConfig, TemplateStatus, Upset, UpsetKind,
};
use casement_testkit::NatsServer;
use jiff::{SignedDuration, Timestamp};
use tempfile::TempDir;

use super::decide::{self, Told};
use super::number::{self, Turn};
use super::saga::Saga;
use super::steps::{self, There};
use super::{Refused, stored};
use crate::book::{Book, BookError};
use crate::config::Graph;
use crate::decide::{Authority, Refusal};
use crate::platform::Platform;
use crate::runner::Next;

const DIGITS: &str = "15550001111";
const NUMBER: &str = "+15550001111";
const HERE: &str = "700";
const FROM: &str = "800";
const TO: &str = "900";
const PORTFOLIO: &str = "900100200300";
const TOKEN: &str = "the-sources-token";
const PARTNER: &str = "the-destinations-token";

struct Stage {
    nats: NatsServer,
    simulated: Running,
    clock: Arc<ManualClock>,
    folder: TempDir,
}

impl Stage {
    async fn set() -> Self {
        let clock = Arc::new(ManualClock::new(
            Timestamp::from_second(1_790_000_000).unwrap(),
        ));
        let now = Arc::clone(&clock);
        let mut config = casement_simulator::Config::new(Arc::new(move || now.now()));
        config.portfolio_id = PORTFOLIO.to_owned();
        config.numbers = vec![NumberConfig {
            phone_number_id: HERE.to_owned(),
            display_phone_number: NUMBER.to_owned(),
            waba_id: FROM.to_owned(),
            token: TOKEN.into(),
        }];
        let template = |name: &str, status| TemplateConfig {
            waba_id: FROM.to_owned(),
            name: name.to_owned(),
            language: "en_US".to_owned(),
            category: TemplateCategory::Utility,
            body: "Hello".to_owned(),
            parameter_count: 0,
            status,
        };
        config.templates = vec![
            template("order", TemplateStatus::Approved),
            template("new", TemplateStatus::Pending),
        ];
        let simulated = Simulator::start(config).await.unwrap();
        let account = AccountSpec {
            waba_id: Some(TO.to_owned()),
            ..AccountSpec::default()
        };
        simulated.handle().put_account(account).unwrap();
        simulated.handle().share_account(PARTNER, TO).unwrap();
        let folder = TempDir::new().unwrap();
        for (name, text) in [("source", TOKEN), ("there", PARTNER), ("pin", "123456")] {
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        let stage = Self {
            nats: NatsServer::start().await,
            simulated,
            clock,
            folder,
        };
        Box::pin(stage.record()).await;
        stage
    }

    fn platform(&self) -> Handle {
        self.simulated.handle()
    }

    fn secret(&self, name: &str) -> v1::SecretRef {
        let path = self.folder.path().join(name).display().to_string();
        v1::SecretRef {
            source: Some(v1::secret_ref::Source::File(path)),
        }
    }

    /// A process that was just started.
    async fn saga(&self) -> Saga {
        let config = casement_event_log::Config {
            servers: self.nats.url(),
            accept_unsafe_broker: true,
            ..casement_event_log::Config::default()
        };
        let log = Log::connect(&config).await.unwrap();
        let graph = Graph {
            url: self.simulated.base_url(),
            ..Graph::default()
        };
        let clock: casement_shell::SharedClock = self.clock.clone();
        let platform = Platform::new(&graph, Secrets::default()).unwrap();
        let book = Arc::new(Book::new(log, clock.clone()));
        let saga = Saga::new(book, Arc::new(platform), Secrets::default(), clock);
        saga.heard_within(Duration::ZERO)
    }

    /// What is on record before anything moves.
    async fn record(&self) {
        let saga = self.saga().await;
        let cause = saga.book.cause("test");
        let brand = v1::Brand {
            brand_id: "shop".to_owned(),
            ..v1::Brand::default()
        };
        let number = v1::Number {
            number: DIGITS.to_owned(),
            brand_id: "shop".to_owned(),
            portfolio_id: PORTFOLIO.to_owned(),
            waba_id: FROM.to_owned(),
            phone_number_id: HERE.to_owned(),
            token: Some(self.secret("source")),
            ..v1::Number::default()
        };
        let template = |name: &str, status: v1::TemplateStatus| v1::Template {
            waba_id: FROM.to_owned(),
            name: name.to_owned(),
            language: "en_US".to_owned(),
            status: status.into(),
            ..v1::Template::default()
        };
        let all: [casement_event::Event; 4] = [
            v1::BrandRecorded {
                brand: Some(brand),
                ..v1::BrandRecorded::default()
            }
            .into(),
            v1::NumberRecorded {
                number: Some(number),
                ..v1::NumberRecorded::default()
            }
            .into(),
            v1::TemplateRecorded {
                template: Some(template("order", v1::TemplateStatus::Approved)),
                ..v1::TemplateRecorded::default()
            }
            .into(),
            v1::TemplateRecorded {
                template: Some(template("new", v1::TemplateStatus::Pending)),
                ..v1::TemplateRecorded::default()
            }
            .into(),
        ];
        let mut desk = saga.book.desk().await.unwrap();
        for event in all {
            desk.settle(&cause, |_| Ok(Some(event.clone())))
                .await
                .unwrap();
        }
    }

    fn wanted(&self) -> v1::Migration {
        v1::Migration {
            migration_id: "mig-1".to_owned(),
            number: DIGITS.to_owned(),
            destination: Some(v1::MigrationPlace {
                waba_id: TO.to_owned(),
                token: Some(self.secret("there")),
                ..v1::MigrationPlace::default()
            }),
            pin: Some(self.secret("pin")),
            ..v1::Migration::default()
        }
    }

    async fn start(&self) -> Result<bool, BookError> {
        let (saga, wanted) = (self.saga().await, self.wanted());
        let cause = saga.book.cause("test");
        let mut desk = saga.book.desk().await?;
        desk.settle(&cause, |ledger| {
            decide::start(ledger, &wanted, &Authority::Every, &cause)
        })
        .await
    }

    async fn migration(&self) -> v1::Migration {
        let saga = self.saga().await;
        saga.read("mig-1").await.unwrap().expect("it was started")
    }

    async fn number(&self) -> v1::Number {
        let saga = self.saga().await;
        let desk = saga.book.desk().await.unwrap();
        desk.ledger()
            .number(DIGITS)
            .expect("it is on record")
            .clone()
    }

    /// Goes as far as it goes by itself.
    async fn run(&self) -> v1::Migration {
        self.saga().await.run("mig-1").await.unwrap();
        self.migration().await
    }

    async fn begun(&self) -> v1::Migration {
        let saga = self.saga().await;
        let migration = self.migration().await;
        let told = Told::default();
        let happened = Happened::Begun;
        assert!(saga.record(&migration, happened, &told).await.unwrap());
        self.migration().await
    }

    /// Gives the code that the platform sent, as the service does.
    async fn give_code(&self) -> v1::Migration {
        let migration = self.migration().await;
        let id = migration.destination.clone().unwrap().phone_number_id;
        let code = self
            .platform()
            .verification_code(&id)
            .expect("a code is out");
        let saga = self.saga().await;
        let told = Told::default();
        let given = saga.record(&migration, Happened::CodeGiven, &told).await;
        assert!(given.unwrap());
        let migration = self.migration().await;
        let there = There::of(&saga.means, &migration).unwrap_or_else(|_| panic!("a token"));
        let outcome = there.verify_code(&steps::code(&code).unwrap()).await;
        saga.settle(&migration, outcome).await.unwrap();
        self.migration().await
    }

    fn later(&self, seconds: i64) {
        self.clock.advance(SignedDuration::from_secs(seconds));
    }
}

fn step(of: &v1::Migration) -> v1::MigrationStep {
    of.step()
}

#[tokio::test]
async fn a_number_moves_with_its_past_and_the_report_says_what_came_along() {
    let stage = Box::pin(Stage::set()).await;
    assert!(stage.start().await.unwrap());
    let waits = stage.run().await;
    assert_eq!(step(&waits), v1::MigrationStep::VerifyCode);
    assert_eq!(waits.standing(), v1::MigrationStanding::AwaitsCode);
    assert!(
        stage.platform().is_subscribed(TO),
        "it sees to the webhooks"
    );
    let bound = stage.number().await;
    let moving = bound.moving.expect("its next id is its own already");
    assert_eq!(bound.phone_number_id, HERE, "it is where it was");
    assert!(!moving.phone_number_id.is_empty());

    let verified = stage.give_code().await;
    assert_eq!(step(&verified), v1::MigrationStep::Register);
    let over = stage.run().await;
    assert_eq!(over.state(), v1::MigrationState::Completed, "{over:?}");
    let number = stage.number().await;
    assert_eq!(number.waba_id, TO);
    assert_eq!(number.phone_number_id, moving.phone_number_id);
    assert_eq!(number.previous_phone_number_ids, [HERE]);
    assert_eq!(number.token, Some(stage.secret("there")));
    assert!(number.moving.is_none() && number.migrate_time.is_some());

    let report = over.report.unwrap();
    let names = |items: &[v1::MigrationItem]| -> Vec<String> {
        items.iter().map(|item| item.name.clone()).collect()
    };
    assert!(names(&report.carried).contains(&"order/en_US".to_owned()));
    assert!(names(&report.carried).contains(&"display name".to_owned()));
    let left = names(&report.not_carried);
    assert!(left.contains(&"new/en_US".to_owned()), "{left:?}");
    assert!(left.contains(&"chat history".to_owned()), "{left:?}");
    let done: Vec<_> = over.steps.iter().map(v1::MigrationStepDone::step).collect();
    assert_eq!(done.len(), Step::ALL.len());
    // A record of the template stands where messages look for it now.
    let saga = stage.saga().await;
    let desk = saga.book.desk().await.unwrap();
    let there = v1::Template {
        waba_id: TO.to_owned(),
        name: "order".to_owned(),
        language: "en_US".to_owned(),
        ..v1::Template::default()
    };
    let known = desk.ledger().template(&there).expect("it came along");
    assert_eq!(known.record.status(), v1::TemplateStatus::Approved);
}

#[tokio::test]
async fn killed_anywhere_it_goes_on_where_it_was_and_nothing_is_done_twice() {
    let stage = Box::pin(Stage::set()).await;
    stage.start().await.unwrap();
    loop {
        let migration = stage.migration().await;
        if migration.state() != v1::MigrationState::Open {
            break;
        }
        let at = (migration.step(), migration.standing());
        if at
            == (
                v1::MigrationStep::VerifyCode,
                v1::MigrationStanding::AwaitsCode,
            )
        {
            // Killed after the platform took the code, before that was recorded.
            let saga = stage.saga().await;
            let (happened, told) = (Happened::CodeGiven, Told::default());
            saga.record(&migration, happened, &told).await.unwrap();
            let there = There::of(&saga.means, &migration).unwrap_or_else(|_| panic!("a token"));
            let code = stage.platform().verification_code(&there.phone_number_id);
            let code = steps::code(&code.unwrap()).unwrap();
            let taken = there.verify_code(&code).await;
            assert_eq!(taken.happened, Happened::Done);
        } else {
            // Killed after the step was begun, before the call.
            let course = stored::course(&migration);
            let begun = stage.begun().await;
            stage.later(30);
            // And once more after the call, before its outcome was recorded.
            let saga = stage.saga().await;
            let outcome = saga.take(&begun, course.step).await.unwrap();
            assert_eq!(outcome.happened, Happened::Done, "{:?}", course.step);
        }
        stage.later(30);
        // One step on: the outcome is found, and whoever finds it dies again.
        let saga = stage.saga().await;
        let looked = stage.migration().await;
        let step = stored::course(&looked).step;
        let outcome = saga.look_up(&looked, step).await.unwrap().expect("news");
        saga.settle(&looked, outcome).await.unwrap();
        let after = stage.migration().await;
        assert!(
            after.step() != looked.step() || after.state() != v1::MigrationState::Open,
            "{step:?} was found done: {:?}",
            after.problem
        );
    }
    let over = stage.migration().await;
    assert_eq!(over.state(), v1::MigrationState::Completed);
    let number = stage.number().await;
    assert_eq!(number.waba_id, TO);
    assert_eq!(number.previous_phone_number_ids, [HERE]);
    let calls = stage.platform().calls();
    let count = |end: &str| {
        let of =
            |call: &&casement_simulator::ApiCall| call.method == "POST" && call.path.ends_with(end);
        calls.iter().filter(of).count()
    };
    assert_eq!(count("/phone_numbers"), 1, "added once");
    assert_eq!(count("/request_code"), 1);
    assert_eq!(count("/register"), 1);
}

#[tokio::test]
async fn a_lost_answer_is_looked_for_and_a_lost_call_is_made_again() {
    for kind in [UpsetKind::LoseAnswer, UpsetKind::LoseCall] {
        let stage = Box::pin(Stage::set()).await;
        for call in ["phone_numbers", "verify_code", "register"] {
            let call = call.to_owned();
            stage.platform().upset(Upset {
                call,
                kind,
                times: 1,
            });
        }
        stage.start().await.unwrap();
        for _ in 0..40 {
            let migration = stage.run().await;
            if migration.state() != v1::MigrationState::Open {
                break;
            }
            if migration.standing() == v1::MigrationStanding::AwaitsCode {
                stage.give_code().await;
            }
            stage.later(30);
        }
        let over = stage.migration().await;
        assert_eq!(
            over.state(),
            v1::MigrationState::Completed,
            "{kind:?}: {over:?}"
        );
    }
}

#[tokio::test]
async fn what_is_missing_is_listed_and_the_migration_goes_on_once_it_is_there() {
    let stage = Box::pin(Stage::set()).await;
    let spec = NumberSpec {
        pin: Some("999999".to_owned()),
        ..NumberSpec::default()
    };
    stage.platform().set_number(HERE, spec).unwrap();
    stage.start().await.unwrap();
    let stuck = stage.run().await;
    assert_eq!(stuck.standing(), v1::MigrationStanding::Stuck);
    assert_eq!(stuck.problem.unwrap().reason, "PRECONDITIONS_UNMET");
    let failed: Vec<_> = stuck
        .preconditions
        .iter()
        .filter(|one| one.verdict() == v1::MigrationVerdict::Failed)
        .map(v1::MigrationPrecondition::kind)
        .collect();
    assert_eq!(failed, [v1::MigrationPreconditionKind::TwoStepDisabled]);
    assert_eq!(stuck.preconditions.len(), 12);

    stage.platform().disable_two_step(HERE).unwrap();
    assert!(stage.start().await.unwrap(), "asked to go on");
    let on = stage.run().await;
    assert_eq!(step(&on), v1::MigrationStep::VerifyCode, "{on:?}");
}

#[tokio::test]
async fn a_number_has_one_migration_at_a_time_and_a_given_up_one_leaves_no_trace_on_it() {
    let stage = Box::pin(Stage::set()).await;
    stage.start().await.unwrap();
    assert!(!stage.start().await.unwrap(), "it is under way");
    let elsewhere = v1::Migration {
        migration_id: "mig-2".to_owned(),
        destination: Some(v1::MigrationPlace {
            waba_id: "901".to_owned(),
            token: Some(stage.secret("there")),
            ..v1::MigrationPlace::default()
        }),
        ..stage.wanted()
    };
    let saga = stage.saga().await;
    let cause = saga.book.cause("test");
    let refused = {
        let mut desk = saga.book.desk().await.unwrap();
        desk.settle(&cause, |ledger| {
            decide::start(ledger, &elsewhere, &Authority::Every, &cause)
        })
        .await
    };
    assert!(
        matches!(
            refused,
            Err(BookError::Refused(Refusal::Migration(
                Refused::AnotherOpen(_)
            )))
        ),
        "{refused:?}"
    );
    let bound = stage.run().await;
    assert!(stage.number().await.moving.is_some());
    let told = Told::default();
    assert!(
        saga.record(&bound, Happened::Cancelled, &told)
            .await
            .unwrap()
    );
    saga.turn(&bound, Turn::Release).await.unwrap();
    let number = stage.number().await;
    assert_eq!((number.moving, number.waba_id.as_str()), (None, FROM));
    assert!(stage.start().await.is_ok(), "another can be started");
}

#[tokio::test]
async fn around_the_registration_messages_wait_and_a_wrong_pin_lets_them_go_on() {
    let stage = Box::pin(Stage::set()).await;
    stage.start().await.unwrap();
    stage.run().await;
    stage.give_code().await;
    let upset = Upset {
        call: "register".to_owned(),
        kind: UpsetKind::Refuse(133_005),
        times: 1,
    };
    stage.platform().upset(upset);
    let stuck = stage.run().await;
    assert_eq!(stuck.problem.as_ref().unwrap().reason, "PIN_REFUSED");
    assert_eq!(step(&stuck), v1::MigrationStep::Register);
    let moving = stage.number().await.moving.expect("it is on its way still");
    assert_eq!(moving.pause_until_time, None, "nothing waits");
    // Nobody tries a PIN again by itself.
    stage.later(100_000);
    let still = stage.run().await;
    assert_eq!(step(&still), v1::MigrationStep::Register);
    assert!(still.overdue_time.is_some());
    stage.start().await.unwrap();
    let over = stage.run().await;
    assert_eq!(over.state(), v1::MigrationState::Completed);
    let saga = stage.saga().await;
    let desk = saga.book.desk().await.unwrap();
    let tally = crate::registration::tally(desk.ledger(), DIGITS);
    assert_eq!(tally.registers.len(), 2, "each registration is counted");
}

#[tokio::test]
async fn nothing_is_written_while_somebody_is_waited_for() {
    let stage = Box::pin(Stage::set()).await;
    stage.start().await.unwrap();
    stage.run().await;
    let before = stage.migration().await;
    stage.later(400);
    let next = stage.saga().await.run("mig-1").await.unwrap();
    assert!(matches!(next, Next::Later(_)));
    assert_eq!(stage.migration().await, before);
}

/// Asks the platform about the number, and says what follows.
async fn asked(stage: &Stage) -> v1::Number {
    let saga = stage.saga().await;
    let account = stage.number().await;
    let (platform, now) = (&saga.means.platform, stage.clock.now());
    let leave = platform.leave(&account, true, now).unwrap();
    let answer = platform.number(&leave).await;
    super::suspect(&saga.book, platform, &leave, &account, &answer)
        .await
        .unwrap();
    stage.number().await
}

#[tokio::test]
async fn that_a_number_has_gone_is_believed_from_the_platform_alone() {
    let stage = Box::pin(Stage::set()).await;
    for status in ["CONNECTED", "DISCONNECTED", "BANNED"] {
        stage.platform().set_number_status(HERE, status);
        assert_eq!(asked(&stage).await.migrate_away_time, None, "{status}");
    }
    stage.platform().set_number_status(HERE, "MIGRATED");
    let gone = asked(&stage).await;
    assert!(gone.migrate_away_time.is_some());
    assert!(gone.migrate_away_reason.contains("another account"));

    let stage = Box::pin(Stage::set()).await;
    stage.platform().delete_number(HERE).unwrap();
    let gone = asked(&stage).await;
    assert!(
        gone.migrate_away_time.is_some(),
        "nothing by its id, nor in its account"
    );
}

#[tokio::test]
async fn a_number_that_is_on_its_way_here_has_gone_nowhere() {
    let stage = Box::pin(Stage::set()).await;
    stage.start().await.unwrap();
    stage.run().await;
    stage.platform().set_number_status(HERE, "MIGRATED");
    assert_eq!(asked(&stage).await.migrate_away_time, None);
    // Nor can anybody say so.
    let saga = stage.saga().await;
    let cause = saga.book.cause("test");
    let mut desk = saga.book.desk().await.unwrap();
    let said = desk
        .settle(&cause, |ledger| {
            number::away(
                ledger,
                DIGITS,
                "gone",
                "RECORDED_BY_HAND",
                &Authority::Every,
                &cause,
            )
        })
        .await;
    assert!(
        matches!(
            said,
            Err(BookError::Refused(Refusal::Migration(
                Refused::AnotherOpen(_)
            )))
        ),
        "{said:?}"
    );
}
