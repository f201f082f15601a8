//! The refusals that operators see: of the policy folder as it was last read, and of promoted policies that were taken back.

use std::time::SystemTime;

use super::digest::Digest;
use super::fault::Refusal;
use super::rules::Rules;

/// A refusal, and since when it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenRefusal {
    /// The refusal.
    pub refusal: Refusal,
    /// When it was first found.
    pub since: SystemTime,
}

/// All that stand now.
#[derive(Debug, Default)]
pub(super) struct OpenRefusals {
    /// Of the folder; empty if its files are the ones that serve.
    folder: Vec<OpenRefusal>,
    /// Of policies that an operator had promoted. The folder knows nothing of them, so that it cannot show or end this.
    promoted: Option<(Digest, OpenRefusal)>,
}

impl OpenRefusals {
    /// Those of the folder.
    pub(super) fn folder(&self) -> Vec<Refusal> {
        let folder = self.folder.iter();
        folder.map(|open| open.refusal.clone()).collect()
    }

    /// All, each once.
    pub(super) fn all(&self) -> Vec<OpenRefusal> {
        let promoted = self.promoted.iter().map(|(_, open)| open);
        let is_other = |open: &&OpenRefusal| {
            let mut folder = self.folder.iter();
            folder.all(|known| known.refusal.problem != open.refusal.problem)
        };
        let promoted = promoted.filter(is_other);
        self.folder.iter().chain(promoted).cloned().collect()
    }

    /// Replaces those of the folder; the ones that stand already keep their time. Returns whether they changed.
    pub(super) fn note(&mut self, refusals: Vec<Refusal>) -> bool {
        if self.folder() == refusals {
            return false;
        }
        let now = SystemTime::now();
        let before = std::mem::take(&mut self.folder);
        let since = |refusal: &Refusal| {
            let mut before = before.iter();
            let known = before.find(|known| known.refusal == *refusal);
            known.map_or(now, |known| known.since)
        };
        let open = refusals.into_iter().map(|refusal| OpenRefusal {
            since: since(&refusal),
            refusal,
        });
        self.folder = open.collect();
        true
    }

    /// The folder is in order. Returns whether it was not.
    pub(super) fn mended(&mut self) -> bool {
        !std::mem::take(&mut self.folder).is_empty()
    }

    /// Policies that an operator had promoted were taken back.
    pub(super) fn taken_back(&mut self, digest: Digest, refusal: Refusal) {
        let since = SystemTime::now();
        self.promoted = Some((digest, OpenRefusal { refusal, since }));
    }

    /// Others serve, or an operator has seen it: policies that were taken back are no news any longer.
    pub(super) fn settled(&mut self) {
        self.promoted = None;
    }

    /// As [`OpenRefusals::settled`], if the operator accepts them in `policies.toml`.
    pub(super) fn ruled(&mut self, rules: &Rules) {
        self.promoted.take_if(|(digest, _)| rules.accepts(*digest));
    }
}

#[cfg(test)]
mod tests {
    use super::super::fault::Problem;
    use super::*;

    fn refusal(file: &str) -> Refusal {
        Refusal {
            file: file.to_owned(),
            slot: None,
            problem: Problem::Unreadable(file.to_owned()),
        }
    }

    fn files(refused: &OpenRefusals) -> Vec<String> {
        let all = refused.all().into_iter();
        all.map(|open| open.refusal.file()).collect()
    }

    #[test]
    fn a_refusal_keeps_its_time_while_it_stands() {
        let mut refused = OpenRefusals::default();
        assert!(refused.note(vec![refusal("a")]));
        let since = refused.all()[0].since;
        assert!(!refused.note(vec![refusal("a")]));
        assert!(refused.note(vec![refusal("b"), refusal("a")]));
        assert_eq!(refused.all()[1].since, since);
        assert!(refused.mended() && !refused.mended());
        assert!(refused.all().is_empty());
    }

    #[test]
    fn promoted_policies_that_were_taken_back_are_shown_until_others_serve_or_they_are_accepted() {
        let digest = Digest::from([7; 32]);
        let mut refused = OpenRefusals::default();
        refused.taken_back(digest, refusal("promoted"));
        refused.mended();
        assert_eq!(files(&refused), ["promoted"], "the folder is in order");
        // The folder has the same files by now.
        let same = Refusal {
            file: "POLICY_DIR".to_owned(),
            ..refusal("promoted")
        };
        refused.note(vec![same, refusal("b")]);
        assert_eq!(files(&refused), ["POLICY_DIR", "b"], "each once");
        refused.mended();
        let accepts = |accept: &str| Rules {
            accept: vec![accept.to_owned()],
            ..Rules::default()
        };
        refused.ruled(&accepts("08"));
        assert_eq!(files(&refused), ["promoted"]);
        refused.ruled(&accepts("0707"));
        assert!(refused.all().is_empty());
        refused.taken_back(digest, refusal("promoted"));
        refused.settled();
        assert!(refused.all().is_empty());
    }
}
