//! What an SMS says where nobody wrote one, and the link back to WhatsApp.

use casement_dispatcher::Config;
use casement_event::subject::stream;
use casement_event::{Event, v1};
use casement_proto::message::v1 as api;
use casement_simulator::Channel;
use tonic::Code;

use crate::stage::{ANA, NUMBER, PAUSED_TEMPLATE, Stage, TEMPLATE, in_template, sms, text};

const LINK: &str = "https://wa.me/15550001111";

/// A template, and nothing else.
fn only_template(name: &str) -> api::SendMessageRequest {
    let mut request = in_template(text(ANA, ""), name);
    request.content.get_or_insert_default().free_form = None;
    request.purpose = v1::Purpose::Utility.into();
    request
}

#[tokio::test]
async fn a_template_that_cannot_go_is_said_by_sms() {
    let stage = Stage::set().await;
    let dispatcher = stage.dispatcher().await;
    let decision = dispatcher.decision(only_template(PAUSED_TEMPLATE)).await;
    assert_eq!(decision.chosen_route(), v1::Route::Sms);
    let said = "Order 7 is ready";
    assert_eq!((decision.sms_segments, decision.sms_units), (1, 16));
    let sent = dispatcher.send(only_template(PAUSED_TEMPLATE)).await;
    dispatcher.until_accepted(&sent.message_id).await;
    let calls = stage.calls();
    assert_eq!(
        (calls[0].channel, calls[0].text.as_str()),
        (Channel::Sms, said)
    );
    // What went is on record, whatever the template says later.
    let life = stage.life(&sent.message_id).await;
    let Event::MessageRequested(request) = &life[0] else {
        panic!("{life:?}")
    };
    let content = request.content.clone().unwrap_or_default();
    assert!(request.sms_from_template);
    assert_eq!(content.sms.unwrap_or_default().text, said);
}

#[tokio::test]
async fn an_approved_template_still_goes_over_whatsapp_first() {
    let stage = Stage::set().await;
    let dispatcher = stage.dispatcher().await;
    let sent = dispatcher.send(only_template(TEMPLATE)).await;
    dispatcher.until_accepted(&sent.message_id).await;
    assert_eq!(stage.calls()[0].channel, Channel::Whatsapp);
}

#[tokio::test]
async fn an_sms_may_carry_the_link_by_which_the_customer_comes_back() {
    let stage = Stage::set().await;
    let invites = |config: &mut Config| {
        config.sms_from_template = "{{text}}\nReply: {{wa_link}}".to_owned();
    };
    let dispatcher = stage.dispatcher_with(invites).await;
    let own = sms(ANA, "Write to us: {{wa_link}}");
    let said = [
        format!("Write to us: {LINK}"),
        format!("Order 7 is ready\nReply: {LINK}"),
    ];
    for (request, said) in [own, only_template(PAUSED_TEMPLATE)].into_iter().zip(&said) {
        let decision = dispatcher.decision(request.clone()).await;
        let units = u32::try_from(said.len()).unwrap();
        assert_eq!(decision.sms_units, units, "segments are those of what goes");
        let sent = dispatcher.send(request).await;
        dispatcher.until_accepted(&sent.message_id).await;
    }
    assert_eq!(stage.taken(), said);
}

#[tokio::test]
async fn a_link_to_a_number_that_is_not_on_whatsapp_is_refused() {
    let stage = Stage::set().await;
    let offline = v1::Number {
        phone_number_id: String::new(),
        ..stage.number(NUMBER, "default")
    };
    stage.record_number(offline).await;
    let dispatcher = stage.dispatcher().await;
    let request = sms(ANA, "Write to us: {{wa_link}}");
    let refusal = dispatcher.try_send(request).await.unwrap_err();
    assert_eq!(refusal.code(), Code::InvalidArgument);
    let text = refusal.message();
    assert!(
        text.contains("content.sms.text: {{wa_link}} cannot be made"),
        "{text}"
    );
    assert_eq!(stage.count(stream::MESSAGES).await, 0);
    let sent = dispatcher.send(sms(ANA, "Come by")).await;
    dispatcher.until_accepted(&sent.message_id).await;
}

#[tokio::test]
async fn who_asks_for_an_sms_in_a_templates_words_is_told_why_there_are_none() {
    let stage = Stage::set().await;
    let marketing = v1::TemplateCategory::Marketing;
    stage.record_template_of(marketing, "sale", true).await;
    let dispatcher = stage.dispatcher().await;
    let mut request = only_template("sale");
    let content = request.content.get_or_insert_default();
    content.sms = Some(v1::SmsContent::default());
    let refusal = dispatcher.try_send(request).await.unwrap_err();
    let text = refusal.message();
    assert!(
        text.contains("content.sms.text: is empty, and the template is marketing"),
        "{text}"
    );
}
