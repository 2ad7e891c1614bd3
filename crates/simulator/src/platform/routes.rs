//! The Graph API's calls for signing up, numbers and migration.
//!
//! Who may call and how the answer looks; what a call does is decided beside it.

use axum::Router;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, Uri};
use axum::response::Response;
use axum::routing::{get, post};
use bytes::Bytes;
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::acts::tell;
use super::migration::Wanted;
use super::upsets;
use crate::assets::MANAGEMENT;
use crate::books::Books;
use crate::codes::Refusal;
use crate::graph::bearer;
use crate::graph_manage::{allowed, allowed_account};
use crate::handle::Handle;
use crate::payload::Change;
use crate::templates;

/// Returns the routes.
pub(crate) fn routes() -> Router<Handle> {
    Router::new()
        .route(
            "/{version}/oauth/access_token",
            get(exchange).post(exchange),
        )
        .route("/{version}/{id}", post(update_number))
        .route("/{version}/{id}/phone_numbers", post(add_number))
        .route("/{version}/{id}/request_code", post(request_code))
        .route("/{version}/{id}/verify_code", post(verify_code))
        .route("/{version}/{id}/register", post(register))
        .route("/{version}/{id}/deregister", post(deregister))
}

/// A call: parameters may stand in the query or in a JSON body.
struct Call {
    token: Option<String>,
    given: Map<String, Value>,
    path: String,
    now: Timestamp,
}

impl Call {
    fn new(
        handle: &Handle,
        query: Vec<(String, String)>,
        uri: &Uri,
        headers: &HeaderMap,
        body: &Bytes,
    ) -> Self {
        let mut given: Map<String, Value> = serde_json::from_slice(body).unwrap_or_default();
        for (key, value) in query {
            given.insert(key, json!(value));
        }
        let text = |key: &str| given.get(key).and_then(Value::as_str).map(str::to_owned);
        Self {
            token: bearer(headers).or_else(|| text("access_token")),
            path: uri.path().to_owned(),
            now: handle.shared().now(),
            given,
        }
    }

    fn text(&self, key: &str) -> Option<String> {
        match self.given.get(key)? {
            Value::String(text) => Some(text.clone()),
            Value::Number(number) => Some(number.to_string()),
            _ => None,
        }
    }

    fn required(&self, key: &str) -> Result<String, Refusal> {
        let told = || Refusal::new(100, format!("the parameter {key} is required"));
        self.text(key).ok_or_else(told)
    }

    fn flag(&self, key: &str) -> bool {
        match self.given.get(key) {
            Some(Value::Bool(flag)) => *flag,
            Some(Value::String(text)) => text == "true",
            _ => false,
        }
    }

    fn number(&self, books: &Books, id: &str) -> Result<(), Refusal> {
        allowed(books, id, self.token.as_deref(), MANAGEMENT, self.now)
    }
}

type Parameters = Query<Vec<(String, String)>>;

async fn exchange(
    State(handle): State<Handle>,
    Query(query): Parameters,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let call = Call::new(&handle, query, &uri, &headers, &body);
    serve(&handle, &call, |books| {
        let app_id = call.required("client_id")?;
        let secret = call.required("client_secret")?;
        let code = call.required("code")?;
        let answer = books.exchange(&app_id, &secret, &code, call.now)?;
        Ok((answer, Vec::new()))
    })
}

async fn update_number(
    State(handle): State<Handle>,
    Path((_, id)): Path<(String, String)>,
    Query(query): Parameters,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let call = Call::new(&handle, query, &uri, &headers, &body);
    serve(&handle, &call, |books| {
        if let Some(template) = books.catalog.by_id(&id) {
            allowed_account(books, &template.0, call.token.as_deref(), call.now)?;
            return templates::edit(books, &template, &call.given, call.now);
        }
        call.number(books, &id)?;
        if let Some(pin) = call.text("pin") {
            return books.set_pin(&id, &pin).map(done);
        }
        if let Some(name) = call.text("new_display_name") {
            books.request_name(&id, &name)?;
            return Ok(done(Vec::new()));
        }
        Err(Refusal::new(100, "there is nothing to change"))
    })
}

async fn add_number(
    State(handle): State<Handle>,
    Path((_, waba_id)): Path<(String, String)>,
    Query(query): Parameters,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let call = Call::new(&handle, query, &uri, &headers, &body);
    serve(&handle, &call, |books| {
        allowed_account(books, &waba_id, call.token.as_deref(), call.now)?;
        let (country_code, phone) = (call.required("cc")?, call.required("phone_number")?);
        let name = call.text("verified_name");
        let wanted = Wanted {
            country_code: &country_code,
            phone: &phone,
            verified_name: name.as_deref(),
            migrate: call.flag("migrate_phone_number"),
        };
        let id = books.add_number(&waba_id, &wanted, call.now)?;
        // Who may touch the account may touch its new number.
        if let Some(token) = call.token.as_deref() {
            books.estate.grant(token, &waba_id);
        }
        Ok((json!({"id": id}), Vec::new()))
    })
}

async fn request_code(
    State(handle): State<Handle>,
    Path((_, id)): Path<(String, String)>,
    Query(query): Parameters,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let call = Call::new(&handle, query, &uri, &headers, &body);
    serve(&handle, &call, |books| {
        call.number(books, &id)?;
        let (method, language) = (call.required("code_method")?, call.required("language")?);
        books.request_code(&id, &method, &language, call.now)?;
        Ok(done(Vec::new()))
    })
}

async fn verify_code(
    State(handle): State<Handle>,
    Path((_, id)): Path<(String, String)>,
    Query(query): Parameters,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let call = Call::new(&handle, query, &uri, &headers, &body);
    serve(&handle, &call, |books| {
        call.number(books, &id)?;
        books.verify_code(&id, &call.required("code")?, call.now)?;
        Ok(done(Vec::new()))
    })
}

async fn register(
    State(handle): State<Handle>,
    Path((_, id)): Path<(String, String)>,
    Query(query): Parameters,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let call = Call::new(&handle, query, &uri, &headers, &body);
    serve(&handle, &call, |books| {
        call.number(books, &id)?;
        if call.text("messaging_product").as_deref() != Some("whatsapp") {
            return Err(Refusal::new(100, "messaging_product must be whatsapp"));
        }
        books
            .register(&id, &call.required("pin")?, call.now)
            .map(done)
    })
}

async fn deregister(
    State(handle): State<Handle>,
    Path((_, id)): Path<(String, String)>,
    Query(query): Parameters,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let call = Call::new(&handle, query, &uri, &headers, &body);
    serve(&handle, &call, |books| {
        call.number(books, &id)?;
        books.deregister(&id, call.now)?;
        Ok(done(Vec::new()))
    })
}

fn done(changes: Vec<Change>) -> (Value, Vec<Change>) {
    (json!({"success": true}), changes)
}

/// Does what a call asks, tells of it, and answers.
fn serve(
    handle: &Handle,
    call: &Call,
    act: impl FnOnce(&mut Books) -> Result<(Value, Vec<Change>), Refusal>,
) -> Response {
    upsets::serve(handle, "POST", &call.path, |state| {
        let (body, changes) = act(&mut state.books)?;
        let told = tell(handle.shared(), state, changes);
        told.map_err(|error| Refusal::new(2, error.to_string()))?;
        Ok(body)
    })
}
