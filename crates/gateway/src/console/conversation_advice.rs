//! What a failure means to who answers customers, and what they can do about it.
//!
//! Words for people only. What Casement itself does about an error is decided elsewhere; codes that
//! are not known here are shown with the provider's own words.

use casement_proto::events::v1::{MessageOutcome, ProviderError};

/// A failure, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Failure {
    /// Such as `131026`; empty if there is no code.
    pub(super) code: String,
    /// What happened.
    pub(super) what: String,
    /// The provider's own words, where they say more.
    pub(super) said: String,
    /// What to do; empty if nobody can tell.
    pub(super) advice: &'static str,
}

/// Explains what a provider refused or failed a message for.
pub(super) fn failure(error: &ProviderError, by_sms: bool) -> Failure {
    let known = if by_sms {
        of_sms(error.code)
    } else {
        of_whatsapp(error.code)
    };
    let own = [&error.details, &error.message, &error.title]
        .into_iter()
        .find(|text| !text.is_empty())
        .cloned()
        .unwrap_or_default();
    let (what, advice) = known.unwrap_or(("The provider refused the message", ""));
    Failure {
        code: match error.code {
            0 => String::new(),
            code => code.to_string(),
        },
        what: what.to_owned(),
        said: own,
        advice,
    }
}

/// WhatsApp Cloud API: error codes.
fn of_whatsapp(code: i64) -> Option<(&'static str, &'static str)> {
    Some(match code {
        0 | 190 => (
            "The number's access token is not valid any more",
            "Somebody has to store a new token for the number. Messages wait meanwhile.",
        ),
        3 | 10 | 200..=299 | 131_005 => (
            "The number's access token lacks a permission",
            "Somebody has to give the token the permission, or store another one.",
        ),
        368 | 131_031 => (
            "The platform has blocked or locked the business account",
            "Look into Meta's account quality page; until then use SMS.",
        ),
        130_429 | 131_056 | 4 | 80_007 => (
            "Too many messages in a short time",
            "Nothing: it is tried again by itself.",
        ),
        130_472 => (
            "The customer is in an experiment of the platform's and gets no marketing",
            "Do not send it again. It works once the customer has written.",
        ),
        130_497 => (
            "The business may not write to customers in this country",
            "Use SMS.",
        ),
        131_000 | 131_016 | 1 | 2 => (
            "The platform had a problem of its own",
            "Send it again if it has not gone by itself.",
        ),
        131_026 => (
            "WhatsApp could not deliver it: the customer may not use WhatsApp, have an old app, or have blocked the number",
            "Use SMS, or ask the customer by another way.",
        ),
        131_042 => (
            "There is a problem with how the business account pays",
            "Somebody has to mend the payment method at Meta.",
        ),
        131_045 | 133_000 | 133_010 | 131_037 => (
            "The number is not registered as it should be",
            "Somebody has to look at the number under Numbers.",
        ),
        131_047 => (
            "The window was closed: more than 24 hours since the customer's last message",
            "Send a template or an SMS, or wait until the customer writes.",
        ),
        131_048 => (
            "Too many customers blocked or reported the number",
            "Send less, and only what customers asked for.",
        ),
        131_049 => (
            "The platform did not deliver this marketing message, to spare the customer",
            "Do not send it again before a day has passed.",
        ),
        131_050 => (
            "The customer has stopped marketing messages",
            "Do not send marketing to them.",
        ),
        131_051 => (
            "The platform does not support this type of message",
            "Say it as text.",
        ),
        131_053 => (
            "The platform could not take the file",
            "Check the file's type and size, and send it again.",
        ),
        131_062 => (
            "This message cannot go to a customer without a phone number",
            "Send another template, or a reply.",
        ),
        132_000 | 132_012 | 132_008 | 132_018 => (
            "What the template was filled in with does not fit it",
            "Fill it in anew; the form shows what each field takes.",
        ),
        132_001 => (
            "There is no such approved template in this language",
            "Choose another template; somebody should synchronise the templates.",
        ),
        132_005 => (
            "Filled in, the template is too long",
            "Shorten what it is filled in with.",
        ),
        132_007 => (
            "The template breaks a policy of the platform's",
            "Choose another template.",
        ),
        132_015 => (
            "The template is paused for low quality",
            "Choose another template, or wait for the end of the pause.",
        ),
        132_016 => (
            "The template was disabled for low quality",
            "Choose another template.",
        ),
        100 | 131_008 | 131_009 | 135_000 => (
            "The platform did not understand the message",
            "Send it in another form; somebody should look into the reason.",
        ),
        131_021 => ("The customer is the number itself", ""),
        _ => return None,
    })
}

/// Twilio: error and warning dictionary. Other gateways' codes are shown as they are.
fn of_sms(code: i64) -> Option<(&'static str, &'static str)> {
    Some(match code {
        21_211 | 21_614 | 30_006 => (
            "The phone cannot get SMS",
            "Reach the customer by another way.",
        ),
        21_610 => (
            "The customer has stopped SMS from this sender",
            "Do not send SMS to them.",
        ),
        30_003 => (
            "The phone could not be reached",
            "It may be off: try again later.",
        ),
        30_005 => ("The phone is not known", "Check the customer's number."),
        30_007 => (
            "The carrier filtered the SMS as spam",
            "Say it in other words, without links.",
        ),
        _ => return None,
    })
}

/// Says how a message ended.
pub(super) fn outcome(of: MessageOutcome) -> &'static str {
    match of {
        MessageOutcome::Unspecified => "",
        MessageOutcome::Delivered => "Delivered",
        MessageOutcome::Unconfirmed => "Accepted; no delivery was ever reported",
        MessageOutcome::Failed => "Failed",
        MessageOutcome::Expired => "Expired before it could go",
        MessageOutcome::Cancelled => "Cancelled",
        MessageOutcome::Unknown => "Nobody knows whether it went out",
        MessageOutcome::UnreachableBySms => "No SMS reaches this customer",
    }
}

/// Says what to do about how a message ended; nothing, if there is nothing to do.
pub(super) fn after(outcome: MessageOutcome, reason: &str) -> &'static str {
    match (outcome, reason) {
        (MessageOutcome::Failed, "NO_ROUTE") => {
            "No route was open. Send a template or an SMS, or wait until the customer writes."
        }
        (MessageOutcome::Failed, "ATTEMPTS_USED_UP") => {
            "It was tried as often as it may be. Send it again if it still matters."
        }
        (MessageOutcome::Failed, _) => "Each attempt below says what went wrong.",
        (MessageOutcome::Expired, _) => "Send it again if it still matters.",
        (MessageOutcome::Unknown, _) => {
            "Ask the customer before it is sent again: they may have it already."
        }
        (MessageOutcome::UnreachableBySms, _) => {
            "Send a template, or wait until the customer writes."
        }
        (MessageOutcome::Unconfirmed, _) => {
            "The customer may be offline, or may have blocked the number."
        }
        _ => "",
    }
}

/// Turns a constant into words: `WINDOW_CLOSED` into `window closed`.
pub(super) fn words(constant: &str) -> String {
    constant.to_lowercase().replace('_', " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(code: i64) -> ProviderError {
        ProviderError {
            code,
            title: "Title".to_owned(),
            details: "Details of it".to_owned(),
            ..ProviderError::default()
        }
    }

    #[test]
    fn a_known_code_says_what_to_do_and_keeps_the_providers_words() {
        let failure = failure(&error(131_026), false);
        assert_eq!(failure.code, "131026");
        assert!(failure.what.contains("may not use WhatsApp"));
        assert_eq!(failure.said, "Details of it");
        assert_eq!(
            failure.advice,
            "Use SMS, or ask the customer by another way."
        );
    }

    #[test]
    fn a_code_means_what_it_means_on_its_own_channel() {
        assert!(failure(&error(21_610), true).what.contains("stopped SMS"));
        let elsewhere = failure(&error(21_610), false);
        assert_eq!(elsewhere.what, "The provider refused the message");
        assert_eq!(elsewhere.said, "Details of it");
        assert_eq!(elsewhere.advice, "");
    }

    #[test]
    fn every_bad_end_says_what_to_do() {
        for end in [
            MessageOutcome::Failed,
            MessageOutcome::Expired,
            MessageOutcome::Unknown,
            MessageOutcome::UnreachableBySms,
            MessageOutcome::Unconfirmed,
        ] {
            assert!(!after(end, "").is_empty(), "{end:?}");
            assert!(!outcome(end).is_empty(), "{end:?}");
        }
        assert_eq!(after(MessageOutcome::Delivered, ""), "");
    }
}
