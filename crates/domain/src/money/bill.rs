//! What a report says of the bill, and what that costs by the rate card.

use jiff::civil::Date;

use super::{Amount, Category, RateCard};

/// What a status says of the bill, in the platform's words (Meta: statuses webhook, pricing).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bill<'a> {
    /// Such as `utility`.
    pub category: &'a str,
    /// Such as `regular` or `free_entry_point`; empty in older reports.
    pub kind: &'a str,
    /// What older reports say instead.
    pub billable: bool,
}

/// What a message is billed at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Billed {
    /// Whether the platform bills it.
    pub is_billable: bool,
    /// Nothing if it is free; `None` if the card has no price for it.
    pub amount: Option<Amount>,
    /// It is one of the number's free service messages.
    pub counts_to_free_tier: bool,
}

impl Bill<'_> {
    /// Prices a message that was delivered on a day to a phone.
    pub fn price(&self, card: &RateCard, phone: Option<&str>, on: Date) -> Billed {
        let category = Category::parse(self.category);
        let is_billable = match self.kind {
            "" => self.billable,
            kind => kind == "regular",
        };
        // Under terms by which all of them are free none is counted.
        let counts_to_free_tier = self.kind == "free_customer_service"
            && category == Some(Category::Service)
            && !card.terms(on).service_is_free;
        let amount = if is_billable {
            let price = category.and_then(|category| card.price(category, phone, on));
            price.map(|micros| card.amount(micros))
        } else {
            Some(card.amount(0))
        };
        Billed {
            is_billable,
            amount,
            counts_to_free_tier,
        }
    }
}
