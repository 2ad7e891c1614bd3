//! Hears what a subscriber of `casement subscriber add` may hear. The broker keeps its place: started
//! again, it goes on with the first event that it has not acknowledged.
//!
//!     cargo add anyhow async-nats futures
//!     cargo add tokio --features macros,rt-multi-thread

use std::io::Write as _;

use anyhow::bail;
use async_nats::ConnectOptions;
use async_nats::jetstream::{self, consumer::PullConsumer};
use futures::stream::{StreamExt as _, select_all};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [server, user, password_file, ca, streams @ ..] = args.as_slice() else {
        bail!("give server, user, password file, CA file or -, and streams");
    };
    let password = std::fs::read_to_string(password_file)?.trim().to_owned();
    let mut options = ConnectOptions::with_user_and_password(user.clone(), password)
        .custom_inbox_prefix(format!("_INBOX_{user}"));
    if ca != "-" {
        options = options.require_tls(true).add_root_certificates(ca.into());
    }
    let jetstream = jetstream::new(options.connect(server).await?);
    let mut heard = Vec::new();
    for stream in streams {
        let name = format!("sub-{user}");
        let consumer: PullConsumer = jetstream.get_consumer_from_stream(name, stream).await?;
        let one_by_one = consumer.stream().max_messages_per_batch(1);
        heard.push(one_by_one.messages().await?);
    }
    let mut events = select_all(heard);
    while let Some(event) = events.next().await {
        let event = event?;
        let headers = event.headers.clone().unwrap_or_default();
        let header = |name: &str| headers.get(name).map_or("", |value| value.as_str());
        // Handle it here, unless its ce-id was handled before; the payload is what ce-type names.
        let (id, kind) = (header("ce-id"), header("ce-type"));
        writeln!(std::io::stdout(), "{id} {kind} {}", event.subject)?;
        event.ack().await.map_err(anyhow::Error::from_boxed)?;
    }
    Ok(())
}
