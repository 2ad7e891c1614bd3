//! The role against a real broker: the file, the service, other writers, reports.

#![expect(
    clippy::unwrap_used,
    reason = "tests; clippy knows them only by their attribute, not the functions they share"
)]

mod applications;
mod consent;
mod house;
mod numbers;
mod onboarding;
mod templates;
mod watch;

use casement_accounts::{Config, start};
use casement_event::subject::{account, stream};
use casement_event::{Event, v1};
use casement_proto::account::v1 as api;
use casement_shell::auth::{Caller, Scope};
use casement_shell::config::ConfigError;
use casement_shell::grpc::reason;
use casement_testkit::eventually;
use tokio_util::sync::CancellationToken;
use tonic::Code;
use tonic_types::StatusExt as _;

use house::{House, brand, client, client_as, clock, connect, number, pause};

const NUMBER: &str = "+15550001111";

const FILE: &str = r#"
[[brand]]
brand_id = "shop"
display_name = "The Shop"

[[number]]
number = "+15550001111"
brand_id = "shop"
portfolio_id = "900"
waba_id = "800"
phone_number_id = "700"
token_env = "SHOP_META_TOKEN"

[[template]]
waba_id = "800"
name = "order_ready"
language = "en_US"
category = "utility"
body = "Hi {{1}}"
"#;

#[tokio::test]
async fn a_file_at_start_is_recorded_once_however_often_it_is_read() {
    let house = House::new().await;
    house.role(house.file(FILE)).await.unwrap();
    assert_eq!(
        house.events_count().await,
        4,
        "default brand, shop, number, template"
    );
    let Some(Event::NumberRecorded(event)) = house.last("number", "15550001111").await else {
        panic!("number is on record");
    };
    assert_eq!(event.caller, "accounts-file");
    assert_eq!(event.number.unwrap().brand_id, "shop");
    assert!(house.last("brand", "default").await.is_some());

    house.role(house.file(FILE)).await.unwrap();
    house.role(Config::default()).await.unwrap();
    assert_eq!(
        house.events_count().await,
        4,
        "the same again writes nothing"
    );

    let changed = FILE.replace("The Shop", "Our Shop");
    house.role(house.file(&changed)).await.unwrap();
    assert_eq!(
        house.events_count().await,
        5,
        "only what changed is written"
    );
}

#[tokio::test]
async fn a_wrong_file_is_a_wrong_configuration_with_every_problem() {
    let house = House::new().await;
    let text = FILE.replace(
        "brand_id = \"shop\"\nportfolio_id",
        "brand_id = \"shp\"\nportfolio_id",
    );
    let across = house.role(house.file(&text)).await.err().unwrap();
    assert!(
        format!("{across:#}").contains("number[0].brand_id"),
        "{across:#}"
    );
    let broken = house
        .role(house.file("[[number]]\nx = 1"))
        .await
        .err()
        .unwrap();
    let told = format!("{broken:#}");
    assert!(
        told.contains("number[0].x") && told.contains("number[0].token"),
        "{told}"
    );
    let absent = Config {
        file: Some(house.folder.path().join("absent.toml")),
        ..Config::default()
    };
    let absent = house.role(absent).await.err().unwrap();
    for error in [across, broken, absent] {
        let is_configuration = error
            .chain()
            .any(<dyn std::error::Error>::is::<ConfigError>);
        assert!(is_configuration, "{error:#}");
    }
    assert_eq!(
        house.events_count().await,
        0,
        "nothing of a wrong file is recorded"
    );
}

#[tokio::test]
async fn a_file_that_takes_another_numbers_phone_number_id_is_refused() {
    let house = House::new().await;
    house.role(house.file(FILE)).await.unwrap();
    let text = FILE.replace("+15550001111", "+15550002222");
    let error = house.role(house.file(&text)).await.err().unwrap();
    assert!(
        format!("{error:#}").contains("number[0].phone_number_id"),
        "{error:#}"
    );
}

#[tokio::test]
async fn a_pause_stands_on_the_log_and_survives_the_file() {
    let house = House::new().await;
    let role = house.role(house.file(FILE)).await.unwrap();
    let mut client = client(&role, "shop").await;

    let paused = client
        .pause_number(pause(NUMBER))
        .await
        .unwrap()
        .into_inner();
    assert!(paused.number.unwrap().paused);
    let before = house.events_count().await;
    let again = client
        .pause_number(pause(NUMBER))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(again.position, paused.position, "a repeat finds its write");
    assert_eq!(house.events_count().await, before);

    let Some(Event::NumberPaused(event)) = house.last("number", "15550001111").await else {
        panic!("number is paused");
    };
    let number = event.number.unwrap();
    assert!(number.paused);
    assert_eq!(number.pause_reason, "angry customers");
    assert_eq!(event.caller, "operator");
    let position: casement_event_log::Position = paused.position.parse().unwrap();
    assert!(house.log.has_reached(&position).await.unwrap());

    house.role(house.file(FILE)).await.unwrap();
    let get = api::GetNumberRequest {
        number: NUMBER.to_owned(),
    };
    let number = client
        .get_number(get)
        .await
        .unwrap()
        .into_inner()
        .number
        .unwrap();
    assert!(number.paused, "a restart resumes nothing");
    assert_eq!(number.number, NUMBER);

    let resume = api::ResumeNumberRequest {
        number: NUMBER.to_owned(),
    };
    let resumed = client.resume_number(resume).await.unwrap().into_inner();
    assert!(!resumed.number.unwrap().paused);
    assert!(matches!(
        house.last("number", "15550001111").await,
        Some(Event::NumberResumed(_))
    ));
}

#[tokio::test]
async fn writers_of_two_processes_settle() {
    let house = House::new().await;
    let theirs = start(
        Config::default(),
        connect(&house.server).await,
        casement_secrets::Secrets::default(),
        clock(),
    )
    .await
    .unwrap();
    let ours = house.role(Config::default()).await.unwrap();
    let mut ours = client(&ours, "*").await;
    let mut theirs = client(&theirs, "*").await;

    // Each knows only what was there before; both want things that cannot both be.
    let (one, two) = tokio::join!(
        ours.put_number(number(NUMBER, "default", "700")),
        theirs.put_number(number("+15550002222", "default", "700")),
    );
    let (granted, refused) = match (one, two) {
        (Ok(granted), Err(refused)) | (Err(refused), Ok(granted)) => (granted, refused),
        both => panic!("one is granted and one refused: {both:?}"),
    };
    assert_eq!(refused.code(), Code::AlreadyExists);
    assert_eq!(reason(&refused).as_deref(), Some("PHONE_NUMBER_ID_TAKEN"));
    let winner = granted.into_inner().number.unwrap().number;

    // Different wishes about one record: both are granted, one after the other.
    for round in 0..8 {
        let named = |name: &str| {
            let mut request = number(&winner, "default", "700");
            if let Some(number) = &mut request.number {
                number.display_name = format!("{name} {round}");
            }
            request
        };
        let (one, two) = tokio::join!(ours.put_number(named("a")), theirs.put_number(named("b")));
        let (one, two) = (one.unwrap().into_inner(), two.unwrap().into_inner());
        assert_ne!(one.position, two.position);
    }
    let listed = |numbers: api::ListNumbersResponse| numbers.numbers;
    let request = api::ListNumbersRequest::default;
    let seen_by_us = listed(ours.list_numbers(request()).await.unwrap().into_inner());
    let seen_by_them = listed(theirs.list_numbers(request()).await.unwrap().into_inner());
    assert_eq!(seen_by_us, seen_by_them);
    assert_eq!(seen_by_us.len(), 1);
}

#[tokio::test]
async fn a_reported_template_status_is_taken_up() {
    let house = House::new().await;
    let role = house.role(house.file(FILE)).await.unwrap();
    let stopping = CancellationToken::new();
    let running = tokio::spawn(role.run(stopping.clone()));

    house.report("PAUSED", "en-US", 2_000).await;
    let status_is = async |wanted: v1::TemplateStatus| {
        eventually("the report is taken up", async || {
            house.template_status().await == wanted
        })
        .await;
    };
    status_is(v1::TemplateStatus::Paused).await;

    // Late, in another language, and about nothing of ours: the rejection after them still counts.
    house.report("APPROVED", "en_US", 1_000).await;
    house.report("APPROVED", "de", 3_000).await;
    house.report("FLAGGED", "en_US", 3_000).await;
    house.report("REJECTED", "en_US", 4_000).await;
    status_is(v1::TemplateStatus::Rejected).await;
    let subject = account("template", "800-order_ready-en_US");
    let history = house
        .log
        .read_subject(stream::ACCOUNTS, &subject)
        .await
        .unwrap();
    assert_eq!(history.len(), 3, "recorded, paused, rejected");

    house.role(house.file(FILE)).await.unwrap();
    assert_eq!(
        house.template_status().await,
        v1::TemplateStatus::Rejected,
        "the file does not undo what the platform said"
    );
    stopping.cancel();
    running.await.unwrap().unwrap();
}

#[tokio::test]
async fn callers_stay_within_their_brand_and_scopes() {
    let house = House::new().await;
    let role = house.role(house.file(FILE)).await.unwrap();
    let mut every = client(&role, "*").await;
    every.put_brand(brand("other")).await.unwrap();
    every
        .put_number(number("+15550003333", "other", "703"))
        .await
        .unwrap();

    let mut other = client(&role, "other").await;
    let numbers = other
        .list_numbers(api::ListNumbersRequest::default())
        .await
        .unwrap()
        .into_inner()
        .numbers;
    assert_eq!(numbers.len(), 1);
    assert_eq!(numbers[0].number, "+15550003333");
    let brands = other
        .list_brands(api::ListBrandsRequest::default())
        .await
        .unwrap()
        .into_inner()
        .brands;
    assert_eq!(brands.len(), 1);
    let templates = other
        .list_templates(api::ListTemplatesRequest::default())
        .await
        .unwrap()
        .into_inner()
        .templates;
    assert!(templates.is_empty(), "the WABA is the shop's");

    let hidden = other.pause_number(pause(NUMBER)).await.unwrap_err();
    assert_eq!(hidden.code(), Code::NotFound);
    let taken = other.put_number(number(NUMBER, "other", "700")).await;
    assert_eq!(taken.unwrap_err().code(), Code::PermissionDenied);
    let foreign = other.put_brand(brand("shop")).await.unwrap_err();
    assert_eq!(reason(&foreign).as_deref(), Some("ANOTHER_BRAND"));

    let reader = Caller {
        name: "reader".to_owned(),
        brand: "shop".to_owned(),
        scopes: [Scope::Read].into(),
    };
    let mut reader = client_as(&role, reader).await;
    assert!(
        reader
            .list_brands(api::ListBrandsRequest::default())
            .await
            .is_ok()
    );
    let denied = reader.pause_number(pause(NUMBER)).await.unwrap_err();
    assert_eq!(denied.code(), Code::PermissionDenied);
}

#[tokio::test]
async fn an_unusable_request_names_its_fields() {
    let house = House::new().await;
    let role = house.role(Config::default()).await.unwrap();
    let mut client = client(&role, "*").await;
    let fields = |status: tonic::Status| -> Vec<String> {
        let details = status.get_details_bad_request().unwrap();
        details
            .field_violations
            .into_iter()
            .map(|violation| violation.field)
            .collect()
    };

    let absent = client.put_number(api::PutNumberRequest::default()).await;
    assert_eq!(fields(absent.unwrap_err()), ["number"]);
    let wrong = client.put_number(number("15550001111", "a.b", "700")).await;
    assert_eq!(
        fields(wrong.unwrap_err()),
        ["number.number", "number.brand_id", "number.waba_id"]
    );
    let wrong = client.pause_number(pause("15550001111")).await;
    assert_eq!(fields(wrong.unwrap_err()), ["number"]);
    let unknown = client
        .pause_number(pause("+15550009999"))
        .await
        .unwrap_err();
    assert_eq!(reason(&unknown).as_deref(), Some("NUMBER_UNKNOWN"));
    let brandless = client.put_number(number(NUMBER, "nobody", "700")).await;
    let brandless = brandless.unwrap_err();
    assert_eq!(brandless.code(), Code::FailedPrecondition);
    assert_eq!(reason(&brandless).as_deref(), Some("BRAND_UNKNOWN"));
}

#[tokio::test]
async fn templates_are_counted_and_paged() {
    let house = House::new().await;
    let role = house.role(house.file(FILE)).await.unwrap();
    let mut client = client(&role, "shop").await;
    for language in ["de", "fr", "es-MX"] {
        let template = v1::Template {
            waba_id: "800".to_owned(),
            name: "order_ready".to_owned(),
            language: language.to_owned(),
            category: v1::TemplateCategory::Utility.into(),
            status: v1::TemplateStatus::Approved.into(),
            body: "{{name}}: {{order}}".to_owned(),
            ..v1::Template::default()
        };
        let request = api::PutTemplateRequest {
            template: Some(template),
        };
        let put = client.put_template(request).await.unwrap().into_inner();
        assert_eq!(put.template.unwrap().body_parameter_count, 2);
    }
    let mut languages = Vec::new();
    let mut page_token = String::new();
    loop {
        let request = api::ListTemplatesRequest {
            waba_id: "800".to_owned(),
            page_size: 3,
            page_token,
            ..api::ListTemplatesRequest::default()
        };
        let page = client.list_templates(request).await.unwrap().into_inner();
        languages.extend(page.templates.into_iter().map(|template| template.language));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    assert_eq!(languages, ["de", "en_US", "es_MX", "fr"]);
}
