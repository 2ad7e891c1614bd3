//! Three real `nats-server`s that keep each stream three times, for one test.
//!
//! Each can be paused, so that what it holds lags behind; which one leads a stream can be asked
//! and changed. What stands in the streams is for the log's own crate.

use std::fs::File;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::Signal;
use tempfile::TempDir;

use crate::eventually::Wait;
use crate::nats::nats_server_bin;
use crate::port::free_port;
use crate::process::{read_lossy, signal_child, tail};

/// How many servers: the fewest of which one may fail.
const SERVERS_COUNT: usize = 3;

/// How long a cluster may take to find together, or to choose another leader.
const READY_MAX: Duration = Duration::from_mins(1);

/// A running cluster. Dropping it kills it and removes its stores.
#[derive(Debug)]
pub struct NatsCluster {
    servers: Vec<Member>,
    folder: TempDir,
}

#[derive(Debug)]
struct Member {
    child: Child,
    port: u16,
}

impl NatsCluster {
    /// Starts three servers, each write synced before it is acknowledged, and waits until they
    /// keep a stream together.
    ///
    /// # Panics
    /// When there is no `nats-server`, or they do not become ready.
    pub async fn start() -> Self {
        let folder = TempDir::with_prefix("casement-cluster-").expect("a temporary folder");
        let ports: Vec<(u16, u16)> = (0..SERVERS_COUNT)
            .map(|_| (free_port(), free_port()))
            .collect();
        let routes: Vec<String> = ports
            .iter()
            .map(|(_, route)| format!("\"nats://127.0.0.1:{route}\""))
            .collect();
        let routes = routes.join(", ");
        let servers = ports.iter().enumerate().map(|(index, (port, route))| {
            let path = |kind: &str| folder.path().join(format!("{kind}-{index}"));
            let conf = format!(
                "server_name: s{index}\n\
                 listen: \"127.0.0.1:{port}\"\n\
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
                   no_advertise: true\n  \
                   routes: [{routes}]\n\
                 }}\n",
                store = path("store").display(),
            );
            std::fs::write(path("conf"), conf).expect("a writable folder");
            let log = File::create(path("log")).expect("a writable folder");
            let child = Command::new(nats_server_bin())
                .arg("--config")
                .arg(path("conf"))
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(log)
                .spawn()
                .expect("a nats-server that was found can be started");
            Member { child, port: *port }
        });
        let servers = servers.collect();
        let cluster = Self { servers, folder };
        cluster.become_ready().await;
        cluster
    }

    /// Where clients connect to these servers.
    pub fn urls(&self, servers: &[usize]) -> String {
        let urls: Vec<String> = servers
            .iter()
            .map(|index| format!("nats://127.0.0.1:{}", self.servers[*index].port))
            .collect();
        urls.join(",")
    }

    /// A client of one server, and of no other.
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

    /// Sees to it that a server leads none of these streams, so that it only follows.
    ///
    /// # Panics
    /// When the others do not take over in time.
    pub async fn make_follower(&self, server: usize, streams: &[&str]) {
        let client = self.client((server + 1) % SERVERS_COUNT).await;
        let name = format!("s{server}");
        for stream in streams {
            let mut wait = Wait::new(READY_MAX, format!("{name} does not lead {stream}"));
            loop {
                let leader = leader_of(&client, stream).await;
                match leader {
                    Ok(leader) if leader != name => break,
                    Ok(_) => {
                        let subject = format!("$JS.API.STREAM.LEADER.STEPDOWN.{stream}");
                        // An error says that it has no leader to step down; it is asked again.
                        let _ = client.request(subject, "".into()).await;
                        wait.not_yet("it leads".to_owned()).await;
                    }
                    Err(reason) => wait.not_yet(reason).await,
                }
            }
        }
    }

    /// SIGSTOP: what the others store meanwhile it does not have.
    pub fn pause(&self, server: usize) {
        signal_child(&self.servers[server].child, Signal::STOP);
    }

    /// SIGCONT after [`NatsCluster::pause`]: it answers again before it has caught up.
    pub fn resume(&self, server: usize) {
        signal_child(&self.servers[server].child, Signal::CONT);
    }

    async fn become_ready(&self) {
        let mut wait = Wait::new(READY_MAX, "three servers keep a stream together");
        loop {
            match self.probe().await {
                Ok(()) => return,
                Err(reason) => {
                    let log = read_lossy(&self.folder.path().join("log-0"));
                    wait.not_yet(format!(
                        "{reason}; the first one's log ends:\n{}",
                        tail(&log)
                    ))
                    .await;
                }
            }
        }
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

/// The name of the server that leads a stream.
async fn leader_of(client: &async_nats::Client, stream: &str) -> Result<String, String> {
    let jetstream = async_nats::jetstream::new(client.clone());
    let info = jetstream.get_stream(stream).await;
    let info = info.map_err(|error| error.to_string())?;
    let cluster = info.cached_info().cluster.as_ref();
    let leader = cluster.and_then(|cluster| cluster.leader.clone());
    leader.ok_or_else(|| format!("{stream} has no leader"))
}

impl Drop for NatsCluster {
    fn drop(&mut self) {
        for member in &mut self.servers {
            // Errors say that it has ended by itself.
            let _ = member.child.kill();
            let _ = member.child.wait();
        }
    }
}
