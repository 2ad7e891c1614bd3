//! Webhook posts, taken apart into a flat list of items.
//!
//! A post may carry up to a thousand updates for many numbers. [`parse`] walks it with plain JSON
//! values, so that one strange item never harms its siblings: what cannot be read becomes
//! [`ItemKind::Malformed`], what nobody knows becomes [`ItemKind::Unrecognized`], and both keep
//! their JSON. It does not resolve customers, decide whether a window opens, or name events.

mod account;
mod call;
mod contact;
mod content;
mod context;
mod extra;
mod group;
mod hash;
mod history;
mod item;
mod message;
mod read;
mod repair;
mod status;
mod subscription;
mod update;
mod walk;

pub use account::{
    Account, AccountFacts, AccountScope, AccountUpdate, Alert, CallSettings, Capability, Flow,
    NumberName, NumberQuality, PartnerSolution, Payment, Restriction, Security, TemplateButton,
    TemplateCategory, TemplateComponents, TemplateName, TemplateQuality, TemplateStatus,
    UsernameUpdate,
};
pub use call::{CallDirection, CallReport, CallState, CallStatus};
pub use content::{
    AddressReply, ButtonReply, CallPermissionReply, CardAddress, CardEmail, CardPhone, CardUrl,
    ContactCard, Content, Edit, FlowReply, ListReply, Location, Media, MediaKind, Order, OrderItem,
    SystemNotice,
};
pub use context::{MessageContext, Referral, ReferredProduct};
pub use group::{GroupChange, GroupParticipant, ParticipantChange};
pub use hash::value_hash;
pub use history::{HistoryChunk, HistoryMessage, HistoryThread, Unreadable};
pub use item::{Channel, Item, ItemKind, ItemOrigin, Post, ReportedError};
pub use message::{IdentityChange, InboundMessage, MessageKind};
pub use status::{DeliveryStatus, Pricing, StatusReport};
pub use subscription::{SubscriptionError, SubscriptionParams, verify_subscription};
pub use update::{AppContact, Echo, Handover, Preference, UserIdUpdate, UserPreference};
pub use walk::{ParseError, parse};

#[cfg(test)]
mod laws;
#[cfg(test)]
mod message_tests;
#[cfg(test)]
mod status_tests;
#[cfg(test)]
mod tests;
