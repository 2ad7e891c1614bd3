//! Files that customers sent, handed out to be kept: never shown in place, nor guessed at.

use axum::Router;
use axum::body::Body;
use axum::extract::Path;
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use bytes::Bytes;
use casement_proto::media::v1::download_media_response::Part;
use casement_proto::media::v1::{DownloadMediaRequest, DownloadMediaResponse, Media};
use http::HeaderValue;
use http::header::{CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_TYPE};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use tonic::{Status, Streaming};

use super::Shared;
use super::page::Failure;
use super::session::Session;

/// What a file's name may hold in a header as it is (RFC 5987).
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

pub(super) fn routes() -> Router<Shared> {
    Router::new().route("/media/{media_id}", get(download))
}

async fn download(session: Session, Path(media_id): Path<String>) -> Result<Response, Failure> {
    let request = DownloadMediaRequest { media_id };
    let answer = session.api().media().download_media(request).await?;
    let mut parts = answer.into_inner();
    let first = parts.message().await?.and_then(|first| first.part);
    let Some(Part::Media(media)) = first else {
        return Err(Status::internal("the file came without what is known of it").into());
    };
    let mut response = Body::from_stream(chunks(parts)).into_response();
    let headers = response.headers_mut();
    headers.insert(
        CONTENT_TYPE,
        HeaderValue::from_static("application/octet-stream"),
    );
    headers.insert(CONTENT_LENGTH, HeaderValue::from(media.size_bytes));
    headers.insert(CONTENT_DISPOSITION, disposition(&media));
    Ok(response)
}

fn chunks(
    parts: Streaming<DownloadMediaResponse>,
) -> impl futures::Stream<Item = Result<Bytes, Status>> {
    futures::stream::unfold(Some(parts), async |parts| {
        let mut parts = parts?;
        match parts.message().await {
            Ok(Some(DownloadMediaResponse {
                part: Some(Part::Chunk(chunk)),
            })) => Some((Ok(chunk), Some(parts))),
            Ok(Some(_)) => Some((Ok(Bytes::new()), Some(parts))),
            Ok(None) => None,
            Err(status) => Some((Err(status), None)),
        }
    })
}

fn disposition(media: &Media) -> HeaderValue {
    let name = match media.filename.as_str() {
        "" => media.kind.as_str(),
        name => name,
    };
    let name = utf8_percent_encode(name, PLAIN);
    HeaderValue::try_from(format!("attachment; filename*=UTF-8''{name}"))
        .unwrap_or(HeaderValue::from_static("attachment"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_files_name_cannot_say_more_than_a_name() {
        for (name, said) in [
            ("bill.pdf", "attachment; filename*=UTF-8''bill.pdf"),
            (
                "a\"; x=\r\n.pdf",
                "attachment; filename*=UTF-8''a%22%3B%20x%3D%0D%0A.pdf",
            ),
            ("", "attachment; filename*=UTF-8''image"),
        ] {
            let media = Media {
                filename: name.to_owned(),
                kind: "image".to_owned(),
                ..Media::default()
            };
            assert_eq!(disposition(&media).to_str().unwrap(), said);
        }
    }
}
