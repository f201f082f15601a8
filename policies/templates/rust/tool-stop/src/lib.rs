//! The tool-stop policy `my-policy`: a turn ends with a number of tool calls.

use codex_policy::settings::Ignored;
use codex_policy::tool_stop::{Event, Progress, Reaction, ToolStop};
use codex_policy::{Need, Policy};
use serde::Deserialize;

/// The settings as they are written; `settings.schema.json` describes the members.
#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// The number of the call that ends a turn.
    max_calls: u32,
    /// The gateway's own member: facts that this policy does not read.
    #[serde(rename = "host")]
    _host: Ignored,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            max_calls: 10,
            _host: Ignored,
        }
    }
}

/// The checked settings, ready for decisions.
#[derive(Debug)]
pub struct MyPolicy {
    max_calls: u32,
}

impl Policy for MyPolicy {
    const NAME: &'static str = "my-policy";
    const SCHEMA: &'static str = include_str!("../settings.schema.json");
    type Settings = Settings;

    fn configure(settings: Settings) -> Result<Self, String> {
        match settings.max_calls {
            0 => Err("max_calls: give at least 1".to_owned()),
            max_calls => Ok(Self { max_calls }),
        }
    }

    fn needs(&self) -> Vec<Need> {
        // The number of calls is always known.
        Vec::new()
    }
}

impl ToolStop for MyPolicy {
    fn observe(&self, progress: &Progress, _event: &Event, memo: Vec<u8>) -> (Reaction, Vec<u8>) {
        let reaction = if progress.calls >= self.max_calls {
            Reaction::Stop
        } else {
            Reaction::GoOn
        };
        (reaction, memo)
    }
}

codex_policy::export!(tool_stop: MyPolicy);

#[cfg(test)]
mod tests {
    use codex_policy::harness::Harness;
    use codex_policy::tool_stop::Call;
    use serde_json::json;

    use super::*;

    fn play(max_calls: u32, calls: u32) -> Vec<Reaction> {
        let policy = Harness::<MyPolicy>::configure(&json!({"max_calls": max_calls})).unwrap();
        let calls: Vec<_> = (0..calls).map(|_| Event::Called(Call::default())).collect();
        policy.play(&Progress::default(), &calls)
    }

    #[test]
    fn the_last_call_allowed_ends_the_turn() {
        assert_eq!(play(2, 3), [Reaction::GoOn, Reaction::Stop]);
    }

    #[test]
    fn fewer_calls_go_on() {
        assert_eq!(play(3, 2), [Reaction::GoOn; 2]);
    }
}
