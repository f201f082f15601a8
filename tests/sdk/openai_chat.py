"""Talks to a gateway with the official OpenAI SDK, the way its users do. Arguments: base URL, key."""

import sys

import openai
import pydantic

from scripted import PNG, script, user

base_url, key = sys.argv[1:]
client = openai.OpenAI(base_url=base_url, api_key=key, max_retries=0, timeout=60)


# Not streamed.
answer = client.chat.completions.create(
    model="codex-5-high",
    messages=[{"role": "system", "content": "Be brief."}, *user(text=["Hello ", "there."], reasoning=["Hm."])],
    temperature=0.2,
    seed=7,
    user="somebody",
)
assert answer.choices[0].message.content == "Hello there.", answer
assert answer.choices[0].message.role == "assistant"
assert answer.choices[0].message.reasoning_content == "Hm.", answer
assert answer.choices[0].finish_reason == "stop"
assert answer.model == "codex-5-high"
assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens
assert answer.usage.prompt_tokens_details.cached_tokens == 40
assert answer.usage.completion_tokens_details.reasoning_tokens == 7
assert answer._request_id

# Streamed, with usage.
chunks = list(
    client.chat.completions.create(
        model="codex-5",
        messages=user(text=["One ", "two ", "three."], reasoning=["Thinking ", "hard."]),
        stream=True,
        stream_options={"include_usage": True},
    )
)
assert len({chunk.id for chunk in chunks}) == 1
assert len({chunk.created for chunk in chunks}) == 1
assert chunks[0].choices[0].delta.role == "assistant"
text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
assert text == "One two three.", text
reasoning = "".join(getattr(chunk.choices[0].delta, "reasoning_content", None) or "" for chunk in chunks if chunk.choices)
assert "Thinking" in reasoning, chunks
assert [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices][-1] == "stop"
assert [chunk.usage for chunk in chunks if chunk.usage] == [chunks[-1].usage]
assert chunks[-1].choices == []

# The SDK's own helper for streams.
with client.chat.completions.stream(model="codex-5", messages=user(text=["Help", "er."])) as stream:
    for _ in stream:
        pass
    assert stream.get_final_completion().choices[0].message.content == "Helper."

# A structured answer.
class City(pydantic.BaseModel):
    name: str
    degrees: int


rome = {"model": "codex-5", "messages": user(text=['{"name": "Rome",', ' "degrees": 24}'])}
answer = client.chat.completions.parse(**rome, response_format=City)
assert answer.choices[0].message.parsed == City(name="Rome", degrees=24), answer
with client.chat.completions.stream(**rome, response_format=City) as stream:
    for _ in stream:
        pass
    assert stream.get_final_completion().choices[0].message.parsed.degrees == 24
schema = {"name": "city", "schema": City.model_json_schema()}
answer = client.chat.completions.create(**rome, response_format={"type": "json_schema", "json_schema": schema})
assert City.model_validate_json(answer.choices[0].message.content).name == "Rome", answer
answer = client.chat.completions.create(**rome, response_format={"type": "json_object"})
assert City.model_validate_json(answer.choices[0].message.content).name == "Rome", answer

# A picture.
content = [
    {"type": "text", "text": script(text=["Red."])},
    {"type": "image_url", "image_url": {"url": PNG}},
]
answer = client.chat.completions.create(model="codex-5", messages=[{"role": "user", "content": content}])
assert answer.choices[0].message.content == "Red.", answer

# Models.
ids = [model.id for model in client.models.list()]
assert "codev-5" in ids and "gpt-5.4" in ids, ids
assert client.models.retrieve("codex-5").id == "codex-5"

# Errors are the SDK's own.
def refused(kind, **request):
    try:
        client.chat.completions.create(**{"model": "codex-5", "messages": user(), **request})
    except kind as error:
        return error
    raise AssertionError(f"{kind.__name__} was not raised for {request}")


assert refused(openai.NotFoundError, model="gpt-nope").code == "model_not_found"
assert refused(openai.BadRequestError, messages=[]).param == "messages"
assert refused(openai.BadRequestError, extra_body={"reasoning_effort": "bogus"}).param == "reasoning_effort"
limited = {"error": {"message": "slow down", "type": "t", "code": "rate_limit_exceeded"}}
refused(openai.RateLimitError, messages=user(status=429, body=limited))
refused(openai.InternalServerError, messages=user(status=500, body=limited))
stranger = openai.OpenAI(base_url=base_url, api_key="sk-stranger", max_retries=0)
try:
    stranger.chat.completions.create(model="codex-5", messages=user())
    raise AssertionError("a stranger was let in")
except openai.AuthenticationError as error:
    assert error.code == "invalid_api_key", error.body

# A stream that breaks raises, after what had come.
got = []
try:
    for chunk in client.chat.completions.create(
        model="codex-5", messages=user(text=["a ", "b ", "c "], cut=2), stream=True
    ):
        got.append(chunk.choices[0].delta.content or "")
    raise AssertionError("a broken stream ended as if it were complete")
except openai.APIError as error:
    assert "".join(got) == "a b ", got
    assert error.code == "upstream_error", error.body

print("all well")
