//! Claims about processes of a test.

use std::os::unix::process::ExitStatusExt;
use std::process::Command;

use casement_testkit::{Process, free_port};

fn shell(script: &str) -> Process {
    Process::start(Command::new("sh").arg("-c").arg(script))
}

#[tokio::test]
async fn output_is_kept_and_can_be_waited_for() {
    let mut process = shell("echo ready; echo trouble >&2; read never; exec sleep 60 || exit 1");
    process
        .wait_for_stdout("it is ready", |text| text.contains("ready\n"))
        .await;
    process
        .wait_for_stderr("it complains", |text| text.contains("trouble"))
        .await;
    // There is no input: `read` fails and the shell becomes `sleep`.
    assert!(process.is_running());
}

#[tokio::test]
async fn a_polite_end_and_an_impolite_one() {
    let mut polite = shell("trap 'exit 7' TERM; echo up; while :; do sleep 0.01; done");
    polite
        .wait_for_stdout("it is up", |text| text.contains("up"))
        .await;
    polite.pause();
    polite.terminate();
    assert!(polite.is_running(), "a paused process cannot obey");
    polite.resume();
    assert_eq!(polite.wait().await.code(), Some(7));

    let mut deaf = shell("trap '' TERM INT; echo up; while :; do sleep 0.01; done");
    deaf.wait_for_stdout("it is up", |text| text.contains("up"))
        .await;
    deaf.terminate();
    deaf.interrupt();
    assert!(deaf.is_running());
    deaf.kill9();
    assert!(!deaf.is_running());
    assert_eq!(deaf.wait().await.signal(), Some(9));
}

#[tokio::test]
async fn waiting_for_the_output_of_a_process_that_ended_fails_at_once() {
    let mut process = shell("echo no such file >&2; exit 3");
    let waiting = tokio::spawn(async move {
        process
            .wait_for_stdout("it is ready", |text| text.contains("ready"))
            .await;
    });
    let panic = waiting.await.unwrap_err().into_panic();
    let message = panic.downcast_ref::<String>().unwrap();
    assert!(message.contains("exit status: 3"), "{message}");
    assert!(message.contains("no such file"), "{message}");
}

#[test]
fn a_free_port_can_be_bound() {
    let port = free_port();
    assert!(std::net::TcpListener::bind(("127.0.0.1", port)).is_ok());
}
