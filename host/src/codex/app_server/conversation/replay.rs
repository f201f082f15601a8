//! The recognition of a conversation, from a plan and the events of its answer: for the fuzzer (`fuzz/`).

use super::{Conversation, Digest, Recorder};
use crate::codex::{Event, Plan};

/// The digest from which a turn with these events can be continued; none if it cannot.
#[must_use]
pub fn ends_at(plan: &Plan, events: &[Event]) -> Option<Digest> {
    let mut recorder = Recorder::new(&Conversation::of(plan)?, &plan.tools)?;
    for event in events {
        recorder.hear(event);
    }
    recorder.rest().map(|(digest, _)| digest)
}

/// The digests from which the conversation of a plan may go on.
#[must_use]
pub fn goes_on_from(plan: &Plan) -> Vec<Digest> {
    let conversation = Conversation::of(plan);
    let answers = conversation.into_iter().flat_map(|it| it.answers);
    answers.map(|(_, digest)| digest).collect()
}
