//! The operator's files of one generation, as they are kept: names, digests and options.

use std::io;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use super::blobs::{Blob, Blobs};
use crate::policy::Slot;
use crate::policy::candidate::{Instances, Options};
use crate::policy::digest::Digest;
use crate::policy::given::{Files, Given};
use crate::policy::guest::Limits;
use crate::policy::pin::Pin;

/// The files that serve, and who pinned them.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::policy) struct Serving {
    pub(in crate::policy) given: [Given; Slot::COUNT],
    /// Of the generation made of them.
    pub(in crate::policy) digest: Digest,
    pub(in crate::policy) pin: Option<Pin>,
}

/// The files of one generation, as they are kept.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(in crate::policy) struct Set {
    /// When they began to serve, in seconds since 1970.
    since: u64,
    /// The digest of the generation, as it was then: the built-in policies and the environment's settings are not kept. Absent if
    /// an earlier gateway wrote it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    digest: Option<Digest>,
    /// In the order of the slots.
    slots: [Kept; Slot::COUNT],
    /// The operator who pinned them: a start does not look at the policy folder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pin: Option<Pin>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Kept {
    component: Option<Blob>,
    settings: Option<Blob>,
    instances: Instances,
    credential: bool,
    memory_bytes: usize,
    deadline_ms: u64,
    wall_ms: u64,
    built_in: bool,
}

impl Set {
    /// Copies the files of a generation that serves from now on.
    ///
    /// # Errors
    /// If they cannot be written.
    pub(super) fn put(serving: &Serving, blobs: &Blobs) -> io::Result<Self> {
        let [auth, model, rate_limit, tool_stop] = serving
            .given
            .each_ref()
            .map(|given| Kept::put(given, blobs));
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        Ok(Self {
            since: now.unwrap_or_default().as_secs(),
            digest: Some(serving.digest),
            slots: [auth?, model?, rate_limit?, tool_stop?],
            pin: serving.pin.clone(),
        })
    }

    /// The one before another, of an earlier gateway, which kept only its files.
    pub(super) fn before(next: &Self, slots: [Kept; Slot::COUNT]) -> Self {
        Self {
            since: next.since,
            digest: None,
            slots,
            pin: None,
        }
    }

    /// Reads the copies.
    ///
    /// # Errors
    /// If one is gone or damaged.
    pub(super) fn get(&self, blobs: &Blobs) -> io::Result<[Given; Slot::COUNT]> {
        let [auth, model, rate_limit, tool_stop] =
            self.slots.each_ref().map(|kept| kept.get(blobs));
        Ok([auth?, model?, rate_limit?, tool_stop?])
    }

    /// The time when they began to serve.
    pub(in crate::policy) fn since(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(self.since)
    }

    /// The operator who pinned them, if one did.
    pub(in crate::policy) fn pin(&self) -> Option<&Pin> {
        self.pin.as_ref()
    }

    /// The digest of the generation as it was when they served; `None` if that is not known.
    pub(in crate::policy) fn digest(&self) -> Option<Digest> {
        self.digest
    }

    /// The names of the files.
    pub(super) fn files(&self) -> [Files; Slot::COUNT] {
        let name = |blob: &Option<Blob>| blob.as_ref().map(|blob| blob.name.clone());
        self.slots.each_ref().map(|kept| Files {
            component: name(&kept.component),
            settings: name(&kept.settings),
        })
    }

    /// The copies.
    pub(super) fn blobs(&self) -> impl Iterator<Item = &Blob> {
        let slots = self.slots.iter();
        slots.flat_map(|kept| kept.component.iter().chain(&kept.settings))
    }

    /// Whether both are the same generation.
    pub(super) fn is(&self, other: &Self) -> bool {
        self.slots == other.slots || (self.digest.is_some() && self.digest == other.digest)
    }

    /// The same set, which served before already.
    pub(super) fn began_with(self, before: &Self) -> Self {
        Self {
            since: before.since,
            ..self
        }
    }
}

impl Kept {
    fn put(given: &Given, blobs: &Blobs) -> io::Result<Self> {
        let Options {
            instances,
            credential,
            limits,
        } = given.options;
        let put = |named: &Option<_>| named.as_ref().map(|named| blobs.put(named)).transpose();
        Ok(Self {
            component: put(&given.component)?,
            settings: put(&given.settings)?,
            instances,
            credential,
            memory_bytes: limits.memory,
            deadline_ms: limits.deadline.as_millis() as u64,
            wall_ms: limits.wall.as_millis() as u64,
            built_in: given.built_in,
        })
    }

    fn get(&self, blobs: &Blobs) -> io::Result<Given> {
        let get = |blob: &Option<_>| blob.as_ref().map(|blob| blobs.get(blob)).transpose();
        Ok(Given {
            component: get(&self.component)?,
            settings: get(&self.settings)?,
            options: Options {
                instances: self.instances,
                credential: self.credential,
                limits: Limits {
                    memory: self.memory_bytes,
                    deadline: Duration::from_millis(self.deadline_ms),
                    wall: Duration::from_millis(self.wall_ms),
                    ..Limits::default()
                },
            },
            built_in: self.built_in,
        })
    }
}
