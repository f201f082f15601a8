//! Serves operators, and reads `ADMIN_FILE` again when it changes, so that they come and go without a restart.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use super::door::Doors;
use crate::api::Shared;
use crate::api::admin::{Access, Admin, Parts};
use crate::config::{self, Config};
use crate::policy::Source;

/// The interval at which the file is read. It has 64 KiB at most.
const LOOK: Duration = Duration::from_secs(1);

/// Everything that serving operators needs beside the gateway itself.
pub(super) struct Operators {
    began: Instant,
    config: config::Admin,
    source: Source,
}

impl Operators {
    /// None if no operators are to be served.
    pub(super) fn of(config: &Config, source: Source) -> Option<Self> {
        Some(Self {
            began: Instant::now(),
            config: config.admin.clone()?,
            source,
        })
    }

    /// Serves them until `stop`.
    pub(super) fn serve(self, doors: &Doors, shared: Shared, stop: &CancellationToken) {
        let access = Arc::new(self.config.access());
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
