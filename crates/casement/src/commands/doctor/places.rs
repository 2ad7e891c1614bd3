//! Where Casement listens, who listens there, and room on the disk.
//!
//! Nothing is bound: an address that is asked in vain is free.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use casement_shell::http::{ClientOptions, client};
use secrecy::ExposeSecret as _;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tonic::transport::Endpoint;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use super::chain;
use super::report::Report;
use crate::config::{Config, Mode};

/// How long somebody on this machine or next to it may take to answer.
const ANSWER_MAX: Duration = Duration::from_secs(3);

/// What is asked to be echoed.
const CHALLENGE: &str = "casement-doctor";

/// Below this the disk is as good as full.
const ROOM_MIN_BYTES: u64 = 256 * 1024 * 1024;
/// Below this it soon will be.
const ROOM_LOW_BYTES: u64 = 2 * 1024 * 1024 * 1024;

/// Who answers at the health page.
enum Health {
    /// A Casement, ready or with what holds it back.
    Ours {
        held: Option<String>,
    },
    /// Somebody else.
    Other,
    Nobody,
}

pub(super) async fn check(mode: Mode, config: &Config, report: &mut Report) {
    let health = ask_health(config.health.listen).await;
    let is_running = matches!(health, Health::Ours { .. });
    let at = config.health.listen;
    match health {
        Health::Ours { held: None } => {
            report.ok("listen health", format!("{at}: Casement is ready"));
        }
        Health::Ours { held: Some(why) } => report.warn(
            "listen health",
            format!("{at}: Casement runs and is not ready ({why})"),
            "wait if it has just been started; else its log says why",
        ),
        Health::Other => taken("listen health", at, "--health-listen", report),
        Health::Nobody => report.ok(
            "listen health",
            format!("{at} is free: no Casement runs here"),
        ),
    }
    api(config.api.listen, is_running, report).await;
    webhooks(config, is_running, report).await;
    if mode == Mode::Demo {
        simulator(config.demo.simulator_listen, report).await;
    }
    upstreams(config, report).await;
    let keeps_data = config.log.servers.is_empty() || config.archive.database_url.is_none();
    if keeps_data {
        disk(&config.data_dir, report);
    }
}

async fn api(at: SocketAddr, is_running: bool, report: &mut Report) {
    let check = "listen API";
    if !is_listening(at).await {
        report.ok(check, format!("{at} is free"));
        return;
    }
    let url = format!("http://{}", door(at));
    match timeout(ANSWER_MAX, ask_role(&url)).await {
        Ok(Ok(true)) => report.ok(check, format!("{at} serves")),
        Ok(Ok(false)) => report.warn(
            check,
            format!("{at} answers and does not serve"),
            "wait if it has just been started; else its log says why",
        ),
        // It may speak TLS.
        Ok(Err(_)) | Err(_) if is_running => report.ok(check, format!("{at} answers")),
        Ok(Err(_)) | Err(_) => taken(check, at, "--api-listen", report),
    }
}

/// Does what Meta does when the callback URL is entered: shows the verify token, and looks for the
/// echo. Whoever answers with it is an ingress with this configuration.
async fn webhooks(config: &Config, is_running: bool, report: &mut Report) {
    let check = "listen webhooks";
    let at = config.ingress.listen;
    if !is_listening(at).await {
        report.ok(check, format!("{at} is free"));
        return;
    }
    let app = config.ingress.apps.iter().next();
    let shown = app.and_then(|(name, app)| Some((name, app.verify_token.resolve().ok()?)));
    let (Some((name, verify_token)), None) = (shown, &config.ingress.tls) else {
        if is_running {
            report.ok(check, format!("{at} answers"));
        } else {
            report.skip(
                check,
                format!("{at} is taken, and who it is cannot be asked"),
            );
        }
        return;
    };
    let url = format!("http://{}/webhooks/whatsapp/{name}", door(at));
    let query = [
        ("hub.mode", "subscribe"),
        ("hub.challenge", CHALLENGE),
        ("hub.verify_token", verify_token.expose_secret()),
    ];
    match get(&url, &query).await {
        Some((200, echo)) if echo == CHALLENGE => {
            report.ok(check, format!("{at} takes the verify token of app {name}"));
        }
        Some((403 | 404, _)) if is_running => report.fail(
            check,
            format!("{at} does not take the verify token of app {name}"),
            "start it again, so that it runs with this configuration",
        ),
        _ => taken(check, at, "--webhooks-listen", report),
    }
}

async fn simulator(at: SocketAddr, report: &mut Report) {
    let check = "listen simulator";
    if !is_listening(at).await {
        report.ok(check, format!("{at} is free"));
        return;
    }
    match get(&format!("http://{}/_sim", door(at)), &[]).await {
        Some((200, _)) => report.ok(check, format!("{at} answers")),
        _ => taken(check, at, "--simulator-listen", report),
    }
}

/// Asks for a page; `None` if nobody tells.
async fn get(url: &str, query: &[(&str, &str)]) -> Option<(u16, String)> {
    let options = ClientOptions {
        timeout: ANSWER_MAX,
        ..ClientOptions::default()
    };
    let request = client(&options).ok()?.get(url).query(query);
    let answer = request.send().await.ok()?;
    Some((answer.status().as_u16(), answer.text().await.ok()?))
}

fn taken(check: &str, at: SocketAddr, flag: &str, report: &mut Report) {
    report.fail(
        check,
        format!("{at} is taken by another program"),
        format!("stop what listens there, or choose another with {flag}"),
    );
}

/// Returns where to knock for an address that is listened on.
fn door(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        address.set_ip(IpAddr::V4(Ipv4Addr::LOCALHOST));
    }
    address
}

/// Whether somebody takes connections. Port 0 stands for any that is free.
pub(super) async fn is_listening(address: SocketAddr) -> bool {
    if address.port() == 0 {
        return false;
    }
    let connecting = TcpStream::connect(door(address));
    matches!(timeout(ANSWER_MAX, connecting).await, Ok(Ok(_)))
}

async fn ask_health(address: SocketAddr) -> Health {
    if !is_listening(address).await {
        return Health::Nobody;
    }
    let page = async |name: &str| get(&format!("http://{}/{name}", door(address)), &[]).await;
    // Others have pages of these names; ours says no more than this.
    match (page("livez").await, page("readyz").await) {
        (Some((200, _)), Some((200, _))) => Health::Ours { held: None },
        (Some((200, _)), Some((503, held))) => Health::Ours {
            held: Some(held.lines().collect::<Vec<_>>().join("; ")),
        },
        _ => Health::Other,
    }
}

/// Asks the roles that a gateway stands before.
async fn upstreams(config: &Config, report: &mut Report) {
    let urls = &config.gateway.upstreams;
    for (role, url) in [
        ("window-tracker", &urls.windows),
        ("dispatcher", &urls.messages),
        ("accounts", &urls.accounts),
        ("audit-projector", &urls.archive),
    ] {
        if url.is_empty() {
            continue;
        }
        let check = format!("role {role}");
        match timeout(ANSWER_MAX, ask_role(url)).await {
            Ok(Ok(true)) => report.ok(check, format!("{url} serves")),
            Ok(Ok(false)) => report.warn(
                check,
                format!("{url} answers and does not serve"),
                "wait if it has just been started; else its log and its /readyz say why",
            ),
            Ok(Err(why)) => report.warn(check, format!("{url} does not answer ({why})"), START),
            Err(_) => report.warn(check, format!("{url} does not answer in time"), START),
        }
    }
}

const START: &str = "start it; if it runs, correct gateway.upstreams";

async fn ask_role(url: &str) -> Result<bool, String> {
    let endpoint = Endpoint::from_shared(url.to_owned()).map_err(|error| error.to_string())?;
    let channel = endpoint
        .connect_timeout(ANSWER_MAX)
        .connect()
        .await
        .map_err(|error| chain(&error))?;
    let answer = HealthClient::new(channel)
        .check(HealthCheckRequest::default())
        .await
        .map_err(|status| status.message().to_owned())?;
    Ok(answer.into_inner().status() == ServingStatus::Serving)
}

/// Looks at the disk that the log and the archive of one machine stand on.
fn disk(folder: &Path, report: &mut Report) {
    // Before the first start it is not there yet.
    let Some(there) = folder.ancestors().find(|folder| folder.is_dir()) else {
        let here = Path::new(".");
        return room(here, folder, report);
    };
    room(there, folder, report);
}

fn room(there: &Path, folder: &Path, report: &mut Report) {
    let shown = folder.display();
    let system = match rustix::fs::statvfs(there) {
        Ok(system) => system,
        Err(error) => {
            report.skip("disk", format!("{shown} does not tell its room ({error})"));
            return;
        }
    };
    let free = system.f_bavail.saturating_mul(system.f_frsize);
    let found = format!("{} left for {shown}", super::report::bytes(free));
    let advice = "make room: what is full refuses, webhooks and sends alike";
    match free {
        ..ROOM_MIN_BYTES => report.fail("disk", found, advice),
        ROOM_MIN_BYTES..ROOM_LOW_BYTES => report.warn("disk", found, advice),
        _ => report.ok("disk", found),
    }
}
