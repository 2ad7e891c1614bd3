//! Which call a path and a method stand for: the table's templates, taken apart and matched.
//!
//! What the calls are, and what each needs, is the table's.

use http::Method;
use percent_encoding::percent_decode_str;

use super::{Binding, Body, Call, Verb, calls};

/// The bindings, ready to be matched.
#[derive(Debug)]
pub(crate) struct Table {
    routes: Vec<Route>,
}

#[derive(Debug)]
struct Route {
    call: &'static Call,
    binding: &'static Binding,
    template: Template,
}

/// A template taken apart.
#[derive(Debug)]
struct Template {
    segments: Vec<Segment>,
    custom_verb: Option<&'static str>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Segment {
    Literal(&'static str),
    Variable(&'static str),
}

/// What there is under a path.
#[derive(Debug)]
pub(crate) enum Found {
    /// A call, with the path's variables, decoded.
    Call {
        call: &'static Call,
        body: Body,
        variables: Vec<(&'static str, String)>,
    },
    /// Calls, but by these methods only.
    OtherVerbs(Vec<Verb>),
    Nothing,
}

impl Table {
    pub(crate) fn new() -> Self {
        let mut routes: Vec<Route> = calls()
            .flat_map(|call| {
                call.bindings.iter().map(move |binding| Route {
                    call,
                    binding,
                    template: Template::parse(binding.template),
                })
            })
            .collect();
        // A custom verb is part of a variable to a template that has none.
        routes.sort_by_key(|route| route.template.custom_verb.is_none());
        Self { routes }
    }

    pub(crate) fn find(&self, method: &Method, path: &str) -> Found {
        let mut others = Vec::new();
        for route in &self.routes {
            let Some(variables) = route.template.variables(path) else {
                continue;
            };
            let verb = route.binding.verb;
            if verb.method() == *method {
                return Found::Call {
                    call: route.call,
                    body: route.binding.body,
                    variables,
                };
            }
            if !others.contains(&verb) {
                others.push(verb);
            }
        }
        if others.is_empty() {
            Found::Nothing
        } else {
            Found::OtherVerbs(others)
        }
    }
}

impl Template {
    fn parse(text: &'static str) -> Self {
        let (path, custom_verb) = match text.rsplit_once(':') {
            Some((path, verb)) => (path, Some(verb)),
            None => (text, None),
        };
        let segments = path
            .split('/')
            .skip(1)
            .map(|segment| {
                segment
                    .strip_prefix('{')
                    .and_then(|segment| segment.strip_suffix('}'))
                    .map_or(Segment::Literal(segment), Segment::Variable)
            })
            .collect();
        Self {
            segments,
            custom_verb,
        }
    }

    fn variables(&self, path: &str) -> Option<Vec<(&'static str, String)>> {
        let path = match self.custom_verb {
            Some(verb) => path.strip_suffix(verb)?.strip_suffix(':')?,
            None => path,
        };
        let mut given = path.strip_prefix('/')?.split('/');
        let mut variables = Vec::new();
        for segment in &self.segments {
            let given = given.next()?;
            match *segment {
                Segment::Literal(literal) if literal == given => {}
                Segment::Variable(name) if !given.is_empty() => {
                    let value = percent_decode_str(given).decode_utf8().ok()?;
                    variables.push((name, value.into_owned()));
                }
                Segment::Literal(_) | Segment::Variable(_) => return None,
            }
        }
        given.next().is_none().then_some(variables)
    }
}

/// Names of the fields that a template binds.
pub(crate) fn variables_of(template: &'static str) -> Vec<&'static str> {
    Template::parse(template)
        .segments
        .into_iter()
        .filter_map(|segment| match segment {
            Segment::Variable(name) => Some(name),
            Segment::Literal(_) => None,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_template_finds_its_own_call() {
        let table = Table::new();
        for call in calls() {
            for binding in call.bindings {
                let path = binding.template.replace('{', "a").replace('}', "z");
                match table.find(&binding.verb.method(), &path) {
                    Found::Call { call: found, .. } => {
                        assert_eq!(found.method, call.method, "{path}");
                    }
                    other => panic!("{path}: {other:?}"),
                }
            }
        }
    }

    #[test]
    fn variables_are_decoded_and_a_plus_is_a_plus() {
        let table = Table::new();
        for path in [
            "/v1/numbers/+4930123/customers/c%2F1/window",
            "/v1/numbers/%2B4930123/customers/c%2F1/window",
        ] {
            match table.find(&Method::GET, path) {
                Found::Call { variables, .. } => assert_eq!(
                    variables,
                    [
                        ("number", "+4930123".to_owned()),
                        ("customer.customer_id", "c/1".to_owned())
                    ]
                ),
                other => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn what_is_elsewhere_or_otherwise_is_told_apart() {
        let table = Table::new();
        for path in [
            "/",
            "/v1",
            "/v1/messages/",
            "/v1/messages/1/2",
            "/v1/numbers/%ff",
        ] {
            assert!(
                matches!(table.find(&Method::GET, path), Found::Nothing),
                "{path}"
            );
        }
        match table.find(&Method::DELETE, "/v1/numbers/1") {
            Found::OtherVerbs(verbs) => {
                assert_eq!(verbs, [Verb::Put, Verb::Get, Verb::Patch]);
            }
            other => panic!("{other:?}"),
        }
    }
}
