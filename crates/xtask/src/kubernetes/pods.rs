//! What a pod may, and what it is given: as little as the same service of Compose.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::compose::{Service, bytes, list};
use super::{Workload, of_kind};
use crate::images;

/// Secrets that only a cluster has a use for: one of several gateways, one of several brokers.
const BEYOND_COMPOSE: [(&str, &str); 2] =
    [("gateway", "session-key"), ("nats", "nats-route-password")];

/// Two of them would be in each other's way: one, and the old one ends before the new one begins.
const ALONE: [&str; 1] = ["audit-projector"];

/// Kinds that are there all the time: they are asked how they are, and moved with care.
const LASTING: [&str; 2] = ["Deployment", "StatefulSet"];

/// Begins the labels that say which networks a pod is on.
const NETWORK: &str = "casement.dev/network-";

pub(super) fn check(workload: &Workload<'_>, service: &Service, objects: &[Value]) -> Vec<String> {
    let pod = &workload.template["spec"];
    let mut wrong = Vec::new();
    wrong.extend(locked_pod(pod));
    wrong.extend(networks(workload.template, service));
    wrong.extend(secrets(workload.name, pod, service));
    let containers: Vec<&Value> = list(&pod["initContainers"])
        .chain(list(&pod["containers"]))
        .collect();
    for container in &containers {
        wrong.extend(locked_container(container));
        wrong.extend(resources(container, service));
        let image = container["image"].as_str().unwrap_or_default();
        wrong.extend(images::unpinned(image));
    }
    let account = pod["serviceAccountName"].as_str().unwrap_or_default();
    if !of_kind(objects, "ServiceAccount").any(|(name, object)| {
        name == account && object["automountServiceAccountToken"] == json!(false)
    }) {
        wrong.push(format!(
            "its service account `{account}` is not there, or has a token"
        ));
    }
    if LASTING.contains(&workload.kind) {
        for container in list(&pod["containers"]) {
            for probe in ["startupProbe", "livenessProbe", "readinessProbe"] {
                if !container[probe].is_object() {
                    wrong.push(format!("has no `{probe}`"));
                }
            }
        }
        let selects = json!({ "matchLabels": { "app.kubernetes.io/name": workload.name } });
        if !of_kind(objects, "PodDisruptionBudget")
            .any(|(_, budget)| budget["spec"]["selector"] == selects)
        {
            wrong.push("has no disruption budget".to_owned());
        }
    }
    if ALONE.contains(&workload.name)
        && (workload.spec["replicas"] != json!(1)
            || workload.spec["strategy"]["type"] != json!("Recreate"))
    {
        wrong.push("must be one, with the strategy `Recreate`".to_owned());
    }
    wrong
        .into_iter()
        .map(|message| format!("{} `{}`: {message}", workload.kind, workload.name))
        .collect()
}

fn locked_pod(pod: &Value) -> Vec<String> {
    let mut wrong = Vec::new();
    for key in ["hostIPC", "hostNetwork", "hostPID", "shareProcessNamespace"] {
        if pod[key] == json!(true) {
            wrong.push(format!("`{key}` is set"));
        }
    }
    for key in ["automountServiceAccountToken", "enableServiceLinks"] {
        if pod[key] != json!(false) {
            wrong.push(format!("`{key}` must be false"));
        }
    }
    let security = &pod["securityContext"];
    if security["runAsNonRoot"] != json!(true) || security["runAsUser"].as_u64().unwrap_or(0) == 0 {
        wrong.push("may run as root".to_owned());
    }
    if security["seccompProfile"]["type"] != json!("RuntimeDefault") {
        wrong.push("has no seccomp profile `RuntimeDefault`".to_owned());
    }
    for volume in list(&pod["volumes"]) {
        if !volume["hostPath"].is_null() {
            wrong.push(format!("the volume {} is of the host", volume["name"]));
        }
    }
    wrong
}

fn locked_container(container: &Value) -> Vec<String> {
    let security = &container["securityContext"];
    let wanted = [
        ("allowPrivilegeEscalation", json!(false)),
        ("readOnlyRootFilesystem", json!(true)),
        ("capabilities", json!({ "drop": ["ALL"] })),
    ];
    let mut wrong: Vec<String> = wanted
        .iter()
        .filter(|(key, value)| security[key] != *value)
        .map(|(key, value)| format!("`{key}` must be {value}"))
        .collect();
    if security["privileged"] == json!(true) {
        wrong.push("is privileged".to_owned());
    }
    // What the pod says may be taken back here.
    for (key, bad) in [("runAsNonRoot", json!(false)), ("runAsUser", json!(0))] {
        if security[key] == bad {
            wrong.push("may run as root".to_owned());
        }
    }
    if !security["seccompProfile"].is_null() {
        wrong.push("has a seccomp profile of its own".to_owned());
    }
    wrong
}

fn resources(container: &Value, service: &Service) -> Vec<String> {
    let resources = &container["resources"];
    let mut wrong = Vec::new();
    for which in ["requests", "limits"] {
        for of in ["cpu", "memory"] {
            if resources[which][of].is_null() {
                wrong.push(format!("`resources.{which}.{of}` is missing"));
            }
        }
    }
    let memory = &resources["limits"]["memory"];
    if memory.as_str().and_then(bytes) != Some(service.memory) {
        wrong.push(format!(
            "its limit of memory is {memory}, in docker-compose.yml {} bytes",
            service.memory
        ));
    }
    wrong
}

fn networks(template: &Value, service: &Service) -> Option<String> {
    let labels = template["metadata"]["labels"].as_object();
    let on: BTreeSet<String> = labels
        .into_iter()
        .flatten()
        .filter_map(|(label, _)| Some(label.strip_prefix(NETWORK)?.to_owned()))
        .collect();
    (on != service.networks).then(|| {
        format!(
            "is on the networks {on:?}, in docker-compose.yml on {:?}",
            service.networks
        )
    })
}

fn secrets(name: &str, pod: &Value, service: &Service) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut given = BTreeMap::new();
    for volume in list(&pod["volumes"]) {
        let secret = &volume["secret"];
        if secret.is_null() {
            continue;
        }
        if !secret["items"].is_array() {
            wrong.push(format!(
                "is given all of the secret {}",
                secret["secretName"]
            ));
        }
        for item in list(&secret["items"]) {
            let part = |key: &str| item[key].as_str().unwrap_or_default().to_owned();
            if !BEYOND_COMPOSE.contains(&(name, &part("key"))) {
                given.insert(part("key"), part("path"));
            }
        }
    }
    if given != service.secrets {
        wrong.push(format!(
            "is given the secrets {given:?}, in docker-compose.yml {:?}",
            service.secrets
        ));
    }
    let containers = list(&pod["initContainers"]).chain(list(&pod["containers"]));
    for variable in containers.flat_map(|container| list(&container["env"])) {
        if !variable["valueFrom"]["secretKeyRef"].is_null() {
            wrong.push(format!(
                "the variable {} holds a secret: files do",
                variable["name"]
            ));
        }
    }
    wrong
}
