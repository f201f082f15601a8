//! The tool-stop policy: its function, and the question that it answers.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use wasmtime::Store;
use wasmtime::component::{Instance, InstancePre};

use super::super::Slot;
use super::super::bindings::{Caller, tool_stop, v0_1};
use super::super::contract::Contract;
use super::super::guest::Guest;
use super::super::needs::Needs;
use super::{Kept, Question, World, size};

/// The tool-stop policy.
pub(in crate::policy) enum ToolStop {
    V0_2(tool_stop::GuestIndices),
    V0_1(v0_1::tool_stop::GuestIndices),
}

impl World for ToolStop {
    const SLOT: Slot = Slot::ToolStop;

    fn find(contract: Contract, pre: &InstancePre<Guest>) -> wasmtime::Result<Self> {
        Ok(match contract {
            Contract::V0_2 => Self::V0_2(tool_stop::GuestIndices::new(pre)?),
            Contract::V0_1 => Self::V0_1(v0_1::tool_stop::GuestIndices::new(pre)?),
        })
    }
}

/// `tool-stop.observe`.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(in crate::policy) struct Observe {
    /// The number of the request's turn; the policy does not see it.
    #[serde(skip)]
    pub(in crate::policy) turn: u32,
    pub(in crate::policy) progress: tool_stop::Progress,
    pub(in crate::policy) event: tool_stop::Event,
    pub(in crate::policy) memo: Vec<u8>,
}

impl Question for Observe {
    type World = ToolStop;
    type Answer = (tool_stop::Reaction, Vec<u8>);

    const NAME: &'static str = "observe";

    fn now_ms(&self) -> u64 {
        self.progress.elapsed_ms
    }

    fn declared(&self, needs: &Needs) -> Self {
        Self {
            progress: needs.progress(&self.progress),
            ..self.clone()
        }
    }

    fn size(&self) -> usize {
        let event = match &self.event {
            tool_stop::Event::Called(call) => call.name.len() + call.arguments.len(),
            tool_stop::Event::TextAfterCalls(_) | tool_stop::Event::Quiet(_) => 0,
        };
        let progress = size::caller(&self.progress.caller) + self.progress.model.len();
        event + progress + self.memo.len()
    }

    fn size_of_answer((_, memo): &Self::Answer) -> usize {
        memo.len()
    }

    fn subject(&self) -> (Option<&str>, Option<&str>) {
        let tool_stop::Progress { caller, model, .. } = &self.progress;
        (Some(&caller.id), Some(model))
    }

    fn with(&self, caller: Option<&Caller>, model: Option<&str>) -> Cow<'_, Self> {
        let mut other = self.clone();
        if let Some(caller) = caller {
            other.progress.caller.clone_from(caller);
        }
        if let Some(model) = model {
            model.clone_into(&mut other.progress.model);
        }
        match other == *self {
            true => Cow::Borrowed(self),
            false => Cow::Owned(other),
        }
    }

    fn turn(&self) -> Option<u32> {
        Some(self.turn)
    }

    fn of_turn(self, turn: u32) -> Self {
        Self { turn, ..self }
    }

    /// Calls differ from each other: their answers are not kept.
    fn memo<'a>(&self, _: &'a ToolStop) -> Option<&'a Kept<Self>> {
        None
    }

    async fn ask(
        &self,
        world: &ToolStop,
        store: &mut Store<Guest>,
        instance: &Instance,
    ) -> wasmtime::Result<Self::Answer> {
        let Self {
            progress,
            event,
            memo,
            ..
        } = self;
        match world {
            ToolStop::V0_2(tool_stop) => {
                let guest = tool_stop.load(&mut *store, instance)?;
                guest.call_observe(store, progress, event, memo).await
            }
            ToolStop::V0_1(tool_stop) => {
                let guest = tool_stop.load(&mut *store, instance)?;
                let (progress, event) = (progress.into(), event.into());
                let answer = guest.call_observe(store, &progress, &event, memo).await?;
                Ok((answer.0.into(), answer.1))
            }
        }
    }
}
