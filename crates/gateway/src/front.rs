//! What happens to a request: who calls, may they, how much, and on to the service.
//!
//! Both protocols go the same way; they differ in how they are read and how they are refused.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use bytes::Bytes;
use casement_shell::auth::{Caller, Tokens, UNAUTHENTICATED_TOKEN, authorize};
use casement_shell::grpc::{RESPONSE_BYTES_MAX, refuse};
use casement_shell::server::Peer;
use futures::StreamExt as _;
use http::header::{AUTHORIZATION, CACHE_CONTROL, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, HOST};
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{Extensions, HeaderMap, HeaderValue, Method, Request, Response, Version};
use prost_reflect::{DescriptorPool, MethodDescriptor};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tonic::metadata::MetadataMap;
use tonic::{Code, Status};
use tower::service_fn;
use tracing::Instrument as _;

use crate::body::{Flight, Limited, Read, Watched, too_large};
use crate::codec::DynamicCodec;
use crate::file::File;
use crate::limits::{Limits, Permit};
use crate::problem::Problem;
use crate::refusals::Refusals;
use crate::routes::{self, Found, Table};
use crate::trace;
use crate::upstream::{Target, timed_out};
use crate::{ndjson, transcode, upload};

/// Where the OpenAPI document is.
const OPENAPI: &str = "/openapi.json";

/// The one service that answers without a token, so that whoever runs the process can ask.
const HEALTH: &str = "grpc.health.v1.Health";

/// The reason of a refusal because nothing serves the method.
const METHOD_UNKNOWN: &str = "METHOD_UNKNOWN";

/// The service of a call that reached none, in metrics.
const NO_SERVICE: &str = "none";

/// The five bytes before each message of gRPC.
const FRAME_HEADER_BYTES: usize = 5;

/// Headers of an HTTP+JSON call that its service gets, too.
const PASSED_ON: [&str; 3] = ["authorization", "traceparent", "tracestate"];

/// All that a request meets.
pub(crate) struct Front {
    /// By full name of the service; the gateway's own among them.
    pub(crate) targets: BTreeMap<&'static str, Target>,
    pub(crate) table: Table,
    pub(crate) pool: DescriptorPool,
    pub(crate) tokens: Tokens,
    pub(crate) refusals: Arc<Refusals>,
    pub(crate) limits: Limits,
    pub(crate) request_bytes: usize,
    pub(crate) call_timeout: Duration,
    pub(crate) openapi: Bytes,
    pub(crate) stopping: CancellationToken,
}

/// Who was let in, and the place they take.
struct Admitted {
    caller: Option<Caller>,
    permit: Option<Permit>,
}

/// A call that was found under a path.
struct Located {
    method: MethodDescriptor,
    service: &'static str,
    rule: routes::Body,
    answer: routes::Answer,
    variables: Vec<(&'static str, String)>,
}

/// Answers any request.
pub(crate) async fn answer(
    State(front): State<Arc<Front>>,
    request: Request<Body>,
) -> Response<Body> {
    let is_grpc = media_type(request.headers())
        .is_some_and(|kind| kind == "application/grpc" || kind.starts_with("application/grpc+"));
    let span = trace::serving(&request);
    let answering = async {
        if is_grpc {
            front.grpc(request).await
        } else {
            front.json(request).await
        }
    };
    let response = answering.instrument(span.clone()).await;
    trace::answered(&span, &response);
    response
}

impl Front {
    async fn grpc(&self, mut request: Request<Body>) -> Response<Body> {
        if request.version() != Version::HTTP_2 {
            return Problem::http_version().into_response();
        }
        let mut flight = Flight::begin("grpc", NO_SERVICE);
        let path = request.uri().path().to_owned();
        let (service, method) = path
            .strip_prefix('/')
            .and_then(|path| path.split_once('/'))
            .unwrap_or_default();
        let from = address(request.extensions());
        let admitted = match self.admit(request.headers(), from, service, method) {
            Ok(admitted) => admitted,
            Err(status) => return Watched::wrap(status.into_http(), flight, None),
        };
        flight.hold(admitted.permit);
        let Some((name, target)) = self.targets.get_key_value(service) else {
            return Watched::wrap(unknown().into_http(), flight, None);
        };
        flight.set_service(name);

        request.headers_mut().remove(HOST);
        request.extensions_mut().clear();
        if let Some(caller) = admitted.caller {
            request.extensions_mut().insert(caller);
        }
        if self.method(service, method).is_some() {
            trace::name(service, method);
        }
        // What we have no description of may stream.
        let (is_one_request, is_one_answer) = self
            .method(service, method)
            .map_or((false, false), |method| {
                (!method.is_client_streaming(), !method.is_server_streaming())
            });
        let bytes_max = if is_one_request {
            self.request_bytes.saturating_add(FRAME_HEADER_BYTES)
        } else {
            usize::MAX
        };
        if length(request.headers()).is_some_and(|length| length > bytes_max) {
            let status = too_large(self.request_bytes);
            return Watched::wrap(status.into_http(), flight, None);
        }
        let (parts, body) = request.into_parts();
        let (body, was_exceeded) = Limited::new(body, bytes_max);
        let request = Request::from_parts(parts, tonic::body::Body::new(body));
        let response = match timeout(self.call_timeout, self.refusals.pass(target, request)).await {
            Ok(_) if was_exceeded.get() => too_large(self.request_bytes).into_http(),
            Ok(response) => response,
            Err(_) => timed_out().into_http(),
        };
        let cut = (!is_one_answer).then(|| self.stopping.clone());
        Watched::wrap(response, flight, cut)
    }

    async fn json(&self, request: Request<Body>) -> Response<Body> {
        let mut flight = Flight::begin("json", NO_SERVICE);
        let (parts, body) = request.into_parts();
        let (body, is_over) = Read::new(body);
        match self.try_json(&parts, Body::new(body), &mut flight).await {
            Ok(Answer::One(body)) => {
                flight.set_code(Code::Ok);
                json_response("application/json", Body::from(body))
            }
            Ok(Answer::Many(messages)) => {
                let lines = ndjson::lines(messages, self.stopping.clone(), flight);
                json_response("application/x-ndjson", Body::from_stream(lines))
            }
            Ok(Answer::File(file)) => file.into_response(self.stopping.clone(), flight),
            Err(problem) => {
                flight.set_code(problem.code());
                let mut response = problem.into_response();
                // The rest of the request is not waited for: who has more to ask connects again.
                if parts.version < Version::HTTP_2 && !is_over.get() {
                    let close = HeaderValue::from_static("close");
                    response.headers_mut().insert(CONNECTION, close);
                }
                response
            }
        }
    }

    async fn try_json(
        &self,
        parts: &Parts,
        body: Body,
        flight: &mut Flight,
    ) -> Result<Answer, Problem> {
        let is_openapi = parts.uri.path() == OPENAPI;
        // Who may not call is not told what there is.
        let located = if is_openapi {
            Err(Problem::route_unknown())
        } else {
            self.locate(&parts.method, parts.uri.path())
        };
        let (service, method) = located
            .as_ref()
            .map_or(("", ""), |located| (located.service, located.method.name()));
        let admitted = self.admit(&parts.headers, address(&parts.extensions), service, method)?;
        flight.hold(admitted.permit);
        if is_openapi {
            if parts.method != Method::GET {
                return Err(Problem::method_not_allowed(&[routes::Verb::Get]));
            }
            return Ok(Answer::One(self.openapi.clone()));
        }
        let located = located?;
        flight.set_service(located.service);
        trace::name(located.service, located.method.name());
        let called = self.call(parts, body, located, admitted.caller);
        match timeout(self.call_timeout, called).await {
            Ok(answer) => answer,
            Err(_) => Err(timed_out().into()),
        }
    }

    async fn call(
        &self,
        parts: &Parts,
        body: Body,
        located: Located,
        caller: Option<Caller>,
    ) -> Result<Answer, Problem> {
        let method = located.method;
        let is_stream = matches!(located.rule, routes::Body::File | routes::Body::Lines(_));
        if method.is_client_streaming() && !is_stream {
            let status = refuse(
                Code::Unimplemented,
                "STREAM_NEEDS_GRPC",
                "a stream of requests is taken by gRPC, or under the path of its own",
            );
            return Err(status.into());
        }
        // A stream is not collected, and not JSON.
        let (json, stream) = if is_stream {
            (Bytes::new(), Some(body))
        } else {
            (self.body(&parts.headers, body).await?, None)
        };
        let mut request = transcode::read(
            &method.input(),
            transcode::Parts {
                rule: located.rule,
                body: &json,
                variables: &located.variables,
                query: parts.uri.query().unwrap_or_default(),
            },
        )?;
        let target = self.targets.get(located.service).ok_or_else(unknown)?;
        let mut client = tonic::client::Grpc::new(service_fn(|request| async move {
            Ok::<_, Infallible>(self.refusals.pass(target, request).await)
        }))
        .max_decoding_message_size(RESPONSE_BYTES_MAX);
        let path = format!("/{}/{}", located.service, method.name());
        let path = PathAndQuery::from_maybe_shared(Bytes::from(path))
            .expect("names of services and methods are letters, digits and dots");
        let codec = DynamicCodec {
            output: method.output(),
        };
        match (stream, located.rule) {
            (Some(lines), routes::Body::Lines(field)) => {
                let is_ndjson = media_type(&parts.headers)
                    .is_some_and(|kind| ndjson::MEDIA_TYPES.contains(&kind.as_str()));
                if !is_ndjson {
                    return Err(Problem::content_type_unsupported(ndjson::MEDIA_TYPES[0]));
                }
                let (requests, sent) =
                    ndjson::requests(method.input(), field, lines, self.request_bytes);
                let request = addressed(requests, &parts.headers, caller);
                let answers = client.streaming(request, path, codec).await?.into_inner();
                let answers = ndjson::answers(method.output(), answers.boxed(), sent);
                return Ok(Answer::Many(answers));
            }
            (Some(file), _) => {
                upload::describe(&mut request, &parts.headers)?;
                let request = addressed(upload::messages(request, file)?, &parts.headers, caller);
                let answer = client.client_streaming(request, path, codec).await?;
                return Ok(Answer::One(transcode::write(answer.get_ref())?.into()));
            }
            (None, _) => {}
        }
        let request = addressed(request, &parts.headers, caller);
        if method.is_server_streaming() {
            let answer = client.server_streaming(request, path, codec).await?;
            let messages = answer.into_inner();
            match located.answer {
                routes::Answer::Json => Ok(Answer::Many(messages.boxed())),
                routes::Answer::File => Ok(Answer::File(Box::new(File::begin(messages).await?))),
            }
        } else {
            let answer = client.unary(request, path, codec).await?;
            let json = transcode::write(answer.get_ref())?;
            Ok(Answer::One(json.into()))
        }
    }

    /// Reads a body, which is JSON or nothing.
    async fn body(&self, headers: &HeaderMap, body: Body) -> Result<Bytes, Problem> {
        if length(headers).is_some_and(|length| length > self.request_bytes) {
            return Err(too_large(self.request_bytes).into());
        }
        let (body, was_exceeded) = Limited::new(body, self.request_bytes);
        let read = axum::body::to_bytes(Body::new(body), usize::MAX).await;
        let body = read.map_err(|_| {
            if was_exceeded.get() {
                too_large(self.request_bytes)
            } else {
                Status::cancelled("the body broke off")
            }
        })?;
        let is_json = media_type(headers)
            .is_some_and(|kind| kind == "application/json" || kind.ends_with("+json"));
        if body.is_empty() || is_json {
            Ok(body)
        } else {
            Err(Problem::content_type_unsupported("application/json"))
        }
    }

    /// Finds what a path stands for: a route of the table, or a method by its name.
    fn locate(&self, verb: &Method, path: &str) -> Result<Located, Problem> {
        match self.table.find(verb, path) {
            Found::Call {
                call,
                body,
                variables,
            } => {
                let method = self.method(call.service, call.method);
                Ok(Located {
                    method: method.ok_or_else(Problem::route_unknown)?,
                    service: call.service,
                    rule: body,
                    answer: call.answer,
                    variables,
                })
            }
            Found::OtherVerbs(verbs) => Err(Problem::method_not_allowed(&verbs)),
            Found::Nothing => {
                let (service, method) = path
                    .strip_prefix('/')
                    .and_then(|path| path.split_once('/'))
                    .ok_or_else(Problem::route_unknown)?;
                let method = self
                    .method(service, method)
                    .ok_or_else(Problem::route_unknown)?;
                let (service, _) = self
                    .targets
                    .get_key_value(service)
                    .ok_or_else(Problem::route_unknown)?;
                if *verb != Method::POST {
                    return Err(Problem::method_not_allowed(&[routes::Verb::Post]));
                }
                Ok(Located {
                    method,
                    service,
                    rule: routes::Body::All,
                    answer: routes::Answer::Json,
                    variables: Vec::new(),
                })
            }
        }
    }

    /// Who calls, and whether they may call this now. Scopes of what has no row are for its
    /// service to check, as it checks those of the others again.
    fn admit(
        &self,
        headers: &HeaderMap,
        from: Option<IpAddr>,
        service: &str,
        method: &str,
    ) -> Result<Admitted, Status> {
        let token = bearer(headers);
        let caller = token.and_then(|token| self.tokens.authenticate(token));
        let Some(caller) = caller else {
            // Calls from within have no address, and a token.
            let permit = from.map(|from| self.limits.admit_stranger(from));
            let permit = permit.transpose()?;
            if service == HEALTH {
                return Ok(Admitted {
                    caller: None,
                    permit,
                });
            }
            self.tokens.refused(token);
            return Err(refuse(
                Code::Unauthenticated,
                UNAUTHENTICATED_TOKEN,
                "send a known token as `authorization: Bearer …`",
            ));
        };
        if service == HEALTH {
            return Ok(Admitted {
                caller: Some(caller),
                permit: None,
            });
        }
        if let Some(row) = routes::row(service, method) {
            let allowed = authorize(&caller, row.scope);
            allowed.inspect_err(|status| {
                let (token, method) = (headers.get(AUTHORIZATION), format!("{service}/{method}"));
                let target = self.targets.get(service);
                self.refusals
                    .denied(&caller, target, token, &method, status);
            })?;
        }
        let permit = self.limits.admit(&caller)?;
        Ok(Admitted {
            caller: Some(caller),
            permit: Some(permit),
        })
    }

    fn method(&self, service: &str, method: &str) -> Option<MethodDescriptor> {
        let service = self.pool.get_service_by_name(service)?;
        service.methods().find(|known| known.name() == method)
    }
}

/// Where a request comes from; nothing for one from within.
fn address(extensions: &Extensions) -> Option<IpAddr> {
    extensions.get::<Peer>().map(|peer| peer.address.ip())
}

/// A request as the caller's, with what goes along.
fn addressed<T>(message: T, headers: &HeaderMap, caller: Option<Caller>) -> tonic::Request<T> {
    let mut request = tonic::Request::new(message);
    *request.metadata_mut() = passed_on(headers);
    if let Some(caller) = caller {
        request.extensions_mut().insert(caller);
    }
    request
}

/// What a call by HTTP+JSON comes to.
enum Answer {
    One(Bytes),
    Many(ndjson::Messages),
    File(Box<File>),
}

fn json_response(kind: &'static str, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn passed_on(headers: &HeaderMap) -> MetadataMap {
    let passed = PASSED_ON
        .into_iter()
        .filter_map(|name| Some((name.parse().ok()?, headers.get(name)?.clone())));
    MetadataMap::from_headers(passed.collect())
}

fn unknown() -> Status {
    refuse(
        Code::Unimplemented,
        METHOD_UNKNOWN,
        "nothing here serves this method",
    )
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// Without its parameters, in lower case.
fn media_type(headers: &HeaderMap) -> Option<String> {
    let kind = headers.get(CONTENT_TYPE)?.to_str().ok()?;
    let kind = kind.split(';').next().unwrap_or(kind);
    Some(kind.trim().to_ascii_lowercase())
}

fn length(headers: &HeaderMap) -> Option<usize> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}
