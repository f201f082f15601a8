//! Delivers the notifications about one turn's thread to its reader.

use std::sync::Arc;

use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use super::decode::Decoder;
use super::pending_calls::PendingCalls;
use super::protocol::{Notification, Params};
use crate::codex::turn_channel::TurnSender;
use crate::codex::{Error, Event, TurnOutcome};

/// The place where the connection delivers one turn's notifications.
#[derive(Debug)]
pub(super) struct Route {
    decoder: Mutex<Decoder>,
    pub(super) delivery: Arc<TurnSender>,
    pub(super) calls: PendingCalls,
    /// Cancelled when Codex has ended the turn, or can no longer do so.
    pub(super) ended: CancellationToken,
}

impl Route {
    pub(super) fn new(decoder: Decoder, delivery: Arc<TurnSender>) -> Self {
        Self {
            decoder: Mutex::new(decoder),
            delivery,
            calls: PendingCalls::default(),
            ended: CancellationToken::new(),
        }
    }

    /// Takes one notification about the thread. Never waits.
    pub(super) fn accept(&self, what: Notification, params: Params<'_>) {
        self.calls.hear();
        let mut decoder = self.decoder.lock();
        decoder.accept(what, params, &mut |event| self.delivery.deliver(event));
        if decoder.is_over() {
            self.ended.cancel();
        } else if decoder.is_given_up() {
            self.delivery.stop.cancel();
        }
    }

    /// Ends the turn with an error that is not Codex's.
    pub(super) fn fail(&self, error: Error) {
        self.delivery
            .deliver(Event::Ended(TurnOutcome::Failed(error)));
        self.ended.cancel();
    }

    pub(super) fn turn_id(&self) -> Option<String> {
        let decoder = self.decoder.lock();
        decoder.turn_id().map(str::to_owned)
    }
}
