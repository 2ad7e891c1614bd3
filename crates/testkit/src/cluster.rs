//! Three real `nats-server`s that keep each stream three times, for one test.
//!
//! Each can be killed, paused, and cut off from the other two while its clients stay connected;
//! which one leads a stream can be asked and changed. What stands in the streams is for the log's
//! own crate.

use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::eventually::Wait;
use crate::nats::nats_server_bin;
use crate::port::free_port;
use crate::process::{read_lossy, signal_child, tail};
use crate::proxy::Proxy;

/// How many servers: the fewest of which one may fail.
const SERVERS_COUNT: usize = 3;

/// How long a cluster may take to find together, or to choose another leader.
const READY_MAX: Duration = Duration::from_mins(1);

/// How long one question to a monitoring address may take.
const ASK_MAX: Duration = Duration::from_secs(2);

/// An address where nobody listens. Servers tell each other this one, so that they find one
/// another over the lines that a test can cut, and never around them.
pub const NOWHERE: &str = "127.0.0.1:1";

/// One server of a cluster, before it is started.
#[derive(Debug, Clone)]
pub struct Node {
    /// Its name, `s0`, `s1` or `s2`.
    pub name: String,
    /// Where clients connect, on 127.0.0.1.
    pub port: u16,
    /// Where the other servers connect, on 127.0.0.1.
    pub route_port: u16,
    /// Where it answers HTTP, on 127.0.0.1.
    pub monitoring_port: u16,
    /// Where it finds the others, as `host:port`, over lines that can be cut.
    pub others: Vec<String>,
    /// A folder of its own, for its configuration and its store.
    pub folder: PathBuf,
}

/// How a server is started.
#[derive(Debug, Clone)]
pub struct Launch {
    /// Its configuration.
    pub conf: PathBuf,
    /// Variables of its environment.
    pub environment: Vec<(String, String)>,
}

/// A running cluster. Dropping it kills it and removes its stores.
#[derive(Debug)]
pub struct NatsCluster {
    servers: Vec<Member>,
    /// Removed after those who write there have ended.
    _folder: TempDir,
    /// By who connects and whom it connects to; none to itself.
    lines: Vec<Vec<Option<Proxy>>>,
}

#[derive(Debug)]
struct Member {
    child: Option<Child>,
    node: Node,
    launch: Launch,
}

impl NatsCluster {
    /// Starts three servers, each write synced before it is acknowledged, and waits until they
    /// keep a stream together.
    ///
    /// # Panics
    /// When there is no `nats-server`, or they do not become ready.
    pub async fn start() -> Self {
        let cluster = Self::start_by(plain).await;
        cluster.eventually(async || cluster.probe().await).await;
        cluster
    }

    /// Starts three servers as `launch` says, and waits until they have agreed on a leader.
    ///
    /// # Panics
    /// When there is no `nats-server`, or they do not become ready.
    pub async fn start_by(launch: impl Fn(&Node) -> Launch) -> Self {
        let folder = TempDir::with_prefix("casement-cluster-").expect("a temporary folder");
        let route_ports: Vec<u16> = (0..SERVERS_COUNT).map(|_| free_port()).collect();
        let mut lines = Vec::new();
        for from in 0..SERVERS_COUNT {
            let mut row = Vec::new();
            for (to, port) in route_ports.iter().enumerate() {
                row.push(if from == to {
                    None
                } else {
                    Some(Proxy::start(format!("127.0.0.1:{port}")).await)
                });
            }
            lines.push(row);
        }
        let servers = (0..SERVERS_COUNT).map(|index| {
            let own = folder.path().join(index.to_string());
            std::fs::create_dir(&own).expect("a writable folder");
            let others = lines[index].iter().flatten();
            let node = Node {
                name: format!("s{index}"),
                port: free_port(),
                route_port: route_ports[index],
                monitoring_port: free_port(),
                others: others.map(|line| line.addr().to_string()).collect(),
                folder: own,
            };
            let launch = launch(&node);
            Member {
                child: None,
                node,
                launch,
            }
        });
        let servers = servers.collect();
        let mut cluster = Self {
            servers,
            _folder: folder,
            lines,
        };
        for member in &mut cluster.servers {
            member.spawn();
        }
        cluster
            .eventually(async || cluster.is_one(&[0, 1, 2]).await)
            .await;
        cluster
    }

    /// Where clients connect to these servers, without TLS.
    pub fn urls(&self, servers: &[usize]) -> String {
        self.addresses("nats", servers)
    }

    /// Where clients connect to all servers, by TLS.
    pub fn tls_urls(&self) -> String {
        self.addresses("tls", &[0, 1, 2])
    }

    /// Where all servers answer HTTP, separated by commas.
    pub fn monitoring(&self) -> String {
        let addresses = self.servers.iter();
        let addresses =
            addresses.map(|member| format!("127.0.0.1:{}", member.node.monitoring_port));
        addresses.collect::<Vec<_>>().join(",")
    }

    /// A client of one server, and of no other; without TLS and as nobody.
    ///
    /// # Panics
    /// When it cannot be reached.
    pub async fn client(&self, server: usize) -> async_nats::Client {
        async_nats::ConnectOptions::new()
            .ignore_discovered_servers()
            .connect(self.urls(&[server]))
            .await
            .expect("a server that is ready takes connections")
    }

    /// Returns which server leads a stream, as all that answer see it.
    ///
    /// # Panics
    /// When there is none in time.
    pub async fn leader(&self, stream: &str) -> usize {
        self.eventually(async || self.leader_now(stream).await)
            .await
    }

    /// Sees to it that a server leads none of these streams, so that it only follows.
    ///
    /// # Panics
    /// When the others do not take over in time.
    pub async fn make_follower(&self, server: usize, streams: &[&str]) {
        let client = self.client((server + 1) % SERVERS_COUNT).await;
        for stream in streams {
            self.eventually(async || {
                if self.leader_now(stream).await? != server {
                    return Ok(());
                }
                let subject = format!("$JS.API.STREAM.LEADER.STEPDOWN.{stream}");
                // An error says that it has no leader to step down; it is asked again.
                let _ = client.request(subject, "".into()).await;
                Err(format!("s{server} leads {stream}"))
            })
            .await;
        }
    }

    /// SIGSTOP: what the others store meanwhile it does not have.
    ///
    /// # Panics
    /// When it does not run.
    pub fn pause(&self, server: usize) {
        self.signal(server, Signal::STOP);
    }

    /// SIGCONT after [`NatsCluster::pause`]: it answers again before it has caught up.
    ///
    /// # Panics
    /// When it does not run.
    pub fn resume(&self, server: usize) {
        self.signal(server, Signal::CONT);
    }

    /// SIGKILL: nothing is flushed that was not.
    pub fn kill(&mut self, server: usize) {
        self.servers[server].kill();
    }

    /// SIGUSR2: it hands over what it leads, then its clients, and ends. Waits until it has.
    ///
    /// # Panics
    /// When it does not end in time, or not by itself.
    pub async fn retire(&mut self, server: usize) {
        self.signal(server, Signal::USR2);
        let mut wait = Wait::new(READY_MAX, format!("s{server} hands over and ends"));
        while self.servers[server].is_running() {
            wait.not_yet(tail(&self.log(server)).to_owned()).await;
        }
    }

    /// Starts a server that has ended, on its ports and store, and waits until it is one of the
    /// three again.
    ///
    /// # Panics
    /// When it does not become ready.
    pub async fn start_again(&mut self, server: usize) {
        let mut wait = Wait::new(READY_MAX, format!("s{server} is back"));
        loop {
            if !self.servers[server].is_running() {
                // Its port may still be taken by who died.
                self.servers[server].spawn();
            }
            match self.is_one(&[server]).await {
                Ok(()) => return,
                Err(reason) => wait.not_yet(reason).await,
            }
        }
    }

    /// Cuts a server off from the other two. As on a network that is down nothing is refused:
    /// what is sent arrives after [`NatsCluster::join`]. Its clients notice nothing.
    pub fn cut_off(&self, server: usize) {
        for line in self.lines_of(server) {
            line.hold_requests();
            line.hold_replies();
        }
    }

    /// Ends [`NatsCluster::cut_off`].
    pub fn join(&self, server: usize) {
        for line in self.lines_of(server) {
            line.forward();
        }
    }

    /// What a server has logged since it was started last.
    pub fn log(&self, server: usize) -> String {
        read_lossy(&self.servers[server].log_path())
    }

    fn addresses(&self, scheme: &str, servers: &[usize]) -> String {
        let servers = servers.iter().map(|index| &self.servers[*index].node);
        let urls = servers.map(|node| format!("{scheme}://127.0.0.1:{}", node.port));
        urls.collect::<Vec<_>>().join(",")
    }

    /// The lines that a server connects over, and those over which others connect to it.
    fn lines_of(&self, server: usize) -> impl Iterator<Item = &Proxy> {
        let to = self
            .lines
            .iter()
            .filter_map(move |row| row[server].as_ref());
        self.lines[server].iter().flatten().chain(to)
    }

    fn signal(&self, server: usize, signal: Signal) {
        let child = self.servers[server].child.as_ref();
        signal_child(child.expect("a server that runs"), signal);
    }

    async fn eventually<T>(&self, probe: impl AsyncFn() -> Result<T, String>) -> T {
        let mut wait = Wait::new(READY_MAX, "three servers agree");
        loop {
            match probe().await {
                Ok(found) => return found,
                Err(reason) => {
                    let log = self.log(0);
                    let log = tail(&log);
                    wait.not_yet(format!("{reason}; the first one's log ends:\n{log}"))
                        .await;
                }
            }
        }
    }

    /// Whether these servers see a cluster of three with a leader, and have caught up with it.
    async fn is_one(&self, servers: &[usize]) -> Result<(), String> {
        for index in servers {
            let port = self.servers[*index].node.monitoring_port;
            let meta = &ask(port, "/jsz").await?["meta_cluster"];
            let has_leader = meta["leader"].as_str().is_some_and(|name| !name.is_empty());
            if !has_leader || meta["cluster_size"].as_u64() != Some(SERVERS_COUNT as u64) {
                return Err(format!("s{index} sees {meta}"));
            }
            let health = ask(port, "/healthz").await?;
            if health["status"] != "ok" {
                return Err(format!("s{index} is {health}"));
            }
        }
        Ok(())
    }

    /// Which server leads a stream now: the first that says so of itself.
    async fn leader_now(&self, stream: &str) -> Result<usize, String> {
        for (index, member) in self.servers.iter().enumerate() {
            let path = "/jsz?accounts=true&streams=true";
            let Ok(told) = ask(member.node.monitoring_port, path).await else {
                continue;
            };
            let accounts = told["account_details"].as_array().into_iter().flatten();
            let mut streams = accounts
                .flat_map(|account| account["stream_detail"].as_array().into_iter().flatten());
            let leads = |detail: &Value| {
                detail["name"] == stream && detail["cluster"]["leader"] == member.node.name.as_str()
            };
            if streams.any(leads) {
                return Ok(index);
            }
        }
        Err(format!("{stream} has no leader"))
    }

    async fn probe(&self) -> Result<(), String> {
        for index in 0..SERVERS_COUNT {
            let options = async_nats::ConnectOptions::new()
                .ignore_discovered_servers()
                .connection_timeout(Duration::from_secs(1));
            let client = options.connect(self.urls(&[index])).await;
            let client = client.map_err(|error| format!("server {index}: {error}"))?;
            let jetstream = async_nats::jetstream::new(client);
            let config = async_nats::jetstream::stream::Config {
                name: "READY".to_owned(),
                subjects: vec!["testkit.ready".to_owned()],
                num_replicas: SERVERS_COUNT,
                ..Default::default()
            };
            let made = jetstream.get_or_create_stream(config).await;
            made.map_err(|error| format!("server {index}: {error}"))?;
        }
        let client = self.client(0).await;
        let jetstream = async_nats::jetstream::new(client);
        let deleted = jetstream.delete_stream("READY").await;
        deleted.map_err(|error| error.to_string())?;
        Ok(())
    }
}

/// A configuration without users and TLS.
fn plain(node: &Node) -> Launch {
    let routes = node.others.iter();
    let routes: Vec<String> = routes.map(|at| format!("\"nats://{at}\"")).collect();
    let text = format!(
        "server_name: {name}\n\
         listen: \"127.0.0.1:{port}\"\n\
         http: \"127.0.0.1:{monitoring}\"\n\
         max_payload: 8MB\n\
         jetstream {{\n  \
           store_dir: \"{store}\"\n  \
           sync_interval: always\n  \
           max_file_store: 100GB\n  \
           max_mem: 256MB\n\
         }}\n\
         cluster {{\n  \
           name: testkit\n  \
           listen: \"127.0.0.1:{route}\"\n  \
           advertise: \"{NOWHERE}\"\n  \
           no_advertise: true\n  \
           routes: [{routes}]\n\
         }}\n",
        name = node.name,
        port = node.port,
        monitoring = node.monitoring_port,
        store = node.folder.join("store").display(),
        route = node.route_port,
        routes = routes.join(", "),
    );
    let conf = node.folder.join("nats.conf");
    std::fs::write(&conf, text).expect("a writable folder");
    Launch {
        conf,
        environment: Vec::new(),
    }
}

/// Asks a monitoring address. One plain request.
async fn ask(port: u16, path: &str) -> Result<Value, String> {
    let asking = async {
        let mut socket = TcpStream::connect(("127.0.0.1", port)).await?;
        let request = format!("GET {path} HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n");
        socket.write_all(request.as_bytes()).await?;
        let mut answer = Vec::new();
        socket.read_to_end(&mut answer).await?;
        Ok::<_, std::io::Error>(answer)
    };
    let answer = tokio::time::timeout(ASK_MAX, asking).await;
    let answer = answer.map_err(|_| format!("port {port} does not answer {path}"))?;
    let answer = answer.map_err(|error| format!("port {port}: {error}"))?;
    let answer = String::from_utf8_lossy(&answer);
    let (_, body) = answer.split_once("\r\n\r\n").unwrap_or_default();
    serde_json::from_str(body).map_err(|error| format!("port {port}: {error}: {answer}"))
}

impl Member {
    fn log_path(&self) -> PathBuf {
        self.node.folder.join("log")
    }

    fn spawn(&mut self) {
        let log = new_file(&self.log_path());
        let child = Command::new(nats_server_bin())
            .arg("--config")
            .arg(&self.launch.conf)
            .envs(self.launch.environment.iter().cloned())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("a nats-server that was found can be started");
        self.child = Some(child);
    }

    fn is_running(&mut self) -> bool {
        let child = self.child.as_mut();
        child.is_some_and(|child| matches!(child.try_wait(), Ok(None)))
    }

    fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            // Errors say that it has ended by itself.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn new_file(path: &Path) -> File {
    let mut options = OpenOptions::new();
    options.create(true).write(true).truncate(true);
    options.open(path).expect("a writable folder")
}

impl Drop for NatsCluster {
    fn drop(&mut self) {
        for member in &mut self.servers {
            member.kill();
        }
    }
}
