//! `cargo xtask kubernetes FILE…`: holds rendered manifests to what `docker-compose.yml` says.
//!
//! Both describe the same services. Whatever one forbids a container, the other has to forbid, too:
//! hardening, memory, secrets, networks, ports. That objects are well-formed is another's business: a
//! schema is asked before (`./dev kubernetes`).

mod compose;
mod networks;
mod pods;

use std::collections::BTreeMap;

use serde_json::Value;

use crate::Problem;
use crate::tree::File;
use compose::Service;

/// What is said where a service of Compose has no place in the cluster.
const ELSEWHERE: [&str; 2] = ["postgres", "subscriber"];

/// What Compose says, by service.
pub(crate) type Services = BTreeMap<String, Service>;

/// One object of the cluster that starts pods.
#[derive(Debug)]
struct Workload<'a> {
    kind: &'a str,
    name: &'a str,
    /// Its `spec`.
    spec: &'a Value,
    /// What its pods are made by.
    template: &'a Value,
}

/// Returns what is wrong with rendered manifests.
pub(crate) fn check(compose: &File, rendered: &File) -> Vec<Problem> {
    let services = match compose::read(&compose.text) {
        Ok(services) => services,
        Err(error) => return vec![Problem::new(compose, 0, error)],
    };
    let objects: Vec<Value> = match serde_saphyr::from_multiple(&rendered.text) {
        Ok(objects) => objects,
        Err(error) => return vec![Problem::new(rendered, 0, format!("is no YAML: {error}"))],
    };
    let found: Vec<Workload<'_>> = objects.iter().filter_map(workload).collect();
    let mut problems = Vec::new();
    for workload in &found {
        let name = workload.name;
        match services.get(name) {
            Some(service) => problems.extend(pods::check(workload, service, &objects)),
            None => problems.push(format!(
                "{} `{name}`: docker-compose.yml has no service of that name",
                workload.kind
            )),
        }
    }
    let is_found = |name: &str| found.iter().any(|workload| workload.name == name);
    for (name, service) in &services {
        if !service.is_optional && !ELSEWHERE.contains(&name.as_str()) && !is_found(name) {
            problems.push(format!(
                "the service `{name}` of docker-compose.yml is missing"
            ));
        }
    }
    let present: Vec<(&str, &Service)> = found
        .iter()
        .filter_map(|workload| Some((workload.name, services.get(workload.name)?)))
        .collect();
    problems.extend(networks::check(&objects, &present));
    problems
        .into_iter()
        .map(|message| Problem::new(rendered, 0, message))
        .collect()
}

fn workload(object: &Value) -> Option<Workload<'_>> {
    let spec = &object["spec"];
    let kind = object["kind"].as_str()?;
    let template = match kind {
        "CronJob" => &spec["jobTemplate"]["spec"]["template"],
        "DaemonSet" | "Deployment" | "Job" | "ReplicaSet" | "StatefulSet" => &spec["template"],
        // With neither template nor owner.
        "Pod" => object,
        _ => return None,
    };
    Some(Workload {
        kind,
        name: object["metadata"]["name"].as_str().unwrap_or_default(),
        spec,
        template,
    })
}

/// The objects of a kind, by name.
fn of_kind<'a>(objects: &'a [Value], kind: &str) -> impl Iterator<Item = (&'a str, &'a Value)> {
    objects
        .iter()
        .filter(move |object| object["kind"] == kind)
        .map(|object| {
            (
                object["metadata"]["name"].as_str().unwrap_or_default(),
                object,
            )
        })
}

#[cfg(test)]
mod tests;
