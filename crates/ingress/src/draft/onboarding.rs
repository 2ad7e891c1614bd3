//! What reaches us of the time before a number was onboarded.
//!
//! The platform sends it over as history, which opens nothing anyhow. But a number that goes on in
//! the phone app has customers who wrote there before, and what comes of that as if it were new
//! opens nothing, either.

use casement_domain::inbound::{Kind, QualifyingPolicy, rule_of};
use casement_event::Event;
use jiff::Timestamp;

use super::Draft;

impl Draft {
    /// Returns the fact as one that opens nothing, if it would and is from before the onboarding.
    pub(crate) fn since(
        mut self,
        onboarded_at: Option<Timestamp>,
        policy: &QualifyingPolicy,
    ) -> Self {
        if onboarded_at.is_none_or(|onboarded| self.at >= onboarded) {
            return self;
        }
        self.marks.is_referral = false;
        if !policy.qualifies(self.kind) {
            return self;
        }
        self.kind = Kind::BeforeOnboarding;
        let rule = rule_of(self.kind).name.to_owned();
        match &mut self.event {
            Event::InboundMessageReceived(event) => event.policy_rule = rule,
            Event::InboundCallReceived(event) => event.policy_rule = rule,
            _ => {}
        }
        self
    }
}
