//! `casement send` and `casement preview`: one message, really or just asked about.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use casement_event::v1;
use casement_proto::message::v1::{
    PreviewRouteRequest, SendMessageRequest, WaitFor as WireWait, send_message_request,
};
use casement_shell::config::ConfigError;
use casement_shell::{Clock as _, SystemClock};
use clap::{Args, ValueEnum};
use jiff::{SignedDuration, Timestamp};

use crate::cli::{ApiArgs, CustomerArgs, NumberArgs, assignment};
use crate::client::{Api, explain};
use crate::commands::consent::Source;
use crate::commands::message;
use crate::{json, output, person};

#[derive(Debug, Args)]
pub(crate) struct SendArgs {
    #[command(flatten)]
    request: RequestArgs,
    /// When to answer: once it is durable, once a provider was called, or once it was delivered
    #[arg(long, value_enum, default_value = "durable")]
    wait: Wait,
    #[command(flatten)]
    api: ApiArgs,
}

#[derive(Debug, Args)]
pub(crate) struct PreviewArgs {
    #[command(flatten)]
    request: RequestArgs,
    /// Decide as of this time instead of now, RFC 3339
    #[arg(long, value_name = "TIME")]
    at: Option<Timestamp>,
    #[command(flatten)]
    api: ApiArgs,
}

#[derive(Debug, Args)]
struct RequestArgs {
    #[command(flatten)]
    number: NumberArgs,
    #[command(flatten)]
    customer: CustomerArgs,
    #[command(flatten)]
    content: ContentArgs,
    /// What the message is for
    #[arg(long, value_enum)]
    purpose: Purpose,
    /// Which messages go first
    #[arg(long, value_enum)]
    priority: Option<Priority>,
    /// Routing policy
    #[arg(long, value_name = "NAME", default_value = "")]
    policy: String,
    /// The customer's time zone, as in `Europe/Berlin`, for a policy with quiet hours
    #[arg(long, value_name = "ZONE", default_value = "")]
    time_zone: String,
    /// How long it is worth sending, as in `2h`
    #[arg(long, value_name = "DURATION")]
    ttl: Option<SignedDuration>,
    /// Not before this time, RFC 3339
    #[arg(long, value_name = "TIME")]
    send_time: Option<Timestamp>,
    /// Take another channel if no delivery is reported this long after acceptance, as in `15m`
    #[arg(long, value_name = "DURATION")]
    failover_after: Option<SignedDuration>,
    /// Also where the customer may get the message twice
    #[arg(long)]
    accept_duplicate_risk: bool,
    /// Id of the message it answers
    #[arg(long, value_name = "ID", default_value = "")]
    reply_to: String,
    /// Your own reference, on every event of the message
    #[arg(long, value_name = "TEXT", default_value = "")]
    client_reference: String,
    /// A label, on every event of the message; may be repeated
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = assignment)]
    labels: Vec<(String, String)>,
    /// Makes the call safe to repeat
    #[arg(long, value_name = "ID", default_value = "")]
    request_id: String,
    /// Keep the content out of read models
    #[arg(long)]
    sensitive: bool,
    /// Decide only on a state not older than this position
    #[arg(long, value_name = "POSITION", default_value = "")]
    not_before: String,
    /// The account that pays, where the number has several
    #[arg(long, value_name = "ID", default_value = "")]
    messaging_account: String,
    #[command(flatten)]
    opt_in: OptInArgs,
}

/// The opt-in that a message rests on, where none is on record.
#[derive(Debug, Default, Args)]
struct OptInArgs {
    /// Vouch for the customer's opt-in, from this source
    #[arg(long = "opt-in", value_name = "SOURCE", value_enum)]
    source: Option<Source>,
    /// When the customer opted in, RFC 3339; now if left out
    #[arg(long = "opt-in-time", value_name = "TIME", requires = "source")]
    time: Option<Timestamp>,
    /// Where the proof is
    #[arg(
        long = "opt-in-evidence",
        value_name = "TEXT",
        default_value = "",
        requires = "source"
    )]
    evidence: String,
    /// Write it into the customer's record, too
    #[arg(long = "opt-in-record", requires = "source")]
    record: bool,
}

impl OptInArgs {
    fn build(self) -> Option<v1::ConsentAssertion> {
        let source = self.source?;
        let time = self.time.unwrap_or_else(|| SystemClock::new().now());
        Some(v1::ConsentAssertion {
            source: source.wire().into(),
            time: Some(casement_event::convert::timestamp(time)),
            evidence: self.evidence,
            record: self.record,
            ..v1::ConsentAssertion::default()
        })
    }
}

/// What to say, by route; at least one.
#[derive(Debug, Args)]
#[group(required = true, multiple = true)]
struct ContentArgs {
    /// Free-form text, for an open window
    #[arg(long, value_name = "TEXT")]
    text: Option<String>,
    /// Name of a template, for a closed one
    #[arg(long, value_name = "NAME", requires = "language")]
    template: Option<String>,
    /// Language of the template, as in `en_US`
    #[arg(long, value_name = "CODE", requires = "template")]
    language: Option<String>,
    /// A parameter of the template's body, in order; may be repeated
    #[arg(long = "param", value_name = "TEXT", requires = "template")]
    parameters: Vec<String>,
    /// A named parameter of the template's body; may be repeated
    #[arg(long = "named-param", value_name = "NAME=TEXT", requires = "template", value_parser = assignment)]
    named_parameters: Vec<(String, String)>,
    /// Text for SMS
    #[arg(long, value_name = "TEXT")]
    sms: Option<String>,
    /// SMS sender to use instead of the number's own
    #[arg(long, value_name = "SENDER", requires = "sms")]
    sms_sender: Option<String>,
    /// All of it as JSON instead (docs/sending.md): a file, or `-` for standard input
    #[arg(long, value_name = "FILE", conflicts_with_all = ["text", "template", "sms"])]
    content: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Purpose {
    Service,
    Utility,
    Authentication,
    Marketing,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Priority {
    Reply,
    Transactional,
    Bulk,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Wait {
    Durable,
    Attempted,
    Delivered,
}

pub(crate) async fn send(args: SendArgs) -> anyhow::Result<()> {
    let mut request = args.request.build()?;
    request.wait_for = match args.wait {
        Wait::Durable => WireWait::Durable,
        Wait::Attempted => WireWait::Attempted,
        Wait::Delivered => WireWait::Delivered,
    }
    .into();
    let api = Api::connect(&args.api).await?;
    let answer = api
        .messages()
        .send_message(request)
        .await
        .map_err(explain)?
        .into_inner();
    if args.api.output.json {
        return output::json(&json::of(
            "casement.message.v1.SendMessageResponse",
            &answer,
        )?);
    }
    message::print(&answer.message.unwrap_or_default())
}

pub(crate) async fn preview(args: PreviewArgs) -> anyhow::Result<()> {
    let request = PreviewRouteRequest {
        request: Some(args.request.build()?),
        evaluate_time: args.at.map(casement_event::convert::timestamp),
    };
    let api = Api::connect(&args.api).await?;
    let answer = api
        .messages()
        .preview_route(request)
        .await
        .map_err(explain)?
        .into_inner();
    if args.api.output.json {
        return output::json(&json::of(
            "casement.message.v1.PreviewRouteResponse",
            &answer,
        )?);
    }
    let decision = answer.decision.unwrap_or_default();
    output::line(format!(
        "route        {}",
        person::route(decision.chosen_route())
    ))?;
    let window = if decision.window_open {
        format!(
            "open until {}",
            person::time(decision.window_expire_time.as_ref())
        )
    } else {
        "closed".to_owned()
    };
    output::line(format!("window       {window}"))?;
    for (name, at) in [
        ("changes", &decision.next_change_time),
        ("earliest", &decision.earliest_send_time),
        ("held until", &decision.hold_until_time),
    ] {
        if at.is_some() {
            output::line(format!("{name:<12} {}", person::time(at.as_ref())))?;
        }
    }
    if decision.sms_segments > 0 {
        let (segments, encoding) = (decision.sms_segments, &decision.sms_encoding);
        output::line(format!("SMS          {segments} × {encoding}"))?;
    }
    for line in person::decision_table(&decision) {
        output::line(format!("  {line}"))?;
    }
    Ok(())
}

impl RequestArgs {
    fn build(self) -> anyhow::Result<SendMessageRequest> {
        use send_message_request::Customer;
        let customer = self
            .customer
            .to
            .map(Customer::To)
            .or_else(|| self.customer.recipient.map(Customer::Recipient))
            .or_else(|| self.customer.customer.map(Customer::CustomerId));
        if self.ttl.is_some_and(|ttl| !ttl.is_positive()) {
            return Err(ConfigError::check("--ttl must be longer than nothing").into());
        }
        Ok(SendMessageRequest {
            number: self.number.number,
            customer,
            content: Some(self.content.build()?),
            purpose: match self.purpose {
                Purpose::Service => v1::Purpose::Service,
                Purpose::Utility => v1::Purpose::Utility,
                Purpose::Authentication => v1::Purpose::Authentication,
                Purpose::Marketing => v1::Purpose::Marketing,
            }
            .into(),
            priority: match self.priority {
                None => v1::Priority::Unspecified,
                Some(Priority::Reply) => v1::Priority::Reply,
                Some(Priority::Transactional) => v1::Priority::Transactional,
                Some(Priority::Bulk) => v1::Priority::Bulk,
            }
            .into(),
            consent: self.opt_in.build(),
            policy: self.policy,
            ttl: self.ttl.map(casement_event::convert::duration),
            send_time: self.send_time.map(casement_event::convert::timestamp),
            reply_to_message_id: self.reply_to,
            client_reference: self.client_reference,
            labels: self
                .labels
                .into_iter()
                .map(|(key, value)| v1::Label { key, value })
                .collect(),
            request_id: self.request_id,
            sensitive: self.sensitive,
            not_before: self.not_before,
            wait_for: WireWait::Unspecified.into(),
            messaging_account_id: self.messaging_account,
            time_zone: self.time_zone,
            failover_after: self.failover_after.map(casement_event::convert::duration),
            accept_duplicate_risk: self.accept_duplicate_risk,
        })
    }
}

impl ContentArgs {
    fn build(self) -> anyhow::Result<v1::Content> {
        if let Some(path) = &self.content {
            return read_content(path);
        }
        let parameter = |name: String, text: String| v1::TemplateParameter {
            name,
            value: Some(v1::template_parameter::Value::Text(text)),
        };
        let parameters: Vec<_> = self
            .parameters
            .into_iter()
            .map(|text| parameter(String::new(), text))
            .chain(
                self.named_parameters
                    .into_iter()
                    .map(|(name, text)| parameter(name, text)),
            )
            .collect();
        let components = if parameters.is_empty() {
            Vec::new()
        } else {
            vec![v1::TemplateComponent {
                r#type: "body".to_owned(),
                parameters,
                ..Default::default()
            }]
        };
        Ok(v1::Content {
            free_form: self.text.map(|text| v1::FreeForm {
                text,
                ..v1::FreeForm::default()
            }),
            template: self.template.map(|name| v1::TemplateContent {
                name,
                language: self.language.unwrap_or_default(),
                components,
                cards: Vec::new(),
            }),
            sms: self.sms.map(|text| v1::SmsContent {
                text,
                sender: self.sms_sender.unwrap_or_default(),
            }),
        })
    }
}

fn read_content(path: &Path) -> anyhow::Result<v1::Content> {
    let mut text = String::new();
    let read = if path == Path::new("-") {
        std::io::stdin().read_to_string(&mut text).map(|_| ())
    } else {
        std::fs::read_to_string(path).map(|read| text = read)
    };
    let what = || format!("{} cannot be read", path.display());
    read.with_context(what)?;
    json::read("casement.events.v1.Content", &text)
        .with_context(|| format!("{} is no content", path.display()))
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::cli::{Cli, Command};

    fn request(words: &str) -> SendMessageRequest {
        let words = std::iter::once("casement").chain(words.split_whitespace());
        let Command::Send(args) = Cli::try_parse_from(words).unwrap().command else {
            panic!("not `send`");
        };
        args.request.build().unwrap()
    }

    #[test]
    fn every_flag_lands_in_the_request() {
        let request = request(
            "send --number +15550001111 --to +15550100001 --text Hi --template order_update \
             --language en_US --param 42 --named-param who=Ana --sms Hello --purpose utility \
             --priority bulk --ttl 2h --label team=a=b --request-id r1 --sensitive \
             --send-time 2026-12-24T08:00:00Z --failover-after 15m --accept-duplicate-risk",
        );
        let content = request.content.clone().unwrap();
        assert_eq!(content.free_form.unwrap().text, "Hi");
        let template = content.template.unwrap();
        assert_eq!(
            (template.name.as_str(), template.language.as_str()),
            ("order_update", "en_US")
        );
        let parameters = &template.components[0].parameters;
        assert_eq!(parameters.len(), 2);
        assert_eq!(parameters[1].name, "who");
        assert_eq!(content.sms.unwrap().text, "Hello");
        assert_eq!(request.purpose(), v1::Purpose::Utility);
        assert_eq!(request.priority(), v1::Priority::Bulk);
        assert_eq!(request.ttl.unwrap().seconds, 7200);
        assert_eq!(request.labels[0].value, "a=b");
        assert!(request.sensitive);
        assert_eq!(request.failover_after.unwrap().seconds, 900);
        assert!(request.send_time.is_some() && request.accept_duplicate_risk);
    }

    #[test]
    fn a_message_says_something() {
        let words = "casement send --number +1 --to +2 --purpose service";
        assert!(Cli::try_parse_from(words.split_whitespace()).is_err());
    }
}
