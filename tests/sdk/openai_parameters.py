"""Compares the table of parameters in docs/src/clients.md with the parameters that the installed openai library knows."""

import typing

from openai.types import completion_create_params as completions
from openai.types.chat import completion_create_params as chat
from openai.types.responses import response_create_params as responses
from typing_extensions import is_typeddict

import book

# The columns of the table, and the types whose members are in it.
COLUMNS = {
    "chat": (chat.CompletionCreateParamsNonStreaming, chat.CompletionCreateParamsStreaming),
    "completions": (completions.CompletionCreateParamsNonStreaming, completions.CompletionCreateParamsStreaming),
    "responses": (responses.ResponseCreateParamsNonStreaming, responses.ResponseCreateParamsStreaming),
}


def members(kind):
    """The members of a typed dictionary; of one among several types, of the first that is one."""
    if is_typeddict(kind):
        return set(typing.get_type_hints(kind))
    inner = (members(part) for part in typing.get_args(kind))
    return next((found for found in inner if found), set())


def parameters(kinds, dotted):
    """The parameters of these types; of those in `dotted`, their members."""
    for kind in kinds:
        for name, of in typing.get_type_hints(kind).items():
            inner = members(of) if name in dotted else set()
            yield from (f"{name}.{member}" for member in inner) if inner else [name]


def test_known(column, table):
    """Returns how many parameters of a column's API the table has; fails if it lacks one."""
    told = {name for name, cells in table if cells[column] in ("honoured", "ignored", "refused", "logged")}
    dotted = {name.split(".")[0] for name in told if "." in name} - told
    known = set(parameters(COLUMNS[column], dotted)) - {"extra_headers", "extra_query", "extra_body"}
    assert not known - told, f"{column}: missing in docs/src/clients.md: {sorted(known - told)}"
    return len(known)


table = [(names[0], dict(zip(COLUMNS, cells))) for names, cells in book.rows("Parameters")]
counts = {column: test_known(column, table) for column in COLUMNS}
# The reader of the types found them.
assert counts["chat"] > 30 and counts["completions"] > 15 and counts["responses"] > 30, counts
print(counts, "all well")
