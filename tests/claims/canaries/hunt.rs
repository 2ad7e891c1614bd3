//! Looks for canaries in clear and encoded.

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use casement_simulator::VONAGE_PRIVATE_KEY;

use super::{CANARIES, KEY_LINE};

/// Finds canaries, in whatever form.
pub(super) struct Hunt {
    /// Each form, with what it is of.
    forms: Vec<(Vec<u8>, String)>,
    found: BTreeSet<String>,
}

impl Hunt {
    pub(super) fn new() -> Self {
        let key_line = VONAGE_PRIVATE_KEY.lines().nth(2).expect("a key of lines");
        let mut forms = Vec::new();
        for (name, canary) in CANARIES {
            let canary = if *canary == KEY_LINE {
                key_line
            } else {
                canary
            };
            for (form, how) in encoded(canary) {
                forms.push((form, format!("{name} ({how})")));
            }
        }
        Self {
            forms,
            found: BTreeSet::new(),
        }
    }

    pub(super) fn look(&mut self, at: &str, bytes: impl AsRef<[u8]>) {
        let bytes = bytes.as_ref();
        // One pass by the first four bytes: what is looked at is long.
        let mut by_start: BTreeMap<&[u8], Vec<&(Vec<u8>, String)>> = BTreeMap::new();
        for form in &self.forms {
            by_start.entry(&form.0[..4]).or_default().push(form);
        }
        let mut starts = [false; 256];
        for start in by_start.keys() {
            starts[usize::from(start[0])] = true;
        }
        for (place, window) in bytes.windows(4).enumerate() {
            if !starts[usize::from(window[0])] {
                continue;
            }
            for (form, name) in by_start.get(window).into_iter().flatten() {
                if bytes[place..].starts_with(form) {
                    let from = place.saturating_sub(160);
                    let around = String::from_utf8_lossy(&bytes[from..place + form.len()]);
                    if !self
                        .found
                        .iter()
                        .any(|one| one.starts_with(&format!("{at}: {name}")))
                    {
                        self.found.insert(format!("{at}: {name}: …{around}"));
                    }
                }
            }
        }
    }

    pub(super) fn end(self) {
        let found: Vec<String> = self.found.into_iter().collect();
        assert!(found.is_empty(), "secrets are told:\n{}", found.join("\n"));
    }
}

/// A text as it is, and as it may stand inside of something else.
fn encoded(text: &str) -> Vec<(Vec<u8>, &'static str)> {
    let mut forms = vec![(text.as_bytes().to_vec(), "in clear")];
    let hexed = hex::encode(text);
    forms.push((hexed.to_uppercase().into_bytes(), "hexadecimal"));
    forms.push((hexed.into_bytes(), "hexadecimal"));
    let escaped: String = url::form_urlencoded::byte_serialize(text.as_bytes()).collect();
    if escaped != text {
        forms.push((escaped.into_bytes(), "escaped"));
    }
    // Wherever it begins in what was encoded: but for the digits that its neighbours are part of.
    for before in 0..3 {
        for (engine, how) in [(&STANDARD, "base64"), (&URL_SAFE, "base64 for addresses")] {
            let padded = [vec![b'.'; before], text.as_bytes().to_vec()].concat();
            let whole = engine.encode(&padded);
            let from = (before * 8_usize).div_ceil(6);
            let to = padded.len() * 8 / 6;
            let core = whole.as_bytes()[from..to].to_vec();
            if !forms.iter().any(|(form, _)| *form == core) {
                forms.push((core, how));
            }
        }
    }
    forms
}

#[test]
fn a_secret_that_is_told_is_found_in_whatever_form() {
    let quiet = format!("nothing {} here", "canary-of");
    let mut hunt = Hunt::new();
    hunt.look("nowhere", &quiet);
    assert!(hunt.found.is_empty(), "{:?}", hunt.found);
    for before in ["", "a", "bc", "def"] {
        let secret = "canary-of-the-database";
        let told = format!("{before}{secret}!?");
        let hexed = hex::encode(&told);
        for text in [
            told.clone(),
            STANDARD.encode(&told),
            URL_SAFE.encode(&told),
            hexed.to_uppercase(),
            hexed,
        ] {
            let mut hunt = Hunt::new();
            hunt.look("a log", format!("INFO it said {text} and went on"));
            assert_eq!(hunt.found.len(), 1, "{text}: {:?}", hunt.found);
        }
    }
}
