//! `casement window watch`: windows as they are told, until interrupted.

use casement_event::v1::PublishedWindow;
use casement_proto::window::v1::watch_windows_response::Event;
use casement_proto::window::v1::{WatchWindowsRequest, WatchWindowsResponse, WindowEventKind};
use clap::{Args, ValueEnum};

use crate::cli::ApiArgs;
use crate::client::{Api, explain};
use crate::{json, output, person};

#[derive(Debug, Args)]
pub(crate) struct WatchArgs {
    /// A business number, E.164 with plus; may be repeated. Without it, all that the token may see
    #[arg(long = "number", value_name = "NUMBER")]
    numbers: Vec<String>,
    /// A kind of event; may be repeated. Without it, all
    #[arg(long = "kind", value_name = "KIND")]
    kinds: Vec<Kind>,
    /// Go on after this position; without it, from now on
    #[arg(long, value_name = "POSITION", default_value = "")]
    after: String,
    #[command(flatten)]
    api: ApiArgs,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Kind {
    Opened,
    Extended,
    Expiring,
    Expired,
    Corrected,
}

impl From<Kind> for WindowEventKind {
    fn from(of: Kind) -> Self {
        match of {
            Kind::Opened => Self::Opened,
            Kind::Extended => Self::Extended,
            Kind::Expiring => Self::Expiring,
            Kind::Expired => Self::Expired,
            Kind::Corrected => Self::Corrected,
        }
    }
}

pub(crate) async fn run(args: WatchArgs) -> anyhow::Result<()> {
    let kinds = args.kinds.into_iter();
    let request = WatchWindowsRequest {
        numbers: args.numbers,
        kinds: kinds
            .map(|kind| WindowEventKind::from(kind).into())
            .collect(),
        after_position: args.after,
    };
    let api = Api::connect(&args.api).await?;
    let answers = api.windows().watch_windows(request).await;
    let mut answers = answers.map_err(explain)?.into_inner();
    while let Some(answer) = answers.message().await.map_err(explain)? {
        if args.api.output.json {
            let name = "casement.window.v1.WatchWindowsResponse";
            output::json(&json::of(name, &answer)?)?;
        } else if let Some(line) = line(&answer) {
            output::line(line)?;
        }
    }
    Ok(())
}

/// Returns an event for people; nothing for an answer that only says how far it got.
fn line(answer: &WatchWindowsResponse) -> Option<String> {
    let (word, window): (_, Option<&PublishedWindow>) = match answer.event.as_ref()? {
        Event::Opened(event) => ("opened", event.window.as_ref()),
        Event::Extended(event) => ("extended", event.window.as_ref()),
        Event::Expiring(event) => ("expiring", event.window.as_ref()),
        Event::Expired(event) => ("expired", event.window.as_ref()),
        Event::Corrected(event) => ("corrected", event.window.as_ref()),
    };
    let window = window?;
    let conversation = window.conversation.clone().unwrap_or_default();
    let at = person::time(answer.event_time.as_ref());
    let until = person::time(window.expire_time.as_ref());
    Some(format!(
        "{at}  {word:<9}  +{} {}  until {until}  {}",
        conversation.number, conversation.customer_id, answer.position
    ))
}
