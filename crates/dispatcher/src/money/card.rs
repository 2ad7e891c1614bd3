//! Reads a rate card from its file, with errors that name the line.

use casement_domain::money::{
    Category, Currency, ELSEWHERE, Prices, Rate, RateCard, SmsRate, Terms, parse_micros,
};
use jiff::civil::Date;
use serde::Deserialize;
use toml::Spanned;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    currency: Spanned<String>,
    #[serde(default)]
    rates: Vec<Spanned<RateRow>>,
    #[serde(default)]
    sms: Vec<Spanned<SmsRow>>,
    #[serde(default)]
    terms: Vec<Spanned<TermsRow>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct RateRow {
    from: String,
    country: String,
    service: Option<String>,
    utility: Option<String>,
    authentication: Option<String>,
    authentication_international: Option<String>,
    marketing: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SmsRow {
    from: String,
    country: String,
    #[serde(default = "elsewhere")]
    gateway: String,
    segment: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TermsRow {
    from: String,
    service_is_free: bool,
    utility_in_window_is_free: bool,
    free_service_messages: u64,
}

fn elsewhere() -> String {
    ELSEWHERE.to_owned()
}

/// What is wrong, and where: collected, so that one reading tells everything.
struct Problems<'a> {
    text: &'a str,
    found: Vec<String>,
}

impl Problems<'_> {
    /// `start` is the byte at which the entry begins.
    fn tell(&mut self, start: usize, entry: &str, problem: &str) {
        let line = self
            .text
            .get(..start)
            .unwrap_or_default()
            .matches('\n')
            .count()
            + 1;
        self.found.push(format!("line {line}, {entry}: {problem}"));
    }

    fn day(&mut self, start: usize, entry: &str, from: &str) -> Option<Date> {
        let day = from.parse().ok();
        if day.is_none() {
            let problem = format!("`from` is `{from}`: write a day such as \"2026-10-01\"");
            self.tell(start, entry, &problem);
        }
        day
    }

    fn price(&mut self, start: usize, entry: &str, name: &str, price: &str) -> Option<u64> {
        let micros = parse_micros(price);
        if micros.is_none() {
            let problem = format!(
                "`{name}` is `{price}`: write a decimal with at most six places, such as \"0.0456\""
            );
            self.tell(start, entry, &problem);
        }
        micros
    }

    fn country(&mut self, start: usize, entry: &str, country: &str) {
        let is_digits = |text: &str| {
            (1..=15).contains(&text.len())
                && text.bytes().all(|one| one.is_ascii_digit())
                && !text.starts_with('0')
        };
        if country != ELSEWHERE && !is_digits(country) {
            let problem = format!(
                "`country` is `{country}`: write a calling code such as \"49\", more digits for a \
                 part of one, or \"*\" for everywhere else"
            );
            self.tell(start, entry, &problem);
        }
    }
}

/// Reads a rate card; every problem if there are some.
pub(crate) fn parse(text: &str) -> Result<RateCard, Vec<String>> {
    let file: File = toml::from_str(text).map_err(|error| vec![error.to_string()])?;
    let mut problems = Problems {
        text,
        found: Vec::new(),
    };
    let start = file.currency.span().start;
    let code = file.currency.into_inner();
    let currency = Currency::parse(&code);
    if currency.is_none() {
        let problem = format!("is `{code}`: write three capital letters, such as \"EUR\"");
        problems.tell(start, "currency", &problem);
    }
    let rates: Vec<Rate> = entries(file.rates, "rates", |start, entry, row| {
        rate(&mut problems, start, entry, &row)
    });
    let sms: Vec<SmsRate> = entries(file.sms, "sms", |start, entry, row| {
        sms_rate(&mut problems, start, entry, row)
    });
    let own: Vec<Terms> = entries(file.terms, "terms", |start, entry, row: TermsRow| {
        let from = problems.day(start, entry, &row.from)?;
        Some(Terms {
            from,
            service_is_free: row.service_is_free,
            utility_in_window_is_free: row.utility_in_window_is_free,
            free_service_messages: row.free_service_messages,
        })
    });
    let mut found = problems.found;
    twice(
        rates
            .iter()
            .map(|row| (row.from, row.country.clone(), String::new())),
        "rates",
        &mut found,
    );
    twice(
        sms.iter()
            .map(|row| (row.from, row.country.clone(), row.gateway.clone())),
        "sms",
        &mut found,
    );
    twice(
        own.iter()
            .map(|row| (row.from, String::new(), String::new())),
        "terms",
        &mut found,
    );
    let Some(currency) = currency.filter(|_| found.is_empty()) else {
        return Err(found);
    };
    // A day of the platform's own that the file names, too, is the file's.
    let platform = Terms::PLATFORM.into_iter();
    let mut terms: Vec<Terms> = platform
        .filter(|known| own.iter().all(|row| row.from != known.from))
        .collect();
    terms.extend(own);
    Ok(RateCard {
        currency,
        rates,
        sms,
        terms,
    })
}

/// Reads each entry of an array, under its place in it.
fn entries<R, T>(
    rows: Vec<Spanned<R>>,
    name: &str,
    mut read: impl FnMut(usize, &str, R) -> Option<T>,
) -> Vec<T> {
    let numbered = rows.into_iter().enumerate();
    let read = numbered.filter_map(|(index, row)| {
        let entry = format!("entry {} of [[{name}]]", index + 1);
        read(row.span().start, &entry, row.into_inner())
    });
    read.collect()
}

fn rate(problems: &mut Problems<'_>, start: usize, entry: &str, row: &RateRow) -> Option<Rate> {
    let before = problems.found.len();
    let from = problems.day(start, entry, &row.from);
    problems.country(start, entry, &row.country);
    let of = |category: Category| match category {
        Category::Service => &row.service,
        Category::Utility => &row.utility,
        Category::Authentication => &row.authentication,
        Category::AuthenticationInternational => &row.authentication_international,
        Category::Marketing => &row.marketing,
        Category::Sms => &None,
    };
    let mut prices = Prices::new();
    for category in Category::WHATSAPP {
        if let Some(price) = of(category) {
            let micros = problems.price(start, entry, category.as_str(), price);
            prices.extend(micros.map(|micros| (category, micros)));
        }
    }
    if prices.is_empty() && problems.found.len() == before {
        problems.tell(start, entry, "prices nothing: give at least one category");
    }
    (problems.found.len() == before).then_some(Rate {
        from: from?,
        country: row.country.clone(),
        prices,
    })
}

fn sms_rate(
    problems: &mut Problems<'_>,
    start: usize,
    entry: &str,
    row: SmsRow,
) -> Option<SmsRate> {
    let before = problems.found.len();
    let from = problems.day(start, entry, &row.from);
    problems.country(start, entry, &row.country);
    let segment = problems.price(start, entry, "segment", &row.segment);
    (problems.found.len() == before).then_some(SmsRate {
        from: from?,
        country: row.country,
        gateway: row.gateway,
        segment: segment?,
    })
}

/// Two rows for the same, of which nobody could say which counts.
fn twice(rows: impl Iterator<Item = (Date, String, String)>, name: &str, found: &mut Vec<String>) {
    let mut seen = std::collections::BTreeSet::new();
    for (from, country, gateway) in rows {
        let shown: Vec<_> = [country.as_str(), gateway.as_str()]
            .into_iter()
            .filter(|part| !part.is_empty())
            .collect();
        let what = format!("[[{name}]] from {from} for {}", shown.join(" by "));
        if !seen.insert((from, country, gateway)) {
            found.push(format!(
                "{} stands there twice",
                what.trim_end_matches(" for ")
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;

    use super::*;

    const EXAMPLE: &str = include_str!("../../../../deploy/rates.example.toml");

    #[test]
    fn the_example_is_a_card() {
        let card = parse(EXAMPLE).unwrap();
        assert_eq!(
            card.currency.to_string(),
            "XXX",
            "no real currency, no real price"
        );
        let on = date(2026, 11, 1);
        for category in Category::WHATSAPP {
            if category != Category::AuthenticationInternational {
                assert!(card.price(category, None, on).is_some(), "{category:?}");
            }
        }
        assert!(card.segment("any", None, on).is_some());
        assert_eq!(card.terms(on), Terms::PLATFORM[1]);
    }

    #[test]
    fn problems_name_their_line_and_entry() {
        let text = r#"currency = "EUR"

[[rates]]
from = "2026-01-01"
country = "49"
utility = "0.05"

[[rates]]
from = "yesterday"
country = "+49"
utility = "0.0000001"

[[sms]]
from = "2026-01-01"
country = "*"
segment = "free"
"#;
        let problems = parse(text).unwrap_err();
        let expected = [
            "line 8, entry 2 of [[rates]]: `from` is `yesterday`",
            "line 8, entry 2 of [[rates]]: `country` is `+49`",
            "line 8, entry 2 of [[rates]]: `utility` is `0.0000001`",
            "line 13, entry 1 of [[sms]]: `segment` is `free`",
        ];
        assert_eq!(problems.len(), expected.len(), "{problems:#?}");
        for (problem, expected) in problems.iter().zip(expected) {
            assert!(problem.starts_with(expected), "{problem}");
        }
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        let row = "[[rates]]\nfrom = \"2026-01-01\"\ncountry = \"49\"\n";
        for (text, words) in [
            (String::new(), "currency"),
            ("currency = 5".to_owned(), "line 1"),
            ("currency = \"EUR\"\n[[rate]]\n".to_owned(), "rate"),
            (format!("currency = \"EUR\"\n{row}"), "prices nothing"),
            (format!("currency = \"EUR\"\n{row}utilty = \"1\""), "utilty"),
            (format!("currency = \"EUR\"\n{row}utility = 0.05"), "0.05"),
            (
                format!("currency = \"EUR\"\n{row}utility = \"1\"\n{row}marketing = \"1\""),
                "stands there twice",
            ),
        ] {
            let problems = parse(&text).unwrap_err().join("\n");
            assert!(problems.contains(words), "{words}: {problems}");
        }
    }

    #[test]
    fn terms_of_the_file_stand_beside_the_platforms_or_in_their_place() {
        let text = r#"currency = "EUR"
[[terms]]
from = "2026-10-01"
service_is_free = false
utility_in_window_is_free = false
free_service_messages = 5
"#;
        let card = parse(text).unwrap();
        assert_eq!(card.terms(date(2026, 10, 1)).free_service_messages, 5);
        assert!(card.terms(date(2026, 9, 30)).service_is_free);
    }
}
