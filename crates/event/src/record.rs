//! A record before and after it is stored: headers, and the event they announce.
//!
//! Headers are CloudEvents 1.0 in binary mode, so that a plain subscriber can read and filter
//! without the payload. None of them carries a phone number, a name or a user id of Meta's.

use bytes::Bytes;
use jiff::Timestamp;
use uuid::Uuid;

use crate::event::{DecodeError, Event};

/// Header names, as they stand on the wire.
pub mod header {
    /// CloudEvents version, always 1.0.
    pub const SPEC_VERSION: &str = "ce-specversion";
    /// Deterministic id of the fact; subscribers deduplicate by it.
    pub const ID: &str = "ce-id";
    /// Full protobuf name of the payload.
    pub const TYPE: &str = "ce-type";
    /// The role that wrote it.
    pub const SOURCE: &str = "ce-source";
    /// When the fact happened.
    pub const TIME: &str = "ce-time";
    /// What the event is about: a customer or a message id.
    pub const SUBJECT: &str = "ce-subject";
    /// Media type of the payload.
    pub const CONTENT_TYPE: &str = "content-type";
    /// W3C trace context.
    pub const TRACEPARENT: &str = "traceparent";
    /// Random per decision; tells our append from another's with the same `ce-id`.
    pub const APPEND_ID: &str = "casement-append-id";
}

/// CloudEvents extensions of Casement's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Extension {
    /// Digits of the business number.
    Number,
    /// The brand.
    Brand,
    /// The customer.
    Customer,
    /// The window.
    WindowId,
    /// State of the aggregate after the event.
    State,
    /// When the window ends.
    ExpireTime,
    /// Since when the customer waits for an answer.
    WaitingSince,
    /// When the aggregate next needs attention, if nothing else happens.
    Deadline,
    /// The message's own reference, as its caller gave it.
    ClientReference,
    /// When the message was requested: its place in the order of its conversation.
    RequestTime,
    /// How urgent the message is.
    Priority,
    /// When the customer was last written to first by this message, outside their window.
    InitiateTime,
    /// When the message counts against its brand's quota, if not when it was requested.
    QuotaTime,
}

impl Extension {
    /// Returns the header that carries it.
    pub const fn header(self) -> &'static str {
        match self {
            Self::Number => "ce-number",
            Self::Brand => "ce-brand",
            Self::Customer => "ce-customer",
            Self::WindowId => "ce-windowid",
            Self::State => "ce-state",
            Self::ExpireTime => "ce-expiretime",
            Self::WaitingSince => "ce-waitingsince",
            Self::Deadline => "ce-deadline",
            Self::ClientReference => "ce-clientreference",
            Self::RequestTime => "ce-requesttime",
            Self::Priority => "ce-priority",
            Self::InitiateTime => "ce-initiatetime",
            Self::QuotaTime => "ce-quotatime",
        }
    }
}

/// An event on its way to the log.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// Where it is stored.
    pub subject: String,
    /// Deterministic id of the fact.
    pub id: Uuid,
    /// The role that writes it, such as `casement/ingress`.
    pub source: &'static str,
    /// When the fact happened.
    pub time: Timestamp,
    /// What it is about.
    pub about: Option<String>,
    /// Extensions in the order they are written.
    pub extensions: Vec<(Extension, String)>,
    /// W3C trace context of what caused it.
    pub traceparent: Option<String>,
    /// The event.
    pub event: Event,
}

impl Record {
    /// Makes a record with no extensions.
    pub fn new(
        subject: String,
        id: Uuid,
        source: &'static str,
        time: Timestamp,
        event: impl Into<Event>,
    ) -> Self {
        Self {
            subject,
            id,
            source,
            time,
            about: None,
            extensions: Vec::new(),
            traceparent: None,
            event: event.into(),
        }
    }

    /// Says what the event is about.
    #[must_use]
    pub fn about(mut self, about: impl Into<String>) -> Self {
        self.about = Some(about.into());
        self
    }

    /// Adds an extension; an empty value is left out.
    #[must_use]
    pub fn with(mut self, extension: Extension, value: impl Into<String>) -> Self {
        let value = value.into();
        if !value.is_empty() {
            self.extensions.push((extension, value));
        }
        self
    }

    /// Adds the time at which the aggregate next needs attention.
    #[must_use]
    pub fn with_deadline(self, deadline: Option<Timestamp>) -> Self {
        let text = deadline.map(|at| at.to_string()).unwrap_or_default();
        self.with(Extension::Deadline, text)
    }

    /// Adds the trace context of what caused it.
    #[must_use]
    pub fn caused_by(mut self, traceparent: Option<String>) -> Self {
        self.traceparent = traceparent;
        self
    }

    /// Returns all headers but those of the append itself.
    pub fn headers(&self) -> Vec<(&'static str, String)> {
        let mut headers = vec![
            (header::SPEC_VERSION, "1.0".to_owned()),
            (header::ID, self.id.to_string()),
            (header::TYPE, self.event.event_type().to_owned()),
            (header::SOURCE, self.source.to_owned()),
            (header::TIME, self.time.to_string()),
            (header::CONTENT_TYPE, "application/protobuf".to_owned()),
        ];
        headers.extend(self.about.clone().map(|about| (header::SUBJECT, about)));
        headers.extend(
            self.extensions
                .iter()
                .map(|(name, value)| (name.header(), value.clone())),
        );
        headers.extend(
            self.traceparent
                .clone()
                .map(|parent| (header::TRACEPARENT, parent)),
        );
        headers
    }
}

/// Returns a W3C trace context of its own, for what belongs to no trace yet.
pub fn new_traceparent() -> String {
    let span = Uuid::new_v4().simple().to_string();
    format!("00-{}-{}-01", Uuid::new_v4().simple(), &span[..16])
}

/// An event as the log stores it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// The stream that holds it.
    pub stream: String,
    /// Which life of that stream: a restored or recreated one has another.
    pub incarnation: String,
    /// Its place in the stream.
    pub sequence: u64,
    /// Its subject.
    pub subject: String,
    /// When the broker stored it.
    pub stored_at: Timestamp,
    /// All headers, sorted by name: the client does not keep their order on the wire.
    pub headers: Vec<(String, String)>,
    /// The payload.
    pub payload: Bytes,
}

impl Stored {
    /// Returns a header's value.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(key, _)| key.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    /// Returns an extension's value.
    pub fn extension(&self, extension: Extension) -> Option<&str> {
        self.header(extension.header())
    }

    /// Returns the type of the event; empty if the message is not one of ours.
    pub fn event_type(&self) -> &str {
        self.header(header::TYPE).unwrap_or_default()
    }

    /// Returns the id of the fact.
    pub fn id(&self) -> Option<Uuid> {
        self.header(header::ID)
            .and_then(|text| Uuid::parse_str(text).ok())
    }

    /// Returns when the fact happened.
    pub fn time(&self) -> Option<Timestamp> {
        self.header(header::TIME).and_then(|text| text.parse().ok())
    }

    /// Returns when the aggregate next needs attention.
    pub fn deadline(&self) -> Option<Timestamp> {
        self.extension(Extension::Deadline)
            .and_then(|text| text.parse().ok())
    }

    /// Reads the event.
    pub fn event(&self) -> Result<Event, DecodeError> {
        Event::decode(self.event_type(), &self.payload)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_announces_itself_in_cloudevents_headers() {
        let event = casement_proto::events::v1::MessageCancelled::default();
        let record = Record::new(
            "casement.x".to_owned(),
            Uuid::nil(),
            "casement/test",
            Timestamp::UNIX_EPOCH,
            event,
        )
        .about("c1")
        .with(Extension::Brand, "default")
        .with(Extension::WindowId, "")
        .with_deadline(Some(Timestamp::UNIX_EPOCH));
        let headers = record.headers();
        let value = |name| {
            headers
                .iter()
                .find(|(key, _)| *key == name)
                .map(|(_, value)| value.as_str())
        };
        assert_eq!(
            value("ce-type"),
            Some("casement.events.v1.MessageCancelled")
        );
        assert_eq!(value("ce-brand"), Some("default"));
        assert_eq!(value("ce-deadline"), Some("1970-01-01T00:00:00Z"));
        assert_eq!(value("ce-windowid"), None, "an empty extension is left out");
    }
}
