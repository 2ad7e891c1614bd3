//! Claims about health through the gateway.

use casement_gateway::{Area, Config};
use casement_testkit::eventually;
use tonic::Code;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use crate::stage::Stage;

fn of(service: &str) -> HealthCheckRequest {
    HealthCheckRequest {
        service: service.to_owned(),
    }
}

#[tokio::test]
async fn a_service_is_as_well_as_its_role_and_whoever_watches_hears_it() {
    let stage = Stage::remote(Config::default()).await;
    let mut health = HealthClient::new(stage.channel().await);
    let windows = Area::Windows.services()[0];
    let mut updates = health.watch(of(windows)).await.unwrap().into_inner();
    let mut last = ServingStatus::Unknown;
    for (do_it, wanted) in [
        (None, ServingStatus::Serving),
        (Some("hold"), ServingStatus::NotServing),
        (Some("release"), ServingStatus::Serving),
        (Some("refuse"), ServingStatus::NotServing),
        (Some("forward"), ServingStatus::Serving),
    ] {
        match do_it {
            Some("hold") => stage.role.hold("away"),
            Some("release") => stage.role.release(),
            Some("refuse") => stage.wire.refuse(),
            Some("forward") => stage.wire.forward(),
            _ => {}
        }
        while last != wanted {
            last = updates.message().await.unwrap().unwrap().status();
        }
        let whole = health.check(of("")).await.unwrap().into_inner();
        assert_eq!(whole.status(), ServingStatus::Serving, "after {do_it:?}");
    }
}

#[tokio::test]
async fn services_of_this_process_are_as_ready_as_it_is() {
    let stage = Stage::local(Config::default()).await;
    let health = HealthClient::new(stage.channel().await);
    let windows = Area::Windows.services()[0];
    let latch = stage.readiness.latch("log");
    for (is_held, wanted) in [
        (true, ServingStatus::NotServing),
        (false, ServingStatus::Serving),
    ] {
        latch.set(!is_held, "away");
        for service in ["", windows] {
            eventually("health follows", async || {
                let told = health.clone().check(of(service)).await.unwrap();
                told.into_inner().status() == wanted
            })
            .await;
        }
    }
    let unknown = health.clone().check(of("nonsense")).await.unwrap_err();
    assert_eq!(unknown.code(), Code::NotFound);
}

#[tokio::test]
async fn a_stream_ends_when_the_gateway_stops() {
    let mut stage = Stage::remote(Config::default()).await;
    let mut health = HealthClient::new(stage.channel().await);
    let mut updates = health.watch(of("")).await.unwrap().into_inner();
    updates.message().await.unwrap().unwrap();
    stage.stopping.cancel();
    let end = loop {
        match updates.message().await {
            Ok(Some(_)) => {}
            Ok(None) => panic!("it ended as if all had been said"),
            Err(status) => break status,
        }
    };
    assert_eq!(end.code(), Code::Unavailable);
    assert_eq!(
        casement_shell::grpc::reason(&end).as_deref(),
        Some(casement_gateway::STOPPING)
    );
    (&mut stage.serving).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_gateway_is_not_ready_before_its_roles_answered() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let nobody = listener.local_addr().unwrap();
    drop(listener);
    let mut config = Config::default();
    config.upstreams.windows = format!("http://{nobody}");
    let readiness = casement_shell::health::Readiness::new();
    let parts = casement_gateway::Parts {
        upstreams: casement_gateway::Upstreams::from_config(&config).unwrap(),
        tokens: crate::stage::tokens(),
        clock: casement_shell::SystemClock::shared(),
        readiness: readiness.clone(),
        stopping: tokio_util::sync::CancellationToken::new(),
    };
    let stopping = parts.stopping.clone();
    let gateway = casement_gateway::start(&config, parts).await.unwrap();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let serving = tokio::spawn(gateway.serve(listener));
    eventually("it says what it waits for", async || {
        readiness.reasons() == [("upstreams", "no answer yet from windows".to_owned())]
    })
    .await;
    stopping.cancel();
    serving.await.unwrap().unwrap();
}
