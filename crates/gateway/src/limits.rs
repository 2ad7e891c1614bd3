//! How much one brand, one token, and an address without a token may ask for: calls a second, and
//! calls in flight.
//!
//! Brands and names are those of known tokens, so there are as many as there are tokens at most;
//! of addresses a limited number is remembered. Each gateway counts for itself.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use casement_domain::rate::{Rate, Usage};
use casement_shell::SharedClock;
use casement_shell::auth::Caller;
use casement_shell::grpc::ERROR_DOMAIN;
use jiff::Timestamp;
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

/// The reason of a refusal because of too many calls without a known token from one address.
pub const ADDRESS_LIMITED: &str = "ADDRESS_LIMITED";

/// Addresses that are remembered; beyond it, those with nothing in flight that are rested are
/// forgotten, or else the one that is rested first.
const ADDRESSES_MAX: usize = 4_096;

/// What a caller has used up: their brand's share, and their token's.
#[derive(Debug)]
pub(crate) struct Limits {
    brand: Share,
    token: Share,
    address: Share,
    clock: SharedClock,
    brands: Mutex<HashMap<String, Used>>,
    tokens: Mutex<HashMap<String, Used>>,
    addresses: Mutex<HashMap<IpAddr, Used>>,
}

/// How much one may have.
#[derive(Debug, Clone, Copy)]
struct Share {
    rate: Rate,
    concurrency: usize,
}

#[derive(Debug)]
struct Used {
    usage: Usage,
    in_flight: Arc<Semaphore>,
}

/// A call that is in flight until this is dropped.
#[derive(Debug)]
pub(crate) struct Permit {
    _places: Vec<OwnedSemaphorePermit>,
}

impl Share {
    fn new(per_second: u32, concurrency: u32) -> Self {
        let concurrency = usize::try_from(concurrency).unwrap_or(usize::MAX);
        Self {
            rate: Rate::per_second(per_second),
            concurrency: concurrency.min(Semaphore::MAX_PERMITS),
        }
    }

    fn fresh(self) -> Used {
        Used {
            usage: Usage::default(),
            in_flight: Arc::new(Semaphore::new(self.concurrency)),
        }
    }
}

impl Used {
    /// A place, if there is one and it is time; uses up nothing of the rate yet.
    fn ask(
        &self,
        share: Share,
        now: Timestamp,
        whose: &str,
        rate_reason: &'static str,
    ) -> Result<OwnedSemaphorePermit, Status> {
        let place = Arc::clone(&self.in_flight)
            .try_acquire_owned()
            .map_err(|_| {
                refused(
                    CONCURRENCY_LIMITED,
                    &format!("too many calls of this {whose} are in flight"),
                    RETRY_AFTER_CONCURRENCY,
                )
            })?;
        let ready_at = self.usage.ready_at(share.rate, now);
        if ready_at > now {
            return Err(refused(
                rate_reason,
                &format!("too many calls of this {whose}"),
                ready_at.duration_since(now).unsigned_abs(),
            ));
        }
        Ok(place)
    }
}

impl Limits {
    pub(crate) fn new(config: &LimitsConfig, clock: SharedClock) -> Self {
        Self {
            brand: Share::new(
                config.requests_per_second_per_brand,
                config.concurrency_per_brand,
            ),
            token: Share::new(
                config.requests_per_second_per_token,
                config.concurrency_per_token,
            ),
            address: Share::new(
                config.unauthenticated_per_second_per_address,
                config.unauthenticated_concurrency_per_address,
            ),
            clock,
            brands: Mutex::default(),
            tokens: Mutex::default(),
            addresses: Mutex::default(),
        }
    }

    /// Counts a call. It is in flight until the permit is dropped; one that is refused uses up
    /// nothing.
    pub(crate) fn admit(&self, caller: &Caller) -> Result<Permit, Status> {
        let now = self.clock.now();
        let mut brands = self.brands.lock().unwrap_or_else(PoisonError::into_inner);
        let mut tokens = self.tokens.lock().unwrap_or_else(PoisonError::into_inner);
        let token = used(&mut tokens, &caller.name, self.token);
        let brand = used(&mut brands, &caller.brand, self.brand);
        let places = vec![
            token.ask(self.token, now, "token", RATE_LIMITED)?,
            brand.ask(self.brand, now, "brand", RATE_LIMITED)?,
        ];
        token.usage = token.usage.after_one(self.token.rate, now);
        brand.usage = brand.usage.after_one(self.brand.rate, now);
        Ok(Permit { _places: places })
    }

    /// Counts a call of somebody whom no token names.
    pub(crate) fn admit_stranger(&self, address: IpAddr) -> Result<Permit, Status> {
        let now = self.clock.now();
        let address = network(address);
        let addresses = self.addresses.lock();
        let mut addresses = addresses.unwrap_or_else(PoisonError::into_inner);
        if !addresses.contains_key(&address) && addresses.len() >= ADDRESSES_MAX {
            let share = self.address;
            let is_rested = |used: &Used| {
                used.in_flight.available_permits() == share.concurrency
                    && used.usage.ready_at(share.rate, now) <= now
            };
            addresses.retain(|_, used| !is_rested(used));
            let first = addresses
                .iter()
                .min_by_key(|(_, used)| used.usage.ready_at(share.rate, now))
                .map(|(address, _)| *address);
            if let Some(first) = first.filter(|_| addresses.len() >= ADDRESSES_MAX) {
                addresses.remove(&first);
            }
        }
        let share = self.address;
        let used = addresses.entry(address).or_insert_with(|| share.fresh());
        let place = used.ask(share, now, "address", ADDRESS_LIMITED)?;
        used.usage = used.usage.after_one(share.rate, now);
        Ok(Permit {
            _places: vec![place],
        })
    }
}

fn used<'a>(all: &'a mut HashMap<String, Used>, name: &str, share: Share) -> &'a mut Used {
    if !all.contains_key(name) {
        all.insert(name.to_owned(), share.fresh());
    }
    all.get_mut(name).expect("it was inserted if absent")
}

/// Somebody who has one address of version 6 has 2^64 of them.
pub(crate) fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => {
            let host = u128::from(u64::MAX);
            IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & !host))
        }
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

    fn limits(change: impl FnOnce(&mut LimitsConfig)) -> (Limits, ManualClock) {
        let clock = ManualClock::new("2026-01-01T00:00:00Z".parse().unwrap());
        let mut config = LimitsConfig::default();
        change(&mut config);
        (Limits::new(&config, clock.shared()), clock)
    }

    fn caller(name: &str, brand: &str) -> Caller {
        Caller::internal(name, brand)
    }

    #[test]
    fn a_brand_that_calls_too_often_waits_as_long_as_it_is_told() {
        let (limits, clock) = limits(|config| config.requests_per_second_per_brand = 2);
        drop(limits.admit(&caller("a", "shop")).unwrap());
        drop(limits.admit(&caller("b", "shop")).unwrap());
        let refused = limits.admit(&caller("c", "shop")).unwrap_err();
        assert_eq!(refused.code(), Code::ResourceExhausted);
        assert_eq!(reason(&refused).as_deref(), Some(RATE_LIMITED));
        let wait = refused
            .get_details_retry_info()
            .unwrap()
            .retry_delay
            .unwrap();
        assert_eq!(wait, Duration::from_millis(500));
        assert_eq!(refused.metadata().get("retry-after").unwrap(), "1");
        drop(limits.admit(&caller("d", "bank")).unwrap());
        clock.advance(SignedDuration::try_from(wait).unwrap());
        drop(limits.admit(&caller("a", "shop")).unwrap());
        limits.admit(&caller("a", "shop")).unwrap_err();
    }

    #[test]
    fn a_call_in_flight_counts_until_it_ends() {
        let (limits, _clock) = limits(|config| config.concurrency_per_brand = 1);
        let permit = limits.admit(&caller("a", "shop")).unwrap();
        let refused = limits.admit(&caller("b", "shop")).unwrap_err();
        assert_eq!(reason(&refused).as_deref(), Some(CONCURRENCY_LIMITED));
        drop(limits.admit(&caller("c", "bank")).unwrap());
        drop(permit);
        drop(limits.admit(&caller("b", "shop")).unwrap());
    }

    #[test]
    fn a_token_over_its_limit_leaves_the_rest_to_its_brand() {
        let (limits, _clock) = limits(|config| {
            config.requests_per_second_per_token = 1;
            config.requests_per_second_per_brand = 2;
        });
        drop(limits.admit(&caller("loud", "shop")).unwrap());
        for _ in 0..5 {
            let refused = limits.admit(&caller("loud", "shop")).unwrap_err();
            assert_eq!(refused.message(), "too many calls of this token");
        }
        drop(limits.admit(&caller("quiet", "shop")).unwrap());
        let refused = limits.admit(&caller("third", "shop")).unwrap_err();
        assert_eq!(refused.message(), "too many calls of this brand");
    }

    #[test]
    fn strangers_are_limited_by_address_and_few_are_remembered() {
        let (limits, clock) = limits(|config| config.unauthenticated_per_second_per_address = 1);
        let one: IpAddr = "192.0.2.1".parse().unwrap();
        drop(limits.admit_stranger(one).unwrap());
        let refused = limits.admit_stranger(one).unwrap_err();
        assert_eq!(reason(&refused).as_deref(), Some(ADDRESS_LIMITED));
        drop(limits.admit_stranger("192.0.2.2".parse().unwrap()).unwrap());
        let neighbours = ["2001:db8::1", "2001:db8::2"].map(|text| text.parse().unwrap());
        drop(limits.admit_stranger(neighbours[0]).unwrap());
        limits.admit_stranger(neighbours[1]).unwrap_err();
        for index in 0..ADDRESSES_MAX + 10 {
            let bits = u32::try_from(index).unwrap() + 0x0a00_0000;
            drop(
                limits
                    .admit_stranger(IpAddr::from(bits.to_be_bytes()))
                    .unwrap(),
            );
        }
        assert!(limits.addresses.lock().unwrap().len() <= ADDRESSES_MAX);
        clock.advance(SignedDuration::from_secs(1));
        drop(limits.admit_stranger(one).unwrap());
    }

    #[test]
    fn seconds_are_rounded_up() {
        assert_eq!(seconds(Duration::ZERO), 1);
        assert_eq!(seconds(Duration::from_millis(1_001)), 2);
        assert_eq!(seconds(Duration::from_secs(3)), 3);
    }
}
