//! Migrations as people read them.

use casement_event::v1;

use crate::person;

pub(super) fn summary(of: &v1::Migration) -> String {
    let state = person::word(of.state().as_str_name(), "MIGRATION_STATE_");
    let step = person::word(of.step().as_str_name(), "MIGRATION_STEP_");
    let to = of.destination.clone().unwrap_or_default().waba_id;
    format!(
        "{}  {}  to {to}  {state}, {step}",
        of.migration_id, of.number
    )
}

pub(super) fn lines(of: &v1::Migration) -> Vec<String> {
    let from = of.source.clone().unwrap_or_default();
    let to = of.destination.clone().unwrap_or_default();
    let place = |place: &v1::MigrationPlace| match place.phone_number_id.as_str() {
        "" => place.waba_id.clone(),
        id => format!("{}, as {id}", place.waba_id),
    };
    let mut lines = vec![
        format!("migration    {}", of.migration_id),
        format!("number       {}", of.number),
        format!("from         {}", place(&from)),
        format!("to           {}", place(&to)),
    ];
    let state = person::word(of.state().as_str_name(), "MIGRATION_STATE_");
    let step = person::word(of.step().as_str_name(), "MIGRATION_STEP_");
    let standing = person::word(of.standing().as_str_name(), "MIGRATION_STANDING_");
    lines.push(match of.state() {
        v1::MigrationState::Open => format!("stands       at {step}, {standing}"),
        _ => format!(
            "stands       {state} at {}",
            person::time(of.end_time.as_ref())
        ),
    });
    if of.state() == v1::MigrationState::Open {
        let expected = person::time(of.expected_by_time.as_ref());
        let overdue = if of.overdue_time.is_some() {
            ", overdue"
        } else {
            ""
        };
        lines.push(format!("expected by  {expected}{overdue}"));
    }
    if let Some(problem) = &of.problem {
        lines.push(format!("problem      {}: {}", problem.reason, problem.text));
    }
    let unmet = of
        .preconditions
        .iter()
        .filter(|one| one.verdict() != v1::MigrationVerdict::Passed && !one.vouched);
    if of.step() == v1::MigrationStep::Check {
        lines.extend(unmet.flat_map(precondition));
    }
    if let Some(report) = &of.report {
        let item =
            |mark: &str, item: &v1::MigrationItem| format!("{mark}{}: {}", item.name, item.text);
        lines.extend(report.carried.iter().map(|it| item("carried      ", it)));
        lines.extend(
            report
                .not_carried
                .iter()
                .map(|it| item("left         ", it)),
        );
        lines.extend(report.unknown.iter().map(|it| item("not told     ", it)));
        lines.extend(
            report
                .notes
                .iter()
                .map(|note| format!("note         {note}")),
        );
    }
    lines
}

pub(super) fn precondition(of: &v1::MigrationPrecondition) -> Vec<String> {
    let kind = person::word(of.kind().as_str_name(), "MIGRATION_PRECONDITION_KIND_");
    let verdict = match of.verdict() {
        v1::MigrationVerdict::Unknown if of.vouched => "vouched for".to_owned(),
        verdict => person::word(verdict.as_str_name(), "MIGRATION_VERDICT_"),
    };
    let mut lines = vec![format!("{verdict:<12} {kind}: {}", of.found)];
    if !of.fix.is_empty() && !of.vouched {
        lines.push(format!("             {}", of.fix));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_precondition_that_is_missing_is_told_with_what_helps() {
        let missing = v1::MigrationPrecondition {
            kind: v1::MigrationPreconditionKind::TwoStepDisabled.into(),
            verdict: v1::MigrationVerdict::Failed.into(),
            found: "two-step verification is on".to_owned(),
            fix: "the owner switches it off".to_owned(),
            vouched: false,
        };
        assert_eq!(
            precondition(&missing),
            [
                "failed       two step disabled: two-step verification is on",
                "             the owner switches it off",
            ]
        );
        let vouched = v1::MigrationPrecondition {
            verdict: v1::MigrationVerdict::Unknown.into(),
            vouched: true,
            ..missing
        };
        assert_eq!(precondition(&vouched).len(), 1);
        assert!(precondition(&vouched)[0].starts_with("vouched for"));
    }

    #[test]
    fn a_finished_migration_tells_what_came_along_and_what_did_not() {
        let item = |name: &str| v1::MigrationItem {
            name: name.to_owned(),
            ..v1::MigrationItem::default()
        };
        let migration = v1::Migration {
            state: v1::MigrationState::Completed.into(),
            report: Some(v1::MigrationReport {
                carried: vec![item("order/en")],
                not_carried: vec![item("chat history")],
                notes: vec!["Bills.".to_owned()],
                ..v1::MigrationReport::default()
            }),
            ..v1::Migration::default()
        };
        let told = lines(&migration).join("\n");
        for part in [
            "carried      order/en",
            "left         chat history",
            "note         Bills.",
        ] {
            assert!(told.contains(part), "{told}");
        }
    }
}
