//! Brands' settings, from what is stored.

use casement_domain::brand::{OverQuota, Quota, TemplateAccess};
use casement_proto::events::v1;

/// Reads a quota; 0 is no limit.
pub fn quota(stored: &v1::BrandQuota) -> Quota {
    let limit = |count: u32| Some(count).filter(|count| *count > 0);
    Quota {
        per_hour: limit(stored.messages_per_hour),
        per_day: limit(stored.messages_per_day),
        over: match stored.over_quota() {
            v1::BrandQuotaRule::Wait => OverQuota::Wait,
            v1::BrandQuotaRule::Refuse | v1::BrandQuotaRule::Unspecified => OverQuota::Refuse,
        },
    }
}

/// Reads which templates a brand may use.
pub fn access(stored: &v1::BrandTemplates) -> TemplateAccess {
    TemplateAccess {
        waba_ids: stored.waba_ids.clone(),
        names: stored.names.clone(),
    }
}
