//! Whether a number can send, as Meta tells it and as it refuses.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::records::{BanState, Review, Verification};
use crate::books::Books;
use crate::codes::Refusal;
use crate::config::NumberConfig;

/// The business may answer nobody.
const NO_ANSWERS: &str = "RESTRICTED_CUSTOMER_INITIATED_MESSAGING";
/// The business may write to nobody first.
const NO_OPENINGS: &str = "RESTRICTED_BIZ_INITIATED_MESSAGING";

impl Books {
    /// Checks that a number may send now, a template or something else.
    pub(crate) fn check_can_send(
        &self,
        phone_number_id: &str,
        is_template: bool,
        now: Timestamp,
    ) -> Result<(), Refusal> {
        let number = self.estate.number(phone_number_id);
        if number.status == "DELETED" {
            return Err(Refusal::new(33, "the phone number was deleted"));
        }
        if number.moved_to.is_some() || number.status != "CONNECTED" {
            return Err(Refusal::new(133_010, "the number is not registered"));
        }
        if number.maintenance_until.is_some_and(|until| now < until) {
            return Err(Refusal::new(
                131_057,
                "the number's throughput is being raised",
            ));
        }
        let Some(config) = self.number(phone_number_id) else {
            return Ok(());
        };
        let account = self.account(&config.waba_id);
        if account.ban == Some(BanState::Disable) {
            return Err(Refusal::new(131_031, "the account is disabled"));
        }
        if account.review == Review::Rejected {
            return Err(Refusal::new(131_031, "the account did not pass its review"));
        }
        let blocked = |kind: &str| account.restrictions.iter().any(|it| it.holds(kind, now));
        if blocked(NO_ANSWERS) || (is_template && blocked(NO_OPENINGS)) {
            let told = "the account is restricted for a policy violation";
            return Err(Refusal::new(368, told));
        }
        if is_template && !account.has_payment {
            return Err(Refusal::new(131_042, "the account has no payment method"));
        }
        Ok(())
    }

    /// Returns the tier of an account's portfolio.
    pub(crate) fn messaging_limit(&self, waba_id: &str) -> String {
        let business = self.business(&self.account(waba_id).business_id);
        business
            .map(|business| business.messaging_limit)
            .unwrap_or_default()
    }

    /// Tells the health of a number, or of an account alone.
    pub(super) fn health_status(
        &self,
        number: Option<&NumberConfig>,
        waba_id: &str,
        now: Timestamp,
    ) -> Value {
        let mut entities = Vec::new();
        if let Some(number) = number {
            entities.push(self.number_health(number, now));
        }
        entities.push(self.account_health(waba_id, now));
        let account = self.account(waba_id);
        let business = self.business(&account.business_id);
        let is_verified = business.is_some_and(|it| it.verification == Verification::Verified);
        entities.push(if is_verified {
            json!({
                "entity_type": "BUSINESS", "id": account.business_id,
                "can_send_message": "AVAILABLE",
            })
        } else {
            json!({
                "entity_type": "BUSINESS", "id": account.business_id,
                "can_send_message": "LIMITED",
                "errors": [{
                    "error_code": 141_010,
                    "error_description": "The business is not verified.",
                    "possible_solution": "Verify the business in Meta Business Suite.",
                }],
            })
        });
        entities.push(json!({
            "entity_type": "APP", "id": self.assets.app.id, "can_send_message": "AVAILABLE",
        }));
        let has = |word: &str| {
            let word = json!(word);
            entities.iter().any(|it| it["can_send_message"] == word)
        };
        let overall = if has("BLOCKED") {
            "BLOCKED"
        } else if has("LIMITED") {
            "LIMITED"
        } else {
            "AVAILABLE"
        };
        json!({"can_send_message": overall, "entities": entities})
    }

    fn number_health(&self, config: &NumberConfig, now: Timestamp) -> Value {
        let id = &config.phone_number_id;
        let number = self.estate.number(id);
        let is_changing = number.maintenance_until.is_some_and(|until| now < until);
        let mut entity = json!({
            "entity_type": "PHONE_NUMBER", "id": id, "can_send_message": "AVAILABLE",
        });
        if number.status != "CONNECTED" || is_changing {
            entity["can_send_message"] = json!("BLOCKED");
            entity["errors"] = json!([{
                "error_code": 141_000,
                "error_description": "The phone number is not registered.",
                "possible_solution": "Register the phone number.",
            }]);
        } else if !matches!(
            number.name_status.as_str(),
            "APPROVED" | "AVAILABLE_WITHOUT_REVIEW"
        ) {
            entity["can_send_message"] = json!("LIMITED");
            entity["additional_info"] = json!(["The display name has not been approved yet."]);
        }
        entity
    }

    fn account_health(&self, waba_id: &str, now: Timestamp) -> Value {
        let account = self.account(waba_id);
        let restricted = account
            .restrictions
            .iter()
            .any(|it| it.holds(&it.kind, now));
        let (word, problem) = if account.ban == Some(BanState::Disable) {
            ("BLOCKED", Some((141_001, "The account is disabled.")))
        } else if account.review != Review::Approved {
            ("BLOCKED", Some((141_002, "The account is not approved.")))
        } else if restricted {
            ("LIMITED", Some((141_003, "The account is restricted.")))
        } else if !account.has_payment {
            let told = "There is no payment method: business-initiated conversations are blocked.";
            ("LIMITED", Some((141_006, told)))
        } else {
            ("AVAILABLE", None)
        };
        let mut entity = json!({
            "entity_type": "WABA", "id": waba_id, "can_send_message": word,
        });
        if let Some((code, told)) = problem {
            entity["errors"] = json!([{
                "error_code": code,
                "error_description": told,
                "possible_solution": "See the account in WhatsApp Manager.",
            }]);
        }
        entity
    }
}
