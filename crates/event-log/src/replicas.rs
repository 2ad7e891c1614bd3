//! More copies of streams that are there, for a broker that has become three.
//!
//! Nothing else about a stream changes, and it goes on working meanwhile. A role may not do this:
//! who may change a stream may also have it forget.

use casement_event::subject::stream;
use serde_json::json;

use crate::Sizes;
use crate::snapshot::{SnapshotError, Snapshots, accepted, refused};
use crate::streams;

/// Whoever may change this one could have it tell the keys that are stored in it: that is for the
/// dispatcher's own user.
pub const KEPT_FROM_OPERATORS: &str = stream::SENSITIVE_KEYS;

/// What became of a stream's copies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Copies {
    /// The stream.
    pub stream: String,
    /// How many there were; `None` if there is no such stream, which a role makes with all of them.
    pub before: Option<u64>,
    /// How many there are to be.
    pub after: u64,
}

impl Snapshots {
    /// Has streams kept as many times as the configuration says: the named ones, or all that the
    /// operator may change, which [`KEPT_FROM_OPERATORS`] is not. One that is kept more often is left
    /// as it is.
    ///
    /// # Errors
    /// The broker has too few servers, or our user may not change a stream.
    pub async fn replicate(&self, only: &[String]) -> Result<Vec<Copies>, SnapshotError> {
        let after = self.replicas() as u64;
        let mut all = Vec::new();
        for wanted in streams::all(&Sizes::default(), self.replicas()) {
            let stream = wanted.name;
            let is_meant = if only.is_empty() {
                stream != KEPT_FROM_OPERATORS
            } else {
                only.contains(&stream)
            };
            if !is_meant {
                continue;
            }
            let before = self.raise(&stream, after).await?;
            let after = before.map_or(after, |before| before.max(after));
            all.push(Copies {
                stream,
                before,
                after,
            });
        }
        Ok(all)
    }

    async fn raise(&self, stream: &str, copies: u64) -> Result<Option<u64>, SnapshotError> {
        let what = format!("to keep stream {stream} {copies} times");
        if self.find(stream).await?.is_none() {
            return Ok(None);
        }
        let subject = format!("$JS.API.STREAM.INFO.{stream}");
        let mut info = accepted(&what, self.ask_raw(&subject, &what, "").await?)?;
        let config = &mut info["config"];
        let Some(before) = config["num_replicas"].as_u64() else {
            return Err(refused(&what, "it does not say how often it keeps it"));
        };
        if before < copies {
            config["num_replicas"] = json!(copies);
            let subject = format!("$JS.API.STREAM.UPDATE.{stream}");
            let question = config.to_string();
            accepted(&what, self.ask_raw(&subject, &what, &question).await?)?;
        }
        Ok(Some(before))
    }
}
