//! The callers that were seen since the start: when, what each has used, and its last refusal; bounded in number and bytes.
//!
//! A request is counted when it is over, in one of some shards: requests that end together seldom wait for each other.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::mem::size_of;
use std::time::{SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;
use serde::{Serialize, Serializer};

use super::{Refusal, Summary, Tokens};

const SHARDS: usize = 16;
/// The most callers of a shard, 10,000 in all; the one that was not seen for longest makes room.
const CALLERS: usize = 10_000 / SHARDS;
/// The most bytes of a shard, 16 MiB in all.
const BYTES: usize = (16 << 20) / SHARDS;
/// The most models that are told apart for one caller.
const MODELS: usize = 16;
/// The most bytes of a text that a client chose, and the most rules of a refusal; a longer text is left out.
const TEXT: usize = 256;
const RULES: usize = 8;

/// The callers.
#[derive(Debug, Default)]
pub struct Callers {
    shards: [Mutex<Shard>; SHARDS],
    hasher: RandomState,
}

#[derive(Debug, Default)]
struct Shard {
    /// By id and tenant.
    known: HashMap<String, Known>,
    bytes: usize,
    /// Requests so far: the order in which callers were seen.
    requests: u64,
}

#[derive(Debug)]
struct Known {
    seen: Seen,
    request: u64,
    bytes: usize,
}

/// A caller.
#[derive(Debug, Clone, Serialize)]
pub struct Seen {
    /// Its id, from the auth policy.
    pub id: String,
    /// Its tenant.
    pub tenant: Option<String>,
    /// Its groups, as of its last request.
    pub groups: Vec<String>,
    /// When its first request was over.
    #[serde(serialize_with = "time")]
    pub first_at: SystemTime,
    /// When its last request was over.
    #[serde(serialize_with = "time")]
    pub last_at: SystemTime,
    /// Its requests.
    pub requests: u64,
    /// Those that a policy refused.
    pub denied: u64,
    /// The tokens of all its turns.
    pub tokens: Spent,
    /// The last refusal.
    pub refusal: Option<LastRefusal>,
    /// Its requests by model.
    #[serde(skip)]
    pub models: Vec<ModelUse>,
    /// The address of its last request.
    #[serde(skip)]
    pub client: String,
    /// The path of its last request that named no model.
    #[serde(skip)]
    pub path: Option<String>,
}

/// The requests of a caller that ran one model.
#[derive(Debug, Clone, Serialize)]
pub struct ModelUse {
    /// The model's name in the answers; absent for all models after the first sixteen.
    pub model: Option<String>,
    /// The requests.
    pub requests: u64,
    /// Their tokens.
    pub tokens: Spent,
    /// When the last one was over.
    #[serde(serialize_with = "time")]
    pub last_at: SystemTime,
    /// The path of the last one.
    #[serde(skip)]
    pub path: String,
    /// Whether its answer was a stream.
    #[serde(skip)]
    pub streaming: bool,
}

/// Tokens that were spent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Spent {
    /// Prompt tokens, the cached ones included.
    pub input: u64,
    /// Prompt tokens that came from the provider's cache.
    pub cached_input: u64,
    /// Answer tokens, reasoning included.
    pub output: u64,
    /// Answer tokens spent on reasoning.
    pub reasoning: u64,
}

/// A refusal by a policy, and its request.
#[derive(Debug, Clone, Serialize)]
pub struct LastRefusal {
    /// When the request was over.
    #[serde(serialize_with = "time")]
    pub at: SystemTime,
    /// Its id, in `x-request-id`.
    pub request: String,
    /// Its path.
    pub path: String,
    /// The refusal itself.
    #[serde(flatten)]
    pub refusal: Refusal,
}

fn time<S: Serializer>(time: &SystemTime, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&humantime::format_rfc3339_seconds(*time))
}

impl Callers {
    /// Counts a request that is over.
    pub(super) fn ended(&self, request: &Summary<'_>) {
        let Some(id) = request.caller else {
            return;
        };
        let key = format!("{id}\0{}", request.tenant.unwrap_or_default());
        self.shard(id).lock().add(key, id, request);
    }

    /// The callers that were seen last, latest first, at most so many; and the number of all that are known.
    #[must_use]
    pub fn last(&self, most: usize) -> (Vec<Seen>, usize) {
        let mut all = Vec::new();
        for shard in &self.shards {
            let shard = shard.lock();
            all.extend(shard.known.values().map(|known| known.seen.clone()));
        }
        let known = all.len();
        (latest(all, most), known)
    }

    /// The callers of this id, which several tenants may have; latest first, at most so many.
    #[must_use]
    pub fn of(&self, id: &str, most: usize) -> Vec<Seen> {
        let shard = self.shard(id).lock();
        let all = shard.known.values().map(|known| &known.seen);
        let all = all.filter(|seen| seen.id == id).cloned().collect();
        drop(shard);
        latest(all, most)
    }

    fn shard(&self, id: &str) -> &Mutex<Shard> {
        &self.shards[self.hasher.hash_one(id) as usize % SHARDS]
    }
}

fn latest(mut callers: Vec<Seen>, most: usize) -> Vec<Seen> {
    callers.sort_by(|a, b| b.last_at.cmp(&a.last_at).then_with(|| a.id.cmp(&b.id)));
    callers.truncate(most);
    callers
}

impl Shard {
    fn add(&mut self, key: String, id: &str, request: &Summary<'_>) {
        self.requests += 1;
        let number = self.requests;
        let known = self.known.entry(key).or_insert_with(|| Known {
            seen: Seen::new(id, request),
            request: number,
            bytes: 0,
        });
        known.request = number;
        if known.seen.add(request) {
            let bytes = known.seen.size();
            self.bytes = self.bytes - known.bytes + bytes;
            known.bytes = bytes;
        }
        while self.known.len() > CALLERS || self.bytes > BYTES {
            let known = self.known.iter();
            let Some(oldest) = known.min_by_key(|(_, known)| known.request) else {
                return;
            };
            let oldest = oldest.0.clone();
            let gone = self.known.remove(&oldest);
            self.bytes -= gone.map_or(0, |known| known.bytes);
        }
    }
}

impl Seen {
    /// A caller without any request yet.
    fn new(id: &str, request: &Summary<'_>) -> Self {
        let now = end(request);
        Self {
            id: id.to_owned(),
            tenant: request.tenant.map(str::to_owned),
            groups: Vec::new(),
            first_at: now,
            last_at: now,
            requests: 0,
            denied: 0,
            tokens: Spent::default(),
            refusal: None,
            models: Vec::new(),
            client: String::new(),
            path: None,
        }
    }

    /// Adds a request. Returns whether the caller may take another number of bytes now: most requests are like the one before.
    fn add(&mut self, request: &Summary<'_>) -> bool {
        let mut is_other = self.requests == 0;
        let now = end(request);
        self.last_at = now;
        self.requests += 1;
        if self.groups != request.groups {
            self.groups = request.groups.to_vec();
            is_other = true;
        }
        is_other |= replace(&mut self.client, request.client);
        if let Some(tokens) = request.tokens {
            self.tokens.add(tokens);
        }
        if let Some(refusal) = request.refusal {
            self.denied += 1;
            self.refusal = Some(LastRefusal::of(request, refusal));
            is_other = true;
        }
        is_other
            | match request.model {
                Some(model) => self.run(model, request),
                None => replace(self.path.get_or_insert_default(), request.path),
            }
    }

    fn run(&mut self, model: &str, request: &Summary<'_>) -> bool {
        let mut models = self.models.iter();
        let found = models.position(|known| match &known.model {
            Some(known) => known == model,
            None => true,
        });
        let is_new = found.is_none();
        if is_new {
            let is_one = self.models.len() < MODELS;
            self.models
                .push(ModelUse::new(is_one.then_some(model), request));
        }
        let place = found.unwrap_or(self.models.len() - 1);
        let used = &mut self.models[place];
        used.requests += 1;
        used.last_at = end(request);
        used.streaming = request.stream == Some(true);
        if let Some(tokens) = request.tokens {
            used.tokens.add(tokens);
        }
        is_new | replace(&mut used.path, request.path)
    }

    /// About the bytes that it takes in memory, with its key.
    fn size(&self) -> usize {
        let text = |text: &Option<String>| text.as_ref().map_or(0, String::len);
        let list = |list: &[String]| -> usize {
            list.iter()
                .map(|text| size_of::<String>() + text.len())
                .sum()
        };
        let models = self.models.iter();
        let models: usize = models
            .map(|used| size_of::<ModelUse>() + text(&used.model) + used.path.len())
            .sum();
        let refusal = self.refusal.as_ref().map_or(0, |last| {
            let Refusal { code, message, .. } = &last.refusal;
            last.request.len()
                + last.path.len()
                + code.len()
                + message.len()
                + list(&last.refusal.rules)
        });
        let names = 2 * (self.id.len() + text(&self.tenant)) + list(&self.groups);
        let asked = self.client.len() + text(&self.path);
        size_of::<Known>() + names + asked + models + refusal
    }
}

/// Replaces a text, unless it is the same or too long. Returns whether it was replaced.
fn replace(text: &mut String, new: &str) -> bool {
    let is_new = text != new && new.len() <= TEXT;
    if is_new {
        new.clone_into(text);
    }
    is_new
}

fn end(request: &Summary<'_>) -> SystemTime {
    UNIX_EPOCH + request.began + request.duration
}

impl ModelUse {
    fn new(model: Option<&str>, request: &Summary<'_>) -> Self {
        Self {
            model: model.map(str::to_owned),
            requests: 0,
            tokens: Spent::default(),
            last_at: end(request),
            path: String::new(),
            streaming: false,
        }
    }
}

impl Spent {
    fn add(&mut self, tokens: Tokens) {
        self.input += tokens.input;
        self.cached_input += tokens.cached_input;
        self.output += tokens.output;
        self.reasoning += tokens.reasoning;
    }
}

impl LastRefusal {
    fn of(request: &Summary<'_>, refusal: &Refusal) -> Self {
        let mut refusal = refusal.clone();
        refusal.rules.truncate(RULES);
        let short = |text: &str| text.chars().take(TEXT).collect();
        Self {
            at: end(request),
            request: short(request.id),
            path: short(request.path),
            refusal,
        }
    }
}

#[cfg(test)]
mod tests;
