//! What the command line takes, and what it refuses.

use clap::CommandFactory as _;

use super::*;

fn parse(words: &str) -> Result<Cli, clap::Error> {
    Cli::try_parse_from(std::iter::once("casement").chain(words.split_whitespace()))
}

#[test]
fn the_command_line_is_sound() {
    Cli::command().debug_assert();
}

#[test]
fn flags_become_keys_and_set_has_the_last_word() {
    let words = "up --demo --api-listen 127.0.0.1:1 --data-dir d --set api.listen=127.0.0.1:2 \
                 --set window.leads=[\"1h\"]";
    let Command::Up(args) = parse(words).unwrap().command else {
        panic!("not `up`");
    };
    let overrides = args.config.overrides();
    let told: Vec<_> = overrides
        .iter()
        .map(|(key, value)| (key.as_str(), value.as_str()))
        .collect();
    assert_eq!(
        told,
        [
            ("api.listen", "127.0.0.1:1"),
            ("data_dir", "d"),
            ("api.listen", "127.0.0.1:2"),
            ("window.leads", "[\"1h\"]"),
        ]
    );
}

#[test]
fn what_makes_no_sense_together_is_refused() {
    for words in [
        "up --ephemeral --data-dir d",
        "up --exit-after-story",
        "up --set nonsense",
        "up --set =1",
        "up --api-listen 8081",
        "send --number +1 --to +2 --customer c --text hi --purpose service",
        "send --number +1 --text hi --purpose service",
        "window --number +1",
        "window",
        "window explain --number +1",
        "window --number +1 watch",
        "window watch --kind gone",
        "backup",
        "subscriber add shop --events window",
        "subscriber add a.b --all-numbers --events window",
        "restore there --only half",
        "replay raw",
        "replay raw --from yesterday",
        "dead retry",
        "dead retry 3 --all",
        "message cancel-all --number +1 --brand acme",
        "halts pause --number +1 --label a=b",
        "consent show --number +1",
        "consent record --number +1 --to +2 --opt-in --opt-out --source paper",
        "consent record --number +1 --to +2 --opt-in",
        "send --number +1 --to +2 --text hi --purpose service --opt-in-time 2026-11-22T10:00:00Z",
        "parked release",
        "connect --waba 8 --phone-number-id 7 --token-file t",
        "fly",
    ] {
        assert!(parse(words).is_err(), "{words}");
    }
}

#[test]
fn roles_and_client_commands_read() {
    for words in [
        "ingress --config f.toml",
        "window-tracker --print-config",
        "dispatcher",
        "accounts --check-config",
        "audit-projector",
        "gateway --config f.toml --api-listen 127.0.0.1:8081 --console-listen 127.0.0.1:8082",
        "simulate --script s.toml",
        "simulate --app-secret-file a --graph-token-file g",
        "story --token-file t --nats-password-file p --window 20s",
        "connect --waba 8 --phone-number-id 7 --token-file t --app-secret-file s --app-id 6 --verify-token-file v --callback-url https://x --graph-url http://y --write a.toml --json",
        "connect --waba 8 --phone-number-id 7 --token-file t --app-secret-file s --api http://x --token k",
        "doctor",
        "doctor --config f.toml --number +1 --number +2 --json",
        "doctor --demo --data-dir d",
        "send --number +1 --to +2 --text hi --template order_update --language en_US --param 42 --sms hi --purpose utility --wait delivered --json",
        "preview --number +1 --recipient US.1 --text hi --purpose service --at 2026-11-22T10:00:00Z",
        "window --number +1 --to +2 --json",
        "window explain --number +1 --to +2 --json",
        "window watch",
        "window watch --number +1 --number +2 --kind expiring --kind expired --after p --json",
        "conversation get --number +1 --customer c",
        "conversation list --state open",
        "conversation timeline --number +1 --to +2",
        "conversation list --status locked --status awaiting-reply --assignee ana --unread true",
        "conversation list --label vip --closed false --order heard",
        "conversation note --number +1 --to +2 --author ana @bo knows more",
        "conversation assign --number +1 --to +2 --author ana bo --etag 1-a",
        "conversation unassign --number +1 --to +2",
        "conversation read --number +1 --to +2",
        "conversation close --number +1 --customer c --request-id 7",
        "conversation reopen --number +1 --customer c",
        "conversation label --number +1 --customer c --add vip --remove new",
        "conversation mentions ana --page-size 5",
        "media get 1-2",
        "media download 1-2 --output a.jpg --json",
        "message get 1-2",
        "message cancel 1-2",
        "message cancel-all --label campaign=spring --held-only --json",
        "message cancel-all --number +1 --customer-id c --client-reference r",
        "halts pause --brand acme --reason no",
        "halts resume --halt h",
        "consent show --number +1 --to +2 --history --json",
        "migrate check --number +1 --waba 2 --recorded-token-file t --pin-file p",
        "migrate start --number +1 --waba 2 --token-secret b/t --pin-secret b/p --vouch two-step-disabled --vouch payment-method --code-by voice --language de",
        "migrate code mig-1 123456",
        "migrate code mig-1",
        "migrate resend mig-1 --code-by sms",
        "migrate show mig-1 --json",
        "migrate list --number +1 --open",
        "migrate cancel mig-1 --reason later",
        "migrate away --number +1 --reason sold",
        "migrate returned --number +1",
        "consent record --number +1 --to +2 --opt-in --source web-form --purpose marketing --channel sms --wording x --wording-version 2 --language de --evidence e --recorded-by ana --item-id i",
        "consent record --number +1 --customer c --opt-out --source phone-call --time 2026-11-22T10:00:00Z",
        "consent import items.ndjson --json",
        "consent export --number +1 --identifiers",
        "customer export --number +1 --to +2 --reason ticket-7 --media files",
        "customer export --number +1 --customer c",
        "customer erase --number +1 --to +2 --reason ticket-7",
        "customer erase --number +1 --customer c --confirm c --request-id r --wait 5 --json",
        "customer erasures --json",
        "customer erasures e",
        "send --number +1 --to +2 --sms hi --purpose service --opt-in web-form --opt-in-time 2026-11-22T10:00:00Z --opt-in-evidence e --opt-in-record",
        "template sync --waba 8 --name order",
        "template list --waba 8 --status paused --json",
        "template show --waba 8 --name order --language en_US",
        "template create --file t.json --request-id r --allow-category-change",
        "template edit --file t.json --json",
        "template delete --waba 8 --name order",
        "template render --waba 8 --name order --language en --param 42 --named-param who=Ana",
        "events tail --from start --json",
        "broker init --site a --seeds b --seen-at /c --host nats --host 127.0.0.1 --renew --json",
        "subscriber add shop --numbers +15550001111,+15550002222 --events window,message --address nats://n:4222 --language node",
        "subscriber remove shop --reload-nkey-file f",
        "application start --number +1 --business-id 9 --display-name Shop --brand b --request-id r",
        "application list --state started --state activated --number +1 --json",
        "application accept-invite a --etag 1-7",
        "application verification a --status rejected --evidence t --reason x",
        "application sign-terms a",
        "application activate a --onboarding o",
        "application cancel a --reason later",
        "brand list",
        "brand set shop --messages-per-day 10 --over-quota-waits true --monthly-cap 10 --template sale_*",
        "brand figures shop --from 2026-11-01T00:00:00Z --json",
        "audit export --brand shop --stream MESSAGES",
        "audit verify --stream EVENTS",
        "audit verify --database data/archive.sqlite --master-key-file k",
        "audit verify --database postgres://u@h/d --key k --head n",
        "audit verify --database-url-file f",
        "audit verify --export e.ndjson --key a+1+b --key k",
        "audit export --database data/archive.sqlite --stream EVENTS",
        "audit export --plain --event-type t",
        "audit chains --stream EVENTS --json",
        "audit heads --newest --incarnation 1a",
        "audit key",
        "backup there --only archive --config f.toml --json",
        "backup there --demo --data-dir d",
        "restore there --check --config f.toml",
        "restore there --only log --erasures newer --erasures newest --json",
        "backup there --only erasures",
        "figures --from 2026-11-01 --to 2026-11-23 --time-zone Europe/Berlin --csv",
        "acts --type NumberPaused --caller ops --json",
        "stuck --number +1 --limit 10",
        "figures --brand shop --number +1 --label team=sales --json",
        "replay raw --from 2h --config f.toml --json",
        "replay raw --from 2026-11-22T00:00:00Z --to 2026-11-22T10:00:00Z --demo",
        "dead list --role ingress",
        "dead show 3 --json",
        "dead retry 3 4 --reason fixed",
        "dead drop --all --demo",
        "parked list --all",
        "watch --check token-expiry --all --demo --json",
        "parked release 111",
        "healthcheck",
        "healthcheck http://127.0.0.1:1/livez",
    ] {
        if let Err(error) = parse(words) {
            panic!("{words}: {error}");
        }
    }
}
