//! The table of calls: which scope each needs, and under which paths it is offered as HTTP+JSON.
//!
//! Paths follow the transcoding rules of `google.api.http`: variables name fields of the request,
//! a `:verb` ends a custom method, and what neither path nor body names comes from the query. The
//! table stands here and not in the `.proto` files, so that services need to know nothing of it.
//! Every call is offered as `POST /package.Service/Method`, too.

use std::fmt;

use casement_shell::auth::Scope;
use http::Method;

mod accounts;
mod find;
mod stands;
mod traffic;

pub(crate) use find::{Found, Table, variables_of};

/// One call of the API.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) service: &'static str,
    pub(crate) method: &'static str,
    pub(crate) scope: Scope,
    pub(crate) answer: Answer,
    /// The first is the one to recommend.
    pub(crate) bindings: &'static [Binding],
}

/// What the HTTP answer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    /// JSON: one object, or a line for each of a stream.
    Json,
    /// The bytes of the file that a stream carries: in `media` of the first message what is known
    /// of it, in `chunk` of the others its bytes.
    File,
}

/// One way to make a call by HTTP.
#[derive(Debug)]
pub(crate) struct Binding {
    pub(crate) verb: Verb,
    /// As in `/v1/messages/{message_id}:cancel`.
    pub(crate) template: &'static str,
    pub(crate) body: Body,
}

/// The HTTP methods in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verb {
    Get,
    Post,
    Put,
    Patch,
}

/// What the HTTP body is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Body {
    /// Nothing; fields come from path and query.
    None,
    /// The request, but for what the path says.
    All,
    /// One field of the request.
    Field(&'static str),
    /// Lines of JSON, each of them one field of a request of a stream.
    Lines(&'static str),
    /// A file: in `file` of the first message of a stream what path, query and headers say of it,
    /// in `chunk` of the others its bytes.
    File,
}

impl Verb {
    pub(crate) fn method(self) -> Method {
        match self {
            Self::Get => Method::GET,
            Self::Post => Method::POST,
            Self::Put => Method::PUT,
            Self::Patch => Method::PATCH,
        }
    }
}

impl fmt::Display for Verb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Get => "GET",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Patch => "PATCH",
        })
    }
}

const fn get(template: &'static str) -> Binding {
    Binding {
        verb: Verb::Get,
        template,
        body: Body::None,
    }
}

const fn post(template: &'static str) -> Binding {
    Binding {
        verb: Verb::Post,
        template,
        body: Body::All,
    }
}

const fn lines(template: &'static str, field: &'static str) -> Binding {
    Binding {
        verb: Verb::Post,
        template,
        body: Body::Lines(field),
    }
}

const fn upload(template: &'static str) -> Binding {
    Binding {
        verb: Verb::Post,
        template,
        body: Body::File,
    }
}

const fn put(template: &'static str, field: &'static str) -> Binding {
    Binding {
        verb: Verb::Put,
        template,
        body: Body::Field(field),
    }
}

const fn call(
    service: &'static str,
    method: &'static str,
    scope: Scope,
    bindings: &'static [Binding],
) -> Call {
    Call {
        service,
        method,
        scope,
        answer: Answer::Json,
        bindings,
    }
}

/// A call whose answer is a file.
const fn file(mut call: Call) -> Call {
    call.answer = Answer::File;
    call
}

/// Returns every call.
pub(crate) fn calls() -> impl Iterator<Item = &'static Call> {
    traffic::CALLS
        .iter()
        .chain(accounts::CALLS)
        .chain(stands::CALLS)
}

/// Returns the row of a call, if it has one.
pub(crate) fn row(service: &str, method: &str) -> Option<&'static Call> {
    calls().find(|call| call.service == service && call.method == method)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use prost_reflect::{DescriptorPool, Kind, MessageDescriptor};

    use super::*;

    fn names(pool: &DescriptorPool) -> BTreeSet<(String, String)> {
        pool.services()
            .flat_map(|service| {
                let methods: Vec<_> = service
                    .methods()
                    .map(|method| (service.full_name().to_owned(), method.name().to_owned()))
                    .collect();
                methods
            })
            .collect()
    }

    fn resolves_to_text(message: &MessageDescriptor, path: &str) -> bool {
        let (first, rest) = path
            .split_once('.')
            .map_or((path, None), |(a, b)| (a, Some(b)));
        let Some(field) = message.get_field_by_name(first) else {
            return false;
        };
        match (field.kind(), rest) {
            (Kind::Message(inner), Some(rest)) => resolves_to_text(&inner, rest),
            (Kind::String, None) => !field.is_list(),
            _ => false,
        }
    }

    #[test]
    fn every_call_has_a_route_and_every_route_a_call() {
        let pool = DescriptorPool::decode(casement_proto::DESCRIPTORS).unwrap();
        let routed: BTreeSet<_> = calls()
            .map(|call| (call.service.to_owned(), call.method.to_owned()))
            .collect();
        assert_eq!(routed, names(&pool));
        assert_eq!(routed.len(), calls().count(), "a call has two rows");
        assert!(calls().all(|call| !call.bindings.is_empty()));
    }

    #[test]
    fn templates_name_fields_of_their_request() {
        let pool = DescriptorPool::decode(casement_proto::DESCRIPTORS).unwrap();
        for call in calls() {
            let service = pool.get_service_by_name(call.service).unwrap();
            let method = service
                .methods()
                .find(|method| method.name() == call.method)
                .unwrap();
            for binding in call.bindings {
                for variable in variables_of(binding.template) {
                    assert!(
                        resolves_to_text(&method.input(), variable),
                        "{} of {}",
                        variable,
                        binding.template
                    );
                }
                if let Body::Field(name) | Body::Lines(name) = binding.body {
                    let field = method.input().get_field_by_name(name).unwrap();
                    assert!(matches!(field.kind(), Kind::Message(_)), "{name}");
                }
                assert_eq!(binding.verb == Verb::Get, binding.body == Body::None);
            }
        }
    }
}
