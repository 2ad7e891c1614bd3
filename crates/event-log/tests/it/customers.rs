//! Identifiers and whom they belong to.

use casement_domain::customer::Sighting;
use casement_domain::id::{CustomerId, Phone, PortfolioId};
use casement_domain::inbound::Addresses;
use casement_event::subject::stream;
use casement_event_log::Log;
use casement_event_log::customers::{self, ResolveError, Resolved, Tokens};
use jiff::Timestamp;

use crate::stage::{Ground, on_both};

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

async fn identify(log: &Log, sighting: &Sighting) -> Resolved {
    let (tokens, portfolio, now) = (tokens(), portfolio(), Timestamp::UNIX_EPOCH);
    let source = "casement/test";
    customers::identify(log, &tokens, source, &portfolio, sighting, now)
        .await
        .unwrap()
}

async fn adopt(log: &Log, sighting: &Sighting, ended: &[CustomerId]) {
    let (tokens, portfolio, now) = (tokens(), portfolio(), Timestamp::UNIX_EPOCH);
    let source = "casement/test";
    customers::adopt(log, &tokens, source, &portfolio, sighting, ended, now)
        .await
        .unwrap();
}

fn change(second: i64, previous: &Addresses, current: &Addresses) -> Sighting {
    Sighting {
        at: Timestamp::from_second(second).unwrap(),
        current: current.clone(),
        previous: Some(previous.clone()),
    }
}

async fn stored_count(log: &Log) -> u64 {
    log.state(stream::CUSTOMERS).await.unwrap().messages
}

async fn find(log: &Log, addresses: &Addresses) -> Option<CustomerId> {
    customers::find(log, &tokens(), &portfolio(), addresses)
        .await
        .unwrap()
}

on_both! {
    async fn two_who_meet_a_stranger_at_once_mint_one_customer(ground: &Ground) {
        let one = ground.log().await;
        let other = ground.log().await;
        for race in 0..RACES {
            let phone = format!("1555000{race:04}");
            let user_id = format!("US.{race}");
            let whole = addresses(Some(&phone), Some(&user_id));
            let (first, second) = tokio::join!(resolve(&one, &whole), resolve(&other, &whole));
            assert_eq!(first.customer, second.customer);
            assert!(first.merged.is_empty() && second.merged.is_empty());
            // Neither, if each of them wrote one of the links.
            assert!(!(first.is_new && second.is_new), "not both minted it");
            for part in [
                addresses(Some(&phone), None),
                addresses(None, Some(&user_id)),
            ] {
                assert_eq!(find(&one, &part).await.as_ref(), Some(&first.customer));
            }
        }
    }
}

on_both! {
    async fn a_stranger_is_unknown_until_resolved_and_the_same_ever_after(ground: &Ground) {
        let log = ground.log().await;
        let stranger = addresses(Some("15550002222"), None);
        assert_eq!(find(&log, &stranger).await, None);
        let minted = resolve(&log, &stranger).await.customer;
        assert_eq!(find(&log, &stranger).await.as_ref(), Some(&minted));
        assert_eq!(resolve(&log, &stranger).await.customer, minted);
        assert_eq!(log.state(stream::CUSTOMERS).await.unwrap().messages, 1);
    }
}

on_both! {
    async fn an_identifier_that_comes_later_is_linked_to_the_same_customer(ground: &Ground) {
        let log = ground.log().await;
        let first = resolve(&log, &addresses(Some("15550002222"), None)).await;
        assert!(first.is_new, "nobody knew the phone");
        let by_phone = first.customer;
        let both = resolve(&log, &addresses(Some("15550002222"), Some("US.1"))).await;
        assert_eq!(
            both,
            Resolved {
                customer: by_phone.clone(),
                merged: Vec::new(),
                is_new: false,
            }
        );
        assert_eq!(
            find(&log, &addresses(None, Some("US.1"))).await,
            Some(by_phone)
        );
    }
}

on_both! {
    async fn two_customers_that_prove_to_be_one_become_the_older(ground: &Ground) {
        let log = ground.log().await;
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
                merged: vec![younger],
                is_new: false,
            }
        );
        for part in [phone, user_id, whole] {
            assert_eq!(find(&log, &part).await.as_ref(), Some(&older));
        }
    }
}

on_both! {
    async fn a_customer_keeps_its_age_through_links_and_merges(ground: &Ground) {
        let log = ground.log().await;
        let first = addresses(Some("15550001111"), Some("US.1"));
        let second = addresses(Some("15550002222"), Some("US.2"));
        let oldest = resolve(&log, &first).await.customer;
        let between = resolve(&log, &second).await.customer;
        // The oldest goes on by identifiers that nobody knew; a younger one proves to be the same by
        // these alone.
        let third = addresses(Some("15550003333"), Some("US.3"));
        let changed = identify(&log, &change(5, &first, &third)).await;
        assert_eq!(changed.customer, oldest);
        let fourth = addresses(None, Some("US.3"));
        let met = identify(&log, &change(6, &second, &fourth)).await;
        assert_eq!((met.customer, met.merged), (oldest, vec![between]));
    }
}

on_both! {
    async fn whoever_meets_the_links_of_a_merged_customer_is_told_until_they_are_moved(ground: &Ground) {
        let log = ground.log().await;
        let phone = addresses(Some("15550002222"), None);
        let user_id = addresses(None, Some("US.1"));
        let older = resolve(&log, &phone).await.customer;
        let younger = resolve(&log, &user_id).await.customer;
        let both = Sighting::of(
            addresses(Some("15550002222"), Some("US.1")),
            Timestamp::UNIX_EPOCH,
        );
        let told = Resolved {
            customer: older.clone(),
            merged: vec![younger.clone()],
            is_new: false,
        };
        // Whoever was told first may be gone before it did anything about it.
        for _ in 0..3 {
            assert_eq!(identify(&log, &both).await, told);
        }
        let portfolio = portfolio();
        let survivor = customers::survivor(&log, &portfolio, &younger).await;
        assert_eq!(survivor.unwrap().as_ref(), Some(&older));
        assert_eq!(
            customers::survivor(&log, &portfolio, &older).await.unwrap(),
            None
        );
        adopt(&log, &both, &told.merged).await;
        let stored = stored_count(&log).await;
        assert_eq!(identify(&log, &both).await.merged, []);
        assert_eq!(resolve(&log, &user_id).await.customer, older);
        adopt(&log, &both, &told.merged).await;
        assert_eq!(stored_count(&log).await, stored, "repeats write nothing");
    }
}

on_both! {
    async fn whoever_was_left_halfway_between_two_customers_is_told_of_too(ground: &Ground) {
        let log = ground.log().await;
        let user = |id: &str| addresses(None, Some(id));
        let mut ids = Vec::new();
        for id in ["US.1", "US.2", "US.3", "US.4"] {
            ids.push(resolve(&log, &user(id)).await.customer);
        }
        let [first, second, _, fourth] = &ids[..] else {
            panic!("{ids:?}")
        };
        // Third into second, fourth into third, then second into first: nobody is seen to.
        for (previous, current) in [("US.3", "US.2"), ("US.4", "US.3"), ("US.2", "US.1")] {
            identify(&log, &change(1, &user(previous), &user(current))).await;
        }
        let met = identify(&log, &change(2, &user("US.4"), &user("US.1"))).await;
        assert_eq!(&met.customer, first);
        assert_eq!(met.merged, [fourth.clone(), second.clone()]);

        // One who is proved to be another only now is told of, although no link names it.
        let fifth = resolve(&log, &user("US.5")).await.customer;
        let sixth = resolve(&log, &user("US.6")).await.customer;
        let pair = change(3, &user("US.6"), &user("US.5"));
        let merged = identify(&log, &pair).await.merged;
        assert_eq!(merged, std::slice::from_ref(&sixth));
        let met = identify(&log, &change(4, &user("US.6"), &user("US.1"))).await;
        assert_eq!((&met.customer, met.merged), (first, vec![sixth, fifth]));
    }
}

on_both! {
    async fn who_had_the_phone_before_and_proved_to_be_a_third_is_not_this_ones_to_end(ground: &Ground) {
        let log = ground.log().await;
        let seen = |second: i64, phone: Option<&str>, user_id: &str| {
            let at = Timestamp::from_second(second).unwrap();
            Sighting::of(addresses(phone, Some(user_id)), at)
        };
        let phone = Some("15550002222");
        let third = identify(&log, &seen(1, None, "US.1")).await.customer;
        let former = identify(&log, &seen(30, phone, "US.2")).await.customer;
        let holder = identify(&log, &seen(60, phone, "US.3")).await.customer;
        // The one who had the phone proves to be the third, and is left halfway.
        let proof = change(40, &addresses(None, Some("US.1")), &addresses(None, Some("US.2")));
        let proved = identify(&log, &proof).await;
        assert_eq!((&proved.customer, &proved.merged), (&third, &vec![former]));
        // The one who has it now shows it at an earlier time than was known.
        let met = identify(&log, &seen(50, phone, "US.3")).await;
        assert_eq!((met.customer, met.merged), (holder, Vec::new()));
    }
}

on_both! {
    async fn many_who_merge_the_same_customers_at_once_agree_and_make_no_circle(ground: &Ground) {
        let log = ground.log().await;
        let others = [
            ground.log().await,
            ground.log().await,
        ];
        for race in 0..RACES {
            let user_ids: Vec<String> = (0..4).map(|one| format!("US.{race}.{one}")).collect();
            let mut oldest = None;
            for user_id in &user_ids {
                let minted = resolve(&log, &addresses(None, Some(user_id))).await;
                oldest.get_or_insert(minted.customer);
            }
            let named = |index: usize| addresses(None, Some(&user_ids[index]));
            let one = change(1, &named(1), &named(0));
            let two = change(2, &named(2), &named(1));
            let three = change(3, &named(3), &named(2));
            tokio::join!(
                identify(&log, &three),
                identify(&others[0], &one),
                identify(&others[1], &two),
            );
            for index in 0..4 {
                assert_eq!(find(&log, &named(index)).await, oldest);
            }
        }
    }
}

on_both! {
    async fn a_number_that_was_given_up_is_nobodys_until_somebody_shows_it(ground: &Ground) {
        let log = ground.log().await;
        let before = addresses(Some("15550001111"), Some("US.1"));
        let now = addresses(Some("15550002222"), Some("US.2"));
        let customer = resolve(&log, &before).await.customer;
        let change = change(5, &before, &now);
        for _ in 0..2 {
            let told = identify(&log, &change).await;
            assert_eq!((told.customer, told.merged), (customer.clone(), vec![]));
        }
        let phone = addresses(Some("15550001111"), None);
        assert_eq!(find(&log, &phone).await, None);
        assert_eq!(find(&log, &now).await.as_ref(), Some(&customer));
        let next = addresses(Some("15550001111"), Some("US.9"));
        let at = Timestamp::from_second(9).unwrap();
        let stranger = identify(&log, &Sighting::of(next, at)).await.customer;
        assert_ne!(stranger, customer);
        assert_eq!(find(&log, &phone).await.as_ref(), Some(&stranger));
        // The former customer's messages, and the change, may come again.
        let stored = stored_count(&log).await;
        let late = Sighting::of(before, Timestamp::UNIX_EPOCH);
        for repeat in [late, change] {
            assert_eq!(identify(&log, &repeat).await.customer, customer);
        }
        assert_eq!(stored_count(&log).await, stored);
    }
}

on_both! {
    async fn a_customer_without_any_identifier_is_refused(ground: &Ground) {
        let log = ground.log().await;
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
}

on_both! {
    async fn no_identifier_stands_in_a_subject_or_header(ground: &Ground) {
        let log = ground.log().await;
        resolve(&log, &addresses(Some("15550002222"), Some("US.12345"))).await;
        for sequence in 1..=2 {
            let stored = log.get(stream::CUSTOMERS, sequence).await.unwrap().unwrap();
            let seen = format!("{} {:?}", stored.subject, stored.headers);
            for secret in ["15550002222", "5550002222", "US.12345"] {
                assert!(!seen.contains(secret), "{seen}");
            }
        }
    }
}
