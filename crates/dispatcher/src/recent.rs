//! What was in hand lately, kept so that it need not be read again: messages, and what stands on
//! the log about conversations.
//!
//! Nothing here is taken for the present. A message from here carries what it was when it was last
//! in hand, and whoever appends to it says so; before anything is concluded without an append, what
//! was stored since is read. A conversation from here is used if the stream's leader says that
//! nothing newer stands there. So what is lost, out of date, or another process's does no harm.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use casement_domain::id::{CustomerId, MessageId, PortfolioId};
use casement_event_log::Log;
use casement_event_log::conversation::{self, Key, Present, PresentError};
use casement_event_log::directory::Directory;
use hashlink::LruCache;
use prost::Message as _;

use crate::aggregate::{self, LoadError, Loaded};

/// How many messages are kept.
const MESSAGES_MAX: usize = 16_384;

/// How long a request may be for its message to be kept. Longer ones are rare, and read again.
const REQUEST_BYTES_MAX: usize = 8 * 1024;

/// How many conversations are kept, some hundred bytes each.
const CONVERSATIONS_MAX: usize = 16_384;

/// What was in hand lately.
pub(crate) struct Recent {
    messages: Mutex<LruCache<MessageId, Arc<Loaded>>>,
    conversations: Mutex<LruCache<Key, Present>>,
}

impl Default for Recent {
    fn default() -> Self {
        Self {
            messages: Mutex::new(LruCache::new(MESSAGES_MAX)),
            conversations: Mutex::new(LruCache::new(CONVERSATIONS_MAX)),
        }
    }
}

impl Recent {
    /// Keeps a message, unless a later state of it is kept.
    pub(crate) fn keep(&self, loaded: &Loaded) {
        if loaded.request.encoded_len() > REQUEST_BYTES_MAX {
            return;
        }
        let mut messages = lock(&self.messages);
        let known = messages.get(&loaded.context.id);
        if known.is_none_or(|known| known.sequence < loaded.sequence) {
            messages.insert(loaded.context.id.clone(), Arc::new(loaded.clone()));
        }
    }

    /// Returns whether a message was in hand since an event of it was stored.
    pub(crate) fn is_at(&self, id: &MessageId, sequence: u64) -> bool {
        let messages = lock(&self.messages);
        let known = messages.peek(id);
        known.is_some_and(|known| known.sequence >= sequence)
    }

    /// Returns a message as it was when it was last in hand, or as it is now if nobody knows;
    /// `None` if there is none. [`Loaded::is_proven`] says which.
    pub(crate) async fn load(
        &self,
        log: &Log,
        id: &MessageId,
    ) -> Result<Option<Loaded>, LoadError> {
        let known = lock(&self.messages).get(id).cloned();
        if let Some(known) = known {
            let mut known = Loaded::clone(&known);
            known.is_proven = false;
            return Ok(Some(known));
        }
        aggregate::load(log, id).await
    }

    /// Forgets what is kept of customers.
    pub(crate) fn forget(&self, customers: &[CustomerId]) {
        lock(&self.messages)
            .retain(|_, known| !customers.contains(&known.context.conversation.customer));
        lock(&self.conversations).retain(|key, _| !customers.contains(&key.customer));
    }

    /// Reads what stands on the log about a conversation, as [`conversation::follow`] does.
    pub(crate) async fn follow(
        &self,
        log: &Log,
        directory: &Directory,
        portfolio: &PortfolioId,
        key: &Key,
    ) -> Result<(Present, Vec<CustomerId>), PresentError> {
        let known = lock(&self.conversations).get(key).cloned();
        let (present, ids) =
            conversation::follow_from(log, directory, portfolio, key, known).await?;
        // What somebody else carries on is put together from several, and seldom asked for.
        if ids.len() == 1 && present.is_heard && !present.is_torn {
            lock(&self.conversations).insert(key.clone(), present.clone());
        }
        Ok((present, ids))
    }
}

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}
