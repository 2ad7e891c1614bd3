//! A hash of a JSON value that does not depend on the order of its keys.
//!
//! Most webhook items carry no id; their natural key needs this. Ids themselves are made elsewhere.

use serde_json::Value;
use sha2::{Digest, Sha256};

/// Returns the SHA-256, in lower-case hex, of the value written without spaces, keys sorted by
/// their bytes, numbers as they were sent.
pub fn value_hash(value: &Value) -> String {
    let mut canonical = Vec::new();
    write_canonical(value, &mut canonical);
    hex::encode(Sha256::digest(&canonical))
}

/// Sorts keys itself, since serde_json keeps insertion order when any crate of the build asks
/// for it. The depth of a parsed value is bounded by serde_json.
fn write_canonical(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::Array(values) => {
            out.push(b'[');
            for (index, value) in values.iter().enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                write_canonical(value, out);
            }
            out.push(b']');
        }
        Value::Object(fields) => {
            let mut fields: Vec<_> = fields.iter().collect();
            fields.sort_unstable_by(|a, b| a.0.cmp(b.0));
            out.push(b'{');
            for (index, (key, value)) in fields.into_iter().enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                write_leaf(key, out);
                out.push(b':');
                write_canonical(value, out);
            }
            out.push(b'}');
        }
        leaf => write_leaf(leaf, out),
    }
}

fn write_leaf<T: serde::Serialize + ?Sized>(leaf: &T, out: &mut Vec<u8>) {
    serde_json::to_writer(out, leaf).expect("writing a JSON leaf to memory cannot fail");
}
