"""Validates JSON texts against pydantic's types: one pass finds members that are missing, unknown, null or of a wrong type."""

import functools
import json
import re
import typing

import pydantic

import book


class Difference(typing.NamedTuple):
    """A member of a body that is not as a schema has it."""

    schema: str  # `OpenAI` or `Open Responses`
    body: str  # the kind of the body or event, `chat completion chunk`
    path: str  # `choices[].finish_reason`
    fault: str  # `missing`, `extra`, `null` or `wrong`


def intended():
    """The rows of the book's table."""
    section = book.section("Differences from the schemas")
    rows = re.findall(r"^\| ([\w ]+) \| `?([\w. ]+?)`? \| `([^`]+)` \| (\w+) \|", section, re.MULTILINE)
    return {Difference(*row) for row in rows}


@functools.cache
def adapter(kind):
    """Made once: this takes as long as a hundred validations."""
    return pydantic.TypeAdapter(kind)


def faults(kind, value, extra="forbid"):
    """Path and fault of each member of a JSON value that is not as the type has it, and pydantic's words."""
    try:
        # As JSON: strict validation takes a string of an enumeration from JSON only.
        adapter(kind).validate_json(json.dumps(value), strict=True, extra=extra)
    except pydantic.ValidationError as error:
        return list(chosen(error.errors(include_url=False), value, 0, ""))
    return []


def chosen(errors, value, depth, path):
    """The faults at and below a value, of its places' errors. Of a union's types, the one counts that fits best.

    An error's place has, besides members and positions, the names of a union's types. A name that the value does not have is
    such a type's, unless the error is that the member is missing.
    """
    below, types = {}, {}
    for error in errors:
        if len(error["loc"]) == depth:
            yield path, fault(error), f"{error['msg']}: {error['input']!r:.80}"
            continue
        step = error["loc"][depth]
        is_last = len(error["loc"]) == depth + 1
        if is_last and error["type"] == "missing":
            yield join(path, step), "missing", error["msg"]
        elif isinstance(value, list) and isinstance(step, int) or isinstance(value, dict) and step in value:
            below.setdefault(step, []).append(error)
        else:
            types.setdefault(step, []).append(error)
    for step, inner in below.items():
        yield from chosen(inner, value[step], depth + 1, join(path, step))
    if types:
        tries = [list(chosen(inner, value, depth + 1, path)) for inner in types.values()]
        yield from min(tries, key=lambda found: (strangeness(found, path), len(found)))


def strangeness(found, path):
    """How far a value is from a type of a union: it has another shape, or another name than the type's, or only other members."""
    if any(place == path for place, *_ in found):
        return 2
    names = [join(path, name) for name in ("type", "object", "role")]
    return int(any(place in names and fault != "extra" for place, fault, _ in found))


def fault(error):
    if error["type"] == "extra_forbidden":
        return "extra"
    return "null" if error["input"] is None else "wrong"


def join(path, step):
    if isinstance(step, int):
        return f"{path}[]"
    return f"{path}.{step}" if path else step


def absent(value, path):
    """Whether a member that must be there, perhaps as `null`, is not there. Members above it may be absent."""
    head, _, rest = path.partition(".")
    name = head.removesuffix("[]")
    if not isinstance(value, dict):
        return False
    if not rest:
        return name not in value
    inner = value.get(name)
    return any(absent(each, rest) for each in (inner if isinstance(inner, list) else [inner]))


def of_body(schema, body, kind, value, demanded=()):
    """The differences of a body from a type. `demanded` are members that must be there, which the type does not say."""
    for path, fault, words in faults(kind, value):
        yield Difference(schema, body, path, fault), words
    for path in demanded:
        if absent(value, path):
            yield Difference(schema, body, path, "missing"), "must be there, even if null"


def of_event(schema, response, events, value, demanded=()):
    """The differences of an event from its type. The response in it is one kind of body, whatever the event."""
    name = value.get("type")
    if name not in events:
        yield Difference(schema, "event", "type", "wrong"), f"there is no event {name!r}"
        return
    has_response = isinstance(value.get("response"), dict)
    if has_response:
        yield from of_body(schema, "response", response, value["response"], demanded)
    for difference, words in of_body(schema, name, events[name], value):
        if not has_response or not difference.path.startswith("response."):
            yield difference, words


class Findings:
    """The differences of all bodies that were validated, each with the first place where it was seen."""

    def __init__(self):
        self.count = 0
        self.seen = {}

    def add(self, place, differences):
        self.count += 1
        for difference, words in differences:
            self.seen.setdefault(difference, f"{place}: {', '.join(difference)}: {words}")

    def complaints(self, rows):
        """Each difference without a row, and each row without a difference."""
        yield from (self.seen[one] for one in self.seen.keys() - rows)
        yield from (f"never seen: {', '.join(row)}" for row in rows - self.seen.keys())
