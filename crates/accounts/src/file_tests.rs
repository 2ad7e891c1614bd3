//! What a file becomes, and how its problems are told.

use super::*;

const NUMBER: &str = r#"
    [[number]]
    number = "+15550001111"
    portfolio_id = "900"
    waba_id = "800"
    phone_number_id = "700"
    token_env = "META_TOKEN"
"#;

const TEMPLATE: &str = r#"
    [[template]]
    waba_id = "800"
    name = "order_ready"
    language = "en-US"
    category = "utility"
    body = "Hi {{1}}"
"#;

fn problems(text: &str) -> Vec<String> {
    let problems = parse(text).expect_err("it is wrong");
    problems.iter().map(Problem::to_string).collect()
}

#[test]
fn a_file_becomes_records_in_their_stored_form() {
    let text = format!(
        "[[brand]]\nbrand_id = \"shop\"\ndisplay_name = \"The Shop\"\n{NUMBER}
        throughput = 20
        onboard_time = 2026-03-01T10:30:00+01:00
        [number.sms]
        sender = \"Shop\"
        account_sid = \"AC1\"
        auth_token_file = \"secrets/sms\"
        {TEMPLATE}"
    );
    let records = parse(&text).unwrap();
    assert_eq!(records.brands[0].brand_id, "shop");
    let number = &records.numbers[0];
    assert_eq!(number.number, "15550001111");
    assert_eq!(number.brand_id, "default");
    assert_eq!(number.throughput, 20);
    let onboarded = "2026-03-01T09:30:00Z".parse().map(timestamp).ok();
    assert_eq!(number.onboard_time, onboarded);
    assert_eq!(number.migrate_time, None);
    let source = |of: &Option<v1::SecretRef>| of.clone().and_then(|of| of.source);
    assert_eq!(
        source(&number.token),
        Some(Source::Env("META_TOKEN".to_owned()))
    );
    let sms = number.sms.as_ref().unwrap();
    assert_eq!(
        source(&sms.auth_token),
        Some(Source::File("secrets/sms".to_owned()))
    );
    let template = &records.templates[0];
    assert_eq!(template.language, "en_US");
    assert_eq!(template.status(), v1::TemplateStatus::Approved);
    assert_eq!(template.body_parameter_count, 1);
}

#[test]
fn an_empty_file_has_no_records() {
    assert_eq!(parse("# nothing yet\n"), Ok(Records::default()));
}

#[test]
fn problems_name_their_table_and_field() {
    for (text, expected) in [
        (
            "brands = 1".to_owned(),
            "brands: is not known here; there are brand, number, template",
        ),
        (
            "[brand]\nbrand_id = \"a\"".to_owned(),
            "brand: is not a list of tables: write [[brand]]",
        ),
        (
            format!("{NUMBER}\ntoken = \"EAAG\""),
            "number[0].token: is not known here; there are sms, number, brand_id, \
             portfolio_id, waba_id, phone_number_id, display_name, token_file, token_env, \
             token_stored, throughput, messaging_limit, messaging_account_id, app, onboard_time",
        ),
        (
            format!("{NUMBER}\ntoken_file = \"x\""),
            "number[0].token: needs exactly one of `token_file`, `token_env` and `token_stored`",
        ),
        (
            format!("{NUMBER}\ntokne_env = \"x\""),
            "number[0].tokne_env: is not known here",
        ),
        (
            format!("{NUMBER}\nthroughput = \"fast\""),
            "number[0].throughput: is not a whole number from 0",
        ),
        (
            format!("{NUMBER}\nonboard_time = 2026-03-01"),
            "number[0].onboard_time: is not a time with its offset, such as 2026-03-01T09:30:00Z",
        ),
        (
            format!("{NUMBER}\nonboard_time = \"yesterday\""),
            "number[0].onboard_time: is not a time with its offset, such as 2026-03-01T09:30:00Z",
        ),
        (
            format!("{NUMBER}\nonboard_time = 1"),
            "number[0].onboard_time: is not a time with its offset, such as 2026-03-01T09:30:00Z",
        ),
        (
            format!("{NUMBER}\nmigrate_time = 2026-03-01T09:30:00Z"),
            "number[0].migrate_time: is not known here",
        ),
        (
            format!("{NUMBER}\nsms = true"),
            "number[0].sms: is not a table",
        ),
        (
            format!("{NUMBER}\n[number.sms]\nsender = \"Shop\"\naccount_sid = \"AC1\""),
            "number[0].sms.auth_token: needs exactly one of `auth_token_file`, \
             `auth_token_env` and `auth_token_stored`",
        ),
        (
            NUMBER.replace("\"800\"", "800"),
            "number[0].waba_id: is not text in quotes",
        ),
        (
            NUMBER.replace("waba_id", "#"),
            "number[0].waba_id: WABA id is empty",
        ),
        (
            TEMPLATE.replace("utility", "useful"),
            "template[0].category: is not one of utility, authentication, marketing",
        ),
        (
            format!("{TEMPLATE}\nstatus = \"fine\""),
            "template[0].status: is not one of approved, pending, rejected, paused, \
             disabled, deleted",
        ),
        (
            format!("{TEMPLATE}\nbody_parameter_names = [1]"),
            "template[0].body_parameter_names: is not a list of texts in quotes",
        ),
    ] {
        let told = problems(&text);
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(told[0].starts_with(expected), "{told:?}\n{expected}");
    }
}

#[test]
fn all_problems_of_a_file_are_told_at_once() {
    let text = format!(
        "{}\n{}\nextra = 1",
        NUMBER.replace('+', ""),
        TEMPLATE.replace("order_ready", "Order")
    );
    let told = problems(&text);
    assert_eq!(told.len(), 3, "{told:?}");
    assert!(told[0].starts_with("number[0].number: "));
    assert!(told[1].starts_with("template[0].extra: "));
    assert!(told[2].starts_with("template[0].name: "));
}

#[test]
fn broken_syntax_names_its_line_and_repeats_nothing_of_it() {
    let told = problems("[[number]]\ntoken = EAAGsecret\n");
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].starts_with("line 2: "), "{told:?}");
    assert!(!told[0].contains("EAAG"), "{told:?}");
}
