//! See `casement_fuzz::twilio_form`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| casement_fuzz::twilio_form(input));
