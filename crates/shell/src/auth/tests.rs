//! Claims about tokens, scopes and the layer.

use axum::Router;
use axum::body::Body;
use axum::routing::any;
use http::{Request, StatusCode};
use tonic_types::StatusExt as _;
use tower::ServiceExt;

use super::*;
use crate::grpc::reason;

fn config(text: &str) -> TokenConfig {
    toml::from_str(text).unwrap()
}

fn reader() -> TokenConfig {
    config("name = \"reader\"\ntoken = \"sesame\"\nscopes = [\"read\"]\nbrand = \"acme\"")
}

fn error(configs: &[TokenConfig]) -> String {
    Tokens::from_config(configs).unwrap_err().to_string()
}

fn request_from(caller: Option<Caller>) -> tonic::Request<()> {
    let mut request = tonic::Request::new(());
    if let Some(caller) = caller {
        request.extensions_mut().insert(caller);
    }
    request
}

#[test]
fn a_known_token_says_who_is_calling() {
    let by_digest = TokenConfig {
        token: None,
        // SHA-256 of "abc", from FIPS 180-2.
        sha256: Some("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad".to_owned()),
        name: "hashed".to_owned(),
        ..reader()
    };
    let tokens = Tokens::from_config(&[reader(), by_digest]).unwrap();
    let caller = tokens.authenticate("sesame").unwrap();
    assert_eq!(
        (caller.name.as_str(), caller.brand.as_str()),
        ("reader", "acme")
    );
    assert_eq!(tokens.authenticate("abc").unwrap().name, "hashed");
    for unknown in ["", "sesam", "sesame ", "Sesame"] {
        assert_eq!(tokens.authenticate(unknown), None);
    }
    assert_eq!(Tokens::default().authenticate(""), None);
}

#[test]
fn tokens_that_cannot_be_meant_are_refused() {
    let both = TokenConfig {
        sha256: Some("00".repeat(32)),
        ..reader()
    };
    assert_eq!(
        error(&[both]),
        "token reader needs exactly one of `token` and `sha256`"
    );
    let neither = TokenConfig {
        token: None,
        ..reader()
    };
    assert_eq!(
        error(&[neither]),
        "token reader needs exactly one of `token` and `sha256`"
    );
    let short = TokenConfig {
        token: None,
        sha256: Some("00".to_owned()),
        ..reader()
    };
    assert_eq!(
        error(&[short]),
        "`sha256` of token reader is not 64 hexadecimal digits"
    );
    let idle = TokenConfig {
        scopes: BTreeSet::new(),
        ..reader()
    };
    assert_eq!(error(&[idle]), "token reader has no scopes");
    assert_eq!(error(&[reader(), reader()]), "two tokens are named reader");
    let alias = TokenConfig {
        name: "alias".to_owned(),
        ..reader()
    };
    assert_eq!(
        error(&[reader(), alias]),
        "tokens reader and alias are the same"
    );
    let empty = TokenConfig {
        token: Some(Secret::from_value("")),
        ..reader()
    };
    assert_eq!(error(&[empty]), "token reader has no value");
}

#[test]
fn the_demo_token_is_accepted_in_the_demo_only() {
    let demo = TokenConfig {
        token: Some(Secret::from_value(DEMO_TOKEN)),
        ..reader()
    };
    assert_eq!(
        error(std::slice::from_ref(&demo)),
        "token reader is the demo's and not accepted outside demo mode"
    );
    assert!(
        Tokens::for_demo(&[demo])
            .unwrap()
            .authenticate(DEMO_TOKEN)
            .is_some()
    );
}

#[test]
fn a_token_without_a_brand_acts_for_the_default_one_and_prints_no_secret() {
    let config = config("name = \"ci\"\ntoken = \"sesame\"\nscopes = [\"send\", \"admin\"]");
    assert_eq!(config.brand, DEFAULT_BRAND);
    let printed = toml::to_string(&config).unwrap();
    assert!(!printed.contains("sesame"), "{printed}");
    let tokens = Tokens::from_config(&[config]).unwrap();
    assert_eq!(format!("{tokens:?}"), r#"["ci"]"#);
    assert!(toml::from_str::<TokenConfig>("name = \"x\"\nscopes = [\"root\"]").is_err());
}

#[test]
fn a_scope_is_had_or_refused_with_a_reason() {
    let reader = Tokens::from_config(&[reader()])
        .unwrap()
        .authenticate("sesame")
        .unwrap();
    let request = request_from(Some(reader.clone()));
    assert_eq!(require(&request, Scope::Read).unwrap(), reader);
    let denied = require(&request, Scope::Send).unwrap_err();
    assert_eq!(denied.code(), Code::PermissionDenied);
    assert_eq!(reason(&denied).as_deref(), Some(MISSING_SCOPE));
    assert_eq!(
        denied.get_details_error_info().unwrap().metadata["scope"],
        "send"
    );
    let nobody = require(&request_from(None), Scope::Read).unwrap_err();
    assert_eq!(nobody.code(), Code::Unauthenticated);
    assert_eq!(reason(&nobody).as_deref(), Some(UNAUTHENTICATED_TOKEN));
    for scope in Scope::ALL {
        assert!(authorize(&Caller::internal("console", DEFAULT_BRAND), scope).is_ok());
    }
}

/// Answers with the caller's name, or `open`, behind the layer.
async fn call(path: &str, headers: &[(&str, &str)]) -> http::Response<Body> {
    let tokens = Tokens::from_config(&[reader()]).unwrap();
    let router = Router::new()
        .fallback(any(async |request: Request<Body>| {
            request
                .extensions()
                .get::<Caller>()
                .map_or_else(|| "open".to_owned(), |caller| caller.name.clone())
        }))
        .layer(AuthLayer::new(tokens));
    let mut request = Request::post(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    router
        .oneshot(request.body(Body::empty()).unwrap())
        .await
        .unwrap()
}

async fn text(response: http::Response<Body>) -> String {
    let bytes = axum::body::to_bytes(response.into_body(), 1 << 16)
        .await
        .unwrap();
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[tokio::test]
async fn the_layer_tells_the_service_who_is_calling() {
    for scheme in ["Bearer", "bearer", "BEARER"] {
        let authorization = format!("{scheme} sesame");
        let response = call(
            "/casement.window.v1.WindowService/GetWindow",
            &[("authorization", &authorization)],
        )
        .await;
        assert_eq!(text(response).await, "reader");
    }
}

#[tokio::test]
async fn only_health_is_open() {
    assert_eq!(
        text(call("/grpc.health.v1.Health/Check", &[]).await).await,
        "open"
    );
    for path in [
        "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
        "/grpc.health.v1.HealthOther/Check",
        "/",
    ] {
        let response = call(path, &[("content-type", "application/grpc")]).await;
        let status = Status::from_header_map(response.headers()).unwrap();
        assert_eq!(status.code(), Code::Unauthenticated, "{path}");
        assert_eq!(reason(&status).as_deref(), Some(UNAUTHENTICATED_TOKEN));
    }
}

#[tokio::test]
async fn a_wrong_token_is_refused_in_the_callers_own_protocol() {
    for authorization in ["Bearer open", "Basic sesame", "sesame", "Bearer"] {
        let response = call("/v1/windows", &[("authorization", authorization)]).await;
        assert_eq!(
            response.status(),
            StatusCode::UNAUTHORIZED,
            "{authorization}"
        );
        assert!(text(response).await.contains(UNAUTHENTICATED_TOKEN));
    }
}

#[tokio::test]
async fn protected_routes_refuse_what_no_service_would_answer() {
    let routes = protect(tonic::service::Routes::default(), Tokens::default());
    let request = Request::post("/any.Service/Call").header("content-type", "application/grpc");
    let request = request.body(Body::empty()).unwrap();
    let response = routes.into_axum_router().oneshot(request).await.unwrap();
    assert_eq!(
        Status::from_header_map(response.headers()).unwrap().code(),
        Code::Unauthenticated
    );
}

#[test]
fn a_caller_has_several_tokens_while_one_takes_over_from_another() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("shop");
    let clock = crate::ManualClock::new("2026-01-01T00:00:00Z".parse().unwrap());
    std::fs::write(&file, hash("old")).unwrap();
    let shop = config(&format!(
        "name = \"shop\"\ntoken = {{ file = \"{}\" }}\nscopes = [\"read\"]",
        file.display()
    ));
    let tokens = Tokens::by_clock(&[shop], clock.shared()).unwrap();
    assert!(tokens.plain().is_empty());
    assert!(tokens.authenticate("old").is_some());
    assert!(tokens.authenticate("new").is_none());
    assert!(!tokens.reload().unwrap());

    let both = format!(
        "# moved in January\n{}\n{} until 2026-01-02T00:00:00Z\n",
        hash("new"),
        hash("old")
    );
    std::fs::write(&file, &both).unwrap();
    assert!(tokens.clone().reload().unwrap());
    assert!(tokens.authenticate("old").is_some());
    assert_eq!(tokens.authenticate("new").unwrap().name, "shop");

    for broken in ["", "sha256:00", "a b", "a until tomorrow"] {
        std::fs::write(&file, broken).unwrap();
        let error = tokens.reload().unwrap_err().to_string();
        assert!(error.contains("shop"), "{error}");
        assert!(tokens.authenticate("new").is_some(), "what was read stays");
    }
    clock.advance(jiff::SignedDuration::from_hours(24));
    assert!(tokens.authenticate("old").is_none(), "its time is over");
    assert!(tokens.authenticate("new").is_some());
    std::fs::write(&file, "in-clear").unwrap();
    assert!(tokens.reload().unwrap());
    assert_eq!(tokens.plain(), ["shop"]);
    // A hash that was stolen opens nothing.
    assert!(tokens.authenticate(&hash("in-clear")).is_none());
}

#[tokio::test]
async fn what_the_layer_refuses_is_counted_by_kind_and_what_it_lets_through_is_not() {
    let tokens = Tokens::from_config(&[reader()]).unwrap();
    let refusals = tokens.refusals();
    let router = Router::new()
        .fallback(any(async |request: Request<Body>| {
            let path = request.uri().path().to_owned();
            if path.ends_with("Export") {
                authorize(request.extensions().get().unwrap(), Scope::Audit)
                    .unwrap_err()
                    .into_http::<Body>()
            } else {
                http::Response::new(Body::from("done"))
            }
        }))
        .layer(AuthLayer::new(tokens));
    let ask = async |path: &str, headers: &[(&str, &str)]| {
        let mut request = Request::post(path).header("content-type", "application/grpc");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Body::empty()).unwrap();
        router.clone().oneshot(request).await.unwrap()
    };
    let good = ("authorization", "Bearer sesame");
    ask("/a.B/Get", &[good]).await;
    assert!(refusals.take().is_empty());
    ask("/a.B/Export", &[good]).await;
    ask("/a.B/Get", &[]).await;
    ask("/a.B/Get", &[("authorization", "Bearer other")]).await;
    ask("/a.B/Get", &[(REFUSED_HEADER, "console TOKEN_UNKNOWN 5")]).await;
    // With a good token nothing is done, whatever the service would say.
    let handed = ask("/a.B/Delete", &[good, (REFUSED_HEADER, "denied")]).await;
    let handed = Status::from_header_map(handed.headers()).unwrap();
    assert_eq!(handed.code(), Code::PermissionDenied);
    let told: Vec<_> = refusals
        .take()
        .into_iter()
        .map(|(kind, tally)| {
            let door = kind.entrance.as_str();
            format!(
                "{door} {}/{} {} {} {}",
                kind.caller, kind.brand, kind.method, kind.reason, tally.count
            )
        })
        .collect();
    assert_eq!(
        told,
        [
            "api /  TOKEN_MISSING 1",
            "api /  TOKEN_UNKNOWN 1",
            "api reader/acme a.B/Delete MISSING_SCOPE 1",
            "api reader/acme a.B/Export MISSING_SCOPE 1",
            "console /  TOKEN_UNKNOWN 5",
        ]
    );
}
