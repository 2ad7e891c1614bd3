//! What makes a brand, a number or a whole file unusable. Pure.
//!
//! Each function returns the record in its stored form, or every problem at once. What depends on
//! the log (is this id taken?) is decided in [`crate::decide`].

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use casement_domain::id::{BrandId, BusinessNumber, PhoneNumberId, PortfolioId, WabaId};
use casement_event::convert::instant;
use casement_event::v1;
use casement_secrets::SecretName;
use v1::secret_ref::Source;

/// Longest display name or reason, in characters.
pub const TEXT_LEN_MAX: usize = 256;

/// Most messages a second that the platform gives a number (Meta: throughput).
pub const THROUGHPUT_MAX: u32 = 1_000;

/// Longest name of an environment variable. Shorter than the platform's tokens, so that one that
/// was pasted in place of its name is refused.
const ENV_NAME_LEN_MAX: usize = 128;

/// Longest path of a secret's file, in bytes.
const PATH_LEN_MAX: usize = 1_024;

/// Longest alphanumeric sender, by the GSM standard.
const ALPHANUMERIC_SENDER_LEN_MAX: usize = 11;

/// One thing that is wrong, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Path of the field, such as `number[0].waba_id` in a file or `number.waba_id` in a request.
    pub field: String,
    /// What is wrong with it. Never the value: it may be a secret in the wrong place.
    pub problem: String,
}

impl Problem {
    /// Makes a problem of a field within the record at `at`.
    pub fn new(at: &str, field: &str, problem: impl fmt::Display) -> Self {
        let field = if at.is_empty() {
            field.to_owned()
        } else {
            format!("{at}.{field}")
        };
        Self {
            field,
            problem: problem.to_string(),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}: {}", self.field, self.problem)
    }
}

/// Checks a brand. `at` is its place, for the problems.
pub fn brand(at: &str, wanted: v1::Brand) -> Result<v1::Brand, Vec<Problem>> {
    let mut problems = Vec::new();
    if let Err(error) = BrandId::parse(&wanted.brand_id) {
        problems.push(Problem::new(at, "brand_id", error));
    }
    text(at, "display_name", &wanted.display_name, &mut problems);
    crate::brands::check(at, &wanted, &mut problems);
    settle(wanted, problems)
}

/// Checks a number, written as E.164 with plus, and returns it with its digits alone, as stored.
pub fn number(at: &str, wanted: v1::Number) -> Result<v1::Number, Vec<Problem>> {
    let mut problems = Vec::new();
    let mut wanted = wanted;
    match e164(&wanted.number) {
        Ok(number) => number.digits().clone_into(&mut wanted.number),
        Err(problem) => problems.push(Problem::new(at, "number", problem)),
    }
    let ids = [
        ("brand_id", BrandId::parse(&wanted.brand_id).err()),
        (
            "portfolio_id",
            PortfolioId::parse(&wanted.portfolio_id).err(),
        ),
        ("waba_id", WabaId::parse(&wanted.waba_id).err()),
        (
            "phone_number_id",
            PhoneNumberId::parse(&wanted.phone_number_id).err(),
        ),
    ];
    for (field, error) in ids {
        problems.extend(error.map(|error| Problem::new(at, field, error)));
    }
    text(at, "display_name", &wanted.display_name, &mut problems);
    secret(at, "token", wanted.token.as_ref(), &mut problems);
    let of_sms = wanted
        .sms
        .as_ref()
        .map(|sms| ("sms.auth_token", sms.auth_token.as_ref()));
    let named = std::iter::once(("token", wanted.token.as_ref())).chain(of_sms);
    for (field, of) in named {
        let is_stored = matches!(
            of.and_then(|of| of.source.as_ref()),
            Some(Source::Stored(_))
        );
        let problem = reference(&wanted.brand_id, of).filter(|_| is_stored);
        problems.extend(problem.map(|problem| Problem::new(at, field, problem)));
    }
    if let Some(sms) = &wanted.sms {
        sms_sender(at, sms, &mut problems);
    }
    if wanted.throughput > THROUGHPUT_MAX {
        problems.push(Problem::new(
            at,
            "throughput",
            format!("is above {THROUGHPUT_MAX} messages a second"),
        ));
    }
    if !wanted.messaging_account_id.is_empty()
        && let Err(error) = WabaId::parse(&wanted.messaging_account_id)
    {
        problems.push(Problem::new(at, "messaging_account_id", error));
    }
    if !is_app_name(&wanted.app) {
        let text = "is not a name of at most 64 letters, digits, `-` and `_`";
        problems.push(Problem::new(at, "app", text));
    }
    if let Err(error) = instant("onboard_time", wanted.onboard_time.as_ref()) {
        problems.push(Problem::new(at, "onboard_time", error));
    }
    // Whatever is said: when a number moved is found out, not told.
    wanted.migrate_time = None;
    wanted.etag = String::new();
    wanted.previous_phone_number_ids.clear();
    wanted.moving = None;
    wanted.migrate_away_time = None;
    wanted.migrate_away_reason.clear();
    wanted.drain_time = None;
    wanted.drain_reason.clear();
    settle(wanted, problems)
}

/// Names of apps are keys of configuration files and parts of paths. None at all is fine.
fn is_app_name(name: &str) -> bool {
    name.len() <= 64
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
}

/// Reads a business number as requests and files write it: E.164 with plus. The plus is asked
/// for, since without it a national number looks like an international one.
pub fn e164(text: &str) -> Result<BusinessNumber, String> {
    if !text.starts_with('+') {
        return Err("is not E.164 with the plus, such as +15550001111".to_owned());
    }
    BusinessNumber::parse(text).map_err(|error| error.to_string())
}

/// Checks the reason of a pause.
pub fn reason(at: &str, reason: &str) -> Result<(), Vec<Problem>> {
    let mut problems = Vec::new();
    text(at, "reason", reason, &mut problems);
    settle((), problems)
}

/// The records of a file, each valid by itself.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Records {
    /// `[[brand]]`.
    pub brands: Vec<v1::Brand>,
    /// `[[number]]`.
    pub numbers: Vec<v1::Number>,
    /// `[[template]]`.
    pub templates: Vec<v1::Template>,
    /// The digits of numbers that name no brand.
    pub brandless: BTreeSet<String>,
}

/// Checks what the records of one file say of each other. `is_known` tells which brands are on
/// record already.
pub fn across(records: &Records, is_known: impl Fn(&str) -> bool) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut brands = Firsts::new("brand", "brand_id");
    for (index, brand) in records.brands.iter().enumerate() {
        problems.extend(brands.see(index, brand.brand_id.clone()));
    }
    let mut numbers = Firsts::new("number", "number");
    let mut phone_number_ids = Firsts::new("number", "phone_number_id");
    for (index, number) in records.numbers.iter().enumerate() {
        problems.extend(numbers.see(index, number.number.clone()));
        problems.extend(phone_number_ids.see(index, number.phone_number_id.clone()));
        if !brands.has(&number.brand_id) && !is_known(&number.brand_id) {
            let at = format!("number[{index}]");
            let problem = "names a brand that is neither in the file nor on record";
            problems.push(Problem::new(&at, "brand_id", problem));
        }
    }
    let mut templates = Firsts::new("template", "name");
    for (index, template) in records.templates.iter().enumerate() {
        let v1::Template {
            waba_id,
            name,
            language,
            ..
        } = template;
        problems.extend(templates.see(index, format!("{waba_id} {name} {language}")));
    }
    problems
}

/// Where each key of a table was seen first.
struct Firsts {
    table: &'static str,
    field: &'static str,
    seen: BTreeMap<String, usize>,
}

impl Firsts {
    fn new(table: &'static str, field: &'static str) -> Self {
        Self {
            table,
            field,
            seen: BTreeMap::new(),
        }
    }

    fn see(&mut self, index: usize, key: String) -> Option<Problem> {
        let Some(first) = self.seen.get(&key) else {
            self.seen.insert(key, index);
            return None;
        };
        let at = format!("{}[{index}]", self.table);
        let problem = format!("is the same as {}[{first}]'s", self.table);
        Some(Problem::new(&at, self.field, problem))
    }

    fn has(&self, key: &str) -> bool {
        self.seen.contains_key(key)
    }
}

fn sms_sender(at: &str, sms: &v1::SmsSender, problems: &mut Vec<Problem>) {
    if !is_sms_sender(&sms.sender) {
        let problem = "is none of: E.164 with plus; up to 11 letters and digits with a letter; \
                       MG and 32 hexadecimal digits";
        problems.push(Problem::new(at, "sms.sender", problem));
    }
    let sid = sms.account_sid.strip_prefix("AC").unwrap_or_default();
    if sid.is_empty() || !sid.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        let problem = "is not AC followed by letters and digits";
        problems.push(Problem::new(at, "sms.account_sid", problem));
    }
    secret(at, "sms.auth_token", sms.auth_token.as_ref(), problems);
}

/// A number, a messaging service, or an alphanumeric sender.
fn is_sms_sender(sender: &str) -> bool {
    if sender.starts_with('+') {
        return BusinessNumber::parse(sender).is_ok();
    }
    let is_service = sender
        .strip_prefix("MG")
        .is_some_and(|hex| hex.len() == 32 && hex.bytes().all(|byte| byte.is_ascii_hexdigit()));
    let is_alphanumeric = sender.len() <= ALPHANUMERIC_SENDER_LEN_MAX
        && sender.bytes().any(|byte| byte.is_ascii_alphabetic())
        && sender
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b" +-_&".contains(&byte));
    is_service || is_alphanumeric
}

/// Returns what is wrong with where a brand's secret is said to be; `None` if nothing is. A stored
/// secret must be the brand's own.
pub(crate) fn reference(brand: &str, of: Option<&v1::SecretRef>) -> Option<&'static str> {
    let mut problems = Vec::new();
    secret("", "", of, &mut problems);
    if !problems.is_empty() {
        return Some("names no place of a secret");
    }
    match of.and_then(|of| of.source.as_ref()) {
        Some(Source::Stored(name))
            if SecretName::parse(name).is_ok_and(|name| name.brand() != brand) =>
        {
            Some("is another brand's secret")
        }
        _ => None,
    }
}

/// A reference must say exactly one place. Whether something is found there is for whoever looks.
fn secret(at: &str, field: &str, of: Option<&v1::SecretRef>, problems: &mut Vec<Problem>) {
    let problem = match of.and_then(|of| of.source.as_ref()) {
        None => Some("needs a file or an environment variable to find it in"),
        Some(Source::File(path)) => {
            let is_usable = !path.is_empty()
                && path.len() <= PATH_LEN_MAX
                && !path.chars().any(char::is_control);
            (!is_usable).then_some("is not a path of 1 to 1024 bytes")
        }
        Some(Source::Env(name)) => {
            let is_name = name
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
                && !name.bytes().next().is_none_or(|byte| byte.is_ascii_digit())
                && name.len() <= ENV_NAME_LEN_MAX;
            (!is_name).then_some(
                "is not the name of an environment variable (a secret itself never stands here)",
            )
        }
        Some(Source::Stored(name)) => {
            let is_name = SecretName::parse(name).is_ok();
            (!is_name).then_some("is not `<brand>/<name>` of a stored secret")
        }
    };
    problems.extend(problem.map(|problem| Problem::new(at, field, problem)));
}

pub(crate) fn text(at: &str, field: &str, text: &str, problems: &mut Vec<Problem>) {
    if text.chars().count() > TEXT_LEN_MAX {
        let problem = format!("is longer than {TEXT_LEN_MAX} characters");
        problems.push(Problem::new(at, field, problem));
    }
    if text.chars().any(char::is_control) {
        problems.push(Problem::new(at, field, "contains control characters"));
    }
}

/// Returns the record if nothing is wrong with it.
pub(crate) fn settle<T>(record: T, problems: Vec<Problem>) -> Result<T, Vec<Problem>> {
    if problems.is_empty() {
        Ok(record)
    } else {
        Err(problems)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret_in(source: Source) -> v1::SecretRef {
        v1::SecretRef {
            source: Some(source),
        }
    }

    fn good() -> v1::Number {
        v1::Number {
            number: "+15550001111".to_owned(),
            brand_id: "default".to_owned(),
            portfolio_id: "900".to_owned(),
            waba_id: "800".to_owned(),
            phone_number_id: "700".to_owned(),
            token: Some(secret_in(Source::Env("META_TOKEN".to_owned()))),
            sms: Some(v1::SmsSender {
                sender: "+15550002222".to_owned(),
                account_sid: "AC1".to_owned(),
                auth_token: Some(secret_in(Source::File("secrets/sms".to_owned()))),
            }),
            ..v1::Number::default()
        }
    }

    fn fields(outcome: Result<v1::Number, Vec<Problem>>) -> Vec<String> {
        let problems = outcome.expect_err("it is wrong");
        problems.into_iter().map(|problem| problem.field).collect()
    }

    #[test]
    fn a_number_is_stored_with_its_digits_alone() {
        assert_eq!(number("number", good()).unwrap().number, "15550001111");
    }

    #[test]
    fn every_problem_of_a_number_is_told_at_once() {
        let all_wrong = v1::Number {
            number: "15550001111".to_owned(),
            display_name: "a\u{0}b".to_owned(),
            throughput: 1_001,
            sms: Some(v1::SmsSender::default()),
            messaging_account_id: "80 0".to_owned(),
            app: "our app".to_owned(),
            onboard_time: Some(prost_types::Timestamp {
                seconds: i64::MAX,
                nanos: 0,
            }),
            ..v1::Number::default()
        };
        assert_eq!(
            fields(number("number", all_wrong)),
            [
                "number.number",
                "number.brand_id",
                "number.portfolio_id",
                "number.waba_id",
                "number.phone_number_id",
                "number.display_name",
                "number.token",
                "number.sms.sender",
                "number.sms.account_sid",
                "number.sms.auth_token",
                "number.throughput",
                "number.messaging_account_id",
                "number.app",
                "number.onboard_time",
            ]
        );
    }

    #[test]
    fn a_number_needs_its_plus_and_country_code() {
        for bad in [
            "",
            "15550001111",
            "+",
            "+0155500",
            "+1 555 000",
            "+1555000111122223",
        ] {
            assert!(e164(bad).is_err(), "{bad:?}");
        }
        assert_eq!(e164("+15550001111").unwrap().digits(), "15550001111");
    }

    #[test]
    fn a_secret_in_place_of_its_name_is_refused_and_not_repeated() {
        let pasted = "EAAG".repeat(50);
        for source in [
            Source::Env(pasted.clone()),
            Source::Env("EAAG.x".to_owned()),
            Source::Env("1ST".to_owned()),
            Source::Env(String::new()),
            Source::File(String::new()),
            Source::File("a\nb".to_owned()),
        ] {
            let wanted = v1::Number {
                token: Some(secret_in(source.clone())),
                ..good()
            };
            let problems = number("n", wanted).unwrap_err();
            assert_eq!(problems.len(), 1, "{source:?}");
            assert_eq!(problems[0].field, "n.token");
            assert!(!problems[0].problem.contains("EAAG"), "{source:?}");
        }
    }

    #[test]
    fn senders_of_every_kind_are_known() {
        let service = format!("MG{}", "0a".repeat(16));
        for good in ["+15550002222", "Casement", "My Shop 24", &service] {
            assert!(is_sms_sender(good), "{good}");
        }
        for bad in [
            "",
            "+0",
            "15550002222",
            "LongerThanEleven",
            "Käse",
            "MG12345678901",
        ] {
            assert!(!is_sms_sender(bad), "{bad}");
        }
    }

    #[test]
    fn brands_are_checked_for_ids_that_fit_a_subject() {
        let brand_of = |id: &str| {
            brand(
                "brand",
                v1::Brand {
                    brand_id: id.to_owned(),
                    display_name: "Shop".to_owned(),
                    ..v1::Brand::default()
                },
            )
        };
        assert!(brand_of("default").is_ok());
        for bad in ["", "*", "a.b", "a b", ">"] {
            let problems = brand_of(bad).unwrap_err();
            assert_eq!(problems[0].field, "brand.brand_id", "{bad:?}");
        }
    }

    #[test]
    fn records_of_one_file_do_not_contradict_each_other() {
        let template = v1::Template {
            waba_id: "800".to_owned(),
            name: "hello".to_owned(),
            language: "en".to_owned(),
            ..v1::Template::default()
        };
        let brand = v1::Brand {
            brand_id: "shop".to_owned(),
            ..v1::Brand::default()
        };
        let foreign = v1::Number {
            brand_id: "nobody".to_owned(),
            ..good()
        };
        let records = Records {
            brands: vec![brand.clone(), brand],
            numbers: vec![good(), foreign],
            templates: vec![template.clone(), template],
            ..Records::default()
        };
        let told: Vec<_> = across(&records, |brand| brand == "default")
            .into_iter()
            .map(|problem| problem.to_string())
            .collect();
        assert_eq!(
            told,
            [
                "brand[1].brand_id: is the same as brand[0]'s",
                "number[1].number: is the same as number[0]'s",
                "number[1].phone_number_id: is the same as number[0]'s",
                "number[1].brand_id: names a brand that is neither in the file nor on record",
                "template[1].name: is the same as template[0]'s",
            ]
        );
    }
}
