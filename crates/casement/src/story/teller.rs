//! How the story looks on the terminal.

use std::io;

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
    let program = std::env::args_os()
        .next()
        .unwrap_or_else(|| "casement".into());
    let program = program.to_string_lossy();
    let Places {
        api,
        webhooks,
        simulator,
        health,
        broker_url,
    } = places;
    let phone = format!("+{}", customer.phone.as_deref().unwrap_or_default());
    let (number, template, language) = (demo::NUMBER, demo::TEMPLATE, demo::LANGUAGE);
    let phone_number_id = demo::PHONE_NUMBER_ID;
    let places = [
        format!("API         {api}  (gRPC and HTTP+JSON)"),
        format!("webhooks    http://{webhooks}/webhooks/whatsapp"),
        format!("simulator   http://{simulator}/_sim"),
        format!("health      http://{health}/readyz  /livez  /metrics"),
        format!("NATS        {broker_url}"),
        "token       demo-token".to_owned(),
    ];
    let commands = [
        format!("export CASEMENT_API=http://{api} CASEMENT_TOKEN=demo-token"),
        format!("export CASEMENT_NATS={broker_url} CASEMENT_NUMBER={number}"),
        format!("{program} window --to {phone}"),
        format!("{program} conversation timeline --to {phone}"),
        format!("{program} preview --to {phone} --text Hi --sms Hi --purpose service"),
        format!(
            "{program} send --to {phone} --template {template} --language {language} \\\n  \
             --param 1042 --purpose utility --wait delivered"
        ),
        format!(
            "curl {simulator}/_sim/says -H 'content-type: application/json' -d \\\n  \
             '{{\"customer\":\"{phone}\",\"phone_number_id\":\"{phone_number_id}\",\"text\":\"Hi\"}}'"
        ),
        format!("{program} events tail"),
        format!("{program} audit verify"),
        format!("nats -s {broker_url} sub --headers-only 'casement.events.window.>'"),
        format!("grpcurl -plaintext -H 'authorization: Bearer demo-token' {api} list"),
    ];
    let width = places
        .iter()
        .map(|line| line.chars().count())
        .max()
        .unwrap_or(0);
    let rule =
        |left: char, right: char| output::line(format!("{left}{}{right}", "─".repeat(width + 2)));
    output::line("")?;
    rule('┌', '┐')?;
    places
        .iter()
        .try_for_each(|line| output::line(format!("│ {line:<width$} │")))?;
    rule('└', '┘')?;
    output::line("In another terminal:")?;
    output::line("")?;
    commands.iter().try_for_each(output::line)?;
    output::line("")?;
    output::line("Ctrl-C stops it.")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_shortened_to_its_end() {
        assert_eq!(short("c0123456789"), "…456789");
        assert_eq!(short("c1"), "c1");
    }
}
