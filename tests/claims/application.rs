//! From an application to the first message of its number: invite, verification by webhook, terms,
//! sign-up, activation, an answer that is delivered. No secret of it is ever on the log.

use std::sync::{Arc, Mutex};

use casement_event::v1;
use casement_proto::account::v1 as accounts;
use casement_proto::message::v1 as message;
use casement_simulator::{BusinessSpec, SignUp, SignUpSpec, Verification};
use casement_testkit::{eventually, eventually_within};
use casement_tests::{Clients, Stack, free_form};
use futures::StreamExt as _;
use tonic::Code;

const NUMBER: &str = "+4930901820";
const CUSTOMER: &str = "+15550002222";
const PIN: &str = "867530";
const SOON: std::time::Duration = std::time::Duration::from_secs(30);

/// How the simulator's tokens begin.
const TOKENS: &str = "EAAsim";

/// All that goes over the log, as bytes.
struct Ear(Arc<Mutex<Vec<u8>>>);

impl Ear {
    async fn listen(stack: &Stack) -> Self {
        let client = stack.nats.client().await;
        let mut subscription = client
            .subscribe("casement.>")
            .await
            .expect("a subscription");
        client.flush().await.expect("the broker knows of it");
        let heard = Arc::new(Mutex::new(Vec::new()));
        let book = Arc::clone(&heard);
        tokio::spawn(async move {
            while let Some(message) = subscription.next().await {
                let mut heard = book.lock().expect("nobody panics with it");
                heard.extend_from_slice(message.subject.as_bytes());
                heard.extend_from_slice(&message.payload);
            }
        });
        Self(heard)
    }

    fn heard(&self, word: &str) -> bool {
        let heard = self.0.lock().expect("nobody panics with it");
        heard
            .windows(word.len())
            .any(|bytes| bytes == word.as_bytes())
    }
}

async fn application(clients: &Clients, id: &str) -> v1::Application {
    let request = accounts::GetApplicationRequest {
        application_id: id.to_owned(),
    };
    let answer = clients.applications.clone().get_application(request).await;
    let answer = answer.expect("it is on record").into_inner();
    answer.application.expect("an answer names it")
}

/// Starts an application and accepts its invite; returns its id.
async fn applied(clients: &Clients, business: &str) -> String {
    let mut service = clients.applications.clone();
    let request = accounts::StartApplicationRequest {
        brand_id: "default".to_owned(),
        business_id: business.to_owned(),
        number: NUMBER.to_owned(),
        display_name: "Bakery".to_owned(),
        request_id: "an-application".to_owned(),
    };
    let answer = service.start_application(request).await.expect("started");
    let started = answer.into_inner().application.expect("an answer names it");
    assert_eq!(started.fee(), v1::ApplicationFee::NotRefundable);
    let request = accounts::AcceptInviteRequest {
        application_id: started.application_id.clone(),
        etag: started.etag,
    };
    service.accept_invite(request).await.expect("accepted");
    started.application_id
}

/// Waits until the platform's word on the business has arrived.
async fn verified_as(clients: &Clients, id: &str, status: v1::VerificationStatus) {
    eventually(&format!("the business is {status:?}"), async || {
        let application = application(clients, id).await;
        let verification = application.verification.unwrap_or_default();
        let by_platform = verification.source() == v1::VerificationSource::Platform;
        if verification.status() == status && by_platform {
            Ok(())
        } else {
            Err(format!("{verification:?}"))
        }
    })
    .await;
}

/// Gives the sign-up's code to Casement and waits until the number is on the platform.
async fn onboarded(clients: &Clients, signed_up: &SignUp) -> v1::Onboarding {
    let request = accounts::StartOnboardingRequest {
        brand_id: "default".to_owned(),
        waba_id: signed_up.waba_id.clone(),
        phone_number_id: signed_up.phone_number_id.clone(),
        access: Some(accounts::start_onboarding_request::Access::Code(
            signed_up.code.clone(),
        )),
        pin: PIN.to_owned(),
        request_id: "an-onboarding".to_owned(),
        ..accounts::StartOnboardingRequest::default()
    };
    let answer = clients.onboardings.clone().start_onboarding(request).await;
    let started = answer.expect("started").into_inner().onboarding;
    let id = started.expect("an answer names it").onboarding_id;
    eventually_within(SOON, "the number is on the platform", async || {
        let request = accounts::GetOnboardingRequest {
            onboarding_id: id.clone(),
        };
        let answer = clients.onboardings.clone().get_onboarding(request).await;
        let answer = answer.map_err(|status| status.to_string())?.into_inner();
        let onboarding = answer.onboarding.ok_or("no record")?;
        match onboarding.state() {
            v1::OnboardingState::Done => Ok(onboarding),
            _ => Err(format!("{onboarding:?}")),
        }
    })
    .await
}

async fn activate(
    clients: &Clients,
    application_id: &str,
    onboarding_id: &str,
) -> Result<(), tonic::Status> {
    let request = accounts::ActivateNumberRequest {
        application_id: application_id.to_owned(),
        onboarding_id: onboarding_id.to_owned(),
        etag: String::new(),
    };
    clients
        .applications
        .clone()
        .activate_number(request)
        .await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_application_leads_to_a_number_whose_first_message_is_delivered() {
    let stack = Stack::start().await;
    let (clients, meta) = (stack.clients(), stack.simulator.clone());
    let ear = Ear::listen(&stack).await;
    let business = meta.put_business(BusinessSpec {
        name: "Bakery".to_owned(),
        ..BusinessSpec::default()
    });

    let id = applied(&clients, &business).await;
    let reasons = ["LEGAL_NAME_NOT_FOUND".to_owned()];
    meta.verify_business(&business, Verification::Rejected, &reasons)
        .unwrap();
    verified_as(&clients, &id, v1::VerificationStatus::Rejected).await;
    let rejected = application(&clients, &id).await.verification.unwrap();
    assert_eq!(rejected.reasons, reasons);

    let terms = accounts::SignTermsRequest {
        application_id: id.clone(),
        etag: String::new(),
    };
    clients
        .applications
        .clone()
        .sign_terms(terms)
        .await
        .unwrap();
    let signed_up = meta
        .sign_up(SignUpSpec {
            business_id: Some(business.clone()),
            phone: NUMBER.to_owned(),
            verified_name: "Bakery".to_owned(),
            ..SignUpSpec::default()
        })
        .unwrap();
    let onboarding = onboarded(&clients, &signed_up).await;
    assert_eq!(onboarding.portfolio_id, business);
    let early = activate(&clients, &id, &onboarding.onboarding_id).await;
    let early = early.expect_err("the business is not verified");
    assert_eq!(early.code(), Code::FailedPrecondition, "{early}");

    // The platform tells its times in seconds.
    eventually("the business is verified", async || {
        meta.verify_business(&business, Verification::Verified, &[])
            .map_err(|error| error.to_string())?;
        let verification = application(&clients, &id).await.verification;
        match verification.unwrap_or_default().status() {
            v1::VerificationStatus::Verified => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
    activate(&clients, &id, &onboarding.onboarding_id)
        .await
        .expect("the business is verified");
    eventually("the application is activated", async || {
        let application = application(&clients, &id).await;
        match application.state() {
            v1::ApplicationState::Activated => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;

    let customer = stack.customer(CUSTOMER);
    meta.says(&customer, &signed_up.phone_number_id, "Are you open?")
        .unwrap();
    let request = message::SendMessageRequest {
        number: NUMBER.to_owned(),
        customer: Some(message::send_message_request::Customer::To(
            CUSTOMER.to_owned(),
        )),
        content: Some(free_form("From seven on.")),
        purpose: v1::Purpose::Service.into(),
        request_id: "the-first-send".to_owned(),
        ..message::SendMessageRequest::default()
    };
    let sent = eventually("the window opens and the answer is accepted", async || {
        let request = request.clone();
        let answer = clients.messages.clone().send_message(request).await;
        let answer = answer.map_err(|status| status.to_string())?;
        answer.into_inner().message.ok_or("no message".to_owned())
    })
    .await;
    let ended = clients.ended(&sent.message_id).await;
    assert_eq!(ended.outcome(), v1::MessageOutcome::Delivered, "{ended:#?}");
    let at_meta = meta.sent();
    assert_eq!(at_meta.len(), 1, "{at_meta:?}");
    assert_eq!(at_meta[0].from, signed_up.phone_number_id);
    assert_eq!(at_meta[0].text, "From seven on.");

    assert!(ear.heard(&id), "the ear heard what went over the log");
    for secret in [PIN, signed_up.code.as_str(), TOKENS] {
        assert!(!ear.heard(secret), "{secret} is on the log");
    }
    stack.stop().await;
}
