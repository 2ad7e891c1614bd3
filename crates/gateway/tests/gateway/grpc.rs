//! Claims about gRPC through the gateway.

use casement_gateway::{CALL_TIMED_OUT, Config, REQUEST_TOO_LARGE, UPSTREAM_UNREACHABLE};
use casement_proto::account::v1::ListBrandsRequest;
use casement_proto::account::v1::account_service_client::AccountServiceClient;
use casement_proto::audit::v1::ListEventsRequest;
use casement_proto::audit::v1::audit_service_client::AuditServiceClient;
use casement_proto::window::v1::BatchGetWindowsRequest;
use casement_shell::auth::{MISSING_SCOPE, UNAUTHENTICATED_TOKEN};
use casement_shell::grpc::reason;
use casement_testkit::eventually;
use jiff::SignedDuration;
use tonic::{Code, Request};
use tonic_reflection::pb::v1::ServerReflectionRequest;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;
use tonic_types::StatusExt as _;

use crate::stage::{Bearer, HELD, REFUSED, Stage, ask};

#[tokio::test]
async fn a_call_reaches_its_role_with_token_and_metadata() {
    for stage in [
        Stage::remote(Config::default()).await,
        Stage::local(Config::default()).await,
    ] {
        let mut windows = stage.windows("reader-token").await;
        let mut request = Request::new(ask("+49"));
        request
            .metadata_mut()
            .insert("x-probe", "seen".parse().unwrap());
        let response = windows.get_window(request).await.unwrap();
        assert_eq!(response.metadata().get("x-answered-by").unwrap(), "windows");
        let window = response.into_inner().window.unwrap();
        assert_eq!(window.number, "+49");
        assert_eq!(window.position, "reader");
        assert_eq!(window.window_id, "seen");
    }
}

#[tokio::test]
async fn a_refusal_arrives_with_its_details() {
    let stage = Stage::remote(Config::default()).await;
    let mut windows = stage.windows("reader-token").await;
    let status = windows.get_window(ask(REFUSED)).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    let violations = status.get_details_bad_request().unwrap().field_violations;
    assert_eq!(violations[0].field, "number");
    assert_eq!(violations[1].field, "customer");
}

#[tokio::test]
async fn who_has_no_token_or_no_scope_reaches_no_role() {
    let stage = Stage::remote(Config::default()).await;
    for token in ["", "nonsense"] {
        let mut windows = stage.windows(token).await;
        let status = windows.get_window(ask("+49")).await.unwrap_err();
        assert_eq!(status.code(), Code::Unauthenticated);
        assert_eq!(reason(&status).as_deref(), Some(UNAUTHENTICATED_TOKEN));
    }
    let channel = stage.channel().await;
    let mut audit = AuditServiceClient::with_interceptor(channel, Bearer("reader-token"));
    let status = audit
        .list_events(ListEventsRequest::default())
        .await
        .unwrap_err();
    assert_eq!(status.code(), Code::PermissionDenied);
    assert_eq!(reason(&status).as_deref(), Some(MISSING_SCOPE));
}

#[tokio::test]
async fn what_nothing_serves_is_unimplemented() {
    let stage = Stage::remote(Config::default()).await;
    let channel = stage.channel().await;
    let mut accounts = AccountServiceClient::with_interceptor(channel, Bearer("reader-token"));
    let status = accounts
        .list_brands(ListBrandsRequest::default())
        .await
        .unwrap_err();
    assert_eq!(status.code(), Code::Unimplemented);
}

#[tokio::test]
async fn a_role_that_is_away_is_told_and_found_again() {
    let stage = Stage::remote(Config::default()).await;
    let mut windows = stage.windows("reader-token").await;
    windows.get_window(ask("+49")).await.unwrap();
    stage.wire.refuse();
    let status = eventually("the role is missed", async || {
        windows.clone().get_window(ask("+49")).await.err()
    })
    .await;
    assert_eq!(status.code(), Code::Unavailable, "{status:?}");
    assert_eq!(reason(&status).as_deref(), Some(UPSTREAM_UNREACHABLE));
    assert!(stage.readiness.is_ready(), "one role is not the gateway");
    stage.wire.forward();
    eventually("the role is back", async || {
        windows.clone().get_window(ask("+49")).await
    })
    .await;
}

#[tokio::test]
async fn a_request_that_is_too_large_goes_nowhere() {
    let mut config = Config::default();
    config.limits.request_bytes = 1_000;
    for stage in [
        Stage::remote(config.clone()).await,
        Stage::local(config).await,
    ] {
        let mut windows = stage.windows("reader-token").await;
        let fits = BatchGetWindowsRequest {
            requests: vec![ask(&"4".repeat(990))],
        };
        windows.batch_get_windows(fits).await.unwrap();
        let large = BatchGetWindowsRequest {
            requests: vec![ask(&"4".repeat(200_000))],
        };
        let status = windows.batch_get_windows(large).await.unwrap_err();
        assert_eq!(status.code(), Code::ResourceExhausted, "{status:?}");
        assert_eq!(reason(&status).as_deref(), Some(REQUEST_TOO_LARGE));
    }
}

#[tokio::test]
async fn a_call_ends_when_its_time_is_over() {
    let mut config = Config::default();
    config.limits.call_timeout = SignedDuration::from_millis(50);
    let stage = Stage::remote(config).await;
    let mut windows = stage.windows("reader-token").await;
    let status = windows.get_window(ask(HELD)).await.unwrap_err();
    assert_eq!(status.code(), Code::DeadlineExceeded, "{status:?}");
    assert_eq!(reason(&status).as_deref(), Some(CALL_TIMED_OUT));
}

#[tokio::test]
async fn a_call_in_flight_is_finished_when_the_gateway_stops() {
    let mut stage = Stage::remote(Config::default()).await;
    let mut windows = stage.windows("reader-token").await;
    let asking = tokio::spawn(async move { windows.get_window(ask(HELD)).await });
    stage.gate.holds(1).await;
    stage.stopping.cancel();
    stage.gate.open();
    asking.await.unwrap().unwrap();
    (&mut stage.serving).await.unwrap().unwrap();
}

#[tokio::test]
async fn reflection_tells_of_all_that_is_behind() {
    let stage = Stage::remote(Config::default()).await;
    let channel = stage.channel().await;
    let mut reflection = ServerReflectionClient::with_interceptor(channel, Bearer("reader-token"));
    let ask = |what| ServerReflectionRequest {
        host: String::new(),
        message_request: Some(what),
    };
    let requests = tokio_stream::iter([
        ask(MessageRequest::ListServices(String::new())),
        ask(MessageRequest::FileContainingSymbol(
            "casement.window.v1.WindowService".to_owned(),
        )),
    ]);
    let mut answers = reflection
        .server_reflection_info(requests)
        .await
        .unwrap()
        .into_inner();
    let listed = answers.message().await.unwrap().unwrap();
    let Some(MessageResponse::ListServicesResponse(listed)) = listed.message_response else {
        panic!("{listed:?}");
    };
    let mut names: Vec<String> = listed.service.into_iter().map(|one| one.name).collect();
    names.sort();
    assert_eq!(
        names,
        [
            "casement.audit.v1.AuditService",
            "casement.conversation.v1.ConversationService",
            "casement.figures.v1.FiguresService",
            "casement.media.v1.MediaService",
            "casement.message.v1.MessageQueryService",
            "casement.repair.v1.RepairService",
            "casement.window.v1.WindowService",
            "grpc.health.v1.Health",
        ]
    );
    let file = answers.message().await.unwrap().unwrap();
    assert!(
        matches!(
            file.message_response,
            Some(MessageResponse::FileDescriptorResponse(_))
        ),
        "{file:?}"
    );
}
