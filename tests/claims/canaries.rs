//! No secret of the configuration leaves where it was put: each that there is stands as a canary in a
//! whole system under traffic that succeeds and fails, and is looked for in all that it says, keeps
//! and shows, in clear and encoded.

mod hunt;

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use casement_event::v1;
use casement_proto::account::v1 as account;
use casement_proto::audit::v1 as audit;
use casement_proto::repair::v1 as repair;
use casement_simulator::{GENERIC_PATH, VONAGE_PRIVATE_KEY, VonageConfig};
use casement_testkit::{Process, casement_bin, eventually, free_port, nats_server_bin};
use casement_tests::{
    ACCESS_TOKEN, API_TOKEN, Clients, Collector, NUMBER, Options, PHONE_NUMBER_ID, Role, Stack,
    WABA, free_form, template,
};
use hunt::Hunt;
use serde_json::json;

/// Every setting that is a secret, as the program's own test of them knows it.
const FIELDS: &str = include_str!("../../crates/casement/src/config/secret-fields.txt");

/// What stands for each of them here. Those that others have to know, too, are theirs.
const CANARIES: &[(&str, &str)] = &[
    (
        "accounts/src/onboarding/config.rs secret",
        "test-app-secret",
    ),
    (
        "audit-projector/src/config.rs database_url",
        "canary-of-the-database",
    ),
    (
        "audit-projector/src/config.rs signing_key",
        "test-archive-key-of-some-length-01",
    ),
    (
        "casement/src/config.rs nkey",
        "SUAIBDPBAUTWCWBKIO6XHQNINK5FWJW4OHLXC3HQ2KFE4PEJUA44CNHTC4",
    ),
    ("casement/src/config.rs password", "canary-of-the-broker"),
    (
        "casement/src/config.rs token_key",
        "test-token-key-of-some-length",
    ),
    (
        "dispatcher/src/config.rs sensitive_key",
        "test-sensitive-key-of-some-length",
    ),
    (
        "gateway/src/console/config.rs session_key",
        "canary-of-the-console-0123456789-0123456789",
    ),
    ("ingress/src/config.rs auth_tokens", "test-twilio-token"),
    ("ingress/src/config.rs secrets", "test-app-secret"),
    ("ingress/src/config.rs verify_token", "test-verify-token"),
    (
        "ingress/src/media/config.rs store_secrets",
        "canary-of-the-store",
    ),
    (
        "ingress/src/sms/config.rs secrets",
        "demo-gateway-signing-key",
    ),
    (
        "ingress/src/sms/config.rs signature_secrets",
        "demo-vonage-signature-secret",
    ),
    (
        "secrets/src/config.rs master_key",
        "test-master-key-of-some-length-0123",
    ),
    ("shell/src/auth.rs token", API_TOKEN),
    ("shell/src/auth.rs sha256", HASHED),
    ("sms/src/config.rs auth_token", "canary-of-the-main-gateway"),
    ("sms/src/config.rs headers", "demo-gateway-key"),
    ("sms/src/config.rs private_key", KEY_LINE),
    // What the configuration and callers name, and what callers hand in.
    ("number's access token", ACCESS_TOKEN),
    ("token that was put", "canary-of-a-stored-token"),
    ("token that nobody knows", "canary-of-a-stranger"),
    ("broker's wrong password", "canary-of-a-wrong-password"),
];

/// The hash of a token, which is told to nobody either.
const HASHED: &str = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";

/// A line of [`VONAGE_PRIVATE_KEY`].
const KEY_LINE: &str = "THE-SECOND-LINE-OF-THE-KEY";

/// Who writes.
const CUSTOMER: &str = "+15550002222";

/// Whom the platform does not know.
const STRANGER: &str = "+15550006666";

/// The whole system, with each secret set.
async fn stack(collector: &Collector) -> Stack {
    let mut stack = Stack::without_roles(&Options {
        telemetry: format!(
            "filter = \"trace\"\notlp_endpoint = \"{}\"",
            collector.endpoint()
        ),
        ..Options::default()
    })
    .await;
    let key = stack.path("vonage.pem");
    fs::write(&key, VONAGE_PRIVATE_KEY).expect("the key is written");
    let section = format!(
        r#"
[[api.tokens]]
name = "reader"
sha256 = "{HASHED}"
scopes = ["read"]
[[api.tokens]]
name = "narrow"
token = "a-token-of-one-brand-that-may-read"
scopes = ["read"]
[gateway.console]
session_key = "canary-of-the-console-0123456789-0123456789"
[ingress.media.store_secrets]
access_key_id = "canary-of-the-store"
[sms.gateways.main]
kind = "twilio"
account_sid = "AC1"
auth_token = "canary-of-the-main-gateway"
url = "http://127.0.0.1:{away}"
[sms.gateways.spare]
kind = "vonage"
application_id = "{application}"
private_key = {{ file = "{key}" }}
url = "{simulator}"
callback_url = "{webhooks}/webhooks/vonage"
[sms.gateways.acme]
kind = "generic"
url = "{simulator}{GENERIC_PATH}"
headers = {{ x-api-key = "demo-gateway-key" }}
format = "form"
body = "recipient={{{{to}}}}&originator={{{{from}}}}&content={{{{text}}}}&ref={{{{reference}}}}"
id = "/result/id"
error_code = "/fault/code"
[sms.senders]
1 = [{{ gateway = "main", sender = "+15550007777" }}, {{ gateway = "spare", sender = "+15550008888" }}]
49 = [{{ gateway = "acme", sender = "ACME" }}]
[ingress.vonage.accounts.default]
signature_secrets = ["demo-vonage-signature-secret"]
application_id = "{application}"
[ingress.generic_sms.acme]
secrets = ["demo-gateway-signing-key"]
header = "x-gateway-signature"
prefix = "sha256="
timestamp_header = "x-gateway-time"
status = {{ id = "/id", status = "/state", reference = "/ref", error_code = "/code", time = "/at" }}
words = {{ sent = ["ENROUTE"], delivered = ["DELIVRD"], failed = ["UNDELIV"] }}
"#,
        away = free_port(),
        application = VonageConfig::default().application_id,
        key = key.display(),
        simulator = stack.simulator_url(),
        webhooks = stack.webhooks_url(),
    );
    let path = stack.path("casement.toml");
    let text = fs::read_to_string(&path).expect("the stack has a configuration");
    let text = text.replacen(
        "[log]\n",
        "[log]\nuser = \"roles\"\npassword = \"canary-of-the-broker\"\n",
        1,
    );
    fs::write(&path, text + &section).expect("the configuration is written");
    for role in Role::ALL {
        stack.start_role(role, 0).await;
    }
    stack.start_role(Role::Gateway, 0).await;
    stack
}

fn sms(text: &str) -> v1::Content {
    v1::Content {
        sms: Some(v1::SmsContent {
            text: text.to_owned(),
            sender: String::new(),
        }),
        ..v1::Content::default()
    }
}

/// What a role says of itself and of what it was asked.
async fn page(hunt: &mut Hunt, http: &reqwest::Client, request: reqwest::RequestBuilder) -> u16 {
    let request = request.build().expect("a request");
    let at = request.url().to_string();
    let answer = http.execute(request).await.expect("an answer");
    let status = answer.status().as_u16();
    hunt.look(&at, format!("{:?}", answer.headers()));
    hunt.look(&at, answer.bytes().await.expect("a body"));
    status
}

/// Traffic in both directions that succeeds, and calls that fail.
async fn traffic(stack: &Stack, clients: &Clients, hunt: &mut Hunt) {
    let customer = stack.customer(CUSTOMER);
    stack.says(&customer, "hello");
    clients.open_window(CUSTOMER).await;
    let put = account::PutTokenRequest {
        name: "default/meta".to_owned(),
        token: "canary-of-a-stored-token".to_owned(),
    };
    let stored = clients
        .secrets
        .clone()
        .put_token(put)
        .await
        .expect("stored");
    hunt.look("PutToken", format!("{stored:?}"));
    for (to, content) in [
        (CUSTOMER, free_form("hello to you")),
        (CUSTOMER, template("on its way", "order_update", "1")),
        // By a gateway that is away, and the one behind it; and by a third.
        (CUSTOMER, sms("by vonage")),
        ("+4915112345678", sms("by acme")),
        // The platform does not know them.
        (STRANGER, template("on its way", "order_update", "1")),
    ] {
        let sent = clients.send(to, content).await.expect("accepted");
        let ended = clients.ended(&sent.message_id).await;
        hunt.look("GetMessage", format!("{ended:?}"));
    }
    let refused = clients
        .send(CUSTOMER, template("x", "order_paused", "1"))
        .await;
    hunt.look("SendMessage", format!("{refused:?}"));
}

/// Posts and calls that are not let in, and what they are told.
async fn strangers(stack: &Stack, http: &reqwest::Client, hunt: &mut Hunt) {
    let hooks = stack.webhooks_url();
    for path in ["whatsapp", "twilio", "vonage", "sms/acme"] {
        let post = http
            .post(format!("{hooks}/webhooks/{path}"))
            .header("x-hub-signature-256", "sha256=00")
            .header("x-twilio-signature", "AAAA")
            .header("x-gateway-signature", "sha256=00")
            .header("content-type", "application/json")
            .body("{}");
        let status = page(hunt, http, post).await;
        assert!(status >= 400, "{path}: {status}");
    }
    let challenge = http.get(format!(
        "{hooks}/webhooks/whatsapp?hub.mode=subscribe&hub.verify_token=wrong&hub.challenge=1"
    ));
    assert_eq!(page(hunt, http, challenge).await, 403);
    let api = format!("http://127.0.0.1:{}", stack.api_port(Role::Gateway, 0));
    for (path, token, expected) in [
        ("/v1/numbers", "canary-of-a-stranger", 401),
        ("/v1/events", "a-token-of-one-brand-that-may-read", 403),
        ("/v1/numbers", API_TOKEN, 200),
        ("/v1/no-such-path", API_TOKEN, 404),
        ("/v1/events", API_TOKEN, 200),
        ("/v1/acts", API_TOKEN, 200),
        ("/openapi.json", API_TOKEN, 200),
    ] {
        let call = http.get(format!("{api}{path}")).bearer_auth(token);
        let status = page(hunt, http, call).await;
        assert_eq!(status, expected, "{path}");
    }
    // The console: a failed sign-in, one that succeeds, and its pages.
    let console = stack.console_url();
    let sign_in = |token: &'static str| {
        http.post(format!("{console}/sign-in"))
            .header("origin", &console)
            .form(&[("token", token), ("next", "/numbers")])
    };
    assert_eq!(page(hunt, http, sign_in("canary-of-a-stranger")).await, 401);
    let answer = http
        .execute(sign_in(API_TOKEN).build().expect("a request"))
        .await
        .expect("an answer");
    let cookies: Vec<_> = answer.headers().get_all("set-cookie").iter().collect();
    let cookies = cookies.iter().filter_map(|value| value.to_str().ok());
    let cookies: Vec<_> = cookies.filter_map(|text| text.split(';').next()).collect();
    let cookie = cookies.join("; ");
    assert!(cookie.contains("session"), "signed in: {cookie}");
    hunt.look("the session's cookie", &cookie);
    for path in ["/numbers", "/conversations", "/find", "/stuck", "/record"] {
        let get = http
            .get(format!("{console}{path}"))
            .header("cookie", &cookie);
        assert_eq!(page(hunt, http, get).await, 200, "{path}");
    }
}

/// What the archive and the repairs hand out.
async fn handed_out(stack: &Stack, clients: &Clients, hunt: &mut Hunt) {
    let listed = eventually("refusals are on record", async || {
        let mut audit = clients.audit.clone();
        let asked = audit::ListEventsRequest {
            page_size: 1_000,
            ..Default::default()
        };
        let events = audit.list_events(asked).await;
        let events = events.map_err(|status| status.to_string())?.into_inner();
        let told = format!("{events:?}");
        for word in ["AccessRefused", "MessageEnded"] {
            if !told.contains(word) {
                return Err(format!("no {word} yet"));
            }
        }
        Ok(events)
    })
    .await;
    for event in &listed.events {
        hunt.look("ListEvents", format!("{event:?}"));
        hunt.look("ListEvents", &event.payload);
    }
    let mut repairs = Clients::repairs(stack.api_port(Role::Ingress, 0));
    let letters = repairs
        .list_dead_letters(repair::ListDeadLettersRequest::default())
        .await
        .expect("letters")
        .into_inner();
    assert!(!letters.letters.is_empty(), "one post was unreadable");
    hunt.look("ListDeadLetters", format!("{letters:?}"));
}

/// What processes say that cannot start, since a secret is not the right one.
async fn broken(stack: &Stack, hunt: &mut Hunt) {
    let good = fs::read_to_string(stack.path("casement.toml")).expect("a configuration");
    let port = free_port();
    let mut server = Command::new(nats_server_bin());
    server.args(["-a", "127.0.0.1", "-p", &port.to_string()]);
    server.args(["--user", "other", "--pass", "another"]);
    let mut broker = Process::start(&mut server);
    let by_password = good.replacen(
        "password = \"canary-of-the-broker\"",
        "password = \"canary-of-a-wrong-password\"",
        1,
    );
    let by_key = good.replacen(
        "user = \"roles\"\npassword = \"canary-of-the-broker\"",
        "nkey = \"SUAIBDPBAUTWCWBKIO6XHQNINK5FWJW4OHLXC3HQ2KFE4PEJUA44CNHTC4\"",
        1,
    );
    let by_database = good.replacen(
        &format!("database_path = \"{}\"", stack.archive().display()),
        "database_url = \"postgres://u:canary-of-the-database@127.0.0.1:1/d\"",
        1,
    );
    for (name, text, role, sign) in [
        ("by-password", by_password, "window-tracker", "broker"),
        ("by-key", by_key, "window-tracker", "broker"),
        ("by-database", by_database, "audit-projector", "database"),
    ] {
        assert_ne!(text, good, "{name}");
        let text = if role == "window-tracker" {
            text.replacen(&stack.nats.url(), &format!("nats://127.0.0.1:{port}"), 1)
        } else {
            text
        };
        let path = stack.path(&format!("{name}.toml"));
        fs::write(&path, text).expect("a configuration");
        let health = free_port();
        let mut command = Command::new(casement_bin());
        command
            .arg(role)
            .arg("--config")
            .arg(&path)
            .arg("--api-listen")
            .arg(format!("127.0.0.1:{}", free_port()))
            .arg("--health-listen")
            .arg(format!("127.0.0.1:{health}"));
        let mut process = Process::start(&mut command);
        eventually(&format!("{name} tells its trouble"), async || {
            let told = process.stdout() + &process.stderr();
            let told = told.to_lowercase();
            let is_told = told.lines().any(|line| {
                line.contains(sign) && (line.contains("warn") || line.contains("error"))
            });
            if is_told { Ok(()) } else { Err(told) }
        })
        .await;
        hunt.look(name, process.stdout());
        hunt.look(name, process.stderr());
        process.kill9();
        let mut printed = Command::new(casement_bin());
        printed
            .arg(role)
            .arg("--config")
            .arg(&path)
            .arg("--print-config");
        let printed = printed.output().expect("it prints");
        assert!(printed.status.success());
        hunt.look("--print-config", &printed.stdout);
        hunt.look("--print-config", &printed.stderr);
    }
    broker.kill9();
}

/// All that stands on disk but where secrets were put.
fn on_disk(stack: &Stack, hunt: &mut Hunt) {
    let folder = stack.path("");
    let mut folders = vec![stack.nats.store_dir(), folder];
    let mut count = 0;
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            let path = entry.path();
            let name = entry.file_name().to_string_lossy().into_owned();
            let is_ours = path
                .extension()
                .is_some_and(|extension| extension == "toml")
                || ["access-token", "twilio-token", "vonage.pem"].contains(&name.as_str());
            if path.is_dir() {
                folders.push(path);
            } else if !is_ours {
                count += 1;
                hunt.look(&name, fs::read(&path).unwrap_or_default());
            }
        }
    }
    assert!(count > 10, "files were looked at");
}

#[tokio::test]
async fn no_secret_of_the_configuration_leaves_where_it_was_put() {
    let mut named = BTreeSet::new();
    for entry in FIELDS.lines() {
        let (file, names) = entry.split_once(' ').expect("a file and its fields");
        named.extend(names.split(", ").map(|name| format!("{file} {name}")));
    }
    let covered: BTreeSet<String> = CANARIES
        .iter()
        .map(|(name, _)| (*name).to_owned())
        .collect();
    let uncovered: Vec<_> = named.difference(&covered).collect();
    assert!(
        uncovered.is_empty(),
        "secrets without a canary: {uncovered:?}"
    );

    let collector = Collector::start();
    let mut stack = stack(&collector).await;
    let clients = stack.clients();
    let http = casement_shell::http::client(&casement_shell::http::ClientOptions::default())
        .expect("a client");
    let mut hunt = Hunt::new();
    traffic(&stack, &clients, &mut hunt).await;
    let unreadable = json!({ "object": "whatsapp_business_account", "entry": [{ "id": WABA,
        "changes": [{ "field": "messages", "value": { "messaging_product": "whatsapp",
        "metadata": { "display_phone_number": NUMBER, "phone_number_id": PHONE_NUMBER_ID },
        "messages": [{ "type": "text" }] } }] }] });
    let posted = stack.post(unreadable.to_string().as_bytes()).await;
    assert_eq!(posted, Some(200));
    strangers(&stack, &http, &mut hunt).await;
    handed_out(&stack, &clients, &mut hunt).await;
    broken(&stack, &mut hunt).await;
    let span = collector.find("a call's span", |span| {
        span.service() == "casement-dispatcher"
    });
    span.await;
    hunt.look("traces", collector.raw());
    hunt.look("the broker's log", stack.nats.log());
    for role in Role::ALL.into_iter().chain([Role::Gateway]) {
        for path in ["metrics", "readyz", "livez"] {
            let url = format!("http://{}/{path}", stack.pages(role));
            assert_eq!(page(&mut hunt, &http, http.get(url)).await, 200);
        }
        let process = stack.process(role, 0);
        let (id, stdout, stderr) = (process.id(), process.stdout(), process.stderr());
        let said = stdout.len() + stderr.len();
        assert!(
            said > 1_000,
            "{role:?} is at its most talkative: {said} bytes"
        );
        let name = format!("{role:?}'s log");
        hunt.look(&name, stdout);
        hunt.look(&name, stderr);
        for file in ["cmdline", "environ"] {
            let shown = fs::read(format!("/proc/{id}/{file}")).expect("it runs");
            assert!(!shown.is_empty());
            hunt.look(&format!("{role:?}'s {file}"), shown);
        }
    }
    on_disk(&stack, &mut hunt);
    stack.stop().await;
    hunt.end();
}
