//! What a number's account may do besides writing to one customer, as the API shows it. The table
//! is the domain's; here it is put into words, and what nobody offers is refused as a value.

use api::request_interaction_request::Interaction;
use casement_domain::capability::{Availability, Capability, available};
use casement_domain::number_health::Health;
use casement_proto::account::v1 as api;

/// Why what an account could do is not done: Casement has no way to.
const NOT_OFFERED: &str = "NOT_OFFERED";

/// Returns every capability of a number.
pub(crate) fn all(digits: &str, health: &Health) -> Vec<api::Capability> {
    let shown = |capability: &Capability| one(*capability, digits, health);
    Capability::ALL.iter().map(shown).collect()
}

fn one(capability: Capability, digits: &str, health: &Health) -> api::Capability {
    let found = available(capability, digits, health);
    let availability = match found {
        Availability::Available => api::Availability::Available,
        Availability::Unavailable(_) => api::Availability::Unavailable,
        Availability::Unknown => api::Availability::Unknown,
    };
    let lack = found.lack();
    api::Capability {
        name: capability.as_str().to_owned(),
        availability: availability.into(),
        reason: lack
            .map(|lack| lack.as_str().to_owned())
            .unwrap_or_default(),
        text: lack.map(|lack| lack.text().to_owned()).unwrap_or_default(),
    }
}

/// Answers who asks a number for what it does not do.
pub(crate) fn refuse(
    interaction: &Interaction,
    digits: &str,
    health: &Health,
) -> api::RequestInteractionResponse {
    let (asked, words) = match interaction {
        Interaction::GroupId(_) => (Capability::GroupMessages, "write in groups"),
        Interaction::CallTo(_) => (Capability::BusinessCalls, "make calls"),
    };
    let capability = one(asked, digits, health);
    let (reason, text) = match capability.reason.as_str() {
        "" => (
            NOT_OFFERED.to_owned(),
            format!("Casement does not {words}."),
        ),
        reason => (reason.to_owned(), capability.text.clone()),
    };
    api::RequestInteractionResponse {
        accepted: false,
        capability: Some(capability),
        reason,
        text,
    }
}

#[cfg(test)]
mod tests {
    use casement_domain::number_health::{Fact, Kind, Source};
    use jiff::Timestamp;

    use super::*;

    #[test]
    fn what_is_not_done_is_answered_with_why() {
        let mut health = Health::default();
        let group = Interaction::GroupId("g".to_owned());
        let call = Interaction::CallTo("+4930111".to_owned());
        assert_eq!(refuse(&group, "4930", &health).reason, NOT_OFFERED);
        assert_eq!(refuse(&call, "15550001111", &health).reason, "COUNTRY");

        let fact = Fact::new(Timestamp::UNIX_EPOCH, Source::Poll, "TRUE");
        health.take(Kind::Coexistence, fact);
        let answer = refuse(&group, "4930", &health);
        assert!(!answer.accepted);
        assert_eq!(answer.reason, "COEXISTENCE");
        let shown = answer.capability.unwrap();
        assert_eq!(shown.availability(), api::Availability::Unavailable);
        assert_eq!(all("4930", &health).len(), 3);
    }
}
