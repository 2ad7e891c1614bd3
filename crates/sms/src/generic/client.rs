//! The call to such a gateway: a request by its template, an answer read by JSON pointers.
//!
//! It posts once, classifies the answer and follows nothing up. If the gateway knows an idempotency
//! header, the attempt's reference goes there, too; a repeat is the caller's decision all the same.

use std::time::Duration;

use casement_shell::http::answer;
use reqwest::header::{HeaderName, HeaderValue};
use reqwest::{Method, StatusCode, Url};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;

use super::template::{Body, Text};
use crate::errors::{ABSENT, Action, ErrorRule, NO_CODE, RETRY, RETRY_ONCE, of_answer};
use crate::exchange::exchange;
use crate::outcome::{
    Accepted, DEFAULT_TIMEOUT, Outcome, Rejected, RequestError, check_phone, check_text, integer,
};
use crate::segment::{Encoding, segment};

/// How a gateway is called, and how its answers are read.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// `POST`, mostly.
    pub method: Method,
    /// Where. Scheme and host have no places.
    pub url: Text,
    /// What.
    pub body: Body,
    /// The header in which the gateway wants what tells repeats apart.
    pub idempotency_header: Option<HeaderName>,
    /// The longest text, in characters.
    pub text_chars_max: usize,
    /// Where the gateway's id of the message stands; `None` if it gives none.
    pub id: Option<String>,
    /// What a good answer says besides its status; `None` if the status says it all.
    pub success: Option<Success>,
    /// Where the error's code stands; empty for nowhere.
    pub error_code: String,
    /// Where the error's text stands; empty for nowhere.
    pub error_text: String,
    /// Statuses that refuse for now: nothing was taken, and later it may be.
    pub retry_statuses: Vec<u16>,
    /// Statuses that refuse; empty for each 4xx but 408. Whatever neither refuses nor is a 2xx
    /// leaves it open whether the message was taken.
    pub refuse_statuses: Vec<u16>,
    /// What the gateway's codes mean.
    pub codes: Codes,
}

/// Where an answer says that the message was taken, and in which words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Success {
    /// Where it stands.
    pub at: String,
    /// What stands there if so.
    pub is: Vec<String>,
}

/// What a gateway's codes mean, in answers and in statuses alike. One that is nowhere says that
/// this gateway cannot, and another may.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Codes {
    /// It may work later.
    pub retry: Vec<i64>,
    /// It may work once more.
    pub retry_once: Vec<i64>,
    /// The handset cannot be reached, for now or for good.
    pub absent: Vec<i64>,
    /// No SMS reaches this phone.
    pub unreachable: Vec<i64>,
    /// The customer has stopped SMS.
    pub opt_out: Vec<i64>,
    /// No gateway would take it.
    pub fail: Vec<i64>,
    /// An operator has to see to the account.
    pub halt: Vec<i64>,
}

/// An SMS to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SmsRequest {
    /// The customer's phone, E.164 with `+`.
    pub to: String,
    /// From whom.
    pub from: String,
    /// The text.
    pub text: String,
    /// What the gateway is to tell again with every status.
    pub reference: String,
    /// Where the gateway posts statuses, if it wants to be told.
    pub callback_url: String,
}

/// Sends SMS through such a gateway.
#[derive(Debug, Clone)]
pub struct Client {
    http: reqwest::Client,
    timeout: Duration,
}

impl Codes {
    /// Returns the rule for a code of this gateway.
    pub fn lookup(&self, code: i64) -> ErrorRule {
        let rows: [(&[i64], Action, &'static str); 7] = [
            (&self.retry, RETRY, "gateway cannot for now"),
            (&self.retry_once, RETRY_ONCE, "delivery failed for now"),
            (&self.absent, ABSENT, "handset is unreachable"),
            (
                &self.unreachable,
                Action::Unreachable,
                "no SMS reaches this phone",
            ),
            (
                &self.opt_out,
                Action::OptOut,
                "recipient has opted out with STOP",
            ),
            (&self.fail, Action::Fail, "message is refused for good"),
            (&self.halt, Action::Halt, "account may not send"),
        ];
        let found = rows.into_iter().find(|(codes, ..)| codes.contains(&code));
        let (action, meaning) = found.map_or(
            (Action::NextGateway, "code unknown to us"),
            |(_, action, meaning)| (action, meaning),
        );
        ErrorRule {
            code,
            meaning,
            action,
            known: found.is_some(),
        }
    }
}

impl SmsRequest {
    /// Returns the first field that breaks a limit, if one does.
    pub fn check(&self, plan: &Plan) -> Result<(), RequestError> {
        check_phone(&self.to)?;
        if self.from.trim().is_empty() {
            return Err(RequestError {
                field: "from",
                reason: "must not be empty".to_owned(),
            });
        }
        check_text("text", &self.text, plan.text_chars_max)
    }

    fn fill(&self, place: &str) -> String {
        let measured = || segment(&self.text);
        match place {
            "to" => self.to.clone(),
            "to_digits" => self.to.trim_start_matches('+').to_owned(),
            "from" => self.from.clone(),
            "from_digits" => self.from.trim_start_matches('+').to_owned(),
            "text" => self.text.clone(),
            "reference" => self.reference.clone(),
            "callback_url" => self.callback_url.clone(),
            "segments" => measured().segments.to_string(),
            "encoding" => match measured().encoding {
                Encoding::Gsm7 => "gsm7".to_owned(),
                Encoding::Ucs2 => "ucs2".to_owned(),
            },
            // Templates with other places are not read.
            _ => String::new(),
        }
    }
}

impl Client {
    /// Returns a client over an HTTP client, with [`DEFAULT_TIMEOUT`].
    pub fn new(http: reqwest::Client) -> Self {
        Self {
            http,
            timeout: DEFAULT_TIMEOUT,
        }
    }

    /// Returns the client with another time-out for a whole call.
    #[must_use]
    pub fn with_timeout(self, timeout: Duration) -> Self {
        Self { timeout, ..self }
    }

    /// Calls the gateway once and says what came of it. What [`SmsRequest::check`] refuses is
    /// [`Outcome::NotSent`].
    pub async fn send(
        &self,
        plan: &Plan,
        headers: &[(String, SecretString)],
        sms: &SmsRequest,
    ) -> Outcome {
        if let Err(error) = sms.check(plan) {
            return Outcome::NotSent {
                reason: error.to_string(),
            };
        }
        let (url, request) = match self.request(plan, headers, sms) {
            Ok(built) => built,
            Err(reason) => return Outcome::NotSent { reason },
        };
        match exchange(&self.http, &url, request, |status| plan.refuses(status)).await {
            Ok(answered) => {
                let (status, retry_after) = (answered.status, answered.retry_after);
                plan.interpret(status, retry_after, &answered.body, &sms.reference)
            }
            Err(outcome) => outcome,
        }
    }

    fn request(
        &self,
        plan: &Plan,
        headers: &[(String, SecretString)],
        sms: &SmsRequest,
    ) -> Result<(Url, reqwest::Request), String> {
        let fill = |place: &str| sms.fill(place);
        let url: Url = plan
            .url
            .fill_url(&fill)
            .parse()
            .map_err(|error| format!("URL: {error}"))?;
        let mut request = self
            .http
            .request(plan.method.clone(), url.clone())
            .timeout(self.timeout);
        for (name, value) in headers {
            let mut value = HeaderValue::from_str(value.expose_secret())
                .map_err(|_| format!("header `{name}` cannot be sent"))?;
            value.set_sensitive(true);
            request = request.header(name.as_str(), value);
        }
        if let Some(name) = &plan.idempotency_header {
            request = request.header(name, &sms.reference);
        }
        if let Some(json) = plan.body.fill_json(&fill) {
            request = request.json(&json);
        }
        if let Some(form) = plan.body.fill_form(&fill) {
            request = request.form(&form);
        }
        let request = request
            .build()
            .map_err(|error| format!("request cannot be built: {}", answer::describe(&error)))?;
        Ok((url, request))
    }
}

impl Plan {
    fn refuses(&self, status: StatusCode) -> bool {
        let code = status.as_u16();
        let is_named = self.refuse_statuses.contains(&code);
        let by_default = self.refuse_statuses.is_empty() && answer::refuses(status);
        is_named || by_default || self.retry_statuses.contains(&code)
    }

    fn interpret(
        &self,
        status: StatusCode,
        retry_after: Option<Duration>,
        bytes: &[u8],
        reference: &str,
    ) -> Outcome {
        let body: Option<Value> = serde_json::from_slice(bytes).ok();
        let text = |pointer: &str| {
            let at = (!pointer.is_empty()).then(|| body.as_ref()?.pointer(pointer))?;
            match at? {
                Value::String(text) if !text.is_empty() => Some(text.clone()),
                Value::Number(number) => Some(number.to_string()),
                _ => None,
            }
        };
        let http_status = status.as_u16();
        let code = (!self.error_code.is_empty())
            .then(|| body.as_ref()?.pointer(&self.error_code).and_then(integer))
            .flatten();
        let refused = |rule: ErrorRule| {
            let message = text(&self.error_text);
            Outcome::Rejected(Rejected {
                http_status,
                code,
                rule,
                message: message.unwrap_or_else(|| format!("http {http_status}")),
                retry_after,
            })
        };
        let known = self.codes.lookup(code.unwrap_or(NO_CODE));
        if self.refuses(status) {
            let by_status = ErrorRule {
                action: RETRY,
                ..known
            };
            let is_for_now = self.retry_statuses.contains(&http_status) && !known.known;
            return refused(if is_for_now {
                by_status
            } else {
                of_answer(known, http_status)
            });
        }
        if !status.is_success() {
            return Outcome::Unknown {
                reason: format!("http {http_status}"),
            };
        }
        if let Some(success) = &self.success {
            match text(&success.at) {
                Some(word) if success.is.contains(&word) => {}
                Some(_) => return refused(known),
                None => {
                    return Outcome::Unknown {
                        reason: format!("http {http_status} without a word whether it was taken"),
                    };
                }
            }
        }
        let id = match &self.id {
            // What it knows the message by is ours.
            None => Some(reference.to_owned()),
            Some(pointer) => text(pointer),
        };
        match id {
            Some(id) => Outcome::Accepted(Accepted {
                id,
                status: "accepted".to_owned(),
                segments: None,
            }),
            None => Outcome::Unknown {
                reason: format!("http {http_status} without a message id"),
            },
        }
    }
}
