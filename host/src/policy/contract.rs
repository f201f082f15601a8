//! The supported versions of the contract, and the calls of `lifecycle` in each of them.

use wasmtime::Store;
use wasmtime::component::{Instance, InstancePre};

use super::bindings::{lifecycle, v0_1};
use super::guest::Guest;

/// A version of the contract that policies may be written against.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Contract {
    /// Policies say which parts of the input they need.
    V0_2,
    /// Policies get the whole input, and no answer is kept.
    V0_1,
}

impl Contract {
    /// All versions, newest first.
    const ALL: [Self; 2] = [Self::V0_2, Self::V0_1];

    /// The version that is compatible with this one. Versions are compatible within a minor version while the major one is 0.
    pub(super) fn compatible_with(version: &str) -> Option<Self> {
        let (minor, _) = version.rsplit_once('.')?;
        Self::ALL.into_iter().find(|known| known.name() == minor)
    }

    /// The major and minor version.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::V0_2 => "0.2",
            Self::V0_1 => "0.1",
        }
    }
}

/// The functions of `lifecycle`.
pub(super) enum Lifecycle {
    V0_2(lifecycle::GuestIndices),
    V0_1(v0_1::lifecycle::GuestIndices),
}

impl Lifecycle {
    /// Finds the functions by name.
    pub(super) fn find(contract: Contract, pre: &InstancePre<Guest>) -> wasmtime::Result<Self> {
        Ok(match contract {
            Contract::V0_2 => Self::V0_2(lifecycle::GuestIndices::new(pre)?),
            Contract::V0_1 => Self::V0_1(v0_1::lifecycle::GuestIndices::new(pre)?),
        })
    }

    /// Asks for the manifest.
    pub(super) async fn about(
        &self,
        store: &mut Store<Guest>,
        instance: &Instance,
    ) -> wasmtime::Result<lifecycle::Manifest> {
        match self {
            Self::V0_2(found) => found.load(&mut *store, instance)?.call_about(store).await,
            Self::V0_1(found) => {
                let manifest = found.load(&mut *store, instance)?.call_about(store).await?;
                Ok(lifecycle::Manifest {
                    name: manifest.name,
                    version: manifest.version,
                    settings_schema: manifest.settings_schema,
                })
            }
        }
    }

    /// Configures an instance; the inner error is the policy's own.
    pub(super) async fn configure(
        &self,
        store: &mut Store<Guest>,
        instance: &Instance,
        settings: &str,
    ) -> wasmtime::Result<Result<(), String>> {
        match self {
            Self::V0_2(found) => {
                let guest = found.load(&mut *store, instance)?;
                guest.call_configure(store, settings).await
            }
            Self::V0_1(found) => {
                let guest = found.load(&mut *store, instance)?;
                guest.call_configure(store, settings).await
            }
        }
    }

    /// Asks a configured instance for its needs; `None` if its contract has no such question.
    pub(super) async fn needs(
        &self,
        store: &mut Store<Guest>,
        instance: &Instance,
    ) -> wasmtime::Result<Option<Vec<lifecycle::Need>>> {
        match self {
            Self::V0_2(found) => {
                let guest = found.load(&mut *store, instance)?;
                guest.call_needs(store).await.map(Some)
            }
            Self::V0_1(_) => Ok(None),
        }
    }
}
