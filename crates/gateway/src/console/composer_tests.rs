//! What the composer offers, shows and sends.

use casement_proto::events::v1::{Candidate, WindowState};
use casement_proto::window::v1::Window;

use jiff::Timestamp;

use super::super::conversation_clock::clocks;
use super::*;

fn now() -> Timestamp {
    Timestamp::from_second(1_763_800_000).unwrap()
}

fn window(is_open: bool) -> Clocks {
    let mut window = Window {
        free_form_allowed: is_open,
        expire_time: Some(prost_types::Timestamp {
            seconds: now().as_second() + if is_open { 3_600 } else { -3_600 },
            nanos: 0,
        }),
        ..Window::default()
    };
    window.set_state(if is_open {
        WindowState::Open
    } else {
        WindowState::Closed
    });
    clocks(&window, now())
}

fn decided(chosen: Route, verdicts: &[(Route, Verdict, &str)]) -> Decision {
    let candidates = verdicts.iter().map(|(route, verdict, text)| {
        let mut candidate = Candidate {
            text: (*text).to_owned(),
            ..Candidate::default()
        };
        candidate.set_route(*route);
        candidate.set_verdict(*verdict);
        candidate
    });
    let mut decision = Decision {
        candidates: candidates.collect(),
        sms_segments: 2,
        sms_encoding: "UCS-2".to_owned(),
        hold_until_time: Some(prost_types::Timestamp {
            seconds: now().as_second() + 86_400,
            nanos: 0,
        }),
        ..Decision::default()
    };
    decision.set_chosen_route(chosen);
    decision
}

fn choice(why_not: &str) -> Choice {
    Choice {
        key: "order_update en_US".to_owned(),
        label: String::new(),
        category: "utility",
        why_not: why_not.to_owned(),
    }
}

fn draft() -> Draft {
    Draft {
        reply: "to the customer".to_owned(),
        sms: "by SMS".to_owned(),
        note: "for colleagues".to_owned(),
        request_id: "r1".to_owned(),
        ..Draft::default()
    }
}

fn template(category: TemplateCategory) -> Template {
    let mut template = Template {
        name: "order_update".to_owned(),
        language: "en_US".to_owned(),
        body: "Order {{1}}".to_owned(),
        ..Template::default()
    };
    template.set_category(category);
    template
}

#[test]
fn a_locked_composer_preselects_the_note_and_says_why_free_form_is_not_offered() {
    let decision = decided(Route::Sms, &[(Route::Sms, Verdict::Chosen, "")]);
    let offers = Offers::new(true, true, &window(false), Some(&decision), &[choice("")]);
    assert_eq!(offers.mode(None), Mode::Note);
    assert_eq!(offers.mode(Some(Mode::Reply)), Mode::Note);
    assert!(!offers.reply.is_offered);
    assert!(offers.reply.why_not.starts_with("The window closed at "));
    assert!(offers.reply.how_again.contains("customer writes"));
    assert!(offers.template.is_offered && offers.sms.is_offered && offers.note.is_offered);
    assert_eq!(offers.mode(Some(Mode::Template)), Mode::Template);
}

#[test]
fn an_open_composer_preselects_the_reply_and_keeps_what_was_asked_for() {
    let offers = Offers::new(true, true, &window(true), None, &[choice("")]);
    assert_eq!(offers.mode(None), Mode::Reply);
    for mode in Mode::ALL {
        assert_eq!(offers.mode(Some(mode)), mode);
    }
}

#[test]
fn what_is_not_offered_says_why() {
    let no_phone = decided(
        Route::Hold,
        &[(
            Route::Sms,
            Verdict::RuledOut,
            "The customer's phone is not known.",
        )],
    );
    let offers = Offers::new(
        true,
        true,
        &window(false),
        Some(&no_phone),
        &[choice("paused")],
    );
    assert_eq!(offers.sms.why_not, "The customer's phone is not known.");
    assert!(offers.template.why_not.contains("can be used"));
    let none = decided(Route::Unspecified, &[]);
    let offers = Offers::new(true, false, &window(false), Some(&none), &[]);
    assert!(offers.sms.why_not.contains("policy has no SMS"));
    assert!(offers.template.why_not.contains("no templates"));
    assert!(offers.note.how_again.contains("scope colleague"));
    let reader = Offers::new(false, true, &window(true), Some(&none), &[choice("")]);
    for mode in [Mode::Reply, Mode::Template, Mode::Sms] {
        assert!(reader.of(mode).how_again.contains("scope send"), "{mode:?}");
    }
    assert_eq!(reader.mode(None), Mode::Note);
}

#[test]
fn a_note_never_becomes_a_request_and_no_text_changes_over_to_another_way() {
    let draft = draft();
    let known = template(TemplateCategory::Utility);
    assert_eq!(draft.request(Mode::Note, "+1", "c", Some(&known)), None);
    for mode in [Mode::Reply, Mode::Sms, Mode::Template] {
        let request = draft.request(mode, "+1", "c", Some(&known)).unwrap();
        assert!(
            !format!("{request:?}").contains("for colleagues"),
            "{mode:?}"
        );
        assert_eq!(request.request_id, "r1");
    }
    let reply = draft.request(Mode::Reply, "+1", "c", None).unwrap();
    let content = reply.content.unwrap();
    assert_eq!(content.free_form.unwrap().text, "to the customer");
    assert_eq!((content.sms, content.template), (None, None));
    assert_eq!(draft.request(Mode::Template, "+1", "c", None), None);
}

#[test]
fn a_template_is_sent_for_what_it_is() {
    for (category, purpose) in [
        (TemplateCategory::Utility, Purpose::Utility),
        (TemplateCategory::Marketing, Purpose::Marketing),
        (TemplateCategory::Authentication, Purpose::Authentication),
        (TemplateCategory::Unspecified, Purpose::Service),
    ] {
        let request = draft().request(Mode::Template, "+1", "c", Some(&template(category)));
        assert_eq!(request.unwrap().purpose(), purpose);
    }
}

#[test]
fn a_route_that_was_not_shown_is_not_taken() {
    let mut draft = draft();
    assert!(draft.accepts(Mode::Reply, Route::FreeForm));
    for route in [Route::Sms, Route::Hold, Route::Template, Route::Unspecified] {
        assert!(!draft.accepts(Mode::Reply, route), "{route:?}");
    }
    let hold = decided(Route::Hold, &[]);
    draft.shown = Preview::new(Mode::Template, &hold, None, None, now()).shown;
    assert!(draft.accepts(Mode::Template, Route::Hold));
    assert!(
        !draft.accepts(Mode::Reply, Route::Hold),
        "shown for another way"
    );
    assert!(!draft.accepts(Mode::Template, Route::Sms));
}

#[test]
fn a_preview_tells_route_and_consequences_before_anything_goes() {
    for (mode, route, class, button, told) in [
        (Mode::Reply, Route::FreeForm, "ok", "Send", ""),
        (
            Mode::Template,
            Route::Template,
            "ok",
            "Send template",
            "opens when the customer answers",
        ),
        (
            Mode::Sms,
            Route::Sms,
            "ok",
            "Send SMS",
            "2 segments, UCS-2; each is paid for",
        ),
        (
            Mode::Template,
            Route::Sms,
            "wait",
            "Send as SMS",
            "does not open the WhatsApp window",
        ),
        (
            Mode::Template,
            Route::Hold,
            "wait",
            "Hold until they write",
            "ends unsent",
        ),
        (
            Mode::Reply,
            Route::Unspecified,
            "bad",
            "Try to send",
            "SMS: The customer stopped SMS.",
        ),
    ] {
        let out = (Route::Sms, Verdict::RuledOut, "The customer stopped SMS.");
        let preview = Preview::new(mode, &decided(route, &[out]), None, None, now());
        assert_eq!(
            (preview.class, preview.button),
            (class, button),
            "{route:?}"
        );
        let all = preview.consequences.join(" ");
        assert!(all.contains(told), "{route:?}: {all}");
    }
}

#[test]
fn marketing_is_said_to_need_an_opt_in() {
    let told = |category| {
        let decision = decided(Route::Template, &[]);
        let template = template(category);
        let preview = Preview::new(Mode::Template, &decision, Some(&template), None, now());
        preview.consequences.join(" ").contains("opted in")
    };
    assert!(told(TemplateCategory::Marketing));
    assert!(!told(TemplateCategory::Utility));
}

#[test]
fn a_form_is_read_as_it_was_typed() {
    let draft = Draft::read(
        [
            ("csrf", "x"),
            ("mode", "template"),
            ("reply", "a\r\nb "),
            ("template", "order_update en_US"),
            ("p.body.1", "7"),
            ("request_id", "r1"),
            ("shown", "template:hold"),
        ]
        .into_iter(),
    );
    assert_eq!(draft.mode, Some(Mode::Template));
    assert_eq!(draft.reply, "a\nb ");
    assert_eq!(draft.values.get("body.1").map(String::as_str), Some("7"));
    assert!(draft.accepts(Mode::Template, Route::Hold));
    assert!(draft.is_empty(Mode::Sms) && !draft.is_empty(Mode::Reply));
    assert_eq!(Draft::read([("mode", "shout")].into_iter()).mode, None);
}

#[test]
fn what_was_sent_is_forgotten_and_what_else_is_written_is_kept() {
    let mut draft = Draft {
        mode: Some(Mode::Note),
        shown: "reply:free-form".to_owned(),
        ..draft()
    };
    draft.clear(Mode::Note);
    assert!(draft.is_empty(Mode::Note) && !draft.is_empty(Mode::Reply));
    assert_eq!((draft.request_id.as_str(), draft.shown.as_str()), ("", ""));
    assert_eq!(draft.mode, None);
    for mode in Mode::ALL {
        draft.clear(mode);
    }
    assert!(Mode::ALL.into_iter().all(|mode| draft.is_empty(mode)));
}
