//! What Meta says: of each access token, of the app's secret, of who gets the webhooks, and of
//! each number.
//!
//! Only calls that read. Meta's own words are never repeated, since they may quote a token. Which
//! fields are ticked for webhooks cannot be asked for with what Casement has.

use std::collections::{BTreeMap, BTreeSet};

use casement_event::v1;
use casement_shell::config::Secret;
use casement_whatsapp::manage::{App, CallError, Manager, Number, TokenInfo};
use jiff::{SignedDuration, Timestamp};
use secrecy::SecretString;

use super::report::Report;
use super::{chain, place_of};
use crate::config::Config;
use crate::person;

/// What a token must be able to do.
const SCOPES: [&str; 2] = [
    "whatsapp_business_messaging",
    "whatsapp_business_management",
];

/// How many numbers Meta is asked about: an app may ask some 200 times an hour about an account.
const NUMBERS_MAX: usize = 50;

/// A token that ends sooner than this is told to.
const ENDS_SOON: SignedDuration = SignedDuration::from_hours(14 * 24);

const MAKE_TOKEN: &str = "make a new one (Meta business settings, System users, Generate token) \
                          with whatsapp_business_messaging and whatsapp_business_management, and \
                          put it into the same file";

const ASSIGN: &str = "give the token's system user full control of the WhatsApp account (Meta \
                      business settings, System users, Assign assets)";

/// The numbers that share an access token.
struct Group<'a> {
    place: String,
    secret: Secret,
    numbers: Vec<&'a v1::Number>,
}

/// What the checks share.
struct Asking<'a> {
    manager: Manager,
    graph_url: &'a str,
    /// The apps' secrets that webhooks are verified by, with their keys.
    app_secrets: Vec<(String, SecretString)>,
    now: Timestamp,
}

/// Why the rest of a token's checks cannot be made.
struct Stopped {
    why: &'static str,
    /// Nobody answers: nor would anybody answer the next question.
    is_gone: bool,
}

pub(super) async fn check(
    http: &reqwest::Client,
    config: &Config,
    numbers: &[v1::Number],
    now: Timestamp,
    report: &mut Report,
) {
    let providers = &config.dispatcher.providers;
    let manager = match Manager::new(http.clone(), &providers.graph_url, &providers.graph_version) {
        Ok(manager) => manager.with_timeout(super::CALL_MAX),
        Err(error) => {
            report.fail(
                "meta",
                error.to_string(),
                "correct dispatcher.providers.graph_url",
            );
            return;
        }
    };
    let asking = Asking {
        manager,
        graph_url: &providers.graph_url,
        app_secrets: app_secrets(config, report),
        now,
    };
    if numbers.is_empty() {
        report.skip("meta", "no number is on record");
        return;
    }
    if numbers.len() > NUMBERS_MAX {
        let left = numbers.len() - NUMBERS_MAX;
        report.skip(
            format!("meta, {left} more numbers"),
            format!("Meta limits such calls, and {NUMBERS_MAX} were asked about; see --number"),
        );
    }
    let mut groups: BTreeMap<String, Group<'_>> = BTreeMap::new();
    for number in numbers.iter().take(NUMBERS_MAX) {
        let Some((place, secret)) = place_of(number.token.as_ref()) else {
            report.fail(
                format!("meta number +{}", number.number),
                "its record names no access token",
                "record it again with token_file (`casement connect`)",
            );
            continue;
        };
        let group = groups.entry(place.clone()).or_insert_with(|| Group {
            place,
            secret,
            numbers: Vec::new(),
        });
        group.numbers.push(number);
    }
    let mut is_gone = false;
    for group in groups.values() {
        let stopped = if is_gone {
            Some(Stopped {
                why: "the Graph API does not answer",
                is_gone,
            })
        } else {
            asking.group(group, report).await.err()
        };
        if let Some(stopped) = stopped {
            is_gone = stopped.is_gone;
            for number in &group.numbers {
                report.skip(format!("meta number +{}", number.number), stopped.why);
            }
        }
    }
}

/// Returns the secrets that webhooks are verified by.
fn app_secrets(config: &Config, report: &mut Report) -> Vec<(String, SecretString)> {
    if config.ingress.apps.is_empty() {
        report.fail(
            "meta app secret",
            "no app is configured, so every webhook is refused",
            "add [ingress.apps.default] with the app's secret and a verify token",
        );
    }
    let mut secrets = Vec::new();
    for (name, app) in &config.ingress.apps {
        for secret in &app.secrets {
            let key = format!("ingress.apps.{name}.secrets");
            // That one cannot be read is told by the configuration's own check.
            secrets.extend(secret.resolve().ok().map(|value| (key, value)));
        }
    }
    secrets
}

impl Asking<'_> {
    async fn group(&self, group: &Group<'_>, report: &mut Report) -> Result<(), Stopped> {
        let check = format!("meta token {}", name_of(&group.place));
        let token = group.secret.resolve().map_err(|error| {
            let advice = "put the system user's token there, or correct the number's token_file";
            report.fail(&check, chain(&error), advice);
            stopped("its access token cannot be read")
        })?;
        let app = match self.manager.app(&token).await {
            Ok(app) => app,
            Err(error) => return Err(self.refused(&check, &error, report)),
        };
        self.token(&check, group, &token, &app, report).await?;
        let accounts: BTreeSet<&str> = group.numbers.iter().map(|one| &*one.waba_id).collect();
        for account in accounts {
            self.subscription(account, &token, &app, report).await?;
        }
        for number in &group.numbers {
            self.number(number, &token, report).await?;
        }
        Ok(())
    }

    /// Asks what a token may do, as the app: which also shows whose secret we have.
    async fn token(
        &self,
        check: &str,
        group: &Group<'_>,
        token: &SecretString,
        app: &App,
        report: &mut Report,
    ) -> Result<(), Stopped> {
        let of_secret = "meta app secret";
        if self.app_secrets.is_empty() {
            report.skip(check, "what it may do is told to who has the app's secret");
            return Ok(());
        }
        for (key, secret) in &self.app_secrets {
            match self.manager.inspect_token(token, &app.id, secret).await {
                Ok(info) => {
                    report.ok(of_secret, format!("{key} is that of app {}", app.id));
                    return self.judge(check, group, &info, report);
                }
                // Not the secret of this app; another one may be.
                Err(CallError::Refused(error)) if [1, 101, 190].contains(&error.code) => {}
                Err(error) => return Err(self.refused(check, &error, report)),
            }
        }
        report.fail(
            of_secret,
            format!(
                "none of ingress.apps is that of app {}, to which the token in {} belongs: its \
                 webhooks are refused for their signature",
                app.id, group.place
            ),
            "copy the app secret anew (app dashboard, App settings, Basic)",
        );
        report.skip(check, "what it may do is told to who has the app's secret");
        Ok(())
    }

    fn judge(
        &self,
        check: &str,
        group: &Group<'_>,
        info: &TokenInfo,
        report: &mut Report,
    ) -> Result<(), Stopped> {
        let ends_at = info.expires_at.or(info.data_access_expires_at);
        if !info.is_valid || ends_at.is_some_and(|at| at <= self.now) {
            report.fail(
                check,
                "it is no longer valid: sends fail with 190",
                MAKE_TOKEN,
            );
            return Err(stopped("its access token is no longer valid"));
        }
        let missing: Vec<&str> = SCOPES
            .into_iter()
            .filter(|scope| !info.scopes.iter().any(|known| known == scope))
            .collect();
        if !missing.is_empty() {
            report.fail(
                check,
                format!(
                    "it lacks {}: calls fail with 10 or 200",
                    missing.join(" and ")
                ),
                MAKE_TOKEN,
            );
            return Ok(());
        }
        let narrowed: BTreeSet<&str> = group
            .numbers
            .iter()
            .map(|number| number.waba_id.as_str())
            .filter(|account| !SCOPES.iter().all(|scope| info.covers(scope, account)))
            .collect();
        if !narrowed.is_empty() {
            let accounts: Vec<&str> = narrowed.into_iter().collect();
            report.fail(
                check,
                format!(
                    "its scopes are for other accounts than {}",
                    accounts.join(", ")
                ),
                ASSIGN,
            );
            return Ok(());
        }
        match ends_at {
            None => report.ok(check, "valid, with both scopes, never ends"),
            Some(at) => {
                let left = at.duration_since(self.now);
                let days = left.as_hours() / 24;
                let found = format!("valid, with both scopes, ends in {days} days");
                if left < ENDS_SOON {
                    let hours = left.as_hours();
                    let found = format!("it ends in {hours} hours: then sends fail with 190");
                    report.warn(check, found, MAKE_TOKEN);
                } else {
                    report.ok(check, found);
                }
            }
        }
        Ok(())
    }

    async fn subscription(
        &self,
        account: &str,
        token: &SecretString,
        app: &App,
        report: &mut Report,
    ) -> Result<(), Stopped> {
        let check = format!("meta webhooks {account}");
        match self.manager.subscribed_apps(token, account).await {
            Ok(apps) if apps.iter().any(|one| one.id == app.id) => {
                report.ok(check, format!("app {} gets the account's", app.id));
                Ok(())
            }
            Ok(_) => {
                report.fail(
                    check,
                    format!("app {} is not subscribed: no webhook comes", app.id),
                    format!("run `casement connect --waba {account} …`, which subscribes it"),
                );
                Ok(())
            }
            Err(error) => self.refused_one(&check, &error, report),
        }
    }

    async fn number(
        &self,
        recorded: &v1::Number,
        token: &SecretString,
        report: &mut Report,
    ) -> Result<(), Stopped> {
        let check = format!("meta number +{}", recorded.number);
        match self.manager.number(token, &recorded.phone_number_id).await {
            Ok(number) => {
                tell_number(&check, recorded, &number, report);
                Ok(())
            }
            Err(error) => self.refused_one(&check, &error, report),
        }
    }

    /// Tells a refusal that concerns one object, after which the others can be asked about.
    fn refused_one(
        &self,
        check: &str,
        error: &CallError,
        report: &mut Report,
    ) -> Result<(), Stopped> {
        let stopped = self.refused(check, error, report);
        if stopped.is_gone {
            Err(stopped)
        } else {
            Ok(())
        }
    }

    fn refused(&self, check: &str, error: &CallError, report: &mut Report) -> Stopped {
        let (found, advice) = match error {
            CallError::Unreachable { reason } => (
                format!("{} does not answer ({reason})", self.graph_url),
                "see to the network and the proxy (HTTPS_PROXY); \
                 dispatcher.providers.graph_url names the address",
            ),
            CallError::Unreadable { reason } => (
                format!(
                    "what answers at {} is not the Graph API ({reason})",
                    self.graph_url
                ),
                "correct dispatcher.providers.graph_url and graph_version, and look for a proxy \
                 in between",
            ),
            CallError::Invalid { reason } => (
                format!("the call cannot be made ({reason})"),
                "see that the file holds the token and nothing else",
            ),
            CallError::Refused(refusal) => {
                let code = match refusal.subcode {
                    Some(subcode) => format!("{}/{subcode}", refusal.code),
                    None => refusal.code.to_string(),
                };
                match refusal.code {
                    0 | 102 | 190 => {
                        let how = match refusal.subcode {
                            Some(463) => "it has expired",
                            Some(458 | 460 | 464 | 467) => "it was withdrawn",
                            _ => "it has ended, was withdrawn, or was not copied whole",
                        };
                        (format!("Meta does not take it ({code}), {how}"), MAKE_TOKEN)
                    }
                    3 | 10 | 200..=299 | 131_005 => {
                        (format!("the access token may not read it ({code})"), ASSIGN)
                    }
                    100 | 803 => (
                        format!("Meta knows none by its id that the token may see ({code})"),
                        "correct waba_id and phone_number_id (WhatsApp, API Setup), or assign the \
                         account to the token's system user",
                    ),
                    4 | 17 | 613 | 80_007 | 80_008 => (
                        format!("Meta's limit of calls is reached ({code})"),
                        "try again in an hour, with --number for the one that matters",
                    ),
                    _ => (
                        format!("Meta refuses ({code}, HTTP {})", refusal.http_status),
                        "try again in a few minutes; then check \
                         dispatcher.providers.graph_version",
                    ),
                }
            }
        };
        report.fail(check, found, advice);
        Stopped {
            why: "the check of its access token failed",
            is_gone: matches!(
                error,
                CallError::Unreachable { .. } | CallError::Unreadable { .. }
            ),
        }
    }
}

/// Returns the last part of a path, which is short and tells secrets apart.
fn name_of(place: &str) -> &str {
    place.rsplit('/').next().unwrap_or(place)
}

fn stopped(why: &'static str) -> Stopped {
    Stopped {
        why,
        is_gone: false,
    }
}

fn tell_number(check: &str, recorded: &v1::Number, number: &Number, report: &mut Report) {
    if number.e164().trim_start_matches('+') != recorded.number {
        report.fail(
            check,
            format!(
                "phone_number_id {} is {} at Meta",
                recorded.phone_number_id,
                number.e164()
            ),
            "record the id that belongs to the number (`casement connect`)",
        );
        return;
    }
    let word = |text: &str| person::word(text, "");
    if !number.status.is_empty() && number.status != "CONNECTED" {
        report.fail(
            check,
            format!("it is {}: sends fail with 133010", word(&number.status)),
            "register it (WhatsApp Manager, Phone numbers)",
        );
        return;
    }
    let quality = word(&number.quality_rating);
    if number.quality_rating == "RED" {
        report.warn(
            check,
            "connected, quality red: customers block or report it",
            "send less that was not asked for; Meta lowers its limits next",
        );
    } else if recorded.paused {
        report.warn(
            check,
            "connected, and paused here",
            "resume it (AccountService, ResumeNumber)",
        );
    } else if quality.is_empty() {
        report.ok(check, "connected");
    } else {
        report.ok(check, format!("connected, quality {quality}"));
    }
}
