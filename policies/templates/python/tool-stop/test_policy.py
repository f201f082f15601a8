"""Tests of the policy, in Python."""

import unittest

from codex_policy import Harness, caller
from policy import Policy
from wit_world.exports.tool_stop import Event_Quiet, Progress, Reaction_GoOn, Reaction_Stop


class Tests(unittest.TestCase):
    policy = Harness(Policy, {"max_calls": 2})

    def reaction(self, calls):
        reaction, _ = self.policy.observe(Progress(caller("ann"), "gpt-5", False, calls, 0), Event_Quiet(1), b"")
        return reaction

    def test_the_last_call_allowed_ends_the_turn(self):
        self.assertEqual(self.reaction(2), Reaction_Stop())

    def test_fewer_calls_go_on(self):
        self.assertEqual(self.reaction(1), Reaction_GoOn())
