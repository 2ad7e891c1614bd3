//! A number is verified with a code, registered with a PIN, renamed, and taken off again, within
//! its budget (Meta: registration, two-step verification, display names).

use jiff::{SignedDuration, Timestamp};
use rand::Rng as _;

use super::records::{Code, Number, forget_older};
use super::webhooks;
use crate::books::Books;
use crate::codes::Refusal;
use crate::config::NumberConfig;
use crate::payload::Change;
use crate::rules::digits;

/// How often a number may be registered within [`REGISTRATION_SPAN`], and as often deregistered.
pub const REGISTRATIONS_MAX: usize = 10;
/// The span of that budget, and how long the number is locked beyond it (133016).
pub const REGISTRATION_SPAN: SignedDuration = SignedDuration::from_hours(72);
/// How long a verification code is good for.
pub const CODE_LIFE: SignedDuration = SignedDuration::from_mins(10);
/// How many codes a number gets within [`CODES_SPAN`] (136024).
const CODES_MAX: usize = 5;
const CODES_SPAN: SignedDuration = SignedDuration::from_hours(1);
/// How often a code may be guessed before it is void.
const GUESSES_MAX: u32 = 5;
/// How often a PIN may be guessed before nobody may for [`PIN_PAUSE`] (133008).
const PINS_MAX: u32 = 5;
const PIN_PAUSE: SignedDuration = SignedDuration::from_hours(12);

/// The webhooks that tell of what a call did.
pub(super) type Told = Result<Vec<Change>, Refusal>;

impl Books {
    /// Finds a number for a call, as a copy.
    pub(super) fn number_for(&self, phone_number_id: &str) -> Result<NumberConfig, Refusal> {
        self.live_number(phone_number_id)
            .cloned()
            .ok_or_else(|| Refusal::new(100, "unsupported request: no such number").subcode(33))
    }

    /// Sends a number its verification code.
    pub(super) fn request_code(
        &mut self,
        phone_number_id: &str,
        method: &str,
        language: &str,
        now: Timestamp,
    ) -> Result<(), Refusal> {
        let number = self.number_for(phone_number_id)?;
        if !matches!(method, "SMS" | "VOICE") {
            return Err(Refusal::new(100, "code_method must be SMS or VOICE"));
        }
        if language.is_empty() {
            return Err(Refusal::new(100, "language is required"));
        }
        if self.estate.number(phone_number_id).code_verification == "VERIFIED" {
            let told = "the phone number is verified and is not being migrated";
            return Err(Refusal::new(2_388_091, told));
        }
        let phone = self.estate.phone(&number.display_phone_number);
        forget_older(&mut phone.codes_asked_at, now, CODES_SPAN);
        if phone.codes_asked_at.len() >= CODES_MAX {
            return Err(Refusal::new(136_024, "too many codes were asked for"));
        }
        phone.codes_asked_at.push(now);
        phone.code = Some(Code {
            phone_number_id: phone_number_id.to_owned(),
            text: format!("{:06}", rand::rng().random_range(0..1_000_000)),
            sent_at: now,
            wrong: 0,
        });
        Ok(())
    }

    /// Takes the code that a number received.
    pub(super) fn verify_code(
        &mut self,
        phone_number_id: &str,
        code: &str,
        now: Timestamp,
    ) -> Result<(), Refusal> {
        let number = self.number_for(phone_number_id)?;
        let phone = self.estate.phone(&number.display_phone_number);
        let known = phone.code.as_mut().filter(|known| {
            known.phone_number_id == phone_number_id
                && known.wrong < GUESSES_MAX
                && now.duration_since(known.sent_at) < CODE_LIFE
        });
        let Some(known) = known else {
            let told = "no code is out for this number, or it has expired";
            return Err(Refusal::new(2_388_093, told));
        };
        if known.text != digits(code) {
            known.wrong += 1;
            return Err(Refusal::new(
                136_025,
                "the code is not the one that was sent",
            ));
        }
        phone.code = None;
        let number = self.estate.number_mut(phone_number_id);
        "VERIFIED".clone_into(&mut number.code_verification);
        Ok(())
    }

    /// Registers a number: it is connected from now on.
    pub(super) fn register(&mut self, phone_number_id: &str, pin: &str, now: Timestamp) -> Told {
        let number = self.number_for(phone_number_id)?;
        let known = self.estate.number(phone_number_id);
        self.spend_registration(&number, now, true)?;
        if pin.len() != 6 || !pin.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(Refusal::new(100, "pin must have exactly six digits"));
        }
        if self.account(&number.waba_id).ban == Some(super::BanState::Disable) {
            return Err(Refusal::new(131_031, "the account is disabled"));
        }
        if known.is_on_app {
            let told = "a number that is used in the phone app is registered there";
            return Err(Refusal::new(100, told));
        }
        if known.register_by.is_some_and(|by| by <= now) {
            "EXPIRED".clone_into(&mut self.estate.number_mut(phone_number_id).code_verification);
            return Err(Refusal::new(
                133_006,
                "the phone number must be verified again",
            ));
        }
        if known.code_verification != "VERIFIED" {
            return Err(Refusal::new(
                133_006,
                "the phone number must be verified first",
            ));
        }
        self.check_pin(&number, pin, now)?;
        let mut changes = Vec::new();
        if let Some(source) = &known.migrates_from {
            self.finish_migration(source, phone_number_id)?;
        }
        let is_new = {
            let number = self.estate.number_mut(phone_number_id);
            let is_new = number.status != "CONNECTED";
            "CONNECTED".clone_into(&mut number.status);
            number.register_by = None;
            number.migrates_from = None;
            if number.new_name_status == "APPROVED"
                && let Some(name) = number.new_name.take()
            {
                number.verified_name = name;
                "APPROVED".clone_into(&mut number.name_status);
                "NONE".clone_into(&mut number.new_name_status);
            }
            is_new
        };
        if is_new {
            let tier = self.messaging_limit(&number.waba_id);
            changes.push(webhooks::quality(&number, "ONBOARDING", &tier, None));
        }
        Ok(changes)
    }

    /// Takes a number off.
    pub(super) fn deregister(
        &mut self,
        phone_number_id: &str,
        now: Timestamp,
    ) -> Result<(), Refusal> {
        let number = self.number_for(phone_number_id)?;
        let known = self.estate.number(phone_number_id);
        if known.is_on_app {
            let told = "a number that is used in the phone app is disconnected there";
            return Err(Refusal::new(100, told));
        }
        self.spend_registration(&number, now, false)?;
        if known.status != "CONNECTED" {
            return Err(Refusal::new(133_010, "the number is not registered"));
        }
        self.estate
            .put_number_status(phone_number_id, "DISCONNECTED");
        Ok(())
    }

    /// Sets a number's two-step PIN.
    pub(super) fn set_pin(&mut self, phone_number_id: &str, pin: &str) -> Told {
        let number = self.number_for(phone_number_id)?;
        if pin.len() != 6 || !pin.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(Refusal::new(100, "pin must have exactly six digits"));
        }
        if self.estate.number(phone_number_id).status != "CONNECTED" {
            return Err(Refusal::new(133_010, "the number is not registered"));
        }
        let phone = self.estate.phone(&number.display_phone_number);
        phone.pin = Some(pin.to_owned());
        phone.pins_wrong = 0;
        phone.pin_blocked_until = None;
        Ok(vec![webhooks::security(&number, "PIN_CHANGED")])
    }

    /// Puts another display name up for review.
    pub(super) fn request_name(
        &mut self,
        phone_number_id: &str,
        name: &str,
    ) -> Result<(), Refusal> {
        self.number_for(phone_number_id)?;
        let length = name.chars().count();
        if !(2..=75).contains(&length) {
            let told = "new_display_name must have 2 to 75 characters";
            return Err(Refusal::new(100, told));
        }
        let number = self.estate.number_mut(phone_number_id);
        number.new_name = Some(name.to_owned());
        "PENDING_REVIEW".clone_into(&mut number.new_name_status);
        Ok(())
    }

    /// Decides on a display name, the new one if there is one.
    pub(super) fn review_name(
        &mut self,
        phone_number_id: &str,
        reason: Option<&str>,
    ) -> Result<Change, crate::Error> {
        let number = self.live_number(phone_number_id).cloned();
        let number = number.ok_or(crate::Error::UnknownNumber)?;
        let known: &mut Number = self.estate.number_mut(phone_number_id);
        let status = if reason.is_some() {
            "DECLINED"
        } else {
            "APPROVED"
        };
        let name = if let Some(name) = &known.new_name {
            status.clone_into(&mut known.new_name_status);
            name.clone()
        } else {
            status.clone_into(&mut known.name_status);
            known.verified_name.clone()
        };
        if reason.is_some() {
            known.new_name = None;
        }
        Ok(webhooks::name(&number, &name, reason))
    }

    /// Counts a registration or deregistration towards the number's budget.
    fn spend_registration(
        &mut self,
        number: &NumberConfig,
        now: Timestamp,
        is_register: bool,
    ) -> Result<(), Refusal> {
        let phone = self.estate.phone(&number.display_phone_number);
        let locked = || Refusal::new(133_016, "too many registrations: locked for 72 hours");
        if phone.locked_until.is_some_and(|until| now < until) {
            return Err(locked());
        }
        phone.locked_until = None;
        let times = if is_register {
            &mut phone.registered_at
        } else {
            &mut phone.deregistered_at
        };
        forget_older(times, now, REGISTRATION_SPAN);
        if times.len() >= REGISTRATIONS_MAX {
            phone.locked_until = now.checked_add(REGISTRATION_SPAN).ok();
            return Err(locked());
        }
        times.push(now);
        Ok(())
    }

    fn check_pin(
        &mut self,
        number: &NumberConfig,
        pin: &str,
        now: Timestamp,
    ) -> Result<(), Refusal> {
        let phone = self.estate.phone(&number.display_phone_number);
        if phone.pin_blocked_until.is_some_and(|until| now < until) {
            return Err(Refusal::new(133_008, "the PIN was wrong too often"));
        }
        if phone.pin.as_deref().is_none_or(|known| known == pin) {
            phone.pin = Some(pin.to_owned());
            phone.pins_wrong = 0;
            return Ok(());
        }
        phone.pins_wrong += 1;
        if phone.pins_wrong >= PINS_MAX {
            phone.pins_wrong = 0;
            phone.pin_blocked_until = now.checked_add(PIN_PAUSE).ok();
        }
        Err(Refusal::new(133_005, "two-step PIN mismatch"))
    }
}
