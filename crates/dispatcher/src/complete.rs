//! What a request leaves open, and the account tells: the text for SMS, and how the message fails
//! over.
//!
//! Both are settled before anything is durable, so that what is refused is refused to the caller,
//! and what is accepted stays as it is whatever is recorded later.

use casement_domain::id::BusinessNumber;
use casement_domain::sms::text::{self, Parameter};
use casement_event::convert::template::parameter_text;
use casement_event::v1;
use casement_proto::message::v1 as api;
use casement_shell::grpc::bad_fields;
use casement_sms::twilio::BODY_CHARS_MAX;
use tonic::Status;

use crate::failover;
use crate::grpc::Messages;
use crate::request::{Checked, Violation};
use crate::templates;

const SMS_TEXT: &str = "content.sms.text";

impl Messages {
    /// Completes a request that was checked.
    pub(crate) fn complete(
        &self,
        asked: &api::SendMessageRequest,
        checked: &mut Checked,
        account: &v1::Number,
    ) -> Result<(), Status> {
        let engine = &self.engine;
        let template = checked.content.template.as_ref().and_then(|asked| {
            let waba = &account.waba_id;
            engine
                .directory
                .template(waba, &asked.name, &asked.language)
        });
        let pattern = &engine.rules.sms_from_template;
        let texts = Texts {
            purpose: asked.purpose(),
            account,
            template: template.as_ref(),
            pattern,
        };
        let mut problems = match (&checked.content.template, &template) {
            (Some(asked), Some(known)) => templates::misfits(asked, known),
            _ => Vec::new(),
        };
        match texts.put(&mut checked.content) {
            Ok(is_derived) => checked.sms_from_template = is_derived,
            Err(problem) => problems.push(problem),
        }
        let policies = &engine.rules.routing;
        let policy = self.policy_of(&asked.policy, &checked.number, &account.brand_id)?;
        let config = policies.failover(&policy.name);
        let content = &checked.content;
        match failover::of(asked, content, template.as_ref(), policy, &config) {
            Ok(failover) => checked.failover = failover,
            Err(problem) => problems.push(problem),
        }
        if problems.is_empty() {
            Ok(())
        } else {
            Err(bad_fields(problems))
        }
    }
}

/// What a text for SMS is made from.
struct Texts<'a> {
    purpose: v1::Purpose,
    account: &'a v1::Number,
    /// What the account knows of the template that the message names.
    template: Option<&'a v1::Template>,
    /// What surrounds a template's body; empty to take none.
    pattern: &'a str,
}

impl Texts<'_> {
    /// Puts the text for SMS into a message's content. Returns whether it is a template's.
    fn put(&self, content: &mut v1::Content) -> Result<bool, Violation> {
        let problem = |text: String| (SMS_TEXT.to_owned(), text);
        if let Some(sms) = content.sms.as_mut().filter(|sms| !sms.text.is_empty()) {
            if text::wants_link(&sms.text) {
                sms.text = text::with_link(&sms.text, &self.link()?);
                let chars = sms.text.chars().count();
                if chars > BODY_CHARS_MAX {
                    return Err(problem(format!(
                        "has {chars} characters with its link, at most {BODY_CHARS_MAX} are allowed"
                    )));
                }
            }
            return Ok(false);
        }
        let is_spoken = content
            .free_form
            .as_ref()
            .is_some_and(|free_form| !free_form.text.trim().is_empty());
        let Some(asked) = content.template.as_ref().filter(|_| !is_spoken) else {
            return Ok(false);
        };
        match self.derive(asked)? {
            Ok(text) => {
                content.sms.get_or_insert_default().text = text;
                Ok(true)
            }
            // Who wants an SMS is told why there is none; else there is one route less.
            Err(why) if content.sms.is_some() => Err(problem(why)),
            Err(_) => Ok(false),
        }
    }

    /// Returns the text of a template, or why there is none.
    fn derive(&self, asked: &v1::TemplateContent) -> Result<Result<String, String>, Violation> {
        let no = |why: &str| Ok(Err(why.to_owned()));
        if self.pattern.is_empty() {
            return no("is empty, and dispatcher.sms_from_template takes none from templates");
        }
        let Some(known) = self.template else {
            return no("is empty, and the account has no such template to take it from");
        };
        let sells = known.category() == v1::TemplateCategory::Marketing;
        if sells && self.purpose != v1::Purpose::Marketing {
            return no("is empty, and the template is marketing, which the message is not");
        }
        let text = match text::fill(&known.body, &parameters(asked)) {
            Ok(text) => text,
            Err(error) => return Ok(Err(format!("is empty, and {error}"))),
        };
        let link = if text::wants_link(self.pattern) {
            self.link()?
        } else {
            String::new()
        };
        let text = text::in_pattern(self.pattern, &text, &link);
        if text.chars().count() > BODY_CHARS_MAX {
            return no("is empty, and the template's text is too long for an SMS");
        }
        Ok(Ok(text))
    }

    /// Returns the link by which a customer comes back.
    fn link(&self) -> Result<String, Violation> {
        let number = BusinessNumber::parse(&self.account.number).ok();
        let number = number.filter(|_| !self.account.phone_number_id.is_empty());
        number.as_ref().map(text::wa_link).ok_or_else(|| {
            let text = "{{wa_link}} cannot be made: the number is not on WhatsApp, as far as its \
                        record says (phone_number_id)";
            (SMS_TEXT.to_owned(), text.to_owned())
        })
    }
}

/// Returns the parameters of a template's body, as far as they are text.
fn parameters(of: &v1::TemplateContent) -> Vec<Parameter> {
    let body = |component: &&v1::TemplateComponent| component.r#type.eq_ignore_ascii_case("body");
    let given = of.components.iter().filter(body);
    given
        .flat_map(|component| &component.parameters)
        .map(|parameter| Parameter {
            name: parameter.name.clone(),
            text: parameter_text(parameter),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use v1::template_parameter::Value as Is;

    use super::*;

    fn account(phone_number_id: &str) -> v1::Number {
        v1::Number {
            number: "15550001111".to_owned(),
            phone_number_id: phone_number_id.to_owned(),
            ..v1::Number::default()
        }
    }

    fn template(category: v1::TemplateCategory, body: &str) -> v1::Template {
        v1::Template {
            category: category.into(),
            body: body.to_owned(),
            ..v1::Template::default()
        }
    }

    fn asks(values: Vec<Is>) -> v1::TemplateContent {
        let parameter = |value| v1::TemplateParameter {
            name: String::new(),
            value: Some(value),
        };
        v1::TemplateContent {
            components: vec![v1::TemplateComponent {
                r#type: "body".to_owned(),
                parameters: values.into_iter().map(parameter).collect(),
                ..v1::TemplateComponent::default()
            }],
            ..v1::TemplateContent::default()
        }
    }

    fn content(sms: Option<&str>, free_form: Option<&str>, values: Option<Vec<Is>>) -> v1::Content {
        v1::Content {
            free_form: free_form.map(|text| v1::FreeForm {
                text: text.to_owned(),
                ..v1::FreeForm::default()
            }),
            template: values.map(asks),
            sms: sms.map(|text| v1::SmsContent {
                text: text.to_owned(),
                ..v1::SmsContent::default()
            }),
        }
    }

    #[test]
    fn an_sms_says_what_was_written_for_it_or_what_the_template_says() {
        let text = |text: &str| Is::Text(text.to_owned());
        let utility = template(v1::TemplateCategory::Utility, "Order {{1}} for {{2}}");
        let marketing = template(v1::TemplateCategory::Marketing, "Sale, {{1}}, {{2}}");
        let bare = template(v1::TemplateCategory::Utility, "");
        let money = Is::Currency(v1::CurrencyValue {
            fallback_value: "12.99 €".to_owned(),
            ..v1::CurrencyValue::default()
        });
        let two = || Some(vec![text("7"), money.clone()]);
        let picture = Some(vec![text("7"), Is::Image(v1::Attachment::default())]);
        let (plain, invites) = ("{{text}}", "{{text}} {{wa_link}}");
        let (on, off) = (account("106"), account(""));
        // sms, free-form, parameters, template, pattern, number → text, whether derived
        let table = [
            (
                Some("Own"),
                None,
                two(),
                Some(&utility),
                plain,
                &on,
                Ok((Some("Own"), false)),
            ),
            (
                Some("Own {{wa_link}}"),
                None,
                None,
                None,
                plain,
                &on,
                Ok((Some("Own https://wa.me/15550001111"), false)),
            ),
            (
                Some("{{wa_link}}"),
                None,
                None,
                None,
                plain,
                &off,
                Err("wa_link"),
            ),
            (
                None,
                Some("Hi"),
                two(),
                Some(&utility),
                plain,
                &on,
                Ok((None, false)),
            ),
            (
                None,
                None,
                two(),
                Some(&utility),
                plain,
                &on,
                Ok((Some("Order 7 for 12.99 €"), true)),
            ),
            (
                Some(""),
                None,
                two(),
                Some(&utility),
                invites,
                &on,
                Ok((Some("Order 7 for 12.99 € https://wa.me/15550001111"), true)),
            ),
            (
                None,
                None,
                two(),
                Some(&utility),
                invites,
                &off,
                Err("wa_link"),
            ),
            (
                None,
                None,
                two(),
                Some(&utility),
                "",
                &on,
                Ok((None, false)),
            ),
            (
                None,
                None,
                two(),
                Some(&marketing),
                plain,
                &on,
                Ok((None, false)),
            ),
            (
                Some(""),
                None,
                two(),
                Some(&marketing),
                plain,
                &on,
                Err("marketing"),
            ),
            (
                None,
                None,
                two(),
                Some(&bare),
                plain,
                &on,
                Ok((None, false)),
            ),
            (
                Some(""),
                None,
                two(),
                Some(&bare),
                plain,
                &on,
                Err("not on record"),
            ),
            (None, None, two(), None, plain, &on, Ok((None, false))),
            (
                Some(""),
                None,
                picture,
                Some(&utility),
                plain,
                &on,
                Err("{{2}}"),
            ),
        ];
        for (sms, free_form, values, template, pattern, account, expected) in table {
            let mut content = content(sms, free_form, values);
            let texts = Texts {
                purpose: v1::Purpose::Utility,
                account,
                template,
                pattern,
            };
            let found = texts.put(&mut content);
            let text = content.sms.as_ref().map(|sms| sms.text.as_str());
            match expected {
                Ok((said, is_derived)) => {
                    assert_eq!(found, Ok(is_derived));
                    assert_eq!(text, said);
                }
                Err(word) => {
                    let (field, problem) = found.unwrap_err();
                    assert_eq!(field, SMS_TEXT);
                    assert!(problem.contains(word), "{problem}");
                }
            }
        }
    }

    #[test]
    fn a_link_that_makes_the_text_too_long_is_refused() {
        let long = format!("{} {{{{wa_link}}}}", "x".repeat(BODY_CHARS_MAX - 20));
        let mut content = content(Some(&long), None, None);
        let texts = Texts {
            purpose: v1::Purpose::Utility,
            account: &account("106"),
            template: None,
            pattern: "{{text}}",
        };
        let (_, problem) = texts.put(&mut content).unwrap_err();
        assert!(problem.contains("with its link"), "{problem}");
    }
}
