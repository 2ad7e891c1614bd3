//! The rules: pure functions over facts, with no clock and no I/O.
//!
//! Each aggregate has the same shape: a state that is folded from events, a `decide` that
//! turns the state and the present time into the next event, and an `evolve` that folds one
//! event in and decides nothing. Time is always an argument. Nothing here knows about
//! protobuf, NATS, HTTP or SQL; services only carry out what these functions decide.

pub mod application;
pub mod brand;
pub mod budget;
pub mod capability;
pub mod consent;
pub mod conversation;
pub mod customer;
pub mod erasure;
pub mod failover;
pub mod halt;
pub mod id;
pub mod inbound;
pub mod joint;
pub mod management;
pub mod message;
pub mod migration;
pub mod money;
pub mod number_health;
pub mod onboarding;
pub mod rate;
pub mod registration;
pub mod retention;
pub mod retry;
pub mod routing;
pub mod sms;
pub mod template;
pub mod turns;
pub mod watch;
pub mod window;
