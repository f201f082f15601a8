"""Tests of the policy, in Python."""

import unittest

from codex_policy import Harness, caller
from policy import Policy
from wit_world.exports.tool_stop import (
    Call,
    Event_Called,
    Event_Quiet,
    Event_TextAfterCalls,
    Progress,
    Reaction_Drop,
    Reaction_GoOn,
    Reaction_Stop,
)

SETTINGS = {
    "tools": {
        "shell": {"command": ["ls( -[al]+)?( [a-z/]+)?", "git (status|log|diff)"], "timeout": ["[0-9]{1,2}"]},
        "read": {"paths": ["docs/[a-z]+\\.md"]},
        "time": {},
    }
}


class Tests(unittest.TestCase):
    policy = Harness(Policy, SETTINGS)

    def reaction(self, name, arguments, policy=None):
        event = Event_Called(Call(name, arguments, False, 0))
        turn = Progress(caller("ann"), "gpt-6", False, 1, 0)
        return (policy or self.policy).observe(turn, event, b"")[0]

    def test_calls_whose_arguments_fit_go_on(self):
        for name, arguments in [
            ("shell", '{"command": "ls -la docs/src"}'),
            ("shell", '{"command": "git status", "timeout": 30}'),
            ("read", '{"paths": ["docs/start.md", "docs/limits.md"]}'),
            ("read", '{"paths": []}'),
            ("time", "{}"),
            ("time", ""),
        ]:
            self.assertEqual(self.reaction(name, arguments), Reaction_GoOn(), arguments)

    def test_other_calls_are_left_out(self):
        for name, arguments in [
            ("write", "{}"),
            ("Shell", '{"command": "ls"}'),
            ("shell", '{"command": "ls; rm -rf /"}'),
            ("shell", '{"command": "git status\\n"}'),
            ("shell", '{"command": "ls", "timeout": 300}'),
            ("shell", '{"command": "ls", "timeout": true}'),
            ("shell", '{"command": "ls", "sudo": true}'),
            ("shell", '{"command": "ls", "command": "rm"}'),
            ("shell", '{"command": {"a": "ls"}}'),
            ("shell", '{"command": NaN}'),
            ("shell", '["ls"]'),
            ("shell", "ls"),
            ("shell", '{"command": "ls' + " " * 70_000 + '"}'),
            ("shell", '{"command": ' + "[" * 20_000),
            ("read", '{"paths": ["docs/start.md", "/etc/passwd"]}'),
            ("read", '{"paths": [["docs/start.md"]]}'),
            ("time", '{"zone": "UTC"}'),
        ]:
            self.assertEqual(self.reaction(name, arguments), Reaction_Drop(), arguments[:60])

    def test_a_call_may_be_the_last_instead(self):
        policy = Harness(Policy, {**SETTINGS, "reaction": "stop"})
        self.assertEqual(self.reaction("write", "{}", policy), Reaction_Stop())

    def test_text_and_waiting_go_on(self):
        turn = Progress(caller("ann"), "gpt-6", False, 1, 0)
        for event in [Event_TextAfterCalls(10), Event_Quiet(300)]:
            self.assertEqual(self.policy.observe(turn, event, b"memo"), (Reaction_GoOn(), b"memo"))

    def test_mistakes_in_the_settings_are_named(self):
        for settings, expected in [
            ({"reaction": "deny"}, "reaction: expected one of drop, stop"),
            ({"tools": {"shell": []}}, "tools.shell: expected an object"),
            ({"tools": {"shell": {"command": []}}}, "tools.shell.command: expected a list"),
            ({"tools": {"shell": {"command": ["("]}}}, "tools.shell.command: missing )"),
        ]:
            with self.assertRaisesRegex(ValueError, "^" + expected.replace(")", "\\)")):
                Harness(Policy, settings)
