//! Meta's side of onboarding, numbers and migration: businesses and how far they are verified,
//! accounts and what they may do, numbers from their first code to their last day.
//!
//! The Graph API calls are `routes`; what Meta does of its own accord is played by a test or a
//! person through [`crate::Handle`] (`acts`) or `/_sim/platform` (`control`). Every change that
//! Meta would tell of goes out as the webhook that it would send. Messages and templates are not
//! here.

mod acts;
pub(crate) mod control;
mod estate;
mod health;
mod migration;
mod nodes;
mod records;
mod registration;
pub(crate) mod routes;
mod sign_up;
pub(crate) mod upsets;
mod webhooks;

pub(crate) use estate::Estate;
pub(crate) use nodes::{account_node, business_node, number_node};
pub use records::{
    AccountSpec, BanState, BusinessSpec, NumberSpec, Quality, Restriction, Review, SignUp,
    SignUpSpec, Verification,
};
pub use registration::{CODE_LIFE, REGISTRATION_SPAN, REGISTRATIONS_MAX};
pub use sign_up::{REGISTER_WITHIN, SIGN_UP_CODE_LIFE};
pub use upsets::{Upset, UpsetKind};
