//! What is stored of windows and of the evidence about them reads back as it was told.

use casement_domain::inbound::ThreadOwner;
use casement_domain::window::{Facts, decide};

use super::*;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn told() -> Published {
    Published {
        opening_fact: casement_domain::id::FactId::from_u128(7),
        opened_at: at(100),
        expires_at: at(200),
        closed: None,
        last_inbound: Qualifying {
            at: at(100),
            fact: casement_domain::id::FactId::from_u128(7),
            received_at: at(101),
            provider_id: "wamid.1".to_owned(),
        },
        announced: vec![jiff::SignedDuration::from_mins(5)],
        previous: None,
        evidence: Evidence::default(),
        circumstances: Circumstances::default(),
    }
}

fn conversation_() -> Conversation {
    Conversation {
        number: BusinessNumber::parse("15550001111").unwrap(),
        customer: CustomerId::parse("c1").unwrap(),
        brand: "default".to_owned(),
        portfolio: "p1".to_owned(),
    }
}

#[test]
fn who_waits_who_owns_the_thread_and_what_is_free_read_back_as_told() {
    let owners = [
        None,
        Some(ThreadOwner::Us),
        Some(ThreadOwner::Other),
        Some(ThreadOwner::Idle),
    ];
    for thread_owner in owners {
        let states = [
            EntryPointState::AwaitingReply,
            EntryPointState::Open,
            EntryPointState::Ended,
            EntryPointState::Denied,
        ];
        let entries = states.into_iter().flat_map(|state| {
            [(None, None, false), (Some(at(90)), Some(at(95)), true)].map(
                move |(referred_at, from, is_confirmed)| {
                    Some(FreeEntryPoint {
                        state,
                        referred_at,
                        from,
                        until: at(900),
                        is_confirmed,
                    })
                },
            )
        });
        for free_entry_point in entries.chain([None]) {
            for waiting_since in [None, Some(at(99))] {
                let window = Published {
                    circumstances: Circumstances {
                        waiting_since,
                        thread_owner,
                        free_entry_point,
                    },
                    ..told()
                };
                let stored = published(&window, &conversation_());
                assert_eq!(read_published(&stored).unwrap(), window);
            }
        }
    }
}

#[test]
fn every_way_to_close_reads_back() {
    for reason in [
        ClosedReason::Expired,
        ClosedReason::Corrected,
        ClosedReason::Merged,
        ClosedReason::NumberMigrated,
        ClosedReason::UserIdChanged,
        ClosedReason::Erased,
    ] {
        let closed = Some(Closed {
            reason,
            at: at(150),
        });
        let window = Published { closed, ..told() };
        let stored = published(&window, &conversation_());
        assert_eq!(read_published(&stored).unwrap(), window);
    }
}

#[test]
fn a_window_told_before_its_circumstances_were_says_nothing_of_them() {
    let old = v1::PublishedWindow {
        waiting_since_time: None,
        thread_owner: 0,
        free_entry_point: None,
        ..published(&told(), &conversation_())
    };
    let read = read_published(&old).unwrap();
    assert_eq!(read.circumstances, Circumstances::default());
}

#[test]
fn the_header_says_since_when_the_customer_waits_and_is_absent_if_nobody_does() {
    for waiting_since in [None, Some(at(99))] {
        let circumstances = Circumstances {
            waiting_since,
            ..Circumstances::default()
        };
        let window = Published {
            circumstances,
            ..told()
        };
        let event = WindowEvent::Expiring {
            window,
            lead: jiff::SignedDuration::from_mins(5),
        };
        let record = record(&event, &conversation_(), &Policy::default(), at(150));
        let mut headers = record.extensions.iter();
        let header = headers.find(|(name, _)| *name == Extension::WaitingSince);
        let header = header.map(|(_, value)| value.clone());
        assert_eq!(header, waiting_since.map(|since| since.to_string()));
    }
}

#[test]
fn all_evidence_reads_back_from_whatever_event_was_the_last() {
    let confirmations =
        [None, Some(true), Some(false)].map(|value| value.map(|value| AsOf { at: at(30), value }));
    for is_confirmed in confirmations {
        for (referred_at, told_end) in [(None, None), (Some(at(5)), Some(at(900)))] {
            let known = Evidence {
                refused_at: Some(at(1)),
                proven_at: Some(at(2)),
                answered_at: Some(at(3)),
                entry_point: Some(EntryPoint {
                    referred_at,
                    replied_at: at(6),
                    told_end,
                    is_confirmed,
                }),
            };
            let summary = Some(evidence(known));
            let events: [Event; 4] = [
                v1::WindowRefused {
                    summary,
                    ..v1::WindowRefused::default()
                }
                .into(),
                v1::WindowProven {
                    summary,
                    ..v1::WindowProven::default()
                }
                .into(),
                v1::CustomerAnswered {
                    summary,
                    ..v1::CustomerAnswered::default()
                }
                .into(),
                v1::FreeEntryPointReported {
                    summary,
                    ..v1::FreeEntryPointReported::default()
                }
                .into(),
            ];
            for event in events {
                assert_eq!(read_evidence(&event).unwrap(), Some(known));
            }
        }
    }
}

#[test]
fn a_window_event_reads_back_and_carries_the_next_deadline() {
    let facts = Facts {
        last_qualifying: Some(Qualifying {
            at: at(100),
            fact: casement_domain::id::FactId::from_u128(7),
            received_at: at(101),
            provider_id: "wamid.1".to_owned(),
        }),
        ..Facts::default()
    };
    let policy = Policy::default();
    let event = decide(None, &facts, &policy, at(102)).unwrap();
    let record = record(&event, &conversation_(), &policy, at(102));
    assert_eq!(record.event.event_type(), "casement.events.v1.WindowOpened");
    assert_eq!(read(&record.event).unwrap().as_ref(), Some(event.window()));
    let deadline = record
        .extensions
        .iter()
        .find(|(name, _)| *name == Extension::Deadline);
    assert_eq!(
        deadline.unwrap().1,
        (at(100) + policy.length - policy.leads[0]).to_string()
    );
}
