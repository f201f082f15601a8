"""The tool-stop policy my-policy: a turn ends with a number of tool calls."""

from codex_policy import read
from wit_world.exports.tool_stop import Reaction_GoOn, Reaction_Stop


class Policy:
    name = "my-policy"
    version = "0.1.0"

    def __init__(self, settings, host):
        self.max_calls = read(settings, max_calls=10)["max_calls"]
        if self.max_calls < 1:
            raise ValueError("max_calls: give at least 1")

    def needs(self):
        # The number of calls is always known.
        return []

    def observe(self, progress, event, memo):
        reaction = Reaction_Stop() if progress.calls >= self.max_calls else Reaction_GoOn()
        return reaction, memo
