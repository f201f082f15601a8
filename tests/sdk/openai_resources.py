"""Runs openai-python's own tests of chat, completions, models and responses. Arguments: base URL, key.

The tests are in the library's source distribution, unpacked in TEST_OPENAI_SDIST. They are run as they are: a test passes, or it
fails because the gateway refuses an operation that is refused in the table of operations in docs/src/clients.md, too. A request
whose parameter is refused is sent again without it, if the table of parameters has it as refused, so that the rest of the request
is tested. Two values that the tests cannot know are put in when the gateway misses them: the id of a kept response; and `input`,
which OpenAI also demands, although its schema does not. A list is asked for without the id of an unknown item, and without a
`limit` of 0. A conversation to compact has no user message: the library's type of a compaction has no place for one (see the
table of differences).
"""

import json
import os
import re
import sys

import openai
import pytest
from openai._base_client import AsyncAPIClient, SyncAPIClient

import book

base_url, key = sys.argv[1:]
RESOURCES = ["test_completions.py", "test_models.py", "test_responses.py", "chat", "responses"]

# The operations whose parameters are in a table, and their columns.
COLUMNS = {"/chat/completions": 0, "/completions": 1, "/responses": 2, "/responses/input_tokens": 2, "/responses/compact": 2}
# More than any request of the tests has refused parameters.
MOST_TRIES = 20


class Operations:
    """The table of operations, and its rows that a request was found in."""

    def __init__(self):
        self.words = {tuple(names): cells[0] for names, cells in book.rows("Operations")}
        self.seen = set()

    def row(self, options):
        """The row of a request: one with its query before one without, one with its path before one with a placeholder."""
        query = {f"{name}={value}".lower() for name, value in options.params.items()}

        def fits(names):
            method, path = names[0].split()
            path = re.sub(r"\\{\w+\\}", "[^/]+", re.escape(path))
            return options.method.upper() == method and re.fullmatch(path, f"/v1{options.url}") and query.issuperset(names[1:])

        rows = sorted((names for names in self.words if fits(names)), key=lambda names: (-len(names), "{" in names[0]))
        assert rows, f"not in the table of operations: {options.method} {options.url}"
        return rows[0]

    def is_refused(self, options):
        row = self.row(options)
        self.seen.add(row)
        return self.words[row] == "refused"


operations = Operations()


def is_refused(options, param):
    """Whether the table of parameters has a parameter as refused, or the object that it is a member of, or its value.

    The words after the last semicolon of a row name a refused value, or a parameter together with which it is refused.
    """
    parts, body = param.split("."), options.json_data
    names = [".".join(parts[:count]) for count in range(1, len(parts) + 1)]
    for (name, *_), cells in book.rows("Parameters"):
        if name in names:
            clause = cells[-1].rpartition(";")[2]
            excepted = re.findall("`([^`]+)`", clause) if "refused" in clause else []
            if cells[COLUMNS[options.url]] == "refused" or json.dumps(body.get(name)) in excepted or body.keys() & set(excepted):
                return True
    return False


def without(body, param):
    """A copy of a body without one member, whose name may have dots."""
    name, _, inner = param.partition(".")
    rest = {other: value for other, value in body.items() if other != name}
    return {**rest, name: without(body[name], inner)} if inner else rest


kept = []


def kept_response(is_deleted=False):
    """The id of a response that the gateway keeps. It was streamed in the background, so that it may be cancelled and streamed."""
    if not kept:
        with openai.OpenAI(base_url=base_url, api_key=key) as client:
            *_, last = client.responses.create(model="gpt-6-astra", input="string", background=True, stream=True)
            assert last.type == "response.completed", last
            kept.append(last.response.id)
    return kept.pop() if is_deleted else kept[0]


class Request:
    """A request of a test, which is sent until the gateway answers it or refuses the operation."""

    # Of the running test: the refusal of its operation, and its parameters that were left out.
    refusal, left_out = None, set()

    def __init__(self, options):
        self.options = options.model_copy()
        if options.url == "/responses/compact":
            said = [{"role": "assistant", "content": "string"}]
            self.options.json_data = {**options.json_data, "input": said, "previous_response_id": None}

    def answered(self):
        assert not operations.is_refused(self.options), f"answered, not refused: {self.options.method} {self.options.url}"

    def mend(self, error):
        """Changes the request after a refusal, or raises it again."""
        told = error.response.json()
        assert set(told) == {"error"} and set(told["error"]) == {"message", "type", "param", "code"}, told
        options, body = self.options, self.options.json_data
        if operations.is_refused(options):
            assert error.code in ("unknown_url", "method_not_supported") or f"{error.param}=true" in operations.row(options), told
            Request.refusal = error
            raise error
        if error.code == "response_not_found":
            # What follows the id is kept.
            parts = options.url.split("/")
            parts[2] = kept_response(options.method == "delete")
            options.url = "/".join(parts)
        elif error.code == "previous_response_not_found":
            options.json_data = {**body, "previous_response_id": kept_response()}
        elif error.param in ("after", "limit") and error.param in options.params:
            options.params = {name: value for name, value in options.params.items() if name != error.param}
        elif error.param == "input" and "input" not in body:
            options.json_data = {**body, "input": "string"}
        elif error.status_code == 400 and error.param and is_refused(options, error.param):
            Request.left_out.add(error.param)
            options.json_data = without(body, error.param)
        else:
            raise error


def request(client, cast_to, options, **form):
    client.api_key, sent = key, Request(options)
    for _ in range(MOST_TRIES):
        try:
            answer = sync_request(client, cast_to, sent.options.model_copy(), **form)
        except openai.APIStatusError as error:
            sent.mend(error)
        else:
            sent.answered()
            return answer


async def request_async(client, cast_to, options, **form):
    client.api_key, sent = key, Request(options)
    for _ in range(MOST_TRIES):
        try:
            answer = await async_request(client, cast_to, sent.options.model_copy(), **form)
        except openai.APIStatusError as error:
            sent.mend(error)
        else:
            sent.answered()
            return answer


class Judge:
    """Makes the refusal of an operation an expected failure, and counts the tests."""

    def __init__(self):
        self.counts = dict.fromkeys(("passed", "passed without refused parameters", "operation refused", "failed"), 0)
        self.left_out = set()

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, call):
        report = yield
        if call.when == "setup":
            Request.refusal, Request.left_out = None, set()
        if report.failed and call.excinfo.value is Request.refusal:
            report.outcome, report.wasxfail = "skipped", str(Request.refusal)
        if report.when == "call":
            self.left_out |= Request.left_out
            self.counts[self.outcome(report)] += 1
        return report

    def outcome(self, report):
        if hasattr(report, "wasxfail"):
            return "operation refused"
        return "passed without refused parameters" if report.passed and Request.left_out else report.outcome


sync_request, async_request = SyncAPIClient.request, AsyncAPIClient.request
SyncAPIClient.request, AsyncAPIClient.request = request, request_async

os.environ.update(TEST_API_BASE_URL=base_url, PYTEST_DISABLE_PLUGIN_AUTOLOAD="1")
os.chdir(os.environ["TEST_OPENAI_SDIST"])
judge = Judge()
tests = [f"tests/api_resources/{resource}" for resource in RESOURCES]
# The library's settings, without those for tests in parallel.
settings = ["--override-ini=addopts=", "-p", "pytest_asyncio.plugin", "-p", "no:cacheprovider", "--quiet", "--tb=short"]
code = pytest.main([*settings, *tests, *sys.argv[3:]], plugins=[judge])
assert code == 0 and not judge.counts["failed"], f"pytest ended with {code}: {judge.counts}"
# The library's tests of resources open no WebSocket: `tests/tests/fast/socket.rs` has these rows.
sockets = {row for row in operations.words if row[0] == "GET /v1/responses"}
unused = operations.words.keys() - operations.seen - sockets
assert not unused, f"no test uses these rows of the table of operations: {sorted(unused)}"
assert judge.counts["passed"] > 150, judge.counts
print(judge.counts, "left out:", sorted(judge.left_out))
print("all well")
