//! The model policy: its functions, and the questions that it answers.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use wasmtime::Store;
use wasmtime::component::{Instance, InstancePre};

use super::super::Slot;
use super::super::bindings::{Caller, Denial, model, v0_1};
use super::super::cards::Cards;
use super::super::contract::Contract;
use super::super::guest::Guest;
use super::super::needs::Needs;
use super::{Kept, Question, World, size};

/// The functions of the model policy.
pub(in crate::policy) enum ModelExports {
    V0_2(model::GuestIndices),
    V0_1(v0_1::model::GuestIndices),
}

/// The model policy.
pub(in crate::policy) struct Model {
    pub(in crate::policy) exports: ModelExports,
    pub(in crate::policy) catalog: Kept<Catalog>,
    pub(in crate::policy) resolve: Kept<Resolve>,
}

impl World for Model {
    const SLOT: Slot = Slot::Model;

    fn find(contract: Contract, pre: &InstancePre<Guest>) -> wasmtime::Result<Self> {
        let exports = match contract {
            Contract::V0_2 => ModelExports::V0_2(model::GuestIndices::new(pre)?),
            Contract::V0_1 => ModelExports::V0_1(v0_1::model::GuestIndices::new(pre)?),
        };
        Ok(Self {
            exports,
            catalog: Kept::default(),
            resolve: Kept::default(),
        })
    }
}

/// `model.catalog`.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(in crate::policy) struct Catalog {
    pub(in crate::policy) caller: Option<Caller>,
    pub(in crate::policy) now_ms: u64,
}

impl Question for Catalog {
    type World = Model;
    type Answer = Cards;

    const NAME: &'static str = "catalog";

    fn now_ms(&self) -> u64 {
        self.now_ms
    }

    fn declared(&self, needs: &Needs) -> Self {
        Self {
            caller: self.caller.as_ref().map(|caller| needs.caller(caller)),
            now_ms: needs.now(self.now_ms),
        }
    }

    fn size(&self) -> usize {
        self.caller.as_ref().map_or(0, size::caller)
    }

    /// The cards are shared with the kept answer.
    fn size_of_answer(_: &Self::Answer) -> usize {
        0
    }

    fn subject(&self) -> (Option<&str>, Option<&str>) {
        let caller = self.caller.as_ref();
        (caller.map(|caller| caller.id.as_str()), None)
    }

    fn with(&self, caller: Option<&Caller>, _: Option<&str>) -> Cow<'_, Self> {
        match caller {
            Some(caller) => Cow::Owned(Self {
                caller: Some(caller.clone()),
                now_ms: self.now_ms,
            }),
            None => Cow::Borrowed(self),
        }
    }

    fn memo<'a>(&self, world: &'a Model) -> Option<&'a Kept<Self>> {
        Some(&world.catalog)
    }

    async fn ask(
        &self,
        world: &Model,
        store: &mut Store<Guest>,
        instance: &Instance,
    ) -> wasmtime::Result<Self::Answer> {
        let caller = self.caller.as_ref();
        match &world.exports {
            ModelExports::V0_2(model) => {
                let guest = model.load(&mut *store, instance)?;
                Ok(guest.call_catalog(store, caller).await?.into())
            }
            ModelExports::V0_1(model) => {
                let guest = model.load(&mut *store, instance)?;
                let cards = guest.call_catalog(store, caller).await?;
                Ok(Cards::from_iter(cards.into_iter().map(Into::into)))
            }
        }
    }
}

/// `model.resolve`.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(in crate::policy) struct Resolve {
    pub(in crate::policy) ask: model::Ask,
    pub(in crate::policy) now_ms: u64,
}

impl Question for Resolve {
    type World = Model;
    type Answer = Result<model::Target, Denial>;

    const NAME: &'static str = "resolve";

    fn now_ms(&self) -> u64 {
        self.now_ms
    }

    fn declared(&self, needs: &Needs) -> Self {
        Self {
            ask: needs.model(&self.ask),
            now_ms: needs.now(self.now_ms),
        }
    }

    fn size(&self) -> usize {
        let model::Ask {
            caller,
            requested,
            effort,
        } = &self.ask;
        size::caller(caller) + size::option(requested) + size::option(effort)
    }

    fn size_of_answer(answer: &Self::Answer) -> usize {
        size::answer(answer, |target| {
            let options = size::option(&target.effort) + size::option(&target.provider);
            target.id.len() + target.model.len() + options
        })
    }

    fn subject(&self) -> (Option<&str>, Option<&str>) {
        let model::Ask {
            caller, requested, ..
        } = &self.ask;
        (Some(&caller.id), requested.as_deref())
    }

    fn with(&self, caller: Option<&Caller>, _: Option<&str>) -> Cow<'_, Self> {
        let Some(caller) = caller else {
            return Cow::Borrowed(self);
        };
        let mut other = self.clone();
        other.ask.caller = caller.clone();
        Cow::Owned(other)
    }

    fn memo<'a>(&self, world: &'a Model) -> Option<&'a Kept<Self>> {
        Some(&world.resolve)
    }

    async fn ask(
        &self,
        world: &Model,
        store: &mut Store<Guest>,
        instance: &Instance,
    ) -> wasmtime::Result<Self::Answer> {
        match &world.exports {
            ModelExports::V0_2(model) => {
                let guest = model.load(&mut *store, instance)?;
                guest.call_resolve(store, &self.ask).await
            }
            ModelExports::V0_1(model) => {
                let guest = model.load(&mut *store, instance)?;
                let answer = guest.call_resolve(store, &(&self.ask).into()).await?;
                Ok(answer.map(Into::into))
            }
        }
    }
}
