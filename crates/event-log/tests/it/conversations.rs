//! The present of a conversation, joined from its families, and what is looked up beyond it.

use casement_domain::id::PortfolioId;
use casement_domain::inbound::{
    Addresses, AsOf, Fact, Kind, Marks, QualifyingPolicy, RECENT_MAX, Summary, ThreadOwner,
};
use casement_domain::window::{EntryPoint, Evidence, Facts, Policy, decide, is_unsure};
use casement_event::convert::{inbound, timestamp, window};
use casement_event::subject::{self, Family, stream};
use casement_event::{Event, Record, Uuid, id, v1};
use casement_event_log::conversation::{Key, follow, read, read_as_of, recall};
use casement_event_log::directory::Directory;
use casement_event_log::{Expect, Log};
use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use crate::stage::{Ground, behind, customer, number, on_both};

const HOUR: i64 = 3_600;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_790_000_000 + second).unwrap()
}

fn key(name: &str) -> Key {
    Key {
        number: number(),
        customer: customer(name),
    }
}

fn conversation(name: &str) -> v1::Conversation {
    v1::Conversation {
        number: number().digits().to_owned(),
        customer_id: name.to_owned(),
        brand_id: "default".to_owned(),
        portfolio_id: "p1".to_owned(),
    }
}

fn fact(second: i64, kind: Kind, marks: Marks) -> Fact {
    Fact {
        id: id::fact(Uuid::from_u128(u128::from(second.unsigned_abs()))),
        at: at(second),
        received_at: at(second),
        kind,
        provider_id: format!("wamid.{second}"),
        addresses: Addresses::default(),
        thread_owner: Some(ThreadOwner::Us),
        marks,
    }
}

async fn append(log: &Log, name: &str, family: Family, event: impl Into<Event>) -> u64 {
    let subject = subject::conversation(family, &number(), &customer(name));
    let record = Record::new(subject, Uuid::new_v4(), "casement/test", at(0), event);
    let position = log.append(record, Expect::Anything).await;
    position.unwrap().sequence
}

/// Stores a fact with the summary of all before it, and returns that.
async fn hear(log: &Log, name: &str, known: Summary, fact: &Fact) -> Summary {
    let summary = known.join(fact.summary(&QualifyingPolicy::default()));
    let event = v1::InboundMessageReceived {
        conversation: Some(conversation(name)),
        times: Some(v1::Times {
            event_time: Some(timestamp(fact.at)),
            ..v1::Times::default()
        }),
        summary: Some(inbound::summary(&summary)),
        qualifies: QualifyingPolicy::default().qualifies(fact.kind),
        ..v1::InboundMessageReceived::default()
    };
    append(log, name, Family::Inbound, event).await;
    summary
}

async fn tell(log: &Log, name: &str, facts: &Facts, now: i64) -> u64 {
    let event = decide(None, facts, &Policy::default(), at(now)).unwrap();
    let conversation = window::Conversation {
        number: number(),
        customer: customer(name),
        brand: "default".to_owned(),
        portfolio: "p1".to_owned(),
    };
    let record = window::record(&event, &conversation, &Policy::default(), at(now));
    let position = log.append(record, Expect::Anything).await;
    position.unwrap().sequence
}

fn nothing() -> Marks {
    Marks::default()
}

on_both! {
    async fn what_the_families_say_is_joined(ground: &Ground) {
        let log = ground.log().await;
        let directory = Directory::start(&log, CancellationToken::new()).await;
        let marked = Marks {
            answered_at: Some(at(20)),
            is_referral: true,
            changes_user_id: true,
        };
        let known = hear(
            &log,
            "c1",
            Summary::default(),
            &fact(10, Kind::Content, nothing()),
        )
        .await;
        let told = tell(&log, "c1", &Facts::of(&known), 11).await;
        let evidence = Evidence {
            proven_at: Some(at(12)),
            answered_at: Some(at(25)),
            entry_point: Some(EntryPoint {
                referred_at: Some(at(5)),
                replied_at: at(12),
                told_end: Some(at(90)),
                is_confirmed: Some(AsOf {
                    at: at(13),
                    value: true,
                }),
            }),
            ..Evidence::default()
        };
        let answered = v1::CustomerAnswered {
            conversation: Some(conversation("c1")),
            summary: Some(window::evidence(evidence)),
            ..v1::CustomerAnswered::default()
        };
        append(&log, "c1", Family::Evidence, answered).await;
        let known = hear(&log, "c1", known, &fact(20, Kind::Content, marked)).await;
        hear(&log, "c1", known, &fact(30, Kind::Content, nothing())).await;

        let present = read(&log, &directory, &key("c1")).await.unwrap();
        assert_eq!(present.told, told);
        assert!(!present.is_torn);
        let facts = &present.facts;
        assert_eq!(facts.evidence, evidence);
        assert_eq!(facts.answered_at, Some(at(20)));
        assert_eq!(facts.referred_at, Some(at(20)));
        assert_eq!(facts.user_id_changed_at, Some(at(20)));
        assert_eq!(facts.recent.times(), [10, 20, 30].map(at));
        assert_eq!(facts.told_waiting_since, Some(at(10)), "as it was told");
        assert_eq!(
            facts.waiting_since(),
            Some(at(30)),
            "since the first word after the latest answer of either kind"
        );
        let owner = facts.thread_owner(&Policy::default(), at(31));
        assert_eq!(owner, Some(ThreadOwner::Us));
    }
}

on_both! {
    async fn what_is_not_kept_is_recalled_from_the_log(ground: &Ground) {
        let log = ground.log().await;
        let directory = Directory::start(&log, CancellationToken::new()).await;
        let policy = Policy::default();
        let mut known = Summary::default();
        let mut all = Vec::new();
        for index in 0..20 {
            let second = index * 5 * HOUR;
            all.push(at(second));
            known = hear(&log, "c1", known, &fact(second, Kind::Content, nothing())).await;
            if index == 1 {
                tell(&log, "c1", &Facts::of(&known), second).await;
            }
        }
        // One that no summary tells of, since more newer ones were known by then; and what does not count.
        all.push(at(7 * HOUR));
        known = hear(&log, "c1", known, &fact(7 * HOUR, Kind::Content, nothing())).await;
        hear(&log, "c1", known, &fact(96 * HOUR, Kind::Echo, nothing())).await;

        let mut present = read(&log, &directory, &key("c1")).await.unwrap();
        assert_eq!(present.facts.recent.times().len(), RECENT_MAX);
        assert!(is_unsure(
            present.published.as_ref(),
            &present.facts,
            &policy
        ));
        assert!(recall(&log, &key("c1"), &mut present).await.unwrap());
        let told_with = present.published.as_ref().unwrap().last_inbound.at;
        all.sort_unstable();
        let since_told: Vec<_> = all.into_iter().filter(|at| *at > told_with).collect();
        let recalled = present.facts.recent.times().iter().copied();
        let recalled: Vec<_> = recalled.filter(|at| *at > told_with).collect();
        assert_eq!(recalled, since_told);
        assert!(!is_unsure(
            present.published.as_ref(),
            &present.facts,
            &policy
        ));
    }
}

on_both! {
    async fn who_carries_on_has_the_answers_and_the_wait_of_who_ended(ground: &Ground) {
        let log = ground.log().await;
        let directory = Directory::start(&log, CancellationToken::new()).await;
        let portfolio = PortfolioId::parse("p1").unwrap();
        let answered = Marks {
            answered_at: Some(at(15)),
            ..nothing()
        };
        let known = hear(
            &log,
            "younger",
            Summary::default(),
            &fact(10, Kind::Content, nothing()),
        )
        .await;
        let known = hear(&log, "younger", known, &fact(15, Kind::Echo, answered)).await;
        let known = hear(&log, "younger", known, &fact(20, Kind::Content, nothing())).await;
        let moved = v1::MovedTo {
            conversation: Some(conversation("younger")),
            times: Some(v1::Times {
                event_time: Some(timestamp(at(40))),
                ..v1::Times::default()
            }),
            summary: Some(inbound::summary(&known)),
            survivor_customer_id: "older".to_owned(),
        };
        append(&log, "younger", Family::Inbound, moved).await;
        hear(
            &log,
            "older",
            Summary::default(),
            &fact(30, Kind::Content, nothing()),
        )
        .await;

        let (present, ids) = follow(&log, &directory, &portfolio, &key("younger"))
            .await
            .unwrap();
        assert_eq!(ids, [customer("younger"), customer("older")]);
        assert_eq!(present.facts.answered_at, Some(at(15)));
        assert_eq!(present.facts.waiting_since(), Some(at(20)));
        assert_eq!(present.facts.merged_at, None);
        assert_eq!(present.facts.recent.times(), [10, 20, 30].map(at));
    }
}

#[tokio::test]
async fn a_present_does_not_lack_what_came_before_its_newest_event() {
    let (log, fates) = behind();
    let directory = Directory::start(&log, CancellationToken::new()).await;
    let key = key("c1");
    let first = fact(10, Kind::Content, nothing());
    let known = hear(&log, "c1", Summary::default(), &first).await;
    let told = tell(&log, "c1", &Facts::of(&known), 11).await;
    hear(&log, "c1", known, &fact(20, Kind::Content, nothing())).await;
    let seen = log.last(stream::EVENTS, &key.any()).await.unwrap().unwrap();
    // Whoever answers now knows of the first word alone, and not that the window was opened.
    fates.by(2);
    let reading = tokio::spawn(async move {
        let present = read_as_of(&log, &directory, &key, seen).await;
        present.unwrap()
    });
    while fates.answers() < 3 {
        tokio::task::yield_now().await;
    }
    fates.by(0);
    assert_eq!(reading.await.unwrap().told, told);
}
