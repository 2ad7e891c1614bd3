//! Files that customers send: an id that lives days, links that live minutes, and the bytes.
//!
//! Where Meta's pages say how long something lives, it is that long by the simulator's clock. What
//! a business uploads comes in by `uploads` and is kept here, too.

use std::collections::HashMap;
use std::collections::VecDeque;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures::StreamExt as _;
use jiff::{SignedDuration, Timestamp};
use rand::Rng as _;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use crate::ads::Device;
use crate::assets::MESSAGING;
use crate::codes::Refusal;
use crate::error::Error;
use crate::faults::Fault;
use crate::graph::bearer;
use crate::graph_manage::allowed;
use crate::handle::Handle;
use crate::records::{Channel, CustomerId, InboundContent, InboundSpec, InboundVia};
use crate::serving;

/// How many files are kept; the oldest goes first.
pub const MEDIA_KEPT_MAX: usize = 1_000;

/// Largest file that a customer can send (Meta: media, supported types).
pub const MEDIA_BYTES_MAX: usize = 100 * 1024 * 1024;

/// How long a link is good (Meta: media, retrieve media URL).
pub const LINK_LIFE: SignedDuration = SignedDuration::from_mins(5);

/// How long the id of a customer's file is good (Meta: media).
pub const MEDIA_LIFE: SignedDuration = SignedDuration::from_hours(7 * 24);

/// Where files are served; the path of Meta's own links.
const LINKS: &str = "/whatsapp_business/attachments";

/// A file that a customer sends.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct MediaSpec {
    /// Who: an id, phone or BSUID from the books.
    pub customer: CustomerId,
    /// Towards which number.
    pub phone_number_id: String,
    /// `image`, `video`, `audio`, `document` or `sticker`.
    pub kind: String,
    /// What it says it is.
    pub mime_type: String,
    /// The bytes, base64; random ones without.
    #[serde(default)]
    pub base64: Option<String>,
    /// How many random bytes.
    #[serde(default)]
    pub size_bytes: usize,
    /// The customer's name for it; documents.
    #[serde(default)]
    pub filename: Option<String>,
    /// What is written below it.
    #[serde(default)]
    pub caption: Option<String>,
    /// Whether the webhook says a link, too.
    #[serde(default = "yes")]
    pub with_link: bool,
}

fn yes() -> bool {
    true
}

impl MediaSpec {
    /// Returns an image with these bytes.
    pub fn image(customer: &CustomerId, phone_number_id: &str, bytes: &[u8]) -> Self {
        Self {
            customer: customer.clone(),
            phone_number_id: phone_number_id.to_owned(),
            kind: "image".to_owned(),
            mime_type: "image/jpeg".to_owned(),
            base64: Some(STANDARD.encode(bytes)),
            size_bytes: 0,
            filename: None,
            caption: None,
            with_link: true,
        }
    }

    fn bytes(&self) -> Result<Bytes, Error> {
        let Some(text) = &self.base64 else {
            if self.size_bytes > MEDIA_BYTES_MAX {
                return Err(Error::InvalidMedia("it is larger than the platform takes"));
            }
            let mut bytes = vec![0; self.size_bytes];
            rand::rng().fill(bytes.as_mut_slice());
            return Ok(bytes.into());
        };
        STANDARD
            .decode(text)
            .map(Bytes::from)
            .map_err(|_| Error::InvalidMedia("the bytes are not base64"))
    }
}

/// What was sent: by it the file is found.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct SentMedia {
    /// The message's id.
    pub wamid: String,
    /// The file's id.
    pub media_id: String,
    /// SHA-256 of the file, hexadecimal.
    pub sha256: String,
}

/// A file on the shelf.
#[derive(Debug)]
struct Kept {
    phone_number_id: String,
    mime_type: String,
    bytes: Bytes,
    at: Timestamp,
    life: SignedDuration,
}

/// The files, and the links that lead to them.
#[derive(Debug, Default)]
pub(crate) struct Shelf {
    files: HashMap<String, Kept>,
    /// Ids, oldest first.
    order: VecDeque<String>,
    links: HashMap<String, (String, Timestamp)>,
}

impl Shelf {
    fn put(&mut self, file: Kept) -> String {
        if self.order.len() >= MEDIA_KEPT_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.files.remove(&oldest);
            self.links.retain(|_, (media_id, _)| *media_id != oldest);
        }
        let id = (Uuid::new_v4().as_u128() % 10_u128.pow(16)).to_string();
        self.files.insert(id.clone(), file);
        self.order.push_back(id.clone());
        id
    }

    /// Keeps a file that a business uploaded, and returns its id.
    pub(crate) fn keep(
        &mut self,
        phone_number_id: &str,
        mime_type: &str,
        bytes: Bytes,
        at: Timestamp,
        life: SignedDuration,
    ) -> String {
        self.put(Kept {
            phone_number_id: phone_number_id.to_owned(),
            mime_type: mime_type.to_owned(),
            bytes,
            at,
            life,
        })
    }

    /// Whether a number may send a file.
    pub(crate) fn can_send(&self, media_id: &str, phone_number_id: &str, now: Timestamp) -> bool {
        let kept = self.living(media_id, now);
        kept.is_some_and(|kept| kept.phone_number_id == phone_number_id)
    }

    fn link(&mut self, base_url: &str, media_id: &str, now: Timestamp) -> String {
        self.links.retain(|_, (_, until)| *until > now);
        let link = Uuid::new_v4().simple().to_string();
        let until = now.saturating_add(LINK_LIFE).unwrap_or(Timestamp::MAX);
        self.links
            .insert(link.clone(), (media_id.to_owned(), until));
        format!("{base_url}{LINKS}/{link}")
    }

    fn living(&self, media_id: &str, now: Timestamp) -> Option<&Kept> {
        let lives = |kept: &&Kept| now.duration_since(kept.at) < kept.life;
        self.files.get(media_id).filter(lives)
    }
}

impl Handle {
    /// Lets a customer send a file now.
    pub fn sends_media(&self, spec: &MediaSpec) -> Result<SentMedia, Error> {
        let bytes = spec.bytes()?;
        let hash = Sha256::digest(&bytes);
        let now = self.shared().now();
        let base_url = self.shared().base_url.get().filter(|_| spec.with_link);
        let (media_id, url) = self.shared().change(|state| {
            let media_id = state.media.put(Kept {
                phone_number_id: spec.phone_number_id.clone(),
                mime_type: spec.mime_type.clone(),
                bytes,
                at: now,
                life: MEDIA_LIFE,
            });
            let url = base_url.map(|base_url| state.media.link(base_url, &media_id, now));
            (media_id, url)
        });
        let mut object = json!({
            "id": media_id,
            "mime_type": spec.mime_type,
            "sha256": STANDARD.encode(hash),
        });
        let texts = [
            ("url", &url),
            ("filename", &spec.filename),
            ("caption", &spec.caption),
        ];
        for (key, text) in texts {
            if let Some(text) = text {
                object[key] = json!(text);
            }
        }
        let wamid = self.inbound(&InboundSpec {
            customer: spec.customer.clone(),
            phone_number_id: spec.phone_number_id.clone(),
            content: InboundContent::Other {
                kind: spec.kind.clone(),
                object,
            },
            at: None,
            via: InboundVia::Messages,
            reply_to: None,
            referral: None,
            device: Device::default(),
        })?;
        Ok(SentMedia {
            wamid,
            media_id,
            sha256: hex::encode(hash),
        })
    }
}

/// Returns the routes of the files themselves.
pub(crate) fn routes() -> Router<Handle> {
    Router::new().route(&format!("{LINKS}/{{link}}"), get(get_file))
}

/// Where a file is, if the id is a file's.
pub(crate) fn node(
    handle: &Handle,
    media_id: &str,
    phone_number_id: Option<&str>,
    headers: &HeaderMap,
) -> Option<(u16, Value)> {
    let shared = handle.shared();
    let (now, token) = (shared.now(), bearer(headers));
    // As whoever asks knows this place.
    let host = headers
        .get(header::HOST)
        .and_then(|host| host.to_str().ok());
    let base_url = format!("http://{}", host.unwrap_or("localhost"));
    shared.change(|state| {
        let owner = state.media.files.get(media_id)?.phone_number_id.clone();
        let found = state
            .faults
            .take(Channel::Whatsapp, |fault| match fault {
                Fault::RefuseMediaId { code } => Some(*code),
                _ => None,
            })
            .map_or(Ok(()), |code| {
                Err(Refusal::new(code, "refused by a fault of the simulator"))
            })
            .and_then(|()| allowed(&state.books, &owner, token.as_deref(), MESSAGING, now))
            .and_then(|()| {
                let is_asked_for = phone_number_id.is_none_or(|asked| asked == owner);
                state
                    .media
                    .living(media_id, now)
                    .filter(|_| is_asked_for)
                    .map(|kept| (kept.mime_type.clone(), kept.bytes.clone()))
                    .ok_or_else(|| {
                        let told = format!("object with ID '{media_id}' does not exist");
                        Refusal::new(100, told).subcode(33)
                    })
            });
        Some(match found {
            Ok((mime_type, bytes)) => {
                let body = json!({
                    "messaging_product": "whatsapp",
                    "url": state.media.link(&base_url, media_id, now),
                    "mime_type": mime_type,
                    "sha256": hex::encode(Sha256::digest(&bytes)),
                    "file_size": bytes.len(),
                    "id": media_id,
                });
                (200, body)
            }
            Err(refusal) => refusal.as_graph(),
        })
    })
}

/// What is served under a link.
enum Served {
    Refused(u16),
    File {
        mime_type: String,
        bytes: Bytes,
        stalls: bool,
    },
}

async fn get_file(
    State(handle): State<Handle>,
    Path(link): Path<String>,
    headers: HeaderMap,
) -> Response {
    let shared = handle.shared();
    let (now, token) = (shared.now(), bearer(&headers));
    let served = shared.change(|state| {
        let refused = state.faults.take(Channel::Whatsapp, |fault| match fault {
            Fault::RefuseMedia { status } => Some(*status),
            _ => None,
        });
        if let Some(status) = refused {
            return Served::Refused(status);
        }
        let links = &state.media.links;
        let living = links.get(&link).filter(|(_, until)| *until > now);
        let Some(kept) = living.and_then(|(id, _)| state.media.living(id, now)) else {
            return Served::Refused(404);
        };
        let owner = &kept.phone_number_id;
        if allowed(&state.books, owner, token.as_deref(), MESSAGING, now).is_err() {
            return Served::Refused(401);
        }
        let (mime_type, mut bytes) = (kept.mime_type.clone(), kept.bytes.clone());
        let faults = &mut state.faults;
        let is = |wanted: Fault| move |fault: &Fault| (*fault == wanted).then_some(());
        if faults
            .take(Channel::Whatsapp, is(Fault::CorruptMedia))
            .is_some()
        {
            bytes = bytes.iter().map(|byte| !byte).collect();
        }
        Served::File {
            mime_type,
            bytes,
            stalls: faults
                .take(Channel::Whatsapp, is(Fault::StallMedia))
                .is_some(),
        }
    });
    let status = match &served {
        Served::Refused(status) => *status,
        Served::File { .. } => 200,
    };
    serving::note(shared, Channel::Whatsapp, "GET", LINKS.to_owned(), status);
    match served {
        Served::Refused(status) => StatusCode::from_u16(status)
            .unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
            .into_response(),
        Served::File {
            mime_type,
            bytes,
            stalls,
        } => {
            let length = bytes.len();
            let body = if stalls {
                let first =
                    futures::stream::iter([Ok::<_, std::io::Error>(bytes.slice(..length / 2))]);
                let cancel = shared.cancel.clone();
                let rest = futures::stream::once(async move {
                    cancel.cancelled().await;
                    Err(std::io::Error::other("the simulator stops"))
                });
                Body::from_stream(first.chain(rest))
            } else {
                Body::from(bytes)
            };
            let headers = [
                (header::CONTENT_TYPE, mime_type),
                (header::CONTENT_LENGTH, length.to_string()),
            ];
            (headers, body).into_response()
        }
    }
}
