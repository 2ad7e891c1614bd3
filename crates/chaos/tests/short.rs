//! The short form: some faults of every kind that fits into half a minute.

use std::time::Duration;

use casement_chaos::run::{Options, run};

/// As good as any other; `./dev chaos` takes one at random.
const SEED: u64 = 20_261_123;

#[tokio::test]
async fn every_claim_holds_through_faults_of_many_kinds() {
    let options = Options {
        seed: SEED,
        faults_count: 25,
        lasts_max: Duration::from_mins(1),
        people_count: 6,
    };
    let outcome = Box::pin(run(options, |line| println!("{line}")))
        .await
        .expect("a machine that carries it");
    let told: Vec<_> = outcome.violations.iter().map(ToString::to_string).collect();
    assert!(told.is_empty(), "seed {SEED}:\n{}", told.join("\n"));
    assert!(!outcome.injected.is_empty(), "faults were injected");
    assert!(!outcome.history.told.is_empty(), "customers wrote");
    assert!(!outcome.history.calls.is_empty(), "the business sent");
}
