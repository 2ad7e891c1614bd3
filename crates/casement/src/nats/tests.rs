//! Claims about our own broker, with a real one.

use std::process::ExitStatus;

use casement_testkit::nats_server_bin;

use super::*;

fn config() -> OwnServer {
    OwnServer {
        listen: "127.0.0.1:0".parse().unwrap(),
        binary: Some(nats_server_bin()),
        ..OwnServer::default()
    }
}

/// Waits until the noted process is another than `before`.
async fn started_again(folder: &Path, before: &str) -> String {
    loop {
        let noted =
            std::fs::read_to_string(folder.join("nats/nats-server.pid")).unwrap_or_default();
        if !noted.is_empty() && noted != before {
            return noted;
        }
        tokio::task::yield_now().await;
    }
}

fn pid(text: &str) -> Pid {
    pid_of(text.parse().unwrap()).unwrap()
}

#[test]
fn the_configuration_asks_for_what_the_log_needs() {
    let text = configuration(
        "127.0.0.1:4222".parse().unwrap(),
        "127.0.0.1:8222".parse().unwrap(),
        Path::new("da\"ta/nats"),
        64,
    );
    for needed in [
        "listen: \"127.0.0.1:4222\"",
        "http: \"127.0.0.1:8222\"",
        "sync_interval: always",
        "max_payload: 8MB",
        "max_file_store: 64GB",
        r#"store_dir: "da\"ta/nats/store""#,
    ] {
        assert!(text.contains(needed), "{needed} is not in\n{text}");
    }
}

#[tokio::test]
async fn it_is_fit_for_the_log_and_is_started_again_when_killed() {
    let folder = tempfile::tempdir().unwrap();
    let nats = Nats::start(&config(), folder.path()).await.unwrap();
    let log = casement_event_log::Config {
        servers: nats.url(),
        monitoring: Some(nats.monitoring()),
        ..casement_event_log::Config::default()
    };
    casement_event_log::Log::connect(&log).await.unwrap();

    let first = started_again(folder.path(), "").await;
    kill_process(pid(&first), Signal::KILL).unwrap();
    let second = started_again(folder.path(), &first).await;
    casement_event_log::Log::connect(&log).await.unwrap();

    nats.stop().await;
    assert!(
        kill_process(pid(&second), Signal::TERM).is_err(),
        "it still runs"
    );
}

#[tokio::test]
async fn a_taken_port_names_the_flag_that_moves_it() {
    let folder = tempfile::tempdir().unwrap();
    let taken = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let config = OwnServer {
        listen: taken.local_addr().unwrap(),
        ..config()
    };
    let error = Nats::start(&config, folder.path())
        .await
        .map(|_| ())
        .unwrap_err();
    assert!(error.to_string().contains("--nats-listen"), "{error:#}");
}

#[tokio::test]
async fn a_broker_left_behind_by_a_killed_process_is_ended_first() {
    let folder = tempfile::tempdir().unwrap();
    let config = OwnServer {
        listen: ports::free_address().await.unwrap(),
        ..config()
    };
    let nats = Nats::start(&config, folder.path()).await.unwrap();
    let first = started_again(folder.path(), "").await;
    // As after a kill -9 of ours: nobody keeps it any more, and it runs on.
    nats.keeper.abort();
    let orphan = orphan(folder.path()).await;
    assert_ne!(orphan, first);
    let nats = Nats::start(&config, folder.path()).await.unwrap();
    started_again(folder.path(), &orphan).await;
    nats.stop().await;
}

/// Starts a broker with our configuration that nobody keeps, once the port is free.
async fn orphan(folder: &Path) -> String {
    let conf = folder.join("nats/nats-server.conf");
    let program = nats_server_bin();
    loop {
        let mut child = Command::new(&program)
            .arg("-c")
            .arg(&conf)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let id = child.id().unwrap();
        left_behind::note(&folder.join("nats"), id);
        let ended: Option<ExitStatus> = timeout(Duration::from_millis(500), child.wait())
            .await
            .ok()
            .transpose()
            .unwrap();
        if ended.is_none() {
            return id.to_string();
        }
    }
}

#[test]
fn a_program_that_is_not_there_is_told_with_who_named_it() {
    let error = find(Some(Path::new("nowhere/nats-server")), None).unwrap_err();
    assert!(
        error.to_string().contains("log.own_server.binary"),
        "{error}"
    );
    let error = find(None, Some("nowhere/nats-server")).unwrap_err();
    assert!(error.to_string().contains(PROGRAM_VARIABLE), "{error}");
}
