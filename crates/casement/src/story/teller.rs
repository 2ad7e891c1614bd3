//! How the story looks on the terminal.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};

use casement_simulator::Customer;
use tokio::time::Instant;

use super::Places;
use crate::{demo, output};

/// Tells lines with the time since the beginning.
pub(super) struct Teller {
    began: Instant,
}

impl Teller {
    pub(super) fn new() -> Self {
        Self {
            began: Instant::now(),
        }
    }

    /// Somebody does something.
    pub(super) fn says(&self, who: &str, text: &str) -> io::Result<()> {
        output::line(format!("{}  {who:<5} {text}", self.since()))
    }

    /// An event was seen on the log.
    pub(super) fn event(&self, name: &str, text: &str) -> io::Result<()> {
        output::line(format!("{}     ▸  {name:<16}  {text}", self.since()))
    }

    fn since(&self) -> String {
        format!("{:>6.2} s", self.began.elapsed().as_secs_f64())
    }
}

/// Something new begins.
pub(super) fn chapter(text: &str) -> io::Result<()> {
    output::line("")?;
    output::line(text)
}

/// Several lines that belong together.
pub(super) fn listing(title: &str, lines: &[String]) -> io::Result<()> {
    output::line("")?;
    output::line(format!("  {title}"))?;
    lines
        .iter()
        .try_for_each(|line| output::line(format!("    {line}")))
}

/// The end of an id: enough to tell two apart.
pub(super) fn short(id: &str) -> String {
    let skipped = id.chars().count().saturating_sub(6);
    if skipped == 0 {
        return id.to_owned();
    }
    format!("…{}", id.chars().skip(skipped).collect::<String>())
}

/// What runs where, and what to paste.
pub(super) fn print_box(places: &Places, customer: &Customer) -> io::Result<()> {
    let Places {
        api,
        api_scheme: _,
        console,
        webhooks,
        simulator,
        health,
        broker_url,
    } = places;
    let lines = [
        format!("console     http://{console}  (sign in with token)"),
        format!("API         {api}  (gRPC and HTTP+JSON)"),
        format!("webhooks    http://{webhooks}/webhooks/whatsapp"),
        format!("simulator   http://{simulator}/_sim"),
        format!("health      http://{health}/readyz  /livez  /metrics"),
        format!("NATS        {broker_url}"),
        "token       demo-token".to_owned(),
    ];
    let widths = lines.iter().map(|line| line.chars().count());
    let width = widths.max().unwrap_or(0);
    let rule =
        |left: char, right: char| output::line(format!("{left}{}{right}", "─".repeat(width + 2)));
    output::line("")?;
    rule('┌', '┐')?;
    lines
        .iter()
        .try_for_each(|line| output::line(format!("│ {line:<width$} │")))?;
    rule('└', '┘')?;
    output::line("It goes on running. In another terminal, at this place:")?;
    for (what, commands) in things_to_try(places, customer) {
        output::line("")?;
        if !what.is_empty() {
            output::line(what)?;
        }
        commands
            .iter()
            .try_for_each(|command| output::line(format!("  {command}")))?;
    }
    output::line("")?;
    output::line("Ctrl-C stops it.")
}

/// Returns commands to paste, with what each group is for.
fn things_to_try(places: &Places, customer: &Customer) -> Vec<(&'static str, Vec<String>)> {
    let program = std::env::args_os()
        .next()
        .unwrap_or_else(|| "casement".into());
    let program = program.to_string_lossy();
    let Places {
        api,
        api_scheme,
        simulator,
        broker_url,
        ..
    } = places;
    let phone = format!("+{}", customer.phone.as_deref().unwrap_or_default());
    let (number, template, language) = (demo::NUMBER, demo::TEMPLATE, demo::LANGUAGE);
    let phone_number_id = demo::PHONE_NUMBER_ID;
    let says = format!(
        "curl {simulator}/_sim/says -H 'content-type: application/json' -d \\\n    \
         '{{\"customer\":\"{phone}\",\"phone_number_id\":\"{phone_number_id}\",\"text\":\"Hi\"}}'"
    );
    let send = format!(
        "{program} send --to {phone} --template {template} --language {language} \\\n    \
         --param 1042 --purpose utility --wait delivered"
    );
    vec![
        (
            "",
            vec![
                format!("export CASEMENT_API={api_scheme}://{api} CASEMENT_TOKEN=demo-token"),
                format!("export CASEMENT_NATS={broker_url} CASEMENT_NUMBER={number}"),
            ],
        ),
        (
            "May Ana be written to freely? Let her write, and ask again.",
            vec![format!("{program} window --to {phone}"), says],
        ),
        (
            "Which way would a message to her go, and why? Send one.",
            vec![
                format!("{program} preview --to {phone} --text Hi --sms Hi --purpose service"),
                send,
            ],
        ),
        (
            "All that happened with her, and the proof that nothing of it was changed since.",
            vec![
                format!("{program} conversation timeline --to {phone}"),
                format!("{program} audit verify"),
            ],
        ),
        (
            "Follow the events, as a service of yours would; see which calls there are.",
            vec![
                format!("{program} events tail"),
                format!("nats -s {broker_url} sub --headers-only 'casement.events.window.>'"),
                format!("grpcurl -plaintext -H 'authorization: Bearer demo-token' {api} list"),
            ],
        ),
        (
            "Is everything well?",
            vec![format!("{program} doctor --demo{}", moved(places))],
        ),
    ]
}

/// Returns the flags that tell another command where this demo listens, where that is not the
/// usual place.
fn moved(places: &Places) -> String {
    let Places {
        api,
        api_scheme: _,
        console,
        webhooks,
        simulator,
        health,
        broker_url,
    } = places;
    let usual = |port: u16| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let broker = broker_url.trim_start_matches("nats://").parse().ok();
    [
        ("--api-listen", Some(*api), 8081),
        ("--console-listen", Some(*console), 8082),
        ("--webhooks-listen", Some(*webhooks), 8080),
        ("--simulator-listen", Some(*simulator), 8083),
        ("--health-listen", Some(*health), 8084),
        ("--nats-listen", broker, 4222),
    ]
    .into_iter()
    .filter_map(|(flag, at, port)| Some((flag, at.filter(|at| *at != usual(port))?)))
    .fold(String::new(), |mut flags, (flag, at)| {
        use std::fmt::Write as _;
        // Writing to a string cannot fail.
        let _ = write!(flags, " {flag} {at}");
        flags
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_moved_is_told_to_the_doctor() {
        let at = |port: u16| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let mut places = Places {
            api: at(8081),
            api_scheme: "http",
            console: at(8082),
            webhooks: at(8080),
            simulator: at(8083),
            health: at(8084),
            broker_url: "nats://127.0.0.1:4222".to_owned(),
        };
        assert_eq!(moved(&places), "");
        places.api = at(1);
        places.broker_url = "nats://127.0.0.1:2".to_owned();
        assert_eq!(
            moved(&places),
            " --api-listen 127.0.0.1:1 --nats-listen 127.0.0.1:2"
        );
    }

    #[test]
    fn an_id_is_shortened_to_its_end() {
        assert_eq!(short("c0123456789"), "…456789");
        assert_eq!(short("c1"), "c1");
    }
}
