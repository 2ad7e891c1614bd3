//! Every user of the shipped broker may write what the design says it writes, and nothing else: all
//! users against all families of subjects, the broker's own API among them.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;

use casement_testkit::eventually;
use casement_tests::ShippedBroker;
use serde_json::Value;

const INGRESS: &str = "ingress";
const TRACKER: &str = "window-tracker";
const DISPATCHER: &str = "dispatcher";
const ACCOUNTS: &str = "accounts";
const PROJECTOR: &str = "audit-projector";
const OPERATOR: &str = "operator";
const SUBSCRIBER: &str = "subscriber";
const RELOAD: &str = "reload";

const USERS: [&str; 8] = [
    INGRESS, TRACKER, DISPATCHER, ACCOUNTS, PROJECTOR, OPERATOR, SUBSCRIBER, RELOAD,
];

const ROLES: [&str; 5] = [INGRESS, TRACKER, DISPATCHER, ACCOUNTS, PROJECTOR];

/// What is written to the log: a subject of each family, the stream that keeps it, who writes it.
const WRITES: &[(&str, &str, &[&str])] = &[
    ("casement.raw.whatsapp", "RAW", &[INGRESS]),
    (
        "casement.customers.link.p1.t1",
        "CUSTOMERS",
        &[INGRESS, DISPATCHER, ACCOUNTS],
    ),
    (
        "casement.customers.consent.p1.c1",
        "CUSTOMERS",
        &[INGRESS, DISPATCHER, ACCOUNTS],
    ),
    (
        "casement.customers.erased.p1.c1",
        "CUSTOMERS",
        &[PROJECTOR, OPERATOR],
    ),
    (
        "casement.customers.erasure.e1",
        "CUSTOMERS",
        &[PROJECTOR, OPERATOR],
    ),
    (
        "casement.customers.exported.p1.c1",
        "CUSTOMERS",
        &[PROJECTOR],
    ),
    (
        "casement.events.inbound.03.15550001111.c1",
        "EVENTS",
        &[INGRESS],
    ),
    (
        "casement.events.media.03.15550001111.m1",
        "EVENTS",
        &[INGRESS],
    ),
    (
        "casement.events.foreign.03.15550001111",
        "EVENTS",
        &[INGRESS],
    ),
    (
        "casement.events.group.03.15550001111.g1",
        "EVENTS",
        &[INGRESS],
    ),
    (
        "casement.events.window.03.15550001111.c1",
        "EVENTS",
        &[TRACKER],
    ),
    (
        "casement.events.evidence.03.15550001111.c1",
        "EVENTS",
        &[DISPATCHER],
    ),
    (
        "casement.events.note.03.15550001111.c1",
        "EVENTS",
        &[PROJECTOR],
    ),
    (
        "casement.events.message.03.15550001111.m1",
        "MESSAGES",
        &[DISPATCHER],
    ),
    (
        "casement.events.report.03.15550001111.m1",
        "MESSAGES",
        &[INGRESS],
    ),
    (
        "casement.accounts.reported.number.1",
        "ACCOUNTS",
        &[INGRESS],
    ),
    ("casement.accounts.halt.h1", "ACCOUNTS", &[DISPATCHER]),
    ("casement.accounts.pacing.p1", "ACCOUNTS", &[DISPATCHER]),
    ("casement.accounts.spend.s1", "ACCOUNTS", &[DISPATCHER]),
    ("casement.accounts.application.a1", "ACCOUNTS", &[ACCOUNTS]),
    ("casement.accounts.brand.b1", "ACCOUNTS", &[ACCOUNTS]),
    (
        "casement.accounts.deregistration.d1",
        "ACCOUNTS",
        &[ACCOUNTS],
    ),
    ("casement.accounts.downgrade.d1", "ACCOUNTS", &[ACCOUNTS]),
    ("casement.accounts.health.n1", "ACCOUNTS", &[ACCOUNTS]),
    ("casement.accounts.migration.m1", "ACCOUNTS", &[ACCOUNTS]),
    ("casement.accounts.number.n1", "ACCOUNTS", &[ACCOUNTS]),
    ("casement.accounts.onboarding.o1", "ACCOUNTS", &[ACCOUNTS]),
    ("casement.accounts.registration.r1", "ACCOUNTS", &[ACCOUNTS]),
    ("casement.accounts.sync.s1", "ACCOUNTS", &[ACCOUNTS]),
    ("casement.accounts.template.t1", "ACCOUNTS", &[ACCOUNTS]),
    ("casement.secrets.s1", "SECRETS", &[ACCOUNTS]),
    ("casement.leases.l1", "LEASES", &[DISPATCHER]),
    (
        "casement.keys.03.15550001111.m1",
        "SENSITIVE_KEYS",
        &[DISPATCHER],
    ),
    ("casement.dead.ingress", "DEAD", &[INGRESS]),
    ("casement.dead.window-tracker", "DEAD", &[TRACKER]),
    ("casement.dead.dispatcher", "DEAD", &[DISPATCHER]),
    ("casement.dead.accounts", "DEAD", &[ACCOUNTS]),
    ("casement.dead.audit-projector", "DEAD", &[PROJECTOR]),
    (
        "casement.accounts.watch.bad-signatures.x1",
        "ACCOUNTS",
        &[INGRESS],
    ),
    (
        "casement.accounts.watch.unknown-number.x1",
        "ACCOUNTS",
        &[INGRESS],
    ),
    (
        "casement.accounts.watch.clock.ingress",
        "ACCOUNTS",
        &[INGRESS],
    ),
    (
        "casement.accounts.watch.token-expiry.x1",
        "ACCOUNTS",
        &[ACCOUNTS],
    ),
    (
        "casement.accounts.watch.webhook-subscription.x1",
        "ACCOUNTS",
        &[ACCOUNTS],
    ),
    (
        "casement.accounts.watch.clock.accounts",
        "ACCOUNTS",
        &[ACCOUNTS],
    ),
    ("casement.accounts.shown.webhook", "ACCOUNTS", &[PROJECTOR]),
    ("casement.accounts.shown.archive", "ACCOUNTS", &[PROJECTOR]),
    (
        "casement.accounts.asked.read-models",
        "ACCOUNTS",
        &[PROJECTOR],
    ),
    ("casement.accounts.shown.consents", "ACCOUNTS", &[ACCOUNTS]),
    (
        "casement.accounts.shown.dead-letter",
        "ACCOUNTS",
        &[INGRESS],
    ),
    ("casement.accounts.refused.ingress", "ACCOUNTS", &[INGRESS]),
    (
        "casement.accounts.refused.window-tracker",
        "ACCOUNTS",
        &[TRACKER],
    ),
    (
        "casement.accounts.refused.dispatcher",
        "ACCOUNTS",
        &[DISPATCHER],
    ),
    (
        "casement.accounts.refused.accounts",
        "ACCOUNTS",
        &[ACCOUNTS],
    ),
    (
        "casement.accounts.refused.audit-projector",
        "ACCOUNTS",
        &[PROJECTOR],
    ),
    (
        "casement.accounts.watch.webhook-silence.x1",
        "ACCOUNTS",
        &[PROJECTOR],
    ),
    (
        "casement.accounts.watch.unreported-sends.x1",
        "ACCOUNTS",
        &[PROJECTOR],
    ),
    (
        "casement.accounts.watch.archive-lag.x1",
        "ACCOUNTS",
        &[PROJECTOR],
    ),
    (
        "casement.accounts.watch.clock.audit-projector",
        "ACCOUNTS",
        &[PROJECTOR],
    ),
];

/// What else can be published, and who may.
const ASKS: &[(&str, &[&str])] = &[
    // Whoever could, could tell what was never stored.
    ("casement.events.window.03.15550001111.c1", &[]),
    ("casement.raw.whatsapp", &[]),
    ("casement.accounts.number.n1", &[]),
    ("casement.commands.send.b.15550001111.s", &[DISPATCHER]),
    ("casement.answers.b.s.1", &[DISPATCHER]),
    ("_INBOX_accounts.forged", &[]),
    ("$KV.x", &[]),
    // Streams.
    ("$JS.API.STREAM.CREATE.EVENTS", &ROLES),
    ("$JS.API.STREAM.CREATE.COPY", &[]),
    // More copies of a stream on more servers.
    ("$JS.API.STREAM.UPDATE.EVENTS", &[OPERATOR]),
    ("$JS.API.STREAM.UPDATE.SENSITIVE_KEYS", &[DISPATCHER]),
    ("$JS.API.STREAM.DELETE.EVENTS", &[]),
    ("$JS.API.STREAM.DELETE.RAW", &[]),
    ("$JS.API.STREAM.PURGE.EVENTS", &[PROJECTOR]),
    ("$JS.API.STREAM.PURGE.MESSAGES", &[PROJECTOR]),
    ("$JS.API.STREAM.PURGE.ACCOUNTS", &[PROJECTOR]),
    ("$JS.API.STREAM.PURGE.DEAD", &[PROJECTOR]),
    ("$JS.API.STREAM.PURGE.RAW", &[PROJECTOR]),
    ("$JS.API.STREAM.PURGE.CUSTOMERS", &[]),
    ("$JS.API.STREAM.PURGE.SECRETS", &[]),
    ("$JS.API.STREAM.PURGE.SENSITIVE_KEYS", &[]),
    ("$JS.API.STREAM.PURGE.CASEMENT_COMMANDS", &[]),
    ("$JS.API.STREAM.MSG.DELETE.EVENTS", &[PROJECTOR]),
    ("$JS.API.STREAM.MSG.DELETE.MESSAGES", &[PROJECTOR]),
    ("$JS.API.STREAM.MSG.DELETE.CUSTOMERS", &[PROJECTOR]),
    ("$JS.API.STREAM.MSG.DELETE.SENSITIVE_KEYS", &[DISPATCHER]),
    ("$JS.API.STREAM.MSG.DELETE.CASEMENT_COMMANDS", &[DISPATCHER]),
    ("$JS.API.STREAM.MSG.DELETE.RAW", &[]),
    ("$JS.API.STREAM.MSG.DELETE.ACCOUNTS", &[]),
    ("$JS.API.STREAM.MSG.DELETE.SECRETS", &[]),
    ("$JS.API.STREAM.SNAPSHOT.EVENTS", &[OPERATOR]),
    ("$JS.API.STREAM.SNAPSHOT.SENSITIVE_KEYS", &[]),
    ("$JS.API.STREAM.SNAPSHOT.LEASES", &[]),
    ("$JS.API.STREAM.RESTORE.RAW", &[OPERATOR]),
    ("$JS.API.STREAM.RESTORE.SENSITIVE_KEYS", &[]),
    // Reading: what others must not.
    ("$JS.API.STREAM.MSG.GET.EVENTS", &ROLES),
    (
        "$JS.API.STREAM.MSG.GET.CUSTOMERS",
        &[INGRESS, TRACKER, DISPATCHER, ACCOUNTS, PROJECTOR, OPERATOR],
    ),
    ("$JS.API.STREAM.MSG.GET.SENSITIVE_KEYS", &[DISPATCHER]),
    ("$JS.API.DIRECT.GET.SENSITIVE_KEYS", &[DISPATCHER]),
    (
        "$JS.API.DIRECT.GET.SENSITIVE_KEYS.casement.keys.x",
        &[DISPATCHER],
    ),
    ("$JS.API.CONSUMER.CREATE.SENSITIVE_KEYS.x", &[DISPATCHER]),
    (
        "$JS.API.CONSUMER.DURABLE.CREATE.SENSITIVE_KEYS.x",
        &[DISPATCHER],
    ),
    ("$JS.API.CONSUMER.MSG.NEXT.SENSITIVE_KEYS.x", &[DISPATCHER]),
    (
        "$JS.API.STREAM.MSG.GET.SECRETS",
        &[INGRESS, DISPATCHER, ACCOUNTS],
    ),
    (
        "$JS.API.DIRECT.GET.SECRETS.casement.secrets.x",
        &[INGRESS, DISPATCHER, ACCOUNTS],
    ),
    (
        "$JS.API.CONSUMER.CREATE.SECRETS.x",
        &[INGRESS, DISPATCHER, ACCOUNTS],
    ),
    ("$JS.API.CONSUMER.CREATE.RAW.x", &ROLES),
    ("$JS.API.CONSUMER.CREATE.CUSTOMERS.x", &ROLES),
    ("$JS.API.CONSUMER.CREATE.CASEMENT_COMMANDS.x", &ROLES),
    (
        "$JS.API.CONSUMER.CREATE.EVENTS.x",
        &[
            INGRESS, TRACKER, DISPATCHER, ACCOUNTS, PROJECTOR, OPERATOR, SUBSCRIBER,
        ],
    ),
    (
        "$JS.API.CONSUMER.DELETE.EVENTS.x",
        &[INGRESS, TRACKER, DISPATCHER, ACCOUNTS, PROJECTOR, OPERATOR],
    ),
    ("$JS.API.CONSUMER.DELETE.RAW.x", &ROLES),
    // The server itself.
    ("$JS.API.SERVER.REMOVE", &[]),
    ("$JS.API.ACCOUNT.PURGE.LOG", &[]),
    ("$SYS.REQ.SERVER.PING.VARZ", &[]),
    ("$SYS.REQ.SERVER.other.RELOAD", &[RELOAD]),
    ("$SYS.REQ.SERVER.other.KICK", &[]),
];

/// What can be listened to, and who may.
const HEARS: &[(&str, &[&str])] = &[
    (">", &[]),
    ("casement.>", &[]),
    ("casement.events.>", &[SUBSCRIBER]),
    ("casement.events.window.>", &[SUBSCRIBER]),
    ("casement.customers.>", &[]),
    ("casement.commands.>", &[]),
    ("casement.keys.>", &[]),
    ("append.>", &[]),
    ("_INBOX.>", &[SUBSCRIBER]),
    ("_INBOX_ingress.>", &[INGRESS]),
    ("_INBOX_window-tracker.>", &[TRACKER]),
    ("_INBOX_dispatcher.>", &[DISPATCHER]),
    ("_INBOX_accounts.>", &[ACCOUNTS]),
    ("_INBOX_audit-projector.>", &[PROJECTOR]),
    ("_INBOX_operator.>", &[OPERATOR]),
    ("_INBOX_reload.>", &[RELOAD]),
    ("$JS.API.>", &[]),
    ("$SYS.>", &[]),
];

#[tokio::test]
async fn each_user_of_the_shipped_broker_writes_its_own_families_and_no_other() {
    let broker = ShippedBroker::start();
    // Makes the streams.
    broker.connect(INGRESS).await;
    let mut wrong = String::new();
    for user in USERS {
        let client = broker.client(user).await;
        let mut published = Vec::new();
        for (subject, _, writers) in WRITES {
            published.push((format!("append.{subject}"), writers.contains(&user)));
        }
        for (subject, users) in ASKS {
            published.push(((*subject).to_owned(), users.contains(&user)));
        }
        // What is stored is answered, and where.
        for (subject, stream, writers) in WRITES {
            if !writers.contains(&user) {
                continue;
            }
            let answer = client
                .request(format!("append.{subject}"), "x".into())
                .await;
            let stored = answer.map(|answer| {
                let answer: Value = serde_json::from_slice(&answer.payload).unwrap_or_default();
                answer["stream"].as_str() == Some(stream)
            });
            if !matches!(stored, Ok(true)) {
                let _ = writeln!(
                    wrong,
                    "{user} cannot write {subject} to {stream}: {stored:?}"
                );
            }
        }
        for (subject, _) in &published {
            client.publish(subject.clone(), "".into()).await.unwrap();
        }
        for (subject, _) in HEARS {
            let _ = client.subscribe((*subject).to_owned()).await.unwrap();
            client.flush().await.unwrap();
        }
        // Refused for everybody, and told after all before it.
        let last = format!("sentinel.{user}");
        client.publish(last.clone(), "".into()).await.unwrap();
        client.flush().await.unwrap();
        let refused = eventually("the broker told what it refused", async || {
            let told = broker.told();
            if told.contains(&format!("\"{last}\"")) {
                Ok(violations(&told, &last))
            } else {
                Err(told.lines().last().unwrap_or_default().to_owned())
            }
        })
        .await;
        for (subject, may) in published {
            let is_refused = refused.contains(&format!("Publish {subject}"));
            if is_refused == may {
                let _ = writeln!(wrong, "{user} may {}publish {subject}", not(is_refused));
            }
        }
        for (subject, users) in HEARS {
            let is_refused = refused.contains(&format!("Subscription {subject}"));
            if is_refused == users.contains(&user) {
                let _ = writeln!(wrong, "{user} may {}listen to {subject}", not(is_refused));
            }
        }
    }
    assert!(wrong.is_empty(), "not as the table says:\n{wrong}");
}

#[test]
fn the_table_has_every_family_that_the_configuration_grants() {
    let conf = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/nats/nats-server.conf");
    let conf = std::fs::read_to_string(conf).unwrap();
    let granted: BTreeSet<&str> = conf
        .split('"')
        .filter_map(|text| text.strip_prefix("append."))
        .collect();
    assert!(granted.len() > 30, "{granted:?}");
    for family in granted {
        let start = family.trim_end_matches('>');
        let is_there = WRITES
            .iter()
            .any(|(subject, _, _)| subject.starts_with(start));
        assert!(is_there, "{family} is granted, and not in the table");
    }
}

fn not(is_refused: bool) -> &'static str {
    if is_refused { "not " } else { "" }
}

/// What one connection was refused, as the broker's log tells: `Publish subject`.
fn violations(log: &str, last: &str) -> BTreeSet<String> {
    let connection = |line: &str| {
        let (_, rest) = line.split_once("cid:")?;
        rest.split([' ', '-']).next().map(str::to_owned)
    };
    let sentinel = log
        .lines()
        .find(|line| line.contains(&format!("\"{last}\"")));
    let ours = sentinel.and_then(connection).expect("a connection's line");
    log.lines()
        .filter(|line| connection(line).as_ref() == Some(&ours))
        .filter_map(|line| {
            let kind = ["Publish", "Subscription"]
                .into_iter()
                .find(|kind| line.contains(&format!("{kind} Violation")))?;
            let subject = line.rsplit_once("Subject \"")?.1.split('"').next()?;
            Some(format!("{kind} {subject}"))
        })
        .collect()
}
