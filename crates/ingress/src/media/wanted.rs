//! Which files a stored event asks for. Pure.

use casement_domain::id::{BusinessNumber, MediaId};
use casement_event::v1::{self, message_content::Content};
use casement_event::{Event, Stored, convert, header, id};
use casement_whatsapp::media::{Digest, LINK_LIFE};
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

/// How long before its end a link is no longer relied on.
const LINK_MARGIN: SignedDuration = SignedDuration::from_secs(30);

/// The types of messages that bring a file.
const KINDS: [&str; 5] = ["audio", "document", "image", "sticker", "video"];

/// A file to be fetched.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Wanted {
    pub(crate) id: MediaId,
    pub(crate) media: v1::Media,
    pub(crate) conversation: v1::Conversation,
    pub(crate) times: v1::Times,
    pub(crate) origin: Option<v1::RawOrigin>,
    /// When it came: its life is counted from here.
    pub(crate) received: Timestamp,
    /// The hash that the message said.
    pub(crate) sha256: Option<Digest>,
    /// The link that the message said, and until when it is good.
    pub(crate) link: Option<(String, Timestamp)>,
    /// How often it was tried.
    pub(crate) tries: u32,
    pub(crate) traceparent: Option<String>,
}

/// Returns the file that a customer's fact brings, if it brings one.
pub(crate) fn of_fact(stored: &Stored, event: &Event) -> Option<Wanted> {
    match event {
        Event::InboundMessageReceived(message) => {
            of_message(stored, message, stored.id()?.to_string())
        }
        // Too late to open anything, and a message all the same.
        Event::LateFact(late) => match Event::decode(&late.fact_type, &late.fact).ok()? {
            Event::InboundMessageReceived(mut message) => {
                message.conversation = message.conversation.or(late.conversation.clone());
                message.times = message.times.or(late.times);
                message.origin = message.origin.or(late.origin.clone());
                of_message(stored, &message, late.fact_id.clone())
            }
            _ => None,
        },
        _ => None,
    }
}

fn of_message(
    stored: &Stored,
    message: &v1::InboundMessageReceived,
    fact_id: String,
) -> Option<Wanted> {
    let said = said(message)?;
    let conversation = message.conversation.clone()?;
    let number = BusinessNumber::parse(&conversation.number).ok()?;
    let unique = id::media(&number, &message.provider_message_id, &said.id).as_u128();
    let id = MediaId::new(&number, unique);
    let times = message.times.unwrap_or_default();
    let received = received(stored, &times);
    let link = Some(said.url)
        .filter(|url| !url.is_empty())
        .and_then(|url| {
            let life = SignedDuration::try_from(LINK_LIFE)
                .ok()?
                .checked_sub(LINK_MARGIN)?;
            Some((url, received.checked_add(life).ok()?))
        });
    Some(Wanted {
        media: v1::Media {
            media_id: id.to_string(),
            provider_media_id: said.id,
            fact_id,
            provider_message_id: message.provider_message_id.clone(),
            kind: said.kind,
            mime_type: said.mime_type,
            filename: said.filename,
        },
        id,
        conversation,
        times,
        origin: message.origin.clone(),
        received,
        sha256: Digest::parse(&said.sha256),
        link,
        tries: 0,
        traceparent: stored.header(header::TRACEPARENT).map(str::to_owned),
    })
}

/// Returns a file that was put off.
pub(crate) fn of_deferred(stored: &Stored, deferred: v1::MediaDeferred) -> Option<Wanted> {
    let media = deferred.media?;
    let times = deferred.times.unwrap_or_default();
    Some(Wanted {
        id: MediaId::parse(&media.media_id).ok()?,
        media,
        conversation: deferred.conversation?,
        times,
        origin: deferred.origin,
        received: received(stored, &times),
        sha256: Digest::parse(&deferred.expected_sha256),
        link: None,
        tries: deferred.attempts,
        traceparent: stored.header(header::TRACEPARENT).map(str::to_owned),
    })
}

fn received(stored: &Stored, times: &v1::Times) -> Timestamp {
    convert::instant("received_time", times.received_time.as_ref())
        .ok()
        .flatten()
        .unwrap_or(stored.stored_at)
}

/// What a message says of its file.
#[derive(Debug, Default, PartialEq, Eq)]
struct Said {
    id: String,
    url: String,
    kind: String,
    mime_type: String,
    sha256: String,
    filename: String,
}

fn said(message: &v1::InboundMessageReceived) -> Option<Said> {
    let content = message.content.as_ref().and_then(|of| of.content.as_ref());
    let said = match content {
        Some(Content::Media(media)) => Said {
            id: media.media_id.clone(),
            url: media.url.clone(),
            kind: message.kind.clone(),
            mime_type: media.mime_type.clone(),
            sha256: media.sha256.clone(),
            filename: media.filename.clone(),
        },
        // Stored before contents had types of their own.
        None if KINDS.contains(&message.kind.as_str()) => {
            let object: Value = serde_json::from_str(&message.content_json).ok()?;
            let text = |key: &str| match &object[key] {
                Value::String(text) => text.clone(),
                Value::Number(number) => number.to_string(),
                _ => String::new(),
            };
            Said {
                id: text("id"),
                url: text("url"),
                kind: message.kind.clone(),
                mime_type: text("mime_type"),
                sha256: text("sha256"),
                filename: text("filename"),
            }
        }
        _ => return None,
    };
    Some(said).filter(|said| !said.id.is_empty())
}

#[cfg(test)]
mod tests {
    use casement_event::convert::timestamp;
    use casement_event::{Record, Uuid};

    use super::*;

    fn stored(event: impl Into<Event>) -> (Stored, Event) {
        let event = event.into();
        let at = Timestamp::UNIX_EPOCH;
        let id = Uuid::from_u128(7);
        let record = Record::new(
            "casement.x".to_owned(),
            id,
            "casement/test",
            at,
            event.clone(),
        );
        let headers = record.headers().into_iter();
        let stored = Stored {
            stream: "EVENTS".to_owned(),
            incarnation: String::new(),
            sequence: 1,
            subject: record.subject.clone(),
            stored_at: at,
            headers: headers
                .map(|(name, value)| (name.to_owned(), value))
                .collect(),
            payload: event.encode(),
        };
        (stored, event)
    }

    fn image(content_json: &str) -> v1::InboundMessageReceived {
        v1::InboundMessageReceived {
            conversation: Some(v1::Conversation {
                number: "15550001111".to_owned(),
                ..Default::default()
            }),
            times: Some(v1::Times {
                event_time: None,
                received_time: Some(timestamp(Timestamp::from_second(1_000).unwrap())),
                ..v1::Times::default()
            }),
            provider_message_id: "wamid.1".to_owned(),
            kind: "image".to_owned(),
            content_json: content_json.to_owned(),
            ..Default::default()
        }
    }

    const OBJECT: &str = r#"{"id": 4711, "mime_type": "image/jpeg", "url": "https://x.fbsbx.com/1",
        "sha256": "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE="}"#;

    #[test]
    fn a_message_with_a_file_asks_for_it_and_others_do_not() {
        let (first, event) = stored(image(OBJECT));
        let wanted = of_fact(&first, &event).unwrap();
        assert_eq!(wanted.media.provider_media_id, "4711");
        assert_eq!(wanted.media.fact_id, Uuid::from_u128(7).to_string());
        assert_eq!(wanted.sha256, Some(Digest::new([1; 32])));
        let (url, until) = wanted.link.unwrap();
        assert_eq!(
            (url.as_str(), until.as_second()),
            ("https://x.fbsbx.com/1", 1_270)
        );
        for nothing in [
            image("{}"),
            image("nonsense"),
            v1::InboundMessageReceived {
                kind: "text".to_owned(),
                ..image(OBJECT)
            },
            v1::InboundMessageReceived {
                conversation: None,
                ..image(OBJECT)
            },
        ] {
            let (stored, event) = stored(nothing);
            assert_eq!(of_fact(&stored, &event), None);
        }
    }

    #[test]
    fn a_file_has_the_same_id_however_its_message_came() {
        let (first, event) = stored(image(OBJECT));
        let plain = of_fact(&first, &event).unwrap();
        let typed = v1::InboundMessageReceived {
            content: Some(v1::MessageContent {
                content: Some(Content::Media(v1::MediaContent {
                    media_id: "4711".to_owned(),
                    ..Default::default()
                })),
            }),
            ..image("{}")
        };
        let (second, event) = stored(typed.clone());
        assert_eq!(of_fact(&second, &event).unwrap().id, plain.id);
        let fact = Event::from(typed);
        let late = v1::LateFact {
            fact_type: fact.event_type().to_owned(),
            fact: fact.encode().to_vec(),
            fact_id: "fact".to_owned(),
            ..Default::default()
        };
        let (third, event) = stored(late);
        let late = of_fact(&third, &event).unwrap();
        assert_eq!((late.id, late.media.fact_id.as_str()), (plain.id, "fact"));
    }
}
