//! Twilio's form bodies.

use casement_sms::twilio::callback::{Callback, parse};

/// Any bytes are a callback or an error, the same each time; what is a callback has an id, and is
/// the same callback when its form is written anew.
///
/// # Panics
/// When that does not hold.
pub fn twilio_form(input: &[u8]) {
    let Ok(callback) = parse(input) else {
        return;
    };
    let sid = match &callback {
        Callback::Status(status) => &status.sid,
        Callback::Inbound(sms) => &sms.sid,
    };
    assert!(!sid.is_empty(), "a callback without an id");
    let pairs: Vec<(String, String)> =
        serde_urlencoded::from_bytes(input).expect("a callback is a form");
    let written = serde_urlencoded::to_string(&pairs).expect("pairs make a form");
    assert_eq!(
        Some(callback),
        parse(written.as_bytes()).ok(),
        "written anew it is another callback"
    );
}
