//! What Twilio says of the credentials that numbers send SMS with.
//!
//! It reads the account, which sends nothing, and never repeats Twilio's words.

use std::collections::BTreeSet;

use casement_event::v1;
use casement_sms::twilio::{AccountError, Client, Credentials};
use secrecy::{ExposeSecret as _, SecretString};

use super::report::Report;
use super::{chain, place_of};
use crate::config::Config;

pub(super) async fn check(
    http: &reqwest::Client,
    config: &Config,
    numbers: &[v1::Number],
    report: &mut Report,
) {
    let mut seen = BTreeSet::new();
    for number in numbers {
        let Some(sms) = &number.sms else { continue };
        let check = format!("sms account of +{}", number.number);
        let Some((place, secret)) = place_of(sms.auth_token.as_ref()) else {
            report.fail(
                check,
                "its record names no auth token",
                "record it again with auth_token_file",
            );
            continue;
        };
        // Numbers share accounts; each is asked about once.
        if !seen.insert((sms.account_sid.clone(), place.clone())) {
            continue;
        }
        let auth_token = match secret.resolve() {
            Ok(auth_token) => auth_token,
            Err(error) => {
                report.fail(
                    check,
                    chain(&error),
                    "put Twilio's auth token there, or correct the number's auth_token_file",
                );
                continue;
            }
        };
        let credentials = Credentials {
            base_url: config.dispatcher.providers.twilio_url.clone(),
            account_sid: sms.account_sid.clone(),
            auth_token,
        };
        account(&check, &place, http, config, credentials, report).await;
    }
    if seen.is_empty() {
        report.skip("sms account", "no number sends SMS with an auth token");
    }
}

pub(super) async fn account(
    check: &str,
    place: &str,
    http: &reqwest::Client,
    config: &Config,
    credentials: Credentials,
    report: &mut Report,
) {
    let (base_url, auth_token) = (credentials.base_url.clone(), credentials.auth_token.clone());
    let client = Client::new(http.clone(), credentials).with_timeout(super::CALL_MAX);
    match client.account().await {
        Ok(account) if !["", "active"].contains(&account.status.as_str()) => report.fail(
            check,
            format!("the account is {}: nothing is sent", account.status),
            "see Twilio's console, usually for the balance",
        ),
        Ok(account) if account.kind == "Trial" => report.warn(
            check,
            "a trial account, which sends to confirmed numbers only",
            "upgrade it in Twilio's console",
        ),
        Ok(_) if !verifies(config, &auth_token) => report.fail(
            check,
            format!("taken, but callbacks are signed with {place}, which ingress does not know"),
            "give the same token in ingress.twilio.accounts.….auth_tokens",
        ),
        Ok(_) => report.ok(check, "taken, and known to ingress"),
        Err(AccountError::Rejected(rejected)) => {
            let code = rejected
                .code
                .map_or(String::new(), |code| format!("{code}, "));
            let found = format!("Twilio refuses {code}HTTP {}", rejected.http_status);
            if matches!(rejected.http_status, 401 | 403 | 404) {
                report.fail(
                    check,
                    found,
                    format!("correct account_sid, and copy the auth token anew into {place}"),
                );
            } else {
                report.fail(check, found, "try again; then look at status.twilio.com");
            }
        }
        Err(AccountError::NoAnswer { reason }) => report.fail(
            check,
            format!("{base_url} does not answer ({reason})"),
            "see to the network and the proxy (HTTPS_PROXY); dispatcher.providers.twilio_url, \
             or the gateway's url, names the address",
        ),
    }
}

/// Whether callbacks that are signed with this token are taken.
fn verifies(config: &Config, auth_token: &SecretString) -> bool {
    config
        .ingress
        .twilio
        .accounts
        .values()
        .flat_map(|account| &account.auth_tokens)
        .filter_map(|token| token.resolve().ok())
        .any(|token| token.expose_secret() == auth_token.expose_secret())
}
