//! What goes wrong with management calls on purpose: refused, lost on the way there, or lost on
//! the way back after they took effect.
//!
//! Sends have faults of their own.

use axum::response::Response;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::codes::Refusal;
use crate::handle::Handle;
use crate::records::Channel;
use crate::serving;
use crate::shared::State;

/// What goes wrong.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum UpsetKind {
    /// Refused with a code; nothing happens.
    Refuse(i64),
    /// The connection breaks before anything happens.
    LoseCall,
    /// It happens, and the connection breaks before the answer.
    LoseAnswer,
}

/// Something that goes wrong with the next calls of a kind.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Upset {
    /// The end of the call's path: `access_token`, `subscribed_apps`, `phone_numbers`,
    /// `request_code`, `verify_code`, `register`, `deregister`; an id for reads of a node.
    pub call: String,
    /// What goes wrong.
    pub kind: UpsetKind,
    /// How often.
    #[serde(default = "once")]
    pub times: u32,
}

fn once() -> u32 {
    1
}

/// What will go wrong.
#[derive(Debug, Default)]
pub(crate) struct Upsets {
    waiting: Vec<Upset>,
}

impl Upsets {
    pub(super) fn add(&mut self, upset: Upset) {
        if upset.times > 0 {
            self.waiting.push(upset);
        }
    }

    pub(super) fn clear(&mut self) {
        self.waiting.clear();
    }

    /// Takes what goes wrong with a call, the oldest first.
    pub(crate) fn take(&mut self, path: &str) -> Option<UpsetKind> {
        let call = path.rsplit('/').next()?;
        let place = self.waiting.iter().position(|upset| upset.call == call)?;
        let upset = &mut self.waiting[place];
        let kind = upset.kind;
        upset.times -= 1;
        if upset.times == 0 {
            self.waiting.remove(place);
        }
        Some(kind)
    }
}

/// Does what a management call asks and answers, unless it was to go wrong.
pub(crate) fn serve(
    handle: &Handle,
    method: &str,
    path: &str,
    act: impl FnOnce(&mut State) -> Result<Value, Refusal>,
) -> Response {
    let shared = handle.shared();
    let (upset, outcome) = shared.change(|state| {
        let upset = state.books.estate.upsets.take(path);
        let outcome = match upset {
            Some(UpsetKind::LoseCall) => Ok(Value::Null),
            Some(UpsetKind::Refuse(code)) => {
                let told = "refused by the simulator as it was told to";
                Err(Refusal::new(code, told))
            }
            Some(UpsetKind::LoseAnswer) | None => act(state),
        };
        (upset, outcome)
    });
    let path = path.to_owned();
    if matches!(upset, Some(UpsetKind::LoseCall | UpsetKind::LoseAnswer)) {
        return serving::lost(shared, Channel::Whatsapp, method, path);
    }
    let answer = match outcome {
        Ok(body) => (200, body),
        Err(refusal) => refusal.as_graph(),
    };
    serving::respond(shared, Channel::Whatsapp, method, path, answer)
}
