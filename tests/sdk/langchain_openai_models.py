"""Lets LangChain's ChatOpenAI call tools, over chat completions and over responses. Arguments: base URL, key."""

import sys

import langchain_openai
import openai
import pydantic
from langchain_core.messages import HumanMessage, SystemMessage
from langchain_core.tools import tool

from scripted import ONE_CITY, PNG, TWO_CITIES, WEATHER, script

base_url, key = sys.argv[1:]


@tool
def get_weather(city: str) -> str:
    """Tells the weather."""
    return WEATHER[city]


class City(pydantic.BaseModel):
    """A city and how warm it is."""

    name: str
    degrees: int


def whole(model, messages):
    return model.invoke(messages)


def streamed(model, messages):
    answer = None
    for chunk in model.stream(messages):
        answer = chunk if answer is None else answer + chunk
    return answer


def converse(model, ask):
    """Two calls in parallel, their results, and one call more."""
    with_tools = model.bind_tools([get_weather])
    messages = [SystemMessage("Be brief."), HumanMessage(script(**TWO_CITIES))]
    answer = ask(with_tools, messages)
    assert answer.text == "Let me look.", answer
    assert [call["args"] for call in answer.tool_calls] == [{"city": "Paris"}, {"city": "Rome"}], answer
    assert not answer.invalid_tool_calls, answer
    messages += [answer, *(get_weather.invoke(call) for call in answer.tool_calls)]
    answer = ask(with_tools, messages)
    assert (answer.text, answer.tool_calls) == ("Rome is warmer.", []), answer
    assert answer.usage_metadata["total_tokens"] == 150, answer.usage_metadata

    messages += [answer, HumanMessage(script(**ONE_CITY))]
    answer = ask(model.bind_tools([get_weather], tool_choice="any", strict=True), messages)
    assert [call["args"] for call in answer.tool_calls] == [{"city": "Paris"}], answer
    messages += [answer, *(get_weather.invoke(call) for call in answer.tool_calls)]
    assert ask(with_tools, messages).text == "18 degrees."


# ChatOpenAI prefers responses for a model with `codex` in its name.
CHAT, RESPONSES = {"use_responses_api": False}, {"use_responses_api": True}
for options in (CHAT, RESPONSES, RESPONSES | {"use_previous_response_id": True}):
    model = langchain_openai.ChatOpenAI(
        base_url=base_url, api_key=key, model="codex-5", max_retries=0, timeout=60, stream_usage=True, **options
    )
    for ask in (whole, streamed):
        converse(model, ask)

    # Structured answers: by a schema, by a function.
    rome = '{"name": "Rome", "degrees": 24}'
    by_schema = model.with_structured_output(City, method="json_schema")
    assert by_schema.invoke(script(text=[rome])) == City(name="Rome", degrees=24)
    by_function = model.with_structured_output(City, method="function_calling")
    assert by_function.invoke(script(calls=[{"name": "City", "arguments": rome}])) == City(name="Rome", degrees=24)

    # A picture.
    content = [{"type": "text", "text": script(text=["Red."])}, {"type": "image_url", "image_url": {"url": PNG}}]
    assert model.invoke([HumanMessage(content)]).text == "Red."

    # Errors are those of the SDK below it.
    try:
        model.invoke(script(status=404, body={"error": {"message": "no", "type": "t", "code": "model_not_found"}}))
        raise AssertionError("the error was lost")
    except openai.NotFoundError as error:
        assert error.code == "model_not_found", error.body

print("all well")
