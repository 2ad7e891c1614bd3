//! Checks what is to be said, by every route, before anything is durable: every problem at once,
//! each with the path of its field.
//!
//! What the platform's limits are is known to the crate of the platform; here its words are put
//! to the fields of the request.

use casement_domain::id::MessageId;
use casement_event::v1;
use casement_whatsapp::send::{OutgoingContent, WAMID_PREFIX};
use jiff::Timestamp;

use crate::outgoing;
use crate::request::Violation;
use crate::uploads::UploadId;

/// Longest SMS. Twilio: 1,600 characters.
const SMS_CHARS_MAX: usize = 1_600;

const FREE_FORM: &str = "content.free_form";
const TEMPLATE: &str = "content.template";

/// Checks what is to be said.
pub(crate) fn check(content: &v1::Content, problem: &mut impl FnMut(&str, &str)) {
    if content.free_form.is_none() && content.template.is_none() && content.sms.is_none() {
        problem("content", "give at least one of free_form, template, sms");
    }
    if let Some(free_form) = &content.free_form {
        check_free_form(free_form, problem);
    }
    if let Some(sms) = &content.sms {
        check_sms(sms, content, problem);
    }
    if let Some(template) = &content.template {
        tell(TEMPLATE, &outgoing::template(template), problem);
    }
    for (at, file) in attachments(content) {
        if let Some(v1::attachment::Source::UploadId(id)) = &file.source
            && UploadId::parse(id).is_none()
        {
            let field = format!("{at}.upload_id");
            problem(&field, "must be an id that UploadMedia returned");
        }
    }
}

/// Checks what only the number can tell: whether it may send what was uploaded. `at` is when the
/// message goes out, at the earliest.
pub(crate) fn check_uploads(
    content: &v1::Content,
    account: &v1::Number,
    at: Timestamp,
) -> Vec<Violation> {
    let mut problems = Vec::new();
    for (field, file) in attachments(content) {
        let Some(v1::attachment::Source::UploadId(id)) = &file.source else {
            continue;
        };
        let wrong = UploadId::parse(id).and_then(|id| id.problem(&account.phone_number_id, at));
        problems.extend(wrong.map(|wrong| (format!("{field}.upload_id"), wrong.to_owned())));
    }
    problems
}

/// Whether a text can stand for a message that is answered or reacted to.
pub(crate) fn is_reference(text: &str) -> bool {
    (text.starts_with(WAMID_PREFIX) && text.len() > WAMID_PREFIX.len())
        || MessageId::parse(text).is_ok()
}

fn check_free_form(free_form: &v1::FreeForm, problem: &mut impl FnMut(&str, &str)) {
    if free_form.content.is_some() {
        if !free_form.text.is_empty() {
            let what = "give text or one of the others: words beside a file are its caption";
            problem("content.free_form.text", what);
        }
        if free_form.preview_url {
            problem("content.free_form.preview_url", "only text has one");
        }
    }
    let mut outgoing = outgoing::free_form(free_form);
    if let OutgoingContent::Reaction { message_id, .. } = &mut outgoing
        && is_reference(message_id)
    {
        // A message of ours has no id at the platform before it is looked up.
        *message_id = format!("{WAMID_PREFIX}x");
    }
    tell(FREE_FORM, &outgoing, problem);
}

fn check_sms(sms: &v1::SmsContent, content: &v1::Content, problem: &mut impl FnMut(&str, &str)) {
    let chars = sms.text.chars().count();
    let is_blank = chars > 0 && sms.text.trim().is_empty();
    // An empty text leaves it to the free-form text or the template; then there has to be one.
    let spoken = content.free_form.as_ref().map(|it| it.text.trim());
    let has_other = content.template.is_some() || spoken.is_some_and(|text| !text.is_empty());
    let is_missing = chars == 0 && !has_other;
    if chars > SMS_CHARS_MAX || is_blank || is_missing {
        problem(
            "content.sms.text",
            "1 to 1,600 characters, not all of them blank; empty for the free-form text or the \
             template's",
        );
    }
}

fn tell(at: &str, content: &OutgoingContent, problem: &mut impl FnMut(&str, &str)) {
    for found in content.problems() {
        problem(&format!("{at}.{}", found.field), &found.reason);
    }
}

/// Every file in a message, with the path of its field.
fn attachments(content: &v1::Content) -> Vec<(String, &v1::Attachment)> {
    let mut found = Vec::new();
    if let Some(free_form) = &content.free_form {
        found.extend(in_free_form(free_form));
    }
    if let Some(template) = &content.template {
        in_components(TEMPLATE, &template.components, &mut found);
        for (index, card) in template.cards.iter().enumerate() {
            let at = format!("{TEMPLATE}.cards[{index}]");
            in_components(&at, &card.components, &mut found);
        }
    }
    found
}

fn in_free_form(free_form: &v1::FreeForm) -> Option<(String, &v1::Attachment)> {
    use v1::free_form::Content as Is;
    use v1::interactive_header::Content as Header;
    let (field, file) = match free_form.content.as_ref()? {
        Is::Image(file) => ("image", file),
        Is::Video(file) => ("video", file),
        Is::Audio(file) => ("audio", file),
        Is::Document(file) => ("document", file),
        Is::Sticker(file) => ("sticker", file),
        Is::Interactive(message) => match message.header.as_ref()?.content.as_ref()? {
            Header::Image(file) => ("interactive.header.image", file),
            Header::Video(file) => ("interactive.header.video", file),
            Header::Document(file) => ("interactive.header.document", file),
            Header::Text(_) => return None,
        },
        Is::Location(_) | Is::Contacts(_) | Is::Reaction(_) | Is::RawJson(_) => return None,
    };
    Some((format!("{FREE_FORM}.{field}"), file))
}

fn in_components<'a>(
    at: &str,
    components: &'a [v1::TemplateComponent],
    found: &mut Vec<(String, &'a v1::Attachment)>,
) {
    use v1::template_parameter::Value as Is;
    for (place, component) in components.iter().enumerate() {
        for (index, parameter) in component.parameters.iter().enumerate() {
            let (field, file) = match &parameter.value {
                Some(Is::Image(file)) => ("image", file),
                Some(Is::Video(file)) => ("video", file),
                Some(Is::Document(file)) => ("document", file),
                _ => continue,
            };
            let at = format!("{at}.components[{place}].parameters[{index}].{field}");
            found.push((at, file));
        }
    }
}

#[cfg(test)]
#[path = "content_tests.rs"]
mod tests;
