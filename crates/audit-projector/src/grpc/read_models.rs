//! How read models stand, and the wish to have them made anew. Whoever runs the role does it.

use casement_event_log::Log;
use casement_proto::audit::v1 as proto;
use casement_shell::auth::Caller;
use casement_shell::grpc::refuse;
use tonic::{Code, Status};

use super::{Backend, brand_of, recorded, unanswered};
use crate::rebuild;

/// Returns how they stand.
pub(super) async fn state(backend: &Backend) -> Result<proto::ReadModels, Status> {
    let failed = |error| unanswered(&error);
    let state = backend.store.rebuild().await.map_err(failed)?;
    let progress = rebuild::progress(&backend.store).await.map_err(failed)?;
    Ok(proto::ReadModels {
        served: state.served,
        building: state.building,
        progress: progress.unwrap_or(1.0),
        served_wish: state.served_ask,
        last_wish: state.ask_count,
    })
}

/// Asks for new ones.
pub(super) async fn rebuild(
    backend: &Backend,
    record: Option<&Log>,
    caller: &Caller,
) -> Result<proto::RebuildReadModelsResponse, Status> {
    // They are of all brands.
    if brand_of(caller)?.is_some() {
        let text = "read models are of all brands: it takes a token whose brand is `*`";
        return Err(refuse(Code::PermissionDenied, "ANOTHER_BRAND", text));
    }
    if let Some(log) = record {
        recorded::rebuild(log, backend.clock.now(), caller).await?;
    }
    let wish = backend.store.ask_rebuild().await;
    let wish = wish.map_err(|error| unanswered(&error))?;
    tracing::info!(caller = caller.name, wish, "new read models are asked for");
    Ok(proto::RebuildReadModelsResponse {
        wish,
        read_models: Some(state(backend).await?),
    })
}
