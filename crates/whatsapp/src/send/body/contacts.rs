//! Cards out of an address book.

use serde_json::{Map, Value, json};

use super::limits::CONTACTS_MAX;
use super::put_texts;
use crate::send::problem::Check;

/// A card. Texts that are empty are left out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Card {
    /// The whole name as it is shown; has to be there.
    pub formatted_name: String,
    /// Given name.
    pub first_name: String,
    /// Middle name.
    pub middle_name: String,
    /// Family name.
    pub last_name: String,
    /// Such as Dr.
    pub prefix: String,
    /// Such as Jr.
    pub suffix: String,
    /// Phones, each with the digits that WhatsApp knows it by, if it does.
    pub phones: Vec<(Labelled, String)>,
    /// Addresses of e-mail.
    pub emails: Vec<Labelled>,
    /// Postal addresses.
    pub addresses: Vec<CardAddress>,
    /// Addresses of the web.
    pub urls: Vec<Labelled>,
    /// Where the person works.
    pub company: String,
    /// The part of it.
    pub department: String,
    /// As what.
    pub title: String,
    /// `YYYY-MM-DD`.
    pub birthday: String,
}

/// Something of which a card may have several, each with a word such as HOME or WORK.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Labelled {
    /// The thing itself.
    pub value: String,
    /// The word.
    pub kind: String,
}

/// A postal address.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CardAddress {
    /// Street and house.
    pub street: String,
    /// City.
    pub city: String,
    /// State or province.
    pub state: String,
    /// Postal code.
    pub zip: String,
    /// Country.
    pub country: String,
    /// Two letters.
    pub country_code: String,
    /// Such as HOME or WORK.
    pub kind: String,
}

pub(super) fn check(cards: &[Card], check: &mut Check<'_>) {
    check.count("cards", cards.len(), 1..=CONTACTS_MAX);
    for (index, card) in cards.iter().enumerate() {
        card.check(&mut check.item("cards", index));
    }
}

pub(super) fn json(cards: &[Card]) -> Value {
    cards.iter().map(Card::json).collect()
}

impl Card {
    fn check(&self, check: &mut Check<'_>) {
        check.filled("formatted_name", &self.formatted_name);
        for (index, (phone, _)) in self.phones.iter().enumerate() {
            check.item("phones", index).filled("phone", &phone.value);
        }
        for (index, email) in self.emails.iter().enumerate() {
            check.item("emails", index).filled("email", &email.value);
        }
        for (index, url) in self.urls.iter().enumerate() {
            check.item("urls", index).filled("url", &url.value);
        }
        if !self.birthday.is_empty() && !is_date(&self.birthday) {
            check.problem("birthday", "must be a date such as 2001-12-31");
        }
    }

    fn json(&self) -> Value {
        let mut name = json!({ "formatted_name": self.formatted_name });
        put_texts(
            &mut name,
            &[
                ("first_name", &self.first_name),
                ("middle_name", &self.middle_name),
                ("last_name", &self.last_name),
                ("prefix", &self.prefix),
                ("suffix", &self.suffix),
            ],
        );
        let mut org = json!({});
        put_texts(
            &mut org,
            &[
                ("company", &self.company),
                ("department", &self.department),
                ("title", &self.title),
            ],
        );
        let phones = self.phones.iter().map(|(phone, wa_id)| {
            let mut object = phone.json("phone");
            put_texts(&mut object, &[("wa_id", wa_id)]);
            object
        });
        let mut card = json!({ "name": name });
        put_texts(&mut card, &[("birthday", &self.birthday)]);
        let lists: [(&str, Vec<Value>); 4] = [
            ("phones", phones.collect()),
            (
                "emails",
                self.emails.iter().map(|it| it.json("email")).collect(),
            ),
            (
                "addresses",
                self.addresses.iter().map(CardAddress::json).collect(),
            ),
            ("urls", self.urls.iter().map(|it| it.json("url")).collect()),
        ];
        for (key, list) in lists {
            if !list.is_empty() {
                card[key] = Value::Array(list);
            }
        }
        if !org.as_object().is_none_or(Map::is_empty) {
            card["org"] = org;
        }
        card
    }
}

impl Labelled {
    fn json(&self, key: &str) -> Value {
        let mut object = json!({ key: self.value });
        put_texts(&mut object, &[("type", &self.kind)]);
        object
    }
}

impl CardAddress {
    fn json(&self) -> Value {
        let mut object = json!({});
        put_texts(
            &mut object,
            &[
                ("street", &self.street),
                ("city", &self.city),
                ("state", &self.state),
                ("zip", &self.zip),
                ("country", &self.country),
                ("country_code", &self.country_code),
                ("type", &self.kind),
            ],
        );
        object
    }
}

fn is_date(text: &str) -> bool {
    text.len() == 10 && text.parse::<jiff::civil::Date>().is_ok()
}
