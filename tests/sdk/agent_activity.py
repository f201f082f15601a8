"""Follows an agent's work with the official OpenAI SDK, which knows nothing of it. Arguments: base URL, key."""

import sys

import openai

from scripted import call, script, user

base_url, key = sys.argv[1:]
client = openai.OpenAI(base_url=base_url, api_key=key, max_retries=0, timeout=60)
WORK = {
    "calls": [call("exec_command", cmd="echo hello from below")],
    "then": {"text": ["All ", "done."]},
}
ASKED = {"extra_headers": {"x-proxy-activity": "true"}}


def check(deeds, statuses):
    assert [deed["status"] for deed in deeds] == statuses, deeds
    assert {deed["type"] for deed in deeds} == {"command"}, deeds
    assert {deed["id"] for deed in deeds} == {deeds[0]["id"]}, deeds
    assert deeds[-1]["command"] == "echo hello from below", deeds
    assert (deeds[-1]["exit_code"], deeds[-1]["output"]) == (0, "hello from below\n"), deeds


# Chat, streamed: chunks as all others, with one member more.
for extra, statuses in [(ASKED, ["in_progress", "completed"]), ({}, [])]:
    text, deeds = "", []
    for chunk in client.chat.completions.create(model="codex-5", messages=user(**WORK), stream=True, **extra):
        choice = chunk.choices[0]
        text += choice.delta.content or ""
        deeds += getattr(choice, "x_codex", None) and choice.x_codex["activity"] or []
    assert text == "All done.", text
    if statuses:
        check(deeds, statuses)
    assert bool(deeds) == bool(statuses), deeds

# The SDK's own helper puts the chunks together as if there were nothing else.
with client.chat.completions.stream(model="codex-5", messages=user(**WORK), **ASKED) as stream:
    for _ in stream:
        pass
    choice = stream.get_final_completion().choices[0]
    assert (choice.message.content, choice.finish_reason) == ("All done.", "stop"), choice
    assert not choice.message.tool_calls, choice

# In one piece.
choice = client.chat.completions.create(model="codex-5", messages=user(**WORK), **ASKED).choices[0]
assert choice.message.content == "All done."
check(choice.x_codex["activity"], ["completed"])
choice = client.chat.completions.create(model="codex-5", messages=user(**WORK)).choices[0]
assert getattr(choice, "x_codex", None) is None, choice

# Responses.
answer = client.responses.create(model="codex-5", input=script(**WORK), **ASKED)
assert answer.output_text == "All done."
check(answer.x_codex["activity"], ["completed"])
events = list(client.responses.create(model="codex-5", input=script(**WORK), stream=True, **ASKED))
assert [event.sequence_number for event in events] == list(range(len(events)))
deeds = [deed for event in events if event.type == "keepalive" for deed in event.x_codex["activity"]]
check(deeds, ["in_progress", "completed"])
check(events[-1].response.x_codex["activity"], ["completed"])
with client.responses.stream(model="codex-5", input=script(**WORK), **ASKED) as stream:
    for _ in stream:
        pass
    assert stream.get_final_response().output_text == "All done."
events = list(client.responses.create(model="codex-5", input=script(**WORK), stream=True))
assert all(event.type.startswith("response.") for event in events), events

# The oldest endpoint has no room for it.
answer = client.completions.create(model="codex-5", prompt=script(**WORK), **ASKED)
assert answer.choices[0].text == "All done.", answer

print("all well")
