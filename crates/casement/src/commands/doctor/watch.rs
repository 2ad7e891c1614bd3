//! What the roles watch all the time, as they last told: a line that says whether anything stands
//! raised. What each is about is told by `casement watch`.

use std::collections::BTreeMap;

use casement_domain::watch::{Check, Level};
use casement_event::convert::watch::{read_check, read_level};
use casement_event::v1;

use super::broker::Broker;
use super::chain;
use super::report::Report;

const CHECK: &str = "watch";

const ADVICE: &str = "`casement watch` tells of what, and which page says what to do";

pub(super) async fn check(broker: &Broker, report: &mut Report) {
    let Some(inspector) = &broker.inspector else {
        report.skip(CHECK, "the broker cannot be asked");
        return;
    };
    match inspector.verdicts().await {
        Ok(verdicts) => tell(&verdicts, report),
        Err(error) => report.skip(CHECK, chain(&error)),
    }
}

fn tell(verdicts: &[v1::Watch], report: &mut Report) {
    let mut raised: BTreeMap<&str, usize> = BTreeMap::new();
    for verdict in verdicts {
        if read_level(verdict.level()) > Level::Fine {
            let name = read_check(verdict.check()).map_or("unknown", Check::as_str);
            *raised.entry(name).or_default() += 1;
        }
    }
    let is_alarming = verdicts
        .iter()
        .any(|verdict| read_level(verdict.level()) == Level::Alarming);
    let found = raised
        .iter()
        .map(|(name, count)| format!("{name} ({count})"));
    let found = found.collect::<Vec<_>>().join(", ");
    if is_alarming {
        report.fail(CHECK, format!("raised: {found}"), ADVICE);
    } else if raised.is_empty() {
        report.ok(CHECK, "nothing stands raised");
    } else {
        report.warn(CHECK, format!("raised: {found}"), ADVICE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(levels: &[v1::WatchLevel]) -> (usize, usize) {
        let verdicts: Vec<_> = levels
            .iter()
            .map(|level| v1::Watch {
                check: v1::WatchCheck::Clock.into(),
                level: (*level).into(),
                ..v1::Watch::default()
            })
            .collect();
        let mut report = Report::default();
        tell(&verdicts, &mut report);
        (report.failed_count(), report.count())
    }

    #[test]
    fn what_is_alarming_fails_and_what_is_fine_again_does_not() {
        use v1::WatchLevel::{Alarming, Fine, Warned};
        assert_eq!(told(&[]), (0, 1));
        assert_eq!(told(&[Fine, Warned]), (0, 1));
        assert_eq!(told(&[Fine, Warned, Alarming]), (1, 1));
    }
}
