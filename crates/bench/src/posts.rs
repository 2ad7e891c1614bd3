//! Webhook posts as Meta sends them, signed and written out as HTTP requests ahead of the run.

use std::net::SocketAddr;

use bytes::Bytes;
use casement_whatsapp::signature;
use jiff::Timestamp;
use secrecy::SecretString;
use serde_json::{Value, json};

/// The secret that everything is signed with.
pub(crate) const SECRET: &str = "bench-app-secret";

/// The business number, and Meta's id of it.
pub(crate) const NUMBER: (&str, &str) = ("15550001111", "111");

/// What each message id begins with; nine digits follow, its running number.
const WAMID: &str = "wamid.HBgLMTY1MDM4Nzk0MzkVAgASGBQzQTRBNjU5OUFFRTAz";

/// Returns the running number of a message by its id.
pub(crate) fn running(wamid: &str) -> Option<usize> {
    wamid.strip_prefix(WAMID)?.parse().ok()
}

/// Posts, ready to be sent.
pub(crate) struct Posts {
    /// Whole requests, head and body.
    pub(crate) requests: Vec<Bytes>,
    /// Their bodies.
    pub(crate) bodies: Vec<Bytes>,
}

/// What posts are to be like.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Kind {
    /// The running number of the first message: no two may have the same one in one run.
    pub(crate) first: usize,
    /// How many posts differ; a longer run sends them again.
    pub(crate) count: usize,
    /// Updates in each.
    pub(crate) updates: usize,
    /// How many customers wrote them.
    pub(crate) customers: usize,
}

impl Posts {
    pub(crate) fn new(kind: Kind, address: SocketAddr, start: Timestamp) -> Self {
        let secret = SecretString::from(SECRET);
        let mut requests = Vec::with_capacity(kind.count);
        let mut bodies = Vec::with_capacity(kind.count);
        for index in 0..kind.count {
            let body = body(kind, index, start);
            let signature = signature::sign(body.as_bytes(), &secret);
            let head = format!(
                "POST /webhooks/whatsapp HTTP/1.1\r\nhost: {address}\r\nuser-agent: facebookexternalua\r\n\
                 accept: */*\r\ncontent-type: application/json\r\n{}: {signature}\r\n\
                 content-length: {}\r\n\r\n",
                signature::HEADER,
                body.len()
            );
            requests.push(Bytes::from([head.as_bytes(), body.as_bytes()].concat()));
            bodies.push(Bytes::from(body));
        }
        Self { requests, bodies }
    }
}

/// One post with so many text messages, each of another customer as long as there are enough.
fn body(kind: Kind, index: usize, start: Timestamp) -> String {
    let changes: Vec<Value> = (0..kind.updates)
        .map(|update| {
            message(
                kind.first + index * kind.updates + update,
                kind.customers,
                start,
            )
        })
        .collect();
    json!({"object": "whatsapp_business_account",
        "entry": [{"id": "102290129340398", "changes": changes}]})
    .to_string()
}

fn message(running: usize, customers: usize, start: Timestamp) -> Value {
    let customer = running % customers;
    let round = running / customers;
    let (digits, id) = NUMBER;
    let phone = format!("1650{customer:07}");
    let second = start
        .as_second()
        .saturating_add(i64::try_from(round).unwrap_or_default());
    json!({"field": "messages", "value": {
        "messaging_product": "whatsapp",
        "metadata": {"display_phone_number": digits, "phone_number_id": id},
        "contacts": [{"profile": {"name": "Kerry Fisher"}, "wa_id": phone}],
        "messages": [{
            "from": phone,
            "id": format!("{WAMID}{running:09}"),
            "timestamp": second.to_string(),
            "type": "text",
            "text": {"body": "Hi, is the blue one still there in size 42? I would come by on Friday."},
        }],
    }})
}
