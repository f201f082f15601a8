//! An exchange whose request's record sees what happens in it, and what it cost however it ended.

use super::record::Record;
use crate::openai::ApiError;
use crate::turn::Delta;
use crate::turn::drive::Exchange;

/// Dropped early (the client left), it still tells what was spent.
pub(super) struct Observed {
    exchange: Exchange,
    record: Record,
}

impl Observed {
    pub(super) fn new(exchange: Exchange, record: Record) -> Self {
        Self { exchange, record }
    }

    /// See [`Exchange::next`].
    pub(super) async fn next(&mut self) -> Option<Delta> {
        let delta = self.exchange.next().await;
        if let Some(delta) = &delta {
            self.record.note(delta);
        }
        delta
    }
}

impl Observed {
    /// Gives every delta to `push`, up to the end.
    pub(super) async fn fold(mut self, mut push: impl FnMut(Delta)) -> Result<(), ApiError> {
        while let Some(delta) = self.next().await {
            if let Delta::Failed(error) = delta {
                return Err(error.into());
            }
            push(delta);
        }
        Ok(())
    }
}

impl Drop for Observed {
    fn drop(&mut self) {
        self.record.set_usage(self.exchange.usage());
    }
}
