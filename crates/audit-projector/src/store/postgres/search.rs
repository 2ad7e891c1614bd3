//! The index of words in text search vectors without places, under a GIN index.

use std::collections::BTreeSet;

use sqlx::PgConnection;

use super::super::backend::integer;
use super::super::text::escape;
use super::super::{Error, failed, search};
use crate::fold::Models;
use crate::keys::{CustomerKeys, Keyring};
use crate::model::nanoseconds;

const INSERT_DOCUMENTS: &str = "\
INSERT INTO search_documents (
    place, stream, incarnation, sequence, number, customer_id, brand_id, direction, words
)
SELECT d.place, d.stream, d.incarnation, d.sequence, d.number, d.customer_id, d.brand_id,
    d.direction, array_to_tsvector(string_to_array(d.words, ' '))
FROM UNNEST(
    $1::bigint[], $2::text[], $3::text[], $4::bigint[], $5::text[], $6::text[], $7::text[],
    $8::bigint[], $9::text[]
) AS d (place, stream, incarnation, sequence, number, customer_id, brand_id, direction, words)
ON CONFLICT (place, stream, incarnation, sequence) DO NOTHING";

const WRITE_CONSENTS: &str = "\
INSERT INTO customer_consents (customer_id, consents)
SELECT * FROM UNNEST($1::text[], $2::bytea[])
ON CONFLICT (customer_id) DO UPDATE SET consents = EXCLUDED.consents";

/// Indexes what was said in a batch, and keeps what customers allow.
pub(super) async fn write(
    connection: &mut PgConnection,
    models: &Models,
    keys: &CustomerKeys,
    keyring: &Keyring,
) -> Result<(), Error> {
    let mut documents = Vec::new();
    for document in models.documents() {
        if let Some(digests) = search::digests(keys, keyring, document)? {
            // Each once: a vector takes no other.
            let digests: BTreeSet<&str> = digests.split(' ').collect();
            let digests = digests.into_iter().collect::<Vec<_>>().join(" ");
            documents.push((document, digests));
        }
    }
    if !documents.is_empty() {
        let all = || documents.iter().map(|(document, _)| *document);
        let texts = |texts: Vec<&str>| -> Vec<String> {
            texts
                .into_iter()
                .map(|text| escape(text).into_owned())
                .collect()
        };
        sqlx::query(INSERT_DOCUMENTS)
            .bind(
                all()
                    .map(|one| nanoseconds(one.stored_time))
                    .collect::<Vec<_>>(),
            )
            .bind(texts(all().map(|one| one.event.stream.as_str()).collect()))
            .bind(texts(
                all().map(|one| one.event.incarnation.as_str()).collect(),
            ))
            .bind(
                all()
                    .map(|one| integer(one.event.sequence))
                    .collect::<Vec<_>>(),
            )
            .bind(texts(all().map(|one| one.key.number.as_str()).collect()))
            .bind(texts(
                all().map(|one| one.key.customer_id.as_str()).collect(),
            ))
            .bind(texts(all().map(|one| one.brand_id.as_str()).collect()))
            .bind(
                all()
                    .map(|one| i64::from(i32::from(one.direction)))
                    .collect::<Vec<_>>(),
            )
            .bind(
                documents
                    .iter()
                    .map(|(_, digests)| digests.as_str())
                    .collect::<Vec<_>>(),
            )
            .execute(&mut *connection)
            .await
            .map_err(failed("index words"))?;
    }
    let consents = models.consents();
    if !consents.is_empty() {
        let customers = consents
            .keys()
            .map(|customer| escape(customer).into_owned());
        sqlx::query(WRITE_CONSENTS)
            .bind(customers.collect::<Vec<_>>())
            .bind(
                consents
                    .values()
                    .map(|one| search::consents(one))
                    .collect::<Vec<_>>(),
            )
            .execute(connection)
            .await
            .map_err(failed("keep consents"))?;
    }
    Ok(())
}
