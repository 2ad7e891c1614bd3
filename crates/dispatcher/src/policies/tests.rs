//! Policies as they are written, whose is which, and what is said of mistakes.

use super::*;
use crate::config::Config;

fn config(text: &str) -> Config {
    toml::from_str(text).expect("a configuration that can be read")
}

fn read(text: &str) -> Result<Policies, Vec<String>> {
    let config = config(text);
    Policies::read(&config.policies, &config.policy_of)
}

fn number(text: &str) -> BusinessNumber {
    BusinessNumber::parse(text).unwrap()
}

const CAREFUL: &str = r#"
    [policies.careful]
    routes = [
        "free_form",
        { route = "sms", purposes = ["authentication"] },
        { route = "template", window = "closed", unless_stopped = ["marketing"], quiet_hours = "21:00-08:00" },
        { route = "sms", max_cost = "0.05 EUR" },
        "hold",
    ]
"#;

#[test]
fn a_limit_that_rules_out_everything_for_want_of_prices_is_told_with_its_policies() {
    let problem = read(CAREFUL).unwrap().unpriced().unwrap();
    assert!(problem.contains("policies careful, but"), "{problem}");
    assert!(problem.contains("money.rate_card"), "{problem}");
    assert_eq!(Policies::default().unpriced(), None);
}

#[test]
fn a_policy_is_read_as_it_is_written() {
    use Route::{FreeForm, Hold, Sms, Template};

    let policies = read(CAREFUL).unwrap();
    let careful = policies.named("careful").unwrap();
    let routes: Vec<_> = careful.steps.iter().map(|step| step.route).collect();
    assert_eq!(routes, [FreeForm, Sms, Template, Sms, Hold]);
    assert_eq!(careful.steps[0], Step::from(FreeForm));
    assert_eq!(
        careful.steps[1].conditions.purposes,
        [Purpose::Authentication]
    );
    let template = &careful.steps[2].conditions;
    assert_eq!(template.window, Some(WindowIs::Closed));
    assert_eq!(template.unless_stopped, [Stoppable::Marketing]);
    assert_eq!(template.quiet_hours.unwrap().words(), "21:00-08:00");
    let cost = careful.steps[3].conditions.max_cost.unwrap();
    assert_eq!(cost.to_string(), "0.05 EUR");
    assert!(careful.has_quiet_hours());
    // What is printed is read as the same.
    let written = toml::to_string(&config(CAREFUL)).unwrap();
    assert_eq!(config(&written).policies, config(CAREFUL).policies);
}

#[test]
fn the_request_goes_before_the_number_that_before_the_brand_and_that_before_the_default() {
    let policies = read(
        r#"
        [policies.a]
        routes = ["sms"]
        [policies.b]
        routes = ["template"]
        [policies.c]
        routes = ["free_form"]
        [policy_of]
        numbers = { 15550001111 = "b", "+15550002222" = "default" }
        brands = { acme = "c" }
        "#,
    )
    .unwrap();
    let [one, two, three] = ["15550001111", "15550002222", "15550003333"].map(number);
    for (asked, number, brand, found) in [
        ("a", &one, "acme", "a"),
        ("default", &one, "acme", "default"),
        ("", &one, "acme", "b"),
        ("", &two, "acme", "default"),
        ("", &three, "acme", "c"),
        ("", &three, "other", "default"),
        // It was there when the message was accepted.
        ("gone", &three, "acme", "c"),
    ] {
        assert_eq!(
            policies.find(asked, number, brand).name,
            found,
            "{asked} {brand}"
        );
    }
    assert_eq!(policies.named("gone"), None);
    assert_eq!(policies.named("default"), Some(&Policy::default()));
}

#[test]
fn the_default_may_be_another() {
    let policies = read("[policies.default]\nroutes = ['sms']").unwrap();
    let default = policies.find("", &number("15550001111"), "acme");
    assert_eq!((default.name.as_str(), default.steps.len()), ("default", 1));
}

#[test]
fn every_mistake_is_named_with_what_to_write_instead() {
    let step = |step: &str| format!("[policies.x]\nroutes = ['free_form', {{ {step} }}]");
    for (text, at, what) in [
        (
            "[policies.x]\nroutes = []".to_owned(),
            "x.routes`",
            "at least one route",
        ),
        ("[policies.x]".to_owned(), "x.routes`", "at least one route"),
        (
            "[policies.'A b']\nroutes = ['sms']".to_owned(),
            "policies.A b`",
            "small letters",
        ),
        (
            "[policies.x]\nroutes = ['fax']".to_owned(),
            "x.routes[0].route` is `fax`",
            "free_form, template, sms or hold",
        ),
        (
            "[policies.x]\nroutes = ['sms', 'hold']".to_owned(),
            "x.routes`",
            "without `free_form`",
        ),
        (
            "[policies.x]\nroutes = ['sms', 'sms']".to_owned(),
            "x.routes[1]`",
            "never taken",
        ),
        (
            step("route = 'sms', window = 'ajar'"),
            "x.routes[1].window` is `ajar`",
            "open or closed",
        ),
        (
            step("route = 'sms', purposes = ['fun']"),
            "purposes` is `fun`",
            "use service",
        ),
        (
            step("route = 'sms', opted_in = ['gossip']"),
            "opted_in` is `gossip`",
            "double_opt_in",
        ),
        (
            step("route = 'hold', opted_in = ['any']"),
            "opted_in` is `any`",
            "another route",
        ),
        (
            step("route = 'sms', unless_stopped = ['rain']"),
            "unless_stopped` is `rain`",
            "marketing or sms",
        ),
        (
            step("route = 'sms', quiet_hours = '21-8'"),
            "quiet_hours` is `21-8`",
            "as in 21:00-08:00",
        ),
        (
            step("route = 'sms', quiet_hours = '24:00-08:00'"),
            "quiet_hours",
            "as in 21:00-08:00",
        ),
        (
            step("route = 'sms', quiet_hours = '08:00-08:00'"),
            "quiet_hours",
            "two different times",
        ),
        (
            step("route = 'sms', max_cost = '5'"),
            "max_cost` is `5`",
            "as in 0.05 EUR",
        ),
        (
            step("route = 'sms', max_cost = '-1 EUR'"),
            "max_cost",
            "as in 0.05 EUR",
        ),
        (
            step("route = 'hold', quiet_hours = '21:00-08:00'"),
            "quiet_hours",
            "belongs to another route",
        ),
        (
            "[policies.x]\nroutes = [{ route = 'free_form', window = 'closed' }]".to_owned(),
            "window",
            "open window only",
        ),
        (
            "[policy_of]\nbrands = { acme = 'y' }".to_owned(),
            "policy_of.brands.acme`",
            "no `dispatcher.policies.y`",
        ),
        (
            "[policy_of]\nnumbers = { 15550001111 = 'y' }".to_owned(),
            "numbers.15550001111`",
            "no `dispatcher.policies.y`",
        ),
        (
            "[policy_of]\nnumbers = { shop = 'default' }".to_owned(),
            "numbers.shop`",
            "",
        ),
    ] {
        let problems = read(&text).expect_err(&text);
        let [problem] = problems.as_slice() else {
            panic!("{text}: {problems:#?}")
        };
        assert!(
            problem.contains(at) && problem.contains(what),
            "{text}: {problem}"
        );
        assert_eq!(config(&text).problem().as_ref(), Some(problem));
    }
    let both = "[policies.x]\nroutes = ['fax', 'telex']";
    assert_eq!(read(both).unwrap_err().len(), 2);
}

#[test]
fn a_key_that_is_none_is_not_read_over() {
    for (text, what) in [
        (
            "[policies.x]\nroutes = [{ route = 'sms', quiet = '21:00-08:00' }]",
            "quiet",
        ),
        ("[policies.x]\nroute = ['sms']", "route"),
        ("[policies.x]\nroutes = [7]", "a route's name"),
    ] {
        let error = toml::from_str::<Config>(text).unwrap_err().to_string();
        assert!(error.contains(what), "{error}");
    }
}
