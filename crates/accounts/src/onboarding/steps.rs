//! What each step does at the platform: it looks whether it is done already, and does it if not.

use casement_domain::id::BusinessNumber;
use casement_domain::onboarding::{Step, Trouble};
use casement_domain::registration::Act;
use casement_event::v1;
use casement_whatsapp::errors::Refused as Meant;
use casement_whatsapp::manage::CallError;
use secrecy::SecretString;

use super::{CALLER, Saga};
use crate::application;
use crate::decide::{self, Authority, Surroundings};
use crate::registration::{self, ClaimError};
use crate::templates::Why;
use crate::validate;

/// What a token must be good for (Meta: permissions of the WhatsApp Business Platform).
const SCOPES: [&str; 2] = [
    "whatsapp_business_management",
    "whatsapp_business_messaging",
];

/// Why a step came to nothing, with the platform's code if it refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Hitch {
    pub(super) trouble: Trouble,
    pub(super) code: i64,
}

/// A step is done.
pub(super) enum Done {
    Step,
    /// And this was found out.
    Found(Found),
}

/// What the platform says of the number.
pub(super) struct Found {
    /// Digits.
    pub(super) number: String,
    pub(super) display_name: String,
    pub(super) portfolio_id: String,
}

impl Saga {
    /// Makes a step. Safe to repeat, whatever a try before it has done.
    pub(super) async fn make(&self, of: &v1::Onboarding, step: Step) -> Result<Done, Hitch> {
        let token = self.token(of)?;
        match step {
            Step::Inspect => self.inspect(of, &token).await.map(Done::Found),
            Step::Subscribe => self.subscribe(of, &token).await.map(|()| Done::Step),
            Step::Register => self.register(of, &token).await.map(|()| Done::Step),
            Step::Record => self.record(of, &token).await.map(|()| Done::Step),
            Step::Templates => self.templates(of).await.map(|()| Done::Step),
        }
    }

    fn token(&self, of: &v1::Onboarding) -> Result<SecretString, Hitch> {
        self.secrets.resolve(of.token.as_ref()).map_err(|error| {
            tracing::warn!(onboarding = %of.onboarding_id, %error, "token cannot be had");
            Trouble::TokenMissing.into()
        })
    }

    /// Reads what the token may do, and whether the number is in its account.
    async fn inspect(&self, of: &v1::Onboarding, token: &SecretString) -> Result<Found, Hitch> {
        if let Some(app) = self.apps.get(&of.app) {
            let secret = app.secret.resolve().map_err(|_| Trouble::AppWrong)?;
            let asked = self
                .platform
                .manager()
                .inspect_token(token, &app.id, &secret)
                .await;
            let info = asked.map_err(|error| of_app(&error))?;
            if !info.is_valid {
                return Err(Trouble::TokenInvalid.into());
            }
            if !info.app_id.is_empty() && info.app_id != app.id {
                return Err(Trouble::TokenOfAnotherApp.into());
            }
            if SCOPES.iter().any(|scope| !info.covers(scope, &of.waba_id)) {
                return Err(Trouble::PermissionMissing.into());
            }
        }
        let numbers = self.platform.manager().numbers(token, &of.waba_id).await;
        let numbers = numbers.map_err(|error| hitch(&error))?;
        if !numbers.iter().any(|number| number.id == of.phone_number_id) {
            return Err(Trouble::NumberNotInAccount.into());
        }
        let number = self
            .platform
            .manager()
            .number(token, &of.phone_number_id)
            .await;
        let number = number.map_err(|error| hitch(&error))?;
        let account = self.platform.manager().account(token, &of.waba_id).await;
        let account = account.map_err(|error| hitch(&error))?;
        if let Some(business) = &account.portfolio_id {
            let word = &account.business_verification;
            application::reports::told(&self.book, &self.durations, business, word).await;
        }
        let parsed = BusinessNumber::parse(&number.e164()).map_err(|_| Trouble::Refused)?;
        Ok(Found {
            number: parsed.digits().to_owned(),
            display_name: number.verified_name,
            // Not told to every token: the account stands for it then.
            portfolio_id: account.portfolio_id.unwrap_or_else(|| of.waba_id.clone()),
        })
    }

    /// Subscribes the app to the account's webhooks.
    async fn subscribe(&self, of: &v1::Onboarding, token: &SecretString) -> Result<(), Hitch> {
        if let Some(app) = self.apps.get(&of.app) {
            let apps = self
                .platform
                .manager()
                .subscribed_apps(token, &of.waba_id)
                .await;
            let apps = apps.map_err(|error| hitch(&error))?;
            if apps.iter().any(|known| known.id == app.id) {
                return Ok(());
            }
        }
        let done = self.platform.manager().subscribe(token, &of.waba_id).await;
        done.map_err(|error| hitch(&error))
    }

    /// Registers the number, unless it is.
    async fn register(&self, of: &v1::Onboarding, token: &SecretString) -> Result<(), Hitch> {
        let number = self
            .platform
            .manager()
            .number(token, &of.phone_number_id)
            .await;
        if number.map_err(|error| hitch(&error))?.is_connected() {
            return Ok(());
        }
        let pin = self.secrets.resolve(of.pin.as_ref());
        let pin = pin.map_err(|_| Trouble::PinMissing)?;
        self.count(of, Act::Register).await?;
        let region = Some(of.region.as_str()).filter(|region| !region.is_empty());
        let id = &of.phone_number_id;
        let Err(error) = self
            .platform
            .manager()
            .register(token, id, &pin, region)
            .await
        else {
            return Ok(());
        };
        match error.refused() {
            Some(Meant::RegistrationLocked) => {
                let now = self.book.cause(CALLER).time;
                let kept = async {
                    let mut desk = self.book.desk().await?;
                    registration::locked(&mut desk, &of.number, CALLER, now).await
                };
                kept.await.map_err(|_| Trouble::Away)?;
            }
            Some(Meant::HalfDeregistered) => {
                self.count(of, Act::Deregister).await?;
                let finished = self.platform.manager().deregister(token, id).await;
                finished.map_err(|error| hitch(&error))?;
            }
            _ => {}
        }
        Err(hitch(&error))
    }

    /// Counts a call that is about to be made.
    async fn count(&self, of: &v1::Onboarding, act: Act) -> Result<(), Hitch> {
        let now = self.book.cause(CALLER).time;
        let mut desk = self.book.desk().await.map_err(|_| Trouble::Away)?;
        let claimed = registration::claim(&mut desk, &of.number, act, CALLER, now).await;
        claimed.map_err(|error| {
            let trouble = match error {
                ClaimError::Spent(refusal) => Trouble::BudgetSpent {
                    until: refusal.until(),
                },
                ClaimError::Book(_) => Trouble::Away,
            };
            trouble.into()
        })
    }

    /// Puts the number on record, once it is connected. What the platform says of its limits is
    /// kept elsewhere, by whoever keeps its health.
    async fn record(&self, of: &v1::Onboarding, token: &SecretString) -> Result<(), Hitch> {
        let number = self
            .platform
            .manager()
            .number(token, &of.phone_number_id)
            .await;
        let number = number.map_err(|error| hitch(&error))?;
        if !number.is_connected() {
            return Err(Trouble::NotConnected.into());
        }
        let cause = self.book.cause(CALLER);
        let authority = Authority::Brand(of.brand_id.clone());
        let mut desk = self.book.desk().await.map_err(|_| Trouble::Away)?;
        let present = desk.ledger().number(&of.number).cloned();
        let present = present.unwrap_or_default();
        // Of a number that is shared with the phone app, what was written before opens no window.
        let onboarded = of.coexistence.then_some(of.create_time).flatten();
        let wanted = v1::Number {
            number: format!("+{}", of.number),
            brand_id: of.brand_id.clone(),
            portfolio_id: of.portfolio_id.clone(),
            waba_id: of.waba_id.clone(),
            phone_number_id: of.phone_number_id.clone(),
            display_name: number.verified_name,
            token: of.token.clone(),
            app: of.app.clone(),
            onboard_time: present.onboard_time.or(onboarded),
            ..present
        };
        let wanted = validate::number("number", wanted).map_err(|problems| {
            let problems: Vec<_> = problems.iter().map(ToString::to_string).collect();
            let problems = problems.join("; ");
            tracing::error!(onboarding = %of.onboarding_id, problems, "number cannot be recorded");
            Trouble::Refused
        })?;
        let recorded = desk
            .settle(&cause, |ledger| {
                let around = Surroundings {
                    present: ledger.number(&wanted.number),
                    holder: ledger.holder_of(&wanted.phone_number_id),
                    is_brand_known: ledger.brand(&wanted.brand_id).is_some(),
                };
                decide::number(around, wanted.clone(), &authority, &cause)
            })
            .await;
        match recorded {
            Ok(_) => Ok(()),
            Err(crate::book::BookError::Refused(refusal)) => {
                tracing::warn!(onboarding = %of.onboarding_id, %refusal, "number is not recorded");
                Err(Trouble::NumberTaken.into())
            }
            Err(_) => Err(Trouble::Away.into()),
        }
    }
}

impl Saga {
    /// Reads the account's templates. What the platform refuses is tried again by whoever reads them
    /// from time to time: the number is there without them.
    async fn templates(&self, of: &v1::Onboarding) -> Result<(), Hitch> {
        let read = self.syncer.read(&of.waba_id, None, Why::Demand, CALLER);
        let synced = read.await.map_err(|_| Trouble::Away)?;
        if !synced.error.is_empty() {
            tracing::warn!(
                onboarding = %of.onboarding_id, error = synced.error,
                "templates are read later"
            );
        }
        Ok(())
    }
}

/// What a refusal of the platform means for a step.
pub(super) fn hitch(error: &CallError) -> Hitch {
    let trouble = match error.refused() {
        Some(Meant::Token) => Trouble::TokenInvalid,
        Some(Meant::App) => Trouble::AppWrong,
        Some(Meant::Permission) => Trouble::PermissionMissing,
        Some(Meant::NotThere) => Trouble::NumberNotInAccount,
        Some(Meant::TooManyCalls) => Trouble::TooManyCalls,
        Some(Meant::Unavailable) => Trouble::Away,
        Some(Meant::Maintenance) => Trouble::Maintenance,
        Some(Meant::HalfDeregistered) => Trouble::HalfDeregistered,
        Some(Meant::PinWrong) => Trouble::PinWrong,
        Some(Meant::VerifyFirst) => Trouble::VerifyFirst,
        Some(Meant::PinGuessedTooOften) => Trouble::PinGuessedTooOften,
        Some(Meant::PinTooFast) => Trouble::PinTooFast,
        Some(Meant::DeletedMomentsAgo) => Trouble::DeletedMomentsAgo,
        Some(Meant::RegistrationLocked) => Trouble::RegistrationLocked,
        Some(Meant::Locked) => Trouble::Blocked,
        _ if error.is_passing() => Trouble::Away,
        _ => Trouble::Refused,
    };
    Hitch {
        trouble,
        code: error.code().unwrap_or_default(),
    }
}

/// The same for a call that the app makes: what it says of a token is about the app's own.
fn of_app(error: &CallError) -> Hitch {
    let trouble = match error.refused() {
        Some(Meant::Token | Meant::App) => Trouble::AppWrong,
        Some(Meant::Invalid) => Trouble::TokenOfAnotherApp,
        _ => hitch(error).trouble,
    };
    Hitch {
        trouble,
        code: error.code().unwrap_or_default(),
    }
}
