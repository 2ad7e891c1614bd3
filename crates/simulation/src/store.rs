//! The archive's database on virtual time: a file, whose threads the runtime would not wait for.
//!
//! A call is done on the spot, as if it took no time: the thread of the run waits until the database
//! has answered, and so nobody else gets a turn and no timer fires meanwhile. Timers and tasks that
//! belong to the call run aside, on a runtime of real time. What befalls a call, and how long it
//! takes, is decided before and after it.

use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};

use casement_audit_projector::{Gate, StoreCall};
use casement_event_log::memory::Fate;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteRow};
use sqlx::{AssertSqlSafe, Connection as _, FromRow};
use tokio::runtime::Handle;
use tokio::task::coop::unconstrained;

use crate::life::{Doing, Life};
use crate::plan::Planted;

/// At which transaction that archives an error is planted, of all that any process wrote.
const PLANTED_AT: u64 = 6;

/// A database file. Clones are one file.
#[derive(Debug, Clone)]
pub(crate) struct Database {
    pub(crate) path: PathBuf,
    aside: Handle,
    planted: Planted,
    archived: Arc<AtomicU64>,
}

impl Database {
    pub(crate) fn at(path: &Path, aside: &Handle, planted: Planted) -> Self {
        Self {
            path: path.to_owned(),
            aside: aside.clone(),
            planted,
            archived: Arc::default(),
        }
    }

    /// What stands before it for a process.
    pub(crate) fn door(&self, life: &Life) -> Door {
        Door {
            database: self.clone(),
            life: life.clone(),
        }
    }

    /// Reads rows, past all doors.
    pub(crate) async fn read<T>(&self, sql: &'static str) -> Vec<T>
    where
        T: for<'r> FromRow<'r, SqliteRow> + Send + Unpin,
    {
        let read = async {
            let mut connection = self.connect().await?;
            let rows = sqlx::query_as(AssertSqlSafe(sql)).fetch_all(&mut connection);
            let rows = rows.await?;
            connection.close().await?;
            Ok::<_, sqlx::Error>(rows)
        };
        let rows = self.on_the_spot(read).await;
        rows.expect("a database without faults")
    }

    /// Does work that waits for real threads.
    pub(crate) async fn on_the_spot<T: Send>(&self, work: impl Future<Output = T> + Send) -> T {
        let mut answer = None;
        let done = async { answer = Some(work.await) };
        OnTheSpot::new(done.boxed(), &self.aside).await;
        answer.expect("it was waited for")
    }

    async fn connect(&self) -> Result<SqliteConnection, sqlx::Error> {
        let options = SqliteConnectOptions::new().filename(&self.path);
        SqliteConnection::connect_with(&options.foreign_keys(false)).await
    }

    /// Makes the database wrong, if that is due.
    async fn plant(&self) {
        let nth = self.archived.fetch_add(1, Ordering::Relaxed);
        let sql = match self.planted {
            _ if nth != PLANTED_AT => return,
            Planted::LostRows => {
                "DELETE FROM archive WHERE rowid = (SELECT MAX(rowid) FROM archive)"
            }
            Planted::SkippedEvents => {
                "UPDATE archive_heads SET last_sequence = last_sequence + 1 \
                 WHERE stream IN ('EVENTS', 'MESSAGES')"
            }
            Planted::LostConversations => "DELETE FROM conversations",
            _ => return,
        };
        let change = async {
            let mut connection = self.connect().await?;
            sqlx::query(sql).execute(&mut connection).await?;
            connection.close().await
        };
        let changed = self.on_the_spot(change).await;
        changed.expect("a database without faults");
    }
}

/// What stands before the database for one process.
pub(crate) struct Door {
    database: Database,
    life: Life,
}

impl Gate for Door {
    fn pass<'a>(&'a self, call: StoreCall, work: BoxFuture<'a, ()>) -> BoxFuture<'a, bool> {
        async move {
            let fate = self.life.meet(Doing::Store(call)).await;
            if fate == Fate::Lost {
                return false;
            }
            OnTheSpot::new(work, &self.database.aside).await;
            if call == StoreCall::Archive {
                self.database.plant().await;
            }
            self.life.come_back();
            fate != Fate::Unanswered
        }
        .boxed()
    }
}

/// Work that is done when it was asked for once.
struct OnTheSpot<'a> {
    // Of nobody's turn: a task that has had its share would be kept waiting for ever.
    work: BoxFuture<'a, ()>,
    aside: Handle,
}

impl<'a> OnTheSpot<'a> {
    fn new(work: BoxFuture<'a, ()>, aside: &Handle) -> Self {
        Self {
            work: unconstrained(work).boxed(),
            aside: aside.clone(),
        }
    }
}

impl Future for OnTheSpot<'_> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        let aside = self.aside.clone();
        let _aside = aside.enter();
        let waker = Waker::from(Arc::new(Woken(thread::current())));
        let mut context = Context::from_waker(&waker);
        while self.work.as_mut().poll(&mut context).is_pending() {
            thread::park();
        }
        Poll::Ready(())
    }
}

/// Wakes a thread.
struct Woken(Thread);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}
