"""Lets the model call functions through the official OpenAI SDK's chat. Arguments: base URL, key."""

import json
import sys

import openai

from scripted import ONE_CITY, TWO_CITIES, WEATHER, WEATHER_SCHEMA, call, user

base_url, key = sys.argv[1:]
client = openai.OpenAI(base_url=base_url, api_key=key, max_retries=0, timeout=60)
TOOLS = [
    {
        "type": "function",
        "function": {"name": "get_weather", "description": "Tells it.", "parameters": WEATHER_SCHEMA, "strict": True},
    }
]


def results(calls):
    """Runs the calls."""
    for each in calls:
        assert each.type == "function" and each.function.name == "get_weather", each
        city = json.loads(each.function.arguments)["city"]
        yield {"role": "tool", "tool_call_id": each.id, "content": WEATHER[city]}


def whole(messages, **options):
    return client.chat.completions.create(model="codex-5", messages=messages, tools=TOOLS, **options)


def streamed(messages, **options):
    """Through the SDK's own helper, which puts the chunks together."""
    with client.chat.completions.stream(model="codex-5", messages=messages, tools=TOOLS, **options) as stream:
        for _ in stream:
            pass
        return stream.get_final_completion()


for ask in (whole, streamed):
    # Two calls in parallel.
    messages = user(**TWO_CITIES)
    answer = ask(messages).choices[0]
    assert answer.finish_reason == "tool_calls", answer
    assert answer.message.content == "Let me look.", answer
    assert [json.loads(each.function.arguments)["city"] for each in answer.message.tool_calls] == ["Paris", "Rome"]
    assert len({each.id for each in answer.message.tool_calls}) == 2, answer
    messages += [answer.message, *results(answer.message.tool_calls)]
    answer = ask(messages).choices[0]
    assert (answer.finish_reason, answer.message.content) == ("stop", "Rome is warmer."), answer
    assert not answer.message.tool_calls, answer

    # The conversation goes on, and the model calls again.
    messages += [answer.message, *user(**ONE_CITY)]
    answer = ask(messages, parallel_tool_calls=False, tool_choice="required").choices[0]
    assert answer.finish_reason == "tool_calls" and not answer.message.content, answer
    messages += [answer.message, *results(answer.message.tool_calls)]
    assert ask(messages).choices[0].message.content == "18 degrees."

# A call without arguments has an object for them, as JSON.
answer = whole(user(calls=[{"name": "get_weather", "arguments": ""}])).choices[0]
assert answer.message.tool_calls[0].function.arguments == "{}", answer

# A function's result may be parts.
messages = user(**ONE_CITY)
message = whole(messages).choices[0].message
output = {"role": "tool", "tool_call_id": message.tool_calls[0].id, "content": [{"type": "text", "text": "18 degrees"}]}
assert whole([*messages, message, output]).choices[0].message.content == "18 degrees."

# The raw chunks: one call's fragments are told by its index, and only the first has its id and its name.
chunks = [chunk for chunk in whole(user(**TWO_CITIES), stream=True) if chunk.choices]
fragments = [fragment for chunk in chunks for fragment in chunk.choices[0].delta.tool_calls or []]
assert [(each.index, each.function.name) for each in fragments if each.id] == [(0, "get_weather"), (1, "get_weather")]
assert [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices[0].finish_reason] == ["tool_calls"]

# A choice among tools that are not offered, and a result nobody asked for, are the client's mistakes.
for mistake in (
    {"messages": user(**ONE_CITY), "tool_choice": {"type": "function", "function": {"name": "other"}}},
    {"messages": [*user(**ONE_CITY), {"role": "tool", "tool_call_id": "call_nobody", "content": "?"}]},
):
    try:
        whole(**mistake)
        raise AssertionError(f"this was not refused: {mistake}")
    except openai.BadRequestError as error:
        assert error.param, error.body

print("all well")
