//! Group commit of posts: what arrives while the previous write is in flight goes into one log
//! message, since a lone write costs a sync of the disk.
//!
//! A post is answered for only when its pack is on disk; one that has waited for its turn too long
//! leaves the queue, and its memory with it. Nothing is read or understood here.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use casement_event::v1::{RawPack, RawPost};
use casement_event::{Record, Uuid, subject};
use casement_event_log::{AppendError, Expect, Log};
use casement_shell::SharedClock;
use prost::Message as _;
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};
use tokio::task::JoinHandle;

use crate::SOURCE;

/// A pack is closed at this size; a larger post goes alone.
const PACK_BYTES_MAX: usize = 512 * 1024;

/// A pack is closed at this many posts.
const PACK_LEN_MAX: usize = 256;

/// How many posts may wait for the write in flight.
const QUEUE_LEN_MAX: usize = 4_096;

/// How long a post may wait for its place on the log, its turn included: whoever posts is to hear
/// within a second. What is being written then may still come to be stored; the provider posts it
/// again, and what is known changes nothing.
const STORE_WAIT_MAX: Duration = Duration::from_millis(900);

/// Why a post was not stored, as far as we know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum StoreError {
    /// Too many wait already.
    #[error("queue is full")]
    QueueFull,
    /// Its turn did not come in time: it is not stored.
    #[error("its turn did not come")]
    NotBegun,
    /// The log refused it.
    #[error("log refused it")]
    Refused,
    /// No answer in time; it may be stored or not.
    #[error("outcome is unknown")]
    Unknown,
}

struct Waiting {
    post: RawPost,
    answer: oneshot::Sender<Result<(), StoreError>>,
    /// What its memory is counted by.
    held: Option<OwnedSemaphorePermit>,
}

/// A place in the queue. It is empty once the writer has taken the post, or its caller has left.
type Place = Arc<Mutex<Option<Waiting>>>;

fn vacate(place: &Place) -> Option<Waiting> {
    place.lock().unwrap_or_else(PoisonError::into_inner).take()
}

/// A caller's hold of its place, which it leaves however it ends.
struct Seat(Place);

impl Drop for Seat {
    fn drop(&mut self) {
        drop(vacate(&self.0));
    }
}

/// Takes posts of one source. The writer ends once all clones are gone and all is written.
#[derive(Debug, Clone)]
pub(crate) struct Packer {
    queue: mpsc::Sender<Place>,
}

impl Packer {
    /// Starts the writer of a source.
    pub(crate) fn start(
        log: Log,
        source: &'static str,
        clock: SharedClock,
    ) -> (Self, JoinHandle<()>) {
        let (queue, arriving) = mpsc::channel(QUEUE_LEN_MAX);
        let writer = Writer { log, source, clock };
        (Self { queue }, tokio::spawn(writer.run(arriving)))
    }

    /// Returns once the post is on disk, or after [`STORE_WAIT_MAX`]. `held` is what its memory is
    /// counted by; it is given back when the post is needed no more.
    pub(crate) async fn store(
        &self,
        post: RawPost,
        held: Option<OwnedSemaphorePermit>,
    ) -> Result<(), StoreError> {
        let (answer, answered) = oneshot::channel();
        let waiting = Waiting { post, answer, held };
        let seat = Seat(Arc::new(Mutex::new(Some(waiting))));
        self.queue
            .try_send(Arc::clone(&seat.0))
            .map_err(|_| StoreError::QueueFull)?;
        match tokio::time::timeout(STORE_WAIT_MAX, answered).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(StoreError::Unknown),
            Err(_) => match vacate(&seat.0) {
                Some(_) => Err(StoreError::NotBegun),
                None => Err(StoreError::Unknown),
            },
        }
    }
}

struct Writer {
    log: Log,
    source: &'static str,
    clock: SharedClock,
}

impl Writer {
    async fn run(self, mut arriving: mpsc::Receiver<Place>) {
        let mut held = None;
        loop {
            let first = match held.take() {
                Some(first) => first,
                None => match arriving.recv().await {
                    // Whoever left was told so, and will post again.
                    Some(place) => match vacate(&place) {
                        Some(first) => first,
                        None => continue,
                    },
                    None => return,
                },
            };
            let (pack, left_over) = gather(first, || {
                loop {
                    let place = arriving.try_recv().ok()?;
                    if let Some(next) = vacate(&place) {
                        return Some(next);
                    }
                }
            });
            held = left_over;
            self.write(pack).await;
        }
    }

    async fn write(&self, pack: Vec<Waiting>) {
        let (posts, callers): (Vec<_>, Vec<_>) = pack
            .into_iter()
            // One that waited outside of the queue may have been left meanwhile.
            .filter(|waiting| !waiting.answer.is_closed())
            .map(|waiting| (waiting.post, (waiting.answer, waiting.held)))
            .unzip();
        let Some(first) = posts.first() else { return };
        let traceparent = Some(first.traceparent.clone()).filter(|parent| !parent.is_empty());
        let len = u32::try_from(posts.len()).unwrap_or(u32::MAX);
        let record = Record::new(
            subject::raw(self.source),
            Uuid::new_v4(),
            SOURCE,
            self.clock.now(),
            RawPack { posts },
        )
        .caused_by(traceparent);
        let result = match self.log.append(record, Expect::Anything).await {
            Ok(_) => Ok(()),
            Err(error) => {
                tracing::warn!(source = self.source, posts = len, error = %error, "posts not stored");
                Err(match error {
                    AppendError::Unknown { .. } => StoreError::Unknown,
                    AppendError::Conflict { .. }
                    | AppendError::Refused { .. }
                    | AppendError::TooLarge { .. } => StoreError::Refused,
                })
            }
        };
        metrics::histogram!("casement_ingress_pack_posts", "source" => self.source)
            .record(f64::from(len));
        for (answer, held) in callers {
            drop(held);
            // Whoever gave up meanwhile needs no answer.
            let _ = answer.send(result);
        }
    }
}

/// Takes what waits until the pack is full; returns the post that did not fit, too.
fn gather(
    first: Waiting,
    mut next: impl FnMut() -> Option<Waiting>,
) -> (Vec<Waiting>, Option<Waiting>) {
    let mut bytes = first.post.encoded_len();
    let mut pack = vec![first];
    while pack.len() < PACK_LEN_MAX && bytes < PACK_BYTES_MAX {
        let Some(waiting) = next() else { break };
        let more = waiting.post.encoded_len();
        if bytes + more > PACK_BYTES_MAX {
            return (pack, Some(waiting));
        }
        bytes += more;
        pack.push(waiting);
    }
    (pack, None)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waiting(bytes: usize) -> Waiting {
        let post = RawPost {
            body: vec![b'x'; bytes].into(),
            ..RawPost::default()
        };
        Waiting {
            post,
            answer: oneshot::channel().0,
            held: None,
        }
    }

    fn packs(sizes: &[usize]) -> Vec<Vec<usize>> {
        let mut queue = sizes.iter().copied().map(waiting);
        let mut packs = Vec::new();
        let mut held = queue.next();
        while let Some(first) = held {
            let (pack, left_over) = gather(first, || queue.next());
            packs.push(pack.iter().map(|one| one.post.body.len()).collect());
            held = left_over.or_else(|| queue.next());
        }
        packs
    }

    #[test]
    fn a_pack_is_closed_at_its_size_and_a_larger_post_goes_alone() {
        let kib = 1024;
        assert_eq!(packs(&[10, 20, 30]), [vec![10, 20, 30]]);
        assert_eq!(
            packs(&[300 * kib, 100 * kib, 200 * kib, 1]),
            [vec![300 * kib, 100 * kib], vec![200 * kib, 1]]
        );
        assert_eq!(
            packs(&[1, 3000 * kib, 1]),
            [vec![1], vec![3000 * kib], vec![1]]
        );
    }

    #[test]
    fn a_pack_is_closed_at_its_count_and_loses_nobody() {
        let sizes = [1; 2 * PACK_LEN_MAX + 3];
        let lens: Vec<_> = packs(&sizes).iter().map(Vec::len).collect();
        assert_eq!(lens, [PACK_LEN_MAX, PACK_LEN_MAX, 3]);
    }
}
