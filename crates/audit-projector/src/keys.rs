//! Keys of customers: what stands in the database about a customer is sealed under a key of that
//! customer's own, and the key is sealed under the master key.
//!
//! Whoever destroys a customer's key has made unreadable whatever was sealed under it, in every
//! copy of the database that has no older copy of the key. The master key opens keys and nothing
//! else.
//!
//! There is no cache: each read brings the owner's wrapped key along with the row, by the same
//! statement, and each write looks the keys of its batch up in its own transaction. So a destroyed
//! key is gone for every process at once, and no process can seal under a key that was never
//! stored. Opening a key costs about as much as opening a short text.
//!
//! Pure but for the keys and nonces, which are drawn. Where keys stand is the store's business:
//! `store::keys`.
//!
//! # For whoever keeps something personal in a table
//!
//! - Writing: take the [`Keyring`] that the transaction has for its batch, and [`Keyring::seal`]
//!   under the customer's id, bound to the table and the row's key by [`place`]. `None` means that
//!   the customer was erased: write nothing (an empty value).
//! - Reading: select the owner's `wrapped` key beside the row (`sql::owner_key!`), and
//!   [`CustomerKeys::open`] with the same place.
//! - Looking up: by [`SearchKey::term`] for words, [`SearchKey::lookup`] for whole values.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use casement_secrets::keys::{self, Key, MasterKeys};
use zeroize::Zeroizing;

/// Whose key the one is that searching goes by.
pub(crate) const SEARCH_OWNER: &str = "~search";

/// What every sealed value begins with. No protobuf message begins with a zero, so that what is
/// sealed and what is not are told apart where both may stand.
const SEALED: [u8; 2] = [0, 1];

/// What every wrapped key begins with.
const WRAPPED: u8 = 1;

/// Bytes of a master key's id.
const MASTER_ID_LEN: usize = 8;

/// Bytes of a nonce.
const NONCE_LEN: usize = 24;

/// Hex digits of a search term: enough that words seldom meet, too few to tell much by.
const TERM_LEN: usize = 16;

/// Hex digits of a lookup, which must not meet another.
const LOOKUP_LEN: usize = 32;

/// A key cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum KeyError {
    /// There is no master key.
    #[error("no key to seal what customers wrote: set secrets.master_key")]
    NoMaster,
    /// The master key is not one of ours.
    #[error(
        "customers' keys are sealed under master key {0}, which is not in secrets.master_key: put \
         that key back, below the others"
    )]
    UnknownMaster(String),
    /// The table of keys holds what was never written.
    #[error("key of {0} does not open: the table customer_keys was changed")]
    Damaged(String),
    /// The store was not made ready.
    #[error("search key is not loaded yet")]
    NotReady,
}

/// The key of one owner.
pub(crate) struct DataKey(Key);

impl std::fmt::Debug for DataKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("DataKey(…)")
    }
}

impl DataKey {
    /// Seals bytes for a [`place`].
    pub(crate) fn seal(&self, place: &str, plain: &[u8]) -> Vec<u8> {
        let (nonce, ciphertext) = keys::encrypt(&self.0, place, plain);
        [&SEALED[..], &nonce, &ciphertext].concat()
    }

    /// Opens what was sealed for a [`place`]; `None` if it was not.
    pub(crate) fn open(&self, place: &str, sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        let (nonce, ciphertext) = sealed.strip_prefix(&SEALED)?.split_at_checked(NONCE_LEN)?;
        keys::decrypt(&self.0, place, nonce, ciphertext)
    }
}

/// Returns whether bytes look like something that is sealed.
#[cfg(test)]
pub(crate) fn is_sealed(bytes: &[u8]) -> bool {
    bytes.starts_with(&SEALED)
}

/// What sealed bytes are bound to: the table, and what names the row in it. Each part stands with
/// its length, so that no two rows have the same.
pub(crate) fn place(table: &str, row: &[&str]) -> String {
    let parts = row.iter().map(|part| format!("\n{}:{part}", part.len()));
    format!("casement archive\n{table}{}", parts.collect::<String>())
}

/// Whose key an archived row is sealed under: its customer's, or, of what belongs to no customer,
/// its stream's. `sql::ROW_COLUMNS` says the same in SQL.
pub(crate) fn owner_of(customer_id: &str, stream: &str) -> String {
    if customer_id.is_empty() {
        format!("~{stream}")
    } else {
        customer_id.to_owned()
    }
}

/// What came of opening.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Opened {
    /// It says this.
    Plain(Zeroizing<Vec<u8>>),
    /// The key was destroyed: nobody can read it any more.
    Erased,
    /// There is no master key here that could open it.
    Unopened,
    /// It was changed or moved, or its key is gone without having been destroyed.
    Broken,
}

impl Opened {
    /// Returns what it says; nothing if it says nothing.
    pub(crate) fn or_empty(self) -> Zeroizing<Vec<u8>> {
        match self {
            Self::Plain(plain) => plain,
            Self::Erased | Self::Unopened | Self::Broken => Zeroizing::default(),
        }
    }
}

/// A wrapped key on its way into the table.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::struct_field_names, reason = "it is what the column is called")]
pub(crate) struct Wrapped {
    pub(crate) owner: String,
    pub(crate) master_key_id: String,
    pub(crate) wrapped: Vec<u8>,
}

/// Opens and wraps the keys of customers. One to a store.
#[derive(Debug)]
pub(crate) struct CustomerKeys {
    masters: Arc<MasterKeys>,
    search: OnceLock<SearchKey>,
    has_digests_only: AtomicBool,
}

impl CustomerKeys {
    /// Takes the master keys; without any, what is sealed stays so.
    pub(crate) fn new(masters: Arc<MasterKeys>) -> Self {
        Self {
            masters,
            search: OnceLock::new(),
            has_digests_only: AtomicBool::new(false),
        }
    }

    /// Returns the id of the master key that wraps.
    pub(crate) fn master_key_id(&self) -> Result<&str, KeyError> {
        let first = self.masters.first().ok_or(KeyError::NoMaster)?;
        Ok(first.id())
    }

    /// Draws a key for an owner, which counts once it is stored.
    pub(crate) fn draw(&self, owner: &str) -> Result<Wrapped, KeyError> {
        self.wrap(owner, &keys::new_key()[..])
    }

    fn wrap(&self, owner: &str, key: &[u8]) -> Result<Wrapped, KeyError> {
        let master = self.masters.first().ok_or(KeyError::NoMaster)?;
        let (nonce, ciphertext) = master.seal(&bound(owner), key);
        let id = hex_bytes(master.id());
        Ok(Wrapped {
            owner: owner.to_owned(),
            master_key_id: master.id().to_owned(),
            wrapped: [&[WRAPPED], &id[..], &nonce, &ciphertext].concat(),
        })
    }

    /// Returns an owner's key; `None` if it was destroyed. `wrapped` is what the table has.
    pub(crate) fn unwrap(&self, owner: &str, wrapped: &[u8]) -> Result<Option<DataKey>, KeyError> {
        if wrapped.is_empty() {
            return Ok(None);
        }
        if self.masters.is_empty() {
            return Err(KeyError::NoMaster);
        }
        let damaged = || KeyError::Damaged(owner.to_owned());
        let rest = wrapped.strip_prefix(&[WRAPPED]).ok_or_else(damaged)?;
        let (id, rest) = rest.split_at_checked(MASTER_ID_LEN).ok_or_else(damaged)?;
        let (nonce, ciphertext) = rest.split_at_checked(NONCE_LEN).ok_or_else(damaged)?;
        let id = hex::encode(id);
        let Some(master) = self.masters.get(&id) else {
            return Err(KeyError::UnknownMaster(id));
        };
        let plain = master.open(&bound(owner), nonce, ciphertext);
        let plain = plain.ok_or_else(damaged)?;
        let key: [u8; keys::KEY_LEN] = plain[..].try_into().map_err(|_| damaged())?;
        Ok(Some(DataKey(Zeroizing::new(key))))
    }

    /// Wraps a key under the master key that seals now.
    pub(crate) fn rewrap(&self, owner: &str, wrapped: &[u8]) -> Result<Option<Wrapped>, KeyError> {
        let key = self.unwrap(owner, wrapped)?;
        key.map(|key| self.wrap(owner, &key.0[..])).transpose()
    }

    /// Opens what stands in a row, with what the table of keys has for its owner.
    pub(crate) fn open(
        &self,
        (owner, wrapped): (&str, Option<&[u8]>),
        place: &str,
        sealed: &[u8],
    ) -> Result<Opened, KeyError> {
        let Some(wrapped) = wrapped else {
            return Ok(Opened::Broken);
        };
        match self.unwrap(owner, wrapped) {
            Ok(None) => Ok(Opened::Erased),
            Ok(Some(key)) => Ok(key
                .open(place, sealed)
                .map_or(Opened::Broken, Opened::Plain)),
            Err(KeyError::NoMaster) => Ok(Opened::Unopened),
            Err(KeyError::Damaged(_)) => Ok(Opened::Broken),
            Err(error) => Err(error),
        }
    }

    /// Whether read models are known to hold nothing from before there were keys.
    pub(crate) fn has_digests_only(&self) -> bool {
        self.has_digests_only.load(Ordering::Relaxed)
    }

    pub(crate) fn set_digests_only(&self, has: bool) {
        self.has_digests_only.store(has, Ordering::Relaxed);
    }

    /// Returns the key that searching goes by.
    pub(crate) fn search(&self) -> Result<&SearchKey, KeyError> {
        self.search.get().ok_or(KeyError::NotReady)
    }

    /// Takes the search key as it is stored.
    pub(crate) fn set_search(&self, wrapped: &[u8]) -> Result<(), KeyError> {
        let key = self.unwrap(SEARCH_OWNER, wrapped)?;
        let key = key.ok_or_else(|| KeyError::Damaged(SEARCH_OWNER.to_owned()))?;
        self.search.get_or_init(|| SearchKey(key.0));
        Ok(())
    }
}

/// The keys of a batch, as its transaction found or made them.
#[derive(Debug, Default)]
pub(crate) struct Keyring(BTreeMap<String, Option<DataKey>>);

impl Keyring {
    /// Takes what the table has: each owner with its wrapped key.
    pub(crate) fn of(
        keys: &CustomerKeys,
        found: impl IntoIterator<Item = (String, Vec<u8>)>,
    ) -> Result<Self, KeyError> {
        let open = |(owner, wrapped): (String, Vec<u8>)| {
            let key = keys.unwrap(&owner, &wrapped)?;
            Ok((owner, key))
        };
        Ok(Self(found.into_iter().map(open).collect::<Result<_, _>>()?))
    }

    /// Seals bytes of an owner for a [`place`]; `None` if the owner was erased, of whom nothing
    /// is kept any more.
    ///
    /// # Errors
    /// The batch did not say that it holds anything of this owner.
    pub(crate) fn seal(
        &self,
        owner: &str,
        place: &str,
        plain: &[u8],
    ) -> Result<Option<Vec<u8>>, KeyError> {
        let key = self.0.get(owner);
        let key = key.ok_or_else(|| KeyError::Damaged(owner.to_owned()))?;
        Ok(key.as_ref().map(|key| key.seal(place, plain)))
    }
}

/// Turns what is looked for into what stands in an index. It is drawn once for a database and
/// stays: a new master key wraps it anew.
pub(crate) struct SearchKey(Key);

impl std::fmt::Debug for SearchKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SearchKey(…)")
    }
}

impl SearchKey {
    /// Returns what stands for a word: 16 hex digits.
    pub(crate) fn term(&self, word: &str) -> String {
        self.digest("term", word, TERM_LEN)
    }

    /// Returns what stands for a whole value of a kind, such as a provider's id: 32 hex digits.
    pub(crate) fn lookup(&self, kind: &str, value: &str) -> String {
        self.digest(kind, value, LOOKUP_LEN)
    }

    fn digest(&self, kind: &str, text: &str, len: usize) -> String {
        let digest = keys::digest(&self.0, &[kind.as_bytes(), b"\n", text.as_bytes()]);
        let mut digits = hex::encode(digest);
        digits.truncate(len);
        digits
    }
}

/// What an owner's key is bound to.
fn bound(owner: &str) -> String {
    format!("casement customer key {owner}")
}

/// Reads back a master key's id, which is hex.
fn hex_bytes(id: &str) -> [u8; MASTER_ID_LEN] {
    let mut bytes = [0; MASTER_ID_LEN];
    hex::decode_to_slice(id, &mut bytes).expect("ids of master keys are 16 hex digits");
    bytes
}

#[cfg(test)]
mod tests {
    use casement_shell::config::Secret;

    use super::*;

    const OLD: &str = "an old key that nobody but us knows";
    const NEW: &str = "a new key that nobody but us knows!";

    fn keys(lines: &str) -> CustomerKeys {
        let secret = Secret::from_value(lines);
        let masters = MasterKeys::read("a.setting", Some(&secret), "customers").unwrap();
        CustomerKeys::new(Arc::new(masters))
    }

    #[test]
    fn a_value_opens_for_its_owner_at_its_place_and_nowhere_else() {
        let keys = keys(OLD);
        let (one, other) = (keys.draw("c1").unwrap(), keys.draw("c2").unwrap());
        let ring = [&one, &other].map(|key| (key.owner.clone(), key.wrapped.clone()));
        let ring = Keyring::of(&keys, ring).unwrap();
        let here = place("archive", &["EVENTS", "1a", "7"]);
        let sealed = ring.seal("c1", &here, b"Aloe vera").unwrap().unwrap();
        assert!(is_sealed(&sealed));
        assert!(!sealed.windows(4).any(|part| part == b"Aloe"));
        let open = |owner, wrapped: &[u8], place: &str| {
            keys.open((owner, Some(wrapped)), place, &sealed).unwrap()
        };
        let plain = Opened::Plain(Zeroizing::new(b"Aloe vera".to_vec()));
        assert_eq!(open("c1", &one.wrapped, &here), plain);
        let elsewhere = place("archive", &["EVENTS", "1a", "8"]);
        assert_eq!(open("c1", &one.wrapped, &elsewhere), Opened::Broken);
        assert_eq!(open("c2", &other.wrapped, &here), Opened::Broken);
        assert_eq!(open("c2", &one.wrapped, &here), Opened::Broken, "moved");
        assert_eq!(open("c1", &[], &here), Opened::Erased);
        let without = keys.open(("c1", None), &here, &sealed).unwrap();
        assert_eq!(without, Opened::Broken, "no key, and none destroyed");
    }

    #[test]
    fn of_an_erased_customer_nothing_is_sealed_and_a_stranger_is_refused() {
        let keys = keys(OLD);
        let ring = Keyring::of(&keys, [("c1".to_owned(), Vec::new())]).unwrap();
        assert_eq!(ring.seal("c1", "here", b"x"), Ok(None));
        assert!(ring.seal("c2", "here", b"x").is_err());
    }

    #[test]
    fn without_a_master_key_nothing_is_sealed_and_what_is_stays_so() {
        let wrapped = keys(OLD).draw("c1").unwrap().wrapped;
        let none = CustomerKeys::new(Arc::default());
        assert_eq!(none.draw("c1"), Err(KeyError::NoMaster));
        let opened = none.open(("c1", Some(&wrapped)), "here", b"x");
        assert_eq!(opened, Ok(Opened::Unopened));
        let other = keys(NEW).unwrap("c1", &wrapped);
        assert!(
            matches!(other, Err(KeyError::UnknownMaster(_))),
            "{other:?}"
        );
    }

    #[test]
    fn a_new_master_key_wraps_anew_what_stays_the_same_key() {
        let old = keys(OLD).draw("c1").unwrap();
        let both = keys(&format!("{NEW}\n{OLD}"));
        let new = both.rewrap("c1", &old.wrapped).unwrap().unwrap();
        assert_ne!(new.master_key_id, old.master_key_id);
        let before = keys(OLD).unwrap("c1", &old.wrapped).unwrap().unwrap();
        let after = keys(NEW).unwrap("c1", &new.wrapped).unwrap().unwrap();
        assert_eq!(before.0, after.0);
        assert_eq!(both.rewrap("c1", &[]), Ok(None), "destroyed stays so");
    }

    #[test]
    fn terms_are_short_and_stay_the_same_under_a_new_master_key() {
        let old = keys(OLD);
        let wrapped = old.draw(SEARCH_OWNER).unwrap().wrapped;
        assert_eq!(old.search().unwrap_err(), KeyError::NotReady);
        old.set_search(&wrapped).unwrap();
        let term = old.search().unwrap().term("aloe");
        assert_eq!(term.len(), TERM_LEN);
        assert_ne!(term, old.search().unwrap().term("vera"));
        let both = keys(&format!("{NEW}\n{OLD}"));
        both.set_search(&wrapped).unwrap();
        assert_eq!(both.search().unwrap().term("aloe"), term);
        let lookup = both.search().unwrap().lookup("provider", "aloe");
        assert_eq!(lookup.len(), LOOKUP_LEN);
        assert!(!lookup.starts_with(&term), "a kind is part of it");
    }
}
