//! Every input that the fuzzers keep still holds what it must.

use std::path::Path;

use casement_fuzz::{TARGETS, Target};

fn every_input_holds(name: &str) {
    let (_, target): &(&str, Target) = TARGETS
        .iter()
        .find(|(known, _)| *known == name)
        .expect("a target of that name");
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fuzz/corpus")
        .join(name);
    let mut inputs = 0;
    for file in std::fs::read_dir(&folder).expect("a corpus") {
        let path = file.expect("a file").path();
        let input = std::fs::read(&path).expect("an input");
        let held = std::panic::catch_unwind(|| target(&input));
        assert!(held.is_ok(), "{} breaks a promise", path.display());
        inputs += 1;
    }
    assert!(
        inputs >= 10,
        "{} has {inputs} inputs only",
        folder.display()
    );
}

#[test]
fn any_webhook_post_is_taken_apart_or_refused() {
    every_input_holds("webhook");
}

#[test]
fn only_what_was_signed_verifies() {
    every_input_holds("signatures");
}

#[test]
fn any_twilio_form_is_a_callback_or_refused() {
    every_input_holds("twilio_form");
}

#[test]
fn no_id_widens_or_splits_a_subject() {
    every_input_holds("subjects");
}
