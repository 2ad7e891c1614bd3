//! What Meta, an owner in WhatsApp Manager, or a person at the pop-up does of their own accord.
//!
//! Each changes the books and sends the webhook that tells of it.

use std::sync::Arc;

use jiff::SignedDuration;

use super::migration::tier_rank;
use super::nodes::quality_event;
use super::records::{
    AccountSpec, BanState, BusinessSpec, NumberSpec, Quality, Restriction, Review, SignUp,
    SignUpSpec, Verification,
};
use super::upsets::Upset;
use super::webhooks;
use crate::books::Books;
use crate::config::NumberConfig;
use crate::error::Error;
use crate::handle::Handle;
use crate::outbox::{self, Parcel};
use crate::payload::Change;
use crate::shared::{Shared, State};

/// How long a number takes nothing while its throughput is raised, at most (131057).
const MAINTENANCE_MAX: SignedDuration = SignedDuration::from_mins(1);

/// Sends what tells of changes, each account's in their order.
pub(super) fn tell(
    shared: &Arc<Shared>,
    state: &mut State,
    changes: Vec<Change>,
) -> Result<(), Error> {
    for change in changes {
        let lane = format!("account/{}", change.waba_id);
        outbox::publish(shared, state, Parcel::Change { change, lane }, false)?;
    }
    Ok(())
}

impl Handle {
    fn play<T>(
        &self,
        act: impl FnOnce(&mut Books) -> Result<(T, Vec<Change>), Error>,
    ) -> Result<T, Error> {
        self.shared().change(|state| {
            let (value, changes) = act(&mut state.books)?;
            tell(self.shared(), state, changes)?;
            Ok(value)
        })
    }

    /// Plays Embedded Signup to its end: the business, its account and its number are there, the
    /// code waits to be exchanged. The account is without payment method and webhooks.
    pub fn sign_up(&self, spec: SignUpSpec) -> Result<SignUp, Error> {
        let now = self.shared().now();
        self.play(|books| books.sign_up(spec, now))
    }

    /// Puts a business into the books, or replaces the one with its id; returns the id.
    pub fn put_business(&self, spec: BusinessSpec) -> String {
        self.shared().change(|state| state.books.put_business(spec))
    }

    /// Puts a business account into the books, or replaces the one with its id; returns the id.
    pub fn put_account(&self, spec: AccountSpec) -> Result<String, Error> {
        self.play(|books| {
            let owner = spec.business_id.as_deref();
            if owner.is_some_and(|id| books.business(id).is_none()) {
                return Err(Error::UnknownBusiness);
            }
            Ok((books.put_account(spec), Vec::new()))
        })
    }

    /// Gives a token an account, as an owner does who shares it with a partner.
    pub fn share_account(&self, token: &str, waba_id: &str) -> Result<(), Error> {
        self.play(|books| {
            known_account(books, waba_id)?;
            books.estate.grant(token, waba_id);
            Ok(((), Vec::new()))
        })
    }

    /// Gives an account a payment method, or takes it away.
    pub fn set_payment(&self, waba_id: &str, has_payment: bool) -> Result<(), Error> {
        self.play(|books| {
            known_account(books, waba_id)?;
            books.account_mut(waba_id).has_payment = has_payment;
            Ok(((), Vec::new()))
        })
    }

    /// Decides on a business's verification, or begins it. Verified, it may write to more
    /// customers and have more numbers.
    pub fn verify_business(
        &self,
        business_id: &str,
        verification: Verification,
        reasons: &[String],
    ) -> Result<(), Error> {
        self.play(|books| {
            let ours = books.assets.portfolio_id.clone();
            let business = books
                .business_mut(business_id)
                .ok_or(Error::UnknownBusiness)?;
            business.verification = verification;
            let is_raised =
                verification == Verification::Verified && business.messaging_limit == "TIER_250";
            if is_raised {
                "TIER_2K".clone_into(&mut business.messaging_limit);
            }
            let (limit, numbers_max) = (business.messaging_limit.clone(), business.numbers_max());
            let status = match verification {
                Verification::NotVerified => "DISCARDED",
                Verification::Pending => "PENDING",
                Verification::Verified => "APPROVED",
                Verification::Rejected => "REJECTED",
            };
            let mut changes = vec![webhooks::certification(&ours, business_id, status, reasons)];
            if verification == Verification::Verified {
                for waba_id in books.accounts_of(business_id) {
                    changes.push(webhooks::verified(&waba_id));
                    if is_raised {
                        changes.push(webhooks::capability(&waba_id, &limit, numbers_max));
                    }
                }
            }
            Ok(((), changes))
        })
    }

    /// Decides on an account's review.
    pub fn review_account(&self, waba_id: &str, decision: Review) -> Result<(), Error> {
        self.play(|books| {
            known_account(books, waba_id)?;
            books.account_mut(waba_id).review = decision;
            Ok(((), vec![webhooks::review(waba_id, decision)]))
        })
    }

    /// Restricts an account in place of what restricted it before; with nothing, frees it.
    pub fn restrict_account(
        &self,
        waba_id: &str,
        restrictions: Vec<Restriction>,
        violation: Option<&str>,
    ) -> Result<(), Error> {
        self.play(|books| {
            known_account(books, waba_id)?;
            let mut changes = Vec::new();
            changes.extend(violation.map(|kind| webhooks::violated(waba_id, kind)));
            if !restrictions.is_empty() {
                changes.push(webhooks::restricted(waba_id, &restrictions));
            }
            books.account_mut(waba_id).restrictions = restrictions;
            Ok(((), changes))
        })
    }

    /// Switches an account off, says that it will be, or takes it back in.
    pub fn ban_account(&self, waba_id: &str, state: BanState) -> Result<(), Error> {
        let now = self.shared().now();
        self.play(|books| {
            known_account(books, waba_id)?;
            let ban = (state != BanState::Reinstate).then_some(state);
            books.account_mut(waba_id).ban = ban;
            Ok(((), vec![webhooks::banned(waba_id, state, now)]))
        })
    }

    /// Changes how many customers a day a business may write to first, such as `TIER_10K`.
    pub fn set_messaging_limit(&self, business_id: &str, tier: &str) -> Result<(), Error> {
        self.play(|books| {
            let business = books
                .business_mut(business_id)
                .ok_or(Error::UnknownBusiness)?;
            let before = std::mem::replace(&mut business.messaging_limit, tier.to_owned());
            let numbers_max = business.numbers_max();
            let event = if is_less(tier, &before) {
                "DOWNGRADE"
            } else {
                "UPGRADE"
            };
            let mut changes = Vec::new();
            for waba_id in books.accounts_of(business_id) {
                changes.push(webhooks::capability(&waba_id, tier, numbers_max));
                for number in books.numbers_of(&waba_id) {
                    changes.push(webhooks::quality(number, event, tier, Some(&before)));
                }
            }
            Ok(((), changes))
        })
    }

    /// Returns the verification code that is out for a number: what its owner reads in an SMS or
    /// hears in a call.
    pub fn verification_code(&self, phone_number_id: &str) -> Option<String> {
        self.shared().look(|state| {
            let mut phones = state.books.estate.phones.values();
            phones.find_map(|phone| {
                let code = phone.code.as_ref()?;
                (code.phone_number_id == phone_number_id).then(|| code.text.clone())
            })
        })
    }

    /// Says what is special about a number. No webhook tells of it.
    pub fn set_number(&self, phone_number_id: &str, spec: NumberSpec) -> Result<(), Error> {
        self.play(|books| {
            let config = known_number(books, phone_number_id)?;
            if let Some(pin) = spec.pin {
                let phone = books.estate.phone(&config.display_phone_number);
                phone.pin = Some(pin).filter(|pin| !pin.is_empty());
            }
            let number = books.estate.number_mut(phone_number_id);
            number.is_official = spec.is_official.unwrap_or(number.is_official);
            number.is_on_app = spec.is_on_app.unwrap_or(number.is_on_app);
            let say = |known: &mut String, said: Option<String>| {
                if let Some(said) = said {
                    *known = said;
                }
            };
            say(&mut number.code_verification, spec.code_verification);
            say(&mut number.verified_name, spec.verified_name);
            say(&mut number.name_status, spec.name_status);
            Ok(((), Vec::new()))
        })
    }

    /// Approves a number's display name, the new one if there is one. It is shown once the number
    /// is registered again.
    pub fn approve_name(&self, phone_number_id: &str) -> Result<(), Error> {
        self.play(|books| Ok(((), vec![books.review_name(phone_number_id, None)?])))
    }

    /// Turns a number's display name down with a reason such as `NAME_EMPLOYEE_ENTITY_INVALID`.
    pub fn reject_name(&self, phone_number_id: &str, reason: &str) -> Result<(), Error> {
        self.play(|books| {
            let change = books.review_name(phone_number_id, Some(reason))?;
            Ok(((), vec![change]))
        })
    }

    /// Changes how a number's messages are taken. Meta tells when it becomes bad and when it no
    /// longer is; what lies between is seen only by who asks.
    pub fn set_quality(&self, phone_number_id: &str, quality: Quality) -> Result<(), Error> {
        self.play(|books| {
            let config = known_number(books, phone_number_id)?;
            let limit = books.messaging_limit(&config.waba_id);
            let number = books.estate.number_mut(phone_number_id);
            let before = std::mem::replace(&mut number.quality, quality);
            let event = quality_event(before, quality);
            let changes = event.map(|event| webhooks::quality(&config, event, &limit, None));
            Ok(((), changes.into_iter().collect()))
        })
    }

    /// Raises a number's throughput. For as long, at most a minute, it takes nothing (131057).
    pub fn upgrade_throughput(
        &self,
        phone_number_id: &str,
        maintenance: SignedDuration,
    ) -> Result<(), Error> {
        let maintenance = maintenance.clamp(SignedDuration::ZERO, MAINTENANCE_MAX);
        let until = self.shared().now().checked_add(maintenance).ok();
        self.play(|books| {
            let config = known_number(books, phone_number_id)?;
            let limit = books.messaging_limit(&config.waba_id);
            let number = books.estate.number_mut(phone_number_id);
            number.throughput = "HIGH";
            number.maintenance_until = until;
            let change = webhooks::quality(&config, "THROUGHPUT_UPGRADE", &limit, None);
            Ok(((), vec![change]))
        })
    }

    /// Lets a number's owner switch two-step verification off in WhatsApp Manager.
    pub fn disable_two_step(&self, phone_number_id: &str) -> Result<(), Error> {
        self.play(|books| {
            let config = known_number(books, phone_number_id)?;
            let phone = books.estate.phone(&config.display_phone_number);
            phone.pin = None;
            phone.pins_wrong = 0;
            phone.pin_blocked_until = None;
            let events = ["PIN_RESET_REQUEST", "PIN_REQUEST_SUCCESS"];
            let changes = events.map(|event| webhooks::security(&config, event));
            Ok(((), changes.to_vec()))
        })
    }

    /// Takes a number that is shared with the phone app off the API, with a reason such as
    /// `PRIMARY_INACTIVITY`.
    pub fn disconnect_app(
        &self,
        phone_number_id: &str,
        reason: &str,
        initiated_by: &str,
    ) -> Result<(), Error> {
        self.play(|books| {
            let config = known_number(books, phone_number_id)?;
            books
                .estate
                .put_number_status(phone_number_id, "DISCONNECTED");
            let change = webhooks::offboarded(&config, reason, initiated_by);
            Ok(((), vec![change]))
        })
    }

    /// Deletes a number (33 from now on).
    pub fn delete_number(&self, phone_number_id: &str) -> Result<(), Error> {
        self.play(|books| {
            known_number(books, phone_number_id)?;
            books.estate.put_number_status(phone_number_id, "DELETED");
            Ok(((), Vec::new()))
        })
    }

    /// Lets the next management calls of a kind go wrong.
    pub fn upset(&self, upset: Upset) {
        self.shared()
            .change(|state| state.books.estate.upsets.add(upset));
    }

    /// Ends everything that was to go wrong with management calls.
    pub fn clear_upsets(&self) {
        self.shared()
            .change(|state| state.books.estate.upsets.clear());
    }
}

fn known_account(books: &Books, waba_id: &str) -> Result<(), Error> {
    if books.has_account(waba_id) {
        Ok(())
    } else {
        Err(Error::UnknownAccount)
    }
}

fn known_number(books: &Books, phone_number_id: &str) -> Result<NumberConfig, Error> {
    let number = books.live_number(phone_number_id).cloned();
    number.ok_or(Error::UnknownNumber)
}

fn is_less(tier: &str, than: &str) -> bool {
    tier_rank(tier) < tier_rank(than)
}
