//! The directory of numbers, templates and brands.

use casement_domain::halt::{Cause, Channels, Halt, Known, Scope, Target, Traffic};
use casement_event::subject::{account, stream, template_token};
use casement_event::{Event, Record, Uuid, convert, v1};
use casement_event_log::directory::Directory;
use casement_event_log::{Expect, Log};
use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use crate::stage::{Ground, number, on_both, stage};

async fn record(log: &Log, kind: &str, id: &str, event: impl Into<Event>) {
    let time = Timestamp::UNIX_EPOCH;
    let record = Record::new(
        account(kind, id),
        Uuid::new_v4(),
        "casement/test",
        time,
        event,
    );
    log.append(record, Expect::Anything).await.unwrap();
}

fn the_number(display_name: &str, paused: bool) -> v1::Number {
    v1::Number {
        number: "15550001111".to_owned(),
        phone_number_id: "106".to_owned(),
        display_name: display_name.to_owned(),
        paused,
        ..v1::Number::default()
    }
}

async fn name_the_number(log: &Log, display_name: &str) {
    let event = v1::NumberRecorded {
        number: Some(the_number(display_name, false)),
        ..v1::NumberRecorded::default()
    };
    record(log, "number", "15550001111", event).await;
}

#[tokio::test]
async fn the_directory_knows_what_stood_before_it_and_hears_of_changes() {
    let (mut server, log) = stage().await;
    let brand = v1::Brand {
        brand_id: "default".to_owned(),
        display_name: "Default".to_owned(),
        ..Default::default()
    };
    record(
        &log,
        "brand",
        "default",
        v1::BrandRecorded {
            brand: Some(brand.clone()),
            ..Default::default()
        },
    )
    .await;
    let template = v1::Template {
        waba_id: "w".to_owned(),
        name: "welcome".to_owned(),
        language: "en_US".to_owned(),
        ..v1::Template::default()
    };
    let token = template_token("w", "welcome", "en_US");
    let recorded = v1::TemplateRecorded {
        template: Some(template.clone()),
        ..Default::default()
    };
    record(&log, "template", &token, recorded).await;
    name_the_number(&log, "old").await;
    name_the_number(&log, "new").await;

    let stopping = CancellationToken::new();
    let directory = Directory::start(&log, stopping.clone()).await;
    assert_eq!(directory.number(&number()), Some(the_number("new", false)));
    assert_eq!(
        directory.by_phone_number_id("106"),
        Some(the_number("new", false))
    );
    assert_eq!(directory.by_phone_number_id("107"), None);
    assert_eq!(directory.brand("default"), Some(brand));
    assert_eq!(directory.template("w", "welcome", "en_US"), Some(template));
    assert_eq!(directory.template("w", "welcome", "en"), None);
    assert_eq!(directory.numbers().len(), 1);

    let mut changed = directory.changed();
    changed.mark_unchanged();
    let paused = v1::NumberPaused {
        number: Some(the_number("new", true)),
        ..Default::default()
    };
    record(&log, "number", "15550001111", paused).await;
    changed.changed().await.unwrap();
    assert_eq!(directory.number(&number()), Some(the_number("new", true)));

    server.restart().await;
    let resumed = v1::NumberResumed {
        number: Some(the_number("new", false)),
        ..Default::default()
    };
    record(&log, "number", "15550001111", resumed).await;
    changed.changed().await.unwrap();
    assert_eq!(directory.number(&number()), Some(the_number("new", false)));
    stopping.cancel();
}

on_both! {
    async fn a_directory_of_nothing_starts_empty_and_fills(ground: &Ground) {
        let log = ground.log().await;
        let stopping = CancellationToken::new();
        let directory = Directory::start(&log, stopping.clone()).await;
        assert_eq!(directory.numbers(), []);
        let mut changed = directory.changed();
        name_the_number(&log, "first").await;
        changed.changed().await.unwrap();
        assert_eq!(
            directory.number(&number()),
            Some(the_number("first", false))
        );
        stopping.cancel();
    }
}

on_both! {
    async fn a_number_has_moved_when_its_account_says_so(ground: &Ground) {
        let log = ground.log().await;
        let stopping = CancellationToken::new();
        let directory = Directory::start(&log, stopping.clone()).await;
        let mut changed = directory.changed();
        name_the_number(&log, "first").await;
        changed.changed().await.unwrap();
        assert_eq!(directory.migrated_at(&number()), None);
        assert_eq!(directory.migrated(), []);

        let at = Timestamp::from_second(1_800_000_000).unwrap();
        let moved = v1::NumberRecorded {
            number: Some(v1::Number {
                migrate_time: Some(convert::timestamp(at)),
                ..the_number("first", false)
            }),
            ..v1::NumberRecorded::default()
        };
        record(&log, "number", "15550001111", moved).await;
        changed.changed().await.unwrap();
        assert_eq!(directory.migrated_at(&number()), Some(at));
        assert_eq!(directory.migrated(), [(number(), at)]);
        stopping.cancel();
    }
}

on_both! {
    async fn halts_are_known_at_once_to_whoever_reads_them_and_never_go_back(ground: &Ground) {
        let log = ground.log().await;
        let stopping = CancellationToken::new();
        let directory = Directory::start(&log, stopping.clone()).await;
        let target = Target::new(Scope::Number, "15550001111");
        let cause = Cause::ByHand {
            reason: String::new(),
        };
        let halt = Halt {
            target,
            traffic: Traffic::Everything,
            channels: Channels::Every,
            may_go_elsewhere: false,
            cause,
            since: Timestamp::UNIX_EPOCH,
            until: None,
            probe_at: None,
            renewals: 0,
        };
        let stored = convert::halt::stored(&halt, &convert::halt::Details::default());
        let halted = convert::halt::halted(&stored, Timestamp::UNIX_EPOCH);
        let subject = halted.subject.clone();
        let first = log.append(halted, Expect::Anything).await.unwrap();
        let resumed = v1::SendsResumed {
            halt: Some(stored.clone()),
            time: Some(convert::timestamp(Timestamp::UNIX_EPOCH)),
            ..v1::SendsResumed::default()
        };
        let resumed = convert::halt::resumed(resumed, Timestamp::UNIX_EPOCH);
        let second = log.append(resumed, Expect::Anything).await.unwrap();
        let read = log.read_subject(stream::ACCOUNTS, &subject).await.unwrap();
        // Whoever cannot wait for the follower, in the wrong order.
        directory.hear(&read[1]);
        directory.hear(&read[0]);
        assert_eq!(directory.halts_sequence(), second.sequence);
        let known = directory.halts()[&stored.halt_id].clone();
        assert_eq!(known.sequence, second.sequence);
        assert!(matches!(known.known, Known::Lifted { .. }), "{known:?}");

        // One that starts later sees the same.
        let late = Directory::start(&log, stopping.clone()).await;
        assert_eq!(late.halts(), directory.halts());
        assert!(first.sequence < second.sequence);
        stopping.cancel();
    }
}
