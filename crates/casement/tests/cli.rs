//! What scripts rely on: exit codes, and what goes to which output.

use std::process::{Command, Output};

use casement_testkit::free_port;

/// sysexits.h: the command or its configuration is wrong.
const EX_USAGE: i32 = 64;

fn casement(arguments: &[&str]) -> Output {
    let folder = tempfile::tempdir().expect("a folder for temporary files");
    Command::new(env!("CARGO_BIN_EXE_casement"))
        .args(arguments)
        .current_dir(folder.path())
        .env_remove("CASEMENT_TOKEN")
        .env_remove("CASEMENT_API")
        .env_remove("CASEMENT_NUMBER")
        .output()
        .expect("the binary that was built for this test")
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_wrong_command_or_configuration_ends_with_64_and_says_what_is_wrong() {
    for (arguments, told) in [
        (&["fly"][..], "fly"),
        (&["up", "--set", "window.lenght=1h"], "window.lenght"),
        (&["up", "--config", "nowhere.toml"], "nowhere.toml"),
        (&["up"], "customers.token_key"),
        (&["ingress"], "log.servers"),
        (&["up", "--demo", "--set", "window.leads=[\"1h\"]"], "leads"),
        (
            &["window", "--number", "+1", "--to", "+2"],
            "CASEMENT_TOKEN",
        ),
        (&["simulate", "--script", "nowhere.toml"], "nowhere.toml"),
    ] {
        let output = casement(arguments);
        assert!(
            stderr(&output).contains(told),
            "{told} in {}",
            stderr(&output)
        );
        assert_eq!(stdout(&output), "", "{arguments:?}");
        assert_eq!(output.status.code(), Some(EX_USAGE), "{arguments:?}");
    }
}

#[test]
fn what_was_asked_for_goes_to_standard_output() {
    for (arguments, told) in [
        (&["--help"][..], "audit-projector"),
        (&["--version"], "casement"),
        (&["up", "--demo", "--print-config"], "length = \"20s\""),
    ] {
        let output = casement(arguments);
        assert!(output.status.success(), "{}", stderr(&output));
        assert!(
            stdout(&output).contains(told),
            "{told} in {}",
            stdout(&output)
        );
        assert_eq!(stderr(&output), "");
    }
}

#[test]
fn the_demo_is_checked_without_being_started() {
    let output = casement(&["up", "--demo", "--check-config"]);
    assert!(output.status.success(), "{}", stderr(&output));
    assert_eq!(stdout(&output), "");
}

#[test]
fn the_printed_configuration_has_no_secret() {
    let output = casement(&["up", "--demo", "--print-config"]);
    for secret in [
        "demo-token\"",
        "demo-app-secret",
        "demo-verify-token",
        "demo-twilio-token",
        "no-secret",
    ] {
        assert!(
            !stdout(&output).contains(secret),
            "{secret} in {}",
            stdout(&output)
        );
    }
}

#[test]
fn a_client_that_finds_nobody_says_where_it_asked_and_what_to_run() {
    let api = format!("http://127.0.0.1:{}", free_port());
    let arguments = [
        "window",
        "--api",
        &api,
        "--token",
        "t",
        "--number",
        "+15550001111",
        "--to",
        "+15550100001",
    ];
    let output = casement(&arguments);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains(&api), "{}", stderr(&output));
    assert!(
        stderr(&output).contains("casement up"),
        "{}",
        stderr(&output)
    );

    let page = format!("{api}/readyz");
    let output = casement(&["healthcheck", &page]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains(&page), "{}", stderr(&output));
}
