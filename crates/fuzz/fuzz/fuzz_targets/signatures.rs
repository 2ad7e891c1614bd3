//! See `casement_fuzz::signatures`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| casement_fuzz::signatures(input));
