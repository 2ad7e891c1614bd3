//! What `docker-compose.yml` says of each service, as far as a cluster has to say the same.
//!
//! Anchors and merges are resolved as YAML has them; variables are not: no value that is read here
//! comes from one.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::Services;

/// A service.
#[derive(Debug)]
pub(crate) struct Service {
    pub(super) networks: BTreeSet<String>,
    /// In bytes; 0 for no limit.
    pub(super) memory: u64,
    /// The secrets that it gets, and under which names.
    pub(super) secrets: BTreeMap<String, String>,
    /// Its ports that are published.
    pub(super) published: BTreeSet<u64>,
    /// It belongs to a profile.
    pub(super) is_optional: bool,
}

/// Reads the file's services.
pub(super) fn read(text: &str) -> Result<Services, String> {
    let whole: Value =
        serde_saphyr::from_str(text).map_err(|error| format!("is no YAML: {error}"))?;
    let services = whole["services"]
        .as_object()
        .ok_or_else(|| "has no services".to_owned())?;
    services
        .iter()
        .map(|(name, said)| {
            let service = service(said).map_err(|error| format!("`{name}`: {error}"))?;
            Ok((name.clone(), service))
        })
        .collect()
}

fn service(said: &Value) -> Result<Service, String> {
    let memory = said["mem_limit"].as_str().unwrap_or("0");
    Ok(Service {
        networks: words(&said["networks"]).map(str::to_owned).collect(),
        memory: bytes(memory).ok_or_else(|| format!("`mem_limit: {memory}` is not understood"))?,
        secrets: list(&said["secrets"]).map(secret).collect(),
        published: words(&said["ports"])
            .filter_map(|port| port.rsplit(':').next()?.parse().ok())
            .collect(),
        is_optional: list(&said["profiles"]).next().is_some(),
    })
}

/// `name`, or a source and where it goes.
fn secret(said: &Value) -> (String, String) {
    if let Some(name) = said.as_str() {
        return (name.to_owned(), name.to_owned());
    }
    let part = |key: &str| said[key].as_str().unwrap_or_default().to_owned();
    (part("source"), part("target"))
}

/// A size as Compose writes it, or a quantity of Kubernetes: `512m`, `6g`, `512Mi`, `6Gi`.
pub(super) fn bytes(size: &str) -> Option<u64> {
    let size = size.trim_end_matches('i');
    let digits = size.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let factor = match size[digits.len()..].to_ascii_lowercase().as_str() {
        "" => 1,
        "k" => 1 << 10,
        "m" => 1 << 20,
        "g" => 1 << 30,
        _ => return None,
    };
    digits.parse::<u64>().ok()?.checked_mul(factor)
}

pub(super) fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn words(value: &Value) -> impl Iterator<Item = &str> {
    list(value).filter_map(Value::as_str)
}
