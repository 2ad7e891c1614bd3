//! `casement figures`: what happened, by day and number, as a table for people, JSON, or CSV for
//! whatever reads tables.

use casement_event::v1::{Label, MessageOutcome, Route};
use casement_proto::figures::v1::{
    CostSum, DailyFigures, Figures, FiguresFilter, ListDailyFiguresRequest,
};
use casement_shell::config::ConfigError;
use clap::Args;

use crate::cli::ApiArgs;
use crate::client::{Api, explain};
use crate::{json, output};

#[derive(Debug, Args)]
pub(crate) struct FiguresArgs {
    /// Of this brand; the token's own if not given
    #[arg(long, value_name = "BRAND", default_value = "")]
    brand: String,
    /// Of this business number, E.164 with plus
    #[arg(long, value_name = "NUMBER", default_value = "")]
    number: String,
    /// Of messages with this label, as in key=value
    #[arg(long, value_name = "LABEL")]
    label: Option<String>,
    /// The first day, as in 2026-11-23; today if not given
    #[arg(long, value_name = "DAY", default_value = "")]
    from: String,
    /// The last day, which is in; today if not given
    #[arg(long, value_name = "DAY", default_value = "")]
    to: String,
    /// Where days begin and end, such as Europe/Berlin
    #[arg(long, value_name = "ZONE", default_value = "")]
    time_zone: String,
    /// As comma-separated values, with a line of names first
    #[arg(long)]
    csv: bool,
    #[command(flatten)]
    api: ApiArgs,
}

impl FiguresArgs {
    fn filter(&self) -> Result<FiguresFilter, ConfigError> {
        let label = self.label.as_ref().map(|text| {
            let (key, value) = text
                .split_once('=')
                .ok_or_else(|| ConfigError::check(format!("`{text}` is no label: key=value")))?;
            Ok::<_, ConfigError>(Label {
                key: key.to_owned(),
                value: value.to_owned(),
            })
        });
        Ok(FiguresFilter {
            brand_id: self.brand.clone(),
            number: self.number.clone(),
            label: label.transpose()?,
            start_date: self.from.clone(),
            end_date: self.to.clone(),
            time_zone: self.time_zone.clone(),
        })
    }
}

pub(crate) async fn run(args: FiguresArgs) -> anyhow::Result<()> {
    let filter = args.filter()?;
    let api = Api::connect(&args.api).await?;
    let mut client = api.figures();
    let mut page_token = String::new();
    let mut is_first = true;
    loop {
        let request = ListDailyFiguresRequest {
            filter: Some(filter.clone()),
            page_size: 500,
            page_token,
            not_before: String::new(),
        };
        let answer = client.list_daily_figures(request).await.map_err(explain)?;
        let page = answer.into_inner();
        if is_first && args.csv {
            output::line(csv(&HEAD.map(str::to_owned)))?;
        }
        if is_first && !args.csv && !args.api.output.json {
            output::line(format!("days of {}", page.time_zone))?;
            if page.days.is_empty() {
                output::line("nothing happened")?;
            }
        }
        is_first = false;
        for day in &page.days {
            if args.csv {
                output::line(csv(&columns(day)))?;
            } else if args.api.output.json {
                output::json(&json::of("casement.figures.v1.DailyFigures", day)?)?;
            } else {
                output::line(line(day))?;
            }
        }
        if page.next_page_token.is_empty() {
            return Ok(());
        }
        page_token = page.next_page_token;
    }
}

/// Names of the columns. New ones come at the end.
const HEAD: [&str; 33] = [
    "date",
    "brand_id",
    "number",
    "received",
    "received_sms",
    "calls",
    "requested",
    "sent_free_form",
    "sent_template",
    "sent_sms",
    "delivered_free_form",
    "delivered_template",
    "delivered_sms",
    "read_free_form",
    "read_template",
    "failed_free_form",
    "failed_template",
    "failed_sms",
    "unknown",
    "failovers",
    "held",
    "ended_delivered",
    "ended_unconfirmed",
    "ended_failed",
    "ended_expired",
    "ended_cancelled",
    "ended_otherwise",
    "expired_unanswered",
    "responses",
    "response_seconds_median",
    "response_seconds_p90",
    "cost_estimated",
    "cost_reported",
];

fn columns(day: &DailyFigures) -> [String; 33] {
    let none = Figures::default();
    let figures = day.figures.as_ref().unwrap_or(&none);
    let route = |route: Route| {
        let found = figures.routes.iter().find(|one| one.route() == route);
        found.copied().unwrap_or_default()
    };
    let (free, template, sms) = (
        route(Route::FreeForm),
        route(Route::Template),
        route(Route::Sms),
    );
    let ended = |wanted: &[MessageOutcome]| {
        let of = figures
            .outcomes
            .iter()
            .filter(|one| wanted.contains(&one.outcome()));
        of.map(|one| one.count).sum::<u64>()
    };
    let sum = |add: fn(&CostSum) -> u64| money(figures, add);
    let response = figures.response_times.unwrap_or_default();
    let seconds = |time: Option<prost_types::Duration>| {
        time.map(|time| format!("{}.{:03}", time.seconds, time.nanos / 1_000_000))
            .unwrap_or_default()
    };
    let unknown: u64 = figures.routes.iter().map(|one| one.unknown_count).sum();
    let failovers: u64 = figures.failovers.iter().map(|one| one.count).sum();
    let count = |count: u64| count.to_string();
    [
        day.date.clone(),
        day.brand_id.clone(),
        day.number.clone(),
        count(figures.received_count),
        count(figures.received_sms_count),
        count(figures.call_count),
        count(figures.requested_count),
        count(free.sent_count),
        count(template.sent_count),
        count(sms.sent_count),
        count(free.delivered_count),
        count(template.delivered_count),
        count(sms.delivered_count),
        count(free.read_count),
        count(template.read_count),
        count(free.failed_count),
        count(template.failed_count),
        count(sms.failed_count),
        count(unknown),
        count(failovers),
        count(figures.held_count),
        count(ended(&[MessageOutcome::Delivered])),
        count(ended(&[MessageOutcome::Unconfirmed])),
        count(ended(&[MessageOutcome::Failed])),
        count(ended(&[MessageOutcome::Expired])),
        count(ended(&[MessageOutcome::Cancelled])),
        count(ended(&[
            MessageOutcome::Unknown,
            MessageOutcome::UnreachableBySms,
        ])),
        count(figures.expired_unanswered_count),
        count(response.count),
        seconds(response.median),
        seconds(response.p90),
        sum(|cost| cost.estimated_micros),
        sum(|cost| cost.reported_micros),
    ]
}

/// Money by currency, such as `1.250000 EUR`.
fn money(figures: &Figures, add: fn(&CostSum) -> u64) -> String {
    let mut sums = std::collections::BTreeMap::<&str, u64>::new();
    for cost in &figures.costs {
        if !cost.currency.is_empty() {
            *sums.entry(&cost.currency).or_default() += add(cost);
        }
    }
    let sums = sums.into_iter().map(|(currency, micros)| {
        format!(
            "{}.{:06} {currency}",
            micros / 1_000_000,
            micros % 1_000_000
        )
    });
    sums.collect::<Vec<_>>().join("; ")
}

/// One line, quoted where that is needed (RFC 4180).
fn csv(columns: &[String]) -> String {
    let quoted = columns.iter().map(|text| {
        // What a spreadsheet would take for a formula is text. A phone number with its plus stays.
        let is_formula = text.starts_with(['=', '-', '@', '\t', '\r'])
            || (text.starts_with('+') && !text[1..].chars().all(|char| char.is_ascii_digit()));
        let text = if is_formula {
            format!("'{text}")
        } else {
            text.clone()
        };
        if text.contains(['"', ',', '\n', '\r']) {
            format!("\"{}\"", text.replace('"', "\"\""))
        } else {
            text
        }
    });
    quoted.collect::<Vec<_>>().join(",")
}

fn line(day: &DailyFigures) -> String {
    let none = Figures::default();
    let figures = day.figures.as_ref().unwrap_or(&none);
    let sent: u64 = figures.routes.iter().map(|one| one.sent_count).sum();
    let failed: u64 = figures.routes.iter().map(|one| one.failed_count).sum();
    let mut text = format!(
        "{}  {}  {}  received {}, sent {sent}, failed {failed}, held {}, expired unanswered {}",
        day.date,
        day.brand_id,
        day.number,
        figures.received_count,
        figures.held_count,
        figures.expired_unanswered_count,
    );
    let median = figures
        .response_times
        .as_ref()
        .and_then(|times| times.median);
    if let Some(median) = median {
        text.extend([", answered in ", &median.seconds.to_string(), " s"]);
    }
    let cost = money(figures, |cost| cost.estimated_micros + cost.reported_micros);
    if !cost.is_empty() {
        text.extend([", cost ", &cost]);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_day_has_a_value_for_each_name() {
        let day = DailyFigures {
            date: "2026-11-23".to_owned(),
            brand_id: "a,b".to_owned(),
            number: "+4930123".to_owned(),
            figures: None,
        };
        let line = csv(&columns(&day));
        assert!(
            line.starts_with("2026-11-23,\"a,b\",+4930123,0,0,"),
            "{line}"
        );
        assert_eq!(columns(&day).len(), HEAD.len());
    }

    #[test]
    fn what_a_spreadsheet_would_run_is_text() {
        let text = csv(&[
            "=1+1".to_owned(),
            "+SUM(A1)".to_owned(),
            "say \"hi\"".to_owned(),
        ]);
        assert_eq!(text, "'=1+1,'+SUM(A1),\"say \"\"hi\"\"\"");
    }
}
