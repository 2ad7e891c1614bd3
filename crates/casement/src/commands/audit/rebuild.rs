//! `casement audit rebuild`: has read models made anew, and tells how far that is.

use std::time::Duration;

use casement_proto::audit::v1::{GetReadModelsRequest, ReadModels, RebuildReadModelsRequest};
use clap::Args;

use crate::cli::ApiArgs;
use crate::client::{Api, explain};
use crate::{json, output};

/// How often it is looked how far it is.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

#[derive(Debug, Args)]
pub(crate) struct RebuildArgs {
    /// Do not wait until it is done
    #[arg(long)]
    no_wait: bool,
    #[command(flatten)]
    api: ApiArgs,
}

pub(super) async fn run(args: RebuildArgs) -> anyhow::Result<()> {
    let api = Api::connect(&args.api).await?;
    let mut audit = api.audit();
    let asked = audit.rebuild_read_models(RebuildReadModelsRequest {});
    let asked = asked.await.map_err(explain)?.into_inner();
    let mut state = asked.read_models.unwrap_or_default();
    let mut told = String::new();
    while !args.no_wait && state.served_wish < asked.wish {
        let line = line_of(&state);
        if line != told && !args.api.output.json {
            output::line(&line)?;
            told = line;
        }
        tokio::time::sleep(LOOK_INTERVAL).await;
        let looked = audit.get_read_models(GetReadModelsRequest {});
        let looked = looked.await.map_err(explain)?.into_inner();
        state = looked.read_models.unwrap_or_default();
    }
    if args.api.output.json {
        return output::json(&json::of("casement.audit.v1.ReadModels", &state)?);
    }
    output::line(line_of(&state))?;
    Ok(())
}

fn line_of(state: &ReadModels) -> String {
    if state.building.is_empty() {
        return format!("served: {}", state.served);
    }
    let percent = state.progress * 100.0;
    format!(
        "being made anew, {percent:.0} % of the archive done; served meanwhile: {}",
        if state.served.is_empty() {
            "those of before"
        } else {
            &state.served
        }
    )
}
