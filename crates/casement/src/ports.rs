//! Taking a port before any work begins, with an error that says what to do.

use std::io::ErrorKind;
use std::net::SocketAddr;

use anyhow::{Context as _, anyhow};
use tokio::net::TcpListener;

/// Listens on an address. `what` is told to people, `flag` moves it.
pub(crate) async fn bind(
    address: SocketAddr,
    what: &str,
    flag: &str,
) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address)
        .await
        .map_err(|error| refused(&error, address, what, flag))
}

/// Fails as [`bind`] does if the address cannot be listened on, and leaves it free.
pub(crate) async fn require_free(
    address: SocketAddr,
    what: &str,
    flag: &str,
) -> anyhow::Result<()> {
    bind(address, what, flag).await.map(drop)
}

/// Returns a port of this machine that is free at the moment.
pub(crate) async fn free_address() -> anyhow::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0")
        .await
        .context("no free port")?;
    Ok(listener.local_addr()?)
}

fn refused(error: &std::io::Error, address: SocketAddr, what: &str, flag: &str) -> anyhow::Error {
    match error.kind() {
        ErrorKind::AddrInUse => anyhow!(
            "{address} is taken, and {what} needs it: stop what listens there, or choose another \
             with {flag} {}:PORT",
            address.ip()
        ),
        _ => anyhow!("{what} cannot listen on {address} ({error}): choose another with {flag}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_taken_port_names_the_flag_that_moves_it() {
        let first = bind("127.0.0.1:0".parse().unwrap(), "the API", "--api-listen")
            .await
            .unwrap();
        let address = first.local_addr().unwrap();
        let error = require_free(address, "the API", "--api-listen")
            .await
            .unwrap_err()
            .to_string();
        assert!(error.contains(&address.to_string()), "{error}");
        assert!(
            error.contains("the API") && error.contains("--api-listen"),
            "{error}"
        );
        drop(first);
        require_free(address, "the API", "--api-listen")
            .await
            .unwrap();
    }
}
