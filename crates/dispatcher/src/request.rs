//! Requests: checked before anything is durable, every problem at once.

use casement_domain::customer::is_user_id;
use casement_domain::failover::Failover;
use casement_domain::id::{BusinessNumber, CustomerId, Phone, WabaId};
use casement_domain::inbound::Addresses;
use casement_domain::routing::zone;
use casement_event::convert::{self, signed_duration};
use casement_event::v1;
use casement_proto::message::v1::{SendMessageRequest, send_message_request::Customer};
use jiff::{SignedDuration, Timestamp};
use prost::Message as _;
use sha2::{Digest as _, Sha256};

use crate::content;
use crate::policies::Policies;

/// Longest time between a request and its end. Meta keeps trying for 30 days.
const LIFE_MAX: SignedDuration = SignedDuration::from_hours(30 * 24);

/// Longest of the caller's own texts: reference, request id, label key and value.
const OWN_TEXT_CHARS_MAX: usize = 256;

/// How many labels a message may carry.
const LABELS_MAX: usize = 20;

/// What is wrong with a field.
pub(crate) type Violation = (String, String);

/// A request that can be acted on.
#[derive(Debug, Clone)]
pub(crate) struct Checked {
    pub(crate) number: BusinessNumber,
    pub(crate) customer: Named,
    pub(crate) expires_at: Timestamp,
    pub(crate) send_at: Option<Timestamp>,
    /// What it says; once references are resolved, with the platform's ids in it.
    pub(crate) content: v1::Content,
    /// What it answers, likewise.
    pub(crate) reply_to: String,
    /// How it fails over, once that is settled.
    pub(crate) failover: Failover,
    /// Its text for SMS is the template's, once it is completed.
    pub(crate) sms_from_template: bool,
}

/// The customer as the caller named them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Named {
    /// By phone or user id.
    Addresses(Addresses),
    /// By our own id.
    Id(CustomerId),
}

/// Checks a request.
pub(crate) fn check(
    request: &SendMessageRequest,
    policies: &Policies,
    default_ttl: SignedDuration,
    now: Timestamp,
) -> Result<Checked, Vec<Violation>> {
    let mut problems = Vec::new();
    let mut problem = |field: &str, what: &str| problems.push((field.to_owned(), what.to_owned()));

    let number = BusinessNumber::parse(&request.number)
        .map_err(|error| problem("number", &error.to_string()))
        .ok();
    let customer = match &request.customer {
        None => {
            problem(
                "to",
                "name the customer by one of to, recipient, customer_id",
            );
            None
        }
        Some(named) => named_customer(named)
            .map_err(|(field, what)| problem(field, &what))
            .ok(),
    };
    match &request.content {
        None => problem("content", "give at least one of free_form, template, sms"),
        Some(content) => content::check(content, &mut problem),
    }
    if request.purpose() == v1::Purpose::Unspecified {
        problem(
            "purpose",
            "say what it is for: SERVICE, UTILITY, AUTHENTICATION or MARKETING",
        );
    }
    let reply_to = &request.reply_to_message_id;
    if !reply_to.is_empty() && !content::is_reference(reply_to) {
        problem(
            "reply_to_message_id",
            "must be the platform's id (wamid.…) or the id of a message sent from here",
        );
    }
    let paying = &request.messaging_account_id;
    if !paying.is_empty()
        && let Err(error) = WabaId::parse(paying)
    {
        problem("messaging_account_id", &error.to_string());
    }
    if !request.policy.is_empty() && policies.named(&request.policy).is_none() {
        problem("policy", "there is no policy of this name");
    }
    if !request.time_zone.is_empty() && zone(&request.time_zone).is_none() {
        problem(
            "time_zone",
            "is no time zone of the IANA database, such as Europe/Berlin",
        );
    }
    for (field, text) in [
        ("client_reference", &request.client_reference),
        ("request_id", &request.request_id),
    ] {
        if text.chars().count() > OWN_TEXT_CHARS_MAX {
            problem(field, "at most 256 characters");
        }
    }
    if let Some(asserted) = &request.consent {
        for (field, what) in convert::consent::problems(asserted, now) {
            problem(&format!("consent.{field}"), &what);
        }
    }
    let is_long = |text: &String| text.chars().count() > OWN_TEXT_CHARS_MAX;
    if request.labels.len() > LABELS_MAX
        || request
            .labels
            .iter()
            .any(|label| is_long(&label.key) || is_long(&label.value))
    {
        problem(
            "labels",
            "at most 20, each key and value at most 256 characters",
        );
    }
    let (send_at, expires_at) = times(request, default_ttl, now, &mut problem);
    match (number, customer) {
        (Some(number), Some(customer)) if problems.is_empty() => Ok(Checked {
            number,
            customer,
            expires_at,
            send_at,
            content: request.content.clone().unwrap_or_default(),
            reply_to: request.reply_to_message_id.clone(),
            failover: Failover::default(),
            sms_from_template: false,
        }),
        _ => Err(problems),
    }
}

fn named_customer(named: &Customer) -> Result<Named, (&'static str, String)> {
    match named {
        Customer::To(to) if !to.starts_with('+') => {
            Err(("to", "phone number is not E.164 with the plus".to_owned()))
        }
        Customer::To(to) => {
            let phone = Phone::parse(to).map_err(|error| ("to", error.to_string()))?;
            Ok(Named::Addresses(Addresses {
                phone: Some(phone),
                ..Addresses::default()
            }))
        }
        Customer::Recipient(user_id) => {
            if !is_user_id(user_id) {
                return Err(("recipient", "user id is not of the form `US.…`".to_owned()));
            }
            let user_id = Some(user_id.clone());
            Ok(Named::Addresses(Addresses {
                user_id,
                ..Addresses::default()
            }))
        }
        Customer::CustomerId(id) => CustomerId::parse(id)
            .map(Named::Id)
            .map_err(|error| ("customer_id", error.to_string())),
    }
}

fn times(
    request: &SendMessageRequest,
    default_ttl: SignedDuration,
    now: Timestamp,
    problem: &mut impl FnMut(&str, &str),
) -> (Option<Timestamp>, Timestamp) {
    let ttl = request.ttl.as_ref().map_or(default_ttl, signed_duration);
    if ttl <= SignedDuration::ZERO {
        problem("ttl", "longer than zero");
    }
    let send_at = match convert::instant("send_time", request.send_time.as_ref()) {
        Ok(send_at) => send_at,
        Err(error) => {
            problem("send_time", &error.to_string());
            None
        }
    };
    let begins_at = send_at.unwrap_or(now).max(now);
    let expires_at = begins_at.checked_add(ttl).unwrap_or(Timestamp::MAX);
    if expires_at.duration_since(now) > LIFE_MAX {
        problem(
            "ttl",
            "send_time and ttl together reach more than 30 days ahead",
        );
    }
    (send_at, expires_at)
}

/// Returns what tells a repeat of a request from another one under the same id: a digest of
/// all that it asks for, without how long the caller waits for it.
pub(crate) fn digest(request: &SendMessageRequest) -> Vec<u8> {
    let asked = SendMessageRequest {
        wait_for: 0,
        not_before: String::new(),
        request_id: String::new(),
        ..request.clone()
    };
    Sha256::digest(asked.encode_to_vec()).to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> Timestamp {
        "2026-11-22T10:00:00Z".parse().unwrap()
    }

    fn good() -> SendMessageRequest {
        SendMessageRequest {
            number: "+15550001111".to_owned(),
            customer: Some(Customer::To("+15550002222".to_owned())),
            content: Some(v1::Content {
                free_form: Some(v1::FreeForm {
                    text: "Hi".to_owned(),
                    ..Default::default()
                }),
                ..Default::default()
            }),
            purpose: v1::Purpose::Service.into(),
            ..Default::default()
        }
    }

    fn fields(request: &SendMessageRequest) -> Vec<String> {
        let checked = check(
            request,
            &Policies::default(),
            SignedDuration::from_hours(24),
            now(),
        );
        checked
            .err()
            .unwrap_or_default()
            .into_iter()
            .map(|(field, _)| field)
            .collect()
    }

    #[test]
    fn a_good_request_expires_after_a_day_unless_it_says_otherwise() {
        let checked = check(
            &good(),
            &Policies::default(),
            SignedDuration::from_hours(24),
            now(),
        )
        .unwrap();
        assert_eq!(
            checked.expires_at.duration_since(now()),
            SignedDuration::from_hours(24)
        );
        assert_eq!(checked.number.e164(), "+15550001111");
    }

    #[test]
    fn each_bad_field_is_named() {
        let long = |count| "x".repeat(count);
        let table: Vec<(&str, SendMessageRequest)> = vec![
            (
                "number",
                SendMessageRequest {
                    number: "hello".to_owned(),
                    ..good()
                },
            ),
            (
                "to",
                SendMessageRequest {
                    customer: None,
                    ..good()
                },
            ),
            (
                "to",
                SendMessageRequest {
                    customer: Some(Customer::To("15550002222".into())),
                    ..good()
                },
            ),
            (
                "recipient",
                SendMessageRequest {
                    customer: Some(Customer::Recipient("x".into())),
                    ..good()
                },
            ),
            (
                "customer_id",
                SendMessageRequest {
                    customer: Some(Customer::CustomerId("a.b".into())),
                    ..good()
                },
            ),
            (
                "content",
                SendMessageRequest {
                    content: None,
                    ..good()
                },
            ),
            (
                "content",
                SendMessageRequest {
                    content: Some(v1::Content::default()),
                    ..good()
                },
            ),
            (
                "purpose",
                SendMessageRequest {
                    purpose: 0,
                    ..good()
                },
            ),
            (
                "policy",
                SendMessageRequest {
                    policy: "other".to_owned(),
                    ..good()
                },
            ),
            (
                "time_zone",
                SendMessageRequest {
                    time_zone: "Europe/Atlantis".to_owned(),
                    ..good()
                },
            ),
            (
                "consent.time",
                SendMessageRequest {
                    consent: Some(v1::ConsentAssertion {
                        source: v1::ConsentSource::WebForm.into(),
                        ..Default::default()
                    }),
                    ..good()
                },
            ),
            (
                "client_reference",
                SendMessageRequest {
                    client_reference: long(257),
                    ..good()
                },
            ),
            (
                "content.free_form.text",
                SendMessageRequest {
                    content: Some(v1::Content {
                        free_form: Some(v1::FreeForm {
                            text: long(4_097),
                            ..Default::default()
                        }),
                        ..Default::default()
                    }),
                    ..good()
                },
            ),
            (
                "ttl",
                SendMessageRequest {
                    ttl: Some(prost_types::Duration {
                        seconds: 31 * 24 * 3600,
                        nanos: 0,
                    }),
                    ..good()
                },
            ),
            (
                "ttl",
                SendMessageRequest {
                    ttl: Some(prost_types::Duration {
                        seconds: 0,
                        nanos: 0,
                    }),
                    ..good()
                },
            ),
        ];
        for (field, request) in table {
            assert_eq!(fields(&request), [field]);
        }
    }

    #[test]
    fn every_problem_is_told_at_once() {
        assert_eq!(
            fields(&SendMessageRequest::default()),
            ["number", "to", "content", "purpose"]
        );
    }

    #[test]
    fn how_long_the_caller_waits_does_not_make_another_request() {
        let waiting = SendMessageRequest {
            wait_for: 2,
            request_id: "r".to_owned(),
            ..good()
        };
        assert_eq!(digest(&waiting), digest(&good()));
        let other = SendMessageRequest {
            client_reference: "x".to_owned(),
            ..good()
        };
        assert_ne!(digest(&other), digest(&good()));
    }
}
