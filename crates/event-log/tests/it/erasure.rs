//! Tombstones: who was erased stays erased, and who comes again is somebody new.

use casement_domain::customer::Sighting;
use casement_domain::id::{CustomerId, Phone, PortfolioId};
use casement_domain::inbound::Addresses;
use casement_event::v1;
use casement_event_log::customers::{self, ResolveError, Tokens};
use casement_event_log::erasure::{self, Tombstone, entomb, tombstone};
use casement_event_log::{Log, consent};
use casement_testkit::eventually;
use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use crate::stage::{Ground, on_both, stage};

const SOURCE: &str = "casement/test";
const PHONE: &str = "15557654321";
const OTHER_PHONE: &str = "15557650000";

fn tokens() -> Tokens {
    Tokens::new("a key".to_owned().into())
}

fn portfolio() -> PortfolioId {
    PortfolioId::parse("p1").unwrap()
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn addresses(phone: Option<&str>, user_id: Option<&str>) -> Addresses {
    Addresses {
        phone: phone.map(|phone| Phone::parse(phone).unwrap()),
        user_id: user_id.map(str::to_owned),
        ..Addresses::default()
    }
}

async fn identify(log: &Log, of: &Addresses, second: i64) -> Result<CustomerId, ResolveError> {
    let sighting = Sighting::of(of.clone(), at(second));
    let (tokens, portfolio) = (tokens(), portfolio());
    let found = customers::identify(log, &tokens, SOURCE, &portfolio, &sighting, at(second)).await;
    found.map(|resolved| resolved.customer)
}

/// Erases a customer who goes by these identifiers, as of a second.
async fn erase(log: &Log, customer: &CustomerId, of: &Addresses, second: i64) {
    let mut graves = customers::tokens_of(&tokens(), &portfolio(), of);
    graves.push(customer.as_str().to_owned());
    for token in graves {
        let one = Tombstone {
            portfolio: portfolio(),
            token,
            erasure_id: "e1".to_owned(),
            at: at(second),
        };
        entomb(log, SOURCE, &one, at(second)).await.unwrap();
    }
}

on_both! {
    async fn what_happened_before_is_refused_and_who_writes_after_is_somebody_new(ground: &Ground) {
        let log = ground.log().await;
        let both = addresses(Some(PHONE), Some("US.1"));
        let before = identify(&log, &both, 10).await.unwrap();
        erase(&log, &before, &both, 20).await;
        // Nothing has left the log yet.
        for known in [
            &both,
            &addresses(Some(PHONE), None),
            &addresses(None, Some("US.1")),
        ] {
            for second in [5, 10, 20] {
                let refused = identify(&log, known, second).await;
                assert!(matches!(refused, Err(ResolveError::Erased)), "{refused:?}");
            }
            let found = customers::find(&log, &tokens(), &portfolio(), known)
                .await
                .unwrap();
            assert_eq!(found, None);
        }
        let after = identify(&log, &both, 21).await.unwrap();
        assert_ne!(after, before);
        let found = customers::find(&log, &tokens(), &portfolio(), &both)
            .await
            .unwrap();
        assert_eq!(found.as_ref(), Some(&after));
        assert_eq!(
            identify(&log, &both, 22).await.unwrap(),
            after,
            "once, and from then on"
        );
        let refused = identify(&log, &both, 20).await;
        assert!(
            matches!(refused, Err(ResolveError::Erased)),
            "also beside a new link"
        );
    }
}

on_both! {
    async fn a_phone_that_was_passed_on_stays_with_its_new_owner(ground: &Ground) {
        let log = ground.log().await;
        let old = identify(&log, &addresses(Some(PHONE), Some("US.1")), 10)
            .await
            .unwrap();
        let new = identify(&log, &addresses(Some(PHONE), Some("US.2")), 100)
            .await
            .unwrap();
        assert_ne!(old, new);
        // The phone is the new owner's by then, and has no tombstone.
        erase(&log, &old, &addresses(None, Some("US.1")), 200).await;
        let theirs = addresses(Some(PHONE), None);
        assert_eq!(identify(&log, &theirs, 150).await.unwrap(), new);
        assert_eq!(identify(&log, &theirs, 300).await.unwrap(), new);
        // What the old owner did with it before.
        let refused = identify(&log, &theirs, 50).await;
        assert!(matches!(refused, Err(ResolveError::Erased)), "{refused:?}");
    }
}

on_both! {
    async fn nothing_is_written_down_of_what_an_erased_customer_allows(ground: &Ground) {
        let log = ground.log().await;
        let both = addresses(Some(PHONE), Some("US.1"));
        let customer = identify(&log, &both, 10).await.unwrap();
        erase(&log, &customer, &both, 20).await;
        let known = consent::read(&log, &portfolio(), &customer).await.unwrap();
        assert!(known.is_erased);
        let change = consent::Change {
            is_kept: true,
            ..consent::Change::default()
        };
        let settled = consent::settle(&log, SOURCE, &portfolio(), &customer, &change, at(21))
            .await
            .unwrap();
        assert!(!settled.is_written);
        let erased_at = |of: Addresses| {
            let log = log.clone();
            async move {
                customers::erased_at(&log, &tokens(), &portfolio(), &of)
                    .await
                    .unwrap()
            }
        };
        assert_eq!(erased_at(both).await, Some(at(20)));
        assert_eq!(erased_at(addresses(Some(OTHER_PHONE), None)).await, None);
    }
}

on_both! {
    async fn who_heeds_tombstones_and_who_mirrors_links_hears_of_them_at_once(ground: &Ground) {
        let log = ground.log().await;
        let stopping = CancellationToken::new();
        let mirroring = tokio::spawn({
            let (log, stopping) = (log.clone(), stopping.clone());
            async move { log.mirror("CUSTOMERS", stopping).await }
        });
        let heeding = tokio::spawn({
            let (log, stopping) = (log.clone(), stopping.clone());
            async move { log.heed_tombstones(stopping).await }
        });
        let both = addresses(Some(PHONE), Some("US.1"));
        let before = identify(&log, &both, 10).await.unwrap();
        assert_eq!(
            identify(&log, &both, 11).await.unwrap(),
            before,
            "kept by the mirror"
        );
        erase(&log, &before, &both, 20).await;
        eventually("the tombstone is heard", async || {
            matches!(identify(&log, &both, 20).await, Err(ResolveError::Erased))
        })
        .await;
        assert_ne!(identify(&log, &both, 21).await.unwrap(), before);
        stopping.cancel();
        mirroring.await.unwrap();
        heeding.await.unwrap();
    }
}

#[tokio::test]
async fn tombstones_that_were_saved_are_put_back_and_the_later_one_counts() {
    let (_server, first) = stage().await;
    let both = addresses(Some(PHONE), Some("US.1"));
    let customer = identify(&first, &both, 10).await.unwrap();
    erase(&first, &customer, &both, 20).await;
    let saved = erasure::list(&first).await.unwrap();
    assert_eq!(saved.len(), 3);

    let (_other, second) = stage().await;
    assert_eq!(erasure::list(&second).await.unwrap(), []);
    erasure::reapply(&second, SOURCE, &saved, at(30))
        .await
        .unwrap();
    erasure::reapply(&second, SOURCE, &saved, at(31))
        .await
        .unwrap();
    assert_eq!(erasure::list(&second).await.unwrap(), saved, "once each");
    let refused = identify(&second, &both, 20).await;
    assert!(matches!(refused, Err(ResolveError::Erased)), "{refused:?}");

    let token = saved[0].token.clone();
    for (second_at, expected) in [(15, 20), (25, 25), (24, 25)] {
        let one = Tombstone {
            at: at(second_at),
            ..saved[0].clone()
        };
        entomb(&second, SOURCE, &one, at(32)).await.unwrap();
        let found = tombstone(&second, &portfolio(), &token)
            .await
            .unwrap()
            .unwrap();
        assert_eq!(found.at, at(expected));
    }
}

on_both! {
    async fn an_erasure_is_carried_out_again_from_its_beginning(ground: &Ground) {
        let log = ground.log().await;
        let mut done = v1::Erasure {
            erasure_id: "e1".to_owned(),
            portfolio_id: "p1".to_owned(),
            ..v1::Erasure::default()
        };
        done.set_state(v1::ErasureState::Done);
        for _ in 0..2 {
            erasure::carry_out_again(&log, SOURCE, &done, at(30))
                .await
                .unwrap();
            let all = erasure::erasures(&log).await.unwrap();
            assert_eq!(all.len(), 1);
            assert_eq!(all[0].state(), v1::ErasureState::Entombing);
        }
    }
}
