//! The calls against the simulator, which keeps Meta's rules from books of its own.

use std::sync::Arc;

use casement_simulator::{
    AccountSpec, Config, NumberConfig, REGISTRATIONS_MAX, Running, SignUpSpec, Simulator, Upset,
    UpsetKind, Verification,
};
use jiff::Timestamp;
use secrecy::SecretString;

use super::tests::manager;
use super::*;
use crate::errors::Refused;

const APP: &str = "620010020030040";
const PHONE: &str = "+4930901820";
const WABA: &str = "800";
const NUMBER: &str = "700";

fn secret(text: &str) -> SecretString {
    SecretString::from(text)
}

async fn set() -> (Running, Manager) {
    let now = Timestamp::from_second(1_790_000_000).unwrap();
    let mut config = Config::new(Arc::new(move || now));
    config.numbers = vec![NumberConfig {
        phone_number_id: NUMBER.to_owned(),
        display_phone_number: PHONE.to_owned(),
        waba_id: WABA.to_owned(),
        token: secret("the-numbers-token"),
    }];
    let running = Simulator::start(config).await.unwrap();
    let manager = manager(&running.base_url());
    (running, manager)
}

#[tokio::test]
async fn a_sign_up_becomes_a_connected_number() {
    let (running, manager) = set().await;
    let handle = running.handle();
    let signed_up = handle
        .sign_up(SignUpSpec {
            phone: "+4930901821".to_owned(),
            verified_name: "Bakery".to_owned(),
            ..SignUpSpec::default()
        })
        .unwrap();
    let (app_secret, code) = (secret("demo-app-secret"), secret(&signed_up.code));
    let exchanged = manager
        .exchange_code(APP, &app_secret, &code)
        .await
        .unwrap();
    let token = exchanged.token;
    let again = manager.exchange_code(APP, &app_secret, &code).await;
    assert_eq!(again.unwrap_err().refused(), Some(Refused::SignUpCode));

    let info = manager
        .inspect_token(&token, APP, &app_secret)
        .await
        .unwrap();
    assert!(info.is_valid && info.covers("whatsapp_business_management", &signed_up.waba_id));
    assert!(!info.covers("whatsapp_business_management", WABA));

    let waba = signed_up.waba_id.as_str();
    assert_eq!(manager.subscribed_apps(&token, waba).await.unwrap(), []);
    manager.subscribe(&token, waba).await.unwrap();
    let apps = manager.subscribed_apps(&token, waba).await.unwrap();
    assert_eq!(apps[0].id, APP);

    let id = signed_up.phone_number_id.as_str();
    let before = manager.number(&token, id).await.unwrap();
    assert_eq!(
        (before.status.as_str(), before.is_pin_enabled),
        ("PENDING", Some(false))
    );
    assert_eq!(before.health.unwrap().can_send, "BLOCKED");
    let pin = secret("123456");
    manager.register(&token, id, &pin, None).await.unwrap();
    let number = manager.number(&token, id).await.unwrap();
    assert!(number.is_connected());
    assert_eq!(
        (number.e164().as_str(), number.is_on_app),
        ("+4930901821", Some(false))
    );
    assert_eq!(number.messaging_limit, "TIER_250");
    let account = manager.account(&token, waba).await.unwrap();
    assert_eq!(account.portfolio_id.as_ref(), Some(&signed_up.business_id));
    assert!(account.is_approved() && !account.is_business_verified());
    assert_eq!(account.funding_id, None);
    handle
        .verify_business(&signed_up.business_id, Verification::Verified, &[])
        .unwrap();
    let business = manager
        .business(&token, &signed_up.business_id)
        .await
        .unwrap();
    assert!(business.is_verified());
    manager.unsubscribe(&token, waba).await.unwrap();
    assert_eq!(manager.subscribed_apps(&token, waba).await.unwrap(), []);
    running.stop().await;
}

#[tokio::test]
async fn a_number_moves_to_another_account_by_the_clients_calls() {
    let (running, manager) = set().await;
    let handle = running.handle();
    let there = handle
        .put_account(AccountSpec {
            is_subscribed: true,
            ..AccountSpec::default()
        })
        .unwrap();
    handle.share_account("the-partners-token", &there).unwrap();
    let (old, token) = (secret("the-numbers-token"), secret("the-partners-token"));
    let pin = secret("123456");
    manager.set_pin(&old, NUMBER, &pin).await.unwrap();
    let moving = NewNumber {
        country_code: "49",
        phone: PHONE,
        verified_name: None,
        migrate: true,
    };
    let refused = manager.add_number(&token, &there, &moving).await;
    let error = refused.unwrap_err();
    assert_eq!(error.refused(), Some(Refused::NotEligible));
    let CallError::Refused(told) = &error else {
        panic!("{error}")
    };
    assert!(told.details.as_deref().unwrap().contains("two-step"));

    handle.disable_two_step(NUMBER).unwrap();
    let id = manager.add_number(&token, &there, &moving).await.unwrap();
    let again = manager.add_number(&token, &there, &moving).await;
    assert_eq!(again.unwrap_err().refused(), Some(Refused::NumberThere));
    let listed = manager.numbers(&token, &there).await.unwrap();
    assert_eq!(
        (listed[0].id.as_str(), listed[0].status.as_str()),
        (id.as_str(), "PENDING")
    );
    let early = manager.register(&token, &id, &pin, None).await;
    assert_eq!(early.unwrap_err().refused(), Some(Refused::VerifyFirst));
    manager
        .request_code(&token, &id, CodeMethod::Sms, "de_DE")
        .await
        .unwrap();
    let code = handle.verification_code(&id).unwrap();
    let guess = secret(if code == "000000" { "000001" } else { "000000" });
    let wrong = manager.verify_code(&token, &id, &guess).await;
    assert_eq!(wrong.unwrap_err().refused(), Some(Refused::CodeWrong));
    manager
        .verify_code(&token, &id, &secret(&code))
        .await
        .unwrap();
    assert!(manager.number(&old, NUMBER).await.unwrap().is_connected());
    manager.register(&token, &id, &pin, None).await.unwrap();
    assert!(manager.number(&token, &id).await.unwrap().is_connected());
    let gone = manager.number(&old, NUMBER).await;
    assert_eq!(gone.unwrap_err().refused(), Some(Refused::NotThere));
    running.stop().await;
}

#[tokio::test]
async fn pins_and_budgets_are_refused_by_name() {
    let (running, manager) = set().await;
    let token = secret("the-numbers-token");
    let (right, wrong) = (secret("123456"), secret("654321"));
    manager
        .register(&token, NUMBER, &right, None)
        .await
        .unwrap();
    let refused = manager.register(&token, NUMBER, &wrong, None).await;
    assert_eq!(refused.unwrap_err().refused(), Some(Refused::PinWrong));
    manager.deregister(&token, NUMBER).await.unwrap();
    let twice = manager.deregister(&token, NUMBER).await;
    assert_eq!(twice.unwrap_err().refused(), Some(Refused::NotRegistered));
    for _ in 2..REGISTRATIONS_MAX {
        manager
            .register(&token, NUMBER, &right, None)
            .await
            .unwrap();
    }
    let locked = manager.register(&token, NUMBER, &right, None).await;
    let error = locked.unwrap_err();
    assert_eq!(error.refused(), Some(Refused::RegistrationLocked));
    assert_eq!(error.code(), Some(133_016));
    running.stop().await;
}

#[tokio::test]
async fn an_answer_that_got_lost_is_ambiguous_and_the_number_shows_what_became_of_it() {
    let (running, manager) = set().await;
    let token = secret("the-numbers-token");
    running.handle().upset(Upset {
        call: "deregister".to_owned(),
        kind: UpsetKind::LoseAnswer,
        times: 1,
    });
    let error = manager.deregister(&token, NUMBER).await.unwrap_err();
    assert!(error.is_ambiguous(), "{error}");
    let number = manager.number(&token, NUMBER).await.unwrap();
    assert_eq!(number.status, "DISCONNECTED");
    running.stop().await;
}

#[tokio::test]
async fn a_version_that_does_not_know_a_field_is_asked_for_the_others() {
    let (running, manager) = set().await;
    let token = secret("the-numbers-token");
    running.handle().upset(Upset {
        call: NUMBER.to_owned(),
        kind: UpsetKind::Refuse(100),
        times: 1,
    });
    let number = manager.number(&token, NUMBER).await.unwrap();
    assert!(number.is_connected() && number.health.is_none());
    running.stop().await;
}
