"""What the scripts beside this one share: words that tell the scripted provider what to answer."""

import json


def script(**answer):
    """A text that, sent as the user's, makes the provider answer so."""
    return json.dumps({"provider": answer})


def user(**answer):
    """The same as a conversation of one message."""
    return [{"role": "user", "content": script(**answer)}]


def call(name, **arguments):
    """A function call for `calls`."""
    return {"name": name, "arguments": json.dumps(arguments)}


WEATHER = {"Paris": "18 degrees", "Rome": "24 degrees"}

# The model calls a function twice at once, gets both results, and answers.
TWO_CITIES = {
    "text": ["Let me look."],
    "calls": [call("get_weather", city="Paris"), call("get_weather", city="Rome")],
    "then": {"text": ["Rome ", "is ", "warmer."]},
}

# It calls one function and says nothing before it.
ONE_CITY = {"calls": [call("get_weather", city="Paris")], "then": {"text": ["18 ", "degrees."]}}

WEATHER_SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
    "additionalProperties": False,
}

# A red pixel.
PNG = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8DwHwAFBQIAX8jx0gAAAABJRU5ErkJggg=="
)
