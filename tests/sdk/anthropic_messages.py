"""Talks to a gateway with the official Anthropic SDK: text, tools, thinking, pictures, errors. Arguments: base URL, key."""

import asyncio
import sys

import anthropic
import pydantic

from scripted import ONE_CITY, PNG, TWO_CITIES, WEATHER, WEATHER_SCHEMA, script, user

base_url, key = sys.argv[1:]
# Anthropic's clients add /v1 themselves.
base_url = base_url.removesuffix("/v1")
client = anthropic.Anthropic(base_url=base_url, api_key=key, max_retries=0, timeout=60)
TOOLS = [{"name": "get_weather", "description": "Tells it.", "input_schema": WEATHER_SCHEMA}]
COMMON = {"model": "codex-5", "max_tokens": 4096}


class City(pydantic.BaseModel):
    name: str
    degrees: int


def whole(messages, **options):
    return client.messages.create(messages=messages, **COMMON, **options)


def streamed(messages, **options):
    """Through the SDK's own helper, which puts the events together."""
    with client.messages.stream(messages=messages, **COMMON, **options) as stream:
        for _ in stream:
            pass
        return stream.get_final_message()


def text(message):
    return "".join(block.text for block in message.content if block.type == "text")


def calls(message):
    return [block for block in message.content if block.type == "tool_use"]


def results(message):
    """Runs the calls."""
    content = [{"type": "tool_result", "tool_use_id": each.id, "content": WEATHER[each.input["city"]]} for each in calls(message)]
    return {"role": "user", "content": content}


for ask in (whole, streamed):
    # Text, with a system prompt and the usage.
    usage = {"input": 50, "cached": 20, "output": 9, "reasoning": 4}
    answer = ask(user(text=["Sky ", "is ", "blue."], usage=usage), system="Be terse.", stop_sequences=["END"])
    assert (text(answer), answer.stop_reason) == ("Sky is blue.", "end_turn"), answer
    told = answer.usage
    assert (told.input_tokens, told.cache_read_input_tokens, told.output_tokens) == (30, 20, 9), told

    # Thinking is told to those who want it.
    answer = ask(user(reasoning=["First this."], text=["Yes."]), thinking={"type": "enabled", "budget_tokens": 1024})
    assert [block.type for block in answer.content] == ["thinking", "text"], answer
    assert answer.content[0].thinking == "First this.", answer
    thought = answer.content

    # Two calls in parallel, after that thought.
    messages = [*user(text=["?"]), {"role": "assistant", "content": thought}, *user(**TWO_CITIES)]
    answer = ask(messages, tools=TOOLS)
    assert (text(answer), answer.stop_reason) == ("Let me look.", "tool_use"), answer
    assert [each.input["city"] for each in calls(answer)] == ["Paris", "Rome"], answer
    messages += [{"role": "assistant", "content": answer.content}, results(answer)]
    answer = ask(messages, tools=TOOLS)
    assert (text(answer), answer.stop_reason) == ("Rome is warmer.", "end_turn"), answer

    # The conversation goes on, and the model calls again.
    messages += [{"role": "assistant", "content": answer.content}, *user(**ONE_CITY)]
    answer = ask(messages, tools=TOOLS, tool_choice={"type": "any", "disable_parallel_tool_use": True})
    assert len(calls(answer)) == 1, answer
    messages += [{"role": "assistant", "content": answer.content}, results(answer)]
    assert text(ask(messages, tools=TOOLS)) == "18 degrees."

    # The answer ends where it shall.
    answer = ask(user(text=["one END two"]), stop_sequences=["END"])
    assert (text(answer), answer.stop_reason, answer.stop_sequence) == ("one ", "stop_sequence", "END"), answer

    # A picture.
    source = {"type": "base64", "media_type": "image/png", "data": PNG.partition(",")[2]}
    parts = [{"type": "image", "source": source}, {"type": "text", "text": script(text=["A pixel."])}]
    assert text(ask([{"role": "user", "content": parts}])) == "A pixel."


# The SDK runs the tools itself.
@anthropic.beta_tool
def get_weather(city: str) -> str:
    """Tells it.

    Args:
        city: Its name.
    """
    return WEATHER[city]


for stream in (False, True):
    runner = client.beta.messages.tool_runner(tools=[get_weather], messages=user(**TWO_CITIES), stream=stream, **COMMON)
    assert text(runner.until_done()) == "Rome is warmer."

# A structured answer.
answer = client.messages.parse(messages=user(text=['{"name": "Rome",', ' "degrees": 24}']), output_format=City, **COMMON)
assert answer.parsed_output == City(name="Rome", degrees=24), answer

# Tokens and models.
long = [{"role": "user", "content": "x" * 400}]
count = client.messages.count_tokens(model="codex-5", messages=long)
assert count.input_tokens == 100, count
with_tools = client.messages.count_tokens(model="codex-5", messages=long, tools=TOOLS)
assert 110 < with_tools.input_tokens < 200, with_tools
models = list(client.models.list())
assert len(models) > 3 and all(model.type == "model" and model.created_at for model in models), models
assert client.models.retrieve(models[0].id) == models[0]


async def asynchronous():
    other = anthropic.AsyncAnthropic(base_url=base_url, auth_token=key, api_key=None, max_retries=0, timeout=60)
    answer = await other.messages.create(messages=user(text=["Hi."]), **COMMON)
    assert text(answer) == "Hi.", answer


asyncio.run(asynchronous())


def refused(kind, ask):
    try:
        ask()
    except kind as error:
        return error
    raise AssertionError(f"no {kind}")


# Errors are the SDK's own.
unknown = {**COMMON, "model": "claude-sonnet-4-5"}
error = refused(anthropic.NotFoundError, lambda: client.messages.create(messages=user(), **unknown))
assert error.body["error"]["type"] == "not_found_error" and error.request_id == error.body["request_id"], error.body
result = {"type": "tool_result", "tool_use_id": "toolu_nobody", "content": "?"}
refused(anthropic.BadRequestError, lambda: whole([{"role": "user", "content": [result]}]))
stranger = client.with_options(api_key="sk-stranger")
refused(anthropic.AuthenticationError, lambda: stranger.messages.create(messages=user(), **COMMON))
limited = {"status": 429, "body": {"error": {"message": "slow", "type": "t", "code": "rate_limit_exceeded"}}}
refused(anthropic.RateLimitError, lambda: whole(user(**limited)))
refused(anthropic.APIStatusError, lambda: streamed(user(text=["a ", "b ", "c "], cut=2)))

print("all well")
