//! Signed heads as a third party meets them: over the API of a running role, checked by a verifier
//! that shares no code with it, and kept to check an export with.

#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests, which is where unwrap is allowed"
)]

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use casement_audit_projector::{
    ArchivePlace, Config, ExportAsked, Proof, SigningKey, export_archive, start, verify_archive,
    verify_export,
};
use casement_domain::id::{BusinessNumber, CustomerId};
use casement_event::subject::{Family, conversation};
use casement_event::{Record, Uuid, v1};
use casement_event_log::{Expect, Log};
use casement_proto::audit::v1::audit_service_client::AuditServiceClient;
use casement_proto::audit::v1::export_archive_response::Piece;
use casement_proto::audit::v1::{
    ExportArchiveRequest, ListChainsRequest, ListSignedHeadsRequest, ListSignedHeadsResponse,
    VerifyChainRequest,
};
use casement_secrets::keys::MasterKeys;
use casement_shell::auth::{DEMO_TOKEN, Scope, TokenConfig, Tokens, protect};
use casement_shell::config::Secret;
use casement_shell::health::Readiness;
use casement_shell::{Clock as _, SystemClock, grpc};
use casement_testkit::{NatsServer, eventually};
use ed25519_dalek::{Signature, VerifyingKey};
use jiff::{SignedDuration, Timestamp};
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tonic::Request;
use tonic::service::RoutesBuilder;
use tonic::transport::Channel;

/// What C2SP's signed-note says, done by hand: returns the text of a note that a key signed.
fn text_of<'n>(note: &'n str, key: &str) -> Result<&'n str, &'static str> {
    let parts: Vec<&str> = key.splitn(3, '+').collect();
    let (name, id, encoded) = (parts[0], parts[1], STANDARD.decode(parts[2]).unwrap());
    assert_eq!((encoded[0], encoded.len()), (1, 33), "Ed25519");
    let mut hashed = name.as_bytes().to_vec();
    hashed.push(0x0a);
    hashed.extend(&encoded);
    let hash = Sha256::digest(&hashed);
    assert_eq!(hex::encode(&hash[..4]), id, "the id is of name and key");
    let public = VerifyingKey::from_bytes(&encoded[1..].try_into().unwrap()).unwrap();

    let split = note.rfind("\n\n").ok_or("no signatures")?;
    let (text, signatures) = (&note[..=split], &note[split + 2..]);
    for line in signatures.lines() {
        let words: Vec<&str> = line.split(' ').collect();
        if words[..2] != ["\u{2014}", name] {
            continue;
        }
        let signed = STANDARD.decode(words[2]).map_err(|_| "no base64")?;
        if signed[..4] != hash[..4] {
            continue;
        }
        let signature = Signature::from_slice(&signed[4..]).map_err(|_| "no signature")?;
        let is_true = public.verify_strict(text.as_bytes(), &signature).is_ok();
        return if is_true { Ok(text) } else { Err("false") };
    }
    Err("not signed by that key")
}

fn masters() -> Arc<MasterKeys> {
    let text = Secret::from_value("a key that nobody but these tests knows");
    let keys = MasterKeys::read("secrets.master_key", Some(&text), "customers");
    Arc::new(keys.unwrap())
}

async fn append(log: &Log, count: u32) {
    let number = BusinessNumber::parse("15550001111").unwrap();
    let customer = CustomerId::parse("c1").unwrap();
    for index in 0..count {
        let event = v1::InboundMessageReceived {
            conversation: Some(v1::Conversation {
                number: number.digits().to_owned(),
                customer_id: customer.as_str().to_owned(),
                brand_id: "default".to_owned(),
                ..Default::default()
            }),
            text: format!("message {index}"),
            ..Default::default()
        };
        let subject = conversation(Family::Inbound, &number, &customer);
        let now = SystemClock::new().now();
        let record = Record::new(subject, Uuid::new_v4(), "casement/test", now, event);
        log.append(record, Expect::Anything).await.unwrap();
    }
}

fn request<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    let token = format!("Bearer {DEMO_TOKEN}").parse().unwrap();
    request.metadata_mut().insert("authorization", token);
    request
}

/// A running role that signs, and what a caller reaches of it.
struct Running {
    log: Log,
    place: ArchivePlace,
    client: AuditServiceClient<Channel>,
    stopping: CancellationToken,
    role: JoinHandle<anyhow::Result<()>>,
    _server: NatsServer,
    _folder: TempDir,
}

/// The signing keys of these tests: the one that signs, and the one from before.
const SIGNING_KEYS: &str = "a signing key that nobody but these tests knows
the signing key from before this one";

async fn run(signing_interval: SignedDuration) -> Running {
    let server = NatsServer::builder().start().await;
    let config = casement_event_log::Config {
        servers: server.url(),
        accept_unsafe_broker: true,
        ..casement_event_log::Config::default()
    };
    let log = Log::connect(&config).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let database_path = folder.path().join("archive.sqlite");
    let config = Config {
        database_path: database_path.clone(),
        signing_key: Some(SigningKey(Secret::from_value(SIGNING_KEYS))),
        signing_name: "archive.example/casement".to_owned(),
        signing_interval,
        ..Config::default()
    };
    let clock = SystemClock::shared();
    let readiness = Readiness::new();
    let role = start(config, masters(), log.clone(), clock, &readiness);
    let role = role.await.unwrap();
    let mut routes = RoutesBuilder::default();
    role.add_to(&mut routes);
    let token = TokenConfig {
        name: "test".to_owned(),
        token: Some(Secret::from_value(DEMO_TOKEN)),
        sha256: None,
        scopes: [Scope::Audit].into(),
        brand: "*".to_owned(),
    };
    let routes = protect(routes.routes(), Tokens::for_demo(&[token]).unwrap());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let stopping = CancellationToken::new();
    tokio::spawn(grpc::serve(listener, routes, stopping.clone()));
    Running {
        log,
        place: ArchivePlace::File(database_path),
        client: AuditServiceClient::connect(url).await.unwrap(),
        role: tokio::spawn(role.run(stopping.clone())),
        stopping,
        _server: server,
        _folder: folder,
    }
}

impl Running {
    /// Waits until the head of a sequence is signed.
    async fn signed(&self, sequence: u64) -> ListSignedHeadsResponse {
        eventually("the head is signed", async || {
            let asked = request(ListSignedHeadsRequest {
                stream: "EVENTS".to_owned(),
                ..Default::default()
            });
            let answer = self.client.clone().list_signed_heads(asked).await;
            let answer = answer.unwrap().into_inner();
            let mut heads = answer.signed_heads.iter();
            heads
                .any(|head| head.sequence == sequence)
                .then_some(answer)
        })
        .await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_is_checked_by_somebody_who_knows_the_specification_and_the_public_key() {
    let running = run(SignedDuration::from_millis(20)).await;
    append(&running.log, 5).await;
    let answer = running.signed(5).await;
    let keys = answer.verifier_keys;
    assert_eq!(keys.len(), 2, "the one that signs, and the one from before");
    assert!(keys[0].starts_with("archive.example/casement+"), "{keys:?}");
    let mut heads = answer.signed_heads.iter();
    let head = heads.find(|head| head.sequence == 5).unwrap();
    let text = text_of(&head.note, &keys[0]).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(
        lines[..3],
        [
            "archive.example/casement",
            "archive head 1",
            "stream EVENTS"
        ]
    );
    let incarnation = running.log.incarnation("EVENTS");
    assert_eq!(lines[3], format!("incarnation {incarnation}"));
    assert_eq!(lines[4..6], ["sequence 5", "rows 5"]);
    let forged = head.note.replace("rows 5", "rows 6");
    assert_eq!(text_of(&forged, &keys[0]), Err("false"));
    assert_eq!(text_of(&head.note, &keys[1]), Err("not signed by that key"));

    // The role's own check knows the key, and the chain is shown with what was signed.
    let client = || running.client.clone();
    let verified = client()
        .verify_chain(request(VerifyChainRequest::default()))
        .await;
    let reports = verified.unwrap().into_inner().reports;
    let mut reports = reports.iter();
    let events = reports.find(|report| report.stream == "EVENTS").unwrap();
    assert!(
        events.intact && events.verified_head_count > 0,
        "{events:?}"
    );
    let chains = client()
        .list_chains(request(ListChainsRequest::default()))
        .await;
    let chains = chains.unwrap().into_inner().chains;
    let mut chains = chains.iter();
    let chain = chains.find(|chain| chain.stream == "EVENTS").unwrap();
    assert_eq!(
        (chain.first_sequence, chain.last_sequence, chain.row_count),
        (1, 5, 5)
    );
    assert_eq!(chain.signed_sequence, 5);
    assert!(
        chain.begin_time.is_some() && chain.end_time.is_none(),
        "{chain:?}"
    );
    assert_eq!(lines[6], format!("link {}", hex::encode(&chain.link)));

    // Written out over the API.
    let asked = client()
        .export_archive(request(ExportArchiveRequest::default()))
        .await;
    let mut pieces = asked.unwrap().into_inner();
    let mut last = None;
    while let Some(piece) = pieces.message().await.unwrap() {
        last = piece.piece;
    }
    assert!(matches!(last, Some(Piece::End(_))), "{last:?}");
    running.stopping.cancel();
    running.role.await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_came_last_is_signed_at_the_end_and_an_export_proves_it() {
    // Longer than the test.
    let running = run(SignedDuration::from_hours(1)).await;
    append(&running.log, 7).await;
    eventually("all is archived", async || {
        let reports = verify_archive(&running.place, masters(), &Proof::default()).await;
        let mut reports = reports.unwrap().into_iter();
        reports.any(|report| report.stream == "EVENTS" && report.last_sequence == 7)
    })
    .await;
    let asked = request(ListSignedHeadsRequest::default());
    let answer = running
        .client
        .clone()
        .list_signed_heads(asked)
        .await
        .unwrap()
        .into_inner();
    assert_eq!(answer.signed_heads, []);
    running.stopping.cancel();
    running.role.await.unwrap().unwrap();

    let proof = Proof {
        keys: vec![answer.verifier_keys[0].parse().unwrap()],
        must_be_signed: true,
        ..Proof::default()
    };
    let reports = verify_archive(&running.place, Arc::default(), &proof)
        .await
        .unwrap();
    let events = reports
        .iter()
        .find(|report| report.stream == "EVENTS")
        .unwrap();
    assert!(events.is_intact(), "{events:?}");
    assert_eq!(events.signed.last_sequence, 7);
    assert_eq!(events.sealed_count, 7, "without the master key");

    let mut export = String::new();
    let line = |line: String| {
        export.push_str(&line);
        export.push('\n');
        Ok(())
    };
    let asked = ExportAsked::default();
    export_archive(
        &running.place,
        masters(),
        &asked,
        Timestamp::UNIX_EPOCH,
        line,
    )
    .await
    .unwrap();
    let report = verify_export(export.as_bytes(), &proof).unwrap();
    assert!(report.is_intact(), "{report:?}");
    let mut chains = report.chains.iter();
    let events = chains.find(|chain| chain.stream == "EVENTS").unwrap();
    assert_eq!((events.checked_count, events.sealed_count), (7, 0));
    let another = Proof {
        keys: vec![answer.verifier_keys[1].parse().unwrap()],
        ..proof
    };
    assert!(
        !verify_export(export.as_bytes(), &another)
            .unwrap()
            .is_intact()
    );
}
