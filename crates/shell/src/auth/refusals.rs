//! Calls that were refused since they may not be made, counted by kind until somebody puts them on
//! record.
//!
//! It is bounded: whoever tries without end fills a row and no more. It records nothing itself.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use tonic::{Code, Status};

use super::{ALL_BRANDS, Caller};
use crate::grpc::reason;

/// Most kinds that are told apart until they are taken.
pub const REFUSAL_KINDS_MAX: usize = 64;

/// The reason of what is not told apart any more.
pub const MORE_KINDS: &str = "MORE_KINDS";

/// The longest name of a method that is kept, in bytes; those of our own are shorter.
const METHOD_LEN_MAX: usize = 128;

/// The header that says how many calls a gateway refused, on one that it has refused as well.
pub const REFUSED_HEADER: &str = "casement-refused";

/// Most refusals that one header may tell.
const HANDED_ON_MAX: u64 = 1_000_000;

/// Where somebody tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Entrance {
    /// gRPC or HTTP+JSON.
    Api,
    /// The sign-in of the console.
    Console,
}

impl Entrance {
    /// As it stands in the record.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Api => "api",
            Self::Console => "console",
        }
    }
}

/// What is told apart.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Kind {
    /// Where it was tried.
    pub entrance: Entrance,
    /// Name of the token; empty if it was none that is good.
    pub caller: String,
    /// The brand it acts for; empty for all, and for none.
    pub brand: String,
    /// Full name of what was called, without the first slash; empty without a good token.
    pub method: String,
    /// Why, in a stable word.
    pub reason: String,
}

/// How often, and when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tally {
    /// How many calls.
    pub count: u64,
    /// When the first was refused.
    pub first_time: Timestamp,
    /// When the last was.
    pub last_time: Timestamp,
}

impl Tally {
    fn and(self, other: Self) -> Self {
        Self {
            count: self.count.saturating_add(other.count),
            first_time: self.first_time.min(other.first_time),
            last_time: self.last_time.max(other.last_time),
        }
    }
}

/// Counts refusals. Clones are one.
#[derive(Debug, Clone, Default)]
pub struct Refusals {
    kept: Arc<Mutex<BTreeMap<Kind, Tally>>>,
}

impl Refusals {
    /// Counts refusals of a kind.
    pub fn add(&self, kind: Kind, tally: Tally) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let kind = if kept.len() < REFUSAL_KINDS_MAX || kept.contains_key(&kind) {
            kind
        } else {
            Kind {
                entrance: kind.entrance,
                caller: String::new(),
                brand: String::new(),
                method: String::new(),
                reason: MORE_KINDS.to_owned(),
            }
        };
        let whole = kept.get(&kind).map_or(tally, |known| known.and(tally));
        kept.insert(kind, whole);
    }

    /// Counts a call of somebody known, if the answer says that they may not make it.
    pub fn note(&self, caller: &Caller, path: &str, status: &Status, now: Timestamp) {
        if status.code() != Code::PermissionDenied {
            return;
        }
        let path = path.trim_start_matches('/');
        let end = path.floor_char_boundary(METHOD_LEN_MAX);
        let brand = if caller.brand == ALL_BRANDS {
            ""
        } else {
            &caller.brand
        };
        let kind = Kind {
            entrance: Entrance::Api,
            caller: caller.name.clone(),
            brand: brand.to_owned(),
            method: path.get(..end).unwrap_or_default().to_owned(),
            reason: reason(status).unwrap_or_else(|| "PERMISSION_DENIED".to_owned()),
        };
        self.add(kind, once(now));
    }

    /// [`Refusals::note`] for an answer on the wire: one that was refused has its status in the
    /// headers.
    pub fn note_answer(
        &self,
        caller: &Caller,
        path: &str,
        headers: &http::HeaderMap,
        now: Timestamp,
    ) {
        if let Some(status) = Status::from_header_map(headers) {
            self.note(caller, path, &status, now);
        }
    }

    /// Counts calls without a good token.
    pub(super) fn nobody(&self, entrance: Entrance, reason: &str, count: u64, now: Timestamp) {
        let kind = Kind {
            entrance,
            caller: String::new(),
            brand: String::new(),
            method: String::new(),
            reason: reason.to_owned(),
        };
        let tally = Tally { count, ..once(now) };
        self.add(kind, tally);
    }

    /// Takes what was counted. What cannot be recorded then is to be [added](Self::add) again.
    pub fn take(&self) -> Vec<(Kind, Tally)> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *kept).into_iter().collect()
    }
}

fn once(now: Timestamp) -> Tally {
    Tally {
        count: 1,
        first_time: now,
        last_time: now,
    }
}

/// Reads how many calls a gateway refused: entrance, reason, count. Whoever can send it can be
/// refused as often themselves, so it is taken from anybody who has no token.
pub(super) fn handed_on(headers: &http::HeaderMap) -> Option<(Entrance, &str, u64)> {
    let mut words = headers.get(REFUSED_HEADER)?.to_str().ok()?.split(' ');
    let (entrance, reason, count) = (words.next()?, words.next()?, words.next()?);
    let entrance = [Entrance::Api, Entrance::Console]
        .into_iter()
        .find(|known| known.as_str() == entrance)?;
    let is_known = super::tokens::REASONS.contains(&reason);
    let reason = is_known.then_some(reason)?;
    let count = count.parse::<u64>().ok()?.clamp(1, HANDED_ON_MAX);
    Some((entrance, reason, count))
}

/// What a gateway says of refusals that it hands on.
pub fn handing_on(kind: &Kind, tally: &Tally) -> String {
    let (entrance, reason) = (kind.entrance.as_str(), kind.reason.as_str());
    format!("{entrance} {reason} {}", tally.count)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::Scope;
    use crate::grpc::refuse;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).expect("a time")
    }

    fn shop() -> Caller {
        Caller {
            name: "shop".to_owned(),
            brand: "acme".to_owned(),
            scopes: [Scope::Read].into(),
        }
    }

    #[test]
    fn calls_of_a_kind_are_one_row_with_their_count_and_times() {
        let refusals = Refusals::default();
        let denied = refuse(Code::PermissionDenied, "MISSING_SCOPE", "no");
        for second in [7, 5, 9] {
            refusals.note(&shop(), "/a.B/C", &denied, at(second));
        }
        // Everything else that goes wrong is no refusal of this kind.
        refusals.note(&shop(), "/a.B/C", &refuse(Code::NotFound, "X", "no"), at(1));
        let taken = refusals.take();
        let [(kind, tally)] = taken.as_slice() else {
            panic!("{taken:?}");
        };
        assert_eq!(
            (
                kind.caller.as_str(),
                kind.brand.as_str(),
                kind.method.as_str()
            ),
            ("shop", "acme", "a.B/C")
        );
        assert_eq!(kind.reason, "MISSING_SCOPE");
        let expected = Tally {
            count: 3,
            first_time: at(5),
            last_time: at(9),
        };
        assert_eq!(*tally, expected);
        assert!(refusals.take().is_empty());
    }

    #[test]
    fn whoever_tries_everything_fills_a_bounded_number_of_rows_and_every_call_counts() {
        let refusals = Refusals::default();
        let denied = refuse(Code::PermissionDenied, "MISSING_SCOPE", "no");
        for method in 0..1_000 {
            refusals.note(&shop(), &format!("/a.B/{method}"), &denied, at(1));
        }
        let taken = refusals.take();
        assert_eq!(taken.len(), REFUSAL_KINDS_MAX + 1);
        assert_eq!(
            taken.iter().map(|(_, tally)| tally.count).sum::<u64>(),
            1_000
        );
        let more = taken.iter().find(|(kind, _)| kind.reason == MORE_KINDS);
        assert_eq!(more.expect("a row for the rest").1.count, 936);
    }

    #[test]
    fn what_a_gateway_hands_on_is_read_as_it_was_written_and_nothing_else_is() {
        let kind = Kind {
            entrance: Entrance::Console,
            caller: String::new(),
            brand: String::new(),
            method: String::new(),
            reason: "TOKEN_UNKNOWN".to_owned(),
        };
        let tally = Tally {
            count: 17,
            ..once(at(1))
        };
        let read = |text: &str| {
            let mut headers = http::HeaderMap::new();
            headers.insert(REFUSED_HEADER, text.parse().expect("visible"));
            handed_on(&headers)
                .map(|(entrance, reason, count)| (entrance, reason.to_owned(), count))
        };
        let told = (Entrance::Console, "TOKEN_UNKNOWN".to_owned(), 17);
        assert_eq!(read(&handing_on(&kind, &tally)), Some(told));
        assert_eq!(
            read("api TOKEN_MISSING 99999999999999").map(|told| told.2),
            Some(HANDED_ON_MAX)
        );
        for odd in [
            "",
            "api",
            "api TOKEN_MISSING",
            "x TOKEN_MISSING 1",
            "api MINE 1",
            "api TOKEN_MISSING -1",
        ] {
            assert_eq!(read(odd), None, "{odd}");
        }
    }
}
