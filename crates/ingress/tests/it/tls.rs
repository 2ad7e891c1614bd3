//! Webhooks over TLS, with client certificates as Meta presents them.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use casement_event::subject::stream;
use casement_ingress::Config;
use casement_shell::SystemClock;
use casement_shell::tls::TlsConfig;
use casement_whatsapp::signature;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::stage::{SECRET, Stage, config};

const CLIENT: &str = "client.webhooks.fbclientcerts.com";
const HOST: &str = "hooks.example.com";
const BODY: &str = r#"{"entry":[]}"#;

/// An authority.
struct Authority {
    certificate: rcgen::Certificate,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate and its key.
struct Signed {
    certificate: rcgen::Certificate,
    key: KeyPair,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        let issuer = Issuer::new(params, key);
        Self {
            certificate,
            issuer,
        }
    }

    fn sign(&self, dns: &[&str], common_name: &str) -> Signed {
        let dns: Vec<String> = dns.iter().map(|&name| name.to_owned()).collect();
        let mut params = CertificateParams::new(dns).unwrap();
        let mut subject = rcgen::DistinguishedName::new();
        subject.push(DnType::CommonName, common_name);
        params.distinguished_name = subject;
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        Signed { certificate, key }
    }
}

fn write(folder: &Path, name: &str, text: &str) -> PathBuf {
    let path = folder.join(name);
    std::fs::write(&path, text).unwrap();
    path
}

/// Posts as Meta does; returns the status, or why there is none.
async fn post(
    address: SocketAddr,
    server_ca: &CertificateDer<'static>,
    client: Option<&Signed>,
    path: &str,
    secret: &str,
) -> std::io::Result<u16> {
    let mut roots = RootCertStore::empty();
    roots.add(server_ca.clone()).unwrap();
    let builder = ClientConfig::builder().with_root_certificates(roots);
    let config = match client {
        None => builder.with_no_client_auth(),
        Some(signed) => {
            let key = PrivateKeyDer::try_from(signed.key.serialize_der()).unwrap();
            builder
                .with_client_auth_cert(vec![signed.certificate.der().clone()], key)
                .unwrap()
        }
    };
    let stream = TcpStream::connect(address).await?;
    let connector = TlsConnector::from(Arc::new(config));
    let name = ServerName::try_from(HOST).unwrap();
    let mut stream = connector.connect(name, stream).await?;
    let sign = signature::sign(BODY.as_bytes(), &secret.to_owned().into());
    let request = format!(
        "POST {path} HTTP/1.1\r\nhost: {HOST}\r\n{}: {sign}\r\ncontent-length: {}\r\n\
         connection: close\r\n\r\n{BODY}",
        signature::HEADER,
        BODY.len()
    );
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    let answer = String::from_utf8_lossy(&answer);
    let status = answer
        .strip_prefix("HTTP/1.1 ")
        .and_then(|rest| rest.get(..3));
    status
        .and_then(|status| status.parse().ok())
        .ok_or_else(|| std::io::Error::other(answer.into_owned()))
}

#[tokio::test]
async fn the_certificate_of_the_caller_decides_where_an_application_asks_for_one() {
    let folder = tempfile::tempdir().unwrap();
    let (ours, metas, strangers) = (Authority::new(), Authority::new(), Authority::new());
    let server = ours.sign(&[HOST], HOST);
    let mut config = Config {
        tls: Some(TlsConfig {
            certificate: write(folder.path(), "cert.pem", &server.certificate.pem()),
            key: write(folder.path(), "key.pem", &server.key.serialize_pem()),
            client_ca: Some(write(folder.path(), "meta.pem", &metas.certificate.pem())),
        }),
        ..config()
    };
    let app = config.apps.get_mut("default").unwrap();
    app.client_name = Some(CLIENT.to_owned());
    let deadline = Duration::from_secs(10);
    let mut stage = Stage::start_as(config, SystemClock::shared(), deadline).await;
    let meta = metas.sign(&[], CLIENT);
    let by_dns = metas.sign(&[CLIENT], "x");
    let other = metas.sign(&[], "client.example");
    let forged = strangers.sign(&[], CLIENT);
    let (address, root) = (stage.address, ours.certificate.der().clone());
    let ask = async |client: Option<&Signed>, path: &str, secret: &str| {
        post(address, &root, client, path, secret).await
    };

    let path = "/webhooks/whatsapp";
    assert_eq!(ask(None, path, SECRET).await.unwrap(), 403);
    assert_eq!(ask(Some(&other), path, SECRET).await.unwrap(), 403);
    ask(Some(&forged), path, SECRET).await.unwrap_err();
    assert_eq!(ask(Some(&meta), path, "wrong").await.unwrap(), 401);
    assert_eq!(stage.log.state(stream::RAW).await.unwrap().last_sequence, 0);

    assert_eq!(ask(Some(&meta), path, SECRET).await.unwrap(), 200);
    assert_eq!(ask(Some(&by_dns), path, SECRET).await.unwrap(), 200);
    let shop = "/webhooks/whatsapp/shop";
    assert_eq!(ask(None, shop, "shop-secret").await.unwrap(), 200);
    assert_eq!(stage.log.state(stream::RAW).await.unwrap().last_sequence, 3);
    stage.stop().await;
}
