//! Whether the SMS gateways of the configuration can be called, and heard.
//!
//! Twilio is asked for its account, which sends nothing. The others have no such question: of them
//! the settings are looked at, and no call is made.

use casement_sms::config::{Gateway, VonageGateway};
use casement_sms::twilio::Credentials;
use casement_sms::vonage;

use super::report::Report;
use super::{chain, sms};
use crate::config::Config;

pub(super) async fn check(http: &reqwest::Client, config: &Config, report: &mut Report) {
    for (name, gateway) in &config.sms.gateways {
        let check = format!("sms gateway {name}");
        match gateway {
            Gateway::Twilio(gateway) => {
                let place = format!("sms.gateways.{name}.auth_token");
                let auth_token = match gateway.auth_token.resolve() {
                    Ok(auth_token) => auth_token,
                    Err(error) => {
                        report.fail(check, chain(&error), format!("see to {place}"));
                        continue;
                    }
                };
                let url = gateway.url.as_ref();
                let credentials = Credentials {
                    base_url: url
                        .unwrap_or(&config.dispatcher.providers.twilio_url)
                        .clone(),
                    account_sid: gateway.account_sid.clone(),
                    auth_token,
                };
                sms::account(&check, &place, http, config, credentials, report).await;
            }
            Gateway::Vonage(gateway) => of_vonage(&check, name, gateway, config, report),
            Gateway::Generic(_) => of_another(&check, name, config, report),
        }
    }
}

fn of_vonage(
    check: &str,
    name: &str,
    gateway: &VonageGateway,
    config: &Config,
    report: &mut Report,
) {
    let place = format!("sms.gateways.{name}.private_key");
    let key = match gateway.private_key.resolve() {
        Ok(key) => key,
        Err(error) => {
            report.fail(check, chain(&error), format!("see to {place}"));
            return;
        }
    };
    if let Err(error) = vonage::check_key(&key) {
        let todo = format!("put the application's private key there ({place})");
        report.fail(check, error.to_string(), todo);
    } else if config.ingress.vonage.accounts.is_empty() {
        report.fail(
            check,
            "no account is configured for its statuses, so they are refused",
            "add [ingress.vonage.accounts.default] with signature_secrets",
        );
    } else {
        report.ok(
            check,
            "its key signs, and its statuses are known to ingress",
        );
    }
}

fn of_another(check: &str, name: &str, config: &Config, report: &mut Report) {
    let Some(posts) = config.ingress.generic_sms.get(name) else {
        report.warn(
            check,
            "nobody reads its statuses, so no SMS is ever seen as delivered",
            format!("add [ingress.generic_sms.{name}]"),
        );
        return;
    };
    let tells_reference = posts
        .status
        .as_ref()
        .is_some_and(|status| !status.reference.is_empty());
    if tells_reference {
        report.ok(check, "its statuses are known to ingress");
    } else {
        report.warn(
            check,
            "its statuses do not say which message they are about",
            format!(
                "give it {{{{reference}}}} in sms.gateways.{name}.body, and say in \
                 ingress.generic_sms.{name}.status where it tells it again"
            ),
        );
    }
}

#[cfg(test)]
mod tests {
    use casement_shell::http::{ClientOptions, client};
    use casement_simulator::VONAGE_PRIVATE_KEY;

    use super::*;
    use crate::config::Mode;

    async fn found(settings: &[(&str, &str)]) -> String {
        let settings: Vec<(String, String)> = settings
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect();
        let config = Config::load(Mode::Real, None, &settings).unwrap();
        let http = client(&ClientOptions::default()).unwrap();
        let mut report = Report::default();
        check(&http, &config, &mut report).await;
        format!("{report:?}")
    }

    #[tokio::test]
    async fn a_gateway_that_cannot_be_called_or_heard_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let key = folder.path().join("key.pem");
        std::fs::write(&key, VONAGE_PRIVATE_KEY).unwrap();
        let vonage = |key: &str| {
            format!(
                "{{ kind = \"vonage\", application_id = \"a\", private_key = {{ file = \"{key}\" }} }}"
            )
        };
        let good = vonage(&key.display().to_string());
        let missing = vonage("/nowhere");
        let account = "{ signature_secrets = [\"s\"] }";
        let hears = ("ingress.vonage.accounts.default", account);
        let acme = "{ kind = \"generic\", url = \"https://a.example/?to={{to}}&m={{text}}\" }";
        let posts = |reference: &str| {
            format!(
                "{{ secrets = [\"s\"], header = \"x\", status = {{ id = \"/i\", status = \"/s\"{reference} }} }}"
            )
        };
        let (deaf, fit) = (posts(""), posts(", reference = \"/r\""));
        for (settings, told) in [
            (
                vec![("sms.gateways.v", good.as_str())],
                "so they are refused",
            ),
            (
                vec![("sms.gateways.v", missing.as_str()), hears],
                "cannot be read",
            ),
            (
                vec![("sms.gateways.v", good.as_str()), hears],
                "its key signs",
            ),
            (
                vec![("sms.gateways.acme", acme)],
                "nobody reads its statuses",
            ),
            (
                vec![
                    ("sms.gateways.acme", acme),
                    ("ingress.generic_sms.acme", &deaf),
                ],
                "which message",
            ),
            (
                vec![
                    ("sms.gateways.acme", acme),
                    ("ingress.generic_sms.acme", &fit),
                ],
                "known to ingress",
            ),
        ] {
            let report = found(&settings).await;
            assert!(report.contains(told), "{told}: {report}");
        }
    }
}
