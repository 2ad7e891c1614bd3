//! Stored secrets against a real broker: found, rotated, deleted, sealed anew, and nowhere in clear.

#![expect(
    clippy::unwrap_used,
    reason = "tests; clippy knows them only by their attribute, not the functions they share"
)]

use std::fs;
use std::path::Path;
use std::sync::Arc;

use casement_event::v1::{self, SecretKind, SecretRef, secret_ref::Source};
use casement_event_log::{Config as LogConfig, Log};
use casement_secrets::vault::LocalVault;
use casement_secrets::{Config, Missing, Mode, SecretName, Secrets, ShelfError, new_pin};
use casement_shell::config::Secret;
use casement_testkit::{NatsServer, eventually};
use jiff::Timestamp;
use secrecy::{ExposeSecret as _, SecretString};
use tokio_util::sync::CancellationToken;

const OLD: &str = "an old key that nobody but us knows";
const NEW: &str = "a new key that nobody but us knows!";
const TOKEN: &str = "EAAG-first-token-of-the-shop";
const WHO: (&str, Timestamp) = ("operator", Timestamp::UNIX_EPOCH);

async fn log(server: &NatsServer) -> Log {
    let config = LogConfig {
        servers: server.url(),
        accept_unsafe_broker: true,
        ..LogConfig::default()
    };
    Log::connect(&config).await.unwrap()
}

/// A role of its own that has these keys.
async fn role(server: &NatsServer, keys: &str) -> Secrets {
    let config = Config {
        master_key: Some(Secret::from_value(keys)),
    };
    let vault = LocalVault::new(config.keys().unwrap()).unwrap();
    let log = log(server).await;
    Secrets::start(&log, Arc::new(vault), CancellationToken::new()).await
}

fn name() -> SecretName {
    SecretName::parse("shop/meta").unwrap()
}

async fn put(secrets: &Secrets, value: &str, mode: Mode) -> Result<u32, ShelfError> {
    let value = SecretString::from(value);
    secrets
        .put(&name(), SecretKind::Token, &value, mode, WHO)
        .await
}

fn found(secrets: &Secrets) -> Result<String, Missing> {
    let reference = SecretRef {
        source: Some(Source::Stored(name().to_string())),
    };
    let found = secrets.resolve(Some(&reference))?;
    Ok(found.expose_secret().to_owned())
}

async fn finds(secrets: &Secrets, value: &str) {
    eventually("the secret is found", async || match found(secrets) {
        Ok(known) if known == value => Ok(()),
        other => Err(format!("{:?}", other.map(|_| "another"))),
    })
    .await;
}

fn is_in(folder: &Path, bytes: &[u8]) -> bool {
    fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .any(|entry| {
            let path = entry.path();
            let is_below = path.is_dir() && is_in(&path, bytes);
            let content = fs::read(&path).unwrap_or_default();
            is_below || content.windows(bytes.len()).any(|window| window == bytes)
        })
}

#[tokio::test]
async fn what_one_role_stores_another_finds_and_a_rotation_counts_without_a_restart() {
    let server = NatsServer::start().await;
    let (writer, reader) = (role(&server, OLD).await, role(&server, OLD).await);
    assert!(matches!(found(&reader), Err(Missing::Unknown(_))));
    assert_eq!(put(&writer, TOKEN, Mode::New).await.unwrap(), 1);
    finds(&reader, TOKEN).await;
    let mut changed = reader.changed().unwrap();
    changed.mark_unchanged();
    assert_eq!(put(&writer, "EAAG-second", Mode::Rotate).await.unwrap(), 2);
    assert_eq!(
        found(&writer).unwrap(),
        "EAAG-second",
        "at once where it was written"
    );
    changed.changed().await.unwrap();
    finds(&reader, "EAAG-second").await;
    // And whoever starts now.
    finds(&role(&server, OLD).await, "EAAG-second").await;

    let listed = reader.list();
    assert_eq!(listed.len(), 1);
    assert_eq!((listed[0].version, listed[0].is_open), (2, true));
    assert!(!format!("{listed:?} {reader:?}").contains("EAAG"));

    writer.delete(&name(), WHO).await.unwrap();
    eventually("it is gone", async || match found(&reader) {
        Err(Missing::Unknown(_)) => Ok(()),
        other => Err(format!("{:?}", other.is_ok())),
    })
    .await;
    assert!(reader.list().is_empty());
}

#[tokio::test]
async fn nothing_that_was_stored_is_on_disk_in_clear_and_only_the_newest_word_is_kept() {
    let server = NatsServer::start().await;
    let secrets = role(&server, OLD).await;
    put(&secrets, TOKEN, Mode::New).await.unwrap();
    put(&secrets, "EAAG-second", Mode::Any).await.unwrap();
    put(&secrets, "EAAG-third", Mode::Any).await.unwrap();
    let state = log(&server).await.state("SECRETS").await.unwrap();
    assert_eq!((state.messages, state.last_sequence), (1, 3));
    assert!(
        is_in(&server.store_dir(), b"casement.secrets.shop.meta"),
        "files are looked at"
    );
    for clear in [TOKEN, "EAAG-second", "EAAG-third", OLD] {
        assert!(!is_in(&server.store_dir(), clear.as_bytes()), "{clear}");
    }
}

#[tokio::test]
async fn writes_say_what_they_expect_and_an_unfit_secret_changes_nothing() {
    let server = NatsServer::start().await;
    let (one, other) = (role(&server, OLD).await, role(&server, OLD).await);
    assert!(matches!(
        put(&one, TOKEN, Mode::Rotate).await,
        Err(ShelfError::Unknown)
    ));
    assert!(matches!(
        one.delete(&name(), WHO).await,
        Err(ShelfError::Unknown)
    ));
    put(&one, TOKEN, Mode::New).await.unwrap();
    // Read from the leader, whatever its follower knows.
    assert!(matches!(
        put(&other, TOKEN, Mode::New).await,
        Err(ShelfError::Exists)
    ));
    for unfit in ["", "two words", "line\nbreak", &"x".repeat(9_000)] {
        assert!(matches!(
            put(&one, unfit, Mode::Any).await,
            Err(ShelfError::Unfit)
        ));
    }
    assert_eq!(found(&one).unwrap(), TOKEN);
    let none = Secrets::default();
    assert!(matches!(
        put(&none, TOKEN, Mode::New).await,
        Err(ShelfError::NoKey)
    ));
    assert!(matches!(found(&none), Err(Missing::NoKey(_))));
}

#[tokio::test]
async fn a_master_key_is_replaced_without_a_secret_being_lost_or_out_of_reach() {
    let server = NatsServer::start().await;
    put(&role(&server, OLD).await, TOKEN, Mode::New)
        .await
        .unwrap();
    let stranger = role(&server, NEW).await;
    assert!(matches!(found(&stranger), Err(Missing::Closed { .. })));
    assert!(!stranger.list()[0].is_open);
    let refused = stranger.reencrypt(WHO.0, WHO.1).await;
    assert!(matches!(refused, Err(ShelfError::Vault(_))), "{refused:?}");

    let both = role(&server, &format!("{NEW}\n{OLD}")).await;
    assert_eq!(found(&both).unwrap(), TOKEN);
    assert_eq!(both.reencrypt(WHO.0, WHO.1).await.unwrap(), 1);
    assert_eq!(
        both.reencrypt(WHO.0, WHO.1).await.unwrap(),
        0,
        "again does no harm"
    );
    assert_eq!(both.list()[0].version, 1, "it is the same secret");
    finds(&role(&server, NEW).await, TOKEN).await;
    finds(&stranger, TOKEN).await;
}

#[tokio::test]
async fn a_ciphertext_that_is_put_under_another_name_opens_nothing() {
    let server = NatsServer::start().await;
    let secrets = role(&server, OLD).await;
    put(&secrets, TOKEN, Mode::New).await.unwrap();
    let log = log(&server).await;
    let stored = log
        .last("SECRETS", "casement.secrets.shop.meta")
        .await
        .unwrap();
    let Ok(casement_event::Event::SecretStored(event)) = stored.unwrap().event() else {
        panic!("another event");
    };
    let stolen = v1::SecretStored {
        secret: event.secret.map(|secret| v1::StoredSecret {
            brand_id: "thief".to_owned(),
            ..secret
        }),
        ..event
    };
    let record = casement_event::Record::new(
        "casement.secrets.thief.meta".to_owned(),
        casement_event::Uuid::new_v4(),
        "casement/test",
        Timestamp::UNIX_EPOCH,
        stolen,
    );
    log.append(record, casement_event_log::Expect::Anything)
        .await
        .unwrap();
    eventually("it is seen", async || {
        (secrets.list().len() == 2).then_some(()).ok_or("one")
    })
    .await;
    assert!(matches!(
        secrets.stored("thief/meta"),
        Err(Missing::Closed { .. })
    ));
}

#[test]
fn a_pin_has_six_digits_and_is_drawn() {
    let pins: std::collections::BTreeSet<String> = (0..50)
        .map(|_| new_pin().expose_secret().to_owned())
        .collect();
    assert!(pins.len() > 40);
    assert!(
        pins.iter()
            .all(|pin| pin.len() == 6 && pin.bytes().all(|byte| byte.is_ascii_digit()))
    );
}
