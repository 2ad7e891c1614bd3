//! Files that a business uploads to send: what is taken, and for how long it is kept.
//!
//! Written from the platform's page about media and from nothing else in this house. Nobody looks
//! into a file: it is what its part of the form says it is.

use axum::Router;
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::{HeaderMap, Uri, header};
use axum::response::Response;
use axum::routing::post;
use bytes::Bytes;
use jiff::SignedDuration;
use serde_json::json;

use crate::codes::Refusal;
use crate::graph::bearer;
use crate::graph_manage::may_send;
use crate::handle::Handle;
use crate::records::Channel;
use crate::serving;

/// How long an uploaded file is kept (Meta: media).
pub const UPLOAD_LIFE: SignedDuration = SignedDuration::from_hours(30 * 24);

/// The largest form that is read: a document of 100 MB, and what is around it.
const FORM_BYTES_MAX: usize = 101 * 1024 * 1024;

/// A part of a form.
struct Part<'a> {
    headers: &'a str,
    body: &'a [u8],
}

/// Returns the routes of uploads.
pub(crate) fn routes() -> Router<Handle> {
    Router::new()
        .route("/{version}/{id}/media", post(post_media))
        .layer(DefaultBodyLimit::max(FORM_BYTES_MAX))
}

async fn post_media(
    State(handle): State<Handle>,
    Path((_, phone_number_id)): Path<(String, String)>,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let shared = handle.shared();
    let (now, token) = (shared.now(), bearer(&headers));
    let file = read(&headers, &body);
    let answer: Result<String, Refusal> = shared.change(|state| {
        may_send(&state.books, &phone_number_id, token.as_deref(), now)?;
        let (mime_type, bytes) = file?;
        let life = UPLOAD_LIFE;
        Ok(state
            .media
            .keep(&phone_number_id, &mime_type, bytes, now, life))
    });
    let answer = match answer {
        Ok(id) => (200, json!({ "id": id })),
        Err(refusal) => Refusal::as_graph(&refusal),
    };
    let path = uri.path().to_owned();
    serving::respond(shared, Channel::Whatsapp, "POST", path, answer)
}

/// Reads a form: what the file is, and its bytes.
fn read(headers: &HeaderMap, body: &Bytes) -> Result<(String, Bytes), Refusal> {
    let kind = headers
        .get(header::CONTENT_TYPE)
        .and_then(|kind| kind.to_str().ok());
    let boundary = kind
        .and_then(|kind| kind.strip_prefix("multipart/form-data;"))
        .and_then(|rest| rest.trim().strip_prefix("boundary="))
        .ok_or_else(|| Refusal::new(100, "a form is expected"))?;
    let parts = parts(body, boundary.trim_matches('"'));
    let named = |name: &str| {
        let name = format!("name=\"{name}\"");
        parts
            .iter()
            .find(|part| part.headers.contains(&name))
            .ok_or_else(|| Refusal::new(100, format!("the part {name} is required")))
    };
    if named("messaging_product")?.body != b"whatsapp" {
        return Err(Refusal::new(100, "messaging_product must be 'whatsapp'"));
    }
    let file = named("file")?;
    let mime_type = file
        .headers
        .lines()
        .find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case("content-type")
                .then(|| value.trim())
        })
        .unwrap_or_default();
    if let Ok(told) = named("type")
        && told.body != mime_type.as_bytes()
    {
        return Err(Refusal::new(100, "type is another than the file's"));
    }
    let bytes_max = bytes_max(mime_type)
        .ok_or_else(|| Refusal::new(100, "the file is of a type that is not supported"))?;
    if file.body.is_empty() || file.body.len() > bytes_max {
        return Err(Refusal::new(131_053, "the file is empty or too large"));
    }
    Ok((mime_type.to_owned(), body.slice_ref(file.body)))
}

/// Takes a form apart.
fn parts<'a>(body: &'a [u8], boundary: &str) -> Vec<Part<'a>> {
    let mark = format!("--{boundary}");
    let mut found = Vec::new();
    let mut rest = body;
    while let Some(start) = position(rest, mark.as_bytes()) {
        rest = &rest[start + mark.len()..];
        let Some(part) = rest.strip_prefix(b"\r\n") else {
            break;
        };
        let end = position(part, format!("\r\n{mark}").as_bytes()).unwrap_or(part.len());
        let part = &part[..end];
        if let Some(gap) = position(part, b"\r\n\r\n")
            && let Ok(headers) = std::str::from_utf8(&part[..gap])
        {
            let body = &part[gap + 4..];
            found.push(Part { headers, body });
        }
    }
    found
}

fn position(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|it| it == wanted)
}

/// How large a file may be, by what it is (Meta: media, supported types).
fn bytes_max(mime_type: &str) -> Option<usize> {
    let megabytes = |count: usize| Some(count * 1024 * 1024);
    let plain = mime_type.split(';').next().unwrap_or_default();
    match plain {
        "image/jpeg" | "image/png" => megabytes(5),
        "image/webp" => Some(500 * 1024),
        "video/mp4" | "video/3gpp" | "audio/aac" | "audio/amr" | "audio/mp4" | "audio/mpeg"
        | "audio/ogg" => megabytes(16),
        "text/plain" | "text/csv" | "application/pdf" | "application/msword" => megabytes(100),
        office if office.starts_with("application/vnd.") => megabytes(100),
        _ => None,
    }
}

/// Refuses a message that names a file which its number cannot send.
pub(crate) fn check_known(
    media: &crate::media::Shelf,
    phone_number_id: &str,
    ids: &[String],
    now: jiff::Timestamp,
) -> Result<(), Refusal> {
    let unknown = ids
        .iter()
        .find(|id| !media.can_send(id, phone_number_id, now));
    match unknown {
        None => Ok(()),
        Some(_) => Err(Refusal::new(
            131_053,
            "a file is not known, is no longer kept, or is another number's",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form(boundary: &str, fields: &[(&str, &str, &str)]) -> (HeaderMap, Bytes) {
        let parts = fields.iter().map(|(name, extra, value)| {
            format!(
                "--{boundary}\r\nContent-Disposition: form-data; name=\"{name}\"{extra}\r\n\r\n{value}\r\n"
            )
        });
        let body = parts.collect::<String>() + &format!("--{boundary}--\r\n");
        let mut headers = HeaderMap::new();
        let kind = format!("multipart/form-data; boundary={boundary}");
        headers.insert(header::CONTENT_TYPE, kind.parse().unwrap());
        (headers, body.into())
    }

    #[test]
    fn a_form_is_taken_apart_and_what_is_wrong_is_refused() {
        let product = ("messaging_product", "", "whatsapp");
        let jpeg = (
            "file",
            "; filename=\"a\"\r\nContent-Type: image/jpeg",
            "a\r\nb",
        );
        let (headers, body) = form("x", &[product, ("type", "", "image/jpeg"), jpeg]);
        let (mime_type, bytes) = read(&headers, &body).unwrap();
        assert_eq!(mime_type, "image/jpeg");
        assert_eq!(bytes, "a\r\nb");

        let gif = ("file", "; filename=\"a\"\r\nContent-Type: image/gif", "a");
        let empty = ("file", "; filename=\"a\"\r\nContent-Type: image/jpeg", "");
        let large = "x".repeat(5 * 1024 * 1024 + 1);
        let large = (
            "file",
            "; filename=\"a\"\r\nContent-Type: image/png",
            large.as_str(),
        );
        for (fields, code) in [
            (vec![jpeg], 100),
            (vec![product], 100),
            (vec![("messaging_product", "", "sms"), jpeg], 100),
            (vec![product, gif], 100),
            (vec![product, ("type", "", "image/png"), jpeg], 100),
            (vec![product, empty], 131_053),
            (vec![product, large], 131_053),
        ] {
            let (headers, body) = form("x", &fields);
            assert_eq!(read(&headers, &body).unwrap_err().code, code);
        }
        assert_eq!(read(&HeaderMap::new(), &body).unwrap_err().code, 100);
    }
}
