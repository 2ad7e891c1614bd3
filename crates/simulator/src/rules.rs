//! The platform's rules: the window, the rates, templates, and what a well-formed SMS is.
//!
//! Pure functions over values, written from the platforms' own pages and from nothing else in this
//! house: a second opinion has to be formed alone. The shape of Graph bodies is in `graph_body`.

use std::collections::VecDeque;

use jiff::{SignedDuration, Timestamp};

use crate::codes::Refusal;
use crate::config::{PairLimit, TemplateCategory, TemplateConfig, TemplateStatus};
use crate::graph_body::TemplateCall;

/// Longest body of a template with its parameters filled in (132005).
const TEMPLATE_TEXT_CHARS_MAX: usize = 1024;
/// Longest SMS Twilio takes (21617).
const SMS_CHARS_MAX: usize = 1600;

/// Returns the instant that anchors a window: the whole second webhooks report. Strict on purpose:
/// nobody who counts from the webhook can be later than this.
pub(crate) fn anchor(at: Timestamp) -> Timestamp {
    Timestamp::from_second(at.as_second()).unwrap_or(at)
}

/// Returns true if a free-form message may go out: less than `window` after the customer's last
/// message or call (Meta: customer service windows).
pub(crate) fn is_window_open(
    last_qualifying_at: Option<Timestamp>,
    now: Timestamp,
    window: SignedDuration,
) -> bool {
    last_qualifying_at.is_some_and(|last| now.duration_since(last) < window)
}

/// The pair rate between a number and a customer: one message an interval; a burst inside one
/// interval borrows the intervals to come, and nothing goes until they are paid back (Meta: pair
/// rate limits; a burst of 20 costs two minutes).
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct PairRate {
    burst: Option<Burst>,
}

#[derive(Clone, Copy, Debug)]
struct Burst {
    began_at: Timestamp,
    sent: u32,
}

impl PairRate {
    /// Counts one more message, or returns false if it is one too many.
    pub(crate) fn admit(&mut self, now: Timestamp, limit: PairLimit) -> bool {
        match self.burst.as_mut() {
            Some(burst)
                if now.duration_since(burst.began_at) < limit.interval * to_i32(burst.sent) =>
            {
                let in_burst = now.duration_since(burst.began_at) < limit.interval;
                if !in_burst || burst.sent >= limit.burst {
                    return false;
                }
                burst.sent += 1;
            }
            _ => {
                self.burst = Some(Burst {
                    began_at: now,
                    sent: 1,
                });
            }
        }
        true
    }
}

fn to_i32(count: u32) -> i32 {
    i32::try_from(count).unwrap_or(i32::MAX)
}

/// Messages of one number in the last second, both ways.
#[derive(Clone, Debug, Default)]
pub(crate) struct Throughput {
    recent: VecDeque<Timestamp>,
}

impl Throughput {
    /// Counts one more message if `limit` allows it; `forced` counts it anyway (inbound).
    pub(crate) fn admit(&mut self, now: Timestamp, limit: u32, forced: bool) -> bool {
        while self
            .recent
            .front()
            .is_some_and(|at| now.duration_since(*at) >= SignedDuration::from_secs(1))
        {
            self.recent.pop_front();
        }
        let limit = limit as usize;
        if self.recent.len() >= limit {
            if !forced {
                return false;
            }
            self.recent.pop_front();
        }
        self.recent.push_back(now);
        true
    }
}

/// Checks a template call against a business account's templates and returns the template with
/// its text filled in.
pub(crate) fn check_template<'a>(
    templates: &'a [TemplateConfig],
    waba_id: &str,
    call: &TemplateCall,
) -> Result<(&'a TemplateConfig, String), Refusal> {
    let template = templates
        .iter()
        .find(|template| {
            template.waba_id == waba_id
                && template.name == call.name
                && template.language == call.language
        })
        .ok_or_else(|| {
            Refusal::new(
                132_001,
                format!(
                    "template name ({}) does not exist in {}",
                    call.name, call.language
                ),
            )
        })?;
    match template.status {
        TemplateStatus::Approved => {}
        TemplateStatus::Pending | TemplateStatus::Rejected => {
            return Err(Refusal::new(132_001, "the template is not approved"));
        }
        TemplateStatus::Paused => return Err(Refusal::new(132_015, "the template is paused")),
        TemplateStatus::Disabled => return Err(Refusal::new(132_016, "the template is disabled")),
    }
    if call.body_parameters.len() != template.parameter_count {
        return Err(Refusal::new(
            132_000,
            format!(
                "body: number of localizable_params ({}) does not match the expected number of params ({})",
                call.body_parameters.len(),
                template.parameter_count
            ),
        ));
    }
    let text = fill(&template.body, &call.body_parameters);
    if text.chars().count() > TEMPLATE_TEXT_CHARS_MAX {
        return Err(Refusal::new(132_005, "the filled-in text is too long"));
    }
    Ok((template, text))
}

/// Checks a template of a category against who it is for: a customer who stopped marketing
/// (131050), a code to somebody known by BSUID only (131062).
pub(crate) fn check_template_recipient(
    category: TemplateCategory,
    marketing_stopped: bool,
    by_user_id_only: bool,
) -> Result<(), Refusal> {
    match category {
        TemplateCategory::Marketing if marketing_stopped => Err(Refusal::new(
            131_050,
            "the user has stopped marketing messages from this business",
        )),
        TemplateCategory::Authentication if by_user_id_only => Err(Refusal::new(
            131_062,
            "authentication templates need a phone number",
        )),
        TemplateCategory::Marketing
        | TemplateCategory::Authentication
        | TemplateCategory::Utility => Ok(()),
    }
}

/// Fills `{{1}}`, `{{2}}`, … in one pass, so that a parameter's own braces stay as they are.
fn fill(body: &str, parameters: &[String]) -> String {
    let mut text = String::with_capacity(body.len());
    let mut rest = body;
    while let Some(start) = rest.find("{{") {
        let Some(length) = rest[start..].find("}}") else {
            break;
        };
        let inside = rest[start + 2..start + length].trim();
        text.push_str(&rest[..start]);
        match inside
            .parse::<usize>()
            .ok()
            .and_then(|number| parameters.get(number.checked_sub(1)?))
        {
            Some(parameter) => text.push_str(parameter),
            None => text.push_str(&rest[start..start + length + 2]),
        }
        rest = &rest[start + length + 2..];
    }
    text.push_str(rest);
    text
}

/// What an SMS call brings (Twilio: create a message).
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct SmsCall {
    pub(crate) to: Option<String>,
    pub(crate) from: Option<String>,
    pub(crate) messaging_service: Option<String>,
    pub(crate) body: Option<String>,
    pub(crate) status_callback: Option<String>,
}

/// Checks an SMS call against the account's senders.
pub(crate) fn check_sms(call: &SmsCall, senders: &[String]) -> Result<(), Refusal> {
    let to = call
        .to
        .as_deref()
        .ok_or_else(|| Refusal::new(21_604, "a 'To' phone number is required"))?;
    if !is_e164(to) {
        return Err(Refusal::new(
            21_211,
            "the 'To' number is not a valid phone number",
        ));
    }
    let Some(from) = call.from.as_deref().or(call.messaging_service.as_deref()) else {
        return Err(Refusal::new(
            21_603,
            "a 'From' phone number or a 'MessagingServiceSid' is required",
        ));
    };
    if !senders.is_empty() && !senders.iter().any(|sender| sender == from) {
        return Err(Refusal::new(
            21_606,
            "the 'From' number is not owned by the account",
        ));
    }
    match call.body.as_deref() {
        None | Some("") => Err(Refusal::new(21_602, "a message body is required")),
        Some(body) if body.chars().count() > SMS_CHARS_MAX => Err(Refusal::new(
            21_617,
            "the message body exceeds the 1600 character limit",
        )),
        Some(_) => Ok(()),
    }
}

/// Returns true for `+` and 7 to 15 digits that do not begin with 0.
pub(crate) fn is_e164(phone: &str) -> bool {
    phone.strip_prefix('+').is_some_and(|digits| {
        (7..=15).contains(&digits.len())
            && !digits.starts_with('0')
            && digits.bytes().all(|byte| byte.is_ascii_digit())
    })
}

/// Returns the digits of a phone as people write it.
pub(crate) fn digits(phone: &str) -> String {
    phone.chars().filter(char::is_ascii_digit).collect()
}

/// Returns true if an SMS takes its sender out of the list, true for these words alone and in any
/// case (Twilio: default opt-out keywords).
pub(crate) fn is_stop(text: &str) -> bool {
    ["stop", "stopall", "unsubscribe", "cancel", "end", "quit"]
        .iter()
        .any(|word| text.trim().eq_ignore_ascii_case(word))
}

/// Returns true if an SMS puts its sender back on the list.
pub(crate) fn is_start(text: &str) -> bool {
    ["start", "yes", "unstop"]
        .iter()
        .any(|word| text.trim().eq_ignore_ascii_case(word))
}

#[cfg(test)]
#[path = "rules_tests.rs"]
mod tests;
