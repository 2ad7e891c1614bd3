//! What would come of sending now: the way, what follows from it, and what the customer would read.
//!
//! Pure. It is told before anything goes, in words and with the whole decision behind them.

use casement_proto::account::v1::RenderTemplateResponse;
use casement_proto::events::v1::{Decision, Route, Template, TemplateCategory};
use jiff::Timestamp;

use super::composer::{Mode, shown};
use super::conversation_decision::{DecisionView, segments};

/// A template as a customer would read it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Reads {
    pub(super) header: String,
    pub(super) body: String,
    pub(super) footer: String,
    pub(super) buttons: Vec<String>,
}

impl Reads {
    pub(super) fn new(of: &RenderTemplateResponse) -> Self {
        let part = of.message.clone().unwrap_or_default();
        Self {
            header: part.header,
            body: part.body,
            footer: part.footer,
            buttons: part.buttons.into_iter().map(|button| button.text).collect(),
        }
    }
}

/// What would come of sending now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Preview {
    pub(super) headline: String,
    /// `ok`, `wait` or `bad`: how it is painted.
    pub(super) class: &'static str,
    pub(super) consequences: Vec<String>,
    pub(super) decision: Option<DecisionView>,
    pub(super) reads: Option<Reads>,
    /// What the button says.
    pub(super) button: &'static str,
    pub(super) shown: String,
}

impl Preview {
    /// Before anything was typed.
    pub(super) fn idle(mode: Mode) -> Self {
        let (headline, button) = match mode {
            Mode::Reply => (
                "Goes as a WhatsApp message while the window is open.",
                "Send",
            ),
            Mode::Template => ("Choose a template, and fill it in.", "Send template"),
            Mode::Sms => ("Goes as an SMS.", "Send SMS"),
            Mode::Note => (
                "Only colleagues read a note. No provider ever gets it.",
                "Add note",
            ),
        };
        Self {
            headline: headline.to_owned(),
            class: "ok",
            consequences: Vec::new(),
            decision: None,
            reads: None,
            button,
            shown: String::new(),
        }
    }

    /// What was decided of a draft.
    pub(super) fn new(
        mode: Mode,
        decision: &Decision,
        template: Option<&Template>,
        reads: Option<Reads>,
        now: Timestamp,
    ) -> Self {
        let view = DecisionView::new("Now", decision, now);
        let route = decision.chosen_route();
        let mut consequences = Vec::new();
        let (class, headline, button) = match route {
            Route::FreeForm => ("ok", "Goes now as a WhatsApp message.", "Send"),
            Route::Template => ("ok", "Goes now as a WhatsApp template.", "Send template"),
            Route::Sms if mode == Mode::Sms => ("ok", "Goes now as an SMS.", "Send SMS"),
            Route::Sms => ("wait", "Would go as an SMS.", "Send as SMS"),
            Route::Hold => (
                "wait",
                "Does not go now: it is held until the customer writes.",
                "Hold until they write",
            ),
            Route::Unspecified => ("bad", "No way is open now.", "Try to send"),
        };
        if let Some(earliest) = &view.earliest {
            consequences.push(format!("Not before {}.", earliest.text));
        }
        match route {
            Route::Template => {
                consequences.push(
                    "A template does not open the window: it opens when the customer answers."
                        .to_owned(),
                );
                if template.is_some_and(|it| it.category() == TemplateCategory::Marketing) {
                    consequences.push(
                        "It is marketing: it goes only to who opted in, and counts against how \
                         much marketing a customer gets."
                            .to_owned(),
                    );
                }
            }
            Route::Sms => {
                consequences.push(format!(
                    "{}; each is paid for. An answer by SMS does not open the WhatsApp window.",
                    segments(decision)
                ));
            }
            Route::Hold => {
                if let Some(until) = &view.hold_until {
                    consequences.push(format!(
                        "If the customer has not written by {}, it ends unsent.",
                        until.text
                    ));
                }
                if !view.hold.is_empty() {
                    consequences.push(view.hold.clone());
                }
            }
            Route::Unspecified => {
                let reasons = view.rows.iter();
                consequences.extend(reasons.map(|row| format!("{}: {}", row.route, row.text)));
            }
            Route::FreeForm => {}
        }
        if let Some(cost) = view.winner().map(|row| &row.cost)
            && !cost.is_empty()
        {
            consequences.push(format!("Expected cost: {cost}."));
        }
        Self {
            headline: headline.to_owned(),
            class,
            consequences,
            decision: Some(view),
            reads,
            button,
            shown: shown(mode, route),
        }
    }

    /// Of what the API refuses.
    pub(super) fn refused(mode: Mode, why: String) -> Self {
        Self {
            headline: why,
            class: "bad",
            ..Self::idle(mode)
        }
    }
}
