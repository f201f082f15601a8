"""The model policy my-policy: it offers a list of models, the first of which is the default."""

from codex_policy import model_not_found, read
from wit_world.exports.model import Card, Target


class Policy:
    name = "my-policy"
    version = "0.1.0"

    def __init__(self, settings, host):
        self.models = read(settings, models=[])["models"]

    def needs(self):
        return ["model", "effort"]

    def catalog(self, caller):
        return [Card(id, "codex", 0) for id in self.models]

    def resolve(self, ask):
        found = self.models[:1] if ask.requested is None else [id for id in self.models if id == ask.requested]
        if not found:
            raise model_not_found("There is no such model. GET /v1/models lists those you have.")
        return Target(found[0], found[0], ask.effort, None)
