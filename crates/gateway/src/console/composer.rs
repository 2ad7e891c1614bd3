//! The composer: what can be said to a customer now, by which way, and what follows from it.
//!
//! Pure. It stays usable whatever the window does: a note can always be written, and where free-form
//! is not permitted, template and SMS are offered, and it is said why, and when that ends. A draft
//! belongs to its way and never changes over to another one by itself, so that no note can become
//! an answer. What is sent is what was shown: [`Draft::accepts`].

use casement_proto::events::v1::{
    Content, Decision, FreeForm, Priority, Purpose, Route, SmsContent, Template, TemplateCategory,
    Verdict,
};
use casement_proto::message::v1::SendMessageRequest;
use casement_proto::message::v1::send_message_request::Customer;

use super::composer_preview::Preview;
use super::composer_template::{self as form, Choice, Field, Values};
use super::conversation_clock::Clocks;
use super::conversation_decision::route_word;

/// Longest note, in characters: the API's own limit.
pub(super) const NOTE_CHARS_MAX: usize = 4_096;

/// Longest free-form text, in characters (WhatsApp Cloud API: text messages).
pub(super) const REPLY_CHARS_MAX: usize = 4_096;

/// Longest text for SMS, in characters (Twilio: body of a message).
pub(super) const SMS_CHARS_MAX: usize = 1_600;

/// Prefix of the fields that fill a template in.
const PARAMETER: &str = "p.";

/// What is being written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Mode {
    Reply,
    Template,
    Sms,
    #[default]
    Note,
}

impl Mode {
    pub(super) const ALL: [Self; 4] = [Self::Reply, Self::Template, Self::Sms, Self::Note];

    /// As in the form.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Reply => "reply",
            Self::Template => "template",
            Self::Sms => "sms",
            Self::Note => "note",
        }
    }

    pub(super) fn label(self) -> &'static str {
        match self {
            Self::Reply => "Reply",
            Self::Template => "Template",
            Self::Sms => "SMS",
            Self::Note => "Note",
        }
    }

    fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|mode| mode.as_str() == word)
    }

    /// The route that goes without saying.
    fn route(self) -> Route {
        match self {
            Self::Reply => Route::FreeForm,
            Self::Template => Route::Template,
            Self::Sms => Route::Sms,
            Self::Note => Route::Unspecified,
        }
    }
}

/// What was typed so far.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Draft {
    /// None if it was not said.
    pub(super) mode: Option<Mode>,
    pub(super) reply: String,
    pub(super) sms: String,
    pub(super) note: String,
    /// Which template: [`form::key`].
    pub(super) template: String,
    pub(super) values: Values,
    /// The mode and route that whoever writes was shown last.
    pub(super) shown: String,
    /// Makes the form safe to send twice.
    pub(super) request_id: String,
}

impl Draft {
    /// Reads the fields of a form.
    pub(super) fn read<'a>(fields: impl Iterator<Item = (&'a str, &'a str)>) -> Self {
        let mut draft = Self::default();
        for (name, value) in fields {
            let value = value.replace("\r\n", "\n");
            match name {
                "mode" => draft.mode = Mode::parse(&value),
                "reply" => draft.reply = value,
                "sms" => draft.sms = value,
                "note" => draft.note = value,
                "template" => draft.template = value,
                "shown" => draft.shown = value,
                "request_id" => draft.request_id = value,
                name => {
                    if let Some(place) = name.strip_prefix(PARAMETER) {
                        draft.values.insert(place.to_owned(), value);
                    }
                }
            }
        }
        draft
    }

    /// The request to send it; `template` is the one that was chosen. Nothing, for a note, which
    /// never becomes one, and while no template is chosen.
    pub(super) fn request(
        &self,
        mode: Mode,
        number: &str,
        customer_id: &str,
        template: Option<&Template>,
    ) -> Option<SendMessageRequest> {
        let mut purpose = Purpose::Service;
        let content = match mode {
            Mode::Note => return None,
            Mode::Reply => Content {
                free_form: Some(FreeForm {
                    text: self.reply.clone(),
                    ..FreeForm::default()
                }),
                ..Content::default()
            },
            Mode::Sms => Content {
                sms: Some(SmsContent {
                    text: self.sms.clone(),
                    sender: String::new(),
                }),
                ..Content::default()
            },
            Mode::Template => {
                let template = template?;
                purpose = purpose_of(template.category());
                Content {
                    template: Some(form::content(template, &self.values)),
                    ..Content::default()
                }
            }
        };
        Some(SendMessageRequest {
            number: number.to_owned(),
            customer: Some(Customer::CustomerId(customer_id.to_owned())),
            content: Some(content),
            purpose: purpose.into(),
            priority: Priority::Reply.into(),
            request_id: self.request_id.clone(),
            ..SendMessageRequest::default()
        })
    }

    /// Whether whoever writes means this route: the one that goes without saying, or the one that
    /// they were shown.
    pub(super) fn accepts(&self, mode: Mode, route: Route) -> bool {
        route == mode.route() || self.shown == shown(mode, route)
    }

    /// Forgets what was sent, and the id that it was sent under.
    pub(super) fn clear(&mut self, mode: Mode) {
        match mode {
            Mode::Reply => self.reply.clear(),
            Mode::Sms => self.sms.clear(),
            Mode::Note => self.note.clear(),
            Mode::Template => {
                self.template.clear();
                self.values.clear();
            }
        }
        self.mode = None;
        self.shown.clear();
        self.request_id.clear();
    }

    /// Whether there is nothing to send.
    pub(super) fn is_empty(&self, mode: Mode) -> bool {
        match mode {
            Mode::Reply => self.reply.trim().is_empty(),
            Mode::Sms => self.sms.trim().is_empty(),
            Mode::Note => self.note.trim().is_empty(),
            Mode::Template => self.template.is_empty(),
        }
    }
}

fn purpose_of(category: TemplateCategory) -> Purpose {
    match category {
        TemplateCategory::Unspecified => Purpose::Service,
        TemplateCategory::Utility => Purpose::Utility,
        TemplateCategory::Authentication => Purpose::Authentication,
        TemplateCategory::Marketing => Purpose::Marketing,
    }
}

/// What stands for what was shown.
pub(super) fn shown(mode: Mode, route: Route) -> String {
    format!("{}:{}", mode.as_str(), route_word(route))
}

/// Whether a way is offered, and if not, why, and what would change that.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Offer {
    pub(super) is_offered: bool,
    pub(super) why_not: String,
    pub(super) how_again: String,
}

impl Offer {
    fn yes() -> Self {
        Self {
            is_offered: true,
            ..Self::default()
        }
    }

    fn no(why_not: impl Into<String>, how_again: impl Into<String>) -> Self {
        Self {
            is_offered: false,
            why_not: why_not.into(),
            how_again: how_again.into(),
        }
    }
}

/// All ways.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Offers {
    pub(super) reply: Offer,
    pub(super) template: Offer,
    pub(super) sms: Offer,
    pub(super) note: Offer,
}

impl Offers {
    /// `possible` is what would be decided of a text that may go any way; none, if that is not
    /// known.
    pub(super) fn new(
        may_send: bool,
        may_note: bool,
        clocks: &Clocks,
        possible: Option<&Decision>,
        choices: &[Choice],
    ) -> Self {
        const TOKEN: &str = "Sign in with a token of scope";
        let note = if may_note {
            Offer::yes()
        } else {
            Offer::no(
                "This token may not add notes.",
                format!("{TOKEN} colleague."),
            )
        };
        if !may_send {
            let no = Offer::no("This token may not send.", format!("{TOKEN} send."));
            return Self {
                reply: no.clone(),
                template: no.clone(),
                sms: no,
                note,
            };
        }
        let reply = if clocks.free_form_allowed {
            Offer::yes()
        } else {
            Offer::no(&clocks.why_not, &clocks.how_again)
        };
        let template = match choices.iter().any(|choice| choice.why_not.is_empty()) {
            true => Offer::yes(),
            false if choices.is_empty() => Offer::no("The number's account has no templates.", ""),
            false => Offer::no("No template of the number's account can be used.", ""),
        };
        let candidate = possible.map(|decision| {
            let mut all = decision.candidates.iter();
            all.find(|candidate| candidate.route() == Route::Sms)
        });
        let sms = match candidate {
            Some(Some(candidate)) if candidate.verdict() == Verdict::RuledOut => {
                Offer::no(&candidate.text, "")
            }
            Some(None) => Offer::no("The number's routing policy has no SMS.", ""),
            Some(Some(_)) | None => Offer::yes(),
        };
        Self {
            reply,
            template,
            sms,
            note,
        }
    }

    pub(super) fn of(&self, mode: Mode) -> &Offer {
        match mode {
            Mode::Reply => &self.reply,
            Mode::Template => &self.template,
            Mode::Sms => &self.sms,
            Mode::Note => &self.note,
        }
    }

    /// What is preselected: what was asked for, if it is offered; else a reply while the window is
    /// open, and a note while it is not.
    pub(super) fn mode(&self, asked: Option<Mode>) -> Mode {
        asked
            .filter(|mode| self.of(*mode).is_offered)
            .unwrap_or(if self.reply.is_offered {
                Mode::Reply
            } else {
                Mode::Note
            })
    }
}

/// A template that was chosen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Chosen {
    pub(super) category: &'static str,
    pub(super) is_marketing: bool,
    pub(super) fields: Vec<Field>,
}

impl Chosen {
    pub(super) fn new(template: &Template, values: &Values, problems: &[(String, String)]) -> Self {
        let mut fields = form::fields(template, values, problems);
        for field in &mut fields {
            field.name.insert_str(0, PARAMETER);
        }
        Self {
            category: form::category_word(template.category()),
            is_marketing: template.category() == TemplateCategory::Marketing,
            fields,
        }
    }
}

/// A way, as the form offers it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Way {
    pub(super) value: &'static str,
    pub(super) label: &'static str,
    /// For the keyboard, with the browser's own modifiers.
    pub(super) access_key: &'static str,
    pub(super) is_chosen: bool,
    pub(super) offer: Offer,
}

/// All that the form shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Composer {
    pub(super) mode: &'static str,
    pub(super) ways: Vec<Way>,
    pub(super) draft: Draft,
    pub(super) reply: Offer,
    pub(super) choices: Vec<Choice>,
    pub(super) chosen: Option<Chosen>,
    pub(super) preview: Preview,
    /// Why what was posted was not done; empty if nothing was.
    pub(super) refusal: String,
    /// What is wrong, where it has no field of its own.
    pub(super) problems: Vec<String>,
    pub(super) reply_chars_max: usize,
    pub(super) sms_chars_max: usize,
    pub(super) note_chars_max: usize,
}

impl Composer {
    #[expect(clippy::too_many_arguments, reason = "each is one part of the form")]
    pub(super) fn new(
        mode: Mode,
        draft: Draft,
        offers: Offers,
        choices: Vec<Choice>,
        chosen: Option<Chosen>,
        preview: Preview,
        refusal: String,
        problems: Vec<(String, String)>,
    ) -> Self {
        let ways = Mode::ALL.map(|way| Way {
            value: way.as_str(),
            label: way.label(),
            access_key: match way {
                Mode::Reply => "r",
                Mode::Template => "t",
                Mode::Sms => "s",
                Mode::Note => "n",
            },
            is_chosen: way == mode,
            offer: offers.of(way).clone(),
        });
        let marked = chosen.as_ref().map_or(&[][..], |chosen| &chosen.fields);
        let is_marked = |what: &String| marked.iter().any(|field| field.problem == *what);
        let problems = problems
            .into_iter()
            .filter(|(_, what)| !is_marked(what))
            .map(|(field, what)| match field.rsplit('.').next() {
                Some(field) if !field.is_empty() => format!("{field}: {what}"),
                _ => what,
            })
            .collect();
        Self {
            mode: mode.as_str(),
            ways: ways.into(),
            draft,
            reply: offers.reply,
            choices,
            chosen,
            preview,
            refusal,
            problems,
            reply_chars_max: REPLY_CHARS_MAX,
            sms_chars_max: SMS_CHARS_MAX,
            note_chars_max: NOTE_CHARS_MAX,
        }
    }

    /// Something was written to the customer that cannot go as it is.
    pub(super) fn keeps_locked_draft(&self) -> bool {
        !self.reply.is_offered && !self.draft.reply.trim().is_empty()
    }

    pub(super) fn is_template(&self, key: &str) -> bool {
        self.draft.template == key
    }
}

#[cfg(test)]
#[path = "composer_tests.rs"]
mod tests;
