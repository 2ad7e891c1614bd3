//! What every store must do with what customers wrote: nobody reads it in its files, and once a
//! customer's key is destroyed nobody reads it at all.

use casement_event::v1;

use super::super::{Error, MessageFilter};
use super::*;
use crate::model::{Content, Row};
use crate::terms;
use crate::verify::report::{Finding, FindingKind};

/// What must stand nowhere. The words of a customer, their name, their phone; what we wrote; how
/// a provider names a message, which tells the phone; what a colleague noted.
pub(super) const CANARIES: [&str; 7] = [
    "marzipan-canary",
    "Petra Canary",
    "4915550107788",
    "our-reply-canary",
    "wamid.HBgNCANARY",
    "note-canary",
    "label-canary",
];

pub(super) fn wrote(customer: &str) -> Event {
    v1::InboundMessageReceived {
        conversation: Some(of(customer)),
        text: CANARIES[0].to_owned(),
        profile_name: CANARIES[1].to_owned(),
        extra_json: CANARIES[2].to_owned(),
        kind: "text".to_owned(),
        ..Default::default()
    }
    .into()
}

fn of(customer: &str) -> v1::Conversation {
    v1::Conversation {
        customer_id: customer.to_owned(),
        ..fixture::conversation()
    }
}

fn requested(customer: &str) -> Event {
    v1::MessageRequested {
        message_id: MESSAGE.to_owned(),
        conversation: Some(of(customer)),
        content: Some(v1::Content {
            free_form: Some(v1::FreeForm {
                text: CANARIES[3].to_owned(),
                ..Default::default()
            }),
            ..Default::default()
        }),
        labels: vec![v1::Label {
            key: "for".to_owned(),
            value: CANARIES[6].to_owned(),
        }],
        request_time: Some(proto(1)),
        ..Default::default()
    }
    .into()
}

fn accepted() -> Event {
    v1::AttemptAccepted {
        message_id: MESSAGE.to_owned(),
        attempt: 1,
        provider_message_id: CANARIES[4].to_owned(),
        ..Default::default()
    }
    .into()
}

fn noted(customer: &str) -> Event {
    v1::NoteAdded {
        conversation: Some(of(customer)),
        text: CANARIES[5].to_owned(),
        ..Default::default()
    }
    .into()
}

/// A report about the message, which names no customer.
fn reported() -> Event {
    v1::StatusReported {
        message_id: MESSAGE.to_owned(),
        ..Default::default()
    }
    .into()
}

/// What belongs to no customer, and yet names one.
fn foreign() -> Event {
    v1::ForeignStatusReported {
        provider_message_id: CANARIES[4].to_owned(),
        content_json: CANARIES[2].to_owned(),
        ..Default::default()
    }
    .into()
}

/// Archives an event on a subject of its own family.
pub(super) async fn archive_on(fixture: &Fixture, stream: &str, subject: &str, event: &Event) {
    let head = fixture.store.head(stream, "1a").await.unwrap();
    let before = head.unwrap_or_else(|| Head::start(stream, "1a"));
    let stored = fixture::record_on(subject, stream, before.last_sequence + 1, event);
    archive(fixture, before, vec![stored]).await;
}

/// Archives one of each for a customer.
pub(super) async fn archive_all(fixture: &Fixture, customer: &str) {
    let of_customer = |family| format!("casement.events.{family}.03.15550001111.{customer}");
    let message = |family| format!("casement.events.{family}.03.15550001111.{MESSAGE}");
    for (stream, subject, event) in [
        ("EVENTS", of_customer("inbound"), wrote(customer)),
        ("EVENTS", of_customer("note"), noted(customer)),
        (
            "EVENTS",
            "casement.events.foreign.03.15550001111".to_owned(),
            foreign(),
        ),
        ("MESSAGES", message("message"), requested(customer)),
        ("MESSAGES", message("message"), accepted()),
        ("MESSAGES", message("report"), reported()),
    ] {
        archive_on(fixture, stream, &subject, &event).await;
    }
}

pub(super) async fn rows(fixture: &Fixture) -> Vec<Row> {
    let filter = EventFilter::default();
    fixture.store.events(&filter, None, ALL).await.unwrap().rows
}

async fn all_is_intact(fixture: &Fixture) -> Vec<ChainReport> {
    let reports = verify(fixture.store.as_ref(), None).await.unwrap();
    // Here keys are destroyed by themselves; of an erasure there is a record.
    let is_known = |finding: &Finding| finding.kind == FindingKind::ErasedOffRecord;
    let findings = || reports.iter().flat_map(|report| &report.findings);
    assert!(findings().all(is_known), "{reports:?}");
    let is_erased = reports.iter().any(|report| report.erased_count > 0);
    assert_eq!(findings().count() > 0, is_erased);
    reports
}

async fn assert_no_canary(fixture: &Fixture) {
    let files = (fixture.files)().await;
    assert!(files.len() > 10_000, "{} bytes", files.len());
    for canary in CANARIES {
        let found = files
            .windows(canary.len())
            .any(|part| part == canary.as_bytes());
        assert!(!found, "{canary}");
    }
}

pub(in crate::store) async fn nothing_that_customers_wrote_stands_in_the_files_in_the_open(
    fixture: &Fixture,
) {
    archive_all(fixture, "c1").await;
    assert_no_canary(fixture).await;
    // All of it reads as it was written.
    let conversation = conversation(fixture).await;
    assert_eq!(conversation.last_inbound_text, CANARIES[0]);
    assert_eq!(conversation.profile_name, CANARIES[1]);
    let found = MessageFilter {
        terms: vec![terms::provider_id(CANARIES[4])],
        ..MessageFilter::default()
    };
    let found = fixture.store.messages(&found, None, 9).await.unwrap();
    assert_eq!(found[0].attempts[0].provider_message_id, CANARIES[4]);
    assert_eq!(found[0].labels[0].value, CANARIES[6]);
    let all = rows(fixture).await;
    assert!(all.iter().all(|row| row.content == Content::Open));
    assert_eq!(all[0].event(), Some(wrote("c1")));
    let [noted_row, foreign_row] = [1, 2].map(|place: usize| all[place].event());
    assert_eq!(
        (noted_row, foreign_row),
        (Some(noted("c1")), Some(foreign()))
    );
    all_is_intact(fixture).await;
    // The test can find what does stand there.
    let files = (fixture.files)().await;
    let shown = b"casement.events.v1.NoteAdded";
    assert!(files.windows(shown.len()).any(|part| part == shown));
}

pub(in crate::store) async fn what_a_destroyed_key_sealed_is_gone_and_the_chain_holds(
    fixture: &Fixture,
) {
    archive_all(fixture, "c1").await;
    archive_on(
        fixture,
        "EVENTS",
        "casement.events.inbound.03.15550001111.c2",
        &wrote("c2"),
    )
    .await;
    let before = rows(fixture).await;
    fixture
        .store
        .destroy_keys(&["c1".to_owned()], at(99))
        .await
        .unwrap();

    let after = rows(fixture).await;
    for (before, after) in before.iter().zip(&after) {
        let is_theirs = before.index.customer_id == "c1";
        assert_eq!(after.content == Content::Erased, is_theirs, "{after:?}");
        assert_eq!(after.event().is_none(), is_theirs);
        if is_theirs {
            assert!(after.stored.payload.is_empty() && after.salt == [0; 16]);
        }
        assert_eq!(
            (before.commitment, before.link),
            (after.commitment, after.link)
        );
    }
    let theirs = |row: &&Row| row.content == Content::Erased;
    // The report, too, although it names no customer.
    assert_eq!(after.iter().filter(theirs).count(), 5);
    let reports = all_is_intact(fixture).await;
    let erased: u64 = reports.iter().map(|report| report.erased_count).sum();
    assert_eq!(erased, 5);

    let conversation = conversation(fixture).await;
    assert_eq!(conversation.last_inbound_text, "");
    assert_eq!(conversation.profile_name, "");
    let all = MessageFilter::default();
    let message = fixture
        .store
        .messages(&all, None, 9)
        .await
        .unwrap()
        .remove(0);
    assert_eq!((message.attempts, message.labels), (vec![], vec![]));
}

pub(in crate::store) async fn a_destroyed_key_is_never_made_again_also_for_another_process(
    fixture: &Fixture,
) {
    archive_all(fixture, "c1").await;
    // Another process destroys it; also one that nobody ever had.
    let other = (fixture.again)().await;
    let customers = ["c1".to_owned(), "c9".to_owned()];
    other.destroy_keys(&customers, at(99)).await.unwrap();
    other.destroy_keys(&customers, at(100)).await.unwrap();
    for customer in &customers {
        let subject = format!("casement.events.inbound.03.15550001111.{customer}");
        archive_on(fixture, "EVENTS", &subject, &wrote(customer)).await;
    }
    let all = rows(fixture).await;
    let late: Vec<_> = all.iter().filter(|row| row.stored.sequence > 3).collect();
    assert_eq!(late.len(), 2);
    assert!(late.iter().all(|row| row.content == Content::Erased));
    assert_eq!(conversation(fixture).await.last_inbound_text, "");
    all_is_intact(fixture).await;
    assert_no_canary(fixture).await;
}

/// Puts the rows of a stream back as they stood before there were keys.
async fn unseal(fixture: &Fixture, stream: &str) {
    for row in rows(fixture).await {
        let stored = &row.stored;
        if stored.stream == stream {
            let literal = fixture.literal;
            let (payload, salt) = (literal(&stored.payload), literal(&row.salt));
            let sequence = stored.sequence;
            (fixture.tamper)(&format!(
                "UPDATE archive SET payload = {payload}, salt = {salt}
                 WHERE stream = '{stream}' AND sequence = {sequence}"
            ))
            .await;
        }
    }
}

pub(in crate::store) async fn rows_from_before_there_were_keys_are_read_and_then_sealed(
    fixture: &Fixture,
) {
    archive_messages(fixture, &[1, 2, 3, 4, 5]).await;
    let before = rows(fixture).await;
    unseal(fixture, "EVENTS").await;
    assert_eq!(fixture.store.unsealed_count().await.unwrap(), 5);
    assert_eq!(rows(fixture).await, before, "readers understand both");
    assert!(report(fixture).await.is_intact());

    assert_eq!(fixture.store.seal_next(2).await.unwrap(), 2);
    assert_eq!(fixture.store.unsealed_count().await.unwrap(), 3);
    assert_eq!(rows(fixture).await, before, "half of it is sealed");
    // One of them goes meanwhile: its rows are not sealed but dropped.
    let other = (fixture.again)().await;
    assert_eq!(
        other.seal_next(99).await.unwrap(),
        3,
        "another process goes on"
    );
    assert_eq!(fixture.store.seal_next(99).await.unwrap(), 0);
    assert_eq!(fixture.store.unsealed_count().await.unwrap(), 0);
    assert_eq!(rows(fixture).await, before);
    assert!(report(fixture).await.is_intact());
    fixture
        .store
        .destroy_keys(&["c1".to_owned()], at(99))
        .await
        .unwrap();
    assert_eq!(report(fixture).await.erased_count, 5);
}

pub(in crate::store) async fn a_message_is_found_by_terms_from_before_there_were_keys(
    fixture: &Fixture,
) {
    archive_all(fixture, "c1").await;
    let term = terms::provider_id(CANARIES[4]);
    let other = terms::label(&v1::Label {
        key: "for".to_owned(),
        value: CANARIES[6].to_owned(),
    });
    (fixture.tamper)("DELETE FROM message_terms").await;
    for term in [&term, &other] {
        (fixture.tamper)(&format!(
            "INSERT INTO message_terms (term, request_time_ns, message_id)
             SELECT '{term}', request_time_ns, message_id FROM messages"
        ))
        .await;
    }
    let filter = MessageFilter {
        terms: vec![term, other],
        ..MessageFilter::default()
    };
    assert_eq!(
        fixture
            .store
            .messages(&filter, None, 9)
            .await
            .unwrap()
            .len(),
        1
    );
}

pub(in crate::store) async fn a_new_master_key_wraps_all_keys_anew(fixture: &Fixture) {
    archive_all(fixture, "c1").await;
    archive_on(
        fixture,
        "EVENTS",
        "casement.events.inbound.03.15550001111.c2",
        &wrote("c2"),
    )
    .await;
    fixture
        .store
        .destroy_keys(&["c2".to_owned()], at(99))
        .await
        .unwrap();
    let before = rows(fixture).await;
    assert_eq!(
        fixture.store.rewrap_keys(9).await.unwrap(),
        0,
        "all are under the first"
    );

    let both = format!("{}\n{}", fixture::NEW_MASTER, fixture::MASTER);
    let both = (fixture.under)(fixture::masters_of(&both)).await.unwrap();
    assert_eq!(
        both.events(&EventFilter::default(), None, ALL)
            .await
            .unwrap()
            .rows,
        before
    );
    // The customer's, the stream's of what belongs to nobody, the one to search by; none of the
    // erased.
    assert_eq!(both.old_keys_count().await.unwrap(), 3);
    for _ in 0..3 {
        assert_eq!(both.rewrap_keys(1).await.unwrap(), 1);
    }
    assert_eq!(both.rewrap_keys(1).await.unwrap(), 0);
    assert_eq!(both.old_keys_count().await.unwrap(), 0);
    // The old one may go.
    let new = fixture::masters_of(fixture::NEW_MASTER);
    let new = (fixture.under)(new).await.unwrap();
    assert_eq!(
        new.events(&EventFilter::default(), None, ALL)
            .await
            .unwrap()
            .rows,
        before
    );
    let found = MessageFilter {
        terms: vec![terms::provider_id(CANARIES[4])],
        ..MessageFilter::default()
    };
    assert_eq!(new.messages(&found, None, 9).await.unwrap().len(), 1);
}

pub(in crate::store) async fn another_master_key_is_refused_and_writes_nothing(fixture: &Fixture) {
    archive_messages(fixture, &[1]).await;
    let other = fixture::masters_of(fixture::NEW_MASTER);
    let refused = (fixture.under)(other).await;
    let Err(Error::Keys(error)) = refused else {
        panic!("{refused:?}");
    };
    assert!(error.to_string().contains("put that key back"), "{error}");
    let refused = (fixture.under)(Arc::default()).await;
    assert!(matches!(refused, Err(Error::Keys(_))), "{refused:?}");
    assert_eq!(rows(fixture).await.len(), 1);
}

pub(in crate::store) async fn what_was_moved_between_rows_or_lost_its_key_is_found(
    fixture: &Fixture,
) {
    archive_messages(fixture, &[1, 2, 3]).await;
    let table = [
        "UPDATE archive SET payload = (SELECT payload FROM archive a WHERE a.sequence = 1)
         WHERE sequence = 3",
        "DELETE FROM customer_keys WHERE owner = 'c1'",
    ];
    for (statement, sequence) in table.into_iter().zip([3, 1]) {
        (fixture.tamper)(statement).await;
        let report = report(fixture).await;
        assert!(!report.is_intact(), "{statement}");
        let first = report.broken().expect(statement);
        assert_eq!(
            first.sequence, sequence,
            "{statement}: {}",
            first.explanation
        );
        assert_eq!(report.erased_count, 0, "lost is not erased");
    }
}
