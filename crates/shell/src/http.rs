//! HTTP in and out: the one place that builds clients, and how servers stop.
//!
//! What is called or served is for others.

pub mod answer;

use std::io;
use std::time::Duration;

use axum::Router;
use reqwest::redirect::Policy;
use reqwest::{NoProxy, Proxy};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::config::env_var;

/// What every client sends as its name, unless told otherwise.
pub const USER_AGENT: &str = concat!("casement/", env!("CARGO_PKG_VERSION"));

/// Idle connections kept for one host.
const IDLE_PER_HOST_MAX: usize = 64;

/// How long an idle connection is kept. Shorter than servers do: a request written to a
/// connection that closes at that moment has an unknown outcome, which costs more than a new one.
const IDLE_MAX: Duration = Duration::from_secs(20);

/// The limits of one client.
#[derive(Debug, Clone)]
pub struct ClientOptions {
    /// From the call to a connection.
    pub connect_timeout: Duration,
    /// From the call to the last byte of the answer.
    pub timeout: Duration,
    /// Who is calling.
    pub user_agent: String,
}

impl Default for ClientOptions {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(5),
            timeout: Duration::from_secs(30),
            user_agent: USER_AGENT.to_owned(),
        }
    }
}

/// Builds a client that follows no redirects: a token must not travel to where an answer points.
///
/// The usual proxy variables are honoured, but never for this machine itself.
///
/// # Errors
/// When the system's certificates cannot be read, or a proxy variable holds no URL.
pub fn client(options: &ClientOptions) -> reqwest::Result<reqwest::Client> {
    install_tls_provider();
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place that builds clients"
    )]
    let mut builder = reqwest::Client::builder()
        .connect_timeout(options.connect_timeout)
        .timeout(options.timeout)
        .redirect(Policy::none())
        .pool_max_idle_per_host(IDLE_PER_HOST_MAX)
        .pool_idle_timeout(IDLE_MAX)
        .tcp_nodelay(true)
        .user_agent(&options.user_agent)
        .no_proxy();
    let exempt = format!(
        "localhost,127.0.0.0/8,::1,{}",
        either_case("NO_PROXY").unwrap_or_default()
    );
    let exempt = NoProxy::from_string(&exempt);
    if let Some(url) = either_case("HTTPS_PROXY") {
        builder = builder.proxy(Proxy::https(url)?.no_proxy(exempt.clone()));
    }
    if let Some(url) = either_case("HTTP_PROXY") {
        builder = builder.proxy(Proxy::http(url)?.no_proxy(exempt));
    }
    builder.build()
}

/// Makes ring the process's TLS provider. Any number of calls are one.
pub fn install_tls_provider() {
    // An error says that there is one already: ours, or one that main chose.
    let _ = rustls::crypto::ring::default_provider().install_default();
}

/// Serves until `stopping`, then lets requests in flight end. Limits on bodies and time are layers
/// of the router's owner.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    stopping: CancellationToken,
) -> io::Result<()> {
    axum::serve(listener, router)
        .with_graceful_shutdown(stopping.cancelled_owned())
        .await
}

fn either_case(name: &str) -> Option<String> {
    env_var(name).or_else(|| env_var(&name.to_ascii_lowercase()))
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderMap, StatusCode};
    use axum::response::Redirect;
    use axum::routing::get;

    use super::*;

    async fn start(
        router: Router,
    ) -> (
        String,
        CancellationToken,
        tokio::task::JoinHandle<io::Result<()>>,
    ) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let stopping = CancellationToken::new();
        let serving = tokio::spawn(serve(listener, router, stopping.clone()));
        (url, stopping, serving)
    }

    #[tokio::test]
    async fn a_client_names_itself_and_follows_no_redirect() {
        let router = Router::new()
            .route(
                "/agent",
                get(async |headers: HeaderMap| headers["user-agent"].to_str().unwrap().to_owned()),
            )
            .route("/away", get(async || Redirect::temporary("/agent")));
        let (url, stopping, serving) = start(router).await;
        let client = client(&ClientOptions::default()).unwrap();
        let agent = client
            .get(format!("{url}/agent"))
            .send()
            .await
            .unwrap()
            .text()
            .await
            .unwrap();
        assert_eq!(agent, USER_AGENT);
        let away = client.get(format!("{url}/away")).send().await.unwrap();
        assert_eq!(away.status(), StatusCode::TEMPORARY_REDIRECT);
        drop(client);
        stopping.cancel();
        serving.await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn a_client_gives_up_in_time() {
        let (url, stopping, serving) =
            start(Router::new().route("/", get(std::future::pending::<String>))).await;
        let options = ClientOptions {
            timeout: Duration::from_millis(50),
            ..ClientOptions::default()
        };
        let error = client(&options)
            .unwrap()
            .get(&url)
            .send()
            .await
            .unwrap_err();
        assert!(error.is_timeout(), "{error:?}");
        stopping.cancel();
        serving.await.unwrap().unwrap();
    }
}
