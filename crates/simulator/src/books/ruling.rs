//! Whether a message is taken: the platforms' rules, by what the books say.

use jiff::Timestamp;

use super::{Books, Sent, tie_key};
use crate::codes::Refusal;
use crate::config::RefusalStyle;
use crate::graph_body::{Content, MessageCall, Recipient};
use crate::records::{Customer, CustomerId, CustomerSpec};
use crate::rules::{self, SmsCall};
use crate::templates::{check_fit, key_of};

impl Books {
    /// Decides on a message from a number the caller was allowed to use. `Ok(Some(code))` accepts
    /// it and will report `failed` with that code.
    pub(crate) fn rule_whatsapp(
        &mut self,
        sent: &mut Sent,
        call: &MessageCall,
        now: Timestamp,
    ) -> Result<Option<i64>, Refusal> {
        let from = sent.message.from.clone();
        let waba_id = self
            .number(&from)
            .map(|number| number.waba_id.clone())
            .unwrap_or_default();
        let is_template = matches!(call.content, Content::Template(_));
        self.check_can_send(&from, is_template, now)?;
        // The account keeps the id of the WABA that it was (Meta: account model evolution).
        if call
            .messaging_account
            .as_ref()
            .is_some_and(|id| *id != waba_id)
        {
            let what = "messaging_account_id is no account of this number";
            return Err(Refusal::new(100, what));
        }
        let customer = self.recipient(&call.recipient)?;
        sent.message.customer = Some(customer.id.clone());
        sent.message.to.clone_from(&customer.phone);
        sent.message.user_id = Some(customer.user_id.clone());
        sent.route.is_by_phone = matches!(call.recipient, Recipient::Phone { .. });
        self.assets
            .check_recipient(&from, customer.phone.as_deref())?;
        let mut fails_later = None;
        if !customer.on_whatsapp {
            self.refuse_or_fail(
                Refusal::new(131_026, "the recipient is not a WhatsApp user"),
                &mut fails_later,
            )?;
        }
        match &call.content {
            Content::Template(template) => {
                let given = &template.components;
                let (template, text) = rules::check_template(&self.templates, &waba_id, template)?;
                let details = self.catalog.known(&key_of(template));
                if let Some(made_of) = details.and_then(|it| it.components.as_ref()) {
                    check_fit(made_of, given)?;
                }
                rules::check_template_recipient(
                    template.category,
                    customer.marketing_stopped,
                    !sent.route.is_by_phone,
                )?;
                sent.message.text = text;
                sent.route.category = Some(template.category);
            }
            Content::Text(_) | Content::Other(_) => {
                let last = self
                    .ties
                    .get(&tie_key(&from, &customer.id))
                    .and_then(|tie| tie.last_qualifying_at);
                if fails_later.is_none() && !rules::is_window_open(last, now, self.window) {
                    self.refuse_or_fail(
                        Refusal::new(
                            131_047,
                            "more than the window has passed since the customer last wrote to this number",
                        ),
                        &mut fails_later,
                    )?;
                }
            }
        }
        self.admit(&from, &customer.id, now)?;
        let free_for = self.free_entry_point;
        let tie = self.tie(&from, &customer.id);
        tie.knows_phone |= sent.route.is_by_phone;
        // What fails never replied to anybody.
        if fails_later.is_none() {
            sent.route.free = tie.entry_point.replied(now, free_for);
        }
        Ok(fails_later)
    }

    fn refuse_or_fail(
        &self,
        refusal: Refusal,
        fails_later: &mut Option<i64>,
    ) -> Result<(), Refusal> {
        match self.refusal {
            RefusalStyle::Sync => Err(refusal),
            RefusalStyle::Async => {
                *fails_later = Some(refusal.code);
                Ok(())
            }
        }
    }

    fn admit(
        &mut self,
        phone_number_id: &str,
        customer: &CustomerId,
        now: Timestamp,
    ) -> Result<(), Refusal> {
        if let Some(limit) = self.limits.messages_per_second
            && !self
                .throughput
                .entry(phone_number_id.to_owned())
                .or_default()
                .admit(now, limit, false)
        {
            return Err(Refusal::new(
                130_429,
                "the number's message throughput has been reached",
            ));
        }
        if let Some(limit) = self.limits.pair
            && !self.tie(phone_number_id, customer).pair.admit(now, limit)
        {
            return Err(Refusal::new(
                131_056,
                "too many messages from this number to this customer",
            ));
        }
        Ok(())
    }

    fn recipient(&mut self, recipient: &Recipient) -> Result<Customer, Refusal> {
        match recipient {
            Recipient::UserId(user_id) => self
                .customer(user_id)
                .cloned()
                .ok_or_else(|| Refusal::new(131_026, "the user id belongs to nobody here")),
            Recipient::Phone { digits, .. } => {
                if let Some(customer) = self.customer(digits) {
                    return Ok(customer.clone());
                }
                let stranger = CustomerSpec {
                    on_whatsapp: self.strangers_on_whatsapp,
                    ..CustomerSpec::with_phone(digits, "")
                };
                self.put_customer(stranger)
                    .ok()
                    .and_then(|id| self.customer(id.as_str()).cloned())
                    .ok_or_else(|| Refusal::new(131_000, "the books are full"))
            }
        }
    }

    /// Decides on an SMS.
    pub(crate) fn rule_sms(&self, call: &SmsCall) -> Result<Option<i64>, Refusal> {
        rules::check_sms(call, &self.sms_senders)?;
        let to = rules::digits(call.to.as_deref().unwrap_or_default());
        let sender = call.from.as_deref().map(rules::digits);
        // A messaging service shares its opt-outs among its senders.
        let stopped = self.sms_stopped.iter().any(|(stopped_sender, phone)| {
            *phone == to
                && sender
                    .as_ref()
                    .is_none_or(|sender| sender == stopped_sender)
        });
        if stopped {
            return Err(Refusal::new(
                21_610,
                "the recipient has unsubscribed from messages of this sender",
            ));
        }
        Ok(None)
    }
}
