//! The Graph API's management side: tokens, numbers, accounts, subscriptions and templates.
//!
//! Who may ask, what is shown, in which pages. What there is to show is in the books.

use axum::Router;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, Uri};
use axum::response::Response;
use axum::routing::get;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use jiff::Timestamp;
use secrecy::ExposeSecret as _;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::assets::{MANAGEMENT, MESSAGING, TokenConfig};
use crate::books::Books;
use crate::codes::Refusal;
use crate::config::NumberConfig;
use crate::graph::bearer;
use crate::handle::Handle;
use crate::media;
use crate::outbox::{self, Parcel};
use crate::payload::Change;
use crate::platform::{account_node, business_node, number_node, upsets};
use crate::records::Channel;
use crate::{serving, shared, templates};

/// Items of a page, unless asked otherwise (Meta: paginated results).
const PAGE_ITEMS: usize = 25;
/// Items of a page at most.
const PAGE_ITEMS_MAX: usize = 100;
/// What a number shows if no fields are asked for.
const NUMBER_FIELDS: &str = "id,display_phone_number,verified_name,quality_rating,status,\
                             code_verification_status,platform_type,throughput";

/// What a template shows if no fields are asked for.
const TEMPLATE_FIELDS: &str = "id,name,parameter_format,components,language,status,category";

/// Returns the management routes.
pub(crate) fn routes() -> Router<Handle> {
    Router::new()
        .route("/{version}/debug_token", get(debug_token))
        .route("/{version}/app", get(get_app))
        .route("/{version}/{id}", get(get_node))
        .route(
            "/{version}/{id}/message_templates",
            get(get_templates)
                .post(create_template)
                .delete(delete_template),
        )
        .route("/{version}/{id}/phone_numbers", get(get_numbers))
        .route(
            "/{version}/{id}/subscribed_apps",
            get(get_subscriptions).post(subscribe).delete(unsubscribe),
        )
}

/// What any of these calls may ask for.
#[derive(Default, Deserialize)]
struct Asked {
    #[serde(default)]
    access_token: Option<String>,
    #[serde(default)]
    input_token: String,
    #[serde(default)]
    fields: Option<String>,
    #[serde(default)]
    limit: Option<usize>,
    #[serde(default)]
    after: Option<String>,
    #[serde(default)]
    phone_number_id: Option<String>,
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    hsm_id: Option<String>,
}

/// A call, with its token wherever it stood.
struct Call {
    asked: Asked,
    token: Option<String>,
    path: String,
    now: Timestamp,
}

impl Call {
    fn new(handle: &Handle, asked: Asked, uri: &Uri, headers: &HeaderMap) -> Self {
        Self {
            token: bearer(headers).or_else(|| asked.access_token.clone()),
            asked,
            path: uri.path().to_owned(),
            now: handle.shared().now(),
        }
    }
}

/// Checks that a token is somebody's and valid (190), that the number exists (100/33), that the
/// token is that number's and has the scope (10, 200).
pub(crate) fn allowed(
    books: &Books,
    phone_number_id: &str,
    token: Option<&str>,
    scope: &str,
    now: Timestamp,
) -> Result<(), Refusal> {
    let token = known(books, token, scope, now)?;
    let number = books
        .number(phone_number_id)
        .ok_or_else(|| no_such_object(phone_number_id))?;
    if is_of(number, token) || books.estate.may(token, &number.waba_id) {
        Ok(())
    } else {
        Err(Refusal::new(10, "the token has no access to this number"))
    }
}

fn known<'a>(
    books: &Books,
    token: Option<&'a str>,
    scope: &str,
    now: Timestamp,
) -> Result<&'a str, Refusal> {
    let token = token.ok_or_else(|| Refusal::new(190, "an access token is required"))?;
    if !is_known(books, token) {
        // Meta quotes what it cannot read.
        let told = format!("malformed access token {token}");
        return Err(Refusal::new(190, told));
    }
    books.assets.check(token, scope, now)?;
    Ok(token)
}

fn is_known(books: &Books, token: &str) -> bool {
    books.assets.token(token).is_some()
        || books.estate.knows(token)
        || books.numbers.iter().any(|number| is_of(number, token))
}

fn is_of(number: &NumberConfig, token: &str) -> bool {
    number.token.expose_secret() == token
}

fn no_such_object(id: &str) -> Refusal {
    Refusal::new(
        100,
        format!("unsupported request: object with ID '{id}' does not exist"),
    )
    .subcode(33)
}

/// Finds the numbers of a business account the token may see.
fn account<'a>(
    books: &'a Books,
    waba_id: &str,
    call: &Call,
) -> Result<Vec<&'a NumberConfig>, Refusal> {
    allowed_account(books, waba_id, call.token.as_deref(), call.now)?;
    Ok(books.numbers_of(waba_id))
}

/// Checks that a token is good for a business account (100/33, 200).
pub(crate) fn allowed_account(
    books: &Books,
    waba_id: &str,
    token: Option<&str>,
    now: Timestamp,
) -> Result<(), Refusal> {
    let token = known(books, token, MANAGEMENT, now)?;
    if !books.has_account(waba_id) {
        return Err(no_such_object(waba_id));
    }
    if books.may_touch(token, waba_id) {
        return Ok(());
    }
    let told = "the token has no access to this business account";
    Err(Refusal::new(200, told))
}

async fn debug_token(
    State(handle): State<Handle>,
    Query(asked): Query<Asked>,
    uri: Uri,
    headers: HeaderMap,
) -> Response {
    let call = Call::new(&handle, asked, &uri, &headers);
    read(&handle, &call, |books| {
        let assets = &books.assets;
        let asking = call.token.as_deref().unwrap_or_default();
        let Some((app_id, secret)) = asking.split_once('|') else {
            return Err(Refusal::new(
                100,
                "an app's access token is needed, or a user's who owns or develops the app",
            ));
        };
        if app_id != assets.app.id {
            let told = "cannot validate the application: there is none by that id";
            return Err(Refusal::new(101, told));
        }
        if secret != assets.app_secret.expose_secret() {
            return Err(Refusal::new(190, "the access token's signature is wrong"));
        }
        let token = &call.asked.input_token;
        if !is_known(books, token) {
            return Ok(debugged(books, None, token, call.now));
        }
        let entry = assets.token(token);
        let owner = entry.and_then(|entry| entry.app_id.as_deref());
        if owner.is_some_and(|owner| owner != assets.app.id) {
            let told = "the app of the input token is not the app that asks";
            return Err(Refusal::new(100, told));
        }
        let lasting = TokenConfig::new(token.as_str());
        Ok(debugged(
            books,
            Some(entry.unwrap_or(&lasting)),
            token,
            call.now,
        ))
    })
}

/// Tells of a token, or that it is none.
fn debugged(books: &Books, entry: Option<&TokenConfig>, token: &str, now: Timestamp) -> Value {
    let invalid = match entry {
        Some(entry) => entry.invalid(now),
        None => Some(Refusal::new(190, "the access token cannot be read")),
    };
    let mut data = json!({"is_valid": invalid.is_none(), "scopes": []});
    if let Some(entry) = entry {
        let mut accounts: Vec<&str> = books
            .numbers
            .iter()
            .filter(|number| is_of(number, token))
            .map(|number| number.waba_id.as_str())
            .collect();
        accounts.extend(books.estate.granted(token));
        let granted: Vec<Value> = entry
            .scopes
            .iter()
            .map(|scope| json!({"scope": scope, "target_ids": accounts}))
            .collect();
        data["app_id"] = json!(books.assets.app.id);
        data["application"] = json!(books.assets.app.name);
        data["type"] = json!("SYSTEM_USER");
        data["scopes"] = json!(entry.scopes);
        data["granular_scopes"] = json!(granted);
        data["expires_at"] = json!(entry.expires_at.map_or(0, Timestamp::as_second));
        data["data_access_expires_at"] = json!(0);
    }
    if let Some(refusal) = invalid {
        data["error"] = json!({"code": refusal.code, "message": refusal.details});
        if let Some(subcode) = refusal.subcode {
            data["error"]["subcode"] = json!(subcode);
        }
    }
    json!({ "data": data })
}

async fn get_app(
    State(handle): State<Handle>,
    Query(asked): Query<Asked>,
    uri: Uri,
    headers: HeaderMap,
) -> Response {
    let call = Call::new(&handle, asked, &uri, &headers);
    read(&handle, &call, |books| {
        let token = call.token.as_deref().unwrap_or_default();
        let entry = books.assets.token(token);
        if let Some(refusal) = entry.and_then(|entry| entry.invalid(call.now)) {
            return Err(refusal);
        }
        if !is_known(books, token) {
            return Err(Refusal::new(190, format!("malformed access token {token}")));
        }
        let ours = &books.assets.app;
        Ok(match entry.and_then(|entry| entry.app_id.as_deref()) {
            Some(other) if other != ours.id => json!({"id": other, "name": "Another app"}),
            _ => json!({"id": ours.id, "name": ours.name}),
        })
    })
}

async fn get_node(
    State(handle): State<Handle>,
    Path((_, id)): Path<(String, String)>,
    Query(asked): Query<Asked>,
    uri: Uri,
    headers: HeaderMap,
) -> Response {
    let number = asked.phone_number_id.as_deref();
    if let Some(answer) = media::node(&handle, &id, number, &headers) {
        let path = uri.path().to_owned();
        return serving::respond(handle.shared(), Channel::Whatsapp, "GET", path, answer);
    }
    let call = Call::new(&handle, asked, &uri, &headers);
    read(&handle, &call, |books| {
        let fields = call.asked.fields.as_deref();
        let token = call.token.as_deref();
        let Some(number) = books.live_number(&id) else {
            if let Some(node) = business_node(books, &id, token.unwrap_or_default()) {
                known(books, token, MANAGEMENT, call.now)?;
                return shown(node, fields.unwrap_or("id,name"));
            }
            account(books, &id, &call)?;
            let node = account_node(books, &id, call.now);
            return shown(node, fields.unwrap_or("id,name"));
        };
        allowed(books, &id, token, MANAGEMENT, call.now)?;
        let node = number_node(books, number, call.now);
        shown(node, fields.unwrap_or(NUMBER_FIELDS))
    })
}

async fn get_numbers(
    State(handle): State<Handle>,
    Path((_, waba_id)): Path<(String, String)>,
    Query(asked): Query<Asked>,
    uri: Uri,
    headers: HeaderMap,
) -> Response {
    let call = Call::new(&handle, asked, &uri, &headers);
    read(&handle, &call, |books| {
        let numbers = account(books, &waba_id, &call)?;
        let fields = call.asked.fields.as_deref().unwrap_or(NUMBER_FIELDS);
        let nodes: Result<Vec<_>, _> = numbers
            .into_iter()
            .map(|number| shown(number_node(books, number, call.now), fields))
            .collect();
        page(nodes?, &call)
    })
}

async fn get_templates(
    State(handle): State<Handle>,
    Path((_, waba_id)): Path<(String, String)>,
    Query(asked): Query<Asked>,
    uri: Uri,
    headers: HeaderMap,
) -> Response {
    let call = Call::new(&handle, asked, &uri, &headers);
    change(&handle, "GET", &call, |books| {
        account(books, &waba_id, &call)?;
        let fields = call.asked.fields.as_deref().unwrap_or(TEMPLATE_FIELDS);
        let nodes = books.template_nodes(&waba_id, call.asked.name.as_deref());
        let nodes: Result<Vec<_>, _> = nodes.into_iter().map(|it| shown(it, fields)).collect();
        page(nodes?, &call)
    })
}

async fn create_template(
    State(handle): State<Handle>,
    Path((_, waba_id)): Path<(String, String)>,
    Query(asked): Query<Asked>,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let call = Call::new(&handle, asked, &uri, &headers);
    let given: Map<String, Value> = serde_json::from_slice(&body).unwrap_or_default();
    upsets::serve(&handle, "POST", &call.path, |state| {
        account(&state.books, &waba_id, &call)?;
        let (answer, changes) = templates::create(&mut state.books, &waba_id, &given, call.now)?;
        tell(&handle, state, changes)?;
        Ok(answer)
    })
}

async fn delete_template(
    State(handle): State<Handle>,
    Path((_, waba_id)): Path<(String, String)>,
    Query(asked): Query<Asked>,
    uri: Uri,
    headers: HeaderMap,
) -> Response {
    let call = Call::new(&handle, asked, &uri, &headers);
    upsets::serve(&handle, "DELETE", &call.path, |state| {
        account(&state.books, &waba_id, &call)?;
        let name = call.asked.name.as_deref().unwrap_or_default();
        let id = call.asked.hsm_id.as_deref();
        let (answer, changes) = templates::delete(&mut state.books, &waba_id, name, id, call.now)?;
        tell(&handle, state, changes)?;
        Ok(answer)
    })
}

/// Sends the webhooks about templates, in their order.
fn tell(handle: &Handle, state: &mut shared::State, changes: Vec<Change>) -> Result<(), Refusal> {
    for change in changes {
        let lane = format!("templates/{}", change.waba_id);
        let parcel = Parcel::Change { change, lane };
        outbox::publish(handle.shared(), state, parcel, false)
            .map_err(|error| Refusal::new(2, error.to_string()))?;
    }
    Ok(())
}

async fn get_subscriptions(
    State(handle): State<Handle>,
    Path((_, waba_id)): Path<(String, String)>,
    Query(asked): Query<Asked>,
    uri: Uri,
    headers: HeaderMap,
) -> Response {
    let call = Call::new(&handle, asked, &uri, &headers);
    read(&handle, &call, |books| {
        account(books, &waba_id, &call)?;
        let app = &books.assets.app;
        let subscribed = books.assets.is_subscribed(&waba_id).then(|| {
            json!({"whatsapp_business_api_data": {
                "id": app.id,
                "name": app.name,
                "link": format!("https://www.facebook.com/games/?app_id={}", app.id),
            }})
        });
        Ok(json!({"data": subscribed.into_iter().collect::<Vec<_>>()}))
    })
}

async fn subscribe(
    State(handle): State<Handle>,
    Path((_, waba_id)): Path<(String, String)>,
    Query(asked): Query<Asked>,
    uri: Uri,
    headers: HeaderMap,
) -> Response {
    let call = Call::new(&handle, asked, &uri, &headers);
    change(&handle, "POST", &call, |books| {
        account(books, &waba_id, &call)?;
        // A token's app subscribes itself; another's webhooks are not ours to show.
        let entry = call
            .token
            .as_deref()
            .and_then(|token| books.assets.token(token));
        let app_id = entry.and_then(|entry| entry.app_id.clone());
        if app_id.is_none_or(|app_id| app_id == books.assets.app.id) {
            books.assets.subscribe(&waba_id);
        }
        Ok(json!({"success": true}))
    })
}

async fn unsubscribe(
    State(handle): State<Handle>,
    Path((_, waba_id)): Path<(String, String)>,
    Query(asked): Query<Asked>,
    uri: Uri,
    headers: HeaderMap,
) -> Response {
    let call = Call::new(&handle, asked, &uri, &headers);
    change(&handle, "DELETE", &call, |books| {
        account(books, &waba_id, &call)?;
        books.assets.unsubscribe(&waba_id);
        Ok(json!({"success": true}))
    })
}

/// Returns a node's id and the fields asked for; one it does not have is an error (100). What is
/// null is left out, as Meta does.
fn shown(node: Value, fields: &str) -> Result<Value, Refusal> {
    let Value::Object(mut node) = node else {
        return Ok(node);
    };
    let mut shown = Map::new();
    for field in std::iter::once("id").chain(fields.split(',').map(str::trim)) {
        match node.remove(field) {
            Some(Value::Null) => {}
            Some(value) => {
                shown.insert(field.to_owned(), value);
            }
            None if shown.contains_key(field) => {}
            None => {
                let told = format!("tried accessing nonexisting field ({field})");
                return Err(Refusal::new(100, told));
            }
        }
    }
    Ok(Value::Object(shown))
}

/// Returns the page that was asked for. Cursors are opaque; there is a `next` while there is more.
fn page(items: Vec<Value>, call: &Call) -> Result<Value, Refusal> {
    let limit = call.asked.limit.unwrap_or(PAGE_ITEMS);
    if !(1..=PAGE_ITEMS_MAX).contains(&limit) {
        return Err(Refusal::new(100, "limit is out of range"));
    }
    let start = match call.asked.after.as_deref() {
        None => 0,
        Some(after) => place(after).ok_or_else(|| Refusal::new(100, "after is no cursor"))?,
    };
    let count = items.len();
    let data: Vec<Value> = items.into_iter().skip(start).take(limit).collect();
    if data.is_empty() {
        return Ok(json!({"data": data}));
    }
    let end = start + data.len();
    let mut paging = json!({"cursors": {"before": cursor(start), "after": cursor(end)}});
    if end < count {
        let next = format!("{}?limit={limit}&after={}", call.path, cursor(end));
        paging["next"] = json!(next);
    }
    Ok(json!({"data": data, "paging": paging}))
}

fn cursor(place: usize) -> String {
    URL_SAFE_NO_PAD.encode(format!("place {place}"))
}

fn place(cursor: &str) -> Option<usize> {
    let text = String::from_utf8(URL_SAFE_NO_PAD.decode(cursor).ok()?).ok()?;
    text.strip_prefix("place ")?.parse().ok()
}

fn read(
    handle: &Handle,
    call: &Call,
    look: impl FnOnce(&Books) -> Result<Value, Refusal>,
) -> Response {
    upsets::serve(handle, "GET", &call.path, |state| look(&state.books))
}

fn change(
    handle: &Handle,
    method: &str,
    call: &Call,
    write: impl FnOnce(&mut Books) -> Result<Value, Refusal>,
) -> Response {
    upsets::serve(handle, method, &call.path, |state| write(&mut state.books))
}

/// Checks what sending asks for beyond the message itself.
pub(crate) fn may_send(
    books: &Books,
    phone_number_id: &str,
    token: Option<&str>,
    now: Timestamp,
) -> Result<(), Refusal> {
    allowed(books, phone_number_id, token, MESSAGING, now)
}
