//! The programs under `docs/examples`, started as their users start them.
//!
//! `./dev setup` installs what they need and generates their code. What is missing is a panic
//! that says so: no test skips.

use std::path::PathBuf;
use std::process::Command;

use casement_testkit::casement_bin;

/// The subscriber in Rust, a program of this workspace; without its arguments, as all of these.
pub fn rust_subscriber() -> Command {
    program(casement_bin().with_file_name("casement-example-subscriber"))
}

/// What `casement subscriber add` prints in Rust, compiled.
pub fn rust_listener() -> Command {
    program(casement_bin().with_file_name("casement-example-listen"))
}

/// The subscriber in Python, with the interpreter that `./dev setup` made.
pub fn python_subscriber() -> Command {
    python("subscriber/python/subscribe.py")
}

/// The subscriber in JavaScript, with the `node` on the path.
pub fn node_subscriber() -> Command {
    node("docs/examples/subscriber/node/subscribe.js", "gen")
}

/// The gRPC client in Python.
pub fn python_client() -> Command {
    python("client/python/client.py")
}

/// The gRPC client in JavaScript.
pub fn node_client() -> Command {
    node("docs/examples/client/node/client.js", "gen")
}

/// What `tests/asyncapi/validate.js` makes of the document: valid, as JSON, references resolved.
///
/// # Panics
/// When the document is not valid, with what is wrong with it.
pub fn asyncapi() -> serde_json::Value {
    let output = node("tests/asyncapi/validate.js", "node_modules")
        .arg(checkout("docs/asyncapi.yaml"))
        .output()
        .expect("node can be started");
    assert!(
        output.status.success(),
        "docs/asyncapi.yaml is not valid:\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    serde_json::from_slice(&output.stdout).expect("the validator writes JSON")
}

fn python(script: &str) -> Command {
    let mut command = program(checkout(".dev/python/bin/python"));
    command.arg(beside(&format!("docs/examples/{script}"), "gen"));
    command
}

fn node(script: &str, needed: &str) -> Command {
    let mut command = Command::new("node");
    command.arg(beside(script, needed));
    command
}

/// A script that cannot run without what stands beside it.
fn beside(script: &str, needed: &str) -> PathBuf {
    let script = checkout(script);
    let needed = script.with_file_name(needed);
    assert!(
        needed.exists(),
        "there is no {}: run ./dev setup",
        needed.display()
    );
    script
}

fn program(path: PathBuf) -> Command {
    assert!(
        path.is_file(),
        "there is no {}: run ./dev setup and `cargo build --workspace`",
        path.display()
    );
    Command::new(path)
}

fn checkout(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("..")
        .join(path)
}
