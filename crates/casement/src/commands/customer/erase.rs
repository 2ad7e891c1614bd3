//! `casement customer erase` and `erasures`: a customer erased, and how far that has come.
//!
//! Without the customer's id to confirm it, it tells what would go and does nothing.

use anyhow::Context as _;
use casement_proto::audit::v1::erase_customer_request::Customer;
use casement_proto::audit::v1::{
    EraseCustomerRequest, Erasure, GetErasureRequest, ListErasuresRequest,
};
use casement_proto::events::v1::ErasureState;
use clap::Args;

use crate::cli::{ApiArgs, CustomerArgs, NumberArgs};
use crate::client::{Api, explain};
use crate::{json, output};

/// Erasures asked for at once.
const PAGE_LEN: i32 = 500;

#[derive(Debug, Args)]
pub(crate) struct EraseArgs {
    #[command(flatten)]
    number: NumberArgs,
    #[command(flatten)]
    customer: CustomerArgs,
    /// What for, such as the number of a request; it is recorded, and must tell nothing of the
    /// customer
    #[arg(long, value_name = "TEXT", default_value = "")]
    reason: String,
    /// Do it: the customer's id, as it is told without this
    #[arg(long, value_name = "CUSTOMER_ID")]
    confirm: Option<String>,
    /// Makes it safe to repeat
    #[arg(long, value_name = "ID", default_value = "")]
    request_id: String,
    /// How many seconds to wait until all is gone but what leaves by its age
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    wait: u8,
    #[command(flatten)]
    api: ApiArgs,
}

#[derive(Debug, Args)]
pub(crate) struct ErasuresArgs {
    /// Only this one
    #[arg(value_name = "ERASURE_ID")]
    erasure: Option<String>,
    #[command(flatten)]
    api: ApiArgs,
}

pub(super) async fn erase(args: EraseArgs) -> anyhow::Result<()> {
    let api = Api::connect(&args.api).await?;
    let asked = args
        .customer
        .named(Customer::To, Customer::Recipient, Customer::CustomerId);
    let mut request = EraseCustomerRequest {
        number: args.number.number,
        customer: asked,
        request_id: args.request_id,
        reason: args.reason,
        validate_only: true,
        wait: None,
    };
    let preview = api.audit().erase_customer(request.clone()).await;
    let preview = preview.map_err(explain)?.into_inner().erasure;
    let preview = preview.context("the answer holds no erasure")?;
    // One that was begun before is no preview.
    if !preview.erasure_id.is_empty() {
        return tell(&preview, args.api.output.json);
    }
    let Some(confirmed) = args.confirm else {
        tell(&preview, args.api.output.json)?;
        if let Some(customer) = preview.customer_ids.first() {
            output::talk(format!(
                "nothing was done; it cannot be undone. To do it, repeat with --confirm {customer}"
            ));
        }
        return Ok(());
    };
    if !preview.customer_ids.contains(&confirmed) {
        anyhow::bail!("--confirm names another customer than the one who would be erased");
    }
    request.validate_only = false;
    request.wait = Some(prost_types::Duration {
        seconds: i64::from(args.wait),
        nanos: 0,
    });
    let erased = api.audit().erase_customer(request).await;
    let erased = erased.map_err(explain)?.into_inner().erasure;
    tell(
        &erased.context("the answer holds no erasure")?,
        args.api.output.json,
    )
}

pub(super) async fn erasures(args: ErasuresArgs) -> anyhow::Result<()> {
    let api = Api::connect(&args.api).await?;
    if let Some(erasure_id) = args.erasure {
        let asked = api
            .audit()
            .get_erasure(GetErasureRequest { erasure_id })
            .await;
        let found = asked.map_err(explain)?.into_inner().erasure;
        return tell(
            &found.context("the answer holds no erasure")?,
            args.api.output.json,
        );
    }
    let mut page_token = String::new();
    loop {
        let request = ListErasuresRequest {
            states: Vec::new(),
            page_size: PAGE_LEN,
            page_token,
        };
        let asked = api.audit().list_erasures(request).await;
        let page = asked.map_err(explain)?.into_inner();
        for erasure in &page.erasures {
            tell(erasure, args.api.output.json)?;
        }
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return Ok(());
        }
    }
}

fn tell(erasure: &Erasure, as_json: bool) -> anyhow::Result<()> {
    if as_json {
        return output::json(&json::of("casement.audit.v1.Erasure", erasure)?);
    }
    Ok(output::line(told(erasure))?)
}

fn told(of: &Erasure) -> String {
    let time = |at: &Option<prost_types::Timestamp>| {
        at.as_ref().map_or_else(String::new, ToString::to_string)
    };
    let what = format!(
        "{} conversations, {} messages ({} of them not over), {} files, {} identifiers",
        of.conversation_count,
        of.message_count,
        of.open_message_count,
        of.media_count,
        of.identifier_count,
    );
    let numbers = of.numbers.join(", ");
    let last_copy = time(&of.last_copy_time);
    if of.erasure_id.is_empty() {
        return format!(
            "would erase {} at {numbers}: {what}\nposts as received and dead letters hold copies \
             until {last_copy}",
            of.customer_ids.join(", "),
        );
    }
    let so_far = match of.state() {
        ErasureState::DoneButRaw => format!(
            "done since {}; posts as received and dead letters hold copies until {last_copy}",
            time(&of.destroy_time)
        ),
        ErasureState::Done => format!("done; the last copy was gone at {last_copy}"),
        state => format!(
            "goes on ({})",
            state
                .as_str_name()
                .trim_start_matches("ERASURE_STATE_")
                .to_lowercase()
        ),
    };
    format!("{}  {what}  {so_far}", of.erasure_id)
}
