//! What a store does to erase customers: their keys, what is looked up by and not sealed, and the
//! content of rows that belong to nobody and name them.
//!
//! One transaction, so that nobody meets a customer of whom a part is gone. The rows of the archive
//! stay with their commitments and links: the chain says that there was something, and nothing of
//! what it was.

use jiff::Timestamp;

use super::backend::{Backend, event_key};
use super::sql::{Query, Value};
use super::{Answer, EventKey, rebuild, sealed};

/// Who is erased, and what else goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Erased {
    /// At least one.
    pub(crate) customers: Vec<String>,
    /// Rows of no customer that name one of them.
    pub(crate) strangers: Vec<EventKey>,
    pub(crate) at: Timestamp,
}

/// What a store does to erase customers.
pub(crate) trait Erasing {
    /// Destroys the keys, removes the rows of read models and indexes, and takes the content of
    /// strangers away. Safe to repeat.
    fn erase<'a>(&'a self, erased: &'a Erased) -> Answer<'a, ()>;
}

/// From then on the row belongs to a customer whose key is gone.
const EMPTY_ROW: &str = "\
UPDATE archive SET payload = $4, salt = $4, customer_id = $5
WHERE stream = $1 AND incarnation = $2 AND sequence = $3";

/// The terms of messages before the messages, the words of documents before the documents.
const ROWS: &[&str] = &[
    "DELETE FROM message_terms WHERE message_id IN \
     (SELECT message_id FROM messages WHERE customer_id = $1)",
    "DELETE FROM messages WHERE customer_id = $1",
    "DELETE FROM mentions WHERE EXISTS (SELECT 1 FROM archive WHERE archive.stream = mentions.stream \
     AND archive.incarnation = mentions.incarnation AND archive.sequence = mentions.sequence \
     AND archive.customer_id = $1)",
    "DELETE FROM conversation_labels WHERE customer_id = $1",
    "DELETE FROM conversations WHERE customer_id = $1",
    "DELETE FROM customer_consents WHERE customer_id = $1",
    "DELETE FROM search_documents WHERE customer_id = $1",
    "DELETE FROM figure_contacts WHERE customer_id = $1",
];

/// Of a database that keeps words beside the documents.
const WORDS: &str = "\
DELETE FROM search_words WHERE rowid IN (SELECT place FROM search_documents WHERE customer_id = $1)";

impl<B: Backend> Erasing for B {
    fn erase<'a>(&'a self, erased: &'a Erased) -> Answer<'a, ()> {
        let mut statements = Vec::new();
        for stranger in &erased.strangers {
            let owner = erased.customers.first().cloned().unwrap_or_default();
            let place = event_key(stranger).into_iter();
            let values = place.chain([Value::Bytes(Vec::new()), Value::Text(owner)]);
            statements.push(Query::whole(EMPTY_ROW, values));
        }
        for customer in &erased.customers {
            let words = B::HAS_WORDS_APART.then_some(&WORDS);
            for statement in words.into_iter().chain(ROWS) {
                let values = [Value::Text(customer.clone())];
                statements.push(Query::whole(statement, values));
            }
        }
        statements.extend(sealed::destroying(&erased.customers, erased.at));
        // What was removed may stand in tables that are being made already.
        statements.push(Query::whole(rebuild::RESTART, []));
        Box::pin(async move {
            self.change_all("erase customers", statements).await?;
            self.scrub().await
        })
    }
}
