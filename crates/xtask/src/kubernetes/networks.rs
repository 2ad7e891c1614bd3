//! Network policies: each network of Compose is one, and nothing else is open.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::compose::Service;
use super::of_kind;

/// The one network that leads out.
const OUTSIDE: &str = "outside";

/// Whose far end is run by others, in a namespace that has the network's label.
const LOOKED_AT: &str = "observability";

/// Published by Compose for people on the same machine; here they forward its port.
const NOT_PUBLISHED: [&str; 1] = ["simulator"];

/// Compares the policies with the networks of the services that are there.
pub(super) fn check(objects: &[Value], services: &[(&str, &Service)]) -> Vec<String> {
    let wanted = wanted(services);
    let found: BTreeMap<&str, &Value> = of_kind(objects, "NetworkPolicy")
        .map(|(name, object)| (name, &object["spec"]))
        .collect();
    let mut wrong = Vec::new();
    for (name, spec) in &wanted {
        match found.get(name.as_str()) {
            None => wrong.push(format!("NetworkPolicy `{name}` is missing")),
            Some(is) if *is != spec => wrong.push(format!(
                "NetworkPolicy `{name}` is not what docker-compose.yml has: it must be {spec}"
            )),
            Some(_) => {}
        }
    }
    let has_database = services.iter().any(|(name, _)| *name == "postgres");
    for (name, spec) in found {
        if wanted.contains_key(name) || (!has_database && is_way_to_database(spec)) {
            continue;
        }
        wrong.push(format!(
            "NetworkPolicy `{name}` opens what docker-compose.yml does not"
        ));
    }
    wrong
}

/// Every policy that there has to be, with its spec.
fn wanted(services: &[(&str, &Service)]) -> BTreeMap<String, Value> {
    let mut all = BTreeMap::from([
        (
            "nobody".to_owned(),
            json!({ "podSelector": {}, "policyTypes": ["Ingress", "Egress"] }),
        ),
        ("names".to_owned(), names()),
    ]);
    let networks: BTreeSet<&String> = services
        .iter()
        .flat_map(|(_, service)| &service.networks)
        .collect();
    for name in networks {
        all.insert(name.clone(), network(name));
    }
    for (name, service) in services {
        if !service.published.is_empty() && !NOT_PUBLISHED.contains(name) {
            all.insert(format!("published-{name}"), published(name, service));
        }
    }
    all
}

/// The cluster's own names.
fn names() -> Value {
    json!({
        "podSelector": {},
        "policyTypes": ["Egress"],
        "egress": [{
            "to": [{ "namespaceSelector": { "matchLabels": { "kubernetes.io/metadata.name": "kube-system" } } }],
            "ports": [{ "protocol": "UDP", "port": 53 }, { "protocol": "TCP", "port": 53 }],
        }],
    })
}

/// Who is on a network reaches who is on it.
fn network(name: &str) -> Value {
    let mut labels = serde_json::Map::new();
    labels.insert(format!("casement.dev/network-{name}"), json!("true"));
    let selector = json!({ "matchLabels": labels });
    let mut peers = vec![json!({ "podSelector": selector })];
    if name == LOOKED_AT {
        peers.push(json!({ "namespaceSelector": selector }));
    }
    let mut egress = vec![json!({ "to": peers })];
    if name == OUTSIDE {
        egress.push(json!({ "to": [
            { "ipBlock": { "cidr": "0.0.0.0/0", "except": ["169.254.0.0/16"] } },
            { "ipBlock": { "cidr": "::/0", "except": ["fe80::/10", "fd00:ec2::254/128"] } },
        ] }));
    }
    json!({
        "podSelector": selector,
        "policyTypes": ["Ingress", "Egress"],
        "ingress": [{ "from": peers }],
        "egress": egress,
    })
}

fn published(name: &str, service: &Service) -> Value {
    let ports: Vec<Value> = service
        .published
        .iter()
        .map(|port| json!({ "protocol": "TCP", "port": port }))
        .collect();
    json!({
        "podSelector": { "matchLabels": { "app.kubernetes.io/name": name } },
        "policyTypes": ["Ingress"],
        "ingress": [{ "ports": ports }],
    })
}

/// Whether it opens the way of the database's users to its port and nothing more; where to is the
/// installation's own.
fn is_way_to_database(spec: &Value) -> bool {
    let rules = spec["egress"].as_array().map_or(&[][..], Vec::as_slice);
    spec["podSelector"] == json!({ "matchLabels": { "casement.dev/network-data": "true" } })
        && spec["policyTypes"] == json!(["Egress"])
        && spec["ingress"].is_null()
        && !rules.is_empty()
        && rules
            .iter()
            .all(|rule| rule["ports"] == json!([{ "protocol": "TCP", "port": 5432 }]))
}
