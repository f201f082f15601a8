"""OpenAI's schema of each body and event, as its SDK carries it: the types that `validate_answers.py` validates with.

The SDK's types are generated from the published schema. The SDK itself does not validate what it reads; pydantic does here. The
types allow `null` for every member that may be absent: such a `null` is not found.
"""

import typing

import pydantic
from openai.types import Completion, ErrorObject, Model
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from openai.types.responses import CompactedResponse, InputTokenCountResponse, Response, ResponseItemList, ResponseStreamEvent

from schema import of_body, of_event


class Models(pydantic.BaseModel):
    """The SDK has a page of any objects in its place."""

    object: typing.Literal["list"]
    data: list[Model]


class Error(pydantic.BaseModel):
    """The SDK reads the object in it."""

    error: ErrorObject


class Deleted(pydantic.BaseModel):
    """The schema has no body here, and the SDK reads none; this is what OpenAI's reference shows."""

    id: str
    object: typing.Literal["response"]
    deleted: typing.Literal[True]


BODIES = {
    "chat completion": ChatCompletion,
    "chat completion chunk": ChatCompletionChunk,
    "completion": Completion,
    "completion chunk": Completion,
    "response": Response,
    "compaction": CompactedResponse,
    "input tokens": InputTokenCountResponse,
    "input items": ResponseItemList,
    "deleted response": Deleted,
    "models": Models,
    "model": Model,
    "error": Error,
}

# `ResponseStreamEvent` is an annotated union: the first argument is the union.
EVENTS = {
    typing.get_args(event.model_fields["type"].annotation)[0]: event
    for event in typing.get_args(typing.get_args(ResponseStreamEvent)[0])
}

# Members that the schema demands and that may be `null`. The SDK's types do not demand them.
NULLABLE = {
    "chat completion": ["choices[].message.content", "choices[].message.refusal", "choices[].logprobs"],
    "chat completion chunk": ["choices[].finish_reason"],
    "completion": ["choices[].logprobs"],
    "completion chunk": ["choices[].logprobs"],
    "response": ["error", "incomplete_details", "instructions", "tools[].parameters", "tools[].strict"],
    "error": ["error.code", "error.param"],
}


def differences(body, value):
    """How a body or an event differs from the schema. `body` is a name of `BODIES`, or `event`."""
    if body == "event":
        yield from of_event("OpenAI", Response, EVENTS, value, NULLABLE["response"])
    else:
        yield from of_body("OpenAI", body, BODIES[body], value, NULLABLE.get(body, ()))
