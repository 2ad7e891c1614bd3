//! TLS for clients of our own servers: which authority to believe, and our certificate if we are
//! asked for one. Files are read for each connection, so that a changed one counts for the next.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use serde::{Deserialize, Serialize};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::{HTTP_2, TlsError, certificates};
use crate::http::install_tls_provider;

/// Where the certificates of a client are, all PEM.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClientTlsConfig {
    /// The authorities that sign servers' certificates.
    pub ca: PathBuf,
    /// Our certificate, its chain behind it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<PathBuf>,
    /// Its private key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<PathBuf>,
}

impl ClientTlsConfig {
    /// Reads the files once, to find what is wrong with them at the start.
    pub fn check(&self) -> Result<(), TlsError> {
        self.build().map(drop)
    }

    /// Connects, and checks that the server is who it should be.
    ///
    /// # Errors
    /// When files are of no use, the server is not there or not the one that is meant.
    pub async fn connect(&self, host: &str, port: u16) -> io::Result<TlsStream<TcpStream>> {
        let config = self.clone();
        let built = tokio::task::spawn_blocking(move || config.build()).await?;
        let built = built.map_err(io::Error::other)?;
        let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
        let stream = TcpStream::connect((host, port)).await?;
        stream.set_nodelay(true)?;
        TlsConnector::from(built).connect(name, stream).await
    }

    fn build(&self) -> Result<Arc<ClientConfig>, TlsError> {
        install_tls_provider();
        let read = |path: &PathBuf| {
            std::fs::read(path).map_err(|source| TlsError::Read {
                path: path.clone(),
                source,
            })
        };
        let mut roots = RootCertStore::empty();
        for authority in certificates(&self.ca, &read(&self.ca)?)? {
            roots.add(authority)?;
        }
        let builder = ClientConfig::builder().with_root_certificates(roots);
        let mut config = match (&self.certificate, &self.key) {
            (Some(certificate), Some(key)) => {
                let chain = certificates(certificate, &read(certificate)?)?;
                let of_key =
                    PrivateKeyDer::from_pem_slice(&read(key)?).map_err(|_| TlsError::NotPem {
                        path: key.clone(),
                        what: "private key",
                    })?;
                builder.with_client_auth_cert(chain, of_key)?
            }
            (None, None) => builder.with_no_client_auth(),
            _ => return Err(TlsError::Half),
        };
        config.alpn_protocols = vec![HTTP_2.to_vec()];
        Ok(Arc::new(config))
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use futures::StreamExt as _;
    use rcgen::{CertificateParams, KeyPair};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;
    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::server::Door;
    use crate::tls::{For, Tls, TlsConfig};

    /// A certificate that is its own authority, and its key.
    fn write(folder: &Path, name: &str) -> (PathBuf, PathBuf) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        let made = params.self_signed(&key).unwrap();
        let paths = (folder.join(name), folder.join(format!("{name}-key")));
        std::fs::write(&paths.0, made.pem()).unwrap();
        std::fs::write(&paths.1, key.serialize_pem()).unwrap();
        paths
    }

    #[tokio::test]
    async fn both_sides_prove_who_they_are_and_a_renewed_certificate_ends_no_connection() {
        let folder = tempfile::tempdir().unwrap();
        let (certificate, key) = write(folder.path(), "server");
        let ours = write(folder.path(), "client");
        let tls = TlsConfig {
            certificate: certificate.clone(),
            key,
            client_ca: Some(ours.0.clone()),
        };
        let tls = Arc::new(Tls::load_for(For::Api, tls).unwrap());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let door = Door {
            tls: Some(tls.clone()),
            ..Door::from(listener)
        };
        let stopping = CancellationToken::new();
        let mut incoming = Box::pin(door.open(stopping.clone()));
        let client = ClientTlsConfig {
            ca: certificate,
            certificate: Some(ours.0),
            key: Some(ours.1),
        };

        let (mut near, far) = tokio::join!(client.connect("localhost", port), incoming.next());
        let near = near.as_mut().unwrap();
        let mut far = far.unwrap().unwrap();
        assert_eq!(near.get_ref().1.alpn_protocol(), Some(HTTP_2));

        // The server's files are renewed: who trusts the new one alone gets in.
        write(folder.path(), "server");
        assert!(tls.reload().unwrap());
        let (second, other) = tokio::join!(client.connect("localhost", port), incoming.next());
        let (mut second, mut other) = (second.unwrap(), other.unwrap().unwrap());
        for (near, far) in [(near, &mut far), (&mut second, &mut other)] {
            near.write_all(b"hello").await.unwrap();
            near.flush().await.unwrap();
            let mut heard = [0; 5];
            far.read_exact(&mut heard).await.unwrap();
            assert_eq!(&heard, b"hello");
        }

        // Without a certificate the handshake ends on the server's side.
        let nameless = ClientTlsConfig {
            certificate: None,
            key: None,
            ..client.clone()
        };
        if let Ok(mut stream) = nameless.connect("localhost", port).await {
            stream.read_u8().await.unwrap_err();
        }
        let half = ClientTlsConfig {
            key: None,
            ..client
        };
        assert!(half.check().is_err());
        stopping.cancel();
    }
}
