//! `casement consent`: what customers allow, and since when and why; recording it, one or many.

mod import;

use std::fmt::Write as _;

use casement_event::convert::timestamp;
use casement_event::v1;
use casement_proto::account::v1::consent_item::Customer;
use casement_proto::account::v1::{
    ConsentChange, ConsentItem, ConsentStanding, ConsentState, ExportConsentsRequest,
    GetConsentRequest, GetConsentResponse, ListConsentChangesRequest, RecordConsentRequest,
    get_consent_request, list_consent_changes_request,
};
use casement_shell::Clock as _;
use clap::{Args, Subcommand, ValueEnum};
use jiff::Timestamp;

use crate::cli::{ApiArgs, CustomerArgs, NumberArgs};
use crate::client::{Api, explain};
use crate::{json, output, person};

#[derive(Debug, Subcommand)]
pub(crate) enum ConsentCommand {
    /// Show what a customer allows now, or all that was ever recorded
    Show(ShowArgs),
    /// Record an opt-in or an opt-out
    Record(Box<RecordArgs>),
    /// Record many, a line of JSON each
    Import(import::ImportArgs),
    /// Print what every customer of a number's portfolio allows, a line of JSON each
    Export(ExportArgs),
}

#[derive(Debug, Args)]
pub(crate) struct ShowArgs {
    #[command(flatten)]
    number: NumberArgs,
    #[command(flatten)]
    customer: CustomerArgs,
    /// All that was ever recorded, oldest first
    #[arg(long)]
    history: bool,
    #[command(flatten)]
    api: ApiArgs,
}

#[derive(Debug, Args)]
pub(crate) struct RecordArgs {
    #[command(flatten)]
    number: NumberArgs,
    #[command(flatten)]
    customer: CustomerArgs,
    #[command(flatten)]
    word: WordArgs,
    /// What for; may be repeated; all but marketing if left out, of an opt-out all
    #[arg(long = "purpose", value_enum)]
    purposes: Vec<Purpose>,
    /// On which channel; may be repeated; all if left out
    #[arg(long = "channel", value_enum)]
    channels: Vec<Channel>,
    /// Where it comes from
    #[arg(long, value_enum)]
    source: Source,
    /// When the customer said so, RFC 3339; now if left out
    #[arg(long, value_name = "TIME")]
    time: Option<Timestamp>,
    /// What the customer was shown or said
    #[arg(long, value_name = "TEXT", default_value = "")]
    wording: String,
    /// Which version of it
    #[arg(long, value_name = "VERSION", default_value = "")]
    wording_version: String,
    /// The language that it was shown in, as in `de`
    #[arg(long, value_name = "CODE", default_value = "")]
    language: String,
    /// Where the proof is, such as the id of a form
    #[arg(long, value_name = "TEXT", default_value = "")]
    evidence: String,
    /// Who records it
    #[arg(long, value_name = "NAME", default_value = "")]
    recorded_by: String,
    /// Makes it safe to repeat
    #[arg(long, value_name = "ID", default_value = "")]
    item_id: String,
    #[command(flatten)]
    api: ApiArgs,
}

/// Which word it is.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct WordArgs {
    /// The customer opted in
    #[arg(long)]
    opt_in: bool,
    /// The customer opted out
    #[arg(long)]
    opt_out: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ExportArgs {
    #[command(flatten)]
    number: NumberArgs,
    /// Tell phones and user ids, too
    #[arg(long)]
    identifiers: bool,
    #[command(flatten)]
    api: ApiArgs,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Purpose {
    Service,
    Utility,
    Authentication,
    Marketing,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Channel {
    Whatsapp,
    Sms,
}

/// Where an opt-in or an opt-out comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Source {
    /// A form on a website
    WebForm,
    /// A switch in an app
    App,
    /// Said in a conversation
    InChat,
    /// Signed on paper
    Paper,
    /// Said in a phone call
    PhoneCall,
    /// Said face to face
    InPerson,
    /// By e-mail
    Email,
    /// Confirmed a second time
    DoubleOptIn,
    /// Asked for just now, such as a code
    CustomerRequest,
    /// Taken over from another system
    Import,
    /// By a colleague, without a source of its own
    Operator,
}

impl Source {
    /// Returns it as the API has it.
    pub(crate) fn wire(self) -> v1::ConsentSource {
        match self {
            Self::WebForm => v1::ConsentSource::WebForm,
            Self::App => v1::ConsentSource::App,
            Self::InChat => v1::ConsentSource::InChat,
            Self::Paper => v1::ConsentSource::Paper,
            Self::PhoneCall => v1::ConsentSource::PhoneCall,
            Self::InPerson => v1::ConsentSource::InPerson,
            Self::Email => v1::ConsentSource::Email,
            Self::DoubleOptIn => v1::ConsentSource::DoubleOptIn,
            Self::CustomerRequest => v1::ConsentSource::CustomerRequest,
            Self::Import => v1::ConsentSource::Import,
            Self::Operator => v1::ConsentSource::Operator,
        }
    }
}

pub(crate) async fn run(command: ConsentCommand) -> anyhow::Result<()> {
    match command {
        ConsentCommand::Show(args) if args.history => history(args).await,
        ConsentCommand::Show(args) => show(args).await,
        ConsentCommand::Record(args) => record(*args).await,
        ConsentCommand::Import(args) => import::run(args).await,
        ConsentCommand::Export(args) => export(args).await,
    }
}

async fn show(args: ShowArgs) -> anyhow::Result<()> {
    use get_consent_request::Customer;
    let api = Api::connect(&args.api).await?;
    let customer = args
        .customer
        .named(Customer::To, Customer::Recipient, Customer::CustomerId);
    let request = GetConsentRequest {
        number: args.number.number,
        customer,
    };
    let asked = api.consents().get_consent(request).await;
    let answer = asked.map_err(explain)?.into_inner();
    if args.api.output.json {
        let value = json::of("casement.account.v1.GetConsentResponse", &answer)?;
        return output::json(&value);
    }
    for line in told(&answer) {
        output::line(line)?;
    }
    Ok(())
}

/// What a customer allows, as a table.
fn told(answer: &GetConsentResponse) -> Vec<String> {
    let customer = match answer.customer_id.as_str() {
        "" => "nobody is known by that name",
        id => id,
    };
    let mut lines = vec![format!("customer     {customer}")];
    lines.extend(answer.standings.iter().map(standing));
    lines.extend(answer.words.iter().map(|said| word("word", said)));
    if !answer.position.is_empty() {
        lines.push(format!("position     {}", answer.position));
    }
    lines
}

fn standing(of: &ConsentStanding) -> String {
    let channel = channel(of.channel());
    let purpose = person::word(of.purpose().as_str_name(), "PURPOSE_");
    let state = person::word(of.state().as_str_name(), "CONSENT_STATE_");
    let line = format!("  {channel:<8}  {purpose:<14}  {state}");
    if of.opt_in_sources.is_empty() {
        return line;
    }
    let since = person::time(of.opt_in_time.as_ref());
    format!("{line} since {since} ({})", of.opt_in_sources.join(", "))
}

fn channel(of: v1::Channel) -> &'static str {
    match of {
        v1::Channel::Whatsapp => "WhatsApp",
        v1::Channel::Sms => "SMS",
        v1::Channel::Unspecified => "?",
    }
}

fn word(label: &str, said: &v1::Consent) -> String {
    let answer = if said.allowed { "yes" } else { "no" };
    let about = match said.purpose.as_str() {
        "" => "everything",
        purpose => purpose,
    };
    let channel = channel(said.channel());
    let at = person::time(said.time.as_ref());
    let mut line = format!(
        "{label:<12} {answer} to {about} on {channel}, {at}, {}",
        said.provenance
    );
    for (name, text) in [
        ("wording", &said.wording),
        ("version", &said.wording_version),
        ("language", &said.language),
        ("evidence", &said.evidence),
        ("recorded by", &said.recorded_by),
    ] {
        if !text.is_empty() {
            let _ = write!(line, ", {name}: {text}");
        }
    }
    line
}

async fn history(args: ShowArgs) -> anyhow::Result<()> {
    use list_consent_changes_request::Customer;
    let api = Api::connect(&args.api).await?;
    let customer = args
        .customer
        .named(Customer::To, Customer::Recipient, Customer::CustomerId);
    let mut request = ListConsentChangesRequest {
        number: args.number.number,
        customer,
        ..ListConsentChangesRequest::default()
    };
    let mut count = 0_usize;
    loop {
        let asked = api.consents().list_consent_changes(request.clone()).await;
        let page = asked.map_err(explain)?.into_inner();
        for change in &page.changes {
            count += 1;
            if args.api.output.json {
                let value = json::of("casement.account.v1.ConsentChange", change)?;
                output::json(&value)?;
                continue;
            }
            for line in changed(change) {
                output::line(line)?;
            }
        }
        if page.next_page_token.is_empty() {
            break;
        }
        request.page_token = page.next_page_token;
    }
    if count == 0 && !args.api.output.json {
        output::line("nothing was ever recorded")?;
    }
    Ok(())
}

fn changed(change: &ConsentChange) -> Vec<String> {
    let at = person::time(change.record_time.as_ref());
    let by = match change.caller.as_str() {
        "" if !change.carried_from_customer_id.is_empty() => {
            format!("  carried from {}", change.carried_from_customer_id)
        }
        "" => String::new(),
        caller => format!("  by {caller}"),
    };
    let mut lines = vec![format!("{at}  {}{by}", change.position)];
    lines.extend(change.added.iter().map(|said| word("  added", said)));
    lines
}

async fn record(args: RecordArgs) -> anyhow::Result<()> {
    let api = Api::connect(&args.api).await?;
    let is_json = args.api.output.json;
    let request = RecordConsentRequest {
        item: Some(item(args)),
    };
    let asked = api.consents().record_consent(request).await;
    let answer = asked.map_err(explain)?.into_inner();
    if is_json {
        let value = json::of("casement.account.v1.RecordConsentResponse", &answer)?;
        return output::json(&value);
    }
    output::line(format!("customer     {}", answer.customer_id))?;
    if !answer.is_recorded {
        output::line("recorded     before, under this item id")?;
    }
    for said in &answer.words {
        output::line(word("word", said))?;
    }
    output::line(format!("position     {}", answer.position))?;
    Ok(())
}

fn item(args: RecordArgs) -> ConsentItem {
    let customer = args
        .customer
        .named(Customer::To, Customer::Recipient, Customer::CustomerId);
    let time = args
        .time
        .unwrap_or_else(|| casement_shell::SystemClock::new().now());
    let state = if args.word.opt_in {
        ConsentState::OptedIn
    } else {
        ConsentState::OptedOut
    };
    let purposes = args.purposes.into_iter().map(|purpose| match purpose {
        Purpose::Service => v1::Purpose::Service.into(),
        Purpose::Utility => v1::Purpose::Utility.into(),
        Purpose::Authentication => v1::Purpose::Authentication.into(),
        Purpose::Marketing => v1::Purpose::Marketing.into(),
    });
    let channels = args.channels.into_iter().map(|channel| match channel {
        Channel::Whatsapp => v1::Channel::Whatsapp.into(),
        Channel::Sms => v1::Channel::Sms.into(),
    });
    ConsentItem {
        number: args.number.number,
        customer,
        state: state.into(),
        purposes: purposes.collect(),
        channels: channels.collect(),
        source: args.source.wire().into(),
        time: Some(timestamp(time)),
        wording: args.wording,
        wording_version: args.wording_version,
        language: args.language,
        evidence: args.evidence,
        recorded_by: args.recorded_by,
        item_id: args.item_id,
    }
}

async fn export(args: ExportArgs) -> anyhow::Result<()> {
    let api = Api::connect(&args.api).await?;
    let request = ExportConsentsRequest {
        number: args.number.number,
        include_identifiers: args.identifiers,
    };
    let asked = api.consents().export_consents(request).await;
    let mut answers = asked.map_err(explain)?.into_inner();
    while let Some(answer) = answers.message().await.map_err(explain)? {
        let value = json::of("casement.account.v1.ExportConsentsResponse", &answer)?;
        output::json(&value)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_told_with_all_that_it_rests_on() {
        let said = v1::Consent {
            channel: v1::Channel::Whatsapp.into(),
            purpose: "marketing".to_owned(),
            allowed: true,
            provenance: "WEB_FORM".to_owned(),
            time: Some(timestamp(Timestamp::UNIX_EPOCH)),
            wording: "Send me offers".to_owned(),
            evidence: "form 7".to_owned(),
            ..v1::Consent::default()
        };
        assert_eq!(
            word("word", &said),
            "word         yes to marketing on WhatsApp, 1970-01-01 00:00:00 UTC, WEB_FORM, \
             wording: Send me offers, evidence: form 7"
        );
        let stopped = v1::Consent {
            channel: v1::Channel::Sms.into(),
            provenance: "SMS_KEYWORD".to_owned(),
            ..v1::Consent::default()
        };
        assert!(word("word", &stopped).contains("no to everything on SMS, –, SMS_KEYWORD"));
    }
}
