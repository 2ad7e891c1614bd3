//! `FindMessage`: whatever an id stands for that somebody has in hand.
//!
//! It tries what the id may be, one after the other; ids of one kind look like those of no other
//! by chance alone.

use casement_domain::id::{BusinessNumber, MessageId};
use casement_event::convert::timestamp;
use casement_event::id;
use casement_event_log::Position;
use casement_proto::message::v1 as proto;
use casement_proto::message::v1::FoundBy;
use casement_shell::auth::ALL_BRANDS;
use casement_shell::grpc::bad_field;
use tonic::Status;

use super::messages::shown;
use super::raw::{RAW_KEPT, origin};
use super::{Backend, e164, unanswered};
use crate::model::{KEY_LEN_MAX, Message, Row};
use crate::store::{EventFilter, Limit, MessageFilter};
use crate::summary;
use crate::terms;

/// Most messages of an answer.
const MESSAGES_MAX: usize = 20;

/// Most posts that an answer tells of for each message.
const WEBHOOKS_MAX: usize = 50;

/// Most numbers that an id is tried with.
const NUMBERS_MAX: usize = 1_000;

/// Most events that are looked through for posts.
const LIMIT: Limit = Limit {
    rows_max: 500,
    bytes_max: super::PAGE_BYTES_MAX,
};

/// Answers `FindMessage`.
pub(super) async fn answer(
    backend: &Backend,
    brand_id: Option<String>,
    request: &proto::FindMessageRequest,
) -> Result<proto::FindMessageResponse, Status> {
    let id = request.id.trim();
    if !(1..=KEY_LEN_MAX).contains(&id.len()) {
        return Err(bad_field("id", "is empty or longer than 256 bytes"));
    }
    backend.reach(&request.not_before).await?;
    let finder = Finder {
        backend,
        brand_id,
        id,
    };
    let numbers = finder.numbers().await?;
    let mut found = finder.by_message_id(id, FoundBy::MessageId).await?;
    if let Some((message_id, attempt)) = id.rsplit_once('.')
        && attempt.bytes().all(|byte| byte.is_ascii_digit())
    {
        found.extend(
            finder
                .by_message_id(message_id, FoundBy::CallbackData)
                .await?,
        );
    }
    let term = terms::provider_id(id);
    found.extend(finder.by_term(term, FoundBy::ProviderMessageId).await?);
    for (number, brand_id) in &numbers {
        // A request's id is of the token's brand, and a token for all of them has one of its own.
        for brand_id in [brand_id.as_str(), ALL_BRANDS] {
            let unique = id::requested_message(brand_id, number, id);
            let message_id = MessageId::new(number, unique.as_u128());
            let requested = finder.by_message_id(message_id.as_str(), FoundBy::RequestId);
            found.extend(requested.await?);
        }
    }
    let term = terms::reference(id);
    found.extend(finder.by_term(term, FoundBy::ClientReference).await?);

    let mut messages: Vec<proto::FoundMessage> = Vec::new();
    for (found_by, message) in found {
        let is_known = |known: &proto::FoundMessage| {
            known
                .message
                .as_ref()
                .is_some_and(|known| known.message_id == message.id)
        };
        if messages.len() < MESSAGES_MAX && !messages.iter().any(is_known) {
            messages.push(proto::FoundMessage {
                found_by: found_by.into(),
                webhooks: finder.webhooks(&message).await?,
                message: Some(shown(message)),
            });
        }
    }
    let mut facts = Vec::new();
    for (number, _) in &numbers {
        facts.extend(finder.facts(number).await?);
    }
    Ok(proto::FindMessageResponse { messages, facts })
}

struct Finder<'a> {
    backend: &'a Backend,
    brand_id: Option<String>,
    id: &'a str,
}

impl Finder<'_> {
    fn is_theirs(&self, brand_id: &str) -> bool {
        let own = self.brand_id.as_ref();
        own.is_none_or(|own| own == brand_id)
    }

    async fn numbers(&self) -> Result<Vec<(BusinessNumber, String)>, Status> {
        let numbers = self.backend.store.numbers(NUMBERS_MAX).await;
        let numbers = numbers.map_err(|error| unanswered(&error))?.into_iter();
        let theirs = numbers.filter(|(_, brand_id)| self.is_theirs(brand_id));
        let parsed = theirs.filter_map(|(number, brand_id)| {
            Some((BusinessNumber::parse(&number).ok()?, brand_id))
        });
        Ok(parsed.collect())
    }

    async fn by_message_id(
        &self,
        message_id: &str,
        found_by: FoundBy,
    ) -> Result<Vec<(FoundBy, Message)>, Status> {
        let found = self.backend.store.message(message_id).await;
        let found = found.map_err(|error| unanswered(&error))?;
        let found = found.filter(|message| self.is_theirs(&message.brand_id));
        Ok(found
            .into_iter()
            .map(|message| (found_by, message))
            .collect())
    }

    async fn by_term(
        &self,
        term: String,
        found_by: FoundBy,
    ) -> Result<Vec<(FoundBy, Message)>, Status> {
        let filter = MessageFilter {
            brand_id: self.brand_id.clone(),
            terms: vec![term],
            ..MessageFilter::default()
        };
        let found = self
            .backend
            .store
            .messages(&filter, None, MESSAGES_MAX)
            .await;
        let found = found.map_err(|error| unanswered(&error))?;
        Ok(found
            .into_iter()
            .map(|message| (found_by, message))
            .collect())
    }

    async fn rows(&self, filter: EventFilter) -> Result<Vec<Row>, Status> {
        let page = self.backend.store.events(&filter, None, LIMIT).await;
        Ok(page.map_err(|error| unanswered(&error))?.rows)
    }

    /// Returns the posts that told of a message, newest first.
    async fn webhooks(&self, message: &Message) -> Result<Vec<proto::RawReference>, Status> {
        let filter = EventFilter {
            message_id: Some(message.id.clone()),
            ..EventFilter::default()
        };
        let rows = self.rows(filter).await?;
        let told = rows.iter().rev().filter_map(|row| self.reference(row));
        Ok(told.take(WEBHOOKS_MAX).collect())
    }

    /// Returns what a customer wrote or did at a number under the id.
    async fn facts(&self, number: &BusinessNumber) -> Result<Vec<proto::FoundFact>, Status> {
        let filter = EventFilter {
            event_id: Some(id::inbound(number, self.id).to_string()),
            brand_id: self.brand_id.clone(),
            ..EventFilter::default()
        };
        let rows = self.rows(filter).await?;
        let fact = |row: &Row| proto::FoundFact {
            number: e164(&row.index.number),
            customer_id: row.index.customer_id.clone(),
            event_id: row.index.event_id.clone(),
            event_type: row.index.event_type.clone(),
            event_time: Some(timestamp(row.index.event_time)),
            summary: summary::of_row(row),
            webhook: self.reference(row),
        };
        Ok(rows.iter().take(1).map(fact).collect())
    }

    /// Returns where the post of an event is found; nothing if it came by none.
    fn reference(&self, row: &Row) -> Option<proto::RawReference> {
        origin(&row.event()?)?;
        let stored = &row.stored;
        let age = self.backend.clock.now().duration_since(stored.stored_at);
        Some(proto::RawReference {
            position: Position {
                stream: stored.stream.clone(),
                incarnation: stored.incarnation.clone(),
                sequence: stored.sequence,
            }
            .to_string(),
            event_type: row.index.event_type.clone(),
            stored_time: Some(timestamp(stored.stored_at)),
            kept: age < RAW_KEPT,
        })
    }
}
