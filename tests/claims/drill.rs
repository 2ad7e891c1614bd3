//! A whole deployment goes elsewhere, as `docs/operate/drill.md` says: planned, where nothing at all
//! is lost, and after its machine was, where what came since the backup is, and nothing is sent twice.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use casement_event_log::{Config, Log};
use casement_proto::account::v1::{PauseNumberRequest, ResumeNumberRequest};
use casement_proto::message::v1::send_message_request::Customer;
use casement_proto::message::v1::{
    CancelMessageRequest, ListMessagesRequest, MessageFilter, MessageState, SendMessageRequest,
};
use casement_testkit::{NatsServer, eventually};
use casement_tests::{Clients, NUMBER, Options, Role, Stack, template};
use jiff::SignedDuration;
use tempfile::TempDir;
use tonic::Code;

use crate::traffic::{
    Traffic, WINDOW_SECONDS, the_archive_has_it, what_came_in_stands_once,
    what_went_out_was_called_once,
};

/// The roles as they run on the other machine: with ports of their own.
const ELSEWHERE: usize = 1;

/// In the order of the page: who takes things in stops first.
pub(crate) const STOP: [Role; 5] = [
    Role::Ingress,
    Role::Dispatcher,
    Role::WindowTracker,
    Role::Accounts,
    Role::AuditProjector,
];

/// Who is written to a while after the backup was taken.
const LATER: &str = "+15550007777";

/// Where the deployment is going.
struct Machine {
    nats: NatsServer,
    folder: TempDir,
}

impl Machine {
    /// With what was copied of a broker's store, or with none.
    async fn start(store: Option<&Path>) -> Self {
        let folder = TempDir::new().expect("a folder of ours");
        let own = folder.path().join("nats");
        match store {
            Some(store) => copy(store, &own),
            None => std::fs::create_dir(&own).expect("a folder of ours"),
        }
        let nats = NatsServer::builder()
            .sync_always(true)
            .monitoring(true)
            .store_dir(own);
        Self {
            nats: nats.start().await,
            folder,
        }
    }

    fn monitoring(&self) -> String {
        let url = self.nats.monitoring_url();
        url.trim_start_matches("http://").to_owned()
    }

    fn archive(&self) -> PathBuf {
        self.folder.path().join("archive.sqlite")
    }

    /// What differs in the configuration from the machine before.
    fn settings(&self) -> [(&'static str, String); 3] {
        [
            ("log.servers", self.nats.url()),
            ("log.monitoring", self.monitoring()),
            (
                "archive.database_path",
                self.archive().display().to_string(),
            ),
        ]
    }

    async fn start_roles(&self, stack: &mut Stack, roles: &[Role]) {
        for role in roles {
            stack.set(*role, ELSEWHERE, &self.settings());
            stack.start_role(*role, ELSEWHERE).await;
        }
    }

    async fn log(&self) -> Log {
        let config = Config {
            servers: self.nats.url(),
            monitoring: Some(self.monitoring()),
            ..Config::default()
        };
        Log::connect(&config).await.expect("a broker that stands")
    }
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a folder of ours");
    for entry in std::fs::read_dir(from).expect("a folder of ours") {
        let entry = entry.expect("an entry of ours");
        let target = to.join(entry.file_name());
        if entry.file_type().expect("it is there").is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).expect("a file of ours");
        }
    }
}

/// Runs the program with the roles' configuration, to its good end.
pub(crate) async fn succeed(stack: &Stack, args: Vec<String>) {
    let mut command = stack.program();
    command
        .args(&args)
        .arg("--config")
        .arg(stack.path("casement.toml"));
    let run = tokio::task::spawn_blocking(move || command.output());
    let output = run.await.expect("the task ends").expect("a program");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{args:?}: {said}");
}

/// By message, how often a provider was called for it.
fn calls(stack: &Stack) -> BTreeMap<String, usize> {
    let mut calls = BTreeMap::new();
    for one in stack.simulator.sent() {
        let attempt = one.callback_data.expect("every call names its attempt");
        let (message, _) = attempt.split_once('.').expect("a message and an attempt");
        *calls.entry(message.to_owned()).or_default() += 1;
    }
    calls
}

#[tokio::test]
async fn a_deployment_that_is_moved_in_order_loses_nothing_at_all() {
    let mut stack = Stack::with(Options {
        window_seconds: WINDOW_SECONDS,
        ..Options::default()
    })
    .await;
    let there = stack.clients_at(ELSEWHERE);
    // The address of webhooks moves along; callers know both addresses.
    let senders = vec![stack.clients(), there.clone()];
    let mut traffic = Traffic::start(&stack, vec![stack.poster()], senders);
    traffic.flows("traffic before").await;

    for role in STOP {
        let process = stack.process(role, 0);
        process.terminate();
        let exit = process.wait().await;
        assert!(exit.success(), "{role:?}: {}", process.stderr());
    }
    stack.nats.stop().await;
    let machine = Machine::start(Some(&stack.nats.store_dir())).await;
    let beside = stack.archive().with_extension("sqlite-wal");
    assert!(!beside.exists(), "at rest the archive is one file");
    std::fs::rename(stack.archive(), machine.archive()).expect("the archive at rest");
    std::fs::remove_dir_all(stack.nats.store_dir()).expect("the store of before");
    machine.start_roles(&mut stack, &Role::ALL).await;
    traffic.flows("traffic elsewhere").await;
    traffic.end().await;

    let log = machine.log().await;
    what_went_out_was_called_once(&stack, &there, &traffic.outgoing.all()).await;
    what_came_in_stands_once(&log, &traffic.incoming.all()).await;
    the_archive_has_it(&there, &log).await;
    stack.stop().await;
}

/// Asks for a message that is to be sent some seconds from now.
async fn schedule(clients: &Clients, after: SignedDuration) -> String {
    use casement_shell::clock::Clock as _;
    let at = casement_shell::SystemClock::new().now() + after;
    let request = SendMessageRequest {
        number: NUMBER.to_owned(),
        customer: Some(Customer::To(LATER.to_owned())),
        content: Some(template("At once!", "order_update", "7")),
        purpose: casement_event::v1::Purpose::Service.into(),
        send_time: Some(casement_event::convert::timestamp(at)),
        ..Default::default()
    };
    let sent = clients.messages.clone().send_message(request).await;
    let message = sent.expect("an accepted send").into_inner().message;
    message.expect("it is in the answer").message_id
}

/// What the archive knows as not over, as an operator looks before anything is sent.
async fn waiting(clients: &Clients) -> Vec<String> {
    let request = ListMessagesRequest {
        filter: Some(MessageFilter {
            number: NUMBER.to_owned(),
            states: vec![
                MessageState::Pending.into(),
                MessageState::Held.into(),
                MessageState::Unknown.into(),
            ],
            ..MessageFilter::default()
        }),
        page_size: 500,
        ..ListMessagesRequest::default()
    };
    let mut queries = clients.message_queries.clone();
    let listed = queries.list_messages(request).await.expect("a list");
    let messages = listed.into_inner().messages;
    messages.into_iter().map(|one| one.message_id).collect()
}

#[tokio::test]
async fn a_deployment_whose_machine_is_lost_goes_on_elsewhere_and_sends_nothing_twice() {
    let mut stack = Stack::with(Options {
        window_seconds: WINDOW_SECONDS,
        ..Options::default()
    })
    .await;
    let here = stack.clients();
    let mut traffic = Traffic::start(&stack, vec![stack.poster()], vec![here.clone()]);
    traffic.flows("traffic before").await;
    stack.customer(LATER);
    let scheduled = schedule(&here, SignedDuration::from_secs(8)).await;
    let backup = stack.path("backup").display().to_string();
    succeed(&stack, vec!["backup".into(), backup.clone()]).await;
    // The backup has it as waiting, and the provider has it since.
    here.ended(&scheduled).await;
    traffic.flows("traffic after the backup").await;
    traffic.end().await;
    let last = traffic.outgoing.all().pop().expect("some were sent");
    here.ended(&last).await;

    for role in Role::ALL {
        stack.kill9(role, 0);
    }
    stack.nats.kill();
    std::fs::remove_dir_all(stack.nats.store_dir()).expect("the broker's store");
    std::fs::remove_file(stack.archive()).expect("the archive");

    let machine = Machine::start(None).await;
    let mut restore = vec!["restore".to_owned(), backup];
    for (setting, value) in machine.settings() {
        restore.extend(["--set".to_owned(), format!("{setting}={value}")]);
    }
    succeed(&stack, restore).await;
    // Everything but who sends; and before that one, a pause.
    let first = [
        Role::Accounts,
        Role::Ingress,
        Role::WindowTracker,
        Role::AuditProjector,
    ];
    machine.start_roles(&mut stack, &first).await;
    let there = stack.clients_at(ELSEWHERE);
    let pause = PauseNumberRequest {
        number: NUMBER.to_owned(),
        reason: "restored: what was sent since the backup is being looked for".to_owned(),
    };
    there
        .accounts
        .clone()
        .pause_number(pause)
        .await
        .expect("it");
    machine.start_roles(&mut stack, &[Role::Dispatcher]).await;

    // What waits by the backup and went since is withdrawn: the provider's books say which.
    let went = calls(&stack);
    let mut withdrawn = Vec::new();
    eventually("what waited at the backup is listed", async || {
        let waits = waiting(&there).await;
        waits.contains(&scheduled).then_some(()).ok_or("not yet")
    })
    .await;
    for message_id in waiting(&there).await {
        if went.contains_key(&message_id) {
            let request = CancelMessageRequest {
                message_id: message_id.clone(),
            };
            let cancelled = there.messages.clone().cancel_message(request).await;
            cancelled.expect("it was not called for, as far as is known");
            withdrawn.push(message_id);
        }
    }
    assert!(withdrawn.contains(&scheduled), "{withdrawn:?}");
    let resume = ResumeNumberRequest {
        number: NUMBER.to_owned(),
    };
    there
        .accounts
        .clone()
        .resume_number(resume)
        .await
        .expect("it");

    // What came since the backup is gone, and says so.
    let lost = there
        .message(&last)
        .await
        .expect_err("it came after the backup");
    assert_eq!(lost.code(), Code::NotFound, "{lost:?}");
    // And it goes on, by the address of before for webhooks, and another for callers.
    let sent = there.send_as(
        "+15550008888",
        template("Hi!", "order_update", "7"),
        "after",
    );
    let sent = sent.await.expect("an accepted send");
    there.ended(&sent.message_id).await;
    let customer = stack.customer("+15550009999");
    stack.says(&customer, "Hello");
    there.open_window("+15550009999").await;
    let log = machine.log().await;
    the_archive_has_it(&there, &log).await;
    let twice: Vec<_> = calls(&stack)
        .into_iter()
        .filter(|(_, calls)| *calls > 1)
        .collect();
    assert!(twice.is_empty(), "{twice:?}");
    stack.stop().await;
}
