//! What makes a message go on by another route, as it stands in its request.

use casement_domain::failover::{ErrorClass, Failover, Silence, template_life};
use casement_proto::events::v1;

use crate::convert::{duration, signed_duration};

/// Returns a failover as stored; `None` for what every message does.
pub fn failover(of: &Failover) -> Option<v1::Failover> {
    let silence = of.silence.as_ref();
    let stored = v1::Failover {
        ends_on: of
            .ends_on
            .iter()
            .map(|class| class.as_str().to_owned())
            .collect(),
        after: silence.map(|silence| duration(silence.after)),
        accept_duplicate_risk: silence.is_some_and(|silence| silence.accepts_duplicates),
        template_life: silence.map(|silence| duration(silence.template_life)),
    };
    (stored != v1::Failover::default()).then_some(stored)
}

/// Reads a failover. A class that only a newer version knows is left out.
pub fn read_failover(stored: Option<&v1::Failover>) -> Failover {
    let Some(stored) = stored else {
        return Failover::default();
    };
    let life = stored.template_life.as_ref().map(signed_duration);
    let classes = stored.ends_on.iter();
    Failover {
        ends_on: classes.filter_map(|word| ErrorClass::parse(word)).collect(),
        silence: stored.after.as_ref().map(|after| Silence {
            after: signed_duration(after),
            accepts_duplicates: stored.accept_duplicate_risk,
            template_life: template_life(None, life),
        }),
    }
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;

    #[test]
    fn a_failover_reads_back_and_the_usual_one_is_not_stored() {
        let silence = Silence {
            after: SignedDuration::from_millis(90_500),
            accepts_duplicates: true,
            template_life: SignedDuration::from_mins(10),
        };
        let usual = Failover::default();
        assert_eq!(failover(&usual), None);
        assert_eq!(read_failover(None), usual);
        for of in [
            Failover {
                ends_on: ErrorClass::ALL.to_vec(),
                silence: None,
            },
            Failover {
                ends_on: Vec::new(),
                silence: Some(silence),
            },
        ] {
            assert_eq!(read_failover(failover(&of).as_ref()), of);
        }
        let newer = v1::Failover {
            ends_on: vec!["undeliverable".to_owned(), "not_yet_known".to_owned()],
            ..v1::Failover::default()
        };
        let read = read_failover(Some(&newer));
        assert_eq!(read.ends_on, [ErrorClass::Undeliverable]);
    }
}
