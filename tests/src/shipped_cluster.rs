//! Three brokers as they are shipped: by `deploy/nats/cluster.conf`, with its users, and with TLS
//! among them and for their clients.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use casement_event_log::{Config, Log, Tls};
use casement_testkit::{Launch, NOWHERE, NatsCluster, Node, casement_bin, nats_server_bin};
use tempfile::TempDir;

use crate::stack::Role;

/// What the routes between them ask for.
const ROUTE_PASSWORD: &str = "s3cret";

/// The cluster.
pub struct ShippedCluster {
    /// Its servers, to be broken.
    pub servers: NatsCluster,
    folder: TempDir,
}

impl ShippedCluster {
    /// Starts one; it ends when it is dropped.
    ///
    /// # Panics
    /// If the configuration cannot be read, or is not taken.
    pub async fn start() -> Self {
        let folder = TempDir::new().expect("a folder of ours");
        let site = folder.path().join("site");
        let made = Command::new(casement_bin())
            .args(["broker", "init", "--host", "127.0.0.1", "--site"])
            .arg(&site)
            .arg("--seeds")
            .arg(folder.path().join("seeds"))
            .output()
            .expect("the program was built");
        assert!(made.status.success(), "{made:?}");
        let servers = NatsCluster::start_by(|node| launch(node, &site)).await;
        Self { servers, folder }
    }

    /// The `[log]` section of a role's configuration; who it is stands in its environment.
    pub fn log_section(&self) -> String {
        format!(
            "servers = \"{servers}\"\nreplicas = 3\nmonitoring = \"{monitoring}\"\n\
             tls.ca = \"{ca}\"",
            servers = self.servers.tls_urls(),
            monitoring = self.servers.monitoring(),
            ca = self.ca().display(),
        )
    }

    /// The settings by which a user of the broker finds the cluster and is known there.
    ///
    /// # Panics
    /// If there is no such user.
    pub fn settings(&self, user: &str) -> [(&'static str, String); 6] {
        [
            ("log.servers", self.servers.tls_urls()),
            ("log.monitoring", self.servers.monitoring()),
            ("log.replicas", "3".to_owned()),
            ("log.tls.ca", self.ca().display().to_string()),
            ("log.nkey", self.seed(user)),
            ("log.inbox_prefix", format!("_INBOX_{user}")),
        ]
    }

    /// What a role's environment says about who it is.
    ///
    /// # Panics
    /// If the role is no user of the broker.
    pub fn environment(&self, role: Role) -> [(&'static str, String); 2] {
        let user = role.command();
        [
            ("CASEMENT__LOG__NKEY", self.seed(user)),
            ("CASEMENT__LOG__INBOX_PREFIX", format!("_INBOX_{user}")),
        ]
    }

    /// The log, by a user that may read all of it.
    ///
    /// # Panics
    /// If it cannot be opened.
    pub async fn log(&self) -> Log {
        let config = Config {
            servers: self.servers.tls_urls(),
            nkey: Some(self.seed("audit-projector").into()),
            inbox_prefix: "_INBOX_audit-projector".to_owned(),
            tls: Tls {
                ca: Some(self.ca()),
                ..Tls::default()
            },
            monitoring: Some(self.servers.monitoring()),
            replicas: 3,
            ..Config::default()
        };
        Log::connect(&config).await.expect("a cluster that stands")
    }

    fn seed(&self, user: &str) -> String {
        let file = self.folder.path().join(format!("seeds/nkey-{user}"));
        let seed = fs::read_to_string(file).expect("a user of the broker");
        seed.trim().to_owned()
    }

    fn ca(&self) -> PathBuf {
        self.folder.path().join("site/ca.pem")
    }
}

/// Writes what is shipped to where a server reads it, with its own addresses.
fn launch(node: &Node, site: &Path) -> Launch {
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/nats");
    let read = |name: &str| fs::read_to_string(shipped.join(name)).expect("a shipped file");
    let own = |name: &str| node.folder.join(name);
    fs::create_dir(own("site")).expect("a folder of ours");
    for file in fs::read_dir(site).expect("a folder of ours") {
        let file = file.expect("a file of ours");
        let copy = own("site").join(file.file_name());
        fs::copy(file.path(), copy).expect("a file of ours");
    }
    let at = |port: u16| format!("127.0.0.1:{port}");
    let alone = read("nats-server.conf")
        .replace("0.0.0.0:4222", &at(node.port))
        .replace("0.0.0.0:8222", &at(node.monitoring_port))
        .replace("/var/lib/nats", &own("store").display().to_string());
    fs::write(own("nats-server.conf"), alone).expect("a folder of ours");
    let route = at(node.route_port);
    let cluster = read("cluster.conf")
        .replace(
            "listen: 0.0.0.0:6222",
            &format!("listen: {route:?}\n    advertise: {NOWHERE:?}"),
        )
        .replace("/etc/nats/site", &own("site").display().to_string());
    fs::write(own("cluster.conf"), cluster).expect("a folder of ours");
    let routes = node.others.iter();
    let routes: Vec<_> = routes
        .map(|at| format!("\"tls://route:{ROUTE_PASSWORD}@{at}\""))
        .collect();
    let variable = |name: &str, value: &str| (format!("CASEMENT_NATS_{name}"), value.to_owned());
    let environment = vec![
        variable("STORE_KEY", "key-of-the-store"),
        variable("SUBSCRIBER_PASSWORD", "secret"),
        variable("NAME", &node.name),
        variable("ROUTE_PASSWORD", ROUTE_PASSWORD),
        variable("ROUTES", &format!("[{}]", routes.join(", "))),
    ];
    let conf = own("cluster.conf");
    let checked = Command::new(nats_server_bin())
        .args(["-t", "-c"])
        .arg(&conf)
        .envs(environment.iter().cloned())
        .output()
        .expect("a nats-server that was found can be started");
    assert!(checked.status.success(), "{checked:?}");
    Launch { conf, environment }
}
