//! From what the caller wrote to what a provider is told, and to what routing needs to know.

use casement_domain::id::Phone;
use casement_domain::inbound::Addresses;
use casement_domain::routing::{KnownTemplate, SmsSize, Template, TemplateCategory};
use casement_event::convert::instant;
use casement_event::convert::template::definition;
use casement_event::v1;
use casement_sms::Encoding;
use casement_sms::twilio::BODY_CHARS_MAX;
use casement_whatsapp::send::Recipient;
use jiff::Timestamp;

/// Returns the text that would go as SMS: the caller's own, or else the free-form text if it
/// fits.
pub(crate) fn sms_text(content: &v1::Content) -> Option<&str> {
    let own = content.sms.as_ref().map(|sms| sms.text.as_str());
    let free_form = content
        .free_form
        .as_ref()
        .map(|free_form| free_form.text.as_str());
    let fits = |text: &&str| text.chars().count() <= BODY_CHARS_MAX;
    own.filter(|text| !text.is_empty())
        .or(free_form)
        .filter(|text| !text.trim().is_empty())
        .filter(fits)
}

/// Returns how large a text is as SMS.
pub(crate) fn sms_size(text: &str) -> SmsSize {
    let measured = casement_sms::segment(text);
    let encoding = match measured.encoding {
        Encoding::Gsm7 => "GSM-7",
        Encoding::Ucs2 => "UCS-2",
    };
    SmsSize {
        encoding,
        segments: u32::try_from(measured.segments).unwrap_or(u32::MAX),
        units: u32::try_from(measured.units).unwrap_or(u32::MAX),
    }
}

/// Returns a template as routing sees it.
pub(crate) fn template(asked: &v1::TemplateContent, known: Option<v1::Template>) -> Template {
    let given_parameters = asked
        .components
        .iter()
        .filter(|component| component.r#type.eq_ignore_ascii_case("body"))
        .map(|component| component.parameters.len())
        .sum();
    let known = known.map(|known| KnownTemplate {
        category: category(known.category()),
        is_usable: known.status() == v1::TemplateStatus::Approved,
        status: known
            .status()
            .as_str_name()
            .trim_start_matches("TEMPLATE_STATUS_")
            .to_owned(),
        parameters: usize::try_from(known.body_parameter_count).unwrap_or(usize::MAX),
        has_code: known
            .definition
            .as_ref()
            .is_some_and(|it| definition(it).has_code()),
        paused_until: paused_until(&known),
        facts: facts(&known),
    });
    Template {
        name: format!("{} ({})", asked.name, asked.language),
        given_parameters,
        misfit: None,
        is_to_us: false,
        known,
    }
}

/// When the pause that a template is in ends by itself, as far as is known.
fn paused_until(known: &v1::Template) -> Option<Timestamp> {
    if known.status() != v1::TemplateStatus::Paused {
        return None;
    }
    let end = known.pause.as_ref()?.expected_end_time.as_ref();
    instant("expected_end_time", end).ok().flatten()
}

/// What else is on record of a template that a decision should show.
fn facts(known: &v1::Template) -> Vec<String> {
    let mut facts = Vec::new();
    let quality = known.quality();
    if quality != v1::TemplateQuality::Unspecified {
        let word = quality
            .as_str_name()
            .trim_start_matches("TEMPLATE_QUALITY_");
        facts.push(format!("quality={word}"));
    }
    if let Some(pause) = &known.pause {
        let kind = Some(pause.kind.as_str()).filter(|kind| !kind.is_empty());
        facts.push(format!("pause={}", kind.unwrap_or("PAUSED")));
    }
    if let Some(change) = known.category_change.as_ref().filter(|it| !it.is_done) {
        facts.push(format!("category_will_be={}", change.to_category));
    }
    facts
}

/// Returns a template's category as the rules have it.
pub(crate) fn category(of: v1::TemplateCategory) -> Option<TemplateCategory> {
    match of {
        v1::TemplateCategory::Utility => Some(TemplateCategory::Utility),
        v1::TemplateCategory::Authentication => Some(TemplateCategory::Authentication),
        v1::TemplateCategory::Marketing => Some(TemplateCategory::Marketing),
        v1::TemplateCategory::Unspecified => None,
    }
}

/// Returns whom Meta is told to send to: by phone and by user id, as far as they are known.
pub(crate) fn recipient(addresses: &Addresses) -> Option<Recipient> {
    let recipient = Recipient {
        phone: addresses.phone.as_ref().map(Phone::e164),
        user_id: addresses.user_id.clone(),
    };
    (recipient != Recipient::default()).then_some(recipient)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_known_by_phone_and_user_id_is_told_by_both() {
        let phone = Phone::parse("+15550002222").unwrap();
        let user_id = || Some("US.134".to_owned());
        let addresses = |phone, user_id| Addresses {
            phone,
            user_id,
            ..Addresses::default()
        };
        let both = recipient(&addresses(Some(phone.clone()), user_id())).unwrap();
        assert_eq!(both.phone.as_deref(), Some("+15550002222"));
        assert_eq!(both.user_id, user_id());
        let hidden = recipient(&addresses(None, user_id())).unwrap();
        assert_eq!(hidden, Recipient::user_id("US.134"));
        let plain = recipient(&addresses(Some(phone), None)).unwrap();
        assert_eq!(plain, Recipient::phone("+15550002222"));
        assert_eq!(recipient(&Addresses::default()), None);
    }

    #[test]
    fn free_form_text_stands_in_for_an_sms_that_was_not_written() {
        let free_form = Some(v1::FreeForm {
            text: "Hi".to_owned(),
            ..v1::FreeForm::default()
        });
        let mut content = v1::Content {
            free_form,
            ..Default::default()
        };
        assert_eq!(sms_text(&content), Some("Hi"));
        content.sms = Some(v1::SmsContent {
            text: "Hi by SMS".to_owned(),
            ..Default::default()
        });
        assert_eq!(sms_text(&content), Some("Hi by SMS"));
        let long = v1::Content {
            free_form: Some(v1::FreeForm {
                text: "x".repeat(BODY_CHARS_MAX + 1),
                ..v1::FreeForm::default()
            }),
            ..Default::default()
        };
        assert_eq!(sms_text(&long), None);
    }
}
