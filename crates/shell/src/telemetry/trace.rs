//! Where traces come from and go on: W3C `traceparent`, parents, links.
//!
//! One span belongs to one trace. Work for one trace that was set off by another is a child in the
//! former and links to the latter.

use opentelemetry::propagation::{Extractor, Injector, TextMapPropagator};
use opentelemetry::trace::{SpanContext, TraceContextExt as _};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

/// The header that carries it.
const TRACEPARENT: &str = "traceparent";

/// The W3C `traceparent` of the current span, if it belongs to a trace.
pub fn current_traceparent() -> Option<String> {
    traceparent_of(&Span::current())
}

/// The W3C `traceparent` of a span, if it belongs to a trace.
pub fn traceparent_of(span: &Span) -> Option<String> {
    let context = span.context();
    if !context.span().span_context().is_valid() {
        return None;
    }
    let mut carrier = Traceparent(None);
    TraceContextPropagator::new().inject_context(&context, &mut carrier);
    carrier.0
}

/// Makes `span` a child of the remote span that `traceparent` names. Call it before the span is
/// entered. Returns whether it did: what is malformed is ignored, and the span begins a trace.
pub fn parent_from(span: &Span, traceparent: &str) -> bool {
    let context = extract(traceparent);
    context.span().span_context().is_valid() && span.set_parent(context).is_ok()
}

/// Makes `span` belong to the trace that `traceparent` names: under the current span if that is of
/// the same trace, else under the named one, with a link to what is current. Call it before the
/// span is entered.
pub fn belongs_to(span: &Span, traceparent: Option<&str>) {
    let here = Span::current().context().span().span_context().clone();
    let Some(traceparent) = traceparent else {
        return;
    };
    let named = context_of(traceparent);
    if !named.is_valid() || (here.is_valid() && here.trace_id() == named.trace_id()) {
        return;
    }
    parent_from(span, traceparent);
    if here.is_valid() {
        span.add_link(here);
    }
}

/// Names a span that has begun: what it is may be known only later.
pub fn rename(span: &Span, name: String) {
    span.context().span().update_name(name);
}

/// Links `span` to the span that `traceparent` names.
pub fn link_to(span: &Span, traceparent: &str) {
    let context = context_of(traceparent);
    if context.is_valid() {
        span.add_link(context);
    }
}

fn context_of(traceparent: &str) -> SpanContext {
    extract(traceparent).span().span_context().clone()
}

fn extract(traceparent: &str) -> opentelemetry::Context {
    let carrier = Traceparent(Some(traceparent.to_owned()));
    TraceContextPropagator::new().extract_with_context(&opentelemetry::Context::new(), &carrier)
}

/// Carries the one header; `tracestate` is not passed on.
struct Traceparent(Option<String>);

impl Injector for Traceparent {
    fn set(&mut self, key: &str, value: String) {
        if key == TRACEPARENT {
            self.0 = Some(value);
        }
    }
}

impl Extractor for Traceparent {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.as_deref().filter(|_| key == TRACEPARENT)
    }

    fn keys(&self) -> Vec<&str> {
        vec![TRACEPARENT]
    }
}

#[cfg(test)]
mod tests {
    use opentelemetry::trace::TracerProvider as _;
    use opentelemetry_sdk::trace::{InMemorySpanExporter, SdkTracerProvider};
    use tracing_subscriber::layer::SubscriberExt as _;

    use super::*;

    const REMOTE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    const OTHER: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    fn with_traces<T>(work: impl FnOnce() -> T) -> (T, Vec<opentelemetry_sdk::trace::SpanData>) {
        let exporter = InMemorySpanExporter::default();
        let provider = SdkTracerProvider::builder()
            .with_simple_exporter(exporter.clone())
            .build();
        let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("test"));
        let subscriber = tracing_subscriber::registry().with(layer);
        let done = tracing::subscriber::with_default(subscriber, work);
        (done, exporter.get_finished_spans().unwrap())
    }

    #[test]
    fn a_trace_goes_on_through_us() {
        let (passed_on, _) = with_traces(|| {
            let span = tracing::info_span!("handle");
            assert!(parent_from(&span, REMOTE));
            span.in_scope(current_traceparent)
        });
        let passed_on = passed_on.unwrap();
        assert_eq!(passed_on[..36], REMOTE[..36], "the same trace");
        assert_ne!(passed_on[36..52], REMOTE[36..52], "another span");
    }

    #[test]
    fn a_span_without_a_parent_begins_a_trace() {
        let ((one, two), _) = with_traces(|| {
            let begin = || tracing::info_span!("begin").in_scope(current_traceparent);
            (begin().unwrap(), begin().unwrap())
        });
        assert_eq!(one.len(), REMOTE.len());
        assert_ne!(one[3..35], two[3..35]);
        assert_eq!(current_traceparent(), None, "outside of any span");
    }

    #[test]
    fn work_for_another_trace_is_done_in_it_and_links_back() {
        let ((), spans) = with_traces(|| {
            let post = tracing::info_span!("post");
            parent_from(&post, REMOTE);
            post.in_scope(|| {
                let same = tracing::info_span!("same");
                belongs_to(&same, Some(REMOTE));
                drop(same);
                let other = tracing::info_span!("other");
                belongs_to(&other, Some(OTHER));
                drop(other);
            });
        });
        let named = |name: &str| spans.iter().find(|span| span.name == name).unwrap();
        let (post, same, other) = (named("post"), named("same"), named("other"));
        assert_eq!(same.parent_span_id, post.span_context.span_id());
        assert!(same.links.is_empty());
        assert_eq!(other.span_context.trace_id(), context_of(OTHER).trace_id());
        assert_eq!(other.parent_span_id, context_of(OTHER).span_id());
        let linked: Vec<_> = other
            .links
            .iter()
            .map(|link| link.span_context.span_id())
            .collect();
        assert_eq!(linked, [post.span_context.span_id()]);
    }

    #[test]
    fn a_span_that_has_begun_can_be_named() {
        let ((), spans) = with_traces(|| {
            let span = tracing::info_span!("call");
            span.in_scope(|| rename(&Span::current(), "a.Service/Method".to_owned()));
        });
        assert_eq!(spans[0].name, "a.Service/Method");
    }

    #[test]
    fn a_malformed_parent_is_ignored() {
        with_traces(|| {
            for malformed in [
                "",
                "00-zz-00-01",
                "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            ] {
                assert!(
                    !parent_from(&tracing::info_span!("handle"), malformed),
                    "{malformed}"
                );
            }
        });
    }
}
