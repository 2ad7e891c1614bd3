//! Bodies that are files: an HTTP body as the stream of an upload, with what is known of the file
//! from path, query and headers in its first message.
//!
//! Bytes pass through as they come. How large a file may be is for the service to say, which is
//! told its size first.

use axum::body::Body;
use bytes::Bytes;
use casement_shell::grpc::bad_field;
use futures::{Stream, StreamExt as _};
use http::HeaderMap;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use prost_reflect::{
    DynamicMessage, FieldDescriptor, Kind, MessageDescriptor, ReflectMessage as _, Value,
};
use tonic::{Code, Status};

/// The field of the first message that tells of the file.
const FILE: &str = "file";

/// The field of all others that carries its bytes.
const CHUNK: &str = "chunk";

/// Largest piece that goes in one message.
const CHUNK_BYTES_MAX: usize = 1024 * 1024;

/// Adds what the headers say of the file to what path and query said.
pub(crate) fn describe(first: &mut DynamicMessage, headers: &HeaderMap) -> Result<(), Status> {
    let header = |name| {
        let value = headers.get(name)?;
        value.to_str().ok()
    };
    let mime_type = header(CONTENT_TYPE).unwrap_or_default().to_owned();
    let size_bytes = header(CONTENT_LENGTH)
        .and_then(|length| length.parse().ok())
        .ok_or_else(|| bad_field("file.size_bytes", "say it as content-length"))?;
    let field = field(&first.descriptor(), FILE)?;
    let Value::Message(file) = first.get_field_mut(&field) else {
        return Err(no_upload());
    };
    for (name, value) in [
        ("mime_type", Value::String(mime_type)),
        ("size_bytes", Value::U64(size_bytes)),
    ] {
        file.try_set_field_by_name(name, value)
            .map_err(|_| no_upload())?;
    }
    Ok(())
}

/// The messages of an upload. A body that breaks off ends it early, which its size tells.
pub(crate) fn messages(
    first: DynamicMessage,
    body: Body,
) -> Result<impl Stream<Item = DynamicMessage> + Send + 'static, Status> {
    let kind = first.descriptor();
    let chunk = field(&kind, CHUNK)?;
    if chunk.kind() != Kind::Bytes {
        return Err(no_upload());
    }
    let part = move |bytes: Bytes| {
        let mut message = DynamicMessage::new(kind.clone());
        message.set_field(&chunk, Value::Bytes(bytes));
        message
    };
    let pieces = body
        .into_data_stream()
        .take_while(|read| std::future::ready(read.is_ok()))
        .filter_map(|read| std::future::ready(read.ok()))
        .flat_map(|bytes| futures::stream::iter(pieces(bytes)));
    Ok(futures::stream::iter([first]).chain(pieces.map(part)))
}

fn pieces(mut bytes: Bytes) -> Vec<Bytes> {
    let mut pieces = Vec::new();
    while bytes.len() > CHUNK_BYTES_MAX {
        pieces.push(bytes.split_to(CHUNK_BYTES_MAX));
    }
    pieces.push(bytes);
    pieces
}

fn field(kind: &MessageDescriptor, name: &str) -> Result<FieldDescriptor, Status> {
    kind.get_field_by_name(name).ok_or_else(no_upload)
}

fn no_upload() -> Status {
    Status::new(Code::Internal, "the call takes no file")
}

#[cfg(test)]
mod tests {
    use casement_proto::message::v1::UploadMediaRequest;
    use casement_proto::message::v1::upload_media_request::Part;
    use prost::Message as _;
    use prost_reflect::DescriptorPool;

    use super::*;

    fn first() -> DynamicMessage {
        let kind = DescriptorPool::decode(casement_proto::DESCRIPTORS)
            .unwrap()
            .get_message_by_name("casement.message.v1.UploadMediaRequest")
            .unwrap();
        DynamicMessage::new(kind)
    }

    fn read(message: &DynamicMessage) -> Part {
        let message = UploadMediaRequest::decode(message.encode_to_vec().as_slice());
        message.unwrap().part.unwrap()
    }

    #[test]
    fn headers_say_what_a_file_is() {
        let mut headers = HeaderMap::new();
        let mut message = first();
        assert!(describe(&mut message, &headers).is_err());
        headers.insert(CONTENT_LENGTH, 7.into());
        headers.insert(CONTENT_TYPE, "image/png".parse().unwrap());
        describe(&mut message, &headers).unwrap();
        let Part::File(file) = read(&message) else {
            panic!("not a file");
        };
        assert_eq!((file.mime_type.as_str(), file.size_bytes), ("image/png", 7));
    }

    #[tokio::test]
    async fn a_body_comes_in_pieces_that_fit() {
        let whole: Vec<u8> = (0..=250).cycle().take(CHUNK_BYTES_MAX + 5).collect();
        let all: Vec<_> = messages(first(), Body::from(whole.clone()))
            .unwrap()
            .collect()
            .await;
        assert_eq!(all.len(), 3);
        let mut bytes = Vec::new();
        for message in &all[1..] {
            let Part::Chunk(chunk) = read(message) else {
                panic!("not bytes");
            };
            assert!(chunk.len() <= CHUNK_BYTES_MAX);
            bytes.extend_from_slice(&chunk);
        }
        assert_eq!(bytes, whole);
    }
}
