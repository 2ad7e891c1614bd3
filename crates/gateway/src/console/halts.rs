//! Halts, as screens show them: what stops, why, and what ends it.

use casement_proto::events::v1::{Halt, HaltTraffic};
use jiff::Timestamp;

use super::view::{When, word};

/// A halt for people.
#[derive(Debug, Clone)]
pub(super) struct HaltView {
    pub(super) id: String,
    /// Such as `waba 102290129340398, marketing`.
    pub(super) what: String,
    /// Who set it: `paused by ops`, or `halted by the platform`.
    pub(super) who: String,
    /// Why, in the words of whoever set it.
    pub(super) why: String,
    pub(super) since: Option<When>,
    pub(super) until: Option<When>,
    pub(super) probe: Option<When>,
}

impl HaltView {
    pub(super) fn new(halt: &Halt, now: Timestamp) -> Self {
        let scope = word(halt.scope().as_str_name(), "HALT_SCOPE");
        let traffic = match halt.traffic() {
            HaltTraffic::Marketing => ", marketing",
            HaltTraffic::Templates => ", templates",
            HaltTraffic::Everything | HaltTraffic::Unspecified => "",
        };
        let channels = if halt.every_channel { ", SMS too" } else { "" };
        let (who, why) = match &halt.error {
            Some(error) => {
                let said = [&error.message, &error.title, &error.details];
                let said = said.into_iter().find(|said| !said.is_empty());
                let said = said.map_or_else(String::new, |said| format!(": {said}"));
                (
                    "halted by the platform".to_owned(),
                    format!("{}{said}", error.code),
                )
            }
            None => (format!("paused by {}", halt.caller), halt.reason.clone()),
        };
        Self {
            id: halt.halt_id.clone(),
            what: format!("{scope} {}{traffic}{channels}", halt.key),
            who,
            why,
            since: When::of(halt.since_time.as_ref(), now),
            until: When::of(halt.until_time.as_ref(), now),
            probe: When::of(halt.probe_time.as_ref(), now),
        }
    }
}

#[cfg(test)]
mod tests {
    use casement_proto::events::v1::{HaltScope, ProviderError};

    use super::*;

    #[test]
    fn who_stopped_what_and_why_is_told() {
        let now = "2026-01-01T00:00:00Z".parse().unwrap();
        let mut halt = Halt {
            scope: HaltScope::Number.into(),
            key: "15550001111".to_owned(),
            traffic: HaltTraffic::Marketing.into(),
            caller: "ops".to_owned(),
            reason: "wrong prices".to_owned(),
            ..Halt::default()
        };
        let view = HaltView::new(&halt, now);
        assert_eq!(view.what, "number 15550001111, marketing");
        assert_eq!(
            (view.who.as_str(), view.why.as_str()),
            ("paused by ops", "wrong prices")
        );
        halt.error = Some(ProviderError {
            code: 131_048,
            title: "Spam rate limit hit".to_owned(),
            ..ProviderError::default()
        });
        let view = HaltView::new(&halt, now);
        assert_eq!(view.who, "halted by the platform");
        assert_eq!(view.why, "131048: Spam rate limit hit");
    }
}
