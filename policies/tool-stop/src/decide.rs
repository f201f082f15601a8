//! Decides whether a turn ends after a tool call, and what becomes of text that follows one.

use serde::Deserialize;

/// When calls end a turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Never: the model ends it.
    #[default]
    Off,
    /// At the first call.
    First,
    /// When no further call follows for a while.
    Burst,
}

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// The model made a call.
    Called,
    /// Text followed the last call.
    Text,
    /// The time of the last [`Reaction::Wait`] ran out.
    Quiet,
}

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reaction {
    /// Nothing.
    GoOn,
    /// Go on, and ask with [`Event::Quiet`] after so many milliseconds.
    Wait(u32),
    /// Go on, but withhold text until the next call.
    HideTail,
    /// End the turn; the answer is complete as it stands.
    Stop,
}

/// The settings, checked and ready to be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// When calls end a turn.
    pub mode: Mode,
    /// How long a burst waits for a further call, in milliseconds.
    pub grace_ms: u32,
    /// The call that ends a turn in any mode; 0: none does.
    pub max_calls: u32,
    /// Withhold text that follows a call, unless another call follows it.
    pub suppress_tail: bool,
}

impl Rules {
    /// What to do about `event` in a turn that made so many calls, the one that is asked about included.
    ///
    /// In a burst a call is answered with `Wait`, which cannot be `HideTail` at the same time. Nothing is lost by that: there
    /// is no text to withhold before its first piece comes, and that is asked about. The answer to it is never a new `Wait`:
    /// the one of the last call stands, so that only another call starts the grace anew.
    #[must_use]
    pub fn observe(&self, calls: u32, event: Event) -> Reaction {
        if self.max_calls > 0 && calls >= self.max_calls {
            return Reaction::Stop;
        }
        match (self.mode, event) {
            (Mode::First, _) | (Mode::Burst, Event::Quiet) => Reaction::Stop,
            (Mode::Burst, Event::Called) => Reaction::Wait(self.grace_ms),
            _ if self.suppress_tail => Reaction::HideTail,
            _ => Reaction::GoOn,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OFF: Rules = Rules {
        mode: Mode::Off,
        grace_ms: 300,
        max_calls: 0,
        suppress_tail: false,
    };

    /// What is answered to events in turn, calls being counted as the host does.
    fn play(rules: Rules, events: &[Event]) -> Vec<Reaction> {
        let mut calls = 0;
        let answer = |event: &Event| {
            calls += u32::from(*event == Event::Called);
            rules.observe(calls, *event)
        };
        events.iter().map(answer).collect()
    }

    use Event::{Called, Quiet, Text};
    use Reaction::{GoOn, HideTail, Stop, Wait};

    #[test]
    fn off_leaves_a_turn_alone() {
        assert_eq!(play(OFF, &[Called, Text, Called, Quiet]), [GoOn; 4]);
    }

    #[test]
    fn first_stops_at_the_first_call() {
        let first = Rules {
            mode: Mode::First,
            ..OFF
        };
        assert_eq!(play(first, &[Called]), [Stop]);
        let quietly = Rules {
            suppress_tail: true,
            ..first
        };
        assert_eq!(play(quietly, &[Called]), [Stop]);
    }

    #[test]
    fn a_burst_stops_when_no_call_follows_in_time() {
        let burst = Rules {
            mode: Mode::Burst,
            grace_ms: 20,
            ..OFF
        };
        assert_eq!(
            play(burst, &[Called, Called, Quiet]),
            [Wait(20), Wait(20), Stop]
        );
    }

    #[test]
    fn text_does_not_prolong_a_burst() {
        let burst = Rules {
            mode: Mode::Burst,
            ..OFF
        };
        assert_eq!(
            play(burst, &[Called, Text, Called, Text, Quiet]),
            [Wait(300), GoOn, Wait(300), GoOn, Stop]
        );
        let quietly = Rules {
            suppress_tail: true,
            ..burst
        };
        assert_eq!(
            play(quietly, &[Called, Text, Quiet]),
            [Wait(300), HideTail, Stop]
        );
    }

    #[test]
    fn the_last_call_allowed_stops_a_turn_in_any_mode() {
        for mode in [Mode::Off, Mode::Burst] {
            for suppress_tail in [false, true] {
                let rules = Rules {
                    mode,
                    max_calls: 2,
                    suppress_tail,
                    ..OFF
                };
                let reactions = play(rules, &[Called, Text, Called]);
                let stops: Vec<_> = reactions.iter().map(|reaction| *reaction == Stop).collect();
                assert_eq!(stops, [false, false, true], "{rules:?}");
            }
        }
        let first = Rules {
            mode: Mode::First,
            max_calls: 2,
            ..OFF
        };
        assert_eq!(play(first, &[Called]), [Stop]);
    }

    #[test]
    fn a_suppressed_tail_is_withheld_from_every_call_on() {
        let rules = Rules {
            suppress_tail: true,
            ..OFF
        };
        assert_eq!(play(rules, &[Called, Text, Called]), [HideTail; 3]);
    }
}
