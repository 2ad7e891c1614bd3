//! What signed heads pin down: at which sequence a chain has to have which link.
//!
//! Pure. A head says where its own chain stood, and where the chain of the stream's life before
//! had ended: so each note may pin two chains down.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::report::{Finding, FindingKind};
use crate::chain::Digest;
use crate::heads::Statement;
use crate::note::{self, VerifierKey};

/// A link that a chain has to have at a sequence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Anchor {
    pub(crate) sequence: u64,
    pub(crate) link: Digest,
    /// When that was said.
    pub(crate) time: Timestamp,
    /// Whether a key that was given signed it.
    pub(crate) is_verified: bool,
    /// Whether it was said of this chain as the one before another.
    is_of_successor: bool,
}

impl Anchor {
    /// Returns where the anchor comes from, for people.
    pub(crate) fn described(&self) -> String {
        let Self { sequence, time, .. } = self;
        if self.is_of_successor {
            format!("the head of {time} of the stream's next life")
        } else {
            format!("the head at {sequence}, signed {time},")
        }
    }
}

/// A note, and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SignedHead {
    pub(crate) stream: String,
    pub(crate) incarnation: String,
    pub(crate) sequence: u64,
    pub(crate) note: String,
}

/// Stream and incarnation.
pub(crate) type ChainName = (String, String);

/// What notes say of each chain.
#[derive(Debug, Default)]
pub(crate) struct Anchors {
    chains: BTreeMap<ChainName, (Vec<Anchor>, Vec<Finding>)>,
    must_be_signed: bool,
}

impl Anchors {
    /// Reads notes that stand beside the rows. With keys, each chain that has rows must have a
    /// head signed by one of them, if `must_be_signed`.
    pub(crate) fn new(must_be_signed: bool) -> Self {
        Self {
            chains: BTreeMap::new(),
            must_be_signed,
        }
    }

    /// Takes a note that stands beside the rows.
    pub(crate) fn add(&mut self, head: &SignedHead, keys: &[VerifierKey]) {
        let chain = (head.stream.clone(), head.incarnation.clone());
        let problem = match read(&head.note, keys) {
            Ok((said, _))
                if (&said.stream, &said.incarnation, said.sequence)
                    != (&head.stream, &head.incarnation, head.sequence) =>
            {
                let Statement {
                    stream,
                    incarnation,
                    sequence,
                    ..
                } = said;
                format!("signed head is one of {stream} {incarnation} at {sequence}")
            }
            Ok((said, is_verified)) => return self.pin(said, is_verified),
            Err(problem) => format!("signed head does not stand as it was signed: {problem}"),
        };
        self.chains.entry(chain).or_default().1.push(Finding {
            kind: FindingKind::SignedHeadChanged,
            sequence: head.sequence,
            last_sequence: head.sequence,
            explanation: problem,
        });
    }

    /// Takes a note that was kept elsewhere.
    ///
    /// # Errors
    /// It is no signed head, or none that one of the keys signed: then it proves nothing.
    pub(crate) fn add_kept(&mut self, note: &str, keys: &[VerifierKey]) -> Result<(), String> {
        let (said, is_verified) = read(note, keys)?;
        if !is_verified {
            return Err("none of the keys given signed it".to_owned());
        }
        self.pin(said, true);
        Ok(())
    }

    /// Returns the chains that are spoken of.
    pub(crate) fn chains(&self) -> impl Iterator<Item = &ChainName> {
        self.chains.keys()
    }

    /// Takes out what is said of a chain.
    pub(crate) fn take(&mut self, chain: &ChainName) -> (Vec<Anchor>, Vec<Finding>) {
        let (mut anchors, mut findings) = self.chains.remove(chain).unwrap_or_default();
        anchors.sort_by_key(|anchor| (anchor.sequence, anchor.is_of_successor, anchor.time));
        if self.must_be_signed && !anchors.iter().any(|anchor| anchor.is_verified) {
            findings.push(Finding {
                kind: FindingKind::NotSigned,
                sequence: 0,
                last_sequence: 0,
                explanation: "no head of this chain is signed by a key that was given".to_owned(),
            });
        }
        (anchors, findings)
    }

    fn pin(&mut self, said: Statement, is_verified: bool) {
        let time = said.time;
        if let Some(previous) = said.previous {
            let chain = (said.stream.clone(), previous.incarnation);
            self.chains.entry(chain).or_default().0.push(Anchor {
                sequence: previous.sequence,
                link: previous.link,
                time,
                is_verified,
                is_of_successor: true,
            });
        }
        let chain = (said.stream, said.incarnation);
        self.chains.entry(chain).or_default().0.push(Anchor {
            sequence: said.sequence,
            link: said.link,
            time,
            is_verified,
            is_of_successor: false,
        });
    }
}

fn read(text: &str, keys: &[VerifierKey]) -> Result<(Statement, bool), String> {
    let opened = note::open(text, keys).map_err(|error| error.to_string())?;
    let said = Statement::parse(opened.text).map_err(|error| error.to_string())?;
    Ok((said, opened.signed_by.is_some()))
}
