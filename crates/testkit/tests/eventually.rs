//! Claims about waiting.

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use casement_testkit::{eventually, eventually_within};
use futures::FutureExt;
use tokio::time::Instant;

#[tokio::test(start_paused = true)]
async fn the_first_yes_ends_the_wait_with_its_value() {
    let mut asked = 0;
    let answer = eventually("the third answer", async || {
        asked += 1;
        (asked == 3).then_some(asked)
    })
    .await;
    assert_eq!(answer, 3);
    eventually("a truth", async || true).await;
    let value = eventually("a result", async || Ok::<_, String>(7)).await;
    assert_eq!(value, 7);
}

async fn failure_of(wait: impl Future<Output = ()>) -> String {
    let panic = AssertUnwindSafe(wait)
        .catch_unwind()
        .await
        .expect_err("it waits in vain");
    panic
        .downcast_ref::<String>()
        .expect("panics have messages")
        .clone()
}

#[tokio::test(start_paused = true)]
async fn a_wait_in_vain_tells_the_last_reason_and_where_it_was() {
    let start = Instant::now();
    let mut asked = 0;
    let message = failure_of(eventually("the window opens", async || {
        asked += 1;
        Err::<(), _>(format!("it was closed {asked} times"))
    }))
    .await;
    assert!(
        message.starts_with("not within 30s: the window opens"),
        "{message}"
    );
    assert!(message.contains("tests/eventually.rs"), "{message}");
    assert!(message.contains("it was closed 3"), "{message}");
    assert_eq!(start.elapsed(), Duration::from_secs(30));
}

#[tokio::test(start_paused = true)]
async fn a_probe_that_hangs_does_not_hang_the_test() {
    let max = Duration::from_secs(1);
    let hanging = eventually_within(max, "an answer", async || {
        std::future::pending::<bool>().await
    });
    let message = failure_of(hanging).await;
    assert!(message.contains("the probe did not answer"), "{message}");
}
