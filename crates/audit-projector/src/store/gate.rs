//! A gate before a database: somebody else decides how each call of it goes, and when.
//!
//! For whoever simulates the role: each call is one transaction or one query, as the database takes
//! it, and between two of them the gate may let anything happen. Nothing of it runs where no gate is
//! given.

use std::collections::BTreeSet;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

use casement_secrets::keys::MasterKeys;
use futures::future::BoxFuture;
use tokio::sync::{OwnedRwLockWriteGuard, RwLock};

use super::backend::{Backend, Visitor};
use super::search::Dialect;
use super::sql::Query;
use super::{Answer, Error, EventKey, Rebuild, Rebuilding, SharedStore, Sqlite};
use crate::batch::{Batch, Entry};
use crate::keys::{CustomerKeys, Keyring};

/// What a call asks of the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum StoreCall {
    /// Opens it and brings its tables up to date.
    Open,
    /// Reads.
    Read,
    /// Archives events, and moves the position of their chain.
    Archive,
    /// Changes something else.
    Change,
}

/// Decides how calls of a database go.
pub trait Gate: Send + Sync {
    /// Does the work, or drops it undone. Returns whether the caller hears how it went; else it
    /// cannot know whether it was done.
    fn pass<'a>(&'a self, call: StoreCall, work: BoxFuture<'a, ()>) -> BoxFuture<'a, bool>;
}

/// A gate as it is passed around.
pub type SharedGate = Arc<dyn Gate>;

/// A database behind a gate.
pub(super) struct Gated<B> {
    backend: B,
    gate: SharedGate,
    /// As in the database itself, which nobody waits in: a gate may keep others waiting meanwhile.
    writing: Arc<RwLock<()>>,
}

impl<B: fmt::Debug> fmt::Debug for Gated<B> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_tuple("Gated").field(&self.backend).finish()
    }
}

async fn pass<T: Send>(
    gate: &SharedGate,
    call: StoreCall,
    work: impl Future<Output = Result<T, Error>> + Send,
) -> Result<T, Error> {
    let mut answer = None;
    let done = async { answer = Some(work.await) };
    let is_heard = gate.pass(call, Box::pin(done)).await;
    let unheard = || Error::Database {
        operation: "answer",
        source: "its gate let nothing through".into(),
    };
    answer
        .filter(|_| is_heard)
        .unwrap_or_else(|| Err(unheard()))
}

/// Opens a file behind a gate: [`Sqlite::open`].
pub(crate) async fn open(
    path: &Path,
    readers_count: u32,
    masters: Arc<MasterKeys>,
    gate: SharedGate,
) -> Result<SharedStore, Error> {
    let open = Sqlite::open(path, readers_count, masters);
    let backend = pass(&gate, StoreCall::Open, open).await?;
    Ok(Arc::new(Gated {
        backend,
        gate,
        writing: Arc::default(),
    }))
}

impl<B: Backend> Gated<B> {
    fn pass<'a, T: Send + 'a>(&'a self, call: StoreCall, work: Answer<'a, T>) -> Answer<'a, T> {
        Box::pin(pass(&self.gate, call, work))
    }
}

impl<B: Backend> Backend for Gated<B> {
    const SYSTEM: &'static str = B::SYSTEM;

    const HAS_WORDS_APART: bool = B::HAS_WORDS_APART;

    type Row = B::Row;

    const SEARCH: Dialect = B::SEARCH;

    fn all_words(digests: &[String]) -> String {
        B::all_words(digests)
    }

    fn visit<'a>(
        &'a self,
        operation: &'static str,
        query: Query,
        visitor: Visitor<'a, B::Row>,
    ) -> Answer<'a, ()> {
        let visit = self.backend.visit(operation, query, visitor);
        self.pass(StoreCall::Read, visit)
    }

    fn change_all<'a>(&'a self, operation: &'static str, statements: Vec<Query>) -> Answer<'a, ()> {
        let change = self.backend.change_all(operation, statements);
        self.pass(StoreCall::Change, change)
    }

    fn keys(&self) -> &CustomerKeys {
        self.backend.keys()
    }

    fn keyring(&self, owners: BTreeSet<String>) -> Answer<'_, Keyring> {
        self.pass(StoreCall::Change, self.backend.keyring(owners))
    }

    fn scrub(&self) -> Answer<'_, ()> {
        self.pass(StoreCall::Change, self.backend.scrub())
    }

    fn end(&self) -> Answer<'_, ()> {
        self.backend.end()
    }

    fn write<'a>(&'a self, batch: &'a Batch) -> Answer<'a, ()> {
        Box::pin(async move {
            let _writes = self.writing.read().await;
            let write = self.backend.write(batch);
            self.pass(StoreCall::Archive, write).await
        })
    }
}

impl<B: Backend> Rebuilding for Gated<B> {
    fn rebuild(&self) -> Answer<'_, Rebuild> {
        self.pass(StoreCall::Read, self.backend.rebuild())
    }

    fn rebuild_marks(&self) -> Answer<'_, Vec<EventKey>> {
        self.pass(StoreCall::Read, self.backend.rebuild_marks())
    }

    fn ask_rebuild(&self) -> Answer<'_, u64> {
        self.pass(StoreCall::Change, self.backend.ask_rebuild())
    }

    fn begin_rebuild<'a>(&'a self, from: &'a Rebuild, building: &'a str) -> Answer<'a, ()> {
        let begin = self.backend.begin_rebuild(from, building);
        self.pass(StoreCall::Change, begin)
    }

    fn go_on_rebuild<'a>(
        &'a self,
        from: &'a Rebuild,
        after: Option<&'a EventKey>,
        rows: &'a [Entry],
    ) -> Answer<'a, ()> {
        let go_on = self.backend.go_on_rebuild(from, after, rows);
        self.pass(StoreCall::Change, go_on)
    }

    fn end_rebuild<'a>(&'a self, from: &'a Rebuild) -> Answer<'a, ()> {
        self.pass(StoreCall::Change, self.backend.end_rebuild(from))
    }

    fn hold_writers(&self) -> BoxFuture<'_, OwnedRwLockWriteGuard<()>> {
        Box::pin(self.writing.clone().write_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::super::contract::{self, Fixture};
    use super::super::sqlite::tests::make_in;
    use super::*;

    /// Lets everything through.
    struct Open;

    impl Gate for Open {
        fn pass<'a>(&'a self, _: StoreCall, work: BoxFuture<'a, ()>) -> BoxFuture<'a, bool> {
            Box::pin(async {
                work.await;
                true
            })
        }
    }

    async fn make() -> Fixture {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("archive.sqlite");
        let bare = make_in(folder).await;
        let store = open(&path, 1, crate::fixture::masters(), Arc::new(Open));
        Fixture {
            store: store.await.unwrap(),
            ..bare
        }
    }

    contract::suite!(make);

    /// Answers nothing, and does the work or leaves it.
    struct Silent {
        is_done: bool,
    }

    impl Gate for Silent {
        fn pass<'a>(&'a self, call: StoreCall, work: BoxFuture<'a, ()>) -> BoxFuture<'a, bool> {
            Box::pin(async move {
                if self.is_done || call == StoreCall::Open {
                    work.await;
                }
                call == StoreCall::Open
            })
        }
    }

    #[tokio::test]
    async fn what_is_not_answered_was_done_or_not_and_fails_either_way() {
        for is_done in [false, true] {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("archive.sqlite");
            let masters = crate::fixture::masters();
            let gate = Arc::new(Silent { is_done });
            let silent = open(&path, 1, Arc::clone(&masters), gate).await;
            let asked = silent.unwrap().ask_rebuild().await;
            assert!(matches!(asked, Err(Error::Database { .. })), "{asked:?}");
            let store = Sqlite::open(&path, 1, masters).await.unwrap();
            let state = store.rebuild().await.unwrap();
            assert_eq!(state.ask_count, u64::from(is_done));
        }
    }
}
