//! TLS for servers: a certificate that is read again when its file changes, and client
//! certificates, checked against an authority and passed on by name.
//!
//! Where webhooks are taken, a client without a certificate is let in: who needs one to have a
//! certificate, and under which name, is for whoever serves it to say. Everywhere else, whoever
//! names an authority wants a certificate of it from each client. One that the authority did not
//! sign ends the handshake.

mod client;

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{VerifierBuilderError, WebPkiClientVerifier};
use rustls::{RootCertStore, ServerConfig};
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use crate::clock::{Clock as _, SystemClock};
use crate::http::install_tls_provider;
use crate::telemetry::{Metric, describe};

pub use client::ClientTlsConfig;

/// How often the files are looked at.
const LOOK_INTERVAL: Duration = Duration::from_secs(5);

/// Where limits are counted by connection, each carries one request at a time.
const HTTP_1: &[u8] = b"http/1.1";

/// What gRPC needs.
const HTTP_2: &[u8] = b"h2";

const METRICS: &[Metric] = &[
    Metric::gauge(
        "casement_tls_certificate_days",
        "Days until the certificate in use ends, by listener; negative once it has.",
    )
    .with(&[]),
    Metric::counter(
        "casement_tls_reloads_total",
        "Changed certificate files, by listener and outcome: taken, refused.",
    )
    .with(&[]),
];

/// Who is served with a certificate, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum For {
    /// Posts of strangers, by HTTP/1.1; a client's certificate is asked for and not needed.
    Webhooks,
    /// Callers, by HTTP/2 and HTTP/1.1.
    Api,
    /// Browsers, by HTTP/1.1.
    Console,
}

impl For {
    fn as_str(self) -> &'static str {
        match self {
            Self::Webhooks => "webhooks",
            Self::Api => "api",
            Self::Console => "console",
        }
    }

    fn protocols(self) -> Vec<Vec<u8>> {
        match self {
            Self::Webhooks | Self::Console => vec![HTTP_1.to_vec()],
            Self::Api => vec![HTTP_2.to_vec(), HTTP_1.to_vec()],
        }
    }
}

/// Where the certificates are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TlsConfig {
    /// The server's certificate, PEM, its chain behind it.
    pub certificate: PathBuf,
    /// Its private key, PEM.
    pub key: PathBuf,
    /// Authorities that sign clients' certificates, PEM; clients are asked for none without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_ca: Option<PathBuf>,
}

/// Why there is no TLS.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("{} cannot be read", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A file is not what it should be.
    #[error("{} holds no {what} in PEM", path.display())]
    NotPem {
        /// The file.
        path: PathBuf,
        /// What it should hold.
        what: &'static str,
    },
    /// Certificate and key do not fit, or the key is of a kind that is not supported.
    #[error("certificate and key are of no use together")]
    Unfit(#[from] rustls::Error),
    /// A client's certificate without its key, or the other way round.
    #[error("a client's certificate and its key are of use together only")]
    Half,
    /// The authorities are of no use.
    #[error("certificates of authorities in {} are of no use", path.display())]
    Authorities {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        #[source]
        source: VerifierBuilderError,
    },
}

/// What the files held when they were read.
#[derive(PartialEq, Eq)]
struct Files {
    certificate: Vec<u8>,
    key: Vec<u8>,
    client_ca: Option<Vec<u8>>,
}

struct Loaded {
    files: Files,
    server: Arc<ServerConfig>,
}

/// A server's side of TLS. New connections get what the files held last.
pub struct Tls {
    config: TlsConfig,
    whom: For,
    loaded: RwLock<Loaded>,
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The key is in there, too.
        f.debug_struct("Tls")
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}

impl Tls {
    /// Reads the files, for webhooks.
    pub fn load(config: TlsConfig) -> Result<Self, TlsError> {
        Self::load_for(For::Webhooks, config)
    }

    /// Reads the files.
    pub fn load_for(whom: For, config: TlsConfig) -> Result<Self, TlsError> {
        install_tls_provider();
        let files = read(&config)?;
        let server = build(whom, &config, &files)?;
        let loaded = RwLock::new(Loaded { files, server });
        Ok(Self {
            config,
            whom,
            loaded,
        })
    }

    /// Seconds from a time to the end of the certificate in use.
    fn seconds_left(&self, now: jiff::Timestamp) -> Option<i64> {
        let loaded = self.loaded.read().unwrap_or_else(PoisonError::into_inner);
        let first = CertificateDer::pem_slice_iter(&loaded.files.certificate).next()?;
        let first = first.ok()?;
        let (_, certificate) = X509Certificate::from_der(&first).ok()?;
        let end = certificate.validity().not_after.timestamp();
        Some(end.saturating_sub(now.as_second()))
    }

    #[expect(
        clippy::cast_precision_loss,
        reason = "seconds of centuries are exact, and days are shown"
    )]
    fn tell_days(&self) {
        if let Some(seconds) = self.seconds_left(SystemClock::new().now()) {
            let days = seconds as f64 / 86_400.0;
            metrics::gauge!("casement_tls_certificate_days", "listener" => self.whom.as_str())
                .set(days);
        }
    }

    fn count(&self, outcome: &'static str) {
        metrics::counter!(
            "casement_tls_reloads_total",
            "listener" => self.whom.as_str(), "outcome" => outcome
        )
        .increment(1);
    }

    /// What the next connection is to be served with.
    pub(crate) fn current(&self) -> Arc<ServerConfig> {
        let loaded = self.loaded.read().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(&loaded.server)
    }

    /// Reads the files again; returns whether they had changed. If they are of no use, what was
    /// read before stays.
    pub fn reload(&self) -> Result<bool, TlsError> {
        let files = read(&self.config)?;
        let is_same = {
            let loaded = self.loaded.read().unwrap_or_else(PoisonError::into_inner);
            loaded.files == files
        };
        if is_same {
            return Ok(false);
        }
        let server = build(self.whom, &self.config, &files)?;
        *self.loaded.write().unwrap_or_else(PoisonError::into_inner) = Loaded { files, server };
        Ok(true)
    }

    /// Reads the files again and again until the stop.
    pub async fn watch(self: Arc<Self>, stopping: CancellationToken) {
        describe(METRICS);
        let mut every = tokio::time::interval(LOOK_INTERVAL);
        // What was told of files that are of no use is not told every few seconds.
        let mut told = String::new();
        loop {
            self.tell_days();
            tokio::select! {
                () = stopping.cancelled() => return,
                _ = every.tick() => {}
            }
            let tls = Arc::clone(&self);
            match tokio::task::spawn_blocking(move || tls.reload()).await {
                Ok(Ok(true)) => {
                    told.clear();
                    self.count("taken");
                    tracing::info!(listener = self.whom.as_str(), "certificates were read anew");
                }
                Ok(Ok(false)) => told.clear(),
                Ok(Err(error)) => {
                    let error = error.to_string();
                    if error != told {
                        self.count("refused");
                        tracing::warn!(
                            listener = self.whom.as_str(),
                            error,
                            "changed certificates are of no use, the old ones stay"
                        );
                        told = error;
                    }
                }
                Err(error) => tracing::error!(error = %error, "certificates were not read"),
            }
        }
    }
}

fn read(config: &TlsConfig) -> Result<Files, TlsError> {
    let read = |path: &Path| {
        std::fs::read(path).map_err(|source| TlsError::Read {
            path: path.to_owned(),
            source,
        })
    };
    Ok(Files {
        certificate: read(&config.certificate)?,
        key: read(&config.key)?,
        client_ca: config.client_ca.as_deref().map(read).transpose()?,
    })
}

fn build(whom: For, config: &TlsConfig, files: &Files) -> Result<Arc<ServerConfig>, TlsError> {
    let chain = certificates(&config.certificate, &files.certificate)?;
    let key = PrivateKeyDer::from_pem_slice(&files.key).map_err(|_| TlsError::NotPem {
        path: config.key.clone(),
        what: "private key",
    })?;
    let builder = ServerConfig::builder();
    let builder = match (&config.client_ca, &files.client_ca) {
        (Some(path), Some(pem)) => {
            let mut roots = RootCertStore::empty();
            for authority in certificates(path, pem)? {
                roots.add(authority)?;
            }
            let verifier = WebPkiClientVerifier::builder(Arc::new(roots));
            let verifier = if whom == For::Webhooks {
                verifier.allow_unauthenticated()
            } else {
                verifier
            };
            let verifier = verifier.build().map_err(|source| TlsError::Authorities {
                path: path.clone(),
                source,
            })?;
            builder.with_client_cert_verifier(verifier)
        }
        _ => builder.with_no_client_auth(),
    };
    let mut server = builder.with_single_cert(chain, key)?;
    server.alpn_protocols = whom.protocols();
    Ok(Arc::new(server))
}

fn certificates(path: &Path, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let not_pem = || TlsError::NotPem {
        path: path.to_owned(),
        what: "certificate",
    };
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let all = all.map_err(|_| not_pem())?;
    if all.is_empty() {
        return Err(not_pem());
    }
    Ok(all)
}

/// The names that a certificate is for: its DNS names, and its common name if it has just one.
pub(crate) fn names(certificate: &CertificateDer<'_>) -> Vec<String> {
    let Ok((_, certificate)) = X509Certificate::from_der(certificate) else {
        return Vec::new();
    };
    let mut names = Vec::new();
    if let Ok(Some(alternative)) = certificate.subject_alternative_name() {
        names.extend(
            alternative
                .value
                .general_names
                .iter()
                .filter_map(|name| match name {
                    GeneralName::DNSName(name) => Some((*name).to_owned()),
                    _ => None,
                }),
        );
    }
    let mut common = certificate.subject().iter_common_name();
    if let (Some(one), None) = (common.next(), common.next())
        && let Ok(name) = one.as_str()
    {
        names.push(name.to_owned());
    }
    names
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DnType, KeyPair};

    use super::*;

    fn write(folder: &Path, name: &str, text: &str) -> PathBuf {
        let path = folder.join(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    fn made(names: &[&str], common: &[&str]) -> (rcgen::Certificate, KeyPair) {
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.distinguished_name = rcgen::DistinguishedName::new();
        for &name in common {
            params.distinguished_name.push(DnType::CommonName, name);
        }
        let key = KeyPair::generate().unwrap();
        (params.self_signed(&key).unwrap(), key)
    }

    #[test]
    fn a_certificate_goes_by_its_dns_names_and_its_common_name() {
        let (certificate, _) = made(&["a.example", "b.example"], &["c.example"]);
        assert_eq!(
            names(certificate.der()),
            ["a.example", "b.example", "c.example"]
        );
        let (nameless, _) = made(&[], &[]);
        assert_eq!(names(nameless.der()), [""; 0]);
        let junk = CertificateDer::from(vec![1, 2, 3]);
        assert_eq!(names(&junk), [""; 0]);
    }

    #[test]
    fn a_changed_certificate_is_taken_and_a_broken_one_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let (certificate, key) = made(&["a.example"], &[]);
        let config = TlsConfig {
            certificate: write(folder.path(), "cert", &certificate.pem()),
            key: write(folder.path(), "key", &key.serialize_pem()),
            client_ca: None,
        };
        let tls = Tls::load(config.clone()).unwrap();
        let first = tls.current();
        assert!(!tls.reload().unwrap(), "nothing has changed");

        // Half of a renewal: the certificate without its key.
        let (certificate, key) = made(&["a.example"], &[]);
        write(folder.path(), "cert", &certificate.pem());
        tls.reload().unwrap_err();
        assert!(Arc::ptr_eq(&first, &tls.current()), "the old one is served");

        write(folder.path(), "key", &key.serialize_pem());
        assert!(tls.reload().unwrap());
        assert!(!Arc::ptr_eq(&first, &tls.current()));
    }

    #[test]
    fn what_is_no_certificate_is_refused_by_its_file() {
        let folder = tempfile::tempdir().unwrap();
        let (certificate, key) = made(&["a.example"], &[]);
        let (certificate, key) = (certificate.pem(), key.serialize_pem());
        let there = |name: &str, text: &str| write(folder.path(), name, text);
        for (config, named) in [
            (
                TlsConfig {
                    certificate: there("empty", ""),
                    key: there("key", &key),
                    client_ca: None,
                },
                "empty",
            ),
            (
                TlsConfig {
                    certificate: there("cert", &certificate),
                    key: there("cert-as-key", &certificate),
                    client_ca: None,
                },
                "cert-as-key",
            ),
            (
                TlsConfig {
                    certificate: there("cert", &certificate),
                    key: there("key", &key),
                    client_ca: Some(folder.path().join("nowhere")),
                },
                "nowhere",
            ),
        ] {
            let error = Tls::load(config).unwrap_err().to_string();
            assert!(error.contains(named), "{error}");
        }
    }
}
