//! What is wrong at Meta, and what to do about it: one sentence each.
//!
//! Meta's own words are repeated only where we have none, and without the secrets they may quote.

use anyhow::anyhow;
use casement_whatsapp::errors::NO_CODE;
use casement_whatsapp::manage::{App, CallError, Number, TokenInfo};
use casement_whatsapp::send::GraphError;
use jiff::Timestamp;
use secrecy::{ExposeSecret as _, SecretString};

use super::{ConnectArgs, SCOPES};

/// A word this long in Meta's texts is nothing for people.
const WORD_CHARS_MAX: usize = 40;

/// What was asked for.
#[derive(Debug, Clone, Copy)]
pub(super) enum Step<'a> {
    /// Whose the token is.
    App,
    /// What it may do, asked by the app with this id.
    Token(&'a str),
    /// The number.
    Number,
    /// The account, its numbers, its templates.
    Account,
    /// Who gets the account's webhooks.
    Subscribe,
}

/// Tells what is wrong.
pub(super) struct Trouble<'a> {
    args: &'a ConnectArgs,
    secrets: Vec<String>,
}

impl<'a> Trouble<'a> {
    pub(super) fn new(args: &'a ConnectArgs, secrets: &[&SecretString]) -> Self {
        let secrets = secrets.iter().map(|one| one.expose_secret().to_owned());
        Self {
            args,
            secrets: secrets.collect(),
        }
    }

    /// Returns what a failed call means and what to do.
    pub(super) fn explain(&self, step: Step<'_>, error: CallError) -> anyhow::Error {
        match error {
            CallError::Unreachable { reason } => anyhow!(
                "{} does not answer ({reason}): check the address, the network and the proxy \
                 (HTTPS_PROXY); --graph-url names another address",
                self.args.graph_url
            ),
            CallError::Unreadable { reason } => anyhow!(
                "what answers at {} is not the Graph API ({reason}): a proxy or a sign-in page \
                 may stand between; check --graph-url and --graph-version {}",
                self.args.graph_url,
                self.args.graph_version
            ),
            CallError::Invalid { reason } => anyhow!(
                "the call cannot be made ({reason}): check the ids and the content of the files"
            ),
            CallError::Refused(error) => self.refused(step, &error),
        }
    }

    fn refused(&self, step: Step<'_>, error: &GraphError) -> anyhow::Error {
        let code = match error.subcode {
            Some(subcode) => format!("{}/{subcode}", error.code),
            None => error.code.to_string(),
        };
        match (step, error.code) {
            (Step::Token(app_id), 190 | 101 | 1) => anyhow!(
                "Meta does not take {} as the secret of app {app_id} ({code}): copy the app \
                 secret anew (app dashboard, App settings, Basic) and check --app-id; with \
                 another secret every webhook would be refused for its signature",
                self.args.app_secret_file.display()
            ),
            (Step::Token(app_id), 100) => anyhow!(
                "the access token was not made for app {app_id} ({code}): name the token's app \
                 with --app-id and give that app's secret, or {}",
                self.make_token()
            ),
            (_, 0 | 102 | 190) => self.token_is_dead(&code, error.subcode),
            (Step::Number, 100) if error.subcode == Some(33) => anyhow!(
                "Meta knows no number {} that this token may see ({code}): --phone-number-id is \
                 the id beside the number (WhatsApp, API Setup), not the number; if it is right, \
                 {}",
                self.args.phone_number_id,
                self.assign()
            ),
            (Step::Account | Step::Subscribe, 100 | 803)
                if error.code == 803 || error.subcode == Some(33) =>
            {
                anyhow!(
                    "Meta knows no WhatsApp business account {} that this token may see ({code}): \
                     copy its id from WhatsApp, API Setup; if it is right, {}",
                    self.args.waba,
                    self.assign()
                )
            }
            (_, 3 | 10 | 200..=299 | 131_005) => anyhow!(
                "the access token may not {} ({code}): it lacks {}, or its owner has no access; \
                 {}, or {}",
                match step {
                    Step::App | Step::Token(_) => "be asked about",
                    Step::Number => "read the number",
                    Step::Account => "read the business account",
                    Step::Subscribe => "subscribe the app to the account's webhooks",
                },
                SCOPES[1],
                self.assign(),
                self.make_token()
            ),
            (_, 4 | 17 | 613 | 80_007 | 80_008) => anyhow!(
                "Meta's limit of calls is reached ({code}): an app may ask some 200 times an \
                 hour about an account; try again in an hour"
            ),
            (_, 1 | 2) => {
                anyhow!("Meta has trouble of its own ({code}): try again in a few minutes")
            }
            (_, NO_CODE) => anyhow!(
                "Meta refuses with HTTP {} and no reason: check --graph-url and --graph-version",
                error.http_status
            ),
            _ => {
                let said = self.without_secrets(&error.message);
                let trace = error.fbtrace_id.as_deref().unwrap_or("none");
                anyhow!(
                    "Meta refuses ({code}): {said}; if the ids and the version {} are right, ask \
                     Meta's support with the trace id {trace}",
                    self.args.graph_version
                )
            }
        }
    }

    /// Refuses a token that cannot be used for sending and managing.
    pub(super) fn judge(&self, info: &TokenInfo, now: Timestamp) -> anyhow::Result<()> {
        let is_over = info.expires_at.is_some_and(|at| at <= now);
        if !info.is_valid || is_over {
            let subcode = info.error.as_ref().and_then(|error| error.subcode);
            let subcode = subcode.or_else(|| is_over.then_some(463));
            let code = subcode.map_or("190".to_owned(), |subcode| format!("190/{subcode}"));
            return Err(self.token_is_dead(&code, subcode));
        }
        let missing: Vec<&str> = SCOPES
            .into_iter()
            .filter(|scope| !info.scopes.iter().any(|known| known == scope))
            .collect();
        if !missing.is_empty() {
            return Err(anyhow!(
                "the access token lacks {} (Meta would refuse with 10 or 200): {}",
                missing.join(" and "),
                self.make_token()
            ));
        }
        Ok(())
    }

    /// Refuses a number of another account.
    pub(super) fn judge_owner(&self, number: &Number, numbers: &[Number]) -> anyhow::Result<()> {
        if numbers.iter().any(|one| one.id == number.id) {
            return Ok(());
        }
        let known: Vec<String> = numbers
            .iter()
            .map(|one| format!("{} ({})", one.id, one.e164()))
            .collect();
        let known = if known.is_empty() {
            "no number at all".to_owned()
        } else {
            known.join(", ")
        };
        Err(anyhow!(
            "number {} ({}) does not belong to account {}, which has {known}: take --waba and \
             --phone-number-id from the same page (WhatsApp, API Setup)",
            number.id,
            number.e164(),
            self.args.waba
        ))
    }

    /// Refuses a subscription that did not come about.
    pub(super) fn judge_subscribers(&self, app: &App, apps: &[App]) -> anyhow::Result<()> {
        if apps.iter().any(|one| one.id == app.id) {
            return Ok(());
        }
        Err(anyhow!(
            "Meta took the subscription but does not list app {} for account {}: the token may \
             be another app's; check --app-id",
            app.id,
            self.args.waba
        ))
    }

    fn token_is_dead(&self, code: &str, subcode: Option<i64>) -> anyhow::Error {
        let how = match subcode {
            Some(463) => "it has expired",
            Some(458 | 460 | 464 | 467) => "it was withdrawn",
            _ => "it has expired, was withdrawn, or was not copied whole",
        };
        anyhow!(
            "Meta does not take the access token in {} ({code}): {how}; {}",
            self.args.token_file.display(),
            self.make_token()
        )
    }

    fn make_token(&self) -> String {
        format!(
            "make a new one (business settings, System users, Generate token) with {} and {}, and \
             put it into {}",
            SCOPES[0],
            SCOPES[1],
            self.args.token_file.display()
        )
    }

    fn assign(&self) -> String {
        format!(
            "give the token's system user full control of the WhatsApp account {} (business \
             settings, System users, Assign assets)",
            self.args.waba
        )
    }

    fn without_secrets(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for secret in &self.secrets {
            text = text.replace(secret.as_str(), "…");
        }
        let words: Vec<&str> = text
            .split_whitespace()
            .map(|word| {
                if word.chars().count() > WORD_CHARS_MAX {
                    "…"
                } else {
                    word
                }
            })
            .collect();
        words.join(" ")
    }
}

/// Returns what works now and will not for long, or not for everybody.
pub(super) fn warnings(
    args: &ConnectArgs,
    token: &TokenInfo,
    number: &Number,
    now: Timestamp,
) -> Vec<String> {
    let mut warnings = Vec::new();
    if let Some(at) = token.expires_at {
        warnings.push(format!(
            "the access token ends at {} ({}): from then on sends fail with 190; a system user's \
             token can be made without an end",
            super::told::time(at),
            super::told::from_now(at, now)
        ));
    } else if let Some(at) = token.data_access_expires_at {
        warnings.push(format!(
            "the access token no longer gives access from {} on ({}): it is a person's; make one \
             of a system user",
            super::told::time(at),
            super::told::from_now(at, now)
        ));
    }
    for scope in SCOPES {
        if !token.covers(scope, &args.waba) {
            warnings.push(format!(
                "{scope} was given for other accounts than {}: calls may fail with 10 or 200",
                args.waba
            ));
        }
    }
    if !number.status.is_empty() && number.status != "CONNECTED" {
        warnings.push(format!(
            "the number is {}, not CONNECTED: sends fail with 133010 until it is registered \
             (WhatsApp Manager, Phone numbers, or POST /{}/register with its PIN)",
            number.status, number.id
        ));
    }
    if number.is_test() {
        warnings.push(
            "this is a test number: it writes only to the recipients entered at WhatsApp, API \
             Setup, To; to anybody else sends fail with 131030"
                .to_owned(),
        );
    }
    if number.quality_rating == "RED" {
        warnings.push(
            "the number's quality is RED: customers block or report it; marketing makes it worse"
                .to_owned(),
        );
    }
    warnings
}
