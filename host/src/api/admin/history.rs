//! Reads the history of activations for operators, away from the serving threads.

use super::{Admin, READS};
use crate::api::error;
use crate::openai::{ApiError, GatewayError};
use crate::policy::{Activated, Generation};

/// All activations, oldest first. The generation that serves is among them, also if the history lacks it.
pub(super) async fn activations(admin: &Admin) -> Result<Vec<Activated>, ApiError> {
    let permit = READS.acquire().await.map_err(|_| error::internal())?;
    let source = admin.source.clone();
    let read = tokio::task::spawn_blocking(move || {
        let _permit = permit;
        source.history()
    });
    let history = match read.await {
        Ok(Ok(history)) => history,
        Ok(Err(cause)) => {
            tracing::error!(%cause, "the history of activations cannot be read");
            return Err(GatewayError::HistoryUnreadable {
                why: cause.to_string(),
            }
            .into());
        }
        Err(_) => return Err(error::internal()),
    };
    let mut activations = history.unwrap_or_default();
    let serving = admin.shared.live.current();
    let is_there = |entry: &Activated| {
        entry.number == serving.number() && entry.digest == serving.digest().to_string()
    };
    if !activations.iter().any(is_there) {
        activations.push(of_serving(&serving));
    }
    Ok(activations)
}

fn of_serving(serving: &Generation) -> Activated {
    Activated {
        at: serving.since(),
        number: serving.number(),
        door: serving.door(),
        digest: serving.digest().to_string(),
        before: None,
        taken_back: None,
        why: None,
        by: None,
        files: serving.file_names(),
    }
}
