"""Asks for responses, structured answers and old completions with the official OpenAI SDK. Arguments: base URL, key."""

import json
import sys

import openai
import pydantic

from scripted import ONE_CITY, PNG, TWO_CITIES, WEATHER, WEATHER_SCHEMA, script

base_url, key = sys.argv[1:]
client = openai.OpenAI(base_url=base_url, api_key=key, max_retries=0, timeout=60)
TOOLS = [
    {"type": "function", "name": "get_weather", "description": "Tells it.", "parameters": WEATHER_SCHEMA, "strict": True}
]


def whole(**request):
    return client.responses.create(model="codex-5", **request)


def streamed(**request):
    """Through the SDK's own helper, which puts the events together."""
    with client.responses.stream(model="codex-5", **request) as stream:
        for _ in stream:
            pass
        return stream.get_final_response()


# Text.
for ask in (whole, streamed):
    answer = ask(
        input=script(text=["Good ", "day."], reasoning=["Hm."]),
        instructions="Be kind.",
        temperature=0.2,
        metadata={"a": "b"},
        reasoning={"effort": "low", "summary": "auto"},
    )
    assert (answer.status, answer.output_text, answer.error) == ("completed", "Good day.", None), answer
    assert [item.type for item in answer.output] == ["reasoning", "message"], answer
    assert answer.output[0].summary[0].text == "Hm.", answer
    assert answer.usage.total_tokens == 150, answer
    assert answer.usage.output_tokens_details.reasoning_tokens == 7, answer
    assert answer.instructions == "Be kind." and answer.metadata == {"a": "b"}, answer
    assert client.responses.retrieve(answer.id).output_text == "Good day."

# Events.
events = list(whole(input=script(text=["One ", "two."]), stream=True))
assert [event.sequence_number for event in events] == list(range(len(events)))
assert [event.type for event in events] == [
    "response.created",
    "response.in_progress",
    "response.output_item.added",
    "response.content_part.added",
    "response.output_text.delta",
    "response.output_text.delta",
    "response.output_text.done",
    "response.content_part.done",
    "response.output_item.done",
    "response.completed",
], [event.type for event in events]
assert "".join(event.delta for event in events if event.type == "response.output_text.delta") == "One two."
assert events[-1].response.output_text == "One two."

for ask in (whole, streamed):
    # Two calls in parallel; their outputs continue the response that has the calls.
    answer = ask(input=script(**TWO_CITIES), tools=TOOLS)
    calls = [item for item in answer.output if item.type == "function_call"]
    assert [json.loads(each.arguments)["city"] for each in calls] == ["Paris", "Rome"], answer
    assert [(each.name, each.status) for each in calls] == [("get_weather", "completed")] * 2, answer
    outputs = [
        {"type": "function_call_output", "call_id": each.call_id, "output": WEATHER[json.loads(each.arguments)["city"]]}
        for each in calls
    ]
    answer = ask(input=outputs, previous_response_id=answer.id, tools=TOOLS)
    assert answer.output_text == "Rome is warmer.", answer

    # And that one goes on.
    answer = ask(input=script(**ONE_CITY), previous_response_id=answer.id, tools=TOOLS)
    (each,) = answer.output
    output = {"type": "function_call_output", "call_id": each.call_id, "output": [{"type": "input_text", "text": "18"}]}
    assert ask(input=[output], previous_response_id=answer.id, tools=TOOLS).output_text == "18 degrees."

    # The same without a memory: the client sends all of it again.
    asked = [{"role": "user", "content": script(**ONE_CITY, reasoning=["Hm."])}]
    answer = ask(input=asked, tools=TOOLS, store=False, include=["reasoning.encrypted_content"])
    assert [item.type for item in answer.output] == ["reasoning", "function_call"], answer
    output = {"type": "function_call_output", "call_id": answer.output[1].call_id, "output": "18 degrees"}
    assert ask(input=[*asked, *answer.output, output], tools=TOOLS, store=False).output_text == "18 degrees."


# Structured answers.
class City(pydantic.BaseModel):
    name: str
    degrees: int


rome = script(text=['{"name": "Rome",', ' "degrees": 24}'])
assert client.responses.parse(model="codex-5", input=rome, text_format=City).output_parsed == City(name="Rome", degrees=24)
assert streamed(input=rome, text_format=City).output_parsed.degrees == 24
schema = {"type": "json_schema", "name": "city", "schema": City.model_json_schema() | {"additionalProperties": False}}
answer = whole(input=rome, text={"format": {**schema, "strict": True}})
assert json.loads(answer.output_text)["name"] == "Rome" and answer.text.format.name == "city", answer

# A picture.
content = [{"type": "input_text", "text": script(text=["Red."])}, {"type": "input_image", "image_url": PNG, "detail": "auto"}]
assert whole(input=[{"role": "user", "content": content}]).output_text == "Red."

# An answer that is cut short says so.
answer = whole(input=script(text=["half"], incomplete="max_output_tokens"))
assert (answer.status, answer.incomplete_details.reason) == ("incomplete", "max_output_tokens"), answer

# In the background, and cancelled there.
answer = whole(input=script(text=["Later."]), background=True)
while answer.status in ("queued", "in_progress"):
    answer = client.responses.retrieve(answer.id)
assert (answer.status, answer.output_text, answer.background) == ("completed", "Later.", True), answer
assert client.responses.cancel(answer.id).status == "completed"
answer = whole(input=script(text=["Never."], stall=0), background=True)
assert client.responses.cancel(answer.id).status == "cancelled"
assert client.responses.retrieve(answer.id).status == "cancelled"

# In the background and streamed: the client leaves, and goes on later.
stream = whole(input=script(text=["One ", "two ", "three."]), background=True, stream=True)
seen, text = None, ""
for event in stream:
    seen = event
    if event.type == "response.created":
        answer = event.response
    if event.type == "response.output_text.delta":
        text += event.delta
        break
stream.close()
for event in client.responses.retrieve(answer.id, stream=True, starting_after=seen.sequence_number):
    assert event.sequence_number == seen.sequence_number + 1, event
    seen = event
    if event.type == "response.output_text.delta":
        text += event.delta
assert (seen.type, text, seen.response.output_text) == ("response.completed", "One two three.", text), seen
with client.responses.stream(response_id=answer.id) as stream:
    assert stream.get_final_response().output_text == text

# What it was asked, and the estimate of that.
answer = whole(input=script(text=["Yes."]))
asked = list(client.responses.input_items.list(answer.id, limit=1))
assert [item.role for item in asked] == ["user"], asked
assert client.responses.input_tokens.count(model="codex-5", input="four" * 10).input_tokens == 10

# Forgotten on request.
answer = whole(input=script(text=["Forget me."]))
client.responses.delete(answer.id)


def refused(kind, request):
    try:
        request()
    except kind as error:
        return error
    raise AssertionError(f"{kind.__name__} was not raised")


assert refused(openai.NotFoundError, lambda: client.responses.retrieve(answer.id)).code == "response_not_found"
continued = refused(openai.BadRequestError, lambda: whole(input="And?", previous_response_id=answer.id))
assert (continued.code, continued.param) == ("previous_response_not_found", "previous_response_id"), continued.body
assert refused(openai.BadRequestError, lambda: whole(input=[])).param == "input"
answer = whole(input=script(text=["Hi."]))
unkept = refused(openai.BadRequestError, lambda: client.responses.retrieve(answer.id, stream=True))
assert unkept.param == "stream", unkept.body
limited = {"error": {"message": "slow down", "type": "t", "code": "rate_limit_exceeded"}}
refused(openai.RateLimitError, lambda: whole(input=script(status=429, body=limited)))
refused(openai.RateLimitError, lambda: whole(input=script(status=429, body=limited), stream=True))

# A stream that breaks says so, after what had come.
events = list(whole(input=script(text=["a ", "b ", "c "], cut=2), stream=True))
assert "".join(event.delta for event in events if event.type == "response.output_text.delta") == "a b ", events
assert events[-1].type == "response.failed" and events[-1].response.error.code == "server_error", events[-1]

# Completions, as there were before chat.
answer = client.completions.create(model="codex-5", prompt=script(text=["Once ", "upon."]), max_tokens=100)
assert (answer.object, answer.choices[0].text, answer.choices[0].finish_reason) == ("text_completion", "Once upon.", "stop")
assert answer.usage.total_tokens == 150, answer
chunks = list(
    client.completions.create(
        model="codex-5",
        prompt=script(text=["Once ", "upon."]),
        stream=True,
        stream_options={"include_usage": True},
    )
)
assert "".join(chunk.choices[0].text for chunk in chunks if chunk.choices) == "Once upon.", chunks
assert chunks[-1].usage.total_tokens == 150, chunks

print("all well")
