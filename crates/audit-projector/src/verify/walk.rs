//! One chain, recomputed row by row in the order of sequences.
//!
//! Pure. A row whose link does not follow from the row before it tells little by itself: which
//! side of the link was changed is told by the rows after it, so a judgement waits for them. What
//! was judged is taken as it stands, and the walk goes on, so that one changed row is one finding
//! and not as many as there are rows after it.

use super::anchors::Anchor;
use super::report::{ChainReport, Finding, FindingKind, Gap};
use super::row::{self, Checked, Says};
use crate::chain::{Digest, Head, link};

/// A place in the chain, and the link that what comes after it follows from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place {
    sequence: u64,
    link: Digest,
}

/// A row whose link does not follow from the place before it.
#[derive(Debug, Clone, Copy)]
struct Suspect {
    sequence: u64,
    /// As it stands.
    link: Digest,
    /// As it follows from what is before it.
    expected: Digest,
    previous: Place,
}

/// Recomputes a chain.
#[derive(Debug)]
pub(crate) struct Walk {
    /// What the archive says it has come to; `None` if it has no say.
    claimed: Option<Head>,
    /// What the chain has to be where, in the order of sequences.
    anchors: Vec<Anchor>,
    anchors_passed: usize,
    /// Up to where the last anchor held.
    held: u64,
    /// Whether the last anchor did not hold: those after it cannot, either.
    has_slipped: bool,
    last: Place,
    before_last: Option<Place>,
    /// Up to here an earlier life's chain has the rows.
    common: u64,
    /// Judged by the next row.
    suspect: Option<Suspect>,
    /// Judged by whichever row belongs in its place.
    displaced: Option<Suspect>,
    report: ChainReport,
}

impl Walk {
    /// Begins at the start of a chain. Anchors are in the order of sequences.
    pub(crate) fn new(
        stream: &str,
        incarnation: &str,
        claimed: Option<Head>,
        anchors: Vec<Anchor>,
    ) -> Self {
        Self {
            claimed,
            anchors,
            anchors_passed: 0,
            held: 0,
            has_slipped: false,
            last: Place {
                sequence: 0,
                link: [0; 32],
            },
            before_last: None,
            common: 0,
            suspect: None,
            displaced: None,
            report: ChainReport {
                stream: stream.to_owned(),
                incarnation: incarnation.to_owned(),
                ..ChainReport::default()
            },
        }
    }

    /// Says that rows up to a sequence are none of this chain's: an earlier life's has them.
    pub(crate) fn begin_after(&mut self, common: u64) {
        self.common = common;
    }

    /// Checks the next row.
    pub(crate) fn check(&mut self, row: &Checked<'_>) {
        self.report.checked_count += 1;
        if row.sequence <= self.last.sequence {
            self.find(
                FindingKind::Inserted,
                row.sequence,
                "row stands twice, or out of order".to_owned(),
            );
            return;
        }
        if self.last.sequence == 0 {
            self.report.first_sequence = row.sequence;
        }
        self.pass_anchors(row.sequence);
        self.check_content(row);
        self.check_link(row);
        self.check_anchors(row);
    }

    /// Takes note of a row that cannot be read.
    pub(crate) fn unreadable(&mut self, sequence: u64, problem: &str) {
        let explanation = format!("row cannot be read: {problem}");
        self.find(FindingKind::Unreadable, sequence, explanation);
    }

    /// Takes note of a row behind the end of the chain.
    pub(crate) fn beyond(&mut self, sequence: u64) {
        let explanation = "row stands behind the end of the chain, where nothing was archived";
        self.find(FindingKind::Inserted, sequence, explanation.to_owned());
    }

    /// Adds what was found elsewhere.
    pub(crate) fn add(&mut self, finding: Finding) {
        self.report.add(finding);
    }

    /// Ends the check. `is_whole` if every row up to the claimed head was checked.
    pub(crate) fn finish(mut self, is_whole: bool) -> ChainReport {
        if let Some(suspect) = self.suspect.take() {
            let claimed = self.claimed.as_ref().map(|head| head.link);
            if claimed == Some(suspect.link) {
                self.judge_kept(&suspect);
            } else if claimed == Some(suspect.expected) {
                self.find(FindingKind::LinkChanged, suspect.sequence, LINK.to_owned());
                self.last.link = suspect.expected;
            } else if claimed == Some(suspect.previous.link) {
                self.judge_inserted(suspect.sequence);
                self.last = suspect.previous;
            } else {
                self.displace(suspect);
            }
        }
        if let Some(displaced) = self.displaced.take() {
            self.judge_displaced(&displaced);
        }
        if is_whole {
            self.compare_with_claim();
            self.pass_anchors(u64::MAX);
        }
        self.report.last_sequence = self.last.sequence;
        self.report.head = self.last.link;
        self.report.findings.sort_by_key(|finding| finding.sequence);
        self.report
    }

    fn check_content(&mut self, row: &Checked<'_>) {
        let (salt, stored, index) = match &row.says {
            Says::Event {
                salt,
                stored,
                index,
            } => (*salt, *stored, *index),
            Says::Unreadable(problem) => {
                self.unreadable(row.sequence, problem);
                return;
            }
            Says::Erased => {
                self.report.erased_count += 1;
                return;
            }
            Says::Sealed => {
                self.report.sealed_count += 1;
                return;
            }
            Says::Withheld => {
                self.report.withheld_count += 1;
                return;
            }
            Says::Broken => {
                let explanation = "content was changed or moved: it does not open, although its \
                                   key was not destroyed";
                self.find(
                    FindingKind::ContentChanged,
                    row.sequence,
                    explanation.to_owned(),
                );
                return;
            }
        };
        self.report
            .first_stored_time
            .get_or_insert(stored.stored_at);
        self.report.last_stored_time = Some(stored.stored_at);
        if let Some((kind, explanation)) = row::problem(row.commitment, salt, stored, index) {
            self.find(kind, row.sequence, explanation);
        }
    }

    fn check_link(&mut self, row: &Checked<'_>) {
        let link_after = |previous: &Digest| self.link_of(row.sequence, previous, &row.commitment);
        let follows = |previous: &Digest| link_after(previous) == row.link;
        let here = Place {
            sequence: row.sequence,
            link: row.link,
        };
        if let Some(suspect) = self.suspect {
            let (kept, recomputed, inserted) = (
                follows(&suspect.link),
                follows(&suspect.expected),
                follows(&suspect.previous.link),
            );
            let is_swapped = self.is_due_at(&suspect, row);
            self.suspect = None;
            // A copy of the row before it has that row's link, too: then it was slipped in.
            if inserted {
                self.judge_inserted(suspect.sequence);
            } else if kept {
                self.judge_kept(&suspect);
            } else if recomputed {
                self.find(FindingKind::LinkChanged, suspect.sequence, LINK.to_owned());
            } else if is_swapped {
                self.judge_swapped(&suspect, row.sequence);
                self.step(Place {
                    link: suspect.link,
                    ..here
                });
                return;
            } else {
                self.displace(suspect);
            }
            self.gap_before(row.sequence);
            self.step(here);
            return;
        }
        if follows(&self.last.link) {
            self.gap_before(row.sequence);
        } else if self.before_last.is_some_and(|place| follows(&place.link)) {
            self.judge_inserted(self.last.sequence);
        } else if let Some(displaced) = self.displaced.filter(|it| self.is_due_at(it, row)) {
            self.displaced = None;
            self.judge_swapped(&displaced, row.sequence);
            // What comes after it followed from what stood here, which stands there now.
            self.step(Place {
                link: displaced.link,
                ..here
            });
            return;
        } else {
            self.suspect = Some(Suspect {
                sequence: row.sequence,
                link: row.link,
                expected: link_after(&self.last.link),
                previous: self.last,
            });
        }
        self.step(here);
    }

    fn link_of(&self, sequence: u64, previous: &Digest, commitment: &Digest) -> Digest {
        let report = &self.report;
        let place = (report.stream.as_str(), report.incarnation.as_str());
        link(place, sequence, previous, commitment)
    }

    /// Whether a row is the one that belongs in the place of another.
    fn is_due_at(&self, other: &Suspect, row: &Checked<'_>) -> bool {
        let due = self.link_of(other.sequence, &other.previous.link, &row.commitment);
        due == row.link
    }

    fn step(&mut self, to: Place) {
        self.before_last = Some(std::mem::replace(&mut self.last, to));
    }

    /// Notes what was never archived between the last row and one that follows from it.
    fn gap_before(&mut self, sequence: u64) {
        let first = self.last.sequence.max(self.common) + 1;
        if sequence > first {
            self.report.add_gap(Gap {
                first_sequence: first,
                last_sequence: sequence - 1,
            });
        }
    }

    /// What comes after the suspect follows from it as it stands, so what is before it is not what
    /// it once was.
    fn judge_kept(&mut self, suspect: &Suspect) {
        let Suspect {
            sequence, previous, ..
        } = *suspect;
        let first = previous.sequence.max(self.common) + 1;
        if first < sequence {
            let explanation = format!(
                "row or rows are missing: row {sequence} does not follow from {}",
                place_of(previous)
            );
            self.find_range(FindingKind::Removed, (first, sequence - 1), explanation);
        } else if !self.is_known(FindingKind::ContentChanged, sequence) {
            let explanation = format!(
                "row does not follow from {}: one of the two was written anew together with what \
                 it commits to",
                place_of(previous)
            );
            self.find(FindingKind::Rewritten, sequence, explanation);
        }
    }

    fn judge_inserted(&mut self, sequence: u64) {
        let explanation = "row was slipped in: what follows goes on from the row before it";
        let range = (sequence, sequence);
        self.find_instead(FindingKind::Inserted, range, explanation.to_owned());
    }

    fn judge_swapped(&mut self, first: &Suspect, second: u64) {
        let explanation = format!(
            "rows {} and {second} were swapped: each holds what belongs in the other",
            first.sequence
        );
        self.find_instead(FindingKind::Swapped, (first.sequence, second), explanation);
    }

    /// Keeps a row in mind for which nothing around it fits.
    fn displace(&mut self, suspect: Suspect) {
        if let Some(older) = self.displaced.replace(suspect) {
            self.judge_displaced(&older);
        }
    }

    fn judge_displaced(&mut self, displaced: &Suspect) {
        if self.is_known(FindingKind::ContentChanged, displaced.sequence) {
            return;
        }
        let explanation = format!(
            "row does not follow from {}, nor does what comes after fit: rows were moved or \
             rewritten",
            place_of(displaced.previous)
        );
        self.find(FindingKind::Rewritten, displaced.sequence, explanation);
    }

    fn compare_with_claim(&mut self) {
        let Some(claimed) = self.claimed.take() else {
            let explanation =
                "head of the chain is missing: rows may have been removed after this one";
            self.find(
                FindingKind::HeadMissing,
                self.last.sequence,
                explanation.to_owned(),
            );
            return;
        };
        if claimed.last_sequence > self.last.sequence {
            let explanation = format!(
                "rows at the end are missing: the chain had come to {} with {} rows",
                claimed.last_sequence, claimed.row_count
            );
            self.find_range(
                FindingKind::Removed,
                (self.last.sequence + 1, claimed.last_sequence),
                explanation,
            );
        } else if self.report.is_intact()
            && (claimed.last_sequence, claimed.link, claimed.row_count)
                != (
                    self.last.sequence,
                    self.last.link,
                    self.report.checked_count,
                )
        {
            let explanation = format!(
                "head of the chain was changed: it tells of {} rows up to {}, and does not match \
                 the last one",
                claimed.row_count, claimed.last_sequence
            );
            self.find(FindingKind::HeadChanged, claimed.last_sequence, explanation);
        }
    }

    /// Looks at the anchors below a sequence, whose rows are not there.
    fn pass_anchors(&mut self, below: u64) {
        let mut last = None;
        while let Some(anchor) = self.anchors.get(self.anchors_passed)
            && anchor.sequence < below
        {
            last = Some((anchor.sequence, anchor.described()));
            self.count(self.anchors_passed);
        }
        let is_told = |sequence: u64| {
            self.report.findings.iter().any(|finding| {
                finding.kind == FindingKind::Removed
                    && (finding.sequence..=finding.last_sequence).contains(&sequence)
            })
        };
        if let Some((sequence, described)) = last.filter(|(sequence, _)| !is_told(*sequence)) {
            let explanation =
                format!("rows are missing: {described} tells of them, and the chain does not");
            let first = self.last.sequence + 1;
            self.find_range(
                FindingKind::Removed,
                (first.min(sequence), sequence),
                explanation,
            );
        }
    }

    /// Compares a row with the anchors at its place.
    fn check_anchors(&mut self, row: &Checked<'_>) {
        while let Some(anchor) = self.anchors.get(self.anchors_passed)
            && anchor.sequence == row.sequence
        {
            let (holds, described) = (anchor.link == row.link, anchor.described());
            self.count(self.anchors_passed);
            if holds {
                (self.held, self.has_slipped) = (row.sequence, false);
            } else if !self.has_slipped {
                self.has_slipped = true;
                let explanation = format!(
                    "the past was written anew: the chain does not come to the link that \
                     {described} tells"
                );
                let range = (self.held + 1, row.sequence);
                self.find_range(FindingKind::NotAsSigned, range, explanation);
            }
        }
    }

    fn count(&mut self, place: usize) {
        let (anchor, signed) = (&self.anchors[place], &mut self.report.signed);
        signed.head_count += 1;
        if anchor.is_verified {
            signed.verified_count += 1;
            signed.last_sequence = anchor.sequence;
            signed.last_time = Some(anchor.time);
        }
        self.anchors_passed = place + 1;
    }

    fn is_known(&self, kind: FindingKind, sequence: u64) -> bool {
        let findings = self.report.findings.iter().rev();
        findings
            .take(2)
            .any(|it| it.kind == kind && it.sequence == sequence)
    }

    /// Tells what explains that the content of these rows does not fit, either.
    fn find_instead(&mut self, kind: FindingKind, range: (u64, u64), explanation: String) {
        let is_explained = |finding: &Finding| {
            finding.kind == FindingKind::ContentChanged
                && [range.0, range.1].contains(&finding.sequence)
        };
        self.report
            .findings
            .retain(|finding| !is_explained(finding));
        self.find_range(kind, range, explanation);
    }

    fn find(&mut self, kind: FindingKind, sequence: u64, explanation: String) {
        self.find_range(kind, (sequence, sequence), explanation);
    }

    fn find_range(&mut self, kind: FindingKind, range: (u64, u64), explanation: String) {
        self.report.add(Finding {
            kind,
            sequence: range.0,
            last_sequence: range.1,
            explanation,
        });
    }
}

const LINK: &str = "link was changed: what follows still fits the link as it should be";

fn place_of(place: Place) -> String {
    match place.sequence {
        0 => "the start of the chain".to_owned(),
        sequence => format!("row {sequence}"),
    }
}

#[cfg(test)]
mod tests;
