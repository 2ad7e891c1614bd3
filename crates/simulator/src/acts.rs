//! What customers do: write, react, call, change their minds.
//!
//! Notes it in the books and publishes the webhook that tells of it. When the webhook arrives is
//! the outbox's business.

use jiff::Timestamp;
use uuid::Uuid;

use crate::ads::Device;
use crate::books::{mint_sms_sid, mint_wamid};
use crate::config::NumberConfig;
use crate::error::Error;
use crate::handle::Handle;
use crate::outbox::{self, Parcel};
use crate::payload::{self, Change, Shown};
use crate::records::{
    Channel, Customer, CustomerId, CustomerSpec, InboundContent, InboundSpec, InboundVia,
};
use crate::reports;
use crate::rules::digits;
use crate::shared::State;
use crate::{generic, vonage};

impl Handle {
    /// Puts a customer on WhatsApp into the books, or renames the one with that phone or BSUID.
    pub fn customer(
        &self,
        phone: Option<&str>,
        user_id: Option<&str>,
        name: &str,
    ) -> Result<CustomerId, Error> {
        self.put_customer(CustomerSpec {
            phone: phone.map(str::to_owned),
            user_id: user_id.map(str::to_owned),
            name: name.to_owned(),
            on_whatsapp: true,
            shares_phone: true,
        })
    }

    /// Puts a customer into the books, or changes the one with that phone or BSUID.
    pub fn put_customer(&self, spec: CustomerSpec) -> Result<CustomerId, Error> {
        self.shared().change(|state| state.books.put_customer(spec))
    }

    /// Returns the customers in the books, in no order.
    pub fn customers(&self) -> Vec<Customer> {
        self.shared()
            .look(|state| state.books.customers().cloned().collect())
    }

    /// Returns when, by the simulator's own books, the window ends or ended; `None` if the
    /// customer never opened one.
    pub fn window_ends_at(
        &self,
        customer: &CustomerId,
        phone_number_id: &str,
    ) -> Result<Option<Timestamp>, Error> {
        self.shared().look(|state| {
            let customer = known_customer(state, customer)?;
            Ok(state.books.window_ends_at(phone_number_id, &customer.id))
        })
    }

    /// Lets a customer send a text now; returns its `wamid`.
    pub fn says(
        &self,
        customer: &CustomerId,
        phone_number_id: &str,
        text: &str,
    ) -> Result<String, Error> {
        self.inbound(&text_from(customer, phone_number_id, text))
    }

    /// Lets a customer have sent a text at another time, which the webhook and the books state.
    pub fn says_at(
        &self,
        customer: &CustomerId,
        phone_number_id: &str,
        text: &str,
        at: Timestamp,
    ) -> Result<String, Error> {
        self.inbound(&InboundSpec {
            at: Some(at),
            ..text_from(customer, phone_number_id, text)
        })
    }

    /// Lets a customer send a text while another responder owns the thread.
    pub fn says_on_standby(
        &self,
        customer: &CustomerId,
        phone_number_id: &str,
        text: &str,
    ) -> Result<String, Error> {
        self.inbound(&InboundSpec {
            via: InboundVia::Standby,
            ..text_from(customer, phone_number_id, text)
        })
    }

    /// Lets a customer react to a message, or take the reaction back with no emoji.
    pub fn reacts(
        &self,
        customer: &CustomerId,
        phone_number_id: &str,
        message_id: &str,
        emoji: Option<&str>,
    ) -> Result<String, Error> {
        self.inbound(&InboundSpec {
            content: InboundContent::Reaction {
                message_id: message_id.to_owned(),
                emoji: emoji.map(str::to_owned),
            },
            ..text_from(customer, phone_number_id, "")
        })
    }

    /// Lets a customer send anything; returns its `wamid`.
    pub fn inbound(&self, spec: &InboundSpec) -> Result<String, Error> {
        let wamid = mint_wamid();
        // Whoever writes to a phone reaches it wherever it has moved.
        let spec = &InboundSpec {
            phone_number_id: self.present_id(&spec.phone_number_id),
            ..spec.clone()
        };
        self.act(&spec.customer, &spec.phone_number_id, |state, at, who| {
            let at = spec.at.unwrap_or(at);
            let opens = opens_window(&spec.content, state.books.reactions_open_window);
            let books = &mut state.books;
            books.note_inbound(&spec.phone_number_id, &who.id, at, opens);
            if spec.referral.is_some() {
                books.note_referral(&spec.phone_number_id, &who.id, spec.device, at);
            }
            let shown = shown(state, &spec.phone_number_id, who);
            let number = known_number(state, &spec.phone_number_id)?;
            Ok(payload::inbound(number, shown, spec, &wamid, at))
        })?;
        Ok(wamid)
    }

    /// Lets a customer call the business; returns the call's id. Opens the window, answered or not.
    pub fn rings(&self, customer: &CustomerId, phone_number_id: &str) -> Result<String, Error> {
        let call_id = format!("wacid.{}", Uuid::new_v4().simple());
        let phone_number_id = &self.present_id(phone_number_id);
        self.act(customer, phone_number_id, |state, at, who| {
            state.books.note_inbound(phone_number_id, &who.id, at, true);
            let shown = shown(state, phone_number_id, who);
            let number = known_number(state, phone_number_id)?;
            Ok(payload::call(number, shown, &call_id, at))
        })?;
        Ok(call_id)
    }

    /// Lets a customer stop or resume marketing messages.
    pub fn prefers_marketing(
        &self,
        customer: &CustomerId,
        phone_number_id: &str,
        wanted: bool,
    ) -> Result<(), Error> {
        let phone_number_id = &self.present_id(phone_number_id);
        self.act(customer, phone_number_id, |state, at, who| {
            if let Some(known) = state.books.customer_mut(who.id.as_str()) {
                known.marketing_stopped = !wanted;
            }
            let shown = shown(state, phone_number_id, who);
            let number = known_number(state, phone_number_id)?;
            Ok(payload::preference(number, shown, !wanted, at))
        })
    }

    /// Lets a phone send an SMS to one of the account's senders; returns its sid. STOP and START
    /// do what they say.
    pub fn texts(&self, phone: &str, sender: &str, text: &str) -> Result<String, Error> {
        let sid = mint_sms_sid();
        let phone = format!("+{}", digits(phone));
        let param = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        let params = vec![
            param("AccountSid", &self.shared().twilio.account_sid),
            param("ApiVersion", "2010-04-01"),
            param("Body", text),
            param("From", &phone),
            param("MessageSid", &sid),
            param("NumMedia", "0"),
            param("NumSegments", "1"),
            param("SmsSid", &sid),
            param("SmsStatus", "received"),
            param("To", sender),
        ];
        self.shared().change(|state| {
            state.books.note_sms(&phone, sender, text);
            match self.shared().twilio.inbound_url.clone() {
                None => Ok(()),
                Some(url) => {
                    let lane = phone.clone();
                    let parcel = Parcel::Form { url, params, lane };
                    outbox::publish(self.shared(), state, parcel, false)
                }
            }
        })?;
        Ok(sid)
    }

    /// Lets a phone send an SMS to a sender at one of the other gateways; returns its id. STOP and
    /// START do what they say.
    pub fn texts_by(
        &self,
        channel: Channel,
        phone: &str,
        sender: &str,
        text: &str,
    ) -> Result<String, Error> {
        if !matches!(channel, Channel::Vonage | Channel::Generic) {
            return self.texts(phone, sender, text);
        }
        let id = Uuid::new_v4().to_string();
        self.shared().change(|state| {
            state.books.note_sms(phone, sender, text);
            let shared = self.shared();
            let parcel = if channel == Channel::Vonage {
                vonage::inbound(shared, &id, phone, sender, text)
            } else {
                generic::inbound(shared, &id, phone, sender, text)
            };
            parcel.map_or(Ok(()), |parcel| {
                outbox::publish(shared, state, parcel, false)
            })
        })?;
        Ok(id)
    }

    fn present_id(&self, phone_number_id: &str) -> String {
        self.shared()
            .look(|state| state.books.present_id(phone_number_id))
    }

    /// Does something as a customer towards a number and publishes the change it makes.
    fn act(
        &self,
        customer: &CustomerId,
        phone_number_id: &str,
        act: impl FnOnce(&mut State, Timestamp, &Customer) -> Result<Change, Error>,
    ) -> Result<(), Error> {
        self.shared().change(|state| {
            known_number(state, phone_number_id)?;
            let who = known_customer(state, customer)?.clone();
            let now = self.shared().now();
            state.books.count_inbound(phone_number_id, now);
            let change = act(state, now, &who)?;
            let lane = reports::lane(phone_number_id, &who.id);
            outbox::publish(self.shared(), state, Parcel::Change { change, lane }, false)
        })
    }
}

fn text_from(customer: &CustomerId, phone_number_id: &str, text: &str) -> InboundSpec {
    InboundSpec {
        customer: customer.clone(),
        phone_number_id: phone_number_id.to_owned(),
        content: InboundContent::Text(text.to_owned()),
        at: None,
        via: InboundVia::Messages,
        reply_to: None,
        referral: None,
        device: Device::default(),
    }
}

/// Says whether a message opens the window. Meta's pages leave reactions, edits and revocations
/// open; `system` messages are the platform's own.
fn opens_window(content: &InboundContent, reactions_open: bool) -> bool {
    match content {
        InboundContent::Text(_) => true,
        InboundContent::Reaction { .. } => reactions_open,
        InboundContent::Other { kind, .. } => match kind.as_str() {
            "system" => false,
            "reaction" | "edit" | "revoke" => reactions_open,
            _ => true,
        },
    }
}

fn known_customer<'a>(state: &'a State, customer: &CustomerId) -> Result<&'a Customer, Error> {
    state
        .books
        .customer(customer.as_str())
        .ok_or(Error::UnknownCustomer)
}

fn known_number<'a>(state: &'a State, phone_number_id: &str) -> Result<&'a NumberConfig, Error> {
    state
        .books
        .number(phone_number_id)
        .ok_or(Error::UnknownNumber)
}

fn shown<'a>(state: &State, phone_number_id: &str, customer: &'a Customer) -> Shown<'a> {
    Shown {
        customer,
        shows_phone: state.books.shows_phone(phone_number_id, customer),
    }
}
