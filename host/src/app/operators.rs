//! Serves operators, and reads `ADMIN_FILE` again when it changes, so that they come and go without a restart.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use super::StartError;
use super::door::Doors;
use crate::api::admin::{Access, Admin, Parts};
use crate::api::{self, Shared};
use crate::config::{self, Config};
use crate::policy::{Slot, Source};
use crate::telemetry::{Metrics, Telemetry};

/// The interval at which the file is read. It has 64 KiB at most.
const LOOK: Duration = Duration::from_secs(1);

/// Everything that serving operators needs beside the gateway itself.
pub(super) struct Operators {
    began: Instant,
    config: config::Admin,
    access: Arc<Access>,
    source: Source,
}

impl Operators {
    /// None if no operators are to be served.
    pub(super) fn of(config: &Config, source: Source) -> Option<Self> {
        let config = config.admin.clone()?;
        Some(Self {
            began: Instant::now(),
            access: Arc::new(config.access()),
            config,
            source,
        })
    }

    /// Tells the tokens of those who may change what serves.
    pub(super) fn by_token(&self) -> api::Operators {
        let access = Arc::clone(&self.access);
        api::Operators::new(move |token| access.operates(token))
    }

    /// Serves them until `stop`.
    pub(super) fn serve(self, doors: &Doors, shared: Shared, stop: &CancellationToken) {
        let access = self.access;
        if let Some(file) = self.config.file {
            tokio::spawn(watch(file, Arc::clone(&access), stop.clone()));
        }
        doors.serve_operators(|listens| {
            Admin::new(Parts {
                shared,
                access,
                source: self.source,
                address: doors.main.address,
                listens,
                began: self.began,
            })
        });
    }
}

/// Telemetry, which also keeps the pace of decisions, and callers, if there are operators.
pub(super) fn observe(
    config: &Config,
    metrics: impl FnOnce() -> Metrics,
) -> Result<Telemetry, StartError> {
    let metrics = config.api.metrics.is_some().then(metrics);
    let telemetry = Telemetry::start(config.telemetry.clone(), metrics)?;
    Ok(match &config.admin {
        Some(_) => telemetry.for_operators(&Slot::ALL.map(Slot::name)),
        None => telemetry,
    })
}

/// Keeps the operators as the file has them, until `stop`. Those before stay while the file has mistakes; a read that hangs is
/// not waited for at the end.
async fn watch(file: PathBuf, access: Arc<Access>, stop: CancellationToken) {
    let watching = async {
        let mut last = None;
        loop {
            tokio::time::sleep(LOOK).await;
            let path = file.clone();
            let read = tokio::task::spawn_blocking(move || config::operators(&path));
            let Ok(read) = read.await else { continue };
            if last.as_ref() == Some(&read) {
                continue;
            }
            match &read {
                // The first read finds what the start has read.
                Ok(operators) if last.is_some() || !access.lists(operators) => {
                    access.list(operators.clone());
                    tracing::info!(operators = operators.len(), "operators read again");
                }
                Ok(_) => {}
                Err(mistakes) => {
                    for mistake in mistakes {
                        tracing::error!("ADMIN_FILE refused, the operators before stay: {mistake}");
                    }
                }
            }
            last = Some(read);
        }
    };
    stop.run_until_cancelled(watching).await;
}
