//! What can be tapped in an interactive message.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::commerce::{Catalog, Product, ProductList};
use super::limits::{
    BUTTON_ID_CHARS_MAX, BUTTON_TITLE_CHARS_MAX, BUTTONS_MAX, CALL_BUTTON_MINUTES_MAX,
    CALL_PAYLOAD_CHARS_MAX, FLOW_CTA_CHARS_MAX, ROW_DESCRIPTION_CHARS_MAX, ROW_ID_CHARS_MAX,
    ROW_TITLE_CHARS_MAX, ROWS_MAX, SECTION_TITLE_CHARS_MAX, SECTIONS_MAX,
};
use super::put_texts;
use crate::send::problem::{Check, object};

/// The one version of messages of flows (Meta: sending a flow).
const FLOW_MESSAGE_VERSION: &str = "3";

/// What can be tapped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Buttons that answer.
    Reply(Vec<ReplyButton>),
    /// A list to choose from.
    List(ListMenu),
    /// A button that opens a page.
    CtaUrl(CtaUrl),
    /// A button that sends where the customer is.
    LocationRequest,
    /// A button that opens a form.
    Flow(Flow),
    /// One product.
    Product(Product),
    /// Several products.
    ProductList(ProductList),
    /// The catalogue.
    Catalog(Catalog),
    /// A form for a postal address.
    Address(Address),
    /// The question whether the business may call.
    CallPermission,
    /// A button that calls the business.
    VoiceCall(CallButton),
    /// A button that sends the customer's phone number.
    ContactRequest,
}

/// A button that answers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReplyButton {
    /// Comes back when it is tapped.
    pub id: String,
    /// What it says.
    pub title: String,
}

/// A list to choose from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ListMenu {
    /// What the button that opens it says.
    pub button: String,
    /// Its parts.
    pub sections: Vec<ListSection>,
}

/// A part of a list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ListSection {
    /// Has to be there if there are several parts.
    pub title: String,
    /// What can be chosen.
    pub rows: Vec<Row>,
}

/// What can be chosen.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Row {
    /// Comes back when it is chosen.
    pub id: String,
    /// What it says.
    pub title: String,
    /// What it says below; may be empty.
    pub description: String,
}

/// A button that opens a page.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CtaUrl {
    /// What it says.
    pub display_text: String,
    /// The page.
    pub url: String,
}

/// A button that opens a form.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Flow {
    /// Which form; has to be there.
    pub flow: Option<FlowRef>,
    /// What the button says.
    pub cta: String,
    /// Comes back with the answers; may be empty.
    pub token: String,
    /// Sends the draft instead of what is published.
    pub draft: bool,
    /// Asks the flow's endpoint for the first screen.
    pub data_exchange: bool,
    /// The first screen; may be empty.
    pub screen: String,
    /// What the first screen is given: a JSON object, or empty.
    pub data_json: String,
}

/// Which form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FlowRef {
    /// By id.
    Id(String),
    /// By name.
    Name(String),
}

/// A form for a postal address. Fields are pairs of the platform's name and a value.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Address {
    /// Two letters.
    pub country: String,
    /// What it is filled in with.
    pub values: Vec<(String, String)>,
    /// Addresses to choose from.
    pub saved_addresses: Vec<SavedAddress>,
    /// What is wrong with the values.
    pub validation_errors: Vec<(String, String)>,
}

/// An address to choose from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SavedAddress {
    /// Comes back when it is chosen.
    pub id: String,
    /// Its fields.
    pub values: Vec<(String, String)>,
}

/// A button that calls the business.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CallButton {
    /// What it says; the platform's own words if empty.
    pub display_text: String,
    /// How long it works; the platform's own time if 0.
    pub ttl_minutes: u32,
    /// Comes back with the call; may be empty.
    pub payload: String,
}

impl Action {
    /// Returns the platform's word for a message with it.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Reply(_) => "button",
            Self::List(_) => "list",
            Self::CtaUrl(_) => "cta_url",
            Self::LocationRequest => "location_request_message",
            Self::Flow(_) => "flow",
            Self::Product(_) => "product",
            Self::ProductList(_) => "product_list",
            Self::Catalog(_) => "catalog_message",
            Self::Address(_) => "address_message",
            Self::CallPermission => "call_permission_request",
            Self::VoiceCall(_) => "voice_call",
            Self::ContactRequest => "request_contact_info",
        }
    }

    /// Returns the name of its field in the API.
    pub(super) fn field(&self) -> &'static str {
        match self {
            Self::Reply(_) => "reply",
            Self::List(_) => "list",
            Self::CtaUrl(_) => "cta_url",
            Self::LocationRequest => "location_request",
            Self::Flow(_) => "flow",
            Self::Product(_) => "product",
            Self::ProductList(_) => "product_list",
            Self::Catalog(_) => "catalog",
            Self::Address(_) => "address",
            Self::CallPermission => "call_permission",
            Self::VoiceCall(_) => "voice_call",
            Self::ContactRequest => "contact_request",
        }
    }

    pub(super) fn check(&self, check: &mut Check<'_>) {
        match self {
            Self::Reply(buttons) => check_buttons(buttons, check),
            Self::List(list) => list.check(check),
            Self::CtaUrl(button) => {
                check.text("display_text", &button.display_text, BUTTON_TITLE_CHARS_MAX);
                check.url("url", &button.url);
            }
            Self::Flow(flow) => flow.check(check),
            Self::Product(product) => product.check(check),
            Self::ProductList(list) => list.check(check),
            Self::Address(address) => address.check(check),
            Self::VoiceCall(button) => {
                check.at_most("display_text", &button.display_text, BUTTON_TITLE_CHARS_MAX);
                if button.ttl_minutes > CALL_BUTTON_MINUTES_MAX {
                    let reason = format!("must be at most {CALL_BUTTON_MINUTES_MAX} minutes");
                    check.problem("ttl_minutes", reason);
                }
                check.at_most("payload", &button.payload, CALL_PAYLOAD_CHARS_MAX);
            }
            Self::LocationRequest
            | Self::Catalog(_)
            | Self::CallPermission
            | Self::ContactRequest => {}
        }
    }

    pub(super) fn json(&self) -> Value {
        match self {
            Self::Reply(buttons) => {
                let button = |button: &ReplyButton| json!({ "type": "reply", "reply": { "id": button.id, "title": button.title } });
                json!({ "buttons": buttons.iter().map(button).collect::<Vec<_>>() })
            }
            Self::List(list) => json!({
                "button": list.button,
                "sections": list.sections.iter().map(ListSection::json).collect::<Vec<_>>(),
            }),
            Self::CtaUrl(button) => named(
                "cta_url",
                json!({ "display_text": button.display_text, "url": button.url }),
            ),
            Self::LocationRequest => json!({ "name": "send_location" }),
            Self::Flow(flow) => named("flow", flow.json()),
            Self::Product(product) => product.json(),
            Self::ProductList(list) => list.json(),
            Self::Catalog(catalog) => named("catalog_message", catalog.json()),
            Self::Address(address) => named("address_message", address.json()),
            Self::CallPermission => json!({ "name": "call_permission_request" }),
            Self::VoiceCall(button) => named("voice_call", button.json()),
            Self::ContactRequest => json!({ "name": "request_contact_info" }),
        }
    }
}

/// A named action; parameters that hold nothing are left out.
fn named(name: &str, parameters: Value) -> Value {
    let mut action = json!({ "name": name });
    if parameters.as_object().is_some_and(|it| !it.is_empty()) {
        action["parameters"] = parameters;
    }
    action
}

/// What comes back must tell what was tapped.
fn check_unique<'a>(
    ids: impl Iterator<Item = (String, &'a String)>,
    field: &str,
    check: &mut Check<'_>,
) {
    let mut seen = BTreeSet::new();
    for (at, id) in ids {
        if !id.is_empty() && !seen.insert(id) {
            check.within(&at).problem(field, "is another one's, too");
        }
    }
}

fn check_buttons(buttons: &[ReplyButton], check: &mut Check<'_>) {
    check.count("buttons", buttons.len(), 1..=BUTTONS_MAX);
    for (index, button) in buttons.iter().enumerate() {
        let mut check = check.item("buttons", index);
        check.text("id", &button.id, BUTTON_ID_CHARS_MAX);
        check.text("title", &button.title, BUTTON_TITLE_CHARS_MAX);
    }
    let ids = buttons.iter().enumerate();
    let ids = ids.map(|(index, button)| (format!("buttons[{index}]"), &button.id));
    check_unique(ids, "id", check);
}

/// Titles of sections tell them apart: needed where there are several.
pub(super) fn check_title(title: &str, sections: usize, check: &mut Check<'_>) {
    if sections > 1 {
        check.text("title", title, SECTION_TITLE_CHARS_MAX);
    } else {
        check.at_most("title", title, SECTION_TITLE_CHARS_MAX);
    }
}

impl ListMenu {
    fn check(&self, check: &mut Check<'_>) {
        check.text("button", &self.button, BUTTON_TITLE_CHARS_MAX);
        check.count("sections", self.sections.len(), 1..=SECTIONS_MAX);
        let mut ids = Vec::new();
        for (index, section) in self.sections.iter().enumerate() {
            let mut check = check.item("sections", index);
            check_title(&section.title, self.sections.len(), &mut check);
            if section.rows.is_empty() {
                check.problem("rows", "must not be empty");
            }
            for (row_index, row) in section.rows.iter().enumerate() {
                let mut check = check.item("rows", row_index);
                check.text("id", &row.id, ROW_ID_CHARS_MAX);
                check.text("title", &row.title, ROW_TITLE_CHARS_MAX);
                check.at_most("description", &row.description, ROW_DESCRIPTION_CHARS_MAX);
                ids.push((format!("sections[{index}].rows[{row_index}]"), &row.id));
            }
        }
        if self.sections.len() <= SECTIONS_MAX && ids.len() > ROWS_MAX {
            let reason = format!("have {} rows, at most {ROWS_MAX} are allowed", ids.len());
            check.problem("sections", reason);
        }
        check_unique(ids.into_iter(), "id", check);
    }
}

impl ListSection {
    fn json(&self) -> Value {
        let rows = self.rows.iter().map(|row| {
            let mut object = json!({ "id": row.id, "title": row.title });
            put_texts(&mut object, &[("description", &row.description)]);
            object
        });
        let mut section = json!({ "rows": rows.collect::<Vec<_>>() });
        put_texts(&mut section, &[("title", &self.title)]);
        section
    }
}

impl Flow {
    fn check(&self, check: &mut Check<'_>) {
        match &self.flow {
            None => check.problem("", "give one of flow_id, flow_name"),
            Some(FlowRef::Id(id)) => check.filled("flow_id", id),
            Some(FlowRef::Name(name)) => check.filled("flow_name", name),
        }
        check.text("cta", &self.cta, FLOW_CTA_CHARS_MAX);
        if self.data_exchange {
            let why = "is the endpoint's to say, which is asked for it";
            check.absent("screen", &self.screen, why);
            check.absent("data_json", &self.data_json, why);
        } else if !self.data_json.is_empty() {
            check.filled("screen", &self.screen);
            check_data(&self.data_json, check);
        }
    }

    fn json(&self) -> Value {
        let mut parameters = json!({
            "flow_message_version": FLOW_MESSAGE_VERSION,
            "flow_cta": self.cta,
            "flow_action": if self.data_exchange { "data_exchange" } else { "navigate" },
        });
        match &self.flow {
            Some(FlowRef::Id(id)) => parameters["flow_id"] = json!(id),
            Some(FlowRef::Name(name)) => parameters["flow_name"] = json!(name),
            None => {}
        }
        put_texts(&mut parameters, &[("flow_token", &self.token)]);
        if self.draft {
            parameters["mode"] = json!("draft");
        }
        if !self.screen.is_empty() {
            let mut payload = json!({ "screen": self.screen });
            if let Some(data) = object(&self.data_json) {
                payload["data"] = Value::Object(data);
            }
            parameters["flow_action_payload"] = payload;
        }
        parameters
    }
}

/// What a screen is given: an object that holds something (Meta: sending a flow).
pub(super) fn check_data(json: &str, check: &mut Check<'_>) {
    let data = check.object("data_json", json);
    if data.is_some_and(|data| data.is_empty()) {
        check.problem("data_json", "must hold something, or be left out");
    }
}

impl Address {
    fn check(&self, check: &mut Check<'_>) {
        let country = &self.country;
        if country.len() != 2 || !country.bytes().all(|byte| byte.is_ascii_uppercase()) {
            check.problem("country", "must be two letters, such as IN");
        }
        for (list, fields) in [
            ("values", &self.values),
            ("validation_errors", &self.validation_errors),
        ] {
            check_fields(list, fields, check);
        }
        for (index, saved) in self.saved_addresses.iter().enumerate() {
            let mut check = check.item("saved_addresses", index);
            check.filled("id", &saved.id);
            check_fields("values", &saved.values, &mut check);
        }
    }

    fn json(&self) -> Value {
        let mut object = json!({ "country": self.country });
        for (key, fields) in [
            ("values", &self.values),
            ("validation_errors", &self.validation_errors),
        ] {
            if !fields.is_empty() {
                object[key] = fields_json(fields);
            }
        }
        if !self.saved_addresses.is_empty() {
            let saved = self.saved_addresses.iter();
            object["saved_addresses"] = saved
                .map(|saved| json!({ "id": saved.id, "value": fields_json(&saved.values) }))
                .collect();
        }
        object
    }
}

fn check_fields(list: &str, fields: &[(String, String)], check: &mut Check<'_>) {
    for (index, (key, _)) in fields.iter().enumerate() {
        check.item(list, index).filled("key", key);
    }
    let keys = fields.iter().enumerate();
    let keys = keys.map(|(index, (key, _))| (format!("{list}[{index}]"), key));
    check_unique(keys, "key", check);
}

fn fields_json(fields: &[(String, String)]) -> Value {
    let fields = fields.iter();
    let fields: Map<String, Value> = fields
        .map(|(key, value)| (key.clone(), json!(value)))
        .collect();
    Value::Object(fields)
}

impl CallButton {
    fn json(&self) -> Value {
        let mut object = json!({});
        let texts = [
            ("display_text", &self.display_text),
            ("payload", &self.payload),
        ];
        put_texts(&mut object, &texts);
        if self.ttl_minutes > 0 {
            object["ttl_minutes"] = json!(self.ttl_minutes);
        }
        object
    }
}
