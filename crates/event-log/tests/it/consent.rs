//! What customers allow: joined, whoever writes it, and never lost.

use casement_domain::consent::{Choice, Consent, Provenance, Topic};
use casement_domain::id::{CustomerId, Phone, PortfolioId};
use casement_domain::inbound::Addresses;
use casement_event::subject::{self, stream};
use casement_event::{Event, Record, Uuid, v1};
use casement_event_log::consent::ledger::{Names, Present};
use casement_event_log::consent::{self, Change, ConsentError, Known, Recorded, ledger};
use casement_event_log::customers::{self, Tokens};
use casement_event_log::{Expect, Log};
use jiff::Timestamp;

use crate::stage::{Ground, customer, on_both};

const SOURCE: &str = "casement/test";

fn portfolio() -> PortfolioId {
    PortfolioId::parse("p1").unwrap()
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn word(topic: Topic, second: i64, is_refused: bool, message: &str) -> Change {
    let choice = Choice {
        at: at(second),
        is_refused,
        provenance: Provenance {
            source: Provenance::SMS_KEYWORD.to_owned(),
            wording: "stop".to_owned(),
            reference: consent::cause(message),
            ..Provenance::default()
        },
    };
    Change {
        consent: Consent::of(topic, choice),
        cause: consent::cause(message),
        ..Change::default()
    }
}

async fn record(log: &Log, who: &CustomerId, change: &Change) -> Known {
    consent::record(log, SOURCE, &portfolio(), who, change, at(99))
        .await
        .unwrap()
}

async fn read(log: &Log, who: &CustomerId) -> Known {
    consent::read(log, &portfolio(), who).await.unwrap()
}

on_both! {
    async fn the_last_record_says_it_whole_and_names_what_it_rests_on(ground: &Ground) {
        let log = ground.log().await;
        let ana = customer("ana");
        assert_eq!(read(&log, &ana).await, Known::default());
        assert_eq!(read(&log, &ana).await.refusals().sequence, None);

        record(&log, &ana, &word(Topic::SMS, 1, true, "SM1")).await;
        let both = record(&log, &ana, &word(Topic::WHATSAPP_MARKETING, 2, true, "w")).await;
        assert_eq!(read(&log, &ana).await, both);
        let refusals = both.refusals();
        assert!(refusals.sms && refusals.marketing);
        assert_eq!(refusals.sequence, Some(both.sequence));

        let subject = subject::consent(&portfolio(), &ana);
        let stored = log
            .last(stream::CUSTOMERS, &subject)
            .await
            .unwrap()
            .unwrap();
        assert_eq!(stored.header("ce-customer"), Some("ana"));
        assert_eq!(stored.header("ce-source"), Some(SOURCE));
        let Ok(Event::ConsentRecorded(event)) = stored.event() else {
            panic!("{}", stored.event_type())
        };
        assert_eq!(event.causes, ["SM1", "w"].map(consent::cause));
        let sms = event
            .consents
            .iter()
            .find(|one| one.channel() == v1::Channel::Sms)
            .unwrap();
        assert_eq!(
            (sms.provenance.as_str(), sms.wording.as_str(), sms.allowed),
            ("SMS_KEYWORD", "stop", false)
        );
        assert_eq!(sms.provider_message_hash, consent::cause("SM1"));
        assert_eq!(read(&log, &customer("bea")).await, Known::default());
    }
}

on_both! {
    async fn a_repeat_appends_nothing_and_never_takes_back_what_came_after(ground: &Ground) {
        let log = ground.log().await;
        let ana = customer("ana");
        let stop = word(Topic::SMS, 1, true, "SM1");
        let first = record(&log, &ana, &stop).await;
        assert_eq!(record(&log, &ana, &stop).await, first);
        let lifted = record(&log, &ana, &word(Topic::SMS, 2, false, "SM2")).await;
        assert!(!lifted.refusals().sms);
        // The gateway repeats the old STOP, and it bears the time at which it came again.
        for second in [1, 3] {
            let again = record(&log, &ana, &word(Topic::SMS, second, true, "SM1")).await;
            assert_eq!(again, lifted, "{second}");
        }
        // What is older than what is known changes nothing, either.
        assert_eq!(
            record(&log, &ana, &word(Topic::SMS, 0, true, "SM0")).await,
            lifted
        );
        assert_eq!(log.state(stream::CUSTOMERS).await.unwrap().messages, 2);
    }
}

on_both! {
    async fn two_who_write_at_once_lose_neither_word(ground: &Ground) {
        let one = ground.log().await;
        let other = ground.log().await;
        for round in 0..10 {
            let ana = customer(&format!("ana{round}"));
            let (stop, marketing) = (
                word(Topic::SMS, 1, true, "SM1"),
                word(Topic::WHATSAPP_MARKETING, 1, true, "w"),
            );
            let (a, b) = tokio::join!(record(&one, &ana, &stop), record(&other, &ana, &marketing));
            assert_ne!(a.sequence, b.sequence);
            let refusals = read(&one, &ana).await.refusals();
            assert!(refusals.sms && refusals.marketing);
        }
    }
}

on_both! {
    async fn who_carries_on_for_a_customer_keeps_their_refusals(ground: &Ground) {
        let log = ground.log().await;
        let (ended, survivor) = (customer("ended"), customer("survivor"));
        let carry_over = async || {
            consent::carry_over(&log, SOURCE, &portfolio(), &ended, &survivor, at(99))
                .await
                .unwrap();
        };
        carry_over().await;
        assert_eq!(log.state(stream::CUSTOMERS).await.unwrap().messages, 0);
        record(&log, &ended, &word(Topic::SMS, 5, true, "SM1")).await;
        record(&log, &survivor, &word(Topic::SMS, 3, false, "SM2")).await;
        for _ in 0..2 {
            carry_over().await;
        }
        assert!(read(&log, &survivor).await.refusals().sms);
        assert_eq!(log.state(stream::CUSTOMERS).await.unwrap().messages, 3);
        // What was said to the one is known to the other: its repeat changes nothing.
        record(&log, &survivor, &word(Topic::SMS, 6, false, "SM3")).await;
        let known = record(&log, &survivor, &word(Topic::SMS, 7, true, "SM1")).await;
        assert!(!known.refusals().sms);
    }
}

on_both! {
    async fn what_cannot_be_read_is_no_permission(ground: &Ground) {
        let log = ground.log().await;
        let ana = customer("ana");
        let odd = v1::ConsentRecorded {
            consents: vec![v1::Consent {
                channel: 99,
                ..v1::Consent::default()
            }],
            ..v1::ConsentRecorded::default()
        };
        let subject = subject::consent(&portfolio(), &ana);
        let record = Record::new(subject, Uuid::new_v4(), SOURCE, at(0), odd);
        log.append(record, Expect::Anything).await.unwrap();
        let error = consent::read(&log, &portfolio(), &ana).await.unwrap_err();
        assert!(matches!(
            error,
            ConsentError::Unreadable { sequence: 1, .. }
        ));
    }
}

on_both! {
    async fn a_change_for_an_id_that_ended_is_in_force_for_who_carries_on(ground: &Ground) {
        let log = ground.log().await;
        let tokens = Tokens::new("a key".to_owned().into());
        let by_phone = Addresses {
            phone: Some(Phone::parse("15550002222").unwrap()),
            ..Addresses::default()
        };
        let by_user_id = Addresses {
            user_id: Some("US.1".to_owned()),
            ..Addresses::default()
        };
        let resolve = async |addresses: &Addresses| {
            customers::resolve(&log, &tokens, SOURCE, &portfolio(), addresses, at(9))
                .await
                .unwrap()
                .customer
        };
        let [survivor, ended] = [resolve(&by_phone).await, resolve(&by_user_id).await];
        let stop = word(Topic::SMS, 1, true, "SM1");
        // Who wrote it knew of no merge, and dies before it looks.
        record(&log, &ended, &stop).await;
        assert_eq!(resolve(&by_phone.or(&by_user_id)).await, survivor);
        assert_eq!(read(&log, &survivor).await, Known::default());

        let known = record(&log, &ended, &stop).await;
        assert!(known.refusals().sms);
        assert_eq!(read(&log, &survivor).await, known);
        let before = log.state(stream::CUSTOMERS).await.unwrap().messages;
        assert_eq!(record(&log, &ended, &stop).await, known);
        let after = log.state(stream::CUSTOMERS).await.unwrap().messages;
        assert_eq!(after, before, "a repeat appends nothing");
    }
}

on_both! {
    async fn every_record_says_what_it_added_and_the_subject_is_the_ledger(ground: &Ground) {
        let log = ground.log().await;
        let ana = customer("ana");
        record(&log, &ana, &word(Topic::SMS, 5, true, "SM1")).await;
        let by_hand = |second, is_refused, item: &str| Change {
            caller: "crm".to_owned(),
            is_kept: true,
            ..word(Topic::SMS, second, is_refused, item)
        };
        // Older than the refusal: kept, and changes nothing that is in force.
        let older = settle(&log, &ana, &by_hand(3, false, "form 1")).await;
        assert!(older.is_written && older.known.refusals().sms);
        let again = settle(&log, &ana, &by_hand(3, false, "form 1")).await;
        assert!(!again.is_written, "the same item, once for all");
        assert_eq!(again.known.sequence, older.known.sequence);
        let newer = settle(&log, &ana, &by_hand(7, false, "form 2")).await;
        assert!(newer.is_written && !newer.known.refusals().sms);

        let history = ledger::history(&log, &portfolio(), &ana, 0, 10)
            .await
            .unwrap();
        let added: Vec<(bool, String, String)> = history
            .iter()
            .map(|entry| {
                let [added] = entry.record.changes.as_slice() else {
                    panic!("{entry:?}")
                };
                let reference = added.provider_message_hash.clone();
                (added.allowed, reference, entry.record.caller.clone())
            })
            .collect();
        let row =
            |allowed, item: &str, caller: &str| (allowed, consent::cause(item), caller.to_owned());
        assert_eq!(
            added,
            [
                row(false, "SM1", ""),
                row(true, "form 1", "crm"),
                row(true, "form 2", "crm")
            ]
        );
        // The refusal that was taken back is still known.
        let last = &history[2].record;
        assert!(last.also.iter().any(|one| !one.allowed), "{last:?}");

        let after = history[0].sequence;
        let rest = ledger::history(&log, &portfolio(), &ana, after, 1).await;
        assert_eq!(rest.unwrap(), history[1..2]);
        let nobody = ledger::history(&log, &portfolio(), &customer("bea"), 0, 10).await;
        assert_eq!(nobody.unwrap(), []);
    }
}

on_both! {
    async fn what_all_customers_allow_is_read_once_each_and_with_their_names(ground: &Ground) {
        let log = ground.log().await;
        let tokens = Tokens::new("a key".to_owned().into());
        let addresses = Addresses {
            phone: Some(Phone::parse("15550002222").unwrap()),
            user_id: Some("US.1".to_owned()),
            ..Addresses::default()
        };
        let resolved = customers::resolve(&log, &tokens, SOURCE, &portfolio(), &addresses, at(9)).await;
        let ana = resolved.unwrap().customer;
        let bea = customer("bea");
        for (who, second, message) in [(&ana, 1, "a"), (&bea, 2, "b"), (&ana, 3, "c")] {
            record(&log, who, &word(Topic::SMS, second, true, message)).await;
        }
        let mut present = Present::of(&log, &portfolio());
        let mut all = Vec::new();
        while let Some(record) = present.next().await.unwrap() {
            all.push(record.customer_id);
        }
        all.sort();
        let mut expected = [ana.to_string(), bea.to_string()];
        expected.sort();
        assert_eq!(all, expected);
        let names = ledger::names(&log, &portfolio(), all).await.unwrap();
        assert_eq!(names[ana.as_str()].phone, "15550002222");
        assert_eq!(names[ana.as_str()].user_id, "US.1");
        assert_eq!(names[bea.as_str()], Names::default());
    }
}

async fn settle(log: &Log, who: &CustomerId, change: &Change) -> Recorded {
    consent::settle(log, SOURCE, &portfolio(), who, change, at(99))
        .await
        .unwrap()
}
