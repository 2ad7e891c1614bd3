//! See `casement_fuzz::webhook`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| casement_fuzz::webhook(input));
