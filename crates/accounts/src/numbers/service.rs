//! The calls about numbers that do more than read or write a record. Who may is asked before.

use casement_domain::number_health::{Fact, Kind, REGISTERED, Source};
use casement_domain::registration::Act;
use casement_event::convert::timestamp;
use casement_event::v1;
use casement_proto::account::v1 as api;
use casement_shell::grpc::{bad_field, refuse};
use casement_whatsapp::errors::Refused;
use casement_whatsapp::manage::CallError;
use secrecy::SecretString;
use tonic::{Code, Status};

use super::{leaving, mask, shown_with_etag, standing};
use crate::api::{digits, invalid, required, status};
use crate::book::Desk;
use crate::decide::{self, Authority, Refusal, Surroundings};
use crate::grpc::Accounts;
use crate::health::{CheckError, News};
use crate::ledger::{Entry, Ledger};
use crate::platform::PlatformError;
use crate::registration::{self, ClaimError};
use crate::{capabilities, health, validate};

/// How many digits a two-step PIN has (WhatsApp Cloud API: two-step verification).
const PIN_LEN: usize = 6;

/// Returns a number that the caller may see.
fn own<'a>(
    ledger: &'a Ledger,
    digits: &str,
    authority: &Authority,
) -> Result<&'a Entry<v1::Number>, Status> {
    let entry = ledger.numbers.get(digits);
    entry
        .filter(|entry| authority.covers(&entry.record.brand_id))
        .ok_or_else(|| status(Refusal::NumberUnknown.into()))
}

impl Accounts {
    pub(crate) async fn updated(
        &self,
        request: api::UpdateNumberRequest,
        authority: &Authority,
        caller: &str,
    ) -> Result<api::UpdateNumberResponse, Status> {
        let given = required("number", request.number)?;
        let digits = digits("number.number", &given.number)?;
        let paths = request.update_mask.unwrap_or_default().paths;
        let mut desk = self.desk().await?;
        let present = own(desk.ledger(), &digits, authority)?.record.clone();
        let merge = |present: &v1::Number| -> Result<v1::Number, Status> {
            let merged = mask::merged(present, &given, &paths)
                .map_err(|problem| bad_field("update_mask", problem))?;
            let merged = v1::Number {
                number: format!("+{digits}"),
                ..merged
            };
            validate::number("number", merged).map_err(invalid)
        };
        // Whatever is wrong with it is told before anything is decided.
        merge(&present)?;
        let cause = self.book().cause(caller);
        desk.settle(&cause, |ledger| {
            let entry = ledger.numbers.get(&digits);
            if !super::is_current(entry, &given.etag) {
                return Err(Refusal::EtagMismatch);
            }
            let present = entry
                .map(|entry| &entry.record)
                .ok_or(Refusal::NumberUnknown)?;
            let wanted = merge(present).map_err(|_| Refusal::NumberUnknown)?;
            let around = Surroundings {
                present: Some(present),
                holder: ledger.holder_of(&wanted.phone_number_id),
                is_brand_known: ledger.brand(&wanted.brand_id).is_some(),
            };
            decide::number(around, wanted, authority, &cause)
        })
        .await
        .map_err(status)?;
        let entry = own(desk.ledger(), &digits, authority)?;
        Ok(api::UpdateNumberResponse {
            number: Some(shown_with_etag(entry)),
            position: entry.position.to_string(),
        })
    }

    pub(crate) async fn checked(
        &self,
        number: &str,
        authority: &Authority,
    ) -> Result<api::CheckNumberResponse, Status> {
        let digits = digits("number", number)?;
        own(self.desk().await?.ledger(), &digits, authority)?;
        let changed = self.keeper().check(&digits).await.map_err(not_checked)?;
        let desk = self.desk().await?;
        let entry = own(desk.ledger(), &digits, authority)?;
        Ok(api::CheckNumberResponse {
            number: Some(shown_with_etag(entry)),
            standing: Some(standing(desk.ledger(), &entry.record)),
            changed,
        })
    }

    pub(crate) async fn downgrade_wanted(
        &self,
        request: api::RequestDowngradeRequest,
        authority: &Authority,
        caller: &str,
    ) -> Result<api::RequestDowngradeResponse, Status> {
        let digits = digits("number", &request.number)?;
        validate::reason("", &request.reason).map_err(invalid)?;
        let mut desk = self.desk().await?;
        let number = own(desk.ledger(), &digits, authority)?.record.clone();
        let cause = self.book().cause(caller);
        let event = v1::DowngradeRequested {
            number: digits.clone(),
            time: Some(timestamp(cause.time)),
            caller: caller.to_owned(),
            reason: request.reason,
        };
        // Each wish is one of its own: who wished it, and why, is all that there is to it.
        desk.settle(&cause, |_| Ok(Some(event.clone().into())))
            .await
            .map_err(status)?;
        let ledger = desk.ledger();
        let entry = ledger.downgrades.get(&digits);
        let position = entry.map(|entry| entry.position.to_string());
        Ok(api::RequestDowngradeResponse {
            downgrade: Some(event),
            ways: leaving::ways(&health::on_record(ledger, &number)),
            position: position.unwrap_or_default(),
        })
    }

    pub(crate) async fn deregistration_planned(
        &self,
        number: &str,
        authority: &Authority,
    ) -> Result<api::PlanDeregistrationResponse, Status> {
        let digits = digits("number", number)?;
        own(self.desk().await?.ledger(), &digits, authority)?;
        let waiting = leaving::waiting(self.log(), &digits).await;
        let desk = self.desk().await?;
        let now = self.book().cause("").time;
        let consequences = consequences(&desk, &digits, authority, waiting, now)?;
        let possible = !consequences.iter().any(|one| one.prevents);
        let (plan_token, ends) = leaving::plan_token(desk.ledger(), &digits, now);
        Ok(api::PlanDeregistrationResponse {
            plan_token: if possible { plan_token } else { String::new() },
            expire_time: possible.then(|| timestamp(ends)),
            consequences,
            possible,
        })
    }

    pub(crate) async fn deregistration_begun(
        &self,
        request: api::DeregisterNumberRequest,
        authority: &Authority,
        caller: &str,
    ) -> Result<api::DeregisterNumberResponse, Status> {
        let digits = digits("number", &request.number)?;
        if request.confirm_number.trim_start_matches('+') != digits {
            let problem = "is not the number again: write its digits once more to confirm";
            return Err(bad_field("confirm_number", problem));
        }
        validate::reason("", &request.reason).map_err(invalid)?;
        let mut desk = self.desk().await?;
        let number = own(desk.ledger(), &digits, authority)?.record.clone();
        let cause = self.book().cause(caller);
        if let Some(entry) = desk.ledger().deregistrations.get(&digits)
            && entry.record.state() == v1::DeregistrationState::Started
        {
            return Ok(begun(entry));
        }
        if !leaving::is_plan_good(desk.ledger(), &digits, &request.plan_token, cause.time) {
            return Err(refuse(
                Code::FailedPrecondition,
                "PLAN_OUTDATED",
                "plan_token is missing, too old, or of another state of the number: plan again",
            ));
        }
        let waiting = leaving::Waiting::default();
        let consequences = consequences(&desk, &digits, authority, waiting, cause.time)?;
        if let Some(one) = consequences.iter().find(|one| one.prevents) {
            return Err(refuse(
                Code::FailedPrecondition,
                "DEREGISTRATION_PREVENTED",
                format!("{}: {}", one.kind, one.text),
            ));
        }
        let event = leaving::begun(&number, caller, &request.reason, cause.time);
        desk.settle(&cause, |ledger| {
            let is_good = leaving::is_plan_good(ledger, &digits, &request.plan_token, cause.time);
            if is_good {
                Ok(Some(event.clone().into()))
            } else {
                Err(Refusal::EtagMismatch)
            }
        })
        .await
        .map_err(status)?;
        let entry = desk.ledger().deregistrations.get(&digits);
        entry
            .map(begun)
            .ok_or_else(|| Status::internal("record is not there after its write"))
    }

    pub(crate) async fn registered(
        &self,
        request: api::RegisterNumberRequest,
        authority: &Authority,
        caller: &str,
    ) -> Result<api::RegisterNumberResponse, Status> {
        let digits = digits("number", &request.number)?;
        let pin = SecretString::from(request.pin);
        if !is_pin(&pin) {
            return Err(bad_field("pin", "is not six digits"));
        }
        let mut desk = self.desk().await?;
        let number = own(desk.ledger(), &digits, authority)?.record.clone();
        let now = self.book().cause(caller).time;
        let leave = self
            .platform()
            .leave(&number, health::has_registered(desk.ledger(), &number), now)
            .map_err(|error| not_called(&error))?;
        registration::claim(&mut desk, &digits, Act::Register, caller, now)
            .await
            .map_err(not_claimed)?;
        drop(desk);
        if let Err(error) = self.platform().register(&leave, &pin).await {
            if is_lock(&error) {
                let mut desk = self.desk().await?;
                registration::locked(&mut desk, &digits, caller, now)
                    .await
                    .map_err(status)?;
            }
            return Err(not_called(&error));
        }
        let at = self.book().cause(caller).time;
        let news = News {
            number: digits.clone(),
            phone_number_id: number.phone_number_id.clone(),
            facts: vec![(Kind::Registration, Fact::new(at, Source::Act, REGISTERED))],
        };
        self.keeper().hear(news, caller).await.map_err(status)?;
        self.keeper().check_soon(&digits);
        let desk = self.desk().await?;
        let entry = own(desk.ledger(), &digits, authority)?;
        Ok(api::RegisterNumberResponse {
            number: Some(shown_with_etag(entry)),
            standing: Some(standing(desk.ledger(), &entry.record)),
        })
    }

    pub(crate) async fn interaction_refused(
        &self,
        request: api::RequestInteractionRequest,
        authority: &Authority,
    ) -> Result<api::RequestInteractionResponse, Status> {
        let digits = digits("number", &request.number)?;
        let interaction = required("interaction", request.interaction)?;
        let desk = self.desk().await?;
        let number = &own(desk.ledger(), &digits, authority)?.record;
        let health = health::on_record(desk.ledger(), number);
        Ok(capabilities::refuse(&interaction, &digits, &health))
    }

    /// Returns a number's record with its etag, and where it stands.
    pub(crate) async fn number_shown(
        &self,
        number: &str,
        authority: &Authority,
    ) -> Result<api::GetNumberResponse, Status> {
        let digits = digits("number", number)?;
        let desk = self.desk().await?;
        let entry = own(desk.ledger(), &digits, authority)?;
        Ok(api::GetNumberResponse {
            number: Some(shown_with_etag(entry)),
            standing: Some(standing(desk.ledger(), &entry.record)),
        })
    }
}

/// Whether a write brings the etag of the record as it is.
pub(crate) fn current(ledger: &Ledger, digits: &str, wanted: &str) -> Result<(), Refusal> {
    if super::is_current(ledger.numbers.get(digits), wanted) {
        Ok(())
    } else {
        Err(Refusal::EtagMismatch)
    }
}

fn consequences(
    desk: &Desk<'_>,
    digits: &str,
    authority: &Authority,
    waiting: leaving::Waiting,
    now: jiff::Timestamp,
) -> Result<Vec<api::DeregistrationConsequence>, Status> {
    let ledger = desk.ledger();
    let entry = own(ledger, digits, authority)?;
    let (health, tally) = leaving::grounds(ledger, &entry.record);
    Ok(leaving::consequences(entry, &health, &tally, waiting, now))
}

fn begun(entry: &Entry<v1::Deregistration>) -> api::DeregisterNumberResponse {
    api::DeregisterNumberResponse {
        deregistration: Some(entry.record.clone()),
        position: entry.position.to_string(),
    }
}

fn is_pin(pin: &SecretString) -> bool {
    use secrecy::ExposeSecret as _;
    let pin = pin.expose_secret();
    pin.len() == PIN_LEN && pin.bytes().all(|byte| byte.is_ascii_digit())
}

fn is_lock(error: &PlatformError) -> bool {
    matches!(error, PlatformError::Call(call) if call.refused() == Some(Refused::RegistrationLocked))
}

fn not_checked(error: CheckError) -> Status {
    match error {
        CheckError::Unknown => status(Refusal::NumberUnknown.into()),
        CheckError::Book(error) => status(error),
        CheckError::Platform(error) => not_called(&error),
    }
}

fn not_claimed(error: ClaimError) -> Status {
    match error {
        ClaimError::Spent(refusal) => refuse(
            Code::FailedPrecondition,
            "REGISTRATION_BUDGET",
            refusal.to_string(),
        ),
        ClaimError::Book(error) => status(error),
    }
}

/// What a caller is told of a call that gave nothing. What the platform said is told without what
/// may be secret in it: the client has taken that out.
fn not_called(error: &PlatformError) -> Status {
    match error {
        PlatformError::Token(missing) => refuse(
            Code::FailedPrecondition,
            "TOKEN_MISSING",
            format!("the number's token cannot be had: {missing}"),
        ),
        PlatformError::Spent { until } => refuse(
            Code::ResourceExhausted,
            "MANAGEMENT_CALLS_SPENT",
            format!("the platform takes no more management calls before {until}"),
        ),
        PlatformError::Call(CallError::Refused(error)) => refuse(
            Code::FailedPrecondition,
            "PLATFORM_REFUSED",
            format!(
                "the platform refused with {}: {}",
                error.code, error.message
            ),
        ),
        PlatformError::Call(error) => refuse(
            Code::Unavailable,
            "PLATFORM_AWAY",
            format!("the platform gave no answer that can be used: {error}"),
        ),
    }
}

/// Returns the record that a write left, with its etag, and its place.
pub(crate) fn shown_record(
    entry: Option<&Entry<v1::Number>>,
) -> Result<(v1::Number, String), Status> {
    let entry = entry.ok_or_else(|| Status::internal("record is not there after its write"))?;
    Ok((shown_with_etag(entry), entry.position.to_string()))
}
