//! A decision as a table: every route that was considered, what became of it, and why.
//!
//! Pure. The same table explains a preview, an attempt, a hold and an end.

use casement_proto::events::v1::{CostEstimate, Decision, Money, Route, Verdict};
use jiff::Timestamp;

use super::conversation_advice::words;
use super::conversation_clock::{Moment, moment};
use super::view::time;

/// A decision, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct DecisionView {
    /// What it is the decision of, such as `Attempt 1`.
    pub(super) of: String,
    /// The route in words; `none` if there was none.
    pub(super) chosen: &'static str,
    pub(super) rows: Vec<CandidateView>,
    pub(super) policy: String,
    pub(super) decided: Option<Moment>,
    pub(super) next_change: Option<Moment>,
    /// Set if rates or schedules put the call off.
    pub(super) earliest: Option<Moment>,
    pub(super) hold_until: Option<Moment>,
    /// Such as `2 segments, UCS-2`; empty if it could not go as SMS.
    pub(super) sms: String,
    /// Who would carry it as SMS, the first one first.
    pub(super) gateways: String,
    pub(super) category: String,
    /// What comes of holding it; empty if it is not held.
    pub(super) hold: String,
}

/// A route that was considered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct CandidateView {
    pub(super) route: &'static str,
    pub(super) verdict: &'static str,
    /// `chosen`, `eligible` or `out`: how it is painted.
    pub(super) class: &'static str,
    /// Stable, such as `WINDOW_CLOSED`.
    pub(super) reason: String,
    pub(super) text: String,
    pub(super) facts: Vec<Fact>,
    /// Empty if nobody knows.
    pub(super) cost: String,
}

/// A fact that a verdict rests on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fact {
    pub(super) name: String,
    pub(super) value: String,
}

/// The word for a route.
pub(super) fn route_word(route: Route) -> &'static str {
    match route {
        Route::Unspecified => "none",
        Route::FreeForm => "free-form",
        Route::Template => "template",
        Route::Sms => "SMS",
        Route::Hold => "hold",
    }
}

impl DecisionView {
    pub(super) fn new(of: impl Into<String>, decision: &Decision, now: Timestamp) -> Self {
        let decided_at = time(decision.decide_time.as_ref());
        let earliest_at = time(decision.earliest_send_time.as_ref());
        let is_put_off = earliest_at
            .zip(decided_at)
            .is_some_and(|(earliest, decided)| earliest.duration_since(decided).as_secs() > 0);
        let rows = decision.candidates.iter().map(|one| CandidateView {
            route: route_word(one.route()),
            verdict: match one.verdict() {
                Verdict::Chosen => "chosen",
                Verdict::Eligible => "possible, not needed",
                Verdict::RuledOut | Verdict::Unspecified => "ruled out",
            },
            class: match one.verdict() {
                Verdict::Chosen => "chosen",
                Verdict::Eligible => "eligible",
                Verdict::RuledOut | Verdict::Unspecified => "out",
            },
            reason: one.reason.clone(),
            text: one.text.clone(),
            facts: one.facts.iter().map(|fact| self::fact(fact)).collect(),
            cost: cost_of(&decision.costs, one.route()),
        });
        Self {
            of: of.into(),
            chosen: route_word(decision.chosen_route()),
            rows: rows.collect(),
            policy: decision.policy.clone(),
            decided: moment(decision.decide_time.as_ref(), now),
            next_change: moment(decision.next_change_time.as_ref(), now),
            earliest: earliest_at
                .filter(|_| is_put_off)
                .map(|at| Moment::new(at, now)),
            hold_until: moment(decision.hold_until_time.as_ref(), now)
                .filter(|_| decision.chosen_route() == Route::Hold),
            sms: segments(decision),
            gateways: decision.sms_gateways.join(", "),
            category: words(&decision.template_category),
            hold: hold(decision),
        }
    }

    /// The route that was chosen, with why; nothing, if there is none.
    pub(super) fn winner(&self) -> Option<&CandidateView> {
        self.rows.iter().find(|row| row.class == "chosen")
    }
}

fn fact(fact: &str) -> Fact {
    let (name, value) = fact.split_once('=').unwrap_or((fact, ""));
    Fact {
        name: words(name),
        value: value.to_owned(),
    }
}

/// Says how large an SMS would be; nothing, if there would be none.
pub(super) fn segments(decision: &Decision) -> String {
    match decision.sms_segments {
        0 => String::new(),
        1 => format!("1 segment, {}", decision.sms_encoding),
        count => format!("{count} segments, {}", decision.sms_encoding),
    }
}

fn hold(decision: &Decision) -> String {
    let Some(hold) = &decision.hold else {
        return String::new();
    };
    let others = match hold.held_message_count {
        0 => String::new(),
        1 => "Another message is held for this customer. ".to_owned(),
        count => format!("{count} other messages are held for this customer. "),
    };
    let nudge = hold.nudge.as_ref().map_or("", |nudge| &nudge.text);
    format!("{others}{nudge}").trim().to_owned()
}

/// What a route is expected to cost; empty if it is not known.
pub(super) fn cost_of(costs: &[CostEstimate], route: Route) -> String {
    let Some(cost) = costs.iter().find(|cost| cost.route() == route) else {
        return String::new();
    };
    let category = words(&cost.category);
    match (&cost.amount, cost.free.as_str(), cost.unpriced.as_str()) {
        (_, free, _) if !free.is_empty() => format!("free ({})", words(free)),
        (Some(amount), ..) => format!("{} ({category})", money(amount)),
        (None, _, "") => String::new(),
        (None, _, unpriced) => format!("not known ({})", words(unpriced)),
    }
}

/// An amount with as many digits as it needs, and two at least.
pub(super) fn money(of: &Money) -> String {
    let (whole, micros) = (of.micros / 1_000_000, of.micros % 1_000_000);
    let mut digits = format!("{micros:06}");
    while digits.len() > 2 && digits.ends_with('0') {
        digits.pop();
    }
    format!("{whole}.{digits} {}", of.currency)
}

#[cfg(test)]
mod tests {
    use casement_proto::events::v1::{Candidate, HoldEffect, Nudge};

    use super::*;

    fn candidate(route: Route, verdict: Verdict, reason: &str) -> Candidate {
        let mut one = Candidate {
            reason: reason.to_owned(),
            facts: vec!["window_expires_at=2026-11-22T10:00:00Z".to_owned()],
            text: "A sentence.".to_owned(),
            ..Candidate::default()
        };
        one.set_route(route);
        one.set_verdict(verdict);
        one
    }

    #[test]
    fn every_candidate_is_a_row_with_verdict_reason_facts_and_cost() {
        let mut cost = CostEstimate {
            category: "utility".to_owned(),
            amount: Some(Money {
                currency: "EUR".to_owned(),
                micros: 45_600,
            }),
            ..CostEstimate::default()
        };
        cost.set_route(Route::Template);
        let mut decision = Decision {
            candidates: vec![
                candidate(Route::FreeForm, Verdict::RuledOut, "WINDOW_CLOSED"),
                candidate(Route::Template, Verdict::Chosen, "TEMPLATE_USABLE"),
                candidate(Route::Sms, Verdict::Eligible, "SMS_POSSIBLE"),
            ],
            costs: vec![cost],
            sms_segments: 2,
            sms_encoding: "UCS-2".to_owned(),
            ..Decision::default()
        };
        decision.set_chosen_route(Route::Template);

        let view = DecisionView::new("Attempt 1", &decision, Timestamp::UNIX_EPOCH);

        let rows: Vec<_> = view
            .rows
            .iter()
            .map(|row| (row.route, row.class, row.reason.as_str()))
            .collect();
        assert_eq!(
            rows,
            [
                ("free-form", "out", "WINDOW_CLOSED"),
                ("template", "chosen", "TEMPLATE_USABLE"),
                ("SMS", "eligible", "SMS_POSSIBLE"),
            ]
        );
        assert_eq!(view.winner().unwrap().cost, "0.0456 EUR (utility)");
        assert_eq!(view.rows[0].facts[0].name, "window expires at");
        assert_eq!(view.rows[0].facts[0].value, "2026-11-22T10:00:00Z");
        assert_eq!(
            (view.chosen, view.sms.as_str()),
            ("template", "2 segments, UCS-2")
        );
        assert_eq!(view.hold_until, None);
    }

    #[test]
    fn without_a_route_nothing_wins() {
        let decision = Decision {
            candidates: vec![candidate(Route::Sms, Verdict::RuledOut, "NO_PHONE")],
            ..Decision::default()
        };
        let view = DecisionView::new("Preview", &decision, Timestamp::UNIX_EPOCH);
        assert_eq!((view.chosen, view.winner()), ("none", None));
    }

    #[test]
    fn money_is_shown_to_the_last_digit_that_says_something() {
        for (micros, shown) in [
            (0, "0.00 USD"),
            (5_000, "0.005 USD"),
            (1_500_000, "1.50 USD"),
            (12_345_678, "12.345678 USD"),
        ] {
            let money = Money {
                currency: "USD".to_owned(),
                micros,
            };
            assert_eq!(super::money(&money), shown);
        }
    }

    #[test]
    fn a_cost_says_why_it_is_free_or_not_known() {
        let mut estimate = CostEstimate {
            free: "free_entry_point".to_owned(),
            ..CostEstimate::default()
        };
        estimate.set_route(Route::FreeForm);
        assert_eq!(
            cost_of(std::slice::from_ref(&estimate), Route::FreeForm),
            "free (free entry point)"
        );
        assert_eq!(cost_of(std::slice::from_ref(&estimate), Route::Sms), "");
        estimate.free.clear();
        estimate.unpriced = "NO_RATE".to_owned();
        assert_eq!(cost_of(&[estimate], Route::FreeForm), "not known (no rate)");
    }

    #[test]
    fn a_hold_tells_of_others_and_of_the_nudge() {
        let decision = Decision {
            hold: Some(HoldEffect {
                held_message_count: 2,
                nudge: Some(Nudge {
                    text: "The customer is asked to write.".to_owned(),
                    ..Nudge::default()
                }),
                ..HoldEffect::default()
            }),
            ..Decision::default()
        };
        assert_eq!(
            hold(&decision),
            "2 other messages are held for this customer. The customer is asked to write."
        );
    }
}
