//! The API as the demo's story calls it where everybody else meets TLS.

use std::net::Ipv4Addr;

use casement_shell::{Shell, auth, grpc};
use tokio::net::TcpListener;

use super::Plan;
use crate::roles::Wired;

/// Serves the API for the demo's story where nobody else is told of it; returns where. It has none of
/// the certificates that a client of an API with TLS needs.
pub(super) async fn serve(plan: &Plan, wired: &Wired, shell: &mut Shell) -> anyhow::Result<String> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let address = listener.local_addr()?;
    let tokens = plan.config.tokens(plan.mode)?;
    let routes = auth::protect(wired.routes.clone().routes(), tokens);
    let serving = grpc::serve(listener, routes, shell.stopping());
    shell.spawn("story's API", async move { Ok(serving.await?) });
    Ok(format!("http://{address}"))
}
