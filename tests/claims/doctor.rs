//! `casement doctor` finds what is wrong and says what to do, in one line a check, and changes
//! nothing.

mod told;

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;

use async_nats::jetstream;
use async_nats::jetstream::stream::DiscardPolicy;
use casement_shell::SystemClock;
use casement_shell::clock::Clock as _;
use casement_simulator::TokenConfig;
use casement_testkit::{NatsServer, free_port};
use casement_tests::{ACCESS_TOKEN, NUMBER, Options, Stack, WABA};
use jiff::SignedDuration;
use tempfile::TempDir;

use told::{Told, doctor, in_folder};

async fn of(stack: &Stack, more: &[&str]) -> Told {
    let mut all = vec!["--config", "casement.toml"];
    all.extend(more);
    doctor(stack.program(), &all).await
}

async fn unstarted() -> Stack {
    Stack::without_roles(&Options::default()).await
}

#[tokio::test]
async fn with_everything_well_every_line_is_ok() {
    let stack = Stack::start().await;
    let ana = stack.customer("+15550002222");
    stack.says(&ana, "Hello");
    stack.clients().open_window("+15550002222").await;
    let calls_before = stack.simulator.sent_count();

    let told = of(&stack, &[]).await;
    let others: Vec<_> = told
        .checks
        .iter()
        .filter(|check| check["status"] != "ok")
        .collect();
    assert!(others.is_empty(), "{others:?}");
    assert_eq!(told.code, Some(0));
    for (check, words) in [
        ("configuration", "casement.toml"),
        ("secret files", "3"),
        ("API tokens", "1 may call"),
        ("accounts", "1 number(s), 2 template(s)"),
        ("listen webhooks", "takes the verify token"),
        ("broker version", "2."),
        ("broker JetStream", "at most"),
        ("broker max_payload", "MiB"),
        ("broker sync", "on disk"),
        ("clock", "agree"),
        ("stream RAW", "1 messages"),
        ("stream EVENTS", "of 8 GiB"),
        ("stream MESSAGES", "messages"),
        ("stream CUSTOMERS", "messages"),
        ("stream ACCOUNTS", "messages"),
        ("stream DEAD", "messages"),
        ("stream LEASES", "messages"),
        ("database", "SQLite"),
        ("database tables", "as this version wants"),
        ("database writes", "taken"),
        ("archive lag", ""),
        ("retention", ""),
        ("meta token ", "never ends"),
        ("meta app secret", "ingress.apps.default"),
        ("meta webhooks ", WABA),
        ("meta number +15550001111", "connected, quality green"),
        ("webhooks taken", "ago"),
        ("sms callbacks", "/webhooks/twilio"),
        ("sms account of +15550001111", "known to ingress"),
    ] {
        assert!(
            told.checks.iter().any(|line| {
                let name = line["check"].as_str().unwrap();
                name.starts_with(check) && line.to_string().contains(words)
            }),
            "no {check} with {words:?}: {}",
            told.text
        );
    }
    assert!(!told.text.contains("15550002222"), "of a customer nothing");
    assert_eq!(
        stack.simulator.sent_count(),
        calls_before,
        "nothing was sent"
    );

    // For people, the same lines.
    let mut command = stack.program();
    command.args(["doctor", "--config", "casement.toml", "--number", NUMBER]);
    for flag in ["--api-listen", "--health-listen"] {
        command.arg(flag).arg(format!("127.0.0.1:{}", free_port()));
    }
    let output = tokio::process::Command::from(command)
        .output()
        .await
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}");
    assert!(text.contains("\nok    stream EVENTS"), "{text}");
    assert!(
        text.trim_end().ends_with("0 warn, 0 fail, 0 not made"),
        "{text}"
    );
    stack.stop().await;
}

#[tokio::test]
async fn a_stream_changed_by_hand_is_told_with_each_of_its_changes() {
    let stack = Stack::start().await;
    let context = jetstream::new(stack.nats.client().await);
    let mut info = context.get_stream("EVENTS").await.unwrap();
    let mut changed = info.info().await.unwrap().config.clone();
    changed.discard = DiscardPolicy::Old;
    changed
        .subjects
        .retain(|subject| !subject.contains("foreign"));
    context.update_stream(changed).await.unwrap();
    let mut info = context.get_stream("DEAD").await.unwrap();
    let mut smaller = info.info().await.unwrap().config.clone();
    smaller.max_bytes /= 2;
    context.update_stream(smaller).await.unwrap();
    context.delete_stream("LEASES").await.unwrap();

    let told = of(&stack, &[]).await;
    told.tells("stream EVENTS", "fail", &["set discard to new"]);
    told.tells(
        "stream EVENTS",
        "fail",
        &["casement.events.foreign", "add the subjects"],
    );
    told.tells(
        "stream DEAD",
        "warn",
        &["log.sizes_mib", "nats stream edit DEAD --max-bytes="],
    );
    told.tells(
        "stream LEASES",
        "fail",
        &["not there", "restore the backup"],
    );
    told.tells("stream MESSAGES", "ok", &[]);
    assert_eq!(told.of_status("fail").len(), 3);
    assert_eq!(told.code, Some(1));
    stack.stop().await;
}

#[tokio::test]
async fn an_archive_that_does_not_get_on_is_told_once_it_is_late() {
    let mut stack = Stack::start().await;
    stack
        .process(casement_tests::Role::AuditProjector, 0)
        .kill9();
    let ana = stack.customer("+15550002222");
    stack.says(&ana, "Hello");
    stack.clients().open_window("+15550002222").await;
    let told = of(&stack, &[]).await;
    told.tells("archive lag", "ok", &["event(s), the oldest stored"]);
    let told = of(&stack, &["--set", "archive.lag_alarm=1ms"]).await;
    told.fails_alone("archive lag", &["event(s)", "start the audit-projector"]);
    stack.stop().await;
}

#[tokio::test]
async fn without_a_broker_all_that_does_not_need_it_is_checked_all_the_same() {
    let mut stack = unstarted().await;
    stack.nats.kill();
    let told = of(&stack, &[]).await;
    told.fails_alone(
        "broker",
        &[
            "no broker answers",
            "start it, or name another with log.servers",
        ],
    );
    for check in ["broker sync", "clock", "streams", "archive lag"] {
        told.tells(check, "skip", &["not checked: "]);
    }
    told.tells("database tables", "ok", &["none yet"]);
    told.tells("meta number +15550001111", "ok", &["connected"]);
    told.tells("sms account of +15550001111", "ok", &[]);
    stack.stop().await;
}

#[tokio::test]
async fn a_broker_with_wrong_settings_is_told_each_of_them() {
    let broker = NatsServer::builder()
        .monitoring(true)
        .sync_always(false)
        .max_payload("1MB")
        .max_file_store("1GB")
        .start()
        .await;
    let stack = unstarted().await;
    let servers = format!("log.servers={}", broker.url());
    let monitoring = broker
        .monitoring_url()
        .replace("http://", "log.monitoring=");
    let told = of(&stack, &["--set", &servers, "--set", &monitoring]).await;
    told.tells("broker max_payload", "fail", &["set `max_payload: 8MB`"]);
    told.tells("broker sync", "fail", &["set `sync_interval: always`"]);
    told.tells("broker JetStream", "fail", &["raise max_file_store"]);
    told.tells("stream EVENTS", "ok", &["the first start creates it"]);
    assert_eq!(told.of_status("fail").len(), 3);

    let told = of(&stack, &["--set", &servers, "--set", "log.monitoring="]).await;
    told.tells(
        "broker sync",
        "fail",
        &["not known", "name its monitoring address"],
    );
    stack.stop().await;
}

#[tokio::test]
async fn an_unreachable_database_is_told_without_its_address() {
    let stack = unstarted().await;
    let url = format!(
        "archive.database_url=postgres://casement:hush-hush@127.0.0.1:{}/casement",
        free_port()
    );
    let path = "archive.database_path=data/archive.sqlite";
    let told = of(&stack, &["--set", &url, "--set", path]).await;
    told.fails_alone(
        "database",
        &["PostgreSQL", "start the server, or correct the address"],
    );
    told.tells("archive lag", "skip", &["not checked: "]);

    std::fs::write(stack.archive(), "no database, but a letter to the editor").unwrap();
    let told = of(&stack, &[]).await;
    told.fails_alone(
        "database",
        &["archive.sqlite", "see that it is the archive's file"],
    );
    stack.stop().await;
}

#[tokio::test]
async fn what_is_wrong_at_meta_is_told_with_what_to_do() {
    let stack = unstarted().await;
    let meta = &stack.simulator;
    let token = TokenConfig::new(ACCESS_TOKEN);
    let check = "meta token access-token";
    let now = SystemClock::new().now();
    for (changed, words) in [
        (
            TokenConfig {
                expires_at: Some(now),
                ..token.clone()
            },
            &["190/463", "expired", "System users"][..],
        ),
        (
            TokenConfig {
                revoked: true,
                ..token.clone()
            },
            &["190/467", "withdrawn", "System users"],
        ),
        (
            TokenConfig {
                scopes: vec!["whatsapp_business_management".to_owned()],
                ..token.clone()
            },
            &[
                "lacks whatsapp_business_messaging",
                "10 or 200",
                "System users",
            ],
        ),
    ] {
        meta.put_token(changed);
        let told = of(&stack, &[]).await;
        told.fails_alone(check, words);
    }
    meta.put_token(TokenConfig {
        expires_at: Some(now + SignedDuration::from_hours(30)),
        ..token.clone()
    });
    let told = of(&stack, &[]).await;
    told.tells(check, "warn", &["ends in 29 hours", "System users"]);
    assert_eq!(told.code, Some(0), "a warning is no failure");
    meta.put_token(token);

    meta.unsubscribe(WABA);
    let told = of(&stack, &[]).await;
    let words = ["not subscribed", "casement connect --waba"];
    told.fails_alone(&format!("meta webhooks {WABA}"), &words);
    assert!(!meta.is_subscribed(WABA), "it only looks");

    meta.set_number_status(casement_tests::PHONE_NUMBER_ID, "PENDING");
    let told = of(&stack, &[]).await;
    told.tells(
        "meta number +15550001111",
        "fail",
        &["133010", "register it"],
    );

    let secret = r#"ingress.apps.default.secrets=["another-app-secret"]"#;
    let told = of(&stack, &["--set", secret]).await;
    told.tells(
        "meta app secret",
        "fail",
        &["signature", "App settings, Basic"],
    );

    let nowhere = format!(
        "dispatcher.providers.graph_url=http://127.0.0.1:{}",
        free_port()
    );
    let told = of(&stack, &["--set", &nowhere]).await;
    told.fails_alone(check, &["does not answer", "HTTPS_PROXY"]);
    told.tells("meta number +15550001111", "skip", &["not checked: "]);
    stack.stop().await;
}

#[tokio::test]
async fn wrong_sms_credentials_are_told_and_so_are_callbacks_nobody_could_verify() {
    let stack = unstarted().await;
    let account = "sms account of +15550001111";
    let known = r#"ingress.twilio.accounts.default.auth_tokens=["another-token"]"#;
    let told = of(&stack, &["--set", known]).await;
    told.fails_alone(
        account,
        &["callbacks are signed", "ingress.twilio.accounts"],
    );

    std::fs::write(stack.path("twilio-token"), "hush-hush").unwrap();
    let told = of(&stack, &[]).await;
    told.fails_alone(account, &["20003", "401", "copy the auth token anew"]);

    let elsewhere = "dispatcher.providers.twilio_callback_url=https://hooks.example.com/twilio";
    let told = of(&stack, &["--set", elsewhere]).await;
    told.tells(
        "sms callbacks",
        "fail",
        &["signature is refused", "public_url"],
    );
    let none = "dispatcher.providers.twilio_callback_url=";
    let told = of(&stack, &["--set", none]).await;
    told.tells("sms callbacks", "warn", &["twilio_callback_url"]);
    stack.stop().await;
}

#[tokio::test]
async fn a_secret_that_everybody_may_read_is_told_with_the_command_that_mends_it() {
    let stack = unstarted().await;
    let secret = stack.path("access-token");
    std::fs::set_permissions(&secret, Permissions::from_mode(0o644)).unwrap();
    let shown = secret.display().to_string();
    let told = of(&stack, &[]).await;
    told.fails_alone(
        "secret files",
        &[&shown, "mode 0644", &format!("chmod 600 {shown}")],
    );

    std::fs::set_permissions(&secret, Permissions::from_mode(0o600)).unwrap();
    let config = stack.path("casement.toml");
    std::fs::set_permissions(&config, Permissions::from_mode(0o604)).unwrap();
    let told = of(&stack, &[]).await;
    told.fails_alone(
        "secret files",
        &["holds secrets", "chmod 600 casement.toml"],
    );

    std::fs::remove_file(&secret).unwrap();
    let told = of(&stack, &[]).await;
    told.tells("secret files", "fail", &[&shown, "put the secret there"]);
    stack.stop().await;
}

#[tokio::test]
async fn before_the_first_start_nothing_is_wrong() {
    let folder = TempDir::new().unwrap();
    let listen = |key: &str| format!("{key}=127.0.0.1:{}", free_port());
    let (webhooks, nats, simulator) = (
        listen("ingress.listen"),
        listen("log.own_server.listen"),
        listen("demo.simulator_listen"),
    );
    let more = [
        "--demo", "--set", &webhooks, "--set", &nats, "--set", &simulator,
    ];
    let told = doctor(in_folder(folder.path()), &more).await;
    assert_eq!(told.of_status("fail").len(), 0, "{}", told.text);
    assert_eq!(told.code, Some(0), "{}", told.text);
    told.tells("broker", "ok", &["nats-server", "which `up` starts"]);
    told.tells("streams", "skip", &["not checked: "]);
    told.tells("listen API", "ok", &["is free"]);
    told.tells("database tables", "ok", &["the first start makes them"]);
    let left: Vec<_> = std::fs::read_dir(folder.path()).unwrap().collect();
    assert!(left.is_empty(), "it makes nothing: {left:?}");
}

#[tokio::test]
async fn a_configuration_that_cannot_be_used_and_a_taken_port_are_told() {
    let folder = TempDir::new().unwrap();
    let told = doctor(in_folder(folder.path()), &["--set", "window.lenght=1h"]).await;
    told.fails_alone("configuration", &["lenght", "--print-config"]);
    told.tells("everything else", "skip", &["not checked: "]);

    let stranger = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = format!("ingress.listen={}", stranger.local_addr().unwrap());
    let clash = format!("health.listen={}", stranger.local_addr().unwrap());
    let mut command = in_folder(folder.path());
    command.args([
        "doctor", "--json", "--demo", "--set", &taken, "--set", &clash,
    ]);
    let output = tokio::process::Command::from(command)
        .output()
        .await
        .unwrap();
    let told = Told::of(&output);
    told.tells("configuration", "fail", &["have the same port"]);
    told.tells(
        "listen health",
        "fail",
        &["taken by another program", "--health-listen"],
    );
    told.tells(
        "listen webhooks",
        "fail",
        &["taken by another program", "--webhooks-listen"],
    );
}
