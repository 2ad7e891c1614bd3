//! See `casement_fuzz::subjects`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| casement_fuzz::subjects(input));
