//! The guide to a first real message, played against the simulator with the commands it names:
//! from a number at Meta to an answered message, and each thing that goes wrong on the way.

mod scene;

use std::process::Command;

use casement_shell::SystemClock;
use casement_shell::clock::Clock as _;
use casement_simulator::{MessageKind, NumberConfig, Outcome, TokenConfig};
use casement_testkit::{casement_bin, eventually, free_port};
use jiff::SignedDuration;
use serde_json::Value;

use scene::{
    ANA, APP_SECRET, BEN, META_TOKEN, NUMBER, OTHER_NUMBER_ID, OTHER_WABA, PHONE_NUMBER_ID, Scene,
    TEMPLATE, VERIFY_TOKEN, WABA, codes, json, stderr, stdout,
};

const BY_TEMPLATE: [&str; 6] = [
    "--template",
    TEMPLATE,
    "--language",
    "en_US",
    "--purpose",
    "utility",
];

#[tokio::test]
async fn a_connected_number_sends_a_template_hears_the_answer_and_replies_freely() {
    let scene = Scene::set().await;
    let webhook = "https://casement.example.com/webhooks/whatsapp";
    let output = scene
        .connect(&[
            "--verify-token-file",
            "secrets/verify-token",
            "--callback-url",
            webhook,
            "--write",
            "accounts.toml",
        ])
        .await;
    let told = stdout(&output);
    assert!(output.status.success(), "{}", stderr(&output));
    for word in [
        NUMBER,
        "CONNECTED",
        "quality GREEN",
        "never ends",
        "hello_world en_US: utility, approved",
        "in_review en_US: utility, pending",
        "go to Simulated app (620010020030040); ours new",
        "this is a test number",
        webhook,
        VERIFY_TOKEN,
        "messages, message_template_status_update",
        "accounts.toml: 1 number(s) and 2 template(s) added",
    ] {
        assert!(told.contains(word), "{word:?} is not told: {told}");
    }
    assert!(scene.meta.is_subscribed(WABA));

    // Again: nothing is different, and the file stays as it is.
    let accounts = std::fs::read_to_string(scene.path("accounts.toml")).unwrap();
    let output = scene.connect(&["--write", "accounts.toml", "--json"]).await;
    let told = json(&output);
    assert_eq!(told["was_subscribed"], true);
    assert_eq!(told["kept"][0]["already_there"], 3);
    assert_eq!(told["number"]["is_test"], true);
    assert_eq!(told["token"]["expire_time"], Value::Null);
    assert_eq!(
        std::fs::read_to_string(scene.path("accounts.toml")).unwrap(),
        accounts
    );

    let _casement = scene.up("file = \"accounts.toml\"").await;
    assert!(
        scene.meta.verify_webhook().await.unwrap(),
        "Meta's handshake with the verify token"
    );
    let is_delivered = |message: &Value| message["outcome"] == "MESSAGE_OUTCOME_DELIVERED";
    scene.send_until(ANA, &BY_TEMPLATE, is_delivered).await;
    assert_eq!(
        scene.window(ANA).await["state"],
        "WINDOW_STATE_CLOSED",
        "a template opens nothing"
    );

    scene
        .meta
        .says(&scene.ana, PHONE_NUMBER_ID, "Hello back")
        .unwrap();
    scene.open_window(ANA).await;
    let reply = ["--text", "Nice to meet you", "--purpose", "service"];
    scene.send_until(ANA, &reply, is_delivered).await;

    let sent = scene.meta.sent();
    let told: Vec<_> = sent
        .iter()
        .map(|one| (one.outcome, one.text.as_str()))
        .collect();
    assert_eq!(
        told,
        [
            (Outcome::Accepted, "Hello World"),
            (Outcome::Accepted, "Nice to meet you")
        ]
    );
    assert_eq!(sent[1].kind, MessageKind::Text);
}

#[tokio::test]
async fn a_running_casement_is_told_over_its_api() {
    let scene = Scene::set().await;
    let _casement = scene.up("").await;
    let url = scene.api_url();
    scene.write("secrets/no-token", "nobody-has-this-token");
    let output = scene
        .connect(&["--api", &url, "--api-token-file", "secrets/no-token"])
        .await;
    assert_eq!(output.status.code(), Some(1), "{}", stdout(&output));
    assert!(stderr(&output).contains("the token is not known"));
    let output = scene.connect(&["--api", &url, "--json"]).await;
    assert!(output.status.success(), "{}", stderr(&output));
    let told = json(&output);
    assert_eq!(told["kept"][0]["templates"], 2);
    assert_eq!(told["records"]["number"]["number"], NUMBER);

    let message = scene
        .send_until(ANA, &BY_TEMPLATE, |message| {
            message["outcome"] == "MESSAGE_OUTCOME_DELIVERED"
        })
        .await;
    assert_eq!(codes(&message), [0]);
}

#[tokio::test]
async fn what_is_wrong_at_meta_is_told_with_what_to_do_and_nothing_is_changed() {
    let scene = Scene::set().await;
    let now = SystemClock::new().now();
    let nowhere = format!("http://127.0.0.1:{}", free_port());
    scene.write("secrets/garbled", "EAAG-cut-off");
    scene.write("secrets/other-secret", "another-secret");
    let same = TokenConfig::new(META_TOKEN);
    let unreachable = (
        ["--graph-url", &nowhere],
        ["does not answer", &nowhere, "HTTPS_PROXY"],
    );
    let cases: Vec<(TokenConfig, &[&str], &[&str])> = vec![
        (
            TokenConfig {
                expires_at: Some(now),
                ..same.clone()
            },
            &[],
            &["secrets/graph-token", "190/463", "expired", "System users"],
        ),
        (
            TokenConfig {
                revoked: true,
                ..same.clone()
            },
            &["--app-id", "620010020030040"],
            &["190/467", "withdrawn", "System users"],
        ),
        (
            same.clone(),
            &["--token-file", "secrets/garbled"],
            &["secrets/garbled", "190", "not copied whole"],
        ),
        (
            TokenConfig {
                scopes: vec!["whatsapp_business_messaging".to_owned()],
                ..same.clone()
            },
            &[],
            &["lacks whatsapp_business_management", "10 or 200"],
        ),
        (
            same.clone(),
            &["--phone-number-id", OTHER_NUMBER_ID],
            &["may not read the number (10)", "full control"],
        ),
        (
            same.clone(),
            &["--waba", OTHER_WABA],
            &["may not read the business account (200)", "full control"],
        ),
        (
            same.clone(),
            &["--phone-number-id", "15550783881"],
            &["100/33", "not the number", "15550783881"],
        ),
        (
            same.clone(),
            &["--waba", "1"],
            &["no WhatsApp business account 1", "100/33"],
        ),
        (
            same.clone(),
            &["--app-secret-file", "secrets/other-secret"],
            &["secrets/other-secret", "(190)", "refused for its signature"],
        ),
        (same.clone(), &["--app-id", "1"], &["app 1", "(101)"]),
        (
            TokenConfig {
                app_id: Some("777".to_owned()),
                ..same.clone()
            },
            &["--app-id", "620010020030040"],
            &["not made for app 620010020030040", "(100)"],
        ),
        (same.clone(), &unreachable.0, &unreachable.1),
    ];
    for (token, arguments, words) in cases {
        scene.meta.put_token(token);
        let with_file: Vec<&str> = arguments
            .iter()
            .chain(&["--write", "accounts.toml"])
            .copied()
            .collect();
        let output = scene.connect(&with_file).await;
        let told = stderr(&output);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {told}");
        for word in words {
            assert!(told.contains(word), "{word:?} is not told: {told}");
        }
        assert!(!told.contains("EAAG-cut-off"), "{told}");
        assert_eq!(stdout(&output), "");
    }
    assert!(!scene.meta.is_subscribed(WABA));
    assert!(!scene.path("accounts.toml").exists());

    // A number of another account that the same token may see.
    scene.meta.put_token(same);
    scene.meta.put_number(NumberConfig {
        phone_number_id: OTHER_NUMBER_ID.to_owned(),
        display_phone_number: "+1 555-078-9999".to_owned(),
        waba_id: OTHER_WABA.to_owned(),
        token: META_TOKEN.into(),
    });
    let output = scene.connect(&["--waba", OTHER_WABA]).await;
    let told = stderr(&output);
    assert!(
        told.contains("does not belong") && told.contains(OTHER_NUMBER_ID),
        "{told}"
    );
}

#[tokio::test]
async fn what_works_for_now_only_is_warned_of() {
    let scene = Scene::set().await;
    let now = SystemClock::new().now();
    scene.meta.put_token(TokenConfig {
        expires_at: Some(now + SignedDuration::from_mins(23 * 60 + 30)),
        ..TokenConfig::new(META_TOKEN)
    });
    scene.meta.set_number_status(PHONE_NUMBER_ID, "PENDING");
    let output = scene.connect(&[]).await;
    assert!(output.status.success(), "{}", stderr(&output));
    let told = stdout(&output);
    for word in [
        "in 23 h",
        "sends fail with 190",
        "PENDING, not CONNECTED",
        "133010",
        "131030",
        "[[number]]",
        "token_file = \"secrets/graph-token\"",
    ] {
        assert!(told.contains(word), "{word:?} is not told: {told}");
    }
}

#[tokio::test]
async fn each_refusal_of_a_send_stands_on_the_message_and_its_fix_helps() {
    let scene = Scene::set().await;
    let output = scene.connect(&["--write", "accounts.toml"]).await;
    assert!(output.status.success(), "{}", stderr(&output));
    let accounts = std::fs::read_to_string(scene.path("accounts.toml")).unwrap();
    let gone = accounts
        .split("\n[[template]]")
        .find(|part| part.contains(TEMPLATE))
        .unwrap()
        .replace(TEMPLATE, "never_made");
    scene.write("accounts.toml", &format!("{accounts}\n[[template]]{gone}"));
    let _casement = scene.up("file = \"accounts.toml\"").await;
    let was_tried = |message: &Value| codes(message).iter().any(|code| *code != 0);
    let is_delivered = |message: &Value| message["outcome"] == "MESSAGE_OUTCOME_DELIVERED";

    // 131030: not on the test number's list.
    let message = scene.send_until(BEN, &BY_TEMPLATE, was_tried).await;
    assert_eq!(codes(&message), [131_030]);
    assert_eq!(message["outcome"], "MESSAGE_OUTCOME_FAILED", "{message}");
    scene
        .meta
        .put_test_number(PHONE_NUMBER_ID, &[ANA.to_owned(), BEN.to_owned()]);
    scene.send_until(BEN, &BY_TEMPLATE, is_delivered).await;

    // 132001: on record here, but not at Meta.
    let unmade = [
        "--template",
        "never_made",
        "--language",
        "en_US",
        "--purpose",
        "utility",
    ];
    let message = scene.send_until(ANA, &unmade, was_tried).await;
    assert_eq!(codes(&message), [132_001]);
    // What is on record as not approved is not even tried.
    let arguments = [
        "preview",
        "--number",
        NUMBER,
        "--to",
        ANA,
        "--template",
        "in_review",
        "--language",
        "en_US",
        "--purpose",
        "utility",
    ];
    let told = stdout(&scene.casement(&arguments).await);
    assert!(told.contains("TEMPLATE_NOT_USABLE"), "{told}");

    // 131047: Meta says that the window is closed although it looks open.
    scene
        .meta
        .says(&scene.ana, PHONE_NUMBER_ID, "Hello")
        .unwrap();
    scene.open_window(ANA).await;
    scene.meta.set_window(SignedDuration::from_nanos(1));
    let both: Vec<&str> = ["--text", "Hi"]
        .iter()
        .chain(&BY_TEMPLATE)
        .copied()
        .collect();
    let message = scene.send_until(ANA, &both, is_delivered).await;
    assert_eq!(codes(&message), [131_047, 0], "{message}");
    eventually("the window is corrected", async || {
        scene.window(ANA).await["closedReason"] == "CLOSED_REASON_CORRECTED"
    })
    .await;

    // 190: the token ended; a new one in the same file, and sends go on without a restart.
    scene.meta.put_token(TokenConfig {
        revoked: true,
        ..TokenConfig::new(META_TOKEN)
    });
    let message = scene.send_until(ANA, &BY_TEMPLATE, was_tried).await;
    assert_eq!(codes(&message)[0], 190);
    scene.meta.put_number(NumberConfig {
        phone_number_id: PHONE_NUMBER_ID.to_owned(),
        display_phone_number: NUMBER.to_owned(),
        waba_id: WABA.to_owned(),
        token: "EAAG-a-new-token".into(),
    });
    scene.write("secrets/graph-token", "EAAG-a-new-token");
    scene.send_until(ANA, &BY_TEMPLATE, is_delivered).await;
}

#[tokio::test]
async fn with_a_wrong_app_secret_webhooks_wait_at_meta_until_it_is_right() {
    let scene = Scene::set().await;
    scene.write("secrets/app-secret", "not-the-apps-secret");
    let output = scene.connect(&[]).await;
    assert!(
        stderr(&output).contains("refused for its signature"),
        "connect sees it first: {}",
        stderr(&output)
    );
    scene.write("secrets/app-secret", APP_SECRET);
    let output = scene.connect(&["--write", "accounts.toml"]).await;
    assert!(output.status.success(), "{}", stderr(&output));

    scene.write("secrets/app-secret", "not-the-apps-secret");
    let mut casement = scene.up("file = \"accounts.toml\"").await;
    scene
        .meta
        .says(&scene.ana, PHONE_NUMBER_ID, "Hello?")
        .unwrap();
    eventually("the webhook is refused", async || {
        let webhooks = scene.meta.webhooks();
        let attempts = webhooks.iter().flat_map(|webhook| &webhook.attempts);
        attempts
            .into_iter()
            .any(|attempt| attempt.http_status == Some(401))
    })
    .await;
    casement
        .wait_for_stderr("the refusal", |told| told.contains("post refused"))
        .await;
    assert_eq!(scene.window(ANA).await["state"], "WINDOW_STATE_CLOSED");

    scene.write("secrets/app-secret", APP_SECRET);
    casement.terminate();
    casement.wait().await;
    let _casement = scene.up("file = \"accounts.toml\"").await;
    scene.open_window(ANA).await;
}

#[tokio::test]
async fn every_command_of_the_guide_exists() {
    let guide = include_str!("../../docs/first-real-message.md");
    let joined = guide.replace("\\\n", " ");
    let lines = joined
        .lines()
        .map(str::trim)
        .filter(|line| line.starts_with("casement "));
    let mut count = 0;
    for line in lines {
        let words: Vec<&str> = line.split_whitespace().skip(1).collect();
        let command: Vec<&str> = words
            .iter()
            .copied()
            .take_while(|word| word.chars().all(|letter| letter.is_ascii_lowercase()))
            .take(2)
            .collect();
        let mut help = Err(String::new());
        for length in (1..=command.len()).rev() {
            let output = Command::new(casement_bin())
                .args(&command[..length])
                .arg("--help")
                .output()
                .unwrap();
            if output.status.success() {
                help = Ok(stdout(&output));
                break;
            }
            help = Err(stderr(&output));
        }
        let help = help.unwrap_or_else(|told| panic!("{line}: {told}"));
        for flag in words.iter().filter(|word| word.starts_with("--")) {
            assert!(help.contains(flag), "{flag} of {line:?} is unknown: {help}");
        }
        count += 1;
    }
    assert!(count >= 8, "only {count} commands");
}
