//! Failover: what a policy says about it, and what follows for one request.
//!
//! Fixed when the message is accepted, and stored with it: another configuration changes nothing
//! about messages that are under way. The rules themselves are the domain's.

use casement_domain::failover::{ErrorClass, Failover, Silence, template_life};
use casement_domain::routing::{Policy, Route};
use casement_event::convert::signed_duration;
use casement_event::v1;
use casement_proto::message::v1 as api;
use jiff::SignedDuration;
use serde::{Deserialize, Serialize};

use crate::compose;
use crate::request::Violation;

/// What a policy says about failover.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FailoverConfig {
    /// Classes of errors after which another route is taken; any other ends the message.
    pub on: Vec<String>,
    /// How long after acceptance a delivery has to be reported, or else another channel is taken;
    /// zero for as long as it takes.
    pub after: SignedDuration,
    /// Also where what was accepted may still arrive then, so that the customer may get it twice.
    pub accept_duplicate_risk: bool,
}

impl Default for FailoverConfig {
    fn default() -> Self {
        let words = ErrorClass::ALL.map(|class| class.as_str().to_owned());
        Self {
            on: words.to_vec(),
            after: SignedDuration::ZERO,
            accept_duplicate_risk: false,
        }
    }
}

impl FailoverConfig {
    /// Returns what is wrong with it, in words that say what to change.
    pub(crate) fn problems(&self, at: &str) -> Vec<String> {
        let mut problems = Vec::new();
        for word in &self.on {
            if ErrorClass::parse(word).is_none() {
                let words = ErrorClass::ALL.map(ErrorClass::as_str).join(", ");
                problems.push(format!(
                    "`{at}.failover.on` names `{word}`: use any of {words}"
                ));
            }
        }
        if self.after.is_negative() {
            problems.push(format!("`{at}.failover.after` must not be negative"));
        }
        problems
    }

    fn ends_on(&self) -> Vec<ErrorClass> {
        let is_listed = |class: &ErrorClass| self.on.iter().any(|word| word == class.as_str());
        let classes = ErrorClass::ALL.into_iter();
        classes.filter(|class| !is_listed(class)).collect()
    }
}

/// Returns how a message fails over, or which field asks for what must not be. `content` is what
/// it says, with its text for SMS; `template` what the account knows of the one that it names.
pub(crate) fn of(
    asked: &api::SendMessageRequest,
    content: &v1::Content,
    template: Option<&v1::Template>,
    policy: &Policy,
    config: &FailoverConfig,
) -> Result<Failover, Violation> {
    let ends_on = config.ends_on();
    let after = asked.failover_after.as_ref().map(signed_duration);
    let Some(after) = after.or(Some(config.after).filter(|after| !after.is_zero())) else {
        return Ok(Failover {
            ends_on,
            silence: None,
        });
    };
    let own = template
        .and_then(|template| template.message_send_ttl.as_ref())
        .map(signed_duration);
    let category = template.and_then(|template| compose::category(template.category()));
    let silence = Silence {
        after,
        accepts_duplicates: asked.accept_duplicate_risk || config.accept_duplicate_risk,
        template_life: template_life(category, own),
    };
    let routes: Vec<Route> = policy.steps.iter().map(|step| step.route).collect();
    let has_content = |route| match route {
        Route::FreeForm => content.free_form.is_some(),
        Route::Template => content.template.is_some(),
        Route::Sms => compose::sms_text(content).is_some(),
        Route::Hold => true,
    };
    match silence.check(&routes, has_content) {
        Ok(()) => Ok(Failover {
            ends_on,
            silence: Some(silence),
        }),
        Err(error) if asked.failover_after.is_some() => {
            Err(("failover_after".to_owned(), error.to_string()))
        }
        Err(error) => {
            let name = &policy.name;
            let text = format!("`{name}` takes another channel after {after:#}, and {error}");
            Err(("policy".to_owned(), text))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn content(free_form: bool, template: bool, sms: bool) -> v1::Content {
        let text = || "Hi".to_owned();
        v1::Content {
            free_form: free_form.then(|| v1::FreeForm {
                text: text(),
                ..v1::FreeForm::default()
            }),
            template: template.then(v1::TemplateContent::default),
            sms: sms.then(|| v1::SmsContent {
                text: text(),
                ..v1::SmsContent::default()
            }),
        }
    }

    fn lives_for(minutes: i64) -> v1::Template {
        let length = SignedDuration::from_mins(minutes);
        v1::Template {
            category: v1::TemplateCategory::Utility.into(),
            message_send_ttl: Some(casement_event::convert::duration(length)),
            ..v1::Template::default()
        }
    }

    fn asks(minutes: i64, accept_duplicate_risk: bool) -> api::SendMessageRequest {
        let length = SignedDuration::from_mins(minutes);
        api::SendMessageRequest {
            failover_after: Some(casement_event::convert::duration(length)),
            accept_duplicate_risk,
            ..api::SendMessageRequest::default()
        }
    }

    #[test]
    fn a_timer_is_refused_by_the_field_that_asks_for_it() {
        let (policy, usual) = (Policy::default(), FailoverConfig::default());
        let by_policy = FailoverConfig {
            after: SignedDuration::from_mins(10),
            ..FailoverConfig::default()
        };
        let bold = FailoverConfig {
            accept_duplicate_risk: true,
            ..by_policy.clone()
        };
        let (all, short) = (content(true, true, true), content(false, true, true));
        let none = api::SendMessageRequest::default();
        let (ten, five) = (lives_for(10), lives_for(5));
        // request, content, template, policy → the timer in minutes, or the field
        let table = [
            (&none, &all, None, &usual, Ok(None)),
            (&asks(10, false), &short, Some(&ten), &usual, Ok(Some(10))),
            (
                &asks(9, false),
                &short,
                Some(&ten),
                &usual,
                Err("failover_after"),
            ),
            (
                &asks(10, false),
                &short,
                None,
                &usual,
                Err("failover_after"),
            ),
            (
                &asks(10, false),
                &all,
                Some(&ten),
                &usual,
                Err("failover_after"),
            ),
            (&asks(10, true), &all, Some(&ten), &usual, Ok(Some(10))),
            (
                &asks(0, true),
                &all,
                Some(&ten),
                &usual,
                Err("failover_after"),
            ),
            (&none, &short, Some(&five), &by_policy, Ok(Some(10))),
            (&none, &all, Some(&five), &by_policy, Err("policy")),
            (&none, &all, Some(&five), &bold, Ok(Some(10))),
            (&asks(20, false), &all, None, &bold, Ok(Some(20))),
        ];
        for (asked, content, template, config, expected) in table {
            let found = of(asked, content, template, &policy, config);
            let found = match &found {
                Ok(failover) => Ok(failover.silence.as_ref().map(|it| it.after.as_mins())),
                Err((field, _)) => Err(field.as_str()),
            };
            assert_eq!(found, expected, "{asked:?} {config:?}");
        }
    }

    #[test]
    fn what_a_policy_does_not_list_ends_the_message_and_unknown_words_are_named() {
        let config: FailoverConfig = toml::from_str("on = ['window_closed']").unwrap();
        assert_eq!(config.problems("p"), [""; 0]);
        let asked = api::SendMessageRequest::default();
        let policy = Policy::default();
        let failover = of(&asked, &content(true, false, true), None, &policy, &config).unwrap();
        assert_eq!(failover.ends_on, ErrorClass::ALL[1..]);
        let usual = FailoverConfig::default();
        assert_eq!(usual.ends_on(), []);
        let wrong: FailoverConfig = toml::from_str("on = ['weather']\nafter = '-1s'").unwrap();
        let problems = wrong.problems("dispatcher.policies.p");
        assert!(problems[0].contains("`dispatcher.policies.p.failover.on` names `weather`"));
        assert!(problems[1].contains("failover.after"), "{problems:?}");
    }

    #[test]
    fn each_class_of_the_table_is_met_by_the_codes_that_it_cites() {
        use casement_whatsapp::errors::lookup;
        for (code, class) in [
            (131_047, Some(ErrorClass::WindowClosed)),
            (2_494_191, Some(ErrorClass::ThreadOwned)),
            (132_000, Some(ErrorClass::Undeliverable)),
            (132_016, Some(ErrorClass::TemplateUnusable)),
            (131_026, Some(ErrorClass::Undeliverable)),
            (130_472, Some(ErrorClass::Undeliverable)),
            (131_016, Some(ErrorClass::RetriesUsedUp)),
            (130_429, Some(ErrorClass::RetriesUsedUp)),
            (131_049, None),
            (131_050, None),
            (131_042, None),
            (100, None),
        ] {
            let refusal = crate::refusals::of_meta(&lookup(code), 0, None);
            assert_eq!(ErrorClass::of(refusal), class, "{code}");
        }
    }
}
