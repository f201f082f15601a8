//! Delivers the notifications about one turn's thread to its reader.

use std::path::Path;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use super::conversation::{Digest, Rest};
use super::decode::Decoder;
use super::kept::Announcer;
use super::pending_calls::PendingCalls;
use super::protocol::{Notification, Params};
use crate::codex::turn_channel::TurnSender;
use crate::codex::{Error, Event, TurnOutcome};

/// The place where the connection delivers one turn's notifications.
#[derive(Debug)]
pub(super) struct Route {
    ear: Mutex<Ear>,
    pub(super) delivery: Arc<TurnSender>,
    pub(super) calls: PendingCalls,
    /// Cancelled when Codex has ended the turn, or can no longer do so.
    pub(super) ended: CancellationToken,
}

/// The part that changes with each notification.
#[derive(Debug)]
struct Ear {
    decoder: Decoder,
    announcer: Option<Announcer>,
}

impl Route {
    pub(super) fn new(
        decoder: Decoder,
        delivery: Arc<TurnSender>,
        announcer: Option<Announcer>,
    ) -> Self {
        Self {
            ear: Mutex::new(Ear { decoder, announcer }),
            delivery,
            calls: PendingCalls::default(),
            ended: CancellationToken::new(),
        }
    }

    /// Takes one notification about the thread. Never waits.
    pub(super) fn accept(&self, what: Notification, params: Params<'_>) {
        self.calls.hear();
        let mut ear = self.ear.lock();
        let Ear { decoder, announcer } = &mut *ear;
        decoder.accept(what, params, &mut |event| {
            if let Some(announcer) = announcer {
                announcer.hear(&event);
            }
            self.delivery.deliver(event);
        });
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
        let ear = self.ear.lock();
        ear.decoder.turn_id().map(str::to_owned)
    }

    /// Follows a turn that has begun already.
    pub(super) fn go_on(&self, turn: String) {
        self.ear.lock().decoder.go_on(turn);
    }

    /// Names the folder where the turn's agent works.
    pub(super) fn works_in(&self, cwd: &Path) {
        self.ear.lock().decoder.works_in(cwd);
    }

    /// Tells whether the turn's thread is a fork.
    pub(super) fn set_fork(&self, is_fork: bool) {
        self.ear.lock().decoder.set_fork(is_fork);
    }

    /// The digest of the conversation and the state of its thread, if the turn has come to a rest.
    pub(super) fn rest(&self) -> Option<(Digest, Rest)> {
        let ear = self.ear.lock();
        ear.announcer.as_ref()?.rest()
    }

    /// The conversations that were announced: each must be settled.
    pub(super) fn announced(&self) -> Vec<Digest> {
        let mut ear = self.ear.lock();
        let announced = ear.announcer.as_mut().map(Announcer::announced);
        announced.unwrap_or_default()
    }
}
