"""Tests of the policy, in Python."""

import unittest

from codex_policy import Err, Harness
from policy import Policy
from wit_world.imports.types import Credential, Request

# The SHA-256 of "sk-sample".
KNOWN = "db520ca8828b59bf7eeefa5fb5e91f496b9224c1a8a586ac0dfb1cbf93d44a2c"


def presenting(fingerprint):
    credential = fingerprint and Credential("Bearer", fingerprint, None)
    return Request("req_1", "POST", "/v1/responses", None, "", "127.0.0.1", [], credential, 0)


class Tests(unittest.TestCase):
    policy = Harness(Policy, {"callers": {KNOWN: "ann"}})

    def test_a_known_key_names_its_caller(self):
        self.assertEqual(self.policy.authenticate(presenting(KNOWN)).id, "ann")
        self.assertEqual(self.policy.verify(presenting(KNOWN)).headers[0], ("x-auth-caller", "ann"))

    def test_other_keys_and_none_are_refused(self):
        for fingerprint in ("0" * 64, None):
            with self.assertRaises(Err) as refused:
                self.policy.authenticate(presenting(fingerprint))
            self.assertEqual(refused.exception.value.status, 401)

    def test_a_wrong_member_is_named(self):
        with self.assertRaisesRegex(ValueError, "^caller: unknown"):
            Harness(Policy, {"caller": {}})
