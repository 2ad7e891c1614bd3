//! What each route of a message would cost, before it is sent, and whether a cap still has room.

use jiff::civil::Date;

use super::{Amount, Category, RateCard};
use crate::routing::{Purpose, Route, TemplateCategory};
use crate::sms;

/// Why a message costs nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Free {
    /// Inside a free entry point.
    EntryPoint,
    /// Within the number's free service messages of the month.
    FreeTier,
    /// Service, or a utility template inside the window, under terms by which that is free.
    Window,
}

impl Free {
    /// Returns the word for facts.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::EntryPoint => "free_entry_point",
            Self::FreeTier => "free_tier",
            Self::Window => "free_customer_service",
        }
    }
}

/// Why a price is not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unpriced {
    /// The customer's country is not known, since the phone is not.
    NoCountry,
    /// The rate card has no price for it.
    NoRate,
}

impl Unpriced {
    /// Returns the stable word.
    pub fn code(self) -> &'static str {
        match self {
            Self::NoCountry => "NO_COUNTRY",
            Self::NoRate => "NO_RATE",
        }
    }

    /// Returns the reason for people.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NoCountry => "the customer's phone, and so the country, is not known",
            Self::NoRate => "the rate card has no price for it",
        }
    }
}

/// What one route would cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Estimate {
    /// What it would be billed as.
    pub category: Category,
    /// What is expected to be billed; zero if free.
    pub amount: Amount,
    /// Why it is free; `None` if it is not.
    pub free: Option<Free>,
}

/// What is left of a month's cap.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cap {
    /// Whose cap it is, for the reason given: a brand or a number.
    pub of: &'static str,
    /// The month's cap.
    pub limit: Amount,
    /// What the month has cost, with what is reserved for messages under way.
    pub spent: Amount,
}

/// Whether a cap lets a route go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Allowance<'a> {
    /// It does, or there is none.
    Within,
    /// The cap would be passed.
    Passed(&'a Cap),
    /// There is a cap, and the price is not known.
    Unknown(Unpriced),
}

/// What every route of a message would cost. Without a rate card nothing is known and nothing
/// is capped.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Costs {
    /// As a free-form WhatsApp message.
    pub free_form: Option<Result<Estimate, Unpriced>>,
    /// As a template.
    pub template: Option<Result<Estimate, Unpriced>>,
    /// As an SMS by the gateway that would be tried first.
    pub sms: Option<Result<Estimate, Unpriced>>,
    /// The caps that the message counts against.
    pub caps: Vec<Cap>,
}

impl Costs {
    /// Returns what a route would cost; `None` if it is not known, or the message cannot go that
    /// way. A hold costs nothing itself, and what its release costs is not known yet.
    pub fn of(&self, route: Route) -> Option<Amount> {
        self.estimate(route)?.ok().map(|estimate| estimate.amount)
    }

    /// Returns the estimate for a route, or why there is none; `None` without a rate card.
    pub fn estimate(&self, route: Route) -> Option<Result<Estimate, Unpriced>> {
        match route {
            Route::FreeForm => self.free_form,
            Route::Template => self.template,
            Route::Sms => self.sms,
            Route::Hold => None,
        }
    }

    /// Returns whether the caps let a route go. What is free passes none, and a route whose price
    /// is not known cannot be kept within one.
    pub fn allowance(&self, route: Route) -> Allowance<'_> {
        let estimate = match self.estimate(route) {
            None => return Allowance::Within,
            Some(Err(_)) if self.caps.is_empty() => return Allowance::Within,
            Some(Err(why)) => return Allowance::Unknown(why),
            Some(Ok(estimate)) => estimate,
        };
        if estimate.amount.micros == 0 {
            return Allowance::Within;
        }
        let passed = self.caps.iter().find(|cap| {
            let after = cap.spent.micros.checked_add(estimate.amount.micros);
            after.is_none_or(|after| after > cap.limit.micros)
        });
        passed.map_or(Allowance::Within, Allowance::Passed)
    }
}

/// What the price of a message rests on, besides the card.
#[derive(Debug, Clone, Copy)]
pub struct Circumstances<'a> {
    /// The day that counts.
    pub on: Date,
    /// The customer's digits, if known.
    pub phone: Option<&'a str>,
    /// The business number's digits.
    pub number: &'a str,
    /// The window is open.
    pub window_is_open: bool,
    /// The free entry point is open, and the platform has said so: before that it is a guess.
    pub entry_point_is_open: bool,
    /// How many service messages of the number counted to its free tier this month.
    pub free_service_messages_used: u64,
}

/// A message as its price needs it.
#[derive(Debug, Clone, Copy)]
pub struct Reading<'a> {
    /// It has free-form content.
    pub has_free_form: bool,
    /// It has a template; whose category may not be known.
    pub template: Option<Option<TemplateCategory>>,
    /// What it is for.
    pub purpose: Purpose,
    /// Segments as an SMS, and the gateway that would be tried first.
    pub sms: Option<(u32, &'a str)>,
}

/// Estimates what every route of a message would cost. No caps: whoever counts adds them.
pub fn estimate(card: &RateCard, of: &Reading<'_>, at: &Circumstances<'_>) -> Costs {
    let template = of.template.map(|category| match category {
        Some(category) => template(card, category, at),
        // Meta may have made it anything: the dearest is safe.
        None => dearest(card, of.purpose, at),
    });
    Costs {
        free_form: of.has_free_form.then(|| service(card, at)),
        template,
        sms: of
            .sms
            .map(|(segments, gateway)| sms_of(card, segments, gateway, at)),
        caps: Vec::new(),
    }
}

fn service(card: &RateCard, at: &Circumstances<'_>) -> Result<Estimate, Unpriced> {
    let terms = card.terms(at.on);
    if at.entry_point_is_open {
        Ok(free(card, Category::Service, Free::EntryPoint))
    } else if terms.service_is_free {
        Ok(free(card, Category::Service, Free::Window))
    } else if at.free_service_messages_used < terms.free_service_messages {
        Ok(free(card, Category::Service, Free::FreeTier))
    } else {
        whatsapp(card, Category::Service, at)
    }
}

fn template(
    card: &RateCard,
    of: TemplateCategory,
    at: &Circumstances<'_>,
) -> Result<Estimate, Unpriced> {
    match of {
        TemplateCategory::Marketing => whatsapp(card, Category::Marketing, at),
        TemplateCategory::Authentication => whatsapp(card, authentication(card, at), at),
        TemplateCategory::Utility => {
            let is_free = at.window_is_open && card.terms(at.on).utility_in_window_is_free;
            if is_free && !at.entry_point_is_open {
                return Ok(free(card, Category::Utility, Free::Window));
            }
            whatsapp(card, Category::Utility, at)
        }
    }
}

/// A business of another country is billed by the international price where there is one.
fn authentication(card: &RateCard, at: &Circumstances<'_>) -> Category {
    let is_abroad = at
        .phone
        .is_some_and(|phone| sms::calling_code_of(phone) != sms::calling_code_of(at.number));
    let international = Category::AuthenticationInternational;
    let has_price = card.price(international, at.phone, at.on).is_some();
    if is_abroad && has_price {
        international
    } else {
        Category::Authentication
    }
}

fn dearest(
    card: &RateCard,
    purpose: Purpose,
    at: &Circumstances<'_>,
) -> Result<Estimate, Unpriced> {
    let all = [
        TemplateCategory::Utility,
        TemplateCategory::Authentication,
        TemplateCategory::Marketing,
    ];
    // A marketing template never carries what is not marketing.
    let possible = all
        .into_iter()
        .filter(|one| *one != TemplateCategory::Marketing || purpose == Purpose::Marketing);
    let mut dearest: Option<Estimate> = None;
    for category in possible {
        let estimate = template(card, category, at)?;
        if dearest.is_none_or(|known| estimate.amount.micros > known.amount.micros) {
            dearest = Some(estimate);
        }
    }
    dearest.ok_or(Unpriced::NoRate)
}

fn whatsapp(
    card: &RateCard,
    category: Category,
    at: &Circumstances<'_>,
) -> Result<Estimate, Unpriced> {
    if at.entry_point_is_open {
        return Ok(free(card, category, Free::EntryPoint));
    }
    let price = card.price(category, at.phone, at.on);
    priced(card, category, price, at)
}

fn sms_of(
    card: &RateCard,
    segments: u32,
    gateway: &str,
    at: &Circumstances<'_>,
) -> Result<Estimate, Unpriced> {
    let price = card.segment(gateway, at.phone, at.on);
    let price = price.map(|segment| segment.saturating_mul(u64::from(segments)));
    priced(card, Category::Sms, price, at)
}

fn priced(
    card: &RateCard,
    category: Category,
    price: Option<u64>,
    at: &Circumstances<'_>,
) -> Result<Estimate, Unpriced> {
    match price {
        Some(micros) => Ok(Estimate {
            category,
            amount: card.amount(micros),
            free: None,
        }),
        None if at.phone.is_none() => Err(Unpriced::NoCountry),
        None => Err(Unpriced::NoRate),
    }
}

fn free(card: &RateCard, category: Category, why: Free) -> Estimate {
    Estimate {
        category,
        amount: card.amount(0),
        free: Some(why),
    }
}
