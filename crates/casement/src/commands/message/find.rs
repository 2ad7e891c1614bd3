//! `casement message list`, `watch` and `retry`: messages found by what is known of them, told as
//! they change, and requested again.

use casement_event::v1::{Label, MessageOutcome};
use casement_proto::message::v1::send_result::Result as Told;
use casement_proto::message::v1::{
    ListMessagesRequest, Message, MessageFilter, MessageState, RetryMessagesRequest,
    WatchMessagesRequest,
};
use casement_shell::config::ConfigError;
use clap::Args;

use crate::cli::ApiArgs;
use crate::client::{Api, explain};
use crate::{json, output, person};

#[derive(Debug, Args)]
pub(crate) struct FilterArgs {
    /// Of this business number, E.164 with plus
    #[arg(long, value_name = "NUMBER", default_value = "")]
    number: String,
    /// To this customer
    #[arg(long, value_name = "ID", default_value = "")]
    customer_id: String,
    /// In this state, such as held; may be repeated
    #[arg(long = "state", value_name = "STATE")]
    states: Vec<String>,
    /// Ended so, such as failed; may be repeated
    #[arg(long = "outcome", value_name = "OUTCOME")]
    outcomes: Vec<String>,
    /// In its state for this reason, such as `NO_ROUTE`
    #[arg(long, value_name = "REASON", default_value = "")]
    reason: String,
    /// With this reference of yours
    #[arg(long, value_name = "TEXT", default_value = "")]
    client_reference: String,
    /// With this label, as in key=value, or of this key; may be repeated
    #[arg(long = "label", value_name = "LABEL")]
    labels: Vec<String>,
    /// With this id of a provider's, such as wamid.…
    #[arg(long, value_name = "ID", default_value = "")]
    provider_message_id: String,
    /// Refused with this code by a provider
    #[arg(long, value_name = "CODE", default_value_t = 0)]
    error_code: i64,
}

#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    #[command(flatten)]
    filter: FilterArgs,
    /// How many at most
    #[arg(long, value_name = "COUNT", default_value_t = 50)]
    limit: u16,
    /// Answer only from a state not older than this position
    #[arg(long, value_name = "POSITION", default_value = "")]
    not_before: String,
    #[command(flatten)]
    api: ApiArgs,
}

#[derive(Debug, Args)]
pub(crate) struct WatchArgs {
    #[command(flatten)]
    filter: FilterArgs,
    /// Go on after this position; without it, from now on
    #[arg(long, value_name = "POSITION", default_value = "")]
    after: String,
    #[command(flatten)]
    api: ApiArgs,
}

#[derive(Debug, Args)]
pub(crate) struct RetryArgs {
    /// The ids of the messages
    #[arg(required = true, num_args = 1..=500)]
    message_ids: Vec<String>,
    /// Also what the customer may have got, or may yet get
    #[arg(long)]
    accept_duplicate_risk: bool,
    #[command(flatten)]
    api: ApiArgs,
}

impl FilterArgs {
    fn read(self) -> Result<MessageFilter, ConfigError> {
        let constant = |word: &str| word.to_ascii_uppercase().replace([' ', '-'], "_");
        let states = self.states.iter().map(|word| {
            let name = format!("MESSAGE_STATE_{}", constant(word));
            MessageState::from_str_name(&name)
                .map(i32::from)
                .ok_or_else(|| ConfigError::check(format!("`{word}` is no state of a message")))
        });
        let outcomes = self.outcomes.iter().map(|word| {
            let name = format!("MESSAGE_OUTCOME_{}", constant(word));
            MessageOutcome::from_str_name(&name)
                .map(i32::from)
                .ok_or_else(|| ConfigError::check(format!("no message ends as `{word}`")))
        });
        let label = |text: &String| {
            let (key, value) = text.split_once('=').unwrap_or((text, ""));
            Label {
                key: key.to_owned(),
                value: value.to_owned(),
            }
        };
        Ok(MessageFilter {
            states: states.collect::<Result<_, _>>()?,
            outcomes: outcomes.collect::<Result<_, _>>()?,
            labels: self.labels.iter().map(label).collect(),
            number: self.number,
            customer_id: self.customer_id,
            reason: self.reason,
            client_reference: self.client_reference,
            provider_message_id: self.provider_message_id,
            error_code: self.error_code,
            ..MessageFilter::default()
        })
    }
}

pub(crate) async fn list(args: ListArgs) -> anyhow::Result<()> {
    let request = ListMessagesRequest {
        filter: Some(args.filter.read()?),
        page_size: args.limit.into(),
        page_token: String::new(),
        not_before: args.not_before,
    };
    let api = Api::connect(&args.api).await?;
    let answer = api.message_queries().list_messages(request).await;
    let answer = answer.map_err(explain)?.into_inner();
    if args.api.output.json {
        let name = "casement.message.v1.ListMessagesResponse";
        return output::json(&json::of(name, &answer)?);
    }
    for message in &answer.messages {
        output::line(line(message))?;
    }
    if !answer.next_page_token.is_empty() {
        output::line("there are more: narrow it down, or raise --limit (at most 500)")?;
    }
    Ok(())
}

pub(crate) async fn watch(args: WatchArgs) -> anyhow::Result<()> {
    let request = WatchMessagesRequest {
        filter: Some(args.filter.read()?),
        after_position: args.after,
    };
    let api = Api::connect(&args.api).await?;
    let answers = api.message_queries().watch_messages(request).await;
    let mut answers = answers.map_err(explain)?.into_inner();
    while let Some(answer) = answers.message().await.map_err(explain)? {
        if args.api.output.json {
            let name = "casement.message.v1.WatchMessagesResponse";
            output::json(&json::of(name, &answer)?)?;
        } else if let Some(message) = &answer.message {
            let event = answer.event_type.rsplit('.').next().unwrap_or_default();
            output::line(format!("{}  {event}  {}", line(message), answer.position))?;
        }
    }
    Ok(())
}

pub(crate) async fn retry(args: RetryArgs) -> anyhow::Result<()> {
    let api = Api::connect(&args.api).await?;
    let request = RetryMessagesRequest {
        message_ids: args.message_ids.clone(),
        accept_duplicate_risk: args.accept_duplicate_risk,
    };
    let answer = api.messages().retry_messages(request).await;
    let answer = answer.map_err(explain)?.into_inner();
    if args.api.output.json {
        let name = "casement.message.v1.RetryMessagesResponse";
        return output::json(&json::of(name, &answer)?);
    }
    for (id, result) in args.message_ids.iter().zip(answer.results) {
        output::line(match result.result {
            Some(Told::Accepted(accepted)) => {
                let new = accepted.message.unwrap_or_default().message_id;
                format!("{id}  again as {new}")
            }
            Some(Told::Refused(refused)) => {
                format!("{id}  not again: {} ({})", refused.message, refused.reason)
            }
            None => format!("{id}  not again"),
        })?;
    }
    Ok(())
}

/// A message in a line.
fn line(message: &Message) -> String {
    let state = person::word(message.state().as_str_name(), "MESSAGE_STATE_");
    let outcome = person::word(message.outcome().as_str_name(), "MESSAGE_OUTCOME_");
    let state = match message.state() {
        MessageState::Ended => outcome,
        _ => state,
    };
    let mut line = format!(
        "{}  {}  {state:<12}",
        person::time(message.request_time.as_ref()),
        message.message_id
    );
    if !message.reason.is_empty() {
        line.push_str("  ");
        line.push_str(&message.reason);
    }
    if !message.client_reference.is_empty() {
        line.push_str("  ");
        line.push_str(&message.client_reference);
    }
    line
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        filter: FilterArgs,
    }

    fn read(words: &[&str]) -> Result<MessageFilter, ConfigError> {
        let words = std::iter::once("list").chain(words.iter().copied());
        Line::try_parse_from(words).unwrap().filter.read()
    }

    #[test]
    fn states_and_outcomes_are_words_and_labels_are_pairs_or_keys() {
        let filter = read(&[
            "--state",
            "held-for-quality-assessment",
            "--outcome",
            "Failed",
            "--label",
            "campaign=spring=1",
            "--label",
            "team",
        ])
        .unwrap();
        assert_eq!(
            filter.states,
            [i32::from(MessageState::HeldForQualityAssessment)]
        );
        assert_eq!(filter.outcomes, [i32::from(MessageOutcome::Failed)]);
        assert_eq!(filter.labels[0].value, "spring=1");
        assert_eq!(
            (
                filter.labels[1].key.as_str(),
                filter.labels[1].value.as_str()
            ),
            ("team", "")
        );
        assert!(read(&["--state", "lost"]).is_err());
    }
}
