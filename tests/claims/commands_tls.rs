//! An operator's commands reach an API that has TLS and asks for certificates, and say what is
//! missing where they do not.

use std::fs;
use std::path::PathBuf;
use std::process::Output;

use casement_testkit::eventually;
use casement_tests::{API_TOKEN, Options, Role, Stack};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};

/// An authority, and what it signs.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

impl Authority {
    fn new() -> Self {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(Vec::new()).expect("parameters");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let pem = params.self_signed(&key).expect("signed").pem();
        Self {
            issuer: Issuer::new(params, key),
            pem,
        }
    }

    /// Returns a certificate and its key.
    fn signs(&self, name: &str) -> (String, String) {
        let key = KeyPair::generate().expect("a key");
        let params = CertificateParams::new(vec![name.to_owned()]).expect("a name");
        let signed = params.signed_by(&key, &self.issuer).expect("signed");
        (signed.pem(), key.serialize_pem())
    }
}

struct Scene {
    stack: Stack,
}

impl Scene {
    /// The archive's role with TLS that asks for a certificate, and files for callers.
    async fn start() -> Self {
        let mut stack = Stack::without_roles(&Options::default()).await;
        let (servers, people, others) = (Authority::new(), Authority::new(), Authority::new());
        let (certificate, key) = servers.signs("localhost");
        let (mine, my_key) = people.signs("operator");
        let (theirs, their_key) = others.signs("operator");
        let write = |name: &str, text: &str| {
            let path = stack.path(name);
            fs::write(&path, text).expect("a file of ours");
            path
        };
        let certificate = write("api.pem", &certificate);
        let key = write("api-key.pem", &key);
        let client_ca = write("people.pem", &people.pem);
        write("servers.pem", &servers.pem);
        write("others.pem", &others.pem);
        write("mine.pem", &mine);
        write("mine-key.pem", &my_key);
        write("theirs.pem", &theirs);
        write("theirs-key.pem", &their_key);
        let tls = format!(
            "[api]\ntls = {{ certificate = \"{}\", key = \"{}\", client_ca = \"{}\" }}\n",
            certificate.display(),
            key.display(),
            client_ca.display()
        );
        let path = stack.path("casement.toml");
        let text = fs::read_to_string(&path).expect("a configuration");
        let text = text.replacen("[[api.tokens]]", &format!("{tls}[[api.tokens]]"), 1);
        fs::write(&path, text).expect("it is ours");
        stack.start_role(Role::AuditProjector, 0).await;
        Self { stack }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.stack.path(name)
    }

    /// Runs `casement acts` with these files: authority, certificate, key.
    fn acts(&self, scheme: &str, files: &[(&str, &str)]) -> Output {
        let port = self.stack.api_port(Role::AuditProjector, 0);
        let mut command = self.stack.program();
        command.args([
            "acts",
            "--json",
            "--api",
            &format!("{scheme}://localhost:{port}"),
        ]);
        command.env("CASEMENT_TOKEN", API_TOKEN);
        for (flag, name) in files {
            command.arg(flag).arg(self.file(name));
        }
        command.output().expect("casement runs")
    }

    fn trouble(&self, scheme: &str, files: &[(&str, &str)]) -> String {
        let output = self.acts(scheme, files);
        assert!(!output.status.success(), "{files:?}");
        String::from_utf8_lossy(&output.stderr).into_owned()
    }
}

#[tokio::test]
async fn commands_prove_who_they_are_to_an_api_with_tls_and_check_who_it_is() {
    let scene = Scene::start().await;
    let (ca, cert, key) = ("--api-ca", "--api-cert", "--api-key");
    let mine = [
        (ca, "servers.pem"),
        (cert, "mine.pem"),
        (key, "mine-key.pem"),
    ];
    // Just after its start the archive may have to count first, and says so.
    eventually("the API answers", async || {
        let answered = scene.acts("https", &mine);
        if answered.status.success() {
            return Ok(());
        }
        Err(String::from_utf8_lossy(&answered.stderr).into_owned())
    })
    .await;

    // Nobody's certificate, one of others, an API that others signed for.
    scene.trouble("https", &[(ca, "servers.pem")]);
    let theirs = [
        (ca, "servers.pem"),
        (cert, "theirs.pem"),
        (key, "theirs-key.pem"),
    ];
    scene.trouble("https", &theirs);
    let told = scene.trouble(
        "https",
        &[
            (ca, "others.pem"),
            (cert, "mine.pem"),
            (key, "mine-key.pem"),
        ],
    );
    assert!(told.contains("--api-ca"), "{told}");
    // What was not thought of is told before anything is called.
    let told = scene.trouble("https", &[]);
    assert!(told.contains("--api-ca"), "{told}");
    let told = scene.trouble("http", &mine);
    assert!(told.contains("https://"), "{told}");
    let told = scene.trouble("https", &[(ca, "mine-key.pem")]);
    assert!(told.contains("mine-key.pem"), "{told}");
    scene.stack.stop().await;
}
