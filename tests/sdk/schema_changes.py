"""Shows that the validation of `schema.py` can fail: it finds what is wrong in recorded answers that were changed."""

import copy

from schema import Difference, Findings, intended

# A kind of body, a member of it, a change there, and the path and fault it must be found as.
OPENAI = [
    ("chat completion", ["id"], "remove", ("id", "missing")),
    ("chat completion", ["choices", 0, "message", "refusal"], "remove", ("choices[].message.refusal", "missing")),
    ("chat completion", ["choices", 0, "finish_reason"], None, ("choices[].finish_reason", "null")),
    ("chat completion", ["usage", "total_tokens"], "150", ("usage.total_tokens", "wrong")),
    ("chat completion", ["choices", 0, "mood"], "good", ("choices[].mood", "extra")),
    ("chat completion", ["choices", 0, "message", "tool_calls", 0, "mood"], 1, ("choices[].message.tool_calls[].mood", "extra")),
    ("chat completion chunk", ["choices", 0, "delta", "role"], "somebody", ("choices[].delta.role", "wrong")),
    ("chat completion chunk", ["choices", 0, "finish_reason"], "remove", ("choices[].finish_reason", "missing")),
    ("completion", ["choices", 0, "finish_reason"], None, ("choices[].finish_reason", "null")),
    ("completion", ["choices", 0, "logprobs"], "remove", ("choices[].logprobs", "missing")),
    ("completion chunk", ["choices", 0, "finish_reason"], "tired", ("choices[].finish_reason", "wrong")),
    ("response", ["error"], "remove", ("error", "missing")),
    ("response", ["output", 0, "id"], "remove", ("output[].id", "missing")),
    ("response", ["output", 0, "type"], "thought", ("output[].type", "wrong")),
    ("response", ["output", 0, "content", 0, "text"], None, ("output[].content[].text", "null")),
    ("response", ["name"], "me", ("name", "extra")),
    ("response.completed", ["response", "usage", "mood"], "good", ("usage.mood", "extra")),
    ("response.completed", ["sequence_number"], "remove", ("sequence_number", "missing")),
    ("response.completed", ["response"], "remove", ("response", "missing")),
    ("response.output_text.delta", ["delta"], None, ("delta", "null")),
    ("response.output_text.delta", ["name"], "me", ("name", "extra")),
    ("response.output_text.delta", ["type"], "response.text", ("type", "wrong")),
    ("error", ["error", "param"], "remove", ("error.param", "missing")),
    ("error", ["error", "message"], None, ("error.message", "null")),
    ("error", ["detail"], "more", ("detail", "extra")),
]

OPEN_RESPONSES = [
    ("response", ["completed_at"], "remove", ("completed_at", "missing")),
    ("response", ["store"], None, ("store", "null")),
    ("response", ["output", 0, "role"], "remove", ("output[].role", "missing")),
    ("response", ["usage", "output_tokens"], "30", ("usage.output_tokens", "wrong")),
    ("response", ["mood"], "good", ("mood", "extra")),
    ("response.created", ["response", "tool_choice"], "perhaps", ("tool_choice", "wrong")),
    ("response.output_item.added", ["item", "id"], "remove", ("item.id", "missing")),
    ("response.output_text.delta", ["delta"], None, ("delta", "null")),
    ("response.output_text.delta", ["type"], "response.text", ("type", "wrong")),
]


def changed(value, path, new):
    """A copy of a body with another member, or without it."""
    value = copy.deepcopy(value)
    *above, last = path
    inner = value
    for step in above:
        inner = inner[step]
    if new == "remove":
        del inner[last]
    else:
        inner[last] = new
    return value


def pairs(bodies, kind, path, new):
    """The bodies of a kind that can be changed so, before and after."""
    for body, value in bodies:
        if kind in (body, value.get("type")):
            try:
                yield body, value, changed(value, path, new)
            except (KeyError, IndexError, TypeError):
                pass


def assert_found(bodies, changes, differences):
    """Every change is one more difference, beside those that the recorded body has. No row of the book's table excuses it."""
    rows = intended()
    for kind, path, new, expected in changes:
        body, before, after = next(pairs(bodies, kind, path, new))
        old = {difference for difference, _ in differences(body, before)}
        found = {difference for difference, _ in differences(body, after)}
        assert [(one.path, one.fault) for one in found - old] == [expected], f"{kind} {path}: {found - old}"
        assert not (found - old) & rows, f"a row excuses {found - old}"
        # The changed member itself, another type of event, or an event without its response, has other differences.
        hidden = {one for one in old - found if one.path != expected[0]}
        assert not hidden or path in (["type"], ["response"]), f"{kind} {path} hides {hidden}"


def assert_rows_are_exact():
    """A row excuses only its own body, path and fault, and is reported if nothing needs it."""
    one = Difference("OpenAI", "completion chunk", "choices[].finish_reason", "null")
    findings = Findings()
    findings.add("a place", [(one, "words")])
    assert list(findings.complaints({one})) == []
    for other in [one._replace(body="completion"), one._replace(path="finish_reason"), one._replace(fault="wrong")]:
        assert len(list(findings.complaints({other}))) == 2, other
        assert len(list(findings.complaints({one, other}))) == 1, other
