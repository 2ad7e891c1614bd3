//! What every store must take that nobody sends on purpose.

use casement_event::header;
use casement_event::v1::{self, MessageOutcome};

use super::*;
use crate::fixture::record_on;

/// Every kind of text that some database, library or terminal has trouble with.
const ODD: [&str; 9] = [
    "a\0b\0",
    "\0",
    "\u{10}0 \u{10}\u{10}\0",
    r#"{"half": "\ud800", "nul": "\u0000", "\"": '\\'}"#,
    "👩‍👩‍👧 \u{1F1E9}\u{1F1EA} ☎\u{FE0F}",
    "\u{202E}שלום\u{202C} \u{200F}مرحبا\u{2066}",
    "e\u{301} é \u{1E9B}\u{323} Z\u{351}\u{36B}",
    "\u{FFFD}\u{FFFE}\u{FFFF}\u{10FFFF}\u{FEFF}\u{E000}",
    "%_'\"$1;--\r\n\t\u{7F}\u{85}\u{2028}",
];

fn header_of<'a>(stored: &'a mut Stored, name: &str) -> &'a mut String {
    let found = stored.headers.iter_mut().find(|(key, _)| key == name);
    &mut found.unwrap().1
}

pub(in crate::store) async fn text_of_every_kind_survives_and_is_found(fixture: &Fixture) {
    let mut head = Head::start("MESSAGES", "1a");
    for (index, odd) in ODD.iter().enumerate() {
        let of = v1::Conversation {
            number: format!("1{odd}"),
            customer_id: format!("c{odd}"),
            brand_id: format!("b{odd}"),
            ..Default::default()
        };
        let key = ConversationKey {
            number: of.number.clone(),
            customer_id: of.customer_id.clone(),
        };
        let said: Event = v1::InboundMessageReceived {
            conversation: Some(of.clone()),
            text: (*odd).to_owned(),
            profile_name: format!("{odd}{odd}"),
            ..Default::default()
        }
        .into();
        let message_id = format!("m{odd}");
        let requested: Event = v1::MessageRequested {
            message_id: message_id.clone(),
            conversation: Some(of.clone()),
            client_reference: (*odd).to_owned(),
            ..Default::default()
        }
        .into();
        let mut ended = v1::MessageEnded {
            message_id: message_id.clone(),
            end_time: Some(proto(9)),
            reason: format!("R{odd}"),
            ..Default::default()
        };
        ended.set_outcome(MessageOutcome::Failed);
        let subject = format!("odd.{odd}.{index}");
        let first = head.last_sequence + 1;
        let events = [said, requested, ended.into()];
        let mut stored: Vec<Stored> = (first..)
            .zip(&events)
            .map(|(sequence, event)| record_on(&subject, "MESSAGES", sequence, event))
            .collect();
        header_of(&mut stored[0], header::ID).push_str(odd);
        let odd_header = ((*odd).to_owned(), (*odd).to_owned());
        stored[0].headers.push(odd_header);
        let batch = Batch::seal(head, stored.clone(), rand::random);
        fixture.store.append(&batch).await.unwrap();
        head = batch.after;

        let filter = EventFilter {
            subject_prefix: Some(format!("odd.{odd}")),
            customer_id: Some(key.customer_id.clone()),
            brand_id: Some(of.brand_id.clone()),
            ..EventFilter::default()
        };
        let page = fixture.store.events(&filter, None, ALL).await.unwrap();
        let found: Vec<_> = page.rows.into_iter().map(|row| row.stored).collect();
        // The last names its message alone, by an id that no subject can carry.
        assert_eq!(found, stored[..2], "{odd:?}");
        let told = fixture.store.timeline(&key, None, ALL).await.unwrap();
        assert_eq!(told.rows.len(), 2, "{odd:?}");
        let row = fixture.store.conversation(&key).await.unwrap().unwrap();
        assert_eq!(row.key, key);
        assert_eq!(row.last_inbound_text, *odd);
        assert_eq!(row.profile_name, format!("{odd}{odd}"));
        assert_eq!(row.brand_id, of.brand_id);
        let message = fixture.store.message(&message_id).await.unwrap().unwrap();
        assert_eq!((message.id, message.key), (message_id, key));
        assert_eq!(message.client_reference, *odd);
        assert_eq!(message.reason, format!("R{odd}"));
    }
    let all = sequences(fixture, &EventFilter::default()).await;
    assert_eq!(all.len(), ODD.len() * 3);
    let report = report(fixture).await;
    assert!(report.is_intact(), "{report:?}");
    let ended = fixture.store.ended_messages(at(10), None, 100).await;
    assert_eq!(ended.unwrap().len(), ODD.len());
}

pub(in crate::store) async fn ids_of_any_length_are_archived(fixture: &Fixture) {
    // Random, since what repeats itself could be stored in little room.
    let long = || hex::encode([(); 5_000].map(|()| rand::random::<u8>()));
    let of = v1::Conversation {
        number: long(),
        customer_id: long(),
        brand_id: long(),
        portfolio_id: long(),
    };
    let call = v1::InboundCallReceived {
        conversation: Some(fixture::conversation()),
        provider_call_id: long(),
        qualifies: true,
        ..Default::default()
    };
    let message_id = long();
    let events: [Event; 5] = [
        call.clone().into(),
        call.into(),
        v1::InboundMessageReceived {
            conversation: Some(of.clone()),
            ..Default::default()
        }
        .into(),
        v1::MessageRequested {
            message_id: message_id.clone(),
            conversation: Some(of),
            client_reference: long(),
            ..Default::default()
        }
        .into(),
        v1::StatusReported {
            message_id,
            ..Default::default()
        }
        .into(),
    ];
    let mut stored: Vec<Stored> = (1..)
        .zip(&events)
        .map(|(sequence, event)| record_on(&format!("a.{}", long()), "EVENTS", sequence, event))
        .collect();
    for stored in &mut stored[2..] {
        *header_of(stored, header::ID) = long();
        *header_of(stored, header::TYPE) = long();
    }
    archive(fixture, Head::start("EVENTS", "1a"), stored).await;
    let report = report(fixture).await;
    assert!(report.is_intact(), "{report:?}");
    assert_eq!(report.checked_count, 5);
    assert_eq!(conversation(fixture).await.inbound_count, 1);
}

pub(in crate::store) async fn a_report_belongs_to_its_message_also_within_one_batch(
    fixture: &Fixture,
) {
    let requested: Event = v1::MessageRequested {
        message_id: MESSAGE.to_owned(),
        conversation: Some(fixture::conversation()),
        ..Default::default()
    }
    .into();
    let report: Event = v1::StatusReported {
        message_id: MESSAGE.to_owned(),
        ..Default::default()
    }
    .into();
    let subject = format!("casement.events.report.03.15550001111.{MESSAGE}");
    let stored = vec![
        record("MESSAGES", 1, &requested),
        record_on(&subject, "MESSAGES", 2, &report),
    ];
    archive(fixture, Head::start("MESSAGES", "1a"), stored).await;
    let told = fixture.store.timeline(&conversation_key(), None, ALL).await;
    let told = told.unwrap().rows;
    assert_eq!(told.len(), 2);
    assert_eq!(told[0].stored.subject, subject);
    assert_eq!(told[0].index.brand_id, "default");
    let message = fixture.store.message(MESSAGE).await.unwrap().unwrap();
    assert_eq!(message.position.sequence, 2);
}

pub(in crate::store) async fn a_fact_that_stands_twice_in_one_batch_counts_and_is_told_once(
    fixture: &Fixture,
) {
    let repeat = Stored {
        sequence: 2,
        ..stored("EVENTS", 1)
    };
    let events = vec![stored("EVENTS", 1), repeat, stored("EVENTS", 3)];
    archive(fixture, Head::start("EVENTS", "1a"), events).await;
    assert_eq!(conversation(fixture).await.inbound_count, 2);
    let told = fixture.store.timeline(&conversation_key(), None, ALL).await;
    let told = told.unwrap().rows;
    let told: Vec<_> = told.iter().map(|row| row.stored.sequence).collect();
    assert_eq!(told, [3, 1]);
}
