//! The operator's commands, one module each: what they take, ask and print.

pub(crate) mod application;
pub(crate) mod audit;
pub(crate) mod brand;
pub(crate) mod connect;
pub(crate) mod consent;
pub(crate) mod conversation;
pub(crate) mod dead;
pub(crate) mod doctor;
pub(crate) mod events;
pub(crate) mod halts;
pub(crate) mod healthcheck;
pub(crate) mod media;
pub(crate) mod message;
pub(crate) mod migrate;
pub(crate) mod number;
pub(crate) mod onboard;
pub(crate) mod parked;
pub(crate) mod repair;
pub(crate) mod replay;
pub(crate) mod secrets;
pub(crate) mod send;
pub(crate) mod simulate;
pub(crate) mod story;
pub(crate) mod template;
pub(crate) mod window;
