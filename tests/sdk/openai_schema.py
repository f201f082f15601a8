"""Validates the recorded answers of all dialects against OpenAI's schema, as its SDK carries it.

The SDK's types are generated from the published schema. The SDK itself does not validate what it reads; pydantic does here, with
required members, words and types. Members that the schema does not have are reported, too. The differences are those of the
table in docs/src/clients.md, no more and no fewer.
"""

import json
import pathlib
import re

import pydantic
from openai.types import Completion
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from openai.types.responses import Response, ResponseStreamEvent

import book

TESTS = pathlib.Path(__file__).parent.parent
GOLDEN = TESTS / "fixtures" / "golden"

WHOLE = {"chat": ChatCompletion, "completions": Completion, "responses": Response}
PIECE = {"chat": ChatCompletionChunk, "completions": Completion, "responses": ResponseStreamEvent}


def intended():
    """The rows of the book's table: dialect and member."""
    return set(re.findall(r"^\| (\w+) \| `(\w+)` \|", book.section("Differences from the schema"), re.MULTILINE))


def unknown(value):
    """The members that the types do not have."""
    if isinstance(value, pydantic.BaseModel):
        for name, member in (value.model_extra or {}).items():
            yield name, f"not in the schema: {member!r:.80}"
        for name in type(value).model_fields:
            yield from unknown(getattr(value, name))
    elif isinstance(value, list):
        for item in value:
            yield from unknown(item)


def mistakes(kind, text):
    """Each member that breaks the schema, and how."""
    try:
        value = pydantic.TypeAdapter(kind).validate_json(text, strict=True)
    except pydantic.ValidationError as error:
        return [(str(one["loc"][-1]), f"{one['msg']}: {one['input']!r:.80}") for one in error.errors()]
    return list(unknown(value))


def pieces(text):
    """The events of a stream, without the error object that the SDK raises."""
    for line in text.splitlines():
        data = line.removeprefix("data: ")
        if data != line and data != "[DONE]" and list(json.loads(data)) != ["error"]:
            yield data


def main():
    count, found = 0, {}
    for path in sorted(GOLDEN.glob("*/*")):
        dialect, text = path.parent.name, path.read_text()
        whole = path.suffix == ".json"
        kind = (WHOLE if whole else PIECE)[dialect]
        for piece in [text] if whole else pieces(text):
            count += 1
            for member, why in mistakes(kind, piece):
                found.setdefault((dialect, member), f"{dialect}/{path.name}: {member}: {why}")
    assert count > 150, f"only {count} bodies and events"
    rows = intended()
    told = [found[key] for key in found.keys() - rows] + [f"never seen: {row}" for row in rows - found.keys()]
    assert not told, "\n".join(told)
    print(f"{count} bodies and events: all well")


main()
