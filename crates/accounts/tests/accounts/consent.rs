//! The ledger of consent: recorded, imported, listed, exported; by brand, and idempotent.

use casement_accounts::Role;
use casement_event::convert::timestamp;
use casement_event::subject::stream;
use casement_event::v1;
use casement_event_log::customers::Tokens;
use casement_proto::account::v1 as api;
use casement_proto::account::v1::ConsentState::{OptedIn, OptedOut, Silent};
use casement_proto::account::v1::consent_item::Customer;
use casement_proto::account::v1::consent_result::Result as Told;
use casement_proto::account::v1::consent_service_client::ConsentServiceClient;
use casement_shell::auth::{Caller, Scope};
use casement_shell::grpc::reason;
use jiff::Timestamp;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Channel;
use tonic::{Code, Request};

use crate::house::{House, brand, client, number};
use crate::{FILE, NUMBER};

const ANA: &str = "+15550002222";

fn at(text: &str) -> prost_types::Timestamp {
    let at: Timestamp = text.parse().unwrap();
    timestamp(at)
}

async fn consents_as(role: &Role, caller: Caller) -> ConsentServiceClient<Channel> {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let with_caller = move |mut request: Request<()>| {
        request.extensions_mut().insert(caller.clone());
        Ok(request)
    };
    let tokens = Tokens::new("key-of-the-test".to_owned().into());
    let service = role.consents(tokens, CancellationToken::new());
    let service = InterceptedService::new(service, with_caller);
    let serving =
        casement_shell::grpc::serve(listener, Routes::new(service), CancellationToken::new());
    tokio::spawn(serving);
    ConsentServiceClient::connect(address).await.unwrap()
}

async fn consents(role: &Role, brand: &str) -> ConsentServiceClient<Channel> {
    consents_as(role, Caller::internal("crm", brand)).await
}

/// An opt-in to marketing on WhatsApp.
fn item(to: &str, state: api::ConsentState, time: &str, item_id: &str) -> api::ConsentItem {
    api::ConsentItem {
        number: NUMBER.to_owned(),
        customer: Some(Customer::To(to.to_owned())),
        state: state.into(),
        purposes: vec![v1::Purpose::Marketing.into()],
        channels: vec![v1::Channel::Whatsapp.into()],
        source: v1::ConsentSource::WebForm.into(),
        time: Some(at(time)),
        wording: "Send me offers".to_owned(),
        wording_version: "2".to_owned(),
        language: "en".to_owned(),
        evidence: "form 7".to_owned(),
        recorded_by: "shop".to_owned(),
        item_id: item_id.to_owned(),
    }
}

async fn record(
    client: &mut ConsentServiceClient<Channel>,
    item: api::ConsentItem,
) -> api::RecordConsentResponse {
    let request = api::RecordConsentRequest { item: Some(item) };
    client.record_consent(request).await.unwrap().into_inner()
}

async fn state(client: &mut ConsentServiceClient<Channel>, to: &str) -> api::ConsentState {
    let request = api::GetConsentRequest {
        number: NUMBER.to_owned(),
        customer: Some(api::get_consent_request::Customer::To(to.to_owned())),
    };
    let answer = client.get_consent(request).await.unwrap().into_inner();
    let mut standings = answer.standings.into_iter();
    let found = standings.find(|one| {
        one.channel() == v1::Channel::Whatsapp && one.purpose() == v1::Purpose::Marketing
    });
    found.unwrap().state()
}

#[tokio::test]
async fn who_never_wrote_is_taken_up_and_the_latest_word_counts_by_the_customers_time() {
    let house = House::new().await;
    let role = house.role(house.file(FILE)).await.unwrap();
    let mut crm = consents(&role, "shop").await;
    assert_eq!(state(&mut crm, ANA).await, Silent);
    let first = record(&mut crm, item(ANA, OptedIn, "2026-11-20T10:00:00.7Z", "1")).await;
    assert!(first.is_recorded && !first.customer_id.is_empty());
    assert_eq!(first.words[0].time, Some(at("2026-11-20T10:00:00Z")));
    assert_eq!(state(&mut crm, ANA).await, OptedIn);

    let again = record(&mut crm, item(ANA, OptedOut, "2026-11-21T10:00:00Z", "1")).await;
    assert!(
        !again.is_recorded,
        "the item was recorded, whatever it says now"
    );
    assert_eq!(again.position, first.position);
    for (word, time, id, expected) in [
        (OptedOut, "2026-11-19T10:00:00Z", "2", OptedIn),
        (OptedOut, "2026-11-21T10:00:00Z", "3", OptedOut),
        (OptedIn, "2026-11-21T10:00:00.9Z", "4", OptedOut),
        (OptedIn, "2026-11-21T10:00:01Z", "5", OptedIn),
    ] {
        let recorded = record(&mut crm, item(ANA, word, time, id)).await;
        assert!(recorded.is_recorded, "{id}");
        assert_eq!(recorded.customer_id, first.customer_id);
        assert_eq!(state(&mut crm, ANA).await, expected, "{id}");
    }

    // The ledger has each of them, in the order in which they were recorded.
    let mut request = api::ListConsentChangesRequest {
        number: NUMBER.to_owned(),
        customer: Some(api::list_consent_changes_request::Customer::CustomerId(
            first.customer_id,
        )),
        page_size: 2,
        page_token: String::new(),
    };
    let mut said = Vec::new();
    loop {
        let page = crm.list_consent_changes(request.clone()).await.unwrap();
        let page = page.into_inner();
        for change in page.changes {
            assert_eq!((change.caller.as_str(), change.added.len()), ("crm", 1));
            let added = &change.added[0];
            assert_eq!(
                (added.evidence.as_str(), added.recorded_by.as_str()),
                ("form 7", "shop")
            );
            said.push(added.allowed);
        }
        if page.next_page_token.is_empty() {
            break;
        }
        request.page_token = page.next_page_token;
    }
    assert_eq!(said, [true, false, false, true, true]);

    // Nothing personal where everybody looks.
    let mut from = 1;
    while let Some(stored) = house.log.next(stream::CUSTOMERS, ">", from).await.unwrap() {
        let seen = format!("{} {:?}", stored.subject, stored.headers);
        assert!(!seen.contains("15550002222"), "{seen}");
        from = stored.sequence + 1;
    }
}

#[tokio::test]
async fn an_import_answers_each_item_in_its_place_and_repeating_it_writes_nothing() {
    let house = House::new().await;
    let role = house.role(house.file(FILE)).await.unwrap();
    let mut crm = consents(&role, "shop").await;
    let time = "2026-11-20T10:00:00Z";
    let items = || {
        let mut wrong = item("15550002222", OptedIn, time, "b");
        wrong.time = Some(at("2026-11-23T10:00:00Z"));
        let mut elsewhere = item(ANA, OptedIn, time, "c");
        elsewhere.number = "+15550009999".to_owned();
        vec![
            item(ANA, OptedIn, time, "a"),
            wrong,
            elsewhere,
            item("+15550003333", OptedOut, time, "d"),
            item(ANA, OptedIn, time, ""),
        ]
    };
    for is_first in [true, false] {
        let requests = items()
            .into_iter()
            .map(|item| api::ImportConsentsRequest { item: Some(item) });
        let answers = crm.import_consents(futures::stream::iter(requests)).await;
        let mut answers = answers.unwrap().into_inner();
        let mut told = Vec::new();
        while let Some(answer) = answers.message().await.unwrap() {
            assert_eq!(answer.index, told.len() as u64);
            told.push(match answer.result.unwrap().result.unwrap() {
                Told::Accepted(accepted) => Ok(accepted.is_recorded),
                Told::Refused(refused) => {
                    let fields = refused.fields.into_iter().map(|one| one.field);
                    Err((refused.reason, fields.collect::<Vec<_>>()))
                }
            });
        }
        let fields = |fields: &[&str]| {
            let fields = fields.iter().map(|one| (*one).to_owned()).collect();
            Err(("INVALID_FIELD".to_owned(), fields))
        };
        assert_eq!(
            told,
            [
                Ok(is_first),
                fields(&["item.to", "item.time"]),
                Err(("NUMBER_UNKNOWN".to_owned(), vec![])),
                Ok(is_first),
                fields(&["item.item_id"]),
            ]
        );
    }
    assert_eq!(state(&mut crm, ANA).await, OptedIn);
    assert_eq!(state(&mut crm, "+15550003333").await, OptedOut);

    // What was imported comes out again, with its names for whoever may see them.
    let request = api::ExportConsentsRequest {
        number: NUMBER.to_owned(),
        include_identifiers: true,
    };
    let answers = crm.export_consents(request.clone()).await.unwrap();
    let mut answers = answers.into_inner();
    let mut told = Vec::new();
    while let Some(answer) = answers.message().await.unwrap() {
        told.push((answer.to, answer.words[0].allowed));
    }
    told.sort();
    assert_eq!(
        told,
        [(ANA.to_owned(), true), ("+15550003333".to_owned(), false)]
    );
    let mut reader = Caller::internal("reader", "shop");
    reader.scopes = [Scope::Read].into();
    let mut reader = consents_as(&role, reader).await;
    let refused = reader.export_consents(request).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied);
}

#[tokio::test]
async fn a_brand_sees_and_writes_its_own_numbers_ledger_only() {
    let house = House::new().await;
    let role = house.role(house.file(FILE)).await.unwrap();
    let mut operator = client(&role, "*").await;
    operator.put_brand(brand("other")).await.unwrap();
    operator
        .put_number(number("+15550001112", "other", "701"))
        .await
        .unwrap();
    let mut other = consents(&role, "other").await;
    let theirs = item(ANA, OptedIn, "2026-11-20T10:00:00Z", "1");
    let request = api::RecordConsentRequest { item: Some(theirs) };
    let refused = other.record_consent(request).await.unwrap_err();
    assert_eq!(reason(&refused).as_deref(), Some("NUMBER_UNKNOWN"));
    assert_eq!(
        house.log.state(stream::CUSTOMERS).await.unwrap().messages,
        0
    );
}
