"""Tests of the policy, in Python."""

import unittest

from codex_policy import Err, Harness, caller
from policy import Policy
from wit_world.exports.model import Ask


class Tests(unittest.TestCase):
    policy = Harness(Policy, {"models": ["gpt-5", "gpt-5-mini"]})

    def test_the_first_model_is_the_default(self):
        for requested, model in ((None, "gpt-5"), ("gpt-5-mini", "gpt-5-mini")):
            self.assertEqual(self.policy.resolve(Ask(caller("ann"), requested, None)).model, model)

    def test_another_model_does_not_exist(self):
        with self.assertRaises(Err) as refused:
            self.policy.resolve(Ask(caller("ann"), "gpt-4", None))
        self.assertEqual(refused.exception.value.status, 404)
