//! What every store must do, as one suite of tests.
//!
//! A store joins with [`suite!`], given a function that makes an empty one.

pub(super) mod colleagues;
pub(super) mod messages;
pub(super) mod models;
pub(super) mod oddities;
pub(super) mod rows;

use std::any::Any;

use casement_event::{Event, Stored, convert::timestamp};
use futures::future::BoxFuture;
use jiff::{SignedDuration, Timestamp};

pub(super) use super::SharedStore;
use super::{EventFilter, Limit};
use crate::batch::Batch;
use crate::chain::{ChainReport, Head};
use crate::fixture::{self, record, stored};
use crate::model::{Conversation, ConversationKey};
use crate::verify::verify_store as verify;

/// Runs statements.
pub(super) type Tamper = Box<dyn Fn(&str) -> BoxFuture<'static, ()> + Send + Sync>;

/// An empty store, and a way to change it behind its back.
pub(super) struct Fixture {
    pub(super) store: SharedStore,
    pub(super) tamper: Tamper,
    /// What the store stands on; goes away with the test.
    pub(super) _keeps: Box<dyn Any + Send + Sync>,
}

/// Runs the suite against the stores that a function makes.
macro_rules! suite {
    ($make:ident) => {
        $crate::store::contract::suite! { $make:
            rows::a_batch_is_archived_whole_and_the_chain_moves_on
            rows::a_batch_for_another_position_changes_nothing
            rows::of_two_writers_one_wins_and_the_other_begins_again
            rows::a_new_incarnation_begins_a_new_chain
            rows::whatever_was_changed_in_the_tables_is_found
            rows::events_are_listed_in_order_by_what_is_asked_for
            rows::a_page_ends_at_its_rows_or_at_its_bytes
            rows::a_timeline_tells_each_fact_once_newest_first
            rows::a_timeline_goes_by_when_the_log_took_each_fact
            models::a_fact_that_arrives_twice_counts_once
            models::a_late_fact_that_was_archived_before_counts_once
            models::a_late_fact_never_undoes_what_is_newer
            models::an_open_window_is_listed_as_closed_once_its_expiry_has_passed
            models::conversations_are_paged_by_when_their_windows_end
            models::a_message_is_followed_to_its_end_and_stays_ended
            messages::a_message_is_found_by_whatever_is_known_of_it
            messages::a_page_of_messages_goes_on_where_it_ended_whatever_comes_meanwhile
            messages::what_became_of_each_attempt_is_kept
            messages::figures_of_a_brand_are_counted_and_summed
            messages::messages_are_projected_again_from_the_archive
            models::a_report_joins_the_conversation_of_its_message
            models::a_message_leaves_the_log_once_unless_something_new_comes
            colleagues::conversations_are_listed_by_where_they_stand
            colleagues::conversations_are_found_by_how_they_are_handled
            colleagues::pages_in_the_order_of_the_newest_heard_follow_each_other
            colleagues::mentions_are_paged_newest_first
            rows::the_first_row_since_a_time_bounds_the_purge
            oddities::text_of_every_kind_survives_and_is_found
            oddities::ids_of_any_length_are_archived
            oddities::a_report_belongs_to_its_message_also_within_one_batch
            oddities::a_fact_that_stands_twice_in_one_batch_counts_and_is_told_once
        }
    };
    ($make:ident: $($part:ident::$claim:ident)*) => {$(
        #[tokio::test]
        async fn $claim() {
            $crate::store::contract::$part::$claim(&$make().await).await;
        }
    )*};
}
pub(super) use suite;

const ALL: Limit = Limit {
    rows_max: 1_000,
    bytes_max: usize::MAX,
};
const MESSAGE: &str = "15550001111-00000000000000000000000000000001";

fn at(second: i64) -> Timestamp {
    fixture::start() + SignedDuration::from_secs(second)
}

fn proto(second: i64) -> prost_types::Timestamp {
    timestamp(at(second))
}

fn conversation_key() -> ConversationKey {
    ConversationKey {
        number: "15550001111".to_owned(),
        customer_id: "c1".to_owned(),
    }
}

async fn archive(fixture: &Fixture, before: Head, events: Vec<Stored>) -> Head {
    let batch = Batch::seal(before, events, rand::random);
    fixture.store.append(&batch).await.unwrap();
    batch.after
}

async fn archive_messages(fixture: &Fixture, sequences: &[u64]) -> Head {
    let events = sequences
        .iter()
        .map(|sequence| stored("EVENTS", *sequence))
        .collect();
    archive(fixture, Head::start("EVENTS", "1a"), events).await
}

/// Archives events on the stream, one a batch.
async fn archive_each(fixture: &Fixture, stream: &str, events: impl IntoIterator<Item = Event>) {
    let mut head = fixture.store.head(stream, "1a").await.unwrap();
    for event in events {
        let before = head.unwrap_or_else(|| Head::start(stream, "1a"));
        let stored = record(stream, before.last_sequence + 1, &event);
        head = Some(archive(fixture, before, vec![stored]).await);
    }
}

async fn sequences(fixture: &Fixture, filter: &EventFilter) -> Vec<u64> {
    let page = fixture.store.events(filter, None, ALL).await.unwrap();
    page.rows.iter().map(|row| row.stored.sequence).collect()
}

async fn conversation(fixture: &Fixture) -> Conversation {
    fixture
        .store
        .conversation(&conversation_key())
        .await
        .unwrap()
        .unwrap()
}

async fn report(fixture: &Fixture) -> ChainReport {
    let mut reports = verify(fixture.store.as_ref(), None).await.unwrap();
    assert_eq!(reports.len(), 1);
    reports.remove(0)
}
