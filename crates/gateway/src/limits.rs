//! How much one brand may ask for: calls a second, and calls in flight.
//!
//! Brands are those of known tokens, so there are as many as there are tokens at most. Each
//! gateway counts for itself.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use casement_domain::rate::{Rate, Usage};
use casement_shell::SharedClock;
use casement_shell::grpc::ERROR_DOMAIN;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tonic::metadata::{MetadataMap, MetadataValue};
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

use crate::config::LimitsConfig;

/// The reason of a refusal because of too many calls a second.
pub const RATE_LIMITED: &str = "RATE_LIMITED";

/// The reason of a refusal because of too many calls in flight.
pub const CONCURRENCY_LIMITED: &str = "CONCURRENCY_LIMITED";

/// When to try again if too many calls are in flight: nobody knows when one ends.
const RETRY_AFTER_CONCURRENCY: Duration = Duration::from_secs(1);

/// What each brand has used up.
#[derive(Debug)]
pub(crate) struct Limits {
    rate: Rate,
    concurrency: usize,
    clock: SharedClock,
    brands: Mutex<HashMap<String, Brand>>,
}

#[derive(Debug)]
struct Brand {
    usage: Usage,
    in_flight: Arc<Semaphore>,
}

impl Limits {
    pub(crate) fn new(config: &LimitsConfig, clock: SharedClock) -> Self {
        let concurrency = usize::try_from(config.concurrency_per_brand).unwrap_or(usize::MAX);
        Self {
            rate: Rate::per_second(config.requests_per_second_per_brand),
            concurrency: concurrency.min(Semaphore::MAX_PERMITS),
            clock,
            brands: Mutex::default(),
        }
    }

    /// Counts a call of a brand. It is in flight until the permit is dropped; one that is refused
    /// uses up nothing.
    pub(crate) fn admit(&self, brand: &str) -> Result<OwnedSemaphorePermit, Status> {
        let now = self.clock.now();
        let mut brands = self.brands.lock().unwrap_or_else(PoisonError::into_inner);
        if !brands.contains_key(brand) {
            let fresh = Brand {
                usage: Usage::default(),
                in_flight: Arc::new(Semaphore::new(self.concurrency)),
            };
            brands.insert(brand.to_owned(), fresh);
        }
        let entry = brands.get_mut(brand).expect("it was inserted if absent");
        let permit = Arc::clone(&entry.in_flight)
            .try_acquire_owned()
            .map_err(|_| {
                refused(
                    CONCURRENCY_LIMITED,
                    "too many calls of this brand are in flight",
                    RETRY_AFTER_CONCURRENCY,
                )
            })?;
        let ready_at = entry.usage.ready_at(self.rate, now);
        if ready_at > now {
            return Err(refused(
                RATE_LIMITED,
                "too many calls of this brand",
                ready_at.duration_since(now).unsigned_abs(),
            ));
        }
        entry.usage = entry.usage.after_one(self.rate, now);
        Ok(permit)
    }
}

/// RESOURCE_EXHAUSTED with the time to wait, as RetryInfo for gRPC and `retry-after` for HTTP.
fn refused(reason: &'static str, message: &str, wait: Duration) -> Status {
    crate::metrics::limited(reason);
    let mut details = ErrorDetails::with_error_info(reason, ERROR_DOMAIN, HashMap::new());
    details.set_retry_info(Some(wait));
    let mut metadata = MetadataMap::new();
    metadata.insert("retry-after", MetadataValue::from(seconds(wait)));
    Status::with_error_details_and_metadata(Code::ResourceExhausted, message, details, metadata)
}

/// Whole seconds, rounded up: whoever waits them comes late enough.
pub(crate) fn seconds(wait: Duration) -> u64 {
    wait.as_secs()
        .saturating_add(u64::from(wait.subsec_nanos() > 0))
        .max(1)
}

#[cfg(test)]
mod tests {
    use casement_shell::ManualClock;
    use casement_shell::grpc::reason;
    use jiff::SignedDuration;

    use super::*;

    fn limits(per_second: u32, concurrency: u32) -> (Limits, ManualClock) {
        let clock = ManualClock::new("2026-01-01T00:00:00Z".parse().unwrap());
        let config = LimitsConfig {
            requests_per_second_per_brand: per_second,
            concurrency_per_brand: concurrency,
            ..LimitsConfig::default()
        };
        (Limits::new(&config, clock.shared()), clock)
    }

    #[test]
    fn a_brand_that_calls_too_often_waits_as_long_as_it_is_told() {
        let (limits, clock) = limits(2, 100);
        drop(limits.admit("shop").unwrap());
        drop(limits.admit("shop").unwrap());
        let refused = limits.admit("shop").unwrap_err();
        assert_eq!(refused.code(), Code::ResourceExhausted);
        assert_eq!(reason(&refused).as_deref(), Some(RATE_LIMITED));
        let wait = refused
            .get_details_retry_info()
            .unwrap()
            .retry_delay
            .unwrap();
        assert_eq!(wait, Duration::from_millis(500));
        assert_eq!(refused.metadata().get("retry-after").unwrap(), "1");
        drop(limits.admit("bank").unwrap());
        clock.advance(SignedDuration::try_from(wait).unwrap());
        drop(limits.admit("shop").unwrap());
        limits.admit("shop").unwrap_err();
    }

    #[test]
    fn a_call_in_flight_counts_until_it_ends() {
        let (limits, _clock) = limits(100, 1);
        let permit = limits.admit("shop").unwrap();
        let refused = limits.admit("shop").unwrap_err();
        assert_eq!(reason(&refused).as_deref(), Some(CONCURRENCY_LIMITED));
        drop(limits.admit("bank").unwrap());
        drop(permit);
        drop(limits.admit("shop").unwrap());
    }

    #[test]
    fn seconds_are_rounded_up() {
        assert_eq!(seconds(Duration::ZERO), 1);
        assert_eq!(seconds(Duration::from_millis(1_001)), 2);
        assert_eq!(seconds(Duration::from_secs(3)), 3);
    }
}
