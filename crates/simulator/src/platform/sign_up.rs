//! Embedded Signup: somebody finishes the pop-up, a code comes of it, and the code is exchanged for
//! the business's token (Meta: Embedded Signup, onboarding as a tech provider).

use jiff::{SignedDuration, Timestamp};
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};
use uuid::Uuid;

use super::records::{AccountSpec, BusinessSpec, Number, Quality, SignUp, SignUpCode, SignUpSpec};
use super::webhooks;
use crate::assets::TokenConfig;
use crate::books::Books;
use crate::codes::Refusal;
use crate::error::Error;
use crate::payload::Change;
use crate::rules::digits;

/// How long a code may wait to be exchanged.
pub const SIGN_UP_CODE_LIFE: SignedDuration = SignedDuration::from_secs(30);
/// How long a number that came of a sign-up may wait for its registration.
pub const REGISTER_WITHIN: SignedDuration = SignedDuration::from_hours(14 * 24);

impl Books {
    /// Plays a sign-up to its end.
    pub(super) fn sign_up(
        &mut self,
        spec: SignUpSpec,
        now: Timestamp,
    ) -> Result<(SignUp, Vec<Change>), Error> {
        let phone = digits(&spec.phone);
        if !(7..=15).contains(&phone.len()) {
            return Err(Error::InvalidPlatform("the phone is not a phone"));
        }
        let known = spec.business_id.as_deref();
        if known.is_some_and(|id| self.business(id).is_none()) {
            return Err(Error::UnknownBusiness);
        }
        let asked = spec.waba_id.as_deref();
        if asked.is_some_and(|waba_id| !self.has_account(waba_id)) {
            return Err(Error::UnknownAccount);
        }
        let business_id = match (spec.business_id, asked) {
            (Some(id), _) => id,
            (None, Some(waba_id)) => self.account(waba_id).business_id,
            (None, None) => self.put_business(BusinessSpec {
                name: spec.business_name,
                ..BusinessSpec::default()
            }),
        };
        let waba_id = match spec.waba_id {
            Some(waba_id) => waba_id,
            None => self.put_account(AccountSpec {
                business_id: Some(business_id.clone()),
                has_payment: false,
                ..AccountSpec::default()
            }),
        };
        let there = self
            .numbers_of(&waba_id)
            .into_iter()
            .find(|number| digits(&number.display_phone_number) == phone)
            .map(|number| number.phone_number_id.clone());
        let phone_number_id = there.unwrap_or_else(|| {
            let number = signed_up(&spec.verified_name, spec.is_on_app, now);
            self.put_number_into(&waba_id, &phone, number)
        });
        let code = format!("AQ{}", Uuid::new_v4().simple());
        let waiting = SignUpCode {
            waba_id: waba_id.clone(),
            given_at: now,
            is_used: false,
        };
        self.estate.sign_up_codes.insert(code.clone(), waiting);
        let ours = self.assets.portfolio_id.clone();
        let changes = vec![webhooks::partner_added(&ours, &waba_id, &business_id)];
        let sign_up = SignUp {
            code,
            business_id,
            waba_id,
            phone_number_id,
        };
        Ok((sign_up, changes))
    }

    /// Exchanges a code.
    pub(super) fn exchange(
        &mut self,
        app_id: &str,
        app_secret: &str,
        code: &str,
        now: Timestamp,
    ) -> Result<Value, Refusal> {
        if app_id != self.assets.app.id {
            let told = "cannot validate the application: there is none by that id";
            return Err(Refusal::new(101, told));
        }
        if app_secret != self.assets.app_secret.expose_secret() {
            return Err(Refusal::new(101, "the client secret is wrong"));
        }
        let Some(known) = self.estate.sign_up_codes.get_mut(code) else {
            return Err(Refusal::new(100, "invalid verification code format"));
        };
        if known.is_used {
            let told = "this authorization code has been used";
            return Err(Refusal::new(100, told).subcode(36_009));
        }
        if now.duration_since(known.given_at) >= SIGN_UP_CODE_LIFE {
            let told = "this authorization code has expired";
            return Err(Refusal::new(100, told).subcode(36_007));
        }
        known.is_used = true;
        let waba_id = known.waba_id.clone();
        let token = format!("EAAsim{}", Uuid::new_v4().simple());
        self.assets.put_token(TokenConfig::new(token.as_str()));
        self.estate.grant(&token, &waba_id);
        Ok(json!({"access_token": token, "token_type": "bearer"}))
    }
}

/// The pop-up verifies the number; one in the phone app is connected at once.
fn signed_up(name: &str, is_on_app: bool, now: Timestamp) -> Number {
    let status = if is_on_app { "CONNECTED" } else { "PENDING" };
    Number {
        status: status.to_owned(),
        verified_name: name.to_owned(),
        name_status: "AVAILABLE_WITHOUT_REVIEW".to_owned(),
        quality: Quality::Unknown,
        is_on_app,
        register_by: (!is_on_app)
            .then(|| now.checked_add(REGISTER_WITHIN).ok())
            .flatten(),
        ..Number::default()
    }
}
