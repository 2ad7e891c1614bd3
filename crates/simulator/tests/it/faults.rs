//! Calls that go wrong, and what the books say about them.

use std::time::Duration;

use casement_simulator::{Fault, FaultSpec, Outcome, Status};
use jiff::SignedDuration;

use crate::stage::{ANA, NUMBER, SOON, Stage, items, text};

async fn open_stage() -> Stage {
    let stage = Stage::set().await;
    let ana = stage
        .handle
        .customer(Some(ANA), None, "Ana")
        .expect("a customer");
    stage.handle.says(&ana, NUMBER, "hello").expect("a message");
    stage
}

fn once(fault: Fault) -> FaultSpec {
    FaultSpec::from(fault).times(1)
}

#[tokio::test]
async fn a_time_out_after_acceptance_still_reports_statuses() {
    let stage = open_stage().await;
    stage.handle.inject(once(Fault::TimeoutAfterAcceptance));
    let request = stage
        .client
        .post(stage.url(&format!("/v26.0/{NUMBER}/messages")))
        .bearer_auth(crate::stage::TOKEN)
        .timeout(Duration::from_millis(300))
        .json(&text(ANA, "hi"));

    let error = request.send().await.unwrap_err();

    assert!(error.is_timeout(), "{error:?}");
    let received = stage.received(3).await;
    let status = items(&received[2].json(), "statuses").remove(0);
    assert_eq!(status["status"], "delivered");
    assert_eq!(status["biz_opaque_callback_data"], "attempt-1");
    let sent = stage.handle.sent();
    assert_eq!(sent.len(), 1);
    assert_eq!(sent[0].outcome, Outcome::Accepted);
    assert!(!sent[0].http_answered);
    assert_eq!(stage.handle.calls()[0].http_status, None);
    assert_eq!(stage.send(&text(ANA, "again")).await.0, 200);
}

#[tokio::test]
async fn a_dropped_connection_sends_nothing() {
    let stage = open_stage().await;
    stage.handle.inject(once(Fault::DropConnection));

    let error = stage.try_send(&text(ANA, "hi")).await.unwrap_err();

    assert!(error.is_request(), "{error:?}");
    assert!(!error.is_timeout() && !error.is_connect() && error.status().is_none());
    let sent = stage.handle.sent();
    assert_eq!(sent[0].outcome, Outcome::NotProcessed);
    assert_eq!(sent[0].callback_data.as_deref(), Some("attempt-1"));
    assert!(!sent[0].http_answered);
}

#[tokio::test]
async fn a_server_error_is_not_the_platforms_own_and_may_have_sent() {
    let stage = open_stage().await;
    for (accepts, outcome) in [(false, Outcome::NotProcessed), (true, Outcome::Accepted)] {
        stage.handle.inject(once(Fault::ServerError {
            status: 502,
            accepts,
        }));

        let response = stage.try_send(&text(ANA, "hi")).await.unwrap();

        assert_eq!(response.status(), 502);
        let body = response.text().await.unwrap();
        assert!(!body.contains('{'), "{body}");
        assert_eq!(stage.handle.sent().last().unwrap().outcome, outcome);
    }
}

#[tokio::test]
async fn the_next_sends_can_be_refused_with_any_code() {
    let stage = open_stage().await;
    stage
        .handle
        .inject(FaultSpec::from(Fault::GraphError { code: 131_000 }).times(2));
    for expected in [500, 500, 200] {
        assert_eq!(stage.send(&text(ANA, "hi")).await.0, expected);
    }
    assert_eq!(stage.handle.sent()[0].outcome, Outcome::Refused(131_000));
    assert_eq!(stage.handle.calls()[1].code, Some(131_000));
}

#[tokio::test]
async fn a_message_can_fail_after_it_was_accepted() {
    let stage = open_stage().await;
    stage
        .handle
        .inject(once(Fault::FailStatus { code: 131_049 }));

    assert_eq!(stage.send(&text(ANA, "hi")).await.0, 200);

    let sent = stage
        .handle
        .until_sent(0, SOON, |message| message.was_reported(Status::Failed))
        .await
        .unwrap();
    assert_eq!(sent.reports.len(), 1);
    assert_eq!(sent.reports[0].code, Some(131_049));
}

#[tokio::test]
async fn reports_about_one_message_come_late_and_those_about_another_do_not() {
    let stage = open_stage().await;
    stage.handle.inject(once(Fault::DelayReports {
        by: SignedDuration::from_millis(500),
    }));
    for _ in 0..2 {
        assert_eq!(stage.send(&text(ANA, "hi")).await.0, 200);
    }
    let reported = |seq: usize| {
        let sent = stage.handle.sent();
        sent[seq].was_reported(Status::Delivered)
    };

    let second = stage
        .handle
        .until(SOON, |_| reported(1).then_some(()))
        .await;
    second.expect("the second is reported");
    assert!(!reported(0));
    let first = stage
        .handle
        .until(SOON, |_| reported(0).then_some(()))
        .await;
    first.expect("the first is reported later");
}

#[tokio::test]
async fn a_late_answer_is_an_answer() {
    let stage = open_stage().await;
    stage.handle.inject(once(Fault::DelayResponse {
        by: SignedDuration::from_millis(100),
    }));
    let began = tokio::time::Instant::now();

    assert_eq!(stage.send(&text(ANA, "hi")).await.0, 200);

    assert!(began.elapsed() >= Duration::from_millis(100));
    assert!(stage.handle.sent()[0].http_answered);
}

#[tokio::test]
async fn statuses_can_be_reported_by_hand() {
    let stage = open_stage().await;
    let (_, body) = stage.send(&text(ANA, "hi")).await;
    let id = body["messages"][0]["id"].as_str().unwrap();
    stage
        .handle
        .until_sent(0, SOON, |message| message.was_reported(Status::Delivered))
        .await
        .unwrap();

    stage.handle.report(id, Status::Read).unwrap();
    stage.handle.report_failed(id, 131_053).unwrap();

    let reported: Vec<_> = stage.handle.sent()[0]
        .reports
        .iter()
        .map(|report| report.status)
        .collect();
    assert_eq!(
        reported,
        [
            Status::Sent,
            Status::Delivered,
            Status::Read,
            Status::Failed
        ]
    );
    assert!(
        stage
            .handle
            .report("wamid.unheard-of", Status::Read)
            .is_err()
    );
}

#[tokio::test]
async fn stopping_leaves_nobody_waiting() {
    let stage = open_stage().await;
    stage.handle.inject(Fault::TimeoutAfterAcceptance);
    let stuck = stage
        .client
        .post(stage.url(&format!("/v26.0/{NUMBER}/messages")))
        .bearer_auth(crate::stage::TOKEN)
        .json(&text(ANA, "hi"))
        .send();
    let stuck = tokio::spawn(stuck);
    stage
        .handle
        .until_sent(0, SOON, |_| true)
        .await
        .expect("the call");

    stage.running.stop().await;

    let error = stuck.await.unwrap().unwrap_err();
    assert!(!error.is_timeout(), "{error:?}");
}
