//! How soon the projector answers about conversations, one question after the other.

use std::time::Duration;

use casement_proto::conversation::v1::{GetConversationRequest, ListConversationsRequest};
use clap::Args;
use tokio::time::Instant;

use super::row;
use crate::measure::spread;
use crate::posts::NUMBER;
use crate::roles::{Running, authorised};
use crate::window::stored;

/// Spreads questions over all conversations: a prime, so that no two are near each other.
const STRIDE: usize = 7_919;

/// Conversations on a page.
const PAGE_SIZE: i32 = 50;

#[derive(Debug, Args)]
#[group(skip)]
pub(super) struct Options {
    /// How many questions of each kind are asked.
    #[arg(long, default_value_t = 2_000)]
    reads: usize,
}

pub(super) async fn run(
    options: &Options,
    projector: &Running,
    count: usize,
) -> anyhow::Result<()> {
    let mut client = projector.conversations()?;
    let number = format!("+{}", NUMBER.0);
    let mut times = Vec::with_capacity(options.reads);
    for question in 0..options.reads {
        let customer = stored::customer(question * STRIDE % count.max(1))?;
        let request = GetConversationRequest {
            number: number.clone(),
            customer_id: customer.as_str().to_owned(),
            ..GetConversationRequest::default()
        };
        let begun = Instant::now();
        client.get_conversation(authorised(request)?).await?;
        times.push(begun.elapsed());
    }
    tell("GetConversation", &mut times);
    for (what, order) in [
        ("ListConversations, by end of the window", "expire_time"),
        ("ListConversations, by last word", "heard_time desc"),
    ] {
        let mut times = Vec::with_capacity(options.reads);
        let mut page_token = String::new();
        for _ in 0..options.reads {
            let request = ListConversationsRequest {
                number: number.clone(),
                order_by: order.to_owned(),
                page_size: PAGE_SIZE,
                page_token,
                ..ListConversationsRequest::default()
            };
            let begun = Instant::now();
            let page = client.list_conversations(authorised(request)?).await?;
            times.push(begun.elapsed());
            // From the first one again after the last.
            page_token = page.into_inner().next_page_token;
        }
        tell(&format!("{what}, pages of {PAGE_SIZE}"), &mut times);
    }
    Ok(())
}

fn tell(what: &str, times: &mut [Duration]) {
    row(
        &format!("{what}: p50, p99, longest"),
        &spread(times).replace(" | ", ", "),
        "",
    );
}
