//! Who plays in the story, and what is said.

use casement_event::v1;
use casement_simulator::{Customer, CustomerSpec};

use super::Stage;
use crate::demo;

/// Who plays.
pub(super) struct Cast {
    /// Writes, is answered, and waits too long.
    pub(super) ana: Customer,
    /// Has never written.
    pub(super) ben: Customer,
    /// Has a username and shows no phone.
    pub(super) chi: Customer,
}

impl Cast {
    /// New people at each start: what is kept of earlier runs does not meddle.
    pub(super) async fn new(stage: &Stage) -> anyhow::Result<Self> {
        let platform = &stage.platform;
        let first = 1_000_000 + stage.clock.now().as_second().rem_euclid(400_000) * 10;
        let phone = |offset: i64| format!("+1555{:07}", first + offset);
        let without_phone = CustomerSpec {
            phone: None,
            user_id: Some(format!("US.1349120865{:07}", first + 2)),
            shares_phone: false,
            ..CustomerSpec::with_phone("", "Chi")
        };
        Ok(Self {
            ana: platform
                .put_customer(CustomerSpec::with_phone(phone(0), "Ana"))
                .await?,
            ben: platform
                .put_customer(CustomerSpec::with_phone(phone(1), "Ben"))
                .await?,
            chi: platform.put_customer(without_phone).await?,
        })
    }
}

/// What is said, by route.
pub(super) struct Saying(pub(super) v1::Content);

pub(super) fn said(text: &str) -> Saying {
    let free_form = v1::FreeForm {
        text: text.to_owned(),
        ..v1::FreeForm::default()
    };
    Saying(v1::Content {
        free_form: Some(free_form),
        ..v1::Content::default()
    })
}

impl Saying {
    pub(super) fn template(mut self, name: &str, parameter: &str) -> Self {
        self.0.template = Some(v1::TemplateContent {
            name: name.to_owned(),
            language: demo::LANGUAGE.to_owned(),
            components: vec![v1::TemplateComponent {
                r#type: "body".to_owned(),
                parameters: vec![v1::TemplateParameter {
                    name: String::new(),
                    value: Some(v1::template_parameter::Value::Text(parameter.to_owned())),
                }],
                ..v1::TemplateComponent::default()
            }],
            ..v1::TemplateContent::default()
        });
        self
    }

    pub(super) fn sms(mut self, text: &str) -> Self {
        self.0.sms = Some(v1::SmsContent {
            text: text.to_owned(),
            sender: String::new(),
        });
        self
    }
}
