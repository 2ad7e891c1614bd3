//! Contact cards that customers share.

use serde_json::Value;

use crate::webhook::read;

/// A card out of somebody's address book.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ContactCard {
    /// The whole name as it is shown.
    pub formatted_name: Option<String>,
    /// Given name.
    pub first_name: Option<String>,
    /// Name between.
    pub middle_name: Option<String>,
    /// Family name.
    pub last_name: Option<String>,
    /// Such as Dr.
    pub prefix: Option<String>,
    /// Such as Jr.
    pub suffix: Option<String>,
    /// Phones.
    pub phones: Vec<CardPhone>,
    /// Mail addresses.
    pub emails: Vec<CardEmail>,
    /// Postal addresses.
    pub addresses: Vec<CardAddress>,
    /// Pages.
    pub urls: Vec<CardUrl>,
    /// `org.company`.
    pub company: Option<String>,
    /// `org.department`.
    pub department: Option<String>,
    /// `org.title`.
    pub title: Option<String>,
    /// As sent, `YYYY-MM-DD` by the documents.
    pub birthday: Option<String>,
    /// The card as vCard, where it was shared from an address book.
    pub vcard: Option<String>,
    /// `contact_request` when the customer shared their own number on request, or `other`.
    pub origin: Option<String>,
}

/// A phone on a [`ContactCard`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CardPhone {
    /// As written on the card.
    pub phone: Option<String>,
    /// WhatsApp's form of it, if the person uses WhatsApp.
    pub wa_id: Option<String>,
    /// Such as `CELL`.
    pub kind: Option<String>,
    /// The person's business-scoped user id.
    pub user_id: Option<String>,
}

/// A mail address on a [`ContactCard`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CardEmail {
    /// The address.
    pub email: Option<String>,
    /// Such as `WORK`.
    pub kind: Option<String>,
}

/// A postal address on a [`ContactCard`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CardAddress {
    /// Street and house.
    pub street: Option<String>,
    /// Town.
    pub city: Option<String>,
    /// State or region.
    pub state: Option<String>,
    /// Postal code.
    pub zip: Option<String>,
    /// Country.
    pub country: Option<String>,
    /// Country in two letters.
    pub country_code: Option<String>,
    /// Such as `HOME`.
    pub kind: Option<String>,
}

/// A page on a [`ContactCard`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CardUrl {
    /// The page.
    pub url: Option<String>,
    /// Such as `WORK`.
    pub kind: Option<String>,
}

/// Reads the cards of a message; a single card counts as an array of one.
pub(super) fn cards(object: &Value) -> Vec<ContactCard> {
    match object {
        Value::Array(cards) => cards.iter().filter(|it| it.is_object()).map(card).collect(),
        Value::Object(_) => vec![card(object)],
        _ => Vec::new(),
    }
}

fn card(raw: &Value) -> ContactCard {
    let name = raw.get("name").unwrap_or(&Value::Null);
    let org = raw.get("org").unwrap_or(&Value::Null);
    ContactCard {
        formatted_name: read::text(name, "formatted_name"),
        first_name: read::text(name, "first_name"),
        middle_name: read::text(name, "middle_name"),
        last_name: read::text(name, "last_name"),
        prefix: read::text(name, "prefix"),
        suffix: read::text(name, "suffix"),
        phones: each(raw, "phones", |it| CardPhone {
            phone: read::text(it, "phone"),
            wa_id: read::text(it, "wa_id"),
            kind: read::text(it, "type"),
            user_id: read::text(it, "user_id"),
        }),
        emails: each(raw, "emails", |it| CardEmail {
            email: read::text(it, "email"),
            kind: read::text(it, "type"),
        }),
        addresses: each(raw, "addresses", |it| CardAddress {
            street: read::text(it, "street"),
            city: read::text(it, "city"),
            state: read::text(it, "state"),
            zip: read::text(it, "zip"),
            country: read::text(it, "country"),
            country_code: read::text(it, "country_code"),
            kind: read::text(it, "type"),
        }),
        urls: each(raw, "urls", |it| CardUrl {
            url: read::text(it, "url"),
            kind: read::text(it, "type"),
        }),
        company: read::text(org, "company"),
        department: read::text(org, "department"),
        title: read::text(org, "title"),
        birthday: read::text(raw, "birthday"),
        vcard: read::text(raw, "vcard"),
        origin: read::text(raw, "origin"),
    }
}

fn each<T>(raw: &Value, key: &str, read: impl Fn(&Value) -> T) -> Vec<T> {
    read::objects(raw, key).into_iter().map(read).collect()
}
