//! What a newcomer sees.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use casement_testkit::{casement_bin, free_port, nats_server_bin};
use tempfile::TempDir;

/// Runs the demo to its end, with more flags.
async fn tells_its_story(folder: &Path, flags: &[&str]) {
    let mut command = Command::new(casement_bin());
    command
        .current_dir(folder)
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
    command.args(flags);
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

#[tokio::test]
async fn the_demo_tells_its_story_and_all_of_it_comes_true() {
    let folder = TempDir::new().unwrap();
    tells_its_story(folder.path(), &[]).await;
}

#[tokio::test]
async fn the_demo_tells_its_story_behind_tls_that_asks_for_certificates() {
    let folder = TempDir::new().unwrap();
    let key = rcgen::KeyPair::generate().unwrap();
    let params = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let made = params.self_signed(&key).unwrap();
    let (certificate, of_key) = (folder.path().join("c.pem"), folder.path().join("k.pem"));
    std::fs::write(&certificate, made.pem()).unwrap();
    std::fs::write(&of_key, key.serialize_pem()).unwrap();
    let config = folder.path().join("casement.toml");
    let text = format!(
        "[api]\ntls = {{ certificate = \"{0}\", key = \"{1}\", client_ca = \"{0}\" }}\n",
        certificate.display(),
        of_key.display()
    );
    std::fs::write(&config, text).unwrap();
    let config = config.display().to_string();
    tells_its_story(folder.path(), &["--config", &config]).await;
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
