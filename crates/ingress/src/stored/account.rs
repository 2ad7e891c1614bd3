//! What the platform tells of accounts, numbers and templates.

use casement_event::v1;
use casement_event::v1::account_facts::Facts;
use casement_event::v1::account_update_facts::Restriction;
use casement_event::v1::template_components_facts::Button;
use casement_whatsapp::webhook::{
    Account, AccountFacts, AccountUpdate, TemplateComponents, TemplateName, TemplateStatus,
};
use serde_json::Value;

use super::{errors, text, time};

/// Returns a report, but for what only the place knows. `sender` is the account that it came
/// from.
pub(crate) fn account(account: &Account, sender: &str) -> v1::AccountReported {
    let facts = account.facts.as_ref().map(|facts| v1::AccountFacts {
        facts: Some(of(facts, sender)),
    });
    v1::AccountReported {
        field: account.field.clone(),
        event: text(&account.event),
        errors: errors(&account.errors),
        facts,
        ..v1::AccountReported::default()
    }
}

fn of(facts: &AccountFacts, sender: &str) -> Facts {
    match facts {
        AccountFacts::TemplateStatus(facts) => Facts::TemplateStatus(template_status(facts)),
        AccountFacts::TemplateQuality(facts) => Facts::TemplateQuality(v1::TemplateQualityFacts {
            template: Some(template(&facts.template)),
            previous_score: text(&facts.previous),
            new_score: text(&facts.new),
        }),
        AccountFacts::TemplateCategory(facts) => {
            Facts::TemplateCategory(v1::TemplateCategoryFacts {
                template: Some(template(&facts.template)),
                previous_category: text(&facts.previous),
                new_category: text(&facts.new),
                correct_category: text(&facts.correct),
                update_time: time(facts.update_at),
            })
        }
        AccountFacts::TemplateComponents(facts) => Facts::TemplateComponents(components(facts)),
        AccountFacts::NumberQuality(facts) => Facts::NumberQuality(v1::NumberQualityFacts {
            event: text(&facts.event),
            limit: text(&facts.limit),
            previous_limit: text(&facts.previous_limit),
        }),
        AccountFacts::NumberName(facts) => Facts::NumberName(v1::NumberNameFacts {
            decision: text(&facts.decision),
            requested_name: text(&facts.requested_name),
            rejection_reason: text(&facts.rejection_reason),
        }),
        AccountFacts::Update(facts) => Facts::AccountUpdate(update(facts, sender)),
        AccountFacts::Review(decision) => Facts::Review(v1::ReviewFacts {
            decision: decision.clone(),
        }),
        AccountFacts::Alert(facts) => Facts::Alert(v1::AlertFacts {
            entity_type: text(&facts.entity_type),
            entity_id: text(&facts.entity_id),
            severity: text(&facts.severity),
            status: text(&facts.status),
            r#type: text(&facts.kind),
            description: text(&facts.description),
        }),
        AccountFacts::Capability(facts) => Facts::Capability(v1::CapabilityFacts {
            daily_customers_limit: text(&facts.daily_customers_limit),
            numbers_per_business_limit: facts.numbers_per_business_limit,
            numbers_per_waba_limit: facts.numbers_per_waba_limit,
        }),
        AccountFacts::Security(facts) => Facts::Security(v1::SecurityFacts {
            event: text(&facts.event),
            requester: text(&facts.requester),
        }),
        AccountFacts::Payment(facts) => Facts::Payment(v1::PaymentFacts {
            configuration_name: text(&facts.configuration_name),
            provider_name: text(&facts.provider_name),
            provider_merchant_id: text(&facts.provider_merchant_id),
            status: text(&facts.status),
        }),
        AccountFacts::Username(facts) => Facts::Username(v1::UsernameFacts {
            username: text(&facts.username),
            status: text(&facts.status),
        }),
        AccountFacts::PartnerSolution(facts) => Facts::PartnerSolution(v1::PartnerSolutionFacts {
            event: text(&facts.event),
            solution_id: text(&facts.solution_id),
            status: text(&facts.status),
        }),
        AccountFacts::Flow(facts) => Facts::Flow(v1::FlowFacts {
            event: text(&facts.event),
            flow_id: text(&facts.flow_id),
            message: text(&facts.message),
            previous_status: text(&facts.previous_status),
            new_status: text(&facts.new_status),
        }),
        AccountFacts::CallSettings(facts) => Facts::CallSettings(v1::CallSettingsFacts {
            calling_status: text(&facts.calling_status),
            settings_json: facts
                .settings
                .as_ref()
                .map(Value::to_string)
                .unwrap_or_default(),
        }),
    }
}

fn template(name: &TemplateName) -> v1::TemplateName {
    v1::TemplateName {
        id: text(&name.id),
        name: text(&name.name),
        language: text(&name.language),
    }
}

fn template_status(facts: &TemplateStatus) -> v1::TemplateStatusFacts {
    v1::TemplateStatusFacts {
        template: Some(template(&facts.template)),
        event: text(&facts.event),
        category: text(&facts.category),
        reason: text(&facts.reason),
        disable_date: text(&facts.disable_date),
        title: text(&facts.title),
        description: text(&facts.description),
        rejection_reason: text(&facts.rejection_reason),
        recommendation: text(&facts.recommendation),
    }
}

fn components(facts: &TemplateComponents) -> v1::TemplateComponentsFacts {
    let buttons = facts.buttons.iter();
    v1::TemplateComponentsFacts {
        template: Some(template(&facts.template)),
        element: text(&facts.element),
        title: text(&facts.title),
        footer: text(&facts.footer),
        buttons: buttons
            .map(|button| Button {
                r#type: text(&button.kind),
                text: text(&button.text),
                url: text(&button.url),
                phone_number: text(&button.phone_number),
            })
            .collect(),
    }
}

fn update(facts: &AccountUpdate, sender: &str) -> v1::AccountUpdateFacts {
    // Partners' events come from a portfolio.
    let is_partners = facts
        .event
        .as_deref()
        .is_some_and(|event| event.starts_with("PARTNER_"));
    let sender = if is_partners { "" } else { sender };
    let waba_id = facts.waba_id.as_deref().unwrap_or(sender);
    let restrictions = facts.restrictions.iter();
    v1::AccountUpdateFacts {
        event: text(&facts.event),
        waba_id: waba_id.to_owned(),
        owner_business_id: text(&facts.owner_business_id),
        restrictions: restrictions
            .map(|restriction| Restriction {
                r#type: text(&restriction.kind),
                expire_time: time(restriction.expires_at),
            })
            .collect(),
        violation_type: text(&facts.violation_type),
        ban_state: text(&facts.ban_state),
        ban_date: text(&facts.ban_date),
        disconnection_reason: text(&facts.disconnection_reason),
        disconnection_initiated_by: text(&facts.disconnection_initiated_by),
        country: text(&facts.country),
        partner_app_id: text(&facts.partner_app_id),
        solution_id: text(&facts.solution_id),
        ad_account_id: text(&facts.ad_account_id),
        client_business_id: text(&facts.client_business_id),
        verification_status: text(&facts.verification_status),
        rejection_reasons: facts.rejection_reasons.clone(),
        tier: text(&facts.tier),
        tier_category: text(&facts.tier_category),
        tier_region: text(&facts.tier_region),
        tier_month: text(&facts.tier_month),
        tier_update_time: time(facts.tier_updated_at),
        phone_number: text(&facts.phone_number),
    }
}
