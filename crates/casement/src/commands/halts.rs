//! `casement halts`: what is not sent for now and why; pausing by hand, and resuming.

use casement_event::convert::timestamp;
use casement_event::v1;
use casement_proto::message::v1::halt_target::Target;
use casement_proto::message::v1::resume_sends_request::What;
use casement_proto::message::v1::{
    HaltTarget, LabelTarget, ListHaltsRequest, PauseSendsRequest, ResumeSendsRequest, StandingHalt,
    TemplateTarget,
};
use clap::{Args, Subcommand};
use jiff::Timestamp;

use crate::cli::ApiArgs;
use crate::client::{Api, explain};
use crate::{json, output, person};

#[derive(Debug, Subcommand)]
pub(crate) enum HaltsCommand {
    /// List what is halted, by hand or by the platform, and how many messages wait
    List(ListArgs),
    /// Stop sending for a brand, a number, a template or a label
    Pause(PauseArgs),
    /// Lift what is halted for a target, or one halt
    Resume(ResumeArgs),
}

#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    #[command(flatten)]
    api: ApiArgs,
}

#[derive(Debug, Args)]
pub(crate) struct PauseArgs {
    #[command(flatten)]
    target: TargetArgs,
    /// What for; shown to whoever looks
    #[arg(long, value_name = "TEXT", default_value = "")]
    reason: String,
    /// Ends by itself then, such as 2026-11-22T18:00:00Z
    #[arg(long, value_name = "TIME")]
    until: Option<Timestamp>,
    #[command(flatten)]
    api: ApiArgs,
}

#[derive(Debug, Args)]
pub(crate) struct ResumeArgs {
    #[command(flatten)]
    target: TargetArgs,
    /// One halt, by its id
    #[arg(long, value_name = "ID", conflicts_with = "target")]
    halt: Option<String>,
    /// Why; kept with the event
    #[arg(long, value_name = "TEXT", default_value = "")]
    reason: String,
    #[command(flatten)]
    api: ApiArgs,
}

/// One of them.
#[derive(Debug, Args)]
#[group(id = "target", multiple = false)]
pub(crate) struct TargetArgs {
    /// All numbers of a brand
    #[arg(long, value_name = "BRAND")]
    brand: Option<String>,
    /// One business number, +15550001111
    #[arg(long, value_name = "NUMBER")]
    number: Option<String>,
    /// A template as WABA/NAME or WABA/NAME/LANGUAGE
    #[arg(long, value_name = "TEMPLATE", value_parser = template)]
    template: Option<TemplateTarget>,
    /// Messages with a label, KEY=VALUE
    #[arg(long, value_name = "LABEL", value_parser = label)]
    label: Option<LabelTarget>,
}

impl TargetArgs {
    pub(crate) fn target(self) -> Option<HaltTarget> {
        let named = [
            self.brand.map(Target::BrandId),
            self.number.map(Target::Number),
            self.template.map(Target::Template),
            self.label.map(Target::Label),
        ];
        let target = named.into_iter().flatten().next()?;
        Some(HaltTarget {
            target: Some(target),
        })
    }
}

fn template(text: &str) -> Result<TemplateTarget, String> {
    let mut parts = text.splitn(3, '/').map(str::to_owned);
    match (parts.next(), parts.next(), parts.next()) {
        (Some(waba_id), Some(name), language) if !name.is_empty() => Ok(TemplateTarget {
            waba_id,
            name,
            language: language.unwrap_or_default(),
        }),
        _ => Err("is not WABA/NAME or WABA/NAME/LANGUAGE".to_owned()),
    }
}

fn label(text: &str) -> Result<LabelTarget, String> {
    let (key, value) = text.split_once('=').ok_or("is not KEY=VALUE")?;
    Ok(LabelTarget {
        brand_id: String::new(),
        key: key.to_owned(),
        value: value.to_owned(),
    })
}

pub(crate) async fn run(command: HaltsCommand) -> anyhow::Result<()> {
    match command {
        HaltsCommand::List(args) => list(args).await,
        HaltsCommand::Pause(args) => pause(args).await,
        HaltsCommand::Resume(args) => resume(args).await,
    }
}

async fn list(args: ListArgs) -> anyhow::Result<()> {
    let api = Api::connect(&args.api).await?;
    let asked = api.messages().list_halts(ListHaltsRequest {}).await;
    let answer = asked.map_err(explain)?.into_inner();
    if args.api.output.json {
        let value = json::of("casement.message.v1.ListHaltsResponse", &answer)?;
        return output::json(&value);
    }
    if answer.halts.is_empty() {
        return Ok(output::line("nothing is halted")?);
    }
    print(&answer.halts)
}

async fn pause(args: PauseArgs) -> anyhow::Result<()> {
    let Some(target) = args.target.target() else {
        anyhow::bail!("name what to pause: --brand, --number, --template or --label");
    };
    let api = Api::connect(&args.api).await?;
    let request = PauseSendsRequest {
        target: Some(target),
        reason: args.reason,
        until_time: args.until.map(timestamp),
    };
    let asked = api.messages().pause_sends(request).await;
    let answer = asked.map_err(explain)?.into_inner();
    if args.api.output.json {
        let value = json::of("casement.message.v1.PauseSendsResponse", &answer)?;
        return output::json(&value);
    }
    print(answer.halt.as_slice())
}

async fn resume(args: ResumeArgs) -> anyhow::Result<()> {
    let what = match (args.halt, args.target.target()) {
        (Some(id), _) => What::HaltId(id),
        (None, Some(target)) => What::Target(target),
        (None, None) => anyhow::bail!(
            "name what to resume: --brand, --number, --template, --label, or --halt with an id \
             of `casement halts list`"
        ),
    };
    let api = Api::connect(&args.api).await?;
    let request = ResumeSendsRequest {
        what: Some(what),
        reason: args.reason,
    };
    let asked = api.messages().resume_sends(request).await;
    let answer = asked.map_err(explain)?.into_inner();
    if args.api.output.json {
        let value = json::of("casement.message.v1.ResumeSendsResponse", &answer)?;
        return output::json(&value);
    }
    if answer.halts.is_empty() {
        return Ok(output::line("nothing stood there to be lifted")?);
    }
    for halt in &answer.halts {
        let halt = halt.halt.clone().unwrap_or_default();
        output::line(format!("lifted       {}", told(&halt)))?;
    }
    Ok(())
}

fn print(halts: &[StandingHalt]) -> anyhow::Result<()> {
    for standing in halts {
        for line in lines(standing) {
            output::line(line)?;
        }
    }
    Ok(())
}

fn lines(standing: &StandingHalt) -> Vec<String> {
    let halt = standing.halt.clone().unwrap_or_default();
    let mut lines = vec![format!("halt         {}", halt.halt_id)];
    lines.push(format!("what         {}", told(&halt)));
    if let Some(error) = &halt.error {
        // Below zero, nobody was called.
        lines.push(match error.code {
            ..0 => format!("why          {}", error.title),
            code => format!("why          {code}: {}", error.title),
        });
        if !halt.message_id.is_empty() {
            let (message, attempt) = (&halt.message_id, halt.attempt);
            lines.push(format!("met by       {message}, attempt {attempt}"));
        }
    } else {
        let reason = match halt.reason.as_str() {
            "" => "no reason given",
            reason => reason,
        };
        lines.push(match halt.caller.as_str() {
            "" => format!("why          {reason}"),
            caller => format!("why          {reason} ({caller})"),
        });
    }
    if halt.since_time.is_some() {
        let since = person::time(halt.since_time.as_ref());
        lines.push(format!("since        {since}"));
    }
    if halt.until_time.is_some() {
        let until = person::time(halt.until_time.as_ref());
        lines.push(format!("until        {until}"));
    }
    if halt.probe_time.is_some() {
        let probe = person::time(halt.probe_time.as_ref());
        lines.push(format!("probed       {probe}, with one message"));
    }
    let (deferred, waiting) = (
        standing.deferred_message_count,
        standing.waiting_message_count,
    );
    lines.push(format!("waiting      {deferred} for it, {waiting} in all"));
    lines
}

/// What stops, in a few words.
fn told(halt: &v1::Halt) -> String {
    let scope = person::word(halt.scope().as_str_name(), "HALT_SCOPE_");
    let traffic = match halt.traffic() {
        v1::HaltTraffic::Marketing => ", marketing",
        v1::HaltTraffic::Templates => ", templates",
        v1::HaltTraffic::Everything | v1::HaltTraffic::Unspecified => "",
    };
    let channels = if halt.every_channel { ", SMS too" } else { "" };
    format!("{scope} {}{traffic}{channels}", halt.key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_and_labels_are_written_in_one_word() {
        let target = template("102/order/en").unwrap();
        assert_eq!(
            (
                target.waba_id.as_str(),
                target.name.as_str(),
                target.language.as_str()
            ),
            ("102", "order", "en")
        );
        assert_eq!(template("102/order").unwrap().language, "");
        assert!(template("order").is_err());
        let target = label("campaign=spring=2").unwrap();
        assert_eq!(
            (target.key.as_str(), target.value.as_str()),
            ("campaign", "spring=2")
        );
        assert!(label("campaign").is_err());
    }

    #[test]
    fn a_halt_is_told_with_its_cause_and_what_ends_it() {
        let standing = StandingHalt {
            halt: Some(v1::Halt {
                halt_id: "h1".to_owned(),
                scope: v1::HaltScope::Waba.into(),
                key: "102".to_owned(),
                error: Some(v1::ProviderError {
                    code: 131_042,
                    title: "no payment".to_owned(),
                    ..v1::ProviderError::default()
                }),
                message_id: "15550001111-1".to_owned(),
                attempt: 2,
                probe_time: Some(timestamp(Timestamp::UNIX_EPOCH)),
                ..v1::Halt::default()
            }),
            deferred_message_count: 3,
            waiting_message_count: 5,
        };
        assert_eq!(
            lines(&standing),
            [
                "halt         h1",
                "what         waba 102",
                "why          131042: no payment",
                "met by       15550001111-1, attempt 2",
                "probed       1970-01-01 00:00:00 UTC, with one message",
                "waiting      3 for it, 5 in all",
            ]
        );
    }
}
