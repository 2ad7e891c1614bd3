//! What is held about a customer: taking it along, and erasing it.
//!
//! Erasing is done in two steps: first what would go is shown, then who it is about is typed in
//! once more.

use askama::Template;
use axum::Router;
use axum::extract::Query;
use axum::response::Response;
use axum::routing::{get, post};
use casement_proto::audit::v1::{
    EraseCustomerRequest, Erasure, ListErasuresRequest, ListErasuresResponse,
    erase_customer_request::Customer,
};
use casement_proto::events::v1::ErasureState;
use casement_shell::auth::Scope;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tonic::Code;

use super::super::Shared;
use super::super::page::{Failure, Frame, Notice, Trouble, show};
use super::super::post::{Fields, Posted};
use super::super::seal::drawn;
use super::super::session::Session;
use super::super::view::{Chip, When, count, word};
use super::{PATH, Tab, Tabs, download};

/// Erasures on one page.
const PAGE_SIZE: i32 = 20;

/// How long an erasure may take before the page is shown without its end, in seconds.
const ERASE_WAIT_SECONDS: i64 = 20;

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
struct Asked {
    page: String,
}

#[derive(Template)]
#[template(path = "console/record_customers.html")]
struct CustomersPage {
    frame: Frame,
    tabs: Tabs,
    erasures: Vec<Row>,
    next: String,
    trouble: Option<Trouble>,
    may_erase: bool,
}

/// One erasure.
struct Row {
    when: Option<When>,
    state: Chip,
    customers: String,
    numbers: String,
    gone: String,
    last_copy: Option<When>,
    caller: String,
    reason: String,
}

/// What is asked to be erased.
struct Order {
    number: String,
    customer: String,
    reason: String,
    /// The same one again asks for the same erasure.
    request_id: String,
}

#[derive(Template)]
#[template(path = "console/record_erase.html")]
struct ErasePage {
    frame: Frame,
    order: Order,
    facts: Vec<(&'static str, String)>,
    problem: String,
}

pub(super) fn routes() -> Router<Shared> {
    Router::new()
        .route("/record/customers", get(list))
        .route("/record/customers/export", post(export))
        .route("/record/customers/plan", post(plan))
        .route("/record/customers/erase", post(erase))
}

async fn list(session: Session, Query(asked): Query<Asked>) -> Result<Response, Failure> {
    let request = ListErasuresRequest {
        page_size: PAGE_SIZE,
        page_token: asked.page,
        ..ListErasuresRequest::default()
    };
    let may_erase = session.may(Scope::Erase);
    let (listed, trouble) = match session.api().audit().list_erasures(request).await {
        Err(_) if !may_erase => (ListErasuresResponse::default(), None),
        Ok(answer) => (answer.into_inner(), None),
        Err(status) if status.code() == Code::Unauthenticated => return Err(status.into()),
        Err(status) => (ListErasuresResponse::default(), Some(status.into())),
    };
    let now = session.now();
    let next = Asked {
        page: listed.next_page_token.clone(),
    };
    Ok(show(&CustomersPage {
        frame: session.frame(PATH),
        tabs: Tabs {
            current: Tab::Customers,
        },
        erasures: listed
            .erasures
            .iter()
            .map(|erasure| Row::new(erasure, now))
            .collect(),
        next: if next.page.is_empty() {
            String::new()
        } else {
            serde_urlencoded::to_string(next).unwrap_or_default()
        },
        trouble,
        may_erase,
    }))
}

impl Row {
    fn new(erasure: &Erasure, now: Timestamp) -> Self {
        let state = erasure.state();
        let tone = match state {
            ErasureState::Done => "ok",
            ErasureState::DoneButRaw => "quiet",
            _ => "warn",
        };
        let text = match state {
            ErasureState::DoneButRaw => "gone but for raw posts".to_owned(),
            state => word(state.as_str_name(), "ERASURE_STATE"),
        };
        let gone = [
            (erasure.conversation_count, "conversations"),
            (erasure.message_count, "messages"),
            (erasure.media_count, "files"),
        ];
        let gone: Vec<String> = gone
            .into_iter()
            .filter(|(of, _)| *of > 0)
            .map(|(of, what)| format!("{} {what}", count(of)))
            .collect();
        Self {
            when: When::of(erasure.erase_time.as_ref(), now),
            state: Chip::new(tone, text),
            customers: erasure.customer_ids.join(", "),
            numbers: erasure.numbers.join(", "),
            gone: gone.join(", "),
            last_copy: When::of(erasure.last_copy_time.as_ref(), now),
            caller: erasure.caller.clone(),
            reason: erasure.reason.clone(),
        }
    }
}

/// The kinds of names that a customer has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Named {
    Phone,
    UserId,
    Id,
}

/// Phones begin with a plus, and user ids have a dot behind their country.
fn named(customer: &str) -> Named {
    if customer.starts_with('+') {
        Named::Phone
    } else if customer.contains('.') {
        Named::UserId
    } else {
        Named::Id
    }
}

async fn export(posted: Posted) -> Result<Response, Failure> {
    let fields = &posted.fields;
    let customer = fields.get("customer");
    let field = match named(customer) {
        Named::Phone => "to",
        Named::UserId => "recipient",
        Named::Id => "customerId",
    };
    let mut request: Value = json!({
        "number": fields.get("number"),
        "reason": fields.get("reason"),
    });
    request[field] = customer.into();
    let day = posted.session.now().strftime("%F").to_string();
    download(
        &posted.session,
        "casement.audit.v1.AuditService/ExportCustomer",
        &request,
        &format!("casement-customer-{day}.ndjson"),
    )
    .await
}

impl Order {
    fn of(fields: &Fields) -> Self {
        Self {
            number: fields.get("number").to_owned(),
            customer: fields.get("customer").to_owned(),
            reason: fields.get("reason").to_owned(),
            request_id: match fields.get("request") {
                "" => drawn(),
                request => request.to_owned(),
            },
        }
    }

    fn request(&self) -> EraseCustomerRequest {
        let customer = self.customer.clone();
        EraseCustomerRequest {
            number: self.number.clone(),
            customer: Some(match named(&customer) {
                Named::Phone => Customer::To(customer),
                Named::UserId => Customer::Recipient(customer),
                Named::Id => Customer::CustomerId(customer),
            }),
            request_id: self.request_id.clone(),
            reason: self.reason.clone(),
            ..EraseCustomerRequest::default()
        }
    }
}

/// Shows what would go.
async fn plan(posted: Posted) -> Result<Response, Failure> {
    let order = Order::of(&posted.fields);
    Ok(show(&ErasePage::load(&posted.session, order, "").await?))
}

impl ErasePage {
    async fn load(session: &Session, order: Order, problem: &str) -> Result<Self, Failure> {
        let request = EraseCustomerRequest {
            validate_only: true,
            ..order.request()
        };
        let answer = session.api().audit().erase_customer(request).await?;
        let found = answer.into_inner().erasure.unwrap_or_default();
        let now = session.now();
        let last_copy = When::of(found.last_copy_time.as_ref(), now);
        let facts = [
            ("Numbers", found.numbers.join(", ")),
            ("Names that are forgotten", count(found.identifier_count)),
            ("Conversations", count(found.conversation_count)),
            ("Messages", count(found.message_count)),
            ("Files", count(found.media_count)),
            (
                "Messages that are not over, and are ended",
                count(found.open_message_count),
            ),
            (
                "Last copy in raw posts gone",
                last_copy.map_or_else(String::new, |when| when.exact()),
            ),
        ];
        Ok(Self {
            frame: session.frame(PATH),
            order,
            facts: facts
                .into_iter()
                .filter(|(_, text)| !text.is_empty())
                .collect(),
            problem: problem.to_owned(),
        })
    }
}

/// Erases, if who it is about was typed in once more.
async fn erase(posted: Posted) -> Result<Response, Failure> {
    let session = &posted.session;
    let order = Order::of(&posted.fields);
    if order.customer.is_empty() || posted.fields.get("again") != order.customer {
        let problem = "Nothing was erased: what was typed in is not who this is about.";
        let page = ErasePage::load(session, order, problem).await?;
        let mut response = show(&page);
        *response.status_mut() = http::StatusCode::UNPROCESSABLE_ENTITY;
        return Ok(response);
    }
    let request = EraseCustomerRequest {
        wait: Some(prost_types::Duration {
            seconds: ERASE_WAIT_SECONDS,
            nanos: 0,
        }),
        ..order.request()
    };
    let answer = session.api().audit().erase_customer(request).await?;
    let erasure = answer.into_inner().erasure.unwrap_or_default();
    let is_gone = matches!(
        erasure.state(),
        ErasureState::Done | ErasureState::DoneButRaw
    );
    let told = if is_gone {
        "The customer is erased. Posts as they were received leave by their age; the list says when."
    } else {
        "The erasure has begun and goes on by itself; the list says how far it is."
    };
    Ok(session.go(Tab::Customers.path(), Notice::good(told)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_customer_is_named_by_phone_user_id_or_id() {
        assert_eq!(named("+15550002222"), Named::Phone);
        assert_eq!(named("US.13491208655302741918"), Named::UserId);
        assert_eq!(named("c0123456789abcdef"), Named::Id);
    }
}
