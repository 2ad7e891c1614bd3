//! Which time zones a customer may be in: by what the request says, else by the country of the
//! phone, else by that of the user id.
//!
//! A country may have several zones, and nothing says which of them is the customer's: what
//! counts in any of them counts. The database of zones is compiled in, so that every replica,
//! wherever it runs, decides the same.

use std::sync::LazyLock;

use jiff::tz::{TimeZone, TimeZoneDatabase};

use crate::id::Phone;

mod table;

static DATABASE: LazyLock<TimeZoneDatabase> = LazyLock::new(TimeZoneDatabase::bundled);

/// The longest row of the table for a phone: four digits of a country or an area, and four more
/// of an island that shares them.
const PREFIX_LEN_MAX: usize = 7;

/// What says which zones they are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum KnownBy {
    /// The request names the zone.
    Request,
    /// The calling code of the customer's phone.
    Phone,
    /// The country that the customer's user id begins with.
    UserId,
    /// Nothing does.
    #[default]
    Nothing,
}

impl KnownBy {
    /// Returns the word for facts.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Request => "request",
            Self::Phone => "phone",
            Self::UserId => "user_id",
            Self::Nothing => "nothing",
        }
    }
}

/// The time zones that a customer may be in.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Zones {
    zones: Vec<TimeZone>,
    known_by: KnownBy,
}

impl Zones {
    /// Returns the zones of a customer. `named` is the zone that the request names, empty if it
    /// names none; `user_id` is the platform's, which begins with the code of a country (WhatsApp
    /// Cloud API: business-scoped user ids).
    pub fn of(named: &str, phone: Option<&Phone>, user_id: Option<&str>) -> Self {
        let by_request = || zone(named).into_iter().collect();
        let by_phone = || phone.map(|phone| of_phone(phone.digits()));
        let by_user_id = || user_id?.split_once('.').map(|(code, _)| of_country(code));
        [
            (KnownBy::Request, by_request()),
            (KnownBy::Phone, by_phone().unwrap_or_default()),
            (KnownBy::UserId, by_user_id().unwrap_or_default()),
        ]
        .into_iter()
        .find(|(_, zones)| !zones.is_empty())
        .map_or_else(Self::default, |(known_by, zones)| Self { zones, known_by })
    }

    /// Returns the zones; none if nothing is known.
    pub fn all(&self) -> &[TimeZone] {
        &self.zones
    }

    /// Returns the facts that a decision shows.
    pub fn facts(&self) -> Vec<String> {
        let names: Vec<_> = self.zones.iter().filter_map(TimeZone::iana_name).collect();
        vec![
            format!("time_zones={}", names.join(",")),
            format!("time_zones_by={}", self.known_by.as_str()),
        ]
    }
}

/// Returns a zone by its name in the IANA database, such as `Europe/Berlin`.
pub fn zone(name: &str) -> Option<TimeZone> {
    let zone = DATABASE.get(name).ok()?;
    (!zone.is_unknown()).then_some(zone)
}

fn of_phone(digits: &str) -> Vec<TimeZone> {
    let longest = PREFIX_LEN_MAX.min(digits.len());
    (1..=longest)
        .rev()
        .filter_map(|length| digits.get(..length))
        .map(|prefix| {
            let rows = table::COUNTRIES.iter();
            let matching = rows.filter(|row| row.1.split(' ').any(|known| known == prefix));
            matching.flat_map(of_row).collect()
        })
        .find(|zones: &Vec<TimeZone>| !zones.is_empty())
        .unwrap_or_default()
}

fn of_country(code: &str) -> Vec<TimeZone> {
    let row = table::COUNTRIES.iter().find(|row| row.0 == code);
    row.into_iter().flat_map(of_row).collect()
}

fn of_row(row: &table::Row) -> impl Iterator<Item = TimeZone> {
    row.2.split(' ').filter_map(zone)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(zones: &Zones) -> Vec<&str> {
        zones.all().iter().filter_map(TimeZone::iana_name).collect()
    }

    fn by_phone(digits: &str) -> Zones {
        Zones::of("", Some(&Phone::parse(digits).unwrap()), None)
    }

    #[test]
    fn every_row_of_the_table_can_be_used() {
        let mut countries: Vec<&str> = Vec::new();
        for &(country, prefixes, zones) in table::COUNTRIES {
            assert_eq!(country.len(), 2);
            countries.push(country);
            for prefix in prefixes.split(' ') {
                assert!((1..=PREFIX_LEN_MAX).contains(&prefix.len()), "{country}");
                assert!(
                    prefix.bytes().all(|byte| byte.is_ascii_digit()),
                    "{country}"
                );
            }
            for name in zones.split(' ') {
                assert!(zone(name).is_some(), "{country}: {name}");
            }
        }
        assert!(
            countries.is_sorted_by(|one, next| one < next) || {
                countries.sort_unstable();
                countries.windows(2).all(|pair| pair[0] != pair[1])
            }
        );
    }

    #[test]
    fn the_longest_prefix_tells_the_country() {
        for (digits, expected) in [
            ("4915112345678", &["Europe/Berlin"][..]),
            ("351912345678", &["Europe/Lisbon", "Atlantic/Azores"]),
            // Guam is far from the rest of the numbering plan.
            ("16711234567", &["Pacific/Guam"]),
            ("18091234567", &["America/Santo_Domingo"]),
            ("77011234567", &["Asia/Almaty"]),
            ("447700900000", &["Europe/London"]),
        ] {
            let zones = by_phone(digits);
            for name in expected {
                assert!(names(&zones).contains(name), "{digits}: {zones:?}");
            }
        }
        assert_eq!(names(&by_phone("4915112345678")), ["Europe/Berlin"]);
        let america = by_phone("12125550123");
        for name in ["America/New_York", "Pacific/Honolulu", "America/St_Johns"] {
            assert!(names(&america).contains(&name), "{america:?}");
        }
        assert!(!names(&america).contains(&"Pacific/Guam"));
        // A satellite phone may be anywhere.
        assert_eq!(by_phone("881612345678"), Zones::default());
    }

    #[test]
    fn what_the_request_names_goes_before_the_phone_and_that_before_the_user_id() {
        let phone = Phone::parse("4915112345678").unwrap();
        let (phone, user_id) = (Some(&phone), Some("JP.1a2b"));
        for (zones, name, by) in [
            (
                Zones::of("Asia/Dubai", phone, user_id),
                "Asia/Dubai",
                "request",
            ),
            (Zones::of("", phone, user_id), "Europe/Berlin", "phone"),
            (Zones::of("", None, user_id), "Asia/Tokyo", "user_id"),
            (
                Zones::of("", None, Some("JP.ENT.1a2b")),
                "Asia/Tokyo",
                "user_id",
            ),
        ] {
            assert_eq!(names(&zones), [name]);
            let facts = [format!("time_zones={name}"), format!("time_zones_by={by}")];
            assert_eq!(zones.facts(), facts);
        }
        assert!(Zones::of("", None, Some("ZZ.1")).all().is_empty());
        assert!(Zones::of("", None, None).all().is_empty());
    }

    #[test]
    fn a_zone_is_named_as_the_database_has_it() {
        for (name, is_one) in [
            ("Europe/Berlin", true),
            ("UTC", true),
            ("Europe/Atlantis", false),
            ("Etc/Unknown", false),
            ("+02:00", false),
            ("", false),
        ] {
            assert_eq!(zone(name).is_some(), is_one, "{name}");
        }
    }
}
