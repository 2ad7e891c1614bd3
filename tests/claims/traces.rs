//! One trace tells what became of one cause, across processes and the log, and tells nothing
//! personal.

use std::collections::BTreeMap;

use casement_event::v1;
use casement_testkit::{eventually, eventually_within};
use casement_tests::{
    Collector, Options, Role, Span, SpanKind, Stack, clear_of, free_form, names, template,
};
use sqlx::{Connection as _, Row as _};

const CUSTOMER: &str = "+15550002222";
const USER_ID: &str = "US.13491208655302741918";

/// What nobody may find in a trace.
const SAID: &str = "canary-of-the-customer";
const SENT: &str = "canary-of-the-business";

async fn traced() -> (Collector, Stack) {
    let collector = Collector::start();
    let stack = Stack::with(Options {
        telemetry: format!("otlp_endpoint = \"{}\"", collector.endpoint()),
        ..Options::default()
    })
    .await;
    (collector, stack)
}

/// What a span is, for claims: process, kind, name and event.
fn told(span: &Span) -> (&str, SpanKind, &str, &str) {
    (
        span.service(),
        span.kind,
        &span.name,
        span.attribute("casement.event"),
    )
}

/// Waits until a trace holds all of this, and the parent of every span of it.
async fn whole(
    collector: &Collector,
    trace: &str,
    expected: &[(&str, SpanKind, &str, &str)],
) -> Vec<Span> {
    eventually_within(
        std::time::Duration::from_secs(30),
        "the trace is whole",
        async || {
            let spans = collector.trace(trace);
            let missing: Vec<_> = expected
                .iter()
                .filter(|expected| !spans.iter().any(|span| told(span) == **expected))
                .collect();
            if !missing.is_empty() {
                return Err(format!("{missing:#?} is missing of\n{}", names(&spans)));
            }
            let orphan = spans
                .iter()
                .filter(|span| !span.parent.is_empty())
                .find(|span| !spans.iter().any(|other| other.id == span.parent));
            match orphan {
                Some(orphan) => Err(format!("no parent of {orphan:?} in\n{}", names(&spans))),
                None => Ok(spans),
            }
        },
    )
    .await
}

/// The root that a span's parents lead to.
fn root_of<'a>(spans: &'a [Span], span: &'a Span) -> &'a Span {
    let by_id: BTreeMap<&str, &Span> = spans.iter().map(|span| (&*span.id, span)).collect();
    let mut at = span;
    for _ in 0..spans.len() {
        match by_id.get(&*at.parent) {
            Some(parent) => at = parent,
            None => break,
        }
    }
    at
}

/// The traces that archived events of a family belong to, by type.
async fn archived(stack: &Stack, family: &str) -> Vec<(String, String)> {
    let url = format!("sqlite://{}?mode=ro", stack.archive().display());
    let mut database = sqlx::SqliteConnection::connect(&url)
        .await
        .expect("the archive");
    let rows = sqlx::query("SELECT event_type, headers FROM archive WHERE subject LIKE ?")
        .bind(format!("casement.events.{family}.%"))
        .fetch_all(&mut database)
        .await
        .expect("rows");
    let read = |row: &sqlx::sqlite::SqliteRow| {
        let headers: Vec<(String, String)> =
            serde_json::from_str(row.get("headers")).expect("headers as pairs");
        let traceparent = headers.iter().find(|(name, _)| name == "traceparent");
        let (_, traceparent) = traceparent.expect("every event has a trace");
        (row.get("event_type"), traceparent[3..35].to_owned())
    };
    rows.iter().map(read).collect()
}

#[tokio::test]
async fn a_customers_message_is_one_trace_from_the_post_to_its_archived_rows() {
    let (collector, stack) = traced().await;
    let customer = stack.customer(CUSTOMER);
    stack.says(&customer, SAID);

    let post = collector
        .find("the post", |span| {
            span.service() == "casement-ingress" && span.attribute("casement.outcome") == "stored"
        })
        .await;
    assert_eq!(post.kind, SpanKind::Server);
    assert_eq!(post.name, "POST /webhooks/whatsapp");
    assert_eq!(post.parent, "");
    assert_eq!(post.attribute("http.response.status_code"), "200");

    let (ingress, tracker, archive) = (
        "casement-ingress",
        "casement-window-tracker",
        "casement-audit-projector",
    );
    let (fact, opened) = ("InboundMessageReceived", "WindowOpened");
    let (inbound, window) = ("casement.events.inbound", "casement.events.window");
    let publish = |what: &str| format!("publish {what}");
    let process = |what: &str| format!("process {what}");
    let raw = "casement.raw.whatsapp";
    let spans = whole(
        &collector,
        &post.trace,
        &[
            (
                ingress,
                SpanKind::Producer,
                "create casement.raw.whatsapp",
                "",
            ),
            (ingress, SpanKind::Producer, &publish(raw), "RawPack"),
            (ingress, SpanKind::Consumer, &process(raw), ""),
            (ingress, SpanKind::Producer, &publish(inbound), fact),
            (tracker, SpanKind::Consumer, &process(inbound), fact),
            (tracker, SpanKind::Producer, &publish(window), opened),
            (archive, SpanKind::Consumer, &process(inbound), fact),
            (archive, SpanKind::Consumer, &process(window), opened),
        ],
    )
    .await;

    for span in &spans {
        assert_eq!(root_of(&spans, span).id, post.id, "{}", names(&spans));
    }
    let told_in = archived(&stack, "window").await;
    assert_eq!(
        told_in,
        [(
            "casement.events.v1.WindowOpened".to_owned(),
            post.trace.clone()
        )],
        "the row names the trace"
    );
    for attribute in [
        "service.version",
        "service.instance.id",
        "service.namespace",
    ] {
        assert!(post.resource.contains_key(attribute), "{attribute}");
    }
    let instances: std::collections::BTreeSet<_> = spans
        .iter()
        .map(|span| &span.resource["service.instance.id"])
        .collect();
    assert_eq!(instances.len(), 3, "three processes took part");
    clear_of(&collector.raw(), &[CUSTOMER, SAID]);
    stack.stop().await;
}

#[tokio::test]
async fn a_send_is_one_trace_from_the_gateway_to_its_last_status() {
    let (collector, mut stack) = traced().await;
    stack.start_role(Role::Gateway, 0).await;
    let clients = stack.clients_of_gateway();
    let events = stack.events().await;
    let customer = stack.customer(CUSTOMER);
    stack.says(&customer, SAID);
    events.wait("WindowOpened", 1).await;

    let message = clients.send(CUSTOMER, free_form(SENT)).await.unwrap();
    let message = clients.ended(&message.message_id).await;
    assert_eq!(message.outcome(), v1::MessageOutcome::Delivered);

    let method = "casement.message.v1.MessageService/SendMessage";
    let call = collector
        .find("the call", |span| {
            span.service() == "casement-gateway"
                && span.kind == SpanKind::Server
                && span.name == method
        })
        .await;
    let (gateway, dispatcher, archive) = (
        "casement-gateway",
        "casement-dispatcher",
        "casement-audit-projector",
    );
    let (publish, process) = (
        "publish casement.events.message",
        "process casement.events.message",
    );
    let spans = whole(
        &collector,
        &call.trace,
        &[
            (gateway, SpanKind::Client, method, ""),
            (dispatcher, SpanKind::Server, method, ""),
            (dispatcher, SpanKind::Producer, publish, "MessageRequested"),
            (dispatcher, SpanKind::Internal, "attempt", ""),
            (dispatcher, SpanKind::Producer, publish, "AttemptStarted"),
            (dispatcher, SpanKind::Client, "POST whatsapp", ""),
            (dispatcher, SpanKind::Producer, publish, "AttemptAccepted"),
            (dispatcher, SpanKind::Internal, "fold report", ""),
            (dispatcher, SpanKind::Producer, publish, "DeliveryAdvanced"),
            (archive, SpanKind::Consumer, process, "MessageRequested"),
            (archive, SpanKind::Consumer, process, "DeliveryAdvanced"),
        ],
    )
    .await;
    for span in &spans {
        assert_eq!(root_of(&spans, span).id, call.id, "{}", names(&spans));
    }

    // The status came by a post with a trace of its own, which is linked to.
    let folded = spans.iter().filter(|span| span.name == "fold report");
    for span in folded {
        let [post] = span.links.as_slice() else {
            panic!("one link each: {span:?}");
        };
        assert_ne!(*post, call.trace);
        collector
            .find("the status's post", |span| {
                span.trace == *post && span.name == "POST /webhooks/whatsapp"
            })
            .await;
    }
    let rows = eventually("the whole message is archived", async || {
        let rows = archived(&stack, "message").await;
        let is_whole = rows
            .iter()
            .any(|(name, _)| name.ends_with(".DeliveryAdvanced"));
        if is_whole {
            Ok(rows)
        } else {
            Err(format!("{rows:?}"))
        }
    })
    .await;
    for (name, trace) in rows {
        assert_eq!(trace, call.trace, "{name}");
    }
    clear_of(&collector.raw(), &[CUSTOMER, SAID, SENT]);
    stack.stop().await;
}

#[tokio::test]
async fn no_span_of_any_way_tells_whom_it_is_about() {
    let (collector, mut stack) = traced().await;
    stack.start_role(Role::Gateway, 0).await;
    let clients = stack.clients_of_gateway();
    stack.customer(CUSTOMER);
    stack.nameless_customer(USER_ID);

    // A template, an SMS, a hold, a refusal, and a look at each.
    let by_template = clients
        .send(CUSTOMER, template(SENT, "order_update", SENT))
        .await
        .unwrap();
    let by_sms = clients
        .send(CUSTOMER, template(SENT, "order_paused", SENT))
        .await
        .unwrap();
    clients.send(USER_ID, free_form(SENT)).await.unwrap();
    clients.window(USER_ID).await.unwrap();
    clients.window("no phone at all").await.unwrap();
    clients.ended(&by_template.message_id).await;
    clients.ended(&by_sms.message_id).await;
    assert_eq!(
        stack.post(SAID.as_bytes()).await,
        Some(200),
        "no JSON at all"
    );

    collector
        .find("the last of it", |span| {
            span.service() == "casement-audit-projector"
                && span.attribute("casement.event") == "DeadLetter"
        })
        .await;
    let phone = CUSTOMER.trim_start_matches('+');
    clear_of(&collector.raw(), &[phone, USER_ID, SAID, SENT, "no phone"]);
    stack.stop().await;
}

#[tokio::test]
async fn who_begins_a_trace_decides_whether_it_is_recorded() {
    let collector = Collector::start();
    let stack = Stack::with(Options {
        telemetry: format!(
            "otlp_endpoint = \"{}\"\nsample_ratio = 0.0",
            collector.endpoint()
        ),
        ..Options::default()
    })
    .await;
    let clients = stack.clients();
    let customer = stack.customer(CUSTOMER);
    stack.says(&customer, SAID);
    clients.open_window(CUSTOMER).await;

    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    let mut request =
        tonic::Request::new(casement_proto::window::v1::BatchGetWindowsRequest::default());
    let traceparent = format!("00-{trace}-00f067aa0ba902b7-01");
    request
        .metadata_mut()
        .insert("traceparent", traceparent.parse().unwrap());
    clients
        .windows
        .clone()
        .batch_get_windows(request)
        .await
        .unwrap();

    let span = collector.find("the recorded call", |_| true).await;
    assert_eq!(span.trace, trace);
    assert_eq!(span.parent, "00f067aa0ba902b7");
    assert_eq!(collector.spans().len(), 1, "{}", names(&collector.spans()));
    stack.stop().await;
}

#[tokio::test]
async fn a_collector_that_is_away_costs_one_warning_and_nothing_else() {
    let nowhere = format!("http://127.0.0.1:{}", casement_testkit::free_port());
    let mut stack = Stack::with(Options {
        telemetry: format!("otlp_endpoint = \"{nowhere}\""),
        ..Options::default()
    })
    .await;
    let clients = stack.clients();
    let customer = stack.customer(CUSTOMER);
    let warnings = |stack: &mut Stack| {
        let log = stack.process(Role::Ingress, 0).stderr();
        log.matches("traces do not reach their collector").count()
    };
    // Spans are lost in more than one batch.
    for round in 1..=3 {
        stack.says(&customer, SAID);
        clients.open_window(CUSTOMER).await;
        eventually("spans are lost", async || {
            let page = stack.metrics(Role::Ingress).await;
            let lost: u64 = page
                .lines()
                .find_map(|line| line.strip_prefix("casement_trace_spans_total{outcome=\"lost\"} "))
                .and_then(|count| count.parse().ok())
                .unwrap_or_default();
            if lost >= round * 4 {
                Ok(())
            } else {
                Err(lost.to_string())
            }
        })
        .await;
    }
    assert_eq!(warnings(&mut stack), 1);
    stack.stop().await;
}
