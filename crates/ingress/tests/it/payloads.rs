//! What each of our payloads becomes on the log: which events, where, and what they say.
//!
//! To accept a change, run with `INSTA_UPDATE=always` and look at the difference.

use std::fmt::Write as _;

use casement_event::subject::stream;

use crate::corpus::{self, Told};
use crate::stage::Stage;

#[tokio::test]
async fn every_payload_becomes_the_events_that_were_agreed() {
    let stage = Stage::start().await;
    let mut posted = Vec::new();
    for (file, payloads) in corpus::payloads() {
        for (name, payload) in payloads {
            assert_eq!(stage.post(&payload).await, 200, "{file}/{name}");
            // Alone in its pack, since it was answered before the next one came.
            let sequence = stage.log.state(stream::RAW).await.unwrap().last_sequence;
            posted.push((file.clone(), name, sequence));
        }
    }
    stage.settled().await;
    let told = corpus::told(&stage).await;
    let mut files: Vec<(String, String)> = Vec::new();
    for (file, name, sequence) in posted {
        if files.last().is_none_or(|(last, _)| *last != file) {
            files.push((file, String::new()));
        }
        let (_, text) = files.last_mut().unwrap();
        let mut of_payload: Vec<&Told> = told.iter().filter(|it| it.sequence == sequence).collect();
        of_payload.retain(|it| !["MovedTo", "CustomerMerged"].contains(&it.event_type.as_str()));
        of_payload.sort_by_key(|it| (&it.path, &it.event_type, &it.id));
        assert!(!of_payload.is_empty(), "{name} left nothing behind");
        writeln!(text, "# {name}").unwrap();
        for Told {
            place,
            event_type,
            path,
            payload,
            ..
        } in of_payload
        {
            let payload = serde_json::to_string_pretty(payload).unwrap();
            writeln!(text, "{event_type} on {place}, from {path}\n{payload}").unwrap();
        }
        text.push('\n');
    }
    for (file, text) in files {
        insta::assert_snapshot!(file, text);
    }
}
