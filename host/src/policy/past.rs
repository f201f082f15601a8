//! Going back to policies that served before: at once to those in memory, else to those that the state folder has files of.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use super::candidates::Past;
use super::digest::Digest;
use super::facts::Facts;
use super::generation::Generation;
use super::guard::Arrival;
use super::history::Door;
use super::last_good::Set;
use super::life::What;
use super::live::Live;
use super::look::Offer;
use super::pin::Pin;
use super::policies::prepare;
use super::rules::Rules;
use super::source::{Source, Unrestored};
use super::steer::only;
use super::unsteered::Unsteered;
use super::verdict::Verdict;

/// Such policies, in words.
const WHAT: &str = "generation that can serve again";

impl Live {
    /// Lets policies serve again that served before: those of this digest, or the last ones. Until [`Live::follow`] the policy
    /// folder is not looked at.
    ///
    /// # Errors
    /// If there are none, or their files cannot be read or are refused by now; or that other policies began to serve meanwhile.
    pub async fn roll_back(
        &self,
        digits: Option<&str>,
        by: &str,
    ) -> Result<Arc<Generation>, Unsteered> {
        let _one_at_a_time = self.replacing.lock().await;
        let current = self.current();
        let past = match self.in_memory(digits, current.digest())? {
            Some(past) => past,
            None => self.in_state(digits, &current).await?,
        };
        let digest = past.policies.digest();
        // Policies that served before need no probation.
        let rules = Rules {
            probation: Duration::ZERO,
            ..self.guard.rules()
        };
        let arrive = |now: &Generation| {
            (now.digest() == current.digest()).then(|| Arrival {
                files: past.files,
                rules,
                known: Vec::new(),
                pin: Some(Pin::now(by)),
            })
        };
        let door = (Door::RolledBack, by);
        if !self.serve(past.policies, door, arrive).await {
            return Err(Unsteered::Overtaken);
        }
        self.tell(What::RolledBack, digest, by, None);
        Ok(self.current())
    }

    /// The policies in memory that are meant, if they are there: no disk is waited for.
    fn in_memory(&self, digits: Option<&str>, current: Digest) -> Result<Option<Past>, Unsteered> {
        let state = self.guard.state();
        let others = || {
            let past = state.shelf.past();
            past.filter(|past| past.policies.digest() != current)
        };
        let digest = match digits {
            Some(digits) => {
                let digests = others().map(|past| past.policies.digest());
                match only(digests, digits, WHAT) {
                    Err(Unsteered::Unknown { .. }) => return Ok(None),
                    found => Some(found?),
                }
            }
            None => others().next().map(|past| past.policies.digest()),
        };
        let found = others().find(|past| Some(past.policies.digest()) == digest);
        Ok(found.cloned())
    }

    /// The policies that are meant, of files in the state folder.
    async fn in_state(
        &self,
        digits: Option<&str>,
        current: &Generation,
    ) -> Result<Past, Unsteered> {
        let kept = kept(&self.source).await;
        let sets = kept.map_err(|error| Unsteered::Unreadable(error.to_string()))?;
        let mut others = Vec::new();
        for set in sets {
            // Earlier gateways did not write it down.
            let digest = match set.digest() {
                Some(digest) => Some(digest),
                None => {
                    let offer = restored(&self.source, &self.facts, &set).await;
                    offer.ok().map(|offer| offer.digest())
                }
            };
            others.extend(digest.map(|digest| (digest, set)));
        }
        let rules = self.guard.rules();
        let was_taken_back = |digest: Digest| {
            let verdict = self.guard.verdict(digest, &rules);
            matches!(verdict, Some(Verdict::TakenBack(_)))
        };
        others.retain(|(digest, _)| *digest != current.digest() && !was_taken_back(*digest));
        let digests = others.iter().map(|(digest, _)| *digest);
        let digest = match digits {
            Some(digits) => only(digests, digits, WHAT)?,
            None => digests.clone().next().ok_or(Unsteered::NothingBefore)?,
        };
        let mut others = others.into_iter();
        let found = others.find(|(known, _)| *known == digest);
        let (_, set) = found.ok_or(Unsteered::NothingBefore)?;
        let offer = restored(&self.source, &self.facts, &set).await?;
        if offer.digest() != digest {
            return Err(Unsteered::Changed(digest.short()));
        }
        let old = Some(current.policies().as_ref());
        let policies = prepare(&self.engine, &offer.candidates, old).await?;
        Ok(Past {
            policies: Arc::new(policies),
            files: offer.files(),
        })
    }
}

/// The generations that the state folder has files of: the one that served last, and then those before it, newest first.
///
/// # Errors
/// If something was saved and cannot be read.
pub(super) async fn kept(source: &Source) -> io::Result<Vec<Set>> {
    let source = source.clone();
    let read = tokio::task::spawn_blocking(move || source.kept()).await;
    read.map_err(io::Error::other)?
}

/// The files of one of these.
///
/// # Errors
/// If they cannot be read, or are refused.
pub(super) async fn restored(
    source: &Source,
    facts: &Facts,
    set: &Set,
) -> Result<Offer, Unrestored> {
    let (source, facts, set) = (source.clone(), facts.clone(), set.clone());
    let read = tokio::task::spawn_blocking(move || source.restore(&set, &facts)).await;
    read.map_err(io::Error::other)?
}
