"""Open Responses' schema of responses and their events: the types of a package that is generated from the published schema.

It has no bodies of the other dialects, and none for errors and deleted responses. Of 8,496 changes of recorded answers these
types refuse those that the published schema refuses (`jsonschema` tells), but for `"logprobs": null`.
"""

from openresponses_types import types

from schema import of_body, of_event

BODIES = {"response": types.ResponseResource, "compaction": types.CompactResource}

EVENTS = {
    # An enumeration of one word.
    word.value: event
    for name, event in vars(types).items()
    if name.endswith("StreamingEvent")
    for word in event.model_fields["type"].annotation
}


def differences(body, value):
    """How a response or an event differs from the schema; nothing for another body."""
    if body == "event":
        yield from of_event("Open Responses", types.ResponseResource, EVENTS, value)
    elif body in BODIES:
        yield from of_body("Open Responses", body, BODIES[body], value)
