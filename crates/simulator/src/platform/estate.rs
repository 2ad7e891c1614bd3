//! The businesses, accounts and numbers that there are, and who may touch them.
//!
//! A number that the configuration names needs no entry: it is connected, its account approved and
//! paid for, its business verified, until somebody says otherwise.

use std::collections::{BTreeMap, HashMap};

use jiff::Timestamp;
use secrecy::{ExposeSecret as _, SecretString};

use super::records::{
    Account, AccountSpec, Business, BusinessSpec, Grant, Number, Phone, Review, SignUpCode,
    Verification,
};
use super::upsets::Upsets;
use crate::books::Books;
use crate::codes::Refusal;
use crate::config::NumberConfig;
use crate::rules::digits;

/// The customers a day that a verified business may write to first, unless said otherwise.
const TIER_VERIFIED: &str = "TIER_2K";
/// The same of one that is not verified (Meta: messaging limits).
const TIER_UNVERIFIED: &str = "TIER_250";

/// Meta's side of the books.
#[derive(Default)]
pub(crate) struct Estate {
    pub(crate) upsets: Upsets,
    pub(super) businesses: BTreeMap<String, Business>,
    pub(super) accounts: BTreeMap<String, Account>,
    pub(super) numbers: HashMap<String, Number>,
    pub(super) phones: HashMap<String, Phone>,
    pub(super) sign_up_codes: HashMap<String, SignUpCode>,
    grants: HashMap<String, Grant>,
    minted: u64,
}

impl Estate {
    /// Returns an id that nothing has yet.
    pub(super) fn mint(&mut self, prefix: &str) -> String {
        self.minted += 1;
        format!("{prefix}{:012}", self.minted)
    }

    /// Gives a token an account.
    pub(crate) fn grant(&mut self, token: &str, waba_id: &str) {
        let grant = self.grants.entry(token.to_owned()).or_default();
        grant.wabas.insert(waba_id.to_owned());
    }

    /// Returns the accounts that a token was given.
    pub(crate) fn granted(&self, token: &str) -> impl Iterator<Item = &str> {
        let grant = self.grants.get(token);
        grant
            .into_iter()
            .flat_map(|grant| grant.wabas.iter().map(String::as_str))
    }

    /// Returns true if a token was given an account.
    pub(crate) fn may(&self, token: &str, waba_id: &str) -> bool {
        self.grants
            .get(token)
            .is_some_and(|grant| grant.wabas.contains(waba_id))
    }

    /// Returns true if anything was given to a token.
    pub(crate) fn knows(&self, token: &str) -> bool {
        self.grants.contains_key(token)
    }

    /// Returns what is known of a number in an account.
    pub(crate) fn number(&self, phone_number_id: &str) -> Number {
        self.numbers
            .get(phone_number_id)
            .cloned()
            .unwrap_or_default()
    }

    /// Returns a number in an account, to change.
    pub(super) fn number_mut(&mut self, phone_number_id: &str) -> &mut Number {
        self.numbers.entry(phone_number_id.to_owned()).or_default()
    }

    /// Says a number's status.
    pub(crate) fn put_number_status(&mut self, phone_number_id: &str, status: &str) {
        status.clone_into(&mut self.number_mut(phone_number_id).status);
    }

    pub(super) fn phone(&mut self, display_phone_number: &str) -> &mut Phone {
        self.phones.entry(digits(display_phone_number)).or_default()
    }
}

impl Books {
    /// Returns true if there is such an account.
    pub(crate) fn has_account(&self, waba_id: &str) -> bool {
        self.estate.accounts.contains_key(waba_id)
            || self.numbers.iter().any(|number| number.waba_id == waba_id)
    }

    /// Returns an account; one that was never mentioned is approved and paid for.
    pub(super) fn account(&self, waba_id: &str) -> Account {
        let known = self.estate.accounts.get(waba_id).cloned();
        known.unwrap_or_else(|| Account {
            business_id: self.assets.portfolio_id.clone(),
            name: "Simulated business account".to_owned(),
            review: Review::Approved,
            has_payment: true,
            restrictions: Vec::new(),
            ban: None,
        })
    }

    pub(super) fn account_mut(&mut self, waba_id: &str) -> &mut Account {
        let account = self.account(waba_id);
        let accounts = &mut self.estate.accounts;
        accounts.entry(waba_id.to_owned()).or_insert(account)
    }

    /// Returns a business; the simulator's own is verified unless said otherwise.
    pub(super) fn business(&self, business_id: &str) -> Option<Business> {
        let known = self.estate.businesses.get(business_id).cloned();
        known.or_else(|| {
            (business_id == self.assets.portfolio_id).then(|| Business {
                name: "Simulated portfolio".to_owned(),
                verification: Verification::Verified,
                messaging_limit: TIER_VERIFIED.to_owned(),
            })
        })
    }

    pub(super) fn business_mut(&mut self, business_id: &str) -> Option<&mut Business> {
        let business = self.business(business_id)?;
        let businesses = &mut self.estate.businesses;
        Some(businesses.entry(business_id.to_owned()).or_insert(business))
    }

    pub(super) fn is_business_verified(&self, waba_id: &str) -> bool {
        let business = self.business(&self.account(waba_id).business_id);
        business.is_some_and(|business| business.verification == Verification::Verified)
    }

    /// Puts a business into the books, or replaces the one with its id.
    pub(super) fn put_business(&mut self, spec: BusinessSpec) -> String {
        let id = spec.id.unwrap_or_else(|| self.estate.mint("91"));
        let limit = match spec.verification {
            Verification::Verified => TIER_VERIFIED,
            _ => TIER_UNVERIFIED,
        };
        let business = Business {
            name: spec.name,
            verification: spec.verification,
            messaging_limit: limit.to_owned(),
        };
        self.estate.businesses.insert(id.clone(), business);
        id
    }

    /// Puts an account into the books, or replaces the one with its id.
    pub(super) fn put_account(&mut self, spec: AccountSpec) -> String {
        let id = spec.waba_id.unwrap_or_else(|| self.estate.mint("81"));
        let owner = spec
            .business_id
            .unwrap_or_else(|| self.assets.portfolio_id.clone());
        let account = Account {
            business_id: owner,
            name: spec.name,
            review: spec.review,
            has_payment: spec.has_payment,
            restrictions: Vec::new(),
            ban: None,
        };
        self.estate.accounts.insert(id.clone(), account);
        if spec.is_subscribed {
            self.assets.subscribe(&id);
        } else {
            self.assets.unsubscribe(&id);
        }
        id
    }

    /// Puts a number into an account.
    pub(super) fn put_number_into(&mut self, waba_id: &str, phone: &str, number: Number) -> String {
        let id = self.estate.mint("71");
        // Nobody has this token: who may use the number is said by grants.
        let token = SecretString::from(uuid::Uuid::new_v4().simple().to_string());
        self.numbers.push(NumberConfig {
            phone_number_id: id.clone(),
            display_phone_number: format!("+{}", digits(phone)),
            waba_id: waba_id.to_owned(),
            token,
        });
        self.estate.numbers.insert(id.clone(), number);
        id
    }

    /// Finds a number that is still in its account.
    pub(crate) fn live_number(&self, phone_number_id: &str) -> Option<&NumberConfig> {
        let number = self.number(phone_number_id)?;
        (!self.estate.number(phone_number_id).is_gone()).then_some(number)
    }

    /// Returns the id that a number has now, if it moved.
    pub(crate) fn present_id(&self, phone_number_id: &str) -> String {
        let mut id = phone_number_id.to_owned();
        // A number moves a few times in its life; a circle would be a bug of the books.
        for _ in 0..100 {
            match self.estate.number(&id).moved_to {
                Some(next) => id = next,
                None => break,
            }
        }
        id
    }

    /// Returns the numbers of an account that are still there.
    pub(crate) fn numbers_of(&self, waba_id: &str) -> Vec<&NumberConfig> {
        let here = |number: &&NumberConfig| {
            number.waba_id == waba_id && !self.estate.number(&number.phone_number_id).is_gone()
        };
        self.numbers.iter().filter(here).collect()
    }

    /// Returns true if a token is good for an account: it was given it, or is one of its numbers'.
    pub(crate) fn may_touch(&self, token: &str, waba_id: &str) -> bool {
        self.estate.may(token, waba_id)
            || self
                .numbers
                .iter()
                .any(|number| number.waba_id == waba_id && number.token.expose_secret() == token)
    }

    /// Returns the accounts of a business.
    pub(super) fn accounts_of(&self, business_id: &str) -> Vec<String> {
        let mut wabas: Vec<String> = self.estate.accounts.keys().cloned().collect();
        wabas.extend(self.numbers.iter().map(|number| number.waba_id.clone()));
        wabas.sort_unstable();
        wabas.dedup();
        wabas.retain(|waba_id| self.account(waba_id).business_id == business_id);
        wabas
    }

    /// Checks that an account's owner may see a business.
    pub(super) fn may_see_business(&self, token: &str, business_id: &str) -> bool {
        let accounts = self.accounts_of(business_id);
        accounts
            .iter()
            .any(|waba_id| self.may_touch(token, waba_id))
    }

    /// Checks that an account may have one number more.
    pub(super) fn check_room(&self, waba_id: &str, now: Timestamp) -> Result<(), Refusal> {
        let account = self.account(waba_id);
        let blocked = "RESTRICTED_ADD_PHONE_NUMBER_ACTION";
        if account.restrictions.iter().any(|it| it.holds(blocked, now)) {
            return Err(Refusal::new(368, "the account may add no numbers for now"));
        }
        let Some(business) = self.business(&account.business_id) else {
            return Ok(());
        };
        let wabas = self.accounts_of(&account.business_id);
        let count: usize = wabas.iter().map(|id| self.numbers_of(id).len()).sum();
        if count < business.numbers_max() {
            return Ok(());
        }
        let told = "the business has as many phone numbers as it may have";
        Err(Refusal::new(200, told).subcode(1_349_175))
    }
}
