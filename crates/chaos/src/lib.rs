//! Breaks the whole system under traffic, and proves what must hold all the same.
//!
//! `plan` says what is broken, by a seed; `driver` does it to a `system` of separate processes
//! while `traffic` runs both ways. Then `observe` reads the log as a plain subscriber does, the
//! platform's books and the archive's answers into a `history`, and `check` holds that against
//! claims of its own. `power` takes the power from the broker's disk. It uses no rule of the
//! system's: what it shares with it are the stored events.

pub mod check;
pub mod driver;
pub mod history;
pub mod observe;
pub mod plan;
pub mod power;
pub mod report;
pub mod run;
pub mod system;
pub mod traffic;
