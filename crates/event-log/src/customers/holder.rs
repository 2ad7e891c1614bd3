//! Whose a phone is now, which its links alone can tell: what customers showed, and what their
//! summaries remember, stays as it was when the phone passes from hand to hand.

use casement_domain::customer::{Sighting, Standing};
use casement_domain::id::{CustomerId, Phone, PortfolioId};
use casement_domain::inbound::Addresses;
use jiff::Timestamp;

use super::{ResolveError, Tokens, load_rows, survivor};
use crate::Log;

/// Whose a phone is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Holder {
    /// Nobody's that we know.
    Nobody,
    /// This customer's, who carries on if it was merged.
    Customer(CustomerId),
    /// Nobody's since this customer gave it up.
    GivenUpBy(CustomerId),
}

impl Holder {
    /// Returns whether the phone may be written to for a customer who goes or went by these ids.
    /// `is_asked` if whoever writes named the phone, and does not rest on what the customer once
    /// showed: then it may be one that nobody has, whose next owner is to be met.
    pub fn allows(&self, ids: &[CustomerId], is_asked: bool) -> bool {
        match self {
            Self::Nobody => true,
            Self::Customer(holder) => ids.contains(holder),
            Self::GivenUpBy(former) => is_asked && !ids.contains(former),
        }
    }
}

/// Looks up whose a phone is now.
pub async fn holder(
    log: &Log,
    tokens: &Tokens,
    portfolio: &PortfolioId,
    phone: &Phone,
    own: &CustomerId,
) -> Result<Holder, ResolveError> {
    let addresses = Addresses {
        phone: Some(phone.clone()),
        ..Addresses::default()
    };
    let sighting = Sighting::of(addresses, Timestamp::MAX);
    let rows = load_rows(log, tokens, portfolio, &sighting).await?;
    let Some(link) = rows.into_iter().find_map(|row| row.stored) else {
        return Ok(Holder::Nobody);
    };
    let customer = if link.customer == *own {
        link.customer
    } else {
        let survivor = survivor(log, portfolio, &link.customer).await?;
        survivor.unwrap_or(link.customer)
    };
    Ok(match link.tenure.standing {
        Standing::GivenUp => Holder::GivenUpBy(customer),
        Standing::Alone | Standing::Held => Holder::Customer(customer),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_who_holds_a_phone_is_written_to_at_it() {
        let [ana, bea] = ["ana", "bea"].map(|name| CustomerId::parse(name).unwrap());
        let ids = [ana.clone()];
        // whose, and whether it may be written to for Ana: remembered, named
        for (holder, remembered, named) in [
            (Holder::Nobody, true, true),
            (Holder::Customer(ana.clone()), true, true),
            (Holder::Customer(bea.clone()), false, false),
            (Holder::GivenUpBy(ana), false, false),
            (Holder::GivenUpBy(bea), false, true),
        ] {
            assert_eq!(holder.allows(&ids, false), remembered, "{holder:?}");
            assert_eq!(holder.allows(&ids, true), named, "{holder:?}");
        }
    }
}
