//! Whether what must hold after a faulty run does hold: pure, on what callers were told, what the
//! provider's books say, and what the log says.
//!
//! None of it looks at what the roles believe in memory or in their databases.

use std::collections::{BTreeMap, HashMap, HashSet};

use casement_event::v1::MessageOutcome;

use super::life::{Attempt, Life, Lives};

/// How many breaches of one claim are shown.
const SHOWN_MAX: usize = 5;

/// One call in the provider's books.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Call {
    /// What it named itself by: message and attempt.
    pub(super) named: Option<String>,
    /// Whether the customer gets it.
    pub(super) is_accepted: bool,
}

/// What was found.
#[derive(Debug, Default)]
pub(super) struct Audit {
    /// Messages by how they ended.
    pub(super) ends: BTreeMap<&'static str, usize>,
    pub(super) attempts: usize,
    /// Attempts of unknown outcome.
    pub(super) unknown: usize,
    /// Of these, told by a report.
    pub(super) reported: usize,
    /// Attempts that were repeated although the provider may have taken them.
    pub(super) risks: usize,
    /// Of these, what the provider had taken.
    pub(super) came_true: usize,
    /// Messages that customers got twice, by the log.
    pub(super) exposures: usize,
    /// Attempts of which nobody knows, and nobody asks: another one had arrived meanwhile.
    pub(super) left: usize,
    /// Claims that do not hold, and where.
    broken: BTreeMap<&'static str, Vec<String>>,
}

/// The calls for one message, by attempt; whether each was accepted.
type Calls = BTreeMap<u32, bool>;

/// Compares. `asked` are the ids that callers were given, one for each request.
pub(super) fn audit(asked: &[String], calls: &[Call], lives: &Lives) -> Audit {
    let mut audit = Audit::default();
    let called = audit.read_books(calls);
    let mut seen = HashSet::with_capacity(asked.len());
    let none = Calls::new();
    for id in asked {
        if !seen.insert(id) {
            audit.breach("each request is a message of its own", id);
        }
        let Some(life) = lives.of.get(id) else {
            audit.breach("no accepted request is lost", id);
            continue;
        };
        audit.check(id, life, called.get(id.as_str()).unwrap_or(&none));
    }
    for id in lives.of.keys().filter(|id| !seen.contains(id)) {
        audit.breach("no message was asked for by nobody", id);
    }
    for id in called.keys() {
        if !lives.of.contains_key(*id) {
            audit.breach("each call has its claim", *id);
        }
    }
    audit
}

impl Audit {
    /// Returns the claims that do not hold, each with some of the places.
    pub(super) fn broken(&self) -> Vec<String> {
        let broken = self.broken.iter();
        broken
            .map(|(claim, places)| {
                let shown = places[..places.len().min(SHOWN_MAX)].join(", ");
                format!("{} breaches of \"{claim}\": {shown}", places.len())
            })
            .collect()
    }

    fn breach(&mut self, claim: &'static str, place: impl Into<String>) {
        self.broken.entry(claim).or_default().push(place.into());
    }

    fn read_books<'a>(&mut self, calls: &'a [Call]) -> HashMap<&'a str, Calls> {
        let mut called: HashMap<&str, Calls> = HashMap::new();
        for call in calls {
            let named = call.named.as_deref().unwrap_or_default();
            let parsed = named
                .rsplit_once('.')
                .and_then(|(id, attempt)| Some((id, attempt.parse().ok()?)));
            let Some((id, attempt)) = parsed else {
                self.breach("each call names its attempt", named);
                continue;
            };
            let of_message = called.entry(id).or_default();
            if of_message.insert(attempt, call.is_accepted).is_some() {
                self.breach("each attempt is called for at most once", named);
            }
        }
        called
    }

    fn check(&mut self, id: &str, life: &Life, calls: &Calls) {
        if life.requests != 1 {
            self.breach("each message is requested once", id);
        }
        match life.ends.as_slice() {
            [] => self.breach("each message ends", id),
            [end] => {
                *self.ends.entry(end.as_str_name()).or_default() += 1;
                self.check_end(id, *end, calls);
            }
            _ => self.breach("each message ends once", id),
        }
        for (number, attempt) in &life.attempts {
            let arrived = life.ends == [MessageOutcome::Delivered];
            let mut others = life.attempts.iter().filter(|(other, _)| *other != number);
            let is_late = arrived && others.any(|(_, other)| other.is_accepted);
            let name = format!("{id}.{number}");
            self.check_attempt(&name, attempt, calls.get(number), is_late);
        }
        for number in calls.keys() {
            if !life.attempts.contains_key(number) {
                self.breach("each call has its claim", format!("{id}.{number}"));
            }
        }
        self.check_risks(id, life, calls);
    }

    fn check_end(&mut self, id: &str, end: MessageOutcome, calls: &Calls) {
        let is_taken = calls.values().any(|is_accepted| *is_accepted);
        let is_told = matches!(
            end,
            MessageOutcome::Delivered | MessageOutcome::Unconfirmed | MessageOutcome::Unknown
        );
        if is_taken && !is_told {
            self.breach("what the provider took is not told as failed", id);
        }
        if !is_taken && end == MessageOutcome::Delivered {
            self.breach(
                "what the provider did not take is not told as delivered",
                id,
            );
        }
    }

    /// `is_late` if another attempt arrived, which ended the message.
    fn check_attempt(&mut self, name: &str, attempt: &Attempt, call: Option<&bool>, is_late: bool) {
        self.attempts += 1;
        self.unknown += usize::from(attempt.is_unknown);
        self.reported += usize::from(attempt.is_unknown && attempt.is_reported);
        if attempt.claims != 1 {
            self.breach("each attempt is claimed once", name);
        }
        let is_over = attempt.is_accepted || attempt.is_rejected || attempt.abandoned.is_some();
        if !is_over && is_late && call != Some(&true) {
            self.left += 1;
        } else if !is_over {
            self.breach("each attempt has an end", name);
        }
        if attempt.is_accepted && call != Some(&true) {
            self.breach("what is told as accepted the provider took", name);
        }
        if attempt.is_rejected && !attempt.is_accepted && call == Some(&true) {
            self.breach("what the provider took is not told as refused", name);
        }
        if attempt.abandoned == Some(true) {
            self.risks += 1;
            self.came_true += usize::from(call == Some(&true));
        }
    }

    /// A customer who got it twice got it at a risk that was told before, and was told after.
    fn check_risks(&mut self, id: &str, life: &Life, calls: &Calls) {
        let taken: Vec<u32> = calls
            .iter()
            .filter(|(_, is_accepted)| **is_accepted)
            .map(|(number, _)| *number)
            .collect();
        let earlier = taken.split_last().map_or(&[][..], |(_, earlier)| earlier);
        for number in earlier {
            let attempt = life.attempts.get(number);
            if attempt.and_then(|attempt| attempt.abandoned) != Some(true) {
                let name = format!("{id}.{number}");
                self.breach("what was sent twice was a risk on the log first", name);
            }
        }
        self.exposures += usize::from(life.exposures > 0);
        if life.exposures != usize::from(!earlier.is_empty()) {
            self.breach("who got it twice, and nobody else, is told of, once", id);
        }
    }
}

#[cfg(test)]
mod tests {
    use casement_event::v1;

    use super::*;

    /// One message that went at once, and one that went twice at a risk that was told.
    struct World {
        asked: Vec<String>,
        calls: Vec<Call>,
        lives: Lives,
    }

    impl World {
        fn new() -> Self {
            let mut lives = Lives::default();
            for id in ["a", "b"] {
                lives.hear(request(id));
                lives.hear(claim(id, 1));
            }
            lives.hear(accepted("a", 1));
            lives.hear(ended("a", MessageOutcome::Delivered));
            lives.hear(unknown("b", 1));
            lives.hear(abandoned("b", 1, true));
            lives.hear(claim("b", 2));
            lives.hear(accepted("b", 2));
            lives.hear(ended("b", MessageOutcome::Delivered));
            lives.hear(exposed("b"));
            Self {
                asked: vec!["a".to_owned(), "b".to_owned()],
                calls: vec![call("a.1", true), call("b.1", true), call("b.2", true)],
                lives,
            }
        }

        fn audit(&self) -> Audit {
            audit(&self.asked, &self.calls, &self.lives)
        }

        fn life(&mut self, id: &str) -> &mut Life {
            self.lives.of.get_mut(id).unwrap()
        }

        fn attempt(&mut self, id: &str, number: u32) -> &mut Attempt {
            self.life(id).attempts.get_mut(&number).unwrap()
        }

        fn assert_breaks(&self, claim: &str) {
            let broken = self.audit().broken();
            assert!(broken.iter().any(|one| one.contains(claim)), "{broken:?}");
        }
    }

    fn call(named: &str, is_accepted: bool) -> Call {
        Call {
            named: Some(named.to_owned()),
            is_accepted,
        }
    }

    fn request(id: &str) -> casement_event::Event {
        v1::MessageRequested {
            message_id: id.to_owned(),
            ..v1::MessageRequested::default()
        }
        .into()
    }

    fn claim(id: &str, attempt: u32) -> casement_event::Event {
        v1::AttemptStarted {
            message_id: id.to_owned(),
            attempt,
            ..v1::AttemptStarted::default()
        }
        .into()
    }

    fn accepted(id: &str, attempt: u32) -> casement_event::Event {
        v1::AttemptAccepted {
            message_id: id.to_owned(),
            attempt,
            ..v1::AttemptAccepted::default()
        }
        .into()
    }

    fn unknown(id: &str, attempt: u32) -> casement_event::Event {
        v1::AttemptUnknown {
            message_id: id.to_owned(),
            attempt,
            ..v1::AttemptUnknown::default()
        }
        .into()
    }

    fn abandoned(id: &str, attempt: u32, duplicate_risk: bool) -> casement_event::Event {
        v1::AttemptAbandoned {
            message_id: id.to_owned(),
            attempt,
            duplicate_risk,
            ..v1::AttemptAbandoned::default()
        }
        .into()
    }

    fn ended(id: &str, outcome: MessageOutcome) -> casement_event::Event {
        v1::MessageEnded {
            message_id: id.to_owned(),
            outcome: outcome.into(),
            ..v1::MessageEnded::default()
        }
        .into()
    }

    fn exposed(id: &str) -> casement_event::Event {
        v1::DoubleExposure {
            message_id: id.to_owned(),
            attempts: vec![1, 2],
            ..v1::DoubleExposure::default()
        }
        .into()
    }

    #[test]
    fn what_is_in_order_breaks_nothing_and_is_counted() {
        let audit = World::new().audit();
        assert_eq!(audit.broken(), Vec::<String>::new());
        assert_eq!((audit.attempts, audit.unknown, audit.reported), (3, 1, 0));
        assert_eq!((audit.risks, audit.came_true, audit.exposures), (1, 1, 1));
        assert_eq!(audit.ends[MessageOutcome::Delivered.as_str_name()], 2);
    }

    #[test]
    fn a_message_that_is_lost_or_does_not_end_is_found() {
        let mut world = World::new();
        world.lives.of.remove("a");
        world.assert_breaks("no accepted request is lost");
        let mut world = World::new();
        world.life("a").ends.clear();
        world.assert_breaks("each message ends");
        let mut world = World::new();
        world.lives.hear(ended("a", MessageOutcome::Failed));
        world.assert_breaks("each message ends once");
        let mut world = World::new();
        world.asked[1] = "a".to_owned();
        world.assert_breaks("each request is a message of its own");
        world.assert_breaks("no message was asked for by nobody");
    }

    #[test]
    fn a_second_call_for_an_attempt_is_found_and_one_without_a_claim() {
        let mut world = World::new();
        world.calls.push(call("a.1", false));
        world.assert_breaks("each attempt is called for at most once");
        let mut world = World::new();
        world.calls.push(call("a.2", false));
        world.assert_breaks("each call has its claim");
        let mut world = World::new();
        world.calls.push(call("c.1", false));
        world.assert_breaks("each call has its claim");
        let mut world = World::new();
        world.calls[0].named = None;
        world.assert_breaks("each call names its attempt");
        let mut world = World::new();
        world.lives.hear(claim("a", 1));
        world.assert_breaks("each attempt is claimed once");
    }

    #[test]
    fn an_end_that_the_books_deny_is_found() {
        let mut world = World::new();
        world.life("a").ends = vec![MessageOutcome::Failed];
        world.assert_breaks("what the provider took is not told as failed");
        let mut world = World::new();
        world.calls[0].is_accepted = false;
        world.assert_breaks("what the provider did not take is not told as delivered");
        world.assert_breaks("what is told as accepted the provider took");
        let mut world = World::new();
        let attempt = world.attempt("a", 1);
        (attempt.is_accepted, attempt.is_rejected) = (false, true);
        world.assert_breaks("what the provider took is not told as refused");
        let mut world = World::new();
        world.attempt("a", 1).is_accepted = false;
        world.assert_breaks("each attempt has an end");
        let mut world = World::new();
        world.lives.hear(claim("a", 2));
        assert_eq!((world.audit().left, world.audit().broken().len()), (1, 0));
        world.life("a").ends = vec![MessageOutcome::Unknown];
        world.assert_breaks("each attempt has an end");
        let mut world = World::new();
        world.attempt("b", 2).is_accepted = false;
        world.assert_breaks("each attempt has an end");
    }

    #[test]
    fn a_risk_that_nobody_told_of_is_found() {
        for abandoned in [None, Some(false)] {
            let mut world = World::new();
            let attempt = world.attempt("b", 1);
            (attempt.abandoned, attempt.is_rejected) = (abandoned, true);
            world.assert_breaks("what was sent twice was a risk on the log first");
        }
        let mut world = World::new();
        world.life("b").exposures = 0;
        world.assert_breaks("who got it twice, and nobody else, is told of, once");
        let mut world = World::new();
        world.life("a").exposures = 1;
        world.assert_breaks("who got it twice, and nobody else, is told of, once");
    }
}
