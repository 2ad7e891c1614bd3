//! How things are told to people: times, enums, decisions.
//!
//! For standard output only. Programs read JSON, which `json` makes.

use casement_event::v1;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

/// Returns a time of day in UTC, such as `10:15:20 UTC`, or a dash.
pub(crate) fn time(at: Option<&prost_types::Timestamp>) -> String {
    instant(at).map_or_else(
        || "–".to_owned(),
        |at| at.to_zoned(TimeZone::UTC).strftime("%F %T UTC").to_string(),
    )
}

/// Returns a stored time as an instant.
pub(crate) fn instant(at: Option<&prost_types::Timestamp>) -> Option<Timestamp> {
    let at = at?;
    Timestamp::new(at.seconds, at.nanos).ok()
}

/// Returns a duration in the unit that fits, such as `38 ms` or `12.0 s`.
pub(crate) fn duration(length: SignedDuration) -> String {
    let seconds = length.as_secs_f64();
    if seconds.abs() < 1.0 {
        return format!("{} ms", length.as_millis());
    }
    if seconds.abs() < 120.0 {
        return format!("{seconds:.1} s");
    }
    format!("{length:#}")
}

/// Returns the name of an enum's value without its prefix, in lower case: `free form`.
pub(crate) fn word(name: &str, prefix: &str) -> String {
    name.strip_prefix(prefix)
        .unwrap_or(name)
        .to_ascii_lowercase()
        .replace('_', " ")
}

/// Returns how people call a route.
pub(crate) fn route(route: v1::Route) -> String {
    match route {
        v1::Route::FreeForm => "free-form".to_owned(),
        v1::Route::Sms => "SMS".to_owned(),
        other => word(other.as_str_name(), "ROUTE_"),
    }
}

/// Returns a decision in one line: the route chosen, and why each before it was ruled out.
pub(crate) fn decision_line(decision: &v1::Decision) -> String {
    let chosen = decision.chosen_route();
    let mut why: Vec<String> = decision
        .candidates
        .iter()
        .take_while(|candidate| candidate.route() != chosen)
        .filter(|candidate| candidate.verdict() == v1::Verdict::RuledOut)
        .map(|candidate| format!("{}: {}", route(candidate.route()), candidate.reason))
        .collect();
    let own = decision
        .candidates
        .iter()
        .find(|candidate| candidate.route() == chosen);
    why.extend(own.map(|candidate| format!("{}: {}", route(chosen), candidate.reason)));
    if chosen == v1::Route::Unspecified {
        return format!("no route ({})", why.join(", "));
    }
    format!("{} ({})", route(chosen), why.join(", "))
}

/// Returns a decision as a table: every route with its verdict and reason.
pub(crate) fn decision_table(decision: &v1::Decision) -> Vec<String> {
    decision
        .candidates
        .iter()
        .map(|candidate| {
            let verdict = word(candidate.verdict().as_str_name(), "VERDICT_");
            format!(
                "{:<9}  {verdict:<9}  {:<24}  {}",
                route(candidate.route()),
                candidate.reason,
                candidate.text
            )
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(route: v1::Route, verdict: v1::Verdict, reason: &str) -> v1::Candidate {
        v1::Candidate {
            route: route.into(),
            verdict: verdict.into(),
            reason: reason.to_owned(),
            ..Default::default()
        }
    }

    #[test]
    fn a_decision_is_told_in_one_line() {
        let decision = v1::Decision {
            chosen_route: v1::Route::Template.into(),
            candidates: vec![
                candidate(v1::Route::FreeForm, v1::Verdict::RuledOut, "WINDOW_CLOSED"),
                candidate(
                    v1::Route::Template,
                    v1::Verdict::Chosen,
                    "TEMPLATE_APPROVED",
                ),
                candidate(v1::Route::Sms, v1::Verdict::RuledOut, "NO_PHONE"),
            ],
            ..Default::default()
        };
        assert_eq!(
            decision_line(&decision),
            "template (free-form: WINDOW_CLOSED, template: TEMPLATE_APPROVED)"
        );
        assert_eq!(decision_table(&decision).len(), 3);
    }

    #[test]
    fn durations_have_the_unit_that_fits() {
        assert_eq!(duration(SignedDuration::from_millis(38)), "38 ms");
        assert_eq!(duration(SignedDuration::from_millis(1_240)), "1.2 s");
        assert_eq!(duration(SignedDuration::from_hours(24)), "24h");
        assert_eq!(time(None), "–");
    }
}
