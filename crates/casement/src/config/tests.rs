//! Claims about what is accepted, who wins, and what is never printed.

use casement_shell::config::{load_with, print};

use super::*;

const REAL: &str = "[secrets]\nmaster_key = \"a master key that nobody at all knows\"\n\
    [customers]\ntoken_key = \"a key that nobody knows\"\n";

fn load_text(
    mode: Mode,
    file: &str,
    environment: &[(&str, &str)],
    flags: &[(&str, &str)],
) -> Result<Config, ConfigError> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("casement.toml");
    std::fs::write(&path, file).unwrap();
    let pairs = |pairs: &[(&str, &str)]| -> Vec<(String, String)> {
        pairs
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect()
    };
    load_with::<Config>(
        &defaults(mode),
        Some(&path),
        pairs(environment),
        &pairs(flags),
    )
    .map(Config::settled)
}

fn problems_with(file: &str) -> String {
    let config = load_text(Mode::Real, file, &[], &[]).unwrap();
    check::problems(&config, Which::All, Mode::Real).join("\n")
}

#[test]
fn the_defaults_are_those_of_the_roles() {
    let config = load_text(Mode::Real, "", &[], &[]).unwrap();
    assert_eq!(config.window, casement_window_tracker::Config::default());
    let print_ = |value: toml::Value| value.to_string();
    assert_eq!(
        print_(toml::Value::try_from(&config.dispatcher).unwrap()),
        print_(toml::Value::try_from(casement_dispatcher::Config::default()).unwrap()),
    );
    assert_eq!(
        print_(toml::Value::try_from(&config.money).unwrap()),
        print_(toml::Value::try_from(casement_dispatcher::MoneyConfig::default()).unwrap()),
    );
    let mut ingress = casement_ingress::Config::default();
    ingress.media.store = "./data/media".to_owned();
    assert_eq!(
        print_(toml::Value::try_from(&config.ingress).unwrap()),
        print_(toml::Value::try_from(ingress).unwrap()),
    );
    assert_eq!(
        config.archive,
        casement_audit_projector::Config {
            database_path: "./data/archive.sqlite".into(),
            ..casement_audit_projector::Config::default()
        }
    );
    assert_eq!(config.gateway, casement_gateway::Config::default());
    let log = config.log(None).unwrap();
    let default = casement_event_log::Config::default();
    assert_eq!(log.ack_timeout, default.ack_timeout);
    assert_eq!(log.append_deadline, default.append_deadline);
    assert_eq!(log.sizes.events_mib, default.sizes.events_mib);
    assert_eq!(config.telemetry, TelemetryConfig::default());
}

#[test]
fn a_rate_card_is_read_with_the_configuration_and_its_mistakes_are_told() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rates.toml");
    let card = "currency = \"EUR\"\n\n[[sms]]\nfrom = \"2026-10-01\"\ncountry = \"49\"\n";
    std::fs::write(&path, format!("{card}segment = \"7 cents\"\n")).unwrap();
    let text = format!(
        "[money]\nrate_card = '{}'\n[money.caps]\nbrands.default = \"250.00\"\n",
        path.display()
    );
    let found = problems_with(&text);
    for words in ["rates.toml", "line 3, entry 1 of [[sms]]", "7 cents"] {
        assert!(found.contains(words), "{words} in {found}");
    }
    std::fs::write(&path, format!("{card}segment = \"0.07\"\n")).unwrap();
    let found = problems_with(&text);
    assert!(!found.contains("money"), "{found}");
    let config = load_text(Mode::Real, &text, &[], &[]).unwrap();
    assert_eq!(config.dispatcher.money.caps.brands["default"], "250.00");
}

#[test]
fn the_demo_is_sound_as_it_stands() {
    let config = load_text(Mode::Demo, "", &[], &[]).unwrap();
    assert_eq!(check::problems(&config, Which::All, Mode::Demo), [""; 0]);
    assert!(config.archive.database_path.starts_with("./data/demo"));
}

#[test]
fn an_unknown_key_is_refused_with_its_name() {
    for (file, key) in [
        ("[window]\nlenght = \"24h\"", "window.lenght"),
        ("[log]\nserver = \"x\"", "log.server"),
        ("[gateway]\nlisten = 1", "gateway"),
        (
            "[ingress.apps.shop]\nsecret = \"x\"",
            "ingress.apps.shop.secret",
        ),
    ] {
        let error = load_text(Mode::Real, file, &[], &[])
            .unwrap_err()
            .to_string();
        assert!(error.contains(key), "{key} in {error}");
    }
}

#[test]
fn the_file_beats_the_demo_the_environment_beats_the_file_and_flags_beat_all() {
    let config = load_text(
        Mode::Demo,
        "[window]\nlength = \"30s\"\nguard = \"3s\"\ngranularity = \"2s\"\n",
        &[
            ("CASEMENT__WINDOW__LENGTH", "40s"),
            ("CASEMENT__WINDOW__GUARD", "4s"),
        ],
        &[("window.length", "50s")],
    )
    .unwrap();
    assert_eq!(config.window.length, SignedDuration::from_secs(50));
    assert_eq!(config.window.guard, SignedDuration::from_secs(4));
    assert_eq!(config.window.granularity, SignedDuration::from_secs(2));
    assert_eq!(config.window.leads, [SignedDuration::from_secs(8)]);
}

#[test]
fn the_archive_moves_with_the_data_unless_it_was_placed() {
    let moved = load_text(Mode::Real, "", &[], &[("data_dir", "elsewhere")]).unwrap();
    assert_eq!(
        moved.archive.database_path,
        Path::new("elsewhere/archive.sqlite")
    );
    let placed = load_text(
        Mode::Real,
        "[archive]\ndatabase_path = \"a.sqlite\"",
        &[],
        &[("data_dir", "elsewhere")],
    )
    .unwrap();
    assert_eq!(placed.archive.database_path, Path::new("a.sqlite"));
}

#[test]
fn what_does_not_fit_together_is_refused_with_what_to_change() {
    assert_eq!(problems_with(REAL), "");
    for (file, told) in [
        ("[window]\nleads = [\"25h\"]", "`leads` has 25h"),
        ("[window]\nguard = \"24h\"", "`guard` is 24h"),
        (
            "[window]\nguard = \"2s\"",
            "`window.guard` must not be shorter than `dispatcher.call_by`",
        ),
        (
            "[dispatcher]\ncall_timeout = \"15m\"",
            "`dispatcher.reconcile_after` must be longer",
        ),
        ("[dispatcher]\ncall_by = \"0s\"", "dispatcher.call_by"),
        ("[archive]\nevents_keep = \"24h\"", "`archive.events_keep`"),
        (
            "[api]\nlisten = \"0.0.0.0:8080\"",
            "`api.listen` and `ingress.listen` have the same port, 8080",
        ),
        (
            "[console]\nlisten = \"0.0.0.0:8081\"",
            "`console.listen` and `api.listen` have the same port, 8081",
        ),
        (
            "[log]\nappend_deadline = \"1s\"",
            "`log.append_deadline` must be longer",
        ),
        ("[log]\nappend_deadline = \"5m\"", "forgets"),
        ("[log]\nreplicas = 3", "`log.servers`"),
        ("[log]\nuser = \"casement\"", "without `log.password`"),
        ("[log.sizes_mib]\nevents = 65536", "does not fit"),
        (
            "[log.own_server]\nlisten = \"0.0.0.0:4222\"",
            "must be a local address",
        ),
        (
            "[ingress.apps.shop]\nsecrets = [{ file = \"nowhere\" }]\nverify_token = \"v\"",
            "`ingress.apps.shop.secrets`",
        ),
    ] {
        let found = problems_with(&format!("{REAL}{file}"));
        assert!(found.contains(told), "{told} in {found:?}");
    }
    assert!(problems_with("").contains("`customers.token_key` is missing"));
    assert!(problems_with("[customers]\ntoken_key = \"short\"").contains("shorter than 16"));
}

#[test]
fn a_role_alone_needs_a_broker_and_only_what_is_its_own() {
    let file = "[log]\nservers = \"nats://b:4222\"\n";
    let key = "[secrets]\nmaster_key = \"a master key that nobody at all knows\"";
    let config = load_text(Mode::Real, &format!("{file}{key}"), &[], &[]).unwrap();
    assert_eq!(
        check::problems(&config, Which::AuditProjector, Mode::Real),
        [""; 0]
    );
    let config = load_text(Mode::Real, file, &[], &[]).unwrap();
    let unsealed = check::problems(&config, Which::AuditProjector, Mode::Real).join("\n");
    assert!(
        unsealed.contains("`secrets.master_key` is missing"),
        "{unsealed}"
    );
    let tracker = check::problems(&config, Which::WindowTracker, Mode::Real).join("\n");
    assert!(tracker.contains("customers.token_key"), "{tracker}");
    let config = load_text(Mode::Real, "", &[], &[]).unwrap();
    let alone = check::problems(&config, Which::Accounts, Mode::Real).join("\n");
    assert!(alone.contains("`log.servers` is empty"), "{alone}");
}

#[test]
fn the_demos_secrets_are_refused_everywhere_else() {
    let file = "[customers]\ntoken_key = \"demo-token-key-that-is-no-secret\"\n\
        [[api.tokens]]\nname = \"t\"\ntoken = \"demo-token\"\nscopes = [\"read\"]\n\
        [ingress.apps.default]\nsecrets = [\"demo-app-secret\"]\nverify_token = \"demo-verify-token\"\n\
        [ingress.twilio.accounts.default]\nauth_tokens = [\"demo-twilio-token\"]\n";
    let found = problems_with(file);
    for key in [
        "customers.token_key",
        "token t is the demo's",
        "ingress.apps.default.secrets",
        "ingress.apps.default.verify_token",
        "ingress.twilio.accounts.default.auth_tokens",
    ] {
        assert!(found.contains(key), "{key} in {found}");
    }
    for secret in check::DEMO_SECRETS
        .iter()
        .filter(|secret| secret.len() > 10)
    {
        assert!(!found.contains(secret), "a secret is told: {found}");
    }
}

#[test]
fn what_is_printed_has_no_secret_and_loads_again() {
    let file = "[customers]\ntoken_key = \"hunter2-hunter2-hunter2\"\n\
        [log]\nuser = \"u\"\npassword = \"hunter2\"\n\
        [[api.tokens]]\nname = \"t\"\ntoken = \"hunter2\"\nscopes = [\"read\"]\n\
        [ingress.apps.default]\nsecrets = [\"hunter2\"]\nverify_token = \"hunter2\"\n\
        [ingress.twilio.accounts.default]\nauth_tokens = [\"hunter2\"]\n";
    let config = load_text(Mode::Real, file, &[], &[]).unwrap();
    let printed = print(&config).unwrap();
    assert!(!printed.contains("hunter2"), "{printed}");
    assert!(printed.contains("token_key = \"<redacted>\""), "{printed}");
    let again = load_text(Mode::Real, &printed, &[], &[]).unwrap();
    assert_eq!(again.window, config.window);
}

/// As they stand in the defaults, commented.
fn sms_section() -> String {
    let lines = DEFAULTS
        .lines()
        .skip_while(|line| !line.starts_with("# --- SMS"))
        .take_while(|line| !line.starts_with("# --- Roles"))
        .filter(|line| !line.starts_with('['))
        .filter_map(|line| line.strip_prefix("# "));
    let is_toml =
        |line: &&str| line.starts_with('[') || line.contains(" = ") && !line.contains("; ");
    let mut text = String::new();
    for line in lines.filter(is_toml) {
        let section = match line.split_once(" = ").map(|(key, _)| key) {
            // Rows whose section stands in the defaults themselves.
            Some("49") => "[sms.senders]\n",
            _ => "",
        };
        text.push_str(section);
        text.push_str(line);
        text.push('\n');
    }
    text
}

#[test]
fn the_gateways_of_the_comments_are_sound_and_their_secrets_are_checked_and_never_printed() {
    let text = sms_section();
    let config = load_text(Mode::Real, &text, &[], &[]).unwrap();
    assert_eq!(config.sms.gateways.len(), 3, "{text}");
    assert_eq!(config.sms.senders.len(), 2, "{text}");
    assert_eq!(config.sms.problems(), [""; 0]);
    let found = problems_with(&text);
    for key in [
        "sms.gateways.main.auth_token",
        "sms.gateways.spare.private_key",
        "sms.gateways.acme.headers.authorization",
    ] {
        assert!(found.contains(key), "{key} in {found}");
    }
    // Both roles know them.
    assert_eq!(config.dispatcher.sms.senders.len(), 2);
    assert!(config.ingress.sms.is_sender_of("15550003333", "ACME", None));
    let inline = text.replace("{ file = \"secrets/twilio-auth-token\" }", "\"hunter2\"");
    let printed = print(&load_text(Mode::Real, &inline, &[], &[]).unwrap()).unwrap();
    assert!(!printed.contains("hunter2"), "{printed}");
    let again = load_text(Mode::Real, &printed, &[], &[]).unwrap();
    assert_eq!(again.sms.gateways.len(), 3, "{printed}");
    let found = problems_with("[sms.senders]\n49 = [{ gateway = \"gone\", sender = \"A\" }]\n");
    assert!(found.contains("`sms.gateways.gone`"), "{found}");
}

#[test]
fn the_gateway_alone_needs_no_broker_and_the_archive_is_in_one_place() {
    let text = "[gateway.upstreams]\nmessages = \"http://dispatcher:8081\"\n";
    let config = load_text(Mode::Real, text, &[], &[]).unwrap();
    assert_eq!(
        check::problems(&config, Which::Gateway, Mode::Real),
        [""; 0]
    );
    let found = check::problems(&config, Which::Accounts, Mode::Real).join("\n");
    assert!(found.contains("log.servers"), "{found}");

    let url = "[archive]\ndatabase_url = \"postgres://u:p@h/d\"\n";
    let config = load_text(Mode::Real, &format!("{REAL}{url}"), &[], &[]).unwrap();
    assert_eq!(check::problems(&config, Which::All, Mode::Real), [""; 0]);
    let printed = print(&config).unwrap();
    assert!(!printed.contains("u:p@h"), "{printed}");
    let both = format!("{REAL}{url}database_path = \"elsewhere.sqlite\"\n");
    let found = problems_with(&both);
    assert!(found.contains("archive.database_path"), "{found}");
}
