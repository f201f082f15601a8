//! Writes Codex's own activity beside an answer, in a member that OpenAI's clients pass on or ignore.

use serde::Serialize;

use crate::codex::Activity;

/// The most bytes of activity in an answer in one piece.
const LIMIT_BYTES: usize = 1024 * 1024;

/// The member `x_codex`.
#[derive(Debug, Clone, Copy, Serialize)]
pub(super) struct Extension<'a> {
    activity: &'a [Activity],
    /// The number of further activities that were left out because of [`LIMIT_BYTES`].
    #[serde(skip_serializing_if = "Option::is_none")]
    left_out: Option<usize>,
}

impl<'a> From<&'a Activity> for Extension<'a> {
    fn from(activity: &'a Activity) -> Self {
        Self {
            activity: std::slice::from_ref(activity),
            left_out: None,
        }
    }
}

/// All activities of an answer, each in its latest state.
#[derive(Debug, Default)]
pub(super) struct Actions {
    told: Vec<Activity>,
    bytes: usize,
    left_out: usize,
}

impl Actions {
    pub(super) fn push(&mut self, activity: Activity) {
        let earlier = self.told.iter().rposition(|told| told.id == activity.id);
        if let Some(earlier) = earlier {
            self.bytes -= self.told.remove(earlier).bytes();
        }
        if self.bytes + activity.bytes() > LIMIT_BYTES {
            self.left_out += 1;
        } else {
            self.bytes += activity.bytes();
            self.told.push(activity);
        }
    }

    /// The member; absent if there was no activity.
    pub(super) fn extension(&self) -> Option<Extension<'_>> {
        (!self.told.is_empty() || self.left_out > 0).then_some(Extension {
            activity: &self.told,
            left_out: (self.left_out > 0).then_some(self.left_out),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codex::{Action, Progress};

    fn search(id: usize, status: Progress, query: &str) -> Activity {
        Activity {
            id: id.to_string(),
            status,
            action: Action::WebSearch {
                query: query.to_owned(),
            },
        }
    }

    #[test]
    fn a_deed_is_told_once_and_as_it_ended() {
        let mut actions = Actions::default();
        assert!(actions.extension().is_none());
        actions.push(search(1, Progress::InProgress, ""));
        actions.push(search(2, Progress::Completed, "b"));
        actions.push(search(1, Progress::Failed, "a"));
        let told = serde_json::to_value(actions.extension()).unwrap();
        let expected = serde_json::json!({"activity": [
            {"id": "2", "status": "completed", "type": "web_search", "query": "b"},
            {"id": "1", "status": "failed", "type": "web_search", "query": "a"},
        ]});
        assert_eq!(told, expected);
    }

    #[test]
    fn an_answer_does_not_grow_without_end() {
        let mut actions = Actions::default();
        let query = "x".repeat(1000);
        for id in 0..3000 {
            actions.push(search(id, Progress::Completed, &query));
        }
        let told = serde_json::to_value(actions.extension()).unwrap();
        let count = told["activity"].as_array().unwrap().len();
        assert!((1000..1100).contains(&count), "{count}");
        assert_eq!(told["left_out"], 3000 - count);
    }
}
