//! What each step asks of the platform, and what its answer means for the migration.
//!
//! A call is made once. What became of a call whose answer got lost is looked for, where the
//! platform can be asked; whether to go on is the domain's to say.

use std::sync::Arc;

use casement_domain::migration::{Destination, Found, Happened, NumberFacts, Source, Step};
use casement_domain::sms::calling_code_of;
use casement_event::v1;
use casement_secrets::{Missing, Secrets};
use casement_whatsapp::errors::Refused;
use casement_whatsapp::manage::{Account, CallError, CodeMethod, Manager, NewNumber, Number};
use secrecy::SecretString;

use super::decide::Told;
use super::stored;
use crate::platform::Platform;

/// The language of the code's message, unless another is asked for.
const CODE_LANGUAGE: &str = "en_US";

/// What became of a step.
pub(super) struct Outcome {
    pub(super) happened: Happened,
    pub(super) told: Told,
}

impl Outcome {
    pub(super) fn done() -> Self {
        Self::of(Happened::Done)
    }

    pub(super) fn of(happened: Happened) -> Self {
        Self {
            happened,
            told: Told::default(),
        }
    }

    /// It is done, as the platform tells: the answer had got lost.
    pub(super) fn found_done() -> Self {
        let mut outcome = Self::done();
        outcome.told.found_done = true;
        outcome
    }

    pub(super) fn with_problem(happened: Happened, reason: &str, text: impl Into<String>) -> Self {
        let mut outcome = Self::of(happened);
        outcome.told.problem = Some(problem(reason, text.into(), 0));
        outcome
    }
}

/// Something in the way; when is added where it is recorded.
fn problem(reason: &str, text: String, code: i64) -> v1::MigrationProblem {
    v1::MigrationProblem {
        reason: reason.to_owned(),
        text,
        code,
        time: None,
    }
}

/// What a refused or broken call means for a step.
pub(super) fn refused(step: Step, error: &CallError) -> Outcome {
    let refused = error.refused();
    let happened = match refused {
        // Nothing that it could have done, or somebody asks what it did.
        _ if error.is_ambiguous() => match step {
            Step::Check | Step::CompareTemplates => Happened::Passing,
            Step::VerifyCode => Happened::CodeRefused,
            _ => Happened::Unclear,
        },
        _ if step == Step::VerifyCode => Happened::CodeRefused,
        Some(Refused::VerifyFirst) if step == Step::Register => Happened::VerifyAgain,
        Some(
            Refused::Maintenance
            | Refused::CodeTooSoon
            | Refused::PinTooFast
            | Refused::DeletedMomentsAgo,
        ) => Happened::Passing,
        _ if error.is_passing() => Happened::Passing,
        // Each registration counts, and wrong PINs lock the number.
        _ => Happened::Stuck {
            tries_again: step != Step::Register,
        },
    };
    let (reason, text) = match refused {
        Some(refused) => (word(refused), format!("{}.", refused.meaning())),
        None => ("NO_ANSWER", format!("{error}.")),
    };
    let mut outcome = Outcome::of(happened);
    outcome.told.problem = Some(problem(reason, text, error.code().unwrap_or(0)));
    outcome
}

/// The stable word for a refusal.
fn word(refused: Refused) -> &'static str {
    match refused {
        Refused::Token | Refused::App => "TOKEN_REFUSED",
        Refused::Permission => "NOT_PERMITTED",
        Refused::NotThere => "NOT_THERE",
        Refused::TooManyCalls => "TOO_MANY_CALLS",
        Refused::Unavailable | Refused::Maintenance => "PLATFORM_UNAVAILABLE",
        Refused::PinWrong | Refused::PinGuessedTooOften | Refused::PinTooFast => "PIN_REFUSED",
        Refused::VerifyFirst => "VERIFY_FIRST",
        Refused::RegistrationLocked => "REGISTRATION_LOCKED",
        Refused::CodeTooSoon => "CODE_TOO_SOON",
        Refused::CodeWrong => "CODE_WRONG",
        Refused::NoMigration => "NO_MIGRATION",
        Refused::NotEligible | Refused::Payment | Refused::Locked => "NOT_ELIGIBLE",
        Refused::NumberThere => "NUMBER_THERE",
        Refused::Invalid
        | Refused::SignUpCode
        | Refused::HalfDeregistered
        | Refused::NotRegistered
        | Refused::DeletedMomentsAgo
        | Refused::Other => "PLATFORM_REFUSED",
    }
}

/// A token or a PIN that cannot be had.
pub(super) fn missing(what: &str, error: &Missing) -> Outcome {
    let happened = Happened::Stuck { tries_again: true };
    let text = format!("{what} cannot be had: {}.", chain(error));
    Outcome::with_problem(happened, "SECRET_MISSING", text)
}

fn chain(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(source) => format!("{error}: {}", chain(source)),
        None => error.to_string(),
    }
}

/// What calls the platform, and what it is called with.
#[derive(Clone)]
pub(super) struct Means {
    pub(super) platform: Arc<Platform>,
    pub(super) secrets: Secrets,
}

/// A migration's destination with the token to call it by.
pub(super) struct There<'a> {
    pub(super) manager: &'a Manager,
    pub(super) token: SecretString,
    pub(super) waba_id: String,
    pub(super) phone_number_id: String,
}

impl<'a> There<'a> {
    pub(super) fn of(means: &'a Means, migration: &v1::Migration) -> Result<Self, Box<Outcome>> {
        let to = migration.destination.clone().unwrap_or_default();
        let token = means.secrets.resolve(to.token.as_ref());
        let token = token.map_err(|error| Box::new(missing("The destination's token", &error)))?;
        Ok(Self {
            manager: means.platform.manager(),
            token,
            waba_id: to.waba_id,
            phone_number_id: to.phone_number_id,
        })
    }

    /// The number's id in the account, if it is there.
    pub(super) async fn find(&self, digits: &str) -> Result<Option<Number>, CallError> {
        let numbers = self.manager.numbers(&self.token, &self.waba_id).await?;
        let is_it = |number: &Number| number.e164().trim_start_matches('+') == digits;
        Ok(numbers.into_iter().find(is_it))
    }

    pub(super) async fn number(&self) -> Result<Number, CallError> {
        self.manager
            .number(&self.token, &self.phone_number_id)
            .await
    }

    pub(super) async fn add(&self, migration: &v1::Migration) -> Outcome {
        let digits = &migration.number;
        let new = NewNumber {
            country_code: calling_code_of(digits),
            phone: digits,
            verified_name: None,
            migrate: true,
        };
        let id = match self
            .manager
            .add_number(&self.token, &self.waba_id, &new)
            .await
        {
            Ok(id) => id,
            // It was added by a call whose answer got lost, or by hand.
            Err(error) if error.refused() == Some(Refused::NumberThere) => {
                return self.look_up_added(digits).await;
            }
            Err(error) => return refused(Step::Add, &error),
        };
        let mut outcome = Outcome::done();
        outcome.told.phone_number_id = Some(id);
        outcome
    }

    pub(super) async fn look_up_added(&self, digits: &str) -> Outcome {
        match self.find(digits).await {
            Ok(Some(number)) => {
                let mut outcome = Outcome::found_done();
                outcome.told.phone_number_id = Some(number.id);
                outcome
            }
            // It is not: adding it again does no harm.
            Ok(None) => Outcome::of(Happened::Passing),
            Err(error) => refused(Step::Add, &error),
        }
    }

    pub(super) async fn request_code(&self, migration: &v1::Migration) -> Outcome {
        let method = match migration.code_method() {
            v1::MigrationCodeMethod::Voice => CodeMethod::Voice,
            v1::MigrationCodeMethod::Sms | v1::MigrationCodeMethod::Unspecified => CodeMethod::Sms,
        };
        let language = match migration.code_language.as_str() {
            "" => CODE_LANGUAGE,
            language => language,
        };
        let asked = self
            .manager
            .request_code(&self.token, &self.phone_number_id, method, language);
        match asked.await {
            Ok(()) => Outcome::done(),
            Err(error) => refused(Step::RequestCode, &error),
        }
    }

    /// Whether a code was sent cannot be asked for. Somebody waits for one either way, and can have
    /// another sent.
    pub(super) fn code_perhaps_sent() -> Outcome {
        Outcome::with_problem(
            Happened::Done,
            "CODE_PERHAPS_SENT",
            "Whether a code was sent is not known: if none comes, have another sent.",
        )
    }

    pub(super) async fn verify_code(&self, code: &SecretString) -> Outcome {
        let given = self
            .manager
            .verify_code(&self.token, &self.phone_number_id, code);
        match given.await {
            Ok(()) => Outcome::done(),
            // The answer got lost: the platform knows.
            Err(error) if error.is_ambiguous() => match self.look_up_verified().await {
                Some(outcome) => outcome,
                None => refused(Step::VerifyCode, &error),
            },
            Err(error) => refused(Step::VerifyCode, &error),
        }
    }

    /// Whether the number is verified here; `None` if not, or if nobody told.
    pub(super) async fn look_up_verified(&self) -> Option<Outcome> {
        let number = self.number().await.ok()?;
        (number.code_verification_status == "VERIFIED").then(Outcome::found_done)
    }

    pub(super) async fn register(&self, pin: &SecretString, region: &str) -> Outcome {
        let region = Some(region).filter(|region| !region.is_empty());
        let registered = self
            .manager
            .register(&self.token, &self.phone_number_id, pin, region);
        match registered.await {
            Ok(()) => Outcome::done(),
            Err(error) if error.is_ambiguous() => self.look_up_registered(&error).await,
            Err(error) => refused(Step::Register, &error),
        }
    }

    async fn look_up_registered(&self, error: &CallError) -> Outcome {
        match self.number().await {
            Ok(number) if number.is_connected() => Outcome::found_done(),
            _ => refused(Step::Register, error),
        }
    }

    /// Asks what became of a registration.
    pub(super) async fn look_up_register(&self) -> Outcome {
        match self.number().await {
            Ok(number) if number.is_connected() => Outcome::found_done(),
            // Registering again is counted, and does no other harm.
            Ok(_) => Outcome::of(Happened::Passing),
            // Until somebody knows, the number may be there.
            Err(error) => Outcome {
                happened: Happened::Unclear,
                ..refused(Step::Register, &error)
            },
        }
    }
}

/// Looks for all that the platform asks for beforehand. A failure to read it is an outcome.
pub(super) async fn find(
    means: &Means,
    migration: &v1::Migration,
    registration_trouble: Option<String>,
) -> Result<(Found, NumberFacts), Box<Outcome>> {
    let mut found = Found {
        registration_trouble,
        ..Found::default()
    };
    let mut before = NumberFacts::default();
    let there = There::of(means, migration);
    let pin = means.secrets.resolve(migration.pin.as_ref());
    match (&there, pin) {
        (Err(outcome), _) => found.destination.trouble = Some(text_of(outcome)),
        (_, Err(error)) => {
            found.destination.trouble = Some(text_of(&missing("The PIN", &error)));
        }
        (Ok(there), Ok(_)) => found.destination = destination(there).await?,
    }
    let from = migration.source.clone().unwrap_or_default();
    if !from.phone_number_id.is_empty()
        && let Ok(token) = means.secrets.resolve(from.token.as_ref())
    {
        let manager = means.platform.manager();
        // What the source does not tell us is unknown.
        if let Some(number) = told(manager.number(&token, &from.phone_number_id).await)? {
            before = facts(&number);
            found.source.status = number.status;
            found.source.is_pin_enabled = number.is_pin_enabled;
            found.source.name_status = number.name_status;
            found.source.new_name_status = number.new_name_status;
        }
        if let Some(account) = told(manager.account(&token, &from.waba_id).await)? {
            found.source.business_verification = account.business_verification;
            found.source.portfolio_id = account.portfolio_id.unwrap_or_default();
        }
    }
    if found.source == Source::default() {
        found.source.portfolio_id = from.portfolio_id;
    }
    Ok((found, before))
}

async fn destination(there: &There<'_>) -> Result<Destination, Box<Outcome>> {
    let (manager, token) = (there.manager, &there.token);
    let account: Account = match manager.account(token, &there.waba_id).await {
        Ok(account) => account,
        Err(error) if error.is_passing() => return Err(Box::new(refused(Step::Check, &error))),
        Err(error) => {
            return Ok(Destination {
                trouble: Some(text_of(&refused(Step::Check, &error))),
                ..Destination::default()
            });
        }
    };
    let apps = told(manager.subscribed_apps(token, &there.waba_id).await)?;
    Ok(Destination {
        trouble: None,
        portfolio_id: account.portfolio_id.unwrap_or_default(),
        business_verification: account.business_verification,
        review_status: account.review_status,
        // There may be one that the token's owner does not see.
        has_payment_method: account.funding_id.map(|_| true),
        is_subscribed: apps.map(|apps| !apps.is_empty()),
    })
}

/// Subscribes the destination's webhooks. Whether that helped is read afterwards.
pub(super) async fn subscribe(there: &There<'_>) {
    if let Err(error) = there.manager.subscribe(&there.token, &there.waba_id).await {
        tracing::warn!(error = %error, "destination's webhooks could not be subscribed");
    }
}

/// What was told; `None` for a refusal. What passes is an outcome: the same is asked again.
fn told<T>(answer: Result<T, CallError>) -> Result<Option<T>, Box<Outcome>> {
    match answer {
        Ok(told) => Ok(Some(told)),
        Err(error) if error.is_passing() => Err(Box::new(refused(Step::Check, &error))),
        Err(_) => Ok(None),
    }
}

fn text_of(outcome: &Outcome) -> String {
    let problem = outcome.told.problem.as_ref();
    problem
        .map(|problem| problem.text.clone())
        .unwrap_or_default()
}

/// What is told of a number.
pub(super) fn facts(number: &Number) -> NumberFacts {
    let official = |is: bool| if is { "TRUE" } else { "FALSE" };
    NumberFacts {
        display_name: number.verified_name.clone(),
        quality_rating: number.quality_rating.clone(),
        messaging_limit: number.messaging_limit.clone(),
        official: number
            .is_official
            .map(official)
            .unwrap_or_default()
            .to_owned(),
        throughput: number.throughput_level.clone(),
    }
}

/// The digits that a request names as a code; with or without a dash.
pub(super) fn code(text: &str) -> Option<SecretString> {
    let digits: String = text
        .chars()
        .filter(|char| !matches!(char, '-' | ' '))
        .collect();
    let is_code = (4..=8).contains(&digits.len()) && digits.bytes().all(|it| it.is_ascii_digit());
    is_code.then(|| SecretString::from(digits))
}

/// Judges what was found, with what somebody vouches for.
pub(super) fn preconditions(
    found: &Found,
    vouched: &[i32],
) -> Vec<casement_domain::migration::Precondition> {
    casement_domain::migration::check(found, &stored::kinds(vouched))
}

#[cfg(test)]
mod tests {
    use casement_whatsapp::send::GraphError;

    use super::*;

    fn refusal(code: i64) -> CallError {
        CallError::Refused(GraphError {
            http_status: 400,
            code,
            ..GraphError::default()
        })
    }

    #[test]
    fn each_refusal_means_something_for_its_step() {
        let stuck = Happened::Stuck { tries_again: true };
        let dear = Happened::Stuck { tries_again: false };
        let table = [
            (Step::Add, 2_388_103, stuck, "NOT_ELIGIBLE"),
            (Step::Add, 190, stuck, "TOKEN_REFUSED"),
            (Step::Add, 80_008, Happened::Passing, "TOO_MANY_CALLS"),
            (
                Step::Add,
                131_000,
                Happened::Unclear,
                "PLATFORM_UNAVAILABLE",
            ),
            (
                Step::RequestCode,
                136_024,
                Happened::Passing,
                "CODE_TOO_SOON",
            ),
            (
                Step::VerifyCode,
                136_025,
                Happened::CodeRefused,
                "CODE_WRONG",
            ),
            (Step::Register, 133_005, dear, "PIN_REFUSED"),
            (
                Step::Register,
                133_006,
                Happened::VerifyAgain,
                "VERIFY_FIRST",
            ),
            (Step::Register, 133_016, dear, "REGISTRATION_LOCKED"),
            (
                Step::Register,
                131_057,
                Happened::Passing,
                "PLATFORM_UNAVAILABLE",
            ),
        ];
        for (step, code, happened, reason) in table {
            let outcome = refused(step, &refusal(code));
            let problem = outcome.told.problem.unwrap();
            assert_eq!(
                (outcome.happened, problem.reason.as_str(), problem.code),
                (happened, reason, code),
                "{step:?}"
            );
        }
    }

    #[test]
    fn a_lost_answer_is_looked_for_where_the_call_may_have_done_something() {
        let lost = CallError::Unreachable {
            reason: "cut off".to_owned(),
        };
        for (step, happened) in [
            (Step::Check, Happened::Passing),
            (Step::Add, Happened::Unclear),
            (Step::RequestCode, Happened::Unclear),
            (Step::Register, Happened::Unclear),
            (Step::CompareTemplates, Happened::Passing),
        ] {
            assert_eq!(refused(step, &lost).happened, happened, "{step:?}");
        }
    }

    #[test]
    fn a_code_is_digits_with_or_without_a_dash() {
        for (text, is_code) in [
            ("123456", true),
            ("123-456", true),
            ("123 456", true),
            ("12", false),
            ("12a456", false),
            ("", false),
        ] {
            assert_eq!(code(text).is_some(), is_code, "{text}");
        }
    }
}
