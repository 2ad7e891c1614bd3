//! What every store must do, as one suite of tests.
//!
//! A store joins with [`suite!`], given a function that makes an empty one.

pub(super) mod archive;
pub(super) mod colleagues;
pub(super) mod erasing;
pub(super) mod figures;
pub(super) mod lists;
pub(super) mod messages;
pub(super) mod models;
pub(super) mod oddities;
pub(super) mod rebuild;
pub(super) mod rows;
pub(super) mod sealing;
pub(super) mod search;

use std::any::Any;
use std::sync::Arc;

use casement_event::{Event, Stored, convert::timestamp};
use casement_secrets::keys::MasterKeys;
use futures::future::BoxFuture;
use jiff::{SignedDuration, Timestamp};

pub(super) use super::SharedStore;
use super::{EventFilter, Limit};
use crate::batch::Batch;
use crate::chain::Head;
use crate::fixture::{self, record, stored};
use crate::model::{Conversation, ConversationKey};
use crate::store::Error;
use crate::verify::report::ChainReport;
use crate::verify::verify_store;

/// Runs statements.
pub(super) type Tamper = Box<dyn Fn(&str) -> BoxFuture<'static, ()> + Send + Sync>;

/// Opens.
pub(super) type Again = Box<dyn Fn() -> BoxFuture<'static, SharedStore> + Send + Sync>;

/// Opens with master keys.
pub(super) type Under = Box<
    dyn Fn(Arc<MasterKeys>) -> BoxFuture<'static, Result<SharedStore, super::Error>> + Send + Sync,
>;

/// Reads files.
pub(super) type Files = Box<dyn Fn() -> BoxFuture<'static, Vec<u8>> + Send + Sync>;

/// An empty store, and a way to change it behind its back.
pub(super) struct Fixture {
    pub(super) store: SharedStore,
    pub(super) tamper: Tamper,
    /// Writes bytes as the database's SQL has them.
    pub(super) literal: fn(&[u8]) -> String,
    /// Opens the same database once more, as another process does.
    pub(super) again: Again,
    /// Does so with other master keys.
    pub(super) under: Under,
    /// Reads whatever stands in the database's files.
    pub(super) files: Files,
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
            archive::whatever_was_changed_in_the_tables_is_found_there_and_in_an_export
            archive::rows_behind_the_end_of_a_chain_are_found
            archive::heads_are_signed_when_they_have_moved_and_never_over_another_past
            archive::a_past_that_was_written_anew_is_found_by_signed_heads
            archive::a_chain_that_was_taken_away_is_found_by_the_life_after_it
            archive::content_that_went_without_an_erasure_on_record_is_told
            archive::events_of_other_versions_are_archived_byte_for_byte
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
            rebuild::read_models_made_anew_are_equal_to_those_made_from_scratch
            rebuild::the_old_ones_are_served_until_the_new_ones_have_all
            rebuild::a_rebuild_goes_on_where_it_was_killed
            rebuild::of_two_who_rebuild_each_goes_on_where_the_other_stands
            rebuild::what_has_left_the_log_is_known_to_new_read_models
            lists::a_conversation_shows_what_was_said_last_and_what_waits
            lists::lists_are_narrowed_by_who_waits_and_who_owns
            lists::pages_neither_repeat_nor_miss_what_moves_meanwhile
            search::what_was_said_is_found_by_its_words_newest_first
            search::a_search_is_narrowed_by_whom_when_and_which_way
            search::pages_of_a_search_follow_each_other
            search::a_fact_that_comes_again_is_found_once
            search::search_is_made_anew_and_finds_the_same
            search::of_an_erased_customer_no_word_is_indexed
            figures::what_is_archived_counts_once_whoever_counts
            figures::a_step_from_a_place_that_was_left_changes_nothing
            figures::figures_counted_anew_are_served_once_they_have_all
            figures::records_are_the_newest_and_acts_are_paged_newest_first
            models::a_report_joins_the_conversation_of_its_message
            models::a_message_leaves_the_log_once_unless_something_new_comes
            colleagues::conversations_are_listed_by_where_they_stand
            colleagues::conversations_are_found_by_how_they_are_handled
            colleagues::pages_in_the_order_of_the_newest_heard_follow_each_other
            colleagues::mentions_are_paged_newest_first
            oddities::text_of_every_kind_survives_and_is_found
            erasing::who_is_erased_is_gone_and_nobody_else
            erasing::read_models_made_anew_bring_back_nobody_who_was_erased
            sealing::nothing_that_customers_wrote_stands_in_the_files_in_the_open
            sealing::what_a_destroyed_key_sealed_is_gone_and_the_chain_holds
            sealing::a_destroyed_key_is_never_made_again_also_for_another_process
            sealing::rows_from_before_there_were_keys_are_read_and_then_sealed
            sealing::a_message_is_found_by_terms_from_before_there_were_keys
            sealing::a_new_master_key_wraps_all_keys_anew
            sealing::another_master_key_is_refused_and_writes_nothing
            sealing::what_was_moved_between_rows_or_lost_its_key_is_found
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

/// Checks chains with no key.
async fn verify(store: &dyn super::Store, stream: Option<&str>) -> Result<Vec<ChainReport>, Error> {
    verify_store(store, stream, &[]).await
}

async fn report(fixture: &Fixture) -> ChainReport {
    let mut reports = verify(fixture.store.as_ref(), None).await.unwrap();
    assert_eq!(reports.len(), 1);
    reports.remove(0)
}
