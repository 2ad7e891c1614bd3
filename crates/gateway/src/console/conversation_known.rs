//! All that the API says of one conversation, asked for at once.

use casement_proto::account::v1::{
    ConsentStanding, GetConsentRequest, GetNumberRequest, ListTemplatesRequest, get_consent_request,
};
use casement_proto::conversation::v1::{
    Conversation, GetConversationRequest, GetTimelineRequest, TimelineItem,
};
use casement_proto::events::v1::{
    self as events, Content, Decision, FreeForm, Priority, Purpose, SmsContent,
};
use casement_proto::message::v1::send_message_request::Customer;
use casement_proto::message::v1::{PreviewRouteRequest, SendMessageRequest};
use casement_proto::window::v1::{CustomerRef, GetWindowRequest, Window, customer_ref};
use serde::Deserialize;

use super::composer_template as form;
use super::conversations::href;
use super::page::Failure;
use super::session::Session;

/// Events of a timeline that one page shows.
const TIMELINE_SIZE: i32 = 200;

/// Most templates that are offered.
const TEMPLATES_MAX: i32 = 500;

/// Which conversation, as in the address.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Which {
    /// Digits of the business number.
    number: String,
    customer_id: String,
}

impl Which {
    /// E.164 with plus.
    pub(super) fn number(&self) -> String {
        format!("+{}", self.number)
    }

    pub(super) fn customer_id(&self) -> String {
        self.customer_id.clone()
    }

    pub(super) fn path(&self) -> String {
        href(&self.number, &self.customer_id)
    }
}

/// Which part of it.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Part {
    /// Older than what is shown first.
    pub(super) before: String,
    /// Not older than this position: what was just done is to be seen.
    pub(super) at: String,
}

/// The templates that a number may send.
#[derive(Default)]
pub(super) struct Templates {
    /// The business account that owns them.
    pub(super) waba_id: String,
    number_name: String,
    pub(super) all: Vec<events::Template>,
}

impl Templates {
    pub(super) fn find(&self, key: &str) -> Option<&events::Template> {
        self.all.iter().find(|template| form::key(template) == key)
    }
}

/// Asks for the templates of a conversation's number; none, if they cannot be had.
pub(super) async fn templates(session: &Session, which: &Which) -> Templates {
    let mut accounts = session.api().accounts();
    let number = GetNumberRequest {
        number: which.number(),
    };
    let number = accounts.get_number(number).await.ok();
    let Some(number) = number.and_then(|answer| answer.into_inner().number) else {
        return Templates::default();
    };
    let all = match number.waba_id.as_str() {
        "" => Vec::new(),
        waba_id => {
            let request = ListTemplatesRequest {
                waba_id: waba_id.to_owned(),
                page_size: TEMPLATES_MAX,
                ..ListTemplatesRequest::default()
            };
            let answer = accounts.list_templates(request).await;
            answer.map_or_else(|_| Vec::new(), |answer| answer.into_inner().templates)
        }
    };
    Templates {
        waba_id: number.waba_id,
        number_name: number.display_name,
        all,
    }
}

/// All that the API says of a conversation.
pub(super) struct Known {
    pub(super) conversation: Conversation,
    pub(super) window: Window,
    pub(super) items: Vec<TimelineItem>,
    pub(super) older: String,
    pub(super) templates: Templates,
    pub(super) consents: Vec<ConsentStanding>,
    pub(super) possible: Option<Decision>,
}

impl Known {
    pub(super) fn number_name(&self) -> &str {
        &self.templates.number_name
    }
}

/// Asks for everything at once. What only makes the page richer may be missing.
pub(super) async fn know(session: &Session, which: &Which, part: &Part) -> Result<Known, Failure> {
    let mut consents = session.api().consents();
    let consent = GetConsentRequest {
        number: which.number(),
        customer: Some(get_consent_request::Customer::CustomerId(
            which.customer_id(),
        )),
    };
    let (heart, templates, consents, possible) = tokio::join!(
        heart(session, which, part, TIMELINE_SIZE),
        templates(session, which),
        consents.get_consent(consent),
        possible(session, which),
    );
    let (conversation, window, items, older) = heart?;
    Ok(Known {
        conversation,
        window,
        items,
        older,
        templates,
        consents: consents.map_or_else(|_| Vec::new(), |answer| answer.into_inner().standings),
        possible,
    })
}

/// The conversation, its window and the newest of its timeline.
pub(super) async fn heart(
    session: &Session,
    which: &Which,
    part: &Part,
    page_size: i32,
) -> Result<(Conversation, Window, Vec<TimelineItem>, String), Failure> {
    let api = session.api();
    let (mut conversations, mut windows, mut timelines) =
        (api.conversations(), api.windows(), api.conversations());
    let conversation = GetConversationRequest {
        number: which.number(),
        customer_id: which.customer_id(),
        not_before: part.at.clone(),
    };
    let window = GetWindowRequest {
        number: which.number(),
        customer: Some(CustomerRef {
            customer: Some(customer_ref::Customer::CustomerId(which.customer_id())),
        }),
        not_before: String::new(),
    };
    let timeline = GetTimelineRequest {
        number: which.number(),
        customer_id: which.customer_id(),
        page_size,
        page_token: part.before.clone(),
        not_before: part.at.clone(),
    };
    let (conversation, window, timeline) = tokio::join!(
        conversations.get_conversation(conversation),
        windows.get_window(window),
        timelines.get_timeline(timeline),
    );
    let conversation = conversation?.into_inner().conversation.unwrap_or_default();
    let timeline = timeline?.into_inner();
    Ok((
        conversation,
        window?.into_inner().window.unwrap_or_default(),
        timeline.items,
        timeline.next_page_token,
    ))
}

/// What would be decided of a text that may go any way; nothing, if nobody can tell.
async fn possible(session: &Session, which: &Which) -> Option<Decision> {
    let text = "…".to_owned();
    let request = SendMessageRequest {
        number: which.number(),
        customer: Some(Customer::CustomerId(which.customer_id())),
        content: Some(Content {
            free_form: Some(FreeForm {
                text: text.clone(),
                ..FreeForm::default()
            }),
            sms: Some(SmsContent {
                text,
                sender: String::new(),
            }),
            template: None,
        }),
        purpose: Purpose::Service.into(),
        priority: Priority::Reply.into(),
        ..SendMessageRequest::default()
    };
    let request = PreviewRouteRequest {
        request: Some(request),
        evaluate_time: None,
    };
    let answer = session.api().messages().preview_route(request).await;
    answer.ok()?.into_inner().decision
}
