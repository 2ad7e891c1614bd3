//! How colleagues handle a conversation, to and from what is stored.

use casement_domain::conversation::{Assignment, Closing, Colleague, Handling, InvalidName, Label};
use casement_proto::events::v1;

use super::{ConvertError, instant, required_instant, timestamp};

/// Returns how a conversation is handled, as stored.
pub fn handling(of: &Handling) -> v1::Handling {
    let assignment = of.assignment.as_ref();
    let closing = of.closing.as_ref();
    let name = |name: &Colleague| name.as_str().to_owned();
    v1::Handling {
        assignee: assignment.map_or_else(String::new, |assignment| name(&assignment.to)),
        assign_time: assignment.map(|assignment| timestamp(assignment.at)),
        close_time: closing.map(|closing| timestamp(closing.at)),
        closer: closing.map_or_else(String::new, |closing| name(&closing.by)),
        closed_through_time: closing.map(|closing| timestamp(closing.through)),
        read_through_time: of.read_through.map(timestamp),
        labels: of
            .labels
            .iter()
            .map(|label| label.as_str().to_owned())
            .collect(),
        note_count: i64::try_from(of.note_count).unwrap_or(i64::MAX),
    }
}

/// Reads how a conversation is handled.
pub fn read_handling(stored: &v1::Handling) -> Result<Handling, ConvertError> {
    let assignment = if stored.assignee.is_empty() {
        None
    } else {
        Some(Assignment {
            to: colleague("assignee", &stored.assignee)?,
            at: required_instant("assign_time", stored.assign_time.as_ref())?,
        })
    };
    let closing = match instant("close_time", stored.close_time.as_ref())? {
        None => None,
        Some(at) => {
            let through = stored.closed_through_time.as_ref();
            Some(Closing {
                by: colleague("closer", &stored.closer)?,
                at,
                through: required_instant("closed_through_time", through)?,
            })
        }
    };
    let labels = stored
        .labels
        .iter()
        .map(|label| Label::parse(label).map_err(|error| unusable("labels", &error)));
    Ok(Handling {
        assignment,
        closing,
        read_through: instant("read_through_time", stored.read_through_time.as_ref())?,
        labels: labels.collect::<Result<_, _>>()?,
        note_count: u64::try_from(stored.note_count).unwrap_or(0),
    })
}

fn colleague(field: &'static str, name: &str) -> Result<Colleague, ConvertError> {
    Colleague::parse(name).map_err(|error| unusable(field, &error))
}

fn unusable(field: &'static str, error: &InvalidName) -> ConvertError {
    ConvertError::Unusable {
        field,
        problem: error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn what_is_stored_reads_back() {
        let ana = Colleague::parse("ana").unwrap();
        let whole = Handling {
            assignment: Some(Assignment {
                to: ana.clone(),
                at: at(1),
            }),
            closing: Some(Closing {
                by: ana,
                at: at(2),
                through: at(0),
            }),
            read_through: Some(at(3)),
            labels: ["refund", "vip"]
                .map(|label| Label::parse(label).unwrap())
                .into(),
            note_count: 4,
        };
        for handling_ in [Handling::default(), whole] {
            assert_eq!(read_handling(&handling(&handling_)).unwrap(), handling_);
        }
    }

    #[test]
    fn what_does_not_fit_is_told_by_its_field() {
        let nameless = v1::Handling {
            close_time: Some(timestamp(at(1))),
            ..v1::Handling::default()
        };
        let error = read_handling(&nameless).unwrap_err();
        assert!(error.to_string().contains("closer"), "{error}");
        let timeless = v1::Handling {
            assignee: "ana".to_owned(),
            ..v1::Handling::default()
        };
        let error = read_handling(&timeless).unwrap_err();
        assert_eq!(error, ConvertError::Absent("assign_time"));
    }
}
