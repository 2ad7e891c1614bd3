//! What became of a message that the business sent.

use casement_event::v1;
use casement_whatsapp::webhook::{DeliveryStatus, Pricing, StatusReport};

use super::{addresses, errors, text, time};

/// Returns a status of Meta's in the stored form.
pub(crate) fn of_meta(status: &DeliveryStatus) -> v1::DeliveryStatus {
    match status {
        DeliveryStatus::Sent => v1::DeliveryStatus::Sent,
        DeliveryStatus::Delivered => v1::DeliveryStatus::Delivered,
        DeliveryStatus::Read => v1::DeliveryStatus::Read,
        DeliveryStatus::Played => v1::DeliveryStatus::Played,
        DeliveryStatus::Failed => v1::DeliveryStatus::Failed,
        DeliveryStatus::Other(_) => v1::DeliveryStatus::Unspecified,
    }
}

/// Returns what a status says, for messages that are not ours.
pub(crate) fn details(report: &StatusReport) -> v1::StatusDetails {
    v1::StatusDetails {
        status: of_meta(&report.status).into(),
        errors: errors(&report.errors),
        pricing: report.pricing.as_ref().map(pricing),
        conversation: conversation(report),
        recipient: Some(recipient(report)),
        group: group(report),
        callback_data: text(&report.callback_data),
        template_id: text(&report.template_id),
        recipient_identity_hash: text(&report.recipient_identity_hash),
    }
}

/// Returns what a status says about a message of ours, but for what only the place knows.
pub(crate) fn reported(report: &StatusReport) -> v1::StatusReported {
    v1::StatusReported {
        channel: v1::Channel::Whatsapp.into(),
        provider_message_id: report.wamid.clone(),
        provider_status: report.status.as_str().to_owned(),
        status: of_meta(&report.status).into(),
        errors: errors(&report.errors),
        pricing: report.pricing.as_ref().map(pricing),
        recipient: Some(recipient(report)),
        conversation: conversation(report),
        group: group(report),
        template_id: text(&report.template_id),
        recipient_identity_hash: text(&report.recipient_identity_hash),
        ..v1::StatusReported::default()
    }
}

fn recipient(report: &StatusReport) -> v1::Addresses {
    addresses(
        &report.recipient_phone,
        &report.recipient_user_id,
        &report.recipient_parent_user_id,
    )
}

fn group(report: &StatusReport) -> Option<v1::GroupRecipient> {
    report.group.then(|| v1::GroupRecipient {
        group_id: text(&report.group_id),
        participant: Some(addresses(
            &report.recipient_participant,
            &report.recipient_participant_user_id,
            &report.recipient_participant_parent_user_id,
        )),
    })
}

fn conversation(report: &StatusReport) -> Option<v1::BilledConversation> {
    let is_told = report.conversation_id.is_some()
        || report.conversation_origin.is_some()
        || report.conversation_expires_at.is_some();
    is_told.then(|| v1::BilledConversation {
        id: text(&report.conversation_id),
        origin: text(&report.conversation_origin),
        expire_time: time(report.conversation_expires_at),
    })
}

fn pricing(pricing: &Pricing) -> v1::Pricing {
    v1::Pricing {
        billable: pricing.billable.unwrap_or_default(),
        model: text(&pricing.model),
        r#type: text(&pricing.pricing_type),
        category: text(&pricing.category),
    }
}
