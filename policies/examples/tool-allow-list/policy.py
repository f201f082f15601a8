"""The tool-stop policy tool-allow-list: a call whose tool or arguments are not allowed is left out of the answer, or ends it."""

import json
import re

from codex_policy import read
from wit_world.exports.tool_stop import Event_Called, Reaction_Drop, Reaction_GoOn, Reaction_Stop

REACTIONS = {"drop": Reaction_Drop, "stop": Reaction_Stop}
# The most bytes of arguments that are read; longer ones are not allowed.
LONGEST = 64 * 1024
# The most bytes of a value that a pattern is tried on: some patterns take long on long texts.
LONGEST_VALUE = 4096


def twice(pairs):
    """An object, if it has no member twice: the program behind might read the other one."""
    members = dict(pairs)
    if len(members) < len(pairs):
        raise ValueError("a member is there twice")
    return members


def constant(name):
    """Python reads NaN and Infinity, which are no JSON."""
    raise ValueError(f"{name} is no JSON")


def patterns(place, given):
    """The patterns of a tool's arguments, by their names."""
    if not isinstance(given, dict):
        raise ValueError(f"{place}: expected an object of arguments")
    read_ones = {}
    for name, texts in given.items():
        if not isinstance(texts, list) or not texts or not all(isinstance(text, str) for text in texts):
            raise ValueError(f"{place}.{name}: expected a list of patterns")
        try:
            read_ones[name] = [re.compile(text) for text in texts]
        except re.error as error:
            raise ValueError(f"{place}.{name}: {error}") from error
    return read_ones


class Policy:
    name = "tool-allow-list"
    version = "0.1.0"

    def __init__(self, settings, host):
        given = read(settings, tools={}, reaction="drop")
        if given["reaction"] not in REACTIONS:
            raise ValueError(f"reaction: expected one of {', '.join(REACTIONS)}")
        self.reaction = REACTIONS[given["reaction"]]
        self.tools = {tool: patterns(f"tools.{tool}", arguments) for tool, arguments in given["tools"].items()}

    def needs(self):
        # A call is always known.
        return []

    def observe(self, progress, event, memo):
        if isinstance(event, Event_Called) and not self.allows(event.value):
            return self.reaction(), memo
        return Reaction_GoOn(), memo

    def allows(self, call):
        arguments = self.tools.get(call.name)
        if arguments is None or len(call.arguments.encode()) > LONGEST:
            return False
        try:
            given = json.loads(call.arguments or "{}", object_pairs_hook=twice, parse_constant=constant)
        except (ValueError, RecursionError):
            return False
        # Arguments that no pattern is for are not allowed: a tool may have one that does more.
        if not isinstance(given, dict) or not given.keys() <= arguments.keys():
            return False
        return all(self.fits(given[name], arguments[name]) for name in given)

    def fits(self, value, allowed):
        """Whether a text, or each text of a list, is wholly one of the patterns. Other values are tried as their JSON."""
        if isinstance(value, list):
            return all(not isinstance(item, (list, dict)) and self.fits(item, allowed) for item in value)
        text = value if isinstance(value, str) else json.dumps(value)
        return len(text) <= LONGEST_VALUE and any(pattern.fullmatch(text) for pattern in allowed)
