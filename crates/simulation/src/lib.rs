//! Deterministic simulation: trackers, dispatchers and audit-projectors, as they are shipped, over a
//! log in memory and on virtual time, with whatever a seed lets go wrong.
//!
//! [`plan`] says what is done and what fails, [`world`] does it, and a model of a few lines judges what
//! came of it. A seed that fails is made smaller until nothing can be left out any more. The roles'
//! code is the roles' own: only the broker, the providers and the clock are other ones. Ingress and
//! accounts do not run here; the facts that they store are written as they write them.

pub mod children;
pub mod plan;
pub mod shrink;
pub mod world;

mod archived;
mod check;
mod facts;
mod life;
mod provider;
mod seeded;
mod store;
mod time;
