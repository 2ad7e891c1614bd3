//! Role: dispatcher. Gets each message through by the best permitted route, and says why.
//!
//! It consumes `casement.events.report.>` (what providers say), `casement.events.inbound.>`
//! and `casement.events.window.>` (to release what waits for a customer), and emits the life of
//! each message on `casement.events.message.>` and what Meta proved about windows on
//! `casement.events.evidence.>`. It serves `MessageService`.
//!
//! The deadline index drives it: every message on the log says when it next needs attention,
//! and a fresh one says at once. So a restart picks up exactly what stood there. The decision
//! and its claim are one append, which expects the sequence that the decision rests on; whose
//! append it is makes the one call, and nobody else ever does.
//!
//! # What colleagues write
//!
//! Of a note nothing that is sent can be made. What a provider gets is text:
//!
//! ```no_run
//! use casement_domain::conversation::{Colleague, Note};
//! use casement_sms::gateways::Sms;
//! use casement_whatsapp::send::OutgoingContent;
//!
//! # fn example(sms: Sms) -> Result<(), Box<dyn std::error::Error>> {
//! let note = Note::parse("Do not tell them.", &Colleague::parse("ana")?)?;
//! let said = String::from("Hello!");
//! let text = OutgoingContent::Text { body: said.clone(), preview_url: false };
//! let sms = Sms { text: said, ..sms };
//! # let _ = (note, text, sms);
//! # Ok(())
//! # }
//! ```
//!
//! and a note is none, neither for WhatsApp
//!
//! ```compile_fail
//! use casement_domain::conversation::{Colleague, Note};
//! use casement_whatsapp::send::OutgoingContent;
//!
//! # fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let note = Note::parse("Do not tell them.", &Colleague::parse("ana")?)?;
//! let text = OutgoingContent::Text { body: note.text().clone().into(), preview_url: false };
//! # let _ = text;
//! # Ok(())
//! # }
//! ```
//!
//! nor for SMS, nor as a word within a text.
//!
//! ```compile_fail
//! use casement_domain::conversation::{Colleague, Note};
//! use casement_sms::gateways::Sms;
//!
//! # fn example(sms: Sms) -> Result<(), Box<dyn std::error::Error>> {
//! let note = Note::parse("Do not tell them.", &Colleague::parse("ana")?)?;
//! let sms = Sms { text: note.text().clone(), ..sms };
//! # let _ = sms;
//! # Ok(())
//! # }
//! ```
//!
//! ```compile_fail
//! use casement_domain::conversation::{Colleague, Note};
//!
//! # fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let note = Note::parse("Do not tell them.", &Colleague::parse("ana")?)?;
//! let said = format!("Hello! {}", note.text());
//! # let _ = said;
//! # Ok(())
//! # }
//! ```

mod admission;
mod again;
mod aggregate;
mod answers;
mod attempt;
mod brands;
mod budgets;
mod bulk;
mod commands;
mod complete;
mod compose;
mod config;
mod consent;
mod content;
mod direct;
mod engine;
mod erase;
mod evidence;
mod failover;
mod grpc;
mod halts;
mod hold;
mod lanes;
mod metrics;
mod money;
mod nudge;
mod outgoing;
mod pace;
mod policies;
mod preview;
mod provider;
mod rates;
mod recent;
mod refer;
mod refusals;
mod reports;
mod request;
mod role;
mod routed;
mod sensitive;
mod settle;
mod sms;
mod stakes;
mod standing;
mod templates;
mod trace;
mod uploads;
mod view;
mod waiting;
mod wake;
mod withdraw;
mod workers;

pub use commands::put_back::{PutBackError, put_back};
pub use config::{
    Config, Hold, HoldOfNumber, Nudge, NudgeParameter, OptInOfBrand, OptInWhen, Providers,
    RequireOptIn,
};
pub use grpc::Messages;
pub use money::{Caps, Config as MoneyConfig};
pub use policies::{PolicyConfig, PolicyOf, StepConfig};
pub use provider::Carrier;
pub use role::{Role, start};
