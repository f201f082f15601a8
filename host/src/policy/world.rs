//! The four worlds of the contract: the functions of each slot's component, found by name, and the questions they answer.

mod auth;
mod model;
mod rate_limit;
mod size;
mod tool_stop;
mod v0_1;

use std::borrow::Cow;
use std::future::Future;
use std::hash::Hash;

use serde::Serialize;
use serde::de::DeserializeOwned;
use wasmtime::Store;
use wasmtime::component::{Instance, InstancePre};

use super::Slot;
use super::answer::GuestAnswer;
use super::bindings::Caller;
use super::contract::Contract;
use super::guest::Guest;
use super::memo::Memo;
use super::needs::Needs;

pub(super) use auth::{Auth, Authenticate, Verify};
pub(super) use model::{Catalog, Model, Resolve};
pub(super) use rate_limit::{Decide, Quotas, RateLimit};
pub(super) use tool_stop::{Observe, ToolStop};

/// The functions of one slot's policy, and its kept answers.
pub(super) trait World: Sized + Send + Sync + 'static {
    /// The slot.
    const SLOT: Slot;

    /// Finds the functions by name.
    fn find(contract: Contract, pre: &InstancePre<Guest>) -> wasmtime::Result<Self>;
}

/// The kept answers to one kind of question.
pub(super) type Kept<Q> = Memo<Q, <Q as Question>::Answer>;

/// One function with its declared input.
pub(super) trait Question:
    Clone + Eq + Hash + Serialize + DeserializeOwned + Send + Sync + 'static
{
    /// The policy that answers.
    type World: World;
    /// The answer.
    type Answer: GuestAnswer
        + Clone
        + PartialEq
        + Serialize
        + DeserializeOwned
        + Send
        + Sync
        + 'static;

    /// The name in metrics and traces.
    const NAME: &'static str;

    /// The time that the guest's clocks show.
    fn now_ms(&self) -> u64;

    /// The question with blanks in place of what the policy did not declare.
    fn declared(&self, needs: &Needs) -> Self;

    /// About the bytes that it takes in memory, beside those of its own type.
    fn size(&self) -> usize;

    /// As [`Question::size`], of an answer.
    fn size_of_answer(answer: &Self::Answer) -> usize;

    /// The question without the secrets that only some policies may see.
    fn without_secrets(self) -> Self {
        self
    }

    /// The question for a record or an explanation: also without the values of headers and parameters whose names say that they are
    /// secret.
    fn masked(self) -> Self {
        self.without_secrets()
    }

    /// As [`Question::masked`], of an answer.
    fn masked_answer(answer: Self::Answer) -> Self::Answer {
        answer
    }

    /// The number of the turn that it is about.
    fn turn(&self) -> Option<u32> {
        None
    }

    /// The same question about the turn of this number.
    fn of_turn(self, _turn: u32) -> Self {
        self
    }

    /// Whether it has a secret beside what is kept of it.
    fn is_secretive(&self) -> bool {
        false
    }

    /// The caller and the model that it is about.
    fn subject(&self) -> (Option<&str>, Option<&str>) {
        (None, None)
    }

    /// The rules whose buckets had no room.
    fn exhausted(&self) -> Vec<&str> {
        Vec::new()
    }

    /// The caller that an answer names.
    fn caller_of(_: &Self::Answer) -> Option<&str> {
        None
    }

    /// The same question about another caller or model, if it is about any.
    fn with(&self, _caller: Option<&Caller>, _model: Option<&str>) -> Cow<'_, Self> {
        Cow::Borrowed(self)
    }

    /// The question as the key of its answer. Secrets are no part of it.
    fn key(&self) -> Cow<'_, Self> {
        Cow::Borrowed(self)
    }

    /// Where the policy's answers to questions like this are kept, if they are.
    fn memo<'a>(&self, world: &'a Self::World) -> Option<&'a Kept<Self>>;

    /// Calls the function.
    fn ask(
        &self,
        world: &Self::World,
        store: &mut Store<Guest>,
        instance: &Instance,
    ) -> impl Future<Output = wasmtime::Result<Self::Answer>> + Send;
}
