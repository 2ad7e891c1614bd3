//! Keys of a batch: looked up by one statement, and made by another where they are missing.

use std::collections::{BTreeMap, BTreeSet};

use sqlx::PgConnection;

use super::super::{Error, failed, read};
use super::write::{list, texts};
use crate::keys::{CustomerKeys, Keyring};

const KEYS: &str = "SELECT owner, wrapped FROM customer_keys WHERE owner = ANY($1::text[])";

/// In the order of owners, so that of two transactions that make the same keys one waits.
const NEW_KEYS: &str = "\
INSERT INTO customer_keys (owner, master_key_id, wrapped, destroy_time_ns)
SELECT owner, master_key_id, wrapped, NULL
FROM UNNEST($1::text[], $2::text[], $3::bytea[]) AS k (owner, master_key_id, wrapped)
ON CONFLICT (owner) DO NOTHING";

/// Looks the keys of a batch up, and makes those that are missing.
pub(super) async fn keyring(
    connection: &mut PgConnection,
    keys: &CustomerKeys,
    owners: &BTreeSet<String>,
) -> Result<Keyring, Error> {
    let found = wrapped_keys(connection, keys, owners).await?;
    Ok(Keyring::of(keys, found)?)
}

/// Does so, and leaves them wrapped.
pub(super) async fn wrapped_keys(
    connection: &mut PgConnection,
    keys: &CustomerKeys,
    owners: &BTreeSet<String>,
) -> Result<BTreeMap<String, Vec<u8>>, Error> {
    let mut found = stored_keys(connection, owners).await?;
    let missing = owners.iter().filter(|owner| !found.contains_key(*owner));
    let drawn = missing.map(|owner| keys.draw(owner));
    let drawn = drawn.collect::<Result<Vec<_>, _>>()?;
    if !drawn.is_empty() {
        let drawn = || drawn.iter();
        sqlx::query(NEW_KEYS)
            .bind(texts(drawn().map(|key| key.owner.as_str())))
            .bind(list(drawn().map(|key| key.master_key_id.as_str())))
            .bind(list(drawn().map(|key| key.wrapped.as_slice())))
            .execute(&mut *connection)
            .await
            .map_err(failed("store keys"))?;
        // Others may have been faster, and theirs is the key then.
        let missing = drawn().map(|key| key.owner.clone()).collect();
        found.extend(stored_keys(connection, &missing).await?);
    }
    Ok(found)
}

async fn stored_keys(
    connection: &mut PgConnection,
    owners: &BTreeSet<String>,
) -> Result<BTreeMap<String, Vec<u8>>, Error> {
    if owners.is_empty() {
        return Ok(BTreeMap::new());
    }
    let rows = sqlx::query(KEYS)
        .bind(texts(owners.iter().map(String::as_str)))
        .fetch_all(connection)
        .await
        .map_err(failed("look keys up"))?;
    rows.iter().map(read::wrapped).collect()
}
