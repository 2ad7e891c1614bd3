//! Who took data out and who was refused is on record, before the data leaves and without a way to
//! fill the record.

use std::fs;

use casement_event::{Event, v1};
use casement_proto::account::v1 as account;
use casement_proto::audit::v1 as audit;
use casement_proto::audit::v1::Act;
use casement_proto::repair::v1 as repair;
use casement_shell::http::{ClientOptions, client};
use casement_testkit::eventually;
use casement_tests::{Clients, NUMBER, PHONE_NUMBER_ID, Role, Stack, WABA};
use serde_json::json;

/// May read, for one brand, and no more.
const NARROW: &str = "a-token-of-one-brand-that-may-read";

/// Waits until all of these acts are listed: type, caller, what it was done to.
async fn listed(clients: &Clients, expected: &[(&str, &str, &str)]) -> Vec<Act> {
    eventually("the acts are on record", async || {
        let asked = audit::ListActsRequest {
            page_size: 500,
            ..Default::default()
        };
        let acts = clients.audit.clone().list_acts(asked).await;
        let acts = acts.map_err(|status| status.to_string())?.into_inner().acts;
        for (kind, caller, target) in expected {
            let is_it = |act: &Act| {
                act.event_type == format!("casement.events.v1.{kind}")
                    && act.caller == *caller
                    && act.target == *target
            };
            if !acts.iter().any(is_it) {
                return Err(format!("no {kind} {caller} {target} in {acts:#?}"));
            }
        }
        Ok(acts)
    })
    .await
}

#[tokio::test]
async fn taking_data_out_is_on_record_with_who_did_it() {
    let stack = Stack::start().await;
    let clients = stack.clients();
    // An item that nobody can read is a dead letter.
    let value = json!({
        "messaging_product": "whatsapp",
        "metadata": { "display_phone_number": NUMBER, "phone_number_id": PHONE_NUMBER_ID },
        "messages": [{ "type": "text" }],
    });
    let change = json!({ "field": "messages", "value": value });
    let post = json!({ "object": "whatsapp_business_account",
        "entry": [{ "id": WABA, "changes": [change] }] });
    assert_eq!(stack.post(post.to_string().as_bytes()).await, Some(200));
    let mut repairs = Clients::repairs(stack.api_port(Role::Ingress, 0));
    let sequence = eventually("there is a dead letter", async || {
        let mut repairs = repairs.clone();
        let asked = repair::ListDeadLettersRequest::default();
        let letters = repairs.list_dead_letters(asked).await;
        let letters = letters.map_err(|status| status.to_string())?.into_inner();
        let first = letters.letters.first().map(|letter| letter.sequence);
        first.ok_or_else(|| "none yet".to_owned())
    })
    .await;
    let shown = repairs.get_dead_letter(repair::GetDeadLetterRequest { sequence });
    shown.await.expect("it is shown");
    let mut audit = clients.audit.clone();
    let export = audit.export_archive(audit::ExportArchiveRequest::default());
    drop(export.await.expect("it begins"));
    let rebuilt = audit.rebuild_read_models(audit::RebuildReadModelsRequest {});
    rebuilt.await.expect("it is asked for");
    let export = clients.consents.clone();
    let export = { export }
        .export_consents(account::ExportConsentsRequest {
            number: NUMBER.to_owned(),
            include_identifiers: true,
        })
        .await;
    drop(export.expect("it begins"));
    let letter = format!("dead_letter {sequence}");
    let acts = listed(
        &clients,
        &[
            ("DataShown", "test", "archive"),
            ("DataShown", "test", "consents"),
            ("DataShown", "test", &letter),
            ("ReadModelsAsked", "test", "read models"),
        ],
    )
    .await;
    let consents = acts.iter().find(|act| act.target == "consents");
    assert_eq!(consents.expect("listed").number, NUMBER);
    stack.stop().await;
}

#[tokio::test]
async fn who_is_refused_is_on_record_by_kind_at_a_role_and_at_a_gateway_without_a_log() {
    let mut stack = Stack::without_roles(&casement_tests::Options::default()).await;
    let path = stack.path("casement.toml");
    let text = fs::read_to_string(&path).expect("a configuration");
    let narrow =
        format!("[[api.tokens]]\nname = \"narrow\"\ntoken = \"{NARROW}\"\nscopes = [\"read\"]\n");
    fs::write(&path, text + &narrow).expect("it is ours");
    for role in Role::ALL {
        stack.start_role(role, 0).await;
    }
    stack.start_role(Role::Gateway, 0).await;
    let events = stack.events_of("casement.accounts.refused.>").await;
    let http = client(&ClientOptions::default()).expect("a client");
    let api = format!("http://127.0.0.1:{}", stack.api_port(Role::Gateway, 0));
    let call = async |path: &str, token: &str| {
        let call = http.get(format!("{api}{path}")).bearer_auth(token);
        call.send().await.expect("an answer").status().as_u16()
    };
    // One role refuses what a token may not do, another counts who has none.
    let delete = http
        .post(format!("{api}/v1/secrets:delete"))
        .bearer_auth(NARROW)
        .json(&json!({ "name": "default/meta" }));
    let answer = delete.send().await.expect("an answer");
    assert_eq!(answer.status().as_u16(), 403);
    for _ in 0..15 {
        assert_eq!(call("/v1/acts", "nobody-knows-it").await, 401);
    }
    let console = stack.console_url();
    let sign_in = http
        .post(format!("{console}/sign-in"))
        .header("origin", &console)
        .form(&[("token", "nobody-knows-it"), ("next", "/numbers")]);
    let answer = sign_in.send().await.expect("an answer");
    assert_eq!(answer.status().as_u16(), 401);

    let clients = stack.clients();
    listed(
        &clients,
        &[
            (
                "AccessRefused",
                "narrow",
                "casement.account.v1.SecretService/DeleteSecret",
            ),
            ("AccessRefused", "(no good token)", "api"),
        ],
    )
    .await;
    // What follows is told a minute later, in one event a kind: sixteen calls are no sixteen events.
    let heard = events.all("AccessRefused");
    let by = |role: &str, door: &str| -> Vec<v1::AccessRefused> {
        let told = heard.iter().filter_map(|heard| match &heard.event {
            Event::AccessRefused(event) => Some(event.clone()),
            _ => None,
        });
        told.filter(|event| event.role == role && event.door == door)
            .collect()
    };
    let denied = by("accounts", "api");
    assert_eq!(denied.len(), 1, "{denied:?}");
    assert_eq!(
        (denied[0].brand_id.as_str(), denied[0].count),
        ("default", 1)
    );
    assert_eq!(denied[0].reason, "MISSING_SCOPE");
    let unknown = by("audit-projector", "api");
    assert_eq!(unknown.len(), 1, "{unknown:?}");
    assert_eq!(unknown[0].reason, "TOKEN_UNKNOWN");
    assert!((1..=15).contains(&unknown[0].count), "{unknown:?}");
    stack.stop().await;
}
