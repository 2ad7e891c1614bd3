//! What a newcomer sees.

use std::process::Command;
use std::time::Duration;

use casement_testkit::{casement_bin, free_port, nats_server_bin};
use tempfile::TempDir;

#[tokio::test]
async fn the_demo_tells_its_story_and_all_of_it_comes_true() {
    let folder = TempDir::new().unwrap();
    let mut command = Command::new(casement_bin());
    command
        .current_dir(folder.path())
        .env("CASEMENT_NATS_SERVER", nats_server_bin());
    command.args(["up", "--demo", "--ephemeral", "--exit-after-story"]);
    for flag in [
        "--api-listen",
        "--console-listen",
        "--webhooks-listen",
        "--health-listen",
        "--nats-listen",
        "--simulator-listen",
    ] {
        command.arg(flag).arg(format!("127.0.0.1:{}", free_port()));
    }
    let mut process = casement_testkit::Process::start(&mut command).gently();

    let ended = tokio::time::timeout(Duration::from_mins(2), process.wait()).await;

    let told = process.stdout();
    let ended = ended.unwrap_or_else(|_| panic!("it goes on and on: {told}\n{}", process.stderr()));
    assert!(ended.success(), "{told}\n{}", process.stderr());
    for word in [
        "WindowOpened",
        "free-form",
        "WindowExpired",
        "template",
        "SMS",
        "MessageHeld",
        "VerifyChain",
    ] {
        assert!(told.contains(word), "{word:?} is not told: {told}");
    }
}

#[test]
fn a_wrong_configuration_ends_with_64_and_says_what_is_wrong() {
    let output = Command::new(casement_bin())
        .args(["up", "--set", "window.lenght=24h"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(64));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("lenght"), "{said}");
}
