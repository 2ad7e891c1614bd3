//! Answers that are files: the stream of a download as an HTTP body, with what is known of the
//! file in its headers.
//!
//! What a customer sent is handed out as such: never to be shown in place, nor to be guessed at.

use std::io;

use axum::body::Body;
use bytes::Bytes;
use casement_shell::grpc::refuse;
use http::header::{
    CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_SECURITY_POLICY, CONTENT_TYPE,
    ETAG, X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderMap, HeaderValue, Response};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use prost_reflect::{DynamicMessage, Value};
use tokio_util::sync::CancellationToken;
use tonic::codec::Streaming;
use tonic::{Code, Status};

use crate::body::{Flight, stopping as stopping_status};

/// The field of the first message that tells of the file.
const MEDIA: &str = "media";

/// The field of all others that carries its bytes.
const CHUNK: &str = "chunk";

/// What a file's name may hold in a header as it is (RFC 5987).
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// A file whose first message has come.
#[derive(Debug)]
pub(crate) struct File {
    headers: HeaderMap,
    messages: Streaming<DynamicMessage>,
}

impl File {
    /// Waits for the first message.
    pub(crate) async fn begin(mut messages: Streaming<DynamicMessage>) -> Result<Self, Status> {
        let first = messages.message().await?;
        let media = first
            .as_ref()
            .and_then(|first| first.get_field_by_name(MEDIA));
        let Some(Value::Message(media)) = media.as_deref() else {
            return Err(broken());
        };
        Ok(Self {
            headers: headers(media),
            messages,
        })
    }

    /// The answer, which holds the flight until its last byte. A body that breaks off is shorter
    /// than its length says.
    pub(crate) fn into_response(
        self,
        stopping: CancellationToken,
        flight: Flight,
    ) -> Response<Body> {
        let Self { headers, messages } = self;
        let rest = Some((messages, stopping, flight));
        let chunks = futures::stream::unfold(rest, |rest| async {
            let (mut messages, stopping, mut flight) = rest?;
            let next = tokio::select! {
                next = messages.message() => next,
                () = stopping.cancelled() => Err(stopping_status()),
            };
            match next.and_then(|next| next.map(|message| chunk(&message)).transpose()) {
                Ok(Some(chunk)) => Some((Ok(chunk), Some((messages, stopping, flight)))),
                Ok(None) => {
                    flight.set_code(Code::Ok);
                    None
                }
                Err(status) => {
                    flight.set_code(status.code());
                    let error = io::Error::other(status.message().to_owned());
                    Some((Err(error), None))
                }
            }
        });
        let mut response = Response::new(Body::from_stream(chunks));
        *response.headers_mut() = headers;
        response
    }
}

fn chunk(message: &DynamicMessage) -> Result<Bytes, Status> {
    match message.get_field_by_name(CHUNK).as_deref() {
        Some(Value::Bytes(chunk)) => Ok(chunk.clone()),
        _ => Err(broken()),
    }
}

fn headers(media: &DynamicMessage) -> HeaderMap {
    let text = |name: &str| match media.get_field_by_name(name).as_deref() {
        Some(Value::String(text)) => text.clone(),
        _ => String::new(),
    };
    let mut headers = HeaderMap::new();
    let kind = Some(text("mime_type")).filter(|kind| kind.contains('/'));
    let kind = kind.and_then(|kind| HeaderValue::from_str(&kind).ok());
    let unknown = HeaderValue::from_static("application/octet-stream");
    headers.insert(CONTENT_TYPE, kind.unwrap_or(unknown));
    if let Some(Value::U64(length)) = media.get_field_by_name("size_bytes").as_deref() {
        headers.insert(CONTENT_LENGTH, HeaderValue::from(*length));
    }
    if let Ok(tag) = HeaderValue::from_str(&format!("\"{}\"", text("sha256"))) {
        headers.insert(ETAG, tag);
    }
    let name = text("filename");
    let disposition = if name.is_empty() {
        "attachment".to_owned()
    } else {
        let name = utf8_percent_encode(&name, PLAIN);
        format!("attachment; filename*=UTF-8''{name}")
    };
    if let Ok(disposition) = HeaderValue::from_str(&disposition) {
        headers.insert(CONTENT_DISPOSITION, disposition);
    }
    for (name, value) in [
        (CACHE_CONTROL, "no-store"),
        (CONTENT_SECURITY_POLICY, "sandbox"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers
}

fn broken() -> Status {
    refuse(
        Code::Internal,
        "NO_FILE",
        "the role behind the gateway sent no file",
    )
}

#[cfg(test)]
mod tests {
    use casement_proto::media::v1::Media;
    use prost::Message as _;
    use prost_reflect::DescriptorPool;

    use super::*;

    fn headers_of(media: &Media) -> HeaderMap {
        let kind = DescriptorPool::decode(casement_proto::DESCRIPTORS)
            .unwrap()
            .get_message_by_name("casement.media.v1.Media")
            .unwrap();
        headers(&DynamicMessage::decode(kind, media.encode_to_vec().as_slice()).unwrap())
    }

    #[test]
    fn what_a_customer_named_and_said_cannot_leave_its_header() {
        let of = headers_of(&Media {
            mime_type: "audio/ogg; codecs=opus".to_owned(),
            filename: "Rechnung \"März\".pdf\r\nx: y".to_owned(),
            size_bytes: 7,
            sha256: "ab".to_owned(),
            ..Media::default()
        });
        assert_eq!(of[CONTENT_TYPE], "audio/ogg; codecs=opus");
        assert_eq!(of[CONTENT_LENGTH], "7");
        assert_eq!(of[ETAG], "\"ab\"");
        assert_eq!(
            of[CONTENT_DISPOSITION],
            "attachment; filename*=UTF-8''Rechnung%20%22M%C3%A4rz%22.pdf%0D%0Ax%3A%20y"
        );
        assert_eq!(of[X_CONTENT_TYPE_OPTIONS], "nosniff");
        for odd in ["", "nonsense", "text/html\r\nx: y"] {
            let of = headers_of(&Media {
                mime_type: odd.to_owned(),
                ..Media::default()
            });
            assert_eq!(of[CONTENT_TYPE], "application/octet-stream", "{odd:?}");
            assert_eq!(of[CONTENT_DISPOSITION], "attachment");
        }
    }
}
