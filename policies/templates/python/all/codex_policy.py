"""The SDK of codex-gateway's policies in Python: reads settings, names denials, makes a class a component, and asks it in tests.

A policy is a class with `name` and `version`. `__init__(settings, host)` checks the settings, and raises a ValueError that names the
wrong member; `needs()` returns the parts of the input that decisions read: names, or pairs as ("now", 1000). The other methods are
the functions of its world in wit/, with the types that `make` writes to bindings/. A denial is raised.
"""

import json
import math
from pathlib import Path
from typing import get_args, get_type_hints

from componentize_py_types import Err
from wit_world.exports import lifecycle
from wit_world.imports.types import Caller, Denial

NEEDS = {
    name.removeprefix("Need_").lower(): kind for name, kind in vars(lifecycle).items() if name.startswith("Need_")
}


def denial(status, kind, code, message, param=None, headers=()):
    """A denial of these parts, to be raised."""
    return Err(Denial(status, kind, code, message, param, list(headers)))


def invalid(code, message):
    """400: the request is wrong, and always will be."""
    return denial(400, "invalid_request_error", code, message)


def unauthorized(message):
    """401 invalid_api_key: the caller is unknown."""
    challenge = [("www-authenticate", 'Bearer realm="api"')]
    return denial(401, "authentication_error", "invalid_api_key", message, headers=challenge)


def forbidden(message):
    """403 forbidden: the caller is known, and may not do this."""
    return denial(403, "permission_error", "forbidden", message)


def model_not_found(message):
    """404 model_not_found: there is no such model, or not for this caller."""
    return denial(404, "invalid_request_error", "model_not_found", message, param="model")


def rate_limited(message, wait_ms):
    """429 rate_limited: the caller must wait, for so many milliseconds."""
    wait_ms = wait_ms or 1000
    headers = [("retry-after", str(math.ceil(wait_ms / 1000))), ("retry-after-ms", str(wait_ms))]
    return denial(429, "rate_limit_error", "rate_limited", message, headers=headers)


def unavailable(message):
    """503 policy_unavailable: the policy cannot serve the request."""
    return denial(503, "server_error", "policy_unavailable", message)


def read(settings, **defaults):
    """The settings, with a default for each absent member. The ValueError names every member that is unknown or of another type."""
    mistakes = []
    for name, value in settings.items():
        if name not in defaults:
            mistakes.append(f"{name}: unknown, expected one of {', '.join(defaults)}")
        elif type(value) is not type(defaults[name]):
            mistakes.append(f"{name}: expected {type(defaults[name]).__name__}, found {type(value).__name__}")
    if mistakes:
        raise ValueError("; ".join(mistakes))
    return {**defaults, **settings}


def caller(id, tenant=None, groups=()):
    """A caller."""
    return Caller(id, tenant, list(groups))


def _declared(policy):
    """The needs as pairs of a name and a value, which most have not."""
    needs = policy.needs() if hasattr(policy, "needs") else []
    return [(need, None) if isinstance(need, str) else need for need in needs]


class Questions:
    """The functions of all worlds, with what a policy leaves out."""

    def __init__(self, policy):
        self.policy = policy

    def authenticate(self, request):
        return self.policy.authenticate(request)

    def verify(self, original):
        from wit_world.exports.forward_auth import Grant

        if hasattr(self.policy, "verify"):
            return self.policy.verify(original)
        found = self.authenticate(original)
        # Empty headers are sent too: a proxy overwrites only the headers it receives, and a client can invent the others.
        headers = [
            ("x-auth-caller", found.id),
            ("x-auth-tenant", found.tenant or ""),
            ("x-auth-groups", ",".join(found.groups)),
        ]
        return Grant(found, headers)

    def catalog(self, caller):
        return self.policy.catalog(caller)

    def resolve(self, ask):
        return self.policy.resolve(ask)

    def quotas(self, ask):
        return self.policy.quotas(ask)

    def decide(self, ask, statuses):
        if hasattr(self.policy, "decide"):
            return self.policy.decide(ask, statuses)
        waits = [status.reset_ms for status in statuses if not status.granted]
        if waits:
            raise rate_limited("Rate limit reached.", max(waits))
        return []

    def observe(self, progress, event, memo):
        return self.policy.observe(progress, event, memo)


def component(policy_class):
    """The classes that a component of any world exports, by name."""
    # Read while the component is built: it has no files later.
    schema = Path(__file__).with_name("settings.schema.json").read_text()
    asked = None

    class Lifecycle:
        def about(self):
            return lifecycle.Manifest(policy_class.name, policy_class.version, schema)

        def configure(self, settings):
            nonlocal asked
            try:
                settings = json.loads(settings)
                host = settings.pop("host", {})
                asked = Questions(policy_class(settings, host))
            except Exception as error:
                raise Err(str(error)) from error

        def needs(self):
            pairs = _declared(asked.policy)
            kinds = [(NEEDS[name.replace("-", "")], value) for name, value in pairs]
            return [kind() if value is None else kind(value) for kind, value in kinds]

    def function(name):
        def ask(self, *given):
            if asked is None:
                raise unavailable("The policy has not been configured.")
            return getattr(asked, name)(*given)

        return ask

    functions = {
        "Auth": ["authenticate"],
        "ForwardAuth": ["verify"],
        "Model": ["catalog", "resolve"],
        "RateLimit": ["quotas", "decide"],
        "ToolStop": ["observe"],
    }
    made = {world: type(world, (), {name: function(name) for name in names}) for world, names in functions.items()}
    return {"Lifecycle": Lifecycle, **made}


class Harness:
    """A configured policy for tests: it sees the parts of the input that it declared, and blanks otherwise, as in the gateway."""

    # The need for each part whose name is another.
    NEED = {"now_ms": "now", "elapsed_ms": "now", "requested": "model", "tenant": "caller"}
    KNOWN = ("calls",)

    def __init__(self, policy_class, settings=None, host=None):
        self.policy = policy_class(settings or {}, host or {})
        self.asked = Questions(self.policy)
        self.pairs = _declared(self.policy)

    def __getattr__(self, name):
        def ask(first, *rest):
            if name == "quotas" and first.caller is None and not self._has("by-address"):
                return []
            return getattr(self.asked, name)(self._seen(first), *rest)

        return ask

    def _has(self, need):
        return any(name == need for name, _ in self.pairs)

    def _seen(self, full):
        if full is None:
            return None
        parts = {}
        for name, value in vars(full).items():
            need = "caller" if isinstance(full, Caller) and name == "id" else self.NEED.get(name, name.replace("_", "-"))
            if name == "caller" and value is not None:
                parts[name] = self._seen(value)
            elif name == "headers" and not self._has("headers"):
                names = [wanted for tag, wanted in self.pairs if tag == "header"]
                parts[name] = [header for header in value if header[0] in names]
            elif need == "now":
                steps = [step for tag, step in self.pairs if tag == "now"]
                parts[name] = value - value % min(steps) if steps else 0
            elif name in self.KNOWN or self._has(need) or value is None:
                parts[name] = value
            else:
                # A part that may be missing is missing, as in the gateway.
                is_optional = type(None) in get_args(get_type_hints(type(full))[name])
                parts[name] = None if is_optional else type(value)()
        return type(full)(**parts)
