//! What a brand's record says of its messages: quota, policy, templates. It changes while the
//! dispatcher runs.

use std::sync::LazyLock;

use casement_event::convert::timestamp;
use casement_event::subject::account;
use casement_event::{Event, Record, Uuid, v1};
use casement_event_log::Expect;
use casement_proto::message::v1::PreviewRouteRequest;
use casement_shell::SystemClock;
use casement_shell::clock::{Clock as _, ManualClock};
use casement_shell::grpc::reason;
use casement_testkit::eventually;
use jiff::{SignedDuration, Timestamp};
use tonic::Code;

use crate::stage::{ANA, BEA, Dispatcher, Stage, TEMPLATE, in_template, text};

/// Twenty minutes past the hour that it is: the provider goes by the time that it is.
static NOW: LazyLock<Timestamp> = LazyLock::new(|| *HOUR - SignedDuration::from_mins(40));
/// When the next hour begins.
static HOUR: LazyLock<Timestamp> = LazyLock::new(|| {
    let hour = SignedDuration::from_hours(1).as_secs();
    let begun = SystemClock::new().now().as_second().div_euclid(hour) * hour;
    Timestamp::from_second(begun + hour).expect("a time of this century")
});

/// So long after a dispatcher began there is room in its rates, whatever was sent before.
const FOR_THE_RATES: SignedDuration = SignedDuration::from_mins(1);

async fn stage() -> (Stage, ManualClock) {
    let mut stage = Stage::set().await;
    let clock = ManualClock::new(*NOW);
    stage.clock = clock.shared();
    (stage, clock)
}

/// Records the brand, and waits until the dispatcher goes by it: a policy that there is not is
/// told, and so the record is known once it is told no more.
async fn record(stage: &Stage, dispatcher: &Dispatcher, brand: v1::Brand) {
    let probe = v1::Brand {
        brand_id: "default".to_owned(),
        policy: "not-there".to_owned(),
        ..v1::Brand::default()
    };
    append(stage, probe).await;
    eventually("the probe is known", async || is_probed(dispatcher).await).await;
    append(stage, brand).await;
    eventually("the record is known", async || !is_probed(dispatcher).await).await;
}

/// A preview is no message: it counts against nothing.
async fn is_probed(dispatcher: &Dispatcher) -> bool {
    let asked = PreviewRouteRequest {
        request: Some(text(ANA, "?")),
        ..PreviewRouteRequest::default()
    };
    let refused = dispatcher.try_preview(asked).await;
    refused.is_err_and(|status| reason(&status).as_deref() == Some("BRAND_POLICY_UNKNOWN"))
}

async fn append(stage: &Stage, brand: v1::Brand) {
    let event = v1::BrandRecorded {
        brand: Some(brand),
        time: Some(timestamp(stage.now())),
        caller: "test".to_owned(),
    };
    let subject = account("brand", "default");
    let record = Record::new(subject, Uuid::new_v4(), "casement/test", stage.now(), event);
    let stored = stage.log.append(record, Expect::Anything).await;
    stored.expect("the brand is recorded");
}

fn limited(per_hour: u32, over_quota: v1::BrandQuotaRule) -> v1::Brand {
    v1::Brand {
        brand_id: "default".to_owned(),
        quota: Some(v1::BrandQuota {
            messages_per_hour: per_hour,
            messages_per_day: 0,
            over_quota: over_quota.into(),
        }),
        ..v1::Brand::default()
    }
}

#[tokio::test]
async fn what_is_beyond_the_quota_is_refused_until_the_next_hour_whoever_took_over() {
    let (stage, clock) = stage().await;
    stage.writes(ANA).await;
    let dispatcher = stage.dispatcher().await;
    record(&stage, &dispatcher, limited(2, v1::BrandQuotaRule::Refuse)).await;
    for one in ["one", "two"] {
        clock.advance(FOR_THE_RATES);
        let sent = dispatcher.send(text(ANA, one)).await;
        dispatcher.until_accepted(&sent.message_id).await;
    }
    let refused = dispatcher.try_send(text(ANA, "three")).await;
    let status = refused.expect_err("two an hour");
    assert_eq!(status.code(), Code::ResourceExhausted);
    assert_eq!(reason(&status).as_deref(), Some("BRAND_QUOTA_REACHED"));
    assert!(status.message().contains(&HOUR.to_string()), "{status:?}");

    dispatcher.stop().await;
    let heir = stage.dispatcher().await;
    let refused = heir.try_send(text(ANA, "four")).await;
    let status = refused.expect_err("the log knows the count");
    assert_eq!(
        reason(&status).as_deref(),
        Some("BRAND_QUOTA_REACHED"),
        "{status:?}"
    );
    clock.advance(SignedDuration::from_mins(40));
    heir.send(text(ANA, "five")).await;
}

#[tokio::test]
async fn what_may_wait_is_taken_and_goes_in_the_next_hour_with_room() {
    let (stage, clock) = stage().await;
    stage.writes(ANA).await;
    stage.writes(BEA).await;
    let dispatcher = stage.dispatcher().await;
    record(&stage, &dispatcher, limited(1, v1::BrandQuotaRule::Wait)).await;
    clock.advance(FOR_THE_RATES);
    let first = dispatcher.send(text(ANA, "at once")).await;
    dispatcher.until_accepted(&first.message_id).await;
    let second = dispatcher.send(text(ANA, "in an hour")).await;
    let Some(Event::MessageRequested(requested)) =
        stage.life(&second.message_id).await.into_iter().next()
    else {
        panic!("no request");
    };
    assert_eq!(requested.quota_time, Some(timestamp(*HOUR)));
    assert_eq!(stage.calls().len(), 1);
    clock.advance(SignedDuration::from_mins(41));
    dispatcher.until_accepted(&second.message_id).await;
    assert_eq!(stage.calls().len(), 2);
}

#[tokio::test]
async fn a_template_that_the_brand_may_not_use_is_refused() {
    let (stage, _) = stage().await;
    let dispatcher = stage.dispatcher().await;
    let allowed = |names: &[&str]| v1::Brand {
        brand_id: "default".to_owned(),
        templates: Some(v1::BrandTemplates {
            waba_ids: Vec::new(),
            names: names.iter().map(|name| (*name).to_owned()).collect(),
        }),
        ..v1::Brand::default()
    };
    record(&stage, &dispatcher, allowed(&["shop_*"])).await;
    let refused = dispatcher
        .try_send(in_template(text(ANA, "hi"), TEMPLATE))
        .await;
    let status = refused.expect_err("another brand's");
    assert_eq!(status.code(), Code::PermissionDenied);
    assert_eq!(reason(&status).as_deref(), Some("TEMPLATE_NOT_ALLOWED"));
    record(&stage, &dispatcher, allowed(&["order_*"])).await;
    let sent = dispatcher
        .try_send(in_template(text(ANA, "hi"), TEMPLATE))
        .await;
    let told = sent.err().and_then(|status| reason(&status));
    assert_ne!(told.as_deref(), Some("TEMPLATE_NOT_ALLOWED"));
}
