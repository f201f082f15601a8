"""Runs README's blocks in their order, exactly as they are written, in two terminals as a newcomer would.

A block that ends with `cargo run --release` is for the first terminal: it replaces the gateway before it (Ctrl-C), and the
next block waits until the gateway is ready. All other blocks are typed into one shell, the second terminal. `TEST_PYTHON`
names a Python that has `openai`. Every block must be known to `CHECKS`: a new one fails until somebody says what it shows.
"""

import os
import pathlib
import pty
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parent.parent
READY = "http://127.0.0.1:11435/readyz"
# What README's blocks make.
MADE = [pathlib.Path(path) for path in ("/tmp/codex-policies", "/tmp/codex-admin", "/tmp/codex-key", "/tmp/open-auth")]
# What may be warned of when README is followed: a machine without a Codex that is signed in, and policies that misbehave.
MEANT = ("the built-in demo answers, no Codex", "Codex is not signed in", "policies taken back")
MINUTES = 60


def blocks():
    readme = (ROOT / "README.md").read_text()
    found = re.findall(r"^```(\w+)\n(.*?)^```$", readme, re.MULTILINE | re.DOTALL)
    assert found, "README has no blocks"
    return found


def environment():
    """Of a fresh machine: nothing is set that README does not set."""
    ours = ("PROXY_", "CODEX_", "POLICY_", "OPENAI_", "OTEL_", "TOKEN_LOG_", "PROTO_LOG_", "WORKER_", "AUTH_", "PORT")
    env = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    if shutil.which("codex"):
        # A login must not be spent on this, and a Codex without one answers nothing.
        env["CODEX_BACKEND"] = "demo"
    return env


class First:
    """The first terminal: a real one, since the gateway may speak to people otherwise than to files."""

    def __init__(self):
        self.child, self.text, self.before = None, "", ""

    def start(self, block):
        self.interrupt()
        controller, terminal = pty.openpty()
        self.child = subprocess.Popen(
            ["bash", "--norc", "-c", block],
            cwd=ROOT, env=environment(), stdin=terminal, stdout=terminal, stderr=terminal, start_new_session=True,
        )
        os.close(terminal)
        self.before, self.text = self.before + self.text, ""
        threading.Thread(target=self._read, args=(controller,), daemon=True).start()
        self.wait("the gateway to be ready", 40 * MINUTES, ready)

    def _read(self, controller):
        try:
            while piece := os.read(controller, 65536):
                plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", piece.decode(errors="replace"))
                self.text += plain.replace("\r\n", "\n")
        except OSError:
            pass  # Its last process has ended.
        os.close(controller)

    def wait(self, what, seconds, holds):
        end = time.monotonic() + seconds
        while not (found := holds()):
            assert self.child.poll() is None, f"the gateway ended:\n{self.text}"
            assert time.monotonic() < end, f"waited in vain for {what}:\n{self.text}"
            time.sleep(0.1)
        return found

    def wait_for(self, words):
        self.wait(words, 2 * MINUTES, lambda: words in self.text)

    def interrupt(self):
        if self.child is None:
            return
        os.killpg(self.child.pid, signal.SIGINT)
        try:
            code = self.child.wait(MINUTES)
            assert code == 0, f"after Ctrl-C the exit code is {code}:\n{self.text}"
        finally:
            if self.child.poll() is None:
                os.killpg(self.child.pid, signal.SIGKILL)
            self.child = None


def no_warnings(log):
    lines = [line for line in log.splitlines() if re.search(r"\b(WARN|ERROR)\b", line)]
    found = [line for line in lines if not any(words in line for words in MEANT)]
    assert not found, "a newcomer is warned:\n" + "\n".join(found)


def ready():
    try:
        with urllib.request.urlopen(READY, timeout=5) as answer:
            return answer.status == 200
    except (urllib.error.URLError, OSError):
        return False


class Second:
    """The second terminal: one shell, so that a block has what the blocks before it set."""

    def __init__(self):
        self.shell = subprocess.Popen(
            ["bash", "--norc"], cwd=ROOT, env=environment(), text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )

    def type(self, block):
        mark = "the-block-ended-with"
        self.shell.stdin.write(f"{block}\nprintf '\\n{mark} %d\\n' $?\n")
        self.shell.stdin.flush()
        late = threading.Timer(20 * MINUTES, self.shell.kill)
        late.start()
        try:
            return self._until(mark)
        finally:
            late.cancel()

    def _until(self, mark):
        said = ""
        for line in self.shell.stdout:
            if line.startswith(mark):
                assert line.split()[1] == "0", f"it failed:\n{said}"
                return said
            said += line
        raise AssertionError(f"the shell ended:\n{said}")

    def close(self):
        self.shell.stdin.close()
        self.shell.wait(MINUTES)


def streamed(said):
    assert '"object":"chat.completion.chunk"' in said and "data: [DONE]" in said, said


def answered(said):
    text, usage, rest = said.partition(" CompletionUsage(")
    _, _, streamed = rest.partition("\n")
    assert text.strip() and usage and streamed.strip(), said


def refused(said):
    assert re.search(r"^HTTP/1\.1 401 ", said, re.MULTILINE) and "invalid_api_key" in said, said


def let_in(said):
    assert re.search(r"^HTTP/1\.1 200 ", said, re.MULTILINE) and '"chat.completion"' in said, said


def built(said):
    assert "warning" not in said, said


def operated(said):
    assert re.search(r"^generation 3 ", said, re.MULTILINE) and "rate-limit" in said, said


def compared(said):
    assert re.search(r"^1 of \d+ past decisions differ, 0 faults", said, re.MULTILINE), said
    assert "denied 429 rate_limited by hour" in said, said


def passed(said):
    assert re.search(r"^0 of \d+ past decisions differ", said, re.MULTILINE), said
    assert "shadow-2: 200" in said and re.search(r"^[0-9a-f]{12}  passed ", said, re.MULTILINE), said


def promoted(said):
    assert "decides for callers default" in said and "canary-1: 200" in said, said
    assert re.search(r"^generation 4 .* pinned by ", said, re.MULTILINE), said


def taken_back(said):
    assert "hurry-7: 200" in said and "hurry-9: 429" in said, said
    assert re.search(r"^[0-9a-f]{12}  rate-limit +admit +denied 429 rate_limited by hour ", said, re.MULTILINE), said
    assert re.search(r"^generation 5 ", said, re.MULTILINE) and re.search(r"^REFUSED .* by hour", said, re.MULTILINE), said


# A word of each block, in README's order, and what its output must show.
CHECKS = [
    ("cargo run --release", None),
    ("cargo test --workspace", None),
    ("POLICY_DIR=", None),
    ("curl -N", streamed),
    ("OpenAI()", answered),
    ("stranger() {", refused),
    ("cargo build", built),
    ("stranger", let_in),
    ("built_in", None),
    ("admin status", operated),
    ("limit 2", compared),
    ("--shadow 5s", passed),
    ("admin canary", promoted),
    ("hurry-", taken_back),
]


def printed_curl(first, second):
    """The line that the first start prints to be pasted."""
    line = first.wait("a curl line", MINUTES, lambda: re.search(r"^ *(curl (?:.*\\\n)*.*)\n", first.text, re.MULTILINE))
    assert "[DONE]" in second.type(line[1])


def run(first, second):
    known = iter(CHECKS)
    began = time.monotonic()
    for language, block in blocks():
        word, check = next(known, ("nothing", None))
        assert word in block, f"expected a block with {word!r}, and README has:\n{block}"
        print(f"-- {word}", flush=True)
        if block.rstrip().endswith("cargo run --release"):
            first.start(block)
            if "PROXY_API_KEY" not in block:
                printed_curl(first, second)
        elif word == "cargo test --workspace":
            print("   (a step of .ci/run of its own)")
        elif language == "python":
            check(second.type(f"\"$TEST_PYTHON\" - << 'END'\n{block}\nEND"))
        else:
            said = second.type(block)
            if check:
                check(said)
        print(f"   done after {time.monotonic() - began:.0f} s", flush=True)
        if word == "cargo build":
            first.wait_for('policy serves generation=2 slot="auth"')
        elif word == "built_in":
            first.wait_for('policy serves generation=3 slot="auth"')
            refused(second.type("stranger"))
        elif word == "hurry-":
            first.wait_for("policies taken back")
    assert next(known, None) is None, "README lacks a block that CHECKS knows"
    no_warnings(first.before + first.text)


def main():
    there = [path for path in MADE if path.exists()]
    assert not there, f"README's blocks would begin with what is left in {there}: remove it"
    assert not ready(), f"another gateway already answers at {READY}: end it"
    first, second = First(), Second()
    try:
        run(first, second)
    finally:
        try:
            first.interrupt()
        finally:
            second.close()
            for path in MADE:
                if path.is_dir():
                    shutil.rmtree(path, ignore_errors=True)
                else:
                    path.unlink(missing_ok=True)


if __name__ == "__main__":
    try:
        main()
    except AssertionError as error:
        sys.exit(f"README: {error}")
