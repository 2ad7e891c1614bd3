//! A number is added to an account, or moves there from another (Meta: migrate a number between
//! WhatsApp business accounts).
//!
//! Until it is registered at its destination, the number goes on at its source.

use jiff::Timestamp;

use super::records::{Number, Quality, Review};
use crate::books::Books;
use crate::codes::Refusal;
use crate::config::{NumberConfig, TemplateConfig, TemplateStatus};
use crate::rules::digits;
use crate::templates::key_of;

/// What a call asks to add.
pub(super) struct Wanted<'a> {
    pub(super) country_code: &'a str,
    pub(super) phone: &'a str,
    pub(super) verified_name: Option<&'a str>,
    pub(super) migrate: bool,
}

impl Books {
    /// Adds a number to an account; returns its id there.
    pub(super) fn add_number(
        &mut self,
        waba_id: &str,
        wanted: &Wanted<'_>,
        now: Timestamp,
    ) -> Result<String, Refusal> {
        let phone = digits(wanted.phone);
        let country_code = digits(wanted.country_code);
        if !(7..=15).contains(&phone.len())
            || country_code.is_empty()
            || !phone.starts_with(&country_code)
        {
            let told = "phone_number must be in E.164 format and begin with cc";
            return Err(Refusal::new(100, told));
        }
        let name = wanted.verified_name.unwrap_or_default();
        if !wanted.migrate && !(2..=75).contains(&name.chars().count()) {
            let told = "verified_name must have 2 to 75 characters";
            return Err(Refusal::new(100, told));
        }
        let same = |number: &&&NumberConfig| digits(&number.display_phone_number) == phone;
        if self.numbers_of(waba_id).iter().find(same).is_some() {
            let told = "the phone number is in this account already";
            return Err(Refusal::new(2_388_012, told));
        }
        self.check_room(waba_id, now)?;
        let source = self.source_of(&phone, waba_id);
        let number = match (source, wanted.migrate) {
            (None, false) => Number {
                status: "PENDING".to_owned(),
                code_verification: "NOT_VERIFIED".to_owned(),
                verified_name: name.to_owned(),
                name_status: "PENDING_REVIEW".to_owned(),
                quality: Quality::Unknown,
                ..Number::default()
            },
            (Some(_), false) => {
                let told = "the phone number is registered with WhatsApp Business already";
                return Err(Refusal::new(100, told));
            }
            (None, true) => {
                let told = "the phone number is in no account that it could move from";
                return Err(Refusal::new(2_388_103, told));
            }
            (Some(source), true) => {
                let missing = self.missing_for_migration(&source, waba_id);
                if !missing.is_empty() {
                    return Err(Refusal::new(2_388_103, missing.join("; ")));
                }
                let before = self.estate.number(&source.phone_number_id);
                Number {
                    status: "PENDING".to_owned(),
                    code_verification: "NOT_VERIFIED".to_owned(),
                    verified_name: before.verified_name,
                    name_status: before.name_status,
                    migrates_from: Some(source.phone_number_id),
                    quality: Quality::Unknown,
                    ..Number::default()
                }
            }
        };
        Ok(self.put_number_into(waba_id, &phone, number))
    }

    /// Finds the number that is in use elsewhere.
    fn source_of(&self, phone: &str, destination: &str) -> Option<NumberConfig> {
        let elsewhere = |number: &&NumberConfig| {
            let known = self.estate.number(&number.phone_number_id);
            digits(&number.display_phone_number) == phone
                && number.waba_id != destination
                && !known.is_gone()
                && known.migrates_from.is_none()
        };
        self.numbers.iter().find(elsewhere).cloned()
    }

    /// Lists what keeps a number from moving to an account.
    fn missing_for_migration(
        &mut self,
        source: &NumberConfig,
        destination: &str,
    ) -> Vec<&'static str> {
        let number = self.estate.number(&source.phone_number_id);
        let account = self.account(destination);
        let has_pin = self
            .estate
            .phone(&source.display_phone_number)
            .pin
            .is_some();
        let mut missing = Vec::new();
        let mut need = |is_met: bool, told: &'static str| {
            if !is_met {
                missing.push(told);
            }
        };
        need(
            number.status == "CONNECTED",
            "the number is not registered in its present account",
        );
        need(!number.is_on_app, "the number is used in the phone app too");
        need(
            !has_pin,
            "two-step verification is on: its owner has to disable it",
        );
        need(
            matches!(
                number.name_status.as_str(),
                "APPROVED" | "AVAILABLE_WITHOUT_REVIEW"
            ),
            "the display name is not approved",
        );
        need(
            number.new_name_status != "PENDING_REVIEW",
            "another display name is under review",
        );
        need(
            self.is_business_verified(&source.waba_id),
            "the business that has the number is not verified",
        );
        need(
            self.is_business_verified(destination),
            "the business that is to have the number is not verified",
        );
        need(
            account.review == Review::Approved,
            "the destination account is not approved",
        );
        need(
            account.has_payment,
            "the destination account has no payment method",
        );
        need(
            self.assets.is_subscribed(destination),
            "no app is subscribed to the destination account's webhooks",
        );
        missing
    }

    /// Takes a number over: what goes along goes along, and its old id is dead.
    pub(super) fn finish_migration(&mut self, source: &str, here: &str) -> Result<(), Refusal> {
        let gone = || Refusal::new(2_388_103, "the number has left its source meanwhile");
        let from = self.live_number(source).cloned().ok_or_else(gone)?;
        let to = self.number_for(here)?;
        let before = self.estate.number(source);
        let number = self.estate.number_mut(here);
        number.verified_name.clone_from(&before.verified_name);
        number.name_status.clone_from(&before.name_status);
        number.quality = before.quality;
        number.throughput = before.throughput;
        number.is_official = before.is_official;
        let left = self.estate.number_mut(source);
        "MIGRATED".clone_into(&mut left.status);
        left.moved_to = Some(here.to_owned());
        // The messaging limit goes along (Meta: the better of the two counts).
        let limit = self.messaging_limit(&from.waba_id);
        let owner = self.account(&to.waba_id).business_id;
        if let Some(business) = self.business_mut(&owner)
            && tier_rank(&limit) > tier_rank(&business.messaging_limit)
        {
            business.messaging_limit = limit;
        }
        self.copy_templates(&from.waba_id, &to.waba_id);
        self.move_ties(source, here);
        Ok(())
    }

    /// Copies the templates that go along: approved ones that are not of low quality and that the
    /// destination does not have. Their quality is unknown there (Meta: migrate a number).
    fn copy_templates(&mut self, from: &str, to: &str) {
        let goes_along = |template: &&TemplateConfig| {
            let known = self.catalog.known(&key_of(template));
            let is_low = known.is_some_and(|it| it.quality == "RED");
            template.waba_id == from && template.status == TemplateStatus::Approved && !is_low
        };
        let theirs: Vec<_> = self.templates.iter().filter(goes_along).cloned().collect();
        for mut template in theirs {
            let was = key_of(&template);
            to.clone_into(&mut template.waba_id);
            let here = key_of(&template);
            if self.template_at(&here).is_some() {
                continue;
            }
            if let Some(before) = self.catalog.known(&was).cloned() {
                let details = self.catalog.of(&here);
                details.components = before.components;
                details.parameter_format = before.parameter_format;
                details.ttl_seconds = before.ttl_seconds;
            }
            self.templates.push(template);
        }
    }
}

/// Orders the tiers; what has no name here is the least.
pub(super) fn tier_rank(tier: &str) -> usize {
    let tiers = [
        "TIER_50",
        "TIER_250",
        "TIER_1K",
        "TIER_2K",
        "TIER_10K",
        "TIER_100K",
        "TIER_UNLIMITED",
    ];
    tiers
        .iter()
        .position(|known| *known == tier)
        .map_or(0, |place| place + 1)
}
