//! Golden files: every event as it was once stored, which must be read alike for ever.
//!
//! A file holds the payload of one event with every field set, in hexadecimal. Values follow
//! from the names of the fields, so that a field that was renumbered, renamed or retyped no
//! longer holds what it should. Files are added and never changed: stored events cannot be
//! changed either. A type or field without a file fails, and `CASEMENT_BLESS=1` writes one.

#![expect(clippy::unwrap_used, reason = "in a test, a panic is the report")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use casement_event::Event;
use prost_reflect::prost::Message as _;
use prost_reflect::{
    DescriptorPool, DynamicMessage, FieldDescriptor, Kind, MessageDescriptor, ReflectMessage as _,
    UnknownField, Value,
};

/// No event is nested as deep; a message that holds itself would be.
const DEPTH_MAX: usize = 16;

/// Bytes in a line of a golden file.
const LINE_BYTES: usize = 48;

fn pool() -> DescriptorPool {
    DescriptorPool::decode(casement_proto::DESCRIPTORS).unwrap()
}

fn descriptor(pool: &DescriptorPool, event_type: &str) -> MessageDescriptor {
    pool.get_message_by_name(event_type)
        .unwrap_or_else(|| panic!("{event_type} has no message"))
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

/// The golden files by event type, each type's in the order they were written.
fn files() -> BTreeMap<String, BTreeMap<usize, Vec<u8>>> {
    let mut files: BTreeMap<String, BTreeMap<usize, Vec<u8>>> = BTreeMap::new();
    for entry in fs::read_dir(folder()).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        let (short, index) = name
            .strip_suffix(".hex")
            .and_then(|name| name.rsplit_once('.'))
            .unwrap_or_else(|| panic!("{name} is not named <Type>.<n>.hex"));
        let text: String = fs::read_to_string(&path)
            .unwrap()
            .split_whitespace()
            .collect();
        let bytes = hex::decode(text).unwrap_or_else(|error| panic!("{name}: {error}"));
        let event_type = format!("casement.events.v1.{short}");
        files
            .entry(event_type)
            .or_default()
            .insert(index.parse().unwrap(), bytes);
    }
    files
}

/// A number that follows from a name, the same for ever (FNV-1a).
fn number_of(name: &str) -> u32 {
    let hash = name.bytes().fold(0x811c_9dc5_u32, |hash, byte| {
        (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    });
    1 + hash % 1_000_000
}

/// Which field of each oneof a sample sets: `base` of one that stands in no other, and `round`
/// further for each that it stands in, so that every pair comes together in some round.
#[derive(Debug, Clone, Copy)]
struct Variant {
    base: usize,
    round: usize,
    /// In how many oneofs we are.
    within: usize,
}

impl Variant {
    fn index(self, alternatives: usize) -> usize {
        (self.base + self.within * self.round) % alternatives
    }
}

/// A message with every field set. Of a oneof, `variant` says which of its fields.
fn sample(
    message: &MessageDescriptor,
    place: &str,
    variant: Variant,
    depth: usize,
) -> DynamicMessage {
    assert!(depth < DEPTH_MAX, "{place} is nested too deep for a sample");
    let mut sample = DynamicMessage::new(message.clone());
    for field in message.fields() {
        let alternatives: Vec<u32> = field
            .containing_oneof()
            .map(|oneof| oneof.fields().map(|field| field.number()).collect())
            .unwrap_or_default();
        if !alternatives.is_empty()
            && alternatives[variant.index(alternatives.len())] != field.number()
        {
            continue;
        }
        let inside = Variant {
            within: variant.within + usize::from(!alternatives.is_empty()),
            ..variant
        };
        assert!(
            !field.is_map(),
            "{} is a map, whose order is not fixed",
            field.full_name()
        );
        let one = value(&field, place, inside, depth);
        let value = if field.is_list() {
            Value::List(vec![one])
        } else {
            one
        };
        sample.set_field(&field, value);
    }
    sample
}

fn value(field: &FieldDescriptor, place: &str, variant: Variant, depth: usize) -> Value {
    let name = format!("{place}.{}", field.name());
    let number = number_of(&name);
    match field.kind() {
        Kind::Bool => Value::Bool(true),
        Kind::String => Value::String(name),
        Kind::Bytes => Value::Bytes(name.into_bytes().into()),
        Kind::Uint32 | Kind::Fixed32 => Value::U32(number),
        Kind::Uint64 | Kind::Fixed64 => Value::U64(u64::from(number)),
        Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => Value::I32(i32::try_from(number).unwrap()),
        Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => Value::I64(i64::from(number)),
        Kind::Float => Value::F32(0.5),
        Kind::Double => Value::F64(0.5),
        // The first that means something; those added later come behind it.
        Kind::Enum(kind) => Value::EnumNumber(
            kind.values()
                .map(|value| value.number())
                .find(|number| *number > 0)
                .unwrap(),
        ),
        Kind::Message(message) => {
            Value::Message(sample(&message, field.name(), variant, depth + 1))
        }
    }
}

/// The fields that a message sets, at any depth: message and number.
fn set_fields(message: &DynamicMessage, found: &mut BTreeSet<(String, u32)>) {
    for (field, value) in message.fields() {
        found.insert((message.descriptor().full_name().to_owned(), field.number()));
        let values = match value {
            Value::List(values) => values.as_slice(),
            one => std::slice::from_ref(one),
        };
        for value in values {
            if let Value::Message(message) = value {
                set_fields(message, found);
            }
        }
    }
}

/// The samples that it takes to set every field of every oneof.
fn variants(message: &MessageDescriptor) -> Vec<Variant> {
    let (bases, rounds) = sizes(message, false);
    let round = |round| {
        (0..bases.max(1)).map(move |base| Variant {
            base,
            round,
            within: 0,
        })
    };
    (0..rounds.max(1)).flat_map(round).collect()
}

/// The fields of the largest oneof that stands in no other, and of the largest that does.
fn sizes(message: &MessageDescriptor, is_inside: bool) -> (usize, usize) {
    let mut sizes = (0, 0);
    for field in message.fields() {
        let alternatives = field.containing_oneof().map_or(0, |it| it.fields().len());
        if is_inside {
            sizes.1 = sizes.1.max(alternatives);
        } else {
            sizes.0 = sizes.0.max(alternatives);
        }
        if let Kind::Message(nested) = field.kind() {
            let (bases, rounds) = self::sizes(&nested, is_inside || alternatives > 0);
            sizes = (sizes.0.max(bases), sizes.1.max(rounds));
        }
    }
    sizes
}

/// Every field, at any depth, must still hold what its name says.
fn check_values(golden: &DynamicMessage, today: &DynamicMessage, file: &str) {
    let unknown: Vec<_> = golden.unknown_fields().map(UnknownField::number).collect();
    assert!(
        unknown.is_empty(),
        "{file}: fields {unknown:?} were stored and are not known any more"
    );
    for (field, stored) in golden.fields() {
        let name = field.full_name();
        let expected = today.get_field(&field);
        let (stored, expected) = match (stored, expected.as_ref()) {
            (Value::List(stored), Value::List(expected)) => (&stored[0], &expected[0]),
            (stored, expected) => (stored, expected),
        };
        match (stored, expected) {
            (Value::Message(stored), Value::Message(expected)) => {
                check_values(stored, expected, file);
            }
            (stored, expected) => {
                assert_eq!(
                    stored, expected,
                    "{file}: {name} does not hold what was stored for it"
                );
            }
        }
    }
}

/// Which variant of a sample has all the fields that a golden file has.
fn variant_of(golden: &DynamicMessage, message: &MessageDescriptor) -> Variant {
    let mut set = BTreeSet::new();
    set_fields(golden, &mut set);
    let mut variants = variants(message);
    let fits = |variant: &&Variant| {
        let mut of_variant = BTreeSet::new();
        set_fields(
            &sample(message, message.name(), **variant, 0),
            &mut of_variant,
        );
        set.is_subset(&of_variant)
    };
    let found = variants.iter().find(fits).copied();
    found.unwrap_or_else(|| variants.swap_remove(0))
}

#[test]
fn every_event_that_was_ever_stored_reads_as_it_did() {
    let pool = pool();
    for (event_type, golden) in files() {
        assert!(
            Event::TYPES.contains(&event_type.as_str()),
            "{event_type} was stored and is no event any more"
        );
        let message = descriptor(&pool, &event_type);
        for (index, bytes) in golden {
            let file = format!("{}.{index}.hex", message.name());
            let read = Event::decode(&event_type, &bytes).unwrap();
            assert_eq!(read.encode(), bytes, "{file} is written differently now");
            let stored = DynamicMessage::decode(message.clone(), bytes.as_slice()).unwrap();
            let today = sample(&message, message.name(), variant_of(&stored, &message), 0);
            check_values(&stored, &today, &file);
        }
    }
}

#[test]
#[expect(
    clippy::disallowed_methods,
    reason = "whether to write what is missing is asked of whoever runs the tests"
)]
fn every_field_of_every_event_stands_in_a_golden_file() {
    let bless = std::env::var_os("CASEMENT_BLESS").is_some();
    let pool = pool();
    let mut files = files();
    // What several events have in common needs to stand in one of them.
    let mut covered = BTreeSet::new();
    for (event_type, golden) in &files {
        let message = descriptor(&pool, event_type);
        for bytes in golden.values() {
            let stored = DynamicMessage::decode(message.clone(), bytes.as_slice()).unwrap();
            set_fields(&stored, &mut covered);
        }
    }
    for event_type in Event::TYPES {
        let message = descriptor(&pool, event_type);
        let golden = files.entry((*event_type).to_owned()).or_default();
        for variant in variants(&message) {
            let sample = sample(&message, message.name(), variant, 0);
            let mut wanted = BTreeSet::new();
            set_fields(&sample, &mut wanted);
            let missing: Vec<_> = wanted.difference(&covered).collect();
            if missing.is_empty() {
                continue;
            }
            let next = golden.last_key_value().map_or(1, |(last, _)| last + 1);
            let name = format!("{}.{next}.hex", message.name());
            assert!(
                bless,
                "no golden file of {event_type} has {missing:?}: run the tests with CASEMENT_BLESS=1, \
                 which writes tests/golden/{name}, and commit it with the change"
            );
            let bytes = sample.encode_to_vec();
            let lines: Vec<_> = bytes.chunks(LINE_BYTES).map(hex::encode).collect();
            fs::write(folder().join(name), lines.join("\n") + "\n").unwrap();
            golden.insert(next, bytes);
            covered.extend(wanted);
        }
    }
}
