"""Validates the answers of all dialects against the schemas of OpenAI and Open Responses. Arguments: base URL, key.

These are the recorded answers in `tests/fixtures/golden`, and those of a running gateway. Their differences from the schemas are
those of the table in docs/src/clients.md, no more and no fewer.
"""

import json
import pathlib
import sys

import open_responses_schema
import openai_schema
import schema_changes
from live_answers import Gateway, kind_of_piece, sent
from schema import Findings, intended

GOLDEN = pathlib.Path(__file__).parent.parent / "fixtures" / "golden"
WHOLE = {"chat": "chat completion", "completions": "completion", "responses": "response"}


def recorded():
    """Place, kind and JSON value of each recorded body and event. Anthropic's messages have no schema here."""
    for path in sorted(path for path in GOLDEN.glob("*/*") if path.parent.name in WHOLE):
        whole, text = WHOLE[path.parent.name], path.read_text()
        place = f"{path.parent.name}/{path.name}"
        if path.suffix == ".json":
            yield place, whole, json.loads(text)
        else:
            for piece in sent(text):
                yield place, kind_of_piece(whole, piece), piece


def kinds(answers):
    """Each type of event is a kind of its own."""
    return {value["type"] if kind == "event" else kind for _, kind, value in answers}


def main():
    base_url, key = sys.argv[1:]
    golden, live = list(recorded()), list(Gateway(base_url, key).answers())

    schema_changes.assert_rows_are_exact()
    bodies = [(kind, value) for _, kind, value in golden]
    schema_changes.assert_found(bodies, schema_changes.OPENAI, openai_schema.differences)
    schema_changes.assert_found(bodies, schema_changes.OPEN_RESPONSES, open_responses_schema.differences)

    findings = Findings()
    for place, kind, value in golden + live:
        for schema in (openai_schema, open_responses_schema):
            findings.add(place, schema.differences(kind, value))
    complaints = list(findings.complaints(intended()))
    assert not complaints, "\n".join(complaints)

    unseen = (openai_schema.BODIES.keys() | kinds(golden)) - kinds(live)
    assert not unseen, f"the gateway never answered with {unseen}"
    print(f"{len(golden)} recorded and {len(live)} live bodies and events: all well")


main()
