//! An append on its way: what it expects of the log, its headers, whether somebody waits for it, and
//! the lanes whose order it depends on.

use async_nats::HeaderMap;
use bytes::Bytes;
use casement_domain::turns::Priority;
use casement_event::{Extension, Record, Uuid, header, new_traceparent};
use casement_shell::telemetry;
use tracing::Span;

use crate::wire::nats_header;

/// Where providers' reports stand.
const REPORTS: &str = "casement.events.report.";

/// What must be true of the log for an append to be stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expect {
    /// Nothing. The broker still drops a repeat of the same append.
    Anything,
    /// The newest message that matches the filter has this sequence; 0 for none at all.
    Last {
        /// A subject, or a wildcard over subjects of the same stream.
        filter: String,
        /// The sequence.
        sequence: u64,
    },
}

impl Expect {
    /// Expects the newest message on a subject, or a wildcard over several, to be this one.
    pub fn last(filter: impl Into<String>, sequence: u64) -> Self {
        Self::Last {
            filter: filter.into(),
            sequence,
        }
    }

    /// Expects that nothing stands on a subject.
    pub fn empty(subject: impl Into<String>) -> Self {
        Self::last(subject, 0)
    }
}

/// An append on its way, made once so that each repeat is the same bytes.
#[derive(Debug, Clone)]
pub(crate) struct Prepared {
    pub(crate) stream: &'static str,
    pub(crate) subject: String,
    pub(crate) expect: Expect,
    pub(crate) append_id: String,
    pub(crate) headers: HeaderMap,
    pub(crate) payload: Bytes,
    pub(crate) urgency: Urgency,
}

/// Whether somebody waits for an append.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Urgency {
    Urgent,
    /// Nobody does: it is of a campaign, or a provider's report, which comes when it comes.
    Patient,
}

impl Urgency {
    fn of(record: &Record) -> Self {
        let bulk = (Extension::Priority, Priority::Bulk.as_str());
        let mut extensions = record.extensions.iter();
        let is_bulk = extensions.any(|(name, value)| (*name, value.as_str()) == bulk);
        let is_report = record.subject.starts_with(REPORTS);
        if is_bulk || is_report {
            Self::Patient
        } else {
            Self::Urgent
        }
    }
}

impl Prepared {
    /// What comes of the append belongs under `span`, if it is of a trace.
    pub(super) fn new(stream: &'static str, record: &Record, expect: Expect, span: &Span) -> Self {
        let append_id = Uuid::new_v4().simple().to_string();
        let mut headers = HeaderMap::new();
        for (name, value) in record.headers() {
            headers.insert(name, value.as_str());
        }
        let own = telemetry::traceparent_of(span);
        if own.is_some() || record.traceparent.is_none() {
            let traceparent = own.unwrap_or_else(new_traceparent);
            headers.insert(header::TRACEPARENT, traceparent.as_str());
        }
        headers.insert(header::APPEND_ID, append_id.as_str());
        headers.insert(nats_header::MESSAGE_ID, append_id.as_str());
        if let Expect::Last { filter, sequence } = &expect {
            headers.insert(
                nats_header::EXPECTED_SEQUENCE,
                sequence.to_string().as_str(),
            );
            if *filter != record.subject {
                headers.insert(nats_header::EXPECTED_SUBJECT, filter.as_str());
            }
        }
        Self {
            stream,
            subject: record.subject.clone(),
            expect,
            append_id,
            headers,
            payload: record.event.encode(),
            urgency: Urgency::of(record),
        }
    }

    /// The lanes whose order this append depends on: its own subject's, and that of what it
    /// expects. In most cases they are one.
    pub(crate) fn lanes(&self) -> impl Iterator<Item = &str> {
        let own = lane(&self.subject);
        let expected = match &self.expect {
            Expect::Anything => None,
            Expect::Last { filter, .. } => Some(lane(filter)).filter(|expected| *expected != own),
        };
        std::iter::once(own).chain(expected)
    }
}

/// Returns what a subject has in common with each filter that expectations name it by: all
/// families of one conversation share a lane, and so do all records of one kind of account.
fn lane(subject: &str) -> &str {
    if let Some(rest) = subject.strip_prefix("casement.events.") {
        return rest.split_once('.').map_or(rest, |(_, lane)| lane);
    }
    if let Some(rest) = subject.strip_prefix("casement.accounts.")
        && !rest.starts_with("reported.")
    {
        return rest.split_once('.').map_or(rest, |(kind, _)| kind);
    }
    subject
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subject_and_the_filters_that_expect_it_share_a_lane() {
        let table = [
            (
                "casement.events.*.03.1.c",
                "casement.events.inbound.03.1.c",
                true,
            ),
            (
                "casement.events.window.03.1.c",
                "casement.events.inbound.03.1.c",
                true,
            ),
            (
                "casement.events.inbound.03.1.d",
                "casement.events.inbound.03.1.c",
                false,
            ),
            (
                "casement.accounts.number.*",
                "casement.accounts.number.1",
                true,
            ),
            (
                "casement.accounts.brand.1",
                "casement.accounts.number.1",
                false,
            ),
            (
                "casement.accounts.reported.parked.1",
                "casement.accounts.reported.parked.2",
                false,
            ),
            ("casement.raw.whatsapp", "casement.raw.twilio", false),
        ];
        for (one, other, share) in table {
            assert_eq!(lane(one) == lane(other), share, "{one} {other}");
        }
    }
}
