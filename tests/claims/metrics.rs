//! Metrics: named by convention, described once, told in the document, and silent about people.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use casement_event::v1;
use casement_simulator::{Fault, FaultSpec};
use casement_testkit::{eventually, eventually_within};
use casement_tests::{Collector, NUMBER, Options, Role, Stack, clear_of, free_form, template};

const CUSTOMER: &str = "+15550002222";
const USER_ID: &str = "US.13491208655302741918";
const SAID: &str = "canary-of-the-customer";
const SENT: &str = "canary-of-the-business";

/// Families that need what this traffic has not: a fault, a merge, a purge, a limit.
const MAY_STAND_STILL: [&str; 47] = [
    "casement_account_deadlines_taken_total",
    "casement_api_tokens_reloads_total",
    "casement_api_unauthenticated_total",
    "casement_append_unanswered_total",
    "casement_archive_missed_messages_total",
    "casement_archive_old_keys",
    "casement_archive_pending_messages",
    "casement_archive_refusals_total",
    "casement_archive_signing_refusals_total",
    "casement_archive_unprojected_total",
    "casement_archive_unsealed_records",
    "casement_dispatcher_deferrals_total",
    "casement_dispatcher_deferred_messages",
    "casement_dispatcher_double_exposures_total",
    "casement_dispatcher_first_words_total",
    "casement_dispatcher_month_spend_micros",
    "casement_dispatcher_nudges_total",
    "casement_dispatcher_over_quota_total",
    "casement_dispatcher_overdue_deliveries_total",
    "casement_dispatcher_queued_messages",
    "casement_dispatcher_spent_micros_total",
    "casement_dispatcher_standing_halts",
    "casement_dispatcher_turns_total",
    "casement_dispatcher_unmatched_reports_total",
    "casement_erasures_pending_customers",
    "casement_figures_lag_seconds",
    "casement_figures_refusals_total",
    "casement_gateway_console_live_pages",
    "casement_gateway_console_sign_ins_total",
    "casement_gateway_limited_total",
    "casement_gateway_open_calls",
    "casement_http_connections_refused_total",
    "casement_ingress_customers_merged_total",
    "casement_ingress_facts_put_back_total",
    "casement_ingress_handshakes_total",
    "casement_ingress_media_bytes_total",
    "casement_ingress_media_total",
    "casement_ingress_replayed_total",
    "casement_log_purged_messages_total",
    "casement_log_purging_stopped",
    "casement_log_unarchived_seconds",
    "casement_watch_changes_total",
    "casement_watch_raised_checks",
    "casement_window_conflicts_total",
    "casement_work_pending_messages",
    "casement_work_repeats_total",
    "casement_work_unacknowledged_messages",
];

/// What names end with that are no counters.
const UNITS: [&str; 19] = [
    "tokens",
    "checks",
    "ratio",
    "customers",
    "pages",
    "stopped",
    "micros",
    "seconds",
    "records",
    "posts",
    "messages",
    "windows",
    "deadlines",
    "halts",
    "keys",
    "numbers",
    "replicas",
    "calls",
    "bytes",
];

#[derive(Debug, Default, Clone)]
struct Family {
    kind: String,
    help: String,
    labels: BTreeSet<String>,
    roles: BTreeSet<&'static str>,
    /// Whether any of its values is not zero.
    has_moved: bool,
}

const ROLES: [(Role, &str); 6] = [
    (Role::Accounts, "accounts"),
    (Role::Ingress, "ingress"),
    (Role::WindowTracker, "window-tracker"),
    (Role::Dispatcher, "dispatcher"),
    (Role::AuditProjector, "audit-projector"),
    (Role::Gateway, "gateway"),
];

/// Adds a role's page to the families.
fn read(page: &str, role: &'static str, families: &mut BTreeMap<String, Family>) {
    for line in page.lines() {
        if let Some((name, help)) = line
            .strip_prefix("# HELP ")
            .and_then(|rest| rest.split_once(' '))
        {
            let family = families.entry(name.to_owned()).or_default();
            help.clone_into(&mut family.help);
            family.roles.insert(role);
        } else if let Some((name, kind)) = line
            .strip_prefix("# TYPE ")
            .and_then(|rest| rest.split_once(' '))
        {
            let family = families.entry(name.to_owned()).or_default();
            kind.clone_into(&mut family.kind);
            family.roles.insert(role);
        }
    }
    for line in page.lines().filter(|line| !line.starts_with('#')) {
        let Some((series, value)) = line.rsplit_once(' ') else {
            continue;
        };
        let (name, labels) = series.split_once('{').unwrap_or((series, ""));
        let name = family_of(name, families);
        let family = families.entry(name).or_default();
        family.has_moved |= value.parse::<f64>().is_ok_and(|value| value != 0.0);
        for label in labels.trim_end_matches('}').split("\",") {
            if let Some((label, _)) = label.split_once("=\"")
                && label != "le"
            {
                family.labels.insert(label.to_owned());
            }
        }
    }
}

/// The family of a series: histograms have three kinds of them.
fn family_of(name: &str, families: &BTreeMap<String, Family>) -> String {
    ["_bucket", "_sum", "_count"]
        .iter()
        .filter_map(|suffix| name.strip_suffix(suffix))
        .find(|base| {
            families
                .get(*base)
                .is_some_and(|family| family.kind == "histogram")
        })
        .unwrap_or(name)
        .to_owned()
}

fn checkout(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

/// The rows of the document's table.
fn documented() -> BTreeMap<String, String> {
    let document =
        std::fs::read_to_string(checkout("docs/operate/metrics.md")).expect("the document");
    document
        .lines()
        .filter(|line| line.starts_with("| `casement_"))
        .map(|line| {
            let name = line.split('`').nth(1).expect("a name in backticks");
            (name.to_owned(), line.to_owned())
        })
        .collect()
}

/// A row of the document.
fn row(name: &str, family: &Family) -> String {
    let roles = match family.roles.len() {
        6 => "every role".to_owned(),
        5 if !family.roles.contains("gateway") => "all but gateway".to_owned(),
        _ => family.roles.iter().copied().collect::<Vec<_>>().join(", "),
    };
    let labels: Vec<_> = family
        .labels
        .iter()
        .map(|label| format!("`{label}`"))
        .collect();
    format!(
        "| `{name}` | {} | {} | {roles} | {} |",
        family.kind,
        labels.join(", "),
        family.help
    )
}

/// Reads every role's page.
async fn read_all(stack: &Stack, families: &mut BTreeMap<String, Family>) {
    for (role, name) in ROLES {
        read(&stack.metrics(role).await, name, families);
    }
}

/// Waits until a role's page has this line.
async fn shows(stack: &Stack, role: Role, line: &str) {
    eventually(&format!("{role:?} shows {line}"), async || {
        let page = stack.metrics(role).await;
        if page.lines().any(|found| found == line) {
            return Ok(());
        }
        let name = line.split([' ', '{']).next().unwrap_or(line);
        let near = page.lines().filter(|found| found.starts_with(name));
        Err(near.collect::<Vec<_>>().join("\n"))
    })
    .await;
}

/// A bit of everything. Returns ids that no label may hold.
async fn traffic(stack: &Stack, families: &mut BTreeMap<String, Family>) -> Vec<String> {
    let clients = stack.clients_of_gateway();
    let events = stack.events().await;
    let customer = stack.customer(CUSTOMER);
    let nameless = stack.nameless_customer(USER_ID);

    let by_template = clients
        .send(CUSTOMER, template(SENT, "order_update", SENT))
        .await
        .expect("a good answer");
    let by_sms = clients
        .send(CUSTOMER, template(SENT, "order_paused", SENT))
        .await
        .expect("a good answer");
    let held = clients
        .send(USER_ID, free_form(SENT))
        .await
        .expect("a good answer");
    clients
        .until(&held.message_id, "is held", |message| {
            message.state() == casement_proto::message::v1::MessageState::Held
        })
        .await;
    shows(
        stack,
        Role::Dispatcher,
        "casement_dispatcher_held_messages 1",
    )
    .await;
    read_all(stack, families).await;
    stack.says(&nameless, SAID);
    clients.ended(&held.message_id).await;
    shows(
        stack,
        Role::Dispatcher,
        "casement_dispatcher_held_messages 0",
    )
    .await;
    stack.says(&customer, SAID);
    events.wait("WindowOpened", 2).await;
    shows(stack, Role::WindowTracker, "casement_window_open_windows 2").await;
    read_all(stack, families).await;
    stack
        .simulator
        .inject(FaultSpec::from(Fault::GraphError { code: 131_047 }).times(1));
    let refused = clients
        .send(CUSTOMER, template(SENT, "order_update", SENT))
        .await
        .expect("a good answer");
    events.wait("WindowCorrected", 1).await;
    events.wait("WindowExpired", 1).await;
    for id in [&by_template, &by_sms, &refused].map(|message| &message.message_id) {
        clients.ended(id).await;
    }
    assert_eq!(
        stack.post(SAID.as_bytes()).await,
        Some(200),
        "no JSON at all"
    );
    let unknown = clients
        .message("nothing")
        .await
        .expect_err("an id that is none");
    assert_eq!(unknown.code(), tonic::Code::InvalidArgument);
    let window = clients.window(CUSTOMER).await.expect("a good answer");
    assert_eq!(window.state(), v1::WindowState::Closed);
    let pause = casement_proto::account::v1::PauseNumberRequest {
        number: NUMBER.to_owned(),
        reason: "a test".to_owned(),
    };
    clients
        .accounts
        .clone()
        .pause_number(pause)
        .await
        .expect("a good answer");
    shows(
        stack,
        Role::Dispatcher,
        "casement_dispatcher_paused_numbers 1",
    )
    .await;
    read_all(stack, families).await;
    vec![
        window.customer_id,
        held.message_id,
        by_sms.message_id,
        refused.message_id,
    ]
}

#[tokio::test]
async fn every_metric_is_described_documented_and_moves_and_names_nobody() {
    let collector = Collector::start();
    let mut stack = Stack::with(Options {
        window_seconds: 8,
        telemetry: format!("otlp_endpoint = \"{}\"", collector.endpoint()),
        ..Options::default()
    })
    .await;
    stack.start_role(Role::Gateway, 0).await;
    let mut families = BTreeMap::new();
    let ids = traffic(&stack, &mut families).await;

    let families = eventually_within(
        std::time::Duration::from_secs(30),
        "every metric has moved",
        async || {
            let mut families = families.clone();
            read_all(&stack, &mut families).await;
            let still: Vec<_> = families
                .iter()
                .filter(|(name, family)| name.starts_with("casement_") && !family.has_moved)
                .map(|(name, _)| name.as_str())
                .filter(|name| !MAY_STAND_STILL.contains(name))
                .collect();
            if still.is_empty() {
                Ok(families)
            } else {
                Err(format!("{still:?}"))
            }
        },
    )
    .await;

    let (ours, of_process): (BTreeMap<_, _>, BTreeMap<_, _>) = families
        .into_iter()
        .partition(|(name, _)| name.starts_with("casement_"));
    for (name, family) in &ours {
        assert!(!family.help.is_empty(), "{name} is not described");
        assert_by_convention(name, family);
    }
    for name in [
        "process_cpu_seconds_total",
        "process_resident_memory_bytes",
        "process_open_fds",
    ] {
        assert_eq!(of_process[name].roles.len(), ROLES.len(), "{name}");
    }

    let expected: BTreeMap<_, _> = ours
        .iter()
        .map(|(name, family)| (name.clone(), row(name, family)))
        .collect();
    let table: Vec<_> = expected.values().cloned().collect();
    assert!(
        documented() == expected,
        "the table of docs/operate/metrics.md must be:\n{}",
        table.join("\n")
    );

    let mut personal: Vec<&str> = vec![USER_ID, SAID, SENT];
    personal.extend([CUSTOMER, NUMBER].map(|phone| phone.trim_start_matches('+')));
    personal.extend(ids.iter().map(String::as_str));
    for (role, _) in ROLES {
        clear_of(&stack.metrics(role).await, &personal);
    }
    stack.stop().await;
}

/// `casement_<area>_<what>_<unit>`; counters end with `_total`.
fn assert_by_convention(name: &str, family: &Family) {
    let is_plain = name
        .bytes()
        .all(|byte| byte == b'_' || byte.is_ascii_lowercase());
    assert!(is_plain && name.split('_').count() >= 4, "{name}");
    let is_counter = family.kind == "counter";
    assert_eq!(name.ends_with("_total"), is_counter, "{name}");
    let unit = name.rsplit('_').next().unwrap_or_default();
    assert!(
        is_counter || UNITS.contains(&unit),
        "{name} ends with no unit"
    );
    let is_of_one = ["customer", "message_id", "number", "phone", "window_id"];
    for label in &family.labels {
        assert!(
            !is_of_one.contains(&&**label),
            "{name} has the label {label}"
        );
    }
}

/// The words of an expression.
fn words(expression: &str) -> impl Iterator<Item = &str> {
    expression.split(|found: char| !(found.is_ascii_alphanumeric() || found == '_'))
}

/// Expressions of panels, and of what Prometheus watches, with where they stand.
fn expressions() -> Vec<(String, String)> {
    let mut found = Vec::new();
    for file in std::fs::read_dir(checkout("deploy/grafana/dashboards"))
        .expect("a dashboard as Grafana takes it")
    {
        let path = file.expect("a dashboard as Grafana takes it").path();
        let dashboard: serde_json::Value =
            serde_json::from_slice(&std::fs::read(&path).expect("a dashboard as Grafana takes it"))
                .expect("a dashboard as Grafana takes it");
        assert_eq!(
            dashboard["uid"].as_str(),
            path.file_stem().and_then(|stem| stem.to_str()),
            "links name a dashboard by its file"
        );
        for panel in dashboard["panels"]
            .as_array()
            .expect("a dashboard as Grafana takes it")
        {
            for target in panel["targets"].as_array().into_iter().flatten() {
                assert_eq!(target["datasource"]["uid"], "prometheus");
                let place = format!("{}: {}", path.display(), panel["title"]);
                found.push((
                    place,
                    target["expr"]
                        .as_str()
                        .expect("a dashboard as Grafana takes it")
                        .to_owned(),
                ));
            }
        }
    }
    let rules = std::fs::read_to_string(checkout("deploy/prometheus/rules.yml"))
        .expect("a dashboard as Grafana takes it");
    let rules = rules
        .lines()
        .filter_map(|line| line.trim().strip_prefix("expr: "));
    found.extend(rules.map(|rule| ("rules.yml".to_owned(), rule.to_owned())));
    found
}

#[test]
fn dashboards_and_alerts_ask_only_for_what_is_documented() {
    let documented = documented();
    let expressions = expressions();
    assert!(expressions.len() > 60, "only {}", expressions.len());
    for (place, expression) in expressions {
        let names: BTreeSet<_> = words(&expression)
            .filter(|word| word.starts_with("casement_"))
            .collect();
        let mut labels: BTreeSet<&str> = ["le", "role", "job"].into();
        for name in &names {
            let base = ["_bucket", "_sum", "_count"]
                .iter()
                .filter_map(|suffix| name.strip_suffix(suffix))
                .find(|base| documented.contains_key(*base))
                .unwrap_or(name);
            let Some(row) = documented.get(base) else {
                panic!("{place}: nobody counts {name}");
            };
            let is_histogram = row.contains("| histogram |");
            assert_eq!(is_histogram, base != *name, "{place}: {name}");
            let of_row = row.split('|').nth(3).unwrap_or_default();
            labels.extend(of_row.split('`').skip(1).step_by(2));
        }
        for by in expression.split("by (").skip(1) {
            let by = by.split(')').next().unwrap_or_default();
            for label in by.split(", ") {
                assert!(labels.contains(label), "{place}: no label {label}");
            }
        }
    }
}

#[test]
fn what_grafana_is_given_belongs_together() {
    let read = |path: &str| std::fs::read_to_string(checkout(path)).unwrap();
    let compose = read("docker-compose.yml");
    let folder = "/var/lib/casement/dashboards";
    assert!(compose.contains(&format!("./deploy/grafana/dashboards:{folder}:ro")));
    assert!(read("deploy/grafana/provisioning/dashboards/casement.yaml").contains(folder));
    let sources = read("deploy/grafana/provisioning/datasources/casement.yaml");
    assert!(sources.contains("uid: prometheus") && sources.contains("http://prometheus:9090"));
    let env = read("deploy/otel/role.env");
    assert!(env.contains("CASEMENT__TELEMETRY__OTLP_ENDPOINT=http://otel-collector:4317"));
    for image in compose
        .lines()
        .filter_map(|line| line.trim().strip_prefix("image: "))
    {
        assert!(
            !image.ends_with("latest") && image.contains(':'),
            "{image} is not pinned"
        );
    }
}
