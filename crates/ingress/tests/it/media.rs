//! Files of customers' messages, against a real broker, a real folder and the simulator.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use casement_event::v1::{MediaDeferred, MediaProblem, MediaStored, MediaUnavailable};
use casement_event::{Event, Stored};
use casement_ingress::MediaConfig;
use casement_proto::media::v1::download_media_response::Part;
use casement_proto::media::v1::media_service_client::MediaServiceClient;
use casement_proto::media::v1::{DownloadMediaRequest, GetMediaRequest, Media, MediaState};
use casement_shell::SystemClock;
use casement_shell::auth::Caller;
use casement_shell::clock::Clock as _;
use casement_shell::grpc::reason;
use casement_simulator::{
    Config as SimulatorConfig, CustomerId, Fault, FaultSpec, Handle, MediaSpec, NumberConfig,
    Running, Simulator,
};
use casement_testkit::eventually;
use jiff::SignedDuration;
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;
use tonic::service::Routes;
use tonic::{Code, Request, Status};

use crate::stage::{ACCESS_TOKEN, ONE, SECRET, Stage, config, types};

const BYTES: &[u8] = b"a picture of a parcel";

/// Role, broker, simulator and folder.
struct Scene {
    stage: Stage,
    running: Running,
    handle: Handle,
    folder: TempDir,
    ana: CustomerId,
}

impl Scene {
    async fn start() -> Self {
        Self::with(|_| {}).await
    }

    async fn with(change: impl FnOnce(&mut MediaConfig)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self::on(folder, change).await
    }

    async fn on(folder: TempDir, change: impl FnOnce(&mut MediaConfig)) -> Self {
        let clock = Arc::new(SystemClock::new());
        let mut platform = SimulatorConfig::new(Arc::new(move || clock.now()));
        platform.app_secret = SECRET.into();
        platform.numbers = vec![NumberConfig {
            phone_number_id: ONE.1.to_owned(),
            display_phone_number: ONE.0.to_owned(),
            waba_id: "w1".to_owned(),
            token: ACCESS_TOKEN.into(),
        }];
        let running = Simulator::start(platform).await.unwrap();
        let handle = running.handle();

        let mut config = config();
        config.media = MediaConfig {
            store: folder.path().join("media").display().to_string(),
            retry_schedule: vec![SignedDuration::from_millis(100)],
            idle_timeout: SignedDuration::from_millis(500),
            graph_url: running.base_url(),
            ..MediaConfig::default()
        };
        change(&mut config.media);
        let stage = Stage::start_as(config, SystemClock::shared(), Duration::from_secs(10)).await;
        let webhooks = format!("http://{}/webhooks/whatsapp", stage.address);
        handle.set_webhook_url(Some(webhooks));
        let ana = handle.customer(Some("+15550009999"), None, "Ana").unwrap();
        Self {
            stage,
            running,
            handle,
            folder,
            ana,
        }
    }

    fn image(&self) -> MediaSpec {
        MediaSpec::image(&self.ana, ONE.1, BYTES)
    }

    /// Lets the customer send a file; returns its hash.
    fn sends(&self, spec: &MediaSpec) -> String {
        self.handle.sends_media(spec).unwrap().sha256
    }

    fn inject(&self, fault: Fault) {
        self.handle.inject(fault);
    }

    fn inject_once(&self, fault: Fault) {
        self.handle.inject(FaultSpec::from(fault).times(1));
    }

    /// What became of files so far.
    async fn events(&self) -> Vec<Stored> {
        self.stage.all("EVENTS", "casement.events.media.").await
    }

    async fn until<T>(&self, what: &str, look: impl Fn(&Event) -> Option<T>) -> T {
        eventually(what, async || {
            let events = self.events().await;
            let told = types(&events).join(", ");
            let found = events.iter().find_map(|one| look(&one.event().unwrap()));
            found.ok_or(told)
        })
        .await
    }

    async fn stored(&self) -> MediaStored {
        let look = |event: &Event| match event {
            Event::MediaStored(stored) => Some(stored.clone()),
            _ => None,
        };
        self.until("a file is stored", look).await
    }

    async fn deferred(&self) -> MediaDeferred {
        let look = |event: &Event| match event {
            Event::MediaDeferred(deferred) => Some(deferred.clone()),
            _ => None,
        };
        self.until("a file is put off", look).await
    }

    async fn unavailable(&self) -> MediaUnavailable {
        let look = |event: &Event| match event {
            Event::MediaUnavailable(unavailable) => Some(unavailable.clone()),
            _ => None,
        };
        self.until("a file is given up", look).await
    }

    fn media_folder(&self) -> PathBuf {
        self.folder.path().join("media")
    }

    /// Every file in the folder.
    fn files(&self) -> Vec<PathBuf> {
        let mut files = Vec::new();
        collect(&self.media_folder(), &mut files);
        files
    }

    /// The paths that were asked for, in order, with how they were answered.
    fn calls(&self) -> Vec<(String, Option<u16>)> {
        let calls = self.handle.calls().into_iter();
        calls
            .map(|call| {
                let what = if call.path.contains("attachments") {
                    "file"
                } else {
                    "id"
                };
                (what.to_owned(), call.http_status)
            })
            .collect()
    }

    fn client(&self) -> MediaServiceClient<Routes> {
        MediaServiceClient::new(Routes::new(self.stage.media.clone()))
    }

    async fn get(&self, media_id: &str, brand: &str) -> Result<Media, Status> {
        let media_id = media_id.to_owned();
        let request = by(brand, GetMediaRequest { media_id });
        let answer = self.client().get_media(request).await?;
        Ok(answer.into_inner().media.unwrap())
    }

    async fn download(&self, media_id: &str) -> Result<(Media, Vec<u8>), Status> {
        let media_id = media_id.to_owned();
        let request = by("default", DownloadMediaRequest { media_id });
        let mut parts = self.client().download_media(request).await?.into_inner();
        let Some(Part::Media(media)) = parts.message().await?.unwrap().part else {
            panic!("the first part tells of the file");
        };
        let mut bytes = Vec::new();
        while let Some(part) = parts.message().await? {
            match part.part {
                Some(Part::Chunk(chunk)) => bytes.extend_from_slice(&chunk),
                other => panic!("{other:?}"),
            }
        }
        Ok((media, bytes))
    }

    async fn stop(mut self) -> TempDir {
        self.stage.stop().await;
        self.running.stop().await;
        self.folder
    }
}

fn by<T>(brand: &str, message: T) -> Request<T> {
    let mut request = Request::new(message);
    request
        .extensions_mut()
        .insert(Caller::internal("test", brand));
    request
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    let entries = std::fs::read_dir(folder).into_iter().flatten();
    for path in entries.map(|entry| entry.unwrap().path()) {
        if path.is_dir() {
            collect(&path, files);
        } else {
            files.push(path);
        }
    }
}

fn id_of(media: Option<&casement_event::v1::Media>) -> String {
    media.unwrap().media_id.clone()
}

#[tokio::test]
async fn a_file_is_stored_by_its_own_hash_and_handed_out_to_its_brand() {
    let scene = Scene::start().await;
    let spec = MediaSpec {
        kind: "document".to_owned(),
        filename: Some("invoice.pdf".to_owned()),
        mime_type: "application/pdf".to_owned(),
        ..scene.image()
    };
    let sha256 = scene.sends(&spec);
    let stored = scene.stored().await;
    assert_eq!(
        (stored.sha256.as_str(), stored.size_bytes),
        (sha256.as_str(), 21)
    );
    assert!(stored.hash_expected);
    assert_eq!(stored.attempts, 1);
    assert_eq!(scene.calls(), [("file".to_owned(), Some(200))]);
    let file = scene.media_folder().join(&stored.object_key);
    assert_eq!(std::fs::read(file).unwrap(), BYTES);

    let media_id = id_of(stored.media.as_ref());
    let (media, bytes) = scene.download(&media_id).await.unwrap();
    assert_eq!(bytes, BYTES);
    assert_eq!(media, scene.get(&media_id, "default").await.unwrap());
    assert_eq!(media.state(), MediaState::Stored);
    assert_eq!(media.filename, "invoice.pdf");
    assert_eq!(media.mime_type, "application/pdf");
    assert_eq!(media.number, format!("+{}", ONE.0));
    let refused = scene.get(&media_id, "another").await.unwrap_err();
    assert_eq!(refused.code(), Code::NotFound);
    let unknown = format!("{}-{}", ONE.0, "0".repeat(32));
    let refused = scene.get(&unknown, "default").await.unwrap_err();
    assert_eq!(reason(&refused).as_deref(), Some("MEDIA_NOT_FOUND"));
    let refused = scene.get("nonsense", "default").await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);

    let event = &scene.events().await[0];
    for private in ["15550009999", "invoice", "Ana"] {
        assert!(!event.subject.contains(private) && !stored.object_key.contains(private));
        let headers = event.headers.iter();
        assert!(headers.clone().all(|(_, value)| !value.contains(private)));
    }
    scene.stop().await;
}

#[tokio::test]
async fn a_file_of_many_parts_arrives_whole() {
    let scene = Scene::start().await;
    let spec = MediaSpec {
        kind: "video".to_owned(),
        base64: None,
        size_bytes: 12 * 1024 * 1024 + 7,
        ..scene.image()
    };
    let sha256 = scene.sends(&spec);
    let stored = scene.stored().await;
    assert_eq!(stored.sha256, sha256);
    let (_, bytes) = scene.download(&id_of(stored.media.as_ref())).await.unwrap();
    assert_eq!(hex::encode(Sha256::digest(&bytes)), sha256);
    scene.stop().await;
}

#[tokio::test]
async fn a_link_that_is_gone_is_asked_for_anew_by_the_id() {
    let scene = Scene::start().await;
    scene.inject_once(Fault::RefuseMedia { status: 404 });
    scene.sends(&scene.image());
    assert_eq!(scene.stored().await.attempts, 1);
    let call = |what: &str, status| (what.to_owned(), Some(status));
    assert_eq!(
        scene.calls(),
        [call("file", 404), call("id", 200), call("file", 200)]
    );
    // A webhook may say no link at all.
    let spec = MediaSpec {
        with_link: false,
        ..scene.image()
    };
    scene.sends(&spec);
    eventually("both are stored", async || scene.events().await.len() == 2).await;
    assert_eq!(scene.calls()[3..], [call("id", 200), call("file", 200)]);
    scene.stop().await;
}

#[tokio::test]
async fn what_is_not_what_was_said_is_never_stored() {
    let scene = Scene::start().await;
    scene.inject(Fault::CorruptMedia);
    scene.sends(&scene.image());
    let unavailable = scene.unavailable().await;
    assert_eq!(unavailable.problem(), MediaProblem::HashMismatch);
    assert_eq!(unavailable.attempts, 3);
    assert_eq!(scene.files(), Vec::<PathBuf>::new());
    let media_id = id_of(unavailable.media.as_ref());
    let told = scene.get(&media_id, "default").await.unwrap();
    assert_eq!(told.state(), MediaState::Unavailable);
    let refused = scene.download(&media_id).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    let names = types(&scene.events().await).join(" ");
    assert_eq!(names, "MediaDeferred MediaDeferred MediaUnavailable");
    scene.stop().await;
}

#[tokio::test]
async fn a_file_that_is_too_large_is_not_even_read() {
    let scene = Scene::with(|config| config.max_bytes = 20).await;
    scene.sends(&scene.image());
    let unavailable = scene.unavailable().await;
    assert_eq!(unavailable.problem(), MediaProblem::TooLarge);
    assert_eq!(unavailable.attempts, 1);
    assert_eq!(scene.files(), Vec::<PathBuf>::new());
    scene.stop().await;
}

#[tokio::test]
async fn a_file_that_stands_still_holds_up_no_other() {
    let scene = Scene::with(|config| {
        config.fetches_at_once = 1;
        config.retry_schedule = vec![SignedDuration::from_secs(2)];
    })
    .await;
    // Both ways of the first one stand still.
    scene
        .handle
        .inject(FaultSpec::from(Fault::StallMedia).times(2));
    let first = scene.sends(&scene.image());
    let deferred = scene.deferred().await;
    assert_eq!(deferred.problem(), MediaProblem::GaveUp);
    let spec = MediaSpec {
        base64: None,
        size_bytes: 1000,
        ..scene.image()
    };
    let second = scene.sends(&spec);
    assert_eq!(scene.stored().await.sha256, second);
    scene
        .until("the first is stored, too", |event| match event {
            Event::MediaStored(stored) => (stored.sha256 == first).then_some(()),
            _ => None,
        })
        .await;
    scene.stop().await;
}

#[tokio::test]
async fn a_token_that_is_refused_is_tried_again_until_it_is_right() {
    let scene = Scene::start().await;
    let number = |token: &str| NumberConfig {
        phone_number_id: ONE.1.to_owned(),
        display_phone_number: ONE.0.to_owned(),
        waba_id: "w1".to_owned(),
        token: token.into(),
    };
    scene.handle.put_number(number("another"));
    scene.sends(&scene.image());
    let deferred = scene.deferred().await;
    assert_eq!(deferred.problem(), MediaProblem::Forbidden);
    let media_id = id_of(deferred.media.as_ref());
    let told = scene.get(&media_id, "default").await.unwrap();
    assert_eq!(told.state(), MediaState::Pending);
    assert!(told.retry_time.is_some());
    scene.handle.put_number(number(ACCESS_TOKEN));
    assert!(scene.stored().await.attempts > 1);
    scene.stop().await;
}

#[tokio::test]
async fn a_store_that_is_away_is_waited_for() {
    let scene = Scene::start().await;
    let folder = scene.media_folder();
    std::fs::remove_dir_all(&folder).unwrap();
    std::fs::write(&folder, "in the way").unwrap();
    scene.sends(&scene.image());
    assert_eq!(scene.deferred().await.problem(), MediaProblem::GaveUp);
    std::fs::remove_file(&folder).unwrap();
    std::fs::create_dir(&folder).unwrap();
    let stored = scene.stored().await;
    let file = folder.join(stored.object_key);
    assert_eq!(std::fs::read(file).unwrap(), BYTES);
    scene.stop().await;
}

#[tokio::test]
async fn a_broker_that_is_away_is_waited_for() {
    let mut scene = Scene::start().await;
    // The fact is on the log before the broker dies; the file waits for its answer meanwhile.
    scene.inject_once(Fault::StallMedia);
    scene.sends(&scene.image());
    eventually("the file is asked for", async || !scene.calls().is_empty()).await;
    scene.stage.nats.kill();
    scene.stage.nats.start_again().await;
    let stored = scene.stored().await;
    let file = scene.media_folder().join(stored.object_key);
    assert_eq!(std::fs::read(file).unwrap(), BYTES);
    scene.stop().await;
}

#[tokio::test]
async fn a_crash_between_the_file_and_its_event_ends_in_that_very_event() {
    let scene = Scene::start().await;
    scene.sends(&scene.image());
    scene.stored().await;
    let webhook = scene.handle.webhooks().remove(0).body;
    let first = scene.events().await.remove(0);
    let folder = scene.stop().await;

    // The file is there, its event is not, and the platform has forgotten the file.
    let scene = Scene::on(folder, |_| {}).await;
    let body: serde_json::Value = serde_json::from_str(&webhook).unwrap();
    scene.stage.take(&body).await;
    let again = scene.stored().await;
    let second = scene.events().await.remove(0);
    assert_eq!(first.id(), second.id());
    assert_eq!(first.subject, second.subject);
    assert_eq!(scene.calls(), []);
    let (_, bytes) = scene.download(&id_of(again.media.as_ref())).await.unwrap();
    assert_eq!(bytes, BYTES);

    // What was taken away, or damaged, is told as such.
    let media_id = id_of(again.media.as_ref());
    let file = scene.media_folder().join(again.object_key);
    let damaged: Vec<u8> = BYTES.iter().map(|byte| !byte).collect();
    std::fs::write(&file, damaged).unwrap();
    let refused = scene.download(&media_id).await.unwrap_err();
    assert_eq!(refused.code(), Code::DataLoss);
    std::fs::remove_file(file).unwrap();
    let refused = scene.download(&media_id).await.unwrap_err();
    assert_eq!(reason(&refused).as_deref(), Some("MEDIA_REMOVED"));
    scene.stop().await;
}

#[tokio::test]
async fn where_files_are_not_fetched_each_is_told_as_unavailable() {
    let scene = Scene::with(|config| config.enabled = false).await;
    scene.sends(&scene.image());
    assert_eq!(scene.unavailable().await.problem(), MediaProblem::Disabled);
    assert_eq!(scene.calls(), []);
    scene.stop().await;
}
