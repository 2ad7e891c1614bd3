//! Which way a message goes now: what stands on the log is read, and the rules decide.
//!
//! Reads and decides; what follows from a decision is done elsewhere.

use casement_domain::halt::{Sending, Stop};
use casement_domain::id::{CustomerId, Phone, PortfolioId};
use casement_domain::inbound::Addresses;
use casement_domain::money::Costs;
use casement_domain::routing::{self, Decision, Input, Sender};
use casement_domain::sms::calling_code;
use casement_domain::window::Facts;
use casement_event::convert::{ConvertError, inbound::read_addresses};
use casement_event::v1;
use casement_event_log::customers::{self, Holder, ResolveError};
use jiff::Timestamp;

use crate::aggregate::Loaded;
use crate::engine::{DriveError, Engine};
use crate::halts::orders;
use crate::money::owner;
use crate::{compose, consent, nudge, policies, sensitive, sms, standing, templates};

/// A decision, and what carrying it out needs.
pub(crate) struct Routed {
    pub(crate) decision: Decision,
    pub(crate) addresses: Addresses,
    /// What was true about the conversation.
    pub(crate) facts: Facts,
    /// Who the customer is by now.
    pub(crate) customer: CustomerId,
    /// What the message belongs to.
    pub(crate) sending: Sending,
    /// What stops a gateway that goes before the one that is chosen.
    pub(crate) passed_over: Option<Stop>,
    /// What it knew of what the customer allows.
    pub(crate) consent: consent::Rested,
}

impl Engine {
    /// Looks up whose a phone is, if one was asked for.
    async fn holder(
        &self,
        portfolio: &PortfolioId,
        phone: Option<&Phone>,
        own: &CustomerId,
    ) -> Result<Option<Holder>, ResolveError> {
        match phone {
            Some(phone) => customers::holder(&self.log, &self.tokens, portfolio, phone, own)
                .await
                .map(Some),
            None => Ok(None),
        }
    }

    /// Decides which way a message goes, on what stands on the log now. One halt may be left out.
    pub(crate) async fn route(
        &self,
        of: &Loaded,
        account: &v1::Number,
        without_halt: Option<&str>,
        now: Timestamp,
    ) -> Result<Routed, DriveError> {
        let (request, key) = (&of.request, of.key());
        let portfolio = PortfolioId::parse(&account.portfolio_id).map_err(ConvertError::Id)?;
        let (log, directory) = (&self.log, &self.directory);
        let asked = read_addresses(&request.addresses.clone().unwrap_or_default())?;
        // All at once: each of them waits for the broker.
        let own = std::slice::from_ref(&key.customer);
        let (followed, mut allowed, asked_holder) = tokio::join!(
            self.recent.follow(log, directory, &portfolio, &key),
            consent::read(log, &portfolio, own),
            self.holder(&portfolio, asked.phone.as_ref(), &key.customer),
        );
        let (present, ids) = followed?;
        if let [_, later @ ..] = ids.as_slice()
            && !later.is_empty()
        {
            let theirs = Box::pin(consent::read(log, &portfolio, later)).await?;
            allowed = allowed.map(|own| own.join(theirs));
        }
        let allowed = allowed?;
        let mut addresses = asked.or(&present.addresses);
        if let Some(phone) = &addresses.phone {
            let holder = if let Some(holder) = asked_holder? {
                holder
            } else {
                customers::holder(log, &self.tokens, &portfolio, phone, &key.customer).await?
            };
            // It may be somebody else's since the customer showed it, or the message was accepted.
            if !holder.allows(&ids, asked.phone.is_some()) {
                addresses.phone = None;
            }
        }
        let content = request.content.clone().unwrap_or_default();
        let template = content.template.as_ref().map(|asked| {
            let known = self
                .directory
                .template(&account.waba_id, &asked.name, &asked.language)
                // It may have been taken from the brand since.
                .filter(|_| self.directory.may_use(account, &asked.name));
            let is_sealed = request.sealed_content.is_some();
            templates::seen(asked, known, addresses.phone.as_ref(), is_sealed)
        });
        let senders = self.caller.sms.senders();
        let sending = orders::sending(of, account, senders);
        let sms_offer = sms::offer(senders, &content, account, addresses.phone.as_ref());
        let mut stops = self.halts.stops(&sending, account, without_halt, now);
        let customer = ids.last().unwrap_or(&key.customer);
        if !present.facts.is_open(&self.rules.window, now)
            && let Some(stop) = self.budgets.stop(account, customer, &self.directory, now)
        {
            stops = stops.with_template(stop);
        }
        let named = &self.rules.routing;
        let policy = named.find(&request.policy, of.number(), &account.brand_id);
        let nudging = of.is_nudge().then(|| nudge::policy(policy));
        let policy = nudging.as_ref().unwrap_or(policy);
        let purpose = consent::purpose(request);
        let asserted = consent::asserted(request)?;
        let standing = consent::standing(&allowed, asserted.as_ref(), purpose.into());
        let opt_in = self.rules.opt_in.of(&account.brand_id, purpose);
        let input = Input {
            policy,
            zones: &policies::zones(policy, &request.time_zone, &addresses),
            window: &present.facts,
            window_policy: &self.rules.window,
            purpose,
            has_free_form: content.free_form.is_some(),
            template: template.as_ref(),
            sms: sensitive::sms_size(request)
                .or_else(|| compose::sms_text(&content).map(compose::sms_size)),
            has_phone: addresses.phone.is_some(),
            calling_code: addresses.phone.as_ref().map(calling_code),
            sms_offer: &sms_offer,
            exhausted_gateways: &of.message.exhausted_gateways,
            has_whatsapp_address: compose::recipient(&addresses).is_some(),
            sender: Sender {
                has_whatsapp: !account.phone_number_id.is_empty() && account.token.is_some(),
                gone: standing::gone(&self.directory, account),
            },
            consent: &standing,
            opt_in: &opt_in,
            exhausted: &of.message.ruled_out(),
            stops: &stops,
            costs: &Costs::default(),
            hold: self.queue(of),
            ready_at: self
                .rates
                .ready_at(
                    &of.context.id,
                    &key,
                    self.priority(of),
                    account.throughput,
                    now,
                )
                .max(self.halts.ready_at(&sending, now)),
            expires_at: of.message.expires_at,
        };
        self.money.prove(&self.log).await?;
        let costs = self.money.costs_of(&input, &owner(of), &addresses, now);
        let input = Input {
            costs: &costs,
            ..input
        };
        let decision = routing::route(&input, now);
        let passed_over = sms::passed_over(&decision, &input).cloned();
        let customer = ids.last().cloned().unwrap_or(key.customer);
        Ok(Routed {
            decision,
            addresses,
            facts: present.facts,
            customer,
            sending,
            passed_over,
            consent: consent::Rested::new(portfolio, ids, &allowed, opt_in.need),
        })
    }
}
