"""Tests of the policy, in Python."""

import unittest

from codex_policy import Err, Harness, caller
from policy import Policy
from wit_world.exports.rate_limit import Ask, BucketStatus

ASK = Ask("127.0.0.1", caller("ann"), "/v1/responses", "gpt-5", False, 1_000, 0)


class Tests(unittest.TestCase):
    policy = Harness(Policy, {"per_minute": 3})

    def test_each_caller_has_a_bucket(self):
        (quota,) = self.policy.quotas(ASK)
        self.assertEqual((quota.key, quota.limit), ("ann", 3))

    def test_an_empty_bucket_refuses(self):
        self.assertEqual(self.policy.decide(ASK, [BucketStatus("requests", True, 2, 0)]), [])
        with self.assertRaises(Err) as refused:
            self.policy.decide(ASK, [BucketStatus("requests", False, 0, 20_000)])
        self.assertEqual(refused.exception.value.status, 429)
