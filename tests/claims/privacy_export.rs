//! What customers write stands in the archive sealed, and all that is held of one is handed out.

use casement_proto::audit::v1::ListActsRequest;
use casement_proto::conversation::v1::AddNoteRequest;
use casement_simulator::MediaSpec;
use casement_testkit::eventually;
use casement_tests::{API_TOKEN, NUMBER, PHONE_NUMBER_ID, Role, Stack, free_form};
use serde_json::Value;

const CUSTOMER: &str = "+15550002222";
const OTHER: &str = "+15550003333";

const THEIRS: &str = "marzipan-canary";
const OURS: &str = "reply-canary";
const NOTED: &str = "note-canary";
const OTHERS: &str = "stranger-canary";

/// What an export says in a field of its lines.
fn all<'a>(lines: &'a [Value], field: &'a str) -> Vec<&'a Value> {
    lines.iter().filter_map(|line| line.get(field)).collect()
}

/// Whether any of them holds a text, wherever.
fn holds(values: &[&Value], text: &str) -> bool {
    values.iter().any(|value| value.to_string().contains(text))
}

#[tokio::test]
async fn all_that_is_held_of_a_customer_is_handed_out_and_stands_in_no_file_in_clear() {
    let mut stack = Stack::start().await;
    stack.start_role(Role::Gateway, 0).await;
    let (clients, events) = (stack.clients(), stack.events().await);
    let customer = stack.customer(CUSTOMER);
    stack.says(&customer, THEIRS);
    let other = stack.customer(OTHER);
    stack.says(&other, OTHERS);
    let bytes = b"a picture of a plant".repeat(100);
    let file = MediaSpec::image(&customer, PHONE_NUMBER_ID, &bytes);
    stack.simulator.sends_media(&file).unwrap();
    events.wait("MediaStored", 1).await;
    let customer_id = clients.open_window(CUSTOMER).await.customer_id;
    let sent = clients.send(CUSTOMER, free_form(OURS)).await.unwrap();
    clients.ended(&sent.message_id).await;
    let note = AddNoteRequest {
        number: NUMBER.to_owned(),
        customer_id: customer_id.clone(),
        text: NOTED.to_owned(),
        author: "ana".to_owned(),
        ..Default::default()
    };
    eventually("the note is taken", async || {
        let added = clients.conversations.clone().add_note(note.clone()).await;
        added.map(drop).map_err(|status| status.to_string())
    })
    .await;

    let url = format!("http://127.0.0.1:{}", stack.api_port(Role::Gateway, 0));
    let export = |to: &str, more: &[&str]| {
        let mut command = stack.program();
        command.args(["customer", "export", "--number", NUMBER, "--to", to]);
        command
            .args(more)
            .args(["--api", &url, "--token", API_TOKEN]);
        command.output().unwrap()
    };
    // All of it, as soon as it is archived.
    let lines = eventually(
        "the export has the note and the end of the message",
        async || {
            let output = export(CUSTOMER, &["--reason", "ticket-4711"]);
            if !output.status.success() {
                return Err(String::from_utf8_lossy(&output.stderr).into_owned());
            }
            let text = String::from_utf8(output.stdout).unwrap();
            let lines = text.lines().map(|line| serde_json::from_str(line).unwrap());
            let lines: Vec<Value> = lines.collect();
            let told = all(&lines, "event");
            let is_whole = holds(&told, NOTED) && holds(&told, "casement.events.v1.MessageEnded");
            if is_whole {
                Ok(lines)
            } else {
                Err("not yet".to_owned())
            }
        },
    )
    .await;
    let (first, last) = (&lines[0]["manifest"], &lines[lines.len() - 1]["end"]);
    assert_eq!(first["customerIds"][0], customer_id.as_str(), "{first}");
    assert_eq!(
        (&first["reason"], &first["caller"]),
        (&"ticket-4711".into(), &"test".into())
    );
    let identifiers = all(&lines, "identifier");
    assert!(holds(&identifiers, "15550002222"), "{identifiers:?}");
    let told = all(&lines, "event");
    for text in [THEIRS, OURS, NOTED, "candidates"] {
        assert!(holds(&told, text), "{text}");
    }
    assert_eq!(last["eventCount"], told.len().to_string(), "{last}");
    assert_eq!(all(&lines, "conversation").len(), 1);
    assert_eq!(all(&lines, "message").len(), 1);
    let posts = all(&lines, "rawPost");
    assert!(holds(&posts, THEIRS), "{posts:?}");
    let everything: Vec<&Value> = lines.iter().collect();
    assert!(!holds(&everything, OTHERS) && !holds(&everything, "15550003333"));

    // The files, too.
    let folder = stack.path("files");
    let saved = export(CUSTOMER, &["--media", folder.to_str().unwrap()]);
    assert!(saved.status.success(), "{saved:?}");
    let media_id = all(&lines, "media")[0]["mediaId"].as_str().unwrap();
    assert_eq!(std::fs::read(folder.join(media_id)).unwrap(), bytes);

    // That it was done is on record.
    let acts = eventually("the export is listed", async || {
        let request = ListActsRequest {
            event_types: vec!["casement.events.v1.CustomerExported".to_owned()],
            ..Default::default()
        };
        let answer = clients.audit.clone().list_acts(request).await;
        let acts = answer
            .map_err(|status| status.to_string())?
            .into_inner()
            .acts;
        if acts.is_empty() {
            Err("none".to_owned())
        } else {
            Ok(acts)
        }
    })
    .await;
    assert_eq!(
        (acts[0].caller.as_str(), acts[0].target.as_str()),
        ("test", customer_id.as_str())
    );

    // Nobody who was never there.
    let unknown = export("+15550004444", &[]);
    let said = String::from_utf8_lossy(&unknown.stderr).into_owned();
    assert!(
        !unknown.status.success() && said.contains("nothing is held"),
        "{said}"
    );

    // And in the files of the archive nothing of it stands.
    let database = stack.archive();
    for canary in [THEIRS, OURS, NOTED, OTHERS, "15550002222", "15550003333"] {
        for end in ["", "-wal"] {
            let mut path = database.clone().into_os_string();
            path.push(end);
            let stored = std::fs::read(&path).unwrap_or_default();
            let found = stored
                .windows(canary.len())
                .any(|part| part == canary.as_bytes());
            assert!(!found, "{canary} in {path:?}");
        }
    }
    let stored = std::fs::read(&database).unwrap();
    let shown = b"casement.events.v1.InboundMessageReceived";
    let mut wal = database.into_os_string();
    wal.push("-wal");
    let all_bytes = [stored, std::fs::read(wal).unwrap_or_default()].concat();
    assert!(
        all_bytes.windows(shown.len()).any(|part| part == shown),
        "types stand there"
    );
    stack.stop().await;
}
