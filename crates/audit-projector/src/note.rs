//! Signed notes, as C2SP's signed-note has them: text, and under it who signed it.
//!
//! Ed25519 alone (signature type 1). What a text means is its writer's affair: [`crate::heads`].
//! Keys for checking are written as the tools of others take them: name, id and public key,
//! joined by plus signs.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use sha2::{Digest as _, Sha256};

/// The type of Ed25519 signatures.
const ED25519: u8 = 1;

/// Longest name of a key, in bytes.
pub(crate) const NAME_LEN_MAX: usize = 128;

/// Most signatures of a note that are looked at. The specification asks for 16 at least.
const SIGNATURES_MAX: usize = 64;

/// What stands before each signature: an em dash.
const SIGNED_BY: &str = "\u{2014} ";

/// The first bytes of a hash of name and key.
type KeyId = [u8; 4];

/// A note cannot be believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NoteError {
    /// It is not written as a signed note is.
    #[error("not a signed note: {0}")]
    Malformed(&'static str),
    /// A signature by a known key does not fit the text.
    #[error("signature by {0} does not fit what it signs")]
    Forged(String),
}

/// Text is no key to check notes with.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a key to check signed notes with, as `casement audit key` prints it: {0}")]
pub struct BadKey(&'static str);

/// Signs notes.
pub(crate) struct Signer {
    key: SigningKey,
    verifier: VerifierKey,
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signer({})", self.verifier)
    }
}

impl Signer {
    /// Makes a signer of 32 random bytes, under a name that [`is_name`].
    pub(crate) fn new(name: &str, seed: &[u8; 32]) -> Self {
        let key = SigningKey::from_bytes(seed);
        let verifier = VerifierKey::new(name, key.verifying_key());
        Self { key, verifier }
    }

    /// Returns what others check its notes with.
    pub(crate) fn verifier(&self) -> &VerifierKey {
        &self.verifier
    }

    /// Returns the key's name.
    pub(crate) fn name(&self) -> &str {
        &self.verifier.name
    }

    /// Signs a text, which ends with a line break.
    pub(crate) fn sign(&self, text: &str) -> String {
        let signature = self.key.sign(text.as_bytes()).to_bytes();
        let signed = [&self.verifier.id[..], &signature].concat();
        let name = &self.verifier.name;
        format!("{text}\n{SIGNED_BY}{name} {}\n", BASE64.encode(signed))
    }
}

/// What a note is checked with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifierKey {
    name: String,
    id: KeyId,
    key: VerifyingKey,
}

impl VerifierKey {
    fn new(name: &str, key: VerifyingKey) -> Self {
        Self {
            name: name.to_owned(),
            id: id_of(name, key.as_bytes()),
            key,
        }
    }

    /// Returns name and id, which tell it from others.
    pub(crate) fn label(&self) -> String {
        format!("{}+{}", self.name, hex::encode(self.id))
    }
}

impl fmt::Display for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = [&[ED25519], &self.key.as_bytes()[..]].concat();
        write!(f, "{}+{}", self.label(), BASE64.encode(key))
    }
}

impl FromStr for VerifierKey {
    type Err = BadKey;

    fn from_str(text: &str) -> Result<Self, BadKey> {
        let mut parts = text.trim().splitn(3, '+');
        let (Some(name), Some(id), Some(key)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(BadKey("it has no name, id and key"));
        };
        if !is_name(name) {
            return Err(BadKey("its name is empty, too long or has spaces"));
        }
        let key = BASE64.decode(key).map_err(|_| BadKey("it is no base64"))?;
        let (algorithm, key) = key.split_first().ok_or(BadKey("it is empty"))?;
        if *algorithm != ED25519 {
            return Err(BadKey("it is not of Ed25519"));
        }
        let key = <[u8; 32]>::try_from(key).map_err(|_| BadKey("it is of another length"))?;
        let key = VerifyingKey::from_bytes(&key).map_err(|_| BadKey("it is no point"))?;
        let key = Self::new(name, key);
        if hex::encode(key.id) != id {
            return Err(BadKey("its id is not of that name and key"));
        }
        Ok(key)
    }
}

/// Returns whether keys may have a name.
pub(crate) fn is_name(name: &str) -> bool {
    let is_fit = |char: char| !char.is_whitespace() && !char.is_control() && char != '+';
    (1..=NAME_LEN_MAX).contains(&name.len()) && name.chars().all(is_fit)
}

fn id_of(name: &str, key: &[u8; 32]) -> KeyId {
    let mut hash = Sha256::new();
    hash.update(name);
    hash.update([b'\n', ED25519]);
    hash.update(key);
    let hash = hash.finalize();
    std::array::from_fn(|place| hash[place])
}

/// What a note says, and who of those who are known signed it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Opened<'n> {
    pub(crate) text: &'n str,
    /// [`VerifierKey::label`]; `None` if nobody did who is known.
    pub(crate) signed_by: Option<String>,
}

/// Reads a note. Signatures of unknown keys count for nothing; one that is false does, if its key
/// is known.
pub(crate) fn open<'n>(note: &'n str, keys: &[VerifierKey]) -> Result<Opened<'n>, NoteError> {
    if note.chars().any(|char| char < ' ' && char != '\n') {
        return Err(NoteError::Malformed("it has control characters"));
    }
    let end = note
        .rfind("\n\n")
        .ok_or(NoteError::Malformed("it has no signatures"))?
        + 1;
    let (text, signatures) = note.split_at(end);
    let signatures = signatures[1..]
        .strip_suffix('\n')
        .ok_or(NoteError::Malformed("its last line does not end"))?;
    let mut signed_by = None;
    for line in signatures.split('\n').take(SIGNATURES_MAX) {
        let (name, signed) = line
            .strip_prefix(SIGNED_BY)
            .and_then(|signed| signed.split_once(' '))
            .filter(|(name, _)| is_name(name))
            .ok_or(NoteError::Malformed("a line is no signature"))?;
        let signed = BASE64
            .decode(signed)
            .map_err(|_| NoteError::Malformed("a signature is no base64"))?;
        let (id, signature) = signed
            .split_first_chunk::<4>()
            .ok_or(NoteError::Malformed("a signature is too short"))?;
        let mut known = keys.iter().filter(|key| key.name == name && key.id == *id);
        let Some(key) = known.next() else {
            continue;
        };
        let is_true = Signature::from_slice(signature)
            .is_ok_and(|signature| key.key.verify_strict(text.as_bytes(), &signature).is_ok());
        if !is_true {
            return Err(NoteError::Forged(key.label()));
        }
        signed_by.get_or_insert_with(|| key.label());
    }
    Ok(Opened { text, signed_by })
}

#[cfg(test)]
mod tests {
    use super::*;

    // The example of Go's golang.org/x/mod/sumdb/note, which the specification was written after.
    const SECRET: &str = "AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz";
    const PUBLIC: &str = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
    const TEXT: &str = "If you think cryptography is the answer to your problem,\n\
                        then you don't know what your problem is.\n";
    const SIGNATURE: &str = "\u{2014} PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIu\
                             GUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n";

    fn signer() -> Signer {
        let seed = BASE64.decode(SECRET).unwrap();
        Signer::new("PeterNeumann", seed[1..].try_into().unwrap())
    }

    fn public() -> VerifierKey {
        PUBLIC.parse().unwrap()
    }

    #[test]
    fn the_published_example_is_signed_and_read_alike() {
        let note = signer().sign(TEXT);
        assert_eq!(note, format!("{TEXT}\n{SIGNATURE}"));
        assert_eq!(signer().verifier().to_string(), PUBLIC);
        let opened = open(&note, &[public()]).unwrap();
        assert_eq!(opened.text, TEXT);
        assert_eq!(opened.signed_by.as_deref(), Some("PeterNeumann+c74f20a3"));
        // The key that the specification shows as an example.
        let example = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k";
        assert_eq!(example.parse::<VerifierKey>().unwrap().to_string(), example);
    }

    #[test]
    fn the_specifications_note_with_an_empty_line_in_it_is_read() {
        let text = "Ognuno sta solo sul cuor della terra\ntrafitto da un raggio di sole:\n\n\
                    ed è subito sera.\n";
        let signed = "\u{2014} quasimodo.example/salvatore NnugSzTjtVAewIS+Z/iJhUPeFDkO/5QQ2i5ddnGITLlC\
                      +EhfLW9oJKONrMouFSQU0xMcXxj99ihAQwaqP3ZekRwNtIc=\n";
        let note = format!("{text}\n{signed}");
        let opened = open(&note, &[public()]).unwrap();
        assert_eq!((opened.text, opened.signed_by), (text, None));
    }

    #[test]
    fn a_changed_text_or_signature_is_refused_and_a_stranger_counts_for_nothing() {
        let note = signer().sign(TEXT);
        let forged = |note: &str| matches!(open(note, &[public()]), Err(NoteError::Forged(_)));
        assert!(forged(&note.replace("answer", "Answer")));
        assert!(forged(&note.replace("ZJku", "ZJkv")));
        let stranger = Signer::new("PeterNeumann", &[9; 32]);
        let both = format!(
            "{note}{}",
            stranger.sign(TEXT).rsplit_once("\n\n").unwrap().1
        );
        assert!(open(&both, &[public()]).unwrap().signed_by.is_some());
        let alone = stranger.sign(TEXT);
        assert_eq!(open(&alone, &[public()]).unwrap().signed_by, None);
        assert_eq!(open(&note, &[]).unwrap().signed_by, None);
    }

    #[test]
    fn what_is_no_note_is_refused() {
        let malformed = |note: &str| matches!(open(note, &[]), Err(NoteError::Malformed(_)));
        let note = signer().sign(TEXT);
        assert!(malformed(TEXT));
        assert!(malformed(""));
        assert!(malformed(note.trim_end()));
        assert!(malformed(&note.replace('\u{2014}', "-")));
        assert!(malformed(&note.replace("know", "kn\tow")));
        assert!(malformed(&note.replace("x08go/", "x08g*/")));
    }

    #[test]
    fn only_a_whole_key_is_a_key() {
        for broken in [
            "",
            "PeterNeumann+c74f20a3",
            "Peter Neumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
            "PeterNeumann+c74f20a4+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
            "EnochRoot+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
            "PeterNeumann+c74f20a3+AhpcDQcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
            "PeterNeumann+c74f20a3+ARpc",
        ] {
            assert!(broken.parse::<VerifierKey>().is_err(), "{broken}");
        }
        for (name, expected) in [
            ("a.example/b", true),
            ("", false),
            ("a b", false),
            ("a+b", false),
        ] {
            assert_eq!(is_name(name), expected, "{name}");
        }
    }
}
