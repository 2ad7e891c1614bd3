//! What every store must do when a customer is erased: nothing of them is left to be read or found,
//! and everybody else stays as they were.

use super::super::erase::Erased;
use super::super::{EventKey, MessageFilter, SearchFilter};
use super::sealing::{CANARIES, archive_all, archive_on, rows, wrote};
use super::*;
use crate::model::{Content, Row};
use crate::rebuild::{self, Next};
use crate::verify::report::{Finding, FindingKind};
use crate::words::Search;

fn erased() -> Erased {
    Erased {
        customers: vec!["c1".to_owned()],
        // A status of somebody else's message, which names them.
        strangers: vec![EventKey {
            stream: "EVENTS".to_owned(),
            incarnation: "1a".to_owned(),
            sequence: 3,
        }],
        at: at(99),
    }
}

async fn set(fixture: &Fixture) {
    archive_all(fixture, "c1").await;
    let subject = "casement.events.inbound.03.15550001111.c2";
    archive_on(fixture, "EVENTS", subject, &wrote("c2")).await;
    made_anew(fixture).await;
}

async fn made_anew(fixture: &Fixture) {
    while rebuild::step(&fixture.store).await.unwrap() == Next::More {}
}

async fn conversation_of(fixture: &Fixture, customer_id: &str) -> Option<Conversation> {
    let key = ConversationKey {
        number: "15550001111".to_owned(),
        customer_id: customer_id.to_owned(),
    };
    fixture.store.conversation(&key).await.unwrap()
}

/// Whose conversations a word is found in.
async fn found(fixture: &Fixture) -> Vec<String> {
    let search = Search::parse(CANARIES[0]).unwrap();
    let filter = SearchFilter {
        terms: search.terms().into_iter().collect(),
        ..SearchFilter::default()
    };
    let found = fixture.store.search(&filter, None, 100).await.unwrap();
    let rows = found.into_iter().filter_map(|found| found.row);
    rows.map(|row| row.index.customer_id).collect()
}

/// All that shows one of them, as one text.
async fn shown(fixture: &Fixture) -> String {
    let messages = MessageFilter::default();
    format!(
        "{:?} {:?} {:?} {:?}",
        conversation_of(fixture, "c1").await,
        conversation_of(fixture, "c2").await,
        fixture.store.messages(&messages, None, 9).await.unwrap(),
        found(fixture).await,
    )
}

pub(in crate::store) async fn who_is_erased_is_gone_and_nobody_else(fixture: &Fixture) {
    set(fixture).await;
    assert!(conversation_of(fixture, "c1").await.is_some());
    assert_eq!(found(fixture).await.len(), 2);
    let before = rows(fixture).await;
    let erased = erased();
    for _ in 0..2 {
        fixture.store.erase(&erased).await.unwrap();
        assert_eq!(conversation_of(fixture, "c1").await, None);
        let messages = MessageFilter::default();
        let messages = fixture.store.messages(&messages, None, 9).await.unwrap();
        assert_eq!(messages, []);
        assert_eq!(found(fixture).await, ["c2"]);
        let other = conversation_of(fixture, "c2").await.unwrap();
        assert_eq!(other.last_inbound_text, CANARIES[0]);
    }
    let after = rows(fixture).await;
    let is_gone = |row: &&Row| row.content == Content::Erased;
    assert_eq!(after.iter().filter(is_gone).count(), 6, "the stranger, too");
    for (before, after) in before.iter().zip(&after) {
        assert_eq!(
            (before.commitment, before.link),
            (after.commitment, after.link)
        );
    }
    let reports = verify(fixture.store.as_ref(), None).await.unwrap();
    let is_known = |finding: &Finding| finding.kind == FindingKind::ErasedOffRecord;
    let mut findings = reports.iter().flat_map(|report| &report.findings);
    assert!(findings.all(is_known), "{reports:?}");
}

pub(in crate::store) async fn read_models_made_anew_bring_back_nobody_who_was_erased(
    fixture: &Fixture,
) {
    set(fixture).await;
    fixture.store.erase(&erased()).await.unwrap();
    made_anew(fixture).await;
    let before = shown(fixture).await;
    assert!(!before.contains("\"c1\""), "{before}");
    fixture.store.ask_rebuild().await.unwrap();
    made_anew(fixture).await;
    assert_eq!(shown(fixture).await, before);
}
