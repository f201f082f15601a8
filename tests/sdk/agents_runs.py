"""Runs agents of the OpenAI Agents SDK, on chat completions and on responses. Arguments: base URL, key."""

import asyncio
import sys

import agents
import httpx
import openai
import pydantic
from openai.types.responses import ResponseTextDeltaEvent

from scripted import ONE_CITY, TWO_CITIES, WEATHER, script

base_url, key = sys.argv[1:]
agents.set_tracing_disabled(True)
asked = []


@agents.function_tool
def get_weather(city: str) -> str:
    """Tells the weather."""
    asked.append(city)
    return WEATHER[city]


class City(pydantic.BaseModel):
    name: str
    degrees: int


async def whole(agent, words, **options):
    return await agents.Runner.run(agent, words, **options)


async def streamed(agent, words, **options):
    result = agents.Runner.run_streamed(agent, words, **options)
    text = ""
    async for event in result.stream_events():
        if event.type == "raw_response_event" and isinstance(event.data, ResponseTextDeltaEvent):
            text += event.data.delta
    assert text.endswith(str(result.final_output)), text
    return result


async def converse(model, run):
    agent = agents.Agent(name="Forecaster", instructions="Be brief.", model=model, tools=[get_weather])
    asked.clear()
    result = await run(agent, script(**TWO_CITIES))
    assert result.final_output == "Rome is warmer.", result
    assert sorted(asked) == ["Paris", "Rome"], asked
    assert result.context_wrapper.usage.requests == 2, result.context_wrapper.usage

    # The conversation goes on.
    asked.clear()
    more = {"role": "user", "content": script(**ONE_CITY)}
    result = await run(agent, [*result.to_input_list(), more])
    assert (result.final_output, asked) == ("18 degrees.", ["Paris"]), result


async def hand_over(model):
    """One agent calls another as a function."""
    weather = agents.Agent(name="Forecaster", instructions="Tell the weather.", model=model)
    desk = agents.Agent(name="Desk", instructions="Find somebody.", model=model, handoffs=[weather])
    words = script(calls=[{"name": "transfer_to_forecaster", "arguments": "{}"}], then={"text": ["Sunny."]})
    result = await agents.Runner.run(desk, words)
    assert (result.final_output, result.last_agent.name) == ("Sunny.", "Forecaster"), result


async def search(client, left_out):
    """A tool that OpenAI runs is in the list: the others work, and a header names it."""
    model = agents.OpenAIResponsesModel(model="codex-5", openai_client=client)
    tools = [get_weather, agents.WebSearchTool()]
    agent = agents.Agent(name="Forecaster", instructions="Be brief.", model=model, tools=tools)
    for run in (whole, streamed):
        asked.clear()
        left_out.clear()
        result = await run(agent, script(**TWO_CITIES))
        assert result.final_output == "Rome is warmer.", result
        assert sorted(asked) == ["Paris", "Rome"], asked
        assert left_out == ["web_search"] * 2, left_out


async def main():
    left_out = []

    async def note(response):
        left_out.append(response.headers.get("x-codex-left-out"))

    http = httpx.AsyncClient(event_hooks={"response": [note]}, timeout=60)
    client = openai.AsyncOpenAI(base_url=base_url, api_key=key, max_retries=0, http_client=http)
    chat = agents.OpenAIChatCompletionsModel(model="codex-5", openai_client=client)
    responses = agents.OpenAIResponsesModel(model="codex-5", openai_client=client)
    for model in (chat, responses):
        for run in (whole, streamed):
            await converse(model, run)
        await hand_over(model)
        structured = agents.Agent(name="Atlas", model=model, output_type=City)
        result = await agents.Runner.run(structured, script(text=['{"name": "Rome", "degrees": 24}']))
        assert result.final_output == City(name="Rome", degrees=24), result

    await search(client, left_out)

    # With what the gateway remembers.
    agent = agents.Agent(name="Forecaster", model=responses, tools=[get_weather])
    result = await whole(agent, script(**TWO_CITIES), auto_previous_response_id=True)
    assert result.final_output == "Rome is warmer.", result
    result = await whole(agent, script(**ONE_CITY), previous_response_id=result.last_response_id)
    assert result.final_output == "18 degrees.", result


asyncio.run(main())
print("all well")
