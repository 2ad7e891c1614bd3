//! `casement brand`: brands, what each may send, and what became of it.

use casement_event::convert::timestamp;
use casement_event::v1;
use casement_proto::account::v1 as api;
use casement_proto::message::v1::{GetBrandFiguresRequest, GetBrandFiguresResponse};
use clap::{Args, Subcommand};
use jiff::Timestamp;
use prost_types::FieldMask;

use crate::cli::ApiArgs;
use crate::client::{Api, explain};
use crate::{json, output, person};

/// Brands on a page of `list`.
const PAGE_SIZE: i32 = 200;

#[derive(Debug, Subcommand)]
pub(crate) enum BrandCommand {
    /// List brands
    List(ListArgs),
    /// Show a brand's record
    Show(ShowArgs),
    /// Record a brand, or change what is given of it
    Set(SetArgs),
    /// Count what a brand asked for, what became of it and what it cost
    Figures(FiguresArgs),
}

#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    #[command(flatten)]
    api: ApiArgs,
}

#[derive(Debug, Args)]
pub(crate) struct ShowArgs {
    /// The brand
    #[arg(value_name = "BRAND")]
    brand: String,
    #[command(flatten)]
    api: ApiArgs,
}

#[derive(Debug, Args)]
pub(crate) struct SetArgs {
    /// The brand
    #[arg(value_name = "BRAND")]
    brand: String,
    /// The name that people see
    #[arg(long, value_name = "NAME")]
    display_name: Option<String>,
    /// Messages that it may ask for in an hour; 0 for any number
    #[arg(long, value_name = "COUNT")]
    messages_per_hour: Option<u32>,
    /// In a day, UTC; 0 for any number
    #[arg(long, value_name = "COUNT")]
    messages_per_day: Option<u32>,
    /// Have what is over the quota wait instead of refusing it
    #[arg(long, value_name = "BOOL")]
    over_quota_waits: Option<bool>,
    /// What a month may cost, such as 1200.50; empty for what the configuration says
    #[arg(long, value_name = "AMOUNT")]
    monthly_cap: Option<String>,
    /// Its routing policy, by its name in the configuration; empty for what that says
    #[arg(long, value_name = "NAME")]
    policy: Option<String>,
    /// Only templates of this WABA; may be given again, once and empty for all
    #[arg(long, value_name = "ID")]
    template_waba: Vec<String>,
    /// Only templates of this name, which may end with `*`; likewise
    #[arg(long, value_name = "NAME")]
    template: Vec<String>,
    /// Refuse if the record is not this state of it any more
    #[arg(long, value_name = "ETAG", default_value = "")]
    etag: String,
    #[command(flatten)]
    api: ApiArgs,
}

#[derive(Debug, Args)]
pub(crate) struct FiguresArgs {
    /// The brand; the token's own unless given
    #[arg(value_name = "BRAND", default_value = "")]
    brand: String,
    /// Messages asked for at this time or later; a day before the end unless given
    #[arg(long, value_name = "TIME")]
    from: Option<Timestamp>,
    /// And before this one; now unless given
    #[arg(long, value_name = "TIME")]
    to: Option<Timestamp>,
    #[command(flatten)]
    api: ApiArgs,
}

pub(crate) async fn run(command: BrandCommand) -> anyhow::Result<()> {
    match command {
        BrandCommand::List(args) => list(args).await,
        BrandCommand::Show(args) => show(args).await,
        BrandCommand::Set(args) => set(args).await,
        BrandCommand::Figures(args) => figures(args).await,
    }
}

async fn list(args: ListArgs) -> anyhow::Result<()> {
    let api = Api::connect(&args.api).await?;
    let mut page_token = String::new();
    loop {
        let request = api::ListBrandsRequest {
            page_size: PAGE_SIZE,
            page_token,
        };
        let asked = api.accounts().list_brands(request).await;
        let answer = asked.map_err(explain)?.into_inner();
        for brand in &answer.brands {
            if args.api.output.json {
                output::json(&json::of("casement.events.v1.Brand", brand)?)?;
            } else {
                output::line(format!("{:<24}  {}", brand.brand_id, brand.display_name))?;
            }
        }
        page_token = answer.next_page_token;
        if page_token.is_empty() {
            return Ok(());
        }
    }
}

async fn show(args: ShowArgs) -> anyhow::Result<()> {
    let api = Api::connect(&args.api).await?;
    let request = api::GetBrandRequest {
        brand_id: args.brand,
    };
    let asked = api.accounts().get_brand(request).await;
    let answer = asked.map_err(explain)?.into_inner();
    tell(&args.api, answer.brand)
}

async fn set(args: SetArgs) -> anyhow::Result<()> {
    let api = Api::connect(&args.api).await?;
    let asked = api.accounts().update_brand(request(&args)).await;
    let answer = asked.map_err(explain)?.into_inner();
    tell(&args.api, answer.brand)
}

/// What is not given stays as it is.
fn request(args: &SetArgs) -> api::UpdateBrandRequest {
    let mut paths = Vec::new();
    let mut given = |path: &str, is_given: bool| {
        if is_given {
            paths.push(path.to_owned());
        }
    };
    given("display_name", args.display_name.is_some());
    given("quota.messages_per_hour", args.messages_per_hour.is_some());
    given("quota.messages_per_day", args.messages_per_day.is_some());
    given("quota.over_quota", args.over_quota_waits.is_some());
    given("monthly_cap", args.monthly_cap.is_some());
    given("policy", args.policy.is_some());
    given("templates.waba_ids", !args.template_waba.is_empty());
    given("templates.names", !args.template.is_empty());
    let mut quota = v1::BrandQuota {
        messages_per_hour: args.messages_per_hour.unwrap_or_default(),
        messages_per_day: args.messages_per_day.unwrap_or_default(),
        ..v1::BrandQuota::default()
    };
    quota.set_over_quota(if args.over_quota_waits.unwrap_or_default() {
        v1::BrandQuotaRule::Wait
    } else {
        v1::BrandQuotaRule::Refuse
    });
    let named = |all: &[String]| all.iter().filter(|one| !one.is_empty()).cloned().collect();
    api::UpdateBrandRequest {
        brand: Some(v1::Brand {
            brand_id: args.brand.clone(),
            display_name: args.display_name.clone().unwrap_or_default(),
            quota: Some(quota),
            monthly_cap: args.monthly_cap.clone().unwrap_or_default(),
            policy: args.policy.clone().unwrap_or_default(),
            templates: Some(v1::BrandTemplates {
                waba_ids: named(&args.template_waba),
                names: named(&args.template),
            }),
            etag: args.etag.clone(),
        }),
        update_mask: Some(FieldMask { paths }),
    }
}

async fn figures(args: FiguresArgs) -> anyhow::Result<()> {
    let api = Api::connect(&args.api).await?;
    let request = GetBrandFiguresRequest {
        brand_id: args.brand,
        start_time: args.from.map(timestamp),
        end_time: args.to.map(timestamp),
        not_before: String::new(),
    };
    let asked = api.message_queries().get_brand_figures(request).await;
    let answer = asked.map_err(explain)?.into_inner();
    if args.api.output.json {
        let name = "casement.message.v1.GetBrandFiguresResponse";
        return output::json(&json::of(name, &answer)?);
    }
    for line in figures_of(&answer) {
        output::line(line)?;
    }
    Ok(())
}

fn figures_of(of: &GetBrandFiguresResponse) -> Vec<String> {
    let from = person::time(of.start_time.as_ref());
    let until = person::time(of.end_time.as_ref());
    let mut lines = vec![
        format!("brand        {}", of.brand_id),
        format!("asked for    from {from} until {until}"),
        format!("accepted     {}", of.accepted_count),
    ];
    for route in &of.routes {
        let name = person::route(route.route());
        let (sent, delivered, failed) =
            (route.sent_count, route.delivered_count, route.failed_count);
        lines.push(format!(
            "{name:<12} {sent} sent, {delivered} delivered, {failed} failed"
        ));
    }
    lines.push(format!("delivered    {}", of.delivered_count));
    lines.push(format!("failed       {}", of.failed_count));
    lines.push(format!("cancelled    {}", of.cancelled_count));
    lines.push(format!("not over     {}", of.pending_count));
    for money in &of.spend {
        let (whole, part) = (money.micros / 1_000_000, money.micros % 1_000_000);
        lines.push(format!("cost         {whole}.{part:06} {}", money.currency));
    }
    lines.push(format!("open windows {}", of.open_window_count));
    lines
}

fn tell(args: &ApiArgs, brand: Option<v1::Brand>) -> anyhow::Result<()> {
    let brand = brand.unwrap_or_default();
    if args.output.json {
        return output::json(&json::of("casement.events.v1.Brand", &brand)?);
    }
    for line in lines(&brand) {
        output::line(line)?;
    }
    Ok(())
}

fn lines(of: &v1::Brand) -> Vec<String> {
    let or = |text: &str, without: &str| match text {
        "" => without.to_owned(),
        text => text.to_owned(),
    };
    let count = |count: u32| match count {
        0 => "any number".to_owned(),
        count => count.to_string(),
    };
    let quota = of.quota.unwrap_or_default();
    let over = match quota.over_quota() {
        v1::BrandQuotaRule::Wait => "waits",
        v1::BrandQuotaRule::Refuse | v1::BrandQuotaRule::Unspecified => "is refused",
    };
    let templates = of.templates.clone().unwrap_or_default();
    vec![
        format!("brand        {} ({})", of.brand_id, of.display_name),
        format!(
            "quota        {} an hour, {} a day; what is beyond {over}",
            count(quota.messages_per_hour),
            count(quota.messages_per_day)
        ),
        format!("monthly cap  {}", or(&of.monthly_cap, "as configured")),
        format!("policy       {}", or(&of.policy, "as configured")),
        format!(
            "templates    {} of {}",
            or(&templates.names.join(", "), "all"),
            or(&templates.waba_ids.join(", "), "the WABAs of its numbers")
        ),
        format!("etag         {}", of.etag),
    ]
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Only {
        #[command(flatten)]
        set: SetArgs,
    }

    #[test]
    fn what_is_not_given_is_not_named_and_an_empty_list_is_all() {
        let words = "set shop --messages-per-hour 100 --over-quota-waits true --template-waba";
        let words = words.split(' ').chain([""]);
        let args = Only::try_parse_from(words).unwrap().set;
        let request = request(&args);
        assert_eq!(
            request.update_mask.unwrap().paths,
            [
                "quota.messages_per_hour",
                "quota.over_quota",
                "templates.waba_ids"
            ]
        );
        let brand = request.brand.unwrap();
        assert_eq!(brand.quota.unwrap().over_quota(), v1::BrandQuotaRule::Wait);
        assert!(brand.templates.unwrap().waba_ids.is_empty());
    }
}
