//! TLS to the broker: where the certificates are, and what a failed handshake means.
//!
//! Files are read anew at every connection, so a renewed certificate is taken at the next one. The
//! handshake itself is the client's affair.

use std::io::{Error, ErrorKind};
use std::path::{Path, PathBuf};

use async_nats::rustls::pki_types::pem::PemObject as _;
use async_nats::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use async_nats::rustls::{AlertDescription, CertificateError, Error as TlsError};

/// Where the certificates are, all in PEM. With none of them TLS is used where the broker, or an
/// address such as `tls://…`, asks for it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tls {
    /// Authorities that sign the broker's certificate; those of the machine without it.
    pub ca: Option<PathBuf>,
    /// Our own certificate, its chain behind it, if the broker asks for one.
    pub certificate: Option<PathBuf>,
    /// Its private key.
    pub key: Option<PathBuf>,
}

impl Tls {
    /// Whether a broker without TLS is refused.
    pub fn is_required(&self) -> bool {
        *self != Self::default()
    }

    /// Adds it to how a connection is made; fails where a file holds nothing of use.
    pub(crate) fn apply(
        &self,
        mut options: async_nats::ConnectOptions,
    ) -> Result<async_nats::ConnectOptions, Error> {
        if let Some(ca) = &self.ca {
            certificates("log.tls.ca", ca)?;
            options = options.add_root_certificates(ca.clone());
        }
        match (&self.certificate, &self.key) {
            (Some(certificate), Some(key)) => {
                certificates("log.tls.certificate", certificate)?;
                if PrivateKeyDer::from_pem_slice(&read("log.tls.key", key)?).is_err() {
                    return Err(unfit("log.tls.key", key, "private key"));
                }
                options = options.add_client_certificate(certificate.clone(), key.clone());
            }
            (None, None) => {}
            _ => {
                return Err(Error::new(
                    ErrorKind::InvalidInput,
                    "log.tls.certificate and log.tls.key are of use together only",
                ));
            }
        }
        Ok(options.require_tls(self.is_required()))
    }

    /// Returns what a failed connection says about certificates, in words that say what to change.
    pub(crate) fn problem(&self, error: &async_nats::ConnectError) -> Option<String> {
        let authorities = match &self.ca {
            Some(ca) => format!("in log.tls.ca ({})", ca.display()),
            None => "of this machine: name the broker's own with log.tls.ca".to_owned(),
        };
        let problem = match cause(error)? {
            TlsError::InvalidCertificate(error) => match error {
                CertificateError::UnknownIssuer | CertificateError::BadSignature => {
                    format!("its certificate is signed by no authority {authorities}")
                }
                CertificateError::NotValidForName
                | CertificateError::NotValidForNameContext { .. } => {
                    "its certificate is for another name than log.servers has: use a name that \
                     is in it, or make one with that name (casement broker init --host)"
                        .to_owned()
                }
                CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                    "its certificate has expired: renew it (casement broker init --renew)"
                        .to_owned()
                }
                CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                    "its certificate is not valid yet: one of the clocks is wrong".to_owned()
                }
                other => format!("its certificate is of no use: {other}"),
            },
            TlsError::AlertReceived(
                AlertDescription::CertificateRequired
                | AlertDescription::BadCertificate
                | AlertDescription::UnknownCA
                | AlertDescription::CertificateUnknown
                | AlertDescription::CertificateExpired,
            ) => match &self.certificate {
                None => "it asks clients for a certificate: give log.tls.certificate and \
                         log.tls.key"
                    .to_owned(),
                Some(certificate) => format!(
                    "it does not take our certificate, log.tls.certificate ({}): it must be \
                     signed by an authority that the broker knows, and not have expired",
                    certificate.display()
                ),
            },
            TlsError::InvalidMessage(_) => {
                "it does not speak TLS: give it a `tls` block, or take log.tls away".to_owned()
            }
            other => other.to_string(),
        };
        Some(problem)
    }
}

/// The word of TLS somewhere below an error.
fn cause(error: &async_nats::ConnectError) -> Option<&TlsError> {
    let mut next = std::error::Error::source(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref::<TlsError>() {
            return Some(found);
        }
        // An I/O error passes over what it holds when it is asked for its source.
        let held = error.downcast_ref::<Error>().and_then(Error::get_ref);
        next = match held {
            Some(held) => Some(held as &(dyn std::error::Error + 'static)),
            None => error.source(),
        };
    }
    None
}

fn certificates(key: &str, path: &Path) -> Result<(), Error> {
    let pem = read(key, path)?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    match found {
        Ok(found) if !found.is_empty() => Ok(()),
        _ => Err(unfit(key, path, "certificate")),
    }
}

fn read(key: &str, path: &Path) -> Result<Vec<u8>, Error> {
    std::fs::read(path).map_err(|error| {
        let told = format!("{key} ({}) cannot be read: {error}", path.display());
        Error::new(error.kind(), told)
    })
}

fn unfit(key: &str, path: &Path, what: &str) -> Error {
    let told = format!("{key} ({}) holds no {what} in PEM", path.display());
    Error::new(ErrorKind::InvalidData, told)
}
