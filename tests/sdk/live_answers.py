"""Answers of a running gateway for `validate_answers.py`: each endpoint of OpenAI's API, whole and streamed, and errors."""

import json

import httpx

from scripted import ONE_CITY, PNG, TWO_CITIES, WEATHER_SCHEMA, script, user

FUNCTION = {"name": "get_weather", "description": "Tells it.", "parameters": WEATHER_SCHEMA}
CITY = {
    "type": "object",
    "properties": {"name": {"type": "string"}},
    "required": ["name"],
    "additionalProperties": False,
}
ROME = {"text": ['{"name":', ' "Rome"}']}
REFUSAL = {"refusal": "I can not help with that."}
BROKEN = {"text": ["a ", "b ", "c "], "cut": 2}
LIMITED = {"status": 429, "body": {"error": {"message": "slow down", "type": "t", "code": "rate_limit_exceeded"}}}

CHATS = [
    {"messages": user(text=["Good ", "day."], reasoning=["Hm. ", "So."])},
    {"messages": user(text=["Good ", "day."]), "n": 2},
    {"messages": user(text=["one two three four five six"]), "max_tokens": 2},
    {"messages": user(text=["one ", "two"]), "stop": "two"},
    {"messages": user(**TWO_CITIES), "tools": [{"type": "function", "function": FUNCTION}]},
    {"messages": user(**ONE_CITY), "functions": [FUNCTION]},
    {"messages": user(**ROME), "response_format": {"type": "json_schema", "json_schema": {"name": "city", "schema": CITY}}},
    {"messages": user(**REFUSAL)},
]

COMPLETIONS = [
    {"prompt": script(text=["Once ", "upon."])},
    {"prompt": [script(text=["Once ", "upon."]), script(text=["A ", "time."])], "n": 2},
    {"prompt": script(text=["one two three four five six"]), "max_tokens": 2},
    {"prompt": script(**REFUSAL)},
]

TOOL = {"type": "function", **FUNCTION, "strict": True}
CONTENT = [{"type": "input_text", "text": script(text=["Red."])}, {"type": "input_image", "image_url": PNG, "detail": "auto"}]
FORMAT = {"type": "json_schema", "name": "city", "schema": CITY}
# A conversation that the client keeps: a system message, then messages of the model with their phases.
CONVERSATION = [
    {"type": "message", "role": "system", "content": "You sell tickets."},
    {"type": "message", "role": "user", "content": "I am Ann, and need two."},
    {"type": "message", "role": "assistant", "phase": "commentary", "content": "I look for two seats."},
    {"type": "message", "role": "assistant", "phase": "final_answer", "content": "There are two left."},
    {"type": "message", "role": "user", "content": "Then I take both."},
]

# Each request with the status and the items of its response. The kinds of requests in Open Responses' compliance suite are here.
RESPONSES = [
    ({"input": [{"type": "message", "role": "user", "content": "Greet me."}]}, "completed", ["message"]),
    ({"input": CONVERSATION}, "completed", ["message"]),
    ({"input": [{"role": "user", "content": CONTENT}]}, "completed", ["message"]),
    (
        {
            "input": script(text=["Good ", "day."], reasoning=["Hm. ", "So."]),
            "instructions": "Be kind.",
            "metadata": {"a": "b"},
            "reasoning": {"effort": "minimal", "summary": "auto"},
            "user": "somebody",
        },
        "completed",
        ["reasoning", "message"],
    ),
    ({"input": script(raw_reasoning="Hm. So.", text=["Good."]), "store": False}, "completed", ["reasoning", "message"]),
    (
        {"input": script(**TWO_CITIES), "tools": [TOOL], "tool_choice": "auto"},
        "completed",
        ["message", "function_call", "function_call"],
    ),
    (
        {"input": script(**ONE_CITY), "tools": [TOOL], "tool_choice": {"type": "function", "name": "get_weather"}},
        "completed",
        ["function_call"],
    ),
    # An unknown member, and members that a request may leave out.
    ({"input": script(**ONE_CITY), "tools": [{**TOOL, "mood": "good"}]}, "completed", ["function_call"]),
    ({"input": script(**ONE_CITY), "tools": [{"type": "function", "name": "get_weather"}]}, "completed", ["function_call"]),
    ({"input": script(**ROME), "text": {"format": FORMAT}}, "completed", ["message"]),
    ({"input": script(**ROME), "text": {"format": {**FORMAT, "strict": True}}}, "completed", ["message"]),
    ({"input": script(**ROME), "text": {"format": {"type": "json_object"}, "verbosity": "low"}}, "completed", ["message"]),
    ({"input": script(text=["half"], incomplete="max_output_tokens")}, "incomplete", ["message"]),
    ({"input": script(text=["one two three four five six"]), "max_output_tokens": 2}, "incomplete", ["message"]),
    ({"input": script(**REFUSAL)}, "incomplete", []),
]

# Status, method, path and body of requests that are refused or fail before the first byte.
ERRORS = [
    (404, "POST", "chat/completions", {"model": "gpt-nope", "messages": user()}),
    (400, "POST", "chat/completions", {"messages": []}),
    (400, "POST", "chat/completions", {"messages": user(), "reasoning_effort": "bogus"}),
    (400, "POST", "chat/completions", []),
    (429, "POST", "chat/completions", {"messages": user(**LIMITED)}),
    (429, "POST", "chat/completions", {"messages": user(**LIMITED), "stream": True}),
    (502, "POST", "chat/completions", {"messages": user(**BROKEN)}),
    (502, "POST", "chat/completions", {"messages": user(), "response_format": {"type": "json_object"}}),
    (400, "POST", "completions", {"prompt": "a", "echo": True}),
    (429, "POST", "completions", {"prompt": script(**LIMITED)}),
    (400, "POST", "responses", {"input": []}),
    (400, "POST", "responses", {"input": "And?", "previous_response_id": "resp_nope"}),
    (429, "POST", "responses", {"input": script(**LIMITED)}),
    (404, "GET", "responses/resp_nope", None),
    (404, "DELETE", "responses/resp_nope", None),
    (404, "GET", "responses/resp_nope/input_items", None),
    (404, "GET", "models/gpt-nope", None),
    (404, "GET", "nowhere", None),
    (405, "DELETE", "models", None),
]


def assert_ended(response, status, items):
    """Asserts that a response is what its request asks for."""
    found = [item["type"] for item in response["output"]]
    assert (response["status"], found) == (status, items), response


def assert_in_order(text):
    """Asserts that the events of a response are named as their types, and numbered."""
    names = [line.removeprefix("event: ") for line in text.splitlines() if line.startswith("event: ")]
    events = list(sent(text))
    assert names == [event["type"] for event in events], text
    assert [event["sequence_number"] for event in events] == list(range(len(events))), text


def sent(text):
    """The events of a stream."""
    for line in text.splitlines():
        data = line.removeprefix("data: ")
        if data != line and data != "[DONE]":
            yield json.loads(data)


def kind_of_piece(whole, piece):
    """The kind of an event of a stream, in whose place an answer of this kind would be. A failure ends a stream with an error."""
    if list(piece) == ["error"]:
        return "error"
    return "event" if whole == "response" else f"{whole} chunk"


class Gateway:
    """Sends requests to a gateway and tells the answers: place, kind and JSON value of each body and event."""

    def __init__(self, base_url, key):
        self.http = httpx.Client(base_url=base_url, headers={"authorization": f"Bearer {key}"}, timeout=60)

    def ask(self, status, method, path, body=None, **headers):
        if isinstance(body, dict):
            body = {"model": "codex-5", **body}
        answer = self.http.request(method, path, json=body, headers=headers)
        assert answer.status_code == status, f"{method} {path} {body}: {answer.status_code} {answer.text}"
        return answer

    def whole_and_streamed(self, path, whole, request):
        yield f"{path} {request}", whole, self.ask(200, "POST", path, request).json()
        yield from self.streamed(path, whole, request)

    def streamed(self, path, whole, request):
        usage = {} if whole == "response" else {"stream_options": {"include_usage": True}}
        text = self.ask(200, "POST", path, {**request, **usage, "stream": True}).text
        if whole == "response":
            assert_in_order(text)
        for piece in sent(text):
            yield f"{path} {request}, streamed", kind_of_piece(whole, piece), piece

    def kept(self):
        """A response that is continued, read again and deleted."""
        first = self.ask(200, "POST", "responses", {"input": script(**ONE_CITY), "tools": [TOOL]}).json()
        yield "a response with a call", "response", first
        result = {"type": "function_call_output", "call_id": first["output"][0]["call_id"], "output": "18 degrees"}
        following = {"input": [result], "previous_response_id": first["id"], "tools": [TOOL]}
        yield from self.whole_and_streamed("responses", "response", following)
        path = f"responses/{first['id']}"
        yield "a kept response", "response", self.ask(200, "GET", path).json()
        yield "a kept response, streamed", "error", self.ask(400, "GET", f"{path}?stream=true").json()
        yield "a deleted response", "deleted response", self.ask(200, "DELETE", path).json()
        yield "a response that was deleted", "error", self.ask(404, "GET", path).json()

    def in_background(self):
        """Responses in the background: begun, ended, failed and cancelled."""
        for input, states in [
            (script(text=["Later."]), ("queued", "in_progress", "completed")),
            (script(**LIMITED), ("queued", "in_progress", "failed")),
        ]:
            answer = self.ask(200, "POST", "responses", {"input": input, "background": True}).json()
            while answer["status"] in states[:2]:
                yield "a response in the background", "response", answer
                answer = self.ask(200, "GET", f"responses/{answer['id']}").json()
            assert answer["status"] == states[-1], answer
            yield "a response that was in the background", "response", answer
        yield from self.streamed_in_background()
        answer = self.ask(200, "POST", "responses", {"input": script(text=["Never."], stall=0), "background": True}).json()
        for _ in range(2):
            answer = self.ask(200, "POST", f"responses/{answer['id']}/cancel").json()
            assert answer["status"] == "cancelled", answer
            yield "a cancelled response", "response", answer

    def streamed_in_background(self):
        """A stream of a response in the background, resumed after its end, and the end of one that is cancelled."""
        asked = {"input": script(text=["Good ", "day."], reasoning=["Hm."]), "background": True, "stream": True}
        text = self.ask(200, "POST", "responses", asked).text
        assert_in_order(text)
        events = list(sent(text))
        kinds = [event["type"] for event in events]
        assert kinds[:3] == ["response.created", "response.queued", "response.in_progress"], kinds
        for event in events:
            yield "in the background, streamed", "event", event
        path = f"responses/{events[0]['response']['id']}?stream=true"
        assert list(sent(self.ask(200, "GET", path).text)) == events
        assert list(sent(self.ask(200, "GET", f"{path}&starting_after=3").text)) == events[4:]
        never = {"input": script(text=["Never."], stall=0), "background": True, "stream": True}
        with self.http.stream("POST", "responses", json={"model": "codex-5", **never}) as stream:
            cancelled = False
            for line in stream.iter_lines():
                for event in sent(line):
                    yield "a cancelled response, streamed", "event", event
                    if not cancelled:
                        self.ask(200, "POST", f"responses/{event['response']['id']}/cancel")
                        cancelled = True
            assert (event["type"], event["response"]["status"]) == ("response.incomplete", "cancelled"), event

    def beside_answers(self):
        """The input of a response, its estimate, and its compaction, which is taken in its place."""
        call = {"type": "function_call", "call_id": "c", "name": "get_weather", "arguments": "{}"}
        result = {"type": "function_call_output", "call_id": "c", "output": "18 degrees"}
        input = [*CONVERSATION, call, result, {"role": "user", "content": CONTENT}]
        yield "an estimate", "input tokens", self.ask(200, "POST", "responses/input_tokens", {"input": input}).json()
        answer = self.ask(200, "POST", "responses", {"input": input}).json()
        path = f"responses/{answer['id']}/input_items"
        yield "an input", "input items", self.ask(200, "GET", path).json()
        pictures = f"{path}?include=message.input_image.image_url"
        yield "an input with pictures", "input items", self.ask(200, "GET", pictures).json()
        # The two requests of Open Responses' compliance suite.
        compacted = {"input": CONVERSATION, "prompt_cache_key": "one"}
        answer = self.ask(200, "POST", "responses/compact", compacted).json()
        yield "a compaction", "compaction", answer
        missing = self.http.post("responses/compact", json=compacted)
        assert missing.status_code == 400, missing.text
        yield "a compaction without a model", "error", missing.json()
        going_on = [*answer["output"], {"role": "user", "content": "Go on."}]
        yield "a conversation that goes on", "response", self.ask(200, "POST", "responses", {"input": going_on}).json()

    def responses(self):
        for request, status, items in RESPONSES:
            answers = list(self.whole_and_streamed("responses", "response", request))
            assert_ended(answers[0][-1], status, items)
            assert_ended(answers[-1][-1]["response"], status, items)
            yield from answers

    def answers(self):
        for request in CHATS:
            yield from self.whole_and_streamed("chat/completions", "chat completion", request)
        for request in COMPLETIONS:
            yield from self.whole_and_streamed("completions", "completion", request)
        yield from self.responses()
        for path, whole, input_of in [
            ("chat/completions", "chat completion", lambda text: {"messages": [{"role": "user", "content": text}]}),
            ("completions", "completion", lambda text: {"prompt": text}),
            ("responses", "response", lambda text: {"input": text}),
        ]:
            # A stream that breaks.
            yield from self.streamed(path, whole, input_of(script(**BROKEN)))
            stranger = self.ask(401, "POST", path, input_of("Hi"), authorization="Bearer sk-stranger")
            yield f"{path}, a stranger", "error", stranger.json()
        yield from self.kept()
        yield from self.in_background()
        yield from self.beside_answers()
        yield "models", "models", self.ask(200, "GET", "models").json()
        yield "models/codex-5", "model", self.ask(200, "GET", "models/codex-5").json()
        for status, method, path, body in ERRORS:
            yield f"{method} {path} {body}", "error", self.ask(status, method, path, body).json()
