//! Applications against a real broker: the way to a number, what is refused, what falls due, what
//! the platform reports; and brands' settings.

use casement_accounts::{Config, Role, start};
use casement_event::convert::timestamp;
use casement_event::subject::{account, reported, stream};
use casement_event::v1::account_facts::Facts;
use casement_event::{Event, Record, Uuid, v1};
use casement_event_log::{Expect, Log};
use casement_proto::account::v1 as api;
use casement_proto::account::v1::application_service_client::ApplicationServiceClient;
use casement_secrets::Secrets;
use casement_shell::ManualClock;
use casement_shell::auth::Caller;
use casement_shell::grpc::reason;
use casement_testkit::eventually;
use jiff::{SignedDuration, Timestamp};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Channel;
use tonic::{Code, Request, Status};

use crate::house::{House, brand, client};

const NUMBER: &str = "+15550001111";

async fn served(role: &Role, brand: &str) -> ApplicationServiceClient<Channel> {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let caller = Caller::internal("operator", brand);
    let with_caller = move |mut request: Request<()>| {
        request.extensions_mut().insert(caller.clone());
        Ok(request)
    };
    let service = InterceptedService::new(role.applications(), with_caller);
    let serving =
        casement_shell::grpc::serve(listener, Routes::new(service), CancellationToken::new());
    tokio::spawn(serving);
    ApplicationServiceClient::connect(address).await.unwrap()
}

fn wanted(number: &str, business_id: &str, request_id: &str) -> api::StartApplicationRequest {
    api::StartApplicationRequest {
        brand_id: "default".to_owned(),
        business_id: business_id.to_owned(),
        number: number.to_owned(),
        display_name: "The Shop".to_owned(),
        request_id: request_id.to_owned(),
    }
}

fn verified(id: &str) -> api::RecordVerificationRequest {
    api::RecordVerificationRequest {
        application_id: id.to_owned(),
        status: v1::VerificationStatus::Verified.into(),
        evidence: "ticket 12".to_owned(),
        ..api::RecordVerificationRequest::default()
    }
}

fn activate(id: &str) -> api::ActivateNumberRequest {
    api::ActivateNumberRequest {
        application_id: id.to_owned(),
        onboarding_id: "o1".to_owned(),
        etag: String::new(),
    }
}

fn invite(id: &str) -> api::AcceptInviteRequest {
    api::AcceptInviteRequest {
        application_id: id.to_owned(),
        etag: String::new(),
    }
}

fn terms(id: &str, etag: &str) -> api::SignTermsRequest {
    api::SignTermsRequest {
        application_id: id.to_owned(),
        etag: etag.to_owned(),
    }
}

#[track_caller]
fn is_refused<T: std::fmt::Debug>(answer: Result<T, Status>, code: Code, why: &str) {
    let status = answer.unwrap_err();
    assert_eq!(
        (status.code(), reason(&status).as_deref()),
        (code, Some(why)),
        "{status:?}"
    );
}

async fn append(log: &Log, subject: String, event: Event) {
    let time = Timestamp::UNIX_EPOCH;
    let record = Record::new(subject, Uuid::new_v4(), "casement/test", time, event);
    log.append(record, Expect::Anything).await.unwrap();
}

/// An onboarding as its saga leaves it.
async fn onboarding(log: &Log, number: &str, state: v1::OnboardingState) {
    let onboarding = v1::Onboarding {
        onboarding_id: "o1".to_owned(),
        brand_id: "default".to_owned(),
        number: number.to_owned(),
        state: state.into(),
        ..v1::Onboarding::default()
    };
    let event = v1::OnboardingAdvanced {
        onboarding: Some(onboarding),
        ..v1::OnboardingAdvanced::default()
    };
    append(log, account("onboarding", "o1"), event.into()).await;
}

#[tokio::test]
async fn an_application_goes_step_by_step_and_ends_when_its_number_is_connected() {
    let house = House::new().await;
    let clock = ManualClock::new("2026-11-22T10:00:00Z".parse().unwrap());
    let log = house.log.clone();
    let role = start(Config::default(), log, Secrets::default(), clock.shared()).await;
    let role = role.unwrap();
    let mut applications = served(&role, "*").await;
    let stopping = CancellationToken::new();
    let started = applications
        .start_application(wanted(NUMBER, "900", "r1"))
        .await;
    let started = started.unwrap().into_inner();
    let first = started.application.unwrap();
    assert_eq!(first.number, NUMBER);
    assert_eq!(
        first.fee(),
        v1::ApplicationFee::NotRefundable,
        "told at the start"
    );
    let id = first.application_id.clone();
    let again = applications
        .start_application(wanted(NUMBER, "900", "r1"))
        .await;
    assert_eq!(again.unwrap().into_inner().position, started.position);

    let early = applications.sign_terms(terms(&id, "")).await;
    is_refused(early, Code::FailedPrecondition, "INVITE_NOT_ACCEPTED");
    applications.accept_invite(invite(&id)).await.unwrap();
    let stale = applications.sign_terms(terms(&id, &first.etag)).await;
    is_refused(stale, Code::Aborted, "ETAG_MISMATCH");
    applications.sign_terms(terms(&id, "")).await.unwrap();
    onboarding(&house.log, "15550001111", v1::OnboardingState::Running).await;
    let unverified = applications.activate_number(activate(&id)).await;
    is_refused(
        unverified,
        Code::FailedPrecondition,
        "BUSINESS_NOT_VERIFIED",
    );
    let by_hand = applications
        .record_verification(verified(&id))
        .await
        .unwrap();
    let verification = by_hand
        .into_inner()
        .application
        .unwrap()
        .verification
        .unwrap();
    assert_eq!(verification.source(), v1::VerificationSource::Caller);
    assert_eq!(
        (verification.caller.as_str(), verification.evidence.as_str()),
        ("operator", "ticket 12")
    );

    tokio::spawn(role.run(stopping.clone()));
    let handed = applications.activate_number(activate(&id)).await.unwrap();
    let handed = handed.into_inner().application.unwrap();
    assert_eq!(handed.state(), v1::ApplicationState::Activating);
    onboarding(&house.log, "15550001111", v1::OnboardingState::Done).await;
    let handed_again = applications.activate_number(activate(&id)).await;
    handed_again.unwrap();
    eventually("the application is activated", async || {
        // It asks every few seconds.
        clock.advance(SignedDuration::from_secs(2));
        matches!(
            house.last("application", &id).await,
            Some(Event::ApplicationActivated(event))
                if event.application.as_ref().is_some_and(|it| it.onboarding_id == "o1")
        )
    })
    .await;
    stopping.cancel();
}

#[tokio::test]
async fn what_the_platform_prohibits_is_refused_with_a_reason() {
    let house = House::new().await;
    let role = house.role(Config::default()).await.unwrap();
    client(&role, "*")
        .await
        .put_brand(brand("shop"))
        .await
        .unwrap();
    let mut applications = served(&role, "*").await;
    let start = applications
        .start_application(wanted(NUMBER, "900", "r1"))
        .await;
    let id = start
        .unwrap()
        .into_inner()
        .application
        .unwrap()
        .application_id;

    let second = applications
        .start_application(wanted(NUMBER, "901", "r2"))
        .await;
    is_refused(second, Code::AlreadyExists, "NUMBER_HAS_OPEN_APPLICATION");
    let other = applications
        .start_application(wanted(NUMBER, "901", "r1"))
        .await;
    is_refused(other, Code::FailedPrecondition, "BUSINESS_ID_FIXED");
    let update = |number: &str, business_id: &str| api::UpdateApplicationRequest {
        application: Some(v1::Application {
            application_id: id.clone(),
            number: number.to_owned(),
            business_id: business_id.to_owned(),
            ..v1::Application::default()
        }),
        update_mask: None,
    };
    let moved = applications
        .update_application(update("+15550002222", ""))
        .await;
    is_refused(moved, Code::FailedPrecondition, "NUMBER_FIXED");
    let sold = applications.update_application(update("", "901")).await;
    is_refused(sold, Code::FailedPrecondition, "BUSINESS_ID_FIXED");

    let cancel = |refund| api::CancelApplicationRequest {
        application_id: id.clone(),
        reason: "another provider".to_owned(),
        refund,
        etag: String::new(),
    };
    let refunded = applications.cancel_application(cancel(true)).await;
    is_refused(refunded, Code::FailedPrecondition, "FEE_NOT_REFUNDABLE");
    let mut strangers = served(&role, "shop").await;
    let stolen = strangers.cancel_application(cancel(false)).await;
    is_refused(stolen, Code::NotFound, "APPLICATION_UNKNOWN");
    let listed = strangers
        .list_applications(api::ListApplicationsRequest::default())
        .await;
    assert_eq!(listed.unwrap().into_inner().applications, []);

    let cancelled = applications
        .cancel_application(cancel(false))
        .await
        .unwrap();
    let cancelled = cancelled.into_inner().application.unwrap();
    assert_eq!(cancelled.state(), v1::ApplicationState::Cancelled);
    assert_eq!(
        cancelled.fee(),
        v1::ApplicationFee::NotRefundable,
        "told at the end, too"
    );
    applications
        .start_application(wanted(NUMBER, "901", "r3"))
        .await
        .unwrap();
    let of_state = api::ListApplicationsRequest {
        states: vec![v1::ApplicationState::Started.into()],
        number: NUMBER.to_owned(),
        ..api::ListApplicationsRequest::default()
    };
    let open = applications
        .list_applications(of_state)
        .await
        .unwrap()
        .into_inner();
    assert_eq!(open.applications.len(), 1);
    assert_eq!(open.applications[0].business_id, "901");
}

#[tokio::test]
async fn of_two_processes_that_start_at_once_one_gets_the_number() {
    let house = House::new().await;
    let (one, other) = tokio::join!(house.role(Config::default()), house.role(Config::default()));
    let (one, other) = (one.unwrap(), other.unwrap());
    let (mut one, mut other) = (served(&one, "*").await, served(&other, "*").await);
    let (first, second) = tokio::join!(
        one.start_application(wanted(NUMBER, "900", "")),
        other.start_application(wanted(NUMBER, "901", ""))
    );
    let granted = [&first, &second].iter().filter(|one| one.is_ok()).count();
    assert_eq!(granted, 1, "{first:?} {second:?}");
    let refused = if first.is_err() { first } else { second };
    is_refused(refused, Code::AlreadyExists, "NUMBER_HAS_OPEN_APPLICATION");
}

#[tokio::test]
async fn a_late_step_is_told_once_and_the_platforms_word_is_taken_up() {
    let house = House::new().await;
    let clock = ManualClock::new("2026-11-22T10:00:00Z".parse().unwrap());
    let log = house.log.clone();
    let role = start(
        Config::default(),
        log.clone(),
        Secrets::default(),
        clock.shared(),
    )
    .await;
    let role = role.unwrap();
    let mut applications = served(&role, "*").await;
    let stopping = CancellationToken::new();
    tokio::spawn(role.run(stopping.clone()));
    let started = applications
        .start_application(wanted(NUMBER, "900", ""))
        .await;
    let id = started
        .unwrap()
        .into_inner()
        .application
        .unwrap()
        .application_id;

    clock.advance(SignedDuration::from_hours(3 * 24 + 1));
    eventually("the invite is overdue", async || {
        matches!(
            house.last("application", &id).await,
            Some(Event::ApplicationStepOverdue(event))
                if event.step() == v1::ApplicationStep::Invite
        )
    })
    .await;
    applications.accept_invite(invite(&id)).await.unwrap();
    let before = house.events_count().await;

    let facts = v1::AccountUpdateFacts {
        event: "PARTNER_CLIENT_CERTIFICATION_STATUS_UPDATE".to_owned(),
        client_business_id: "900".to_owned(),
        verification_status: "APPROVED".to_owned(),
        ..v1::AccountUpdateFacts::default()
    };
    let event = v1::AccountReported {
        entry_id: "800".to_owned(),
        field: "account_update".to_owned(),
        facts: Some(v1::AccountFacts {
            facts: Some(Facts::AccountUpdate(facts)),
        }),
        times: Some(v1::Times {
            event_time: Some(timestamp("2026-11-25T12:00:00Z".parse().unwrap())),
            ..v1::Times::default()
        }),
        ..v1::AccountReported::default()
    };
    append(&log, reported("account", "800"), event.into()).await;
    eventually("the business is verified", async || {
        matches!(
            house.last("application", &id).await,
            Some(Event::BusinessVerificationChanged(event)) if event.caller == "platform"
        )
    })
    .await;
    assert_eq!(
        house.events_count().await,
        before + 2,
        "report and its outcome"
    );
    let state = log.state(stream::ACCOUNTS).await.unwrap();
    assert!(state.messages > 0);
    stopping.cancel();
}

#[tokio::test]
async fn a_brand_is_limited_by_whoever_answers_for_all_and_sees_what_it_may_use() {
    let house = House::new().await;
    let role = house.role(Config::default()).await.unwrap();
    let mut everybody = client(&role, "*").await;
    everybody.put_brand(brand("shop")).await.unwrap();
    everybody
        .put_number(crate::house::number(NUMBER, "shop", "700"))
        .await
        .unwrap();
    for name in ["shop_sale", "bakery_sale"] {
        let template = v1::Template {
            waba_id: "8shop".to_owned(),
            name: name.to_owned(),
            language: "en_US".to_owned(),
            category: v1::TemplateCategory::Utility.into(),
            status: v1::TemplateStatus::Approved.into(),
            body: "Hi".to_owned(),
            ..v1::Template::default()
        };
        let template = Some(template);
        let put = api::PutTemplateRequest { template };
        everybody.put_template(put).await.unwrap();
    }
    let limits = api::UpdateBrandRequest {
        brand: Some(v1::Brand {
            brand_id: "shop".to_owned(),
            monthly_cap: "12.50".to_owned(),
            templates: Some(v1::BrandTemplates {
                waba_ids: Vec::new(),
                names: vec!["shop_*".to_owned()],
            }),
            ..v1::Brand::default()
        }),
        update_mask: None,
    };
    let limited = everybody
        .update_brand(limits.clone())
        .await
        .unwrap()
        .into_inner();
    let limited = limited.brand.unwrap();
    assert_eq!(
        (limited.display_name.as_str(), limited.monthly_cap.as_str()),
        ("A brand", "12.50")
    );

    let mut shop = client(&role, "shop").await;
    let mut raised = limits;
    raised.brand.as_mut().unwrap().monthly_cap = "1000".to_owned();
    is_refused(
        shop.update_brand(raised).await,
        Code::PermissionDenied,
        "LIMITS_OF_BRAND",
    );
    // As before there were limits: they stay.
    let put = shop.put_brand(brand("shop")).await.unwrap().into_inner();
    assert_eq!(put.brand.unwrap().monthly_cap, "12.50");
    let listed = shop
        .list_templates(api::ListTemplatesRequest::default())
        .await
        .unwrap();
    let names: Vec<_> = listed
        .into_inner()
        .templates
        .into_iter()
        .map(|one| one.name)
        .collect();
    assert_eq!(names, ["shop_sale"]);
    let all = everybody
        .list_templates(api::ListTemplatesRequest::default())
        .await
        .unwrap();
    assert_eq!(all.into_inner().templates.len(), 2);

    // The file says what is fixed, and nothing of what changes at run time.
    let file = "[[brand]]\nbrand_id = \"shop\"\ndisplay_name = \"The Shop\"\n";
    house.role(house.file(file)).await.unwrap();
    let get = api::GetBrandRequest {
        brand_id: "shop".to_owned(),
    };
    let kept = shop
        .get_brand(get)
        .await
        .unwrap()
        .into_inner()
        .brand
        .unwrap();
    assert_eq!(
        (kept.display_name.as_str(), kept.monthly_cap.as_str()),
        ("The Shop", "12.50")
    );
}
