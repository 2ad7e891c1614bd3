//! Many appends at once: one batch, and each with its own answer.

use std::collections::HashSet;

use casement_domain::turns::Priority;
use casement_event::Extension;
use casement_event::subject::stream;
use casement_event_log::{AppendError, Expect, Log, Position};

use crate::stage::{Ground, count, note, notes_of, on_both, text, write};

const BATCH_LEN: usize = 300;

type Results = Vec<Result<Position, AppendError>>;

/// Claims many subjects at once.
async fn claim_all(log: &Log, subjects: &[String]) -> Results {
    let claims = subjects
        .iter()
        .map(|subject| (note(subject, "claimed"), Expect::empty(subject)));
    log.append_all(claims.collect()).await
}

fn subjects() -> Vec<String> {
    (0..BATCH_LEN)
        .map(|index| notes_of(&format!("c{index}")))
        .collect()
}

/// Each append that succeeded stands where it says, each that did not stands nowhere.
async fn check(log: &Log, subjects: &[String], results: &Results, stale: &HashSet<usize>) {
    for (index, (subject, result)) in subjects.iter().zip(results).enumerate() {
        let all = log.read_subject(stream::EVENTS, subject).await.unwrap();
        assert_eq!(all.len(), 1, "{subject}");
        if stale.contains(&index) {
            assert!(
                matches!(result, Err(AppendError::Conflict { .. })),
                "{subject}: {result:?}"
            );
            assert_eq!(text(&all[0]), "before");
        } else {
            let position = result.as_ref().unwrap();
            assert_eq!(all[0].sequence, position.sequence, "{subject}");
            assert_eq!(text(&all[0]), "claimed");
        }
    }
}

async fn is_batched(log: &Log, subject: &str) -> bool {
    let stored = log.last(stream::EVENTS, subject).await.unwrap().unwrap();
    stored.header("Nats-Batch-Id").is_some()
}

on_both! {
    async fn what_somebody_waits_for_goes_before_a_campaign_that_came_first(ground: &Ground) {
        const CAMPAIGN_LEN: usize = 2_000;
        let log = ground.log().await;
        let bulk = (0..CAMPAIGN_LEN).map(|index| {
            let subject = notes_of(&format!("c{index}"));
            let record = note(&subject, "campaign").with(Extension::Priority, Priority::Bulk.as_str());
            (record, Expect::Anything)
        });
        let answer = notes_of("answer");
        let (campaign, answered) = tokio::join!(log.append_all(bulk.collect()), async {
            log.append(note(&answer, "answer"), Expect::Anything).await
        });
        let answered = answered.unwrap().sequence;
        assert!(
            answered < CAMPAIGN_LEN as u64 / 2,
            "the answer stands at {answered}"
        );
        let mut sequences: Vec<u64> = campaign
            .into_iter()
            .map(|it| it.unwrap().sequence)
            .collect();
        sequences.push(answered);
        sequences.sort_unstable();
        let all = 1..=sequences.len() as u64;
        assert!(sequences.into_iter().eq(all), "each once, none lost");
    }
}

on_both! {
    async fn a_batch_loses_its_stale_member_alone(ground: &Ground) {
        let log = ground.log().await;
        let subjects = subjects();
        write(&log, &subjects[123], "before").await;
        let results = claim_all(&log, &subjects).await;
        check(&log, &subjects, &results, &HashSet::from([123])).await;
        assert!(
            is_batched(&log, &subjects[200]).await,
            "they were one batch"
        );
    }
}

on_both! {
    async fn a_batch_with_many_stale_members_loses_them_alone(ground: &Ground) {
        let log = ground.log().await;
        let subjects = subjects();
        let stale: HashSet<usize> = (0..BATCH_LEN).step_by(5).collect();
        for index in &stale {
            write(&log, &subjects[*index], "before").await;
        }
        let results = claim_all(&log, &subjects).await;
        check(&log, &subjects, &results, &stale).await;
    }
}

on_both! {
    async fn of_two_batches_that_race_each_subject_has_one_winner(ground: &Ground) {
        let one = ground.log().await;
        let other = ground.log().await;
        let subjects = subjects();
        let (first, second) = tokio::join!(claim_all(&one, &subjects), claim_all(&other, &subjects));
        for ((subject, first), second) in subjects.iter().zip(&first).zip(&second) {
            let (won, lost) = if first.is_ok() {
                (first, second)
            } else {
                (second, first)
            };
            assert!(
                matches!(lost, Err(AppendError::Conflict { .. })),
                "{subject}: {lost:?}"
            );
            let stored = one.last(stream::EVENTS, subject).await.unwrap().unwrap();
            assert_eq!(won.as_ref().unwrap().sequence, stored.sequence, "{subject}");
        }
        assert_eq!(count(&one).await, BATCH_LEN as u64);
    }
}

on_both! {
    async fn appends_that_arrive_together_are_committed_together(ground: &Ground) {
        let log = ground.log().await;
        let subjects = subjects();
        let lone = subjects
            .iter()
            .map(|subject| log.append(note(subject, "x"), Expect::empty(subject)));
        let results = futures::future::join_all(lone).await;
        assert!(results.iter().all(Result::is_ok));
        let mut batched = 0;
        for subject in &subjects {
            batched += usize::from(is_batched(&log, subject).await);
        }
        assert!(batched > BATCH_LEN / 2, "{batched} of {BATCH_LEN}");
    }
}

on_both! {
    async fn more_appends_than_a_batch_and_a_queue_hold_all_get_through(ground: &Ground) {
        let log = ground.log().await;
        let records =
            (0..6_000).map(|index| (note(&notes_of(&format!("c{index}")), "x"), Expect::Anything));
        let results = log.append_all(records.collect()).await;
        let sequences: HashSet<u64> = results
            .into_iter()
            .map(|result| result.unwrap().sequence)
            .collect();
        assert_eq!(sequences.len(), 6_000);
        assert_eq!(count(&log).await, 6_000);
    }
}

on_both! {
    async fn a_batch_member_that_expects_any_family_conflicts_for_its_own_reasons_only(ground: &Ground) {
        let log = ground.log().await;
        // The first member expects the newest fact of the customer, and rightly; the second one
        // expects an older one on its own subject.
        let inbound = "casement.events.inbound.03.15550001111.c1";
        let window = "casement.events.window.03.15550001111.c1";
        let any = "casement.events.*.03.15550001111.c1";
        write(&log, inbound, "stands").await;
        let newest = write(&log, window, "stands").await;
        let mut all = vec![(note(window, "moves"), Expect::last(any, newest.sequence))];
        all.extend(
            subjects()
                .iter()
                .map(|subject| (note(subject, "x"), Expect::empty(subject))),
        );
        all.push((note(inbound, "late"), Expect::empty(inbound)));
        let results = log.append_all(all).await;
        let last = results.len() - 1;
        for (index, result) in results.iter().enumerate() {
            assert_eq!(result.is_ok(), index != last, "{index}: {result:?}");
        }
        assert!(matches!(results[last], Err(AppendError::Conflict { .. })));
    }
}
