//! The platforms' error codes: what they are called and which HTTP status they come with.
//!
//! A table and the shape of a refusal; it decides nothing.

use serde_json::{Value, json};

/// Why a platform refuses a call.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Refusal {
    /// The platform's code.
    pub(crate) code: i64,
    /// Meta's `error_subcode`.
    pub(crate) subcode: Option<i64>,
    /// What exactly was wrong.
    pub(crate) details: String,
}

impl Refusal {
    /// Returns a refusal with this code.
    pub(crate) fn new(code: i64, details: impl Into<String>) -> Self {
        Self {
            code,
            subcode: None,
            details: details.into(),
        }
    }

    /// Adds a subcode.
    pub(crate) fn subcode(mut self, subcode: i64) -> Self {
        self.subcode = Some(subcode);
        self
    }

    /// Returns the HTTP status and body of the Graph API's answer.
    pub(crate) fn as_graph(&self) -> (u16, Value) {
        let title = graph_title(self.code);
        let mut error = json!({
            "message": format!("(#{}) {title}", self.code),
            "type": "OAuthException",
            "code": self.code,
            "error_data": {
                "messaging_product": "whatsapp",
                "details": self.details,
            },
            "fbtrace_id": "Asimulated",
        });
        if let Some(subcode) = self.subcode {
            error["error_subcode"] = json!(subcode);
        }
        (graph_http_status(self.code), json!({ "error": error }))
    }

    /// Returns the HTTP status and body of Twilio's answer.
    pub(crate) fn as_twilio(&self) -> (u16, Value) {
        let status = twilio_http_status(self.code);
        let body = json!({
            "code": self.code,
            "message": self.details,
            "more_info": format!("https://www.twilio.com/docs/errors/{}", self.code),
            "status": status,
        });
        (status, body)
    }
}

/// Returns the HTTP status a Graph code comes with (Meta: Cloud API error codes).
pub(crate) fn graph_http_status(code: i64) -> u16 {
    match code {
        0 | 190 => 401,
        10 | 200..=299 | 368 | 130_497 | 131_005 | 131_031 => 403,
        132_001 => 404,
        3 | 131_000 | 131_016 | 131_045 | 131_057 | 134_102 => 500,
        2 | 133_004 => 503,
        _ => 400,
    }
}

/// Returns what a Graph code is called, in short.
pub(crate) fn graph_title(code: i64) -> &'static str {
    match code {
        0 => "AuthException",
        1 => "API unknown",
        2 => "API service",
        4 => "API too many calls",
        10 | 200..=299 => "Permission denied",
        100 => "Invalid parameter",
        101 => "Error validating application",
        190 => "Access token has expired",
        368 => "Temporarily blocked for policies violations",
        2500 => "Unknown path components",
        80_007 => "Rate limit issues",
        130_429 => "Rate limit hit",
        130_472 => "User's number is part of an experiment",
        131_000 => "Something went wrong",
        131_005 => "Access denied",
        131_008 => "Required parameter is missing",
        33 | 131_009 => "Parameter value is not valid",
        131_016 => "Service unavailable",
        131_026 => "Message undeliverable",
        131_030 => "Recipient phone number not in allowed list",
        131_031 => "Account has been locked",
        131_042 => "Business eligibility payment issue",
        131_047 => "Re-engagement message",
        131_048 => "Spam rate limit hit",
        131_049 => "Message not delivered to maintain ecosystem engagement",
        131_050 => "User has stopped marketing messages",
        131_051 => "Unsupported message type",
        131_056 => "Pair rate limit hit",
        131_057 => "Account in maintenance mode",
        131_062 => "Message type not available for this recipient",
        132_000 => "Template param count mismatch",
        132_001 => "Template does not exist",
        132_005 => "Template hydrated text too long",
        132_012 => "Template parameter format mismatch",
        132_015 => "Template is paused",
        132_016 => "Template is disabled",
        133_005 => "Two step verification PIN mismatch",
        133_006 => "Phone number re-verification needed",
        133_008 => "Too many two step verification PIN guesses",
        133_009 => "Two step verification PIN guessed too fast",
        133_010 => "Phone number not registered",
        133_015 => "Please wait a few minutes before attempting to register this phone number",
        133_016 => "Account register deregister rate limit exceeded",
        136_024 | 136_025 => "Verification code failure",
        2_388_012 => "Phone number already exists in your account",
        2_388_091 => "Phone number not eligible for registration code",
        2_388_093 => "Phone number not eligible for verification",
        2_388_103 => "Phone number migration failed",
        _ => "Error",
    }
}

fn twilio_http_status(code: i64) -> u16 {
    match code {
        20_003 => 401,
        20_404 => 404,
        20_429 => 429,
        20_500 => 500,
        20_503 => 503,
        _ => 400,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_come_with_the_http_status_that_meta_documents() {
        for (code, status) in [
            (190, 401),
            (10, 403),
            (132_001, 404),
            (131_047, 400),
            (131_056, 400),
            (131_000, 500),
            (2, 503),
        ] {
            assert_eq!(graph_http_status(code), status, "{code}");
        }
    }

    #[test]
    fn a_graph_error_names_its_code_twice_and_its_details_once() {
        let (status, body) = Refusal::new(131_047, "too late").subcode(7).as_graph();
        assert_eq!(status, 400);
        assert_eq!(body["error"]["code"], 131_047);
        assert_eq!(body["error"]["error_subcode"], 7);
        assert_eq!(body["error"]["message"], "(#131047) Re-engagement message");
        assert_eq!(body["error"]["error_data"]["details"], "too late");
    }
}
