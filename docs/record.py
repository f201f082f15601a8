"""Records the picture at the top of README: a real session in two terminals, as an SVG that plays it.

`just picture` runs it. Nothing is made up: the gateway runs in a terminal of its own, every command is given to a real shell,
and their output is drawn as it came, long waits shortened. Needs a built example policy (README: Swap a policy).
"""

import fcntl
import html
import os
import pathlib
import pty
import re
import shutil
import signal
import struct
import subprocess
import sys
import termios
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
PICTURE = ROOT / "docs/src/images/first-minutes.svg"
FOLDER = pathlib.Path("/tmp/codex-policies")
API_KEY = pathlib.Path("/tmp/codex-key")
POLICY = pathlib.Path("/tmp/open-auth/wasm32-wasip2/release/open_auth.wasm")
COLUMNS = 100
# Seconds: the longest wait that is drawn, a key that is typed, a look at what came, the end before it begins anew.
WAIT, KEY, LOOK, REST = 1.2, 0.012, 1.6, 6.0
LINE, LEFT, SIZE = 17, 14, 13

START = 'PROXY_API_KEY="$(cat /tmp/codex-key)" POLICY_DIR=/tmp/codex-policies cargo run --release'
STRANGER = (
    "stranger() {\n"
    "  curl -si http://127.0.0.1:11435/v1/chat/completions -H 'Authorization: Bearer sk-stranger' \\\n"
    "    -H 'Content-Type: application/json' -d '{\"messages\":[{\"role\":\"user\",\"content\":\"Hi!\"}]}'\n"
    "}"
)
ASK = "stranger | grep -oE '^HTTP.*|\"(message|content)\":\"[^\"]{0,66}'"
SWAP = "mv /tmp/codex-policies/auth.part /tmp/codex-policies/auth.wasm"


class Terminal:
    """What one terminal showed, each line with the time of its last piece."""

    def __init__(self, now):
        self.now, self.lines = now, []

    def run(self, command):
        """Gives a command to a shell in a real terminal; does not wait for its end."""
        controller, terminal = pty.openpty()
        fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 40, COLUMNS, 0, 0))
        hidden = ("PROXY_", "CODEX_", "POLICY_", "OPENAI_", "CARGO_TERM")
        env = {name: value for name, value in os.environ.items() if not name.startswith(hidden)}
        child = subprocess.Popen(
            ["bash", "--norc", "-c", command],
            cwd=ROOT, env=env | {"TERM": "xterm-256color"},
            stdin=terminal, stdout=terminal, stderr=terminal, start_new_session=True,
        )
        os.close(terminal)
        reader = threading.Thread(target=self._read, args=(controller,), daemon=True)
        reader.start()
        return child, reader

    def _read(self, controller):
        rest = ""
        try:
            while piece := os.read(controller, 65536):
                *whole, rest = (rest + piece.decode(errors="replace")).replace("\r\n", "\n").split("\n")
                self.lines += [(self.now(), line) for line in whole]
        except OSError:
            pass
        if rest:
            self.lines.append((self.now(), rest))
        os.close(controller)

    def typed(self, command):
        for at, line in enumerate(command.split("\n")):
            self.lines.append((self.now(), f"\x1b[1;32m{'$' if at == 0 else '>'}\x1b[0m \x1b[1m{line}\x1b[0m"))


def session():
    began = time.monotonic()
    first, second = (Terminal(lambda: time.monotonic() - began) for _ in range(2))
    first.typed(START)
    gateway, _ = first.run(START)

    def until(words):
        end = time.monotonic() + 60
        while not any(words in line for _, line in first.lines):
            assert gateway.poll() is None and time.monotonic() < end, f"waited in vain for {words}: {first.lines}"
            time.sleep(0.05)
        time.sleep(LOOK)

    def give(command, *before):
        second.typed(command)
        child, reader = second.run("\n".join([*before, command]))
        child.wait(30)
        reader.join(5)
        time.sleep(LOOK)

    try:
        until("listening")
        second.typed(STRANGER)
        time.sleep(LOOK)
        give(ASK, STRANGER)
        give(SWAP)
        until("open-auth")
        give(ASK, STRANGER)
    finally:
        shown = list(first.lines), list(second.lines)
        os.killpg(gateway.pid, signal.SIGINT)
        gateway.wait(40)
    return shown


def rows(line):
    """A line as the terminal wraps it: rows of (classes, text)."""
    row, width, classes = [], 0, set()
    for piece in re.split(r"(\x1b\[[0-9;?]*[A-Za-z])", line):
        if piece.startswith("\x1b["):
            if piece.endswith("m"):
                for code in (piece[2:-1] or "0").split(";"):
                    classes = set() if code in ("0", "") else classes | {f"s{code}"}
            continue
        while piece:
            part, piece = piece[: COLUMNS - width], piece[COLUMNS - width :]
            row.append((" ".join(sorted(classes)), part))
            width += len(part)
            if piece:
                yield row
                row, width = [], 0
    yield row


def drawn(row):
    return "".join(
        f'<tspan class="{classes}">{html.escape(text)}</tspan>' if classes else html.escape(text) for classes, text in row
    )


def timed(shown):
    """The lines of both terminals in their order, with the times at which they are drawn: waits are shortened."""
    lines = sorted(((at, pane, line) for pane, lines in enumerate(shown) for at, line in lines), key=lambda line: line[0])
    clock, before = 0.3, 0.0
    for at, pane, line in lines:
        clock += min(at - before, WAIT)
        before = at
        yield clock, pane, line
        if line.startswith("\x1b[1;32m"):
            clock += KEY * len(line)


STYLE = """
  text { font: %dpx ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace; fill: #d0d7de; white-space: pre; }
  .name { font-size: 11px; fill: #8b949e; }
  .s1 { font-weight: 600; fill: #f0f6fc; } .s2 { fill: #7d8590; } .s3 { font-style: italic; }
  .s31 { fill: #ff7b72; } .s32 { fill: #3fb950; } .s33 { fill: #d29922; } .s34 { fill: #58a6ff; } .s35 { fill: #bc8cff; } .s36 { fill: #39c5cf; }
"""


def svg(shown):
    lines = list(timed(shown))
    end = lines[-1][0] + REST
    panes = [[], []]
    for at, pane, line in lines:
        panes[pane] += [(at, row) for row in rows(line)]
    width = int(COLUMNS * SIZE * 0.602) + 2 * LEFT
    styles, body, top = [], [], 0
    for name, pane in zip(("first terminal", "second terminal"), panes):
        height = LINE * len(pane) + 40
        body.append(f'<rect x="0.5" y="{top + 0.5}" width="{width - 1}" height="{height - 1}" rx="8" fill="#0d1117" stroke="#30363d"/>')
        body.append(f'<text class="name" x="{LEFT}" y="{top + 17}">{name}</text>')
        for number, (at, row) in enumerate(pane):
            share = 100 * at / end
            key = f"t{round(share * 100)}"
            styles.append(f"  @keyframes {key} {{ 0%, {share:.2f}% {{ opacity: 0 }} {share + 0.01:.2f}%, 100% {{ opacity: 1 }} }}")
            styles.append(f"  .{key} {{ animation: {key} {end:.1f}s infinite }}")
            body.append(f'<text class="{key}" x="{LEFT}" y="{top + 38 + LINE * number}">{drawn(row)}</text>')
        top += height + 10
    # Who prefers stillness sees the end.
    still = "  @media (prefers-reduced-motion: reduce) { text { animation: none !important } }"
    style = STYLE % SIZE + "\n".join(dict.fromkeys(styles)) + "\n" + still
    label = "A stranger is refused, a policy is put into the folder, and the same request is let in"
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {top - 10}" role="img" aria-label="{label}">'
    return "\n".join([head, f"<style>{style}\n</style>", *body, "</svg>", ""])


def main():
    assert POLICY.exists(), f"{POLICY} is not there: build it as README says"
    assert not FOLDER.exists(), f"{FOLDER} is there already: remove it"
    assert API_KEY.exists(), f"{API_KEY} is not there: make it as README says"
    FOLDER.mkdir()
    try:
        shutil.copy(POLICY, FOLDER / "auth.part")
        PICTURE.write_text(svg(session()))
    finally:
        shutil.rmtree(FOLDER)
    print(f"{PICTURE.relative_to(ROOT)}: {PICTURE.stat().st_size} bytes")


if __name__ == "__main__":
    sys.exit(main())
