//! `casement healthcheck`: asks a health page, for containers that have no other client.

use std::time::Duration;

use anyhow::{Context as _, bail};
use casement_shell::http::{ClientOptions, client};
use serde_json::json;

use crate::cli::HealthcheckArgs;
use crate::output;

const TIMEOUT: Duration = Duration::from_secs(5);

pub(crate) async fn run(args: HealthcheckArgs) -> anyhow::Result<()> {
    let options = ClientOptions {
        timeout: TIMEOUT,
        ..ClientOptions::default()
    };
    let client = client(&options).context("no HTTP client")?;
    let answer = client
        .get(&args.url)
        .send()
        .await
        .with_context(|| format!("nothing answers at {}: is it running?", args.url))?;
    let status = answer.status();
    let text = answer.text().await.unwrap_or_default();
    let reasons: Vec<&str> = text.lines().collect();
    if args.output.json {
        let told = json!({ "status": status.as_u16(), "lines": reasons });
        output::json(&told)?;
    } else {
        for reason in &reasons {
            output::line(reason)?;
        }
    }
    if !status.is_success() {
        bail!("{} answered {}", args.url, status.as_u16());
    }
    Ok(())
}
