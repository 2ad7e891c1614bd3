//! What is configured about messages that wait for their customer.

use std::collections::BTreeMap;

use casement_domain::id::BusinessNumber;
use casement_event::v1;
use serde::{Deserialize, Serialize};

/// How many messages wait, and what asks the customer to write.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Hold {
    /// How many messages to one customer at one number may be held; 0 for any number.
    pub messages_max: usize,
    /// The template that asks the customer to write.
    pub nudge: Nudge,
    /// What is different at single numbers, each by its digits, such as `15550001111`.
    pub numbers: BTreeMap<String, OfNumber>,
}

/// What is different at one number.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OfNumber {
    /// How many messages to one customer may be held there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub messages_max: Option<usize>,
    /// The template that asks the customer to write there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nudge: Option<Nudge>,
}

/// The template that asks a customer to write.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Nudge {
    /// Its name; empty for none.
    pub template: String,
    /// Exact language code, such as `en_US`.
    pub language: String,
    /// What stands in its body, in order.
    pub parameters: Vec<Parameter>,
}

/// What stands in one place of a template's body.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Parameter {
    /// Its name, if the template's parameters are named.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// What stands there; the same for every customer.
    pub text: String,
}

impl Default for Hold {
    fn default() -> Self {
        Self {
            messages_max: 100,
            nudge: Nudge::default(),
            numbers: BTreeMap::new(),
        }
    }
}

impl Hold {
    /// Returns how many messages to one customer may be held at a number; `None` for any number.
    pub(crate) fn max_at(&self, number: &BusinessNumber) -> Option<usize> {
        let own = self.numbers.get(number.digits());
        let max = own.and_then(|own| own.messages_max);
        let max = max.unwrap_or(self.messages_max);
        (max > 0).then_some(max)
    }

    /// Returns the template that asks customers to write to a number; `None` if none does.
    pub(crate) fn nudge_at(&self, number: &BusinessNumber) -> Option<v1::TemplateContent> {
        let own = self.numbers.get(number.digits());
        let nudge = own.and_then(|own| own.nudge.as_ref());
        let nudge = nudge.unwrap_or(&self.nudge);
        (!nudge.template.is_empty()).then(|| nudge.content())
    }

    /// Returns what is wrong with it, in words that say what to change.
    pub(super) fn problem(&self) -> Option<String> {
        let of_numbers = self.numbers.iter();
        let nudges = of_numbers.filter_map(|(number, own)| {
            let name = format!("dispatcher.hold.numbers.{number}.nudge");
            Some((name, own.nudge.as_ref()?))
        });
        let mut nudges = nudges.chain([("dispatcher.hold.nudge".to_owned(), &self.nudge)]);
        if let Some(problem) = nudges.find_map(|(name, nudge)| nudge.problem(&name)) {
            return Some(problem);
        }
        let is_number =
            |text: &str| BusinessNumber::parse(text).is_ok_and(|number| number.digits() == text);
        let odd = self.numbers.keys().find(|number| !is_number(number))?;
        Some(format!(
            "dispatcher.hold.numbers has `{odd}`: it must be the number's digits, such as 15550001111"
        ))
    }
}

impl Nudge {
    fn content(&self) -> v1::TemplateContent {
        let parameter = |of: &Parameter| v1::TemplateParameter {
            name: of.name.clone(),
            value: Some(v1::template_parameter::Value::Text(of.text.clone())),
        };
        let body = v1::TemplateComponent {
            r#type: "body".to_owned(),
            parameters: self.parameters.iter().map(parameter).collect(),
            ..v1::TemplateComponent::default()
        };
        v1::TemplateContent {
            name: self.template.clone(),
            language: self.language.clone(),
            components: if self.parameters.is_empty() {
                Vec::new()
            } else {
                vec![body]
            },
            ..v1::TemplateContent::default()
        }
    }

    fn problem(&self, name: &str) -> Option<String> {
        if self.template.is_empty() {
            let is_rest_empty = self.language.is_empty() && self.parameters.is_empty();
            return (!is_rest_empty).then(|| format!("{name}.template must name the template"));
        }
        if self.language.is_empty() {
            return Some(format!(
                "{name}.language must be as in the account, such as en_US"
            ));
        }
        let is_blank = |parameter: &Parameter| parameter.text.trim().is_empty();
        let blank = self.parameters.iter().any(is_blank);
        blank.then(|| format!("{name}.parameters must each have a text"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nudge(template: &str) -> Nudge {
        Nudge {
            template: template.to_owned(),
            language: "en".to_owned(),
            parameters: Vec::new(),
        }
    }

    fn number(digits: &str) -> BusinessNumber {
        BusinessNumber::parse(digits).unwrap()
    }

    #[test]
    fn a_number_may_have_its_own_limit_and_template_or_none() {
        let (ours, other, quiet) = ("15550001111", "15550001112", "15550001113");
        let own = |messages_max, nudge| OfNumber {
            messages_max,
            nudge,
        };
        let hold = Hold {
            nudge: nudge("please_write"),
            numbers: [
                (other.to_owned(), own(Some(2), Some(nudge("schreib_uns")))),
                (quiet.to_owned(), own(Some(0), Some(Nudge::default()))),
            ]
            .into(),
            ..Hold::default()
        };
        assert_eq!(hold.problem(), None);
        for (digits, max, template) in [
            (ours, Some(100), Some("please_write")),
            (other, Some(2), Some("schreib_uns")),
            (quiet, None, None),
        ] {
            let number = number(digits);
            assert_eq!(hold.max_at(&number), max);
            let found = hold.nudge_at(&number);
            assert_eq!(found.as_ref().map(|one| one.name.as_str()), template);
        }
    }

    #[test]
    fn what_cannot_work_is_named() {
        let with = |nudge: Nudge| Hold {
            nudge,
            ..Hold::default()
        };
        let no_language = Nudge {
            language: String::new(),
            ..nudge("please_write")
        };
        let blank = Nudge {
            parameters: vec![Parameter::default()],
            ..nudge("please_write")
        };
        for (broken, named) in [
            (with(nudge("")), "nudge.template"),
            (with(no_language), "nudge.language"),
            (with(blank), "nudge.parameters"),
        ] {
            let problem = broken.problem().unwrap();
            assert!(problem.contains(named), "{problem}");
        }
        let odd = Hold {
            numbers: [("+15550001111".to_owned(), OfNumber::default())].into(),
            ..Hold::default()
        };
        assert!(odd.problem().unwrap().contains("+15550001111"));
    }
}
