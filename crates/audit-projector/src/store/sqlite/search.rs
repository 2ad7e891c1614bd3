//! The index of words in FTS5: a table without content, of which a document has the number of its
//! place, which goes by time. So what is newest is found first, without sorting.

use sqlx::SqliteConnection;

use super::super::backend::integer;
use super::super::text::escape;
use super::super::{Error, failed, search};
use super::many;
use crate::fold::Models;
use crate::keys::{CustomerKeys, Keyring};
use crate::model::nanoseconds;

/// At the next free place, beginning at a time.
const INSERT_DOCUMENT: &str = "\
INSERT INTO search_documents (
    place, stream, incarnation, sequence, number, customer_id, brand_id, direction
) VALUES (
    (
        SELECT $1 + COUNT(*) FROM (
            WITH RECURSIVE taken (place) AS (
                SELECT place FROM search_documents WHERE place = $1
                UNION ALL
                SELECT d.place FROM taken t JOIN search_documents d ON d.place = t.place + 1
            )
            SELECT place FROM taken
        )
    ),
    $2, $3, $4, $5, $6, $7, $8
)
ON CONFLICT (stream, incarnation, sequence) DO NOTHING
RETURNING place";

const INSERT_WORDS: &str = "INSERT INTO search_words (rowid, words) {rows}";

const WRITE_CONSENTS: &str = "\
INSERT INTO customer_consents (customer_id, consents) VALUES ($1, $2)
ON CONFLICT (customer_id) DO UPDATE SET consents = EXCLUDED.consents";

/// Indexes what was said in a batch, and keeps what customers allow.
pub(super) async fn write(
    connection: &mut SqliteConnection,
    models: &Models,
    keys: &CustomerKeys,
    keyring: &Keyring,
) -> Result<(), Error> {
    let mut indexed = Vec::new();
    for document in models.documents() {
        let Some(digests) = search::digests(keys, keyring, document)? else {
            continue;
        };
        let place: Option<i64> = sqlx::query_scalar(INSERT_DOCUMENT)
            .bind(nanoseconds(document.stored_time))
            .bind(escape(&document.event.stream))
            .bind(escape(&document.event.incarnation))
            .bind(integer(document.event.sequence))
            .bind(escape(&document.key.number))
            .bind(escape(&document.key.customer_id))
            .bind(escape(&document.brand_id))
            .bind(i64::from(i32::from(document.direction)))
            .fetch_optional(&mut *connection)
            .await
            .map_err(failed("index words"))?;
        indexed.extend(place.map(|place| (place, digests)));
    }
    many::run(
        connection,
        INSERT_WORDS,
        &indexed,
        |values, (place, digests)| {
            values.push_bind(*place);
            values.push_bind(digests.clone());
        },
    )
    .await
    .map_err(failed("index words"))?;
    for (customer_id, consents) in models.consents() {
        sqlx::query(WRITE_CONSENTS)
            .bind(escape(customer_id))
            .bind(search::consents(consents))
            .execute(&mut *connection)
            .await
            .map_err(failed("keep consents"))?;
    }
    Ok(())
}
