"""The rate-limit policy my-policy: each caller has a number of requests in a minute."""

from codex_policy import read
from wit_world.exports.rate_limit import Quota, Unit


class Policy:
    name = "my-policy"
    version = "0.1.0"

    def __init__(self, settings, host):
        self.per_minute = read(settings, per_minute=60)["per_minute"]
        if self.per_minute < 1:
            raise ValueError("per_minute: give at least 1")

    def needs(self):
        return ["caller"]

    def quotas(self, ask):
        if ask.caller is None:
            return []
        return [Quota("requests", ask.caller.id, Unit.REQUESTS, self.per_minute, 60_000, 1)]
