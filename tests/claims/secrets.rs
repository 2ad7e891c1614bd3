//! Tokens that arrive at run time are in force everywhere and stand nowhere: rotated without a
//! restart, readable by the roles that need them, in clear in no file, log or answer.

use casement_event::v1::{self, secret_ref::Source};
use casement_proto::account::v1 as api;
use casement_proto::message::v1 as message;
use casement_testkit::eventually;
use casement_tests::{
    ACCESS_TOKEN, NUMBER, Options, Role, ShippedBroker, Stack, holding, template,
};

const CUSTOMER: &str = "+15550002222";

/// A token that the platform does not take.
const WITHDRAWN: &str = "EAAG-withdrawn-493-817-ZQX";

#[tokio::test]
async fn a_rotated_token_counts_without_a_restart_and_no_token_stands_in_clear_anywhere() {
    let mut stack = Stack::with(Options {
        telemetry: "filter = \"debug\"".to_owned(),
        ..Options::default()
    })
    .await;
    let clients = stack.clients();
    stack.customer(CUSTOMER);
    let put = api::PutTokenRequest {
        name: "default/meta".to_owned(),
        token: WITHDRAWN.to_owned(),
    };
    let stored = clients
        .secrets
        .clone()
        .put_token(put)
        .await
        .unwrap()
        .into_inner();
    let reference = stored.reference.unwrap();
    assert_eq!(
        reference.source,
        Some(Source::Stored("default/meta".to_owned()))
    );
    let asked = api::GetNumberRequest {
        number: NUMBER.to_owned(),
    };
    let number = clients
        .accounts
        .clone()
        .get_number(asked)
        .await
        .unwrap()
        .into_inner();
    let number = v1::Number {
        token: Some(reference),
        ..number.number.unwrap()
    };
    let put = api::PutNumberRequest {
        number: Some(number),
    };
    clients.accounts.clone().put_number(put).await.unwrap();

    // As soon as the dispatcher knows the record, the platform refuses its token.
    let waiting = eventually("a send is refused for its token", async || {
        let sent = clients
            .send(CUSTOMER, template("hello", "order_update", "1"))
            .await;
        let id = sent.map_err(|status| status.to_string())?.message_id;
        let mut halts = clients.messages.clone();
        let halts = halts.list_halts(message::ListHaltsRequest {}).await;
        let halts = halts
            .map_err(|status| status.to_string())?
            .into_inner()
            .halts;
        if halts.is_empty() {
            Err("nothing is halted".to_owned())
        } else {
            Ok(id)
        }
    })
    .await;
    let rotate = api::RotateTokenRequest {
        name: "default/meta".to_owned(),
        token: ACCESS_TOKEN.to_owned(),
    };
    let rotated = clients.secrets.clone().rotate_token(rotate).await.unwrap();
    assert_eq!(rotated.into_inner().secret.unwrap().version, 2);
    let ended = clients.ended(&waiting).await;
    assert_eq!(ended.outcome(), v1::MessageOutcome::Delivered, "{ended:?}");

    let listed = clients
        .secrets
        .clone()
        .list_secrets(api::ListSecretsRequest {})
        .await;
    let listed = format!("{:?}", listed.unwrap().into_inner());
    let own = stack.path("casement.toml");
    let store = stack.nats.store_dir();
    assert!(
        !holding(&store, b"casement.secrets.default.meta").is_empty(),
        "files are looked at"
    );
    assert_eq!(
        holding(own.parent().unwrap(), WITHDRAWN.as_bytes()),
        [""; 0]
    );
    assert_eq!(holding(&store, WITHDRAWN.as_bytes()), [""; 0]);
    assert_eq!(holding(&store, ACCESS_TOKEN.as_bytes()), [""; 0]);
    for token in [WITHDRAWN, ACCESS_TOKEN] {
        assert!(!listed.contains(token));
        assert!(!stack.nats.log().contains(token));
        for role in Role::ALL {
            let process = stack.process(role, 0);
            for text in [process.stdout(), process.stderr()] {
                assert!(!text.contains(token), "{role:?} says it");
            }
        }
    }
    stack.stop().await;
}

#[tokio::test]
async fn only_the_roles_that_call_the_platform_read_stored_secrets_and_only_accounts_writes_them() {
    const READERS: [&str; 3] = ["accounts", "dispatcher", "ingress"];
    const OTHERS: [&str; 2] = ["window-tracker", "audit-projector"];
    let broker = ShippedBroker::start();
    let subject = "casement.secrets.shop.meta".to_owned();
    let record = || {
        casement_event::Record::new(
            subject.clone(),
            casement_event::Uuid::new_v4(),
            "casement/test",
            jiff::Timestamp::UNIX_EPOCH,
            v1::SecretStored::default(),
        )
    };
    let accounts = broker.connect("accounts").await;
    let stored = accounts
        .append(record(), casement_event_log::Expect::Anything)
        .await
        .unwrap();
    for role in READERS {
        let newest = broker
            .connect(role)
            .await
            .last("SECRETS", &subject)
            .await
            .unwrap();
        assert_eq!(newest.unwrap().sequence, stored.sequence, "{role}");
    }
    for role in OTHERS {
        let log = broker.connect(role).await;
        assert!(
            log.last("ACCOUNTS", "casement.accounts.>").await.is_ok(),
            "{role}"
        );
        assert!(log.last("SECRETS", &subject).await.is_err(), "{role}");
    }
    for role in READERS[1..].iter().chain(&OTHERS) {
        let log = broker.connect(role).await;
        let written = log
            .append(record(), casement_event_log::Expect::Anything)
            .await;
        assert!(written.is_err(), "{role}");
    }
    let state = accounts.state("SECRETS").await.unwrap();
    assert_eq!(state.last_sequence, stored.sequence);
}
