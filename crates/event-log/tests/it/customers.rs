//! Identifiers and whom they belong to.

use casement_domain::id::{CustomerId, Phone, PortfolioId};
use casement_domain::inbound::Addresses;
use casement_event::subject::stream;
use casement_event_log::Log;
use casement_event_log::customers::{self, ResolveError, Resolved, Tokens};
use jiff::Timestamp;

use crate::stage::{log, stage};

const RACES: usize = 20;

fn tokens() -> Tokens {
    Tokens::new("a key".to_owned().into())
}

fn portfolio() -> PortfolioId {
    PortfolioId::parse("p1").unwrap()
}

fn addresses(phone: Option<&str>, user_id: Option<&str>) -> Addresses {
    Addresses {
        phone: phone.map(|phone| Phone::parse(phone).unwrap()),
        user_id: user_id.map(str::to_owned),
        ..Addresses::default()
    }
}

async fn resolve(log: &Log, addresses: &Addresses) -> Resolved {
    let now = Timestamp::UNIX_EPOCH;
    customers::resolve(
        log,
        &tokens(),
        "casement/test",
        &portfolio(),
        addresses,
        now,
    )
    .await
    .unwrap()
}

async fn relink(log: &Log, addresses: &Addresses, customer: &CustomerId) -> Vec<CustomerId> {
    let (tokens, portfolio, now) = (tokens(), portfolio(), Timestamp::UNIX_EPOCH);
    let source = "casement/test";
    customers::relink(log, &tokens, source, &portfolio, addresses, customer, now)
        .await
        .unwrap()
}

async fn find(log: &Log, addresses: &Addresses) -> Option<CustomerId> {
    customers::find(log, &tokens(), &portfolio(), addresses)
        .await
        .unwrap()
}

#[tokio::test]
async fn two_who_meet_a_stranger_at_once_mint_one_customer() {
    let (server, one) = stage().await;
    let other = log(&server).await;
    for race in 0..RACES {
        let phone = format!("1555000{race:04}");
        let user_id = format!("US.{race}");
        let whole = addresses(Some(&phone), Some(&user_id));
        let (first, second) = tokio::join!(resolve(&one, &whole), resolve(&other, &whole));
        assert_eq!(first, second);
        assert_eq!(first.merged, []);
        for part in [
            addresses(Some(&phone), None),
            addresses(None, Some(&user_id)),
        ] {
            assert_eq!(find(&one, &part).await.as_ref(), Some(&first.customer));
        }
    }
}

#[tokio::test]
async fn a_stranger_is_unknown_until_resolved_and_the_same_ever_after() {
    let (_server, log) = stage().await;
    let stranger = addresses(Some("15550002222"), None);
    assert_eq!(find(&log, &stranger).await, None);
    let minted = resolve(&log, &stranger).await.customer;
    assert_eq!(find(&log, &stranger).await.as_ref(), Some(&minted));
    assert_eq!(resolve(&log, &stranger).await.customer, minted);
    assert_eq!(log.state(stream::CUSTOMERS).await.unwrap().messages, 1);
}

#[tokio::test]
async fn an_identifier_that_comes_later_is_linked_to_the_same_customer() {
    let (_server, log) = stage().await;
    let by_phone = resolve(&log, &addresses(Some("15550002222"), None))
        .await
        .customer;
    let both = resolve(&log, &addresses(Some("15550002222"), Some("US.1"))).await;
    assert_eq!(
        both,
        Resolved {
            customer: by_phone.clone(),
            merged: Vec::new()
        }
    );
    assert_eq!(
        find(&log, &addresses(None, Some("US.1"))).await,
        Some(by_phone)
    );
}

#[tokio::test]
async fn two_customers_that_prove_to_be_one_become_the_older() {
    let (_server, log) = stage().await;
    let phone = addresses(Some("15550002222"), None);
    let user_id = addresses(None, Some("US.1"));
    let older = resolve(&log, &phone).await.customer;
    let younger = resolve(&log, &user_id).await.customer;
    assert_ne!(older, younger);

    let whole = addresses(Some("15550002222"), Some("US.1"));
    let met = resolve(&log, &whole).await;
    assert_eq!(
        met,
        Resolved {
            customer: older.clone(),
            merged: vec![younger]
        }
    );
    for part in [phone, user_id, whole] {
        assert_eq!(find(&log, &part).await.as_ref(), Some(&older));
    }
}

#[tokio::test]
async fn a_customer_keeps_its_age_through_a_merge() {
    let (_server, log) = stage().await;
    // The oldest takes over the youngest's phone; a customer of an age between them loses to it
    // even by that phone alone.
    let oldest = resolve(&log, &addresses(None, Some("US.1"))).await.customer;
    let between = resolve(&log, &addresses(None, Some("US.2"))).await.customer;
    resolve(&log, &addresses(Some("15550002222"), None)).await;
    resolve(&log, &addresses(Some("15550002222"), Some("US.1"))).await;
    let met = resolve(&log, &addresses(Some("15550002222"), Some("US.2"))).await;
    assert_eq!(
        met,
        Resolved {
            customer: oldest,
            merged: vec![between]
        }
    );
}

#[tokio::test]
async fn an_identifier_is_tied_to_another_customer_by_the_platforms_word() {
    let (_server, log) = stage().await;
    let customer = resolve(&log, &addresses(Some("15550002222"), Some("US.1")))
        .await
        .customer;
    let other = resolve(&log, &addresses(None, Some("US.2"))).await.customer;
    let changed = addresses(None, Some("US.2"));
    assert_eq!(relink(&log, &changed, &customer).await, [other]);
    for part in [&changed, &addresses(None, Some("US.1"))] {
        assert_eq!(find(&log, part).await.as_ref(), Some(&customer));
    }
    // A repeat changes nothing.
    let stored = log.state(stream::CUSTOMERS).await.unwrap().messages;
    assert_eq!(relink(&log, &changed, &customer).await, []);
    assert_eq!(log.state(stream::CUSTOMERS).await.unwrap().messages, stored);
}

#[tokio::test]
async fn a_customer_without_any_identifier_is_refused() {
    let (_server, log) = stage().await;
    let nameless = addresses(None, None);
    let now = Timestamp::UNIX_EPOCH;
    let refused = customers::resolve(
        &log,
        &tokens(),
        "casement/test",
        &portfolio(),
        &nameless,
        now,
    )
    .await;
    assert!(
        matches!(refused, Err(ResolveError::Nameless)),
        "{refused:?}"
    );
}

#[tokio::test]
async fn no_identifier_stands_in_a_subject_or_header() {
    let (_server, log) = stage().await;
    resolve(&log, &addresses(Some("15550002222"), Some("US.12345"))).await;
    for sequence in 1..=2 {
        let stored = log.get(stream::CUSTOMERS, sequence).await.unwrap().unwrap();
        let seen = format!("{} {:?}", stored.subject, stored.headers);
        for secret in ["15550002222", "5550002222", "US.12345"] {
            assert!(!seen.contains(secret), "{seen}");
        }
    }
}
