//! A number that is being drained: nothing new is taken, and what is in hand ends.

use casement_event::convert::timestamp;
use casement_event::v1;
use casement_proto::message::v1 as api;
use casement_testkit::eventually;
use tonic::Code;
use tonic_types::StatusExt as _;

use crate::stage::{ANA, NUMBER, SILENT_NUMBER, Stage, text};

/// Who shows no phone, so that a text has to wait until they write.
const NAMELESS: &str = "US.13491208655302741918";

#[tokio::test]
async fn a_number_that_drains_takes_nothing_new_and_ends_what_it_has() {
    let stage = Stage::set().await;
    let dispatcher = stage.dispatcher().await;
    let held = dispatcher
        .send(api::SendMessageRequest {
            request_id: "before".to_owned(),
            ..text(NAMELESS, "Are you there?")
        })
        .await;
    dispatcher
        .until_state(&held.message_id, api::MessageState::Held)
        .await;

    stage
        .record_number(v1::Number {
            drain_time: Some(timestamp(stage.now())),
            ..stage.number(NUMBER, "default")
        })
        .await;
    stage.writes(ANA).await;
    let refused = eventually("nothing new is taken", async || {
        let sent = dispatcher.try_send(text(ANA, "Hello")).await;
        sent.err().ok_or("it was taken")
    })
    .await;
    assert_eq!(refused.code(), Code::FailedPrecondition);
    let reason = refused.get_details_error_info().map(|info| info.reason);
    assert_eq!(reason.as_deref(), Some("NUMBER_DRAINS"));
    // What was taken before is found by its request, as ever.
    let again = dispatcher
        .send(api::SendMessageRequest {
            request_id: "before".to_owned(),
            ..text(NAMELESS, "Are you there?")
        })
        .await;
    assert_eq!(again.message_id, held.message_id);

    // Who was waited for writes, and gets it.
    stage.writes(NAMELESS).await;
    dispatcher.until_accepted(&held.message_id).await;
    let calls = stage.calls();
    assert!(calls.iter().any(|call| call.text == "Are you there?"));
    // Other numbers are not concerned, and this one takes messages again once it is reopened.
    stage.wrote(SILENT_NUMBER, ANA, stage.now()).await;
    stage.record_number(stage.number(NUMBER, "default")).await;
    eventually("messages are taken again", async || {
        let sent = dispatcher.try_send(text(ANA, "Hello")).await;
        sent.map(drop).map_err(|status| status.to_string())
    })
    .await;
    dispatcher.stop().await;
}
