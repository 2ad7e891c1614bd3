//! How Twilio reaches us: the addresses that it is given, which are part of what it signs.

use casement_event::v1;

use super::report::Report;
use crate::config::Config;

const CHECK: &str = "sms callbacks";

/// The path that ingress takes Twilio's callbacks at.
const PATH: &str = "/webhooks/twilio";

pub(super) fn check(config: &Config, numbers: &[v1::Number]) -> Report {
    let mut report = Report::default();
    if !numbers.iter().any(|number| number.sms.is_some()) {
        report.skip(CHECK, "no number sends SMS");
        return report;
    }
    if config.ingress.twilio.accounts.is_empty() {
        report.fail(
            CHECK,
            "no Twilio account is configured, so its callbacks are refused",
            "add [ingress.twilio.accounts.default] with auth_tokens",
        );
        return report;
    }
    let providers = &config.dispatcher.providers;
    let callback = providers.twilio_callback_url.trim_end_matches('/');
    if callback.is_empty() {
        report.warn(
            CHECK,
            "Twilio is not told where to report, so no SMS is ever seen as delivered",
            "set dispatcher.providers.twilio_callback_url to your public address and \
             /webhooks/twilio",
        );
        return report;
    }
    let public = match &config.ingress.twilio.public_url {
        Some(url) => url.trim_end_matches('/').to_owned(),
        None => format!("http://{}", config.ingress.listen),
    };
    let account = callback
        .strip_prefix(&public)
        .and_then(|path| path.strip_prefix(PATH));
    let is_known = account.is_some_and(|account| {
        let name = account.strip_prefix('/').unwrap_or("default");
        config.ingress.twilio.accounts.contains_key(name)
    });
    if !is_known {
        report.fail(
            CHECK,
            format!(
                "Twilio reports to {callback}, and ingress takes reports at {public}{PATH}[/ACCOUNT]: \
                 their signature is refused"
            ),
            "make dispatcher.providers.twilio_callback_url begin with ingress.twilio.public_url, \
             and end with the path",
        );
        return report;
    }
    // Twilio itself is called by https alone.
    if providers.twilio_url.starts_with("http://") {
        report.ok(CHECK, format!("{callback}, for a look-alike"));
    } else if is_here(callback) {
        report.fail(
            CHECK,
            format!("Twilio cannot reach {callback}"),
            "set ingress.twilio.public_url and dispatcher.providers.twilio_callback_url to a \
             public address",
        );
    } else if callback.starts_with("https://") {
        report.ok(CHECK, callback);
    } else {
        report.warn(
            CHECK,
            format!("{callback} is not encrypted"),
            "use an https address",
        );
    }
    report
}

/// Whether a URL leads to this machine.
fn is_here(url: &str) -> bool {
    let place = url.split_once("://").map_or(url, |(_, place)| place);
    ["127.", "localhost", "[::1]", "0.0.0.0"]
        .iter()
        .any(|here| place.starts_with(here))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Mode;

    #[test]
    fn callbacks_are_told_that_twilio_cannot_use_or_we_would_refuse() {
        let number = v1::Number {
            sms: Some(v1::SmsSender::default()),
            ..v1::Number::default()
        };
        let account = "ingress.twilio.accounts.shop.auth_tokens";
        for (public, callback, told) in [
            ("", "", "not told where to report"),
            (
                "https://h.example",
                "https://h.example/webhooks/twilio/shop",
                "\"ok\"",
            ),
            (
                "https://h.example/",
                "https://h.example/webhooks/twilio/shop",
                "\"ok\"",
            ),
            (
                "https://h.example",
                "https://h.example/webhooks/twilio",
                "signature is refused",
            ),
            (
                "https://h.example",
                "https://x.example/webhooks/twilio/shop",
                "signature is refused",
            ),
            (
                "",
                "http://127.0.0.1:8080/webhooks/twilio/shop",
                "cannot reach",
            ),
            (
                "http://h.example",
                "http://h.example/webhooks/twilio/shop",
                "not encrypted",
            ),
        ] {
            let mut settings = vec![
                (account.to_owned(), "[\"a\"]".to_owned()),
                (
                    "dispatcher.providers.twilio_callback_url".to_owned(),
                    callback.to_owned(),
                ),
            ];
            if !public.is_empty() {
                settings.push(("ingress.twilio.public_url".to_owned(), public.to_owned()));
            }
            let config = Config::load(Mode::Real, None, &settings).unwrap();
            let line = check(&config, std::slice::from_ref(&number)).json_of_first();
            assert!(line.contains(told), "{public} {callback}: {line}");
        }
    }

    #[test]
    fn nobody_who_sends_no_sms_is_bothered() {
        let config = Config::load(Mode::Real, None, &[]).unwrap();
        let line = check(&config, &[v1::Number::default()]).json_of_first();
        assert!(line.contains("\"skip\""), "{line}");
    }
}
