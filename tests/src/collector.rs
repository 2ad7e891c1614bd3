//! A collector of traces: an OTLP server that keeps the spans it is sent, to be asked about.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, PoisonError};

use casement_testkit::eventually_within;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1 as otlp;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status};

use crate::stack::RECOVERY_MAX;

/// What a span was doing for whom.
pub use otlp::span::SpanKind;

/// A span as it was exported.
#[derive(Debug, Clone)]
pub struct Span {
    /// The trace, in hexadecimal.
    pub trace: String,
    /// The span, in hexadecimal.
    pub id: String,
    /// The span it is a child of; empty for the root.
    pub parent: String,
    /// Its name.
    pub name: String,
    /// Its kind.
    pub kind: SpanKind,
    /// Traces of the spans that it links to.
    pub links: Vec<String>,
    /// Its attributes as text.
    pub attributes: BTreeMap<String, String>,
    /// Attributes of the process, as text.
    pub resource: BTreeMap<String, String>,
}

impl Span {
    /// The process that it is of.
    pub fn service(&self) -> &str {
        self.resource.get("service.name").map_or("", String::as_str)
    }

    /// An attribute; empty if it has no such.
    pub fn attribute(&self, name: &str) -> &str {
        self.attributes.get(name).map_or("", String::as_str)
    }
}

/// A running collector. Clones are one.
#[derive(Debug, Clone)]
pub struct Collector {
    endpoint: String,
    kept: Arc<Mutex<Kept>>,
}

#[derive(Debug, Default)]
struct Kept {
    spans: Vec<Span>,
    /// All that came, as it is printed: where to look for what must not be there.
    raw: String,
}

impl Collector {
    /// Starts one on a free port.
    ///
    /// # Panics
    /// Outside of a runtime.
    pub fn start() -> Self {
        let incoming =
            TcpIncoming::bind("127.0.0.1:0".parse().expect("an address")).expect("a free port");
        let address = incoming.local_addr().expect("a port that is bound");
        let collector = Self {
            endpoint: format!("http://{address}"),
            kept: Arc::default(),
        };
        let service = TraceServiceServer::new(collector.clone());
        tokio::spawn(
            tonic::transport::Server::builder()
                .add_service(service)
                .serve_with_incoming(incoming),
        );
        collector
    }

    /// Where it takes OTLP.
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// All spans so far.
    pub fn spans(&self) -> Vec<Span> {
        self.lock().spans.clone()
    }

    /// All spans of a trace so far.
    pub fn trace(&self, trace: &str) -> Vec<Span> {
        let kept = self.lock();
        let spans = kept.spans.iter().filter(|span| span.trace == trace);
        spans.cloned().collect()
    }

    /// All that came, as text.
    pub fn raw(&self) -> String {
        self.lock().raw.clone()
    }

    /// Waits for a span like this.
    pub async fn find(&self, what: &str, is_it: impl Fn(&Span) -> bool) -> Span {
        eventually_within(RECOVERY_MAX, what, async || {
            let spans = self.spans();
            let found = spans.iter().find(|span| is_it(span)).cloned();
            found.ok_or_else(|| names(&spans))
        })
        .await
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A line for each span: for people, where one is missing.
pub fn names(spans: &[Span]) -> String {
    let line = |span: &Span| {
        format!(
            "{} {}<-{} {} {:?} {} {}",
            &span.trace[..8.min(span.trace.len())],
            span.id,
            span.parent,
            span.service(),
            span.kind,
            span.name,
            span.attribute("casement.event"),
        )
    };
    spans.iter().map(line).collect::<Vec<_>>().join("\n")
}

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let request = request.into_inner();
        let mut kept = self.lock();
        writeln!(kept.raw, "{request:?}").expect("a text takes all");
        for of_resource in request.resource_spans {
            let resource = texts(
                &of_resource
                    .resource
                    .unwrap_or_else(Resource::default)
                    .attributes,
            );
            for span in of_resource
                .scope_spans
                .into_iter()
                .flat_map(|of_scope| of_scope.spans)
            {
                kept.spans.push(read(span, resource.clone()));
            }
        }
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

fn read(span: otlp::Span, resource: BTreeMap<String, String>) -> Span {
    Span {
        trace: hex::encode(&span.trace_id),
        id: hex::encode(&span.span_id),
        parent: hex::encode(&span.parent_span_id),
        kind: span.kind(),
        links: span
            .links
            .iter()
            .map(|link| hex::encode(&link.trace_id))
            .collect(),
        attributes: texts(&span.attributes),
        name: span.name,
        resource,
    }
}

fn texts(attributes: &[KeyValue]) -> BTreeMap<String, String> {
    attributes
        .iter()
        .map(|attribute| (attribute.key.clone(), text(attribute.value.as_ref())))
        .collect()
}

fn text(value: Option<&AnyValue>) -> String {
    match value.and_then(|value| value.value.as_ref()) {
        Some(Value::StringValue(text)) => text.clone(),
        Some(Value::IntValue(number)) => number.to_string(),
        Some(Value::BoolValue(is)) => is.to_string(),
        Some(Value::DoubleValue(number)) => number.to_string(),
        other => format!("{other:?}"),
    }
}

/// Asserts that none of these words stands in a text.
///
/// # Panics
/// When one does, with what is around it.
pub fn clear_of(text: &str, words: &[&str]) {
    for word in words {
        if let Some(at) = text.find(word) {
            let from = text[..at]
                .char_indices()
                .rev()
                .nth(200)
                .map_or(0, |(at, _)| at);
            panic!("`{word}` stands there: …{}", &text[from..at + word.len()]);
        }
    }
}
