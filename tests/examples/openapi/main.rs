//! Holds the bodies that WhatsApp is sent against Meta's own OpenAPI schema.
//!
//! The bodies are the snapshots of `casement-whatsapp`, which its tests compare with what it
//! makes. The schema is older than some of what it describes: `overlay.json` says what is added to
//! it, each time why, and an entry that nothing needs is an error. The path of the schema is the
//! one argument; the schema itself is not a part of this house.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context as _, anyhow, bail, ensure};
use serde_json::{Map, Value, json};

/// Types that no schema knows: the sample that stands for what is newer than the crate.
const NEWER: [&str; 1] = ["poll"];

fn main() -> ExitCode {
    match run() {
        Ok((passed, failures)) => {
            for failure in &failures {
                say(failure);
            }
            say(&format!("{passed} passed, {} failed", failures.len()));
            if failures.is_empty() && passed > 0 {
                ExitCode::SUCCESS
            } else {
                ExitCode::FAILURE
            }
        }
        Err(error) => {
            say(&format!("openapi: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn run() -> anyhow::Result<(usize, Vec<String>)> {
    let path = std::env::args().nth(1).context("name the schema")?;
    let text = std::fs::read_to_string(&path).with_context(|| format!("{path} cannot be read"))?;
    let schema: Value = serde_saphyr::from_str(&text).context("the schema is no YAML")?;
    let schema = mended(schema)?;
    let overlay: Vec<Value> = serde_json::from_str(include_str!("overlay.json"))?;
    let bodies = bodies()?;
    ensure!(!bodies.is_empty(), "there are no bodies");

    let document = overlaid(&schema, &overlay, None)?;
    let mut failures = Vec::new();
    for (name, body) in &bodies {
        for problem in problems(&document, body)? {
            failures.push(format!("{name}: {problem}"));
        }
        // What the schema does not know has to be found, or it would find nothing.
        let mut odd = body.clone();
        odd["unheard_of"] = json!(true);
        if problems(&document, &odd)?.is_empty() {
            failures.push(format!("{name}: a field that is not known passes"));
        }
    }
    for (index, entry) in overlay.iter().enumerate() {
        let without = overlaid(&schema, &overlay, Some(index))?;
        let mut is_needed = false;
        for body in bodies.values() {
            is_needed |= !problems(&without, body)?.is_empty();
        }
        if !is_needed {
            failures.push(format!(
                "overlay: nothing needs the entry: {}",
                entry["why"]
            ));
        }
    }
    Ok((bodies.len(), failures))
}

/// The bodies by name, but for those of types that no schema knows. One more is addressed in
/// every way and answers a message.
fn bodies() -> anyhow::Result<BTreeMap<String, Value>> {
    let folder =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/whatsapp/src/send/body/snapshots");
    let mut bodies = BTreeMap::new();
    for entry in std::fs::read_dir(&folder).context("there are no snapshots")? {
        let path = entry?.path();
        let text = std::fs::read_to_string(&path)?;
        let name = path.file_stem().and_then(|name| name.to_str());
        let name = name.and_then(|name| name.rsplit_once("__body_"));
        let Some((_, name)) = name else {
            bail!("{} is named otherwise", path.display());
        };
        let body = text
            .splitn(3, "---\n")
            .nth(2)
            .context("a snapshot has no end of its head")?;
        let body: Value = serde_json::from_str(body).with_context(|| name.to_owned())?;
        if !NEWER.iter().any(|kind| body["type"] == *kind) {
            bodies.insert(name.to_owned(), body);
        }
    }
    let mut around = bodies.get("text").context("there is no text")?.clone();
    around["recipient"] = json!("US.13491208655302741918");
    around["context"] = json!({"message_id": "wamid.a"});
    around["messaging_account_id"] = json!("800100");
    let mut by_user_id = around.clone();
    by_user_id
        .as_object_mut()
        .context("an object")?
        .remove("to");
    bodies.insert("text, with all around it".to_owned(), around);
    bodies.insert("text, by user id".to_owned(), by_user_id);
    Ok(bodies)
}

/// Every type of message is a base and an object that has no other fields, which by the rules of
/// JSON Schema excludes those of the base. What is meant is: no others than those of both.
fn mended(mut schema: Value) -> anyhow::Result<Value> {
    let schemas = schema
        .pointer_mut("/components/schemas")
        .and_then(Value::as_object_mut)
        .context("the document has no schemas")?;
    for schema in schemas.values_mut() {
        let Some(parts) = schema.get_mut("allOf").and_then(Value::as_array_mut) else {
            continue;
        };
        for part in parts.iter_mut().filter_map(Value::as_object_mut) {
            part.remove("additionalProperties");
        }
        schema["unevaluatedProperties"] = json!(false);
    }
    Ok(schema)
}

/// The document with every entry of the overlay, but for one that is left out.
fn overlaid(schema: &Value, overlay: &[Value], left_out: Option<usize>) -> anyhow::Result<Value> {
    let mut document = schema.clone();
    let entries = overlay.iter().enumerate();
    for (_, entry) in entries.filter(|(index, _)| Some(*index) != left_out) {
        let at = entry["at"].as_str().context("an entry says no place")?;
        let place = document
            .pointer_mut(at)
            .ok_or_else(|| anyhow!("the schema has no {at}"))?;
        match (entry.get("merge"), entry.get("append"), &mut *place) {
            (Some(patch), None, place) => merge(place, patch),
            (None, Some(Value::Array(more)), Value::Array(all)) => all.extend(more.clone()),
            _ => bail!("{at}: an entry merges, or appends to a list"),
        }
    }
    Ok(document)
}

/// A merge patch (RFC 7396).
fn merge(into: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *into = patch.clone();
        return;
    };
    if !into.is_object() {
        *into = Value::Object(Map::new());
    }
    for (key, value) in patch {
        if value.is_null() {
            into.as_object_mut().map(|object| object.remove(key));
        } else {
            merge(&mut into[key], value);
        }
    }
}

/// What is wrong with a body, by the schema of its type.
fn problems(document: &Value, body: &Value) -> anyhow::Result<Vec<String>> {
    let kind = body["type"].as_str().context("a body has no type")?;
    let mapping = "/components/schemas/Message/discriminator/mapping";
    let of_kind = document.pointer(mapping).and_then(|it| it.get(kind));
    let Some(reference) = of_kind else {
        return Ok(vec![format!("the schema knows no type {kind}")]);
    };
    let schema = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$ref": reference,
        "components": document["components"],
    });
    let validator = jsonschema::validator_for(&schema).context("the schema is not usable")?;
    let problems = validator.iter_errors(body);
    Ok(problems
        .map(|problem| format!("{}: {problem}", problem.instance_path()))
        .collect())
}

#[expect(clippy::print_stdout, reason = "it is the outcome of the program")]
fn say(line: &str) {
    println!("{line}");
}
